//! Stretches of a recording that share a property: paused, on hold, covered by a telephone-event.

/// The end of a stretch that still goes on.
const OPEN: u64 = u64::MAX;

/// Sorted, disjoint stretches of positions. Short: what is committed is forgotten.
#[derive(Debug)]
pub(crate) struct Stretches {
    list: Vec<(u64, u64)>,
}

impl Stretches {
    /// Room for a few stretches, so that adding one while packets run does not allocate.
    pub(crate) fn new() -> Stretches {
        Stretches {
            list: Vec::with_capacity(8),
        }
    }

    /// Whether `position` lies in a stretch, and where that answer changes.
    pub(crate) fn at(&self, position: u64) -> (bool, u64) {
        for &(from, until) in &self.list {
            if position < from {
                return (false, from);
            }
            if position < until {
                return (true, until);
            }
        }
        (false, OPEN)
    }

    /// Whether no stretch touches `from..until`.
    pub(crate) fn is_clear(&self, from: u64, until: u64) -> bool {
        self.list
            .iter()
            .all(|&(start, end)| end <= from || start >= until)
    }

    /// Begins a stretch that goes on until `end` is called. Ignored while one goes on.
    pub(crate) fn begin(&mut self, position: u64) {
        match self.list.last_mut() {
            Some(last) if last.1 == OPEN => {}
            Some(last) if last.1 >= position => last.1 = OPEN,
            _ => self.list.push((position, OPEN)),
        }
    }

    /// Ends the stretch that goes on, if one does.
    pub(crate) fn end(&mut self, position: u64) {
        let Some(last) = self.list.last_mut() else {
            return;
        };
        if last.1 == OPEN {
            last.1 = position;
            if last.0 >= position {
                self.list.pop();
            }
        }
    }

    /// Adds a closed stretch, joined with the newest one where they touch.
    ///
    /// A stretch older than the newest one only widens it: packets of one event share a start.
    /// The list never grows beyond its room; the newest stretch is widened instead.
    pub(crate) fn cover(&mut self, from: u64, until: u64) {
        let full = self.list.len() == self.list.capacity();
        match self.list.last_mut() {
            Some(last) if from <= last.1 || full => {
                last.0 = last.0.min(from);
                last.1 = last.1.max(until);
            }
            _ => self.list.push((from, until)),
        }
    }

    /// Forgets what ended at or before `position`.
    pub(crate) fn forget_before(&mut self, position: u64) {
        self.list.retain(|&(_, until)| until > position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_begins_ends_and_is_forgotten() {
        let mut stretches = Stretches::new();
        assert_eq!(stretches.at(5), (false, OPEN));
        stretches.begin(10);
        stretches.begin(12);
        assert_eq!(stretches.at(9), (false, 10));
        assert_eq!(stretches.at(10), (true, OPEN));
        stretches.end(20);
        stretches.end(30);
        assert_eq!(stretches.at(19), (true, 20));
        assert_eq!(stretches.at(20), (false, OPEN));
        assert!(stretches.is_clear(20, 40));
        assert!(!stretches.is_clear(19, 40));
        stretches.begin(20);
        assert_eq!(stretches.at(19), (true, OPEN));
        stretches.end(25);
        stretches.forget_before(25);
        assert_eq!(stretches.at(12), (false, OPEN));
    }

    #[test]
    fn a_stretch_of_no_length_is_none() {
        let mut stretches = Stretches::new();
        stretches.begin(10);
        stretches.end(10);
        assert_eq!(stretches.at(10), (false, OPEN));
    }

    #[test]
    fn updates_of_one_event_widen_it_and_the_room_is_kept() {
        let mut stretches = Stretches::new();
        stretches.cover(100, 260);
        stretches.cover(100, 420);
        assert_eq!(stretches.at(300), (true, 420));
        let room = stretches.list.capacity();
        for n in 0..100 {
            stretches.cover(1_000 * (n + 1), 1_000 * (n + 1) + 10);
        }
        assert_eq!(stretches.list.capacity(), room);
    }
}
