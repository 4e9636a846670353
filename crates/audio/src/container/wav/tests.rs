use std::io::Cursor;

use super::*;

fn g711_file(law: Law, layout: Layout, codes: &[u8]) -> Vec<u8> {
    let mut sink = Cursor::new(Vec::new());
    let mut writer = G711Writer::streaming(&mut sink, law, layout).expect("begun");
    for piece in codes.chunks(2 * layout.channels()) {
        writer.push(piece).expect("pushed");
    }
    writer.finish().expect("finished");
    sink.into_inner()
}

fn pcm16_file(layout: Layout, rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let mut sink = Cursor::new(Vec::new());
    let mut writer = Pcm16Writer::with_rate(&mut sink, layout, rate_hz).expect("begun");
    writer.push(samples).expect("pushed");
    writer.finish().expect("finished");
    sink.into_inner()
}

/// The same as RF64, as if 4 GiB were reached at once.
fn rf64_file(layout: Layout, samples: &[i16]) -> Vec<u8> {
    let mut sink = Cursor::new(Vec::new());
    let mut writer = Pcm16Writer::new(&mut sink, layout).expect("begun");
    writer.body.rf64_from = 0;
    writer.push(samples).expect("pushed");
    writer.finish().expect("finished");
    sink.into_inner()
}

fn all(file: &[u8]) -> Vec<i16> {
    let mut reader = Reader::open(file).expect("opened");
    reader.read_to_end().expect("read")
}

#[test]
#[rustfmt::skip]
fn headers_are_as_drawn() {
    let junk = [&b"JUNK\x1C\0\0\0"[..], &[0; 28]].concat();
    let check = |file: Vec<u8>, riff: [u8; 12], rest: &[u8]| {
        assert_eq!(file, [&riff[..], &junk, rest].concat());
    };
    check(
        g711_file(Law::Mulaw, Layout::Stereo, &[1, 2, 3, 4, 5, 6]),
        [b'R', b'I', b'F', b'F', 92, 0, 0, 0, b'W', b'A', b'V', b'E'],
        &[
            b'f', b'm', b't', b' ', 18, 0, 0, 0, 7, 0, 2, 0, 0x40, 0x1F, 0, 0,
            0x80, 0x3E, 0, 0, 2, 0, 8, 0, 0, 0,
            b'f', b'a', b'c', b't', 4, 0, 0, 0, 3, 0, 0, 0,
            b'd', b'a', b't', b'a', 6, 0, 0, 0, 1, 2, 3, 4, 5, 6,
        ],
    );
    check(
        g711_file(Law::Alaw, Layout::Mono, &[9, 8, 7]),
        [b'R', b'I', b'F', b'F', 90, 0, 0, 0, b'W', b'A', b'V', b'E'],
        &[
            b'f', b'm', b't', b' ', 18, 0, 0, 0, 6, 0, 1, 0, 0x40, 0x1F, 0, 0,
            0x40, 0x1F, 0, 0, 1, 0, 8, 0, 0, 0,
            b'f', b'a', b'c', b't', 4, 0, 0, 0, 3, 0, 0, 0,
            b'd', b'a', b't', b'a', 3, 0, 0, 0, 9, 8, 7, 0,
        ],
    );
    check(
        pcm16_file(Layout::Stereo, 48_000, &[1, -2, 3, i16::MIN]),
        [b'R', b'I', b'F', b'F', 80, 0, 0, 0, b'W', b'A', b'V', b'E'],
        &[
            b'f', b'm', b't', b' ', 16, 0, 0, 0, 1, 0, 2, 0, 0x80, 0xBB, 0, 0,
            0x00, 0xEE, 2, 0, 4, 0, 16, 0,
            b'd', b'a', b't', b'a', 8, 0, 0, 0, 1, 0, 0xFE, 0xFF, 3, 0, 0, 0x80,
        ],
    );
    let expected = [
        b'R', b'F', b'6', b'4', 0xFF, 0xFF, 0xFF, 0xFF, b'W', b'A', b'V', b'E',
        b'd', b's', b'6', b'4', 28, 0, 0, 0, 78, 0, 0, 0, 0, 0, 0, 0,
        6, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        b'f', b'm', b't', b' ', 16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1F, 0, 0,
        0x80, 0x3E, 0, 0, 2, 0, 16, 0,
        b'd', b'a', b't', b'a', 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 2, 0, 3, 0,
    ];
    assert_eq!(rf64_file(Layout::Mono, &[1, 2, 3]), expected);
}

