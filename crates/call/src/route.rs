//! Where a call comes from and where it goes: a pure reading of the settings.
//!
//! The source is known by the address the INVITE came from. Neighbours that share one address (a
//! laboratory, a NAT) are told apart by port over UDP and otherwise by the number in From.

use duolog_sip::sdp::MediaSecurity;
use duolog_sip::{Flow, Scheme, Transport, Uri};

use crate::settings::{Contact, Settings, TrunkIndex, UserIndex};

/// One end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// A user's phone.
    User(UserIndex),
    /// A neighbour that carries calls for others.
    Trunk(TrunkIndex),
}

impl Party {
    /// Where this party is reached.
    pub(crate) fn contact(self, settings: &Settings) -> Contact {
        match self {
            Self::User(UserIndex(at)) => settings.users[at].contact,
            Self::Trunk(TrunkIndex(at)) => settings.trunks[at].contact,
        }
    }

    /// Whether media to and from this party is protected.
    pub(crate) fn media_security(self, settings: &Settings) -> MediaSecurity {
        match self {
            Self::User(UserIndex(at)) => settings.users[at].media_security,
            Self::Trunk(TrunkIndex(at)) => settings.trunks[at].media_security,
        }
    }
}

/// From whom to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// The number that was called, as dialled, without visual separators.
    pub number: String,
    /// The flow towards the callee.
    pub flow: Flow,
}

/// Why a call has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The source is neither a trunk nor a user.
    #[error("the source is not known here")]
    UnknownSource,
    /// The request URI is neither sip, sips nor tel.
    #[error("the request URI's scheme is not supported")]
    Scheme,
    /// The number belongs to nobody here and there is nowhere else to ask.
    #[error("the number belongs to nobody here")]
    UnknownNumber,
    /// The request came from this node itself.
    #[error("the request came from this node itself")]
    Loop,
    /// The callee is reached over a transport this node does not listen on.
    #[error("the callee's transport is not configured on this node")]
    NoTransport,
}

impl NoRoute {
    /// The status code for the caller.
    pub fn status_code(self) -> u16 {
        match self {
            Self::UnknownSource => 403,
            Self::Scheme => 416,
            Self::UnknownNumber => 404,
            Self::Loop => 482,
            Self::NoTransport => 502,
        }
    }
}

/// Decides where an INVITE for `target`, received over `flow` and sent by `from`, goes.
pub fn route(settings: &Settings, flow: &Flow, from: &Uri, target: &Uri) -> Result<Route, NoRoute> {
    if settings.local.on(flow.transport) == Some(flow.peer) {
        return Err(NoRoute::Loop);
    }
    let caller = source(settings, flow, from).ok_or(NoRoute::UnknownSource)?;
    if matches!(target.scheme, Scheme::Other(_)) {
        return Err(NoRoute::Scheme);
    }
    let number = number(target);
    let callee = user_with(settings, &number).map(Party::User);
    let callee = callee
        .or_else(|| onward(settings, caller))
        .filter(|_| !number.is_empty());
    let callee = callee.ok_or(NoRoute::UnknownNumber)?;
    let contact = callee.contact(settings);
    let local = settings
        .local
        .on(contact.transport)
        .ok_or(NoRoute::NoTransport)?;
    let flow = Flow {
        transport: contact.transport,
        local,
        peer: contact.addr,
    };
    Ok(Route {
        caller,
        callee,
        number,
        flow,
    })
}

/// The number or name a URI stands for, without visual separators (RFC 3966 §5.1.1).
pub(crate) fn number(uri: &Uri) -> String {
    let user = uri.user.as_deref().unwrap_or_default();
    let user = user.split(';').next().unwrap_or_default();
    let dialled = user
        .chars()
        .all(|c| c.is_ascii_digit() || "+*#-.()".contains(c));
    if dialled {
        user.chars().filter(|c| !"-.()".contains(*c)).collect()
    } else {
        user.to_owned()
    }
}

fn user_with(settings: &Settings, number: &str) -> Option<UserIndex> {
    let mut users = settings.users.iter();
    users
        .position(|user| user.name == number || user.numbers.iter().any(|n| n == number))
        .map(UserIndex)
}

/// Where numbers go that belong to no user; never back to where the call came from.
fn onward(settings: &Settings, caller: Party) -> Option<Party> {
    let next_hop = Party::Trunk(settings.next_hop?);
    (next_hop != caller).then_some(next_hop)
}

/// Whether anything configured is at the address that a request came from.
pub(crate) fn is_neighbour(settings: &Settings, flow: &Flow) -> bool {
    let contacts = settings.users.iter().map(|user| user.contact);
    let mut contacts = contacts.chain(settings.trunks.iter().map(|trunk| trunk.contact));
    contacts
        .any(|contact| contact.transport == flow.transport && contact.addr.ip() == flow.peer.ip())
}

