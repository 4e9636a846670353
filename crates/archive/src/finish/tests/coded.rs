//! Payloads that were not G.711: decoded where they belong, or kept as they are.

use super::*;
use crate::manifest::{Channel, Manifest};
use crate::{CODED_OTHER, CODED_OWNER, Concealed};
use duolog_audio::codec::{Channels, Codec, Decoder, Encoder, EncoderSettings, G729Library};
use duolog_audio::coded::{self, CodedFrame};
use duolog_audio::container::flac;

/// A payload and its first tick.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) position: u64,
    ticks: u64,
    codec: u16,
    payload: Vec<u8>,
}

impl Packet {
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

pub(super) const L16: Codec = Codec::L16 {
    rate_hz: 16_000,
    channels: Channels::Mono,
};

/// A warble as [`voice`], at any rate.
pub(super) fn voice_at(rate_hz: u32, ticks: u64, hz: f64, amplitude: f64) -> Vec<i16> {
    let samples = ticks * u64::from(rate_hz) / 8_000;
    let sample = |n: u64| {
        let t = n as f64 / f64::from(rate_hz);
        let phase = std::f64::consts::TAU * (hz * t + 3.0 * (5.0 * t).sin() + 7.0 * t * t);
        (phase.sin() * amplitude) as i16
    };
    (0..samples).map(sample).collect()
}

/// Packets of 20 ms from `position` on; `samples` are at the codec's rate.
pub(super) fn packets(codec: Codec, position: u64, samples: &[i16]) -> Vec<Packet> {
    let library = G729Library::open().ok();
    let settings = EncoderSettings {
        opus_expected_loss_percent: 20,
        ..EncoderSettings::default()
    };
    let mut encoder = Encoder::new(codec, settings, library.as_ref()).unwrap();
    let frame = codec.sample_rate_hz() as usize / 50;
    let packet = |(index, samples): (usize, &[i16])| {
        let mut payload = Vec::new();
        encoder.encode(samples, &mut payload).unwrap();
        Packet {
            position: position + index as u64 * 160,
            ticks: 160,
            codec: codec.code(),
            payload,
        }
    };
    samples
        .chunks_exact(frame)
        .enumerate()
        .map(packet)
        .collect()
}

impl Tape {
    /// Coded frames of both parties and the blocks of `length` ticks; `block` gives a block's bytes.
    pub(super) fn stretches(
        &mut self,
        length: u64,
        parties: [&[Packet]; 2],
        block: impl Fn(u64, u64) -> (SampleFormat, Vec<u8>),
    ) -> &mut Tape {
        for from in (0..length).step_by(BLOCK as usize) {
            let until = length.min(from + BLOCK);
            for (format, packets) in [CODED_OWNER, CODED_OTHER].into_iter().zip(parties) {
                let list = list_of(packets, from, until);
                if !list.is_empty() {
                    self.append(FrameIn::Audio {
                        position: from,
                        format,
                        samples: (until - from) as u32,
                        payload: &list,
                    });
                }
            }
            let (format, payload) = block(from, until);
            self.append(FrameIn::Audio {
                position: from,
                format: format.code(),
                samples: (until - from) as u32,
                payload: &payload,
            });
            // The spool keeps no more in memory than a disk that answers needs.
            self.commit();
        }
        self
    }
}

fn list_of(packets: &[Packet], from: u64, until: u64) -> Vec<u8> {
    let mut list = Vec::new();
    let inside = |packet: &&Packet| (from..until).contains(&packet.position);
    for packet in packets.iter().filter(inside) {
        let frame = CodedFrame {
            offset: (packet.position - from) as u32,
            ticks: packet.ticks as u16,
            codec: packet.codec,
            payload: &packet.payload,
        };
        coded::push(&mut list, frame);
    }
    list
}

pub(super) fn empty(_: u64, _: u64) -> (SampleFormat, Vec<u8>) {
    (SampleFormat::Empty, Vec::new())
}

/// Blocks of the owner's samples in µ-law; the other party's are silent.
fn owner_in_blocks(owner: &[i16]) -> impl Fn(u64, u64) -> (SampleFormat, Vec<u8>) + '_ {
    move |from, until| {
        let owner = &owner[from as usize..until as usize];
        let payload = stored(SampleFormat::Mulaw, owner, &vec![0; owner.len()]);
        (SampleFormat::Mulaw, payload)
    }
}

