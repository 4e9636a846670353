//! A recording whose second channel was one party's after another.

use super::coded::{empty, packets, sums_up, voice_at};
use super::*;
use crate::parties::Party;
use crate::wire::{Arrival, Departure};
use duolog_audio::codec::{Codec, Decoder};

fn left(how: Departure) -> Vec<u8> {
    let side = Side::Other;
    Fact::PartyLeft { side, how }.write()
}

fn joined(number: &str, how: Arrival) -> Vec<u8> {
    let (side, number) = (Side::Other, number.to_owned());
    Fact::PartyJoined { side, number, how }.write()
}

fn party(from: u64, until: u64, number: &str, how: Arrival, left: Option<Departure>) -> Party {
    let number = number.to_owned();
    Party {
        from,
        until,
        number,
        how,
        left,
    }
}

#[tokio::test]
async fn parties_class_and_chain_are_in_the_manifest_and_in_the_row() {
    let world = World::new(RequestedFormat::WavPcm16);
    let length = 60_000;
    let (owner, other) = (voice(length, 300.0, 9_000.0), voice(length, 900.0, 6_000.0));
    let mut tape = world.tape();
    tape.audio(0, SampleFormat::Mulaw, &owner, &other);
    let class = Class {
        network: Network::Internal,
        nature: Nature::Voicemail,
    };
    tape.fact(
        0,
        &Fact::Diverted {
            from: "202".to_owned(),
        }
        .write(),
    )
    .fact(16_000, &Fact::TransferAsked { by: Side::Other }.write())
    .fact(20_000, &left(Departure::Transferred))
    .gap(1, 20_000, 12_000, GapReason::Absent)
    .fact(32_000, &joined("+31209876543", Arrival::Transfer))
    .fact(40_000, &left(Departure::Replaced))
    .fact(40_000, &joined("203", Arrival::Replaced))
    .fact(40_000, &Fact::ClassChanged { class }.write())
    .fact(50_000, &Fact::TransferFailed { status: Some(486) }.write());
    tape.seal(length, &ending(End::Finished));
    let archive = world.archive().await;
    let shown = archive.finish(ID).await.unwrap();
    let manifest = shown.manifest.clone().unwrap();
    assert_eq!(manifest.state, EndState::Complete);
    let (transferred, replaced) = (Some(Departure::Transferred), Some(Departure::Replaced));
    let parties = [
        party(0, 20_000, "+31201234567", Arrival::Call, transferred),
        party(32_000, 40_000, "+31209876543", Arrival::Transfer, replaced),
        party(40_000, length, "203", Arrival::Replaced, None),
    ];
    assert_eq!(manifest.together.parties, parties);
    assert_eq!(manifest.together.class, Some(class), "the last one counts");
    assert_eq!(
        manifest.call.class,
        opening().class,
        "the first one is kept"
    );
    assert_eq!(manifest.call.chain, opening().chain);
    let correlation = manifest.together.correlation.clone();
    assert_eq!(correlation, Some("c0".repeat(16)));
    assert_eq!(
        (shown.row.call.class, &shown.row.call.correlation),
        (Some(class), &correlation)
    );
    assert_eq!(manifest.channels[1].gaps.len(), 1);
    assert_eq!(manifest.channels[1].gaps[0].reason, GapReason::Absent);
    sums_up(&manifest);
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
    let filter = Filter {
        correlation,
        ..Filter::default()
    };
    let rows = archive.catalogue().list(&filter, 10).await.unwrap();
    assert_eq!(rows, [shown.row]);
}

#[tokio::test]
async fn a_channel_that_nobody_was_on_is_not_one_way() {
    for (absent, figures, expected) in [
        (8_000, None, EndState::Complete),
        (7_000, None, EndState::OneWay),
        (
            7_000,
            Some(Figures {
                received: 1,
                ..Figures::default()
            }),
            EndState::Complete,
        ),
    ] {
        let world = World::new(RequestedFormat::WavPcm16);
        let owner = voice(8_000, 300.0, 9_000.0);
        let mut tape = world.tape();
        tape.audio(0, SampleFormat::Mulaw, &owner, &vec![0; 8_000]);
        if absent < 8_000 {
            tape.gap(1, 0, 8_000 - absent, GapReason::NotStarted);
        }
        tape.gap(1, 8_000 - absent, absent, GapReason::Absent);
        let end = Ending {
            other: figures,
            ..ending(End::Finished)
        };
        tape.seal(8_000, &end);
        let shown = world.archive().await.finish(ID).await.unwrap();
        assert_eq!(shown.manifest.unwrap().state, expected, "{absent}");
    }
}

/// What a decoder makes of packets that are all there is.
fn alone(codec: Codec, rate_hz: u32, payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec, rate_hz, None).unwrap();
    let mut samples = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        let next = payloads.get(index + 1).map(Vec::as_slice);
        let decoded = decoder.decode_on_time(payload, next, &mut samples);
        decoded.unwrap();
    }
    samples
}

