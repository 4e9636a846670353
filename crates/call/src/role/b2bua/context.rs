//! What a call has at hand while it takes one input, and what it wants done.

use std::time::Instant;

use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::{DialogId, Flow, Request, Response, Tokens};

use crate::fact::Side;
use crate::feature_code::Digit;
use crate::gate::Gate;
use crate::ids::Ids;
use crate::log::LogEvent;
use crate::media::{LegId, MediaCommand, RecordingId};
use crate::role::b2bua::handoff::Handed;
use crate::role::b2bua::keys::KeySource;
use crate::route::Party;
use crate::settings::Settings;
use crate::target::{AskId, Question, Reached};

/// What a call wants done, in order.
pub(crate) enum Action {
    /// Answer a request.
    Respond(ServerKey, Response),
    /// Send a request in a transaction of its own.
    Request(ClientKey, Flow, Request),
    /// Acknowledge a 2xx.
    Ack(ClientKey, Request),
    /// Cancel an INVITE.
    Cancel(ClientKey),
    /// A reliable provisional answer with this RSeq is acknowledged: it is not repeated any more.
    Pracked(ServerKey, u32),
    /// Requests of this dialog belong to this side of this call.
    Bind(DialogId, Side),
    /// The dialog is over.
    Unbind(DialogId),
    /// Ask the routing; answered by `Call::found`.
    Ask(AskId, Question),
    /// What became of a place that was asked.
    Outcome(Flow, Reached),
    /// The party across from the one that this dialog is with is wanted here by this party; answered
    /// by `Call::fetched`.
    Fetch(DialogId, Party),
    /// Nobody can ask for this recording any more.
    Forget(RecordingId),
    /// The caller's leg and INVITE go to a mailbox; this call is over.
    HandOff(Box<Handed>),
    /// Tell the media plane.
    Media(MediaCommand),
    /// Tell the log.
    Log(LogEvent),
}
/// One input's surroundings.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) settings: &'a Settings,
    pub(crate) tokens: &'a mut Tokens,
    pub(crate) keys: &'a mut KeySource,
    pub(crate) ids: &'a mut Ids,
    /// Whether what is recorded can be kept.
    pub(crate) gate: &'a Gate,
    pub(crate) actions: Vec<Action>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        now: Instant,
        settings: &'a Settings,
        tokens: &'a mut Tokens,
        keys: &'a mut KeySource,
        ids: &'a mut Ids,
    ) -> Self {
        Self {
            now,
            settings,
            tokens,
            keys,
            ids,
            gate: &Gate::Open,
            actions: Vec::new(),
        }
    }

    /// The same behind this gate.
    pub(crate) fn behind(self, gate: &'a Gate) -> Self {
        Self { gate, ..self }
    }

    pub(crate) fn media(&mut self, command: MediaCommand) {
        self.actions.push(Action::Media(command));
    }

    /// Takes back the keys that were to be sent to a leg.
    pub(crate) fn take_digits(&mut self, to: LegId) -> Vec<Digit> {
        let is_to = |action: &mut Action| matches!(action, Action::Media(MediaCommand::SendDigits { leg, .. }) if *leg == to);
        let taken = self.actions.extract_if(.., is_to);
        let digits = taken.map(|action| match action {
            Action::Media(MediaCommand::SendDigits { digits, .. }) => digits,
            _ => Vec::new(),
        });
        digits.flatten().collect()
    }

    pub(crate) fn log(&mut self, event: LogEvent) {
        self.actions.push(Action::Log(event));
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}
