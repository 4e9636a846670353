//! Ten thousand random calls in the simulated world: what a simple model of the policy says was to be
//! recorded is exactly what was (issue 5, acceptance 9). The model is `world/policy.rs`.
//!
//! What is compared: which rows there are, of whom, and in which state each ended; and of each recording
//! every packet that a phone sent, sample by sample, at the place that follows from when it arrived and from
//! when the model says that the recording began (`world/exactly.rs`). Starts, pauses and ends may be 50 ms
//! off, which is what signalling and a packet take; what arrives that near to a change is not compared, nor
//! is a party's channel while it presses keys. Beside that each recording agrees with its own manifest in
//! every sample (`world/judge.rs`).
//!
//! What is generated: every mode and switch of [`Rules`] for users, a queue and a virtual line; calls within the house, from
//! and to a PBX, the public network, a voicemail system and an emergency number; listed parties of all of
//! these; calls that nobody answers; a recorder that takes nothing, with every policy for that; hang-ups by both; and controls by INFO, keys, the API and offers, by
//! owners and by others. No transfers, no holds, and no other announcements than those at a start: who hears
//! what is in `world_choices`, `world_told` and `world_notices`.

use std::collections::{BTreeMap, BTreeSet};

use duolog::phone::{Action, By, Calling, Change, PhoneEvent};
use duolog_archive::EndState;
use duolog_call::{Control, ControlId, Input, Means, Running};
use duolog_sip::StatusCode;
use duolog_sip::sdp::RecordPreference;
use duolog_tests::world::dice::Dice;
use duolog_tests::world::exactly::{Evidence, Made};
use duolog_tests::world::judge::judge;
use duolog_tests::world::office::{Differently, Office, PHONELESS, USERS, number, uri};
use duolog_tests::world::policy::{
    Ask, Call, End, Event, KEYS_S, Left, Rules, Spoken, Way, recordings,
};
use duolog_tests::world::sound::spoken;

/// Calls that are begun together: a user is in one of them at most.
const TOGETHER: usize = 4;
/// Rounds of calls in one office.
const ROUNDS: usize = 6;
/// From the INVITE to the answer, in seconds.
const RINGS_S: f64 = 0.33;
/// Two things of one call that are closer than this in time are not asked for: nobody could say which one
/// is first.
const APART_S: f64 = 0.15;

const PSTN: &str = "+31201234567";
const PRIVATE: &str = "+31201110000";
/// Of users, of phones behind the trunks, and beyond.
const NUMBERS: [&str; 15] = [
    "101", "102", "103", "104", "105", "106", "+31700", "+31701", "+31702", "70", "71", "72",
    "112", PSTN, PRIVATE,
];

fn lengths() -> Spoken {
    Spoken::of(|prompt| spoken(prompt, "en").len() as f64 / 8_000.0)
}

