//! Reading and writing an INVITE as a trunk and as a terse phone send it.

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use duolog_benches::{fixture, short};
use duolog_sip::Message;
use duolog_sip::sdp::Description;

fn main() {
    let mut criterion = short();
    parse_invite(&mut criterion);
    criterion.final_summary();
}

fn parse_invite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse_invite");
    for name in ["trunk-invite", "phone-invite-compact"] {
        let path = fixture("sip").join(name).with_extension("sip");
        let bytes = Bytes::from(std::fs::read(path).expect("a fixture of the tree"));
        let message = Message::parse(bytes.clone()).expect("a good INVITE");
        let Message::Request(request) = &message else {
            panic!("{name} is a request")
        };
        let body = request.body.clone();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("parse/{name}"), |b| {
            b.iter(|| Message::parse(bytes.clone()))
        });
        group.bench_function(format!("write/{name}"), |b| b.iter(|| message.write()));
        assert!(Description::parse(&body).is_ok_and(|sdp| sdp.audio().is_some()));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("sdp/{name}"), |b| {
            b.iter(|| Description::parse(&body))
        });
    }
    group.finish();
}
