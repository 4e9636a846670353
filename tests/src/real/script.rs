//! SIPp scenarios for one call and one behaviour, written from a few words each: what a role sends,
//! what it waits for, when it speaks. Whatever else comes ends the run as a failure.

mod waits;

use std::fmt::Write;

/// What a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// A session description with this direction: PCMU and telephone events.
    Sdp(&'static str),
    /// The same, with a line of its own for the whole session, such as `a=recordpref:pause`.
    SdpWith(&'static str, &'static str),
    /// Text of this type.
    Text(&'static str, &'static str),
}

/// Both ways.
pub const SDP: Body = Body::Sdp("sendrecv");

/// One scenario.
#[derive(Debug, Clone)]
pub struct Script {
    name: &'static str,
    role: Role,
    steps: String,
    cseq: u32,
    version: u32,
    checks: u32,
    variables: Vec<&'static str>,
    /// From of a caller.
    from: String,
    /// What is done where the first request is another one: its method, and the steps.
    instead: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Caller,
    Callee,
}

const FROM_CALLER: &str =
    "\"Caller\" <sip:+31612345678@[local_ip]:[local_port]>;tag=[pid]c[call_number]";
const CALLEE_TAG: &str = "tag=[pid]e[call_number]";
const CONTACT: &str = "Contact: <sip:[service]@[local_ip]:[local_port];transport=[transport]>";

impl Script {
    /// Somebody who calls the number of `-s`.
    #[must_use]
    pub fn caller(name: &'static str) -> Self {
        Self::new(name, Role::Caller)
    }

    /// Somebody who is called: waits for the INVITE at once, with an offer or without.
    #[must_use]
    pub fn callee(name: &'static str) -> Self {
        let mut script = Self::new(name, Role::Callee);
        script.variables = vec!["target", "remote", "local", "via", "cseq"];
        script.steps += "<recv request=\"INVITE\" rrs=\"true\"><action>\
            <ereg regexp=\"sips?:[^>]*\" search_in=\"hdr\" header=\"Contact:\" assign_to=\"target\"/>\
            <ereg regexp=\".*\" search_in=\"hdr\" header=\"From:\" assign_to=\"remote\"/>\
            <ereg regexp=\".*\" search_in=\"hdr\" header=\"To:\" assign_to=\"local\"/>\
            <ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>\
            <ereg regexp=\".*\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"cseq\"/>\
            </action></recv>\n";
        script
    }

    fn new(name: &'static str, role: Role) -> Self {
        Self {
            name,
            role,
            steps: String::new(),
            cseq: 0,
            version: 0,
            checks: 0,
            variables: Vec::new(),
            from: FROM_CALLER.to_owned(),
            instead: Vec::new(),
        }
    }

    /// Somebody who is asked something that belongs to no call, and waits for nothing yet.
    #[must_use]
    pub fn server(name: &'static str) -> Self {
        Self::new(name, Role::Callee)
    }

    /// A caller with a number of this node.
    #[must_use]
    pub fn known_as(mut self, number: &str) -> Self {
        self.from = format!("<sip:{number}@[remote_ip]>;tag=[pid]c[call_number]");
        self
    }

    /// What it does instead, where the first request is of this method: the steps of another script.
    #[must_use]
    pub fn or_for(mut self, method: &'static str, other: Script) -> Self {
        for variable in other.variables {
            self = self.uses(variable);
        }
        self.instead.push((method, other.steps));
        self
    }

    /// Answers OPTIONS outside of any call, however often somebody looks whether it is there.
    #[must_use]
    pub fn is_looked_at(self) -> Self {
        let answers = Self::server("looked at").replies("200 OK", &[]);
        self.or_for("OPTIONS", answers)
    }

    /// Its name, and that of its files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The first INVITE of a caller.
    #[must_use]
    pub fn invite(mut self, headers: &[&str], body: Body) -> Self {
        self.cseq += 1;
        let to = "<sip:[service]@[remote_ip]:[remote_port]>";
        let first = "INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0";
        let cseq = format!("{} INVITE", self.cseq);
        let from = self.from.clone();
        self.send(true, &[first], (&from, to, &cseq), headers, body)
    }

    /// The first INVITE of a phone that is known as the number of `-s`, to 100.
    #[must_use]
    pub fn invite_as_service(mut self, headers: &[&str], body: Body) -> Self {
        self.cseq += 1;
        let from = "<sip:[service]@[remote_ip]>;tag=[pid]c[call_number]";
        let first = "INVITE sip:100@[remote_ip]:[remote_port] SIP/2.0";
        let cseq = format!("{} INVITE", self.cseq);
        self.from = from.to_owned();
        let to = "<sip:100@[remote_ip]>";
        self.send(true, &[first], (from, to, &cseq), headers, body)
    }

