//! What other programs make of our containers: `ffmpeg` and `ffprobe` read every one.
//!
//! Needs the Debian package `ffmpeg`.

use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use duolog_audio::container::wav::{self, G711Writer, Pcm16Writer};
use duolog_audio::container::{Layout, flac, ogg_opus};
use duolog_audio::g711::{self, Law};
use duolog_audio::measure;
use tempfile::NamedTempFile;

fn new_file() -> (NamedTempFile, BufWriter<impl Write + Seek>) {
    let file = NamedTempFile::new().expect("a file");
    let sink = BufWriter::new(file.reopen().expect("reopened"));
    (file, sink)
}

/// Stream entries of a file as `ffprobe` prints them, such as `flac,8000,2`.
fn probe(path: &Path, entries: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries"])
        .arg(format!("stream={entries}"))
        .arg(path)
        .output()
        .expect("ffprobe is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The interleaved samples that `ffmpeg` decodes, with these options before the input.
fn decode(path: &Path, options: &[&str]) -> Vec<i16> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(options)
        .arg("-i")
        .arg(path)
        .args(["-f", "s16le", "-c:a", "pcm_s16le", "-"])
        .stderr(Stdio::piped())
        .output()
        .expect("ffmpeg is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let bytes = output.stdout.as_chunks::<2>().0;
    bytes
        .iter()
        .map(|&bytes| i16::from_le_bytes(bytes))
        .collect()
}

/// A loud tone of 1 kHz, 6 dB below full scale.
fn tone(rate_hz: u32, frames: usize) -> Vec<i16> {
    let step = 1_000.0 * std::f64::consts::TAU / f64::from(rate_hz);
    let sample = |at| ((at as f64 * step).sin() * 16_384.0) as i16;
    (0..frames).map(sample).collect()
}

/// Ten seconds of a voice.
fn speech() -> Vec<i16> {
    let file = include_bytes!("../../../fixtures/audio/demo-owner.wav");
    let mut reader = wav::Reader::open(&file[..]).expect("a WAV");
    let mut speech = reader.read_to_end().expect("whole");
    speech.truncate(80_000);
    speech
}

fn interleaved(left: &[i16], right: &[i16]) -> Vec<i16> {
    let pairs = left.iter().zip(right);
    pairs.flat_map(|(&left, &right)| [left, right]).collect()
}

fn channel(samples: &[i16], channel: usize) -> Vec<i16> {
    samples.iter().skip(channel).step_by(2).copied().collect()
}

#[test]
fn ffmpeg_reads_pcm16_of_every_rate() {
    for rate_hz in [8_000, 16_000, 24_000, 48_000] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let samples = tone(rate_hz, 20_002);
            let (file, sink) = new_file();
            let mut writer = Pcm16Writer::with_rate(sink, layout, rate_hz).expect("begun");
            writer.push(&samples).expect("pushed");
            writer.finish().expect("finished");
            let probed = probe(file.path(), "codec_name,sample_rate,channels");
            assert_eq!(probed, format!("pcm_s16le,{rate_hz},{}", layout.channels()));
            assert_eq!(decode(file.path(), &[]), samples);
        }
    }
}

#[test]
fn ffmpeg_reads_g711_of_both_laws() {
    let codes: Vec<u8> = (0..=255).cycle().take(20_002).collect();
    for (law, name) in [(Law::Mulaw, "pcm_mulaw"), (Law::Alaw, "pcm_alaw")] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let (file, sink) = new_file();
            let mut writer = G711Writer::streaming(sink, law, layout).expect("begun");
            writer.push(&codes).expect("pushed");
            writer.finish().expect("finished");
            let probed = probe(file.path(), "codec_name,sample_rate,channels");
            assert_eq!(probed, format!("{name},8000,{}", layout.channels()));
            let decoded: Vec<i16> = codes.iter().map(|&c| g711::decode(law, c)).collect();
            assert_eq!(decode(file.path(), &[]), decoded);
        }
    }
}

