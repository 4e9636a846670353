mod live;

use super::*;
use crate::container::wav;

const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// Level of a sine of 0 dBm0 (ITU-T G.711).
#[expect(clippy::approx_constant, reason = "a level, not a circle")]
const DBFS_OF_0_DBM0: f64 = -3.14;

/// A key press somewhere in silence or noise.
#[derive(Debug, Clone, Copy)]
struct Press {
    low: usize,
    high: usize,
    /// By which parts of themselves the frequencies are off.
    off: (f64, f64),
    /// Level of the low tone; 0 dBm0 is a sine of -3.14 dBFS.
    low_dbm0: f64,
    twist_db: f64,
    at_ms: f64,
    length_ms: f64,
    /// White noise below 4 kHz under both tones together.
    snr_db: Option<f64>,
}

const PRESS: Press = Press {
    low: 1,
    high: 2,
    off: (0.0, 0.0),
    low_dbm0: -10.0,
    twist_db: 0.0,
    at_ms: 103.3,
    length_ms: 40.0,
    snr_db: None,
};

/// Every pair of frequencies.
fn pairs() -> impl Iterator<Item = Press> {
    (0..16).map(|n| Press {
        low: n / 4,
        high: n % 4,
        ..PRESS
    })
}

impl Press {
    fn peaks(&self) -> [f64; 2] {
        [self.low_dbm0, self.low_dbm0 + self.twist_db]
            .map(|dbm0| 32_768.0 * 10_f64.powf((dbm0 + DBFS_OF_0_DBM0) / 20.0))
    }

    /// The press within so many milliseconds of sound.
    fn sound(&self, rate_hz: u32, length_ms: u32, seed: u64) -> Vec<i16> {
        let [low, high] = self.peaks();
        let power = (low * low + high * high) / 2.0;
        let deviation = self.snr_db.map_or(0.0, |snr_db| {
            // The power below 4 kHz is what counts, whatever the rate.
            (power / 10_f64.powf(snr_db / 10.0) * f64::from(rate_hz) / 8_000.0).sqrt()
        });
        let mut noise = Noise(seed);
        let [low_hz, high_hz] = [
            LOW[self.low] * (1.0 + self.off.0),
            HIGH[self.high] * (1.0 + self.off.1),
        ];
        let sample = |at: u32| {
            let t = f64::from(at) / f64::from(rate_hz);
            let since_ms = t * 1_000.0 - self.at_ms;
            let tau = std::f64::consts::TAU;
            let tones = match (0.0..self.length_ms).contains(&since_ms) {
                true => low * (tau * low_hz * t).sin() + high * (tau * high_hz * t + 0.7).sin(),
                false => 0.0,
            };
            (tones + deviation * noise.next()).clamp(-32_768.0, 32_767.0) as i16
        };
        (0..rate_hz / 1_000 * length_ms).map(sample).collect()
    }

    fn found(&self, rate_hz: u32, seed: u64) -> Vec<Range<u64>> {
        let length_ms = (self.at_ms + self.length_ms) as u32 + 200;
        find(rate_hz, &self.sound(rate_hz, length_ms, seed))
    }

    /// It must be found, whole, and not much more.
    fn check_found(&self, rate_hz: u32, seed: u64) {
        let found = self.found(rate_hz, seed);
        let per_ms = f64::from(rate_hz) / 1_000.0;
        let [from, until] = [self.at_ms, self.at_ms + self.length_ms].map(|ms| ms * per_ms);
        let [stretch] = &found[..] else {
            panic!("{self:?} at {rate_hz} Hz, seed {seed}: {found:?}");
        };
        let (early, late) = (from - stretch.start as f64, stretch.end as f64 - until);
        for beyond_ms in [early / per_ms, late / per_ms] {
            assert!(
                (0.0..=25.0).contains(&beyond_ms),
                "{self:?} at {rate_hz} Hz: {early} early, {late} late"
            );
        }
    }

