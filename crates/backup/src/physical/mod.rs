//! `backup create --physical`: the server's own files in one stream, beside the dumps and under the same manifest. It
//! has to run on the server's host. [`restore`] puts it back.
//!
//! | server | by | stream | coordinates |
//! |---|---|---|---|
//! | MariaDB | `mariadb-backup --backup --stream=xbstream` | xbstream, for `mbstream -x` | what it says at its end |
//! | MySQL | the clone plugin, `CLONE LOCAL DATA DIRECTORY` into a scratch folder | tar of that folder | those before it; replaying skips by GTID what is in it already |

mod partial;
mod programs;
pub mod restore;
mod scratch;
mod unpack;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blob::Place;
use dump::layout::{METADATA_NAME, Part};
use dump::manifest::{
    BackupKind, Coordinates, DumpOptions, FileRole, LeftOut, MANIFEST_FORMAT, MANIFEST_NAME, Manifest,
    PhysicalRecord, SnapshotMethod,
};
use flavor::Vendor;
use host::command::Command;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use server::{Connection, Endpoint, Limits, Sql, Target};
use tokio::io::AsyncReadExt as _;

use crate::create::error::During as _;
use crate::create::files::Files;
use crate::create::snapshot::mysql_status;
use crate::create::{CreateError, CreateOptions, Progress, control_plane, free_id, metadata, server_record};
use scratch::Scratch;

/// Longest that the copy may take.
const COPY_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Bytes that are passed on at once.
const BLOCK_BYTES: usize = 1 << 20;
/// What mariadb-backup says is some lines a table.
const LOG_BYTES_MAX: usize = 64 << 20;

/// Takes a physical backup. `scratch` is a folder on the server's host. MySQL's server writes its copy there first: it has
/// to be allowed to, and needs as much room as the data. MariaDB's needs some megabytes.
///
/// # Errors
/// As [`CreateError`] lists.
pub async fn create(
    target: &Target,
    limits: &Limits,
    place: &Place,
    options: &CreateOptions,
    scratch: &Path,
    progress: &Arc<Progress>,
) -> Result<Manifest, CreateError> {
    control_plane::check(&options.control_plane_files, &options.recipients)?;
    let (started, id) = free_id(place, &options.label).await?;
    let mut control = Connection::open(target, limits).await.during(|| "log in".to_owned())?;
    let server = server_record(&mut control).await?;
    let settings = settings(&mut control).await?;
    let packing = (options.compression, options.level);
    let recipients = options.recipients.clone();
    let files = Files::new(place.clone(), id.clone(), packing, recipients, Arc::clone(progress));
    refuse_clone(&mut control).await?;
    scratch::sweep(scratch);
    let own = Scratch::new(scratch, &id)?;
    let mut left_out = Vec::new();
    let (coordinates, unpacked_bytes) = match server.vendor {
        Vendor::MariaDb => mariadb(&mut control, target, &own, &files, progress).await?,
        Vendor::MySql => {
            let (coordinates, is_exact, bytes) = mysql(&mut control, &own, &files, progress).await?;
            if coordinates.is_some() && !is_exact {
                left_out.push(LeftOut {
                    what: "the exact position".to_owned(),
                    why: "the coordinates are those before the copy; transactions since then may be in it, and are \
                          skipped by their GTIDs when they are replayed"
                        .to_owned(),
                });
            }
            (coordinates, bytes)
        }
    };
    if coordinates.is_none() && !options.without_coordinates {
        return Err(CreateError::NoCoordinates);
    }
    control_plane::write(&options.control_plane_files, &files).await?;
    control.close().await;
    let finished = Timestamp::now();
    let mut manifest = Manifest {
        format: MANIFEST_FORMAT,
        id,
        mainstay: env!("CARGO_PKG_VERSION").to_owned(),
        kind: BackupKind::Physical,
        started,
        finished,
        // Both copy the log until the end, and are of that moment.
        snapshot_taken: finished,
        server,
        coordinates,
        method: SnapshotMethod::Physical,
        compression: options.compression,
        recipients: options.recipients.names(),
        options: DumpOptions::default(),
        databases: Vec::new(),
        tables: Vec::new(),
        objects: Vec::new(),
        files: Vec::new(),
        left_out,
        physical: Some(PhysicalRecord { unpacked_bytes, settings }),
    };
    let text = metadata::write(&manifest);
    files.write_plain(METADATA_NAME, FileRole::Metadata, text.into_bytes()).await?;
    manifest.files = files.written();
    files.write_manifest(MANIFEST_NAME, manifest.write()?).await?;
    Ok(manifest)
}

