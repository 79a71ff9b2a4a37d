//! [`RewindError`]: why a rewind is not begun, or ended early. It decides nothing.

use binlog::ReadError;
use server::ServerError;
use thiserror::Error;

use super::cascade::Cascade;
use super::point::PointError;
use crate::archive::ArchiveError;
use crate::repository::RepositoryError;
use crate::restore::RestoreError;

/// What went wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewindError {
    /// The point cannot be read.
    #[error(transparent)]
    Point(#[from] PointError),
    /// The backups cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The table cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A log of the archive is damaged.
    #[error("{name} cannot be read")]
    Log {
        /// Its first piece.
        name: String,
        /// Why.
        source: ReadError,
    },
    /// Several logs of the archive have this name.
    #[error("the archive has several logs called {log}: a failover was between them")]
    Ambiguous {
        /// The name.
        log: String,
    },
    /// No backup from which the point can be reached.
    #[error("no backup leads to the point {point}: {}", why.join("; "))]
    NoBackup {
        /// The point.
        point: String,
        /// What is in the way of each backup.
        why: Vec<String>,
        /// Where it can go instead, as options.
        instead: Option<String>,
    },
    /// Something in the logs cannot be replayed.
    #[error("at {place}: {problem}")]
    Obstacle {
        /// Where.
        place: String,
        /// What.
        problem: String,
    },
    /// Foreign keys may have changed rows of the table, which no log tells.
    #[error("foreign keys may have changed rows of {table} without a trace in the logs: {}", shown(cascades))]
    Cascades {
        /// The table.
        table: String,
        /// Changes of the tables that they lead to.
        cascades: Vec<Cascade>,
    },
    /// Something that is there is in the way.
    #[error("{what}")]
    Refused {
        /// What.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The server refused a step.
    #[error("{step} failed")]
    Server {
        /// Which.
        step: String,
        /// Why.
        source: ServerError,
    },
    /// A part of the work ended without a word.
    #[error("a worker of the rewind ended early: {0}")]
    Worker(String),
}

fn shown(cascades: &[Cascade]) -> String {
    let line = |it: &Cascade| {
        let Cascade { parent, keys, deleted, updated, first } = it;
        format!(
            "{deleted} rows of {parent} deleted, {updated} changed, from {first} on (foreign keys of {})",
            keys.join(", ")
        )
    };
    cascades.iter().map(line).collect::<Vec<_>>().join("; ")
}

impl RewindError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Restore(error) => error.hint(),
            Self::Log { source, .. } => Some(source.hint().to_owned()),
            Self::Ambiguous { .. } => Some("name the point by its GTID or time".to_owned()),
            Self::NoBackup { instead, .. } => Some(instead.clone().unwrap_or_else(|| {
                "see `mainstay backup list` and `mainstay backup archive --status`".to_owned()
            })),
            Self::Obstacle { place, .. } => {
                Some(format!("rewind to before it with --before {place}, or begin with a later --backup"))
            }
            Self::Cascades { .. } => Some(
                "begin with a backup that was taken after these changes (--backup), rewind the whole server into a new \
                 one (--into), where foreign keys act again, or accept rows that should have gone with --accept-cascades"
                    .to_owned(),
            ),
            Self::Refused { hint, .. } => Some(hint.clone()),
            Self::Server { source, .. } => source.hint(),
            Self::Point(_) | Self::Worker(_) => None,
        }
    }

    pub(crate) fn server(step: impl Into<String>) -> impl FnOnce(ServerError) -> Self {
        let step = step.into();
        move |source| Self::Server { step, source }
    }

    pub(crate) fn refused(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), hint: hint.into() }
    }
}
