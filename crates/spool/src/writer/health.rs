//! Whether the disk takes what it is given. How much room it has is another matter.

/// Whether anything goes through to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// The last commit that tried made something durable.
    #[default]
    Sound,
    /// It made nothing durable, and not for want of room: what is recorded is in memory alone, and is
    /// dropped when that runs out.
    Failing,
}

/// The writer's view of it: what the commit that runs has met.
#[derive(Default)]
pub(super) struct Pulse {
    health: Health,
    failures: u32,
    successes: u32,
}

impl Pulse {
    pub fn health(&self) -> Health {
        self.health
    }

    /// Something did not become durable, and not for want of room. A second try may still succeed.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// Something became durable.
    pub fn went_through(&mut self) {
        self.successes += 1;
    }

    /// At the end of a commit; gives what has changed. One recording that fails beside others that do
    /// not is its own trouble; a commit that had nothing to do says nothing.
    pub fn judge(&mut self) -> Option<Health> {
        let seen = match (
            std::mem::take(&mut self.successes),
            std::mem::take(&mut self.failures),
        ) {
            (0, 0) => return None,
            (0, _) => Health::Failing,
            _ => Health::Sound,
        };
        let before = std::mem::replace(&mut self.health, seen);
        (before != seen).then_some(seen)
    }
}
