//! Recordings that are captured on demand: kept whole, or not at all.

use super::*;
use crate::cdr::{CdrResult, CdrTrigger};
use crate::wire::Keeping;
use duolog_audio::codec::Codec;
use duolog_audio::coded::{self, CodedFrame};
use duolog_spool::{LockKey, Trouble};

fn on_demand() -> Opening {
    Opening {
        mode: Mode::OnDemand,
        standing: crate::wire::Standing {
            keeping: Keeping::Provisional,
            number: Some(1),
            owner_kind: Some(crate::wire::OwnerKind::User),
        },
        ..opening()
    }
}

/// A disk that remembers everything, and a recording on it that is not kept yet.
fn provisional(world: &World) -> Tape {
    world.disk.remember_writes();
    let settings = duolog_spool::Settings {
        ballast_bytes: 0,
        ..duolog_spool::Settings::default()
    };
    let mut writer = Writer::new(world.disk.clone(), settings).unwrap();
    let now = Instant::now();
    let key = LockKey::filled(|key| key.fill(0x6B));
    writer
        .open_locked(now, ID, OPENED_US, &on_demand().write(), key)
        .unwrap();
    Tape {
        writer,
        now,
        id: ID,
    }
}

fn kept() -> Vec<u8> {
    let (by, way) = (Side::Owner, Way::FeatureCode);
    Fact::RecordingKept { by, way }.write()
}

fn not_kept() -> Ending {
    Ending {
        reason: Some("the owner did not ask for it".to_owned()),
        ..ending(End::NotKept)
    }
}

/// Whether any 24 bytes of a block were ever on the spool's disk, or are below the archive's folder.
fn anywhere(world: &World, owner: &[i16], other: &[i16]) -> bool {
    fn files(folder: &Path, found: &mut Vec<Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                // The catalogue's log may go while we look.
                false => found.extend(std::fs::read(path)),
            }
        }
    }
    let mut all = world.disk.ever_written();
    files(world.folder.path(), &mut all);
    let payload = stored(SampleFormat::Mulaw, owner, other);
    let mut pieces: Vec<&[u8]> = payload.chunks_exact(24).collect();
    pieces.sort_unstable();
    all.iter()
        .flat_map(|file| file.windows(24))
        .any(|found| pieces.binary_search(&found).is_ok())
}

/// There is a row with its reason, a manifest, and not a byte of audio.
async fn nothing_left(world: &World, state: EndState, reason: &str, result: CdrResult) -> Manifest {
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    let ended = shown.row.ending.clone().unwrap();
    assert_eq!((ended.state, ended.reason.as_str()), (state, reason));
    assert_eq!((ended.audio, &shown.audio_path), (None, &None));
    let manifest = shown.manifest.clone().unwrap();
    assert!(manifest.audio.is_none());
    assert_eq!(manifest.call, on_demand());
    let words = (manifest.together.result, manifest.together.trigger);
    assert_eq!(words, (Some(result), Some(CdrTrigger::OnDemand)));
    assert_eq!(world.objects().len(), 1, "the manifest alone");
    assert_eq!(world.spooled(), 0);
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    assert_eq!(archive.finish(ID).await.unwrap(), shown, "again");
    let to = world.folder.path().join("copy.wav");
    let error = archive
        .export(&shown.row, ExportFormat::WavPcm16, &to)
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::NoAudio { .. }), "{error}");
    manifest
}

#[tokio::test]
async fn not_asked_for_leaves_facts_and_no_audio_anywhere() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (owner, other) = (
        voice(6 * BLOCK, 300.0, 9_000.0),
        voice(6 * BLOCK, 700.0, 4_000.0),
    );
    let mut tape = provisional(&world);
    tape.fact(0, &Fact::CallAnswered.write());
    tape.audio(0, SampleFormat::Mulaw, &owner, &other);
    tape.gap(1, 0, 800, GapReason::NotStarted);
    tape.commit().seal(6 * BLOCK, &not_kept());
    let reason = "the owner did not ask for it";
    let result = CdrResult::SuccessfulButNotKept;
    let manifest = nothing_left(&world, EndState::NotKept, reason, result).await;
    assert_eq!(manifest.length.samples, 6 * BLOCK);
    assert_eq!(manifest.facts[0].fact, Fact::CallAnswered);
    let late = gap(0, 800, GapReason::NotStarted);
    let rest = gap(800, 6 * BLOCK - 800, GapReason::NotKept);
    assert_eq!(manifest.channels[1].gaps, [late, rest]);
    assert_eq!(
        manifest.channels[0].gaps,
        [gap(0, 6 * BLOCK, GapReason::NotKept)]
    );
    assert_eq!(manifest.flaws, [] as [&str; 0]);
    assert!(!anywhere(&world, &owner, &other));
}

