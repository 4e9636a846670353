//! Phones that call each other directly, in virtual time.

mod dialog;
mod pair;
mod register;
mod transfer;

use std::time::{Duration, Instant};

use duolog_rtp::rtcp::Report;
use duolog_sip::{Flow, Message, Method, StatusCode, Transport};

use bytes::Bytes;
use duolog_audio::codec::Codec;

use super::*;
use pair::{Pair, code, settings, sip};

#[test]
fn a_call_rings_talks_and_ends() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(10_000);
    pair.act(1, Action::HangUp);
    pair.until(60_000);
    assert_eq!(
        pair.story(),
        "5 bert Ringing\n10 anna Ringing\n305 bert Answered\n310 anna Answered\n\
         10000 bert Ended { by: Phone }\n10005 anna Ended { by: Peer }\n"
    );
    pair.assert_exact();
    assert!(pair.phones.iter().all(Phone::is_idle));
    assert_eq!(pair.phones[0].deadline(), None, "nothing is left running");
    for phone in 0..2 {
        let heard = pair.phones[phone].ear().heard().expect("audio");
        assert!(heard.gaps.is_empty(), "{:?}", heard.gaps);
        let seen = decode(&heard.samples);
        assert_eq!(
            seen.len(),
            heard.samples.len() / SLOT_SAMPLES + usize::from(heard.samples.len() % 800 >= 320)
        );
        assert!(seen.iter().all(|s| s.party == 1 - phone as u8));
        // Bert began at slot 10, Anna at slot 0, each with the start of a slot.
        let first = seen[0];
        assert_eq!((first.at_sample, first.slot), (0, 10 * (1 - phone as u16)));
        let reports = pair.phones[phone].ear().reports();
        assert!(
            reports
                .iter()
                .any(|report| matches!(report, Report::Goodbye { .. }))
        );
        assert!(
            reports.len() >= 5,
            "two reports in ten seconds, each with its name"
        );
    }
}

#[test]
fn packets_are_evenly_paced() {
    let mut pair = Pair::new(|phone, settings| settings.ptime_ms = [20, 30, 20][phone]);
    pair.call();
    pair.until(5_000);
    for (phone, ptime_ms) in [(0, 20), (1, 30)] {
        for two in pair.phones[phone].sent().windows(2) {
            assert_eq!(two[1].at - two[0].at, Duration::from_millis(ptime_ms));
            assert_eq!(two[1].seq, two[0].seq.next());
            assert_eq!(
                two[1].timestamp.since(two[0].timestamp),
                8 * ptime_ms as i32
            );
        }
    }
    let markers = |phone: &Phone| phone.ear().packets().iter().filter(|p| p.marker).count();
    assert_eq!(pair.phones.each_ref().map(markers), [1, 1, 0]);
}

#[test]
fn calls_that_are_not_answered() {
    let refusing =
        |status| move |_, settings: &mut PhoneSettings| settings.answering.code = code(status);
    let mut pair = Pair::new(refusing(486));
    pair.call();
    pair.until(40_000);
    assert!(
        pair.story()
            .ends_with("305 bert Refused(StatusCode(486))\n310 anna Refused(StatusCode(486))\n")
    );

    let mut pair = Pair::new(|_, settings| settings.answering.ring_ms = 5_000);
    pair.call();
    pair.until(1_000);
    pair.act(0, Action::Cancel);
    pair.until(40_000);
    assert!(
        pair.story()
            .ends_with("1005 bert Ended { by: Peer }\n1010 anna Refused(StatusCode(487))\n")
    );

    let mut pair = Pair::new(|_, settings| settings.answering.ring_ms = 5_000);
    pair.call();
    pair.until(1_000);
    pair.act(1, Action::HangUp);
    pair.until(40_000);
    assert!(
        pair.story()
            .ends_with("1000 bert Refused(StatusCode(603))\n1005 anna Refused(StatusCode(603))\n")
    );

    // Given up while the answer is on its way: taken and ended.
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(307);
    pair.act(0, Action::Cancel);
    pair.until(60_000);
    assert!(
        pair.story()
            .ends_with("310 anna Ended { by: Phone }\n315 bert Ended { by: Peer }\n"),
        "{}",
        pair.story()
    );

    // Nobody there: timer B.
    let mut pair = Pair::new(|_, _| {});
    pair.lost = (1..100).collect();
    pair.call();
    pair.until(40_000);
    assert_eq!(pair.story(), "32000 anna Failed(NoResponse)\n");
    assert!(pair.phones.iter().all(Phone::is_idle));
}

