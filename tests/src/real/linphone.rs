//! linphonec of Debian, steered by its standard input, with files for a voice and an ear.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::baresip::{self, Account};
use super::heard::Moment;
use super::site::SIP_PORT;
use super::stage::{TLS_PORT, Wire};
use super::{Line, Process, Site};

/// Longest wait for anything a phone does.
const PATIENCE: Duration = Duration::from_secs(20);
/// The first phone's SIP port; each has fifty, for its media too.
const FIRST_PORT: u16 = 7_000;

/// What a phone does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// It answers.
    Answers,
    /// It rings.
    Rings,
}

/// A running linphonec.
#[derive(Debug)]
pub struct Linphone {
    /// The process; its lines hold every SIP message.
    pub process: Process,
    account: Account,
    orders: File,
    home: PathBuf,
}

impl Linphone {
    /// Starts a phone and lets it register. `place` is another one for each phone of a test.
    ///
    /// # Panics
    /// When linphonec (Debian `linphone-cli`) cannot be started or is not registered in time.
    pub fn start(site: &Site, account: Account, wire: Wire, called: Called, place: u16) -> Self {
        Self::configured(site, account, (wire, called), place, "")
    }

    /// The same, `record-aware` (RFC 7866).
    ///
    /// # Panics
    /// As above.
    pub fn start_aware(
        site: &Site,
        account: Account,
        wire: Wire,
        called: Called,
        place: u16,
    ) -> Self {
        let more = "[app]\nrecord_aware=1\n";
        Self::configured(site, account, (wire, called), place, more)
    }

    fn configured(
        site: &Site,
        account: Account,
        (wire, called): (Wire, Called),
        place: u16,
        more: &str,
    ) -> Self {
        let home = site.directory().join(account.name);
        // It opens its database there, and makes no directory for it.
        fs::create_dir_all(home.join(".local/share/linphone")).expect("a directory for the phone");
        let port = FIRST_PORT + 50 * place;
        let config = config(site, account, wire, port) + more;
        fs::write(home.join("rc"), config).expect("it can be written");
        let voice = home.join("voice.wav");
        baresip::voice(&voice, account.tone_hz);
        let pipe = home.join("orders");
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()), "no pipe");
        // Opened both ways so that neither side waits for the other.
        let orders = File::options().read(true).write(true).open(&pipe);
        let answer = match called {
            Called::Answers => "-a",
            Called::Rings => "",
        };
        let script = format!("exec stdbuf -oL linphonec -c rc -d 6 {answer} < orders");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(&home);
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home);
        let mut phone = Self {
            process: Process::start(&format!("linphonec {}", account.name), &mut command),
            account,
            orders: orders.expect("the pipe can be opened"),
            home,
        };
        phone.order("soundcard use files");
        phone.order(&format!("play {}", voice.display()));
        let ear = phone.ear();
        phone.order(&format!("record {}", ear.display()));
        phone.becomes("LinphoneRegistrationOk");
        phone
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
        self.order(&format!("call {number}"));
        self.talks();
        Moment::now()
    }

    /// Waits until a call of it runs that did not before.
    ///
    /// # Panics
    /// When none does in time.
    pub fn talks(&mut self) {
        self.becomes("LinphoneCallStreamsRunning");
    }

    /// Waits until a call of it is over.
    ///
    /// # Panics
    /// When none is in time.
    pub fn is_left(&mut self) {
        self.becomes("LinphoneCallEnd");
    }

    /// Puts its call on hold.
    ///
    /// # Panics
    /// When that is not agreed in time.
    pub fn hold(&mut self) -> Moment {
        Moment::of(|| {
            self.order("pause");
            self.becomes("LinphoneCallPaused");
        })
    }

    /// Takes its call from hold.
    ///
    /// # Panics
    /// When that is not agreed in time.
    pub fn resume(&mut self) -> Moment {
        Moment::of(|| {
            self.order("resume");
            self.talks();
        })
    }

    /// Connects the party of its `one`th call with that of the `other`th, and leaves both.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn join(&mut self, one: u8, other: u8) -> Moment {
        Moment::of(|| {
            self.order(&format!("transfer {one} --to-call {other}"));
            self.is_left();
            self.is_left();
        })
    }

    /// Presses keys (RFC 4733).
    ///
    /// # Panics
    /// When it cannot be told to.
    pub fn press(&mut self, keys: &str) {
        self.order(keys);
    }

    /// Waits until it was told this of the recording so many times (`a=record`, RFC 7866), and answers
    /// how long that took.
    ///
    /// # Panics
    /// When it was not in time.
    pub fn is_told(&mut self, state: &str, times: usize) -> Duration {
        let (began, line) = (Instant::now(), format!("a=record:{state}"));
        loop {
            let told = self.process.output().iter();
            if told.filter(|told| told.trim_end() == line).count() >= times {
                return began.elapsed();
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            match self.process.next_line(left) {
                Line::Text(_) if !left.is_zero() => {}
                _ => {
                    let why = format!("it did not hear {line} {times} times");
                    self.process.fail(&why)
                }
            }
        }
    }

    /// Hangs up.
    ///
    /// # Panics
    /// When it cannot.
    pub fn hang_up(&mut self) -> Moment {
        Moment::of(|| {
            self.order("terminate");
            self.is_left();
        })
    }

    /// Lines so far that begin with `begins` and contain `contains`.
    pub fn traced(&mut self, begins: &str, contains: &str) -> usize {
        let lines = self.process.output().iter();
        lines
            .filter(|line| line.starts_with(begins) && line.contains(contains))
            .count()
    }

    /// Where it writes what it hears.
    pub fn ear(&self) -> PathBuf {
        self.home.join("ear.wav")
    }

    fn order(&mut self, order: &str) {
        let written = self.orders.write_all(format!("{order}\n").as_bytes());
        written.expect("the pipe takes an order");
    }

    /// Waits for a change of state.
    fn becomes(&mut self, state: &str) {
        // Registrations are logged with brackets, calls without.
        let plain = format!(" to {state}");
        let bracketed = format!(" to [{state}]");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .process
                .next_line(deadline.saturating_duration_since(Instant::now()))
            {
                Line::Text(line) if line.ends_with(&plain) || line.contains(&bracketed) => return,
                Line::Text(_) => {}
                Line::Quiet | Line::Ended => self.process.fail(&format!("it never was {state}")),
            }
        }
    }
}

