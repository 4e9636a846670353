//! Phones that are not ours, registered at duolog's own registrar: baresip with digest over TLS, and
//! linphonec. They call each other, hold, resume, and transfer blind and attended; every recording
//! holds who it should, on which channel, and from when to when (issue 4, acceptance 3).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use duolog_tests::real::baresip::{Account, Registered};
use duolog_tests::real::heard::{self, Moment, Story, Stretch, lasts};
use duolog_tests::real::linphone::{Called, Linphone};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::stage::{TLS_PORT, Tls, Wire};
use duolog_tests::real::{Duolog, Kept, Site, kept};
use serde_json::Value;

/// There is one 127.0.0.1, and these phones' media comes from nowhere else.
static ONE: Mutex<()> = Mutex::new(());

const fn account(name: &'static str, number: &'static str, tone_hz: f64) -> Account {
    Account {
        name,
        number,
        password: "correct-horse",
        tone_hz,
    }
}

const ANNA: Account = account("anna", "101", 700.0);
const BEN: Account = account("ben", "102", 1_000.0);
const CLEO: Account = account("cleo", "103", 1_300.0);
const DORA: Account = account("dora", "104", 1_600.0);
const USERS: [Account; 4] = [ANNA, BEN, CLEO, DORA];
const TONES: [f64; 4] = [700.0, 1_000.0, 1_300.0, 1_600.0];

/// baresip 1.0.0 gives up on a challenge in any algorithm but MD5, even beside one in MD5.
const MD5: &str = "algorithms = [\"md5\"]\n";

/// How long parts of a conversation last.
const WHILE: Duration = Duration::from_millis(1_500);

struct Stage {
    site: Site,
    duolog: Duolog,
}

/// Held by a test until its phones are gone.
fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A recording: its audio and what is written of it.
struct Record {
    owner: String,
    /// Who was at the other end: number, how they came, and from when, in seconds.
    parties: Vec<(String, String, f64)>,
    /// What the two sides did, in order.
    facts: Vec<String>,
    channels: [Vec<i16>; 2],
    rate_hz: u32,
}

impl Stage {
    /// duolog with the four users, all recorded from answer to hang-up.
    fn new(registrar: &str) -> Self {
        Self::with_modes(registrar, |_| "always")
    }

    fn with_modes(registrar: &str, mode_of: fn(Account) -> &'static str) -> Self {
        let site = Site::plain(&Wishes {
            format: "wav-pcm16",
            ..Wishes::default()
        });
        let tls = Tls::of(&site).section();
        let node = site.node();
        site.amend(|text| {
            let (head, rest) = text.split_once("[[trunk]]").expect("a trunk");
            let (_, tail) = rest.split_once("[log]").expect("a log");
            let (first, rest) = head.split_once("listen = [").expect("sockets");
            let users = USERS.map(|user| {
                let Account {
                    name,
                    number,
                    password,
                    ..
                } = user;
                let mode = mode_of(user);
                format!(
                    "[[user]]\nname = \"{name}\"\nnumbers = [\"{number}\"]\n\
                     password = \"{password}\"\nmode = \"{mode}\"\n"
                )
            });
            format!(
                "{first}listen = [\"tls:{node}:{TLS_PORT}\", {rest}{tls}\
                 [registrar]\nrealm = \"duolog\"\n{registrar}\
                 [[trunk]]\nname = \"trunk\"\naddress = \"udp:127.0.0.9:5080\"\n\
                 {}[log]{tail}",
                users.concat()
            )
        });
        let duolog = Duolog::start(&site);
        Self { site, duolog }
    }

    fn phone(&self, account: Account) -> Registered {
        let place = USERS.iter().position(|user| *user == account);
        Registered::start(&self.site, account, place.expect("a user") as u16)
    }

    fn linphone(&self, account: Account, wire: Wire, called: Called) -> Linphone {
        let place = USERS.iter().position(|user| *user == account);
        Linphone::start(
            &self.site,
            account,
            wire,
            called,
            place.expect("a user") as u16,
        )
    }

