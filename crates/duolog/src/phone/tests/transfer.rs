//! REFER, NOTIFY and Replaces between phones.

use super::*;

fn refer(pair: &mut Pair, subscription: Subscription) {
    let to: Uri = "sip:cleo@example.org".parse().expect("a URI");
    let replaces = pair.phones[0].as_replaced();
    let action = Action::Refer {
        to,
        replaces,
        subscription,
    };
    pair.act(0, action);
}

fn report(pair: &mut Pair, status: u16) {
    let status = code(status);
    pair.act(1, Action::Report { status });
}

#[test]
fn a_transfer_is_asked_for_and_told_of() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    refer(&mut pair, Subscription::Active);
    pair.until(1_100);
    let target = pair.phones[1].referred().expect("a target");
    assert_eq!(target.user.as_deref(), Some("cleo"));
    let replaces: Replaces = target
        .header("Replaces")
        .and_then(|text| text.parse().ok())
        .expect("the dialog whose place is taken");
    assert_eq!(Some(replaces), pair.phones[0].as_replaced());
    for status in [180, 200] {
        report(&mut pair, status);
        pair.until(1_000 + u64::from(status));
    }
    let story = pair.story();
    let ends = "1005 bert Referred\n1010 anna ReferAnswered(StatusCode(202))\n\
                1010 anna Progress { status: StatusCode(100), subscription: Active }\n\
                1105 anna Progress { status: StatusCode(180), subscription: Active }\n\
                1185 anna Progress { status: StatusCode(200), subscription: None }\n\
                1185 anna Ended { by: Phone }\n1190 bert Ended { by: Peer }\n";
    assert!(story.ends_with(ends), "{story}");
}

#[test]
fn what_is_told_after_the_call_is_still_heard() {
    let mut pair = Pair::new(|_, settings| {
        settings.ways.after_transfer = AfterTransfer::HangsUpAtOnce;
    });
    pair.call();
    pair.until(1_000);
    refer(&mut pair, Subscription::Active);
    pair.until(1_007);
    report(&mut pair, 503);
    pair.until(2_000);
    let story = pair.story();
    assert!(story.contains("1010 anna Ended { by: Phone }"), "{story}");
    let last = "1012 anna Progress { status: StatusCode(503), subscription: None }";
    assert!(story.contains(last), "{story}");
    // The subscription is over.
    report(&mut pair, 200);
    assert!(pair.story().ends_with("bert Failed(WrongMoment)\n"));
}

#[test]
fn a_transfer_without_a_subscription_tells_nothing() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    refer(&mut pair, Subscription::None);
    pair.until(1_100);
    report(&mut pair, 200);
    pair.until(2_000);
    let story = pair.story();
    assert!(
        story.contains("anna ReferAnswered(StatusCode(202))"),
        "{story}"
    );
    assert!(!story.contains("Progress"), "{story}");
    assert!(
        story.ends_with("1100 bert Failed(WrongMoment)\n"),
        "{story}"
    );
}

#[test]
fn a_call_takes_the_place_of_another() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    // Cleo takes what Anna has with Bert.
    let replaces = pair.phones[0].as_replaced();
    let calling = Calling {
        replaces,
        ..Calling::to("sip:bert@example.org".parse().expect("a URI"))
    };
    pair.act(2, Action::CallWith(Box::new(calling)));
    pair.until(2_000);
    let story = pair.story();
    let ends = "1005 bert Replaced\n1005 bert Answered\n1010 cleo Answered\n\
                1010 anna Ended { by: Peer }\n";
    assert!(story.ends_with(ends), "{story}");
    assert!(pair.phones[0].is_idle());
    let heard = pair.phones[2].ear().heard().expect("audio");
    assert!(decode(&heard.samples).iter().all(|seen| seen.party == 1));
    pair.act(1, Action::HangUp);
    pair.until(3_000);
    assert!(pair.story().ends_with("3005 cleo Ended { by: Peer }\n") || pair.phones[2].is_idle());
}

#[test]
fn a_call_that_replaces_nothing_known_is_481() {
    let mut pair = Pair::new(|_, _| {});
    pair.call();
    pair.until(1_000);
    let mut replaces = pair.phones[0].as_replaced().expect("a dialog");
    replaces.from_tag.push('x');
    let calling = Calling {
        replaces: Some(replaces),
        ..Calling::to("sip:bert@example.org".parse().expect("a URI"))
    };
    pair.act(2, Action::CallWith(Box::new(calling)));
    pair.until(2_000);
    assert!(
        pair.story()
            .ends_with("1010 cleo Refused(StatusCode(481))\n")
    );
    assert!(!pair.phones[1].is_idle());
}
