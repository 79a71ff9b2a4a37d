//! How far a rewind of a whole server is, kept on the target beside the data: in the transaction that it tells of.
//!
//! A statement that commits by itself cannot be noted with what it does: it is noted before, with how its tables looked,
//! so that whoever goes on can see whether it was done.

use base16ct::lower::encode_string;
use flavor::Vendor;
use server::{Loader, Row, ServerError, Sql};
use sha2::{Digest as _, Sha256};

use super::error::ReplayError;
use super::message::{Mark, Statement};

/// The database of the notes. It is there only as long as a rewind is under way.
pub(crate) const SCHEMA: &str = "mainstay_replay";

/// What a rewind is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The backup is being restored.
    Restoring,
    /// The archive is being replayed.
    Replaying,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Restoring => "restoring",
            Self::Replaying => "replaying",
        }
    }
}

/// The notes of a rewind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notes {
    /// The backup it began with.
    pub backup: String,
    /// The point: run, log and offset.
    pub point: String,
    /// What it is at.
    pub phase: Phase,
    /// Where the replay is: run, log, end of the last transaction.
    pub(super) at: Option<(String, String, u64)>,
    /// A statement that was begun: where it is in that log, and how its tables looked before.
    pub(super) begun: Option<(u64, String)>,
}

impl Notes {
    /// Reads the notes of an earlier run, if there are any.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub async fn read(loader: &mut Loader) -> Result<Option<Self>, ReplayError> {
        let failed = || ReplayError::server("looking for the notes of an earlier run");
        let is_there = Sql::plain(format!(
            "SELECT 1 AS it FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}' AND TABLE_NAME = 'state'"
        ));
        if loader.query(&is_there).await.map_err(failed())?.is_empty() {
            return Ok(None);
        }
        let sql = Sql::plain(format!(
            "SELECT backup, point, phase, run, log, position, begun_position, begun_tables FROM {SCHEMA}.state"
        ));
        let rows = loader.query(&sql).await.map_err(failed())?;
        Ok(rows.first().and_then(Self::of))
    }

    fn of(row: &Row) -> Option<Self> {
        let text = |name: &str| row.text(name).map(str::to_owned);
        let place = (text("run"), text("log"), row.parsed("position"));
        Some(Self {
            backup: text("backup")?,
            point: text("point")?,
            phase: if row.text("phase") == Some(Phase::Replaying.name()) {
                Phase::Replaying
            } else {
                Phase::Restoring
            },
            at: match place {
                (Some(run), Some(log), Some(position)) => Some((run, log, position)),
                (_, _, _) => None,
            },
            begun: row.parsed("begun_position").zip(text("begun_tables")),
        })
    }

    /// Makes the table of notes, with what is begun.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn begin(loader: &mut Loader, backup: &str, point: &str) -> Result<(), ReplayError> {
        for statement in [
            format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {SCHEMA}.state (id INT NOT NULL PRIMARY KEY, backup VARBINARY(255) NOT NULL, \
                 point VARBINARY(1000) NOT NULL, phase VARBINARY(20) NOT NULL, run VARBINARY(255), log VARBINARY(512), \
                 position BIGINT UNSIGNED, begun_position BIGINT UNSIGNED, begun_tables VARBINARY(64)) ENGINE=InnoDB"
            ),
            format!(
                "REPLACE INTO {SCHEMA}.state (id, backup, point, phase) VALUES (1, {}, {}, '{}')",
                hex(backup),
                hex(point),
                Phase::Restoring.name()
            ),
        ] {
            loader.run(statement.as_bytes()).await.map_err(ReplayError::server("keeping notes"))?;
        }
        Ok(())
    }

    /// Notes that the backup is restored.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn restored(loader: &mut Loader) -> Result<(), ReplayError> {
        let statement = format!("UPDATE {SCHEMA}.state SET phase = '{}'", Phase::Replaying.name());
        loader.run(statement.as_bytes()).await.map_err(ReplayError::server("keeping notes"))?;
        Ok(())
    }

    /// Removes the notes.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn end(loader: &mut Loader) -> Result<(), ReplayError> {
        let statement = format!("DROP DATABASE IF EXISTS {SCHEMA}");
        loader.run(statement.as_bytes()).await.map_err(ReplayError::server("removing the notes"))?;
        Ok(())
    }
}

/// The statement that notes how far the replay is.
pub(super) fn done(run: &str, log: &str, mark: &Mark) -> String {
    format!(
        "UPDATE {SCHEMA}.state SET run = {}, log = {}, position = {}, begun_position = NULL, begun_tables = NULL",
        hex(run),
        hex(log),
        mark.end
    )
}

/// The statement that notes that a statement is begun.
pub(super) fn begun(run: &str, log: &str, offset: u64, looks: &str) -> String {
    // Where the last transaction of an earlier log ends says nothing about this log: all of that one is done.
    format!(
        "UPDATE {SCHEMA}.state SET position = IF(run = {run} AND log = {log}, position, 0), run = {run}, log = {log}, \
         begun_position = {offset}, begun_tables = {looks}",
        run = hex(run),
        log = hex(log),
        looks = hex(looks)
    )
}

/// How the tables look that a statement names: another one after it was done, unless it changes nothing.
///
/// # Errors
/// If the server cannot be asked.
pub(super) async fn looks(
    loader: &mut Loader,
    vendor: Vendor,
    statement: &Statement,
) -> Result<String, ServerError> {
    let mut sum = Sha256::new();
    for (database, table) in &statement.tables {
        let (Ok(of), Ok(name)) = (sqltext::quote_ident(database), sqltext::quote_ident(table)) else {
            continue;
        };
        match loader.query(&Sql::plain(format!("SHOW CREATE TABLE {of}.{name}"))).await {
            Ok(rows) => {
                for at in 0..4 {
                    sum.update(rows.first().and_then(|row| row.text_at(at)).unwrap_or_default());
                }
            }
            Err(error) if error.code().is_some() => sum.update("absent"),
            Err(error) => return Err(error),
        }
        // Two tables that change places may look alike: their numbers do not.
        let view = match vendor {
            Vendor::MariaDb => "INNODB_SYS_TABLES",
            Vendor::MySql => "INNODB_TABLES",
        };
        if let Ok(name) = sqltext::quote_string(&format!("{database}/{table}")) {
            let sql = format!("SELECT TABLE_ID AS id FROM information_schema.{view} WHERE NAME = {name}");
            let rows = loader.query(&Sql::plain(sql)).await?;
            sum.update(rows.first().and_then(|row| row.text("id")).unwrap_or_default());
        }
        sum.update([0]);
    }
    if let Some(name) = statement.made_database.as_deref().and_then(|name| sqltext::quote_ident(name).ok()) {
        match loader.query(&Sql::plain(format!("SHOW CREATE DATABASE {name}"))).await {
            Ok(rows) => sum.update(rows.first().and_then(|row| row.text_at(1)).unwrap_or_default()),
            Err(error) if error.code().is_some() => sum.update("absent"),
            Err(error) => return Err(error),
        }
    }
    Ok(encode_string(sum.finalize().get(..16).unwrap_or_default()))
}

/// Text as a literal that means the same in every session.
fn hex(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    format!("0x{}", encode_string(text.as_bytes()))
}
