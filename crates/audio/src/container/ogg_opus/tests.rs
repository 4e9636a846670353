use std::io::Cursor;

use ogg::PacketReader;

use super::*;
use crate::container::wav;
use crate::measure;
use crate::tone::ToneShape;

fn encode_in_pieces(left: &[i16], right: &[i16], piece: usize) -> Vec<u8> {
    let tags = Tags {
        vendor: "duolog test".to_owned(),
        comments: vec![("RECORDING".to_owned(), "0192-é".to_owned())],
    };
    let mut writer = Writer::new(Vec::new(), Settings::default(), &tags).expect("begun");
    for (left, right) in left.chunks(piece).zip(right.chunks(piece)) {
        writer.push(left, right).expect("pushed");
    }
    writer.finish().expect("finished")
}

fn decode(file: &[u8]) -> (Vec<i16>, Vec<i16>) {
    let mut reader = Reader::open(Cursor::new(file)).expect("opened");
    let stereo = reader.read_to_end().expect("decoded");
    stereo
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&[l, r]| (l, r))
        .unzip()
}

fn tone(frequency_hz: f64, samples: usize) -> Vec<i16> {
    let length_ms = (samples / 8 + 1) as u32;
    let shape = ToneShape {
        frequency_hz,
        length_ms,
        level_dbfs: -12.0,
    };
    shape.samples()[..samples].to_vec()
}

#[test]
fn the_decoded_length_is_the_pushed_length() {
    let lengths = [
        0, 1, 2, 107, 108, 109, 159, 160, 161, 267, 268, 269, 320, 7_947, 7_948, 7_949,
    ];
    for length in lengths
        .into_iter()
        .chain([8_000, 8_001, 12_345, 16_000, 80_000])
    {
        let (left, right) = (tone(440.0, length), tone(1_000.0, length));
        let (l, r) = decode(&encode_in_pieces(&left, &right, 2_560));
        assert_eq!((l.len(), r.len()), (length, length));
    }
}

#[test]
fn how_samples_are_pushed_does_not_matter() {
    let (left, right) = (tone(440.0, 5_003), tone(1_000.0, 5_003));
    let whole = encode_in_pieces(&left, &right, 5_003);
    for piece in [1, 7, 159, 160, 161, 4_000] {
        assert_eq!(
            encode_in_pieces(&left, &right, piece),
            whole,
            "pieces of {piece}"
        );
    }
}

/// Two seconds of a voice.
fn speech() -> Vec<i16> {
    let file = include_bytes!("../../../../../fixtures/audio/demo-owner.wav");
    let mut speech = wav::Reader::open(&file[..])
        .expect("a WAV")
        .read_to_end()
        .expect("whole");
    speech.truncate(16_000);
    speech
}

#[test]
fn sample_zero_stays_sample_zero() {
    let speech = speech();
    let (l, r) = decode(&encode_in_pieces(&speech, &speech, 160));
    for channel in [l, r] {
        // The middle of the original must be found at its own place.
        let found = measure::correlate(&speech[4_000..12_000], &channel).expect("it fits");
        assert_eq!(found.offset, 4_000);
        assert!(found.correlation > 0.95, "{found:?}");
    }
}

#[test]
fn the_channels_do_not_touch() {
    let speaking = tone(1_000.0, 16_000);
    let silent = vec![0; 16_000];
    let (l, r) = decode(&encode_in_pieces(&speaking, &silent, 160));
    let level = measure::goertzel_dbfs(&l[800..15_200], 1_000.0);
    assert!((level + 12.0).abs() < 0.2, "left reads {level}");
    assert!(
        measure::rms_dbfs(&r) < -90.0,
        "right reads {}",
        measure::rms_dbfs(&r)
    );
    let (l, r) = decode(&encode_in_pieces(&silent, &speaking, 160));
    assert!(measure::rms_dbfs(&l) < -90.0);
    assert!((measure::goertzel_dbfs(&r[800..15_200], 1_000.0) + 12.0).abs() < 0.2);
}

