//! INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2) with its CANCEL (RFC 3261 §9.1).

use std::time::Instant;

use super::ClientFailure;
use super::timers::{Backoff, TIMER_C, Timers};
use crate::status::StatusCode;

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Response(StatusCode),
    Cancel,
    Deadline,
}

/// What it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    SendRequest,
    /// The ACK of a final response that is not 2xx.
    SendAck,
    SendCancel,
    /// The response goes up.
    Pass,
    Failed(ClientFailure),
    Gone,
}

#[derive(Debug)]
enum State {
    /// Timers A and B; CANCEL waits for a provisional response.
    Calling {
        retransmit: Option<Backoff>,
        timeout: Instant,
        cancel_wanted: CancelWanted,
    },
    /// Timer C, or the end of the wait for the answer to a CANCEL.
    Proceeding {
        limit: Instant,
        cancelled: Option<Instant>,
    },
    /// Timer D.
    Completed {
        until: Instant,
    },
    /// Timer M.
    Accepted {
        until: Instant,
    },
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CancelWanted {
    No,
    Yes,
}

#[derive(Debug)]
pub(crate) struct InviteClient {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl InviteClient {
    /// The request was just sent.
    pub(crate) fn new(now: Instant, timers: Timers, reliable: bool) -> InviteClient {
        let backoff = Backoff::new(now, timers.t1, timers.timeout());
        let state = State::Calling {
            retransmit: (!reliable).then_some(backoff),
            timeout: now + timers.timeout(),
            cancel_wanted: CancelWanted::No,
        };
        InviteClient {
            timers,
            reliable,
            state,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Calling {
                retransmit,
                timeout,
                ..
            } => Some(retransmit.map_or(*timeout, |r| r.at.min(*timeout))),
            State::Proceeding { limit, cancelled } => Some(cancelled.unwrap_or(*limit)),
            State::Completed { until } | State::Accepted { until } => Some(*until),
            State::Gone => None,
        }
    }

