//! Backups: taking, keeping, proving and restoring them, and rewinding one table of them.
//!
//! How a dump looks is `dump`'s business, where it lies `blob`'s.
