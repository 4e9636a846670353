//! The one answer to "can a new call be recorded now?", asked by INVITE, OPTIONS and `/readyz`
//! alike (D8).

use std::sync::Arc;

use duolog_spool::{Health, Space, Writer};
use tokio::sync::watch;

/// What stands in the way of recording a new call, as the owners of each fact report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Obstacles {
    /// What the spool's disk says.
    pub disk: Disk,
    /// Whether the disk keeps up.
    pub backlog: Backlog,
    /// Whether the node takes new calls.
    pub intake: Intake,
}

/// The spool's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disk {
    /// There is room.
    #[default]
    Ample,
    /// Below the configured floor: running calls go on, new ones are refused.
    Low,
    /// No room: audio is being lost.
    Full,
    /// It takes nothing, whatever its room: what is recorded is in memory alone, and lost when that runs out.
    Failing,
}

impl Disk {
    /// As a writer sees it.
    pub fn of<D: duolog_spool::Disk>(writer: &Writer<D>) -> Self {
        match (writer.health(), writer.space()) {
            (Health::Failing, _) => Disk::Failing,
            (Health::Sound, Space::Full) => Disk::Full,
            (Health::Sound, Space::Low) => Disk::Low,
            (Health::Sound, Space::Ample) => Disk::Ample,
        }
    }
}

/// Audio that waits in memory for the spool's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backlog {
    /// The disk keeps up.
    #[default]
    Short,
    /// Half of the memory set aside is used: the disk does not answer.
    Long,
}

/// Whether the node takes new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intake {
    /// It does.
    #[default]
    Open,
    /// It is going down and lets running calls end.
    Draining,
}

impl Obstacles {
    /// One sentence for each obstacle; empty when a new call can be recorded.
    pub fn reasons(&self) -> Vec<String> {
        let disk = match self.disk {
            Disk::Ample => None,
            Disk::Low => {
                Some("the spool's disk is below its floor: make room or lower spool.floor")
            }
            Disk::Full => Some("the spool's disk is full: audio is being lost, make room now"),
            Disk::Failing => {
                Some("the spool's disk fails: nothing is written, mend or replace it now")
            }
        };
        let backlog = match self.backlog {
            Backlog::Short => None,
            Backlog::Long => Some("the spool's disk does not answer: look at the disk"),
        };
        let intake = match self.intake {
            Intake::Open => None,
            Intake::Draining => Some("the node is draining"),
        };
        disk.into_iter()
            .chain(backlog)
            .chain(intake)
            .map(String::from)
            .collect()
    }
}

/// The obstacles, shared by those who report and those who ask.
#[derive(Debug, Clone)]
pub struct Gate {
    obstacles: Arc<watch::Sender<Obstacles>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            obstacles: Arc::new(watch::Sender::new(Obstacles::default())),
        }
    }
}

impl Gate {
    /// Reports the disk.
    pub fn disk(&self, disk: Disk) {
        self.obstacles
            .send_if_modified(|o| std::mem::replace(&mut o.disk, disk) != disk);
    }

    /// Reports the backlog.
    pub fn backlog(&self, backlog: Backlog) {
        self.obstacles
            .send_if_modified(|o| std::mem::replace(&mut o.backlog, backlog) != backlog);
    }

    /// Reports the intake.
    pub fn intake(&self, intake: Intake) {
        self.obstacles
            .send_if_modified(|o| std::mem::replace(&mut o.intake, intake) != intake);
    }

    /// What stands in the way now.
    pub fn now(&self) -> Obstacles {
        *self.obstacles.borrow()
    }

    /// Tells of every change.
    pub fn watch(&self) -> watch::Receiver<Obstacles> {
        self.obstacles.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_obstacle_is_named_and_a_change_is_seen_once() {
        let gate = Gate::default();
        let mut watch = gate.watch();
        assert!(gate.now().reasons().is_empty());
        gate.disk(Disk::Full);
        gate.intake(Intake::Draining);
        assert_eq!(gate.now().reasons().len(), 2);
        assert!(watch.has_changed().expect("the gate lives"));
        watch.borrow_and_update();
        gate.disk(Disk::Full);
        assert!(!watch.has_changed().expect("the gate lives"));
        let full = gate.now().reasons();
        gate.disk(Disk::Failing);
        assert!(gate.now().reasons()[0].contains("fails"), "{full:?}");
        assert_ne!(gate.now().reasons(), full, "a word of its own");
        gate.disk(Disk::Ample);
        assert_eq!(gate.now().reasons(), ["the node is draining"]);
    }
}
