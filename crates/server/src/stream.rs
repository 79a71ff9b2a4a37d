//! [`RowStream`]: the rows of one query as the server sends them, passed on one by one and never kept. It converts
//! nothing: text is in whatever character set the session asked for.

use std::ops::ControlFlow;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, QueryResult, TextProtocol, Value};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::error::ServerError;
use crate::sql::Sql;

/// Passed on between two looks at the clock; a larger row is passed on alone.
const BATCH_BYTES: usize = 256 << 10;

/// The values of one row, in the order of the columns; `None` stands for NULL. The iterator ends early at what is no
/// text, which no server sends: a caller that counts notices.
#[derive(Clone, Debug)]
pub struct RowValues<'r> {
    row: &'r mysql_async::Row,
    at: usize,
}

impl<'r> Iterator for RowValues<'r> {
    type Item = Option<&'r [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let value = self.row.as_ref(self.at)?;
        self.at += 1;
        match value {
            Value::NULL => Some(None),
            Value::Bytes(bytes) => Some(Some(bytes)),
            Value::Int(_)
            | Value::UInt(_)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Date(..)
            | Value::Time(..) => None,
        }
    }
}

/// Rows of one query, being read.
pub struct RowStream<'c> {
    connection: &'c mut Connection,
    /// Absent once broken or at the end.
    conn: Option<Conn>,
    sql: Sql,
    silence: Duration,
}

impl<'c> RowStream<'c> {
    pub(crate) const fn new(connection: &'c mut Connection, conn: Conn, sql: Sql, silence: Duration) -> Self {
        Self { connection, conn: Some(conn), sql, silence }
    }

    /// Passes the next rows on, at most until `take` breaks off; `false` when there are none left. The session can be
    /// used again after that, and is over when the stream is dropped before.
    ///
    /// # Errors
    /// If the server ends the query or the connection, or is silent for longer than the stream's limit.
    pub async fn next(
        &mut self,
        mut take: impl FnMut(RowValues<'_>) -> ControlFlow<()>,
    ) -> Result<bool, ServerError> {
        let Some(mut conn) = self.conn.take() else { return Ok(false) };
        let passing = async {
            let mut result = QueryResult::<'_, '_, TextProtocol>::new(&mut conn);
            let mut passed_bytes = 0;
            while passed_bytes < BATCH_BYTES {
                let Some(row) = result.next().await? else { return Ok(true) };
                let values = RowValues { row: &row, at: 0 };
                passed_bytes += values.clone().flatten().map(<[u8]>::len).sum::<usize>();
                if take(values).is_break() {
                    break;
                }
            }
            Ok(false)
        };
        let outcome = timeout(self.silence, passing).await;
        match outcome {
            Ok(Ok(false)) => {
                self.conn = Some(conn);
                Ok(true)
            }
            Ok(Ok(true)) => {
                self.connection.give_back(conn);
                Ok(false)
            }
            Ok(Err(failure)) => {
                let is_sound = matches!(failure, mysql_async::Error::Server(_));
                let error = self.connection.statement_error(failure, &self.sql);
                if is_sound && !error.is_connection_gone() {
                    self.connection.give_back(conn);
                }
                Err(error)
            }
            Err(_) => {
                let reason = format!("no row in {} s from: {}", self.silence.as_secs(), self.sql);
                Err(ServerError::ConnectionLost { reason })
            }
        }
    }
}

impl Connection {
    /// Begins to read the rows of a query, for as long as rows keep coming: the server's own limit for the statement
    /// is `limit`, and a silence of more than `silence` ends it.
    ///
    /// # Errors
    /// As for [`Connection::query`].
    pub async fn stream(
        &mut self,
        sql: Sql,
        limit: Duration,
        silence: Duration,
    ) -> Result<RowStream<'_>, ServerError> {
        self.limit_session(limit).await?;
        let mut conn = self.take_conn()?;
        tracing::trace!(%sql, "stream");
        let begun = timeout(silence, async { conn.query_iter(sql.expose()).await.map(drop) }).await;
        match begun {
            Ok(Ok(())) => Ok(RowStream::new(self, conn, sql, silence)),
            Ok(Err(failure)) => {
                let is_sound = matches!(failure, mysql_async::Error::Server(_));
                let error = self.statement_error(failure, &sql);
                if is_sound && !error.is_connection_gone() {
                    self.give_back(conn);
                }
                Err(error)
            }
            Err(_) => Err(ServerError::ConnectionLost {
                reason: format!("no answer in {} s to: {sql}", silence.as_secs()),
            }),
        }
    }
}

impl std::fmt::Debug for RowStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").field("sql", &self.sql).finish_non_exhaustive()
    }
}
