//! What is kept, how long, and how much of it.

use std::time::Duration;

use duolog_reach::hops::{Input, LocateId, LookupFailure, Output, QueryId, Question, Records};

use crate::zone::{ALL, Dns, World, destination};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn answers_are_kept_for_their_time() {
    for (ttl_s, kept_s) in [(60, 60), (0, 5), (600, 600), (86_400, 3600)] {
        let mut world = World::new("udp", &format!("a.example.com {ttl_s} A 192.0.2.1"));
        assert_eq!(world.locate("a.example.com:5060").len(), 1);
        world.pass(seconds(kept_s - 1));
        assert_eq!(world.locate("a.example.com:5060").len(), 1);
        assert_eq!(world.asked.len(), 1, "TTL {ttl_s}");
        world.pass(seconds(2));
        world.set_zone("a.example.com A 192.0.2.2");
        assert_eq!(world.locate("a.example.com:5060"), ["udp:192.0.2.2:5060"]);
        assert_eq!(world.asked.len(), 2, "TTL {ttl_s}");
    }
}

#[test]
fn that_there_is_none_is_kept_for_less() {
    for (ttl_s, kept_s) in [(30, 30), (0, 5), (86_400, 300)] {
        let mut world = World::new("udp", &format!("a.example.com {ttl_s} TXT"));
        assert!(world.locate("a.example.com:5060").is_empty());
        world.set_zone("a.example.com A 192.0.2.2");
        world.pass(seconds(kept_s - 1));
        assert!(world.locate("a.example.com:5060").is_empty());
        world.pass(seconds(2));
        assert_eq!(world.locate("a.example.com:5060").len(), 1, "TTL {ttl_s}");
    }
}

#[test]
fn who_asks_the_same_meanwhile_waits_for_the_same_answer() {
    let mut world = World::new(ALL, "");
    let mut queries = Vec::new();
    for id in 0..100 {
        let destination = destination("udp:example.com");
        let id = LocateId(id);
        queries.extend(
            world
                .hops
                .handle(world.now, Input::Locate { id, destination }),
        );
    }
    let [Output::Query { id, question }] = &queries[..] else {
        panic!("one question: {queries:?}")
    };
    assert_eq!(*question, Question::Srv("_sip._udp.example.com".into()));
    let absent = |id| Input::Answer {
        id,
        answer: Err(LookupFailure::Absent { ttl: seconds(1) }),
    };
    let next = world.hops.handle(world.now, absent(*id));
    let [Output::Query { id: second, .. }] = &next[..] else {
        panic!("one more: {next:?}")
    };
    // Nobody waits for these.
    assert!(world.hops.handle(world.now, absent(*id)).is_empty());
    assert!(world.hops.handle(world.now, absent(QueryId(77))).is_empty());
    let address = "192.0.2.1".parse().unwrap();
    let answer = Ok(Records::Addresses(vec![address], seconds(60)));
    let located = world.hops.handle(
        world.now,
        Input::Answer {
            id: *second,
            answer,
        },
    );
    assert_eq!(located.len(), 100);
    let is_there = |o: &Output| matches!(o, Output::Located { hops, .. } if hops.len() == 1);
    assert!(located.iter().all(is_there));
    assert_eq!(world.hops.deadline(), None);
}

#[test]
fn an_answer_to_another_question_is_a_failure() {
    for answer in [
        Records::Srv(Vec::new(), seconds(1)),
        Records::Naptr(Vec::new(), seconds(1)),
        Records::Addresses(Vec::new(), seconds(1)),
    ] {
        let mut world = World::new("udp", "");
        let (id, destination) = (LocateId(1), destination("example.com:5060"));
        let out = world
            .hops
            .handle(world.now, Input::Locate { id, destination });
        let [Output::Query { id, .. }] = &out[..] else {
            panic!("a question: {out:?}")
        };
        let answer = Ok(answer);
        let out = world
            .hops
            .handle(world.now, Input::Answer { id: *id, answer });
        let (id, hops) = (LocateId(1), Vec::new());
        assert_eq!(out, [Output::Located { id, hops }]);
    }
}

#[test]
fn everything_is_bounded() {
    let mut world = World::new("udp", "");
    for n in 0..20_000 {
        assert!(world.locate(&format!("h{n}.example.com:5060")).is_empty());
    }
    assert!(world.hops.held() <= 2048, "{}", world.hops.held());
    // And while nothing is answered.
    world.dns = Dns::Silent;
    let (mut queries, mut nowhere) = (0, 0);
    for n in 0..20_000 {
        let destination = destination(&format!("i{n}.example.com:5060"));
        let id = LocateId(1_000_000 + n);
        for output in world
            .hops
            .handle(world.now, Input::Locate { id, destination })
        {
            match output {
                Output::Query { .. } => queries += 1,
                Output::Located { .. } => nowhere += 1,
                Output::Probe { .. } => panic!("nobody is probed"),
            }
        }
    }
    assert_eq!((queries, nowhere), (256, 20_000 - 4096));
    assert!(world.hops.held() <= 2048 + 4096, "{}", world.hops.held());
    world.pass(seconds(20));
    assert!(world.hops.held() <= 2048, "{}", world.hops.held());
    assert_eq!(world.hops.deadline(), None);
}
