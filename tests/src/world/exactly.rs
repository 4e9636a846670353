//! Recordings beside what a model says that they are: every packet that a phone sent is looked for in the
//! audio, at the place that follows from when it arrived and from when the model says that the recording
//! began. Nothing of it is taken from what the node did or says that it did.

use std::collections::BTreeMap;

use duolog_archive::RequestedFormat;
use duolog_audio::g711::{self, Law};

use super::kept::{Kept, finish};
use super::office::Office;
use super::policy::Wanted;
use super::table::Stretch;
use super::watch::QUIET;

/// Samples in a second.
const SECOND: f64 = 8_000.0;

/// A change may be this much earlier or later than a model says, in seconds: two ways through the network,
/// a packet, and what a prompt's end takes to be known.
pub const EDGE_S: f64 = 0.05;

/// Packets by which a channel is aligned.
const ALIGNED_BY: usize = 12;

/// A recording that a model wants, and the phones of its owner and of the other party.
pub type Made<'a> = (Wanted, [&'a str; 2]);

/// What was recorded in an office, and what its phones had said.
pub struct Evidence {
    /// The recordings, those of one owner in the order in which their rows were made.
    pub kept: Vec<Kept>,
    channels: Vec<[Vec<i16>; 2]>,
    said: BTreeMap<String, Vec<Packet>>,
}

/// Something that a phone said.
struct Packet {
    /// When it reached the node, in seconds of the world.
    arrived: f64,
    samples: Vec<i16>,
}

impl Office {
    /// What was recorded, and what these phones had said; all calls are over.
    #[must_use]
    pub fn evidence<'a>(&self, phones: impl Iterator<Item = &'a str>) -> Evidence {
        let mut kept = finish(&self.world, RequestedFormat::WavAsReceived);
        kept.sort_by_key(|one| self.world.node.watch().lives()[&one.recording].opened);
        let channels = kept.iter().map(|one| [0, 1].map(|side| one.at_8_khz(side)));
        let channels = channels.collect();
        let said = phones.map(|phone| (phone.to_owned(), self.said(phone)));
        let said = said.collect();
        Evidence {
            kept,
            channels,
            said,
        }
    }

    fn said(&self, phone: &str) -> Vec<Packet> {
        let who = self.who(phone);
        let flights = self.world.net.flights(self.world.rtp_of(who));
        let sent = self.world.phone(who).sent().iter().zip(flights);
        let packets = sent.filter_map(|(packet, flight)| {
            let law = match packet.payload_type {
                0 => Law::Mulaw,
                8 => Law::Alaw,
                _ => return None,
            };
            let codes = packet.payload.iter();
            Some(Packet {
                arrived: self.seconds(flight.arrived?),
                samples: codes.map(|&code| g711::decode(law, code)).collect(),
            })
        });
        packets.collect()
    }
}

impl Evidence {
    /// Where what was recorded is not what was wanted; empty where it is.
    #[must_use]
    pub fn faults(&self, wanted: &[Made<'_>]) -> Vec<String> {
        let owned = |owner: &str| {
            let own = self.kept.iter().zip(&self.channels);
            let own = own.filter(|(kept, _)| kept.manifest.call.owner == owner);
            own.collect::<Vec<_>>()
        };
        let mut owners: BTreeMap<&str, Vec<&Made<'_>>> = BTreeMap::new();
        for one in &self.kept {
            owners.entry(&one.manifest.call.owner).or_default();
        }
        for made in wanted {
            owners.entry(made.0.owner).or_default().push(made);
        }
        let mut faults = Vec::new();
        for (owner, mut wanted) in owners {
            wanted.sort_by(|one, other| one.0.made.total_cmp(&other.0.made));
            let found = owned(owner);
            if found.len() != wanted.len() {
                let (is, ought) = (found.len(), wanted.len());
                faults.push(format!("{owner}: {is} recordings, not {ought}"));
                continue;
            }
            for ((kept, channels), made) in found.into_iter().zip(wanted) {
                let told = self.differences(made, kept, channels).into_iter();
                let at = made.0.made;
                faults.extend(told.map(|fault| format!("{owner}, made at {at:.2} s: {fault}")));
            }
        }
        faults
    }

    fn differences(
        &self,
        (wanted, phones): &Made<'_>,
        kept: &Kept,
        channels: &[Vec<i16>; 2],
    ) -> Vec<String> {
        let (is, ought) = (kept.manifest.state, wanted.state);
        if is != ought {
            return vec![format!("{is:?}, not {ought:?}: {}", kept.manifest.reason)];
        }
        let Some((first, last)) = wanted.stretches.first().zip(wanted.stretches.last()) else {
            let is_empty = kept.object.is_empty();
            let fault = (!is_empty).then(|| "it ought to be empty".to_owned());
            return fault.into_iter().collect();
        };
        let mut faults = Vec::new();
        let mut moved = None;
        for (side, samples) in channels.iter().enumerate() {
            let channel = Channel {
                began: first.0,
                side,
                samples,
                said: self.said.get(phones[side]).map_or(&[], Vec::as_slice),
            };
            moved = moved.or(channel.check(&wanted.stretches, &mut faults));
        }
        let length_s = kept.manifest.length.samples as f64 / SECOND;
        let ended = first.0 + length_s - moved.unwrap_or(0) as f64 / SECOND;
        if (ended - last.1).abs() > EDGE_S {
            faults.push(format!("ends at {ended:.3} s, not at {:.3} s", last.1));
        }
        faults
    }
}

/// One channel of a recording that began then.
struct Channel<'a> {
    began: f64,
    side: usize,
    samples: &'a [i16],
    said: &'a [Packet],
}

