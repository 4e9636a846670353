//! How far a sender's clock has run away from the receiver's, told from the least transits alone.
//!
//! ```text
//!  transit |  .  :  . .    . :  .        a floor: the quickest packet of an interval
//!          | . .  :.  . : .   : . .      the fit: the line under the floors
//!          |____.______._______________  the deviation: how far the line has moved since the
//!          '--- floors --- fit ---->     origin; negative for a fast clock
//! ```
//!
//! 1. Queues only ever delay. So the least transit of an interval lies near the path's own, and is the
//!    better known the nearer its quickest packets are to each other.
//! 2. Under the last 24 floors (2 min of speech) goes the line. Its height, not only its slope, is
//!    what is followed: an error of the slope never adds up.
//! 3. Three floors in a row off the line on one side are a new path. The line begins again there,
//!    at the deviation it had: a new path is no drift. Fewer are congestion, and forgotten.
//! 4. Nobody's clock is believed to be more than 500 ppm off.

use super::fit::{self, Fit};

/// Length of the intervals whose least transit is taken.
const INTERVAL_NS: i64 = 5_000_000_000;
/// An interval whose floor is not known well enough goes on for this long.
const EXTENSION_NS: i64 = 1_000_000_000;
/// How well a floor has to be known.
const KNOWN_NS: i64 = 2_000_000;
/// Packets whose distances tell how well: the quickest of an interval.
const QUICKEST: usize = 8;
/// Nothing can be known better, whatever the packets say.
const LEAST_UNSURE_NS: i64 = 20_000;
/// After a pause this long an unfinished interval is given up.
const PAUSE_NS: i64 = 60_000_000_000;
/// Floors a line is drawn through.
pub(super) const FLOORS: usize = 24;
/// Floors from which on there is a line.
pub(super) const ENOUGH: usize = 4;
/// Floors in a row off the line that make a new path.
const SUSPECTS: usize = 3;
/// A floor this near the line lies on it, however well both are known.
const NEAR_NS: f64 = 2e6;
/// A height against one that was remembered is this much less sure than a line by itself.
const ZERO_UNSURE: f64 = 1.5;
/// The most that is believed of a clock.
const BELIEVED: f64 = 500e-6;

/// The least transit of an interval.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Floor {
    /// When it was met, in nanoseconds after the anchor's base.
    pub(super) at_ns: i64,
    /// How much longer it was than that of the anchor's first packet, in nanoseconds.
    pub(super) level_ns: i64,
    /// What the path's own transit is likely to be below it.
    pub(super) unsure_ns: i64,
}

/// The packets since the last floor.
#[derive(Debug, Clone)]
struct Interval {
    due_ns: i64,
    /// When the quickest one came.
    least_at_ns: i64,
    /// Transits of the quickest, the quickest first.
    quickest_ns: [i64; QUICKEST],
}

/// A list of floors that takes no memory of its own.
#[derive(Debug, Clone)]
pub(super) struct Row<const N: usize> {
    floors: [Floor; N],
    len: usize,
}

/// The drift of one anchor.
#[derive(Debug, Clone)]
pub(super) struct Drift {
    interval: Interval,
    floors: Row<FLOORS>,
    suspects: Row<SUSPECTS>,
    /// Where the deviation is known by definition, and how much it is there: a place no floor lies
    /// before.
    origin: (i64, f64),
    /// Height of the fit where the deviation is zero, once floors have been forgotten.
    zero_ns: Option<f64>,
    fit: Option<Fit>,
    /// The last floor, on the line or off it.
    latest: Floor,
    /// When measuring began, and the deviation then.
    measured_from: (i64, f64),
}

impl Drift {
    /// Nothing measured; the deviation is `deviation_ns` now, and goes on as `known` told, if it did.
    pub(super) fn new(now_ns: i64, deviation_ns: i64, known: Option<Fit>) -> Drift {
        let deviation_ns = deviation_ns as f64;
        Drift {
            interval: Interval::new(now_ns, 0),
            floors: Row::new(),
            suspects: Row::new(),
            origin: (now_ns, deviation_ns),
            zero_ns: None,
            fit: known.map(|fit| Fit {
                at_ns: now_ns,
                deviation_ns,
                ..fit
            }),
            latest: Floor {
                at_ns: now_ns,
                ..Floor::default()
            },
            measured_from: (now_ns, deviation_ns),
        }
    }

