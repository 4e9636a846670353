//! From a spool's frames to a time line: pure, one frame at a time.

use crate::format::{SAMPLE_RATE_HZ, SampleFormat, coded_channel};
use crate::frames::{placed, rate_needed_hz};
use crate::gap::GapReason;
use crate::timeline::{Access, CodedRun, Cover, DRIFT_TICKS, PlacedFact, Placer, Run, Timeline};
use crate::wall::WallTime;
use crate::wire::{End, Ending, Fact, Keeping, Opening};
use duolog_spool::{Closing, Frame};

/// No recording is longer: 31 days. What claims to lie beyond is a flaw, not hours of silence to make.
pub(crate) const MAX_TICKS: u64 = 31 * 24 * 3_600 * SAMPLE_RATE_HZ as u64;

/// No more flaws than these are told apart.
const MAX_FLAWS: usize = 20;

/// Takes a recording's frames, in order.
#[derive(Debug)]
pub(crate) struct Assembly {
    opening: Option<(WallTime, Opening)>,
    seal: Option<Seal>,
    latest: WallTime,
    furthest: u64,
    placer: Placer,
    runs: Vec<Run>,
    coded: [Coded; 2],
    rate_hz: u32,
    listed: [Vec<(u64, u64, GapReason)>; 2],
    facts: Vec<PlacedFact>,
    flaws: Vec<String>,
    /// Per channel, what could not be read.
    locked: [Vec<(u64, u64)>; 2],
    /// The recording's key is there: it was kept.
    unlocked: bool,
}

/// One channel's coded frames.
#[derive(Debug, Default)]
struct Coded {
    placer: Placer,
    runs: Vec<CodedRun>,
}

impl Default for Assembly {
    fn default() -> Assembly {
        Assembly {
            opening: None,
            seal: None,
            latest: WallTime::default(),
            furthest: 0,
            placer: Placer::default(),
            runs: Vec::new(),
            coded: Default::default(),
            rate_hz: SAMPLE_RATE_HZ,
            listed: Default::default(),
            facts: Vec::new(),
            flaws: Vec::new(),
            locked: Default::default(),
            unlocked: false,
        }
    }
}

#[derive(Debug)]
struct Seal {
    position: u64,
    at: WallTime,
    ending: Ending,
}

impl Assembly {
    /// Takes the next frame.
    pub(crate) fn push(&mut self, frame: &Frame) {
        match frame {
            Frame::Open { wall_us, payload } => self.open(*wall_us, payload),
            Frame::Audio {
                position,
                format,
                samples,
                payload,
            } => match coded_channel(*format) {
                Some(channel) => self.coded(channel, *position, u64::from(*samples), payload),
                None => self.audio(*position, u64::from(*samples), *format, payload.len()),
            },
            Frame::Locked {
                position,
                format,
                samples,
                ..
            } => self.locked(*position, u64::from(*samples), *format),
            Frame::Key { .. } => self.unlocked = true,
            Frame::Gap {
                channel,
                position,
                samples,
                reason,
            } => {
                self.gap(*channel, *position, *samples, GapReason::from_code(*reason));
            }
            Frame::Fact {
                position,
                wall_us,
                payload,
            } => self.fact(*position, *wall_us, payload),
            Frame::Seal {
                position,
                wall_us,
                closing,
                payload,
            } => {
                self.seal(*position, *wall_us, *closing, payload);
            }
        }
    }

    /// Notes something that the spool could not give back.
    pub(crate) fn flaw(&mut self, sentence: String) {
        if self.flaws.len() < MAX_FLAWS && !self.flaws.contains(&sentence) {
            self.flaws.push(sentence);
        }
    }

