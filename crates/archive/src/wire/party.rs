//! Who takes part in a call, what kind of call it is, and what other calls it belongs to.

use serde::{Deserialize, Serialize};

/// What kind of call it is (SPEC B4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Class {
    /// Whether the public network takes part.
    pub network: Network,
    /// What the call is for.
    pub nature: Nature,
}

/// Whether the public network takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Between users and PBXs of one organisation.
    Internal,
    /// To or from the public network.
    Pstn,
    /// Not said, or in a word this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// People talk.
    Conversation,
    /// A message is left or listened to.
    Voicemail,
    /// An emergency number was called.
    Emergency,
    /// Not said, or in a word this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Where a call stands among others. Earlier versions wrote nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Chain {
    /// The same for all recordings of one chain of calls: 32 lower-case hexadecimal digits (SPEC D9).
    pub correlation: Option<String>,
    /// The other party when the call began: a number or a name.
    pub party: Option<String>,
    /// The numbers that the call was diverted from before it came here, latest first (Diversion, RFC
    /// 5806; History-Info, RFC 7044).
    pub diversion: Vec<String>,
}

/// How a party came into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// It called or was called: the call began with it.
    Call,
    /// By a transfer (REFER, RFC 3515).
    Transfer,
    /// It took the place of another party (Replaces, RFC 3891).
    Replaced,
    /// It picked up a call that rang elsewhere.
    PickedUp,
    /// The one that was called redirected the call (3xx).
    Redirected,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a party left a call that went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// It hung up.
    HungUp,
    /// It connected the other party to somebody else.
    Transferred,
    /// Another party took its place.
    Replaced,
    /// It redirected the call before it answered.
    Redirected,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}
