//! What a phone answers when it is asked who it is (401, 407; RFC 3261 §22).

use duolog_reach::digest::{Memory, answer};
use duolog_sip::{ClientKey, Request, Response};

use super::ua::{Call, Purpose, Steps, UserAgent, Wanted};

impl UserAgent {
    /// What is known of the proxy's nonces goes in at once.
    pub(super) fn attach_digest(&mut self, request: &mut Request) {
        if let Some(credentials) = &self.settings.ways.credentials {
            self.nonces.attach(request, credentials, &mut self.tokens);
        }
    }

    /// Whether a response asked who this phone is and the request went out once more.
    pub(super) fn answer_challenge(
        &mut self,
        key: ClientKey,
        response: &Response,
        steps: &mut Steps<'_>,
    ) -> bool {
        let (Some(sent), Some(credentials)) =
            (self.sent.get(&key), &self.settings.ways.credentials)
        else {
            return false;
        };
        if !matches!(response.status.code(), 401 | 407) {
            self.nonces.accepted(response);
            return false;
        }
        if matches!(&self.call, Call::Calling(placed) if placed.wanted == Wanted::No) {
            return false;
        }
        let memory: &mut Memory = &mut self.nonces;
        let again = answer(
            &sent.request,
            response,
            credentials,
            memory,
            &mut self.tokens,
        );
        let Some(mut request) = again else {
            return false;
        };
        let (purpose, flow) = (sent.purpose, sent.flow);
        let Some(cseq) = self.next_cseq(key, purpose, &request) else {
            return false;
        };
        request.headers.set("CSeq", cseq);
        self.sent.remove(&key);
        self.resend(purpose, flow, request, steps);
        true
    }

    /// The CSeq of a request that goes out once more; `None` where its call is gone.
    fn next_cseq(&mut self, key: ClientKey, purpose: Purpose, request: &Request) -> Option<String> {
        let method = &request.method;
        let number = match purpose {
            Purpose::Register => self.registration.next_cseq(),
            Purpose::Invite => {
                let Call::Calling(placed) = &self.call else {
                    return None;
                };
                let ours = placed.key == key;
                ours.then_some(request.cseq().ok()?.number + 1)?
            }
            _ => {
                let id = request.call_id().ok()?.to_owned();
                let current = self.dialog().filter(|dialog| dialog.id().call_id == id);
                let dialog = match current {
                    Some(dialog) => dialog,
                    None => self.referring.over()?,
                };
                dialog.request(method.clone()).cseq().ok()?.number
            }
        };
        Some(format!("{number} {method}"))
    }
}
