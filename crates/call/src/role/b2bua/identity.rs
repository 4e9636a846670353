//! Who the parties are to each other: what of the identities in a message passes, by trust (RFC 3325,
//! RFC 3323), and whom a call was diverted from (RFC 5806, RFC 7044).

use duolog_sip::{Headers, NameAddr, Request, Uri};

use crate::fact::Side;
use crate::number::number;
use crate::role::b2bua::Call;
use crate::role::b2bua::carry::carry;
use crate::route::{Party, own_number};
use crate::settings::{Settings, TrunkIndex, Trust, UserIndex};

/// What is asserted about identities, in the order of RFC 3325 and the draft that came before it.
const ASSERTED: &str = "P-Asserted-Identity";
const PREFERRED: &str = "P-Preferred-Identity";
const REMOTE_PARTY: &str = "Remote-Party-ID";

/// Fields that say who the user is (RFC 3323 §4.1).
const PERSONAL: [&str; 6] = [
    "Subject",
    "Call-Info",
    "Organization",
    "User-Agent",
    "Reply-To",
    "In-Reply-To",
];

/// What the identities a party gives are worth, and which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// In the trust domain (RFC 3324 §2.3).
    Trusted,
    /// Outside of it.
    #[default]
    Untrusted,
    /// A phone of ours: it is believed that it is the user it has authenticated as.
    User(UserIndex),
}

impl Standing {
    /// The standing of a party.
    pub(crate) fn of(settings: &Settings, party: Party) -> Self {
        match party {
            Party::User(user) => Self::User(user),
            Party::Trunk(TrunkIndex(at)) => match settings.trunks.get(at).map(|t| t.trust) {
                Some(Trust::Trusted) => Self::Trusted,
                Some(Trust::Untrusted) | None => Self::Untrusted,
            },
        }
    }
}

/// What the user wants to be kept private (RFC 3323 §4.2).
struct Privacy<'a>(Vec<&'a str>);

impl<'a> Privacy<'a> {
    fn of(headers: &'a Headers) -> Self {
        let values = headers.values("Privacy").flat_map(|v| v.split([';', ',']));
        Self(values.map(str::trim).filter(|v| !v.is_empty()).collect())
    }

    fn wants(&self, what: &str) -> bool {
        self.0.iter().any(|value| value.eq_ignore_ascii_case(what))
    }

    /// What is left to be done by others once the user's own fields are hidden (RFC 3323 §5.1).
    fn put_rest(&self, onward: &mut Headers) {
        let done = ["user", "critical"];
        let rest = self
            .0
            .iter()
            .filter(|v| !done.iter().any(|d| d.eq_ignore_ascii_case(v)));
        let rest: Vec<&str> = rest.copied().collect();
        onward.remove("Privacy");
        if !rest.is_empty() {
            onward.push("Privacy", rest.join(";"));
        }
    }
}

/// Puts into `onward`, which has been made from `said` and goes to another party, the identities that
/// may go there, and takes out what is private.
pub(crate) fn pass(
    settings: &Settings,
    (from, to): (Standing, Standing),
    said: &Headers,
    onward: &mut Headers,
) {
    for name in [ASSERTED, PREFERRED, REMOTE_PARTY] {
        onward.remove(name);
    }
    let privacy = Privacy::of(said);
    let shown = match to {
        Standing::Trusted => true,
        // Who asks for `none` wants to be known (RFC 3325 §7).
        Standing::Untrusted => privacy.wants("none"),
        Standing::User(_) => !privacy.wants("id"),
    };
    if shown {
        for identity in asserted(settings, from, said) {
            onward.push(ASSERTED, identity);
        }
    }
    if from == Standing::Trusted && to != Standing::Untrusted {
        let open = |party: &&str| to == Standing::Trusted || (shown && is_open(party));
        for party in said.values(REMOTE_PARTY).filter(open) {
            onward.push(REMOTE_PARTY, party);
        }
    }
    if to == Standing::Trusted {
        return;
    }
    // Nobody after us is bound to hide anything.
    if privacy.wants("history") {
        onward.remove("History-Info");
    }
    if privacy.wants("user") {
        PERSONAL.iter().for_each(|name| onward.remove(name));
        privacy.put_rest(onward);
    }
}

