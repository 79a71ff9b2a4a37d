//! [`rewind_server`]: a whole server as it was at a point, made in an empty one: a backup restored, then the archive
//! replayed onto it.
//!
//! It never touches a server that has something, but one that it began itself and was killed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::server::{Limits, Loader, Sql, Target};
use dump::fix::Fix;
use dump::manifest::BackupKind;
use flavor::{GtidSet, Vendor};
use serde::Serialize;
use thiserror::Error;

use super::error::ReplayError;
use super::notes::{self, Notes, Phase};
use super::{Progress, Replayed, replay};
use crate::repository::Repository;
use crate::restore::{self, Existing, Profile, RestoreError, RestoreOptions, Restored, Selection};
use crate::rewind::Base;

/// Longest time for one of our own statements.
const LIMIT: Duration = Duration::from_mins(10);
/// Of what a server has, so many are named.
const SHOWN: usize = 5;
/// Rates that a first estimate is made with, in bytes each second; what `mainstay backup rehearse` measures is better.
const RESTORE_RATE: u64 = 20 << 20;
const REPLAY_RATE: u64 = 10 << 20;

/// How a server is rewound.
#[derive(Debug)]
pub struct ServerRewindOptions {
    /// Sessions that load the backup.
    pub threads: usize,
    /// Whether what is done goes to the target's binary log.
    pub with_binlog: bool,
    /// Whether rows are read back and summed as the manifest has them; else they are counted.
    pub with_sums: bool,
    /// Changes that may be made to definitions.
    pub fixes: BTreeSet<Fix>,
}

/// What a rewind of a server did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerRewind {
    /// The restore; none when an earlier run had done it.
    pub restored: Option<Restored>,
    /// How long it took.
    pub restore_seconds: f64,
    /// The replay.
    pub replayed: Replayed,
    /// What is left to be done by hand, each in a sentence.
    pub remarks: Vec<String>,
}

/// Why a server is not rewound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerRewindError {
    /// The backup cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The archive cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The target has something already.
    #[error("the target is not empty: it has {}", names.join(", "))]
    NotEmpty {
        /// The first databases.
        names: Vec<String>,
    },
    /// The target has another rewind under way.
    #[error("the target is in the middle of another rewind: {backup} to {point}")]
    Another {
        /// Its backup.
        backup: String,
        /// Its point.
        point: String,
    },
}

impl ServerRewindError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Restore(error) => error.hint(),
            Self::Replay(error) => error.hint(),
            Self::NotEmpty { .. } => {
                Some("rewind into a new server; one table of this one: `mainstay rewind --table`".to_owned())
            }
            Self::Another { .. } => Some("run that one to its end, or take a new server".to_owned()),
        }
    }
}

/// A first guess at how long a rewind takes: seconds for the restore and for the replay.
#[must_use]
pub fn estimate(base: &Base) -> (u64, u64) {
    let rows_bytes: u64 = base.whole.manifest.tables.iter().map(|table| table.sql_bytes).sum();
    (rows_bytes / RESTORE_RATE + 1, super::bytes_between(base) / REPLAY_RATE + 1)
}