#[test]
fn a_channel_is_the_same_whatever_the_other_holds() {
    let (owner, other) = (speech(), tone(1_300.0, 16_000));
    let (l, r) = decode(&encode_in_pieces(&owner, &other, 160));
    assert_eq!(decode(&encode_in_pieces(&owner, &[0; 16_000], 160)).0, l);
    assert_eq!(decode(&encode_in_pieces(&[0; 16_000], &other, 160)).1, r);
    let beside_itself = decode(&encode_in_pieces(&owner, &owner, 160)).0;
    assert_eq!(beside_itself, l);
    assert!(measure::goertzel_dbfs(&r[800..15_200], 1_300.0) > -12.2);
}

#[test]
fn the_head_names_two_uncoupled_streams() {
    let file = encode_in_pieces(&[], &[], 1);
    let head = PacketReader::new(Cursor::new(&file))
        .read_packet_expected()
        .expect("read");
    let pre_skip = 312_u16.to_le_bytes();
    let expected = [
        b"OpusHead\x01\x02",
        &pre_skip[..],
        b"\x40\x1F\0\0\0\0\x01\x02\0\0\x01",
    ];
    assert_eq!(head.data, expected.concat());
    assert!(head.first_in_stream() && head.last_in_page());
}

#[test]
fn pages_hold_a_second_and_say_where_they_end() {
    let file = encode_in_pieces(&tone(440.0, 20_100), &tone(440.0, 20_100), 160);
    let mut reader = PacketReader::new(Cursor::new(&file));
    let mut pages = Vec::new();
    let mut packets = 0;
    while let Some(packet) = reader.read_packet().expect("read") {
        packets += 1;
        if packet.last_in_page() {
            pages.push((packet.absgp_page(), packets, packet.last_in_stream()));
            packets = 0;
        }
    }
    let end = 312 + 20_100 * 6;
    let pages_expected = [
        (0, 1, false),
        (0, 1, false),
        (48_000, 50, false),
        (96_000, 50, false),
        (end, 26, true),
    ];
    // 20,100 + 52 samples are 125.95 packets of 160.
    assert_eq!(pages, pages_expected);
}

#[test]
fn comments_are_found_by_name() {
    let file = encode_in_pieces(&[0; 10], &[0; 10], 10);
    let reader = Reader::open(Cursor::new(&file)).expect("opened");
    assert_eq!(reader.comment("recording"), Some("0192-é"));
    assert_eq!(reader.comment("nothing"), None);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let begin = |settings, name: &str| {
        let comments = vec![(name.to_owned(), String::new())];
        let tags = Tags {
            vendor: String::new(),
            comments,
        };
        Writer::new(Vec::new(), settings, &tags)
            .err()
            .map(|error| error.to_string())
    };
    let good = Settings::default();
    assert_eq!(begin(good, "A B"), None);
    for name in ["", "A=B", "É", "A\n"] {
        assert_eq!(
            begin(good, name),
            Some(format!("comment name {name:?} cannot be written"))
        );
    }
    for settings in [
        Settings {
            bitrate_per_channel: 5_999,
            ..good
        },
        Settings {
            bitrate_per_channel: 128_001,
            ..good
        },
        Settings {
            complexity: 11,
            ..good
        },
    ] {
        let error = begin(settings, "A").expect("refused");
        assert!(error.starts_with("Opus settings out of range"), "{error}");
    }
    let mut writer = Writer::new(Vec::new(), good, &Tags::default()).expect("begun");
    let uneven = writer.push(&[1, 2], &[1]);
    assert!(matches!(
        uneven,
        Err(OggOpusError::ChannelsDiffer { left: 2, right: 1 })
    ));
    writer.push(&[1], &[1]).expect("pushed");
    assert_eq!(decode(&writer.finish().expect("finished")).0.len(), 1);
}