impl Channel<'_> {
    /// Looks for everything that ought to be there; returns how many samples later than it arrived it lies.
    fn check(&self, stretches: &[Stretch], faults: &mut Vec<String>) -> Option<i64> {
        let side = self.side;
        let named = |stretch: &&Stretch| {
            let name = [stretch.2, stretch.3][side];
            !name.is_empty() && !name.contains('+')
        };
        let spoken = stretches.iter().filter(named);
        let spoken: Vec<&Packet> = spoken.flat_map(|stretch| self.within(stretch)).collect();
        let moved = self.aligned(&spoken);
        let missing = |packet: &&&Packet| !self.lies(packet, moved);
        let mut lost = spoken.iter().filter(missing);
        if let Some(first) = lost.next() {
            let (at, lost, all) = (first.arrived, 1 + lost.count(), spoken.len());
            let fault = "packets are not in their place, the first arrived at";
            faults.push(format!("side {side}: {lost} of {all} {fault} {at:.2} s"));
        }
        for stretch in stretches {
            let (from, until) = (stretch.0 + EDGE_S, stretch.1 - EDGE_S);
            let place = |at: f64| ((at - self.began).max(0.0) * SECOND) as usize;
            let (from, until) = (place(from), place(until).min(self.samples.len()));
            let silent = [stretch.2, stretch.3][side].is_empty();
            let heard = self.samples.get(from..until).unwrap_or_default();
            let heard = heard.iter().position(|sample| sample.abs() > QUIET);
            if let Some(at) = heard.filter(|_| silent) {
                let at = self.began + (from + at) as f64 / SECOND;
                faults.push(format!("side {side}: something is heard at {at:.2} s"));
            }
        }
        (!spoken.is_empty()).then_some(moved)
    }

    /// What arrived well within a stretch.
    fn within(&self, stretch: &Stretch) -> impl Iterator<Item = &Packet> {
        let (from, until) = (stretch.0 + EDGE_S, stretch.1 - EDGE_S);
        let first = self.said.partition_point(|packet| packet.arrived < from);
        let length_s = |packet: &Packet| packet.samples.len() as f64 / SECOND;
        let said = self.said[first..].iter();
        said.take_while(move |packet| packet.arrived + length_s(packet) < until)
    }

    /// By how many samples most packets lie later than they arrived, if they do at all.
    fn aligned(&self, spoken: &[&Packet]) -> i64 {
        let some = &spoken[..spoken.len().min(ALIGNED_BY)];
        let most = (EDGE_S * SECOND) as i64;
        let fits = |moved: &i64| some.iter().filter(|one| self.lies(one, *moved)).count();
        (-most..=most).max_by_key(fits).unwrap_or(0)
    }

    fn lies(&self, packet: &Packet, moved: i64) -> bool {
        let at = ((packet.arrived - self.began) * SECOND).round() as i64 + moved;
        let at = usize::try_from(at).ok();
        let samples = at.and_then(|at| self.samples.get(at..at + packet.samples.len()));
        samples.is_some_and(|samples| samples == packet.samples)
    }
}
