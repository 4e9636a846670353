//! Many phones behind one SIP address: a trunk, or a floor of desks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::{Flow, Message};

use super::{Input, Output, Phone};

/// A phone of a group, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNo(pub usize);

/// Calls of a phone whose late messages still find it.
const REMEMBERED: usize = 4;

/// Phones that share a SIP address. A message goes to the phone whose call it names; a new call to
/// an idle phone, one with the called user's name before others.
#[derive(Debug)]
pub struct Group {
    phones: Vec<Phone>,
    /// Phones by the Call-IDs of their latest calls and of their registrations.
    calls: BTreeMap<String, PhoneNo>,
    /// Call-IDs of each phone's latest calls, the last one first.
    calls_of: Vec<VecDeque<String>>,
    due: BTreeSet<(Instant, PhoneNo)>,
    due_of: Vec<Option<Instant>>,
}

impl Group {
    /// A group of phones without calls.
    ///
    /// # Panics
    /// When there is no phone.
    #[must_use]
    pub fn new(phones: Vec<Phone>) -> Self {
        assert!(!phones.is_empty(), "a group has at least one phone");
        let count = phones.len();
        let registrations = phones
            .iter()
            .map(|phone| phone.registration_id().to_owned());
        let calls = registrations.zip((0..count).map(PhoneNo)).collect();
        let due = BTreeSet::new();
        Self {
            phones,
            calls,
            calls_of: vec![VecDeque::new(); count],
            due,
            due_of: vec![None; count],
        }
    }

    /// How many phones there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.phones.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is no such phone.
    #[must_use]
    pub fn phone(&self, no: PhoneNo) -> &Phone {
        &self.phones[no.0]
    }

    /// Gives a SIP message to the phone it is for.
    #[must_use]
    pub fn receive(&mut self, now: Instant, flow: Flow, bytes: Bytes) -> (PhoneNo, Vec<Output>) {
        let no = self.wanted(&bytes);
        (no, self.handle(now, no, Input::Sip { flow, bytes }))
    }

    /// Gives an input to one phone.
    ///
    /// # Panics
    /// When there is no such phone.
    #[must_use]
    pub fn handle(&mut self, now: Instant, no: PhoneNo, input: Input) -> Vec<Output> {
        let out = self.phones[no.0].handle(now, input);
        self.note(no);
        out
    }

    /// When `expire` is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Gives every phone that is due its deadline.
    #[must_use]
    pub fn expire(&mut self, now: Instant) -> Vec<(PhoneNo, Vec<Output>)> {
        let mut all = Vec::new();
        let due: Vec<PhoneNo> = self
            .due
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, no)| *no)
            .collect();
        for no in due {
            all.push((no, self.handle(now, no, Input::Deadline)));
        }
        all
    }

    fn wanted(&self, bytes: &Bytes) -> PhoneNo {
        let Ok(message) = Message::parse(bytes.clone()) else {
            return PhoneNo(0);
        };
        let known = message
            .headers()
            .value("Call-ID")
            .and_then(|id| self.calls.get(id));
        if let Some(no) = known {
            return *no;
        }
        // A call that takes another one's place goes where that one is.
        let replaced = message.headers().value("Replaces");
        let replaced = replaced.and_then(|value| value.split(';').next());
        if let Some(no) = replaced.and_then(|id| self.calls.get(id.trim())) {
            return *no;
        }
        let user = match &message {
            Message::Request(request) => request.uri.user.clone(),
            Message::Response(_) => None,
        };
        let idle = |no: &usize| self.phones[*no].is_idle();
        let named = |no: &usize| Some(self.phones[*no].user()) == user.as_deref();
        let all = 0..self.phones.len();
        let chosen = all
            .clone()
            .find(|no| idle(no) && named(no))
            .or_else(|| all.clone().find(idle));
        PhoneNo(chosen.unwrap_or(0))
    }

    fn note(&mut self, no: PhoneNo) {
        let (phone, due, calls) = (
            &self.phones[no.0],
            &mut self.due_of[no.0],
            &mut self.calls_of[no.0],
        );
        let deadline = phone.deadline();
        if *due != deadline {
            if let Some(before) = std::mem::replace(due, deadline) {
                self.due.remove(&(before, no));
            }
            self.due.extend(deadline.map(|at| (at, no)));
        }
        if let Some(call) = phone.call_id()
            && calls.front().map(String::as_str) != Some(call)
        {
            calls.push_front(call.to_owned());
            self.calls.insert(call.to_owned(), no);
            if calls.len() > REMEMBERED
                && let Some(before) = calls.pop_back()
            {
                self.calls.remove(&before);
            }
        }
    }
}
