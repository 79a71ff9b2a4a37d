//! What the nodes share through the store: the lease, the state of the cluster, what each node reports of itself,
//! and what operators ask for.
//!
//! Types only. Each is one key of the store; how a key is written is the store's affair, when it may be written is
//! decided in this crate's other files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use flavor::{Flavor, GtidSet};
use serde::{Deserialize, Serialize};

/// Name of a node, as in the spec.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl NodeName {
    /// From text.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a term of leadership. Each claim takes the next; an action of an older one must have no effect.
pub type Epoch = u64;

/// Milliseconds of a node's own monotonic clock, suspended time included. Never compared between nodes.
pub type Millis = u64;

/// One run of a server process. What a replica acknowledged but had only in its relay log may be gone after a
/// restart, so an acker counts only in the incarnation it was listed with.
pub type Incarnation = u64;

/// The lease: who may write. Its holder rewrites it, and thereby its revision, every renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The holder.
    pub node: NodeName,
    /// Its term.
    pub epoch: Epoch,
    /// Counts renewals.
    pub beat: u64,
    /// Commits there waited for acknowledgements when it took the lease, so replicas can connect at once.
    #[serde(default)]
    pub ready: bool,
    /// The holder gave the lease up, having fenced itself before.
    pub released: Option<Release>,
}

/// A lease given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Why, as a sentence without its full stop.
    pub reason: String,
    /// The node it was given up for.
    pub to: Option<NodeName>,
}

/// What the cluster is, beyond the term of one lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Identity of the cluster: data of another one is never touched.
    pub cluster: String,
    /// The highest epoch claimed.
    pub epoch: Epoch,
    /// Grows with every decision that writes the state. A store put back within an epoch is known by it, where who may
    /// acknowledge has changed since.
    #[serde(default)]
    pub version: u64,
    /// Whose writes are the cluster's history.
    pub lineage: Lineage,
    /// When primaries were replaced without being asked to, as Unix seconds; the newest last, a day at most.
    pub failovers: Vec<u64>,
}

/// The last term in which writes were opened, and who can hold what was acknowledged in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The epoch.
    pub epoch: Epoch,
    /// Its primary.
    pub primary: NodeName,
    /// Who may acknowledge.
    pub sync: Sync,
    /// What the primary held when it opened: part of every later primary.
    pub start: GtidSet,
    /// Set when the primary closed writes in order: everything it ever acknowledged.
    pub handover: Option<GtidSet>,
}

/// Who may acknowledge a primary's commits.
///
/// A superset of the replicas that do, at every moment: a node is listed before it may acknowledge and struck
/// off only when it cannot any more and enough of the others hold all it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// The nodes, each in the incarnation it was listed with.
    pub ackers: BTreeMap<NodeName, Incarnation>,
    /// How many must acknowledge a commit.
    pub need: u32,
    /// Commits are (or may be) acknowledged by the primary alone: a failover can lose some.
    pub asynchronous: bool,
}

impl Sync {
    /// How many of the listed ackers must be examined, so that among them is one that holds any given acknowledged
    /// commit: `A - k + 1`. The rule Patroni states for its quorum commit (`patroni/quorum.py`).
    #[must_use]
    pub fn quorum(&self) -> usize {
        let need = usize::try_from(self.need).unwrap_or(usize::MAX);
        (self.ackers.len() + 1).saturating_sub(need)
    }

    /// Enough ackers are listed for commits to be acknowledged at all.
    #[must_use]
    pub fn suffices(&self) -> bool {
        self.asynchronous || self.ackers.len() >= usize::try_from(self.need).unwrap_or(usize::MAX)
    }
}

/// What a node says of itself, written every tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which run of an agent wrote it: two agents for one node are found by it.
    pub agent: String,
    /// Counts reports.
    pub beat: u64,
    /// Revision of the store this report knew.
    pub seen: u64,
    /// A host without a database, there to be asked.
    pub witness: bool,
    /// The server.
    pub server: ServerReport,
    /// The highest epoch this node has heard of, kept on its disk.
    pub epoch: Epoch,
    /// The highest [`State::version`] this node has read, kept on its disk.
    #[serde(default)]
    pub version: u64,
    /// The last epoch in which this node opened writes, kept on its disk.
    pub opened: Option<Epoch>,
    /// The lineage epoch for which this node has stopped taking changes from the primary, so that what it holds
    /// can be examined. A promise: taken back in the store before replication starts again.
    pub frozen: Option<Epoch>,
    /// What the operator allows it.
    pub tags: Tags,
    /// Long work under way, such as a reseed, in words.
    pub work: Option<String>,
}

