//! The one instant that tests start from.

use std::sync::OnceLock;
use std::time::Instant;

/// An instant to count from; only differences matter.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made from a number"
)]
pub(crate) fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}
