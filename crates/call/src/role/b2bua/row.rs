//! The row of a recording: facts and the end are kept in it. One half of a call may have several, one
//! after the other; the first one names the half as long as the call lives.

use crate::class::Class;
use crate::fact::{CallDirection, Fact, Opening, Side};
use crate::log::LogEvent;
use crate::media::{End, Ending, LegId, MediaCommand, MediaGroup, RecordingId};
use crate::role::b2bua::context::{Action, Context};

/// The row that one half of a call has now.
pub(super) struct Row {
    id: RecordingId,
    first: RecordingId,
    group: MediaGroup,
    opening: Opening,
    stands: Stands,
}

#[derive(PartialEq, Eq)]
enum Stands {
    Open,
    /// It ends like this when what comes of the end is a fact as well.
    Closing(Ending),
    Closed,
}

/// A recording's id and where its legs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) recording: RecordingId,
    pub(crate) group: MediaGroup,
    pub(crate) owner: LegId,
    pub(crate) other: LegId,
}

impl Row {
    /// Makes the first row of a half.
    pub(super) fn open(cx: &mut Context<'_>, opening: Opening, at: Placed) -> Self {
        let row = Self {
            id: at.recording,
            first: at.recording,
            group: at.group,
            opening,
            stands: Stands::Open,
        };
        row.announce(cx, [at.owner, at.other]);
        row
    }

    /// Makes the next row of a half, whose last one is closed.
    pub(super) fn again(&mut self, cx: &mut Context<'_>, owner: Side, legs: [LegId; 2]) {
        self.conclude(cx);
        let before = std::mem::replace(&mut self.id, cx.ids.recording(cx.now));
        self.opening.number += 1;
        self.opening.owner_side = owner;
        self.stands = Stands::Open;
        self.announce(cx, legs);
        let recording = before;
        cx.media(MediaCommand::Note {
            recording: self.id,
            fact: Fact::EarlierRecording { recording },
        });
    }

    fn announce(&self, cx: &mut Context<'_>, [owner, other]: [LegId; 2]) {
        let recording = self.id;
        cx.media(MediaCommand::OpenRecording {
            recording,
            group: self.group,
            owner,
            other,
            opening: Box::new(self.opening.clone()),
        });
        cx.log(LogEvent::RecordingOpened { recording });
    }

    pub(super) fn id(&self) -> RecordingId {
        self.id
    }

    /// The first recording of this half.
    pub(super) fn first(&self) -> RecordingId {
        self.first
    }

    pub(super) fn is_open(&self) -> bool {
        self.stands == Stands::Open
    }

    /// The call is of this kind when the next row is made.
    pub(super) fn is_now(&mut self, class: Class, direction: CallDirection) {
        self.opening.class = class;
        self.opening.direction = direction;
    }

    /// The party across is this one when the next row is made.
    pub(super) fn faces(&mut self, number: &str) {
        number.clone_into(&mut self.opening.party);
    }

    /// Keeps a fact, until the row is closed; facts are told from where the owner sat when it was made.
    pub(super) fn note(&self, cx: &mut Context<'_>, owner: Side, fact: Fact) {
        if self.stands != Stands::Closed {
            let fact = match owner == self.opening.owner_side {
                true => fact,
                false => fact.turned(),
            };
            let recording = self.id;
            cx.media(MediaCommand::Note { recording, fact });
        }
    }

    /// It ends like this, unless it has an end already; what comes of that is a fact until
    /// [`Row::conclude`].
    pub(super) fn close(&mut self, cx: &mut Context<'_>, end: End, reason: String) {
        if self.is_open() {
            self.stands = Stands::Closing(Ending { end, reason });
            let recording = self.id;
            cx.log(LogEvent::RecordingClosed { recording, end });
        }
    }

    /// Closes a row that has its end. Only the first one is still known by its name then.
    pub(super) fn conclude(&mut self, cx: &mut Context<'_>) {
        if self.is_open() {
            return;
        }
        let before = std::mem::replace(&mut self.stands, Stands::Closed);
        let Stands::Closing(ending) = before else {
            return;
        };
        let recording = self.id;
        cx.media(MediaCommand::CloseRecording { recording, ending });
        if recording != self.first {
            cx.act(Action::Forget(recording));
        }
    }

    /// The half is over: its name means nothing any more.
    pub(super) fn forget(&self, cx: &mut Context<'_>) {
        cx.act(Action::Forget(self.first));
    }
}
