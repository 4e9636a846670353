//! What a phone says.

use std::sync::Arc;

use duolog_audio::g711::{self, Law};

use super::coded::CodedVoice;

/// What comes after the last sample of a recorded voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The first one again.
    Looped,
    /// Nothing: no more packets.
    Once,
}

/// The same speech in both laws, 8 kHz mono, equally long. Other codecs are fed from the mu-law one.
#[derive(Debug, Clone)]
pub struct Speech {
    /// In mu-law.
    pub mulaw: Arc<[u8]>,
    /// In A-law.
    pub alaw: Arc<[u8]>,
}

impl Speech {
    /// Encodes 16-bit samples in both laws.
    #[must_use]
    pub fn new(samples: &[i16]) -> Self {
        let code = |law| {
            samples
                .iter()
                .map(|&sample| g711::encode(law, sample))
                .collect()
        };
        Self {
            mulaw: code(Law::Mulaw),
            alaw: code(Law::Alaw),
        }
    }

    fn in_law(&self, law: Law) -> &[u8] {
        match law {
            Law::Mulaw => &self.mulaw,
            Law::Alaw => &self.alaw,
        }
    }
}

/// What a phone sends as audio.
#[derive(Debug, Clone)]
pub enum Voice {
    /// No packets at all.
    None,
    /// A recorded voice.
    Samples {
        /// The voice.
        speech: Speech,
        /// What comes after its end.
        repeat: Repeat,
        /// The sample it starts with; beyond the end counts from the start again.
        from: usize,
    },
    /// A voice that says who speaks and when.
    Coded(CodedVoice),
    /// A sine.
    Tone {
        /// Its frequency, in Hz; below half the rate of the codec that carries it.
        hz: f32,
        /// Its level as a peak, in dBFS; at most 0.
        dbfs: f32,
    },
}

/// Whether there was something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// The buffer is full.
    Whole,
    /// The voice is silent: no packet.
    Nothing,
}

impl Voice {
    /// Fills `codes` with what is said `at` samples after the voice was set; past the end of a voice
    /// spoken once, with silence.
    pub(super) fn speak(&self, law: Law, at: u64, codes: &mut [u8]) -> Spoken {
        match self {
            Voice::None => return Spoken::Nothing,
            Voice::Coded(voice) => voice.codes(law, at, codes),
            Voice::Tone { hz, dbfs } => {
                for (place, code) in (at..).zip(codes) {
                    *code = g711::encode(law, sine(*hz, *dbfs, place as f64 / 8_000.0));
                }
            }
            Voice::Samples {
                speech,
                repeat,
                from,
            } => {
                let all = speech.in_law(law);
                let begin = *from as u64 + at;
                if all.is_empty() || (*repeat == Repeat::Once && begin >= all.len() as u64) {
                    return Spoken::Nothing;
                }
                for (place, code) in (begin..).zip(codes) {
                    *code = match repeat {
                        Repeat::Looped => all[(place % all.len() as u64) as usize],
                        Repeat::Once => all
                            .get(place as usize)
                            .copied()
                            .unwrap_or(g711::silence(law)),
                    };
                }
            }
        }
        Spoken::Whole
    }

    /// Fills `samples`, `rate_hz` a second, with what is said `at_ms` after the voice was set. A recorded
    /// voice has nothing above 4 kHz.
    pub(super) fn samples(&self, rate_hz: u32, at_ms: u64, samples: &mut [i16]) -> Spoken {
        match self {
            Voice::None => return Spoken::Nothing,
            Voice::Coded(voice) => voice.samples_at(rate_hz, at_ms, samples),
            Voice::Tone { hz, dbfs } => {
                let from = at_ms * u64::from(rate_hz) / 1_000;
                for (place, sample) in (from..).zip(samples) {
                    *sample = sine(*hz, *dbfs, place as f64 / f64::from(rate_hz));
                }
            }
            Voice::Samples { .. } => {
                // One more, so that the last interval has two ends.
                let count = samples.len() * 8_000 / rate_hz as usize + 2;
                let mut codes = vec![0; count];
                if self.speak(Law::Mulaw, at_ms * 8, &mut codes) == Spoken::Nothing {
                    return Spoken::Nothing;
                }
                for (n, sample) in samples.iter_mut().enumerate() {
                    let at = n as f32 * 8_000.0 / rate_hz as f32;
                    let (whole, part) = (at as usize, at.fract());
                    let [a, b] = [codes[whole], codes[whole + 1]]
                        .map(|code| f32::from(g711::decode(Law::Mulaw, code)));
                    *sample = (a + part * (b - a)).round() as i16;
                }
            }
        }
        Spoken::Whole
    }
}

fn sine(hz: f32, dbfs: f32, at_s: f64) -> i16 {
    let peak = 32_767.0 * 10_f64.powf(f64::from(dbfs) / 20.0);
    (peak * (std::f64::consts::TAU * f64::from(hz) * at_s).sin()).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_ends_or_begins_again() {
        let speech = Speech {
            mulaw: [1, 2, 3].into(),
            alaw: [4, 5, 6].into(),
        };
        let say = |repeat, from, law, at| {
            let mut codes = [0; 4];
            let voice = Voice::Samples {
                speech: speech.clone(),
                repeat,
                from,
            };
            (voice.speak(law, at, &mut codes), codes)
        };
        assert_eq!(
            say(Repeat::Looped, 0, Law::Mulaw, 0),
            (Spoken::Whole, [1, 2, 3, 1])
        );
        assert_eq!(
            say(Repeat::Looped, 2, Law::Alaw, 3),
            (Spoken::Whole, [6, 4, 5, 6])
        );
        assert_eq!(
            say(Repeat::Once, 1, Law::Mulaw, 0),
            (Spoken::Whole, [2, 3, 0xff, 0xff])
        );
        assert_eq!(say(Repeat::Once, 1, Law::Mulaw, 2).0, Spoken::Nothing);
        assert_eq!(
            Voice::None.speak(Law::Mulaw, 0, &mut [0; 4]),
            Spoken::Nothing
        );
    }
}
