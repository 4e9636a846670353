//! One recorded call with a pause in it, copied out in every way, and each copy held against what is
//! stored, sample for sample.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duolog::phone::{Action, CodedVoice, Voice};
use duolog_audio::container::{flac, ogg_opus, wav};
use duolog_tests::real::listen::{self, Coding};
use duolog_tests::real::phones::Phones;
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Kept, Site, kept, program};

const CALLER: u8 = 0;
const CALLEE: u8 = 1;
const WAIT: Duration = Duration::from_secs(15);

/// The samples of a file, its channels interleaved, by what its name ends with.
fn read(path: &Path) -> Vec<i16> {
    let open = || BufReader::new(File::open(path).unwrap_or_else(|e| panic!("{path:?}: {e}")));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("wav") => wav::Reader::open(open())
            .expect("as it is written")
            .read_to_end()
            .expect("as it is written"),
        Some("flac") => flac::Reader::open(open())
            .expect("as it is written")
            .read_to_end()
            .expect("as it is written"),
        _ => {
            let mut reader = ogg_opus::Reader::open(open()).expect("as it is written");
            reader.read_to_end().expect("as it is written")
        }
    }
}

fn interleaved([left, right]: [&[i16]; 2]) -> Vec<i16> {
    let pairs = left.iter().zip(right);
    pairs.flat_map(|(left, right)| [*left, *right]).collect()
}

/// A call of two and a half seconds whose owner pauses for half a second of it.
fn recorded(site: &Site) -> Kept {
    let mut duolog = Duolog::start(site);
    let voice = |party| vec![Voice::Coded(CodedVoice::new(party, 0))];
    let phones = Phones::new(site, voice(CALLER), voice(CALLEE));
    let go_on = |ms| phones.go_on_until(Instant::now() + Duration::from_millis(ms));
    let press = |digits: &str| {
        let digits = digits.into();
        phones.callee(0, Action::Press { digits });
    };
    phones.all_talk();
    go_on(1_200);
    press("*48");
    duolog.until_metric(WAIT, "duolog_pauses_total", |pauses| pauses == 1.0);
    go_on(500);
    press("*49");
    go_on(1_200);
    phones.all_hang_up();
    duolog.stop();
    let mut rows = kept::list(site);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = rows.remove(0);
    assert_eq!(row.state, "complete", "{row:?}");
    row
}

/// Where neither channel has anything because the owner paused, in samples.
fn paused(site: &Site, row: &Kept) -> (usize, usize) {
    let gaps = row.gaps(site);
    let [owner, other] = gaps.map(|gaps| {
        let gap = gaps.into_iter().find(|gap| gap.reason == "paused");
        let gap = gap.expect("the pause is listed");
        (gap.from, gap.from + gap.samples)
    });
    let both = (owner.0.max(other.0), owner.1.min(other.1));
    assert!(both.1 > both.0 + 2_000, "half a second: {both:?}");
    both
}

struct Copies<'a> {
    site: &'a Site,
    id: &'a str,
}

impl Copies<'_> {
    /// Copies to this name; the files that were made, as the program lists them.
    fn made(&self, name: &str, words: &[&str]) -> Vec<PathBuf> {
        let to = self.site.directory().join(name).display().to_string();
        let mut all = vec!["recordings", "export", self.id, "--to", &to];
        all.extend(words);
        let output = program::run(self.site, &all);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
        assert_eq!(told, "", "{words:?}");
        let listed = String::from_utf8(output.stdout).expect("text");
        let file = |line: &str| {
            let (path, bytes) = line
                .strip_suffix(" bytes")
                .expect("as it is written")
                .rsplit_once(' ')
                .expect("as it is written");
            let length = std::fs::metadata(path).expect("it is there").len();
            assert_eq!(bytes, length.to_string(), "{line}");
            PathBuf::from(path)
        };
        listed.lines().map(file).collect()
    }

    /// The samples of a copy in one file.
    fn samples(&self, name: &str, words: &[&str]) -> Vec<i16> {
        let made = self.made(name, words);
        assert_eq!(made, [self.site.directory().join(name)]);
        read(&made[0])
    }
}

