//! [`ArchiveError`]: why the archive cannot be written or read on. It decides nothing.

use blob::BlobError;
use server::ServerError;
use thiserror::Error;

use crate::seal::SealError;

/// Why the archive cannot be written or read on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The place failed.
    #[error(transparent)]
    Place(#[from] BlobError),
    /// The server failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A record of the archive that is none.
    #[error("{name} is not a record of the archive: {problem}")]
    Record {
        /// The object.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server has no binary logs.
    #[error("{endpoint} writes no binary logs")]
    NoLogs {
        /// Which server.
        endpoint: String,
    },
    /// The server no longer has what comes next.
    #[error(
        "there is a gap: the archive ends at {archived}, and {endpoint} has only {oldest} and later, which begins after transactions that are not archived: {missing}"
    )]
    Gap {
        /// Which server.
        endpoint: String,
        /// Where the archive ends.
        archived: String,
        /// The oldest log of the server.
        oldest: String,
        /// What is in neither.
        missing: String,
    },
    /// Nothing tells whether the server's logs go on where the archive ends.
    #[error(
        "nothing says whether {endpoint} goes on where the archive ends, at {archived}: its transactions have no GTIDs"
    )]
    NoGtids {
        /// Which server.
        endpoint: String,
        /// Where the archive ends.
        archived: String,
    },
    /// The server sent something else than what comes next.
    #[error("{log} goes on at {found}, not at {expected}: the server left out part of it")]
    OutOfStep {
        /// The log.
        log: String,
        /// Where the next event is.
        found: u64,
        /// Where it should be.
        expected: u64,
    },
    /// An event that cannot be one.
    #[error("{log} at {offset}: {problem}")]
    Event {
        /// The log.
        log: String,
        /// Where, in bytes from its beginning.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// The archive has a gap in it.
    #[error("the archive has a gap: {what} (it reaches to {reaches})")]
    Broken {
        /// What is missing.
        what: String,
        /// The last position before the gap.
        reaches: String,
    },
    /// The archive does not begin early enough.
    #[error("the archive does not go back to {from}: {problem}")]
    TooLate {
        /// What was asked for.
        from: String,
        /// Where it begins.
        problem: String,
    },
    /// What was read back is not what was archived.
    #[error("{name} is damaged: {problem}")]
    Damaged {
        /// The object.
        name: String,
        /// In what way.
        problem: String,
    },
    /// It is encrypted, and no identity that was given opens it.
    #[error("{name} cannot be opened")]
    Sealed {
        /// The object.
        name: String,
        /// Why.
        source: SealError,
    },
    /// Another archiver is at work.
    #[error("another archiver writes into {place}: {by}")]
    Held {
        /// The place.
        place: String,
        /// Which one.
        by: String,
    },
    /// Compressing or encrypting failed.
    #[error("cannot compress or encrypt: {0}")]
    Compress(#[source] std::io::Error),
}

impl ArchiveError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Place(error) => Some(error.hint()),
            Self::Server(error) => error.hint(),
            Self::Record { .. } | Self::Damaged { .. } => {
                Some("see what is left with `mainstay backup archive --status --verify`".to_owned())
            }
            Self::NoLogs { .. } => Some("turn log_bin on; `mainstay plan` does".to_owned()),
            Self::Gap { .. } | Self::NoGtids { .. } => Some(
                "archive from a node that still has them; else take a new backup, then begin anew with \
                 --accept-gap: rewinding does not reach across the gap"
                    .to_owned(),
            ),
            Self::OutOfStep { .. } | Self::Event { .. } => {
                Some("see whether the server's log is damaged: `mainstay binlog stats FILE`".to_owned())
            }
            Self::Broken { .. } => Some("rewinding reaches to there; take a new backup".to_owned()),
            Self::TooLate { .. } => Some("begin with a later backup".to_owned()),
            Self::Held { .. } => Some(
                "one archiver a place: stop the other one, or wait for its end; one that was killed is taken over \
                 from once its --lease has passed"
                    .to_owned(),
            ),
            Self::Sealed { .. } => Some("name the file with its identity: --identity-file".to_owned()),
            Self::Compress(_) => None,
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Place(_) | Self::Server(_) | Self::Event { .. })
    }
}
