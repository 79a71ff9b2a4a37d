//! Loading CloudStack's setup files: statement by statement, with file and line in every error.
//!
//! Mainstay's own mark on the server (`mainstay.setup`) says that a load began, and that it ended, so a load cut
//! short is recognised and made anew instead of being taken for a schema. Nothing goes through a shell or a
//! temporary file.

use std::path::Path;
use std::time::Duration;

use cloudstack::schema::{Disposition, disposition};
use cloudstack::version::{
    BASE_VERSION, ManagementServerRow, SchemaState, VersionRow, management_server_findings, schema_state,
};
use host::files;
use plan::SchemaFile;
use server::{Connection, Limits, Param, Row, ServerError, Sql, Target};

use crate::error::SetupError;

/// The largest setup file; today's are 200 KiB.
pub(crate) const SCHEMA_FILE_BYTES_MAX: usize = 16 << 20;
/// One statement may create a table with all its keys on a slow disk.
const STATEMENT_LIMIT: Duration = Duration::from_secs(300);

/// What the mark is called.
const CLOUDSTACK_MARK: &str = "cloudstack-schema";

/// Runs the files in order. Before and after, the mark on the server is set.
pub(crate) async fn load(target: &Target, dir: &Path, planned: &[SchemaFile]) -> Result<(), SetupError> {
    let mut contents = Vec::new();
    for file in planned {
        let path = dir.join(&file.name);
        let text = files::read_text(&path, SCHEMA_FILE_BYTES_MAX)?;
        if files::sha256_hex(text.as_bytes()) != file.sha256 {
            return Err(SetupError::refused(
                format!("{} has changed since the plan was made", path.display()),
                "run `mainstay plan` again and look at it",
            ));
        }
        contents.push((file.name.clone(), text));
    }
    let mut connection = Connection::open(target, &Limits::default()).await?;
    set_mark(&mut connection, false).await?;
    for (name, text) in &contents {
        // A session for each file: some end with an sql_mode that the next cannot be read under.
        let mut session = Connection::open(target, &Limits::default()).await?;
        run_file(&mut session, name, text).await?;
        session.close().await;
    }
    set_mark(&mut connection, true).await?;
    connection.close().await;
    Ok(())
}

async fn run_file(connection: &mut Connection, name: &str, text: &str) -> Result<(), SetupError> {
    for statement in sqltext::Splitter::new(text) {
        let statement = statement.map_err(|error| SetupError::Schema {
            file: name.to_owned(),
            line: error.line,
            problem: error.to_string(),
        })?;
        let failed =
            |problem: String| SetupError::Schema { file: name.to_owned(), line: statement.line, problem };
        match disposition(statement.text) {
            Disposition::Skip(reason) => {
                tracing::debug!(file = name, line = statement.line, reason, "statement left out");
            }
            Disposition::Refuse(reason) => return Err(failed(format!("refused: {reason}"))),
            Disposition::Run => {
                let sql = Sql::plain(statement.text);
                let ran = connection.with_limit(STATEMENT_LIMIT).execute(&sql).await;
                ran.map_err(|error| failed(error.to_string()))?;
            }
        }
    }
    Ok(())
}

async fn set_mark(connection: &mut Connection, finished: bool) -> Result<(), SetupError> {
    for statement in [
        "CREATE DATABASE IF NOT EXISTS mainstay CHARACTER SET utf8mb4",
        "CREATE TABLE IF NOT EXISTS mainstay.setup (name VARCHAR(64) NOT NULL PRIMARY KEY, \
         finished BOOLEAN NOT NULL, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    ] {
        connection.execute(&Sql::plain(statement)).await?;
    }
    let sql = Sql::plain("REPLACE INTO mainstay.setup (name, finished) VALUES (?, ?)");
    let finished = i64::from(finished);
    connection.exec(&sql, vec![Param::from(CLOUDSTACK_MARK), Param::from(finished)]).await?;
    Ok(())
}

/// Reads the mark.
pub(crate) async fn mark(connection: &mut Connection) -> Result<Option<plan::LoadMark>, ServerError> {
    let sql = Sql::plain(format!(
        "SELECT finished, CAST(at AS CHAR) AS at FROM mainstay.setup WHERE name = '{CLOUDSTACK_MARK}'"
    ));
    let rows = rows_if_there(connection, &sql).await?.unwrap_or_default();
    Ok(rows.first().map(|row| plan::LoadMark {
        finished: row.text("finished") == Some("1"),
        at: row.text("at").unwrap_or("an unknown time").to_owned(),
    }))
}

/// How far CloudStack's schema is: the version its newest rows name, and whether it is complete. `None` where there
/// is no version table, or nothing in it.
pub(crate) async fn version(connection: &mut Connection) -> Result<Option<(String, bool)>, ServerError> {
    let sql = Sql::plain("SELECT id, version, step FROM cloud.version ORDER BY id DESC LIMIT 1000");
    let Some(rows) = rows_if_there(connection, &sql).await? else { return Ok(None) };
    let text = |row: &Row, name| row.text(name).unwrap_or_default().to_owned();
    let rows: Vec<VersionRow> = rows
        .iter()
        .map(|row| VersionRow {
            id: row.parsed("id").unwrap_or_default(),
            version: text(row, "version"),
            step: text(row, "step"),
        })
        .collect();
    Ok(match schema_state(&rows) {
        SchemaState::Empty => None,
        SchemaState::Base => Some((BASE_VERSION.to_owned(), true)),
        SchemaState::Complete(version) => Some((version, true)),
        SchemaState::HalfUpgraded { version, .. } => Some((version, false)),
    })
}

/// Sentences about management servers whose rows block an upgrade, or are only left over.
pub(crate) async fn management_servers(connection: &mut Connection) -> Result<Vec<String>, ServerError> {
    let sql = Sql::plain(
        "SELECT name, state, removed IS NOT NULL AS gone, TIMESTAMPDIFF(SECOND, last_update, UTC_TIMESTAMP()) AS age \
         FROM cloud.mshost LIMIT 1000",
    );
    let Some(rows) = rows_if_there(connection, &sql).await? else { return Ok(Vec::new()) };
    let rows: Vec<ManagementServerRow> = rows
        .iter()
        .map(|row| ManagementServerRow {
            name: row.text("name").unwrap_or_default().to_owned(),
            state: row.text("state").unwrap_or_default().to_owned(),
            last_update_age_seconds: row.parsed("age"),
            removed: row.text("gone") == Some("1"),
        })
        .collect();
    Ok(management_server_findings(&rows))
}

/// The rows, or `None` where the database, the table or a column of it is not there (1049, 1146, 1054).
async fn rows_if_there(connection: &mut Connection, sql: &Sql) -> Result<Option<Vec<Row>>, ServerError> {
    match connection.query(sql).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if matches!(error.code(), Some(1049 | 1054 | 1146)) => Ok(None),
        Err(error) => Err(error),
    }
}
