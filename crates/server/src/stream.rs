//! [`RowStream`]: the rows of one query as the server sends them, in batches of bounded size, without a value of its
//! own for each column. It converts nothing: text is in whatever character set the session asked for.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, QueryResult, TextProtocol, Value};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::error::ServerError;
use crate::sql::Sql;

/// A batch is full with so many bytes; a larger row has one of its own.
const BATCH_BYTES: usize = 256 << 10;

/// Rows of a stream. Kept and filled again, so that a stream of any length needs the memory of one batch.
#[derive(Debug, Default)]
pub struct RowBatch {
    bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    ends: Vec<usize>,
}

impl RowBatch {
    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// `true` without a row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Length of all rows as they came, in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The rows, in the order they came.
    pub fn rows(&self) -> impl Iterator<Item = RawRow<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let row = RawRow(self.bytes.get(start..end).unwrap_or_default());
            start = end;
            row
        })
    }

    fn push(&mut self, values: &[Value]) {
        for value in values {
            match value {
                Value::NULL => self.bytes.push(0xFB),
                Value::Bytes(bytes) => self.push_value(bytes),
                // The text protocol has none of these.
                typed @ (Value::Int(_)
                | Value::UInt(_)
                | Value::Float(_)
                | Value::Double(_)
                | Value::Date(..)
                | Value::Time(..)) => self.push_value(typed.as_sql(true).as_bytes()),
            }
        }
        self.ends.push(self.bytes.len());
    }

    fn push_value(&mut self, value: &[u8]) {
        let length = value.len() as u64;
        let [a, b, c, ..] = length.to_le_bytes();
        match length {
            0..=0xFA => self.bytes.push(a),
            0xFB..=0xFFFF => self.bytes.extend_from_slice(&[0xFC, a, b]),
            0x1_0000..=0xFF_FFFF => self.bytes.extend_from_slice(&[0xFD, a, b, c]),
            0x100_0000.. => {
                self.bytes.push(0xFE);
                self.bytes.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(value);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // A single huge row is no reason to keep its memory.
        self.bytes.shrink_to(4 << 20);
    }
}

/// One row as it came.
#[derive(Clone, Copy, Debug)]
pub struct RawRow<'r>(&'r [u8]);

impl<'r> RawRow<'r> {
    /// Its values, in the order of the columns; `None` stands for NULL. The iterator ends early when the row is cut
    /// off: a caller that counts notices.
    #[must_use]
    pub const fn values(self) -> RawValues<'r> {
        RawValues { rest: self.0 }
    }
}

/// The values of a row.
#[derive(Clone, Debug)]
pub struct RawValues<'r> {
    rest: &'r [u8],
}

impl<'r> RawValues<'r> {
    /// A length of the protocol's kind: one byte, or a mark and 2, 3 or 8 bytes.
    fn length(&mut self, mark: u8) -> Option<usize> {
        let width = match mark {
            0..=0xFA => return Some(usize::from(mark)),
            0xFC => 2,
            0xFD => 3,
            0xFE => 8,
            0xFB | 0xFF => return None,
        };
        let (number, rest) = self.rest.split_at_checked(width)?;
        self.rest = rest;
        let length = number.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        usize::try_from(length).ok()
    }
}

impl<'r> Iterator for RawValues<'r> {
    type Item = Option<&'r [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&mark, rest) = self.rest.split_first()?;
        self.rest = rest;
        if mark == 0xFB {
            return Some(None);
        }
        let length = self.length(mark)?;
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(value))
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

    /// Fills a batch with the next rows; `false` when there are none left. The session can be used again after that,
    /// and is over when the stream is dropped before.
    ///
    /// # Errors
    /// If the server ends the query or the connection, or is silent for longer than the stream's limit.
    pub async fn next(&mut self, batch: &mut RowBatch) -> Result<bool, ServerError> {
        batch.clear();
        let Some(mut conn) = self.conn.take() else { return Ok(false) };
        let filling = async {
            let mut result = QueryResult::<'_, '_, TextProtocol>::new(&mut conn);
            while batch.size_bytes() < BATCH_BYTES {
                match result.next().await {
                    Ok(Some(row)) => batch.push(&row.unwrap()),
                    Ok(None) => return Ok(true),
                    Err(failure) => return Err(failure),
                }
            }
            Ok(false)
        };
        let outcome = timeout(self.silence, filling).await;
        match outcome {
            Ok(Ok(false)) => self.conn = Some(conn),
            Ok(Ok(true)) => self.connection.give_back(conn),
            Ok(Err(failure)) => {
                let is_sound = matches!(failure, mysql_async::Error::Server(_));
                let error = self.connection.statement_error(failure, &self.sql);
                if is_sound && !error.is_connection_gone() {
                    self.connection.give_back(conn);
                }
                return Err(error);
            }
            Err(_) => {
                let reason = format!("no row in {} s from: {}", self.silence.as_secs(), self.sql);
                return Err(ServerError::ConnectionLost { reason });
            }
        }
        Ok(!batch.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_come_back() {
        let long: Vec<Vec<u8>> =
            [0, 1, 250, 251, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000].map(|n| vec![b'x'; n]).into();
        let mut batch = RowBatch::default();
        let values: Vec<Value> = long.iter().cloned().map(Value::Bytes).chain([Value::NULL]).collect();
        batch.push(&values);
        batch.push(&[Value::NULL, Value::Bytes(b"b".to_vec())]);
        assert_eq!(batch.len(), 2);
        let rows: Vec<Vec<Option<&[u8]>>> = batch.rows().map(|row| row.values().collect()).collect();
        let expected: Vec<Option<&[u8]>> =
            long.iter().map(|value| Some(value.as_slice())).chain([None]).collect();
        assert!(rows[0] == expected);
        assert_eq!(rows[1], [None, Some(&b"b"[..])]);
    }

    #[test]
    fn a_row_that_is_cut_off_has_fewer_values() {
        let mut batch = RowBatch::default();
        batch.push(&[Value::Bytes(vec![b'a'; 300]), Value::Bytes(b"bc".to_vec())]);
        for end in 0..batch.bytes.len() {
            assert!(RawRow(&batch.bytes[..end]).values().count() < 2, "{end}");
        }
    }
}
