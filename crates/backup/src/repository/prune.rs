//! What may go: planned by the rules, shown, and removed only when asked for. The rules are in `dump`.

use std::collections::BTreeMap;

use dump::manifest::MANIFEST_NAME;
use dump::{Candidate, Fate, KeepRules, decide};
use flavor::GtidSet;
use jiff::Timestamp;

use super::error::RepositoryError;
use super::id::BackupId;
use super::list::{Listed, Repository, Whole};
use crate::archive::{Archive, CoverFrom, LogPosition, RunSegments, SegmentName};

/// What stays and what goes.
#[derive(Clone, Debug)]
pub struct PrunePlan {
    /// Each backup with its fate, newest first.
    pub backups: Vec<(Listed, Fate)>,
    /// What of the archive goes.
    pub archive: ArchivePrune,
}

/// What of the archive no backup that stays can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePrune {
    /// Segments that go, oldest first.
    pub segments: Vec<SegmentName>,
    /// Why none or no more go, in a sentence.
    pub kept_for: String,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// Backups.
    pub backups: Vec<String>,
    /// Objects of these.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments of the archive.
    pub segments: u64,
}

impl Repository {
    /// Plans what goes.
    ///
    /// # Errors
    /// If the place fails, or the archive in it cannot be read: then nothing is known to be needless.
    pub async fn plan_prune(&self, rules: &KeepRules, now: Timestamp) -> Result<PrunePlan, RepositoryError> {
        let archive = self.archive();
        let runs = archive.runs().await?;
        let listed = self.list().await?;
        let mut candidates = Vec::with_capacity(listed.len());
        // Where each backup's part of the archive begins.
        let mut begins = BTreeMap::new();
        for backup in &listed {
            let begin = match &backup.whole {
                Ok(whole) => begin_of(&archive, &runs, whole).await?,
                Err(_) => None,
            };
            candidates.push(Candidate {
                id: backup.id.to_string(),
                started: backup.id.started(),
                is_complete: backup.whole.is_ok(),
                proof: backup.proof(),
                is_archive_base: begin.is_some(),
            });
            begins.extend(begin.map(|begin| (backup.id.clone(), begin)));
        }
        let mut by_id: BTreeMap<String, Listed> =
            listed.into_iter().map(|backup| (backup.id.to_string(), backup)).collect();
        let fates = decide(&candidates, rules, now);
        let backups: Vec<(Listed, Fate)> = fates
            .into_iter()
            .filter_map(|(candidate, fate)| by_id.remove(&candidate.id).map(|listed| (listed, fate)))
            .collect();
        let archive = archive_prune(&runs, &backups, &begins);
        Ok(PrunePlan { backups, archive })
    }

    /// Removes what goes, each backup's manifest first: what is cut off is incomplete, never half.
    ///
    /// # Errors
    /// If the place fails; what was removed stays removed, and the next plan says the rest.
    pub async fn prune(&self, plan: &PrunePlan) -> Result<Pruned, RepositoryError> {
        let mut pruned = Pruned::default();
        for (backup, fate) in &plan.backups {
            if !matches!(fate, Fate::Goes(_)) {
                continue;
            }
            let (objects, bytes) = self.remove(&backup.id).await?;
            pruned.objects += objects;
            pruned.bytes += bytes;
            pruned.backups.push(backup.id.to_string());
        }
        let archive = self.archive();
        for name in &plan.archive.segments {
            archive.remove_named(name).await?;
            pruned.segments += 1;
        }
        Ok(pruned)
    }

    async fn remove(&self, id: &BackupId) -> Result<(u64, u64), RepositoryError> {
        let manifest = format!("{id}/{MANIFEST_NAME}");
        self.place().delete(&manifest).await?;
        self.clear_marks(id).await?;
        let (mut objects, mut bytes) = (0, 0);
        for entry in self.place().list(id.as_str()).await? {
            self.place().delete(&entry.name).await?;
            objects += 1;
            bytes += entry.bytes;
        }
        // Of a dump that was killed: what is under way is not pruned.
        self.place().clear(id.as_str()).await?;
        Ok((objects, bytes))
    }
}

/// The first segment that a backup needs to be rolled forward to now; none where that is not possible.
async fn begin_of(
    archive: &Archive,
    runs: &[RunSegments],
    whole: &Whole,
) -> Result<Option<SegmentName>, RepositoryError> {
    let Some(coordinates) = &whole.manifest.coordinates else { return Ok(None) };
    let Ok(gtids) = GtidSet::parse(&coordinates.gtid) else { return Ok(None) };
    let at = LogPosition { log: coordinates.file.clone(), offset: coordinates.position };
    let from = CoverFrom { gtids, position: Some((whole.manifest.server.server_id, at)) };
    match archive.cover_in(runs, &from).await {
        Ok(cover) if cover.gap.is_none() => {
            Ok(cover.logs.first().and_then(|log| log.segments.first()).cloned())
        }
        Ok(_) | Err(crate::archive::ArchiveError::TooLate { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Segments before the first one that any backup needs that stays.
fn archive_prune(
    runs: &[RunSegments],
    backups: &[(Listed, Fate)],
    begins: &BTreeMap<BackupId, SegmentName>,
) -> ArchivePrune {
    let all: Vec<&SegmentName> = runs.iter().flat_map(|run| &run.segments).collect();
    let place = |name: &SegmentName| all.iter().position(|known| *known == name);
    let needed = backups
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Stays(_)))
        .filter_map(|(backup, _)| Some((place(begins.get(&backup.id)?)?, backup)))
        .min_by_key(|(at, _)| *at);
    let Some((first, backup)) = needed else {
        let kept_for = "no backup that stays is one that the archive goes on from".to_owned();
        return ArchivePrune { segments: Vec::new(), kept_for };
    };
    let segments = all.iter().take(first).map(|name| (*name).clone()).collect();
    ArchivePrune { segments, kept_for: format!("{} goes on from there", backup.id) }
}