#[test]
fn what_was_written_is_read() {
    let codes: Vec<u8> = (0..12_346_u32).map(|n| (n * 7 + n / 256) as u8).collect();
    for law in [Law::Mulaw, Law::Alaw] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let file = g711_file(law, layout, &codes);
            let mut reader = Reader::open(&file[..]).expect("opened");
            let read_as = (reader.coding(), reader.layout());
            assert_eq!(read_as, (Coding::G711(law), layout));
            assert_eq!(reader.frames(), 12_346 / layout.channels() as u64);
            let mut back = vec![0; 20_000];
            let read = reader.read_bytes(&mut back).expect("read");
            assert_eq!(back[..read], codes);
            let decoded: Vec<i16> = codes.iter().map(|&c| g711::decode(law, c)).collect();
            assert_eq!(all(&file), decoded);
        }
    }
    let samples: Vec<i16> = (0..80_002)
        .map(|n| (n * 37 % 65_536 - 32_768) as i16)
        .collect();
    for layout in [Layout::Mono, Layout::Stereo] {
        for rate_hz in [8_000, 11_025, 16_000, 24_000, 44_100, 48_000] {
            let file = pcm16_file(layout, rate_hz, &samples);
            let reader = Reader::open(&file[..]).expect("opened");
            let read_as = (reader.coding(), reader.sample_rate_hz(), reader.layout());
            assert_eq!(read_as, (Coding::Pcm16, rate_hz, layout));
            assert_eq!(all(&file), samples);
        }
        let file = rf64_file(layout, &samples);
        let reader = Reader::open(&file[..]).expect("opened");
        let frames = samples.len() / layout.channels();
        assert_eq!(reader.frames(), frames as u64);
        assert_eq!(all(&file), samples);
    }
}

#[test]
fn another_reader_agrees() {
    let samples: Vec<i16> = (-5_000..5_000).map(|n| n * 3).collect();
    let file = pcm16_file(Layout::Stereo, 24_000, &samples);
    let mut reader = hound::WavReader::new(&file[..]).expect("opened");
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate), (2, 24_000));
    let read: Vec<i16> = reader.samples().map(|s| s.expect("read")).collect();
    assert_eq!(read, samples);
}

#[test]
fn silence_is_what_zeros_would_be() {
    for frames in [0, 1, 2, 100, 16_384, 16_385, 32_768, 100_001] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let samples = frames * layout.channels();
            let mut sink = Cursor::new(Vec::new());
            let mut writer = Pcm16Writer::new(&mut sink, layout).expect("begun");
            writer.push(&[1, 2]).expect("pushed");
            writer.push_silence(frames as u64).expect("pushed");
            writer.push(&[3, 4]).expect("pushed");
            writer.push_silence(frames as u64).expect("pushed");
            writer.finish().expect("finished");
            let silence = vec![0; samples];
            let expected = [&[1, 2][..], &silence, &[3, 4], &silence].concat();
            assert_eq!(sink.get_ref().len(), 80 + 2 * expected.len());
            assert_eq!(all(sink.get_ref()), expected);

            let mut sink = Cursor::new(Vec::new());
            let mut writer = G711Writer::streaming(&mut sink, Law::Alaw, layout).expect("begun");
            writer.push_silence(frames as u64).expect("pushed");
            writer.finish().expect("finished");
            let codes = vec![g711::silence(Law::Alaw); samples];
            assert_eq!(sink.into_inner(), g711_file(Law::Alaw, layout, &codes));
        }
    }
}

/// A sink of any size that keeps only its first kilobyte.
#[derive(Default)]
struct Bottomless {
    at: u64,
    length: u64,
    head: Vec<u8>,
}

impl Write for Bottomless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (byte, at) in bytes.iter().zip(self.at..1_024) {
            self.head.resize(self.head.len().max(at as usize + 1), 0);
            self.head[at as usize] = *byte;
        }
        self.at += bytes.len() as u64;
        self.length = self.length.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Bottomless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(back) => self.length.strict_add_signed(back),
            SeekFrom::Current(on) => self.at.strict_add_signed(on),
        };
        Ok(self.at)
    }
}

