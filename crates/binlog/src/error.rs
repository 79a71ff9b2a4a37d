//! What can be wrong with a binary log: the whole file, a stretch of it, or one event.

use thiserror::Error;

/// An event whose content is not what its type says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends before its content does.
    #[error("the event ends before its content does")]
    Short,
    /// Something in it cannot be.
    #[error("the event has {0}")]
    Bad(&'static str),
    /// A column type or feature that this program does not know.
    #[error("{what} {code} is not known")]
    Unknown {
        /// What is not known.
        what: &'static str,
        /// Its number in the log.
        code: u64,
    },
    /// Compressed content that does not unpack to what is announced.
    #[error("compressed content does not unpack: {0}")]
    Unpack(String),
    /// Larger than any server writes.
    #[error("{what} has {bytes} bytes, at most {limit_bytes} are possible")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it says it is.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Rows of a table that no earlier event describes.
    #[error("rows of table id {0}, which no table map before them describes")]
    NoTableMap(u64),
    /// Rows with another number of columns than their table map.
    #[error("rows have {rows} columns, their table map has {map}")]
    ColumnCount {
        /// Columns in the rows event.
        rows: usize,
        /// Columns in the table map.
        map: usize,
    },
}

/// A stretch of a log that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// How many bytes were passed over.
    pub skipped_bytes: u64,
    /// What is wrong there.
    pub reason: DamageReason,
    /// The same as a sentence.
    pub message: String,
}

impl Damage {
    pub(crate) fn new(
        offset: u64,
        skipped_bytes: u64,
        reason: DamageReason,
        message: impl Into<String>,
    ) -> Self {
        Self { offset, skipped_bytes, reason, message: message.into() }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {}: {} ({} bytes skipped)", self.offset, self.message, self.skipped_bytes)
    }
}

/// What is wrong with a stretch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageReason {
    /// The checksum differs from the content.
    Checksum,
    /// What should be an event's header cannot be one.
    Header,
    /// The file ends inside an event.
    Truncated,
    /// The content is not what the event's type says.
    Content,
    /// Rows without their table map.
    NoTableMap,
}

/// Why a log cannot be read, or not further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The source does not give its bytes.
    #[error("cannot read the log")]
    Io(#[from] std::io::Error),
    /// It does not begin as a binary log does.
    #[error("this is not a binary log: it begins with {begins:02x?}")]
    NotALog {
        /// Its first bytes.
        begins: Vec<u8>,
    },
    /// MySQL's encrypted binary log.
    #[error("this binary log is encrypted by MySQL (binlog_encryption)")]
    EncryptedByMySql,
    /// MariaDB's encrypted binary log.
    #[error("this binary log is encrypted by MariaDB (encrypt_binlog) from offset {offset} on")]
    EncryptedByMariaDb {
        /// Where the encryption begins, in bytes.
        offset: u64,
    },
    /// A format that no supported server writes.
    #[error("this binary log has format version {version}; only version 4 is known")]
    Version {
        /// The format's version.
        version: u16,
    },
    /// A damaged stretch, and damage was not to be passed over.
    #[error("damaged {0}")]
    Damaged(Damage),
}

impl ReadError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) => "check that the file is there, readable and whole",
            Self::NotALog { .. } => {
                "give binary logs, as SHOW BINARY LOGS lists them, not the index file or a dump"
            }
            Self::EncryptedByMySql | Self::EncryptedByMariaDb { .. } => {
                "have the server decrypt it: mysqlbinlog --read-from-remote-server --raw, or mariadb-binlog likewise, writes a plain copy"
            }
            Self::Version { .. } => "servers from MySQL 5.0 on write version 4",
            Self::Damaged(_) => "--on-damage skip goes on after it, and counts what was skipped",
        }
    }
}
