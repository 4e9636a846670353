//! SIPp as caller and callee, both with the coded voice as their RTP.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use duolog::phone::CodedVoice;
use duolog_audio::g711::Law;

use super::script::{Body, SDP, Script};
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

/// Starts callees without media; they end by themselves after their calls.
///
/// # Panics
/// When SIPp (Debian `sip-tester`) cannot be started.
pub fn quiet_callees(site: &Site, load: &Load) -> Process {
    let script = Script::callee("quiet-callee")
        .answer_invite("180 Ringing", &[], Body::None)
        .answer_invite("200 OK", &[], SDP)
        .wants("ACK")
        .wants("BYE")
        .answer("200 OK", &[], Body::None);
    let mut command = quiet(site, load, &script);
    at(&mut command, site.callee(), CALLEE_PORT);
    Process::start("sipp quiet callee", &mut command)
}

/// Starts callers without media; they end by themselves after their calls.
///
/// # Panics
/// When SIPp (Debian `sip-tester`) cannot be started.
pub fn quiet_callers(site: &Site, load: &Load) -> Process {
    let ms = u32::try_from(load.length.as_millis()).unwrap_or(u32::MAX);
    let script = Script::caller("quiet-caller")
        .invite(&[], SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .waits_ms(ms)
        .request("BYE", &[], Body::None)
        .gets(200);
    let mut command = quiet(site, load, &script);
    at(&mut command, site.caller(), CALLER_PORT);
    add(
        &mut command,
        &format!("-s 100 -r {} -l 20000", load.per_second),
    );
    command.arg(site.sip().to_string());
    Process::start("sipp quiet caller", &mut command)
}

fn quiet(site: &Site, load: &Load, script: &Script) -> Command {
    let file = site.directory().join(format!("{}.xml", script.name()));
    fs::write(&file, script.xml()).expect("the scenario can be written");
    with_scenario(site, load, &file)
}

fn sipp(site: &Site, load: &Load, role: &str, party: u8) -> Command {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp");
    let voice = CodedVoice::new(party, 0).raw(Law::Mulaw, VOICE_SAMPLES);
    let written = fs::write(site.directory().join(format!("{role}.ulaw")), voice);
    written.expect("the voice can be written");
    with_scenario(site, load, &scenarios.join(format!("{role}.xml")))
}

fn with_scenario(site: &Site, load: &Load, scenario: &Path) -> Command {
    // A sender that waits for a processor sends late, and what comes later than the recorder's window
    // is lost, listed as such: SIPp goes first, where that is allowed.
    let mut command = Command::new("nice");
    add(&mut command, "-n -15 sipp");
    command.current_dir(site.directory());
    // Fewer than a process may have open files on a plain system; it must stand before `-t`.
    add(
        &mut command,
        "-max_socket 900 -buff_size 4194304 -nostdin -trace_err -sf",
    );
    command.arg(scenario);
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
