//! From the configuration file to the call's settings.

use std::net::SocketAddr;

use duolog_call::{
    Announce, Contact, Dtmf, Epoch, FeatureCodes, LocalAddresses, MediaSettings, Mode, Notice,
    RecordingSettings, RepeatInterval, Settings, Trunk, TrunkIndex, User,
};
use duolog_sip::sdp::{G729, MediaSecurity};
use duolog_sip::{Timers, Transport};

use crate::abilities::Abilities;
use crate::clock::WallClock;
use crate::config::{self, Config};

/// `Retry-After` of a 503 while the node drains: its neighbours try another node meanwhile.
const DRAIN_RETRY_AFTER_S: u32 = 120;

/// What the configuration means for calls. `listening` are the bound addresses, in the order of
/// `sip.listen`.
pub fn settings(
    config: &Config,
    abilities: &Abilities,
    listening: &[(Transport, SocketAddr)],
    wall: &WallClock,
) -> Settings {
    let local = |transport| {
        let bound = listening
            .iter()
            .find(|(t, _)| *t == transport)
            .map(|(_, a)| *a)?;
        Some(SocketAddr::new(
            config.sip.advertise.unwrap_or(bound.ip()),
            bound.port(),
        ))
    };
    let trunk = |trunk: &config::Trunk| Trunk {
        name: trunk.name.clone(),
        contact: contact(trunk.address),
        media_security: security(trunk.media_security),
    };
    let at = wall.instant();
    Settings {
        local: LocalAddresses {
            udp: local(Transport::Udp),
            tcp: local(Transport::Tcp),
        },
        trunks: config.trunks.iter().map(trunk).collect(),
        users: config.users.iter().map(user).collect(),
        next_hop: (!config.trunks.is_empty()).then_some(TrunkIndex(0)),
        language: config.announcements.language.clone(),
        feature_codes: codes(&config.codes),
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
        },
        server_name: concat!("duolog/", env!("CARGO_PKG_VERSION")).into(),
        timers: Timers::default(),
        epoch: Epoch {
            at,
            unix_ms: wall.unix_ms(at),
        },
    }
}

fn user(user: &config::User) -> User {
    User {
        name: user.name.clone(),
        numbers: user.numbers.clone(),
        contact: contact(user.contact),
        language: user.language.clone(),
        media_security: security(user.media_security),
        recording: RecordingSettings {
            mode: match user.mode {
                config::Mode::Never => Mode::Never,
                config::Mode::Always => Mode::Always,
                config::Mode::AlwaysPauseResume => Mode::AlwaysPauseResume,
            },
            announce: match user.announce {
                config::Announce::On => Announce::On,
                config::Announce::Off => Announce::Off,
            },
            notice: match user.notice {
                config::Notice::None => Notice::None,
                config::Notice::Beep => Notice::Beep,
                config::Notice::Announcement => Notice::Announcement,
            },
            dtmf: match user.dtmf {
                config::Dtmf::Keep => Dtmf::Keep,
                config::Dtmf::Mask => Dtmf::Mask,
            },
            // The range was checked with the configuration.
            repeat_tone: user
                .repeat_tone
                .and_then(|interval| RepeatInterval::new(interval.as_secs() as u32).ok()),
        },
    }
}

fn security(security: config::MediaSecurity) -> MediaSecurity {
    match security {
        config::MediaSecurity::AsOffered => MediaSecurity::AsOffered,
        config::MediaSecurity::Never => MediaSecurity::Never,
        config::MediaSecurity::Always => MediaSecurity::Always,
    }
}

fn contact((transport, addr): (Transport, SocketAddr)) -> Contact {
    Contact { addr, transport }
}

fn codes(codes: &config::Codes) -> FeatureCodes {
    FeatureCodes::new(&codes.pause, &codes.resume)
        .unwrap_or_else(|error| panic!("the codes were checked with the configuration: {error}"))
}
