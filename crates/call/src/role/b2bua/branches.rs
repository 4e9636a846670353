//! One INVITE to several places: waves of parallel branches, each a client transaction of its own; the
//! first 2xx wins, the best refusal is what is left when none comes (RFC 3261 §16.6, §16.7).

use duolog_sip::endpoint::{ClientFailure, ClientKey};
use duolog_sip::{CSeq, Dialog, Flow, Method, NameAddr, Request, Response};

use crate::media::CallId;
use crate::role::b2bua::KEY_BITS;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::contact;
use crate::target::{Reached, Target, Waves};

/// Early dialogs of one branch that are known: one for each fork behind it.
const FORKS: usize = 32;

/// Where the numbers of a call's requests come from.
pub(crate) struct Keys {
    call: CallId,
    last: u32,
}

impl Keys {
    pub(crate) fn new(call: CallId) -> Self {
        Self { call, last: 0 }
    }

    /// So many numbers that none is in use when it comes again.
    pub(crate) fn next(&mut self) -> ClientKey {
        self.last = self.last.wrapping_add(1) & ((1 << KEY_BITS) - 1);
        ClientKey((self.call.0 << KEY_BITS) | u64::from(self.last))
    }
}

/// An INVITE that is on its way to one or more places.
pub(super) struct Branches {
    /// The INVITE but for what differs from place to place.
    base: Request,
    waves: Waves,
    running: Vec<Branch>,
    best: Option<Failing>,
    /// What was heard so far.
    onward: Onward,
}

/// One place that is asked.
pub(super) struct Branch {
    pub(super) key: ClientKey,
    pub(super) flow: Flow,
    /// The INVITE as it went there.
    pub(super) sent: Box<Request>,
    /// Dialogs that provisional answers made, beside that of the leg.
    pub(super) early: Vec<Dialog>,
    heard: Heard,
}

/// Whether a branch has answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

/// Whether places of the next wave may be asked when those of this one have failed (RFC 3263 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onward {
    Yes,
    /// The callee itself has spoken.
    No,
}

/// A refusal, or that none came.
#[derive(Debug, Clone)]
pub(super) enum Failing {
    Refused(Box<Response>),
    Silent(ClientFailure),
}

/// What an answer means for the whole.
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// A provisional answer above 100.
    Rings,
    /// A 2xx: this branch has won; the others are in [`Branches::abandon`].
    Answered(Box<Branch>),
    /// A branch has ended: see [`Branches::verdict`].
    Failed,
}

/// Where the whole stands after a branch has failed.
pub(super) enum Verdict {
    /// Others are still being asked.
    Wait,
    /// The next wave is to be asked.
    Next,
    /// Nobody else is to be asked.
    Over(Failing),
}

impl Branches {
    /// Nobody is asked yet.
    pub(super) fn new(base: Request, waves: Waves) -> Self {
        Self {
            base,
            waves,
            running: Vec::new(),
            best: None,
            onward: Onward::Yes,
        }
    }

    /// Asks the places of the next wave.
    pub(super) fn next_wave(&mut self, cx: &mut Context<'_>, keys: &mut Keys) {
        for target in self.waves.pop_front().unwrap_or_default() {
            let branch = Branch {
                key: keys.next(),
                flow: target.flow,
                sent: Box::new(request(cx, &self.base, target)),
                early: Vec::new(),
                heard: Heard::Nothing,
            };
            let request = (*branch.sent).clone();
            cx.act(Action::Request(branch.key, branch.flow, request));
            self.running.push(branch);
        }
    }

    /// The branch of a request of ours.
    pub(super) fn branch(&mut self, key: ClientKey) -> Option<&mut Branch> {
        self.running.iter_mut().find(|branch| branch.key == key)
    }

    /// The early dialog with this To tag, where it is not that of the leg, and the way to it.
    pub(super) fn fork(&mut self, tag: &str) -> Option<(&mut Dialog, Flow)> {
        self.running.iter_mut().find_map(|branch| {
            let flow = branch.flow;
            let dialog = branch.early.iter_mut().find(|d| d.id().remote_tag == tag)?;
            Some((dialog, flow))
        })
    }

