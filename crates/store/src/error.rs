//! Why the store did not do what was asked. Which message of which backend means which of these is decided there.

use std::time::Duration;

/// Why the store did not do what was asked.
///
/// Only [`StoreError::Unknown`] leaves open whether a write happened; with every other one nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No endpoint took the request, or the file cannot be used, or a watch lost its connection.
    #[error("the store is not reachable: {reason}")]
    Unreachable {
        /// What each endpoint, or the operating system, answered.
        reason: String,
    },
    /// No answer within the request timeout. Nothing was written.
    #[error("the store did not answer within {} ms", after.as_millis())]
    Timeout {
        /// The request timeout.
        after: Duration,
    },
    /// The write was sent and its outcome is not known: it may have happened, or may yet happen.
    #[error("it is not known whether the store did the write: {reason}")]
    Unknown {
        /// What was seen instead of an answer.
        reason: String,
    },
    /// User, password, certificate or permissions are not what the store wants.
    #[error("the store refused access: {reason}")]
    Unauthorised {
        /// The store's words.
        reason: String,
    },
    /// The store understood the request and will not do it, such as when its space is used up.
    #[error("the store refused the request: {reason}")]
    Refused {
        /// The store's words.
        reason: String,
    },
    /// What is stored is damaged or gone. It is never taken for an empty store.
    #[error("the store is damaged: {reason}")]
    Corrupt {
        /// What is wrong, and where.
        reason: String,
    },
    /// The history from the asked revision on is no longer kept: take a snapshot and watch from there.
    #[error("the store keeps its history only from revision {oldest} on")]
    Compacted {
        /// The oldest revision that is still kept.
        oldest: u64,
    },
    /// Larger than the store takes.
    #[error("{what} has size {size}, more than {max}")]
    TooLarge {
        /// What is too large, such as a value with its key.
        what: String,
        /// Its size: bytes, or a number of keys, as `what` says.
        size: usize,
        /// The limit, in the same unit.
        max: usize,
    },
    /// The key cannot be used.
    #[error("the key `{key}` cannot be used: {why}")]
    InvalidKey {
        /// The key.
        key: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The options contradict each other or cannot be parsed.
    #[error("the store's settings cannot be used: {reason}")]
    Config {
        /// Which one, and why.
        reason: String,
    },
}

impl StoreError {
    /// `true` if a write that failed with this error has certainly not happened, and will not.
    #[must_use]
    pub fn wrote_nothing(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }

    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "look with `etcdctl endpoint health --cluster`, or with `ls -la` at the \
                 store's folder, and check `[ha.store]`"
                .to_owned(),
            Self::Timeout { .. } => {
                "look with `etcdctl endpoint status --cluster -w table`: is there a leader, and is its disk slow?"
                    .to_owned()
            }
            Self::Unknown { .. } => "read the store again before writing".to_owned(),
            Self::Unauthorised { .. } => "check `user`, `password_file`, `ca`, `cert` and `key` under `[ha.store]`, \
                 and the role with `etcdctl user get USER --detail`"
                .to_owned(),
            Self::Refused { .. } => "look with `etcdctl alarm list` and in etcd's log".to_owned(),
            Self::Corrupt { .. } => {
                "stop the agents, restore the store from a copy or start it afresh, and start them again".to_owned()
            }
            Self::Compacted { .. } => "read the store again and watch from its revision".to_owned(),
            Self::TooLarge { .. } => {
                "look with `etcdctl get --prefix PREFIX --keys-only` for what fills the store".to_owned()
            }
            Self::InvalidKey { .. } => "use letters, digits, `_`, `.`, `-` and `/`".to_owned(),
            Self::Config { .. } => "correct `[ha.store]` in mainstay.toml".to_owned(),
        }
    }
}
