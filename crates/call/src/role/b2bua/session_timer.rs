//! The session timer of one leg (RFC 4028): how long the session lives without a refresh, who sends
//! the refresh, and when silence means that the party is gone. Each leg has one of its own.
//!
//! ```text
//!  2xx             refresh by us              over
//!   ├─────────────────┼──────────────────────────┼─────────────────┤
//!   0            interval/2      interval - min(32 s, interval/3)  interval
//! ```

use std::time::{Duration, Instant};

use duolog_sip::{Headers, Refresher, Request, Response, SessionExpires};

use crate::settings;

/// The least interval, and what counts where no Min-SE is given (RFC 4028 §5).
const LEAST_S: u32 = 90;

/// How long before its expiration a session is ended, at most (RFC 4028 §10).
const BEFORE_S: u32 = 32;

/// The session timer of one leg.
#[derive(Debug, Default)]
pub(crate) struct SessionTimer {
    running: Option<Running>,
    /// The largest Min-SE heard in this dialog; 0 where none was (RFC 4028 §7.4).
    floor_s: u32,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    interval_s: u32,
    by: By,
    /// The last 2xx.
    since: Instant,
    /// When a refresh of ours is due; `None` where none is, or one is on its way.
    refresh: Option<Instant>,
}

/// Who refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Us,
    Peer,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A refresh of ours.
    Refresh,
    /// The session is over: no refresh came or was answered.
    Expired,
}

/// An interval below ours: 422 with this Min-SE, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSmall(pub(crate) u32);

/// Whether a request that got 422 may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// With what [`SessionTimer::ask`] says now.
    Yes,
    /// It would be refused for the same reason.
    No,
}

impl SessionTimer {
    /// What an INVITE or UPDATE of ours asks for (RFC 4028 §7.1, §7.4).
    pub(crate) fn ask(&self, wanted: settings::SessionTimer, headers: &mut Headers) {
        let least = self.floor_s.max(wanted.min_s).max(LEAST_S);
        let asked = match self.running {
            None => SessionExpires {
                s: wanted.expires_s.max(least),
                refresher: None,
            },
            Some(running) => SessionExpires {
                s: running.interval_s.max(least),
                // The role stays where it is.
                refresher: Some(match running.by {
                    By::Us => Refresher::Uac,
                    By::Peer => Refresher::Uas,
                }),
            },
        };
        headers.set("Session-Expires", asked.to_string());
        headers.remove("Min-SE");
        if self.floor_s > 0 || least > LEAST_S {
            headers.push("Min-SE", least.to_string());
        }
    }

    /// A 2xx to a request with [`SessionTimer::ask`] in it (RFC 4028 §7.2): without Session-Expires
    /// there is no timer.
    pub(crate) fn answered(&mut self, now: Instant, response: &Response) {
        let granted = response.session_expires();
        self.running = granted.map(|granted| {
            let by = match granted.refresher {
                Some(Refresher::Uas) => By::Peer,
                Some(Refresher::Uac) | None => By::Us,
            };
            Running::new(now, granted.s, by)
        });
    }

    /// A 422 to a request with [`SessionTimer::ask`] in it (RFC 4028 §7.3).
    pub(crate) fn refused(&mut self, response: &Response) -> Again {
        match response.min_se() {
            Some(least) if least > self.floor_s => {
                self.floor_s = least;
                Again::Yes
            }
            _ => Again::No,
        }
    }

    /// An INVITE or UPDATE of the party, before anything is done about it: whether its interval can
    /// be had (RFC 4028 §9). One who does not know the extension is not refused.
    pub(crate) fn asked(
        &mut self,
        wanted: settings::SessionTimer,
        request: &Request,
    ) -> Result<(), TooSmall> {
        self.floor_s = self.floor_s.max(request.min_se().unwrap_or(0));
        let least = wanted.min_s.max(LEAST_S);
        let too_small = request.session_expires().is_some_and(|se| se.s < least);
        match too_small && knows_timer(request) {
            true => Err(TooSmall(least)),
            false => Ok(()),
        }
    }

