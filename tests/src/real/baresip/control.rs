//! What a baresip is told and tells over its `ctrl_tcp` module: JSON objects as netstrings,
//! `LENGTH:{...},`, answers and events mixed.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for one read, so that deadlines are kept.
const READ: Duration = Duration::from_millis(25);

/// The line to one phone.
#[derive(Debug)]
pub(super) struct Control {
    stream: TcpStream,
    /// What came and is no whole netstring yet.
    bytes: Vec<u8>,
    /// Events that nobody has asked for yet.
    events: VecDeque<Value>,
}

impl Control {
    /// The line to the phone that hears at `at`; none while it does not.
    pub(super) fn connect(at: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(at).ok()?;
        stream.set_read_timeout(Some(READ)).ok()?;
        Some(Self {
            stream,
            bytes: Vec::new(),
            events: VecDeque::new(),
        })
    }

    /// Says a command; answers what the phone says to it.
    pub(super) fn command(
        &mut self,
        command: &str,
        parameters: &str,
        within: Duration,
    ) -> Result<String, String> {
        let text = json!({"command": command, "params": parameters}).to_string();
        let netstring = format!("{}:{text},", text.len());
        let sent = self.stream.write_all(netstring.as_bytes());
        sent.map_err(|error| format!("{command}: {error}"))?;
        let deadline = Instant::now() + within;
        while let Some(told) = self.read(deadline)? {
            if told["response"].as_bool() != Some(true) {
                self.events.push_back(told);
                continue;
            }
            let said = told["data"].as_str().unwrap_or_default().to_owned();
            return match told["ok"].as_bool() {
                Some(true) => Ok(said),
                _ => Err(format!("{command} {parameters}: {said}")),
            };
        }
        Err(format!("{command}: no answer within {within:?}"))
    }

    /// The next event of one of these types; those before it are left out.
    pub(super) fn event(&mut self, types: &[&str], within: Duration) -> Result<Value, String> {
        let deadline = Instant::now() + within;
        loop {
            let event = match self.events.pop_front() {
                Some(event) => Some(event),
                None => self.read(deadline)?,
            };
            let Some(event) = event else {
                return Err(format!("no {types:?} within {within:?}"));
            };
            if event["type"]
                .as_str()
                .is_some_and(|name| types.contains(&name))
            {
                return Ok(event);
            }
        }
    }

    /// The next object; none when there is none until the deadline.
    fn read(&mut self, deadline: Instant) -> Result<Option<Value>, String> {
        let mut part = [0; 4_096];
        loop {
            if let Some(told) = self.take()? {
                return Ok(Some(told));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            match self.stream.read(&mut part) {
                Ok(0) => return Err("it has closed its control connection".to_owned()),
                Ok(bytes) => self.bytes.extend_from_slice(&part[..bytes]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(format!("its control connection: {error}")),
            }
        }
    }

    /// The first whole netstring of what came.
    fn take(&mut self) -> Result<Option<Value>, String> {
        let Some(colon) = self.bytes.iter().position(|byte| *byte == b':') else {
            return Ok(None);
        };
        let length = std::str::from_utf8(&self.bytes[..colon]).ok();
        let length: usize = length
            .and_then(|digits| digits.parse().ok())
            .ok_or("no netstring")?;
        let end = colon + 1 + length;
        if self.bytes.len() <= end {
            return Ok(None);
        }
        let told = serde_json::from_slice(&self.bytes[colon + 1..end]);
        self.bytes.drain(..=end);
        told.map(Some).map_err(|error| format!("no JSON: {error}"))
    }
}
