//! Everything one media thread owns, and the door to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_audio::prompt::Prompt;
use duolog_rtp::event::Digit;
use duolog_rtp::rtcp;
use duolog_rtp::source::Figures;

use crate::command::{Command, How, LegIdentity, PeerMedia};
use crate::counters::{Counters, DropReason};
use crate::formats::G729;
use crate::leg::{Digits, Leg, PortUse, Taken};
use crate::outbox::{Completion, Connect, Entry, Event, Outbox};
use crate::playing::begin_digits;
use crate::prompt::Playing;
use crate::record::{Recording, Spooling};
use crate::settings::ShardSettings;
use crate::slab::Slab;
use crate::timers::{Timer, Timers};
use crate::track::{Block, Workbench};
use crate::{LegKey, PlayKey, PortId, RecordingKey};

/// The media of many calls, owned by one thread.
///
/// 1. Give it datagrams and commands as they come, each with the time.
/// 2. When [`Shard::deadline`] has come, and all datagrams that came before it were given, tick it.
/// 3. After each of these do what the [`Outbox`] says, and give written blocks back.
pub struct Shard {
    pub(crate) settings: ShardSettings,
    pub(crate) ports: Vec<Option<(usize, PortUse)>>,
    pub(crate) legs: Slab<Leg>,
    pub(crate) leg_index: BTreeMap<LegKey, usize>,
    pub(crate) recordings: Slab<Recording>,
    pub(crate) recording_index: BTreeMap<RecordingKey, usize>,
    /// Recordings that were opened before a leg of theirs.
    pub(crate) expected: BTreeMap<LegKey, Vec<usize>>,
    pub(crate) timers: Timers,
    pub(crate) bench: Workbench,
    pub(crate) spooling: Spooling,
    /// Entries made by what runs now, on their way to the outbox.
    pub(crate) entries: Vec<Entry>,
    pub(crate) counters: Counters,
    /// Where packets are made.
    pub(crate) scratch: Vec<u8>,
}

/// What is known of one leg's media (SPEC C5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegFigures {
    /// Of the packets its peer sent, since its present source began; zero before the first packet.
    pub received: Figures,
    /// What its peer reported of the packets sent to it, if it did.
    pub reported: Option<rtcp::Peer>,
    /// How fast its peer's clock runs against ours, in parts per million; positive is fast.
    pub drift_ppm: Option<f64>,
    /// Interarrival jitter of the packets its peer sent, in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: Option<f64>,
    /// From here to its peer and back, as last measured by RTCP.
    pub round_trip: Option<Duration>,
    /// What a listener would make of what its peer sent, 1 to 4.5 (ITU-T G.107), as far as loss and
    /// delay decide it: only G.729 is rated as itself, every other codec, wideband too, as G.711.
    /// `None` before the first packet.
    pub mos: Option<f64>,
}

impl Shard {
    /// A shard without legs.
    #[must_use]
    pub fn new(settings: ShardSettings) -> Shard {
        Shard {
            bench: Workbench::new(settings.sabotage),
            settings,
            ports: Vec::new(),
            legs: Slab::new(),
            leg_index: BTreeMap::new(),
            recordings: Slab::new(),
            recording_index: BTreeMap::new(),
            expected: BTreeMap::new(),
            timers: Timers::default(),
            spooling: Spooling::default(),
            entries: Vec::with_capacity(256),
            counters: Counters::default(),
            scratch: Vec::with_capacity(2_048),
        }
    }

    /// What was counted since the shard was made.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Figures of one leg, if there is such a leg.
    #[must_use]
    pub fn leg_figures(&self, leg: LegKey) -> Option<LegFigures> {
        Some(self.legs.at(*self.leg_index.get(&leg)?)?.figures())
    }

    /// How many legs there are.
    #[must_use]
    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    /// How many recordings there are that were not closed.
    #[must_use]
    pub fn recordings(&self) -> usize {
        self.recordings.len()
    }

    /// How many refused entries wait to be handed out again.
    #[must_use]
    pub fn entries_waiting(&self) -> usize {
        self.spooling.backlog.len()
    }

