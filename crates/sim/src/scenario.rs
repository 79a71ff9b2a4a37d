//! What one run consists of: the cluster, its clocks and the faults, all drawn from a seed. Nothing runs here.

use std::collections::BTreeSet;

use flavor::{Flavor, Vendor, Version};
use ha::{Durability, NodeName, Policy, Tags};

use crate::fault::{self, Fault};
use crate::random::Random;

/// Which runs are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Promise that is simulated; both when none is named.
    pub promise: Option<Promise>,
    /// Number of database nodes; 2 to 5 when none is named.
    pub nodes: Option<usize>,
    /// Faults begin within this many virtual milliseconds after the first write.
    pub fault_ms: u64,
    /// Largest number of faults.
    pub faults_max: usize,
    /// After the last fault the cluster has to be well again within this many virtual milliseconds.
    pub bound_ms: u64,
    /// Plants a fault in the servers: a commit waits for one acknowledgement less than it was told to.
    pub acks_early: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            promise: None,
            nodes: None,
            fault_ms: 20_000,
            faults_max: 8,
            bound_ms: 90_000,
            acks_early: false,
        }
    }
}

/// What an acknowledged write is worth in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// `durability = "lossless"`.
    Lossless,
    /// `durability = "available"`.
    Available,
}

/// A node of the simulated cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: NodeName,
    /// What the operator allows it.
    pub tags: Tags,
    /// How much faster than true time its monotonic clock goes, in parts per million.
    pub skew_ppm: i64,
    /// Its clock at the beginning.
    pub clock: u64,
    /// Its server.
    pub flavor: Flavor,
}

/// One run, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Everything random in the run comes from it.
    pub seed: u64,
    /// The database nodes.
    pub hosts: Vec<Host>,
    /// There is a host without a database too.
    pub witness: bool,
    /// Who made the servers.
    pub vendor: Vendor,
    /// The spec, as numbers.
    pub policy: Policy,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// See [`Config::bound_ms`].
    pub bound_ms: u64,
    /// See [`Config::acks_early`].
    pub acks_early: bool,
}

/// Lease, as in the spec's defaults.
pub(crate) const TTL: u64 = 3_000;
pub(crate) const MARGIN: u64 = 300;
/// The separate fencer kills this much later than the agent's own thread would have.
pub(crate) const FENCER_AFTER: u64 = 150;
/// Renewals are this far apart.
pub(crate) const RENEW: u64 = 500;
/// Agents look at least this often.
pub(crate) const TICK: u64 = 250;
/// Before it nothing goes wrong: the cluster is founded.
pub(crate) const FAULTS_FROM: u64 = 6_000;

impl Scenario {
    /// Draws a run.
    #[must_use]
    pub fn new(seed: u64, config: &Config) -> Self {
        let mut random = Random::new(seed);
        let count = config.nodes.unwrap_or_else(|| match random.between(0, 10) {
            0..3 => 2,
            3..8 => 3,
            8 => 4,
            _ => 5,
        });
        let lossless = match config.promise {
            Some(Promise::Lossless) => true,
            Some(Promise::Available) => false,
            None => random.chance(65),
        };
        let vendor = if random.chance(50) { Vendor::MySql } else { Vendor::MariaDb };
        let hosts = hosts(&mut random, count, vendor);
        let durability = if lossless {
            Durability::Lossless
        } else {
            Durability::Available { max_loss_transactions: if random.chance(50) { 0 } else { 5 } }
        };
        let need = if vendor == Vendor::MySql && count >= 4 && random.chance(40) { 2 } else { 1 };
        let policy = Policy {
            nodes: hosts.iter().map(|host| host.name.clone()).collect::<BTreeSet<_>>(),
            durability,
            ttl: TTL,
            margin: MARGIN,
            hang: 2_000,
            stall: 2_000,
            head_start: 3_000,
            patience: 1_500,
            broken: 6_000,
            need,
            failovers_per_hour: if random.chance(80) { 20 } else { 2 },
            reseed: true,
        };
        let witness = random.chance(20);
        let faults = fault::draw(&mut random, count, config);
        Self {
            seed,
            hosts,
            witness,
            vendor,
            policy,
            faults,
            bound_ms: config.bound_ms,
            acks_early: config.acks_early,
        }
    }

    pub(crate) fn is_lossless(&self) -> bool {
        self.policy.durability == Durability::Lossless
    }
}

fn hosts(random: &mut Random, count: usize, vendor: Vendor) -> Vec<Host> {
    // Two clocks may differ by the margin in a lease, less what the fencer needs.
    let skew_max = i64::try_from((MARGIN - FENCER_AFTER) * 1_000_000 / (2 * TTL)).unwrap_or(0) - 1_000;
    let special = random.between(0, 12);
    (0..count)
        .map(|index| {
            let mut tags = Tags::default();
            if count > 2 && index == count - 1 {
                match special {
                    0 => tags.promotion = 0,
                    1 => tags.acks = false,
                    2 => tags.delay_seconds = 4,
                    3 => tags.promotion = 200,
                    _ => {}
                }
            }
            let skew_ppm = match random.between(0, 3) {
                0 => -skew_max,
                1 => skew_max,
                _ => 0,
            };
            let newer = special == 4 && index == count - 1;
            Host {
                name: NodeName::new(name_of(index)),
                tags,
                skew_ppm,
                clock: random.between(10_000, 1_000_000),
                flavor: flavor(vendor, newer),
            }
        })
        .collect()
}

/// Nodes are called a, b, c, ...
pub(crate) fn name_of(index: usize) -> String {
    char::from_digit(u32::try_from(index).unwrap_or(0) + 10, 36).unwrap_or('?').to_string()
}

const fn flavor(vendor: Vendor, newer: bool) -> Flavor {
    let version = match (vendor, newer) {
        (Vendor::MySql, false) => Version { major: 8, minor: 4, patch: 3 },
        (Vendor::MySql, true) => Version { major: 9, minor: 7, patch: 0 },
        (Vendor::MariaDb, false) => Version { major: 10, minor: 11, patch: 9 },
        (Vendor::MariaDb, true) => Version { major: 11, minor: 4, patch: 4 },
    };
    Flavor { vendor, version }
}
