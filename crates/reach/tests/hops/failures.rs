//! A DNS that fails at each step of the way.

use std::time::Duration;

use crate::zone::{ALL, Dns, World};

const ZONE: &str = "
    example.com NAPTR 50 50 s SIPS+D2T _sips._tcp.example.com
    example.com NAPTR 60 50 s SIP+D2T _sip._tcp.example.com
    example.com A 192.0.2.99
    _sips._tcp.example.com SRV 0 1 5061 server1.example.com
    _sips._tcp.example.com SRV 1 1 5061 server2.example.com
    _sip._tcp.example.com SRV 0 1 5060 server3.example.com
    server1.example.com A 192.0.2.1
    server2.example.com A 192.0.2.2
    server3.example.com A 192.0.2.3";

/// What is found when the names in `silent` do not answer, and after how long.
#[track_caller]
fn check(silent: &str, expected: &str, within_ms: u128) {
    let mut zone = String::new();
    for name in silent.split_whitespace() {
        zone += &format!("{name} SILENT\n");
    }
    let mut world = World::new(ALL, &(zone + ZONE));
    let found = world.locate("example.com").join(" ");
    assert_eq!(
        (found.as_str(), world.at_ms()),
        (expected, within_ms),
        "{silent}"
    );
}

#[test]
fn failures_fall_to_the_next_step() {
    let both = "tls:192.0.2.1:5061 tls:192.0.2.2:5061";
    for (failing, expected) in [
        ("", both),
        // NAPTR and the host itself fail: SRV of our transports in our order.
        (
            "example.com",
            "tcp:192.0.2.3:5060 tls:192.0.2.1:5061 tls:192.0.2.2:5061",
        ),
        ("_sips._tcp.example.com", "tcp:192.0.2.3:5060"),
        (
            "_sips._tcp.example.com _sip._tcp.example.com",
            "udp:192.0.2.99:5060",
        ),
        ("server1.example.com", "tls:192.0.2.2:5061"),
        // SRV records were found: no other host is asked for.
        ("server1.example.com server2.example.com", ""),
    ] {
        let names = failing.split_whitespace();
        let lines: String = names.map(|name| format!("{name} FAILS\n")).collect();
        let found = World::new(ALL, &(lines + ZONE)).locate("example.com");
        assert_eq!(found.join(" "), expected, "{failing}");
    }
    let mut world = World::new(ALL, ZONE);
    world.dns = Dns::Broken;
    assert!(world.locate("example.com").is_empty());
    assert_eq!(world.at_ms(), 0);
    assert!(World::new(ALL, "").locate("nowhere.example.com").is_empty());
}

#[test]
fn silence_ends_at_the_limit() {
    check("example.com", "", 5_000);
    check("_sips._tcp.example.com", "", 5_000);
    check("server1.example.com server2.example.com", "", 5_000);
    // The best one may still come; at the limit the other will do.
    check("server1.example.com", "tls:192.0.2.2:5061", 5_000);
    // The best one is there: after a second that is enough.
    check("server2.example.com", "tls:192.0.2.1:5061", 1_000);
}

#[test]
fn a_search_that_found_nothing_leaves_nothing_behind() {
    let mut world = World::new(ALL, ZONE);
    world.dns = Dns::Silent;
    assert!(world.locate("example.com").is_empty());
    world.pass(Duration::from_secs(20));
    assert_eq!(world.hops.deadline(), None);
    world.dns = Dns::Up;
    assert_eq!(world.locate("example.com").len(), 2);
}

#[test]
fn what_was_said_before_stands_in_for_a_dns_that_is_gone() {
    for (dns, after_ms) in [(Dns::Broken, 0), (Dns::Silent, 1_000)] {
        let mut world = World::new(ALL, ZONE);
        let found = world.locate("example.com");
        world.pass(Duration::from_secs(3600));
        world.dns = dns;
        let began = world.at_ms();
        assert_eq!(world.locate("example.com"), found);
        assert_eq!(world.at_ms() - began, after_ms, "{dns:?}");
        // Not for ever.
        world.pass(Duration::from_secs(26 * 3600));
        assert!(world.locate("example.com").is_empty(), "{dns:?}");
        // And what it says when it is back is believed at once.
        world.pass(Duration::from_secs(20));
        world.dns = Dns::Up;
        world.set_zone("example.com A 192.0.2.55");
        assert_eq!(world.locate("example.com"), ["udp:192.0.2.55:5060"]);
    }
}

#[test]
fn a_name_that_is_gone_is_gone() {
    let mut world = World::new(ALL, ZONE);
    assert_eq!(world.locate("example.com").len(), 2);
    world.pass(Duration::from_secs(61));
    world.set_zone("");
    assert!(world.locate("example.com").is_empty());
}
