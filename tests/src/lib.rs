//! Shared parts of the tests.
pub mod real;
pub mod world;
