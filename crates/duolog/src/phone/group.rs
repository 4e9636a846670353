//! Many phones behind one SIP address: a trunk, or a floor of desks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::{Flow, Message};

use super::{Input, Output, Phone};

/// A phone of a group, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNo(pub usize);

/// Phones that share a SIP address. A message goes to the phone whose call it names; a new call to
/// an idle phone, one with the called user's name before others.
#[derive(Debug)]
pub struct Group {
    phones: Vec<Phone>,
    /// Phones by the Call-ID of their call or last call.
    calls: BTreeMap<String, PhoneNo>,
    call_of: Vec<Option<String>>,
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
        let (calls, due) = (BTreeMap::new(), BTreeSet::new());
        Self {
            phones,
            calls,
            call_of: vec![None; count],
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
        let (phone, due, call) = (
            &self.phones[no.0],
            &mut self.due_of[no.0],
            &mut self.call_of[no.0],
        );
        let deadline = phone.deadline();
        if *due != deadline {
            if let Some(before) = std::mem::replace(due, deadline) {
                self.due.remove(&(before, no));
            }
            self.due.extend(deadline.map(|at| (at, no)));
        }
        if call.as_deref() != phone.call_id() {
            let before = std::mem::replace(call, phone.call_id().map(str::to_owned));
            if let Some(before) = before {
                self.calls.remove(&before);
            }
            self.calls.extend(call.clone().map(|id| (id, no)));
        }
    }
}
