//! The spool's format, versions 1 and 2. All numbers little-endian.
//!
//! ```text
//!  file    | part header (36) | frame | frame | frame | ...
//!
//!  part    0        8         10        12     16             32      36
//!  header  +--------+---------+---------+------+--------------+-------+
//!          | magic  | version | length  | part | recording id | crc   |
//!          | DUOSPL\r\n u16   | u16=36  | u32  | u128         | u32   |
//!          +--------+---------+---------+------+--------------+-------+
//!
//!  frame   0        4      5     8         16    20
//!          +--------+------+-----+---------+-----+----------------+
//!          | length | kind | 0 0 | number  | crc | body (length)  |
//!          | u32    | u8   | 0   | u64     | u32 |                |
//!          +--------+------+-----+---------+-----+----------------+
//!
//!  body    Open  1 | wall_us u64 | payload ...
//!          Audio 2 | position u64 | samples u32 | format u8 | payload ...
//!          Gap   3 | position u64 | samples u64 | channel u8 | reason u8
//!          Fact  4 | position u64 | wall_us u64 | payload ...
//!          Seal  5 | position u64 | wall_us u64 | closing u8 | payload ...
//!
//!  version Locked 6 | position u64 | samples u32 | format u8 | encrypted payload ... | tag (16)
//!  2 alone Key    7 | key (32)
//! ```
//!
//! 1. `number` counts the frames of a recording from 0, across its parts. A part that takes over
//!    from a failed one repeats the frames that were not yet durable, under the same numbers.
//! 2. `crc` is CRC-32C. In the part header: over the bytes before it. In a frame: over the recording
//!    id, the 16 bytes before it and the body, so that a frame of another recording never fits.
//! 3. A reader checks length, kind, crc, in that order. The first frame that fails ends the part:
//!    what follows was never reported durable.
//! 4. Nothing follows a Seal.
//! 5. Version 2 is for recordings that may not be kept: their audio is in Locked frames, to the end,
//!    and a Key frame says what opens them, once they are to be kept. Without it nobody can read them;
//!    see `lock`. Authenticated with the payload are recording id, number and the fixed part of the body.
//!    All else of them is in clear. What is kept from the first is written as version 1, byte for byte.
//!    The Seal that recovery makes is of the parts' own version: a reader of version 1 alone sets aside
//!    such a recording as a whole, and does not finish it without what it cannot read.

use crate::lock::{KEY_BYTES, Lock, LockKey, TAG_BYTES};
use crate::name::{PartNo, RecordingId};

/// The longest payload a frame carries, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Reasons of gaps the spool itself makes; below 240 a reason is the caller's.
pub mod gap_reason {
    /// The disk had no room for the audio.
    pub const DISK_FULL: u8 = 240;
    /// The disk could not be written for so long that the memory for audio ran out.
    pub const DISK_FAILED: u8 = 241;
}

/// How a recording came to its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// The writer sealed it.
    Ended,
    /// Recovery sealed it, after a crash.
    Interrupted,
}

/// One frame as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The recording's first frame.
    Open {
        /// Wall time, microseconds since 1970 UTC.
        wall_us: u64,
        /// The caller's bytes.
        payload: Vec<u8>,
    },
    /// A block of audio.
    Audio {
        /// First sample, in samples since the recording's start.
        position: u64,
        /// The caller's code for how the payload is to be read.
        format: u8,
        /// Length in samples per channel.
        samples: u32,
        /// The caller's bytes.
        payload: Vec<u8>,
    },
    /// A block of audio that cannot be read: nobody asked for it to be kept, or it was changed.
    Locked {
        /// First sample, in samples since the recording's start.
        position: u64,
        /// The caller's code for how the payload would be to be read.
        format: u8,
        /// Length in samples per channel.
        samples: u32,
        /// What lies on the disk, a tag behind it.
        sealed: Vec<u8>,
    },
    /// All audio of a recording that began locked is kept, before this frame and behind it.
    Key {
        /// What opens it.
        key: LockKey,
    },
    /// A stretch of one channel without audio, and why.
    Gap {
        /// Channel, from 0.
        channel: u8,
        /// First sample, in samples since the recording's start.
        position: u64,
        /// Length in samples.
        samples: u64,
        /// The caller's reason below 240, else one of [`gap_reason`].
        reason: u8,
    },
    /// Something that happened, in order with the audio.
    Fact {
        /// Where, in samples since the recording's start.
        position: u64,
        /// Wall time, microseconds since 1970 UTC.
        wall_us: u64,
        /// The caller's bytes.
        payload: Vec<u8>,
    },
    /// The recording's last frame.
    Seal {
        /// The recording's length in samples.
        position: u64,
        /// Wall time, microseconds since 1970 UTC.
        wall_us: u64,
        /// Who closed it.
        closing: Closing,
        /// The caller's bytes; empty when interrupted.
        payload: Vec<u8>,
    },
}