/// What the operator allows a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Larger is promoted first; 0 never.
    pub promotion: u32,
    /// It may acknowledge commits.
    pub acks: bool,
    /// It lags on purpose, by this many seconds: never promoted, never acknowledging.
    pub delay_seconds: u32,
}

impl Default for Tags {
    fn default() -> Self {
        Self { promotion: 100, acks: true, delay_seconds: 0 }
    }
}

impl Tags {
    /// May acknowledge.
    #[must_use]
    pub const fn may_ack(&self) -> bool {
        self.acks && self.delay_seconds == 0
    }
}

/// How a server is, as its own agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No process.
    Down,
    /// A process that has not answered yet since it began.
    Starting,
    /// It answers.
    Running,
    /// A process that answered once and does not now.
    Hung,
}

/// A server, as its own agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// How it is.
    pub health: Health,
    /// Vendor and version; none while never seen running.
    pub flavor: Option<Flavor>,
    /// Which run of the process.
    pub incarnation: Incarnation,
    /// The cluster its data belongs to; none in fresh data.
    pub cluster: Option<String>,
    /// What it has executed.
    pub executed: GtidSet,
    /// What it has received and not executed yet is in here too, and what it has written to its binlog itself and not
    /// committed yet.
    pub position: GtidSet,
    /// It takes no writes from clients.
    pub read_only: bool,
    /// Where it takes changes from.
    pub following: Option<Following>,
    /// It acknowledges to its primary (semi-sync, replica side).
    pub acks: bool,
    /// It waits for acknowledgements (semi-sync, primary side): for how many.
    pub waits: Option<u32>,
    /// There is no room on the disk under its data: it can take nothing, from clients or from a primary.
    #[serde(default)]
    pub disk_full: bool,
}

impl ServerReport {
    /// A server that was never seen.
    #[must_use]
    pub fn unseen() -> Self {
        Self {
            health: Health::Down,
            flavor: None,
            incarnation: 0,
            cluster: None,
            executed: GtidSet::default(),
            position: GtidSet::default(),
            read_only: true,
            following: None,
            acks: false,
            waits: None,
            disk_full: false,
        }
    }

    /// It is known not to acknowledge. One that has not answered yet, or does not now, may: its process can be older
    /// than the agent that reports it.
    #[must_use]
    pub fn cannot_ack(&self) -> bool {
        match self.health {
            Health::Down => true,
            Health::Running => !self.acks,
            Health::Starting | Health::Hung => false,
        }
    }

    /// It runs, and all it received is executed.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.executed.contains(&self.position)
    }
}

/// A replica's connection to its primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// The node; none when its address is nobody's in the spec.
    pub node: Option<NodeName>,
    /// The epoch in which this was set up by the agent; none when the agent does not know.
    pub epoch: Option<Epoch>,
    /// The IO thread is connected.
    pub io: bool,
    /// The SQL thread runs.
    pub sql: bool,
    /// What stopped one of them; none while both run or connect.
    pub error: Option<ReplicationError>,
    /// Seconds behind, as the server tells it.
    pub lag_seconds: Option<u64>,
}

/// Why replication does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationError {
    /// The server's error number.
    pub code: u32,
    /// Its text.
    pub text: String,
    /// Starting again cannot help: the source lacks what this replica needs, or a row differs.
    pub fatal: bool,
}

/// What an operator asks for. One at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Identity, for the answer.
    pub id: String,
    /// Who asked, for the history.
    pub by: String,
    /// The epoch the asker knew: void in any other.
    pub epoch: Epoch,
    /// What.
    pub ask: Ask,
}

/// Kinds of [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Hand over in order.
    Switchover {
        /// To whom; the best one when not said.
        to: Option<NodeName>,
    },
    /// Promote although it cannot be proven that nothing is lost.
    Failover {
        /// Whom.
        to: NodeName,
    },
    /// Give a node a new copy of the data.
    Reinit {
        /// Which.
        node: NodeName,
    },
}

/// A value with the revision at which its key was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The revision.
    pub modified: u64,
}

/// Everything in the store, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The revision.
    pub revision: u64,
    /// The lease.
    pub leader: Option<Versioned<Leader>>,
    /// The state; none before the cluster is founded, or after the store was wiped.
    pub state: Option<Versioned<State>>,
    /// What the nodes report.
    pub members: BTreeMap<NodeName, Versioned<Member>>,
    /// Mainstay changes no roles.
    pub paused: bool,
    /// Nodes to be left alone.
    pub maintenance: BTreeSet<NodeName>,
    /// What an operator asks for.
    pub request: Option<Versioned<Request>>,
}
