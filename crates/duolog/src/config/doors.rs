//! The HTTP doors, as configured.

use std::net::SocketAddr;

use duolog_reach::digest::Secret;

/// `[operations]` and `[api]`
#[derive(Debug, Clone, PartialEq)]
pub struct Doors {
    /// Where metrics and health are served.
    pub operations: SocketAddr,
    /// Where calls are controlled and settings changed.
    pub api: Api,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Where it is served, if there is any token.
    pub listen: SocketAddr,
    /// Who may ask.
    pub tokens: Vec<Token>,
}

/// `[[api.token]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Name in logs, and of who changed settings.
    pub name: String,
    /// What is shown as `Authorization: Bearer`.
    pub secret: Secret,
    /// Whose calls and settings; `None` for everybody's.
    pub users: Option<Vec<String>>,
    /// What for.
    pub rights: Vec<ApiRight>,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiRight {
    /// Start, stop, pause and resume recordings.
    Control,
    /// Change settings.
    Settings,
    /// See calls and settings.
    Read,
}
