//! What a phone is told, and what it has to say.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use duolog_audio::codec::Codec;
use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use duolog_sip::sdp::{RecordPreference, RecordState};
use duolog_sip::{Flow, Method, Replaces, StatusCode, Uri};

use super::offer::HoldStyle;
use super::voice::Voice;

/// What a phone is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// One SIP datagram, or one message cut from a stream.
    Sip {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// A SIP connection is gone.
    FlowFailed {
        /// The connection.
        flow: Flow,
    },
    /// A datagram at the RTP port.
    Rtp {
        /// When it arrived, at most now.
        arrived: Instant,
        /// The bytes.
        bytes: Bytes,
    },
    /// A datagram at the RTCP port.
    Rtcp {
        /// The bytes.
        bytes: Bytes,
    },
    /// The user does something.
    Do(Action),
    /// `deadline()` has come.
    Deadline,
}

/// What a user does with a phone.
#[derive(Debug, Clone)]
pub enum Action {
    /// Calls somebody through the proxy.
    Call {
        /// Who.
        uri: Uri,
    },
    /// Calls somebody in an unusual way.
    CallWith(Box<Calling>),
    /// Answers what rings here, now.
    Answer,
    /// Ends the call: CANCEL, BYE, or 603 while it rings here.
    HangUp,
    /// Gives up a call that is not answered yet; the same as `HangUp` then, else refused.
    Cancel,
    /// Puts the other party on hold: re-INVITE with `sendonly`, and no packets.
    Hold,
    /// Takes the call back from hold.
    Retrieve,
    /// Changes or refreshes the session.
    Alter {
        /// With which request.
        by: By,
        /// How.
        change: Change,
    },
    /// Asks the other party to call somebody else (RFC 3515).
    Refer {
        /// Whom.
        to: Uri,
        /// The dialog of theirs whose place the new call takes (RFC 3891): an attended transfer.
        replaces: Option<Replaces>,
        /// Whether the phone wants to hear what becomes of it.
        subscription: Subscription,
    },
    /// Tells who sent a REFER what became of it: NOTIFY with a fragment of SIP.
    Report {
        /// The status of the new call; a final one ends the subscription.
        status: StatusCode,
    },
    /// Sends a request within the call, such as MESSAGE.
    Send {
        /// The method.
        method: Method,
        /// Further headers, such as `Record`.
        headers: Vec<(String, String)>,
        /// The body and its type.
        body: Option<(String, String)>,
    },
    /// Registers, and goes on doing so; 0 ends it.
    Register {
        /// How long it asks for, in seconds.
        expires_s: u32,
    },
    /// Presses keys, each 100 ms with 60 ms between (RFC 4733): 0-9, `*`, `#`, A-D.
    Press {
        /// Such as `*48`.
        digits: String,
    },
    /// Sends INFO with `Record: …`, such as `pause` or `resume`.
    Record {
        /// The header's value.
        value: String,
    },
    /// Speaks with another voice, from its beginning.
    SetVoice(Voice),
    /// Re-INVITE with these codecs only.
    Recode {
        /// At least one.
        codecs: Vec<Codec>,
    },
    /// Goes on in packets of another length, without a word about it.
    Repack {
        /// 10 to 200 ms.
        ptime_ms: u8,
    },
    /// Goes on as another source: new SSRC, numbers and time stamps.
    Renew {
        /// Who it is now.
        ssrc: Ssrc,
        /// Its first number.
        seq: SeqNo,
        /// Its first time stamp.
        timestamp: RtpTimestamp,
    },
}

/// A call out and what is unusual about it.
#[derive(Debug, Clone)]
pub struct Calling {
    /// Who is called.
    pub uri: Uri,
    /// The dialog of theirs whose place it takes (RFC 3891): take-over, pick-up.
    pub replaces: Option<Replaces>,
    /// Further headers, such as `Diversion` or `Privacy`.
    pub headers: Vec<(String, String)>,
    /// Who offers.
    pub offer: Offering,
}

impl Calling {
    /// A usual call.
    #[must_use]
    pub fn to(uri: Uri) -> Self {
        Self {
            uri,
            replaces: None,
            headers: Vec::new(),
            offer: Offering::Caller,
        }
    }
}

/// Who makes the offer of a call (RFC 3261 §13.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offering {
    /// The caller, in its INVITE.
    Caller,
    /// The called party, in its answer; the caller's INVITE has no description.
    Callee,
}

