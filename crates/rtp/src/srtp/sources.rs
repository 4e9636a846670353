//! Per SSRC: the packet index (RFC 3711 §3.3.1) and which indices were used (§3.3.2).

use super::SrtpError;

/// Indices that the window remembers, the highest included.
const WINDOW: u64 = 128;
/// The largest RTP index: 32 bit roll-over counter, 16 bit sequence number.
const LAST_INDEX: u64 = (1 << 48) - 1;
/// Half of the sequence numbers: what is further away has gone round (RFC 3711 Appendix A).
const HALF: u16 = 1 << 15;

/// The highest index of a source and which of the [`WINDOW`] up to it were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    /// Bit `n` stands for `highest - n`.
    used: u128,
}

impl Window {
    pub(super) const fn starting_at(index: u64) -> Window {
        Window {
            highest: index,
            used: 1,
        }
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether the index may be used, without using it.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        match self.highest.checked_sub(index) {
            None => Ok(()),
            Some(age) if age >= WINDOW => Err(SrtpError::TooOld),
            Some(age) if self.used & (1 << age) != 0 => Err(SrtpError::Replayed),
            Some(_) => Ok(()),
        }
    }

    /// Notes an index that [`Window::check`] allowed.
    pub(super) fn mark(&mut self, index: u64) {
        if let Some(age) = self.highest.checked_sub(index) {
            self.used |= 1 << age;
            return;
        }
        let step = index - self.highest;
        self.used = if step < WINDOW {
            self.used << step | 1
        } else {
            1
        };
        self.highest = index;
    }

    /// The index that is meant by a sequence number: the nearest to the highest one (RFC 3711
    /// Appendix A).
    ///
    /// # Errors
    /// [`SrtpError::Exhausted`] after the last index, [`SrtpError::TooOld`] before index 0.
    pub(super) fn index_of(&self, sequence: u16) -> Result<u64, SrtpError> {
        let last = self.highest as u16;
        let turn = self.highest >> 16 << 16;
        let index = if last < HALF && sequence > last && sequence - last > HALF {
            (turn | u64::from(sequence))
                .checked_sub(1 << 16)
                .ok_or(SrtpError::TooOld)?
        } else if last >= HALF && last - HALF > sequence {
            (turn | u64::from(sequence)) + (1 << 16)
        } else {
            turn | u64::from(sequence)
        };
        if index > LAST_INDEX {
            return Err(SrtpError::Exhausted);
        }
        Ok(index)
    }
}

/// The windows of the sources of one key, the one used last in front.
#[derive(Debug)]
pub(super) struct Sources {
    windows: Vec<(u32, Window)>,
}

impl Sources {
    /// No source yet; up to `expected` of them need no further memory.
    pub(super) fn expecting(expected: usize) -> Sources {
        Sources {
            windows: Vec::with_capacity(expected),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    /// The window of a source; a look alone changes nothing.
    pub(super) fn find(&self, ssrc: u32) -> Option<Window> {
        self.windows
            .iter()
            .find(|(found, _)| *found == ssrc)
            .map(|(_, window)| *window)
    }

    /// Uses an index of a source, which becomes the one used last. A source that is new pushes out
    /// the one that was used longest ago when there are more than `most`.
    pub(super) fn mark(&mut self, ssrc: u32, index: u64, most: usize) {
        match self.windows.iter().position(|(found, _)| *found == ssrc) {
            Some(0) => {}
            Some(at) => self.windows[..=at].rotate_right(1),
            None => {
                self.windows.truncate(most - 1);
                self.windows.insert(0, (ssrc, Window::starting_at(index)));
            }
        }
        self.windows[0].1.mark(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_index(highest: u64, sequence: u16, expected: Result<u64, SrtpError>) {
        let window = Window::starting_at(highest);
        assert_eq!(
            window.index_of(sequence),
            expected,
            "{highest:#x} {sequence}"
        );
    }

    #[test]
    fn nearest_index() {
        check_index(5, 6, Ok(6));
        check_index(5, 4, Ok(4));
        check_index(5, 32_773, Ok(32_773));
        check_index(5, 65_530, Err(SrtpError::TooOld));
        check_index(0xffff, 0, Ok(0x1_0000));
        check_index(0xfffe, 0xffff, Ok(0xffff));
        check_index(0x1_0003, 0xfffe, Ok(0xfffe));
        check_index(0x1_0003, 4, Ok(0x1_0004));
        check_index(0x1_8000, 0, Ok(0x1_0000));
        check_index(0x1_8001, 0, Ok(0x2_0000));
        check_index(0x7_fff0, 0x20, Ok(0x8_0020));
        check_index(LAST_INDEX, 0, Err(SrtpError::Exhausted));
        check_index(LAST_INDEX, 0xfffe, Ok(LAST_INDEX - 1));
    }

    #[test]
    fn window_of_128() {
        let mut window = Window::starting_at(1000);
        assert_eq!(window.check(1000), Err(SrtpError::Replayed));
        assert_eq!(window.check(873), Ok(()));
        assert_eq!(window.check(872), Err(SrtpError::TooOld));
        window.mark(873);
        assert_eq!(window.check(873), Err(SrtpError::Replayed));
        window.mark(1001);
        assert_eq!(window.check(873), Err(SrtpError::TooOld));
        assert_eq!(window.check(1000), Err(SrtpError::Replayed));
        assert_eq!(window.check(999), Ok(()));
        window.mark(1001 + 128);
        assert_eq!(window.check(1002), Ok(()));
        assert_eq!(window.check(1001), Err(SrtpError::TooOld));
        window.mark(1129 + 127);
        assert_eq!(window.check(1129), Err(SrtpError::Replayed));
        window.mark(9_000_000);
        assert_eq!(window.check(8_999_999), Ok(()));
        assert_eq!(window.highest(), 9_000_000);
    }

    #[test]
    fn the_source_used_longest_ago_goes() {
        let mut sources = Sources::expecting(3);
        for ssrc in [1, 2, 3, 1, 4] {
            sources.mark(ssrc, u64::from(ssrc), 3);
        }
        assert_eq!(sources.find(2), None);
        for ssrc in [1, 3, 4] {
            let window = sources.find(ssrc).expect("one of the three newest");
            assert_eq!(window, Window::starting_at(u64::from(ssrc)));
        }
        assert_eq!(sources.len(), 3);
    }
}
