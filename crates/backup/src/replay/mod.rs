//! Replaying: the archive's transactions from where a backup stands up to a point, in order, onto a server that has the
//! backup.
//!
//! ```text
//! source    what the logs hold, as transactions to be done, read in a thread of its own
//! seen      which of them the target has already
//! events    rows as `BINLOG` statements, which the server applies as its replication does
//! context   the session of what was logged as text
//! apply     sends them, many transactions in one
//! onto      a server that runs on a physical backup already
//! notes     how far it is, on the target: a replay that was killed goes on where it stopped
//! ```
//!
//! It makes no accounts and restores nothing: [`rewind_server`] does both, restore and replay.

mod apply;
mod context;
mod error;
mod events;
mod message;
pub mod notes;
mod onto;
mod progress;
mod seen;
mod server;
mod source;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::server::{Limits, Loader, Sql, Target};
use flavor::Vendor;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::archive::Archive;
use crate::rewind::Base;
use crate::rewind::walk::walk_log;
use apply::{Applier, Open};
pub use error::ReplayError;
pub use message::Counts;
use message::Mark;
use notes::Notes;
pub use onto::replay_onto;
pub use progress::{Progress, Standing};
use seen::Seen;
pub use server::{ServerRewind, ServerRewindError, ServerRewindOptions, estimate, rewind_server};
pub(crate) use server::{begin_notes, restore_one};
use source::Feed;

/// Transactions, or parts of large ones, that wait for the target.
const AHEAD: usize = 4;
/// Longest time for one statement: an `ALTER TABLE` of hundreds of gigabytes.
const STATEMENT_LIMIT: Duration = Duration::from_hours(48);

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replayed {
    /// It went on where an earlier run had stopped.
    pub resumed: bool,
    /// Transactions that were applied by this run.
    pub transactions: u64,
    /// Statements among them that commit by themselves.
    pub ddl: u64,
    /// Bytes of logs read.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// What was passed over.
    pub counts: Counts,
    /// Where it ends, as `LOG:OFFSET`.
    pub reached: String,
    /// What the target has, as the servers take it: `gtid_purged` or `gtid_slave_pos`.
    pub gtids: String,
}

/// Bytes of logs from a backup to a point.
#[must_use]
pub fn bytes_between(base: &Base) -> u64 {
    let mut sum = 0_u64;
    for (index, log) in base.cover.logs.iter().enumerate().take(base.located.log_index + 1) {
        let first = log.segments.first().map_or(0, |name| name.start);
        let last = log.segments.last().map_or(0, |name| name.end);
        let end = if index == base.located.log_index { base.located.offset.min(last) } else { last };
        sum = sum.saturating_add(end.saturating_sub(first));
    }
    sum
}

/// Replays from a backup to its point. The target has the backup, and what the notes say of the archive.
///
/// # Errors
/// As [`ReplayError`] lists. What was committed stays, and the same call goes on there.
pub async fn replay(
    archive: &Archive,
    base: &Base,
    target: &Target,
    with_binlog: bool,
    progress: &Arc<Progress>,
) -> Result<Replayed, ReplayError> {
    let begun = Instant::now();
    let (loader, vendor, packet_bytes) = open(target, with_binlog).await?;
    let archived = base.cover.logs.first().map(|log| log.run.server.vendor);
    if archived.is_some_and(|archived| archived != vendor) {
        let refused = format!(
            "the archive is of another vendor than the target, which is {vendor}: rows cannot be replayed"
        );
        return Err(ReplayError::Refused(refused));
    }
    let mut applier = Applier {
        loader,
        vendor,
        logs: base.cover.logs.iter().map(|log| (log.run.id.clone(), log.log.clone())).collect(),
        packet_bytes,
        begun: None,
        progress: Arc::clone(progress),
        state: Open::default(),
    };
    let notes = Notes::read(&mut applier.loader).await?;
    let resume = resumed(&applier.logs, notes.as_ref())?;
    if let (Some(mark), Some((offset, looks))) = (&resume, notes.and_then(|notes| notes.begun)) {
        applier.begun = Some((mark.log_index, offset, looks));
    }
    progress.bytes_total.store(bytes_between(base), Ordering::Relaxed);
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let databases = &base.whole.manifest.options.databases;
    let databases = (!databases.is_empty()).then(|| databases.iter().cloned().collect::<BTreeSet<_>>());
    let bytes_read = Arc::clone(&progress.bytes_read);
    let feed =
        Feed::new(sender, Seen::new(&base.from), databases, resume.clone(), base.located.clone(), bytes_read);
    let reading = tokio::spawn(read(archive.clone(), base.clone(), feed));
    let applied = applier.run(&mut receiver).await;
    drop(receiver);
    let feed = reading.await.map_err(|error| ReplayError::Worker(error.to_string()))?;
    applied?;
    let feed = feed?;
    if let Some(obstacle) = feed.obstacle {
        return Err(ReplayError::Obstacle(obstacle));
    }
    applier.loader.close().await;
    Ok(Replayed {
        resumed: resume.is_some(),
        transactions: progress.transactions.load(Ordering::Relaxed),
        ddl: progress.ddl.load(Ordering::Relaxed),
        bytes: bytes_between(base),
        seconds: begun.elapsed().as_secs_f64(),
        counts: feed.counts,
        reached: base.located.to_string(),
        gtids: feed.seen.position(),
    })
}