fn config(site: &Site, account: Account, wire: Wire, port: u16) -> String {
    let node = site.node();
    let Account {
        name,
        number,
        password,
        ..
    } = account;
    let proxy = match wire {
        Wire::Udp => format!("sip:{node}:{SIP_PORT}"),
        Wire::Tcp => format!("<sip:{node}:{SIP_PORT};transport=tcp>"),
        Wire::Tls => format!("<sip:{node}:{TLS_PORT};transport=tls>"),
    };
    let authority = site.directory().join("certificate.pem");
    // The TLS library it has compares no addresses with a certificate's, so only the chain is verified.
    // Without its video switches off it offers video; `ec_enabled` is echo cancelling.
    format!(
        "[sip]\ndefault_proxy=0\nguess_hostname=0\ncontact=<sip:{number}@{node}>\nsip_port={port}\n\
         sip_tcp_port=-1\nsip_tls_port=-1\nroot_ca={}\nverify_server_certs=1\nverify_server_cn=0\n\
         use_ipv6=0\nmedia_encryption=none\nkeepalive_period=0\n\
         [net]\nfirewall_policy=0\n\
         [rtp]\naudio_rtp_port={}-{}\n\
         [sound]\nec_enabled=0\n\
         [video]\nenabled=0\ncapture=0\ndisplay=0\n\
         [auth_info_0]\nusername={number}\nuserid={name}\npasswd={password}\nrealm=duolog\n\
         domain={node}\n\
         [proxy_0]\nreg_proxy={proxy}\nreg_identity=sip:{number}@{node}\nreg_expires=600\n\
         reg_sendregister=1\npublish=0\n",
        authority.display(),
        port + 2,
        port + 49
    )
}
