//! Answering challenges as a client.

use duolog_reach::digest::{Challenge, Credentials, Memory, Scheme, Secret, answer};
use duolog_sip::{Method, Request, Response, StatusCode, Tokens};

const RFC_2069: &str = "1acf220a5f99c5a88facf827dcbfdf37";

/// The members of the one answer of a request, in order.
fn members(request: &Request, scheme: Scheme) -> Vec<(String, String)> {
    let name = match scheme {
        Scheme::Www => "Authorization",
        Scheme::Proxy => "Proxy-Authorization",
    };
    let values: Vec<&str> = request.headers.values(name).collect();
    let [value] = values[..] else {
        panic!("not one {name}: {values:?}");
    };
    let text = value.strip_prefix("Digest ").unwrap();
    let split = |part: &str| {
        let (name, value) = part.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    text.split(", ").map(split).collect()
}

fn member(request: &Request, name: &str) -> String {
    let all = members(request, Scheme::Www);
    let found = all.into_iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

fn invite() -> Request {
    let mut request = Request::new(
        Method::Invite,
        "sip:+31201112233@trunk.example".parse().unwrap(),
    );
    for (name, value) in [
        ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"),
        ("From", "<sip:node@example.com>;tag=1"),
        ("To", "<sip:+31201112233@trunk.example>"),
        ("Call-ID", "call"),
        ("CSeq", "7 INVITE"),
    ] {
        request.headers.push(name, value);
    }
    request
}

fn challenge(request: &Request, status: u16, challenges: &[&str]) -> Response {
    let name = match status {
        407 => "Proxy-Authenticate",
        _ => "WWW-Authenticate",
    };
    let mut response = Response::to(request, StatusCode::new(status).unwrap());
    for one in challenges {
        response.headers.push(name, *one);
    }
    response
}

struct Client {
    credentials: Credentials,
    memory: Memory,
    tokens: Tokens,
}

impl Client {
    fn new(realm: Option<&str>) -> Client {
        Client {
            credentials: Credentials {
                user: "no\"de".to_owned(),
                secret: Secret::new("pass word".to_owned()),
                realm: realm.map(str::to_owned),
            },
            memory: Memory::default(),
            tokens: Tokens::new([3; 32]),
        }
    }

    fn answer(&mut self, request: &Request, response: &Response) -> Option<Request> {
        let (memory, tokens) = (&mut self.memory, &mut self.tokens);
        answer(request, response, &self.credentials, memory, tokens)
    }

    fn to(&mut self, request: &Request, challenges: &[&str]) -> Option<Request> {
        self.answer(request, &challenge(request, 401, challenges))
    }

    fn attach(&mut self) -> Request {
        let mut request = invite();
        self.memory
            .attach(&mut request, &self.credentials, &mut self.tokens);
        request
    }
}

#[test]
fn the_first_challenge_that_is_understood_is_taken() {
    let md5 = r#"Digest realm="r", nonce="m", algorithm=MD5, qop="auth""#;
    let sha = r#"Digest realm="r", nonce="s", algorithm=SHA-256, qop="auth,auth-int""#;
    let none = r#"Digest realm="r", nonce="n""#;
    let odd = r#"Digest realm="r", nonce="o", algorithm=SHA-3, qop="auth""#;
    let odd_qop = r#"Digest realm="r", nonce="q", qop="token""#;
    let basic = r#"Basic realm="r""#;
    for (challenges, nonce) in [
        (&[sha, md5][..], Some("s")),
        (&[md5, sha], Some("m")),
        (&[odd, odd_qop, basic, sha, md5], Some("s")),
        (&[none], Some("n")),
        (&[&format!("{odd}, {basic}, {md5}")], Some("m")),
        (&[odd], None),
        (&[basic], None),
        (&[r#"Digest realm="r""#], None),
        (&[r#"Digest nonce="r""#], None),
        (&["\"\"\"Digest"], None),
        (&[], None),
    ] {
        let answered = Client::new(None).to(&invite(), challenges);
        let got = answered.map(|request| member(&request, "nonce"));
        assert_eq!(got.as_deref(), nonce, "{challenges:?}");
    }
}

#[test]
fn an_answer_says_what_was_asked_and_changes_nothing_else() {
    let mut client = Client::new(Some("r"));
    let asked = r#"Digest realm="r", nonce="n\"1", opaque="", algorithm=SHA-256, qop="auth""#;
    let answered = client.to(&invite(), &[asked]).unwrap();
    let value = answered.headers.value("Authorization").unwrap();
    for part in [
        r#"Digest username="no\"de", realm="r", nonce="n\"1", uri="sip:+31201112233@trunk.example", "#,
        ", algorithm=SHA-256, opaque=\"\", cnonce=\"",
        ", qop=auth, nc=00000001",
    ] {
        assert!(value.contains(part), "{part} in {value}");
    }
    assert_eq!(member(&answered, "response").len(), 64);
    let mut without = answered.clone();
    without.headers.remove("Authorization");
    assert_eq!(without, invite());
    assert!(!format!("{:?} {:?}", client.credentials, client.memory).contains("pass word"));
}

#[test]
fn a_challenge_without_qop_is_answered_as_rfc_2069_does() {
    // MD5(MD5(u:r:p):nonce:MD5(INVITE:uri)), worked out with Python's hashlib.
    let mut client = Client::new(None);
    client.credentials.user = "node".to_owned();
    let answered = client.to(&invite(), &[r#"Digest realm="r", nonce="n""#]);
    let answered = answered.unwrap();
    let names: Vec<String> = members(&answered, Scheme::Www)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["username", "realm", "nonce", "uri", "response"]);
    assert_eq!(member(&answered, "response"), RFC_2069);
}

#[test]
fn wrong_credentials_are_tried_once_and_stale_nonces_again() {
    let asked = |nonce: &str, stale: &str| {
        format!(r#"Digest realm="r", nonce="{nonce}", qop="auth"{stale}"#)
    };
    let stale = ", stale=TRUE";
    let mut client = Client::new(None);
    let first = client.to(&invite(), &[&asked("a", "")]).unwrap();
    assert_eq!(client.to(&first, &[&asked("a", "")]), None);
    assert_eq!(client.to(&first, &[&asked("b", "")]), None);
    let second = client.to(&first, &[&asked("b", stale)]).unwrap();
    assert_eq!(member(&second, "nonce"), "b");
    assert_eq!(member(&second, "nc"), "00000001");
    let third = client.to(&second, &[&asked("c", stale)]).unwrap();
    assert_eq!(client.to(&third, &[&asked("d", stale)]), None);
    // Credentials put in at once may meet a server that forgot the nonce and does not say stale.
    let mut client = Client::new(None);
    client.to(&invite(), &[&asked("a", "")]).unwrap();
    let next = client.attach();
    assert_eq!(member(&next, "nc"), "00000002");
    let again = client.to(&next, &[&asked("b", "")]).unwrap();
    assert_eq!(client.to(&again, &[&asked("c", "")]), None);
    assert_eq!(client.to(&next, &[&asked("a", "")]), None);
}

#[test]
fn the_next_request_goes_with_credentials_at_once() {
    let mut client = Client::new(None);
    assert_eq!(client.attach(), invite());
    let sess = r#"Digest realm="r", nonce="n", qop="auth", algorithm=MD5-sess"#;
    let first = client.to(&invite(), &[sess]).unwrap();
    let second = client.attach();
    assert_eq!(member(&first, "nc"), "00000001");
    assert_eq!(member(&second, "nc"), "00000002");
    assert_eq!(member(&first, "cnonce"), member(&second, "cnonce"));
    assert_ne!(member(&first, "response"), member(&second, "response"));
    let plain = r#"Digest realm="r", nonce="p", qop="auth", algorithm=MD5"#;
    let third = client.to(&invite(), &[plain]).unwrap();
    let fourth = client.attach();
    assert_ne!(member(&third, "cnonce"), member(&fourth, "cnonce"));
    let mut ok = Response::to(&fourth, StatusCode::OK);
    ok.headers
        .push("Authentication-Info", r#"nextnonce="x", qop=auth"#);
    client.memory.accepted(&ok);
    let fifth = client.attach();
    assert_eq!(member(&fifth, "nonce"), "x");
    assert_eq!(member(&fifth, "nc"), "00000001");
    // Its first use was no answer to a challenge, so it may be out of date.
    assert!(client.to(&fifth, &[plain]).is_some());
}

#[test]
fn an_answer_just_made_goes_out_as_it_is_and_once() {
    let mut client = Client::new(None);
    let asked = r#"Digest realm="r", nonce="n", qop="auth""#;
    let made = client.to(&invite(), &[asked]).unwrap();
    let mut sent = made.clone();
    let mut attach = |request: &mut Request| {
        let tokens = &mut client.tokens;
        client.memory.attach(request, &client.credentials, tokens);
    };
    attach(&mut sent);
    assert_eq!(sent, made);
    attach(&mut sent);
    assert_eq!(member(&sent, "nc"), "00000002");
}

#[test]
fn realms_are_kept_apart() {
    let mine = r#"Digest realm="mine", nonce="1", qop="auth""#;
    let other = r#"Digest realm="other", nonce="2", qop="auth""#;
    let mut client = Client::new(Some("mine"));
    assert_eq!(client.to(&invite(), &[other]), None);
    let answered = client.to(&invite(), &[other, mine]).unwrap();
    assert_eq!(member(&answered, "realm"), "mine");

    let mut both = challenge(&invite(), 407, &[mine]);
    both.headers.push("WWW-Authenticate", other);
    let mut client = Client::new(None);
    let answered = client.answer(&invite(), &both).unwrap();
    let realm = |scheme| members(&answered, scheme)[1].clone();
    assert_eq!(realm(Scheme::Proxy), ("realm".into(), "mine".into()));
    assert_eq!(realm(Scheme::Www), ("realm".into(), "other".into()));
    assert_eq!(Challenge::of(&both, Scheme::Proxy)[0].realm(), "mine");

    // An answer of a proxy passed stays when the next one asks.
    let first = Client::new(None).to(&invite(), &[mine]).unwrap();
    let second = Client::new(None).to(&first, &[other]).unwrap();
    assert_eq!(second.headers.values("Authorization").count(), 2);
}

#[test]
fn only_challenges_are_answered_and_memory_is_bounded() {
    let mut client = Client::new(None);
    for status in [100, 200, 400, 403, 494, 503] {
        let response = challenge(&invite(), status, &[r#"Digest realm="r", nonce="n""#]);
        assert_eq!(client.answer(&invite(), &response), None, "{status}");
    }
    for n in 0..1000 {
        let asked = format!(r#"Digest realm="r{n}", nonce="n", qop="auth""#);
        assert!(client.to(&invite(), &[&asked]).is_some());
    }
    assert_eq!(client.attach().headers.values("Authorization").count(), 8);
    let long = format!(r#"Digest realm="r", nonce="{}""#, "n".repeat(5000));
    assert_eq!(client.to(&invite(), &[&long]), None);
    let many: Vec<String> = (0..400)
        .map(|n| format!(r#"Digest realm="m{n}", nonce="n""#))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answered = client.to(&invite(), &many).unwrap();
    assert_eq!(answered.headers.values("Authorization").count(), 8);
}
