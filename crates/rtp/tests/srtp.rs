//! SRTP against libsrtp's output, against ffmpeg over loopback, and against everything that a network
//! and an attacker do to packets.

use duolog_rtp::srtp::{KeyError, MasterKey, Protector, SrtpError, Suite, Unprotector};

const SSRC: u32 = 0xcafe_babe;
const HEADER: usize = 12;

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// A key whose octets are `start`, `start + 7`, ...
fn key(suite: Suite, start: u8) -> MasterKey {
    let octets: Vec<u8> = (0..suite.key_bytes() + suite.salt_bytes())
        .map(|at| start.wrapping_add((at as u8).wrapping_mul(7)))
        .collect();
    MasterKey::new(suite, &octets).expect("as long as the suite wants")
}

fn pair(suite: Suite) -> (Protector, Unprotector) {
    let key = key(suite, 3);
    (
        Protector::new(&key).expect("a protector"),
        Unprotector::new(&key).expect("an unprotector"),
    )
}

/// An RTP packet of 20 ms whose payload tells its number.
fn rtp(ssrc: u32, number: u64) -> Vec<u8> {
    let sequence = number as u16;
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&((number * 160) as u32).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&number.to_be_bytes());
    packet.resize(HEADER + 160, number as u8);
    packet
}

/// A receiver report with one source description.
fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x81, 202, 0, 2]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[1, 2, b'd', b'u', 0, 0, 0, 0]);
    packet
}

fn protected(protector: &mut Protector, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    protector.rtp(&mut packet).expect("protected");
    packet
}

fn protected_rtcp(protector: &mut Protector, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    protector.rtcp(&mut packet).expect("protected");
    packet
}

fn opened(unprotector: &mut Unprotector, datagram: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut datagram = datagram.to_vec();
    let octets = unprotector.rtp(&mut datagram)?;
    datagram.truncate(octets);
    Ok(datagram)
}

fn opened_rtcp(unprotector: &mut Unprotector, datagram: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut datagram = datagram.to_vec();
    let octets = unprotector.rtcp(&mut datagram)?;
    datagram.truncate(octets);
    Ok(datagram)
}

/// Xorshift64*: the same numbers for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

#[test]
fn suites_and_keys() {
    for suite in Suite::ALL {
        assert_eq!(Suite::from_name(suite.name()), Some(suite));
        assert_eq!(Suite::from_name(&suite.name().to_lowercase()), Some(suite));
        let wanted = suite.key_bytes() + suite.salt_bytes();
        for found in [0, wanted - 1, wanted + 1] {
            assert_eq!(
                MasterKey::new(suite, &vec![7; found]),
                Err(KeyError::Length {
                    suite,
                    wanted,
                    found
                })
            );
        }
        let key = key(suite, 0xe0);
        assert_eq!(key.key_and_salt().len(), wanted);
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("MasterKey {{ suite: {suite:?}, .. }}"));
        let shown = format!("{:?} {:?}", pair(suite).0, pair(suite).1);
        assert_eq!(
            shown,
            format!("Protector {{ suite: {suite:?}, .. }} Unprotector {{ suite: {suite:?}, .. }}")
        );
    }
    for name in ["", "F8_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_8", "NULL"] {
        assert_eq!(Suite::from_name(name), None, "{name}");
    }
}

/// What libsrtp 2.5.0 makes of the packets of [`with_extension`] 0xfffe, 0xffff, 0 (the third is here)
/// and of a compound RTCP packet, with the key of [`key`] (3).
struct Vector {
    suite: Suite,
    wrapped: &'static str,
    rtcp: &'static str,
}