    /// Whether a 2xx came: nothing of ours is sent again then.
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.state, State::Accepted { .. })
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Response(status) => self.response(now, status),
            Input::Cancel => self.cancel(now),
            Input::Deadline => self.due(now),
        }
    }

    fn response(&mut self, now: Instant, status: StatusCode) -> Vec<Output> {
        match &mut self.state {
            State::Calling { .. } | State::Proceeding { .. } if status.is_success() => {
                self.state = State::Accepted {
                    until: now + self.timers.timeout(),
                };
                vec![Output::Pass]
            }
            State::Calling { .. } | State::Proceeding { .. } if status.is_final() => {
                if self.reliable {
                    self.state = State::Gone;
                    return vec![Output::SendAck, Output::Pass, Output::Gone];
                }
                self.state = State::Completed {
                    until: now + self.timers.d(),
                };
                vec![Output::SendAck, Output::Pass]
            }
            State::Calling { cancel_wanted, .. } => {
                let wanted = *cancel_wanted == CancelWanted::Yes;
                let cancelled = wanted.then(|| now + self.timers.timeout());
                self.state = State::Proceeding {
                    limit: now + TIMER_C,
                    cancelled,
                };
                match wanted {
                    true => vec![Output::Pass, Output::SendCancel],
                    false => vec![Output::Pass],
                }
            }
            State::Proceeding { limit, .. } => {
                *limit = now + TIMER_C;
                vec![Output::Pass]
            }
            State::Completed { .. } if status.is_final() && !status.is_success() => {
                vec![Output::SendAck]
            }
            State::Accepted { .. } if status.is_success() => vec![Output::Pass],
            State::Completed { .. } | State::Accepted { .. } | State::Gone => vec![],
        }
    }

    fn cancel(&mut self, now: Instant) -> Vec<Output> {
        match &mut self.state {
            State::Calling { cancel_wanted, .. } => {
                *cancel_wanted = CancelWanted::Yes;
                vec![]
            }
            State::Proceeding {
                cancelled: cancelled @ None,
                ..
            } => {
                *cancelled = Some(now + self.timers.timeout());
                vec![Output::SendCancel]
            }
            _ => vec![],
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Output> {
        match &mut self.state {
            State::Calling { timeout, .. } if now >= *timeout => self.fail(),
            State::Calling {
                retransmit: Some(retransmit),
                ..
            } if now >= retransmit.at => {
                retransmit.advance(now);
                vec![Output::SendRequest]
            }
            // No final response 64*T1 after CANCEL: the transaction counts as cancelled (§9.1).
            State::Proceeding {
                cancelled: Some(end),
                ..
            } if now >= *end => self.fail(),
            State::Proceeding {
                limit,
                cancelled: None,
            } if now >= *limit => self.cancel(now),
            State::Completed { until } | State::Accepted { until } if now >= *until => {
                self.state = State::Gone;
                vec![Output::Gone]
            }
            _ => vec![],
        }
    }

    fn fail(&mut self) -> Vec<Output> {
        self.state = State::Gone;
        vec![Output::Failed(ClientFailure::Timeout), Output::Gone]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs a script of (ms, input) and the machine's own deadlines; says what came out when.
    fn run(reliable: bool, script: &[(u64, Input)]) -> Vec<(u64, Output)> {
        let start = crate::testing::base();
        let mut machine = InviteClient::new(start, Timers::default(), reliable);
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

    use Output::{Failed, Gone, Pass, SendAck, SendCancel, SendRequest};

    #[test]
    fn timers_a_and_b() {
        let repeats = [500, 1500, 3500, 7500, 15500, 31500].map(|ms| (ms, SendRequest));
        let end = [(32_000, Failed(ClientFailure::Timeout)), (32_000, Gone)];
        assert_eq!(run(false, &[]), [&repeats[..], &end].concat());
        assert_eq!(run(true, &[]), end);
    }

    #[test]
    fn provisional_stops_a_and_timer_c_cancels() {
        let got = run(false, &[(600, response(180))]);
        let c = 600 + 300_000;
        let want = [
            (500, SendRequest),
            (600, Pass),
            (c, SendCancel),
            (c + 32_000, Failed(ClientFailure::Timeout)),
            (c + 32_000, Gone),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn failure_is_acked_until_d() {
        let script = [
            (10, response(100)),
            (20, response(486)),
            (30, response(486)),
            (40, response(200)),
        ];
        let want = [
            (10, Pass),
            (20, SendAck),
            (20, Pass),
            (30, SendAck),
            (32_020, Gone),
        ];
        assert_eq!(run(false, &script), want);
        let want = [(10, Pass), (20, SendAck), (20, Pass), (20, Gone)];
        assert_eq!(run(true, &script), want);
    }

    #[test]
    fn success_passes_every_copy_until_m() {
        let script = [
            (20, response(200)),
            (520, response(200)),
            (530, response(486)),
            (540, response(180)),
        ];
        let want = [(20, Pass), (520, Pass), (32_020, Gone)];
        assert_eq!(run(false, &script), want);
        assert_eq!(run(true, &script), want);
    }

    #[test]
    fn cancel_waits_for_a_provisional() {
        let script = [
            (10, Input::Cancel),
            (20, response(180)),
            (25, Input::Cancel),
            (30, response(487)),
        ];
        let want = [
            (20, Pass),
            (20, SendCancel),
            (30, SendAck),
            (30, Pass),
            (32_030, Gone),
        ];
        assert_eq!(run(false, &script), want);
    }

    #[test]
    fn cancel_and_2xx_cross() {
        let script = [
            (10, response(180)),
            (20, Input::Cancel),
            (30, response(200)),
        ];
        let want = [(10, Pass), (20, SendCancel), (30, Pass), (32_030, Gone)];
        assert_eq!(run(false, &script), want);
        // The 2xx came first: nothing is left to cancel.
        let script = [(10, response(200)), (20, Input::Cancel)];
        assert_eq!(run(false, &script), [(10, Pass), (32_010, Gone)]);
    }
}
