//! Test phones on real sockets at a site: callers behind the trunk, callees at the user's contact.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duolog::phone::{
    Action, Answering, EarlyMedia, Keep, Look, PhoneEvent, PhoneNo, RealPhones, RealSettings,
    Speech, Voice,
};
use duolog_audio::codec::Codec;
use duolog_sip::{StatusCode, Transport};
use rand_chacha::ChaCha12Rng;

use super::site::{CALLEE_PORT, CALLER_PORT};
use super::{Site, seed};

/// The number the callers have, as others see it.
pub const CALLER_NUMBER: &str = "+31612345678";
/// Groups made so far: no two of them have a Call-ID in common.
static GROUPS: AtomicU64 = AtomicU64::new(0);

/// Longest wait for calls to be set up or to end.
const SET_UP: Duration = Duration::from_secs(15);

/// Callers and as many callees.
#[derive(Debug)]
pub struct Phones {
    callers: RealPhones,
    callees: RealPhones,
    site: String,
}

/// What all phones of a call did.
#[derive(Debug, Clone)]
pub struct Looks {
    /// The callers, by number.
    pub callers: Vec<Look>,
    /// The callees, by number. Which call a callee is in is not said by its number.
    pub callees: Vec<Look>,
}

impl Phones {
    /// Callers and callees with these voices, one each.
    ///
    /// # Panics
    /// When their sockets cannot be opened.
    pub fn new(site: &Site, callers: Vec<Voice>, callees: Vec<Voice>) -> Self {
        let callers = callers
            .into_iter()
            .map(|voice| (CALLER_NUMBER.to_owned(), voice))
            .collect();
        let callees = callees
            .into_iter()
            .map(|voice| ("100".to_owned(), voice))
            .collect();
        Self {
            callers: spawn(site, (site.caller(), CALLER_PORT), callers),
            callees: spawn(site, (site.callee(), CALLEE_PORT), callees),
            site: site.sip().to_string(),
        }
    }

    /// How many calls there may be.
    pub fn count(&self) -> usize {
        self.callers.count()
    }

    /// Lets a caller call user 100.
    ///
    /// # Panics
    /// When the phones are gone.
    pub fn call(&self, caller: usize) {
        let uri = format!("sip:100@{}", self.site).parse().expect("a SIP URI");
        self.caller(caller, Action::Call { uri });
    }

    /// Lets a caller do something.
    ///
    /// # Panics
    /// When the phones are gone.
    pub fn caller(&self, caller: usize, action: Action) {
        self.callers
            .act(PhoneNo(caller), action)
            .expect("the callers live");
    }

    /// Lets a callee do something.
    ///
    /// # Panics
    /// When the phones are gone.
    pub fn callee(&self, callee: usize, action: Action) {
        self.callees
            .act(PhoneNo(callee), action)
            .expect("the callees live");
    }

    /// Lets all callers call at once, and waits until all talk.
    ///
    /// # Panics
    /// When a call fails or takes longer than 15 s.
    pub fn all_talk(&self) {
        (0..self.count()).for_each(|caller| self.call(caller));
        each(&self.callers, PhoneEvent::Answered);
        each(&self.callees, PhoneEvent::Answered);
    }

    /// Waits until a caller's call is answered at both ends.
    ///
    /// # Panics
    /// When it fails or takes longer than 15 s.
    pub fn talks(&self, caller: usize) {
        let answered = |event| event == PhoneEvent::Answered;
        let told = self.callers.wait_for(PhoneNo(caller), SET_UP, answered);
        assert!(
            told.is_some(),
            "caller {caller} has no answer within {SET_UP:?}"
        );
    }

