//! Whatever happens in whatever order: every search ends once and in time, with hops that are ours,
//! each once, those to be avoided last; and nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use duolog_reach::hops::{
    Destination, Family, HopSettings, Hops, Host, Input, LocateId, LookupFailure, Naptr, Outcome,
    Output, QueryId, Question, Records, Srv,
};
use duolog_sip::Transport::{self, Tcp, Tls, Udp};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::zone::base;

const OURS: [(Transport, Family); 4] = [
    (Udp, Family::V4),
    (Tls, Family::V6),
    (Tcp, Family::V4),
    (Tls, Family::V4),
];

struct Chaos {
    random: ChaCha12Rng,
    hops: Hops,
    now: Instant,
    open: Vec<(QueryId, Question)>,
    searches: BTreeMap<LocateId, Instant>,
    seen: BTreeSet<QueryId>,
    last: u64,
}

impl Chaos {
    fn new(seed: u8) -> Self {
        let settings = HopSettings {
            transports: OURS.into(),
            ..HopSettings::default()
        };
        Self {
            random: ChaCha12Rng::from_seed([seed; 32]),
            hops: Hops::new(settings, [seed; 32]),
            now: base(),
            open: Vec::new(),
            searches: BTreeMap::new(),
            seen: BTreeSet::new(),
            last: 0,
        }
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.random.next_u32() % sides
    }

    fn name(&mut self) -> String {
        let word = ["a", "b", "_sip._udp.a", "_sip._tcp.b", "c", ".", "a..b"];
        let at = self.roll(word.len() as u32) as usize;
        format!("{}.test", word[at])
    }

    fn transport(&mut self) -> Transport {
        [Udp, Tcp, Tls][self.roll(3) as usize]
    }

    fn destination(&mut self) -> Destination {
        let host = match self.roll(6) {
            0 => Host::Address([192, 0, 2, self.roll(4) as u8].into()),
            _ => Host::Name(self.name()),
        };
        let transport = (self.roll(3) == 0).then(|| self.transport());
        let port = (self.roll(4) == 0).then_some(5070);
        Destination {
            host,
            port,
            transport,
        }
    }

    fn answer(&mut self, question: &Question) -> Result<Records, LookupFailure> {
        let ttl = Duration::from_secs(u64::from(self.roll(100)));
        let count = self.roll(5);
        let question = match self.roll(20) {
            0 => &Question::Srv(String::new()),
            _ => question,
        };
        match (self.roll(6), question) {
            (0, _) => Err(LookupFailure::Failed),
            (1, _) => Err(LookupFailure::Absent { ttl }),
            (_, Question::Naptr(_)) => {
                let services = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"];
                let record = |chaos: &mut Self| Naptr {
                    order: chaos.roll(2) as u16,
                    preference: chaos.roll(3) as u16,
                    flags: "s".into(),
                    service: services[chaos.roll(4) as usize].into(),
                    regexp: String::new(),
                    replacement: chaos.name(),
                };
                let records = (0..count).map(|_| record(self)).collect();
                Ok(Records::Naptr(records, ttl))
            }
            (_, Question::Srv(_)) => {
                let record = |chaos: &mut Self| Srv {
                    priority: chaos.roll(3) as u16,
                    weight: chaos.roll(4) as u16,
                    port: chaos.roll(3) as u16,
                    target: chaos.name(),
                };
                let records = (0..count).map(|_| record(self)).collect();
                Ok(Records::Srv(records, ttl))
            }
            (_, Question::Addresses { .. }) => {
                let v4 = |n: u32| [192, 0, 2, n as u8].into();
                let v6 = |n: u32| [0x2001, 0xdb8, 0, 0, 0, 0, 0, n as u16].into();
                let address = |chaos: &mut Self| match chaos.roll(2) {
                    0 => v4(chaos.roll(8)),
                    _ => v6(chaos.roll(8)),
                };
                let records = (0..count).map(|_| address(self)).collect();
                Ok(Records::Addresses(records, ttl))
            }
        }
    }

    fn step(&mut self) {
        let input = match self.roll(100) {
            0..30 => {
                self.last += 1;
                let (id, destination) = (LocateId(self.last), self.destination());
                self.searches.insert(id, self.now);
                Input::Locate { id, destination }
            }
            30..70 if !self.open.is_empty() => {
                let at = self.roll(self.open.len() as u32) as usize;
                let (id, question) = match self.roll(20) {
                    0 => self.open[at].clone(),
                    _ => self.open.swap_remove(at),
                };
                let answer = self.answer(&question);
                Input::Answer { id, answer }
            }
            70..80 => {
                let address = std::net::IpAddr::from([192, 0, 2, self.roll(8) as u8]);
                let hop = (self.transport(), (address, self.roll(3) as u16).into());
                let outcome = match self.roll(3) {
                    0 => Outcome::Answered,
                    1 => Outcome::Silent,
                    _ => Outcome::Unavailable((self.roll(2) == 0).then_some(20)),
                };
                Input::Outcome { hop, outcome }
            }
            80..82 => Input::Watch(self.destination()),
            _ => {
                let passed_ms = self.roll(2000);
                self.now += Duration::from_millis(passed_ms.into());
                Input::Deadline
            }
        };
        self.tell(input);
        self.due();
    }

    /// As a program does: deadlines are never far behind.
    fn due(&mut self) {
        while self.hops.deadline().is_some_and(|at| at <= self.now) {
            self.tell(Input::Deadline);
        }
    }

    fn tell(&mut self, input: Input) {
        // Other inputs may change what is avoided after they have located something.
        let is_search = matches!(input, Input::Locate { .. });
        for output in self.hops.handle(self.now, input) {
            match output {
                Output::Query { id, question } => {
                    assert!(self.seen.insert(id), "{id:?} twice");
                    let open = self.open.iter();
                    // It may have been given up meanwhile, never less than that.
                    let same = open.filter(|(_, other)| *other == question).count();
                    assert!(same < 50, "{question:?} is asked again and again");
                    self.open.push((id, question));
                }
                Output::Located { id, hops } => {
                    let began = self.searches.remove(&id).expect("it was begun, once");
                    assert!(self.now <= began + Duration::from_secs(7));
                    let places: Vec<_> = hops.iter().map(|h| (h.transport, h.address)).collect();
                    let each: BTreeSet<_> = places.iter().collect();
                    assert_eq!(each.len(), places.len(), "{places:?}");
                    let avoided = |at: &_| self.hops.is_avoided(self.now, *at);
                    let sorted = places.is_sorted_by_key(avoided);
                    assert!(sorted || !is_search, "{places:?}");
                    let ours = |(t, a): &(_, std::net::SocketAddr)| {
                        OURS.contains(&(*t, Family::of(a.ip())))
                    };
                    assert!(places.iter().all(ours), "{places:?}");
                }
                Output::Probe { hop } => assert!(!hop.address.ip().is_unspecified()),
            }
        }
    }
}

#[test]
fn whatever_happens_every_search_ends() {
    for seed in 0..20 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..3_000 {
            chaos.step();
        }
        // Nothing is answered any more.
        for _ in 0..20 {
            chaos.now += Duration::from_secs(1);
            chaos.due();
        }
        assert!(
            chaos.searches.is_empty(),
            "seed {seed}: {:?}",
            chaos.searches
        );
        assert!(chaos.hops.held() < 500, "{}", chaos.hops.held());
        assert!(chaos.last > 500 && chaos.seen.len() > 300, "seed {seed}");
    }
}
