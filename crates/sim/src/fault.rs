//! What can go wrong in a run, and how a run's faults are drawn. What each does to the world is in `inject`.

use std::fmt;

use crate::random::Random;
use crate::scenario::{Config, FAULTS_FROM, MARGIN, TTL};

/// Putting back a copy of the store takes longer than a lease by the slowest clock.
const RESTORE_MS_MIN: u64 = TTL + MARGIN;

/// A place that others can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A database node or, after the last of them, the witness.
    Node(usize),
    /// The store.
    Store,
    /// The clients and their proxy.
    Clients,
}

/// Something that goes wrong, or that an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL of the server.
    KillServer(usize),
    /// The server dies at once in its next starts, this often.
    BadStarts(usize, u8),
    /// SIGKILL of the agent, started again at the end.
    CrashAgent(usize),
    /// SIGSTOP of the agent.
    PauseAgent(usize),
    /// Power off, and on at the end with what the disk held this many milliseconds before; only for the primary, whose
    /// host is put back to a snapshot.
    Rollback(usize, u64),
    /// Data of another cluster is there instead, until a person takes it away.
    ForeignData(usize),
    /// SIGSTOP of the server.
    StopServer(usize),
    /// The whole host stands still, its clock does not.
    PauseHost(usize),
    /// Power off, and on at the end.
    PowerLoss(usize),
    /// Power off of every node, and on at the end.
    PowerLossAll,
    /// Nothing gets from one place to the other.
    Cut(Site, Site),
    /// Nothing gets to a place or from it.
    Isolate(Site),
    /// The store answers nobody.
    StoreDown,
    /// The store answers late.
    StoreSlow,
    /// The store forgets everything.
    StoreWipe,
    /// The store ends, and is afterwards as it was this many milliseconds before its end. It is away for longer than a
    /// lease: whoever puts back a copy stops all members of the store first.
    StoreRestore(u64),
    /// The next commits of this node to the store: made or not, the answer is lost.
    Unknown(usize, u8),
    /// No write to the data directory's disk ends.
    StallDisk(usize),
    /// Commits end late after their acknowledgement, changes are applied late.
    SlowServer(usize),
    /// Replication stops with an error that starting again does not help.
    BreakReplication(usize),
    /// The wall clock jumps by this many hours.
    WallJump(usize, i64),
    /// An operator asks to hand over, to a node or the best one.
    Switchover(Option<usize>),
    /// An operator decides to promote a node.
    Failover(usize),
    /// An operator wants a node to have a new copy.
    Reinit(usize),
    /// An operator pauses automation.
    Pause,
    /// An operator wants a node left alone.
    Maintenance(usize),
}

/// One [`Kind`] at a time, for a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, in true milliseconds.
    pub at: u64,
    /// How long it lasts, where it lasts.
    pub ms: u64,
    /// What.
    pub kind: Kind,
}

impl Fault {
    /// One fault.
    #[must_use]
    pub const fn new(at: u64, ms: u64, kind: Kind) -> Self {
        Self { at, ms, kind }
    }

    /// When it is over.
    pub(crate) fn end(&self) -> u64 {
        let least = if matches!(self.kind, Kind::StoreRestore(_)) { RESTORE_MS_MIN } else { 0 };
        self.at + self.ms.max(least)
    }
}

impl fmt::Debug for Fault {
    /// As it is written in a test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = format!("{:?}", self.kind).replace("Node(", "Site::Node(");
        let kind = kind.replace("Clients", "Site::Clients");
        let kind = kind.replace(", Store)", ", Site::Store)").replace("(Store", "(Site::Store");
        write!(f, "Fault::new({}, {}, Kind::{kind})", self.at, self.ms)
    }
}

pub(crate) fn draw(random: &mut Random, nodes: usize, config: &Config) -> Vec<Fault> {
    let most = u64::try_from(config.faults_max).unwrap_or(8);
    let count = random.between(1, most + 1);
    let mut faults = Vec::new();
    // Half of the runs have their faults close together, where they meet.
    let window = if random.chance(50) { config.fault_ms } else { config.fault_ms / 4 };
    for _ in 0..count {
        let at = FAULTS_FROM + random.between(0, window);
        let ms = match random.between(0, 4) {
            0 => random.between(20, 700),
            1 => random.between(500, 3_000),
            2 => random.between(2_500, 5_000),
            _ => random.between(3_000, 10_000),
        };
        faults.push(Fault { at, ms, kind: kind(random, nodes) });
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn kind(random: &mut Random, nodes: usize) -> Kind {
    let node = random.index(nodes);
    match random.between(0, 100) {
        0..10 => Kind::KillServer(node),
        10..16 => Kind::CrashAgent(node),
        16..22 => Kind::PauseAgent(node),
        22..27 => Kind::StopServer(node),
        27..34 => Kind::PauseHost(node),
        34..39 => Kind::PowerLoss(node),
        39 => Kind::ForeignData(node),
        40 => Kind::Rollback(node, random.between(200, 12_000)),
        41 => Kind::PowerLossAll,
        42..51 => Kind::Cut(site(random, nodes), site(random, nodes)),
        51..60 => Kind::Isolate(site(random, nodes)),
        60..63 => Kind::StoreDown,
        63..65 => Kind::StoreSlow,
        65 => Kind::StoreWipe,
        66 => Kind::StoreRestore(random.between(100, 12_000)),
        67..70 => Kind::Unknown(node, u8::try_from(random.between(1, 5)).unwrap_or(1)),
        70..73 => Kind::StallDisk(node),
        73..77 => Kind::SlowServer(node),
        77..79 => Kind::BreakReplication(node),
        79 => Kind::WallJump(node, i64::try_from(random.between(0, 50)).unwrap_or(0) - 25),
        80..87 => Kind::Switchover(random.chance(70).then_some(node)),
        87..90 => Kind::Failover(node),
        90..92 => Kind::Reinit(node),
        92..94 => Kind::Pause,
        94..97 => Kind::Maintenance(node),
        _ => Kind::BadStarts(node, u8::try_from(random.between(1, 5)).unwrap_or(1)),
    }
}

fn site(random: &mut Random, nodes: usize) -> Site {
    match random.between(0, 10) {
        0..7 => Site::Node(random.index(nodes)),
        7..9 => Site::Store,
        _ => Site::Clients,
    }
}
