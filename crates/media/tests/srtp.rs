//! Protected legs: heard and recorded as if they were not, and deaf to whoever has not the key.

mod common;

use std::sync::Arc;

use common::*;
use duolog_audio::codec::Codec;
use duolog_audio::prompt::Prompt;
use duolog_media::*;
use duolog_rtp::dtls::{self, Handshake, Identity, Role};
use duolog_rtp::event::Digit;
use duolog_rtp::packet::View;
use duolog_rtp::rtcp::{self, Report};
use duolog_rtp::srtp::{MasterKey, Protector, Suite, Unprotector};
use duolog_rtp::{PayloadType, Ssrc};

/// A key that only the seed decides.
fn key(suite: Suite, seed: u8) -> MasterKey {
    let len = suite.key_bytes() + suite.salt_bytes();
    let octets: Vec<u8> = (0..len as u8).map(|n| n.wrapping_mul(37) ^ seed).collect();
    MasterKey::new(suite, &octets).expect("as long as the suite wants")
}

/// The two keys of a leg: what we send with, what its party sends with.
fn keys(leg: LegKey, suite: Suite) -> (MasterKey, MasterKey) {
    let seed = 16 * leg.0 as u8;
    (key(suite, seed), key(suite, seed + 1))
}

fn sdes((ours, theirs): &(MasterKey, MasterKey)) -> Security {
    let (ours, theirs) = (ours.clone(), theirs.clone());
    Security::Sdes { ours, theirs }
}

fn connect(world: &mut World, leg: LegKey, security: Option<Security>) {
    let mut peer = peer(leg, mulaw());
    peer.security = security;
    world.command(Command::Connect { leg, peer });
}

/// What a party does with its own keys.
struct Phone {
    leg: LegKey,
    sealed: Option<(Protector, Unprotector)>,
    taken: usize,
}

impl Phone {
    fn new(leg: LegKey, keys: Option<&(MasterKey, MasterKey)>) -> Phone {
        let sealed = keys.map(|(ours, theirs)| {
            let protector = Protector::new(theirs).expect("a key");
            (protector, Unprotector::new(ours).expect("a key"))
        });
        Phone {
            leg,
            sealed,
            taken: 0,
        }
    }

    fn seal(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        if let Some((protector, _)) = &mut self.sealed {
            protector.rtp(&mut packet).expect("a packet of its own");
        }
        packet
    }

    fn speak(&mut self, world: &mut World, voice: &Voice, index: u64) {
        let (at, leg, packet) = voice.packet(index);
        let packet = self.seal(packet);
        world.run_to(at);
        world.receive(rtp_port(leg), home(leg), &packet);
    }

    /// What came since it was asked last, opened.
    fn hear(&mut self, world: &World) -> Vec<Vec<u8>> {
        let port = rtp_port(self.leg);
        let sent = world.sent.iter().filter(|sent| sent.port == port);
        let new: Vec<Vec<u8>> = sent
            .skip(self.taken)
            .map(|sent| sent.bytes.clone())
            .collect();
        self.taken += new.len();
        let mut opened = Vec::new();
        for mut packet in new {
            if let Some((_, unprotector)) = &mut self.sealed {
                let len = unprotector.rtp(&mut packet).expect("sealed with our key");
                packet.truncate(len);
            }
            opened.push(packet);
        }
        opened
    }
}

fn payload(packet: &[u8]) -> Vec<u8> {
    let view = View::parse(packet).expect("RTP");
    view.payload().to_vec()
}

