//! The recordings of one half of a call, one after the other, as the call sees them.
//!
//! ```text
//!                          ┌───────────────── start (a new recording) ─────────────────┐
//!                          ▼                                                           │
//!  Idle ──answered──► Announcing ──announced──► Capturing (provisional or kept, ──stop──► Stopped
//!    │                     ▲   └────── stop ─────────────   paused or not) ─────────────►
//!    └─answered─► Unasked ─┘ start
//! ```
//!
//! `ended` leads from everywhere to Finished, `lost` to Failed. Without an announcement Announcing is
//! passed at once. Only recordings that begin when their owner asks wait in Unasked and can be stopped.
//! A call that is answered by somebody on the owner's do-not-record list stays Unrecorded; one that joins
//! later holds capture back as long as it is there, beside whatever the owner has asked for.
//!
//! What is asked for during the announcement is remembered with how it was asked for: the recording then
//! starts paused, or will be kept. Controls are idempotent: asking for what already is succeeds and changes
//! nothing, also not how it was asked for.

use crate::fact::Means;
use crate::policy::{Announce, Keep, Mode, Right, Start};

/// What a person may ask for during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Control {
    /// Start recording (`Record: on`).
    Start,
    /// Stop recording for good (`Record: off`).
    Stop,
    /// Keep no audio until resumed.
    Pause,
    /// Keep audio again.
    Resume,
}

/// What happens to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Both parties are connected.
    Answered,
    /// The start announcement is over.
    Announced,
    /// The owner asks for something, in this way.
    Asked(Control, Means),
    /// A pause has lasted as long as it may.
    Limit,
    /// The party across is on the owner's do-not-record list.
    Listed,
    /// It is not, or there is none.
    Unlisted,
    /// The recorder can record nothing now.
    Barred,
    /// What somebody counted on was lost, and the recording ends with it.
    Lost,
    /// The call is over.
    Ended,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the row of another recording: the one before is closed.
    Again,
    /// Play the start announcement to all.
    Announce,
    /// What was announced is not so.
    Hush,
    /// Audio is captured from now; a person asked for it in this way, or nobody did.
    Start(Option<Means>),
    /// What is captured is kept, from the first sample on.
    Keep(Means),
    /// Audio is not captured from now.
    Pause(Means),
    /// Audio is captured again from now.
    Resume(Means),
    /// The recording is over and the call goes on.
    Stop(Means),
    /// The control is accepted (with whatever stands beside this step).
    Accept,
    /// The control is refused and changes nothing.
    Refuse(Refusal),
    /// Close the recording.
    Close(Outcome),
}

/// Why a control is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The mode does not give this right.
    #[error("the recording mode does not allow this")]
    ModeForbids,
    /// Only the owner's own leg controls.
    #[error("only the owner of the recording may control it")]
    NotOwner,
    /// This call is not recorded.
    #[error("this call is not recorded")]
    NotRecorded,
    /// There is no such call.
    #[error("there is no such call")]
    NoSuchCall,
    /// The call is not answered yet.
    #[error("the call is not answered yet")]
    NotAnswered,
    /// The recording is closed or lost.
    #[error("the recording has ended")]
    Ended,
    /// The other party is on the owner's do-not-record list.
    #[error("the other party is not to be recorded")]
    DoNotRecord,
    /// The recorder takes nothing now.
    #[error("the recorder can not record now")]
    CannotRecord,
}

/// Where a recording stands, for whoever looks at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is captured: not answered yet, not asked for, or not to be.
    Idle,
    /// The parties are being told; capture begins after that.
    Pending,
    /// Captured, and not kept unless somebody asks.
    Provisional,
    /// Audio is kept.
    Started,
    /// No audio is kept until it is resumed.
    Paused,
    /// Stopped by its owner.
    Stopped,
    /// Lost, or never possible.
    Failed,
    /// Over with its call.
    Over,
}