/// Makes the target what the server was at the point.
///
/// # Errors
/// As [`ServerRewindError`] lists. A run that was ended goes on when the same is called again.
pub async fn rewind_server(
    repository: &Repository,
    base: &Base,
    target: &Target,
    options: &ServerRewindOptions,
    restoring: &Arc<restore::Progress>,
    replaying: &Arc<Progress>,
) -> Result<ServerRewind, ServerRewindError> {
    let mut loader = opened(target, options.with_binlog).await?;
    let mut remarks = Vec::new();
    let phase = begin(&mut loader, base).await?;
    hold_events(&mut loader, &mut remarks).await?;
    let begun = Instant::now();
    let mut restored = None;
    if phase != Some(Phase::Replaying) {
        let done = restore_backup(repository, base, target, options, restoring).await;
        restored = Some(match done {
            // It had been restored, and killed before that could be noted. What is there is our own: done anew.
            Err(RestoreError::NotEmpty { .. }) if phase == Some(Phase::Restoring) => {
                empty(&mut loader, base).await?;
                restore_backup(repository, base, target, options, restoring).await?
            }
            done => done?,
        });
        Notes::restored(&mut loader).await?;
    }
    let restore_seconds = begun.elapsed().as_secs_f64();
    let archive = repository.archive();
    let replayed = replay(&archive, base, target, options.with_binlog, replaying).await?;
    if !options.with_binlog {
        set_position(&mut loader, base, &replayed.gtids, &mut remarks).await;
    }
    if base.whole.manifest.files.iter().any(|file| file.role == dump::manifest::FileRole::Accounts) {
        remarks.push("accounts are not restored: they are in the backup's file of accounts".to_owned());
    }
    Notes::end(&mut loader).await?;
    loader.close().await;
    Ok(ServerRewind { restored, restore_seconds, replayed, remarks })
}

/// A session for what is not of the replay itself.
pub(super) async fn opened(target: &Target, with_binlog: bool) -> Result<Loader, ReplayError> {
    let failed = || ReplayError::server("opening a session");
    let mut loader = Loader::open(target, &Limits::default(), LIMIT).await.map_err(failed())?;
    if !with_binlog {
        loader.run(b"SET SESSION sql_log_bin = 0").await.map_err(failed())?;
    }
    Ok(loader)
}

/// Makes sure that the target is empty or our own, and says what an earlier run was at.
async fn begin(loader: &mut Loader, base: &Base) -> Result<Option<Phase>, ServerRewindError> {
    let (backup, point) = (base.id.to_string(), point_of(base));
    if let Some(notes) = Notes::read(loader).await? {
        if (notes.backup.as_str(), notes.point.as_str()) == (backup.as_str(), point.as_str()) {
            return Ok(Some(notes.phase));
        }
        return Err(ServerRewindError::Another { backup: notes.backup, point: notes.point });
    }
    let sql = Sql::plain(format!(
        "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN \
         ('mysql', 'sys', 'information_schema', 'performance_schema', 'test', '{}') \
         UNION SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'test'",
        notes::SCHEMA
    ));
    let rows = loader.query(&sql).await.map_err(ReplayError::server("looking at the target"))?;
    let names: Vec<String> =
        rows.iter().filter_map(|row| row.text("name")).take(SHOWN).map(str::to_owned).collect();
    if !names.is_empty() {
        return Err(ServerRewindError::NotEmpty { names });
    }
    Notes::begin(loader, &backup, &point).await?;
    Ok(None)
}

pub(super) fn point_of(base: &Base) -> String {
    format!("{} {}:{}", base.located.run, base.located.log, base.located.offset)
}

/// Scheduled events would change what is being made.
pub(super) async fn hold_events(loader: &mut Loader, remarks: &mut Vec<String>) -> Result<(), ReplayError> {
    let failed = || ReplayError::server("holding scheduled events");
    let rows = loader.query(&Sql::plain("SELECT @@event_scheduler AS it")).await.map_err(failed())?;
    if rows
        .first()
        .and_then(|row| row.text("it"))
        .is_some_and(|it| it.eq_ignore_ascii_case("ON") || it == "1")
    {
        loader.run(b"SET GLOBAL event_scheduler = OFF").await.map_err(failed())?;
        remarks.push("event_scheduler is OFF, so that no event runs before you want it: SET GLOBAL event_scheduler = ON".to_owned());
    }
    Ok(())
}

async fn empty(loader: &mut Loader, base: &Base) -> Result<(), ReplayError> {
    for database in &base.whole.manifest.databases {
        if let Ok(name) = sqltext::quote_ident(&database.name) {
            let dropped = loader.run(format!("DROP DATABASE IF EXISTS {name}").as_bytes()).await;
            dropped.map_err(ReplayError::server(format!("removing {} to restore it anew", database.name)))?;
        }
    }
    Ok(())
}

