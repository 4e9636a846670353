//! What the recordings of a scenario must contain, as a table, and what was found: every tenth of a
//! second of every channel, by the name that its voice says.

use std::fmt::Write;

use duolog::phone::{SLOT_SAMPLES, Sighting, decode};
use duolog_archive::{EndState, RequestedFormat};
use duolog_media::RecordingKey;

use super::judge::judge;
use super::kept::{Kept, finish};
use super::office::Office;
use super::watch::QUIET;

/// Samples in a second.
const SECOND: f64 = 8_000.0;

/// A change is somewhere in this much, in seconds: a slot of 100 ms, and what signalling takes.
const EDGE_S: f64 = 0.15;

/// A recording begins and ends that near to when it ought to, in seconds: what signalling and a packet
/// take.
const ENDS_S: f64 = 0.07;

/// A stretch of a recording: from and until, in seconds after the world's beginning; who is heard on
/// the left and on the right. No name: nobody, and the manifest says why. Several names with `+` between
/// them cannot be told apart and are not listened to.
pub type Stretch = (f64, f64, &'static str, &'static str);

/// One recording as it ought to be.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its owner.
    pub owner: &'static str,
    /// In which state it ended.
    pub state: EndState,
    /// What it contains, without holes; the recording begins and ends with it.
    pub stretches: Vec<Stretch>,
    /// Facts, as the manifest writes them, that it has in this order among others.
    pub facts: &'static [&'static str],
}

/// A recording that was made to its end.
#[must_use]
pub fn row(owner: &'static str, stretches: &[Stretch]) -> Row {
    Row {
        owner,
        state: EndState::Complete,
        stretches: stretches.to_vec(),
        facts: &[],
    }
}

/// A recording that never began.
#[must_use]
pub fn empty(owner: &'static str, state: EndState) -> Row {
    Row {
        state,
        ..row(owner, &[])
    }
}

impl Row {
    /// With these facts in this order.
    #[must_use]
    pub fn with(self, facts: &'static [&'static str]) -> Row {
        Row { facts, ..self }
    }
}

impl Office {
    /// Everybody hangs up; what was recorded is compared with the table, whose rows stand in the order
    /// in which the recordings were opened, those of one moment by the owner's name. Prints one line.
    ///
    /// # Panics
    /// When they differ, or a recording is not what was said, sample by sample.
    pub fn compare(&mut self, name: &str, expected: &[Row]) -> Vec<Kept> {
        self.close();
        let kept = self.recordings();
        let found: Vec<Found> = kept.iter().map(|one| self.found(one)).collect();
        let wanted: Vec<String> = expected.iter().map(|row| line(&row.into())).collect();
        let heard: Vec<String> = found.iter().map(|one| line(&one.row())).collect();
        println!(
            "{name} expected {}: {} found {}: {}",
            wanted.len(),
            wanted.join(" | "),
            heard.len(),
            heard.join(" | ")
        );
        let mut faults = Vec::new();
        if expected.len() != found.len() {
            let (one, other) = (expected.len(), found.len());
            faults.push(format!("{one} recordings expected, {other} found"));
        }
        for ((row, found), kept) in expected.iter().zip(&found).zip(&kept) {
            faults.extend(self.differences(row, found, kept));
        }
        for kept in &kept {
            let verdict = judge(&self.world, kept);
            let owner = &kept.manifest.call.owner;
            let told = verdict
                .faults
                .iter()
                .map(|fault| format!("{owner}: {fault}"));
            faults.extend(told);
        }
        let story = self.story();
        assert!(faults.is_empty(), "{name}: {faults:#?}\n{story}");
        kept
    }

    /// What was recorded, in the order of the table.
    #[must_use]
    pub fn recordings(&self) -> Vec<Kept> {
        let mut kept = finish(&self.world, RequestedFormat::WavAsReceived);
        let opened = |kept: &Kept| {
            let life = &self.world.node.watch().lives()[&kept.recording];
            self.world.since(life.opened).as_millis()
        };
        kept.sort_by_key(|one| (opened(one), one.manifest.call.owner.clone()));
        kept
    }

