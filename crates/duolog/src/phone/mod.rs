//! duolog's own test phone: one call at a time, as a value, and a thin shell with real sockets.
//!
//! [`Phone`] takes datagrams, actions and instants and answers with datagrams and events; it knows no
//! socket, clock, thread or random source, so hundreds of them live in virtual time. [`Group`] puts
//! many phones behind one SIP address. [`RealPhones`] drives a group on real sockets.

mod calling;
mod change;
mod coded;
mod digest;
mod ear;
mod group;
mod keypad;
mod media;
mod mouth;
mod offer;
mod real;
mod refer;
mod registering;
mod ringing;
mod session_timer;
mod settings;
mod shell;
mod sighting;
mod sockets;
mod talk;
mod ua;
mod voice;
mod words;

use std::time::Instant;

use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use duolog_sip::{Replaces, Request, Uri};

pub use coded::{CodedVoice, PARTIES, SLOT_SAMPLES, SLOTS};
pub use ear::{Ear, Heard, HeardPacket, Keep};
pub use group::{Group, PhoneNo};
pub use media::{Agreed, SentPacket, Speaks};
pub use offer::{HoldStyle, KeyUse, Security};
pub use real::{Look, RealError, RealPhones, RealSettings, Told};
pub use settings::{
    AfterTransfer, Answering, EarlyMedia, Icon, PhoneSettings, Reliable, SessionTimer, Ways,
};
pub use sighting::{Sighting, decode};
pub use voice::{Repeat, Speech, Voice};
pub use words::{
    Action, By, Calling, Change, End, Failure, Input, Offering, Output, PhoneEvent, Shown,
    Subscription,
};

use media::{MediaSide, Pace};
use ua::{Steps, UserAgent};

/// A phone: one call at a time, calls out and takes calls.
#[derive(Debug)]
pub struct Phone {
    agent: UserAgent,
    media: MediaSide,
    shown: Vec<Shown>,
}

impl Phone {
    /// A phone without a call.
    ///
    /// # Panics
    /// When no law is given or the packet time is not 10 to 200 ms.
    #[must_use]
    pub fn new(settings: PhoneSettings) -> Self {
        assert!(
            !settings.codecs.is_empty(),
            "a phone speaks at least one codec"
        );
        assert!(
            (10..=200).contains(&settings.ptime_ms),
            "a packet holds 10 to 200 ms"
        );
        let mut seed = settings.seed;
        let pace = Pace {
            ptime_ms: settings.ptime_ms,
            clock_ppm: settings.clock_ppm,
            ssrc: Ssrc(next_random(&mut seed) as u32),
            seq: SeqNo(next_random(&mut seed) as u16),
            timestamp: RtpTimestamp(next_random(&mut seed) as u32),
            cname: format!("{}@{}", settings.user, settings.rtp.ip()),
            seed: next_random(&mut seed),
        };
        let media = MediaSide::new(pace, settings.keep, settings.voice.clone());
        Self {
            agent: UserAgent::new(settings, next_random(&mut seed)),
            media,
            shown: Vec::new(),
        }
    }

    /// Takes one input; the outputs are in the order in which they are to be done.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Rtp { arrived, bytes } => self.media.receive(arrived, &bytes),
            Input::Rtcp { bytes } => self.media.receive_rtcp(now, &bytes),
            Input::Do(Action::SetVoice(voice)) => self.media.set_voice(voice),
            Input::Do(Action::Repack { ptime_ms }) => self.media.repack(ptime_ms),
            Input::Do(Action::Renew {
                ssrc,
                seq,
                timestamp,
            }) => self.media.renew(ssrc, seq, timestamp),
            Input::Do(Action::Press { digits }) => self.press(&digits, &mut out),
            other => {
                let mut steps = Steps {
                    now,
                    media: &mut self.media,
                    out: &mut out,
                    shown: &mut self.shown,
                };
                self.agent.handle(other, &mut steps);
            }
        }
        self.media.tick(now, &mut out);
        out
    }

    /// When `Input::Deadline` is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.agent.deadline(), self.media.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What it heard.
    #[must_use]
    pub fn ear(&self) -> &Ear {
        self.media.ear()
    }

    /// What it showed of recordings, and from when on: each change of its icon, which is dark at first
    /// and after each call. Empty unless it is [`Icon::Shown`].
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Every RTP packet it sent, in order; empty unless [`Keep::Packets`] was asked for.
    #[must_use]
    pub fn sent(&self) -> &[SentPacket] {
        self.media.sent()
    }

    /// The source of its packets.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.media.ssrc()
    }

    /// What the two ends agreed on, while there is media.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.media.agreed()
    }

    /// The Call-ID of its call, or of its last one.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.agent.call_id()
    }

    /// The dialog of its call, early or not, as the other end must be told of it: for a REFER or an
    /// INVITE with Replaces of somebody else.
    #[must_use]
    pub fn as_replaced(&self) -> Option<Replaces> {
        self.agent.as_replaced()
    }

    /// Requests that began its calls or came inside them, in order; empty unless [`Keep::Packets`] was
    /// asked for.
    #[must_use]
    pub fn asked(&self) -> &[Request] {
        self.agent.asked()
    }

    /// Whom the other end asked this phone to call last (REFER), headers included.
    #[must_use]
    pub fn referred(&self) -> Option<&Uri> {
        self.agent.referring.target()
    }

    /// The Call-ID of its registrations.
    pub(crate) fn registration_id(&self) -> &str {
        self.agent.registration.call_id()
    }

    /// The user part of its address.
    #[must_use]
    pub fn user(&self) -> &str {
        self.agent.user()
    }

    /// Whether it has no call.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.agent.is_idle()
    }

    fn press(&mut self, digits: &str, out: &mut Vec<Output>) {
        let agreed = self
            .media
            .agreed()
            .is_some_and(|agreed| agreed.event_type.is_some());
        if !agreed || self.media.press(digits) != 0 {
            out.push(Output::Event(PhoneEvent::Failed(Failure::NoSuchKey)));
        }
    }
}

/// SplitMix64: phones with neighbouring seeds have nothing in common.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
