//! A call that is to be recorded and cannot be, with the built program and phones on real sockets (issue
//! 5, acceptance 8): a disk with less room than the floor at the start, a full disk in mid-call; each
//! policy; what both parties hear, what remains, what the metrics and the row say.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duolog::phone::{Action, CodedVoice, Look, Voice, decode};
use duolog_call::PromptName;
use duolog_tests::real::phones::{Looks, Phones};
use duolog_tests::real::site::{CALLEE_PORT, Wishes};
use duolog_tests::real::{Duolog, Kept, Probe, Site, Volume, kept, probe};
use duolog_tests::world::sound::{find, spoken};
use serde_json::Value;

/// Disks are filled and calls timed: one after the other.
static ONE: Mutex<()> = Mutex::new(());

const CALLER: u8 = 0;
const OWNER: u8 = 1;
const WAIT: Duration = Duration::from_secs(20);
const FAILURES: &str = "duolog_recording_failures_total";

/// A policy: as the configuration writes it, and the metric; what both parties hear.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Policy {
    user: &'static str,
    word: &'static str,
    label: &'static str,
    heard: &'static [PromptName],
}

const REFUSE: Policy = Policy {
    user: "mode = \"always-pause-resume\"\nannounce = \"off\"\non_failure = \"refuse\"",
    word: "refuse",
    label: "refuse",
    heard: &[],
};
const GO_ON: Policy = Policy {
    user: "mode = \"always-pause-resume\"\nannounce = \"off\"\non_failure = \"go-on\"",
    word: "go-on",
    label: "go_on",
    heard: &[],
};
const ANNOUNCED: Policy = Policy {
    user: "mode = \"always-pause-resume\"\nannounce = \"off\"\non_failure = \"go-on-announced\"",
    word: "go-on-announced",
    label: "go_on_announced",
    heard: &[PromptName::FailureContinues],
};
const ENDED: Policy = Policy {
    user: "mode = \"always-pause-resume\"\nannounce = \"off\"\non_failure = \"end-announced\"",
    word: "end-announced",
    label: "end_announced",
    heard: &[PromptName::FailureEnds],
};

/// A program whose disk has less room than its floor; ben is not recorded, and has number 101.
fn starved(policy: Policy) -> (Site, Duolog) {
    let site = Site::new(&Wishes {
        user: policy.user,
        ..Wishes::default()
    });
    let ben = format!(
        "[numbering]\nemergency = [\"112\"]\n[[user]]\nname = \"ben\"\nnumbers = [\"101\"]\n\
         contact = \"udp:{}:{}\"\n",
        site.callee(),
        CALLEE_PORT
    );
    // Below a sixteenth of its floor the disk would count as full.
    let floor = format!("floor = \"{}MiB\"", 4 * free_mib(&site));
    site.amend(|text| text.replace("floor = \"16MiB\"", &floor) + &ben);
    let duolog = Duolog::start_unready(&site);
    (site, duolog)
}

/// Room on the disk of the site.
fn free_mib(site: &Site) -> u64 {
    let mut df = Command::new("df");
    df.args(["--output=avail", "-BM"]).arg(site.directory());
    let output = df.output().expect("df can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text.lines().nth(1).unwrap_or_default().trim();
    free.trim_end_matches('M')
        .parse()
        .expect("df says how much")
}

fn phones(site: &Site) -> Phones {
    let voice = |party| vec![Voice::Coded(CodedVoice::new(party, 0))];
    Phones::new(site, voice(CALLER), voice(OWNER))
}

fn goes_on(phones: &Phones, ms: u64) {
    phones.go_on_until(Instant::now() + Duration::from_millis(ms));
}

/// Which of the two notices a phone has heard, whole.
fn notices(look: &Look) -> Vec<PromptName> {
    let heard = look.ear.heard().expect("something was heard");
    let mut found = Vec::new();
    // The two begin with the same words.
    for prompt in [PromptName::FailureContinues, PromptName::FailureEnds] {
        let (_, fits) = find(&spoken(prompt, "en"), &heard.samples);
        assert!(!(0.7..0.9).contains(&fits), "{prompt:?}: {fits}");
        if fits >= 0.9 {
            found.push(prompt);
        }
    }
    found
}

/// How many tenths of a second of a voice a phone has heard.
fn slots(look: &Look, party: u8) -> usize {
    let heard = look.ear.heard().expect("something was heard");
    let seen = decode(&heard.samples);
    seen.iter().filter(|one| one.party == party).count()
}

#[track_caller]
fn assert_notices(policy: Policy, looks: &Looks) {
    for (whose, look) in [("caller", &looks.callers[0]), ("owner", &looks.callees[0])] {
        assert_eq!(notices(look), policy.heard, "{}: the {whose}", policy.word);
    }
}

/// Of which policies how many failures are counted.
fn counted(site: &Site) -> Vec<String> {
    let (_, text) = probe::get(site.operations(), "/metrics").expect("the metrics");
    let lines = text.lines().filter(|line| line.starts_with(FAILURES));
    lines.map(str::to_owned).collect()
}

fn only_row(site: &Site) -> (Kept, Value) {
    let mut rows = kept::list(site);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = rows.remove(0);
    let manifest = row.show(site)["manifest"].clone();
    (row, manifest)
}

/// What the facts say of the failure.
fn failed(manifest: &Value) -> Vec<&str> {
    let facts = manifest["facts"].as_array().expect("facts");
    let facts = facts.iter().map(|line| &line["fact"]);
    let failed = facts.filter(|fact| fact["kind"] == "recording_failed");
    failed.filter_map(|fact| fact["then"].as_str()).collect()
}

/// An INVITE that is answered at once: its status, and how long to wait.
fn invite(site: &Site, number: &str) -> (u16, Option<String>) {
    let mut probe = Probe::new(site.caller(), 0, site.sip());
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\n",
        site.caller()
    );
    let invite = probe.request("INVITE", number, &body);
    let answer = probe.ask(&invite);
    probe.acknowledge(&invite, &answer);
    let retry_after = answer.headers.value("Retry-After").map(str::to_owned);
    (answer.status.code(), retry_after)
}

