//! CSeq (RFC 3261 §20.16).

use std::fmt;
use std::str::FromStr;

use crate::method::Method;

/// A sequence number and its method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The number; sent below 2^31 (RFC 3261 §8.1.1.5), read up to 2^32 - 1.
    pub number: u32,
    /// The method.
    pub method: Method,
}

/// The text is not `number method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number and a method")]
pub struct CSeqError;

impl FromStr for CSeq {
    type Err = CSeqError;

    fn from_str(text: &str) -> Result<CSeq, CSeqError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(number), Some(method), None) = (words.next(), words.next(), words.next()) else {
            return Err(CSeqError);
        };
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CSeqError);
        }
        Ok(CSeq {
            number: number.parse().map_err(|_| CSeqError)?,
            method: Method::parse(method).ok_or(CSeqError)?,
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let cseq: CSeq = "  0009\t INVITE ".parse().unwrap();
        assert_eq!(
            cseq,
            CSeq {
                number: 9,
                method: Method::Invite
            }
        );
        assert_eq!(cseq.to_string(), "9 INVITE");
        for text in [
            "",
            "1",
            "INVITE",
            "-1 INVITE",
            "+1 INVITE",
            "4294967296 INVITE",
            "1 INVITE x",
        ] {
            assert_eq!(text.parse::<CSeq>(), Err(CSeqError), "{text}");
        }
    }
}
