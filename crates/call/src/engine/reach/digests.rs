//! Digests that trunks ask of us (RFC 3261 §22.2): requests of calls are kept until they are answered,
//! and sent again with what was asked for.

use std::collections::BTreeMap;

use duolog_reach::digest::{self, Memory};
use duolog_sip::endpoint::ClientKey;
use duolog_sip::{Request, Response, Tokens};

use super::Reach;
use crate::settings::{Settings, TrunkIndex};

/// What trunks have asked for, and what may still be asked for.
pub(super) struct Digests {
    /// One for each trunk.
    memories: Vec<Memory>,
    /// Requests of calls to trunks that may ask for a digest.
    pending: BTreeMap<ClientKey, (TrunkIndex, Box<Request>)>,
}

impl Digests {
    pub(super) fn new(trunks: usize) -> Self {
        Self {
            memories: (0..trunks).map(|_| Memory::default()).collect(),
            pending: BTreeMap::new(),
        }
    }

    /// A request of a call goes out to a trunk: with a digest at once, where one is known to be asked
    /// for.
    fn goes_out(
        &mut self,
        settings: &Settings,
        (key, trunk): (ClientKey, TrunkIndex),
        request: &mut Request,
        tokens: &mut Tokens,
    ) {
        let Some(credentials) = &settings.trunks[trunk.0].credentials else {
            return;
        };
        self.memories[trunk.0].attach(request, credentials, tokens);
        // As it goes out: what was refused once is not tried again.
        self.pending.insert(key, (trunk, Box::new(request.clone())));
    }

    /// The same request with the digest that this answer asks for; `None` where there is none to give.
    fn answered(
        &mut self,
        settings: &Settings,
        key: ClientKey,
        response: &Response,
        tokens: &mut Tokens,
    ) -> Option<Request> {
        if !response.status.is_final() {
            return None;
        }
        let (trunk, request) = self.pending.remove(&key)?;
        let memory = &mut self.memories[trunk.0];
        if !matches!(response.status.code(), 401 | 407) {
            memory.accepted(response);
            return None;
        }
        let credentials = settings.trunks[trunk.0].credentials.as_ref()?;
        digest::answer(&request, response, credentials, memory, tokens)
    }

    fn forget(&mut self, key: ClientKey) {
        self.pending.remove(&key);
    }

    /// Requests that are not answered yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }
}

impl Reach {
    /// A request of a call goes to a trunk: with a digest at once, where one is known to be asked for.
    pub(in crate::engine) fn sign(
        &mut self,
        settings: &Settings,
        of: (ClientKey, TrunkIndex),
        request: &mut Request,
    ) {
        let tokens = &mut self.tokens;
        self.digests.goes_out(settings, of, request, tokens);
    }

    /// The request that this answer asks for, with its digest.
    pub(in crate::engine) fn signed_again(
        &mut self,
        settings: &Settings,
        key: ClientKey,
        response: &Response,
    ) -> Option<Request> {
        let tokens = &mut self.tokens;
        self.digests.answered(settings, key, response, tokens)
    }

    /// No answer will come any more.
    pub(in crate::engine) fn forget(&mut self, key: ClientKey) {
        self.digests.forget(key);
    }
}
