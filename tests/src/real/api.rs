//! The HTTP API of a program at a site, asked as another program asks it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Duolog, Site};

/// A token that may do everything.
pub const ADMIN: &str = "admin-0123456789abcdef";

/// Longest wait for an answer on loopback.
const ANSWER: Duration = Duration::from_secs(10);

/// Where it listens.
#[must_use]
pub fn address(site: &Site) -> SocketAddr {
    (site.node(), 9061).into()
}

/// The sections of the configuration: it listens, and takes [`ADMIN`].
#[must_use]
pub fn sections(site: &Site) -> String {
    let listen = address(site);
    format!(
        "[api]\nlisten = \"{listen}\"\n[[api.token]]\nname = \"admin\"\ntoken = \"{ADMIN}\"\n\
         users = [\"*\"]\nrights = [\"control\", \"settings\", \"read\"]\n"
    )
}

/// One request over a connection of its own: status and body; none where nobody answers.
#[must_use]
pub fn ask(to: SocketAddr, what: &str, token: &str, body: &str) -> Option<(u16, Value)> {
    ask_with(to, what, (token, ""), body)
}

/// As [`ask`], with lines of header beside the token's.
#[must_use]
pub fn ask_with(
    to: SocketAddr,
    what: &str,
    (token, lines): (&str, &str),
    body: &str,
) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect_timeout(&to, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         {lines}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

/// Waits until the one half of a call is in a state; answers its id.
///
/// # Panics
/// When it does not come to that.
pub fn until(site: &Site, duolog: &mut Duolog, state: &str) -> String {
    let to = address(site);
    duolog.process.until(ANSWER, state, || {
        let (_, body) = ask(to, "GET /api/v1/calls", ADMIN, "")?;
        let half = body["calls"].get(0)?;
        let id = half["id"].as_str()?;
        (half["state"] == state).then(|| id.to_owned())
    })
}

/// Asks for `start`, `stop`, `pause` or `resume`, which must be done; answers the state after it.
///
/// # Panics
/// When it is refused.
pub fn control(site: &Site, id: &str, action: &str) -> String {
    let what = format!("POST /api/v1/calls/{id}/recording");
    let body = json!({ "action": action }).to_string();
    let answer = ask(address(site), &what, ADMIN, &body);
    let (status, answer) = answer.unwrap_or_else(|| panic!("no answer to {what}"));
    assert_eq!(status, 200, "{what} {action}: {answer}");
    answer["state"].as_str().unwrap_or_default().to_owned()
}
