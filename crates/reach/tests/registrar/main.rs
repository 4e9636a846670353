//! The registrar as phones and others meet it.

mod admission;
mod attack;
mod bindings;
mod flows;
mod world;
