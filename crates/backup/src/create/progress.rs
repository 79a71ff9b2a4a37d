//! [`Progress`]: how far a backup is, for whoever shows it. It prints nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts that the dump raises and others read.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    rows_expected: AtomicU64,
    sql_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    tables: AtomicU64,
    tables_expected: AtomicU64,
    held_back: AtomicBool,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressCounts {
    /// Rows read.
    pub rows: u64,
    /// About how many rows there are, by the server's statistics.
    pub rows_expected: u64,
    /// Bytes of statements, or of the server's files, before compression.
    pub sql_bytes: u64,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// Tables done.
    pub tables: u64,
    /// Tables in all.
    pub tables_expected: u64,
    /// Waiting for the server to recover.
    pub held_back: bool,
}

impl Progress {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> ProgressCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ProgressCounts {
            rows: read(&self.rows),
            rows_expected: read(&self.rows_expected),
            sql_bytes: read(&self.sql_bytes),
            stored_bytes: read(&self.stored_bytes),
            tables: read(&self.tables),
            tables_expected: read(&self.tables_expected),
            held_back: self.held_back.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn expect(&self, tables: u64, rows: u64) {
        self.tables_expected.store(tables, Ordering::Relaxed);
        self.rows_expected.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn read_rows(&self, rows: u64, sql_bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.sql_bytes.fetch_add(sql_bytes, Ordering::Relaxed);
    }

    pub(crate) fn stored(&self, bytes: u64) {
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn table_done(&self) {
        self.tables.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hold_back(&self, held_back: bool) {
        self.held_back.store(held_back, Ordering::Relaxed);
    }

    pub(crate) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }
}
