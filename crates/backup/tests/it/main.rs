//! Backups on real servers, started here on private ports and stopped by pid.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod archive;
mod create;
mod create_peers;
mod create_physical;
mod create_zoo;
mod extract;
mod harness;
mod keep;
mod rehearse;
mod replay;
mod restore;
mod restore_accounts;
mod restore_peers;
mod rewind;
