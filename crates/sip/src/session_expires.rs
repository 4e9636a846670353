//! Session-Expires (RFC 4028 §4).

use std::fmt;
use std::str::FromStr;

use crate::params::Params;
use crate::rack::number;

/// How long a session lives without a refresh, and who refreshes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionExpires {
    /// Seconds, as written; below 90 is against RFC 4028 §4.
    pub s: u32,
    /// Who refreshes; open in a request that leaves it to the other end.
    pub refresher: Option<Refresher>,
}

/// The side of a transaction that refreshes the session from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

/// The text is not `seconds[;refresher=uac|uas]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session interval")]
pub struct SessionExpiresError;

impl Refresher {
    /// The value of the `refresher` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

impl FromStr for SessionExpires {
    type Err = SessionExpiresError;

    fn from_str(text: &str) -> Result<SessionExpires, SessionExpiresError> {
        let (seconds, params) = text.split_once(';').unwrap_or((text, ""));
        let seconds = seconds.trim();
        let s = number(seconds).ok_or(SessionExpiresError)?;
        let params = Params::parse(params);
        let said = params.value("refresher").unwrap_or_default();
        let refresher = [Refresher::Uac, Refresher::Uas]
            .into_iter()
            .find(|side| side.as_str().eq_ignore_ascii_case(said));
        Ok(SessionExpires { s, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.s)?;
        match self.refresher {
            Some(side) => write!(f, ";refresher={}", side.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        for (text, s, refresher, written) in [
            ("1800", 1800, None, "1800"),
            (
                " 90 ; Refresher = UAS",
                90,
                Some(Refresher::Uas),
                "90;refresher=uas",
            ),
            (
                "3600;x=y;refresher=uac",
                3600,
                Some(Refresher::Uac),
                "3600;refresher=uac",
            ),
            ("60;refresher=nobody", 60, None, "60"),
        ] {
            let read: SessionExpires = text.parse().unwrap();
            assert_eq!(read, SessionExpires { s, refresher }, "{text}");
            assert_eq!(read.to_string(), written, "{text}");
        }
        for text in ["", "-1", "1 2", ";refresher=uac", "99999999999"] {
            assert_eq!(
                text.parse::<SessionExpires>(),
                Err(SessionExpiresError),
                "{text}"
            );
        }
    }
}
