//! A stage for SIPp: the built program on a site, TLS beside it where it is wanted, and roles that each
//! have a coded voice of their own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use duolog::phone::CodedVoice;
use duolog_audio::g711::Law;

pub use super::tunnel::{TLS_PORT, Tls};

use super::script::Script;
use super::site::{CALLEE_PORT, CALLER_PORT};
use super::trace::{self, Heard};
use super::{Duolog, Process, Site, sipp};

/// SIPp is late when it has to share the processors: one stage at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Longer than any call here: the files are played in a loop.
const VOICE_SAMPLES: usize = 60 * 8_000;
/// Longest time one scenario may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for something that is about to happen.
pub const SOON: Duration = Duration::from_secs(20);

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
    /// All of them.
    pub const ALL: [Wire; 3] = [Wire::Udp, Wire::Tcp, Wire::Tls];

    /// As in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Wire::Udp => "udp",
            Wire::Tcp => "tcp",
            Wire::Tls => "tls",
        }
    }

    /// What SIPp itself speaks.
    #[must_use]
    pub fn inside(self) -> &'static str {
        match self {
            Wire::Udp => "udp",
            Wire::Tcp | Wire::Tls => "tcp",
        }
    }

    /// Where the program finds who hears at `inside`.
    #[must_use]
    pub fn outside(self, inside: SocketAddr) -> SocketAddr {
        match self {
            Wire::Udp | Wire::Tcp => inside,
            Wire::Tls => SocketAddr::new(inside.ip(), inside.port() + 7),
        }
    }

    /// Where who hears at `inside` makes its way to the program that hears at `node`.
    fn toward(self, node: SocketAddr, inside: SocketAddr) -> SocketAddr {
        match self {
            Wire::Udp | Wire::Tcp => node,
            Wire::Tls => SocketAddr::new(inside.ip(), inside.port() + 20),
        }
    }
}

/// Where a role hears SIP, and sends it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the trunk's address.
    Trunk(u16),
    /// At the address of the users' phones.
    Phone(u16),
}

impl Place {
    /// The trunk.
    pub const TRUNK: Place = Place::Trunk(CALLER_PORT);
    /// User 100.
    pub const ANNA: Place = Place::Phone(CALLEE_PORT);
    /// Another phone of user 100, which is not called.
    pub const ANNA_TOO: Place = Place::Phone(5074);
    /// User 103.
    pub const THIRD: Place = Place::Phone(5072);

    /// The address.
    #[must_use]
    pub fn on(self, site: &Site) -> SocketAddr {
        match self {
            Place::Trunk(port) => (site.caller(), port).into(),
            Place::Phone(port) => (site.callee(), port).into(),
        }
    }
}

/// A role on the stage.
#[derive(Debug, Clone)]
pub struct Role {
    script: Script,
    place: Place,
    party: u8,
    number: &'static str,
    calls: Calls,
    wire: Option<Wire>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// It is called.
    No,
    Yes,
    /// It is called by many, and ends when its process is ended.
    Always,
}

impl Role {
    /// Somebody who is called.
    #[must_use]
    pub fn called(script: &Script, place: Place, party: u8) -> Self {
        let (script, number, calls, wire) = (script.clone(), "called", Calls::No, None);
        Self {
            script,
            place,
            party,
            number,
            calls,
            wire,
        }
    }

    /// Somebody who calls this number, or is known by it.
    #[must_use]
    pub fn calls(script: &Script, place: Place, party: u8, number: &'static str) -> Self {
        Self {
            number,
            calls: Calls::Yes,
            ..Self::called(script, place, party)
        }
    }

    /// Does not end by itself.
    #[must_use]
    pub fn always(self) -> Self {
        Self {
            calls: Calls::Always,
            ..self
        }
    }

    /// Speaks over another wire than the others.
    #[must_use]
    pub fn over(self, wire: Wire) -> Self {
        Self {
            wire: Some(wire),
            ..self
        }
    }
}

/// What a stage is set with.
#[derive(Debug)]
pub struct Set<'a> {
    /// How messages reach the program.
    pub wire: Wire,
    /// Where roles will be.
    pub places: &'a [Place],
    /// Names that the certificate proves besides addresses.
    pub names: &'a [&'a str],
    /// Roles that listen before the program starts.
    pub first: &'a [Role],
}

/// The program, ready for roles.
#[derive(Debug)]
pub struct Stage {
    /// Where it stands.
    pub site: Site,
    /// The program.
    pub duolog: Duolog,
    /// The roles that were there before.
    pub first: Vec<Process>,
    wire: Wire,
    _beside: Vec<Process>,
}

