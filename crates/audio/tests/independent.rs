//! The codecs against decoders and encoders that other people wrote: ffmpeg's own and opus-tools'.
//!
//! ffmpeg and opusdec must be installed; without them these tests fail. Only what needs libbcg729
//! is skipped where that library is missing, and says so.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use duolog_audio::codec::{Codec, Decoder, Encoder, EncoderSettings, G729Library};
use duolog_audio::measure;

/// Runs a program with `input` on its standard input and gives what it writes.
fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            stdin.write_all(input).expect("the program reads all of it");
        });
        child.wait_with_output().expect("the program ends")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

fn ffmpeg(input: &[&str], output: &[&str], bytes: &[u8]) -> Vec<u8> {
    let quiet = ["-hide_banner", "-nostdin", "-loglevel", "error"];
    let arguments = [&quiet[..], input, &["-i", "pipe:0"], output, &["pipe:1"]].concat();
    pipe("ffmpeg", &arguments, bytes)
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    let pairs = bytes.as_chunks::<2>().0;
    pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// A voice of the demonstration recording at `rate_hz`, resampled by ffmpeg.
fn speech(rate_hz: u32) -> Vec<i16> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio/demo-owner.wav");
    let file = std::fs::read(file).expect("the demonstration's voice");
    let rate = rate_hz.to_string();
    samples(&ffmpeg(
        &[],
        &["-ac", "1", "-ar", &rate, "-f", "s16le"],
        &file,
    ))
}

/// Noise whose loudness changes from next to nothing to full scale and back.
fn noise(length: usize) -> Vec<i16> {
    let mut state = 5_u64;
    let sample = |at: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let white = f64::from((state >> 48) as u16 as i16);
        (white * (at as f64 / 9_000.0).sin().powi(4)) as i16
    };
    (0..length).map(sample).collect()
}

/// Several signals, one after the other: speech, noise, a sweep, a square wave at full scale, silence.
fn everything(rate_hz: u32) -> Vec<i16> {
    let mut all = speech(rate_hz);
    all.extend(noise(rate_hz as usize * 3));
    all.extend((0..rate_hz * 3).map(|n| {
        let seconds = f64::from(n) / f64::from(rate_hz);
        (20_000.0 * (seconds * seconds * 6_000.0).sin()) as i16
    }));
    all.extend((0..rate_hz).map(|n| if n / 37 % 2 == 0 { i16::MAX } else { i16::MIN }));
    all.resize(all.len() + rate_hz as usize, 0);
    all.truncate(all.len() / (rate_hz as usize / 50) * (rate_hz as usize / 50));
    all
}

fn encode(codec: Codec, sound: &[i16], g729: Option<&G729Library>) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, EncoderSettings::default(), g729).expect("an encoder");
    let frame = codec.sample_rate_hz() as usize / 50;
    sound
        .chunks_exact(frame)
        .map(|samples| {
            let mut payload = Vec::new();
            encoder.encode(samples, &mut payload).expect("20 ms");
            payload
        })
        .collect()
}

fn decode<'a>(
    codec: Codec,
    payloads: impl IntoIterator<Item = &'a [u8]>,
    g729: Option<&G729Library>,
) -> Vec<i16> {
    let mut decoder = Decoder::new(codec, codec.sample_rate_hz(), g729).expect("a decoder");
    let mut sound = Vec::new();
    for payload in payloads {
        decoder.decode(payload, &mut sound).expect("decoded");
    }
    sound
}

/// Normalised correlation of two sounds of about one length, the second up to `slack` later.
fn similarity(ours: &[i16], theirs: &[i16], slack: usize) -> f64 {
    let length = ours.len().min(theirs.len()) - slack;
    let found = measure::correlate(&ours[..length], theirs).expect("there is sound");
    assert!(found.offset <= slack, "{found:?}");
    found.correlation
}

#[test]
fn g722_of_our_encoder_is_decoded_by_ffmpeg_sample_for_sample_as_by_us() {
    let stream = encode(Codec::G722, &everything(16_000), None).concat();
    let ours = decode(Codec::G722, stream.chunks(160), None);
    let theirs = samples(&ffmpeg(&["-f", "g722"], &["-f", "s16le"], &stream));
    assert_eq!(ours.len(), theirs.len());
    assert!(ours == theirs, "they differ");
}

#[test]
fn g722_of_ffmpegs_encoder_is_decoded_by_us_sample_for_sample_as_by_ffmpeg() {
    let sound = bytes(&everything(16_000));
    let raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"];
    let stream = ffmpeg(&raw, &["-c:a", "g722", "-f", "g722"], &sound);
    let ours = decode(Codec::G722, stream.chunks(160), None);
    let theirs = samples(&ffmpeg(&["-f", "g722"], &["-f", "s16le"], &stream));
    assert!(ours.len() > 16_000 * 10);
    assert!(ours == theirs, "they differ");
}

#[test]
fn g722_of_our_encoder_is_octet_for_octet_that_of_ffmpeg() {
    let sound = everything(16_000);
    let ours = encode(Codec::G722, &sound, None).concat();
    let raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"];
    let theirs = ffmpeg(&raw, &["-c:a", "g722", "-f", "g722"], &bytes(&sound));
    let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!((differ, first), (0, None), "of {} octets", ours.len());
}

/// Any octets are a G.722 stream; random ones drive every adaptation into its limits.
#[test]
fn g722_random_octets_are_decoded_sample_for_sample_as_by_ffmpeg() {
    let stream: Vec<u8> = noise(200_000).iter().map(|s| (s >> 3) as u8).collect();
    let ours = decode(Codec::G722, stream.chunks(160), None);
    let theirs = samples(&ffmpeg(&["-f", "g722"], &["-f", "s16le"], &stream));
    let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    assert_eq!((ours.len(), differ), (theirs.len(), 0));
}