#[test]
fn a_disk_below_its_floor_at_the_start() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (site, duolog) = starved(REFUSE);
    let (status, retry_after) = invite(&site, "100");
    assert_eq!((status, retry_after.is_some()), (503, true));
    let (status, why) = probe::get(site.operations(), "/readyz").expect("an answer");
    assert_eq!(status, 503);
    assert!(why.contains("below its floor"), "{why}");
    // Who is not recorded talks all the same.
    let talking = phones(&site);
    let uri = format!("sip:101@{}", site.sip())
        .parse()
        .expect("a SIP URI");
    talking.caller(0, Action::Call { uri });
    talking.talks(0);
    goes_on(&talking, 1_500);
    talking.all_hang_up();
    let looks = talking.look();
    assert!(slots(&looks.callers[0], OWNER) > 5 && slots(&looks.callees[0], CALLER) > 5);
    let label = format!("{FAILURES}{{then=\"{}\"}} 1", REFUSE.label);
    assert_eq!(counted(&site), [label]);
    duolog.stop();
    let (row, manifest) = only_row(&site);
    assert_eq!(row.state, "refused", "{row:?}");
    let reason = manifest["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("below its floor"), "{manifest}");
    println!("refuse at the start: 503, row refused: {reason}; an unrecorded call talks");

    for policy in [GO_ON, ANNOUNCED, ENDED] {
        let (site, duolog) = starved(policy);
        let talking = phones(&site);
        talking.call(0);
        talking.talks(0);
        match policy == ENDED {
            true => talking.all_end(),
            false => {
                goes_on(&talking, 4_500);
                talking.all_hang_up();
            }
        }
        let looks = talking.look();
        assert_notices(policy, &looks);
        let talked = [
            slots(&looks.callers[0], OWNER),
            slots(&looks.callees[0], CALLER),
        ];
        assert_eq!(
            talked.iter().all(|slots| *slots > 10),
            policy != ENDED,
            "{talked:?}"
        );
        let label = format!("{FAILURES}{{then=\"{}\"}} 1", policy.label);
        assert_eq!(counted(&site), [label]);
        duolog.stop();
        let (row, manifest) = only_row(&site);
        assert_eq!((row.state.as_str(), &row.audio), ("failed", &None));
        let reason = manifest["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("below its floor"), "{manifest}");
        assert_eq!(failed(&manifest), [policy.word]);
        assert_eq!(manifest["result"], "failed");
        println!(
            "{} at the start: both heard {:?} and {talked:?} tenths of a second of each other; row {}: \
             {reason}",
            policy.word, policy.heard, row.state
        );
    }
}

/// The one row of a call whose disk was full in the middle, and its reason.
fn partial(site: &Site, policy: Policy) -> (Kept, String) {
    let told = !policy.heard.is_empty();
    let (row, manifest) = only_row(site);
    assert_eq!(row.state, "partial", "{}: {row:?}", policy.word);
    assert_eq!(
        failed(&manifest),
        if told { vec![policy.word] } else { vec![] }
    );
    let result = if told { "failed" } else { "successful" };
    assert_eq!(manifest["result"], result);
    let reason = manifest["reason"].as_str().unwrap_or_default();
    let wanted = if told {
        "no room"
    } else {
        "the gaps say where"
    };
    assert!(reason.contains(wanted), "{reason}");
    for (channel, party) in row.samples().iter().zip([OWNER, CALLER]) {
        let seen = decode(channel);
        assert!(seen.iter().all(|one| one.party == party));
        // Three seconds before; where nobody was told, two seconds after as well.
        let least = if told { 25 } else { 40 };
        assert!(
            seen.len() >= least,
            "{}: {} tenths",
            policy.word,
            seen.len()
        );
    }
    let reason = reason.to_owned();
    (row, reason)
}

#[test]
fn a_disk_that_is_full_in_the_middle() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for policy in [REFUSE, GO_ON, ANNOUNCED, ENDED] {
        let Some(volume) = Volume::wanted(64) else {
            return;
        };
        let site = Site::new(&Wishes {
            user: policy.user,
            spool: Some(volume.path().join("spool")),
            ..Wishes::default()
        });
        let mut duolog = Duolog::start(&site);
        let talking = phones(&site);
        talking.all_talk();
        goes_on(&talking, 3_000);
        volume.fill();
        let filled = Instant::now();
        duolog.until_metric(WAIT, "duolog_recording_trouble_total", |count| count > 0.0);
        let after = filled.elapsed();
        match policy == ENDED {
            true => talking.all_end(),
            false => goes_on(&talking, 4_000),
        }
        volume.make_room();
        duolog.until_metric(WAIT, "duolog_spool_full", |full| full == 0.0);
        if policy != ENDED {
            goes_on(&talking, 2_000);
            talking.all_hang_up();
        }
        let looks = talking.look();
        assert_notices(policy, &looks);
        let told = !policy.heard.is_empty();
        let label = format!("{FAILURES}{{then=\"{}\"}} 1", policy.label);
        let wanted = if told { vec![label] } else { vec![] };
        assert_eq!(counted(&site), wanted, "{}", policy.word);
        assert_eq!(duolog.metric("duolog_recording_trouble_total"), Some(1.0));
        duolog.stop();
        let (row, reason) = partial(&site, policy);
        println!(
            "{} in the middle: loss told {after:.1?} after the disk was full; both heard {:?}; row {} of \
             {:.1} s: {reason}",
            policy.word, policy.heard, row.state, row.seconds
        );
    }
}

