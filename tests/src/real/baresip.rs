//! baresip as caller and callee: a soft phone that is not ours, with a tone for a voice and a file for
//! an ear.

mod control;
mod registered;

pub use registered::{Account, Dialog, Registered};

use std::fs;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use duolog_audio::container::wav::{self, Layout};

use super::site::{CALLEE_PORT, CALLER_PORT};
use super::{Process, Site};

/// Where Debian puts baresip's modules.
const MODULES: &str = "/usr/lib/baresip/modules";
/// How long a phone sounds its tone.
const VOICE_S: u32 = 40;

/// The codec that every phone has.
pub const PCMU: Spoken = Spoken {
    name: "PCMU/8000/1",
    rate_hz: 8_000,
    layout: Layout::Mono,
};

/// A codec by baresip's name, with the rate and channels of its sound card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// As in `audio_codecs`.
    pub name: &'static str,
    /// Samples per second.
    pub rate_hz: u32,
    /// Channels.
    pub layout: Layout,
}

/// What a phone is made with.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// The only codec it has.
    pub spoken: Spoken,
    /// `mediaenc` of its account; empty for none.
    pub security: &'static str,
    /// The tone it sounds, as a peak of -14 dBFS.
    pub tone_hz: f64,
}

/// A running baresip.
#[derive(Debug)]
pub struct Baresip {
    /// The process.
    pub process: Process,
    home: PathBuf,
}

/// Starts a phone that answers at the desk.
///
/// # Panics
/// When baresip (Debian `baresip-core`) cannot be started.
pub fn callee(site: &Site, making: &Making) -> Baresip {
    let mut phone = start(site, "callee", (site.callee(), CALLEE_PORT), making, &[]);
    let heard = |lines: &[String]| lines.iter().any(|line| line.contains("baresip is ready"));
    let process = &mut phone.process;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !heard(process.output()) {
        assert!(
            std::time::Instant::now() < deadline,
            "baresip never was ready"
        );
        process.next_line(Duration::from_millis(100));
    }
    phone
}

/// Starts a phone at the desk that nobody answers. It registers as anna, with `password`; its lines hold
/// every SIP message. It is told of messages without asking: the module that asks sends SUBSCRIBE without
/// end in Debian's version.
///
/// # Panics
/// When baresip (Debian `baresip-core`) cannot be started.
pub fn watcher(site: &Site, making: &Making, password: &str) -> Baresip {
    let place = (site.callee(), CALLEE_PORT);
    let home = furnish(site, "watcher", place, making);
    let more = "statmode_default off\n";
    let config = fs::read_to_string(home.join("config")).expect("it was written");
    fs::write(home.join("config"), config + more).expect("its configuration can be written");
    let node = site.sip();
    let account = format!(
        "<sip:100@{node}>;auth_user=anna;auth_pass={password};regint=300;answermode=manual;mwi=no\n"
    );
    fs::write(home.join("accounts"), account).expect("its account can be written");
    launch("watcher", home, &["-s"])
}

/// Starts a phone behind the trunk that calls the desk for so many seconds and ends by itself.
///
/// # Panics
/// When baresip (Debian `baresip-core`) cannot be started.
pub fn caller(site: &Site, making: &Making, seconds: u32) -> Baresip {
    let dial = format!("/dial sip:100@{}", site.sip());
    let seconds = seconds.to_string();
    let orders = ["-e", &dial, "-t", &seconds];
    start(
        site,
        "caller",
        (site.caller(), CALLER_PORT),
        making,
        &orders,
    )
}

fn start(
    site: &Site,
    name: &str,
    place: (IpAddr, u16),
    making: &Making,
    orders: &[&str],
) -> Baresip {
    launch(name, furnish(site, name, place, making), orders)
}

/// The directory of a phone, with everything it needs.
fn furnish(site: &Site, name: &str, (ip, port): (IpAddr, u16), making: &Making) -> PathBuf {
    let home = site.directory().join(name);
    fs::create_dir_all(home.join("dump")).expect("a directory for the phone");
    let voice = home.join("voice.wav");
    sing(&voice, making);
    fs::write(
        home.join("config"),
        config(&home, &voice, (ip, port), making.spoken),
    )
    .expect("its configuration can be written");
    let security = match making.security {
        "" => String::new(),
        security => format!(";mediaenc={security}"),
    };
    let Spoken { name: codec, .. } = making.spoken;
    // It takes calls for its own name only.
    let user = if name == "callee" { "100" } else { name };
    let account = format!(
        "<sip:{user}@{ip}:{port}>;regint=0;answermode=auto;audio_codecs={codec}{security}\n"
    );
    fs::write(home.join("accounts"), account).expect("its account can be written");
    home
}

