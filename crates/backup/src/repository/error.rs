//! [`RepositoryError`]: why backups cannot be listed, verified or removed.

use blob::BlobError;
use thiserror::Error;

use crate::archive::ArchiveError;
use crate::seal::SealError;

/// Why backups cannot be listed, verified or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The place failed.
    #[error(transparent)]
    Place(#[from] BlobError),
    /// The archive in it failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is no id.
    #[error("`{text}` is not the id of a backup, such as 20261121T173000Z-shop")]
    BadId {
        /// What was given.
        text: String,
    },
    /// No such backup.
    #[error("there is no backup {id} in {place}")]
    NoBackup {
        /// Its id.
        id: String,
        /// Where it was looked for.
        place: String,
    },
    /// It is encrypted to others than the identities given.
    #[error("the backup {id} cannot be opened")]
    Sealed {
        /// Its id.
        id: String,
        /// Why.
        source: SealError,
    },
    /// It has no manifest that can be read.
    #[error("the backup {id} cannot be used: {problem}")]
    Unusable {
        /// Its id.
        id: String,
        /// Why.
        problem: String,
    },
}

impl RepositoryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Place(error) => Some(error.hint()),
            Self::Archive(error) => error.hint(),
            Self::BadId { .. } | Self::NoBackup { .. } => {
                Some("`mainstay backup list` shows what there is".to_owned())
            }
            Self::Sealed { .. } => {
                Some("name the file with its identity; without --identity-file, sums are compared".to_owned())
            }
            Self::Unusable { .. } => {
                Some("use another; `mainstay backup prune` removes what was never finished".to_owned())
            }
        }
    }
}
