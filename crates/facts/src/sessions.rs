//! One look at everybody on a server: sessions, their transactions, and the locks they hold and wait for.
//!
//! Times are as the server tells them, as ages: no clock of this host is in them. Who blocks whom by metadata locks is
//! not concluded here.

use serde::{Deserialize, Serialize};

use crate::Seen;

/// Everybody on a server at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// The session that looked.
    pub own_id: u64,
    /// The user it is logged in as.
    pub own_user: String,
    /// Everybody, itself included.
    pub sessions: Vec<Session>,
    /// Who waits for whose row locks.
    pub row_waits: Seen<Vec<RowWait>>,
    /// Metadata locks on objects that somebody waits for.
    pub metadata_locks: Seen<Vec<MetadataLock>>,
    /// Locks that sessions hold by GET_LOCK.
    pub user_locks: Seen<Vec<UserLock>>,
    /// Rows of the server's answers that were left out: too many, or unreadable.
    pub skipped: u64,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The server's number for it; not used again while the server runs.
    pub id: u64,
    /// User; empty for threads of the server's own.
    pub user: String,
    /// Host name or address, without a port.
    pub host: String,
    /// Its current database.
    pub db: Option<String>,
    /// What it does: `Query`, `Sleep`, `Binlog Dump` and so on.
    pub command: String,
    /// The step it is at.
    pub state: String,
    /// How long it has been doing that, in milliseconds.
    pub time_ms: u64,
    /// The statement it runs.
    pub statement: Option<String>,
    /// Whether only the beginning of the statement is here.
    pub is_cut: bool,
    /// A number that the session's next statement does not have; kept while it is idle.
    pub statement_id: Option<u64>,
    /// Its transaction.
    pub transaction: Option<Transaction>,
    /// The program it belongs to, as the client says.
    pub program: Seen<String>,
}

/// An open transaction of InnoDB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The engine's number for it and when it began, as text: another transaction has another one.
    pub id: String,
    /// How old it is, in milliseconds; where the host's time has just been set back for winter, it may seem younger.
    pub age_ms: u64,
    /// How long it has been waiting for a row lock, in milliseconds.
    pub waiting_ms: Option<u64>,
    /// Rows it has locked, about.
    pub rows_locked: u64,
    /// Rows it has changed.
    pub rows_modified: u64,
    /// It is being rolled back.
    pub is_rolling_back: bool,
}

/// One session waits for a row lock of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowWait {
    /// Who waits.
    pub waiter: u64,
    /// Who is in the way; 0 for a prepared transaction without a session.
    pub holder: u64,
}

/// A metadata lock: held, or waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataLock {
    /// Whose.
    pub session: u64,
    /// On what.
    pub object: MetadataObject,
    /// How: the server's word, such as `SHARED_READ`.
    pub mode: String,
    /// Held, or else waited for. MariaDB lists only what is held, unless its performance schema is on.
    pub is_granted: bool,
}

/// What a metadata lock is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MetadataObject {
    /// The server's word in capitals, such as `TABLE`, `SCHEMA`, `GLOBAL`.
    pub kind: String,
    /// Its database; empty where it has none.
    pub schema: String,
    /// Its name; empty where it has none.
    pub name: String,
}

/// A lock by GET_LOCK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLock {
    /// Who holds it.
    pub session: u64,
    /// Its name.
    pub name: String,
}