fn source(settings: &Settings, flow: &Flow, from: &Uri) -> Option<Party> {
    let candidates = || {
        let users = (0..settings.users.len()).map(|at| Party::User(UserIndex(at)));
        users.chain((0..settings.trunks.len()).map(|at| Party::Trunk(TrunkIndex(at))))
    };
    let here = |party: &Party| {
        let contact = party.contact(settings);
        contact.transport == flow.transport && contact.addr.ip() == flow.peer.ip()
    };
    // A UDP neighbour sends from the port it listens on; a TCP one from any.
    let exact = |party: &Party| {
        flow.transport == Transport::Udp && party.contact(settings).addr == flow.peer
    };
    let caller = user_with(settings, &number(from)).map(Party::User);
    let exact_callers = || candidates().filter(exact);
    if let Some(party) = exact_callers()
        .find(|p| Some(*p) == caller)
        .or(exact_callers().next())
    {
        return Some(party);
    }
    let mut near: Vec<Party> = candidates().filter(here).collect();
    if let Some(party) = near.iter().find(|party| Some(**party) == caller) {
        return Some(*party);
    }
    // A user does not call under a strange number, a trunk does.
    near.sort_by_key(|party| matches!(party, Party::User(_)));
    near.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    const TRUNK: &str = "192.0.2.1:5060";
    const ALICE: &str = "192.0.2.10:5060";

    /// `from` and `to` are URIs, `peer` an address with `udp` or `tcp` in front.
    fn check(peer: &str, from: &str, to: &str, expected: &str) {
        let settings = settings();
        let (transport, peer) = peer.split_once(' ').unwrap();
        let transport = if transport == "tcp" {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let local = settings.local.on(transport).unwrap();
        let flow = Flow {
            transport,
            local,
            peer: peer.parse().unwrap(),
        };
        let name = |party| match party {
            Party::User(UserIndex(at)) => settings.users[at].name.clone(),
            Party::Trunk(TrunkIndex(at)) => settings.trunks[at].name.clone(),
        };
        let found = match route(
            &settings,
            &flow,
            &from.parse().unwrap(),
            &to.parse().unwrap(),
        ) {
            Ok(route) => format!(
                "{}>{} {} at {}",
                name(route.caller),
                name(route.callee),
                route.number,
                route.flow.peer
            ),
            Err(refusal) => refusal.status_code().to_string(),
        };
        assert_eq!(found, expected, "{peer} {from} {to}");
    }

    #[test]
    fn calls_find_their_way() {
        let udp = |addr: &str| format!("udp {addr}");
        let out = "sip:9000@x";
        check(
            &udp(TRUNK),
            out,
            "sip:1001@x",
            "pstn>alice 1001 at 192.0.2.10:5060",
        );
        check(
            &udp(TRUNK),
            out,
            "sip:alice@x",
            "pstn>alice alice at 192.0.2.10:5060",
        );
        check(
            &udp(TRUNK),
            out,
            "tel:+31-20-555.10.01",
            "pstn>alice +31205551001 at 192.0.2.10:5060",
        );
        check(
            &udp(TRUNK),
            out,
            "sip:+3120(555)1001;x=y@h;user=phone",
            "pstn>alice +31205551001 at 192.0.2.10:5060",
        );
        check(
            &udp(ALICE),
            "sip:1001@x",
            "sip:1002@x",
            "alice>bob 1002 at 192.0.2.11:5060",
        );
        check(
            &udp(ALICE),
            "sip:1001@x",
            "sip:0612345678@x",
            "alice>pstn 0612345678 at 192.0.2.1:5060",
        );
        check("tcp 192.0.2.1:40000", out, "sip:1001@x", "403");
        check(
            "udp 192.0.2.1:40000",
            out,
            "sip:1001@x",
            "pstn>alice 1001 at 192.0.2.10:5060",
        );
        check(
            "udp 192.0.2.10:777",
            "sip:555@x",
            "sip:1002@x",
            "alice>bob 1002 at 192.0.2.11:5060",
        );
    }

    #[test]
    fn calls_without_a_way_are_refused() {
        let udp = |addr: &str| format!("udp {addr}");
        check(&udp(TRUNK), "sip:9000@x", "sip:7777@x", "404");
        check(&udp(TRUNK), "sip:9000@x", "sip:x", "404");
        check(&udp(ALICE), "sip:1001@x", "sip:x", "404");
        check(&udp(TRUNK), "sip:9000@x", "urn:service:sos", "416");
        check("udp 198.51.100.1:5060", "sip:1001@x", "sip:1002@x", "403");
        check("udp 192.0.2.99:5060", "sip:1001@x", "sip:1002@x", "482");
        check(
            &udp(ALICE),
            "sip:1001@x",
            "sip:1003@x",
            "alice>carol 1003 at 192.0.2.12:5060",
        );
    }

    #[test]
    fn neighbours_on_one_address_are_told_apart() {
        let lab = "udp 192.0.2.20:5062";
        check(
            lab,
            "sip:2001@x",
            "sip:1001@x",
            "dave>alice 1001 at 192.0.2.10:5060",
        );
        check(
            "udp 192.0.2.20:5070",
            "sip:x@x",
            "sip:1001@x",
            "lab>alice 1001 at 192.0.2.10:5060",
        );
        check(
            "udp 192.0.2.20:9",
            "sip:2001@x",
            "sip:1001@x",
            "dave>alice 1001 at 192.0.2.10:5060",
        );
        check(
            "udp 192.0.2.20:9",
            "sip:44@x",
            "sip:1001@x",
            "lab>alice 1001 at 192.0.2.10:5060",
        );
        // A trunk that is not the next hop may reach the next hop.
        check(
            "udp 192.0.2.20:5070",
            "sip:44@x",
            "sip:0201@x",
            "lab>pstn 0201 at 192.0.2.1:5060",
        );
    }
}
