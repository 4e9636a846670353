//! The audio oracle: compares a finished recording with what each party sent and what the network
//! lost, sample by sample, and with the gaps its manifest lists.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use duolog::phone::SentPacket;
use duolog_archive::{Channel, EndState, GapReason, Span};
use duolog_audio::g711::{self, Law};
use duolog_media::LegKey;

use super::World;
use super::kept::Kept;
use super::net::Flight;
use super::watch::{Life, QUIET, samples_between};

/// A packet, and what an order takes to its thread.
const UNDER_WAY: u64 = 160 + 2;

/// The packet that was under way when a recording was resumed came while it was paused: its end is
/// not kept either. 20 ms, what an order takes to its thread, and how much later than it arrived the
/// jitter at the party's beginning may have made it lie.
fn under_way(world: &World) -> u64 {
    UNDER_WAY + samples_between(world.now(), world.now() + world.net.media.jitter)
}

/// What the oracle found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Everything that is wrong; empty when the recording can be trusted.
    pub faults: Vec<String>,
    /// How many samples later the owner and the other party lie than they arrived at the soonest.
    pub skew: [Option<i64>; 2],
    /// Samples compared and found the same.
    pub exact: [u64; 2],
    /// Samples of packets that the network lost, found listed.
    pub lost: [u64; 2],
    /// Samples that arrived and that the spool could not keep, found listed.
    pub unkept: [u64; 2],
}

impl Verdict {
    /// How far the channels lie apart, in samples.
    #[must_use]
    pub fn apart(&self) -> Option<u64> {
        Some(self.skew[0]?.abs_diff(self.skew[1]?))
    }
}

/// What ought to be at a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ought {
    /// Nothing was said.
    Nothing,
    /// This sample.
    Audio(i16),
    /// A packet that the network lost.
    Lost,
    /// Silence in which a packet was lost, nobody can know where.
    Somewhere,
    /// Cannot be known from outside: keys, and the edges of the recording.
    Anything,
}

/// A packet of a party with its fate.
struct Spoken<'a> {
    packet: &'a SentPacket,
    flight: &'a Flight,
    law: Option<Law>,
}

/// Judges one recording of a world.
#[must_use]
pub fn judge(world: &World, kept: &Kept) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(life) = world.node.watch().lives().get(&kept.recording) else {
        verdict.faults.push("a recording nobody opened".into());
        return verdict;
    };
    let Some(started) = life.started else {
        if kept.manifest.length.samples > 0 {
            verdict
                .faults
                .push("a recording that never started has a length".into());
        }
        return verdict;
    };
    if kept.manifest.state == EndState::NotKept {
        if !kept.object.is_empty() || kept.manifest.audio.is_some() {
            let fault = "there is audio of a recording that was not kept";
            verdict.faults.push(fault.into());
        }
        return verdict;
    }
    pauses(kept, life, under_way(world), &mut verdict);
    for side in 0..2 {
        let channel = &kept.manifest.channels[side];
        let samples = &kept.channels[side];
        // Where nothing of either party was there to be kept, there is no audio, and the gaps say so.
        let silence = vec![0; kept.manifest.length.samples as usize];
        let samples = match kept.manifest.audio.is_none() && nothing_there(kept) {
            true => &silence,
            false => samples,
        };
        if samples.len() as u64 != kept.manifest.length.samples {
            let (is, says) = (samples.len(), kept.manifest.length.samples);
            verdict.faults.push(format!(
                "channel {side}: {is} samples, the manifest says {says}"
            ));
            continue;
        }
        let bench = Bench {
            world,
            life,
            started,
            side,
            samples,
            channel,
        };
        bench.compare(&turns(world, life, side), &mut verdict);
    }
    verdict
}

/// Whether gaps cover both channels whole.
fn nothing_there(kept: &Kept) -> bool {
    let length = kept.manifest.length.samples;
    kept.manifest.channels.iter().all(|channel| {
        let listed: u64 = channel.gaps.iter().map(|gap| gap.samples).sum();
        channel.samples == 0 && listed == length
    })
}

/// A time in which one party was on a channel.
struct Turn<'a> {
    from: Instant,
    until: Instant,
    spoken: Vec<Spoken<'a>>,
}