#[test]
fn every_copy_of_a_recording_is_what_is_stored() {
    let site = Site::new(&Wishes {
        user: "mode = \"always-pause-resume\"\nannounce = \"off\"\nnotice = \"none\"",
        ..Wishes::default()
    });
    let row = recorded(&site);
    let [owner, other] = row.samples();
    let whole = interleaved([&owner, &other]);
    let (from, until) = paused(&site, &row);
    for channel in [&owner, &other] {
        assert!(
            channel[from..until].iter().all(|s| s.unsigned_abs() < 16),
            "silence"
        );
        assert!(
            channel[..from].iter().any(|s| s.unsigned_abs() > 1_000),
            "speech"
        );
    }
    let copies = Copies {
        site: &site,
        id: &row.id,
    };
    assert!(copies.samples("all.wav", &["--format", "wav"]) == whole);
    assert!(copies.samples("all.flac", &["--format=flac", "--channels=stereo"]) == whole);
    assert!(copies.samples("left.wav", &["--format=wav", "--channels=owner"]) == owner);
    assert!(copies.samples("right.flac", &["--format=flac", "--channels=other"]) == other);
    let halves = owner.iter().zip(&other);
    let mixed: Vec<i16> = halves
        .map(|(a, b)| ((i32::from(*a) + i32::from(*b)) / 2) as i16)
        .collect();
    assert!(copies.samples("mixed.wav", &["--format=wav", "--channels=mono"]) == mixed);
    let cut = [&whole[..from * 2], &whole[until * 2..]].concat();
    assert!(copies.samples("cut.wav", &["--format=wav", "--gaps=cut"]) == cut);
    let cut = [&owner[..from], &owner[until..]].concat();
    let words = ["--format=flac", "--gaps=cut", "--channels=owner"];
    assert!(copies.samples("cut.flac", &words) == cut);
    copies.check_parts(&whole);
    copies.check_opus([&owner[..], &other[..]], from);
    println!(
        "{} frames, {} of them paused: wav, flac, opus, one channel, mixed, cut and in parts",
        owner.len(),
        until - from
    );
}
impl Copies<'_> {
    /// In parts: each of a second, and together the whole.
    fn check_parts(&self, whole: &[i16]) {
        for (name, format) in [("part.wav", "wav"), ("part.flac", "flac")] {
            let parts = self.made(name, &["--format", format, "--parts", "1s"]);
            assert_eq!(parts.len(), (whole.len() / 2).div_ceil(8_000));
            let (stem, _) = name.split_once('.').expect("as it is written");
            let mut together = Vec::new();
            for (n, part) in parts.iter().enumerate() {
                let named = format!("{stem}.{:03}.{format}", n + 1);
                assert_eq!(part, &self.site.directory().join(named));
                let samples = read(part);
                assert!(samples.len() == 16_000 || n + 1 == parts.len(), "{part:?}");
                together.extend(samples);
            }
            assert!(together == *whole, "{name}");
        }
    }

    /// Up to the pause, which begins at `from`.
    fn check_opus(&self, channels: [&[i16]; 2], from: usize) {
        // Opus is another coding of the same: as long, and the same voices in the same channels.
        let opus = self.samples("all.ogg", &["--format", "opus"]);
        assert_eq!(opus.len(), 2 * channels[0].len());
        for (at, party) in [CALLEE, CALLER].into_iter().enumerate() {
            let channel: Vec<i16> = opus.iter().skip(at).step_by(2).copied().collect();
            let said = listen::speech(&channel[..from], party, Coding::Lossy);
            let exact = listen::speech(&channels[at][..from], party, Coding::Exact);
            let (said, exact) = (said.expect("a voice"), exact.expect("a voice"));
            assert!(said.slots + 1 >= exact.slots, "{said:?} {exact:?}");
        }
    }
}
