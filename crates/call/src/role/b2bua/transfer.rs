//! A party asks for the other one to be connected to somebody else (REFER, RFC 3515, RFC 5589): this
//! node calls that one itself, and puts it in the place of the one who asked. Nobody's dialog but that
//! one's ends, so the recording of the remaining party goes on.
//!
//! ```text
//!  REFER ──► Asking ──► Opening ──► Inviting ──2xx──► the target has the place, the asker leaves
//!    │         │           │            └── refused ─► all is as it was
//!    └─ Replaces ─► Fetching ──► the far party of that call has the place, the asker leaves both
//! ```

use std::time::{Duration, Instant};

use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::{DialogId, Method, Replaces, Request, Response, StatusCode, Uri};

use crate::fact::{Departure, Fact, HungUpBy, Side};
use crate::log::LogEvent;
use crate::media::MediaCommand;
use crate::role::b2bua::branches::Branches;
use crate::role::b2bua::carry::{max_forwards, required};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::ending::{Reached, closing};
use crate::role::b2bua::leg::{Stage, introduce};
use crate::role::b2bua::subscription::{Course, Subscription};
use crate::role::b2bua::target::Target;
use crate::role::b2bua::{Call, Notice, Phase};
use crate::target::{Answer, AskId, Question};

/// How long, and how often, a party that is busy in the other call is waited for.
const FETCH_AGAIN: Duration = Duration::from_millis(500);
const FETCHES: u8 = 10;

/// A transfer that runs.
pub(crate) struct Transfer {
    /// Who asked: its place is taken.
    pub(super) by: Side,
    subscription: Option<Subscription>,
    /// When it has taken too long, or is tried again.
    pub(super) until: Option<Instant>,
    asked: Option<AskId>,
    pub(super) refer: Refer,
    /// The dialog whose far party is wanted, and how often it was asked for.
    fetch: Option<(DialogId, u8)>,
    pub(super) target: Option<Box<Target>>,
    pub(super) redirections: u8,
}

/// What the REFER said.
pub(super) struct Refer {
    pub(super) to: Uri,
    pub(super) replaces: Option<String>,
    pub(super) referred_by: Option<String>,
    pub(super) max_forwards: u8,
}

impl Transfer {
    /// The places where the target is asked.
    pub(super) fn branches(&mut self) -> Option<&mut Branches> {
        self.target.as_mut()?.branches.as_mut()
    }
}

/// Why a party cannot be had from another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfetched {
    /// The dialog is not known here.
    NotHere,
    /// It is one of this very call.
    Same,
    /// It is not a dialog of the one who asks.
    NotTheirs,
    /// Something runs in that call that must end first.
    Busy,
    /// Its media is in another group.
    Apart,
    /// Nobody has answered there: that call has been given up.
    Early,
}

impl Call {
    /// REFER within the dialog of `side`.
    pub(super) fn refer(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: &Request,
    ) {
        if !required(request).is_empty() {
            return self.refuse(cx, key, request, 420, None);
        }
        let Ok(to) = request.refer_to() else {
            return self.refuse(cx, key, request, 400, Some("no usable Refer-To"));
        };
        let method = to.uri.params.value("method");
        if method.is_some_and(|method| method != "INVITE") {
            let why = "only INVITE is referred to";
            return self.refuse(cx, key, request, 403, Some(why));
        }
        let free = self.transfer.is_none() && self.coming.is_none();
        if self.phase != Phase::Connected || !free {
            return self.refuse(cx, key, request, 491, None);
        }
        let wanted = request.headers.value("Refer-Sub");
        let wanted = wanted.is_none_or(|value| !value.trim().eq_ignore_ascii_case("false"));
        self.accept_refer(cx, side, key, request, wanted.then_some(()));
        let later = (self.about.asked > 0).then(|| request.cseq().map_or(0, |cseq| cseq.number));
        let refer = Refer {
            replaces: to.uri.header("Replaces"),
            to: to.uri,
            referred_by: request.headers.value("Referred-By").map(str::to_owned),
            max_forwards: max_forwards(request),
        };
        let replaces = refer.replaces.as_deref();
        let fetch = replaces.and_then(|text| text.parse::<Replaces>().ok());
        self.transfer = Some(Box::new(Transfer {
            by: side,
            subscription: wanted.then(|| Subscription::new(later)),
            until: Some(cx.now + cx.settings.ring_limit),
            asked: None,
            refer,
            fetch: fetch.map(|replaces| (replaces.dialog(), 0)),
            target: None,
            redirections: 0,
        }));
        self.note(cx, Fact::TransferAsked { by: side });
        cx.log(LogEvent::TransferAsked { by: side });
        self.notify(cx, 100, Course::Active);
        self.fetch_or_ask(cx);
    }

    /// 202, or 200 where no subscription is wanted (RFC 4488 §4).
    fn accept_refer(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: &Request,
        subscribed: Option<()>,
    ) {
        let code = match subscribed {
            Some(()) => 202,
            None => 200,
        };
        let status = StatusCode::new(code).unwrap_or(StatusCode::OK);
        let mut response = Response::to(request, status);
        let contact = self.leg(side).contact(cx.settings);
        introduce(&mut response.headers, &contact);
        if subscribed.is_none() {
            response.headers.push("Refer-Sub", "false");
        }
        cx.act(Action::Respond(key, response));
    }

