//! Keys in INFO: `application/dtmf-relay` (`Signal=` and `Duration=` lines) and `application/dtmf` (one
//! key). Those of an owner may be feature codes; what is none goes on to the other party, in the same
//! form where that one takes INFO. A phone may send the same keys with its media: `keypad` tells them apart.

use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::{Headers, Method, Request, Response, StatusCode};

use crate::fact::Side;
use crate::feature_code::Digit;
use crate::media::{LegId, MediaCommand};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::keypad::{Report, Way};
use crate::role::b2bua::leg::Stage;
use crate::role::b2bua::{Call, Phase};

/// The keys by their event (RFC 4733 §3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// How long a key was down where that is not said, in milliseconds, and for how long it may have been.
const DURATION_MS: u16 = 100;
const LONGEST_MS: u16 = 8_000;

/// How a party writes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// `application/dtmf-relay`.
    Relay,
    /// `application/dtmf`.
    Plain,
}

impl KeyForm {
    fn of(headers: &Headers) -> Option<Self> {
        let kind = headers.value("Content-Type")?.split(';').next()?.trim();
        [Self::Relay, Self::Plain]
            .into_iter()
            .find(|form| form.content_type().eq_ignore_ascii_case(kind))
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Relay => "application/dtmf-relay",
            Self::Plain => "application/dtmf",
        }
    }

    /// The key in a body; `None` where there is none that a telephone has.
    fn read(self, body: &[u8]) -> Option<Digit> {
        let text = std::str::from_utf8(body).ok()?;
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (field, value) = line.split_once('=')?;
                field
                    .trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim())
            })
        };
        let (signal, duration) = match self {
            Self::Relay => (field("Signal")?, field("Duration")),
            Self::Plain => (text.trim(), None),
        };
        let duration_ms = duration.and_then(|ms| ms.parse().ok());
        Some(Digit {
            event: event(signal)?,
            duration_ms: duration_ms.unwrap_or(DURATION_MS).min(LONGEST_MS),
        })
    }

    fn write(self, digit: Digit) -> Option<String> {
        let key = char::from(*KEYS.get(usize::from(digit.event))?);
        Some(match self {
            Self::Relay => format!("Signal={key}\r\nDuration={}\r\n", digit.duration_ms),
            Self::Plain => key.to_string(),
        })
    }
}

/// The key in an INFO that has one.
pub(crate) fn key_of(request: &Request) -> Option<(KeyForm, Digit)> {
    let form = KeyForm::of(&request.headers)?;
    Some((form, form.read(&request.body)?))
}

/// A key as written, or the number of its event where that has two figures.
fn event(signal: &str) -> Option<u8> {
    if let [key] = signal.as_bytes() {
        let key = key.to_ascii_uppercase();
        let at = KEYS.iter().position(|known| *known == key)?;
        return u8::try_from(at).ok();
    }
    let number: u8 = signal.parse().ok()?;
    (10..16).contains(&number).then_some(number)
}

impl Call {
    /// The media plane has heard a key of an owner.
    pub(super) fn key_heard(&mut self, cx: &mut Context<'_>, leg: LegId, digit: Digit) {
        let Some(side) = self.side_of(leg).filter(|_| self.phase != Phase::Over) else {
            return;
        };
        self.pressed(cx, side, Way::Media, digit);
    }

    /// Takes a key of an owner who may control a recording by keys; whether it was that.
    pub(super) fn info_key(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: &Request,
    ) -> bool {
        let Some((form, digit)) = key_of(request) else {
            return false;
        };
        if !self.recorded.digit_legs().contains(&self.leg(side).id) {
            return false;
        }
        let mut response = Response::to(request, StatusCode::OK);
        let server = cx.settings.server_name.as_str();
        response.headers.push("Server", server);
        cx.act(Action::Respond(key, response));
        self.pressed(cx, side, Way::Info(form), digit);
        true
    }

    fn pressed(&mut self, cx: &mut Context<'_>, side: Side, way: Way, digit: Digit) {
        let leg = self.leg_mut(side);
        let id = leg.id;
        if leg.dialogue.keypad.reported(cx.now, way, digit) == Report::Press {
            self.recorded.digit(cx, id, digit);
        }
    }

