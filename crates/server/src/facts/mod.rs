//! [`collect`]: everything that [`ServerFacts`] holds, asked of one server in a dozen questions.
//!
//! What the login may not read becomes `Unknown` where the fact has room for it. It judges nothing.

mod accounts;

use std::collections::BTreeMap;

use facts::{DatabaseFacts, Galera, Replication, ReplicationSource, Seen, ServerFacts, ServerTls};
use flavor::{Capability, ReplicaColumns, Vendor};

use crate::connection::Connection;
use crate::error::ServerError;
use crate::sql::Sql;

/// The status variables that facts are read from.
const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'wsrep\\_%' \
     OR Variable_name LIKE 'Rpl\\_semi\\_sync\\_%\\_clients' OR Variable_name = 'Ssl_server_not_after'";

const DATABASES: &str = "SELECT s.SCHEMA_NAME AS name, s.DEFAULT_CHARACTER_SET_NAME AS charset, \
     s.DEFAULT_COLLATION_NAME AS collation, COUNT(t.TABLE_NAME) AS tables_in \
     FROM information_schema.SCHEMATA s LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME \
     WHERE LOWER(s.SCHEMA_NAME) NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
     GROUP BY s.SCHEMA_NAME, s.DEFAULT_CHARACTER_SET_NAME, s.DEFAULT_COLLATION_NAME \
     ORDER BY s.SCHEMA_NAME LIMIT 100000";

/// What a server is to others: the part of its facts that changes from one moment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// `@@read_only` is anything but off.
    pub read_only: bool,
    /// Replication.
    pub replication: Replication,
    /// Galera.
    pub galera: Seen<Galera>,
}

/// Collects what a server is to others.
///
/// # Errors
/// As for [`collect`].
pub async fn collect_role(connection: &mut Connection) -> Result<RoleFacts, ServerError> {
    let variables = pairs(connection, "SHOW GLOBAL VARIABLES").await?;
    let status = pairs(connection, STATUS).await?;
    Ok(RoleFacts {
        read_only: variables.get("read_only").is_some_and(|value| is_on(value)),
        replication: replication(connection, &variables, &status).await?,
        galera: galera(&variables, &status),
    })
}

/// Collects the facts of a server.
///
/// # Errors
/// If the connection breaks, or the server refuses what every login may ask or, without the replication
/// privilege, the state of replication: its absence cannot be told from ignorance.
pub async fn collect(connection: &mut Connection) -> Result<ServerFacts, ServerError> {
    let flavor = connection.flavor();
    let variables = pairs(connection, "SHOW GLOBAL VARIABLES").await?;
    let status = pairs(connection, STATUS).await?;
    let variable_origins = origins(connection).await?;
    let persisted = persisted(connection).await?;
    let text = |name: &str| variables.get(name).cloned().unwrap_or_default();
    Ok(ServerFacts {
        flavor,
        version_text: text("version"),
        version_comment: text("version_comment"),
        hostname: text("hostname"),
        port: text("port").parse().unwrap_or_default(),
        socket: text("socket").into(),
        data_dir: text("datadir").into(),
        server_id: text("server_id").parse().unwrap_or_default(),
        server_uuid: variables.get("server_uuid").cloned().map_or(Seen::Absent, Seen::Known),
        read_only: is_on(&text("read_only")),
        super_read_only: variables
            .get("super_read_only")
            .map_or(Seen::Absent, |value| Seen::Known(is_on(value))),
        tls: tls(flavor.vendor, &variables, &status),
        replication: replication(connection, &variables, &status).await?,
        galera: galera(&variables, &status),
        plugins: plugins(connection).await?,
        accounts: accounts::collect(connection).await?,
        databases: databases(connection).await?,
        variables,
        variable_origins,
        persisted,
    })
}

/// Two-column answers, variables and status, by name in lower case.
async fn pairs(
    connection: &mut Connection,
    statement: &str,
) -> Result<BTreeMap<String, String>, ServerError> {
    let rows = connection.query(&Sql::plain(statement)).await?;
    let pair = |row: &crate::Row| {
        Some((row.text_at(0)?.to_ascii_lowercase(), row.text_at(1).unwrap_or_default().to_owned()))
    };
    Ok(rows.iter().filter_map(pair).collect())
}

