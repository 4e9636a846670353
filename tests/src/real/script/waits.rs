//! What a role waits for.

use std::fmt::Write;

use super::Script;

impl Script {
    /// Waits for a response.
    #[must_use]
    pub fn gets(mut self, status: u16) -> Self {
        let _ = writeln!(self.steps, "<recv response=\"{status}\" rrs=\"true\"/>");
        self
    }

    /// Takes a response that may come before the next one waited for.
    #[must_use]
    pub fn may_get(mut self, status: u16) -> Self {
        let _ = writeln!(
            self.steps,
            "<recv response=\"{status}\" optional=\"true\"/>"
        );
        self
    }

    /// Waits for a response whose body matches.
    #[must_use]
    pub fn gets_saying(mut self, status: u16, matches: &str) -> Self {
        let _ = writeln!(
            self.steps,
            "<recv response=\"{status}\" rrs=\"true\"><action><ereg regexp=\"{matches}\" \
             search_in=\"body\" check_it=\"true\" assign_to=\"seen\"/></action></recv>"
        );
        self.uses("seen")
    }

    /// Waits no longer than this for a request whose body matches.
    #[must_use]
    pub fn wants_within_ms(mut self, ms: u32, method: &str, matches: &str) -> Self {
        let _ = writeln!(
            self.steps,
            "<recv request=\"{method}\" timeout=\"{ms}\"><action><ereg regexp=\"{matches}\" \
             search_in=\"body\" check_it=\"true\" assign_to=\"seen\"/></action></recv>"
        );
        self.uses("seen")
    }

    /// Waits for a response whose header matches, and keeps nothing of it.
    #[must_use]
    pub fn gets_with(mut self, status: u16, header: &str, matches: &str) -> Self {
        let _ = writeln!(
            self.steps,
            "<recv response=\"{status}\" rrs=\"true\"><action><ereg regexp=\"{matches}\" \
             search_in=\"hdr\" header=\"{header}:\" check_it=\"true\" assign_to=\"seen\"/>\
             </action></recv>"
        );
        self.uses("seen")
    }

    /// Waits for a reliable provisional response, and keeps its number for `RAck: [$rseq] 1 INVITE`.
    #[must_use]
    pub fn gets_reliably(mut self, status: u16) -> Self {
        let _ = writeln!(
            self.steps,
            "<recv response=\"{status}\" rrs=\"true\"><action><ereg regexp=\"[0-9]+\" \
             search_in=\"hdr\" header=\"RSeq:\" check_it=\"true\" assign_to=\"rseq\"/>\
             </action></recv>"
        );
        self.uses("rseq")
    }

    /// Waits for a request.
    #[must_use]
    pub fn wants(mut self, method: &str) -> Self {
        let _ = writeln!(self.steps, "<recv request=\"{method}\"/>");
        self
    }

    /// Waits for a request whose header, or body (``), matches.
    #[must_use]
    pub fn wants_with(mut self, method: &str, header: &str, matches: &str) -> Self {
        let place = match header {
            "" => "search_in=\"body\"".to_owned(),
            header => format!("search_in=\"hdr\" header=\"{header}:\""),
        };
        let _ = writeln!(
            self.steps,
            "<recv request=\"{method}\"><action><ereg regexp=\"{matches}\" {place} \
             check_it=\"true\" assign_to=\"seen\"/></action></recv>"
        );
        self.uses("seen")
    }

    /// Waits for an INVITE within the dialog that `answer_invite` is to answer.
    #[must_use]
    pub fn wants_invite_again(mut self) -> Self {
        self.steps += "<recv request=\"INVITE\"><action>\
            <ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>\
            <ereg regexp=\".*\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"cseq\"/>\
            </action></recv>\n";
        self
    }

    /// Takes what a transfer brings that is done at once, and comes at once: the notices that it is tried
    /// and that it has succeeded, and BYE. SIPp can answer none before it has seen the others.
    #[must_use]
    pub fn is_transferred_at_once(mut self) -> Self {
        let keep = |steps: &mut String, via: &str, cseq: &str, line: &str| {
            let _ = writeln!(
                steps,
                "<recv request=\"NOTIFY\"><action>\
                 <ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"{via}\"/>\
                 <ereg regexp=\".*\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"{cseq}\"/>\
                 <ereg regexp=\"{line}\" search_in=\"body\" check_it=\"true\" assign_to=\"seen\"/>\
                 </action></recv>"
            );
        };
        keep(&mut self.steps, "via1", "cseq1", "SIP/2.0 100");
        keep(&mut self.steps, "via2", "cseq2", "SIP/2.0 200");
        self = self.is_hung_up();
        for at in [1, 2] {
            let _ = write!(
                self.steps,
                "<send><![CDATA[\n\nSIP/2.0 200 OK\nVia:[$via{at}]\n[last_From:]\n[last_To:]\n\
                 Call-ID: [call_id]\nCSeq:[$cseq{at}]\nContent-Length: 0\n\n]]></send>\n"
            );
        }
        let used = ["via1", "cseq1", "via2", "cseq2", "seen"];
        used.into_iter().fold(self, Self::uses)
    }

    pub(super) fn uses(mut self, variable: &'static str) -> Self {
        if !self.variables.contains(&variable) {
            self.variables.push(variable);
        }
        self
    }

    /// Waits for a challenge, to be met by `[authentication username=.. password=..]`.
    #[must_use]
    pub fn is_challenged(mut self, status: u16) -> Self {
        let _ = writeln!(self.steps, "<recv response=\"{status}\" auth=\"true\"/>");
        self
    }

    /// Waits for a request with the right digest of this user's password, and keeps the URI of its Contact
    /// as `[$contact]`; one whose digest is wrong is refused, and the run fails.
    #[must_use]
    pub fn wants_authorized(mut self, method: &str, user: &str, password: &str) -> Self {
        self.checks += 1;
        let label = 100 + self.checks;
        let _ = writeln!(
            self.steps,
            "<recv request=\"{method}\"><action><verifyauth assign_to=\"right\" \
             username=\"{user}\" password=\"{password}\"/>\
             <ereg regexp=\"sips?:[^>]*\" search_in=\"hdr\" header=\"Contact:\" assign_to=\"contact\"/>\
             </action></recv>\n\
             <nop next=\"{label}\" test=\"right\"/>"
        );
        let refused = self.replies("403 Forbidden", &[]).wants("NOTHING");
        let mut script = refused.uses("right").uses("contact");
        let _ = writeln!(script.steps, "<label id=\"{label}\"/>");
        script
    }
}
