//! [`Cutter`]: events of a log in, segments of it out, each cut between two transactions.
//!
//! What of a transaction has come so far is held back until the transaction has ended, so that a lost connection costs
//! nothing that had come before. A transaction larger than that gets a segment of its own and is not held.

use std::io::Write as _;
use std::time::{Duration, Instant};

use base16ct::lower::encode_string;
use binlog::{Event, EventKind, Extent, Format, Single};
use flavor::GtidSet;
use sha2::{Digest as _, Sha256};
use zstd::stream::write::Encoder;

use super::catalog::Archive;
use super::content::{Content, Outbox};
use super::error::ArchiveError;
use super::gtids::Seen;
use super::segment::{ARCHIVE_FORMAT, LogPosition, Segment};
use crate::seal::Sealed;

/// What every log begins with.
pub(crate) const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];
/// An event that nothing wrote to a log.
const FLAG_ARTIFICIAL: u16 = 0x0020;
/// Of a transaction that has not ended, held back at most.
const HELD_BYTES_MAX: usize = 32 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Where in a run the next event belongs.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) log: String,
    pub(crate) offset: u64,
    /// The log's first event; none before it has come.
    pub(crate) head: Option<Vec<u8>>,
    /// Everything that had been done before.
    pub(crate) gtids: GtidSet,
    /// Where the run stood before this log; none for the run's first.
    pub(crate) follows: Option<LogPosition>,
}

/// Cuts one log after the other into segments.
#[derive(Debug)]
pub(crate) struct Cutter {
    run: String,
    /// Behind the last whole transaction.
    pub(crate) cursor: Cursor,
    format: Format,
    /// Whether the server may keep parts of the log to itself, as MariaDB does.
    has_holes: bool,
    open: Option<OpenSegment>,
    held: Held,
    /// Of the transaction that has begun last; none behind its end.
    extent: Option<Extent>,
    /// Time of the latest event.
    pub(crate) last_seconds: Option<u32>,
}

/// What of a transaction has come.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    end: u64,
    seen: Vec<binlog::Gtid>,
    transactions: u64,
    first_seconds: Option<u32>,
    last_seconds: Option<u32>,
    /// Whether it is written as it comes.
    is_large: bool,
}

struct OpenSegment {
    start: u64,
    content: Content,
    opened: Instant,
    encoder: Encoder<'static, Sealed<Outbox>>,
    digest: Sha256,
    bytes: u64,
    seen: Seen,
    before: GtidSet,
    transactions: u64,
    first_seconds: Option<u32>,
    last_seconds: Option<u32>,
}

impl std::fmt::Debug for OpenSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSegment")
            .field("start", &self.start)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What an event was to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A part of a transaction, or of nothing.
    Inside,
    /// A transaction has ended, or the log's own affairs are done.
    Whole,
    /// The log ends with it; the next one's name where it says so.
    LogEnd(Option<String>),
}

impl Cutter {
    /// Goes on at a cursor. With an offset of 0 the log's first event comes first.
    pub(crate) fn new(run: &str, cursor: Cursor, has_holes: bool) -> Result<Self, ArchiveError> {
        let mut cutter = Self {
            run: run.to_owned(),
            cursor,
            format: Format::default(),
            has_holes,
            open: None,
            held: Held::default(),
            extent: None,
            last_seconds: None,
        };
        if let Some(head) = cutter.cursor.head.clone() {
            cutter.format = cutter.format_of(&head)?;
        }
        Ok(cutter)
    }

    fn format_of(&self, head: &[u8]) -> Result<Format, ArchiveError> {
        Format::of_event(head).map_err(|error| self.event_error(&error))
    }

    fn event_error(&self, error: &binlog::DecodeError) -> ArchiveError {
        let (log, offset) = (self.cursor.log.clone(), self.next_offset());
        ArchiveError::Event { log, offset, problem: error.to_string() }
    }

    /// Where the next event is to begin.
    fn next_offset(&self) -> u64 {
        self.held.end.max(self.cursor.offset)
    }

