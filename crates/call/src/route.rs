//! Where a call comes from and where it goes: a pure reading of the settings and of who is where now.
//!
//! The source is known by the address the INVITE came from, or by the connection a phone registered on.
//! Neighbours that share one address (a laboratory, a NAT) are told apart by port over UDP and
//! otherwise by the number in From.

use std::net::IpAddr;

use duolog_reach::hops::{Destination, Host};
use duolog_sip::sdp::MediaSecurity;
use duolog_sip::{Flow, Scheme, Transport, Uri};

use crate::class::{Class, classify};
use crate::number::{inward, number, outward};
use crate::settings::{Contact, Location, Settings, Trunk, TrunkIndex, UserIndex};

/// One end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// A user's phone.
    User(UserIndex),
    /// A neighbour that carries calls for others.
    Trunk(TrunkIndex),
}

impl Party {
    /// Where this party listens, if that is configured as an address.
    pub(crate) fn contact(self, settings: &Settings) -> Option<Contact> {
        match self {
            Self::User(UserIndex(at)) => match settings.users[at].location {
                Location::At(contact) => Some(contact),
                Location::Registered => None,
            },
            Self::Trunk(TrunkIndex(at)) => address_of(&settings.trunks[at].destination),
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
    /// The number that was called, in this node's own form.
    pub number: String,
    /// The number as the callee is asked for it.
    pub dialled: String,
    /// The class of the call.
    pub class: Class,
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
    /// The user is known, but no phone of theirs is registered now.
    #[error("no phone of that user is registered")]
    NotRegistered,
    /// The next hop's name leads nowhere.
    #[error("the next hop's name leads to no address")]
    NoAddress,
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
            Self::NotRegistered => 480,
            Self::NoAddress => 504,
        }
    }
}

/// Who is where, as far as it changes while the node runs.
pub(crate) trait Whereabouts {
    /// The addresses that the name of a destination led to last.
    fn addresses(&self, destination: &Destination) -> Vec<IpAddr>;
    /// The name of the user whose phone registered over this very flow.
    fn user_on(&self, flow: &Flow) -> Option<&str>;
    /// The names that the peer of a flow proved by its certificate.
    fn certified(&self, flow: &Flow) -> &[String];
}

/// Decides where an INVITE for `target`, sent by `caller`, goes.
pub(crate) fn route(settings: &Settings, caller: Party, target: &Uri) -> Result<Route, NoRoute> {
    let route = route_again(settings, caller, target)?;
    // Never back to where the call came from.
    match (route.caller, route.callee) {
        (Party::Trunk(from), Party::Trunk(to)) if from == to => Err(NoRoute::UnknownNumber),
        _ => Ok(route),
    }
}

/// The same for a redirection or a transfer: it may lead back to the trunk of who asks for it.
pub(crate) fn route_again(
    settings: &Settings,
    caller: Party,
    target: &Uri,
) -> Result<Route, NoRoute> {
    if matches!(target.scheme, Scheme::Other(_)) {
        return Err(NoRoute::Scheme);
    }
    let number = own_number(settings, caller, &number(target));
    if number.is_empty() {
        return Err(NoRoute::UnknownNumber);
    }
    let callee = user_with(settings, &number).map(Party::User);
    let callee = callee.or_else(|| onward(settings, &number));
    let callee = callee.ok_or(NoRoute::UnknownNumber)?;
    let class = classify(settings, caller, callee, &number);
    let dialled = match callee {
        Party::User(_) => number.clone(),
        Party::Trunk(TrunkIndex(at)) => outward(&settings.trunks[at].numbers, &number),
    };
    Ok(Route {
        caller,
        callee,
        number,
        dialled,
        class,
    })
}

/// A number as its writer dials it, in this node's own form.
pub(crate) fn own_number(settings: &Settings, writer: Party, number: &str) -> String {
    match writer {
        Party::User(_) => number.to_owned(),
        Party::Trunk(TrunkIndex(at)) => inward(&settings.trunks[at].numbers, number),
    }
}

/// The user with this name or number.
pub(crate) fn user_with(settings: &Settings, number: &str) -> Option<UserIndex> {
    let mut users = settings.users.iter();
    users
        .position(|user| user.name == number || user.numbers.iter().any(|n| n == number))
        .map(UserIndex)
}

/// Where numbers go that belong to no user: along the longest prefix, else to the next hop.
fn onward(settings: &Settings, number: &str) -> Option<Party> {
    let fits = settings.numbering.routes.iter();
    let fits = fits.filter(|route| number.starts_with(&route.prefix));
    let longest = fits.max_by_key(|route| route.prefix.len());
    let trunk = longest.map(|route| route.trunk).or(settings.next_hop)?;
    Some(Party::Trunk(trunk))
}

