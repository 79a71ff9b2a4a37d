//! Loading CloudStack's setup files: statement by statement, with file and line in every error.
//!
//! Mainstay's own mark on the server (`mainstay.setup`) says that a load began, and that it ended, so a load cut
//! short is recognised and made anew instead of being taken for a schema. Nothing goes through a shell or a
//! temporary file.

use std::path::Path;
use std::time::Duration;

use cloudstack::schema::{Disposition, disposition};
use host::files;
use plan::SchemaFile;
use server::{Connection, Limits, Param, ServerError, Sql, Target};

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
    match connection.query(&sql).await {
        Ok(rows) => Ok(rows.first().map(|row| plan::LoadMark {
            finished: row.text("finished") == Some("1"),
            at: row.text("at").unwrap_or("an unknown time").to_owned(),
        })),
        // 1049: no such database; 1146: no such table.
        Err(error) if matches!(error.code(), Some(1049 | 1146)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The newest row of CloudStack's `version` table: version, and whether its step is complete.
pub(crate) async fn version(connection: &mut Connection) -> Result<Option<(String, bool)>, ServerError> {
    let sql = Sql::plain("SELECT version, step FROM cloud.version ORDER BY id DESC LIMIT 1");
    match connection.query(&sql).await {
        Ok(rows) => Ok(rows.first().map(|row| {
            (row.text("version").unwrap_or_default().to_owned(), row.text("step") == Some("Complete"))
        })),
        Err(error) if matches!(error.code(), Some(1049 | 1146)) => Ok(None),
        Err(error) => Err(error),
    }
}