    fn goes_on(&mut self) {
        lasts(&mut self.duolog, WHILE);
    }

    /// Ends the program; answers all recordings, oldest first, each complete.
    fn records<const N: usize>(mut self) -> [Record; N] {
        let wanted = N as f64;
        let name = "duolog_recordings_stored_total";
        self.duolog
            .until_metric(Duration::from_secs(20), name, |stored| stored >= wanted);
        self.duolog.stop();
        let rows = kept::list(&self.site);
        let records: Vec<Record> = rows.iter().rev().map(|row| read(&self.site, row)).collect();
        let found: Vec<_> = records
            .iter()
            .map(|record| (&record.owner, &record.parties))
            .collect();
        let list = format!("{found:?}");
        records
            .try_into()
            .unwrap_or_else(|_| panic!("not {N} recordings: {list}"))
    }
}

fn read(site: &Site, row: &Kept) -> Record {
    assert_eq!(row.state, "complete", "{row:?}");
    let manifest = &row.show(site)["manifest"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rate_hz = manifest["audio"]["sample_rate_hz"]
        .as_u64()
        .expect("a rate") as u32;
    let party = |party: &Value| {
        let from = party["from"].as_f64().expect("a position in 1/8000 s");
        (text(&party["number"]), text(&party["how"]), from / 8_000.0)
    };
    let fact = |fact: &Value| {
        let (kind, by) = (text(&fact["fact"]["kind"]), text(&fact["fact"]["by"]));
        matches!(
            &*kind,
            "held" | "retrieved" | "transfer_asked" | "party_joined"
        )
        .then(|| format!("{kind} {by}").trim_end().to_owned())
    };
    let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
    Record {
        owner: text(&manifest["call"]["owner"]),
        parties: list("parties").iter().map(party).collect(),
        facts: list("facts").iter().filter_map(fact).collect(),
        channels: row.samples(),
        rate_hz,
    }
}

impl Record {
    /// The recording of a user with these numbers at the other end.
    #[track_caller]
    fn of<'a>(records: &'a [Record], owner: Account, parties: &[Account]) -> &'a Record {
        let numbers = |record: &Record| {
            let numbers = record.parties.iter().map(|(number, ..)| number.clone());
            numbers.collect::<Vec<_>>()
        };
        let wanted: Vec<_> = parties.iter().map(|party| party.number).collect();
        let fits = |record: &&Record| record.owner == owner.name && numbers(record) == wanted;
        let found: Vec<_> = records
            .iter()
            .map(|record| (&record.owner, &record.parties))
            .collect();
        let mut fitting = records.iter().filter(fits);
        let record = fitting.next();
        assert!(
            fitting.next().is_none(),
            "two of {} with {wanted:?}: {found:?}",
            owner.name
        );
        record.unwrap_or_else(|| panic!("none of {} with {wanted:?}: {found:?}", owner.name))
    }

    /// Checks what is heard of the owner and of the other party, from the moment of the answer.
    #[track_caller]
    fn check(&self, began: &Moment, own: &Story<'_>, other: &Story<'_>) {
        let parties: Vec<_> = self.parties.iter().map(|(number, ..)| &**number).collect();
        let name = format!("{} with {}", self.owner, parties.join(" then "));
        let [left, right] = &self.channels;
        let judge = |channel: &str, samples: &[i16], story| {
            let name = format!("{name}, {channel}");
            heard::check(&name, (samples, self.rate_hz), &TONES, began, story)
        };
        judge("owner", left, own);
        let found = judge("other", right, other);
        for (_, how, from_s) in &self.parties[1..] {
            assert_eq!(how, "transfer", "{name}");
            let crosses = |part: &&Stretch| {
                part.tone_hz.is_some() && part.from_s < from_s - 0.1 && part.to_s > from_s + 0.1
            };
            let crossing = found.iter().find(crosses);
            assert!(
                crossing.is_none(),
                "{name}: {crossing:?} crosses the change at {from_s} s"
            );
        }
    }

    /// The facts of hold and transfer, in order.
    #[track_caller]
    fn tells(&self, facts: &[&str]) {
        assert_eq!(self.facts, facts, "{}", self.owner);
    }
}