fn rules(dice: &mut Dice, modes: &[&'static str]) -> Rules {
    let one = |dice: &mut Dice, of: &[&'static str]| of[dice.below(of.len() as u64) as usize];
    Rules {
        announce_internal: dice.falls(0.4),
        announce_pstn: dice.falls(0.4),
        after_resume: dice.falls(0.2),
        compliance: [0, 1].map(|_| dice.falls(0.3)),
        delay_s: dice.below(3) as u32,
        notice: one(dice, &["none", "beep", "announcement"]),
        repeat_tone: dice.falls(0.3),
        auto_resume_s: dice.falls(0.4).then(|| dice.between(1, 3) as u32),
        selective: match dice.falls(0.5) {
            true => [true; 4],
            false => [0; 4].map(|_| dice.falls(0.5)),
        },
        emergency: dice.falls(0.5),
        voicemail: dice.falls(0.5),
        do_not_record: listed(dice),
        on_failure: one(
            dice,
            &["refuse", "go-on", "go-on-announced", "end-announced"],
        ),
        ..Rules::new(one(dice, modes))
    }
}

/// A do-not-record list.
fn listed(dice: &mut Dice) -> Vec<&'static str> {
    let share = if dice.falls(0.5) { 0.15 } else { 0.0 };
    let numbers = NUMBERS.into_iter();
    numbers.filter(|_| dice.falls(share)).collect()
}

/// Everybody's rules in one office.
struct House {
    users: Vec<Rules>,
    /// Of the queue and the virtual line.
    phoneless: [Rules; 2],
    /// Trunks that are not believed for whom they call.
    untrusted: Vec<&'static str>,
}

impl House {
    fn new(dice: &mut Dice) -> House {
        let all = [
            "never",
            "on-demand",
            "on-demand-user-start",
            "always",
            "always-pause-resume",
        ];
        let queue = ["never", "always", "always-pause-resume"];
        let trunks = ["pstn", "pbx"].into_iter();
        House {
            users: USERS.iter().map(|_| rules(dice, &all)).collect(),
            phoneless: [rules(dice, &queue), rules(dice, &all)],
            untrusted: trunks.filter(|_| dice.falls(0.4)).collect(),
        }
    }

    fn office(&self, seed: u64) -> Office {
        let users = USERS.iter().zip(&self.users);
        let phoneless = PHONELESS.iter().zip(&self.phoneless);
        Office::new(&Differently {
            recorded: users.map(|(name, rules)| (*name, rules.lines())).collect(),
            phoneless: phoneless
                .map(|((name, _), rules)| (*name, rules.lines()))
                .collect(),
            untrusted: self.untrusted.clone(),
            ..Differently::nothing(seed)
        })
    }

    fn end(&self, user: usize) -> End {
        End {
            voice: USERS[user],
            number: NUMBERS[user],
            rules: Some(self.users[user].clone()),
        }
    }
}

/// Who calls whom: the phone, the number, and the call as far as it is known then.
struct Pair {
    phone: String,
    number: &'static str,
    /// For whom the phone says that it called first.
    diverted: Option<&'static str>,
    call: Call,
}

/// Who is free for another call.
struct Free {
    users: Vec<usize>,
    /// Phones that talk.
    talking: BTreeSet<String>,
}

impl Free {
    fn user(&mut self, dice: &mut Dice) -> Option<usize> {
        let many = self.users.len() as u64;
        (many > 0).then(|| self.users.swap_remove(dice.below(many) as usize))
    }

    /// The lines of somebody that are free.
    fn lines(&self, name: &str) -> impl Iterator<Item = (usize, String)> {
        let lines = [1, 2, 3].map(|line| format!("{name}{line}"));
        let lines = lines.into_iter().enumerate();
        lines.filter(|(_, phone)| !self.talking.contains(phone))
    }
}

fn pair(dice: &mut Dice, free: &mut Free, house: &House) -> Option<Pair> {
    let outside = |voice, number| End {
        voice,
        number,
        rules: None,
    };
    let made = |phone: String, number, ends, pstn| Pair {
        phone,
        number,
        diverted: None,
        call: Call {
            ends,
            queue: None,
            pstn,
            emergency: number == "112",
            voicemail: number == "81",
            recorder: true,
            invited: 0.0,
            answered: None,
            over: 0.0,
            events: Vec::new(),
        },
    };
    let user = free.user(dice)?;
    let own = house.end(user);
    let line = format!("{}1", USERS[user]);
    let kind = dice.below(12);
    if kind < 4 {
        let other = free.user(dice)?;
        let number = NUMBERS[other];
        let mut pair = made(line, number, [own, house.end(other)], false);
        // A user may say so too, and is not believed.
        pair.diverted = dice.falls(0.2).then_some(PHONELESS[1].0);
        return Some(pair);
    }
    let trunk = [0, 0, 0, 0, 0, 1, 1, 2][kind as usize - 4];
    let name = ["pstn", "pbx", "voicemail"][trunk];
    let (at, phone) = free.lines(name).next()?;
    let number = match kind {
        4 => "112",
        5 | 6 => [PSTN, PRIVATE][dice.below(2) as usize],
        9 => "71",
        11 => "81",
        // From there.
        _ => {
            let from = outside(name, NUMBERS[6 + 3 * trunk + at]);
            let mut pair = made(phone, NUMBERS[user], [from, own], trunk == 0);
            if dice.falls(0.6) {
                let at = dice.below(2) as usize;
                let (first, rules) = (PHONELESS[at].0, house.phoneless[at].clone());
                pair.diverted = Some(first);
                let believed = !house.untrusted.contains(&name);
                pair.call.queue = believed.then_some((first, rules));
            }
            return Some(pair);
        }
    };
    Some(made(line, number, [own, outside(name, number)], trunk == 0))
}

/// Whether a call is not taken because it could not be recorded.
fn is_refused(call: &Call, lengths: Spoken) -> bool {
    let left = recordings(call, lengths);
    left.wanted.iter().any(|one| one.state == EndState::Refused)
}

/// When a call is answered and over, and what is asked for in it.
fn fate(dice: &mut Dice, call: &mut Call, now: f64, lengths: Spoken) {
    call.invited = now;
    if is_refused(call, lengths) {
        call.over = now;
        return;
    }
    if dice.falls(0.08) {
        call.over = now + 0.1;
        return;
    }
    let answered = now + RINGS_S;
    let longest = if dice.falls(0.1) { 16_000 } else { 10_000 };
    call.answered = Some(answered);
    loop {
        call.over = answered + dice.between(4_000, longest) as f64 / 1e3;
        call.events = events(dice, answered, call.over);
        let mut moments = recordings(call, lengths).moments;
        moments.sort_by(f64::total_cmp);
        if moments.windows(2).all(|two| two[1] - two[0] > APART_S) {
            return;
        }
    }
}

fn events(dice: &mut Dice, from: f64, until: f64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut at = from + dice.between(200, 1_500) as f64 / 1e3;
    while at < until - 1.0 && events.len() < 6 {
        let ask = [Ask::Start, Ask::Stop, Ask::Pause, Ask::Resume][dice.below(4) as usize];
        let way = [Way::Info, Way::Keys, Way::Api, Way::Offer][dice.below(4) as usize];
        // Others than owners are heard as well, not as often.
        let by = dice.below(2) as usize;
        events.push(Event { at, by, ask, way });
        at += KEYS_S + dice.between(400, 2_500) as f64 / 1e3;
    }
    events
}

/// A call that is under way, with the phones of its two ends.
struct Under {
    call: Call,
    phones: [String; 2],
}

impl Under {
    fn made(&self, left: Left) -> Vec<Made<'_>> {
        let phones = self.phones.each_ref().map(String::as_str);
        let wanted = left.wanted.into_iter().map(|wanted| {
            let [own, other] = [wanted.end, 1 - wanted.end].map(|end| phones[end]);
            (wanted, [own, other])
        });
        wanted.collect()
    }
}