const LIBSRTP: [Vector; 6] = [
    Vector {
        suite: Suite::AesCm128HmacSha1_80,
        wrapped: "9180000000112233cafebabe01020304bede000110aa00008cbbcfd4d3dc367a11b46ff9e8d98813db4b42",
        rtcp: "80c90001cafebabeb6815f7f468d0e79e45cdd85f57e5aa78000000193ac8d16333683ab2823",
    },
    Vector {
        suite: Suite::AesCm128HmacSha1_32,
        wrapped: "9180000000112233cafebabe01020304bede000110aa00008cbbcfd4d3dc367a11b46ff9e8",
        rtcp: "80c90001cafebabeb6815f7f468d0e79e45cdd85f57e5aa78000000193ac8d16333683ab2823",
    },
    Vector {
        suite: Suite::AesCm256HmacSha1_80,
        wrapped: "9180000000112233cafebabe01020304bede000110aa0000148488a0d3b380754ba125befa43800a24c4ee",
        rtcp: "80c90001cafebabeee1130bc4b5c4f7aee708b07dc8a4a52800000011c22a0acb057105fd524",
    },
    Vector {
        suite: Suite::AesCm256HmacSha1_32,
        wrapped: "9180000000112233cafebabe01020304bede000110aa0000148488a0d3b380754ba125befa",
        rtcp: "80c90001cafebabeee1130bc4b5c4f7aee708b07dc8a4a52800000011c22a0acb057105fd524",
    },
    Vector {
        suite: Suite::AeadAes128Gcm,
        wrapped: "9180000000112233cafebabe01020304bede000110aa00002c429d18b32593de4780c08f4cf149e65f60c4b05cd1e62c66",
        rtcp: "80c90001cafebabe64b28556b7abad63f713cf32f31affeee2bfc00c3e741b4ff899c06a79c1682180000001",
    },
    Vector {
        suite: Suite::AeadAes256Gcm,
        wrapped: "9180000000112233cafebabe01020304bede000110aa0000fc950a42344cacc903a2e66b4a3860a3e8eaf8203899b7cd69",
        rtcp: "80c90001cafebabe85ba4227db3793315c4bcaa9be75e35dda92d290073f36ccc38bec56792a5e2380000001",
    },
];

/// One CSRC, one extension element, nine octets of payload.
fn with_extension(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x91, 0x80];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&octets("00112233cafebabe01020304bede000110aa0000"));
    packet.extend_from_slice(b"duolog ");
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet
}

#[test]
fn same_octets_as_libsrtp() {
    for vector in LIBSRTP {
        let (mut protector, mut unprotector) = pair(vector.suite);
        for sequence in [0xfffe, 0xffff] {
            let packet = protected(&mut protector, &with_extension(sequence));
            opened(&mut unprotector, &packet).expect("opened");
        }
        let wrapped = octets(vector.wrapped);
        let plain = with_extension(0);
        assert_eq!(
            protected(&mut protector, &plain),
            wrapped,
            "{}",
            vector.suite
        );
        assert_eq!(opened(&mut unprotector, &wrapped), Ok(plain));

        // libsrtp's first index is 1, ours 0 (RFC 3711 §4.1).
        let mut plain = octets("80c90001cafebabe81ca0002cafebabe0102647500");
        plain.extend_from_slice(&[0; 3]);
        let first = protected_rtcp(&mut protector, &plain);
        assert_eq!(opened_rtcp(&mut unprotector, &first), Ok(plain.clone()));
        let second = octets(vector.rtcp);
        assert_eq!(
            protected_rtcp(&mut protector, &plain),
            second,
            "{}",
            vector.suite
        );
        assert_eq!(opened_rtcp(&mut unprotector, &second), Ok(plain));
    }
}

#[test]
fn overhead_and_clear_header() {
    for suite in Suite::ALL {
        let (mut protector, _) = pair(suite);
        let plain = with_extension(77);
        let packet = protected(&mut protector, &plain);
        assert_eq!(packet[..24], plain[..24], "header, CSRC, extension");
        assert_ne!(packet[24..33], plain[24..33]);
        let plain = rtcp(SSRC);
        let control = protected_rtcp(&mut protector, &plain);
        assert_eq!(control[..8], plain[..8]);
        assert_ne!(control[8..24], plain[8..24]);
        for grown in [packet.len() - 33, control.len() - plain.len()] {
            assert!(grown <= Suite::longest_overhead(), "{suite} {grown}");
        }
    }
    assert_eq!(Suite::longest_overhead(), 20);
}

#[test]
fn empty_payloads() {
    for suite in Suite::ALL {
        let (mut protector, mut unprotector) = pair(suite);
        let plain = &rtp(SSRC, 9)[..HEADER];
        let packet = protected(&mut protector, plain);
        assert_eq!(opened(&mut unprotector, &packet), Ok(plain.to_vec()));
        let plain = &rtcp(SSRC)[..8];
        let packet = protected_rtcp(&mut protector, plain);
        assert_eq!(opened_rtcp(&mut unprotector, &packet), Ok(plain.to_vec()));
    }
}

