//! Timers A to M in virtual time, at the instants of RFC 3261 §17 (Appendix A) and RFC 6026, and the
//! repetition of reliable provisional responses (RFC 3262 §3): what an endpoint does, and when.

mod support;

use duolog_sip::endpoint::{Input, Output};
use duolog_sip::{
    ClientKey, Endpoint, Flow, Message, Method, Request, Response, ServerKey, StatusCode, Transport,
};
use support::{at, base, endpoint, flow, shorts};

/// An endpoint with one transaction, and a peer that says what the script says.
struct Run {
    us: Endpoint,
    flow: Flow,
    /// The request that the transaction is of, as it was sent or as it came.
    request: Request,
    key: Option<ServerKey>,
    log: Vec<String>,
}

fn request(method: &str) -> Request {
    let method = Method::parse(method).unwrap();
    let mut request = Request::new(method.clone(), "sip:bob@192.0.2.2".parse().unwrap());
    for (name, value) in [
        ("From", "<sip:alice@192.0.2.1>;tag=caller"),
        ("To", "<sip:bob@192.0.2.2>"),
        ("Call-ID", "one"),
        ("Contact", "<sip:alice@192.0.2.1>"),
    ] {
        request.headers.push(name, value);
    }
    request.headers.push("CSeq", format!("7 {method}"));
    request
}

impl Run {
    fn new(transport: Transport) -> Run {
        Run {
            us: endpoint("192.0.2.1:5060", 1),
            flow: flow(transport, "192.0.2.1:5060", "192.0.2.2:5060"),
            request: request("INVITE"),
            key: None,
            log: Vec::new(),
        }
    }

    fn put(&mut self, ms: u64, input: Input) {
        let before = self.us.transactions();
        let out = self.us.handle(at(ms), input);
        for (output, text) in out.iter().zip(shorts(&out)) {
            match output {
                Output::Request { key, request, .. } => {
                    (self.key, self.request) = (Some(*key), request.clone());
                }
                Output::Transmit { bytes, .. } => {
                    let sent = Message::parse(bytes.clone()).expect("what is sent can be read");
                    if let Message::Request(sent) = sent
                        && !matches!(sent.method, Method::Ack | Method::Cancel)
                    {
                        self.request = sent;
                    }
                }
                _ => {}
            }
            self.log.push(format!("{ms} {text}"));
        }
        if before > 0 && self.us.transactions() == 0 {
            self.log.push(format!("{ms} gone"));
        }
    }

    /// One line of a script: `send METHOD`, `hear METHOD or status`, `say status [rseq]`, `prack
    /// rseq`, `cancel`, `fail`.
    fn act(&mut self, ms: u64, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let (flow, key) = (self.flow, ClientKey(1));
        let input = match words[..] {
            ["send", method] => {
                let (request, larger) = (request(method), None);
                Input::Request {
                    key,
                    flow,
                    request,
                    larger,
                }
            }
            ["hear", what] => {
                let bytes = match what.parse().ok().and_then(StatusCode::new) {
                    Some(status) => {
                        let mut response = Response::to(&self.request, status);
                        response.set_to_tag("callee");
                        response.write()
                    }
                    None => {
                        let mut request = request(what);
                        let via = "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKpeer;rport";
                        request.headers.push_front("Via", via);
                        if what == "ACK" {
                            request.headers.set("To", "<sip:bob@192.0.2.2>;tag=us");
                        }
                        request.write()
                    }
                };
                Input::Received { flow, bytes }
            }
            ["say", status, ref rest @ ..] => {
                let status = StatusCode::new(status.parse().unwrap()).unwrap();
                let mut response = Response::to(&self.request, status);
                response.set_to_tag("us");
                for rseq in rest {
                    response.headers.push("RSeq", *rseq);
                }
                let key = self.key.unwrap();
                Input::Respond { key, response }
            }
            ["prack", rseq] => Input::Pracked {
                key: self.key.unwrap(),
                rseq: rseq.parse().unwrap(),
            },
            ["cancel"] => Input::Cancel { key },
            ["fail"] => Input::FlowFailed { flow },
            _ => panic!("{line}"),
        };
        self.put(ms, input);
    }
}

