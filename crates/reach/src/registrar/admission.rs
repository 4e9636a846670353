//! Whether a request comes from whom it says: digest answers, and who is slowed down.

use std::time::{Duration, Instant};

use duolog_sip::{Flow, Method, Request, Uri};

use super::address::plain;
use super::guard::Guard;
use super::nonce::{NonceId, Nonces, Use};
use super::{Directory, RegistrarSettings, Why};
use crate::digest::{
    Algorithm, Authorization, Challenge, Qop, Quality, Scheme, Secret, Session, Stale, same,
};

/// What is to be said to a request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is this user.
    Known {
        name: String,
        /// A nonce to go on with, once the one in use is getting old (RFC 7616 §3.5).
        next_nonce: Option<String>,
    },
    /// It is to be asked.
    Ask(Stale),
    /// It is not heard for so long.
    Slowed(Duration),
    /// It is refused.
    Refused(Why),
}

#[derive(Debug)]
pub(super) struct Admission {
    nonces: Nonces,
    guard: Guard,
    /// Hashed for users that are not there, so that an answer to them takes as long.
    nobody: Secret,
}

impl Admission {
    pub(super) fn new(seed: &[u8; 32], nonce_life: Duration) -> Admission {
        Admission {
            nonces: Nonces::new(seed, nonce_life),
            guard: Guard::new(),
            nobody: Secret::new("nobody".to_owned()),
        }
    }

    /// Reads the answer of a request, if there is one. `claimed`: whom the request names. `at_home`:
    /// the users who registered over this very flow; they are not slowed by what others do.
    pub(super) fn check(
        &mut self,
        (now, flow): (Instant, &Flow),
        request: &Request,
        (settings, directory): (&RegistrarSettings, &dyn Directory),
        scheme: Scheme,
        (claimed, at_home): (&str, &[&str]),
    ) -> Verdict {
        let source = flow.peer.ip();
        let answers = Authorization::of(request, scheme);
        let answer = answers
            .into_iter()
            .find(|answer| answer.realm == settings.realm && is_offered(answer, settings));
        let entry = answer.as_ref().and_then(|a| entry_of(directory, &a.user));
        let name = match (&entry, &answer) {
            (Some(entry), _) => entry.name,
            (None, Some(answer)) => &answer.user,
            (None, None) => claimed,
        };
        if !at_home.contains(&name)
            && let Some(left) = self.guard.slowed(now, name, source)
        {
            return Verdict::Slowed(left);
        }
        let Some(answer) = &answer else {
            return Verdict::Ask(Stale::No);
        };
        // Nothing is hashed for a nonce that is not good: whether the password was right stays open.
        let realm = &settings.realm;
        let Some(id) = self.nonces.read(now, realm, source, &answer.nonce) else {
            return Verdict::Ask(Stale::Yes);
        };
        if !speaks_of(answer, request) {
            return Verdict::Refused(Why::DigestUri);
        }
        let secret = entry.as_ref().and_then(|entry| entry.secret);
        let expected = answer.expected(
            &request.method,
            &request.body,
            secret.unwrap_or(&self.nobody),
        );
        let right = same(expected.as_bytes(), answer.response.as_bytes());
        if !(right && secret.is_some()) {
            self.guard.bad(now, name, source);
            return Verdict::Ask(Stale::No);
        }
        if self.nonces.spend(now, id, answer.count()) == Use::Again {
            return Verdict::Ask(Stale::Yes);
        }
        self.guard.good(name, source);
        Verdict::Known {
            name: name.to_owned(),
            next_nonce: self.next_nonce(now, id, settings, flow),
        }
    }

    /// One challenge for each algorithm, best first, with one nonce (RFC 8760 §2.3).
    pub(super) fn challenges(
        &mut self,
        now: Instant,
        flow: &Flow,
        settings: &RegistrarSettings,
        stale: Stale,
    ) -> Vec<String> {
        let nonce = self.nonces.issue(now, &settings.realm, flow.peer.ip());
        let challenge = |algorithm: &Algorithm| Challenge {
            realm: settings.realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            algorithm: Some((*algorithm, Session::Plain)),
            qop: Qop::Auth,
            stale,
        };
        let challenges = settings.algorithms.iter().map(challenge);
        challenges.map(|challenge| challenge.write()).collect()
    }

    fn next_nonce(
        &mut self,
        now: Instant,
        id: NonceId,
        settings: &RegistrarSettings,
        flow: &Flow,
    ) -> Option<String> {
        let ageing = self.nonces.is_ageing(now, id);
        ageing.then(|| self.nonces.issue(now, &settings.realm, flow.peer.ip()))
    }
}

/// The entry of a user name; some phones write `user@realm`.
fn entry_of<'a>(directory: &'a dyn Directory, user: &str) -> Option<super::Entry<'a>> {
    directory.entry(user).or_else(|| {
        let (user, _) = user.split_once('@')?;
        directory.entry(user)
    })
}

/// Whether the answer is to something this node asks: an algorithm of ours, and `auth` or, from those
/// who never heard of it, nothing.
fn is_offered(answer: &Authorization, settings: &RegistrarSettings) -> bool {
    let (algorithm, session) = answer.algorithm();
    let quality = match &answer.quality {
        Quality::Absent { .. } => true,
        Quality::Auth { .. } => answer.count().is_some(),
        Quality::Integrity { .. } => false,
    };
    quality && session == Session::Plain && settings.algorithms.contains(&algorithm)
}

/// Whether the answer was made for this target. Hosts may differ after a proxy (RFC 8760 §2.6 item 6);
/// who is called may not, or a caught answer could be made to call someone else.
fn speaks_of(answer: &Authorization, request: &Request) -> bool {
    if request.method == Method::Register {
        return true;
    }
    let user = |uri: &Uri| uri.user.as_deref().map(plain);
    let named: Result<Uri, _> = answer.uri.parse();
    named.is_ok_and(|named| user(&named) == user(&request.uri))
}