/// Three turns of the sequence number through a network that loses a fifth of the packets, displaces
/// the others by up to 60 numbers and repeats some: each that arrives is opened once, to what was sent.
#[test]
fn wraps_with_loss_reorder_and_duplicates() {
    for (seed, suite) in Suite::ALL.into_iter().enumerate() {
        let (mut protector, mut unprotector) = pair(suite);
        let mut random = Numbers(0x5eed + seed as u64);
        let mut network: Vec<(u64, u64, Vec<u8>)> = Vec::new();
        for number in 65_000..3 * 65_536 + 500 {
            let near_wrap = !(600..=0xffff - 600).contains(&(number & 0xffff));
            // Away from the wrap one packet in 31 is enough, and makes larger steps.
            if near_wrap || number % 31 == 0 {
                let packet = protected(&mut protector, &rtp(SSRC, number));
                let due = number + random.below(60) as u64;
                network.push((due, number, packet));
            }
        }
        network.sort();
        let (mut arrived, mut replayed) = (0_u32, 0_u32);
        for (_, number, packet) in network {
            if random.below(5) == 0 {
                continue;
            }
            assert_eq!(
                opened(&mut unprotector, &packet),
                Ok(rtp(SSRC, number)),
                "{number}"
            );
            arrived += 1;
            if random.below(10) == 0 {
                assert_eq!(opened(&mut unprotector, &packet), Err(SrtpError::Replayed));
                replayed += 1;
            }
        }
        assert!(arrived > 5_000 && replayed > 400, "{arrived} {replayed}");
    }
}

/// The sending side behind a reordering network: a packet that is a little late gets its own index.
#[test]
fn protects_out_of_order_packets_around_the_wrap() {
    let orders: [&[u64]; 4] = [
        &[65_534, 65_536, 65_535, 65_537],
        &[65_535, 65_540, 65_534, 65_533, 65_538, 65_536],
        &[65_420, 65_536, 65_421, 65_535],
        &[1, 0, 3, 2],
    ];
    for suite in Suite::ALL {
        for order in orders {
            let (mut protector, mut unprotector) = pair(suite);
            for &number in order {
                let packet = protected(&mut protector, &rtp(SSRC, number));
                assert_eq!(opened(&mut unprotector, &packet), Ok(rtp(SSRC, number)));
            }
        }
    }
}

#[test]
fn no_index_is_used_twice() {
    let (mut protector, _) = pair(Suite::AeadAes128Gcm);
    let check = |protector: &mut Protector, number, expected| {
        let mut packet = rtp(SSRC, number);
        packet[HEADER + 20] ^= 1;
        let before = packet.clone();
        assert_eq!(protector.rtp(&mut packet), expected, "{number}");
        assert_eq!(packet == before, expected.is_err(), "{number}");
    };
    check(&mut protector, 1000, Ok(()));
    check(&mut protector, 1000, Err(SrtpError::Replayed));
    check(&mut protector, 1127, Ok(()));
    check(&mut protector, 1000, Err(SrtpError::Replayed));
    check(&mut protector, 1001, Ok(()));
    check(&mut protector, 1001, Err(SrtpError::Replayed));
    check(&mut protector, 1128, Ok(()));
    check(&mut protector, 1000, Err(SrtpError::TooOld));
    // Before the first packet of the source there is no index.
    check(&mut protector, 65_535, Err(SrtpError::TooOld));
}

#[test]
fn joins_late() {
    for suite in Suite::ALL {
        for first in [0, 1, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x1_8000, 0x3_fff0] {
            let (mut protector, mut unprotector) = pair(suite);
            // The sender has been at it since number 0, in steps that lose no turn.
            for number in (0..first).step_by(20_000) {
                protected(&mut protector, &rtp(SSRC, number));
            }
            for number in [first + 1, first, first + 2] {
                let packet = protected(&mut protector, &rtp(SSRC, number));
                assert_eq!(
                    opened(&mut unprotector, &packet),
                    Ok(rtp(SSRC, number)),
                    "{suite} {number:#x}"
                );
            }
        }
    }
}

