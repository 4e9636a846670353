//! Message waiting: who subscribes, and what mailboxes have.

use std::sync::Arc;
use std::time::Instant;

use duolog_sip::endpoint::{self, ServerKey};
use duolog_sip::{DialogId, Flow, Request};

use super::reach::{Counts, Sender};
use super::{Engine, Work};
use crate::route::NoRoute;
use crate::settings::UserIndex;

impl Engine {
    /// A mailbox has so many messages now.
    pub(super) fn messages(
        &mut self,
        now: Instant,
        user: UserIndex,
        counts: Counts,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        let wanted = self.reach.messages(now, &settings, user, counts);
        self.carry_out(now, wanted, work);
    }

    /// A SUBSCRIBE outside a dialog: who is it from?
    pub(super) fn subscribing(
        &mut self,
        now: Instant,
        (key, flow): (ServerKey, Flow),
        request: &Request,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        match self.reach.sender(now, &settings, &flow, request) {
            Sender::Known(party) => {
                let of = (&flow, party);
                let (response, wanted) = self.reach.subscribe(now, &settings, of, request);
                self.respond(now, key, response, work);
                self.carry_out(now, wanted, work);
            }
            Sender::Answer(response) => {
                let response = *response;
                self.tell(now, endpoint::Input::RespondOnce { key, response }, work);
            }
            Sender::Unknown(NoRoute::UnknownSource) => self.stranger(now, key, request, work),
            Sender::Unknown(why) => {
                let reason = why.to_string();
                self.refuse(now, key, request, why.status_code(), Some(&reason), work);
            }
        }
    }

    /// Whether a request belongs to a subscription.
    pub(super) fn is_subscription(&self, request: &Request) -> bool {
        let dialog = DialogId::of_request(request);
        dialog.is_ok_and(|dialog| self.reach.is_subscription(&dialog))
    }

    /// A SUBSCRIBE within its dialog, whose name is known to nobody but the one who has it.
    pub(super) fn subscribing_again(
        &mut self,
        now: Instant,
        (key, flow): (ServerKey, Flow),
        request: &Request,
        work: &mut Work,
    ) {
        let Ok(dialog) = DialogId::of_request(request) else {
            return self.refuse(now, key, request, 481, None, work);
        };
        let settings = Arc::clone(&self.settings);
        let of = (&flow, &dialog);
        let (response, wanted) = self.reach.subscribe_again(now, &settings, of, request);
        self.respond(now, key, response, work);
        self.carry_out(now, wanted, work);
    }
}