    /// The time line; a recording without a seal counts as interrupted.
    pub(crate) fn finish(mut self) -> Timeline {
        if self.opening.is_none() {
            self.flaw("the opening frame is missing: who called whom is not known".to_owned());
        }
        let (opened_at, opening) = self.opening.take().unwrap_or_default();
        let (sealed, at, ending) = match self.seal.take() {
            Some(seal) => (seal.position, seal.at, seal.ending),
            None => (self.furthest, self.latest, interrupted()),
        };
        let audio_end = self.runs.last().map_or(0, |run| run.position + run.samples);
        // A coded frame cannot be cut where the recording ended; what it has too much is not heard.
        let length = match ending.end {
            End::Interrupted => sealed.max(self.furthest),
            _ => sealed.max(audio_end),
        };
        let access = self.access(&opening);
        self.list_locked(access);
        let gaps = [
            self.gaps_of(0, length, &ending),
            self.gaps_of(1, length, &ending),
        ];
        let ended_at = match ending.end {
            End::Interrupted => at.min(self.last_known(opened_at, length)),
            _ => at,
        };
        let Assembly {
            runs,
            coded,
            rate_hz,
            facts,
            flaws,
            ..
        } = self;
        let ended_at = ended_at.max(opened_at);
        Timeline {
            opening,
            opened_at,
            ending,
            ended_at,
            length,
            rate_hz,
            runs,
            coded: coded.map(|coded| coded.runs),
            gaps,
            facts,
            flaws,
            access,
        }
    }

    fn open(&mut self, wall_us: u64, payload: &[u8]) {
        let at = self.seen_at(wall_us);
        let opening = Opening::parse(payload).unwrap_or_else(|error| {
            self.flaw(format!("who called whom is not known: {error}"));
            Opening::default()
        });
        self.opening.get_or_insert((at, opening));
    }

    fn audio(&mut self, position: u64, samples: u64, format: u8, bytes: usize) {
        if !self.reaches(position, samples) {
            return;
        }
        let known = SampleFormat::from_code(format);
        let Some(format) =
            known.filter(|known| samples * known.frame_bytes() as u64 == bytes as u64)
        else {
            self.flaw(format!(
                "audio in a format that this version cannot read (code {format})"
            ));
            for listed in &mut self.listed {
                listed.push((position, position + samples, GapReason::Unknown));
            }
            return;
        };
        let Some(place) = self.placer.place(position, samples) else {
            return;
        };
        match self.runs.last_mut() {
            Some(run) if run.position + run.samples == place.position && run.format == format => {
                run.samples += place.samples;
            }
            _ => self.runs.push(Run {
                position: place.position,
                samples: place.samples,
                format,
            }),
        }
    }

    fn locked(&mut self, position: u64, samples: u64, format: u8) {
        if !self.reaches(position, samples) {
            return;
        }
        let end = position + samples;
        for (channel, locked) in self.locked.iter_mut().enumerate() {
            if coded_channel(format).is_some_and(|coded| coded != channel) {
                continue;
            }
            match locked.last_mut() {
                Some((_, until)) if *until >= position => *until = end.max(*until),
                _ => locked.push((position, end)),
            }
        }
    }

    /// The key decides: a fact may be on disk without it.
    fn access(&self, opening: &Opening) -> Access {
        let locked = self.locked.iter().any(|locked| !locked.is_empty());
        let provisional = opening.standing.keeping == Keeping::Provisional || locked;
        match provisional && !self.unlocked {
            true => Access::Locked,
            false => Access::Open,
        }
    }

    fn list_locked(&mut self, access: Access) {
        let reason = match access {
            Access::Locked => GapReason::NotKept,
            // Its key is there and does not open it.
            Access::Open => GapReason::Unknown,
        };
        for (locked, listed) in self.locked.iter().zip(&mut self.listed) {
            listed.extend(locked.iter().map(|&(from, until)| (from, until, reason)));
        }
    }

    /// A stretch's coded frames of one channel. A frame may reach beyond its stretch.
    fn coded(&mut self, channel: usize, position: u64, ticks: u64, list: &[u8]) {
        if !self.reaches(position, ticks) {
            return;
        }
        let read = placed(position, list);
        if read.damaged {
            self.flaw("a list of coded frames is cut off or wrong".to_owned());
        }
        for frame in read.frames {
            if frame.position >= position + ticks {
                self.flaw("a coded frame lies outside its stretch".to_owned());
                continue;
            }
            let Some(codec) = frame.codec else {
                self.flaw("audio in a codec that this version cannot read".to_owned());
                let until = frame.position + frame.ticks;
                self.listed[channel].push((frame.position, until, GapReason::Unknown));
                continue;
            };
            let coded = &mut self.coded[channel];
            let Some(place) = coded.placer.place(frame.position, frame.ticks) else {
                continue;
            };
            self.rate_hz = self.rate_hz.max(rate_needed_hz(codec, frame.payload));
            let end = place.position + place.samples;
            match coded.runs.last_mut() {
                Some(run)
                    if run.codec == codec
                        && place.position - run.position - run.samples <= DRIFT_TICKS =>
                {
                    run.samples = end - run.position;
                }
                _ => coded.runs.push(CodedRun {
                    position: place.position,
                    samples: place.samples,
                    codec,
                }),
            }
        }
    }

