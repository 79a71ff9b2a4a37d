//! Tests of the digest on whole logs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod digest_hostile;
mod digest_properties;
mod digest_reference;
