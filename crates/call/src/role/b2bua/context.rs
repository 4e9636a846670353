//! What a call has at hand while it takes one input, and what it wants done.

use std::time::Instant;

use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::{DialogId, Flow, Request, Response, Tokens};

use crate::fact::Side;
use crate::log::LogEvent;
use crate::media::MediaCommand;
use crate::role::b2bua::keys::KeySource;
use crate::settings::Settings;

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
    /// Requests of this dialog belong to this side of this call.
    Bind(DialogId, Side),
    /// The dialog is over.
    Unbind(DialogId),
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
    pub(crate) actions: Vec<Action>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        now: Instant,
        settings: &'a Settings,
        tokens: &'a mut Tokens,
        keys: &'a mut KeySource,
    ) -> Self {
        Self {
            now,
            settings,
            tokens,
            keys,
            actions: Vec::new(),
        }
    }

    pub(crate) fn media(&mut self, command: MediaCommand) {
        self.actions.push(Action::Media(command));
    }

    pub(crate) fn log(&mut self, event: LogEvent) {
        self.actions.push(Action::Log(event));
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}
