//! Throwaway clusters and connections, on the real servers this machine has.
//!
//! A server that is not here skips its tests with a line that says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured or skipped"
)]

mod clusters;
mod connections;
mod faults;
mod support;
mod tls;