/// One office in which calls are made.
struct Play {
    office: Office,
    dice: Dice,
    house: House,
    lengths: Spoken,
    now: f64,
}

impl Play {
    fn new(seed: u64, lengths: Spoken) -> Play {
        let mut dice = Dice::new(seed);
        let house = House::new(&mut dice);
        Play {
            office: house.office(seed),
            dice,
            house,
            lengths,
            now: 1.0,
        }
    }

    /// As many calls as fit, until they are over; now and then while the disk is too full to record.
    fn round(&mut self) -> Vec<Under> {
        let recorder = self.dice.falls(0.9);
        if !recorder {
            // Below the floor, and enough for rows.
            let used = self.office.world.disk.used_bytes();
            self.leave(used + 600_000);
        }
        let users = (0..USERS.len()).collect();
        let mut free = Free {
            users,
            talking: BTreeSet::new(),
        };
        let mut under: Vec<Under> = Vec::new();
        while under.len() < TOGETHER {
            let Some(mut pair) = pair(&mut self.dice, &mut free, &self.house) else {
                break;
            };
            self.now += 0.05;
            self.office.until(self.now);
            pair.call.recorder = recorder;
            fate(&mut self.dice, &mut pair.call, self.now, self.lengths);
            let phones = self.dial(&pair, &free);
            let call = pair.call;
            match call.answered {
                Some(_) => free.talking.extend(phones.clone()),
                None if is_refused(&call, self.lengths) => {}
                None => {
                    self.now = call.over;
                    self.office.until(self.now);
                    let by = self.dice.below(2) as usize;
                    self.office.act(&phones[by], Action::HangUp);
                }
            }
            under.push(Under { call, phones });
        }
        self.converse(&under);
        if !recorder {
            self.leave(1 << 40);
        }
        under
    }

    /// The disk has so many bytes from now on.
    fn leave(&mut self, bytes: u64) {
        self.office.world.disk.resize(bytes);
        self.now += 2.0;
        self.office.until(self.now);
    }

