//! `[[trunk]]` and `[[user]]`.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;

use duolog_call::{
    Mailbox, NumberRule, NumberRules, OwnerKind, Ping, Redirects, TrunkKind, TrunkRegistration,
    Trust,
};
use duolog_reach::digest::{Credentials, Secret};
use duolog_reach::hops::{Destination, Host};
use duolog_reach::limits::Network;
use duolog_sip::{Transport, Uri};

use super::recording::Levels;
use super::signalling::ADDRESS;
use super::words::{destination, number, prefix, some_text};
use super::{SECONDS, within};
use crate::config::document::Section;
use crate::config::recording::KINDS;
use crate::config::units::transport_address;
use crate::config::{MediaSecurity, Sip, Trunk, User};

const DESTINATION: &str = "write udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT with a numeric host, or \
                           sip:NAME, sip:NAME:PORT or sip:NAME;transport=udp, tcp or tls";

pub(super) fn trunks(sections: Vec<Section<'_>>, sip: &Sip) -> Vec<Trunk> {
    let mut trunks: Vec<Trunk> = Vec::new();
    for mut section in sections {
        let trunk = trunk(&mut section, sip);
        let name = trunk.as_ref().map(|trunk| &trunk.name);
        if let Some(name) = name.filter(|name| trunks.iter().any(|t| t.name == **name)) {
            section.refuse("name", format!("{name} is already a trunk"));
        }
        section.finish();
        trunks.extend(trunk);
    }
    trunks
}

fn trunk(section: &mut Section<'_>, sip: &Sip) -> Option<Trunk> {
    let trusts = [("trusted", Trust::Trusted), ("untrusted", Trust::Untrusted)];
    let kinds = [
        ("pstn", TrunkKind::Pstn),
        ("internal", TrunkKind::Internal),
        ("voicemail", TrunkKind::Voicemail),
    ];
    let redirects = [
        ("follow", Redirects::Follow),
        ("pass-on", Redirects::PassOn),
    ];
    let network = |text: &str| text.parse::<Network>().ok();
    let name = section.required("name", "write a name", some_text);
    let destination = section.required("address", DESTINATION, destination);
    if let Some(destination) = &destination {
        check_listened(section, "address", destination, sip);
    }
    let allowed = "write an address, or a network as in 192.0.2.0/24 with no bits behind it";
    let networks = section.list("networks", Vec::new(), allowed, network);
    let certificate = certificate(section, sip);
    let credentials = credentials(section);
    let register = section.has("register").then(|| register(section)).flatten();
    let numbers = NumberRules {
        inward: rules(section, "inward"),
        outward: rules(section, "outward"),
    };
    let trust = section.choice("trust", Trust::Untrusted, &trusts);
    let kind = section.choice("kind", TrunkKind::Pstn, &kinds);
    let redirects = section.choice("redirects", Redirects::Follow, &redirects);
    let ping = section.choice("ping", Ping::Off, &[("on", Ping::On), ("off", Ping::Off)]);
    let media_security = media_security(section);
    Some(Trunk {
        name: name?,
        destination: destination?,
        networks,
        certificate,
        credentials,
        register,
        trust,
        kind,
        numbers,
        redirects,
        ping,
        media_security,
    })
}

/// A peer can be reached only from an address of its kind.
fn check_listened(section: &Section<'_>, key: &str, to: &Destination, sip: &Sip) {
    let Some(transport) = to.transport else {
        return;
    };
    let family = |own: &SocketAddr| match to.host {
        Host::Address(ip) => own.is_ipv4() == ip.is_ipv4(),
        Host::Name(_) => true,
    };
    let fits = |(own, at): &(Transport, SocketAddr)| *own == transport && family(at);
    if !sip.listen.is_empty() && !sip.listen.iter().any(fits) {
        let word = transport.as_str().to_lowercase();
        let what = format!("sip.listen has no {word} address that could reach it");
        section.refuse(key, what);
    }
}

fn certificate(section: &mut Section<'_>, sip: &Sip) -> Option<String> {
    // As the engine is told them: `host`, or `user@host` of a SIP URI.
    let plain = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        let rest = text.strip_prefix("sips:").or(text.strip_prefix("sip:"));
        some_text(rest.unwrap_or(&text))
    };
    let name = section.optional("certificate", "write the name in a certificate", plain);
    if name.is_some() && sip.tls.client_roots.is_none() {
        let what = "needs sip.tls.client_roots, which certificates of clients lead to".into();
        section.refuse("certificate", what);
    }
    name
}

fn credentials(section: &mut Section<'_>) -> Option<Credentials> {
    let user = section.optional("user", "write a name", some_text);
    let secret = password(section);
    let realm = section.optional("realm", "write a realm", some_text);
    match (&user, &secret) {
        (Some(_), None) if !mentions_password(section) => {
            section.refuse("user", "needs a password or a password_file".into());
        }
        (None, Some(_)) => section.refuse("password", "needs a user".into()),
        (None, None) if realm.is_some() => section.refuse("realm", "needs a user".into()),
        _ => {}
    }
    Some(Credentials {
        user: user?,
        secret: secret?,
        realm,
    })
}

fn mentions_password(section: &Section<'_>) -> bool {
    section.has("password") || section.has("password_file")
}

