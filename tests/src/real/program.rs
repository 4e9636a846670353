//! The program as it is built: started on a site's configuration, asked over its own doors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use super::{Process, Site, probe};

/// Longest wait for a start, recovery of the last run included.
const START: Duration = Duration::from_secs(30);

/// A running `duolog serve`. Killed when dropped.
#[derive(Debug)]
pub struct Duolog {
    /// The process.
    pub process: Process,
    operations: std::net::SocketAddr,
}

impl Duolog {
    /// Starts it and waits until it takes calls.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(site: &Site) -> Self {
        let mut duolog = Self::start_unready(site);
        duolog.until_ready();
        duolog
    }

    /// Starts it and waits until it answers, whatever it says.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_unready(site: &Site) -> Self {
        let process = Process::start(
            "duolog",
            command(site, &["serve"]).env("RUST_BACKTRACE", "1"),
        );
        let mut duolog = Self {
            process,
            operations: site.operations(),
        };
        let operations = duolog.operations;
        duolog
            .process
            .until(START, "it answers", || probe::get(operations, "/readyz"));
        duolog
    }

    /// Waits until it takes calls.
    ///
    /// # Panics
    /// When it does not within 30 s.
    pub fn until_ready(&mut self) {
        let operations = self.operations;
        self.process.until(START, "it takes calls", || {
            probe::get(operations, "/readyz").filter(|(status, _)| *status == 200)
        });
    }

    /// The sum of a metric over its labels; none when it is not there or nobody answers.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric(self.operations, name)
    }

    /// Waits until a metric is what is wanted.
    ///
    /// # Panics
    /// When it is not within the time.
    pub fn until_metric(
        &mut self,
        within: Duration,
        name: &str,
        wanted: impl Fn(f64) -> bool,
    ) -> f64 {
        let operations = self.operations;
        let what = format!("{name} is as wanted");
        self.process.until(within, &what, || {
            metric(operations, name).filter(|value| wanted(*value))
        })
    }

    /// Lets calls end, and waits for the end of the process: it must be a good one.
    ///
    /// # Panics
    /// When it does not end within 30 s with status 0, or a thread of it had panicked.
    pub fn stop(mut self) {
        self.process.terminate();
        let status = self.process.exit(START);
        if !status.success() {
            self.process.fail(&status.to_string());
        }
        self.assert_no_panic();
    }

    /// Looks for a panic in what it wrote.
    ///
    /// # Panics
    /// When there is one.
    pub fn assert_no_panic(&mut self) {
        if self
            .process
            .output()
            .iter()
            .any(|line| line.contains("panicked"))
        {
            self.process.fail("a thread panicked");
        }
    }
}

fn metric(operations: std::net::SocketAddr, name: &str) -> Option<f64> {
    let (_, text) = probe::get(operations, "/metrics")?;
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') {
            rest.split_once('}')?.1
        } else {
            rest
        };
        rest.strip_prefix(' ')?.trim().parse::<f64>().ok()
    };
    let values: Vec<f64> = text.lines().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// A command of the program with the site's configuration last.
pub fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .arg("--config")
        .arg(site.config())
        .current_dir(site.directory());
    command
}

/// Runs a command of the program to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(site: &Site, arguments: &[&str]) -> Output {
    command(site, arguments)
        .output()
        .expect("the program can be started")
}

/// The built program: brought up to date once, in the profile of the tests.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("DUOLOG_BINARY") {
            return given.into();
        }
        let test = std::env::current_exe().expect("a test knows where it lies");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("a test lies in target/<profile>/deps");
        let name = profile
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "duolog", "--profile"]);
        build.arg(if name == "debug" { "dev" } else { name });
        build
            .arg("--target-dir")
            .arg(profile.parent().expect("a profile lies in target"));
        let output = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        profile.join("duolog")
    })
}
