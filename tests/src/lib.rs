//! Shared parts of the tests.
pub mod real;
pub mod tone;
pub mod world;
