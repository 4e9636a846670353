//! Counters of what goes on beside the calls: registrations both ways, limits, transfers.

use duolog_call::LogEvent;
use duolog_reach::{registrar, registration};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::Labelled;

/// What the engine tells of who is where.
#[derive(Debug, Clone, Default)]
pub struct ReachMetrics {
    registers: Labelled,
    trunk_registrations: Labelled,
    limited: Counter,
    transfers: Labelled,
}

impl ReachMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "REGISTER requests of phones, by what came of them";
        registry.register("registers", help, self.registers.clone());
        let help = "Changes of this node's registrations at trunks, by what they stand at now";
        registry.register(
            "trunk_registrations",
            help,
            self.trunk_registrations.clone(),
        );
        let help = "SIP messages not taken because their source had sent too many";
        registry.register("sip_messages_limited", help, self.limited.clone());
        let help = "Transfers within calls, by what came of them";
        registry.register("transfers", help, self.transfers.clone());
    }

    pub(super) fn count(&self, event: &LogEvent) {
        let one = |family: &Labelled, value| {
            family.get_or_create(&vec![("outcome", value)]).inc();
        };
        match event {
            LogEvent::Registrar(outcome) => one(&self.registers, registrar_label(outcome)),
            LogEvent::Registration { state, .. } => {
                let state = match state {
                    registration::State::Registered { .. } => "registered",
                    registration::State::Failed { .. } => "failed",
                    registration::State::Unregistered => "unregistered",
                };
                one(&self.trunk_registrations, state);
            }
            LogEvent::Limited => drop(self.limited.inc()),
            LogEvent::TransferAsked { .. } => one(&self.transfers, "asked"),
            LogEvent::Transferred => one(&self.transfers, "done"),
            LogEvent::TransferFailed { .. } => one(&self.transfers, "failed"),
            LogEvent::Replaced => one(&self.transfers, "replaced"),
            LogEvent::JoinRefused => one(&self.transfers, "join_refused"),
            _ => {}
        }
    }

    /// Gives every family a member: a family without one is not written.
    #[cfg(test)]
    pub(super) fn touch(&self) {
        for family in [&self.registers, &self.trunk_registrations, &self.transfers] {
            drop(family.get_or_create(&vec![("any", "label")]));
        }
    }
}

fn registrar_label(outcome: &registrar::Outcome) -> &'static str {
    use registrar::{Outcome, Why};
    match outcome {
        Outcome::Bound(_) => "bound",
        Outcome::Unbound(_) => "unbound",
        Outcome::Queried => "queried",
        Outcome::Challenged => "challenged",
        Outcome::Refused(Why::Slowed) => "slowed",
        Outcome::Refused(Why::Forbidden | Why::NoSuchUser) => "forbidden",
        Outcome::Refused(_) => "refused",
    }
}
