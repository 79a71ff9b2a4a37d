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

/// The note that all rows were compared with the manifest: what a control plane needs is changed after that.
pub(crate) const VERIFIED: &str = "verified";

/// How long the session of a run that was killed may still be at its last statement, in seconds.
const LOCK_WAIT_S: u32 = 10;

/// How clusters refuse such locks: ER_NOT_SUPPORTED_YET of some MariaDB 10.6 and 10.11 with Galera (MDEV-30473), and
/// ER_UNKNOWN_ERROR of Percona XtraDB Cluster in its strict mode.
const NO_LOCKS: [u16; 2] = [1235, 1105];

/// Lets one run of a restore go on at a time on this server, as long as this session lives.
///
/// # Errors
/// If another run is at it, or the server cannot be asked.
pub(crate) async fn lock(loader: &mut Loader, id: &str) -> Result<(), RestoreError> {
    let failed = || RestoreError::server("waiting for another run");
    let name = format!("'{SCHEMA}_{id}'");
    let lock = Sql::plain(format!("SELECT GET_LOCK({name}, {LOCK_WAIT_S}) AS it"));
    let rows = match loader.query(&lock).await {
        Ok(rows) => rows,
        Err(error) if error.code().is_some_and(|code| NO_LOCKS.contains(&code)) => {
            tracing::warn!(%error, "cannot keep another run of this restore away");
            return Ok(());
        }
        Err(error) => return Err(failed()(error)),
    };
    if rows.first().and_then(|row| row.text("it")) == Some("1") {
        return Ok(());
    }
    let holder = loader.query(&Sql::plain(format!("SELECT IS_USED_LOCK({name}) AS it"))).await;
    let holder = holder.map_err(failed())?;
    let holder = holder.first().and_then(|row| row.parsed::<u64>("it"));
    // It may have ended just now.
    let (by, end) = holder.map_or_else(Default::default, |id| {
        (format!(", session {id} of the target,"), format!(", or end it there with KILL {id},"))
    });
    Err(RestoreError::Refused(format!(
        "another run{by} restores the same dump into the same names: wait for it{end} and run this again"
    )))
}

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

    /// Forgets what is noted of tables that are not there any more, which somebody dropped to begin anew, and gives the
    /// statements that forget it on the target. Of a restore that has none of its tables left, nothing was done.
    pub(crate) fn forget_dropped(&mut self, is_there: impl Fn(usize) -> bool) -> Vec<String> {
        let made: Vec<usize> =
            self.done.iter().filter_map(|item| item.strip_prefix("create:")?.parse().ok()).collect();
        let dropped: BTreeSet<usize> = made.iter().copied().filter(|&number| !is_there(number)).collect();
        if !made.is_empty() && dropped.len() == made.len() {
            self.done.remove("begin");
        }
        self.done.retain(|item| {
            let mut parts = item.split(':');
            let is_tables = matches!(parts.next(), Some("create" | "rows" | "keys" | "foreign"));
            let number = parts.next().and_then(|number| number.parse().ok());
            !(is_tables && number.is_some_and(|number| dropped.contains(&number)))
        });
        let forget = |number| {
            [
                format!("create:{number}"),
                format!("foreign:{number}"),
                format!("rows:{number}:%"),
                format!("keys:{number}:%"),
            ]
            .map(|items| self.forget(&items))
        };
        let was_verified = !dropped.is_empty() && self.done.contains(VERIFIED);
        let verified = was_verified.then(|| self.forget(VERIFIED));
        let forgotten = dropped.into_iter().flat_map(forget).chain(verified).collect();
        if was_verified {
            self.done.remove(VERIFIED);
        }
        forgotten
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

    /// The statement that forgets the items that are like this, in which `%` stands for anything.
    pub(crate) fn forget(&self, items: &str) -> String {
        format!("DELETE FROM {SCHEMA}.done WHERE restore = '{}' AND item LIKE '{items}'", self.id)
    }

    /// Removes the notes, and their table when no other restore has any.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn end(&self, loader: &mut Loader) -> Result<(), RestoreError> {
        let failed = || RestoreError::server("removing the notes");
        let forget = self.forget("%");
        loader.run(forget.as_bytes()).await.map_err(failed())?;
        let others = Sql::plain(format!("SELECT 1 AS it FROM {SCHEMA}.done LIMIT 1"));
        if loader.query(&others).await.map_err(failed())?.is_empty() {
            loader.run(format!("DROP DATABASE {SCHEMA}").as_bytes()).await.map_err(failed())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(done: &[&str]) -> State {
        State { id: "x".to_owned(), done: done.iter().map(|&item| item.to_owned()).collect() }
    }

    #[test]
    fn what_was_dropped_is_forgotten() {
        let all =
            ["begin", "account:1", "create:1", "create:11", "keys:1:0", "rows:1:0", "rows:1:7", "rows:11:0"];
        let mut here = state(&all);
        assert_eq!(here.forget_dropped(|_| true), Vec::<String>::new());
        assert_eq!(here.done, state(&all).done);

        let forgotten = here.forget_dropped(|number| number == 11);
        assert_eq!(here.done, state(&["begin", "account:1", "create:11", "rows:11:0"]).done);
        assert_eq!(forgotten.len(), 4);
        assert!(forgotten[2].ends_with("restore = 'x' AND item LIKE 'rows:1:%'"), "{forgotten:?}");

        // Accounts are not dropped with tables.
        let forgotten = here.forget_dropped(|_| false);
        assert_eq!((here.done, forgotten.len()), (state(&["account:1"]).done, 4));

        let mut verified = state(&["begin", "create:0", "create:1", "verified"]);
        assert_eq!(verified.forget_dropped(|_| true), Vec::<String>::new());
        assert!(verified.done.contains(VERIFIED));
        let forgotten = verified.forget_dropped(|number| number == 1);
        assert_eq!((verified.done, forgotten.len()), (state(&["begin", "create:1"]).done, 5));
        assert!(forgotten[4].ends_with("item LIKE 'verified'"), "{forgotten:?}");

        let mut begun = state(&["begin"]);
        assert!(begun.forget_dropped(|_| false).is_empty() && begun.is_resumed());
    }
}
