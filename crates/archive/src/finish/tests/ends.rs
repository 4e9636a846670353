//! Every way a call can end.

use super::*;

#[tokio::test]
async fn calls_without_audio_have_a_row_and_a_manifest() {
    for (end, length, state) in [
        (End::NotAnswered, 0, EndState::NoMedia),
        (End::NotStarted, 0, EndState::NoMedia),
        (End::Refused, 0, EndState::Refused),
        (End::Failed, 0, EndState::Failed),
        (End::NotKept, BLOCK, EndState::NotKept),
        (End::Finished, 0, EndState::NoMedia),
    ] {
        let world = World::new(RequestedFormat::OggOpus);
        let mut tape = world.tape();
        let samples = voice(length, 300.0, 9_000.0);
        tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
        let reason = Some("for a reason".to_owned());
        tape.seal(
            length,
            &Ending {
                reason,
                ..ending(end)
            },
        );
        let archive = world.archive().await;
        let shown = archive.finish(ID).await.unwrap();
        let ended = shown.row.ending.clone().unwrap();
        assert_eq!((ended.state, shown.audio_path), (state, None), "{end:?}");
        assert!(shown.manifest.unwrap().audio.is_none());
        assert_eq!(world.objects().len(), 1, "the manifest alone");
        assert_eq!(world.spooled(), 0);
        assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
        let to = world.folder.path().join("copy.wav");
        let error = archive
            .export(&shown.row, ExportFormat::WavPcm16, &to)
            .await
            .unwrap_err();
        assert!(matches!(error, ExportError::NoAudio { .. }), "{error}");
    }
}

#[tokio::test]
async fn one_way_and_no_media_are_named() {
    for (quiet, state) in [
        (0..1, EndState::OneWay),
        (1..2, EndState::OneWay),
        (0..2, EndState::NoMedia),
    ] {
        let world = World::new(RequestedFormat::WavPcm16);
        let mut tape = world.tape();
        for channel in quiet.clone() {
            tape.gap(channel, 0, BLOCK, GapReason::NotStarted);
        }
        let samples = voice(BLOCK, 300.0, 9_000.0);
        if state == EndState::OneWay {
            tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
        }
        tape.seal(BLOCK, &ending(End::Finished));
        let shown = world.archive().await.finish(ID).await.unwrap();
        let manifest = shown.manifest.unwrap();
        assert_eq!(manifest.state, state, "{quiet:?}: {}", manifest.reason);
        let there = manifest.channels.iter().map(|c| c.samples > 0);
        assert_eq!(
            there.collect::<Vec<_>>(),
            [!quiet.contains(&0), !quiet.contains(&1)]
        );
        assert_eq!(manifest.audio.is_some(), state == EndState::OneWay);
    }
}

#[tokio::test]
async fn payloads_of_the_future_are_finished() {
    let world = World::new(RequestedFormat::OggOpus);
    let opening = br#"{"version":42,"owner":"bob","mode":"telepathic","aura":{"colour":"blue"}}"#;
    let mut tape = world.tape_of(ID, opening);
    let samples = voice(BLOCK, 300.0, 9_000.0);
    tape.fact(0, br#"{"kind":"levitated","height_m":2.5}"#);
    tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
    tape.gap(0, 0, 10, GapReason::Unknown);
    tape.append(FrameIn::Gap {
        channel: 1,
        position: 0,
        samples: 10,
        reason: 99,
    });
    let seal = br#"{"version":42,"end":"ascended","halo":true}"#;
    tape.writer
        .seal(tape.now, ID, BLOCK, OPENED_US + 9, seal)
        .unwrap();
    tape.commit().commit().commit();
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    let manifest = shown.manifest.unwrap();
    assert_eq!(
        (manifest.call.owner.as_str(), manifest.call.mode),
        ("bob", Mode::Unknown)
    );
    assert_eq!(manifest.facts[0].fact.kind(), "levitated");
    assert_eq!(manifest.channels[1].gaps, [gap(0, 10, GapReason::Unknown)]);
    assert_eq!(manifest.state, EndState::Complete);
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
}

/// A call that rings, or a recording that its owner has not started: nothing was to be captured yet.
#[tokio::test]
async fn a_crash_before_the_beginning_is_no_failed_recording() {
    let not_begun = "the recorder stopped before the recording had begun";
    let stopped = "the recorder stopped before the call ended; what was on disk by then is kept";
    let unasked = "captured on demand, not asked for before the recorder stopped: nothing is kept";
    for (mode, begun, reason) in [
        (Mode::Always, false, not_begun),
        (Mode::OnDemand, false, not_begun),
        (Mode::OnDemandUserStart, false, not_begun),
        (Mode::Always, true, stopped),
        (Mode::OnDemand, true, unasked),
    ] {
        let world = World::new(RequestedFormat::WavPcm16);
        let mut opening = Opening { mode, ..opening() };
        if mode == Mode::OnDemand {
            opening.standing.keeping = crate::wire::Keeping::Provisional;
        }
        let mut tape = world.tape_of(ID, &opening.write());
        tape.fact(0, &Fact::CallAnswered.write());
        if begun {
            tape.fact(
                0,
                &Fact::RecordingStarted {
                    by: None,
                    way: None,
                }
                .write(),
            );
        }
        tape.commit();
        world.disk.kill();
        duolog_spool::recover(&mut world.disk.clone(), OPENED_US).unwrap();
        let shown = world.archive().await.finish(ID).await.unwrap();
        let manifest = shown.manifest.unwrap();
        assert_eq!(manifest.state, EndState::Interrupted);
        assert_eq!(manifest.reason, reason, "{mode:?} {begun}");
        let result = begun.then_some(crate::cdr::CdrResult::Failed);
        assert_eq!(manifest.together.result, result, "{mode:?} {begun}");
    }
}