/// Whose tone is sounded until when.
fn says(who: Account, until: &Moment) -> (Option<f64>, &Moment) {
    (Some(who.tone_hz), until)
}

/// Nobody is heard until then.
fn nobody(until: &Moment) -> (Option<f64>, &Moment) {
    (None, until)
}

#[test]
fn baresip_registers_with_digest_over_tls_calls_holds_and_resumes() {
    let _alone = alone();
    let mut stage = Stage::new(MD5);
    let wrong = Account {
        password: "battery-staple",
        ..CLEO
    };
    let mut stranger = Registered::refused(&stage.site, wrong, 2);
    assert!(
        stranger.traced("SIP/2.0 401", "algorithm=MD5") >= 2,
        "asked, and asked again"
    );
    assert_eq!(stranger.traced("SIP/2.0 200", "REGISTER"), 0);
    drop(stranger);
    let (mut anna, mut ben) = (stage.phone(ANNA), stage.phone(BEN));
    for phone in [&mut anna, &mut ben] {
        assert_eq!(phone.traced("REGISTER ", "Via: SIP/2.0/TLS"), 2);
        assert_eq!(phone.traced("REGISTER ", "qop=auth, nc=00000001"), 1);
        assert_eq!(phone.traced("SIP/2.0 200", "REGISTER"), 1);
    }
    let began = anna.call(BEN.number);
    ben.talks();
    stage.goes_on();
    let held = anna.hold();
    stage.goes_on();
    let back = anna.resume();
    stage.goes_on();
    let held_by_ben = ben.hold();
    stage.goes_on();
    let back_again = ben.resume();
    stage.goes_on();
    let ended = ben.hang_up();
    anna.is_left();
    let records: [Record; 2] = stage.records();
    // baresip sounds no music: who holds is as silent as who is held.
    let parts = [held, back, held_by_ben, back_again, ended];
    let story = |who: Account| {
        let [held, back, held_by_ben, back_again, ended] = &parts;
        [
            says(who, held),
            nobody(back),
            says(who, held_by_ben),
            nobody(back_again),
            says(who, ended),
        ]
    };
    let annas = Record::of(&records, ANNA, &[BEN]);
    annas.check(&began, &story(ANNA), &story(BEN));
    annas.tells(&[
        "held owner",
        "retrieved owner",
        "held other",
        "retrieved other",
    ]);
    let bens = Record::of(&records, BEN, &[ANNA]);
    bens.check(&began, &story(BEN), &story(ANNA));
    bens.tells(&[
        "held other",
        "retrieved other",
        "held owner",
        "retrieved owner",
    ]);
}

#[test]
fn baresip_transfers_blind() {
    let _alone = alone();
    let mut stage = Stage::new(MD5);
    let (mut anna, mut ben, mut cleo) = (stage.phone(ANNA), stage.phone(BEN), stage.phone(CLEO));
    let began = anna.call(BEN.number);
    ben.talks();
    stage.goes_on();
    let moved = anna.transfer(CLEO.number);
    let joined = Moment::of(|| cleo.talks());
    stage.goes_on();
    assert_eq!((anna.calls(), ben.calls(), cleo.calls()), (0, 1, 1));
    assert_eq!(anna.traced("SIP/2.0 202", "REFER"), 1);
    let ended = cleo.hang_up();
    ben.is_left();
    let (samples, rate_hz) = ben.heard();
    let (ear, _) = heard::stretches(&samples, rate_hz, &TONES).expect("one at a time");
    let ear: Vec<_> = ear.iter().map(|stretch| stretch.tone_hz).collect();
    assert_eq!(ear, [Some(ANNA.tone_hz), Some(CLEO.tone_hz)], "ben's ear");
    let records: [Record; 3] = stage.records();
    let annas = Record::of(&records, ANNA, &[BEN]);
    annas.check(&began, &[says(ANNA, &moved)], &[says(BEN, &moved)]);
    annas.tells(&["transfer_asked owner"]);
    let bens = Record::of(&records, BEN, &[ANNA, CLEO]);
    bens.check(
        &began,
        &[says(BEN, &ended)],
        &[says(ANNA, &moved), says(CLEO, &ended)],
    );
    bens.tells(&["transfer_asked other", "party_joined"]);
    let cleos = Record::of(&records, CLEO, &[BEN]);
    cleos.check(&joined, &[says(CLEO, &ended)], &[says(BEN, &ended)]);
}