/// What the configuration of a server on these files has to say as this one's does.
async fn settings(control: &mut Connection) -> Result<BTreeMap<String, String>, CreateError> {
    let names = ["innodb_page_size", "innodb_data_file_path", "lower_case_table_names"];
    let columns: Vec<String> = names.iter().map(|name| format!("@@{name} AS {name}")).collect();
    let rows = control.query(&Sql::plain(format!("SELECT {}", columns.join(", ")))).await;
    let rows = rows.during(|| "ask how the server's files are laid out".to_owned())?;
    let value = |name: &&str| Some(((*name).to_owned(), rows.first()?.text(name)?.to_owned()));
    Ok(names.iter().filter_map(value).collect())
}

/// A server goes on with a clone whose client was killed, and takes no other one meanwhile. What it writes is not to be
/// removed under it.
async fn refuse_clone(control: &mut Connection) -> Result<(), CreateError> {
    let sql = "SELECT ID AS id, TIME AS seconds FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() \
               AND INFO LIKE 'CLONE LOCAL DATA DIRECTORY%'";
    let rows =
        control.query(&Sql::plain(sql)).await.during(|| "see whether it is being cloned".to_owned())?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (id, seconds) = (row.text("id").unwrap_or_default(), row.text("seconds").unwrap_or_default());
    let what = format!(
        "the server has been cloning itself for {seconds} s: wait for its end, or end it by KILL {id}"
    );
    Err(CreateError::Physical { what })
}

async fn mariadb(
    control: &mut Connection,
    target: &Target,
    scratch: &Scratch,
    files: &Files,
    progress: &Progress,
) -> Result<(Option<Coordinates>, u64), CreateError> {
    let login = scratch.path("login.cnf");
    host::files::write_atomic(&login, login_file(target)?.as_bytes(), &host::files::Ownership::mode(0o600))?;
    let rows = control.query(&Sql::plain("SELECT @@datadir AS path")).await;
    let rows = rows.during(|| "find the data directory".to_owned())?;
    let data = rows.first().and_then(|row| row.text("path")).unwrap_or_default().to_owned();
    let log = scratch.path("log");
    let command = Command::new("mariadb-backup")
        .arg(format!("--defaults-file={}", login.display()))
        .args(["--backup", "--stream=xbstream"])
        .arg(format!("--datadir={data}"))
        .arg(format!("--target-dir={}", scratch.folder().display()));
    let copied = copy(command, &log, files, progress).await;
    let said = host::files::read_bounded(&log, LOG_BYTES_MAX)?;
    let said = String::from_utf8_lossy(&said);
    if let Err(CreateError::Command(error)) = copied {
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(CreateError::Physical { what: format!("mariadb-backup failed: {last} ({error})") });
    }
    Ok((said.lines().rev().find_map(said_coordinates), copied?))
}

/// How to log in, in a file: nothing of it may stand in a command line.
fn login_file(target: &Target) -> Result<String, CreateError> {
    let mut text = format!("[mariadb-backup]\nuser = {}\n", option_value(&target.user)?);
    match &target.endpoint {
        Endpoint::Socket(path) => {
            // mariadb-backup works in the data directory.
            let path = std::path::absolute(path)
                .map_err(|source| CreateError::File { what: "find the socket".to_owned(), source })?;
            text.push_str(&format!("socket = {}\n", option_value(&path.to_string_lossy())?));
        }
        Endpoint::Tcp { host, port } => {
            text.push_str(&format!("host = {}\nport = {port}\n", option_value(host)?));
        }
    }
    if let Some(password) = &target.password {
        text.push_str(&format!("password = {}\n", option_value(password.expose_secret())?));
    }
    Ok(text)
}

