//! What was kept: the rows of the catalogue and the audio they name, read as a stranger would.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use duolog_audio::container::{ogg_opus, wav};
use serde_json::Value;

use super::{Site, program};

/// A row of `duolog recordings list --json`.
#[derive(Debug, Clone)]
pub struct Kept {
    /// `rec_...`
    pub id: String,
    /// In which state it is.
    pub state: String,
    /// The Call-ID of the leg that came in.
    pub call_id: String,
    /// Its length, in seconds.
    pub seconds: f64,
    /// Where its audio lies.
    pub audio: Option<PathBuf>,
}

/// A gap as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// First sample.
    pub from: usize,
    /// How many.
    pub samples: usize,
    /// Why.
    pub reason: String,
}

/// Every row, newest first.
///
/// # Panics
/// When the program does not list them.
pub fn list(site: &Site) -> Vec<Kept> {
    let output = program::run(site, &["recordings", "list", "--json", "--limit", "100000"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    text.lines().map(|line| kept(site, line)).collect()
}

fn kept(site: &Site, line: &str) -> Kept {
    let row: Value = serde_json::from_str(line).expect("each line is a JSON object");
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Kept {
        id: text("id"),
        state: text("state"),
        call_id: text("call_id"),
        seconds: row["seconds"].as_f64().unwrap_or_default(),
        audio: row["audio"].as_str().map(|key| site.store().join(key)),
    }
}

impl Kept {
    /// `duolog recordings show`, as JSON.
    ///
    /// # Panics
    /// When the program does not show it.
    pub fn show(&self, site: &Site) -> Value {
        let output = program::run(site, &["recordings", "show", &self.id]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("show writes JSON")
    }

    /// The gaps of both channels, owner first, as the manifest lists them.
    ///
    /// # Panics
    /// When there is no manifest with two channels.
    pub fn gaps(&self, site: &Site) -> [Vec<Gap>; 2] {
        let shown = self.show(site);
        [0, 1].map(|channel| {
            let gaps = &shown["manifest"]["channels"][channel]["gaps"];
            let gaps = gaps
                .as_array()
                .expect("the manifest lists the gaps of each channel");
            let number = |gap: &Value, key: &str| gap[key].as_u64().expect("a number") as usize;
            let read = |gap: &Value| Gap {
                from: number(gap, "position"),
                samples: number(gap, "samples"),
                reason: gap["reason"].as_str().unwrap_or_default().to_owned(),
            };
            gaps.iter().map(read).collect()
        })
    }

    /// Both channels decoded, 16 bit at 8 kHz, owner first.
    ///
    /// # Panics
    /// When there is no audio or it cannot be played.
    pub fn samples(&self) -> [Vec<i16>; 2] {
        let path = self.path();
        let file = BufReader::new(File::open(path).expect("the audio is where the row says"));
        let read = if path.extension().is_some_and(|extension| extension == "ogg") {
            let reader = ogg_opus::Reader::open(file).map_err(|error| error.to_string());
            reader.and_then(|mut reader| reader.read_to_end().map_err(|error| error.to_string()))
        } else {
            let reader = wav::Reader::open(file).map_err(|error| error.to_string());
            reader.and_then(|mut reader| reader.read_to_end().map_err(|error| error.to_string()))
        };
        split(&read.unwrap_or_else(|error| panic!("{} cannot be played: {error}", path.display())))
    }

    /// Both channels as G.711 codes, owner first.
    ///
    /// # Panics
    /// When the audio is no G.711 WAV.
    pub fn codes(&self) -> [Vec<u8>; 2] {
        let path = self.path();
        let file = BufReader::new(File::open(path).expect("the audio is where the row says"));
        let mut reader = wav::Reader::open(file).expect("a WAV");
        let coding = reader.coding();
        assert!(
            matches!(coding, wav::Coding::G711(_)),
            "{} holds {coding:?}",
            path.display()
        );
        let mut codes = vec![0; reader.frames() as usize * 2];
        let mut filled = 0;
        while filled < codes.len() {
            let read = reader
                .read_bytes(&mut codes[filled..])
                .expect("a whole WAV");
            assert!(
                read > 0,
                "{} is shorter than its header says",
                path.display()
            );
            filled += read;
        }
        split(&codes)
    }

    fn path(&self) -> &PathBuf {
        self.audio
            .as_ref()
            .unwrap_or_else(|| panic!("no audio: {self:?}"))
    }
}

fn split<T: Copy>(interleaved: &[T]) -> [Vec<T>; 2] {
    let channel = |at: usize| interleaved.iter().skip(at).step_by(2).copied().collect();
    [channel(0), channel(1)]
}
