//! The keys of the store and what is in them: from entries to [`Shared`] and back. Decides nothing.

use ha::{Leader, Member, NodeName, Request, Shared, State, Versioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Entry, Snapshot, Write};

/// The lease.
pub(crate) const LEADER: &str = "leader";
/// The state.
pub(crate) const STATE: &str = "state";
/// Present while paused.
pub(crate) const PAUSE: &str = "pause";
/// What an operator asks for.
pub(crate) const REQUEST: &str = "request";
/// The answer to the last request.
pub(crate) const ANSWER: &str = "answer";
const MEMBERS: &str = "members/";
const MAINTENANCE: &str = "maintenance/";
const HISTORY: &str = "history/";

/// The key of a node's report.
pub(crate) fn member(node: &NodeName) -> String {
    format!("{MEMBERS}{node}")
}

/// The key that says that a node is in maintenance.
pub(crate) fn maintenance(node: &NodeName) -> String {
    format!("{MAINTENANCE}{node}")
}

/// The key of an epoch's history.
pub(crate) fn history(epoch: u64) -> String {
    format!("{HISTORY}{epoch:010}")
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Identity of the request.
    pub id: String,
    /// It was done.
    pub done: bool,
    /// In words.
    pub text: String,
}

/// What became of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The epoch.
    pub epoch: u64,
    /// When its lease was taken.
    pub at: jiff::Timestamp,
    /// Its primary.
    pub primary: String,
    /// The primary before it.
    pub before: String,
    /// Why it was taken.
    pub reason: String,
    /// Reports that were examined.
    pub examined: Vec<String>,
    /// What the new primary held.
    pub position: String,
    /// GTIDs known to be lost; empty when none can be.
    pub lost: String,
}

/// A key whose content is not what this version writes.
#[derive(Debug, thiserror::Error)]
#[error("the key `{key}` of the store does not hold what it should: {source}")]
pub struct KeyError {
    key: String,
    source: serde_json::Error,
}

fn decode<T: DeserializeOwned>(key: &str, entry: &Entry) -> Result<T, KeyError> {
    serde_json::from_slice(&entry.value).map_err(|source| KeyError { key: key.to_owned(), source })
}

fn versioned<T: DeserializeOwned>(snapshot: &Snapshot, key: &str) -> Result<Option<Versioned<T>>, KeyError> {
    let Some(entry) = snapshot.entries.get(key) else { return Ok(None) };
    Ok(Some(Versioned { value: decode(key, entry)?, modified: entry.modified }))
}

/// Everything in the store.
///
/// # Errors
/// A key holds something else than it should: nothing is decided on part of what is there.
pub(crate) fn read(snapshot: &Snapshot) -> Result<Shared, KeyError> {
    let mut shared = Shared {
        revision: snapshot.revision,
        leader: versioned::<Leader>(snapshot, LEADER)?,
        state: versioned::<State>(snapshot, STATE)?,
        paused: snapshot.entries.contains_key(PAUSE),
        request: versioned::<Request>(snapshot, REQUEST)?,
        ..Shared::default()
    };
    for (key, entry) in &snapshot.entries {
        if let Some(name) = key.strip_prefix(MEMBERS) {
            let value: Member = decode(key, entry)?;
            shared.members.insert(NodeName::new(name), Versioned { value, modified: entry.modified });
        } else if let Some(name) = key.strip_prefix(MAINTENANCE) {
            shared.maintenance.insert(NodeName::new(name));
        }
    }
    Ok(shared)
}

/// The history, oldest first.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_history(snapshot: &Snapshot) -> Result<Vec<HistoryEntry>, KeyError> {
    let entries = snapshot.entries.iter().filter(|(key, _)| key.starts_with(HISTORY));
    entries.map(|(key, entry)| decode(key, entry)).collect()
}

/// The answer to the last request, if there is one.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_answer(snapshot: &Snapshot) -> Result<Option<Answer>, KeyError> {
    Ok(versioned::<Answer>(snapshot, ANSWER)?.map(|answer| answer.value))
}

/// A write of a value.
///
/// # Errors
/// The value cannot be written as JSON.
pub(crate) fn put<T: Serialize>(key: impl Into<String>, value: &T) -> Result<Write, KeyError> {
    let key = key.into();
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(Write::Put(key, bytes)),
        Err(source) => Err(KeyError { key, source }),
    }
}
