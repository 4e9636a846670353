//! A caller leaves a message: one leg, and nobody across but this node. The greeting, a beep, then what
//! the caller says is recorded on behalf of the mailbox's owner.
//!
//! ```text
//! Opening ─ports─ Answered ─ACK─ Announcing ─ Greeting ─ Beeping ─ Recording ─longest─ Farewell ─ Over
//! ```
//!
//! `answer` says what is agreed with the caller, `sounding` plays, `message` keeps the recording, `asked`
//! takes what the caller asks within the dialog, `wishes` what the caller wants of their own recording and
//! is told of it, `refresh` makes offers of our own, `ending` ends the call.
//!
//! 1. The greeting and the beeps are played to the caller's leg and so are in no recording.
//! 2. The message is the caller's audio from the end of the beep to the end of the call.
//! 3. Each recording that is opened is closed once, whatever happens.

mod answer;
mod asked;
mod ending;
mod message;
mod refresh;
mod sounding;
mod wishes;

use std::time::{Duration, Instant};

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::{Flow, Request, Response};

use crate::engine::Running;
use crate::fact::{Fact, HungUpBy, Means, Side};
use crate::log::LogEvent;
use crate::media::{CallId, MediaCommand, MediaEvent, MediaGroup, PlayId, RecordingId};
use crate::recording::{Control, Phase as Standing, Refusal};
use crate::role::b2bua::Describing;
use crate::role::b2bua::branches::Keys;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::half::Half;
use crate::role::b2bua::handoff::Handed;
use crate::role::b2bua::keypad::Way;
use crate::role::b2bua::leg::{Holding, Leg, Ports, Stage};
use crate::route::Party;
use crate::settings::UserIndex;

use answer::Exchange;
use ending::Farewell;
use message::Message;
use refresh::Refresh;
use wishes::Wishes;

/// How long the media plane may take to open ports.
const PORTS_LIMIT: Duration = Duration::from_secs(10);

/// One call of somebody who leaves a message.
pub(crate) struct Call {
    about: About,
    phase: Phase,
    leg: Leg,
    /// The INVITE that is not over.
    exchange: Option<Exchange>,
    message: Message,
    /// What the caller's own settings keep of it.
    half: Half,
    /// What sounds to the caller.
    playing: Option<PlayId>,
    /// How often the greeting has begun.
    greeted: u8,
    wishes: Wishes,
    /// When the phase has taken too long; while recording, when the message is as long as it may be.
    limit: Option<Instant>,
    refresh: Option<Refresh>,
    farewell: Option<Farewell>,
    keys: Keys,
}

/// What is known from the beginning.
struct About {
    call_id: String,
    group: MediaGroup,
    owner: UserIndex,
    longest: Duration,
    language: String,
}

/// How far the call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The media plane is asked for ports.
    Opening,
    /// The INVITE is answered and not acknowledged.
    Answered,
    /// The caller is told that their own half is recorded.
    Announcing,
    /// The greeting sounds.
    Greeting,
    /// The beep sounds.
    Beeping,
    /// The message is recorded.
    Recording,
    /// The message is as long as it may be: a last beep sounds.
    Farewell,
    /// Transactions are all that is left.
    Over,
}

