//! What a leg's peer sends: its source, its time line, and what each packet changes in them.

use std::time::{Duration, Instant};

use duolog_rtp::packet::View;
use duolog_rtp::source::{Kind, Source};
use duolog_rtp::timeline::{Change, DriftCorrection, Follows, SETTLING, Timeline};
use duolog_rtp::{ClockRate, RtpTimestamp, Ssrc};

use crate::counters::DropReason;
use crate::track::Place;

/// Stragglers of a replaced source come this long at most; later the source is back.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// Whether a packet's time stamp is its own sampling instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamped {
    /// Speech or comfort noise: so many ticks of a clock of this rate, 0 if that is not known.
    Itself { ticks: u32, rate: ClockRate },
    /// A telephone-event's is that of the press (RFC 4733 §2.2); other payloads are not trusted.
    Otherwise,
}

/// What a packet did to the time line, for whoever placed earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    None,
    /// What this generation placed lies this many ticks earlier.
    Earlier(u64),
    /// A new generation, which may still move until this instant.
    Anchored(Instant),
}

/// A packet with its place in its source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) place: Place,
    /// Counts the rows of sequence numbers a leg has had: those of one compare.
    pub(crate) run: u32,
    pub(crate) timestamp: RtpTimestamp,
    /// The clock its time stamp is of.
    pub(crate) rate: ClockRate,
    pub(crate) kind: Kind,
    pub(crate) motion: Motion,
}

/// A packet whose time stamp is its own.
#[derive(Clone, Copy)]
struct Timed {
    ssrc: Ssrc,
    timestamp: RtpTimestamp,
    ticks: u32,
    rate: ClockRate,
    here: Place,
}

pub(crate) struct Incoming {
    source: Option<Source>,
    timeline: Timeline,
    /// Whether the time line belongs to the present source.
    anchored: bool,
    /// The source before this one, and when it was replaced.
    replaced: Option<(Ssrc, Instant)>,
    generation: u64,
    /// The present source's row of numbers, and how many there were.
    run: u32,
    runs: u32,
    /// The source of telephone-events and its row of numbers, where that is not the speech's.
    /// Few legs need it: apart, so that the packets of the others stay in fewer cache lines.
    keys: Option<Box<(Source, u32)>>,
    newest: Option<(Place, RtpTimestamp)>,
    /// The packet that carried the time line on last.
    last_timed: Option<Place>,
    settling_until: Option<Instant>,
}