    fn gap(&mut self, channel: u8, position: u64, samples: u64, reason: GapReason) {
        if !self.reaches(position, samples) {
            return;
        }
        match self.listed.get_mut(usize::from(channel)) {
            Some(listed) => listed.push((position, position + samples, reason)),
            None => self.flaw(format!(
                "a gap of a channel that does not exist ({channel})"
            )),
        }
    }

    fn fact(&mut self, position: u64, wall_us: u64, payload: &[u8]) {
        let at = self.seen_at(wall_us);
        if !self.reaches(position, 0) {
            return;
        }
        match Fact::parse(payload) {
            Ok(fact) => self.facts.push(PlacedFact { position, at, fact }),
            Err(error) => self.flaw(format!("a fact is not readable: {error}")),
        }
    }

    fn seal(&mut self, position: u64, wall_us: u64, closing: Closing, payload: &[u8]) {
        let at = self.seen_at(wall_us);
        if !self.reaches(position, 0) {
            return;
        }
        let ending = match closing {
            Closing::Interrupted => interrupted(),
            Closing::Ended => Ending::parse(payload).unwrap_or_else(|error| {
                self.flaw(format!("how the call ended is not known: {error}"));
                Ending::default()
            }),
        };
        self.seal.get_or_insert(Seal {
            position,
            at,
            ending,
        });
    }

    fn seen_at(&mut self, wall_us: u64) -> WallTime {
        let at = WallTime(i64::try_from(wall_us).unwrap_or(i64::MAX));
        self.latest = self.latest.max(at);
        at
    }

    fn reaches(&mut self, position: u64, samples: u64) -> bool {
        let end = position.saturating_add(samples);
        let possible = end <= MAX_TICKS;
        if possible {
            self.furthest = self.furthest.max(end);
        } else {
            self.flaw(format!(
                "something claims to lie at sample {end}, beyond 31 days"
            ));
        }
        possible
    }

    /// When an interrupted recording stops: its seal says when it was found, which may be days later.
    fn last_known(&self, opened_at: WallTime, length: u64) -> WallTime {
        let (position, at) = match self.facts.last() {
            Some(fact) => (fact.position, fact.at),
            None => (0, opened_at),
        };
        let after_us = length.saturating_sub(position) * 1_000_000 / u64::from(SAMPLE_RATE_HZ);
        WallTime(at.0.saturating_add(i64::try_from(after_us).unwrap_or(i64::MAX)))
    }

    /// Where recording was paused, by the facts: a pause is listed as a gap only when it is over, so
    /// the gap of the last one may not have been on disk yet when the recorder stopped.
    fn pauses_told(&self, length: u64) -> Vec<(u64, u64)> {
        let (mut pauses, mut since) = (Vec::new(), None);
        for fact in &self.facts {
            match fact.fact {
                Fact::RecordingPaused { .. } => since = since.or(Some(fact.position)),
                Fact::RecordingResumed { .. } => {
                    pauses.extend(since.take().map(|from| (from, fact.position)));
                }
                _ => {}
            }
        }
        pauses.extend(since.map(|from| (from, length)));
        pauses
    }

    /// What was wanted silent comes first, then what was lost by us, then the rest; and where there is
    /// neither audio nor a reason, it was not on disk yet when the recorder stopped.
    fn gaps_of(&self, channel: usize, length: u64, ending: &Ending) -> Vec<crate::timeline::Gap> {
        let mut listed = self.listed[channel].clone();
        if ending.end == End::Interrupted {
            let pauses = self.pauses_told(length).into_iter();
            listed.extend(pauses.map(|(from, until)| (from, until, GapReason::Paused)));
        }
        listed.sort_by_key(|(from, _, reason)| (rank(*reason), *from));
        let mut cover = Cover::default();
        for (from, until, reason) in listed {
            cover.paint(from, until.min(length), reason);
        }
        let unanswered = matches!(
            ending.end,
            End::NotStarted | End::NotAnswered | End::Refused
        );
        if !(unanswered && self.runs.is_empty()) {
            self.paint_bare(channel, length, ending, &mut cover);
        }
        cover.gaps()
    }

