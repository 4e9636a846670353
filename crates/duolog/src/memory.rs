//! Memory that a wave of calls leaves behind goes back to the system.
//!
//! glibc keeps what was freed below what is still in use: 200 MiB after a wave of 400 calls a second, with
//! 300 KiB of it in use. It returns whole pages when it is asked to, which is unsafe code for Rust.
#![allow(unsafe_code)]

/// A wave smaller than this leaves less than a quarter of a MiB.
const WAVE: usize = 64;
/// A wave is over when one part in so many of it is left.
const EBB: usize = 16;

/// Tells when a wave of transactions is over.
#[derive(Debug, Default)]
pub struct Tide {
    high: usize,
}

impl Tide {
    /// Takes how many there are now; says whether most of what there was is gone. What is left is the next
    /// wave, so that the end of a long one is told a few times, each time of less.
    pub fn ebbs(&mut self, now: usize) -> bool {
        self.high = self.high.max(now);
        let over = self.high >= WAVE && now <= self.high / EBB;
        if over {
            self.high = now;
        }
        over
    }
}

/// Gives free pages back, in a thread of its own: it takes some milliseconds for 100 MiB.
pub fn give_back() {
    let thread = std::thread::Builder::new().name("memory".into());
    // A system without room for a thread keeps the pages until the next wave.
    let _ = thread.spawn(trim);
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: no pointer goes in or out; the allocator locks each of its arenas while it looks at it.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_over_when_little_of_it_is_left() {
        let mut tide = Tide::default();
        let counts = [0, 63, 0, 64, 5, 4, 0, 1_600, 1_000, 101, 100, 90, 7, 6, 0];
        let told: Vec<usize> = counts.into_iter().filter(|n| tide.ebbs(*n)).collect();
        assert_eq!(told, [4, 100, 6]);
    }
}
