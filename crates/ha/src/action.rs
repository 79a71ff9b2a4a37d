//! What can be done, one at a time and in order. Each may be crashed and done again; when one fails, those after it
//! are not done, and the next tick decides anew.

use serde::Serialize;

use crate::model::{Epoch, Lineage, Member, NodeName, State};

/// How a server is started. Read-only and without replication in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StartRole {
    /// Keep everything that is in the binlog: this node may yet lead.
    Keep,
    /// Another node leads in a later epoch: drop what no replica acknowledged, where the server can (MariaDB's
    /// `--init-rpl-role=SLAVE`).
    Replica,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Rewrite the lease. The right to write then lasts until the moment before it was sent, plus the lease, less
    /// the margin. A conflict means it is lost.
    Renew,
    /// Take the lease, if nothing that was examined has changed.
    Claim(Claim),
    /// Give the lease up. Only with the server's writes closed or the server dead.
    Release {
        /// Why.
        reason: String,
        /// For whom.
        to: Option<NodeName>,
    },
    /// Write the state, on condition that lease and state are as they were seen.
    Commit(State),
    /// Ask every other node to agree that the lease goes on although the store cannot be reached.
    AskFailsafe,
    /// Close writes within a short time, then give up the lease and write the position, in one step. When writes
    /// cannot be closed in time they are opened again and the request fails.
    HandOver {
        /// To whom.
        to: NodeName,
    },
    /// Take the promise of [`Member::frozen`] back in the store.
    Unfreeze,
    /// Answer the operator and remove the request.
    Answer {
        /// Identity of the request.
        id: String,
        /// It was done.
        done: bool,
        /// The answer.
        text: String,
    },
    /// Start the server.
    Start(StartRole),
    /// SIGKILL the server, and take away the address before it.
    Kill {
        /// Why.
        why: String,
    },
    /// Stop taking changes from the primary, and say so in the report ([`Member::frozen`]).
    Freeze(Epoch),
    /// Apply what was received.
    ApplyReceived,
    /// Forget the primary. Only when everything received is applied.
    Detach,
    /// Take changes from the primary of this epoch, with the whole connection written anew.
    Follow {
        /// The primary.
        primary: NodeName,
        /// Its epoch.
        epoch: Epoch,
        /// Acknowledge from the first event on: only when listed. What arrives before acknowledging begins is never
        /// acknowledged, and a commit among it waits for the next one.
        acking: bool,
    },
    /// Acknowledge to the primary, or stop.
    SetAcking(bool),
    /// Wait for this many acknowledgements without limit, or for none.
    SetWaiting(Option<u32>),
    /// Make sure that a node cannot take changes from here: lock its account, end its connection.
    Block(NodeName),
    /// Let it again.
    Unblock(NodeName),
    /// Take writes: only with time left on the lease.
    Open(Epoch),
    /// Replace the data by a copy of the donor's. What only this node has is saved first.
    Reseed {
        /// Whose copy.
        donor: NodeName,
    },
}

/// Taking the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The epoch to lead in.
    pub epoch: Epoch,
    /// Revision of the lease that is replaced; none where there is none.
    pub replaces: Option<u64>,
    /// The state to write with it: only its epoch differs from the one seen, unless the cluster is founded or
    /// a person gives up what was handed over.
    pub state: State,
    /// Revision of the state seen; none where there is none.
    pub state_seen: Option<u64>,
    /// Reports that the claim rests on, with their revisions.
    pub examined: Vec<(NodeName, u64)>,
    /// GTIDs that are known to be lost by this claim, as text; empty when none can be.
    pub lost: String,
    /// Why, for the history.
    pub reason: String,
    /// Commits here wait for acknowledgements already.
    pub ready: bool,
}

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// One sentence for a person.
    pub sentence: String,
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// What stands against doing more: a sentence each.
    pub vetoes: Vec<String>,
}

impl Decision {
    /// Nothing to do.
    #[must_use]
    pub fn rest(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), actions: Vec::new(), vetoes: Vec::new() }
    }

    /// One thing to do.
    #[must_use]
    pub fn act(sentence: impl Into<String>, action: Action) -> Self {
        Self::acts(sentence, vec![action])
    }

    /// Several things to do.
    #[must_use]
    pub fn acts(sentence: impl Into<String>, actions: Vec<Action>) -> Self {
        Self { sentence: sentence.into(), actions, vetoes: Vec::new() }
    }

    /// With what stands against more.
    #[must_use]
    pub fn with_vetoes(mut self, vetoes: Vec<String>) -> Self {
        self.vetoes = vetoes;
        self
    }
}

/// The lineage in a state, and a member's report, are what most rules read.
pub(crate) fn is_following(member: &Member, lineage: &Lineage) -> bool {
    member.server.following.as_ref().is_some_and(|following| {
        following.node.as_ref() == Some(&lineage.primary) && following.epoch == Some(lineage.epoch)
    })
}