#[test]
fn ffmpeg_reads_flac_to_the_bit() {
    for rate_hz in [8_000, 12_000, 16_000, 24_000, 48_000] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let voice = speech();
            let quarter: Vec<i16> = voice.iter().rev().map(|s| s / 4).collect();
            let samples = match layout {
                Layout::Mono => voice,
                Layout::Stereo => interleaved(&voice, &quarter),
            };
            let frames = samples.len() / layout.channels();
            let (file, sink) = new_file();
            let mut writer = flac::Writer::new(sink, layout, rate_hz).expect("begun");
            writer.push(&samples).expect("pushed");
            writer.finish().expect("finished");
            let entries = "codec_name,sample_rate,channels,duration_ts,bits_per_raw_sample";
            let channels = layout.channels();
            assert_eq!(
                probe(file.path(), entries),
                format!("flac,{rate_hz},{channels},{frames},16")
            );
            assert_eq!(decode(file.path(), &[]), samples);
            // ffmpeg's own FLAC comes back through our reader.
            let theirs = NamedTempFile::with_suffix(".flac").expect("a file");
            let status = Command::new("ffmpeg")
                .args(["-v", "error", "-nostdin", "-y", "-i"])
                .arg(file.path())
                .arg(theirs.path())
                .status()
                .expect("ffmpeg is installed");
            assert!(status.success());
            let source = BufReader::new(theirs.reopen().expect("reopened"));
            let mut reader = flac::Reader::open(source).expect("opened");
            assert_eq!(reader.read_to_end().expect("read"), samples);
        }
    }
}

fn opus_file(rate_hz: u32, layout: Layout, samples: &[i16]) -> NamedTempFile {
    let settings = ogg_opus::Settings {
        rate_hz,
        bitrate_per_channel: 32_000,
        ..ogg_opus::Settings::default()
    };
    let (file, sink) = new_file();
    let tags = ogg_opus::Tags::default();
    let mut writer = ogg_opus::Writer::with_layout(sink, settings, &tags, layout).expect("begun");
    writer.push_interleaved(samples).expect("pushed");
    writer.finish().expect("finished");
    file
}

#[test]
fn ffmpeg_reads_opus_of_every_rate_with_its_length() {
    for rate_hz in [8_000, 12_000, 16_000, 24_000, 48_000] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let frames = rate_hz as usize * 2 + 123;
            let tone = tone(rate_hz, frames);
            let samples = match layout {
                Layout::Mono => tone,
                Layout::Stereo => interleaved(&tone, &tone),
            };
            let file = opus_file(rate_hz, layout, &samples);
            let channels = layout.channels();
            let probed = probe(file.path(), "codec_name,sample_rate,channels");
            assert_eq!(probed, format!("opus,48000,{channels}"));
            let decoded = decode(file.path(), &[]);
            let scale = 48_000 / rate_hz as usize;
            assert_eq!(
                decoded.len(),
                frames * scale * channels,
                "{rate_hz} {layout:?}"
            );
        }
    }
}

#[test]
fn opus_channels_do_not_touch_in_ffmpeg() {
    for rate_hz in [8_000, 16_000, 48_000] {
        let factor = rate_hz as usize / 8_000;
        let spoken: Vec<i16> = speech()
            .iter()
            .flat_map(|&sample| std::iter::repeat_n(sample, factor))
            .collect();
        for loud in [tone(rate_hz, 3 * rate_hz as usize), spoken] {
            let silence = vec![0; loud.len()];
            for (left, right, speaking) in [(&loud, &silence, 0), (&silence, &loud, 1)] {
                let file = opus_file(rate_hz, Layout::Stereo, &interleaved(left, right));
                let decoded = decode(file.path(), &[]);
                let heard = measure::rms_dbfs(&channel(&decoded, speaking));
                let bled = measure::rms_dbfs(&channel(&decoded, 1 - speaking));
                assert!(heard > -30.0, "{heard}");
                assert!(bled < heard - 60.0, "{bled} beside {heard} at {rate_hz} Hz");
            }
        }
    }
}