    /// An answer; `None` where it is to another request.
    pub(super) fn response(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) -> Option<Step> {
        let at = self.running.iter().position(|branch| branch.key == key)?;
        let branch = &mut self.running[at];
        let code = response.status.code();
        let first = std::mem::replace(&mut branch.heard, Heard::Something) == Heard::Nothing;
        let reached = match code {
            503 => Some(Reached::Unavailable(response.retry_after())),
            _ => first.then_some(Reached::Answered),
        };
        if let Some(reached) = reached {
            cx.act(Action::Outcome(branch.flow, reached));
        }
        if response.status.is_success() {
            return Some(Step::Answered(Box::new(self.running.swap_remove(at))));
        }
        if !response.status.is_final() {
            return Some(match code {
                100 => Step::Nothing,
                _ => Step::Rings,
            });
        }
        self.running.swap_remove(at);
        let elsewhere = code == 503 || (code == 408 && first);
        if !elsewhere {
            self.onward = Onward::No;
        }
        self.fail(Failing::Refused(Box::new(response.clone())));
        Some(Step::Failed)
    }

    /// No answer comes from a place.
    pub(super) fn failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) -> Option<Step> {
        let at = self.running.iter().position(|branch| branch.key == key)?;
        let branch = self.running.swap_remove(at);
        cx.act(Action::Outcome(branch.flow, Reached::Silent));
        if why == ClientFailure::Timeout && branch.heard == Heard::Something {
            self.onward = Onward::No;
        }
        self.fail(Failing::Silent(why));
        Some(Step::Failed)
    }

    fn fail(&mut self, failing: Failing) {
        if self
            .best
            .as_ref()
            .is_none_or(|best| failing.rank() < best.rank())
        {
            self.best = Some(failing);
        }
    }

    /// What comes next, now that a branch has failed.
    pub(super) fn verdict(&mut self) -> Verdict {
        // A 6xx speaks for all (RFC 3261 §21.6).
        let global = self.best.as_ref().is_some_and(|best| best.rank() == GLOBAL);
        if !global && !self.running.is_empty() {
            return Verdict::Wait;
        }
        if !global && self.onward == Onward::Yes && !self.waves.is_empty() {
            return Verdict::Next;
        }
        let best = self.best.take();
        Verdict::Over(best.unwrap_or(Failing::Silent(ClientFailure::Timeout)))
    }

    /// Nobody is to be asked any more: the branches that still ran are cancelled and given back, for a
    /// 2xx of theirs may be on its way.
    pub(super) fn abandon(self, cx: &mut Context<'_>) -> Vec<Branch> {
        for branch in &self.running {
            cx.act(Action::Cancel(branch.key));
        }
        self.running
    }

    /// A place asked for a digest, and `answered` has it: it is asked again.
    pub(super) fn challenged(
        &mut self,
        cx: &mut Context<'_>,
        keys: &mut Keys,
        (key, mut answered): (ClientKey, Request),
    ) -> bool {
        let Some(branch) = self.branch(key) else {
            return false;
        };
        let number = branch.sent.cseq().map_or(1, |cseq| cseq.number) + 1;
        let method = Method::Invite;
        answered
            .headers
            .set("CSeq", CSeq { number, method }.to_string());
        branch.key = keys.next();
        branch.heard = Heard::Something;
        *branch.sent = answered.clone();
        // What the refused one said before is nothing any more.
        branch.early.clear();
        cx.act(Action::Request(branch.key, branch.flow, answered));
        true
    }
}

impl Branch {
    /// The dialog of this answer, where it is not that of the leg (RFC 3261 §12.1.2).
    pub(super) fn early(&mut self, response: &Response) -> Option<&mut Dialog> {
        let tag = response.to_addr().ok()?.tag()?.to_owned();
        let known = self.early.iter();
        let at = known.clone().position(|d| d.id().remote_tag == tag);
        if let Some(at) = at {
            self.early[at].confirm(response);
            return self.early.get_mut(at);
        }
        if self.early.len() >= FORKS {
            return None;
        }
        let dialog = Dialog::uac(&self.sent, response, self.flow).ok()?;
        self.early.push(dialog);
        self.early.last_mut()
    }

