//! Who was told what: every shipped prompt at every ear, tones, and keys as they were heard.

use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use duolog::phone::{Action, Heard, Repeat, Speech, Voice};
use duolog_audio::dtmf::{LiveDetector, Pressed};
use duolog_audio::measure::{goertzel_dbfs, rms_dbfs};
use duolog_audio::tone;
use duolog_call::{MediaEvent, PromptName};

use super::dice::Dice;
use super::kept::Kept;
use super::office::{Office, TRUNKS, USERS};
use super::scene::Saying;
use super::sound::{find, instant_of, spoken, tone_runs};
use super::{Who, World};

/// What tells of a recording.
pub const PROMPTS: [PromptName; 7] = [
    PromptName::RecordingStarts,
    PromptName::RecordingStops,
    PromptName::RecordingPaused,
    PromptName::RecordingResumed,
    PromptName::FailureContinues,
    PromptName::FailureEnds,
    PromptName::Compliance,
];

/// In which it is shipped.
pub const LANGUAGES: [&str; 2] = ["en", "nl"];

/// The pause and resume beep, in Hz.
pub const BEEP_HZ: f64 = 1_000.0;

/// The repeat tone, in Hz.
pub const REPEAT_HZ: f64 = 1_400.0;

/// What a recording may have of anything that was played, in dBFS.
pub const NOTHING_DBFS: f64 = -70.0;

/// Correlation from which a prompt counts as heard.
const HEARD: f64 = 0.9;

/// The part of a tone that counts: its half.
const HALF_DBFS: f64 = -26.0;

static SPOKEN: LazyLock<Vec<(PromptName, &str, Vec<i16>)>> = LazyLock::new(|| {
    let every = PROMPTS.into_iter().flat_map(|p| LANGUAGES.map(|l| (p, l)));
    every.map(|(p, l)| (p, l, spoken(p, l))).collect()
});

/// How long a prompt takes, in seconds.
#[must_use]
pub fn seconds(prompt: PromptName, language: &str) -> f64 {
    let mut all = SPOKEN.iter();
    let found = all.find(|(p, l, _)| (*p, *l) == (prompt, language));
    found.map_or(0.0, |(_, _, samples)| samples.len() as f64 / 8_000.0)
}

/// A prompt that was heard.
#[derive(Debug, Clone, Copy)]
pub struct Hearing {
    /// Which one.
    pub prompt: PromptName,
    /// In which language.
    pub language: &'static str,
    /// Where it begins.
    pub sample: usize,
    /// How well it fits, 0 to 1.
    pub fits: f64,
}

/// Every prompt in what was heard, in order; and the best that any other one fits anywhere.
#[must_use]
pub fn prompts_in(samples: &[i16]) -> (Vec<Hearing>, f64) {
    let (mut heard, mut beside) = (Vec::new(), 0.0_f64);
    let mut rest = samples.to_vec();
    // The best one first: what it covers is explained.
    while let Some(best) = best_of(&rest) {
        if best.fits < HEARD {
            beside = beside.max(best.fits);
            break;
        }
        let length = (seconds(best.prompt, best.language) * 8_000.0) as usize;
        rest[best.sample..best.sample + length].fill(0);
        heard.push(best);
    }
    heard.sort_by_key(|one: &Hearing| one.sample);
    (heard, beside)
}

fn best_of(samples: &[i16]) -> Option<Hearing> {
    // Silence in any codec fits nothing.
    if samples.iter().all(|sample| sample.unsigned_abs() <= 8) {
        return None;
    }
    let all = SPOKEN.iter().filter(|(_, _, s)| s.len() <= samples.len());
    let all = all.map(|(prompt, language, spoken)| {
        let (sample, fits) = find(spoken, samples);
        Hearing {
            prompt: *prompt,
            language,
            sample,
            fits,
        }
    });
    all.max_by(|one, other| one.fits.total_cmp(&other.fits))
}

/// Keys that sound in what was heard, as telephone-events, and the sample at which each begins, to within
/// 30 ms.
#[must_use]
pub fn keys_in(samples: &[i16]) -> Vec<(u8, usize)> {
    let mut keys = Vec::new();
    let mut detector = LiveDetector::new(8_000);
    for (n, part) in samples.chunks(80).enumerate() {
        let mut pressed: Vec<Pressed> = Vec::new();
        detector.push(part, &mut pressed);
        keys.extend(pressed.iter().map(|key| {
            let over = (n + 1) * 80;
            (
                key.event,
                over.saturating_sub(usize::from(key.duration_ms) * 8),
            )
        }));
    }
    keys
}