#[test]
fn legs_in_the_clear_and_of_every_suite_hear_each_other_over_the_wrap() {
    let all = || [None].into_iter().chain(Suite::ALL.map(Some));
    for owner_suite in all() {
        for other_suite in all() {
            let label = format!("{owner_suite:?} and {other_suite:?}");
            let mut world = World::new(Sabotage::None);
            let mut phones = Vec::new();
            for (leg, suite) in [(OWNER, owner_suite), (OTHER, other_suite)] {
                let keys = suite.map(|suite| keys(leg, suite));
                connect(&mut world, leg, keys.as_ref().map(sdes));
                phones.push(Phone::new(leg, keys.as_ref()));
            }
            world.record(RecordingCommand::Start);
            let voices = [Voice::of(OWNER), Voice::of(OTHER)];
            // 36 packets to the wrap of what is received, 536 to that of what is sent.
            for index in 0..600 {
                for side in [0, 1] {
                    phones[side].speak(&mut world, &voices[side], index);
                }
            }
            world.run_to(13_000_000);
            world.close();
            for (side, other) in [(0, 1), (1, 0)] {
                let heard = phones[side].hear(&world);
                assert_eq!(heard.len(), 600, "{label}");
                for (index, packet) in heard.iter().enumerate() {
                    let sent = voices[other].packet(index as u64).2;
                    assert_eq!(payload(packet), sent[12..], "{label}, packet {index}");
                }
            }
            let [left, right] = world.kept();
            assert_voice(&left, 0, &voices[0], 0, 96_000);
            assert_voice(&right, 0, &voices[1], 0, 96_000);
            for reason in DropReason::ALL {
                assert_eq!(world.dropped(reason), 0, "{label}: {reason:?}");
            }
        }
    }
}

#[test]
fn sealed_media_is_not_what_it_holds() {
    let mut world = World::new(Sabotage::None);
    let pair = keys(OTHER, Suite::AesCm128HmacSha1_80);
    connect(&mut world, OTHER, Some(sdes(&pair)));
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(3));
    for (index, sent) in world.sent.iter().enumerate() {
        let plain = voice.packet(index as u64).2;
        assert_eq!(sent.bytes.len(), plain.len() + 10);
        let same = sent.bytes[12..172].iter().zip(&plain[12..]);
        assert!(same.filter(|(a, b)| a == b).count() < 20);
    }
}

#[test]
fn a_wrong_key_is_neither_heard_nor_recorded_nor_latched() {
    let mut world = World::new(Sabotage::None);
    let right = keys(OWNER, Suite::AeadAes128Gcm);
    connect(&mut world, OWNER, Some(sdes(&right)));
    world.record(RecordingCommand::Start);
    let wrong = (right.0.clone(), key(Suite::AeadAes128Gcm, 99));
    let mut thief = Phone::new(OWNER, Some(&wrong));
    let voice = Voice::of(OWNER);
    for index in 0..100 {
        thief.speak(&mut world, &voice, index);
    }
    assert_eq!(world.dropped(DropReason::SrtpTag), 100);
    assert_eq!(world.connects, []);
    assert_eq!(world.heard_by(OTHER).len(), 0);
    world.run_to(40_000_000);
    let told = world
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::MediaTimeout { leg } if *leg == OWNER));
    assert_eq!(told.count(), 1);
    let mut honest = Phone::new(OWNER, Some(&right));
    let voice = Voice {
        from_us: 40_000_000,
        ..voice
    };
    honest.speak(&mut world, &voice, 0);
    assert_eq!(world.heard_by(OTHER).len(), 1);
    world.run_to(41_000_000);
    world.close();
    let [left, _] = world.kept();
    assert_silent(&left[..320_000]);
    let (_, totals) = world.totals();
    assert_eq!(totals.owner.received, 1);
}