    /// Where one channel has neither blocks nor coded frames, and no reason is listed. Without a block it
    /// was not on disk yet when the recorder stopped. With an empty block everything there was came to
    /// the disk, but for a gap that was not over.
    fn paint_bare(&self, channel: usize, length: u64, ending: &Ending, cover: &mut Cover) {
        let in_empty = match ending.end {
            End::Interrupted => GapReason::LostInCrash,
            _ => GapReason::Unknown,
        };
        let (empty, full): (Vec<&Run>, Vec<&Run>) = self
            .runs
            .iter()
            .partition(|run| run.format == SampleFormat::Empty);
        let coded = self.coded[channel].runs.iter();
        let coded = coded.map(|run| (run.position, run.position + run.samples));
        let full = full
            .iter()
            .map(|run| (run.position, run.position + run.samples));
        let mut there: Vec<(u64, u64)> = coded.chain(full).collect();
        there.sort_unstable();
        'holes: for (from, until) in holes(&there, length) {
            let first = empty.partition_point(|run| run.position + run.samples <= from);
            for run in &empty[first..] {
                let (begin, end) = (run.position, run.position + run.samples);
                if begin >= until {
                    break;
                }
                // What drift took between two frames is bridged.
                let inside = begin <= from && until <= end && from > 0 && until < length;
                if inside && until - from <= DRIFT_TICKS {
                    continue 'holes;
                }
                cover.paint(from.max(begin), until.min(end), in_empty);
            }
            cover.paint(from, until, GapReason::LostInCrash);
        }
    }
}

/// What `there`, in order, leaves bare before `length`.
fn holes(there: &[(u64, u64)], length: u64) -> Vec<(u64, u64)> {
    let (mut holes, mut next) = (Vec::new(), 0);
    for (from, until) in there.iter().copied().chain([(length, length)]) {
        let from = from.min(length);
        if from > next {
            holes.push((next, from));
        }
        next = until.max(next);
    }
    holes
}

fn interrupted() -> Ending {
    Ending {
        end: End::Interrupted,
        ..Ending::default()
    }
}

