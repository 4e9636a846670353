//! Captured on demand: two parties on a relay's shard, its spool and its archive in virtual time, with
//! the commands of the call given by hand. What was not asked for is nowhere on any disk, at any time;
//! what was asked for is, to the sample, what a recording has that was kept from the first.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog::clock::WallClock;
use duolog::gate::Gate;
use duolog_archive::wire::{
    End, Ending, Fact, Keeping as Kept, Mode, Opening, Side, Standing, Way,
};
use duolog_archive::{Archive, EndState, RequestedFormat, Settings, Shown};
use duolog_audio::codec::Codec;
use duolog_media::{
    Command, Direction, Encoding, Entry, Keeping, LegIdentity, LegKey, Outbox, PayloadFormat,
    PeerMedia, PortId, RecordingCommand, RecordingKey, RtcpMux, Shard, ShardSettings,
};
use duolog_rtp::packet::Outgoing;
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc};
use duolog_spool::{Disk, Frame, Reader, RecordingId, SimDisk};
use duolog_tests::world::BEGAN_S;
use duolog_tests::world::dice::Dice;
use duolog_tests::world::keeper::Keeper;
use duolog_tests::world::watch::Watch;

const OWNER: LegKey = LegKey(1);
const OTHER: LegKey = LegKey(2);
/// Not kept unless somebody asks; and its twin, on a disk of its own, that is kept from the first.
const TWINS: [(RecordingKey, Keeping); 2] = [
    (RecordingKey(0x0193 << 112 | 1), Keeping::Provisional),
    (RecordingKey(0x0193 << 112 | 2), Keeping::Kept),
];
const PACKET: Duration = Duration::from_millis(20);
/// Bytes of a piece that is looked for.
const PIECE: usize = 16;

fn home(leg: LegKey) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, leg.0 as u8], 4000))
}

/// A relay's shard with two parties, and a spool for each of the twins.
struct Rig {
    dice: Dice,
    now: Instant,
    shard: Shard,
    out: Outbox,
    disks: [SimDisk; 2],
    keepers: [Keeper; 2],
    watch: Watch,
    sent: u16,
    /// Everything the two said, packet by packet.
    said: [Vec<Vec<u8>>; 2],
}

impl Rig {
    fn new(seed: u64) -> Rig {
        #[allow(clippy::disallowed_methods)] // The one moment every virtual one is counted from.
        let now = Instant::now();
        let wall = WallClock::at(now, Duration::from_secs(BEGAN_S));
        let unix_us = BEGAN_S * 1_000_000;
        let settings = ShardSettings::new((now, duolog_rtp::WallTime { unix_us }));
        let disks = [SimDisk::new(seed), SimDisk::new(seed)];
        disks.iter().for_each(SimDisk::remember_writes);
        let keeper = |disk: &SimDisk| Keeper::new(disk.clone(), 1_000, Gate::default(), wall);
        let keepers = [keeper(&disks[0]), keeper(&disks[1])];
        let mut rig = Rig {
            dice: Dice::new(seed),
            now,
            shard: Shard::new(settings),
            out: Outbox::new(),
            disks,
            keepers,
            watch: Watch::default(),
            sent: 0,
            said: Default::default(),
        };
        rig.connect(OWNER, Codec::G722, 9);
        rig.connect(OTHER, Codec::Pcmu, 0);
        rig.command(Command::Bridge { a: OWNER, b: OTHER });
        for (recording, keeping) in TWINS {
            let opening = Opening {
                call_id: "on-demand@office".into(),
                owner: "anna".into(),
                mode: Mode::OnDemand,
                standing: Standing {
                    keeping: match keeping {
                        Keeping::Kept => Kept::Kept,
                        Keeping::Provisional => Kept::Provisional,
                    },
                    ..Standing::default()
                },
                ..Opening::default()
            };
            let command = RecordingCommand::Open {
                owner: OWNER,
                other: Some(OTHER),
                keeping,
                payload: opening.write().into(),
            };
            rig.command(Command::Record { recording, command });
        }
        rig
    }

    fn connect(&mut self, leg: LegKey, codec: Codec, payload_type: u8) {
        let port = PortId(2 * leg.0 as u32);
        self.command(Command::Open {
            leg,
            rtp: port,
            rtcp: PortId(port.0 + 1),
            identity: LegIdentity {
                ssrc: Ssrc(leg.0 as u32),
                seq: SeqNo(1),
                timestamp: RtpTimestamp(1),
                cname: Bytes::from_static(b"duolog"),
            },
        });
        let rtp = home(leg);
        let peer = PeerMedia {
            rtp,
            rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
            rtcp_mux: RtcpMux::Apart,
            signalled_from: rtp.ip(),
            formats: vec![PayloadFormat {
                payload_type: PayloadType(payload_type),
                encoding: Encoding::Speech(codec),
            }],
            direction: Direction::SendRecv,
            ptime_ms: 20,
            security: None,
        };
        self.command(Command::Connect { leg, peer });
    }

