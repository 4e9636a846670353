//! What duolog tells the parties reaches both of them on time, and never a recording
//! (issue 2, acceptance 4).

use std::time::{Duration, Instant};

use duolog::phone::{Action, Heard};
use duolog::prompts::PromptBook;
use duolog_archive::RequestedFormat;
use duolog_audio::g711::{self, Law};
use duolog_audio::measure::{goertzel_dbfs, rms_dbfs};
use duolog_audio::tone::{self, ToneShape};
use duolog_call::{PromptName, UserIndex};
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::scene::{Desk, Saying, Scene, desk, in_laws, outside};
use duolog_tests::world::sound::{ToneRun, find, instant_of, tone_runs};
use duolog_tests::world::{Who, World};

const REPEAT_HZ: f64 = 1_400.0;
const BEEP_HZ: f64 = 1_000.0;
/// A window counts from the half of the tone on: then a run begins where the tone does.
const HALF_DBFS: f64 = -26.0;
/// One packet, which may just have left, and what an order takes to its thread.
const PATIENCE_MS: f64 = 20.0 + 0.2;

fn parties() -> [(&'static str, Who); 2] {
    [("desk", desk(0)), ("outside", outside(0))]
}

fn heard(world: &World, who: Who) -> Heard {
    world.phone(who).ear().heard().expect("something was heard")
}

/// When the only recording's position 0 was.
fn started(world: &World) -> Instant {
    let life = world
        .node
        .watch()
        .lives()
        .values()
        .next()
        .expect("a recording");
    life.started.expect("it started")
}

/// Milliseconds from `due` at the node to the moment a sample was heard, less the way.
fn late_ms(world: &World, heard: &Heard, sample: usize, due: Instant) -> f64 {
    let at = instant_of(heard, sample);
    let due = due + world.net.media.delay;
    (world.since(at).as_secs_f64() - world.since(due).as_secs_f64()) * 1_000.0
}

/// The recording is what was said and nothing else.
fn assert_untouched(world: &World) -> Kept {
    let mut kept = finish(world, RequestedFormat::WavAsReceived);
    assert_eq!(kept.len(), 1);
    let kept = kept.remove(0);
    let verdict = judge(world, &kept);
    assert!(
        verdict.faults.is_empty(),
        "seed {}: {:#?}",
        world.seed,
        verdict.faults
    );
    kept
}

/// The sample at which a tone of this shape begins within a run.
fn onset(heard: &Heard, run: &ToneRun, shape: &ToneShape) -> usize {
    let from = run.from.saturating_sub(400);
    let to = (run.from + run.length + 600).min(heard.samples.len());
    from + find(&shape.samples(), &heard.samples[from..to]).0
}

/// The loudest 100 ms of a tone in a channel.
fn loudest(samples: &[i16], hz: f64) -> f64 {
    samples
        .chunks(800)
        .map(|part| goertzel_dbfs(part, hz))
        .fold(f64::MIN, f64::max)
}

fn tone_call(seed: u64, interval_s: u64, voices: [Saying; 2]) -> World {
    let repeat_tone = match interval_s {
        10 => "10s",
        20 => "20s",
        90 => "90s",
        other => panic!("no such interval: {other}"),
    };
    let scene = Scene::new(
        seed,
        Desk {
            repeat_tone,
            ..Desk::quiet()
        },
    );
    let mut world = Scene { voices, ..scene }.build();
    world.one_call(Duration::from_millis(300_000 + 900));
    world
}

/// The tone at one ear: every run where it is due, and loud enough.
fn assert_tones(world: &World, name: &str, heard: &Heard, interval_s: u64) {
    let runs = tone_runs(&heard.samples, REPEAT_HZ, HALF_DBFS);
    let expected = 300 / interval_s;
    assert_eq!(runs.len() as u64, expected, "{name}: {runs:?}");
    let (mut worst, mut softest) = (0.0_f64, 0.0_f64);
    for (n, run) in (1..).zip(&runs) {
        let due = started(world) + Duration::from_secs(interval_s * n);
        let late = late_ms(world, heard, onset(heard, run, &tone::repeat_tone()), due);
        assert!(
            (0.0..=PATIENCE_MS).contains(&late),
            "{name}: tone {n} is {late} ms late"
        );
        assert!(
            run.peak_dbfs > -30.0,
            "{name}: tone {n} at {} dBFS",
            run.peak_dbfs
        );
        assert!(
            (3_800..=4_200).contains(&run.length),
            "{name}: tone {n}: {run:?}"
        );
        worst = worst.max(late.abs());
        softest = softest.min(run.peak_dbfs);
    }
    println!(
        "every {interval_s} s, {name}: {expected} tones, at most {worst:.1} ms late, \
         softest {softest:.1} dBFS"
    );
}

#[test]
fn the_repeat_tone_is_on_time_at_both_ears_for_five_minutes() {
    for interval_s in [10, 20, 90] {
        let world = tone_call(100 + interval_s, interval_s, [Saying::Silence; 2]);
        for (name, who) in parties() {
            assert_tones(&world, name, &heard(&world, who), interval_s);
        }
        let kept = assert_untouched(&world);
        for (side, channel) in kept.channels.iter().enumerate() {
            let level = loudest(channel, REPEAT_HZ);
            println!("every {interval_s} s: the tone in channel {side}: {level:.0} dBFS");
            assert!(level < -70.0, "channel {side}: {level} dBFS");
        }
    }
}

#[test]
fn the_repeat_tone_is_mixed_under_speech_and_never_recorded() {
    let world = tone_call(200, 20, [Saying::Code; 2]);
    let shape = tone::repeat_tone().samples();
    for (name, who) in parties() {
        let heard = heard(&world, who);
        let runs = tone_runs(&heard.samples, REPEAT_HZ, HALF_DBFS);
        assert_eq!(runs.len(), 15, "{name}: {runs:?}");
        for (n, run) in (1..).zip(&runs) {
            let due = started(&world) + Duration::from_secs(20 * n);
            let late = late_ms(
                &world,
                &heard,
                onset(&heard, run, &tone::repeat_tone()),
                due,
            );
            assert!(
                (-1.0..=PATIENCE_MS + 1.0).contains(&late),
                "{name}: tone {n} is {late} ms late"
            );
        }
        // The code beside the tone is still whole.
        let slots = duolog::phone::decode(&heard.samples);
        assert!(
            slots.iter().filter(|slot| slot.pieces == 31).count() > 2_900,
            "{}",
            slots.len()
        );
    }
    let kept = assert_untouched(&world);
    for channel in &kept.channels {
        for n in 1..=15 {
            let around = &channel[n * 160_000 - 800..n * 160_000 + 4_400];
            let (_, correlation) = find(&shape, around);
            assert!(correlation < 0.3, "tone {n}: {correlation}");
        }
    }
}

#[test]
fn a_party_that_hears_nothing_else_still_hears_the_tone() {
    let world = tone_call(210, 20, [Saying::Nothing, Saying::Code]);
    let heard = heard(&world, outside(0));
    let runs = tone_runs(&heard.samples, REPEAT_HZ, HALF_DBFS);
    assert_eq!(runs.len(), 15, "{runs:?}");
    for (n, run) in (1..).zip(&runs) {
        let due = started(&world) + Duration::from_secs(20 * n);
        let late = late_ms(
            &world,
            &heard,
            onset(&heard, run, &tone::repeat_tone()),
            due,
        );
        assert!(
            (0.0..=PATIENCE_MS).contains(&late),
            "tone {n}: {late} ms late"
        );
    }
    assert_untouched(&world);
}

#[test]
fn intervals_out_of_range_are_refused() {
    for (interval, allowed) in [("9s", false), ("10s", true), ("90s", true), ("91s", false)] {
        let scene = Scene::new(
            1,
            Desk {
                repeat_tone: interval,
                ..Desk::quiet()
            },
        );
        let read = duolog::config::read(&scene.config());
        assert_eq!(read.is_ok(), allowed, "{interval}");
        if let Err(mistakes) = read {
            let text = mistakes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n");
            assert!(text.contains("10s to 90s"), "{text}");
        }
    }
}

/// As a prompt sounds through a law.
fn through(law: Law, samples: &[i16]) -> Vec<i16> {
    samples
        .iter()
        .map(|&sample| g711::decode(law, g711::encode(law, sample)))
        .collect()
}

fn prompt(name: PromptName) -> Vec<i16> {
    let config = duolog::config::read("").expect("nothing is needed");
    let plain = duolog::abilities::Abilities::default();
    let book = PromptBook::load(&config, &plain).expect("shipped prompts");
    book.prompt(name, "en", UserIndex(0)).linear.to_vec()
}

/// A prompt at an ear: whole, and how many ms after `due` it began.
fn assert_prompt(
    world: &World,
    name: &str,
    who: Who,
    said: PromptName,
    due: Instant,
) -> (f64, f64) {
    let heard = heard(world, who);
    let law = world
        .phone(who)
        .ear()
        .packets()
        .first()
        .and_then(|p| p.codec?.law())
        .expect("a law");
    let prompt = through(law, &prompt(said));
    let (at, correlation) = find(&prompt, &heard.samples);
    let late = late_ms(world, &heard, at, due);
    println!("{said:?} at {name}: correlation {correlation:.4}, {late:.1} ms after its cause");
    assert!(
        correlation > 0.99,
        "{name}: {said:?} is not whole: {correlation}"
    );
    assert!(
        (0.0..=40.0).contains(&late),
        "{name}: {said:?} began {late} ms after its cause"
    );
    let end = late_ms(world, &heard, at + prompt.len(), started(world));
    (late, end)
}

/// When the last packet of the announcement came: injected packets end where speech sets the
/// marker again.
fn last_of_prompt(world: &World, who: Who) -> Instant {
    let packets = world.phone(who).ear().packets();
    let speech = packets
        .iter()
        .rposition(|packet| packet.marker)
        .expect("speech came back");
    packets[speech - 1].arrived
}

#[test]
fn both_hear_the_whole_announcement_before_the_first_sample_is_kept() {
    let scene = Scene::new(
        220,
        Desk {
            announce: "on",
            ..Desk::quiet()
        },
    );
    for law in [Law::Mulaw, Law::Alaw] {
        let mut world = Scene {
            codecs: in_laws([law; 2]),
            ..scene.clone()
        }
        .build();
        world.one_call(Duration::from_secs(20));
        let answered = world.told().iter().find(|(_, who, event)| {
            (*who, *event) == (outside(0), duolog::phone::PhoneEvent::Answered)
        });
        let connected = answered.expect("the call was answered").0 + world.net.sip.delay;
        for (name, who) in parties() {
            let (_, end) = assert_prompt(&world, name, who, PromptName::RecordingStarts, connected);
            println!("  its end came {end:.1} ms after the recording's start");
            assert!(end <= 0.0, "{name} heard it until {end} ms after the start");
            let last = last_of_prompt(&world, who);
            let kept = started(&world) + world.net.media.delay;
            assert!(
                last < kept,
                "{name}: its last packet came {:?} late",
                last - kept
            );
        }
        let kept = assert_untouched(&world);
        let words = prompt(PromptName::RecordingStarts);
        for channel in &kept.channels {
            let (_, correlation) = find(&words, channel);
            assert!(
                correlation < 0.3,
                "the announcement is in the recording: {correlation}"
            );
        }
    }
}

/// A call of silent parties with one pause; where it began and ended, in samples.
fn paused_call(seed: u64, notice: &'static str, voices: [Saying; 2]) -> (World, [Instant; 2]) {
    let scene = Scene::new(
        seed,
        Desk {
            notice,
            repeat_tone: "10s",
            ..Desk::quiet()
        },
    );
    let mut world = Scene { voices, ..scene }.build();
    world.call(outside(0), "100");
    world.run(Duration::from_secs(15));
    world.act(
        desk(0),
        Action::Record {
            value: "pause".into(),
        },
    );
    world.run(Duration::from_secs(25));
    world.act(
        desk(0),
        Action::Record {
            value: "resume".into(),
        },
    );
    world.run(Duration::from_secs(15));
    world.act(outside(0), Action::HangUp);
    world.run_out();
    let life = world
        .node
        .watch()
        .lives()
        .values()
        .next()
        .expect("a recording");
    let (from, until) = life.pauses[0];
    let at = |samples: u64| started(&world) + Duration::from_micros(samples * 125);
    let marks = [at(from), at(until.expect("resumed"))];
    (world, marks)
}

#[test]
fn pause_and_resume_beep_at_both_ears_and_the_tone_is_silent_between() {
    let (world, marks) = paused_call(230, "beep", [Saying::Silence; 2]);
    for (name, who) in parties() {
        let heard = heard(&world, who);
        let beeps = tone_runs(&heard.samples, BEEP_HZ, HALF_DBFS + 4.0);
        assert_eq!(beeps.len(), 2, "{name}: {beeps:?}");
        for (beep, mark) in beeps.iter().zip(marks) {
            let late = late_ms(&world, &heard, onset(&heard, beep, &tone::beep()), mark);
            println!(
                "beep at {name}: {late:.1} ms late, {:.1} dBFS",
                beep.peak_dbfs
            );
            assert!(
                (0.0..=PATIENCE_MS).contains(&late) && beep.peak_dbfs > -30.0,
                "{late}"
            );
        }
        let tones = tone_runs(&heard.samples, REPEAT_HZ, HALF_DBFS);
        let due = [
            started(&world) + Duration::from_secs(10),
            marks[1] + Duration::from_secs(10),
        ];
        let shape = tone::repeat_tone();
        let late = |(run, due)| late_ms(&world, &heard, onset(&heard, run, &shape), due);
        let late: Vec<f64> = tones.iter().zip(due).map(late).collect();
        assert!(
            tones.len() == 2 && late.iter().all(|l| (0.0..=PATIENCE_MS).contains(l)),
            "{late:?}"
        );
    }
    for channel in assert_untouched(&world).channels {
        assert!(loudest(&channel, BEEP_HZ) < -70.0 && loudest(&channel, REPEAT_HZ) < -70.0);
        assert!(rms_dbfs(&channel) < -70.0);
    }
}

#[test]
fn pause_and_resume_are_announced_to_both_and_the_words_are_not_recorded() {
    for (seed, voices) in [(240, [Saying::Silence; 2]), (241, [Saying::Code; 2])] {
        let (world, [paused, resumed]) = paused_call(seed, "announcement", voices);
        let said = [
            (PromptName::RecordingPaused, paused),
            (PromptName::RecordingResumed, resumed),
        ];
        for (name, who) in parties() {
            for (said, due) in said {
                assert_prompt(&world, name, who, said, due);
            }
        }
        let kept = assert_untouched(&world);
        for channel in &kept.channels {
            for (said, _) in said {
                let (_, correlation) = find(&prompt(said), channel);
                assert!(
                    correlation < 0.3,
                    "{said:?} is in the recording: {correlation}"
                );
            }
            if voices[0] == Saying::Silence {
                assert!(rms_dbfs(channel) < -70.0, "{}", rms_dbfs(channel));
            }
        }
    }
}
