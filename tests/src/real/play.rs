//! A behaviour as a play of SIPp roles around the built program, judged by what the recordings hold.

use super::script::Script;
use super::silence::{Hold, check_hold};
use super::site::Wishes;
use super::stage::{Place, Role, Set, Stage, Wire, alone};
use super::{Kept, Site, kept};
use duolog::phone::decode;

/// The caller's voice.
pub const CALLER: u8 = 0;
/// The callee's.
pub const CALLEE: u8 = 1;
/// That of somebody else.
pub const THIRD: u8 = 2;

/// What a behaviour wants of the configuration, and who plays.
#[derive(Debug)]
pub struct Play {
    /// Its name.
    pub name: &'static str,
    /// The callee, where there is one.
    pub callee: Option<Script>,
    /// Somebody else at 103.
    pub third: Option<Script>,
    /// The caller.
    pub caller: Script,
    /// What the caller does over a connection, where that differs.
    pub connected: Option<Script>,
    /// Who the caller is, or calls.
    pub number: &'static str,
    /// What it changes of the configuration.
    pub amend: fn(&str) -> String,
    /// Who is to be heard, a list of (owner's voice, other's voices in their order) for each recording.
    pub recordings: Vec<Voices>,
    /// Where nobody is to be heard in all of them.
    pub hold: Option<Hold>,
}

/// Who is to be heard in a recording: the owner, and the others in their order.
pub type Voices = (u8, &'static [u8]);

impl Play {
    /// A call of the caller to user 100, who is recorded.
    #[must_use]
    pub fn new(name: &'static str, caller: Script, callee: Script) -> Self {
        Self {
            name,
            callee: Some(callee),
            third: None,
            caller,
            connected: None,
            number: "100",
            amend: str::to_owned,
            recordings: vec![(CALLEE, &[CALLER])],
            hold: None,
        }
    }
}

/// Plays it over each transport.
///
/// # Panics
/// When a role fails, or a recording is not what it should be.
pub fn check(play: &Play) {
    for wire in Wire::ALL {
        let _one = alone();
        let site = check_over(play, wire);
        let name = format!("{} over {}", play.name, wire.word());
        let rows = judge(&name, &site, &play.recordings);
        if let Some(hold) = &play.hold {
            rows.iter()
                .for_each(|row| check_hold(&name, &site, row, hold));
        }
    }
}

fn check_over(play: &Play, wire: Wire) -> Site {
    let set = Set {
        wire,
        places: &[Place::TRUNK, Place::ANNA, Place::THIRD],
        names: &[],
        first: &[],
    };
    let site = site(wire);
    let third = user_third(&site, wire);
    let stage = Stage::set(site, &set, |text| (play.amend)(&format!("{text}{third}")));
    let mut roles = Vec::new();
    if let Some(callee) = &play.callee {
        roles.push(Role::called(callee, Place::ANNA, CALLEE));
    }
    if let Some(script) = &play.third {
        roles.push(Role::called(script, Place::THIRD, THIRD));
    }
    let connected = play.connected.as_ref().filter(|_| wire != Wire::Udp);
    let caller = connected.unwrap_or(&play.caller);
    roles.push(Role::calls(caller, Place::TRUNK, CALLER, play.number));
    stage.play(&roles);
    stage.close()
}

/// A site whose parties are reached over a wire.
#[must_use]
pub fn site(wire: Wire) -> Site {
    Site::new(&Wishes {
        transport: wire.inside(),
        ..Wishes::default()
    })
}

/// The lines that make somebody else a user with number 103.
#[must_use]
pub fn user_third(site: &Site, wire: Wire) -> String {
    let (word, third) = (wire.inside(), Place::THIRD.on(site));
    format!("[[user]]\nname = \"third\"\nnumbers = [\"103\"]\ncontact = \"{word}:{third}\"\n")
}

/// Compares the recordings of a site with who is to be heard, in any order; answers them.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn judge(name: &str, site: &Site, wanted: &[Voices]) -> Vec<Kept> {
    let mut rows: Vec<Kept> = kept::list(site);
    rows.retain(|row| row.audio.is_some());
    let heard: Vec<[Vec<u8>; 2]> = rows
        .iter()
        .map(|row| row.samples().map(|samples| parties(&samples)))
        .collect();
    let asked = wanted.iter();
    let mut asked: Vec<_> = asked
        .map(|(owner, others)| [vec![*owner], others.to_vec()])
        .collect();
    let mut found = heard.clone();
    found.sort();
    asked.sort();
    assert_eq!(found, asked, "{name}: {rows:?}");
    println!("{name}: {} recordings, heard {heard:?}", rows.len());
    rows
}

/// Whose voices are in a channel, in the order in which they began; each for at least half a second.
fn parties(samples: &[i16]) -> Vec<u8> {
    let mut found: Vec<(u8, usize)> = Vec::new();
    for sighting in decode(samples) {
        match found.iter_mut().find(|(party, _)| *party == sighting.party) {
            Some((_, slots)) => *slots += 1,
            None => found.push((sighting.party, 1)),
        }
    }
    found.retain(|(_, slots)| *slots >= 5);
    found.into_iter().map(|(party, _)| party).collect()
}