    /// A request within the dialog.
    #[must_use]
    pub fn request(mut self, method: &str, headers: &[&str], body: Body) -> Self {
        self.cseq += 1;
        let cseq = self.cseq;
        self.within(method, cseq, method != "ACK", headers, body)
    }

    /// The ACK of the last INVITE of its own.
    #[must_use]
    pub fn ack(self, body: Body) -> Self {
        let cseq = self.cseq;
        self.within("ACK", cseq, false, &[], body)
    }

    /// The ACK of the INVITE before other requests.
    #[must_use]
    pub fn ack_of(self, cseq: u32, body: Body) -> Self {
        self.within("ACK", cseq, false, &[], body)
    }

    /// CANCEL of the first INVITE.
    #[must_use]
    pub fn cancel(mut self) -> Self {
        self.steps += &format!(
            "<send retrans=\"500\"><![CDATA[\n\n\
             CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n[last_Via:]\n\
             From: {}\nTo: <sip:[service]@[remote_ip]:[remote_port]>\n\
             Call-ID: [call_id]\nCSeq: 1 CANCEL\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>\n",
            self.from
        );
        self
    }

    fn within(self, method: &str, cseq: u32, repeated: bool, headers: &[&str], body: Body) -> Self {
        let (first, from, to) = match self.role {
            Role::Caller => (
                format!("{method} [next_url] SIP/2.0"),
                self.from.clone(),
                "<sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]".to_owned(),
            ),
            Role::Callee => (
                format!("{method} [$target] SIP/2.0"),
                format!("[$local];{CALLEE_TAG}"),
                "[$remote]".to_owned(),
            ),
        };
        let cseq = format!("{cseq} {method}");
        self.send(repeated, &[&first], (&from, &to, &cseq), headers, body)
    }

    fn send(
        mut self,
        repeated: bool,
        first: &[&str],
        (from, to, cseq): (&str, &str, &str),
        headers: &[&str],
        body: Body,
    ) -> Self {
        let retrans = if repeated { " retrans=\"500\"" } else { "" };
        let _ = write!(
            self.steps,
            "<send{retrans}><![CDATA[\n\n{}\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\n\
             From: {from}\nTo: {to}\nCall-ID: [call_id]\nCSeq: {cseq}\n{CONTACT}\n\
             Max-Forwards: 70\n",
            first.concat(),
        );
        self.rest(headers, body);
        self
    }

    /// A response to the last request within the dialog.
    #[must_use]
    pub fn answer(mut self, status: &str, headers: &[&str], body: Body) -> Self {
        let retrans = match status.starts_with('2') && !matches!(body, Body::None) {
            true => " retrans=\"500\"",
            false => "",
        };
        // Of what is answered only an INVITE's 2xx is repeated; others carry their answer unrepeated.
        let last = self.steps.rsplit("<recv request=\"").next();
        let retrans = if last.is_some_and(|last| last.starts_with("INVITE")) {
            retrans
        } else {
            ""
        };
        let _ = write!(
            self.steps,
            "<send{retrans}><![CDATA[\n\nSIP/2.0 {status}\n[last_Via:]\n[last_From:]\n\
             [last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n{CONTACT}\n"
        );
        self.rest(headers, body);
        self
    }

    /// A response to the last request, which is outside of any dialog.
    #[must_use]
    pub fn replies(mut self, status: &str, headers: &[&str]) -> Self {
        let _ = write!(
            self.steps,
            "<send><![CDATA[\n\nSIP/2.0 {status}\n[last_Via:]\n[last_From:]\n\
             [last_To:];tag=[pid]s[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n"
        );
        self.rest(headers, Body::None);
        self
    }

    /// A callee's response to the first INVITE.
    #[must_use]
    pub fn answer_invite(self, status: &str, headers: &[&str], body: Body) -> Self {
        self.answer_as("", status, headers, body)
    }

    /// The same of another phone behind the callee, which a proxy there has asked as well.
    #[must_use]
    pub fn answer_as(mut self, fork: &str, status: &str, headers: &[&str], body: Body) -> Self {
        let final_one = !status.starts_with('1');
        let retrans = if final_one { " retrans=\"500\"" } else { "" };
        let _ = write!(
            self.steps,
            "<send{retrans}><![CDATA[\n\nSIP/2.0 {status}\nVia:[$via]\nFrom:[$remote]\n\
             To:[$local];{CALLEE_TAG}{fork}\nCall-ID: [call_id]\nCSeq:[$cseq]\n"
        );
        if !headers.iter().any(|header| header.starts_with("Contact:")) {
            self.steps += CONTACT;
            self.steps += "\n";
        }
        self.rest(headers, body);
        self
    }

