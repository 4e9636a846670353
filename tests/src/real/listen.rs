//! Judges a channel by its coded voice: whose it is, which 100 ms stand in it, and that none misses.

use duolog::phone::{SLOT_SAMPLES, decode};

/// Samples in a fifth of a slot, the unit in which part of a slot is seen.
const PIECE: usize = SLOT_SAMPLES / 5;
/// All five pieces.
const WHOLE: u8 = 0b1_1111;

/// What one party says in a channel: slots without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// The first slot seen.
    pub first: u16,
    /// How many follow each other, the first one included.
    pub slots: usize,
    /// The sample at which the first slot begins; negative when the recording began within it.
    pub from: i64,
    /// The sample after the last that was heard, to 20 ms.
    pub to: i64,
}

impl Speech {
    /// How much of the speaker's own time, counted from `slot`, had passed at the end; in samples.
    pub fn said_from(&self, slot: u16) -> i64 {
        (i64::from(self.first) - i64::from(slot)) * SLOT_SAMPLES as i64 + self.to - self.from
    }
}

/// How exactly slots must follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// To the sample, every 20 ms of every slot but the first and the last.
    Exact,
    /// To 5 ms, as a lossy codec keeps them.
    Lossy,
}

/// Reads a channel that must hold `party` and nobody else.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn speech(samples: &[i16], party: u8, coding: Coding) -> Result<Speech, String> {
    let seen = decode(samples);
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else {
        return Err("nobody is heard".to_owned());
    };
    if let Some(other) = seen.iter().find(|sighting| sighting.party != party) {
        return Err(format!(
            "party {} is heard in the channel of {party}: {other:?}",
            other.party
        ));
    }
    let slack = if coding == Coding::Exact { 0 } else { 40 };
    for (at, pair) in seen.windows(2).enumerate() {
        let (one, next) = (pair[0], pair[1]);
        let step = next.at_sample - one.at_sample - SLOT_SAMPLES as i64;
        if next.slot != one.slot + 1 || step.abs() > slack {
            return Err(format!("a hole after {at} slots: {one:?} then {next:?}"));
        }
        if at > 0 && coding == Coding::Exact && one.pieces != WHOLE {
            return Err(format!("20 ms are missing within {one:?}, {at} slots in"));
        }
    }
    let heard = 8 - last.pieces.leading_zeros() as usize;
    Ok(Speech {
        first: first.slot,
        slots: seen.len(),
        from: first.at_sample,
        to: last.at_sample + (heard * PIECE) as i64,
    })
}

/// Judges many on every processor; the answers are in the order of what was judged.
///
/// # Panics
/// When judging one of them does.
pub fn in_parallel<T: Sync, A: Send>(all: &[T], judge: impl Fn(&T) -> A + Sync) -> Vec<A> {
    let parts = std::thread::available_parallelism().map_or(1, |count| count.get());
    let part = all.len().div_ceil(parts).max(1);
    std::thread::scope(|scope| {
        let judge = &judge;
        let parts = all
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().map(judge).collect::<Vec<A>>()));
        let threads: Vec<_> = parts.collect();
        let judged = threads.into_iter().map(|thread| thread.join());
        judged
            .flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog::phone::CodedVoice;

    fn voice(party: u8, from: u64, length: usize) -> Vec<i16> {
        let mut samples = vec![0; length];
        CodedVoice::new(party, from).samples(0, &mut samples);
        samples
    }

    #[test]
    fn an_unbroken_voice_is_read_with_its_edges() {
        let mut samples = vec![0; 400];
        samples.extend(voice(1, 800 * 7, 800 * 10));
        samples.extend(vec![0; 160]);
        let heard = speech(&samples, 1, Coding::Exact).expect("an unbroken voice");
        assert_eq!(
            heard,
            Speech {
                first: 7,
                slots: 10,
                from: 400,
                to: 8_400
            }
        );
        assert_eq!(heard.said_from(5), 800 * 12);
    }

    #[test]
    fn every_kind_of_damage_is_told() {
        let check = |samples: &[i16], party, expected: &str| {
            let wrong = speech(samples, party, Coding::Exact).expect_err(expected);
            assert!(wrong.contains(expected), "{wrong}");
        };
        let good = voice(0, 0, 16_000);
        check(&[], 0, "nobody");
        check(&good, 1, "party 0 is heard in the channel of 1");
        let mut lost = good.clone();
        lost[4_000..4_160].fill(0);
        check(&lost, 0, "20 ms are missing");
        lost[3_600..6_000].fill(0);
        check(&lost, 0, "a hole");
        let mut moved = good[..8_000].to_vec();
        moved.extend(vec![0; 80]);
        moved.extend(&good[8_000..]);
        check(&moved, 0, "a hole");
        let mut second_round = good.clone();
        second_round.extend(&good);
        check(&second_round, 0, "a hole");
        let other: Vec<i16> = good
            .iter()
            .zip(voice(1, 80_000, 16_000))
            .map(|(a, b)| a.saturating_add(b))
            .collect();
        assert!(
            speech(&other, 0, Coding::Exact).is_err(),
            "another party under the voice"
        );
    }

    #[test]
    fn in_parallel_keeps_the_order() {
        let all: Vec<u32> = (0..101).collect();
        assert_eq!(
            in_parallel(&all, |n| n * 2),
            all.iter().map(|n| n * 2).collect::<Vec<_>>()
        );
        assert!(in_parallel(&[] as &[u32], |n| *n).is_empty());
    }
}
