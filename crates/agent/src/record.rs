//! What this node must not forget: epochs, incarnations, whom it followed. One small file, written before what it
//! records is done.

use std::path::{Path, PathBuf};

use ha::{Epoch, Incarnation, NodeName};
use host::files::{self, FileError, Ownership};
use serde::{Deserialize, Serialize};

const BYTES_MAX: usize = 64 << 10;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The highest epoch heard of.
    pub(crate) epoch: Epoch,
    /// The highest version of the cluster's state ever read.
    #[serde(default)]
    pub(crate) version: u64,
    /// The last epoch in which this node opened writes with the data it has now.
    pub(crate) opened: Option<Epoch>,
    /// How often a server process was seen to begin.
    pub(crate) incarnation: Incarnation,
    /// The process that the incarnation stands for, as text.
    pub(crate) process: Option<String>,
    /// Whom replication was last set up to follow.
    pub(crate) follows: Option<Follows>,
}

/// A connection to a primary as it was set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follows {
    /// The primary.
    pub(crate) node: NodeName,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Digest of how it was written, so that a changed address or certificate is noticed.
    pub(crate) digest: String,
}

/// The file and its content.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    kept: Kept,
}

/// The record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Reading or writing it failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It does not hold what it should.
    #[error("{path} does not hold what it should: {source}")]
    Content {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Record {
    /// Reads it; a node that never ran has an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self, RecordError> {
        let kept = match files::read_text(path, BYTES_MAX) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|source| RecordError::Content { path: path.to_owned(), source })?,
            Err(error) if error.is_missing() => Kept::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), kept })
    }

    pub(crate) const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Changes it, on disk first.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Kept)) -> Result<(), RecordError> {
        let mut next = self.kept.clone();
        change(&mut next);
        if next == self.kept {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&next)
            .map_err(|source| RecordError::Content { path: self.path.clone(), source })?;
        files::write_atomic(&self.path, &bytes, &Ownership::mode(0o600))?;
        self.kept = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.json");
        let mut record = Record::open(&path).unwrap();
        assert_eq!(record.kept(), &Kept::default());
        record.change(|kept| kept.opened = Some(7)).unwrap();
        assert_eq!(Record::open(&path).unwrap().kept().opened, Some(7));
        files::write_atomic(&path, b"{", &Ownership::mode(0o600)).unwrap();
        assert!(matches!(Record::open(&path), Err(RecordError::Content { .. })));
    }
}
