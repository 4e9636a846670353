//! What is to be recorded of a call, said a second time: simple, slow, and without a look at the code
//! that decides it. Every answer is a question about the whole list of what was asked until then.

use duolog_archive::EndState;
use duolog_call::PromptName;

use super::table::{Row, Stretch, empty, row};

/// How a user is recorded.
#[derive(Debug, Clone)]
pub struct Rules {
    /// As the configuration writes it.
    pub mode: &'static str,
    /// Whether start and stop are told within the house.
    pub announce_internal: bool,
    /// Whether they are told on calls with the public network.
    pub announce_pstn: bool,
    /// Whether a party on the public network is told in another way: on calls from there, to there.
    pub compliance: [bool; 2],
    /// How long after the answer that begins on calls to there, in seconds.
    pub delay_s: u32,
    /// `none`, `beep` or `announcement`.
    pub notice: &'static str,
    /// Which calls: inbound internal, inbound external, outbound internal, outbound external.
    pub selective: [bool; 4],
    /// Whether emergency calls are recorded.
    pub emergency: bool,
    /// Whether calls with a voicemail system are recorded.
    pub voicemail: bool,
    /// Numbers that leave no audio.
    pub do_not_record: Vec<&'static str>,
}

impl Rules {
    /// The lines of the user's section.
    #[must_use]
    pub fn lines(&self) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        let kept = |on: bool| if on { "recorded" } else { "left" };
        let [ii, ie, oi, oe] = self.selective.map(switch);
        let list = self.do_not_record.iter();
        let list: Vec<String> = list
            .map(|number| format!("{{ number = \"{number}\", reason = \"personal\" }}"))
            .collect();
        format!(
            "mode = \"{}\"\nannounce = {{ internal = \"{}\", pstn = \"{}\" }}\n\
             compliance = {{ inbound = \"{}\", outbound = \"{}\", delay = \"{}s\" }}\n\
             notice = \"{}\"\nrepeat_tone = \"off\"\nauto_resume = \"off\"\n\
             selective = {{ inbound_internal = \"{ii}\", inbound_external = \"{ie}\", \
             outbound_internal = \"{oi}\", outbound_external = \"{oe}\" }}\n\
             emergency = \"{}\"\nvoicemail = \"{}\"\ndo_not_record = [{}]\n",
            self.mode,
            switch(self.announce_internal),
            switch(self.announce_pstn),
            switch(self.compliance[0]),
            switch(self.compliance[1]),
            self.delay_s,
            self.notice,
            kept(self.emergency),
            kept(self.voicemail),
            list.join(", "),
        )
    }
}

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
pub const KEYS_S: f64 = 0.45;

impl Event {
    /// When it has its effect.
    fn done(&self) -> f64 {
        match self.way {
            Way::Info => self.at,
            Way::Keys => self.at + KEYS_S,
        }
    }
}

/// A call as it went.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who called, and who was called.
    pub ends: [End; 2],
    /// Whether the public network takes part.
    pub pstn: bool,
    /// Whether the number was an emergency number.
    pub emergency: bool,
    /// Whether it was with a voicemail system.
    pub voicemail: bool,
    /// INVITE, answer and hang-up, in seconds of the world.
    pub times: [f64; 3],
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

/// The recordings of one end, each with when its row was made.
pub fn recordings(call: &Call, end: usize, spoken: Spoken) -> Vec<(f64, Row)> {
    let own = &call.ends[end];
    let other = &call.ends[1 - end];
    let Some(rules) = &own.rules else {
        return Vec::new();
    };
    if !is_recorded(call, end, rules) {
        return Vec::new();
    }
    let [invited, _, _] = call.times;
    if rules.do_not_record.contains(&other.number) {
        return vec![(invited, empty(own.voice, EndState::NotKept))];
    }
    let starts = starts(call, end, rules);
    let asked = asked(call, end, rules, Ask::Start);
    let over = call.times[2];
    let captured = |start: &f64| start + telling(call, end, rules, spoken) < over;
    let unasked = rules.mode == "on-demand" && asked.is_empty();
    if starts.is_empty() || (unasked && starts.iter().any(captured)) {
        return vec![(invited, empty(own.voice, EndState::NotKept))];
    }
    let mut rows = Vec::new();
    for (nth, start) in starts.iter().enumerate() {
        let made = if nth == 0 { invited } else { *start };
        let from = start + telling(call, end, rules, spoken);
        let until = stopped_after(call, end, rules, *start);
        if from >= until {
            // It was over before everybody had been told.
            rows.push((made, empty(own.voice, EndState::NoMedia)));
            continue;
        }
        let stretches = stretches(call, end, rules, (*start, from, until));
        rows.push((made, row(own.voice, &stretches)));
    }
    rows
}

