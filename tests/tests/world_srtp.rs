//! Encrypted legs: recorded right, or refused with a reason; never silence that counts as success
//! (issue 3, acceptance 7).

use std::time::Duration;

use duolog::phone::{Action, KeyUse, PhoneEvent, Security};
use duolog_archive::{EndState, RequestedFormat};
use duolog_media::DropReason;
use duolog_rtp::srtp::Suite;
use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use duolog_sip::StatusCode;
use duolog_tests::world::World;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::net::Conditions;
use duolog_tests::world::scene::{Desk, Lines, Scene, Wanted, desk, outside};

fn sdes(suite: Suite) -> Security {
    Security::Sdes {
        suites: vec![suite],
        key: KeyUse::AsTold,
    }
}

fn secured(security: [Security; 2]) -> Lines {
    Lines {
        security,
        ..Lines::default()
    }
}

fn one_call(scene: &Scene) -> (World, Vec<Kept>) {
    let mut world = scene.build();
    world.one_call(Duration::from_secs(12));
    let kept = finish(&world, RequestedFormat::WavAsReceived);
    (world, kept)
}

fn dropped(world: &World, reason: DropReason) -> u64 {
    world
        .node
        .counters()
        .map(|counters| counters.dropped(reason))
        .sum()
}

/// Recorded to the sample, and heard at both ends as it was said.
#[track_caller]
fn check_exact(name: &str, world: &World, kept: &[Kept]) {
    let [kept] = kept else {
        panic!("{name}: {} recordings", kept.len());
    };
    let verdict = judge(world, kept);
    assert!(verdict.faults.is_empty(), "{name}: {:#?}", verdict.faults);
    println!("{name}: {:?} samples exact", verdict.exact);
    assert!(
        verdict.exact.iter().all(|exact| *exact > 80_000),
        "{name}: {:?}",
        verdict.exact
    );
    assert_eq!(kept.manifest.state, EndState::Complete, "{name}");
    for (from, to) in [(desk(0), outside(0)), (outside(0), desk(0))] {
        let sent = world.phone(from).sent().iter().map(|p| &p.payload);
        let heard: Vec<_> = world
            .phone(to)
            .ear()
            .packets()
            .iter()
            .map(|p| &p.payload)
            .collect();
        let sent: Vec<_> = sent.collect();
        let whole = sent
            .windows(400)
            .any(|sent| heard.windows(400).any(|heard| heard == sent));
        assert!(whole, "{name}: {to:?} hears what {from:?} says");
        assert_eq!(
            world.phone(to).ear().refused(),
            0,
            "{name}: {to:?} understands every packet"
        );
    }
}

#[test]
fn every_suite_is_recorded_to_the_sample() {
    for (n, suite) in Suite::ALL.into_iter().enumerate() {
        let scene = Scene {
            lines: secured([sdes(suite), sdes(suite)]),
            ..Scene::new(3_500 + n as u64, Desk::quiet())
        };
        let (world, kept) = one_call(&scene);
        check_exact(suite.name(), &world, &kept);
    }
}

#[test]
fn each_leg_has_its_own_keys_and_its_own_suite() {
    let all = [Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80];
    let scene = Scene {
        lines: secured([
            Security::Sdes {
                suites: vec![all[0]],
                key: KeyUse::AsTold,
            },
            Security::Sdes {
                suites: all.to_vec(),
                key: KeyUse::AsTold,
            },
        ]),
        ..Scene::new(3_510, Desk::quiet())
    };
    let (world, kept) = one_call(&scene);
    check_exact("two suites", &world, &kept);
}

#[test]
fn an_encrypted_and_a_clear_leg_go_together() {
    let suite = sdes(Suite::AesCm128HmacSha1_80);
    for (n, (security, media_security)) in [
        ([suite.clone(), Security::Clear], ["always", "as-offered"]),
        ([Security::Clear, suite], ["never", "as-offered"]),
    ]
    .into_iter()
    .enumerate()
    {
        let scene = Scene {
            lines: secured(security),
            wanted: Wanted {
                media_security,
                ..Wanted::default()
            },
            ..Scene::new(3_520 + n as u64, Desk::quiet())
        };
        let (world, kept) = one_call(&scene);
        check_exact(&format!("mixed {n}"), &world, &kept);
    }
}

