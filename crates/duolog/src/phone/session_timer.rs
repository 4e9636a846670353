//! Session timers of a phone (RFC 4028), as kinds of phones do them.

use std::time::{Duration, Instant};

use duolog_sip::{ClientKey, Refresher, Request, Response, SessionExpires};

use super::change::Doing;
use super::ua::{Call, Purpose, Steps, UserAgent};
use super::{By, Failure, PhoneEvent, SessionTimer};

/// What is due at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Refresh,
    HangUp,
}

/// Who refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ours,
    Theirs,
}

/// The session timer of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) at: Instant,
    job: Job,
    part: Part,
    expires_s: u32,
}

impl Clock {
    fn new(now: Instant, part: Part, expires_s: u32) -> Self {
        let (job, wait_s) = match part {
            Part::Ours => (Job::Refresh, expires_s / 2),
            Part::Theirs => (Job::HangUp, given_up_after_s(expires_s)),
        };
        Self {
            at: now + Duration::from_secs(u64::from(wait_s)),
            job,
            part,
            expires_s,
        }
    }
}

/// RFC 4028 §10: 32 s or a third before the end, whichever is less.
fn given_up_after_s(expires_s: u32) -> u32 {
    expires_s - (expires_s / 3).min(32)
}

impl UserAgent {
    pub(super) fn knows_timers(&self) -> bool {
        self.settings.ways.session_timer != SessionTimer::Unknown
    }

    fn wanted_s(&self) -> Option<u32> {
        match self.settings.ways.session_timer {
            SessionTimer::Unknown => None,
            SessionTimer::Faithful { expires_s } | SessionTimer::Forgetful { expires_s } => {
                Some(expires_s.max(self.changing.min_se.unwrap_or(0)))
            }
        }
    }

    /// What an INVITE asks for.
    pub(super) fn ask_for_timer(&self, request: &mut Request) {
        if let Some(s) = self.wanted_s() {
            let refresher = Some(Refresher::Uac);
            let value = SessionExpires { s, refresher }.to_string();
            request.headers.set("Session-Expires", value);
            if let Some(least) = self.changing.min_se {
                request.headers.set("Min-SE", least.to_string());
            }
        }
    }

    /// What a refresh says.
    pub(super) fn timer_in_refresh(&self, request: &mut Request) {
        let clock = match &self.call {
            Call::Talking(talk) => talk.clock,
            _ => return,
        };
        let Some(clock) = clock else {
            return self.ask_for_timer(request);
        };
        let refresher = match clock.part {
            Part::Ours => Refresher::Uac,
            Part::Theirs => Refresher::Uas,
        };
        let value = SessionExpires {
            s: clock.expires_s.max(self.changing.min_se.unwrap_or(0)),
            refresher: Some(refresher),
        };
        request.headers.set("Session-Expires", value.to_string());
    }

    /// A 2xx to a request of ours that sets the timer anew.
    pub(super) fn timer_agreed_as_uac(&mut self, response: &Response, steps: &mut Steps<'_>) {
        let before = match &self.call {
            Call::Talking(talk) => talk.clock,
            _ => None,
        };
        let agreed = match response.session_expires() {
            _ if !self.knows_timers() => None,
            Some(agreed) if agreed.refresher == Some(Refresher::Uas) => {
                Some((Part::Theirs, agreed.s))
            }
            Some(agreed) => Some((Part::Ours, agreed.s)),
            // Who does not know them can be refreshed all the same.
            None => before.map(|clock| (clock.part, clock.expires_s)),
        };
        let clock = agreed.and_then(|(part, s)| self.clock(steps.now, part, s));
        self.set_clock(clock);
    }

    /// What a 2xx of ours agrees to, and the timer that follows.
    pub(super) fn timer_agreed_as_uas(
        &self,
        request: &Request,
        response: &mut Response,
        now: Instant,
    ) -> Option<Clock> {
        let wanted = self.wanted_s()?;
        let asked = request.session_expires();
        let s = asked.map_or(wanted, |asked| asked.s);
        let refresher = asked.and_then(|asked| asked.refresher);
        let refresher = refresher.unwrap_or(Refresher::Uas);
        let value = SessionExpires {
            s,
            refresher: Some(refresher),
        };
        response.headers.push("Session-Expires", value.to_string());
        if request.tags("Supported").any(|tag| tag == "timer") {
            response.headers.push("Require", "timer");
        }
        let part = match refresher {
            Refresher::Uas => Part::Ours,
            Refresher::Uac => Part::Theirs,
        };
        self.clock(now, part, s)
    }

    /// Who never refreshes does not look at the time either.
    fn clock(&self, now: Instant, part: Part, expires_s: u32) -> Option<Clock> {
        let faithful = matches!(
            self.settings.ways.session_timer,
            SessionTimer::Faithful { .. }
        );
        faithful.then(|| Clock::new(now, part, expires_s))
    }

    pub(super) fn set_clock(&mut self, clock: Option<Clock>) {
        if let Some(talk) = self.talk() {
            talk.clock = clock;
        }
    }

    pub(super) fn clock_due(&mut self, steps: &mut Steps<'_>) {
        let under_way = self.changing.is_under_way();
        let Some(clock) = self.talk().and_then(|talk| talk.clock.as_mut()) else {
            return;
        };
        match clock.job {
            Job::HangUp => {
                steps.fail(Failure::SessionExpired);
                self.bye(steps);
            }
            // What is under way refreshes as well.
            Job::Refresh => {
                let expires_s = clock.expires_s;
                let rest_s = given_up_after_s(expires_s) - expires_s / 2;
                clock.job = Job::HangUp;
                clock.at += Duration::from_secs(u64::from(rest_s));
                if !under_way {
                    self.change(By::Update, Doing::Refresh, steps);
                }
            }
        }
    }

    /// 422 to the first INVITE: the same once more, with a longer interval (RFC 4028 §7.3).
    pub(super) fn invite_with_longer_timer(
        &mut self,
        key: ClientKey,
        response: &Response,
        steps: &mut Steps<'_>,
    ) {
        let least = response.min_se().filter(|_| self.changing.min_se.is_none());
        let sent = self.sent.remove(&key);
        let (Some(least), Some(sent), true) = (least, sent, self.knows_timers()) else {
            self.call = Call::Idle;
            steps.media.close(steps.now, steps.out);
            return steps.tell(PhoneEvent::Refused(response.status));
        };
        self.changing.min_se = Some(least);
        let mut request = sent.request;
        let cseq = request.cseq().map_or(1, |cseq| cseq.number) + 1;
        request.headers.set("CSeq", format!("{cseq} INVITE"));
        self.ask_for_timer(&mut request);
        self.send(Purpose::Invite, sent.flow, request, steps);
    }
}
