//! The one place where the call's words become the media plane's, the spool's and the archive's.

pub mod commands;
pub mod entries;
pub mod facts;
pub mod settings;