    /// Who is heard in each tenth of a second of the other party's channel.
    #[must_use]
    pub fn heard(&self, kept: &Kept) -> Vec<String> {
        let [_, other] = self.found(kept).names;
        other
    }

    fn began(&self, recording: RecordingKey) -> Option<f64> {
        let life = &self.world.node.watch().lives()[&recording];
        let at = life.started?;
        Some(self.world.since(at).as_secs_f64())
    }

    fn found(&self, kept: &Kept) -> Found {
        let began = self.began(kept.recording);
        let samples = kept.manifest.length.samples;
        let sightings = [0, 1].map(|channel| match samples {
            0 => Vec::new(),
            _ => decode(&kept.at_8_khz(channel)),
        });
        Found {
            owner: kept.manifest.call.owner.clone(),
            state: kept.manifest.state,
            began: began.unwrap_or_default(),
            ended: began.unwrap_or_default() + samples as f64 / SECOND,
            names: sightings.each_ref().map(|seen| self.names(seen, samples)),
            sightings,
        }
    }

    /// Who is heard in each tenth of a second.
    fn names(&self, seen: &[Sighting], samples: u64) -> Vec<String> {
        let cells = samples as usize / SLOT_SAMPLES;
        let mut names = vec![String::new(); cells];
        for (cell, name) in names.iter_mut().enumerate() {
            let middle = (cell * SLOT_SAMPLES + SLOT_SAMPLES / 2) as i64;
            let covers = |s: &&Sighting| {
                (s.at_sample..s.at_sample + SLOT_SAMPLES as i64).contains(&middle)
                    && s.pieces >> ((middle - s.at_sample) * 5 / SLOT_SAMPLES as i64) & 1 == 1
            };
            if let Some(sighting) = seen.iter().find(covers) {
                *name = self.name_of(sighting.party, sighting.slot).to_owned();
            }
        }
        names
    }

    fn differences(&self, row: &Row, found: &Found, kept: &Kept) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |what: String| faults.push(format!("{}: {what}", row.owner));
        if (row.owner, row.state) != (found.owner.as_str(), found.state) {
            fault(format!(
                "{:?} expected, {:?} found",
                row.state,
                (&found.owner, found.state)
            ));
        }
        let mut facts = kept.manifest.facts.iter().map(|line| fact_name(&line.fact));
        for wanted in row.facts {
            if !facts.any(|fact| fact == *wanted) {
                let all = kept.manifest.facts.iter().map(|line| fact_name(&line.fact));
                let all: Vec<String> = all.collect();
                fault(format!("no {wanted} in its place: {all:?}"));
                break;
            }
        }
        let Some((first, last)) = row.stretches.first().zip(row.stretches.last()) else {
            if !kept.object.is_empty() {
                fault("it ought to be empty".into());
            }
            return faults;
        };
        for (what, wanted, is) in [
            ("begins", first.0, found.began),
            ("ends", last.1, found.ended),
        ] {
            if (wanted - is).abs() > ENDS_S {
                fault(format!("{what} at {is:.2} s, not at {wanted:.2} s"));
            }
        }
        for stretch in &row.stretches {
            for (side, name) in [stretch.2, stretch.3].into_iter().enumerate() {
                if let Some(what) = found.side(side, stretch, name, kept) {
                    fault(what);
                }
            }
        }
        faults
    }
}

