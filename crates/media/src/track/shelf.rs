//! Payloads that are kept as they came: every codec but G.711. They wait here until their stretch is
//! final and leave undecoded.
//!
//! 1. A frame is kept whole or not at all: a part of it could not be decoded.
//! 2. Frames are in the order of their places; the order of two that share a place is not told.
//! 3. A buffer that left its frame is filled again: a steady stream allocates nothing. Buffers that wait
//!    hold no more than payloads may: a flood leaves nothing behind.

use duolog_audio::codec::Codec;
use duolog_audio::coded::{self, CodedFrame};

use super::seen::Place;

/// Frames that may wait: all that a side's ring spans, in Opus packets of 2.5 ms.
const FRAMES: usize = 512;
/// Octets that may wait: 650 ms of the widest codec (L16, 48 kHz, stereo). What a party sends decides how
/// much of it is used; 32 kb/s Opus needs 3 KiB.
const OCTETS: usize = 128 * 1_024;

/// One payload and where its sound lies.
#[derive(Debug)]
struct Frame {
    /// Position of its first sample, in ticks of 1/8000 s, never before what is final.
    at: u64,
    ticks: u32,
    codec: Codec,
    place: Place,
    payload: Vec<u8>,
}

/// The coded frames of one side that are not final yet.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    frames: Vec<Frame>,
    /// Empty, and how many octets they have room for.
    free: Vec<Vec<u8>>,
    vacant: usize,
    octets: usize,
}

impl Shelf {
    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether a payload of `octets` may be put here.
    pub(crate) fn has_room(&self, octets: usize) -> bool {
        self.frames.len() < FRAMES && self.octets + octets <= OCTETS
    }

    /// Keeps a payload whose sound begins at `at` and lasts `ticks`.
    pub(crate) fn put(
        &mut self,
        at: u64,
        ticks: u32,
        place: Place,
        (codec, payload): (Codec, &[u8]),
    ) {
        let mut copy = self.free.pop().unwrap_or_default();
        self.vacant -= copy.capacity();
        copy.extend_from_slice(payload);
        self.octets += payload.len();
        // Packets mostly come in order: look from the back.
        let behind = self.frames.iter().rposition(|frame| frame.at <= at);
        let index = behind.map_or(0, |before| before + 1);
        let frame = Frame {
            at,
            ticks,
            codec,
            place,
            payload: copy,
        };
        self.frames.insert(index, frame);
    }

    /// Whether any frame begins before `position`.
    pub(crate) fn begins_before(&self, position: u64) -> bool {
        self.frames.first().is_some_and(|frame| frame.at < position)
    }

    /// Puts every frame that begins before `to` behind `list`, its offset counted from `from`.
    pub(crate) fn leave(&mut self, from: u64, to: u64, list: &mut Vec<u8>) {
        let count = self.frames.partition_point(|frame| frame.at < to);
        for frame in self.frames.drain(..count) {
            coded::push(
                list,
                CodedFrame {
                    // A stretch is a block, a payload 120 ms: both far below the fields' limits.
                    offset: frame.at.saturating_sub(from) as u32,
                    ticks: frame.ticks as u16,
                    codec: frame.codec.code(),
                    payload: &frame.payload,
                },
            );
            self.octets -= frame.payload.len();
            put_away(&mut self.free, &mut self.vacant, frame.payload);
        }
    }

    /// Takes a packet's frame back if any of its sound lies at or behind `from`: its octets are wiped.
    /// Whether it did.
    pub(crate) fn hide(&mut self, place: Place, from: u64) -> bool {
        let hidden = self
            .frames
            .iter()
            .position(|frame| frame.place == place && frame.at + u64::from(frame.ticks) > from);
        hidden.is_some_and(|index| self.discard(index))
    }

    /// Takes a packet's frame back.
    pub(crate) fn forget(&mut self, place: Place) {
        if let Some(index) = self.frames.iter().position(|frame| frame.place == place) {
            self.discard(index);
        }
    }

    /// Moves a packet's frame earlier; one that would begin before `floor` is taken back. Whether it is
    /// still there.
    pub(crate) fn shift(&mut self, place: Place, ticks: u64, floor: u64) -> bool {
        let Some(index) = self.frames.iter().position(|frame| frame.place == place) else {
            return false;
        };
        match self.frames[index].at.checked_sub(ticks) {
            Some(at) if at >= floor => {
                self.frames[index].at = at;
                true
            }
            _ => !self.discard(index),
        }
    }

    /// Puts the frames in order again after some of them were moved.
    pub(crate) fn sort(&mut self) {
        self.frames.sort_unstable_by_key(|frame| frame.at);
    }