    fn check_ignored(&self, rate_hz: u32) {
        let found = self.found(rate_hz, 1);
        assert_eq!(found, [], "{self:?} at {rate_hz} Hz");
    }
}

/// Gaussian noise of deviation 1, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }

    fn next(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.uniform()).sum();
        sum - 6.0
    }
}

fn find(rate_hz: u32, samples: &[i16]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut detector = Detector::new(rate_hz).expect("a rate it takes");
    detector.push(samples, &mut found);
    detector.finish(&mut found);
    found
}

#[test]
fn every_pair_is_found_at_every_rate() {
    for rate_hz in RATES_HZ {
        for press in pairs() {
            for length_ms in [40.0, 50.0, 100.0, 333.0] {
                Press { length_ms, ..press }.check_found(rate_hz, 1);
            }
        }
    }
}

#[test]
fn every_pair_is_found_in_noise_15_db_below() {
    for rate_hz in [8_000, 16_000, 48_000] {
        for press in pairs() {
            for seed in 0..10 {
                Press {
                    snr_db: Some(15.0),
                    at_ms: 100.0 + seed as f64 * 0.37,
                    ..press
                }
                .check_found(rate_hz, seed);
            }
        }
    }
}

#[test]
fn levels_twists_and_frequencies_within_tolerance_are_found() {
    for rate_hz in [8_000, 12_000, 16_000, 48_000] {
        for press in pairs() {
            for (low_dbm0, twist_db) in [
                (0.0, 0.0),
                (-36.0, 0.0),
                (0.0, -8.0),
                (-4.0, 4.0),
                (-28.0, -8.0),
                (-36.0, 4.0),
            ] {
                for off in [
                    (0.0, 0.0),
                    (0.015, 0.015),
                    (-0.015, -0.015),
                    (0.015, -0.015),
                ] {
                    Press {
                        low_dbm0,
                        twist_db,
                        off,
                        ..press
                    }
                    .check_found(rate_hz, 1);
                }
            }
        }
    }
}

#[test]
fn tolerances_hold_in_noise_too() {
    for press in pairs() {
        for (twist_db, off) in [(-8.0, 0.015), (4.0, -0.015)] {
            for seed in 0..10 {
                Press {
                    twist_db,
                    off: (off, off),
                    snr_db: Some(15.0),
                    at_ms: 100.0 + seed as f64 * 0.37,
                    ..press
                }
                .check_found(8_000, seed);
            }
        }
    }
}

#[test]
fn what_is_too_short_too_quiet_or_beside_is_ignored() {
    for rate_hz in [8_000, 16_000, 48_000] {
        for press in pairs() {
            for length_ms in [5.0, 10.0, 15.0, 20.0, 22.9] {
                for at_ms in [100.0, 100.6, 101.2, 101.9] {
                    Press {
                        length_ms,
                        at_ms,
                        ..press
                    }
                    .check_ignored(rate_hz);
                }
            }
            for length_ms in [40.0, 60.0, 200.0, 1_500.0] {
                for off in [(0.035, 0.0), (-0.035, 0.0), (0.0, 0.035), (0.0, -0.035)] {
                    Press {
                        off,
                        length_ms,
                        ..press
                    }
                    .check_ignored(rate_hz);
                }
                Press {
                    low_dbm0: -55.0,
                    length_ms,
                    ..press
                }
                .check_ignored(rate_hz);
                for twist_db in [-14.0, 10.0] {
                    Press {
                        twist_db,
                        length_ms,
                        ..press
                    }
                    .check_ignored(rate_hz);
                }
            }
        }
    }
}

#[test]
fn a_tone_of_one_frequency_is_ignored() {
    for hz in (300..3_400).step_by(7) {
        let step = std::f64::consts::TAU * f64::from(hz) / 8_000.0;
        let sample = |at| (f64::from(at) * step).sin() * 8_000.0;
        let tone: Vec<i16> = (0..4_000).map(|at| sample(at) as i16).collect();
        assert_eq!(find(8_000, &tone), [], "{hz} Hz");
    }
}

