//! RFC 3263 §4.1 and §4.2, step by step.

use duolog_reach::hops::Question;

use crate::zone::{ALL, World};

/// The example of RFC 3263 §4.1, with addresses.
const EXAMPLE: &str = "
    example.com NAPTR 50 50 s SIPS+D2T _sips._tcp.example.com
    example.com NAPTR 90 50 s SIP+D2T _sip._tcp.example.com
    example.com NAPTR 100 50 s SIP+D2U _sip._udp.example.com
    example.com A 192.0.2.99
    _sips._tcp.example.com SRV 0 1 5061 server1.example.com
    _sip._tcp.example.com SRV 0 1 5060 server1.example.com
    _sip._tcp.example.com SRV 1 2 5070 server2.example.com
    _sip._udp.example.com SRV 0 1 5060 server2.example.com
    server1.example.com A 192.0.2.1
    server1.example.com AAAA 2001:db8::1
    server2.example.com A 192.0.2.2
    server2.example.com A 192.0.2.3";

#[track_caller]
fn check(transports: &str, zone: &str, destination: &str, expected: &str) {
    let found = World::new(transports, zone).locate(destination).join(" ");
    assert_eq!(found, expected, "{destination} from {transports}");
}

#[test]
fn addresses_need_no_lookup() {
    for (transports, destination, expected) in [
        (ALL, "192.0.2.1", "udp:192.0.2.1:5060"),
        (ALL, "192.0.2.1:5070", "udp:192.0.2.1:5070"),
        (ALL, "tcp:192.0.2.1", "tcp:192.0.2.1:5060"),
        (ALL, "tls:192.0.2.1", "tls:192.0.2.1:5061"),
        (ALL, "tls:192.0.2.1:5071", "tls:192.0.2.1:5071"),
        ("udp6 tls6", "2001:db8::1", "udp:[2001:db8::1]:5060"),
        ("udp udp6", "::ffff:192.0.2.1", "udp:192.0.2.1:5060"),
        // The first we have, where there is no UDP of that family.
        ("udp tls6 tcp6", "2001:db8::1", "tls:[2001:db8::1]:5061"),
        // What we can not send from.
        ("udp", "2001:db8::1", ""),
        ("udp", "tcp:192.0.2.1", ""),
        ("udp tcp6", "tcp:192.0.2.1", ""),
        ("", "192.0.2.1", ""),
        // What nobody can be.
        (ALL, "0.0.0.0", ""),
        (ALL, "224.0.0.1", ""),
        (ALL, "255.255.255.255", ""),
    ] {
        let mut world = World::new(transports, "");
        let hops = world.locate_hops(destination);
        let found: Vec<String> = hops.iter().map(crate::zone::text).collect();
        assert_eq!(found.join(" "), expected, "{destination} from {transports}");
        assert!(world.asked.is_empty() && world.hops.deadline().is_none());
        assert!(hops.iter().all(|hop| hop.name.is_none()), "{hops:?}");
    }
}

#[test]
fn naptr_chooses_the_transport() {
    let (tls, tcp) = ("tls:192.0.2.1:5061", "tcp:192.0.2.1:5060");
    let both = "tcp:192.0.2.1:5060 tcp:192.0.2.2:5070 tcp:192.0.2.3:5070";
    check(ALL, EXAMPLE, "example.com", tls);
    check(ALL, EXAMPLE, "EXAMPLE.com.", tls);
    check("udp tcp", EXAMPLE, "example.com", both);
    check(
        "udp",
        EXAMPLE,
        "example.com",
        "udp:192.0.2.2:5060 udp:192.0.2.3:5060",
    );
    check("tcp6", EXAMPLE, "example.com", "tcp:[2001:db8::1]:5060");
    check(
        "tls6 tls",
        EXAMPLE,
        "example.com",
        "tls:[2001:db8::1]:5061 tls:192.0.2.1:5061",
    );
    check(
        "tls tls6",
        EXAMPLE,
        "example.com",
        "tls:192.0.2.1:5061 tls:[2001:db8::1]:5061",
    );
    // Within one order the others follow by preference.
    let one_order = EXAMPLE.replace(" 90 50 s", " 50 40 s");
    check(ALL, &one_order, "example.com", &format!("{both} {tls}"));
    // An order that leads to no SRV records leads nowhere, and the next is looked at.
    let without = EXAMPLE.replace("_sips._tcp.example.com SRV", "gone SRV");
    check(ALL, &without, "example.com", both);
    // The replacement may be in another domain.
    let elsewhere = "example.com NAPTR 1 1 S sip+d2t x._tcp.example.net
        x._tcp.example.net SRV 0 0 5062 server.example.org
        server.example.org A 192.0.2.7";
    check(ALL, elsewhere, "example.com", "tcp:192.0.2.7:5062");
    assert_eq!(tcp, "tcp:192.0.2.1:5060");
}

#[test]
fn records_of_no_use_are_as_none() {
    let zone = "example.com NAPTR 1 1 u E2U+sip enum.example.com
        example.com NAPTR 1 1 s SIP+D2S _sip._sctp.example.com
        example.com NAPTR 1 1 s SIPS+D2T _sips._tcp.example.com
        _sip._udp.example.com SRV 0 0 5062 server.example.com
        server.example.com A 192.0.2.7";
    check("udp tcp", zone, "example.com", "udp:192.0.2.7:5062");
}

