//! A server's binary logs as it sends them to replicas: whole events, one after the other, to the end of what is
//! written. It decodes none of them.

use std::time::Duration;

use flavor::{Flavor, Vendor};
use futures_util::StreamExt as _;
use mysql_async::binlog::EventType;
use mysql_async::binlog::events::Event;
use mysql_async::prelude::Queryable as _;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Sid};
use sqltext::quote_string;
use tokio::time::timeout;

use crate::error::ServerError;
use crate::sql::Sql;
use crate::target::{Limits, Target};

/// A server that has nothing to send says at least that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The same where the stream goes on: it is then known that a transaction has ended.
const HEARTBEAT_FOLLOWING: Duration = Duration::from_secs(1);
/// No sign of life for so long ends the stream.
const SILENCE: Duration = Duration::from_secs(60);
/// The protocol has 32 bits for a position.
const POSITION_MAX: u64 = 0xFFFF_FFFF;
/// An event that nothing wrote to a log.
const FLAG_ARTIFICIAL: u16 = 0x0020;

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpFrom {
    /// A log and an offset in it, 4 for its beginning.
    Position {
        /// The log's name, as `SHOW BINARY LOGS` has it.
        log: String,
        /// Offset of an event, in bytes.
        position: u64,
    },
    /// After these GTIDs: a set (MySQL), or the last one of each domain (MariaDB).
    After(String),
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpEvent {
    /// What follows is of this log.
    Log(String),
    /// A whole event with header and checksum, as it is in the log. An [artificial](Self::is_artificial) description
    /// of the format comes before the first event when that is not the log's own first one.
    Event(Vec<u8>),
    /// Everything that is written has been sent, to the end of a transaction. Only where the stream goes on.
    Idle,
}

/// What happens at the end of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    Stop,
    Wait,
}

/// A server's logs, being sent.
pub struct BinlogDump {
    stream: BinlogStream,
    at_end: AtEnd,
    endpoint: String,
    logs: Vec<String>,
    limits: Limits,
}

impl BinlogDump {
    /// Connects and asks for the logs. The account needs REPLICATION SLAVE, and REPLICATION CLIENT (MariaDB: BINLOG
    /// MONITOR) for the names of the logs.
    ///
    /// `server_id` is what replicas are told apart by: one that no replica of the server has.
    ///
    /// # Errors
    /// If the server cannot be reached, has no binary logs, or refuses.
    pub async fn open(
        target: &Target,
        limits: &Limits,
        server_id: u32,
        logs: Vec<String>,
        flavor: Flavor,
        from: &DumpFrom,
    ) -> Result<Self, ServerError> {
        Self::begin(target, limits, (server_id, AtEnd::Stop), logs, flavor, from).await
    }

    /// The same without an end: what is written later is sent when it is, and [`DumpEvent::Idle`] says every second
    /// that there is nothing. While it lasts, the server keeps the log being read and those after it.
    ///
    /// # Errors
    /// As [`BinlogDump::open`].
    pub async fn follow(
        target: &Target,
        limits: &Limits,
        server_id: u32,
        logs: Vec<String>,
        flavor: Flavor,
        from: &DumpFrom,
    ) -> Result<Self, ServerError> {
        Self::begin(target, limits, (server_id, AtEnd::Wait), logs, flavor, from).await
    }

    async fn begin(
        target: &Target,
        limits: &Limits,
        (server_id, at_end): (u32, AtEnd),
        logs: Vec<String>,
        flavor: Flavor,
        from: &DumpFrom,
    ) -> Result<Self, ServerError> {
        let opening = async {
            let mut conn = Conn::new(target.driver_options())
                .await
                .map_err(|failure| ServerError::from_connecting(failure, &target.endpoint))?;
            for sql in session(flavor, from, at_end)? {
                let sql = Sql::plain(sql);
                conn.query_drop(sql.expose()).await.map_err(|failure| {
                    ServerError::from_statement(failure, &sql, limits.connect.as_millis(), &target.endpoint)
                })?;
            }
            let request = BinlogStreamRequest::new(server_id);
            let request = match at_end {
                AtEnd::Stop => request.with_non_blocking(),
                AtEnd::Wait => request,
            };
            let request = match from {
                DumpFrom::Position { position, .. } if *position > POSITION_MAX => {
                    return Err(ServerError::Other(format!(
                        "the protocol has no position {position}, only up to {POSITION_MAX}"
                    )));
                }
                DumpFrom::Position { log, position } => {
                    request.with_filename(log.as_bytes()).with_pos(*position)
                }
                // MariaDB was told in the session.
                DumpFrom::After(_) if flavor.vendor == Vendor::MariaDb => request,
                DumpFrom::After(gtids) => request.with_gtid().with_gtid_set(mysql_gtids(gtids)?),
            };
            conn.get_binlog_stream(request).await.map_err(|failure| refused(failure, target, limits))
        };
        let stream = timeout(limits.connect, opening).await.unwrap_or_else(|_| {
            Err(ServerError::Timeout {
                endpoint: target.endpoint.to_string(),
                limit_ms: limits.connect.as_millis(),
            })
        })?;
        Ok(Self { stream, at_end, endpoint: target.endpoint.to_string(), logs, limits: *limits })
    }

