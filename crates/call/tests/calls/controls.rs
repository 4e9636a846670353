//! Every control in every mode at every moment, by every way, against `policy/controls.md`: a table that
//! people read. A cell that is missing or wrong fails, and so does a row that no test reaches.

use std::collections::BTreeMap;

use duolog_call::{
    Control, ControlId, Digit, DoNotRecord, DoNotRecordReason, Fact, Gate, Input, LegId, LogEvent,
    Means, MediaCommand, MediaEvent, Mode, Notice, OnFailure, RecordingId, Refusal,
};
use duolog_sip::sdp::Direction::SendRecv;
use duolog_sip::sdp::RecordPreference;
use duolog_sip::{Dialog, Method};

use crate::world::{ALICE, BOB, BOB2, CAROL, DAVE, World, description, settings};

const TABLE: &str = include_str!("../policy/controls.md");

const MODES: [(&str, Mode); 5] = [
    ("Never", Mode::Never),
    ("On Demand", Mode::OnDemand),
    (
        "On Demand with User Initiated Start",
        Mode::OnDemandUserStart,
    ),
    ("Always", Mode::Always),
    ("Always with Pause/Resume", Mode::AlwaysPauseResume),
];

const COLUMNS: [&str; 6] = ["start", "stop", "pause", "resume", "hang-up", "loss"];

/// The moments, by their names in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    BeforeAnswer,
    Answered,
    Announcing,
    AnnouncingPaused,
    Provisional,
    ProvisionalPaused,
    Recording,
    Paused,
    Stopped,
    AfterTransfer,
    MovedPaused,
    Lost,
    Missing,
    MissingOpen,
    GateClosed,
    StoppedGateClosed,
    Barred,
    Listed,
}

use Moment::*;

const MOMENTS: [(&str, Moment); 18] = [
    ("before answer", BeforeAnswer),
    ("answered, nothing asked", Answered),
    ("during announcement", Announcing),
    ("during announcement, pause asked", AnnouncingPaused),
    ("provisional", Provisional),
    ("provisional, paused", ProvisionalPaused),
    ("recording", Recording),
    ("paused", Paused),
    ("stopped", Stopped),
    ("after transfer", AfterTransfer),
    ("moved while paused", MovedPaused),
    ("lost", Lost),
    ("audio missing, gate closed", Missing),
    ("audio missing, gate open again", MissingOpen),
    ("gate closed, nothing missing", GateClosed),
    ("stopped, gate closed", StoppedGateClosed),
    ("gate closed at the INVITE", Barred),
    ("do-not-record number", Listed),
];

/// Whether a mode knows a moment.
fn is_reached(mode: Mode, moment: Moment) -> bool {
    use Mode::{AlwaysPauseResume, Never, OnDemand, OnDemandUserStart};
    match moment {
        BeforeAnswer | AfterTransfer => true,
        Answered => matches!(mode, Never | OnDemandUserStart),
        Announcing | Recording | Lost | GateClosed | Barred | Listed => mode != Never,
        AnnouncingPaused | Paused | MovedPaused => {
            matches!(mode, OnDemand | OnDemandUserStart | AlwaysPauseResume)
        }
        Provisional | ProvisionalPaused | Missing | MissingOpen => mode == OnDemand,
        Stopped | StoppedGateClosed => mode == OnDemandUserStart,
    }
}

/// How a control is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Info,
    Code,
    Api,
    /// `a=recordpref`, which says that a recording is wanted and not which control that takes.
    Offer,
}

/// One call of alice, at a moment.
struct Stage {
    w: World,
    /// What alice's recording is called from outside.
    name: Option<RecordingId>,
}

