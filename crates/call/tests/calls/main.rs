//! Calls in virtual time: scripted parties and a media plane that only answers, around one engine.
#![allow(missing_docs, reason = "a test")]

mod ending;
mod media;
mod mid_call;
mod network;
mod protection;
mod random;
mod recording;
mod setup;
mod world;