#[test]
fn replays_plain_packets_and_noise_are_told_apart() {
    let mut world = World::new(Sabotage::None);
    let pair = keys(OWNER, Suite::AesCm128HmacSha1_32);
    connect(&mut world, OWNER, Some(sdes(&pair)));
    let voice = Voice::of(OWNER);
    let mut phone = Phone::new(OWNER, Some(&pair));
    let (port, from) = (rtp_port(OWNER), home(OWNER));
    let first = phone.seal(voice.packet(0).2);
    world.receive(port, from, &voice.packet(9).2);
    assert_eq!(world.connects, [], "a plain packet does not latch");
    for _ in 0..3 {
        world.receive(port, from, &first);
    }
    let mut forged = phone.seal(voice.packet(1).2);
    forged[40] ^= 1;
    world.receive(port, from, &forged);
    world.receive(port, from, b"noise");
    world.receive(port, address("203.0.113.66:4000"), &first);
    for (reason, times) in [
        (DropReason::SrtpMissing, 1),
        (DropReason::SrtpReplayed, 2),
        (DropReason::SrtpTag, 1),
        (DropReason::Malformed, 1),
        (DropReason::WrongAddress, 1),
    ] {
        assert_eq!(world.dropped(reason), times, "{reason:?}");
    }
    assert_eq!(world.heard_by(OTHER).len(), 1);
}

#[test]
fn who_joins_late_and_who_loses_packets_is_followed() {
    let mut world = World::new(Sabotage::None);
    let pair = keys(OWNER, Suite::AesCm256HmacSha1_80);
    connect(&mut world, OWNER, Some(sdes(&pair)));
    let voice = Voice {
        first_seq: 60_000,
        ..Voice::of(OWNER)
    };
    let mut phone = Phone::new(OWNER, Some(&pair));
    let mut heard = 0;
    for index in 0..8_000 {
        let packet = phone.seal(voice.packet(index).2);
        // The first 2,000 never arrive, nor do those around the wrap, nor every seventh.
        if index < 2_000 || (5_400..5_600).contains(&index) || index % 7 == 0 {
            continue;
        }
        world.run_to(voice.packet(index).0);
        world.receive(rtp_port(OWNER), home(OWNER), &packet);
        heard += 1;
    }
    assert_eq!(world.heard_by(OTHER).len(), heard);
    assert_eq!(world.dropped(DropReason::SrtpTag), 0);
}

#[test]
fn a_copy_never_goes_out_twice_under_one_number() {
    let mut world = World::new(Sabotage::None);
    let pair = keys(OTHER, Suite::AesCm128HmacSha1_80);
    connect(&mut world, OTHER, Some(sdes(&pair)));
    let voice = Voice::of(OWNER);
    for index in [0, 1, 1, 3, 2, 2, 3, 4] {
        let (_, leg, mut packet) = voice.packet(index);
        if world.sent.len() % 2 == 1 {
            packet[20] ^= 0x55;
        }
        world.receive(rtp_port(leg), home(leg), &packet);
    }
    let mut numbers: Vec<u16> = world
        .heard_by(OTHER)
        .iter()
        .map(|(_, view)| view.seq().0)
        .collect();
    assert_eq!(numbers.len(), 5);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 5);
    assert_eq!(world.dropped(DropReason::Duplicate), 3);
}