/// Empty where the login may not ask: an origin explains a value, nothing is decided from its absence.
async fn origins(connection: &mut Connection) -> Result<BTreeMap<String, String>, ServerError> {
    let statement = Sql::plain(connection.flavor().statements().variable_origins());
    let rows = readable(connection.query(&statement).await)?.known().cloned().unwrap_or_default();
    let origin = |row: &crate::Row| {
        let path = row.text("path").unwrap_or_default();
        let word = row.text("origin")?.to_ascii_uppercase();
        let origin = match word.as_str() {
            // Its path is mysqld-auto.cnf, which is not a file to edit.
            "PERSISTED" => "persisted".to_owned(),
            _ if !path.is_empty() => path.to_owned(),
            "COMPILED" | "COMPILE-TIME" => "compiled".to_owned(),
            "COMMAND_LINE" | "COMMAND-LINE" => "command line".to_owned(),
            "DYNAMIC" | "SQL" => "dynamic".to_owned(),
            _ => word.to_ascii_lowercase(),
        };
        Some((row.text("name")?.to_owned(), origin))
    };
    Ok(rows.iter().filter_map(origin).collect())
}

async fn persisted(connection: &mut Connection) -> Result<BTreeMap<String, String>, ServerError> {
    if !connection.flavor().can(Capability::PersistedVariables) {
        return Ok(BTreeMap::new());
    }
    let statement = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables";
    Ok(readable(pairs(connection, statement).await)?.known().cloned().unwrap_or_default())
}

async fn plugins(connection: &mut Connection) -> Result<Vec<String>, ServerError> {
    let statement =
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE' ORDER BY 1";
    let rows = connection.query(&Sql::plain(statement)).await?;
    Ok(rows.iter().filter_map(|row| row.text_at(0)).map(str::to_owned).collect())
}

async fn databases(connection: &mut Connection) -> Result<Vec<DatabaseFacts>, ServerError> {
    let rows = connection.query(&Sql::plain(DATABASES)).await?;
    let text = |row: &crate::Row, name| row.text(name).unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .map(|row| DatabaseFacts {
            name: text(row, "name"),
            charset: text(row, "charset"),
            collation: text(row, "collation"),
            tables: row.parsed("tables_in").unwrap_or_default(),
        })
        .collect())
}

async fn replication(
    connection: &mut Connection,
    variables: &BTreeMap<String, String>,
    status: &BTreeMap<String, String>,
) -> Result<Replication, ServerError> {
    let statements = connection.flavor().statements();
    let columns = statements.replica_columns();
    let sources = match connection.query(&Sql::plain(statements.replica_status())).await {
        Ok(rows) => Seen::Known(rows.iter().map(|row| source(row, columns)).collect()),
        Err(error) if error.is_missing_privilege() => Seen::Unknown(error.to_string()),
        Err(error) => return Err(error),
    };
    let processes = connection.query(&Sql::plain("SHOW PROCESSLIST")).await?;
    let is_dump =
        |row: &&crate::Row| row.text("Command").is_some_and(|command| command.starts_with("Binlog Dump"));
    let position = connection.query(&Sql::plain(statements.gtid_position_query())).await?;
    let position = position.first().and_then(|row| row.text("position")).unwrap_or_default();
    let semi_sync_on =
        variables.get(statements.semi_sync_source_enabled_variable()).is_some_and(|value| is_on(value));
    let semi_sync_ackers = if semi_sync_on {
        let name = statements.semi_sync_ackers_status().to_ascii_lowercase();
        let ackers = status.get(&name).and_then(|value| value.parse().ok());
        ackers.map_or_else(|| Seen::Unknown(format!("no status {name}")), Seen::Known)
    } else {
        Seen::Absent
    };
    Ok(Replication {
        sources,
        replicas: u32::try_from(processes.iter().filter(is_dump).count()).unwrap_or(u32::MAX),
        // MySQL breaks long sets into lines.
        gtid_position: position.replace('\n', ""),
        semi_sync_ackers,
    })
}

fn tls(vendor: Vendor, variables: &BTreeMap<String, String>, status: &BTreeMap<String, String>) -> ServerTls {
    let not_after = status.get("ssl_server_not_after").filter(|text| !text.is_empty()).cloned();
    let enabled = match variables.get("have_ssl") {
        Some(have_ssl) => have_ssl == "YES",
        // MySQL 8.4 dropped have_ssl, and shows the date whenever a certificate is loaded.
        None => not_after.is_some(),
    };
    let not_after = match (not_after, enabled, vendor) {
        (Some(date), _, _) => Seen::Known(date),
        (None, false, _) => Seen::Absent,
        (None, true, Vendor::MariaDb) => {
            Seen::Unknown("MariaDB shows it to connections over TLS only".to_owned())
        }
        (None, true, Vendor::MySql) => Seen::Unknown("not shown".to_owned()),
    };
    let required = variables.get("require_secure_transport").is_some_and(|value| is_on(value));
    ServerTls { enabled, required, not_after }
}

