//! A store in memory, with faults that can be switched, for tests and simulations in one process. Nothing is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Committed, Compare, Snapshot, Write};
use crate::{Store, StoreError};

/// What goes wrong between one [`Memory`] and its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryFault {
    /// Nothing.
    #[default]
    None,
    /// Every request fails at once with [`StoreError::Unreachable`], and watches break.
    Unreachable,
    /// Requests get lost: nothing is written, and the caller waits for the whole request timeout.
    RequestsLost,
    /// Answers get lost: writes happen, and the caller waits for the whole request timeout.
    AnswersLost,
}

/// One client of a store in memory. [`Memory::peer`] gives another one of the same data, with its own faults.
#[derive(Clone, Debug)]
pub struct Memory {
    data: Arc<Data>,
    fault: Arc<watch::Sender<MemoryFault>>,
}

#[derive(Debug)]
struct Data {
    snapshot: Mutex<Snapshot>,
    revision: watch::Sender<u64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let data = Data { snapshot: Mutex::default(), revision: watch::Sender::new(0) };
        Self { data: Arc::new(data), fault: Arc::new(watch::Sender::new(MemoryFault::None)) }
    }

    /// Another client of the same data, whose faults are its own.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self { data: Arc::clone(&self.data), fault: Arc::new(watch::Sender::new(MemoryFault::None)) }
    }

    /// The store as the rest of Mainstay sees it. It has the faults of this client.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::from_memory(self.clone())
    }

    /// Connects or cuts off this client.
    pub fn set_reachable(&self, reachable: bool) {
        self.set_fault(if reachable { MemoryFault::None } else { MemoryFault::Unreachable });
    }

    /// Lets something else go wrong from now on, or nothing.
    pub fn set_fault(&self, fault: MemoryFault) {
        self.fault.send_replace(fault);
    }

    fn fault(&self) -> MemoryFault {
        *self.fault.borrow()
    }

    fn locked(&self) -> MutexGuard<'_, Snapshot> {
        // A panic while it was held cannot leave half a change: a commit replaces the whole snapshot.
        self.data.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn snapshot(&self, timeout: Duration) -> Result<Snapshot, StoreError> {
        match self.fault() {
            MemoryFault::None => Ok(self.locked().clone()),
            MemoryFault::Unreachable => Err(unreachable()),
            MemoryFault::RequestsLost | MemoryFault::AnswersLost => {
                tokio::time::sleep(timeout).await;
                Err(StoreError::Timeout { after: timeout })
            }
        }
    }

    pub(crate) async fn commit(
        &self,
        compares: &[Compare],
        writes: &[Write],
        timeout: Duration,
    ) -> Result<Committed, StoreError> {
        match self.fault() {
            MemoryFault::None => return self.apply(compares, writes),
            MemoryFault::Unreachable => return Err(unreachable()),
            MemoryFault::RequestsLost => {}
            MemoryFault::AnswersLost => drop(self.apply(compares, writes)),
        }
        tokio::time::sleep(timeout).await;
        if writes.is_empty() {
            return Err(StoreError::Timeout { after: timeout });
        }
        // The same for both faults: who waits for an answer cannot know which of them it was.
        Err(StoreError::Unknown { reason: "no answer came".to_owned() })
    }

    fn apply(&self, compares: &[Compare], writes: &[Write]) -> Result<Committed, StoreError> {
        let mut current = self.locked();
        let mut next = current.clone();
        let committed = next.apply(compares, writes)?;
        if next.revision != current.revision {
            *current = next;
            // Told while the lock is held, so that revisions are told in order.
            self.data.revision.send_replace(current.revision);
        }
        Ok(committed)
    }

    pub(crate) fn watch(&self, from_revision: u64) -> Result<MemoryWatch, StoreError> {
        if self.fault() == MemoryFault::Unreachable {
            return Err(unreachable());
        }
        let (revision, fault) = (self.data.revision.subscribe(), self.fault.subscribe());
        Ok(MemoryWatch { revision, fault, from_revision })
    }
}

fn unreachable() -> StoreError {
    StoreError::Unreachable { reason: "this client was cut off".to_owned() }
}

/// Waits for a revision other than the last one.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    revision: watch::Receiver<u64>,
    fault: watch::Receiver<MemoryFault>,
    from_revision: u64,
}

impl MemoryWatch {
    pub(crate) async fn changed(&mut self) -> Result<u64, StoreError> {
        let from_revision = self.from_revision;
        tokio::select! {
            biased;
            cut = self.fault.wait_for(|fault| *fault == MemoryFault::Unreachable) => {
                drop(cut);
                Err(unreachable())
            }
            changed = self.revision.wait_for(|revision| *revision != from_revision) => {
                let revision = *changed.map_err(|_| unreachable())?;
                self.from_revision = revision;
                Ok(revision)
            }
        }
    }
}
