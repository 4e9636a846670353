//! Requests that come twice: by two ways (RFC 3261 §8.2.2.2), or back to us (§16.3 item 4).

use super::identity::InviteIdentity;
use super::{ClientId, ClientKey, Endpoint, ServerKey};
use crate::message::Request;

/// Branches of one request to different numbers of ours; more are a fault or an attack.
const MAX_BRANCHES: usize = 16;

impl Endpoint {
    /// Whether the same request for the same target runs already. One for another target is another
    /// branch of a proxy that rings two of our numbers at once (RFC 3261 §16.6 step 1).
    pub(super) fn is_merged(&self, identity: &InviteIdentity, request: &Request) -> bool {
        let mut branches = 0;
        let mut same = self
            .alike(identity)
            .filter_map(|key| self.servers.get(&key));
        same.any(|server| {
            branches += 1;
            server.target == request.uri || branches == MAX_BRANCHES
        })
    }

    /// Whether this is a request of our own that came back as it went out. With another Request-URI
    /// it is a spiral, which is no fault: somebody sent a call on to another number of ours.
    pub(super) fn is_looped(&self, identity: &InviteIdentity, request: &Request) -> bool {
        let first = ClientId::User(ClientKey(0));
        let sent = self.sent.range((identity.clone(), first)..);
        sent.take_while(|(same, _)| same == identity)
            .filter_map(|(_, id)| self.clients.get(id))
            .any(|client| client.target == request.uri)
    }

    /// The server transactions with this identity.
    pub(super) fn alike(&self, identity: &InviteIdentity) -> impl Iterator<Item = ServerKey> {
        let (first, last) = (ServerKey(0), ServerKey(u64::MAX));
        let all = (identity.clone(), first)..=(identity.clone(), last);
        self.identities.range(all).map(|(_, key)| *key)
    }
}
