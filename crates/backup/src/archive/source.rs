//! What the archive asks a server: who it is, which logs it has, what had been done before each. It streams nothing.

use flavor::{Flavor, GtidSet, Vendor};
use server::{Connection, Limits, Row, ServerError, Sql, Target};
use sqltext::quote_string;

use super::error::ArchiveError;
use super::segment::ServerIdentity;

/// A log that a server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerLog {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// A server that is archived.
#[derive(Debug)]
pub(crate) struct SourceServer {
    connection: Connection,
    pub(crate) identity: ServerIdentity,
    pub(crate) logs: Vec<ServerLog>,
    /// Everything that was ever done on it, as far as it knows.
    pub(crate) executed: GtidSet,
}

impl SourceServer {
    pub(crate) async fn open(target: &Target, limits: &Limits) -> Result<Self, ArchiveError> {
        let mut connection = Connection::open(target, limits).await?;
        let endpoint = target.endpoint.to_string();
        let vendor = connection.flavor().vendor;
        let (uuid, executed) = match vendor {
            Vendor::MySql => ("@@server_uuid", "@@GLOBAL.gtid_executed"),
            Vendor::MariaDb => ("NULL", "@@GLOBAL.gtid_binlog_state"),
        };
        let question = format!(
            "SELECT @@server_id AS id, {uuid} AS uuid, @@hostname AS host, @@version AS version, \
             {executed} AS executed, @@GLOBAL.log_bin AS log_bin"
        );
        let rows = connection.query(&Sql::plain(question)).await?;
        let row = rows.first().ok_or_else(|| unanswered("who it is"))?;
        if row.text("log_bin") != Some("1") {
            return Err(ArchiveError::NoLogs { endpoint });
        }
        let text = |name: &str| row.text(name).map(str::to_owned);
        let identity = ServerIdentity {
            vendor,
            version: text("version").unwrap_or_default(),
            server_id: row.parsed("id").ok_or_else(|| unanswered("its server_id"))?,
            uuid: text("uuid"),
            host: text("host").unwrap_or_default(),
        };
        let executed = gtids(&text("executed").unwrap_or_default())?;
        let logs = logs(&mut connection).await?;
        if logs.is_empty() {
            return Err(ArchiveError::NoLogs { endpoint });
        }
        Ok(Self { connection, identity, logs, executed })
    }

    pub(crate) const fn flavor(&self) -> Flavor {
        self.connection.flavor()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.logs.iter().map(|log| log.name.clone()).collect()
    }

    pub(crate) fn has(&self, log: &str) -> bool {
        self.logs.iter().any(|known| known.name == log)
    }

    /// What had been done on the server before a log, as its second event says.
    pub(crate) async fn before(&mut self, log: &str) -> Result<GtidSet, ArchiveError> {
        let name = quote_string(log).map_err(|error| ServerError::Other(error.to_string()))?;
        let rows =
            self.connection.query(&Sql::plain(format!("SHOW BINLOG EVENTS IN {name} LIMIT 4"))).await?;
        let is = |row: &&Row| matches!(row.text("Event_type"), Some("Previous_gtids" | "Gtid_list"));
        let info = rows.iter().find(is).and_then(|row| row.text("Info")).unwrap_or_default();
        // MariaDB puts brackets around its list.
        gtids(info.trim().trim_start_matches('[').trim_end_matches(']'))
    }

    pub(crate) async fn query(&mut self, sql: &Sql) -> Result<Vec<Row>, ArchiveError> {
        Ok(self.connection.query(sql).await?)
    }

    /// Looks again which logs there are.
    pub(crate) async fn look_at_logs(&mut self) -> Result<(), ArchiveError> {
        self.logs = logs(&mut self.connection).await?;
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.connection.close().await;
    }
}

async fn logs(connection: &mut Connection) -> Result<Vec<ServerLog>, ServerError> {
    let rows = connection.query(&Sql::plain("SHOW BINARY LOGS")).await?;
    let log = |row: &Row| {
        let bytes = row.parsed("File_size").unwrap_or(0);
        row.text("Log_name").map(|name| ServerLog { name: name.to_owned(), bytes })
    };
    Ok(rows.iter().filter_map(log).collect())
}

fn gtids(text: &str) -> Result<GtidSet, ArchiveError> {
    GtidSet::parse(text).map_err(|error| ServerError::Other(error.to_string()).into())
}

fn unanswered(what: &str) -> ServerError {
    ServerError::Other(format!("the server does not tell {what}"))
}
