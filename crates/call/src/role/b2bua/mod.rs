//! A call that passes through this node: two dialogs, two legs, one decision about each input.
//!
//! `invite` sets the call up by asking `branches`, `redirect` follows where they point to, `session`
//! carries descriptions across, `agreement` says what a leg's two descriptions agree on, `mid_dialog`
//! does what happens while the call stands, `transfer` and `replace` exchange its parties, `place`
//! gives one's place to another, `reports`
//! takes what the media plane says, `ending` ends the call in every way it can end, `recordings`,
//! `recorded` and `row` record it for those who sit in `seats`, `sounds` is what these hear of it,
//! `indication` tells phones of it, `dtmf_info` reads keys in INFO, `keypad` counts each once.

pub(crate) mod agreement;
mod body;
pub(crate) mod branches;
pub(crate) mod carry;
pub(crate) mod context;
pub(crate) mod dialogue;
mod dtmf_info;
pub(crate) mod ending;
pub(crate) mod half;
pub(crate) mod handoff;
pub(crate) mod identity;
mod indication;
mod invite;
pub(crate) mod keypad;
pub(crate) mod keys;
pub(crate) mod leg;
mod mid_dialog;
mod own_offer;
mod place;
mod prack;
mod recorded;
mod recordings;
mod redirect;
pub(crate) mod reliable;
mod replace;
mod reports;
mod row;
mod seats;
mod session;
pub(crate) mod session_timer;
mod sounds;
mod subscription;
mod target;
mod transfer;
mod update;

use std::time::Instant;

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::sdp::SdpError;
use duolog_sip::{CSeq, Dialog, DialogError, DialogId, Flow, Method, NameAddr, Request, Response};

use crate::class::Class;
use crate::engine::Running;
use crate::fact::{Fact, Means, Side};
use crate::log::LogEvent;
use crate::media::{CallId, LegId, MediaCommand, MediaGroup, RecordingId};
use crate::recording::{Control, Phase as Standing, Refusal};
use crate::role::b2bua::branches::{Branch, Keys};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::invite::Setup;
use crate::role::b2bua::leg::{Leg, Stage};
use crate::role::b2bua::place::Leaving;
use crate::role::b2bua::recordings::Recordings;
use crate::role::b2bua::replace::Coming;
use crate::role::b2bua::session::Exchange;
use crate::role::b2bua::transfer::Transfer;
use crate::route::Party;
use crate::settings::UserIndex;
use crate::target::AskId;

pub(crate) use body::Body;
pub(crate) use dtmf_info::key_of;
pub(crate) use ending::{Reached, closing};
pub(crate) use indication::{Describing, state_of};
pub(crate) use invite::{Begin, caller_number, opening};
pub(crate) use mid_dialog::control_of;
pub(crate) use replace::{Confirmed, Moved, Newcomer};
pub(crate) use session::Offer;
pub(crate) use transfer::Unfetched;

/// One call.
pub(crate) struct Call {
    about: About,
    phase: Phase,
    caller: Leg,
    callee: Leg,
    /// The offer and answer on their way, with the INVITE that carries them.
    exchange: Option<Exchange>,
    /// Requests carried from one side to the other and not answered yet.
    relays: Vec<Relay>,
    /// INVITEs whose answer nobody waits for any more.
    abandoned: Vec<Abandoned>,
    /// Requests of our own whose answer changes little, until it is there.
    notices: Vec<Notice>,
    recorded: Recordings,
    /// When the phase, or the exchange, has taken too long.
    limit: Option<Instant>,
    keys: Keys,
    setup: Setup,
    transfer: Option<Box<Transfer>>,
    /// A party that is about to take a place.
    coming: Option<Box<Coming>>,
    /// Parties whose place is taken and whose dialog is not over yet.
    leaving: Vec<Leaving>,
}

/// What is known about a call from its beginning.
struct About {
    /// Call-ID of the caller's leg.
    call_id: String,
    /// Where all its media is.
    group: MediaGroup,
    /// The name of the chain of calls it belongs to.
    chain: u128,
    class: Class,
    diversion: Vec<String>,
    /// Questions asked so far.
    asked: u32,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The media plane is asked for ports, and the routing for the callee.
    Opening,
    /// The callee is asked.
    Inviting,
    /// The callee has answered; the caller has not acknowledged.
    Answered,
    /// Both are connected.
    Connected,
    /// The call is over; some transactions are not.
    Over,
}

/// Whether the two legs are bridged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Bridging {
    #[default]
    NotYet,
    Done,
}

/// A request carried from one side to the other.
struct Relay {
    asker: ServerKey,
    request: Request,
    client: ClientKey,
    side: Side,
}

