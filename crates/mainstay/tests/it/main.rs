//! The binary as its user meets it: output, exit codes, and work on real servers started here.
//!
//! A server that is not on this machine skips its tests with a line that says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it skipped"
)]

mod bench;
mod command_line;
mod digest;
mod high_availability;
mod real_archive;
mod real_backup_killed;
mod real_bare_host;
mod real_binlog;
mod real_binlog_rollback;
mod real_checksum;
mod real_digest;
mod real_faults;
mod real_full_disk;
mod real_keystone;
mod real_kill;
mod real_kill_replica;
mod real_killed;
mod real_lab;
mod real_network;
mod real_physical;
mod real_properties;
mod real_restore;
mod real_restore_store;
mod real_rewind;
mod real_rewind_server;
mod real_sealed;
mod real_secrets;
#[path = "../../../blob/tests/it/store.rs"]
#[allow(dead_code, reason = "not every test of places needs all of it")]
mod store;
