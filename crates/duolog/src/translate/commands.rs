//! From the call's media commands to a shard's commands, and from a shard's events to the call's.
//! Keeps which shard a leg or a recording lives on: that of its media group, so that legs that are bridged
//! and recorded together share one, whichever calls they move through.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use duolog_audio::codec::{Channels, Codec};
use duolog_audio::prompt::Prompt;
use duolog_call::{
    self as call, LegId, LegMedia, LegSecurity, MediaCommand, MediaEvent, MediaGroup, RecordingId,
    Sound,
};
use duolog_media::{
    self as media, Command, How, LegKey, PeerMedia, PlayKey, RecordingCommand, RecordingKey,
};
use duolog_rtp::PayloadType;
use duolog_rtp::dtls::{self, Identity};
use duolog_rtp::srtp::{MasterKey, Suite};
use duolog_sip::sdp;

use crate::keeper::Loss;
use crate::prompts::PromptBook;
use crate::translate::facts;

/// A shard of the node, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub usize);

/// What a shard, or the thread around it, is to do.
#[derive(Debug, Clone)]
pub enum Task {
    /// Bind ports for a leg and open it.
    OpenLeg {
        /// Which.
        leg: LegKey,
        /// Where its party is: the ports are of that family.
        peer: IpAddr,
    },
    /// A command for the shard.
    Command(Command),
}

/// Translates for all calls of a node.
#[derive(Debug)]
pub struct Translator {
    shards: usize,
    prompts: Arc<PromptBook>,
    /// Our certificate, where DTLS-SRTP is on.
    dtls: Option<Identity>,
    legs: HashMap<LegId, ShardIndex>,
    recordings: HashMap<RecordingId, Recorded>,
}

#[derive(Debug, Clone, Copy)]
struct Recorded {
    shard: ShardIndex,
    owner: call::Side,
}

impl Translator {
    /// A translator for `shards` shards.
    pub fn new(shards: usize, prompts: Arc<PromptBook>, dtls: Option<Identity>) -> Self {
        Self {
            shards,
            prompts,
            dtls,
            legs: HashMap::new(),
            recordings: HashMap::new(),
        }
    }

    /// Legs and recordings known now; 0 when every call is over.
    pub fn known(&self) -> usize {
        self.legs.len() + self.recordings.len()
    }

    /// Who is to do what. `None` for a leg or recording that is not known any more.
    pub fn task(&mut self, command: MediaCommand) -> Option<(ShardIndex, Task)> {
        let task = match command {
            MediaCommand::OpenLeg { leg, group, peer } => {
                let shard = self.shard_of(group);
                self.legs.insert(leg, shard);
                let leg = key(leg);
                return Some((shard, Task::OpenLeg { leg, peer }));
            }
            MediaCommand::CloseLeg { leg } => {
                let shard = self.legs.remove(&leg)?;
                return Some((shard, Task::Command(Command::Close { leg: key(leg) })));
            }
            MediaCommand::ConnectLeg { leg, media } => (
                leg,
                Command::Connect {
                    leg: key(leg),
                    peer: peer(&media, self.dtls.as_ref()),
                },
            ),
            MediaCommand::Bridge { a, b } => (
                a,
                Command::Bridge {
                    a: key(a),
                    b: key(b),
                },
            ),
            MediaCommand::TakeDigits { leg } => (leg, Command::TakeDigits { leg: key(leg) }),
            MediaCommand::SendDigits { leg, digits } => {
                let digits = digits.into_iter().map(pressed).collect();
                (
                    leg,
                    Command::SendDigits {
                        leg: key(leg),
                        digits,
                    },
                )
            }
            MediaCommand::Play { leg, play, sound } => {
                let (sound, how) = self.sound(&sound);
                (
                    leg,
                    Command::Play {
                        leg: key(leg),
                        play: PlayKey(play.0),
                        sound,
                        how,
                    },
                )
            }
            MediaCommand::StopPlaying { leg } => (leg, Command::StopPlaying { leg: key(leg) }),
            other => return self.recording_task(other),
        };
        let (leg, command) = task;
        Some((*self.legs.get(&leg)?, Task::Command(command)))
    }

