//! What the archive has, and whether it reads back: for people, and before it is relied on.

use jiff::Timestamp;
use serde::Serialize;

use super::catalog::Archive;
use super::error::ArchiveError;
use super::read::SegmentBytes;
use super::segment::{Run, RunReason, Segment};

/// What the archive has.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveStatus {
    /// Runs, oldest first.
    pub runs: Vec<RunStatus>,
    /// Where it ends: the last segment; none where there is none.
    pub last: Option<Segment>,
    /// Seconds since the last segment's last event; 0 would be an archive that is up to date with a busy server.
    pub last_event_age_seconds: Option<u64>,
    /// Gaps, each in a sentence.
    pub gaps: Vec<String>,
}

/// What the archive has of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RunStatus {
    /// The run.
    pub run: Run,
    /// Its segments.
    pub segments: usize,
    /// Bytes of logs from its beginning to its end.
    pub log_bytes: u64,
    /// Its first log.
    pub first_log: Option<String>,
    /// Its last log.
    pub last_log: Option<String>,
}

/// What reading everything back has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArchiveCheck {
    /// Segments that read back as they were written.
    pub segments: u64,
    /// Bytes of logs in them.
    pub bytes: u64,
    /// Segments of which only the stored bytes were compared: they are encrypted, and no identity was given.
    pub unopened: u64,
    /// What is wrong, each in a sentence.
    pub problems: Vec<String>,
}

impl Archive {
    /// What the archive has, by its names and its last record.
    ///
    /// # Errors
    /// If the place fails.
    pub async fn status(&self, now: Timestamp) -> Result<ArchiveStatus, ArchiveError> {
        let runs = self.runs().await?;
        let mut gaps = Vec::new();
        let mut all = Vec::new();
        let mut last = None;
        for (at, run) in runs.iter().enumerate() {
            if let Some((_, what)) = run.gap() {
                gaps.push(format!("in the run {}: {what}", run.run.id));
            }
            if at > 0 && run.run.reason == RunReason::AcceptedGap {
                gaps.push(format!(
                    "before the run {}: it was accepted that something is missing",
                    run.run.id
                ));
            }
            last = run.segments.last().or(last);
            all.push(RunStatus {
                run: run.run.clone(),
                segments: run.segments.len(),
                log_bytes: run.segments.iter().map(|name| name.end - name.start).sum(),
                first_log: run.segments.first().map(|name| name.log.clone()),
                last_log: run.segments.last().map(|name| name.log.clone()),
            });
        }
        let last = match last {
            Some(name) => Some(self.segment(name).await?),
            None => None,
        };
        let now = u64::try_from(now.as_second()).unwrap_or(0);
        let seconds = last.as_ref().and_then(|segment| segment.last_seconds);
        let last_event_age_seconds = seconds.map(|seconds| now.saturating_sub(u64::from(seconds)));
        Ok(ArchiveStatus { runs: all, last, last_event_age_seconds, gaps })
    }

    /// Reads everything back. Of encrypted segments, without an identity, the stored bytes are compared.
    ///
    /// # Errors
    /// If the place fails, or something is encrypted to others than the identities given. What is damaged is no error: it
    /// is counted.
    pub async fn check(&self) -> Result<ArchiveCheck, ArchiveError> {
        let mut check = ArchiveCheck::default();
        for run in self.runs().await? {
            if let Some((_, what)) = run.gap() {
                check.problems.push(format!("gap in the run {}: {what}", run.run.id));
            }
            let mut before: Option<Segment> = None;
            for name in &run.segments {
                match self.read_back(name, before.as_ref()).await {
                    Ok((segment, is_opened)) => {
                        check.segments += 1;
                        check.bytes += segment.bytes;
                        check.unopened += u64::from(!is_opened);
                        before = Some(segment);
                    }
                    Err(error @ (ArchiveError::Damaged { .. } | ArchiveError::Record { .. })) => {
                        check.problems.push(error.to_string());
                    }
                    Err(ArchiveError::Place(error)) if error.is_not_found() => {
                        check.problems.push(error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(check)
    }

    async fn read_back(
        &self,
        name: &super::segment::SegmentName,
        before: Option<&Segment>,
    ) -> Result<(Segment, bool), ArchiveError> {
        let segment = self.segment(name).await?;
        let is_opened = segment.recipients.is_empty() || !self.identities().is_empty();
        if is_opened {
            let mut bytes = SegmentBytes::open(self, &segment)?;
            while bytes.next().await?.is_some() {}
        } else {
            let stored = self.place().digest(&segment.content_name()).await?;
            if (stored.bytes, &stored.sha256) != (segment.stored_bytes, &segment.stored_sha256) {
                let name = segment.content_name();
                let problem = format!("it has {} bytes with SHA-256 {}", stored.bytes, stored.sha256);
                return Err(ArchiveError::Damaged { name, problem });
            }
        }
        if let Some(before) = before
            && !segment.gtids_before.contains(&before.gtids_after())
        {
            let problem = format!("it does not follow {}: GTIDs are missing", before.name().record());
            return Err(ArchiveError::Damaged { name: name.record(), problem });
        }
        Ok((segment, is_opened))
    }
}
