//! `[operations]`, `[api]` and `[[api.token]]`.

use std::net::SocketAddr;

use duolog_reach::digest::Secret;

use super::parties::secret;
use super::words::some_text;
use crate::config::document::Section;
use crate::config::{Api, ApiRight, Doors, Token, User};

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

pub(super) fn doors(root: &mut Section<'_>, users: &[User]) -> Doors {
    let mut section = root.section("operations");
    let operations = address(&mut section, 9060);
    section.finish();
    let api = api(root.section("api"), users);
    if api.listen == operations && operations.port() != 0 && !api.tokens.is_empty() {
        let what = "is where operations listens; give it a port of its own".into();
        root.section("api").refuse("listen", what);
    }
    Doors { operations, api }
}

fn address(section: &mut Section<'_>, port: u16) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], port));
    let allowed = "write HOST:PORT with a numeric host";
    section.parsed("listen", default, allowed, |text| text.parse().ok())
}

fn api(mut section: Section<'_>, users: &[User]) -> Api {
    let listen = address(&mut section, 9061);
    let mut tokens: Vec<Token> = Vec::new();
    for mut section in section.sections("token") {
        let token = token(&mut section, users);
        if let Some(token) = &token {
            if tokens.iter().any(|other| other.name == token.name) {
                section.refuse("name", format!("{} is already a token", token.name));
            }
            if let Some(other) = tokens.iter().find(|other| other.secret == token.secret) {
                section.refuse("token", format!("is the same as that of {}", other.name));
            }
        }
        section.finish();
        tokens.extend(token);
    }
    section.finish();
    Api { listen, tokens }
}

fn token(section: &mut Section<'_>, users: &[User]) -> Option<Token> {
    let rights = |text: &str| match text {
        "control" => Some(ApiRight::Control),
        "settings" => Some(ApiRight::Settings),
        "read" => Some(ApiRight::Read),
        _ => None,
    };
    let name = section.required("name", "write a name", some_text);
    let secret = secret(section, "token", "token_file");
    if !section.has("token") && !section.has("token_file") {
        section.refuse("token", "is missing; write token or token_file".into());
    }
    if secret.as_ref().is_some_and(|secret| !is_token(secret)) {
        let what = format!("needs {SHORTEST_TOKEN} or more of A-Z a-z 0-9 - . _ ~ + / =");
        section.refuse("token", what);
    }
    let allowed = "write control, settings or read";
    let rights = section.list("rights", Vec::new(), allowed, rights);
    if rights.is_empty() {
        let what = "needs at least one of control, settings, read".into();
        section.refuse("rights", what);
    }
    let named = section.list("users", Vec::new(), "write a name, or *", some_text);
    if named.is_empty() {
        section.refuse("users", "needs at least one name, or [\"*\"]".into());
    }
    let all = named.iter().any(|name| name == "*");
    for name in named.iter().filter(|name| *name != "*") {
        if !users.iter().any(|user| user.name == **name) {
            section.refuse("users", format!("there is no user {name}"));
        }
    }
    Some(Token {
        name: name?,
        secret: secret?,
        users: (!all).then_some(named),
        rights,
    })
}

/// RFC 6750 §2.1.
fn is_token(secret: &Secret) -> bool {
    let text = secret.expose();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    text.len() >= SHORTEST_TOKEN && text.chars().all(plain)
}
