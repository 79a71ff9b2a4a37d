//! The one type the rest of Mainstay sees. It checks limits, sends each call to its backend, and does nothing else.

use std::path::PathBuf;
use std::time::Duration;

use crate::StoreError;
use crate::etcd::{Etcd, EtcdOptions, EtcdWatch};
use crate::file::{FileStore, FileWatch};
use crate::memory::{Memory, MemoryWatch};
use crate::model::{Committed, Compare, Snapshot, Write, check_commit};

/// How long a request may take unless told otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Revisioned keys under one prefix. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    request_timeout: Duration,
}

#[derive(Clone, Debug)]
enum Backend {
    Etcd(Etcd),
    File(FileStore),
    Memory(Memory),
}

impl Store {
    /// An etcd cluster, version 3.4 or later. Connects when first used, inside a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Config`]: no endpoint, one that is not a URL, a bad prefix, TLS settings that do not fit.
    pub fn etcd(options: EtcdOptions) -> Result<Self, StoreError> {
        Ok(Self::with_backend(Backend::Etcd(Etcd::new(options)?)))
    }

    /// A folder on this host, shared by its processes. The first commit creates it, readable by its owner only.
    /// For one host only: it is not safe on a network file system.
    pub fn file(folder: impl Into<PathBuf>) -> Self {
        Self::with_backend(Backend::File(FileStore::new(folder.into())))
    }

    /// A store in memory, for tests. [`Memory::store`] gives one whose faults can be switched.
    #[must_use]
    pub fn memory() -> Self {
        Memory::new().store()
    }

    pub(crate) fn from_memory(memory: Memory) -> Self {
        Self::with_backend(Backend::Memory(memory))
    }

    fn with_backend(backend: Backend) -> Self {
        Self { backend, request_timeout: REQUEST_TIMEOUT }
    }

    /// The same store with another limit on how long each request may take.
    #[must_use]
    pub fn with_request_timeout(mut self, request_timeout: Duration) -> Self {
        self.request_timeout = request_timeout;
        self
    }

    /// How long each request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Reads everything under the prefix, as it was at one moment between the call and the answer.
    ///
    /// # Errors
    /// [`StoreError`], but never [`StoreError::Unknown`].
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let snapshot = match &self.backend {
            Backend::Etcd(etcd) => etcd.snapshot(self.request_timeout).await?,
            Backend::File(file) => file.snapshot(self.request_timeout).await?,
            Backend::Memory(memory) => memory.snapshot(self.request_timeout).await?,
        };
        snapshot.check_size()?;
        Ok(snapshot)
    }

    /// Does all the writes if all the compares hold, and otherwise nothing. No key may be written twice.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if the writes were sent and nobody said what came of them; with any other error
    /// nothing was written. A commit without writes cannot be unknown.
    pub async fn commit(&self, compares: &[Compare], writes: &[Write]) -> Result<Committed, StoreError> {
        check_commit(compares, writes)?;
        match &self.backend {
            Backend::Etcd(etcd) => etcd.commit(compares, writes, self.request_timeout).await,
            Backend::File(file) => file.commit(compares, writes, self.request_timeout).await,
            Backend::Memory(memory) => memory.commit(compares, writes, self.request_timeout).await,
        }
    }

    /// Begins to look for changes after a revision, usually that of a snapshot, so that none falls in between.
    ///
    /// # Errors
    /// [`StoreError`], but never [`StoreError::Unknown`]; [`StoreError::Compacted`] here or from the first
    /// [`Watch::changed`] if etcd no longer keeps the changes after that revision.
    pub async fn watch(&self, from_revision: u64) -> Result<Watch, StoreError> {
        let inner = match &self.backend {
            Backend::Etcd(etcd) => {
                Inner::Etcd(Box::new(etcd.watch(from_revision, self.request_timeout).await?))
            }
            Backend::File(file) => Inner::File(file.watch(from_revision)),
            Backend::Memory(memory) => Inner::Memory(memory.watch(from_revision)?),
        };
        Ok(Watch { inner })
    }

    /// Lets etcd forget how its keys came to be as they were at `keep_from`; watches from older revisions end. Done
    /// already is not an error. The other backends keep no history and do nothing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `keep_from` is still to come; others as for [`Store::snapshot`].
    pub async fn compact(&self, keep_from: u64) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.compact(keep_from, self.request_timeout).await,
            Backend::File(_) | Backend::Memory(_) => Ok(()),
        }
    }
}

/// Wakes its owner when something under the prefix changes. It says that, not what: read a snapshot to know.
#[derive(Debug)]
pub struct Watch {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Etcd(Box<EtcdWatch>),
    File(FileWatch),
    Memory(MemoryWatch),
}

impl Watch {
    /// Waits until something changed after the revision the watch began with, or after the last call that returned.
    /// Several changes may be told as one. Gives a revision at which there was such a change.
    ///
    /// May be dropped while it waits and called again; no change is lost by that.
    ///
    /// # Errors
    /// The watch broke and stays so: read a snapshot and begin another.
    pub async fn changed(&mut self) -> Result<u64, StoreError> {
        match &mut self.inner {
            Inner::Etcd(watch) => watch.changed().await,
            Inner::File(watch) => watch.changed().await,
            Inner::Memory(watch) => watch.changed().await,
        }
    }
}