#[test]
fn every_setting_in_range_gives_a_file_of_the_right_length() {
    for bitrate_per_channel in [6_000, 12_000, 64_000, 128_000] {
        for complexity in [0, 10] {
            let settings = Settings {
                bitrate_per_channel,
                complexity,
                serial: 7,
                ..Settings::default()
            };
            let mut writer = Writer::new(Vec::new(), settings, &Tags::default()).expect("begun");
            let sound = tone(900.0, 9_999);
            writer.push(&sound, &sound).expect("pushed");
            let (l, r) = decode(&writer.finish().expect("finished"));
            assert_eq!((l.len(), r.len()), (9_999, 9_999), "{settings:?}");
        }
    }
}

fn read_error(file: &[u8]) -> Option<OggOpusReadError> {
    Reader::open(Cursor::new(file))
        .and_then(|mut reader| reader.read_to_end())
        .err()
}

#[test]
fn damaged_files_are_named_and_never_panic() {
    let good = encode_in_pieces(&tone(440.0, 20_000), &tone(440.0, 20_000), 160);
    assert!(read_error(&good).is_none());
    let pages: Vec<usize> = good
        .windows(4)
        .enumerate()
        .filter(|(_, w)| *w == b"OggS")
        .map(|(at, _)| at)
        .collect();
    assert_eq!(pages.len(), 5);
    let unfinished = read_error(&good[..pages[4]]);
    assert!(
        matches!(
            unfinished,
            Some(OggOpusReadError::Unfinished { samples: 15_948 })
        ),
        "{unfinished:?}"
    );
    let mut holed = good.clone();
    holed.drain(pages[2]..pages[3]);
    let hole = read_error(&holed);
    assert!(
        matches!(
            hole,
            Some(OggOpusReadError::Hole {
                expected: 16_000,
                found: 8_000
            })
        ),
        "{hole:?}"
    );
    assert!(matches!(read_error(b""), Some(OggOpusReadError::NotOpus)));
    for at in (0..good.len()).step_by(41) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        assert!(
            read_error(&flipped).is_some(),
            "byte {at} flipped and nothing noticed"
        );
    }
}

#[test]
fn heads_of_other_files_are_refused() {
    let check = |head: &[u8], expected: &str| {
        let mut ogg = PacketWriter::new(Vec::new());
        let end = PacketWriteEndInfo::EndPage;
        ogg.write_packet(head.to_vec(), 1, end, 0).expect("written");
        ogg.write_packet(b"OpusTags".to_vec(), 1, end, 0)
            .expect("written");
        let error = read_error(&ogg.into_inner()).expect("refused");
        assert_eq!(error.to_string(), expected);
    };
    let good = identification_header(Layout::Stereo, 8_000, 312);
    let with = |at: usize, byte: u8| {
        let mut head = good.clone();
        head[at] = byte;
        head
    };
    check(
        &good,
        "the Ogg file ends without its last page, after 0 samples",
    );
    check(&good[..18], "not an Ogg Opus file");
    check(&with(0, b'o'), "not an Ogg Opus file");
    check(&with(8, 0x11), "not an Ogg Opus file");
    check(
        &with(9, 6),
        "Opus with 6 channels in mapping family 1 is not a recording",
    );
    check(
        &with(18, 0),
        "Opus with 2 channels in mapping family 0 is not a recording",
    );
    check(
        &good[..21],
        "Opus with 2 channels in mapping family 1 is not a recording",
    );
    check(&with(19, 0), "an Opus packet cannot be decoded");
    check(&with(21, 99), "an Opus packet cannot be decoded");
}

/// A tone of 440 Hz, 12 dB below full scale.
fn tone_at(rate_hz: u32, samples: usize) -> Vec<i16> {
    let step = 440.0 * std::f64::consts::TAU / f64::from(rate_hz);
    let sample = |at| ((at as f64 * step).sin() * 8_230.0) as i16;
    (0..samples).map(sample).collect()
}