    /// Bytes of the log in the segment that is being written.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// How long a segment has been open; none without one.
    pub(crate) fn open_since(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| open.opened.elapsed())
    }

    /// Begins the next log, after the one before was [finished](Self::finish).
    pub(crate) fn begin_log(&mut self, log: &str) {
        if log == self.cursor.log {
            return;
        }
        let before = LogPosition { log: self.cursor.log.clone(), offset: self.cursor.offset };
        self.cursor.follows = (before.offset > 0).then_some(before);
        log.clone_into(&mut self.cursor.log);
        self.cursor.offset = 0;
        self.cursor.head = None;
        self.held = Held::default();
        self.extent = None;
    }

    /// Takes the next event.
    pub(crate) async fn take(&mut self, archive: &Archive, event: &[u8]) -> Result<Taken, ArchiveError> {
        let kind = EventKind(event.get(4).copied().unwrap_or(0));
        if kind == EventKind::FORMAT_DESCRIPTION {
            return self.take_format(archive, event).await;
        }
        let format = self.format.clone();
        let single = Single::parse(event, &format).map_err(|error| self.event_error(&error))?;
        if single.header.flags & FLAG_ARTIFICIAL != 0 || single.header.next_position == 0 {
            return Ok(Taken::Inside);
        }
        let begin = self.begin_of(single.header.next_position, single.header.event_bytes)?;
        let what = match kind {
            EventKind::GTID
            | EventKind::GTID_TAGGED
            | EventKind::MARIADB_GTID
            | EventKind::ANONYMOUS_GTID => {
                // Whatever was before is a whole, even where it did not say so.
                self.settle(archive).await?;
                self.held.transactions += 1;
                if let Event::Start(start) = single.event().map_err(|error| self.event_error(&error))? {
                    self.extent = Some(Extent::of_start(kind, &start));
                    self.held.seen.extend(start.gtid);
                }
                Taken::Inside
            }
            EventKind::PREVIOUS_GTIDS | EventKind::GTID_LIST => {
                let earlier = earlier(&single).map_err(|error| self.event_error(&error))?;
                self.cursor.gtids.extend(&earlier);
                if let Some(open) = self.open.as_mut().filter(|open| open.transactions == 0) {
                    open.before.extend(&earlier);
                }
                Taken::Whole
            }
            EventKind::QUERY | EventKind::QUERY_COMPRESSED | EventKind::EXECUTE_LOAD_QUERY => {
                let event = single.event().map_err(|error| self.event_error(&error))?;
                let (Event::Query(query) | Event::LoadStatement { query, .. }) = event else {
                    return Err(self.event_error(&binlog::DecodeError::Bad("a statement that is none")));
                };
                let ends = self.extent.as_mut().is_some_and(|extent| extent.ends_with(&query.statement));
                if ends { Taken::Whole } else { Taken::Inside }
            }
            EventKind::XID | EventKind::TRANSACTION_PAYLOAD | EventKind::XA_PREPARE => Taken::Whole,
            EventKind::ROTATE => {
                let event = single.event().map_err(|error| self.event_error(&error))?;
                let next = if let Event::Rotate { name, .. } = event { Some(name) } else { None };
                Taken::LogEnd(next)
            }
            EventKind::STOP => Taken::LogEnd(None),
            _ => Taken::Inside,
        };
        let seconds = Some(single.header.timestamp_seconds).filter(|seconds| *seconds > 0);
        self.hold(archive, event, begin, seconds).await?;
        if what != Taken::Inside {
            self.extent = None;
            self.settle(archive).await?;
        }
        Ok(what)
    }

    /// Where an event begins: what it says wraps at 4 GiB, and must be where the one before ended.
    fn begin_of(&self, next_position: u32, event_bytes: u32) -> Result<u64, ArchiveError> {
        const WRAP: u64 = 1 << 32;
        let expected = self.next_offset();
        let end = (expected & !(WRAP - 1)) | u64::from(next_position);
        let begin = end.wrapping_sub(u64::from(event_bytes));
        let begin = if begin < expected || begin > end { begin.wrapping_add(WRAP) } else { begin };
        // A hole is as large as the statement that MariaDB left out.
        let is_hole = self.has_holes && begin.wrapping_sub(expected) < WRAP / 2;
        if begin == expected || is_hole {
            return Ok(begin);
        }
        let log = self.cursor.log.clone();
        Err(ArchiveError::OutOfStep {
            log,
            found: u64::from(next_position.wrapping_sub(event_bytes)),
            expected,
        })
    }

    async fn take_format(&mut self, archive: &Archive, event: &[u8]) -> Result<Taken, ArchiveError> {
        self.format = self.format_of(event)?;
        // In the midst of a log, it comes first as well, so that what follows can be read.
        if self.next_offset() > 0 {
            return Ok(Taken::Inside);
        }
        self.cursor.head = Some(event.to_vec());
        let mut begin = MAGIC.to_vec();
        begin.extend_from_slice(event);
        let seconds = event.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        self.hold(archive, &begin, 0, seconds).await?;
        self.settle(archive).await?;
        Ok(Taken::Inside)
    }

    async fn hold(
        &mut self,
        archive: &Archive,
        event: &[u8],
        begin: u64,
        seconds: Option<u32>,
    ) -> Result<(), ArchiveError> {
        let held = &mut self.held;
        held.bytes.extend_from_slice(event);
        held.end = begin + u64::try_from(event.len()).unwrap_or(0);
        held.first_seconds = held.first_seconds.or(seconds);
        held.last_seconds = seconds.or(held.last_seconds);
        self.last_seconds = seconds.or(self.last_seconds);
        if held.is_large {
            return self.write_held(archive).await;
        }
        if held.bytes.len() > HELD_BYTES_MAX {
            // What has come before must not depend on whether the rest of this one comes.
            self.finish(archive, false, None).await?;
            self.held.is_large = true;
            return self.write_held(archive).await;
        }
        Ok(())
    }

    /// Makes what is held a part of the segment: its transaction has ended.
    pub(crate) async fn settle(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        if self.held.end == 0 {
            return Ok(());
        }
        self.write_held(archive).await?;
        let held = std::mem::take(&mut self.held);
        if let Some(open) = &mut self.open {
            held.seen.iter().for_each(|gtid| open.seen.add(gtid));
            open.transactions += held.transactions;
            open.first_seconds = open.first_seconds.or(held.first_seconds);
            open.last_seconds = held.last_seconds.or(open.last_seconds);
        }
        self.cursor.offset = held.end;
        Ok(())
    }

    async fn write_held(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        if self.open.is_none() {
            let start = self.cursor.offset;
            let at = (self.run.as_str(), self.cursor.log.as_str(), start);
            let (content, sealed) = Content::begin(archive, at, true).await?;
            let encoder = Encoder::new(sealed, ZSTD_LEVEL).map_err(ArchiveError::Compress)?;
            self.open = Some(OpenSegment {
                start,
                content,
                opened: Instant::now(),
                encoder,
                digest: Sha256::new(),
                bytes: 0,
                seen: Seen::default(),
                before: self.cursor.gtids.clone(),
                transactions: 0,
                first_seconds: None,
                last_seconds: None,
            });
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.digest.update(&self.held.bytes);
        open.bytes += u64::try_from(self.held.bytes.len()).unwrap_or(0);
        open.encoder.write_all(&self.held.bytes).map_err(ArchiveError::Compress)?;
        self.held.bytes.clear();
        open.content.pass_on().await
    }
}

