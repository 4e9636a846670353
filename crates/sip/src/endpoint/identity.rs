//! What makes messages belong together (RFC 3261 §17.1.3, §17.2.3, §8.2.2.2, §13.3.1.4).

use crate::message::Request;
use crate::method::Method;
use crate::reads::HeaderError;
use crate::via::Via;

/// Finds a client transaction: our branch and the CSeq method (RFC 3261 §17.1.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientMatch {
    pub branch: String,
    pub method: Method,
}

/// Finds a server transaction (RFC 3261 §17.2.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerMatch {
    branch: String,
    sent_by: String,
    method: Method,
}

impl ServerMatch {
    /// For `method` INVITE this finds the INVITE that an ACK or a CANCEL belongs to.
    pub(crate) fn of(request: &Request, via: &Via, method: Method) -> Result<Self, HeaderError> {
        let sent_by = format!(
            "{}:{}",
            via.host.to_ascii_lowercase(),
            via.port.unwrap_or(5060)
        );
        let branch = match via.branch() {
            Some(branch) if via.is_rfc3261() => branch.to_owned(),
            // An RFC 2543 branch says little: the request's own names take its place.
            branch => format!(
                "{} {} {} {} {}",
                request.uri,
                request.from()?.tag().unwrap_or_default(),
                request.call_id()?,
                request.cseq()?.number,
                branch.unwrap_or_default(),
            ),
        };
        Ok(ServerMatch {
            branch,
            sent_by,
            method,
        })
    }
}

/// A request's own identity, whatever way it came (RFC 3261 §8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InviteIdentity {
    call_id: String,
    from_tag: String,
    number: u32,
    method: Method,
}

impl InviteIdentity {
    pub(crate) fn of(request: &Request, method: Method) -> Result<Self, HeaderError> {
        Ok(InviteIdentity {
            call_id: request.call_id()?.to_owned(),
            from_tag: request.from()?.tag().unwrap_or_default().to_owned(),
            number: request.cseq()?.number,
            method,
        })
    }
}

/// FNV-1a, for tags that need to be the same for the same request and hard to guess by accident only.
pub(crate) fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(start ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
