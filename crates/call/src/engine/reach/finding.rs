//! Where the party is that a route leads to: a configured address, the phones that registered, or the
//! addresses of a trunk's name.

use std::net::IpAddr;
use std::time::Instant;

use duolog_reach::hops::{self, Destination, Family, Hop, Host, LocateId, Outcome};
use duolog_sip::{Flow, Request, Uri};

use super::{Hint, Large, Reach, Wanted};
use crate::media::CallId;
use crate::number::escaped;
use crate::role::b2bua::leg::uri_at;
use crate::route::{NoRoute, Party, Route};
use crate::settings::{Contact, Location, Settings, TrunkIndex, UserIndex};
use crate::target::{AskId, Found, Reached, Target, Waves};

/// Who waits for a destination to be located.
pub(super) enum Waiting {
    /// A call that wants to know where its callee is.
    Call(CallId, AskId, Box<Route>),
    /// A registration of ours.
    Registration(TrunkIndex, Option<Box<Request>>),
}

impl Reach {
    /// Finds the callee of a route for a call; the answer is among what is wanted, at once or later.
    pub(in crate::engine) fn find(
        &mut self,
        now: Instant,
        settings: &Settings,
        (call, ask): (CallId, AskId),
        route: Route,
    ) -> Vec<Wanted> {
        let waves = match route.callee {
            Party::User(UserIndex(at)) => match settings.users[at].location {
                Location::At(contact) => at_contact(settings, &route, contact),
                Location::Registered => self.registered(now, &settings.users[at].name),
            },
            Party::Trunk(TrunkIndex(at)) => {
                let destination = settings.trunks[at].destination.clone();
                let waiting = Waiting::Call(call, ask, Box::new(route));
                return self.locate(now, settings, destination, waiting);
            }
        };
        let answer = waves.map(|waves| Box::new(found(route, waves)));
        vec![Wanted::Found(call, ask, answer)]
    }

    /// The phones of a user that have registered: all are asked at once.
    fn registered(&self, now: Instant, user: &str) -> Result<Waves, NoRoute> {
        let bindings = self.registrar.bindings(now, user).into_iter();
        let wave: Vec<Target> = bindings
            .map(|binding| Target {
                uri: binding.uri,
                flow: binding.flow,
                routes: binding.path,
            })
            .collect();
        match wave.is_empty() {
            true => Err(NoRoute::NotRegistered),
            false => Ok([wave].into()),
        }
    }

    /// Asks where a destination is.
    pub(super) fn locate(
        &mut self,
        now: Instant,
        settings: &Settings,
        destination: Destination,
        waiting: Waiting,
    ) -> Vec<Wanted> {
        self.last_locate += 1;
        let id = LocateId(self.last_locate);
        self.waiting.insert(id, waiting);
        self.hop_input(now, settings, hops::Input::Locate { id, destination })
    }

    /// A look-up has ended.
    pub(in crate::engine) fn resolved(
        &mut self,
        now: Instant,
        settings: &Settings,
        id: hops::QueryId,
        answer: Result<hops::Records, hops::LookupFailure>,
    ) -> Vec<Wanted> {
        self.hop_input(now, settings, hops::Input::Answer { id, answer })
    }

    /// What became of a request, for those that come after it.
    pub(in crate::engine) fn outcome(
        &mut self,
        now: Instant,
        settings: &Settings,
        flow: &Flow,
        reached: Reached,
    ) -> Vec<Wanted> {
        let outcome = match reached {
            Reached::Answered => Outcome::Answered,
            Reached::Silent => Outcome::Silent,
            Reached::Unavailable(retry_after_s) => Outcome::Unavailable(retry_after_s),
        };
        let hop = (flow.transport, flow.peer);
        self.hop_input(now, settings, hops::Input::Outcome { hop, outcome })
    }

    pub(super) fn hop_input(
        &mut self,
        now: Instant,
        settings: &Settings,
        input: hops::Input,
    ) -> Vec<Wanted> {
        use hops::Input::{Answer, Deadline, Locate, Outcome, Watch};
        let mut wanted = Vec::new();
        let may_move = match &input {
            Answer { .. } | Watch(_) | Deadline => true,
            Locate { .. } | Outcome { .. } => false,
        };
        let outputs = self.hops.handle(now, input);
        if may_move {
            self.neighbours.look_again(settings, &self.hops);
        }
        for output in outputs {
            match output {
                hops::Output::Query { id, question } => wanted.push(Wanted::Resolve(id, question)),
                hops::Output::Located { id, hops } => {
                    wanted.extend(self.located(now, settings, id, &hops));
                }
                hops::Output::Probe { hop } => {
                    self.remember(settings, &hop, None);
                    if let Some(flow) = flow_to(settings, &hop) {
                        wanted.push(self.probe(settings, flow));
                    }
                }
            }
        }
        wanted
    }

