//! Comparisons of real servers: real replication under load, real differences, servers of two vendors.
//!
//! A server that is not here skips its tests with a line that says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod first_look;
mod planted;
mod rights;
mod support;
mod under_load;
mod vendors;
