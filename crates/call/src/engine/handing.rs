//! A caller whom nobody answers goes on in a call of another role.

use std::sync::Arc;
use std::time::Instant;

use super::{Engine, Slot, Work};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::handoff::Handed;
use crate::role::{Role, mailbox};

impl Engine {
    /// A mailbox takes a caller over: the leg and the INVITE are that call's from now.
    pub(super) fn hand_off(&mut self, now: Instant, handed: Handed, work: &mut Work) {
        let settings = Arc::clone(&self.settings);
        let id = self.next_call();
        self.invites.insert(handed.server, id);
        self.legs.insert(handed.leg.id, id);
        let mut cx = Context::new(
            now,
            &settings,
            &mut self.tokens,
            &mut self.keys,
            &mut self.ids,
        )
        .behind(&self.admission.gate);
        let call = Box::new(mailbox::Call::begin(&mut cx, id, handed));
        let actions = cx.actions;
        let slot = Slot {
            call: Role::Mailbox(call),
            filed: None,
            connections: Vec::new(),
            users: Vec::new(),
        };
        self.calls.insert(id, slot);
        self.perform(now, id, actions, work);
        self.settle(id);
    }
}
