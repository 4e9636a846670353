//! Answering challenges, and remembering them so that the next request need not be challenged
//! (RFC 3261 §22.2, §22.3; RFC 8760 §2.4).

use duolog_sip::{Request, Response, Tokens};

use super::algorithm::{Algorithm, Session};
use super::authorization::{Authorization, Quality};
use super::challenge::{Challenge, Qop, Scheme, Stale};
use super::fields::digests;
use super::secret::Credentials;

/// Most challenges kept of one peer: one for each realm.
const MAX_KEPT: usize = 8;
/// Most times in a row that a nonce just given may be called stale.
const MAX_STALE: u8 = 2;

/// The challenges of one peer and how often each nonce was used; bounded.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    kept: Vec<Kept>,
    stale_in_row: u8,
}

#[derive(Debug, Clone)]
struct Kept {
    scheme: Scheme,
    challenge: Challenge,
    source: Source,
    /// How often the nonce was used.
    count: u32,
    /// For `-sess`, whose first hash is made with the first cnonce and not again.
    cnonce: String,
    /// The count of an answer that was made and may not have been sent yet.
    unsent: Option<u32>,
}

/// How a nonce came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Challenge,
    /// `nextnonce`: its first use is not a direct answer to a challenge.
    Announced,
}

/// The same request with Authorization or Proxy-Authorization in it; the CSeq is the caller's to
/// raise. `None` when no challenge can be met: not a 401 or 407, an unknown algorithm, another realm,
/// or credentials that were just refused (RFC 3261 §22.2).
pub fn answer(
    request: &Request,
    response: &Response,
    credentials: &Credentials,
    memory: &mut Memory,
    tokens: &mut Tokens,
) -> Option<Request> {
    if !matches!(response.status.code(), 401 | 407) {
        return None;
    }
    let mut answered = None;
    // A forking proxy puts the challenges of both kinds into one response (RFC 3261 §22.3).
    for scheme in [Scheme::Www, Scheme::Proxy] {
        let earlier = Authorization::of(request, scheme);
        for challenge in Challenge::of(response, scheme).into_iter().take(MAX_KEPT) {
            let before = earlier.iter().find(|one| one.realm == challenge.realm);
            let tried = before.is_some_and(|one| memory.was_refused(scheme, one, &challenge));
            if tried || !credentials.fit(&challenge.realm) {
                continue;
            }
            let place = memory.learn(scheme, challenge, tokens);
            let answered = answered.get_or_insert_with(|| request.clone());
            let kept = &mut memory.kept[place];
            kept.sign(answered, credentials, tokens);
            kept.unsent = Some(kept.count);
        }
    }
    answered
}

impl Memory {
    /// Puts credentials for every challenge remembered into a request, so that it need not be
    /// challenged first. Without one nothing is changed, nor is an answer that [`answer`] just put in.
    pub fn attach(
        &mut self,
        request: &mut Request,
        credentials: &Credentials,
        tokens: &mut Tokens,
    ) {
        for kept in &mut self.kept {
            let just_made = kept.unsent.take();
            if credentials.fit(&kept.challenge.realm) && !kept.stands_in(request, just_made) {
                kept.sign(request, credentials, tokens);
            }
        }
    }

    /// Takes the next nonce from a response that was no challenge (RFC 7616 §3.5).
    pub fn accepted(&mut self, response: &Response) {
        self.stale_in_row = 0;
        for scheme in [Scheme::Www, Scheme::Proxy] {
            let info = response.headers.value(scheme.info()).unwrap_or_default();
            // The field names no scheme and no realm: it is of use where there is just one.
            let whole = format!("Digest {info}");
            let groups = digests(&whole);
            let next = groups.first().and_then(|info| info.value("nextnonce"));
            let mut of_scheme = self.kept.iter_mut().filter(|kept| kept.scheme == scheme);
            if let (Some(next), Some(kept), None) = (next, of_scheme.next(), of_scheme.next()) {
                kept.announced(next);
            }
        }
    }