/// In quotes, with backslashes doubled, as option files want it.
fn option_value(value: &str) -> Result<String, CreateError> {
    if value.contains(['\n', '\r', '\0', '"']) {
        let what = "a user, password or path with a quote or a newline cannot be given to mariadb-backup";
        return Err(CreateError::Physical { what: what.to_owned() });
    }
    Ok(format!("\"{}\"", value.replace('\\', "\\\\")))
}

/// `... binlog position: filename 'b.000002', position '344', GTID of the last change '0-1-2'`.
fn said_coordinates(line: &str) -> Option<Coordinates> {
    let (_, said) = line.split_once("binlog position: filename '")?;
    let (file, rest) = said.split_once('\'')?;
    let (_, rest) = rest.split_once("position '")?;
    let (position, rest) = rest.split_once('\'')?;
    let gtid = rest.split_once("GTID of the last change '").and_then(|(_, rest)| rest.split_once('\''));
    Some(Coordinates {
        file: file.to_owned(),
        position: position.parse().ok()?,
        gtid: gtid.map(|(gtid, _)| gtid.to_owned()).unwrap_or_default(),
        source: None,
    })
}

async fn mysql(
    control: &mut Connection,
    scratch: &Scratch,
    files: &Files,
    progress: &Progress,
) -> Result<(Option<Coordinates>, bool, u64), CreateError> {
    // ER_UDF_EXISTS (1125) is what a plugin that is there answers.
    if let Err(error) = control.execute(&Sql::plain("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")).await
        && error.code() != Some(1125)
    {
        return Err(error).during(|| "load the clone plugin".to_owned());
    }
    let folder = scratch.copy();
    let quoted = sqltext::quote_string(&folder.to_string_lossy())
        .map_err(|error| CreateError::NotShown { what: format!("the scratch folder ({error})") })?;
    // A clone of the server itself does not tell where it stands, until a server runs on it.
    let before = mysql_status(control).await?;
    control
        .with_limit(COPY_LIMIT)
        .execute(&Sql::plain(format!("CLONE LOCAL DATA DIRECTORY = {quoted}")))
        .await
        .during(|| {
            format!("clone the data into {} (its server has to be able to write there)", folder.display())
        })?;
    let after = mysql_status(control).await?;
    let command = Command::new("tar").arg("-C").arg(&folder).args(["-cf", "-", "."]);
    let bytes = copy(command, &scratch.path("log"), files, progress).await?;
    let is_exact = before == after;
    let is_usable = is_exact || before.as_ref().is_some_and(|before| !before.gtid.is_empty());
    Ok((before.filter(|_| is_usable), is_exact, bytes))
}

/// Stores what a program writes, and says how many bytes. A program that fails leaves no file.
async fn copy(command: Command, log: &Path, files: &Files, progress: &Progress) -> Result<u64, CreateError> {
    let (mut stdout, streaming) = command.stream_out(log)?;
    let mut bytes = 0;
    let file = files.begin(Part::Physical, FileRole::Physical);
    loop {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let mut limited = (&mut stdout).take(BLOCK_BYTES as u64);
        let got = limited.read_to_end(&mut block).await;
        let got = got.map_err(|source| CreateError::File { what: "read the copy".to_owned(), source })?;
        if got == 0 {
            break;
        }
        progress.read_rows(0, got as u64);
        bytes += got as u64;
        if !file.write(block).await {
            return Err(file.failure().await);
        }
    }
    streaming.finish().await?;
    file.finish().await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_read_from_what_mariadb_backup_says() {
        let line = "[00] 2026-11-21 18:00:00 MySQL binlog position: filename 'binlog.000002', position '1234', \
                    GTID of the last change '0-1-5,1-2-3'";
        let found = said_coordinates(line).unwrap();
        assert_eq!(
            (found.file.as_str(), found.position, found.gtid.as_str()),
            ("binlog.000002", 1234, "0-1-5,1-2-3")
        );
        let found = said_coordinates("mariadb binlog position: filename 'b.1', position '4'").unwrap();
        assert_eq!(found.gtid, "");
        assert_eq!(said_coordinates("[00] completed OK!"), None);
    }

    #[test]
    fn option_files_cannot_be_injected_into() {
        assert_eq!(option_value("a\\b c").unwrap(), "\"a\\\\b c\"");
        assert!(option_value("x\nuser = root").is_err() && option_value("a\"b").is_err());
    }
}