#[test]
fn new_keys_take_over_and_the_former_ones_are_good_for_two_seconds() {
    let (mut world, mut last) = (World::new(Sabotage::None), Vec::new());
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm] {
        let voice = Voice::of(OWNER);
        let before = keys(OWNER, suite);
        let after = (key(suite, 101), key(suite, 102));
        world = World::new(Sabotage::None);
        connect(&mut world, OWNER, Some(sdes(&before)));
        let (mut old, mut new) = (
            Phone::new(OWNER, Some(&before)),
            Phone::new(OWNER, Some(&after)),
        );
        for index in 0..10 {
            old.speak(&mut world, &voice, index);
            world.receive(
                rtp_port(OTHER),
                home(OTHER),
                &Voice::of(OTHER).packet(index).2,
            );
        }
        assert_eq!(old.hear(&world).len(), 10);
        // The same keys again change nothing.
        connect(&mut world, OWNER, Some(sdes(&before)));
        old.speak(&mut world, &voice, 10);
        connect(&mut world, OWNER, Some(sdes(&after)));
        old.speak(&mut world, &voice, 11);
        new.speak(&mut world, &voice, 12);
        old.speak(&mut world, &voice, 13);
        assert_eq!(world.heard_by(OTHER).len(), 14, "{suite}");
        new.taken = old.taken;
        world.receive(rtp_port(OTHER), home(OTHER), &Voice::of(OTHER).packet(10).2);
        let heard = new.hear(&world);
        assert_eq!(payload(&heard[0]), Voice::of(OTHER).packet(10).2[12..]);
        for index in 14..114 {
            new.speak(&mut world, &voice, index);
        }
        world.run_to(2_280_000);
        last = new.seal(voice.packet(114).2);
        world.receive(rtp_port(OWNER), home(OWNER), &last);
        old.speak(&mut world, &voice, 115);
        assert_eq!(world.heard_by(OTHER).len(), 115, "{suite}");
        assert_eq!(world.dropped(DropReason::SrtpTag), 1, "{suite}");
    }
    // In the clear for a while, and back with the same keys: the counters went on.
    let pair = (
        key(Suite::AeadAes256Gcm, 101),
        key(Suite::AeadAes256Gcm, 102),
    );
    connect(&mut world, OWNER, None);
    connect(&mut world, OWNER, Some(sdes(&pair)));
    world.receive(rtp_port(OWNER), home(OWNER), &last);
    assert_eq!(world.dropped(DropReason::SrtpReplayed), 1);
}

#[test]
fn what_is_played_and_dialled_is_sealed_too() {
    let mut world = World::new(Sabotage::None);
    let pair = keys(OWNER, Suite::AesCm128HmacSha1_80);
    connect(&mut world, OWNER, Some(sdes(&pair)));
    let mut phone = Phone::new(OWNER, Some(&pair));
    let sound = Arc::new(Prompt::from_linear(vec![9_000; 1_600]));
    world.command(Command::Play {
        leg: OWNER,
        play: PlayKey(1),
        sound: Arc::clone(&sound),
        how: How::Instead,
    });
    world.run_to(400_000);
    let heard = phone.hear(&world);
    assert_eq!(heard.len(), 10);
    for (frame, packet) in heard.iter().enumerate() {
        assert_eq!(payload(packet), sound.mulaw[160 * frame..160 * frame + 160]);
    }
    world.command(Command::SendDigits {
        leg: OWNER,
        digits: vec![Digit {
            event: 7,
            duration_ms: 100,
        }],
    });
    world.run_to(800_000);
    let heard = phone.hear(&world);
    assert!(heard.len() >= 5);
    for packet in &heard {
        let view = View::parse(packet).expect("RTP");
        assert_eq!(view.payload_type(), PayloadType(101));
        assert_eq!(view.payload()[0], 7);
    }
}

#[test]
fn reports_are_protected_both_ways() {
    let mut world = World::new(Sabotage::None);
    let pair = keys(OWNER, Suite::AesCm128HmacSha1_32);
    connect(&mut world, OWNER, Some(sdes(&pair)));
    world.deliver(Voice::of(OTHER).packets(500));
    let mut opener = Unprotector::new(&pair.0).expect("a key");
    let mut seen = 0;
    for sent in world.sent.iter().filter(|sent| sent.port == PortId(1)) {
        let mut bytes = sent.bytes.clone();
        assert!(!String::from_utf8_lossy(&bytes).contains("duolog"));
        let len = opener.rtcp(&mut bytes).expect("sealed with our key");
        let reports = rtcp::parse(&bytes[..len]).expect("a compound packet");
        assert!(matches!(reports[1], Report::Description { .. }));
        seen += 1;
    }
    assert!(seen > 0);
    let report = [Report::Receiver {
        ssrc: Ssrc(5),
        blocks: Vec::new(),
    }];
    let mut buffer = [0; 64];
    let len = rtcp::write(&report, &mut buffer).expect("it fits");
    let mut sealed = buffer[..len].to_vec();
    let mut protector = Protector::new(&pair.1).expect("a key");
    protector.rtcp(&mut sealed).expect("a report");
    let from = address("10.0.0.1:4001");
    world.receive(PortId(1), from, &buffer[..len]);
    assert_eq!(world.shard.counters().rtcp_received, 0);
    assert_eq!(
        world
            .connects
            .iter()
            .filter(|c| c.port == PortId(1))
            .count(),
        0
    );
    world.receive(PortId(1), from, &sealed);
    assert_eq!(world.shard.counters().rtcp_received, 1);
    world.receive(PortId(1), from, &sealed);
    assert_eq!(world.dropped(DropReason::SrtpReplayed), 1);
    // The goodbye too.
    world.command(Command::Close { leg: OWNER });
    let bye = world.sent.last().expect("a goodbye");
    let mut bytes = bye.bytes.clone();
    assert!(opener.rtcp(&mut bytes).is_ok());
}