    /// The 2xx to such a request goes out: what it says about the timer, which starts anew
    /// (RFC 4028 §9, table 2).
    pub(crate) fn grant(
        &mut self,
        now: Instant,
        wanted: settings::SessionTimer,
        request: &Request,
        response: &mut Response,
    ) {
        let knows = knows_timer(request);
        let asked = request.session_expires();
        let least = request.min_se().unwrap_or(0).max(LEAST_S);
        let ours = wanted.expires_s.max(wanted.min_s).max(least);
        let interval_s = match asked {
            // What is below the least, of one who cannot be told so, counts as nothing.
            Some(asked) if asked.s < LEAST_S => None,
            Some(asked) => Some(asked.s.min(ours)),
            None => knows.then_some(ours),
        };
        let by = match asked.and_then(|asked| asked.refresher).filter(|_| knows) {
            Some(Refresher::Uac) => By::Peer,
            Some(Refresher::Uas) => By::Us,
            None => match self.running {
                Some(running) if knows => running.by,
                _ => By::Us,
            },
        };
        self.running = interval_s.map(|interval_s| Running::new(now, interval_s, by));
        let headers = &mut response.headers;
        headers.remove("Session-Expires");
        let Some(s) = interval_s else { return };
        let refresher = Some(match by {
            By::Us => Refresher::Uas,
            By::Peer => Refresher::Uac,
        });
        headers.push(
            "Session-Expires",
            SessionExpires { s, refresher }.to_string(),
        );
        if knows {
            headers.push("Require", "timer");
        }
    }

    /// A refresh of ours got neither a 2xx nor an answer that ends the dialog: another one halfway to
    /// the end (RFC 4028 §10: the session expires when it would have).
    pub(crate) fn not_refreshed(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            let left = running.over().saturating_duration_since(now);
            let worth_it = left > Duration::from_secs(u64::from(BEFORE_S));
            running.refresh = worth_it.then(|| now + left / 2);
        }
    }

    /// When [`SessionTimer::due`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let running = self.running?;
        let over = running.over();
        Some(running.refresh.map_or(over, |at| at.min(over)))
    }

    /// What is due now; each once.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        let running = self.running.as_mut()?;
        if running.over() <= now {
            self.running = None;
            return Some(Due::Expired);
        }
        running.refresh.take_if(|at| *at <= now)?;
        Some(Due::Refresh)
    }
}

/// What the first INVITE of a call is to be told where its interval is too small: the least one, in
/// seconds (RFC 4028 §9).
pub(crate) fn shortest_session(wanted: settings::SessionTimer, invite: &Request) -> Option<u32> {
    let refused = SessionTimer::default().asked(wanted, invite);
    refused.err().map(|TooSmall(least_s)| least_s)
}

impl Running {
    fn new(now: Instant, interval_s: u32, by: By) -> Self {
        let half = Duration::from_secs(u64::from(interval_s)) / 2;
        Self {
            interval_s,
            by,
            since: now,
            refresh: (by == By::Us).then(|| now + half),
        }
    }

    /// When the session is given up: slightly before it expires.
    fn over(&self) -> Instant {
        let before = BEFORE_S.min(self.interval_s / 3);
        self.since + Duration::from_secs(u64::from(self.interval_s - before))
    }
}