fn whole(world: &World, shown: &Shown) -> (u32, [Vec<i16>; 2]) {
    assert_eq!(world.format, RequestedFormat::WavPcm16);
    let file = File::open(audio_path(shown)).unwrap();
    let mut reader = wav::Reader::open(std::io::BufReader::new(file)).unwrap();
    let samples = reader.read_to_end().unwrap();
    (reader.sample_rate_hz(), split(&samples))
}

/// That a stretch of `sent` is found in `found` where it belongs, up to what the codec takes.
#[track_caller]
fn found_at(
    found: &[i16],
    sent: &[i16],
    stretch: std::ops::Range<usize>,
    late_ms: f64,
    rate_hz: u32,
) {
    let fit = measure::correlate(&sent[stretch.clone()], found).unwrap();
    assert!(fit.correlation > 0.97, "{fit:?}");
    let late = (fit.offset as f64 - stretch.start as f64) * 1_000.0 / f64::from(rate_hz);
    assert!((late - late_ms).abs() <= 1.0, "{late} ms late, {fit:?}");
}

fn codecs(channel: &Channel) -> Vec<(&str, u64)> {
    let codecs = channel.report.codecs.iter();
    codecs.map(|one| (one.codec.as_str(), one.ticks)).collect()
}

#[track_caller]
pub(super) fn sums_up(manifest: &Manifest) {
    for channel in &manifest.channels {
        let report = &channel.report;
        let coded: u64 = report.codecs.iter().map(|one| one.ticks).sum();
        let filled: u64 = report.filled.values().sum();
        let sum = coded + filled + report.paused_ticks;
        assert_eq!(sum, manifest.length.samples, "{report:?}");
        assert_eq!(coded, channel.samples);
    }
}

#[tokio::test]
async fn a_wide_party_beside_a_narrow_one_makes_a_wide_file() {
    let ticks = 40_000;
    let owner = through(Law::Mulaw, &voice(ticks, 300.0, 9_000.0));
    for (codec, rate_hz, late_ms) in [
        (L16, 16_000, 0.0),
        (Codec::G722, 16_000, 0.0),
        (Codec::Opus, 48_000, 6.5),
        (
            Codec::L16 {
                rate_hz: 44_100,
                channels: Channels::Mono,
            },
            48_000,
            0.0,
        ),
    ] {
        let world = World::new(RequestedFormat::WavPcm16);
        let sent = voice_at(codec.sample_rate_hz(), ticks, 900.0, 6_000.0);
        let other = packets(codec, 0, &sent);
        let mut tape = world.tape();
        tape.stretches(ticks, [&[], &other], owner_in_blocks(&owner));
        tape.seal(ticks, &ending(End::Finished));
        let archive = world.archive().await;
        let shown = archive.finish(ID).await.unwrap();
        let (found_hz, [left, right]) = whole(&world, &shown);
        let manifest = shown.manifest.clone().unwrap();
        assert_eq!(
            (found_hz, manifest.audio.as_ref().unwrap().sample_rate_hz),
            (rate_hz, rate_hz)
        );
        let factor = rate_hz as usize / 8_000;
        assert_eq!([left.len(), right.len()], [ticks as usize * factor; 2]);
        if codec == L16 {
            assert!(right == sent, "linear samples are copied");
        }
        let wide = |hz, amplitude| voice_at(rate_hz, ticks, hz, amplitude);
        let stretch = 8_000 * factor..16_000 * factor;
        found_at(
            &right,
            &wide(900.0, 6_000.0),
            stretch.clone(),
            late_ms,
            rate_hz,
        );
        found_at(&left, &wide(300.0, 9_000.0), stretch, 0.0, rate_hz);
        assert_eq!(codecs(&manifest.channels[0]), [("PCMU", ticks)]);
        assert_eq!(
            codecs(&manifest.channels[1]),
            [(codec.name().as_str(), ticks)]
        );
        assert_eq!(
            (manifest.state, &manifest.flaws),
            (EndState::Complete, &Vec::new())
        );
        sums_up(&manifest);
        assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    }
}

