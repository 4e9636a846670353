//! A real name server (Debian `dnsmasq-base`) on a loopback address of its own.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Line, Process};

/// Not in the path of every user.
const DNSMASQ: &str = "/usr/sbin/dnsmasq";
/// Where it hears.
const PORT: u16 = 5300;
/// Longest time it takes to start, started late included.
const LATE: Duration = Duration::from_secs(20);

/// A name server that knows the zone `test`.
#[derive(Debug)]
pub struct NameServer {
    /// The server.
    pub process: Process,
    /// Where it hears.
    pub address: SocketAddr,
}

impl NameServer {
    /// Starts it with records as dnsmasq's command line names them.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(ip: IpAddr, zone: &[String]) -> Self {
        let address = SocketAddr::new(ip, PORT);
        let mut command = Command::new(DNSMASQ);
        command
            .args([
                "--no-daemon",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
            ])
            .args(["--bind-interfaces", "--log-facility=-", "--log-queries"])
            .args(["--local=/test/", "--local-ttl=60"])
            .arg(format!("--listen-address={ip}"))
            .arg(format!("--port={PORT}"))
            .args(zone);
        let mut process = Process::start("dnsmasq", &mut command);
        let deadline = Instant::now() + LATE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match process.next_line(left) {
                Line::Text(line) if line.contains("started") => break,
                Line::Text(_) => {}
                Line::Quiet | Line::Ended => process.fail("it has not started"),
            }
        }
        Self { process, address }
    }

    /// How many questions it was asked that have `text` in their line of the log.
    pub fn asked(&mut self, text: &str) -> usize {
        let is_query = |line: &&String| line.contains("query[") && line.contains(text);
        self.process.output().iter().filter(is_query).count()
    }
}
