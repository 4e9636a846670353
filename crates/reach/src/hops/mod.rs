//! Finding the next hop (RFC 3263), and keeping away from hops that fail.
//!
//! [`Hops`] asks for records and is told them; what was answered is kept for its TTL, and who asks for
//! the same meanwhile waits for the same answer. A search goes through RFC 3263 §4 over what is known,
//! from the start, whenever something was answered:
//!
//! ```text
//!  address ───────────────────────────────────────────────► hop
//!  name, port ──────────────────────────► A, AAAA ────────► hops
//!  name, transport ───────────► SRV ────► A, AAAA ────────► hops
//!                                └ none ► A, AAAA of the name
//!  name ────────► NAPTR ──────► SRV ────► A, AAAA ────────► hops
//!                  └ none ────► SRV of each of our transports
//!                                └ none ► A, AAAA of the name
//! ```
//!
//! A hop that was silent or answered 503 comes behind all others until it is heard of again.

mod agenda;
mod cache;
mod destination;
mod locating;
mod order;
mod places;
mod records;
mod search;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use duolog_sip::Transport;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use agenda::{Agenda, Wake};
use cache::Cache;
pub use destination::{Destination, Hop, Host};
use locating::{Asker, Locating, Patience};
use places::Places;
pub use records::{Family, LookupFailure, Naptr, QueryId, Question, Records, Srv};
use search::{Missing, search};

/// Searches at once at most; what is beyond is located nowhere.
const SEARCHES: usize = 4096;

/// A first probe comes within this time, so that not all are sent at once.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// Nobody needs to know sooner.
const PROBE_EVERY_MIN: Duration = Duration::from_secs(1);

/// A watched destination is looked up again so long before the first of its answers is out of date:
/// calls never wait for it.
const AHEAD: Duration = Duration::from_secs(2);

/// Shortest time between two look-ups of a watched destination.
const REFRESH_MIN: Duration = Duration::from_secs(3);

/// What [`Hops`] must know.
#[derive(Debug, Clone)]
pub struct HopSettings {
    /// The transports that this node listens on, with their families, and so can send from. Where a
    /// peer leaves the choice to us, the first is taken.
    pub transports: Vec<(Transport, Family)>,
    /// How long a hop that was silent, or answered 503 without `Retry-After`, comes last.
    pub avoid_for: Duration,
    /// Time between two probes of a hop; at least 1 s.
    pub probe_every: Duration,
    /// Longest time until a destination is located, or is nowhere.
    pub lookup_limit: Duration,
}

impl Default for HopSettings {
    /// No transports; 60 s, 30 s and 5 s.
    fn default() -> Self {
        Self {
            transports: Vec::new(),
            avoid_for: Duration::from_secs(60),
            probe_every: Duration::from_secs(30),
            lookup_limit: Duration::from_secs(5),
        }
    }
}

/// The name of a search, picked by whoever asks; not used again before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocateId(pub u64);

/// What became of a request to a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered anything but 503.
    Answered,
    /// It did not answer at all, or its transport failed (RFC 3263 §4.3).
    Silent,
    /// It answered 503, with this `Retry-After` in seconds.
    Unavailable(Option<u32>),
}

/// What [`Hops`] is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody is to be reached; answered by [`Output::Located`], at once where nothing must be asked.
    Locate {
        /// Its name in the answer.
        id: LocateId,
        /// Who.
        destination: Destination,
    },
    /// A look-up has ended.
    Answer {
        /// Which.
        id: QueryId,
        /// How.
        answer: Result<Records, LookupFailure>,
    },
    /// A request of a call, or a probe, has ended.
    Outcome {
        /// Where it was sent.
        hop: (Transport, SocketAddr),
        /// How it ended.
        outcome: Outcome,
    },
    /// From now on its addresses are kept known and its hops are probed.
    Watch(Destination),
    /// `deadline()` has come.
    Deadline,
}

/// What [`Hops`] wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask the DNS; answered by [`Input::Answer`].
    Query {
        /// Its name in the answer.
        id: QueryId,
        /// What is asked.
        question: Question,
    },
    /// Where somebody is.
    Located {
        /// Which search has ended.
        id: LocateId,
        /// Best first; none when it is nowhere that this node can reach.
        hops: Vec<Hop>,
    },
    /// Send OPTIONS there; answered by [`Input::Outcome`].
    Probe {
        /// Where.
        hop: Hop,
    },
}

