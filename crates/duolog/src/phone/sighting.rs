//! The reading side of the coded voice: which slots of which party sound in a recording, and where.
//!
//! 1. A 40 ms Hann window walks over the samples in steps of 10 ms. It is folded into one period of
//!    the 50 Hz grid, so each tone costs 160 products.
//! 2. A window is a candidate when each group has one clear tone, the six are of like level, they
//!    are most of what sounds (beep and repeat tone apart), and the parity holds.
//! 3. The candidate's tone phases leave a few starts for the slot (whole periods of the grid apart,
//!    and closer where the six tones have a common divisor). The one taken is that which, with the
//!    slot's waveform and its neighbours', leaves the least unexplained.
//! 4. The slot is compared with its waveform in five pieces of 20 ms. Two that fit are a sighting.

use super::coded::{GROUPS, Grid, PERIOD, SLOT_SAMPLES, SLOTS, Sine, digits_of, groups, slot_of};

const WINDOW: usize = 2 * PERIOD;
const STEP: usize = PERIOD / 2;
const PIECES: usize = SLOT_SAMPLES / PERIOD;
/// The strongest tone of a group over the next, as a ratio of powers (5 dB).
const CLEAR: f32 = 3.2;
/// The weakest of the six tones over the strongest, as a ratio of powers (-13 dB).
const LIKE: f32 = 0.05;
/// The least share of the window's power that the six tones must hold.
const SHARE: f32 = 0.5;
/// The weakest code that is looked at: -50 dB below a full-scale sine, as mean square.
const FLOOR: f32 = 32_768.0 * 32_768.0 * 0.5e-5;
/// The least normalised correlation of a piece with its waveform.
const PIECE_FITS: f32 = 0.7;
/// What may sound with the code and is taken away first: the beep and the repeat tone.
const NOTICES: [Grid; 2] = [20, 28];

/// A slot of a coded voice found in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// The sample at which the slot begins; negative when its beginning was before the recording's.
    pub at_sample: i64,
    /// The party it names, 0 to 3.
    pub party: u8,
    /// The slot's number, 0 to 4,095.
    pub slot: u16,
    /// Normalised correlation of the pieces heard with their waveform, 0.7 to 1.
    pub confidence: f32,
    /// Which 20 ms pieces of the slot were heard: bit 0 is the first, bit 4 the last.
    pub pieces: u8,
}

impl Sighting {
    /// How much of the slot was heard, in milliseconds: 40 to 100 in steps of 20.
    #[must_use]
    pub fn heard_ms(&self) -> u32 {
        self.pieces.count_ones() * 20
    }

    /// Where the slot lies in the speaker's own time (8 kHz samples from slot 0 of the first round).
    #[must_use]
    pub fn said_at(&self) -> u64 {
        u64::from(self.slot) * SLOT_SAMPLES as u64
    }
}

/// Finds the slots of coded voices in one channel of a recording (16 bit, 8 kHz), in order.
///
/// Any alignment is found. A slot needs 40 ms of its 100 to be seen; silence, noise, speech and
/// the notices give none. Two coded voices at like level in one channel hide each other.
#[must_use]
pub fn decode(samples: &[i16]) -> Vec<Sighting> {
    let reader = Reader::new(samples);
    let mut found: Vec<Sighting> = Vec::new();
    let mut best: Option<Candidate> = None;
    let last = samples.len().saturating_sub(WINDOW);
    for at in (0..=last).step_by(STEP) {
        let seen = reader.candidate(at);
        match (&mut best, seen) {
            (Some(held), Some(new)) if held.digits == new.digits => {
                if new.share > held.share {
                    *held = new;
                }
            }
            (held, new) => {
                let ended = std::mem::replace(held, new);
                found.extend(ended.and_then(|candidate| reader.sighting(&candidate)));
            }
        }
    }
    found.extend(best.and_then(|candidate| reader.sighting(&candidate)));
    // A hole inside a slot makes two runs of windows of it; both lead to the same sighting.
    found.sort_by_key(|sighting| sighting.at_sample);
    found.dedup_by(|next, kept| {
        let same = (next.party, next.slot) == (kept.party, kept.slot);
        same && next.at_sample - kept.at_sample < PERIOD as i64
    });
    found
}

