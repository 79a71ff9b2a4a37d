//! [`Base`]: the newest backup before a point from which the archive leads there without a gap. It restores nothing.

use flavor::GtidSet;
use jiff::Timestamp;

use super::error::RewindError;
use super::point::{Found, Located, Point, end_of, locate};
use crate::archive::{Archive, Cover, CoverFrom, LogPosition};
use crate::repository::{BackupId, Listed, Repository, Whole};

/// Reasons that are told; backups are listed newest first.
const REASONS_TOLD: usize = 3;

/// Where a rewind begins, and what leads on from there.
#[derive(Clone, Debug)]
pub struct Base {
    /// The backup.
    pub id: BackupId,
    /// What is known of it.
    pub whole: Box<Whole>,
    /// Where it stands.
    pub from: CoverFrom,
    /// The logs from there on, to the point and further.
    pub cover: Cover,
    /// The point.
    pub located: Located,
}

/// Chooses the newest backup from which the point can be reached; `wanted` names the only one that may be.
/// `has` says whether a backup holds what is to be rewound.
///
/// # Errors
/// If there is none; the error says why for each, and where a rewind can go instead.
pub async fn choose(
    repository: &Repository,
    point: &Point,
    wanted: Option<&BackupId>,
    has: impl Fn(&Whole) -> Result<(), String>,
) -> Result<Base, RewindError> {
    let archive = repository.archive();
    let backups = match wanted {
        Some(id) => vec![repository.find(id).await?],
        None => repository.list().await?,
    };
    let runs = archive.runs().await?;
    let mut why = Vec::new();
    let mut instead = None;
    for Listed { id, whole } in backups {
        let whole = match whole.and_then(|whole| has(&whole).map(|()| whole)) {
            Ok(whole) => whole,
            Err(problem) => {
                why.push(format!("{id}: {problem}"));
                continue;
            }
        };
        let from = match cover_from(&whole) {
            Ok(from) => from,
            Err(problem) => {
                why.push(format!("{id}: {problem}"));
                continue;
            }
        };
        let snapshot = whole.manifest.snapshot_taken;
        if let Point::Time(time) = point
            && *time < snapshot
        {
            why.push(format!("{id}: it was taken later, at {snapshot}"));
            continue;
        }
        let cover = match archive.cover_in(&runs, &from).await {
            Ok(cover) => cover,
            Err(error @ crate::archive::ArchiveError::TooLate { .. }) => {
                why.push(format!("{id}: {error}"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match locate(&archive, &cover, &from.gtids, point).await? {
            Found::At(located) if is_before(&from, &cover, &located) => {
                why.push(format!("{id}: it already has more than that"));
            }
            Found::At(located) => return Ok(Base { id, whole, from, cover, located }),
            Found::Earlier => why.push(format!("{id}: it already has more than that")),
            Found::Later => {
                let (reason, to) = too_early(&archive, &cover).await?;
                why.push(format!("{id}: {reason}"));
                instead = instead.or(to);
            }
        }
    }
    if why.is_empty() {
        why.push("there is none".to_owned());
    }
    let more = why.len().saturating_sub(REASONS_TOLD);
    why.truncate(REASONS_TOLD);
    if more > 0 {
        why.push(format!("and {more} more"));
    }
    Err(RewindError::NoBackup { point: point.to_string(), why, instead })
}

/// Why the archive does not reach the point, and where it does.
async fn too_early(archive: &Archive, cover: &Cover) -> Result<(String, Option<String>), RewindError> {
    let Some(end) = end_of(cover) else { return Ok(("the archive is empty from there on".to_owned(), None)) };
    let last = cover.logs.last().and_then(|log| log.segments.last());
    let seconds = match last {
        Some(name) => archive.segment(name).await?.last_seconds,
        None => None,
    };
    let time = seconds.and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok());
    let time = time.map(|time| format!(", {time}")).unwrap_or_default();
    let what = match &cover.gap {
        Some(gap) => format!("the archive has a gap: {gap}; from this backup it reaches to {end}{time}"),
        None => format!("the archive reaches to {end}{time}"),
    };
    let instead = format!(
        "it can go to --to-position {end}; if the server has more, `mainstay backup archive --once` fetches it"
    );
    Ok((what, Some(instead)))
}

/// Where a backup stands.
fn cover_from(whole: &Whole) -> Result<CoverFrom, String> {
    let manifest = &whole.manifest;
    let Some(at) = &manifest.coordinates else { return Err("it has no coordinates".to_owned()) };
    let gtids = GtidSet::parse(&at.gtid).map_err(|error| format!("its GTIDs cannot be read: {error}"))?;
    let position = LogPosition { log: at.file.clone(), offset: at.position };
    let position = (!at.file.is_empty()).then_some((manifest.server.server_id, position));
    Ok(CoverFrom { gtids, position })
}

/// Whether a point is before where the backup stands, where the archive is of its server.
fn is_before(from: &CoverFrom, cover: &Cover, located: &Located) -> bool {
    let Some((server_id, at)) = &from.position else { return false };
    let Some(first) = cover.logs.first() else { return false };
    let is_same_run = cover.logs.get(located.log_index).is_some_and(|log| log.run.id == first.run.id);
    if first.run.server.server_id != *server_id || !is_same_run {
        return false;
    }
    let index = cover.logs.iter().position(|log| log.log == at.log);
    index.is_some_and(|index| (located.log_index, located.offset) < (index, at.offset))
}
