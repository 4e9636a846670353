//! A child process: its lines as they come, its end, never left behind.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Between two questions of [`Process::until`].
const PAUSE: Duration = Duration::from_millis(25);

/// What came from a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line of its output, from standard output or standard error.
    Text(String),
    /// Nothing within the time.
    Quiet,
    /// It has closed its output: it is gone.
    Ended,
}

/// A child process whose output is kept. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a command without input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let (sender, lines) = mpsc::channel();
        read_lines(child.stdout.take(), sender.clone());
        read_lines(child.stderr.take(), sender);
        Self {
            name: name.to_owned(),
            child,
            lines,
            seen: Vec::new(),
            status: None,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line, waited for at most `wait`.
    pub fn next_line(&mut self, wait: Duration) -> Line {
        match self.lines.recv_timeout(wait) {
            Ok(text) => {
                self.seen.push(text.clone());
                Line::Text(text)
            }
            Err(RecvTimeoutError::Timeout) => Line::Quiet,
            Err(RecvTimeoutError::Disconnected) => Line::Ended,
        }
    }

    /// Every line so far.
    pub fn output(&mut self) -> &[String] {
        while let Line::Text(_) = self.next_line(Duration::ZERO) {}
        &self.seen
    }

    /// Asks again and again until there is an answer, while the process runs.
    ///
    /// # Panics
    /// When there is none within the time, or the process ended.
    pub fn until<T>(
        &mut self,
        within: Duration,
        what: &str,
        mut ask: impl FnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            if Instant::now() >= deadline {
                self.fail(&format!("{what}: not within {within:?}"));
            }
            let again = Instant::now() + PAUSE;
            while let Some(left) = again.checked_duration_since(Instant::now()) {
                if self.next_line(left) == Line::Ended {
                    self.fail(&format!("it ended before {what}"));
                }
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within the time.
    pub fn exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left) {
                Line::Text(_) => {}
                Line::Quiet => self.fail(&format!("it has not ended within {within:?}")),
                Line::Ended => return self.reap(),
            }
        }
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be asked for")
            .is_none()
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Takes the processor away from it (SIGSTOP).
    ///
    /// # Panics
    /// When that is refused.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Gives it the processor back (SIGCONT).
    ///
    /// # Panics
    /// When that is refused.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.id());
        let sent = Command::new("sh").args(["-c", &command]).status();
        let sent = sent.is_ok_and(|status| status.success());
        assert!(sent, "{}: {command}", self.name);
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(&mut self) {
        if !self.is_running() {
            self.fail("it had ended before it was killed");
        }
        self.child.kill().expect("our own child can be killed");
        self.reap();
    }

    /// Fails the test with the last lines of the output.
    ///
    /// # Panics
    /// Always.
    pub fn fail(&mut self, what: &str) -> ! {
        let lines = self.output();
        let last = lines[lines.len().saturating_sub(30)..].join("\n");
        panic!("{}: {what}; its last lines:\n{last}", self.name)
    }

    fn reap(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("a child has one end");
        *self.status.insert(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may be gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read_lines(source: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let source = source.expect("the output was asked for as a pipe");
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while let Ok(1..) = source.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if lines.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
}