/// The transferor has ben on hold and cleo to talk to, and asks for ben in cleo's place.
#[test]
fn baresip_transfers_attended_by_refer_with_replaces() {
    let _alone = alone();
    let mut stage = Stage::new(MD5);
    let (mut anna, mut ben, mut cleo) = (stage.phone(ANNA), stage.phone(BEN), stage.phone(CLEO));
    let began = anna.call(BEN.number);
    ben.talks();
    stage.goes_on();
    let held = anna.hold();
    let consulted = anna.call(CLEO.number);
    cleo.talks();
    stage.goes_on();
    let uri = anna
        .dialog_with(CLEO.number)
        .in_its_place(CLEO.number, &stage.site);
    anna.turn_to(1);
    let moved = anna.transfer(&uri);
    assert_eq!(anna.traced("REFER ", "?Replaces="), 1);
    assert_eq!(anna.traced("SIP/2.0 202", "REFER"), 1);
    stage.goes_on();
    assert_eq!((anna.calls(), ben.calls(), cleo.calls()), (0, 1, 1));
    let ended = cleo.hang_up();
    ben.is_left();
    let records: [Record; 4] = stage.records();
    let annas = Record::of(&records, ANNA, &[BEN]);
    let until_held = |who| [says(who, &held), nobody(&moved)];
    annas.check(&began, &until_held(ANNA), &until_held(BEN));
    annas.tells(&["held owner", "transfer_asked owner"]);
    let consultation = Record::of(&records, ANNA, &[CLEO]);
    consultation.check(&consulted, &[says(ANNA, &moved)], &[says(CLEO, &moved)]);
    let bens = Record::of(&records, BEN, &[ANNA, CLEO]);
    let own = [says(BEN, &held), nobody(&moved), says(BEN, &ended)];
    let other = [says(ANNA, &held), nobody(&moved), says(CLEO, &ended)];
    bens.check(&began, &own, &other);
    bens.tells(&["held other", "transfer_asked other", "party_joined"]);
    let cleos = Record::of(&records, CLEO, &[ANNA, BEN]);
    let other = [says(ANNA, &moved), says(BEN, &ended)];
    cleos.check(&consulted, &[says(CLEO, &ended)], &other);
}

/// linphonec goes on speaking to whom it holds, as if it were music.
#[test]
fn linphonec_calls_baresip_and_is_called_by_it() {
    let _alone = alone();
    let mut stage = Stage::new(MD5);
    let mut anna = stage.phone(ANNA);
    let mut dora = stage.linphone(DORA, Wire::Udp, Called::Answers);
    assert_eq!(dora.traced("Authorization:", "algorithm=MD5"), 1);
    let first_began = dora.call(ANNA.number);
    anna.talks();
    stage.goes_on();
    let first_ended = dora.hang_up();
    anna.is_left();
    let began = anna.call(DORA.number);
    dora.talks();
    stage.goes_on();
    let held = dora.hold();
    stage.goes_on();
    let back = dora.resume();
    stage.goes_on();
    let ended = anna.hang_up();
    dora.is_left();
    let records: [Record; 4] = stage.records();
    let (first, second) = records.split_at(2);
    let story = |who| [says(who, &first_ended)];
    Record::of(first, DORA, &[ANNA]).check(&first_began, &story(DORA), &story(ANNA));
    Record::of(first, ANNA, &[DORA]).check(&first_began, &story(ANNA), &story(DORA));
    let of_anna = [says(ANNA, &held), nobody(&back), says(ANNA, &ended)];
    let of_dora = [says(DORA, &ended)];
    let annas = Record::of(second, ANNA, &[DORA]);
    annas.check(&began, &of_anna, &of_dora);
    annas.tells(&["held other", "retrieved other"]);
    let doras = Record::of(second, DORA, &[ANNA]);
    doras.check(&began, &of_dora, &of_anna);
    doras.tells(&["held owner", "retrieved owner"]);
}