/// Lets a handshake of the owner's party and that of its leg talk until both are silent.
fn shake(world: &mut World, phone: &mut Handshake) -> Option<dtls::Keys> {
    let mut keys = None;
    for _ in 0..200 {
        while let Some(datagram) = phone.datagram() {
            world.receive(rtp_port(OWNER), home(OWNER), &datagram);
        }
        let is_answer =
            |sent: &mut Sent| sent.port == rtp_port(OWNER) && dtls::is_dtls(&sent.bytes);
        let answers: Vec<Sent> = world.sent.extract_if(.., is_answer).collect();
        for answer in answers {
            let told = phone.handle(world.at(world.now_us), &answer.bytes);
            keys = keys.or(told.expect("the handshake goes on"));
        }
        let now_us = world.now_us + 20_000;
        world.run_to(now_us);
        let told = phone.handle_timeout(world.at(now_us));
        keys = keys.or(told.expect("the handshake goes on"));
    }
    keys
}

#[test]
fn a_handshake_makes_the_keys_and_nothing_passes_before() {
    for (ours, theirs) in [(Role::Passive, Role::Active), (Role::Active, Role::Passive)] {
        let mut world = World::new(Sabotage::None);
        let here = Identity::generate().expect("an identity");
        let there = Identity::generate().expect("an identity");
        let fingerprint = |identity: &Identity| {
            let value = format!("sha-256 {}", identity.fingerprint());
            value.parse::<dtls::Fingerprint>().expect("a fingerprint")
        };
        let mut secured = peer(OWNER, mulaw());
        secured.rtcp_mux = RtcpMux::Shared;
        secured.security = Some(Security::Dtls {
            role: ours,
            identity: here.clone(),
            fingerprint: fingerprint(&there),
        });
        world.command(Command::Connect {
            leg: OWNER,
            peer: secured.clone(),
        });
        let voice = Voice::of(OWNER);
        world.receive(rtp_port(OWNER), home(OWNER), &voice.packet(0).2);
        world.receive(rtp_port(OTHER), home(OTHER), &Voice::of(OTHER).packet(0).2);
        assert_eq!(world.dropped(DropReason::SrtpMissing), 2);
        assert!(world.sent.iter().all(|sent| dtls::is_dtls(&sent.bytes)));
        let now = world.at(world.now_us);
        let mut phone = Handshake::new(theirs, &there, fingerprint(&here), now);
        let keys = shake(&mut world, &mut phone).expect("keys");
        // A re-INVITE that says the same goes on with them.
        world.command(Command::Connect {
            leg: OWNER,
            peer: secured,
        });
        let mut phone = Phone::new(OWNER, Some(&(keys.theirs, keys.ours)));
        world.sent.clear();
        let voice = Voice {
            from_us: world.now_us,
            ..voice
        };
        for index in 1..51 {
            phone.speak(&mut world, &voice, index);
            world.receive(
                rtp_port(OTHER),
                home(OTHER),
                &Voice::of(OTHER).packet(index).2,
            );
        }
        assert_eq!(world.heard_by(OTHER).len(), 50, "{ours:?}");
        world.sent.retain(|sent| !rtcp::is_rtcp(&sent.bytes));
        let heard = phone.hear(&world);
        assert_eq!(heard.len(), 50, "{ours:?}");
        assert_eq!(payload(&heard[0]), Voice::of(OTHER).packet(1).2[12..]);
    }
}

