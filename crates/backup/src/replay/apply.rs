//! What came out of the archive sent to the target: many transactions in one, with the note of how far it is.
//!
//! Order is kept, and what was done at once is done at once. Statements that commit by themselves stand alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use flavor::Vendor;
use server::Loader;
use tokio::sync::mpsc;

use super::error::ReplayError;
use super::events::{GROUP_BYTES, Packed, binlog_statement};
use super::message::{Mark, Message, Piece, Statement};
use super::notes;
use super::progress::Progress;

/// After so many bytes of events a transaction of many is committed.
const BATCH_BYTES: usize = 8 << 20;
/// After so many transactions too.
const BATCH_TRANSACTIONS: u64 = 2000;
/// Room for what stands around a statement in a packet.
const HEAD_BYTES: usize = 1 << 10;
/// Something is there already, or not there any more: what a statement says that is run a second time.
const DONE_ALREADY: [u16; 17] =
    [1007, 1008, 1050, 1051, 1054, 1060, 1061, 1091, 1146, 1304, 1305, 1359, 1360, 1537, 1539, 1826, 4031];

/// A session on the target that applies.
pub(super) struct Applier {
    pub(super) loader: Loader,
    pub(super) vendor: Vendor,
    /// Run and name of each log.
    pub(super) logs: Vec<(String, String)>,
    pub(super) packet_bytes: usize,
    /// A statement that an earlier run began: of this log, there, with tables that looked so.
    pub(super) begun: Option<(usize, u64, String)>,
    pub(super) progress: Arc<Progress>,
    pub(super) state: Open,
}

/// What is open.
#[derive(Default)]
pub(super) struct Open {
    /// Events not sent yet.
    events: Vec<u8>,
    /// The format that the session knows.
    format: Arc<String>,
    is_open: bool,
    /// The last whole transaction that is not committed on the target.
    mark: Option<Mark>,
    /// Where what is sent begins, for errors.
    from: Option<Mark>,
    batch_bytes: usize,
    transactions: u64,
    /// The session is as some statement needed it.
    is_set: bool,
}

impl Applier {
    /// Applies everything that comes.
    pub(super) async fn run(&mut self, receiver: &mut mpsc::Receiver<Message>) -> Result<(), ReplayError> {
        while let Some(message) = receiver.recv().await {
            match message {
                Message::Whole(pieces, mark) => {
                    self.pieces(pieces).await?;
                    self.marked(mark).await?;
                }
                Message::Part(pieces) => {
                    // What can be abandoned has to stand alone.
                    if self.state.mark.is_some() {
                        self.commit().await?;
                    }
                    self.pieces(pieces).await?;
                }
                Message::End(mark) => {
                    self.marked(mark).await?;
                    self.commit().await?;
                }
                Message::Abandoned => self.rollback().await?,
            }
        }
        self.commit().await
    }

    async fn pieces(&mut self, pieces: Vec<Piece>) -> Result<(), ReplayError> {
        for piece in pieces {
            match piece {
                Piece::Rows(packed) => self.rows(&packed).await?,
                Piece::Statement(statement) if statement.commits => self.alone(&statement).await?,
                Piece::Statement(statement) => self.inside(&statement).await?,
            }
        }
        Ok(())
    }

    /// Takes row events. MariaDB's `BINLOG` statement says that it is the last one of what is sent, whatever follows: it
    /// stands alone, and has as many events as it can.
    async fn rows(&mut self, packed: &Packed) -> Result<(), ReplayError> {
        let length = |bytes: usize| bytes.div_ceil(3) * 4 + HEAD_BYTES;
        if length(packed.events.len()) > self.packet_bytes {
            return Err(self.too_large(packed.offset, length(packed.events.len())));
        }
        let is_other_format = *self.state.format != *packed.format;
        let bytes = self.state.events.len() + packed.events.len();
        if is_other_format || bytes > GROUP_BYTES || length(bytes) > self.packet_bytes {
            self.send().await?;
        }
        if is_other_format {
            self.tell_format(&packed.format).await?;
        }
        self.open().await?;
        self.state.batch_bytes += packed.events.len();
        self.state.events.extend_from_slice(&packed.events);
        Ok(())
    }

    /// Says how the events that follow are written: once for a log, and so never within a transaction. MySQL takes it
    /// outside of one only, and waits for a GTID after it.
    async fn tell_format(&mut self, format: &Arc<String>) -> Result<(), ReplayError> {
        self.commit().await?;
        let failed = || ReplayError::server("telling the server the log's format");
        self.loader.run(format.as_bytes()).await.map_err(failed())?;
        if self.vendor == Vendor::MySql {
            self.loader.run(b"SET SESSION gtid_next = 'AUTOMATIC'").await.map_err(failed())?;
        }
        self.state.format = Arc::clone(format);
        Ok(())
    }

    async fn open(&mut self) -> Result<(), ReplayError> {
        if std::mem::replace(&mut self.state.is_open, true) {
            return Ok(());
        }
        let opened = self.loader.run(b"START TRANSACTION").await;
        opened.map(|_| ()).map_err(ReplayError::server("beginning a transaction"))
    }

    /// Sends the events that wait.
    async fn send(&mut self) -> Result<(), ReplayError> {
        if self.state.events.is_empty() {
            return Ok(());
        }
        let statement = binlog_statement(&self.state.events);
        self.state.events.clear();
        let sent = self.loader.run(statement.as_bytes()).await;
        sent.map(|_| ()).map_err(ReplayError::server(self.whereabouts()))
    }

