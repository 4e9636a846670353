//! What is to be recorded of a call, said a second time: simple, slow, and without a look at the code
//! that decides it. A call is gone through moment by moment; nothing is shared with the program but the
//! words of a table's row and the names of prompts.

use duolog_archive::EndState;
use duolog_call::PromptName;

use super::table::Stretch;

pub use super::rules::Rules;

/// One end of a call.
#[derive(Debug, Clone)]
pub struct End {
    /// Whose voice.
    pub voice: &'static str,
    /// As it stands in a do-not-record list.
    pub number: &'static str,
    /// How it is recorded; none where it is no user.
    pub rules: Option<Rules>,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// `*44`, `Record: on`.
    Start,
    /// `*45`, `Record: off`.
    Stop,
    /// `*48`, `Record: pause`.
    Pause,
    /// `*49`, `Record: resume`.
    Resume,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// INFO.
    Info,
    /// Three keys.
    Keys,
    /// The HTTP API.
    Api,
    /// `a=recordpref` in an offer, which knows only on, off and pause: on says that there be a recording
    /// that runs.
    Offer,
}

/// What is asked for in a call.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// When, in seconds of the world.
    pub at: f64,
    /// By whom: 0 the caller, 1 who was called.
    pub by: usize,
    /// What.
    pub ask: Ask,
    /// How.
    pub way: Way,
}

/// How long three keys take until the last one is known, and until they are over.
pub const KEYS_S: f64 = 0.42;

impl Event {
    /// When it has its effect.
    fn done(&self) -> f64 {
        match self.way {
            Way::Info | Way::Api | Way::Offer => self.at,
            Way::Keys => self.at + KEYS_S,
        }
    }
}

/// A call as it went.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who called, and who was called.
    pub ends: [End; 2],
    /// The queue or virtual line that the call was for before it came to who was called, as the caller
    /// says: its name and rules.
    pub queue: Option<(&'static str, Rules)>,
    /// Whether the caller is believed that: a trusted trunk is, nobody else.
    pub believed: bool,
    /// Whether the public network takes part.
    pub pstn: bool,
    /// Whether the number was an emergency number.
    pub emergency: bool,
    /// Whether it was with a voicemail system.
    pub voicemail: bool,
    /// Whether the recorder took anything when the call began.
    pub recorder: bool,
    /// When the INVITE came, in seconds of the world.
    pub invited: f64,
    /// When it was answered, if it was.
    pub answered: Option<f64>,
    /// When somebody hung up.
    pub over: f64,
    /// What was asked for.
    pub events: Vec<Event>,
}

/// How long what is spoken takes, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Spoken {
    /// The start announcement.
    pub start_s: f64,
    /// What parties on the public network are told.
    pub compliance_s: f64,
}

impl Spoken {
    /// As long as `seconds` says that each prompt takes.
    #[must_use]
    pub fn of(seconds: impl Fn(PromptName) -> f64) -> Spoken {
        Spoken {
            start_s: seconds(PromptName::RecordingStarts),
            compliance_s: seconds(PromptName::Compliance),
        }
    }
}

/// A recording as it ought to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its owner.
    pub owner: &'static str,
    /// Which end of the call it is of.
    pub end: usize,
    /// When its row was made.
    pub made: f64,
    /// In which state it ended.
    pub state: EndState,
    /// Who is heard on the left and on the right from when until when; without holes.
    pub stretches: Vec<Stretch>,
}

/// What a call leaves.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// Recordings, those of one end in the order in which they were made.
    pub wanted: Vec<Wanted>,
    /// Every moment at which anything was decided, in order. Where two are close together nobody can say
    /// which one was first.
    pub moments: Vec<f64>,
}

/// What a call leaves, by the rules of both ends.
#[must_use]
pub fn recordings(call: &Call, spoken: Spoken) -> Left {
    let halves = [0, 1].map(|end| half(call, end));
    if !call.recorder {
        let planned: Vec<&Half> = halves.iter().flatten().collect();
        return unrecorded(call, &planned);
    }
    let mut story = Story {
        call,
        spoken,
        halves,
        told: [false; 2],
        telling: None,
        moments: vec![call.invited],
    };
    if let Some(answered) = call.answered {
        story.goes(answered);
    }
    story.ends()
}

/// Whether the recording of one end runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    /// Nobody has asked for it, or the call is not answered.
    Unasked,
    /// The parties are being told of it.
    Telling,
    /// From then on.
    Runs(f64),
    /// Its owner stopped it.
    Stopped,
    /// Not with this party.
    Listed,
}

