//! SIP over TLS with the built program: versions, certificates of both ends, names that are wrong.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use duolog_sip::{Message, Request};
use duolog_tests::real::probe::Probe;
use duolog_tests::real::site::{CALLEE_PORT, CALLER_PORT, SIP_PORT, Wishes};
use duolog_tests::real::talk::{PATIENCE, Talk, description, refusal, tcp_from};
use duolog_tests::real::{Duolog, Site, program};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

const TLS_PORT: u16 = 5061;

/// A certificate authority with its files in the site's directory.
struct Office {
    directory: PathBuf,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Office {
    fn open(directory: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let root = CertifiedIssuer::self_signed(params, key).expect("it can be signed");
        let directory = directory.to_owned();
        let office = Self { directory, root };
        office.write("root", &office.root.pem());
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).expect("a scratch file");
    }

    /// A certificate and its key in one file.
    fn issue(&self, file: &str, name: SanType) {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let made = params
            .signed_by(&key, &self.root)
            .expect("it can be signed");
        self.write(file, &(made.pem() + &key.serialize_pem()));
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("it is one");
        roots
    }

    fn identity(&self, file: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let path = self.path(file);
        let certificate = CertificateDer::from_pem_file(&path).expect("issued");
        (
            vec![certificate],
            PrivateKeyDer::from_pem_file(&path).expect("issued"),
        )
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}

/// A site that hears TLS, with these lines in its `[sip.tls]` and instead of its parties' addresses.
fn site(clients: &str, parties: impl Fn(&Site, &str) -> String) -> (Site, Office) {
    let site = Site::new(&Wishes::default());
    let office = Office::open(site.directory());
    office.issue("node", dns("node.example.net"));
    office.issue("caller", dns("caller.example.net"));
    let node = site.node();
    site.amend(|text| {
        let listen = format!("listen = [\"tls:{node}:{TLS_PORT}\", ");
        let tls = "[sip.tls]\ncertificate = \"node.pem\"\nkey = \"node.pem\"\nroots = \"root.pem\"\n\
                   client_roots = \"root.pem\"\n";
        let text = text.replacen("listen = [", &listen, 1);
        let text = text.replacen("[media]", &format!("{tls}clients = \"{clients}\"\n[media]"), 1);
        parties(&site, &text)
    });
    (site, office)
}

fn untouched(_: &Site, text: &str) -> String {
    text.to_owned()
}

type Client = Talk<StreamOwned<ClientConnection, TcpStream>>;
type Server = Talk<StreamOwned<ServerConnection, TcpStream>>;

/// The status of an answer to what is sent; none when the connection is refused.
fn ask(talk: &mut Client, method: &str, body: &str) -> Option<u16> {
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/sdp\r\n",
    };
    let local = talk.local();
    let text = format!(
        "{method} sip:100@node SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bK{method}{port};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+31612345678@{local}>;tag=t\r\nTo: <sip:100@node>\r\n\
             Call-ID: {local}\r\nCSeq: 1 {method}\r\nContact: <sip:t@{local};transport=tls>\r\n\
             {kind}Content-Length: {length}\r\n\r\n{body}",
        port = local.port(),
        length = body.len()
    );
    talk.send(&text).ok()?;
    talk.status()
}

/// Connects from `ip`, showing `own` certificate, and trusting the office's.
fn connect(
    office: &Office,
    (ip, node): (IpAddr, IpAddr),
    own: Option<(&Office, &str)>,
    versions: &[&'static SupportedProtocolVersion],
) -> Client {
    let config = ClientConfig::builder_with_protocol_versions(versions);
    let config = config.with_root_certificates(office.roots());
    let config = match own {
        None => config.with_no_client_auth(),
        Some((office, file)) => {
            let (chain, key) = office.identity(file);
            config.with_client_auth_cert(chain, key).expect("they fit")
        }
    };
    let name = ServerName::try_from("node.example.net").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = tcp_from(ip, (node, TLS_PORT).into());
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let local = stream.local_addr().expect("connected");
    Talk::inside(StreamOwned::new(session, stream), local)
}

/// Takes one connection as the holder of a certificate.
fn accept(office: &Office, own: &str, listener: &TcpListener) -> Server {
    let (chain, key) = office.identity(own);
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain, key).expect("they fit");
    let session = ServerConnection::new(Arc::new(config)).expect("a server");
    let (stream, local) = listener.accept().expect("it connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    Talk::inside(StreamOwned::new(session, stream), local)
}

#[test]
fn both_versions_are_spoken_and_plain_text_is_not() {
    let (site, office) = site("off", untouched);
    let mut duolog = Duolog::start(&site);
    let way = (site.caller(), site.node());
    for version in [&TLS12, &TLS13] {
        let mut talk = connect(&office, way, None, &[version]);
        assert_eq!(ask(&mut talk, "OPTIONS", ""), Some(200), "{version:?}");
    }
    let mut plain = tcp_from(site.caller(), (site.node(), TLS_PORT).into());
    plain
        .write_all(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        .expect("sent");
    plain.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"SIP"), "{said:?}");
    duolog.until_metric(PATIENCE, "duolog_sip_tls_failures_total", |n| n == 1.0);
    duolog.stop();
}

