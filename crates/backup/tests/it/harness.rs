//! Lab servers for the tests, and loading a backup as `myloader` does: file by file, statement by statement, without
//! Mainstay's own restore.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup::create::{CreateError, CreateOptions, Progress};
use backup::seal::Identities;
use blob::{Address, Place};
use dump::layout::{BODY_END, Compression, FileName, Part, from_file};
use dump::manifest::Manifest;
use flavor::Vendor;
use lab::{ClusterState, Lab, Topology, UpOptions};
use server::{Connection, Limits, ServerProgram, Sql, Target};

/// The MySQL tree that `scripts/mysql-root.sh` makes.
pub(crate) fn mysql_root() -> Option<PathBuf> {
    let named = std::env::var_os("MAINSTAY_TEST_MYSQL_ROOT").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/mysql");
    named.or(Some(made)).filter(|root| root.join("usr/sbin/mysqld").exists())
}

/// The vendors whose servers are here, each said when it is not.
pub(crate) async fn vendors() -> Vec<Vendor> {
    let mut here = Vec::new();
    for vendor in [Vendor::MariaDb, Vendor::MySql] {
        let root = if vendor == Vendor::MySql { mysql_root() } else { None };
        match ServerProgram::find(root.as_deref(), vendor).await {
            Ok(_) => here.push(vendor),
            Err(error) => println!("skipped for {vendor}: {error}"),
        }
    }
    here
}

/// A running server, and a folder for backups. Dropping it stops the server and removes everything.
pub(crate) struct Bench {
    lab: Lab,
    pub(crate) cluster: ClusterState,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    /// A fresh server with binary logs and GTIDs.
    pub(crate) async fn new(vendor: Vendor) -> Self {
        Self::logging(vendor, &[]).await
    }

    /// The same with more lines in its configuration.
    pub(crate) async fn logging(vendor: Vendor, more: &[&str]) -> Self {
        let mut lines = vec!["log-bin = binlog", "binlog-format = ROW", "server-id = 1"];
        lines.extend(more);
        if vendor == Vendor::MySql {
            lines.extend(["gtid-mode = ON", "enforce-gtid-consistency = ON"]);
        }
        Self::with(vendor, &lines).await
    }

    /// A fresh server with these lines in its configuration.
    pub(crate) async fn with(vendor: Vendor, lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::open(folder.path().join("lab")).unwrap();
        let mut options = UpOptions::new("t", Topology::Single, vendor);
        options.server_root = if vendor == Vendor::MySql { mysql_root() } else { None };
        options.extra_config = lines.iter().map(|line| (*line).to_owned()).collect();
        let cluster = lab.up(&options).await.unwrap();
        std::fs::create_dir(folder.path().join("backups")).unwrap();
        Self { lab, cluster, folder }
    }

    pub(crate) fn target(&self) -> Target {
        self.cluster.nodes[0].root_target()
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(&self.target(), &Limits::default()).await.unwrap()
    }

    pub(crate) fn place_path(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    pub(crate) fn place(&self) -> Place {
        Place::open(&Address::Folder(self.place_path()), None).unwrap()
    }

    /// Takes a backup.
    pub(crate) async fn create(&self, options: &CreateOptions) -> Result<Manifest, CreateError> {
        let progress = Arc::new(Progress::default());
        let limits = Limits::default();
        backup::create::create(&self.target(), &limits, &self.place(), options, &progress).await
    }

    pub(crate) async fn down(self) {
        self.lab.down("t").await.unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test that failed still leaves nothing running; `down` has been called when it passed.
        for process in server::ServerProcess::find_all(self.folder.path()).unwrap_or_default() {
            let _ = process.signal(server::Signal::KILL);
        }
    }
}

/// Runs statements, each of which has to succeed.
pub(crate) async fn run(connection: &mut Connection, statements: &[&str]) {
    for statement in statements {
        let ran = connection.execute(&Sql::plain(*statement)).await;
        ran.unwrap_or_else(|error| panic!("{error}\n{statement}"));
    }
}

/// One value of the first row.
pub(crate) async fn value(connection: &mut Connection, sql: &str) -> String {
    let rows = connection.query(&Sql::plain(sql)).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    rows[0].text_at(0).unwrap_or("NULL").to_owned()
}

/// A stored file's text.
pub(crate) fn read(folder: &Path, name: &str, identities: Option<&Identities>) -> String {
    let file = std::fs::File::open(folder.join(name)).unwrap();
    let parsed = FileName::parse(name).unwrap();
    let opened: Box<dyn std::io::Read> = match identities {
        Some(identities) if parsed.encrypted => Box::new(identities.open(file).unwrap()),
        _ => Box::new(file),
    };
    let mut unpacked: Box<dyn std::io::Read> = match parsed.compression() {
        Compression::None => opened,
        Compression::Gzip => Box::new(flate2::read::GzDecoder::new(opened)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(opened).unwrap()),
    };
    let mut text = String::new();
    unpacked.read_to_string(&mut text).unwrap();
    text
}

/// Loads a backup as `myloader` does: a statement ends where a line ends in a semicolon.
pub(crate) async fn load(connection: &mut Connection, folder: &Path, identities: Option<&Identities>) {
    let mut files: Vec<(u8, FileName, String)> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(parsed) = FileName::parse(&name) else { continue };
        let turn = match parsed.part {
            Part::Database { .. } => 0,
            Part::Sequence { .. } => 1,
            Part::Table { .. } => 2,
            Part::Rows { .. } => 3,
            Part::View { .. } => 4,
            Part::Triggers { .. } => 5,
            Part::Post { .. } => 6,
            Part::Accounts => 7,
            Part::ControlPlane { .. } | Part::Physical => continue,
        };
        files.push((turn, parsed, name));
    }
    files.sort();
    let mut real_names = BTreeMap::new();
    for (_, parsed, name) in &files {
        let text = read(folder, name, identities);
        if let Part::Database { database } = &parsed.part {
            let quoted = text.split('`').nth(1).unwrap().to_owned();
            real_names.insert(database.clone(), quoted);
        }
        match &parsed.part {
            Part::Database { .. } | Part::Accounts | Part::ControlPlane { .. } | Part::Physical => {}
            Part::Table { database, .. }
            | Part::Sequence { database, .. }
            | Part::Rows { database, .. }
            | Part::View { database, .. }
            | Part::Triggers { database, .. }
            | Part::Post { database } => {
                run(connection, &[&format!("USE `{}`", real_names[database])]).await;
            }
        }
        let end =
            if matches!(parsed.part, Part::Triggers { .. } | Part::Post { .. }) { BODY_END } else { ";\n" };
        for statement in text.split(end).filter(|statement| !statement.trim().is_empty()) {
            assert!(!statement.contains(";\n"), "{name}: {statement}");
            // What myloader leaves out: it keeps one more space behind the semicolons that end lines inside.
            let is_rows = matches!(parsed.part, Part::Rows { .. });
            let statement = if is_rows { statement.into() } else { from_file(statement) };
            let ran = connection.execute(&Sql::plain(statement.as_ref())).await;
            ran.unwrap_or_else(|error| panic!("{name}: {error}\n{statement:.2000}"));
        }
    }
}
