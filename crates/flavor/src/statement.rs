//! Every statement whose text depends on the server, in one place.
//!
//! It writes no values of its own into a statement: literals come in quoted, since this crate does not depend on
//! the quoting crate. What a row of an answer means is for the caller to read, by the column names given here.

mod replication;
mod semi_sync;

use std::fmt;

pub use semi_sync::{SEMI_SYNC_TIMEOUT_NEVER_MS, SEMI_SYNC_WAIT_POINT};

use crate::{Capability, Flavor, Vendor};

/// The statements of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statements {
    flavor: Flavor,
}

impl Flavor {
    /// The statements this server understands.
    #[must_use]
    pub const fn statements(self) -> Statements {
        Statements { flavor: self }
    }
}

/// The columns of a row of [`Statements::replica_status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaColumns {
    /// Address of the source.
    pub host: &'static str,
    /// Port of the source.
    pub port: &'static str,
    /// Server id of the source, 0 until the first connection.
    pub source_server_id: &'static str,
    /// `Yes` while the IO thread runs and is connected, `Connecting` while it tries to, `Preparing` (MariaDB) while
    /// it starts, `No` while it is stopped. Only under `No` does nothing more arrive.
    pub io_running: &'static str,
    /// `Yes` while the SQL thread runs.
    pub sql_running: &'static str,
    /// Lag in seconds, NULL while not replicating.
    pub seconds_behind: &'static str,
    /// Delay in seconds at which the replica is asked to apply.
    pub delay_seconds: &'static str,
    /// The GTIDs received since the relay log began, applied or not. MariaDB names only the last one of each
    /// domain.
    pub received: &'static str,
    /// Number of the last error of the IO thread, 0 for none.
    pub last_io_errno: &'static str,
    /// Text of the last error of the IO thread.
    pub last_io_error: &'static str,
    /// Number of the last error of the SQL thread, 0 for none.
    pub last_sql_errno: &'static str,
    /// Text of the last error of the SQL thread.
    pub last_sql_error: &'static str,
    /// Name of the channel or connection, empty for the default one.
    pub channel: &'static str,
}

/// How certificates are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsReload {
    /// By this statement.
    Statement(&'static str),
    /// Only by a restart.
    Restart,
}

/// How a replica secures its connection to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceTls<'a> {
    /// In the clear.
    Off,
    /// With the source's certificate verified against a CA file.
    Verified {
        /// Path of the CA file on the replica, as a quoted string literal.
        ca_file: &'a str,
    },
}

/// Where a replica takes its changes from, and how it logs in there. Every text is a quoted string literal.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Address.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// User.
    pub user: &'a str,
    /// Password; a secret.
    pub password: &'a str,
    /// TLS on the connection.
    pub tls: SourceTls<'a>,
    /// After how many milliseconds without an event the source sends a sign of life; 0 for never.
    pub heartbeat_ms: u32,
    /// Seconds between two attempts to connect.
    pub connect_retry_seconds: u32,
    /// How many seconds behind the source the replica is to stay.
    pub delay_seconds: u32,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &"***")
            .field("tls", &self.tls)
            .field("heartbeat_ms", &self.heartbeat_ms)
            .field("connect_retry_seconds", &self.connect_retry_seconds)
            .field("delay_seconds", &self.delay_seconds)
            .finish()
    }
}

impl Statements {
    fn can(self, capability: Capability) -> bool {
        self.flavor.can(capability)
    }

