//! Rehearsing: a backup restored into a throwaway server, the archive replayed onto it, everything checked, and the time
//! taken. Only then is a backup verified.
//!
//! Where the throwaway server comes from is the caller's matter; one for a physical backup has been started on it.

mod error;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dump::Proof;
use dump::manifest::BackupKind;
use jiff::Timestamp;
use serde::Serialize;
use server::{Connection, ServerError, Sql, Target};

use crate::archive::Archive;
use crate::physical::restore::PutBack;
use crate::replay::{self, Replayed, ServerRewindOptions, replay};
use crate::repository::{BackupId, Listed, Mark, Repository, Whole};
use crate::restore::{self, RestoreError, Restored};
use crate::rewind::{self, Base, Point, RewindError};
pub use error::RehearseError;

/// Longest time for checking one table.
const CHECK_LIMIT: Duration = Duration::from_hours(12);
/// Problems that are told.
const PROBLEMS_MAX: usize = 100;

/// How far a rehearsal is, for whoever watches it.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The restore.
    pub restoring: Arc<restore::Progress>,
    /// The replay.
    pub replaying: Arc<replay::Progress>,
}

/// What a rehearsal has shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rehearsed {
    /// The backup.
    pub backup: String,
    /// Statements or files.
    pub kind: BackupKind,
    /// The moment it is of.
    pub snapshot_taken: Timestamp,
    /// Tables restored.
    pub tables: usize,
    /// Rows restored; 0 of a physical backup, which does not count them.
    pub rows: u64,
    /// Bytes of the server's files that were put back; 0 of a dump.
    pub files_bytes: u64,
    /// Tables whose rows were compared with the manifest's sums.
    pub tables_verified: usize,
    /// The replay of the archive; none where there was none to replay.
    pub replayed: Option<Replayed>,
    /// Tables that the server's own check has found sound.
    pub tables_checked: usize,
    /// What took how long.
    pub phases: Phases,
    /// What would be lost if the server died now.
    pub recovery_point: RecoveryPoint,
    /// What is wrong, each in a sentence.
    pub problems: Vec<String>,
    /// The backup is marked as verified.
    pub verified: bool,
}

/// What took how long, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Restoring the backup, with its check against the manifest; of a physical one until a server runs on it.
    pub restore_seconds: f64,
    /// Replaying the archive.
    pub replay_seconds: f64,
    /// Restore and replay: how long a recovery takes on a machine like this one.
    pub recovery_seconds: f64,
    /// The check of every table after it, which a recovery can do without.
    pub check_seconds: f64,
}

/// Up to when the data come back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveryPoint {
    /// The last change there is.
    pub at: Timestamp,
    /// Seconds from it to the end of the rehearsal. A server without writers makes this grow, too.
    pub behind_seconds: u64,
    /// What it was taken from: `archive` or `backup`.
    pub of: &'static str,
}

/// The backup to rehearse: the one that is named, or the newest complete one.
///
/// # Errors
/// If there is none.
pub async fn choose(
    repository: &Repository,
    wanted: Option<&BackupId>,
) -> Result<(BackupId, Box<Whole>), RehearseError> {
    let listed = match wanted {
        Some(id) => vec![repository.find(id).await?],
        None => repository.list().await?,
    };
    let mut why = None;
    for Listed { id, whole } in listed {
        match whole {
            Ok(whole) => return Ok((id, whole)),
            Err(problem) => why = why.or(Some(format!("{id}: {problem}"))),
        }
    }
    let why = why.unwrap_or_else(|| format!("{} has none", repository.place()));
    Err(RehearseError::NoBackup { why })
}

/// Rehearses the recovery from a dump in an empty server, which may be thrown away afterwards.
///
/// # Errors
/// As [`RehearseError`] lists; a backup that turns out to be damaged loses its marks.
pub async fn rehearse(
    repository: &Repository,
    (id, whole): (&BackupId, &Whole),
    target: &Target,
    options: &ServerRewindOptions,
    watched: &Watched,
) -> Result<Rehearsed, RehearseError> {
    let begun = Instant::now();
    let restored = replay::restore_one(repository, id.as_str(), target, options, &watched.restoring).await;
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            blame(repository, id, &error).await?;
            return Err(error.into());
        }
    };
    let mut problems = Vec::new();
    compare(&restored, whole, &mut problems);
    let recovered = Recovered {
        tables: restored.tables,
        rows: restored.rows,
        tables_verified: restored.tables_verified,
        files_bytes: 0,
        seconds: begun.elapsed().as_secs_f64(),
    };
    prove(repository, (id, whole), target, recovered, problems, watched).await
}