    /// Takes a packet's transit. Whether that ended an interval, and the fit may be another.
    #[inline]
    pub(super) fn take(&mut self, now_ns: i64, transit_ns: i64) -> bool {
        let interval = &mut self.interval;
        if now_ns >= interval.due_ns {
            return self.end_interval(now_ns, transit_ns);
        }
        interval.take(now_ns, transit_ns);
        false
    }

    /// Begins the interval again with this packet: those before were measured by another base.
    pub(super) fn rebase(&mut self, now_ns: i64, transit_ns: i64) {
        self.interval = Interval::new(now_ns, transit_ns);
    }

    /// How far the clock has deviated, if that is known.
    pub(super) fn fit(&self) -> Option<Fit> {
        self.fit
    }

    /// Parts per million since it began to be measured; positive is fast.
    pub(super) fn ppm(&self) -> Option<f64> {
        let fit = self.fit?;
        let (from_ns, from) = self.measured_from;
        let slope = match fit.at_ns > from_ns {
            true => (fit.deviation_ns - from) / (fit.at_ns - from_ns) as f64,
            false => fit.slope,
        };
        Some(-slope * 1e6)
    }

    /// How far the clock is taken to have deviated, in nanoseconds; zero while nothing is known.
    pub(super) fn deviation_ns(&self, now_ns: i64) -> i64 {
        self.fit.map_or(0, |fit| fit.deviation_at(now_ns) as i64)
    }

    /// The transit a quick packet would have now, by the last floor and the drift since.
    pub(super) fn quickest_ns(&self, now_ns: i64) -> i64 {
        let slope = self.fit.map_or(0.0, |fit| fit.slope);
        let since = (now_ns - self.latest.at_ns) as f64;
        self.latest.level_ns + (slope * since) as i64
    }

    #[cold]
    fn end_interval(&mut self, now_ns: i64, transit_ns: i64) -> bool {
        let interval = &mut self.interval;
        let floor = interval.floor();
        if floor.unsure_ns > KNOWN_NS && now_ns - interval.due_ns < PAUSE_NS {
            interval.due_ns = now_ns + EXTENSION_NS;
            interval.take(now_ns, transit_ns);
            return false;
        }
        self.interval = Interval::new(now_ns, transit_ns);
        if floor.unsure_ns > KNOWN_NS {
            return false;
        }
        self.latest = floor;
        match self.floors.len < ENOUGH {
            true => self.begin_with(floor),
            false => self.go_on_with(floor),
        }
        true
    }

    /// Takes one of the first floors: a path that changes among them begins them again.
    fn begin_with(&mut self, floor: Floor) {
        if let Some(last) = self.floors.as_slice().last() {
            let near = NEAR_NS + 6.0 * last.unsure_ns.max(floor.unsure_ns) as f64;
            let drifted = BELIEVED * (floor.at_ns - last.at_ns) as f64;
            if ((floor.level_ns - last.level_ns) as f64).abs() > near + drifted {
                self.restart(floor);
                return;
            }
        }
        self.floors.push(floor);
        self.draw();
    }