#[test]
fn long_silence_of_opus_is_silent_in_ffmpeg() {
    for rate_hz in [8_000, 12_000, 16_000, 24_000, 48_000] {
        for layout in [Layout::Mono, Layout::Stereo] {
            let (second, channels) = (rate_hz as usize, layout.channels());
            let mark = vec![tone(rate_hz, second); channels].concat();
            let mark = match layout {
                Layout::Mono => mark,
                Layout::Stereo => interleaved(&mark[..second], &mark[second..]),
            };
            let silence = vec![0; 10 * second * channels];
            let samples = [&mark[..], &silence, &mark].concat();
            let file = opus_file(rate_hz, layout, &samples);
            let decoded = decode(file.path(), &[]);
            assert_eq!(decoded.len(), 12 * 48_000 * channels);
            let part = |from_ms: usize, until_ms: usize| {
                measure::rms_dbfs(&decoded[from_ms * 48 * channels..until_ms * 48 * channels])
            };
            let quiet = part(1_100, 10_900);
            assert!(quiet < -85.0, "{quiet} at {rate_hz} Hz, {layout:?}");
            assert!(part(11_100, 11_900) > -10.0);
        }
    }
}

#[test]
fn thirty_hours_of_wav_are_rf64_to_everybody() {
    // 48 kHz stereo: 20.7 GB, nearly all of them a hole.
    let frames = 30 * 3_600 * 48_000_u64;
    let mark = interleaved(&tone(48_000, 48_000), &vec![0; 48_000]);
    let (file, sink) = new_file();
    let mut writer = Pcm16Writer::with_rate(sink, Layout::Stereo, 48_000).expect("begun");
    writer.push(&mark).expect("pushed");
    writer.push_silence(frames - 2 * 48_000).expect("pushed");
    writer.push(&mark).expect("pushed");
    writer.finish().expect("finished");

    assert_eq!(
        probe(file.path(), "duration_ts,duration"),
        "5184000000,108000.000000"
    );
    assert_eq!(decode(file.path(), &["-ss", "107999"]), mark);

    let mut source = file.reopen().expect("reopened");
    let reader = wav::Reader::open(BufReader::new(&source)).expect("opened");
    assert_eq!((reader.frames(), reader.sample_rate_hz()), (frames, 48_000));
    source.seek(SeekFrom::End(-192_000)).expect("sought");
    let mut last = Vec::new();
    source.read_to_end(&mut last).expect("read");
    let last = last.as_chunks::<2>().0.iter();
    assert_eq!(
        last.map(|&b| i16::from_le_bytes(b)).collect::<Vec<_>>(),
        mark
    );
}

#[test]
fn a_day_and_more_of_opus_and_flac_keeps_its_length() {
    // 25 hours at 8 kHz, one channel: silence between two marks.
    let frames = 25 * 3_600 * 8_000_u64;
    let mark = tone(8_000, 8_000);
    let (opus, sink) = new_file();
    let settings = ogg_opus::Settings {
        complexity: 0,
        ..ogg_opus::Settings::default()
    };
    let tags = ogg_opus::Tags::default();
    let mut writer =
        ogg_opus::Writer::with_layout(sink, settings, &tags, Layout::Mono).expect("begun");
    writer.push_interleaved(&mark).expect("pushed");
    writer.push_silence(frames - 16_000).expect("pushed");
    writer.push_interleaved(&mark).expect("pushed");
    writer.finish().expect("finished");
    let (flac, sink) = new_file();
    let mut writer = flac::Writer::new(sink, Layout::Mono, 8_000).expect("begun");
    writer.push(&mark).expect("pushed");
    writer.push_silence(frames - 16_000).expect("pushed");
    writer.push(&mark).expect("pushed");
    writer.finish().expect("finished");

    assert_eq!(probe(flac.path(), "duration"), "90000.000000");
    let opus_seconds: f64 = probe(opus.path(), "duration").parse().expect("seconds");
    // ffprobe counts the pre-skip.
    assert!(
        (90_000.0..90_000.01).contains(&opus_seconds),
        "{opus_seconds}"
    );
    for file in [&opus, &flac] {
        let last = decode(file.path(), &["-ss", "89998.5"]);
        let rate_hz = if file.path() == opus.path() {
            48_000
        } else {
            8_000
        };
        let loud = &last[last.len() - rate_hz * 9 / 10..];
        assert!(measure::rms_dbfs(loud) > -12.0);
        let quiet = measure::rms_dbfs(&last[..rate_hz * 4 / 10]);
        assert!(quiet < -80.0, "{quiet}");
    }
}
