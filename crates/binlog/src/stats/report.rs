//! The counts as they are given out: plain values in an order that can be relied on.

use serde::Serialize;

use super::{Changes, RowsPerTransaction, Share, Stats, Timeline, Tops};
use crate::frames::Damages;
use crate::kind::EventKind;
use crate::statement::Action;
use crate::tables::Tables;

/// Connections listed.
const THREADS_LISTED: usize = 20;

/// One log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileStats {
    /// Its name.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// The version of the server that wrote it.
    pub server_version: String,
    /// Whether its events have checksums.
    pub has_checksums: bool,
    /// Whether it was not closed: being written, or left by a crash.
    pub is_in_use: bool,
    /// Damaged stretches in it.
    pub damages: u64,
}

/// All logs together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Transactions that ended, DDL among them.
    pub transactions: u64,
    /// Rows inserted.
    pub rows_inserted: u64,
    /// Rows updated.
    pub rows_updated: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Bytes of the logs.
    pub bytes: u64,
    /// Events, those inside compressed transactions among them.
    pub events: u64,
    /// Statements logged as text.
    pub statements: u64,
    /// Of these, ones that change rows: how many rows, the log does not say.
    pub statement_changes: u64,
    /// Of these, DDL.
    pub ddl: u64,
    /// Transactions whose end is not in the logs.
    pub unfinished: u64,
    /// Time of the first event, in seconds since 1970.
    pub first_seconds: Option<u32>,
    /// Time of the last event, in seconds since 1970.
    pub last_seconds: Option<u32>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableStats {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Transactions that changed it.
    pub transactions: u64,
    /// Rows inserted.
    pub rows_inserted: u64,
    /// Rows updated.
    pub rows_updated: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Bytes of its rows events and table maps, as they are after unpacking a compressed transaction.
    pub bytes: u64,
    /// Rows events.
    pub events: u64,
}

impl TableStats {
    /// Rows changed.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows_inserted + self.rows_updated + self.rows_deleted
    }
}

/// A statement that changed what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ddl {
    /// Its log.
    pub file: String,
    /// Where its transaction begins, in bytes.
    pub position: u64,
    /// When, in seconds since 1970.
    pub seconds: u32,
    /// Its GTID.
    pub gtid: Option<String>,
    /// The server.
    pub server_id: u32,
    /// The connection, if logged.
    pub thread_id: Option<u32>,
    /// What it does.
    pub action: Action,
    /// The default database.
    pub database: String,
    /// The error it ended with; 0 for none.
    pub error_code: u16,
    /// The statement, shortened.
    pub statement: String,
}

/// One server that changes came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerStats {
    /// Its number.
    pub server_id: u32,
    /// Transactions.
    pub transactions: u64,
    /// Rows changed.
    pub rows: u64,
}

/// One connection that changes came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadStats {
    /// The server; none for all connections that were not told apart.
    pub server_id: Option<u32>,
    /// The connection; none for all that were not told apart.
    pub thread_id: Option<u32>,
    /// Transactions.
    pub transactions: u64,
    /// Rows changed.
    pub rows: u64,
}

/// One type of event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindStats {
    /// Its name.
    pub event: String,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All that was counted.
#[derive(Clone, Debug, Serialize)]
pub struct StatsReport {
    /// The logs.
    pub files: Vec<FileStats>,
    /// All together.
    pub total: Totals,
    /// Tables, those with the most changed rows first.
    pub tables: Vec<TableStats>,
    /// Transactions that stand out.
    #[serde(flatten)]
    pub tops: Tops,
    /// Rows changed by each transaction.
    pub rows_per_transaction: RowsPerTransaction,
    /// Changes over time.
    pub timeline: Timeline,
    /// DDL, the first thousand statements.
    pub ddl: Vec<Ddl>,
    /// Servers that changes came from, those with the most rows first.
    pub servers: Vec<ServerStats>,
    /// Connections that changes came from, those with the most rows first; the first twenty.
    pub threads: Vec<ThreadStats>,
    /// Types of events.
    pub events: Vec<KindStats>,
    /// What was passed over.
    pub damages: Damages,
}

