//! Backups on real servers, started here on private ports and stopped by pid.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod archive;
mod archive_faults;
mod archive_prune;
mod archive_purge;
mod archive_sealed;
mod archivers;
mod create;
mod create_lag;
mod create_peers;
mod create_physical;
mod create_throttle;
mod create_zoo;
mod extract;
mod harness;
mod keep;
#[path = "../../../blob/tests/it/proxy.rs"]
#[allow(dead_code, reason = "not every test of places needs all of it")]
mod proxy;
mod rehearse;
mod replay;
mod restore;
mod restore_accounts;
mod restore_again;
mod restore_packets;
mod restore_peers;
mod restore_profile;
mod restore_store;
mod restore_zoo;
mod rewind;
mod rewind_cascade;
mod rewind_zoo;
#[path = "../../../blob/tests/it/store.rs"]
#[allow(dead_code, clippy::expect_used, reason = "not every test of places needs all of it")]
mod store;
