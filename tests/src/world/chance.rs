//! Calls by the dice: who is recorded how, who calls whom, how long, and what is asked for. They are made in
//! an office, and what was recorded of them is kept beside what is known of them.

use std::collections::BTreeSet;

use duolog::phone::{Action, By, Calling, Change, PhoneEvent};
use duolog_archive::EndState;
use duolog_call::{Control, ControlId, Input, Means, Running};
use duolog_sip::StatusCode;
use duolog_sip::sdp::RecordPreference;

use super::dice::Dice;
use super::exactly::{Evidence, Made};
use super::judge::judge;
use super::office::{Differently, Office, PHONELESS, USERS, number, uri};
use super::policy::{Ask, Call, End, Event, KEYS_S, Left, Rules, Spoken, Way, recordings};

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

    /// The queue or the virtual line.
    fn line(&self, dice: &mut Dice) -> (&'static str, Rules) {
        let at = dice.below(2) as usize;
        (PHONELESS[at].0, self.phoneless[at].clone())
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
        call: Call {
            ends,
            queue: None,
            believed: false,
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
        pair.call.queue = dice.falls(0.2).then(|| house.line(dice));
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
            pair.call.queue = dice.falls(0.6).then(|| house.line(dice));
            pair.call.believed = !house.untrusted.contains(&name);
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
        let event = Event { at, by, ask, way };
        if is_new(&events, &event) {
            events.push(event);
        }
        at += KEYS_S + dice.between(400, 2_500) as f64 / 1e3;
    }
    events
}

/// Whether this is a new wish for sure. Who prefers again what they preferred, and had to answer somebody
/// meanwhile, may be a phone that repeats itself.
fn is_new(before: &[Event], event: &Event) -> bool {
    let offers = |one: &Event| one.way == Way::Offer;
    let last = before
        .iter()
        .rposition(|one| offers(one) && one.by == event.by);
    let Some(last) = last.filter(|_| offers(event)) else {
        return true;
    };
    let is_on = |ask| matches!(ask, Ask::Start | Ask::Resume);
    let said = before[last].ask;
    let alike = said == event.ask || is_on(said) && is_on(event.ask);
    !alike
        || before[last..]
            .iter()
            .all(|one| !offers(one) || one.by == event.by)
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
        if let Some((first, _)) = &pair.call.queue {
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
pub struct Played {
    /// The office, in which all calls are over.
    pub office: Office,
    /// What was recorded.
    pub evidence: Evidence,
    calls: Vec<Under>,
    lengths: Spoken,
}

/// Plays an office.
///
/// # Panics
/// When somebody does not ring who was to, or the world's invariants are broken.
#[must_use]
pub fn played(seed: u64, lengths: Spoken) -> Played {
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
    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Where a model differs.
    #[must_use]
    pub fn faults(&self, model: impl Fn(&Call, Spoken) -> Left) -> Vec<String> {
        let calls = self.calls.iter();
        let wanted = calls.flat_map(|one| one.made(model(&one.call, self.lengths)));
        let wanted: Vec<Made<'_>> = wanted.collect();
        self.evidence.faults(&wanted)
    }

    /// Where the model differs when it is told something wrong of each call.
    #[must_use]
    pub fn mistaken(&self, told: impl Fn(&mut Call, &mut Spoken)) -> Vec<String> {
        self.faults(|call, lengths| {
            let (mut call, mut lengths) = (call.clone(), lengths);
            told(&mut call, &mut lengths);
            recordings(&call, lengths)
        })
    }

    /// Where a recording is not what its own manifest says.
    #[must_use]
    pub fn judged(&self) -> Vec<String> {
        let kept = self.evidence.kept.iter();
        let faults = kept.flat_map(|kept| judge(&self.office.world, kept).faults);
        faults.collect()
    }
}