/// Rehearses the recovery from a physical backup, on a server that was started on its files: `put_back` says what they
/// are, `seconds` how long it took until the server answered.
///
/// # Errors
/// As [`RehearseError`] lists.
pub async fn rehearse_physical(
    repository: &Repository,
    (id, whole): (&BackupId, &Whole),
    target: &Target,
    (put_back, seconds): (&PutBack, f64),
    watched: &Watched,
) -> Result<Rehearsed, RehearseError> {
    let failed = |source| RehearseError::Check { source };
    let mut connection = Connection::open(target, &server::Limits::default()).await.map_err(failed)?;
    let tables = tables(&mut connection).await.map_err(failed)?.len();
    connection.close().await;
    let recovered = Recovered { tables, rows: 0, tables_verified: 0, files_bytes: put_back.bytes, seconds };
    prove(repository, (id, whole), target, recovered, Vec::new(), watched).await
}

/// What the backup alone has given.
struct Recovered {
    tables: usize,
    rows: u64,
    tables_verified: usize,
    files_bytes: u64,
    seconds: f64,
}

/// Replays the archive onto a recovered backup, has everything checked, and marks the backup if all is well.
async fn prove(
    repository: &Repository,
    (id, whole): (&BackupId, &Whole),
    target: &Target,
    recovered: Recovered,
    mut problems: Vec<String>,
    watched: &Watched,
) -> Result<Rehearsed, RehearseError> {
    let begun = Instant::now();
    let restore_seconds = recovered.seconds;
    let archive = repository.archive();
    let (base, replayed) = replay_all(repository, &archive, id, target, watched, &mut problems).await?;
    let replay_seconds = begun.elapsed().as_secs_f64();
    let tables_checked = check(target, &mut problems).await?;
    let recovery_seconds = restore_seconds + replay_seconds;
    let check_seconds = begun.elapsed().as_secs_f64() - replay_seconds;
    let now = Timestamp::now();
    let recovery_point = recovery_point(&archive, base.as_ref(), whole, now).await?;
    let verified = problems.is_empty();
    if verified {
        let transactions = replayed.as_ref().map_or(0, |replayed| replayed.transactions);
        let tables = recovered.tables;
        let restored = match whole.manifest.kind {
            BackupKind::Logical => format!("restored {tables} tables with {} rows", recovered.rows),
            BackupKind::Physical => format!("ran on the server's files with {tables} tables"),
        };
        let seen = format!(
            "{restored} in {restore_seconds:.1} s, replayed {transactions} transactions in {replay_seconds:.1} s"
        );
        let mark = Mark { at: now, manifest_sha256: whole.manifest_sha256.clone(), seen };
        repository.set_mark(id, Proof::Restored, &mark).await?;
    }
    if let Some(gap) = base.as_ref().and_then(|base| base.cover.gap.as_ref()) {
        // No fault of the backup, but a recovery ends there.
        problems.push(format!("the archive has a gap: {gap}"));
    }
    problems.truncate(PROBLEMS_MAX);
    Ok(Rehearsed {
        backup: id.to_string(),
        kind: whole.manifest.kind,
        snapshot_taken: whole.manifest.snapshot_taken,
        tables: recovered.tables,
        rows: recovered.rows,
        files_bytes: recovered.files_bytes,
        tables_verified: recovered.tables_verified,
        replayed,
        tables_checked,
        phases: Phases { restore_seconds, replay_seconds, recovery_seconds, check_seconds },
        recovery_point,
        problems,
        verified,
    })
}

/// A backup that is to blame for the error of its restore is no longer proven.
///
/// # Errors
/// If the place fails.
pub async fn blame(
    repository: &Repository,
    id: &BackupId,
    error: &RestoreError,
) -> Result<(), RehearseError> {
    let is_to_blame = matches!(
        error,
        RestoreError::Damaged { .. }
            | RestoreError::Differs { .. }
            | RestoreError::Manifest { .. }
            | RestoreError::Rows { .. }
    );
    if is_to_blame {
        repository.clear_marks(id).await?;
    }
    Ok(())
}

