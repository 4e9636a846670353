//! Non-INVITE server transaction (RFC 3261 §17.2.2).

use std::time::Instant;

use super::ServerFailure;
use super::timers::Timers;
use crate::status::StatusCode;

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The request came again.
    Request,
    Respond(StatusCode),
    Deadline,
}

/// What it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The latest response.
    SendResponse,
    Failed(ServerFailure),
    Gone,
}

#[derive(Debug)]
enum State {
    /// Nothing said yet; the client gives up at that instant (timer F), so nobody waits longer.
    Trying {
        give_up: Instant,
    },
    Proceeding {
        give_up: Instant,
    },
    /// Timer J.
    Completed {
        until: Instant,
    },
    Gone,
}

#[derive(Debug)]
pub(crate) struct NonInviteServer {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl NonInviteServer {
    pub(crate) fn new(now: Instant, timers: Timers, reliable: bool) -> NonInviteServer {
        let give_up = now + timers.timeout();
        NonInviteServer {
            timers,
            reliable,
            state: State::Trying { give_up },
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Trying { give_up: at } | State::Proceeding { give_up: at } => Some(*at),
            State::Completed { until } => Some(*until),
            State::Gone => None,
        }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match (&self.state, input) {
            (State::Trying { give_up } | State::Proceeding { give_up }, Input::Respond(status)) => {
                if status.is_provisional() {
                    self.state = State::Proceeding { give_up: *give_up };
                    vec![Output::SendResponse]
                } else if self.reliable {
                    self.state = State::Gone;
                    vec![Output::SendResponse, Output::Gone]
                } else {
                    self.state = State::Completed {
                        until: now + self.timers.timeout(),
                    };
                    vec![Output::SendResponse]
                }
            }
            (State::Proceeding { .. } | State::Completed { .. }, Input::Request) => {
                vec![Output::SendResponse]
            }
            (State::Trying { give_up } | State::Proceeding { give_up }, Input::Deadline)
                if now >= *give_up =>
            {
                self.state = State::Gone;
                vec![Output::Failed(ServerFailure::Unanswered), Output::Gone]
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
        let mut machine = NonInviteServer::new(start, Timers::default(), reliable);
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

    fn respond(code: u16) -> Input {
        Input::Respond(StatusCode::new(code).unwrap())
    }

    use Output::{Failed, Gone, SendResponse};

    #[test]
    fn copies_get_the_latest_response_until_j() {
        let script = [
            (10, Input::Request),
            (20, respond(100)),
            (30, Input::Request),
            (40, respond(200)),
            (50, respond(500)),
            (60, Input::Request),
        ];
        let want = [20, 30, 40, 60].map(|ms| (ms, SendResponse));
        assert_eq!(run(false, &script), [&want[..], &[(32_040, Gone)]].concat());
        let want = [
            (20, SendResponse),
            (30, SendResponse),
            (40, SendResponse),
            (40, Gone),
        ];
        assert_eq!(run(true, &script), want);
    }

    #[test]
    fn a_silent_user_leaves_nothing_behind() {
        let end = [(32_000, Failed(ServerFailure::Unanswered)), (32_000, Gone)];
        assert_eq!(run(false, &[]), end);
        assert_eq!(
            run(true, &[(5, respond(100))]),
            [&[(5, SendResponse)], &end[..]].concat()
        );
    }
}
