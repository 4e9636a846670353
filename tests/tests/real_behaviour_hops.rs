//! SIPp scenarios of where a call goes and how large it may be: next hops from a real name server with
//! fail-over and black list, our own registration at a trunk, messages beyond a datagram's size; over
//! UDP, TCP and TLS.

use duolog_tests::real::names::NameServer;
use duolog_tests::real::play::{CALLEE, CALLER, THIRD, judge, site};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::stage::{Place, Role, SOON, Set, Stage, Wire, alone};
use duolog_tests::real::trace::{self, asked};

/// The two servers of the trunk.
const FIRST: Place = Place::Trunk(5082);
const SECOND: Place = Place::Trunk(5084);

/// The program with a trunk that has only a name, and the server that knows it.
fn stage_with_names(wire: Wire, first: &[Role]) -> (Stage, NameServer) {
    let site = site(wire);
    let service = match wire {
        Wire::Udp => ("SIP+D2U", "_sip._udp.world.test"),
        Wire::Tcp => ("SIP+D2T", "_sip._tcp.world.test"),
        Wire::Tls => ("SIPS+D2T", "_sips._tcp.world.test"),
    };
    let port = |place: Place| wire.outside(place.on(&site)).port();
    let zone = [
        format!(
            "--naptr-record=world.test,10,50,s,{},,{}",
            service.0, service.1
        ),
        format!(
            "--srv-host={},one.world.test,{},1,0",
            service.1,
            port(FIRST)
        ),
        format!(
            "--srv-host={},two.world.test,{},2,0",
            service.1,
            port(SECOND)
        ),
        format!(
            "--host-record=one.world.test,two.world.test,{}",
            site.caller()
        ),
    ];
    let names = NameServer::start(site.stranger(), &zone);
    let server = names.address;
    let set = Set {
        wire,
        places: &[Place::ANNA, FIRST, SECOND],
        names: &["world.test"],
        first,
    };
    let stage = Stage::set(site, &set, |text| {
        format!(
            "{text}[[trunk]]\nname = \"world\"\naddress = \"sip:world.test\"\n\
             [numbering]\nroutes = [{{ prefix = \"+\", trunk = \"world\" }}]\n\
             [dns]\nservers = [\"{server}\"]\n"
        )
    });
    (stage, names)
}

/// User 100 calls a number of the world.
fn calls() -> Script {
    calls_with(&[])
}

fn calls_with(fields: &[&str]) -> Script {
    talks(Script::caller("caller").known_as("100"), fields)
}

/// Somebody of the world calls.
fn from_the_trunk(fields: &[&str]) -> Script {
    talks(Script::caller("caller"), fields)
}

