//! Kills, crashes and failures in the middle.

use super::*;

#[tokio::test]
async fn a_crash_leaves_a_playable_recording_marked_interrupted() {
    for seed in 0..40 {
        let mut world = World::new(RequestedFormat::WavPcm16);
        world.disk = SimDisk::new(seed);
        let (owner, other) = (
            voice(10 * BLOCK, 300.0, 9_000.0),
            voice(10 * BLOCK, 700.0, 4_000.0),
        );
        let mut tape = world.tape();
        let durable = 6 * BLOCK as usize;
        tape.audio(0, SampleFormat::Mulaw, &owner[..durable], &other[..durable])
            .commit();
        tape.audio(
            durable as u64,
            SampleFormat::Mulaw,
            &owner[durable..],
            &other[durable..],
        );
        world.disk.crash();
        duolog_spool::recover(&mut world.disk.clone(), OPENED_US + 86_400_000_000).unwrap();

        let archive = world.archive().await;
        assert_eq!(archive.waiting().await.unwrap(), [ID]);
        let shown = archive.finish(ID).await.unwrap();
        let manifest = shown.manifest.as_ref().unwrap();
        assert_eq!(manifest.state, EndState::Interrupted);
        assert_eq!(manifest.ended_at.text()[..10], *"2026-11-22");
        let (_, [left, right]) = read_wav(audio_path(&shown));
        assert!(
            left.len() >= durable && left.len() <= owner.len(),
            "{}",
            left.len()
        );
        assert_eq!(left.len() as u64, manifest.length.samples);
        for (found, sent) in [(&left, &owner), (&right, &other)] {
            assert_eq!(found[..durable], through(Law::Mulaw, sent)[..durable]);
        }
        assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
        assert_eq!(world.spooled(), 0);
    }
}

/// Kills the work after each step, starts anew, and finds the same end every time.
#[tokio::test]
async fn a_kill_between_any_two_steps_changes_nothing() {
    for steps in 0..=6 {
        let world = World::new(RequestedFormat::WavPcm16);
        let samples = voice(5_000, 300.0, 9_000.0);
        let mut tape = world.tape();
        tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
        tape.seal(5_000, &ending(End::Finished));
        run_steps(&world.archive().await, steps).await;
        assert_eq!(
            world.spooled(),
            1,
            "step {steps}: the spool keeps it until the end"
        );

        let archive = world.archive().await;
        let shown = archive.finish(ID).await.unwrap();
        assert_eq!(world.spooled(), 0);
        assert_eq!(archive.finish(ID).await.unwrap(), shown, "again");
        let rows = archive
            .catalogue()
            .list(&Filter::default(), 10)
            .await
            .unwrap();
        assert_eq!(rows, std::slice::from_ref(&shown.row));
        let mut named = [
            shown.audio_path.clone().unwrap(),
            shown.manifest_path.clone().unwrap(),
        ];
        named.sort();
        let found: Vec<_> = world
            .objects()
            .iter()
            .map(|p| p.canonicalize().unwrap())
            .collect();
        assert_eq!(found, named, "step {steps}");
        assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    }
}

async fn run_steps(archive: &Archive<SimDisk>, steps: usize) {
    if steps == 0 {
        return;
    }
    let assembled = archive.assemble(ID).await.unwrap();
    if steps == 1 {
        return;
    }
    let encoded = archive.encode(assembled).await.unwrap();
    if steps == 2 {
        return;
    }
    let stored = archive.store_audio(encoded).await.unwrap();
    if steps == 3 {
        return;
    }
    let stored = archive.store_manifest(stored).await.unwrap();
    if steps == 4 {
        return;
    }
    let row = archive.catalogue_row(stored).await.unwrap();
    if steps == 6 {
        archive.sweep(&row).await;
    }
}

