use super::*;
use crate::config::{Clients, Tls as Files};
use crate::signalling::connection::Patience;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Runs a test that needs sockets; everything it waits for comes.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        timeout(Duration::from_secs(20), test)
            .await
            .expect("what is waited for comes");
    });
}

fn shop(tls: Option<Tls>, places: Places) -> (Shop, mpsc::Receiver<Heard>) {
    let (heard, receiver) = mpsc::channel(8);
    let shop = Shop {
        heard,
        tls,
        shares: Shares::new(8),
        places,
        pulse: connection::PULSE,
        tallies: Arc::default(),
    };
    (shop, receiver)
}

fn connections(shop: &Shop) -> Connections {
    Connections::new(shop.clone(), Handle::current())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn flow(transport: Transport, local: SocketAddr, peer: SocketAddr) -> Flow {
    Flow {
        transport,
        local,
        peer,
    }
}

async fn ends(peer: &mut TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while peer.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

#[test]
fn one_connection_of_ours_carries_everything_and_is_forgotten_at_its_end() {
    run(async {
        let (shop, mut heard) = shop(None, Places::new(8, 8));
        let mut connections = connections(&shop);
        let (listener, address) = listener().await;
        let flow = flow(Transport::Tcp, address, address);
        assert!(connections.send(flow, Bytes::from_static(b"one"), None));
        let (mut peer, _) = listener.accept().await.expect("connected");
        assert!(connections.send(flow, Bytes::from_static(b"two"), None));
        let mut both = [0; 6];
        peer.read_exact(&mut both)
            .await
            .expect("both on one connection");
        assert_eq!((&both, connections.count()), (b"onetwo", 1));
        drop(peer);
        let ended = heard.recv().await;
        assert!(matches!(ended, Some(Heard::Ended { flow: of }) if of == flow));
        connections.ended(flow);
        assert_eq!((connections.count(), connections.opened), (0, 0));
    });
}

#[test]
fn a_connection_that_a_peer_opened_is_found_again_by_its_flow() {
    run(async {
        let (shop, mut heard) = shop(None, Places::new(1, 1));
        let mut connections = connections(&shop);
        let (listener, address) = listener().await;
        tokio::spawn(listen(listener, Transport::Tcp, shop.clone()));
        let mut peer = TcpStream::connect(address).await.expect("connected");
        let Some(Heard::Connection { flow, connection }) = heard.recv().await else {
            panic!("it is told");
        };
        assert_eq!(flow.peer, peer.local_addr().expect("connected"));
        connections.accept(flow, connection);
        assert!(connections.send(flow, Bytes::from_static(b"here"), None));
        let mut here = [0; 4];
        peer.read_exact(&mut here).await.expect("the same one");
        // There is no room for another one: it is reset, and counted.
        let mut second = TcpStream::connect(address).await.expect("connected");
        ends(&mut second).await;
        assert_eq!(shop.tallies.refused.load(Ordering::Relaxed), 1);
        // What waits at the end of the node still goes.
        assert!(connections.send(flow, Bytes::from_static(b"last"), None));
        connections.finish().await;
        peer.read_exact(&mut here)
            .await
            .expect("written before the end");
        assert_eq!(&here, b"last");
        ends(&mut peer).await;
        assert!(
            shop.places.take(address.ip()).is_some(),
            "the place is free"
        );
    });
}

#[test]
fn a_peer_that_does_not_read_is_let_go() {
    run(async {
        let (shop, mut heard) = shop(None, Places::new(8, 8));
        let mut connections = connections(&shop);
        let (listener, address) = listener().await;
        tokio::spawn(listen(listener, Transport::Tcp, shop.clone()));
        let mut peer = TcpStream::connect(address).await.expect("connected");
        let Some(Heard::Connection { flow, connection }) = heard.recv().await else {
            panic!("it is told");
        };
        connections.accept(flow, connection);
        for _ in 0..WAITING {
            assert!(connections.send(flow, Bytes::from_static(b"unread"), None));
        }
        assert!(!connections.send(flow, Bytes::from_static(b"too much"), None));
        assert_eq!(connections.count(), 0);
        ends(&mut peer).await;
        assert!(heard.try_recv().is_err(), "nobody reads it any more");
    });
}

#[test]
fn silence_and_half_a_message_end_a_connection() {
    for said in ["", "OPTIONS sip:a SIP/2.0\r\n"] {
        run(async {
            let (shop, mut heard) = shop(None, Places::new(8, 8));
            let (listener, address) = listener().await;
            let (theirs, ours) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (mut peer, (stream, from)) = (theirs.expect("connected"), ours.expect("accepted"));
            let patience = Patience {
                first: Duration::from_millis(match said.is_empty() {
                    true => 20,
                    false => 60_000,
                }),
                message: Duration::from_millis(20),
                idle: Duration::from_secs(60),
            };
            let (_connection, orders) = Connection::new(None);
            let flow = flow(Transport::Tcp, address, from);
            tokio::spawn(connection::accepted(shop, stream, flow, patience, orders));
            peer.write_all(said.as_bytes()).await.expect("sent");
            ends(&mut peer).await;
            assert!(matches!(heard.recv().await, Some(Heard::Ended { .. })));
        });
    }
}

#[test]
fn pings_are_answered_and_a_peer_that_answered_ours_must_go_on_doing_so() {
    run(async {
        let (mut shop, mut heard) = shop(None, Places::new(8, 8));
        let (every, spread) = (Duration::from_millis(10), Duration::from_millis(2));
        shop.pulse = Pulse {
            every: (every, spread),
            answer: Duration::from_millis(200),
        };
        let mut connections = connections(&shop);
        let (listener, address) = listener().await;
        let flow = flow(Transport::Tcp, address, address);
        assert!(connections.send(flow, Bytes::from_static(b"x"), None));
        let (mut peer, _) = listener.accept().await.expect("connected");
        let mut read = [0; 4];
        peer.read_exact(&mut read[..1]).await.expect("the message");
        for answered in [false, true, false] {
            peer.read_exact(&mut read).await.expect("a ping");
            assert_eq!(&read, b"\r\n\r\n");
            if answered {
                peer.write_all(b"\r\n").await.expect("sent");
            }
        }
        assert!(matches!(heard.recv().await, Some(Heard::Ended { flow: of }) if of == flow));
        ends(&mut peer).await;
    });
}

#[test]
fn pings_of_peers_are_answered() {
    run(async {
        let (shop, mut heard) = shop(None, Places::new(8, 8));
        let (listener, address) = listener().await;
        tokio::spawn(listen(listener, Transport::Tcp, shop));
        let mut peer = TcpStream::connect(address).await.expect("connected");
        let connection = heard.recv().await;
        assert!(matches!(connection, Some(Heard::Connection { .. })));
        for _ in 0..3 {
            peer.write_all(b"\r\n\r\n").await.expect("sent");
            let mut read = [0; 2];
            peer.read_exact(&mut read).await.expect("the pong");
            assert_eq!(&read, b"\r\n");
        }
        drop(connection);
    });
}

/// Certificates of one authority, in files.
struct Office {
    directory: TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Office {
    fn open() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let root = CertifiedIssuer::self_signed(params, key).expect("it can be signed");
        let directory = TempDir::new().expect("a directory");
        let office = Self { directory, root };
        office.write("root.pem", &office.root.pem());
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, pem: &str) -> PathBuf {
        std::fs::write(self.path(name), pem).expect("a scratch file");
        self.path(name)
    }

    /// A certificate and its key in one file.
    fn issue(&self, name: SanType) -> PathBuf {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        let file = format!("{}.pem", format!("{name:?}").replace(['/', '"'], ""));
        params.subject_alt_names = vec![name];
        let made = params
            .signed_by(&key, &self.root)
            .expect("it can be signed");
        self.write(&file, &(made.pem() + &key.serialize_pem()))
    }

    fn tls(&self, name: SanType, clients: Clients) -> Tls {
        let own = self.issue(name);
        let files = files(&own, &own, &self.path("root.pem"), clients);
        Tls::load(&files).expect("they fit").expect("there is one")
    }
}

fn files(certificate: &Path, key: &Path, roots: &Path, clients: Clients) -> Files {
    Files {
        certificate: Some(certificate.into()),
        key: Some(key.into()),
        roots: Some(roots.into()),
        client_roots: Some(roots.into()),
        clients,
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}

/// Two nodes: one connects and sends to `name`; what the other heard first besides the connection, and
/// the failures each counted.
async fn meeting(
    office: &Office,
    (ours, theirs): (SanType, SanType),
    clients: Clients,
    name: Option<&str>,
) -> (Option<Heard>, Option<Heard>) {
    let (near, mut near_heard) = shop(Some(office.tls(ours, Clients::Off)), Places::new(8, 8));
    let (far, mut far_heard) = shop(Some(office.tls(theirs, clients)), Places::new(8, 8));
    let (listener, address) = listener().await;
    tokio::spawn(listen(listener, Transport::Tls, far));
    let mut connections = connections(&near);
    let flow = flow(
        Transport::Tls,
        "127.0.0.1:5061".parse().expect("one"),
        address,
    );
    let message = Bytes::from_static(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n");
    assert!(connections.send(flow, message, name.map(Arc::from)));
    let Some(Heard::Connection { connection, .. }) = far_heard.recv().await else {
        panic!("it connects");
    };
    let both = (near_heard.recv().await, far_heard.recv().await);
    drop(connection);
    both
}

fn certified(heard: &Option<Heard>) -> Option<&[String]> {
    match heard {
        Some(Heard::Certified { names, .. }) => Some(names),
        _ => None,
    }
}

#[test]
fn peers_prove_their_names_to_each_other() {
    run(async {
        let office = Office::open();
        for (theirs, name) in [
            (dns("sbc.example.net"), Some("sbc.example.net")),
            (
                SanType::URI("sip:sbc.example.net".try_into().expect("ASCII")),
                Some("SBC.example.net"),
            ),
            (dns("*.example.net"), Some("sbc.example.net")),
        ] {
            let both = (dns("us.example.net"), theirs);
            let (near, far) = meeting(&office, both, Clients::Required, name).await;
            let expected = certified(&near).expect("it proved its name")[0].clone();
            assert!(expected.ends_with("example.net"), "{expected}");
            assert_eq!(certified(&far), Some(&["us.example.net".to_owned()][..]));
        }
    });
}

#[test]
fn without_a_name_the_address_counts_and_who_is_not_asked_is_not_certified() {
    run(async {
        let office = Office::open();
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        let (far, mut heard) = shop(Some(office.tls(address, Clients::Off)), Places::new(8, 8));
        let near = office.tls(dns("us.example.net"), Clients::Off);
        let (near, _near_heard) = shop(Some(near), Places::new(8, 8));
        let (listener, address) = listener().await;
        tokio::spawn(listen(listener, Transport::Tls, far));
        let mut connections = connections(&near);
        let message = Bytes::from_static(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n");
        assert!(connections.send(
            flow(Transport::Tls, address, address),
            message.clone(),
            None
        ));
        let Some(Heard::Connection { flow, connection }) = heard.recv().await else {
            panic!("it connects");
        };
        let heard = heard.recv().await;
        let Some(Heard::Message {
            flow: on, bytes, ..
        }) = heard
        else {
            panic!("{heard:?}");
        };
        assert_eq!((on, bytes), (flow, message));
        drop(connection);
    });
}

#[test]
fn who_is_somebody_else_gets_nothing() {
    run(async {
        let office = Office::open();
        for (theirs, name) in [
            (dns("other.example.net"), Some("sbc.example.net")),
            (dns("sbc.example.net"), None),
            (dns("*.example.net"), Some("example.net")),
            (SanType::IpAddress([127, 0, 0, 2].into()), None),
        ] {
            let both = (dns("us.example.net"), theirs.clone());
            let (near, far) = meeting(&office, both, Clients::Optional, name).await;
            assert!(
                matches!(near, Some(Heard::Ended { .. })),
                "{theirs:?} {near:?}"
            );
            assert!(
                matches!(far, Some(Heard::Ended { .. })),
                "{theirs:?} {far:?}"
            );
        }
    });
}

#[test]
fn a_client_of_another_authority_or_without_a_certificate_is_turned_away() {
    run(async {
        let (office, stranger) = (Office::open(), Office::open());
        let (far, mut heard) = shop(
            Some(office.tls(dns("sbc.example.net"), Clients::Required)),
            Places::new(8, 8),
        );
        let (listener, address) = listener().await;
        tokio::spawn(listen(listener, Transport::Tls, far.clone()));
        // It trusts the node, but its own certificate comes from elsewhere.
        let own = stranger.issue(dns("us.example.net"));
        let files = files(&own, &own, &office.path("root.pem"), Clients::Off);
        let tls = Tls::load(&files).expect("they fit");
        let (near, _near_heard) = shop(tls, Places::new(8, 8));
        let mut connections = connections(&near);
        let flow = flow(Transport::Tls, address, address);
        assert!(connections.send(
            flow,
            Bytes::from_static(b"x"),
            Some("sbc.example.net".into())
        ));
        assert!(matches!(heard.recv().await, Some(Heard::Connection { .. })));
        assert!(matches!(heard.recv().await, Some(Heard::Ended { .. })));
        assert_eq!(far.tallies.tls_failures.load(Ordering::Relaxed), 1);
        // And who speaks no TLS at all.
        let mut plain = TcpStream::connect(address).await.expect("connected");
        plain
            .write_all(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
            .await
            .expect("sent");
        ends(&mut plain).await;
        assert_eq!(far.tallies.tls_failures.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_message_for_another_name_of_the_address_is_not_shown_to_it() {
    run(async {
        let office = Office::open();
        let (near, _near_heard) = shop(
            Some(office.tls(dns("us.example.net"), Clients::Off)),
            Places::new(8, 8),
        );
        let server = office.tls(dns("a.example.net"), Clients::Off);
        let (listener, address) = listener().await;
        let mut connections = connections(&near);
        let flow = flow(Transport::Tls, address, address);
        for (text, name) in [
            ("for a", "a.example.net"),
            ("for b", "b.example.net"),
            ("and a", "a.example.net"),
        ] {
            assert!(connections.send(flow, Bytes::from(text), Some(name.into())));
        }
        let (stream, _) = listener.accept().await.expect("connected");
        let (mut stream, _) = server.accept(stream).await.expect("a handshake");
        let mut read = [0; 10];
        stream.read_exact(&mut read).await.expect("two of them");
        assert_eq!(&read, b"for aand a");
    });
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let office = Office::open();
    let (one, other) = (
        office.issue(dns("a.example.net")),
        office.issue(dns("b.example.net")),
    );
    let (root, missing) = (office.path("root.pem"), office.path("missing.pem"));
    let empty = office.write("empty.pem", "");
    for (certificate, key, roots, told) in [
        (
            &missing,
            &one,
            &root,
            "missing.pem has no certificate in PEM",
        ),
        (
            &empty,
            &one,
            &root,
            "empty.pem has no certificate in PEM: there is none",
        ),
        (&one, &root, &root, "root.pem has no private key in PEM"),
        (&one, &other, &root, "does not fit its key"),
        (&one, &one, &missing, "missing.pem has no certificate"),
    ] {
        let files = files(certificate, key, roots, Clients::Optional);
        let error = Tls::load(&files).expect_err(told).to_string();
        assert!(error.contains(told), "{error}\nshould have\n{told}");
    }
    let mut none = files(&one, &one, &root, Clients::Off);
    (none.certificate, none.key) = (None, None);
    assert!(Tls::load(&none).expect("nothing to read").is_none());
}
