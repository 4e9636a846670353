//! Handshakes in virtual time, over a network that loses and displaces, and with OpenSSL.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use duolog_rtp::dtls::{DtlsError, Fingerprint, Handshake, Identity, Keys, Role, is_dtls};
use duolog_rtp::srtp::{Protector, Suite, Unprotector};

/// Any instant; tests only add to it.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn start() -> Instant {
    Instant::now()
}

fn identity() -> Identity {
    Identity::generate().expect("a certificate")
}

fn fingerprint(identity: &Identity) -> Fingerprint {
    format!("sha-256 {}", identity.fingerprint())
        .parse()
        .expect("our own fingerprint")
}

/// Xorshift64*: the same numbers for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// What a network does to datagrams.
struct Network {
    random: Numbers,
    loss_percent: u64,
    /// Every datagram needs 20 ms and up to this much more.
    jitter_ms: u64,
    /// Of a hundred datagrams this many are changed.
    broken_percent: u64,
}

impl Network {
    fn clean() -> Network {
        Network {
            random: Numbers(1),
            loss_percent: 0,
            jitter_ms: 0,
            broken_percent: 0,
        }
    }
}

/// What came of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Keys(Keys),
    Error(DtlsError),
}

/// A datagram on its way, the next to arrive first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    due: Instant,
    number: u64,
    to: usize,
    datagram: Vec<u8>,
}

struct World {
    now: Instant,
    sides: [Handshake; 2],
    ends: [Option<End>; 2],
    network: Network,
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
}

impl World {
    fn new(sides: [Handshake; 2], now: Instant, network: Network) -> World {
        World {
            now,
            sides,
            ends: [None, None],
            network,
            flying: BinaryHeap::new(),
            sent: 0,
        }
    }

    fn send(&mut self) {
        for from in 0..2 {
            while let Some(mut datagram) = self.sides[from].datagram() {
                assert!(is_dtls(&datagram) && datagram.len() <= 1200);
                let random = &mut self.network.random;
                self.sent += 1;
                if random.below(100) < self.network.loss_percent {
                    continue;
                }
                if random.below(100) < self.network.broken_percent {
                    let at = random.below(datagram.len() as u64) as usize;
                    datagram[at] ^= 1 << random.below(8);
                }
                let delay = 20 + random.below(self.network.jitter_ms + 1);
                let due = self.now + Duration::from_millis(delay);
                self.flying.push(Reverse(Flying {
                    due,
                    number: self.sent,
                    to: 1 - from,
                    datagram,
                }));
            }
        }
    }

    fn note(&mut self, side: usize, outcome: Result<Option<Keys>, DtlsError>) {
        match outcome {
            Ok(None) => {}
            Ok(Some(keys)) => {
                assert_eq!(self.ends[side], None, "keys come once");
                self.ends[side] = Some(End::Keys(keys));
            }
            Err(error) => {
                assert!(!matches!(self.ends[side], Some(End::Keys(_))), "{error}");
                self.ends[side] = Some(End::Error(error));
            }
        }
    }

    /// The next thing that happens; `false` when nothing will.
    fn step(&mut self) -> bool {
        self.send();
        let datagram = self.flying.peek().map(|Reverse(next)| next.due);
        let timer = |side: usize| self.sides[side].deadline();
        let timers = [timer(0), timer(1)];
        let Some(next) = timers.into_iter().chain([datagram]).flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        if datagram == Some(next) {
            if let Some(Reverse(Flying { to, datagram, .. })) = self.flying.pop() {
                let outcome = self.sides[to].handle(self.now, &datagram);
                self.note(to, outcome);
            }
        } else {
            let side = usize::from(timers[0] != Some(next));
            let outcome = self.sides[side].handle_timeout(self.now);
            self.note(side, outcome);
        }
        true
    }

    fn run(mut self) -> [Option<End>; 2] {
        for _ in 0..10_000 {
            if self.ends.iter().all(Option::is_some) || !self.step() {
                return self.ends;
            }
        }
        panic!("the handshake never ends");
    }
}