/// One frame to append, borrowed. Open and Seal are calls of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameIn<'a> {
    /// As [`Frame::Audio`].
    Audio {
        /// First sample, in samples since the recording's start.
        position: u64,
        /// The caller's code for how the payload is to be read.
        format: u8,
        /// Length in samples per channel.
        samples: u32,
        /// The caller's bytes, at most [`MAX_PAYLOAD_BYTES`].
        payload: &'a [u8],
    },
    /// As [`Frame::Gap`].
    Gap {
        /// Channel, from 0.
        channel: u8,
        /// First sample, in samples since the recording's start.
        position: u64,
        /// Length in samples.
        samples: u64,
        /// The caller's reason, below 240.
        reason: u8,
    },
    /// As [`Frame::Fact`].
    Fact {
        /// Where, in samples since the recording's start.
        position: u64,
        /// Wall time, microseconds since 1970 UTC.
        wall_us: u64,
        /// The caller's bytes, at most [`MAX_PAYLOAD_BYTES`].
        payload: &'a [u8],
    },
}

pub(crate) const PART_HEADER_BYTES: usize = 36;
pub(crate) const FRAME_HEADER_BYTES: usize = 20;
/// The longest fixed part of a body (Gap).
const MAX_FIXED_BYTES: usize = 18;
const MAX_BODY_BYTES: usize = MAX_FIXED_BYTES + MAX_PAYLOAD_BYTES + TAG_BYTES;
const MAGIC: &[u8; 8] = b"DUOSPL\r\n";
const AUDIO: u8 = 2;
const LOCKED: u8 = 6;
const KEY: u8 = 7;

/// The version of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Everything in clear.
    One,
    /// With Locked and Key frames.
    Two,
}

impl Version {
    fn number(self) -> u16 {
        match self {
            Version::One => 1,
            Version::Two => 2,
        }
    }

    /// The highest kind that a frame of this version has.
    fn last_kind(self) -> u8 {
        match self {
            Version::One => 5,
            Version::Two => KEY,
        }
    }
}

/// Why a part's first bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Torn,
    Version(u16),
    /// A good header of another recording or part than the file's name says.
    Stranger,
}

impl HeaderFault {
    /// For people.
    pub(crate) fn reason(self) -> String {
        match self {
            HeaderFault::Torn => "its header is torn".to_owned(),
            HeaderFault::Version(version) => format!("its format version {version} is unknown"),
            HeaderFault::Stranger => "its header names another recording or part".to_owned(),
        }
    }
}

pub(crate) fn write_part_header(
    version: Version,
    recording: RecordingId,
    part: PartNo,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&version.number().to_le_bytes());
    out.extend_from_slice(&(PART_HEADER_BYTES as u16).to_le_bytes());
    out.extend_from_slice(&part.0.to_le_bytes());
    out.extend_from_slice(&recording.0.to_le_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

pub(crate) fn check_part_header(
    recording: RecordingId,
    part: PartNo,
    bytes: &[u8],
) -> Result<Version, HeaderFault> {
    let mut fields = Fields(bytes);
    let torn = HeaderFault::Torn;
    if fields.take::<8>().ok_or(torn)? != *MAGIC {
        return Err(torn);
    }
    let version = match u16::from_le_bytes(fields.take().ok_or(torn)?) {
        1 => Version::One,
        2 => Version::Two,
        unknown => return Err(HeaderFault::Version(unknown)),
    };
    let mut wanted = Vec::with_capacity(PART_HEADER_BYTES);
    write_part_header(version, recording, part, &mut wanted);
    let found = bytes.get(..PART_HEADER_BYTES).ok_or(torn)?;
    let (head, crc) = found.split_at(PART_HEADER_BYTES - 4);
    if crc32c::crc32c(head).to_le_bytes() != crc {
        return Err(torn);
    }
    if found == wanted {
        Ok(version)
    } else {
        Err(HeaderFault::Stranger)
    }
}

/// One frame to write: its kind, the fixed part of its body, and the caller's bytes.
pub(crate) struct Draft<'a> {
    kind: u8,
    fixed: [u8; MAX_FIXED_BYTES],
    fixed_len: usize,
    payload: &'a [u8],
}

