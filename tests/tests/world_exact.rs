//! What is recorded is what was said, sample for sample, on networks from clean to lossy
//! (issue 2, acceptance 3), and the oracle that says so can say the opposite (acceptance 8).

use std::time::Duration;

use duolog::phone::Action;
use duolog_archive::{EndState, GapReason, RequestedFormat, StoredFormat};
use duolog_audio::g711::Law;
use duolog_media::Sabotage;
use duolog_tests::world::judge::{Verdict, judge};
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::net::Conditions;
use duolog_tests::world::scene::{Desk, Saying, Scene, desk, in_laws, outside};

const CALL: Duration = Duration::from_secs(60);

/// One call of a minute; its only recording and what the oracle says of it.
fn recorded(scene: &Scene) -> (Kept, Verdict) {
    let mut world = scene.build();
    world.one_call(CALL);
    let mut kept = finish(&world, RequestedFormat::WavAsReceived);
    assert_eq!(kept.len(), 1, "seed {}", scene.seed);
    let kept = kept.remove(0);
    let verdict = judge(&world, &kept);
    (kept, verdict)
}

#[track_caller]
fn assert_exact(name: &str, scene: &Scene) -> (Kept, Verdict) {
    let (kept, verdict) = recorded(scene);
    assert!(
        verdict.faults.is_empty(),
        "{name}, seed {}: {:#?}",
        scene.seed,
        verdict.faults
    );
    let apart = verdict.apart().expect("both parties were heard");
    println!(
        "{name}, seed {}: exact {:?} samples, lost {:?}, skew {:?}, apart {apart}",
        scene.seed, verdict.exact, verdict.lost, verdict.skew
    );
    let least = CALL.as_secs() * 8_000 * 9 / 10;
    assert!(
        verdict.exact.iter().all(|exact| *exact > least),
        "{name}: {:?}",
        verdict.exact
    );
    assert_eq!(
        (kept.manifest.state, verdict.unkept),
        (EndState::Complete, [0, 0])
    );
    (kept, verdict)
}

fn jittery() -> Conditions {
    Conditions {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(80),
        reorder: 0.05,
        held_back: Duration::from_millis(60),
        ..Conditions::clean()
    }
}

#[test]
fn a_clean_network_is_bit_exact_in_either_law() {
    for (law, stored) in [
        (Law::Mulaw, StoredFormat::WavMulaw),
        (Law::Alaw, StoredFormat::WavAlaw),
    ] {
        let scene = Scene {
            codecs: in_laws([law; 2]),
            ..Scene::new(10, Desk::quiet())
        };
        let (kept, verdict) = assert_exact(&format!("clean {law:?}"), &scene);
        assert_eq!(verdict.skew, [Some(0), Some(0)], "to the sample");
        assert_eq!(kept.manifest.audio.expect("audio").format, stored);
    }
}

#[test]
fn parties_with_different_laws_are_exact_as_well() {
    let scene = Scene {
        codecs: in_laws([Law::Alaw, Law::Mulaw]),
        ..Scene::new(11, Desk::quiet())
    };
    assert_exact("two laws", &scene);
}

#[test]
fn jitter_and_reorder_inside_the_window_change_nothing() {
    for (seed, law) in [
        (20, Law::Mulaw),
        (21, Law::Alaw),
        (22, Law::Mulaw),
        (23, Law::Alaw),
    ] {
        let new = Scene::new(seed, Desk::quiet());
        let scene = Scene {
            codecs: in_laws([law; 2]),
            media: jittery(),
            ..new
        };
        let (kept, verdict) = assert_exact("jitter", &scene);
        let channels = kept.manifest.channels.into_iter();
        let figures: Vec<_> = channels.map(|c| c.figures.expect("counted")).collect();
        assert!(figures.iter().all(|f| f.lost + f.late == 0), "{figures:?}");
        assert!(verdict.lost == [0, 0]);
    }
}

