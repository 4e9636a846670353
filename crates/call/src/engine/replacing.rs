//! What goes across calls: a party that moves from one to another, an INVITE that takes the place of
//! somebody in one.

use std::time::Instant;

use duolog_sip::endpoint::ServerKey;
use duolog_sip::{DialogId, Flow, Replaces, Request};

use super::{Engine, Work};
use crate::fact::Side;
use crate::media::CallId;
use crate::role::b2bua::leg::{Who, home};
use crate::role::b2bua::{Confirmed, Moved, Newcomer, Unfetched, caller_number};
use crate::route::Party;

impl Engine {
    /// A call wants the far party of the one that this dialog belongs to.
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        id: CallId,
        wanted: (&DialogId, Party),
        work: &mut Work,
    ) {
        match self.fetched(now, id, wanted, work) {
            Ok(moved) => {
                self.legs.insert(moved.leg.id, id);
                for recording in moved.carried.recordings() {
                    self.recordings.insert(recording, id);
                }
                self.with_call(now, id, work, |call, cx| call.joined(cx, moved));
            }
            Err(why) => self.with_call(now, id, work, |call, cx| call.fetched(cx, why)),
        }
    }

    fn fetched(
        &mut self,
        now: Instant,
        id: CallId,
        (dialog, by): (&DialogId, Party),
        work: &mut Work,
    ) -> Result<Moved, Unfetched> {
        let (other, side) = self.dialogs.get(dialog).ok_or(Unfetched::NotHere)?;
        let (other, side) = (*other, *side);
        if other == id {
            return Err(Unfetched::Same);
        }
        let group = |id| self.calls.get(&id).map(|slot| slot.call.group());
        if group(other) != group(id) {
            return Err(Unfetched::Apart);
        }
        let mut moved = Err(Unfetched::NotHere);
        self.with_call(now, other, work, |call, cx| {
            moved = call.hand_over(cx, side, by);
        });
        moved
    }

    /// An INVITE of a known source wants the place of a party (RFC 3891 §3). The full name of the dialog
    /// is its right: 64 random bits of it are ours and only that party was told them, so whoever names it
    /// has it from there (another phone of the same line, a pick-up, a transfer that was asked for
    /// elsewhere). A stranger gets no further than `requests`.
    pub(super) fn replacing(
        &mut self,
        now: Instant,
        (key, flow): (ServerKey, Flow),
        invite: Request,
        caller: Party,
        replaces: &Replaces,
        work: &mut Work,
    ) {
        let Some((id, side)) = self.replaced(replaces) else {
            return self.refuse(now, key, &invite, 481, None, work);
        };
        let who = Who {
            party: caller,
            number: caller_number(&self.settings, caller, &invite),
        };
        let home = home(&self.settings, caller, &invite, flow);
        let confirmed = match replaces.early_only {
            true => Confirmed::LeaveAlone,
            false => Confirmed::TakeOver,
        };
        let newcomer = Box::new(Newcomer {
            server: key,
            flow,
            invite,
            who,
            home,
        });
        let mut refused = None;
        self.invites.insert(key, id);
        self.with_call(now, id, work, |call, cx| {
            refused = call.replacing(cx, side, newcomer, confirmed).err();
        });
        if let Some((newcomer, status)) = refused {
            self.invites.remove(&key);
            self.refuse(now, key, &newcomer.invite, status, None, work);
        }
    }

    /// The place that Replaces names.
    fn replaced(&self, replaces: &Replaces) -> Option<(CallId, Side)> {
        self.dialogs.get(&replaces.dialog()).copied()
    }
}
