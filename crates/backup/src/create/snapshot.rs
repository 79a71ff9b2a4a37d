//! Sessions that all see one moment, and where that moment stands in the server's binary logs. It reads no rows.
//!
//! | server | way | what is held |
//! |---|---|---|
//! | MariaDB | snapshots opened at once; each tells its own position (`binlog_snapshot_position`); taken when all agree | nothing |
//! | MariaDB, when commits are too dense for that | the same under `BACKUP STAGE BLOCK_COMMIT` | commits, for milliseconds |
//! | MySQL | `FLUSH BINARY LOGS`, which waits for every logged transaction to be committed; snapshots opened; taken when the new log is still empty | nothing |
//! | MySQL, when it is not | `FLUSH TABLES WITH READ LOCK`, given up after [`LOCK_SECONDS`] and tried again | writes, for as long as it waits and milliseconds more |
//!
//! On MySQL, DDL is held off by `LOCK INSTANCE FOR BACKUP` for the whole dump, which blocks no other statement. On
//! MariaDB it is held off, by `BACKUP STAGE BLOCK_DDL` and for as long as looking at the definitions takes, when it never
//! rests by itself. On both, [`super::catalog`] compares definitions before and after.

use std::time::Duration;

use dump::manifest::{Coordinates, SnapshotMethod, SourceCoordinates};
use flavor::Vendor;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use server::{Connection, Limits, ServerError, Sql, Target};

use super::error::{CreateError, During};

/// Longest that writers wait because of us, for each try.
const LOCK_SECONDS: u64 = 3;
/// Tries under a lock, with pauses that writers need to catch up.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_secs(2);
/// Tries without one.
const OPTIMISTIC_TRIES: u32 = 4;

/// ER_LOCK_WAIT_TIMEOUT.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Sessions at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) readers: Vec<Connection>,
    pub(crate) coordinates: Option<Coordinates>,
    pub(crate) method: SnapshotMethod,
    pub(crate) taken: Timestamp,
}

impl Snapshot {
    /// Lets the moment go.
    pub(crate) async fn close(self) {
        for session in self.readers {
            session.close().await;
        }
    }
}