#[test]
fn a_prompt_waits_for_the_keys_of_a_handshake_and_is_heard_whole() {
    for (ours, theirs) in [(Role::Passive, Role::Active), (Role::Active, Role::Passive)] {
        let mut world = World::new(Sabotage::None);
        let here = Identity::generate().expect("an identity");
        let there = Identity::generate().expect("an identity");
        let fingerprint = |identity: &Identity| {
            let value = format!("sha-256 {}", identity.fingerprint());
            value.parse::<dtls::Fingerprint>().expect("a fingerprint")
        };
        let mut secured = peer(OWNER, mulaw());
        secured.rtcp_mux = RtcpMux::Shared;
        secured.security = Some(Security::Dtls {
            role: ours,
            identity: here.clone(),
            fingerprint: fingerprint(&there),
        });
        world.command(Command::Connect {
            leg: OWNER,
            peer: secured,
        });
        let wave = (0..16_000).map(|n| ((n * 37) % 4_001) as i16 * 4 - 8_000);
        let sound = Arc::new(Prompt::from_linear(wave.collect::<Vec<_>>()));
        world.command(Command::Play {
            leg: OWNER,
            play: PlayKey(1),
            sound: Arc::clone(&sound),
            how: How::Instead,
        });
        world.run_to(700_000);
        let now = world.at(world.now_us);
        let mut phone = Handshake::new(theirs, &there, fingerprint(&here), now);
        let keys = shake(&mut world, &mut phone).expect("keys");
        let until = world.now_us + 2_000_000;
        world.run_to(until);
        world.sent.retain(|sent| {
            sent.port == rtp_port(OWNER)
                && !rtcp::is_rtcp(&sent.bytes)
                && !dtls::is_dtls(&sent.bytes)
        });
        let mut phone = Phone::new(OWNER, Some(&(keys.theirs, keys.ours)));
        let heard = phone.hear(&world);
        let heard: Vec<u8> = heard.iter().flat_map(|packet| payload(packet)).collect();
        assert_eq!(heard, sound.mulaw[..], "{ours:?}");
        let whole = |(_, event): &&(u64, Event)| {
            matches!(
                event,
                Event::Played {
                    completion: Completion::Whole,
                    ..
                }
            )
        };
        assert_eq!(world.events.iter().filter(whole).count(), 1);
    }
}

#[test]
fn another_certificate_than_the_agreed_one_gets_no_media() {
    let mut world = World::new(Sabotage::None);
    let identities = [0; 3].map(|_| Identity::generate().expect("an identity"));
    let [here, there, thief] = &identities;
    let fingerprint = |identity: &Identity| {
        let value = format!("sha-256 {}", identity.fingerprint());
        value.parse::<dtls::Fingerprint>().expect("a fingerprint")
    };
    let mut secured = peer(OWNER, mulaw());
    secured.rtcp_mux = RtcpMux::Shared;
    secured.security = Some(Security::Dtls {
        role: Role::Passive,
        identity: here.clone(),
        fingerprint: fingerprint(there),
    });
    world.command(Command::Connect {
        leg: OWNER,
        peer: secured,
    });
    let now = world.at(0);
    let mut phone = Handshake::new(Role::Active, thief, fingerprint(here), now);
    for _ in 0..50 {
        while let Some(datagram) = phone.datagram() {
            world.receive(rtp_port(OWNER), home(OWNER), &datagram);
        }
        let answers: Vec<Sent> = world.sent.drain(..).collect();
        for answer in answers {
            let _ = phone.handle(world.at(world.now_us), &answer.bytes);
        }
        let now_us = world.now_us + 20_000;
        world.run_to(now_us);
    }
    assert!(world.dropped(DropReason::Dtls) >= 1);
    world.receive(rtp_port(OTHER), home(OTHER), &Voice::of(OTHER).packet(0).2);
    assert_eq!(world.dropped(DropReason::SrtpMissing), 1);
    // A datagram of a handshake on a leg without one is no RTP either.
    world.receive(rtp_port(OTHER), home(OTHER), &[22, 254, 253, 0, 0]);
    assert_eq!(world.dropped(DropReason::Malformed), 1);
}

