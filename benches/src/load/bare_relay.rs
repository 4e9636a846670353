//! The program to compare with: `bare_relay`, a process that relays and writes and does nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::LOOPBACK;

/// When it wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// For every packet.
    PerPacket,
    /// It rests as duolog does when few packets are ready.
    Resting,
}

/// A running `bare_relay`.
pub struct BareRelay {
    child: Child,
}

impl BareRelay {
    /// Starts it with its files in `directory`; gives for each party where it sends RTP to.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        binary: &Path,
        directory: &Path,
        wake: Wake,
        parties: &[SocketAddr],
    ) -> Result<(BareRelay, Vec<SocketAddr>)> {
        let mut command = Command::new(binary);
        command
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if wake == Wake::Resting {
            command.arg("--rest");
        }
        let child = command
            .spawn()
            .with_context(|| format!("{}", binary.display()))?;
        let mut relay = BareRelay { child };
        let mut orders = relay.child.stdin.take().context("a pipe")?;
        for party in parties {
            writeln!(orders, "{party}")?;
        }
        drop(orders);
        let answers = relay.child.stdout.take().context("a pipe")?;
        let mut legs = Vec::new();
        for line in BufReader::new(answers).lines().take(parties.len()) {
            legs.push(SocketAddr::new(LOOPBACK, line?.trim().parse()?));
        }
        if legs.len() < parties.len() {
            bail!("bare_relay ended at once");
        }
        Ok((relay, legs))
    }

    /// Its process id.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareRelay {
    fn drop(&mut self) {
        // Gone already or gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