    /// The dialog that a 2xx confirms.
    pub(super) fn confirmed(&mut self, response: &Response) -> Option<Dialog> {
        let tag = response.to_addr().ok()?.tag()?.to_owned();
        let at = self.early.iter().position(|d| d.id().remote_tag == tag);
        match at {
            Some(at) => {
                let mut dialog = self.early.swap_remove(at);
                dialog.confirm(response);
                Some(dialog)
            }
            None => Dialog::uac(&self.sent, response, self.flow).ok(),
        }
    }
}

const GLOBAL: u16 = 0;

impl Failing {
    /// The lowest is told to the caller (RFC 3261 §16.7 step 6): a 6xx, else the lowest class, and in
    /// it what lets the caller do better; of two alike the first.
    fn rank(&self) -> u16 {
        let code = match self {
            Self::Refused(response) => response.status.code(),
            Self::Silent(ClientFailure::Timeout) => return 409,
            Self::Silent(ClientFailure::Transport) => return 599,
        };
        match code {
            600.. => GLOBAL,
            503 => 598,
            401 | 407 | 415 | 420 | 484 => 400,
            400..500 => 408,
            _ => code / 100 * 100,
        }
    }

    /// Whether it says that the callee cannot talk now, or is not to be found: then a message may be
    /// left. Other answers are about the caller or the request, and the caller is to hear them.
    pub(super) fn lets_leave_a_message(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            Self::Refused(response) => matches!(
                response.status.code(),
                // A redirection that led nowhere, unknown there, no answer, gone, unavailable, busy;
                // the phone or the way to it fails; busy everywhere, declined, nowhere to be found.
                300..400 | 404 | 408 | 410 | 480 | 486 | 500..600 | 600 | 603 | 604
            ),
        }
    }

    /// The status as a transfer's notice tells it.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Refused(response) => response.status.code(),
            Self::Silent(ClientFailure::Timeout) => 408,
            Self::Silent(ClientFailure::Transport) => 503,
        }
    }

    /// Where a 3xx points to, best first (RFC 3261 §8.1.3.4).
    pub(super) fn contacts(&self) -> Vec<NameAddr> {
        let Self::Refused(response) = self else {
            return Vec::new();
        };
        if !(300..400).contains(&response.status.code()) {
            return Vec::new();
        }
        let values = response.headers.values("Contact");
        let contacts = values.filter_map(|contact| contact.parse::<NameAddr>().ok());
        let mut contacts: Vec<NameAddr> = contacts.collect();
        let q = |contact: &NameAddr| {
            let q = contact
                .params
                .value("q")
                .and_then(|q| q.parse::<f32>().ok());
            (q.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u16
        };
        contacts.sort_by_key(|contact| std::cmp::Reverse(q(contact)));
        contacts
    }
}