#[test]
fn no_law_in_common_is_488() {
    let mut pair = Pair::new(|phone, settings| {
        settings.codecs = vec![[Codec::Pcmu, Codec::Pcma, Codec::Pcmu][phone]]
    });
    pair.call();
    pair.until(40_000);
    assert!(
        pair.story()
            .ends_with("305 bert Failed(NoAudio)\n310 anna Refused(StatusCode(488))\n")
    );
}

#[test]
fn the_callers_order_of_laws_counts() {
    let mut pair = Pair::new(|phone, settings| {
        if phone == 0 {
            settings.codecs = vec![Codec::Pcma, Codec::Pcmu];
        }
    });
    pair.call();
    pair.until(2_000);
    for phone in &pair.phones[..2] {
        assert!(phone.sent().iter().all(|packet| packet.payload_type == 8));
        assert_eq!(
            phone
                .agreed()
                .map(|agreed| (agreed.codec, agreed.event_type)),
            Some((Codec::Pcma, Some(101)))
        );
    }
    pair.assert_exact();
}

#[test]
fn early_media_is_heard_before_the_answer() {
    let mut pair = Pair::new(|_, settings| settings.answering.early_media = EarlyMedia::Yes);
    pair.call();
    pair.until(1_000);
    assert_eq!(
        pair.story(),
        "5 bert Ringing\n10 anna EarlyMedia\n305 bert Answered\n310 anna Answered\n"
    );
    let first = pair.phones[0].ear().packets()[0].arrived - pair.began;
    assert_eq!(first, Duration::from_millis(10));
    pair.assert_exact();
}

#[test]
fn hold_stops_the_packets_of_both_and_the_voices_go_on() {
    for holder in 0..2 {
        let mut pair = Pair::new(|_, _| {});
        pair.call();
        pair.until(2_000);
        pair.act(holder, Action::Hold);
        pair.until(4_000);
        pair.act(holder, Action::Retrieve);
        pair.until(6_000);
        let story = pair.story();
        for event in [
            "Held { by: Phone }",
            "Held { by: Peer }",
            "Retrieved { by: Phone }",
            "Retrieved { by: Peer }",
        ] {
            assert_eq!(story.matches(event).count(), 1, "{event}: {story}");
        }
        pair.assert_exact();
        for phone in &pair.phones[..2] {
            let heard = phone.ear().heard().expect("audio");
            let [gap] = &heard.gaps[..] else {
                panic!("one gap, not {:?}", heard.gaps)
            };
            assert!(gap.len().abs_diff(16_000) <= 160, "{gap:?}");
            // The voice is where it would be without the hold.
            let seen = decode(&heard.samples);
            let offsets: Vec<i64> = seen
                .iter()
                .map(|s| s.said_at() as i64 - s.at_sample)
                .collect();
            assert!(seen.len() > 30 && offsets.iter().all(|offset| *offset == offsets[0]));
        }
    }
}

#[test]
fn keys_are_heard_as_pressed() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(2_000);
    pair.act(
        1,
        Action::Press {
            digits: "*48".to_owned(),
        },
    );
    pair.until(4_000);
    let digits: Vec<_> = pair.phones[0]
        .ear()
        .digits()
        .iter()
        .map(|d| (d.event, d.duration_ms))
        .collect();
    assert_eq!(digits, [(10, 100), (4, 100), (8, 100)]);
    assert_eq!(pair.phones[1].ear().digits(), []);
    let heard = pair.phones[0].ear().heard().expect("audio");
    assert_eq!(
        heard.gaps.iter().map(|gap| gap.len()).collect::<Vec<_>>(),
        [3 * 160 * 8]
    );
    pair.assert_exact();
    pair.act(
        1,
        Action::Press {
            digits: "x".to_owned(),
        },
    );
    assert!(pair.story().ends_with("4000 bert Failed(NoSuchKey)\n"));
}

#[test]
fn info_is_sent_and_answered() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    let out = pair.phones[0].handle(
        pair.now,
        Input::Do(Action::Record {
            value: "pause".to_owned(),
        }),
    );
    let Output::Send { bytes, flow } = &out[0] else {
        panic!("SIP, not {out:?}")
    };
    let Ok(Message::Request(info)) = Message::parse(bytes.clone()) else {
        panic!("a request")
    };
    assert_eq!(
        (
            info.method.to_string().as_str(),
            info.headers.value("Record")
        ),
        ("INFO", Some("pause"))
    );
    let flow = Flow {
        local: flow.peer,
        peer: flow.local,
        ..*flow
    };
    pair.give(
        1,
        Input::Sip {
            flow,
            bytes: bytes.clone(),
        },
    );
    pair.until(1_100);
    assert!(
        pair.story()
            .ends_with("1005 anna InfoAnswered(StatusCode(200))\n")
    );
}