impl Call {
    /// Copies what may pass of the fields of one side's message into that for the other side.
    pub(super) fn pass(
        &self,
        settings: &Settings,
        from: Side,
        said: &Headers,
        onward: &mut Headers,
    ) {
        carry(said, onward);
        let standing = |side| self.leg(side).dialogue.standing;
        pass(
            settings,
            (standing(from), standing(from.other())),
            said,
            onward,
        );
    }
}

/// From as the other party is shown it.
pub(crate) fn shown_from(from: NameAddr, said: &Headers, to: Standing) -> NameAddr {
    if to == Standing::Trusted || !Privacy::of(said).wants("user") {
        return from;
    }
    // RFC 3323 §4.1.1.3.
    let mut hidden = NameAddr::new(Uri::sip(Some("anonymous"), "anonymous.invalid", None));
    hidden.display = Some("Anonymous".to_owned());
    hidden
}

/// The number or name a caller is known by: what is asserted of it, else its From.
pub(crate) fn known_as(settings: &Settings, from: Standing, invite: &Request) -> String {
    let asserted = asserted(settings, from, &invite.headers);
    let mut read = asserted.iter().filter_map(|a| a.parse().ok());
    let known: Option<NameAddr> = read.next().or_else(|| invite.from().ok());
    known.map(|known| number(&known.uri)).unwrap_or_default()
}

/// What is asserted of a party: by itself where it is trusted; by us where it is a user of ours who
/// says which of their identities they prefer (RFC 3325 §5, §6).
fn asserted(settings: &Settings, from: Standing, said: &Headers) -> Vec<String> {
    match from {
        Standing::Trusted => said.values(ASSERTED).map(str::to_owned).collect(),
        Standing::Untrusted => Vec::new(),
        Standing::User(UserIndex(at)) => {
            let Some(user) = settings.users.get(at) else {
                return Vec::new();
            };
            let is_theirs = |claim: &NameAddr| {
                let claimed = number(&claim.uri);
                claimed == user.name || user.numbers.contains(&claimed)
            };
            let claims = [PREFERRED, ASSERTED, REMOTE_PARTY, "From"];
            let claims = claims.iter().flat_map(|name| said.values(name));
            let mut theirs = claims
                .filter_map(|claim| claim.parse().ok())
                .filter(is_theirs);
            let identity = theirs.next().map(|claim: NameAddr| NameAddr {
                params: duolog_sip::Params::default(),
                ..claim
            });
            identity.iter().map(NameAddr::to_string).collect()
        }
    }
}

/// Whether a Remote-Party-ID is not marked as private.
fn is_open(party: &str) -> bool {
    let privacy = party.parse().ok().and_then(|party: NameAddr| {
        let value = party.params.value("privacy")?;
        Some(value.to_ascii_lowercase())
    });
    !privacy.is_some_and(|privacy| ["full", "uri", "id"].iter().any(|p| privacy.contains(p)))
}

/// The numbers a call was diverted from, the latest first: those of Diversion, then those that only
/// History-Info has.
pub(crate) fn diversions(request: &Request) -> Vec<String> {
    let diverted = request
        .diversions()
        .into_iter()
        .map(|from| number(&from.uri));
    let mut numbers: Vec<String> = Vec::new();
    for from in diverted.chain(history(request)) {
        if !from.is_empty() && !numbers.contains(&from) {
            numbers.push(from);
        }
    }
    numbers
}

/// Those of them that may decide for whom a call is recorded, in this node's form: what a trusted trunk
/// says. Anybody else could name whomever they like.
pub(crate) fn believed_diversions(
    settings: &Settings,
    caller: Party,
    request: &Request,
) -> Vec<String> {
    match Standing::of(settings, caller) {
        Standing::Trusted => {
            let said = diversions(request).into_iter();
            said.map(|from| own_number(settings, caller, &from))
                .collect()
        }
        Standing::Untrusted | Standing::User(_) => Vec::new(),
    }
}

