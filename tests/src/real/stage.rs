//! SIPp scenarios played against the built program: one call, its parties each with a coded voice of
//! their own, over UDP, TCP or TLS.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use duolog::phone::CodedVoice;
use duolog_audio::g711::Law;

use super::script::Script;
use super::{Line, Process, Site, sipp};

/// Longer than any call here: the files are played in a loop.
const VOICE_SAMPLES: usize = 60 * 8_000;
/// Longest time one scenario may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How SIPp's messages reach the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Datagrams.
    Udp,
    /// One connection.
    Tcp,
    /// One connection, inside TLS that a `socat` beside SIPp makes and takes: Debian's SIPp has none.
    Tls,
}

impl Wire {
    /// As in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Wire::Udp => "udp",
            Wire::Tcp => "tcp",
            Wire::Tls => "tls",
        }
    }
}

/// A role on the stage.
#[derive(Debug, Clone)]
pub struct Role {
    /// What it does.
    pub script: Script,
    /// Where its SIP is.
    pub address: SocketAddr,
    /// Its media's first port.
    pub media: u16,
    /// Whose voice it has.
    pub party: u8,
    /// Whom it calls, for a caller; who it is, for a callee.
    pub number: &'static str,
    /// Where its own requests go.
    pub toward: Option<SocketAddr>,
}

/// Starts a role.
///
/// # Panics
/// When SIPp (Debian `sip-tester`) cannot be started.
pub fn start(site: &Site, wire: Wire, role: &Role) -> Process {
    let name = role.script.name();
    let voice = CodedVoice::new(role.party, 0).raw(Law::Mulaw, VOICE_SAMPLES);
    let file = |extension: &str| site.directory().join(format!("{name}.{extension}"));
    fs::write(file("ulaw"), voice).expect("the voice can be written");
    fs::write(file("xml"), role.script.xml()).expect("the scenario can be written");
    let transport = if wire == Wire::Udp { "u1" } else { "t1" };
    let (ip, port, media) = (role.address.ip(), role.address.port(), role.media);
    let limit = LIMIT.as_secs();
    let mut command = Command::new("nice");
    command.current_dir(site.directory());
    let arguments = format!(
        "-n -15 sipp -max_socket 900 -nostdin -trace_err -trace_msg -sf {name}.xml -t {transport} \
         -m 1 -timeout {limit} -timeout_error -i {ip} -p {port} -mi {ip} -mp {media} -s {}",
        role.number
    );
    command.args(arguments.split_whitespace());
    if let Some(toward) = role.toward {
        // Its digests name the number that is called.
        command.args(["-auth_uri", &format!("100@{toward}")]);
        command.arg(toward.to_string());
    }
    Process::start(name, &mut command)
}

/// Plays the roles: those that are called first; the last one calls. All must end well.
///
/// # Panics
/// When one of them fails, with what SIPp says of it.
pub fn play(site: &Site, wire: Wire, roles: &[Role]) {
    let mut running: Vec<Process> = roles.iter().map(|role| start(site, wire, role)).collect();
    for (process, role) in running.iter_mut().zip(roles).rev() {
        let ended = process.exit(LIMIT + Duration::from_secs(10));
        if !ended.success() {
            let name = role.script.name();
            process.fail(&format!("{name}: {ended}: {}", sipp::errors(site)));
        }
    }
}

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
        let names: Vec<String> = [site.node(), site.caller(), site.callee()]
            .iter()
            .map(IpAddr::to_string)
            .collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
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
            "OPENSSL-LISTEN:{},bind={},reuseaddr,fork,cert={},verify=0",
            from.port(),
            from.ip(),
            self.both.display()
        );
        let connect = format!("TCP:{to},bind={}", from.ip());
        self.socat("takes", &listen, &connect)
    }

    /// Takes TCP at `from` and hands it on as TLS to `to`.
    ///
    /// # Panics
    /// When socat (Debian `socat`) cannot be started.
    pub fn make(&self, from: SocketAddr, to: SocketAddr) -> Process {
        let listen = format!(
            "TCP-LISTEN:{},bind={},reuseaddr,fork",
            from.port(),
            from.ip()
        );
        let connect = format!(
            "OPENSSL:{to},bind={},cafile={},commonname={}",
            from.ip(),
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