    /// The next event or log; none at the end of what is written.
    ///
    /// # Errors
    /// If the connection breaks, nothing comes for a minute, or the server cannot go on.
    pub async fn next(&mut self) -> Result<Option<DumpEvent>, ServerError> {
        loop {
            let event = match timeout(SILENCE, self.stream.next()).await {
                Err(_) => {
                    let (endpoint, limit_ms) = (self.endpoint.clone(), SILENCE.as_millis());
                    return Err(ServerError::Timeout { endpoint, limit_ms });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(failure))) => return Err(self.broken(failure)),
                Ok(Some(Ok(event))) => event,
            };
            // The driver unpacks compressed transactions and gives their events after them: they are in there.
            if !event.footer().get_checksum_enabled() {
                continue;
            }
            let header = event.header();
            let kind = header.event_type_raw();
            let is_artificial = header.flags_raw() & FLAG_ARTIFICIAL != 0;
            // A log's own last event has a position, if not always a time.
            if kind == EventType::ROTATE_EVENT as u8 && (is_artificial || header.log_pos() == 0) {
                match self.named(event.data()) {
                    Some(name) => return Ok(Some(DumpEvent::Log(name))),
                    None => continue,
                }
            }
            if is_heartbeat(kind) {
                match self.at_end {
                    AtEnd::Stop => continue,
                    AtEnd::Wait => return Ok(Some(DumpEvent::Idle)),
                }
            }
            return Ok(Some(DumpEvent::Event(whole(&event))));
        }
    }

    /// Ends the connection.
    pub async fn close(self) {
        match timeout(Limits::GRACE, self.stream.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "closing a binary log stream"),
            Err(_) => tracing::debug!("closing a binary log stream took too long"),
        }
    }

    /// The log that an artificial rotation leads to. The first one comes before it is known whether events end with
    /// a checksum, so a known name is looked for first.
    fn named(&self, data: &[u8]) -> Option<String> {
        let name = data.get(8..)?;
        let is = |known: &&String| {
            name.strip_prefix(known.as_bytes()).is_some_and(|rest| matches!(rest.len(), 0 | 4))
        };
        match self.logs.iter().find(is) {
            Some(known) => Some(known.clone()),
            None => std::str::from_utf8(name).ok().map(str::to_owned),
        }
    }

    fn broken(&self, failure: mysql_async::Error) -> ServerError {
        if let mysql_async::Error::Server(error) = failure {
            return ServerError::Sql {
                code: error.code,
                state: error.state,
                message: error.message,
                statement: "reading the binary logs".to_owned(),
            };
        }
        ServerError::ConnectionLost {
            reason: format!("{failure}, while {} sent its binary logs", self.endpoint),
        }
    }
}

impl std::fmt::Debug for BinlogDump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BinlogDump")
            .field("endpoint", &self.endpoint)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn refused(failure: mysql_async::Error, target: &Target, limits: &Limits) -> ServerError {
    let sql = Sql::plain("asking for the binary logs");
    ServerError::from_statement(failure, &sql, limits.connect.as_millis(), &target.endpoint)
}

/// What the server has to know of this client before it sends.
fn session(flavor: Flavor, from: &DumpFrom, at_end: AtEnd) -> Result<Vec<String>, ServerError> {
    let nanoseconds = match at_end {
        AtEnd::Stop => HEARTBEAT,
        AtEnd::Wait => HEARTBEAT_FOLLOWING,
    }
    .as_nanos();
    let mut lines = vec![
        format!("SET @master_heartbeat_period={nanoseconds}, @source_heartbeat_period={nanoseconds}"),
        // Events come as they are in the logs, with or without checksum.
        "SET @source_binlog_checksum=@@global.binlog_checksum".to_owned(),
    ];
    if flavor.vendor == Vendor::MariaDb {
        // Without it, GTIDs and compressed rows would come as what old replicas know.
        lines.push("SET @mariadb_slave_capability=4".to_owned());
        if let DumpFrom::After(gtids) = from {
            let gtids = quote_string(gtids).map_err(|error| ServerError::Other(error.to_string()))?;
            lines.push(format!("SET @slave_connect_state={gtids}"));
        }
    }
    Ok(lines)
}

fn mysql_gtids(text: &str) -> Result<Vec<Sid<'static>>, ServerError> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse()
                .map_err(|error| ServerError::Other(format!("`{part}` is not a set of GTIDs: {error}")))
        })
        .collect()
}

const fn is_heartbeat(kind: u8) -> bool {
    // HEARTBEAT and HEARTBEAT_V2.
    matches!(kind, 27 | 41)
}

/// The event as it came.
fn whole(event: &Event) -> Vec<u8> {
    let header = event.header();
    let mut bytes = Vec::with_capacity(usize::try_from(header.event_size()).unwrap_or(0).min(1 << 20));
    bytes.extend_from_slice(&header.timestamp().to_le_bytes());
    bytes.push(header.event_type_raw());
    bytes.extend_from_slice(&header.server_id().to_le_bytes());
    bytes.extend_from_slice(&header.event_size().to_le_bytes());
    bytes.extend_from_slice(&header.log_pos().to_le_bytes());
    bytes.extend_from_slice(&header.flags_raw().to_le_bytes());
    bytes.extend_from_slice(event.data());
    if header.event_type_raw() == EventType::FORMAT_DESCRIPTION_EVENT as u8
        && let Ok(Some(algorithm)) = event.footer().get_checksum_alg()
    {
        bytes.push(algorithm as u8);
    }
    bytes.extend(event.checksum().into_iter().flatten());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_gtids_are_read_and_others_refused() {
        let uuid = "7536b2a3-e54f-11f1-b83d-02fc00000001";
        assert_eq!(mysql_gtids(&format!("{uuid}:1-5:7, {uuid}:9")).unwrap().len(), 2);
        assert_eq!(mysql_gtids("").unwrap().len(), 0);
        for refused in ["0-1-5", "x:1", uuid] {
            let error = mysql_gtids(refused).unwrap_err().to_string();
            assert!(error.contains(refused), "{error}");
        }
    }
}
