//! Next hops against a DNS made of text, in virtual time.

mod caching;
mod failures;
mod places;
mod procedure;
mod random;
mod weights;
mod zone;