impl Stats {
    /// The counts; `tables` is what the logs were walked with.
    #[must_use]
    pub fn report(mut self, tables: &Tables) -> StatsReport {
        self.tracker.end_log();
        let names = tables.names();
        let name = |slot: usize| names.get(slot).copied().unwrap_or(("", ""));
        let total = Totals {
            transactions: self.transactions,
            rows_inserted: self.changes.inserted,
            rows_updated: self.changes.updated,
            rows_deleted: self.changes.deleted,
            bytes: self.bytes,
            events: self.events.iter().map(|(count, _)| count).sum(),
            statements: self.statements,
            statement_changes: self.statement_changes,
            ddl: self.ddl_count,
            unfinished: self.tracker.unfinished,
            first_seconds: self.first_seconds,
            last_seconds: self.last_seconds,
        };
        let mut listed: Vec<TableStats> = self
            .tables
            .iter()
            .enumerate()
            .filter(|(_, table)| table.events > 0)
            .map(|(slot, table)| {
                let (database, name) = name(slot);
                let Changes { inserted, updated, deleted } = table.changes;
                TableStats {
                    database: database.to_owned(),
                    table: name.to_owned(),
                    transactions: table.transactions,
                    rows_inserted: inserted,
                    rows_updated: updated,
                    rows_deleted: deleted,
                    bytes: table.bytes,
                    events: table.events,
                }
            })
            .collect();
        listed.sort_by(|a, b| {
            b.rows().cmp(&a.rows()).then_with(|| (&a.database, &a.table).cmp(&(&b.database, &b.table)))
        });
        let tops = self.tops.report(&self.files, |slot| {
            let (database, table) = name(slot);
            format!("{database}.{table}")
        });
        StatsReport {
            total,
            tables: listed,
            tops,
            rows_per_transaction: self.histogram.report(),
            timeline: self.clock.report(),
            ddl: self.ddl,
            servers: servers(&self.servers),
            threads: threads(&self.threads, &self.other_threads),
            events: kinds(&self.events),
            damages: self.damages,
            files: self.files,
        }
    }
}

fn servers(shares: &std::collections::HashMap<u32, Share>) -> Vec<ServerStats> {
    let mut servers: Vec<ServerStats> = shares
        .iter()
        .map(|(server_id, share)| ServerStats {
            server_id: *server_id,
            transactions: share.transactions,
            rows: share.changes.rows(),
        })
        .collect();
    servers.sort_by_key(|server| (std::cmp::Reverse(server.rows), server.server_id));
    servers
}

fn threads(shares: &std::collections::HashMap<(u32, u32), Share>, others: &Share) -> Vec<ThreadStats> {
    let shown = |key: Option<(u32, u32)>, share: &Share| ThreadStats {
        server_id: key.map(|(server, _)| server),
        thread_id: key.map(|(_, thread)| thread),
        transactions: share.transactions,
        rows: share.changes.rows(),
    };
    let mut threads: Vec<ThreadStats> = shares.iter().map(|(key, share)| shown(Some(*key), share)).collect();
    threads.sort_by_key(|thread| (std::cmp::Reverse(thread.rows), thread.server_id, thread.thread_id));
    threads.truncate(THREADS_LISTED);
    if others.transactions > 0 {
        threads.push(shown(None, others));
    }
    threads
}

fn kinds(events: &[(u64, u64)]) -> Vec<KindStats> {
    let mut kinds: Vec<KindStats> = (0..=u8::MAX)
        .zip(events)
        .filter(|(_, (count, _))| *count > 0)
        .map(|(code, (count, bytes))| KindStats {
            event: EventKind(code).to_string(),
            count: *count,
            bytes: *bytes,
        })
        .collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
    kinds
}
