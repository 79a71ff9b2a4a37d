//! [`RehearseError`]: why a rehearsal did not come to its end. It decides nothing.

use server::ServerError;
use thiserror::Error;

use crate::archive::ArchiveError;
use crate::physical::restore::PhysicalError;
use crate::replay::ReplayError;
use crate::repository::RepositoryError;
use crate::restore::RestoreError;
use crate::rewind::RewindError;

/// Why a rehearsal did not come to its end. The backup is not verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RehearseError {
    /// The backups cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What leads on from the backup cannot be found.
    #[error(transparent)]
    Rewind(#[from] RewindError),
    /// The backup cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The physical backup cannot be put back.
    #[error(transparent)]
    Physical(#[from] PhysicalError),
    /// The archive cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The tables cannot be checked.
    #[error("the restored tables cannot be checked")]
    Check {
        /// Why.
        source: ServerError,
    },
    /// No backup to rehearse.
    #[error("there is no backup to rehearse: {why}")]
    NoBackup {
        /// Why.
        why: String,
    },
}

impl RehearseError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Rewind(error) => error.hint(),
            Self::Restore(error) => error.hint(),
            Self::Physical(error) => error.hint(),
            Self::Replay(error) => error.hint(),
            Self::Check { source } => source.hint(),
            Self::NoBackup { .. } => Some(
                "take one with `mainstay backup create`; `mainstay backup list` shows what there is"
                    .to_owned(),
            ),
        }
    }
}