#[test]
fn old_packets_are_refused() {
    let (mut protector, mut unprotector) = pair(Suite::AesCm128HmacSha1_80);
    let packets: Vec<_> = (0..200)
        .map(|number| protected(&mut protector, &rtp(SSRC, number)))
        .collect();
    let mut check = |number: usize, expected: Result<(), SrtpError>| {
        let found = opened(&mut unprotector, &packets[number]);
        assert_eq!(found.map(drop), expected, "{number}");
    };
    check(10, Ok(()));
    check(140, Ok(()));
    check(140, Err(SrtpError::Replayed));
    check(10, Err(SrtpError::TooOld));
    check(12, Err(SrtpError::TooOld));
    check(13, Ok(()));
    check(13, Err(SrtpError::Replayed));
    check(199, Ok(()));
    check(71, Err(SrtpError::TooOld));
    check(72, Ok(()));
}

#[test]
fn rtcp_replay_and_order() {
    for suite in Suite::ALL {
        let (mut protector, mut unprotector) = pair(suite);
        let packets: Vec<_> = (0..140)
            .map(|_| protected_rtcp(&mut protector, &rtcp(SSRC)))
            .collect();
        let mut check = |at: usize, expected: Result<Vec<u8>, SrtpError>| {
            assert_eq!(
                opened_rtcp(&mut unprotector, &packets[at]),
                expected,
                "{at}"
            );
        };
        check(1, Ok(rtcp(SSRC)));
        check(0, Ok(rtcp(SSRC)));
        check(0, Err(SrtpError::Replayed));
        check(139, Ok(rtcp(SSRC)));
        check(11, Err(SrtpError::TooOld));
        check(12, Ok(rtcp(SSRC)));
        check(139, Err(SrtpError::Replayed));
    }
}

#[test]
fn sources_of_one_key() {
    for suite in Suite::ALL {
        let (mut protector, mut unprotector) = pair(suite);
        // Eight sources, each at another place of another turn.
        let number = |ssrc: u32, step: u64| u64::from(ssrc) * 9_000 + step * 20_000;
        for step in 0..8 {
            for ssrc in 1..=8 {
                let plain = rtp(ssrc, number(ssrc, step));
                let packet = protected(&mut protector, &plain);
                assert_eq!(opened(&mut unprotector, &packet), Ok(plain));
                let control = protected_rtcp(&mut protector, &rtcp(ssrc));
                assert_eq!(opened_rtcp(&mut unprotector, &control), Ok(rtcp(ssrc)));
            }
        }
    }
}

#[test]
fn a_forgotten_source_joins_again() {
    let (mut protector, mut unprotector) = pair(Suite::AeadAes256Gcm);
    let first = protected(&mut protector, &rtp(1, 500));
    opened(&mut unprotector, &first).expect("opened");
    for ssrc in 2..=8 {
        let packet = protected(&mut protector, &rtp(ssrc, 500));
        opened(&mut unprotector, &packet).expect("opened");
    }
    assert_eq!(opened(&mut unprotector, &first), Err(SrtpError::Replayed));
    let ninth = protected(&mut protector, &rtp(9, 500));
    opened(&mut unprotector, &ninth).expect("opened");
    // The limit of what is remembered, as documented: source 1 was the one used longest ago.
    assert_eq!(opened(&mut unprotector, &first), Ok(rtp(1, 500)));
}

#[test]
fn a_sender_never_forgets_a_source() {
    let (mut protector, _) = pair(Suite::AesCm128HmacSha1_80);
    for ssrc in 0..1024 {
        protected(&mut protector, &rtp(ssrc, 5));
        protected_rtcp(&mut protector, &rtcp(ssrc));
    }
    assert_eq!(protector.rtp(&mut rtp(1024, 5)), Err(SrtpError::Sources));
    assert_eq!(protector.rtcp(&mut rtcp(1024)), Err(SrtpError::Sources));
    assert_eq!(protector.rtp(&mut rtp(0, 5)), Err(SrtpError::Replayed));
    assert_eq!(protector.rtp(&mut rtp(0, 6)), Ok(()));
}

#[test]
fn a_wrong_key_opens_nothing() {
    for suite in Suite::ALL {
        let (mut protector, _) = pair(suite);
        let packet = protected(&mut protector, &rtp(SSRC, 100));
        let control = protected_rtcp(&mut protector, &rtcp(SSRC));
        let mut other = Unprotector::new(&key(suite, 4)).expect("an unprotector");
        for _ in 0..2 {
            assert_eq!(opened(&mut other, &packet), Err(SrtpError::Tag));
            assert_eq!(opened_rtcp(&mut other, &control), Err(SrtpError::Tag));
        }
        // RTP in clear is not taken for SRTP either, nor SRTP for SRTCP.
        let (_, mut unprotector) = pair(suite);
        assert_eq!(
            opened(&mut unprotector, &rtp(SSRC, 100)),
            Err(SrtpError::Tag)
        );
        assert_eq!(opened_rtcp(&mut unprotector, &packet), Err(SrtpError::Tag));
        assert_eq!(opened(&mut unprotector, &control), Err(SrtpError::Tag));
    }
}