fn launch(name: &str, home: PathBuf, orders: &[&str]) -> Baresip {
    // Its lines as they come, not when it ends.
    let mut command = Command::new("stdbuf");
    command
        .args(["-oL", "baresip", "-f"])
        .arg(&home)
        .args(orders);
    Baresip {
        process: Process::start(&format!("baresip {name}"), &mut command),
        home,
    }
}

fn config(home: &Path, voice: &Path, (ip, port): (IpAddr, u16), spoken: Spoken) -> String {
    let (home, voice, rate_hz) = (home.display(), voice.display(), spoken.rate_hz);
    let modules = [
        "g711", "g722", "opus", "aufile", "aubridge", "sndfile", "srtp",
    ];
    let modules: String = modules
        .iter()
        .map(|name| format!("module {name}.so\n"))
        .collect();
    format!(
        "sip_listen {ip}:{port}\nnet_interface {ip}\nprefer_ipv6 no\npoll_method epoll\n\
         audio_source aufile,{voice}\naudio_player aubridge,{port}\naudio_alert aubridge,none\n\
         ausrc_srate {rate_hz}\nauplay_srate {rate_hz}\nrtp_ports 10000-19999\n\
         jitter_buffer_delay 5-10\nsnd_path {home}/dump\nmodule_path {MODULES}\n\
         {modules}module_app account.so\nmodule_app menu.so\n"
    )
}

/// Writes a tone as phones of 8 kHz sound it.
pub(super) fn voice(path: &Path, tone_hz: f64) {
    let making = Making {
        spoken: PCMU,
        security: "",
        tone_hz,
    };
    sing(path, &making);
}

fn sing(path: &Path, making: &Making) {
    let Spoken {
        rate_hz, layout, ..
    } = making.spoken;
    let peak = 32_768.0 * 10_f64.powf(-14.0 / 20.0);
    let samples = (0..rate_hz * VOICE_S).flat_map(|n| {
        let phase = std::f64::consts::TAU * making.tone_hz * f64::from(n) / f64::from(rate_hz);
        let sample = (peak * phase.sin()).round() as i16;
        std::iter::repeat_n(sample.to_le_bytes(), layout.channels())
    });
    let data: Vec<u8> = samples.flatten().collect();
    let mut file = header(rate_hz, layout, data.len() as u32);
    file.extend_from_slice(&data);
    fs::write(path, file).expect("the voice can be written");
}

/// The plainest header there is: baresip wants `fmt ` to come first.
fn header(rate_hz: u32, layout: Layout, data_bytes: u32) -> Vec<u8> {
    let channels = layout.channels() as u16;
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&channels.to_le_bytes());
    header.extend_from_slice(&rate_hz.to_le_bytes());
    header.extend_from_slice(&(rate_hz * 2 * u32::from(channels)).to_le_bytes());
    header.extend_from_slice(&(2 * channels).to_le_bytes());
    header.extend_from_slice(&16_u16.to_le_bytes());
    header.extend_from_slice(b"data");
    header.extend_from_slice(&data_bytes.to_le_bytes());
    header
}

impl Baresip {
    /// Waits until its call is over, and with it the file of what it heard.
    ///
    /// # Panics
    /// When it does not say so within 20 s.
    pub fn hung_up(&mut self) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let over = |line: &String| {
            line.contains("terminated (duration") || line.contains("session closed")
        };
        while !self.process.output().iter().any(over) {
            assert!(
                std::time::Instant::now() < deadline,
                "baresip's call never ended"
            );
            self.process.next_line(Duration::from_millis(100));
        }
    }

    /// What it heard: samples of its first channel, and how many a second.
    ///
    /// # Panics
    /// When it heard nothing.
    pub fn heard(&mut self) -> (Vec<i16>, u32) {
        ear(&self.home)
            .unwrap_or_else(|| self.process.fail("it wrote down nothing that it decoded"))
    }
}

/// What a phone decoded in its last call: samples of its first channel, and how many a second.
fn ear(home: &Path) -> Option<(Vec<i16>, u32)> {
    let files = fs::read_dir(home.join("dump")).expect("its directory is there");
    let dumps = files.flatten().map(|file| file.path());
    // Their names hold the time of day.
    let dump = dumps
        .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
        .max()?;
    let file = fs::File::open(&dump).expect("it can be read");
    let mut reader = wav::Reader::open(BufReader::new(file)).expect("a WAV");
    let channels = reader.layout().channels();
    let rate_hz = reader.sample_rate_hz();
    let all = reader.read_to_end().expect("whole");
    Some((all.into_iter().step_by(channels).collect(), rate_hz))
}