/// The parties of a channel, one after the other.
fn turns<'a>(world: &'a World, life: &Life, side: usize) -> Vec<Turn<'a>> {
    let end = life.closing.unwrap_or(world.now());
    let said = |leg: Option<LegKey>| {
        let peer = leg.and_then(|leg| Some((leg, world.node.watch().peer(leg)?)));
        peer.map_or_else(Vec::new, |(leg, peer)| said(world, peer.rtp, leg))
    };
    if side == 0 {
        let spoken = said(Some(life.owner));
        let from = life.opened;
        return vec![Turn {
            from,
            until: end,
            spoken,
        }];
    }
    let ends = life.others[1..].iter().map(|(at, _)| *at).chain([end]);
    let turns = life.others.iter().zip(ends);
    turns
        .map(|(&(from, leg), until)| {
            let closed = leg.and_then(|leg| world.node.watch().closed(leg));
            Turn {
                from,
                until: closed.map_or(until, |closed| until.min(closed)),
                spoken: said(leg),
            }
        })
        .collect()
}

/// Everything a phone said to a leg, each packet with its fate.
fn said(world: &World, rtp: SocketAddr, leg: LegKey) -> Vec<Spoken<'_>> {
    let Some(who) = world.at(rtp) else {
        return Vec::new();
    };
    let (sent, flights) = (world.phone(who).sent(), world.net.flights(rtp));
    assert_eq!(
        sent.len(),
        flights.len(),
        "the phone and the network counted alike"
    );
    let law = |packet: &SentPacket| match packet.payload_type {
        0 => Some(Law::Mulaw),
        8 => Some(Law::Alaw),
        _ => None,
    };
    let port = world.node.watch().port(leg);
    let spoken = sent
        .iter()
        .zip(flights)
        .filter(|(_, flight)| Some(flight.to.port()) == port);
    spoken
        .map(|(packet, flight)| Spoken {
            packet,
            flight,
            law: law(packet),
        })
        .collect()
}

fn pauses(kept: &Kept, life: &Life, slack: u64, verdict: &mut Verdict) {
    let length = kept.manifest.length.samples;
    let real = life
        .pauses
        .iter()
        .map(|(from, until)| (*from, until.unwrap_or(length)));
    // Of an interrupted recording the end is gone, and what happened there.
    let real = real.map(|(from, until)| (from, until.min(length)));
    let real: Vec<_> = real.filter(|(from, until)| until > from).collect();
    // What was under way at the end of a pause may lie a little behind it.
    let tail = |span: &&Span| {
        let behind =
            |(_, until): &(u64, u64)| span.position > *until && span.position <= until + slack;
        real.iter().any(behind) && span.samples <= slack
    };
    let told: Vec<&Span> = kept
        .manifest
        .pauses
        .iter()
        .filter(|span| !tail(span))
        .collect();
    let alike = |((from, until), span): (&(u64, u64), &&Span)| {
        let end = span.position + span.samples;
        // While a time line settles, what was hidden may still move to an earlier place.
        let early = if *from < 4_000 { slack - UNDER_WAY } else { 0 };
        (from.saturating_sub(early)..=*from).contains(&span.position)
            && (*until..=*until + slack).contains(&end)
    };
    if real.len() != told.len() || !real.iter().zip(&told).all(alike) {
        verdict
            .faults
            .push(format!("pauses are {real:?}, the manifest lists {told:?}"));
    }
}

/// One channel on the bench.
struct Bench<'a> {
    world: &'a World,
    life: &'a Life,
    started: Instant,
    side: usize,
    samples: &'a [i16],
    channel: &'a Channel,
}