#[tokio::test]
async fn asked_for_in_the_last_second_keeps_the_whole_call() {
    for asked_at in [0, 5] {
        let world = World::new(RequestedFormat::WavPcm16);
        let (owner, other) = (
            voice(6 * BLOCK, 300.0, 9_000.0),
            voice(6 * BLOCK, 700.0, 4_000.0),
        );
        let mut tape = provisional(&world);
        let at = (asked_at * BLOCK) as usize;
        tape.audio(0, SampleFormat::Mulaw, &owner[..at], &other[..at]);
        assert!(!anywhere(&world, &owner, &other), "before it was asked for");
        tape.writer.unlock(tape.now, ID).unwrap();
        tape.fact(at as u64, &kept()).commit();
        tape.audio(at as u64, SampleFormat::Mulaw, &owner[at..], &other[at..]);
        tape.seal(6 * BLOCK, &ending(End::Finished));
        let archive = world.archive().await;
        let shown = archive.finish(ID).await.unwrap();
        let manifest = shown.manifest.as_ref().unwrap();
        assert_eq!(manifest.state, EndState::Complete, "{}", manifest.reason);
        assert_eq!(manifest.together.result, Some(CdrResult::Successful));
        let (_, channels) = read_wav(audio_path(&shown));
        assert_eq!(
            channels,
            [owner, other].map(|said| through(Law::Mulaw, &said))
        );
        assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
        assert_eq!(world.spooled(), 0);
    }
}

#[tokio::test]
async fn a_crash_keeps_all_or_nothing() {
    let (mut whole, mut nothing) = (0, 0);
    for seed in 0..18 {
        let mut world = World::new(RequestedFormat::WavPcm16);
        world.disk = SimDisk::new(seed);
        let samples = voice(4 * BLOCK, 300.0, 9_000.0);
        let mut tape = provisional(&world);
        tape.audio(0, SampleFormat::Mulaw, &samples, &samples)
            .commit();
        // Asked for, and the power goes before the next commit.
        if seed % 3 > 0 {
            tape.writer.unlock(tape.now, ID).unwrap();
            tape.fact(4 * BLOCK, &kept());
        }
        world.disk.crash();
        duolog_spool::recover(&mut world.disk.clone(), OPENED_US + 86_400_000_000).unwrap();
        let unlocked = Reader::open(&world.disk, ID)
            .unwrap()
            .any(|read| matches!(read.unwrap().frame, duolog_spool::Frame::Key { .. }));
        if unlocked {
            whole += 1;
            let shown = world.archive().await.finish(ID).await.unwrap();
            assert_eq!(
                shown.manifest.as_ref().unwrap().state,
                EndState::Interrupted
            );
            let (_, [left, _]) = read_wav(audio_path(&shown));
            assert_eq!(left, through(Law::Mulaw, &samples));
        } else {
            nothing += 1;
            let reason =
                "captured on demand, not asked for before the recorder stopped: nothing is kept";
            let state = EndState::Interrupted;
            nothing_left(&world, state, reason, CdrResult::Failed).await;
        }
        assert!(!anywhere(&world, &samples, &samples));
    }
    assert!(whole > 1 && nothing > 7, "{whole} {nothing}");
}

/// What is on the disk decides, not what somebody says of it.
#[tokio::test]
async fn a_fact_does_not_open_what_has_no_key() {
    for (end, state, reason) in [
        (
            Some(End::Finished),
            EndState::Failed,
            "asked for, but its key is not in the spool any more: nothing of it can be read",
        ),
        (
            None,
            EndState::Interrupted,
            "asked for, but the recorder stopped before that was safe on disk: nothing is kept",
        ),
    ] {
        let world = World::new(RequestedFormat::OggOpus);
        let samples = voice(BLOCK, 300.0, 9_000.0);
        let mut tape = provisional(&world);
        tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
        tape.fact(BLOCK, &kept()).commit();
        match end {
            Some(end) => tape.seal(BLOCK, &ending(end)),
            None => {
                world.disk.kill();
                duolog_spool::recover(&mut world.disk.clone(), OPENED_US).unwrap();
            }
        }
        nothing_left(&world, state, reason, CdrResult::Failed).await;
    }
}

#[tokio::test]
async fn every_other_end_leaves_nothing_either() {
    for (end, state, reason, result) in [
        (
            End::Finished,
            EndState::NotKept,
            "captured on demand, and nobody asked for it",
            CdrResult::SuccessfulButNotKept,
        ),
        (
            End::Failed,
            EndState::Failed,
            "the recording failed before any audio was kept",
            CdrResult::Failed,
        ),
    ] {
        let world = World::new(RequestedFormat::OggOpus);
        let samples = voice(BLOCK, 300.0, 9_000.0);
        let mut tape = provisional(&world);
        tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
        tape.seal(BLOCK, &ending(end));
        nothing_left(&world, state, reason, result).await;
        assert!(!anywhere(&world, &samples, &samples));
    }
}

