//! What an answer of etcd, or the lack of one, says about the request. It sends nothing.

use std::error::Error as _;
use std::io;

use etcd_client::Error;

use crate::StoreError;
use crate::model::SNAPSHOT_BYTES_MAX;

/// What follows from a request that failed.
#[derive(Debug)]
pub(super) enum Meaning {
    /// This endpoint certainly did not do it; another one may.
    TryAnother(String),
    /// It was certainly not done, and any other endpoint would say the same.
    Final(StoreError),
    /// It may have been done, or may yet be.
    Unsure(String),
}

/// A row of [`ANSWERS`]: what follows, given etcd's words.
type Follows = fn(String) -> Meaning;

/// etcd's words for what it did not do, each said before anything is proposed to the cluster. What is not here is
/// unsure, above all `request timed out` in its variants. From `api/v3rpc/rpctypes/error.go` of etcd 3.4 to 3.6.
const ANSWERS: &[(&str, Follows)] = &[
    ("etcdserver: no leader", Meaning::TryAnother),
    ("etcdserver: not leader", Meaning::TryAnother),
    ("etcdserver: too many requests", Meaning::TryAnother),
    ("etcdserver: rpc not supported for learner", Meaning::TryAnother),
    ("etcdserver: permission denied", unauthorised),
    ("etcdserver: invalid auth token", unauthorised),
    ("etcdserver: authentication failed", unauthorised),
    ("etcdserver: authentication is not enabled", unauthorised),
    ("etcdserver: user name is empty", unauthorised),
    ("etcdserver: user name not found", unauthorised),
    ("etcdserver: mvcc: database space exceeded", refused),
    ("etcdserver: mvcc: required revision is a future revision", refused),
    ("etcdserver: request is too large", refused),
    ("etcdserver: too many operations in txn request", refused),
    ("etcdserver: corrupt cluster", corrupt),
];

fn unauthorised(reason: String) -> Meaning {
    Meaning::Final(StoreError::Unauthorised { reason })
}

fn refused(reason: String) -> Meaning {
    Meaning::Final(StoreError::Refused { reason })
}

fn corrupt(reason: String) -> Meaning {
    Meaning::Final(StoreError::Corrupt { reason })
}

impl Meaning {
    /// The meaning of etcd's own words, if they are known. A watch that ends has some text before them.
    pub(super) fn of_words(message: &str) -> Option<Self> {
        let (_, follows) = ANSWERS.iter().find(|(words, _)| message.contains(words))?;
        Some(follows(message.to_owned()))
    }

    pub(super) fn of(error: &Error) -> Self {
        let reason = reason(error);
        match error {
            Error::GRpcStatus(status) => {
                let message = status.message();
                if let Some(follows) = Self::of_words(message) {
                    follows
                } else if message.contains("decoded message length too large") {
                    let what = "the store in bytes".to_owned();
                    // The size is not told, only that the limit was passed.
                    let size = SNAPSHOT_BYTES_MAX + 1;
                    Self::Final(StoreError::TooLarge { what, size, max: SNAPSHOT_BYTES_MAX })
                } else if is_refused_connection(status) {
                    Self::TryAnother(reason)
                } else {
                    Self::Unsure(reason)
                }
            }
            // Said while the request is put together. Certificates that cannot be read are transport errors.
            Error::InvalidArgs(_)
            | Error::InvalidUri(_)
            | Error::InvalidMetadataValue(_)
            | Error::TransportError(_) => Self::Final(StoreError::Config { reason }),
            Error::IoError(_)
            | Error::WatchError(_)
            | Error::Utf8Error(_)
            | Error::LeaseKeepAliveError(_)
            | Error::ElectError(_)
            | Error::EndpointError(_)
            | Error::EndpointsNotManaged
            | Error::Internal(_) => Self::Unsure(reason),
        }
    }
}

/// A TCP connection that is refused never existed, so the request was not sent on it.
fn is_refused_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    sources(error).any(|source| {
        source
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// `true` if the member itself said it, so that there is nothing wrong with the connection.
pub(super) fn is_from_member(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().starts_with("etcdserver:"))
}

/// The words of the error and of what caused it, without saying anything twice.
pub(super) fn reason(error: &Error) -> String {
    let (first, source) = match error {
        // Its own text repeats its source and adds the gRPC code.
        Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        Error::TransportError(error) => (error.to_string(), error.source()),
        other @ (Error::InvalidArgs(_)
        | Error::InvalidUri(_)
        | Error::IoError(_)
        | Error::WatchError(_)
        | Error::Utf8Error(_)
        | Error::LeaseKeepAliveError(_)
        | Error::ElectError(_)
        | Error::InvalidMetadataValue(_)
        | Error::EndpointError(_)
        | Error::EndpointsNotManaged
        | Error::Internal(_)) => (other.to_string(), None),
    };
    let mut text = first;
    for cause in source.into_iter().flat_map(sources).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

/// `true` if the token must be renewed although the client has not noticed.
pub(super) fn is_stale_token(message: &str) -> bool {
    [
        "auth revision",
        "revision in header is old",
        "auth store is old",
        "invalid auth token",
        "permission denied",
    ]
    .iter()
    .any(|words| message.contains(words))
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