/// The targets that did not take the call: their entry has a reason, or the next one a cause (RFC
/// 7044 §10, RFC 4458).
fn history(request: &Request) -> Vec<String> {
    let entries = request.history();
    let left = |at: usize| {
        let next = entries.get(at + 1);
        let cause = next.is_some_and(|next| next.uri.params.has("cause"));
        cause || entries[at].uri.header("Reason").is_some()
    };
    let places = (0..entries.len()).rev().filter(|at| left(*at));
    places.map(|at| number(&entries[at].uri)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, settings};
    use duolog_sip::Method;

    const TRUSTED: Standing = Standing::Trusted;
    const UNTRUSTED: Standing = Standing::Untrusted;
    const USER: Standing = Standing::User(ALICE);

    fn request(fields: &str) -> Request {
        let mut request = Request::new(Method::Invite, "sip:a@b".parse().unwrap());
        for (name, value) in fields.split('|').filter_map(|field| field.split_once(": ")) {
            request.headers.push(name.trim(), value.trim());
        }
        request
    }

    #[test]
    fn identities_pass_by_trust() {
        let said = "P-Asserted-Identity: \"A\" <sip:1001@x> | P-Asserted-Identity: <tel:+31205551001> \
                    | P-Preferred-Identity: <sip:7@x> | Remote-Party-ID: <sip:8@x>;privacy=off";
        let both = "A=\"A\" <sip:1001@x> A=<tel:+31205551001> R=<sip:8@x>;privacy=off";
        let plain = "A=\"A\" <sip:1001@x> A=<tel:+31205551001>";
        for (way, privacy, passed) in [
            ((TRUSTED, TRUSTED), "", both),
            ((TRUSTED, TRUSTED), "id", both),
            ((TRUSTED, UNTRUSTED), "", ""),
            ((TRUSTED, UNTRUSTED), "id", ""),
            ((TRUSTED, UNTRUSTED), "none", plain),
            ((TRUSTED, USER), "", both),
            ((TRUSTED, USER), "header; ID", ""),
            ((UNTRUSTED, TRUSTED), "", ""),
            ((UNTRUSTED, USER), "none", ""),
            // A user asserts nothing alone: what is hers is asserted by us.
            ((USER, TRUSTED), "", "A=\"A\" <sip:1001@x>"),
            ((USER, TRUSTED), "id", "A=\"A\" <sip:1001@x>"),
            ((USER, UNTRUSTED), "", ""),
            ((USER, USER), "id", ""),
        ] {
            let mut said = request(said);
            if !privacy.is_empty() {
                said.headers.push("Privacy", privacy);
            }
            let mut onward = said.headers.clone();
            pass(&settings(), way, &said.headers, &mut onward);
            let shown: Vec<String> = onward
                .iter()
                .filter_map(|(name, value)| match name {
                    ASSERTED => Some(format!("A={value}")),
                    REMOTE_PARTY => Some(format!("R={value}")),
                    PREFERRED => Some(format!("P={value}")),
                    _ => None,
                })
                .collect();
            assert_eq!(shown.join(" "), passed, "{way:?} {privacy}");
            assert_eq!(onward.value("Privacy").unwrap_or_default(), privacy);
        }
    }

    #[test]
    fn a_user_is_who_they_are() {
        for (said, asserted) in [
            (
                "P-Preferred-Identity: <sip:+31205551001@x>;a=b | From: <sip:1001@y>;tag=1",
                "<sip:+31205551001@x>",
            ),
            // Somebody else's: the user's own From stands.
            (
                "P-Preferred-Identity: <sip:1002@x> | From: \"Al\" <sip:1001@y>;tag=1",
                "\"Al\" <sip:1001@y>",
            ),
            (
                "P-Asserted-Identity: <sip:alice@x> | From: <sip:anonymous@anonymous.invalid>",
                "<sip:alice@x>",
            ),
            (
                "P-Asserted-Identity: <sip:bob@x> | From: <sip:anonymous@anonymous.invalid>",
                "",
            ),
            ("P-Preferred-Identity: rubbish <", ""),
        ] {
            let mut onward = Headers::new();
            pass(
                &settings(),
                (USER, TRUSTED),
                &request(said).headers,
                &mut onward,
            );
            assert_eq!(
                onward.value(ASSERTED).unwrap_or_default(),
                asserted,
                "{said}"
            );
        }
        let anonymous = "From: <sip:anonymous@x> | P-Asserted-Identity: <tel:+31-20-1>";
        let as_known = |standing| known_as(&settings(), standing, &request(anonymous));
        assert_eq!(as_known(TRUSTED), "+31201");
        assert_eq!(as_known(UNTRUSTED), "anonymous");
    }

    #[test]
    fn what_is_private_is_hidden_from_those_outside() {
        let said = "Privacy: user;id;critical | Subject: s | Organization: o | History-Info: <sip:1@x>;index=1 \
                    | From: \"A\" <sip:1001@x>;tag=1";
        for (to, shown, rest) in [
            (TRUSTED, "<sip:1001@x>;tag=1", "user;id;critical"),
            (UNTRUSTED, "<sip:anonymous@anonymous.invalid>", "id"),
            (USER, "<sip:anonymous@anonymous.invalid>", "id"),
        ] {
            let request = request(said);
            let mut onward = request.headers.clone();
            pass(&settings(), (TRUSTED, to), &request.headers, &mut onward);
            let from = shown_from(request.from().unwrap(), &request.headers, to);
            assert!(from.to_string().ends_with(shown), "{from}");
            assert_eq!(onward.value("Privacy"), Some(rest));
            assert_eq!(onward.has("Subject"), to == TRUSTED);
            assert_eq!(onward.has("Organization"), to == TRUSTED);
            assert!(onward.has("History-Info"));
        }
        let request = request("Privacy: history | History-Info: <sip:1@x>;index=1");
        for (to, kept) in [(TRUSTED, true), (UNTRUSTED, false), (USER, false)] {
            let mut onward = request.headers.clone();
            pass(&settings(), (TRUSTED, to), &request.headers, &mut onward);
            assert_eq!(onward.has("History-Info"), kept);
        }
        // A Remote-Party-ID that is marked as private is for the trust domain only.
        for (mark, kept) in [
            ("full", false),
            ("off", true),
            ("name", true),
            ("id", false),
        ] {
            let text = format!("<sip:8@x>;privacy={mark}");
            let mut said = Headers::new();
            said.push(REMOTE_PARTY, text);
            let mut onward = Headers::new();
            pass(&settings(), (TRUSTED, USER), &said, &mut onward);
            assert_eq!(onward.has(REMOTE_PARTY), kept, "{mark}");
        }
    }

    #[test]
    fn diversions_are_listed_latest_first() {
        for (said, numbers) in [
            ("", ""),
            (
                "Diversion: <tel:+31-20-2>;reason=no-answer, <sip:1@x>;reason=unconditional",
                "+31202 1",
            ),
            (
                "History-Info: <sip:1@x?Reason=SIP%3Bcause%3D302>;index=1, <sip:2@x>;index=1.1",
                "1",
            ),
            (
                "History-Info: <sip:1@x>;index=1, <sip:2@x;cause=486>;index=1.1, <sip:3@x;cause=302>;index=1.1.1",
                "2 1",
            ),
            // Nobody was diverted where an address was only looked up.
            (
                "History-Info: <sip:1@x>;index=1, <sip:1@192.0.2.1>;index=1.1",
                "",
            ),
            (
                "Diversion: <sip:1@x> | History-Info: <sip:1@x?Reason=x>;index=1, <sip:2@x?Reason=x>;index=1.1, <sip:3@x>;index=1.2",
                "1 2",
            ),
            ("Diversion: rubbish <", ""),
        ] {
            assert_eq!(diversions(&request(said)).join(" "), numbers, "{said}");
        }
    }
}
