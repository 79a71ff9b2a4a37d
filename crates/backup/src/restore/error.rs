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
    /// What is extracted cannot be written.
    #[error("{file} cannot be written")]
    Write {
        /// Where to.
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
    /// A row that the target does not take.
    #[error(
        "{table} has a row that takes a statement of {row_bytes} bytes, and the target's max_allowed_packet is \
         {packet_bytes}; nothing was loaded"
    )]
    RowTooLong {
        /// Which table.
        table: String,
        /// Length of the row as a statement, in bytes.
        row_bytes: usize,
        /// What the target takes, in bytes.
        packet_bytes: usize,
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
            Self::Write { source, .. } => written_hint(source.kind()),
            Self::RowTooLong { row_bytes, .. } => return Some(packet_hint(*row_bytes)),
            Self::Server { source, .. } => {
                return source.hint().or_else(|| refusal_hint(source.code()?).map(str::to_owned));
            }
            Self::Blob(error) => return Some(error.hint()),
            Self::Rows { .. } => {
                "run the same command again: it goes on where it stopped, and restores tables anew that you drop before"
            }
            Self::Manifest { .. } | Self::Refused(_) | Self::Worker(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// A failure to read a file; of the place that it is in, where that failed.
    pub(crate) fn read(file: impl Into<String>, source: io::Error) -> Self {
        match source.downcast() {
            Ok(of_place) => Self::Blob(of_place),
            Err(source) => Self::File { file: file.into(), source },
        }
    }

    /// A dump that cannot be read to its end: because it is damaged, unless its place failed.
    pub(crate) fn damaged(file: impl Into<String>, source: DumpError) -> Self {
        let (file, source) = (file.into(), source);
        let DumpError::Read { offset, source } = source else { return Self::Damaged { file, source } };
        match source.downcast() {
            Ok(of_place) => Self::Blob(of_place),
            Err(source) => Self::Damaged { file, source: DumpError::Read { offset, source } },
        }
    }

    /// A failure to write what is extracted.
    pub fn write(file: impl Into<String>, source: io::Error) -> Self {
        Self::Write { file: file.into(), source }
    }

    pub(crate) fn server(step: impl Into<String>) -> impl FnOnce(ServerError) -> Self {
        let step = step.into();
        move |source| Self::Server { step, source }
    }
}

/// The largest `max_allowed_packet` that servers have.
const PACKET_BYTES_MAX: usize = 1 << 30;

fn packet_hint(row_bytes: usize) -> String {
    // What follows the statement in its packet fits too.
    let wanted = row_bytes.saturating_add(64 << 10).checked_next_power_of_two().unwrap_or(usize::MAX);
    let load = "let it take rows in pieces: SET GLOBAL local_infile = ON there, without --method insert";
    if wanted > PACKET_BYTES_MAX {
        return format!("no server takes such a statement; {load}");
    }
    format!("SET GLOBAL max_allowed_packet = {wanted} there; or {load}")
}

/// What to do about what cannot be written.
const NOT_WRITTEN: [(&[io::ErrorKind], &str); 4] = [
    (
        &[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded],
        "make room, or write to another disk; what was written is no whole script",
    ),
    (
        &[io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem],
        "write where this user may, with --output",
    ),
    (&[io::ErrorKind::NotFound], "make the folder first, or write to another one"),
    (&[io::ErrorKind::BrokenPipe], "what read the script ended early: see what it says"),
];

fn written_hint(kind: io::ErrorKind) -> &'static str {
    let known = NOT_WRITTEN.iter().find(|(kinds, _)| kinds.contains(&kind));
    known.map_or("see whether the disk is well", |(_, hint)| hint)
}

/// What to do about a server's refusals that have to do with the target rather than with the dump.
const REFUSALS: [(&[u16], &str); 9] = [
    // EE_WRITE, ER_DISK_FULL, ER_RECORD_FILE_FULL.
    (&[3, 1021, 1114], "make room on the server's disk (df -h), then run the same command again: it goes on"),
    (&[1153, 1301], "raise max_allowed_packet on the target, then run the same command again: it goes on"),
    (
        &[1037, 1038, 1041, 5],
        "the server is out of memory: give it more, then run the same command again: it goes on",
    ),
    (
        &[1205, 1213],
        "see who holds the locks: SHOW FULL PROCESSLIST; then run the same command again: it goes on",
    ),
    (
        &[1044, 1142, 1143, 1227, 1370, 1419],
        "restore as an account with all privileges, such as root on the server's host",
    ),
    (
        &[1062, 1586],
        "rows of the dump have the same key for this server: look at the table's collation and at the dump",
    ),
    (
        &[1071, 1118, 1709],
        "the target's row or page format is smaller: compare innodb_page_size and innodb_default_row_format",
    ),
    (
        &[1264, 1265, 1292, 1366, 1406],
        "the dump's rows are not what its column takes here: compare character sets and sql_mode",
    ),
    (
        &[1064, 1273, 1115, 1286],
        "the target does not know what is in the dump: compare versions, and see what --dry-run says",
    ),
];

fn refusal_hint(code: u16) -> Option<&'static str> {
    REFUSALS.iter().find(|(codes, _)| codes.contains(&code)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Option<String> {
        let source = ServerError::Sql {
            code,
            state: "HY000".to_owned(),
            message: "no".to_owned(),
            statement: "INSERT".to_owned(),
        };
        RestoreError::server("loading rows of a.t")(source).hint()
    }

    #[test]
    fn what_the_server_refuses_has_a_next_step() {
        assert!(refused(1114).unwrap().contains("make room"));
        assert!(refused(1153).unwrap().contains("max_allowed_packet"));
        assert_eq!(refused(9999), None);
        for (number, (codes, _)) in REFUSALS.iter().enumerate() {
            let others = REFUSALS.iter().skip(number + 1).flat_map(|(codes, _)| *codes);
            assert!(others.clone().all(|code| !codes.contains(code)), "{codes:?} has a code twice");
        }
    }

    #[test]
    fn what_cannot_be_written_is_not_called_read() {
        let hint = |kind: io::ErrorKind| RestoreError::write("x.sql", kind.into()).hint().unwrap();
        assert!(hint(io::ErrorKind::StorageFull).contains("make room"));
        assert!(hint(io::ErrorKind::BrokenPipe).contains("ended early"));
        assert_eq!(
            RestoreError::write("x.sql", io::ErrorKind::StorageFull.into()).to_string(),
            "x.sql cannot be written"
        );
    }

    #[test]
    fn a_row_that_is_too_long_has_a_size_to_set() {
        assert!(packet_hint(20 << 20).contains("max_allowed_packet = 33554432"));
        assert!(packet_hint(1 << 30).contains("no server takes"));
    }
}