    fn command(&mut self, command: Command) {
        self.watch.command(self.now, &command);
        self.shard.command(self.now, command, &mut self.out);
        self.hand_over();
    }

    fn both(&mut self, command: &RecordingCommand) {
        for (recording, _) in TWINS {
            let command = command.clone();
            self.command(Command::Record { recording, command });
        }
    }

    /// The owner asks for the recording: first the key, then what tells of it.
    fn keep(&mut self) {
        self.both(&RecordingCommand::Keep);
        let (by, way) = (Side::Owner, Way::FeatureCode);
        let payload = Fact::RecordingKept { by, way }.write().into();
        self.both(&RecordingCommand::Note { payload });
    }

    fn close(&mut self, end: End) {
        let reason = Some("the call ended".to_owned());
        let payload = Ending {
            end,
            reason,
            ..Ending::default()
        };
        let payload = payload.write().into();
        self.both(&RecordingCommand::Close { payload });
        for _ in 0..100 {
            self.pass();
        }
        assert!(self.keepers.iter().all(|keeper| keeper.open() == 0));
    }

    /// One packet of each party, of noise that nothing else looks like.
    fn talk(&mut self) {
        for (at, (leg, payload_type)) in [(OWNER, 9), (OTHER, 0)].into_iter().enumerate() {
            let payload: Vec<u8> = (0..160).map(|_| self.dice.below(256) as u8).collect();
            let packet = Outgoing {
                payload_type: PayloadType(payload_type),
                marker: false,
                seq: SeqNo(self.sent),
                timestamp: RtpTimestamp(u32::from(self.sent) * 160),
                ssrc: Ssrc(0x1000 + leg.0 as u32),
                payload: &payload,
            };
            let mut datagram = vec![0; 172];
            packet.write(&mut datagram).expect("it fits");
            self.said[at].push(payload);
            let (now, port) = (self.now, PortId(2 * leg.0 as u32));
            self.shard
                .receive(now, now, port, home(leg), &mut datagram, &mut self.out);
            self.hand_over();
        }
        self.sent += 1;
        self.pass();
    }

    /// 20 ms.
    fn pass(&mut self) {
        self.now += PACKET;
        self.shard.tick(self.now, &mut self.out);
        self.hand_over();
        for keeper in &mut self.keepers {
            keeper.turn(self.now, &mut self.watch);
        }
    }

    /// Each twin's entries go to its own spool.
    fn hand_over(&mut self) {
        let mut entries = std::mem::take(&mut self.out.entries);
        for ((recording, _), keeper) in TWINS.iter().zip(&mut self.keepers) {
            let (own, rest): (Vec<Entry>, Vec<Entry>) = entries
                .into_iter()
                .partition(|entry| entry.recording() == *recording);
            self.out.entries = own;
            keeper.offer(self.now, 0, &mut self.shard, &mut self.out, &mut self.watch);
            entries = rest;
        }
        self.out.clear();
    }

    /// Whether any piece of what was said was ever on a twin's disk, or is in its archive's folder.
    fn leaked(&self, twin: usize, folder: &Path) -> bool {
        let pieces = self.said.iter().flatten();
        let pieces: HashSet<&[u8]> = pieces.flat_map(|said| said.chunks_exact(PIECE)).collect();
        let mut files = self.disks[twin].ever_written();
        read_files(folder, &mut files);
        files.iter().any(|file| {
            // A party of a block has every other byte.
            let halves = [0, 1].map(|from| file.iter().skip(from).step_by(2).copied().collect());
            let views: [Vec<u8>; 2] = halves;
            let views = views.iter().chain([file]);
            let mut windows = views.flat_map(|view| view.windows(PIECE));
            windows.any(|found| pieces.contains(found))
        })
    }
}

fn read_files(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder of this test") {
        let path = entry.expect("an entry of it").path();
        match path.is_dir() {
            true => read_files(&path, found),
            false => found.extend(fs::read(path)),
        }
    }
}