    /// Calls; gives the phones of both ends.
    fn dial(&mut self, pair: &Pair, free: &Free) -> [String; 2] {
        for end in &pair.call.ends {
            for (_, phone) in free.lines(end.voice) {
                self.office.say(&phone, end.voice);
            }
        }
        let mut calling = Calling::to(uri(pair.number));
        if let Some(first) = pair.diverted {
            let diverted = format!("<sip:{}@10.0.0.1>;reason=unconditional", number(first));
            calling.headers.push(("Diversion".to_owned(), diverted));
        }
        self.office.call_with(&pair.phone, calling);
        self.now += 0.04;
        self.office.until(self.now);
        if is_refused(&pair.call, self.lengths) {
            let refused = StatusCode::new(503).expect("a status");
            let is_told = self.office.told(&pair.phone, PhoneEvent::Refused(refused));
            assert!(is_told, "{} was to be refused", pair.phone);
            return [pair.phone.clone(), String::new()];
        }
        let voice = pair.call.ends[1].voice;
        let rings = |phone: &String| {
            let who = self.office.who(phone);
            *phone != pair.phone && !self.office.world.phone(who).is_idle()
        };
        let mut lines = free.lines(voice).map(|(_, phone)| phone);
        let rings = lines.find(rings);
        let rings = rings.unwrap_or_else(|| {
            let (phone, number) = (&pair.phone, pair.number);
            let story = self.office.story();
            panic!("nobody rings when {phone} calls {number}\n{story}")
        });
        [pair.phone.clone(), rings]
    }

    /// Everything that is asked for, and the hang-ups.
    fn converse(&mut self, under: &[Under]) {
        let mut doing: Vec<(f64, &Under, Option<&Event>)> = Vec::new();
        for one in under {
            if one.call.answered.is_none() {
                continue;
            }
            let events = one.call.events.iter();
            doing.extend(events.map(|event| (event.at, one, Some(event))));
            doing.push((one.call.over, one, None));
        }
        doing.sort_by(|one, other| one.0.total_cmp(&other.0));
        for (at, one, event) in doing {
            self.now = at.max(self.now);
            self.office.until(self.now);
            let callee = self.office.who(&one.phones[1]);
            match event {
                // It was ended because it is not recorded.
                _ if self.office.world.phone(callee).is_idle() => {}
                Some(event) => self.ask(one, event),
                None => {
                    let by = self.dice.below(2) as usize;
                    self.office.act(&one.phones[by], Action::HangUp);
                }
            }
        }
        self.now += 0.5;
        self.office.until(self.now);
    }

    fn ask(&mut self, under: &Under, event: &Event) {
        let phone = &under.phones[event.by];
        let (word, code, wanted, control) = match event.ask {
            Ask::Start => ("on", "*44", RecordPreference::On, Control::Start),
            Ask::Stop => ("off", "*45", RecordPreference::Off, Control::Stop),
            Ask::Pause => ("pause", "*48", RecordPreference::Pause, Control::Pause),
            Ask::Resume => ("resume", "*49", RecordPreference::On, Control::Resume),
        };
        let action = match event.way {
            Way::Info => Action::Record { value: word.into() },
            Way::Keys => Action::Press {
                digits: code.into(),
            },
            Way::Offer => Action::Alter {
                by: [By::ReInvite, By::Update][self.dice.below(2) as usize],
                change: Change::Prefer(wanted),
            },
            Way::Api => return self.control(under, event.by, control),
        };
        self.office.act(phone, action);
    }

    /// Somebody asks for something over HTTP: of the recording of one end, if there is one.
    fn control(&mut self, under: &Under, end: usize, control: Control) {
        let call = &under.call;
        let queue = call.queue.iter().filter(|_| end == 1);
        let owners = queue.map(|(name, _)| *name).chain([call.ends[end].voice]);
        let index = |name: &str| {
            let phoneless = PHONELESS.iter().map(|(name, _)| name);
            let mut all = USERS.iter().chain(phoneless);
            all.position(|one| *one == name)
        };
        let owners: Vec<usize> = owners.filter_map(index).collect();
        let across = call.ends[1 - end].number;
        let is_it = |one: &Running| owners.contains(&one.owner.0) && one.party == across;
        let running = self.office.world.node.running();
        if let Some(running) = running.into_iter().find(is_it) {
            self.office.world.ask(Input::Control {
                id: ControlId(1),
                recording: running.recording,
                control,
                by: Means::Api,
            });
        }
    }
}