#[tokio::test]
async fn each_party_of_a_channel_is_decoded_by_itself() {
    let (turn, length) = (16_000, 40_000);
    for (codec, rate_hz, change) in [
        (
            Codec::G722,
            16_000,
            vec![(turn, joined("7", Arrival::Transfer))],
        ),
        (
            Codec::Opus,
            48_000,
            vec![
                (turn, left(Departure::Replaced)),
                (turn, joined("7", Arrival::Replaced)),
            ],
        ),
    ] {
        let world = World::new(RequestedFormat::WavPcm16);
        let spoken = |ticks, hz| voice_at(codec.sample_rate_hz(), ticks, hz, 9_000.0);
        let first = packets(codec, 0, &spoken(turn, 400.0));
        let second = packets(codec, turn, &spoken(length - turn, 1_100.0));
        let payloads = [&first, &second].map(|party| {
            let payloads = party.iter().map(|packet| packet.payload().to_vec());
            payloads.collect::<Vec<_>>()
        });
        let other = [first, second].concat();
        let mut tape = world.tape();
        for (at, fact) in &change {
            tape.fact(*at, fact);
        }
        tape.stretches(length, [&[], &other], empty);
        tape.gap(0, 0, length, GapReason::Silence);
        tape.seal(length, &ending(End::Finished));
        let archive = world.archive().await;
        let shown = archive.finish(ID).await.unwrap();
        let file = File::open(audio_path(&shown)).unwrap();
        let mut reader = wav::Reader::open(std::io::BufReader::new(file)).unwrap();
        assert_eq!(reader.sample_rate_hz(), rate_hz);
        let [_, right] = split(&reader.read_to_end().unwrap());
        let expected = payloads.map(|payloads| alone(codec, rate_hz, &payloads));
        let middle = expected[0].len();
        assert_eq!(middle as u64, turn * u64::from(rate_hz) / 8_000);
        assert!(right[..middle] == expected[0], "{codec:?}: the first party");
        assert!(
            right[middle..] == expected[1],
            "{codec:?}: the second party"
        );
    }
}

#[tokio::test]
async fn a_loss_of_the_new_party_is_not_made_up_from_what_the_old_one_said() {
    let (turn, length) = (16_000, 40_000);
    let world = World::new(RequestedFormat::WavPcm16);
    let spoken = |ticks, hz| voice_at(48_000, ticks, hz, 9_000.0);
    let mut other = packets(Codec::Opus, 0, &spoken(turn, 400.0));
    let mut second = packets(Codec::Opus, turn, &spoken(length - turn, 1_100.0));
    second.remove(0);
    other.append(&mut second);
    let mut tape = world.tape();
    tape.fact(turn, &joined("7", Arrival::Transfer));
    tape.gap(1, turn, 160, GapReason::Loss);
    tape.stretches(length, [&[], &other], empty);
    tape.gap(0, 0, length, GapReason::Silence);
    tape.seal(length, &ending(End::Finished));
    let shown = world.archive().await.finish(ID).await.unwrap();
    let manifest = shown.manifest.as_ref().unwrap();
    let gap = &manifest.channels[1].gaps[0];
    assert_eq!(
        (gap.position, gap.samples, gap.concealed),
        (turn, 160, None)
    );
    let file = File::open(audio_path(&shown)).unwrap();
    let mut reader = wav::Reader::open(std::io::BufReader::new(file)).unwrap();
    let [_, right] = split(&reader.read_to_end().unwrap());
    let hole = turn as usize * 6..(turn as usize + 160) * 6;
    assert!(right[hole].iter().all(|sample| *sample == 0));
}

/// A spool file as they were first written with parties that follow each other. With
/// `DUOLOG_WRITE_FIXTURES` set it is written first: once, when it was new.
#[tokio::test]
async fn the_first_spool_files_with_several_parties_stay_readable() {
    let id = RecordingId(0x0193_a1b2_c3d4_7e5f_0000_0000_0000_0003);
    let name = format!("{id}.0000.sealed");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/spool");
    let fixture = fixtures.join("version-1-parties").join(&name);
    let length = 2 * BLOCK;
    let world = World::new(RequestedFormat::WavAsReceived);
    if std::env::var_os("DUOLOG_WRITE_FIXTURES").is_some() {
        let samples = [voice(length, 300.0, 9_000.0), voice(length, 900.0, 6_000.0)];
        let mut tape = world.tape_of(id, &opening().write());
        tape.audio(0, SampleFormat::Alaw, &samples[0], &samples[1])
            .fact(BLOCK, &left(Departure::Replaced))
            .gap(1, BLOCK, 800, GapReason::Absent)
            .fact(BLOCK + 800, &joined("203", Arrival::PickedUp));
        tape.seal(length, &ending(End::Finished));
        let mut bytes = vec![0; 100_000];
        let read = duolog_spool::Disk::read(&world.disk, &name, 0, &mut bytes).unwrap();
        std::fs::create_dir_all(fixture.parent().unwrap()).unwrap();
        std::fs::write(&fixture, &bytes[..read]).unwrap();
    }
    let spool = world.folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::copy(&fixture, spool.join(&name)).unwrap();
    let at = |name: &str| world.folder.path().join(name);
    let settings = Settings {
        catalogue: at("catalogue.sqlite"),
        objects: at("objects"),
        scratch: at("scratch"),
        format: world.format,
        opus_bitrate: 24_000,
        g729: None,
    };
    let spool = crate::archive::SpoolDirectory(spool);
    let archive = Archive::open(settings, spool).await.unwrap();
    let shown = archive.finish(id).await.unwrap();
    let manifest = shown.manifest.as_ref().unwrap();
    assert_eq!(
        (manifest.state, &manifest.flaws, manifest.length.samples),
        (EndState::Complete, &Vec::new(), length)
    );
    assert_eq!(
        manifest.together.parties,
        [
            party(
                0,
                BLOCK,
                "+31201234567",
                Arrival::Call,
                Some(Departure::Replaced)
            ),
            party(BLOCK + 800, length, "203", Arrival::PickedUp, None),
        ]
    );
    let class = manifest.together.class.unwrap();
    assert_eq!(
        (class.network, class.nature),
        (Network::Pstn, Nature::Conversation)
    );
    assert_eq!(manifest.together.correlation, Some("c0".repeat(16)));
    assert_eq!(manifest.call.chain.diversion, ["201"]);
    assert_eq!(manifest.channels[1].gaps[0].reason, GapReason::Absent);
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);
}
