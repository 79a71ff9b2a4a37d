//! The archive's events made into what is to be done on the target, transaction by transaction, in a thread of its own.
//!
//! It sends nothing to a server. A transaction is given out once its end is there, unless it is large: then in parts.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use binlog::{
    Action, Event, EventKind, Item, Obstacle, Query, Session, Step, Tracker, Used, Xid, effect, shortened,
};
use tokio::sync::mpsc;

use super::context::{Before, FLAG_SUPPRESS_USE, is_about_accounts, settings};
use super::events::{Group, format_statement};
use super::message::{Counts, Mark, Message, Piece, Statement};
use super::seen::Seen;
use crate::rewind::Located;

/// A transaction beyond this, in bytes of events and statements, is given out in parts.
pub(super) const WHOLE_BYTES: usize = 2 << 20;
/// What may be kept of transactions that are prepared and not yet decided.
const HELD_BYTES_MAX: usize = 256 << 20;
const STATEMENT_LETTERS: usize = 200;
/// Databases of the server itself, and of the replay's own notes.
const NOT_OURS: [&str; 5] =
    ["mysql", "sys", "information_schema", "performance_schema", super::notes::SCHEMA];

/// What the current transaction is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Undecided,
    /// It is on the target.
    Known,
    Taken,
}

struct Held {
    pieces: Vec<Piece>,
    bytes: usize,
}

/// Follows the logs.
pub(super) struct Feed {
    /// Gone at the end, which is how the receiver learns of it.
    sender: Option<mpsc::Sender<Message>>,
    pub(super) seen: Seen,
    /// Only these databases, where the backup has only these.
    databases: Option<BTreeSet<String>>,
    /// Where an earlier run stopped.
    resume: Option<Mark>,
    until: Located,
    bytes_read: Arc<AtomicU64>,
    pub(super) counts: Counts,
    pub(super) obstacle: Option<Obstacle>,
    /// The receiver is gone, or the point is reached.
    pub(super) is_over: bool,
    state: Current,
}

/// The current log and transaction.
struct Current {
    log_index: usize,
    log: String,
    is_first_run: bool,
    read_before: u64,
    start: u64,
    tracker: Tracker,
    format: Arc<String>,
    group: Group,
    before: Before,
    pieces: Vec<Piece>,
    bytes: usize,
    fate: Fate,
    is_large: bool,
    xid: Option<String>,
    held: HashMap<String, Held>,
    held_bytes: usize,
}

impl Feed {
    pub(super) fn new(
        sender: mpsc::Sender<Message>,
        seen: Seen,
        databases: Option<BTreeSet<String>>,
        resume: Option<Mark>,
        until: Located,
        bytes_read: Arc<AtomicU64>,
    ) -> Self {
        let state = Current {
            log_index: 0,
            log: String::new(),
            is_first_run: true,
            read_before: 0,
            start: 0,
            tracker: Tracker::default(),
            format: Arc::default(),
            group: Group::default(),
            before: Before::default(),
            pieces: Vec::new(),
            bytes: 0,
            fate: Fate::Undecided,
            is_large: false,
            xid: None,
            held: HashMap::new(),
            held_bytes: 0,
        };
        let counts = Counts::default();
        Self {
            sender: Some(sender),
            seen,
            databases,
            resume,
            until,
            bytes_read,
            counts,
            obstacle: None,
            is_over: false,
            state,
        }
    }

    /// The next events are of this log, from `start` on.
    pub(super) fn begin_log(
        &mut self,
        log_index: usize,
        log: &str,
        is_first_run: bool,
        start: u64,
        read_before: u64,
    ) {
        let state = &mut self.state;
        state.log_index = log_index;
        log.clone_into(&mut state.log);
        state.is_first_run = is_first_run;
        (state.start, state.read_before) = (start, read_before);
    }

    /// Nothing more comes. What is open did not happen.
    pub(super) fn finish(&mut self) {
        self.abandon();
        self.sender = None;
        self.counts.undecided_xa = u64::try_from(self.state.held.len()).unwrap_or(u64::MAX);
    }

