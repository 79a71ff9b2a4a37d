//! The server behind this node's socket: what it says of itself, and the statements that change its role.
//!
//! Every call has a limit and none retries; what to do about a failure is decided elsewhere.

mod copy;

use std::collections::BTreeSet;
use std::time::Duration;

use flavor::{Flavor, GtidSet, SEMI_SYNC_TIMEOUT_NEVER_MS, SEMI_SYNC_WAIT_POINT, Vendor};
use ha::NodeName;
use server::{Connection, Limits, Row, ServerError, Sql, Target};

use crate::accounts::{account, accounts, change_source};
use crate::config::{Config, NET_TIMEOUT_SECONDS};
use crate::error::AgentError;

/// A look at the server that takes longer than this counts as no answer.
const LOOK: Limits =
    Limits { connect: Duration::from_millis(1_000), statement: Duration::from_millis(1_000) };
/// Threads that apply what a MariaDB replica received. They wait for the disk and for one another, so their number is
/// not that of the cores: with 8, a synced write is shared by up to 8 commits.
const PARALLEL_APPLIERS: u32 = 8;
/// A change of role that takes longer failed.
const CHANGE: Duration = Duration::from_secs(3);
/// How long to wait for a connection that was killed to be gone.
const GONE: Duration = Duration::from_secs(2);

/// What one look at the server saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) flavor: Flavor,
    pub(crate) executed: GtidSet,
    pub(crate) position: GtidSet,
    pub(crate) read_only: bool,
    pub(crate) source: Option<SourceLook>,
    pub(crate) acks: bool,
    pub(crate) waits: Option<u32>,
    /// Sessions that wait for an acknowledgement, and how many were acknowledged ever.
    pub(crate) waiting: u64,
    pub(crate) acked: u64,
    /// Accounts of the cluster's that can log in: one that is locked, or not there, cannot.
    pub(crate) admitted: BTreeSet<String>,
    /// Settings that an acknowledged write's durability rests on, and are not as they must be.
    pub(crate) unsafe_settings: Vec<String>,
}

/// The connection to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceLook {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) io: String,
    pub(crate) sql: bool,
    pub(crate) io_error: (u32, String),
    pub(crate) sql_error: (u32, String),
    pub(crate) lag_seconds: Option<u64>,
}

/// A session on the server, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Database {
    target: Target,
    connection: Option<Connection>,
}

