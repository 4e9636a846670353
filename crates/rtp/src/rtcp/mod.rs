//! RTCP (RFC 3550 §6): reports read from and written to compound packets, and the machine that
//! decides when and what one leg side reports.

mod machine;
mod read;
mod report;
mod write;

pub use machine::{Peer, Rtcp, RtcpSettings};
pub use read::parse;
pub use report::{Block, NtpTime, Report, RtcpError, SenderFigures, is_rtcp};
pub use write::write;