    /// When [`Shard::tick`] is wanted next; it may turn out that nothing was due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.spooling.retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Instant, out: &mut Outbox) {
        self.retry_spool(now, out);
        while let Some((due, timer)) = self.timers.pop(now) {
            match timer {
                Timer::Leg(index) => {
                    if self
                        .legs
                        .at_mut(index)
                        .is_some_and(|leg| leg.alarm.rings(due))
                    {
                        self.wake_leg(now, index, out);
                    }
                }
                Timer::Recording(index) => {
                    let recording = self.recordings.at_mut(index);
                    if recording.is_some_and(|recording| recording.alarm.rings(due)) {
                        self.wake_recording(now, index);
                    }
                }
            }
        }
        self.hand_out(now, out);
    }

    /// Does what the call's policy asks.
    pub fn command(&mut self, now: Instant, command: Command, out: &mut Outbox) {
        let done = match command {
            Command::Open {
                leg,
                rtp,
                rtcp,
                identity,
            } => self.open_leg(now, leg, (rtp, rtcp), identity),
            Command::Connect { leg, peer } => self.connect_leg(now, leg, &peer, out),
            Command::Bridge { a, b } => self.bridge(a, b),
            Command::TakeDigits { leg } => self.take_digits(leg),
            Command::SendDigits { leg, digits } => self.send_digits(now, leg, digits, out),
            Command::Play {
                leg,
                play,
                sound,
                how,
            } => self.play(now, leg, (play, sound, how), out),
            Command::StopPlaying { leg } => self.stop_playing(leg, out),
            Command::Close { leg } => self.close_leg(now, leg, out),
            Command::Record { recording, command } => self.record(now, recording, command),
        };
        if done.is_none() {
            self.counters.drop(DropReason::Command);
        }
        self.hand_out(now, out);
    }

    /// Takes a block back whose bytes were written.
    pub fn recycle(&mut self, block: Box<Block>) {
        self.bench.free.put(block);
    }

    fn leg_named(&mut self, key: LegKey) -> Option<(usize, &mut Leg)> {
        let index = *self.leg_index.get(&key)?;
        Some((index, self.legs.at_mut(index)?))
    }

    fn open_leg(
        &mut self,
        now: Instant,
        key: LegKey,
        ports: (PortId, PortId),
        identity: LegIdentity,
    ) -> Option<()> {
        let (rtp, rtcp) = (ports.0.0 as usize, ports.1.0 as usize);
        let is_free = |port: usize| self.ports.get(port).is_none_or(Option::is_none);
        if self.leg_index.contains_key(&key) || !is_free(rtp) || !is_free(rtcp) {
            return None;
        }
        let index = self
            .legs
            .insert(Leg::new(key, ports, identity, now, &self.settings));
        self.leg_index.insert(key, index);
        let needed = rtp.max(rtcp) + 1;
        if self.ports.len() < needed {
            self.ports.resize(needed, None);
        }
        self.ports[rtcp] = Some((index, PortUse::Rtcp));
        self.ports[rtp] = Some((index, PortUse::Rtp));
        self.timers.reserve(self.legs.len() + self.recordings.len());
        self.join_recordings(now, key, index);
        Some(())
    }

    fn connect_leg(
        &mut self,
        now: Instant,
        key: LegKey,
        peer: &PeerMedia,
        out: &mut Outbox,
    ) -> Option<()> {
        let g729 = match self.settings.g729 {
            Some(_) => G729::Installed,
            None => G729::Missing,
        };
        let library = self.settings.g729.clone();
        let (index, leg) = self.leg_named(key)?;
        let held_before = leg.is_held();
        leg.connect(now, peer, g729, out);
        leg.listen(library.as_ref());
        let held = leg.is_held();
        if held != held_before {
            let leg = self.legs.at(index)?;
            for tap in &leg.taps {
                if let Some(recording) = self.recordings.at_mut(tap.recording) {
                    recording.hold(tap.channel, held, now);
                }
            }
        }
        self.send_due_handshake(now, index, out);
        self.schedule_leg(index);
        Some(())
    }

    fn bridge(&mut self, a: LegKey, b: LegKey) -> Option<()> {
        let (a, _) = self.leg_named(a)?;
        let (b, _) = self.leg_named(b)?;
        if a == b {
            return None;
        }
        if self.legs.at(a)?.bridged == Some(b) {
            return Some(());
        }
        for leg in [a, b] {
            let old = self.legs.at_mut(leg)?.bridged.take();
            if let Some(old) = old.and_then(|old| self.legs.at_mut(old)) {
                old.bridged = None;
            }
        }
        for (leg, other) in [(a, b), (b, a)] {
            let leg = self.legs.at_mut(leg)?;
            leg.bridged = Some(other);
            leg.outgoing.begin_anew();
            leg.interrupt();
        }
        Some(())
    }

    fn take_digits(&mut self, key: LegKey) -> Option<()> {
        let library = self.settings.g729.clone();
        let (_, leg) = self.leg_named(key)?;
        if let Digits::Relayed = leg.digits {
            leg.digits = Digits::Taken(Taken::new());
        }
        leg.listen(library.as_ref());
        Some(())
    }

    fn send_digits(
        &mut self,
        now: Instant,
        key: LegKey,
        digits: Vec<Digit>,
        out: &mut Outbox,
    ) -> Option<()> {
        let library = self.settings.g729.clone();
        let (index, leg) = self.leg_named(key)?;
        if digits.is_empty() {
            return None;
        }
        if let Some(sending) = &mut leg.sending {
            return sending.more(digits);
        }
        begin_digits(leg, digits, now, library.as_ref())?;
        self.wake_leg(now, index, out);
        Some(())
    }

    fn play(
        &mut self,
        now: Instant,
        key: LegKey,
        (play, sound, how): (PlayKey, Arc<Prompt>, How),
        out: &mut Outbox,
    ) -> Option<()> {
        let (index, leg) = self.leg_named(key)?;
        leg.begin_under(how);
        let cut = leg.players.play(how, Playing::new(play, sound, now));
        if let Some(play) = cut {
            out.events.push(Event::Played {
                leg: key,
                play,
                completion: Completion::Cut,
            });
        }
        self.wake_leg(now, index, out);
        Some(())
    }

    fn stop_playing(&mut self, key: LegKey, out: &mut Outbox) -> Option<()> {
        let (_, leg) = self.leg_named(key)?;
        for play in leg.players.stop().into_iter().flatten() {
            out.events.push(Event::Played {
                leg: key,
                play,
                completion: Completion::Cut,
            });
        }
        Some(())
    }

    fn close_leg(&mut self, now: Instant, key: LegKey, out: &mut Outbox) -> Option<()> {
        self.stop_playing(key, out)?;
        let index = self.leg_index.remove(&key)?;
        self.say_goodbye(now, index, out);
        self.leave_recordings(now, index);
        let leg = self.legs.remove(index)?;
        if let Some(other) = leg.bridged.and_then(|other| self.legs.at_mut(other)) {
            other.bridged = None;
        }
        let connected = leg.peer.is_some();
        for port in [leg.ports.0, leg.ports.1] {
            self.ports[port.0 as usize] = None;
            if connected {
                out.connects.push(Connect { port, peer: None });
            }
        }
        Some(())
    }

    /// Everything that is due for a leg.
    pub(crate) fn wake_leg(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        self.send_due_handshake(now, index, out);
        self.send_due_digits(now, index, out);
        self.send_due_frames(now, index, out);
        self.send_due_report(now, index, out);
        let timeout = self.settings.media_timeout;
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        let key = leg.key;
        if let Digits::Taken(taken) = &mut leg.digits {
            if let Some(digit) = taken.collector.expire(now) {
                out.events.push(Event::Digit { leg: key, digit });
            }
            if let Some(ear) = &mut taken.ear {
                ear.expire(now);
                ear.tell(key, out);
            }
        }
        if leg.silent_at(timeout).is_some_and(|at| at <= now) {
            leg.heard.timeout_told = true;
            // Its next packet is news again.
            leg.heard.first_told = false;
            out.events.push(Event::MediaTimeout { leg: key });
        }
        self.schedule_leg(index);
    }

    pub(crate) fn schedule_leg(&mut self, index: usize) {
        if let Some(leg) = self.legs.at_mut(index) {
            let due = leg.deadline(self.settings.media_timeout);
            self.timers.set(Timer::Leg(index), &mut leg.alarm, due);
        }
    }

    /// Takes back an entry that the spool's full queue refused, in the order they were handed out,
    /// with all of that recording behind it. Small entries wait and are handed out again; a block
    /// becomes a gap.
    pub fn entry_refused(&mut self, now: Instant, entry: Entry) {
        self.refuse(now, entry);
    }

    pub(crate) fn port_use(&self, port: PortId) -> Option<(usize, PortUse)> {
        self.ports.get(port.0 as usize).copied().flatten()
    }

    /// Takes a datagram that came to `port` from `from` at `arrived`: the kernel's time stamp where
    /// there is one, else `now`. Relays it, records it, and counts it if it can not be used.
    ///
    /// `datagram` is decrypted in place where the leg's media is protected.
    pub fn receive(
        &mut self,
        now: Instant,
        arrived: Instant,
        port: PortId,
        from: SocketAddr,
        datagram: &mut [u8],
        out: &mut Outbox,
    ) {
        self.counters.received += 1;
        if let Err(reason) = self.take_datagram((now, arrived), port, from, datagram, out) {
            self.counters.drop(reason);
        }
        if !self.entries.is_empty() {
            self.hand_out(now, out);
        }
    }
}
