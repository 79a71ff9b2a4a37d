//! `backup create`: a consistent dump of a server, read by several sessions at one moment of its history, in
//! mydumper's layout with Mainstay's manifest. It decides nothing about where backups live or how long.
//!
//! The manifest is written last, after every file was read back. A dump that was ended before has none, and is
//! removed by `backup prune`. It cannot be continued: another snapshot is another moment, and rows of two moments
//! make no backup.

mod accounts;
mod begun;
pub(crate) mod catalog;
pub(crate) mod control_plane;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod metadata;
mod options;
mod progress;
mod rows;
mod schema;
pub(crate) mod snapshot;
mod throttle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use blob::{BlobError, Place};
use dump::layout::{FileNames, METADATA_NAME, Part};
use dump::manifest::{
    BackupKind, DatabaseRecord, DumpOptions, FileRole, LeftOut, MANIFEST_FORMAT, MANIFEST_NAME, Manifest,
    ObjectRecord, ServerRecord, TableRecord,
};
use jiff::Timestamp;
use server::{Connection, Limits, Row, Sql, Target};

use begun::Begun;
use catalog::Catalog;
pub use error::CreateError;
use error::During as _;
use files::Files;
pub use options::{CreateOptions, Throttle};
pub use progress::{Progress, ProgressCounts};

/// Sessions that read, at most.
const THREADS_MAX: usize = 64;

/// Takes a backup and gives its manifest.
///
/// # Errors
/// As [`CreateError`] lists. What was stored by then stays without a manifest, and is no backup.
pub async fn create(
    target: &Target,
    limits: &Limits,
    place: &Place,
    options: &CreateOptions,
    progress: &Arc<Progress>,
) -> Result<Manifest, CreateError> {
    control_plane::check(&options.control_plane_files, &options.recipients)?;
    let (started, id) = free_id(place, &options.label).await?;
    let threads = options.threads.clamp(1, THREADS_MAX);
    let (mut begun, snapshot) = begun::begin(target, limits, threads, options).await?;
    let packing = (options.compression, options.level);
    let recipients = options.recipients.clone();
    let files = Files::new(place.clone(), id.clone(), packing, recipients, Arc::clone(progress));
    let _watch = throttle::watch(target, limits, options.throttle, &snapshot.readers, progress).await?;
    let dumped = contents(&mut begun, snapshot.readers, &files, options, progress).await;
    let dumped = unchanged(&mut begun, dumped).await?;
    control_plane::write(&options.control_plane_files, &files).await?;
    begun.control.close().await;
    let mut manifest = Manifest {
        format: MANIFEST_FORMAT,
        id,
        mainstay: env!("CARGO_PKG_VERSION").to_owned(),
        kind: BackupKind::Logical,
        started,
        finished: Timestamp::now(),
        snapshot_taken: snapshot.taken,
        server: begun.server,
        coordinates: snapshot.coordinates,
        method: snapshot.method,
        compression: options.compression,
        recipients: options.recipients.names(),
        options: asked(options, threads),
        databases: dumped.databases,
        tables: dumped.tables,
        objects: dumped.objects,
        files: Vec::new(),
        left_out: dumped.left_out,
        physical: None,
    };
    let metadata = metadata::write(&manifest);
    files.write_plain(METADATA_NAME, FileRole::Metadata, metadata.into_bytes()).await?;
    manifest.files = files.written();
    files.write_manifest(MANIFEST_NAME, manifest.write()?).await?;
    Ok(manifest)
}

/// What was written.
struct Dumped {
    databases: Vec<DatabaseRecord>,
    tables: Vec<TableRecord>,
    objects: Vec<ObjectRecord>,
    left_out: Vec<LeftOut>,
}

/// What was written, unless definitions changed meanwhile.
async fn unchanged(begun: &mut Begun, dumped: Result<Dumped, CreateError>) -> Result<Dumped, CreateError> {
    match catalog::fingerprints(&mut begun.control, &begun.catalog).await {
        // A table that was altered or dropped fails to be read: that is what is to be told.
        Ok(after) => {
            let names = catalog::changed(&begun.definitions, &after);
            if names.is_empty() { dumped } else { Err(CreateError::DefinitionsChanged { names }) }
        }
        // The server is gone, and what failed first tells more.
        Err(error) => Err(dumped.err().unwrap_or(error)),
    }
}

async fn contents(
    begun: &mut Begun,
    readers: Vec<Connection>,
    files: &Files,
    options: &CreateOptions,
    progress: &Arc<Progress>,
) -> Result<Dumped, CreateError> {
    let Begun { control, catalog, .. } = begun;
    let mut names = FileNames::default();
    let schema = schema::write(control, catalog, &mut names, files).await?;
    let mut left_out = catalog.left_out.clone();
    left_out.extend(schema.left_out);
    let sources = sources(catalog, &mut names);
    let rows_expected = sources.iter().map(|source| source.table.rows_estimate).sum();
    progress.expect(sources.len() as u64, rows_expected);
    let shape =
        rows::Shape { chunk_bytes: options.chunk_bytes, statement_bytes: options.statement_bytes.max(1) };
    let records: Vec<TableRecord> = sources.iter().map(|source| record(source, &schema.tables)).collect();
    let rows = rows::read(readers, sources, shape, files, progress).await?;
    let tables = records.into_iter().zip(rows).map(|(record, rows)| TableRecord {
        rows: rows.digest.rows(),
        sql_bytes: rows.sql_bytes,
        digest: rows.digest.to_string(),
        chunks: rows.chunks,
        ..record
    });
    let tables = tables.collect();
    if options.accounts {
        write_accounts(control, files, &mut left_out).await?;
    }
    Ok(Dumped { databases: schema.databases, tables, objects: schema.objects, left_out })
}