    /// A statement in a transaction.
    async fn inside(&mut self, statement: &Statement) -> Result<(), ReplayError> {
        self.open().await?;
        self.send().await?;
        self.say(statement, false).await
    }

    /// A statement that commits by itself: noted before, and after it.
    async fn alone(&mut self, statement: &Statement) -> Result<(), ReplayError> {
        self.commit().await?;
        // What is left is of its own transaction, which it commits.
        self.send().await?;
        self.state.is_open = false;
        self.plain().await?;
        let at = self.logs.get(statement.log_index).cloned().unwrap_or_default();
        let failed = || {
            ReplayError::server(format!(
                "looking at the tables of a statement at {}:{}",
                at.1, statement.offset
            ))
        };
        let looks = notes::looks(&mut self.loader, self.vendor, statement).await.map_err(failed())?;
        let begun =
            self.begun.take_if(|(log, offset, _)| (*log, *offset) == (statement.log_index, statement.offset));
        if begun.as_ref().is_some_and(|(_, _, before)| *before != looks) {
            tracing::info!(log = at.1, offset = statement.offset, "an earlier run did this statement");
            return Ok(());
        }
        let note = notes::begun(&at.0, &at.1, statement.offset, &looks);
        self.loader.run(note.as_bytes()).await.map_err(ReplayError::server("keeping notes"))?;
        self.progress.ddl.fetch_add(1, Ordering::Relaxed);
        self.say(statement, begun.is_some()).await
    }

    /// Runs a statement in the session it needs.
    async fn say(&mut self, statement: &Statement, is_again: bool) -> Result<(), ReplayError> {
        let log = self.logs.get(statement.log_index).map(|(_, log)| log.clone()).unwrap_or_default();
        let place = format!("the statement at {log}:{}", statement.offset);
        self.state.is_set = true;
        let set = self.loader.run(statement.settings.as_bytes()).await;
        set.map_err(ReplayError::server(format!("making the session for {place}")))?;
        if let Some(database) = &statement.database {
            let used = self.loader.run(format!("USE {database}").as_bytes()).await;
            used.map_err(ReplayError::server(format!("choosing the database for {place}")))?;
        }
        match self.loader.run(&statement.text).await {
            Ok(_) => Ok(()),
            // It failed so where it first ran, and did there what it did here.
            Err(error) if statement.error_code != 0 && error.code() == Some(statement.error_code) => Ok(()),
            Err(error) if is_again && error.code().is_some_and(|code| DONE_ALREADY.contains(&code)) => Ok(()),
            Err(source) => Err(ReplayError::Server { step: place, source }),
        }
    }

    /// The session as our own statements need it.
    async fn plain(&mut self) -> Result<(), ReplayError> {
        if std::mem::take(&mut self.state.is_set) {
            let set = self
                .loader
                .run(b"SET NAMES utf8mb4, sql_mode = '', timestamp = DEFAULT, time_zone = '+00:00'")
                .await;
            set.map_err(ReplayError::server("setting the session"))?;
        }
        Ok(())
    }

    /// A transaction is whole. Many are committed at once.
    async fn marked(&mut self, mark: Mark) -> Result<(), ReplayError> {
        self.state.from.get_or_insert_with(|| mark.clone());
        self.state.mark = Some(mark);
        self.state.transactions += 1;
        if self.state.batch_bytes >= BATCH_BYTES || self.state.transactions >= BATCH_TRANSACTIONS {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ReplayError> {
        let Some(mark) = self.state.mark.take() else { return Ok(()) };
        let (run, log) = self.logs.get(mark.log_index).cloned().unwrap_or_default();
        self.open().await?;
        self.send().await?;
        let done = format!("{};\nCOMMIT", notes::done(&run, &log, &mark));
        self.loader.run(done.as_bytes()).await.map_err(ReplayError::server("committing"))?;
        self.progress.transactions.fetch_add(self.state.transactions, Ordering::Relaxed);
        self.state.is_open = false;
        (self.state.from, self.state.batch_bytes, self.state.transactions) = (None, 0, 0);
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), ReplayError> {
        self.state.events.clear();
        self.state.is_open = false;
        self.state.mark = None;
        self.state.batch_bytes = 0;
        // What it knows of the format was said, even if what came after it is gone; to be sure, it is said again.
        self.state.format = Arc::default();
        self.loader.run(b"ROLLBACK").await.map_err(ReplayError::server("taking a transaction back"))?;
        Ok(())
    }

    fn whereabouts(&self) -> String {
        let place = |mark: &Mark| {
            let log = self.logs.get(mark.log_index).map_or("", |(_, log)| log.as_str());
            format!("{log}:{}", mark.end)
        };
        match (&self.state.from, &self.state.mark) {
            (Some(from), Some(to)) => {
                format!("applying transactions that end from {} to {} or later", place(from), place(to))
            }
            (Some(from), None) => format!("applying transactions that end at {} and later", place(from)),
            (None, _) => "applying a transaction".to_owned(),
        }
    }

    fn too_large(&self, offset: u64, bytes: usize) -> ReplayError {
        let log = self
            .state
            .mark
            .as_ref()
            .or(self.state.from.as_ref())
            .and_then(|mark| self.logs.get(mark.log_index));
        let log = log.map_or("the log", |(_, log)| log.as_str()).to_owned();
        ReplayError::TooLarge { log, offset, bytes, packet_bytes: self.packet_bytes }
    }
}