#[tokio::test]
async fn a_change_of_codec_keeps_every_position() {
    let world = World::new(RequestedFormat::WavPcm16);
    let third = 16_000;
    let narrow = voice(3 * third, 400.0, 8_000.0);
    let mut owner = packets(
        Codec::G722,
        third,
        &voice_at(16_000, 3 * third, 400.0, 8_000.0)[2 * third as usize..4 * third as usize],
    );
    let linear = voice_at(16_000, 3 * third, 400.0, 8_000.0);
    owner.extend(packets(L16, 2 * third, &linear[4 * third as usize..]));
    let mut tape = world.tape();
    tape.stretches(3 * third, [&owner, &[]], |from, until| {
        match from < third {
            // The block in which the codec changes has both.
            true => owner_in_blocks(&narrow)(from, until),
            false => empty(from, until),
        }
    });
    tape.gap(1, 0, 3 * third, GapReason::Silence);
    let figures = Some(Figures {
        received: 1,
        ..Figures::default()
    });
    tape.seal(
        3 * third,
        &Ending {
            other: figures,
            ..ending(End::Finished)
        },
    );
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (rate_hz, [left, right]) = whole(&world, &shown);
    assert_eq!((rate_hz, left.len() as u64), (16_000, 6 * third));
    assert!(right.iter().all(|sample| *sample == 0));
    for begin in [4_000, 20_000, 36_000] {
        found_at(&left, &linear, 2 * begin..2 * begin + 8_000, 0.0, 16_000);
    }
    assert!(left[4 * third as usize..] == linear[4 * third as usize..]);
    let manifest = shown.manifest.unwrap();
    let wanted = [("G722", third), ("L16/16000/1", third), ("PCMU", third)];
    assert_eq!(codecs(&manifest.channels[0]), wanted);
    assert_eq!(manifest.state, EndState::Complete);
    sums_up(&manifest);
}

