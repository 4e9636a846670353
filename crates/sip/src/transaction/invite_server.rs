//! INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1), with the user's retransmission of
//! the 2xx until its ACK (RFC 3261 §13.3.1.4).

use std::time::Instant;

use super::ServerFailure;
use super::timers::{Backoff, TRYING_AFTER, Timers};
use crate::status::StatusCode;

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The INVITE came again.
    Invite,
    Respond(StatusCode),
    /// An ACK, of this transaction or of its 2xx.
    Ack,
    Deadline,
}

/// What it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    SendTrying,
    /// The latest response.
    SendResponse,
    /// The first ACK of a 2xx.
    Acked,
    Failed(ServerFailure),
    Gone,
}

#[derive(Debug)]
enum State {
    /// Nothing said yet; 100 at that instant.
    Silent {
        trying_at: Instant,
    },
    /// A provisional response was sent: by us the 100, or by the user.
    Proceeding {
        said: Said,
    },
    /// Timers G and H.
    Completed {
        retransmit: Option<Backoff>,
        give_up: Instant,
    },
    /// Timer I.
    Confirmed {
        until: Instant,
    },
    /// The 2xx is repeated until its ACK, on every transport; then timer L.
    Accepted {
        retransmit: Option<Backoff>,
        until: Instant,
    },
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Trying,
    Response,
}

#[derive(Debug)]
pub(crate) struct InviteServer {
    timers: Timers,
    reliable: bool,
    state: State,
}

impl InviteServer {
    pub(crate) fn new(now: Instant, timers: Timers, reliable: bool) -> InviteServer {
        InviteServer {
            timers,
            reliable,
            state: State::Silent {
                trying_at: now + TRYING_AFTER,
            },
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Silent { trying_at } => Some(*trying_at),
            State::Proceeding { .. } | State::Gone => None,
            State::Completed {
                retransmit,
                give_up: end,
            }
            | State::Accepted {
                retransmit,
                until: end,
            } => Some(retransmit.map_or(*end, |r| r.at.min(*end))),
            State::Confirmed { until } => Some(*until),
        }
    }