#[test]
fn who_must_show_a_certificate_is_let_in_with_the_right_one_only() {
    let (site, office) = site("required", untouched);
    let mut duolog = Duolog::start(&site);
    let elsewhere = site.directory().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let stranger = Office::open(&elsewhere);
    stranger.issue("caller", dns("caller.example.net"));
    let way = (site.caller(), site.node());
    let both = [&TLS13, &TLS12];
    let mut right = connect(&office, way, Some((&office, "caller")), &both);
    assert_eq!(ask(&mut right, "OPTIONS", ""), Some(200));
    let mut wrong = connect(&office, way, Some((&stranger, "caller")), &both);
    assert_eq!(ask(&mut wrong, "OPTIONS", ""), None);
    let mut none = connect(&office, way, None, &both);
    assert_eq!(ask(&mut none, "OPTIONS", ""), None);
    duolog.until_metric(PATIENCE, "duolog_sip_tls_failures_total", |n| n == 2.0);
    duolog.stop();
}

/// The trunk is known by its certificate, wherever in its network it calls from.
fn trunk_with_certificate(site: &Site, text: &str) -> String {
    let (caller, callee) = (site.caller(), site.callee());
    let address = format!("address = \"udp:{caller}:{CALLER_PORT}\"\n");
    let lines =
        format!("{address}networks = [\"{callee}\"]\ncertificate = \"caller.example.net\"\n");
    text.replacen(&address, &lines, 1)
}

#[test]
fn a_trunk_is_believed_by_its_certificate() {
    let (site, office) = site("optional", trunk_with_certificate);
    office.issue("other", dns("other.example.net"));
    let duolog = Duolog::start(&site);
    let both = [&TLS13, &TLS12];
    let body = description(site.caller());
    // The callee is not there: what is refused is refused for that, not for who calls.
    let listener = std::net::UdpSocket::bind((site.callee(), CALLEE_PORT)).expect("the callee");
    listener.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let way = (site.caller(), site.node());
    for own in [None, Some((&office, "other"))] {
        let mut talk = connect(&office, way, own, &both);
        let status = ask(&mut talk, "INVITE", &body).expect("an answer");
        assert!([401, 403, 407].contains(&status), "{status}");
    }
    let mut trunk = connect(&office, way, Some((&office, "caller")), &both);
    let node: SocketAddr = (site.node(), SIP_PORT).into();
    let callee = std::thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        let (length, _) = listener
            .recv_from(&mut buffer)
            .expect("the callee is called");
        let invite = Message::parse(buffer[..length].to_vec().into());
        let Ok(Message::Request(invite)) = invite else {
            panic!("{invite:?}");
        };
        let busy = refusal(&invite, "486 Busy Here");
        listener.send_to(busy.as_bytes(), node).expect("sent");
        listener
    });
    assert_eq!(ask(&mut trunk, "INVITE", &body), Some(486));
    drop(callee.join().expect("it is called"));
    duolog.stop();
}

/// One more user, whose phone registers with its certificate.
fn phone_with_certificate(_: &Site, text: &str) -> String {
    let user = "[[user]]\nname = \"bob\"\nnumbers = [\"300\"]\ncertificate = \"caller.example.net\"\n[log]";
    text.replacen("[log]", user, 1)
}