fn talks(script: Script, fields: &[&str]) -> Script {
    script
        .invite(fields, SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(2_000)
        .hangs_up()
}

fn answers() -> Script {
    Script::callee("second")
        .answer_invite("200 OK", &[], SDP)
        .wants("ACK")
        .speaks()
        .is_hung_up()
        .is_looked_at()
}

/// How often a server was called.
fn invites(stage: &Stage, script: &Script) -> usize {
    asked(&stage.heard(script), "INVITE").count()
}

/// NAPTR leads to SRV, SRV to two servers. The first answers 503: the call goes on to the second
/// (RFC 3263 §4.3), and the next call goes to it at once, for the first asked to be left alone.
#[test]
fn a_call_goes_on_to_the_second_server_and_the_next_one_at_once() {
    let refuses = Script::callee("first")
        .answer_invite("503 Service Unavailable", &["Retry-After: 600"], Body::None)
        .wants("ACK")
        .is_looked_at();
    for wire in Wire::ALL {
        let _alone = alone();
        let answers = answers();
        // Who does not answer OPTIONS from the start is avoided before the first call.
        let servers = [
            Role::called(&refuses, FIRST, THIRD).always(),
            Role::called(&answers, SECOND, CALLER).always(),
        ];
        let (stage, mut names) = stage_with_names(wire, &servers);
        let caller = Role::calls(&calls(), Place::ANNA, CALLEE, "+31201234567");
        stage.play(std::slice::from_ref(&caller));
        let found = (invites(&stage, &refuses), invites(&stage, &answers));
        assert_eq!(found, (1, 1), "the first call over {}", wire.word());
        stage.play(&[caller]);
        let found = (invites(&stage, &refuses), invites(&stage, &answers));
        assert_eq!(found, (1, 2), "the second call over {}", wire.word());
        assert!(names.asked("NAPTR] world.test") >= 1, "NAPTR is asked for");
        let name = format!("fail-over from 503 over {}", wire.word());
        let both = [(CALLEE, &[CALLER][..]), (CALLEE, &[CALLER])];
        judge(&name, &stage.close(), &both);
    }
}

/// The first server is gone: its connection is refused, and the call goes on to the second. Not over
/// UDP, where silence is all there is to see, and timer B takes 32 s for it.
#[test]
fn a_call_goes_on_from_a_server_that_is_dead() {
    for wire in [Wire::Tcp, Wire::Tls] {
        let _alone = alone();
        let answers = answers();
        let second = Role::called(&answers, SECOND, CALLER).always();
        let (stage, _names) = stage_with_names(wire, &[second]);
        let caller = Role::calls(&calls(), Place::ANNA, CALLEE, "+31201234567");
        stage.play(&[caller]);
        assert_eq!(invites(&stage, &answers), 1, "over {}", wire.word());
        let name = format!("fail-over from a dead server over {}", wire.word());
        judge(&name, &stage.close(), &[(CALLEE, &[CALLER])]);
    }
}

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"world\", nonce=\"f00dcafe\", algorithm=MD5, qop=\"auth\"";

/// SIPp is the registrar of a trunk: it challenges in MD5, gives 3 s, sees the registration renewed
/// and at the end taken back, each with a digest that is right; meanwhile it takes a call.
#[test]
fn our_registration_at_a_trunk_and_a_call_through_it() {
    let proved = |script: Script| script.wants_authorized("REGISTER", "duolog", "hearsay");
    let contact = |expires_s: u32| format!("Contact: <[$contact]>;expires={expires_s}");
    for wire in Wire::ALL {
        let _alone = alone();
        let registers = Script::server("registers").replies("401 Unauthorized", &[CHALLENGE]);
        let registers = proved(registers).replies("200 OK", &[&contact(3)]);
        let registers = proved(registers).replies("200 OK", &[&contact(600)]);
        let registers = proved(registers).replies("200 OK", &[]);
        let trunk = Script::callee("trunk")
            .answer_invite("200 OK", &[], SDP)
            .wants("ACK")
            .speaks()
            .is_hung_up()
            .or_for("REGISTER", registers);
        let role = Role::called(&trunk, Place::TRUNK, CALLER).always();
        let set = Set {
            wire,
            places: &[Place::TRUNK, Place::ANNA],
            names: &[],
            first: &[role],
        };
        let mut stage = Stage::set(site(wire), &set, |text| {
            text.replace(
                "[[user]]",
                "user = \"duolog\"\npassword = \"hearsay\"\n\
                 register = { aor = \"sip:duolog@world.test\", expires = \"60s\" }\n[[user]]",
            )
        });
        let name = "duolog_trunk_registrations_total";
        stage.duolog.until_metric(SOON, name, |n| n >= 2.0);
        stage.play(&[Role::calls(&calls(), Place::ANNA, CALLEE, "+31201234567")]);
        // Kept beyond the end of the program, which takes its registration back.
        let registrar = std::mem::take(&mut stage.first);
        let site = stage.close();
        drop(registrar);
        let heard = trace::read(&site, trunk.name());
        let refused = heard.iter().find(|heard| heard.first().contains(" 403 "));
        assert!(refused.is_none(), "a digest is wrong: {heard:?}");
        let registers: Vec<_> = asked(&heard, "REGISTER").collect();
        let digests: Vec<_> = registers.iter().map(|r| r.field("Authorization")).collect();
        // Asked, renewed and taken back, the first time without a digest.
        assert_eq!(digests.len(), 4, "{digests:?}");
        let counted = digests.iter().map(|digest| digest.and_then(count));
        let counted: Vec<_> = counted.collect();
        assert_eq!(counted, [None, Some(1), Some(2), Some(3)], "{digests:?}");
        let name = format!("our registration over {}", wire.word());
        judge(&name, &site, &[(CALLEE, &[CALLER])]);
    }
}

/// The nonce count of a digest.
fn count(digest: &str) -> Option<u32> {
    let (_, rest) = digest.split_once("nc=")?;
    u32::from_str_radix(rest.get(..8)?, 16).ok()
}

/// A field of 3,000 octets.
fn long_field() -> String {
    format!("X-Long: begin-{}-end", "0123456789".repeat(299))
}

/// The INVITE that a role got, whole.
fn is_whole(stage: &Stage, script: &Script, transport: &str) {
    let heard = stage.heard(script);
    let invite = asked(&heard, "INVITE").next().expect("it was called");
    assert!(invite.text.len() > 3_000, "{}", invite.text);
    let long = long_field();
    let (_, value) = long.split_once(' ').expect("a name and a value");
    assert_eq!(invite.field("X-Long"), Some(value));
    assert!(invite.text.contains("m=audio"), "the body is there");
    assert_eq!(invite.transport, transport);
}

/// An INVITE beyond 1,300 octets leaves UDP where the trunk left the choice to us and hears TCP
/// (RFC 3261 §18.1.1), and goes in one datagram after all where it does not. Only from UDP: a connection
/// is left for no other.
#[test]
fn a_large_invite_moves_to_tcp_where_the_trunk_hears_it() {
    for hears in [Wire::Tcp, Wire::Udp] {
        let _alone = alone();
        let site = site(Wire::Udp);
        let zone = [format!("--host-record=world.test,{}", site.caller())];
        let names = NameServer::start(site.stranger(), &zone);
        let (server, port) = (names.address, SECOND.on(&site).port());
        let trunk = Role::called(&answers(), SECOND, CALLER).always();
        let set = Set {
            wire: Wire::Udp,
            places: &[],
            names: &[],
            first: &[trunk.over(hears)],
        };
        let stage = Stage::set(site, &set, |text| {
            format!(
                "{text}[[trunk]]\nname = \"world\"\naddress = \"sip:world.test:{port}\"\n\
                 [numbering]\nroutes = [{{ prefix = \"+\", trunk = \"world\" }}]\n\
                 [dns]\nservers = [\"{server}\"]\n"
            )
        });
        let caller = calls_with(&[&long_field()]);
        stage.play(&[Role::calls(&caller, Place::ANNA, CALLEE, "+31201234567")]);
        let transport = hears.word().to_uppercase();
        is_whole(&stage, &answers(), &transport);
        let name = format!("a large INVITE to a trunk that hears {transport}");
        judge(&name, &stage.close(), &[(CALLEE, &[CALLER])]);
    }
}

/// From a trunk to a phone over one wire: whole, in a datagram where that is all there is.
#[test]
fn a_large_invite_arrives_whole() {
    for wire in Wire::ALL {
        let _alone = alone();
        let set = Set {
            wire,
            places: &[Place::TRUNK, Place::ANNA],
            names: &[],
            first: &[],
        };
        let stage = Stage::set(site(wire), &set, str::to_owned);
        let called = answers();
        stage.play(&[
            Role::called(&called, Place::ANNA, CALLEE),
            Role::calls(
                &from_the_trunk(&[&long_field()]),
                Place::TRUNK,
                CALLER,
                "100",
            ),
        ]);
        is_whole(&stage, &called, &wire.inside().to_uppercase());
        let name = format!("a large INVITE over {}", wire.word());
        judge(&name, &stage.close(), &[(CALLEE, &[CALLER])]);
    }
}
