//! The spool as a whole.

mod crash;
mod failing;
mod full;
mod loads;
mod locked;
mod real;
mod world;
mod writes;
