//! Two phones on a wire, and a third one that can call the second, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::codec::Codec;
use duolog_sip::{Flow, StatusCode, Transport};

use super::super::*;

const WIRE: Duration = Duration::from_millis(5);

/// What travels, and to whom.
enum Travelling {
    Sip(usize, Flow, Bytes),
    Rtp(usize, Bytes),
    Rtcp(usize, Bytes),
}

/// Two phones, each the other's proxy, a third one whose proxy is the second, and a wire of 5 ms.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) began: Instant,
    pub(super) phones: [Phone; 3],
    wire: BTreeMap<(Instant, u64), Travelling>,
    number: u64,
    pub(super) told: Vec<(u64, usize, PhoneEvent)>,
    /// SIP messages to lose, by their number.
    pub(super) lost: Vec<u64>,
    messages: u64,
}

pub(super) fn sip(phone: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + phone as u8], 5_060))
}

fn rtp(phone: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + phone as u8], 4_000))
}

pub(super) fn settings(phone: usize) -> PhoneSettings {
    PhoneSettings {
        user: ["anna", "bert", "cleo"][phone].to_owned(),
        domain: "example.org".to_owned(),
        flow: Flow {
            transport: Transport::Udp,
            local: sip(phone),
            peer: sip([1, 0, 1][phone]),
        },
        rtp: rtp(phone),
        rtcp: SocketAddr::new(rtp(phone).ip(), 4_001),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ptime_ms: 20,
        clock_ppm: 0,
        security: Security::Clear,
        answering: Answering {
            ring_ms: 300,
            early_media: EarlyMedia::No,
            code: StatusCode::OK,
        },
        ways: Ways::default(),
        voice: Voice::Coded(CodedVoice::new(phone as u8, 8_000 * phone as u64)),
        keep: Keep::Packets,
        seed: 7 + phone as u64,
    }
}

pub(super) fn code(code: u16) -> StatusCode {
    StatusCode::new(code).expect("a status code")
}

impl Pair {
    pub(super) fn new(change: impl Fn(usize, &mut PhoneSettings)) -> Self {
        let now = Instant::now();
        let phones = [0, 1, 2].map(|phone| {
            let mut settings = settings(phone);
            change(phone, &mut settings);
            Phone::new(settings)
        });
        let (wire, told, lost) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            now,
            began: now,
            phones,
            wire,
            number: 0,
            told,
            lost,
            messages: 0,
        }
    }

    pub(super) fn act(&mut self, phone: usize, action: Action) {
        self.give(phone, Input::Do(action));
    }

    pub(super) fn call(&mut self) {
        let uri: Uri = "sip:bert@example.org".parse().expect("a URI");
        self.act(0, Action::Call { uri });
    }

    pub(super) fn give(&mut self, phone: usize, input: Input) {
        let at = (self.now - self.began).as_millis() as u64;
        for output in self.phones[phone].handle(self.now, input) {
            let to = |address: SocketAddr| {
                let mut all = 0..3;
                let found = all.find(|phone| sip(*phone).ip() == address.ip());
                found.expect("nobody sends anything to a stranger")
            };
            let travelling = match output {
                Output::Event(event) => {
                    self.told.push((at, phone, event));
                    continue;
                }
                Output::Send { flow, bytes } => {
                    self.messages += 1;
                    if self.lost.contains(&self.messages) {
                        continue;
                    }
                    let back = Flow {
                        local: flow.peer,
                        peer: flow.local,
                        ..flow
                    };
                    Travelling::Sip(to(flow.peer), back, bytes)
                }
                Output::SendRtp { to: address, bytes } => Travelling::Rtp(to(address), bytes),
                Output::SendRtcp { to: address, bytes } => Travelling::Rtcp(to(address), bytes),
            };
            self.number += 1;
            self.wire.insert((self.now + WIRE, self.number), travelling);
        }
    }

    /// Lets time pass until `ms` after the beginning.
    pub(super) fn until(&mut self, ms: u64) {
        let end = self.began + Duration::from_millis(ms);
        loop {
            let due = self.phones.iter().filter_map(Phone::deadline).min();
            let arrives = self.wire.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = due
                .into_iter()
                .chain(arrives)
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = next.max(self.now);
            while let Some(first) = self
                .wire
                .first_entry()
                .filter(|first| first.key().0 <= self.now)
            {
                match first.remove() {
                    Travelling::Sip(to, flow, bytes) => self.give(to, Input::Sip { flow, bytes }),
                    Travelling::Rtp(to, bytes) => {
                        self.give(
                            to,
                            Input::Rtp {
                                arrived: self.now,
                                bytes,
                            },
                        );
                    }
                    Travelling::Rtcp(to, bytes) => self.give(to, Input::Rtcp { bytes }),
                }
            }
            for phone in 0..3 {
                if self.phones[phone]
                    .deadline()
                    .is_some_and(|at| at <= self.now)
                {
                    self.give(phone, Input::Deadline);
                }
            }
        }
        self.now = end;
    }

    /// What was told, one line each: `at_ms phone event`.
    pub(super) fn story(&self) -> String {
        let line = |(at, phone, event): &(u64, usize, PhoneEvent)| {
            format!("{at} {} {event:?}\n", ["anna", "bert", "cleo"][*phone])
        };
        self.told.iter().map(line).collect()
    }

    /// Every payload that one phone sent came to the other, in order.
    pub(super) fn assert_exact(&self) {
        for phone in 0..2 {
            let sent: Vec<_> = self.phones[phone]
                .sent()
                .iter()
                .map(|p| (p.timestamp, &p.payload))
                .collect();
            let heard: Vec<_> = self.phones[1 - phone]
                .ear()
                .packets()
                .iter()
                .map(|p| (p.timestamp, &p.payload))
                .collect();
            assert!(!sent.is_empty());
            assert!(heard == sent[..heard.len()] && sent.len() - heard.len() <= 1);
        }
    }
}
