//! duolog itself, as a process of its own with a configuration and directories of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::LOOPBACK;
use super::exchange::NUMBER;

/// How long it may take to start, and to end when no call is left.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `duolog serve`.
pub struct Recorder {
    binary: PathBuf,
    directory: PathBuf,
    child: Child,
    sip: SocketAddr,
}

impl Recorder {
    /// Starts it in `directory` with one trunk and one phone, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start; what it said is then in the error.
    pub fn start(
        binary: &Path,
        directory: &Path,
        (trunk, phone): (SocketAddr, SocketAddr),
    ) -> Result<Recorder> {
        // Free a moment ago; somebody else may take them, and then the start fails.
        let sip = UdpSocket::bind((LOOPBACK, 0))?.local_addr()?;
        let operations = TcpListener::bind((LOOPBACK, 0))?.local_addr()?;
        let text = configuration(sip, operations, trunk, phone);
        std::fs::write(directory.join("duolog.toml"), text)?;
        let log = File::create(directory.join("log"))?;
        let child = Command::new(binary)
            .args(["serve", "--config", "duolog.toml"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} can not be started", binary.display()))?;
        let (binary, directory) = (binary.to_path_buf(), directory.to_path_buf());
        let mut recorder = Recorder {
            binary,
            directory,
            child,
            sip,
        };
        recorder.wait_ready(operations)?;
        Ok(recorder)
    }

    fn wait_ready(&mut self, operations: SocketAddr) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                bail!("duolog ended at once ({status}): {}", self.log());
            }
            if ready(operations).unwrap_or(false) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("duolog did not become ready: {}", self.log());
    }

    /// Where it hears SIP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Its process id.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where it stores objects.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// What `duolog recordings list --json` prints.
    ///
    /// # Errors
    /// When the command fails.
    pub fn list(&self, limit: usize) -> Result<String> {
        let limit = limit.to_string();
        let output = Command::new(&self.binary)
            .args([
                "recordings",
                "list",
                "--config",
                "duolog.toml",
                "--json",
                "--limit",
                &limit,
            ])
            .current_dir(&self.directory)
            .output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "recordings list: {complaint}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends it as an operator would.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub fn stop(mut self) -> Result<()> {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "duolog ended with {status}: {}",
                    self.log()
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "duolog does not end on SIGTERM without calls: {}",
            self.log()
        );
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Only after an error is there anything to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready(operations: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&operations, Duration::from_millis(200))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"HTTP/1.1 200")
}

/// G.711 as received is stored, so that what was recorded can be compared octet by octet.
fn configuration(
    sip: SocketAddr,
    operations: SocketAddr,
    trunk: SocketAddr,
    phone: SocketAddr,
) -> String {
    format!(
        r#"
[sip]
listen = ["udp:{sip}"]
[media]
address = "{LOOPBACK}"
ports = "10000-17999"
threads = 1
[spool]
directory = "spool"
floor = "16MiB"
[store]
directory = "store"
catalogue = "catalogue.sqlite"
format = "wav-g711"
[[trunk]]
name = "load"
address = "udp:{trunk}"
[[user]]
name = "owner"
numbers = ["{NUMBER}"]
contact = "udp:{phone}"
mode = "always"
announce = "off"
notice = "none"
repeat_tone = "off"
[log]
filter = "warn"
[operations]
listen = "{operations}"
"#
    )
}
