use super::*;
use crate::archive::Settings;
use crate::catalogue::Filter;
use crate::end_state::EndState;
use crate::export::{Export, ExportChannels, ExportError, ExportFormat, ExportGaps};
use crate::format::{RequestedFormat, SampleFormat, StoredFormat};
use crate::gap::GapReason;
use crate::manifest::GapLine;
use crate::verify::Finding;
use crate::wall::WallTime;
use crate::wire::{
    Chain, Class, Direction, End, Ending, Fact, Figures, Mode, Nature, Network, Opening, Side, Way,
};
use duolog_audio::container::{ogg_opus, wav};
use duolog_audio::g711::{self, Law};
use duolog_audio::measure;
use duolog_spool::{FrameIn, ReadError, SimDisk, Writer};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OPENED_US: u64 = 1_795_334_400_123_456;
/// A block as the media plane makes them: 320 ms.
const BLOCK: u64 = 2_560;
const ID: RecordingId = RecordingId(0x0193_a1b2_c3d4_7e5f_8607_1829_3a4b_5c6d);

struct World {
    folder: tempfile::TempDir,
    disk: SimDisk,
    format: RequestedFormat,
}

impl World {
    fn new(format: RequestedFormat) -> World {
        World {
            folder: tempfile::tempdir().unwrap(),
            disk: SimDisk::new(7),
            format,
        }
    }

    /// What a process finds that has just started.
    async fn archive(&self) -> Archive<SimDisk> {
        let at = |name: &str| self.folder.path().join(name);
        let settings = Settings {
            catalogue: at("catalogue.sqlite"),
            objects: at("objects"),
            scratch: at("scratch"),
            format: self.format,
            opus_bitrate: 24_000,
            g729: None,
        };
        Archive::open(settings, self.disk.clone()).await.unwrap()
    }

    fn tape(&self) -> Tape {
        self.tape_of(ID, &opening().write())
    }

    fn tape_of(&self, id: RecordingId, opening: &[u8]) -> Tape {
        let mut writer = Writer::new(self.disk.clone(), duolog_spool::Settings::default()).unwrap();
        let now = Instant::now();
        writer.open(now, id, OPENED_US, opening).unwrap();
        Tape { writer, now, id }
    }

    fn spooled(&self) -> usize {
        duolog_spool::recordings(&self.disk).unwrap().len()
    }

    /// Every file below the object directory.
    fn objects(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found)
                } else {
                    found.push(path)
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.folder.path().join("objects"), &mut found);
        found.sort();
        found
    }
}

/// Writes one recording's frames as the program does.
struct Tape {
    writer: Writer<SimDisk>,
    now: Instant,
    id: RecordingId,
}

impl Tape {
    fn append(&mut self, frame: FrameIn<'_>) -> &mut Tape {
        self.writer.append(self.now, self.id, frame).unwrap();
        self
    }

    /// Both channels' samples from `position` on, in blocks.
    fn audio(
        &mut self,
        position: u64,
        format: SampleFormat,
        owner: &[i16],
        other: &[i16],
    ) -> &mut Tape {
        let block = BLOCK as usize;
        for (index, (owner, other)) in owner.chunks(block).zip(other.chunks(block)).enumerate() {
            let payload = stored(format, owner, other);
            self.append(FrameIn::Audio {
                position: position + index as u64 * BLOCK,
                format: format.code(),
                samples: owner.len() as u32,
                payload: &payload,
            });
        }
        self
    }

    fn gap(&mut self, channel: u8, position: u64, samples: u64, reason: GapReason) -> &mut Tape {
        self.append(FrameIn::Gap {
            channel,
            position,
            samples,
            reason: reason.code(),
        })
    }

    fn fact(&mut self, position: u64, payload: &[u8]) -> &mut Tape {
        let wall_us = OPENED_US + position * 125;
        self.append(FrameIn::Fact {
            position,
            wall_us,
            payload,
        })
    }

    fn commit(&mut self) -> &mut Tape {
        self.now += Duration::from_secs(1);
        drop(self.writer.commit(self.now));
        self
    }

    fn seal(&mut self, position: u64, ending: &Ending) {
        let wall_us = OPENED_US + 60_000_000;
        self.writer
            .seal(self.now, self.id, position, wall_us, &ending.write())
            .unwrap();
        for _ in 0..5 {
            self.commit();
        }
        assert_eq!(self.writer.recordings(), 0, "sealed");
    }
}

fn opening() -> Opening {
    Opening {
        call_id: "a84b4c76e66710@pc33".to_owned(),
        caller: "+31201234567".to_owned(),
        callee: "200".to_owned(),
        direction: Direction::Inbound,
        owner: "anna".to_owned(),
        owner_name: Some("Anna".to_owned()),
        mode: Mode::AlwaysWithPause,
        class: Some(Class {
            network: Network::Pstn,
            nature: Nature::Conversation,
        }),
        chain: Chain {
            correlation: Some("c0".repeat(16)),
            party: Some("+31201234567".to_owned()),
            diversion: vec!["201".to_owned()],
        },
        ..Opening::default()
    }
}

fn ending(end: End) -> Ending {
    Ending {
        end,
        ..Ending::default()
    }
}

fn stored(format: SampleFormat, owner: &[i16], other: &[i16]) -> Vec<u8> {
    let pairs = owner
        .iter()
        .zip(other)
        .flat_map(|(&owner, &other)| [owner, other]);
    match format.law() {
        Some(law) => pairs.map(|sample| g711::encode(law, sample)).collect(),
        None => pairs.flat_map(i16::to_le_bytes).collect(),
    }
}

/// A warble: never the same for long, so that a shift shows.
fn voice(samples: u64, hz: f64, amplitude: f64) -> Vec<i16> {
    let sample = |n: u64| {
        let t = n as f64 / 8_000.0;
        let phase = std::f64::consts::TAU * (hz * t + 3.0 * (5.0 * t).sin() + 7.0 * t * t);
        (phase.sin() * amplitude) as i16
    };
    (0..samples).map(sample).collect()
}

fn through(law: Law, samples: &[i16]) -> Vec<i16> {
    samples
        .iter()
        .map(|&sample| g711::decode(law, g711::encode(law, sample)))
        .collect()
}

fn split(stereo: &[i16]) -> [Vec<i16>; 2] {
    let pairs = stereo.as_chunks::<2>().0;
    [
        pairs.iter().map(|pair| pair[0]).collect(),
        pairs.iter().map(|pair| pair[1]).collect(),
    ]
}

fn read_wav(path: &Path) -> (wav::Coding, [Vec<i16>; 2]) {
    let mut reader = wav::Reader::open(std::io::BufReader::new(File::open(path).unwrap())).unwrap();
    (reader.coding(), split(&reader.read_to_end().unwrap()))
}

fn gap(position: u64, samples: u64, reason: GapReason) -> GapLine {
    GapLine {
        position,
        samples,
        reason,
        concealed: None,
    }
}

fn audio_path(shown: &Shown) -> &Path {
    shown.audio_path.as_deref().unwrap()
}

async fn finished(world: &World, samples: u64) -> (Archive<SimDisk>, Shown) {
    let (owner, other) = (
        voice(samples, 300.0, 9_000.0),
        voice(samples, 700.0, 4_000.0),
    );
    let mut tape = world.tape();
    tape.audio(0, SampleFormat::Mulaw, &owner, &other);
    tape.seal(samples, &ending(End::Finished));
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    (archive, shown)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

mod changed;
mod coded;
mod ends;
mod exported;
mod kept;
mod killed;
mod masked;
mod parties;
mod provisional;
