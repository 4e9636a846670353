//! What a registrar's response says about time.

use std::time::Duration;

use duolog_sip::{NameAddr, Response};

use crate::registrar::address::equivalent;
use crate::registrar::asked::seconds;

/// The longest time that is believed: a week, in seconds.
const LONGEST_S: u32 = 7 * 24 * 3600;
/// The longest `Retry-After` that is kept to.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long the binding of `own` was granted, in seconds: what stands beside it, or beside the only
/// one there is (a registrar before a NAT writes it anew); else Expires; else what was asked.
pub(super) fn granted_s(response: &Response, own: Option<&NameAddr>, asked_s: u32) -> u32 {
    let contacts: Vec<NameAddr> = response
        .headers
        .values("Contact")
        .filter_map(|value| value.parse().ok())
        .collect();
    let same = |one: &&NameAddr| own.is_some_and(|own| equivalent(&one.uri, &own.uri));
    let mut ours = contacts.iter().filter(same);
    let ours = ours.next().or(match &contacts[..] {
        [only] => Some(only),
        _ => None,
    });
    let beside = ours.and_then(|contact| contact.params.value("expires"));
    let stated = beside.or(response.headers.value("Expires"));
    stated.and_then(seconds).unwrap_or(asked_s).min(LONGEST_S)
}

/// What a 423 asks for, in seconds; `None` where it says nothing sensible.
pub(super) fn min_expires_s(response: &Response) -> Option<u32> {
    let min_s = response.headers.value("Min-Expires").and_then(seconds);
    min_s.filter(|min_s| *min_s <= LONGEST_S)
}

/// How long to wait at least (RFC 3261 §20.33).
pub(super) fn retry_after(response: &Response) -> Duration {
    let text = response.headers.value("Retry-After").unwrap_or_default();
    let number = text.split([';', '(', ' ']).next().and_then(seconds);
    Duration::from_secs(number.unwrap_or(0).into()).min(LONGEST_WAIT)
}
