//! Coded frames in one run of bytes: payloads as they were received, each with its place and length.
//!
//! Numbers are little-endian, times in ticks of 1/8000 s:
//!
//! ```text
//! u16 codec | u32 offset | u16 length in ticks | u16 octets | the payload | ...
//! ```

use thiserror::Error;

/// Octets in front of a payload.
const HEAD_BYTES: usize = 10;

/// One payload and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodedFrame<'a> {
    /// Ticks of 1/8000 s from the beginning of the stretch to the payload's first sample.
    pub offset: u32,
    /// Its length in ticks of 1/8000 s, rounded to the nearest.
    pub ticks: u16,
    /// [`crate::codec::Codec::code`]; kept as it is even when this version knows no such codec.
    pub codec: u16,
    /// As received, at most 65,535 octets.
    pub payload: &'a [u8],
}

/// A list of coded frames ends inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the list of coded frames is cut off {left} octets after its last whole frame")]
pub struct CodedError {
    /// Octets behind the last whole frame.
    pub left: usize,
}

/// Appends `frame` to `list`.
///
/// # Panics
/// When the payload is longer than 65,535 octets, which no datagram holds.
pub fn push(list: &mut Vec<u8>, frame: CodedFrame<'_>) {
    let bytes = u16::try_from(frame.payload.len()).expect("a payload comes from one datagram");
    list.extend_from_slice(&frame.codec.to_le_bytes());
    list.extend_from_slice(&frame.offset.to_le_bytes());
    list.extend_from_slice(&frame.ticks.to_le_bytes());
    list.extend_from_slice(&bytes.to_le_bytes());
    list.extend_from_slice(frame.payload);
}

/// The frames of `list` in the order they were pushed; after an error comes nothing more.
pub fn read(list: &[u8]) -> impl Iterator<Item = Result<CodedFrame<'_>, CodedError>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let left = rest.len();
        let first = split_first(rest);
        rest = first.map_or(&[], |(_, after)| after);
        Some(first.map(|(frame, _)| frame).ok_or(CodedError { left }))
    })
}

fn split_first(list: &[u8]) -> Option<(CodedFrame<'_>, &[u8])> {
    let (head, rest) = list.split_first_chunk::<HEAD_BYTES>()?;
    let [c0, c1, o0, o1, o2, o3, t0, t1, b0, b1] = *head;
    let (payload, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([b0, b1])))?;
    let frame = CodedFrame {
        offset: u32::from_le_bytes([o0, o1, o2, o3]),
        ticks: u16::from_le_bytes([t0, t1]),
        codec: u16::from_le_bytes([c0, c1]),
        payload,
    };
    Some((frame, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(offset: u32, ticks: u16, codec: u16, payload: &[u8]) -> CodedFrame<'_> {
        CodedFrame {
            offset,
            ticks,
            codec,
            payload,
        }
    }

    #[test]
    fn what_is_pushed_is_read_in_order() {
        let long = vec![7; 65_535];
        let frames = [
            frame(0, 160, 3, b"abc"),
            frame(160, 480, 5, b""),
            frame(u32::MAX, u16::MAX, 0xC780, &long),
            frame(5, 1, 999, b"\x00"),
        ];
        let mut list = Vec::new();
        frames.iter().for_each(|&frame| push(&mut list, frame));
        let back: Vec<_> = read(&list).collect();
        assert_eq!(back, frames.map(Ok));
        assert_eq!(read(&[]).count(), 0);
    }

    #[test]
    fn the_layout_is_this() {
        let mut list = Vec::new();
        push(&mut list, frame(0x0403_0201, 0x0605, 0x0807, b"xy"));
        assert_eq!(list, b"\x07\x08\x01\x02\x03\x04\x05\x06\x02\x00xy");
    }

    #[test]
    fn a_list_cut_anywhere_gives_what_is_whole_and_one_error() {
        let mut list = Vec::new();
        push(&mut list, frame(0, 160, 3, b"abc"));
        let first = list.len();
        push(&mut list, frame(160, 160, 3, b"defg"));
        for length in 1..list.len() {
            let read: Vec<_> = read(&list[..length]).collect();
            let whole = usize::from(length >= first);
            let left = length - whole * first;
            let ends = usize::from(left > 0);
            assert_eq!(read.len(), whole + ends, "{length}");
            assert!(read[..whole].iter().all(Result::is_ok));
            if left > 0 {
                assert_eq!(read[whole], Err(CodedError { left }));
            }
        }
    }
}