/// Finishes what waits on a disk, with nothing found amiss; the audio's samples' digest goes with it.
fn finish(disk: &SimDisk, folder: &Path) -> Vec<Shown> {
    let at = |name: &str| folder.join(name);
    let settings = Settings {
        catalogue: at("catalogue.sqlite"),
        objects: at("objects"),
        scratch: at("scratch"),
        format: RequestedFormat::WavPcm16,
        opus_bitrate: 24_000,
        g729: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let archive = Archive::open(settings, disk.clone())
            .await
            .expect("an archive in a new directory");
        let mut all = Vec::new();
        for recording in archive.waiting().await.expect("the spool can be listed") {
            let shown = archive.finish(recording).await.expect("it can be finished");
            let verified = archive.verify(&shown.row).await.expect("it can be read");
            assert_eq!(verified.findings, []);
            all.push(shown);
        }
        let left = disk.list().expect("a disk can be listed");
        let left: Vec<_> = left.into_iter().map(|file| file.name).collect();
        assert_eq!(left, ["ballast"], "the spool is released");
        all
    })
}

/// What a seed's call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Closed,
    /// The power goes.
    Crashed,
}

/// A call of `packets` packets, asked for at one of them, or never; gives the state of its row.
fn call(seed: u64, packets: u64, asked_at: Option<u64>, ends: Ends) -> EndState {
    let mut rig = Rig::new(seed);
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a scratch directory"));
    rig.both(&RecordingCommand::Start);
    for n in 0..packets {
        if asked_at == Some(n) {
            assert!(!rig.leaked(0, folders[0].path()), "before it was asked for");
            rig.keep();
        }
        rig.talk();
    }
    match (ends, asked_at) {
        (Ends::Closed, None) => rig.close(End::NotKept),
        (Ends::Closed, Some(_)) => rig.close(End::Finished),
        (Ends::Crashed, _) => {
            for disk in &mut rig.disks {
                disk.crash();
                duolog_spool::recover(disk, BEGAN_S * 1_000_000).expect("it can be listed");
            }
        }
    }
    assert_eq!(rig.watch.faults(), &[] as &[String], "seed {seed}");
    let id = RecordingId(TWINS[0].0.0);
    let unlocked = Reader::open(&rig.disks[0], id)
        .expect("it is there")
        .any(|read| matches!(read.expect("a sound disk").frame, Frame::Key { .. }));
    assert!(!unlocked || asked_at.is_some(), "seed {seed}");
    let [shown, twin] = [0, 1].map(|at| finish(&rig.disks[at], folders[at].path()).remove(0));
    let state = shown.manifest.as_ref().expect("a manifest").state;
    assert_eq!(shown.audio_path.is_some(), unlocked, "seed {seed}");
    if unlocked && ends == Ends::Closed {
        let (found, wanted) = (&shown.audio_path, &twin.audio_path);
        let [found, wanted] = [found, wanted].map(|path| {
            let path = path.as_ref().expect("both have audio");
            fs::read(path).expect("it lies there")
        });
        assert_eq!(found, wanted, "seed {seed}: the whole call from its answer");
        let ended = shown.row.ending.as_ref().expect("it has ended");
        assert_eq!(ended.length_samples, packets * 160, "all of it");
    }
    if !unlocked {
        assert!(!rig.leaked(0, folders[0].path()), "seed {seed}");
        let mut objects = Vec::new();
        read_files(&folders[0].path().join("objects"), &mut objects);
        assert_eq!(objects.len(), 1, "the manifest alone");
    }
    // The search finds what is there.
    assert!(rig.leaked(1, folders[1].path()), "seed {seed}");
    state
}

#[test]
fn without_a_press_no_byte_of_the_call_is_on_any_disk() {
    assert_eq!(call(1, 150, None, Ends::Closed), EndState::NotKept);
}

#[test]
fn a_press_in_the_last_second_keeps_the_whole_call() {
    for (seed, asked_at) in [(2, 0), (3, 120), (4, 149)] {
        let state = call(seed, 150, Some(asked_at), Ends::Closed);
        assert_eq!(state, EndState::Complete);
    }
}

#[test]
fn a_crash_before_the_press_leaves_a_row_and_nothing_else() {
    let states = [5, 6].map(|seed| call(seed, 100, None, Ends::Crashed));
    assert_eq!(states, [EndState::Interrupted; 2]);
}

#[test]
fn whenever_it_is_asked_for_and_however_it_ends_all_or_nothing_is_there() {
    for seed in 100..112 {
        let mut dice = Dice::new(seed);
        let packets = 20 + dice.below(100);
        let asked_at = (dice.below(3) > 0).then(|| dice.below(packets));
        let ends = match dice.below(2) {
            0 => Ends::Closed,
            _ => Ends::Crashed,
        };
        let state = call(seed, packets, asked_at, ends);
        let wanted = match (ends, asked_at) {
            (Ends::Closed, None) => EndState::NotKept,
            (Ends::Closed, Some(_)) => EndState::Complete,
            (Ends::Crashed, _) => EndState::Interrupted,
        };
        assert_eq!(state, wanted, "seed {seed}");
    }
}