/// Active and passive, each knowing the other's fingerprint.
fn sides(now: Instant, active: &Identity, passive: &Identity) -> [Handshake; 2] {
    [
        Handshake::new(Role::Active, active, fingerprint(passive), now),
        Handshake::new(Role::Passive, passive, fingerprint(active), now),
    ]
}

fn assert_agreed(ends: &[Option<End>; 2]) {
    let [Some(End::Keys(active)), Some(End::Keys(passive))] = ends else {
        panic!("no keys: {ends:?}");
    };
    assert_eq!(active.ours, passive.theirs);
    assert_eq!(active.theirs, passive.ours);
    assert_ne!(active.ours, active.theirs);
    assert_eq!(active.ours.suite(), Suite::AeadAes256Gcm);
}

#[test]
fn both_sides_get_keys_that_work() {
    let (active, passive) = (identity(), identity());
    let now = start();
    let mut world = World::new(sides(now, &active, &passive), now, Network::clean());
    while world.ends.iter().any(Option::is_none) {
        assert!(world.step());
    }
    // Three flights of 20 ms (no cookie) and the last one.
    assert_eq!(world.now - now, Duration::from_millis(80));
    for side in &world.sides {
        assert_eq!(
            side.deadline(),
            None,
            "nothing is waited for after the keys"
        );
    }
    assert_agreed(&world.ends);
    let [Some(End::Keys(active)), Some(End::Keys(passive))] = world.ends else {
        unreachable!("checked above");
    };
    let mut protector = Protector::new(&active.ours).expect("a protector");
    let mut unprotector = Unprotector::new(&passive.theirs).expect("an unprotector");
    let plain = [[0x80, 0, 0, 7].as_slice(), &[9; 168]].concat();
    let mut packet = plain.clone();
    protector.rtp(&mut packet).expect("protected");
    assert_eq!(unprotector.rtp(&mut packet), Ok(172));
    assert_eq!(packet[..172], plain);
}

#[test]
fn identities() {
    let (one, other) = (identity(), identity());
    assert_eq!(one.fingerprint(), one.clone().fingerprint());
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert_eq!(one.fingerprint().len(), 32 * 3 - 1);
    assert_eq!(one.fingerprint(), one.fingerprint().to_uppercase());
    assert_eq!(
        format!("{one:?}"),
        format!("Identity({:?})", one.fingerprint())
    );
}

/// How many of 60 handshakes end in keys. The times between repetitions are random inside `dimpl`, so
/// a few of those with much loss may run out of time; what may not be is a disagreement.
fn check_loss(loss_percent: u64, at_least: usize, median_ms: u128) {
    let (active, passive) = (identity(), identity());
    let mut took = Vec::new();
    for seed in 1..=60 {
        let now = start();
        let network = Network {
            random: Numbers(seed * 0x9e37_79b9),
            loss_percent,
            jitter_ms: 60,
            broken_percent: 0,
        };
        let mut world = World::new(sides(now, &active, &passive), now, network);
        while world.ends.iter().any(Option::is_none) && world.step() {}
        if world.ends.contains(&Some(End::Error(DtlsError::Timeout))) {
            continue;
        }
        assert_agreed(&world.ends);
        took.push((world.now - now).as_millis());
    }
    took.sort_unstable();
    assert!(
        took.len() >= at_least,
        "{loss_percent} %: {} of 60",
        took.len()
    );
    assert!(
        took[took.len() / 2] < median_ms,
        "{loss_percent} %: {took:?}"
    );
}

#[test]
fn loss_and_disorder() {
    check_loss(0, 60, 300);
    check_loss(10, 58, 500);
    check_loss(30, 56, 1500);
}

