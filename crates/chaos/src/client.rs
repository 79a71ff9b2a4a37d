//! The client: writers that insert unique rows through one endpoint and keep every acknowledgement.
//!
//! A write whose answer is lost is never repeated and never counted; whether an acknowledged one is still there
//! is `check`'s to ask.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use server::{Connection, Limits, ServerError, Sql, Target, Tls};

use crate::acks::{Ack, row_id};
use crate::hosts::Host;
use crate::inside::spawn_on;

/// The writers' account; it has no password, and exists only on servers that the harness made.
pub const ACCOUNT: &str = "chaos";

/// The statements that make the account and the table of acknowledged rows, for a primary.
pub const SCHEMA: [&str; 4] = [
    "CREATE DATABASE chaos",
    "CREATE TABLE chaos.acked (id BIGINT UNSIGNED PRIMARY KEY, writer INT UNSIGNED NOT NULL, \
     sent_us BIGINT UNSIGNED NOT NULL, server INT UNSIGNED NOT NULL) ENGINE = InnoDB",
    "CREATE USER 'chaos'@'%' IDENTIFIED BY ''",
    "GRANT SELECT, INSERT ON chaos.* TO 'chaos'@'%'",
];

const WRITERS: u32 = 4;

/// A real client gives up on an address that does not answer; so short a limit finds a new server soon.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);
const STATEMENT_LIMIT: Duration = Duration::from_secs(1);

/// Between two writes of one writer: four writers then give an acknowledgement every 3 ms or so.
const PACE: Duration = Duration::from_millis(10);

/// Before a new connection after a failure.
const RECONNECT_PAUSE: Duration = Duration::from_millis(5);

/// How long writers may take to end.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// Running writers.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    stop: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    acks: Vec<Ack>,
    log: BufWriter<File>,
    last_error: Option<String>,
}

impl Client {
    /// Starts the writers on `host` against one endpoint. Every acknowledgement also goes into `log`, a line
    /// `ID SERVER SENT_US RECEIVED_US` each.
    ///
    /// # Errors
    /// If the log cannot be created or no thread be started.
    pub fn start(host: &Host, address: Ipv4Addr, port: u16, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let kept = Kept { acks: Vec::new(), log: BufWriter::new(log), last_error: None };
        let shared = Arc::new(Shared {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            kept: Mutex::new(kept),
        });
        let target = Target::tcp(address.to_string(), port, ACCOUNT).with_tls(Tls::Off);
        let theirs = Arc::clone(&shared);
        let thread = spawn_on(host, move || async move {
            let writers = (1..=WRITERS).map(|writer| {
                let (shared, target) = (Arc::clone(&theirs), target.clone());
                tokio::spawn(async move { write(writer, &shared, &target).await })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.context("a writer failed")?;
            }
            Ok(())
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Microseconds since the client was started: the time of its acknowledgements.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    /// The last acknowledged write.
    #[must_use]
    pub fn last_ack(&self) -> Option<Ack> {
        self.shared.kept().acks.last().copied()
    }

    /// Everything acknowledged at or after a moment, in order of arrival.
    #[must_use]
    pub fn acks_since(&self, from_us: u64) -> Vec<Ack> {
        let kept = self.shared.kept();
        let first = kept.acks.partition_point(|ack| ack.received_us < from_us);
        kept.acks.get(first..).unwrap_or_default().to_vec()
    }

    /// Why the last failed write or connection failed.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.shared.kept().last_error.clone()
    }

    /// Ends the writers; everything they were told.
    ///
    /// # Errors
    /// If a writer failed other than by the server's answers.
    pub async fn finish(mut self) -> Result<Vec<Ack>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            let ended = tokio::time::timeout(JOIN_LIMIT, joined).await.context("the client does not end")?;
            ended?.map_err(|_| anyhow::anyhow!("the client's thread failed"))??;
        }
        let mut kept = self.shared.kept();
        kept.log.flush()?;
        Ok(std::mem::take(&mut kept.acks))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn keep(&self, id: u64, server: u32, session_us: u64, sent_us: u64) {
        let mut kept = self.kept();
        // Taken under the lock: the list is in order of arrival.
        let ack = Ack { id, server, session_us, sent_us, received_us: self.now_us() };
        kept.acks.push(ack);
        if let Err(error) = writeln!(kept.log, "{id} {server} {sent_us} {}", ack.received_us) {
            kept.last_error = Some(format!("the client's own log: {error}"));
        }
    }
}

async fn write(writer: u32, shared: &Shared, target: &Target) {
    let mut sequence = 0;
    while shared.is_running() {
        if let Err(error) = write_on_one_connection(writer, &mut sequence, shared, target).await {
            shared.kept().last_error = Some(error.to_string());
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Writes until something fails.
async fn write_on_one_connection(
    writer: u32,
    sequence: &mut u64,
    shared: &Shared,
    target: &Target,
) -> Result<()> {
    let limits = Limits { connect: CONNECT_LIMIT, statement: STATEMENT_LIMIT };
    let opening = open(target, &limits);
    let (mut connection, server) = tokio::time::timeout(CONNECT_LIMIT * 2, opening).await??;
    let session_us = shared.now_us();
    while shared.is_running() {
        *sequence += 1;
        let id = row_id(writer, *sequence);
        let sent_us = shared.now_us();
        let sql = Sql::plain(format!(
            "INSERT INTO chaos.acked (id, writer, sent_us, server) SELECT {id}, {writer}, {sent_us}, @@server_id"
        ));
        // The connection's own limit has a grace in which it would try to kill the statement.
        tokio::time::timeout(STATEMENT_LIMIT, connection.execute(&sql)).await??;
        shared.keep(id, server, session_us, sent_us);
        tokio::time::sleep(PACE).await;
    }
    connection.close().await;
    Ok(())
}

async fn open(target: &Target, limits: &Limits) -> Result<(Connection, u32), ServerError> {
    let mut connection = Connection::open(target, limits).await?;
    let rows = connection.query(&Sql::plain("SELECT @@server_id AS id")).await?;
    let server = rows.first().and_then(|row| row.parsed("id"));
    let server = server.ok_or_else(|| ServerError::Other("the server does not tell its id".to_owned()))?;
    Ok((connection, server))
}