    fn recording_task(&mut self, command: MediaCommand) -> Option<(ShardIndex, Task)> {
        let (recording, command) = match command {
            MediaCommand::OpenRecording {
                recording,
                group,
                owner,
                other,
                opening,
            } => {
                let recorded = Recorded {
                    shard: self.shard_of(group),
                    owner: opening.owner_side,
                };
                self.recordings.insert(recording, recorded);
                let payload = facts::opening(&opening).write();
                let keeping = match opening.keeping {
                    call::Keeping::Kept | call::Keeping::Message => media::Keeping::Kept,
                    call::Keeping::Provisional => media::Keeping::Provisional,
                };
                let (owner, other) = (key(owner), key(other));
                (
                    recording,
                    RecordingCommand::Open {
                        owner,
                        other: Some(other),
                        keeping,
                        payload: payload.into(),
                    },
                )
            }
            MediaCommand::TurnRecording { recording, other } => {
                let other = other.map(key);
                (recording, RecordingCommand::Turn { other })
            }
            MediaCommand::StartRecording { recording } => (recording, RecordingCommand::Start),
            MediaCommand::PauseRecording { recording } => (recording, RecordingCommand::Pause),
            MediaCommand::ResumeRecording { recording } => (recording, RecordingCommand::Resume),
            MediaCommand::KeepRecording { recording } => (recording, RecordingCommand::Keep),
            MediaCommand::Note { recording, fact } => {
                let owner = self.recordings.get(&recording)?.owner;
                let payload = facts::fact(&fact, owner, &self.prompts).write();
                (
                    recording,
                    RecordingCommand::Note {
                        payload: payload.into(),
                    },
                )
            }
            MediaCommand::CloseRecording { recording, ending } => {
                let shard = self.recordings.remove(&recording)?.shard;
                let payload = facts::ending(&ending).write();
                let command = RecordingCommand::Close {
                    payload: payload.into(),
                };
                let recording = RecordingKey(recording.0);
                return Some((shard, Task::Command(Command::Record { recording, command })));
            }
            _ => return None,
        };
        let shard = self.recordings.get(&recording)?.shard;
        let recording = RecordingKey(recording.0);
        Some((shard, Task::Command(Command::Record { recording, command })))
    }

    fn shard_of(&self, group: MediaGroup) -> ShardIndex {
        // There are as many groups as shards; u32 fits.
        ShardIndex(group.0 as usize % self.shards)
    }

    fn sound(&self, sound: &Sound) -> (Arc<Prompt>, How) {
        match sound {
            Sound::Prompt {
                prompt,
                language,
                whose,
            } => {
                let prompt = self.prompts.prompt(*prompt, language, *whose);
                (prompt, How::Instead)
            }
            Sound::Beep => (self.prompts.beep(), How::Under),
            Sound::RepeatTone => (self.prompts.repeat_tone(), How::Under),
        }
    }
}

/// What a shard told, in the call's words.
pub fn event(event: media::Event) -> MediaEvent {
    match event {
        media::Event::FirstPacket { leg } => MediaEvent::FirstPacket { leg: LegId(leg.0) },
        media::Event::Begun { leg, play } => MediaEvent::Begun {
            leg: LegId(leg.0),
            play: call::PlayId(play.0),
        },
        media::Event::Played {
            leg,
            play,
            completion,
        } => MediaEvent::Played {
            leg: LegId(leg.0),
            play: call::PlayId(play.0),
            whole: match completion {
                media::Completion::Whole => call::Completion::Whole,
                media::Completion::Cut => call::Completion::Cut,
            },
        },
        media::Event::Digit { leg, digit } => {
            let digit = call::Digit {
                event: digit.event,
                duration_ms: digit.duration_ms,
            };
            MediaEvent::Digit {
                leg: LegId(leg.0),
                digit,
            }
        }
        media::Event::MediaTimeout { leg } => MediaEvent::MediaTimeout { leg: LegId(leg.0) },
        media::Event::RecordingTrouble { recording } => MediaEvent::RecordingTrouble {
            recording: RecordingId(recording.0),
            reason: "audio was lost: the spool's disk did not keep up".into(),
        },
    }
}