impl Database {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target, connection: None }
    }

    /// Forgets the session: the server it was on is gone.
    pub(crate) fn forget(&mut self) {
        self.connection = None;
    }

    async fn session(&mut self) -> Result<&mut Connection, ServerError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.target, &LOOK).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Drops the session after a failure that leaves it unusable.
    fn settle<T>(&mut self, result: Result<T, ServerError>) -> Result<T, ServerError> {
        if let Err(error) = &result
            && error.code().is_none()
        {
            self.connection = None;
        }
        result
    }

    async fn query(&mut self, sql: &Sql) -> Result<Vec<Row>, ServerError> {
        let answer = match self.session().await {
            Ok(session) => session.query(sql).await,
            Err(error) => Err(error),
        };
        self.settle(answer)
    }

    async fn change(&mut self, sql: &Sql) -> Result<(), ServerError> {
        let answer = match self.session().await {
            Ok(session) => session.with_limit(CHANGE).execute(sql).await.map(|_| ()),
            Err(error) => Err(error),
        };
        self.settle(answer)
    }

    async fn change_all(&mut self, statements: &[String]) -> Result<(), ServerError> {
        for statement in statements {
            self.change(&Sql::plain(statement.as_str())).await?;
        }
        Ok(())
    }

    async fn flavor(&mut self) -> Result<Flavor, ServerError> {
        let flavor = self.session().await.map(|session| session.flavor());
        self.settle(flavor)
    }

    /// Looks at everything that decisions need.
    pub(crate) async fn look(&mut self) -> Result<Look, ServerError> {
        let flavor = self.flavor().await?;
        let statements = flavor.statements();
        let gtids = self.query(&Sql::plain(statements.executed_gtids_query())).await?;
        let executed = gtids.first().map(executed_of).transpose()?.unwrap_or_default();
        let settings = self.query(&Sql::plain(settings_query(flavor))).await?;
        let setting =
            |name: &str| settings.first().and_then(|row| row.text(name)).unwrap_or_default().to_owned();
        let status = self.query(&Sql::plain(STATUS)).await?;
        let status = |name: &str| {
            let row = status
                .iter()
                .find(|row| row.text_at(0).is_some_and(|found| found.eq_ignore_ascii_case(name)));
            row.and_then(|row| row.text_at(1)).unwrap_or_default().to_owned()
        };
        let rows = self.query(&Sql::plain(statements.replica_status())).await?;
        let source = rows.first().map(|row| source_of(row, flavor));
        let received = rows.first().and_then(|row| row.text(statements.replica_columns().received));
        let mut position = executed.clone();
        position.extend(&gtids_of(received.unwrap_or_default())?);
        let waits_on = is_on(&setting("source_enabled"));
        let admitted = self.admitted(flavor).await?;
        Ok(Look {
            flavor,
            executed,
            position,
            read_only: is_on(&setting("read_only")),
            source,
            acks: is_on(&setting("replica_enabled")),
            waits: waits_on.then(|| setting("need").parse().unwrap_or(1)),
            waiting: status(statements.semi_sync_wait_sessions_status()).parse().unwrap_or(0),
            acked: status(statements.semi_sync_acked_status()).parse().unwrap_or(0),
            admitted,
            unsafe_settings: UNSAFE
                .iter()
                .filter(|(name, wanted)| setting(name) != *wanted)
                .map(|(name, wanted)| format!("{name} = {}, not {wanted}", setting(name)))
                .collect(),
        })
    }

    async fn admitted(&mut self, flavor: Flavor) -> Result<BTreeSet<String>, ServerError> {
        let sql = match flavor.vendor {
            Vendor::MariaDb => {
                "SELECT User AS user FROM mysql.global_priv WHERE User LIKE 'mainstay\\_%' \
                 AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) <> 1"
            }
            Vendor::MySql => {
                "SELECT User AS user FROM mysql.user WHERE User LIKE 'mainstay\\_%' AND account_locked = 'N'"
            }
        };
        let rows = self.query(&Sql::plain(sql)).await?;
        Ok(rows.iter().filter_map(|row| row.text("user")).map(str::to_owned).collect())
    }

    /// Stops receiving, and is sure of it.
    pub(crate) async fn freeze(&mut self) -> Result<(), AgentError> {
        let flavor = self.flavor().await?;
        let statements = flavor.statements();
        let rows = self.query(&Sql::plain(statements.replica_status())).await?;
        if rows.is_empty() {
            return Ok(());
        }
        if let Some(hurry) = statements.semi_sync_replica_hurry() {
            self.change(&Sql::plain(hurry)).await?;
        }
        self.change(&Sql::plain(set(statements.semi_sync_replica_enabled_variable(), "OFF"))).await?;
        self.change(&Sql::plain(statements.stop_io_thread())).await?;
        let rows = self.query(&Sql::plain(statements.replica_status())).await?;
        match rows.first().map(|row| source_of(row, flavor).io) {
            Some(io) if io != "No" => Err(AgentError::Refused(format!("the IO thread is still there: {io}"))),
            Some(_) | None => Ok(()),
        }
    }

    /// Applies what was received.
    pub(crate) async fn apply_received(&mut self) -> Result<(), ServerError> {
        let statement = self.flavor().await?.statements().start_sql_thread();
        self.change(&Sql::plain(statement)).await
    }

    /// Forgets the source, and acknowledges no more.
    pub(crate) async fn detach(&mut self) -> Result<(), ServerError> {
        let statements = self.flavor().await?.statements();
        self.change_all(&[
            statements.stop_replica().to_owned(),
            statements.reset_replica_all().to_owned(),
            set(statements.semi_sync_replica_enabled_variable(), "OFF"),
        ])
        .await
    }

    /// Takes changes from a primary, acknowledging them or not. A connection that is set up already as wanted is
    /// only started, since writing it anew throws away what was received and not applied.
    pub(crate) async fn follow(
        &mut self,
        config: &Config,
        primary: &NodeName,
        is_set_up: bool,
        acking: bool,
    ) -> Result<(), AgentError> {
        let flavor = self.flavor().await?;
        let statements = flavor.statements();
        let acks = set(statements.semi_sync_replica_enabled_variable(), if acking { "ON" } else { "OFF" });
        if is_set_up {
            self.take_replica_id(config, flavor).await?;
            let start = [
                statements.stop_io_thread(),
                &acks,
                statements.start_sql_thread(),
                statements.start_io_thread(),
            ];
            self.change_all(&start.map(str::to_owned)).await?;
            return Ok(());
        }
        self.change_all(&[statements.stop_replica().to_owned(), acks]).await?;
        let net_timeout = match flavor.vendor {
            Vendor::MariaDb => "slave_net_timeout",
            Vendor::MySql => "replica_net_timeout",
        };
        self.change(&Sql::plain(set(net_timeout, &NET_TIMEOUT_SECONDS.to_string()))).await?;
        if flavor.vendor == Vendor::MariaDb {
            // What this node wrote itself as a primary is not in what it has replicated.
            self.change(&Sql::plain(format!("SET GLOBAL server_id = {}", own_id(config)))).await?;
            self.change(&Sql::plain("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos")).await?;
            self.apply_in_parallel().await;
        }
        self.take_replica_id(config, flavor).await?;
        let (change, label) = change_source(config, primary, flavor)?;
        self.change(&Sql::secret(change, label)).await?;
        self.change(&Sql::plain(statements.start_replica())).await?;
        Ok(())
    }

    /// MariaDB applies with one thread unless told, each commit waiting for the disk alone: under load a replica then
    /// falls behind, and whoever is promoted has to apply it all first. What an operator has set higher stays. Commits
    /// keep their order.
    async fn apply_in_parallel(&mut self) {
        let set = format!(
            "SET GLOBAL slave_parallel_threads = GREATEST(@@GLOBAL.slave_parallel_threads, {PARALLEL_APPLIERS})"
        );
        if let Err(error) = self.change(&Sql::plain(set)).await {
            tracing::warn!(%error, "received transactions are applied by as many threads as before");
        }
    }

    /// A MariaDB replica passes over events with its own id. A node that was a primary, and whose last writes were cut
    /// off while the replicas kept them, has to take them back: so as a replica it has another id than as a primary.
    async fn take_replica_id(&mut self, config: &Config, flavor: Flavor) -> Result<(), ServerError> {
        if flavor.vendor == Vendor::MySql {
            return Ok(());
        }
        self.change(&Sql::plain(format!("SET GLOBAL server_id = {}", own_id(config) ^ plan::REPLICA_ID_BIT)))
            .await
    }

    /// Acknowledges, or stops. The IO thread has to connect anew for the primary to know.
    pub(crate) async fn set_acking(&mut self, on: bool) -> Result<(), ServerError> {
        let statements = self.flavor().await?.statements();
        self.change_all(&[
            set(statements.semi_sync_replica_enabled_variable(), if on { "ON" } else { "OFF" }),
            statements.stop_io_thread().to_owned(),
            statements.start_io_thread().to_owned(),
        ])
        .await
    }

    /// Waits for acknowledgements without limit before a commit is visible to anybody, or for none.
    pub(crate) async fn set_waiting(&mut self, need: Option<u32>) -> Result<(), ServerError> {
        let statements = self.flavor().await?.statements();
        let enabled = statements.semi_sync_source_enabled_variable();
        let Some(need) = need else { return self.change(&Sql::plain(set(enabled, "OFF"))).await };
        let relaxed = "SELECT 1 AS relaxed FROM DUAL WHERE @@GLOBAL.sync_binlog <> 1 \
                       OR @@GLOBAL.innodb_flush_log_at_trx_commit <> 1";
        let was_relaxed = !self.query(&Sql::plain(relaxed)).await?.is_empty();
        let mut wanted = vec![
            "SET GLOBAL sync_binlog = 1".to_owned(),
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1".to_owned(),
        ];
        if was_relaxed {
            // The settings sync what comes; what it leads with is from before.
            wanted.extend(["FLUSH LOCAL ENGINE LOGS", "FLUSH LOCAL BINARY LOGS"].map(str::to_owned));
        }
        wanted.extend([
            set(statements.semi_sync_source_wait_point_variable(), &format!("'{SEMI_SYNC_WAIT_POINT}'")),
            set(statements.semi_sync_source_timeout_variable(), &SEMI_SYNC_TIMEOUT_NEVER_MS.to_string()),
            set(statements.semi_sync_source_wait_no_replica_variable(), "ON"),
        ]);
        if let Some(count) = statements.semi_sync_source_wait_count_variable() {
            wanted.push(set(count, &need.to_string()));
        }
        wanted.push(set(enabled, "ON"));
        self.change_all(&wanted).await
    }

    /// Shuts a node out: its account is locked here and here only, its connections end, and are seen to be gone.
    pub(crate) async fn block(&mut self, config: &Config, node: &NodeName) -> Result<(), AgentError> {
        self.lock(config, node, true).await?;
        let statements = self.flavor().await?.statements();
        let account = plan::agent_account(&node.0);
        let deadline = tokio::time::Instant::now() + GONE;
        loop {
            let rows = self.query(&Sql::plain(statements.dump_threads_query())).await?;
            let theirs: Vec<u64> = rows
                .iter()
                .filter(|row| row.text("user") == Some(account.as_str()))
                .filter_map(|row| row.parsed("id"))
                .collect();
            if theirs.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(AgentError::Refused(format!(
                    "{node} is still connected after its connections were killed"
                )));
            }
            for id in theirs {
                match self.change(&Sql::plain(statements.kill_connection(id))).await {
                    // It ended by itself meanwhile.
                    Err(error) if error.code() == Some(NO_SUCH_THREAD) => {}
                    other => other?,
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets a node take changes from here again.
    pub(crate) async fn unblock(&mut self, config: &Config, node: &NodeName) -> Result<(), AgentError> {
        self.lock(config, node, false).await
    }

    async fn lock(&mut self, config: &Config, node: &NodeName, locked: bool) -> Result<(), AgentError> {
        let statements = self.flavor().await?.statements();
        let account = account(config, node)?;
        let statement =
            if locked { statements.lock_account(&account) } else { statements.unlock_account(&account) };
        match self.unlogged(&[Sql::plain(statement)]).await {
            // An account that is not there cannot log in; it is made, as it should be, when writes are opened.
            Err(error) if error.code() == Some(NO_SUCH_ACCOUNT) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Statements that stay on this server.
    async fn unlogged(&mut self, statements: &[Sql]) -> Result<(), ServerError> {
        if self.flavor().await?.vendor == Vendor::MySql {
            // `read_only` stays as it is and keeps clients out; administrators, which this session is, may change accounts.
            self.change(&Sql::plain("SET GLOBAL super_read_only = OFF")).await?;
        }
        self.change(&Sql::plain("SET SESSION sql_log_bin = 0")).await?;
        let mut outcome = Ok(());
        for statement in statements {
            outcome = self.change(statement).await;
            if outcome.is_err() {
                break;
            }
        }
        if self.change(&Sql::plain("SET SESSION sql_log_bin = 1")).await.is_err() {
            self.connection = None;
        }
        outcome
    }

    /// Makes sure that every node can log in here to replicate, then takes writes. The accounts are this server's
    /// own: written to the binlog, they would wait for replicas that cannot log in yet.
    pub(crate) async fn open_writes(
        &mut self,
        config: &Config,
        admit: &BTreeSet<NodeName>,
    ) -> Result<(), AgentError> {
        let flavor = self.flavor().await?;
        let rows = self
            .query(&Sql::plain("SELECT User AS user FROM mysql.user WHERE User LIKE 'mainstay\\_%'"))
            .await?;
        let there: BTreeSet<&str> = rows.iter().filter_map(|row| row.text("user")).collect();
        let accounts = accounts(config, flavor, &there, admit)?;
        if !accounts.is_empty() {
            self.unlogged(&accounts).await?;
        }
        if flavor.vendor == Vendor::MariaDb {
            self.change(&Sql::plain(format!("SET GLOBAL server_id = {}", own_id(config)))).await?;
        }
        self.change(&Sql::plain(flavor.statements().read_only_off())).await?;
        Ok(())
    }

    /// Commits something small, so that a commit whose replica had it before it acknowledged is acknowledged with this
    /// one: a replica that connects anew does not acknowledge what it has already.
    pub(crate) async fn nudge(&mut self) -> Result<(), ServerError> {
        self.change(&Sql::plain("DROP TABLE IF EXISTS mysql.mainstay_nudge")).await
    }

    /// Closes writes within a limit, and says what was written up to then.
    ///
    /// On failure writes are open again, or the session is lost and nobody knows.
    pub(crate) async fn close_writes(&mut self, limit: Duration) -> Result<GtidSet, AgentError> {
        let flavor = self.flavor().await?;
        let statements = flavor.statements();
        let session = self.session().await?;
        let closed = session.with_limit(limit).execute(&Sql::plain(statements.read_only_on())).await;
        if let Err(error) = closed {
            self.connection = None;
            self.change(&Sql::plain(statements.read_only_off())).await?;
            return Err(error.into());
        }
        let look = self.look().await?;
        if !look.read_only {
            return Err(AgentError::Refused("writes did not close".to_owned()));
        }
        Ok(look.executed)
    }

    /// Takes writes again after a handover that did not happen.
    pub(crate) async fn reopen_writes(&mut self) -> Result<(), ServerError> {
        let statement = self.flavor().await?.statements().read_only_off();
        self.change(&Sql::plain(statement)).await
    }

    /// Ends the connections of clients, so that pooled ones go where the primary is now.
    pub(crate) async fn end_clients(&mut self, config: &Config) -> Result<(), ServerError> {
        let statements = self.flavor().await?.statements();
        let rows = self
            .query(&Sql::plain(
                "SELECT ID AS id, USER AS user FROM information_schema.PROCESSLIST \
                 WHERE COMMAND NOT LIKE 'Binlog Dump%' AND COMMAND <> 'Daemon' AND ID <> CONNECTION_ID()",
            ))
            .await?;
        let own =
            [config.spec.accounts.admin_user.as_str(), "system user", "event_scheduler", "mysql.session"];
        for row in rows {
            let user = row.text("user").unwrap_or_default();
            if own.contains(&user) || user.starts_with("mainstay_") {
                continue;
            }
            if let Some(id) = row.parsed::<u64>("id") {
                match self.change(&Sql::plain(statements.kill_connection(id))).await {
                    Err(error) if error.code() == Some(NO_SUCH_THREAD) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Where the binlogs are: the index file.
    pub(crate) async fn binlog_index(&mut self) -> Result<Option<std::path::PathBuf>, ServerError> {
        let rows = self.query(&Sql::plain("SELECT @@log_bin_index AS path")).await?;
        Ok(rows.first().and_then(|row| row.text("path")).filter(|path| !path.is_empty()).map(Into::into))
    }
}

/// ER_CANNOT_USER.
const NO_SUCH_ACCOUNT: u16 = 1396;
/// ER_NO_SUCH_THREAD.
const NO_SUCH_THREAD: u16 = 1094;

/// The id of this node's writes.
fn own_id(config: &Config) -> u32 {
    config.node.as_ref().map_or(0, |node| node.server_id)
}

const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Rpl\\_semi\\_sync\\_%'";

/// What the durability of an acknowledged write rests on, with the values it needs.
const UNSAFE: &[(&str, &str)] =
    &[("sync_binlog", "1"), ("innodb_flush_log_at_trx_commit", "1"), ("log_bin", "1")];

fn settings_query(flavor: Flavor) -> String {
    let statements = flavor.statements();
    let read_only = match flavor.vendor {
        // Either alone keeps clients out.
        Vendor::MySql => "@@GLOBAL.read_only OR @@GLOBAL.super_read_only",
        Vendor::MariaDb => "@@GLOBAL.read_only",
    };
    let need = statements
        .semi_sync_source_wait_count_variable()
        .map_or_else(|| "1".to_owned(), |name| format!("@@GLOBAL.{name}"));
    format!(
        "SELECT {read_only} AS read_only, @@GLOBAL.{} AS source_enabled, @@GLOBAL.{} AS replica_enabled, \
         {need} AS need, @@GLOBAL.sync_binlog AS sync_binlog, \
         @@GLOBAL.innodb_flush_log_at_trx_commit AS innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin AS log_bin",
        statements.semi_sync_source_enabled_variable(),
        statements.semi_sync_replica_enabled_variable(),
    )
}

fn set(variable: &str, value: &str) -> String {
    format!("SET GLOBAL {variable} = {value}")
}

fn is_on(value: &str) -> bool {
    !matches!(value, "" | "OFF" | "0")
}

fn gtids_of(text: &str) -> Result<GtidSet, ServerError> {
    GtidSet::parse(text).map_err(|error| ServerError::Other(error.to_string()))
}

fn executed_of(row: &Row) -> Result<GtidSet, ServerError> {
    let mut executed = gtids_of(row.text("position").unwrap_or_default())?;
    executed.extend(&gtids_of(row.text("applied").unwrap_or_default())?);
    Ok(executed)
}

fn source_of(row: &Row, flavor: Flavor) -> SourceLook {
    let columns = flavor.statements().replica_columns();
    let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
    let error = |number: &str, words: &str| (row.parsed(number).unwrap_or(0), text(words));
    SourceLook {
        host: text(columns.host),
        port: row.parsed(columns.port).unwrap_or_default(),
        io: text(columns.io_running),
        sql: row.text(columns.sql_running) == Some("Yes"),
        io_error: error(columns.last_io_errno, columns.last_io_error),
        sql_error: error(columns.last_sql_errno, columns.last_sql_error),
        lag_seconds: row.parsed(columns.seconds_behind),
    }
}