impl Stage {
    /// Brings a call to a moment.
    fn at(mode: Mode, moment: Moment) -> Self {
        let mut told = settings();
        let recording = told.users[0].recording_mut();
        recording.mode = mode;
        recording.notice = Notice::Beep;
        recording.repeat_tone = None;
        recording.auto_resume = None;
        recording.on_failure = OnFailure::GoOnAnnounced;
        if moment == Listed {
            recording.do_not_record = vec![DoNotRecord {
                number: "1002".to_owned(),
                reason: DoNotRecordReason::Personal,
            }];
        }
        let w = World::with(told, 1);
        let mut stage = Self { w, name: None };
        if moment == Barred {
            stage.close_the_gate();
        }
        stage.w.invite(ALICE, "1002");
        stage.w.run(500);
        stage.w.respond(BOB, 180);
        stage.w.run(100);
        stage.name = stage.w.recordings.keys().next().copied();
        if moment == BeforeAnswer {
            let (invite, ringing) = (stage.w.sent_invite(ALICE), stage.w.last_response(ALICE));
            let early = Dialog::uac(&invite, ringing, stage.w.flow_from(ALICE));
            stage.w.parties[ALICE].dialog = early.ok();
            return stage;
        }
        stage.w.respond(BOB, 200);
        stage.w.run(100);
        stage.after_answer(mode, moment);
        stage
    }

    fn after_answer(&mut self, mode: Mode, moment: Moment) {
        let by_user = mode == Mode::OnDemandUserStart;
        if matches!(moment, Answered | GateClosed | Barred | Listed) {
            self.w.run(3000);
        } else if by_user {
            self.ask(Way::Api, Control::Start);
        }
        if moment == AnnouncingPaused {
            self.ask(Way::Api, Control::Pause);
        }
        if matches!(moment, Announcing | AnnouncingPaused) {
            return self.w.run(300);
        }
        self.w.run(3000);
        let kept = matches!(moment, Recording | Paused | MovedPaused | Lost);
        if kept && mode == Mode::OnDemand {
            self.ask(Way::Api, Control::Start);
        }
        match moment {
            Paused | ProvisionalPaused => self.ask(Way::Api, Control::Pause),
            Stopped => self.ask(Way::Api, Control::Stop),
            Lost | Missing => self.lose(),
            MissingOpen => {
                self.lose();
                self.w.node(Input::Gate(Gate::Open));
            }
            GateClosed => self.close_the_gate(),
            StoppedGateClosed => {
                self.ask(Way::Api, Control::Stop);
                self.close_the_gate();
            }
            AfterTransfer => self.transfer(),
            MovedPaused => {
                self.ask(Way::Api, Control::Pause);
                self.move_away();
            }
            _ => {}
        }
        self.w.run(3000);
    }

    /// Bob gives his place to dave.
    fn transfer(&mut self) {
        self.w.refer(BOB, "1004", &[]);
        self.w.respond(DAVE, 200);
        self.w.run(8000);
        assert_eq!(self.w.bridged(), "ac");
    }

    /// Bob, who talks to dave on his other line, brings the two together in that call.
    fn move_away(&mut self) {
        let calls = self.w.engine.running();
        self.w.call(BOB2, DAVE);
        let replaces = self.w.escaped_replaces(BOB);
        let to = format!("<sip:1001@x?Replaces={replaces}>");
        self.w.within(BOB2, Method::Refer, &[("Refer-To", &to)]);
        self.w.run(8000);
        assert_eq!(self.w.bridged(), "ad");
        assert_ne!(self.w.engine.running()[0].call, calls[0].call);
    }

    fn close_the_gate(&mut self) {
        self.w.node(Input::Gate(Gate::Closed {
            reason: "the disk is full".to_owned(),
            retry_after_s: 60,
        }));
    }

    /// Audio is lost, as far as some was captured, and nothing more can be kept.
    fn lose(&mut self) {
        self.close_the_gate();
        let open = self.w.recordings.iter().rev();
        let mut open = open.filter(|(_, states)| states.last() != Some(&"closed"));
        if let Some((recording, _)) = open.next() {
            let recording = *recording;
            self.w.report(MediaEvent::RecordingTrouble {
                recording,
                reason: "the spool had no room".to_owned(),
            });
        }
    }

