//! The archive's changes of one table, read in stretches: to the point, to a statement that changes the table's
//! structure, or until as much was read as may be kept. It sends nothing to a server.

use std::ops::ControlFlow;
use std::sync::Arc;

use binlog::{Action, Event, EventKind, Fold, Item, Session, Used, effect, shortened};
use flavor::GtidSet;

use super::base::Base;
use super::cascade::{self, Watch};
use super::error::RewindError;
use super::sequence::Sequence;
use super::walk::{begins, walk_log};
use crate::archive::{Archive, SegmentName};

const STATEMENT_LETTERS: usize = 200;

/// A place among the logs: what is before it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) log_index: usize,
    pub(crate) offset: u64,
}

/// A log, and what of it is known already.
#[derive(Clone, Debug)]
struct FedLog {
    name: String,
    segments: Vec<SegmentName>,
    /// Transactions to pass over; none where there cannot be any.
    done: Option<Arc<GtidSet>>,
}

/// The logs from a backup to the point, and the table.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    archive: Archive,
    logs: Vec<FedLog>,
    stop: Cursor,
    table: (String, String),
    has_cascades_logged: bool,
}

/// A statement that changes the table as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Ddl {
    /// As `FILE:POSITION` of its transaction.
    pub(crate) place: String,
    pub(crate) action: Action,
    pub(crate) text: String,
    /// The whole database it makes or removes.
    pub(crate) database: Option<String>,
    pub(crate) session: Session,
    pub(crate) seconds: u32,
}

/// Why a stretch ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The point is reached.
    Point,
    /// As much was read as may be kept.
    Full(Cursor),
    /// The table changes as a whole; what comes then begins there.
    Ddl(Box<Ddl>, Cursor),
}

/// What takes the events of the table.
#[derive(Debug)]
pub(crate) enum Taker {
    /// Puts rows together by key.
    Fold(Box<Fold>),
    /// Keeps every change in order.
    Sequence(Box<Sequence>),
    /// Counts changes of other tables.
    Watch(Box<Watch>),
}

/// What a stretch came to.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) taker: Taker,
    pub(crate) end: End,
    /// Bytes of logs that were read.
    pub(crate) log_bytes: u64,
}

struct Reading {
    taker: Taker,
    table: (String, String),
    log_index: usize,
    log: String,
    /// What is before it was read by an earlier stretch.
    from: u64,
    stop: Option<u64>,
    done: Option<Arc<GtidSet>>,
    is_passed_over: bool,
    begun: u64,
    row_bytes: u64,
    row_bytes_max: u64,
    log_bytes: u64,
    end: Option<End>,
    obstacle: Option<(String, String)>,
}

impl Feed {
    /// The logs that lead from the base to its point.
    pub(crate) async fn new(
        archive: &Archive,
        base: &Base,
        table: (String, String),
    ) -> Result<(Self, Cursor), RewindError> {
        let exact = exact_start(archive, base).await?;
        let first_run = base.cover.logs.first().map(|log| log.run.id.clone()).unwrap_or_default();
        let mut lost = GtidSet::default();
        let reached = base.cover.logs.get(..=base.located.log_index).unwrap_or_default();
        for log in reached.iter().filter(|log| log.run.id != first_run) {
            lost.extend(&log.run.lost);
        }
        let mut done = base.from.gtids.union(&lost);
        let mut logs: Vec<FedLog> = Vec::new();
        let mut run = first_run.clone();
        let mut last: Option<SegmentName> = None;
        for log in reached {
            if log.run.id != run {
                // Runs overlap: what the one before has is not to be done twice.
                if let Some(name) = &last {
                    done.extend(&archive.segment(name).await?.gtids_after());
                }
                run.clone_from(&log.run.id);
            }
            let is_plain = exact.is_some() && run == first_run && lost.is_empty();
            let known = (!is_plain && !done.is_empty()).then(|| Arc::new(done.clone()));
            logs.push(FedLog { name: log.log.clone(), segments: log.segments.clone(), done: known });
            last = log.segments.last().cloned();
        }
        let stop = Cursor { log_index: base.located.log_index, offset: base.located.offset };
        let has_cascades_logged = cascade::is_all_logged(base);
        let feed = Self { archive: archive.clone(), logs, stop, table, has_cascades_logged };
        Ok((feed, exact.unwrap_or_default()))
    }

    /// Database and table.
    pub(crate) fn table(&self) -> (&str, &str) {
        (&self.table.0, &self.table.1)
    }