/// A file of the tone, in the right channel only where there are two.
fn file_at(rate_hz: u32, layout: Layout, frames: usize, piece: usize) -> Vec<u8> {
    let settings = Settings {
        rate_hz,
        bitrate_per_channel: 32_000,
        ..Settings::default()
    };
    let tags = Tags::default();
    let mut writer = Writer::with_layout(Vec::new(), settings, &tags, layout).expect("begun");
    let tone = tone_at(rate_hz, frames);
    let silence = vec![0; frames];
    let samples = match layout {
        Layout::Mono => tone,
        Layout::Stereo => silence
            .iter()
            .zip(&tone)
            .flat_map(|(&l, &r)| [l, r])
            .collect(),
    };
    for piece in samples.chunks(piece * layout.channels()) {
        writer.push_interleaved(piece).expect("pushed");
    }
    writer.finish().expect("finished")
}

#[test]
fn every_rate_and_layout_keeps_length_place_and_level() {
    for rate_hz in RATES_HZ {
        for layout in [Layout::Mono, Layout::Stereo] {
            let second = rate_hz as usize;
            for frames in [0, 1, second / 50 - 1, second / 50, 2 * second + 7] {
                let file = file_at(rate_hz, layout, frames, 777);
                let mut reader = Reader::open(Cursor::new(&file)).expect("opened");
                assert_eq!(
                    (reader.sample_rate_hz(), reader.layout()),
                    (rate_hz, layout)
                );
                let decoded = reader.read_to_end().expect("decoded");
                let context = (rate_hz, layout, frames);
                assert_eq!(decoded.len(), frames * layout.channels(), "{context:?}");
                if frames < second {
                    continue;
                }
                let last = layout.channels() - 1;
                let channel = |n| decoded[n..].iter().step_by(last + 1).copied();
                let heard: Vec<i16> = channel(last).collect();
                // A whole number of periods from the middle: how loud, and how late.
                let step = 440.0 * std::f64::consts::TAU / f64::from(rate_hz);
                let (mut in_phase, mut beside) = (0.0, 0.0);
                for (at, sample) in heard.iter().enumerate().skip(second / 2).take(second) {
                    let phase = at as f64 * step;
                    in_phase += phase.sin() * f64::from(*sample);
                    beside += phase.cos() * f64::from(*sample);
                }
                let gain = f64::hypot(in_phase, beside) * 2.0 / second as f64 / 8_230.0;
                let late_ms = -beside.atan2(in_phase) / (440.0 * std::f64::consts::TAU) * 1_000.0;
                assert!((0.95..1.05).contains(&gain), "{context:?} reads {gain}");
                assert!(late_ms.abs() < 0.2, "{context:?} is {late_ms} ms late");
                if layout == Layout::Stereo {
                    let other: Vec<i16> = channel(0).collect();
                    assert!(measure::rms_dbfs(&other) < -90.0, "{context:?}");
                }
            }
        }
    }
}

#[test]
fn the_head_of_one_channel_is_family_zero() {
    let file = file_at(16_000, Layout::Mono, 0, 1);
    let head = PacketReader::new(Cursor::new(&file))
        .read_packet_expected()
        .expect("read");
    assert_eq!(head.data, b"OpusHead\x01\x01\x38\x01\x80\x3E\0\0\0\0\0");
}

#[test]
fn wide_files_have_a_page_a_second_too() {
    let file = file_at(48_000, Layout::Stereo, 3 * 48_000, 960);
    let mut reader = PacketReader::new(Cursor::new(&file));
    let mut ends = Vec::new();
    while let Some(packet) = reader.read_packet().expect("read") {
        if packet.last_in_page() {
            ends.push(packet.absgp_page());
        }
    }
    assert_eq!(ends, [0, 0, 48_000, 96_000, 144_000, 144_312]);
}

#[test]
fn silence_is_what_zeros_would_be() {
    for frames in [0, 1, 159, 160, 161, 5_000] {
        let settings = Settings::default();
        let tags = Tags::default();
        let sound = tone(440.0, 333);
        let begin = || Writer::new(Vec::new(), settings, &tags).expect("begun");
        let (mut silent, mut zeros) = (begin(), begin());
        for writer in [&mut silent, &mut zeros] {
            writer.push(&sound, &sound).expect("pushed");
        }
        silent.push_silence(frames as u64).expect("pushed");
        zeros
            .push_interleaved(&vec![0; 2 * frames])
            .expect("pushed");
        for writer in [&mut silent, &mut zeros] {
            writer.push(&sound, &sound).expect("pushed");
        }
        assert_eq!(
            silent.finish().expect("finished"),
            zeros.finish().expect("finished")
        );
    }
}

