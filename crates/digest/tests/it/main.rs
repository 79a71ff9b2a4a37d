//! Tests of the digest on whole logs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod digest_properties;
mod digest_reference;
