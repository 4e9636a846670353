//! What a finished recording is stored in, and the way back to samples.

pub mod ogg_opus;
pub mod wav;