    fn located(
        &mut self,
        now: Instant,
        settings: &Settings,
        id: LocateId,
        hops: &[Hop],
    ) -> Vec<Wanted> {
        match self.waiting.remove(&id) {
            Some(Waiting::Call(call, ask, route)) => {
                let waves = self.along_hops(settings, &route, hops);
                let answer = waves.map(|waves| Box::new(found(*route, waves)));
                vec![Wanted::Found(call, ask, answer)]
            }
            Some(Waiting::Registration(trunk, request)) => {
                let flow = hops.iter().find_map(|hop| {
                    self.remember(settings, hop, Some(trunk));
                    flow_to(settings, hop)
                });
                self.registrar_found(now, settings, (trunk, flow), request)
            }
            None => Vec::new(),
        }
    }

    /// One wave for each address of a trunk.
    fn along_hops(
        &mut self,
        settings: &Settings,
        route: &Route,
        hops: &[Hop],
    ) -> Result<Waves, NoRoute> {
        let Party::Trunk(TrunkIndex(at)) = route.callee else {
            return Err(NoRoute::NoAddress);
        };
        if hops.is_empty() {
            return Err(NoRoute::NoAddress);
        }
        let destination = &settings.trunks[at].destination;
        let target = |hop: &Hop| {
            let uri = uri_to(destination, &escaped(&route.dialled), hop);
            let (flow, routes) = (flow_to(settings, hop)?, Vec::new());
            Some(vec![Target { uri, flow, routes }])
        };
        let waves: Waves = hops.iter().filter_map(target).collect();
        for hop in hops {
            self.remember(settings, hop, Some(TrunkIndex(at)));
        }
        match waves.is_empty() {
            true => Err(NoRoute::NoTransport),
            false => Ok(waves),
        }
    }

    /// Keeps what is needed to connect to an address that a name led to.
    fn remember(&mut self, settings: &Settings, hop: &Hop, trunk: Option<TrunkIndex>) {
        let (key, name) = ((hop.transport, hop.address), hop.name.clone());
        // As many as trunks have addresses; beyond that somebody's zone is not to be trusted.
        if !self.hints.contains_key(&key) && self.hints.len() >= HINTS {
            self.hints.pop_first();
        }
        let before = self.hints.get(&key);
        let trunk = trunk.or_else(|| before.and_then(|hint| hint.trunk));
        let large = match trunk.map(|TrunkIndex(at)| settings.trunks[at].destination.transport) {
            Some(None) => Large::OverTcp,
            Some(Some(_)) | None => Large::AsTheyAre,
        };
        let hint = Hint { name, large, trunk };
        self.hints.insert(key, hint);
    }
}

/// Most addresses whose names are kept.
const HINTS: usize = 4096;

fn at_contact(settings: &Settings, route: &Route, contact: Contact) -> Result<Waves, NoRoute> {
    let Contact { addr, transport } = contact;
    let local = settings.local.on(transport, addr.ip());
    let flow = Flow {
        transport,
        local: local.ok_or(NoRoute::NoTransport)?,
        peer: addr,
    };
    let uri = uri_at(Some(&escaped(&route.dialled)), addr, transport);
    let routes = Vec::new();
    Ok([vec![Target { uri, flow, routes }]].into())
}

/// The number at the trunk as it is configured: by name where it has one.
fn uri_to(destination: &Destination, number: &str, hop: &Hop) -> Uri {
    match &destination.host {
        Host::Address(_) => uri_at(Some(number), hop.address, hop.transport),
        Host::Name(name) => {
            let mut uri = Uri::sip(Some(number), name, destination.port);
            match destination.transport {
                None => {}
                Some(transport) => {
                    let word = transport.as_str().to_ascii_lowercase();
                    uri.params.set("transport", Some(&word));
                }
            }
            uri
        }
    }
}

fn flow_to(settings: &Settings, hop: &Hop) -> Option<Flow> {
    Some(Flow {
        transport: hop.transport,
        local: settings.local.on(hop.transport, hop.address.ip())?,
        peer: hop.address,
    })
}