/// A window that reads as a slot.
struct Candidate {
    at: usize,
    digits: [usize; GROUPS],
    share: f32,
    /// Cosine and sine part of the six tones.
    heard: [(f32, f32); GROUPS],
}

struct Reader<'a> {
    samples: &'a [i16],
    sine: Sine,
    hann: [f32; WINDOW],
    /// Cosine and sine of every tone over one period.
    tones: Vec<Vec<[f32; PERIOD]>>,
    notices: Vec<[f32; PERIOD]>,
}

impl<'a> Reader<'a> {
    fn new(samples: &'a [i16]) -> Self {
        let sine = Sine::new();
        let cos = |grid| std::array::from_fn(|at| sine.cos(grid, at));
        let sin = |grid| std::array::from_fn(|at| sine.sin(grid, at));
        let pairs =
            |group: &[Grid]| -> Vec<_> { group.iter().flat_map(|&g| [cos(g), sin(g)]).collect() };
        let tones = groups().into_iter().map(pairs).collect();
        let notices = pairs(&NOTICES);
        let step = std::f32::consts::TAU / WINDOW as f32;
        let hann = std::array::from_fn(|at| 0.5 - 0.5 * (step * at as f32).cos());
        Self {
            samples,
            sine,
            hann,
            tones,
            notices,
        }
    }

    /// Reads the window that begins at `at`.
    fn candidate(&self, at: usize) -> Option<Candidate> {
        let window = self.samples.get(at..at + WINDOW)?;
        let mut folded = [0.0_f32; PERIOD];
        let mut energy = 0.0;
        for (place, (&sample, weight)) in window.iter().zip(self.hann).enumerate() {
            let weighted = f32::from(sample) * weight;
            energy += weighted * weighted;
            folded[place % PERIOD] += weighted;
        }
        // A sine of peak A is A/2 * sum(hann) on the grid, and A²/2 * sum(hann²) of the energy;
        // for a Hann window those sums are a half and three eighths of its length.
        let energy_of = |power: f32| power * 8.0 * 0.375 / WINDOW as f32;
        if energy < FLOOR * 0.375 * WINDOW as f32 {
            return None;
        }
        let mut digits = [0; GROUPS];
        let mut heard = [(0.0, 0.0); GROUPS];
        let (mut weakest, mut strongest, mut sum) = (f32::MAX, 0.0_f32, 0.0);
        for (group, tones) in self.tones.iter().enumerate() {
            let (mut best, mut second) = (0.0, 0.0);
            for (digit, pair) in tones.chunks_exact(2).enumerate() {
                let (re, im) = (dot(&folded, &pair[0]), dot(&folded, &pair[1]));
                let power = re * re + im * im;
                if power > best {
                    (second, best) = (best, power);
                    digits[group] = digit;
                    heard[group] = (re, im);
                } else if power > second {
                    second = power;
                }
            }
            if best < CLEAR * second {
                return None;
            }
            weakest = weakest.min(best);
            strongest = strongest.max(best);
            sum += best;
        }
        let notices: f32 = self
            .notices
            .iter()
            .map(|tone| dot(&folded, tone).powi(2))
            .sum();
        let share = energy_of(sum) / (energy - energy_of(notices)).max(1.0);
        if weakest < LIKE * strongest || share < SHARE {
            return None;
        }
        slot_of(digits)?;
        Some(Candidate {
            at,
            digits,
            share,
            heard,
        })
    }

