//! How good a stream probably sounds: the E-model (ITU-T G.107) for its loss and delay.
//!
//! Everything the recorder can not know (loudness, noise, side tone, echo) has the default value of
//! G.107 table 2, so the figures are of the transmission alone. The scale is that of narrow band: a
//! wide-band codec is at best as good as G.711 here (G.107.1 has another scale).

use std::time::Duration;

/// Basic signal-to-noise ratio Ro with all defaults (G.107 §7.2).
const SIGNAL_TO_NOISE: f64 = 94.769;
/// Simultaneous impairment Is with all defaults (G.107 §7.3).
const SIMULTANEOUS: f64 = 1.414;
/// Sum of the noises No with all defaults, in dBm0p (G.107 §7.2).
const NOISE: f64 = -61.179;
/// Receive loudness rating, in dB (G.107 table 2).
const RECEIVE_LOUDNESS: f64 = 2.0;
/// Talker echo loudness rating, in dB (G.107 table 2).
const ECHO_LOUDNESS: f64 = 65.0;
/// Weighted echo path loss, in dB (G.107 table 2).
const ECHO_PATH_LOSS: f64 = 110.0;
/// Equipment impairment at which everything is lost (G.107 §7.5).
const ALL_IMPAIRED: f64 = 95.0;

/// What a codec costs, from ITU-T G.113 appendix I.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equipment {
    /// Equipment impairment factor without loss, 0 to 95.
    pub impairment: f64,
    /// Packet-loss robustness factor, above 0: the percentage of loss that costs half.
    pub robustness: f64,
}

impl Equipment {
    /// G.711 where losses are concealed (G.113 table I.4).
    pub const G711: Self = Self {
        impairment: 0.0,
        robustness: 25.1,
    };
    /// G.729A with voice activity detection (G.113 table I.4).
    pub const G729A: Self = Self {
        impairment: 11.0,
        robustness: 19.0,
    };
}

/// What was measured of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Loss {
    /// Packets that should have come.
    pub expected: u64,
    /// Packets of these that did not come, or came too late to be of use.
    pub lost: u64,
    /// Rows of lost packets; 0 if that is not known.
    pub bursts: u64,
}

/// The transmission rating R of G.107: 0 is nothing, 93.2 the best a telephone can be.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rating(f64);

/// Rates a stream.
pub fn rate(equipment: Equipment, loss: Loss, one_way: Duration) -> Rating {
    let value = SIGNAL_TO_NOISE
        - SIMULTANEOUS
        - delay_impairment(one_way.as_secs_f64() * 1e3)
        - equipment_impairment(equipment, loss);
    Rating(value.clamp(0.0, 100.0))
}

impl Loss {
    /// Share lost, in percent.
    pub fn percent(self) -> f64 {
        match self.expected {
            0 => 0.0,
            expected => 100.0 * self.lost.min(expected) as f64 / expected as f64,
        }
    }

    /// How much longer the rows of lost packets are than if each were lost by chance: 1 is by chance.
    /// Never below 1 (G.107 §7.5 has no use for it).
    pub fn burst_ratio(self) -> f64 {
        if self.bursts == 0 || self.lost < self.bursts {
            return 1.0;
        }
        let mean = self.lost as f64 / self.bursts as f64;
        (mean * (1.0 - self.percent() / 100.0)).max(1.0)
    }
}

impl Rating {
    /// The rating itself, 0 to 100.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Mean opinion score of listening and talking, 1 (bad) to 4.5 (G.107 annex B).
    pub fn mos(self) -> f64 {
        let r = self.0;
        let mos = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
        mos.clamp(1.0, 4.5)
    }
}

/// Effective equipment impairment Ie,eff (G.107 §7.5).
fn equipment_impairment(equipment: Equipment, loss: Loss) -> f64 {
    let Equipment {
        impairment,
        robustness,
    } = equipment;
    let percent = loss.percent();
    if percent == 0.0 {
        return impairment;
    }
    impairment + (ALL_IMPAIRED - impairment) * percent / (percent / loss.burst_ratio() + robustness)
}

