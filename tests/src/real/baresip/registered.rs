//! A baresip that registers at duolog with digest over TLS and is steered while it talks.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::control::Control;
use super::{PCMU, config, ear, voice};
use crate::real::heard::Moment;
use crate::real::stage::TLS_PORT;
use crate::real::{Process, Site};

/// Longest wait for anything a phone does.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first phone's SIP port; each has ten, of which the second is for TLS and the third its control.
const FIRST_PORT: u16 = 5_100;

/// Who a phone is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Account {
    /// The user's name, which it proves itself with.
    pub name: &'static str,
    /// The number it registers.
    pub number: &'static str,
    /// The user's password.
    pub password: &'static str,
    /// The tone it sounds, as a peak of -14 dBFS.
    pub tone_hz: f64,
}

/// A dialog as its phone sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// The phone's own tag.
    pub own_tag: String,
    /// duolog's tag.
    pub far_tag: String,
}

/// A running phone.
#[derive(Debug)]
pub struct Registered {
    /// The process; its lines hold every SIP message.
    pub process: Process,
    account: Account,
    control: Control,
    home: PathBuf,
}

impl Registered {
    /// Starts a phone and lets it register. `place` is another one for each phone of a test.
    ///
    /// # Panics
    /// When baresip (Debian `baresip-core`) cannot be started or is not registered in time.
    pub fn start(site: &Site, account: Account, place: u16) -> Self {
        let mut phone = Self::unregistered(site, account, place);
        phone.until_registration("OK");
        phone
    }

    /// Starts a phone and waits until its registration has failed.
    ///
    /// # Panics
    /// When baresip cannot be started, or is let in.
    pub fn refused(site: &Site, account: Account, place: u16) -> Self {
        let mut phone = Self::unregistered(site, account, place);
        phone.until_registration("ERR");
        phone
    }

    fn until_registration(&mut self, state: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.command("reginfo", "").contains(state) {
            if Instant::now() >= deadline {
                self.process
                    .fail(&format!("its registration is not {state}"));
            }
            self.process.next_line(Duration::from_millis(25));
        }
    }

