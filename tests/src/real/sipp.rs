//! SIPp as caller and callee, both with the coded voice as their RTP.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use duolog::phone::CodedVoice;
use duolog_audio::g711::Law;

use super::site::{CALLEE_PORT, CALLER_PORT};
use super::{Process, Site};

/// The party that the callers' voice names.
pub const CALLER: u8 = 0;
/// The party that the callees' voice names.
pub const CALLEE: u8 = 1;
/// Longer than any call here: the files are played in a loop.
const VOICE_SAMPLES: usize = 60 * 8_000;
/// First port of SIPp's media. It takes one for all calls.
const MEDIA_PORT: u16 = 6_000;

/// How many calls, and how.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// `u1` for one UDP socket, `t1` for one connection, `tn` for one per call.
    pub transport: &'static str,
    /// Calls in all.
    pub calls: u32,
    /// Calls begun per second.
    pub per_second: u32,
    /// How long each is connected.
    pub length: Duration,
}

impl Load {
    /// Longest time it may take, late starts on a busy machine included.
    pub fn limit(&self) -> Duration {
        self.length + Duration::from_secs(u64::from(self.calls / self.per_second) + 60)
    }
}

/// Starts the callees; they end by themselves after their calls.
///
/// # Panics
/// When SIPp (Debian `sip-tester`) cannot be started.
pub fn callees(site: &Site, load: &Load) -> Process {
    let mut command = sipp(site, load, "callee", CALLEE);
    at(&mut command, site.callee(), CALLEE_PORT);
    Process::start("sipp callee", &mut command)
}

/// Starts the callers; they end by themselves after their calls.
///
/// # Panics
/// When SIPp (Debian `sip-tester`) cannot be started.
pub fn callers(site: &Site, load: &Load) -> Process {
    let mut command = sipp(site, load, "caller", CALLER);
    at(&mut command, site.caller(), CALLER_PORT);
    let Load {
        calls,
        per_second,
        length,
        ..
    } = load;
    let length_ms = length.as_millis();
    add(
        &mut command,
        &format!("-s 100 -r {per_second} -l {calls} -d {length_ms}"),
    );
    command.arg(site.sip().to_string());
    Process::start("sipp caller", &mut command)
}

fn sipp(site: &Site, load: &Load, role: &str, party: u8) -> Command {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp");
    let voice = CodedVoice::new(party, 0).raw(Law::Mulaw, VOICE_SAMPLES);
    let written = fs::write(site.directory().join(format!("{role}.ulaw")), voice);
    written.expect("the voice can be written");
    // A sender that waits for a processor sends late, and what comes later than the recorder's window
    // is lost, listed as such: SIPp goes first, where that is allowed.
    let mut command = Command::new("nice");
    add(&mut command, "-n -15 sipp");
    command.current_dir(site.directory());
    // Fewer than a process may have open files on a plain system; it must stand before `-t`.
    add(&mut command, "-max_socket 900 -nostdin -trace_err -sf");
    command.arg(scenarios.join(format!("{role}.xml")));
    let Load {
        transport, calls, ..
    } = load;
    let limit = load.limit().as_secs();
    add(
        &mut command,
        &format!("-t {transport} -m {calls} -timeout {limit} -timeout_error"),
    );
    command
}

fn at(command: &mut Command, ip: IpAddr, port: u16) {
    add(
        command,
        &format!("-i {ip} -p {port} -mi {ip} -mp {MEDIA_PORT}"),
    );
}

fn add(command: &mut Command, arguments: &str) {
    command.args(arguments.split(' '));
}

/// What SIPp wrote about errors.
pub fn errors(site: &Site) -> String {
    let files = fs::read_dir(site.directory())
        .into_iter()
        .flatten()
        .flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().ends_with("_errors.log"));
    let texts = logs.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts
        .map(|text| text.chars().take(2_000).collect::<String>())
        .collect()
}
