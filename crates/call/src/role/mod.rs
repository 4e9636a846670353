//! The roles a call can play. This issue has one: in the path of the call.

pub(crate) mod b2bua;