    /// Places the slot exactly and says which pieces of it sound.
    fn sighting(&self, candidate: &Candidate) -> Option<Sighting> {
        let (party, slot) = slot_of(candidate.digits)?;
        let around = self.slot_and_neighbours(party, slot);
        let starts = self.starts(candidate);
        let scored = starts.map(|start| (start, self.explained(start, &around, candidate)));
        let at_sample = scored.max_by(|a, b| a.1.total_cmp(&b.1))?.0;
        let mut pieces = 0;
        let mut all = Fit::default();
        for piece in 0..PIECES {
            let from = SLOT_SAMPLES + piece * PERIOD;
            let fit = self.piece(
                at_sample + (piece * PERIOD) as i64,
                &around[from..from + PERIOD],
            );
            if fit.correlation() >= PIECE_FITS {
                pieces |= 1 << piece;
                all = Fit {
                    xt: all.xt + fit.xt,
                    xx: all.xx + fit.xx,
                    tt: all.tt + fit.tt,
                };
            }
        }
        let enough = u8::count_ones(pieces) >= 2;
        enough.then(|| Sighting {
            at_sample,
            party,
            slot,
            confidence: all.correlation(),
            pieces,
        })
    }

    /// The starts of the slot that agree with the tones' phases in the window.
    fn starts(&self, candidate: &Candidate) -> impl Iterator<Item = i64> {
        let tones = groups();
        // A tone that began `behind` samples before the window is
        // sin(w(t + behind)) = sin(wt)cos(w behind) + cos(wt)sin(w behind).
        let fit: [f32; PERIOD] = std::array::from_fn(|behind| {
            let parts = tones.iter().zip(candidate.digits).zip(candidate.heard);
            parts
                .map(|((group, digit), (re, im))| {
                    let grid = group[digit];
                    im * self.sine.cos(grid, behind) + re * self.sine.sin(grid, behind)
                })
                .sum()
        });
        let best = fit.iter().fold(0.0_f32, |best, &fit| best.max(fit));
        let agrees = move |behind: &i64| {
            let at = behind.rem_euclid(PERIOD as i64) as usize;
            let (before, after) = (fit[(at + PERIOD - 1) % PERIOD], fit[(at + 1) % PERIOD]);
            fit[at] >= 0.9 * best && fit[at] >= before && fit[at] >= after
        };
        let at = candidate.at as i64;
        (-(WINDOW as i64)..=SLOT_SAMPLES as i64)
            .filter(agrees)
            .map(move |behind| at - behind)
    }

    /// The waveform of the slot before, the slot and the slot after.
    fn slot_and_neighbours(&self, party: u8, slot: u16) -> Vec<f32> {
        let numbers = [(slot + SLOTS - 1) % SLOTS, slot, (slot + 1) % SLOTS];
        let wave = |number| {
            let digits = digits_of(party, number);
            (0..SLOT_SAMPLES).map(move |into| self.sine.slot_sample(digits, into))
        };
        numbers.into_iter().flat_map(wave).collect()
    }

    /// How much smaller the sum of squares becomes by taking away the wave with the slot at `start`.
    fn explained(&self, start: i64, around: &[f32], candidate: &Candidate) -> f32 {
        let heard: f32 = candidate.heard.iter().map(|(re, im)| re.hypot(*im)).sum();
        let gain = heard / GROUPS as f32 * 4.0 / WINDOW as f32;
        let start = start - SLOT_SAMPLES as i64;
        let length = self.samples.len() as i64;
        let from = start.clamp(0, length);
        let to = (start + around.len() as i64).clamp(from, length);
        let mut fit = Fit::default();
        let wave = &around[(from - start).clamp(0, around.len() as i64) as usize..];
        for (&sample, &wanted) in self.samples[from as usize..to as usize].iter().zip(wave) {
            fit.xt += f32::from(sample) * wanted;
            fit.tt += wanted * wanted;
        }
        gain * (2.0 * fit.xt - gain * fit.tt)
    }

