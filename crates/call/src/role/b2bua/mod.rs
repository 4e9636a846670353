//! A call that passes through this node: two dialogs, two legs, one decision about each input.
//!
//! `invite` sets the call up, `session` carries descriptions across, `agreement` says what a leg's two
//! descriptions agree on, `mid_dialog` does what happens
//! while the call stands, `reports` takes what the media plane says, `ending` ends the call in every
//! way it can end, `recorded` records it.

mod agreement;
mod body;
pub(crate) mod carry;
pub(crate) mod context;
mod ending;
mod invite;
pub(crate) mod keys;
pub(crate) mod leg;
mod mid_dialog;
mod recorded;
mod reports;
mod session;
mod sounds;

use std::time::Instant;

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::sdp::SdpError;
use duolog_sip::{DialogError, Flow, Method, Request, Response, Transport};

use crate::fact::{Fact, Side};
use crate::log::LogEvent;
use crate::media::{CallId, LegId, MediaCommand, RecordingId};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Leg, Stage};
use crate::role::b2bua::recorded::Recorded;
use crate::role::b2bua::session::Exchange;
use crate::role::b2bua::sounds::Legs;

pub(crate) use body::Body;
pub(crate) use ending::{Reached, closing};
pub(crate) use invite::{Begin, opening};
pub(crate) use session::Offer;

/// One call.
pub(crate) struct Call {
    id: CallId,
    /// Call-ID of the caller's leg.
    call_id: String,
    phase: Phase,
    caller: Leg,
    callee: Leg,
    /// The offer and answer on their way, with the INVITE that carries them.
    exchange: Option<Exchange>,
    /// Requests carried from one side to the other and not answered yet.
    relays: Vec<Relay>,
    /// INVITEs whose answer nobody waits for any more.
    abandoned: Vec<Abandoned>,
    /// BYEs that are not answered yet.
    byes: Vec<Bye>,
    recorded: Option<Recorded>,
    /// When the phase, or the exchange, has taken too long.
    limit: Option<Instant>,
    keys: u32,
    /// The first INVITE to the callee, as sent: a forked answer needs it to be acknowledged.
    sent: Option<(ClientKey, Box<Request>)>,
    /// What the callee's provisional answers have said so far.
    early: Early,
    onward: Onward,
}

/// What kind of party the callee is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onward {
    /// A phone of ours: silence is 408.
    Phone,
    /// The next hop: silence is 504.
    Trunk,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The media plane is asked for ports.
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

/// What the callee's provisional answers have said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Early {
    /// The last status that was passed on.
    status: Option<u16>,
    /// Whether both legs are bridged.
    bridging: Bridging,
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

/// A BYE of ours that waits for its answer.
struct Bye {
    key: ClientKey,
    side: Side,
    flow: Flow,
    request: Box<Request>,
}

/// An INVITE whose 2xx, if it still comes, is acknowledged and ended (RFC 3261 §9.1, §13.2.2.4).
enum Abandoned {
    /// The first INVITE to the callee; `Call::sent` has what was sent.
    First(ClientKey),
    /// An INVITE within a dialog.
    Again(ClientKey, Side),
}

impl Abandoned {
    fn key(&self) -> ClientKey {
        match self {
            Self::First(key) | Self::Again(key, _) => *key,
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

/// The legs of a call.
pub(crate) fn legs_of(call: CallId) -> Legs {
    Legs {
        caller: LegId::caller(call),
        callee: LegId::callee(call),
    }
}

/// The call a leg belongs to.
pub(crate) fn call_of_leg(leg: LegId) -> CallId {
    CallId(leg.0 >> 1)
}

impl Call {
    /// Call-ID of the caller's leg.
    pub(crate) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The recording of this call.
    pub(crate) fn recording(&self) -> Option<RecordingId> {
        self.recorded.as_ref().map(Recorded::id)
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
            && self.byes.is_empty()
    }

    /// When [`Call::expire`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let recorded = self.recorded.as_ref().and_then(Recorded::deadline);
        [self.limit, recorded].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        if let Some(recorded) = &mut self.recorded {
            recorded.expire(cx);
        }
        if self.limit.is_some_and(|at| at <= cx.now) {
            self.limit = None;
            self.took_too_long(cx);
        }
    }

    /// A party's connection was made anew: requests to it go there.
    pub(crate) fn heard_on(&mut self, side: Side, flow: Flow) {
        let leg = self.leg_mut(side);
        if flow.transport == Transport::Tcp && flow.peer.ip() == leg.flow.peer.ip() {
            leg.flow = flow;
        }
    }

    /// The connections this call leans on.
    pub(crate) fn connections(&self) -> impl Iterator<Item = Flow> {
        let flows = [self.caller.flow, self.callee.flow].into_iter();
        flows.filter(|flow| flow.transport == Transport::Tcp)
    }

    /// A connection is gone: requests to its party go to where that one listens.
    pub(crate) fn connection_lost(&mut self, flow: Flow) {
        self.caller.lost(flow);
        self.callee.lost(flow);
    }

    /// A request within one of this call's dialogs.
    pub(crate) fn request(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        let received = self
            .leg_mut(side)
            .dialog
            .as_mut()
            .map(|dialog| dialog.receive(&request));
        match received {
            Some(Ok(())) => {}
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
            Method::Extension(_) => self.refuse(cx, key, &request, 501, None),
            _ => self.refuse(cx, key, &request, 405, None),
        }
    }

    /// An answer to a request of ours.
    pub(crate) fn response(&mut self, cx: &mut Context<'_>, key: ClientKey, response: Response) {
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.client == Some(key))
        {
            return match self.phase {
                Phase::Opening | Phase::Inviting => self.first_answer(cx, key, &response),
                Phase::Answered | Phase::Connected | Phase::Over => {
                    self.later_answer(cx, key, &response);
                }
            };
        }
        if let Some(at) = self.relays.iter().position(|relay| relay.client == key) {
            return self.relay_answered(cx, at, &response);
        }
        if response.status.is_success() {
            self.late_success(cx, key, &response);
        }
        if response.status.is_final() {
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
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.client == Some(key))
        {
            return self.exchange_failed(cx, why);
        }
        if let Some(at) = self.relays.iter().position(|relay| relay.client == key) {
            let relay = self.relays.swap_remove(at);
            return self.refuse(cx, relay.asker, &relay.request, 408, None);
        }
        if why == ClientFailure::Transport {
            self.bye_again(cx, key);
        }
        self.forget(key);
    }

    fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        if let Some(recorded) = &self.recorded {
            recorded.note(cx, fact);
        }
    }

    fn side_of(&self, leg: LegId) -> Side {
        if leg == self.callee.id {
            Side::Callee
        } else {
            Side::Caller
        }
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
        self.keys = self.keys.wrapping_add(1) & ((1 << KEY_BITS) - 1);
        ClientKey((self.id.0 << KEY_BITS) | u64::from(self.keys))
    }

    fn forget(&mut self, key: ClientKey) {
        self.byes.retain(|bye| bye.key != key);
        self.abandoned.retain(|abandoned| abandoned.key() != key);
    }

    fn bridge(&mut self, cx: &mut Context<'_>) {
        if self.early.bridging == Bridging::NotYet {
            self.early.bridging = Bridging::Done;
            cx.media(MediaCommand::Bridge {
                a: self.caller.id,
                b: self.callee.id,
            });
            if let Some(leg) = self.recorded.as_ref().and_then(Recorded::digits_of) {
                cx.media(MediaCommand::TakeDigits { leg });
            }
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
