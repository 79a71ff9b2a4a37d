//! [`ChecksumError`]: what keeps two servers from being compared.

use server::ServerError;
use thiserror::Error;

use crate::piece::PieceError;

/// Why a comparison ended without a verdict.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChecksumError {
    /// A server refused something, or cannot be reached.
    #[error("{node}")]
    Server {
        /// Which server.
        node: String,
        /// Why.
        source: ServerError,
    },
    /// A server answered something else than what was asked.
    #[error("{node} answers no {what}")]
    Answer {
        /// Which server.
        node: String,
        /// What is missing in its answer.
        what: &'static str,
    },
    /// The source has no position that a replica could reach.
    #[error("{node} has no GTID position: its binary log is off, or GTIDs are")]
    NoPosition {
        /// The source.
        node: String,
    },
    /// The target did not get as far as the source was.
    #[error("{node} did not reach {position} within {seconds} s")]
    Behind {
        /// The target.
        node: String,
        /// The source's position.
        position: String,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// The servers' positions cannot be compared.
    #[error(
        "{source_node} and {target_node} are of different vendors: neither reaches the other's positions"
    )]
    OtherVendor {
        /// The source.
        source_node: String,
        /// The target.
        target_node: String,
    },
    /// It was asked to end.
    #[error("interrupted; replication on {node} was started again")]
    Interrupted {
        /// The target.
        node: String,
    },
    /// The account may not read.
    #[error("the account of {node} sees no table that is to be compared")]
    NothingSeen {
        /// Which server.
        node: String,
    },
    /// A name or value that cannot be written into SQL.
    #[error("a statement cannot be written: {0}")]
    Statement(#[from] PieceError),
    /// The repair statements could not be written down.
    #[error("the repair statements cannot be written")]
    Repair(#[source] std::io::Error),
}

impl ChecksumError {
    pub(crate) fn server(node: &str) -> impl FnOnce(ServerError) -> Self + '_ {
        move |source| Self::Server { node: node.to_owned(), source }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Server { source, .. } if source.is_missing_privilege() => {
                "it needs SELECT on the tables compared: GRANT SELECT ON *.* TO ... (see docs/checksum.md)"
            }
            Self::Server { source, .. } => return source.hint(),
            Self::NoPosition { .. } | Self::OtherVendor { .. } => {
                "stop writing to both and compare them with --static"
            }
            Self::Behind { .. } => {
                "see whether it replicates from the source: mainstay status; for unrelated servers use --static"
            }
            Self::NothingSeen { .. } => {
                "check --databases and --tables, and that the account has SELECT on them"
            }
            Self::Answer { .. } | Self::Statement(_) => "run it again with -vv and report what it prints",
            Self::Interrupted { .. } => "run it again, when replication lags less",
            Self::Repair(_) => "check the file's folder and the space left there",
        };
        Some(hint.to_owned())
    }

    /// Whether only the table at hand is affected: it was dropped or altered meanwhile, or is locked.
    pub(crate) fn is_of_table(&self) -> bool {
        let Self::Server { source, .. } = self else { return false };
        // ER_BAD_FIELD, ER_NO_SUCH_TABLE, ER_KEY_DOES_NOT_EXITS, ER_LOCK_WAIT_TIMEOUT, ER_TABLE_DEF_CHANGED,
        // ER_LOCK_DEADLOCK, ER_TABLEACCESS_DENIED, ER_NO_SUCH_TABLE_IN_ENGINE, ER_CRASHED_ON_USAGE,
        // ER_TABLESPACE_MISSING, ER_TABLESPACE_DISCARDED.
        let code = source.code();
        matches!(
            code,
            Some(1054 | 1142 | 1145 | 1146 | 1176 | 1194 | 1205 | 1213 | 1412 | 1812 | 1814 | 1932)
        ) || matches!(source, ServerError::StatementTimeout { .. })
    }
}