/// A protected leg, who may speak to it, and what its phone heard of them.
struct Line {
    world: World,
    phone: Phone,
    heard: Vec<Vec<u8>>,
    suite: Suite,
}

impl Line {
    /// A party speaks under one SSRC, from this number on; at least so many packets of it are new.
    fn say(&mut self, leg: LegKey, first_seq: u16, (count, least): (u64, usize), what: &str) {
        let before = self.heard.len();
        let voice = Voice {
            ssrc: 0xabcd,
            first_seq,
            first_timestamp: self.world.now_us as u32 / 125,
            from_us: self.world.now_us + 20_000,
            ..Voice::of(leg)
        };
        self.world.deliver(voice.packets(count));
        self.heard.extend(self.phone.hear(&self.world));
        let (new, suite) = (self.heard.len() - before, self.suite);
        assert!(new >= least, "{suite}: {new} packets of {what}");
    }

    fn restart_and_jump(&mut self) {
        self.say(OWNER, 100, (100, 100), "the beginning");
        for (first_seq, what) in [
            (40_000, "a restart far ahead"),
            (39_800, "a restart a little behind"),
            (42_000, "a jump that looks like loss"),
            (7, "a restart at the bottom"),
            (65_500, "a restart before the wrap"),
        ] {
            self.say(OWNER, first_seq, (100, 99), what);
        }
    }

    fn play_and_press(&mut self) {
        let sound = Arc::new(Prompt::from_linear(vec![9_000; 3_200]));
        for how in [How::Instead, How::Under] {
            self.world.command(Command::Play {
                leg: OTHER,
                play: PlayKey(1),
                sound: Arc::clone(&sound),
                how,
            });
            self.say(OWNER, 20_000, (50, 49), "speech and a sound");
        }
        self.world.command(Command::SendDigits {
            leg: OTHER,
            digits: vec![Digit {
                event: 7,
                duration_ms: 100,
            }],
        });
        self.say(OWNER, 30_000, (50, 40), "digits");
    }

    /// Transcoded, and as it is again, without a new source.
    fn transcode(&mut self, pair: &(MasterKey, MasterKey)) {
        let opus = format(96, Encoding::Speech(Codec::Opus));
        for (formats, first_seq) in [(vec![opus], 30_050), (mulaw(), 30_150), (vec![opus], 9)] {
            let mut media = peer(OTHER, formats);
            media.security = Some(sdes(pair));
            self.world.command(Command::Connect {
                leg: OTHER,
                peer: media,
            });
            self.say(OWNER, first_seq, (100, 97), "another codec");
        }
    }

    /// Every number is behind the one before it, and the phone refused none.
    fn check_numbers(&self) {
        let suite = self.suite;
        for pair in self.heard.windows(2) {
            let [before, after] = [0, 1].map(|n| View::parse(&pair[n]).expect("RTP").seq());
            let step = after.0.wrapping_sub(before.0);
            assert!((1..3_000).contains(&step), "{suite}: {before:?}, {after:?}");
        }
        for reason in [
            DropReason::SrtpReplayed,
            DropReason::SrtpTag,
            DropReason::SrtpMissing,
        ] {
            assert_eq!(self.world.dropped(reason), 0, "{suite}: {reason:?}");
        }
    }
}