fn register(talk: &Client) -> String {
    let local = talk.local();
    format!(
        "REGISTER sip:node SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bKr;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@node>;tag=r\r\nTo: <sip:bob@node>\r\nCall-ID: r{local}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:bob@{local};transport=tls>\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_phone_registers_with_its_certificate_and_is_called_on_the_same_connection() {
    let (site, office) = site("optional", phone_with_certificate);
    office.issue("other", dns("other.example.net"));
    let duolog = Duolog::start(&site);
    let both = [&TLS13, &TLS12];
    let way = (site.stranger(), site.node());
    let mut other = connect(&office, way, Some((&office, "other")), &both);
    let ask = register(&other);
    other.send(&ask).expect("sent");
    let refused = other.response().expect("an answer").status.code();
    assert_eq!(refused, 401, "there is no password either");
    let mut phone = connect(&office, way, Some((&office, "caller")), &both);
    let ask = register(&phone);
    phone.send(&ask).expect("sent");
    let answer = phone.response().expect("an answer");
    assert_eq!(answer.status.code(), 200, "{answer:?}");
    let mut trunk = Probe::new(site.caller(), CALLER_PORT, site.sip());
    let invite = trunk.request("INVITE", "300", &description(site.caller()));
    std::thread::scope(|scope| {
        let phone = scope.spawn(|| {
            let invite = phone.request().expect("it is called");
            assert!(
                invite.uri.to_string().starts_with("sip:bob@"),
                "{:?}",
                invite.uri
            );
            let busy = refusal(&invite, "486 Busy Here");
            phone.send(&busy).expect("sent");
            let _ = phone.request();
        });
        let answer = trunk.ask(&invite);
        trunk.acknowledge(&invite, &answer);
        assert_eq!(answer.status.code(), 486);
        phone.join().expect("no panic");
    });
    duolog.stop();
}

/// The trunk is reached over TLS, at an address or by a name; the number dialled is nobody's here.
fn outgoing(address: &str) -> impl Fn(&Site, &str) -> String {
    move |site, text| {
        let was = format!("address = \"udp:{}:{CALLER_PORT}\"", site.caller());
        let address = address.replace("HOST", &site.caller().to_string());
        text.replacen(&was, &format!("address = \"{address}\""), 1)
    }
}

/// What becomes of a call to the trunk that listens there: the INVITE it got, if any, and what its caller was
/// answered.
fn call_out(
    site: &Site,
    office: &Office,
    (shown, listener): (&str, TcpListener),
) -> (Option<Request>, u16) {
    let mut user = Probe::new(site.callee(), CALLEE_PORT, site.sip());
    let body = description(site.callee());
    let invite = user.request("INVITE", "0201234567", &body);
    std::thread::scope(|scope| {
        let trunk = scope.spawn(|| {
            let mut trunk = accept(office, shown, &listener);
            let invite = trunk.request()?;
            let busy = refusal(&invite, "486 Busy Here");
            trunk.send(&busy).expect("sent");
            // Its ACK.
            let _ = trunk.request();
            Some(invite)
        });
        let answer = user.ask(&invite);
        user.acknowledge(&invite, &answer);
        (trunk.join().expect("no panic"), answer.status.code())
    })
}

#[test]
fn a_trunk_must_prove_its_address() {
    let (site, office) = site("off", outgoing("tls:HOST:5061"));
    office.issue("trunk", SanType::IpAddress(site.caller()));
    let duolog = Duolog::start(&site);
    let listener = TcpListener::bind((site.caller(), TLS_PORT)).expect("the trunk's address");
    let (invite, status) = call_out(&site, &office, ("trunk", listener));
    let invite = invite.expect("it got it");
    assert!(
        invite
            .headers
            .value("Via")
            .is_some_and(|via| via.starts_with("SIP/2.0/TLS"))
    );
    assert_eq!(status, 486);
    duolog.stop();
}

#[test]
fn a_trunk_with_another_ones_certificate_gets_nothing() {
    let (site, office) = site("off", outgoing("tls:HOST:5061"));
    office.issue("trunk", dns("trunk.example.net"));
    let mut duolog = Duolog::start(&site);
    let listener = TcpListener::bind((site.caller(), TLS_PORT)).expect("the trunk's address");
    let (invite, status) = call_out(&site, &office, ("trunk", listener));
    assert!(invite.is_none(), "{invite:?}");
    assert!((500..600).contains(&status) || status == 408, "{status}");
    duolog.until_metric(PATIENCE, "duolog_sip_tls_failures_total", |n| n >= 1.0);
    duolog.stop();
}

#[test]
fn a_name_that_was_looked_up_is_what_must_be_proved() {
    for (name, proved) in [("localhost", true), ("trunk.example.net", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (site, office) = site(
            "off",
            outgoing(&format!("sip:localhost:{port};transport=tls")),
        );
        office.issue("trunk", dns(name));
        let duolog = Duolog::start(&site);
        let (invite, status) = call_out(&site, &office, ("trunk", listener));
        assert_eq!(invite.is_some(), proved, "{name}");
        assert_eq!(status == 486, proved, "{name}: {status}");
        duolog.stop();
    }
}

#[test]
fn a_check_names_the_file_that_is_of_no_use() {
    let (site, office) = site("off", untouched);
    let check = || program::run(&site, &["check-config"]);
    assert!(check().status.success());
    std::fs::write(office.path("node"), "nothing").expect("written");
    let output = check();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(
        told.contains("sip.tls: node.pem has no certificate"),
        "{told}"
    );
}
