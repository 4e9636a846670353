//! A stretch of both channels on its way to the spool, and the free list its buffers come from.

use crate::RecordingKey;

/// Samples per channel of a whole block: 320 ms.
pub(crate) const BLOCK_SAMPLES: usize = 2_560;

/// How the samples of a block are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleFormat {
    /// G.711 mu-law as received: one byte a sample.
    Mulaw,
    /// G.711 A-law as received: one byte a sample.
    Alaw,
    /// 16-bit signed little-endian, when the two channels were in different laws.
    Pcm16,
    /// No bytes: nothing of this stretch is in G.711. What a party said in another codec left right
    /// before it, as [`crate::Entry::Coded`].
    Empty,
}

impl SampleFormat {
    /// Bytes of one sample of one channel.
    #[must_use]
    pub const fn sample_bytes(self) -> usize {
        match self {
            SampleFormat::Mulaw | SampleFormat::Alaw => 1,
            SampleFormat::Pcm16 => 2,
            SampleFormat::Empty => 0,
        }
    }
}

/// At most 320 ms of a recording: both channels interleaved, the owner's sample first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Whose audio this is.
    pub recording: RecordingKey,
    /// Position of the first sample: samples at 8,000 Hz since the recording's start.
    pub position: u64,
    /// Samples per channel, 1 to 2,560.
    pub samples: u32,
    /// How many of them are a party's audio, the owner's first; coded audio counts in ticks.
    pub heard: [u32; 2],
    /// How `bytes` holds them.
    pub format: SampleFormat,
    /// `samples * 2 * format.sample_bytes()` bytes.
    pub bytes: Vec<u8>,
}

/// Octets of a list of coded frames that is kept: what a party that floods makes larger is given back.
/// 320 ms of L16 at 48 kHz in mono, or of anything narrower, fit however the list grew.
const KEPT_LIST: usize = 64 * 1_024;

/// A block before its bytes are there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blank {
    pub(crate) recording: RecordingKey,
    pub(crate) position: u64,
    /// At most [`BLOCK_SAMPLES`].
    pub(crate) samples: usize,
    pub(crate) heard: [u32; 2],
}

/// Blocks whose bytes have been written, to be filled again.
#[derive(Debug, Default)]
// The boxes are what goes round: a block that is taken out of its box needs a new one.
#[allow(clippy::vec_box)]
pub(crate) struct FreeBlocks {
    list: Vec<Box<Block>>,
    /// Lists of coded frames, cleared: one a side for each block.
    coded: Vec<Vec<u8>>,
    wanted: usize,
}

impl FreeBlocks {
    /// Makes room for one more running recording: two blocks of it may be under way at once.
    pub(crate) fn widen(&mut self) {
        self.wanted += 2;
        self.list
            .reserve(self.wanted.saturating_sub(self.list.len()));
        self.coded
            .reserve((2 * self.wanted).saturating_sub(self.coded.len()));
    }

    /// One recording less.
    pub(crate) fn narrow(&mut self) {
        self.wanted = self.wanted.saturating_sub(2);
        self.list.truncate(self.wanted);
        self.coded.truncate(2 * self.wanted);
    }

    pub(crate) fn take(&mut self, blank: &Blank, format: SampleFormat) -> Box<Block> {
        let &Blank {
            recording,
            position,
            samples,
            heard,
        } = blank;
        let mut block = self.list.pop().unwrap_or_else(|| {
            Box::new(Block {
                recording,
                position,
                samples: 0,
                heard,
                format,
                bytes: Vec::with_capacity(2 * BLOCK_SAMPLES),
            })
        });
        block.recording = recording;
        block.position = position;
        block.samples = samples as u32;
        block.heard = heard;
        block.format = format;
        block.bytes.resize(samples * 2 * format.sample_bytes(), 0);
        block
    }

    /// An empty list of coded frames.
    pub(crate) fn take_list(&mut self) -> Vec<u8> {
        self.coded.pop().unwrap_or_default()
    }

    /// Takes a list of coded frames back.
    pub(crate) fn put_list(&mut self, mut list: Vec<u8>) {
        if self.coded.len() < 2 * self.wanted && list.capacity() <= KEPT_LIST {
            list.clear();
            self.coded.push(list);
        }
    }

    /// Takes a block back; kept only as long as recordings run that can use it.
    pub(crate) fn put(&mut self, block: Box<Block>) {
        if self.list.len() < self.wanted {
            self.list.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_round_but_not_those_that_a_flood_made_large() {
        let mut free = FreeBlocks::default();
        free.put_list(Vec::with_capacity(8));
        assert_eq!(free.coded.len(), 0, "nobody records");
        free.widen();
        free.put_list(Vec::with_capacity(KEPT_LIST + 1));
        free.put_list(vec![7; 100]);
        assert_eq!(free.coded.len(), 1);
        let list = free.take_list();
        assert!(list.is_empty() && list.capacity() >= 100);
    }
}