/// Everything anybody says in the fixtures.
fn speech() -> Vec<Vec<i16>> {
    let files: [&[u8]; 8] = [
        include_bytes!("../../../../fixtures/audio/demo-owner.wav"),
        include_bytes!("../../../../fixtures/audio/demo-other.wav"),
        include_bytes!("../../../../fixtures/prompts/en/recording-started.wav"),
        include_bytes!("../../../../fixtures/prompts/en/recording-paused.wav"),
        include_bytes!("../../../../fixtures/prompts/en/recording-resumed.wav"),
        include_bytes!("../../../../fixtures/prompts/nl/recording-started.wav"),
        include_bytes!("../../../../fixtures/prompts/nl/recording-paused.wav"),
        include_bytes!("../../../../fixtures/prompts/nl/recording-resumed.wav"),
    ];
    let read = |file| {
        let mut reader = wav::Reader::open(file).expect("a WAV");
        reader.read_to_end().expect("whole")
    };
    files.map(read).to_vec()
}

/// The sound at `factor` times its rate, in straight lines.
fn raised(samples: &[i16], factor: i32) -> Vec<i16> {
    let between = |pair: &[i16]| {
        let (from, to) = (i32::from(pair[0]), i32::from(pair[1]));
        (0..factor).map(move |part| (from + (to - from) * part / factor) as i16)
    };
    samples.windows(2).flat_map(between).collect()
}

#[test]
fn speech_is_not_taken_for_it() {
    for said in speech() {
        for (level, what) in [(1, "as it is"), (4, "louder")] {
            let said: Vec<i16> = said.iter().map(|s| s.saturating_mul(level)).collect();
            assert_eq!(find(8_000, &said), [], "{what}");
            for (factor, rate_hz) in [(2, 16_000), (6, 48_000)] {
                assert_eq!(find(rate_hz, &raised(&said, factor)), [], "{what}");
            }
        }
        // Higher and lower voices: the same samples faster and slower.
        let faster: Vec<i16> = said.chunks_exact(2).map(|pair| pair[0]).collect();
        assert_eq!(find(8_000, &faster), []);
        assert_eq!(find(8_000, &raised(&said, 2)), []);
        assert_eq!(find(12_000, &said), []);
    }
}

#[test]
fn noise_and_silence_are_not_taken_for_it() {
    assert_eq!(find(8_000, &[]), []);
    assert_eq!(find(8_000, &[0; 80_000]), []);
    for (seed, deviation) in [(1, 100.0), (2, 3_000.0), (3, 12_000.0)] {
        let mut noise = Noise(seed);
        let loud = |_| (deviation * noise.next()).clamp(-32_768.0, 32_767.0) as i16;
        let noise: Vec<i16> = (0..8_000 * 60).map(loud).collect();
        assert_eq!(find(8_000, &noise), []);
    }
}

#[test]
fn a_key_pressed_while_somebody_speaks_quietly_is_found() {
    let said = speech().swap_remove(0);
    for press in pairs() {
        let press = Press {
            length_ms: 120.0,
            ..press
        };
        let mut sound = press.sound(8_000, 500, 1);
        for (sample, voice) in sound.iter_mut().zip(&said[8_000..]) {
            *sample = sample.saturating_add(voice / 8);
        }
        let found = find(8_000, &sound);
        let [stretch] = &found[..] else {
            panic!("{press:?}: {found:?}");
        };
        let tone = (press.at_ms * 8.0) as u64..((press.at_ms + 120.0) * 8.0) as u64;
        assert!(
            stretch.start <= tone.start && stretch.end >= tone.end,
            "{press:?}: {found:?}"
        );
    }
}