/// One end that is recorded.
#[derive(Debug, Clone)]
struct Half {
    end: usize,
    owner: &'static str,
    rules: Rules,
    listed: bool,
    made: f64,
    stands: Stands,
    /// Whether it is to be kept.
    kept: bool,
    /// Whether its owner wants silence.
    paused: bool,
    /// When that ends by itself.
    resumes: f64,
    /// From when on it was silent or not, since it runs.
    turns: Vec<(f64, bool)>,
    wanted: Vec<Wanted>,
}

/// For whom an end is recorded: for the queue or virtual line if that records the call, else for who sits
/// there.
fn half(call: &Call, end: usize) -> Option<Half> {
    let queue = call.queue.iter().filter(|_| end == 1 && call.believed);
    let queue = queue.map(|(name, rules)| (*name, rules));
    let own = call.ends[end].rules.iter();
    let own = own.map(|rules| (call.ends[end].voice, rules));
    let (owner, rules) = queue
        .chain(own)
        .find(|(_, rules)| is_recorded(call, end, rules))?;
    let listed = rules.do_not_record.contains(&call.ends[1 - end].number);
    Some(Half {
        end,
        owner,
        rules: rules.clone(),
        listed,
        made: call.invited,
        stands: Stands::Unasked,
        kept: rules.mode != "on-demand",
        paused: false,
        resumes: f64::INFINITY,
        turns: Vec::new(),
        wanted: Vec::new(),
    })
}

fn is_recorded(call: &Call, end: usize, rules: &Rules) -> bool {
    let kind = usize::from(end == 0) * 2 + usize::from(call.pstn);
    let selective = !rules.mode.starts_with("always") || rules.selective[kind];
    rules.mode != "never"
        && selective
        && (rules.emergency || !call.emergency)
        && (rules.voicemail || !call.voicemail)
}

/// Where the recorder takes nothing: the call is refused, or it goes on and its rows say why there is
/// nothing in them.
fn unrecorded(call: &Call, planned: &[&Half]) -> Left {
    // What would not be recorded anyway is no reason.
    let refuses = |half: &&&Half| {
        let wanted = !half.listed && !call.emergency;
        wanted && half.rules.on_failure == "refuse"
    };
    let state = match planned.iter().any(|half| refuses(&half)) {
        true => EndState::Refused,
        false => EndState::Failed,
    };
    let row = |half: &&Half| Wanted {
        owner: half.owner,
        end: half.end,
        made: half.made,
        state,
        stretches: Vec::new(),
    };
    Left {
        wanted: planned.iter().map(row).collect(),
        moments: vec![call.invited],
    }
}

/// A call while it is gone through.
struct Story<'a> {
    call: &'a Call,
    spoken: Spoken,
    halves: [Option<Half>; 2],
    /// Which end knows that the call is recorded.
    told: [bool; 2],
    /// Who is being told now, and when all of them know.
    telling: Option<([bool; 2], f64)>,
    moments: Vec<f64>,
}