/// Held while a stage is in use.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// Sets a stage. In what `amend` makes of the configuration a role over TLS is still written
    /// `tcp:` and its place.
    ///
    /// # Panics
    /// When the program or what stands beside it does not start.
    pub fn set(site: Site, set: &Set<'_>, amend: impl Fn(&str) -> String) -> Self {
        let wire = set.wire;
        let mut beside = Vec::new();
        if wire == Wire::Tls {
            let tls = Tls::naming(&site, set.names);
            site.amend(|text| over_tls(&site, &amend(text), (&tls, set.places)));
            let node = SocketAddr::new(site.node(), TLS_PORT);
            for place in set.places {
                let inside = place.on(&site);
                beside.push(tls.take(wire.outside(inside), inside));
                beside.push(tls.make(wire.toward(node, inside), node));
            }
        } else {
            // What is not changed is not written.
            let before = fs::read_to_string(site.config()).expect("it is there");
            if amend(&before) != before {
                site.amend(amend);
            }
        }
        let first = set.first.iter().map(|role| listens(&site, wire, role));
        let first = first.collect();
        let duolog = Duolog::start(&site);
        Self {
            site,
            duolog,
            first,
            wire,
            _beside: beside,
        }
    }

    /// Starts a role.
    ///
    /// # Panics
    /// When SIPp (Debian `sip-tester`) cannot be started.
    pub fn start(&self, role: &Role) -> Process {
        start(&self.site, self.wire, role)
    }

    /// Waits until a role has played to a good end.
    ///
    /// # Panics
    /// When it fails, with what SIPp says of it.
    pub fn ends(&self, process: &mut Process) {
        let ended = process.exit(LIMIT + Duration::from_secs(10));
        if !ended.success() {
            process.fail(&format!("{ended}: {}", sipp::errors(&self.site)));
        }
    }

    /// The same for several.
    ///
    /// # Panics
    /// When one of them fails, with what SIPp says of it.
    pub fn all_end<'a>(&self, running: impl IntoIterator<Item = &'a mut Process>) {
        running.into_iter().for_each(|process| self.ends(process));
    }

    /// Plays the roles: those that are called first; the last one calls. All must end well.
    ///
    /// # Panics
    /// When one of them fails, with what SIPp says of it.
    pub fn play(&self, roles: &[Role]) {
        let mut running: Vec<Process> = roles.iter().map(|role| self.start(role)).collect();
        self.all_end(running.iter_mut().rev());
    }

    /// The messages that a role has sent and got so far.
    #[must_use]
    pub fn heard(&self, script: &Script) -> Vec<Heard> {
        trace::read(&self.site, script.name())
    }

    /// Waits for something in the messages of a role that is under way.
    ///
    /// # Panics
    /// When it does not come.
    pub fn until_heard<T>(
        &self,
        process: &mut Process,
        script: &Script,
        wanted: impl Fn(&[Heard]) -> Option<T>,
    ) -> T {
        process.until(SOON, "it says something", || wanted(&self.heard(script)))
    }

    /// Waits for the end of all calls and ends the program.
    ///
    /// # Panics
    /// When calls or the program do not end.
    pub fn close(mut self) -> Site {
        self.duolog
            .until_metric(SOON, "duolog_calls_active", |n| n == 0.0);
        self.duolog.stop();
        self.site
    }
}

/// Starts a role and waits until it can be connected to.
fn listens(site: &Site, wire: Wire, role: &Role) -> Process {
    let mut process = start(site, wire, role);
    if role.wire.unwrap_or(wire) != Wire::Udp {
        let address = role.place.on(site);
        process.until(SOON, "it listens", || TcpStream::connect(address).ok());
    }
    process
}

fn start(site: &Site, wire: Wire, role: &Role) -> Process {
    let name = role.script.name();
    let voice = CodedVoice::new(role.party, 0).raw(Law::Mulaw, VOICE_SAMPLES);
    let file = |extension: &str| site.directory().join(format!("{name}.{extension}"));
    fs::write(file("ulaw"), voice).expect("the voice can be written");
    fs::write(file("xml"), role.script.xml()).expect("the scenario can be written");
    let wire = role.wire.unwrap_or(wire);
    let transport = if wire == Wire::Udp { "u1" } else { "t1" };
    let address = role.place.on(site);
    let (ip, port) = (address.ip(), address.port());
    let (limit, media) = (LIMIT.as_secs(), 6_000 + (port % 100) * 8);
    let mut command = Command::new("nice");
    command.current_dir(site.directory());
    let arguments = format!(
        "-n -15 sipp -max_socket 900 -nostdin -trace_err -trace_msg -message_file {name}.messages \
         -sf {name}.xml -t {transport} -timeout {limit} -timeout_error -i {ip} -p {port} \
         -mi {ip} -mp {media} -s {}",
        role.number
    );
    command.args(arguments.split_whitespace());
    if role.calls != Calls::Always {
        command.args(["-m", "1"]);
    }
    if role.calls == Calls::Yes {
        let toward = wire.toward(site.sip(), address);
        // Its digests name the number that is called.
        command.args(["-auth_uri", &format!("100@{toward}")]);
        command.arg(toward.to_string());
    }
    Process::start(name, &mut command)
}

fn over_tls(site: &Site, text: &str, (tls, places): (&Tls, &[Place])) -> String {
    let own = SocketAddr::new(site.node(), TLS_PORT);
    let mut text = text.replace(
        "listen = [\"udp",
        &format!("listen = [\"tls:{own}\", \"udp"),
    );
    for place in places {
        let inside = place.on(site);
        let outside = Wire::Tls.outside(inside);
        text = text.replace(&format!("tcp:{inside}"), &format!("tls:{outside}"));
    }
    text + &tls.section()
}
