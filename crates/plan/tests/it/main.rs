//! Plans as golden files: a spec and an observation in, the text a reviewer reads out.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod agents;
mod fixture;
mod golden;
mod rules;
mod traffic;
