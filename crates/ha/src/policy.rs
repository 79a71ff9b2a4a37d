//! What the spec says about availability, as numbers. No defaults of the spec are here: they are the spec's.

use std::collections::BTreeSet;

use crate::model::{Millis, NodeName};

/// What an acknowledged write is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A write that was acknowledged is in every later primary. Without an acker, commits wait.
    Lossless,
    /// Without an acker the primary goes on alone; a failover may then lose up to a bound, and says what.
    Available {
        /// Largest number of transactions that may be lost without a person deciding.
        max_loss_transactions: u64,
    },
}

/// Everything `decide` needs to know of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The nodes that have a database.
    pub nodes: BTreeSet<NodeName>,
    /// What an acknowledged write is worth.
    pub durability: Durability,
    /// How long a lease lasts unrenewed, by everyone's own clock.
    pub ttl: Millis,
    /// How much earlier its holder stops: covers clocks that run at different speeds.
    pub margin: Millis,
    /// A server that does not answer for this long is killed.
    pub hang: Millis,
    /// Commits that get no acknowledgement for this long, while the replicas are well, mean that the primary is cut off.
    pub stall: Millis,
    /// How long others are given to take over before the old primary takes its lease back.
    pub head_start: Millis,
    /// How long the best candidate is waited for before the next one claims.
    pub patience: Millis,
    /// Replication that stays broken for this long is given a new copy.
    pub broken: Millis,
    /// How many ackers a commit waits for.
    pub need: u32,
    /// Unasked failovers in an hour; more need a person.
    pub failovers_per_hour: u32,
    /// A node that cannot rejoin by replication gets a new copy of the data.
    pub reseed: bool,
}
