//! [`RestoreError`]: why a dump is not read, not extracted from, or not restored.

use std::io;

use dump::DumpError;
use server::ServerError;
use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A file cannot be read.
    #[error("{file} cannot be read")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file is cut off, damaged, or no dump: nothing was loaded from it.
    #[error("{file} is damaged or cut off; nothing was loaded")]
    Damaged {
        /// Which.
        file: String,
        /// What is wrong.
        source: DumpError,
    },
    /// A file is not what the backup's manifest says, or does not fit with the others.
    #[error("{file} {problem}; nothing was loaded")]
    Differs {
        /// Which.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The manifest cannot be used.
    #[error("the manifest of {place} cannot be used")]
    Manifest {
        /// Where.
        place: String,
        /// Why.
        source: dump::manifest::ManifestError,
    },
    /// It is encrypted, and no identity that was given opens it.
    #[error("the backup {place} cannot be opened")]
    Sealed {
        /// Where.
        place: String,
        /// Why.
        source: crate::seal::SealError,
    },
    /// What was asked for is not in the dump.
    #[error("not in {source_name}: {}", names.join(", "))]
    Missing {
        /// The dump.
        source_name: String,
        /// What.
        names: Vec<String>,
    },
    /// The target is not empty.
    #[error("the target already has {}", names.join(", "))]
    NotEmpty {
        /// What.
        names: Vec<String>,
    },
    /// Definitions that the target does not take as they are.
    #[error("the target does not take what is in the dump without changes: {}", changes.join("; "))]
    NeedsFixes {
        /// Each with its name.
        changes: Vec<String>,
        /// The names.
        names: Vec<String>,
    },
    /// It is a physical backup, where a dump is meant.
    #[error("the backup {name} is a physical one: it makes a whole server, not databases")]
    IsPhysical {
        /// Which.
        name: String,
    },
    /// It is a dump, where a physical backup is meant.
    #[error("{name} is a dump: it is loaded into a running server, and makes no data directory")]
    NotPhysical {
        /// Which.
        name: String,
    },
    /// Something about the dump or the target rules the restore out.
    #[error("{0}")]
    Refused(String),
    /// A place cannot be read.
    #[error(transparent)]
    Blob(#[from] blob::BlobError),
    /// The server refused a step.
    #[error("{step} failed")]
    Server {
        /// Which.
        step: String,
        /// Why.
        source: ServerError,
    },
    /// Rows arrived in another number than they left.
    #[error("{table}: {problem}")]
    Rows {
        /// Which.
        table: String,
        /// What is wrong.
        problem: String,
    },
    /// A part of the work ended without a word.
    #[error("a worker of the restore ended early: {0}")]
    Worker(String),
}

impl RestoreError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::File { .. } => "check the path, and that this user may read it",
            Self::Damaged { .. } | Self::Differs { .. } => {
                "take the file from its origin again, or another backup: a restore from half a dump is none"
            }
            Self::Missing { .. } => "names are `database.table`, in the dump's own spelling",
            Self::NotEmpty { .. } => {
                "--rename-existing keeps what is there under another name; --into-nonempty lets other tables be"
            }
            Self::NeedsFixes { names, .. } => {
                return Some(format!(
                    "allow the changes with --fix {}, or all with --fix all",
                    names.join(",")
                ));
            }
            Self::Sealed { .. } => "name the file with its identity: --identity-file",
            Self::IsPhysical { .. } => {
                "put it back with --datadir DIR, an empty data directory of a server that is not running"
            }
            Self::NotPhysical { .. } => "leave --datadir away, and name the server to load it into",
            Self::Server { source, .. } => return source.hint(),
            Self::Blob(error) => return Some(error.hint()),
            Self::Rows { .. } => "run the same command again: it goes on where it stopped",
            Self::Manifest { .. } | Self::Refused(_) | Self::Worker(_) => return None,
        };
        Some(hint.to_owned())
    }

    pub(crate) fn server(step: impl Into<String>) -> impl FnOnce(ServerError) -> Self {
        let step = step.into();
        move |source| Self::Server { step, source }
    }
}