/// How a recording came out, as far as the call can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran until the call ended.
    Finished,
    /// Its owner stopped it.
    Stopped,
    /// Its owner stopped it before any audio was captured.
    StoppedEarly,
    /// The call ended before any audio was captured.
    NeverStarted,
    /// Captured, and its owner never asked for it to be kept.
    NotKept,
    /// Its owner never started it.
    NotAsked,
    /// Not to be recorded with the party that answered.
    DoNotRecord,
    /// The recorder lost it, or took none.
    Lost,
}

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Answered; capture begins when the owner asks.
    Unasked,
    Announcing,
    Capturing,
    Stopped,
    Unrecorded,
    /// The recorder takes nothing; the row is still open.
    Barred(Loss),
    Failed,
    Finished,
}

/// Whether somebody counted on what was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// It was to be kept.
    Wanted,
    /// Nobody had asked for it.
    Silent,
}

/// What holds capture back; each by itself does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    /// How the owner asked for it.
    by_owner: Option<Means>,
    by_list: Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Hold {
    Yes,
    #[default]
    No,
}

impl Held {
    fn back(self) -> bool {
        self.by().is_some()
    }

    /// How it came to hold capture back.
    fn by(self) -> Option<Means> {
        match self.by_list {
            Hold::Yes => Some(Means::Policy),
            Hold::No => self.by_owner,
        }
    }
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Recording {
    state: State,
    mode: Mode,
    announce: Announce,
    /// How the recording that there is was started, where a person did.
    begun: Option<Means>,
    /// How it was asked to be kept, where it would not be by itself.
    wanted: Option<Means>,
    held: Held,
}

impl Recording {
    /// A recording in `mode`, not begun.
    pub fn new(mode: Mode, announce: Announce) -> Self {
        Self {
            state: State::Idle,
            mode,
            announce,
            begun: None,
            wanted: None,
            held: Held::default(),
        }
    }

    /// Whether parties have to be told before capture begins, from now.
    pub fn announces(&mut self, announce: Announce) {
        self.announce = announce;
    }

    /// Takes one input; what comes out is to be done in order.
    #[must_use]
    pub fn handle(&mut self, input: Input) -> Vec<Step> {
        match input {
            Input::Answered => self.answered(),
            Input::Announced if self.state == State::Announcing => self.capture(),
            Input::Announced => Vec::new(),
            Input::Asked(control, by) => self.asked(control, by),
            Input::Limit => self.hold_by_owner(None, Means::Limit),
            Input::Listed => self.hold_by_list(Hold::Yes),
            Input::Unlisted => self.hold_by_list(Hold::No),
            Input::Barred => self.barred(),
            Input::Lost => self.lost(),
            Input::Ended => self.ended(),
        }
    }

    /// Whether the parties are being told, so that nothing is captured yet.
    pub fn is_announcing(&self) -> bool {
        self.state == State::Announcing
    }

    /// Whether the owner has paused it.
    pub fn is_paused_by_owner(&self) -> bool {
        self.state == State::Capturing && self.held.by_owner.is_some()
    }

    /// Whether the call has been answered, and is not over.
    pub fn is_answered(&self) -> bool {
        match self.state {
            State::Idle | State::Barred(_) | State::Failed | State::Finished => false,
            State::Unasked
            | State::Announcing
            | State::Capturing
            | State::Stopped
            | State::Unrecorded => true,
        }
    }

    /// Whether the party across is on the owner's list.
    pub fn is_listed(&self) -> bool {
        self.held.by_list == Hold::Yes
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle | State::Unasked | State::Unrecorded => Phase::Idle,
            State::Announcing => Phase::Pending,
            State::Capturing if self.held.back() => Phase::Paused,
            State::Capturing => match self.keep() {
                Keep::Always => Phase::Started,
                Keep::OnDemand => Phase::Provisional,
            },
            State::Stopped => Phase::Stopped,
            State::Barred(_) | State::Failed => Phase::Failed,
            State::Finished => Phase::Over,
        }
    }

