//! TLS beside SIPp, which has none in Debian: `socat` takes it for who is called and makes it for who calls.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Line, Process, Site};

/// A certificate for the program and everybody beside it, and the authority that signed it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM of certificate and key in one file, as socat wants it.
    both: std::path::PathBuf,
    authority: std::path::PathBuf,
}

/// The port where the program hears TLS.
pub const TLS_PORT: u16 = 5061;

impl Tls {
    /// Makes a certificate for all addresses of a site.
    ///
    /// # Panics
    /// When it cannot be made or written.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        Self::naming(site, &[])
    }

    /// The same, that proves these names as well.
    ///
    /// # Panics
    /// When it cannot be made or written.
    #[must_use]
    pub fn naming(site: &Site, names: &[&str]) -> Self {
        let mut all: Vec<String> = [site.node(), site.caller(), site.callee()]
            .iter()
            .map(IpAddr::to_string)
            .collect();
        all.extend(names.iter().map(|name| (*name).to_owned()));
        let made = rcgen::generate_simple_self_signed(all).expect("a certificate can be made");
        let here = |name: &str| site.directory().join(name);
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(here("certificate.pem"), &certificate).expect("it can be written");
        fs::write(here("key.pem"), &key).expect("it can be written");
        fs::write(here("both.pem"), format!("{certificate}{key}")).expect("it can be written");
        Self {
            both: here("both.pem"),
            authority: here("certificate.pem"),
        }
    }

    /// The lines of `[sip.tls]`.
    #[must_use]
    pub fn section(&self) -> String {
        let here = self.authority.parent().expect("it is in a directory");
        let here = here.display();
        format!(
            "[sip.tls]\ncertificate = \"{here}/certificate.pem\"\nkey = \"{here}/key.pem\"\n\
             roots = \"{here}/certificate.pem\"\n"
        )
    }

    /// Takes TLS at `from` and hands it on as TCP to `to`.
    ///
    /// # Panics
    /// When socat (Debian `socat`) cannot be started.
    pub fn take(&self, from: SocketAddr, to: SocketAddr) -> Process {
        let listen = format!(
            "OPENSSL-LISTEN:{},{},reuseaddr,fork,cert={},verify=0",
            from.port(),
            bound(from.ip()),
            self.both.display()
        );
        let connect = format!("TCP:{to},{}", bound(from.ip()));
        self.socat("takes", &listen, &connect)
    }

    /// Takes TCP at `from` and hands it on as TLS to `to`.
    ///
    /// # Panics
    /// When socat (Debian `socat`) cannot be started.
    pub fn make(&self, from: SocketAddr, to: SocketAddr) -> Process {
        let listen = format!(
            "TCP-LISTEN:{},{},reuseaddr,fork",
            from.port(),
            bound(from.ip())
        );
        let connect = format!(
            "OPENSSL:{to},{},cafile={},commonname={}",
            bound(from.ip()),
            self.authority.display(),
            to.ip()
        );
        self.socat("makes", &listen, &connect)
    }

    fn socat(&self, what: &str, listen: &str, connect: &str) -> Process {
        let mut command = Command::new("socat");
        command.args(["-d", "-d", listen, connect]);
        let mut process = Process::start(&format!("socat {what} TLS"), &mut command);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match process.next_line(deadline.saturating_duration_since(Instant::now())) {
                Line::Text(line) if line.contains("listening on") => return process,
                Line::Text(_) => {}
                Line::Quiet | Line::Ended => process.fail("it does not listen"),
            }
        }
    }
}

/// An address to hear at or send from, as socat wants it.
fn bound(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("pf=ip4,bind={ip}"),
        IpAddr::V6(ip) => format!("pf=ip6,bind=[{ip}]"),
    }
}