    fn fetch_or_ask(&mut self, cx: &mut Context<'_>) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if let Some((dialog, _)) = &transfer.fetch {
            let (dialog, by) = (dialog.clone(), transfer.by);
            return cx.act(Action::Fetch(dialog, self.leg(by).who.party));
        }
        let target = transfer.refer.to.clone();
        self.ask_target(cx, target);
    }

    pub(super) fn ask_target(&mut self, cx: &mut Context<'_>, target: Uri) {
        let ask = self.next_ask();
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.asked = Some(ask);
        let by = transfer.by;
        let from = self.leg(by).who.party;
        cx.act(Action::Ask(ask, Question { from, target }));
    }

    /// What became of the wish for a party of another call.
    pub(crate) fn fetched(&mut self, cx: &mut Context<'_>, why: Unfetched) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        match (why, &mut transfer.fetch) {
            (Unfetched::Busy, Some((_, tries))) if *tries < FETCHES => {
                *tries += 1;
                transfer.until = Some(cx.now + FETCH_AGAIN);
            }
            (Unfetched::Busy, _) => self.transfer_fails(cx, 491),
            (Unfetched::Same, _) => self.transfer_fails(cx, 481),
            (Unfetched::NotTheirs, _) => self.transfer_fails(cx, 403),
            (Unfetched::Apart, _) => {
                cx.log(LogEvent::JoinRefused);
                self.transfer_fails(cx, 503);
            }
            (Unfetched::Early | Unfetched::NotHere, fetch) => {
                *fetch = None;
                transfer.until = Some(cx.now + cx.settings.ring_limit);
                if why == Unfetched::Early {
                    transfer.refer.replaces = None;
                }
                self.fetch_or_ask(cx);
            }
        }
    }

    /// The routing's answer about the target of a transfer.
    pub(super) fn transfer_found(&mut self, cx: &mut Context<'_>, ask: AskId, found: Answer) {
        let Some(transfer) = self.transfer.as_mut().filter(|t| t.asked == Some(ask)) else {
            return;
        };
        transfer.asked = None;
        match found {
            Ok(found) => self.open_target(cx, *found),
            Err(why) => self.transfer_fails(cx, why.status_code()),
        }
    }

    /// The one who asked hangs up while its transfer runs: it is on its way, whoever answers.
    pub(super) fn transferor_left(&mut self, cx: &mut Context<'_>, side: Side) -> bool {
        let by = self.transfer.as_ref().map(|transfer| transfer.by);
        if by != Some(side) || self.leg(side).stage != Stage::Established {
            return false;
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.subscription = None;
        }
        self.party_leaves(cx, side);
        self.end_exchange(cx);
        let leg = self.leg_mut(side);
        leg.stage = Stage::Over;
        leg.unbind(cx);
        let leg = leg.id;
        cx.media(MediaCommand::CloseLeg { leg });
        let by = HungUpBy::Party(side);
        let ended = closing(by, Reached::Answered);
        self.recorded
            .leave(cx, side, Departure::HungUp, (by, ended));
        true
    }

    /// The transfer has failed with this status: the call is as it was, or over where the one who
    /// asked has left it.
    pub(super) fn transfer_fails(&mut self, cx: &mut Context<'_>, status: u16) {
        let Some(by) = self.transfer.as_ref().map(|transfer| transfer.by) else {
            return self.coming_fails(cx, status);
        };
        self.release_target(cx, status);
        self.note(cx, Fact::TransferFailed { status });
        cx.log(LogEvent::TransferFailed { status });
        self.notify(cx, status, Course::Over);
        self.transfer = None;
        if self.leg(by).stage == Stage::Over {
            self.end(cx, HungUpBy::Party(by));
        }
    }

    /// The call is over, and a transfer that runs with it.
    pub(super) fn end_transfer(&mut self, cx: &mut Context<'_>) {
        if self.transfer.is_some() {
            self.release_target(cx, 487);
            self.note(cx, Fact::TransferFailed { status: 487 });
            self.notify(cx, 487, Course::Over);
            self.transfer = None;
        }
    }

    /// A transfer has taken too long, or is to be tried again.
    pub(super) fn transfer_due(&mut self, cx: &mut Context<'_>) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.until = None;
        if transfer.fetch.is_some() {
            return self.fetch_or_ask(cx);
        }
        self.transfer_fails(cx, 408);
    }

    /// Tells the one who asked how it goes.
    pub(super) fn notify(&mut self, cx: &mut Context<'_>, code: u16, course: Course) {
        let Some(mut transfer) = self.transfer.take() else {
            return;
        };
        let leg = self.leg_mut(transfer.by);
        let subscription = transfer.subscription.as_mut();
        let notify = subscription.and_then(|s| s.notify(cx.settings, leg, code, course));
        let ways = leg.ways();
        self.transfer = Some(transfer);
        if let Some(notify) = notify {
            self.send_notice(cx, ways, notify);
        }
    }

    /// A notice was answered: one that is refused was the last (RFC 6665 §4.2.2).
    pub(super) fn notice_answered(&mut self, key: ClientKey, response: &Response) {
        let is_notify =
            |notice: &&Notice| notice.key == key && notice.request.method == Method::Notify;
        let refused = matches!(
            response.status.code(),
            404 | 405 | 408 | 410 | 481 | 489 | 501
        );
        if refused
            && self.notices.iter().any(|notice| is_notify(&notice))
            && let Some(transfer) = &mut self.transfer
        {
            transfer.subscription = None;
        }
    }

    /// Who asked for a transfer has both its calls ended for it.
    pub(super) fn transfer_done(&mut self, cx: &mut Context<'_>) -> Option<Side> {
        let by = self.transfer.as_ref()?.by;
        self.notify(cx, 200, Course::Over);
        self.transfer = None;
        cx.log(LogEvent::Transferred);
        Some(by)
    }
}
