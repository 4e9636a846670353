//! The spool as a whole.

mod crash;
mod full;
mod loads;
mod real;
mod world;
mod writes;
