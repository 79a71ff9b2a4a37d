//! [`Connection`]: one session with a known state, every call of which ends within its limit.
//!
//! It deliberately has no pool and reconnects by no means of its own: what a broken statement means is
//! for the caller to say.

use std::sync::Arc;
use std::time::Duration;

use flavor::Flavor;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Column, Conn, Opts, OptsBuilder, Value};
use tokio::time::timeout;

use crate::error::ServerError;
use crate::row::Row;
use crate::sql::{Param, Sql};
use crate::target::{Limits, Target};

/// More rows than any of our own questions has answers; a result beyond it ends the connection.
const MAX_ROWS: usize = 1_000_000;

/// The longest row there is: the protocol's limit, and both servers', for what they send.
const ROW_BYTES_MAX: usize = 1 << 30;

/// What sessions have in common, whatever the server's defaults are: quoting by `sqltext` relies on backslash
/// escapes and on `"` not being an identifier quote, times are UTC.
const SQL_MODE: &str = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// A session on a server.
pub struct Connection {
    /// Absent once broken: a call that failed half-way or was abandoned leaves the protocol in no known state.
    conn: Option<Conn>,
    target: Target,
    limits: Limits,
    session_limit: Duration,
    flavor: Flavor,
    id: u32,
}

/// What a statement without a result did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Rows it changed.
    pub affected_rows: u64,
    /// Warnings it left.
    pub warnings: u16,
}

impl Connection {
    /// Connects, logs in, learns the flavor and brings the session into its known state.
    ///
    /// # Errors
    /// If any of it fails, or takes longer than `limits.connect`.
    pub async fn open(target: &Target, limits: &Limits) -> Result<Self, ServerError> {
        Self::open_with(target, limits, target.driver_options()).await
    }

    /// The same for a session that reads rows of any length the protocol has, whatever the server takes from clients.
    ///
    /// # Errors
    /// As for [`Connection::open`].
    pub async fn open_for_rows(target: &Target, limits: &Limits) -> Result<Self, ServerError> {
        let options = OptsBuilder::from_opts(target.driver_options()).max_allowed_packet(Some(ROW_BYTES_MAX));
        Self::open_with(target, limits, options.into()).await
    }

    async fn open_with(target: &Target, limits: &Limits, options: Opts) -> Result<Self, ServerError> {
        let opening = Self::open_unbounded(target, limits, options);
        timeout(limits.connect, opening).await.unwrap_or_else(|_| {
            Err(ServerError::Timeout {
                endpoint: target.endpoint.to_string(),
                limit_ms: limits.connect.as_millis(),
            })
        })
    }

    async fn open_unbounded(target: &Target, limits: &Limits, options: Opts) -> Result<Self, ServerError> {
        let mut conn = Conn::new(options)
            .await
            .map_err(|failure| ServerError::from_connecting(failure, &target.endpoint))?;
        let failed = |failure| ServerError::from_connecting(failure, &target.endpoint);
        let said: Option<(String, String)> =
            conn.query_first("SELECT @@version, @@version_comment").await.map_err(failed)?;
        let (version, comment) =
            said.ok_or_else(|| ServerError::Other("the server does not tell its version".to_owned()))?;
        let flavor =
            Flavor::parse(&version, &comment).map_err(|error| ServerError::Other(error.to_string()))?;
        let id = conn.id();
        let mut connection = Self {
            conn: Some(conn),
            target: target.clone(),
            limits: *limits,
            session_limit: Duration::ZERO,
            flavor,
            id,
        };
        // At least a second: a lock wait of 0 s would fail at once.
        let lock_wait_seconds = limits.statement.as_secs().max(1);
        connection
            .run_once(
                &Sql::plain(format!(
                    "SET NAMES utf8mb4, sql_mode = '{SQL_MODE}', time_zone = '+00:00', autocommit = 1, \
                     lock_wait_timeout = {lock_wait_seconds}, innodb_lock_wait_timeout = {lock_wait_seconds}"
                )),
                None,
                limits.connect,
            )
            .await?;
        connection.limit_session(limits.statement).await?;
        Ok(connection)
    }

    /// The server's vendor and version.
    #[must_use]
    pub const fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The session's id on the server.
    #[must_use]
    pub const fn connection_id(&self) -> u32 {
        self.id
    }

