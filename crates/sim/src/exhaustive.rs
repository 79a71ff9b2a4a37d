//! Every sequence of a few faults from a small list, at a few distances in time: what random faults may miss.

use crate::fault::{Fault, Kind, Site};
use crate::run::{Found, play};
use crate::scenario::{Config, FAULTS_FROM, Scenario};

/// Faults follow one another after so many milliseconds.
const GAPS: [u64; 2] = [120, 2_400];
/// Each lasts so long: longer than a lease.
const LASTS: u64 = 4_200;

/// The faults of the list, on a cluster whose first primary is node 0.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::StoreDown, Kind::Switchover(None), Kind::Failover(1), Kind::CrashAgent(0)];
    for node in 0..2 {
        kinds.extend([
            Kind::KillServer(node),
            Kind::PauseHost(node),
            Kind::PowerLoss(node),
            Kind::Isolate(Site::Node(node)),
            Kind::StopServer(node),
        ]);
    }
    kinds.extend([Kind::PauseAgent(0), Kind::Cut(Site::Node(1), Site::Node(0))]);
    kinds
}

/// All sequences of one to `depth` faults.
#[must_use]
pub fn sequences(depth: usize) -> Vec<Vec<Fault>> {
    let kinds = kinds();
    let mut all: Vec<Vec<Fault>> = Vec::new();
    let mut last: Vec<Vec<Fault>> = vec![Vec::new()];
    for _ in 0..depth {
        let mut longer = Vec::new();
        for before in &last {
            let gaps: &[u64] = if before.is_empty() { &[0] } else { &GAPS };
            for gap in gaps {
                let at = before.last().map_or(FAULTS_FROM, |fault| fault.at) + gap;
                for kind in &kinds {
                    let mut sequence = before.clone();
                    sequence.push(Fault::new(at, LASTS, *kind));
                    longer.push(sequence);
                }
            }
        }
        all.extend(longer.iter().cloned());
        last = longer;
    }
    all
}

/// Runs sequences on the cluster of a seed.
#[must_use]
pub fn exhaust(seed: u64, config: &Config, sequences: &[Vec<Fault>]) -> (Found, Vec<Scenario>) {
    let base = Scenario::new(seed, config);
    let mut found = Found::default();
    let mut wrong = Vec::new();
    for faults in sequences {
        let scenario = Scenario { faults: faults.clone(), ..base.clone() };
        let (outcome, _) = play(&scenario, false);
        if outcome.violation.is_some() {
            wrong.push(scenario);
        }
        found.add(seed, outcome);
    }
    (found, wrong)
}
