//! What was kept is what was sent.

use super::*;

#[tokio::test]
async fn g711_as_received_is_byte_exact() {
    for (format, law, stored_as) in [
        (SampleFormat::Mulaw, Law::Mulaw, StoredFormat::WavMulaw),
        (SampleFormat::Alaw, Law::Alaw, StoredFormat::WavAlaw),
    ] {
        let world = World::new(RequestedFormat::WavAsReceived);
        // Every code there is, on either channel, in an odd number of samples.
        let codes: Vec<u8> = (0..5_001u32)
            .flat_map(|n| [n as u8, (n / 3) as u8])
            .collect();
        let mut tape = world.tape();
        tape.append(FrameIn::Audio {
            position: 0,
            format: format.code(),
            samples: 5_001,
            payload: &codes,
        });
        tape.fact(
            5_001,
            &Fact::HungUp {
                by: Side::Owner,
                reason: None,
            }
            .write(),
        );
        tape.seal(5_001, &ending(End::Finished));

        let shown = world.archive().await.finish(ID).await.unwrap();
        let file = File::open(audio_path(&shown)).unwrap();
        let mut reader = wav::Reader::open(std::io::BufReader::new(file)).unwrap();
        assert_eq!(reader.coding(), wav::Coding::G711(law));
        let mut found = vec![0; 20_000];
        let read = reader.read_bytes(&mut found).unwrap();
        assert_eq!(&found[..read], codes);
        let manifest = shown.manifest.unwrap();
        let audio = manifest.audio.unwrap();
        assert_eq!((audio.format, audio.note), (stored_as, None));
        assert_eq!(
            (manifest.state, manifest.length.samples),
            (EndState::Complete, 5_001)
        );
        assert!(
            manifest
                .channels
                .iter()
                .all(|channel| channel.gaps.is_empty())
        );
    }
}

#[tokio::test]
async fn pcm16_is_exact_and_the_row_says_what_the_manifest_says() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (owner, other) = (voice(20_000, 300.0, 9_000.0), voice(20_000, 700.0, 2_000.0));
    let mut tape = world.tape();
    tape.fact(
        0,
        &Fact::RecordingStarted {
            by: None,
            way: None,
        }
        .write(),
    );
    tape.audio(0, SampleFormat::Alaw, &owner, &other);
    let figures = Figures {
        received: 125,
        lost: 0,
        ..Figures::default()
    };
    let how = Ending {
        owner: Some(figures.clone()),
        ..ending(End::Finished)
    };
    tape.seal(20_000, &how);
    assert_eq!(world.spooled(), 1);

    let archive = world.archive().await;
    archive
        .catalogue()
        .open_rows(&[Row::opened(ID, WallTime(1), &opening())])
        .await
        .unwrap();
    let shown = archive.finish(ID).await.unwrap();
    assert_eq!(world.spooled(), 0);
    let (coding, [left, right]) = read_wav(audio_path(&shown));
    assert_eq!(coding, wav::Coding::Pcm16);
    let (owner, other) = (through(Law::Alaw, &owner), through(Law::Alaw, &other));
    assert!(left == owner && right == other);

    let manifest = shown.manifest.clone().unwrap();
    for (channel, samples) in manifest.channels.iter().zip([&owner, &other]) {
        let level = channel.level.unwrap();
        assert!(
            (level.rms_dbfs - measure::rms_dbfs(samples)).abs() <= 0.051,
            "{level:?}"
        );
        assert_eq!(channel.samples, 20_000);
    }
    assert_eq!(manifest.channels[0].figures, Some(figures));
    assert_eq!(manifest.opened_at.text(), "2026-11-22T08:00:00.123Z");
    assert_eq!(manifest.facts.len(), 1);
    let row = archive.catalogue().row(ID).await.unwrap().unwrap();
    assert_eq!(row, shown.row);
    let ended = row.ending.clone().unwrap();
    assert_eq!(
        (ended.state, ended.length_samples, ended.pauses),
        (EndState::Complete, 20_000, 0)
    );
    assert_eq!(row.opened_at, WallTime(OPENED_US as i64));
    assert!(
        ended
            .audio
            .unwrap()
            .key
            .starts_with("2026/11/22/rec_0193a1b2-c3d4-7e5f-")
    );
    assert_eq!(archive.verify(&row).await.unwrap().findings, []);
}