impl Cutter {
    /// Ends the segment behind the last whole transaction and makes it durable; none where there is nothing new. What
    /// is held stays held.
    pub(crate) async fn finish(
        &mut self,
        archive: &Archive,
        is_log_end: bool,
        next_log: Option<String>,
    ) -> Result<Option<Segment>, ArchiveError> {
        if self.held.is_large {
            // Its beginning is written already, and worth nothing without its end.
            self.open = None;
            self.held = Held::default();
        }
        let Some(open) = self.open.take() else { return Ok(None) };
        open.encoder.finish().and_then(Sealed::finish).map_err(ArchiveError::Compress)?;
        let Content { name: content, recipients, merger, .. } = &open.content;
        let (content, recipients, merger) = (content.clone(), recipients.clone(), merger.clone());
        let stored = open.content.finish().await?;
        let gtids = open
            .seen
            .set()
            .map_err(|error| ArchiveError::Record { name: content.clone(), problem: error.to_string() })?;
        let end = self.cursor.offset;
        let segment = Segment {
            format: ARCHIVE_FORMAT,
            run: self.run.clone(),
            log: self.cursor.log.clone(),
            start: open.start,
            end,
            follows: self.cursor.follows.clone().filter(|_| open.start == 0),
            is_log_end,
            next_log,
            bytes: open.bytes,
            sha256: encode_string(&open.digest.finalize()),
            left_out_bytes: end.saturating_sub(open.start).saturating_sub(open.bytes),
            content,
            recipients,
            merger,
            stored_bytes: stored.bytes,
            stored_sha256: stored.sha256,
            head: encode_string(self.cursor.head.as_deref().unwrap_or_default()),
            gtids_before: open.before,
            gtids,
            transactions: open.transactions,
            first_seconds: open.first_seconds,
            last_seconds: open.last_seconds,
        };
        archive.put_segment(&segment).await?;
        self.cursor.gtids = segment.gtids_after();
        Ok(Some(segment))
    }
}

/// GTIDs of earlier logs.
fn earlier(single: &Single<'_>) -> Result<GtidSet, binlog::DecodeError> {
    let event = single.event()?;
    let text = if let Event::PreviousGtids(text) = event {
        text
    } else if let Event::GtidList(list) = event {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    } else {
        String::new()
    };
    GtidSet::parse(&text).map_err(|_| binlog::DecodeError::Bad("a list of GTIDs that is none"))
}
