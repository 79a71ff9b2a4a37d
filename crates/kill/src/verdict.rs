//! [`Verdict`]: what one look led to. Who is to be ended and why, who is spared and why, and what could not be seen.
//!
//! A statement is told by its fingerprint alone: values in it may be secrets.

use facts::Session;
use serde::Serialize;

use crate::protect::Protection;
use crate::rule::Action;

/// Whether anything is to be done at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing: what would be done is shown.
    DryRun,
    /// What is to be done.
    Kill,
}

/// What one look led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Sessions seen.
    pub sessions: usize,
    /// Sessions that wait for locks.
    pub waiters: usize,
    /// Victims, in the order in which they are to be ended.
    pub kills: Vec<Kill>,
    /// Sessions that rules mean and protection keeps.
    pub spared: Vec<Spared>,
    /// Victims beyond the limit.
    pub beyond_limit: usize,
    /// What could not be seen, and what is in the way without a session.
    pub notes: Vec<String>,
}

/// One victim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// The session's number.
    pub id: u64,
    /// Its user.
    pub user: String,
    /// Its host.
    pub host: String,
    /// Its database.
    pub db: Option<String>,
    /// What it does.
    pub command: String,
    /// The step it is at.
    pub state: String,
    /// How long it has been doing that, in milliseconds.
    pub time_ms: u64,
    /// How old its transaction is, in milliseconds.
    pub transaction_ms: Option<u64>,
    /// Rows its transaction has changed.
    pub rows_modified: Option<u64>,
    /// How many sessions wait for it.
    pub blocked: u64,
    /// The rule.
    pub rule: String,
    /// What is done to it.
    pub action: Action,
    /// Why, in words.
    pub reason: String,
    /// The fingerprint of what it runs.
    pub fingerprint: Option<String>,
    /// Its query id; none where the server showed only the statement's beginning.
    pub query_id: Option<String>,
    /// What it is told again by.
    #[serde(skip)]
    pub identity: Identity,
}

/// What a session was when it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) seen: Session,
}

impl Identity {
    /// The number of the statement it runs, where the server gives one.
    #[must_use]
    pub const fn statement_id(&self) -> Option<u64> {
        self.seen.statement_id
    }
}

/// A session that a rule means, and that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spared {
    /// The session's number.
    pub id: u64,
    /// Its user.
    pub user: String,
    /// Its host.
    pub host: String,
    /// The rule.
    pub rule: String,
    /// Why it is left alone.
    pub why: Protection,
}

impl Verdict {
    /// What is to be done: nothing at all in a dry run.
    #[must_use]
    pub fn orders(&self, mode: Mode) -> &[Kill] {
        match mode {
            Mode::DryRun => &[],
            Mode::Kill => &self.kills,
        }
    }
}