/// Damage is noise: what is not authentic is dropped and repeated, or the handshake ends with an error;
/// no side ever has keys that the other has not.
#[test]
fn broken_datagrams() {
    let (active, passive) = (identity(), identity());
    let mut agreed = 0;
    for seed in 1..=150 {
        let now = start();
        let network = Network {
            random: Numbers(seed * 0x5851_f42d),
            loss_percent: 5,
            jitter_ms: 30,
            broken_percent: 30,
        };
        let ends = World::new(sides(now, &active, &passive), now, network).run();
        if let [Some(End::Keys(one)), Some(End::Keys(other))] = &ends {
            assert_eq!(one.ours, other.theirs, "seed {seed}");
            assert_eq!(one.theirs, other.ours, "seed {seed}");
            agreed += 1;
        }
    }
    assert!(agreed > 15, "{agreed}");
}

#[test]
fn noise_before_and_after() {
    let (active, passive) = (identity(), identity());
    let now = start();
    let mut sides = sides(now, &active, &passive);
    let mut random = Numbers(77);
    let mut noise = |side: &mut Handshake, rounds| {
        for _ in 0..rounds {
            let octets = random.below(200);
            let mut datagram: Vec<u8> = (0..octets).map(|_| random.below(256) as u8).collect();
            if let Some(first) = datagram.first_mut() {
                *first = 20 + (*first & 3);
            }
            assert_eq!(side.handle(now, &datagram), Ok(None));
        }
    };
    noise(&mut sides[1], 300);
    let mut world = World::new(sides, now, Network::clean());
    while world.ends.iter().any(Option::is_none) {
        assert!(world.step());
    }
    assert_agreed(&world.ends);
    noise(&mut world.sides[0], 300);
    noise(&mut world.sides[1], 300);
}

fn check_wrong_fingerprint(of_active: &Identity, of_passive: &Identity, wrong: usize) {
    let (active, passive) = (identity(), identity());
    let now = start();
    let promised = |side: usize, own: &Identity, other: &Identity| {
        fingerprint(if side == wrong { other } else { own })
    };
    let sides = [
        Handshake::new(
            Role::Active,
            &active,
            promised(0, &passive, of_passive),
            now,
        ),
        Handshake::new(
            Role::Passive,
            &passive,
            promised(1, &active, of_active),
            now,
        ),
    ];
    let mut world = World::new(sides, now, Network::clean());
    while world.step() {}
    assert_eq!(world.ends[wrong], Some(End::Error(DtlsError::Fingerprint)));
    assert!(
        !matches!(world.ends[1 - wrong], Some(End::Keys(_))),
        "the betrayed side stays silent, so the other has no keys either: {:?}",
        world.ends
    );
    let late = world.now + Duration::from_secs(1);
    let refused = Err(DtlsError::Fingerprint);
    assert_eq!(world.sides[wrong].handle(late, &[22, 254, 253]), refused);
    assert_eq!(world.sides[wrong].handle_timeout(late), refused);
    assert_eq!(world.sides[wrong].deadline(), None);
    assert_eq!(world.sides[wrong].datagram(), None);
}

#[test]
fn wrong_fingerprint_never_gives_keys() {
    let (one, other) = (identity(), identity());
    check_wrong_fingerprint(&one, &other, 0);
    check_wrong_fingerprint(&one, &other, 1);
}

#[test]
fn silence_times_out() {
    let (active, passive) = (identity(), identity());
    for (role, seconds) in [(Role::Active, 30), (Role::Passive, 60)] {
        let now = start();
        let mut side = Handshake::new(role, &active, fingerprint(&passive), now);
        let mut sent = 0;
        let (mut at, mut outcome) = (now, Ok(None));
        while outcome == Ok(None) {
            while side.datagram().is_some() {
                sent += 1;
            }
            at = side.deadline().expect("something is waited for");
            outcome = side.handle_timeout(at);
        }
        assert_eq!(outcome, Err(DtlsError::Timeout));
        assert_eq!(at - now, Duration::from_secs(seconds));
        // 100 ms, then twice as long each time, a quarter more or less.
        let expected = if role == Role::Active { 8..=10 } else { 0..=0 };
        assert!(expected.contains(&sent), "{sent}");
        assert_eq!(side.handle_timeout(at), Err(DtlsError::Timeout));
    }
}