fn found(route: Route, waves: Waves) -> Found {
    Found {
        callee: route.callee,
        number: route.number,
        waves,
    }
}

/// The family of an address.
pub(super) fn family(address: IpAddr) -> Family {
    match address.to_canonical() {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use duolog_sip::Transport;

    use super::*;
    use crate::testing::settings;

    const HOST: &str = "198.51.100.7:5060";

    /// The first trunk is known by a name, over whatever transport.
    fn named() -> Settings {
        let mut settings = settings();
        settings.trunks[0].destination = Destination {
            host: Host::Name("sbc.example.net".into()),
            port: None,
            transport: None,
        };
        settings.trunks[1].networks = vec!["203.0.113.0/24".parse().unwrap()];
        settings
    }

    fn reach(settings: &Settings) -> Reach {
        Reach::new(settings, [[1; 32], [2; 32], [3; 32], [4; 32]])
    }

    fn udp(peer: &str) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: "192.0.2.99:5060".parse().unwrap(),
            peer: peer.parse().unwrap(),
        }
    }

    #[test]
    fn an_option_on_the_way_does_not_change_how_large_requests_go() {
        let settings = named();
        let mut reach = reach(&settings);
        let address: SocketAddr = HOST.parse().unwrap();
        let hop = Hop {
            transport: Transport::Udp,
            address,
            name: Some(Arc::from("sbc.example.net")),
        };
        let (flow, trunk) = (udp(HOST), TrunkIndex(0));
        assert_eq!(reach.larger(&settings, &flow), None);
        for trunk in [Some(trunk), None] {
            reach.remember(&settings, &hop, trunk);
            let larger = reach.larger(&settings, &flow).expect("over TCP");
            assert_eq!((larger.transport, larger.peer), (Transport::Tcp, address));
            assert_eq!(reach.trunk_on(&flow), Some(TrunkIndex(0)));
        }
        // A trunk with a transport of its own has that one only.
        reach.remember(&settings, &hop, Some(TrunkIndex(1)));
        assert_eq!(reach.larger(&settings, &flow), None);
    }

    #[test]
    fn names_of_hops_are_bounded_and_a_known_one_pushes_none_out() {
        let settings = named();
        let mut reach = reach(&settings);
        let hop = |n: u32| Hop {
            transport: Transport::Udp,
            address: SocketAddr::new(n.to_be_bytes().into(), 5060),
            name: None,
        };
        for n in 1..=5000 {
            reach.remember(&settings, &hop(n), None);
        }
        assert_eq!(reach.hints.len(), HINTS);
        for _ in 0..10 {
            reach.remember(&settings, &hop(5000), None);
        }
        assert_eq!(reach.hints.len(), HINTS);
    }

    /// How many INVITEs in a row pass from there.
    fn passes(reach: &mut Reach, now: Instant, peer: &str) -> usize {
        let strangers = 20;
        (0..strangers * 2)
            .filter(|_| reach.door(now, &udp(peer), b"\r\nINVITE x") == super::super::Door::Open)
            .count()
    }

    #[test]
    fn who_is_configured_is_a_neighbour_and_a_name_once_it_is_found() {
        let settings = named();
        let mut reach = reach(&settings);
        let mut now = settings.epoch.at;
        for (peer, expected) in [
            ("192.0.2.20:9", 40),
            ("192.0.2.10:9", 40),
            ("203.0.113.77:9", 40),
            ("203.0.114.77:9", 20),
            ("192.0.2.1:9", 20),
            (HOST, 20),
        ] {
            assert_eq!(passes(&mut reach, now, peer), expected, "{peer}");
        }
        let mut wanted = reach.due(now, &settings);
        while let Some(one) = wanted.pop() {
            let Wanted::Resolve(id, question) = one else {
                continue;
            };
            let ttl = Duration::from_secs(60);
            let answer = match question {
                hops::Question::Naptr(_) => hops::Records::Naptr(Vec::new(), ttl),
                hops::Question::Srv(_) => hops::Records::Srv(Vec::new(), ttl),
                hops::Question::Addresses { .. } => {
                    hops::Records::Addresses(vec![[198, 51, 100, 7].into()], ttl)
                }
            };
            wanted.extend(reach.resolved(now, &settings, id, Ok(answer)));
        }
        now += Duration::from_millis(1);
        assert_eq!(passes(&mut reach, now, HOST), 40);
    }
}
