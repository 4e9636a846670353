//! Settings and descriptions for the tests of this crate.

use std::time::{Duration, Instant};

use duolog_sip::sdp::{self, Description, Direction, Encoding, Format, MediaSecurity};
use duolog_sip::{Timers, Transport};

use crate::feature_code::FeatureCodes;
use crate::policy::{Mode, Notice, OwnerKind, RecordingSettings, RepeatInterval, StartStop};
use crate::settings::{
    Contact, Epoch, LocalAddresses, Location, MediaSettings, Numbering, ReachSettings,
    SessionTimer, Settings, Trunk, TrunkIndex, User, UserIndex,
};

/// Always with Pause/Resume, with everything that can be heard.
pub(crate) const ALICE: UserIndex = UserIndex(0);
/// Never.
pub(crate) const BOB: UserIndex = UserIndex(1);
/// Always, silently.
pub(crate) const CAROL: UserIndex = UserIndex(2);
/// Never, on the laboratory's address.
pub(crate) const DAVE: UserIndex = UserIndex(3);

/// One trunk `pstn` as next hop, a laboratory `lab`, and four users.
#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
pub(crate) fn settings() -> Settings {
    let alice = RecordingSettings {
        mode: Mode::AlwaysPauseResume,
        announce: StartStop::BOTH,
        notice: Notice::Beep,
        repeat_tone: Some(RepeatInterval::default()),
        ..RecordingSettings::default()
    };
    let carol = RecordingSettings {
        mode: Mode::Always,
        ..RecordingSettings::default()
    };
    let never = RecordingSettings::default();
    Settings {
        local: LocalAddresses(vec![
            (Transport::Udp, "192.0.2.99:5060".parse().unwrap()),
            (Transport::Tcp, "192.0.2.99:5060".parse().unwrap()),
        ]),
        trunks: vec![
            Trunk::at("pstn", Transport::Udp, "192.0.2.1:5060".parse().unwrap()),
            Trunk::at("lab", Transport::Udp, "192.0.2.20:5070".parse().unwrap()),
        ],
        users: vec![
            user("alice", &["1001", "+31205551001"], "192.0.2.10:5060", alice),
            user("bob", &["1002"], "192.0.2.11:5060", never.clone()),
            user("carol", &["1003"], "192.0.2.12:5060", carol),
            user("dave", &["2001"], "192.0.2.20:5062", never),
        ],
        next_hop: Some(TrunkIndex(0)),
        language: "en".into(),
        feature_codes: FeatureCodes::default(),
        media: MediaSettings::default(),
        ring_limit: Duration::from_secs(180),
        drain_retry_after_s: 30,
        server_name: "duolog".into(),
        timers: Timers::default(),
        epoch: Epoch {
            at: Instant::now(),
            unix_ms: 1_700_000_000_000,
        },
        numbering: Numbering::default(),
        reach: ReachSettings::default(),
        session_timer: SessionTimer::default(),
    }
}

fn contact(addr: &str) -> Contact {
    Contact {
        addr: addr.parse().unwrap(),
        transport: Transport::Udp,
    }
}

fn user(name: &str, numbers: &[&str], addr: &str, recording: RecordingSettings) -> User {
    User {
        name: name.into(),
        numbers: numbers.iter().map(|number| (*number).to_owned()).collect(),
        location: Location::At(contact(addr)),
        secret: None,
        certificate: None,
        media_security: MediaSecurity::AsOffered,
        language: None,
        kind: OwnerKind::User,
        recording: recording.into(),
        mailbox: None,
    }
}

/// PCMU, PCMA and telephone events at `rtp`, both ways.
pub(crate) fn offer(rtp: &str) -> Description {
    described(rtp, Direction::SendRecv)
}

/// The same with a direction.
pub(crate) fn described(rtp: &str, direction: Direction) -> Description {
    let rtp: std::net::SocketAddr = rtp.parse().unwrap();
    let format = |payload_type, encoding| Format {
        payload_type,
        encoding,
    };
    sdp::Offer {
        session_id: 7,
        version: 1,
        rtp,
        rtcp: std::net::SocketAddr::new(rtp.ip(), rtp.port() + 1),
        formats: vec![
            format(0, Encoding::Pcmu),
            format(8, Encoding::Pcma),
            format(101, Encoding::TelephoneEvent { rate_hz: 8000 }),
        ],
        ptime_ms: Some(20),
        direction,
        profile: sdp::Profile::Avp,
        crypto: Vec::new(),
    }
    .describe()
}
