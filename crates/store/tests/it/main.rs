//! The contract, held against every backend; then what only one backend can do wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped and measured"
)]

mod conformance;
mod etcd_access;
mod etcd_faults;
mod etcd_history;
mod file;
mod limits;
mod memory;
mod support;
