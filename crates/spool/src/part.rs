//! Reads one part: its header, then frames until the first that is not whole.

use crate::disk::{Disk, DiskError};
use crate::frame::check_part_header;
use crate::frame::{FRAME_HEADER_BYTES, Frame, Head, HeaderFault, PART_HEADER_BYTES, Version};
use crate::name::PartName;

const WINDOW_BYTES: usize = 64 * 1024;

/// A part being read front to back.
pub(crate) struct PartReader<'d, D> {
    disk: &'d D,
    name: PartName,
    version: Version,
    /// Bytes read and not yet taken are `window[taken..]`; they end at file offset `read_to`.
    window: Vec<u8>,
    taken: usize,
    read_to: u64,
    /// Set once: where the whole frames end.
    pub end: Option<PartEnd>,
}

/// How a part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartEnd {
    /// At the end of the file.
    Clean,
    /// At a frame that is not whole, at this byte offset.
    Torn { offset: u64 },
    /// There is no header to trust.
    NoHeader(HeaderFault),
}

impl<'d, D: Disk> PartReader<'d, D> {
    pub fn open(disk: &'d D, name: PartName) -> Result<Self, DiskError> {
        let (window, taken, read_to) = (Vec::new(), 0, 0);
        let mut part = PartReader {
            disk,
            name,
            version: Version::One,
            window,
            taken,
            read_to,
            end: None,
        };
        part.fill(PART_HEADER_BYTES)?;
        match check_part_header(name.recording, name.part, &part.window) {
            Ok(version) => {
                part.version = version;
                part.taken = PART_HEADER_BYTES;
            }
            Err(fault) => part.end = Some(PartEnd::NoHeader(fault)),
        }
        Ok(part)
    }

    /// Of its format; meaningless without a header to trust.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The next whole frame with its number; `None` at the end, which `end` then tells.
    pub fn next(&mut self) -> Result<Option<(u64, Frame)>, DiskError> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.fill(FRAME_HEADER_BYTES)?;
        let ahead = &self.window[self.taken..];
        if ahead.is_empty() {
            self.end = Some(PartEnd::Clean);
            return Ok(None);
        }
        let head = ahead
            .first_chunk()
            .and_then(|head| Head::parse(self.version, self.name.recording, head));
        if let Some(head) = head {
            self.fill(FRAME_HEADER_BYTES + head.body_len)?;
            let body = self.window[self.taken..].get(FRAME_HEADER_BYTES..);
            let body = body.and_then(|ahead| ahead.get(..head.body_len));
            if let Some(frame) = body.and_then(|body| head.frame(body)) {
                self.taken += FRAME_HEADER_BYTES + head.body_len;
                return Ok(Some((head.number, frame)));
            }
        }
        let ahead = (self.window.len() - self.taken) as u64;
        self.end = Some(PartEnd::Torn {
            offset: self.read_to - ahead,
        });
        Ok(None)
    }

    /// Reads until `wanted` bytes are ahead or the file ends.
    fn fill(&mut self, wanted: usize) -> Result<(), DiskError> {
        if self.window.len() - self.taken >= wanted {
            return Ok(());
        }
        self.window.drain(..self.taken);
        self.taken = 0;
        let mut have = self.window.len();
        self.window.resize(have.max(wanted).max(WINDOW_BYTES), 0);
        let name = self.name.to_string();
        while have < self.window.len() {
            match self
                .disk
                .read(&name, self.read_to, &mut self.window[have..])?
            {
                0 => break,
                read => {
                    have += read;
                    self.read_to += read as u64;
                }
            }
        }
        self.window.truncate(have);
        Ok(())
    }
}
