//! Where an INVITE is sent: places of the party that is asked, in the order in which they are tried.

use std::collections::VecDeque;

use duolog_sip::{Flow, NameAddr, Uri};

use crate::route::{NoRoute, Party};

/// One place to send an INVITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The Request-URI.
    pub(crate) uri: Uri,
    /// The way there.
    pub(crate) flow: Flow,
    /// Routes to put in: the Path a phone registered with (RFC 3327).
    pub(crate) routes: Vec<NameAddr>,
}

/// Waves of targets: those of a wave are asked at once, the next wave when all of one have failed in
/// a way that lets another one be tried (RFC 3263 §4.3).
pub(crate) type Waves = VecDeque<Vec<Target>>;

/// The call's name for a question to the routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AskId(pub(crate) u32);

/// What a call wants to know of the routing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// On whose behalf: that party's numbers and rights count.
    pub(crate) from: Party,
    /// Who is to be reached, as a redirection or a Refer-To names them.
    pub(crate) target: Uri,
}

/// Who is to be reached and where.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) callee: Party,
    /// The number in this node's own form.
    pub(crate) number: String,
    pub(crate) waves: Waves,
}

/// The answer to a question.
pub(crate) type Answer = Result<Box<Found>, NoRoute>;

/// What became of a target, for the next caller's sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It answered something other than 503.
    Answered,
    /// No answer at all, or its transport failed.
    Silent,
    /// 503, with its Retry-After in seconds.
    Unavailable(Option<u32>),
}
