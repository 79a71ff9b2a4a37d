//! What runs say in the end: a JSON line for one run, a table for several.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::acks::percentile;
use crate::fault::Fault;
use crate::run::{Outcome, Outcomes};

/// The summary of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Kind of cluster.
    pub cluster: String,
    /// Whose server.
    pub server: String,
    /// How many faults.
    pub faults: usize,
    /// Acknowledged writes.
    pub acked: usize,
    /// Acknowledged writes that were lost.
    pub lost: usize,
    /// Writes acknowledged by a server that another had replaced.
    pub dual_writers: usize,
    /// Faults after which no writes went on.
    pub not_restored: usize,
    /// Faults that should not have moved the writer and did.
    pub false_failovers: usize,
    /// Longest time without an acknowledged write, over all faults, in milliseconds.
    pub unavailable_ms: Unavailable,
    /// The same by kind of fault.
    pub by_fault: BTreeMap<Fault, Spread>,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Unavailable {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Worst.
    pub max: u64,
}

/// A distribution of few values in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Best.
    pub min: u64,
    /// Worst.
    pub max: u64,
    /// How many.
    pub n: usize,
}

impl Report {
    /// Sums a run up.
    #[must_use]
    pub fn of(cluster: &str, server: &str, outcomes: &Outcomes) -> Self {
        let mut all: Vec<u64> = outcomes.faults.iter().map(|outcome| outcome.outage_ms).collect();
        all.sort_unstable();
        let at = |percent| percentile(&all, percent).unwrap_or_default();
        let count = |is: fn(&&Outcome) -> bool| outcomes.faults.iter().filter(is).count();
        Self {
            cluster: cluster.to_owned(),
            server: server.to_owned(),
            faults: outcomes.faults.len(),
            acked: outcomes.acked,
            lost: outcomes.lost,
            dual_writers: outcomes.dual_writers,
            not_restored: count(|outcome| !outcome.restored),
            false_failovers: count(|outcome| outcome.moved_falsely),
            unavailable_ms: Unavailable { p50: at(50), p99: at(99), max: at(100) },
            by_fault: by_fault(&outcomes.faults),
        }
    }

    /// Nothing was lost, nobody wrote who should not have, and service came back every time.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.lost == 0 && self.dual_writers == 0 && self.not_restored == 0 && self.false_failovers == 0
    }
}

/// One row for each report, one column for each fault: median (best-worst) in milliseconds, as Markdown.
#[must_use]
pub fn table(reports: &[Report], faults: &[Fault]) -> String {
    let mut text = String::from("| cluster |");
    for fault in faults {
        // Writing to a String does not fail.
        let _ = write!(text, " {} |", fault.name());
    }
    text.push_str(" acknowledged | lost | by a replaced writer |\n|---|");
    text.push_str(&"---|".repeat(faults.len() + 3));
    text.push('\n');
    for report in reports {
        let _ = write!(text, "| {} |", report.cluster);
        for fault in faults {
            let cell = report.by_fault.get(fault).map_or_else(
                || "-".to_owned(),
                |spread| format!("{} ({}-{})", spread.p50, spread.min, spread.max),
            );
            let _ = write!(text, " {cell} |");
        }
        let _ = writeln!(text, " {} | {} | {} |", report.acked, report.lost, report.dual_writers);
    }
    text
}

fn by_fault(outcomes: &[Outcome]) -> BTreeMap<Fault, Spread> {
    let mut values: BTreeMap<Fault, Vec<u64>> = BTreeMap::new();
    for outcome in outcomes {
        values.entry(outcome.fault).or_default().push(outcome.outage_ms);
    }
    values.into_iter().map(|(fault, values)| (fault, spread(values))).collect()
}

fn spread(mut values: Vec<u64>) -> Spread {
    values.sort_unstable();
    let at = |percent| percentile(&values, percent).unwrap_or_default();
    Spread { p50: at(50), p99: at(99), min: at(0), max: at(100), n: values.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lost: usize) -> Report {
        Report {
            cluster: "galera".to_owned(),
            server: "mariadb".to_owned(),
            faults: 1,
            acked: 5,
            lost,
            dual_writers: 0,
            not_restored: 0,
            false_failovers: 0,
            unavailable_ms: Unavailable::default(),
            by_fault: BTreeMap::from([(Fault::Kill, spread(vec![30, 10, 20]))]),
        }
    }

    #[test]
    fn a_table_has_a_cell_for_each_fault() {
        let text = table(&[report(0)], &[Fault::Kill, Fault::Cut]);
        assert!(text.ends_with("| galera | 20 (10-30) | - | 5 | 0 | 0 |\n"), "{text}");
    }

    #[test]
    fn a_lost_write_is_not_good() {
        assert!(report(0).is_good());
        assert!(!report(1).is_good());
    }

    #[test]
    fn the_line_names_faults_as_the_command_line_does() {
        let line = serde_json::to_string(&report(0)).unwrap();
        assert!(
            line.contains(r#""by_fault":{"kill":{"p50":20,"p99":30,"min":10,"max":30,"n":3}}"#),
            "{line}"
        );
        for fault in Fault::ALL {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
        }
    }
}
