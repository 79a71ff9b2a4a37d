//! What is asked of a server that fails over: threads, positions, accounts, write protection and clones. It decides
//! nothing.

use super::{Source, SourceTls, Statements};
use crate::{Capability, Vendor};

impl Statements {
    /// Stops the thread that receives from the source, and returns once nothing more arrives.
    #[must_use]
    pub fn stop_io_thread(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "STOP REPLICA IO_THREAD", "STOP SLAVE IO_THREAD")
    }

    /// Starts the thread that receives from the source. MariaDB first empties the relay log if the SQL thread is
    /// stopped too, even if it then cannot connect: what was received and not applied is gone.
    #[must_use]
    pub fn start_io_thread(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "START REPLICA IO_THREAD", "START SLAVE IO_THREAD")
    }

    /// Stops applying.
    #[must_use]
    pub fn stop_sql_thread(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "STOP REPLICA SQL_THREAD", "STOP SLAVE SQL_THREAD")
    }

    /// Starts applying what was received.
    #[must_use]
    pub fn start_sql_thread(self) -> &'static str {
        self.pick(Capability::ReplicaTerms, "START REPLICA SQL_THREAD", "START SLAVE SQL_THREAD")
    }

    /// The GTIDs in this server's data: one row of `position` and `applied`, whose union they are. A commit that
    /// still waits for an ack is among them. MariaDB tells what it logged and what it replicated apart; a server
    /// restored from a backup may have only the latter.
    #[must_use]
    pub const fn executed_gtids_query(self) -> &'static str {
        match self.flavor.vendor {
            Vendor::MariaDb => {
                "SELECT @@GLOBAL.gtid_binlog_state AS position, @@GLOBAL.gtid_slave_pos AS applied"
            }
            Vendor::MySql => "SELECT @@GLOBAL.gtid_executed AS position, '' AS applied",
        }
    }

    /// Waits until a position, a quoted literal of [`crate::GtidSet::replication_position`], is applied: one row of
    /// `reached`, 0 once it is, another number or NULL if not in time. MariaDB looks only at what was replicated,
    /// not at what the server wrote itself. No time is raised to one second, since to MySQL it means no limit.
    #[must_use]
    pub fn wait_for_position(self, position: &str, timeout_seconds: u32) -> String {
        let function = match self.flavor.vendor {
            Vendor::MariaDb => "MASTER_GTID_WAIT",
            Vendor::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        };
        format!("SELECT {function}({position}, {}) AS reached", timeout_seconds.max(1))
    }

    /// Starts a stopped replica up to a position, a quoted literal of [`crate::GtidSet::replication_position`], where
    /// it stops applying.
    #[must_use]
    pub fn start_replica_until(self, position: &str) -> String {
        let start = self.start_replica();
        match self.flavor.vendor {
            Vendor::MariaDb => format!("{start} UNTIL master_gtid_pos = {position}"),
            Vendor::MySql => format!("{start} UNTIL SQL_AFTER_GTIDS = {position}"),
        }
    }

    /// Says up to where a stopped MariaDB replica has replicated, as a quoted literal of
    /// [`crate::GtidSet::replication_position`]: an ex-primary needs it, whose own writes are not counted. `None`
    /// on MySQL.
    #[must_use]
    pub fn set_slave_pos(self, position: &str) -> Option<String> {
        match self.flavor.vendor {
            Vendor::MariaDb => Some(format!("SET GLOBAL gtid_slave_pos = {position}")),
            Vendor::MySql => None,
        }
    }

    /// Gives a MariaDB server whose binlog is empty the history of the one it was copied from, as a quoted literal
    /// of its `gtid_binlog_state`. `None` on MySQL.
    #[must_use]
    pub fn set_binlog_state(self, state: &str) -> Option<String> {
        match self.flavor.vendor {
            Vendor::MariaDb => Some(format!("SET GLOBAL gtid_binlog_state = {state}")),
            Vendor::MySql => None,
        }
    }

    /// Adds GTIDs, a quoted literal, to those a MySQL server has executed and no longer has in its binlog. `None`
    /// on MariaDB.
    #[must_use]
    pub fn set_gtid_purged(self, gtids: &str) -> Option<String> {
        match self.flavor.vendor {
            Vendor::MariaDb => None,
            Vendor::MySql => Some(format!("SET GLOBAL gtid_purged = {gtids}")),
        }
    }

    /// Refuses writes, those of administrators too where the server can. It blocks while a commit waits for an ack,
    /// and when it is cut short MySQL may keep one of its two variables, so what came of it has to be read.
    #[must_use]
    pub fn read_only_on(self) -> &'static str {
        // MySQL turns read_only on with it.
        self.pick(Capability::SuperReadOnly, "SET GLOBAL super_read_only = ON", "SET GLOBAL read_only = ON")
    }

    /// Takes writes.
    #[must_use]
    pub fn read_only_off(self) -> &'static str {
        self.pick(
            Capability::SuperReadOnly,
            "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF",
            "SET GLOBAL read_only = OFF",
        )
    }

    /// Keeps a quoted account from logging in; connections that are open stay. With `sql_log_bin` off it does not
    /// wait for acks. MySQL refuses it under `super_read_only`.
    #[must_use]
    pub fn lock_account(self, account: &str) -> String {
        format!("ALTER USER {account} ACCOUNT LOCK")
    }

    /// Lets a quoted account log in again.
    #[must_use]
    pub fn unlock_account(self, account: &str) -> String {
        format!("ALTER USER {account} ACCOUNT UNLOCK")
    }

    /// The connections that replicas read the binlog on: rows of `id`, `user` and `host` (with the port). Every
    /// killed connection that still ends is among them, since it might be one of these and have an ack under way.
    #[must_use]
    pub const fn dump_threads_query(self) -> &'static str {
        // MySQL prefers the table of performance_schema, which is empty where that is off.
        "SELECT ID AS id, USER AS user, HOST AS host FROM information_schema.PROCESSLIST \
         WHERE COMMAND LIKE 'Binlog Dump%' OR COMMAND = 'Killed'"
    }

    /// Ends a connection, by its id. Error 1094 says that there is none; otherwise it may take a second to end.
    #[must_use]
    pub fn kill_connection(self, id: u64) -> String {
        match self.flavor.vendor {
            Vendor::MariaDb => format!("KILL HARD CONNECTION {id}"),
            Vendor::MySql => format!("KILL CONNECTION {id}"),
        }
    }

    /// The server argument under which a crashed MariaDB primary drops, while it recovers, the end of its binlog
    /// that no replica acknowledged; `None` on MySQL, which cannot. Only for a server that another one has replaced.
    #[must_use]
    pub const fn start_argument_replica_role(self) -> Option<&'static str> {
        match self.flavor.vendor {
            Vendor::MariaDb => Some("--init-rpl-role=SLAVE"),
            Vendor::MySql => None,
        }
    }

    /// Server arguments under which it starts harmless whatever its option files say: read-only, not replicating,
    /// with both sides of semi-sync off. The plugins' own are `loose`, since they are known only once loaded.
    #[must_use]
    pub fn start_arguments_safe(self) -> &'static [&'static str] {
        match self.flavor.vendor {
            Vendor::MariaDb => &[
                "--read-only=1",
                "--skip-slave-start=1",
                "--gtid-strict-mode=1",
                "--rpl-semi-sync-master-enabled=0",
                "--rpl-semi-sync-slave-enabled=0",
            ],
            Vendor::MySql if self.can(Capability::SemiSyncSourceReplicaNames) => &[
                "--super-read-only=1",
                "--skip-replica-start=1",
                "--loose-rpl-semi-sync-source-enabled=0",
                "--loose-rpl-semi-sync-replica-enabled=0",
            ],
            Vendor::MySql => &[
                "--super-read-only=1",
                "--skip-slave-start=1",
                "--loose-rpl-semi-sync-master-enabled=0",
                "--loose-rpl-semi-sync-slave-enabled=0",
            ],
        }
    }

    /// Says which servers may be cloned, as a quoted literal of `host:port,...`; `None` where there is no cloning.
    #[must_use]
    pub fn clone_donors(self, donors: &str) -> Option<String> {
        self.can(Capability::ClonePlugin).then(|| format!("SET GLOBAL clone_valid_donor_list = {donors}"))
    }

    /// Statements that replace all data of this server by a copy of another one's, of which the last holds the
    /// password; `None` where there is no cloning. It is refused under `super_read_only`. The
    /// server then restarts itself, or stops with error 3707 where nothing supervises it. The timing and the delay
    /// of the source are not used.
    #[must_use]
    pub fn clone_instance(self, source: &Source<'_>) -> Option<Vec<String>> {
        if !self.can(Capability::ClonePlugin) {
            return None;
        }
        let Source { host, port, user, password, tls, .. } = source;
        let (ca, require) = match tls {
            SourceTls::Verified { ca_file } => (Some(format!("SET GLOBAL clone_ssl_ca = {ca_file}")), "SSL"),
            SourceTls::Off => (None, "NO SSL"),
        };
        let clone =
            format!("CLONE INSTANCE FROM {user}@{host}:{port} IDENTIFIED BY {password} REQUIRE {require}");
        Some(ca.into_iter().chain([clone]).collect())
    }
}