    /// The ACK of a refusal: in the transaction of the INVITE that was refused.
    #[must_use]
    pub fn acks_refusal(mut self) -> Self {
        let cseq = self.cseq;
        let (uri, from) = match self.role {
            Role::Caller => ("sip:[service]@[remote_ip]:[remote_port]", self.from.clone()),
            Role::Callee => ("[$target]", format!("[$local];{CALLEE_TAG}")),
        };
        let _ = write!(
            self.steps,
            "<send><![CDATA[\n\nACK {uri} SIP/2.0\n[last_Via:]\nFrom: {from}\n[last_To:]\n\
             Call-ID: [call_id]\nCSeq: {cseq} ACK\nMax-Forwards: 70\nContent-Length: 0\n\n\
             ]]></send>\n"
        );
        self
    }

    /// A request outside any dialog, of a phone that is known as the number of `-s`.
    #[must_use]
    pub fn asks(mut self, method: &str, headers: &[&str], body: Body) -> Self {
        self.cseq += 1;
        let user = "<sip:[service]@[remote_ip]>";
        let (from, cseq) = (
            format!("{user};tag=[pid]r"),
            format!("{} {method}", self.cseq),
        );
        let first = format!("{method} sip:[remote_ip]:[remote_port] SIP/2.0");
        self.send(true, &[&first], (&from, user, &cseq), headers, body)
    }

    fn rest(&mut self, headers: &[&str], body: Body) {
        for header in headers {
            self.steps += header;
            self.steps += "\n";
        }
        match body {
            Body::None => self.steps += "Content-Length: 0\n\n]]></send>\n",
            Body::Text(kind, text) => {
                let _ = write!(
                    self.steps,
                    "Content-Type: {kind}\nContent-Length: [len]\n\n{text}\n]]></send>\n"
                );
            }
            Body::Sdp(direction) => self.describe(direction, ""),
            Body::SdpWith(direction, line) => self.describe(direction, line),
        }
    }

    fn describe(&mut self, direction: &str, line: &str) {
        let line = match line {
            "" => String::new(),
            line => format!("{line}\n"),
        };
        self.version += 1;
        let _ = write!(
            self.steps,
            "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\n\
                     o=sipp 1 {} IN IP[local_ip_type] [local_ip]\ns=-\n\
                     c=IN IP[media_ip_type] [media_ip]\nt=0 0\n{line}\
                     m=audio [rtpstream_audio_port] RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\n\
                     a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\n\
                     a={direction}\n\n]]></send>\n",
            self.version
        );
    }

    /// Speaks its coded voice from now.
    #[must_use]
    pub fn speaks(mut self) -> Self {
        let _ = writeln!(
            self.steps,
            "<nop><action><exec rtp_stream=\"{}.ulaw,-1,0,PCMU/8000\"/></action></nop>",
            self.name
        );
        self
    }

    /// Says nothing from now.
    #[must_use]
    pub fn hushes(mut self) -> Self {
        self.steps += "<nop><action><exec rtp_stream=\"pause\"/></action></nop>\n";
        self
    }

    /// Speaks on after a hush.
    #[must_use]
    pub fn speaks_on(mut self) -> Self {
        self.steps += "<nop><action><exec rtp_stream=\"resume\"/></action></nop>\n";
        self
    }

    /// Waits.
    #[must_use]
    pub fn waits_ms(mut self, ms: u32) -> Self {
        let _ = writeln!(self.steps, "<pause milliseconds=\"{ms}\"/>");
        self
    }

    /// Hangs up.
    #[must_use]
    pub fn hangs_up(self) -> Self {
        self.hushes().request("BYE", &[], Body::None).gets(200)
    }

    /// The other end hangs up.
    #[must_use]
    pub fn is_hung_up(self) -> Self {
        self.wants("BYE").hushes().answer("200 OK", &[], Body::None)
    }

    /// The scenario as SIPp reads it.
    #[must_use]
    pub fn xml(&self) -> String {
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"{}\">\n",
            self.name
        );
        // Labels are numbers; the first is that of the end.
        for (label, (method, _)) in (2..).zip(&self.instead) {
            let _ = writeln!(
                text,
                "<recv request=\"{method}\" optional=\"true\" next=\"{label}\"/>"
            );
        }
        text += &self.steps;
        for (label, (_, steps)) in (2..).zip(&self.instead) {
            let _ = write!(text, "<nop next=\"1\"/>\n<label id=\"{label}\"/>\n{steps}");
        }
        if !self.instead.is_empty() {
            text += "<label id=\"1\"/>\n";
        }
        if !self.variables.is_empty() {
            let _ = writeln!(
                text,
                "<Reference variables=\"{}\"/>",
                self.variables.join(",")
            );
        }
        // Late repetitions are answered, not taken for something new.
        text += "<timewait milliseconds=\"500\"/>\n</scenario>\n";
        text
    }
}
