//! What the media plane reports about the legs and the recording of a call.

use crate::fact::{Fact, HungUpBy};
use crate::log::LogEvent;
use crate::media::{LegId, MediaEvent};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::leg::{Audible, Holding, Ports};
use crate::role::b2bua::{Call, Phase};

impl Call {
    /// What the media plane reports about a leg or the recording of this call.
    pub(crate) fn media(&mut self, cx: &mut Context<'_>, event: MediaEvent) {
        match event {
            MediaEvent::LegOpened { leg, rtp, rtcp } => {
                let side = self.side_of(leg);
                self.leg_mut(side).ports = Some(Ports { rtp, rtcp });
                if self.phase == Phase::Opening
                    && self.caller.ports.and(self.callee.ports).is_some()
                {
                    self.invite_callee(cx);
                }
            }
            MediaEvent::LegRefused { reason, .. } => {
                cx.log(LogEvent::NoPorts { reason });
                self.fail(cx, 503, HungUpBy::NoPorts);
            }
            MediaEvent::Played { leg, play, whole } => {
                if let Some(recorded) = &mut self.recorded {
                    recorded.played(cx, leg, play, whole);
                }
            }
            MediaEvent::Digit { leg, digit } => {
                if let Some(recorded) = &mut self.recorded
                    && recorded.digits_of() == Some(leg)
                    && self.phase != Phase::Over
                {
                    recorded.digit(cx, digit);
                }
            }
            MediaEvent::FirstPacket { leg } => {
                let side = self.side_of(leg);
                self.leg_mut(side).audio = Audible::Yes;
                self.note(cx, Fact::FirstPacket { side });
            }
            MediaEvent::MediaTimeout { leg } => self.went_silent(cx, leg),
            MediaEvent::RecordingTrouble { reason, .. } => {
                if let Some(recorded) = &mut self.recorded {
                    recorded.trouble(cx, reason);
                }
            }
            MediaEvent::RecordingLost { reason, .. } => {
                if let Some(recorded) = &mut self.recorded {
                    recorded.lost(cx, reason);
                }
            }
        }
    }

    /// A leg has sent nothing for a while. Held parties may be silent; two silent parties that do
    /// not hold each other are gone.
    fn went_silent(&mut self, cx: &mut Context<'_>, leg: LegId) {
        let side = self.side_of(leg);
        self.leg_mut(side).audio = Audible::TimedOut;
        self.note(cx, Fact::MediaTimeout { side });
        let legs = [&self.caller, &self.callee];
        let gone = legs
            .iter()
            .all(|l| l.audio == Audible::TimedOut && l.holding == Holding::No);
        if gone && self.phase == Phase::Connected {
            self.end(cx, HungUpBy::MediaTimeout);
        }
    }
}