/// Whether anything configured is at the address that a request came from.
pub(crate) fn is_neighbour(settings: &Settings, now: &dyn Whereabouts, flow: &Flow) -> bool {
    now.user_on(flow).is_some() || candidates(settings).any(|p| is_here(settings, now, flow, p))
}

/// Who sent an INVITE over `flow` with this From; [`NoRoute::Loop`] where it was this node.
pub(crate) fn source(
    settings: &Settings,
    now: &dyn Whereabouts,
    flow: &Flow,
    from: &Uri,
) -> Result<Party, NoRoute> {
    if settings.local.on(flow.transport, flow.peer.ip()) == Some(flow.peer) {
        return Err(NoRoute::Loop);
    }
    if let Some(name) = now.user_on(flow)
        && let Some(user) = user_with(settings, name)
    {
        return Ok(Party::User(user));
    }
    let caller = user_with(settings, &number(from)).map(Party::User);
    let here = || candidates(settings).filter(|p| is_here(settings, now, flow, *p));
    // A UDP neighbour sends from the port it listens on; a TCP one from any.
    let exact = |party: &Party| {
        let contact = party.contact(settings);
        flow.transport == Transport::Udp && contact.is_some_and(|c| c.addr == flow.peer)
    };
    let exact_callers = || here().filter(exact);
    if let Some(party) = exact_callers()
        .find(|p| Some(*p) == caller)
        .or(exact_callers().next())
    {
        return Ok(party);
    }
    let mut near: Vec<Party> = here().collect();
    if let Some(party) = near.iter().find(|party| Some(**party) == caller) {
        return Ok(*party);
    }
    // A user does not call under a strange number, a trunk does.
    near.sort_by_key(|party| matches!(party, Party::User(_)));
    near.first().copied().ok_or(NoRoute::UnknownSource)
}

fn candidates(settings: &Settings) -> impl Iterator<Item = Party> {
    let users = (0..settings.users.len()).map(|at| Party::User(UserIndex(at)));
    users.chain((0..settings.trunks.len()).map(|at| Party::Trunk(TrunkIndex(at))))
}

/// Whether requests over `flow` may be this party's.
fn is_here(settings: &Settings, now: &dyn Whereabouts, flow: &Flow, party: Party) -> bool {
    let peer = flow.peer.ip().to_canonical();
    let by_contact = party.contact(settings).is_some_and(|contact| {
        contact.transport == flow.transport && contact.addr.ip().to_canonical() == peer
    });
    match party {
        Party::User(_) => by_contact,
        Party::Trunk(TrunkIndex(at)) => {
            let trunk = &settings.trunks[at];
            let network = || trunk.networks.iter().any(|network| network.contains(peer));
            let looked_up = || {
                let addresses = now.addresses(&trunk.destination);
                addresses
                    .iter()
                    .any(|address| address.to_canonical() == peer)
            };
            (by_contact || network() || looked_up()) && has_proved(trunk, now, flow)
        }
    }
}

fn has_proved(trunk: &Trunk, now: &dyn Whereabouts, flow: &Flow) -> bool {
    let Some(wanted) = &trunk.certificate else {
        return true;
    };
    let mut names = now.certified(flow).iter();
    names.any(|name| name.eq_ignore_ascii_case(wanted))
}

