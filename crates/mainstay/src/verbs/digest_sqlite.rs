//! Keeping digests in a file of SQLite, in the tables query_review and query_history of pt-query-digest. A server's
//! tables are in `digest_history`.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use digest::history::{HistoryRow, ReviewRow, history_rows, number_columns, review_rows};
use digest::report::Report;
use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params, params_from_iter};
use sqltext::quote_ident;

use crate::failure::Failure;
use crate::verbs::digest_history::tell_without_time;

/// How long another that keeps a digest in the same file is waited for.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// The file, and what of its tables is there.
#[derive(Debug)]
pub(crate) struct Book {
    connection: Connection,
    /// Columns of query_history, in lower case: those of an older table are other ones.
    columns: HashSet<String>,
}

impl Book {
    /// Opens the file, and makes it and its tables where they are missing. Statements have people's data in them, so a
    /// new file is its owner's alone.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        Self::opened(path).map_err(|error| {
            Failure::new(
                error.context(format!("cannot keep the digest in `{}`", path.display())),
                "name a file of SQLite, or a new one in a folder that can be written to",
            )
        })
    }

    fn opened(path: &Path) -> anyhow::Result<Self> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_MAX)?;
        let numbers: Vec<String> = number_columns()
            .iter()
            .map(|column| Ok(format!("{} DOUBLE NULL", quote_ident(column)?)))
            .collect::<anyhow::Result<_>>()?;
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS query_review (checksum CHAR(32) NOT NULL PRIMARY KEY, fingerprint TEXT NOT NULL, \
             sample TEXT NOT NULL, first_seen DATETIME NULL, last_seen DATETIME NULL, reviewed_by VARCHAR(20) NULL, \
             reviewed_on DATETIME NULL, comments TEXT NULL);\n\
             CREATE TABLE IF NOT EXISTS query_history (checksum CHAR(32) NOT NULL, sample TEXT NOT NULL, \
             ts_min DATETIME NOT NULL, ts_max DATETIME NOT NULL, {}, PRIMARY KEY (checksum, ts_min, ts_max))",
            numbers.join(", ")
        ))?;
        let columns = texts(&connection, "SELECT name FROM pragma_table_info('query_history')")?;
        let columns = columns.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Self { connection, columns })
    }

    /// Query ids that somebody has reviewed.
    pub(crate) fn reviewed(&self) -> Result<HashSet<String>, Failure> {
        Ok(texts(&self.connection, "SELECT checksum FROM query_review WHERE reviewed_by <> ''")?)
    }

    /// Keeps a report: all of it or, where that fails, nothing.
    pub(crate) fn keep(&mut self, report: &Report) -> Result<(), Failure> {
        let (reviews, histories) = (review_rows(report), history_rows(report));
        let transaction = self.connection.transaction()?;
        for row in &reviews {
            review(&transaction, row)?;
        }
        for row in &histories {
            history(&transaction, &self.columns, row)?;
        }
        transaction.commit()?;
        tell_without_time(&reviews, &histories);
        Ok(())
    }
}

fn texts(connection: &Connection, sql: &str) -> rusqlite::Result<HashSet<String>> {
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn review(transaction: &Transaction<'_>, row: &ReviewRow) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(
        "INSERT INTO query_review (checksum, fingerprint, sample, first_seen, last_seen) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (checksum) DO UPDATE SET \
         first_seen = MIN(COALESCE(first_seen, excluded.first_seen), COALESCE(excluded.first_seen, first_seen)), \
         last_seen = MAX(COALESCE(last_seen, excluded.last_seen), COALESCE(excluded.last_seen, last_seen))",
    )?;
    statement.execute(params![row.checksum, row.fingerprint, row.sample, row.first_seen, row.last_seen])?;
    Ok(())
}

fn history(transaction: &Transaction<'_>, columns: &HashSet<String>, row: &HistoryRow) -> anyhow::Result<()> {
    let mut names =
        vec!["checksum".to_owned(), "sample".to_owned(), "ts_min".to_owned(), "ts_max".to_owned()];
    let texts = [&row.checksum, &row.sample, &row.ts_min, &row.ts_max];
    let mut values: Vec<Value> = texts.iter().map(|text| Value::from((*text).clone())).collect();
    for (name, value) in &row.numbers {
        if columns.contains(&name.to_ascii_lowercase()) {
            names.push(quote_ident(name)?);
            values.push(Value::from(*value));
        }
    }
    let places = vec!["?"; values.len()].join(", ");
    let sql = format!("REPLACE INTO query_history ({}) VALUES ({places})", names.join(", "));
    transaction.prepare(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}