#[test]
fn without_naptr_every_transport_of_ours_is_asked_for() {
    let zone = EXAMPLE.replace("NAPTR", "TXT");
    check(
        "udp tcp tls",
        &zone,
        "example.com",
        "udp:192.0.2.2:5060 udp:192.0.2.3:5060 \
         tcp:192.0.2.1:5060 tcp:192.0.2.2:5070 tcp:192.0.2.3:5070 tls:192.0.2.1:5061",
    );
    check("tls", &zone, "example.com", "tls:192.0.2.1:5061");
    let mut world = World::new("udp tcp tls", &zone);
    world.locate("example.com");
    let services = ["_sip._udp", "_sip._tcp", "_sips._tcp"];
    let services = services.map(|service| Question::Srv(format!("{service}.example.com")));
    assert_eq!(world.asked[0], Question::Naptr("example.com".into()));
    assert_eq!(world.asked[1..4], services);
}

#[test]
fn without_srv_the_name_is_the_host() {
    let zone = "example.com A 192.0.2.1
        example.com AAAA 2001:db8::1";
    check(ALL, zone, "example.com", "udp:192.0.2.1:5060");
    check("tcp tls", zone, "example.com", "tcp:192.0.2.1:5060");
    check("tls tcp", zone, "example.com", "tls:192.0.2.1:5061");
    check(ALL, zone, "tcp:example.com", "tcp:192.0.2.1:5060");
    check(ALL, zone, "tls:example.com", "tls:192.0.2.1:5061");
    check("udp6", zone, "example.com", "udp:[2001:db8::1]:5060");
    check(
        "udp6 udp",
        zone,
        "udp:example.com",
        "udp:[2001:db8::1]:5060 udp:192.0.2.1:5060",
    );
    check("udp", zone, "tcp:example.com", "");
}

#[test]
fn a_port_or_a_transport_shortens_the_way() {
    let asked = |destination: &str| {
        let mut world = World::new(ALL, EXAMPLE);
        let found = world.locate(destination).join(" ");
        (found, world.asked)
    };
    let host = |name: &str| Question::Addresses {
        name: name.into(),
        family: Some(duolog_reach::hops::Family::V4),
    };
    // With a port: addresses only, UDP unless said otherwise, 5060 or not.
    for (destination, expected) in [
        ("example.com:5070", "udp:192.0.2.99:5070"),
        ("example.com:5060", "udp:192.0.2.99:5060"),
        ("tls:example.com:5060", "tls:192.0.2.99:5060"),
    ] {
        let (found, asked) = asked(destination);
        assert_eq!(found, expected);
        assert_eq!(asked, [host("example.com")]);
    }
    // With a transport: no NAPTR.
    let (found, questions) = asked("tls:example.com");
    assert_eq!(found, "tls:192.0.2.1:5061");
    let service = Question::Srv("_sips._tcp.example.com".into());
    assert_eq!(questions, [service, host("server1.example.com")]);
}

#[test]
fn both_families_are_asked_for_where_both_are_of_use() {
    let mut world = World::new("udp tcp6", EXAMPLE);
    world.locate("udp:example.com:5060");
    let name = "example.com".to_owned();
    assert_eq!(world.asked, [Question::Addresses { name, family: None }]);
}

#[test]
fn hops_know_the_name_that_was_looked_up() {
    for to in ["tls:Example.com", "example.com", "tls:example.com.:5061"] {
        let hops = World::new(ALL, EXAMPLE).locate_hops(to);
        assert_eq!(hops.len(), 1, "{to}");
        assert_eq!(hops[0].name.as_deref(), Some("example.com"), "{to}");
    }
}

#[test]
fn a_service_that_is_decidedly_not_there_has_no_host() {
    let zone = "example.com A 192.0.2.99
        _sip._udp.example.com SRV 0 0 0 .
        _sip._tcp.example.com SRV 0 0 5062 server.example.com
        server.example.com A 192.0.2.7";
    check(ALL, zone, "udp:example.com", "");
    check("udp", zone, "example.com", "");
    check(ALL, zone, "example.com", "tcp:192.0.2.7:5062");
}

#[test]
fn what_is_only_nearly_right_is_understood() {
    let zone = "_sip._udp.example.com SRV 0 0 5062 192.0.2.7.
        _sip._udp.example.com SRV 1 0 5062 Server.Example.COM.
        _sip._udp.example.com SRV 2 0 0 server.example.com
        _sip._udp.example.com SRV 3 0 5062 server.example.com
        server.example.com A 0.0.0.0
        server.example.com A 192.0.2.8";
    check(
        ALL,
        zone,
        "udp:example.com",
        "udp:192.0.2.7:5062 udp:192.0.2.8:5062",
    );
    check(ALL, "", "udp:192.0.2.1.", "");
}

#[test]
fn names_that_can_not_be_are_not_asked_for() {
    let long = ["a"; 130].join(".");
    let label = "x".repeat(64);
    for name in [
        "",
        ".",
        "a..b",
        "a b",
        "exa\u{e4}mple.com",
        "*.example.com",
        &long,
        &label,
    ] {
        let mut world = World::new(ALL, EXAMPLE);
        assert!(world.locate(name).is_empty(), "{name}");
        assert!(world.asked.is_empty(), "{name}: {:?}", world.asked);
    }
}

#[test]
fn a_zone_cannot_make_us_ask_without_end() {
    let mut zone = String::new();
    for service in ["_sip._udp", "_sip._tcp", "_sips._tcp"] {
        for host in 0..200 {
            zone += &format!("{service}.example.com SRV 0 1 5060 {service}h{host}.example.com\n");
            for address in 0..20 {
                zone += &format!("{service}h{host}.example.com A 192.0.{host}.{address}\n");
            }
        }
    }
    let mut world = World::new(ALL, &zone);
    let hops = world.locate("example.com");
    assert_eq!(hops.len(), 32);
    assert!(world.asked.len() <= 20, "{}", world.asked.len());
}