/// Keys as telephone-events.
///
/// # Panics
/// When one is on no telephone.
#[must_use]
pub fn events_of(keys: &str) -> Vec<u8> {
    let place = |key| "0123456789*#".find(key).expect("a key of a telephone") as u8;
    keys.chars().map(place).collect()
}

/// Someone who breathes and presses keys, each row at its second, each key for 80 ms with 50 ms behind:
/// nothing else can be sent where no telephone-events were agreed on.
#[must_use]
pub fn pressing(seed: u64, rows: &[(f64, &str)], length_s: usize) -> Voice {
    let mut dice = Dice::new(seed);
    let breath = |_| dice.below(801) as i16 - 400;
    let mut samples: Vec<i16> = (0..length_s * 8_000).map(breath).collect();
    for (at, keys) in rows {
        let row: Vec<(u8, u32)> = events_of(keys).iter().map(|key| (*key, 80)).collect();
        let from = (at * 8_000.0) as usize;
        for (sample, tone) in samples[from..].iter_mut().zip(tone::keys(&row)) {
            *sample += tone;
        }
    }
    Voice::Samples {
        speech: Speech::new(&samples),
        repeat: Repeat::Once,
        from: 0,
    }
}

/// The loudest 100 ms of a tone, in dBFS.
#[must_use]
pub fn loudest(samples: &[i16], hz: f64) -> f64 {
    let parts = samples.chunks(800).map(|part| goertzel_dbfs(part, hz));
    parts.fold(f64::MIN, f64::max)
}

/// The loudest that anything played is in recordings of silent parties: all of a channel, beep and repeat
/// tone, in dBFS.
///
/// # Panics
/// When it can be heard.
pub fn nothing_played_in(kept: &[Kept]) -> f64 {
    let levels = kept.iter().flat_map(|kept| &kept.channels).map(|channel| {
        let tones = [BEEP_HZ, REPEAT_HZ].map(|hz| loudest(channel, hz));
        tones.into_iter().fold(rms_dbfs(channel), f64::max)
    });
    let worst = levels.fold(f64::MIN, f64::max);
    assert!(worst < NOTHING_DBFS, "{worst} dBFS of what was played");
    worst
}

/// A description whose owner knows no telephone-events, as long as before.
pub(super) fn without_events(bytes: &Bytes) -> Bytes {
    let (known, other) = (b"telephone-event", b"telephone-absnt");
    let mut bytes = bytes.to_vec();
    let places = bytes.windows(known.len()).enumerate();
    let places = places.filter(|(_, window)| window == known);
    for at in places.map(|(at, _)| at).collect::<Vec<_>>() {
        bytes[at..at + other.len()].copy_from_slice(other);
    }
    bytes.into()
}

impl World {
    /// The storage of every recording that runs is lost now.
    pub fn lose_recordings(&mut self) {
        for running in self.node.running() {
            let (recording, reason) = (running.recording, "the disk is gone".to_owned());
            let lost = MediaEvent::RecordingTrouble { recording, reason };
            self.node.report(self.now, lost);
            self.spread();
        }
    }
}

/// What one phone is to have heard: prompts, in which language, and when each began, in seconds.
pub type Told<'a> = (&'a str, &'a [(PromptName, &'a str, f64)]);

impl Office {
    /// Nobody says anything from now on, in packets.
    pub fn silence(&mut self) {
        for who in self.world.everyone().collect::<Vec<_>>() {
            let voice = Saying::Silence.voice(0, 0);
            self.world.act(who, Action::SetVoice(voice));
        }
    }

    /// The phones of a site know no telephone-events.
    pub fn without_events(&mut self, phone: &str) {
        let Who(site, _) = self.who(phone);
        self.world.keyless.insert(site);
    }

    /// What a phone heard.
    ///
    /// # Panics
    /// When it heard nothing.
    #[must_use]
    pub fn ear(&self, phone: &str) -> Heard {
        let heard = self.world.phone(self.who(phone)).ear().heard();
        heard.unwrap_or_else(|| panic!("{phone} heard nothing"))
    }

    /// When a sample left the node for an ear, in seconds of the world.
    #[must_use]
    pub fn left_at(&self, heard: &Heard, sample: usize) -> f64 {
        self.seconds(instant_of(heard, sample)) - self.world.net.media.delay.as_secs_f64()
    }

