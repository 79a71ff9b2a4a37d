//! Backups: taking, keeping, proving and restoring them, and rewinding one table of them.
//!
//! How a dump looks is `dump`'s business, where it lies `blob`'s.

pub mod archive;
pub mod create;
pub mod extract;
pub mod physical;
pub mod rehearse;
pub mod replay;
pub mod repository;
pub mod restore;
pub mod rewind;
pub mod seal;