    fn go_on_with(&mut self, floor: Floor) {
        let Some(fit) = self.fit else { return };
        let off = floor.level_ns as f64 - (self.zero_ns() + fit.deviation_at(floor.at_ns));
        let unsure = fit.noise_ns.max(floor.unsure_ns as f64);
        // Above it is noise and the line; below it is the line alone.
        let line = 4.0 * (fit.unsure_ns + fit.slope_unsure * fit.since(floor.at_ns));
        let near = NEAR_NS + line + if off > 0.0 { 6.0 * unsure } else { 0.0 };
        if off.abs() <= near {
            self.suspects.len = 0;
            if self.floors.len == FLOORS && self.zero_ns.is_none() {
                self.zero_ns = Some(self.zero_ns());
            }
            self.floors.push(floor);
            self.draw();
            return;
        }
        if let Some(before) = self.suspects.as_slice().last() {
            let line = self.zero_ns() + fit.deviation_at(before.at_ns);
            if (before.level_ns as f64 > line) != (off > 0.0) {
                self.suspects.len = 0;
            }
        }
        self.suspects.push(floor);
        if self.suspects.len == SUSPECTS {
            let suspects = self.suspects.clone();
            let (first, rest) = (suspects.floors[0], &suspects.floors[1..]);
            self.restart(first);
            rest.iter().for_each(|&floor| self.begin_with(floor));
        }
    }

    /// Begins the line again with a floor of a new path.
    fn restart(&mut self, floor: Floor) {
        let deviation = self
            .fit
            .map_or(self.origin.1, |fit| fit.deviation_at(floor.at_ns));
        self.origin = (floor.at_ns, deviation);
        self.zero_ns = None;
        self.suspects.len = 0;
        self.floors.len = 0;
        self.floors.push(floor);
    }

    /// Height of the fit where the deviation is zero.
    fn zero_ns(&self) -> f64 {
        let Some(fit) = self.fit else { return 0.0 };
        let own = fit.height_ns - fit.deviation_at(fit.at_ns);
        self.zero_ns.unwrap_or(own)
    }

    /// Draws the line through the floors.
    fn draw(&mut self) {
        let Some(mut fit) = fit::under(self.floors.as_slice(), BELIEVED) else {
            return;
        };
        let (origin_ns, origin_deviation) = self.origin;
        fit.deviation_ns = match self.zero_ns {
            Some(zero_ns) => {
                fit.unsure_ns *= ZERO_UNSURE;
                fit.height_ns - zero_ns
            }
            None => origin_deviation + fit.slope * (fit.at_ns - origin_ns) as f64,
        };
        self.fit = Some(fit);
    }
}

impl Interval {
    fn new(now_ns: i64, transit_ns: i64) -> Interval {
        let mut interval = Interval {
            due_ns: now_ns + INTERVAL_NS,
            least_at_ns: now_ns,
            quickest_ns: [i64::MAX; QUICKEST],
        };
        interval.quickest_ns[0] = transit_ns;
        interval
    }

    #[inline]
    fn take(&mut self, now_ns: i64, transit_ns: i64) {
        if transit_ns < self.quickest_ns[QUICKEST - 1] {
            self.insert(now_ns, transit_ns);
        }
    }

    fn insert(&mut self, now_ns: i64, transit_ns: i64) {
        let quicker = |than: &&i64| **than <= transit_ns;
        let place = self.quickest_ns.iter().take_while(quicker).count();
        if place == 0 {
            self.least_at_ns = now_ns;
        }
        self.quickest_ns[place..].rotate_right(1);
        self.quickest_ns[place] = transit_ns;
    }

    /// Near the bottom the quickest packets lie as far from each other, in the mean, as the first of
    /// them from the bottom, however the others are spread and whatever they have to do with each other.
    fn floor(&self) -> Floor {
        let (least, last) = (self.quickest_ns[0], self.quickest_ns[QUICKEST - 1]);
        let unsure_ns = match last {
            i64::MAX => i64::MAX,
            last => ((last - least) / (QUICKEST as i64 - 1)).max(LEAST_UNSURE_NS),
        };
        Floor {
            at_ns: self.least_at_ns,
            level_ns: least,
            unsure_ns,
        }
    }
}

impl<const N: usize> Row<N> {
    fn new() -> Row<N> {
        Row {
            floors: [Floor::default(); N],
            len: 0,
        }
    }

    /// Adds a floor; the oldest leaves a full row.
    fn push(&mut self, floor: Floor) {
        if self.len == N {
            self.floors.copy_within(1.., 0);
            self.len -= 1;
        }
        self.floors[self.len] = floor;
        self.len += 1;
    }

    fn as_slice(&self) -> &[Floor] {
        &self.floors[..self.len]
    }
}