impl Story<'_> {
    /// From the answer until somebody hangs up.
    fn goes(&mut self, answered: f64) {
        self.moments.push(answered);
        for end in [0, 1] {
            match &mut self.halves[end] {
                None => {}
                Some(half) if half.listed => half.stands = Stands::Listed,
                Some(half) if half.rules.mode == "on-demand-user-start" => {}
                Some(_) => self.begin(end, answered),
            }
        }
        let events = self.call.events.iter();
        let mut asked: Vec<(f64, &Event)> = events.map(|event| (event.done(), event)).collect();
        asked.sort_by(|one, other| other.0.total_cmp(&one.0));
        loop {
            let told = self.telling.map_or(f64::INFINITY, |(_, until)| until);
            let halves = self.halves.iter().flatten();
            let resumes = halves.fold(f64::INFINITY, |least, half| least.min(half.resumes));
            let next = asked.last().map_or(f64::INFINITY, |(at, _)| *at);
            let now = told.min(resumes).min(next);
            if now >= self.call.over {
                return;
            }
            self.moments.push(now);
            if now == told {
                self.all_know(now);
            } else if now == resumes {
                for half in self.halves.iter_mut().flatten() {
                    if half.resumes == now {
                        half.pauses(now, false);
                    }
                }
            } else if let Some((_, event)) = asked.pop() {
                self.asked(now, *event);
            }
        }
    }

    /// A recording is to begin: all who do not know of it yet are told first.
    fn begin(&mut self, end: usize, now: f64) {
        let Some(half) = &mut self.halves[end] else {
            return;
        };
        half.paused = false;
        let words = [0, 1].map(|party| words(self.call, half, party, self.spoken));
        let (mut hearing, mut until) = self.telling.unwrap_or(([false; 2], now));
        for (party, words) in words.iter().enumerate() {
            let Some((after_s, length_s)) = words else {
                continue;
            };
            if !self.told[party] && !hearing[party] {
                hearing[party] = true;
                let answered = self.call.answered.unwrap_or(now);
                until = until.max(now.max(answered + after_s) + length_s);
            }
        }
        if hearing != [false; 2] {
            self.telling = Some((hearing, until));
        }
        let waits = self.telling.is_some() && words != [None; 2];
        match waits {
            true => half.stands = Stands::Telling,
            false => half.runs(now),
        }
    }

    /// Everybody has heard it.
    fn all_know(&mut self, now: f64) {
        let Some((hearing, _)) = self.telling.take() else {
            return;
        };
        for (told, heard) in self.told.iter_mut().zip(hearing) {
            *told |= heard;
        }
        for half in self.halves.iter_mut().flatten() {
            if half.stands == Stands::Telling {
                half.runs(now);
            }
        }
    }

    /// Somebody asks for something: only the one who sits at an end decides about its recording.
    fn asked(&mut self, now: f64, event: Event) {
        let end = event.by;
        let Some(half) = &mut self.halves[end] else {
            return;
        };
        let may = match event.ask {
            Ask::Stop => half.rules.mode == "on-demand-user-start",
            Ask::Start | Ask::Pause | Ask::Resume => half.rules.mode != "always",
        };
        if !may || half.listed {
            return;
        }
        let runs = matches!(half.stands, Stands::Runs(_));
        let is_on = event.way == Way::Offer && matches!(event.ask, Ask::Start | Ask::Resume);
        let asks: &[Ask] = match is_on {
            false => &[event.ask],
            true if runs && half.paused => &[Ask::Start, Ask::Resume],
            true if half.stands == Stands::Telling => &[Ask::Start, Ask::Resume],
            true => &[Ask::Start],
        };
        for ask in asks {
            match ask {
                Ask::Start => self.starts(end, now),
                Ask::Stop => self.stops(end, now),
                Ask::Pause => self.pauses(end, now, true),
                Ask::Resume => self.pauses(end, now, false),
            }
        }
    }

    fn starts(&mut self, end: usize, now: f64) {
        let Some(half) = &mut self.halves[end] else {
            return;
        };
        match half.stands {
            Stands::Unasked => self.begin(end, now),
            Stands::Stopped => {
                half.made = now;
                self.begin(end, now);
            }
            Stands::Telling | Stands::Runs(_) => half.kept = true,
            Stands::Listed => {}
        }
    }

    fn stops(&mut self, end: usize, now: f64) {
        let [caller, callee] = &mut self.halves;
        let (half, other) = match end {
            0 => (caller, callee),
            _ => (callee, caller),
        };
        let Some(half) = half else {
            return;
        };
        let others = other.as_ref().map_or(Stands::Unasked, |other| other.stands);
        match half.stands {
            // What was being said is no longer true, unless it is of the other recording as well.
            Stands::Telling if others != Stands::Telling => self.telling = None,
            // All hear that it is over; only who was told in other words still knows that calls are
            // recorded.
            Stands::Runs(_) if !matches!(others, Stands::Runs(_) | Stands::Telling) => {
                for party in [0, 1] {
                    let forever = complies(self.call, half, party);
                    if announces(self.call, &half.rules) && !forever {
                        self.told[party] = false;
                    }
                }
            }
            Stands::Telling | Stands::Runs(_) => {}
            Stands::Unasked | Stands::Stopped | Stands::Listed => return,
        }
        half.closes(self.call, now);
        half.stands = Stands::Stopped;
        half.resumes = f64::INFINITY;
    }

    fn pauses(&mut self, end: usize, now: f64, silent: bool) {
        if let Some(half) = &mut self.halves[end]
            && matches!(half.stands, Stands::Telling | Stands::Runs(_))
        {
            half.pauses(now, silent);
        }
    }

    fn ends(mut self) -> Left {
        let over = self.call.over;
        self.moments.push(over);
        let mut wanted = Vec::new();
        for mut half in self.halves.into_iter().flatten() {
            if half.stands != Stands::Stopped {
                half.closes(self.call, over);
            }
            wanted.extend(half.wanted);
        }
        Left {
            wanted,
            moments: self.moments,
        }
    }
}