/// A backup's id: when it was begun, and of what it is.
/// The time now, and a backup's name made of it that nothing in the place has: of two within one second, the later
/// one waits for the next.
pub(crate) async fn free_id(place: &Place, label: &str) -> Result<(Timestamp, String), BlobError> {
    loop {
        let now = Timestamp::now();
        let id = backup_id(now, label);
        if place.list(&id).await?.is_empty() {
            return Ok((now, id));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn backup_id(started: Timestamp, label: &str) -> String {
    let label: String = label
        .chars()
        .map(
            |letter| if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') { letter } else { '-' },
        )
        .take(64)
        .collect();
    let label = if label.is_empty() { "backup" } else { &label };
    format!("{}-{label}", started.strftime("%Y%m%dT%H%M%SZ"))
}

fn asked(options: &CreateOptions, threads: usize) -> DumpOptions {
    let joined = |tables: &[(String, String)]| {
        tables.iter().map(|(database, table)| format!("{database}.{table}")).collect()
    };
    DumpOptions {
        databases: options.databases.clone(),
        tables: joined(&options.tables),
        without_tables: joined(&options.without_tables),
        threads,
        chunk_bytes: options.chunk_bytes,
        statement_bytes: options.statement_bytes,
    }
}

fn sources(catalog: &Catalog, names: &mut FileNames) -> Vec<rows::Source> {
    let mut sources = Vec::new();
    for database in &catalog.databases {
        for table in &database.tables {
            sources.push(rows::Source {
                database: database.name.clone(),
                table: table.clone(),
                file_names: (names.stand_for(&database.name), names.stand_for(&table.name)),
            });
        }
    }
    sources
}

type TableFiles = BTreeMap<(String, String), (String, Option<String>)>;

/// What is known of a table before its rows are read.
fn record(source: &rows::Source, files: &TableFiles) -> TableRecord {
    let table = &source.table;
    let (schema_file, triggers_file) =
        files.get(&(source.database.clone(), table.name.clone())).cloned().unwrap_or_default();
    TableRecord {
        database: source.database.clone(),
        name: table.name.clone(),
        file_name: source.file_names.1.clone(),
        engine: table.engine.clone(),
        has_primary_key: !table.key.is_empty(),
        columns: table.columns.iter().map(|column| column.name.clone()).collect(),
        rows: 0,
        sql_bytes: 0,
        digest: String::new(),
        schema_file,
        triggers_file,
        chunks: Vec::new(),
    }
}

async fn write_accounts(
    control: &mut Connection,
    files: &Files,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), CreateError> {
    match accounts::read(control).await? {
        Some(text) => {
            files.write(Part::Accounts, FileRole::Accounts, text).await?;
        }
        None => left_out.push(LeftOut {
            what: "accounts and grants".to_owned(),
            why: "the account that dumps may not read the database mysql".to_owned(),
        }),
    }
    Ok(())
}

pub(crate) async fn server_record(control: &mut Connection) -> Result<ServerRecord, CreateError> {
    let vendor = control.flavor().vendor;
    let sql = "SELECT @@version AS version, @@version_comment AS comment, @@server_id AS server_id, \
               @@hostname AS host, @@GLOBAL.sql_mode AS sql_mode, @@character_set_server AS character_set, \
               @@collation_server AS collation_name, @@lower_case_table_names AS lower_case, \
               @@GLOBAL.max_allowed_packet AS packet";
    let rows = control.query(&Sql::plain(sql)).await.during(|| "read the server's settings".to_owned())?;
    let row: &Row = rows.first().ok_or_else(|| CreateError::NotShown { what: "its settings".to_owned() })?;
    let uuid = control.query(&Sql::plain("SHOW VARIABLES LIKE 'server_uuid'")).await;
    let uuid = uuid.during(|| "read the server's settings".to_owned())?;
    let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
    Ok(ServerRecord {
        vendor,
        version: text("version"),
        comment: text("comment"),
        server_id: row.parsed("server_id").unwrap_or(0),
        uuid: uuid.first().and_then(|row| row.text("Value")).map(str::to_owned),
        host: text("host"),
        sql_mode: text("sql_mode"),
        character_set: text("character_set"),
        collation: text("collation_name"),
        lower_case_table_names: row.parsed("lower_case").unwrap_or(0),
        max_allowed_packet_bytes: row.parsed("packet").unwrap_or(0),
    })
}