    /// In seconds of the world.
    #[must_use]
    pub fn seconds(&self, at: Instant) -> f64 {
        self.world.since(at).as_secs_f64()
    }

    /// Each of these heard this at these times, each at most 60 ms late, and nobody else did.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_tones(&self, name: &str, hz: f64, told: &[(&str, &[f64])]) {
        let mut late = 0.0_f64;
        for site in USERS.iter().chain(TRUNKS.iter().map(|(name, _)| name)) {
            for phone in [1, 2, 3].map(|line| format!("{site}{line}")) {
                let wanted = told.iter().find(|(name, _)| *name == phone);
                let wanted = wanted.map_or(&[][..], |(_, at)| at);
                let found = self.tones(&phone, hz);
                let story = self.story();
                assert_eq!(
                    found.len(),
                    wanted.len(),
                    "{name}: {phone} at {hz} Hz: {found:?}\n{story}"
                );
                for (at, due) in found.iter().zip(wanted) {
                    let off = at - due;
                    assert!((-0.005..=0.06).contains(&off), "{name}: {phone} {found:?}");
                    late = late.max(off);
                }
            }
        }
        println!("{name}: {hz} Hz at most {:.0} ms late", late * 1e3);
    }

    /// Each of these heard these prompts, each once, whole and at most 60 ms late; nobody else heard any.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_told(&self, name: &str, told: &[Told<'_>]) {
        let (mut least, mut late, mut beside) = (1.0_f64, 0.0_f64, 0.0_f64);
        for who in self.world.everyone() {
            let Some(heard) = self.world.phone(who).ear().heard() else {
                continue;
            };
            let wanted = told.iter().find(|(phone, _)| self.who(phone) == who);
            let wanted = wanted.map_or(&[][..], |(_, prompts)| prompts);
            let (found, other) = prompts_in(&heard.samples);
            let names = |one: &Hearing| (one.prompt, one.language);
            let found_names: Vec<_> = found.iter().map(names).collect();
            let wanted_names: Vec<_> = wanted.iter().map(|(p, l, _)| (*p, *l)).collect();
            let story = self.story();
            assert_eq!(
                found_names, wanted_names,
                "{name}: {who:?} {other} {:?}\n{story}",
                heard.gaps
            );
            for (one, (.., due)) in found.iter().zip(wanted) {
                let off = self.left_at(&heard, one.sample) - due;
                assert!(
                    (-0.005..=0.06).contains(&off),
                    "{name}: {who:?} {:?} is {off:.3} s late\n{story}",
                    one.prompt
                );
                (least, late) = (least.min(one.fits), late.max(off));
            }
            beside = beside.max(other);
        }
        for (phone, wanted) in told {
            assert!(wanted.is_empty() || !self.ear(phone).samples.is_empty());
        }
        assert!(beside < 0.6, "{name}: part of a prompt: {beside}");
        println!(
            "{name}: correlation at least {least:.4} (of others at most {beside:.2}), at most {:.0} ms late",
            late * 1e3
        );
    }

    /// When a tone begins at a phone, in seconds of the world: each time it sounds.
    #[must_use]
    pub fn tones(&self, phone: &str, hz: f64) -> Vec<f64> {
        let Some(heard) = self.world.phone(self.who(phone)).ear().heard() else {
            return Vec::new();
        };
        let runs = tone_runs(&heard.samples, hz, HALF_DBFS);
        let runs = runs.iter().map(|run| self.left_at(&heard, run.from));
        runs.collect()
    }

    /// The keys that sounded at a phone: which, and when each began to, in seconds.
    #[must_use]
    pub fn sounds(&self, phone: &str) -> Vec<(u8, f64)> {
        let heard = self.ear(phone);
        let keys = keys_in(&heard.samples).into_iter();
        keys.map(|(key, at)| (key, self.seconds(instant_of(&heard, at))))
            .collect()
    }

    /// The telephone-events that reached a phone: which, and when each began to, in seconds.
    #[must_use]
    pub fn events(&self, phone: &str) -> Vec<(u8, f64)> {
        let packets = self.world.phone(self.who(phone)).ear().packets().iter();
        let events = packets.filter(|packet| packet.codec.is_none() && packet.payload.len() == 4);
        let mut seen: Vec<(u8, f64)> = Vec::new();
        let mut last = None;
        for packet in events {
            if last.replace(packet.timestamp) != Some(packet.timestamp) {
                seen.push((packet.payload[0], self.seconds(packet.arrived)));
            }
        }
        seen
    }
}
