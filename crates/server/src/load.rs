//! [`Loader`]: a session that takes data in: statements as bytes in any character set, and rows by `LOAD DATA LOCAL`.
//!
//! The session is as the server makes it; what it is to be set to is for the caller to say. A statement may take as
//! long as it takes: the caller bounds the work as a whole.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Column, Conn};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::error::ServerError;
use crate::row::Row;
use crate::sql::Sql;
use crate::target::{Endpoint, Limits, Target};

/// More rows than any question of a load has answers.
const MAX_ROWS: usize = 1_000_000;
/// Bytes of a packet of rows: large enough to cost little each, small enough for any `max_allowed_packet`.
const PACKET_BYTES: usize = 256 << 10;
/// Of a statement, so many bytes are shown in errors: its values are nobody's business.
const SHOWN_BYTES: usize = 80;
/// The name that `LOAD DATA LOCAL` asks for. No file is ever read: the rows are given in its place.
const NO_FILE: &str = "rows";

/// What a statement did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows it added or changed.
    pub affected_rows: u64,
    /// Warnings it left.
    pub warnings: u16,
}

/// A session that takes data in.
pub struct Loader {
    /// Absent once broken.
    conn: Option<Conn>,
    endpoint: Endpoint,
    limit: Duration,
    id: u32,
}

impl Loader {
    /// Connects and logs in. No call on the session takes longer than `statement_limit`.
    ///
    /// # Errors
    /// If that fails, or takes longer than `limits.connect`.
    pub async fn open(
        target: &Target,
        limits: &Limits,
        statement_limit: Duration,
    ) -> Result<Self, ServerError> {
        let opening = Conn::new(target.driver_options());
        let conn = match timeout(limits.connect, opening).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(failure)) => return Err(ServerError::from_connecting(failure, &target.endpoint)),
            Err(_) => {
                let (endpoint, limit_ms) = (target.endpoint.to_string(), limits.connect.as_millis());
                return Err(ServerError::Timeout { endpoint, limit_ms });
            }
        };
        let id = conn.id();
        Ok(Self { conn: Some(conn), endpoint: target.endpoint.clone(), limit: statement_limit, id })
    }

    /// The session's id on the server.
    #[must_use]
    pub const fn connection_id(&self) -> u32 {
        self.id
    }

    /// Runs a statement given as bytes, whose result is of no interest. Errors show only its beginning.
    ///
    /// # Errors
    /// As [`ServerError`] lists; after [`ServerError::is_connection_gone`] the session is over.
    pub async fn run(&mut self, statement: &[u8]) -> Result<Loaded, ServerError> {
        let mut conn = self.take()?;
        let outcome = timeout(self.limit, run(&mut conn, statement)).await;
        self.settle(conn, outcome, || shown(statement))
    }

    /// Asks a question.
    ///
    /// # Errors
    /// As for [`Loader::run`].
    pub async fn query(&mut self, sql: &Sql) -> Result<Vec<Row>, ServerError> {
        let mut conn = self.take()?;
        let outcome = timeout(self.limit, ask(&mut conn, sql)).await;
        self.settle(conn, outcome, || sql.clone())
    }

    /// Runs a `LOAD DATA LOCAL INFILE` with these bytes as the file. [`Loader::load_statement`] writes its beginning.
    ///
    /// # Errors
    /// As for [`Loader::run`].
    pub async fn load(&mut self, sql: &Sql, rows: Arc<Vec<u8>>) -> Result<Loaded, ServerError> {
        let rows = bytes::Bytes::from_owner(Shared(rows));
        let mut conn = self.take()?;
        conn.set_infile_handler(async move {
            let pieces = (0..rows.len())
                .step_by(PACKET_BYTES)
                .map(move |from| Ok(rows.slice(from..rows.len().min(from + PACKET_BYTES))));
            Ok(stream::iter(pieces).boxed())
        });
        let outcome = timeout(self.limit, run(&mut conn, sql.expose().as_bytes())).await;
        self.settle(conn, outcome, || sql.clone())
    }

    /// The beginning of a statement for [`Loader::load`], up to the table's name, which is quoted.
    #[must_use]
    pub fn load_statement(table: &str) -> String {
        format!("LOAD DATA LOCAL INFILE '{NO_FILE}' INTO TABLE {table}")
    }

    /// Says goodbye to the server.
    pub async fn close(mut self) {
        if let Some(conn) = self.conn.take()
            && timeout(Limits::GRACE, conn.disconnect()).await.is_err()
        {
            tracing::debug!(id = self.id, "closing a session took too long");
        }
    }

    /// Taken out while in use: if the call is dropped, the half-used connection goes with it.
    fn take(&mut self) -> Result<Conn, ServerError> {
        self.conn.take().ok_or_else(|| ServerError::ConnectionLost {
            reason: "an earlier call broke or was abandoned".to_owned(),
        })
    }

    fn settle<T>(
        &mut self,
        conn: Conn,
        outcome: Result<Result<T, mysql_async::Error>, Elapsed>,
        sql: impl FnOnce() -> Sql,
    ) -> Result<T, ServerError> {
        let limit_ms = self.limit.as_millis();
        match outcome {
            Ok(Ok(done)) => {
                self.conn = Some(conn);
                Ok(done)
            }
            Ok(Err(failure)) => {
                let is_sound = matches!(failure, mysql_async::Error::Server(_));
                let error = ServerError::from_statement(failure, &sql(), limit_ms, &self.endpoint);
                if is_sound && !error.is_connection_gone() {
                    self.conn = Some(conn);
                }
                Err(error)
            }
            Err(_) => Err(ServerError::StatementTimeout { limit_ms, statement: sql().to_string() }),
        }
    }
}

async fn run(conn: &mut Conn, statement: &[u8]) -> Result<Loaded, mysql_async::Error> {
    let result = conn.query_iter(statement).await?;
    let loaded = Loaded { affected_rows: result.affected_rows(), warnings: result.warnings() };
    result.drop_result().await?;
    Ok(loaded)
}

async fn ask(conn: &mut Conn, sql: &Sql) -> Result<Vec<Row>, mysql_async::Error> {
    let mut result = conn.query_iter(sql.expose()).await?;
    let names: Arc<[String]> =
        result.columns_ref().iter().map(|column: &Column| column.name_str().into_owned()).collect();
    let mut rows = Vec::new();
    while let Some(row) = result.next().await? {
        if rows.len() < MAX_ROWS {
            rows.push(Row::new(Arc::clone(&names), row.unwrap()));
        }
    }
    result.drop_result().await?;
    Ok(rows)
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("endpoint", &self.endpoint)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Rows that may have to be sent again.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The beginning of a statement, for errors.
fn shown(statement: &[u8]) -> Sql {
    let head = statement.get(..statement.len().min(SHOWN_BYTES)).unwrap_or_default();
    let mut text = String::from_utf8_lossy(head).into_owned();
    if head.len() < statement.len() {
        text.push_str(" ...");
    }
    Sql::plain(text)
}
