//! What a backup is to hold and how it is taken. It checks nothing against a server.

use std::path::PathBuf;
use std::time::Duration;

use dump::layout::Compression;

use crate::seal::Recipients;

/// What to dump, and how.
#[derive(Debug)]
pub struct CreateOptions {
    /// The last part of the backup's id, such as the cluster's name: letters, digits, `-` and `_`.
    pub label: String,
    /// Only these databases; empty for all but the server's own.
    pub databases: Vec<String>,
    /// Only these tables, as (database, table); empty for all.
    pub tables: Vec<(String, String)>,
    /// Not these tables.
    pub without_tables: Vec<(String, String)>,
    /// Sessions that read rows, 1 to 64.
    pub threads: usize,
    /// How files are compressed.
    pub compression: Compression,
    /// Level of Zstandard, 1 to 19; gzip takes at most 9.
    pub level: i32,
    /// Every file is encrypted to these; none: to nobody.
    pub recipients: Recipients,
    /// About how much of a table a file of rows holds, in bytes of the table.
    pub chunk_bytes: u64,
    /// About how long an INSERT is, in bytes.
    pub statement_bytes: usize,
    /// Take the backup where the server has no binary logs.
    pub without_coordinates: bool,
    /// Keep accounts and grants.
    pub accounts: bool,
    /// Files of the control plane to keep.
    pub control_plane_files: Vec<PathBuf>,
    /// When to hold back.
    pub throttle: Throttle,
}

impl CreateOptions {
    /// Everything, with two sessions and zstd.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            databases: Vec::new(),
            tables: Vec::new(),
            without_tables: Vec::new(),
            threads: 2,
            compression: Compression::Zstd,
            level: 1,
            recipients: Recipients::default(),
            chunk_bytes: 64 << 20,
            statement_bytes: 1_000_000,
            without_coordinates: false,
            accounts: true,
            control_plane_files: Vec::new(),
            throttle: Throttle::default(),
        }
    }
}

/// When to hold back: at most ten minutes at a stretch, after which a minute is read whatever the server suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Throttle {
    /// Read nothing while the server, a replica, is further behind than this.
    pub lag_max: Option<Duration>,
    /// Read nothing while more of others' sessions than this are running a statement.
    pub running_max: Option<u64>,
}