    fn ask(&mut self, way: Way, control: Control) {
        match way {
            Way::Info => {
                let value = match control {
                    Control::Start => "on",
                    Control::Stop => "Off",
                    Control::Pause => "PAUSE",
                    Control::Resume => "resume",
                };
                self.w.within(ALICE, Method::Info, &[("Record", value)]);
            }
            Way::Code => {
                let last = match control {
                    Control::Start => 4,
                    Control::Stop => 5,
                    Control::Pause => 8,
                    Control::Resume => 9,
                };
                for event in [10, 4, last] {
                    let digit = Digit {
                        event,
                        duration_ms: 100,
                    };
                    let leg = LegId(1);
                    self.w.report(MediaEvent::Digit { leg, digit });
                }
            }
            Way::Offer => {
                let wanted = match control {
                    Control::Start | Control::Resume => RecordPreference::On,
                    Control::Stop => RecordPreference::Off,
                    Control::Pause => RecordPreference::Pause,
                };
                let offer = description(ALICE, SendRecv).with_record_preference(Some(wanted));
                self.w.reinvite_with(ALICE, &offer);
                self.w.run(20);
                for far in [BOB, BOB2, DAVE] {
                    if !self.w.parties[far].invites.is_empty() {
                        self.w.respond(far, 200);
                    }
                }
            }
            Way::Api => {
                let recording = self.name.unwrap_or(RecordingId(1));
                self.w.node(Input::Control {
                    id: ControlId(7),
                    recording,
                    control,
                    by: Means::Api,
                });
            }
        }
        self.w.run(50);
    }

    /// What the media plane is told from here on, three seconds long.
    fn words(&mut self, from: usize) -> Words {
        self.w.run(3000);
        let before = self.w.media.drain(..from).collect::<Vec<_>>();
        let words = self.w.commands();
        self.w.media.splice(..0, before);
        Words(words)
    }

    fn refused(&self, from: usize) -> Option<Refusal> {
        self.w.media[from..].iter().find_map(|(_, c)| match c {
            MediaCommand::Note {
                fact: Fact::ControlRefused { why, .. },
                ..
            } => Some(*why),
            _ => None,
        })
    }

    /// Why the control that was just asked for was refused, as the one who asked is told.
    fn answer(&self, from: usize, mode: Mode, way: Way) -> Option<Refusal> {
        let mut refused = self.refused(from);
        let phase = self.w.engine.running().first().map(|half| half.phase);
        match way {
            Way::Info => {
                let response = self.w.last_response(ALICE);
                let why = response.headers.value("Warning").unwrap_or_default();
                match response.status.code() {
                    200 => assert_eq!(refused, None),
                    403 if why.contains(&Refusal::NotRecorded.to_string()) => {
                        refused = Some(Refusal::NotRecorded);
                    }
                    403 => {
                        let all = [
                            Refusal::ModeForbids,
                            Refusal::NotAnswered,
                            Refusal::Ended,
                            Refusal::DoNotRecord,
                            Refusal::CannotRecord,
                        ];
                        let said = all.into_iter().find(|r| why.contains(&r.to_string()));
                        assert!(said.is_some(), "why: {why}");
                        assert!(refused.is_none() || refused == said);
                        refused = said;
                    }
                    other => panic!("INFO was answered {other}"),
                }
            }
            Way::Api => {
                let (_, result) = *self.w.seen.controlled.last().unwrap();
                match result {
                    Ok(now) => assert_eq!((Some(now), refused), (phase, None)),
                    Err(Refusal::NoSuchCall) => refused = Some(Refusal::NotRecorded),
                    Err(why) => refused = Some(why),
                }
            }
            // The phone is told nothing: the log says what it was.
            Way::Code | Way::Offer => {
                let mut refusals = self.w.logs.iter().rev();
                refused = refusals.find_map(|log| match log.event {
                    LogEvent::ControlRefused { why, .. } => Some(why),
                    _ => None,
                });
                if mode == Mode::Never {
                    // Its digits are not ours.
                    refused = Some(Refusal::NotRecorded);
                }
            }
        }
        refused
    }
}

/// What the media plane is told, in short.
#[derive(Debug, PartialEq, Eq)]
struct Words(String);

impl Words {
    fn of(&self, kinds: &[&str]) -> String {
        let mut words: Vec<&str> = self.0.split(' ').collect();
        words.retain(|word| kinds.iter().any(|kind| word.starts_with(kind)));
        words.join(" ")
    }

    /// What becomes of recordings.
    fn recordings(&self) -> String {
        self.of(&["RECORD", "START", "KEEP", "PAUSE", "RESUME", "CLOSE-"])
    }

