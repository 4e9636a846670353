//! Hold and retrieval: what changes the session in the middle of a call loses no sample of it.

use std::time::Duration;

use duolog::phone::{Action, End, PhoneEvent};
use duolog_archive::{GapReason, RequestedFormat};
use duolog_audio::g711::Law;
use duolog_tests::world::World;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::scene::{Desk, Scene, desk, in_laws, outside};

fn held_call(seed: u64, laws: [Law; 2], holder: duolog_tests::world::Who) -> (World, Kept) {
    let mut world = Scene {
        codecs: in_laws(laws),
        ..Scene::new(seed, Desk::quiet())
    }
    .build();
    world.call(outside(0), "100");
    world.run(Duration::from_secs(5));
    for _ in 0..2 {
        world.act(holder, Action::Hold);
        world.run(Duration::from_secs(4));
        world.act(holder, Action::Retrieve);
        world.run(Duration::from_secs(5));
    }
    world.act(desk(0), Action::HangUp);
    world.run_out();
    let kept = finish(&world, RequestedFormat::WavAsReceived).remove(0);
    (world, kept)
}

#[test]
fn hold_by_either_side_is_listed_and_everything_else_is_exact() {
    for (seed, holder, other) in [(500, desk(0), outside(0)), (501, outside(0), desk(0))] {
        let (world, kept) = held_call(seed, [Law::Mulaw; 2], holder);
        assert!(world.has_told(other, PhoneEvent::Held { by: End::Peer }));
        assert!(world.has_told(other, PhoneEvent::Retrieved { by: End::Peer }));
        let verdict = judge(&world, &kept);
        assert!(verdict.faults.is_empty(), "{seed}: {:#?}", verdict.faults);
        for channel in &kept.manifest.channels {
            let held = channel
                .gaps
                .iter()
                .filter(|gap| gap.reason == GapReason::Held);
            let held: u64 = held.map(|gap| gap.samples).sum();
            println!("{seed}: {:?} was on hold for {} ms", channel.side, held / 8);
            assert!((7_800..=8_200).contains(&(held / 8)), "{held}");
        }
    }
}

#[test]
fn a_codec_that_changes_with_the_hold_loses_nothing() {
    for (seed, holder) in [(510, desk(0)), (511, outside(0))] {
        let (world, kept) = held_call(seed, [Law::Alaw, Law::Mulaw], holder);
        let sent = world.phone(holder).sent().iter();
        let mut types: Vec<u8> = sent.map(|packet| packet.payload_type).collect();
        types.dedup();
        println!("{seed}: payload types {types:?}");
        let verdict = judge(&world, &kept);
        assert!(verdict.faults.is_empty(), "{seed}: {:#?}", verdict.faults);
    }
}
