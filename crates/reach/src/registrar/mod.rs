//! The registrar of the phones (RFC 3261 §10.3), and who speaks (RFC 3261 §22).
//!
//! # Invariants
//! 1. A request without good credentials changes nothing and leaves nothing behind.
//! 2. A REGISTER is done as a whole or not at all, and an older one never undoes a newer one.
//! 3. A phone is called over the flow it registered by, wherever its Contact points: no one can make
//!    this node send to a third party.
//! 4. What is kept is bounded by the users there are and by tables of fixed size.

pub(crate) mod address;
mod admission;
pub(crate) mod asked;
mod bindings;
mod guard;
mod nonce;
mod reply;
#[cfg(test)]
pub(crate) mod testing;

use std::time::{Duration, Instant};

use duolog_sip::{Flow, Method, NameAddr, Request, Response, Transport, Uri};

use crate::digest::{Algorithm, Scheme, Secret};
use address::{members, plain};
use admission::{Admission, Verdict};
use asked::{Origin, Outbound, Wish};
use bindings::{Bindings, Effect};

/// Option tags understood in Require.
const SUPPORTED: [&str; 2] = ["path", "outbound"];

/// The users there are.
pub trait Directory {
    /// The user with this name, or with this number.
    fn entry(&self, user: &str) -> Option<Entry<'_>>;
}

/// One user, as the registrar needs to know it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The one name by which bindings are kept.
    pub name: &'a str,
    /// The password; `None`: no digest is good enough.
    pub secret: Option<&'a Secret>,
    /// The name in a verified client certificate that stands for the password.
    pub certificate: Option<&'a str>,
}

/// What a registrar is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// The realm of challenges.
    pub realm: String,
    /// Algorithms offered and accepted, best first.
    pub algorithms: Vec<Algorithm>,
    /// Shortest, default and longest time of a binding, in seconds.
    pub expires_s: (u32, u32, u32),
    /// Most bindings of one user.
    pub contacts: usize,
    /// How long a nonce is good.
    pub nonce_life: Duration,
    /// Product token for `Server`.
    pub server_name: String,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            realm: "duolog".to_owned(),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            expires_s: (60, 3600, 7200),
            contacts: 10,
            nonce_life: Duration::from_secs(300),
            server_name: "duolog".to_owned(),
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// 400: it cannot be read, or asks for what makes no sense.
    Malformed,
    /// 400: its digest was made for another target.
    DigestUri,
    /// 403: its sender may not change this user's bindings.
    Forbidden,
    /// 403: more bindings than a user may have.
    TooManyContacts,
    /// 404: there is no such user.
    NoSuchUser,
    /// 420: it requires an extension that is not known.
    BadExtension,
    /// 423: the bindings are to be kept for too short a time.
    TooBrief,
    /// 439: a proxy on the way cannot do what the phone asks of it (RFC 5626 §11.6).
    FirstHopLacksOutbound,
    /// 500: it is older than what it would change.
    OutOfOrder,
    /// 503: its source or its user gave too many wrong answers.
    Slowed,
}

/// What came of a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This user has something bound or refreshed.
    Bound(String),
    /// This user has something taken away, and nothing came.
    Unbound(String),
    /// Bindings were asked for.
    Queried,
    /// Credentials are asked for.
    Challenged,
    /// Nothing came of it.
    Refused(Why),
}

/// The answer to a REGISTER and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The final response; without a To tag.
    pub response: Response,
    /// What came of it.
    pub outcome: Outcome,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// The user with this name.
    Known(String),
    /// It is to be answered so, and may come again with credentials.
    Challenge(Response),
    /// It is to be answered so.
    Refused(Response, Why),
}

/// Where a user can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The Request-URI.
    pub uri: Uri,
    /// The way there.
    pub flow: Flow,
    /// What becomes Route (RFC 3327 §5.4).
    pub path: Vec<NameAddr>,
    /// Preference, in thousandths: 0 to 1000.
    pub q_milli: u16,
}

/// The bindings of the users, and the gate before them.
#[derive(Debug)]
pub struct Registrar {
    settings: RegistrarSettings,
    admission: Admission,
    bindings: Bindings,
}

impl Registrar {
    /// A registrar without bindings. The seed must be secret and fresh outside tests.
    pub fn new(settings: RegistrarSettings, seed: [u8; 32]) -> Registrar {
        Registrar {
            admission: Admission::new(&seed, settings.nonce_life),
            settings,
            bindings: Bindings::default(),
        }
    }

    /// Takes a REGISTER (RFC 3261 §10.3). `certified`: the names in the client certificate that was
    /// verified on this flow.
    pub fn register(
        &mut self,
        now: Instant,
        flow: &Flow,
        certified: &[String],
        request: &Request,
        directory: &dyn Directory,
    ) -> Registered {
        let unknown = unknown_extensions(request);
        if !unknown.is_empty() {
            let mut response = self.refusal(request, Why::BadExtension);
            response.headers.push("Unsupported", unknown.join(", "));
            return Registered {
                response,
                outcome: Outcome::Refused(Why::BadExtension),
            };
        }
        let verdict = self.admit(now, flow, certified, request, directory, Scheme::Www);
        let (name, next_nonce) = match verdict {
            Verdict::Known { name, next_nonce } => (name, next_nonce),
            Verdict::Ask(stale) => {
                let response = self.challenge(now, flow, request, Scheme::Www, stale);
                let outcome = Outcome::Challenged;
                return Registered { response, outcome };
            }
            Verdict::Slowed(left) => return self.refused(self.slow(request, left), Why::Slowed),
            Verdict::Refused(why) => return self.refused(self.refusal(request, why), why),
        };
        match self.change(now, flow, request, directory, &name) {
            Ok((effect, outbound)) => {
                let response = self.granted(now, request, &name, outbound, next_nonce);
                let outcome = match effect {
                    Effect::Bound => Outcome::Bound(name),
                    Effect::Unbound => Outcome::Unbound(name),
                    Effect::None => Outcome::Queried,
                };
                Registered { response, outcome }
            }
            Err(why) => self.refused(self.refusal(request, why), why),
        }
    }