    /// What both parties hear, or the one at `a`.
    fn heard(&self) -> String {
        self.of(&["play-a", "stop-a"])
    }

    /// What neither a refusal nor a control without effect may change.
    fn effects(&self) -> [String; 2] {
        [self.recordings(), self.of(&["play", "stop"])]
    }
}

/// What becomes of a control, in the words of the table.
fn controlled(mode: Mode, moment: Moment, way: Way, control: Control) -> String {
    let mut idle = Stage::at(mode, moment);
    let from = idle.w.media.len();
    let unasked = idle.words(from);
    let mut stage = Stage::at(mode, moment);
    let from = stage.w.media.len();
    stage.ask(way, control);
    let refused = stage.answer(from, mode, way);
    let words = stage.words(from);
    if let Some(why) = refused {
        let changed = words.effects() != unasked.effects();
        assert!(!changed, "a refused control changes nothing: {words:?}");
        return format!("refused: {}", reason(why));
    }
    if words.effects() == unasked.effects() {
        return "no-op".to_owned();
    }
    let (done, heard) = (words.recordings(), words.heard());
    match (done.as_str(), heard.as_str()) {
        ("START", "") => "recording",
        ("START", "play-a-RecordingStarts.nl") => "recording",
        ("START KEEP" | "START KEEP PAUSE", _) => "will be kept",
        ("START PAUSE", "play-a-beep") => "begins paused",
        ("KEEP", "") => "kept",
        ("KEEP CLOSE-Failed", "play-a-FailureContinues.nl") => "kept, failed, told",
        ("PAUSE", "play-a-beep") => "paused",
        ("RESUME", "play-a-beep") => "resumed",
        ("CLOSE-Finished", "play-a-RecordingStops.nl") => "stopped",
        ("CLOSE-NotStarted", "stop-a") => "cut",
        ("RECORD-a START", "play-a-RecordingStarts.nl") => "new recording",
        _ => return format!("{done}; {heard}"),
    }
    .to_owned()
}

/// A refusal in the words of the table.
fn reason(why: Refusal) -> &'static str {
    match why {
        Refusal::ModeForbids => "mode",
        Refusal::NotRecorded => "not recorded",
        Refusal::NotAnswered => "not answered",
        Refusal::Ended => "ended",
        Refusal::DoNotRecord => "do not record",
        Refusal::CannotRecord => "cannot record",
        other => panic!("{other:?}"),
    }
}

/// What becomes of the row when alice hangs up.
fn hung_up(mode: Mode, moment: Moment) -> String {
    let mut stage = Stage::at(mode, moment);
    let from = stage.w.media.len();
    let rows = stage.w.recordings.len();
    match moment {
        BeforeAnswer => stage.w.cancel(ALICE),
        _ => stage.w.bye(ALICE),
    }
    let words = stage.words(from);
    for party in [BOB2, DAVE] {
        if stage.w.parties[party].dialog.is_some() {
            stage.w.bye(party);
        }
    }
    stage.w.settle();
    match (rows, words.recordings().strip_prefix("CLOSE-")) {
        (0, _) => "no row".to_owned(),
        (_, Some(end)) => end.to_owned(),
        (_, None) => "closed before".to_owned(),
    }
}

/// What parties hear when the recorder loses the recording, by a policy that tells them.
fn lost(mode: Mode, moment: Moment) -> String {
    let mut stage = Stage::at(mode, moment);
    let (from, ends) = (stage.w.media.len(), stage.w.endings().len());
    stage.lose();
    if moment == BeforeAnswer {
        stage.w.respond(BOB, 200);
    }
    stage.w.run(3000);
    let told = stage.w.media[from..].iter().any(|(_, command)| {
        use duolog_call::{PromptName::FailureContinues, Sound::Prompt};
        matches!(
            command,
            MediaCommand::Play {
                sound: Prompt {
                    prompt: FailureContinues,
                    ..
                },
                ..
            }
        )
    });
    let closed = stage.w.endings().len() > ends;
    let mut facts = stage.w.media[from..].iter().map(|(_, command)| command);
    let noted = facts.any(|command| {
        use Fact::Trouble;
        matches!(
            command,
            MediaCommand::Note {
                fact: Trouble { .. },
                ..
            }
        )
    });
    match (noted, closed, told) {
        (true, true, true) => "failed, told",
        (true, false, false) => "goes on, silent",
        (false, false, false) => "nothing to lose",
        other => panic!("{other:?}"),
    }
    .to_owned()
}