/// One office with as many calls as fit, and what was recorded in it.
struct Played {
    office: Office,
    calls: Vec<Under>,
    evidence: Evidence,
    lengths: Spoken,
}

fn played(seed: u64, lengths: Spoken) -> Played {
    let mut play = Play::new(seed, lengths);
    let mut calls = Vec::new();
    for _ in 0..ROUNDS {
        calls.extend(play.round());
    }
    play.office.close();
    let phones = calls.iter().flat_map(Under::names);
    let phones: BTreeSet<&str> = phones.filter(|phone| !phone.is_empty()).collect();
    let evidence = play.office.evidence(phones.into_iter());
    Played {
        office: play.office,
        calls,
        evidence,
        lengths,
    }
}

impl Under {
    fn names(&self) -> [&str; 2] {
        self.phones.each_ref().map(String::as_str)
    }
}

impl Played {
    /// Where a model differs.
    fn faults(&self, model: impl Fn(&Call, Spoken) -> Left) -> Vec<String> {
        let calls = self.calls.iter();
        let wanted = calls.flat_map(|one| one.made(model(&one.call, self.lengths)));
        let wanted: Vec<Made<'_>> = wanted.collect();
        self.evidence.faults(&wanted)
    }

    /// Where the model differs when it is told something wrong of each call.
    fn mistaken(&self, told: impl Fn(&mut Call, &mut Spoken)) -> Vec<String> {
        self.faults(|call, lengths| {
            let (mut call, mut lengths) = (call.clone(), lengths);
            told(&mut call, &mut lengths);
            recordings(&call, lengths)
        })
    }

    /// What the recordings themselves say is so.
    fn judged(&self) -> Vec<String> {
        let kept = self.evidence.kept.iter();
        let faults = kept.flat_map(|kept| judge(&self.office.world, kept).faults);
        faults.collect()
    }
}

fn offices(seeds: std::ops::Range<u64>, wanted: usize) {
    let wanted = std::env::var("MODEL_CALLS").map_or(wanted, |n| n.parse().unwrap());
    let lengths = lengths();
    let (mut calls, mut states) = (0, BTreeMap::<String, usize>::new());
    for seed in seeds {
        let played = played(seed, lengths);
        let mut faults = played.faults(recordings);
        faults.extend(played.judged());
        let story = || played.office.story();
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}\n{}", story());
        for kept in &played.evidence.kept {
            let state = format!("{:?}", kept.manifest.state);
            *states.entry(state).or_default() += 1;
        }
        calls += played.calls.len();
        if calls >= wanted {
            break;
        }
    }
    println!("{calls} calls: all as the model says: {states:?}");
    assert!(calls >= wanted, "{calls} calls");
}

#[test]
fn five_thousand_calls_are_recorded_as_the_model_says() {
    offices(50_000..60_000, 5_000);
}

#[test]
fn another_five_thousand() {
    offices(60_000..70_000, 5_000);
}

