//! Sounds for one party: instead of the conversation, or under it. Strictly behind the tap.
//!
//! A leg of G.711 gets its sounds sample by sample; a leg of another codec frames that were encoded
//! before, and speech with a sound under it is transcoded for as long as the sound lasts.
//!
//! 1. `Instead`: a frame of 20 ms every 20 ms from the moment of the command; relayed speech gives way.
//!    It waits for a party that cannot be sent to yet or does not listen, and begins anew for one that stops
//!    listening in its middle: what is over was heard whole.
//! 2. `Under`: added to the speech that passes, sample by sample; while none passes, frames of its own. It
//!    goes on in time even where nobody can hear it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_audio::codec::Codec;
use duolog_audio::g711::{self, Law};
use duolog_audio::mix;
use duolog_audio::prompt::Prompt;

use crate::PlayKey;
use crate::command::How;

/// Length of the packets made here.
pub(crate) const FRAME: Duration = Duration::from_millis(20);
/// Samples of a frame.
pub(crate) const FRAME_SAMPLES: usize = 160;
/// Speech that has not come for this long, or one and a half of its packets, is not waited for.
const SILENT_AFTER: Duration = Duration::from_millis(40);
/// Packets of a key come this far apart at most (RFC 4733 §2.5.1.2).
const KEY_UPDATE: Duration = Duration::from_millis(50);
/// Frames that are further behind than this are not caught up with: the thread stood still.
const HOPELESS: Duration = Duration::from_millis(200);

/// A sound and how far it is.
#[derive(Debug, Clone)]
pub(crate) struct Playing {
    pub(crate) play: PlayKey,
    sound: Arc<Prompt>,
    cursor: usize,
    /// Where it ends.
    end: usize,
    /// When the next frame is due.
    next: Instant,
    /// How much later than it is sent it is heard.
    behind: Duration,
    /// Whether it had to wait for its first frame to be heard.
    waited: Waited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Yes,
    No,
}

/// Whether a leg's party hears what is sent to it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ear {
    /// It does.
    Open,
    /// Keys are sent to it, for a moment.
    Busy,
    /// It holds, or there is no key to send with yet.
    Shut,
    /// No sound can be made in a codec of its: G.729 without the library.
    Deaf,
}

impl Playing {
    pub(crate) fn new(play: PlayKey, sound: Arc<Prompt>, now: Instant) -> Playing {
        Playing {
            play,
            end: sound.linear.len(),
            sound,
            cursor: 0,
            next: now,
            behind: Duration::ZERO,
            waited: Waited::No,
        }
    }

    /// Nobody hears it: it begins anew when somebody does.
    fn wait(&mut self, now: Instant) {
        self.cursor = 0;
        self.waited = Waited::Yes;
        self.next = now + FRAME;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.cursor >= self.end
    }

    /// When its next frame is due, or behind the last one its end.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// The next frame and when it is due, if that has come and it is not over.
    pub(crate) fn step(&mut self, now: Instant, codec: Codec) -> Option<(Frame, Instant)> {
        if self.is_over() || self.next > now {
            return None;
        }
        let due = catch_up(&mut self.next, now);
        let frame = match codec.law() {
            Some(law) => Frame::Codes(self.frame(law)),
            None => self.encoded(codec),
        };
        Some((frame, due))
    }

    /// The next frame in `law`, the sound's end filled up with silence.
    fn frame(&mut self, law: Law) -> [u8; FRAME_SAMPLES] {
        let mut frame = [g711::silence(law); FRAME_SAMPLES];
        let rest = self.sound.coded(law).get(self.cursor..).unwrap_or_default();
        let count = rest.len().min(FRAME_SAMPLES);
        frame[..count].copy_from_slice(&rest[..count]);
        self.cursor += FRAME_SAMPLES;
        frame
    }

    /// The next frame in a codec that is no law.
    fn encoded(&mut self, codec: Codec) -> Frame {
        let index = self.cursor / FRAME_SAMPLES;
        match self.sound.frames(codec) {
            Some(frames) => {
                // A codec that speaks later than it is fed may need a frame more.
                self.end = self.end.max(frames.len() * FRAME_SAMPLES);
                self.cursor += FRAME_SAMPLES;
                Frame::Encoded(Arc::clone(&self.sound), index)
            }
            None => Frame::ToEncode(self.frame(Law::Mulaw)),
        }
    }

