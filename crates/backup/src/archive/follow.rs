//! Archiving: from where the archive ends, a server's logs into segments, once to their end or for ever.
//!
//! A connection that is lost costs nothing: what had come of whole transactions is made durable first, and the next
//! connection goes on behind it. A process that is killed leaves what is durable; the server still has the rest.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base16ct::lower::encode_string;
use flavor::{GtidSet, Vendor};
use jiff::Timestamp;
use server::{BinlogDump, DumpEvent, DumpFrom, Limits, Target};

use super::catalog::{Archive, RunSegments};
use super::cutter::{Cursor, Cutter, Taken};
use super::error::ArchiveError;
use super::guard::{self, Purge, PurgeReport};
use super::lease::Lease;
use super::merge;
use super::segment::{ARCHIVE_FORMAT, Run, RunReason, Segment};
use super::source::SourceServer;

/// First wait before a new try, doubled each time.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_MOST: Duration = Duration::from_secs(30);
/// How often the server's purging is looked at.
const GUARD_EVERY: Duration = Duration::from_secs(60);

/// How a server is archived.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// The server. It needs REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR).
    pub target: Target,
    /// How long the server may take.
    pub limits: Limits,
    /// What the server tells its replicas apart by: no replica may have it.
    pub server_id: u32,
    /// A segment is ended at this age, at the next transaction's end.
    pub segment_age: Duration,
    /// A segment is ended at this length of the log, in bytes.
    pub segment_bytes: u64,
    /// Begin anew where something is missing.
    pub accepts_gap: bool,
    /// What becomes of the server's own purging.
    pub purge: Purge,
    /// How long after this archiver's last sign of life another one may take over.
    pub lease: Duration,
}

/// What an archiver has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveNews {
    /// Another archiver has not ended as it should: it is given its time.
    Waits {
        /// Which one.
        by: String,
        /// At most so long.
        most: Duration,
    },
    /// It is connected, and goes on there.
    Begun {
        /// The run.
        run: Box<Run>,
        /// Whether the run is new.
        is_new: bool,
        /// The log.
        log: String,
        /// Where in it, in bytes.
        offset: u64,
    },
    /// A segment is durable.
    Archived {
        /// The segment.
        segment: Box<Segment>,
        /// Seconds since its last event, by the archiving host's clock.
        behind_seconds: u64,
    },
    /// Segments became one.
    Merged {
        /// How many.
        count: usize,
        /// The one.
        segment: Box<Segment>,
    },
    /// The server's purging was looked at.
    Purging(PurgeReport),
    /// It failed, and tries again.
    Failed {
        /// Why, in words.
        why: String,
        /// Waits so long first.
        wait: Duration,
    },
}

/// What was archived by a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Archived {
    /// Segments made durable.
    pub segments: u64,
    /// Bytes of logs in them.
    pub bytes: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Where it ended: the log.
    pub log: String,
    /// Where it ended, in bytes from the log's beginning.
    pub offset: u64,
}

/// Archives what the server has written up to now.
///
/// # Errors
/// If the place or the server fails, or something is missing between the archive and the server's logs.
pub async fn archive_once(
    archive: &Archive,
    options: &ArchiveOptions,
    tell: &mut (dyn FnMut(ArchiveNews) + Send),
) -> Result<Archived, ArchiveError> {
    let mut archived = Archived::default();
    let lease = lease(archive, options, tell).await?;
    let archive = archive.leased(Arc::clone(&lease));
    let outcome = async {
        let mut session = Session::begin(&archive, options, tell).await?;
        let outcome = session.stream(options, false, &mut std::future::pending(), &mut archived, tell).await;
        session.end(outcome, &mut archived, tell).await
    };
    let outcome = outcome.await;
    drop(archive);
    give_back(lease).await;
    outcome.map(|_| archived)
}

async fn lease(
    archive: &Archive,
    options: &ArchiveOptions,
    tell: &mut (dyn FnMut(ArchiveNews) + Send),
) -> Result<Arc<Lease>, ArchiveError> {
    let waits = |by, most| tell(ArchiveNews::Waits { by, most });
    Ok(Arc::new(Lease::take(archive.place(), options.lease, waits).await?))
}

/// Of those who knew of it, this has to be the last.
async fn give_back(lease: Arc<Lease>) {
    if let Some(lease) = Arc::into_inner(lease) {
        lease.give_back().await;
    }
}

