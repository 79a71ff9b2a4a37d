//! Observing and applying on real servers, started here on private ports and stopped by pid.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod harness;
mod real_cloudstack;
mod real_converge;
mod real_drift;
mod real_firewall;