    /// Adds the next samples to `payload`.
    fn mix(&mut self, law: Law, payload: &mut [u8]) {
        let rest = self.sound.linear.get(self.cursor..).unwrap_or_default();
        mix::mix_under(law, payload, rest);
        self.cursor += payload.len();
    }
}

/// 20 ms to be sent to a leg.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    /// G.711 in the law that was asked for.
    Codes([u8; FRAME_SAMPLES]),
    /// This frame of the sound, in the codec that was asked for.
    Encoded(Arc<Prompt>, usize),
    /// Mu-law that still has to be encoded: the sound was not encoded before.
    ToEncode([u8; FRAME_SAMPLES]),
}

/// What is played to one leg.
#[derive(Debug, Default)]
pub(crate) struct Players {
    instead: Option<Playing>,
    under: Option<Playing>,
    /// When speech, or what is played instead of it, was last sent to the leg.
    last_speech: Option<Instant>,
    /// Length of the last speech packet.
    last_length: Duration,
}

/// What a player wants sent.
pub(crate) enum Step {
    /// Nothing before the next deadline.
    Rest,
    /// This sound had to wait, and begins now.
    Begins(PlayKey),
    /// A frame, due at this instant; to be asked for with [`Players::frame`].
    Frame(Instant),
    /// This sound was played to its end.
    Over(PlayKey),
    /// This sound can not be heard.
    Unheard(PlayKey),
}

impl Players {
    /// Begins a sound; gives back the one it cuts. What is played instead of speech is heard behind
    /// the speech packet that was just sent, and over when the party has heard it to its end.
    pub(crate) fn play(&mut self, how: How, mut playing: Playing) -> Option<PlayKey> {
        let slot = match how {
            How::Instead => {
                let heard_until = self.last_speech.map(|last| last + self.last_length);
                playing.behind = heard_until.map_or(Duration::ZERO, |u| {
                    u.saturating_duration_since(playing.next)
                });
                &mut self.instead
            }
            How::Under => &mut self.under,
        };
        slot.replace(playing).map(|cut| cut.play)
    }

    /// Ends everything; gives back what was cut.
    pub(crate) fn stop(&mut self) -> [Option<PlayKey>; 2] {
        [self.instead.take(), self.under.take()].map(|cut| cut.map(|cut| cut.play))
    }

    /// Whether the conversation gives way.
    #[inline]
    pub(crate) fn replace_speech(&self) -> bool {
        self.instead.is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let instead = self.instead.as_ref().map(|playing| playing.next);
        let under = self.under.as_ref().map(|playing| playing.next);
        [instead, under].into_iter().flatten().min()
    }

    /// Speech on its way to the leg: puts the sound under it. The sound that ended, if one did.
    #[inline]
    pub(crate) fn pass(&mut self, now: Instant, law: Law, payload: &mut [u8]) -> Option<PlayKey> {
        self.last_speech = Some(now);
        self.last_length = Duration::from_micros(125 * payload.len() as u64);
        self.mix_under(law, payload)
    }

    /// Whether a sound is to be heard under speech.
    #[inline]
    pub(crate) fn is_under(&self) -> bool {
        self.under.is_some()
    }

    /// What is to be added to the next speech packet of so many samples; empty when nothing is.
    pub(crate) fn under(&self, samples: usize) -> &[i16] {
        let Some(playing) = &self.under else {
            return &[];
        };
        let rest = playing.sound.linear.get(playing.cursor..);
        let rest = rest.unwrap_or_default();
        &rest[..rest.len().min(samples)]
    }

    /// Speech of so many samples of 8 kHz went to the leg, made with what [`Players::under`] gave. The
    /// sound that ended, if one did.
    pub(crate) fn passed(&mut self, now: Instant, samples: usize) -> Option<PlayKey> {
        self.last_speech = Some(now);
        self.last_length = Duration::from_micros(125 * samples as u64);
        let playing = self.under.as_mut()?;
        playing.cursor += samples;
        self.end_under()
    }

    /// A key on its way to the leg: a frame between its packets would break it in two.
    pub(crate) fn wait_for_key(&mut self, now: Instant) {
        self.last_speech = Some(now);
        self.last_length = KEY_UPDATE;
    }

    fn mix_under(&mut self, law: Law, payload: &mut [u8]) -> Option<PlayKey> {
        let playing = self.under.as_mut()?;
        playing.mix(law, payload);
        self.end_under()
    }