/// Next hops: what the DNS says, and how they have behaved. One owner; time is an argument.
#[derive(Debug)]
pub struct Hops {
    settings: HopSettings,
    random: ChaCha12Rng,
    cache: Cache,
    searches: BTreeMap<Asker, Locating>,
    watched: Vec<Watched>,
    watched_at: HashMap<Destination, usize>,
    places: Places,
    agenda: Agenda,
}

/// A destination whose addresses are kept known.
#[derive(Debug)]
struct Watched {
    destination: Destination,
    /// Where it was when last found anywhere.
    hops: Vec<Hop>,
}

impl Hops {
    /// Knows nothing yet. The same seed makes the same choices.
    pub fn new(settings: HopSettings, seed: [u8; 32]) -> Self {
        let probe_every = settings.probe_every.max(PROBE_EVERY_MIN);
        Self {
            settings: HopSettings {
                probe_every,
                ..settings
            },
            random: ChaCha12Rng::from_seed(seed),
            cache: Cache::default(),
            searches: BTreeMap::new(),
            watched: Vec::new(),
            watched_at: HashMap::new(),
            places: Places::default(),
            agenda: Agenda::default(),
        }
    }

    /// Takes one input. Everything that comes out takes effect at `now`, in order.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Locate { id, destination } => self.locate(now, id, destination, &mut out),
            Input::Answer { id, answer } => self.answer(now, id, answer, &mut out),
            Input::Outcome {
                hop: (transport, address),
                outcome,
            } => {
                let key = (transport, plain(address));
                let (settings, agenda) = (&self.settings, &mut self.agenda);
                self.places.outcome(now, key, outcome, settings, agenda);
            }
            Input::Watch(destination) => self.watch(now, destination, &mut out),
            Input::Deadline => self.wake(now, &mut out),
        }
        out
    }

    /// When [`Input::Deadline`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// The addresses of a destination: its own where it is one, else those that a watched destination
    /// was last found at.
    pub fn addresses(&self, destination: &Destination) -> impl Iterator<Item = IpAddr> + use<'_> {
        let own = match destination.host {
            Host::Address(address) => Some(address.to_canonical()),
            Host::Name(_) => None,
        };
        let watched = self.watched_at.get(destination).filter(|_| own.is_none());
        let hops = watched.map_or(&[][..], |at| &self.watched[*at].hops);
        own.into_iter()
            .chain(hops.iter().map(|hop| hop.address.ip()))
    }

    /// Whether a hop comes last at present.
    pub fn is_avoided(&self, now: Instant, hop: (Transport, SocketAddr)) -> bool {
        self.places.is_avoided(now, (hop.0, plain(hop.1)))
    }

    /// How much is remembered: answers and open questions, searches, hops. All of it is bounded.
    pub fn held(&self) -> usize {
        self.cache.len() + self.searches.len() + self.places.len()
    }

    fn locate(
        &mut self,
        now: Instant,
        id: LocateId,
        destination: Destination,
        out: &mut Vec<Output>,
    ) {
        if self.searches.len() >= SEARCHES {
            let hops = Vec::new();
            out.push(Output::Located { id, hops });
            return;
        }
        self.begin(now, Asker::User(id), destination, out);
    }

    fn watch(&mut self, now: Instant, destination: Destination, out: &mut Vec<Output>) {
        if self.watched_at.contains_key(&destination) {
            return;
        }
        let at = self.watched.len();
        self.watched_at.insert(destination.clone(), at);
        self.watched.push(Watched {
            destination: destination.clone(),
            hops: Vec::new(),
        });
        self.begin(now, Asker::Watch(at), destination, out);
    }

    fn answer(
        &mut self,
        now: Instant,
        id: QueryId,
        answer: Result<Records, LookupFailure>,
        out: &mut Vec<Output>,
    ) {
        if let Some(answered) = self.cache.answer(now, id, answer) {
            self.agenda.remove(answered.limit, Wake::Query(id));
            for asker in answered.waiting {
                self.go_on(now, asker, out);
            }
        }
    }

    fn wake(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some(wake) = self.agenda.due(now) {
            match wake {
                Wake::Query(id) => self.answer(now, id, Err(LookupFailure::Failed), out),
                Wake::Asker(asker) => match (self.searches.get_mut(&asker), asker) {
                    (Some(locating), _) => {
                        locating.wake = locating.limit;
                        self.agenda.add(locating.limit, Wake::Asker(asker));
                        self.go_on(now, asker, out);
                    }
                    (None, Asker::Watch(at)) => {
                        let destination = self.watched[at].destination.clone();
                        self.begin(now, asker, destination, out);
                    }
                    (None, Asker::User(_)) => {}
                },
                Wake::Probe(key) => {
                    let (settings, agenda) = (&self.settings, &mut self.agenda);
                    let probe = self.places.wake(now, key, settings, agenda);
                    out.extend(probe.map(|hop| Output::Probe { hop }));
                }
            }
        }
    }

    fn begin(
        &mut self,
        now: Instant,
        asker: Asker,
        destination: Destination,
        out: &mut Vec<Output>,
    ) {
        let salt = self.random.next_u64();
        let mut locating = Locating::new(now, destination, self.settings.lookup_limit, salt);
        if let Asker::Watch(_) = asker {
            locating = locating.ahead(AHEAD);
        }
        let wake = locating.wake;
        if let Some(before) = self.searches.insert(asker, locating) {
            self.agenda.remove(before.wake, Wake::Asker(asker));
        }
        self.agenda.add(wake, Wake::Asker(asker));
        self.go_on(now, asker, out);
    }

    /// Goes through a search once more, and ends it where that is enough.
    fn go_on(&mut self, now: Instant, asker: Asker, out: &mut Vec<Output>) {
        let Some(locating) = self.searches.get(&asker) else {
            return;
        };
        let patience = locating.patience(now);
        let found = search(&self.settings, &self.cache, locating, patience);
        if patience != Patience::Over {
            for question in &found.missing {
                let limit = now + self.settings.lookup_limit;
                if let Some(id) = self.cache.ask(question, asker, limit) {
                    self.agenda.add(limit, Wake::Query(id));
                    let question = question.clone();
                    out.push(Output::Query { id, question });
                }
            }
        }
        let enough = match patience {
            Patience::All => found.missing.is_empty(),
            Patience::Best => found.missing.is_empty() || found.best_missing == Missing::No,
            Patience::Over => true,
        };
        if enough {
            let wake = locating.wake;
            self.searches.remove(&asker);
            self.agenda.remove(wake, Wake::Asker(asker));
            self.settle(now, asker, found, out);
        }
    }

    fn settle(&mut self, now: Instant, asker: Asker, found: search::Found, out: &mut Vec<Output>) {
        match asker {
            Asker::User(id) => {
                let hops = self.places.avoided_last(now, found.hops);
                out.push(Output::Located { id, hops });
            }
            Asker::Watch(at) => {
                let soonest = now + REFRESH_MIN;
                let again = match found.missing.is_empty() {
                    true => found.until.map(|until| (until - AHEAD).max(soonest)),
                    false => Some(soonest),
                };
                if let Some(again) = again {
                    self.agenda.add(again, Wake::Asker(asker));
                }
                self.found_at(now, at, found.hops);
            }
        }
    }

    /// A watched destination has been found. Where it is nowhere, it stays where it was: a mistake in
    /// a zone must not make a peer unknown.
    fn found_at(&mut self, now: Instant, at: usize, hops: Vec<Hop>) {
        let Some(watched) = self.watched.get_mut(at) else {
            return;
        };
        if hops.is_empty() {
            return;
        }
        let before = std::mem::replace(&mut watched.hops, hops);
        // The new ones first: a hop that stays is never forgotten between.
        for hop in &watched.hops {
            let share = self.random.next_u32() % 1000;
            let first = FIRST_PROBE.min(self.settings.probe_every) * share / 1000;
            self.places.watch(now, hop, first, &mut self.agenda);
        }
        for hop in &before {
            self.places.unwatch(hop, &mut self.agenda);
        }
    }
}

/// An address without what belongs to one link or one packet only.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
