//! [`BlobError`]: what can go wrong between here and where backups live. It retries nothing.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A place or an object in it that failed. Messages never hold secrets.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The address of a place cannot be understood.
    #[error("`{address}` is not a place: {problem}")]
    BadAddress {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Credentials cannot be understood. What they say is not shown.
    #[error("the credentials cannot be read: {problem}")]
    BadCredentials {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A name that no object may have.
    #[error("an object cannot have the name `{name}`: {problem}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no such object.
    #[error("there is no {name} in {place}")]
    NotFound {
        /// The object.
        name: String,
        /// Where it was looked for.
        place: String,
    },
    /// The folder itself is missing. It is never made: an absent mount would fill the disk below it.
    #[error("there is no folder {}", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be worked on.
    #[error("cannot {operation} {}: {error}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's words. They are in the sentence, and so not a source beside it.
        error: io::Error,
    },
    /// The store refused or failed, after all retries.
    #[error("cannot {operation} {name} in {place}: {reason}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// The object.
        name: String,
        /// Which store.
        place: String,
        /// The store's words, shortened.
        reason: String,
    },
    /// Fewer or more bytes came than the object has.
    #[error("{name} in {place} gave {got_bytes} bytes of {expected_bytes}")]
    Short {
        /// The object.
        name: String,
        /// Which place.
        place: String,
        /// Bytes that came.
        got_bytes: u64,
        /// Bytes it should have.
        expected_bytes: u64,
    },
    /// What was stored is not what was sent.
    #[error("{name} in {place} is not what was written: {problem}")]
    Different {
        /// The object.
        name: String,
        /// Which place.
        place: String,
        /// In what it differs.
        problem: String,
    },
    /// An object that is larger than the place takes.
    #[error("{name} is larger than {limit_bytes} bytes, the largest that {place} takes here")]
    TooLarge {
        /// The object.
        name: String,
        /// Which place.
        place: String,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// More objects than are looked at.
    #[error("there are more than {limit} objects below {prefix} in {place}")]
    TooMany {
        /// Where.
        prefix: String,
        /// Which place.
        place: String,
        /// The limit.
        limit: usize,
    },
}

impl BlobError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::BadAddress { .. } => "name a folder by its absolute path, or s3://BUCKET/PREFIX".to_owned(),
            Self::BadCredentials { .. } => {
                "write aws_access_key_id = ... and aws_secret_access_key = ..., one a line".to_owned()
            }
            Self::BadName { .. } => "names are relative paths without hidden parts".to_owned(),
            Self::NotFound { .. } => "see what is there with `mainstay backup list`".to_owned(),
            Self::NoFolder { path } => {
                format!("mount it, or make it with `mkdir -m 700 {}`", path.display())
            }
            Self::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                "make room, or keep fewer backups with `mainstay backup prune`".to_owned()
            }
            Self::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "run as the folder's owner".to_owned()
            }
            Self::Io { .. } => "see whether the disk is well".to_owned(),
            // As rustls words it.
            Self::Store { reason, .. } if reason.contains("UnknownIssuer") => {
                "name the authority of the store's certificate: s3_ca_file in [backup], or --s3-ca-file"
                    .to_owned()
            }
            Self::Store { .. } => {
                "see whether endpoint, region, bucket and credentials are right, and the store is up"
                    .to_owned()
            }
            Self::Short { .. } | Self::Different { .. } => {
                "the place loses data: see what is left with `mainstay backup verify`, and use another"
                    .to_owned()
            }
            Self::TooLarge { .. } => "dump in smaller chunks".to_owned(),
            Self::TooMany { .. } => "keep fewer backups in one place".to_owned(),
        }
    }

    /// Whether the object is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// What an error says, and the first cause where that is not in it: a store's client tells how often it tried, and only its
/// cause that a certificate is not believed or a name not known.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let said = error.to_string();
    let mut first = error;
    while let Some(source) = first.source() {
        first = source;
    }
    let first = first.to_string();
    if said.contains(&first) {
        shortened(&said)
    } else {
        format!("{}: {}", shortened(&said), shortened(&first))
    }
}

/// Another's words on one line, and not many of them.
fn shortened(words: &str) -> String {
    const SHOWN_CHARS: usize = 400;
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{} ...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
