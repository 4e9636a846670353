//! What anybody can send to the port: no datagram panics the readers, and the `rtp` package behind
//! its guard agrees with the reading in place.

use bytes::Bytes;
use duolog_rtp::event::TelephoneEvent;
use duolog_rtp::packet::{Outgoing, PacketError, View, to_rtp};
use duolog_rtp::rtcp::{self, Block, NtpTime, Report, RtcpError, SenderFigures};
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc};
use rtp::packet::Packet;
use webrtc_util::marshal::Unmarshal;

macro_rules! regression {
    ($name:literal) => {
        octets(include_str!(concat!(
            "../../../fixtures/rtp/regressions/",
            $name,
            ".hex"
        )))
    };
}

/// Hexadecimal with white space and `#` comments.
fn octets(text: &str) -> Vec<u8> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("a fixture is hexadecimal"))
        .collect()
}

fn payload(datagram: Vec<u8>) -> Result<Vec<u8>, PacketError> {
    let read = View::parse(&datagram).map(|view| view.payload().to_vec());
    let modelled = to_rtp(Bytes::from(datagram)).map(|packet| packet.payload.to_vec());
    assert_eq!(read, modelled, "the package behind its guard agrees");
    read
}

#[test]
fn crafted_packets_are_refused_before_the_package_sees_them() {
    for (datagram, bare_package_panics) in [
        (regression!("rtp-one-byte-element-past-end"), true),
        (regression!("rtp-one-byte-element-after-padding"), true),
        (regression!("rtp-two-byte-element-past-end"), true),
        (regression!("rtp-two-byte-element-without-length"), true),
        (regression!("rtp-element-into-payload"), false),
    ] {
        assert_eq!(
            payload(datagram.clone()),
            Err(PacketError::ExtensionElement),
            "{datagram:x?}"
        );
        // The day this fails the package has been mended, and the guard may become simpler.
        let bare = std::panic::catch_unwind(|| Packet::unmarshal(&mut Bytes::from(datagram)));
        assert_eq!(bare.is_err(), bare_package_panics);
    }
}

#[test]
fn other_regressions_keep_their_answers() {
    assert_eq!(
        payload(regression!("rtp-id-15-then-payload")),
        Ok(vec![0xd5; 2])
    );
    assert_eq!(
        payload(regression!("rtp-padding-zero")),
        Err(PacketError::Padding)
    );
    assert_eq!(
        payload(regression!("rtp-padding-without-payload")),
        Err(PacketError::Padding)
    );

    let report = Report::Receiver {
        ssrc: Ssrc(7),
        blocks: vec![],
    };
    let alone = rtcp::parse(&regression!("rtcp-short-nack-alone"));
    assert_eq!(alone, Err(RtcpError::NoReportFirst));
    let compound = rtcp::parse(&regression!("rtcp-short-nack-in-compound"));
    assert_eq!(compound.as_deref(), Ok(&[report.clone()][..]));
    let bye = Report::Goodbye {
        ssrcs: vec![Ssrc(7)],
        reason: Bytes::new(),
    };
    assert_eq!(
        rtcp::parse(&regression!("rtcp-bye-padded-by-three")),
        Ok(vec![report, bye])
    );
}

/// Xorshift64*: the same mutations for the same seed.
struct Mutator(u64);

impl Mutator {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// One to four changes: an octet, a bit, a cut, some more octets, a piece copied over another.
    fn mutate(&mut self, datagram: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let len = datagram.len().max(1);
            // Lengths, counts and flags stand in front: most changes are made there.
            let at = if self.below(3) == 0 {
                self.below(len)
            } else {
                self.below(len.min(28))
            };
            match self.below(6) {
                0 => datagram.truncate(at),
                1 => datagram.extend(std::iter::repeat_n(at as u8, self.below(12))),
                2 => {
                    let piece = datagram[at.min(datagram.len())..].to_vec();
                    let to = self.below(len);
                    datagram.truncate(to);
                    datagram.extend(piece);
                }
                3 => {
                    if let Some(octet) = datagram.get_mut(at) {
                        *octet ^= 1 << self.below(8);
                    }
                }
                _ => {
                    if let Some(octet) = datagram.get_mut(at) {
                        *octet =
                            [0, 1, 4, 15, 16, 127, 128, 255, self.below(256) as u8][self.below(9)];
                    }
                }
            }
        }
    }
}

