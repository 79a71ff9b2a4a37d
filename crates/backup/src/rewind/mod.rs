//! Rewinding a table: as it was at a moment, from a backup and the archive of binary logs, beside the live one.
//!
//! ```text
//! point      the moment asked for, found in the archive
//! base       the backup to begin with, and the logs from there on
//! table      what is done in which order: plan, restore, replay, name
//! cascade    what foreign keys did to the table without logging it
//! stretch    the logs' changes of the table; sequence where it has no primary key
//! replay     these applied; ddl what changed the table as a whole
//! scratch    the database it is made in
//! pair       the two tables side by side; diff compares, copy and swap bring back
//! ```
//!
//! How a backup is restored and how changes are folded is said elsewhere; the live table is touched by copy and swap
//! alone.

pub mod base;
mod cascade;
pub mod copy;
mod ddl;
pub mod diff;
mod error;
mod pair;
pub mod point;
mod replay;
mod scratch;
mod sequence;
mod stretch;
pub mod swap;
pub mod table;
pub(crate) mod walk;

pub use base::{Base, choose};
pub use cascade::Cascade;
pub use copy::{CopyOptions, Copying, copy_back, plan_copy};
pub use diff::{TableDiff, diff};
pub use error::RewindError;
pub use point::{Found, Located, Point, PointError};
pub use replay::Replayed;
pub use swap::{SwapPlan, plan_swap, swap};
pub use table::{
    Definitions, Prepared, Rewound, TableOptions, TablePlan, TableProgress, TriggerDefinition, build, open,
    prepare,
};