/// The passive side's last flight is lost: the active side repeats its own and is answered, although
/// the passive side has its keys already.
#[test]
fn a_lost_last_flight_is_repeated() {
    let (active, passive) = (identity(), identity());
    let now = start();
    let mut world = World::new(sides(now, &active, &passive), now, Network::clean());
    while world.ends[1].is_none() {
        assert!(world.step());
    }
    while world.sides[1].datagram().is_some() {}
    assert_eq!(world.ends[0], None);
    while world.ends[0].is_none() {
        assert!(world.step());
    }
    assert_agreed(&world.ends);
}

#[test]
fn first_octet() {
    for (first, expected) in [
        (19, false),
        (20, true),
        (22, true),
        (63, true),
        (64, false),
        (128, false),
    ] {
        assert_eq!(is_dtls(&[first, 0, 0]), expected);
    }
    assert!(!is_dtls(&[]));
}

/// OpenSSL as the peer, over loopback, both ways.
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "another implementation is reached over loopback, in real time"
)]
mod openssl {
    use std::io::Read;
    use std::net::{SocketAddr, UdpSocket};
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A self-signed certificate made by OpenSSL: key file, certificate file, fingerprint.
    struct Certificate {
        key: PathBuf,
        certificate: PathBuf,
        fingerprint: String,
    }

