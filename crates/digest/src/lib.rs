//! Digests of what servers ran, from their logs: events read, put into classes by fingerprint, and reported.
//!
//! It is pure: bytes come in from elsewhere, and so does the time.

pub mod amount;
pub mod attribute;
mod banner;
pub mod baseline;
pub mod class;
mod digest;
pub mod event;
pub mod filter;
pub mod general;
pub mod histogram;
pub mod history;
pub mod live;
pub mod measure;
pub mod order;
pub mod period;
pub mod render;
pub mod report;
pub mod slow;
pub mod sniff;
pub mod tally;
pub mod timeline;

pub use digest::{CLASSES_MAX, Digest, GroupBy, Settings};
