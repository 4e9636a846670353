//! The line under floors, and how sure it is.
//!
//! What makes a floor too high has no end, and nothing makes one too low. So the line lies under all of
//! them, as near to them as it can: of the edges of their lower hull the one at their middle (Moon,
//! Skelly and Towsley, Estimation and removal of clock skew from network delay measurements, 1999).
//! From eight floors on it is nearer the truth than a median of slopes, whose error shrinks with the
//! root of their number only.

use super::drift::{ENOUGH, FLOORS, Floor};

/// So many times the mean height of `n` floors above the line, shared by `n`, is a quarter of what the
/// deviation at its end is wrong by in fewer than one call of 500 (simulated with floors that lie
/// above it by exponential chance, looked at from the 4th to the 24th).
const UNSURE: f64 = 13.5;

/// A line under floors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// When it was drawn, in nanoseconds after the anchor's base.
    pub(super) at_ns: i64,
    /// Its height then: the transit of the quickest packets.
    pub(super) height_ns: f64,
    /// How far the clock has deviated by then.
    pub(super) deviation_ns: f64,
    /// How fast that grows: negative for a fast clock.
    pub(super) slope: f64,
    /// How far a floor is likely to lie above it.
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

/// The line under a row of floors, oldest first, no steeper than `believed` either way; the deviation
/// is left at zero. `None` for too few.
pub(super) fn under(floors: &[Floor], believed: f64) -> Option<Fit> {
    let (first, last) = (floors.first()?, floors.last()?);
    if floors.len() < ENOUGH || last.at_ns <= first.at_ns {
        return None;
    }
    let slope = slope_of_hull(floors).clamp(-believed, believed);
    let at_last = |floor: &Floor| floor.level_ns as f64 + slope * (last.at_ns - floor.at_ns) as f64;
    let height_ns = floors.iter().map(at_last).fold(f64::INFINITY, f64::min);
    let count = floors.len() as f64;
    // Two of them are on the line because it is drawn by them.
    let above = floors.iter().map(at_last).sum::<f64>() - count * height_ns;
    let unsure = floors
        .iter()
        .map(|floor| floor.unsure_ns as f64)
        .sum::<f64>();
    let noise_ns = (above / (count - 2.0)).max(unsure / count);
    let unsure_ns = UNSURE * noise_ns / count;
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

/// Slope of the edge of the lower hull that lies at the mean time of all.
fn slope_of_hull(floors: &[Floor]) -> f64 {
    let slope = |from: &Floor, to: &Floor| {
        (to.level_ns - from.level_ns) as f64 / (to.at_ns - from.at_ns) as f64
    };
    let mut hull = [Floor::default(); FLOORS];
    let mut len = 0;
    for floor in floors {
        // At one time only the last counts; intervals do not overlap.
        while len > 0 && hull[len - 1].at_ns >= floor.at_ns {
            len -= 1;
        }
        while len > 1 && slope(&hull[len - 2], &hull[len - 1]) >= slope(&hull[len - 1], floor) {
            len -= 1;
        }
        hull[len] = *floor;
        len += 1;
    }
    let first_ns = floors[0].at_ns;
    let sum: i64 = floors.iter().map(|floor| floor.at_ns - first_ns).sum();
    let mean_ns = first_ns + sum / floors.len() as i64;
    let mut edges = hull[..len].windows(2).rev();
    edges
        .find(|edge| edge[0].at_ns <= mean_ns)
        .map_or(0.0, |edge| slope(&edge[0], &edge[1]))
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
            assert!(under(&floors(count, |nth| nth), 1.0).is_none(), "{count}");
        }
        assert!(under(&[Floor::default(); 5], 1.0).is_none(), "all at once");
    }

    #[test]
    fn a_line_is_met_exactly_and_outliers_do_not_bend_it() {
        for count in ENOUGH..=FLOORS {
            let fit = under(&floors(count, |nth| 7 - nth * 1_000_000), 500e-6).expect("a line");
            assert!((fit.slope + 200e-6).abs() < 1e-12, "{count}: {}", fit.slope);
            let end = 7.0 - (count as f64 - 1.0) * 1e6;
            assert!(
                (fit.height_ns - end).abs() < 1e-3,
                "{count}: {}",
                fit.height_ns
            );
        }
        let hit = |nth: i64| nth * 100_000 + if nth % 6 == 2 { 30_000_000 } else { 0 };
        let fit = under(&floors(FLOORS, hit), 500e-6).expect("a line");
        assert!((fit.slope - 20e-6).abs() < 1e-9, "{}", fit.slope);
        let steep = under(&floors(FLOORS, |nth| nth * 5_000_000), 500e-6).expect("a line");
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
            let fit = under(&floors(FLOORS, |nth| noise[nth as usize]), 500e-6).expect("a line");
            assert!((100e3..800e3).contains(&fit.noise_ns), "{}", fit.noise_ns);
            worst = worst.max(fit.slope.abs());
        }
        assert!(worst < 10e-6, "{worst}");
    }
}