/// What the spool could not keep of a recording, in the call's words.
pub fn lost(recording: RecordingKey, loss: Loss) -> MediaEvent {
    MediaEvent::RecordingTrouble {
        recording: RecordingId(recording.0),
        reason: loss.reason().into(),
    }
}

/// A leg got its ports on `address`.
pub fn opened(leg: LegKey, address: IpAddr, port: u16) -> MediaEvent {
    MediaEvent::LegOpened {
        leg: LegId(leg.0),
        rtp: (address, port).into(),
        rtcp: (address, port + 1).into(),
    }
}

fn key(leg: LegId) -> LegKey {
    LegKey(leg.0)
}

fn pressed(digit: call::Digit) -> duolog_rtp::event::Digit {
    duolog_rtp::event::Digit {
        event: digit.event,
        duration_ms: digit.duration_ms,
    }
}

fn peer(media: &LegMedia, identity: Option<&Identity>) -> PeerMedia {
    PeerMedia {
        rtp: media.rtp,
        rtcp: media.rtcp,
        rtcp_mux: match media.rtcp_mux {
            call::Multiplexing::Muxed => media::RtcpMux::Shared,
            call::Multiplexing::Separate => media::RtcpMux::Apart,
        },
        signalled_from: media.signalled_from,
        formats: media.formats.iter().filter_map(format).collect(),
        direction: match media.direction {
            sdp::Direction::SendRecv => media::Direction::SendRecv,
            sdp::Direction::SendOnly => media::Direction::SendOnly,
            sdp::Direction::RecvOnly => media::Direction::RecvOnly,
            sdp::Direction::Inactive => media::Direction::Inactive,
        },
        ptime_ms: media.ptime_ms,
        security: media
            .security
            .as_ref()
            .map(|security| secured(security, identity)),
    }
}

fn format(format: &call::PayloadFormat) -> Option<media::PayloadFormat> {
    let speech = media::Encoding::Speech;
    let encoding = match format.encoding {
        sdp::Encoding::Pcmu => speech(Codec::Pcmu),
        sdp::Encoding::Pcma => speech(Codec::Pcma),
        sdp::Encoding::G722 => speech(Codec::G722),
        sdp::Encoding::G729 => speech(Codec::G729),
        sdp::Encoding::Opus => speech(Codec::Opus),
        sdp::Encoding::L16 { rate_hz, channels } => speech(Codec::L16 {
            rate_hz,
            channels: match channels {
                2 => Channels::Stereo,
                _ => Channels::Mono,
            },
        }),
        sdp::Encoding::ComfortNoise { rate_hz } => media::Encoding::ComfortNoise { rate_hz },
        sdp::Encoding::TelephoneEvent { rate_hz } => media::Encoding::TelephoneEvent { rate_hz },
        sdp::Encoding::Other => return None,
    };
    Some(media::PayloadFormat {
        payload_type: PayloadType(format.payload_type),
        encoding,
    })
}

fn secured(security: &LegSecurity, identity: Option<&Identity>) -> media::Security {
    match security {
        LegSecurity::Sdes { ours, theirs } => media::Security::Sdes {
            ours: master_key(ours),
            theirs: master_key(theirs),
        },
        LegSecurity::Dtls { role, fingerprint } => media::Security::Dtls {
            role: match role {
                call::DtlsRole::Active => dtls::Role::Active,
                call::DtlsRole::Passive => dtls::Role::Passive,
            },
            identity: identity
                .cloned()
                .expect("DTLS is only agreed on where this node has a certificate"),
            fingerprint: fingerprint
                .parse()
                .expect("signalling takes well-formed SHA-256 fingerprints only"),
        },
    }
}