#[test]
fn wrong_pushes_and_rates_are_refused() {
    let tags = Tags::default();
    for rate_hz in [0, 11_025, 32_000, 44_100] {
        let settings = Settings {
            rate_hz,
            ..Settings::default()
        };
        let error = Writer::with_layout(Vec::new(), settings, &tags, Layout::Mono).err();
        assert!(
            matches!(error, Some(OggOpusError::Rate { .. })),
            "{rate_hz}"
        );
    }
    let mut writer = Writer::new(Vec::new(), Settings::default(), &tags).expect("begun");
    let partial = writer.push_interleaved(&[1, 2, 3]);
    assert!(matches!(
        partial,
        Err(OggOpusError::PartialFrame {
            samples: 3,
            channels: 2
        })
    ));
    let mut mono =
        Writer::with_layout(Vec::new(), Settings::default(), &tags, Layout::Mono).expect("begun");
    let pair = mono.push(&[1], &[1]);
    assert!(matches!(
        pair,
        Err(OggOpusError::PartialFrame {
            samples: 2,
            channels: 1
        })
    ));
    let file = mono.finish().expect("finished");
    assert_eq!(decode(&file).0, []);
}

#[test]
fn a_rate_that_opus_lacks_is_given_at_48_khz() {
    let mut file = PacketWriter::new(Vec::new());
    let end = PacketWriteEndInfo::EndPage;
    let head = identification_header(Layout::Mono, 44_100, 312);
    file.write_packet(head, 1, end, 0).expect("written");
    file.write_packet(b"OpusTags".to_vec(), 1, end, 0)
        .expect("written");
    let file = file.into_inner();
    let reader = Reader::open(Cursor::new(&file)).expect("opened");
    assert_eq!(reader.sample_rate_hz(), 48_000);
}

#[test]
fn long_silence_is_silent_and_leaves_no_trace() {
    for rate_hz in RATES_HZ {
        for layout in [Layout::Mono, Layout::Stereo] {
            let settings = Settings {
                rate_hz,
                bitrate_per_channel: 32_000,
                ..Settings::default()
            };
            let context = (rate_hz, layout);
            let (second, channels) = (rate_hz as usize, layout.channels());
            let tone = tone_at(rate_hz, second);
            let sound: Vec<i16> = tone
                .iter()
                .flat_map(|&sample| std::iter::repeat_n(sample, channels))
                .collect();
            let mut writer =
                Writer::with_layout(Vec::new(), settings, &Tags::default(), layout).expect("begun");
            writer.push_interleaved(&sound).expect("pushed");
            writer.push_silence(60 * second as u64).expect("pushed");
            writer.push_interleaved(&sound).expect("pushed");
            let file = writer.finish().expect("finished");
            let decoded = Reader::open(Cursor::new(&file))
                .and_then(|mut reader| reader.read_to_end())
                .expect("decoded");
            assert_eq!(decoded.len(), 62 * second * channels);
            // The tone rings for a moment before and after.
            let edge = second / 10;
            let silence = &decoded[(second + edge) * channels..(61 * second - edge) * channels];
            let level = measure::rms_dbfs(silence);
            assert!(level < -90.0, "{context:?}: {level}");
            let peak = silence.iter().map(|sample| sample.unsigned_abs()).max();
            assert!(peak <= Some(4), "{context:?}: {peak:?}");
            let again = &decoded[61 * second * channels..];
            let found = measure::correlate(&sound[second / 2..second], again);
            assert!(
                found.is_some_and(|found| found.correlation > 0.99),
                "{context:?} {found:?}"
            );
        }
    }
}
