//! [`Manifest`]: what a backup holds, where in the history of its server it stands, and how each of its files reads
//! back. It reads and writes the text; where the text lies is the caller's business.
//!
//! The manifest is written last: a backup without one is incomplete. What `mydumper`'s `metadata` says stands there as
//! well, for `myloader`; nothing of Mainstay reads that file when there is a manifest.

use std::collections::{BTreeMap, BTreeSet};

use flavor::Vendor;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::Compression;

/// The manifest's own file.
pub const MANIFEST_NAME: &str = "mainstay.json";
/// The format written, and the newest one that is read.
pub const MANIFEST_FORMAT: u32 = 1;
/// Longest manifest read, in bytes: some 100,000 tables.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format: [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The backup's id, the folder it is in: `20261121T173000Z-shop`.
    pub id: String,
    /// Version of Mainstay that wrote it.
    pub mainstay: String,
    /// Statements or files.
    pub kind: BackupKind,
    /// When it was begun, by the clock of the host that took it.
    pub started: Timestamp,
    /// When its last file was finished.
    pub finished: Timestamp,
    /// The moment of the server's history that all rows are of, by the clock of the host that took it.
    pub snapshot_taken: Timestamp,
    /// Whose data it is.
    pub server: ServerRecord,
    /// Where in the server's binary logs the snapshot stands. None where the server has none and it was asked for so.
    pub coordinates: Option<Coordinates>,
    /// How all sessions came to see the same moment.
    pub method: SnapshotMethod,
    /// How files are compressed.
    pub compression: Compression,
    /// Public keys that files are encrypted to, as [the page on backups](../../../docs/backup.md) describes; empty when they
    /// are not encrypted.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// What was asked for.
    pub options: DumpOptions,
    /// Databases, by name.
    #[serde(default)]
    pub databases: Vec<DatabaseRecord>,
    /// Tables with rows, by database and name. Views and sequences are [objects](Self::objects).
    #[serde(default)]
    pub tables: Vec<TableRecord>,
    /// Everything else that is made by a statement.
    #[serde(default)]
    pub objects: Vec<ObjectRecord>,
    /// Every file but the manifest, by name.
    #[serde(default)]
    pub files: Vec<FileRecord>,
    /// What was asked for and is not in the backup, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What a physical one needs to be put back; those of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<PhysicalRecord>,
}

/// What a physical backup needs to be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhysicalRecord {
    /// Length of the stream of files before compression, in bytes: about the room they take.
    pub unpacked_bytes: u64,
    /// Variables in which a server on these files has to be the same, with their values.
    pub settings: BTreeMap<String, String>,
}

/// Statements or files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupKind {
    /// SQL in mydumper's layout.
    Logical,
    /// The server's own files, by `mariadb-backup` or the clone plugin.
    Physical,
}