fn rank(reason: GapReason) -> u8 {
    match reason {
        GapReason::Paused => 0,
        // Whatever else is known of a stretch says more.
        GapReason::NotKept => 5,
        reason if reason.is_on_purpose() => 1,
        reason if reason.is_our_loss() => 2,
        // What was told as silence while nobody knew more may later be told as loss.
        GapReason::Silence => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end_state::{EndState, judge};
    use crate::wire::{Figures, Side};
    use GapReason::{LostInCrash, NotStarted, Paused, Silence, Unknown};

    const MULAW: u8 = 1;

    fn open() -> Frame {
        let opening = Opening {
            owner: "anna".to_owned(),
            ..Opening::default()
        };
        Frame::Open {
            wall_us: 1_000_000,
            payload: opening.write(),
        }
    }

    fn audio(position: u64, samples: u32) -> Frame {
        let payload = vec![0xff; samples as usize * 2];
        Frame::Audio {
            position,
            format: MULAW,
            samples,
            payload,
        }
    }

    fn gap(channel: u8, position: u64, samples: u64, reason: GapReason) -> Frame {
        Frame::Gap {
            channel,
            position,
            samples,
            reason: reason.code(),
        }
    }

    fn both(position: u64, samples: u64, reason: GapReason) -> [Frame; 2] {
        [
            gap(0, position, samples, reason),
            gap(1, position, samples, reason),
        ]
    }

    fn seal(position: u64, end: End) -> Frame {
        let ending = Ending {
            end,
            ..Ending::default()
        };
        let closing = Closing::Ended;
        Frame::Seal {
            position,
            wall_us: 9_000_000,
            closing,
            payload: ending.write(),
        }
    }

    fn torn(position: u64) -> Frame {
        let closing = Closing::Interrupted;
        Frame::Seal {
            position,
            wall_us: 9_000_000,
            closing,
            payload: Vec::new(),
        }
    }

    fn assemble(frames: impl IntoIterator<Item = Frame>) -> Timeline {
        let mut assembly = Assembly::default();
        for frame in frames {
            assembly.push(&frame);
        }
        assembly.finish()
    }

    fn gaps(timeline: &Timeline, channel: usize) -> Vec<(u64, u64, GapReason)> {
        timeline.gaps[channel]
            .iter()
            .map(|g| (g.position, g.samples, g.reason))
            .collect()
    }

    #[test]
    fn runs_gaps_and_facts_come_out_in_order() {
        let mut frames = vec![
            open(),
            gap(1, 0, 160, NotStarted),
            audio(0, 160),
            audio(160, 160),
        ];
        frames.extend(both(320, 800, Paused));
        frames.push(Frame::Fact {
            position: 320,
            wall_us: 2_000_000,
            payload: Fact::Held { by: Side::Owner }.write(),
        });
        frames.extend([audio(1_120, 80), seal(1_200, End::Finished)]);
        let timeline = assemble(frames);
        assert_eq!(timeline.length, 1_200);
        let runs: Vec<_> = timeline
            .runs
            .iter()
            .map(|run| (run.position, run.samples))
            .collect();
        assert_eq!(runs, [(0, 320), (1_120, 80)]);
        assert_eq!(gaps(&timeline, 0), [(320, 800, Paused)]);
        assert_eq!(
            gaps(&timeline, 1),
            [(0, 160, NotStarted), (320, 800, Paused)]
        );
        assert_eq!(timeline.pauses(), [(320, 800)]);
        assert_eq!(timeline.facts.len(), 1);
        assert_eq!(
            (timeline.opened_at, timeline.ended_at),
            (WallTime(1_000_000), WallTime(9_000_000))
        );
        assert!(timeline.flaws.is_empty(), "{:?}", timeline.flaws);
    }

    #[test]
    fn a_hole_without_a_reason_was_lost_in_a_crash() {
        let frames = [
            open(),
            audio(0, 160),
            gap(0, 160, 80, Silence),
            audio(320, 160),
            torn(500),
        ];
        let timeline = assemble(frames);
        assert_eq!(timeline.length, 500);
        let expected = [
            (160, 80, Silence),
            (240, 80, LostInCrash),
            (480, 20, LostInCrash),
        ];
        assert_eq!(gaps(&timeline, 0), expected);
        assert_eq!(
            gaps(&timeline, 1),
            [(160, 160, LostInCrash), (480, 20, LostInCrash)]
        );
        assert_eq!(judge(&timeline).state, EndState::Interrupted);
        assert_eq!(
            timeline.ended_at,
            WallTime(1_062_500),
            "not when it was found"
        );
    }

    #[test]
    fn without_a_seal_it_is_interrupted() {
        let timeline = assemble([open(), audio(0, 160)]);
        assert_eq!(timeline.length, 160);
        assert_eq!(judge(&timeline).state, EndState::Interrupted);
        let nothing = assemble([]);
        assert_eq!((nothing.length, nothing.flaws.len()), (0, 1));
    }

    #[test]
    fn what_is_not_readable_is_a_flaw_and_the_rest_stays() {
        let strange = Frame::Audio {
            position: 0,
            format: 99,
            samples: 160,
            payload: vec![0; 320],
        };
        let short = Frame::Audio {
            position: 160,
            format: MULAW,
            samples: 160,
            payload: vec![0; 7],
        };
        let far = audio(u64::MAX - 5, 160);
        let fact = Frame::Fact {
            position: 0,
            wall_us: 0,
            payload: b"\xff".to_vec(),
        };
        let opening = Frame::Open {
            wall_us: u64::MAX,
            payload: b"not json".to_vec(),
        };
        let stranger = gap(7, 0, 10, Silence);
        let frames = [
            opening,
            strange,
            short,
            far,
            fact,
            stranger,
            audio(320, 80),
            seal(400, End::Finished),
        ];
        let timeline = assemble(frames);
        assert_eq!(gaps(&timeline, 0), [(0, 320, Unknown)]);
        assert_eq!(timeline.length, 400);
        assert_eq!(timeline.flaws.len(), 6, "{:?}", timeline.flaws);
        assert_eq!(judge(&timeline).state, EndState::Partial);
    }

    /// Coded frames of 160 ticks at these offsets of a stretch.
    fn coded(channel: usize, position: u64, samples: u32, frames: &[(u32, u16)]) -> Frame {
        let mut payload = Vec::new();
        for (offset, codec) in frames {
            let (offset, codec) = (*offset, *codec);
            let frame = duolog_audio::coded::CodedFrame {
                offset,
                ticks: 160,
                codec,
                // 20 ms of Opus by its first octet, of G.722 by its length.
                payload: &[15 << 3; 160],
            };
            duolog_audio::coded::push(&mut payload, frame);
        }
        let format = [crate::format::CODED_OWNER, crate::format::CODED_OTHER][channel];
        Frame::Audio {
            position,
            format,
            samples,
            payload,
        }
    }

    fn empty(position: u64, samples: u32) -> Frame {
        Frame::Audio {
            position,
            format: 4,
            samples,
            payload: Vec::new(),
        }
    }

    fn runs(timeline: &Timeline, channel: usize) -> Vec<(u64, u64, u16)> {
        let runs = timeline.coded[channel].iter();
        runs.map(|run| (run.position, run.samples, run.codec.code()))
            .collect()
    }

    #[test]
    fn coded_frames_stand_in_for_blocks() {
        const G722: u16 = 3;
        const OPUS: u16 = 5;
        let frames = [
            open(),
            // A tick of drift between two frames, a tick of overlap, a frame into the next stretch.
            coded(
                0,
                0,
                640,
                &[(0, G722), (161, G722), (320, G722), (560, G722)],
            ),
            coded(1, 0, 640, &[(160, OPUS), (0, OPUS), (320, 777)]),
            empty(0, 640),
            coded(0, 640, 160, &[(80, OPUS), (160, OPUS)]),
            empty(640, 160),
            gap(0, 480, 40, GapReason::Loss),
            gap(0, 520, 40, GapReason::Loss),
            gap(1, 480, 320, Silence),
            seal(800, End::Finished),
        ];
        let timeline = assemble(frames);
        let wanted = [(0, 480, G722), (560, 160, G722), (720, 160, OPUS)];
        assert_eq!(runs(&timeline, 0), wanted);
        assert_eq!(runs(&timeline, 1), [(0, 320, OPUS)]);
        assert_eq!(
            gaps(&timeline, 0),
            [(480, 80, GapReason::Loss)],
            "pieces join"
        );
        assert_eq!(
            gaps(&timeline, 1),
            [(320, 160, Unknown), (480, 320, Silence)]
        );
        assert_eq!((timeline.length, timeline.rate_hz), (800, 48_000));
        assert_eq!(timeline.flaws.len(), 2, "{:?}", timeline.flaws);
        assert!(timeline.has_audio());
    }

    #[test]
    fn what_is_bare_has_a_reason() {
        let frames = |end| {
            [
                open(),
                coded(0, 0, 320, &[(0, 3)]),
                empty(0, 320),
                audio(320, 160),
                coded(0, 640, 320, &[(0, 3), (160, 3)]),
                empty(640, 320),
                end,
            ]
        };
        let finished = assemble(frames(seal(1_000, End::Finished)));
        let lost = [(480, 160, LostInCrash), (960, 40, LostInCrash)];
        assert_eq!(
            gaps(&finished, 0),
            [&[(160, 160, Unknown)][..], &lost].concat()
        );
        assert_eq!(
            gaps(&finished, 1),
            [
                (0, 320, Unknown),
                (480, 160, LostInCrash),
                (640, 320, Unknown),
                (960, 40, LostInCrash)
            ]
        );
        let crashed = assemble(frames(torn(1_000)));
        assert_eq!(
            gaps(&crashed, 0),
            [&[(160, 160, LostInCrash)][..], &lost].concat()
        );
        assert_eq!(judge(&crashed).state, EndState::Interrupted);
    }

    #[test]
    fn audio_that_is_there_twice_counts_once() {
        let frames = [
            open(),
            audio(0, 160),
            audio(80, 160),
            audio(0, 160),
            seal(240, End::Finished),
        ];
        let timeline = assemble(frames);
        assert_eq!(
            timeline.runs,
            [Run {
                position: 0,
                samples: 240,
                format: SampleFormat::Mulaw
            }]
        );
        assert!(gaps(&timeline, 0).is_empty());
    }

    #[test]
    fn a_pause_whose_gap_was_torn_off_is_known_from_its_facts() {
        let fact = |position, fact: Fact| Frame::Fact {
            position,
            wall_us: 2_000_000,
            payload: fact.write(),
        };
        let (by, way) = (Side::Owner, crate::wire::Way::SipInfo);
        let paused = |position| fact(position, Fact::RecordingPaused { by, way });
        let resumed = |position| fact(position, Fact::RecordingResumed { by, way });
        let frames = |end: Frame| {
            let blocks = [
                audio(0, 160),
                audio(160, 160),
                audio(320, 160),
                audio(480, 160),
            ];
            [open()]
                .into_iter()
                .chain([paused(200), resumed(300), paused(400)])
                .chain(blocks)
                .chain([end])
        };
        let torn = assemble(frames(torn(640)));
        for channel in 0..2 {
            let wanted = [(200, 100, Paused), (400, 240, Paused)];
            assert_eq!(gaps(&torn, channel), wanted);
        }
        // Of a recording that came to its end the gaps alone count.
        assert!(gaps(&assemble(frames(seal(640, End::Finished))), 0).is_empty());
    }

    /// An hour of blocks is one run: what is remembered follows from what happened.
    #[test]
    fn length_costs_no_memory() {
        let blocks = (0..11_250).map(|block| audio(block * 2_560, 2_560));
        let timeline = assemble([open()].into_iter().chain(blocks));
        assert_eq!((timeline.length, timeline.runs.len()), (3_600 * 8_000, 1));
        assert!(timeline.gaps.iter().all(Vec::is_empty) && timeline.facts.is_empty());
    }

    #[track_caller]
    fn check(frames: impl IntoIterator<Item = Frame>, state: EndState, reason: &str) {
        let verdict = judge(&assemble([open()].into_iter().chain(frames)));
        assert_eq!(verdict.state, state, "{}", verdict.reason);
        assert!(verdict.reason.contains(reason), "{}", verdict.reason);
    }

    #[test]
    fn end_states_of_calls_with_audio() {
        let whole = [audio(0, 160), seal(160, End::Finished)];
        check(whole, EndState::Complete, "came to its end");
        let lossy = [
            gap(0, 0, 80, GapReason::Loss),
            audio(0, 160),
            seal(160, End::Finished),
        ];
        check(lossy, EndState::Complete, "came to its end");
        let full = [
            audio(0, 160),
            gap(0, 160, 80, GapReason::SpoolFull),
            audio(160, 160),
        ];
        check(
            full.into_iter().chain([seal(320, End::Finished)]),
            EndState::Partial,
            "0.01 s",
        );
        check(
            [audio(0, 160), seal(320, End::Finished)],
            EndState::Partial,
            "0.04 s",
        );
        let one = [
            gap(0, 0, 160, NotStarted),
            audio(0, 160),
            seal(160, End::Finished),
        ];
        check(one, EndState::OneWay, "from the owner");
        let one = [
            gap(1, 0, 160, NotStarted),
            audio(0, 160),
            seal(160, End::Finished),
        ];
        check(one, EndState::OneWay, "from the other party");
    }

    #[test]
    fn end_states_of_silent_unkept_and_broken_calls() {
        let none = both(0, 160, NotStarted);
        check(
            none.into_iter().chain([seal(160, End::Finished)]),
            EndState::NoMedia,
            "either",
        );
        let paused = both(0, 160, Paused);
        check(
            paused.into_iter().chain([seal(160, End::Finished)]),
            EndState::Complete,
            "no audio",
        );
        check(
            [seal(0, End::Finished)],
            EndState::NoMedia,
            "before anything",
        );
        check(
            [seal(0, End::NotAnswered)],
            EndState::NoMedia,
            "not answered",
        );
        check([seal(80, End::Refused)], EndState::Refused, "refused");
        check(
            [audio(0, 160), seal(160, End::NotKept)],
            EndState::NotKept,
            "not to be kept",
        );
        check([seal(0, End::Failed)], EndState::Failed, "before any audio");
        check(
            [audio(0, 160), seal(160, End::Failed)],
            EndState::Partial,
            "mid-call",
        );
        check([audio(0, 160), torn(160)], EndState::Interrupted, "stopped");
    }

    #[test]
    fn packets_that_arrived_speak_for_a_quiet_party() {
        let figures = Some(Figures {
            received: 9,
            ..Figures::default()
        });
        let ending = Ending {
            end: End::Finished,
            owner: figures,
            ..Ending::default()
        };
        let closing = Closing::Ended;
        let seal = Frame::Seal {
            position: 160,
            wall_us: 2,
            closing,
            payload: ending.write(),
        };
        let timeline = assemble([open(), gap(0, 0, 160, Silence), audio(0, 160), seal]);
        assert_eq!(judge(&timeline).state, EndState::Complete);
    }
}