    /// Says who sent a request other than REGISTER: its credentials are checked, or asked for. `scheme`
    /// is how they are asked for.
    pub fn authenticate(
        &mut self,
        now: Instant,
        flow: &Flow,
        certified: &[String],
        request: &Request,
        directory: &dyn Directory,
        scheme: Scheme,
    ) -> Authentication {
        match self.admit(now, flow, certified, request, directory, scheme) {
            Verdict::Known { name, .. } => Authentication::Known(name),
            Verdict::Ask(stale) => {
                Authentication::Challenge(self.challenge(now, flow, request, scheme, stale))
            }
            Verdict::Slowed(left) => Authentication::Refused(self.slow(request, left), Why::Slowed),
            Verdict::Refused(why) => Authentication::Refused(self.refusal(request, why), why),
        }
    }

    /// Where a user, by name, can be called: best q first, then newest. Of a phone with several flows
    /// there is only the newest (RFC 5626 §7).
    pub fn bindings(&self, now: Instant, user: &str) -> Vec<Binding> {
        let targets = self.bindings.targets(now, user).into_iter();
        let binding = |bound: &bindings::Bound| Binding {
            uri: bound.uri.clone(),
            flow: bound.way,
            path: bound.path.clone(),
            q_milli: bound.q_milli,
        };
        targets.map(binding).collect()
    }

    /// The one user whose phone registered by itself over this very flow; `None` where there are none
    /// or several. Over UDP this is worth as much as a source address is.
    pub fn user_on(&self, now: Instant, flow: &Flow) -> Option<&str> {
        let mut users = self.bindings.users_on(now, flow);
        let first = users.next()?;
        users.next().is_none().then_some(first)
    }

    /// Every user whose phone registered by itself over this very flow: a phone with several lines.
    pub fn users_on(&self, now: Instant, flow: &Flow) -> impl Iterator<Item = &str> {
        self.bindings.users_on(now, flow)
    }

    /// A connection is gone, and with it what was reached by it. Over UDP nothing is: a port
    /// unreachable for a moment, or a forged report of it, must not unregister a phone.
    pub fn flow_failed(&mut self, flow: &Flow) {
        if flow.transport != Transport::Udp {
            self.bindings.flow_failed(flow);
        }
    }

    /// When [`Registrar::expire`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.bindings.deadline()
    }

    /// Takes away what has run out.
    pub fn expire(&mut self, now: Instant) {
        self.bindings.expire(now);
    }

    /// How many bindings there are.
    pub fn bound(&self) -> usize {
        self.bindings.len()
    }

    /// Whom the request comes from: by certificate where that is the user's, else by digest.
    fn admit(
        &mut self,
        now: Instant,
        flow: &Flow,
        certified: &[String],
        request: &Request,
        directory: &dyn Directory,
        scheme: Scheme,
    ) -> Verdict {
        let claimed = match request.method {
            Method::Register => request.to(),
            _ => request.from(),
        };
        let Ok(claimed) = claimed else {
            return Verdict::Refused(Why::Malformed);
        };
        let entry = entry_at(directory, &claimed.uri);
        if let Some(entry) = &entry
            && let Some(wanted) = entry.certificate.filter(|name| !name.is_empty())
            && certified
                .iter()
                .any(|name| name.eq_ignore_ascii_case(wanted))
        {
            return Verdict::Known {
                name: entry.name.to_owned(),
                next_nonce: None,
            };
        }
        let claimed = plain(claimed.uri.user.as_deref().unwrap_or_default());
        let name = entry.as_ref().map_or(claimed.as_str(), |entry| entry.name);
        let at_home: Vec<&str> = self.bindings.users_on(now, flow).collect();
        let world = (&self.settings, directory);
        self.admission
            .check((now, flow), request, world, scheme, (name, &at_home))
    }

    /// Changes the bindings of the To user, who must be `name`.
    fn change(
        &mut self,
        now: Instant,
        flow: &Flow,
        request: &Request,
        directory: &dyn Directory,
        name: &str,
    ) -> Result<(Effect, Outbound), Why> {
        let to = request.to().map_err(|_| Why::Malformed)?;
        let entry = entry_at(directory, &to.uri).ok_or(Why::NoSuchUser)?;
        if entry.name != name {
            return Err(Why::Forbidden);
        }
        let origin = Origin::read(request, *flow)?;
        let outbound = origin.outbound(request)?;
        let wish = Wish::read(request, outbound, &self.settings)?;
        let most = self.settings.contacts;
        let effect = self.bindings.apply(now, name, &wish, &origin, most)?;
        Ok((effect, outbound))
    }
}

/// The user of an address of record (RFC 3261 §10.3 item 5).
fn entry_at<'a>(directory: &'a dyn Directory, uri: &Uri) -> Option<Entry<'a>> {
    directory.entry(&plain(uri.user.as_deref()?))
}

fn unknown_extensions(request: &Request) -> Vec<&str> {
    let mut tags = members(&request.headers, "Require");
    tags.retain(|tag| {
        !SUPPORTED
            .iter()
            .any(|known| known.eq_ignore_ascii_case(tag))
    });
    tags
}
