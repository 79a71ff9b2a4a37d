//! Running one scenario, shrinking one that violates an invariant, and telling what happened.

use std::fmt::Write as _;
use std::ops::Range;

use crate::check::Violation;
use crate::fault::Fault;
use crate::scenario::{Config, Scenario};
use crate::world::World;

/// No run lasts longer than this, in virtual milliseconds.
const END: u64 = 400_000;

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// Writes that were acknowledged.
    pub acked: u64,
    /// Acknowledged writes that were lost as announced or as an operator decided.
    pub given_up: u64,
    /// How often writes were opened.
    pub opens: u64,
    /// Virtual milliseconds.
    pub lasted_ms: u64,
    /// From the last fault until all was well.
    pub settled_ms: u64,
    /// The cluster rightly waits for a person.
    pub waits_for_person: bool,
}

/// Runs the scenario of a seed.
#[must_use]
pub fn run(seed: u64, config: &Config) -> Outcome {
    play(&Scenario::new(seed, config), false).0
}

/// Runs a seed's cluster with other faults.
#[must_use]
pub fn replay(seed: u64, config: &Config, faults: &[Fault]) -> Outcome {
    let scenario = Scenario { faults: faults.to_vec(), ..Scenario::new(seed, config) };
    play(&scenario, false).0
}

/// Runs a scenario. With `traced`, what happened comes with it, a line each.
#[must_use]
pub fn play(scenario: &Scenario, traced: bool) -> (Outcome, Vec<String>) {
    let mut world = World::new(scenario, traced);
    while world.check.violation.is_none() && !world.check.done && world.now < END && world.step() {}
    let check = &world.check;
    let outcome = Outcome {
        violation: check.violation.clone(),
        acked: check.acked,
        given_up: check.forgiven,
        opens: check.opens,
        lasted_ms: world.now,
        settled_ms: world.now.saturating_sub(check.quiet_at),
        waits_for_person: check.waits_for_person,
    };
    (outcome, world.trace.unwrap_or_default())
}

/// Fewer faults that violate the same invariant.
#[must_use]
pub fn shrink(scenario: &Scenario) -> Scenario {
    let mut best = scenario.clone();
    let Some(violation) = play(&best, false).0.violation else { return best };
    let still = |scenario: &Scenario| {
        play(scenario, false).0.violation.is_some_and(|other| other.invariant == violation.invariant)
    };
    let mut index = 0;
    while index < best.faults.len() {
        let mut fewer = best.clone();
        fewer.faults.remove(index);
        if still(&fewer) {
            best = fewer;
        } else {
            index += 1;
        }
    }
    best
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Runs.
    pub runs: u64,
    /// Writes acknowledged in them.
    pub acked: u64,
    /// Acknowledged writes given up as announced.
    pub given_up: u64,
    /// Runs that ended in waiting for a person.
    pub waiting: u64,
    /// Virtual milliseconds of all runs.
    pub virtual_ms: u64,
    /// The longest time from the last fault until all was well.
    pub settled_ms_max: u64,
    /// Seeds that violate an invariant, and which.
    pub violations: Vec<(u64, Violation)>,
}

impl Found {
    /// Adds one run.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.acked += outcome.acked;
        self.given_up += outcome.given_up;
        self.waiting += u64::from(outcome.waits_for_person);
        self.virtual_ms += outcome.lasted_ms;
        self.settled_ms_max = self.settled_ms_max.max(outcome.settled_ms);
        if let Some(violation) = outcome.violation {
            self.violations.push((seed, violation));
        }
    }

    /// Adds another search.
    pub fn join(&mut self, other: Self) {
        self.runs += other.runs;
        self.acked += other.acked;
        self.given_up += other.given_up;
        self.waiting += other.waiting;
        self.virtual_ms += other.virtual_ms;
        self.settled_ms_max = self.settled_ms_max.max(other.settled_ms_max);
        self.violations.extend(other.violations);
    }
}

/// Runs every seed of a range, one after the other; `main.rs` does it on several threads.
#[must_use]
pub fn search(seeds: Range<u64>, config: &Config) -> Found {
    let mut found = Found::default();
    for seed in seeds {
        found.add(seed, run(seed, config));
    }
    found
}

/// A violation for a person: the cluster, what happened, and a test that does it again.
#[must_use]
pub fn explain(scenario: &Scenario) -> String {
    let small = shrink(scenario);
    let (outcome, trace) = play(&small, true);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "seed {}: {:?}, {} nodes, {:?}",
        small.seed,
        small.vendor,
        small.hosts.len(),
        small.policy.durability
    );
    for host in &small.hosts {
        let _ = writeln!(
            text,
            "  {}: {:?}, clock {:+} ppm, {}",
            host.name, host.tags, host.skew_ppm, host.flavor
        );
    }
    for (at, line) in trace.iter().enumerate() {
        // Of many acknowledgements one after the other, the last says enough.
        let is_ack = |line: &String| line.contains(" acknowledges ");
        if !is_ack(line) || !trace.get(at + 1).is_some_and(is_ack) {
            let _ = writeln!(text, "{line}");
        }
    }
    if let Some(violation) = outcome.violation {
        let _ = writeln!(text, "{} at {} ms: {}", violation.invariant, violation.at, violation.text);
    }
    let _ = writeln!(text, "replay({}, &Config::default(), &[", small.seed);
    for fault in &small.faults {
        let _ = writeln!(text, "    {fault:?},");
    }
    let _ = writeln!(text, "]);");
    text
}