fn is_recorded(call: &Call, end: usize, rules: &Rules) -> bool {
    let kind = usize::from(end == 0) * 2 + usize::from(call.pstn);
    let selective = !rules.mode.starts_with("always") || rules.selective[kind];
    rules.mode != "never"
        && selective
        && (rules.emergency || !call.emergency)
        && (rules.voicemail || !call.voicemail)
}

/// What the owner asked for, and may, while the call stood: when it had its effect.
fn asked(call: &Call, end: usize, rules: &Rules, what: Ask) -> Vec<f64> {
    let may = match what {
        Ask::Start => rules.mode != "always",
        Ask::Stop => rules.mode == "on-demand-user-start",
        Ask::Pause | Ask::Resume => rules.mode != "always",
    };
    let [_, answered, over] = call.times;
    let fits = |event: &&Event| {
        event.by == end && event.ask == what && may && (answered..over).contains(&event.done())
    };
    call.events.iter().filter(fits).map(Event::done).collect()
}

/// When capture was to begin.
fn starts(call: &Call, end: usize, rules: &Rules) -> Vec<f64> {
    let [_, answered, _] = call.times;
    if rules.mode != "on-demand-user-start" {
        return vec![answered];
    }
    let starts = asked(call, end, rules, Ask::Start);
    let stops = asked(call, end, rules, Ask::Stop);
    // A start is one where since the start before there was a stop.
    let fresh = |at: &f64| {
        let before = starts.iter().copied().filter(|earlier| earlier < at);
        let last = before.fold(f64::NAN, f64::max);
        last.is_nan() || stops.iter().any(|stop| last < *stop && stop < at)
    };
    starts.iter().copied().filter(fresh).collect()
}

/// When it was over: with the first stop behind it, or with the call.
fn stopped_after(call: &Call, end: usize, rules: &Rules, start: f64) -> f64 {
    let stops = asked(call, end, rules, Ask::Stop);
    let later = stops.into_iter().filter(|stop| *stop > start);
    later.fold(call.times[2], f64::min)
}

/// How long the parties are told before anything is kept.
fn telling(call: &Call, end: usize, rules: &Rules, spoken: Spoken) -> f64 {
    let start_s = |on: bool| if on { spoken.start_s } else { 0.0 };
    // In an emergency nobody waits for it.
    if call.emergency {
        return 0.0;
    }
    if !call.pstn {
        return start_s(rules.announce_internal);
    }
    let own = start_s(rules.announce_pstn);
    let outbound = end == 0;
    let across = match (rules.compliance[usize::from(outbound)], outbound) {
        (true, true) => f64::from(rules.delay_s) + spoken.compliance_s,
        (true, false) => spoken.compliance_s,
        (false, _) => own,
    };
    own.max(across)
}

/// Whether at `at` the last word since `start` was to pause.
fn is_paused(call: &Call, end: usize, rules: &Rules, start: f64, at: f64) -> bool {
    let last = |what| {
        let said = asked(call, end, rules, what);
        let so_far = said.into_iter().filter(|t| start <= *t && *t <= at);
        so_far.fold(f64::MIN, f64::max)
    };
    last(Ask::Pause) > last(Ask::Resume)
}

fn stretches(
    call: &Call,
    end: usize,
    rules: &Rules,
    (start, from, until): (f64, f64, f64),
) -> Vec<Stretch> {
    // Everything that may change what is heard.
    let mut edges = vec![from, until];
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
        let names = match is_paused(call, end, rules, start, middle) {
            true => ["", ""],
            false => [end, 1 - end].map(|side| said(call, side, middle)),
        };
        match stretches.last_mut() {
            Some(last) if [last.2, last.3] == names => last.1 = until,
            _ => stretches.push((from, until, names[0], names[1])),
        }
    }
    stretches
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
