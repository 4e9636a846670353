//! A DNS made of text, and the `Hops` that ask it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use duolog_reach::hops::{
    Destination, Family, Hop, HopSettings, Hops, Host, Input, LocateId, LookupFailure, Naptr,
    Outcome, Output, Question, Records, Srv,
};
use duolog_sip::Transport;

/// How the DNS is while it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dns {
    /// It answers at once.
    Up,
    /// It never answers.
    Silent,
    /// It answers with failures.
    Broken,
}

/// `Hops`, a zone, a clock.
pub struct World {
    pub hops: Hops,
    pub dns: Dns,
    pub asked: Vec<Question>,
    pub probes: Vec<String>,
    zone: Vec<Vec<String>>,
    began: Instant,
    pub now: Instant,
    last: u64,
}

#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
pub fn base() -> Instant {
    Instant::now()
}

pub const ALL: &str = "udp tcp tls";

impl World {
    /// A node with `transports` ("udp tcp6"; without a digit: IPv4) and a zone of lines: `name type
    /// fields`, TTL 60 s unless a number stands before the type.
    pub fn new(transports: &str, zone: &str) -> Self {
        Self::seeded(transports, zone, 1)
    }

    pub fn seeded(transports: &str, zone: &str, seed: u8) -> Self {
        let settings = HopSettings {
            transports: transports.split_whitespace().map(own).collect(),
            ..HopSettings::default()
        };
        let now = base();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Self {
            hops: Hops::new(settings, [seed; 32]),
            dns: Dns::Up,
            asked: Vec::new(),
            probes: Vec::new(),
            zone: zone.lines().map(words).collect(),
            began: now,
            now,
            last: 0,
        }
    }

    pub fn set_zone(&mut self, zone: &str) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        self.zone = zone.lines().map(words).collect();
    }

    /// Where a destination ("name", "udp:name", "name:5070", "tls:192.0.2.1:5071") is, as text; time
    /// goes on until it is known.
    pub fn locate(&mut self, destination: &str) -> Vec<String> {
        self.locate_hops(destination).iter().map(text).collect()
    }

    pub fn locate_hops(&mut self, to: &str) -> Vec<Hop> {
        self.last += 1;
        let id = LocateId(self.last);
        let destination = destination(to);
        let mut located = self.tell(Input::Locate { id, destination });
        while located.is_empty() {
            let deadline = self.hops.deadline().expect("a search has a deadline");
            self.now = deadline.max(self.now);
            located = self.tell(Input::Deadline);
        }
        assert_eq!(located.len(), 1);
        let (answered, hops) = located.remove(0);
        assert_eq!(answered, id);
        hops
    }

    /// Since the beginning, in milliseconds.
    pub fn at_ms(&self) -> u128 {
        (self.now - self.began).as_millis()
    }

    /// Lets time pass; what is due is done at its time.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.hops.deadline().filter(|d| *d <= end) {
            self.now = deadline.max(self.now);
            self.tell(Input::Deadline);
        }
        self.now = end;
    }

    pub fn outcome(&mut self, hop: &str, outcome: Outcome) {
        let Destination {
            host: Host::Address(address),
            port: Some(port),
            transport: Some(transport),
        } = destination(hop)
        else {
            panic!("{hop} is no hop")
        };
        let hop = (transport, SocketAddr::new(address, port));
        self.tell(Input::Outcome { hop, outcome });
    }

    pub fn watch(&mut self, to: &str) {
        self.tell(Input::Watch(destination(to)));
    }

    pub fn addresses(&self, to: &str) -> Vec<String> {
        let destination = destination(to);
        let addresses = self.hops.addresses(&destination);
        addresses.map(|address| address.to_string()).collect()
    }

    /// Gives an input and answers every query that follows.
    pub fn tell(&mut self, input: Input) -> Vec<(LocateId, Vec<Hop>)> {
        let mut inputs = VecDeque::from([input]);
        let mut located = Vec::new();
        while let Some(input) = inputs.pop_front() {
            for output in self.hops.handle(self.now, input) {
                match output {
                    Output::Query { id, question } => {
                        let answer = self.answer(&question);
                        self.asked.push(question);
                        match self.dns {
                            Dns::Silent => {}
                            Dns::Broken => {
                                let answer = Err(LookupFailure::Failed);
                                inputs.push_back(Input::Answer { id, answer });
                            }
                            Dns::Up => inputs.extend(
                                (answer != Ok(never())).then_some(Input::Answer { id, answer }),
                            ),
                        }
                    }
                    Output::Located { id, hops } => located.push((id, hops)),
                    Output::Probe { hop } => self.probes.push(text(&hop)),
                }
            }
        }
        located
    }

    fn answer(&self, question: &Question) -> Result<Records, LookupFailure> {
        let (name, kinds): (&str, &[&str]) = match question {
            Question::Naptr(name) => (name, &["NAPTR"]),
            Question::Srv(name) => (name, &["SRV"]),
            Question::Addresses { name, family } => match family {
                Some(Family::V4) => (name, &["A"]),
                Some(Family::V6) => (name, &["AAAA"]),
                None => (name, &["A", "AAAA"]),
            },
        };
        let mut found = Vec::new();
        let mut ttl = Duration::from_secs(60);
        for line in self.zone.iter().filter(|l| !l.is_empty() && l[0] == name) {
            let mut words = &line[1..];
            match words[0].as_str() {
                "FAILS" => return Err(LookupFailure::Failed),
                "SILENT" => return Ok(never()),
                _ => {}
            }
            if let Ok(ttl_s) = words[0].parse() {
                ttl = Duration::from_secs(ttl_s);
                words = &words[1..];
            }
            if words[0] == "SRVFAILS" && kinds == ["SRV"] {
                return Err(LookupFailure::Failed);
            }
            if kinds.contains(&words[0].as_str()) {
                found.push(words[1..].to_vec());
            }
        }
        match (question, found.is_empty()) {
            (_, true) => Err(LookupFailure::Absent { ttl }),
            (Question::Naptr(_), _) => Ok(Records::Naptr(
                found.iter().map(|w| naptr(w)).collect(),
                ttl,
            )),
            (Question::Srv(_), _) => Ok(Records::Srv(found.iter().map(|w| srv(w)).collect(), ttl)),
            (Question::Addresses { .. }, _) => {
                let address = |words: &Vec<String>| words[0].parse().expect("an address");
                Ok(Records::Addresses(found.iter().map(address).collect(), ttl))
            }
        }
    }
}

