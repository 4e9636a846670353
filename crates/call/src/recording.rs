//! One recording's life as the call sees it.
//!
//! ```text
//!  Idle ──answered──► Announcing ──announced──► Recording ◄──pause/resume──► Paused
//!    │                     │                        │                          │
//!    └──────── ended ──────┴──────── ended ─────────┴───────── ended ──────────┴─► Finished
//!    └──────── lost ───────┴──────── lost ──────────┴───────── lost ───────────┴─► Failed
//! ```
//!
//! Without an announcement `answered` leads straight to Recording. A pause asked for during the
//! announcement is kept: the recording then starts paused. Controls are idempotent: asking for
//! what already is succeeds and changes nothing.

use crate::policy::{Announce, Mode};

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
    /// The owner asks for something.
    Asked(Control),
    /// The recorder lost this recording.
    Lost,
    /// The call is over.
    Ended,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Play the start announcement to both.
    Announce,
    /// Audio is kept from now.
    Start,
    /// Audio is not kept from now.
    Pause,
    /// Audio is kept again from now.
    Resume,
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
}

/// Where a recording stands, for whoever looks at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is captured: not answered yet, or not asked for.
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
    /// The call ended before any audio was kept.
    NeverStarted,
    /// The recorder lost it.
    Lost,
}

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Announcing { then: After },
    Recording,
    Paused,
    Finished,
    Failed,
}

/// What the recording does when the announcement is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Record,
    Pause,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Recording {
    state: State,
    mode: Mode,
    announce: Announce,
}

impl Recording {
    /// A recording in `mode`, not begun.
    pub fn new(mode: Mode, announce: Announce) -> Self {
        Self {
            state: State::Idle,
            mode,
            announce,
        }
    }

    /// Takes one input; what comes out is to be done in order.
    #[must_use]
    pub fn handle(&mut self, input: Input) -> Vec<Step> {
        match input {
            Input::Answered => self.answered(),
            Input::Announced => self.announced(),
            Input::Asked(control) => self.asked(control),
            Input::Lost => self.lost(),
            Input::Ended => self.ended(),
        }
    }

