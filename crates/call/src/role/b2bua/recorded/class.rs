//! The call turns out to be of another kind than it was: who is told, and what is left out.

use crate::class::{Class, Nature};
use crate::media::{End, RecordingId};
use crate::plan::{direction, why_left};
use crate::recording::Input;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::recorded::{Closing, Recorded};
use crate::role::b2bua::sounds::Telling;

impl Recorded {
    /// The call is of this kind from now: who is told something is told by that.
    pub(in crate::role::b2bua) fn is_now(&mut self, class: Class) {
        self.class = class;
        let voice = self.telling.voice.clone();
        self.telling = Telling::of(voice, &self.settings, (class, self.role));
        self.machine.announces(self.telling.announces());
        self.row.is_now(class, direction(class, self.role));
    }

    /// Why the owner's settings leave out calls of this nature, if they do.
    pub(in crate::role::b2bua) fn why_left(&self, nature: Nature) -> Option<&'static str> {
        why_left(&self.settings, nature)
    }

    /// Nothing has begun, and nothing is to be recorded: its row is closed, and the call goes on.
    pub(in crate::role::b2bua) fn leave_out(&mut self, cx: &mut Context<'_>, reason: &str) {
        self.collector = None;
        let steps = self.machine.handle(Input::Ended);
        let unstarted = End::NotKept;
        let reason = reason.to_owned();
        self.close(cx, &steps, &Closing { unstarted, reason });
        self.conclude(cx);
        self.row.forget(cx);
    }

    /// The names by which the engine knows it: a later recording that is closed has none any more.
    pub(in crate::role::b2bua) fn known(&self) -> impl Iterator<Item = RecordingId> + use<> {
        let [first, last] = self.names();
        let last = self.row.is_open().then_some(last);
        [first].into_iter().chain(last)
    }
}