    fn discard(&mut self, index: usize) -> bool {
        let mut payload = self.frames.remove(index).payload;
        self.octets -= payload.len();
        payload.fill(0);
        put_away(&mut self.free, &mut self.vacant, payload);
        true
    }
}

/// Keeps a buffer to be filled again, unless enough room waits already.
fn put_away(free: &mut Vec<Vec<u8>>, vacant: &mut usize, mut buffer: Vec<u8>) {
    if *vacant + buffer.capacity() <= OCTETS {
        buffer.clear();
        *vacant += buffer.capacity();
        free.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place { generation: 3, seq }
    }

    fn shelf(frames: &[(u64, u64)]) -> Shelf {
        let mut shelf = Shelf::default();
        for &(at, seq) in frames {
            shelf.put(at, 160, place(seq), (Codec::G722, &[seq as u8; 160]));
        }
        shelf
    }

    fn left(shelf: &mut Shelf, from: u64, to: u64) -> Vec<(u32, u8)> {
        let mut list = Vec::new();
        shelf.leave(from, to, &mut list);
        let frames = coded::read(&list).map(|frame| frame.expect("we wrote it"));
        frames
            .map(|frame| {
                assert_eq!((frame.ticks, frame.payload.len()), (160, 160));
                assert_eq!(frame.codec, Codec::G722.code());
                (frame.offset, frame.payload[0])
            })
            .collect()
    }

    #[test]
    fn frames_leave_in_the_order_of_their_places_with_what_begins_in_time() {
        let mut shelf = shelf(&[(1_000, 1), (1_320, 3), (1_160, 2), (1_480, 4)]);
        assert!(shelf.begins_before(1_001));
        assert!(!shelf.begins_before(1_000));
        assert_eq!(left(&mut shelf, 1_000, 1_321), [(0, 1), (160, 2), (320, 3)]);
        assert_eq!(left(&mut shelf, 1_321, 9_000), [(159, 4)]);
        assert_eq!((shelf.len(), shelf.octets, shelf.free.len()), (0, 0, 4));
    }

    #[test]
    fn a_hidden_frame_is_wiped_whole() {
        let mut shelf = shelf(&[(1_000, 1), (1_160, 2)]);
        assert!(!shelf.hide(place(1), 1_160));
        assert!(shelf.hide(place(2), 1_319));
        assert!(!shelf.hide(place(2), 0));
        assert_eq!(left(&mut shelf, 0, 9_000), [(1_000, 1)]);
    }

    #[test]
    fn what_would_begin_before_the_floor_is_taken_back() {
        let mut shelf = shelf(&[(1_000, 1), (1_160, 2)]);
        assert!(!shelf.shift(place(1), 200, 801));
        assert!(shelf.shift(place(2), 200, 801));
        assert!(!shelf.shift(place(9), 1, 0));
        assert_eq!(left(&mut shelf, 801, 9_000), [(159, 2)]);
    }

    #[test]
    fn nobody_makes_it_grow_without_end_and_buffers_go_round() {
        let mut shelf = Shelf::default();
        let wide = [7; 40_000];
        for seq in 0..10 {
            if shelf.has_room(wide.len()) {
                shelf.put(seq, 1, place(seq), (Codec::Opus, &wide));
            }
        }
        assert_eq!(shelf.len(), 3);
        let mut list = Vec::new();
        shelf.leave(0, 100, &mut list);
        for seq in 0..2_000 {
            if shelf.has_room(1) {
                shelf.put(seq, 1, place(seq), (Codec::Opus, &[1]));
            }
        }
        assert_eq!((shelf.len(), shelf.free.len()), (FRAMES, 0));
    }

    #[test]
    fn a_flood_of_ever_other_sizes_leaves_no_more_room_behind_than_payloads_may_need() {
        let mut shelf = Shelf::default();
        for round in 0..200_u64 {
            for seq in 0..FRAMES as u64 {
                let octets = match (seq + 7 * round) % 97 {
                    0 => 20_000,
                    _ => 1,
                };
                if shelf.has_room(octets) {
                    shelf.put(seq, 1, place(seq), (Codec::Opus, &vec![9; octets]));
                }
            }
            left_over(&mut shelf);
            let held: usize = shelf.free.iter().map(Vec::capacity).sum();
            assert_eq!(held, shelf.vacant);
            assert!(held <= OCTETS, "{held} octets after round {round}");
        }
    }

    fn left_over(shelf: &mut Shelf) {
        let mut list = Vec::new();
        shelf.leave(0, u64::MAX, &mut list);
        assert_eq!((shelf.len(), shelf.octets), (0, 0));
    }
}
