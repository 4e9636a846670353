//! RAck: which reliable provisional response a PRACK is for (RFC 3262 §7.2).

use std::fmt;
use std::str::FromStr;

use crate::cseq::{CSeq, CSeqError};

/// The RSeq of a response and the CSeq of the request that it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RAck {
    /// RSeq of the response, 1 to 2^32 - 1.
    pub rseq: u32,
    /// CSeq of the response.
    pub cseq: CSeq,
}

impl FromStr for RAck {
    type Err = CSeqError;

    fn from_str(text: &str) -> Result<RAck, CSeqError> {
        let (rseq, cseq) = text.trim().split_once([' ', '\t']).ok_or(CSeqError)?;
        let rseq = number(rseq).filter(|rseq| *rseq > 0).ok_or(CSeqError)?;
        let cseq = cseq.parse()?;
        Ok(RAck { rseq, cseq })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// Digits only, up to 2^32 - 1: a sign or a blank inside is none.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let rack: RAck = " 776656 \t 1  INVITE ".parse().unwrap();
        assert_eq!((rack.rseq, rack.cseq.number), (776_656, 1));
        assert_eq!(rack.to_string(), "776656 1 INVITE");
        assert_eq!(rack.to_string().parse(), Ok(rack));
        for text in [
            "",
            "1",
            "1 INVITE",
            "0 1 INVITE",
            "-1 1 INVITE",
            "4294967296 1 INVITE",
            "1 1 INVITE x",
        ] {
            assert_eq!(text.parse::<RAck>(), Err(CSeqError), "{text}");
        }
    }
}