/// Archives what the server writes until `stop` is done. Failures that may pass are tried again.
///
/// # Errors
/// If something is missing between the archive and the server's logs, which no waiting mends, or if what is archived
/// cannot be read.
pub async fn archive_follow(
    archive: &Archive,
    options: &ArchiveOptions,
    stop: impl Future<Output = ()> + Send + Unpin,
    tell: &mut (dyn FnMut(ArchiveNews) + Send),
) -> Result<Archived, ArchiveError> {
    let mut stop = stop;
    let mut archived = Archived::default();
    let mut wait = WAIT_FIRST;
    let mut held: Option<Arc<Lease>> = None;
    let ended = loop {
        let before = archived.segments;
        let outcome = connected(archive, options, &mut held, &mut stop, &mut archived, tell).await;
        let error = match outcome {
            Ok(true) => break Ok(()),
            Ok(false) => {
                server::ServerError::ConnectionLost { reason: "the server ended the stream".to_owned() }
                    .into()
            }
            Err(error) if error.is_passing() => error,
            Err(error) => break Err(error),
        };
        if archived.segments > before {
            wait = WAIT_FIRST;
        }
        tell(ArchiveNews::Failed { why: error.to_string(), wait });
        tokio::select! {
            () = &mut stop => break Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(WAIT_MOST);
    };
    if let Some(lease) = held {
        give_back(lease).await;
    }
    ended.map(|()| archived)
}

/// Archives for as long as a connection lasts, under the lease, which is taken first where it is not held yet. Whether
/// it was stopped.
async fn connected(
    archive: &Archive,
    options: &ArchiveOptions,
    held: &mut Option<Arc<Lease>>,
    stop: &mut (impl Future<Output = ()> + Send + Unpin),
    archived: &mut Archived,
    tell: &mut (dyn FnMut(ArchiveNews) + Send),
) -> Result<bool, ArchiveError> {
    let lease = match held {
        Some(lease) => {
            lease.see().await?;
            Arc::clone(lease)
        }
        None => tokio::select! {
            () = &mut *stop => return Ok(true),
            taken = lease(archive, options, tell) => Arc::clone(held.insert(taken?)),
        },
    };
    let archive = archive.leased(lease);
    let mut session = Session::begin(&archive, options, tell).await?;
    let outcome = session.stream(options, true, stop, archived, tell).await;
    session.end(outcome, archived, tell).await
}

/// A connection's worth of archiving.
struct Session<'a> {
    archive: &'a Archive,
    server: SourceServer,
    cutter: Cutter,
    run: Run,
    /// Since they were last made one.
    segments_of_log: usize,
}

impl<'a> Session<'a> {
    async fn begin(
        archive: &'a Archive,
        options: &ArchiveOptions,
        tell: &mut (dyn FnMut(ArchiveNews) + Send),
    ) -> Result<Self, ArchiveError> {
        archive.remove_empty_runs().await?;
        let last = archive.last_run().await?;
        let mut server = SourceServer::open(&options.target, &options.limits).await?;
        let (run, cursor, is_new) = match go_on(archive, last.as_ref(), &mut server, options).await? {
            Start::GoOn(run, cursor) => (run, cursor, false),
            Start::Anew { run, log } => {
                archive.put_run(&run).await?;
                let gtids = GtidSet::default();
                (run, Cursor { log, offset: 0, head: None, gtids, follows: None }, true)
            }
        };
        let (log, offset) = (cursor.log.clone(), cursor.offset);
        tell(ArchiveNews::Begun { run: Box::new(run.clone()), is_new, log, offset });
        let has_holes = server.identity.vendor == Vendor::MariaDb;
        let cutter = Cutter::new(&run.id, cursor, has_holes)?;
        let segments = last.iter().flat_map(|last| &last.segments);
        let segments_of_log = segments.filter(|it| it.run == run.id && it.log == cutter.cursor.log).count();
        Ok(Self { archive, server, cutter, run, segments_of_log })
    }

    /// Streams until the end of what is written, or until `stop`: then the value is true.
    async fn stream(
        &mut self,
        options: &ArchiveOptions,
        is_following: bool,
        stop: &mut (impl Future<Output = ()> + Send + Unpin),
        archived: &mut Archived,
        tell: &mut (dyn FnMut(ArchiveNews) + Send),
    ) -> Result<bool, ArchiveError> {
        let from = DumpFrom::Position {
            log: self.cutter.cursor.log.clone(),
            // A log's first event is behind its magic number.
            position: self.cutter.cursor.offset.max(4),
        };
        let (target, limits, id) = (&options.target, &options.limits, options.server_id);
        let (names, flavor) = (self.server.names(), self.server.flavor());
        let mut dump = if is_following {
            BinlogDump::follow(target, limits, id, names, flavor, &from).await?
        } else {
            BinlogDump::open(target, limits, id, names, flavor, &from).await?
        };
        let mut guarded = tokio::time::Instant::now();
        guard::look(&mut self.server, options, self.archive, &self.run, &self.cutter.cursor.log, tell)
            .await?;
        loop {
            let next = tokio::select! {
                biased;
                () = &mut *stop => {
                    dump.close().await;
                    return Ok(true);
                }
                next = dump.next() => next?,
            };
            let Some(event) = next else {
                dump.close().await;
                return Ok(false);
            };
            self.take(event, options, archived, tell).await?;
            if is_following && guarded.elapsed() > GUARD_EVERY {
                guarded = tokio::time::Instant::now();
                let log = self.cutter.cursor.log.clone();
                guard::look(&mut self.server, options, self.archive, &self.run, &log, tell).await?;
            }
        }
    }

