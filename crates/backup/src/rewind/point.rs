//! [`Point`]: the moment to go back to, as it is asked for, and [`Located`]: where in the archive that is.
//!
//! A point lies between two transactions. Finding it reads the records of the archive, and of its logs only the piece
//! that has it.

use std::fmt;
use std::ops::ControlFlow;

use binlog::{Gtid, GtidChoice, Tracker, Transaction};
use flavor::GtidSet;
use jiff::Timestamp;
use serde::Serialize;

use super::error::RewindError;
use super::walk::walk_log;
use crate::archive::{Archive, Cover, LogPosition, Segment};

/// One transaction by its GTID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneGtid {
    text: String,
    choice: GtidChoice,
    set: GtidSet,
}

/// A moment between two transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the first transaction of the archive that has this time or a later one.
    Time(Timestamp),
    /// After this transaction.
    After(OneGtid),
    /// Before this transaction, which is the mistake.
    Before(OneGtid),
    /// After all transactions that end at this place of a log or before it.
    Position(LogPosition),
    /// The archive's end.
    End,
}

/// A point that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Not one GTID.
    #[error(
        "`{0}` is not the GTID of one transaction: give uuid:number, uuid:tag:number or domain-server-number"
    )]
    Gtid(String),
    /// Not a place in a log.
    #[error("`{0}` is neither a GTID nor a place in a log, such as binlog.000042:1234")]
    Position(String),
}

impl Point {
    /// After the transaction with this GTID.
    ///
    /// # Errors
    /// If it is not the GTID of one transaction.
    pub fn after(text: &str) -> Result<Self, PointError> {
        OneGtid::parse(text).map(Self::After)
    }

    /// A place in a log: `FILE:POSITION`.
    ///
    /// # Errors
    /// If it is none.
    pub fn position(text: &str) -> Result<Self, PointError> {
        let refused = || PointError::Position(text.escape_debug().to_string());
        let (log, offset) = text.rsplit_once(':').ok_or_else(refused)?;
        // A log is known by its name, wherever it was read.
        let log = log.rsplit('/').next().unwrap_or(log).to_owned();
        let offset = offset.parse().map_err(|_| refused())?;
        if log.is_empty() || log.contains(|letter: char| letter.is_control()) {
            return Err(refused());
        }
        Ok(Self::Position(LogPosition { log, offset }))
    }

    /// Before what `mainstay binlog find` names: a GTID, or a place in a log.
    ///
    /// # Errors
    /// If it is neither.
    pub fn before(text: &str) -> Result<Self, PointError> {
        match OneGtid::parse(text) {
            Ok(gtid) => Ok(Self::Before(gtid)),
            Err(_) => Self::position(text),
        }
    }
}

impl OneGtid {
    fn parse(text: &str) -> Result<Self, PointError> {
        let refused = || PointError::Gtid(text.escape_debug().to_string());
        let text = text.trim();
        // Sets and ranges are none: MySQL's has one number behind its last colon, MariaDB's has two hyphens.
        let is_one = match text.rsplit_once(':') {
            Some((_, number)) => number.bytes().all(|byte| byte.is_ascii_digit()),
            None => text.bytes().filter(|byte| *byte == b'-').count() == 2,
        };
        if !is_one || text.contains(',') || text.matches(':').count() > 2 {
            return Err(refused());
        }
        let choice = text.parse().map_err(|_| refused())?;
        let set = GtidSet::parse(text).map_err(|_| refused())?;
        if text.contains(':') && set.count() != 1 {
            return Err(refused());
        }
        Ok(Self { text: text.to_owned(), choice, set })
    }

    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, gtid: &Gtid) -> bool {
        self.choice.contains(gtid)
    }

    /// It, as a set. On MariaDB with all before it from the same server.
    #[must_use]
    pub const fn set(&self) -> &GtidSet {
        &self.set
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "before {time}"),
            Self::After(gtid) => write!(f, "after {}", gtid.text),
            Self::Before(gtid) => write!(f, "before {}", gtid.text),
            Self::Position(at) => write!(f, "before {}:{}", at.log, at.offset),
            Self::End => f.write_str("at the archive's end"),
        }
    }
}

/// Where a point is among the logs that lead on from a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// Which of [`Cover::logs`].
    #[serde(skip)]
    pub log_index: usize,
    /// The run of the archive.
    pub run: String,
    /// The log.
    pub log: String,
    /// Transactions that begin here or later are not in it.
    pub offset: u64,
    /// Time of the transaction that comes next, in seconds since 1970; none at the archive's end.
    pub next_seconds: Option<u32>,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log, self.offset)
    }
}

/// Where the archive ends, as far as a cover leads.
#[must_use]
pub fn end_of(cover: &Cover) -> Option<Located> {
    let log = cover.logs.last()?;
    Some(Located {
        log_index: cover.logs.len() - 1,
        run: log.run.id.clone(),
        log: log.log.clone(),
        offset: log.segments.last()?.end,
        next_seconds: None,
    })
}

/// What the archive has of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there.
    At(Located),
    /// It is before the first of these logs, or before what the backup has.
    Earlier,
    /// These logs end before it.
    Later,
}

