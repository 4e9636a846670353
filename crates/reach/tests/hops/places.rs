//! Hops that fail, hops that are watched.

use std::time::Duration;

use duolog_reach::hops::Outcome::{Answered, Silent, Unavailable};
use duolog_sip::Transport;

use crate::zone::{ALL, Dns, World};

const ZONE: &str = "
    _sip._udp.example.com SRV 0 0 5060 a.example.com
    _sip._udp.example.com SRV 1 0 5060 b.example.com
    _sip._udp.example.com SRV 2 0 5060 c.example.com
    a.example.com A 192.0.2.1
    b.example.com A 192.0.2.2
    c.example.com A 192.0.2.3";

const A: &str = "udp:192.0.2.1:5060";
const B: &str = "udp:192.0.2.2:5060";
const C: &str = "udp:192.0.2.3:5060";

fn world() -> World {
    World::new("udp", ZONE)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn check(world: &mut World, expected: [&str; 3]) {
    assert_eq!(world.locate("udp:example.com"), expected);
}

#[test]
fn what_fails_comes_last_and_is_never_left_out() {
    let mut world = world();
    check(&mut world, [A, B, C]);
    world.outcome(A, Silent);
    check(&mut world, [B, C, A]);
    world.outcome(B, Unavailable(None));
    check(&mut world, [C, A, B]);
    world.outcome(C, Silent);
    check(&mut world, [A, B, C]);
    world.outcome(B, Answered);
    check(&mut world, [B, A, C]);
    let a = (Transport::Udp, "192.0.2.1:5060".parse().unwrap());
    assert!(world.hops.is_avoided(world.now, a));
    // Over another transport it is another hop.
    assert_eq!(world.locate("192.0.2.1"), [A]);
    let tcp = (Transport::Tcp, a.1);
    assert!(!world.hops.is_avoided(world.now, tcp));
}

#[test]
fn it_returns_after_its_time() {
    for (outcome, avoided_s) in [
        (Silent, 60),
        (Unavailable(None), 60),
        (Unavailable(Some(7)), 7),
        (Unavailable(Some(600)), 600),
        (Unavailable(Some(u32::MAX)), 3600),
        (Unavailable(Some(0)), 0),
    ] {
        let mut world = world();
        world.outcome(A, outcome);
        if avoided_s > 0 {
            world.pass(seconds(avoided_s) - Duration::from_millis(1));
            check(&mut world, [B, C, A]);
        }
        world.pass(Duration::from_millis(1));
        check(&mut world, [A, B, C]);
        world.pass(seconds(60));
        world.pass(seconds(60));
        assert_eq!(world.hops.deadline(), None, "{outcome:?}");
    }
}

#[test]
fn the_silent_are_probed_and_return_when_they_answer() {
    let mut world = world();
    world.outcome(A, Silent);
    world.pass(seconds(29));
    assert!(world.probes.is_empty());
    world.pass(seconds(1));
    assert_eq!(world.probes, [A]);
    check(&mut world, [B, C, A]);
    world.outcome(A, Answered);
    check(&mut world, [A, B, C]);
    world.pass(seconds(600));
    assert_eq!(world.probes, [A], "nobody probes what nobody watches");
    assert_eq!(world.hops.deadline(), None);
}

#[test]
fn a_stranger_that_stays_silent_is_not_probed_for_ever() {
    let mut world = world();
    world.outcome(A, Silent);
    // Each probe ends 32 s after it was sent.
    world.pass(seconds(62));
    assert_eq!(world.probes, [A]);
    world.outcome(A, Silent);
    check(&mut world, [A, B, C]);
    world.pass(seconds(600));
    assert_eq!((world.probes.len(), world.hops.held()), (1, 3 + 1));
    // A call that finds it silent again begins all of it again.
    world.outcome(A, Silent);
    check(&mut world, [B, C, A]);
    world.pass(seconds(600));
    assert_eq!(world.probes, [A, A]);
}

#[test]
fn who_asks_for_peace_is_not_probed() {
    let mut world = world();
    world.watch("udp:example.com");
    world.pass(seconds(2));
    assert_eq!(world.probes.len(), 3);
    for hop in [A, B, C] {
        world.outcome(hop, Answered);
    }
    world.probes.clear();
    world.outcome(A, Unavailable(Some(300)));
    world.pass(seconds(299));
    assert!(!world.probes.contains(&A.to_owned()));
    check(&mut world, [B, C, A]);
    world.pass(seconds(1));
    check(&mut world, [A, B, C]);
    assert!(world.probes.contains(&A.to_owned()));
}

#[test]
fn the_watched_are_probed_and_stay_last_until_they_answer() {
    let mut world = world();
    world.watch("udp:example.com");
    world.watch("udp:example.com");
    world.pass(seconds(1));
    let mut first = world.probes.clone();
    first.sort();
    assert_eq!(first, [A, B, C]);
    world.outcome(A, Silent);
    world.outcome(B, Answered);
    world.outcome(C, Answered);
    for _ in 0..40 {
        world.probes.clear();
        world.pass(seconds(30));
        assert_eq!(world.probes.len(), 3, "{:?}", world.probes);
        check(&mut world, [B, C, A]);
        world.outcome(A, Silent);
        world.outcome(B, Answered);
        world.outcome(C, Answered);
    }
    world.outcome(A, Answered);
    check(&mut world, [A, B, C]);
}

#[test]
fn one_probe_at_a_time() {
    let mut world = world();
    world.watch("192.0.2.1");
    world.pass(seconds(1));
    assert_eq!(world.probes, [A]);
    // Its outcome does not come: the next one goes when it must be over.
    world.pass(seconds(30));
    assert_eq!(world.probes.len(), 1);
    world.pass(seconds(30));
    assert_eq!(world.probes.len(), 2);
    // A call that was answered is as good as a probe.
    world.outcome(A, Answered);
    world.pass(seconds(20));
    world.outcome(A, Answered);
    world.pass(seconds(29));
    assert_eq!(world.probes.len(), 2);
    world.pass(seconds(1));
    assert_eq!(world.probes.len(), 3);
}

#[test]
fn watched_addresses_are_kept_known() {
    let mut world = World::new(ALL, ZONE);
    assert!(world.addresses("udp:example.com").is_empty());
    assert_eq!(world.addresses("tcp:192.0.2.77:5070"), ["192.0.2.77"]);
    assert_eq!(world.addresses("::ffff:192.0.2.77"), ["192.0.2.77"]);
    world.watch("udp:example.com");
    let first = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    assert_eq!(world.addresses("udp:example.com"), first);
    assert!(world.addresses("example.com").is_empty(), "not watched");
    // A change is found within the TTL, and hops that are gone are not probed.
    world.set_zone("example.com A 192.0.2.9");
    world.pass(seconds(61));
    assert_eq!(world.addresses("udp:example.com"), ["192.0.2.9"]);
    world.probes.clear();
    world.pass(seconds(120));
    assert!(!world.probes.is_empty());
    assert!(
        world
            .probes
            .iter()
            .all(|probe| probe == "udp:192.0.2.9:5060")
    );
    // A DNS that fails, or has lost the name, takes nothing away.
    for dns in [Dns::Broken, Dns::Silent, Dns::Up] {
        world.dns = dns;
        world.set_zone("");
        world.pass(seconds(3 * 24 * 3600));
        assert_eq!(world.addresses("udp:example.com"), ["192.0.2.9"], "{dns:?}");
    }
    world.set_zone("example.com A 192.0.2.10");
    world.pass(seconds(301));
    assert_eq!(world.addresses("udp:example.com"), ["192.0.2.10"]);
}

#[test]
fn a_watched_name_is_found_without_asking() {
    for ttl_s in ["0", "5", "7", "60", "300"] {
        let zone = ZONE.replace(" SRV", &format!(" {ttl_s} SRV"));
        let mut world = World::new("udp", &zone.replace(" A ", " 20 A "));
        world.watch("udp:example.com");
        for _ in 0..3_000 {
            world.pass(Duration::from_millis(311));
            let asked = world.asked.len();
            check(&mut world, [A, B, C]);
            assert_eq!(world.asked.len(), asked, "TTL {ttl_s}");
        }
        let most = 4 * 933 / 3;
        assert!(world.asked.len() <= most, "{}", world.asked.len());
    }
}

#[test]
fn a_dns_that_is_silent_when_watching_begins_is_asked_again() {
    let mut world = world();
    world.dns = Dns::Silent;
    world.watch("udp:example.com");
    world.pass(seconds(60));
    assert!(world.addresses("udp:example.com").is_empty());
    assert!(world.asked.len() < 20, "{}", world.asked.len());
    world.dns = Dns::Up;
    world.pass(seconds(20));
    assert_eq!(world.addresses("udp:example.com").len(), 3);
}

#[test]
fn strangers_that_fail_are_bounded() {
    let mut world = World::new(ALL, "");
    for n in 0..20_000_u32 {
        let (high, low) = (n / 250, n % 250);
        world.outcome(&format!("udp:10.1.{high}.{low}:5060"), Silent);
    }
    assert!(world.hops.held() <= 4096);
    world.pass(seconds(100));
    assert_eq!((world.hops.held(), world.hops.deadline()), (0, None));
    assert!(world.probes.len() <= 4096);
}