/// A BYE or NOTIFY of ours that waits for its answer.
struct Notice {
    key: ClientKey,
    flow: Flow,
    /// Where its party listens: the way to it when the connection is gone.
    home: Flow,
    request: Box<Request>,
}

/// An INVITE whose 2xx, if it still comes, is acknowledged and ended (RFC 3261 §9.1, §13.2.2.4).
enum Abandoned {
    /// One that would have made a dialog.
    First(Box<Branch>),
    /// An INVITE within a dialog.
    Again(ClientKey, Box<Dialog>),
}

impl Abandoned {
    fn key(&self) -> ClientKey {
        match self {
            Self::First(branch) => branch.key,
            Self::Again(key, _) => *key,
        }
    }
}

/// Low bits of a client key that count within a call: so many requests that none still runs when
/// its number comes again.
const KEY_BITS: u32 = 24;

/// Requests of one call that may wait for the other side at once.
const RELAYS: usize = 16;

/// The call a client key belongs to.
pub(crate) fn call_of(key: ClientKey) -> CallId {
    CallId(key.0 >> KEY_BITS)
}

impl Call {
    /// Call-ID of the caller's leg.
    pub(crate) fn call_id(&self) -> &str {
        &self.about.call_id
    }

    /// Where its media is.
    pub(crate) fn group(&self) -> MediaGroup {
        self.about.group
    }

    /// The users who take part.
    pub(crate) fn users(&self) -> impl Iterator<Item = UserIndex> {
        let parties = [&self.caller, &self.callee].map(|leg| leg.who.party);
        parties.into_iter().filter_map(|party| match party {
            Party::User(user) => Some(user),
            Party::Trunk(_) => None,
        })
    }

    /// Its recorded halves, as they stand.
    pub(crate) fn running(&self, id: CallId) -> Vec<Running> {
        if self.phase == Phase::Over {
            return Vec::new();
        }
        let half = |side: Side| {
            let (recording, owner, phase) = self.recorded.standing(side)?;
            Some(Running {
                call: id,
                call_id: self.about.call_id.clone(),
                recording,
                owner,
                party: self.leg(side.other()).who.number.clone(),
                phase,
            })
        };
        [Side::Caller, Side::Callee]
            .into_iter()
            .filter_map(half)
            .collect()
    }

    /// Somebody with the right asks for something of one recording.
    pub(crate) fn control(
        &mut self,
        cx: &mut Context<'_>,
        recording: RecordingId,
        by: Means,
        control: Control,
    ) -> Result<Standing, Refusal> {
        let side = self.recorded.side_of(recording);
        let side = side.ok_or(Refusal::NotRecorded)?;
        self.recorded.control(cx, side, by, control)?;
        let standing = self.recorded.standing(side);
        standing.map_or(Err(Refusal::Ended), |(_, _, phase)| Ok(phase))
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_gone(&self) -> bool {
        let answered = [&self.caller, &self.callee]
            .into_iter()
            .all(|l| l.stage == Stage::Over);
        self.phase == Phase::Over
            && answered
            && self.exchange.is_none()
            && self.relays.is_empty()
            && self.abandoned.is_empty()
            && self.notices.is_empty()
    }

    /// What follows from any input, once it is taken.
    pub(crate) fn follow_up(&mut self, cx: &mut Context<'_>) {
        self.keys_go_on(cx);
        self.indicate(cx);
    }

    /// When [`Call::expire`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.iter().map(|leaving| leaving.until).min();
        let transfer = self.transfer.as_ref().and_then(|transfer| transfer.until);
        let dialogues = [&self.caller, &self.callee].map(|leg| match self.phase {
            Phase::Over => None,
            _ => leg.dialogue.deadline(),
        });
        let coming = self.coming.as_ref().map(|coming| coming.until);
        let own = [
            self.limit,
            self.recorded.deadline(),
            leaving,
            transfer,
            coming,
        ];
        own.into_iter().chain(dialogues).flatten().min()
    }

