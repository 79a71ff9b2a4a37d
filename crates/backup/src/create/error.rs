//! [`CreateError`]: why a backup was not made. It retries nothing.

use std::io;

use blob::BlobError;
use dump::literal::RowError;
use dump::manifest::ManifestError;
use server::ServerError;
use thiserror::Error;

/// A backup that was not made. Nothing that lists as a backup is left behind: its manifest is missing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The server did not do its part.
    #[error("cannot {what}")]
    Server {
        /// What was tried.
        what: String,
        /// Its words.
        source: ServerError,
    },
    /// The place did not take a file, or gave another back.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A file could not be compressed, sealed or read.
    #[error("cannot {what}")]
    File {
        /// What was tried.
        what: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// The server writes no binary logs.
    #[error(
        "the server writes no binary logs: what happens after the backup could never be replayed onto it"
    )]
    NoCoordinates,
    /// Sessions could not be brought to one moment.
    #[error("after {tries} tries, no moment was found that all sessions see alike: {why}")]
    NoMoment {
        /// How often it was tried.
        tries: u32,
        /// What was in the way.
        why: String,
    },
    /// Tables that were made, altered, truncated, renamed or dropped while they were read.
    #[error("definitions changed during the dump: {}", names.join(", "))]
    DefinitionsChanged {
        /// Which, as `database.table`.
        names: Vec<String>,
    },
    /// A row that is not as the table is defined.
    #[error("{table} cannot be written")]
    Row {
        /// Which table.
        table: String,
        /// Why.
        source: RowError,
    },
    /// A definition that the server does not show.
    #[error("the server does not show {what}: the account lacks a privilege, or it is damaged")]
    NotShown {
        /// What.
        what: String,
    },
    /// A name that nothing has.
    #[error("there is no {what}")]
    Unknown {
        /// What was asked for.
        what: String,
    },
    /// A file of this host that cannot be read.
    #[error(transparent)]
    HostFile(#[from] host::files::FileError),
    /// No database to dump.
    #[error("the server has no database besides its own")]
    Nothing,
    /// A manifest that contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Files of the control plane cannot be kept in the clear.
    #[error("files of the control plane hold its secrets and are only kept encrypted")]
    RecipientNeeded,
    /// A task of ours ended by itself.
    #[error("a part of the dump ended unexpectedly: {what}")]
    Broken {
        /// Which.
        what: String,
    },
    /// The program that copies the server's files failed.
    #[error("{what}")]
    Physical {
        /// What it said.
        what: String,
    },
    /// The program could not be run.
    #[error(transparent)]
    Command(#[from] host::command::CommandError),
}

impl CreateError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Server { source, .. } => return source.hint(),
            Self::Blob(error) => return Some(error.hint()),
            Self::Command(error) => return Some(error.hint()),
            Self::HostFile(error) => return Some(error.hint()),
            Self::NoCoordinates => {
                "turn binary logs on (log_bin in the server's configuration), or say --without-coordinates"
            }
            Self::NoMoment { .. } => "end the statement that is in the way, or try again at a quieter time",
            Self::DefinitionsChanged { .. } => "run it again when the schema change is over",
            Self::Row { .. } => "run it again; if it stays, see CHECK TABLE",
            Self::NotShown { .. } => {
                "use an account with SELECT, SHOW VIEW, TRIGGER, EVENT and PROCESS on everything"
            }
            Self::Unknown { .. } => "see what there is: SHOW DATABASES, SHOW TABLES",
            Self::RecipientNeeded => {
                "name a recipient with --recipient; `mainstay backup keygen` makes one with its identity"
            }
            Self::Nothing
            | Self::File { .. }
            | Self::Manifest(_)
            | Self::Broken { .. }
            | Self::Physical { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Says what was tried of a server.
pub(crate) trait During<T> {
    /// The same result with what was tried.
    fn during(self, what: impl FnOnce() -> String) -> Result<T, CreateError>;
}

impl<T> During<T> for Result<T, ServerError> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, CreateError> {
        self.map_err(|source| CreateError::Server { what: what(), source })
    }
}
