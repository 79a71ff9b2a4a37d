//! A model of a database server: its log, semi-sync on both sides, and what it has left after it died.
//!
//! Only what one server does by itself; connections and time are in `replication`.

use std::collections::BTreeSet;

use flavor::{GtidSet, Vendor};
use ha::StartRole;

/// Index of a transaction in [`crate::world::World::transactions`].
pub(crate) type Tx = usize;

/// A transaction, whoever holds it.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// Its GTID as a set. Two transactions may have the same, which is then a fault of the cluster's.
    pub(crate) gtid: GtidSet,
    /// It and nothing before it.
    pub(crate) exact: GtidSet,
    /// Identity of the server that wrote it.
    pub(crate) source: u32,
    /// Its number there.
    pub(crate) number: u64,
    /// The epoch in which it was written.
    pub(crate) epoch: u64,
    /// When the client was told that it is done.
    pub(crate) acked_at: Option<u64>,
}

/// A set of transactions by what they are, not by their GTIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn insert(&mut self, tx: Tx) {
        let word = tx / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (tx % 64);
    }

    pub(crate) fn remove(&mut self, tx: Tx) {
        if let Some(word) = self.0.get_mut(tx / 64) {
            *word &= !(1 << (tx % 64));
        }
    }

    pub(crate) fn has(&self, tx: Tx) -> bool {
        self.0.get(tx / 64).is_some_and(|word| word & (1 << (tx % 64)) != 0)
    }

    /// What is here and not in the other.
    pub(crate) fn minus<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Tx> + 'a {
        self.0.iter().enumerate().flat_map(move |(at, word)| {
            let rest = word & !other.0.get(at).copied().unwrap_or(0);
            (0..64).filter(move |bit| rest & (1 << bit) != 0).map(move |bit| at * 64 + bit)
        })
    }

    pub(crate) fn of(items: &[Tx]) -> Self {
        let mut bits = Self::default();
        items.iter().for_each(|tx| bits.insert(*tx));
        bits
    }
}

/// A connection of a replica, as the primary has it.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    pub(crate) replica: usize,
    pub(crate) connection: u64,
    /// The replica said that it acknowledges.
    pub(crate) semi: bool,
    /// So much of the log was sent.
    pub(crate) cursor: usize,
    /// So much of the log was acknowledged.
    pub(crate) acked: usize,
    /// What the replica held when it connected.
    pub(crate) skip: GtidSet,
}

/// The IO thread of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    /// Not running, without an error.
    Off,
    /// Trying to connect.
    Connecting,
    /// Connected.
    Connected(u64),
    /// Stopped by an error that starting again does not help.
    Failed,
}

/// A server with its data.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) vendor: Vendor,
    /// Identity under which it writes.
    pub(crate) source_id: u32,
    /// It writes under no lower number than this.
    pub(crate) number_floor: u64,
    /// The process; none when it does not run.
    pub(crate) process: Option<u64>,
    /// It answers from then on.
    pub(crate) ready_at: u64,
    /// SIGSTOP.
    pub(crate) stopped: bool,
    /// The binlog.
    pub(crate) log: Vec<Tx>,
    /// So much of it is committed and visible; the rest waits for acknowledgements.
    pub(crate) committed: usize,
    /// So much of it survives a loss of power.
    pub(crate) synced: usize,
    /// Received and not executed.
    pub(crate) relay: Vec<Tx>,
    /// Everything in log and relay log.
    pub(crate) held: Bits,
    pub(crate) executed: GtidSet,
    pub(crate) position: GtidSet,
    pub(crate) blocked: BTreeSet<usize>,
    pub(crate) cluster: Option<String>,
    /// Whom it was last told to follow.
    pub(crate) source: Option<usize>,
    pub(crate) io: Io,
    pub(crate) sql: bool,
    /// Replication cannot apply what it received.
    pub(crate) broken: bool,
    pub(crate) acks: bool,
    pub(crate) waits: Option<u32>,
    pub(crate) read_only: bool,
    /// Writes are being closed: no new ones.
    pub(crate) closing: bool,
    /// The epoch in which writes were opened.
    pub(crate) open_epoch: u64,
    pub(crate) dumps: Vec<Dump>,
    /// Acknowledged up to here, to be committed in a moment.
    pub(crate) committing: usize,
    /// When the first of the waiting commits last made progress.
    pub(crate) waiting_since: Option<u64>,
}

impl Server {
    pub(crate) fn new(vendor: Vendor, source_id: u32) -> Self {
        Self {
            vendor,
            source_id,
            number_floor: 0,
            process: None,
            ready_at: 0,
            stopped: false,
            log: Vec::new(),
            committed: 0,
            synced: 0,
            relay: Vec::new(),
            held: Bits::default(),
            executed: GtidSet::default(),
            position: GtidSet::default(),
            blocked: BTreeSet::new(),
            cluster: None,
            source: None,
            io: Io::Off,
            sql: false,
            broken: false,
            acks: false,
            waits: None,
            read_only: true,
            closing: false,
            open_epoch: 0,
            dumps: Vec::new(),
            committing: 0,
            waiting_since: None,
        }
    }

    /// It runs, answers and is not stopped.
    pub(crate) const fn answers(&self, now: u64) -> bool {
        self.process.is_some() && self.ready_at <= now && !self.stopped
    }