/// Where an earlier run stopped, among the logs of this one.
fn resumed(logs: &[(String, String)], notes: Option<&Notes>) -> Result<Option<Mark>, ReplayError> {
    let Some((run, log, end)) = notes.and_then(|notes| notes.at.clone()) else { return Ok(None) };
    let log_index = logs.iter().position(|known| *known == (run.clone(), log.clone()));
    match log_index {
        Some(log_index) => Ok(Some(Mark { log_index, end })),
        None => Err(ReplayError::Refused(format!(
            "an earlier run stopped in {log} of the run {run}, which the archive no longer has"
        ))),
    }
}

/// Reads all logs up to the point. What stops it is in the feed, or comes as an error.
async fn read(archive: Archive, base: Base, mut feed: Feed) -> Result<Feed, ReplayError> {
    let mut read_before = 0;
    let first_run = base.cover.logs.first().map(|log| log.run.id.clone());
    for (index, log) in base.cover.logs.iter().enumerate().take(base.located.log_index + 1) {
        // Pieces behind the point need not be there.
        let is_last = index == base.located.log_index;
        let names = log.segments.iter().filter(|name| !is_last || name.start < base.located.offset);
        let names: Vec<_> = names.cloned().collect();
        let segments = archive.segments(&names).await.map_err(|error| Box::new(error.into()))?;
        let (Some(start), Some(end)) = (names.first().map(|it| it.start), names.last().map(|it| it.end))
        else {
            continue;
        };
        feed.begin_log(index, &log.log, Some(&log.run.id) == first_run.as_ref(), start, read_before);
        feed = walk_log(&archive, segments, feed, source::Feed::see).await.map_err(Box::new)?;
        read_before += end.saturating_sub(start);
        if feed.is_over {
            break;
        }
    }
    // What waits for a receiver blocks.
    tokio::task::spawn_blocking(move || {
        feed.finish();
        feed
    })
    .await
    .map_err(|error| ReplayError::Worker(error.to_string()))
}

async fn open(target: &Target, with_binlog: bool) -> Result<(Loader, Vendor, usize), ReplayError> {
    let failed = || ReplayError::server("opening a session");
    let connection = ::server::Connection::open(target, &Limits::default()).await.map_err(failed())?;
    let vendor = connection.flavor().vendor;
    connection.close().await;
    let mut loader = Loader::open(target, &Limits::default(), STATEMENT_LIMIT).await.map_err(failed())?;
    let mut settings =
        vec!["SET NAMES utf8mb4, sql_mode = '', autocommit = 1, time_zone = '+00:00', wait_timeout = 86400"];
    if !with_binlog {
        settings.push("SET SESSION sql_log_bin = 0");
    }
    settings.push(
        "SET SESSION net_read_timeout = 3600, lock_wait_timeout = 3600, innodb_lock_wait_timeout = 600",
    );
    settings.push(match vendor {
        Vendor::MariaDb => "SET SESSION max_statement_time = 0",
        Vendor::MySql => "SET SESSION max_execution_time = 0",
    });
    for setting in settings {
        loader.run(setting.as_bytes()).await.map_err(ReplayError::server("setting the session"))?;
    }
    let sql = Sql::plain("SELECT @@max_allowed_packet AS packet");
    let rows = loader.query(&sql).await.map_err(ReplayError::server("looking at the target"))?;
    let packet_bytes = rows.first().and_then(|row| row.parsed("packet")).unwrap_or(1 << 20);
    Ok((loader, vendor, packet_bytes))
}