    fn unregistered(site: &Site, account: Account, place: u16) -> Self {
        let home = site.directory().join(account.name);
        fs::create_dir_all(home.join("dump")).expect("a directory for the phone");
        let sound = home.join("voice.wav");
        voice(&sound, account.tone_hz);
        let ip = site.callee();
        let port = FIRST_PORT + 10 * place;
        let control = SocketAddr::new(ip, port + 2);
        let authority = site.directory().join("certificate.pem");
        let more = format!(
            "sip_cafile {}\nstatmode_default off\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {control}\n",
            authority.display()
        );
        let text = config(&home, &sound, (ip, port), PCMU) + &more;
        fs::write(home.join("config"), text).expect("its configuration can be written");
        let Account {
            name,
            number,
            password,
            ..
        } = account;
        let node = site.node();
        let line = format!(
            "<sip:{number}@{node}:{TLS_PORT};transport=tls>;auth_user={name};auth_pass={password};\
             regint=300;answermode=auto;audio_codecs={}\n",
            PCMU.name
        );
        fs::write(home.join("accounts"), line).expect("its account can be written");
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "baresip", "-s", "-f"]).arg(&home);
        let mut process = Process::start(&format!("baresip {name}"), &mut command);
        let control = process.until(PATIENCE, "it can be steered", || Control::connect(control));
        Self {
            process,
            account,
            control,
            home,
        }
    }

    /// Who it is.
    pub fn account(&self) -> Account {
        self.account
    }

    /// Calls a number and waits until both talk; answers the moment from which they do.
    ///
    /// # Panics
    /// When they do not.
    pub fn call(&mut self, number: &str) -> Moment {
        self.command("dial", number);
        self.talks();
        Moment::now()
    }

    /// Waits until a further call of it stands.
    ///
    /// # Panics
    /// When none does in time.
    pub fn talks(&mut self) {
        self.event(&["CALL_ESTABLISHED"]);
    }

    /// Waits until a call of it is over.
    ///
    /// # Panics
    /// When none is in time.
    pub fn is_left(&mut self) {
        self.event(&["CALL_CLOSED"]);
    }

    /// Puts the call it speaks in on hold.
    ///
    /// # Panics
    /// When that is not agreed in time.
    pub fn hold(&mut self) -> Moment {
        self.renegotiate("hold")
    }

    /// Takes the call it speaks in from hold.
    ///
    /// # Panics
    /// When that is not agreed in time.
    pub fn resume(&mut self) -> Moment {
        self.renegotiate("resume")
    }

    fn renegotiate(&mut self, command: &str) -> Moment {
        self.forget();
        Moment::of(|| {
            self.command(command, "");
            self.event(&["CALL_REMOTE_SDP"]);
        })
    }

    /// Speaks in its `line`th call from now on.
    ///
    /// # Panics
    /// When there is none.
    pub fn turn_to(&mut self, line: u8) {
        self.command("line", &line.to_string());
    }

    /// Asks for the other party of the call it speaks in to be connected to `uri`, and waits until it
    /// is told that this was done.
    ///
    /// # Panics
    /// When it fails or takes too long.
    pub fn transfer(&mut self, uri: &str) -> Moment {
        self.forget();
        Moment::of(|| {
            self.command("transfer", uri);
            loop {
                let told = self.event(&["CALL_CLOSED", "TRANSFER_FAILED"]);
                let why = told["param"].as_str().unwrap_or_default();
                // As baresip writes it.
                if why == "Call transfered" {
                    return;
                }
                if told["type"] == "TRANSFER_FAILED" {
                    self.process.fail(&format!("its transfer failed: {why}"));
                }
            }
        })
    }

    /// Hangs up.
    ///
    /// # Panics
    /// When it cannot.
    pub fn hang_up(&mut self) -> Moment {
        Moment::of(|| {
            self.command("hangup", "");
            self.is_left();
        })
    }

    /// How many calls it has.
    ///
    /// # Panics
    /// When it does not say.
    pub fn calls(&mut self) -> usize {
        self.command("listcalls", "").matches("[line").count()
    }

    /// The dialog of its answered call to a number, from its trace.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn dialog_with(&mut self, number: &str) -> Dialog {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(dialog) = answered(self.process.output(), number) {
                return dialog;
            }
            if Instant::now() >= deadline {
                self.process.fail(&format!("no answered call to {number}"));
            }
            self.process.next_line(Duration::from_millis(25));
        }
    }

    /// Messages of its trace that begin so and have a line that contains `field`.
    pub fn traced(&mut self, begins: &str, field: &str) -> usize {
        let messages = messages(self.process.output());
        messages
            .filter(|lines| lines[0].starts_with(begins))
            .filter(|lines| lines.iter().any(|line| line.contains(field)))
            .count()
    }

    /// What it heard in its last call: samples, and how many a second.
    ///
    /// # Panics
    /// When it heard nothing.
    pub fn heard(&mut self) -> (Vec<i16>, u32) {
        ear(&self.home)
            .unwrap_or_else(|| self.process.fail("it wrote down nothing that it decoded"))
    }

    fn command(&mut self, command: &str, parameters: &str) -> String {
        let said = self.control.command(command, parameters, PATIENCE);
        said.unwrap_or_else(|why| self.process.fail(&why))
    }

    fn event(&mut self, types: &[&str]) -> Value {
        let told = self.control.event(types, PATIENCE);
        told.unwrap_or_else(|why| self.process.fail(&why))
    }

    /// Events so far are of no interest.
    fn forget(&mut self) {
        while self.control.event(&[], Duration::ZERO).is_ok() {}
    }
}

impl Dialog {
    /// The URI that asks for `number` in this dialog's place (RFC 3891 §4, RFC 3261 §19.1.1), as the one
    /// who gets the REFER's INVITE sees the dialog.
    pub fn in_its_place(&self, number: &str, site: &Site) -> String {
        let Self {
            call_id,
            own_tag,
            far_tag,
        } = self;
        let node = site.node();
        format!(
            "<sip:{number}@{node}?Replaces={call_id}%3Bto-tag%3D{far_tag}%3Bfrom-tag%3D{own_tag}>"
        )
    }
}

/// The messages of a trace, each as its start line and its header lines.
fn messages(lines: &[String]) -> impl Iterator<Item = &[String]> {
    let starts = |line: &String| line.starts_with("SIP/2.0 ") || line.ends_with(" SIP/2.0");
    let begins = lines
        .iter()
        .enumerate()
        .filter(move |(_, line)| starts(line));
    begins.map(|(at, _)| {
        let rest = &lines[at..];
        let end = rest.iter().position(String::is_empty);
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn answered(lines: &[String], number: &str) -> Option<Dialog> {
    let field = |message: &[String], name: &str| {
        let value = |line: &String| Some(line.strip_prefix(name)?.trim().to_owned());
        message.iter().find_map(value)
    };
    let tag = |value: String| {
        let (_, tag) = value.split_once(";tag=")?;
        Some(tag.split(';').next().unwrap_or(tag).to_owned())
    };
    let of_call = |message: &&[String]| {
        message[0].starts_with("SIP/2.0 200 ")
            && field(message, "CSeq:").is_some_and(|value| value.ends_with(" INVITE"))
            && field(message, "To:").is_some_and(|value| value.contains(&format!("sip:{number}@")))
    };
    let message = messages(lines).find(of_call)?;
    Some(Dialog {
        call_id: field(message, "Call-ID:")?,
        own_tag: tag(field(message, "From:")?)?,
        far_tag: tag(field(message, "To:")?)?,
    })
}
