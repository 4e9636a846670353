//! How hops have behaved: those that failed come last until they are heard of again, and those that
//! matter are asked with OPTIONS from time to time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_sip::Transport;

use super::agenda::{Agenda, Wake};
use super::{Hop, HopSettings, Outcome};

/// Hops remembered that failed and are not watched; what is beyond is not remembered.
const STRANGERS: usize = 4096;

/// A `Retry-After` is believed up to here.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// After this long a probe without an outcome is forgotten: 64*T1 and some (RFC 3261 §17.1.2, timer F).
const PROBE_LIMIT: Duration = Duration::from_secs(40);

/// One address of a hop.
pub(super) type Key = (Transport, SocketAddr);

/// Every hop of which something is known.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Key, Place>);

#[derive(Debug)]
struct Place {
    /// The name its certificate must have.
    name: Option<Arc<str>>,
    /// How many watched destinations it belongs to.
    watched: usize,
    avoided: Option<Avoided>,
    /// When it is probed, or forgotten, next; filed in the agenda.
    wake: Option<Instant>,
    /// Since when a probe waits for its outcome.
    probing: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Avoided {
    /// Nobody answered: for a while, or until an answer where it is asked again and again.
    Silent(Instant),
    /// It wants to be left alone until then.
    Unavailable(Instant),
}

impl Places {
    /// The same hops, those to be avoided behind all others.
    pub(super) fn avoided_last(&self, now: Instant, mut hops: Vec<Hop>) -> Vec<Hop> {
        hops.sort_by_key(|hop| self.is_avoided(now, (hop.transport, hop.address)));
        hops
    }

    pub(super) fn is_avoided(&self, now: Instant, key: Key) -> bool {
        let place = self.0.get(&key);
        place.is_some_and(|place| match place.avoided {
            None => false,
            Some(Avoided::Silent(until)) => place.watched > 0 || now < until,
            Some(Avoided::Unavailable(until)) => now < until,
        })
    }

    /// Begins to probe a hop; the first time after `first`.
    pub(super) fn watch(&mut self, now: Instant, hop: &Hop, first: Duration, agenda: &mut Agenda) {
        let key = (hop.transport, hop.address);
        let is_avoided = self.is_avoided(now, key);
        let place = self.0.entry(key).or_insert_with(Place::new);
        place.watched += 1;
        if !is_avoided {
            place.avoided = None;
        }
        place.name.clone_from(&hop.name);
        if place.watched == 1 && place.avoided.is_none() {
            place.wake_at(key, now + first, agenda);
        }
    }

    /// Ends what [`Self::watch`] began.
    pub(super) fn unwatch(&mut self, hop: &Hop, agenda: &mut Agenda) {
        let key = (hop.transport, hop.address);
        let Some(place) = self.0.get_mut(&key) else {
            return;
        };
        place.watched = place.watched.saturating_sub(1);
        if place.watched == 0 && place.avoided.is_none() {
            self.forget(key, agenda);
        }
    }

    /// Takes what became of a request.
    pub(super) fn outcome(
        &mut self,
        now: Instant,
        key: Key,
        outcome: Outcome,
        settings: &HopSettings,
        agenda: &mut Agenda,
    ) {
        let known = self.0.contains_key(&key);
        let is_full = !known && self.0.len() >= STRANGERS;
        if is_full || (!known && outcome == Outcome::Answered) {
            return;
        }
        let place = self.0.entry(key).or_insert_with(Place::new);
        let was_probe = place.probing.take().is_some();
        let again = now + settings.probe_every;
        match outcome {
            Outcome::Answered if place.watched == 0 => self.forget(key, agenda),
            Outcome::Answered => {
                place.avoided = None;
                place.wake_at(key, again, agenda);
            }
            // A probe does not make a stranger avoided for longer: the next call tries it again.
            Outcome::Silent if was_probe && place.watched == 0 => {}
            Outcome::Silent => {
                place.avoided = Some(Avoided::Silent(now + settings.avoid_for));
                place.wake_at(key, again, agenda);
            }
            Outcome::Unavailable(retry_after_s) => {
                let asked = retry_after_s.map(|s| Duration::from_secs(s.into()));
                let until = now + asked.unwrap_or(settings.avoid_for).min(RETRY_AFTER_MAX);
                place.avoided = Some(Avoided::Unavailable(until));
                place.wake_at(key, until.max(again), agenda);
            }
        }
    }

    /// What is to be done when a place's time has come: perhaps a probe.
    pub(super) fn wake(
        &mut self,
        now: Instant,
        key: Key,
        settings: &HopSettings,
        agenda: &mut Agenda,
    ) -> Option<Hop> {
        let place = self.0.get_mut(&key)?;
        place.wake = None;
        let over = match place.avoided {
            None => true,
            Some(Avoided::Silent(until) | Avoided::Unavailable(until)) => until <= now,
        };
        let pending = place.probing.filter(|since| now < *since + PROBE_LIMIT);
        if place.watched == 0 && over {
            match pending {
                // Its outcome is not that of a call.
                Some(since) => place.wake_at(key, since + PROBE_LIMIT, agenda),
                None => drop(self.0.remove(&key)),
            }
            return None;
        }
        if matches!(place.avoided, Some(Avoided::Unavailable(_))) && over {
            place.avoided = None;
        }
        place.wake_at(key, now + settings.probe_every, agenda);
        if matches!(place.avoided, Some(Avoided::Unavailable(_))) || pending.is_some() {
            return None;
        }
        place.probing = Some(now);
        let (transport, address) = key;
        Some(Hop {
            transport,
            address,
            name: place.name.clone(),
        })
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn forget(&mut self, key: Key, agenda: &mut Agenda) {
        if let Some(wake) = self.0.remove(&key).and_then(|place| place.wake) {
            agenda.remove(wake, Wake::Probe(key));
        }
    }
}

impl Place {
    fn new() -> Self {
        Self {
            name: None,
            watched: 0,
            avoided: None,
            wake: None,
            probing: None,
        }
    }

    fn wake_at(&mut self, key: Key, at: Instant, agenda: &mut Agenda) {
        if let Some(before) = self.wake.replace(at) {
            agenda.remove(before, Wake::Probe(key));
        }
        agenda.add(at, Wake::Probe(key));
    }
}