    fn pick(self, capability: Capability, with: &'static str, without: &'static str) -> &'static str {
        if self.can(capability) { with } else { without }
    }

    /// Replica status: one row a channel. Its columns are [`Self::replica_columns`].
    #[must_use]
    pub fn replica_status(self) -> &'static str {
        match self.flavor.vendor {
            Vendor::MariaDb => {
                self.pick(Capability::ReplicaTerms, "SHOW ALL REPLICAS STATUS", "SHOW ALL SLAVES STATUS")
            }
            Vendor::MySql => self.pick(Capability::ReplicaTerms, "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"),
        }
    }

    /// The columns of [`Self::replica_status`]. MariaDB took the new statements but kept the old columns.
    #[must_use]
    pub fn replica_columns(self) -> ReplicaColumns {
        if self.flavor.vendor == Vendor::MySql && self.can(Capability::ReplicaTerms) {
            return ReplicaColumns {
                host: "Source_Host",
                port: "Source_Port",
                source_server_id: "Source_Server_Id",
                io_running: "Replica_IO_Running",
                sql_running: "Replica_SQL_Running",
                seconds_behind: "Seconds_Behind_Source",
                delay_seconds: "SQL_Delay",
                received: "Retrieved_Gtid_Set",
                last_io_errno: "Last_IO_Errno",
                last_io_error: "Last_IO_Error",
                last_sql_errno: "Last_SQL_Errno",
                last_sql_error: "Last_SQL_Error",
                channel: "Channel_Name",
            };
        }
        ReplicaColumns {
            host: "Master_Host",
            port: "Master_Port",
            source_server_id: "Master_Server_Id",
            io_running: "Slave_IO_Running",
            sql_running: "Slave_SQL_Running",
            seconds_behind: "Seconds_Behind_Master",
            delay_seconds: "SQL_Delay",
            received: match self.flavor.vendor {
                Vendor::MariaDb => "Gtid_IO_Pos",
                Vendor::MySql => "Retrieved_Gtid_Set",
            },
            last_io_errno: "Last_IO_Errno",
            last_io_error: "Last_IO_Error",
            last_sql_errno: "Last_SQL_Errno",
            last_sql_error: "Last_SQL_Error",
            channel: match self.flavor.vendor {
                Vendor::MariaDb => "Connection_name",
                Vendor::MySql => "Channel_Name",
            },
        }
    }

    /// The server's own binlog coordinates; no row while the binlog is off.
    #[must_use]
    pub fn binlog_status(self) -> &'static str {
        if self.can(Capability::ShowBinlogStatus) {
            return "SHOW BINLOG STATUS";
        }
        self.pick(Capability::ShowBinaryLogStatus, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
    }

    /// Stops both threads of the default channel.
    #[must_use]
    pub fn stop_replica(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "STOP REPLICA", "STOP SLAVE")
    }

    /// Starts both threads of the default channel.
    #[must_use]
    pub fn start_replica(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "START REPLICA", "START SLAVE")
    }

    /// Forgets the source and drops relay logs, applied or not.
    #[must_use]
    pub fn reset_replica_all(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "RESET REPLICA ALL", "RESET SLAVE ALL")
    }

    /// Deletes every binlog and forgets the GTIDs in them. MariaDB keeps `gtid_slave_pos`, which is set apart.
    #[must_use]
    pub fn reset_binlogs(self) -> &'static str {
        self.pick(Capability::ShowBinaryLogStatus, "RESET BINARY LOGS AND GTIDS", "RESET MASTER")
    }

    /// Replicas that registered with this server.
    #[must_use]
    pub fn show_replicas(self) -> &'static str {
        match self.flavor.vendor {
            Vendor::MariaDb => self.pick(Capability::ReplicaTerms, "SHOW REPLICA HOSTS", "SHOW SLAVE HOSTS"),
            Vendor::MySql => self.pick(Capability::ReplicaTerms, "SHOW REPLICAS", "SHOW SLAVE HOSTS"),
        }
    }

    /// The GTIDs this server has executed: one row with the one column `position`.
    #[must_use]
    pub const fn gtid_position_query(self) -> &'static str {
        match self.flavor.vendor {
            Vendor::MariaDb => "SELECT @@GLOBAL.gtid_current_pos AS position",
            Vendor::MySql => "SELECT @@GLOBAL.gtid_executed AS position",
        }
    }

    /// Points a stopped replica at a source, by GTID. The whole connection is written, so that nothing of an
    /// earlier one stays. Without TLS, a MySQL replica asks the source for its public key, which
    /// `caching_sha2_password` needs to carry the password.
    #[must_use]
    pub fn change_source(self, source: &Source<'_>) -> String {
        let new_terms = self.can(Capability::ChangeReplicationSource);
        let (head, prefix) = if new_terms {
            ("CHANGE REPLICATION SOURCE TO", "SOURCE")
        } else {
            ("CHANGE MASTER TO", "MASTER")
        };
        let Source { host, port, user, password, tls, .. } = source;
        let gtid = match self.flavor.vendor {
            Vendor::MariaDb => "MASTER_USE_GTID = slave_pos".to_owned(),
            // MySQL 8.4 made 10 of what had been 86400 attempts before a replica gives up.
            Vendor::MySql => format!("{prefix}_RETRY_COUNT = 86400, {prefix}_AUTO_POSITION = 1"),
        };
        let Source { heartbeat_ms, connect_retry_seconds, delay_seconds, .. } = source;
        let timing = format!(
            "{prefix}_HEARTBEAT_PERIOD = {}.{:03}, {prefix}_CONNECT_RETRY = {connect_retry_seconds}, \
             {prefix}_DELAY = {delay_seconds}",
            heartbeat_ms / 1_000,
            heartbeat_ms % 1_000,
        );
        let secured = match tls {
            SourceTls::Verified { ca_file } => {
                format!("{prefix}_SSL = 1, {prefix}_SSL_CA = {ca_file}, {prefix}_SSL_VERIFY_SERVER_CERT = 1")
            }
            // Both are said, so that no release's default for verifying decides.
            SourceTls::Off => {
                let key = match self.flavor.vendor {
                    Vendor::MariaDb => String::new(),
                    Vendor::MySql => format!(", GET_{prefix}_PUBLIC_KEY = 1"),
                };
                format!("{prefix}_SSL = 0, {prefix}_SSL_VERIFY_SERVER_CERT = 0{key}")
            }
        };
        format!(
            "{head} {prefix}_HOST = {host}, {prefix}_PORT = {port}, {prefix}_USER = {user}, \
             {prefix}_PASSWORD = {password}, {secured}, {timing}, {gtid}"
        )
    }

    /// Limits the run time of this session's statements on the server. MySQL stops only `SELECT`, so the client
    /// needs a limit of its own. Zero is raised to 1 ms, since to the servers it means no limit; both cap it.
    #[must_use]
    pub fn statement_time_limit(self, limit_ms: u64) -> Vec<String> {
        let limit_ms = limit_ms.max(1);
        let mut statements = Vec::new();
        if self.can(Capability::MaxStatementTime) {
            let limit_ms = limit_ms.min(31_536_000_000);
            let (seconds, rest_ms) = (limit_ms / 1_000, limit_ms % 1_000);
            statements.push(format!("SET SESSION max_statement_time = {seconds}.{rest_ms:03}"));
        }
        if self.can(Capability::MaxExecutionTime) {
            let limit_ms = limit_ms.min(u64::from(u32::MAX));
            statements.push(format!("SET SESSION max_execution_time = {limit_ms}"));
        }
        statements
    }

    /// How this server reads its certificates again.
    #[must_use]
    pub fn reload_tls(self) -> TlsReload {
        if !self.can(Capability::TlsReload) {
            return TlsReload::Restart;
        }
        TlsReload::Statement(match self.flavor.vendor {
            Vendor::MariaDb => "FLUSH LOCAL SSL",
            Vendor::MySql => "ALTER INSTANCE RELOAD TLS",
        })
    }

    /// Where each global variable's value comes from: rows of `name`, `origin` (the server's own word) and
    /// `path` (NULL or empty unless a file), with names in lower case.
    #[must_use]
    pub const fn variable_origins(self) -> &'static str {
        match self.flavor.vendor {
            Vendor::MariaDb => {
                "SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE_ORIGIN AS origin, GLOBAL_VALUE_PATH AS path \
                 FROM information_schema.SYSTEM_VARIABLES WHERE GLOBAL_VALUE_ORIGIN IS NOT NULL"
            }
            Vendor::MySql => {
                "SELECT LOWER(VARIABLE_NAME) AS name, VARIABLE_SOURCE AS origin, VARIABLE_PATH AS path \
                 FROM performance_schema.variables_info"
            }
        }
    }

    /// The column of `mysql.user` that holds the stored password, in every supported release of both vendors.
    /// MariaDB's older `Password` column repeats it only for `mysql_native_password`.
    #[must_use]
    pub const fn account_auth_column(self) -> &'static str {
        "authentication_string"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn flavor(version: &str) -> Flavor {
        Flavor::parse(version, "").unwrap()
    }

    fn sheet(flavor: Flavor) -> String {
        let statements = flavor.statements();
        let columns = statements.replica_columns();
        let source = Source {
            host: "'db1'",
            port: 3306,
            user: "'repl'",
            password: "'p\\'w'",
            tls: SourceTls::Verified { ca_file: "'/etc/ca.pem'" },
            heartbeat_ms: 1_050,
            connect_retry_seconds: 2,
            delay_seconds: 3_600,
        };
        let lines = [
            statements.replica_status().to_owned(),
            format!("  {} {} {}", columns.host, columns.port, columns.channel),
            format!("  {} {} {}", columns.io_running, columns.sql_running, columns.seconds_behind),
            format!("  {} {} {}", columns.source_server_id, columns.delay_seconds, columns.received),
            format!("  {} {}", columns.last_io_errno, columns.last_io_error),
            format!("  {} {}", columns.last_sql_errno, columns.last_sql_error),
            statements.binlog_status().to_owned(),
            statements.show_replicas().to_owned(),
            statements.stop_replica().to_owned(),
            statements.start_replica().to_owned(),
            statements.reset_replica_all().to_owned(),
            statements.reset_binlogs().to_owned(),
            statements.gtid_position_query().to_owned(),
            statements.change_source(&source),
            statements.change_source(&Source { tls: SourceTls::Off, ..source }),
            statements.semi_sync_install().join("; "),
            statements.semi_sync_source_enabled_variable().to_owned(),
            statements.semi_sync_source_timeout_variable().to_owned(),
            statements.semi_sync_replica_enabled_variable().to_owned(),
            statements.semi_sync_ackers_status().to_owned(),
            statements.statement_time_limit(1_500).join("; "),
            format!("{:?}", statements.reload_tls()),
            statements.variable_origins().to_owned(),
        ];
        let mut lines = lines.to_vec();
        lines.extend(replication_sheet(statements, &source));
        lines.extend(semi_sync_sheet(statements));
        lines.join("\n")
    }

    fn replication_sheet(statements: Statements, source: &Source<'_>) -> Vec<String> {
        vec![
            statements.stop_io_thread().to_owned(),
            statements.start_io_thread().to_owned(),
            statements.stop_sql_thread().to_owned(),
            statements.start_sql_thread().to_owned(),
            statements.executed_gtids_query().to_owned(),
            statements.wait_for_position("'position'", 5),
            format!("{:?}", statements.set_slave_pos("'position'")),
            format!("{:?}", statements.set_binlog_state("'state'")),
            format!("{:?}", statements.set_gtid_purged("'gtids'")),
            statements.read_only_on().to_owned(),
            statements.read_only_off().to_owned(),
            statements.lock_account("'repl'@'10.0.0.2'"),
            statements.unlock_account("'repl'@'10.0.0.2'"),
            statements.dump_threads_query().to_owned(),
            statements.kill_connection(7),
            format!("{:?}", statements.start_argument_replica_role()),
            statements.start_arguments_safe().join(" "),
            format!("{:?}", statements.clone_donors("'10.0.0.2:3306'")),
            format!("{:?}", statements.clone_instance(source)),
            format!("{:?}", statements.clone_instance(&Source { tls: SourceTls::Off, ..*source })),
        ]
    }

    fn semi_sync_sheet(statements: Statements) -> Vec<String> {
        vec![
            statements.start_arguments_plugins().join(" "),
            statements.semi_sync_source_wait_point_variable().to_owned(),
            format!("{:?}", statements.semi_sync_source_wait_count_variable()),
            statements.semi_sync_source_wait_no_replica_variable().to_owned(),
            statements.semi_sync_source_status().to_owned(),
            statements.semi_sync_replica_status().to_owned(),
            statements.semi_sync_wait_sessions_status().to_owned(),
            statements.semi_sync_acked_status().to_owned(),
        ]
    }

    #[test]
    fn waiting_for_a_position_always_ends() {
        for (version, expected) in [
            ("10.11.19-MariaDB", "SELECT MASTER_GTID_WAIT('p', 1) AS reached"),
            ("9.7.4", "SELECT WAIT_FOR_EXECUTED_GTID_SET('p', 1) AS reached"),
        ] {
            assert_eq!(flavor(version).statements().wait_for_position("'p'", 0), expected);
        }
    }

    #[test]
    fn every_server_gets_its_statements() {
        let mut sheets: Vec<(Vec<Flavor>, String)> = Vec::new();
        for version in [
            "10.6.16-MariaDB",
            "10.11.19-MariaDB",
            "11.4.8-MariaDB",
            "11.8.3-MariaDB",
            "12.1.2-MariaDB",
            "8.0.20",
            "8.0.36",
            "8.4.6",
            "9.7.4",
            "26.1.0",
        ] {
            let flavor = flavor(version);
            let sheet = sheet(flavor);
            match sheets.iter_mut().find(|(_, known)| *known == sheet) {
                Some((flavors, _)) => flavors.push(flavor),
                None => sheets.push((vec![flavor], sheet)),
            }
        }
        let mut text = String::new();
        for (flavors, sheet) in sheets {
            let names: Vec<String> = flavors.iter().map(ToString::to_string).collect();
            write!(text, "# {}\n{sheet}\n\n", names.join(", ")).unwrap();
        }
        insta::assert_snapshot!("statements", text);
    }

    #[test]
    fn gone_words_are_never_said_to_servers_that_lost_them() {
        for version in ["8.4.6", "9.7.4", "26.1.0"] {
            let flavor = flavor(version);
            assert!(flavor.can(Capability::OnlyReplicaTerms));
            let sheet = sheet(flavor).to_uppercase();
            assert!(!sheet.contains("MASTER") && !sheet.contains("SLAVE"), "{flavor}: {sheet}");
        }
    }

    #[test]
    fn time_limits_are_in_the_unit_of_the_server_and_never_unlimited() {
        for (version, limit_ms, expected) in [
            ("10.11.19-MariaDB", 1, "SET SESSION max_statement_time = 0.001"),
            ("10.11.19-MariaDB", 30_000, "SET SESSION max_statement_time = 30.000"),
            ("10.11.19-MariaDB", 0, "SET SESSION max_statement_time = 0.001"),
            ("10.11.19-MariaDB", u64::MAX, "SET SESSION max_statement_time = 31536000.000"),
            ("9.7.4", 1_500, "SET SESSION max_execution_time = 1500"),
            ("9.7.4", 0, "SET SESSION max_execution_time = 1"),
            ("9.7.4", u64::MAX, "SET SESSION max_execution_time = 4294967295"),
        ] {
            assert_eq!(flavor(version).statements().statement_time_limit(limit_ms), [expected]);
        }
    }

    #[test]
    fn a_source_does_not_show_its_password() {
        let source = Source {
            host: "'h'",
            port: 1,
            user: "'u'",
            password: "'secret'",
            tls: SourceTls::Off,
            heartbeat_ms: 0,
            connect_retry_seconds: 1,
            delay_seconds: 0,
        };
        assert!(!format!("{source:?}").contains("secret"));
    }
}
