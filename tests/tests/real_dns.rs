//! Next hops from a real name server (Debian `dnsmasq-base`) on a loopback address of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use duolog::signalling::Dns;
use duolog_reach::hops::{
    Destination, Family, HopSettings, Hops, Host, Input, LocateId, LookupFailure, Output, QueryId,
    Records,
};
use duolog_sip::Transport::{self, Tcp, Tls, Udp};
use duolog_tests::real::Site;
use duolog_tests::real::names::NameServer;
use duolog_tests::real::site::Wishes;

/// Longest time a name server on this machine takes, started late included.
const LATE: Duration = Duration::from_secs(20);

/// The example of RFC 3263 §4.1 and what else a zone may hold.
const ZONE: &[&str] = &[
    "--naptr-record=sip.test,50,50,s,SIPS+D2T,,_sips._tcp.sip.test",
    "--naptr-record=sip.test,90,50,s,SIP+D2T,,_sip._tcp.sip.test",
    "--naptr-record=sip.test,100,50,s,SIP+D2U,,_sip._udp.sip.test",
    "--naptr-record=sip.test,10,50,u,E2U+sip,!^.*$!sip:info@sip.test!",
    "--srv-host=_sips._tcp.sip.test,one.sip.test,5061,0,1",
    "--srv-host=_sip._tcp.sip.test,two.sip.test,5070,2,1",
    "--srv-host=_sip._tcp.sip.test,one.sip.test,5060,1,1",
    "--srv-host=_sip._udp.sip.test,two.sip.test,5060,1,0",
    "--srv-host=_sip._udp.sip.test,gone.sip.test,5060,0,0",
    "--srv-host=_sip._udp.sip.test,three.sip.test,5062,2,0",
    "--host-record=sip.test,192.0.2.99",
    "--host-record=one.sip.test,192.0.2.1,2001:db8::1",
    "--host-record=two.sip.test,192.0.2.2",
    "--host-record=three.sip.test,2001:db8::3",
    "--srv-host=_sip._udp.weights.test,a.weights.test,5060,0,60",
    "--srv-host=_sip._udp.weights.test,b.weights.test,5060,0,30",
    "--srv-host=_sip._udp.weights.test,c.weights.test,5060,0,10",
    "--host-record=a.weights.test,192.0.2.11",
    "--host-record=b.weights.test,192.0.2.12",
    "--host-record=c.weights.test,192.0.2.13",
    "--cname=alias.test,one.sip.test",
    "--srv-host=_sip._tcp.denied.test",
    "--host-record=denied.test,192.0.2.50",
];

struct Server {
    names: NameServer,
    _site: Site,
}

impl Server {
    fn start(zone: &[String]) -> Self {
        let site = Site::new(&Wishes::default());
        Self {
            names: NameServer::start(site.node(), zone),
            _site: site,
        }
    }

    fn with_zone() -> Self {
        let zone: Vec<String> = ZONE.iter().map(|line| (*line).to_owned()).collect();
        Self::start(&zone)
    }
}

/// `Hops` with a real resolver. Its time is real for the resolver, and whatever a test says for `Hops`.
struct Node {
    hops: Hops,
    dns: Dns,
    runtime: tokio::runtime::Runtime,
    answers: (Sender<Answer>, Receiver<Answer>),
    now: Instant,
    last: u64,
}

struct Answer(QueryId, Result<Records, LookupFailure>);

impl Node {
    fn new(server: SocketAddr, transports: &[(Transport, Family)]) -> Self {
        let settings = HopSettings {
            transports: transports.to_vec(),
            ..HopSettings::default()
        };
        Self {
            hops: Hops::new(settings, [9; 32]),
            dns: Dns::new(&[server], Duration::from_secs(5)).expect("a resolver"),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime"),
            answers: mpsc::channel(),
            now: Instant::now(),
            last: 0,
        }
    }

    /// Begins a search; its hops if they are known at once.
    fn begin(&mut self, to: &str) -> (LocateId, Option<Vec<String>>) {
        self.last += 1;
        let (id, destination) = (LocateId(self.last), destination(to));
        let mut located = self.tell(Input::Locate { id, destination });
        (id, located.remove(&id))
    }

    fn locate(&mut self, to: &str) -> Vec<String> {
        let (id, found) = self.begin(to);
        found.unwrap_or_else(|| self.wait().remove(&id).expect("the one that was begun"))
    }

    /// Takes answers until some search ends.
    fn wait(&mut self) -> BTreeMap<LocateId, Vec<String>> {
        loop {
            let Answer(id, answer) = self.answers.1.recv_timeout(LATE).expect("an answer");
            let located = self.tell(Input::Answer { id, answer });
            if !located.is_empty() {
                return located;
            }
        }
    }

    fn tell(&mut self, input: Input) -> BTreeMap<LocateId, Vec<String>> {
        let mut located = BTreeMap::new();
        for output in self.hops.handle(self.now, input) {
            match output {
                Output::Query { id, question } => {
                    let _inside = self.runtime.enter();
                    let answers = self.answers.0.clone();
                    self.dns.ask(id, question, move |id, answer| {
                        // The test may have ended.
                        let _ = answers.send(Answer(id, answer));
                    });
                }
                Output::Located { id, hops } => {
                    let text = |hop: &duolog_reach::hops::Hop| {
                        format!("{} {}", hop.transport.as_str(), hop.address)
                    };
                    located.insert(id, hops.iter().map(text).collect());
                }
                Output::Probe { .. } => panic!("nobody is watched"),
            }
        }
        located
    }
}