/// Runs `ms action, ms action...` with every deadline in between, until nothing is left to be done.
fn run(transport: Transport, script: &str) -> String {
    let mut run = Run::new(transport);
    let mut script = script.split(", ").peekable();
    loop {
        let due = run.us.deadline().map(|d| (d - base()).as_millis() as u64);
        let next = script.peek().map(|line| line.split_once(' ').unwrap());
        let next = next.map(|(ms, line)| (ms.parse::<u64>().unwrap(), line));
        match (due, next) {
            (Some(due), Some((ms, _))) if due <= ms => run.put(due, Input::Deadline),
            (_, Some((ms, line))) => {
                script.next();
                run.act(ms, line);
            }
            (Some(due), None) => run.put(due, Input::Deadline),
            (None, None) => return run.log.join(", "),
        }
    }
}

/// `first` at these instants, then `rest`.
fn times(what: &str, instants: &[u64], rest: &str) -> String {
    let list = instants.iter().map(|ms| format!("{ms} {what}"));
    list.chain([rest.to_owned()]).collect::<Vec<_>>().join(", ")
}

fn check(timer: &str, transport: Transport, script: &str, want: &str) {
    assert_eq!(
        run(transport, script),
        want,
        "timer {timer}, {transport:?}: {script}"
    );
}

use Transport::{Tcp, Tls, Udp};

/// T1 doubled without a limit; up to 64*T1.
const DOUBLED: [u64; 7] = [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500];
/// T1 doubled up to T2.
const UP_TO_T2: [u64; 11] = [
    0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
];

#[test]
fn client_invite_a_b_c_d_m() {
    let timeout = "32000 client failed Timeout, 32000 gone";
    check(
        "A, B",
        Udp,
        "0 send INVITE",
        &times("send INVITE", &DOUBLED, timeout),
    );
    for stream in [Tcp, Tls] {
        check(
            "B",
            stream,
            "0 send INVITE",
            &format!("0 send INVITE, {timeout}"),
        );
    }
    // A provisional response ends A and B, and starts C anew each time; CANCEL has E and F.
    let c = "0 send INVITE, 100 response 180, 9100 response 180, 309100 send CANCEL";
    let e = UP_TO_T2[1..]
        .iter()
        .map(|ms| format!("{} send CANCEL", 309_100 + ms));
    let e = e.collect::<Vec<_>>().join(", ");
    let end = "341100 client failed Timeout, 341100 gone";
    let script = "0 send INVITE, 100 hear 180, 9100 hear 180";
    check("C", Udp, script, &format!("{c}, {e}, {end}"));
    check("C", Tcp, script, &format!("{c}, {end}"));
    let script = "0 send INVITE, 100 hear 486, 200 hear 486, 32099 hear 486";
    let acked = "0 send INVITE, 100 send ACK, 100 response 486";
    let want = format!("{acked}, 200 send ACK, 32099 send ACK, 32100 gone");
    check("D", Udp, script, &want);
    check(
        "D",
        Tcp,
        "0 send INVITE, 100 hear 486",
        &format!("{acked}, 100 gone"),
    );
    for transport in [Udp, Tcp, Tls] {
        let script = "0 send INVITE, 100 hear 200, 9000 hear 200, 9001 hear 486";
        let want = "0 send INVITE, 100 response 200, 32100 gone";
        check("M", transport, script, want);
    }
}

#[test]
fn client_non_invite_e_f_k() {
    let timeout = "32000 client failed Timeout, 32000 gone";
    check(
        "E, F",
        Udp,
        "0 send INFO",
        &times("send INFO", &UP_TO_T2, timeout),
    );
    check("F", Tcp, "0 send INFO", &format!("0 send INFO, {timeout}"));
    // After a provisional response E is T2.
    let slow: Vec<u64> = (1..8).map(|n| 500 + 4_000 * n).collect();
    let rest = times("send INFO", &slow, timeout);
    let want = format!("0 send INFO, 100 response 100, 500 send INFO, {rest}");
    check("E", Udp, "0 send INFO, 100 hear 100", &want);
    let script = "0 send INFO, 100 hear 200, 200 hear 200";
    check("K", Udp, script, "0 send INFO, 100 response 200, 5100 gone");
    let script = "0 send INFO, 100 hear 200";
    check("K", Tcp, script, "0 send INFO, 100 response 200, 100 gone");
}

