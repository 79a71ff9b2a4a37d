//! How far a replay is, for whoever watches it. It has no clock: rates are the watcher's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that the replay moves on.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) bytes_total: AtomicU64,
    pub(super) bytes_read: Arc<AtomicU64>,
    pub(super) transactions: AtomicU64,
    pub(super) ddl: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Bytes of logs from the backup to the point.
    pub bytes_total: u64,
    /// Of them, read.
    pub bytes_read: u64,
    /// Transactions committed on the target.
    pub transactions: u64,
}

impl Progress {
    /// How far it is now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Standing {
            bytes_total: read(&self.bytes_total),
            bytes_read: read(&self.bytes_read),
            transactions: read(&self.transactions),
        }
    }
}
