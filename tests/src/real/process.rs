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
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let (sender, lines) = mpsc::channel();
        read_lines(child.stdout.take(), sender.clone());
        read_lines(child.stderr.take(), sender);
        Self { name: name.to_owned(), child, lines, seen: Vec::new(), status: None }
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
    pub fn until<T>(&mut self, within: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < deadline, "{}: {what}: not within {within:?}{}", self.name, self.tail());
            let again = Instant::now() + PAUSE;
            while let Some(left) = again.checked_duration_since(Instant::now()) {
                if self.next_line(left) == Line::Ended {
                    panic!("{} ended before {what}{}", self.name, self.tail());
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
                Line::Quiet => panic!("{} has not ended within {within:?}{}", self.name, self.tail()),
                Line::Ended => return self.reap(),
            }
        }
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked for").is_none()
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn terminate(&self) {
        let id = self.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM to {} ({id})", self.name);
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(&mut self) {
        assert!(self.is_running(), "{} had ended before it was killed{}", self.name, self.tail());
        self.child.kill().expect("our own child can be killed");
        self.reap();
    }

    /// The last lines of its output, for the message of a failure.
    pub fn tail(&mut self) -> String {
        let lines = self.output();
        let last = &lines[lines.len().saturating_sub(30)..];
        format!("; its last lines:\n{}", last.join("\n"))
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
