//! Who sits where in a recorded call: parties come and go, and their recordings with them.

use crate::class::{Class, Nature};
use crate::fact::{Arrival, Departure, Fact, HungUpBy, Side};
use crate::media::{PromptName, RecordingId};
use crate::recording::Input;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::recorded::{Closing, Recorded};
use crate::role::b2bua::recordings::Recordings;
use crate::role::b2bua::sounds::Listener;

/// What goes along with a party that moves to another call.
pub(crate) struct Carried {
    recorded: Option<Recorded>,
    /// In which words it has heard that calls are recorded.
    told: Option<PromptName>,
}

impl Recordings {
    /// The party of a side leaves: its own recording ends, that of the other one goes on.
    pub(super) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        how: Departure,
        (by, closing): (HungUpBy, Closing),
    ) {
        self.deafen(cx, side);
        self.close(cx, side, by, &closing);
        self.vacate(cx, side, how);
        self.settle(cx);
    }

    /// The party of a side leaves for another call, and its recording goes with it.
    pub(super) fn take(&mut self, side: Side) -> Carried {
        let told = self.audience.told(side);
        let recorded = self.slot(side).take();
        // What still sounds to it is not waited for.
        let _ = self.audience.seat(side, None);
        Carried { recorded, told }
    }

    fn vacate(&mut self, cx: &mut Context<'_>, side: Side, how: Departure) {
        let was_there = self.audience.legs.of(side).is_some();
        let progress = self.audience.seat(side, None);
        if was_there {
            self.act(cx, side.other(), |recorded, cx, to| {
                recorded.note(cx, Fact::PartyLeft { side, how });
                recorded.alone(cx, to);
            });
        }
        if progress == crate::announcement::Progress::Done {
            self.announced(cx);
        }
    }

    /// A party comes to a side that is free, with a recording of its own or without; `numbers` are its
    /// own and that of the party it meets.
    pub(super) fn join(
        &mut self,
        cx: &mut Context<'_>,
        (side, listener): (Side, Listener),
        [number, across]: [&str; 2],
        (how, with): (Arrival, Carried),
    ) {
        self.sit(side, listener, with);
        self.meets(cx, side.other(), number, how);
        if self.get(side).is_some_and(Recorded::has_begun) {
            let left = Fact::PartyLeft {
                side: side.other(),
                how: Departure::Transferred,
            };
            self.note_at(cx, side, left);
            self.meets(cx, side, across, how);
        }
        self.link(cx, side);
        self.feed(cx, side, Input::Answered);
        self.settle(cx);
        if !self.audience.is_announcing() {
            self.announced(cx);
            self.settle(cx);
        }
    }

    /// Another party than the one that was called answers: nothing has begun yet.
    pub(super) fn picked_up(
        &mut self,
        cx: &mut Context<'_>,
        (side, listener): (Side, Listener),
        number: &str,
        with: Carried,
    ) {
        self.vacate(cx, side, Departure::Replaced);
        self.sit(side, listener, with);
        self.meets(cx, side.other(), number, Arrival::PickedUp);
    }

    /// Before anybody answers, the call turns out to be of a kind that the owner of a side leaves out.
    pub(super) fn leave_out(&mut self, cx: &mut Context<'_>, side: Side, nature: Nature) {
        let why = self.get(side).and_then(|own| own.why_left(nature));
        if let Some(why) = why
            && let Some(mut own) = self.slot(side).take()
        {
            own.leave_out(cx, why);
        }
    }

    /// Before anybody answers, somebody else is called.
    pub(super) fn redirected(&mut self, cx: &mut Context<'_>, listener: Listener, number: &str) {
        let side = Side::Callee;
        for fact in [
            Fact::PartyLeft {
                side,
                how: Departure::Redirected,
            },
            Fact::PartyJoined {
                side,
                number: number.to_owned(),
                how: Arrival::Redirected,
            },
        ] {
            self.note_at(cx, side.other(), fact);
        }
        let _ = self.audience.seat(side, Some(listener));
        self.act(cx, side.other(), |recorded, cx, to| {
            recorded.meets(cx, to, number);
        });
    }

    fn sit(&mut self, side: Side, listener: Listener, with: Carried) {
        // Whoever was there has left already.
        let _ = self.audience.seat(side, Some(listener));
        if let Some(prompt) = with.told {
            self.audience.tell(side, prompt);
        }
        *self.slot(side) = with.recorded;
        if let Some(recorded) = self.slot(side) {
            recorded.move_to(side);
        }
    }

    /// The owner of `side` is across from another party now.
    fn meets(&mut self, cx: &mut Context<'_>, side: Side, number: &str, how: Arrival) {
        let joined = Fact::PartyJoined {
            side: side.other(),
            number: number.to_owned(),
            how,
        };
        self.act(cx, side, |recorded, cx, to| {
            recorded.note(cx, joined);
            recorded.meets(cx, to, number);
            recorded.faced(cx, to);
        });
    }
}

impl Carried {
    /// A party that is new here.
    pub(super) fn new(recorded: Option<Recorded>) -> Self {
        let told = None;
        Self { recorded, told }
    }

    /// The call that it comes to is of this kind.
    pub(super) fn is_now(&mut self, class: Class) {
        if let Some(recorded) = &mut self.recorded {
            recorded.is_now(class);
        }
    }

    /// The names by which the recording that goes along is known.
    pub(crate) fn recordings(&self) -> impl Iterator<Item = RecordingId> {
        self.recorded.iter().flat_map(Recorded::known)
    }

    /// Audio of its recording was lost.
    pub(super) fn trouble(&mut self, cx: &mut Context<'_>, id: RecordingId, reason: &str) {
        let own = self.recorded.as_mut().filter(|own| own.id() == id);
        if let Some(recorded) = own {
            recorded.trouble(cx, reason);
        }
    }

    /// Its recording ends: nobody wants the party.
    pub(super) fn end(self, cx: &mut Context<'_>, by: HungUpBy, closing: &Closing) {
        if let Some(mut recorded) = self.recorded {
            recorded.ended(cx, by, closing);
        }
    }
}