impl Bench<'_> {
    fn compare(&self, turns: &[Turn<'_>], verdict: &mut Verdict) {
        let mut ought = vec![Ought::Nothing; self.samples.len()];
        for turn in turns {
            self.place(turn, &mut ought, verdict);
        }
        // What was under way when the party changed, and how early the next one's first packet may lie.
        let changes = turns.iter().skip(1).map(|turn| turn.from);
        let end = self.life.closing.unwrap_or(self.world.now());
        let ends = turns.iter().map(|turn| turn.until).filter(|at| *at < end);
        for change in changes.chain(ends).filter(|change| *change > self.started) {
            let at = samples_between(self.started, change) as usize;
            let edge = self.lead() as usize;
            let end = (at + edge).min(ought.len());
            ought[at.saturating_sub(edge).min(end)..end].fill(Ought::Anything);
        }
        self.check(&ought, verdict);
    }

    /// Writes down what ought to be there of one party.
    fn place(&self, turn: &Turn<'_>, ought: &mut [Ought], verdict: &mut Verdict) {
        let (from, until) = (turn.from.max(self.started), turn.until);
        let came = |s: &&Spoken<'_>| {
            let at = s.flight.arrived;
            s.law.is_some() && at.is_some_and(|at| from < at && at <= until)
        };
        let loud = |s: &&Spoken<'_>| loud(&s.packet.payload, s.law);
        let came: Vec<&Spoken<'_>> = turn.spoken.iter().filter(came).collect();
        let Some(first) = came.first() else {
            return;
        };
        let loud: Vec<&Spoken<'_>> = came.iter().copied().filter(loud).collect();
        let sure = |s: &&&Spoken<'_>| !self.in_pause(s) && !self.is_unkept(s);
        let sure: Vec<&Spoken<'_>> = loud.iter().filter(sure).copied().collect();
        let found = self.align(sure.iter().chain(&loud).copied());
        let (anchor, at) = match found {
            Some(found) => found,
            // Silence looks the same everywhere: it is taken to lie where it arrived.
            None if loud.is_empty() => (*first, self.soonest(first)),
            // Too little to be sure of anything.
            None if sure.len() < 10 => {
                let place = |at| samples_between(self.started, at) as usize;
                let (from, until) = (place(from), place(until) + self.lead() as usize);
                let until = until.min(ought.len());
                return ought[from.min(until)..until].fill(Ought::Anything);
            }
            None => {
                let what = format!("channel {}: nothing of its party is there", self.side);
                return verdict.faults.push(what);
            }
        };
        let skew = &mut verdict.skew[self.side];
        *skew = skew.or(found.map(|_| at - self.soonest(anchor)));
        self.lay_out(turn, (anchor, at), ought);
    }

    /// Where samples of a turn may lie; the first begins with the recording, the last ends with it.
    fn within(&self, turn: &Turn<'_>, length: usize) -> Range<usize> {
        let place = |at| samples_between(self.started, at) as usize;
        let end = self.life.closing.unwrap_or(self.world.now());
        match turn.until < end {
            true => place(turn.from)..place(turn.until) + self.lead() as usize,
            false => place(turn.from)..length,
        }
    }

    /// How much later than it arrived the beginning of a party may lie.
    fn lead(&self) -> u64 {
        let media = &self.world.net.media;
        400 + samples_between(self.started, self.started + media.jitter + media.held_back)
    }

    /// Where a packet lay had it come as fast as the network can.
    fn soonest(&self, spoken: &Spoken<'_>) -> i64 {
        let at = spoken.flight.sent + self.world.net.media.delay;
        samples_between(self.started, at) as i64 - samples_between(at, self.started) as i64
    }

    fn in_pause(&self, spoken: &Spoken<'_>) -> bool {
        let at = self.soonest(spoken);
        let slack = 8 * 250;
        let near = |(from, until): &(u64, Option<u64>)| {
            at + slack >= *from as i64 && at - slack <= until.unwrap_or(u64::MAX >> 1) as i64
        };
        self.life.pauses.iter().any(near)
    }

    /// Whether the end of the recording or a gap of our own may have taken a packet.
    fn is_unkept(&self, spoken: &Spoken<'_>) -> bool {
        let at = self.soonest(spoken);
        let slack = 8 * 250;
        let gaps = self
            .channel
            .gaps
            .iter()
            .filter(|gap| gap.reason.is_our_loss());
        let mut gaps = gaps.map(|gap| (gap.position as i64, (gap.position + gap.samples) as i64));
        let cut = self.life.closing.is_none() && at + slack >= self.samples.len() as i64;
        cut || gaps.any(|(from, until)| at + slack >= from && at - slack <= until)
    }

    /// A packet and where it lies, such that most others lie where they should beside it: one alone may
    /// not be there, and a coded voice says the same for three packets in a row.
    fn align<'a>(
        &self,
        spoken: impl Iterator<Item = &'a Spoken<'a>>,
    ) -> Option<(&'a Spoken<'a>, i64)> {
        let found = spoken.take(200).map(|s| (s, self.search(s)));
        let found = found.filter(|(_, places)| !places.is_empty());
        let found: Vec<(&Spoken<'_>, Vec<i64>)> = found.take(20).collect();
        let first = found.first()?.0;
        let since = |s: &Spoken<'_>| i64::from(s.packet.timestamp.since(first.packet.timestamp));
        let mut votes: BTreeMap<i64, usize> = BTreeMap::new();
        for (s, places) in &found {
            for place in places {
                *votes.entry(place - since(s)).or_default() += 1;
            }
        }
        let near = |at: i64| (at - self.soonest(first)).abs();
        let best = votes
            .iter()
            .max_by_key(|(at, votes)| (**votes, -near(**at)));
        best.map(|(at, _)| (first, *at))
    }

    /// Where a packet's samples lie in the channel, near where they should.
    fn search(&self, spoken: &Spoken<'_>) -> Vec<i64> {
        let Some(law) = spoken.law else {
            return Vec::new();
        };
        let wanted = decoded(&spoken.packet.payload, law);
        let around = self.soonest(spoken);
        let slack = 8 * 250;
        let from = (around - slack).max(0) as usize;
        let to = ((around + slack).max(0) as usize).min(self.samples.len());
        let hay = self.samples.get(from..to).unwrap_or(&[]);
        let found = hay.windows(wanted.len()).enumerate();
        let found = found.filter(|(_, window)| *window == wanted);
        found.map(|(at, _)| (from + at) as i64).collect()
    }

    /// Writes down what ought to be there, all of it placed by one packet's place.
    fn lay_out(&self, turn: &Turn<'_>, (anchor, at): (&Spoken<'_>, i64), ought: &mut [Ought]) {
        let (spoken, begin) = (&turn.spoken[..], turn.from.max(self.started));
        let place =
            |s: &Spoken<'_>| at + i64::from(s.packet.timestamp.since(anchor.packet.timestamp));
        let in_call = |s: &Spoken<'_>| {
            s.flight
                .arrived
                .is_some_and(|at| at > begin && at <= turn.until)
        };
        let heard = |s: &Spoken<'_>| s.law.is_some() && in_call(s);
        let first = spoken.iter().position(heard).unwrap_or(0);
        let last = spoken.iter().rposition(heard).unwrap_or(0);
        let own = self.within(turn, ought.len());
        let mut paint = |from: i64, what: &mut dyn FnMut(usize) -> Ought, length: usize| {
            for offset in 0..length {
                let position = usize::try_from(from + offset as i64).ok();
                let position = position.filter(|at| own.contains(at));
                if let Some(slot) = position.and_then(|p| ought.get_mut(p)) {
                    *slot = what(offset);
                }
            }
        };
        // What was lost between the last speech before the recording and the first in it, speech or a
        // key, was somewhere in the silence between them.
        let speech = |s: &Spoken<'_>| s.law.is_some() && s.flight.arrived.is_some();
        let prior = spoken[..first].iter().rposition(speech).unwrap_or(0);
        if spoken[prior..first]
            .iter()
            .any(|s| s.flight.arrived.is_none())
        {
            paint(
                0,
                &mut |_| Ought::Somewhere,
                place(&spoken[first]).max(0) as usize,
            );
        }
        for (n, s) in spoken.iter().enumerate() {
            let from = place(s);
            let audio = s.law.map(|law| decoded(&s.packet.payload, law));
            let within = first < n && n < last;
            match (s.flight.arrived, audio) {
                (None, audio) if within => {
                    let (before, behind) = around(spoken, n);
                    if let Some(audio) = audio.filter(|_| runs_on(&spoken[before..=behind])) {
                        paint(from, &mut |_| Ought::Lost, audio.len());
                        continue;
                    }
                    let begins =
                        place(&spoken[before]) + spoken[before].packet.payload.len() as i64;
                    let length = (place(&spoken[behind]) - begins).max(0) as usize;
                    paint(begins, &mut |_| Ought::Somewhere, length);
                }
                (Some(_), Some(audio)) if in_call(s) => {
                    paint(from, &mut |o| Ought::Audio(audio[o]), audio.len());
                }
                (_, Some(audio)) => paint(from, &mut |_| Ought::Anything, audio.len()),
                // A press lasts 100 ms from its time stamp and is followed by a pause.
                (_, None) => paint(from, &mut |_| Ought::Anything, 8 * 220),
            }
        }
    }

    fn check(&self, ought: &[Ought], verdict: &mut Verdict) {
        let gaps = self.gaps(&mut verdict.faults);
        let torn = self.life.closing.is_none();
        let lead = self.lead();
        let mut runs: BTreeMap<&'static str, (usize, usize, usize)> = BTreeMap::new();
        let mut pauses = self.life.pauses.iter().peekable();
        for (at, (&sample, &ought)) in self.samples.iter().zip(ought).enumerate() {
            while pauses
                .next_if(|(_, until)| until.is_some_and(|u| u <= at as u64))
                .is_some()
            {}
            let paused = pauses.peek().is_some_and(|(from, _)| *from <= at as u64);
            let silent = sample.abs() <= QUIET;
            let gap = gaps[at];
            let wrong = match ought {
                _ if paused && !silent => Some("audio inside a pause"),
                _ if paused && gap != Some(GapReason::Paused) => Some("a pause that is not listed"),
                _ if paused => None,
                _ if gap.is_some() && !silent => Some("audio inside a gap"),
                Ought::Audio(wanted) if sample == wanted && gap.is_none() => {
                    verdict.exact[self.side] += 1;
                    None
                }
                _ if (at as u64) < lead && gap.is_some() => None,
                _ if gap == Some(GapReason::Paused) && self.just_resumed(at as u64) => None,
                // Its gap may have been torn off with the end.
                _ if torn && silent && self.just_resumed(at as u64) => None,
                _ if gap.is_some_and(GapReason::is_our_loss) => {
                    verdict.unkept[self.side] += 1;
                    None
                }
                Ought::Audio(_) if gap.is_some() => Some("a gap where audio arrived"),
                Ought::Audio(_) => Some("other samples than were sent"),
                Ought::Lost if gap == Some(GapReason::Loss) => {
                    verdict.lost[self.side] += 1;
                    None
                }
                // On hold and under a key nothing is expected: that is the better reason.
                Ought::Lost if gap.is_some_and(GapReason::is_on_purpose) => None,
                Ought::Lost => Some("a lost packet that is not listed as loss"),
                Ought::Nothing if gap == Some(GapReason::Loss) => Some("a loss that was none"),
                Ought::Nothing | Ought::Somewhere if gap.is_none() => {
                    Some("silence that is not listed")
                }
                Ought::Nothing | Ought::Somewhere | Ought::Anything => None,
            };
            if let Some(wrong) = wrong {
                let run = runs.entry(wrong).or_insert((at, at, 0));
                (run.1, run.2) = (at, run.2 + 1);
            }
        }
        let side = self.side;
        verdict
            .faults
            .extend(runs.into_iter().map(|(wrong, (first, last, count))| {
                format!("channel {side}: {wrong}: {count} samples from {first} to {last}")
            }));
    }

    fn just_resumed(&self, at: u64) -> bool {
        let slack = under_way(self.world);
        let resumed = self.life.pauses.iter().filter_map(|(_, until)| *until);
        resumed
            .into_iter()
            .any(|until| (until..until + slack).contains(&at))
    }

    /// The reason listed for every sample.
    fn gaps(&self, faults: &mut Vec<String>) -> Vec<Option<GapReason>> {
        let mut gaps = vec![None; self.samples.len()];
        let mut end = 0;
        for line in &self.channel.gaps {
            let until = line.position + line.samples;
            if line.position < end || until > self.samples.len() as u64 || line.samples == 0 {
                faults.push(format!("channel {}: {line:?} after {end}", self.side));
                continue;
            }
            gaps[line.position as usize..until as usize].fill(Some(line.reason));
            end = until;
        }
        gaps
    }
}

