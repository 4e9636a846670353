//! From the shard's entries to the spool's frames: the same facts in the words of the disk.

use std::time::Instant;

use duolog_archive::{GapReason, SampleFormat, wire};
use duolog_media::{self as media, Entry};
use duolog_spool::{AppendError, Disk, FrameIn, LockKey, RecordingId, Writer};

use crate::clock::WallClock;

/// Writes one entry to the spool. `fresh` fills in the key of a recording that may not be kept: random
/// bytes, never the same twice.
///
/// # Errors
///
/// What the writer refuses: an entry of a recording that is not open, or one it has no memory for.
pub fn keep<D: Disk>(
    writer: &mut Writer<D>,
    now: Instant,
    wall: &WallClock,
    entry: &Entry,
    fresh: impl FnOnce(&mut [u8; 32]),
) -> Result<(), AppendError> {
    let wall_us = |at: &Instant| wall.unix_us(*at).max(0) as u64;
    let recording = RecordingId(entry.recording().0);
    match entry {
        Entry::Open {
            at,
            keeping: media::Keeping::Kept,
            payload,
            ..
        } => writer.open(now, recording, wall_us(at), payload).map(drop),
        Entry::Open {
            at,
            keeping: media::Keeping::Provisional,
            payload,
            ..
        } => {
            let key = LockKey::filled(fresh);
            writer
                .open_locked(now, recording, wall_us(at), payload, key)
                .map(drop)
        }
        Entry::Keep { .. } => writer.unlock(now, recording),
        Entry::Close {
            position,
            at,
            payload,
            totals,
            ..
        } => {
            let ending = ending(payload, totals);
            let wall_us = wall_us(at);
            writer
                .seal(now, recording, *position, wall_us, &ending)
                .map(drop)
        }
        Entry::Fact {
            position,
            at,
            payload,
            ..
        } => {
            let frame = FrameIn::Fact {
                position: *position,
                wall_us: wall_us(at),
                payload,
            };
            writer.append(now, recording, frame).map(drop)
        }
        Entry::Block(_) | Entry::Coded { .. } | Entry::Gap { .. } => {
            writer.append(now, recording, sound(entry)).map(drop)
        }
    }
}

/// What holds audio, or says why there is none.
fn sound(entry: &Entry) -> FrameIn<'_> {
    match entry {
        Entry::Block(block) => FrameIn::Audio {
            position: block.position,
            format: format(block.format).code(),
            samples: block.samples,
            payload: &block.bytes,
        },
        Entry::Coded {
            channel,
            position,
            ticks,
            bytes,
            ..
        } => FrameIn::Audio {
            position: *position,
            format: match channel {
                media::Channel::Owner => duolog_archive::CODED_OWNER,
                media::Channel::Other => duolog_archive::CODED_OTHER,
            },
            samples: *ticks,
            payload: bytes,
        },
        Entry::Gap {
            channel,
            position,
            samples,
            reason,
            ..
        } => FrameIn::Gap {
            channel: match channel {
                media::Channel::Owner => 0,
                media::Channel::Other => 1,
            },
            position: *position,
            samples: *samples,
            reason: gap(*reason).code(),
        },
        Entry::Open { .. } | Entry::Keep { .. } | Entry::Fact { .. } | Entry::Close { .. } => {
            unreachable!("what opens, keeps, tells and closes holds no sound")
        }
    }
}

/// The call's ending with the figures of the media plane.
fn ending(payload: &[u8], totals: &media::Totals) -> Vec<u8> {
    // A payload this program wrote a moment ago; were it unreadable, the figures still count.
    let mut ending = wire::Ending::parse(payload).unwrap_or_default();
    ending.owner = Some(figures(&totals.owner));
    ending.other = Some(figures(&totals.other));
    ending.skew = (totals.skew.samples > 0).then(|| wire::Skew {
        p50_us: totals.skew.p50_us.into(),
        p99_us: totals.skew.p99_us.into(),
        max_us: totals.skew.max_us.into(),
    });
    ending.write()
}

fn figures(totals: &media::SideTotals) -> wire::Figures {
    let quality = &totals.quality;
    let filled = media::GapReason::ALL.into_iter();
    let filled = filled.map(|reason| (gap(reason), totals.gaps.of(reason)));
    wire::Figures {
        expected: totals.expected,
        received: totals.received,
        lost: totals.lost,
        late: totals.late,
        reordered: totals.reordered,
        duplicates: totals.duplicate,
        jitter_ms: quality.jitter_ms,
        round_trip_ms: quality.round_trip_ms,
        filled: filled.filter(|(_, ticks)| *ticks > 0).collect(),
        corrected: wire::Corrected {
            inserted_ticks: totals.inserted_ticks,
            dropped_ticks: totals.dropped_ticks,
        },
        drift_ppm: quality.drift_ppm,
        mos: quality.mos,
        codecs: totals.codecs.iter().map(|codec| codec.name()).collect(),
        tail_ticks: Some(totals.tail_ticks),
    }
}

fn format(format: media::SampleFormat) -> SampleFormat {
    match format {
        media::SampleFormat::Mulaw => SampleFormat::Mulaw,
        media::SampleFormat::Alaw => SampleFormat::Alaw,
        media::SampleFormat::Pcm16 => SampleFormat::Pcm16,
        media::SampleFormat::Empty => SampleFormat::Empty,
    }
}

fn gap(reason: media::GapReason) -> GapReason {
    match reason {
        media::GapReason::NotStarted => GapReason::NotStarted,
        media::GapReason::Loss => GapReason::Loss,
        media::GapReason::Silence => GapReason::Silence,
        media::GapReason::Paused => GapReason::Paused,
        media::GapReason::Held => GapReason::Held,
        media::GapReason::Dtmf => GapReason::Dtmf,
        media::GapReason::SpoolFull => GapReason::SpoolFull,
        media::GapReason::Absent => GapReason::Absent,
    }
}
