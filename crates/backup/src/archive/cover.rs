//! Which segments lead from one moment of a server's history to the end of the archive, and where that breaks off.
//!
//! It reads no content. Runs overlap: a transaction may be in two of them, and whoever replays them applies each GTID
//! once.

use flavor::GtidSet;

use super::catalog::{Archive, RunSegments};
use super::error::ArchiveError;
use super::segment::{LogPosition, Run, RunReason, Segment, SegmentName};

/// Where a backup stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverFrom {
    /// Everything that is in it; empty where there are no GTIDs.
    pub gtids: GtidSet,
    /// Where its server's logs stood, with the server's `server_id`.
    pub position: Option<(u32, LogPosition)>,
}

/// Segments of one log, in order.
#[derive(Clone, Debug)]
pub struct CoveredLog {
    /// The run.
    pub run: Run,
    /// The log.
    pub log: String,
    /// Its segments by name; [`Archive::segment`] gives their records.
    pub segments: Vec<SegmentName>,
}

/// What leads on from a backup.
#[derive(Clone, Debug)]
pub struct Cover {
    /// Logs, in the order in which they are to be replayed.
    pub logs: Vec<CoveredLog>,
    /// What breaks it off, if anything does: what is after is not to be reached.
    pub gap: Option<String>,
    /// Where it ends.
    pub reaches: Option<LogPosition>,
}

impl Archive {
    /// What leads on from a backup. The first log may begin before it: what is in the backup is to be passed over.
    ///
    /// # Errors
    /// If the archive begins later, or cannot be read.
    pub async fn cover(&self, from: &CoverFrom) -> Result<Cover, ArchiveError> {
        let runs = self.runs().await?;
        self.cover_in(&runs, from).await
    }

    /// The same for runs that are known.
    ///
    /// # Errors
    /// As [`Archive::cover`].
    pub async fn cover_in(&self, runs: &[RunSegments], from: &CoverFrom) -> Result<Cover, ArchiveError> {
        for (at, run) in runs.iter().enumerate().rev() {
            if let Some(first) = self.first_of(run, from).await? {
                return Ok(gather(runs.get(at..).unwrap_or_default(), first));
            }
        }
        let from = match (&from.position, from.gtids.is_empty()) {
            (Some((_, at)), true) => format!("{} {}", at.log, at.offset),
            (_, _) => from.gtids.to_string(),
        };
        let problem = match runs.first().and_then(|run| run.segments.first().map(|it| (&run.run, it))) {
            Some((run, name)) => format!("it begins at {} of {}, {}", name.log, run.server.host, run.began),
            None => "it is empty".to_owned(),
        };
        Err(ArchiveError::TooLate { from, problem })
    }

    /// The segment of a run to begin with: the last one before which nothing had been done that the backup lacks.
    async fn first_of(&self, run: &RunSegments, from: &CoverFrom) -> Result<Option<usize>, ArchiveError> {
        if from.gtids.is_empty() {
            let Some((server_id, at)) = &from.position else { return Ok(None) };
            if run.run.server.server_id != *server_id {
                return Ok(None);
            }
            let is_there = |name: &SegmentName| {
                name.log == at.log && name.start.max(4) <= at.offset && at.offset <= name.end
            };
            return Ok(run.segments.iter().rposition(is_there));
        }
        // What had been done before grows from segment to segment.
        let (mut low, mut high) = (0, run.segments.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let Some(name) = run.segments.get(middle) else { break };
            if from.gtids.contains(&self.segment(name).await?.gtids_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    /// The records of segments.
    ///
    /// # Errors
    /// If the place fails, or one is none.
    pub async fn segments(&self, names: &[SegmentName]) -> Result<Vec<Segment>, ArchiveError> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(self.segment(name).await?);
        }
        Ok(all)
    }
}

/// From a segment of the first run on, everything up to the first gap.
fn gather(runs: &[RunSegments], first: usize) -> Cover {
    let mut cover = Cover { logs: Vec::new(), gap: None, reaches: None };
    for (at, run) in runs.iter().enumerate() {
        if at > 0 && run.run.reason == RunReason::AcceptedGap {
            cover.gap = Some(format!("something is missing before the run {}", run.run.id));
            return cover;
        }
        let skipped = if at == 0 { first } else { 0 };
        let gap = run.gap();
        for name in run.segments.iter().skip(skipped) {
            cover.reaches = Some(LogPosition { log: name.log.clone(), offset: name.end });
            match cover.logs.last_mut() {
                Some(log) if log.log == name.log && log.run.id == name.run => log.segments.push(name.clone()),
                Some(_) | None => {
                    let (log, run) = (name.log.clone(), run.run.clone());
                    cover.logs.push(CoveredLog { run, log, segments: vec![name.clone()] });
                }
            }
            if let Some((before, what)) = gap.as_ref().filter(|(before, _)| before == name) {
                cover.gap = Some(format!("after {} {}: {what}", before.log, before.end));
                return cover;
            }
        }
    }
    cover
}
