//! `[sip]`, `[registrar]`, `[dns]`, `[limits]` and `[numbering]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use duolog_reach::digest::Algorithm;
use duolog_reach::limits::{LimitSettings, Network, Rates};
use duolog_reach::registrar::RegistrarSettings;
use duolog_sip::Transport;

use super::words::{ip, number, prefix, quoted, some_text};
use super::{ADDRESSES, SECONDS, one_of_a_family, within};
use crate::config::document::Section;
use crate::config::units::{rate, transport_address};
use crate::config::{Clients, Dns, Numbering, Route, Session, Sip, Tls, Trunk};

/// An address of ours or of a phone.
pub(super) const ADDRESS: &str =
    "write udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT with a numeric host";
const NETWORK: &str = "write an address, or a network as in 192.0.2.0/24 with no bits behind it";

pub(super) fn sip(mut section: Section<'_>) -> Sip {
    let local = SocketAddr::from(([127, 0, 0, 1], 5060));
    let both = vec![(Transport::Udp, local), (Transport::Tcp, local)];
    let sip = Sip {
        listen: section.list("listen", both, ADDRESS, transport_address),
        advertise: section.one_or_more("advertise", Vec::new(), ADDRESSES, ip),
        ring_timeout: within(&mut section, "ring_timeout", 180 * SECONDS, (5, 600)),
        session: session(&mut section),
        tls: tls(section.section("tls")),
    };
    if sip.listen.is_empty() {
        section.refuse("listen", "needs at least one address".into());
    }
    one_of_a_family(&section, "advertise", &sip.advertise);
    let untold = |bound: SocketAddr| sip.told(bound).ip().is_unspecified();
    if sip.listen.iter().any(|(_, bound)| untold(*bound)) {
        section.refuse(
            "listen",
            "peers can not be told to reach any address; add advertise".into(),
        );
    }
    let secured = sip.listen.iter().any(|(t, _)| *t == Transport::Tls);
    if secured && sip.tls.certificate.is_none() {
        section.refuse("listen", "tls needs sip.tls.certificate and its key".into());
    }
    section.finish();
    sip
}

fn session(section: &mut Section<'_>) -> Session {
    let expires = within(section, "session_expires", 1800 * SECONDS, (90, 86_400));
    // RFC 4028 §5: never below 90 seconds.
    let min = within(section, "min_se", 90 * SECONDS, (90, 86_400));
    if expires < min {
        section.refuse("session_expires", "is shorter than min_se".into());
    }
    Session {
        expires_s: expires.as_secs() as u32,
        min_s: min.as_secs() as u32,
    }
}

fn tls(mut section: Section<'_>) -> Tls {
    let words = [
        ("off", Clients::Off),
        ("optional", Clients::Optional),
        ("required", Clients::Required),
    ];
    let tls = Tls {
        certificate: file(&mut section, "certificate"),
        key: file(&mut section, "key"),
        roots: file(&mut section, "roots"),
        client_roots: file(&mut section, "client_roots"),
        clients: section.choice("clients", Clients::Off, &words),
    };
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => section.refuse("certificate", "needs a key".into()),
        (None, Some(_)) => section.refuse("key", "needs a certificate".into()),
        _ => {}
    }
    if tls.clients != Clients::Off && tls.client_roots.is_none() {
        section.refuse("clients", "needs client_roots".into());
    }
    section.finish();
    tls
}

fn file(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    section.optional(key, "write a path", |t| some_text(t).map(PathBuf::from))
}

pub(super) fn registrar(mut section: Section<'_>) -> RegistrarSettings {
    let usual = RegistrarSettings::default();
    let algorithm = |text: &str| match text {
        "sha-256" => Some(Algorithm::Sha256),
        "md5" => Some(Algorithm::Md5),
        _ => None,
    };
    let (min, default, max) = usual.expires_s;
    let mut expires = |key, default: u32| {
        within(&mut section, key, default * SECONDS, (10, 604_800)).as_secs() as u32
    };
    let expires_s = (
        expires("min_expires", min),
        expires("expires", default),
        expires("max_expires", max),
    );
    if !(expires_s.0 <= expires_s.1 && expires_s.1 <= expires_s.2) {
        let what = "must lie between min_expires and max_expires".into();
        section.refuse("expires", what);
    }
    let realm = "write a name without quotes";
    let digests = "write sha-256 or md5, best first";
    let registrar = RegistrarSettings {
        realm: section.parsed("realm", usual.realm, realm, quoted),
        algorithms: section.list("algorithms", usual.algorithms, digests, algorithm),
        expires_s,
        contacts: section.number("contacts", usual.contacts as i64, 1..=100) as usize,
        ..RegistrarSettings::default()
    };
    if registrar.algorithms.is_empty() {
        section.refuse("algorithms", "needs at least one".into());
    }
    section.finish();
    registrar
}

pub(super) fn dns(mut section: Section<'_>) -> Dns {
    let server = |text: &str| {
        let host = |ip: IpAddr| SocketAddr::new(ip, 53);
        let ip = text.parse().map(host);
        ip.or_else(|_| text.parse()).ok()
    };
    let allowed = "write ADDRESS or ADDRESS:PORT with a numeric address";
    let dns = Dns {
        servers: section.list("servers", Vec::new(), allowed, server),
        timeout: within(&mut section, "timeout", 5 * SECONDS, (1, 30)),
        avoid: within(&mut section, "avoid", 60 * SECONDS, (1, 3600)),
        probe: within(&mut section, "probe", 30 * SECONDS, (5, 3600)),
    };
    section.finish();
    dns
}

pub(super) fn limits(mut section: Section<'_>) -> LimitSettings {
    let usual = LimitSettings::default();
    let network = |text: &str| text.parse::<Network>().ok();
    let limits = LimitSettings {
        allow: section.list("allow", usual.allow, NETWORK, network),
        deny: section.list("deny", usual.deny, NETWORK, network),
        strangers: rates(section.section("strangers"), usual.strangers),
        neighbours: rates(section.section("neighbours"), usual.neighbours),
        sources: usual.sources,
    };
    section.finish();
    limits
}

fn rates(mut section: Section<'_>, usual: Rates) -> Rates {
    let allowed = "write 1/s to 100000/s, as in 5/s, or 5/s burst 20";
    let mut of = |key, default| section.parsed(key, default, allowed, rate);
    let rates = Rates {
        invites: of("invites", usual.invites),
        registers: of("registers", usual.registers),
        others: of("others", usual.others),
        bad: of("bad", usual.bad),
    };
    section.finish();
    rates
}

pub(super) fn numbering(mut section: Section<'_>, trunks: &[Trunk]) -> Numbering {
    let allowed = "write digits, * # and a leading +";
    let numbering = Numbering {
        emergency: section.list("emergency", Vec::new(), allowed, number),
        voicemail: section.list("voicemail", Vec::new(), allowed, number),
        routes: section
            .sections("routes")
            .into_iter()
            .filter_map(|section| route(section, trunks))
            .collect(),
    };
    section.finish();
    numbering
}

fn route(mut section: Section<'_>, trunks: &[Trunk]) -> Option<Route> {
    let begins = "write how the number begins: digits, * # and a leading +";
    let prefix = section.required("prefix", begins, prefix);
    let trunk = section.required("trunk", "write the name of a trunk", some_text);
    if let Some(name) = &trunk
        && !trunks.iter().any(|trunk| trunk.name == *name)
    {
        section.refuse("trunk", format!("there is no trunk {name}"));
    }
    section.finish();
    Some(Route {
        prefix: prefix?,
        trunk: trunk?,
    })
}
