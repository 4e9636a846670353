//! The token buckets of one source.

use std::time::{Duration, Instant};

use super::{Kind, Rate, Rates};

/// One bucket for each [`Kind`], filled when looked at.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    /// In the order of [`Kind`]. Not `f32`: what a slow bucket gains between two packets of a flood
    /// would be lost in rounding.
    tokens: [f64; 4],
    filled: Option<Instant>,
    shut_until: Option<Instant>,
    answered: Option<Instant>,
}

impl Rates {
    fn each(&self) -> [Rate; 4] {
        [self.invites, self.registers, self.others, self.bad]
    }
}

impl Buckets {
    /// Full buckets.
    pub(super) fn full(rates: &Rates, now: Option<Instant>) -> Self {
        Self {
            tokens: rates.each().map(|rate| f64::from(rate.burst)),
            filled: now,
            shut_until: None,
            answered: None,
        }
    }

    /// Whether a message fits.
    pub(super) fn take(&mut self, now: Instant, kind: Kind, rates: &Rates) -> bool {
        self.fill(now, rates);
        let token = match kind {
            Kind::Invite => &mut self.tokens[0],
            Kind::Register => &mut self.tokens[1],
            Kind::Other => &mut self.tokens[2],
            Kind::Bad => &mut self.tokens[3],
        };
        let fits = *token >= 1.0;
        if fits {
            *token -= 1.0;
        }
        fits
    }

    /// Whether forgetting this source gives it nothing.
    pub(super) fn is_full(&mut self, now: Instant, rates: &Rates) -> bool {
        self.fill(now, rates);
        let full = |(tokens, rate): (&f64, Rate)| *tokens >= f64::from(rate.burst);
        !self.is_shut(now) && self.tokens.iter().zip(rates.each()).all(full)
    }

    pub(super) fn is_shut(&self, now: Instant) -> bool {
        self.shut_until.is_some_and(|until| now < until)
    }

    pub(super) fn shut_until(&mut self, until: Instant) {
        self.shut_until = Some(until);
    }

    /// Whether the last answer is long enough ago; if so, this is one.
    pub(super) fn may_answer(&mut self, now: Instant, every: Duration) -> bool {
        let may = self.answered.is_none_or(|last| now >= last + every);
        if may {
            self.answered = Some(now);
        }
        may
    }

    fn fill(&mut self, now: Instant, rates: &Rates) {
        let since = self.filled.replace(now).unwrap_or(now);
        let passed_s = now.saturating_duration_since(since).as_secs_f64();
        for (tokens, rate) in self.tokens.iter_mut().zip(rates.each()) {
            *tokens = rate.filled(*tokens, passed_s);
        }
    }
}

/// One bucket by itself.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    filled: Option<Instant>,
}

impl Bucket {
    pub(super) fn full(rate: Rate) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst),
            filled: None,
        }
    }

    /// Whether one more fits.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = self.filled.replace(now).unwrap_or(now);
        let passed_s = now.saturating_duration_since(since).as_secs_f64();
        self.tokens = self.rate.filled(self.tokens, passed_s);
        let fits = self.tokens >= 1.0;
        if fits {
            self.tokens -= 1.0;
        }
        fits
    }
}

impl Rate {
    fn filled(self, tokens: f64, passed_s: f64) -> f64 {
        let more = tokens + passed_s * f64::from(self.per_s);
        more.min(f64::from(self.burst))
    }
}
