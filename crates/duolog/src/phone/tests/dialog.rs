//! What two phones can do within a call: every place of offer and answer, holds of every style, changes
//! that cross, reliable provisional responses, session timers.

use super::*;
use pair::sip;

fn alter(by: By, change: Change) -> Action {
    Action::Alter { by, change }
}

/// Each event stands in the story this often.
#[track_caller]
fn told(pair: &Pair, events: &[(&str, usize)]) {
    let story = pair.story();
    for (event, times) in events {
        assert_eq!(story.matches(event).count(), *times, "{event}:\n{story}");
    }
}

/// Milliseconds in which a phone got packets, from the beginning.
fn packets_between(pair: &Pair, phone: usize, from_ms: u64, to_ms: u64) -> usize {
    let packets = pair.phones[phone].ear().packets().iter();
    let at = |packet: &HeardPacket| (packet.arrived - pair.began).as_millis() as u64;
    packets
        .filter(|p| (from_ms..to_ms).contains(&at(p)))
        .count()
}

#[test]
fn the_called_phone_may_offer() {
    for (reliable, early_media) in [
        (Reliable::Never, EarlyMedia::No),
        (Reliable::Supported, EarlyMedia::No),
        (Reliable::Supported, EarlyMedia::Yes),
        (Reliable::Required, EarlyMedia::Yes),
    ] {
        let mut pair = Pair::new(|_, settings| {
            settings.ways.reliable = reliable;
            settings.answering.early_media = early_media;
        });
        let uri: Uri = "sip:bert@example.org".parse().expect("a URI");
        let calling = Calling {
            offer: Offering::Callee,
            ..Calling::to(uri)
        };
        pair.act(0, Action::CallWith(Box::new(calling)));
        pair.until(2_000);
        let prack = usize::from(reliable != Reliable::Never);
        told(
            &pair,
            &[
                ("anna Answered", 1),
                ("bert Answered", 1),
                ("anna Acknowledged", prack),
                ("bert Acknowledged", prack),
                ("Failed", 0),
            ],
        );
        pair.assert_exact();
        // A PRACK carries the answer: media flows before the call is answered.
        let early = packets_between(&pair, 1, 0, 300) > 10;
        assert_eq!(early, early_media == EarlyMedia::Yes, "{reliable:?}");
    }
}

#[test]
fn ringing_is_acknowledged() {
    for early_media in [EarlyMedia::No, EarlyMedia::Yes] {
        let mut pair = Pair::new(|_, settings| {
            settings.ways.reliable = Reliable::Required;
            settings.answering.early_media = early_media;
        });
        // The first PRACK is lost, and so is the ringing once.
        pair.lost = vec![2, 4];
        pair.call();
        pair.until(6_000);
        told(
            &pair,
            &[
                ("Acknowledged", 2),
                ("anna Answered", 1),
                ("bert Answered", 1),
                ("Failed", 0),
            ],
        );
        pair.assert_exact();
    }
    // A phone that does not know them refuses who requires them.
    let mut pair = Pair::new(|phone, settings| {
        settings.ways.reliable = [Reliable::Required, Reliable::Never, Reliable::Never][phone];
    });
    pair.call();
    pair.until(1_000);
    told(&pair, &[("anna Refused(StatusCode(420))", 1)]);
    // Nobody acknowledges: refused in the end.
    let mut pair = Pair::new(|_, settings| settings.ways.reliable = Reliable::Supported);
    pair.lost = (3..400).filter(|n| n % 2 == 1).collect();
    pair.call();
    pair.until(20);
    pair.lost = (1..400).collect();
    pair.until(60_000);
    told(&pair, &[("bert Failed(NoPrack)", 1), ("bert Answered", 0)]);
    assert!(pair.phones[1].is_idle());
}

#[test]
fn the_session_can_change_before_the_answer() {
    let mut pair = Pair::new(|_, settings| {
        settings.ways.reliable = Reliable::Supported;
        settings.answering.early_media = EarlyMedia::Yes;
        settings.answering.ring_ms = 3_000;
    });
    pair.call();
    pair.until(1_000);
    pair.act(0, alter(By::Update, Change::Hold(HoldStyle::SendOnly)));
    pair.until(2_000);
    assert_eq!(packets_between(&pair, 0, 1_100, 2_000), 0, "early and held");
    pair.act(1, alter(By::Update, Change::Same));
    pair.act(1, alter(By::ReInvite, Change::Same));
    pair.until(2_500);
    pair.act(0, alter(By::Update, Change::Retrieve));
    pair.until(5_000);
    told(
        &pair,
        &[
            ("anna Held { by: Phone }", 1),
            ("bert Held { by: Peer }", 1),
            ("bert Failed(WrongMoment)", 1),
            ("bert Refreshed", 1),
            ("anna RefreshedByPeer", 1),
            ("anna Retrieved { by: Phone }", 1),
            ("anna Answered", 1),
        ],
    );
    assert!(packets_between(&pair, 0, 3_000, 5_000) > 95);
}

