//! Reliable provisional answers (RFC 3262): those that one side sends, in order and each once, and
//! those that the other side gets, with numbers of our own and one at a time.

use std::collections::VecDeque;

use duolog_sip::{CSeq, Method, RAck, Response, Tokens};

/// Answers that wait for the PRACK of the one before.
const QUEUED: usize = 8;

/// Early dialogs whose numbers are followed: one for each fork.
const FORKS: usize = 32;

/// The numbers of the reliable answers that came to one INVITE, for each fork.
#[derive(Debug, Default)]
pub(crate) struct Received(Vec<(String, u32)>);

/// What to do with a reliable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is the next one.
    Next,
    /// It is one that was taken already, or one whose predecessor is missing: it is neither taken nor
    /// acknowledged (RFC 3262 §4).
    Ignore,
}

impl Received {
    /// An answer of the dialog with this To tag and RSeq.
    pub(crate) fn arrives(&mut self, tag: &str, rseq: u32) -> Arrival {
        let room = self.0.len() < FORKS;
        let known = self.0.iter_mut().find(|(fork, _)| fork == tag);
        match known {
            None if room => self.0.push((tag.to_owned(), rseq)),
            Some((_, last)) if last.checked_add(1) == Some(rseq) => *last = rseq,
            None | Some(_) => return Arrival::Ignore,
        }
        Arrival::Next
    }
}

/// The reliable answers that go out to one INVITE.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// The number of the last one; 0 before the first.
    last: u32,
    waiting: Option<Waiting>,
    queue: VecDeque<Queued>,
    /// A 2xx that may not go out before the PRACK (RFC 3262 §3).
    held: Option<Response>,
}

#[derive(Debug)]
struct Waiting {
    rack: RAck,
    contents: Contents,
    far: Option<Far>,
}

#[derive(Debug)]
struct Queued {
    response: Response,
    contents: Contents,
    far: Option<Far>,
}

/// Whether a provisional answer has a session description in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// It has.
    Described,
    /// It has none.
    Plain,
}

/// The other side's reliable answer behind one of ours: it is acknowledged when ours is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Far {
    /// What its PRACK says.
    pub(crate) rack: RAck,
    /// The To tag of its dialog.
    pub(crate) tag: String,
}

/// A PRACK was for the answer that waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The number in our answer.
    pub(crate) rseq: u32,
    /// What is to be acknowledged on the other side.
    pub(crate) far: Option<Far>,
}

impl Sending {
    /// Takes one provisional answer to the INVITE with this CSeq; returns it as it goes out, or
    /// nothing as long as the one before is not acknowledged.
    pub(crate) fn send(
        &mut self,
        tokens: &mut Tokens,
        response: Response,
        contents: Contents,
        far: Option<Far>,
    ) -> Option<Response> {
        if self.last == 0 {
            self.last = first_number(tokens) - 1;
        }
        if self.queue.len() < QUEUED {
            self.queue.push_back(Queued {
                response,
                contents,
                far,
            });
        }
        self.next()
    }

    /// The next answer, if nothing waits for its PRACK.
    pub(crate) fn next(&mut self) -> Option<Response> {
        if self.waiting.is_some() {
            return None;
        }
        let Queued {
            mut response,
            contents,
            far,
        } = self.queue.pop_front()?;
        self.last = self.last.checked_add(1)?;
        response.headers.push("Require", "100rel");
        response.headers.set("RSeq", self.last.to_string());
        let number = response.cseq().map_or(0, |cseq| cseq.number);
        let cseq = CSeq {
            number,
            method: Method::Invite,
        };
        let rseq = self.last;
        self.waiting = Some(Waiting {
            rack: RAck { rseq, cseq },
            contents,
            far,
        });
        Some(response)
    }

    /// A PRACK came; `None` is 481 (RFC 3262 §3).
    pub(crate) fn acknowledged(&mut self, rack: &RAck) -> Option<Acknowledged> {
        let waiting = self.waiting.take_if(|waiting| waiting.rack == *rack)?;
        Some(Acknowledged {
            rseq: waiting.rack.rseq,
            far: waiting.far,
        })
    }

    /// Whether a 2xx has to wait: a session description in an answer is not acknowledged yet.
    pub(crate) fn holds_success(&self) -> bool {
        let waiting = self.waiting.iter().map(|waiting| waiting.contents);
        let queued = self.queue.iter().map(|queued| queued.contents);
        waiting.chain(queued).any(|c| c == Contents::Described)
    }

    /// Keeps a 2xx until [`Sending::released`].
    pub(crate) fn hold(&mut self, success: Response) {
        self.held = Some(success);
    }

