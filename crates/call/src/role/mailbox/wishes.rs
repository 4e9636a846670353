//! What a caller wants of their own recording, by keys and in descriptions (RFC 7866 §7.1.3), and what a
//! record-aware caller is told (§7.1.2): how it stands with their own recording, or, where they have none,
//! with the message.

use std::time::{Duration, Instant};

use duolog_sip::sdp::Description;

use super::{Call, Phase};
use crate::fact::{Fact, Indication, Means, Side};
use crate::feature_code::Digit;
use crate::log::LogEvent;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::keypad::{Report, Way};
use crate::role::b2bua::{Describing, state_of};

/// How long an offer of ours waits that met one of the caller (RFC 3261 §14.1).
const MET: Duration = Duration::from_secs(1);

/// When the caller may be told.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// When the caller may be told again.
    tell_at: Option<Instant>,
}

impl Wishes {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tell_at
    }

    /// An offer of ours met one of the caller.
    pub(super) fn met(&mut self, now: Instant) {
        self.tell_at = Some(now + MET);
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        self.tell_at.take_if(|at| *at <= now);
        self.tell_at.is_none()
    }
}

impl Call {
    /// The caller pressed a key.
    pub(super) fn pressed(&mut self, cx: &mut Context<'_>, way: Way, digit: Digit) {
        let report = self.leg.dialogue.keypad.reported(cx.now, way, digit);
        if report == Report::Press && self.phase != Phase::Over {
            self.half.digit(cx, digit);
        }
    }

    /// What a description of the caller wants of their recording. A refusal is a fact already.
    pub(super) fn preferred(&mut self, cx: &mut Context<'_>, said: &Description, why: Describing) {
        if matches!(self.phase, Phase::Opening | Phase::Answered | Phase::Over) {
            return;
        }
        let phase = self.half.standing().map(|(_, _, phase)| phase);
        for control in self.leg.wants(said, why, phase) {
            if self.half.control(cx, Means::Offer, *control).is_err() {
                return;
            }
        }
    }

    /// How it stands with the recording, as the caller is told.
    pub(super) fn indication(&self) -> Indication {
        match self.half.standing() {
            Some((_, _, phase)) => state_of([Some(phase), None]),
            None => self.message.indication(),
        }
    }

    /// Tells a record-aware caller what they do not know yet. Belongs after each input.
    pub(super) fn indicate(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Opening | Phase::Answered | Phase::Over) {
            return;
        }
        if let Some(state) = self.leg.newly_knows() {
            let side = Side::Caller;
            self.note(cx, &Fact::Indicated { side, state });
            cx.log(LogEvent::Indicated { side, state });
        }
        let now = self.indication();
        self.leg.has_to_tell(now);
        let may = self.wishes.may_tell(cx.now);
        let free = self.exchange.is_none() && self.refresh.is_none();
        if may && free && self.leg.is_to_hear(now) {
            self.tell_caller(cx);
        }
    }
}