    /// Lets time pass in which every call goes on.
    ///
    /// # Panics
    /// When one does not.
    pub fn go_on_until(&self, until: Instant) {
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            if let Some(told) = self.callers.next_event(left) {
                let lively = matches!(told.event, PhoneEvent::Answered | PhoneEvent::Ringing);
                assert!(lively, "a call did not go on: {told:?}");
            }
        }
    }

    /// Lets all callers hang up, and waits until every call is over at both ends.
    ///
    /// # Panics
    /// When a call was over before or does not end.
    pub fn all_hang_up(&self) {
        (0..self.count()).for_each(|caller| self.caller(caller, Action::HangUp));
        self.all_end();
    }

    /// Waits until every call is over at both ends.
    ///
    /// # Panics
    /// When that takes longer than 15 s.
    pub fn all_end(&self) {
        for phones in [&self.callers, &self.callees] {
            let mut left: BTreeSet<PhoneNo> = (0..phones.count()).map(PhoneNo).collect();
            let until = Instant::now() + SET_UP;
            while !left.is_empty() {
                let wait = until.saturating_duration_since(Instant::now());
                let told = phones.next_event(wait);
                let told = told.unwrap_or_else(|| panic!("calls go on: {left:?}"));
                if matches!(told.event, PhoneEvent::Ended { .. }) {
                    left.remove(&told.phone);
                }
            }
        }
    }

    /// What all of them heard and sent so far.
    ///
    /// # Panics
    /// When the phones are gone.
    pub fn look(&self) -> Looks {
        let look = |phones: &RealPhones| {
            let all = (0..phones.count()).map(PhoneNo);
            all.map(|no| phones.look(no).expect("the phones live"))
                .collect()
        };
        Looks {
            callers: look(&self.callers),
            callees: look(&self.callees),
        }
    }
}

/// Phones at the user's contact, one for each voice.
///
/// # Panics
/// When their sockets cannot be opened.
pub fn callees(site: &Site, voices: Vec<Voice>) -> RealPhones {
    let phones = voices
        .into_iter()
        .map(|voice| ("100".to_owned(), voice))
        .collect();
    spawn(site, (site.callee(), CALLEE_PORT), phones)
}

/// A voice of random codes: every packet of it is unlike every other.
pub fn noise(random: &mut ChaCha12Rng, seconds: usize) -> Voice {
    let mulaw: std::sync::Arc<[u8]> = seed::bytes(random, seconds * 8_000).into();
    let speech = Speech {
        alaw: mulaw.clone(),
        mulaw,
    };
    Voice::Samples {
        speech,
        repeat: duolog::phone::Repeat::Once,
        from: 0,
    }
}

fn spawn(site: &Site, (ip, port): (IpAddr, u16), phones: Vec<(String, Voice)>) -> RealPhones {
    let settings = RealSettings {
        sip: (ip, port).into(),
        proxy: site.sip(),
        transport: Transport::Udp,
        media: ip,
        domain: ip.to_string(),
        phones,
        codecs: vec![Codec::Pcmu],
        ptime_ms: 20,
        answering: Answering {
            ring_ms: 50,
            early_media: EarlyMedia::No,
            code: StatusCode::OK,
        },
        keep: Keep::Packets,
        seed: u64::from(std::process::id()) << 32 | GROUPS.fetch_add(1, Ordering::Relaxed) << 10,
    };
    RealPhones::spawn(settings).expect("the phones' sockets can be opened")
}

/// Waits until each phone told `wanted` once.
fn each(phones: &RealPhones, wanted: PhoneEvent) {
    let until = Instant::now() + SET_UP;
    let mut left: BTreeSet<PhoneNo> = (0..phones.count()).map(PhoneNo).collect();
    while !left.is_empty() {
        let told = phones.next_event(until.saturating_duration_since(Instant::now()));
        let told = told.unwrap_or_else(|| panic!("no {wanted:?} within {SET_UP:?} from {left:?}"));
        match told.event {
            event if event == wanted => drop(left.remove(&told.phone)),
            PhoneEvent::Ringing => {}
            _ => panic!("{told:?} instead of {wanted:?}"),
        }
    }
}
