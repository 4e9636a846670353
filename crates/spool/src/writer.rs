//! Writes recordings to the spool, many at once.
//!
//! 1. A frame is numbered, encoded, kept in memory and appended to its recording's part at once: the
//!    death of the process loses nothing that was appended.
//! 2. At most [`Settings::group_commit`] later [`Writer::commit`] makes the frames of all recordings
//!    durable together and lets go of the kept ones: power loss costs no more than that.
//! 3. A part that failed to append or to sync is left alone for ever. Its recording goes on in a new
//!    part that begins with the kept frames, so nothing is lost.
//! 4. On a full disk audio is dropped and listed as gaps; facts and seals go on, in the room the
//!    ballast gives up.
//! 5. A recording whose Seal is durable has its parts renamed, and only then is reported sealed.
//! 6. Memory is bounded while nothing goes through: audio gives way first and is listed, then openings and
//!    facts are refused. What was opened can always be sealed.
//! 7. Audio of a recording opened with a key is encrypted before it is kept or written, to its end. Its
//!    key is written when it is to be kept, and until then is in this process's memory alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskError};
use crate::frame::{Closing, Draft, FrameIn, MAX_PAYLOAD_BYTES, gap_reason};
use crate::gaps::Dropped;
use crate::lock::LockKey;
use crate::name::RecordingId;
use crate::stream::{Phase, Stream};

mod commit;
mod health;
mod room;
mod terms;

pub use health::Health;
use health::Pulse;
use room::Room;
pub use room::Space;
pub use terms::{AppendError, Counts, Outcome, Settings, Taken};

/// Dropped ranges are written this long after the first at the latest.
const GAPS_HELD: Duration = Duration::from_secs(5);

/// Memory that every recording has set aside from its beginning: for its Seal, which is always taken,
/// and for keeping it here at all.
const SEALING_BYTES: usize = 2 << 10;

/// Writes recordings to the spool. One owner, one thread.
pub struct Writer<D> {
    disk: D,
    settings: Settings,
    streams: BTreeMap<RecordingId, Stream>,
    /// Streams with something to commit, oldest first.
    waiting: Vec<RecordingId>,
    due: Option<Instant>,
    kept_total: usize,
    room: Room,
    pulse: Pulse,
    /// Told by the next commit.
    untold: Vec<Outcome>,
    counts: Counts,
}

