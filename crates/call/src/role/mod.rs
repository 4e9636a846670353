//! The roles a call can play: in the path between two parties, or at its end as a mailbox.

use std::time::Instant;

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::{Flow, Request, Response};

use crate::engine::Running;
use crate::fact::{Means, Side};
use crate::media::{CallId, MediaEvent, MediaGroup, RecordingId};
use crate::recording::{Control, Phase, Refusal};
use crate::settings::UserIndex;
use crate::target::{Answer, AskId};
use b2bua::context::Context;
use b2bua::{Confirmed, Moved, Newcomer, Unfetched};

pub(crate) mod b2bua;
pub(crate) mod mailbox;

/// A call in one of its roles.
pub(crate) enum Role {
    /// Between two parties.
    Between(Box<b2bua::Call>),
    /// The caller leaves a message.
    Mailbox(Box<mailbox::Call>),
}

/// Gives an input to whichever role it is.
macro_rules! each {
    ($role:expr, $call:ident => $then:expr) => {
        match $role {
            Role::Between($call) => $then,
            Role::Mailbox($call) => $then,
        }
    };
}

/// What every call takes, whatever its role.
impl Role {
    pub(crate) fn call_id(&self) -> &str {
        each!(self, call => call.call_id())
    }

    pub(crate) fn group(&self) -> MediaGroup {
        each!(self, call => call.group())
    }

    pub(crate) fn users(&self) -> Vec<UserIndex> {
        each!(self, call => call.users().collect())
    }

    pub(crate) fn running(&self, id: CallId) -> Vec<Running> {
        each!(self, call => call.running(id))
    }

    pub(crate) fn is_gone(&self) -> bool {
        each!(self, call => call.is_gone())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        each!(self, call => call.deadline())
    }

    pub(crate) fn connections(&self) -> Vec<Flow> {
        each!(self, call => call.connections().collect())
    }

    pub(crate) fn control(
        &mut self,
        cx: &mut Context<'_>,
        recording: RecordingId,
        by: Means,
        control: Control,
    ) -> Result<Phase, Refusal> {
        each!(self, call => call.control(cx, recording, by, control))
    }

    /// What follows from any input, once it is taken.
    pub(crate) fn follow_up(&mut self, cx: &mut Context<'_>) {
        each!(self, call => call.follow_up(cx));
    }

    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        each!(self, call => call.expire(cx));
    }

    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>) {
        each!(self, call => call.shut_down(cx));
    }

    /// Something is wrong with the call itself: it ends as far as it can.
    pub(crate) fn give_up(&mut self, cx: &mut Context<'_>) {
        each!(self, call => call.give_up(cx));
    }

    pub(crate) fn heard_on(&mut self, side: Side, flow: Flow, request: &Request) {
        match self {
            Self::Between(call) => call.heard_on(side, flow, request),
            Self::Mailbox(call) => call.heard_on(flow),
        }
    }

    pub(crate) fn connection_lost(&mut self, flow: Flow) {
        each!(self, call => call.connection_lost(flow));
    }

    pub(crate) fn request(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        match self {
            Self::Between(call) => call.request(cx, side, key, request),
            Self::Mailbox(call) => call.request(cx, key, &request),
        }
    }

    pub(crate) fn response(&mut self, cx: &mut Context<'_>, key: ClientKey, response: Response) {
        match self {
            Self::Between(call) => call.response(cx, key, response),
            Self::Mailbox(call) => call.response(cx, key, &response),
        }
    }

    pub(crate) fn client_failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) {
        each!(self, call => call.client_failed(cx, key, why));
    }

    pub(crate) fn challenged(&mut self, cx: &mut Context<'_>, key: ClientKey, answered: Request) {
        each!(self, call => call.challenged(cx, key, answered));
    }

    pub(crate) fn acked(&mut self, cx: &mut Context<'_>, key: ServerKey, ack: &Request) {
        each!(self, call => call.acked(cx, key, ack));
    }

    pub(crate) fn cancelled(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        each!(self, call => call.cancelled(cx, key));
    }

    pub(crate) fn server_failed(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        each!(self, call => call.server_failed(cx, key));
    }

    /// A mailbox's INVITE has its final answer, or will have it at once: nothing before it counts.
    pub(crate) fn unpracked(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        if let Self::Between(call) = self {
            call.unpracked(cx, key);
        }
    }

    pub(crate) fn media(&mut self, cx: &mut Context<'_>, event: MediaEvent) {
        each!(self, call => call.media(cx, event));
    }

    /// A mailbox asks for nobody.
    pub(crate) fn found(&mut self, cx: &mut Context<'_>, ask: AskId, found: Answer) {
        if let Self::Between(call) = self {
            call.found(cx, ask, found);
        }
    }

    pub(crate) fn fetched(&mut self, cx: &mut Context<'_>, why: Unfetched) {
        if let Self::Between(call) = self {
            call.fetched(cx, why);
        }
    }

    pub(crate) fn joined(&mut self, cx: &mut Context<'_>, moved: Moved) {
        if let Self::Between(call) = self {
            call.joined(cx, moved);
        }
    }

    /// Nobody is across from one who leaves a message.
    pub(crate) fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        by: crate::route::Party,
    ) -> Result<Moved, Unfetched> {
        match self {
            Self::Between(call) => call.hand_over(cx, side, by),
            Self::Mailbox(_) => Err(Unfetched::Apart),
        }
    }

    /// Nobody takes the place of one who leaves a message: it is declined.
    pub(crate) fn replacing(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        newcomer: Box<Newcomer>,
        early_only: Confirmed,
    ) -> Result<(), (Box<Newcomer>, u16)> {
        match self {
            Self::Between(call) => call.replacing(cx, side, newcomer, early_only),
            Self::Mailbox(_) => Err((newcomer, 603)),
        }
    }
}
