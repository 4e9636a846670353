//! Limits against sources that ask for too much, in virtual time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use duolog_reach::limits::{Kind, LimitSettings, Limits, Rate, Rates, Standing, Verdict};

use Kind::{Bad, Invite, Other, Register};
use Standing::{Neighbour, Stranger};
use Verdict::{Drop, Limited, Pass};

/// Two sources, one of each kind of address.
const ONE: &str = "192.0.2.1";
const OTHER: &str = "2001:db8:1:2::1";

struct World {
    limits: Limits,
    now: Instant,
}

fn settings() -> LimitSettings {
    let rate = |per_s, burst| Rate { per_s, burst };
    LimitSettings {
        strangers: Rates {
            invites: rate(2.0, 10.0),
            registers: rate(1.0, 4.0),
            others: rate(10.0, 20.0),
            bad: rate(1.0, 5.0),
        },
        neighbours: Rates {
            invites: rate(100.0, 1000.0),
            registers: rate(100.0, 1000.0),
            others: rate(1000.0, 1000.0),
            bad: rate(10.0, 50.0),
        },
        sources: 1000,
        ..LimitSettings::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
fn base() -> Instant {
    Instant::now()
}

impl World {
    fn new(settings: LimitSettings) -> Self {
        Self {
            limits: Limits::new(settings),
            now: base(),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn arrives(&mut self, source: &str) -> Verdict {
        self.limits.arrives(self.now, ip(source))
    }

    fn counts(&mut self, source: &str, standing: Standing, kind: Kind) -> Verdict {
        self.limits.counts(self.now, ip(source), standing, kind)
    }

    /// Verdicts on `count` messages at once: how many passed, were to be answered, were dropped.
    fn many(&mut self, source: &str, standing: Standing, kind: Kind, count: usize) -> [usize; 3] {
        let mut verdicts = [0; 3];
        for _ in 0..count {
            match self.counts(source, standing, kind) {
                Pass => verdicts[0] += 1,
                Limited => verdicts[1] += 1,
                Drop => verdicts[2] += 1,
            }
        }
        verdicts
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn each_kind_has_its_bucket() {
    for source in [ONE, OTHER] {
        for (standing, kind, expected) in [
            (Stranger, Invite, [10, 1, 1989]),
            (Stranger, Register, [4, 1, 1995]),
            (Stranger, Other, [20, 1, 1979]),
            (Stranger, Bad, [5, 0, 1995]),
            (Neighbour, Invite, [1000, 1, 999]),
            (Neighbour, Register, [1000, 1, 999]),
            (Neighbour, Other, [1000, 1, 999]),
            (Neighbour, Bad, [50, 0, 1950]),
        ] {
            let mut world = World::new(settings());
            let found = world.many(source, standing, kind, 2000);
            assert_eq!(found, expected, "{source} {standing:?} {kind:?}");
            // Others are not less for it.
            for other in [Invite, Register, Other] {
                let expected = if other == kind { Drop } else { Pass };
                assert_eq!(world.counts(source, standing, other), expected);
            }
        }
    }
}

#[test]
fn buckets_fill_at_their_rate() {
    let mut world = World::new(settings());
    assert_eq!(world.many(ONE, Stranger, Invite, 11), [10, 1, 0]);
    world.pass(499);
    assert_eq!(world.counts(ONE, Stranger, Invite), Drop);
    world.pass(1);
    assert_eq!(world.many(ONE, Stranger, Invite, 2), [1, 0, 1]);
    // Ten minutes of 50 a second: what passes is the rate, 503 go out once a second.
    let mut passed = 0;
    let mut answered = 0;
    for _ in 0..600 * 50 {
        world.pass(20);
        match world.counts(ONE, Stranger, Invite) {
            Pass => passed += 1,
            Limited => answered += 1,
            Drop => {}
        }
    }
    assert!((1198..=1202).contains(&passed), "{passed}");
    assert!((580..=600).contains(&answered), "{answered}");
    // A rest fills it to the burst and no further.
    world.pass(3_600_000);
    assert_eq!(world.many(ONE, Stranger, Invite, 20), [10, 1, 9]);
}

#[test]
fn a_slow_bucket_fills_under_a_flood() {
    let mut settings = settings();
    settings.strangers.registers = Rate {
        per_s: 0.01,
        burst: 1.0,
    };
    let mut world = World::new(settings);
    let mut passed = 0;
    for _ in 0..201_000 {
        world.now += Duration::from_micros(1000);
        passed += usize::from(world.counts(ONE, Stranger, Register) == Pass);
    }
    assert_eq!(passed, 3);
}

#[test]
fn sources_do_not_pay_for_each_other() {
    let mut world = World::new(settings());
    world.many(ONE, Stranger, Invite, 5000);
    world.many(OTHER, Stranger, Invite, 5000);
    for other in ["192.0.2.2", "2001:db8:1:3::1", "::1", "0.0.0.1"] {
        assert_eq!(world.counts(other, Stranger, Invite), Pass, "{other}");
    }
    // One subscriber has a whole /64, and an IPv4 address is one however it is written.
    for same in ["2001:db8:1:2:ffff::7", "::ffff:192.0.2.1"] {
        assert_eq!(world.counts(same, Stranger, Invite), Drop, "{same}");
    }
    // A neighbour at the same address has buckets of its own.
    assert_eq!(world.counts(ONE, Neighbour, Invite), Pass);
}

#[test]
fn networks_are_heard_or_not() {
    let networks = |texts: &[&str]| texts.iter().map(|n| n.parse().expect(n)).collect();
    let check = |allow: &[&str], deny: &[&str], heard: &[&str], unheard: &[&str]| {
        let mut world = World::new(LimitSettings {
            allow: networks(allow),
            deny: networks(deny),
            ..settings()
        });
        for source in heard {
            assert_eq!(world.arrives(source), Pass, "{source}: {allow:?} {deny:?}");
        }
        for source in unheard {
            assert_eq!(world.arrives(source), Drop, "{source}: {allow:?} {deny:?}");
        }
        assert_eq!(world.limits.sources(), 0, "what only arrives is not kept");
    };
    check(&[], &[], &[ONE, OTHER], &[]);
    check(
        &["192.0.2.0/24"],
        &[],
        &[ONE, "::ffff:192.0.2.9"],
        &[OTHER, "192.0.3.1"],
    );
    check(&[], &["192.0.2.0/24"], &[OTHER], &[ONE, "::ffff:192.0.2.9"]);
    check(
        &["0.0.0.0/0"],
        &["192.0.2.0/25"],
        &["192.0.2.128"],
        &[ONE, OTHER],
    );
    check(&["2001:db8::/32"], &[], &[OTHER], &[ONE]);
}

#[test]
fn bad_messages_shut_a_stranger_out() {
    let mut world = World::new(settings());
    // 20,000 a second for 30 s: what is looked at, and what not even that.
    let (mut read, mut unread) = (0, 0);
    for _ in 0..30 * 20_000 {
        world.now += Duration::from_micros(50);
        if world.arrives(ONE) == Pass {
            read += 1;
            world.counts(ONE, Stranger, Bad);
        } else {
            unread += 1;
        }
    }
    assert_eq!((read, unread), (6, 600_000 - 6));
    assert_eq!(world.arrives("192.0.2.2"), Pass);
    // It is heard again, and shut out again.
    world.pass(30_000);
    assert_eq!(world.arrives(ONE), Pass);
    assert_eq!(world.many(ONE, Stranger, Bad, 6), [5, 0, 1]);
    assert_eq!(world.arrives(ONE), Drop);
    // Now and then a bad one among good ones is nothing.
    let mut world = World::new(settings());
    for _ in 0..1000 {
        world.pass(1000);
        assert_eq!(world.arrives(ONE), Pass);
        assert_eq!(world.counts(ONE, Stranger, Bad), Pass);
        assert_eq!(world.counts(ONE, Stranger, Other), Pass);
    }
}

#[test]
fn a_neighbour_is_not_shut_out_by_what_others_send_in_its_name() {
    let mut world = World::new(settings());
    world.many(ONE, Neighbour, Bad, 10_000);
    assert_eq!(world.arrives(ONE), Pass);
    assert_eq!(world.counts(ONE, Neighbour, Invite), Pass);
    // A stranger behind the same NAT is, but not with the neighbour beside it.
    world.many(ONE, Stranger, Bad, 10_000);
    assert_eq!(world.arrives(ONE), Pass);
    world.many(OTHER, Stranger, Bad, 10_000);
    assert_eq!(world.arrives(OTHER), Drop);
}

#[test]
fn memory_is_flat_whatever_sources_are_forged() {
    let mut world = World::new(LimitSettings {
        sources: 4096,
        ..settings()
    });
    assert_eq!(world.counts("198.51.100.1", Neighbour, Invite), Pass);
    let (mut passed, mut most) = (0_u32, 0);
    for n in 0..1_000_000_u32 {
        // 100,000 a second.
        world.now += Duration::from_micros(10);
        let source = match n % 2 {
            0 => IpAddr::V4(Ipv4Addr::from(n.wrapping_mul(2_654_435_761))),
            _ => IpAddr::V6(Ipv6Addr::from(u128::from(n) << 64 | 0x2001 << 112)),
        };
        assert_eq!(world.limits.arrives(world.now, source), Pass);
        let kind = [Invite, Register, Other, Bad][n as usize / 2 % 4];
        let verdict = world.limits.counts(world.now, source, Stranger, kind);
        passed += u32::from(verdict == Pass);
        most = most.max(world.limits.sources());
        // Who was there before is heard all the while.
        if n % 10_000 == 0 {
            let verdict = world.counts("198.51.100.1", Neighbour, Invite);
            assert_eq!(verdict, Pass);
        }
    }
    assert_eq!(most, 4096 + 1);
    // 10 s: newcomers by their rate, and the crowd by its own.
    assert!(
        passed < 10_000 + 10 * 1000 + 32 * (39 + 10 * 14),
        "{passed}"
    );
    assert!(passed > 10_000, "{passed}");
    // When it is over newcomers are welcome.
    world.pass(120_000);
    assert_eq!(world.many("203.0.113.5", Stranger, Invite, 12), [10, 1, 1]);
}

#[test]
fn a_full_table_forgets_only_who_has_rested() {
    let mut world = World::new(LimitSettings {
        sources: 100,
        ..settings()
    });
    let source = |n: u32| Ipv4Addr::from(0xc633_6400 + n).to_string();
    for n in 0..100 {
        world.many(&source(n), Stranger, Invite, 11);
    }
    // The table is full of sources over their limit: newcomers share the crowd's buckets, 320 at once.
    let newcomers: usize = (0..40)
        .map(|n| world.many(&source(1000 + n), Stranger, Invite, 11)[0])
        .sum();
    assert_eq!((newcomers, world.limits.sources()), (320, 100));
    for n in 0..100 {
        assert_eq!(world.counts(&source(n), Stranger, Invite), Drop, "{n}");
    }
    // Ten invites are back after 5 s: the old ones may go.
    world.pass(5000);
    for n in 0..100 {
        let found = world.many(&source(1000 + n), Stranger, Invite, 12);
        assert_eq!(found, [10, 1, 1], "{n}");
    }
    assert_eq!(world.limits.sources(), 100);
}

#[test]
fn many_orders_of_use_keep_the_table_whole() {
    let mut world = World::new(LimitSettings {
        sources: 16,
        ..settings()
    });
    let mut state = 1_u32;
    for step in 0..200_000_u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        world.now += Duration::from_micros(u64::from(state >> 12));
        let source = Ipv4Addr::from(0xc633_6400 + (state >> 8) % 40).to_string();
        world.counts(&source, Stranger, Other);
        assert!(world.limits.sources() <= 16, "step {step}");
    }
    assert_eq!(world.limits.sources(), 16);
}