#[test]
fn no_number_goes_out_twice_or_backwards_whatever_is_sent_to_a_protected_leg() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm] {
        let mut world = World::new(Sabotage::None);
        let third = LegKey(3);
        let pair = keys(OTHER, suite);
        connect(&mut world, OTHER, Some(sdes(&pair)));
        world.open(third);
        connect(&mut world, third, None);
        let mut line = Line {
            world,
            phone: Phone::new(OTHER, Some(&pair)),
            heard: Vec::new(),
            suite,
        };
        line.restart_and_jump();
        line.play_and_press();
        line.transcode(&pair);
        // To another leg and back, whose numbers are those of the one before.
        for (leg, first_seq) in [(third, 109), (OWNER, 109), (third, 109)] {
            line.world.command(Command::Bridge { a: leg, b: OTHER });
            line.say(leg, first_seq, (100, 97), "another leg");
        }
        line.check_numbers();
    }
}

#[test]
fn a_report_under_the_former_key_is_known_by_its_key_not_by_its_number() {
    let mut world = World::new(Sabotage::None);
    let suite = Suite::AeadAes128Gcm;
    let before = keys(OWNER, suite);
    let after = (key(suite, 101), key(suite, 102));
    let sealed = |key: &MasterKey| -> Vec<Vec<u8>> {
        let report = [Report::Receiver {
            ssrc: Ssrc(5),
            blocks: Vec::new(),
        }];
        let mut buffer = [0; 64];
        let len = rtcp::write(&report, &mut buffer).expect("it fits");
        let mut protector = Protector::new(key).expect("a key");
        let mut next = || {
            let mut sealed = buffer[..len].to_vec();
            protector.rtcp(&mut sealed).expect("a report");
            sealed
        };
        (0..3).map(|_| next()).collect()
    };
    let (old, new) = (sealed(&before.1), sealed(&after.1));
    let from = address("10.0.0.1:4001");
    connect(&mut world, OWNER, Some(sdes(&before)));
    world.receive(PortId(1), from, &old[0]);
    connect(&mut world, OWNER, Some(sdes(&after)));
    for report in &new {
        world.receive(PortId(1), from, report);
    }
    world.receive(PortId(1), from, &old[1]);
    assert_eq!(world.shard.counters().rtcp_received, 5);
    for report in [&old[0], &old[1], &new[2]] {
        world.receive(PortId(1), from, report);
    }
    assert_eq!(world.shard.counters().rtcp_received, 5);
    assert_eq!(world.dropped(DropReason::SrtpReplayed), 3);
    world.run_to(2_000_000);
    world.receive(PortId(1), from, &old[2]);
    assert_eq!(world.shard.counters().rtcp_received, 5);
}

#[test]
fn a_key_of_ours_that_comes_back_goes_on_where_it_was() {
    let mut world = World::new(Sabotage::None);
    let first = keys(OTHER, Suite::AesCm128HmacSha1_80);
    let second = keys(OTHER, Suite::AeadAes256Gcm);
    let mut phones = [&first, &second].map(|pair| Phone::new(OTHER, Some(pair)));
    let voice = Voice::of(OWNER);
    let mut taken = 0;
    // The first part goes over the wrap of what is sent, which begins at 65,000.
    for (which, packets) in [(0, 0..600), (1, 600..650), (0, 650..700), (1, 700..750)] {
        let pair = [&first, &second][which];
        connect(&mut world, OTHER, Some(sdes(pair)));
        world.deliver(packets.clone().map(|index| voice.packet(index)).collect());
        phones[which].taken = taken;
        let heard = phones[which].hear(&world);
        taken = phones[which].taken;
        assert_eq!(heard.len() as u64, packets.end - packets.start);
        for (packet, index) in heard.iter().zip(packets) {
            assert_eq!(payload(packet), voice.packet(index).2[12..], "{index}");
        }
    }
}
