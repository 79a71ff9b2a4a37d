//! What a log changed, counted: tables, transactions, time, servers, connections, DDL.
//!
//! Rows are counted by their lengths, without decoding values, and memory does not grow with the log.

mod histogram;
mod part;
mod report;
mod timeline;
mod top;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

use crate::frames::Damages;
use crate::kind::EventKind;
use crate::rows::{Verb, is_rows};
use crate::statement::{self, Action};
use crate::transaction::{Step, Tracker, Transaction, shortened};
use crate::walk::{Item, Used, Walked};

pub use histogram::RowsPerTransaction;
pub use part::Part;
pub use report::{Ddl, FileStats, KindStats, ServerStats, StatsReport, TableStats, ThreadStats, Totals};
pub use timeline::{Bucket, Timeline};
pub use top::{TopTransaction, Tops};

use histogram::Histogram;
use timeline::Clock;

/// DDL statements listed; more are counted.
const DDL_MAX: usize = 1000;
/// Connections told apart; more are counted together.
const THREADS_MAX: usize = 1 << 16;
/// Letters of a statement that are kept.
const STATEMENT_LETTERS: usize = 300;

/// What to keep of a log.
#[derive(Clone, Copy, Debug)]
pub struct StatsOptions {
    /// How many of the largest and of the longest transactions.
    pub top: usize,
    /// Width of the timeline's steps, in seconds; doubled while there would be too many.
    pub step_seconds: u32,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self { top: 10, step_seconds: 60 }
    }
}

/// Rows by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
}

impl Changes {
    const fn absorb(&mut self, other: &Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }

    const fn add(&mut self, verb: Verb, rows: u64) {
        match verb {
            Verb::Insert => self.inserted += rows,
            Verb::Update => self.updated += rows,
            Verb::Delete => self.deleted += rows,
        }
    }

    pub(crate) const fn rows(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }
}

#[derive(Debug, Default)]
struct PerTable {
    changes: Changes,
    bytes: u64,
    events: u64,
    transactions: u64,
    /// The last transaction that was counted here.
    seen_in: u64,
}

/// What the running transaction did so far.
#[derive(Debug, Default)]
struct Running {
    /// Counts up, from 1 with the first rows on.
    number: u64,
    changes: Changes,
    bytes: u64,
    tables: Vec<usize>,
    statement: Vec<u8>,
}

#[derive(Debug, Default)]
struct Share {
    transactions: u64,
    changes: Changes,
}

/// Counts events as they come.
#[derive(Debug)]
pub struct Stats {
    options: StatsOptions,
    files: Vec<FileStats>,
    tracker: Tracker,
    tables: Vec<PerTable>,
    running: Running,
    transactions: u64,
    statements: u64,
    statement_changes: u64,
    changes: Changes,
    bytes: u64,
    ddl_count: u64,
    ddl: Vec<Ddl>,
    events: Vec<(u64, u64)>,
    servers: HashMap<u32, Share>,
    threads: HashMap<(u32, u32), Share>,
    other_threads: Share,
    histogram: Histogram,
    clock: Clock,
    tops: top::Keeper,
    first_seconds: Option<u32>,
    last_seconds: Option<u32>,
    damages: Damages,
}

impl Stats {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(options: StatsOptions) -> Self {
        Self {
            options,
            files: Vec::new(),
            tracker: Tracker::default(),
            tables: Vec::new(),
            running: Running { number: 1, ..Running::default() },
            transactions: 0,
            statements: 0,
            statement_changes: 0,
            changes: Changes::default(),
            bytes: 0,
            ddl_count: 0,
            ddl: Vec::new(),
            events: vec![(0, 0); 256],
            servers: HashMap::new(),
            threads: HashMap::new(),
            other_threads: Share::default(),
            histogram: Histogram::default(),
            clock: Clock::new(options.step_seconds),
            tops: top::Keeper::new(options.top),
            first_seconds: None,
            last_seconds: None,
            damages: Damages::default(),
        }
    }

    /// The next events are of this log.
    pub fn begin_log(&mut self, name: &str) {
        self.files.push(FileStats { file: name.to_owned(), ..FileStats::default() });
    }

    /// The log that was begun has been read.
    pub fn end_log(&mut self, walked: Walked) {
        self.bytes += walked.bytes;
        if let Some(file) = self.files.last_mut() {
            file.bytes = walked.bytes;
            file.server_version = walked.format.server_version.clone();
            file.has_checksums = walked.format.has_checksums;
            file.is_in_use = walked.format.is_in_use;
            file.damages = walked.damages.count;
        }
        self.damages.absorb(walked.damages);
    }

