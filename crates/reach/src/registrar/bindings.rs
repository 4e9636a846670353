//! Who is where: the bindings of every user, found by user, by flow and by time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_sip::{Flow, NameAddr, Uri};

use super::Why;
use super::address::equivalent;
use super::asked::{Change, FirstHop, Origin, Wish};

/// One binding as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) uri: Uri,
    /// Where requests to it go.
    pub(super) way: Flow,
    pub(super) path: Vec<NameAddr>,
    pub(super) q_milli: u16,
    pub(super) instance: Option<String>,
    pub(super) reg_id: Option<u32>,
    pub(super) until: Instant,
    /// Where its REGISTER came from.
    source: Flow,
    hop: FirstHop,
    call_id: String,
    cseq: u32,
    /// Larger is newer; the same for all of one REGISTER.
    order: u64,
}

/// What a REGISTER changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Something is there now.
    Bound,
    /// Something is gone, and nothing came.
    Unbound,
    /// Nothing was asked to be changed.
    None,
}

#[derive(Debug, Default)]
pub(super) struct Bindings {
    users: BTreeMap<Arc<str>, Vec<Bound>>,
    due: BTreeSet<(Instant, Arc<str>)>,
    on_flow: BTreeSet<(Flow, Arc<str>)>,
    count: usize,
    next_order: u64,
}

impl Bindings {
    /// Does all that is wished, or nothing (RFC 3261 §10.3).
    pub(super) fn apply(
        &mut self,
        now: Instant,
        user: &str,
        wish: &Wish,
        origin: &Origin,
        most: usize,
    ) -> Result<Effect, Why> {
        let mut list: Vec<Bound> = self.live(now, user).cloned().collect();
        let before = list.len();
        self.next_order += 1;
        let order = self.next_order;
        let effect = match wish {
            Wish::Show => return Ok(Effect::None),
            Wish::Clear => {
                if list.iter().any(|bound| !bound.yields_to(origin)) {
                    return Err(Why::OutOfOrder);
                }
                list.clear();
                Effect::Unbound
            }
            Wish::Change(changes) => {
                for change in changes {
                    change.apply(now, &mut list, origin, order)?;
                }
                match changes.iter().any(|change| change.expires_s > 0) {
                    true => Effect::Bound,
                    false => Effect::Unbound,
                }
            }
        };
        if list.len() > most.max(before) {
            return Err(Why::TooManyContacts);
        }
        self.put(user, list);
        Ok(effect)
    }

    /// The bindings of a user that have not run out.
    pub(super) fn live(&self, now: Instant, user: &str) -> impl Iterator<Item = &Bound> {
        let all = self.users.get(user).map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |bound| bound.until > now)
    }

    /// Best first: by q, then newest; of an instance with several flows the newest only (RFC 5626 §7).
    pub(super) fn targets(&self, now: Instant, user: &str) -> Vec<&Bound> {
        let mut list: Vec<&Bound> = self.live(now, user).collect();
        list.sort_by_key(|bound| std::cmp::Reverse((bound.order, bound.reg_id)));
        let mut instances = BTreeSet::new();
        list.retain(|bound| match (&bound.instance, bound.reg_id) {
            (Some(instance), Some(_)) => instances.insert(instance.as_str()),
            _ => true,
        });
        list.sort_by_key(|bound| std::cmp::Reverse(bound.q_milli));
        list
    }

    /// The users whose phones registered by themselves over this flow.
    pub(super) fn users_on(&self, now: Instant, flow: &Flow) -> impl Iterator<Item = &str> {
        let flow = *flow;
        let users = self.on_flow.range((flow, Arc::from(""))..);
        let users = users.take_while(move |(on, _)| *on == flow);
        let users = users.map(|(_, user)| user.as_ref());
        users.filter(move |user| {
            self.live(now, user).any(|bound| {
                bound.source == flow && bound.hop == FirstHop::Phone && bound.path.is_empty()
            })
        })
    }

    /// Ends what was reached over this flow.
    pub(super) fn flow_failed(&mut self, flow: &Flow) {
        let users = self.on_flow.range((*flow, Arc::from(""))..);
        let users: Vec<Arc<str>> = users
            .take_while(|(on, _)| on == flow)
            .map(|(_, user)| user.clone())
            .collect();
        for user in users {
            self.keep_of(&user, |bound| bound.source != *flow);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, user)) = self.due.first()
            && *at <= now
        {
            let user = user.clone();
            self.keep_of(&user, |bound| bound.until > now);
        }
    }

    /// How many there are, those that have run out and are still to be taken away included.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn keep_of(&mut self, user: &str, stays: impl Fn(&Bound) -> bool) {
        let mut list = self.users.get(user).cloned().unwrap_or_default();
        list.retain(stays);
        self.put(user, list);
    }

    /// Replaces a user's bindings, and everything that finds them.
    fn put(&mut self, user: &str, list: Vec<Bound>) {
        let user: Arc<str> = Arc::from(user);
        let old = self.users.remove(&user).unwrap_or_default();
        self.count = self.count + list.len() - old.len();
        for bound in &old {
            self.due.remove(&(bound.until, user.clone()));
            self.on_flow.remove(&(bound.source, user.clone()));
        }
        for bound in &list {
            self.due.insert((bound.until, user.clone()));
            self.on_flow.insert((bound.source, user.clone()));
        }
        if !list.is_empty() {
            self.users.insert(user, list);
        }
    }
}

impl Bound {
    /// Whether a REGISTER is newer than the one that made this (RFC 3261 §10.3).
    fn yields_to(&self, origin: &Origin) -> bool {
        self.call_id != origin.call_id || origin.cseq > self.cseq
    }
}

impl Change {
    fn apply(
        &self,
        now: Instant,
        list: &mut Vec<Bound>,
        origin: &Origin,
        order: u64,
    ) -> Result<(), Why> {
        let replaces = |bound: &Bound| self.replaces(bound, order);
        let mut older = list.iter().filter(|bound| replaces(bound));
        if older.any(|bound| bound.order != order && !bound.yields_to(origin)) {
            return Err(Why::OutOfOrder);
        }
        list.retain(|bound| !replaces(bound));
        if self.expires_s > 0 {
            list.push(Bound {
                uri: self.uri.clone(),
                way: origin.way_to(&self.uri),
                path: origin.path.clone(),
                q_milli: self.q_milli,
                instance: self.instance.clone(),
                reg_id: self.reg_id,
                until: now + Duration::from_secs(self.expires_s.into()),
                source: origin.source,
                hop: origin.hop,
                call_id: origin.call_id.clone(),
                cseq: origin.cseq,
                order,
            });
        }
        Ok(())
    }

    /// Whether this Contact takes the place of a binding: that of the same instance and flow
    /// (RFC 5626 §6), or of the same URI. A phone that names its instance and no flow was restarted
    /// where an earlier REGISTER left another URI.
    fn replaces(&self, bound: &Bound, order: u64) -> bool {
        let same_instance = self.instance.is_some() && self.instance == bound.instance;
        match (self.reg_id, bound.reg_id) {
            (Some(one), Some(other)) => same_instance && one == other,
            (Some(_), None) => same_instance || equivalent(&self.uri, &bound.uri),
            (None, Some(_)) => {
                self.expires_s == 0 && equivalent(&self.uri, &bound.uri)
                    || same_instance && bound.order != order
            }
            (None, None) => {
                equivalent(&self.uri, &bound.uri) || same_instance && bound.order != order
            }
        }
    }
}
