//! An office for whole scenarios: users A, C, E and F are recorded, B and G are not; there are a
//! trunk to the public network, a PBX of the same house, and a voicemail system. Everybody has two
//! lines. Every voice says its name and its time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use duolog::phone::{
    Action, Answering, Calling, CodedVoice, EarlyMedia, Keep, PARTIES, PhoneEvent, PhoneSettings,
    SLOT_SAMPLES, SLOTS, Security, Subscription, Voice, Ways,
};
use duolog_audio::codec::Codec;
use duolog_media::Sabotage;
use duolog_rtp::timeline::DriftCorrection;
use duolog_sip::{Flow, Replaces, StatusCode, Transport, Uri};

use super::net::Conditions;
use super::scene::node_sip;
use super::{Plan, Who, World};

/// Users, each with the number 101 and up, in this order.
pub const USERS: [&str; 6] = ["A", "B", "C", "E", "F", "G"];

/// Users that are recorded.
pub const RECORDED: [&str; 4] = ["A", "C", "E", "F"];

/// Trunks, and by what their numbers begin; the first gets the rest as well.
pub const TRUNKS: [(&str, &str); 3] = [("pstn", "+"), ("pbx", "7"), ("voicemail", "8")];

/// A queue and a virtual line, with the numbers 107 and 108; they have no phones.
pub const PHONELESS: [(&str, &str); 2] = [("Q", "queue"), ("V", "virtual-line")];

/// Slots of a voice: 60 s.
const VOICE_SLOTS: u16 = 600;

/// How long called phones ring, ms.
pub const RING_MS: u32 = 300;

