//! The archive of binary logs: every log of the primary, byte for byte, in the place where backups live.
//!
//! [`archive_once`] and [`archive_follow`] write it, [`Archive`] finds in it, [`LogReader`] reads it. It applies
//! nothing: what is in a log is the crate `binlog`'s matter.

mod catalog;
mod check;
mod content;
mod cover;
mod cutter;
mod error;
mod follow;
mod gtids;
mod guard;
mod lease;
mod merge;
mod read;
mod segment;
mod source;

pub use catalog::{Archive, RunSegments};
pub use check::{ArchiveCheck, ArchiveStatus};
pub use cover::{Cover, CoverFrom, CoveredLog};
pub use error::ArchiveError;
pub use follow::{ArchiveNews, ArchiveOptions, Archived, archive_follow, archive_once};
pub use guard::{Purge, PurgeReport};
pub use read::LogReader;
pub use segment::{ARCHIVE_FORMAT, LogPosition, Run, RunReason, Segment, SegmentName, ServerIdentity};