#[test]
fn an_emergency_call_from_a_starved_recorder_goes_on() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for policy in [REFUSE, ENDED] {
        let (site, duolog) = starved(policy);
        let talking = phones(&site);
        let uri = format!("sip:112@{}", site.sip())
            .parse()
            .expect("a SIP URI");
        talking.callee(0, Action::Call { uri });
        talking.talks(0);
        goes_on(&talking, 4_500);
        talking.all_hang_up();
        let looks = talking.look();
        assert_notices(GO_ON, &looks);
        let talked = [
            slots(&looks.callers[0], OWNER),
            slots(&looks.callees[0], CALLER),
        ];
        assert!(talked.iter().all(|slots| *slots > 35), "{talked:?}");
        assert_eq!(counted(&site), [format!("{FAILURES}{{then=\"go_on\"}} 1")]);
        duolog.stop();
        let (row, manifest) = only_row(&site);
        assert_eq!(row.state, "failed");
        assert_eq!(failed(&manifest), ["go-on"]);
        assert_eq!(manifest["class"]["nature"], "emergency", "{manifest}");
        println!(
            "{}: a call to 112 is taken, {talked:?} tenths of a second are heard",
            policy.word
        );
    }
}

#[test]
fn a_draining_node_refuses_every_new_call() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (site, mut duolog) = starved(GO_ON);
    let talking = phones(&site);
    let uri = format!("sip:101@{}", site.sip())
        .parse()
        .expect("a SIP URI");
    talking.caller(0, Action::Call { uri });
    talking.talks(0);
    duolog.process.terminate();
    duolog.until_metric(WAIT, "duolog_draining", |draining| draining == 1.0);
    for number in ["100", "101"] {
        assert_eq!(invite(&site, number).0, 503, "{number}");
    }
    assert_eq!(
        counted(&site),
        [] as [String; 0],
        "the recorder did not fail"
    );
    goes_on(&talking, 1_000);
    talking.all_hang_up();
    assert!(duolog.process.exit(WAIT).success());
    let (row, manifest) = only_row(&site);
    assert_eq!(row.state, "refused");
    assert_eq!(manifest["reason"], "new calls were not taken: draining");
}