/// How an office differs from the usual one.
#[derive(Debug, Clone)]
pub struct Differently {
    /// Reproduces everything.
    pub seed: u64,
    /// What happens to SIP.
    pub sip: Conditions,
    /// Of each phone, by its name.
    pub phones: Vec<(&'static str, Answering, Ways)>,
    /// Lines of the configuration for each user.
    pub user_lines: &'static str,
    /// Lines of one user's section, in the place of those about how they are recorded.
    pub recorded: Vec<(&'static str, String)>,
    /// Owners without phones that there are, with the lines of their sections.
    pub phoneless: Vec<(&'static str, String)>,
    /// Trunks that are not believed who calls, and for whom.
    pub untrusted: Vec<&'static str>,
    /// Lines at the head of the configuration: whole sections.
    pub head: String,
    /// Users that register instead of being configured by address.
    pub registering: &'static [&'static str],
}

impl Differently {
    /// The usual office.
    #[must_use]
    pub fn nothing(seed: u64) -> Differently {
        Differently {
            seed,
            sip: Conditions::clean(),
            phones: Vec::new(),
            user_lines: "",
            recorded: Vec::new(),
            phoneless: Vec::new(),
            untrusted: Vec::new(),
            head: String::new(),
            registering: &[],
        }
    }
}

/// What a phone of the office does when it is called.
#[must_use]
pub fn usual_answering() -> Answering {
    Answering {
        ring_ms: RING_MS,
        early_media: EarlyMedia::No,
        code: StatusCode::OK,
    }
}

/// The office.
pub struct Office {
    /// Its world.
    pub world: World,
    /// Voices by name, in the order in which they were first heard of.
    voices: Vec<String>,
    phones: BTreeMap<String, Who>,
}

impl Office {
    /// An office without calls.
    #[must_use]
    pub fn new(how: &Differently) -> Office {
        let mut world = World::new(&Plan {
            seed: how.seed,
            sip: how.sip,
            media: Conditions::clean(),
            sabotage: Sabotage::None,
            drift: DriftCorrection::On,
            queue: 4_096,
            config: config(how),
        });
        let (mut voices, mut phones) = (Vec::new(), BTreeMap::new());
        let sites = USERS.iter().chain(TRUNKS.iter().map(|(name, _)| name));
        for (site, name) in sites.enumerate() {
            let lines = [1, 2, 3].map(|line| format!("{name}{line}"));
            let made = lines.iter().enumerate().map(|(place, line)| {
                phones.insert(line.clone(), Who(site, place));
                phone(how, site, place, line, &mut voices)
            });
            let made = made.collect();
            world.add_site(sip_of(site), made);
        }
        Office {
            world,
            voices,
            phones,
        }
    }

    /// A phone by its name: `A1` and `A2` are the lines of A, `pbx1` is behind the PBX.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn who(&self, phone: &str) -> Who {
        let who = self.phones.get(phone);
        *who.unwrap_or_else(|| panic!("there is no phone {phone}"))
    }

    /// The voice of that name, from its beginning; a new name is a new voice.
    #[must_use]
    pub fn voice(&mut self, name: &str) -> Voice {
        voice(&mut self.voices, name)
    }

    /// The name of the voice that carries this slot.
    #[must_use]
    pub fn name_of(&self, party: u8, slot: u16) -> &str {
        let place = usize::from(slot / VOICE_SLOTS) * usize::from(PARTIES) + usize::from(party);
        self.voices.get(place).map_or("?", String::as_str)
    }

    /// A phone speaks with the voice of this name from now on.
    pub fn say(&mut self, phone: &str, name: &str) {
        let voice = self.voice(name);
        self.act(phone, Action::SetVoice(voice));
    }

    /// The user of a phone does something.
    pub fn act(&mut self, phone: &str, action: Action) {
        let who = self.who(phone);
        self.world.act(who, action);
    }

    /// A phone calls a user, by letter, or a number.
    pub fn call(&mut self, phone: &str, callee: &str) {
        let uri = uri(callee);
        self.act(phone, Action::Call { uri });
    }

    /// A phone calls in an unusual way.
    pub fn call_with(&mut self, phone: &str, calling: Calling) {
        self.act(phone, Action::CallWith(Box::new(calling)));
    }

    /// A phone sends a REFER to a user or number, which may name a dialog to take the place of.
    pub fn refer(&mut self, phone: &str, to: &str, replaces: Option<Replaces>) {
        let action = Action::Refer {
            to: uri(to),
            replaces,
            subscription: Subscription::Active,
        };
        self.act(phone, action);
    }

    /// The dialog that a phone is in, as duolog must be told it.
    ///
    /// # Panics
    /// When it is in none.
    #[must_use]
    pub fn dialog_of(&self, phone: &str) -> Replaces {
        let named = self.world.phone(self.who(phone)).as_replaced();
        named.unwrap_or_else(|| panic!("{phone} is in no dialog"))
    }

    /// Lets time pass until so many seconds after the beginning.
    pub fn until(&mut self, seconds: f64) {
        let passed = self.world.since(self.world.now()).as_secs_f64();
        let ms = ((seconds - passed) * 1e3).round();
        assert!(ms >= 0.0, "it is {passed} s already");
        self.world.run_ms(ms as u64);
        self.world.check();
    }

    /// Whether a phone told this.
    #[must_use]
    pub fn told(&self, phone: &str, event: PhoneEvent) -> bool {
        self.world.has_told(self.who(phone), event)
    }

    /// What the phones told, one line each.
    #[must_use]
    pub fn story(&self) -> String {
        let name = |who: &Who| {
            let found = self.phones.iter().find(|(_, at)| *at == who);
            found.map_or("?", |(name, _)| name.as_str())
        };
        let mut story = String::new();
        for (at, who, event) in self.world.told() {
            let at = self.world.since(*at).as_secs_f64();
            let _ = writeln!(story, "{at:9.3} {} {event:?}", name(who));
        }
        story
    }

    /// Everybody who has a call hangs up, and nothing is left over.
    pub fn close(&mut self) {
        for who in self.world.everyone().collect::<Vec<_>>() {
            if !self.world.phone(who).is_idle() {
                self.world.act(who, Action::HangUp);
            }
        }
        self.world.run_out();
    }
}

/// A user by letter, or a number, at the node.
#[must_use]
pub fn uri(callee: &str) -> Uri {
    let text = format!("sip:{}@{}", number(callee), node_sip().ip());
    text.parse().expect("a number makes a URI")
}

/// The number of somebody here; anything else is a number itself.
#[must_use]
pub fn number(callee: &str) -> String {
    let phoneless = PHONELESS.iter().map(|(name, _)| name);
    let mut all = USERS.iter().chain(phoneless);
    match all.position(|user| *user == callee) {
        Some(at) => format!("10{}", at + 1),
        None => callee.to_owned(),
    }
}

fn voice(voices: &mut Vec<String>, name: &str) -> Voice {
    let known = voices.iter().position(|known| known == name);
    let place = known.unwrap_or_else(|| {
        voices.push(name.to_owned());
        voices.len() - 1
    });
    let most = usize::from(PARTIES) * usize::from(SLOTS / VOICE_SLOTS);
    assert!(place < most, "there are {most} voices");
    let party = (place % usize::from(PARTIES)) as u8;
    let slot = (place / usize::from(PARTIES)) as u64 * u64::from(VOICE_SLOTS);
    Voice::Coded(CodedVoice::new(party, slot * SLOT_SAMPLES as u64))
}

fn sip_of(site: usize) -> SocketAddr {
    ([10, 0, 1, 1 + site as u8], 5_060).into()
}

fn phone(
    how: &Differently,
    site: usize,
    place: usize,
    line: &str,
    voices: &mut Vec<String>,
) -> PhoneSettings {
    let sip = sip_of(site);
    let rtp = SocketAddr::new(sip.ip(), 4_000 + 2 * place as u16);
    let special = how.phones.iter().find(|(name, ..)| *name == line);
    let (answering, ways) = match special {
        Some((_, answering, ways)) => (*answering, ways.clone()),
        None => (usual_answering(), Ways::default()),
    };
    // The lines of a desk are one person.
    let name = &line[..line.len() - 1];
    let user = match site < USERS.len() {
        true => number(name),
        false => format!("{}{place}", ["+3170", "7", "8"][site - USERS.len()]),
    };
    PhoneSettings {
        user,
        domain: sip.ip().to_string(),
        flow: Flow {
            transport: Transport::Udp,
            local: sip,
            peer: node_sip(),
        },
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ptime_ms: 20,
        clock_ppm: 0,
        security: Security::Clear,
        answering,
        ways,
        voice: voice(voices, name),
        keep: Keep::Packets,
        seed: how.seed.wrapping_mul(1_000_003) + (site * 100 + place) as u64,
    }
}

/// The configuration file of the node.
fn config(how: &Differently) -> String {
    let mut text = how.head.clone();
    let _ = write!(
        text,
        "[sip]\nlisten = [\"udp:{}\"]\n[media]\naddress = \"10.0.0.1\"\nthreads = 1\n\
         timeout = \"20s\"\ntranscode = []\n[store]\nformat = \"wav-g711\"\n[numbering]\nemergency = [\"112\"]\nroutes = [\n",
        node_sip()
    );
    for (name, prefix) in &TRUNKS[1..] {
        let _ = writeln!(text, "{{ prefix = \"{prefix}\", trunk = \"{name}\" }},");
    }
    text.push_str("]\n");
    for (at, (name, _)) in TRUNKS.iter().enumerate() {
        let kind = ["pstn", "internal", "voicemail"][at];
        let address = sip_of(USERS.len() + at);
        let trust = match how.untrusted.contains(name) {
            true => "untrusted",
            false => "trusted",
        };
        let _ = write!(
            text,
            "[[trunk]]\nname = \"{name}\"\nkind = \"{kind}\"\naddress = \"udp:{address}\"\n\
             trust = \"{trust}\"\n"
        );
    }
    for (at, user) in USERS.iter().enumerate() {
        let mode = match RECORDED.contains(user) {
            true => "always-pause-resume",
            false => "never",
        };
        let own = how.recorded.iter().find(|(name, _)| name == user);
        let recorded = match own {
            Some((_, lines)) => lines.clone(),
            None => format!("mode = \"{mode}\"\nvoicemail = \"recorded\"\n"),
        };
        let place = match how.registering.contains(user) {
            true => "password = \"geheim\"".to_owned(),
            false => format!("contact = \"udp:{}\"", sip_of(at)),
        };
        let _ = write!(
            text,
            "[[user]]\nname = \"{user}\"\nnumbers = [\"{}\"]\n{place}\n{recorded}{}",
            number(user),
            how.user_lines
        );
    }
    for (name, kind) in PHONELESS {
        let Some((_, lines)) = how.phoneless.iter().find(|(own, _)| *own == name) else {
            continue;
        };
        let _ = write!(
            text,
            "[[user]]\nname = \"{name}\"\nnumbers = [\"{}\"]\nkind = \"{kind}\"\n{lines}",
            number(name)
        );
    }
    text
}