/// The request that changes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A re-INVITE (RFC 3261 §14).
    ReInvite,
    /// UPDATE (RFC 3311), also before the answer.
    Update,
}

/// What becomes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: a refresh. UPDATE has no body then, a re-INVITE offers what stands.
    Refresh,
    /// Nothing; what stands is offered again.
    Same,
    /// Nothing; the other end is asked for its offer (re-INVITE only).
    Offerless,
    /// Hold.
    Hold(HoldStyle),
    /// Retrieval.
    Retrieve,
    /// Nothing of the session; the offer says what is wanted of the recording (RFC 7866 §7.3.2). A phone
    /// with a standing preference has this one from then on.
    Prefer(RecordPreference),
}

/// What a phone showed of a recording from one moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// When it was told.
    pub at: Instant,
    /// What.
    pub state: RecordState,
}

/// Whether a REFER makes a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// It does, or it still lives.
    Active,
    /// It does not (RFC 4488), or it has ended.
    None,
}

/// What a phone wants sent, or has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send SIP.
    Send {
        /// Where to; for a stream, over which connection (to be opened if it is the proxy's).
        flow: Flow,
        /// One message.
        bytes: Bytes,
    },
    /// Send from the RTP port.
    SendRtp {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Send from the RTCP port.
    SendRtcp {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Something happened to the call.
    Event(PhoneEvent),
}

/// Something that happened to a phone's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneEvent {
    /// The called phone rings (180), or this phone rings.
    Ringing,
    /// A provisional answer with media came.
    EarlyMedia,
    /// The call was answered, by either end.
    Answered,
    /// The call is on hold.
    Held {
        /// Who holds it.
        by: End,
    },
    /// The call is back from hold.
    Retrieved {
        /// Who had held it.
        by: End,
    },
    /// `Action::Recode` was answered.
    Recoded,
    /// `Action::Alter` that changes nothing was answered.
    Refreshed,
    /// The session of the other end was refreshed by it, or changed in nothing that is told.
    RefreshedByPeer,
    /// A reliable provisional response was acknowledged, by either end (RFC 3262).
    Acknowledged,
    /// The call was refused with this status, by the peer or by this phone.
    Refused(StatusCode),
    /// The call is over.
    Ended {
        /// Who hung up.
        by: End,
    },
    /// The call was replaced by the one that follows (RFC 3891).
    Replaced,
    /// `Action::Refer` was answered.
    ReferAnswered(StatusCode),
    /// A NOTIFY told what becomes of `Action::Refer`.
    Progress {
        /// The status of the new call.
        status: StatusCode,
        /// Whether more will be told.
        subscription: Subscription,
    },
    /// The other end asks this phone to call somebody: see `Phone::referred`.
    Referred,
    /// `Action::Register` was granted.
    Registered,
    /// The registration was ended as asked.
    Unregistered,
    /// `Action::Register` was refused.
    RegisterRefused(StatusCode),
    /// The INFO of `Action::Record` was answered.
    InfoAnswered(StatusCode),
    /// The request of `Action::Send` was answered.
    Replied(StatusCode),
    /// The icon of the recording has changed (RFC 7866 §7.3.1).
    Indicated(RecordState),
    /// Something did not work.
    Failed(Failure),
}

/// One of the two ends of a phone's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// This phone.
    Phone,
    /// The other end.
    Peer,
}

/// Why something did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No answer to a request, or its connection is gone.
    #[error("a request was not answered")]
    NoResponse,
    /// The 200 to an INVITE was never acknowledged; the call was ended.
    #[error("the answer was not acknowledged")]
    NoAck,
    /// A reliable provisional response was never acknowledged; the call was refused.
    #[error("a provisional response was not acknowledged")]
    NoPrack,
    /// The peer's message cannot be used.
    #[error("the peer's message cannot be used")]
    BadMessage,
    /// The peer's description has no audio this phone can speak; the call was ended.
    #[error("no audio in common")]
    NoAudio,
    /// A re-INVITE or UPDATE was refused.
    #[error("a change of the call was refused")]
    ChangeRefused(StatusCode),
    /// Nobody refreshed the session in time (RFC 4028); the call was ended.
    #[error("the session expired")]
    SessionExpired,
    /// The action does not fit the state of the call.
    #[error("the action does not fit the call's state")]
    WrongMoment,
    /// A key that is none, or no telephone-event was agreed on.
    #[error("a key cannot be sent")]
    NoSuchKey,
}