#[test]
fn a_key_identifier_is_skipped() {
    let key_of = |suite| key(suite, 3);
    for suite in Suite::ALL {
        let (mut protector, _) = pair(suite);
        let tag = match suite {
            Suite::AesCm128HmacSha1_32 | Suite::AesCm256HmacSha1_32 => 4,
            Suite::AesCm128HmacSha1_80 | Suite::AesCm256HmacSha1_80 => 10,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 0,
        };
        for mki in [1, 4, 128] {
            let mut with = Unprotector::with_mki(&key_of(suite), mki).expect("an unprotector");
            let identified = |mut packet: Vec<u8>, tag: usize| {
                let at = packet.len() - tag;
                packet.splice(at..at, vec![0xaa; mki]);
                packet
            };
            let plain = rtp(SSRC, mki as u64);
            let packet = identified(protected(&mut protector, &plain), tag);
            assert_eq!(opened(&mut with, &packet), Ok(plain), "{suite} {mki}");
            assert_eq!(opened(&mut with, &packet), Err(SrtpError::Replayed));
            let control = protected_rtcp(&mut protector, &rtcp(SSRC));
            let control = identified(control, if tag == 0 { 0 } else { 10 });
            assert_eq!(opened_rtcp(&mut with, &control), Ok(rtcp(SSRC)));
        }
        assert_eq!(
            Unprotector::with_mki(&key_of(suite), 129).map(drop),
            Err(KeyError::Mki(129))
        );
    }
}

#[test]
fn every_shorter_packet_is_refused() {
    for suite in Suite::ALL {
        let (mut protector, mut unprotector) = pair(suite);
        let packet = protected(&mut protector, &with_extension(5));
        let control = protected_rtcp(&mut protector, &rtcp(SSRC));
        for octets in 0..packet.len() {
            let refused = opened(&mut unprotector, &packet[..octets]).expect_err("refused");
            assert!(matches!(refused, SrtpError::Short | SrtpError::Tag));
        }
        for octets in 0..control.len() {
            let refused = opened_rtcp(&mut unprotector, &control[..octets]).expect_err("refused");
            assert!(matches!(refused, SrtpError::Short | SrtpError::Tag));
        }
        for octets in 0..HEADER {
            let mut short = rtp(SSRC, 6)[..octets].to_vec();
            assert_eq!(protector.rtp(&mut short), Err(SrtpError::Short));
        }
        for octets in 0..8 {
            let mut short = rtcp(SSRC)[..octets].to_vec();
            assert_eq!(protector.rtcp(&mut short), Err(SrtpError::Short));
        }
        assert_eq!(protector.rtp(&mut vec![0; 40]), Err(SrtpError::Version));
        assert_eq!(protector.rtcp(&mut vec![0; 40]), Err(SrtpError::Version));
        assert_eq!(opened(&mut unprotector, &packet), Ok(with_extension(5)));
        assert_eq!(opened_rtcp(&mut unprotector, &control), Ok(rtcp(SSRC)));
    }
}

fn mutate(random: &mut Numbers, packet: &[u8]) -> Vec<u8> {
    let mut mutated = packet.to_vec();
    loop {
        match random.below(6) {
            0 => mutated.truncate(random.below(mutated.len() + 1)),
            1 => mutated.extend((0..random.below(40)).map(|at| at as u8)),
            2 => {
                mutated = (0..random.below(200))
                    .map(|_| random.below(256) as u8)
                    .collect()
            }
            3 if mutated.len() > 3 => {
                let claimed = random.below(0x1_0000) as u16;
                mutated[0] = 0x80 | random.below(64) as u8;
                mutated[2..4].copy_from_slice(&claimed.to_be_bytes());
            }
            _ if !mutated.is_empty() => {
                for _ in 0..=random.below(4) {
                    let at = random.below(mutated.len());
                    mutated[at] ^= 1 << random.below(8);
                }
            }
            _ => {}
        }
        if mutated != packet {
            return mutated;
        }
    }
}

