//! How far a restore is, for whoever watches it. It has no clock: rates are the watcher's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that the restore moves on.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    rows_done: AtomicU64,
    tables_total: AtomicU64,
    tables_done: AtomicU64,
    phase: Mutex<&'static str>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Text of rows in all, in bytes.
    pub bytes_total: u64,
    /// Of it, loaded.
    pub bytes_done: u64,
    /// Rows loaded.
    pub rows_done: u64,
    /// Tables in all.
    pub tables_total: u64,
    /// Of them, loaded with their keys.
    pub tables_done: u64,
    /// What is being done.
    pub phase: &'static str,
}

impl Progress {
    /// How far it is now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Standing {
            bytes_total: read(&self.bytes_total),
            bytes_done: read(&self.bytes_done),
            rows_done: read(&self.rows_done),
            tables_total: read(&self.tables_total),
            tables_done: read(&self.tables_done),
            phase: self.phase.lock().map_or("", |phase| *phase),
        }
    }

    pub(crate) fn begin(&self, phase: &'static str) {
        if let Ok(mut current) = self.phase.lock() {
            *current = phase;
        }
    }

    pub(crate) fn expect(&self, bytes: u64, tables: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
        self.tables_total.store(tables, Ordering::Relaxed);
    }

    pub(crate) fn loaded(&self, bytes: u64, rows: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn table_done(&self) {
        self.tables_done.fetch_add(1, Ordering::Relaxed);
    }
}