fn password(section: &mut Section<'_>) -> Option<Secret> {
    secret(section, "password", "password_file")
}

/// What is written at `key`, or the first line of the file at `file_key`. No mistake shows it.
pub(super) fn secret(
    section: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Option<Secret> {
    let written = section.secret(key);
    let file = section.optional(file_key, "write a path", some_text);
    let Some(file) = file else {
        return written.map(Secret::new);
    };
    if section.has(key) {
        section.refuse(file_key, format!("there is a {key} already"));
    }
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            section.refuse(file_key, format!("{file} can not be read: {error}"));
            return None;
        }
    };
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        section.refuse(file_key, format!("{file} has no first line"));
        return None;
    }
    Some(Secret::new(line.to_owned()))
}

fn register(section: &mut Section<'_>) -> Option<TrunkRegistration> {
    let mut section = section.section("register");
    let aor = |text: &str| text.parse::<Uri>().ok().filter(|uri| uri.user.is_some());
    let aor = section.required("aor", "write sip:USER@HOST", aor);
    let expires = within(&mut section, "expires", 3600 * SECONDS, (60, 86_400));
    section.finish();
    Some(TrunkRegistration {
        aor: aor?,
        expires_s: expires.as_secs() as u32,
    })
}

fn rules(section: &mut Section<'_>, key: &'static str) -> Vec<NumberRule> {
    let rule = |mut section: Section<'_>| {
        let begins = "write how the number begins: digits, * # and a leading +";
        let from = section.required("prefix", begins, prefix);
        let instead = section.required("instead", "write what stands in its place", prefix);
        section.finish();
        Some(NumberRule {
            prefix: from?,
            instead: instead?,
        })
    };
    section.sections(key).into_iter().filter_map(rule).collect()
}

pub(super) fn users(sections: Vec<Section<'_>>, sip: &Sip, levels: &Levels) -> Vec<User> {
    let mut owners: HashMap<String, String> = HashMap::new();
    let mut users: Vec<User> = Vec::new();
    for mut section in sections {
        let user = user(&mut section, sip, levels);
        for number in user.iter().flat_map(|u| &u.numbers) {
            let name = user.as_ref().map_or("", |u| &u.name);
            if let Some(other) = owners.insert(number.clone(), name.into()) {
                section.refuse("numbers", format!("{number} already rings {other}"));
            }
        }
        let name = user.as_ref().map(|user| &user.name);
        if let Some(name) = name.filter(|name| users.iter().any(|u| u.name == **name)) {
            section.refuse("name", format!("{name} is already a user"));
        }
        section.finish();
        users.extend(user);
    }
    users
}

fn user(section: &mut Section<'_>, sip: &Sip, levels: &Levels) -> Option<User> {
    let digits = "write digits, * # and a leading +";
    let name = section.required("name", "write a name", some_text);
    let numbers = section.list("numbers", Vec::new(), digits, number);
    let kind = section.choice("kind", OwnerKind::User, &KINDS);
    let contact = contact(section, sip);
    let password = password(section);
    let certificate = certificate(section, sip);
    check_reachable(section, kind);
    let (group, recording) = levels.owner(section, kind);
    Some(User {
        numbers,
        contact,
        password,
        certificate,
        media_security: media_security(section),
        kind,
        group,
        recording,
        mailbox: section.has("mailbox").then(|| mailbox(section)),
        name: name?,
    })
}

/// `mailbox = { answer_after = "20s", longest = "3m" }`, or `{}` for just that.
fn mailbox(section: &mut Section<'_>) -> Mailbox {
    let mut section = section.section("mailbox");
    let usual = Mailbox::default();
    let mailbox = Mailbox {
        answer_after: within(&mut section, "answer_after", usual.answer_after, (5, 120)),
        longest: within(&mut section, "longest", usual.longest, (10, 600)),
    };
    section.finish();
    mailbox
}

fn contact(section: &mut Section<'_>, sip: &Sip) -> Option<(Transport, SocketAddr)> {
    let contact = section.optional("contact", ADDRESS, transport_address);
    if let Some(contact) = contact {
        check_listened(section, "contact", &Destination::from(contact), sip);
    }
    contact
}

/// A phone is at an address, or it proves who it is when it registers. Lines and queues have none.
fn check_reachable(section: &Section<'_>, kind: OwnerKind) {
    let proof = mentions_password(section) || section.has("certificate");
    match kind {
        OwnerKind::User | OwnerKind::Workspace if !proof && !section.has("contact") => {
            let what = format!("is missing; {ADDRESS}, or give a password to register with");
            section.refuse("contact", what);
        }
        OwnerKind::User | OwnerKind::Workspace => {}
        OwnerKind::VirtualLine | OwnerKind::Queue => {
            for key in ["contact", "password", "password_file", "certificate"] {
                if section.has(key) {
                    let what = "is not allowed: a virtual-line or queue has no phone of its own";
                    section.refuse(key, what.into());
                }
            }
        }
    }
}

fn media_security(section: &mut Section<'_>) -> MediaSecurity {
    let words = [
        ("as-offered", MediaSecurity::AsOffered),
        ("never", MediaSecurity::Never),
        ("always", MediaSecurity::Always),
    ];
    section.choice("media_security", MediaSecurity::AsOffered, &words)
}
