//! Processor time of another process, to the nanosecond, by thread.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time, user and system, of each thread of a process so far.
#[derive(Debug, Clone)]
pub struct Snapshot(BTreeMap<u32, (String, Duration)>);

impl Snapshot {
    /// Reads it now.
    ///
    /// # Errors
    /// When the process is gone, or the kernel keeps no such figures.
    pub fn of(process: u32) -> Result<Snapshot> {
        let mut threads = BTreeMap::new();
        let folder = format!("/proc/{process}/task");
        for thread in fs::read_dir(&folder)
            .with_context(|| folder.clone())?
            .flatten()
        {
            let Some(id) = thread.file_name().to_str().and_then(|id| id.parse().ok()) else {
                continue;
            };
            // A thread may end between the two reads.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let Ok(name) = fs::read_to_string(thread.path().join("comm")) else {
                continue;
            };
            let spent = text.split(' ').next().and_then(|ns| ns.parse().ok());
            let spent = spent.with_context(|| format!("schedstat says {text:?}"))?;
            threads.insert(id, (name.trim().to_string(), Duration::from_nanos(spent)));
        }
        Ok(Snapshot(threads))
    }

    /// What was spent since `earlier`, by thread name, the most first. A thread that ended meanwhile is
    /// missing.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Vec<(String, Duration)> {
        let mut by_name: BTreeMap<&str, Duration> = BTreeMap::new();
        for (id, (name, spent)) in &self.0 {
            let before = earlier
                .0
                .get(id)
                .map_or(Duration::ZERO, |(_, before)| *before);
            *by_name.entry(name).or_default() += spent.saturating_sub(before);
        }
        let mut spent: Vec<_> = by_name
            .into_iter()
            .map(|(n, s)| (n.to_string(), s))
            .collect();
        spent.sort_by_key(|(_, spent)| std::cmp::Reverse(*spent));
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_thread_is_seen() {
        let before = Snapshot::of(std::process::id()).expect("this process runs");
        let mut sum = 0_u64;
        let spent = loop {
            for n in 0..1_000_000 {
                sum = std::hint::black_box(sum.wrapping_add(n));
            }
            let after = Snapshot::of(std::process::id()).expect("this process runs");
            let spent: Duration = after.since(&before).iter().map(|(_, spent)| *spent).sum();
            if spent > Duration::ZERO {
                break spent;
            }
        };
        assert!(spent < Duration::from_secs(60), "{spent:?}");
    }
}