    /// The 2xx that waited, when it may go out.
    pub(crate) fn released(&mut self) -> Option<Response> {
        match self.holds_success() {
            true => None,
            false => self.held.take(),
        }
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The 2xx that waits, when the call fails before it could go out.
    pub(crate) fn withdrawn(&mut self) -> Option<Response> {
        self.held.take()
    }

    /// The final answer goes out: nothing that waits for its turn follows it, though a PRACK for what
    /// went before may still come.
    pub(crate) fn finish(&mut self) {
        self.queue.clear();
    }
}

/// The first number of a transaction: 1 to 2^31 - 1, any of them (RFC 3262 §3).
fn first_number(tokens: &mut Tokens) -> u32 {
    let random = u32::from_str_radix(&tokens.tag()[..8], 16).unwrap_or(1);
    (random & 0x7fff_ffff).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_sip::{Request, StatusCode};

    fn ringing(code: u16) -> Response {
        let mut invite = Request::new(Method::Invite, "sip:a@b".parse().unwrap());
        invite.headers.push("CSeq", "7 INVITE");
        Response::to(&invite, StatusCode::new(code).unwrap())
    }

    fn rack(rseq: u32, cseq: &str) -> RAck {
        format!("{rseq} {cseq}").parse().unwrap()
    }

    fn far(rseq: u32) -> Far {
        Far {
            rack: rack(rseq, "1 INVITE"),
            tag: "t".to_owned(),
        }
    }

    #[test]
    fn answers_are_taken_in_order_and_once() {
        for (numbers, taken) in [
            (&[("a", 5), ("a", 6), ("a", 7)][..], "5 6 7"),
            (&[("a", 5), ("a", 5), ("a", 4)], "5"),
            (&[("a", 5), ("a", 7), ("a", 6), ("a", 7)], "5 6 7"),
            // Each fork counts for itself.
            (
                &[("a", 5), ("b", 9), ("a", 6), ("b", 10), ("b", 6)],
                "5 9 6 10",
            ),
            (&[("a", u32::MAX), ("a", 0), ("a", 1)], "4294967295"),
        ] {
            let mut received = Received::default();
            let got: Vec<String> = numbers
                .iter()
                .filter(|(tag, rseq)| received.arrives(tag, *rseq) == Arrival::Next)
                .map(|(_, rseq)| rseq.to_string())
                .collect();
            assert_eq!(got.join(" "), taken, "{numbers:?}");
        }
        let mut received = Received::default();
        let taken = (0..100).filter(|at| received.arrives(&at.to_string(), 1) == Arrival::Next);
        assert_eq!(taken.count(), FORKS);
    }

    #[test]
    fn the_second_waits_for_the_first() {
        let (mut sending, mut tokens) = (Sending::default(), Tokens::new([3; 32]));
        let first = sending.send(&mut tokens, ringing(183), Contents::Described, Some(far(1)));
        let first = first.unwrap();
        let rseq = first.rseq().unwrap();
        assert!((1..1 << 31).contains(&rseq));
        assert_eq!(first.tags("Require").collect::<Vec<_>>(), ["100rel"]);
        assert!(
            sending
                .send(&mut tokens, ringing(180), Contents::Plain, Some(far(2)))
                .is_none()
        );
        assert!(
            sending
                .send(&mut tokens, ringing(181), Contents::Plain, None)
                .is_none()
        );
        // The wrong number, request or method.
        for wrong in [
            rack(rseq + 1, "7 INVITE"),
            rack(rseq, "8 INVITE"),
            rack(rseq, "7 UPDATE"),
        ] {
            assert_eq!(sending.acknowledged(&wrong), None, "{wrong}");
        }
        assert!(sending.next().is_none());
        let right = rack(rseq, "7 INVITE");
        let acknowledged = sending.acknowledged(&right).unwrap();
        assert_eq!((acknowledged.rseq, acknowledged.far), (rseq, Some(far(1))));
        assert_eq!(sending.acknowledged(&right), None, "once");
        let second = sending.next().unwrap();
        assert_eq!((second.rseq(), second.status.code()), (Some(rseq + 1), 180));
        assert!(sending.next().is_none());
        sending.finish();
        let again = sending.acknowledged(&rack(rseq + 1, "7 INVITE"));
        assert_eq!(
            again.unwrap().far,
            Some(far(2)),
            "after the final answer, too"
        );
        assert!(
            sending.next().is_none(),
            "nothing new after the final answer"
        );
    }

    #[test]
    fn a_success_waits_for_what_was_described() {
        for (contents, waits) in [(Contents::Described, true), (Contents::Plain, false)] {
            let (mut sending, mut tokens) = (Sending::default(), Tokens::new([4; 32]));
            assert!(!sending.holds_success());
            let sent = sending
                .send(&mut tokens, ringing(183), contents, None)
                .unwrap();
            assert_eq!(sending.holds_success(), waits);
            sending.hold(ringing(200));
            assert_eq!(sending.released().is_none(), waits);
            sending
                .acknowledged(&rack(sent.rseq().unwrap(), "7 INVITE"))
                .unwrap();
            assert_eq!(sending.released().is_some(), waits, "once, at its time");
        }
        // One that is still queued holds it as well.
        let (mut sending, mut tokens) = (Sending::default(), Tokens::new([4; 32]));
        let sent = sending
            .send(&mut tokens, ringing(180), Contents::Plain, None)
            .unwrap();
        let _ = sending.send(&mut tokens, ringing(183), Contents::Described, None);
        assert!(sending.holds_success());
        sending
            .acknowledged(&rack(sent.rseq().unwrap(), "7 INVITE"))
            .unwrap();
        assert!(sending.next().is_some() && sending.holds_success());
    }

    #[test]
    fn the_queue_has_an_end() {
        let (mut sending, mut tokens) = (Sending::default(), Tokens::new([5; 32]));
        for _ in 0..1000 {
            let _ = sending.send(&mut tokens, ringing(180), Contents::Plain, None);
        }
        assert_eq!(sending.queue.len(), QUEUED);
    }
}
