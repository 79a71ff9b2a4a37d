//! Places as their users meet them: a folder and an S3-compatible server, and a network between that misbehaves.
//!
//! Without `target/moto-venv`, which `scripts/moto-venv.sh` makes, the tests of S3 say so and skip.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod conformance;
mod faults;
mod folder;
mod proxy;
mod store;
mod tls;
