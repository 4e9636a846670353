//! Whether new calls are taken: one answer for INVITE and for OPTIONS.

use crate::role::b2bua::context::Messages;
use crate::settings::Settings;

/// Whether what is recorded can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Gate {
    /// New calls are taken.
    #[default]
    Open,
    /// New calls get 503.
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

    /// Whether a caller who is here already may leave a message: while the node drains, yes.
    pub(crate) fn messages(&self) -> Messages {
        match self.gate {
            Gate::Open => Messages::Kept,
            Gate::Closed { .. } => Messages::Refused,
        }
    }

    /// Why a new call is not taken now; `None` when it is.
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
