//! What of recordings the spool could not keep, and which calls were told so.

use std::collections::HashSet;

use duolog_media::Entry;
use duolog_spool::{AppendError, RecordingId, gap_reason};

/// What became lost of a recording, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Audio: the disk has no room.
    NoRoom,
    /// Audio: the disk takes nothing, and the memory for what waits for it ran out.
    DiskFails,
    /// What happened in the call, not what was said: there was no memory for it any more.
    Facts,
    /// The recording as a whole: there was no memory even for its beginning.
    Everything,
}

impl Loss {
    /// Of audio, by the code that the spool gives as its reason.
    pub fn of_audio(reason: u8) -> Self {
        match reason {
            gap_reason::DISK_FULL => Loss::NoRoom,
            _ => Loss::DiskFails,
        }
    }

    /// For a person.
    pub fn reason(self) -> &'static str {
        match self {
            Loss::NoRoom => "audio was lost: the spool had no room",
            Loss::DiskFails => "audio was lost: the spool's disk fails",
            Loss::Facts => {
                "events of the call were lost: the spool's disk takes nothing, and the memory for them ran out"
            }
            Loss::Everything => {
                "nothing could be kept: the spool's disk takes nothing, and the memory for it ran out"
            }
        }
    }
}

/// Of which recordings a loss was told: once of each, and once more when it is asked to be kept, for what
/// nobody had asked for was nobody's loss.
#[derive(Debug, Default)]
pub struct Losses {
    told: HashSet<RecordingId>,
    /// Running recordings that the spool never opened.
    refused: HashSet<RecordingId>,
}

impl Losses {
    /// Whether a loss of this recording is to be told.
    pub fn is_news(&self, recording: RecordingId) -> bool {
        !self.told.contains(&recording)
    }

    /// A loss of it was told.
    pub fn tell(&mut self, recording: RecordingId) {
        self.told.insert(recording);
    }

    /// It is safe; nothing more can be lost of it.
    pub fn forget(&mut self, recording: RecordingId) {
        self.told.remove(&recording);
    }

    /// What is lost by the spool's answer to an entry.
    ///
    /// # Errors
    ///
    /// An answer that has nothing to do with losses: an entry that ought not to have come.
    pub fn answered(
        &mut self,
        entry: &Entry,
        answer: Result<(), AppendError>,
    ) -> Result<Option<Loss>, AppendError> {
        let recording = RecordingId(entry.recording().0);
        match (entry, answer) {
            (Entry::Keep { .. }, Ok(())) => {
                self.told.remove(&recording);
                Ok(None)
            }
            (_, Ok(())) => Ok(None),
            (Entry::Open { .. }, Err(AppendError::NoMemory { .. })) => {
                self.refused.insert(recording);
                Ok(Some(Loss::Everything))
            }
            (_, Err(AppendError::NoMemory { .. })) => Ok(Some(Loss::Facts)),
            (Entry::Close { .. }, Err(_)) if self.refused.remove(&recording) => {
                self.told.remove(&recording);
                Ok(None)
            }
            (_, Err(_)) if self.refused.contains(&recording) => Ok(Some(Loss::Everything)),
            (_, Err(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use duolog_media::{Keeping, RecordingKey, Totals};

    const KEY: RecordingKey = RecordingKey(7);
    const ID: RecordingId = RecordingId(7);

    fn open(at: Instant) -> Entry {
        Entry::Open {
            recording: KEY,
            at,
            keeping: Keeping::Provisional,
            payload: Default::default(),
        }
    }

    fn fact(at: Instant) -> Entry {
        Entry::Fact {
            recording: KEY,
            position: 0,
            at,
            payload: Default::default(),
        }
    }

    fn close(at: Instant) -> Entry {
        Entry::Close {
            recording: KEY,
            position: 0,
            at,
            payload: Default::default(),
            totals: Box::new(Totals::default()),
        }
    }

    #[test]
    fn a_loss_is_told_once_and_again_when_the_recording_is_asked_for() {
        let (mut losses, at) = (Losses::default(), Instant::now());
        assert_eq!(losses.answered(&open(at), Ok(())), Ok(None));
        assert!(losses.is_news(ID));
        losses.tell(ID);
        assert_eq!(losses.answered(&fact(at), Ok(())), Ok(None));
        assert!(!losses.is_news(ID), "once");
        let keep = Entry::Keep { recording: KEY, at };
        assert_eq!(losses.answered(&keep, Ok(())), Ok(None));
        assert!(losses.is_news(ID), "it is wanted now");
        losses.tell(ID);
        losses.forget(ID);
        assert!(losses.told.is_empty());
    }

    #[test]
    fn what_the_spool_has_no_memory_for_is_a_loss_and_what_makes_no_sense_an_error() {
        let (mut losses, at) = (Losses::default(), Instant::now());
        let no_memory = AppendError::NoMemory { recording: ID };
        let unknown = AppendError::Unknown { recording: ID };
        let facts = losses.answered(&fact(at), Err(no_memory));
        assert_eq!(facts, Ok(Some(Loss::Facts)));
        assert_eq!(losses.answered(&fact(at), Err(unknown)), Err(unknown));
        for answer in [no_memory, unknown, unknown] {
            let entry = match answer {
                AppendError::NoMemory { .. } => open(at),
                _ => fact(at),
            };
            let lost = losses.answered(&entry, Err(answer));
            assert_eq!(
                lost,
                Ok(Some(Loss::Everything)),
                "until the call hears of it"
            );
        }
        losses.tell(ID);
        assert_eq!(losses.answered(&close(at), Err(unknown)), Ok(None));
        assert!(losses.told.is_empty() && losses.refused.is_empty());
        assert_eq!(losses.answered(&close(at), Err(unknown)), Err(unknown));
    }
}