#[test]
fn keys_one_after_the_other_are_all_covered() {
    let mut sound = Vec::new();
    let mut tones = Vec::new();
    for (n, press) in pairs().enumerate() {
        let press = Press {
            at_ms: 40.0,
            length_ms: 45.0 + n as f64,
            ..press
        };
        let start = (sound.len() + 320) as u64;
        tones.push(start..start + (press.length_ms * 8.0) as u64);
        sound.extend(press.sound(8_000, 40 + press.length_ms as u32, 1));
    }
    sound.extend([0; 800]);
    let found = find(8_000, &sound);
    for tone in &tones {
        let covers = |s: &Range<u64>| s.start <= tone.start && s.end >= tone.end;
        assert!(found.iter().any(covers), "{tone:?} in {found:?}");
    }
    assert!(found.is_sorted_by(|a, b| a.end <= b.start), "{found:?}");
    assert_eq!(found.len(), tones.len());
}

#[test]
fn an_interruption_does_not_split_a_press() {
    let press = Press {
        length_ms: 120.0,
        ..PRESS
    };
    let mut sound = press.sound(8_000, 400, 1);
    sound[1_280..1_360].fill(0);
    assert_eq!(find(8_000, &sound).len(), 1);
}

#[test]
fn pieces_of_any_size_give_the_same_answers() {
    for rate_hz in RATES_HZ {
        let press = Press {
            length_ms: 1_777.0,
            snr_db: Some(20.0),
            ..PRESS
        };
        let sound = press.sound(rate_hz, 2_100, 5);
        let whole = find(rate_hz, &sound);
        assert!(
            whole.len() >= 3,
            "a held key is answered in pieces: {whole:?}"
        );
        assert!(
            whole.windows(2).all(|pair| pair[0].end == pair[1].start),
            "{whole:?}"
        );
        let per_ms = u64::from(rate_hz) / 1_000;
        assert!(whole[0].start <= 103 * per_ms && whole[whole.len() - 1].end >= 1_880 * per_ms);
        for piece in [1, 7, 160, 961] {
            let mut found = Vec::new();
            let mut detector = Detector::new(rate_hz).expect("a rate it takes");
            let mut settled = 0;
            for samples in sound.chunks(piece) {
                let known = found.len();
                detector.push(samples, &mut found);
                for stretch in &found[known..] {
                    assert!(stretch.start >= settled, "{stretch:?} after {settled}");
                }
                settled = detector.settled();
                let behind = detector.pushed - settled;
                assert!(behind <= u64::from(LATENCY_MS) * per_ms, "{behind} behind");
            }
            detector.finish(&mut found);
            assert_eq!(found, whole, "pieces of {piece}");
        }
    }
}

#[test]
fn the_latency_is_bounded_for_what_is_no_key_too() {
    let press = Press {
        off: (0.02, 0.03),
        length_ms: 3_000.0,
        ..PRESS
    };
    let mut detector = Detector::new(8_000).expect("a rate it takes");
    let mut found = Vec::new();
    for samples in press.sound(8_000, 3_200, 1).chunks(80) {
        detector.push(samples, &mut found);
        assert!(detector.pushed - detector.settled() <= u64::from(LATENCY_MS) * 8);
    }
}

#[test]
fn a_press_at_the_very_start_or_end_is_found() {
    let press = Press {
        at_ms: 0.0,
        length_ms: 60.0,
        ..PRESS
    };
    let sound = press.sound(8_000, 60, 1);
    assert_eq!(find(8_000, &sound), vec![Range { start: 0, end: 480 }]);
    assert_eq!(find(8_000, &press.sound(8_000, 300, 1)).len(), 1);
}

#[test]
fn other_rates_are_refused() {
    for rate_hz in [0, 8_001, 11_025, 44_100] {
        assert_eq!(
            Detector::new(rate_hz).err(),
            Some(UnsupportedRate { rate_hz })
        );
    }
}