#[test]
fn of_a_lossy_network_only_the_lost_packets_are_missing_and_each_is_listed() {
    for (seed, law) in [(30, Law::Mulaw), (31, Law::Alaw)] {
        let media = Conditions {
            loss: 0.03,
            ..Conditions::clean()
        };
        let scene = Scene {
            codecs: in_laws([law; 2]),
            media,
            ..Scene::new(seed, Desk::quiet())
        };
        let (kept, verdict) = assert_exact("3 % loss", &scene);
        for (side, channel) in kept.manifest.channels.iter().enumerate() {
            let loss = channel
                .gaps
                .iter()
                .filter(|gap| gap.reason == GapReason::Loss);
            let listed: u64 = loss.map(|gap| gap.samples).sum();
            assert_eq!(
                listed, verdict.lost[side],
                "each lost sample is listed once"
            );
            assert!(
                (50..150).contains(&(listed / 160)),
                "{} packets of 3,000",
                listed / 160
            );
        }
    }
}

#[test]
fn loss_with_jitter_reorder_and_duplicates_is_still_told_apart() {
    for seed in 40..44 {
        let media = Conditions {
            loss: 0.03,
            duplicate: 0.05,
            ..jittery()
        };
        let scene = Scene {
            media,
            ..Scene::new(seed, Desk::quiet())
        };
        assert_exact("everything at once", &scene);
    }
}

/// A call in which every fault has something to break: loss, a pause, tones under the speech.
fn eventful(sabotage: Sabotage) -> Verdict {
    let desk_ = Desk {
        notice: "beep",
        repeat_tone: "10s",
        ..Desk::quiet()
    };
    let media = Conditions {
        loss: 0.03,
        ..Conditions::clean()
    };
    let mut world = Scene {
        media,
        sabotage,
        ..Scene::new(50, desk_)
    }
    .build();
    world.call(outside(0), "100");
    world.run(Duration::from_secs(14));
    world.act(
        desk(0),
        Action::Press {
            digits: "*48".into(),
        },
    );
    world.run(Duration::from_secs(5));
    world.act(
        desk(0),
        Action::Record {
            value: "resume".into(),
        },
    );
    world.run(Duration::from_secs(12));
    world.act(outside(0), Action::HangUp);
    for _ in 0..60 {
        world.run(Duration::from_secs(1));
    }
    let kept = finish(&world, RequestedFormat::WavAsReceived);
    let mut verdict = judge(&world, &kept[0]);
    verdict
        .faults
        .extend(world.node.watch().faults().iter().cloned());
    verdict
}

#[test]
fn the_oracle_sees_every_fault_that_is_put_in() {
    let whole = eventful(Sabotage::None);
    assert!(whole.faults.is_empty(), "{:#?}", whole.faults);
    assert!(
        whole.exact.iter().all(|exact| *exact > 25 * 8_000 * 8 / 10),
        "{whole:?}"
    );
    let check = |sabotage, signs: &[&str]| {
        let verdict = eventful(sabotage);
        println!("{sabotage:?}: {:#?}", verdict.faults);
        for sign in signs {
            let seen = verdict.faults.iter().any(|fault| fault.contains(sign));
            assert!(
                seen,
                "{sabotage:?} shows no {sign:?}: {:#?}",
                verdict.faults
            );
        }
    };
    check(
        Sabotage::NoGapFill,
        &[
            "channel 0: audio inside a gap",
            "channel 1: audio inside a gap",
        ],
    );
    check(
        Sabotage::SwapChannels,
        &[
            "channel 0: nothing of its party",
            "channel 1: nothing of its party",
        ],
    );
    let other = [
        "channel 0: other samples than were sent",
        "channel 1: other samples than were sent",
    ];
    check(Sabotage::InjectBeforeTap, &other);
}

#[test]
fn digital_silence_is_kept_as_what_it_is() {
    let scene = Scene {
        voices: [Saying::Silence, Saying::Code],
        ..Scene::new(60, Desk::quiet())
    };
    let (kept, verdict) = recorded(&scene);
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
    assert!(kept.channels[0].iter().all(|sample| *sample == 0));
    assert_eq!(
        kept.manifest.channels[0].gaps.len(),
        1,
        "only the start: {:?}",
        kept.manifest.channels[0].gaps
    );
}
