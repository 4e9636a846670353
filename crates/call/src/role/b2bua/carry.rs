//! What of one side's message goes into the other side's: everything, but what belongs to one
//! dialog or one hop, and what this node would have to take part in but does not.

use duolog_sip::{Headers, Request};

/// The methods this node takes, as `Allow` (RFC 3261 §20.5).
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE, REFER, \
                                MESSAGE, NOTIFY, SUBSCRIBE";

/// The extensions this node knows in every dialog, as `Supported` (RFC 3261 §20.37): session timers
/// (RFC 4028), replaced dialogs (RFC 3891). Reliable provisional answers (RFC 3262) are offered apart.
pub(crate) const SUPPORTED: &str = "timer, replaces";

/// Option tags that a request may insist on: those, and references without a subscription (RFC 4488).
const KNOWN: [&str; 4] = ["100rel", "timer", "replaces", "norefersub"];

/// Fields that belong to a hop or a dialog, or are made anew on each side.
const OWN: [&str; 27] = [
    "Via",
    "Route",
    "Record-Route",
    "Contact",
    "Max-Forwards",
    "CSeq",
    "Call-ID",
    "Content-Length",
    "From",
    "To",
    "Allow",
    "Supported",
    "Require",
    "Proxy-Require",
    "Unsupported",
    "Timestamp",
    // Each leg has its own session timer (RFC 4028) and numbers of provisional answers (RFC 3262).
    "Session-Expires",
    "Min-SE",
    "RSeq",
    "RAck",
    "Recv-Info",
    // These name a dialog of the leg they came on, which the other party does not know.
    "Replaces",
    "Join",
    "Target-Dialog",
    // These pass by trust.
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
];

/// Option tags that promise something about a dialog or a hop, and so would be a promise of this
/// node's; any other tag is between the two ends.
const NOT_CARRIED: [&str; 15] = [
    "norefersub",
    "100rel",
    "timer",
    "replaces",
    "join",
    "tdialog",
    "target-dialog",
    "path",
    "outbound",
    "gruu",
    "from-change",
    "precondition",
    "siprec",
    // This node tells what it records; it does not pass on what others tell (RFC 7866 §6.3).
    "record-aware",
    "resource-priority",
];

/// Copies what may pass from one message's fields to the other's.
pub(crate) fn carry(from: &Headers, to: &mut Headers) {
    let own = |name: &str| OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
    for (name, value) in from.iter().filter(|(name, _)| !own(name)) {
        to.push(name, value);
    }
    let supported: Vec<&str> = tags(from, "Supported")
        .filter(|tag| !NOT_CARRIED.iter().any(|no| no.eq_ignore_ascii_case(tag)))
        .collect();
    if !supported.is_empty() {
        to.push("Supported", supported.join(", "));
    }
}

/// The option tags a request insists on and this node does not know (RFC 3261 §8.2.2.3: 420).
pub(crate) fn required(request: &Request) -> Vec<String> {
    let required = tags(&request.headers, "Require");
    required
        .chain(tags(&request.headers, "Proxy-Require"))
        .filter(|tag| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        .map(str::to_owned)
        .collect()
}

fn tags<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .values(name)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|t| !t.is_empty())
}

/// Max-Forwards for a request made because of this one (RFC 3261 §16.6 step 3). The endpoint has
/// answered 483 where it was 0.
pub(crate) fn max_forwards(request: &Request) -> u8 {
    request
        .max_forwards()
        .ok()
        .flatten()
        .unwrap_or(70)
        .saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_sip::Method;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(name, *value);
        }
        headers
    }

    #[test]
    fn unknown_fields_pass_and_own_fields_stay() {
        let from = headers(&[
            ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"),
            ("X-Ticket", "4 711"),
            ("Record-Route", "<sip:p;lr>"),
            ("Supported", "100rel, replaces , eventlist"),
            ("Contact", "<sip:a@b>"),
            ("Session-Expires", "1800"),
            ("k", "TIMER,record-aware"),
            ("P-Asserted-Identity", "<sip:1@x>"),
            ("x-ticket", "second"),
        ]);
        let mut to = Headers::new();
        carry(&from, &mut to);
        let text: Vec<String> = to.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            text,
            ["X-Ticket=4 711", "x-ticket=second", "Supported=eventlist"]
        );
        let mut none = Headers::new();
        carry(&headers(&[("Supported", "timer")]), &mut none);
        assert_eq!(none.iter().count(), 0);
    }

    #[test]
    fn required_options_are_listed() {
        let mut request = Request::new(Method::Invite, "sip:x".parse().unwrap());
        assert!(required(&request).is_empty());
        assert_eq!(max_forwards(&request), 69);
        request
            .headers
            .push("Require", "100rel, Timer, precondition");
        request.headers.push("Proxy-Require", "x");
        request.headers.push("Max-Forwards", "1");
        assert_eq!(required(&request), ["precondition", "x"]);
        assert_eq!(max_forwards(&request), 0);
    }
}
