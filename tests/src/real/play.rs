//! A behaviour as a play of SIPp roles around the built program, judged by what the recordings hold.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::script::Script;
use super::site::{CALLEE_PORT, CALLER_PORT, Wishes};
use super::stage::{self, Role, TLS_PORT, Tls, Wire};
use super::{Duolog, Kept, Process, Site, kept};
use duolog::phone::decode;

/// SIPp is late when it has to share the processors: one run at a time.
static ONE: Mutex<()> = Mutex::new(());

/// The caller's voice.
pub const CALLER: u8 = 0;
/// The callee's.
pub const CALLEE: u8 = 1;
/// That of somebody else.
pub const THIRD: u8 = 2;
/// Where somebody else's phone hears SIP, at the callee's address.
const THIRD_PORT: u16 = 5072;

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
    pub recordings: Vec<(u8, &'static [u8])>,
}

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
        }
    }
}

/// Plays it over each transport.
///
/// # Panics
/// When a role fails, or a recording is not what it should be.
pub fn check(play: &Play) {
    for wire in [Wire::Udp, Wire::Tcp, Wire::Tls] {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        check_over(play, wire);
    }
}

fn check_over(play: &Play, wire: Wire) {
    let site = Site::new(&Wishes {
        transport: if wire == Wire::Udp { "udp" } else { "tcp" },
        ..Wishes::default()
    });
    let at = |ip, port| SocketAddr::new(ip, port);
    let third = at(site.callee(), THIRD_PORT);
    let tls = (wire == Wire::Tls).then(|| Tls::of(&site));
    site.amend(|text| {
        let word = if wire == Wire::Udp { "udp" } else { "tcp" };
        let mut text = format!(
            "{text}[[user]]\nname = \"third\"\nnumbers = [\"103\"]\ncontact = \"{word}:{third}\"\n"
        );
        if let Some(tls) = &tls {
            text = over_tls(&site, &text, tls);
        }
        (play.amend)(&text)
    });
    // Beside SIPp, on ports of their own: 7 more than SIPp's.
    let (mut beside, mut toward) = (Vec::<Process>::new(), site.sip());
    if let Some(tls) = &tls {
        toward = at(site.caller(), CALLER_PORT + 7);
        beside.push(tls.make(toward, at(site.node(), TLS_PORT)));
        for phone in [at(site.callee(), CALLEE_PORT), third] {
            let outside = at(phone.ip(), phone.port() + 7);
            beside.push(tls.take(outside, phone));
        }
        let trunk = at(site.caller(), CALLER_PORT);
        let outside = at(trunk.ip(), trunk.port() + 8);
        beside.push(tls.take(outside, trunk));
    }
    let mut duolog = Duolog::start(&site);
    let role = |script: &Script, address, media, party, number, toward| Role {
        script: script.clone(),
        address,
        media,
        party,
        number,
        toward,
    };
    let mut roles = Vec::new();
    if let Some(callee) = &play.callee {
        let address = at(site.callee(), CALLEE_PORT);
        roles.push(role(callee, address, 6_000, CALLEE, "100", None));
    }
    if let Some(script) = &play.third {
        roles.push(role(script, third, 6_100, THIRD, "103", None));
    }
    let address = at(site.caller(), CALLER_PORT);
    let connected = play.connected.as_ref().filter(|_| wire != Wire::Udp);
    let caller = connected.unwrap_or(&play.caller);
    roles.push(role(
        caller,
        address,
        6_000,
        CALLER,
        play.number,
        Some(toward),
    ));
    stage::play(&site, wire, &roles);
    duolog.until_metric(Duration::from_secs(20), "duolog_calls_active", |n| n == 0.0);
    duolog.stop();
    judge(play, wire, &site);
}

fn over_tls(site: &Site, text: &str, tls: &Tls) -> String {
    let node = site.node();
    let [callee, third, trunk] = [
        (site.callee(), CALLEE_PORT, 7),
        (site.callee(), THIRD_PORT, 7),
        (site.caller(), CALLER_PORT, 8),
    ];
    let mut text = text.replace(
        "listen = [\"udp",
        &format!("listen = [\"tls:{node}:{TLS_PORT}\", \"udp"),
    );
    for (ip, port, more) in [callee, third, trunk] {
        let (from, to) = (
            format!("tcp:{ip}:{port}"),
            format!("tls:{ip}:{}", port + more),
        );
        text = text.replace(&from, &to);
    }
    text + &tls.section()
}

fn judge(play: &Play, wire: Wire, site: &Site) {
    let name = play.name;
    let mut rows: Vec<Kept> = kept::list(site);
    rows.retain(|row| row.audio.is_some());
    let heard: Vec<[Vec<u8>; 2]> = rows
        .iter()
        .map(|row| row.samples().map(|samples| parties(&samples)))
        .collect();
    let wanted: Vec<[Vec<u8>; 2]> = play
        .recordings
        .iter()
        .map(|(owner, others)| [vec![*owner], others.to_vec()])
        .collect();
    let (mut found, mut asked) = (heard.clone(), wanted);
    found.sort();
    asked.sort();
    assert_eq!(found, asked, "{name} over {}: {rows:?}", wire.word());
    println!(
        "{name} over {}: {} recordings, heard {heard:?}",
        wire.word(),
        rows.len()
    );
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
