//! Keeping digests in a server, in the tables query_review and query_history of pt-query-digest. Those in a file are in
//! `digest_sqlite`.

use std::collections::HashSet;

use digest::history::{HistoryRow, ReviewRow, history_rows, number_columns, review_rows};
use digest::report::Report;
use server::{Connection, Limits, Param, Sql};
use sqltext::{quote_ident, quote_string};

use crate::cli::HistoryKeepArgs;
use crate::failure::Failure;
use crate::output;
use crate::verbs::facts::target;

/// Tells how many kinds of statements query_history has no place for.
pub(crate) fn tell_without_time(reviews: &[ReviewRow], histories: &[HistoryRow]) {
    let without_time = reviews.len() - histories.len();
    if without_time > 0 {
        output::message(&format!(
            "{without_time} kinds of statements have no time, and no place in the history"
        ));
    }
}

/// The tables of a database, and what of them is there.
pub(crate) struct Kept {
    connection: Connection,
    review: String,
    history: String,
    /// Columns of query_history, in lower case: those of an older table are other ones.
    columns: HashSet<String>,
}

impl Kept {
    /// Connects, and makes the tables where they are missing.
    pub(crate) async fn open(database: &str, args: &HistoryKeepArgs) -> Result<Self, Failure> {
        let mut connection = Connection::open(&target(&args.connect)?, &Limits::default()).await?;
        let quoted = quote_ident(database)?;
        let (review, history) = (format!("{quoted}.query_review"), format!("{quoted}.query_history"));
        let numbers: Vec<String> = number_columns()
            .iter()
            .map(|column| -> Result<String, Failure> { Ok(format!("{} DOUBLE NULL", quote_ident(column)?)) })
            .collect::<Result<_, Failure>>()?;
        for statement in [
            format!("CREATE DATABASE IF NOT EXISTS {quoted}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {review} (checksum CHAR(32) NOT NULL PRIMARY KEY, fingerprint TEXT NOT NULL, \
                 sample TEXT NOT NULL, first_seen DATETIME NULL, last_seen DATETIME NULL, reviewed_by VARCHAR(20) NULL, \
                 reviewed_on DATETIME NULL, comments TEXT NULL) DEFAULT CHARACTER SET utf8mb4"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {history} (checksum CHAR(32) NOT NULL, sample TEXT NOT NULL, \
                 ts_min DATETIME NOT NULL, ts_max DATETIME NOT NULL, {}, PRIMARY KEY (checksum, ts_min, ts_max)) \
                 DEFAULT CHARACTER SET utf8mb4",
                numbers.join(", ")
            ),
        ] {
            connection.execute(&Sql::plain(statement)).await?;
        }
        let sql = format!(
            "SELECT column_name AS c FROM information_schema.columns WHERE table_schema = {} AND table_name = 'query_history'",
            quote_string(database)?
        );
        let rows = connection.query(&Sql::plain(sql)).await?;
        let columns = rows.iter().filter_map(|row| row.text("c")).map(str::to_ascii_lowercase).collect();
        Ok(Self { connection, review, history, columns })
    }

    /// Query ids that somebody has reviewed.
    pub(crate) async fn reviewed(&mut self) -> Result<HashSet<String>, Failure> {
        let sql = format!("SELECT checksum AS c FROM {} WHERE reviewed_by <> ''", self.review);
        let rows = self.connection.query(&Sql::plain(sql)).await?;
        Ok(rows.iter().filter_map(|row| row.text("c")).map(str::to_owned).collect())
    }

    /// Keeps a report: all of it or, where that fails, nothing.
    pub(crate) async fn keep(mut self, report: &Report) -> Result<(), Failure> {
        let (reviews, histories) = (review_rows(report), history_rows(report));
        self.connection.execute(&Sql::plain("START TRANSACTION")).await?;
        for row in &reviews {
            self.review(row).await?;
        }
        for row in &histories {
            self.history(row).await?;
        }
        self.connection.execute(&Sql::plain("COMMIT")).await?;
        tell_without_time(&reviews, &histories);
        self.connection.close().await;
        Ok(())
    }

    async fn review(&mut self, row: &ReviewRow) -> Result<(), Failure> {
        let sql = format!(
            "INSERT INTO {} (checksum, fingerprint, sample, first_seen, last_seen) VALUES (?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE first_seen = LEAST(COALESCE(first_seen, ?), COALESCE(?, first_seen)), \
             last_seen = GREATEST(COALESCE(last_seen, ?), COALESCE(?, last_seen))",
            self.review
        );
        let some = |text: &Option<String>| text.as_deref().map_or(Param::Null, Param::from);
        let (first, last) = (some(&row.first_seen), some(&row.last_seen));
        let params = vec![
            row.checksum.as_str().into(),
            row.fingerprint.as_str().into(),
            row.sample.as_str().into(),
            first.clone(),
            last.clone(),
            first.clone(),
            first,
            last.clone(),
            last,
        ];
        self.connection.exec(&Sql::plain(sql), params).await?;
        Ok(())
    }

    async fn history(&mut self, row: &HistoryRow) -> Result<(), Failure> {
        let mut names =
            vec!["checksum".to_owned(), "sample".to_owned(), "ts_min".to_owned(), "ts_max".to_owned()];
        let texts = [&row.checksum, &row.sample, &row.ts_min, &row.ts_max];
        let mut params: Vec<Param> = texts.iter().map(|text| Param::from(text.as_str())).collect();
        for (name, value) in &row.numbers {
            if self.columns.contains(&name.to_ascii_lowercase()) {
                names.push(quote_ident(name)?);
                params.push(Param::from(value.to_string().as_str()));
            }
        }
        let places = vec!["?"; params.len()].join(", ");
        let sql = format!("REPLACE INTO {} ({}) VALUES ({places})", self.history, names.join(", "));
        self.connection.exec(&Sql::plain(sql), params).await?;
        Ok(())
    }
}
