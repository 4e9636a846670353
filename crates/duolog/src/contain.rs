//! The unwind boundary around a core: a broken assumption costs the packet or message that met it, not
//! every call of the node. One that keeps breaking ends the process: a supervisor starts it again, and
//! recovery finishes what the spool holds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// After this many the state of the process is not worth keeping.
const LIMIT: u64 = 32;

/// How often work of one thread has broken.
#[derive(Debug, Default)]
pub struct Breaks(AtomicU64);

impl Breaks {
    /// How often so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Does `work`; `None` when it panicked. The panic itself has been printed by then.
    pub fn contain<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => Some(done),
            Err(_) => {
                let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::error!(
                    count,
                    "an assumption of duolog broke; please report the lines above"
                );
                if count >= LIMIT {
                    std::process::abort();
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_is_counted_and_the_next_work_is_done() {
        let breaks = Breaks::default();
        assert_eq!(breaks.contain(|| 1), Some(1));
        let broke: Option<()> = breaks.contain(|| panic!("broken on purpose by a test"));
        assert_eq!((broke, breaks.count()), (None, 1));
        assert_eq!(breaks.contain(|| 2), Some(2));
    }
}
