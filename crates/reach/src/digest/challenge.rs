//! WWW-Authenticate and Proxy-Authenticate (RFC 3261 §20.27, §20.44).

use duolog_sip::Response;

use super::algorithm::{Algorithm, Session};
use super::fields::{Fields, digests, quoted};

/// Longest realm, nonce and opaque together that are kept, in bytes.
const MAX_LENGTH: usize = 4096;

/// Who asks: the other end (401) or a proxy on the way (407).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// 401, WWW-Authenticate, Authorization.
    Www,
    /// 407, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Scheme {
    /// The field with the challenge.
    pub(crate) const fn challenge(self) -> &'static str {
        match self {
            Scheme::Www => "WWW-Authenticate",
            Scheme::Proxy => "Proxy-Authenticate",
        }
    }

    /// The field with the answer.
    pub(crate) const fn authorization(self) -> &'static str {
        match self {
            Scheme::Www => "Authorization",
            Scheme::Proxy => "Proxy-Authorization",
        }
    }

    /// The field with the next nonce.
    pub(crate) const fn info(self) -> &'static str {
        match self {
            Scheme::Www => "Authentication-Info",
            Scheme::Proxy => "Proxy-Authentication-Info",
        }
    }

    /// The status of a challenge.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Scheme::Www => 401,
            Scheme::Proxy => 407,
        }
    }
}

/// What a challenge wants protected (RFC 7616 §3.3, `qop`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qop {
    /// Nothing said: RFC 2069.
    Absent,
    Auth,
    /// The body too; taken only where `auth` is not offered.
    Integrity,
}

/// Whether the nonce before was too old, and not the password wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    Yes,
    No,
}

/// A digest challenge that can be answered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: String,
    pub(crate) opaque: Option<String>,
    /// `None` where the challenge names none, which means MD5.
    pub(crate) algorithm: Option<(Algorithm, Session)>,
    pub(crate) qop: Qop,
    pub(crate) stale: Stale,
}

impl Challenge {
    /// The challenges of a response that can be answered, for each realm the first one (RFC 8760 §2.4).
    pub fn of(response: &Response, scheme: Scheme) -> Vec<Challenge> {
        let mut found: Vec<Challenge> = Vec::new();
        for value in response.headers.values(scheme.challenge()) {
            for challenge in digests(value).iter().filter_map(Challenge::read) {
                if found.iter().all(|one| one.realm != challenge.realm) {
                    found.push(challenge);
                }
            }
        }
        found
    }

    /// The realm, as the challenger names it.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    fn read(fields: &Fields<'_>) -> Option<Challenge> {
        let algorithm = match fields.value("algorithm") {
            Some(text) => Some(Algorithm::read(text)?),
            None => None,
        };
        let challenge = Challenge {
            realm: fields.value("realm")?.to_owned(),
            nonce: fields.value("nonce")?.to_owned(),
            opaque: fields.value("opaque").map(str::to_owned),
            algorithm,
            qop: read_qop(fields.value("qop"))?,
            stale: match fields.value("stale") {
                Some(text) if text.eq_ignore_ascii_case("true") => Stale::Yes,
                _ => Stale::No,
            },
        };
        let opaque = challenge.opaque.as_ref().map_or(0, String::len);
        let length = challenge.realm.len() + challenge.nonce.len() + opaque;
        (length <= MAX_LENGTH).then_some(challenge)
    }

    /// The field's value, as a server writes it.
    pub(crate) fn write(&self) -> String {
        let mut text = format!("Digest realm={}", quoted(&self.realm));
        match self.qop {
            Qop::Absent => {}
            Qop::Auth => text.push_str(", qop=\"auth\""),
            Qop::Integrity => text.push_str(", qop=\"auth-int\""),
        }
        text.push_str(&format!(", nonce={}", quoted(&self.nonce)));
        if let Some(opaque) = &self.opaque {
            text.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        if self.stale == Stale::Yes {
            text.push_str(", stale=true");
        }
        if let Some((algorithm, session)) = self.algorithm {
            let ending = session.ending();
            text.push_str(&format!(", algorithm={}{ending}", algorithm.as_str()));
        }
        text
    }
}

/// `None` where only what is not known here is offered.
fn read_qop(text: Option<&str>) -> Option<Qop> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Some(Qop::Absent);
    };
    let offers = |wanted: &str| {
        text.split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(wanted))
    };
    match (offers("auth"), offers("auth-int")) {
        (true, _) => Some(Qop::Auth),
        (false, true) => Some(Qop::Integrity),
        (false, false) => None,
    }
}