impl<'a> Draft<'a> {
    pub fn open(wall_us: u64, payload: &'a [u8]) -> Self {
        Self::new(1, &[&wall_us.to_le_bytes()], payload)
    }

    pub fn frame(frame: FrameIn<'a>) -> Self {
        match frame {
            FrameIn::Audio {
                position,
                format,
                samples,
                payload,
            } => {
                let fixed: [&[u8]; 3] =
                    [&position.to_le_bytes(), &samples.to_le_bytes(), &[format]];
                Self::new(AUDIO, &fixed, payload)
            }
            FrameIn::Gap {
                channel,
                position,
                samples,
                reason,
            } => {
                let fixed: [&[u8]; 3] = [
                    &position.to_le_bytes(),
                    &samples.to_le_bytes(),
                    &[channel, reason],
                ];
                Self::new(3, &fixed, &[])
            }
            FrameIn::Fact {
                position,
                wall_us,
                payload,
            } => Self::new(
                4,
                &[&position.to_le_bytes(), &wall_us.to_le_bytes()],
                payload,
            ),
        }
    }

    pub fn seal(position: u64, wall_us: u64, closing: Closing, payload: &'a [u8]) -> Self {
        let closing = match closing {
            Closing::Ended => 0,
            Closing::Interrupted => 1,
        };
        let fixed: [&[u8]; 3] = [&position.to_le_bytes(), &wall_us.to_le_bytes(), &[closing]];
        Self::new(5, &fixed, payload)
    }

    pub fn key(key: &'a LockKey) -> Self {
        Self::new(KEY, &[], key.bytes())
    }

    fn new(kind: u8, fields: &[&[u8]], payload: &'a [u8]) -> Self {
        let mut draft = Draft {
            kind,
            fixed: [0; MAX_FIXED_BYTES],
            fixed_len: 0,
            payload,
        };
        for field in fields {
            draft.fixed[draft.fixed_len..][..field.len()].copy_from_slice(field);
            draft.fixed_len += field.len();
        }
        draft
    }

    /// Length on disk, header included; locked audio has a tag more.
    pub fn len(&self) -> usize {
        FRAME_HEADER_BYTES + self.fixed_len + self.payload.len()
    }

    /// Appends the frame to `out`. With a lock audio is encrypted there, before anything else sees it.
    pub fn write(
        &self,
        recording: RecordingId,
        number: u64,
        lock: Option<&Lock>,
        out: &mut Vec<u8>,
    ) {
        let lock = lock.filter(|_| self.kind == AUDIO);
        let (kind, tag) = match lock {
            Some(_) => (LOCKED, TAG_BYTES),
            None => (self.kind, 0),
        };
        let fixed = &self.fixed[..self.fixed_len];
        let mut head = [0; FRAME_HEADER_BYTES];
        let length = (fixed.len() + self.payload.len() + tag) as u32;
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4] = kind;
        head[8..16].copy_from_slice(&number.to_le_bytes());
        let start = out.len();
        out.extend_from_slice(&head);
        out.extend_from_slice(fixed);
        out.extend_from_slice(self.payload);
        if let Some(lock) = lock {
            let payload = &mut out[start + FRAME_HEADER_BYTES + fixed.len()..];
            let tag = lock.seal(number, &beside(recording, number, fixed), payload);
            out.extend_from_slice(tag.as_ref());
        }
        let body = &out[start + FRAME_HEADER_BYTES..];
        let crc = crc32c::crc32c_append(crc_of_head(recording, &head), body);
        out[start + 16..start + FRAME_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What is authenticated beside a locked payload.
fn beside(recording: RecordingId, number: u64, fixed: &[u8]) -> Vec<u8> {
    let id = recording.0.to_le_bytes();
    [&id[..], &number.to_le_bytes(), fixed].concat()
}

fn crc_of_head(recording: RecordingId, head: &[u8; FRAME_HEADER_BYTES]) -> u32 {
    let crc = crc32c::crc32c(&recording.0.to_le_bytes());
    crc32c::crc32c_append(crc, &head[..16])
}

/// A frame header whose length is within bounds; its crc is not checked yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub body_len: usize,
    pub number: u64,
    kind: u8,
    crc: u32,
    crc_so_far: u32,
}

impl Head {
    /// `None`: not a frame.
    pub fn parse(
        version: Version,
        recording: RecordingId,
        bytes: &[u8; FRAME_HEADER_BYTES],
    ) -> Option<Head> {
        let mut fields = Fields(bytes);
        let body_len = u32::from_le_bytes(fields.take()?) as usize;
        let [kind, zero @ ..] = fields.take::<4>()?;
        let number = u64::from_le_bytes(fields.take()?);
        let crc = u32::from_le_bytes(fields.take()?);
        let sound = (1..=version.last_kind()).contains(&kind)
            && zero == [0; 3]
            && (1..=MAX_BODY_BYTES).contains(&body_len);
        let crc_so_far = crc_of_head(recording, bytes);
        sound.then_some(Head {
            body_len,
            number,
            kind,
            crc,
            crc_so_far,
        })
    }