/// 50,000 packets that nobody with the key sent: none passes, none changes anything, so the genuine
/// packets between them are opened as if nothing had happened.
#[test]
fn mutated_packets_never_pass() {
    const ROUNDS: u64 = 50_000;
    // With a tag of 32 bit a forgery passes once in 2^32, and never with these seeds.
    for (seed, suite) in Suite::ALL.into_iter().enumerate() {
        let (mut protector, mut unprotector) = pair(suite);
        let mut random = Numbers(0xbad + seed as u64);
        let mut passed = 0;
        for round in 0..ROUNDS / 6 + 1 {
            let number = 65_000 + round * 3;
            let packet = protected(&mut protector, &rtp(SSRC, number));
            let control = protected_rtcp(&mut protector, &rtcp(SSRC));
            for _ in 0..3 {
                let forged = mutate(&mut random, &packet);
                passed += u32::from(opened(&mut unprotector, &forged).is_ok());
                let forged = mutate(&mut random, &control);
                passed += u32::from(opened_rtcp(&mut unprotector, &forged).is_ok());
            }
            assert_eq!(opened(&mut unprotector, &packet), Ok(rtp(SSRC, number)));
            assert_eq!(opened_rtcp(&mut unprotector, &control), Ok(rtcp(SSRC)));
        }
        assert_eq!(passed, 0, "{suite}");
    }
}

/// Forged packets under other SSRCs push nothing out and make nothing grow.
#[test]
fn forged_sources_leave_no_trace() {
    let (mut protector, mut unprotector) = pair(Suite::AesCm128HmacSha1_32);
    let first = protected(&mut protector, &rtp(SSRC, 70));
    opened(&mut unprotector, &first).expect("opened");
    for ssrc in 0..20_000 {
        let mut forged = first.clone();
        forged[8..12].copy_from_slice(&u32::to_be_bytes(ssrc));
        assert_eq!(unprotector.rtp(&mut forged), Err(SrtpError::Tag));
    }
    assert_eq!(opened(&mut unprotector, &first), Err(SrtpError::Replayed));
}

#[test]
fn both_sides_may_move_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Protector>();
    check::<Unprotector>();
    check::<MasterKey>();
}

/// ffmpeg has its own SRTP (`libavformat/srtp.c`), for the counter mode suites with 128 bit.
#[expect(
    clippy::disallowed_types,
    reason = "another implementation is reached over loopback"
)]
mod ffmpeg {
    use std::net::UdpSocket;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;

    const TONE_HZ: f64 = 1000.0;
    const RATE_HZ: f64 = 8000.0;