#[test]
fn every_style_of_hold() {
    for by in [By::ReInvite, By::Update] {
        for (style, music) in [
            (HoldStyle::SendOnly, false),
            (HoldStyle::Inactive, false),
            (HoldStyle::Unspecified, false),
            (HoldStyle::Music, true),
        ] {
            let mut pair = Pair::new(|_, _| {});
            pair.call();
            pair.until(2_000);
            pair.act(1, alter(by, Change::Hold(style)));
            pair.until(4_000);
            pair.act(1, alter(by, Change::Retrieve));
            pair.until(6_000);
            told(
                &pair,
                &[
                    ("bert Held { by: Phone }", 1),
                    ("anna Held { by: Peer }", 1),
                    ("bert Retrieved { by: Phone }", 1),
                    ("anna Retrieved { by: Peer }", 1),
                ],
            );
            assert_eq!(packets_between(&pair, 1, 2_100, 4_000), 0, "{style:?}");
            let heard = packets_between(&pair, 0, 2_100, 4_000);
            assert_eq!(heard > 90, music, "{style:?}: {heard}");
            pair.assert_exact();
        }
    }
}

#[test]
fn a_refresh_changes_nothing() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    for (round, (by, change)) in [
        (By::Update, Change::Refresh),
        (By::Update, Change::Same),
        (By::ReInvite, Change::Refresh),
        (By::ReInvite, Change::Offerless),
    ]
    .into_iter()
    .enumerate()
    {
        pair.until(1_000 * (round as u64 + 1));
        pair.act(round % 2, alter(by, change));
    }
    pair.until(6_000);
    told(&pair, &[(" Refreshed\n", 4), ("Failed", 0)]);
    pair.assert_exact();
    for phone in &pair.phones[..2] {
        assert!(phone.ear().heard().expect("audio").gaps.is_empty());
    }
}

#[test]
fn changes_that_cross_both_happen() {
    let kinds = [By::ReInvite, By::Update];
    for (one, other) in kinds.iter().flat_map(|a| kinds.map(|b| (*a, b))) {
        let mut pair = Pair::new(|_, _| {});
        pair.call();
        pair.until(2_000);
        pair.act(0, alter(one, Change::Hold(HoldStyle::SendOnly)));
        pair.act(1, alter(other, Change::Hold(HoldStyle::SendOnly)));
        // RFC 3261 §14.1: the called phone tries again first.
        pair.until(8_000);
        told(
            &pair,
            &[
                ("Held { by: Phone }", 2),
                ("Held { by: Peer }", 2),
                ("Failed", 0),
            ],
        );
        pair.act(0, alter(one, Change::Retrieve));
        pair.act(1, alter(other, Change::Retrieve));
        pair.until(16_000);
        told(&pair, &[("Retrieved { by: Phone }", 2), ("Failed", 0)]);
        assert!(packets_between(&pair, 0, 15_000, 16_000) >= 49, "{one:?}");
        assert!(packets_between(&pair, 1, 15_000, 16_000) >= 49, "{other:?}");
    }
}

#[test]
fn hanging_up_at_once_is_no_failure() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(2_000);
    pair.act(0, Action::HangUp);
    pair.act(1, Action::HangUp);
    pair.until(60_000);
    told(&pair, &[("Ended { by: Phone }", 2), ("Failed", 0)]);
    // And a change that crosses a BYE finds no call.
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(2_000);
    pair.act(0, Action::HangUp);
    pair.act(1, Action::Hold);
    pair.until(60_000);
    told(
        &pair,
        &[
            ("anna Ended { by: Phone }", 1),
            ("bert Ended { by: Peer }", 1),
        ],
    );
    assert!(pair.phones.iter().all(Phone::is_idle));
}