#[test]
fn lost_messages_are_repeated() {
    for lost in 1..=8 {
        let mut pair = Pair::new(|_, _| {});
        pair.lost = vec![lost];
        pair.call();
        pair.until(10_000);
        pair.act(0, Action::HangUp);
        pair.until(60_000);
        for end in [
            "bert Answered",
            "anna Answered",
            "anna Ended { by: Phone }",
            "bert Ended { by: Peer }",
        ] {
            assert_eq!(
                pair.story().matches(end).count(),
                1,
                "message {lost}: {}",
                pair.story()
            );
        }
        assert!(
            pair.phones
                .iter()
                .all(|phone| phone.is_idle() && phone.deadline().is_none())
        );
    }
}

#[test]
fn a_phone_can_be_used_again_and_refuses_what_does_not_fit() {
    let mut pair = Pair::new(|_, settings| settings.answering.ring_ms = 0);
    for action in [
        Action::HangUp,
        Action::Hold,
        Action::Cancel,
        Action::Answer,
        Action::Report {
            status: StatusCode::OK,
        },
    ] {
        pair.act(0, action);
        assert_eq!(
            pair.told.pop(),
            Some((0, 0, PhoneEvent::Failed(Failure::WrongMoment)))
        );
    }
    for round in 0..3 {
        pair.call();
        pair.until(5_000 * round + 2_000);
        pair.call();
        assert!(pair.story().ends_with("anna Failed(WrongMoment)\n"));
        pair.act(0, Action::HangUp);
        pair.until(5_000 * (round + 1));
    }
    assert_eq!(pair.story().matches("bert Answered").count(), 3);
    assert_eq!(pair.story().matches("bert Ended { by: Peer }").count(), 3);
}

#[test]
fn the_same_seeds_tell_the_same_story() {
    let run = || {
        let mut pair = Pair::new(|_, _| {});
        pair.call();
        pair.until(3_000);
        let packets = |phone: &Phone| {
            let head = |p: &SentPacket| (p.seq, p.timestamp, p.payload.clone());
            phone.sent().iter().map(head).collect::<Vec<_>>()
        };
        (
            pair.story(),
            pair.phones[0].call_id().map(str::to_owned),
            packets(&pair.phones[0]),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn rubbish_is_counted_and_nothing_else() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    let before = pair.told.len();
    for length in 0..64_u8 {
        let bytes = Bytes::from(
            (0..length)
                .map(|at| at.wrapping_mul(37) ^ length)
                .collect::<Vec<_>>(),
        );
        let flow = Flow {
            transport: Transport::Udp,
            local: sip(0),
            peer: sip(1),
        };
        pair.give(
            0,
            Input::Sip {
                flow,
                bytes: bytes.clone(),
            },
        );
        pair.give(
            0,
            Input::Rtp {
                arrived: pair.now,
                bytes: bytes.clone(),
            },
        );
        pair.give(0, Input::Rtcp { bytes });
    }
    assert!(pair.phones[0].ear().refused() >= 64);
    pair.until(2_000);
    assert_eq!(pair.told.len(), before, "{}", pair.story());
}

#[test]
fn a_group_spreads_calls_over_idle_phones() {
    let phones = (0..3)
        .map(|at| {
            let mut settings = settings(1);
            settings.answering.ring_ms = 0;
            settings.user = format!("line{at}");
            settings.seed = 100 + at;
            Phone::new(settings)
        })
        .collect();
    let mut group = Group::new(phones);
    let now = Instant::now();
    let mut taken = Vec::new();
    for (at, user) in ["line2", "line2", "nobody", "nobody"]
        .into_iter()
        .enumerate()
    {
        let mut caller = settings(0);
        caller.seed = 200 + at as u64;
        let uri: Uri = format!("sip:{user}@example.org").parse().expect("a URI");
        let out = Phone::new(caller).handle(now, Input::Do(Action::Call { uri }));
        let Some(Output::Send { flow, bytes }) = out.first() else {
            panic!("an INVITE")
        };
        let flow = Flow {
            local: flow.peer,
            peer: flow.local,
            ..*flow
        };
        let (no, out) = group.receive(now, flow, bytes.clone());
        let again = group.receive(now, flow, bytes.clone()).0;
        assert_eq!(again, no, "a repetition goes to the same phone");
        let answered = out.contains(&Output::Event(PhoneEvent::Answered));
        taken.push((no.0, answered));
    }
    assert_eq!(taken, [(2, true), (0, true), (1, true), (0, false)]);
    assert!(group.deadline().is_some());
    assert!(!group.expire(now + Duration::from_millis(20)).is_empty());
}