fn master_key(key: &sdp::SdesKey) -> MasterKey {
    let suite = Suite::from_name(key.suite().name()).expect("signalling takes known suites only");
    MasterKey::new(suite, key.key_and_salt())
        .expect("signalling takes keys of the right length only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_sip::sdp::{Description, SdesKey};

    fn translator(shards: usize) -> Translator {
        let config = crate::config::read(crate::config::EMBEDDED).expect("it is the default");
        let plain = crate::abilities::Abilities::default();
        let prompts = PromptBook::load(&config, &plain).expect("they are shipped");
        Translator::new(shards, Arc::new(prompts), None)
    }

    fn opened(recording: RecordingId, group: u32, (owner, other): (LegId, LegId)) -> MediaCommand {
        let opening = call::Opening {
            call_id: "1@x".into(),
            owner: "anna".into(),
            owner_side: call::Side::Caller,
            from: "anna".into(),
            to: "200".into(),
            party: "200".into(),
            direction: call::CallDirection::Internal,
            class: call::Class {
                network: call::Network::Internal,
                nature: call::Nature::Conversation,
            },
            correlation: 1,
            diversion: Vec::new(),
            mode: call::Mode::Always,
            settled: call::Settled {
                recording: Arc::default(),
                language: "en".into(),
            },
            owner_kind: duolog_call::OwnerKind::User,
            number: 1,
            keeping: duolog_call::Keeping::Kept,
        };
        MediaCommand::OpenRecording {
            recording,
            group: call::MediaGroup(group),
            owner,
            other,
            opening: Box::new(opening),
        }
    }

    #[test]
    fn what_is_not_kept_yet_is_opened_so_and_kept_when_asked() {
        let mut translator = translator(2);
        let recorded = |task: Option<(ShardIndex, Task)>| match task {
            Some((ShardIndex(1), Task::Command(Command::Record { command, .. }))) => command,
            other => panic!("{other:?}"),
        };
        for (said, wanted) in [
            (call::Keeping::Kept, media::Keeping::Kept),
            (call::Keeping::Message, media::Keeping::Kept),
            (call::Keeping::Provisional, media::Keeping::Provisional),
        ] {
            let recording = RecordingId(9);
            let mut open = opened(recording, 1, (LegId(1), LegId(2)));
            if let MediaCommand::OpenRecording { opening, .. } = &mut open {
                opening.keeping = said;
            }
            match recorded(translator.task(open)) {
                RecordingCommand::Open { keeping, .. } => assert_eq!(keeping, wanted),
                other => panic!("{other:?}"),
            }
            let keep = translator.task(MediaCommand::KeepRecording { recording });
            assert!(matches!(recorded(keep), RecordingCommand::Keep));
        }
        let unknown = RecordingId(10);
        let keep = MediaCommand::KeepRecording { recording: unknown };
        assert!(translator.task(keep).is_none());
    }

    #[test]
    fn legs_and_recordings_live_on_the_shard_of_their_group() {
        let mut translator = translator(3);
        let peer = IpAddr::from([192, 0, 2, 7]);
        for (leg, group, shard) in [(10, 2, 2), (11, 2, 2), (7, 0, 0), (8, 1, 1)] {
            let (leg, group) = (LegId(leg), call::MediaGroup(group));
            let task = translator.task(MediaCommand::OpenLeg { leg, group, peer });
            let Some((
                at,
                Task::OpenLeg {
                    leg: key,
                    peer: at_peer,
                },
            )) = task
            else {
                panic!("{task:?}");
            };
            assert_eq!((at, key, at_peer), (ShardIndex(shard), LegKey(leg.0), peer));
            let taken = translator.task(MediaCommand::TakeDigits { leg });
            assert_eq!(taken.map(|(at, _)| at), Some(ShardIndex(shard)));
        }
        let recording = RecordingId(5);
        let open = opened(recording, 2, (LegId(10), LegId(11)));
        assert_eq!(translator.task(open).map(|(at, _)| at), Some(ShardIndex(2)));
        for other in [Some(LegId(99)), None] {
            let task = translator.task(MediaCommand::TurnRecording { recording, other });
            let Some((
                ShardIndex(2),
                Task::Command(Command::Record {
                    recording: RecordingKey(5),
                    command: RecordingCommand::Turn { other: turned },
                }),
            )) = task
            else {
                panic!("{task:?}");
            };
            assert_eq!(turned, other.map(key));
        }
        assert_eq!(translator.known(), 5);
        let recording = RecordingId(6);
        let unknown = MediaCommand::TurnRecording {
            recording,
            other: None,
        };
        assert!(translator.task(unknown).is_none());
    }

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn described(lines: &str) -> Option<sdp::Audio> {
        let text = format!("{HEAD}m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n{lines}");
        let description = Description::parse(text.as_bytes()).expect("a description");
        description.audio()
    }

    #[test]
    fn every_suite_that_signalling_knows_has_its_key_in_media() {
        for suite in sdp::CryptoSuite::ALL {
            let bytes: Vec<u8> = (0..suite.key_and_salt_bytes()).map(|n| n as u8).collect();
            let key = SdesKey::new(suite, &bytes).expect("of the right length");
            let made = master_key(&key);
            assert_eq!(made.key_and_salt(), bytes);
            assert_eq!(made.suite().name(), suite.name());
            assert_eq!(
                made.suite().key_bytes() + made.suite().salt_bytes(),
                bytes.len()
            );
        }
        assert_eq!(sdp::CryptoSuite::ALL.len(), Suite::ALL.len());
    }

    #[test]
    fn every_fingerprint_that_signalling_takes_is_one_for_media() {
        let identity = Identity::generate().expect("a certificate");
        let hex = identity.fingerprint();
        let pairs = |from: char, to: &str| hex.replace(from, to);
        let mut taken = 0;
        for value in [
            format!("sha-256 {hex}"),
            format!("SHA-256 {}", hex.to_ascii_lowercase()),
            format!("sha-256\t {hex} "),
            format!("sha-256 {hex}:00"),
            format!("sha-256 {hex}:"),
            format!("sha-256 {}", &hex[..hex.len() - 3]),
            format!("sha-256 {}", &hex[..hex.len() - 1]),
            format!("sha-256 {}", pairs(':', "")),
            format!("sha-256 {}", pairs(':', "-")),
            format!("sha-256 {hex} {hex}"),
            format!("sha-1 {}", &hex[..20 * 3 - 1]),
            format!("sha-512 {hex}:{hex}"),
            format!("md5 {}", &hex[..16 * 3 - 1]),
            format!("sha-256{hex}"),
            hex.clone(),
            format!("sha-256 +{}", &hex[1..]),
            "sha-256".to_owned(),
            String::new(),
        ] {
            let audio = described(&format!("a=fingerprint:{value}\r\na=setup:actpass\r\n"));
            let Some(dtls) = audio.and_then(|audio| audio.dtls) else {
                continue;
            };
            taken += 1;
            let agreed = LegSecurity::Dtls {
                role: call::DtlsRole::Active,
                fingerprint: dtls.fingerprint,
            };
            match secured(&agreed, Some(&identity)) {
                media::Security::Dtls { fingerprint, .. } => {
                    assert_eq!(Ok(fingerprint), format!("sha-256 {hex}").parse(), "{value}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            taken, 3,
            "the well-formed ones, one of them our own as the peer is told it"
        );
    }

    #[test]
    fn no_key_is_printed_on_its_way() {
        let key = SdesKey::new(sdp::CryptoSuite::AesCm128HmacSha1_80, &[0xC3; 30]);
        let key = key.expect("of the right length");
        let agreed = LegSecurity::Sdes {
            ours: key.clone(),
            theirs: key,
        };
        let printed = format!(
            "{agreed:?} {:?} {:#?}",
            secured(&agreed, None),
            secured(&agreed, None)
        );
        assert!(printed.contains("128"), "the suite: {printed}");
        for key in ["195", "c3", "C3", "w8PD"] {
            assert!(!printed.contains(key), "{printed}");
        }
    }
}