/// The name under which the manifest writes a fact.
fn fact_name(fact: &duolog_archive::wire::Fact) -> String {
    let value = serde_json::to_value(fact).unwrap_or_default();
    match &value {
        serde_json::Value::Object(fields) => {
            let kind = fields.get("kind").and_then(|kind| kind.as_str());
            kind.unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

/// A recording as it is.
struct Found {
    owner: String,
    state: EndState,
    began: f64,
    ended: f64,
    names: [Vec<String>; 2],
    sightings: [Vec<Sighting>; 2],
}

impl Found {
    /// What is wrong on one side of one stretch.
    fn side(
        &self,
        side: usize,
        &(from, until, ..): &Stretch,
        name: &str,
        kept: &Kept,
    ) -> Option<String> {
        if name.contains('+') {
            return None;
        }
        let place = |at: f64| ((at - self.began).max(0.0) * SECOND) as usize;
        let (from_sample, until_sample) = (place(from + EDGE_S), place(until - EDGE_S));
        let cells = from_sample.div_ceil(SLOT_SAMPLES)..until_sample / SLOT_SAMPLES;
        let names = &self.names[side];
        let at_s = |cell: usize| self.began + (cell * SLOT_SAMPLES) as f64 / SECOND;
        let wrong = cells
            .clone()
            .find(|cell| names.get(*cell).is_none_or(|is| is != name));
        if let Some(cell) = wrong {
            let is = names.get(cell).map_or("no recording", String::as_str);
            let what = format!("side {side} at {:.1} s: {is:?}, not {name:?}", at_s(cell));
            return Some(what);
        }
        let inside = |s: &&Sighting| {
            let at = usize::try_from(s.at_sample).unwrap_or(0);
            from_sample <= at && at + SLOT_SAMPLES <= until_sample
        };
        if name.is_empty() {
            let samples = kept.at_8_khz(side);
            let end = until_sample.min(samples.len());
            let quiet = samples[from_sample.min(end)..end]
                .iter()
                .all(|s| s.abs() <= QUIET);
            return (!quiet).then(|| format!("side {side} from {from} s: something is heard"));
        }
        // What was said in a second was said in that second: the voice's clock and the recording's run
        // alike.
        let mut seen = self.sightings[side].iter().filter(inside);
        let offset = |s: &Sighting| s.said_at() as i64 - s.at_sample;
        let first = seen.next().map(offset)?;
        let moved = seen.find(|s| (offset(s) - first).abs() > 8)?;
        Some(format!("side {side}: {name}'s time jumps at {moved:?}"))
    }

    /// The same as a row of a table, for a person to read.
    fn row(&self) -> Shown {
        let mut stretches: Vec<(f64, f64, String, String)> = Vec::new();
        for (cell, (left, right)) in self.names[0].iter().zip(&self.names[1]).enumerate() {
            let from = self.began + cell as f64 / 10.0;
            match stretches.last_mut() {
                Some((_, until, l, r)) if (&*l, &*r) == (left, right) => *until = from + 0.1,
                _ => stretches.push((from, from + 0.1, left.clone(), right.clone())),
            }
        }
        // The slots that a change cuts.
        stretches.retain(|(from, until, ..)| until - from > 0.35);
        Shown {
            owner: self.owner.clone(),
            state: self.state,
            stretches,
        }
    }
}

/// A row as it is printed.
struct Shown {
    owner: String,
    state: EndState,
    stretches: Vec<(f64, f64, String, String)>,
}

impl From<&Row> for Shown {
    fn from(row: &Row) -> Shown {
        let owned = |&(from, until, left, right): &Stretch| {
            (from, until, left.to_owned(), right.to_owned())
        };
        Shown {
            owner: row.owner.to_owned(),
            state: row.state,
            stretches: row.stretches.iter().map(owned).collect(),
        }
    }
}

fn line(row: &Shown) -> String {
    let mut line = row.owner.clone();
    if row.state != EndState::Complete {
        let _ = write!(line, " {:?}", row.state);
    }
    let dash = |name: &str| {
        if name.is_empty() {
            "-".to_owned()
        } else {
            name.to_owned()
        }
    };
    for (from, until, left, right) in &row.stretches {
        let _ = write!(line, " {from:.1}-{until:.1} {}/{}", dash(left), dash(right));
    }
    line
}
