//! What a restore has done, kept on the target beside the data: a restore that was killed goes on where it stopped.
//!
//! A piece of rows and the note that it is there are one transaction, so that nothing is loaded twice and nothing is
//! left out.

use std::collections::BTreeSet;

use base16ct::lower::encode_string;
use server::{Loader, Sql};
use sha2::{Digest as _, Sha256};

use super::error::RestoreError;

/// The database of the notes. It is there only as long as a restore is under way.
pub(crate) const SCHEMA: &str = "mainstay_restore";

/// The notes of one restore.
#[derive(Clone, Debug)]
pub(crate) struct State {
    id: String,
    /// Items that are done.
    pub(crate) done: BTreeSet<String>,
}

/// What a restore is known by: the same dump into the same names.
pub(crate) fn id_of(parts: impl Iterator<Item = String>) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part.as_bytes());
        sum.update([0]);
    }
    encode_string(sum.finalize().get(..16).unwrap_or_default())
}

impl State {
    /// The notes of an earlier run, if there are any.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub(crate) async fn read(loader: &mut Loader, id: &str) -> Result<Self, RestoreError> {
        let failed = || RestoreError::server("looking for the notes of an earlier run");
        let is_there = Sql::plain(format!(
            "SELECT 1 AS it FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}' AND TABLE_NAME = 'done'"
        ));
        let mut state = Self { id: id.to_owned(), done: BTreeSet::new() };
        if loader.query(&is_there).await.map_err(failed())?.is_empty() {
            return Ok(state);
        }
        let items = Sql::plain(format!("SELECT item FROM {SCHEMA}.done WHERE restore = '{id}'"));
        let rows = loader.query(&items).await.map_err(failed())?;
        state.done = rows.iter().filter_map(|row| row.text("item").map(str::to_owned)).collect();
        Ok(state)
    }

    /// Makes the table of notes.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn begin(&mut self, loader: &mut Loader) -> Result<(), RestoreError> {
        for statement in [
            format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {SCHEMA}.done (restore CHAR(32) CHARACTER SET ascii NOT NULL, item VARCHAR(250) \
                 CHARACTER SET ascii NOT NULL, PRIMARY KEY (restore, item)) ENGINE=InnoDB"
            ),
        ] {
            loader.run(statement.as_bytes()).await.map_err(RestoreError::server("keeping notes"))?;
        }
        if self.done.insert("begin".to_owned()) {
            let note = self.note("begin");
            loader.run(note.as_bytes()).await.map_err(RestoreError::server("keeping notes"))?;
        }
        Ok(())
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.done.contains("begin")
    }

    /// The statement that notes an item.
    pub(crate) fn note(&self, item: &str) -> String {
        format!("INSERT IGNORE INTO {SCHEMA}.done VALUES ('{}', '{item}')", self.id)
    }

    /// Whether an item is noted, asked of the server: after a lost connection it may or may not be.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub(crate) async fn is_noted(
        &self,
        loader: &mut Loader,
        item: &str,
    ) -> Result<bool, server::ServerError> {
        let id = &self.id;
        let sql = Sql::plain(format!(
            "SELECT 1 AS it FROM {SCHEMA}.done WHERE restore = '{id}' AND item = '{item}'"
        ));
        Ok(!loader.query(&sql).await?.is_empty())
    }

    /// Forgets the items of a table whose rows have to be loaded anew.
    pub(crate) fn forget(&self, prefix: &str) -> String {
        format!("DELETE FROM {SCHEMA}.done WHERE restore = '{}' AND item LIKE '{prefix}%'", self.id)
    }

    /// Removes the notes, and their table when no other restore has any.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn end(&self, loader: &mut Loader) -> Result<(), RestoreError> {
        let failed = || RestoreError::server("removing the notes");
        let forget = self.forget("");
        loader.run(forget.as_bytes()).await.map_err(failed())?;
        let others = Sql::plain(format!("SELECT 1 AS it FROM {SCHEMA}.done LIMIT 1"));
        if loader.query(&others).await.map_err(failed())?.is_empty() {
            loader.run(format!("DROP DATABASE {SCHEMA}").as_bytes()).await.map_err(failed())?;
        }
        Ok(())
    }
}
