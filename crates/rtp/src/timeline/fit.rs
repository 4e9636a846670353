//! A line through floors: the slope that half of all pairs exceed (Theil, Sen), and how sure it is.

use super::drift::{ENOUGH, FLOORS, Floor};

/// Up to so many floors every pair is taken; of more only pairs half the row apart or further, which
/// tell nearly as much in a quarter of the time.
const EVERY_PAIR: usize = 8;
/// Pairs of 24 floors that lie 12 or more apart, which is more than 8 floors have in all.
const PAIRS: usize = FLOORS / 2 * (FLOORS / 2 + 1) / 2;

/// A line through floors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// When it was drawn, in nanoseconds after the anchor's base.
    pub(super) at_ns: i64,
    /// Its height then: the transit of the quick packets.
    pub(super) height_ns: f64,
    /// How far the clock has deviated by then.
    pub(super) deviation_ns: f64,
    /// How fast that grows: negative for a fast clock.
    pub(super) slope: f64,
    /// How far a floor is likely to lie off it.
    pub(super) noise_ns: f64,
    /// How wrong the deviation may be, and how fast that grows from then on.
    pub(super) unsure_ns: f64,
    pub(super) slope_unsure: f64,
}

impl Fit {
    pub(super) fn deviation_at(&self, now_ns: i64) -> f64 {
        self.deviation_ns + self.slope * (now_ns - self.at_ns) as f64
    }

    /// Nanoseconds since it was drawn.
    pub(super) fn since(&self, now_ns: i64) -> f64 {
        (now_ns - self.at_ns).max(0) as f64
    }
}

/// The line through a row of floors, oldest first, no steeper than `believed` either way; the deviation
/// is left at zero. `None` for too few.
pub(super) fn through(floors: &[Floor], believed: f64) -> Option<Fit> {
    let (first, last) = (floors.first()?, floors.last()?);
    if floors.len() < ENOUGH || last.at_ns <= first.at_ns {
        return None;
    }
    let slope = median_slope(floors)?.clamp(-believed, believed);
    let at_last = |floor: &Floor| floor.level_ns as f64 + slope * (last.at_ns - floor.at_ns) as f64;
    let mut numbers = [0.0; FLOORS];
    let numbers = &mut numbers[..floors.len()];
    let mut median_of = |number: &dyn Fn(&Floor) -> f64| {
        for (to, floor) in numbers.iter_mut().zip(floors) {
            *to = number(floor);
        }
        median(numbers)
    };
    let height_ns = median_of(&at_last);
    // The median of the distances is two thirds of a standard deviation.
    let scatter = 1.5 * median_of(&|floor| (at_last(floor) - height_ns).abs());
    let noise_ns = scatter.max(median_of(&|floor| floor.unsure_ns as f64));
    // A line through n even points is off at its ends by 2 to 3.5 root-nths of their scatter.
    let unsure_ns = 3.5 * noise_ns / (floors.len() as f64).sqrt();
    Some(Fit {
        at_ns: last.at_ns,
        height_ns,
        deviation_ns: 0.0,
        slope,
        noise_ns,
        unsure_ns,
        slope_unsure: unsure_ns / (last.at_ns - first.at_ns) as f64,
    })
}

fn median_slope(floors: &[Floor]) -> Option<f64> {
    let apart = match floors.len() {
        ..=EVERY_PAIR => 1,
        len => len / 2,
    };
    let mut slopes = [0.0; PAIRS];
    let mut pairs = 0;
    for (index, from) in floors.iter().enumerate() {
        for to in floors.iter().skip(index + apart) {
            if to.at_ns > from.at_ns {
                slopes[pairs] =
                    (to.level_ns - from.level_ns) as f64 / (to.at_ns - from.at_ns) as f64;
                pairs += 1;
            }
        }
    }
    (pairs > 0).then(|| median(&mut slopes[..pairs]))
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    let even = numbers.len().is_multiple_of(2);
    let (below, upper, _) = numbers.select_nth_unstable_by(middle, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if even => (lower + *upper) / 2.0,
        _ => *upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Numbers;

    fn floors(count: usize, level_ns: impl Fn(i64) -> i64) -> Vec<Floor> {
        let floor = |nth: i64| Floor {
            at_ns: nth * 5_000_000_000,
            level_ns: level_ns(nth),
            unsure_ns: 20_000,
        };
        (0..count as i64).map(floor).collect()
    }

    #[test]
    fn few_floors_are_no_line() {
        for count in 0..ENOUGH {
            assert!(through(&floors(count, |nth| nth), 1.0).is_none(), "{count}");
        }
        assert!(
            through(&[Floor::default(); 5], 1.0).is_none(),
            "all at once"
        );
    }

    #[test]
    fn a_line_is_met_exactly_and_outliers_do_not_bend_it() {
        for count in ENOUGH..=FLOORS {
            let fit = through(&floors(count, |nth| 7 - nth * 1_000_000), 500e-6).expect("a line");
            assert!((fit.slope + 200e-6).abs() < 1e-12, "{count}: {}", fit.slope);
            let end = 7.0 - (count as f64 - 1.0) * 1e6;
            assert!(
                (fit.height_ns - end).abs() < 1e-3,
                "{count}: {}",
                fit.height_ns
            );
        }
        let hit = |nth: i64| nth * 100_000 + if nth % 6 == 2 { 30_000_000 } else { 0 };
        let fit = through(&floors(FLOORS, hit), 500e-6).expect("a line");
        assert!((fit.slope - 20e-6).abs() < 1e-9, "{}", fit.slope);
        let steep = through(&floors(FLOORS, |nth| nth * 5_000_000), 500e-6).expect("a line");
        assert_eq!(steep.slope, 500e-6);
    }

    #[test]
    fn noise_is_told_and_stays_small() {
        let mut worst = 0.0_f64;
        for seed in 1..=200 {
            let mut numbers = Numbers(seed);
            let noise: Vec<i64> = (0..FLOORS)
                .map(|_| numbers.below(1_000_000) as i64)
                .collect();
            let fit = through(&floors(FLOORS, |nth| noise[nth as usize]), 500e-6).expect("a line");
            assert!((100e3..800e3).contains(&fit.noise_ns), "{}", fit.noise_ns);
            worst = worst.max(fit.slope.abs());
        }
        assert!(worst < 10e-6, "{worst}");
    }
}