    /// Where and as whom this session is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Runs a statement and reads its first result.
    ///
    /// # Errors
    /// As [`ServerError`] lists; after [`ServerError::is_connection_gone`] the session is over.
    pub async fn query(&mut self, sql: &Sql) -> Result<Vec<Row>, ServerError> {
        Ok(self.run(sql, None, self.limits.statement).await?.0)
    }

    /// Runs a statement whose result, if any, is of no interest.
    ///
    /// # Errors
    /// As for [`Connection::query`].
    pub async fn execute(&mut self, sql: &Sql) -> Result<Executed, ServerError> {
        Ok(self.run(sql, None, self.limits.statement).await?.1)
    }

    /// Prepares a statement and runs it with values bound to its `?`.
    ///
    /// # Errors
    /// As for [`Connection::query`].
    pub async fn exec(&mut self, sql: &Sql, params: Vec<Param>) -> Result<Executed, ServerError> {
        Ok(self.run(sql, Some(params), self.limits.statement).await?.1)
    }

    /// The same session with another limit for the next calls made through it.
    pub const fn with_limit(&mut self, limit: Duration) -> Limited<'_> {
        Limited { connection: self, limit }
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// If none comes within the statement limit; the session is then over.
    pub async fn ping(&mut self) -> Result<(), ServerError> {
        let mut conn = self.take_conn()?;
        let limit = self.limits.statement;
        match timeout(limit, conn.ping()).await {
            Ok(Ok(())) => {
                self.conn = Some(conn);
                Ok(())
            }
            Ok(Err(failure)) => {
                Err(ServerError::from_statement(failure, &Sql::plain("ping"), 0, &self.target.endpoint))
            }
            Err(_) => {
                Err(ServerError::ConnectionLost { reason: format!("no answer to a ping in {limit:?}") })
            }
        }
    }

    /// Says goodbye to the server. Dropping a connection ends it as well, without the server being told.
    pub async fn close(mut self) {
        let Some(conn) = self.conn.take() else { return };
        match timeout(Limits::GRACE, conn.disconnect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "closing a connection"),
            Err(_) => tracing::debug!("closing a connection took too long"),
        }
    }

    async fn run(
        &mut self,
        sql: &Sql,
        params: Option<Vec<Param>>,
        limit: Duration,
    ) -> Result<Fetched, ServerError> {
        if self.session_limit != limit {
            self.limit_session(limit).await?;
        }
        self.run_once(sql, params, limit).await
    }

    /// Tells the server the limit, so that it holds even when this process is gone.
    pub(crate) async fn limit_session(&mut self, limit: Duration) -> Result<(), ServerError> {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        for statement in self.flavor.statements().statement_time_limit(limit_ms) {
            self.run_once(&Sql::plain(statement), None, limit).await?;
        }
        self.session_limit = limit;
        Ok(())
    }

    async fn run_once(
        &mut self,
        sql: &Sql,
        params: Option<Vec<Param>>,
        limit: Duration,
    ) -> Result<Fetched, ServerError> {
        // Taken out while in use: if this future is dropped, the half-used connection goes with it.
        let mut conn = self.take_conn()?;
        tracing::trace!(id = self.id, %sql, "statement");
        let mut killed = false;
        let outcome = {
            let work = fetch(&mut conn, sql, params);
            tokio::pin!(work);
            match timeout(limit + Limits::GRACE, &mut work).await {
                Ok(outcome) => Some(outcome),
                Err(_) => {
                    killed = true;
                    self.kill_statement().await;
                    timeout(Limits::GRACE * 4, &mut work).await.ok()
                }
            }
        };
        let timed_out =
            ServerError::StatementTimeout { limit_ms: limit.as_millis(), statement: sql.to_string() };
        match outcome {
            Some(Ok(fetched)) => {
                self.conn = Some(conn);
                // Some functions, such as SLEEP, answer a kill with a value instead of an error.
                if killed { Err(timed_out) } else { Ok(fetched) }
            }
            Some(Err(Failure::TooManyRows)) => {
                Err(ServerError::TooManyRows { limit: MAX_ROWS, statement: sql.to_string() })
            }
            Some(Err(Failure::Driver(failure))) => {
                let is_sound = matches!(failure, mysql_async::Error::Server(_));
                let error =
                    ServerError::from_statement(failure, sql, limit.as_millis(), &self.target.endpoint);
                if is_sound && !error.is_connection_gone() {
                    self.conn = Some(conn);
                }
                // 1317 (interrupted) is the answer to our own KILL QUERY.
                if killed && matches!(error, ServerError::Sql { code: 1317, .. }) {
                    return Err(timed_out);
                }
                Err(error)
            }
            None => Err(timed_out),
        }
    }

    /// Stops the running statement from a second session; the client limit alone would leave it running.
    async fn kill_statement(&self) {
        let killing = async {
            let mut other = Conn::new(self.target.driver_options()).await?;
            other.query_drop(format!("KILL QUERY {}", self.id)).await?;
            other.disconnect().await
        };
        match timeout(self.limits.connect, killing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = ServerError::from_connecting(error, &self.target.endpoint);
                tracing::warn!(id = self.id, %error, "a statement over its limit could not be killed");
            }
            Err(_) => tracing::warn!(id = self.id, "killing a statement over its limit took too long"),
        }
    }

    pub(crate) fn take_conn(&mut self) -> Result<Conn, ServerError> {
        self.conn.take().ok_or_else(|| ServerError::ConnectionLost {
            reason: "an earlier call broke or was abandoned".to_owned(),
        })
    }

    /// What [`Self::take_conn`] took, in a known state again.
    pub(crate) fn give_back(&mut self, conn: Conn) {
        self.conn = Some(conn);
    }

    pub(crate) fn statement_error(&self, failure: mysql_async::Error, sql: &Sql) -> ServerError {
        ServerError::from_statement(failure, sql, self.session_limit.as_millis(), &self.target.endpoint)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.target.endpoint)
            .field("flavor", &self.flavor)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A session whose calls have another limit than its own.
