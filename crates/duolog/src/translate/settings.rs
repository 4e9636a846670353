//! From the configuration file to the call's settings.

use std::net::SocketAddr;

use duolog_call::{
    Contact, Epoch, FeatureCodes, LocalAddresses, Location, MediaSettings, NumberRoute, Numbering,
    ReachSettings, SessionTimer, Settings, Trunk, TrunkIndex, User,
};
use duolog_reach::hops::HopSettings;
use duolog_reach::registrar::RegistrarSettings;
use duolog_sip::sdp::{G729, MediaSecurity};
use duolog_sip::{Timers, Transport};

use crate::abilities::Abilities;
use crate::clock::WallClock;
use crate::config::{self, Config};

/// `Retry-After` of a 503 while the node drains: its neighbours try another node meanwhile.
const DRAIN_RETRY_AFTER_S: u32 = 120;

const SERVER_NAME: &str = concat!("duolog/", env!("CARGO_PKG_VERSION"));

/// What the configuration means for calls. `listening` are the bound addresses, in the order of
/// `sip.listen`.
pub fn settings(
    config: &Config,
    abilities: &Abilities,
    listening: &[(Transport, SocketAddr)],
    wall: &WallClock,
) -> Settings {
    let index = |name: &str| config.trunks.iter().position(|trunk| trunk.name == name);
    let route = |route: &config::Route| {
        let trunk = index(&route.trunk).map(TrunkIndex);
        Some(NumberRoute {
            prefix: route.prefix.clone(),
            trunk: trunk?,
        })
    };
    let at = wall.instant();
    Settings {
        local: local(config, listening),
        trunks: config.trunks.iter().map(trunk).collect(),
        users: config.users.iter().map(user).collect(),
        next_hop: (!config.trunks.is_empty()).then_some(TrunkIndex(0)),
        language: config.announcements.language.clone(),
        feature_codes: codes(&config.recording.codes),
        ring_limit: config.sip.ring_timeout,
        drain_retry_after_s: DRAIN_RETRY_AFTER_S,
        media: MediaSettings {
            transcode: config.media.transcode.clone(),
            g729: match abilities.g729 {
                Some(_) => G729::Available,
                None => G729::Missing,
            },
            dtls_fingerprint: abilities
                .dtls
                .as_ref()
                .map(|identity| format!("sha-256 {}", identity.fingerprint())),
            more_groups: config.media.threads.saturating_sub(1) as u32,
        },
        server_name: SERVER_NAME.into(),
        timers: Timers::default(),
        epoch: Epoch {
            at,
            unix_ms: wall.unix_ms(at),
        },
        numbering: Numbering {
            // Their trunks were checked with the configuration.
            routes: config.numbering.routes.iter().filter_map(route).collect(),
            emergency: config.numbering.emergency.clone(),
            voicemail: config.numbering.voicemail.clone(),
        },
        reach: reach(config),
        session_timer: SessionTimer {
            expires_s: config.sip.session.expires_s,
            min_s: config.sip.session.min_s,
        },
    }
}

/// What peers are told: the first address of each transport and family.
fn local(config: &Config, listening: &[(Transport, SocketAddr)]) -> LocalAddresses {
    let mut local: Vec<(Transport, SocketAddr)> = Vec::new();
    for (transport, bound) in listening {
        let told = (*transport, config.sip.told(*bound));
        let same =
            |(t, a): &(Transport, SocketAddr)| (*t, a.is_ipv4()) == (told.0, told.1.is_ipv4());
        if !local.iter().any(same) {
            local.push(told);
        }
    }
    LocalAddresses(local)
}

fn reach(config: &Config) -> ReachSettings {
    ReachSettings {
        registrar: RegistrarSettings {
            server_name: SERVER_NAME.into(),
            ..config.registrar.clone()
        },
        hops: HopSettings {
            avoid_for: config.dns.avoid,
            probe_every: config.dns.probe,
            lookup_limit: config.dns.timeout,
            // The engine puts in what it listens on.
            transports: Vec::new(),
        },
        limits: config.limits.clone(),
    }
}

fn trunk(trunk: &config::Trunk) -> Trunk {
    Trunk {
        name: trunk.name.clone(),
        destination: trunk.destination.clone(),
        networks: trunk.networks.clone(),
        certificate: trunk.certificate.clone(),
        credentials: trunk.credentials.clone(),
        registration: trunk.register.clone(),
        media_security: security(trunk.media_security),
        trust: trunk.trust,
        kind: trunk.kind,
        numbers: trunk.numbers.clone(),
        redirects: trunk.redirects,
        ping: trunk.ping,
    }
}

fn user(user: &config::User) -> User {
    User {
        name: user.name.clone(),
        numbers: user.numbers.clone(),
        location: match user.contact {
            Some(contact) => Location::At(Contact {
                transport: contact.0,
                addr: contact.1,
            }),
            None => Location::Registered,
        },
        secret: user.password.clone(),
        certificate: user.certificate.clone(),
        language: user.recording.language.clone(),
        media_security: security(user.media_security),
        kind: user.kind,
        recording: user.recording.settled().into(),
        mailbox: user.mailbox,
    }
}

