//! Non-INVITE client transaction (RFC 3261 §17.1.2).

use std::time::Instant;

use super::ClientFailure;
use super::timers::{Backoff, Timers};
use crate::status::StatusCode;

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Response(StatusCode),
    Deadline,
}

/// What it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    SendRequest,
    /// The response goes up.
    Pass,
    Failed(ClientFailure),
    Gone,
}

#[derive(Debug)]
enum State {
    /// Trying and Proceeding: timers E and F.
    Open {
        retransmit: Option<Backoff>,
        timeout: Instant,
    },
    /// Timer K.
    Completed {
        until: Instant,
    },
    Gone,
}

#[derive(Debug)]
pub(crate) struct NonInviteClient {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl NonInviteClient {
    /// The request was just sent.
    pub(crate) fn new(now: Instant, timers: Timers, reliable: bool) -> NonInviteClient {
        let backoff = Backoff::new(now, timers.t1, timers.t2);
        let state = State::Open {
            retransmit: (!reliable).then_some(backoff),
            timeout: now + timers.timeout(),
        };
        NonInviteClient {
            timers,
            reliable,
            state,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Open {
                retransmit,
                timeout,
            } => Some(retransmit.map_or(*timeout, |r| r.at.min(*timeout))),
            State::Completed { until } => Some(*until),
            State::Gone => None,
        }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match (&mut self.state, input) {
            (State::Open { retransmit, .. }, Input::Response(status)) if !status.is_final() => {
                if let Some(retransmit) = retransmit {
                    retransmit.slow_down();
                }
                vec![Output::Pass]
            }
            (State::Open { .. }, Input::Response(_)) if self.reliable => {
                self.state = State::Gone;
                vec![Output::Pass, Output::Gone]
            }
            (State::Open { .. }, Input::Response(_)) => {
                self.state = State::Completed {
                    until: now + self.timers.t4,
                };
                vec![Output::Pass]
            }
            (State::Open { timeout, .. }, Input::Deadline) if now >= *timeout => {
                self.state = State::Gone;
                vec![Output::Failed(ClientFailure::Timeout), Output::Gone]
            }
            (
                State::Open {
                    retransmit: Some(retransmit),
                    ..
                },
                Input::Deadline,
            ) if now >= retransmit.at => {
                retransmit.advance(now);
                vec![Output::SendRequest]
            }
            (State::Completed { until }, Input::Deadline) if now >= *until => {
                self.state = State::Gone;
                vec![Output::Gone]
            }
            _ => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs a script of (ms, input) and the machine's own deadlines; says what came out when.
    fn run(reliable: bool, script: &[(u64, Input)]) -> Vec<(u64, Output)> {
        let start = crate::testing::base();
        let mut machine = NonInviteClient::new(start, Timers::default(), reliable);
        let mut seen = Vec::new();
        let mut script = script.iter().peekable();
        loop {
            let due = machine.deadline().map(|d| (d - start).as_millis() as u64);
            let (ms, input) = match (due, script.peek()) {
                (Some(due), Some((ms, _))) if due <= *ms => (due, Input::Deadline),
                (_, Some((ms, input))) => {
                    script.next();
                    (*ms, *input)
                }
                (Some(due), None) => (due, Input::Deadline),
                (None, None) => return seen,
            };
            let done = machine.handle(start + Duration::from_millis(ms), input);
            seen.extend(done.into_iter().map(|output| (ms, output)));
        }
    }

    fn response(code: u16) -> Input {
        Input::Response(StatusCode::new(code).unwrap())
    }

    use Output::{Failed, Gone, Pass, SendRequest};

    #[test]
    fn timers_e_and_f() {
        let mut want: Vec<_> = [500, 1500, 3500]
            .iter()
            .map(|ms| (*ms, SendRequest))
            .collect();
        want.extend((1..=7).map(|n| (3500 + 4000 * n, SendRequest)));
        let end = [(32_000, Failed(ClientFailure::Timeout)), (32_000, Gone)];
        want.extend(end);
        assert_eq!(run(false, &[]), want);
        assert_eq!(run(true, &[]), end);
    }

    #[test]
    fn provisional_slows_down_but_does_not_stop() {
        let got = run(false, &[(100, response(100)), (9000, response(200))]);
        let want = [
            (100, Pass),
            (500, SendRequest),
            (4500, SendRequest),
            (8500, SendRequest),
        ];
        assert_eq!(got, [&want[..], &[(9000, Pass), (14_000, Gone)]].concat());
    }

    #[test]
    fn copies_are_absorbed_until_k() {
        let script = [
            (10, response(200)),
            (20, response(200)),
            (30, response(500)),
        ];
        assert_eq!(run(false, &script), [(10, Pass), (5010, Gone)]);
        assert_eq!(run(true, &script), [(10, Pass), (10, Gone)]);
    }
}
