//! Rules against observed sessions: tables of cases, and properties that hold for any sessions and rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod locks;
mod properties;
mod rules;
mod server;