/// Holds schema changes off, from now until the snapshot is open at least, and says whether it could: MySQL asks for
/// `BACKUP_ADMIN`, MariaDB for `RELOAD` and for an end of changes that run, within [`LOCK_SECONDS`].
pub(crate) async fn hold_ddl(control: &mut Connection) -> Result<bool, CreateError> {
    let held = match control.flavor().vendor {
        Vendor::MySql => {
            let lock = control.execute(&Sql::plain("LOCK INSTANCE FOR BACKUP")).await;
            lock.map(drop).during(|| "hold off schema changes".to_owned())
        }
        Vendor::MariaDb => hold(control, &["BACKUP STAGE START", "BACKUP STAGE BLOCK_DDL"]).await,
    };
    match held {
        Ok(()) => Ok(true),
        Err(CreateError::Server { source, .. }) if source.is_missing_privilege() => {
            tracing::warn!("without BACKUP_ADMIN or RELOAD a schema change is not held off, only noticed");
            Ok(false)
        }
        // A long ALTER TABLE, say: what changes is noticed, and it is tried again.
        Err(error) if control.flavor().vendor == Vendor::MariaDb && waited(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets go on MariaDB what [`hold_ddl`] holds, and commits with it.
///
/// # Errors
/// If the server does not do its part.
pub(crate) async fn let_ddl_go(control: &mut Connection) -> Result<(), CreateError> {
    let end = Sql::plain("BACKUP STAGE END");
    control.execute(&end).await.map(drop).during(|| "let schema changes and commits go on".to_owned())
}

/// Opens `count` sessions at one moment. `control` is a session beside them that locks what has to be locked, and with
/// `ddl_held` has done [`hold_ddl`]; MySQL's schema changes are held off until it is closed.
pub(crate) async fn open(
    control: &mut Connection,
    (target, limits): (&Target, &Limits),
    count: usize,
    ddl_held: bool,
    without_coordinates: bool,
) -> Result<Snapshot, CreateError> {
    let logs = number(control, "SELECT @@GLOBAL.log_bin AS n").await? != 0;
    if !logs && !without_coordinates {
        return Err(CreateError::NoCoordinates);
    }
    let opening = (0..count).map(|_| reader(target, limits));
    let mut readers = try_join_all(opening).await.during(|| "open the sessions that read".to_owned())?;
    let (coordinates, method) = match control.flavor().vendor {
        Vendor::MariaDb if ddl_held => {
            mariadb_staged(control, &mut readers, logs, &[BLOCK_COMMIT]).await.map_err(no_moment)?
        }
        Vendor::MariaDb => mariadb(control, &mut readers, logs).await?,
        Vendor::MySql => mysql(control, &mut readers, logs).await?,
    };
    Ok(Snapshot { readers, coordinates, method, taken: Timestamp::now() })
}

type Found = (Option<Coordinates>, SnapshotMethod);

/// A session whose results are as they are stored, and which waits as long as a slow place makes it.
async fn reader(target: &Target, limits: &Limits) -> Result<Connection, ServerError> {
    let mut reader = Connection::open_for_rows(target, limits).await?;
    reader.execute(&Sql::plain("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")).await?;
    reader
        .execute(&Sql::plain(
            "SET character_set_results = NULL, net_write_timeout = 86400, net_read_timeout = 86400, \
             wait_timeout = 2147483",
        ))
        .await?;
    if reader.flavor().vendor == Vendor::MariaDb {
        reader.execute(&Sql::plain("SET idle_transaction_timeout = 0")).await?;
    }
    Ok(reader)
}

async fn open_all(readers: &mut [Connection]) -> Result<(), CreateError> {
    let sql = Sql::plain("START TRANSACTION WITH CONSISTENT SNAPSHOT");
    let opening = readers.iter_mut().map(|reader| reader.execute(&sql));
    try_join_all(opening).await.during(|| "open snapshots".to_owned())?;
    Ok(())
}

async fn mariadb(
    control: &mut Connection,
    readers: &mut [Connection],
    logs: bool,
) -> Result<Found, CreateError> {
    if logs {
        for _ in 0..OPTIMISTIC_TRIES {
            open_all(readers).await?;
            if let Some((file, position)) = agreed(readers).await? {
                let coordinates = mariadb_coordinates(control, file, position, None).await?;
                return Ok((Some(coordinates), SnapshotMethod::Optimistic));
            }
        }
    }
    let mut why = String::new();
    for turn in 0..LOCK_TRIES {
        if turn > 0 {
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        match mariadb_staged(control, readers, logs, &["BACKUP STAGE START", BLOCK_COMMIT])
            .await
            .map_err(no_moment)
        {
            Ok(found) => return Ok(found),
            Err(CreateError::NoMoment { why: this, .. }) => why = this,
            Err(error) => return Err(error),
        }
    }
    Err(CreateError::NoMoment { tries: LOCK_TRIES, why })
}

const BLOCK_COMMIT: &str = "BACKUP STAGE BLOCK_COMMIT";

/// A wait that was too long as what it means: there was no moment.
fn no_moment(error: CreateError) -> CreateError {
    if !waited(&error) {
        return error;
    }
    let why = format!("commits could not be held within {LOCK_SECONDS} s, as another backup runs");
    CreateError::NoMoment { tries: 1, why }
}

/// Once, with commits held as the last of these stages does it. All stages end with it, also one begun before.
async fn mariadb_staged(
    control: &mut Connection,
    readers: &mut [Connection],
    logs: bool,
    stages: &[&str],
) -> Result<Found, CreateError> {
    hold(control, stages).await?;
    let opened: Result<_, CreateError> = async {
        let source = source(control).await?;
        open_all(readers).await?;
        if !logs {
            return Ok(Some((None, source)));
        }
        Ok(agreed(readers).await?.map(|position| (Some(position), source)))
    }
    .await;
    let_ddl_go(control).await?;
    match opened? {
        None => Err(CreateError::NoMoment { tries: 1, why: "the sessions' positions differ".to_owned() }),
        Some((None, _)) => Ok((None, SnapshotMethod::BackupStage)),
        Some((Some((file, position)), source)) => {
            let coordinates = mariadb_coordinates(control, file, position, source).await?;
            Ok((Some(coordinates), SnapshotMethod::BackupStage))
        }
    }
}

/// The position that every session's snapshot stands at, if it is one.
async fn agreed(readers: &mut [Connection]) -> Result<Option<(String, u64)>, CreateError> {
    let sql = Sql::plain("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'");
    let mut common = None;
    for reader in readers {
        let rows = reader.query(&sql).await.during(|| "read a snapshot's position".to_owned())?;
        let value = |name: &str| {
            let row = rows.iter().find(|row| {
                row.text("Variable_name").is_some_and(|shown| shown.eq_ignore_ascii_case(name))
            })?;
            row.text("Value").map(str::to_owned)
        };
        let file = value("binlog_snapshot_file").filter(|file| !file.is_empty());
        let position = value("binlog_snapshot_position").and_then(|position| position.parse().ok());
        let Some(here) = file.zip(position) else {
            return Err(CreateError::NotShown { what: "the snapshot's position".to_owned() });
        };
        if *common.get_or_insert_with(|| here.clone()) != here {
            return Ok(None);
        }
    }
    Ok(common)
}

async fn mariadb_coordinates(
    control: &mut Connection,
    file: String,
    position: u64,
    source: Option<SourceCoordinates>,
) -> Result<Coordinates, CreateError> {
    let name = sqltext::quote_string(&file)
        .map_err(|_| CreateError::NotShown { what: format!("the binary log {file}") })?;
    let sql = Sql::plain(format!("SELECT BINLOG_GTID_POS({name}, {position}) AS gtid"));
    let rows = control
        .with_limit(Duration::from_secs(300))
        .query(&sql)
        .await
        .during(|| format!("find the GTIDs at {file}:{position}"))?;
    // NULL: the log is gone already, which a purge in these milliseconds could do.
    let gtid = rows.first().and_then(|row| row.text("gtid")).map(str::to_owned);
    let gtid = gtid.ok_or_else(|| CreateError::NotShown { what: format!("GTIDs at {file}:{position}") })?;
    Ok(Coordinates { file, position, gtid, source })
}

async fn mysql(
    control: &mut Connection,
    readers: &mut [Connection],
    logs: bool,
) -> Result<Found, CreateError> {
    if logs {
        for _ in 0..OPTIMISTIC_TRIES {
            if let Some(coordinates) = mysql_fresh_log(control, readers).await? {
                return Ok((Some(coordinates), SnapshotMethod::Optimistic));
            }
        }
    }
    let mut why = String::new();
    for turn in 0..LOCK_TRIES {
        if turn > 0 {
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        match mysql_locked(control, readers, logs).await {
            Ok(found) => return Ok(found),
            Err(error) if waited(&error) => why = in_the_way(control).await,
            Err(error) => return Err(error),
        }
    }
    Err(CreateError::NoMoment { tries: LOCK_TRIES, why })
}

/// Snapshots between the rotation of the log and the first transaction in the new one.
async fn mysql_fresh_log(
    control: &mut Connection,
    readers: &mut [Connection],
) -> Result<Option<Coordinates>, CreateError> {
    control.execute(&Sql::plain("FLUSH BINARY LOGS")).await.during(|| "begin a binary log".to_owned())?;
    open_all(readers).await?;
    let Some(status) = mysql_status(control).await? else { return Ok(None) };
    let name = sqltext::quote_string(&status.file)
        .map_err(|_| CreateError::NotShown { what: format!("the binary log {}", status.file) })?;
    let events = control
        .query(&Sql::plain(format!("SHOW BINLOG EVENTS IN {name} LIMIT 3")))
        .await
        .during(|| "see that the binary log is empty".to_owned())?;
    let is_preface = |row: &server::Row| {
        row.text("Event_type").is_some_and(|kind| matches!(kind, "Format_desc" | "Previous_gtids"))
    };
    let end = events.last().and_then(|row| row.parsed::<u64>("End_log_pos"));
    Ok((events.len() <= 2 && events.iter().all(is_preface) && end == Some(status.position)).then_some(status))
}

async fn mysql_locked(
    control: &mut Connection,
    readers: &mut [Connection],
    logs: bool,
) -> Result<Found, CreateError> {
    hold(control, &["FLUSH TABLES WITH READ LOCK"]).await?;
    let opened: Result<_, CreateError> = async {
        let before = if logs { mysql_status(control).await? } else { None };
        let source = source(control).await?;
        open_all(readers).await?;
        let after = if logs { mysql_status(control).await? } else { None };
        if before != after {
            let why = "the binary log grew under the lock".to_owned();
            return Err(CreateError::NoMoment { tries: 1, why });
        }
        Ok(before.map(|status| Coordinates { source, ..status }))
    }
    .await;
    control.execute(&Sql::plain("UNLOCK TABLES")).await.during(|| "let writes go on".to_owned())?;
    let coordinates = opened?;
    if logs && coordinates.is_none() {
        return Err(CreateError::NotShown { what: "its binary log's position".to_owned() });
    }
    Ok((coordinates, SnapshotMethod::ReadLock))
}

pub(crate) async fn mysql_status(control: &mut Connection) -> Result<Option<Coordinates>, CreateError> {
    let sql = Sql::plain(control.flavor().statements().binlog_status());
    let rows = control.query(&sql).await.during(|| "read the binary log's position".to_owned())?;
    let read = |row: &server::Row| {
        Some(Coordinates {
            file: row.text("File")?.to_owned(),
            position: row.parsed("Position")?,
            // Long sets are broken into lines.
            gtid: row.text("Executed_Gtid_Set").unwrap_or_default().replace(['\n', ' '], ""),
            source: None,
        })
    };
    Ok(rows.first().and_then(read))
}

/// Where a replica's own source stands, for one channel.
async fn source(control: &mut Connection) -> Result<Option<SourceCoordinates>, CreateError> {
    let sql = Sql::plain(control.flavor().statements().replica_status());
    let rows = match control.query(&sql).await {
        Ok(rows) => rows,
        Err(error) if error.is_missing_privilege() => return Ok(None),
        Err(error) => return Err(error).during(|| "read the replica's position".to_owned()),
    };
    let [row] = rows.as_slice() else { return Ok(None) };
    let text = |old: &str, new: &str| row.text(old).or_else(|| row.text(new)).map(str::to_owned);
    let number = |old: &str, new: &str| text(old, new).and_then(|value| value.parse().ok());
    Ok((|| {
        Some(SourceCoordinates {
            host: text("Master_Host", "Source_Host")?,
            port: u16::try_from(number("Master_Port", "Source_Port")?).ok()?,
            file: text("Relay_Master_Log_File", "Relay_Source_Log_File")?,
            position: number("Exec_Master_Log_Pos", "Exec_Source_Log_Pos")?,
        })
    })())
}

/// Takes locks one after the other; what was taken is let go if a later one is not to be had.
async fn hold(control: &mut Connection, statements: &[&str]) -> Result<(), CreateError> {
    let timeout = Sql::plain(format!("SET SESSION lock_wait_timeout = {LOCK_SECONDS}"));
    control.execute(&timeout).await.during(|| "limit the wait for a lock".to_owned())?;
    for statement in statements {
        let Err(error) = control.execute(&Sql::plain(*statement)).await else { continue };
        let undo = if statement.starts_with("BACKUP") { "BACKUP STAGE END" } else { "UNLOCK TABLES" };
        // Without a stage begun, there is none to end.
        if let Err(error) = control.execute(&Sql::plain(undo)).await {
            tracing::debug!(%error, "nothing to let go");
        }
        return Err(error).during(|| format!("run {statement}"));
    }
    Ok(())
}

fn waited(error: &CreateError) -> bool {
    matches!(error, CreateError::Server { source, .. }
        if source.code() == Some(LOCK_WAIT_TIMEOUT) || matches!(source, ServerError::StatementTimeout { .. }))
}

/// The oldest statement that runs, which is what a lock on everything waits for.
async fn in_the_way(control: &mut Connection) -> String {
    let sql = Sql::plain(
        "SELECT id, user, time FROM information_schema.processlist WHERE command NOT IN \
         ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID') AND id <> CONNECTION_ID() ORDER BY time DESC LIMIT 1",
    );
    let found = control.query(&sql).await.ok().and_then(|rows| {
        let row = rows.first()?;
        let (id, user) = (row.text("id")?.to_owned(), row.text("user")?.to_owned());
        Some(format!("session {id} of {user} runs a statement since {} s", row.text("time")?))
    });
    found.unwrap_or_else(|| "a statement keeps running".to_owned())
}

async fn number(control: &mut Connection, sql: &str) -> Result<u64, CreateError> {
    let rows = control.query(&Sql::plain(sql)).await.during(|| "read a setting".to_owned())?;
    Ok(rows.first().and_then(|row| row.parsed("n")).unwrap_or(0))
}