impl<D: Disk> Writer<D> {
    /// Starts on a directory that [`crate::recover`] has been through. A disk too full for the
    /// ballast is no error: the space is then [`Space::Full`].
    pub fn new(mut disk: D, settings: Settings) -> Result<Writer<D>, DiskError> {
        let room = Room::new(&mut disk, &settings)?;
        Ok(Writer {
            disk,
            settings,
            streams: BTreeMap::new(),
            waiting: Vec::new(),
            due: None,
            kept_total: 0,
            room,
            pulse: Pulse::default(),
            untold: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Opens a recording that is kept. A disk that fails is no error: the recording begins in memory.
    pub fn open(
        &mut self,
        now: Instant,
        recording: RecordingId,
        wall_us: u64,
        payload: &[u8],
    ) -> Result<u64, AppendError> {
        self.begin(now, recording, wall_us, payload, None)
    }

    /// Opens a recording whose audio nobody can read unless [`Writer::unlock`] comes before its Seal:
    /// the rest is in clear. Else as [`Writer::open`].
    pub fn open_locked(
        &mut self,
        now: Instant,
        recording: RecordingId,
        wall_us: u64,
        payload: &[u8],
        key: LockKey,
    ) -> Result<u64, AppendError> {
        self.begin(now, recording, wall_us, payload, Some(key))
    }

    /// All audio of a recording is to be kept, what came before and what follows: as soon as the next
    /// commit reports it durable. Always taken, whatever the disk does; for a recording that is kept
    /// already it changes nothing.
    pub fn unlock(&mut self, now: Instant, recording: RecordingId) -> Result<(), AppendError> {
        let Some(key) = self.stream(recording)?.take_key() else {
            return Ok(());
        };
        self.keep(now, recording, &Draft::key(&key), 0).map(drop)
    }

    fn begin(
        &mut self,
        now: Instant,
        recording: RecordingId,
        wall_us: u64,
        payload: &[u8],
        key: Option<LockKey>,
    ) -> Result<u64, AppendError> {
        let duplicate = AppendError::Duplicate { recording };
        if self.streams.contains_key(&recording) {
            return self.refuse(duplicate);
        }
        self.check_length(recording, payload)?;
        let draft = Draft::open(wall_us, payload);
        if self.is_out_of_memory(draft.len() + SEALING_BYTES) {
            return self.refuse(AppendError::NoMemory { recording });
        }
        let mut stream = Stream::new(recording, key);
        let number = stream.keep(&draft);
        match stream.begin_part(&mut self.disk) {
            Ok(()) => {}
            Err(error) if error.is_taken() => return self.refuse(duplicate),
            Err(error) => {
                if error.is_full() {
                    self.room.ran_out(now);
                }
                self.untold.push(Outcome::Delayed { recording, error });
            }
        }
        self.count(stream.kept.len());
        self.streams.insert(recording, stream);
        self.wait(now, recording);
        Ok(number)
    }

    /// Appends a frame to an open recording.
    pub fn append(
        &mut self,
        now: Instant,
        recording: RecordingId,
        frame: FrameIn<'_>,
    ) -> Result<Taken, AppendError> {
        if let FrameIn::Audio { payload, .. } | FrameIn::Fact { payload, .. } = frame {
            self.check_length(recording, payload)?;
        }
        let draft = Draft::frame(frame);
        let kept = self.stream(recording)?.kept.len() + draft.len();
        if let FrameIn::Audio {
            position, samples, ..
        } = frame
        {
            let no_room = self.room.space() == Space::Full;
            let for_audio = self.settings.kept_total_max_bytes / 4 * 3;
            let no_memory = kept > self.settings.kept_max_bytes / 2
                || self.kept_total + draft.len() > for_audio;
            if no_room || no_memory {
                let reason = if no_room {
                    gap_reason::DISK_FULL
                } else {
                    gap_reason::DISK_FAILED
                };
                let dropped = Dropped {
                    position,
                    samples: samples.into(),
                    reason,
                };
                self.drop_audio(now, recording, dropped);
                return Ok(Taken::Dropped);
            }
        } else if kept > self.settings.kept_max_bytes || self.is_out_of_memory(draft.len()) {
            return self.refuse(AppendError::NoMemory { recording });
        }
        let number = self.keep(now, recording, &draft, frame.end())?;
        Ok(Taken::Numbered(number))
    }

    /// Closes a recording of `position` samples for ever. Always kept, whatever the disk does;
    /// [`Outcome::Sealed`] says when it is durable. Gives the Seal's number.
    pub fn seal(
        &mut self,
        now: Instant,
        recording: RecordingId,
        position: u64,
        wall_us: u64,
        payload: &[u8],
    ) -> Result<u64, AppendError> {
        self.check_length(recording, payload)?;
        let draft = Draft::seal(position, wall_us, Closing::Ended, payload);
        let number = self.keep(now, recording, &draft, position)?;
        self.stream(recording)?.close();
        Ok(number)
    }

    /// When [`Writer::commit`] is wanted; `None` while nothing waits. An idle program calls it about
    /// once a second anyway, to measure the space.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// The space as last measured, by a commit. `Ample` alone lets new recordings in.
    pub fn space(&self) -> Space {
        self.room.space()
    }

    /// Whether the last commit that tried made anything durable.
    pub fn health(&self) -> Health {
        self.pulse.health()
    }

    /// Bytes of frames that are in memory and not durable.
    pub fn kept_bytes(&self) -> usize {
        self.kept_total
    }

    /// Counters since the writer was made.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Recordings open or not yet sealed durably.
    pub fn recordings(&self) -> usize {
        self.streams.len()
    }

    #[cfg(test)]
    pub(crate) fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    fn stream(&mut self, recording: RecordingId) -> Result<&mut Stream, AppendError> {
        let error = match self.streams.get(&recording).map(|stream| stream.phase) {
            Some(Phase::Open) => None,
            Some(Phase::Sealing | Phase::Renaming) => Some(AppendError::Sealed { recording }),
            None => Some(AppendError::Unknown { recording }),
        };
        match (error, self.streams.get_mut(&recording)) {
            (None, Some(stream)) => Ok(stream),
            (error, _) => {
                self.counts.refused += 1;
                Err(error.unwrap_or(AppendError::Unknown { recording }))
            }
        }
    }

    fn refuse<T>(&mut self, error: AppendError) -> Result<T, AppendError> {
        self.counts.refused += 1;
        Err(error)
    }

    fn check_length(&mut self, recording: RecordingId, payload: &[u8]) -> Result<(), AppendError> {
        if payload.len() <= MAX_PAYLOAD_BYTES {
            return Ok(());
        }
        self.refuse(AppendError::TooLong {
            recording,
            bytes: payload.len(),
        })
    }

    /// Whether so much more, beside what seals will take, is more than all recordings may have.
    fn is_out_of_memory(&self, more: usize) -> bool {
        let seals = self.streams.len() * SEALING_BYTES;
        self.kept_total + seals + more > self.settings.kept_total_max_bytes
    }

    fn count(&mut self, bytes: usize) {
        self.counts.frames += 1;
        self.counts.bytes += bytes as u64;
        self.kept_total += bytes;
    }

    fn wait(&mut self, now: Instant, recording: RecordingId) {
        let due = now + self.settings.group_commit;
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
        if let Some(stream) = self.streams.get_mut(&recording)
            && !stream.listed
        {
            stream.listed = true;
            self.waiting.push(recording);
        }
    }

    fn drop_audio(&mut self, now: Instant, recording: RecordingId, dropped: Dropped) {
        self.counts.dropped_blocks += 1;
        self.counts.dropped_samples += dropped.samples;
        if let Some(stream) = self.streams.get_mut(&recording) {
            stream.end = stream
                .end
                .max(dropped.position.saturating_add(dropped.samples));
            stream.drop_audio(dropped, now + GAPS_HELD);
        }
        self.wait(now, recording);
    }

    /// Keeps a frame after the gaps before it, and appends both to the recording's part.
    fn keep(
        &mut self,
        now: Instant,
        recording: RecordingId,
        draft: &Draft<'_>,
        end: u64,
    ) -> Result<u64, AppendError> {
        let channels = self.settings.channels;
        let stream = self.stream(recording)?;
        let before = stream.kept.len();
        let dropped = stream.keep_gaps(channels);
        let number = stream.keep(draft);
        stream.end = stream.end.max(end);
        let bytes = stream.kept.len() - before;
        self.count(bytes);
        self.tell_dropped(recording, dropped);
        self.write_through(now, recording);
        self.wait(now, recording);
        Ok(number)
    }

    fn tell_dropped(&mut self, recording: RecordingId, dropped: Vec<Dropped>) {
        self.untold.extend(dropped.into_iter().map(
            |Dropped {
                 position,
                 samples,
                 reason,
             }| {
                Outcome::Dropped {
                    recording,
                    position,
                    samples,
                    reason,
                }
            },
        ));
    }

    fn write_through(&mut self, now: Instant, recording: RecordingId) {
        let Some(stream) = self.streams.get_mut(&recording) else {
            return;
        };
        if let Err(error) = stream.write_through(&mut self.disk) {
            if error.is_full() {
                self.room.ran_out(now);
            }
            self.fail_part(recording, error);
        }
    }

    fn fail_part(&mut self, recording: RecordingId, error: DiskError) {
        let Some(stream) = self.streams.get_mut(&recording) else {
            return;
        };
        if let Some(part) = stream.abandon_part(&mut self.disk) {
            self.counts.failed_parts += 1;
            self.untold.push(Outcome::PartFailed {
                recording,
                part: part.0,
                error,
            });
        }
    }
}