/// G.729 in the container that ffmpeg's decoder reads: bare frames of ten octets.
#[test]
fn g729_of_the_library_is_decoded_by_ffmpeg_as_by_the_library() {
    let library = match G729Library::open() {
        Ok(library) => library,
        Err(missing) => {
            eprintln!(
                "SKIPPED, NOTHING TESTED: G.729 against ffmpeg: {missing} (Debian: libbcg729-0)"
            );
            return;
        }
    };
    let payloads = encode(Codec::G729, &speech(8_000), Some(&library));
    let ours = decode(
        Codec::G729,
        payloads.iter().map(Vec::as_slice),
        Some(&library),
    );
    let stream = payloads.concat();
    let theirs = samples(&ffmpeg(
        &["-f", "g729", "-bit_rate", "8000"],
        &["-f", "s16le"],
        &stream,
    ));
    let alike = similarity(&ours, &theirs, 80);
    assert!(alike >= 0.99, "correlation {alike}");
}

/// Our packets in an Ogg stream (RFC 7845), mono.
fn ogg_opus(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01\x00\x00".to_vec();
    head.extend_from_slice(&48_000_u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    let tags = b"OpusTags\x04\x00\x00\x00test\x00\x00\x00\x00".to_vec();
    let mut ogg = ogg::PacketWriter::new(Vec::new());
    let page = ogg::PacketWriteEndInfo::EndPage;
    ogg.write_packet(head, 1, page, 0).expect("written");
    ogg.write_packet(tags, 1, page, 0).expect("written");
    for (at, payload) in payloads.iter().enumerate() {
        let end = match at + 1 == payloads.len() {
            true => ogg::PacketWriteEndInfo::EndStream,
            false => page,
        };
        let granule = (at as u64 + 1) * 960;
        ogg.write_packet(payload.clone(), 1, end, granule)
            .expect("written");
    }
    ogg.into_inner()
}

#[test]
fn opus_of_our_encoder_is_decoded_by_ffmpeg_and_opusdec_as_by_us() {
    let payloads = encode(Codec::Opus, &speech(48_000), None);
    let ours = decode(Codec::Opus, payloads.iter().map(Vec::as_slice), None);
    let file = ogg_opus(&payloads);
    let input = ["-c:a", "opus", "-f", "ogg"];
    let theirs = samples(&ffmpeg(
        &input,
        &["-f", "s16le", "-ac", "1", "-ar", "48000"],
        &file,
    ));
    let alike = similarity(&ours, &theirs, 960);
    assert!(alike >= 0.99, "ffmpeg: correlation {alike}");
    // To its standard output opusdec writes bare samples.
    let arguments = ["--quiet", "--rate", "48000", "--no-dither", "-", "-"];
    let theirs = samples(&pipe("opusdec", &arguments, &file));
    let alike = similarity(&ours, &theirs, 960);
    assert!(alike >= 0.99, "opusdec: correlation {alike}");
}

/// Stereo, and every bandwidth and frame length that opusenc makes of speech.
#[test]
fn opus_of_opusenc_is_decoded_by_us_as_by_ffmpeg() {
    let sound = bytes(&speech(48_000));
    for (bitrate, framesize, channels) in [
        ("12", "60", 1),
        ("16", "20", 2),
        ("24", "40", 1),
        ("64", "10", 2),
        ("96", "2.5", 1),
        ("20", "5", 1),
    ] {
        let stereo: Vec<u8> = sound
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|s| [s, s])
            .flatten()
            .copied()
            .collect();
        let raw = if channels == 2 { &stereo } else { &sound };
        let count = channels.to_string();
        let arguments = [
            "--quiet",
            "--raw",
            "--raw-rate",
            "48000",
            "--raw-chan",
            &count,
            "--bitrate",
            bitrate,
            "--framesize",
            framesize,
            "-",
            "-",
        ];
        let file = pipe("opusenc", &arguments, raw);
        let mut reader = ogg::PacketReader::new(std::io::Cursor::new(&file));
        let mut packets = Vec::new();
        while let Some(packet) = reader.read_packet().expect("opusenc writes Ogg") {
            packets.push(packet.data);
        }
        let ours = decode(Codec::Opus, packets[2..].iter().map(Vec::as_slice), None);
        let input = ["-c:a", "opus", "-f", "ogg"];
        let theirs = ffmpeg(&input, &["-f", "s16le", "-ac", "1", "-ar", "48000"], &file);
        let theirs = samples(&theirs);
        // ffmpeg leaves the pre-skip out.
        let found =
            measure::correlate(&theirs[..theirs.len() - 960], &ours).expect("there is sound");
        let which = format!("{bitrate} kb/s, {framesize} ms, {channels}");
        assert!(
            found.correlation >= 0.99 && found.offset <= 1_000,
            "{which}: {found:?}"
        );
    }
}

#[test]
fn g711_is_that_of_ffmpeg() {
    for (codec, format) in [(Codec::Pcmu, "mulaw"), (Codec::Pcma, "alaw")] {
        let stream: Vec<u8> = (0..1_600).map(|n| (n * 7) as u8).collect();
        let ours = decode(codec, [stream.as_slice()], None);
        let raw = ["-f", format, "-ar", "8000", "-ac", "1"];
        let theirs = samples(&ffmpeg(&raw, &["-f", "s16le"], &stream));
        assert!(ours == theirs, "{format}");
    }
}
