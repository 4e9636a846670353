//! Copies: every format, channel, gap and part.

use super::*;
use crate::wire::Side;
use duolog_audio::container::{Layout, flac};

/// Any container's samples, by what it begins with.
fn read_any(path: &Path) -> (Layout, u32, Vec<i16>) {
    let begins = std::fs::read(path).unwrap();
    let file = std::io::BufReader::new(File::open(path).unwrap());
    match &begins[..4] {
        b"OggS" => {
            let mut reader = ogg_opus::Reader::open(file).unwrap();
            let samples = reader.read_to_end().unwrap();
            (reader.layout(), reader.sample_rate_hz(), samples)
        }
        b"fLaC" => {
            let mut reader = flac::Reader::open(file).unwrap();
            let samples = reader.read_to_end().unwrap();
            (reader.layout(), reader.sample_rate_hz(), samples)
        }
        _ => {
            let mut reader = wav::Reader::open(file).unwrap();
            let samples = reader.read_to_end().unwrap();
            (reader.layout(), reader.sample_rate_hz(), samples)
        }
    }
}

/// Two pauses; in a third stretch the owner alone has nothing.
async fn with_pauses(world: &World) -> (Archive<SimDisk>, Shown) {
    let (owner, other) = (voice(40_000, 300.0, 9_000.0), voice(40_000, 700.0, 4_000.0));
    let mut tape = world.tape();
    tape.audio(0, SampleFormat::Mulaw, &owner, &other);
    for (position, samples) in [(4_001, 999), (20_000, 8_000)] {
        let (by, way) = (Side::Owner, Way::FeatureCode);
        tape.fact(position, &Fact::RecordingPaused { by, way }.write());
        tape.gap(0, position, samples, GapReason::Paused);
        tape.gap(1, position, samples, GapReason::Paused);
    }
    tape.gap(0, 30_000, 500, GapReason::Silence);
    tape.seal(40_000, &ending(End::Finished));
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    (archive, shown)
}

#[tokio::test]
async fn every_format_and_choice_of_channels() {
    for format in [
        RequestedFormat::Flac,
        RequestedFormat::WavAsReceived,
        RequestedFormat::OggOpus,
    ] {
        let world = World::new(format);
        let (archive, shown) = with_pauses(&world).await;
        let (_, _, stored) = read_any(audio_path(&shown));
        let [left, right] = split(&stored);
        let mean: Vec<i16> = left
            .iter()
            .zip(&right)
            .map(|(l, r)| ((i32::from(*l) + i32::from(*r)) / 2) as i16)
            .collect();
        let mut number = 0;
        for (channels, layout, wanted) in [
            (ExportChannels::Stereo, Layout::Stereo, &stored),
            (ExportChannels::Owner, Layout::Mono, &left),
            (ExportChannels::Other, Layout::Mono, &right),
            (ExportChannels::Mono, Layout::Mono, &mean),
        ] {
            for format in [
                ExportFormat::Stored,
                ExportFormat::WavPcm16,
                ExportFormat::Flac,
                ExportFormat::OggOpus,
            ] {
                number += 1;
                let to = world.folder.path().join(format!("copy-{number}"));
                let export = Export {
                    channels,
                    ..format.into()
                };
                let exported = archive.export(&shown.row, export, &to).await.unwrap();
                assert_eq!(exported.bytes, std::fs::metadata(&to).unwrap().len());
                assert_eq!((exported.parts, exported.note), (vec![to.clone()], None));
                let (found_layout, rate_hz, found) = read_any(&to);
                assert_eq!(
                    (found_layout, rate_hz, found.len()),
                    (layout, 8_000, wanted.len())
                );
                let lossy = std::fs::read(&to).unwrap().starts_with(b"OggS");
                match lossy {
                    true => {
                        let stretch = &wanted[2_000..8_000];
                        // The next period of a tone is as like as this one: it is looked for nearby.
                        let near = &found[1_990..8_010];
                        let fit = measure::correlate(stretch, near).unwrap();
                        let fits = fit.correlation > 0.9 && fit.offset.abs_diff(10) <= 2;
                        assert!(fits, "{fit:?}");
                    }
                    false => assert!(found == *wanted, "{channels:?} {format:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn cut_takes_away_pauses_and_nothing_else() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (archive, shown) = with_pauses(&world).await;
    let (_, _, mut wanted) = read_any(audio_path(&shown));
    drop(wanted.drain(40_000..56_000));
    drop(wanted.drain(8_002..10_000));
    let to = world.folder.path().join("cut.flac");
    let export = Export {
        gaps: ExportGaps::Cut,
        ..ExportFormat::Flac.into()
    };
    archive.export(&shown.row, export, &to).await.unwrap();
    assert!(read_any(&to).2 == wanted);
    // Of what manifest and row say, nothing is believed that was changed.
    let manifest = shown.manifest_path.clone().unwrap();
    flip(&manifest, 100);
    let to = world.folder.path().join("again.flac");
    let error = archive.export(&shown.row, export, &to).await.unwrap_err();
    assert!(matches!(error, ExportError::Changed { .. }), "{error}");
    flip(&manifest, 100);
    flip(audio_path(&shown), 50_000);
    let error = archive.export(&shown.row, export, &to).await.unwrap_err();
    assert!(
        matches!(error, ExportError::Changed { .. }) && !to.exists(),
        "{error}"
    );
}

#[tokio::test]
async fn parts_follow_each_other_without_a_seam() {
    for format in [
        RequestedFormat::Flac,
        RequestedFormat::WavAsReceived,
        RequestedFormat::OggOpus,
    ] {
        let world = World::new(format);
        let (archive, shown) = with_pauses(&world).await;
        let (_, _, stored) = read_any(audio_path(&shown));
        for (part, count) in [(1_700, 3), (1_000, 5), (5_000, 1), (60_000, 1)] {
            let folder = tempfile::tempdir().unwrap();
            let to = folder.path().join("my.call.wav");
            let export = Export {
                parts: Some(Duration::from_millis(part)),
                ..ExportFormat::WavPcm16.into()
            };
            let exported = archive.export(&shown.row, export, &to).await.unwrap();
            assert_eq!(
                (exported.parts.len(), &exported.path),
                (count, &exported.parts[0])
            );
            let names = exported
                .parts
                .iter()
                .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned());
            let wanted = (1..=count).map(|n| format!("my.call.{n:03}.wav"));
            assert_eq!(names.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
            let pieces = exported.parts.iter().map(|path| read_any(path).2);
            assert!(pieces.collect::<Vec<_>>().concat() == stored, "{part}");
            let sizes = exported
                .parts
                .iter()
                .map(|path| std::fs::metadata(path).unwrap().len());
            assert_eq!(exported.bytes, sizes.sum::<u64>());
        }
    }
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (archive, shown) = with_pauses(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a.wav");
    let export = Export {
        parts: Some(Duration::from_secs(1)),
        ..ExportFormat::WavPcm16.into()
    };
    std::fs::write(folder.path().join("a.003.wav"), b"mine").unwrap();
    let error = archive.export(&shown.row, export, &to).await.unwrap_err();
    assert!(
        matches!(&error, ExportError::Exists { path } if path.ends_with("a.003.wav")),
        "{error}"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let export = Export {
        parts: Some(Duration::from_nanos(1)),
        ..export
    };
    let error = archive.export(&shown.row, export, &to).await.unwrap_err();
    assert!(matches!(error, ExportError::Parts { .. }), "{error}");
}
