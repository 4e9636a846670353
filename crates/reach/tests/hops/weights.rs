//! RFC 2782: shares by weight, over whole searches.

use std::collections::BTreeMap;

use crate::zone::World;

const ZONE: &str = "
    _sip._udp.example.com SRV 10 60 5060 a.example.com
    _sip._udp.example.com SRV 10 30 5060 b.example.com
    _sip._udp.example.com SRV 10 10 5060 c.example.com
    _sip._udp.example.com SRV 20 0 5060 d.example.com
    a.example.com A 192.0.2.1
    b.example.com A 192.0.2.2
    c.example.com A 192.0.2.3
    d.example.com A 192.0.2.4";

#[test]
fn searches_share_servers_by_weight() {
    let mut world = World::new("udp", ZONE);
    let mut firsts: BTreeMap<String, u32> = BTreeMap::new();
    let mut seconds: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..20_000 {
        let found = world.locate("udp:example.com");
        assert_eq!(found.len(), 4);
        assert_eq!(found[3], "udp:192.0.2.4:5060");
        *firsts.entry(found[0].clone()).or_default() += 1;
        if found[0] == "udp:192.0.2.1:5060" {
            *seconds.entry(found[1].clone()).or_default() += 1;
        }
    }
    let share = |counts: &BTreeMap<String, u32>, host: u8| {
        let all: u32 = counts.values().sum();
        let count = counts[&format!("udp:192.0.2.{host}:5060")];
        f64::from(count) / f64::from(all)
    };
    for (host, expected) in [(1, 0.6), (2, 0.3), (3, 0.1)] {
        let found = share(&firsts, host);
        assert!((found - expected).abs() < 0.02, "{host}: {found}");
    }
    // Of those that are left, again by weight: 30 to 10.
    let found = share(&seconds, 2);
    assert!((found - 0.75).abs() < 0.04, "{found}");
    assert_eq!(world.asked.len(), 5, "asked once for all of them");
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let run = |seed| {
        let mut world = World::seeded("udp", ZONE, seed);
        let found: Vec<String> = (0..50).flat_map(|_| world.locate("example.com")).collect();
        found
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
