//! The lease in this node's hands: until when it may write, and the guards that end it in time.

use ha::{Epoch, Held, Millis, Shared};
use host::fence::Guard;

use crate::config::Config;
use crate::error::AgentError;
use crate::node::Node;

/// The lease as the holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) epoch: Epoch,
    /// The right to write ends then.
    pub(crate) until: Millis,
    /// Revision of the record; none when an earlier agent wrote it.
    pub(crate) modified: Option<u64>,
    pub(crate) beat: u64,
    pub(crate) failsafe: bool,
    /// When the last renewal was sent whose outcome is not known, with its beat.
    pub(crate) sent: Option<(u64, Millis)>,
    pub(crate) renewed_at: Millis,
}

impl Holding {
    pub(crate) const fn held(&self) -> Held {
        Held { epoch: self.epoch, until: self.until, failsafe: self.failsafe }
    }
}

/// The guards of this node.
///
/// # Errors
/// Their record cannot be made.
pub(crate) fn guard(config: &Config) -> Result<Guard, AgentError> {
    Guard::open(&fence_file(config), floating(config))
        .map_err(|error| AgentError::config(error.to_string(), "the state folder has to be writable"))
}

/// The record shared with the fencer process.
pub(crate) fn fence_file(config: &Config) -> std::path::PathBuf {
    config.state_file("fence")
}

/// The address that follows the primary.
pub(crate) fn floating(config: &Config) -> Option<host::address::FloatingAddress> {
    config.ha.address.as_ref().map(|address| host::address::FloatingAddress {
        network: address.network,
        interface: address.interface.clone(),
    })
}

/// An earlier agent's lease that has not run out: the server under it still writes rightly.
pub(crate) fn resume(guard: &Guard) -> Option<Holding> {
    let armed = guard.armed()?;
    let until = Millis::try_from(armed.deadline.as_millis()).ok()?;
    (until > crate::time::now()).then_some(Holding {
        epoch: armed.epoch,
        until,
        modified: None,
        beat: 0,
        failsafe: false,
        sent: None,
        renewed_at: 0,
    })
}

impl Node {
    /// Brings what this node thinks of its lease in line with the store.
    pub(crate) fn adopt(&mut self, shared: &Shared) {
        let margin = self.config.policy.ttl - self.config.policy.margin;
        let Some(holding) = &mut self.holding else { return };
        let record = shared.leader.as_ref();
        let mine = record.filter(|leader| {
            leader.value.node == self.config.me
                && leader.value.epoch == holding.epoch
                && leader.value.released.is_none()
        });
        let Some(leader) = mine else {
            tracing::warn!(epoch = holding.epoch, "the lease in the store is another's");
            self.holding = None;
            return;
        };
        // A renewal whose answer was lost did happen.
        if let Some((beat, sent)) = holding.sent
            && beat == leader.value.beat
        {
            holding.until = holding.until.max(sent + margin);
            holding.renewed_at = sent;
            holding.sent = None;
        }
        holding.beat = leader.value.beat;
        holding.modified = Some(leader.modified);
    }

    /// The lease lasts until then: the guards wait as long.
    pub(crate) fn extend(&mut self, until: Millis) {
        self.guard.extend(std::time::Duration::from_millis(until));
    }
}