    async fn take(
        &mut self,
        event: DumpEvent,
        options: &ArchiveOptions,
        archived: &mut Archived,
        tell: &mut (dyn FnMut(ArchiveNews) + Send),
    ) -> Result<(), ArchiveError> {
        let is_due = |cutter: &Cutter| {
            cutter.open_bytes() >= options.segment_bytes
                || cutter.open_since().is_some_and(|age| age >= options.segment_age)
        };
        match event {
            DumpEvent::Log(name) => {
                if name != self.cutter.cursor.log {
                    // A server that crashed wrote nothing about the log's end.
                    self.cutter.settle(self.archive).await?;
                    self.cut(true, None, archived, tell).await?;
                    self.end_log(true, tell).await?;
                    self.cutter.begin_log(&name);
                }
            }
            DumpEvent::Event(event) => match self.cutter.take(self.archive, &event).await? {
                Taken::Inside => {}
                Taken::Whole => {
                    if is_due(&self.cutter) {
                        self.cut(false, None, archived, tell).await?;
                    }
                }
                Taken::LogEnd(next) => self.cut(true, next, archived, tell).await?,
            },
            DumpEvent::Idle => {
                self.archive.watch_lease().await?;
                self.cutter.settle(self.archive).await?;
                if is_due(&self.cutter) {
                    self.cut(false, None, archived, tell).await?;
                }
            }
        }
        Ok(())
    }

    async fn cut(
        &mut self,
        is_log_end: bool,
        next_log: Option<String>,
        archived: &mut Archived,
        tell: &mut (dyn FnMut(ArchiveNews) + Send),
    ) -> Result<(), ArchiveError> {
        let Some(segment) = self.cutter.finish(self.archive, is_log_end, next_log).await? else {
            return Ok(());
        };
        archived.segments += 1;
        archived.bytes += segment.bytes;
        archived.transactions += segment.transactions;
        segment.log.clone_into(&mut archived.log);
        archived.offset = segment.end;
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
        let behind_seconds = segment.last_seconds.map_or(0, |seconds| now.saturating_sub(u64::from(seconds)));
        tell(ArchiveNews::Archived { segment: Box::new(segment), behind_seconds });
        self.segments_of_log += 1;
        if self.segments_of_log >= merge::SEGMENTS_MAX {
            self.end_log(false, tell).await?;
        }
        Ok(())
    }

    /// Makes one segment of those of the log.
    async fn end_log(
        &mut self,
        is_ended: bool,
        tell: &mut (dyn FnMut(ArchiveNews) + Send),
    ) -> Result<(), ArchiveError> {
        self.segments_of_log = 0;
        let of = (self.run.id.as_str(), self.cutter.cursor.log.as_str());
        if let Some((count, segment)) = merge::merge_log(self.archive, of, is_ended).await? {
            tell(ArchiveNews::Merged { count, segment: Box::new(segment) });
        }
        Ok(())
    }

    /// Makes durable what is whole, however the stream ended.
    async fn end(
        mut self,
        outcome: Result<bool, ArchiveError>,
        archived: &mut Archived,
        tell: &mut (dyn FnMut(ArchiveNews) + Send),
    ) -> Result<bool, ArchiveError> {
        let cut = self.cut(false, None, archived, tell).await;
        if archived.log.is_empty() {
            self.cutter.cursor.log.clone_into(&mut archived.log);
            archived.offset = self.cutter.cursor.offset;
        }
        self.server.close().await;
        let is_stopped = outcome?;
        cut?;
        Ok(is_stopped)
    }
}

/// Where archiving begins.
enum Start {
    GoOn(Run, Cursor),
    Anew { run: Run, log: String },
}