    /// It would take a write.
    pub(crate) const fn is_open(&self, now: u64) -> bool {
        self.process.is_some() && self.ready_at <= now && !self.read_only
    }

    pub(crate) fn waiting(&self) -> usize {
        self.log.len() - self.committed
    }

    /// The number of the next transaction written here.
    pub(crate) fn next_number(&self, all: &[Transaction]) -> u64 {
        let numbers = self.log.iter().map(|tx| &all[*tx]);
        let highest = match self.vendor {
            Vendor::MySql => numbers.filter(|one| one.source == self.source_id).map(|one| one.number).max(),
            // One sequence for all servers of a domain.
            Vendor::MariaDb => numbers.map(|one| one.number).max(),
        };
        (highest.unwrap_or(0) + 1).max(self.number_floor)
    }

    /// Writes a transaction to the binlog, synced.
    pub(crate) fn append(&mut self, tx: Tx, gtid: &GtidSet) {
        self.log.push(tx);
        self.held.insert(tx);
        self.synced = self.log.len();
        self.position.extend(gtid);
        if self.vendor == Vendor::MariaDb {
            self.executed.extend(gtid);
        }
    }

    /// Commits up to there.
    pub(crate) fn commit(&mut self, upto: usize, all: &[Transaction]) {
        for index in self.committed..upto {
            if self.vendor == Vendor::MySql {
                self.executed.extend(&all[self.log[index]].gtid);
            }
        }
        self.committed = self.committed.max(upto);
    }

    pub(crate) fn receive(&mut self, tx: Tx, all: &[Transaction]) {
        self.relay.push(tx);
        self.held.insert(tx);
        self.position.extend(&all[tx].gtid);
    }

    /// Executes what was received. The newest of it is not synced.
    pub(crate) fn apply(&mut self, all: &[Transaction]) {
        self.synced = self.log.len();
        for tx in std::mem::take(&mut self.relay) {
            self.log.push(tx);
            self.executed.extend(&all[tx].gtid);
        }
        self.committed = self.log.len();
        self.committing = self.committed;
    }

    /// The process is gone; data and relay log stay.
    pub(crate) fn die(&mut self) {
        self.process = None;
        self.stopped = false;
        self.io = Io::Off;
        self.sql = false;
        self.acks = false;
        self.waits = None;
        self.read_only = true;
        self.closing = false;
        self.dumps.clear();
        self.waiting_since = None;
        self.committing = self.committed;
    }

    /// What was not synced may be gone with the power.
    pub(crate) fn lose_unsynced(&mut self, keep: usize, all: &[Transaction]) {
        let keep = keep.max(self.synced).min(self.log.len());
        self.log.truncate(keep);
        self.committed = self.committed.min(keep);
        self.recount(all);
    }

    /// A process begins on the data. Answers with the transactions that are dropped.
    pub(crate) fn start(
        &mut self,
        process: u64,
        ready_at: u64,
        role: StartRole,
        all: &[Transaction],
    ) -> Vec<Tx> {
        self.die();
        self.process = Some(process);
        self.ready_at = ready_at;
        let mut dropped = Vec::new();
        if role == StartRole::Replica && self.vendor == Vendor::MariaDb {
            dropped = self.log.split_off(self.committed);
        }
        self.committed = self.log.len();
        self.synced = self.log.len();
        self.committing = self.committed;
        // relay_log_recovery: fetched again.
        self.relay.clear();
        self.recount(all);
        dropped
    }

    /// Everything on disk is replaced by a copy.
    pub(crate) fn replace(&mut self, log: Vec<Tx>, all: &[Transaction]) {
        self.log = log;
        self.relay.clear();
        self.committed = self.log.len();
        self.committing = self.committed;
        self.synced = self.committed;
        self.source = None;
        self.broken = false;
        self.recount(all);
    }

    /// What was received and not executed is thrown away.
    pub(crate) fn drop_relay(&mut self, all: &[Transaction]) {
        if !self.relay.is_empty() {
            self.relay.clear();
            self.recount(all);
        }
    }

    fn recount(&mut self, all: &[Transaction]) {
        self.held = Bits::of(&self.log);
        self.executed = GtidSet::default();
        let visible = if self.vendor == Vendor::MariaDb { self.log.len() } else { self.committed };
        for tx in &self.log[..visible] {
            self.executed.extend(&all[*tx].gtid);
        }
        self.position = self.executed.clone();
        for tx in &self.log[visible..] {
            self.position.extend(&all[*tx].gtid);
        }
        for tx in &self.relay {
            self.held.insert(*tx);
            self.position.extend(&all[*tx].gtid);
        }
    }
}

/// A transaction's GTID and nothing before it.
pub(crate) fn exact(vendor: Vendor, source: u32, number: u64) -> GtidSet {
    match vendor {
        Vendor::MySql => gtid(vendor, source, number),
        Vendor::MariaDb => GtidSet::parse(&format!("0-{source}-{number}..{number}")).unwrap_or_default(),
    }
}

/// The GTID of a transaction as a log that holds it shows it.
pub(crate) fn gtid(vendor: Vendor, source: u32, number: u64) -> GtidSet {
    let text = match vendor {
        Vendor::MySql => format!("00000000-0000-0000-0000-{source:012}:{number}"),
        Vendor::MariaDb => format!("0-{source}-{number}"),
    };
    GtidSet::parse(&text).unwrap_or_default()
}