fn well_formed_rtp() -> Vec<Vec<u8>> {
    let mut plain = vec![0; 172];
    let packet = Outgoing {
        ssrc: Ssrc(0x1122_3344),
        seq: SeqNo(65_535),
        timestamp: RtpTimestamp(u32::MAX),
        payload_type: PayloadType(0),
        marker: true,
        payload: &[0xd5; 160],
    };
    assert_eq!(packet.write(&mut plain), Ok(172));
    vec![
        plain,
        octets(
            "92 65 0001 000000a0 11223344 00000001 00000002 bede0002 10aa0000 21bbcc00 0a0a0320",
        ),
        octets("b0 08 0001 000000a0 11223344 10000003 0102aabb 00000300 0404ffff d5d5 00000003"),
        octets("90 08 0001 000000a0 11223344 abcd0001 01020304 d5d5d5d5"),
        octets("90 08 0001 000000a0 11223344 bede0002 10aaf5ff ffffffff d5d5"),
    ]
}

#[test]
fn a_hundred_thousand_mutated_rtp_packets_are_read_or_refused() {
    let (mut mutator, originals) = (Mutator(0x5eed), well_formed_rtp());
    let (mut read, mut refused) = (0, 0);
    for nth in 0..100_000 {
        let mut datagram = originals[nth % originals.len()].clone();
        mutator.mutate(&mut datagram);
        match payload(datagram.clone()) {
            Ok(payload) => {
                read += 1;
                let view = View::parse(&datagram).expect("read before");
                let end = view.payload_at() + payload.len();
                assert_eq!(datagram[view.payload_at()..end], payload);
                let _either = TelephoneEvent::parse(&payload);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > 20_000 && refused > 20_000,
        "{read} read, {refused} refused"
    );
}

fn well_formed_rtcp() -> Vec<Vec<u8>> {
    let block = Block {
        ssrc: Ssrc(2),
        fraction_lost: 3,
        cumulative_lost: -4,
        highest_seq: 0x1_0005,
        jitter_ticks: 6,
        last_sr: 7,
        delay_since_last_sr: 8,
    };
    let figures = SenderFigures {
        ntp: NtpTime(1 << 40),
        timestamp: RtpTimestamp(9),
        packets: 10,
        octets: 11,
    };
    let name = Report::Description {
        ssrc: Ssrc(1),
        cname: Bytes::from_static(b"leg@duolog"),
    };
    let bye = Report::Goodbye {
        ssrcs: vec![Ssrc(1)],
        reason: Bytes::from_static(b"end"),
    };
    let sender = Report::Sender {
        ssrc: Ssrc(1),
        figures,
        blocks: vec![block],
    };
    let receiver = Report::Receiver {
        ssrc: Ssrc(1),
        blocks: vec![block, block],
    };
    let compounds = [vec![sender, name.clone()], vec![receiver, name, bye]];
    let mut all = vec![
        regression!("rtcp-short-nack-in-compound"),
        regression!("rtcp-bye-padded-by-three"),
    ];
    for compound in compounds {
        let mut buffer = [0; 300];
        let len = rtcp::write(&compound, &mut buffer).expect("it fits");
        all.push(buffer[..len].to_vec());
    }
    all
}

#[test]
fn a_hundred_thousand_mutated_rtcp_packets_are_read_or_refused() {
    let (mut mutator, originals) = (Mutator(0xfeed), well_formed_rtcp());
    let (mut read, mut refused) = (0, 0);
    for nth in 0..100_000 {
        let mut datagram = originals[nth % originals.len()].clone();
        mutator.mutate(&mut datagram);
        let Ok(reports) = rtcp::parse(&datagram) else {
            refused += 1;
            continue;
        };
        read += 1;
        // What was read can be written and is read the same.
        let mut buffer = [0; 4_000];
        let len = rtcp::write(&reports, &mut buffer).expect("what was read can be written");
        assert_eq!(rtcp::parse(&buffer[..len]), Ok(reports));
    }
    assert!(
        read > 10_000 && refused > 20_000,
        "{read} read, {refused} refused"
    );
}