fn security(security: config::MediaSecurity) -> MediaSecurity {
    match security {
        config::MediaSecurity::AsOffered => MediaSecurity::AsOffered,
        config::MediaSecurity::Never => MediaSecurity::Never,
        config::MediaSecurity::Always => MediaSecurity::Always,
    }
}

fn codes(codes: &config::Codes) -> FeatureCodes {
    FeatureCodes::new(&codes.start, &codes.stop, &codes.pause, &codes.resume)
        .unwrap_or_else(|error| panic!("the codes were checked with the configuration: {error}"))
        .waiting(codes.wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str, listening: &[(Transport, SocketAddr)]) -> Settings {
        let config = config::read(text).expect("every key is right");
        let (wall, plain) = (WallClock::read(), Abilities::default());
        settings(&config, &plain, listening, &wall)
    }

    #[test]
    fn peers_are_told_the_first_address_of_each_transport_and_family() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        use Transport::{Tcp, Tls, Udp};
        let listening = [
            (Udp, at("10.0.0.1:5060")),
            (Udp, at("10.0.0.2:5062")),
            (Udp, at("[2001:db8::1]:5060")),
            (Tcp, at("10.0.0.1:5060")),
            (Tls, at("[::]:5061")),
        ];
        let told = |advertise: &str| {
            let text = format!("[sip]\nadvertise = {advertise}\n");
            translated(&text, &listening).local.0
        };
        let plain = [listening[0], listening[2], listening[3], listening[4]];
        assert_eq!(told("[]").as_slice(), plain);
        let mut behind_nat = plain;
        behind_nat[0].1 = at("203.0.113.5:5060");
        behind_nat[2].1 = at("203.0.113.5:5060");
        assert_eq!(told("\"203.0.113.5\"").as_slice(), behind_nat);
        let mut both = behind_nat;
        both[1].1 = at("[2001:db8::99]:5060");
        both[3].1 = at("[2001:db8::99]:5061");
        assert_eq!(told("[\"203.0.113.5\", \"2001:db8::99\"]").as_slice(), both);
    }

    #[test]
    fn what_is_configured_reaches_the_engine() {
        let text = "[sip]\nsession_expires = \"10m\"\nmin_se = \"2m\"\n[registrar]\nrealm = \"r\"\ncontacts = 2\n\
            [dns]\navoid = \"5s\"\nprobe = \"6s\"\ntimeout = \"7s\"\n[limits]\ndeny = [\"192.0.2.0/24\"]\n\
            [numbering]\nemergency = [\"112\"]\nvoicemail = [\"1233\"]\nroutes = [{ prefix = \"+\", trunk = \"b\" }]\n\
            [[trunk]]\nname = \"a\"\naddress = \"udp:127.0.0.1:1\"\n[[trunk]]\nname = \"b\"\n\
            address = \"sip:b.example\"\nuser = \"u\"\npassword = \"p\"\nping = \"on\"\ntrust = \"trusted\"\n\
            [[user]]\nname = \"c\"\npassword = \"q\"\nvoicemail = \"recorded\"\n\
            mailbox = { answer_after = \"8s\", longest = \"1m\" }\n";
        let settings = translated(text, &[]);
        let timer = (
            settings.session_timer.expires_s,
            settings.session_timer.min_s,
        );
        assert_eq!(timer, (600, 120));
        let reach = &settings.reach;
        assert_eq!(
            (reach.registrar.realm.as_str(), reach.registrar.contacts),
            ("r", 2)
        );
        assert_eq!(reach.registrar.server_name, settings.server_name);
        let hops = (
            reach.hops.avoid_for,
            reach.hops.probe_every,
            reach.hops.lookup_limit,
        );
        assert_eq!(
            [hops.0, hops.1, hops.2].map(|span| span.as_secs()),
            [5, 6, 7]
        );
        assert_eq!(reach.limits.deny.len(), 1);
        assert_eq!(settings.numbering.routes[0].trunk, TrunkIndex(1));
        assert_eq!(settings.numbering.emergency, ["112"]);
        assert_eq!(settings.numbering.voicemail, ["1233"]);
        let trunk = &settings.trunks[1];
        assert!(trunk.credentials.is_some());
        assert_eq!(
            (trunk.ping, trunk.trust),
            (duolog_call::Ping::On, duolog_call::Trust::Trusted)
        );
        let user = &settings.users[0];
        assert_eq!(user.location, Location::Registered);
        assert_eq!(user.recording.voicemail, duolog_call::Voicemail::Recorded);
        assert!(user.secret.is_some());
        let mailbox = user.mailbox.expect("one is configured");
        let spans = [mailbox.answer_after, mailbox.longest].map(|span| span.as_secs());
        assert_eq!(spans, [8, 60]);
        assert_eq!(settings.next_hop, Some(TrunkIndex(0)));
    }
}