    /// Time has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        self.recorded.expire(cx);
        self.end_unrecorded(cx);
        if self.limit.is_some_and(|at| at <= cx.now) {
            self.limit = None;
            self.took_too_long(cx);
        }
        self.expire_leaving(cx);
        self.expire_coming(cx);
        if self.transfer.as_ref().is_some_and(|transfer| {
            let until = transfer.until;
            until.is_some_and(|at| at <= cx.now)
        }) {
            self.transfer_due(cx);
        }
        for side in [Side::Caller, Side::Callee] {
            let due = self.leg(side).dialogue.deadline();
            if self.phase != Phase::Over && due.is_some_and(|at| at <= cx.now) {
                self.dialogue_due(cx, side);
            }
        }
    }

    /// A party's connection was made anew: requests to it go there.
    pub(crate) fn heard_on(&mut self, side: Side, flow: Flow, request: &Request) {
        let leg = match self.leaving_by(request) {
            Some(at) => &mut self.leaving[at].leg,
            None => self.leg_mut(side),
        };
        if flow.transport.is_reliable() && flow.peer.ip() == leg.flow.peer.ip() {
            leg.flow = flow;
        }
    }

    /// The connections this call leans on.
    pub(crate) fn connections(&self) -> impl Iterator<Item = Flow> {
        let legs = [&self.caller, &self.callee].into_iter();
        let legs = legs.chain(self.leaving.iter().map(|leaving| &leaving.leg));
        let flows = legs.map(|leg| leg.flow);
        flows.filter(|flow| flow.transport.is_reliable())
    }

    /// A connection is gone: requests to its party go to where that one listens.
    pub(crate) fn connection_lost(&mut self, flow: Flow) {
        self.caller.lost(flow);
        self.callee.lost(flow);
        for leaving in &mut self.leaving {
            leaving.leg.lost(flow);
        }
    }

    /// A request within one of this call's dialogs.
    pub(crate) fn request(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        if let Some(at) = self.leaving_by(&request) {
            return self.asked_by_leaving(cx, at, key, &request);
        }
        let received = self
            .leg_mut(side)
            .dialog
            .as_mut()
            .map(|dialog| dialog.receive(&request));
        match received {
            Some(Ok(())) => self.leg_mut(side).dialogue.learn(&request),
            Some(Err(DialogError::OutOfOrder)) => return self.refuse(cx, key, &request, 500, None),
            Some(Err(DialogError::Header(_))) => return self.refuse(cx, key, &request, 400, None),
            Some(Err(DialogError::OtherDialog)) | None => {
                return self.refuse(cx, key, &request, 481, None);
            }
        }
        match request.method {
            Method::Invite => self.invited_again(cx, side, key, request),
            Method::Bye => self.bye(cx, side, key, &request),
            Method::Info => self.info(cx, side, key, request),
            Method::Options => self.options(cx, side, key, &request),
            Method::Prack => self.prack(cx, side, key, request),
            Method::Update => self.update(cx, side, key, request),
            Method::Refer => self.refer(cx, side, key, &request),
            Method::Message | Method::Notify | Method::Subscribe => {
                self.relay(cx, side, key, request);
            }
            Method::Extension(_) => self.refuse(cx, key, &request, 501, None),
            _ => self.refuse(cx, key, &request, 405, None),
        }
    }

    /// An answer to a request of ours.
    pub(crate) fn response(&mut self, cx: &mut Context<'_>, key: ClientKey, response: Response) {
        if self.exchange_has(key) {
            return self.later_answer(cx, key, &response);
        }
        if self.setup_response(cx, key, &response)
            || self.transfer_response(cx, key, &response)
            || self.dialogue_response(cx, key, &response)
        {
            return;
        }
        if let Some(at) = self.relays.iter().position(|relay| relay.client == key) {
            return self.relay_answered(cx, at, &response);
        }
        if response.status.is_success() {
            self.late_success(cx, key, &response);
        }
        if response.status.is_final() {
            self.key_answered(cx, key, Some(response.status));
            self.notice_answered(key, &response);
            self.forget(key);
        }
    }

    /// A request of ours failed without an answer.
    pub(crate) fn client_failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) {
        if self.exchange_has(key) {
            return self.exchange_failed(cx, why);
        }
        if self.setup_failed(cx, key, why)
            || self.transfer_failed(cx, key, why)
            || self.dialogue_failed(cx, key, why)
        {
            return;
        }
        if let Some(at) = self.relays.iter().position(|relay| relay.client == key) {
            let relay = self.relays.swap_remove(at);
            return self.refuse(cx, relay.asker, &relay.request, 408, None);
        }
        if why == ClientFailure::Transport {
            self.notice_again(cx, key);
        }
        self.key_answered(cx, key, None);
        self.forget(key);
    }

    /// A request of ours was answered by a demand for a digest, and `answered` has it: it goes out again
    /// as the next of its dialog, in the place of the one before.
    pub(crate) fn challenged(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        mut answered: Request,
    ) {
        let asked = [
            self.setup.branches.as_mut(),
            self.transfer
                .as_mut()
                .and_then(|transfer| transfer.branches()),
        ];
        for branches in asked.into_iter().flatten() {
            if branches.challenged(cx, &mut self.keys, (key, answered.clone())) {
                return;
            }
        }
        if self
            .abandoned
            .iter()
            .any(|abandoned| abandoned.key() == key)
        {
            return self.forget(key);
        }
        let new = self.next_key();
        let flow = self.number_anew(&mut answered);
        let Some(flow) = self.rename(key, new, &answered).or(flow) else {
            return;
        };
        cx.act(Action::Request(new, flow, answered));
    }

    /// Gives a request the next number of its dialog; returns the way of that dialog's leg.
    fn number_anew(&mut self, request: &mut Request) -> Option<Flow> {
        let tag = |address: Result<NameAddr, _>| {
            let address = address.ok()?;
            Some(address.tag().unwrap_or_default().to_owned())
        };
        let (Some(local_tag), Some(remote_tag)) = (tag(request.from()), tag(request.to())) else {
            return None;
        };
        let id = DialogId {
            call_id: request.call_id().unwrap_or_default().to_owned(),
            local_tag,
            remote_tag,
        };
        let legs = [&mut self.caller, &mut self.callee].into_iter();
        let mut legs = legs.chain(self.leaving.iter_mut().map(|leaving| &mut leaving.leg));
        let leg = legs.find(|leg| leg.dialog.as_ref().is_some_and(|d| *d.id() == id));
        let method = request.method.clone();
        let last = request.cseq().map_or(0, |cseq| cseq.number);
        let dialog = leg.and_then(|leg| Some((leg.flow, leg.dialog.as_mut()?)));
        let (flow, number) = match dialog {
            Some((flow, dialog)) => {
                let next = dialog.request(method.clone());
                (Some(flow), next.cseq().map_or(last + 1, |cseq| cseq.number))
            }
            None => (None, last + 1),
        };
        request
            .headers
            .set("CSeq", CSeq { number, method }.to_string());
        flow
    }

    /// What waited for the answer to one request waits for that to another one; returns its way, where
    /// it is not that of a leg.
    fn rename(&mut self, old: ClientKey, new: ClientKey, answered: &Request) -> Option<Flow> {
        if let Some(exchange) = self.exchange.as_mut().filter(|e| e.client == Some(old)) {
            exchange.client = Some(new);
        }
        for relay in self.relays.iter_mut().filter(|relay| relay.client == old) {
            relay.client = new;
        }
        self.caller.dialogue.renamed(old, new);
        self.callee.dialogue.renamed(old, new);
        let notice = self.notices.iter_mut().find(|notice| notice.key == old)?;
        notice.key = new;
        *notice.request = answered.clone();
        Some(notice.flow)
    }

    fn exchange_has(&self, key: ClientKey) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.client == Some(key))
    }

    fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        self.recorded.note(cx, &fact);
    }

    /// Where a leg sits; `None` for one that waits for its place or has left it.
    fn side_of(&self, leg: LegId) -> Option<Side> {
        let mut sides = [Side::Caller, Side::Callee].into_iter();
        sides.find(|side| self.leg(*side).id == leg)
    }

    fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    fn next_key(&mut self) -> ClientKey {
        self.keys.next()
    }

    fn next_ask(&mut self) -> AskId {
        self.about.asked += 1;
        AskId(self.about.asked)
    }

    fn forget(&mut self, key: ClientKey) {
        self.notices.retain(|notice| notice.key != key);
        self.abandoned.retain(|abandoned| abandoned.key() != key);
    }

    fn bridge(&mut self, cx: &mut Context<'_>) {
        if self.setup.bridging == Bridging::Done {
            return;
        }
        self.setup.bridging = Bridging::Done;
        let (a, b) = (self.caller.id, self.callee.id);
        cx.media(MediaCommand::Bridge { a, b });
        for leg in self.recorded.digit_legs() {
            cx.media(MediaCommand::TakeDigits { leg });
        }
    }

    /// Refuses an INVITE whose media cannot be had.
    fn refuse_session(
        &self,
        cx: &mut Context<'_>,
        key: ServerKey,
        request: &Request,
        why: &SdpError,
    ) {
        let response = crate::answer::not_acceptable(cx.settings, request, why);
        let status = response.status.code();
        cx.log(LogEvent::RequestRefused { status });
        cx.act(Action::Respond(key, response));
    }

    /// Answers a request on this node's own behalf.
    fn refuse(
        &self,
        cx: &mut Context<'_>,
        key: ServerKey,
        request: &Request,
        status: u16,
        why: Option<&str>,
    ) {
        let response = crate::answer::refusal(cx.settings, request, status, why);
        cx.log(LogEvent::RequestRefused { status });
        cx.act(Action::Respond(key, response));
    }
}