    /// Whether the challenge refuses these credentials, and not just an old nonce.
    fn was_refused(
        &mut self,
        scheme: Scheme,
        before: &Authorization,
        challenge: &Challenge,
    ) -> bool {
        let kept = self.kept.iter().find(|kept| {
            kept.scheme == scheme
                && kept.challenge.realm == before.realm
                && kept.challenge.nonce == before.nonce
        });
        let first_use = match before.count() {
            Some(count) => count == 1,
            None => kept.is_some_and(|kept| kept.count == 1),
        };
        let announced = kept.is_some_and(|kept| kept.source == Source::Announced);
        let direct = first_use && !announced;
        if challenge.stale == Stale::Yes {
            self.stale_in_row = match direct {
                true => self.stale_in_row.saturating_add(1),
                false => 0,
            };
            return self.stale_in_row > MAX_STALE;
        }
        // A nonce used before may have run out with a server that does not say so; one that was just
        // given has not.
        direct || challenge.nonce == before.nonce
    }

    /// Keeps a challenge, and where it is kept.
    fn learn(&mut self, scheme: Scheme, challenge: Challenge, tokens: &mut Tokens) -> usize {
        let place = self
            .kept
            .iter()
            .position(|kept| kept.scheme == scheme && kept.challenge.realm == challenge.realm);
        if let Some(place) = place {
            let kept = &mut self.kept[place];
            let same_nonce = kept.challenge.nonce == challenge.nonce
                && kept.challenge.algorithm == challenge.algorithm;
            if !same_nonce {
                kept.count = 0;
                kept.source = Source::Challenge;
                kept.cnonce = tokens.call_id();
            }
            kept.challenge = challenge;
            return place;
        }
        if self.kept.len() == MAX_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Kept {
            scheme,
            challenge,
            source: Source::Challenge,
            count: 0,
            cnonce: tokens.call_id(),
            unsent: None,
        });
        self.kept.len() - 1
    }
}

impl Kept {
    fn session(&self) -> Session {
        let plain = (Algorithm::Md5, Session::Plain);
        self.challenge.algorithm.unwrap_or(plain).1
    }

    /// Whether the answer with this count is the one that the request carries.
    fn stands_in(&self, request: &Request, count: Option<u32>) -> bool {
        let mut answers = Authorization::of(request, self.scheme).into_iter();
        count.is_some()
            && answers.any(|answer| {
                answer.realm == self.challenge.realm
                    && answer.nonce == self.challenge.nonce
                    && answer.count() == count
            })
    }

    /// A `-sess` hash belongs to the nonce it was made with, so there the nonce stays.
    fn announced(&mut self, nonce: &str) {
        let fits = !nonce.is_empty() && nonce.len() <= 1024;
        if fits && self.session() == Session::Plain && self.challenge.nonce != nonce {
            self.challenge.nonce = nonce.to_owned();
            self.count = 0;
            self.source = Source::Announced;
        }
    }

    fn sign(&mut self, request: &mut Request, credentials: &Credentials, tokens: &mut Tokens) {
        self.count = self.count.saturating_add(1);
        if self.session() == Session::Plain {
            self.cnonce = tokens.call_id();
        }
        let (nc, cnonce) = (format!("{:08x}", self.count), self.cnonce.clone());
        let quality = match (self.challenge.qop, self.session()) {
            (Qop::Auth, _) => Quality::Auth { nc, cnonce },
            (Qop::Integrity, _) => Quality::Integrity { nc, cnonce },
            (Qop::Absent, Session::Plain) => Quality::Absent { cnonce: None },
            (Qop::Absent, Session::Sess) => Quality::Absent {
                cnonce: Some(cnonce),
            },
        };
        let mut made = Authorization {
            user: credentials.user.clone(),
            realm: self.challenge.realm.clone(),
            nonce: self.challenge.nonce.clone(),
            uri: request.uri.to_string(),
            response: String::new(),
            algorithm: self.challenge.algorithm,
            opaque: self.challenge.opaque.clone(),
            quality,
        };
        made.response = made.expected(&request.method, &request.body, &credentials.secret);
        replace(request, self.scheme, &made);
    }
}

/// Puts the answer in, instead of an earlier one for its realm.
fn replace(request: &mut Request, scheme: Scheme, made: &Authorization) {
    let name = scheme.authorization();
    let of_realm = |value: &str| {
        let groups = digests(value);
        let mut realms = groups.iter().map(|group| group.value("realm"));
        realms.any(|realm| realm == Some(made.realm.as_str()))
    };
    let values = request.headers.values(name);
    let others: Vec<String> = values
        .filter(|value| !of_realm(value))
        .map(str::to_owned)
        .collect();
    request.headers.remove(name);
    for value in others {
        request.headers.push(name, value);
    }
    request.headers.push(name, made.write());
}

impl Credentials {
    fn fit(&self, realm: &str) -> bool {
        self.realm.as_deref().is_none_or(|only| only == realm)
    }
}