    /// Compares 20 ms at `start` with their waveform, both without the notices' tones.
    fn piece(&self, start: i64, wave: &[f32]) -> Fit {
        let mut samples = [0.0_f32; PERIOD];
        let mut wanted = [0.0_f32; PERIOD];
        for (into, (sample, wanted)) in samples.iter_mut().zip(&mut wanted).enumerate() {
            let place = usize::try_from(start + into as i64).ok();
            let heard = place.and_then(|place| self.samples.get(place)).copied();
            *sample = f32::from(heard.unwrap_or(0));
            *wanted = wave[into];
        }
        let mut fit = Fit {
            xt: dot(&samples, &wanted),
            xx: dot(&samples, &samples),
            tt: dot(&wanted, &wanted),
        };
        for tone in &self.notices {
            let (x, t) = (dot(&samples, tone), dot(&wanted, tone));
            let share = 2.0 / PERIOD as f32;
            fit.xt -= share * x * t;
            fit.xx -= share * x * x;
            fit.tt -= share * t * t;
        }
        fit
    }
}

#[derive(Default)]
struct Fit {
    xt: f32,
    xx: f32,
    tt: f32,
}

impl Fit {
    fn correlation(&self) -> f32 {
        self.xt / (self.xx * self.tt).sqrt().max(1.0)
    }
}