/// Finds a point among the logs that lead on from a backup. `known` is what the backup has.
///
/// # Errors
/// If the archive cannot be read, or its logs of this name are several.
pub async fn locate(
    archive: &Archive,
    cover: &Cover,
    known: &GtidSet,
    point: &Point,
) -> Result<Found, RewindError> {
    match point {
        Point::End => Ok(end_of(cover).map_or(Found::Later, Found::At)),
        Point::Position(at) => locate_position(archive, cover, at).await,
        Point::After(gtid) => locate_gtid(archive, cover, known, gtid, true).await,
        Point::Before(gtid) => locate_gtid(archive, cover, known, gtid, false).await,
        Point::Time(time) => {
            let wanted = u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX);
            // Of its last transaction the record may have the second before its commit.
            let early = wanted.saturating_sub(1);
            let may_have = |segment: &Segment| segment.last_seconds.is_some_and(|last| last >= early);
            let is_it = move |transaction: &Transaction| transaction.last_seconds >= wanted;
            let found = first(archive, cover, may_have, is_it).await?;
            Ok(found.map_or(Found::Later, |(located, _)| Found::At(located)))
        }
    }
}

async fn locate_gtid(
    archive: &Archive,
    cover: &Cover,
    known: &GtidSet,
    gtid: &OneGtid,
    is_after: bool,
) -> Result<Found, RewindError> {
    if known.contains(gtid.set()) {
        return Ok(Found::Earlier);
    }
    let may_have = |segment: &Segment| segment.gtids_after().contains(gtid.set());
    let wanted = gtid.clone();
    let is_it = move |it: &Transaction| it.gtid.as_ref().is_some_and(|gtid| wanted.is(gtid));
    Ok(match first(archive, cover, may_have, is_it).await? {
        None => Found::Later,
        Some((located, _)) if !is_after => Found::At(located),
        Some((located, end)) => Found::At(Located { offset: end, next_seconds: None, ..located }),
    })
}

/// The first transaction that is it, and where it ends. Only pieces that may have it are read.
async fn first<F>(
    archive: &Archive,
    cover: &Cover,
    may_have: impl Fn(&Segment) -> bool,
    is_it: F,
) -> Result<Option<(Located, u64)>, RewindError>
where
    F: Fn(&Transaction) -> bool + Clone + Send + 'static,
{
    for (log_index, log) in cover.logs.iter().enumerate() {
        for name in &log.segments {
            let segment = archive.segment(name).await?;
            if !may_have(&segment) {
                continue;
            }
            if let Some(found) = find_transaction(archive, segment, is_it.clone()).await? {
                let located = Located {
                    log_index,
                    run: log.run.id.clone(),
                    log: log.log.clone(),
                    offset: found.offset,
                    next_seconds: Some(found.last_seconds),
                };
                return Ok(Some((located, found.end)));
            }
        }
    }
    Ok(None)
}

async fn find_transaction(
    archive: &Archive,
    segment: Segment,
    is_it: impl Fn(&Transaction) -> bool + Send + 'static,
) -> Result<Option<Transaction>, RewindError> {
    let state = (Tracker::default(), None);
    let (_, found) = walk_log(archive, vec![segment], state, move |(tracker, found), item| {
        let (_, ends) = tracker.see(item)?;
        if ends && let Some(transaction) = tracker.take().filter(&is_it) {
            *found = Some(transaction);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(found)
}

async fn locate_position(archive: &Archive, cover: &Cover, at: &LogPosition) -> Result<Found, RewindError> {
    let mut named = cover.logs.iter().enumerate().filter(|(_, log)| {
        log.log == at.log && log.segments.last().is_some_and(|last| at.offset <= last.end)
    });
    let Some((log_index, log)) = named.next() else { return Ok(Found::Later) };
    if named.next().is_some() {
        return Err(RewindError::Ambiguous { log: at.log.clone() });
    }
    let Some(name) = log.segments.iter().find(|name| at.offset <= name.end) else { return Ok(Found::Later) };
    if at.offset < name.start {
        return Ok(Found::Earlier);
    }
    let wanted = at.offset;
    // A place within a transaction is before it.
    let reaches_over = move |transaction: &Transaction| transaction.end > wanted;
    let next = find_transaction(archive, archive.segment(name).await?, reaches_over).await?;
    Ok(Found::At(Located {
        log_index,
        run: log.run.id.clone(),
        log: at.log.clone(),
        offset: next.as_ref().map_or(wanted, |next| next.offset),
        next_seconds: next.map(|next| next.last_seconds),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_and_others_refused() {
        let uuid = "7536b2a3-e54f-11f1-b83d-02fc00000001";
        for text in ["0-1-7", &format!("{uuid}:5"), &format!("{uuid}:tag:5"), " 0-1-7 "] {
            assert!(Point::after(text).is_ok(), "{text}");
            assert!(matches!(Point::before(text), Ok(Point::Before(_))), "{text}");
        }
        for text in ["", "0-1-7,0-1-8", "0-1", &format!("{uuid}:1-5"), &format!("{uuid}:1:5"), uuid] {
            assert!(Point::after(text).is_err(), "{text}");
        }
        let position = |log: &str, offset| Point::Position(LogPosition { log: log.to_owned(), offset });
        assert_eq!(Point::before("/var/lib/mysql/binlog.000042:1234"), Ok(position("binlog.000042", 1234)));
        assert_eq!(Point::position("binlog.000042:4"), Ok(position("binlog.000042", 4)));
        for text in ["binlog.000042", "binlog.000042:", ":5", "b:-1", "b:x", "b\n:1"] {
            assert!(Point::position(text).is_err(), "{text}");
        }
    }
}