/// "tls:name:port", of which only the name must be there.
fn destination(text: &str) -> Destination {
    let known = [("udp:", Udp), ("tcp:", Tcp), ("tls:", Tls)];
    let found = known
        .iter()
        .find_map(|(word, transport)| Some((text.strip_prefix(word)?, Some(*transport))));
    let (rest, transport) = found.unwrap_or((text, None));
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

const V4: &[(Transport, Family)] = &[(Udp, Family::V4), (Tcp, Family::V4), (Tls, Family::V4)];

#[test]
fn rfc_3263_against_a_real_name_server() {
    let server = Server::with_zone();
    let both = [(Tcp, Family::V6), (Tcp, Family::V4), (Udp, Family::V6)];
    let two = [(Udp, Family::V4), (Tcp, Family::V4)];
    let udp = [(Udp, Family::V4)];
    let cases = [
        (V4, "sip.test", "TLS 192.0.2.1:5061"),
        (
            &two[..],
            "sip.test",
            "TCP 192.0.2.1:5060 | TCP 192.0.2.2:5070",
        ),
        (
            &both[..],
            "SIP.test.",
            "TCP [2001:db8::1]:5060 | TCP 192.0.2.1:5060 | TCP 192.0.2.2:5070",
        ),
        (&udp[..], "sip.test", "UDP 192.0.2.2:5060"),
        (V4, "udp:sip.test", "UDP 192.0.2.2:5060"),
        (&both[..], "udp:sip.test", "UDP [2001:db8::3]:5062"),
        (V4, "tls:sip.test", "TLS 192.0.2.1:5061"),
        (V4, "sip.test:5080", "UDP 192.0.2.99:5080"),
        (V4, "tcp:sip.test:5080", "TCP 192.0.2.99:5080"),
        (V4, "two.sip.test", "UDP 192.0.2.2:5060"),
        (V4, "tls:two.sip.test", "TLS 192.0.2.2:5061"),
        (V4, "three.sip.test", ""),
        (V4, "alias.test", "UDP 192.0.2.1:5060"),
        (
            &both[..],
            "tcp:alias.test",
            "TCP [2001:db8::1]:5060 | TCP 192.0.2.1:5060",
        ),
        (V4, "tcp:denied.test", ""),
        (V4, "udp:denied.test", "UDP 192.0.2.50:5060"),
        (V4, "nowhere.test", ""),
        (V4, "tls:nowhere.test", ""),
    ];
    for (transports, to, expected) in cases {
        let found = Node::new(server.names.address, transports).locate(to);
        assert_eq!(found.join(" | "), expected, "{to} over {transports:?}");
    }
}

#[test]
fn weights_share_servers_and_the_server_is_asked_once() {
    let mut server = Server::with_zone();
    let mut node = Node::new(server.names.address, &[(Udp, Family::V4)]);
    let mut firsts: BTreeMap<String, f64> = BTreeMap::new();
    for _ in 0..5_000 {
        let found = node.locate("weights.test");
        assert_eq!(found.len(), 3);
        *firsts.entry(found[0].clone()).or_default() += 1.0 / 5_000.0;
    }
    for (host, share) in [(11, 0.6), (12, 0.3), (13, 0.1)] {
        let found = firsts[&format!("UDP 192.0.2.{host}:5060")];
        assert!((found - share).abs() < 0.04, "{host}: {found}");
    }
    // NAPTR, SRV, three hosts; with the next question its log is complete.
    node.locate("nowhere.test");
    assert_eq!(server.names.asked("weights.test"), 5);
}

#[test]
fn what_a_server_said_outlives_it() {
    let mut server = Server::with_zone();
    let mut node = Node::new(server.names.address, V4);
    let found = node.locate("sip.test");
    assert_eq!(found, ["TLS 192.0.2.1:5061"]);
    server.names.process.kill();
    node.now += Duration::from_secs(3600);
    let (id, at_once) = node.begin("sip.test");
    assert_eq!(at_once, None);
    // A second is waited for something newer.
    node.now += Duration::from_secs(1);
    assert_eq!(node.tell(Input::Deadline), BTreeMap::from([(id, found)]));
    // What was never asked is nowhere, in the time that was set.
    let began = Instant::now();
    assert!(node.locate("weights.test:5060").is_empty());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn long_answers_come_whole_and_many_come_at_once() {
    // 28 records of one service, beyond 512 and beyond 1,232 bytes.
    let mut zone = Vec::new();
    for n in 0..28 {
        let host = format!("a-host-with-a-rather-long-name-{n}.and-a-long-domain.test");
        zone.push(format!(
            "--srv-host=_sip._udp.long.test,{host},{},{n},0",
            5060 + n
        ));
        zone.push(format!("--host-record={host},192.0.2.{}", 1 + n));
    }
    for n in 0..200 {
        zone.push(format!("--host-record=h{n}.many.test,192.0.3.{n}"));
    }
    let server = Server::start(&zone);
    let mut node = Node::new(server.names.address, &[(Udp, Family::V4)]);
    let expected: Vec<String> = (0..16)
        .map(|n| format!("UDP 192.0.2.{}:{}", 1 + n, 5060 + n))
        .collect();
    assert_eq!(node.locate("udp:long.test"), expected);

    let mut wanted = BTreeMap::new();
    for n in 0..200 {
        let (id, at_once) = node.begin(&format!("h{n}.many.test:5060"));
        assert_eq!(at_once, None);
        wanted.insert(id, vec![format!("UDP 192.0.3.{n}:5060")]);
    }
    let mut found = BTreeMap::new();
    while found.len() < wanted.len() {
        found.extend(node.wait());
    }
    assert_eq!(found, wanted);
}