fn cell(mode: Mode, moment: Moment, column: &str) -> String {
    let control = match column {
        _ if !is_reached(mode, moment) => return "-".to_owned(),
        "start" => Control::Start,
        "stop" => Control::Stop,
        "pause" => Control::Pause,
        "resume" => Control::Resume,
        "hang-up" => return hung_up(mode, moment),
        _ => return lost(mode, moment),
    };
    let ways = [Way::Info, Way::Code, Way::Api];
    let [info, code, api] = ways.map(|way| controlled(mode, moment, way, control));
    assert_eq!(
        (&info, &info),
        (&code, &api),
        "{mode:?} {moment:?} {control:?}"
    );
    if let Some(wanted) = wanted(moment, control, &info) {
        let offer = controlled(mode, moment, Way::Offer, control);
        assert_eq!(offer, wanted, "{mode:?} {moment:?} {control:?}");
    }
    info
}

/// What becomes of the same control in an offer: the same, but for that who wants a recording wants it to
/// go on and to be kept. What is offered before the answer counts at the answer.
fn wanted(moment: Moment, control: Control, cell: &str) -> Option<String> {
    let paused = matches!(
        moment,
        AnnouncingPaused | ProvisionalPaused | Paused | MovedPaused
    );
    match (moment, control) {
        (BeforeAnswer, _) => None,
        // That is what it comes to as a start.
        (_, Control::Resume) => None,
        (AnnouncingPaused, Control::Start) if cell == "will be kept" => Some(cell.to_owned()),
        (AnnouncingPaused, Control::Start) => Some("recording".to_owned()),
        (ProvisionalPaused, Control::Start) => Some("KEEP RESUME; play-a-beep".to_owned()),
        (_, Control::Start) if paused => Some("resumed".to_owned()),
        _ => Some(cell.to_owned()),
    }
}

/// The table as it is written: mode, moment and column to cell.
fn written() -> BTreeMap<(String, String, String), String> {
    let mut cells = BTreeMap::new();
    let mut mode = String::new();
    for line in TABLE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            mode = title.trim().to_owned();
        }
        let Some(row) = line.strip_prefix('|') else {
            continue;
        };
        let row: Vec<&str> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        if row[0] == "moment" || row[0].starts_with("--") {
            continue;
        }
        assert_eq!(row.len(), 1 + COLUMNS.len(), "{line}");
        for (column, cell) in COLUMNS.iter().zip(&row[1..]) {
            let at = (mode.clone(), row[0].to_owned(), (*column).to_owned());
            let before = cells.insert(at, (*cell).to_owned());
            assert_eq!(before, None, "twice: {line}");
        }
    }
    cells
}

#[test]
fn every_cell_of_the_table_is_so() {
    let mut written = written();
    let mut wrong = String::new();
    for (title, mode) in MODES {
        for (name, moment) in MOMENTS {
            let mut found = Vec::new();
            let mut same = true;
            for column in COLUMNS {
                let now = cell(mode, moment, column);
                let at = (title.to_owned(), name.to_owned(), column.to_owned());
                same &= written.remove(&at).as_deref() == Some(now.as_str());
                found.push(now);
            }
            if !same {
                wrong += &format!("{title}: | {name} | {} |\n", found.join(" | "));
            }
        }
    }
    assert_eq!(wrong, "", "the node does this:\n{wrong}");
    assert!(written.is_empty(), "nobody checks these: {written:?}");
}

/// How each thing that was done was asked for.
fn done_by(w: &World) -> Vec<Fact> {
    use Fact::{Kept, Paused, RecordingStarted, Resumed, Stopped};
    let mut facts = w.facts();
    facts.retain(|fact| {
        matches!(
            fact,
            RecordingStarted { .. } | Paused { .. } | Resumed { .. } | Kept { .. } | Stopped { .. }
        )
    });
    facts
}