    pub(super) fn see(&mut self, item: &Item<'_>) -> Used {
        let read = item.offset.saturating_sub(self.state.start) + self.state.read_before;
        self.bytes_read.store(read, Ordering::Relaxed);
        if item.header.kind == EventKind::FORMAT_DESCRIPTION {
            self.state.format = Arc::new(format_statement(item));
            return Ok(ControlFlow::Continue(()));
        }
        let (step, ends) = self.state.tracker.see(item)?;
        match step {
            Step::Outside => self.outside(item)?,
            Step::Begins => self.begin(item)?,
            Step::Rows(rows, table) => {
                self.decide(item);
                let (is_taken, is_last) = (self.is_ours(&table.database), rows.ends_statement());
                self.rows(item, is_taken, is_last);
            }
            Step::Statement(query) => {
                self.decide(item);
                self.statement(item, &query, ends)?;
            }
            Step::RowsStatement(_) => self.decide(item),
            Step::Inside => {
                self.decide(item);
                self.inside(item)?;
            }
        }
        if ends && !self.is_over {
            self.end(item)?;
        }
        Ok(if self.is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn outside(&mut self, item: &Item<'_>) -> Result<(), binlog::DecodeError> {
        if let Event::Incident(number, message) = item.event()? {
            self.stop(item.offset, format!("the server lost events here (incident {number}: {message})"));
        }
        Ok(())
    }

    fn begin(&mut self, item: &Item<'_>) -> Result<(), binlog::DecodeError> {
        self.abandon();
        self.state.fate = Fate::Undecided;
        if let Event::Start(start) = item.event()? {
            self.state.xid = start.xid.as_ref().map(xid_text);
        }
        self.decide(item);
        Ok(())
    }

    /// What becomes of the transaction: nothing if it is at the point or later, or on the target already.
    fn decide(&mut self, item: &Item<'_>) {
        if self.state.fate != Fate::Undecided {
            return;
        }
        let state = &mut self.state;
        let Some(transaction) = state.tracker.current() else { return };
        let (offset, gtid) = (transaction.offset, transaction.gtid.clone());
        if (state.log_index, offset) >= (self.until.log_index, self.until.offset) {
            self.is_over = true;
            return;
        }
        let is_done = self
            .resume
            .as_ref()
            .is_some_and(|mark| (state.log_index, item.offset) < (mark.log_index, mark.end));
        let is_known = self.seen.has(gtid.as_ref(), state.is_first_run, &state.log, offset);
        // What an earlier run has done is read again all the same: XA transactions may have been prepared there.
        state.fate = if is_known { Fate::Known } else { Fate::Taken };
        if is_done || is_known {
            self.counts.transactions_known += 1;
        }
    }

    fn is_ours(&self, database: &str) -> bool {
        !NOT_OURS.contains(&database) && self.databases.as_ref().is_none_or(|ours| ours.contains(database))
    }

    fn rows(&mut self, item: &Item<'_>, is_ours: bool, is_last: bool) {
        if self.state.fate != Fate::Taken {
            return;
        }
        let format = Arc::clone(&self.state.format);
        if is_ours {
            if let Some(packed) = self.state.group.rows(item, &format) {
                self.push(Piece::Rows(packed));
            }
        } else {
            self.counts.changes_elsewhere += 1;
        }
        if is_last {
            self.end_group();
        }
    }

    fn end_group(&mut self) {
        let format = Arc::clone(&self.state.format);
        if let Some(packed) = self.state.group.end(&format) {
            self.push(Piece::Rows(packed));
        }
    }

    fn inside(&mut self, item: &Item<'_>) -> Result<(), binlog::DecodeError> {
        if self.state.fate != Fate::Taken {
            return Ok(());
        }
        if let Some(table) = item.table_map() {
            if !self.state.group.is_empty() {
                self.end_group();
            }
            if self.is_ours(&table.database) {
                self.state.group.map(item);
            }
            return Ok(());
        }
        match item.event()? {
            Event::Intvar { kind: 1, value } => self.state.before.last_insert_id = Some(value),
            Event::Intvar { value, .. } => self.state.before.insert_id = Some(value),
            Event::Rand(first, second) => self.state.before.seeds = Some((first, second)),
            Event::UserVariable { name, value } => {
                let value = value.map(|(kind, _, bytes, is_unsigned)| (kind, bytes, is_unsigned));
                if let Err(problem) = self.state.before.variable(&name, value) {
                    self.stop(
                        item.offset,
                        format!("a statement uses a variable that cannot be given: {problem}"),
                    );
                }
            }
            Event::LoadBlock { .. } => {
                self.stop(
                    item.offset,
                    "a file was loaded by a statement (LOAD DATA, binlog_format=STATEMENT)".to_owned(),
                );
            }
            Event::Query(query) => self.control(item, &query),
            Event::XaPrepare { is_one_phase: false, xid } => self.state.xid = Some(xid_text(&xid)),
            // What only ends or explains something, or was looked at before.
            Event::FormatDescription
            | Event::Start(_)
            | Event::PreviousGtids(_)
            | Event::GtidList(_)
            | Event::RowsStatement(_)
            | Event::TableMap(_)
            | Event::Rows(_)
            | Event::Commit(_)
            | Event::XaPrepare { is_one_phase: true, .. }
            | Event::LoadStatement { .. }
            | Event::LoadAbandoned(_)
            | Event::TransactionPayload
            | Event::Rotate { .. }
            | Event::Stop
            | Event::Checkpoint(_)
            | Event::Incident(..)
            | Event::Heartbeat
            | Event::ViewChange(_)
            | Event::TransactionContext(_)
            | Event::StartEncryption
            | Event::Other(_) => {}
        }
        Ok(())
    }

    /// Savepoints and the end of XA transactions.
    fn control(&mut self, item: &Item<'_>, query: &Query<'_>) {
        let text = query.text();
        let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let key = || xa_key(&text);
        match (first.as_str(), second.as_str()) {
            ("XA", "START" | "BEGIN") => self.state.xid = Some(key()),
            ("XA", "COMMIT") => {
                // In one phase: it is all here.
                if let Some(held) = self.state.held.remove(&key()) {
                    self.state.held_bytes = self.state.held_bytes.saturating_sub(held.bytes);
                    self.state.pieces.extend(held.pieces);
                    self.state.bytes += held.bytes;
                }
                self.state.xid = None;
            }
            ("XA", "ROLLBACK") => {
                if let Some(held) = self.state.held.remove(&key()) {
                    self.state.held_bytes = self.state.held_bytes.saturating_sub(held.bytes);
                }
                self.state.xid = None;
            }
            // Tables without transactions make them matter: what is taken back is in the log all the same.
            ("SAVEPOINT" | "RELEASE", _) | ("ROLLBACK", "TO") => self.savepoint(item, query),
            ("ROLLBACK", _) => {
                self.state.pieces.clear();
                self.state.bytes = 0;
                if std::mem::take(&mut self.state.is_large) {
                    self.send(Message::Abandoned);
                }
            }
            (_, _) => {}
        }
    }

    fn savepoint(&mut self, item: &Item<'_>, query: &Query<'_>) {
        self.end_group();
        let statement = Statement {
            settings: settings(
                query,
                &Session::default(),
                item.header.timestamp_seconds,
                &Before::default(),
                item.format.is_mariadb(),
            ),
            database: None,
            text: query.statement.to_vec(),
            error_code: query.error_code,
            tables: Vec::new(),
            made_database: None,
            commits: false,
            log_index: self.state.log_index,
            offset: item.offset,
        };
        self.push(Piece::Statement(Box::new(statement)));
    }

    fn statement(
        &mut self,
        item: &Item<'_>,
        query: &Query<'_>,
        ends: bool,
    ) -> Result<(), binlog::DecodeError> {
        self.end_group();
        let before = std::mem::take(&mut self.state.before);
        if self.state.fate != Fate::Taken || self.is_over {
            return Ok(());
        }
        let text = query.text();
        let database = String::from_utf8_lossy(&query.database);
        let effect = effect(&text, &database);
        if is_about_accounts(&text) {
            self.counts.account_statements += 1;
            return Ok(());
        }
        let is_elsewhere = match &effect.database {
            Some(whole) => !self.is_ours(whole),
            None if effect.tables.is_empty() => !database.is_empty() && !self.is_ours(&database),
            None => effect.tables.iter().all(|(database, _)| !self.is_ours(database)),
        };
        if is_elsewhere {
            self.counts.changes_elsewhere += 1;
            return Ok(());
        }
        let session = query.session()?;
        // Servers add variables at the end. What they add matters less than what is before it, which has to be there.
        if let Some(code) =
            session.unknown.filter(|_| session.sql_mode.is_none() || session.charsets.is_none())
        {
            let shown = shortened(&query.statement, STATEMENT_LETTERS);
            self.stop(
                item.offset,
                format!("a statement's session is not understood (variable {code}): {shown}"),
            );
            return Ok(());
        }
        let commits = ends || effect.action == Action::Create;
        self.counts.statements_as_text +=
            u64::from(!effect.action.is_ddl() && effect.action != Action::Other);
        let needs_database = item.header.flags & FLAG_SUPPRESS_USE == 0 && effect.database.is_none();
        let statement = Statement {
            settings: settings(
                query,
                &session,
                item.header.timestamp_seconds,
                &before,
                item.format.is_mariadb(),
            ),
            database: if needs_database { sqltext::quote_ident(&database).ok() } else { None },
            text: without_start(&query.statement).to_vec(),
            error_code: query.error_code,
            tables: effect.tables,
            made_database: effect.database,
            commits,
            log_index: self.state.log_index,
            offset: item.offset,
        };
        self.push(Piece::Statement(Box::new(statement)));
        Ok(())
    }

    fn push(&mut self, piece: Piece) {
        let offset = self.state.tracker.current().map_or(0, |transaction| transaction.offset);
        let is_xa = self.state.xid.is_some();
        if !is_xa && self.is_done(offset) {
            return;
        }
        self.state.bytes += piece.bytes();
        self.state.pieces.push(piece);
        if is_xa {
            // What is only prepared is kept until it is decided.
            if self.state.held_bytes + self.state.bytes > HELD_BYTES_MAX {
                let problem = format!(
                    "XA transactions of more than {HELD_BYTES_MAX} bytes are prepared and not decided"
                );
                self.stop(offset, problem);
            }
        } else if self.state.bytes > WHOLE_BYTES {
            self.state.is_large = true;
            self.state.bytes = 0;
            let pieces = std::mem::take(&mut self.state.pieces);
            self.send(Message::Part(pieces));
        }
    }

    fn is_done(&self, offset: u64) -> bool {
        let at = (self.state.log_index, offset);
        self.resume.as_ref().is_some_and(|mark| at < (mark.log_index, mark.end))
    }

    fn end(&mut self, item: &Item<'_>) -> Result<(), binlog::DecodeError> {
        self.end_group();
        self.state.before = Before::default();
        let Some(transaction) = self.state.tracker.take() else { return Ok(()) };
        let fate = std::mem::replace(&mut self.state.fate, Fate::Undecided);
        let xid = self.state.xid.take();
        let pieces = std::mem::take(&mut self.state.pieces);
        let bytes = std::mem::take(&mut self.state.bytes);
        if fate != Fate::Taken {
            return Ok(());
        }
        let is_prepared = item.header.kind == EventKind::XA_PREPARE
            && !matches!(item.event()?, Event::XaPrepare { is_one_phase: true, .. });
        if let Some(xid) = xid.filter(|_| is_prepared) {
            self.state.held_bytes += bytes;
            self.state.held.insert(xid, Held { pieces, bytes });
            return Ok(());
        }
        if self.is_done(transaction.offset) {
            return Ok(());
        }
        let mark = Mark { log_index: self.state.log_index, end: item.end };
        if std::mem::take(&mut self.state.is_large) {
            if !pieces.is_empty() {
                self.send(Message::Part(pieces));
            }
            self.send(Message::End(mark));
        } else {
            self.send(Message::Whole(pieces, mark));
        }
        Ok(())
    }

    fn abandon(&mut self) {
        let state = &mut self.state;
        state.group = Group::default();
        state.before = Before::default();
        state.pieces.clear();
        state.bytes = 0;
        state.xid = None;
        if std::mem::take(&mut state.is_large) {
            self.send(Message::Abandoned);
        }
    }

    fn send(&mut self, message: Message) {
        // A receiver that is gone has an error of its own.
        let sent = self.sender.as_ref().map(|sender| sender.blocking_send(message));
        self.is_over |= !matches!(sent, Some(Ok(())));
    }

    fn stop(&mut self, offset: u64, problem: String) {
        let transaction = self.state.tracker.current();
        let obstacle = Obstacle {
            file: self.state.log.clone(),
            position: transaction.map_or(offset, |transaction| transaction.offset),
            gtid: transaction.and_then(|transaction| transaction.gtid.as_ref()).map(ToString::to_string),
            problem,
        };
        self.obstacle.get_or_insert(obstacle);
        self.is_over = true;
    }
}

/// MySQL logs `CREATE TABLE ... SELECT` with these words at its end, which only its own replication may say.
fn without_start(statement: &[u8]) -> &[u8] {
    const WORDS: &[u8] = b" START TRANSACTION";
    let at = statement.len().saturating_sub(WORDS.len());
    match statement.get(at..) {
        Some(end) if end.eq_ignore_ascii_case(WORDS) => statement.get(..at).unwrap_or(statement),
        Some(_) | None => statement,
    }
}

/// An XA transaction's identity as both servers log it.
fn xid_text(xid: &Xid) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    format!("X'{}',X'{}',{}", hex(&xid.global), hex(&xid.branch), xid.format)
}

/// The identity in an `XA ...` statement, in the same form.
fn xa_key(statement: &str) -> String {
    let mut text: String = statement.split_whitespace().skip(2).collect();
    text.make_ascii_uppercase();
    text.strip_suffix("ONEPHASE").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xa_identities_agree_however_they_are_logged() {
        let xid = Xid { format: 1, global: b"x\xff".to_vec(), branch: Vec::new() };
        for statement in
            ["XA COMMIT X'78ff',X'',1", "xa start  X'78FF', X'', 1", "XA COMMIT X'78ff',X'',1 ONE PHASE"]
        {
            assert_eq!(xa_key(statement), xid_text(&xid), "{statement}");
        }
    }

    #[test]
    fn only_mysqls_own_words_are_cut_off() {
        assert_eq!(without_start(b"CREATE TABLE t (a INT) START TRANSACTION"), b"CREATE TABLE t (a INT)");
        assert_eq!(without_start(b"CREATE TABLE t (a INT)"), b"CREATE TABLE t (a INT)");
        assert_eq!(without_start(b""), b"");
    }
}
