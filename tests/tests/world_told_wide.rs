//! What is spoken of a recording is heard through wide codecs too, whole, and is in no recording (issue 5,
//! acceptance 2).

use std::time::Duration;

use duolog::phone::Action;
use duolog_archive::RequestedFormat;
use duolog_audio::codec::Codec;
use duolog_call::PromptName::{
    Compliance, FailureContinues, FailureEnds, RecordingPaused, RecordingResumed, RecordingStarts,
    RecordingStops,
};
use duolog_tests::world::World;
use duolog_tests::world::kept::finish;
use duolog_tests::world::scene::{Desk, Saying, Scene, Wanted, desk, outside};
use duolog_tests::world::sound::tone_runs;
use duolog_tests::world::told::{BEEP_HZ, LANGUAGES, REPEAT_HZ, nothing_played_in, prompts_in};

/// G.722 at the desk and Opus outside.
#[test]
fn stop_failure_and_compliance_are_heard_through_wide_codecs_and_not_recorded() {
    let own = "";
    let compliance = "compliance = { inbound = \"on\" }\n";
    let stop = [RecordingStarts, RecordingStops];
    let fails = |prompt| [RecordingStarts, prompt];
    for (n, (on_failure, lines, desk_hears, outside_hears)) in [
        (None, own, stop, &stop[..]),
        (None, compliance, stop, &[Compliance]),
        (
            Some("go-on-announced"),
            own,
            fails(FailureContinues),
            &fails(FailureContinues),
        ),
        (
            Some("end-announced"),
            compliance,
            fails(FailureEnds),
            &[Compliance, FailureEnds],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = on_failure.unwrap_or("go-on");
        let lines = format!("on_failure = \"{policy}\"\nlanguage = \"nl\"\n{lines}");
        let mut world = wide_world(
            9_180 + n as u64,
            Desk {
                mode: "on-demand-user-start",
                announce: "on",
                lines: lines.leak(),
                ..Desk::quiet()
            },
        );
        let record = |world: &mut World, value: &str| {
            let value = value.to_owned();
            world.act(desk(0), Action::Record { value });
        };
        world.call(outside(0), "100");
        world.run(Duration::from_secs(4));
        record(&mut world, "on");
        world.run(Duration::from_secs(7));
        match on_failure {
            Some(_) => world.lose_recordings(),
            None => record(&mut world, "off"),
        }
        world.run(Duration::from_secs(6));
        if policy != "end-announced" {
            world.act(desk(0), Action::HangUp);
        }
        world.run_out();
        for (who, wanted) in [(desk(0), &desk_hears[..]), (outside(0), outside_hears)] {
            let heard = world.phone(who).ear().heard().expect("something was heard");
            let (found, beside) = prompts_in(&heard.samples);
            let names: Vec<_> = found.iter().map(|one| (one.prompt, one.language)).collect();
            let wanted: Vec<_> = wanted.iter().map(|prompt| (*prompt, "nl")).collect();
            assert_eq!(names, wanted, "{n}, {who:?}");
            let fits = found.iter().map(|one| one.fits).fold(1.0, f64::min);
            println!("{n}, {who:?}: correlation {fits:.3}, of others {beside:.2}");
            assert!(fits > 0.95 && beside < 0.6, "{fits} {beside}");
        }
        let kept = finish(&world, RequestedFormat::WavPcm16);
        assert_eq!(kept.len(), 1);
        println!("  in the recording: {:.0} dBFS", nothing_played_in(&kept));
    }
}

fn wide_world(seed: u64, desk: Desk) -> World {
    let scene = Scene {
        codecs: [vec![Codec::G722], vec![Codec::Opus]],
        wanted: Wanted {
            transcode: "[\"g722\", \"opus\"]",
            ..Wanted::default()
        },
        voices: [Saying::Silence; 2],
        ..Scene::new(seed, desk)
    };
    scene.build()
}

/// G.722 at the desk and Opus outside.
#[test]
fn start_pause_and_tones_are_heard_through_wide_codecs_and_not_recorded() {
    for (n, language) in LANGUAGES.into_iter().enumerate() {
        for (m, notice) in ["announcement", "beep"].into_iter().enumerate() {
            wide(9_130 + (2 * n + m) as u64, language, notice);
        }
    }
}

fn wide(seed: u64, language: &'static str, notice: &'static str) {
    let mut world = wide_world(
        seed,
        Desk {
            announce: "on",
            notice,
            repeat_tone: "10s",
            lines: match language {
                "nl" => "language = \"nl\"\n",
                _ => "",
            },
            ..Desk::quiet()
        },
    );
    world.call(outside(0), "100");
    for (seconds, value) in [(8, "pause"), (4, "resume")] {
        world.run(Duration::from_secs(seconds));
        let value = value.to_owned();
        world.act(desk(0), Action::Record { value });
    }
    world.run(Duration::from_secs(15));
    world.act(desk(0), Action::HangUp);
    world.run_out();
    for who in [desk(0), outside(0)] {
        let heard = world.phone(who).ear().heard().expect("something was heard");
        let (found, beside) = prompts_in(&heard.samples);
        let names: Vec<_> = found.iter().map(|one| (one.prompt, one.language)).collect();
        let [starts, paused, resumed] =
            [RecordingStarts, RecordingPaused, RecordingResumed].map(|prompt| (prompt, language));
        let beeps = tone_runs(&heard.samples, BEEP_HZ, -26.0).len();
        match notice {
            "beep" => assert_eq!((names, beeps), (vec![starts], 2), "{who:?}"),
            _ => assert_eq!(
                (names, beeps),
                (vec![starts, paused, resumed], 0),
                "{who:?}"
            ),
        }
        let tones = tone_runs(&heard.samples, REPEAT_HZ, -26.0);
        // What is spoken has that frequency too, for less than 100 ms.
        let tones = tones.iter().filter(|run| run.length > 3_000);
        assert_eq!(tones.count(), 1, "{who:?}");
        let fits = found.iter().map(|one| one.fits).fold(1.0, f64::min);
        println!("{language}, {notice}, {who:?}: correlation {fits:.3}, of others {beside:.2}");
        assert!(fits > 0.95 && beside < 0.6, "{fits} {beside}");
    }
    let kept = finish(&world, RequestedFormat::WavPcm16);
    assert_eq!(kept.len(), 1);
    println!("  in the recording: {:.0} dBFS", nothing_played_in(&kept));
}