    /// Whether all servers that wrote the logs logged what foreign keys did.
    pub(crate) const fn has_cascades_logged(&self) -> bool {
        self.has_cascades_logged
    }

    /// Bytes of logs from a cursor to the point.
    pub(crate) fn log_bytes(&self, from: Cursor) -> u64 {
        let logs = self.logs.iter().enumerate().skip(from.log_index);
        logs.flat_map(|(index, log)| self.needed(index, log, from)).map(|name| name.end - name.start).sum()
    }

    fn needed<'f>(&self, index: usize, log: &'f FedLog, from: Cursor) -> Vec<&'f SegmentName> {
        let is_needed = |name: &&SegmentName| {
            (index != from.log_index || name.end > from.offset)
                && (index != self.stop.log_index || name.start < self.stop.offset)
        };
        log.segments.iter().filter(is_needed).collect()
    }

    /// Reads on from a cursor. Rows are kept up to about so many bytes of the log's own form; then the stretch ends
    /// with the transaction.
    pub(crate) async fn read(
        &self,
        from: Cursor,
        taker: Taker,
        row_bytes_max: u64,
    ) -> Result<Stretch, RewindError> {
        let mut reading = Reading {
            taker,
            table: self.table.clone(),
            log_index: 0,
            log: String::new(),
            from: 0,
            stop: None,
            done: None,
            is_passed_over: false,
            begun: 0,
            row_bytes: 0,
            row_bytes_max,
            log_bytes: 0,
            end: None,
            obstacle: None,
        };
        for (index, log) in self.logs.iter().enumerate().skip(from.log_index) {
            reading.log_index = index;
            reading.log.clone_from(&log.name);
            reading.from = if index == from.log_index { from.offset } else { 0 };
            reading.stop = (index == self.stop.log_index).then_some(self.stop.offset);
            reading.done.clone_from(&log.done);
            reading.is_passed_over = false;
            if let Taker::Fold(fold) = &mut reading.taker {
                fold.begin_log(&log.name, false, false);
            }
            let names: Vec<SegmentName> = self.needed(index, log, from).into_iter().cloned().collect();
            let segments = self.archive.segments(&names).await?;
            let name = log.name.clone();
            reading = walk_log(&self.archive, segments, reading, Reading::see).await?;
            if let Some((place, problem)) = reading.obstacle {
                return Err(RewindError::Obstacle { place: format!("{name}:{place}"), problem });
            }
            if reading.end.is_some() || reading.is_stopped() {
                break;
            }
        }
        let Reading { taker, end, log_bytes, .. } = reading;
        Ok(Stretch { taker, end: end.unwrap_or(End::Point), log_bytes })
    }
}

/// Where the backup stands in the archive's first logs, if these are its server's own; else transactions are told by
/// their GTIDs.
async fn exact_start(archive: &Archive, base: &Base) -> Result<Option<Cursor>, RewindError> {
    let Some((server_id, at)) = &base.from.position else { return Ok(None) };
    let server = &base.whole.manifest.server;
    let first = base.cover.logs.first();
    let is_own = |log: &&crate::archive::CoveredLog| {
        let it = &log.run.server;
        it.vendor == server.vendor && it.server_id == *server_id && it.uuid == server.uuid
    };
    let Some(first) = first.filter(is_own) else { return Ok(None) };
    let logs = base.cover.logs.iter().enumerate().filter(|(_, log)| log.run.id == first.run.id);
    for (log_index, log) in logs.filter(|(_, log)| log.log == at.log) {
        for name in log.segments.iter().filter(|name| (name.start..=name.end).contains(&at.offset)) {
            let segment = archive.segment(name).await?;
            let known = &base.from.gtids;
            let fits = known.contains(&segment.gtids_before) && segment.gtids_after().contains(known);
            if known.is_empty() || fits {
                return Ok(Some(Cursor { log_index, offset: at.offset }));
            }
        }
    }
    Ok(None)
}

impl Reading {
    fn is_stopped(&self) -> bool {
        match &self.taker {
            Taker::Fold(fold) => fold.stopped().is_some(),
            Taker::Sequence(_) | Taker::Watch(_) => false,
        }
    }

