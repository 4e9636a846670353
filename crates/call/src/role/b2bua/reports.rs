//! What the media plane reports about the legs and the recordings of a call.

use crate::fact::{Fact, HungUpBy, Side};
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
                self.has_ports(cx, leg, Ports { rtp, rtcp });
            }
            MediaEvent::LegRefused { leg, reason } => {
                cx.log(LogEvent::NoPorts { reason });
                match self.side_of(leg) {
                    Some(_) => self.fail(cx, 503, HungUpBy::NoPorts),
                    None => self.transfer_fails(cx, 503),
                }
            }
            MediaEvent::Begun { leg, play } => self.recorded.begun(cx, leg, play),
            MediaEvent::Played { leg, play, whole } => {
                self.recorded.played(cx, leg, play, whole);
                self.end_unrecorded(cx);
            }
            MediaEvent::Digit { leg, digit } => self.key_heard(cx, leg, digit),
            MediaEvent::FirstPacket { leg } => {
                if let Some(side) = self.side_of(leg) {
                    self.leg_mut(side).audio = Audible::Yes;
                    self.note(cx, Fact::FirstPacket { side });
                }
            }
            MediaEvent::MediaTimeout { leg } => {
                if let Some(side) = self.side_of(leg) {
                    self.went_silent(cx, side);
                }
            }
            MediaEvent::RecordingTrouble { recording, reason } => {
                // Also of a party that is on its way into the call.
                if let Some(coming) = &mut self.coming {
                    coming.carried.trouble(cx, recording, &reason);
                }
                let target = self.transfer.as_mut().and_then(|t| t.target.as_mut());
                if let Some(target) = target {
                    target.carried.trouble(cx, recording, &reason);
                }
                self.recorded.trouble(cx, recording, &reason);
                self.end_unrecorded(cx);
            }
        }
    }

    /// A call that cannot be recorded ends, where its owner wants that and all have heard it.
    pub(super) fn end_unrecorded(&mut self, cx: &mut Context<'_>) {
        if self.recorded.have_parted() {
            self.end(cx, HungUpBy::NotRecorded);
        }
    }

    fn has_ports(&mut self, cx: &mut Context<'_>, leg: LegId, ports: Ports) {
        let Some(side) = self.side_of(leg) else {
            return self.transfer_has_ports(cx, leg, ports);
        };
        self.leg_mut(side).ports = Some(ports);
        let both = self.caller.ports.and(self.callee.ports).is_some();
        if self.phase == Phase::Opening && both {
            self.invite_callee(cx);
        }
    }

    /// A leg has sent nothing for a while. Held parties may be silent; two silent parties that do
    /// not hold each other are gone.
    fn went_silent(&mut self, cx: &mut Context<'_>, side: Side) {
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