/// Delay impairment Id (G.107 §7.4): talker echo, listener echo and delay by itself, the round trip
/// being twice the way.
fn delay_impairment(way_ms: f64) -> f64 {
    let at_talker = ECHO_LOUDNESS - 40.0 * ((1.0 + way_ms / 10.0) / (1.0 + way_ms / 150.0)).log10()
        + 6.0 * (-0.3 * way_ms * way_ms).exp();
    let echo = 80.0 + 2.5 * (at_talker - 14.0);
    let without = -1.5 * (NOISE - RECEIVE_LOUDNESS);
    let half = (without - echo) / 2.0;
    let talker = (half + half.hypot(10.0) - 1.0) * (1.0 - (-way_ms).exp());

    let echo = 10.5 * (ECHO_PATH_LOSS + 7.0) * (2.0 * way_ms + 1.0).powf(-0.25);
    let half = (SIGNAL_TO_NOISE - echo) / 2.0;
    let listener = half + half.hypot(13.0);

    let delay = if way_ms <= 100.0 {
        0.0
    } else {
        let x = (way_ms / 100.0).log2();
        let sixth = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
        25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
    };
    talker + listener + delay
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ms;

    fn lost(percent: u64) -> Loss {
        Loss {
            expected: 10_000,
            lost: percent * 100,
            bursts: 0,
        }
    }

    #[track_caller]
    fn check(equipment: Equipment, loss: Loss, way_ms: u64, expected: f64, within: f64) {
        let told = rate(equipment, loss, ms(way_ms)).value();
        assert!((told - expected).abs() <= within, "{told} for {expected}");
    }

    #[test]
    fn the_default_connection_is_the_93_2_of_the_standard() {
        check(Equipment::G711, Loss::default(), 0, 93.2, 0.05);
        let best = rate(Equipment::G711, Loss::default(), Duration::ZERO);
        assert!((best.mos() - 4.41).abs() < 0.005, "{}", best.mos());
    }

    #[test]
    fn scores_are_those_of_annex_b_and_g_109() {
        for (r, mos) in [
            (90.0, 4.34),
            (80.0, 4.03),
            (70.0, 3.60),
            (60.0, 3.10),
            (50.0, 2.58),
            (0.0, 1.0),
            (100.0, 4.5),
        ] {
            let told = Rating(r).mos();
            assert!((told - mos).abs() < 0.01, "{told} for {r}");
        }
        let scores: Vec<f64> = (7..=100).map(|r| Rating(f64::from(r)).mos()).collect();
        assert!(scores.is_sorted());
    }

    #[test]
    fn delay_costs_what_the_usual_approximation_says() {
        // Cole and Rosenbluth, Voice over IP performance monitoring (2001), for G.107's defaults.
        for way_ms in [25, 50, 100, 150, 200, 250, 300] {
            let way = way_ms as f64;
            let costs = 0.024 * way + 0.11 * (way - 177.3).max(0.0);
            check(Equipment::G711, Loss::default(), way_ms, 93.2 - costs, 1.7);
        }
        let ratings =
            (20..1_000).map(|way| rate(Equipment::G711, Loss::default(), ms(way)).value());
        assert!(ratings.is_sorted_by(|one, two| one >= two));
    }

    #[test]
    fn loss_costs_what_g_113_says() {
        let clean = rate(Equipment::G711, Loss::default(), Duration::ZERO).value();
        for (equipment, percent, costs) in [
            (Equipment::G711, 1, 3.64),
            (Equipment::G711, 2, 7.01),
            (Equipment::G711, 5, 15.78),
            (Equipment::G729A, 0, 11.0),
            (Equipment::G729A, 1, 15.2),
            (Equipment::G729A, 4, 25.61),
        ] {
            check(equipment, lost(percent), 0, clean - costs, 0.01);
        }
        check(Equipment::G711, lost(100), 0, clean - 75.94, 0.01);
    }

    #[test]
    fn losses_in_a_row_cost_more() {
        let loss = |bursts| Loss { bursts, ..lost(5) };
        assert_eq!(loss(0).burst_ratio(), 1.0);
        assert_eq!(loss(500).burst_ratio(), 1.0, "each by itself");
        assert_eq!(loss(501).burst_ratio(), 1.0, "more rows than packets");
        assert!((loss(100).burst_ratio() - 4.75).abs() < 1e-9);
        let value = |bursts| rate(Equipment::G711, loss(bursts), Duration::ZERO).value();
        assert!(value(100) < value(500) - 2.0 && value(500) == value(0));
        assert_eq!(
            Loss {
                expected: 0,
                lost: 5,
                bursts: 1
            }
            .percent(),
            0.0
        );
        assert_eq!(
            Loss {
                expected: 4,
                lost: 5,
                bursts: 1
            }
            .percent(),
            100.0
        );
    }
}
