//! Whether new calls are taken: one answer for INVITE and for OPTIONS.

use crate::plan::Plan;
use crate::settings::Settings;

/// Whether what is recorded can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Gate {
    /// New calls are taken.
    #[default]
    Open,
    /// New calls that must be recorded get 503; others are taken.
    Closed {
        /// Why, for a person.
        reason: String,
        /// When it is worth asking again, in seconds.
        retry_after_s: u32,
    },
}

/// The gate, and whether the node drains.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    pub(crate) gate: Gate,
    drain: Drain,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Drain {
    #[default]
    No,
    Yes,
}

/// Why a new call is not taken now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) reason: String,
    pub(crate) retry_after_s: u32,
}

impl Admission {
    pub(crate) fn drain(&mut self) {
        self.drain = Drain::Yes;
    }

    /// Whether it drains.
    pub(crate) fn drains(&self) -> bool {
        self.drain == Drain::Yes
    }

    /// Why a call that is recorded like this is not taken now; `None` when it is. A closed gate lets those
    /// through that are not recorded, or whose owners would rather talk unrecorded.
    pub(crate) fn refusal_of(&self, settings: &Settings, plan: &Plan) -> Option<Closed> {
        let refusal = self.refusal(settings);
        refusal.filter(|_| self.drain == Drain::Yes || plan.needs_recorder())
    }

    /// Why new calls are not taken now, as far as that is the node's own matter; `None` when they are.
    pub(crate) fn refusal(&self, settings: &Settings) -> Option<Closed> {
        match (&self.drain, &self.gate) {
            (Drain::Yes, _) => Some(Closed {
                reason: "draining".to_owned(),
                retry_after_s: settings.drain_retry_after_s,
            }),
            (
                Drain::No,
                Gate::Closed {
                    reason,
                    retry_after_s,
                },
            ) => Some(Closed {
                reason: reason.clone(),
                retry_after_s: *retry_after_s,
            }),
            (Drain::No, Gate::Open) => None,
        }
    }
}
