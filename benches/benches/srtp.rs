//! Protecting and opening one packet of 20 ms of G.711 (172 octets), and the keys of a call.

use criterion::{Criterion, Throughput};
use duolog_benches::short;
use duolog_rtp::packet::Outgoing;
use duolog_rtp::srtp::{MasterKey, Protector, Suite, Unprotector};
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc};

/// Octets of an RTP packet of 20 ms of G.711.
const PACKET: usize = 172;

fn main() {
    let mut criterion = short();
    for suite in Suite::ALL {
        one_packet(&mut criterion, suite);
    }
    criterion.final_summary();
}

fn one_packet(criterion: &mut Criterion, suite: Suite) {
    let mut group = criterion.benchmark_group(format!("srtp/{suite}"));
    group.throughput(Throughput::Elements(1));
    let octets = vec![0x5a; suite.key_bytes() + suite.salt_bytes()];
    let key = MasterKey::new(suite, &octets).expect("as long as the suite wants");
    group.bench_function("keys", |b| b.iter(|| Protector::new(&key)));

    let mut plain = [0; PACKET];
    let mut number = 0_u16;
    let mut next = |packet: &mut Vec<u8>| {
        number = number.wrapping_add(1);
        let outgoing = Outgoing {
            ssrc: Ssrc(0x5eed),
            seq: SeqNo(number),
            timestamp: RtpTimestamp(u32::from(number) * 160),
            payload_type: PayloadType(0),
            marker: false,
            payload: &[0x55; PACKET - 12],
        };
        outgoing.write(&mut plain).expect("room for a packet");
        packet.clear();
        packet.extend_from_slice(&plain);
    };
    let mut packet = Vec::with_capacity(PACKET + Suite::longest_overhead());
    let mut protector = Protector::new(&key).expect("a protector");
    group.bench_function("protect", |b| {
        b.iter(|| {
            next(&mut packet);
            protector.rtp(&mut packet).expect("protected");
        });
    });

    let mut protector = Protector::new(&key).expect("a protector");
    let mut unprotector = Unprotector::new(&key).expect("an unprotector");
    group.bench_function("protect_unprotect", |b| {
        b.iter(|| {
            next(&mut packet);
            protector.rtp(&mut packet).expect("protected");
            unprotector.rtp(&mut packet).expect("authentic")
        });
    });

    // A datagram of somebody else costs its authentication, four times for a source never heard.
    let mut forged = packet.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    forged[11] ^= 1;
    let mut copy = forged.clone();
    group.bench_function("refuse_unknown_source", |b| {
        b.iter(|| {
            copy.copy_from_slice(&forged);
            unprotector.rtp(&mut copy).expect_err("forged")
        });
    });
    group.finish();
}