async fn restore_backup(
    repository: &Repository,
    base: &Base,
    target: &Target,
    options: &ServerRewindOptions,
    progress: &Arc<restore::Progress>,
) -> Result<Restored, RestoreError> {
    restore_one(repository, base.id.as_str(), target, options, progress).await
}

/// Restores a backup.
///
/// # Errors
/// As [`RestoreError`] lists.
pub(crate) async fn restore_one(
    repository: &Repository,
    id: &str,
    target: &Target,
    options: &ServerRewindOptions,
    progress: &Arc<restore::Progress>,
) -> Result<Restored, RestoreError> {
    let source = repository.source(id).await?;
    let threads = options.threads;
    let survey = tokio::task::spawn_blocking(move || source.survey(&Selection::default(), threads, false));
    let survey = survey.await.map_err(|error| RestoreError::Worker(error.to_string()))??;
    let options = RestoreOptions {
        renamed: BTreeMap::new(),
        into: None,
        threads,
        existing: Existing::Refuse,
        fixes: options.fixes.clone(),
        with_binlog: options.with_binlog,
        method: None,
        with_sums: options.with_sums,
        profile: Profile::None,
        accounts: None,
        dry_run: false,
        aside_suffix: String::new(),
    };
    restore::restore(survey, target, &options, Arc::clone(progress)).await
}

/// Tells the server what it has, so that replication and backups can go on from there.
pub(super) async fn set_position(loader: &mut Loader, base: &Base, gtids: &str, remarks: &mut Vec<String>) {
    let Ok(literal) = sqltext::quote_string(gtids) else { return };
    if gtids.is_empty() {
        return;
    }
    let statement = match base.whole.manifest.server.vendor {
        Vendor::MariaDb => format!("SET GLOBAL gtid_slave_pos = {literal}"),
        Vendor::MySql => match sqltext::quote_string(&format!("+{gtids}")) {
            Ok(added) => format!("SET GLOBAL gtid_purged = {added}"),
            Err(_) => return,
        },
    };
    if let Err(error) = loader.run(statement.as_bytes()).await {
        remarks.push(format!("the server does not take its position in the history ({error}): {statement}"));
    }
}

/// Takes what a server that was started on a physical backup says it has for what the backup has. A clone is of a later
/// moment than its coordinates; its server knows of which.
///
/// # Errors
/// If the server cannot be asked.
pub(super) async fn adopt_position(loader: &mut Loader, base: &mut Base) -> Result<(), ReplayError> {
    if base.whole.manifest.server.vendor != Vendor::MySql || base.from.gtids.is_empty() {
        return Ok(());
    }
    let asked = loader.query(&Sql::plain("SELECT @@GLOBAL.gtid_executed AS gtids")).await;
    let rows = asked.map_err(ReplayError::server("asking what the server has"))?;
    let text = rows.first().and_then(|row| row.text("gtids")).unwrap_or_default();
    let gtids = GtidSet::parse(text).map_err(|error| ReplayError::Refused(error.to_string()))?;
    if !gtids.contains(&base.from.gtids) {
        let problem =
            format!("the server has {gtids}, and not all that {} has: {}", base.id, base.from.gtids);
        return Err(ReplayError::Refused(problem));
    }
    base.from.gtids = gtids;
    Ok(())
}

/// Makes the notes that a replay keeps, on a server that has the backup and no notes.
///
/// # Errors
/// If the server refuses.
pub(crate) async fn begin_notes(target: &Target, base: &mut Base) -> Result<(), ReplayError> {
    let failed = || ReplayError::server("opening a session");
    let mut loader = Loader::open(target, &Limits::default(), LIMIT).await.map_err(failed())?;
    if base.whole.manifest.kind == BackupKind::Physical {
        adopt_position(&mut loader, base).await?;
    }
    Notes::begin(&mut loader, base.id.as_str(), &point_of(base)).await?;
    Notes::restored(&mut loader).await?;
    loader.close().await;
    Ok(())
}