#[test]
fn server_invite_100_g_h_i_l() {
    let first = "0 request INVITE, 200 send 100";
    let failed = "33000 server failed NoAck, 33000 gone";
    let script = "0 hear INVITE, 1000 say 486";
    let repeats: Vec<u64> = UP_TO_T2.iter().map(|ms| 1_000 + ms).collect();
    let want = format!("{first}, {}", times("send 486", &repeats, failed));
    check("G, H", Udp, script, &want);
    check(
        "H",
        Tcp,
        script,
        &format!("{first}, 1000 send 486, {failed}"),
    );
    let script = "0 hear INVITE, 1000 say 486, 1100 hear ACK, 1200 hear ACK";
    check(
        "I",
        Udp,
        script,
        &format!("{first}, 1000 send 486, 6100 gone"),
    );
    let script = "0 hear INVITE, 1000 say 486, 1100 hear ACK";
    check(
        "I",
        Tcp,
        script,
        &format!("{first}, 1000 send 486, 1100 gone"),
    );
    for transport in [Udp, Tcp] {
        // RFC 6026: the 2xx is repeated by the user's timer on every transport; L takes what comes late.
        let script = "0 hear INVITE, 1000 say 200, 2600 hear INVITE, 2700 hear ACK, 9000 hear ACK";
        let want = "1000 send 200, 1500 send 200, 2500 send 200, 2700 acked, 33000 gone";
        check("L", transport, script, &format!("{first}, {want}"));
        let want = format!("{first}, {}", times("send 200", &repeats, failed));
        check("L", transport, "0 hear INVITE, 1000 say 200", &want);
    }
}

#[test]
fn server_non_invite_j() {
    let script = "0 hear INFO, 100 say 200, 200 hear INFO, 32099 hear INFO, 32100 hear INFO";
    let want = "0 request INFO, 100 send 200, 200 send 200, 32099 send 200, 32100 gone, 32100 request INFO";
    let silent = "64100 server failed Unanswered, 64100 gone";
    check("J", Udp, script, &format!("{want}, {silent}"));
    let script = "0 hear INFO, 100 say 200";
    check("J", Tcp, script, "0 request INFO, 100 send 200, 100 gone");
}

#[test]
fn reliable_provisional_responses() {
    for (script, want) in [
        // PRACK ends it; another number does not.
        (
            "100 say 183 5, 700 prack 4, 1700 prack 5, 9000 say 486, 9001 hear ACK",
            "100 send 183, 600 send 183, 1600 send 183, 9000 send 486, 14001 gone",
        ),
        // So does a final response.
        (
            "100 say 183 5, 1000 say 486, 1001 hear ACK",
            "100 send 183, 600 send 183, 1000 send 486, 6001 gone",
        ),
        // Two at once, each by itself.
        (
            "100 say 183 5, 300 say 180 6, 700 prack 5, 1000 say 486, 1001 hear ACK",
            "100 send 183, 300 send 180, 600 send 183, 800 send 180, 1000 send 486, 6001 gone",
        ),
        // Without a number nothing is repeated.
        (
            "100 say 183, 1000 say 486, 1001 hear ACK",
            "100 send 183, 1000 send 486, 6001 gone",
        ),
    ] {
        let got = run(Udp, &format!("0 hear INVITE, {script}"));
        assert_eq!(got, format!("0 request INVITE, {want}"), "{script}");
    }
    // Never acknowledged: said once, on every transport.
    for transport in [Udp, Tcp] {
        let script = "0 hear INVITE, 100 say 183 5, 40000 say 504, 40001 hear ACK";
        let repeats: Vec<u64> = DOUBLED.iter().map(|ms| 100 + ms).collect();
        let rest = "32100 unpracked, 40000 send 504";
        let want = format!("0 request INVITE, {}", times("send 183", &repeats, rest));
        let (said, last) = match transport.is_reliable() {
            true => (want, ", 40001 gone"),
            false => (want, ", 45001 gone"),
        };
        assert_eq!(run(transport, script), format!("{said}{last}"));
    }
}
