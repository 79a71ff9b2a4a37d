//! The database in which a table is rewound until it is whole. A run that was killed leaves it behind, with a mark that
//! says whose it is; nothing without the mark is ever dropped.

use server::{Loader, Sql};
use sqltext::{quote_ident, quote_string};

use super::error::RewindError;
use crate::restore::notes;

const PREFIX: &str = "mainstay_rewind_";
const MARK: &str = "mainstay_mark";

/// A database of our own.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    pub(crate) name: String,
    quoted: String,
    purpose: String,
}

impl Scratch {
    /// The database for rewinding into this table.
    pub(crate) fn new(database: &str, table: &str) -> Result<Self, RewindError> {
        let purpose = format!("{database}.{table}");
        let name = format!("{PREFIX}{}", notes::id_of(std::iter::once(purpose.clone())));
        let quoted = quoted(&name)?;
        Ok(Self { name, quoted, purpose })
    }

    /// A table in it, quoted.
    pub(crate) fn table(&self, name: &str) -> Result<String, RewindError> {
        Ok(format!("{}.{}", self.quoted, quoted(name)?))
    }

    /// Makes it anew, with what an earlier run left behind removed. `restore` is what the restore's notes are kept under.
    pub(crate) async fn begin(&self, loader: &mut Loader, restore: &str) -> Result<(), RewindError> {
        self.remove(loader).await?;
        let (name, mark) = (&self.quoted, self.table(MARK)?);
        let purpose = string(&self.purpose)?;
        for statement in [
            format!("CREATE DATABASE {name}"),
            format!(
                "CREATE TABLE {mark} (purpose VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL, \
                 restore_id CHAR(32) CHARACTER SET ascii NOT NULL, PRIMARY KEY (restore_id)) ENGINE=InnoDB"
            ),
            format!("INSERT INTO {mark} VALUES ({purpose}, '{restore}')"),
        ] {
            run(loader, &statement, "making a database to work in").await?;
        }
        Ok(())
    }

    /// Removes it, if it is ours.
    pub(crate) async fn remove(&self, loader: &mut Loader) -> Result<(), RewindError> {
        let name = string(&self.name)?;
        let tables = format!(
            "SELECT t.TABLE_NAME AS name FROM information_schema.SCHEMATA s LEFT JOIN information_schema.TABLES t \
             ON t.TABLE_SCHEMA = s.SCHEMA_NAME WHERE s.SCHEMA_NAME = {name}"
        );
        let rows = ask(loader, tables, "looking for what an earlier run left").await?;
        if rows.is_empty() {
            return Ok(());
        }
        let tables: Vec<&str> = rows.iter().filter_map(|row| row.text("name")).collect();
        if tables.contains(&MARK) {
            let marks = format!("SELECT restore_id AS it FROM {}", self.table(MARK)?);
            for row in ask(loader, marks, "reading the mark of an earlier run").await? {
                if let Some(id) = row.text("it") {
                    notes::forget(loader, id).await?;
                }
            }
        } else if !tables.is_empty() {
            return Err(RewindError::refused(
                format!("the database {} is there and has tables that no rewind has made", self.name),
                "look at it, and drop it or give it another name",
            ));
        }
        run(loader, &format!("DROP DATABASE {}", self.quoted), "removing the database to work in").await
    }
}

/// A name in backticks.
pub(crate) fn quoted(name: &str) -> Result<String, RewindError> {
    quote_ident(name).map_err(|error| {
        RewindError::refused(
            format!("`{}` cannot be a name: {error}", name.escape_debug()),
            "check the spelling",
        )
    })
}

/// A text in quotes.
pub(crate) fn string(text: &str) -> Result<String, RewindError> {
    quote_string(text).map_err(|error| RewindError::refused(error.to_string(), "check the spelling"))
}

/// Runs a statement that is a step.
pub(crate) async fn run(loader: &mut Loader, statement: &str, step: &str) -> Result<(), RewindError> {
    loader.run(statement.as_bytes()).await.map(|_| ()).map_err(RewindError::server(step))
}

/// Asks a question that is a step.
pub(crate) async fn ask(
    loader: &mut Loader,
    question: String,
    step: &str,
) -> Result<Vec<server::Row>, RewindError> {
    loader.query(&Sql::plain(question)).await.map_err(RewindError::server(step))
}
