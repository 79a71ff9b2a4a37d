//! Tests of the digest on whole logs.

mod digest_properties;
mod digest_reference;
