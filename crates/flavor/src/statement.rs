//! Every statement whose text depends on the server, in one place.
//!
//! It writes no values of its own into a statement: literals come in quoted, since this crate does not depend on
//! the quoting crate. What a row of an answer means is for the caller to read, by the column names given here.

use std::fmt;

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
    /// `Yes` while the IO thread runs and is connected.
    pub io_running: &'static str,
    /// `Yes` while the SQL thread runs.
    pub sql_running: &'static str,
    /// Lag in seconds, NULL while not replicating.
    pub seconds_behind: &'static str,
    /// Text of the last error of the IO thread.
    pub last_io_error: &'static str,
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
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &"***")
            .field("tls", &self.tls)
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
                io_running: "Replica_IO_Running",
                sql_running: "Replica_SQL_Running",
                seconds_behind: "Seconds_Behind_Source",
                last_io_error: "Last_IO_Error",
                last_sql_error: "Last_SQL_Error",
                channel: "Channel_Name",
            };
        }
        ReplicaColumns {
            host: "Master_Host",
            port: "Master_Port",
            io_running: "Slave_IO_Running",
            sql_running: "Slave_SQL_Running",
            seconds_behind: "Seconds_Behind_Master",
            last_io_error: "Last_IO_Error",
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
        let Source { host, port, user, password, tls } = source;
        let gtid = match self.flavor.vendor {
            Vendor::MariaDb => "MASTER_USE_GTID = slave_pos".to_owned(),
            Vendor::MySql => format!("{prefix}_AUTO_POSITION = 1"),
        };
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
             {prefix}_PASSWORD = {password}, {secured}, {gtid}"
        )
    }

    /// Statements that install semi-sync, both sides; empty where it is built in. One that is installed already
    /// fails with error 1125.
    #[must_use]
    pub fn semi_sync_install(self) -> &'static [&'static str] {
        if self.can(Capability::SemiSyncBuiltIn) {
            &[]
        } else if self.can(Capability::SemiSyncSourceReplicaNames) {
            &[
                "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
                "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
            ]
        } else {
            &[
                "INSTALL PLUGIN rpl_semi_sync_master SONAME 'semisync_master.so'",
                "INSTALL PLUGIN rpl_semi_sync_slave SONAME 'semisync_slave.so'",
            ]
        }
    }

    /// The variable that makes a primary wait for acks.
    #[must_use]
    pub fn semi_sync_source_enabled_variable(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "rpl_semi_sync_source_enabled",
            "rpl_semi_sync_master_enabled",
        )
    }

    /// The variable that makes a replica send acks.
    #[must_use]
    pub fn semi_sync_replica_enabled_variable(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "rpl_semi_sync_replica_enabled",
            "rpl_semi_sync_slave_enabled",
        )
    }

    /// The variable that says after how many milliseconds a primary stops waiting.
    #[must_use]
    pub fn semi_sync_source_timeout_variable(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "rpl_semi_sync_source_timeout",
            "rpl_semi_sync_master_timeout",
        )
    }

    /// The status variable that counts the ackers connected now.
    #[must_use]
    pub fn semi_sync_ackers_status(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "Rpl_semi_sync_source_clients",
            "Rpl_semi_sync_master_clients",
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
        };
        let lines = [
            statements.replica_status().to_owned(),
            format!("  {} {} {}", columns.host, columns.port, columns.channel),
            format!("  {} {} {}", columns.io_running, columns.sql_running, columns.seconds_behind),
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
        lines.join("\n")
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
        let source = Source { host: "'h'", port: 1, user: "'u'", password: "'secret'", tls: SourceTls::Off };
        assert!(!format!("{source:?}").contains("secret"));
    }
}