/// Stands for an answer that does not come.
fn never() -> Records {
    Records::Addresses(Vec::new(), Duration::ZERO)
}

fn naptr(words: &[String]) -> Naptr {
    Naptr {
        order: words[0].parse().expect("an order"),
        preference: words[1].parse().expect("a preference"),
        flags: words[2].clone(),
        service: words[3].clone(),
        regexp: String::new(),
        replacement: words[4].clone(),
    }
}

fn srv(words: &[String]) -> Srv {
    Srv {
        priority: words[0].parse().expect("a priority"),
        weight: words[1].parse().expect("a weight"),
        port: words[2].parse().expect("a port"),
        target: words[3].clone(),
    }
}

fn own(word: &str) -> (Transport, Family) {
    let (word, family) = match word.strip_suffix('6') {
        Some(word) => (word, Family::V6),
        None => (word, Family::V4),
    };
    (transport(word).expect("a transport"), family)
}

fn transport(word: &str) -> Option<Transport> {
    match word {
        "udp" => Some(Transport::Udp),
        "tcp" => Some(Transport::Tcp),
        "tls" => Some(Transport::Tls),
        _ => None,
    }
}

/// A destination as text.
pub fn destination(text: &str) -> Destination {
    let (transport, rest) = match text.split_once(':') {
        Some((word, rest)) if transport(word).is_some() => (transport(word), rest),
        _ => (None, text),
    };
    if let Ok(address) = rest.parse::<IpAddr>() {
        return Destination {
            host: Host::Address(address),
            port: None,
            transport,
        };
    }
    if let Ok(address) = rest.parse::<SocketAddr>() {
        return Destination {
            host: Host::Address(address.ip()),
            port: Some(address.port()),
            transport,
        };
    }
    let (name, port) = match rest.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().expect("a port"))),
        None => (rest, None),
    };
    Destination {
        host: Host::Name(name.to_owned()),
        port,
        transport,
    }
}

/// A hop as text.
pub fn text(hop: &Hop) -> String {
    format!("{}:{}", hop.transport.as_str().to_lowercase(), hop.address)
}