    fn base64(octets: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        assert_eq!(
            octets.len() % 3,
            0,
            "30 octets of key and salt need no padding"
        );
        let groups = octets.chunks_exact(3).flat_map(|three| {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift & 63) as usize]))
        });
        groups.collect()
    }

    fn start(arguments: &[&str]) -> Child {
        Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ffmpeg (Debian package of that name) can be started")
    }

    fn bind(port: u16) -> UdpSocket {
        assert!(port < 32_768);
        let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a free port");
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).expect("a time-out");
        socket
    }

    /// ITU-T G.711 µ-law.
    fn linear(code: u8) -> f64 {
        let code = !code;
        let magnitude = (i32::from(code & 0x0f) << 3 | 0x84) << (code >> 4 & 7);
        f64::from(if code & 0x80 == 0 {
            magnitude - 0x84
        } else {
            0x84 - magnitude
        })
    }

    fn mu_law(sample: f64) -> u8 {
        let magnitude = sample.abs() as i32 + 0x84;
        let segment = (magnitude >> 7).ilog2();
        let code = (segment << 4) as u8 | (magnitude >> (segment + 3) & 0x0f) as u8;
        !(code | if sample < 0.0 { 0x80 } else { 0 })
    }

    /// The part of the power that is in the tone, 0 to 1.
    fn tone_part(samples: &[f64]) -> f64 {
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let angle = std::f64::consts::TAU * TONE_HZ / RATE_HZ * at as f64;
            re += sample * angle.cos();
            im += sample * angle.sin();
            power += sample * sample;
        }
        2.0 * (re * re + im * im) / (power * samples.len() as f64)
    }

    /// ffmpeg shortens the tag of SRTCP too under the SDP's name of the suite with 32 bit, against
    /// RFC 4568 §6.2 (table); under the name of RFC 5764 it does not.
    fn check_sent_by_ffmpeg(suite: Suite, name: &str, port: u16) {
        let (media, control) = (bind(port), bind(port + 1));
        let key = key(suite, 40);
        let mut ffmpeg = start(&[
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=1000:duration=2:sample_rate=8000",
            "-c:a",
            "pcm_mulaw",
            "-f",
            "rtp",
            "-srtp_out_suite",
            name,
            "-srtp_out_params",
            &base64(key.key_and_salt()),
            &format!("srtp://127.0.0.1:{port}?pkt_size=172"),
        ]);
        let mut unprotector = Unprotector::new(&key).expect("an unprotector");
        let mut samples = Vec::new();
        let mut buffer = [0; 2048];
        while samples.len() < 15_840 {
            let octets = media.recv(&mut buffer).expect("ffmpeg sends 100 packets");
            let plain = unprotector
                .rtp(&mut buffer[..octets])
                .expect("authentic SRTP");
            assert_eq!(buffer[1] & 0x7f, 0, "the payload type of PCMU");
            samples.extend(buffer[HEADER..plain].iter().copied().map(linear));
        }
        let octets = control.recv(&mut buffer).expect("ffmpeg sends a report");
        let plain = unprotector
            .rtcp(&mut buffer[..octets])
            .expect("authentic SRTCP");
        assert_eq!(buffer[1], 200, "a sender report");
        assert!(plain >= 28 && plain % 4 == 0);
        assert!(ffmpeg.wait().expect("ffmpeg ends").success());
        let part = tone_part(&samples);
        assert!(part > 0.99, "{suite}: {part}");
    }

    #[test]
    fn sends() {
        let suite = Suite::AesCm128HmacSha1_80;
        check_sent_by_ffmpeg(suite, suite.name(), 13_450);
        let suite = Suite::AesCm128HmacSha1_32;
        check_sent_by_ffmpeg(suite, "SRTP_AES128_CM_HMAC_SHA1_32", 13_452);
    }

    /// Sends a tone until ffmpeg has heard a second of it; the sequence number wraps on the way.
    fn check_heard_by_ffmpeg(suite: Suite, port: u16) {
        let key = key(suite, 50);
        let description = std::env::temp_dir().join(format!("duolog-srtp-{port}.sdp"));
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/SAVP 0\r\na=rtpmap:0 PCMU/8000\r\n\
             a=crypto:1 {} inline:{}\r\n",
            suite.name(),
            base64(key.key_and_salt())
        );
        std::fs::write(&description, text).expect("a description for ffmpeg");
        let mut ffmpeg = start(&[
            "-protocol_whitelist",
            "file,rtp,srtp,udp",
            "-i",
            description.to_str().expect("a path"),
            "-t",
            "1",
            "-f",
            "s16le",
            "-",
        ]);
        let mut protector = Protector::new(&key).expect("a protector");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        // The time-out of a read is the pace: nothing ever comes back on this socket.
        let pace = Some(Duration::from_millis(10));
        socket.set_read_timeout(pace).expect("a time-out");
        let mut number = 65_500;
        while ffmpeg.try_wait().expect("ffmpeg's state").is_none() {
            let mut packet = rtp(SSRC, number);
            for (at, octet) in packet[HEADER..].iter_mut().enumerate() {
                let angle = std::f64::consts::TAU * TONE_HZ / RATE_HZ * at as f64;
                *octet = mu_law(8000.0 * angle.sin());
            }
            protector.rtp(&mut packet).expect("protected");
            // Nobody listens before ffmpeg is up.
            let _ = socket.send_to(&packet, ("127.0.0.1", port));
            let _ = socket.recv(&mut [0; 16]);
            number += 1;
            assert!(number < 65_500 + 3000, "ffmpeg heard nothing");
        }
        let output = ffmpeg.wait_with_output().expect("ffmpeg ends");
        std::fs::remove_file(&description).expect("removed");
        let samples: Vec<f64> = output
            .stdout
            .chunks_exact(2)
            .map(|two| f64::from(i16::from_le_bytes([two[0], two[1]])))
            .collect();
        assert!(samples.len() >= 7_900, "{} samples", samples.len());
        let part = tone_part(&samples);
        assert!(part > 0.99, "{suite}: {part}");
    }

    #[test]
    fn hears() {
        check_heard_by_ffmpeg(Suite::AesCm128HmacSha1_80, 13_454);
        check_heard_by_ffmpeg(Suite::AesCm128HmacSha1_32, 13_456);
    }
}