    impl Certificate {
        fn generate(directory: &std::path::Path) -> Certificate {
            let (key, certificate) = (directory.join("key.pem"), directory.join("cert.pem"));
            let made = Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
                .args([
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-subj",
                    "/CN=peer",
                    "-days",
                    "2",
                ])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate)
                .stderr(Stdio::null())
                .status()
                .expect("openssl (Debian package of that name) can be started");
            assert!(made.success());
            let shown = Command::new("openssl")
                .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
                .arg(&certificate)
                .output()
                .expect("openssl shows the fingerprint");
            let shown = String::from_utf8(shown.stdout).expect("text");
            let (_, octets) = shown.trim().split_once('=').expect("name=octets");
            Certificate {
                key,
                certificate,
                fingerprint: format!("sha-256 {octets}"),
            }
        }
    }

    /// The key material that `-keymatexport` prints: RFC 5764 §4.2 as OpenSSL sees it.
    fn exported(text: &str) -> Vec<u8> {
        let hex = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Keying material: "))
            .unwrap_or_else(|| panic!("no key material in {text}"));
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    fn start_openssl(
        command: &str,
        port: u16,
        with: &Certificate,
        profiles: Option<&str>,
    ) -> Child {
        let mut openssl = Command::new("openssl");
        openssl.args([command, "-dtls1_2"]);
        openssl.args([
            "-keymatexport",
            "EXTRACTOR-dtls_srtp",
            "-keymatexportlen",
            "88",
        ]);
        if let Some(profiles) = profiles {
            openssl.args(["-use_srtp", profiles]);
        }
        openssl.arg("-cert").arg(&with.certificate);
        openssl.arg("-key").arg(&with.key);
        let address = format!("127.0.0.1:{port}");
        match command {
            "s_server" => openssl.args(["-verify", "1", "-accept", &address]),
            _ => openssl.args(["-connect", &address]),
        };
        openssl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl can be started")
    }

    /// Drives the handshake to its end.
    fn drive(
        handshake: &mut Handshake,
        socket: &UdpSocket,
        mut to: Option<SocketAddr>,
    ) -> Result<Keys, DtlsError> {
        let mut buffer = [0; 2048];
        let mut keys = None;
        loop {
            while let Some(datagram) = handshake.datagram() {
                let to = to.expect("the passive side answers");
                // Nobody listens before OpenSSL is up; the repetition gets there.
                let _ = socket.send_to(&datagram, to);
            }
            if let Some(keys) = keys {
                return Ok(keys);
            }
            let due = handshake.deadline().expect("something is waited for");
            let wait = due.saturating_duration_since(Instant::now());
            let wait = wait.max(Duration::from_millis(1));
            socket.set_read_timeout(Some(wait)).expect("a time-out");
            keys = match socket.recv_from(&mut buffer) {
                Ok((octets, from)) => {
                    to = Some(from);
                    handshake.handle(Instant::now(), &buffer[..octets])?
                }
                Err(_) => handshake.handle_timeout(Instant::now())?,
            };
        }
    }

    /// A handshake with OpenSSL in the other role; what it exported is compared when there are keys.
    fn run(role: Role, port: u16, profiles: Option<&str>) -> Result<Suite, DtlsError> {
        assert!(port < 32_768);
        let directory = std::env::temp_dir().join(format!("duolog-dtls-{port}"));
        std::fs::create_dir_all(&directory).expect("a directory");
        let certificate = Certificate::generate(&directory);
        let (socket, command) = match role {
            Role::Active => (UdpSocket::bind("127.0.0.1:0"), "s_server"),
            Role::Passive => (UdpSocket::bind(("127.0.0.1", port)), "s_client"),
        };
        let socket = socket.expect("a socket");
        let mut openssl = start_openssl(command, port, &certificate, profiles);
        let peer = certificate.fingerprint.parse().expect("a fingerprint");
        let mut handshake = Handshake::new(role, &identity(), peer, Instant::now());
        let to = (role == Role::Active).then(|| ([127, 0, 0, 1], port).into());
        let outcome = drive(&mut handshake, &socket, to);
        let text = outcome.is_ok().then(|| read_until_exported(&mut openssl));
        openssl.kill().expect("our own process");
        openssl.wait().expect("openssl ends");
        std::fs::remove_dir_all(&directory).expect("removed");
        outcome.map(|keys| check_keys(role, &keys, &exported(&text.unwrap_or_default())))
    }

    fn read_until_exported(openssl: &mut Child) -> String {
        let mut text = String::new();
        let mut stdout = openssl.stdout.take().expect("piped");
        let mut buffer = [0; 1024];
        loop {
            let octets = stdout.read(&mut buffer).expect("openssl prints");
            assert_ne!(octets, 0, "openssl ended: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..octets]));
            let begun = text.find("Keying material: ");
            if begun.is_some_and(|at| text[at..].contains('\n')) {
                return text;
            }
        }
    }

    fn check_keys(role: Role, keys: &Keys, exported: &[u8]) -> Suite {
        let [client, server] = match role {
            Role::Active => [&keys.ours, &keys.theirs],
            Role::Passive => [&keys.theirs, &keys.ours],
        };
        let (key, salt) = (client.suite().key_bytes(), client.suite().salt_bytes());
        let (keys, salts) = exported[..2 * (key + salt)].split_at(2 * key);
        assert_eq!(
            *client.key_and_salt(),
            [&keys[..key], &salts[..salt]].concat()
        );
        assert_eq!(
            *server.key_and_salt(),
            [&keys[key..], &salts[salt..]].concat()
        );
        client.suite()
    }

    const PROFILES: [(&str, Suite); 3] = [
        ("SRTP_AES128_CM_SHA1_80", Suite::AesCm128HmacSha1_80),
        ("SRTP_AEAD_AES_128_GCM", Suite::AeadAes128Gcm),
        (
            "SRTP_AES128_CM_SHA1_32:SRTP_AEAD_AES_256_GCM",
            Suite::AeadAes256Gcm,
        ),
    ];

    #[test]
    fn as_server() {
        for (port, (profiles, suite)) in (13_460..).zip(PROFILES) {
            assert_eq!(run(Role::Active, port, Some(profiles)), Ok(suite));
        }
        assert_eq!(run(Role::Active, 13_463, None), Err(DtlsError::Profile));
    }

    #[test]
    fn as_client() {
        for (port, (profiles, suite)) in (13_464..).zip(PROFILES) {
            assert_eq!(run(Role::Passive, port, Some(profiles)), Ok(suite));
        }
        assert_eq!(run(Role::Passive, 13_467, None), Err(DtlsError::Profile));
    }
}