/// What a wrong model is told of a call, in the place of what was so.
type Mistake = (&'static str, fn(&mut Call, &mut Spoken));

/// Changes the rules of everybody.
fn rules_of(call: &mut Call, change: impl Fn(&mut Rules)) {
    let queue = call.queue.iter_mut().map(|(_, rules)| rules);
    let ends = call.ends.iter_mut().filter_map(|end| end.rules.as_mut());
    queue.chain(ends).for_each(change);
}

/// Those who have one mode have another one.
fn instead(call: &mut Call, mode: &'static str, other: &'static str) {
    rules_of(call, |rules| {
        if rules.mode == mode {
            rules.mode = other;
        }
    });
}

/// What is asked for in this way takes effect later.
fn later(call: &mut Call, way: Way, ask: Ask, by_s: f64) {
    let events = call.events.iter_mut();
    let events = events.filter(|event| (event.way, event.ask) == (way, ask));
    events.for_each(|event| event.at += by_s);
}

fn without(call: &mut Call, is_not: impl Fn(&Event) -> bool) {
    call.events.retain(|event| !is_not(event));
}

const MISTAKES: [Mistake; 29] = [
    ("a recorder that always records", |call, _| {
        call.recorder = true
    }),
    ("nothing refused without a recorder", |call, _| {
        rules_of(call, |rules| rules.on_failure = "go-on");
    }),
    ("calls from within chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[0] ^= true);
    }),
    ("calls from outside chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[1] ^= true);
    }),
    ("calls within chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[2] ^= true);
    }),
    ("calls to outside chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[3] ^= true);
    }),
    ("lists not looked at", |call, _| {
        rules_of(call, |rules| rules.do_not_record.clear());
    }),
    ("callers not looked for in lists", |call, _| {
        call.ends[0].number = "";
    }),
    ("emergency calls always recorded", |call, _| {
        rules_of(call, |rules| rules.emergency = true);
    }),
    ("voicemail always recorded", |call, _| {
        rules_of(call, |rules| rules.voicemail = true);
    }),
    ("queues not looked at", |call, _| call.queue = None),
    ("on demand always kept", |call, _| {
        instead(call, "on-demand", "always-pause-resume");
    }),
    ("on demand begun by its start", |call, _| {
        instead(call, "on-demand", "on-demand-user-start");
    }),
    ("on demand never kept", |call, _| {
        let demands = call.ends.each_ref().map(|end| {
            let rules = end.rules.as_ref();
            rules.is_some_and(|rules| rules.mode == "on-demand")
        });
        without(call, |event| event.ask == Ask::Start && demands[event.by]);
    }),
    ("always with pauses", |call, _| {
        instead(call, "always", "always-pause-resume");
    }),
    ("no stops", |call, _| {
        without(call, |event| event.ask == Ask::Stop)
    }),
    ("no keys", |call, _| {
        without(call, |event| event.way == Way::Keys)
    }),
    ("no API", |call, _| {
        without(call, |event| event.way == Way::Api)
    }),
    ("no offers", |call, _| {
        without(call, |event| event.way == Way::Offer)
    }),
    ("the wrong one asked", |call, _| {
        call.events.iter_mut().for_each(|event| event.by ^= 1);
    }),
    ("pauses without an end", |call, _| {
        rules_of(call, |rules| rules.auto_resume_s = None);
    }),
    ("pauses by INFO 0.3 s late", |call, _| {
        later(call, Way::Info, Ask::Pause, 0.3);
    }),
    ("pauses by keys 0.3 s late", |call, _| {
        later(call, Way::Keys, Ask::Pause, 0.3);
    }),
    ("pauses by the API 0.1 s late", |call, _| {
        later(call, Way::Api, Ask::Pause, 0.1);
    }),
    ("resumed by an offer 0.1 s late", |call, _| {
        later(call, Way::Offer, Ask::Resume, 0.1);
    }),
    ("nobody told", |_, spoken| spoken.start_s = 0.0),
    ("nobody told in other words", |_, spoken| {
        spoken.compliance_s = 0.0
    }),
    ("told at once", |call, _| {
        rules_of(call, |rules| rules.delay_s = 0);
    }),
    ("hung up 0.1 s late", |call, _| call.over += 0.1),
];

/// Two recordings of a call as if each were alone: everybody is told of both.
fn each_for_itself(call: &Call, lengths: Spoken) -> Left {
    let mut left = Left::default();
    for end in [0, 1] {
        let mut alone = call.clone();
        alone.ends[1 - end].rules = None;
        let own = recordings(&alone, lengths).wanted.into_iter();
        left.wanted.extend(own.filter(|one| one.end == end));
    }
    left
}

#[test]
fn each_model_that_is_wrong_is_found_out() {
    /// Offices in which a mistake must be seen at least once.
    const WITHIN: u64 = 25;
    let lengths = lengths();
    let (mut seen, mut apart) = ([0; MISTAKES.len()], 0);
    for seed in 70_000..70_000 + WITHIN {
        let played = played(seed, lengths);
        let faults = played.faults(recordings);
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        for (seen, (_, mistake)) in seen.iter_mut().zip(MISTAKES) {
            *seen += usize::from(!played.mistaken(mistake).is_empty());
        }
        apart += usize::from(!played.faults(each_for_itself).is_empty());
    }
    println!("two recordings that know nothing of each other: seen in {apart} offices of {WITHIN}");
    assert!(apart > 0);
    for (seen, (name, _)) in seen.iter().zip(MISTAKES) {
        println!("{name}: seen in {seen} offices of {WITHIN}");
    }
    let unseen = seen.iter().zip(MISTAKES).filter(|(seen, _)| **seen == 0);
    let unseen: Vec<&str> = unseen.map(|(_, (name, _))| name).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}
