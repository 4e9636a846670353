//! What a finished recording is stored in, and the way back to samples.

pub mod flac;
pub mod ogg_opus;
pub mod wav;

/// How many channels a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One channel.
    Mono,
    /// Two channels, interleaved, left first.
    Stereo,
}

impl Layout {
    /// The number of channels: 1 or 2.
    #[must_use]
    pub const fn channels(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }

    /// The layout with so many channels, if there is one.
    const fn with_channels(channels: u16) -> Option<Self> {
        match channels {
            1 => Some(Self::Mono),
            2 => Some(Self::Stereo),
            _ => None,
        }
    }
}