    /// Whether something is captured, or will be when everybody has heard of it.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, State::Announcing | State::Capturing)
    }

    /// Whether somebody counts on it.
    pub fn loss(&self) -> Loss {
        if self.is_listed() && !self.is_under_way() {
            return Loss::Silent;
        }
        let asked = self.mode.rights().start != Start::OnDemand || self.is_under_way();
        match self.keep() {
            Keep::Always if asked => Loss::Wanted,
            Keep::Always | Keep::OnDemand => Loss::Silent,
        }
    }

    /// Whether another recording would begin with this.
    pub fn begins_with(&self, control: Control) -> bool {
        let waits = matches!(self.state, State::Unasked | State::Stopped);
        waits && control == Control::Start && self.refusal(control).is_none()
    }

    fn keep(&self) -> Keep {
        match self.wanted {
            Some(_) => Keep::Always,
            None => self.mode.rights().keep,
        }
    }

    fn answered(&mut self) -> Vec<Step> {
        if self.state != State::Idle {
            return Vec::new();
        }
        if self.is_listed() {
            self.state = State::Unrecorded;
            return Vec::new();
        }
        match self.mode.rights().start {
            Start::Never => Vec::new(),
            Start::AtAnswer => self.begin(),
            Start::OnDemand => {
                self.state = State::Unasked;
                Vec::new()
            }
        }
    }

    fn begin(&mut self) -> Vec<Step> {
        self.held.by_owner = None;
        match self.announce {
            Announce::On => {
                self.state = State::Announcing;
                vec![Step::Announce]
            }
            Announce::Off => self.capture(),
        }
    }

    fn capture(&mut self) -> Vec<Step> {
        self.state = State::Capturing;
        let mut steps = vec![Step::Start(self.begun)];
        steps.extend(self.wanted.map(Step::Keep));
        steps.extend(self.held.by().map(Step::Pause));
        steps
    }

    fn asked(&mut self, control: Control, by: Means) -> Vec<Step> {
        if let Some(refusal) = self.refusal(control) {
            return vec![Step::Refuse(refusal)];
        }
        if self.begins_with(control) {
            self.begun = Some(by);
        }
        let mut steps = match (self.state, control) {
            (State::Unasked, Control::Start) => self.begin(),
            (State::Stopped, Control::Start) => {
                let mut steps = vec![Step::Again];
                steps.extend(self.begin());
                steps
            }
            (State::Announcing | State::Capturing, Control::Start) => self.wanted(by),
            (State::Announcing | State::Capturing, Control::Pause) => {
                self.hold_by_owner(Some(by), by)
            }
            (State::Announcing | State::Capturing, Control::Resume) => self.hold_by_owner(None, by),
            (State::Announcing, Control::Stop) => {
                self.state = State::Stopped;
                let close = Step::Close(Outcome::StoppedEarly);
                vec![Step::Hush, Step::Stop(by), close]
            }
            (State::Capturing, Control::Stop) => {
                self.state = State::Stopped;
                vec![Step::Stop(by), Step::Close(Outcome::Stopped)]
            }
            _ => Vec::new(),
        };
        steps.push(Step::Accept);
        steps
    }

    /// What is captured, or will be, is kept.
    fn wanted(&mut self, by: Means) -> Vec<Step> {
        if self.keep() == Keep::Always {
            return Vec::new();
        }
        self.wanted = Some(by);
        match self.state {
            State::Capturing => vec![Step::Keep(by)],
            _ => Vec::new(),
        }
    }

    /// The owner holds capture back, having asked so first, or does not.
    fn hold_by_owner(&mut self, asked: Option<Means>, by: Means) -> Vec<Step> {
        let by_owner = asked.map(|asked| self.held.by_owner.unwrap_or(asked));
        let held = Held {
            by_owner,
            ..self.held
        };
        self.hold(held, by)
    }

    fn hold_by_list(&mut self, by_list: Hold) -> Vec<Step> {
        let held = Held {
            by_list,
            ..self.held
        };
        self.hold(held, Means::Policy)
    }

    fn hold(&mut self, held: Held, by: Means) -> Vec<Step> {
        let before = std::mem::replace(&mut self.held, held);
        match (self.state, before.back(), held.back()) {
            (State::Capturing, false, true) => vec![Step::Pause(by)],
            (State::Capturing, true, false) => vec![Step::Resume(by)],
            _ => Vec::new(),
        }
    }

    /// The mode's rights come first: a forbidden control is refused as such in every state.
    fn refusal(&self, control: Control) -> Option<Refusal> {
        let rights = self.mode.rights();
        // Who may pause may ask for a recording as well, if only to find that it runs.
        let right = match control {
            Control::Start | Control::Pause | Control::Resume => rights.pause,
            Control::Stop => rights.stop,
        };
        match (self.state, control) {
            _ if right == Right::No => Some(Refusal::ModeForbids),
            (State::Idle, _) => Some(Refusal::NotAnswered),
            (State::Unrecorded, _) => Some(Refusal::DoNotRecord),
            (State::Barred(Loss::Silent), Control::Start) => Some(Refusal::CannotRecord),
            (State::Barred(_) | State::Failed | State::Finished, _) => Some(Refusal::Ended),
            (State::Unasked | State::Stopped, Control::Start)
            | (State::Announcing | State::Capturing, Control::Resume)
                if self.is_listed() =>
            {
                Some(Refusal::DoNotRecord)
            }
            _ => None,
        }
    }

    fn barred(&mut self) -> Vec<Step> {
        if self.state == State::Idle {
            self.state = State::Barred(self.loss());
        }
        Vec::new()
    }

    fn lost(&mut self) -> Vec<Step> {
        match self.state {
            State::Finished | State::Failed | State::Stopped | State::Barred(_) => Vec::new(),
            _ => {
                self.state = State::Failed;
                vec![Step::Close(Outcome::Lost)]
            }
        }
    }

    fn ended(&mut self) -> Vec<Step> {
        let outcome = match (self.state, self.keep()) {
            (State::Finished | State::Failed, _) => return Vec::new(),
            (State::Stopped, _) => None,
            (State::Idle | State::Announcing, _) => Some(Outcome::NeverStarted),
            (State::Unasked, _) => Some(Outcome::NotAsked),
            (State::Capturing, Keep::Always) => Some(Outcome::Finished),
            (State::Capturing, Keep::OnDemand) => Some(Outcome::NotKept),
            (State::Unrecorded, _) => Some(Outcome::DoNotRecord),
            (State::Barred(_), _) => Some(Outcome::Lost),
        };
        self.state = State::Finished;
        outcome.map(Step::Close).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `inputs` and compares everything that came out, as `Debug` words.
    fn check(mode: Mode, announce: Announce, inputs: &[Input], expected: &[Step]) {
        let mut recording = Recording::new(mode, announce);
        let steps: Vec<Step> = inputs.iter().flat_map(|i| recording.handle(*i)).collect();
        assert_eq!(steps, expected, "{mode:?} {announce:?} {inputs:?}");
    }

    const BY: Means = Means::Info;
    const PAUSE: Input = Input::Asked(Control::Pause, BY);
    const RESUME: Input = Input::Asked(Control::Resume, BY);
    const START: Input = Input::Asked(Control::Start, BY);
    const STOP: Input = Input::Asked(Control::Stop, BY);
    const BEGUN: Step = Step::Start(None);
    const STARTED: Step = Step::Start(Some(BY));
    const KEPT: Step = Step::Keep(BY);
    const PAUSED: Step = Step::Pause(BY);
    const RESUMED: Step = Step::Resume(BY);
    const STOPPED: Step = Step::Stop(BY);

    #[test]
    fn a_call_is_recorded_and_closed_once() {
        use Input::{Announced, Answered, Ended, Lost};
        let close = |outcome| Step::Close(outcome);
        check(
            Mode::Always,
            Announce::Off,
            &[Answered, Answered, Announced, Ended, Ended, Lost],
            &[BEGUN, close(Outcome::Finished)],
        );
        check(
            Mode::Always,
            Announce::On,
            &[Answered, Announced, Announced, Ended],
            &[Step::Announce, BEGUN, close(Outcome::Finished)],
        );
        check(
            Mode::Always,
            Announce::On,
            &[Answered, Ended, Announced],
            &[Step::Announce, close(Outcome::NeverStarted)],
        );
        check(
            Mode::Always,
            Announce::On,
            &[Ended],
            &[close(Outcome::NeverStarted)],
        );
        check(
            Mode::Always,
            Announce::Off,
            &[Answered, Lost, Ended, Lost],
            &[BEGUN, close(Outcome::Lost)],
        );
    }

    #[test]
    fn controls_are_idempotent() {
        use Input::Answered;
        use Step::Accept;
        let mode = Mode::AlwaysPauseResume;
        check(
            mode,
            Announce::Off,
            &[Answered, PAUSE, PAUSE, START, RESUME, RESUME, START, PAUSE],
            &[
                BEGUN, PAUSED, Accept, Accept, Accept, RESUMED, Accept, Accept, Accept, PAUSED,
                Accept,
            ],
        );
    }

    #[test]
    fn a_pause_during_the_announcement_is_kept() {
        use Input::{Announced, Answered};
        use Step::{Accept, Announce as Say};
        let mode = Mode::AlwaysPauseResume;
        check(
            mode,
            Announce::On,
            &[Answered, PAUSE, Announced, RESUME],
            &[Say, Accept, BEGUN, PAUSED, RESUMED, Accept],
        );
        check(
            mode,
            Announce::On,
            &[Answered, PAUSE, RESUME, Announced],
            &[Say, Accept, Accept, BEGUN],
        );
    }

    #[test]
    fn what_the_mode_forbids_changes_nothing() {
        use Input::{Answered, Ended};
        let refuse = Step::Refuse;
        for control in [PAUSE, RESUME, START, STOP] {
            check(
                Mode::Always,
                Announce::Off,
                &[Answered, control, Ended],
                &[
                    BEGUN,
                    refuse(Refusal::ModeForbids),
                    Step::Close(Outcome::Finished),
                ],
            );
            check(
                Mode::Always,
                Announce::Off,
                &[control],
                &[refuse(Refusal::ModeForbids)],
            );
        }
        let mode = Mode::AlwaysPauseResume;
        check(
            mode,
            Announce::Off,
            &[STOP],
            &[refuse(Refusal::ModeForbids)],
        );
        check(
            mode,
            Announce::Off,
            &[PAUSE],
            &[refuse(Refusal::NotAnswered)],
        );
        check(
            mode,
            Announce::Off,
            &[Answered, Ended, PAUSE],
            &[
                BEGUN,
                Step::Close(Outcome::Finished),
                refuse(Refusal::Ended),
            ],
        );
    }

    #[test]
    fn on_demand_keeps_what_is_asked_for() {
        use Input::{Announced, Answered, Ended, Lost};
        use Step::{Accept, Announce as Say, Close};
        let mode = Mode::OnDemand;
        let (off, on) = (Announce::Off, Announce::On);
        let forbidden = Step::Refuse(Refusal::ModeForbids);
        check(
            mode,
            off,
            &[Answered, Ended],
            &[BEGUN, Close(Outcome::NotKept)],
        );
        check(
            mode,
            off,
            &[Answered, PAUSE, START, START, STOP, Ended],
            &[
                BEGUN,
                PAUSED,
                Accept,
                KEPT,
                Accept,
                Accept,
                forbidden,
                Close(Outcome::Finished),
            ],
        );
        check(
            mode,
            on,
            &[Answered, START, PAUSE, Announced, Ended],
            &[
                Say,
                Accept,
                Accept,
                BEGUN,
                KEPT,
                PAUSED,
                Close(Outcome::Finished),
            ],
        );
        check(
            mode,
            off,
            &[Answered, START, Lost, START],
            &[
                BEGUN,
                KEPT,
                Accept,
                Close(Outcome::Lost),
                Step::Refuse(Refusal::Ended),
            ],
        );
    }

    #[test]
    fn a_user_initiated_start_may_be_repeated() {
        use Input::{Announced, Answered, Ended};
        use Step::{Accept, Again, Announce as Say, Close, Hush};
        let mode = Mode::OnDemandUserStart;
        let (off, on) = (Announce::Off, Announce::On);
        check(mode, off, &[Answered, Ended], &[Close(Outcome::NotAsked)]);
        check(
            mode,
            off,
            &[
                Answered, STOP, PAUSE, RESUME, START, PAUSE, STOP, STOP, PAUSE,
            ],
            &[
                Accept,
                Accept,
                Accept,
                STARTED,
                Accept,
                PAUSED,
                Accept,
                STOPPED,
                Close(Outcome::Stopped),
                Accept,
                Accept,
                Accept,
            ],
        );
        // Paused before the stop, the next one is not.
        check(
            mode,
            off,
            &[Answered, START, PAUSE, STOP, START, Ended],
            &[
                STARTED,
                Accept,
                PAUSED,
                Accept,
                STOPPED,
                Close(Outcome::Stopped),
                Accept,
                Again,
                STARTED,
                Accept,
                Close(Outcome::Finished),
            ],
        );
        check(
            mode,
            on,
            &[Answered, START, STOP, Announced, Ended],
            &[
                Say,
                Accept,
                Hush,
                STOPPED,
                Close(Outcome::StoppedEarly),
                Accept,
            ],
        );
    }

    const BY_LIST: Step = Step::Pause(Means::Policy);

    #[test]
    fn a_listed_party_holds_capture_back() {
        use Input::{Announced, Answered, Ended, Limit, Listed, Unlisted};
        use Step::{Accept, Announce as Say, Close};
        let refused = Step::Refuse(Refusal::DoNotRecord);
        let (off, on) = (Announce::Off, Announce::On);
        let (pausing, by_user) = (Mode::AlwaysPauseResume, Mode::OnDemandUserStart);
        // One that answers is never recorded, also not after somebody else took its place.
        check(
            pausing,
            on,
            &[Listed, Answered, PAUSE, Unlisted, RESUME, Ended],
            &[refused, refused, Close(Outcome::DoNotRecord)],
        );
        // One that was called and does not answer is of no matter.
        check(pausing, on, &[Listed, Unlisted, Answered], &[Say]);
        check(
            pausing,
            off,
            &[Answered, Listed, RESUME, PAUSE, Unlisted, Limit],
            &[BEGUN, BY_LIST, refused, Accept, Step::Resume(Means::Limit)],
        );
        check(
            pausing,
            off,
            &[Answered, PAUSE, Listed, Limit, Unlisted],
            &[BEGUN, PAUSED, Accept, Step::Resume(Means::Policy)],
        );
        check(
            pausing,
            on,
            &[Answered, Listed, Announced, Unlisted],
            &[Say, BEGUN, BY_LIST, Step::Resume(Means::Policy)],
        );
        check(
            by_user,
            off,
            &[Answered, Listed, START, Unlisted, START, Listed, STOP],
            &[
                refused,
                STARTED,
                Accept,
                BY_LIST,
                STOPPED,
                Close(Outcome::Stopped),
                Accept,
            ],
        );
    }

    #[test]
    fn what_can_not_be_recorded_stays_a_row() {
        use Input::{Answered, Barred, Ended, Lost};
        let lost = Step::Close(Outcome::Lost);
        for (mode, refusal) in [
            (Mode::AlwaysPauseResume, Refusal::Ended),
            (Mode::OnDemand, Refusal::CannotRecord),
            (Mode::OnDemandUserStart, Refusal::CannotRecord),
        ] {
            let refused = Step::Refuse(refusal);
            let story = [Barred, Answered, START, Ended, Lost];
            check(mode, Announce::On, &story, &[refused, lost]);
            let story = [Barred, Lost, Answered, START, Ended];
            check(mode, Announce::On, &story, &[refused, lost]);
        }
    }
}