#[tokio::test]
async fn more_than_one_law_becomes_pcm16_and_the_manifest_says_so() {
    let world = World::new(RequestedFormat::WavAsReceived);
    let (owner, other) = (voice(BLOCK, 300.0, 9_000.0), voice(BLOCK, 700.0, 2_000.0));
    let mut tape = world.tape();
    tape.audio(0, SampleFormat::Mulaw, &owner, &other);
    tape.audio(BLOCK, SampleFormat::Alaw, &owner, &other);
    tape.audio(2 * BLOCK, SampleFormat::Pcm16, &owner, &other);
    tape.seal(3 * BLOCK, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (coding, [left, right]) = read_wav(audio_path(&shown));
    assert_eq!(coding, wav::Coding::Pcm16);
    let whole = |samples: &[i16]| {
        [
            through(Law::Mulaw, samples),
            through(Law::Alaw, samples),
            samples.to_vec(),
        ]
        .concat()
    };
    assert!(left == whole(&owner) && right == whole(&other));
    let audio = shown.manifest.unwrap().audio.unwrap();
    assert_eq!(
        (audio.format, audio.requested),
        (StoredFormat::WavPcm16, RequestedFormat::WavAsReceived)
    );
    assert!(audio.note.unwrap().contains("more than one G.711 law"));
}

#[tokio::test]
async fn ogg_opus_is_as_long_and_keeps_the_parties_apart() {
    let world = World::new(RequestedFormat::OggOpus);
    let (owner, other) = (voice(40_123, 300.0, 9_000.0), voice(40_123, 900.0, 6_000.0));
    let mut tape = world.tape();
    tape.audio(0, SampleFormat::Mulaw, &owner, &other);
    tape.seal(40_123, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let file = std::io::BufReader::new(File::open(audio_path(&shown)).unwrap());
    let mut reader = ogg_opus::Reader::open(file).unwrap();
    assert_eq!(
        reader.comment("recording"),
        Some(recording_text(ID).as_str())
    );
    let [left, right] = split(&reader.read_to_end().unwrap());
    assert_eq!((left.len(), right.len()), (40_123, 40_123));
    for (found, sent, foreign) in [(&left, &owner, &other), (&right, &other, &owner)] {
        let own = measure::correlate(&sent[8_000..24_000], found).unwrap();
        assert!(
            own.correlation > 0.9 && own.offset.abs_diff(8_000) <= 2,
            "{own:?}"
        );
        let bleed = measure::correlate(&foreign[8_000..24_000], found).unwrap();
        assert!(bleed.correlation < 0.3, "{bleed:?}");
    }
}

/// Three pauses, of which the spool of a faulty writer still holds the audio; losses; a hole without a
/// block. All of it silent in the audio and listed in the manifest, and nothing else.
#[tokio::test]
async fn gaps_are_listed_and_paused_audio_is_nowhere() {
    for requested in [RequestedFormat::WavPcm16, RequestedFormat::WavAsReceived] {
        let world = World::new(requested);
        let mut owner = voice(8 * BLOCK, 300.0, 9_000.0);
        let mut other = voice(8 * BLOCK, 700.0, 4_000.0);
        let mut tape = world.tape();
        other[160..320].fill(0);
        let pauses = [(1_000, 500), (4_000, 2_000), (10_000, 1)];
        tape.audio(0, SampleFormat::Alaw, &owner, &other);
        tape.gap(1, 160, 160, GapReason::Loss);
        for (position, samples) in pauses {
            let (by, way) = (Side::Owner, Way::FeatureCode);
            tape.fact(position, &Fact::RecordingPaused { by, way }.write());
            tape.gap(0, position, samples, GapReason::Paused);
            tape.gap(1, position, samples, GapReason::Paused);
            let resumed = Fact::RecordingResumed { by, way };
            tape.fact(position + samples, &resumed.write());
        }
        tape.gap(0, 8 * BLOCK, 800, GapReason::Held);
        tape.gap(1, 8 * BLOCK, 800, GapReason::Silence);
        tape.audio(
            8 * BLOCK + 800,
            SampleFormat::Alaw,
            &owner[..80],
            &other[..80],
        );
        let length = 8 * BLOCK + 880;
        tape.seal(length, &ending(End::Finished));
        let shown = world.archive().await.finish(ID).await.unwrap();

        for samples in [&mut owner, &mut other] {
            *samples = through(Law::Alaw, samples);
            let tail = samples[..80].to_vec();
            samples.extend([0; 800]);
            samples.extend(tail);
            for (position, count) in pauses {
                samples[position as usize..(position + count) as usize].fill(0);
            }
        }
        let (_, found) = read_wav(audio_path(&shown));
        let silence = g711::decode(Law::Alaw, g711::silence(Law::Alaw)).unsigned_abs();
        for (found, sent) in found.iter().zip([&owner, &other]) {
            assert_eq!(found.len() as u64, length);
            for (at, (found, sent)) in found.iter().zip(sent).enumerate() {
                let fits = found == sent || *sent == 0 && found.unsigned_abs() <= silence;
                assert!(fits, "{at}: {found} {sent}");
            }
        }
        let manifest = shown.manifest.unwrap();
        let paused = pauses.map(|(at, samples)| gap(at, samples, GapReason::Paused));
        let mut wanted = paused.to_vec();
        wanted.push(gap(8 * BLOCK, 800, GapReason::Held));
        assert_eq!(manifest.channels[0].gaps, wanted);
        wanted.insert(0, gap(160, 160, GapReason::Loss));
        wanted[4].reason = GapReason::Silence;
        assert_eq!(manifest.channels[1].gaps, wanted);
        assert_eq!(manifest.channels[0].samples, length - 2_501 - 800);
        let spans: Vec<_> = manifest
            .pauses
            .iter()
            .map(|s| (s.position, s.samples))
            .collect();
        assert_eq!(spans, pauses);
        assert_eq!(
            (manifest.facts.len(), manifest.state),
            (6, EndState::Complete)
        );
        assert_eq!(shown.row.ending.unwrap().pauses, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_recordings_are_finished_at_a_time() {
    let world = World::new(RequestedFormat::OggOpus);
    let ids: Vec<RecordingId> = (0..12).map(|n| RecordingId(ID.0 + n)).collect();
    let samples = voice(BLOCK, 300.0, 9_000.0);
    for id in &ids {
        let mut tape = world.tape_of(*id, &opening().write());
        tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
        tape.seal(BLOCK, &ending(End::Finished));
    }
    let archive = world.archive().await;
    assert_eq!(archive.waiting().await.unwrap(), ids);
    let mut tasks = tokio::task::JoinSet::new();
    for id in ids.clone() {
        let archive = archive.clone();
        tasks.spawn(async move { archive.finish(id).await.unwrap().row.state().word() });
    }
    while let Some(state) = tasks.join_next().await {
        assert_eq!(state.unwrap(), "complete");
        archive
            .catalogue()
            .list(&Filter::default(), 100)
            .await
            .unwrap();
    }
    assert_eq!(
        archive
            .catalogue()
            .list(&Filter::default(), 100)
            .await
            .unwrap()
            .len(),
        12
    );
    assert_eq!((world.spooled(), world.objects().len()), (0, 24));
    let shown = archive.show(&recording_text(ids[3])).await.unwrap();
    assert_eq!(shown.manifest.unwrap().recording, recording_text(ids[3]));
}

#[tokio::test]
async fn a_spool_in_a_directory_is_finished_and_emptied() {
    let world = World::new(RequestedFormat::OggOpus);
    let spool = world.folder.path().join("spool");
    let open = || duolog_spool::RealDisk::open(&spool).unwrap();
    let mut writer = Writer::new(open(), duolog_spool::Settings::default()).unwrap();
    let mut now = Instant::now();
    writer.open(now, ID, OPENED_US, &opening().write()).unwrap();
    let samples = voice(BLOCK, 300.0, 9_000.0);
    let payload = stored(SampleFormat::Mulaw, &samples, &samples);
    let block = FrameIn::Audio {
        position: 0,
        format: 1,
        samples: BLOCK as u32,
        payload: &payload,
    };
    writer.append(now, ID, block).unwrap();
    drop(writer);
    duolog_spool::recover(&mut open(), OPENED_US + 9).unwrap();
    let mut writer = Writer::new(open(), duolog_spool::Settings::default()).unwrap();
    let second = RecordingId(ID.0 + 1);
    writer
        .open(now, second, OPENED_US, &opening().write())
        .unwrap();
    writer.append(now, second, block).unwrap();
    writer
        .seal(
            now,
            second,
            BLOCK,
            OPENED_US + 1,
            &ending(End::Finished).write(),
        )
        .unwrap();
    for _ in 0..5 {
        now += Duration::from_secs(1);
        drop(writer.commit(now));
    }

    let archive = world.archive().await;
    let archive = Archive {
        spool: crate::archive::SpoolDirectory(spool.clone()).into(),
        catalogue: archive.catalogue,
        objects: archive.objects,
        scratch: archive.scratch,
        format: archive.format,
        opus_bitrate: archive.opus_bitrate,
        g729: archive.g729,
        at_work: archive.at_work,
    };
    assert_eq!(archive.waiting().await.unwrap(), [ID, second]);
    for (id, state) in [(ID, EndState::Interrupted), (second, EndState::Complete)] {
        let shown = archive.finish(id).await.unwrap();
        assert_eq!(shown.row.ending.unwrap().state, state);
        assert_eq!(shown.manifest.unwrap().length.samples, BLOCK);
    }
    assert!(duolog_spool::recordings(&open()).unwrap().is_empty());
}

#[tokio::test]
async fn a_block_beyond_31_days_is_a_flaw_and_not_hours_of_silence() {
    for format in [
        RequestedFormat::WavAsReceived,
        RequestedFormat::WavPcm16,
        RequestedFormat::OggOpus,
    ] {
        let world = World::new(format);
        let mut tape = world.tape();
        let sent = voice(8_000, 400.0, 8_000.0);
        tape.audio(0, SampleFormat::Mulaw, &sent, &sent);
        let payload = stored(SampleFormat::Mulaw, &sent[..160], &sent[..160]);
        tape.append(FrameIn::Audio {
            position: u64::MAX / 2,
            format: SampleFormat::Mulaw.code(),
            samples: 160,
            payload: &payload,
        });
        tape.seal(8_000, &ending(End::Finished));
        let shown = world.archive().await.finish(ID).await.unwrap();
        let manifest = shown.manifest.unwrap();
        assert_eq!(manifest.length.samples, 8_000);
        assert!(
            manifest.flaws[0].contains("31 days"),
            "{:?}",
            manifest.flaws
        );
    }
}