/// What G.722's filters delay is taken out to the sample, across packets and blocks, and nothing is lost
/// for it: what a decoder of its own gives 22 samples later is there.
#[tokio::test]
async fn a_party_in_g722_is_on_time_to_the_sample() {
    let world = World::new(RequestedFormat::WavPcm16);
    let ticks = 24_000;
    let sent = voice_at(16_000, ticks, 900.0, 6_000.0);
    let owner = packets(L16, 0, &sent);
    let mut other = packets(Codec::G722, 0, &sent);
    let mut decoder = Decoder::new(Codec::G722, 16_000, None).unwrap();
    let mut late = Vec::new();
    for packet in &other {
        decoder.decode(&packet.payload, &mut late).unwrap();
    }
    // A hole behind packet 99: the filter runs out in front of it.
    other.remove(100);
    let mut tape = world.tape();
    tape.stretches(ticks, [&owner, &other], empty);
    tape.gap(1, 16_000, 160, GapReason::Loss);
    tape.seal(ticks, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (_, [left, right]) = whole(&world, &shown);
    assert!(left == sent);
    assert_eq!(right.len(), sent.len());
    let hole = 32_000;
    assert!(right[..hole - 22] == late[22..hole], "across 12 blocks");
    assert!(right[hole..hole + 320].iter().all(|sample| *sample == 0));
    let tail = &right[hole - 22..hole];
    assert!(tail.iter().any(|sample| *sample != 0), "{tail:?}");
    for stretch in [4_000..12_000, 36_000..44_000] {
        let fit = measure::correlate(&sent[stretch.clone()], &right).unwrap();
        assert_eq!(fit.offset, stretch.start, "{fit:?}");
    }
}

/// Bytes of the lists are changed inside whole frames: whatever they say then, the recording is finished,
/// as long as it was, and what cannot be read is told.
#[tokio::test]
async fn damaged_lists_are_always_finished() {
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let ticks = 8_000;
    let parties = [
        packets(Codec::Opus, 0, &voice_at(48_000, ticks, 400.0, 8_000.0)),
        packets(Codec::G722, 0, &voice_at(16_000, ticks, 700.0, 8_000.0)),
    ];
    let library = G729Library::open().ok();
    let mut flawed = 0;
    for seed in 0..60 {
        let format = [RequestedFormat::WavPcm16, RequestedFormat::Flac][seed % 2];
        let world = World::new(format);
        let mut tape = world.tape();
        for from in (0..ticks).step_by(BLOCK as usize) {
            let until = ticks.min(from + BLOCK);
            for (channel, format) in [CODED_OWNER, CODED_OTHER].into_iter().enumerate() {
                let mut list = list_of(&parties[channel], from, until);
                for _ in 0..1 + seed / 20 * 10 {
                    // Half of them in the first head, where they do most.
                    let below = [list.len(), 11][random(2)];
                    let at = random(below);
                    list[at] = random(256) as u8;
                }
                tape.append(FrameIn::Audio {
                    position: from,
                    format,
                    samples: (until - from) as u32,
                    payload: &list,
                });
            }
            let (format, payload) = empty(from, until);
            tape.append(FrameIn::Audio {
                position: from,
                format: format.code(),
                samples: (until - from) as u32,
                payload: &payload,
            });
        }
        tape.seal(ticks, &ending(End::Finished));
        let mut archive = world.archive().await;
        archive.g729 = library.clone().filter(|_| seed % 3 > 0);
        let shown = archive.finish(ID).await.unwrap();
        let manifest = shown.manifest.as_ref().unwrap();
        flawed += usize::from(!manifest.flaws.is_empty());
        assert_eq!(manifest.length.samples, ticks);
        sums_up(manifest);
        assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    }
    assert!(flawed > 40, "{flawed}");
}

/// A list without a block, behind where the seal says the recording ended: it is not heard.
#[tokio::test]
async fn a_list_behind_the_end_is_not_heard() {
    let world = World::new(RequestedFormat::WavPcm16);
    let sent = voice_at(16_000, 8_000, 400.0, 8_000.0);
    let owner = packets(L16, 0, &sent);
    let mut tape = world.tape();
    tape.stretches(5_120, [&owner, &owner], empty);
    for format in [CODED_OWNER, CODED_OTHER] {
        tape.append(FrameIn::Audio {
            position: 5_120,
            format,
            samples: 2_560,
            payload: &list_of(&owner, 5_120, 7_680),
        });
    }
    tape.seal(5_120, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (_, [left, _]) = whole(&world, &shown);
    assert!(left == sent[..10_240]);
    sums_up(&shown.manifest.unwrap());
}

/// One tick more or less against drift is bridged or dropped and is no gap.
#[tokio::test]
async fn a_tick_more_or_less_is_no_gap() {
    let world = World::new(RequestedFormat::WavPcm16);
    let sent = voice_at(16_000, 8_000, 400.0, 8_000.0);
    let mut owner = packets(L16, 0, &sent);
    owner
        .iter_mut()
        .skip(10)
        .for_each(|packet| packet.position += 1);
    owner
        .iter_mut()
        .skip(30)
        .for_each(|packet| packet.position -= 1);
    let mut tape = world.tape();
    tape.stretches(8_000, [&owner, &[]], empty);
    tape.gap(1, 0, 8_000, GapReason::NotStarted);
    tape.seal(8_000, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (_, [left, _]) = whole(&world, &shown);
    assert!(left[..3_200] == sent[..3_200]);
    assert_eq!(left[3_200..3_202], [sent[3_199]; 2]);
    assert!(left[3_202..9_602] == sent[3_200..9_600]);
    assert!(left[9_602..] == sent[9_602..]);
    let manifest = shown.manifest.unwrap();
    assert_eq!(manifest.channels[0].gaps, []);
    assert_eq!(manifest.state, EndState::OneWay);
    assert!(
        manifest.reason.contains("other party"),
        "{}",
        manifest.reason
    );
}

#[tokio::test]
async fn loss_is_concealed_where_the_codec_can_and_says_so() {
    for (codec, lost, concealed) in [
        (Codec::Opus, 40..41, Some(Concealed::Fec)),
        (Codec::Opus, 15..21, Some(Concealed::Fec)),
        (Codec::Opus, 40..47, None),
        (Codec::G722, 40..41, None),
    ] {
        let world = World::new(RequestedFormat::WavPcm16);
        let ticks = 16_000;
        let sent = voice_at(codec.sample_rate_hz(), ticks, 500.0, 8_000.0);
        let mut owner = packets(codec, 0, &sent);
        let (from, until) = (lost.start as u64 * 160, lost.end as u64 * 160);
        drop(owner.drain(lost.clone()));
        let mut tape = world.tape();
        // The gap grows in pieces, as it is told.
        tape.gap(0, from, 100, GapReason::Loss);
        tape.stretches(ticks, [&owner, &[]], empty);
        tape.gap(0, from + 100, until - from - 100, GapReason::Loss);
        tape.gap(1, 0, ticks, GapReason::NotStarted);
        tape.seal(ticks, &ending(End::Finished));
        let shown = world.archive().await.finish(ID).await.unwrap();
        let (rate_hz, [left, _]) = whole(&world, &shown);
        let manifest = shown.manifest.clone().unwrap();
        let [gap] = &manifest.channels[0].gaps[..] else {
            panic!("{:?}", manifest.channels[0].gaps);
        };
        assert_eq!(
            (gap.position, gap.samples, gap.reason),
            (from, until - from, GapReason::Loss)
        );
        // More than a packet back there is no copy: how the last of it is made is the codec's choice.
        assert_eq!(
            gap.concealed.is_some(),
            concealed.is_some(),
            "{codec:?} {lost:?}"
        );
        let factor = rate_hz as usize / 8_000;
        let last = (until as usize - 160) * factor..until as usize * factor;
        let heard = measure::rms_dbfs(&left[last]) > -30.0;
        assert_eq!(heard, concealed.is_some(), "{codec:?} {lost:?}");
        let tally = shown.tally().unwrap();
        assert_eq!(tally.filled[&GapReason::Loss], until - from);
        assert_eq!(tally.concealed_ticks > 0, concealed.is_some());
        sums_up(&manifest);
        // What comes after is where it was.
        let wide = voice_at(rate_hz, ticks, 500.0, 8_000.0);
        let late = if codec == Codec::Opus { 6.5 } else { 0.0 };
        found_at(
            &left,
            &wide,
            10_000 * factor..14_000 * factor,
            late,
            rate_hz,
        );
    }
}

#[tokio::test]
async fn loss_at_the_end_is_followed_by_nothing() {
    let world = World::new(RequestedFormat::WavPcm16);
    let sent = voice_at(48_000, 8_000, 500.0, 8_000.0);
    let mut owner = packets(Codec::Opus, 0, &sent);
    owner.truncate(49);
    let mut tape = world.tape();
    tape.stretches(8_000, [&owner, &[]], empty);
    tape.gap(0, 7_840, 160, GapReason::Loss);
    tape.gap(1, 0, 8_000, GapReason::NotStarted);
    tape.seal(8_000, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (_, [left, _]) = whole(&world, &shown);
    assert_eq!(left.len(), 48_000);
    assert!(left[47_040..].iter().all(|sample| *sample == 0));
    let manifest = shown.manifest.unwrap();
    assert_eq!(manifest.channels[0].gaps[0].concealed, None);
    assert_eq!(manifest.channels[0].report.tail_ticks, 160);
}

#[tokio::test]
async fn paused_frames_are_nowhere_and_frames_are_cut_at_the_end() {
    let world = World::new(RequestedFormat::WavPcm16);
    let sent = voice_at(16_000, 16_000, 400.0, 8_000.0);
    let owner = packets(L16, 0, &sent);
    let mut tape = world.tape();
    tape.stretches(15_900, [&owner, &owner], empty);
    for channel in 0..2 {
        tape.gap(channel, 4_000, 3_001, GapReason::Paused);
    }
    tape.seal(15_900, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let (_, [left, right]) = whole(&world, &shown);
    assert!(left == right && left.len() == 31_800);
    for (at, (found, sent)) in left.iter().zip(&sent).enumerate() {
        let paused = (8_000..14_002).contains(&at);
        assert_eq!(*found, if paused { 0 } else { *sent }, "{at}");
    }
    sums_up(&shown.manifest.unwrap());
}

#[tokio::test]
async fn what_cannot_be_read_is_a_flaw_and_never_a_panic() {
    let world = World::new(RequestedFormat::WavPcm16);
    let sent = voice_at(16_000, 16_000, 400.0, 8_000.0);
    let mut owner = packets(L16, 0, &sent);
    owner[10].codec = 999;
    owner[20].payload.pop();
    owner[30].codec = Codec::Opus.code();
    owner[30].payload = vec![0xff; 3];
    let mut other = packets(Codec::G722, 0, &sent);
    other.truncate(80);
    let mut tape = world.tape();
    tape.stretches(16_000, [&owner, &other], empty);
    tape.append(FrameIn::Audio {
        position: 12_800,
        format: CODED_OTHER,
        samples: 2_560,
        payload: &[3, 0, 0, 0, 0, 0, 160],
    });
    tape.append(FrameIn::Audio {
        position: 12_800,
        format: 0x12,
        samples: 2_560,
        payload: &[1; 9],
    });
    tape.seal(16_000, &ending(End::Finished));
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    let manifest = shown.manifest.unwrap();
    let gaps = |channel: usize| {
        let gaps = manifest.channels[channel].gaps.iter();
        gaps.map(|g| (g.position, g.samples, g.reason))
            .collect::<Vec<_>>()
    };
    let unknown = GapReason::Unknown;
    let wanted = [
        (1_600, 160, unknown),
        (3_200, 160, unknown),
        (4_800, 160, unknown),
    ];
    assert_eq!(gaps(0)[..3], wanted);
    assert_eq!(gaps(1), [(12_800, 3_200, unknown)]);
    assert_eq!(manifest.state, EndState::Partial);
    for word in [
        "codec that this version",
        "cut off",
        "2 packets of the owner",
        "code 18",
    ] {
        let told = manifest.flaws.iter().any(|flaw| flaw.contains(word));
        assert!(told, "{word}: {:?}", manifest.flaws);
    }
    sums_up(&manifest);
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
}

/// G.729 as any encoder makes it; decoding it is another matter.
fn g729_packets(position: u64, count: u64) -> Vec<Packet> {
    let packet = |index: u64| Packet {
        position: position + index * 160,
        ticks: 160,
        codec: Codec::G729.code(),
        payload: (0..20).map(|byte| (index * 31 + byte * 7) as u8).collect(),
    };
    (0..count).map(packet).collect()
}

/// The payloads of an object as [`crate::Untranscoded`] draws it, and their places.
fn payloads_in(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let object = std::fs::read(path).unwrap();
    let (mut rest, mut payloads) = (&object[..], Vec::new());
    while let Some((position, after)) = rest.split_first_chunk::<8>() {
        let (bytes, after) = after.split_first_chunk::<4>().unwrap();
        let (list, after) = after.split_at(u32::from_le_bytes(*bytes) as usize);
        for frame in coded::read(list) {
            let frame = frame.unwrap();
            let position = u64::from_le_bytes(*position) + u64::from(frame.offset);
            payloads.push((position, frame.payload.to_vec()));
        }
        rest = after;
    }
    payloads
}

#[tokio::test]
async fn without_its_library_g729_is_kept_as_received() {
    let world = World::new(RequestedFormat::Flac);
    let owner = voice(16_000, 400.0, 8_000.0);
    let other = g729_packets(1_600, 60);
    let mut tape = world.tape();
    tape.gap(1, 0, 1_600, GapReason::NotStarted);
    tape.stretches(16_000, [&[], &other], owner_in_blocks(&owner));
    tape.gap(1, 11_200, 4_800, GapReason::Silence);
    tape.seal(16_000, &ending(End::Finished));
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    let manifest = shown.manifest.clone().unwrap();
    assert_eq!(manifest.state, EndState::Complete, "{}", manifest.reason);
    assert!(
        manifest
            .audio
            .as_ref()
            .unwrap()
            .note
            .as_ref()
            .unwrap()
            .contains("G.729")
    );
    let kept = manifest.channels[1].untranscoded.clone().unwrap();
    assert_eq!(
        (kept.codec.as_str(), kept.ticks, kept.untranscoded),
        ("G729", 9_600, true)
    );
    assert!(kept.key.ends_with("/other.g729"), "{}", kept.key);
    assert_eq!(
        manifest.channels[1].report.filled[&GapReason::Untranscoded],
        9_600
    );
    sums_up(&manifest);

    let path = world.folder.path().join("objects").join(&kept.key);
    let sent = other
        .iter()
        .map(|packet| (packet.position, packet.payload.clone()));
    assert_eq!(payloads_in(&path), sent.collect::<Vec<_>>());

    let to = world.folder.path().join("copy.wav");
    let exported = archive
        .export(&shown.row, ExportFormat::WavPcm16, &to)
        .await
        .unwrap();
    assert!(exported.note.unwrap().contains("other.g729"));
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    archive.finish(ID).await.unwrap();
    flip(&path, 77);
    let found = archive.verify(&shown.row).await.unwrap().findings;
    assert!(
        matches!(&found[..], [Finding::AudioChanged { key, .. }] if *key == kept.key),
        "{found:?}"
    );
    assert!(
        archive.finish(ID).await.is_err(),
        "what an earlier attempt stored is read back"
    );
    std::fs::remove_file(&path).unwrap();
    let found = archive.verify(&shown.row).await.unwrap().findings;
    assert!(matches!(&found[..], [Finding::Missing { .. }]), "{found:?}");
}

#[tokio::test]
async fn with_its_library_g729_is_decoded() {
    let Ok(library) = G729Library::open() else {
        return;
    };
    let world = World::new(RequestedFormat::WavPcm16);
    let sent = voice(24_000, 400.0, 8_000.0);
    let owner = packets(Codec::G729, 0, &sent);
    let mut tape = world.tape();
    tape.stretches(24_000, [&owner, &[]], empty);
    tape.gap(1, 0, 24_000, GapReason::NotStarted);
    tape.seal(24_000, &ending(End::Finished));
    let mut archive = world.archive().await;
    archive.g729 = Some(library);
    let shown = archive.finish(ID).await.unwrap();
    let (rate_hz, [left, _]) = whole(&world, &shown);
    assert_eq!((rate_hz, left.len()), (8_000, 24_000));
    let fit = measure::correlate(&sent[8_000..16_000], &left).unwrap();
    assert!(
        fit.correlation > 0.8 && fit.offset.abs_diff(8_000) <= 120,
        "{fit:?}"
    );
    assert!(shown.manifest.unwrap().channels[0].untranscoded.is_none());
}

#[tokio::test]
async fn a_mixed_stream_is_one_channel() {
    for format in [
        RequestedFormat::WavPcm16,
        RequestedFormat::WavAsReceived,
        RequestedFormat::OggOpus,
    ] {
        let world = World::new(format);
        let mut opening = opening();
        opening.layout = crate::wire::Layout::Mixed;
        let mut tape = world.tape_of(ID, &opening.write());
        let sent = voice(20_000, 400.0, 8_000.0);
        tape.audio(0, SampleFormat::Alaw, &sent, &vec![0; 20_000]);
        tape.gap(0, 5_000, 160, GapReason::Loss);
        tape.seal(20_000, &ending(End::Finished));
        let archive = world.archive().await;
        let shown = archive.finish(ID).await.unwrap();
        let manifest = shown.manifest.clone().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&manifest.write()).unwrap();
        assert_eq!(
            (&value["layout"], &value["channels"][0]["side"]),
            (&"mixed".into(), &"mixed".into())
        );
        assert_eq!(
            (manifest.channels.len(), manifest.state),
            (1, EndState::Complete)
        );
        if format != RequestedFormat::OggOpus {
            let file = File::open(audio_path(&shown)).unwrap();
            let mut reader = wav::Reader::open(std::io::BufReader::new(file)).unwrap();
            assert_eq!(reader.layout(), duolog_audio::container::Layout::Mono);
            assert!(reader.read_to_end().unwrap() == through(Law::Alaw, &sent));
        }
        let to = world.folder.path().join("copy.flac");
        for channels in [ExportChannels::Owner, ExportChannels::Other] {
            let export = Export {
                channels,
                ..ExportFormat::Flac.into()
            };
            let error = archive.export(&shown.row, export, &to).await.unwrap_err();
            assert!(
                error.to_string().contains("layout mixed") && !to.exists(),
                "{error}"
            );
        }
        let export = Export {
            channels: ExportChannels::Mono,
            ..ExportFormat::Flac.into()
        };
        archive.export(&shown.row, export, &to).await.unwrap();
        let mut reader = flac::Reader::open(File::open(&to).unwrap()).unwrap();
        assert_eq!(reader.read_to_end().unwrap().len(), 20_000);
    }
}

/// A spool file as they were first written with coded frames: in any later version it is finished so.
#[tokio::test]
async fn the_first_spool_files_with_coded_frames_stay_readable() {
    let world = World::new(RequestedFormat::Flac);
    let name = "0193a1b2c3d47e5f0000000000000002.0000.sealed";
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/spool");
    let spool = world.folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::copy(
        fixtures.join("version-1-coded").join(name),
        spool.join(name),
    )
    .unwrap();
    let settings = Settings {
        catalogue: world.folder.path().join("catalogue.sqlite"),
        objects: world.folder.path().join("objects"),
        scratch: world.folder.path().join("scratch"),
        format: RequestedFormat::Flac,
        opus_bitrate: 24_000,
        g729: None,
    };
    let spool = crate::archive::SpoolDirectory(spool);
    let archive = Archive::open(settings, spool).await.unwrap();
    let waiting = archive.waiting().await.unwrap();
    let shown = archive.finish(waiting[0]).await.unwrap();
    let manifest = shown.manifest.as_ref().unwrap();
    assert_eq!(
        (manifest.state, &manifest.flaws),
        (EndState::Complete, &Vec::new())
    );
    assert_eq!(manifest.together.skew.unwrap().max_us, 3_125);
    assert_eq!(
        (manifest.together.class, &manifest.together.correlation),
        (None, &None),
        "what was not written down then"
    );
    let parties = manifest.together.parties.iter();
    let parties: Vec<_> = parties.map(|party| (party.from, party.until)).collect();
    assert_eq!(parties, [(0, 2 * BLOCK)]);
    let [owner, other] = &manifest.channels[..] else {
        panic!("{} channels", manifest.channels.len());
    };
    assert_eq!(codecs(owner), [("PCMU", BLOCK), ("opus", BLOCK - 160)]);
    assert_eq!(codecs(other), [("G722", 2 * BLOCK)]);
    let lost = GapLine {
        concealed: Some(Concealed::Fec),
        ..gap(BLOCK + 800, 160, GapReason::Loss)
    };
    assert_eq!((&owner.gaps[..], &other.gaps[..]), (&[lost][..], &[][..]));
    assert_eq!(
        (owner.report.expected, owner.report.corrected.inserted_ticks),
        (32, 3)
    );
    assert_eq!(
        (owner.report.drift_ppm, owner.report.mos),
        (Some(12.5), Some(4.1))
    );
    sums_up(manifest);
    let mut reader = flac::Reader::open(File::open(audio_path(&shown)).unwrap()).unwrap();
    assert_eq!(reader.sample_rate_hz(), 48_000);
    let [left, right] = split(&reader.read_to_end().unwrap());
    assert_eq!(left.len() as u64, 2 * BLOCK * 6);
    let wide = voice_at(48_000, BLOCK, 300.0, 9_000.0);
    found_at(&left, &wide, 4_000..12_000, 0.0, 48_000);
    let wide = voice_at(48_000, 2 * BLOCK, 700.0, 6_000.0);
    found_at(&right, &wide, 8_000..24_000, 0.0, 48_000);
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
}
