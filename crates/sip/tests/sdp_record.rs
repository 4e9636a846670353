//! `a=record` and `a=recordpref` (RFC 7866 §7.1.2, §7.3.2): read, written, and kept from the other leg.

use duolog_sip::sdp::{
    Description, Direction, Encoding, G729, MediaSecurity, Offered, RecordPreference, RecordState,
    Terms, Transcoding,
};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";
const AUDIO: &str = "m=audio 4000 RTP/AVP 0\r\n";

fn parse(text: &str) -> Description {
    Description::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn text(description: &Description) -> String {
    String::from_utf8(description.write().to_vec()).unwrap()
}

/// Lines such as `record:on` at the session and at the audio.
fn described(session: &[&str], audio: &[&str]) -> Description {
    let lines = |lines: &[&str]| -> String { lines.iter().map(|l| format!("a={l}\r\n")).collect() };
    parse(&format!("{HEAD}{}{AUDIO}{}", lines(session), lines(audio)))
}

fn terms() -> Terms<'static> {
    Terms {
        rtp: "192.0.2.10:40000".parse().unwrap(),
        rtcp: "192.0.2.10:40001".parse().unwrap(),
        security: MediaSecurity::AsOffered,
        dtls_fingerprint: None,
        keys: Vec::new(),
        standing: None,
    }
}

#[test]
fn the_state_at_the_medium_counts_before_that_of_the_session() {
    use RecordState::{Off, On, Paused};
    for (session, audio, want) in [
        (&[][..], &[][..], None),
        (&["record:on"], &[], Some(On)),
        (&["record:paused"], &[], Some(Paused)),
        (&[], &["record:off"], Some(Off)),
        (&["record:on"], &["record:off"], Some(Off)),
        (&["record:off"], &["record:ON "], Some(On)),
        (&["Record:paused"], &["sendrecv"], Some(Paused)),
        (&["record:on", "record:off"], &[], Some(Off)),
        (
            &["record:on"],
            &["record:off", "record:paused"],
            Some(Paused),
        ),
        // What is not known says nothing, and hides what stands before it or above.
        (&["record:maybe"], &[], None),
        (&["record:pause"], &[], None),
        (&["record"], &[], None),
        (&["record:"], &[], None),
        (&["record:on", "record:maybe"], &[], None),
        (&["record:on"], &["record:maybe"], None),
        (&["recordpref:on"], &[], None),
        (&["recorded:on"], &[], None),
    ] {
        let description = described(session, audio);
        assert_eq!(description.record_state(), want, "{session:?} {audio:?}");
    }
    // Another medium's is another's; so is that of one that is refused.
    let video = "m=video 4002 RTP/AVP 98\r\na=rtpmap:98 H264/90000\r\na=record:paused\r\n";
    let other = parse(&format!("{HEAD}a=record:on\r\n{AUDIO}{video}"));
    assert_eq!(other.record_state(), Some(On));
    let refused = "m=audio 0 RTP/AVP 0\r\na=record:off\r\n";
    let second = parse(&format!(
        "{HEAD}a=record:on\r\n{refused}{AUDIO}a=record:paused\r\n"
    ));
    assert_eq!(second.record_state(), Some(Paused));
    assert_eq!(
        parse(&format!("{HEAD}a=record:on\r\n")).record_state(),
        Some(On)
    );
}

#[test]
fn a_preference_that_is_not_known_is_none() {
    use RecordPreference::{Off, On, Pause};
    for (session, audio, want) in [
        (&[][..], &[][..], None),
        (&["recordpref:on"], &[], Some(On)),
        (&["recordpref:off"], &[], Some(Off)),
        (&[], &["recordpref:Pause"], Some(Pause)),
        (&["recordpref:nopreference"], &[], None),
        (&["recordpref:on"], &["recordpref:nopreference"], None),
        (
            &["recordpref:nopreference"],
            &["recordpref:pause"],
            Some(Pause),
        ),
        (&["recordpref:paused"], &[], None),
        (&["recordpref"], &[], None),
        (&["recordpref:on", "recordpref:off"], &[], Some(Off)),
        (&["record:on"], &[], None),
    ] {
        let description = described(session, audio);
        assert_eq!(
            description.record_preference(),
            want,
            "{session:?} {audio:?}"
        );
    }
}

#[test]
fn what_is_written_is_read_and_stands_once() {
    let before = described(&["record:paused", "tool:x"], &["record:off", "ptime:20"]);
    for state in [RecordState::Off, RecordState::On, RecordState::Paused] {
        let written = before.clone().with_record_state(Some(state));
        let text = text(&written);
        assert_eq!(text.matches("a=record:").count(), 1, "{text}");
        assert!(text.find("a=record:") < text.find("m=audio"), "{text}");
        assert!(text.contains("a=tool:x") && text.contains("a=ptime:20"));
        assert_eq!(parse(&text).record_state(), Some(state));
    }
    assert_eq!(before.clone().with_record_state(None).record_state(), None);
    for wanted in [
        RecordPreference::Off,
        RecordPreference::On,
        RecordPreference::Pause,
    ] {
        let written = before.clone().with_record_preference(Some(wanted));
        assert_eq!(parse(&text(&written)).record_preference(), Some(wanted));
        let none = written.with_record_preference(None);
        assert_eq!(none, before, "and out again");
    }
}

#[test]
fn another_state_is_another_version() {
    let off = described(&[], &[]).with_record_state(Some(RecordState::Off));
    let on = off
        .clone()
        .with_record_state(Some(RecordState::On))
        .after(&off);
    assert_eq!(on.version(), off.version() + 1);
    let same = on
        .clone()
        .with_record_state(Some(RecordState::On))
        .after(&on);
    assert_eq!(same.version(), on.version());
    let again = on.offer_again(Direction::SendRecv);
    assert_eq!(again.version(), on.version(), "a refresh says the same");
}

#[test]
fn neither_passes_to_the_other_leg() {
    let both = ["record:off", "recordpref:pause", "x-own:y"];
    let offer = described(&both, &both);
    let transcoding = Transcoding {
        add: &[Encoding::Pcma],
        g729: G729::Missing,
    };
    let told = offer.offer_to(&terms(), &terms(), &transcoding).unwrap();
    let offered = Offered {
        theirs: &offer,
        told: &told,
    };
    let same = described(&both, &both);
    let other = parse(&text(&same).replace("RTP/AVP 0", "RTP/AVP 8"));
    let answers = [same, other].map(|a| a.answer_to(&offered, &terms(), &transcoding).unwrap());
    for description in answers.iter().chain([&told]) {
        let text = text(description);
        assert!(!text.contains("a=record"), "{text}");
        assert_eq!(text.matches("a=x-own:y").count(), 2, "{text}");
    }
}
