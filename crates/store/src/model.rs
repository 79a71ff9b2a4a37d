//! The words of the contract and its limits. It does no input or output.

use std::collections::{BTreeMap, BTreeSet};

use crate::StoreError;

/// Longest key, in bytes, without the prefix.
pub const KEY_BYTES_MAX: usize = 200;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Most bytes of keys and values that one commit may write. etcd takes 1.5 MiB for a whole request.
pub const COMMIT_BYTES_MAX: usize = 1 << 20;
/// Most compares, and most writes, in one commit: etcd's own default limit.
pub const COMMIT_KEYS_MAX: usize = 128;
/// Most bytes of keys and values under the prefix.
pub const SNAPSHOT_BYTES_MAX: usize = 16 << 20;
/// Most keys under the prefix.
pub const SNAPSHOT_KEYS_MAX: usize = 10_000;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were put.
    pub value: Vec<u8>,
    /// The revision at which the key came into being; a key that was deleted and put again has a new one.
    pub created: u64,
    /// The revision of the last put.
    pub modified: u64,
}

/// Everything under the prefix at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision at that moment. It grows with every commit that changes something, in etcd also with the
    /// commits of others. A lower one than seen before means that the store was restored from a copy.
    pub revision: u64,
    /// The keys, without the prefix.
    pub entries: BTreeMap<String, Entry>,
}

/// What must be true for a commit to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key was last put at exactly this revision. 0 is that of a key that does not exist.
    Modified(String, u64),
}

impl Compare {
    /// The key that is looked at.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Modified(key, _) => key,
        }
    }

    /// The revision the key must have been put at, 0 for one that must not exist.
    pub(crate) fn revision(&self) -> u64 {
        match self {
            Self::Absent(_) => 0,
            Self::Modified(_, revision) => *revision,
        }
    }
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key to the value, whether it exists or not.
    Put(String, Vec<u8>),
    /// Removes the key. One that does not exist is not an error.
    Delete(String),
}

impl Write {
    /// The key that is changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Every compare held and every write happened, all at once.
    Done {
        /// The revision all its keys now have; the store's unchanged one if there was nothing to change.
        revision: u64,
    },
    /// A compare did not hold: nothing was written.
    Conflict,
}

/// Refuses a commit that some backend could not do, so that all of them refuse the same.
pub(crate) fn check_commit(compares: &[Compare], writes: &[Write]) -> Result<(), StoreError> {
    limit("the number of compares", compares.len(), COMMIT_KEYS_MAX)?;
    limit("the number of writes", writes.len(), COMMIT_KEYS_MAX)?;
    for compare in compares {
        check_key(compare.key())?;
    }
    let mut written = BTreeSet::new();
    let mut size_bytes = 0;
    for write in writes {
        let key = write.key();
        check_key(key)?;
        if !written.insert(key) {
            return Err(StoreError::InvalidKey { key: key.to_owned(), why: "one commit writes it twice" });
        }
        size_bytes += key.len();
        if let Write::Put(_, value) = write {
            limit(&format!("the value of `{key}` in bytes"), value.len(), VALUE_BYTES_MAX)?;
            size_bytes += value.len();
        }
    }
    limit("the commit in bytes", size_bytes, COMMIT_BYTES_MAX)
}

/// Refuses a size above its limit.
pub(crate) fn limit(what: &str, size: usize, max: usize) -> Result<(), StoreError> {
    if size > max {
        return Err(StoreError::TooLarge { what: what.to_owned(), size, max });
    }
    Ok(())
}

/// Refuses what is not a key.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    let why = if key.is_empty() {
        "it is empty"
    } else if key.len() > KEY_BYTES_MAX {
        "it is longer than 200 bytes"
    } else if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte)) {
        "it has a character other than letters, digits, `_`, `.`, `-` and `/`"
    } else {
        return Ok(());
    };
    Err(StoreError::InvalidKey { key: key.chars().take(KEY_BYTES_MAX).collect(), why })
}

impl Snapshot {
    /// Refuses more than the limits. Checked after reading and before writing.
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        limit("the number of keys in the store", self.entries.len(), SNAPSHOT_KEYS_MAX)?;
        let size_bytes = self.entries.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
        limit("the store in bytes", size_bytes, SNAPSHOT_BYTES_MAX)
    }

    /// Does a commit as etcd would: all or nothing, one revision for all its keys, none if nothing changes.
    ///
    /// # Errors
    /// The result would be larger than the limits. `self` is then changed and must not be used.
    pub(crate) fn apply(&mut self, compares: &[Compare], writes: &[Write]) -> Result<Committed, StoreError> {
        let modified = |key: &str| self.entries.get(key).map_or(0, |entry| entry.modified);
        if !compares.iter().all(|compare| modified(compare.key()) == compare.revision()) {
            return Ok(Committed::Conflict);
        }
        let revision = self.revision + 1;
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    let created = self.entries.get(key).map_or(revision, |entry| entry.created);
                    let entry = Entry { value: value.clone(), created, modified: revision };
                    self.entries.insert(key.clone(), entry);
                    self.revision = revision;
                }
                Write::Delete(key) => {
                    if self.entries.remove(key).is_some() {
                        self.revision = revision;
                    }
                }
            }
        }
        self.check_size()?;
        Ok(Committed::Done { revision: self.revision })
    }
}