/// The speech before and behind a lost packet that came.
fn around(spoken: &[Spoken<'_>], lost: usize) -> (usize, usize) {
    let came = |s: &Spoken<'_>| s.law.is_some() && s.flight.arrived.is_some();
    let before = spoken[..lost].iter().rposition(came).unwrap_or(0);
    let behind = spoken[lost..].iter().position(came);
    (before, behind.map_or(spoken.len() - 1, |at| lost + at))
}

/// Whether speech goes on without a key or a pause: only then can a receiver know where what is
/// missing in it was.
fn runs_on(spoken: &[Spoken<'_>]) -> bool {
    spoken.windows(2).all(|two| {
        let step = two[1].packet.timestamp.since(two[0].packet.timestamp);
        two.iter().all(|s| s.law.is_some()) && step == two[0].packet.payload.len() as i32
    })
}

fn decoded(codes: &[u8], law: Law) -> Vec<i16> {
    codes.iter().map(|&code| g711::decode(law, code)).collect()
}

/// Whether a packet can be told from any other.
fn loud(codes: &[u8], law: Option<Law>) -> bool {
    law.is_some_and(|law| {
        let quiet = codes
            .iter()
            .filter(|&&code| g711::decode(law, code).abs() <= 64)
            .count();
        quiet * 2 < codes.len()
    })
}
