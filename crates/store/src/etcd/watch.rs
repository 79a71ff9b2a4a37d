//! A watch on the prefix in etcd. It breaks rather than stay silent: a member that does not answer, or that knows
//! less than the watcher, ends it.

use std::time::Duration;

use etcd_client::{WatchResponse, WatchStream};
use tokio::time::{Instant, sleep_until};

use super::answers::{Meaning, reason};
use crate::StoreError;

/// A running watch.
#[derive(Debug)]
pub(crate) struct EtcdWatch {
    stream: WatchStream,
    from_revision: u64,
    /// How often the member is asked for a sign of life, and how long it may take.
    beat: Duration,
    next_beat: Instant,
    is_unanswered: bool,
    broken: Option<StoreError>,
}

impl EtcdWatch {
    pub(super) fn new(stream: WatchStream, from_revision: u64, beat: Duration) -> Self {
        let next_beat = Instant::now() + beat;
        Self { stream, from_revision, beat, next_beat, is_unanswered: false, broken: None }
    }

    pub(crate) async fn changed(&mut self) -> Result<u64, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let ended = self.next_change().await;
        if let Err(error) = &ended {
            self.broken = Some(error.clone());
        }
        ended
    }

    async fn next_change(&mut self) -> Result<u64, StoreError> {
        loop {
            tokio::select! {
                // What has arrived counts before what is late: the caller may have been away for long.
                biased;
                message = self.stream.message() => {
                    let message = message.map_err(|error| lost(&reason(&error)))?;
                    let message = message.ok_or_else(|| lost("etcd ended the watch"))?;
                    if let Some(revision) = self.take(&message)? {
                        return Ok(revision);
                    }
                }
                () = sleep_until(self.next_beat) => {
                    if self.is_unanswered {
                        return Err(lost("the watch is silent"));
                    }
                    self.stream.request_progress().await.map_err(|error| lost(&reason(&error)))?;
                    self.is_unanswered = true;
                    self.next_beat = Instant::now() + self.beat;
                }
            }
        }
    }

    /// The revision of a change, if the message tells of one.
    fn take(&mut self, message: &WatchResponse) -> Result<Option<u64>, StoreError> {
        refuse_cancelled(message)?;
        let changes = message.events().iter().filter_map(|event| event.kv());
        let newest = changes.filter_map(|kv| u64::try_from(kv.mod_revision()).ok()).max();
        if newest.is_none() && self.is_unanswered {
            let known = message.header().and_then(|header| u64::try_from(header.revision()).ok());
            if known.is_some_and(|known| known < self.from_revision) {
                // Restored from an older copy, or far behind: etcd would say nothing until it gets there.
                return Err(lost("the member has not come as far as the revision that is watched from"));
            }
        }
        self.is_unanswered = false;
        Ok(newest)
    }
}

/// Turns a message that ends the watch into an error.
pub(super) fn refuse_cancelled(message: &WatchResponse) -> Result<(), StoreError> {
    if !message.canceled() {
        return Ok(());
    }
    if let Ok(oldest @ 1..) = u64::try_from(message.compact_revision()) {
        return Err(StoreError::Compacted { oldest });
    }
    let reason = message.cancel_reason();
    if let Some(Meaning::Final(error)) = Meaning::of_words(reason) {
        return Err(error);
    }
    Err(lost(if reason.is_empty() { "etcd cancelled the watch" } else { reason }))
}

fn lost(reason: &str) -> StoreError {
    StoreError::Unreachable { reason: reason.to_owned() }
}