impl Call {
    /// Takes a caller over whom nobody has answered.
    pub(crate) fn begin(cx: &mut Context<'_>, id: CallId, handed: Handed) -> Self {
        let owner = &cx.settings.users[handed.owner.0];
        let about = About {
            call_id: handed.invite.call_id().unwrap_or_default().to_owned(),
            group: handed.group,
            owner: handed.owner,
            longest: handed.mailbox.longest,
            language: cx.settings.language_of(owner).to_owned(),
        };
        let (message, half) = message::open(cx, &handed);
        let mut call = Self {
            about,
            phase: Phase::Opening,
            leg: handed.leg,
            exchange: Some(Exchange::first(handed.server, handed.invite)),
            message,
            half,
            playing: None,
            greeted: 0,
            wishes: Wishes::default(),
            limit: Some(cx.now + PORTS_LIMIT),
            refresh: None,
            farewell: None,
            keys: Keys::new(id),
        };
        if let Some(dialog) = call.leg.dialog.clone() {
            call.leg.bind(cx, Side::Caller, dialog);
        }
        if call.leg.ports.is_some() {
            call.answer(cx);
        }
        call
    }

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
        let caller = match self.leg.who.party {
            Party::User(user) => Some(user),
            Party::Trunk(_) => None,
        };
        caller.into_iter().chain([self.about.owner])
    }

    /// The caller's own recorded half. The message is nobody's to control.
    pub(crate) fn running(&self, id: CallId) -> Vec<Running> {
        let standing = self.half.standing();
        let running = standing.map(|(recording, owner, phase)| Running {
            call: id,
            call_id: self.about.call_id.clone(),
            recording,
            owner,
            party: self.message.number().to_owned(),
            phase,
        });
        running.into_iter().collect()
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_gone(&self) -> bool {
        self.phase == Phase::Over
            && self.leg.stage == Stage::Over
            && self.exchange.is_none()
            && self.refresh.is_none()
            && self.farewell.is_none()
    }

    /// When [`Call::expire`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.phase == Phase::Over {
            return None;
        }
        let timer = self.leg.dialogue.timer.deadline();
        let all = [
            self.limit,
            self.half.deadline(),
            timer,
            self.wishes.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        self.half.expire(cx);
        if self.limit.take_if(|at| *at <= cx.now).is_some() {
            self.took_too_long(cx);
        }
        self.refresh_due(cx);
        self.greet_when_told(cx);
    }

    fn took_too_long(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Opening => self.fail(cx, 480, HungUpBy::NoPorts),
            Phase::Greeting | Phase::Beeping | Phase::Farewell => self.sounded(cx),
            Phase::Recording => self.say_goodbye(cx),
            Phase::Announcing if !self.half_speaks() => self.greet(cx),
            Phase::Answered | Phase::Announcing | Phase::Over => {}
        }
    }

    /// The caller's connection was made anew: requests go there.
    pub(crate) fn heard_on(&mut self, flow: Flow) {
        if flow.transport.is_reliable() && flow.peer.ip() == self.leg.flow.peer.ip() {
            self.leg.flow = flow;
        }
    }

    /// The connections this call leans on.
    pub(crate) fn connections(&self) -> impl Iterator<Item = Flow> {
        let flow = self.leg.flow;
        std::iter::once(flow).filter(|flow| flow.transport.is_reliable())
    }

    /// A connection is gone: requests go to where the caller listens.
    pub(crate) fn connection_lost(&mut self, flow: Flow) {
        self.leg.lost(flow);
    }

    /// Somebody with the right asks for something of a recording: of the caller's own half.
    pub(crate) fn control(
        &mut self,
        cx: &mut Context<'_>,
        recording: RecordingId,
        by: Means,
        control: Control,
    ) -> Result<Standing, Refusal> {
        if self.message.is(recording) {
            return Err(Refusal::ModeForbids);
        }
        let result = self.half.control(cx, by, control);
        self.greet_when_told(cx);
        result
    }

    /// An answer to a request of ours.
    pub(crate) fn response(&mut self, cx: &mut Context<'_>, key: ClientKey, response: &Response) {
        if self.refresh.as_ref().is_some_and(|own| own.is(key)) {
            return self.refresh_answered(cx, response);
        }
        if response.status.is_final() {
            self.farewell.take_if(|farewell| farewell.key == key);
        }
    }

    /// A request of ours failed without an answer.
    pub(crate) fn client_failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) {
        if self.refresh.as_ref().is_some_and(|own| own.is(key)) {
            return self.refresh_failed(cx, why);
        }
        if let Some(farewell) = self.farewell.take_if(|farewell| farewell.key == key) {
            self.say_bye_again(cx, farewell, why);
        }
    }

    /// The caller acknowledged our 2xx.
    pub(crate) fn acked(&mut self, cx: &mut Context<'_>, key: ServerKey, ack: &Request) {
        let Some(exchange) = self.exchange.take_if(|exchange| exchange.server == key) else {
            return;
        };
        let agreed = self.take_late_answer(cx, &exchange, ack);
        self.may_hear_bye(cx);
        if agreed.is_err() {
            return self.end(cx, HungUpBy::BadSession);
        }
        if self.phase == Phase::Answered {
            self.connected(cx);
        }
    }

    fn connected(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Announcing;
        self.limit = None;
        self.note(cx, &Fact::Connected);
        cx.log(LogEvent::Connected);
        if self.half.takes_digits() {
            let leg = self.leg.id;
            cx.media(MediaCommand::TakeDigits { leg });
        }
        self.half.answered(cx);
        let agreed = self.leg.agreed.as_ref();
        if let Some(theirs) = agreed.map(|agreed| agreed.theirs.clone()) {
            self.preferred(cx, &theirs, Describing::Answer);
        }
        self.greet_when_told(cx);
    }

    /// What the media plane reports about the caller's leg or a recording of this call.
    pub(crate) fn media(&mut self, cx: &mut Context<'_>, event: MediaEvent) {
        match event {
            MediaEvent::LegOpened { rtp, rtcp, .. } => {
                self.leg.ports = Some(Ports { rtp, rtcp });
                if self.phase == Phase::Opening && !self.ends_unkept(cx) {
                    self.answer(cx);
                }
            }
            MediaEvent::LegRefused { reason, .. } => {
                cx.log(LogEvent::NoPorts { reason });
                self.fail(cx, 480, HungUpBy::NoPorts);
            }
            MediaEvent::Begun { play, .. } => self.begun(cx, play),
            MediaEvent::Played { play, whole, .. } => self.played(cx, play, whole),
            MediaEvent::Digit { digit, .. } => self.pressed(cx, Way::Media, digit),
            MediaEvent::FirstPacket { .. } => {
                let side = Side::Caller;
                self.note(cx, &Fact::FirstPacket { side });
            }
            MediaEvent::MediaTimeout { .. } => {
                let side = Side::Caller;
                self.note(cx, &Fact::MediaTimeout { side });
                let speaks = matches!(self.phase, Phase::Greeting | Phase::Recording);
                if speaks && self.leg.holding == Holding::No {
                    self.end(cx, HungUpBy::MediaTimeout);
                }
            }
            MediaEvent::RecordingTrouble { recording, reason } => {
                if !self.message.is(recording) {
                    return self.half.trouble(cx, recording, &reason);
                }
                self.message.cut_short(cx, reason);
                self.fail(cx, 480, HungUpBy::NotRecorded);
            }
        }
    }

    fn begun(&mut self, cx: &mut Context<'_>, play: PlayId) {
        self.half.begun(cx, play);
        if self.playing == Some(play) && self.phase == Phase::Greeting {
            self.note(cx, &self.greeting_starts());
        }
    }

    /// What follows from any input, once it is taken: where the caller's own settings end a call that
    /// cannot be recorded, and the caller has heard so, it ends; a record-aware caller is told how it
    /// stands.
    pub(crate) fn follow_up(&mut self, cx: &mut Context<'_>) {
        if self.half.have_parted() {
            self.end(cx, HungUpBy::NotRecorded);
        }
        self.indicate(cx);
    }

    fn note(&self, cx: &mut Context<'_>, fact: &Fact) {
        self.message.note(cx, fact.clone());
        self.half.note(cx, fact.clone());
    }
}
