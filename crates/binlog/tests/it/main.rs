//! The public surface of the crate over real logs, made ones, and broken ones.
//!
//! Logs that are not here skip their tests with a line that says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod broken;
mod fixtures;
mod fold;
mod folded_outside;
mod hostile;
mod large;
mod made;
mod parts;
mod whole;
