//! Where a transaction begins and ends in a log, and what is known of it. It counts and keeps no rows.

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::event::{self, Event};
use crate::gtid::{Gtid, Start};
use crate::kind::EventKind;
use crate::query::Query;
use crate::rows::Rows;
use crate::table::Table;
use crate::walk::Item;

/// A transaction, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Its GTID.
    pub gtid: Option<Gtid>,
    /// Where its first event begins, in bytes from the start of the log: to undo it, stop before here.
    pub offset: u64,
    /// Where its last event ends.
    pub end: u64,
    /// The server it first ran on.
    pub server_id: u32,
    /// The connection it ran on, if logged.
    pub thread_id: Option<u32>,
    /// The time of its earliest event, in seconds since 1970.
    pub first_seconds: u32,
    /// The time of its latest event or of its commit, in seconds since 1970.
    pub last_seconds: u32,
    /// The number of its events.
    pub events: u64,
    /// Whether the log marks it as DDL (MariaDB).
    pub is_ddl: bool,
    /// Whether it ends with a ROLLBACK, as one does that also changed tables without transactions.
    pub is_rolled_back: bool,
    extent: Extent,
}

/// How far a transaction goes, told from its start and from the statements logged of it as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    is_open: bool,
    is_standalone: bool,
}

impl Extent {
    /// That of a transaction that begins with this event.
    #[must_use]
    pub fn of_start(kind: EventKind, start: &Start) -> Self {
        // MariaDB writes no BEGIN.
        let is_open = kind == EventKind::MARIADB_GTID && !start.is_standalone;
        Self { is_open, is_standalone: start.is_standalone }
    }

    /// Takes a statement of it in: whether the transaction ends with it.
    pub fn ends_with(&mut self, statement: &[u8]) -> bool {
        match control(statement) {
            Control::Begin => {
                self.is_open = true;
                false
            }
            Control::End => true,
            Control::Inside => false,
            Control::None => {
                // MySQL logs CREATE TABLE ... SELECT as one transaction that begins with the CREATE.
                self.is_open |= ends_with(statement, b"START TRANSACTION");
                self.is_standalone || !self.is_open
            }
        }
    }
}

impl Transaction {
    /// Whole seconds from its first event to its commit.
    #[must_use]
    pub const fn seconds(&self) -> u32 {
        self.last_seconds.saturating_sub(self.first_seconds)
    }
}

/// What an event is to its transaction.
#[derive(Debug)]
pub enum Step<'a> {
    /// It belongs to none: the log's own affairs.
    Outside,
    /// It begins one.
    Begins,
    /// A statement logged as text: DDL, or a change where the log has statements instead of rows.
    Statement(Query<'a>),
    /// The statement that the next rows come from.
    RowsStatement(&'a [u8]),
    /// Changed rows.
    Rows(Rows<'a>, &'a Table),
    /// Anything else of it: BEGIN, COMMIT, table maps, variables.
    Inside,
}

/// Follows the transactions of a log.
#[derive(Debug, Default)]
pub struct Tracker {
    current: Option<Transaction>,
    /// Transactions whose end is not in the log.
    pub unfinished: u64,
}

impl Tracker {
    /// Takes an event in. The second value says whether a transaction ends with it: [`Tracker::take`] gives it.
    ///
    /// # Errors
    /// When the event's content is not what its type says.
    #[inline]
    pub fn see<'a>(&mut self, item: &Item<'a>) -> Result<(Step<'a>, bool), DecodeError> {
        let kind = item.header.kind;
        match kind {
            _ if kind.begins_transaction() => {
                self.begin(item)?;
                Ok((Step::Begins, false))
            }
            EventKind::FORMAT_DESCRIPTION
            | EventKind::ROTATE
            | EventKind::STOP
            | EventKind::PREVIOUS_GTIDS
            | EventKind::GTID_LIST
            | EventKind::BINLOG_CHECKPOINT
            | EventKind::HEARTBEAT
            | EventKind::HEARTBEAT_V2
            | EventKind::IGNORABLE => Ok((Step::Outside, false)),
            EventKind::XID | EventKind::XA_PREPARE => {
                self.touch(item);
                Ok((Step::Inside, true))
            }
            EventKind::QUERY | EventKind::QUERY_COMPRESSED | EventKind::EXECUTE_LOAD_QUERY => {
                self.touch(item);
                self.query(item)
            }
            EventKind::ROWS_QUERY | EventKind::ANNOTATE_ROWS => {
                self.touch(item);
                let Event::RowsStatement(text) = item.event()? else { return Ok((Step::Inside, false)) };
                Ok((Step::RowsStatement(text), false))
            }
            _ => {
                self.touch(item);
                match item.rows()? {
                    Some((rows, table)) => Ok((Step::Rows(rows, table), false)),
                    None => Ok((Step::Inside, false)),
                }
            }
        }
    }

    /// The running transaction.
    #[must_use]
    pub const fn current(&self) -> Option<&Transaction> {
        self.current.as_ref()
    }

    /// The transaction that has just ended.
    pub fn take(&mut self) -> Option<Transaction> {
        self.current.take()
    }

    /// Ends the log: what is still open stays without an end, and is given up.
    pub fn end_log(&mut self) {
        self.unfinished += u64::from(self.current.take().is_some());
    }

    /// Goes on where another one, which began with a transaction, has stopped.
    pub(crate) fn go_on(&mut self, next: Self) {
        self.end_log();
        self.unfinished += next.unfinished;
        self.current = next.current;
    }

    fn begin(&mut self, item: &Item<'_>) -> Result<(), DecodeError> {
        self.end_log();
        let Event::Start(start) = event::decode(&item.header, item.format, item.body)? else { return Ok(()) };
        let seconds = item.header.timestamp_seconds;
        let committed = start.commit_micros.and_then(|micros| u32::try_from(micros / 1_000_000).ok());
        let extent = Extent::of_start(item.header.kind, &start);
        self.current = Some(Transaction {
            gtid: start.gtid,
            offset: item.offset,
            end: item.end,
            server_id: item.header.server_id,
            thread_id: start.thread_id,
            first_seconds: seconds,
            last_seconds: committed.unwrap_or(seconds).max(seconds),
            events: 1,
            is_ddl: start.is_ddl,
            is_rolled_back: false,
            extent,
        });
        Ok(())
    }

    /// Takes an event in that is inside a transaction and neither begins nor ends one.
    #[inline]
    pub(crate) fn touch(&mut self, item: &Item<'_>) {
        let seconds = item.header.timestamp_seconds;
        let current = self.current.get_or_insert_with(|| Transaction {
            offset: item.offset,
            server_id: item.header.server_id,
            first_seconds: seconds,
            last_seconds: seconds,
            ..Transaction::default()
        });
        current.end = item.end;
        current.events += 1;
        // Artificial events have no time.
        if seconds != 0 {
            current.first_seconds = current.first_seconds.min(seconds);
            current.last_seconds = current.last_seconds.max(seconds);
        }
    }

    #[inline]
    fn query<'a>(&mut self, item: &Item<'a>) -> Result<(Step<'a>, bool), DecodeError> {
        let (Event::Query(query) | Event::LoadStatement { query, .. }) = item.event()? else {
            return Ok((Step::Inside, false));
        };
        let Some(current) = &mut self.current else { return Ok((Step::Inside, false)) };
        if query.thread_id != 0 {
            current.thread_id = Some(query.thread_id);
        }
        let ends = current.extent.ends_with(&query.statement);
        Ok(match control(&query.statement) {
            Control::Begin | Control::Inside => (Step::Inside, ends),
            Control::End => {
                current.is_rolled_back = starts_with(&query.statement, b"ROLLBACK");
                (Step::Inside, ends)
            }
            Control::None => (Step::Statement(query), ends),
        })
    }
}