    /// What is no code goes on in the form it came in. Belongs after each input: keys that were held
    /// back may be let go by time alone.
    pub(super) fn keys_go_on(&mut self, cx: &mut Context<'_>) {
        for side in [Side::Caller, Side::Callee] {
            let form = self.leg(side).dialogue.keypad.form();
            let far = self.leg_mut(side.other());
            if far.stage != Stage::Established {
                continue;
            }
            let onward = &mut far.dialogue.onward;
            if let Some(form) = form
                && far.dialogue.can.allows(&Method::Info)
                && onward.is_open(cx.now)
            {
                let instead = onward.more(cx.now, form, cx.take_digits(far.id));
                self.send_keys(cx, side.other(), instead);
            }
            self.send_next_key(cx, side.other());
        }
    }

    /// Sends the next key to a party in INFO, when the one before is answered.
    fn send_next_key(&mut self, cx: &mut Context<'_>, side: Side) {
        let leg = self.leg_mut(side);
        let Some((form, digit)) = leg.dialogue.onward.next() else {
            return;
        };
        let (written, info) = (form.write(digit), leg.request(Method::Info));
        let ways = leg.ways();
        if let (Some(written), Some(mut info)) = (written, info) {
            info.set_body(form.content_type(), written.into());
            let key = self.send_notice(cx, ways, info);
            self.leg_mut(side).dialogue.onward.runs(key, digit);
        }
    }

    fn send_keys(&self, cx: &mut Context<'_>, side: Side, digits: Vec<Digit>) {
        let (leg, stage) = (self.leg(side).id, self.leg(side).stage);
        if !digits.is_empty() && stage == Stage::Established {
            cx.media(MediaCommand::SendDigits { leg, digits });
        }
    }

    /// A key in INFO got this final status, or no answer: what is refused goes as a key, and what waits
    /// behind it as well.
    pub(super) fn key_answered(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        status: Option<StatusCode>,
    ) {
        for side in [Side::Caller, Side::Callee] {
            let dialogue = &mut self.leg_mut(side).dialogue;
            let Some(digit) = dialogue.onward.answered(key) else {
                continue;
            };
            match status.map(StatusCode::code) {
                Some(200..300) => return,
                // It takes none at all, or none of this kind (RFC 6086 §4.2.2).
                Some(405 | 415 | 469 | 501) => dialogue.can.refuses(&Method::Info),
                _ => {}
            }
            let digits = dialogue.onward.instead(cx.now, Some(digit));
            self.send_keys(cx, side, digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &str) -> Option<(u8, u16)> {
        let mut headers = Headers::new();
        headers.push("Content-Type", kind);
        let digit = KeyForm::of(&headers)?.read(body.as_bytes())?;
        Some((digit.event, digit.duration_ms))
    }

    #[test]
    fn keys_as_phones_write_them() {
        let relay = "application/dtmf-relay";
        let plain = "application/dtmf";
        for (kind, body, want) in [
            (relay, "Signal=5\r\nDuration=160\r\n", Some((5, 160))),
            (relay, "Signal= *\r\nDuration= 250", Some((10, 250))),
            (relay, "signal=#\nduration=40\n", Some((11, 40))),
            (relay, "Duration=90\r\nSignal=d\r\n", Some((15, 90))),
            (relay, "Signal=11\r\n", Some((11, 100))),
            (relay, "Signal=0\r\nDuration=x\r\n", Some((0, 100))),
            (relay, "Signal=1\r\nDuration=60000\r\n", Some((1, 8000))),
            (relay, "Signal=16\r\n", None),
            (relay, "Signal=!\r\n", None),
            (relay, "Signal=\r\n", None),
            (relay, "Signal=44\r\n", None),
            (relay, "5", None),
            (relay, "", None),
            (
                "Application/DTMF-Relay; charset=utf-8",
                "Signal=9",
                Some((9, 100)),
            ),
            (plain, "7", Some((7, 100))),
            (plain, " *\r\n", Some((10, 100))),
            (plain, "10", Some((10, 100))),
            (plain, "44", None),
            (plain, "", None),
            ("text/plain", "7", None),
            ("", "7", None),
        ] {
            assert_eq!(read(kind, body), want, "{kind} {body:?}");
        }
        let headers = Headers::new();
        assert_eq!(KeyForm::of(&headers), None);
        assert_eq!(KeyForm::Plain.read(&[0xff]).map(|d| d.event), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for event in 0..16 {
            let digit = Digit {
                event,
                duration_ms: 160,
            };
            for form in [KeyForm::Relay, KeyForm::Plain] {
                let text = form.write(digit).unwrap();
                assert_eq!(form.read(text.as_bytes()).unwrap().event, event, "{text}");
            }
        }
        let none = Digit {
            event: 16,
            duration_ms: 100,
        };
        assert_eq!(KeyForm::Relay.write(none), None);
    }
}
