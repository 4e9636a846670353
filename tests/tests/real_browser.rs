//! A stored Ogg Opus object as ffmpeg and headless Chromium play it: whole, and neither party in the
//! other's channel (issue 3, acceptance 0).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use duolog_archive::RequestedFormat;
use duolog_audio::codec::Codec;
use duolog_tests::real::Process;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::scene::{Desk, Saying, Scene};

/// The most that may be heard of one party in the other's channel, against the party itself.
const CROSSTALK_DB: f64 = -60.0;

/// Levels of the two channels and how long they are, as a player found them.
#[derive(Debug, Clone, Copy)]
struct Played {
    dbfs: [f64; 2],
    seconds: f64,
}

/// A call in which only one party speaks.
fn recorded(seed: u64, codec: Codec, speaker: usize) -> Kept {
    let mut voices = [Saying::Silence; 2];
    voices[speaker] = Saying::Code;
    let mut world = Scene {
        codecs: [vec![codec], vec![codec]],
        voices,
        ..Scene::new(seed, Desk::quiet())
    }
    .build();
    world.one_call(Duration::from_secs(10));
    finish(&world, RequestedFormat::OggOpus).remove(0)
}

fn dbfs(power: f64) -> f64 {
    // One part in 2^40 stands for nothing at all.
    10.0 * power.max(2_f64.powi(-40)).log10()
}

fn ffmpeg(path: &Path) -> Played {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "s16le", "-ar", "48000", "-"])
        .output()
        .expect("ffmpeg can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let frames = output.stdout.chunks_exact(4);
    let seconds = frames.len() as f64 / 48_000.0;
    let mut power = [0.0; 2];
    for frame in frames.clone() {
        for (channel, bytes) in frame.chunks_exact(2).enumerate() {
            let sample = f64::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0;
            power[channel] += sample * sample / frames.len() as f64;
        }
    }
    Played {
        dbfs: power.map(dbfs),
        seconds,
    }
}

/// The page that plays: decodes the whole object, then lets an audio element play it to its end.
const PAGE: &str = r#"<!doctype html><title>listening</title><script>
const bytes = Uint8Array.from(atob("AUDIO"), c => c.charCodeAt(0));
const tell = text => fetch("/told", { method: "POST", body: text });
(async () => {
  const context = new OfflineAudioContext(2, 48000, 48000);
  const buffer = await context.decodeAudioData(bytes.slice().buffer);
  const power = [0, 1].map(n => {
    const samples = buffer.getChannelData(n);
    return samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
  });
  const audio = new Audio(URL.createObjectURL(new Blob([bytes], { type: "audio/ogg" })));
  audio.muted = true;
  audio.playbackRate = 16;
  const ended = await new Promise(done => {
    audio.onended = () => done("ended");
    audio.onerror = () => done("error " + audio.error.message);
    audio.play().catch(error => done("refused " + error));
  });
  tell(["TOLD", buffer.numberOfChannels, buffer.duration, ...power, ended].join(" "));
})().catch(error => tell("FAILED " + error));
</script>"#;

fn chromium(object: &[u8]) -> Played {
    let folder = tempfile::tempdir().expect("a directory for the browser");
    let door = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = door.local_addr().expect("it is bound");
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
    ]);
    command.arg(format!(
        "--user-data-dir={}",
        folder.path().join("profile").display()
    ));
    command.arg(format!("http://{address}/"));
    let _browser = Process::start("chromium", &mut command);
    let told = serve(&door, &PAGE.replace("AUDIO", &base64(object)));
    let words: Vec<&str> = told.split_whitespace().collect();
    let ["TOLD", "2", seconds, left, right, "ended"] = words[..] else {
        panic!("Chromium told: {told}");
    };
    let number = |word: &str| word.parse::<f64>().expect("a number");
    Played {
        dbfs: [left, right].map(|power| dbfs(number(power))),
        seconds: number(seconds),
    }
}

/// Serves the page until it tells what it found.
fn serve(door: &TcpListener, page: &str) -> String {
    door.set_nonblocking(true).expect("it is a socket");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(
            Instant::now() < deadline,
            "Chromium told nothing for a minute"
        );
        let mut stream = match door.accept() {
            Ok((stream, _)) => stream,
            Err(_) => {
                std::thread::park_timeout(Duration::from_millis(10));
                continue;
            }
        };
        stream.set_nonblocking(false).expect("it is a socket");
        if let Some(told) = answer(&mut stream, page) {
            return told;
        }
    }
}

/// One request; the body of a POST.
fn answer(stream: &mut TcpStream, page: &str) -> Option<String> {
    let limit = Some(Duration::from_secs(5));
    stream.set_read_timeout(limit).expect("a time");
    let mut reader = BufReader::new(stream.try_clone().expect("it is open"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        // A connection that the browser opened ahead and never used ends here.
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.to_ascii_lowercase());
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |text| text.trim().parse().expect("a length"))];
    reader.read_exact(&mut body).ok()?;
    let is_page = head.first().is_some_and(|line| line.starts_with("get / "));
    let page = if is_page { page } else { "" };
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    stream.write_all(reply.as_bytes()).ok()?;
    let told = head.first().is_some_and(|line| line.starts_with("post"));
    told.then(|| String::from_utf8_lossy(&body).into_owned())
}

/// RFC 4648 §4: what a page can hold.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for three in bytes.chunks(3) {
        let word = three
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let place = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= three.len() {
                DIGITS[place] as char
            } else {
                '='
            });
        }
    }
    text
}

#[track_caller]
fn check(player: &str, kept: &Kept, speaker: usize, played: Played) {
    let crosstalk = played.dbfs[1 - speaker] - played.dbfs[speaker];
    println!("{player}, party {speaker} speaks: {played:?}, crosstalk {crosstalk:.1} dB");
    assert!(
        (-30.0..-10.0).contains(&played.dbfs[speaker]),
        "{player}: {played:?}"
    );
    assert!(crosstalk < CROSSTALK_DB, "{player}: {crosstalk}");
    let wanted = kept.manifest.length.samples as f64 / 8_000.0;
    assert!(
        (played.seconds - wanted).abs() < 0.001,
        "{player}: {} of {wanted} s",
        played.seconds
    );
}

#[test]
fn neither_party_is_heard_in_the_others_channel() {
    for (n, codec) in [Codec::Pcmu, Codec::G722, Codec::Opus]
        .into_iter()
        .enumerate()
    {
        for speaker in 0..2 {
            let kept = recorded(3_400 + n as u64, codec, speaker);
            let folder = tempfile::tempdir().expect("a directory");
            let path = folder.path().join("audio.ogg");
            fs::write(&path, &kept.object).expect("the object can be written");
            let name = codec.name();
            check(&format!("ffmpeg, {name}"), &kept, speaker, ffmpeg(&path));
            check(
                &format!("Chromium, {name}"),
                &kept,
                speaker,
                chromium(&kept.object),
            );
        }
    }
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (text, coded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(text.as_bytes()), coded);
    }
}
