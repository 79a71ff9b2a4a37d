//! Revisioned keys that the nodes of a cluster share: etcd, a folder on one host, or memory.
//!
//! The contract is small: a consistent read of everything ([`Store::snapshot`]), a write that happens only if named
//! keys have not changed since ([`Store::commit`]), and a wake-up call when something did ([`Store::watch`]). The
//! lease is a record kept by these means and is not known here, nor is the meaning of any key or value.
//!
//! Three promises hold for every backend:
//! - what `snapshot` returns was true at one moment between the call and the answer (linearizable), and
//! - a write whose outcome is not known is [`StoreError::Unknown`]; every other error means nothing was written, and
//! - every call ends within the request timeout; [`Watch::changed`] alone waits for as long as it is awaited.
//!
//! A store can go back in time: an operator restores an older etcd snapshot, or an older file. It is then seen as a
//! [`Snapshot::revision`] lower than one seen before. This crate reports it and does not judge it; a caller that
//! remembers revisions must compare them.

mod error;
mod etcd;
mod file;
mod memory;
mod model;
mod store;

pub use error::StoreError;
pub use etcd::{EtcdIdentity, EtcdOptions, EtcdTls, EtcdUser};
pub use memory::{Memory, MemoryFault};
pub use model::{
    COMMIT_BYTES_MAX, COMMIT_KEYS_MAX, Committed, Compare, Entry, KEY_BYTES_MAX, SNAPSHOT_BYTES_MAX,
    SNAPSHOT_KEYS_MAX, Snapshot, VALUE_BYTES_MAX, Write,
};
pub use store::{REQUEST_TIMEOUT, Store, Watch};
