//! Whether nodes hold the same data: tables and pieces of them summed at one moment of both, and the rows that differ.
//!
//! It changes nothing by itself.

pub mod column;
mod compare;
mod error;
mod exact;
mod node;
mod pair;
mod pass;
pub mod piece;
pub mod repair;
mod report;
mod settle;
pub mod sum;
pub mod table;
mod whole;

use std::time::Duration;

pub use compare::compare;
pub use error::ChecksumError;
pub use node::Login;
pub use report::{
    ColumnDifference, Method, Report, RowDifference, RowState, Shown, TableReport, Verdict, Way,
};
pub use table::TableName;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How both sides are brought to one moment.
    pub method: Method,
    /// Only these databases; empty: all but the server's own.
    pub databases: Vec<String>,
    /// Only these tables; empty: all.
    pub tables: Vec<TableName>,
    /// Not these tables.
    pub ignored: Vec<TableName>,
    /// Tables that have another name on the target.
    pub renamed: Vec<(TableName, TableName)>,
    /// Whether every table is summed row by row, without a first look by `CHECKSUM TABLE`, which does not see all.
    pub thorough: bool,
    /// How long one statement is to take, in milliseconds.
    pub chunk_ms: u64,
    /// How long the target may take to get where the source was.
    pub lag_limit: Duration,
    /// Wait while more of the source's threads than this work.
    pub load_max: Option<u64>,
    /// Whether rows of the source may be locked for a moment to make sure that they differ.
    pub locks: bool,
    /// Differing rows of a table that are looked for.
    pub differences_max: u64,
    /// Differing rows of a table that are shown.
    pub shown_max: usize,
}

impl Options {
    /// All tables, by a method.
    #[must_use]
    pub const fn new(method: Method) -> Self {
        Self {
            method,
            databases: Vec::new(),
            tables: Vec::new(),
            ignored: Vec::new(),
            renamed: Vec::new(),
            thorough: false,
            chunk_ms: 500,
            lag_limit: Duration::from_secs(300),
            load_max: None,
            locks: true,
            differences_max: 10_000,
            shown_max: 20,
        }
    }
}

/// What a comparison is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Reading what tables there are.
    #[default]
    Looking,
    /// Summing a table.
    Summing,
    /// Finding the rows that differ.
    Settling,
    /// Waiting for the target.
    Lag {
        /// For how long already, in seconds.
        seconds: u64,
    },
    /// Waiting for a server with too much to do.
    Load {
        /// How many of its threads work.
        threads: u64,
    },
}

/// How far a comparison is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The table; none while waiting.
    pub table: Option<TableName>,
    /// The server that is compared or waited for.
    pub target: String,
    /// What it is at.
    pub stage: Stage,
    /// Rows summed so far; those of a table summed as a whole as the source estimates.
    pub rows_done: u64,
    /// Rows there are, as the source estimates.
    pub rows_estimate: u64,
}

/// Whoever is told how far a comparison is, and given the repair statements.
pub trait Observer: Sync {
    /// How far it is. Called often.
    fn progress(&self, progress: &Progress);

    /// Statements that would make rows of a target the source's; empty ones mean nothing.
    ///
    /// # Errors
    /// When they cannot be written down, which ends the comparison.
    fn repair(&self, target: &str, statements: &str) -> std::io::Result<()>;
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _: &Progress) {}

    fn repair(&self, _: &str, _: &str) -> std::io::Result<()> {
        Ok(())
    }
}