enum Control {
    Begin,
    End,
    Inside,
    None,
}

fn control(statement: &[u8]) -> Control {
    let is = |word: &[u8]| statement.eq_ignore_ascii_case(word);
    let begins = |words: &[u8]| starts_with(statement, words);
    if is(b"BEGIN") || is(b"START TRANSACTION") || begins(b"XA START") || begins(b"XA BEGIN") {
        Control::Begin
    } else if is(b"COMMIT")
        || is(b"ROLLBACK")
        || begins(b"XA COMMIT")
        || begins(b"XA ROLLBACK")
        || begins(b"XA PREPARE")
    {
        Control::End
    } else if begins(b"SAVEPOINT")
        || begins(b"ROLLBACK TO")
        || begins(b"RELEASE SAVEPOINT")
        || begins(b"XA END")
    {
        Control::Inside
    } else {
        Control::None
    }
}

fn starts_with(text: &[u8], words: &[u8]) -> bool {
    text.get(..words.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(words))
}

fn ends_with(text: &[u8], words: &[u8]) -> bool {
    let at = text.len().saturating_sub(words.len());
    text.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(words))
}

/// A statement's text on one line and not longer than `letters`, for people.
#[must_use]
pub fn shortened(statement: &[u8], letters: usize) -> String {
    // A letter has at most four bytes: the rest need not be looked at.
    let begin = statement.get(..letters.saturating_mul(4).saturating_add(4)).unwrap_or(statement);
    let text: Cow<'_, str> = String::from_utf8_lossy(begin);
    let mut short = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
        count += word.chars().count() + 1;
        if count > letters {
            break;
        }
    }
    if short.chars().count() > letters || begin.len() < statement.len() {
        short = short.chars().take(letters.saturating_sub(3)).collect();
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_statements_are_told_from_others() {
        for (text, begins, ends) in
            [("BEGIN", true, false), ("commit", false, true), ("ROLLBACK TO SAVEPOINT a", false, false)]
        {
            assert_eq!(matches!(control(text.as_bytes()), Control::Begin), begins);
            assert_eq!(matches!(control(text.as_bytes()), Control::End), ends);
        }
        assert!(matches!(control(b"commit_log"), Control::None));
    }

    #[test]
    fn long_statements_are_cut() {
        assert_eq!(shortened(b"select\n 1", 20), "select 1");
        assert_eq!(shortened("ä".repeat(30).as_bytes(), 5), "ää...");
        assert_eq!(shortened(b"\xff\xfe", 5), "\u{fffd}\u{fffd}");
    }
}