fn galera(variables: &BTreeMap<String, String>, status: &BTreeMap<String, String>) -> Seen<Galera> {
    let text = |name: &str| status.get(name).cloned().unwrap_or_default();
    let is_provided = variables.get("wsrep_provider").is_some_and(|path| !path.is_empty() && path != "none");
    if !is_provided || !variables.get("wsrep_on").is_some_and(|value| is_on(value)) {
        return Seen::Absent;
    }
    Seen::Known(Galera {
        cluster_name: variables.get("wsrep_cluster_name").cloned().unwrap_or_default(),
        cluster_status: text("wsrep_cluster_status"),
        cluster_size: text("wsrep_cluster_size").parse().unwrap_or_default(),
        local_state: text("wsrep_local_state_comment"),
        ready: is_on(&text("wsrep_ready")),
        last_committed: text("wsrep_last_committed").parse().unwrap_or(-1),
        flow_control_paused_permille: permille(&text("wsrep_flow_control_paused")),
    })
}

/// A fraction such as `0.0125` or `2.4e-05`, in thousandths.
fn permille(fraction: &str) -> u32 {
    let fraction: f64 = fraction.parse().unwrap_or_default();
    format!("{:.0}", (fraction.clamp(0.0, 1.0)) * 1000.0).parse().unwrap_or_default()
}

/// Servers write switches as `ON`, `1` or, for read_only in new MariaDB, as a word; off is `OFF` or `0`.
fn is_on(value: &str) -> bool {
    !matches!(value, "" | "OFF" | "0")
}

/// An answer, or `Unknown` if the login lacks the privilege or the server the table.
fn readable<T>(answer: Result<T, ServerError>) -> Result<Seen<T>, ServerError> {
    match answer {
        Ok(answer) => Ok(Seen::Known(answer)),
        Err(error) if error.is_missing_privilege() => Ok(Seen::Unknown(error.to_string())),
        Err(error) => Err(error),
    }
}

fn source(row: &crate::Row, columns: ReplicaColumns) -> ReplicationSource {
    let text = |name| row.text(name).unwrap_or_default().to_owned();
    let errors = [text(columns.last_io_error), text(columns.last_sql_error)];
    ReplicationSource {
        channel: text(columns.channel),
        host: text(columns.host),
        port: row.parsed(columns.port).unwrap_or_default(),
        // `Connecting` and `Preparing` are not running.
        io_running: row.text(columns.io_running) == Some("Yes"),
        sql_running: row.text(columns.sql_running) == Some("Yes"),
        lag_seconds: row
            .parsed(columns.seconds_behind)
            .map_or_else(|| Seen::Unknown("not replicating".to_owned()), Seen::Known),
        last_error: errors.into_iter().find(|error| !error.is_empty()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn flow_control_is_read_in_thousandths() {
        for (text, wanted) in [("0.0126", 13), ("2.4e-05", 0), ("1", 1000), ("7", 1000), ("", 0)] {
            assert_eq!(permille(text), wanted, "{text}");
        }
    }

    #[test]
    fn galera_is_absent_unless_on_with_a_provider() {
        let status = map(&[("wsrep_cluster_size", "3"), ("wsrep_ready", "ON")]);
        let off = map(&[("wsrep_on", "OFF"), ("wsrep_provider", "/usr/lib/galera/libgalera_smm.so")]);
        assert!(galera(&off, &status).is_absent());
        assert!(galera(&map(&[("wsrep_on", "ON"), ("wsrep_provider", "none")]), &status).is_absent());
        let on = map(&[("wsrep_on", "ON"), ("wsrep_provider", "/x.so")]);
        let seen = galera(&on, &status);
        assert_eq!(seen.known().map(|galera| (galera.cluster_size, galera.ready)), Some((3, true)));
    }

    #[test]
    fn tls_is_seen_on_both_vendors() {
        let date = map(&[("ssl_server_not_after", "Nov 18 04:55:44 2036 GMT")]);
        let mysql = tls(Vendor::MySql, &map(&[("require_secure_transport", "ON")]), &date);
        assert!(mysql.enabled && mysql.required && mysql.not_after.known().is_some());
        let none = tls(Vendor::MySql, &map(&[]), &map(&[]));
        assert!(!none.enabled && none.not_after.is_absent());
        let mariadb = tls(Vendor::MariaDb, &map(&[("have_ssl", "YES")]), &map(&[]));
        assert!(mariadb.enabled && matches!(mariadb.not_after, Seen::Unknown(_)));
        assert!(!tls(Vendor::MariaDb, &map(&[("have_ssl", "DISABLED")]), &map(&[])).enabled);
    }
}