#[tokio::test]
async fn an_error_says_which_recording_which_step_where_and_what_next() {
    let world = World::new(RequestedFormat::WavPcm16);
    let archive = world.archive().await;
    let unknown = archive.finish(ID).await.unwrap_err();
    assert!(
        matches!(unknown.source, StepError::Spool(ReadError::Unknown { .. })),
        "{unknown}"
    );

    let samples = voice(BLOCK, 300.0, 9_000.0);
    let mut tape = world.tape();
    tape.audio(0, SampleFormat::Mulaw, &samples, &samples)
        .commit();
    let open = archive.finish(ID).await.unwrap_err();
    assert!(matches!(open.source, StepError::StillOpen), "{open}");
    tape.seal(BLOCK, &ending(End::Finished));

    let claim = archive.claim(ID).unwrap();
    let twice = archive.clone().finish(ID).await.unwrap_err();
    assert!(matches!(twice.source, StepError::AtWork), "{twice}");
    drop(claim);

    let objects = world.folder.path().join("objects");
    std::fs::remove_dir(&objects).unwrap();
    std::fs::write(&objects, b"in the way").unwrap();
    let error = archive.finish(ID).await.unwrap_err();
    assert_eq!(error.step, Step::StoreAudio);
    let text = error.to_string();
    for part in [
        recording_text(ID).as_str(),
        "storing the audio",
        "audio.wav",
        "the spool keeps it",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(world.spooled(), 1);
    std::fs::remove_file(&objects).unwrap();
    std::fs::create_dir(&objects).unwrap();
    archive.finish(ID).await.unwrap();
    assert_eq!(world.spooled(), 0);
}

/// What was catalogued and has since gone from the store is not taken for safe.
#[tokio::test]
async fn the_spool_is_not_released_when_the_store_lost_the_object() {
    let world = World::new(RequestedFormat::WavPcm16);
    let samples = voice(BLOCK, 300.0, 9_000.0);
    world
        .tape()
        .audio(0, SampleFormat::Mulaw, &samples, &samples)
        .seal(BLOCK, &ending(End::Finished));
    let archive = world.archive().await;
    run_steps(&archive, 5).await;
    let audio = world
        .objects()
        .into_iter()
        .find(|path| path.ends_with("audio.wav"))
        .unwrap();
    flip(&audio, 100);
    let error = archive.finish(ID).await.unwrap_err();
    assert_eq!(error.step, Step::Confirm);
    assert_eq!(world.spooled(), 1);
    flip(&audio, 100);
    archive.finish(ID).await.unwrap();
    assert_eq!(world.spooled(), 0);
}

/// A file system that became read-only hides nothing of what was stored by then.
#[tokio::test]
async fn what_is_stored_can_be_told_before_it_is_released() {
    let world = World::new(RequestedFormat::WavPcm16);
    let samples = voice(BLOCK, 300.0, 9_000.0);
    world
        .tape()
        .audio(0, SampleFormat::Mulaw, &samples, &samples)
        .seal(BLOCK, &ending(End::Finished));
    let archive = world.archive().await;
    world.disk.fail_changes(2);
    let shown = archive.store(ID).await.unwrap();
    assert_eq!(shown.row.state().word(), "complete");
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    let error = archive.release(ID).await.unwrap_err();
    assert_eq!(error.step, Step::Release);
    assert!(error.to_string().contains("stored and catalogued"));
    // The last step alone reads no object.
    let audio = audio_path(&shown).to_owned();
    flip(&audio, 100);
    assert_eq!(archive.release(ID).await.unwrap_err().step, Step::Release);
    assert_eq!(world.spooled(), 1);
    archive.release(ID).await.unwrap();
    assert_eq!(world.spooled(), 0);
    flip(&audio, 100);
    archive.release(ID).await.unwrap();
    assert_eq!(archive.finish(ID).await.unwrap(), shown, "again");
}

#[tokio::test]
async fn a_row_without_a_spool_file_is_marked_failed() {
    let world = World::new(RequestedFormat::WavPcm16);
    let archive = world.archive().await;
    let lost = RecordingId(ID.0 + 1);
    let rows = [ID, lost].map(|id| Row::opened(id, WallTime(OPENED_US as i64), &opening()));
    archive.catalogue().open_rows(&rows).await.unwrap();
    let _open = world.tape();
    let failed = archive
        .fail_lost(WallTime(OPENED_US as i64 + 5))
        .await
        .unwrap();
    assert_eq!(failed.iter().map(|row| row.id).collect::<Vec<_>>(), [lost]);
    let ended = failed[0].ending.clone().unwrap();
    assert_eq!(
        (ended.state, ended.at),
        (EndState::Failed, WallTime(OPENED_US as i64 + 5))
    );
    assert!(ended.reason.contains("before anything"), "{}", ended.reason);
    assert_eq!(archive.verify(&failed[0]).await.unwrap().findings, []);
    assert_eq!(archive.catalogue().unfinished().await.unwrap().len(), 1);
    assert!(archive.fail_lost(WallTime(0)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_that_points_elsewhere_sweeps_nothing() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (archive, shown) = finished(&world, BLOCK).await;
    let beside = world.folder.path().join("beside/x/file");
    std::fs::create_dir_all(beside.parent().unwrap()).unwrap();
    std::fs::write(&beside, b"mine").unwrap();
    let mut row = shown.row;
    for key in [
        "../beside/y/manifest.json",
        "/",
        "manifest.json",
        "2026/11/22/rec_x/a/manifest.json",
    ] {
        let ending = row.ending.as_mut().unwrap();
        ending.manifest.as_mut().unwrap().key = key.to_owned();
        archive.sweep(&row).await;
        assert!(beside.exists() && world.objects().len() == 2, "{key}");
    }
}
