//! Calls whose time has come. One that wants to be looked at again and again without time passing would
//! keep every other call of the node waiting: it is given up.

use std::time::Instant;

use super::{Engine, Work};
use crate::log::LogEvent;
use crate::media::CallId;
use crate::role::Role;

/// How often a call may be looked at in one instant: a few things may be due together, each by itself.
const ROUNDS: u8 = 16;

/// What is done with calls whose time has come.
trait Due {
    /// Takes all that are due now from where they are filed.
    fn take(&mut self) -> Vec<CallId>;
    /// Looks at one, which may file it anew.
    fn look_at(&mut self, call: CallId);
    /// It will not come to rest.
    fn give_up(&mut self, call: CallId);
}

/// Looks at every call that is due until none is any more, or the rest is given up.
fn come_to_rest(calls: &mut impl Due) {
    for _ in 0..ROUNDS {
        let due = calls.take();
        if due.is_empty() {
            return;
        }
        due.into_iter().for_each(|call| calls.look_at(call));
    }
    let stuck = calls.take();
    stuck.into_iter().for_each(|call| calls.give_up(call));
}

struct AtOnce<'a> {
    engine: &'a mut Engine,
    now: Instant,
    work: &'a mut Work,
}

impl Due for AtOnce<'_> {
    fn take(&mut self) -> Vec<CallId> {
        self.engine.take_due(self.now)
    }

    fn look_at(&mut self, call: CallId) {
        self.engine
            .with_call(self.now, call, self.work, Role::expire);
    }

    fn give_up(&mut self, call: CallId) {
        self.engine.give_up(self.now, call, self.work);
    }
}

impl Engine {
    /// Lets the calls that are due do what is due.
    pub(super) fn calls_due(&mut self, now: Instant, work: &mut Work) {
        come_to_rest(&mut AtOnce {
            engine: self,
            now,
            work,
        });
    }

    fn take_due(&mut self, now: Instant) -> Vec<CallId> {
        let mut due = Vec::new();
        let deadlines = &mut self.filed.deadlines;
        while deadlines.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = deadlines.pop_first()
        {
            if let Some(slot) = self.calls.get_mut(&id) {
                slot.filed = None;
            }
            due.push(id);
        }
        due
    }

    /// Ends a call that will not come to rest. Time wakes it no more, even if that does not help.
    fn give_up(&mut self, now: Instant, id: CallId, work: &mut Work) {
        self.log(id, LogEvent::Stuck, work);
        self.with_call(now, id, work, Role::give_up);
        if let Some(slot) = self.calls.get_mut(&id)
            && let Some(at) = slot.filed.take_if(|at| *at <= now)
        {
            self.filed.deadlines.remove(&(at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use bytes::Bytes;
    use duolog_sip::{Flow, Transport};

    use super::*;
    use crate::engine::{Input, Output};
    use crate::testing::settings;

    /// How often each call is due at this instant, how often it was looked at, and who was given up.
    #[derive(Default)]
    struct Toy {
        due: BTreeMap<CallId, u32>,
        seen: BTreeMap<CallId, u32>,
        given_up: Vec<CallId>,
    }

    impl Due for Toy {
        fn take(&mut self) -> Vec<CallId> {
            let due: Vec<_> = self.due.keys().copied().collect();
            for call in &due {
                let left = self.due.get_mut(call).unwrap();
                *left -= 1;
            }
            self.due.retain(|_, left| *left > 0);
            due
        }

        fn look_at(&mut self, call: CallId) {
            *self.seen.entry(call).or_default() += 1;
        }

        fn give_up(&mut self, call: CallId) {
            self.given_up.push(call);
        }
    }

    #[test]
    fn a_call_that_does_not_come_to_rest_is_given_up_and_stops_no_other() {
        let mut toy = Toy::default();
        let often = [(1, 1), (2, u32::MAX), (3, 5), (4, 16), (5, 17)];
        toy.due.extend(often.map(|(id, often)| (CallId(id), often)));
        come_to_rest(&mut toy);
        let seen: Vec<u32> = toy.seen.into_values().collect();
        assert_eq!(seen, [1, 16, 5, 16, 16]);
        assert_eq!(toy.given_up, [CallId(2), CallId(5)]);
    }

    #[test]
    fn who_is_given_up_is_refused_and_logged() {
        let settings = settings();
        let now = settings.epoch.at;
        let mut engine = Engine::new(Arc::new(settings), [7; 32]);
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.99:5060".parse().unwrap(),
            peer: "192.0.2.1:5060".parse().unwrap(),
        };
        let invite = "INVITE sip:1003@192.0.2.99 SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
            From: <sip:9000@192.0.2.1>;tag=1\r\nTo: <sip:1003@192.0.2.99>\r\nCall-ID: 1@a\r\n\
            CSeq: 1 INVITE\r\nContact: <sip:9000@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";
        let bytes = Bytes::from_static(invite.as_bytes());
        let _ = engine.handle(now, Input::Sip { flow, bytes });
        let id = *engine.calls.keys().next().expect("it is taken");
        let mut work = Work::default();
        engine.give_up(now, id, &mut work);
        let logged = |output: &Output| match output {
            Output::Log(log) => Some(log.event.clone()),
            _ => None,
        };
        let logs: Vec<_> = work.out.iter().filter_map(logged).collect();
        assert_eq!(logs[0], LogEvent::Stuck);
        let refused = LogEvent::Refused { status: 500 };
        assert!(logs.contains(&refused), "{logs:?}");
    }
}