    fn see(&mut self, item: &Item<'_>) -> Used {
        if item.offset < self.from {
            return Ok(ControlFlow::Continue(()));
        }
        let kind = item.header.kind;
        if begins(kind) {
            if self.stop.is_some_and(|stop| item.offset >= stop) {
                self.end = Some(End::Point);
                return Ok(ControlFlow::Break(()));
            }
            if self.row_bytes >= self.row_bytes_max {
                self.end = Some(End::Full(Cursor { log_index: self.log_index, offset: item.offset }));
                return Ok(ControlFlow::Break(()));
            }
            self.begun = item.offset;
            self.is_passed_over = match (&self.done, item.event()?) {
                (Some(done), Event::Start(start)) => start.gtid.is_some_and(|gtid| {
                    GtidSet::parse(&gtid.to_string()).is_ok_and(|one| done.contains(&last_of(&one, &gtid)))
                }),
                (_, _) => false,
            };
        }
        self.log_bytes += if item.is_inner { 0 } else { u64::from(item.header.event_bytes) };
        if self.is_passed_over {
            return Ok(ControlFlow::Continue(()));
        }
        if matches!(kind, EventKind::QUERY | EventKind::QUERY_COMPRESSED | EventKind::EXECUTE_LOAD_QUERY)
            && self.is_end(item)?
        {
            return Ok(ControlFlow::Break(()));
        }
        if let Some((_, table)) = item.rows()?
            && (&table.database, &table.name) == (&self.table.0, &self.table.1)
        {
            self.row_bytes += item.body.len() as u64;
        }
        match &mut self.taker {
            Taker::Fold(fold) => fold.see(item),
            Taker::Sequence(sequence) => {
                if let Some(problem) = sequence.see(item)? {
                    self.obstacle = Some((self.begun.to_string(), problem));
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(()))
            }
            Taker::Watch(watch) => {
                if begins(kind) {
                    watch.begin(format!("{}:{}", self.log, self.begun));
                }
                watch.see(item)?;
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    /// Whether a statement changes the table as a whole, which ends the stretch.
    fn is_end(&mut self, item: &Item<'_>) -> Result<bool, binlog::DecodeError> {
        let (Event::Query(query) | Event::LoadStatement { query, .. }) = item.event()? else {
            return Ok(false);
        };
        if [&b"BEGIN"[..], b"COMMIT", b"ROLLBACK"].contains(&query.statement.as_ref()) {
            return Ok(false);
        }
        let text = query.text();
        let effect = effect(&text, &String::from_utf8_lossy(&query.database));
        let (database, table) = &self.table;
        let names_it = effect.tables.iter().any(|(of, name)| of == database && name == table)
            || effect.database.as_ref() == Some(database);
        if !names_it {
            return Ok(false);
        }
        let shown = shortened(text.as_bytes(), STATEMENT_LETTERS);
        let problem = match effect.action {
            Action::Grant | Action::Other => return Ok(false),
            Action::Insert | Action::Update | Action::Delete | Action::Load => Some(format!(
                "this statement was logged as text, not as rows (binlog_format is not ROW): {shown}"
            )),
            Action::Rename => Some(format!("the table gets or loses its name: {shown}")),
            Action::Create | Action::Alter | Action::Drop | Action::Truncate
                if std::str::from_utf8(&query.statement).is_err() =>
            {
                Some(format!("this statement is not UTF-8: {shown}"))
            }
            Action::Create | Action::Alter | Action::Drop | Action::Truncate => None,
        };
        if let Some(problem) = problem {
            self.obstacle = Some((self.begun.to_string(), problem));
            return Ok(true);
        }
        let ddl = Ddl {
            place: format!("{}:{}", self.log, self.begun),
            action: effect.action,
            text: text.into_owned(),
            database: effect.database,
            session: query.session()?,
            seconds: item.header.timestamp_seconds,
        };
        self.end = Some(End::Ddl(Box::new(ddl), Cursor { log_index: self.log_index, offset: item.end }));
        Ok(true)
    }
}

/// A MariaDB GTID as text means all before it too; a set with gaps, which a lost transaction leaves, has not all of
/// them.
fn last_of(set: &GtidSet, gtid: &binlog::Gtid) -> GtidSet {
    let binlog::Gtid::MariaDb { domain, server, sequence } = gtid else { return set.clone() };
    let before = sequence.checked_sub(1).filter(|before| *before > 0);
    let before = before.and_then(|before| GtidSet::parse(&format!("{domain}-{server}-{before}")).ok());
    before.map_or_else(|| set.clone(), |before| set.subtract(&before))
}