/// An opening that says so is enough, whatever the frames are.
#[tokio::test]
async fn what_is_provisional_by_its_opening_alone_is_not_kept_either() {
    let world = World::new(RequestedFormat::OggOpus);
    let samples = voice(BLOCK, 300.0, 9_000.0);
    let mut tape = world.tape_of(ID, &on_demand().write());
    tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
    tape.seal(BLOCK, &ending(End::Finished));
    let reason = "captured on demand, and nobody asked for it";
    let result = CdrResult::SuccessfulButNotKept;
    nothing_left(&world, EndState::NotKept, reason, result).await;
}

#[tokio::test]
async fn coded_audio_is_locked_and_opened_as_well() {
    for keep in [false, true] {
        let world = World::new(RequestedFormat::WavPcm16);
        let payload: Vec<u8> = (0..160).map(|n| (n * 7 + 13) as u8).collect();
        let mut list = Vec::new();
        let frame = CodedFrame {
            offset: 0,
            ticks: 160,
            codec: Codec::G722.code(),
            payload: &payload,
        };
        coded::push(&mut list, frame);
        let mut tape = provisional(&world);
        let spoken = FrameIn::Audio {
            position: 0,
            format: crate::format::CODED_OWNER,
            samples: BLOCK as u32,
            payload: &list,
        };
        tape.append(spoken);
        tape.append(FrameIn::Audio {
            position: 0,
            format: SampleFormat::Empty.code(),
            samples: BLOCK as u32,
            payload: &[],
        });
        tape.gap(0, 160, BLOCK - 160, GapReason::Silence);
        tape.gap(1, 0, BLOCK, GapReason::NotStarted);
        if keep {
            tape.writer.unlock(tape.now, ID).unwrap();
        }
        let end = match keep {
            true => ending(End::Finished),
            false => not_kept(),
        };
        tape.seal(BLOCK, &end);
        let there = |file: &Vec<u8>| file.windows(24).any(|found| found == &payload[..24]);
        assert!(!world.disk.ever_written().iter().any(there));
        let shown = world.archive().await.finish(ID).await.unwrap();
        let manifest = shown.manifest.unwrap();
        assert_eq!(manifest.audio.is_some(), keep);
        assert_eq!(manifest.channels[0].samples, if keep { 160 } else { 0 });
        let rate = manifest.audio.map(|audio| audio.sample_rate_hz);
        assert_eq!(rate, keep.then_some(16_000));
    }
}

/// Locked audio that somebody changed is a gap and a flaw; the rest of the call is there.
#[tokio::test]
async fn changed_audio_is_a_listed_gap() {
    let world = World::new(RequestedFormat::WavPcm16);
    let samples = voice(3 * BLOCK, 300.0, 9_000.0);
    let mut tape = provisional(&world);
    tape.audio(0, SampleFormat::Mulaw, &samples, &samples);
    tape.writer.unlock(tape.now, ID).unwrap();
    tape.seal(3 * BLOCK, &ending(End::Finished));
    let name = "0193a1b2c3d47e5f860718293a4b5c6d.0000.sealed";
    let mut bytes = vec![0; 1 << 20];
    let disk = &world.disk;
    let length = duolog_spool::Disk::read(disk, name, 0, &mut bytes).unwrap();
    bytes.truncate(length);
    // The second block: its first encrypted byte, and the checksum put right.
    let opening = 36 + 20 + 8 + on_demand().write().len();
    let frame = 20 + 13 + 2 * BLOCK as usize + 16;
    let (head, end) = (opening + frame, opening + 2 * frame);
    bytes[head + 20 + 13] ^= 1;
    let mut crc = crc32(&ID.0.to_le_bytes(), 0);
    crc = crc32(&bytes[head..head + 16], crc);
    crc = crc32(&bytes[head + 20..end], crc);
    bytes[head + 16..head + 20].copy_from_slice(&crc.to_le_bytes());
    let changed = World {
        disk: SimDisk::new(1),
        ..World::new(RequestedFormat::WavPcm16)
    };
    changed.disk.place(name, &bytes);
    let mut reader = Reader::open(&changed.disk, ID).unwrap();
    let frames = reader.by_ref().count();
    assert_eq!(
        (frames, reader.troubles()),
        (6, &[Trouble::Changed { number: 2 }][..])
    );
    let shown = changed.archive().await.finish(ID).await.unwrap();
    let manifest = shown.manifest.as_ref().unwrap();
    assert_eq!(manifest.state, EndState::Partial);
    assert_eq!(
        manifest.flaws,
        ["the audio of frame 2 was changed in the spool"]
    );
    assert_eq!(
        manifest.channels[0].gaps,
        [gap(BLOCK, BLOCK, GapReason::Unknown)]
    );
    let (_, [left, _]) = read_wav(audio_path(&shown));
    let block = BLOCK as usize;
    assert_eq!(left[..block], through(Law::Mulaw, &samples)[..block]);
    assert!(left[block..2 * block].iter().all(|sample| *sample == 0));
    assert_eq!(
        left[2 * block..],
        through(Law::Mulaw, &samples)[2 * block..]
    );
}

/// CRC-32C, bit by bit.
fn crc32(bytes: &[u8], so_far: u32) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(crc & 1))
        })
    };
    !bytes.iter().fold(!so_far, step)
}