/// Finds where the archive goes on with this server.
async fn go_on(
    archive: &Archive,
    last: Option<&RunSegments>,
    server: &mut SourceServer,
    options: &ArchiveOptions,
) -> Result<Start, ArchiveError> {
    let oldest = server.logs.first().map(|log| log.name.clone()).unwrap_or_default();
    let Some(last) = last else {
        return Ok(Start::Anew {
            run: new_run(server, RunReason::First, None, GtidSet::default()),
            log: oldest,
        });
    };
    let after = Some(last.run.id.clone());
    let Some(name) = last.segments.last() else {
        let problem = "a run without segments".to_owned();
        return Err(ArchiveError::Record { name: Run::record_name(&last.run.id), problem });
    };
    if let Some((_, what)) = last.gap() {
        let reaches = format!("{} {}", name.log, name.end);
        return Err(ArchiveError::Broken { what, reaches });
    }
    let segment = archive.segment(name).await?;
    let is_same = last.run.server.is_same(&server.identity);
    if is_same && let Some(cursor) = same_log(server, options, &segment).await? {
        return Ok(Start::GoOn(last.run.clone(), cursor));
    }
    let done = segment.gtids_after();
    let lost = done.subtract(&server.executed);
    let reason = if is_same { RunReason::NewLogs } else { RunReason::Failover };
    let archived = format!("{} {} of {}", segment.log, segment.end, last.run.server.host);
    let endpoint = options.target.endpoint.to_string();
    if !done.is_empty() {
        let names = server.names();
        let mut missing = GtidSet::default();
        for log in names.iter().rev() {
            let before = server.before(log).await?;
            if done.contains(&before) {
                return Ok(Start::Anew { run: new_run(server, reason, after, lost), log: log.clone() });
            }
            missing = before.subtract(&done);
        }
        if !options.accepts_gap {
            let missing = missing.to_string();
            return Err(ArchiveError::Gap { endpoint, archived, oldest, missing });
        }
    } else if !options.accepts_gap {
        return Err(ArchiveError::NoGtids { endpoint, archived });
    }
    Ok(Start::Anew { run: new_run(server, RunReason::AcceptedGap, after, lost), log: oldest })
}

/// Where to go on when the server still has the archive's last log, or says which one came next.
async fn same_log(
    server: &SourceServer,
    options: &ArchiveOptions,
    segment: &Segment,
) -> Result<Option<Cursor>, ArchiveError> {
    let follows = super::segment::LogPosition { log: segment.log.clone(), offset: segment.end };
    let gtids = segment.gtids_after();
    let Some(log) = server.logs.iter().find(|log| log.name == segment.log) else {
        let next = segment.next_log.clone().filter(|next| server.has(next));
        let cursor = next.map(|log| Cursor { log, offset: 0, head: None, gtids, follows: Some(follows) });
        return Ok(cursor);
    };
    if log.bytes < segment.end {
        return Ok(None);
    }
    // Another log of the same name begins with another time.
    let head = first_event(server, options, &segment.log).await?;
    let is_head = |head: &Vec<u8>| same_head(&encode_string(head), &segment.head);
    let Some(head) = head.filter(is_head) else { return Ok(None) };
    if let Some(next) = segment.next_log.clone().filter(|next| server.has(next)) {
        return Ok(Some(Cursor { log: next, offset: 0, head: None, gtids, follows: Some(follows) }));
    }
    let cursor = Cursor {
        log: segment.log.clone(),
        offset: segment.end,
        head: Some(head),
        gtids,
        follows: segment.follows.clone(),
    };
    Ok(Some(cursor))
}

/// Whether two first events are of the same log. A log that is in use has a flag set, in the 18th byte.
fn same_head(left: &str, right: &str) -> bool {
    let split = |text: &str| Some((text.get(..34)?.to_owned(), text.get(38..)?.to_owned()));
    split(left).is_some() && split(left) == split(right)
}

/// The first event of a log.
async fn first_event(
    server: &SourceServer,
    options: &ArchiveOptions,
    log: &str,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    let from = DumpFrom::Position { log: log.to_owned(), position: 4 };
    let (target, limits) = (&options.target, &options.limits);
    let mut dump =
        BinlogDump::open(target, limits, options.server_id, server.names(), server.flavor(), &from).await?;
    let mut head = None;
    while let Some(event) = dump.next().await? {
        if let DumpEvent::Event(event) = event {
            head = Some(event);
            break;
        }
    }
    dump.close().await;
    Ok(head)
}

fn new_run(server: &SourceServer, reason: RunReason, after: Option<String>, lost: GtidSet) -> Run {
    let began = Timestamp::now();
    let id = format!("{}-{}", began.strftime("%Y%m%dT%H%M%S%3fZ"), server.identity.server_id);
    Run { format: ARCHIVE_FORMAT, id, server: server.identity.clone(), began, reason, after, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_a_log_in_use_makes_no_other_log_of_it() {
        let head = |time: &str, flags: &str| format!("{time}{}{flags}{}", "0".repeat(26), "ab".repeat(60));
        assert!(same_head(&head("11223344", "0100"), &head("11223344", "0000")));
        assert!(!same_head(&head("11223345", "0000"), &head("11223344", "0000")));
        assert!(!same_head("", ""));
    }
}
