//! The largest and the longest transactions of a log, a few of each.

use serde::Serialize;

use super::Running;
use crate::transaction::{Transaction, shortened};

/// Tables named with a transaction; more are counted.
const TABLES_NAMED: usize = 20;
const STATEMENT_LETTERS: usize = 200;

/// A transaction that stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopTransaction {
    /// Its log.
    pub file: String,
    /// Where it begins, in bytes.
    pub position: u64,
    /// Where it ends, in bytes.
    pub end_position: u64,
    /// Its GTID.
    pub gtid: Option<String>,
    /// When it committed, in seconds since 1970.
    pub committed_seconds: u32,
    /// How long it ran, from its first change to its commit.
    pub duration_seconds: u32,
    /// Rows it changed.
    pub rows: u64,
    /// Rows inserted.
    pub rows_inserted: u64,
    /// Rows updated.
    pub rows_updated: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Bytes of its rows.
    pub bytes: u64,
    /// The server.
    pub server_id: u32,
    /// The connection, if logged.
    pub thread_id: Option<u32>,
    /// Tables it changed, the first ones.
    pub tables: Vec<String>,
    /// How many tables it changed.
    pub table_count: usize,
    /// Its first statement, if logged.
    pub statement: Option<String>,
}

/// The transactions that stand out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tops {
    /// By rows, then bytes.
    pub largest: Vec<TopTransaction>,
    /// By duration; only those of a second or more.
    pub longest: Vec<TopTransaction>,
}

/// A transaction as it is kept while more come.
#[derive(Debug)]
struct Kept {
    key: (u64, u64),
    file: usize,
    tables: Vec<usize>,
    shown: TopTransaction,
}

#[derive(Debug)]
pub(crate) struct Keeper {
    limit: usize,
    largest: Vec<Kept>,
    longest: Vec<Kept>,
}

impl Keeper {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, largest: Vec::new(), longest: Vec::new() }
    }

    #[inline]
    pub(crate) fn offer(&mut self, transaction: &Transaction, running: &Running, file: usize) {
        let rows = running.changes.rows();
        if rows > 0 {
            keep(&mut self.largest, self.limit, (rows, running.bytes), || (transaction, running, file));
        }
        let seconds = u64::from(transaction.seconds());
        if seconds > 0 {
            keep(&mut self.longest, self.limit, (seconds, rows), || (transaction, running, file));
        }
    }

    /// Takes over the transactions of a part of the log behind these. `place` tells where a table is now.
    pub(crate) fn absorb(&mut self, other: Self, file: usize, place: impl Fn(usize) -> usize) {
        let lists = [(&mut self.largest, other.largest), (&mut self.longest, other.longest)];
        for (kept, behind) in lists {
            for mut one in behind {
                one.file = file;
                for slot in &mut one.tables {
                    *slot = place(*slot);
                }
                insert(kept, self.limit, one);
            }
        }
    }

    pub(crate) fn report(self, files: &[super::FileStats], name: impl Fn(usize) -> String) -> Tops {
        let shown = |kept: Vec<Kept>| {
            let finish = |kept: Kept| {
                let mut shown = kept.shown;
                shown.file = files.get(kept.file).map(|file| file.file.clone()).unwrap_or_default();
                shown.tables = kept.tables.iter().map(|slot| name(*slot)).collect();
                shown
            };
            kept.into_iter().map(finish).collect()
        };
        Tops { largest: shown(self.largest), longest: shown(self.longest) }
    }
}

#[inline]
fn keep<'r>(
    kept: &mut Vec<Kept>,
    limit: usize,
    key: (u64, u64),
    of: impl FnOnce() -> (&'r Transaction, &'r Running, usize),
) {
    let is_full = kept.len() >= limit;
    if is_full && kept.last().is_none_or(|last| last.key >= key) {
        return;
    }
    let (transaction, running, file) = of();
    let changes = &running.changes;
    let shown = TopTransaction {
        file: String::new(),
        position: transaction.offset,
        end_position: transaction.end,
        gtid: transaction.gtid.as_ref().map(ToString::to_string),
        committed_seconds: transaction.last_seconds,
        duration_seconds: transaction.seconds(),
        rows: changes.rows(),
        rows_inserted: changes.inserted,
        rows_updated: changes.updated,
        rows_deleted: changes.deleted,
        bytes: running.bytes,
        server_id: transaction.server_id,
        thread_id: transaction.thread_id,
        tables: Vec::new(),
        table_count: running.tables.len(),
        statement: (!running.statement.is_empty()).then(|| shortened(&running.statement, STATEMENT_LETTERS)),
    };
    let tables = running.tables.iter().take(TABLES_NAMED).copied().collect();
    insert(kept, limit, Kept { key, file, tables, shown });
}

fn insert(kept: &mut Vec<Kept>, limit: usize, one: Kept) {
    // Among equals the earlier one comes first.
    let at = kept.partition_point(|other| other.key >= one.key);
    kept.insert(at, one);
    kept.truncate(limit);
}