impl Half {
    /// Audio is recorded from now.
    fn runs(&mut self, now: f64) {
        self.stands = Stands::Runs(now);
        self.turns = vec![(now, self.paused)];
        self.resumes = f64::INFINITY;
        self.counts(now);
    }

    /// The owner wants silence, or no longer.
    fn pauses(&mut self, now: f64, silent: bool) {
        if self.paused == silent {
            return;
        }
        self.paused = silent;
        if matches!(self.stands, Stands::Runs(_)) {
            self.turns.push((now, silent));
            self.resumes = f64::INFINITY;
            self.counts(now);
        }
    }

    fn counts(&mut self, now: f64) {
        if let (true, Some(limit_s)) = (self.paused, self.rules.auto_resume_s) {
            self.resumes = now + f64::from(limit_s);
        }
    }

    /// Its row is closed.
    fn closes(&mut self, call: &Call, now: f64) {
        let (state, stretches) = match self.stands {
            _ if call.answered.is_none() => (EndState::NoMedia, Vec::new()),
            Stands::Unasked | Stands::Listed => (EndState::NotKept, Vec::new()),
            // It was over before everybody had been told.
            Stands::Telling | Stands::Stopped => (EndState::NoMedia, Vec::new()),
            Stands::Runs(_) if !self.kept => (EndState::NotKept, Vec::new()),
            Stands::Runs(from) => (EndState::Complete, self.stretches(call, from, now)),
        };
        self.wanted.push(Wanted {
            owner: self.owner,
            end: self.end,
            made: self.made,
            state,
            stretches,
        });
    }

    fn stretches(&self, call: &Call, from: f64, until: f64) -> Vec<Stretch> {
        // Everything that may change what is heard.
        let mut edges = vec![from, until];
        edges.extend(self.turns.iter().map(|(at, _)| *at));
        for event in &call.events {
            edges.extend([event.at, event.done()]);
        }
        edges.retain(|edge| (from..=until).contains(edge));
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let mut stretches: Vec<Stretch> = Vec::new();
        for pair in edges.windows(2) {
            let [from, until] = [pair[0], pair[1]];
            let middle = (from + until) / 2.0;
            let so_far = self.turns.iter().rfind(|(at, _)| *at <= middle);
            let names = match so_far {
                Some((_, true)) => ["", ""],
                _ => [self.end, 1 - self.end].map(|end| said(call, end, middle)),
            };
            match stretches.last_mut() {
                Some(last) if [last.2, last.3] == names => last.1 = until,
                _ => stretches.push((from, until, names[0], names[1])),
            }
        }
        stretches
    }
}

/// Whether a start is told to everybody. Nobody in an emergency waits for that.
fn announces(call: &Call, rules: &Rules) -> bool {
    match call.pstn {
        _ if call.emergency => false,
        true => rules.announce_pstn,
        false => rules.announce_internal,
    }
}

/// Whether one end is on the public network and is told in the words for that.
fn complies(call: &Call, half: &Half, party: usize) -> bool {
    let outbound = usize::from(half.end == 0);
    let across = call.pstn && party != half.end;
    across && !call.emergency && half.rules.compliance[outbound]
}

/// What one end is told before a recording begins: how long after the answer at the earliest, and for how
/// long.
fn words(call: &Call, half: &Half, party: usize, spoken: Spoken) -> Option<(f64, f64)> {
    // In an emergency nobody waits for it.
    if call.emergency {
        return None;
    }
    if complies(call, half, party) {
        let outbound = half.end == 0;
        let after_s = if outbound { half.rules.delay_s } else { 0 };
        return Some((f64::from(after_s), spoken.compliance_s));
    }
    announces(call, &half.rules).then_some((0.0, spoken.start_s))
}

/// Whose voice comes from an end; keys take the place of speech.
fn said(call: &Call, end: usize, at: f64) -> &'static str {
    let keys = |event: &Event| {
        event.by == end && event.way == Way::Keys && (event.at..event.done()).contains(&at)
    };
    match call.events.iter().any(keys) {
        true => "keys+",
        false => call.ends[end].voice,
    }
}