    /// Counts an event.
    ///
    /// # Errors
    /// When its content is not what its type says.
    #[inline]
    pub fn see(&mut self, item: &Item<'_>) -> Used {
        self.count_event(item);
        let bytes = u64::from(item.header.event_bytes);
        match item.header.kind {
            // Nearly all events are of these two kinds: they take the short way past the steps of a transaction.
            EventKind::TABLE_MAP => {
                self.tracker.touch(item);
                if let Some(table) = item.table_map() {
                    self.table(table.slot).bytes += bytes;
                    self.running.bytes += bytes;
                }
                return Ok(ControlFlow::Continue(()));
            }
            kind if is_rows(kind) => {
                self.tracker.touch(item);
                if let Some((rows, table)) = item.rows()? {
                    let count = rows.count(table)?;
                    self.count_rows(rows.verb, table.slot, count, bytes);
                }
                return Ok(ControlFlow::Continue(()));
            }
            // Its events are counted.
            EventKind::TRANSACTION_PAYLOAD => return Ok(ControlFlow::Continue(())),
            _ => {}
        }
        let (step, ends) = self.tracker.see(item)?;
        match step {
            Step::Begins => self.running.clear(),
            Step::RowsStatement(text) => self.running.keep_statement(text),
            Step::Statement(query) => {
                self.running.keep_statement(&query.statement);
                self.count_statement(
                    item,
                    &query.text(),
                    &String::from_utf8_lossy(&query.database),
                    query.error_code,
                );
            }
            // Rows have been counted above.
            Step::Rows(..) | Step::Outside | Step::Inside => {}
        }
        if ends && let Some(transaction) = self.tracker.take() {
            self.count_transaction(&transaction);
        }
        Ok(ControlFlow::Continue(()))
    }

    #[inline]
    fn count_event(&mut self, item: &Item<'_>) {
        let header = &item.header;
        if let Some((events, bytes)) = self.events.get_mut(usize::from(header.kind.0)) {
            *events += 1;
            *bytes += u64::from(header.event_bytes);
        }
        let seconds = header.timestamp_seconds;
        if seconds != 0 && !header.is_artificial() {
            self.first_seconds = Some(self.first_seconds.map_or(seconds, |first| first.min(seconds)));
            self.last_seconds = Some(self.last_seconds.map_or(seconds, |last| last.max(seconds)));
        }
    }

    #[inline]
    fn table(&mut self, slot: usize) -> &mut PerTable {
        if slot >= self.tables.len() {
            self.tables.resize_with(slot + 1, PerTable::default);
        }
        #[expect(clippy::indexing_slicing, reason = "it was just made long enough")]
        &mut self.tables[slot]
    }

    #[inline]
    fn count_rows(&mut self, verb: Verb, slot: usize, rows: u64, bytes: u64) {
        let transaction = self.running.number;
        let table = self.table(slot);
        table.changes.add(verb, rows);
        table.bytes += bytes;
        table.events += 1;
        let is_first = table.seen_in != transaction;
        if is_first {
            table.seen_in = transaction;
            table.transactions += 1;
        }
        self.changes.add(verb, rows);
        self.running.changes.add(verb, rows);
        self.running.bytes += bytes;
        if is_first {
            self.running.tables.push(slot);
        }
    }

    fn count_statement(&mut self, item: &Item<'_>, text: &str, database: &str, error_code: u16) {
        self.statements += 1;
        let effect = statement::effect(text, database);
        let is_ddl = effect.action.is_ddl() || self.tracker.current().is_some_and(|it| it.is_ddl);
        if !is_ddl {
            let is_change =
                matches!(effect.action, Action::Insert | Action::Update | Action::Delete | Action::Load);
            self.statement_changes += u64::from(is_change);
            return;
        }
        self.ddl_count += 1;
        if self.ddl.len() >= DDL_MAX {
            return;
        }
        let current = self.tracker.current();
        self.ddl.push(Ddl {
            file: self.files.last().map(|file| file.file.clone()).unwrap_or_default(),
            position: current.map_or(item.offset, |current| current.offset),
            seconds: item.header.timestamp_seconds,
            gtid: current.and_then(|current| current.gtid.as_ref()).map(ToString::to_string),
            server_id: item.header.server_id,
            thread_id: current.and_then(|current| current.thread_id),
            action: effect.action,
            database: database.to_owned(),
            error_code,
            statement: shortened(text.as_bytes(), STATEMENT_LETTERS),
        });
    }

    #[inline]
    fn count_transaction(&mut self, transaction: &Transaction) {
        self.transactions += 1;
        let rows = self.running.changes.rows();
        self.histogram.add(rows);
        self.clock.add(transaction.last_seconds, rows, self.running.bytes);
        let share = self.servers.entry(transaction.server_id).or_default();
        share.add(&self.running.changes);
        if let Some(thread) = transaction.thread_id {
            let key = (transaction.server_id, thread);
            let is_full = self.threads.len() >= THREADS_MAX;
            match self.threads.entry(key) {
                Entry::Occupied(mut share) => share.get_mut().add(&self.running.changes),
                Entry::Vacant(_) if is_full => self.other_threads.add(&self.running.changes),
                Entry::Vacant(place) => place.insert(Share::default()).add(&self.running.changes),
            }
        }
        let file = self.files.len().saturating_sub(1);
        self.tops.offer(transaction, &self.running, file);
        self.running.clear();
    }
}

impl Share {
    const fn add(&mut self, changes: &Changes) {
        self.transactions += 1;
        self.changes.absorb(changes);
    }

    const fn absorb(&mut self, other: &Self) {
        self.transactions += other.transactions;
        self.changes.absorb(&other.changes);
    }
}

impl Running {
    fn clear(&mut self) {
        self.number += 1;
        self.changes = Changes::default();
        self.bytes = 0;
        self.tables.clear();
        self.statement.clear();
    }

    /// The first statement stands for the transaction.
    #[inline]
    fn keep_statement(&mut self, text: &[u8]) {
        if self.statement.is_empty() {
            let kept = text.get(..STATEMENT_LETTERS * 4).unwrap_or(text);
            self.statement.extend_from_slice(kept);
        }
    }
}
