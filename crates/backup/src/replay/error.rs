//! [`ReplayError`]: why an archive is not replayed, or not further. It decides nothing.

use binlog::Obstacle;
use server::ServerError;
use thiserror::Error;

use crate::rewind::RewindError;

/// Why an archive is not replayed, or not further. What was committed before stays, and is noted on the target.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] Box<RewindError>),
    /// Something in the log cannot be replayed.
    #[error("cannot replay {0}")]
    Obstacle(Obstacle),
    /// The target refused.
    #[error("{step} failed")]
    Server {
        /// What was being done.
        step: String,
        /// Why.
        source: ServerError,
    },
    /// Rows that do not fit into a packet of the target.
    #[error(
        "an event of {bytes} bytes at {log} {offset} does not fit into the target's max_allowed_packet of {packet_bytes}"
    )]
    TooLarge {
        /// The log.
        log: String,
        /// Where it begins.
        offset: u64,
        /// Its length as text.
        bytes: usize,
        /// What the target takes.
        packet_bytes: usize,
    },
    /// The target cannot take this archive.
    #[error("{0}")]
    Refused(String),
    /// A part of the work ended without a word.
    #[error("reading the archive ended early: {0}")]
    Worker(String),
}

impl ReplayError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Archive(error) => return error.hint(),
            Self::Server { source, .. } => return source.hint(),
            Self::Obstacle(_) => "choose a point before it, then do by hand what it did",
            Self::TooLarge { .. } => {
                "raise max_allowed_packet on the target and run the same command again: it goes on where it stopped"
            }
            Self::Refused(_) | Self::Worker(_) => return None,
        };
        Some(hint.to_owned())
    }

    pub(crate) fn server(step: impl Into<String>) -> impl FnOnce(ServerError) -> Self {
        let step = step.into();
        move |source| Self::Server { step, source }
    }
}
