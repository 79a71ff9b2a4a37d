//! A whole comparison: which tables, each on each target, and what came of it.

use std::collections::BTreeMap;
use std::time::Instant;

use flavor::Capability;
use futures_util::future::try_join;

use crate::error::ChecksumError;
use crate::exact;
use crate::node::{Login, Node};
use crate::pair::{Both, Pair};
use crate::piece::Pace;
use crate::repair::Repairs;
use crate::report::{Method, Report, TableReport, Verdict, Way};
use crate::settle::Settling;
use crate::sum::Sums;
use crate::table::{Shape, Table, TableName};
use crate::{Observer, Options, Progress, Stage};

/// Compares the targets' tables with the source's, one target after the other.
///
/// # Errors
/// When a server cannot be reached, a target does not follow, or no table is seen. What concerns one table alone is in
/// its report.
pub async fn compare(
    source: &Login,
    targets: &[Login],
    options: &Options,
    observer: &dyn Observer,
) -> Result<Report, ChecksumError> {
    let began = Instant::now();
    let mut tables = Vec::new();
    for target in targets {
        let (source, target) = try_join(Node::open(source), Node::open(target)).await?;
        let looks = Pace::of_bytes(options.chunk_ms);
        let mut pair = Pair { source, target, options, observer, looks };
        if options.method == Method::Exact {
            let compared = Box::pin(exact::compare(&mut pair)).await;
            tables.extend(compared?);
        } else {
            pair.follow_cluster().await?;
            pair.check()?;
            tables.extend(pair.tables().await?);
        }
        pair.source.connection.close().await;
        pair.target.connection.close().await;
    }
    Ok(Report {
        method: options.method,
        source: source.name.clone(),
        targets: targets.iter().map(|target| target.name.clone()).collect(),
        tables,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// The tables of both sides that are asked for, by their names on the source.
type Seen = BTreeMap<TableName, (Option<Table>, Option<Table>)>;

impl Pair<'_> {
    /// Positions of one vendor mean nothing to the other.
    pub(crate) fn check(&self) -> Result<(), ChecksumError> {
        let needs_positions = matches!(self.method(), Method::Optimistic | Method::Exact);
        if needs_positions && self.source.flavor().vendor != self.target.flavor().vendor {
            return Err(ChecksumError::OtherVendor {
                source_node: self.source.name.clone(),
                target_node: self.target.name.clone(),
            });
        }
        Ok(())
    }

    /// In Galera, each statement of the target waits until what the cluster had committed is applied.
    async fn follow_cluster(&mut self) -> Result<(), ChecksumError> {
        if self.method() == Method::Galera {
            self.target.run("SET SESSION wsrep_sync_wait = 1").await?;
        }
        Ok(())
    }

    /// Brings both sessions back after a table that failed: half a transaction may be left of it, and the other side's
    /// question was dropped. A snapshot that is gone cannot be had again.
    pub(crate) async fn mend(&mut self, error: ChecksumError) -> Result<ChecksumError, ChecksumError> {
        if self.method() == Method::Optimistic {
            self.source.end_transaction().await?;
        }
        let is_mended = self.source.mend().await? | self.target.mend().await?;
        if is_mended && self.method() == Method::Exact {
            return Err(error);
        }
        self.follow_cluster().await?;
        Ok(error)
    }

    /// Compares every table asked for.
    pub(crate) async fn tables(&mut self) -> Result<Vec<TableReport>, ChecksumError> {
        self.observer.progress(&Progress { target: self.target.name.clone(), ..Progress::default() });
        let (ours, theirs) = try_join(self.source.tables(), self.target.tables()).await?;
        let seen = select(ours, theirs, self.options);
        if seen.is_empty() {
            return Err(ChecksumError::NothingSeen { node: self.source.name.clone() });
        }
        let estimates = seen.values().filter_map(|(ours, _)| Some(ours.as_ref()?.rows_estimate));
        let rows_estimate = estimates.sum();
        let mut reports = Vec::with_capacity(seen.len());
        let mut rows_done = 0;
        for (name, sides) in &seen {
            let report = match sides {
                (Some(ours), Some(theirs)) => {
                    let progress = Progress {
                        table: Some(name.clone()),
                        target: self.target.name.clone(),
                        stage: Stage::Summing,
                        rows_done,
                        rows_estimate,
                    };
                    self.table(ours, theirs, &progress).await?
                }
                (Some(_), None) => {
                    self.absent(name, "the target does not have it, or its account sees it not")
                }
                (None, Some(_)) => {
                    self.absent(name, "the source does not have it, or its account sees it not")
                }
                (None, None) => TableReport::new(name, &self.target.name)
                    .with(Verdict::Failed, "neither side has it, or their accounts see it not"),
            };
            rows_done += report.rows;
            reports.push(report);
        }
        Ok(reports)
    }

    fn absent(&self, name: &TableName, note: &str) -> TableReport {
        TableReport::new(name, &self.target.name).with(Verdict::Differs, note)
    }

    async fn table(
        &mut self,
        ours: &Table,
        theirs: &Table,
        progress: &Progress,
    ) -> Result<TableReport, ChecksumError> {
        let mut report = TableReport::new(&ours.name, &self.target.name);
        if self.looks_equal(ours, theirs, progress).await? {
            (report.way, report.rows) = (Some(Way::ChecksumTable), ours.rows_estimate);
            return Ok(report);
        }
        let same_vendor = self.source.flavor().vendor == self.target.flavor().vendor;
        let shape = Shape::new(ours, theirs, same_vendor);
        report.notes.clone_from(&shape.notes);
        if shape.source.columns.is_empty() {
            return Ok(report.with(Verdict::Failed, "no column can be compared"));
        }
        match self.shaped(ours, theirs, &shape, &mut report, progress).await {
            Ok(()) => {}
            Err(error) if error.is_of_table() => {
                let error = self.mend(error).await?;
                return Ok(report.with(Verdict::Failed, with_causes(&error)));
            }
            Err(error) => return Err(error),
        }
        report.verdict = if report.differing() > 0 || shape.differs {
            Verdict::Differs
        } else if report.undecided > 0 {
            Verdict::Undecided
        } else {
            Verdict::Equal
        };
        Ok(report)
    }

    async fn shaped(
        &mut self,
        ours: &Table,
        theirs: &Table,
        shape: &Shape,
        report: &mut TableReport,
        progress: &Progress,
    ) -> Result<(), ChecksumError> {
        let goes_on =
            [&self.source, &self.target].iter().all(|node| node.flavor().can(Capability::ChecksumGoesOn));
        let both = Both {
            source: Sums::new(&shape.source, goes_on).map_err(crate::piece::PieceError::from)?,
            target: Sums::new(&shape.target, goes_on).map_err(crate::piece::PieceError::from)?,
        };
        let passed = self.pass(&both, shape.is_ordered, ours.rows_estimate, progress).await?;
        report.way = Some(Way::Pieces);
        report.rows = passed.rows;
        report.pieces = passed.pieces;
        report.looked_at_again = u64::try_from(passed.suspects.len()).unwrap_or(u64::MAX);
        if passed.suspects.is_empty() {
            return Ok(());
        }
        self.observer.progress(&Progress { stage: Stage::Settling, ..progress.clone() });
        let transactional = ours.transactional && theirs.transactional;
        let mut settling = Settling::new(&both, shape, transactional, report, Repairs::default());
        self.settle(&mut settling, passed.suspects).await
    }
}

fn with_causes(error: &ChecksumError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Pairs the tables of both sides that are asked for.
fn select(
    ours: BTreeMap<TableName, Table>,
    mut theirs: BTreeMap<TableName, Table>,
    options: &Options,
) -> Seen {
    let is_asked = |name: &TableName| {
        (options.databases.is_empty() || options.databases.contains(&name.database))
            && (options.tables.is_empty() || options.tables.contains(name))
            && !options.ignored.contains(name)
    };
    let mut seen = Seen::new();
    for (name, table) in ours.into_iter().filter(|(name, _)| is_asked(name)) {
        let renamed = options.renamed.iter().find(|(ours, _)| *ours == name);
        let other = theirs.remove(renamed.map_or(&name, |(_, theirs)| theirs));
        seen.insert(name, (Some(table), other));
    }
    let is_other_name = |name: &TableName| options.renamed.iter().any(|(_, theirs)| theirs == name);
    for (name, table) in theirs.into_iter().filter(|(name, _)| is_asked(name) && !is_other_name(name)) {
        // Under its own name it may be a source's that was paired with another one.
        seen.entry(name).or_insert((None, Some(table)));
    }
    for name in &options.tables {
        seen.entry(name.clone()).or_insert((None, None));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    #[test]
    fn tables_are_paired_by_name_and_those_of_one_side_are_seen() {
        let tables = |names: &[&str]| -> BTreeMap<TableName, Table> {
            names.iter().map(|name| (name.parse().unwrap(), table(&[("id", "int")], &["id"]))).collect()
        };
        let name = |text: &str| -> TableName { text.parse().unwrap() };
        let mut options = Options::new(Method::Static);
        options.ignored.push(name("d.skip"));
        options.renamed.push((name("d.a"), name("d.a_rewound")));
        let seen = select(
            tables(&["d.a", "d.b", "d.skip"]),
            tables(&["d.a", "d.a_rewound", "d.c", "e.x"]),
            &options,
        );
        let sides: Vec<_> = seen
            .iter()
            .map(|(name, (ours, theirs))| (name.to_string(), ours.is_some(), theirs.is_some()))
            .collect();
        assert_eq!(
            sides,
            [
                ("d.a".to_owned(), true, true),
                ("d.b".to_owned(), true, false),
                ("d.c".to_owned(), false, true),
                ("e.x".to_owned(), false, true),
            ]
        );
        options.tables = vec![name("d.b"), name("d.nowhere")];
        let seen = select(tables(&["d.a", "d.b"]), tables(&["d.b"]), &options);
        assert_eq!(seen.len(), 2);
        assert!(seen[&name("d.nowhere")].0.is_none());
    }
}
