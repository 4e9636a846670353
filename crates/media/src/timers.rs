//! Who wants to be woken when. Late answers are cheap: a value asks again when it is woken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Who is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A leg by its index.
    Leg(usize),
    /// A recording by its index.
    Recording(usize),
}

/// When a value is next woken; lives in the value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alarm(Option<Instant>);

/// The heap of wakes. An entry whose alarm was set anew is stale and passed over.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    /// Room for `values` values, so that an alarm set while packets run does not allocate.
    pub(crate) fn reserve(&mut self, values: usize) {
        let wanted = 8 * values;
        self.heap.reserve(wanted.saturating_sub(self.heap.len()));
    }

    /// Wakes `timer` at `due` unless it is woken earlier anyway.
    pub(crate) fn set(&mut self, timer: Timer, alarm: &mut Alarm, due: Option<Instant>) {
        let Some(due) = due else { return };
        if alarm.0.is_none_or(|earlier| due < earlier) {
            alarm.0 = Some(due);
            self.heap.push(Reverse((due, timer)));
        }
    }

    /// The next wake.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next wake that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(wake)| wake)
    }
}

impl Alarm {
    /// Whether this wake is the one that was set, which it uses up.
    pub(crate) fn rings(&mut self, due: Instant) -> bool {
        let rings = self.0 == Some(due);
        if rings {
            self.0 = None;
        }
        rings
    }
}