fn address_of(destination: &Destination) -> Option<Contact> {
    let Host::Address(ip) = destination.host else {
        return None;
    };
    let transport = destination.transport.unwrap_or(Transport::Udp);
    let port = destination.port.unwrap_or(match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
    });
    let addr = (ip, port).into();
    Some(Contact { addr, transport })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{NumberRoute, NumberRule};
    use crate::testing::{ALICE as ALICE_INDEX, BOB as BOB_INDEX, settings};

    /// Nobody is registered, and no name leads anywhere.
    struct Nowhere;

    impl Whereabouts for Nowhere {
        fn addresses(&self, _: &Destination) -> Vec<IpAddr> {
            Vec::new()
        }
        fn user_on(&self, _: &Flow) -> Option<&str> {
            None
        }
        fn certified(&self, _: &Flow) -> &[String] {
            &[]
        }
    }

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
        let local = settings.local.on(transport, [192, 0, 2, 1].into()).unwrap();
        let flow = Flow {
            transport,
            local,
            peer: peer.parse().unwrap(),
        };
        let name = |party| match party {
            Party::User(UserIndex(at)) => settings.users[at].name.clone(),
            Party::Trunk(TrunkIndex(at)) => settings.trunks[at].name.clone(),
        };
        let target = to.parse().unwrap();
        let found = source(&settings, &Nowhere, &flow, &from.parse().unwrap());
        let found = found.and_then(|caller| super::route(&settings, caller, &target));
        let found = match found {
            Ok(route) => format!(
                "{}>{} {} at {}",
                name(route.caller),
                name(route.callee),
                route.dialled,
                route.callee.contact(&settings).unwrap().addr
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

    /// A trunk known by name and certificate, and a phone that registered.
    struct Known;

    impl Whereabouts for Known {
        fn addresses(&self, destination: &Destination) -> Vec<IpAddr> {
            match &destination.host {
                Host::Name(name) if name == "sbc.example.net" => vec![[198, 51, 100, 7].into()],
                _ => Vec::new(),
            }
        }
        fn user_on(&self, flow: &Flow) -> Option<&str> {
            (flow.peer.port() == 50_001).then_some("bob")
        }
        fn certified(&self, flow: &Flow) -> &[String] {
            static NAMES: std::sync::LazyLock<Vec<String>> =
                std::sync::LazyLock::new(|| vec!["SBC.example.net".to_owned()]);
            match flow.transport {
                Transport::Tls => &NAMES,
                _ => &[],
            }
        }
    }

    #[test]
    fn names_networks_certificates_and_registrations_tell_who_calls() {
        let mut settings = settings();
        settings.trunks[1].destination = Destination {
            host: Host::Name("sbc.example.net".into()),
            port: None,
            transport: None,
        };
        settings.trunks[0].networks = vec!["203.0.113.0/24".parse().unwrap()];
        let from: Uri = "sip:4711@x".parse().unwrap();
        let mut check = |transport, peer: &str, certificate: Option<&str>, want| {
            settings.trunks[1].certificate = certificate.map(str::to_owned);
            let (local, peer) = ("192.0.2.99:5060".parse().unwrap(), peer.parse().unwrap());
            let flow = Flow {
                transport,
                local,
                peer,
            };
            let found = source(&settings, &Known, &flow, &from);
            assert_eq!(found, want, "{peer} {certificate:?}");
            assert_eq!(is_neighbour(&settings, &Known, &flow), want.is_ok());
        };
        let [pstn, lab] = [0, 1].map(|at| Ok(Party::Trunk(TrunkIndex(at))));
        let unknown = Err(NoRoute::UnknownSource);
        use Transport::{Tcp, Tls, Udp};
        check(Udp, "198.51.100.7:5060", None, lab);
        check(Tls, "198.51.100.7:33000", Some("sbc.example.NET"), lab);
        check(
            Tls,
            "198.51.100.7:33000",
            Some("other.example.net"),
            unknown,
        );
        check(Tcp, "198.51.100.7:33000", Some("sbc.example.net"), unknown);
        check(Tcp, "203.0.113.200:33000", None, pstn);
        check(Tcp, "203.0.114.1:33000", None, unknown);
        check(Tcp, "203.0.114.1:50001", None, Ok(Party::User(BOB_INDEX)));
    }

    #[test]
    fn prefixes_and_number_rules_lead_onward() {
        let mut settings = settings();
        let (pstn, lab) = (TrunkIndex(0), TrunkIndex(1));
        let route_to = |prefix: &str, trunk| NumberRoute {
            prefix: prefix.into(),
            trunk,
        };
        settings.numbering.routes = vec![route_to("+3170", lab), route_to("+31", pstn)];
        let rule = |prefix: &str, instead: &str| NumberRule {
            prefix: prefix.into(),
            instead: instead.into(),
        };
        settings.trunks[0].numbers.inward = vec![rule("00", "+"), rule("0", "+31")];
        settings.trunks[1].numbers.outward = vec![rule("+31", "0")];
        let alice = Party::User(ALICE_INDEX);
        for (caller, target, callee, number, dialled) in [
            (alice, "+31701234", lab, "+31701234", "0701234"),
            (alice, "+31201234", pstn, "+31201234", "+31201234"),
            (alice, "+4420", pstn, "+4420", "+4420"),
            (Party::Trunk(pstn), "0701234", lab, "+31701234", "0701234"),
            (
                Party::Trunk(pstn),
                "0031701234",
                lab,
                "+31701234",
                "0701234",
            ),
        ] {
            let uri = format!("sip:{target}@x").parse().unwrap();
            let found = super::route(&settings, caller, &uri).unwrap();
            assert_eq!(found.callee, Party::Trunk(callee), "{target}");
            assert_eq!((&*found.number, &*found.dialled), (number, dialled));
        }
        let inward: Uri = "sip:0205551001@x".parse().unwrap();
        let found = super::route(&settings, Party::Trunk(pstn), &inward).unwrap();
        assert_eq!(found.callee, alice);
        // The only way on leads back.
        let back: Uri = "sip:0201234@x".parse().unwrap();
        let found = super::route(&settings, Party::Trunk(pstn), &back);
        assert_eq!(found, Err(NoRoute::UnknownNumber));
    }
}