impl Incoming {
    pub(crate) fn new(drift: DriftCorrection) -> Incoming {
        let mut timeline = Timeline::new(ClockRate::HZ_8000);
        timeline.set_drift_correction(drift);
        Incoming {
            source: None,
            timeline,
            anchored: false,
            replaced: None,
            generation: 0,
            run: 0,
            runs: 0,
            keys: None,
            newest: None,
            last_timed: None,
            settling_until: None,
        }
    }

    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Whether packets of `ssrc` are of another source than the present one.
    #[inline]
    pub(crate) fn is_foreign(&self, ssrc: Ssrc) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.ssrc() != ssrc)
    }

    pub(crate) fn source_mut(&mut self) -> Option<&mut Source> {
        self.source.as_mut()
    }

    /// Whether a packet is of the present source.
    pub(crate) fn is_present(&self, arrival: &Arrival) -> bool {
        arrival.run == self.run
    }

    /// For what the peer's sender reports say; packets are given to [`Incoming::receive`].
    pub(crate) fn timeline_mut(&mut self) -> &mut Timeline {
        &mut self.timeline
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The newest packet's place, and the time stamp where it ends.
    pub(crate) fn newest(&self) -> Option<(Place, RtpTimestamp)> {
        self.newest
    }

    /// Until when the time line may move, if it still may.
    pub(crate) fn settling_until(&self, now: Instant) -> Option<Instant> {
        self.settling_until.filter(|&until| now < until)
    }

    /// Where a time stamp of the present clock lies after `origin`, in 1/8000 s; `None` while the source
    /// has no time line.
    #[inline]
    pub(crate) fn ticks_after(&self, origin: Instant, timestamp: RtpTimestamp) -> Option<i64> {
        match self.anchored {
            true => self.timeline.ticks_after(origin, timestamp),
            false => None,
        }
    }

    /// Where a packet lies after `origin`, in 1/8000 s, also one of the clock before the present one.
    #[inline]
    pub(crate) fn place_of(&self, origin: Instant, arrival: &Arrival) -> Option<i64> {
        if !self.anchored {
            return None;
        }
        self.timeline
            .ticks_after_at(arrival.rate, origin, arrival.timestamp)
    }

    /// Takes the next packet of the peer.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        view: &View<'_>,
        stamped: Stamped,
        arrived: Instant,
    ) -> Result<Arrival, DropReason> {
        let (ssrc, timestamp) = (view.ssrc(), view.timestamp());
        let generation_before = self.generation;
        let rate = match stamped {
            Stamped::Itself { rate, .. } => rate,
            Stamped::Otherwise => self.timeline.rate(),
        };
        let source = match &mut self.source {
            Some(source) if source.ssrc() == ssrc => source,
            _ => self.replace(ssrc, rate, arrived)?,
        };
        if source.rate() != rate {
            source.switch_rate(rate);
        }
        let placement = source.update(view.seq(), timestamp, arrived);
        match placement.kind {
            Kind::Probation => return Err(DropReason::Probation),
            Kind::Restarted => {
                self.generation += 1;
                self.runs += 1;
                self.run = self.runs;
            }
            Kind::New | Kind::Reordered | Kind::Duplicate => {}
        }
        let carries_on = matches!(placement.kind, Kind::New | Kind::Restarted);
        let mut motion = Motion::None;
        let mut samples = 0;
        if let Stamped::Itself { ticks, .. } = stamped {
            samples = ticks;
            if carries_on || !self.anchored {
                let here = Place {
                    generation: self.generation,
                    seq: placement.ext_seq.0,
                };
                let packet = Timed {
                    ssrc,
                    timestamp,
                    ticks,
                    rate,
                    here,
                };
                motion = self.place_in_time(packet, arrived, generation_before);
            }
        }
        let place = Place {
            generation: self.generation,
            seq: placement.ext_seq.0,
        };
        if carries_on {
            self.newest = Some((place, timestamp.plus(samples)));
        }
        Ok(Arrival {
            place,
            run: self.run,
            timestamp,
            rate,
            kind: placement.kind,
            motion,
        })
    }

    /// Takes a telephone-event of another source than the speech: some gateways give keys one of
    /// their own. It has numbers to be relayed by, but no place on the speech's time line.
    pub(crate) fn receive_key(
        &mut self,
        view: &View<'_>,
        arrived: Instant,
    ) -> Result<Arrival, DropReason> {
        let (ssrc, timestamp) = (view.ssrc(), view.timestamp());
        let runs = &mut self.runs;
        let mut begin = || {
            *runs += 1;
            Box::new((Source::new(ssrc, ClockRate::HZ_8000), *runs))
        };
        let known = self.keys.take().filter(|keys| keys.0.ssrc() == ssrc);
        let keys = self.keys.insert(known.unwrap_or_else(&mut begin));
        let (source, run) = &mut **keys;
        let placement = source.update(view.seq(), timestamp, arrived);
        if placement.kind == Kind::Restarted {
            *runs += 1;
            *run = *runs;
        }
        let run = *run;
        match placement.kind {
            Kind::Probation => Err(DropReason::Probation),
            kind => Ok(Arrival {
                place: Place {
                    generation: self.generation,
                    seq: placement.ext_seq.0,
                },
                run,
                timestamp,
                rate: self.timeline.rate(),
                kind,
                motion: Motion::None,
            }),
        }
    }

    #[inline]
    fn place_in_time(&mut self, packet: Timed, arrived: Instant, generation_before: u64) -> Motion {
        let Timed {
            ssrc,
            timestamp,
            ticks,
            rate,
            here,
        } = packet;
        let placed = match rate == self.timeline.rate() {
            true => self.timeline.update(ssrc, timestamp, arrived, ticks),
            false => {
                let directly = self.last_timed.is_some_and(|last| {
                    last.generation == here.generation && last.seq + 1 == here.seq
                });
                let follows = match directly {
                    true => Follows::Directly,
                    false => Follows::Otherwise,
                };
                let timeline = &mut self.timeline;
                timeline.switch_rate(rate, follows, ssrc, timestamp, arrived, ticks)
            }
        };
        let motion = match placed.change {
            Change::Steady => Motion::None,
            Change::Shift { ticks } => Motion::Earlier(ticks),
            Change::Reanchored(_) => {
                if self.generation == generation_before {
                    self.generation += 1;
                }
                self.anchored = true;
                let until = arrived + SETTLING;
                self.settling_until = Some(until);
                Motion::Anchored(until)
            }
        };
        self.last_timed = Some(Place {
            generation: self.generation,
            ..here
        });
        motion
    }

    #[cold]
    fn replace(
        &mut self,
        ssrc: Ssrc,
        rate: ClockRate,
        arrived: Instant,
    ) -> Result<&mut Source, DropReason> {
        if let Some((old, when)) = self.replaced
            && old == ssrc
            && arrived.saturating_duration_since(when) < STRAGGLERS
        {
            return Err(DropReason::StaleSource);
        }
        self.replaced = self.source.as_ref().map(|source| (source.ssrc(), arrived));
        self.generation += 1;
        self.runs += 1;
        self.run = self.runs;
        self.anchored = false;
        Ok(self.source.insert(Source::new(ssrc, rate)))
    }
}