fn dot(a: &[f32; PERIOD], b: &[f32; PERIOD]) -> f32 {
    // Eight running sums let the compiler use wide registers; one would fix the order.
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::coded::CodedVoice;
    use super::*;
    use duolog_audio::g711::{self, Law};

    fn voice(party: u8, from_sample: u64, length: usize) -> Vec<i16> {
        let mut samples = vec![0; length];
        CodedVoice::new(party, from_sample).samples(0, &mut samples);
        samples
    }

    fn through_g711(law: Law, samples: &[i16]) -> Vec<i16> {
        samples
            .iter()
            .map(|&s| g711::decode(law, g711::encode(law, s)))
            .collect()
    }

    fn mixed(a: &[i16], b: &[i16]) -> Vec<i16> {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| a.saturating_add(b))
            .collect()
    }

    fn tone(hz: f64, dbfs: f64, length: usize) -> Vec<i16> {
        let peak = 32_767.0 * 10_f64.powf(dbfs / 20.0);
        let step = std::f64::consts::TAU * hz / 8_000.0;
        (0..length)
            .map(|at| (peak * (step * at as f64).sin()) as i16)
            .collect()
    }

    /// White noise, from a linear congruential generator.
    fn noise(mut seed: u64, peak: f64, length: usize) -> Vec<i16> {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        (0..length).map(|_| (next() * peak) as i16).collect()
    }

    /// Every slot of `party` that lies whole in the samples is seen where it is, and nothing else
    /// is but the cut slots at the ends.
    #[track_caller]
    fn check_whole(name: &str, samples: &[i16], party: u8, from: i64, tolerance: i64) {
        let seen = decode(samples);
        let first = (from + 799).div_euclid(800);
        let mut worst = 0;
        for number in first..(from + samples.len() as i64).div_euclid(800) {
            let slot = number.rem_euclid(4_096) as u16;
            let wanted = number * 800 - from;
            let hit = seen
                .iter()
                .find(|s| s.slot == slot && (s.at_sample - wanted).abs() <= tolerance);
            let hit = hit.unwrap_or_else(|| {
                let near = seen.iter().filter(|s| (s.at_sample - wanted).abs() < 900);
                panic!(
                    "{name}: slot {slot} at {wanted} not in {:?}",
                    near.collect::<Vec<_>>()
                )
            });
            assert_eq!(hit.pieces, 31, "{name}: pieces of slot {slot}");
            worst = worst.max((hit.at_sample - wanted).abs());
        }
        for s in &seen {
            assert_eq!(s.party, party, "{name}: {s:?}");
            let off = s.at_sample + from - s.said_at() as i64;
            assert!(
                off.rem_euclid(4_096 * 800) <= tolerance
                    || off.rem_euclid(4_096 * 800) >= 4_096 * 800 - tolerance,
                "{name}: {s:?} is misplaced"
            );
        }
    }

    #[test]
    fn every_offset_is_found_to_the_sample() {
        for from in (0..800).step_by(7).chain([1, 799, 3_276_000]) {
            check_whole(
                &format!("from {from}"),
                &voice(3, from, 4_000),
                3,
                from as i64,
                0,
            );
        }
    }

    #[test]
    fn every_slot_is_read_over_the_round() {
        // Each party a quarter of the round and a bit, the last one over its end.
        for party in 0..4 {
            let from = u64::from(party) * 1_024 * 800;
            check_whole(
                "round",
                &voice(party, from, 1_030 * 800),
                party,
                from as i64,
                0,
            );
        }
    }

    #[test]
    fn g711_and_gain_change_nothing() {
        for (law, from) in [(Law::Mulaw, 77_777), (Law::Alaw, 123_456)] {
            let heard = through_g711(law, &voice(1, from, 40_000));
            check_whole("law", &heard, 1, from as i64, 0);
        }
        let quiet: Vec<i16> = voice(2, 50, 40_000).iter().map(|s| s / 30).collect();
        check_whole("quiet", &through_g711(Law::Alaw, &quiet), 2, 50, 0);
    }

    #[test]
    fn notices_and_noise_beside_it_do_not_hide_it() {
        let said = voice(0, 400, 40_000);
        for (hz, level) in [(1_400.0, -20.0), (1_000.0, -16.0)] {
            check_whole(
                "tone",
                &mixed(&said, &tone(hz, level, said.len())),
                0,
                400,
                0,
            );
        }
        check_whole(
            "noise",
            &mixed(&said, &noise(7, 3_000.0, said.len())),
            0,
            400,
            1,
        );
    }

    /// Both channels of a recording through the archive's own Ogg Opus.
    fn through_opus(bitrate: u32, left: &[i16], right: &[i16]) -> [Vec<i16>; 2] {
        use duolog_audio::container::ogg_opus::{Reader, Settings, Tags, Writer};
        let settings = Settings {
            bitrate_per_channel: bitrate,
            ..Settings::default()
        };
        let mut writer = Writer::new(Vec::new(), settings, &Tags::default()).expect("settings");
        writer.push(left, right).expect("equally long");
        let file = std::io::Cursor::new(writer.finish().expect("a file"));
        let all = Reader::open(file)
            .and_then(|mut file| file.read_to_end())
            .expect("the file");
        [0, 1].map(|channel| all.iter().skip(channel).step_by(2).copied().collect())
    }

    #[test]
    fn opus_keeps_every_slot_of_both_channels_in_its_place() {
        let left = through_g711(Law::Mulaw, &voice(2, 8_123, 160_000));
        let right = through_g711(Law::Alaw, &voice(0, 51, 160_000));
        // A channel encoded at 12 kb/s loses some slots, but none is misread or misplaced.
        for (bitrate, least, pieces) in [(32_000, 199, 990), (24_000, 199, 990), (12_000, 150, 600)]
        {
            let heard = through_opus(bitrate, &left, &right);
            for (channel, party, from) in [(0, 2, 8_123), (1, 0, 51)] {
                let seen = decode(&heard[channel]);
                assert!(seen.len() >= least, "{bitrate}: {} seen", seen.len());
                let all: u32 = seen.iter().map(|s| s.heard_ms() / 20).sum();
                assert!(all >= pieces, "{bitrate}: {all} pieces");
                for s in seen {
                    assert_eq!(
                        (s.party, s.at_sample + from),
                        (party, s.said_at() as i64),
                        "{s:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn opus_does_not_fill_a_pause() {
        let mut said = voice(1, 0, 48_000);
        said[16_000..32_000].fill(0);
        let heard = &through_opus(24_000, &said, &said)[0];
        let seen = decode(heard);
        assert!(
            seen.iter()
                .all(|s| s.at_sample < 16_000 || s.at_sample >= 32_000),
            "{seen:?}"
        );
        assert_eq!(seen.len(), 40);
    }

    /// Splices: what a recording would look like if a second of it were cut out instead of silenced.
    #[test]
    fn a_splice_is_seen_where_it_is() {
        for cut in [8_000, 8_237, 8_400, 8_799] {
            let mut said = voice(1, 0, 40_000);
            said.drain(cut..cut + 8_000);
            for s in decode(&said) {
                let shift = s.said_at() as i64 - s.at_sample;
                assert!(shift == 0 || shift == 8_000, "cut at {cut}: {s:?}");
                assert!(
                    shift == 0 || s.at_sample + 800 > cut as i64,
                    "cut at {cut}: {s:?}"
                );
            }
        }
    }

    #[test]
    fn shipped_prompts_and_speech_are_no_code() {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");
        let mut read = 0;
        for folder in ["audio", "prompts/en", "prompts/nl"] {
            let folder = std::path::Path::new(fixtures).join(folder);
            for file in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if file.path().extension().is_none_or(|kind| kind != "wav") {
                    continue;
                }
                let bytes = std::fs::read(file.path()).expect("a fixture");
                let sound = duolog_audio::prompt::Prompt::decode(&bytes).expect("a sound");
                assert_eq!(decode(&sound.linear), [], "{:?}", file.path());
                read += 1;
            }
        }
        assert!(read >= 2, "fixtures/audio and fixtures/prompts hold speech");
    }

    #[test]
    fn a_hole_is_seen_as_a_hole() {
        // A lost packet of 20 ms at every place within the slot, and a pause that cuts slots.
        for packet in 0..5 {
            let mut samples = voice(0, 0, 8_000);
            samples[4_000 + packet * 160..][..160].fill(0);
            let seen = decode(&samples);
            assert_eq!(seen.len(), 10, "packet {packet}: {seen:?}");
            assert_eq!(seen[5].pieces, 31 & !(1 << packet), "{:?}", seen[5]);
            assert_eq!(seen[5].at_sample, 4_000);
        }
        for cut in (0..800).step_by(80) {
            let mut samples = voice(0, 0, 16_000);
            samples[4_000 + cut..12_000 + cut].fill(0);
            for s in decode(&samples) {
                assert_eq!(s.at_sample, s.said_at() as i64, "cut {cut}: {s:?}");
                let (begin, end) = (s.at_sample as usize, s.at_sample as usize + 800);
                let left = end.min(4_000 + cut).saturating_sub(begin)
                    + end.saturating_sub(begin.max(12_000 + cut));
                assert!(
                    s.heard_ms().abs_diff(left as u32 / 8) <= 20,
                    "cut {cut}: {s:?}, {left} samples left"
                );
            }
        }
    }

    #[test]
    fn nothing_is_seen_where_nothing_was_said() {
        let none = |name: &str, samples: &[i16]| assert_eq!(decode(samples), [], "{name}");
        none("empty", &[]);
        none("short", &voice(0, 0, 319));
        none("silence", &[0; 480_000]);
        none("digital silence of mu-law", &[8; 8_000]);
        for seed in 0..3 {
            none("noise", &noise(seed, 8_000.0, 480_000));
            none("loud noise", &noise(seed, 60_000.0, 80_000));
        }
        for hz in [1_400.0, 1_000.0, 550.0, 425.0] {
            none("tone", &tone(hz, -10.0, 80_000));
        }
    }

    #[test]
    fn two_parties_in_one_channel_are_never_a_third_thing() {
        for shift in [0, 100, 400, 555] {
            let (a, b) = (voice(0, 0, 80_000), voice(1, shift, 80_000));
            let seen = decode(&mixed(&a, &b));
            for s in &seen {
                let from = if s.party == 0 { 0 } else { shift as i64 };
                assert!(
                    s.party < 2 && s.at_sample + from == s.said_at() as i64,
                    "{s:?}"
                );
            }
            let leak: Vec<i16> = b.iter().map(|s| s / 100).collect();
            let seen = decode(&mixed(&a, &leak));
            assert!(seen.len() == 100 && seen.iter().all(|s| s.party == 0 && s.pieces == 31));
        }
    }
}