fn request(cx: &Context<'_>, base: &Request, target: Target) -> Request {
    let mut request = base.clone();
    request.uri = target.uri;
    for route in &target.routes {
        request.headers.push("Route", route.to_string());
    }
    let contact = contact(cx.settings, &target.flow);
    request.headers.set("Contact", contact);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;
    use crate::role::b2bua::keys::KeySource;
    use crate::testing::settings;
    use duolog_sip::{StatusCode, Tokens, Transport};
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Asks the waves, whose places are digits, and lets each answer as told: `1=503` a status, `1=t`
    /// and `1=f` time-out and failed transport, `1~180` a provisional answer before. Returns who was
    /// asked, wave by wave, and how it ended.
    fn check(waves: &str, answers: &str, expected: &str) {
        let settings = settings();
        let mut tokens = Tokens::new([1; 32]);
        let mut keys = KeySource::new([2; 32]);
        let mut ids = Ids::new(settings.epoch, ChaCha12Rng::from_seed([3; 32]));
        let (now, settings) = (settings.epoch.at, &settings);
        let mut cx = Context::new(now, settings, &mut tokens, &mut keys, &mut ids);
        let flow = |place: char| Flow {
            transport: Transport::Udp,
            local: "192.0.2.99:5060".parse().unwrap(),
            peer: format!("192.0.2.{place}:5060").parse().unwrap(),
        };
        let target = |place| Target {
            uri: format!("sip:x@h{place}").parse().unwrap(),
            flow: flow(place),
            routes: Vec::new(),
        };
        let all = waves
            .split(' ')
            .map(|wave| wave.chars().map(target).collect());
        let mut base = Request::new(Method::Invite, "sip:x@y".parse().unwrap());
        for (name, value) in [
            ("From", "<sip:a@b>;tag=1"),
            ("To", "<sip:x@y>"),
            ("Call-ID", "c"),
            ("CSeq", "1 INVITE"),
        ] {
            base.headers.push(name, value);
        }
        let mut branches = Branches::new(base, all.collect());
        let mut numbers = Keys::new(CallId(7));
        let mut log: Vec<String> = Vec::new();
        let asked = |branches: &Branches| {
            let places = branches.running.iter();
            let places = places.map(|b| b.flow.peer.ip().to_string().pop().unwrap());
            format!("[{}]", places.collect::<String>())
        };
        branches.next_wave(&mut cx, &mut numbers);
        log.push(asked(&branches));
        for answer in answers.split(' ') {
            let place = answer.chars().next().unwrap();
            let of = branches.running.iter().find(|b| b.flow == flow(place));
            let Some((key, sent)) = of.map(|b| (b.key, b.sent.clone())) else {
                log.push(format!("{place} gone"));
                continue;
            };
            let step = match &answer[2..] {
                "t" => branches.failed(&mut cx, key, ClientFailure::Timeout),
                "f" => branches.failed(&mut cx, key, ClientFailure::Transport),
                code => {
                    let code = StatusCode::new(code.parse().unwrap()).unwrap();
                    branches.response(&mut cx, key, &Response::to(&sent, code))
                }
            };
            match step.unwrap() {
                Step::Nothing => {}
                Step::Rings => log.push(format!("{place} rings")),
                Step::Answered(_) => log.push(format!("{place} wins")),
                Step::Failed => match branches.verdict() {
                    Verdict::Wait => {}
                    Verdict::Next => {
                        branches.next_wave(&mut cx, &mut numbers);
                        log.push(asked(&branches));
                    }
                    Verdict::Over(failing) => log.push(failing.code().to_string()),
                },
            }
        }
        assert_eq!(log.join(" "), expected, "{waves}: {answers}");
    }

    #[test]
    fn places_are_asked_in_turn_until_the_callee_has_spoken() {
        check("1", "1~180 1=200", "[1] 1 rings 1 wins");
        check("1 2", "1=503 2=200", "[1] [2] 2 wins");
        check("1 2", "1=t 2=200", "[1] [2] 2 wins");
        check("1 2", "1=f 2=f", "[1] [2] 503");
        check("1 2 3", "1=503 2=t 3=486", "[1] [2] [3] 486");
        // 408 says that nobody was found only where nothing was heard before it.
        check("1 2", "1=408 2=200", "[1] [2] 2 wins");
        check("1 2", "1~180 1=408", "[1] 1 rings 408");
        check("1 2", "1~100 1=t", "[1] 408");
        check("1 2", "1~180 1=503 2=200", "[1] 1 rings [2] 2 wins");
        for code in [302, 401, 404, 480, 486, 487, 488, 500, 600, 603] {
            check("1 2", &format!("1={code}"), &format!("[1] {code}"));
        }
    }

    #[test]
    fn a_wave_is_asked_at_once_and_the_best_refusal_counts() {
        check("12", "1~180 2~180 2=200", "[12] 1 rings 2 rings 2 wins");
        check("12", "1=486 2=404", "[12] 486");
        check("12", "1=500 2=486", "[12] 486");
        check("12", "1=404 2=302", "[12] 302");
        check("12", "1=t 2=480", "[12] 480");
        check("12", "1=f 2=503", "[12] 503");
        check("12 3", "1=503 2=503 3=200", "[12] [3] 3 wins");
        check("12 3", "1=503 2=486", "[12] 486");
        check("123", "1=603", "[123] 603");
        check("12", "1=480 2=407", "[12] 407");
    }
}