#[test]
fn a_file_becomes_rf64_when_its_size_needs_it() {
    let check = |frames: u64, id: &[u8; 4]| {
        let mut sink = Bottomless::default();
        let mut writer = Pcm16Writer::with_rate(&mut sink, Layout::Stereo, 48_000).expect("begun");
        writer.push_silence(frames).expect("pushed");
        writer.finish().expect("finished");
        assert_eq!(&sink.head[..4], id, "{frames} frames");
        assert_eq!(sink.length, 80 + 4 * frames);
        let reader = Reader::open(&sink.head[..]).expect("opened");
        assert_eq!(reader.frames(), frames);
    };
    // The RIFF size is 72 bytes more than the samples; 0xFFFFFFFF itself means "see ds64".
    let most = (u64::from(u32::MAX) - 73) / 4;
    check(most - 1, b"RIFF");
    check(most, b"RIFF");
    check(most + 1, b"RF64");
    check(30 * 3_600 * 48_000, b"RF64");
    check(1 << 50, b"RF64");
}

#[test]
fn wrong_pushes_are_refused_whole() {
    let mut sink = Cursor::new(Vec::new());
    let mut writer = G711Writer::streaming(&mut sink, Law::Mulaw, Layout::Stereo).expect("begun");
    let partial = writer.push(&[1, 2, 3]).err();
    assert_eq!(
        partial.map(|error| error.to_string()),
        Some("3 samples are not whole frames of 2 channels".to_owned())
    );
    let mut writer = Pcm16Writer::new(&mut sink, Layout::Stereo).expect("begun");
    assert!(matches!(
        writer.push(&[1]),
        Err(WavError::PartialFrame {
            samples: 1,
            channels: 2
        })
    ));
    writer.finish().expect("finished");
    assert_eq!(all(sink.get_ref()), []);
}

#[test]
fn bad_files_are_named_and_never_panic() {
    let check = |file: &[u8], expected: &str| {
        let error = match Reader::open(file) {
            Err(error) => error,
            Ok(mut reader) => reader.read_to_end().expect_err("the file is bad"),
        };
        assert_eq!(error.to_string(), expected);
    };
    // As other programs write it: without `JUNK`.
    let mut good = g711_file(Law::Mulaw, Layout::Stereo, &[1, 2, 3, 4]);
    good.drain(12..48);
    let with = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    check(b"", "not a RIFF/WAVE file");
    check(b"OggS, not a WAV at all", "not a RIFF/WAVE file");
    check(&good[..40], "not a RIFF/WAVE file");
    check(&good[..60], "the WAV ends 2 bytes early");
    let formless = "the WAV does not say its format before its samples";
    check(&with(12, b'x'), formless);
    check(&with(16, 3), formless);
    check(&with(17, 0xFF), formless);
    check(&with(54, 3), "3 bytes of samples are not whole frames");
    check(&with(57, 0xFF), "the WAV ends 4278190080 bytes early");
    let unsupported = "WAV of format tag 17 with 8 bits and 2 channels is not supported";
    check(&with(20, 17), unsupported);
    let unsupported = "WAV of format tag 7 with 8 bits and 6 channels is not supported";
    check(&with(22, 6), unsupported);

    let long = rf64_file(Layout::Mono, &[1, 2, 3]);
    let with_long = |at: usize, byte: u8| {
        let mut file = long.clone();
        file[at] = byte;
        file
    };
    let sizeless = "the RF64 file does not begin with its sizes";
    check(&with_long(12, b'J'), sizeless);
    check(&with_long(16, 27), sizeless);
    check(&with_long(19, 0xFF), sizeless);
    check(&with_long(28, 7), "7 bytes of samples are not whole frames");
    check(&with_long(28, 8), "the WAV ends 2 bytes early");
    check(
        &with_long(35, 0xFF),
        "the WAV ends 18374686479671623680 bytes early",
    );
    for file in [good, long] {
        for at in 0..file.len() {
            for byte in [0x00, 0x01, 0x7F, 0xFF] {
                let mut bad = file.clone();
                bad[at] = byte;
                if let Ok(mut reader) = Reader::open(&bad[..]) {
                    let _ = reader.read_to_end();
                }
            }
        }
    }
}

#[test]
fn unknown_chunks_are_passed_over() {
    let list = [b'L', b'I', b'S', b'T', 3, 0, 0, 0, b'a', b'b', b'c', 0];
    let mut file = pcm16_file(Layout::Mono, 8_000, &[5, 6, 7]);
    file.splice(72..72, list);
    assert_eq!(all(&file), [5, 6, 7]);
    let mut file = rf64_file(Layout::Mono, &[5, 6, 7]);
    file.splice(72..72, list);
    file[..4].copy_from_slice(b"BW64");
    assert_eq!(all(&file), [5, 6, 7]);
}
