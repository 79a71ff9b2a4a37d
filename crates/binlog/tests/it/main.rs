//! The public surface of the crate over real logs and over broken ones.
//!
//! Logs that are not here skip their tests with a line that says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod fixtures;