#[derive(Debug)]
pub struct Limited<'c> {
    connection: &'c mut Connection,
    limit: Duration,
}

impl Limited<'_> {
    /// As [`Connection::query`].
    ///
    /// # Errors
    /// As for [`Connection::query`].
    pub async fn query(&mut self, sql: &Sql) -> Result<Vec<Row>, ServerError> {
        Ok(self.connection.run(sql, None, self.limit).await?.0)
    }

    /// As [`Connection::execute`].
    ///
    /// # Errors
    /// As for [`Connection::query`].
    pub async fn execute(&mut self, sql: &Sql) -> Result<Executed, ServerError> {
        Ok(self.connection.run(sql, None, self.limit).await?.1)
    }

    /// As [`Connection::exec`].
    ///
    /// # Errors
    /// As for [`Connection::query`].
    pub async fn exec(&mut self, sql: &Sql, params: Vec<Param>) -> Result<Executed, ServerError> {
        Ok(self.connection.run(sql, Some(params), self.limit).await?.1)
    }
}

type Fetched = (Vec<Row>, Executed);

enum Failure {
    Driver(mysql_async::Error),
    TooManyRows,
}

impl From<mysql_async::Error> for Failure {
    fn from(failure: mysql_async::Error) -> Self {
        Self::Driver(failure)
    }
}

async fn fetch(conn: &mut Conn, sql: &Sql, params: Option<Vec<Param>>) -> Result<Fetched, Failure> {
    match params {
        None => {
            let result = conn.query_iter(sql.expose()).await?;
            read(result).await
        }
        Some(params) => {
            let values: Vec<Value> = params.into_iter().map(Value::from).collect();
            let result = conn.exec_iter(sql.expose(), values).await?;
            read(result).await
        }
    }
}

async fn read<P: mysql_async::prelude::Protocol>(
    mut result: mysql_async::QueryResult<'_, '_, P>,
) -> Result<Fetched, Failure> {
    let executed = |result: &mysql_async::QueryResult<'_, '_, P>| Executed {
        affected_rows: result.affected_rows(),
        warnings: result.warnings(),
    };
    let names: Arc<[String]> =
        result.columns_ref().iter().map(|column: &Column| column.name_str().into_owned()).collect();
    let mut done = executed(&result);
    let mut rows = Vec::new();
    while let Some(row) = result.next().await? {
        if rows.len() == MAX_ROWS {
            return Err(Failure::TooManyRows);
        }
        rows.push(Row::new(Arc::clone(&names), row.unwrap()));
    }
    if !names.is_empty() {
        done = executed(&result);
    }
    result.drop_result().await?;
    Ok((rows, done))
}
