//! baresip calls baresip through duolog, in three codecs, clear and encrypted: both ears and both
//! channels hear who they should (issue 3, acceptance 6).

use std::time::Duration;

use duolog_audio::container::wav::Layout;
use duolog_tests::real::baresip::{Making, Spoken, callee, caller};
use duolog_tests::real::kept::{self, Kept};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Site};
use duolog_tests::tone::measure;

const CALLER_HZ: f64 = 1_000.0;
const CALLEE_HZ: f64 = 700.0;
/// How long the caller lives, ringing included.
const CALL_S: u32 = 6;
/// A tone of -14 dBFS, before the codec and its sound card have changed it.
const LEVEL_DBFS: f64 = -14.0;

fn spoken(name: &'static str, rate_hz: u32, layout: Layout) -> Spoken {
    Spoken {
        name,
        rate_hz,
        layout,
    }
}

/// The tone, and how much of it there is, from its beginning to its end.
#[track_caller]
fn check(name: &str, samples: &[i16], rate_hz: u32, hz: f64) {
    let second = rate_hz as usize;
    let loud = |sample: &i16| sample.unsigned_abs() > 1_500;
    let from = samples
        .iter()
        .position(loud)
        .unwrap_or_else(|| panic!("{name}: silence"));
    let until = samples.iter().rposition(loud).unwrap_or(from);
    let length_s = (until - from) as f64 / second as f64;
    let middle = &samples[from + second / 2..until - second / 4];
    let wanted = measure(middle, rate_hz, hz);
    let other = if hz == CALLER_HZ {
        CALLEE_HZ
    } else {
        CALLER_HZ
    };
    let leaked = measure(middle, rate_hz, other);
    println!(
        "{name}: {length_s:.2} s of {:.2} Hz at {:.1} dBFS, the other tone at {:.1} dBFS",
        wanted.hz, wanted.dbfs, leaked.dbfs
    );
    assert!(length_s > 3.0, "{name}: {length_s} s");
    assert!((wanted.hz - hz).abs() <= 1.0, "{name}: {wanted:?}");
    assert!(
        (wanted.dbfs - LEVEL_DBFS).abs() <= 1.0,
        "{name}: {wanted:?}"
    );
    assert!(leaked.dbfs < wanted.dbfs - 40.0, "{name}: {leaked:?}");
}

fn call(spoken: Spoken, security: &'static str, user: &'static str) {
    let name = format!("{} {security}", spoken.name);
    let site = Site::plain(&Wishes {
        format: "wav-pcm16",
        user,
        ..Wishes::default()
    });
    let mut duolog = Duolog::start(&site);
    let making = |tone_hz| Making {
        spoken,
        security,
        tone_hz,
    };
    let mut at_desk = callee(&site, &making(CALLEE_HZ));
    let mut outside = caller(&site, &making(CALLER_HZ), CALL_S);
    outside.process.exit(Duration::from_secs(30));
    duolog.until_metric(Duration::from_secs(20), "duolog_calls_active", |calls| {
        calls == 0.0
    });
    let (samples, rate_hz) = outside.heard();
    check(
        &format!("{name}: caller's ear"),
        &samples,
        rate_hz,
        CALLEE_HZ,
    );
    at_desk.hung_up();
    let (samples, rate_hz) = at_desk.heard();
    check(
        &format!("{name}: callee's ear"),
        &samples,
        rate_hz,
        CALLER_HZ,
    );
    duolog.stop();
    let [recording]: [Kept; 1] = kept::list(&site).try_into().expect("one recording");
    assert_eq!(recording.state, "complete", "{name}");
    let manifest = recording.show(&site);
    let rate_hz = manifest["manifest"]["audio"]["sample_rate_hz"]
        .as_u64()
        .expect("a rate");
    let [owner, other] = recording.samples();
    check(
        &format!("{name}: owner's channel"),
        &owner,
        rate_hz as u32,
        CALLEE_HZ,
    );
    check(
        &format!("{name}: other channel"),
        &other,
        rate_hz as u32,
        CALLER_HZ,
    );
}

/// One test, because there is one 127.0.0.1: baresip's media comes from nowhere else.
#[test]
fn three_codecs_in_the_clear_and_encrypted() {
    let pcmu = spoken("PCMU/8000/1", 8_000, Layout::Mono);
    let g722 = spoken("G722/16000/1", 16_000, Layout::Mono);
    let opus = spoken("opus/48000/2", 48_000, Layout::Stereo);
    for spoken in [pcmu, g722, opus] {
        for security in ["", "srtp-mand"] {
            call(spoken, security, "mode = \"always\"");
        }
    }
    // Plain RTP/AVP with a key beside it, as many phones offer it.
    call(pcmu, "srtp", "mode = \"always\"");
}