/// Rows and tables as the manifest counts them.
fn compare(restored: &Restored, whole: &Whole, problems: &mut Vec<String>) {
    let manifest = &whole.manifest;
    if restored.tables != manifest.tables.len() {
        problems.push(format!(
            "{} tables were restored, the manifest has {}",
            restored.tables,
            manifest.tables.len()
        ));
    }
    if restored.rows != manifest.rows() {
        problems.push(format!("{} rows were restored, the manifest has {}", restored.rows, manifest.rows()));
    }
    if restored.tables_verified != manifest.tables.len() {
        let count = restored.tables_verified;
        problems.push(format!(
            "the rows of {count} tables were compared, the manifest has {}",
            manifest.tables.len()
        ));
    }
}

async fn replay_all(
    repository: &Repository,
    archive: &Archive,
    id: &BackupId,
    target: &Target,
    watched: &Watched,
    problems: &mut Vec<String>,
) -> Result<(Option<Base>, Option<Replayed>), RehearseError> {
    let mut base = match rewind::choose(repository, &Point::End, Some(id), |_| Ok(())).await {
        Ok(base) => base,
        // Without an archive a backup is a backup all the same.
        Err(RewindError::NoBackup { .. }) if archive.last_run().await?.is_none() => return Ok((None, None)),
        Err(error @ RewindError::NoBackup { .. }) => {
            problems.push(error.to_string());
            return Ok((None, None));
        }
        Err(error) => return Err(error.into()),
    };
    replay::begin_notes(target, &mut base).await?;
    let replayed = replay(archive, &base, target, false, &watched.replaying).await?;
    Ok((Some(base), Some(replayed)))
}

/// Databases and names of all tables but the server's own.
async fn tables(connection: &mut Connection) -> Result<Vec<(String, String)>, ServerError> {
    let sql = Sql::plain(
        "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
         AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')",
    );
    let rows = connection.with_limit(CHECK_LIMIT).query(&sql).await?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.text("db")?.to_owned(), row.text("name")?.to_owned())))
        .collect())
}

/// Has the server check each table.
async fn check(target: &Target, problems: &mut Vec<String>) -> Result<usize, RehearseError> {
    let failed = |source| RehearseError::Check { source };
    let mut connection = Connection::open(target, &server::Limits::default()).await.map_err(failed)?;
    let mut sound = 0;
    for (database, name) in tables(&mut connection).await.map_err(failed)? {
        let (Ok(of), Ok(quoted)) = (sqltext::quote_ident(&database), sqltext::quote_ident(&name)) else {
            continue;
        };
        let sql = Sql::plain(format!("CHECK TABLE {of}.{quoted}"));
        let rows = connection.with_limit(CHECK_LIMIT).query(&sql).await.map_err(failed)?;
        let bad = rows.iter().find(|row| {
            row.text("Msg_type").is_some_and(|kind| {
                kind.eq_ignore_ascii_case("error") || kind.eq_ignore_ascii_case("warning")
            })
        });
        match bad.and_then(|row| row.text("Msg_text")) {
            Some(text) => problems.push(format!("{database}.{name}: {text}")),
            None => sound += 1,
        }
    }
    connection.close().await;
    Ok(sound)
}

async fn recovery_point(
    archive: &Archive,
    base: Option<&Base>,
    whole: &Whole,
    now: Timestamp,
) -> Result<RecoveryPoint, RehearseError> {
    let last = base.and_then(|base| base.cover.logs.last()).and_then(|log| log.segments.last());
    let seconds = match last {
        Some(name) => archive.segment(name).await?.last_seconds,
        None => None,
    };
    let archived = seconds.and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok());
    let snapshot = whole.manifest.snapshot_taken;
    let (at, of) = match archived {
        Some(at) if at > snapshot => (at, "archive"),
        Some(_) | None => (snapshot, "backup"),
    };
    let behind_seconds = u64::try_from(now.as_second() - at.as_second()).unwrap_or(0);
    Ok(RecoveryPoint { at, behind_seconds, of })
}