#[test]
fn what_cannot_be_protected_as_told_is_refused_with_488() {
    let suite = sdes(Suite::AesCm128HmacSha1_80);
    for (n, (security, media_security)) in [
        // The desk insists on encryption, the operator forbids it.
        ([suite.clone(), Security::Clear], ["never", "as-offered"]),
        // The desk cannot encrypt, the caller insists.
        (
            [Security::Clear, suite.clone()],
            ["as-offered", "as-offered"],
        ),
        // The caller cannot encrypt, the operator insists.
        ([Security::Clear, Security::Clear], ["as-offered", "always"]),
    ]
    .into_iter()
    .enumerate()
    {
        let scene = Scene {
            lines: secured(security),
            wanted: Wanted {
                media_security,
                ..Wanted::default()
            },
            ..Scene::new(3_530 + n as u64, Desk::quiet())
        };
        let (world, kept) = one_call(&scene);
        let refused = PhoneEvent::Refused(StatusCode::NOT_ACCEPTABLE_HERE);
        assert!(
            world.has_told(outside(0), refused),
            "{n}: {:?}",
            world.told()
        );
        for kept in &kept {
            println!("{n}: {:?}: {}", kept.manifest.state, kept.manifest.reason);
            assert_ne!(kept.manifest.state, EndState::Complete);
            assert!(kept.object.is_empty());
        }
    }
}

#[test]
fn a_wrong_key_is_dropped_counted_and_named_and_never_relayed() {
    let suites = vec![Suite::AesCm128HmacSha1_80];
    for (n, liar) in [0, 1].into_iter().enumerate() {
        let mut security = [sdes(suites[0]), sdes(suites[0])];
        security[liar] = Security::Sdes {
            suites: suites.clone(),
            key: KeyUse::Another,
        };
        let scene = Scene {
            lines: secured(security),
            ..Scene::new(3_540 + n as u64, Desk::quiet())
        };
        let (world, kept) = one_call(&scene);
        let hears = [outside(0), desk(0)][liar];
        assert_eq!(
            world.phone(hears).ear().count(),
            0,
            "nothing of it is relayed"
        );
        let count = dropped(&world, DropReason::SrtpTag);
        println!(
            "liar {liar}: {count} packets dropped; {:?}: {}",
            kept[0].manifest.state, kept[0].manifest.reason
        );
        assert!(count > 500, "{count}");
        assert_eq!(kept[0].manifest.state, EndState::OneWay);
        assert!(
            kept[0].channels[liar]
                .iter()
                .all(|sample| sample.abs() <= 8)
        );
    }
}

#[test]
fn replays_are_dropped_and_change_nothing() {
    let suite = sdes(Suite::AeadAes128Gcm);
    let scene = Scene {
        lines: secured([suite.clone(), suite]),
        media: Conditions {
            duplicate: 0.3,
            jitter: Duration::from_millis(30),
            reorder: 0.05,
            held_back: Duration::from_millis(40),
            ..Conditions::clean()
        },
        ..Scene::new(3_550, Desk::quiet())
    };
    let (world, kept) = one_call(&scene);
    let verdict = judge(&world, &kept[0]);
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
    let count = dropped(&world, DropReason::SrtpReplayed);
    println!("{count} replays, {:?} samples exact", verdict.exact);
    assert!(count > 200, "{count}");
    assert_eq!(kept[0].manifest.state, EndState::Complete);
}

#[test]
fn numbers_that_wrap_and_a_late_join_are_followed() {
    let suite = sdes(Suite::AesCm256HmacSha1_80);
    let mut world = Scene {
        lines: secured([suite.clone(), suite]),
        ..Scene::new(3_560, Desk::quiet())
    }
    .build();
    world.call(outside(0), "100");
    // Everything before the first second is lost: the node joins late.
    world.net.media.loss = 1.0;
    world.run_ms(1_500);
    world.net.media.loss = 0.0;
    world.run_ms(2_000);
    world.act(
        desk(0),
        Action::Renew {
            ssrc: Ssrc(99),
            seq: SeqNo(u16::MAX - 100),
            timestamp: RtpTimestamp(u32::MAX - 30_000),
        },
    );
    world.run_ms(6_000);
    world.act(desk(0), Action::HangUp);
    world.run_out();
    let kept = finish(&world, RequestedFormat::WavAsReceived).remove(0);
    let lost = dropped(&world, DropReason::SrtpTag);
    let there: Vec<u64> = kept
        .manifest
        .channels
        .iter()
        .map(|channel| channel.samples)
        .collect();
    println!(
        "{lost} dropped, {there:?} samples there of {}",
        kept.manifest.length.samples
    );
    assert_eq!(lost, 0, "no packet fails because its number wrapped");
    assert!(there.iter().all(|there| *there > 62_000), "{there:?}");
    assert_eq!(kept.manifest.state, EndState::Complete);
}
