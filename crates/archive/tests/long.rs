//! A recording of thirty hours, most of it silent: longer than a WAV's sizes can say (SPEC D14).

use duolog_archive::wire::{End, Ending, Figures, Opening};
use duolog_archive::{
    Archive, CODED_OTHER, CODED_OWNER, EndState, Export, ExportFormat, GapReason, RequestedFormat,
    SampleFormat, Settings, SpoolDirectory,
};
use duolog_audio::codec::{Codec, Encoder, EncoderSettings};
use duolog_audio::coded::{self, CodedFrame};
use duolog_audio::container::wav;
use duolog_spool::{FrameIn, RealDisk, RecordingId, Writer};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ID: RecordingId = RecordingId(0x0193_a1b2_c3d4_7e5f_8607_1829_3a4b_5c6d);
/// Ticks in an hour.
const HOUR: u64 = 3_600 * 8_000;
const LENGTH: u64 = 30 * HOUR + 12_345;
const BLOCK: u64 = 2_560;
/// First ticks of the blocks in which somebody speaks: from the fourth on beyond 4 GiB.
const SPOKEN: [u64; 6] = [
    0,
    HOUR + 1,
    9 * HOUR,
    19 * HOUR,
    LENGTH - HOUR / 4,
    LENGTH - BLOCK,
];

/// A block's sound at 16 kHz; no two are the same.
fn sound(block: usize) -> Vec<i16> {
    let sample = |n: usize| {
        let t = n as f64 / 16_000.0;
        let hz = 300.0 + 100.0 * block as f64 + 400.0 * t;
        ((std::f64::consts::TAU * hz * t).sin() * 9_000.0) as i16
    };
    (0..2 * BLOCK as usize).map(sample).collect()
}

fn list(sound: &[i16]) -> Vec<u8> {
    let mut encoder = Encoder::new(Codec::G722, EncoderSettings::default(), None).unwrap();
    let (mut list, mut payload) = (Vec::new(), Vec::new());
    for (index, samples) in sound.chunks(320).enumerate() {
        encoder.encode(samples, &mut payload).unwrap();
        let frame = CodedFrame {
            offset: index as u32 * 160,
            ticks: 160,
            codec: Codec::G722.code(),
            payload: &payload,
        };
        coded::push(&mut list, frame);
    }
    list
}

/// Writes the spool as the program does: blocks here and there, and gaps between them.
fn record(spool: &Path) {
    let mut writer = Writer::new(
        RealDisk::open(spool).unwrap(),
        duolog_spool::Settings::default(),
    )
    .unwrap();
    let mut now = Instant::now();
    let wall_us = 1_795_334_400_000_000;
    writer
        .open(now, ID, wall_us, &Opening::default().write())
        .unwrap();
    let mut next = 0;
    for (index, position) in SPOKEN.into_iter().enumerate() {
        for channel in 0..2 {
            if position > next {
                let gap = FrameIn::Gap {
                    channel,
                    position: next,
                    samples: position - next,
                    reason: GapReason::Silence.code(),
                };
                writer.append(now, ID, gap).unwrap();
            }
        }
        let list = list(&sound(index));
        let audio = |format, payload| FrameIn::Audio {
            position,
            format,
            samples: BLOCK as u32,
            payload,
        };
        for format in [CODED_OWNER, CODED_OTHER] {
            writer.append(now, ID, audio(format, &list)).unwrap();
        }
        writer
            .append(now, ID, audio(SampleFormat::Empty.code(), &[]))
            .unwrap();
        now += Duration::from_secs(1);
        drop(writer.commit(now));
        next = position + BLOCK;
    }
    let figures = Figures {
        received: 96,
        ..Figures::default()
    };
    let ending = Ending {
        end: End::Finished,
        owner: Some(figures.clone()),
        other: Some(figures),
        ..Ending::default()
    };
    writer
        .seal(now, ID, LENGTH, wall_us + LENGTH * 125, &ending.write())
        .unwrap();
    for _ in 0..5 {
        now += Duration::from_secs(1);
        drop(writer.commit(now));
    }
}

/// Walks over a WAV: where there is sound, and how long it is, in frames.
struct Walk {
    frames: u64,
    spoken: Vec<(u64, Vec<u8>)>,
}

/// Silence between two sounds, in frames: the sounds themselves have shorter ones.
const APART: u64 = 4_000;