    /// `None`: the body is damaged.
    pub fn frame(&self, body: &[u8]) -> Option<Frame> {
        if crc32c::crc32c_append(self.crc_so_far, body) != self.crc {
            return None;
        }
        let mut fields = Fields(body);
        if self.kind == KEY {
            let key: &[u8; KEY_BYTES] = body.try_into().ok()?;
            let key = LockKey::filled(|into| *into = *key);
            return Some(Frame::Key { key });
        }
        let first = u64::from_le_bytes(fields.take()?);
        Some(match self.kind {
            1 => Frame::Open {
                wall_us: first,
                payload: fields.rest(),
            },
            LOCKED => Frame::Locked {
                position: first,
                samples: u32::from_le_bytes(fields.take()?),
                format: u8::from_le_bytes(fields.take()?),
                sealed: fields.rest(),
            },
            AUDIO => Frame::Audio {
                position: first,
                samples: u32::from_le_bytes(fields.take()?),
                format: u8::from_le_bytes(fields.take()?),
                payload: fields.rest(),
            },
            3 => Frame::Gap {
                position: first,
                samples: u64::from_le_bytes(fields.take()?),
                channel: u8::from_le_bytes(fields.take()?),
                reason: u8::from_le_bytes(fields.take()?),
            },
            4 => Frame::Fact {
                position: first,
                wall_us: u64::from_le_bytes(fields.take()?),
                payload: fields.rest(),
            },
            _ => Frame::Seal {
                position: first,
                wall_us: u64::from_le_bytes(fields.take()?),
                closing: match fields.take()? {
                    [0] => Closing::Ended,
                    [1] => Closing::Interrupted,
                    _ => return None,
                },
                payload: fields.rest(),
            },
        })
    }
}

impl Frame {
    /// A locked block as it was before; as it is where `lock` is not its own. All others stay.
    pub(crate) fn opened(self, recording: RecordingId, number: u64, lock: &Lock) -> Frame {
        let Frame::Locked {
            position,
            format,
            samples,
            sealed,
        } = self
        else {
            return self;
        };
        let draft = Draft::frame(FrameIn::Audio {
            position,
            format,
            samples,
            payload: &[],
        });
        let beside = beside(recording, number, &draft.fixed[..draft.fixed_len]);
        match lock.open(number, &beside, &sealed) {
            Some(payload) => Frame::Audio {
                position,
                format,
                samples,
                payload,
            },
            None => Frame::Locked {
                position,
                format,
                samples,
                sealed,
            },
        }
    }

    /// The first sample after what this frame speaks of.
    pub(crate) fn end(&self) -> u64 {
        match *self {
            Frame::Open { .. } | Frame::Key { .. } => 0,
            Frame::Audio {
                position, samples, ..
            }
            | Frame::Locked {
                position, samples, ..
            } => position.saturating_add(samples.into()),
            Frame::Gap {
                position, samples, ..
            } => position.saturating_add(samples),
            Frame::Fact { position, .. } | Frame::Seal { position, .. } => position,
        }
    }
}

impl FrameIn<'_> {
    /// As [`Frame::end`].
    pub(crate) fn end(&self) -> u64 {
        match *self {
            FrameIn::Audio {
                position, samples, ..
            } => position.saturating_add(samples.into()),
            FrameIn::Gap {
                position, samples, ..
            } => position.saturating_add(samples),
            FrameIn::Fact { position, .. } => position,
        }
    }
}

/// Takes fixed-size fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn rest(self) -> Vec<u8> {
        self.0.to_vec()
    }
}