/// Nothing but what linphonec can by itself; both algorithms are offered, and it takes the first.
#[test]
fn linphonec_transfers_attended_over_tls_registered_with_sha_256() {
    let _alone = alone();
    let mut stage = Stage::new("");
    let mut dora = stage.linphone(DORA, Wire::Tls, Called::Rings);
    let mut ben = stage.linphone(BEN, Wire::Tls, Called::Answers);
    let mut cleo = stage.linphone(CLEO, Wire::Tls, Called::Answers);
    for phone in [&mut dora, &mut ben, &mut cleo] {
        assert_eq!(phone.traced("WWW-Authenticate:", "algorithm=MD5"), 1);
        assert_eq!(phone.traced("Authorization:", "algorithm=SHA-256"), 1);
        assert_eq!(phone.traced("Via:", "SIP/2.0/UDP"), 0);
    }
    let began = dora.call(BEN.number);
    ben.talks();
    stage.goes_on();
    let held = dora.hold();
    let consulted = dora.call(CLEO.number);
    cleo.talks();
    stage.goes_on();
    let moved = dora.join(1, 2);
    assert_eq!(dora.traced("Refer-To:", "?Replaces="), 1);
    stage.goes_on();
    let ended = cleo.hang_up();
    ben.is_left();
    let records: [Record; 4] = stage.records();
    let doras = Record::of(&records, DORA, &[BEN]);
    let of_ben = [says(BEN, &held), nobody(&moved)];
    doras.check(&began, &[says(DORA, &moved)], &of_ben);
    doras.tells(&["held owner", "transfer_asked owner"]);
    let consultation = Record::of(&records, DORA, &[CLEO]);
    consultation.check(&consulted, &[says(DORA, &moved)], &[says(CLEO, &moved)]);
    let bens = Record::of(&records, BEN, &[DORA, CLEO]);
    let own = [says(BEN, &held), nobody(&moved), says(BEN, &ended)];
    let other = [says(DORA, &moved), says(CLEO, &ended)];
    bens.check(&began, &own, &other);
    let cleos = Record::of(&records, CLEO, &[DORA, BEN]);
    let other = [says(DORA, &moved), says(BEN, &ended)];
    cleos.check(&consulted, &[says(CLEO, &ended)], &other);
}

#[test]
fn linphonec_is_told_of_each_change_of_the_recording() {
    let _alone = alone();
    let mut stage = Stage::with_modes("", |user| match user == DORA {
        true => "always-pause-resume",
        false => "never",
    });
    let site = &stage.site;
    let mut cleo = Linphone::start_aware(site, CLEO, Wire::Udp, Called::Answers, 2);
    let mut dora = Linphone::start_aware(site, DORA, Wire::Tcp, Called::Rings, 3);
    dora.call(CLEO.number);
    let mut told = [0, 0];
    for (keys, state) in [("", "on"), ("*48", "paused"), ("*49", "on")] {
        stage.goes_on();
        dora.press(keys);
        let times = told[usize::from(state == "paused")] + 1;
        told[usize::from(state == "paused")] = times;
        for phone in [&mut cleo, &mut dora] {
            let took = phone.is_told(state, times);
            println!("{}: {state} after {took:?}", phone.account().name);
        }
    }
    stage.goes_on();
    // What it is told leaves its call as it is.
    for phone in [&mut cleo, &mut dora] {
        assert_eq!(phone.traced("SIP/2.0 488", ""), 0);
        assert_eq!(phone.traced("SIP/2.0 491", ""), 0);
    }
    dora.hang_up();
    cleo.is_left();
    let [record] = stage.records();
    assert_eq!(record.owner, DORA.name);
}