/// What the log says of the last start.
fn logged_start(w: &World) -> Fact {
    let mut logs = w.logs.iter().rev();
    let by = logs.find_map(|log| match log.event {
        LogEvent::RecordingStarted { by, .. } => Some(by),
        _ => None,
    });
    let by = by.expect("it has started");
    Fact::RecordingStarted { by }
}

type Asked = (Way, Control);

#[test]
fn what_was_done_later_says_how_it_was_asked_for_and_not_what_came_after() {
    use Control::{Pause, Resume, Start, Stop};
    use Fact::{Kept, Paused, RecordingStarted, Stopped};
    use Mode::{AlwaysPauseResume, OnDemand, OnDemandUserStart};
    let (code, info, api) = (Means::FeatureCode, Means::Info, Means::Api);
    let by = None;
    let cases: [(Mode, &[Asked], Vec<Fact>); 5] = [
        // Refused, without effect, and for something else.
        (
            AlwaysPauseResume,
            &[
                (Way::Code, Pause),
                (Way::Api, Stop),
                (Way::Info, Start),
                (Way::Info, Pause),
            ],
            vec![RecordingStarted { by }, Paused { by: code }],
        ),
        (
            AlwaysPauseResume,
            &[(Way::Code, Pause), (Way::Api, Resume), (Way::Info, Pause)],
            vec![RecordingStarted { by }, Paused { by: info }],
        ),
        (
            OnDemand,
            &[
                (Way::Code, Start),
                (Way::Info, Pause),
                (Way::Api, Start),
                (Way::Api, Stop),
            ],
            vec![
                RecordingStarted { by },
                Kept { by: code },
                Paused { by: info },
            ],
        ),
        (
            OnDemandUserStart,
            &[(Way::Api, Start), (Way::Code, Start), (Way::Info, Resume)],
            vec![RecordingStarted { by: Some(api) }],
        ),
        (
            OnDemandUserStart,
            &[
                (Way::Api, Start),
                (Way::Code, Pause),
                (Way::Info, Stop),
                (Way::Code, Start),
            ],
            vec![Stopped { by: info }, RecordingStarted { by: Some(code) }],
        ),
    ];
    for (mode, asked, wanted) in cases {
        let first = if mode == OnDemandUserStart {
            Answered
        } else {
            Announcing
        };
        let mut stage = Stage::at(mode, first);
        for (way, control) in asked {
            stage.ask(*way, *control);
        }
        stage.w.run(4000);
        assert_eq!(done_by(&stage.w), wanted, "{mode:?} {asked:?}");
        assert!(wanted.contains(&logged_start(&stage.w)), "{mode:?}");
    }
}

/// Where the other owner's recording goes on, nothing changes for the party across.
#[test]
fn a_notice_is_for_all_only_where_the_call_is_recorded_no_more() {
    use Control::{Pause, Resume};
    for notice in [Notice::Beep, Notice::Announcement] {
        let mut told = settings();
        for user in [0, 2] {
            let recording = told.users[user].recording_mut();
            recording.mode = Mode::AlwaysPauseResume;
            recording.notice = notice;
            recording.repeat_tone = None;
        }
        let mut w = World::with(told, 1);
        w.call(ALICE, CAROL);
        w.run_s(5);
        let mut heard = Vec::new();
        for (who, control) in [
            (ALICE, Pause),
            (CAROL, Pause),
            (ALICE, Resume),
            (CAROL, Resume),
            (CAROL, Pause),
            (ALICE, Pause),
            (CAROL, Resume),
            (ALICE, Resume),
        ] {
            let from = w.media.len();
            let value = if control == Pause { "pause" } else { "resume" };
            w.within(who, Method::Info, &[("Record", value)]);
            w.run_s(3);
            let plays = w.media[from..]
                .iter()
                .filter_map(|(_, command)| match command {
                    MediaCommand::Play { leg, .. } => Some(if leg.0 == 1 { 'a' } else { 'c' }),
                    _ => None,
                });
            heard.push(plays.collect::<String>());
        }
        // What only one's own recording does, and what the call does.
        assert_eq!(
            heard,
            ["a", "ac", "ac", "c", "c", "ac", "ac", "a"],
            "{notice:?}"
        );
        w.bye(ALICE);
        w.settle();
    }
}
