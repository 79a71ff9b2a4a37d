//! The backups in a place: which there are, whether they read back, and which may go. It takes and restores none.
//!
//! ```text
//! <id>/...                       a backup; <id>/mainstay.json is written last, a backup without it is incomplete
//! marks/<id>.read-back.json      it read back as it was written
//! marks/<id>.restored.json       it was restored on trial
//! ```

mod error;
mod id;
mod list;
mod prune;
mod verify;

pub use error::RepositoryError;
pub use id::BackupId;
pub use list::{Listed, Mark, Repository, Whole};
pub use prune::{ArchivePrune, PrunePlan, Pruned};
pub use verify::{FileProblem, Verified, VerifyNews};