impl Walk {
    fn go_on(&mut self, path: &Path) {
        let mut reader =
            wav::Reader::open(BufReader::with_capacity(1 << 20, File::open(path).unwrap()))
                .unwrap();
        assert_eq!(reader.sample_rate_hz(), 16_000);
        let announced = self.frames + reader.frames();
        let (silence, mut piece) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        loop {
            let read = reader.read_bytes(&mut piece).unwrap();
            if read == 0 {
                break;
            }
            if piece[..read] != silence[..read] {
                self.sound(&piece[..read]);
            }
            self.frames += read as u64 / 4;
        }
        assert_eq!(self.frames, announced, "{}", path.display());
    }

    fn sound(&mut self, stereo: &[u8]) {
        for (index, frame) in stereo.as_chunks::<4>().0.iter().enumerate() {
            if *frame == [0; 4] {
                continue;
            }
            let at = self.frames + index as u64;
            let first = match self.spoken.last() {
                Some((first, samples)) if at < first + samples.len() as u64 / 4 + APART => *first,
                _ => {
                    self.spoken.push((at, Vec::new()));
                    at
                }
            };
            let (_, samples) = self.spoken.last_mut().expect("pushed above");
            samples.resize(4 * (at - first) as usize, 0);
            samples.extend_from_slice(frame);
        }
    }
}

fn walk(paths: &[PathBuf]) -> Walk {
    let mut walk = Walk {
        frames: 0,
        spoken: Vec::new(),
    };
    for path in paths {
        walk.go_on(path);
    }
    walk
}

#[tokio::test]
async fn thirty_hours_are_one_file_and_any_number_of_parts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    record(&at("spool"));
    let settings = Settings {
        catalogue: at("catalogue.sqlite"),
        objects: at("objects"),
        scratch: at("scratch"),
        format: RequestedFormat::WavPcm16,
        opus_bitrate: 24_000,
        g729: None,
    };
    let archive = Archive::open(settings, SpoolDirectory(at("spool")))
        .await
        .unwrap();
    let shown = archive.finish(ID).await.unwrap();
    let manifest = shown.manifest.as_ref().unwrap();
    assert_eq!(
        (manifest.state, manifest.length.samples),
        (EndState::Complete, LENGTH)
    );
    let audio = manifest.audio.as_ref().unwrap();
    assert_eq!(audio.sample_rate_hz, 16_000);
    assert!(audio.digests.bytes > 1 << 32, "{}", audio.digests.bytes);

    let path = shown.audio_path.clone().unwrap();
    let probe = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "stream=duration_ts,channels,sample_rate",
            "-of",
            "csv=p=0",
        ])
        .arg(&path)
        .output()
        .expect("ffprobe is installed");
    let said = String::from_utf8(probe.stdout).unwrap();
    assert_eq!(said.trim(), format!("16000,2,{}", 2 * LENGTH));

    let verified = archive.verify(&shown.row).await.unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.audio_bytes, audio.digests.bytes);

    let export = Export {
        parts: Some(Duration::from_secs(4 * 3_600 + 4)),
        ..ExportFormat::WavPcm16.into()
    };
    let exported = archive
        .export(&shown.row, export, &at("part.wav"))
        .await
        .unwrap();
    assert_eq!(exported.parts.len(), 8);
    // Each sample of the whole is read on its way into a part: what is found here is there.
    let found = walk(&exported.parts);
    assert_eq!(found.frames, 2 * LENGTH);
    let places: Vec<u64> = found.spoken.iter().map(|(at, _)| *at).collect();
    assert_eq!(places.len(), SPOKEN.len(), "{places:?}");
    for (index, (at, samples)) in found.spoken.iter().enumerate() {
        let wanted = 2 * SPOKEN[index];
        // The codec's first samples are nearly silent.
        assert!((wanted..wanted + 64).contains(at), "{at} {wanted}");
        assert_eq!(like(samples, &sound(index)), [true; 2], "at {at}");
    }
}

/// Whether each channel of `stereo` is this sound, but for what the codec takes.
fn like(stereo: &[u8], sound: &[i16]) -> [bool; 2] {
    [0, 2].map(|first| {
        let frames = stereo.as_chunks::<4>().0.iter();
        let left = frames.map(|frame| i16::from_le_bytes([frame[first], frame[first + 1]]));
        let left: Vec<i16> = left.collect();
        let fit = duolog_audio::measure::correlate(&sound[1_000..4_000], &left);
        fit.is_some_and(|fit| fit.correlation > 0.97)
    })
}