    /// Whether the parties are being told, so that nothing is kept yet.
    pub fn is_announcing(&self) -> bool {
        matches!(self.state, State::Announcing { .. })
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Announcing { .. } => Phase::Pending,
            State::Recording => Phase::Started,
            State::Paused => Phase::Paused,
            State::Finished => Phase::Over,
            State::Failed => Phase::Failed,
        }
    }

    /// Whether the call is answered and the recording not over.
    pub fn is_under_way(&self) -> bool {
        self.is_announcing() || matches!(self.state, State::Recording | State::Paused)
    }

    fn answered(&mut self) -> Vec<Step> {
        match (self.state, self.announce) {
            (State::Idle, Announce::On) => {
                self.state = State::Announcing {
                    then: After::Record,
                };
                vec![Step::Announce]
            }
            (State::Idle, Announce::Off) => {
                self.state = State::Recording;
                vec![Step::Start]
            }
            _ => Vec::new(),
        }
    }

    fn announced(&mut self) -> Vec<Step> {
        match self.state {
            State::Announcing {
                then: After::Record,
            } => {
                self.state = State::Recording;
                vec![Step::Start]
            }
            State::Announcing { then: After::Pause } => {
                self.state = State::Paused;
                vec![Step::Start, Step::Pause]
            }
            _ => Vec::new(),
        }
    }

    fn asked(&mut self, control: Control) -> Vec<Step> {
        if let Some(refusal) = self.refusal(control) {
            return vec![Step::Refuse(refusal)];
        }
        match (self.state, control) {
            (State::Announcing { .. }, Control::Pause) => {
                self.state = State::Announcing { then: After::Pause };
                vec![Step::Accept]
            }
            (State::Announcing { .. }, Control::Resume) => {
                self.state = State::Announcing {
                    then: After::Record,
                };
                vec![Step::Accept]
            }
            (State::Recording, Control::Pause) => {
                self.state = State::Paused;
                vec![Step::Pause, Step::Accept]
            }
            (State::Paused, Control::Resume) => {
                self.state = State::Recording;
                vec![Step::Resume, Step::Accept]
            }
            _ => vec![Step::Accept],
        }
    }

    /// The mode's rights come first: a forbidden control is refused as such in every state.
    fn refusal(&self, control: Control) -> Option<Refusal> {
        let permitted = match (self.mode, control) {
            (Mode::Never | Mode::Always | Mode::OnDemand | Mode::OnDemandUserStart, _)
            | (Mode::AlwaysPauseResume, Control::Stop) => false,
            (Mode::AlwaysPauseResume, Control::Start | Control::Pause | Control::Resume) => true,
        };
        match self.state {
            _ if !permitted => Some(Refusal::ModeForbids),
            State::Idle => Some(Refusal::NotAnswered),
            State::Finished | State::Failed => Some(Refusal::Ended),
            State::Announcing { .. } | State::Recording | State::Paused => None,
        }
    }

    fn lost(&mut self) -> Vec<Step> {
        match self.state {
            State::Finished | State::Failed => Vec::new(),
            State::Idle | State::Announcing { .. } | State::Recording | State::Paused => {
                self.state = State::Failed;
                vec![Step::Close(Outcome::Lost)]
            }
        }
    }

    fn ended(&mut self) -> Vec<Step> {
        let outcome = match self.state {
            State::Finished | State::Failed => return Vec::new(),
            State::Idle | State::Announcing { .. } => Outcome::NeverStarted,
            State::Recording | State::Paused => Outcome::Finished,
        };
        self.state = State::Finished;
        vec![Step::Close(outcome)]
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

    const PAUSE: Input = Input::Asked(Control::Pause);
    const RESUME: Input = Input::Asked(Control::Resume);
    const START: Input = Input::Asked(Control::Start);
    const STOP: Input = Input::Asked(Control::Stop);

    #[test]
    fn a_call_is_recorded_and_closed_once() {
        use Input::{Announced, Answered, Ended, Lost};
        let close = |outcome| Step::Close(outcome);
        check(
            Mode::Always,
            Announce::Off,
            &[Answered, Answered, Announced, Ended, Ended, Lost],
            &[Step::Start, close(Outcome::Finished)],
        );
        check(
            Mode::Always,
            Announce::On,
            &[Answered, Announced, Announced, Ended],
            &[Step::Announce, Step::Start, close(Outcome::Finished)],
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
            &[Step::Start, close(Outcome::Lost)],
        );
    }

    #[test]
    fn controls_are_idempotent() {
        use Input::Answered;
        use Step::{Accept, Pause, Resume, Start};
        let mode = Mode::AlwaysPauseResume;
        check(
            mode,
            Announce::Off,
            &[Answered, PAUSE, PAUSE, START, RESUME, RESUME, START, PAUSE],
            &[
                Start, Pause, Accept, Accept, Accept, Resume, Accept, Accept, Accept, Pause, Accept,
            ],
        );
    }

    #[test]
    fn a_pause_during_the_announcement_is_kept() {
        use Input::{Announced, Answered};
        use Step::{Accept, Announce as Say, Pause, Resume, Start};
        let mode = Mode::AlwaysPauseResume;
        check(
            mode,
            Announce::On,
            &[Answered, PAUSE, Announced, RESUME],
            &[Say, Accept, Start, Pause, Resume, Accept],
        );
        check(
            mode,
            Announce::On,
            &[Answered, PAUSE, RESUME, Announced],
            &[Say, Accept, Accept, Start],
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
                    Step::Start,
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
                Step::Start,
                Step::Close(Outcome::Finished),
                refuse(Refusal::Ended),
            ],
        );
    }
}