    /// Whether a final response is still awaited from the user.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Silent { .. } | State::Proceeding { .. })
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Invite => self.again(),
            Input::Respond(status) => self.respond(now, status),
            Input::Ack => self.ack(now),
            Input::Deadline => self.due(now),
        }
    }

    fn again(&mut self) -> Vec<Output> {
        match self.state {
            State::Silent { .. } | State::Proceeding { said: Said::Trying } => {
                self.state = State::Proceeding { said: Said::Trying };
                vec![Output::SendTrying]
            }
            State::Proceeding { .. } | State::Completed { .. } => vec![Output::SendResponse],
            // RFC 6026 §7.1: absorbed, the 2xx has its own timer.
            State::Accepted { .. } | State::Confirmed { .. } | State::Gone => vec![],
        }
    }

    fn respond(&mut self, now: Instant, status: StatusCode) -> Vec<Output> {
        if !self.is_open() {
            return vec![];
        }
        let end = now + self.timers.timeout();
        let backoff = Backoff::new(now, self.timers.t1, self.timers.t2);
        self.state = if status.is_provisional() {
            State::Proceeding {
                said: Said::Response,
            }
        } else if status.is_success() {
            State::Accepted {
                retransmit: Some(backoff),
                until: end,
            }
        } else {
            State::Completed {
                retransmit: (!self.reliable).then_some(backoff),
                give_up: end,
            }
        };
        vec![Output::SendResponse]
    }

    fn ack(&mut self, now: Instant) -> Vec<Output> {
        match &mut self.state {
            State::Completed { .. } if self.reliable => {
                self.state = State::Gone;
                vec![Output::Gone]
            }
            State::Completed { .. } => {
                self.state = State::Confirmed {
                    until: now + self.timers.t4,
                };
                vec![]
            }
            State::Accepted {
                retransmit: retransmit @ Some(_),
                ..
            } => {
                *retransmit = None;
                vec![Output::Acked]
            }
            _ => vec![],
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Output> {
        match &mut self.state {
            State::Silent { trying_at } if now >= *trying_at => {
                self.state = State::Proceeding { said: Said::Trying };
                vec![Output::SendTrying]
            }
            State::Completed { give_up, .. } if now >= *give_up => self.fail(),
            State::Accepted {
                until,
                retransmit: Some(_),
            } if now >= *until => self.fail(),
            State::Completed {
                retransmit: Some(retransmit),
                ..
            }
            | State::Accepted {
                retransmit: Some(retransmit),
                ..
            } if now >= retransmit.at => {
                retransmit.advance(now);
                vec![Output::SendResponse]
            }
            State::Confirmed { until }
            | State::Accepted {
                until,
                retransmit: None,
            } if now >= *until => {
                self.state = State::Gone;
                vec![Output::Gone]
            }
            _ => vec![],
        }
    }

    fn fail(&mut self) -> Vec<Output> {
        self.state = State::Gone;
        vec![Output::Failed(ServerFailure::NoAck), Output::Gone]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs a script of (ms, input) and the machine's own deadlines; says what came out when.
    fn run(reliable: bool, script: &[(u64, Input)]) -> Vec<(u64, Output)> {
        let start = crate::testing::base();
        let mut machine = InviteServer::new(start, Timers::default(), reliable);
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

    use Output::{Acked, Failed, Gone, SendResponse, SendTrying};

    #[test]
    fn trying_after_200_ms_unless_something_was_said() {
        let script = [
            (300, Input::Invite),
            (400, respond(180)),
            (500, Input::Invite),
        ];
        let want = [
            (200, SendTrying),
            (300, SendTrying),
            (400, SendResponse),
            (500, SendResponse),
        ];
        assert_eq!(run(false, &script), want);
        let script = [(100, Input::Invite), (150, respond(180))];
        assert_eq!(
            run(false, &script),
            [(100, SendTrying), (150, SendResponse)]
        );
        assert_eq!(run(false, &[(199, respond(183))]), [(199, SendResponse)]);
    }

    #[test]
    fn failure_until_ack_then_i() {
        let script = [
            (0, respond(486)),
            (600, Input::Invite),
            (2000, Input::Ack),
            (2500, Input::Ack),
        ];
        let want = [0, 500, 600, 1500].map(|ms| (ms, SendResponse));
        assert_eq!(run(false, &script), [&want[..], &[(7000, Gone)]].concat());
        let want = [(0, SendResponse), (600, SendResponse), (2000, Gone)];
        assert_eq!(run(true, &script), want);
    }

    #[test]
    fn failure_without_ack_gives_up_at_h() {
        let mut want: Vec<_> = [0, 500, 1500, 3500]
            .iter()
            .map(|ms| (*ms, SendResponse))
            .collect();
        want.extend((1..=7).map(|n| (3500 + 4000 * n, SendResponse)));
        let end = [(32_000, Failed(ServerFailure::NoAck)), (32_000, Gone)];
        want.extend(end);
        assert_eq!(run(false, &[(0, respond(487))]), want);
        assert_eq!(
            run(true, &[(0, respond(487))]),
            [&[(0, SendResponse)], &end[..]].concat()
        );
    }

    #[test]
    fn success_is_repeated_on_every_transport_until_ack() {
        let script = [
            (0, respond(200)),
            (100, Input::Invite),
            (1600, Input::Ack),
            (1700, Input::Ack),
        ];
        let mut want = [0, 500, 1500].map(|ms| (ms, SendResponse)).to_vec();
        want.extend([(1600, Acked), (32_000, Gone)]);
        assert_eq!(run(false, &script), want);
        assert_eq!(run(true, &script), want);
        let late = run(true, &[(0, respond(200)), (31_900, Input::Ack)]);
        assert_eq!(late[late.len() - 2..], [(31_900, Acked), (32_000, Gone)]);
        let lost = run(true, &[(0, respond(200))]);
        let end = [(32_000, Failed(ServerFailure::NoAck)), (32_000, Gone)];
        assert_eq!(lost[lost.len() - 2..], end);
    }

    #[test]
    fn only_one_final_response() {
        let script = [
            (0, respond(200)),
            (1, respond(487)),
            (2, Input::Ack),
            (3, respond(180)),
        ];
        assert_eq!(
            run(false, &script),
            [(0, SendResponse), (2, Acked), (32_000, Gone)]
        );
    }
}