#[test]
fn sessions_are_refreshed_or_end() {
    let faithful = SessionTimer::Faithful { expires_s: 90 };
    let forgetful = SessionTimer::Forgetful { expires_s: 90 };
    let run = |ways: [SessionTimer; 2]| {
        let mut pair = Pair::new(|phone, settings| {
            settings.ways.session_timer = ways.get(phone).copied().unwrap_or_default();
            settings.keep = Keep::Nothing;
            settings.voice = Voice::None;
        });
        pair.call();
        pair.until(300_000);
        pair
    };
    let pair = run([faithful, faithful]);
    told(
        &pair,
        &[
            ("anna Refreshed\n", 6),
            ("bert RefreshedByPeer", 6),
            ("Ended", 0),
        ],
    );
    // The caller takes the part and does nothing: the called phone gives up after 60 of 90 s.
    let pair = run([forgetful, faithful]);
    told(
        &pair,
        &[
            ("60305 bert Failed(SessionExpired)", 1),
            ("60305 bert Ended { by: Phone }", 1),
        ],
    );
    for ways in [
        [forgetful, forgetful],
        [SessionTimer::Unknown, SessionTimer::Unknown],
        [faithful, SessionTimer::Unknown],
    ] {
        told(&run(ways), &[("Ended", 0), ("Refreshed", 0)]);
    }
    // Only the called phone knows them: it refreshes.
    let pair = run([SessionTimer::Unknown, faithful]);
    told(&pair, &[("bert Refreshed\n", 6), ("Ended", 0)]);
}

#[test]
fn requests_within_the_call_are_answered_and_kept() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    let message = Action::Send {
        method: Method::Message,
        headers: vec![("Subject".into(), "lunch".into())],
        body: Some(("text/plain".into(), "at noon?".into())),
    };
    pair.act(1, message);
    pair.until(2_000);
    told(&pair, &[("bert Replied(StatusCode(200))", 1)]);
    let asked = pair.phones[0].asked();
    let got = asked.last().expect("a request");
    assert_eq!(
        (&got.method, &got.body[..]),
        (&Method::Message, &b"at noon?"[..])
    );
    assert_eq!(got.headers.value("Subject"), Some("lunch"));
    assert_eq!(pair.phones[1].asked().len(), 1, "the INVITE");
}

#[test]
fn a_phone_that_moved_says_where_to() {
    let moved: Uri = "sip:cleo@example.org".parse().expect("a URI");
    let mut pair = Pair::new(|_, settings| {
        settings.answering.code = code(302);
        settings.ways.moved_to = vec![moved.clone()];
    });
    pair.call();
    pair.until(300);
    let out = pair.phones[1].handle(pair.began + Duration::from_millis(305), Input::Deadline);
    let said = out.iter().find_map(|output| match output {
        Output::Send { bytes, .. } => Message::parse(bytes.clone()).ok(),
        _ => None,
    });
    let Some(Message::Response(response)) = said else {
        panic!("a response, not {out:?}")
    };
    assert_eq!(response.status, code(302));
    assert_eq!(response.contact().map(|contact| contact.uri), Ok(moved));
    assert_eq!(sip(1).port(), 5_060);
}

#[test]
fn a_phone_with_an_icon_says_so_and_what_it_prefers() {
    use duolog_sip::sdp::{Description, RecordPreference};
    let mut pair = Pair::new(|phone, settings| {
        if phone == 0 {
            settings.ways.recording = Icon::Shown;
        }
    });
    pair.call();
    pair.until(1_000);
    for (n, wanted) in [
        RecordPreference::Pause,
        RecordPreference::On,
        RecordPreference::Off,
    ]
    .into_iter()
    .enumerate()
    {
        let by = if n == 1 { By::Update } else { By::ReInvite };
        pair.act(0, alter(by, Change::Prefer(wanted)));
        pair.until(2_000 + 1_000 * n as u64);
        let asked = pair.phones[1].asked().last().expect("an offer");
        let offer = Description::parse(&asked.body).expect("a description");
        assert_eq!(offer.record_preference(), Some(wanted));
        assert!(asked.tags("Supported").any(|tag| tag == "record-aware"));
    }
    // What follows says nothing of it, and the other one is not aware.
    pair.act(0, alter(By::ReInvite, Change::Same));
    pair.act(1, alter(By::ReInvite, Change::Same));
    pair.until(6_000);
    let last = pair.phones[1].asked().last().expect("an offer");
    let offer = Description::parse(&last.body).expect("a description");
    assert_eq!(offer.record_preference(), None);
    let first = &pair.phones[1].asked()[0];
    assert!(first.tags("Supported").any(|tag| tag == "record-aware"));
    let others = pair.phones[0].asked().iter();
    assert!(
        others
            .flat_map(|r| r.tags("Supported"))
            .all(|tag| tag != "record-aware")
    );
    assert!(pair.phones[0].shown().is_empty(), "nobody told it anything");
}