    fn end_under(&mut self) -> Option<PlayKey> {
        self.under
            .take_if(|playing| playing.is_over())
            .map(|over| over.play)
    }

    /// What `pass` would make of this payload, for the fault that tests put in on purpose.
    pub(crate) fn colour(&self, law: Law, payload: &mut [u8]) {
        if let Some(playing) = &self.instead {
            let from = playing.cursor.saturating_sub(FRAME_SAMPLES);
            let codes = playing.sound.coded(law).get(from..).unwrap_or_default();
            for (code, &played) in payload.iter_mut().zip(codes) {
                *code = played;
            }
        }
        if let Some(playing) = &self.under {
            playing.clone().mix(law, payload);
        }
    }

    /// What is to be done at `now`. To be asked again until it rests.
    pub(crate) fn step(&mut self, now: Instant, ear: Ear) -> Step {
        if let Some(playing) = &mut self.instead
            && playing.next <= now
        {
            if playing.is_over() && !playing.behind.is_zero() {
                playing.next += std::mem::take(&mut playing.behind);
                return self.step(now, ear);
            }
            if playing.is_over() {
                let play = playing.play;
                self.instead = None;
                return Step::Over(play);
            }
            match ear {
                Ear::Open => {
                    if std::mem::replace(&mut playing.waited, Waited::No) == Waited::Yes {
                        return Step::Begins(playing.play);
                    }
                    let due = catch_up(&mut playing.next, now);
                    self.last_speech = Some(due);
                    self.last_length = FRAME;
                    return Step::Frame(due);
                }
                Ear::Busy => playing.next = now + FRAME,
                Ear::Shut => playing.wait(now),
                Ear::Deaf => {
                    let play = playing.play;
                    self.instead = None;
                    return Step::Unheard(play);
                }
            }
        }
        self.step_under(now)
    }

    /// The same for what sounds under speech.
    fn step_under(&mut self, now: Instant) -> Step {
        let patience = SILENT_AFTER.max(self.last_length * 3 / 2);
        let silent = self
            .last_speech
            .is_none_or(|last| now.saturating_duration_since(last) > patience);
        let speaks = self.instead.is_some();
        let Some(playing) = &mut self.under else {
            return Step::Rest;
        };
        if playing.next > now {
            return Step::Rest;
        }
        if !silent || speaks {
            playing.next = now + FRAME;
            return Step::Rest;
        }
        if playing.is_over() {
            let play = playing.play;
            self.under = None;
            return Step::Over(play);
        }
        Step::Frame(catch_up(&mut playing.next, now))
    }

    /// The frame that a step asked for, and the sound under it that ended with it.
    ///
    /// A frame that belongs to nothing any more is silence. Where frames were encoded before, nothing
    /// can be added to them: a sound under a prompt goes on unheard.
    pub(crate) fn frame(&mut self, codec: Codec) -> (Frame, Option<PlayKey>) {
        let Some(law) = codec.law() else {
            return self.encoded_frame(codec);
        };
        match &mut self.instead {
            Some(playing) => {
                let mut frame = playing.frame(law);
                let over = self.mix_under(law, &mut frame);
                (Frame::Codes(frame), over)
            }
            None => {
                let mut frame = [g711::silence(law); FRAME_SAMPLES];
                if let Some(playing) = &mut self.under {
                    playing.mix(law, &mut frame);
                }
                (Frame::Codes(frame), None)
            }
        }
    }

    fn encoded_frame(&mut self, codec: Codec) -> (Frame, Option<PlayKey>) {
        match (&mut self.instead, &mut self.under) {
            (Some(instead), under) => {
                let frame = instead.encoded(codec);
                if let Some(under) = under {
                    under.cursor += FRAME_SAMPLES;
                }
                (frame, self.end_under())
            }
            (None, Some(under)) => (under.encoded(codec), None),
            (None, None) => {
                let silence = [g711::silence(Law::Mulaw); FRAME_SAMPLES];
                (Frame::ToEncode(silence), None)
            }
        }
    }
}

/// The instant a frame is due at, and the next one 20 ms later.
fn catch_up(next: &mut Instant, now: Instant) -> Instant {
    if now.saturating_duration_since(*next) > HOPELESS {
        *next = now;
    }
    let due = *next;
    *next = due + FRAME;
    due
}