/// Whose data it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Who made the server.
    pub vendor: Vendor,
    /// Its version as it says it: `10.11.14-MariaDB-0+deb12u2-log`.
    pub version: String,
    /// `@@version_comment`.
    pub comment: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@server_uuid`; MariaDB has none before 11.
    pub uuid: Option<String>,
    /// `@@hostname`.
    pub host: String,
    /// `@@GLOBAL.sql_mode`.
    pub sql_mode: String,
    /// `@@character_set_server`.
    pub character_set: String,
    /// `@@collation_server`.
    pub collation: String,
    /// `@@lower_case_table_names`: 0 when names of tables differ by case.
    pub lower_case_table_names: u8,
    /// `@@max_allowed_packet`; a row may need as much on the server it is restored to.
    pub max_allowed_packet_bytes: u64,
}

/// Where in a server's binary logs a snapshot stands: what is before is in the backup, what is after is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The binary log, as `SHOW BINARY LOGS` names it.
    pub file: String,
    /// Offset of the first event that is not in the backup.
    pub position: u64,
    /// MySQL: `gtid_executed`. MariaDB: the last GTID of each domain, as `gtid_slave_pos` takes it. Empty when the
    /// server gives no GTIDs.
    pub gtid: String,
    /// When the server is a replica: where it stands in its primary's logs.
    #[serde(default)]
    pub source: Option<SourceCoordinates>,
}

/// Where a replica stands in its primary's binary logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCoordinates {
    /// The primary's address.
    pub host: String,
    /// The primary's port.
    pub port: u16,
    /// The primary's binary log.
    pub file: String,
    /// Offset of the first event in it that is not in the backup.
    pub position: u64,
}

/// How all sessions came to see the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMethod {
    /// MariaDB: commits were held by `BACKUP STAGE BLOCK_COMMIT` while the snapshots were opened.
    BackupStage,
    /// Nothing was held: snapshots were opened until all of them stood at the same position.
    Optimistic,
    /// `FLUSH TABLES WITH READ LOCK`, held while the snapshots were opened.
    ReadLock,
    /// One session, so that there is nothing to agree on.
    OneSession,
    /// The program that copied the files did.
    Physical,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpOptions {
    /// Only these databases; empty for all but the server's own.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Only these tables, as `database.table`; empty for all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Not these tables, as `database.table`.
    #[serde(default)]
    pub without_tables: Vec<String>,
    /// Sessions that read rows.
    pub threads: usize,
    /// About how much of a table a file of rows was to hold, in bytes of the table.
    pub chunk_bytes: u64,
    /// About how long an INSERT was to be, in bytes; a row longer than that has one of its own.
    pub statement_bytes: usize,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRecord {
    /// Its name.
    pub name: String,
    /// What stands for its name in names of files.
    pub file_name: String,
    /// The file that makes it.
    pub create_file: String,
    /// The file with its routines and events, if it has any.
    #[serde(default)]
    pub post_file: Option<String>,
}

/// A table with rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// What stands for its name in names of files.
    pub file_name: String,
    /// Storage engine, as the server names it.
    pub engine: String,
    /// Whether rows can be told apart by a primary key.
    pub has_primary_key: bool,
    /// Columns that stand in the rows, in their order: all but generated ones.
    pub columns: Vec<String>,
    /// Rows written.
    pub rows: u64,
    /// Length of the statements with its rows, in bytes, before compression.
    pub sql_bytes: u64,
    /// Sum over all rows that any order of rows gives alike; see [`crate::literal::RowsDigest`].
    pub digest: String,
    /// The file with its CREATE TABLE.
    pub schema_file: String,
    /// The file with its triggers, if it has any.
    #[serde(default)]
    pub triggers_file: Option<String>,
    /// The files with its rows, in the order of its primary key.
    #[serde(default)]
    pub chunks: Vec<ChunkRecord>,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// The file.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Length of its statements in bytes, before compression.
    pub sql_bytes: u64,
}

/// Something made by a statement that is no table with rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// What it is.
    pub kind: ObjectKind,
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Table it belongs to (triggers).
    #[serde(default)]
    pub table: Option<String>,
    /// `user@host` whose rights it runs with, where it has one.
    #[serde(default)]
    pub definer: Option<String>,
    /// The file it is in.
    pub file: String,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// `CREATE VIEW`.
    View,
    /// `CREATE SEQUENCE` (MariaDB).
    Sequence,
    /// `CREATE TRIGGER`.
    Trigger,
    /// `CREATE FUNCTION`.
    Function,
    /// `CREATE PROCEDURE`.
    Procedure,
    /// `CREATE PACKAGE` (MariaDB).
    Package,
    /// `CREATE PACKAGE BODY` (MariaDB).
    PackageBody,
    /// `CREATE EVENT`.
    Event,
}

/// A file of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name below the backup's folder.
    pub name: String,
    /// What it is for.
    pub role: FileRole,
    /// Length as it lies there, in bytes.
    pub bytes: u64,
    /// SHA-256 of it as it lies there, as hexadecimal.
    pub sha256: String,
    /// Where it came from, for a file of the control plane.
    #[serde(default)]
    pub origin: Option<FileOrigin>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileRole {
    /// mydumper's `metadata`.
    Metadata,
    /// Makes a database.
    Database,
    /// Makes a table, or stands in for a view until it is made.
    Table,
    /// Rows.
    Rows,
    /// Makes a view.
    View,
    /// Makes a sequence.
    Sequence,
    /// Makes a table's triggers.
    Triggers,
    /// Makes a database's routines and events.
    Post,
    /// Makes accounts and grants them what they may.
    Accounts,
    /// A file of the control plane.
    ControlPlane,
    /// The server's files in one stream.
    Physical,
}

/// Where a file of the control plane was, and what it was like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOrigin {
    /// Its path on the host.
    pub path: String,
    /// Its mode, such as 0o640.
    pub mode: u32,
    /// Its owner's name, or number where there is none.
    pub owner: String,
    /// Its group's name, or number where there is none.
    pub group: String,
}

/// Something that is not in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why, in a sentence.
    pub why: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Longer than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest has {bytes} bytes, at most {MANIFEST_BYTES_MAX} are read: is it one?")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, or not of the known shape.
    #[error("the manifest cannot be read; it may be cut off or written by something else")]
    Json(#[from] serde_json::Error),
    /// Written by a newer Mainstay.
    #[error("the manifest has format {format}, this Mainstay knows up to {MANIFEST_FORMAT}: use a newer one")]
    Newer {
        /// Its format.
        format: u32,
    },
    /// Two places of it contradict each other.
    #[error("the manifest contradicts itself: {problem}")]
    Contradiction {
        /// What does not fit.
        problem: String,
    },
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// If it is too long, not a manifest, of a newer format, or contradicts itself.
    pub fn read(text: &[u8]) -> Result<Self, ManifestError> {
        /// What is looked at first: a newer format may have any other shape.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: text.len() });
        }
        let head: Head = serde_json::from_slice(text)?;
        if head.format > MANIFEST_FORMAT {
            return Err(ManifestError::Newer { format: head.format });
        }
        let manifest: Self = serde_json::from_slice(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest as its file has it.
    ///
    /// # Errors
    /// If it contradicts itself, which is a mistake of whoever made it.
    pub fn write(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The record of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Length of all its files, as they lie there, in bytes.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Rows of all its tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Every file that is named is listed once, below the backup's folder, and sums are sums.
    fn check(&self) -> Result<(), ManifestError> {
        let contradiction = |problem: String| Err(ManifestError::Contradiction { problem });
        let mut known = BTreeSet::new();
        for file in &self.files {
            if !is_plain_name(&file.name) {
                return contradiction(format!("{:?} is not the name of a file of a backup", file.name));
            }
            if file.name == MANIFEST_NAME || !known.insert(file.name.as_str()) {
                return contradiction(format!("{} is listed twice", file.name));
            }
        }
        if let Some(text) =
            self.recipients.iter().find(|text| !text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            return contradiction(format!("{text:?} is no recipient"));
        }
        for name in self.named_files() {
            if !known.contains(name) {
                return contradiction(format!("{name} is used but not listed"));
            }
        }
        for table in &self.tables {
            let rows: u64 = table.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.rows));
            if rows != table.rows {
                let (database, name, total) = (&table.database, &table.name, table.rows);
                return contradiction(format!(
                    "{database}.{name} has {total} rows, its files together {rows}"
                ));
            }
        }
        Ok(())
    }

    fn named_files(&self) -> impl Iterator<Item = &str> {
        let databases = self
            .databases
            .iter()
            .flat_map(|database| [Some(&database.create_file), database.post_file.as_ref()]);
        let tables = self.tables.iter().flat_map(|table| {
            let chunks = table.chunks.iter().map(|chunk| Some(&chunk.file));
            chunks.chain([Some(&table.schema_file), table.triggers_file.as_ref()])
        });
        let objects = self.objects.iter().map(|object| Some(&object.file));
        databases.chain(tables).chain(objects).flatten().map(String::as_str)
    }
}

/// Whether it is one path component that leads nowhere else.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 1024
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\\', '\0'])
        && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerRecord {
        ServerRecord {
            vendor: Vendor::MariaDb,
            version: "10.11.14-MariaDB".to_owned(),
            comment: "Debian 12".to_owned(),
            server_id: 1,
            uuid: None,
            host: "db1".to_owned(),
            sql_mode: String::new(),
            character_set: "utf8mb4".to_owned(),
            collation: "utf8mb4_general_ci".to_owned(),
            lower_case_table_names: 0,
            max_allowed_packet_bytes: 16 << 20,
        }
    }

    fn sample() -> Manifest {
        let at: Timestamp = "2026-11-21T17:30:00Z".parse().unwrap();
        let file = |name: &str, role| FileRecord {
            name: name.to_owned(),
            role,
            bytes: 10,
            sha256: "00".repeat(32),
            origin: None,
        };
        Manifest {
            format: MANIFEST_FORMAT,
            id: "20261121T173000Z-shop".to_owned(),
            mainstay: "0.1.0".to_owned(),
            kind: BackupKind::Logical,
            started: at,
            finished: at,
            snapshot_taken: at,
            server: server(),
            coordinates: Some(Coordinates {
                file: "binlog.000001".to_owned(),
                position: 4,
                gtid: "0-1-7".to_owned(),
                source: None,
            }),
            method: SnapshotMethod::BackupStage,
            compression: Compression::Zstd,
            recipients: Vec::new(),
            options: DumpOptions::default(),
            databases: vec![DatabaseRecord {
                name: "shop".to_owned(),
                file_name: "shop".to_owned(),
                create_file: "shop-schema-create.sql.zst".to_owned(),
                post_file: None,
            }],
            tables: vec![TableRecord {
                database: "shop".to_owned(),
                name: "orders".to_owned(),
                file_name: "orders".to_owned(),
                engine: "InnoDB".to_owned(),
                has_primary_key: true,
                columns: vec!["id".to_owned()],
                rows: 3,
                sql_bytes: 30,
                digest: "3:0000000000000007".to_owned(),
                schema_file: "shop.orders-schema.sql.zst".to_owned(),
                triggers_file: None,
                chunks: vec![ChunkRecord {
                    file: "shop.orders.00000.sql.zst".to_owned(),
                    rows: 3,
                    sql_bytes: 30,
                }],
            }],
            objects: Vec::new(),
            files: vec![
                file("shop-schema-create.sql.zst", FileRole::Database),
                file("shop.orders-schema.sql.zst", FileRole::Table),
                file("shop.orders.00000.sql.zst", FileRole::Rows),
            ],
            left_out: Vec::new(),
            physical: None,
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let manifest = sample();
        assert_eq!(Manifest::read(&manifest.write().unwrap()).unwrap(), manifest);
        assert_eq!((manifest.stored_bytes(), manifest.rows()), (30, 3));
        assert_eq!(manifest.file("shop.orders.00000.sql.zst").unwrap().role, FileRole::Rows);
    }

    #[test]
    fn contradictions_are_named() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            manifest.write().unwrap_err().to_string()
        };
        assert!(refused(|m| m.tables[0].rows = 4).contains("shop.orders has 4 rows, its files together 3"));
        assert!(
            refused(|m| m.files.truncate(2)).contains("shop.orders.00000.sql.zst is used but not listed")
        );
        assert!(refused(|m| m.files[0].name = "../x".to_owned()).contains("../x"));
        assert!(refused(|m| m.files[0].name = m.files[1].name.clone()).contains("listed twice"));
    }

    #[test]
    fn what_is_no_manifest_of_ours_is_refused() {
        let newer = r#"{"format": 2, "shape": "unknown"}"#;
        assert!(matches!(Manifest::read(newer.as_bytes()), Err(ManifestError::Newer { format: 2 })));
        let whole = sample().write().unwrap();
        for end in [0, 1, whole.len() / 2, whole.len() - 3] {
            assert!(matches!(Manifest::read(&whole[..end]), Err(ManifestError::Json(_))), "{end}");
        }
    }
}