fn knows_timer(request: &Request) -> bool {
    ["Supported", "Require"].iter().any(|name| {
        request
            .tags(name)
            .any(|tag| tag.eq_ignore_ascii_case("timer"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_sip::{Method, StatusCode};

    const WANTED: settings::SessionTimer = settings::SessionTimer {
        expires_s: 1800,
        min_s: 120,
    };

    #[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
    fn start() -> Instant {
        Instant::now()
    }

    fn request(fields: &str) -> Request {
        let mut request = Request::new(Method::Update, "sip:a@b".parse().unwrap());
        for (name, value) in fields.split('|').filter_map(|field| field.split_once(':')) {
            request.headers.push(name.trim(), value.trim());
        }
        request
    }

    fn response(code: u16, fields: &str) -> Response {
        let mut response = Response::to(&request(""), StatusCode::new(code).unwrap());
        for (name, value) in fields.split('|').filter_map(|field| field.split_once(':')) {
            response.headers.push(name.trim(), value.trim());
        }
        response
    }

    fn shown(headers: &Headers) -> String {
        ["Session-Expires", "Min-SE", "Require"]
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", headers.value(name)?)))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    /// What is due, at which second.
    fn run(timer: &mut SessionTimer, from: Instant) -> String {
        let mut words = Vec::new();
        while let Some(at) = timer.deadline() {
            let due = timer.due(at).map(|due| format!("{due:?}"));
            words.push(format!(
                "{} {}",
                due.unwrap_or_default(),
                (at - from).as_secs()
            ));
        }
        words.join(", ")
    }

    fn check(asked: &str, granted: &str, then: &str) {
        let (now, mut timer) = (start(), SessionTimer::default());
        let mut reply = response(200, "");
        timer.grant(now, WANTED, &request(asked), &mut reply);
        assert_eq!(shown(&reply.headers), granted, "{asked}");
        assert_eq!(run(&mut timer, now), then, "{asked}");
    }

    #[test]
    fn as_uas_the_refresher_follows_table_2() {
        for (asked, granted, then) in [
            // No timer in the request, and none known.
            ("", "", ""),
            // Known, not asked for: we ask for it, and refresh.
            (
                "Supported: timer",
                "Session-Expires: 1800;refresher=uas | Require: timer",
                "Refresh 900, Expired 1768",
            ),
            // Row 1: not known, asked for by a proxy.
            (
                "Session-Expires: 600",
                "Session-Expires: 600;refresher=uas",
                "Refresh 300, Expired 568",
            ),
            // Rows 2 and 3 should not happen; we refresh.
            (
                "Session-Expires: 600;refresher=uac",
                "Session-Expires: 600;refresher=uas",
                "Refresh 300, Expired 568",
            ),
            // Row 4.
            (
                "Supported: 100rel, timer | Session-Expires: 600",
                "Session-Expires: 600;refresher=uas | Require: timer",
                "Refresh 300, Expired 568",
            ),
            // Row 5: the party refreshes.
            (
                "k: timer | x: 600;refresher=uac",
                "Session-Expires: 600;refresher=uac | Require: timer",
                "Expired 568",
            ),
            // Row 6.
            (
                "Supported: timer | Session-Expires: 600;refresher=uas",
                "Session-Expires: 600;refresher=uas | Require: timer",
                "Refresh 300, Expired 568",
            ),
        ] {
            check(asked, granted, then);
        }
    }

    #[test]
    fn as_uas_the_interval_is_ours_or_shorter() {
        for (asked, granted, then) in [
            // Reduced to ours, but not below the Min-SE of the request.
            (
                "Supported: timer | Session-Expires: 7200",
                "Session-Expires: 1800;refresher=uas | Require: timer",
                "Refresh 900, Expired 1768",
            ),
            (
                "Supported: timer | Session-Expires: 7200 | Min-SE: 3600",
                "Session-Expires: 3600;refresher=uas | Require: timer",
                "Refresh 1800, Expired 3568",
            ),
            (
                "Supported: timer | Min-SE: 3600",
                "Session-Expires: 3600;refresher=uas | Require: timer",
                "Refresh 1800, Expired 3568",
            ),
            // A third of a short interval, and less than any interval may be.
            (
                "Session-Expires: 93",
                "Session-Expires: 93;refresher=uas",
                "Refresh 46, Expired 62",
            ),
            ("Session-Expires: 60", "", ""),
            ("Session-Expires: x", "", ""),
        ] {
            check(asked, granted, then);
        }
    }

    #[test]
    fn small_intervals_are_422_for_those_who_know_it() {
        for (asked, answer) in [
            (
                "Supported: timer | Session-Expires: 119",
                Err(TooSmall(120)),
            ),
            ("Require: timer | Session-Expires: 90", Err(TooSmall(120))),
            ("Supported: timer | Session-Expires: 120", Ok(())),
            ("Supported: timer", Ok(())),
            ("Session-Expires: 90", Ok(())),
            ("", Ok(())),
        ] {
            let mut timer = SessionTimer::default();
            assert_eq!(timer.asked(WANTED, &request(asked)), answer, "{asked}");
        }
    }

    #[test]
    fn as_uac_the_peer_decides_who_refreshes() {
        let (now, mut timer) = (start(), SessionTimer::default());
        let mut first = Headers::new();
        timer.ask(WANTED, &mut first);
        assert_eq!(shown(&first), "Session-Expires: 1800 | Min-SE: 120");
        for (granted, again, then) in [
            ("", "Session-Expires: 1800 | Min-SE: 120", ""),
            (
                "Session-Expires: 1800;refresher=uac",
                "Session-Expires: 1800;refresher=uac | Min-SE: 120",
                "Refresh 900, Expired 1768",
            ),
            (
                "Session-Expires: 300;refresher=uas",
                "Session-Expires: 300;refresher=uas | Min-SE: 120",
                "Expired 268",
            ),
            (
                "Session-Expires: 300",
                "Session-Expires: 300;refresher=uac | Min-SE: 120",
                "Refresh 150, Expired 268",
            ),
        ] {
            timer.answered(now, &response(200, granted));
            let mut next = Headers::new();
            timer.ask(WANTED, &mut next);
            assert_eq!(shown(&next), again, "{granted}");
            assert_eq!(run(&mut timer, now), then, "{granted}");
        }
    }

    #[test]
    fn a_422_raises_what_is_asked_for_once() {
        let mut timer = SessionTimer::default();
        assert_eq!(timer.refused(&response(422, "")), Again::No);
        assert_eq!(timer.refused(&response(422, "Min-SE: 3600")), Again::Yes);
        let mut next = Headers::new();
        timer.ask(WANTED, &mut next);
        assert_eq!(shown(&next), "Session-Expires: 3600 | Min-SE: 3600");
        assert_eq!(timer.refused(&response(422, "Min-SE: 3600")), Again::No);
        assert_eq!(timer.refused(&response(422, "Min-SE: 90")), Again::No);
        // The largest that was heard counts, also from requests of the party.
        timer.asked(WANTED, &request("Min-SE: 4000")).unwrap();
        timer.asked(WANTED, &request("Min-SE: 100")).unwrap();
        timer.ask(WANTED, &mut next);
        assert_eq!(shown(&next), "Session-Expires: 4000 | Min-SE: 4000");
    }

    #[test]
    fn a_refused_refresh_is_tried_again_and_the_end_does_not_move() {
        let (now, mut timer) = (start(), SessionTimer::default());
        timer.answered(now, &response(200, "Session-Expires: 600;refresher=uac"));
        let at = |s| now + Duration::from_secs(s);
        assert_eq!(timer.due(at(299)), None);
        assert_eq!(timer.due(at(300)), Some(Due::Refresh));
        assert_eq!(timer.deadline(), Some(at(568)), "one at a time");
        timer.not_refreshed(at(310));
        assert_eq!(timer.deadline(), Some(at(439)));
        assert_eq!(timer.due(at(439)), Some(Due::Refresh));
        timer.not_refreshed(at(550));
        assert_eq!(timer.deadline(), Some(at(568)));
        // A refresh of the party, or one of ours that is answered, begins anew.
        timer.answered(
            at(560),
            &response(200, "Session-Expires: 600;refresher=uac"),
        );
        assert_eq!(timer.deadline(), Some(at(860)));
        assert_eq!(timer.due(at(2000)), Some(Due::Expired));
        assert_eq!((timer.deadline(), timer.due(at(9000))), (None, None));
    }
}
