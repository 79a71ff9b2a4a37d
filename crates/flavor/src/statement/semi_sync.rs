//! What semi-synchronous replication is called on each server. It sets nothing.

use super::Statements;
use crate::{Capability, Vendor};

/// Where a primary waits for acks so that no client sees what no replica has: before the engine commits.
pub const SEMI_SYNC_WAIT_POINT: &str = "AFTER_SYNC";

/// A timeout in milliseconds that never ends. The largest number the variable takes is more, but leaves the
/// servers' own arithmetic no room.
pub const SEMI_SYNC_TIMEOUT_NEVER_MS: u64 = 1_000_000_000_000_000_000;

impl Statements {
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

    /// Shortens what an acknowledging replica waits for when it stops: it asks its source to end the old connection, by
    /// a connection of its own, which takes this long (in seconds; 5 by default) when the source is out of reach.
    /// Measured on MariaDB 10.11.19; turning acknowledgements off first does not spare it. MySQL 9.7.4 does not wait.
    #[must_use]
    pub fn semi_sync_replica_hurry(self) -> Option<&'static str> {
        match self.flavor.vendor {
            Vendor::MariaDb => Some("SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout = 1"),
            Vendor::MySql => None,
        }
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

    /// Server arguments that load semi-sync, both sides, and the clone plugin before the configuration's variables
    /// for them are read; empty where nothing needs to be loaded. They install nothing for good.
    #[must_use]
    pub fn start_arguments_plugins(self) -> &'static [&'static str] {
        if self.can(Capability::SemiSyncBuiltIn) {
            &[]
        } else if self.can(Capability::SemiSyncSourceReplicaNames) {
            &[
                "--plugin-load-add=semisync_source.so",
                "--plugin-load-add=semisync_replica.so",
                "--plugin-load-add=mysql_clone.so",
            ]
        } else if self.can(Capability::ClonePlugin) {
            &[
                "--plugin-load-add=semisync_master.so",
                "--plugin-load-add=semisync_slave.so",
                "--plugin-load-add=mysql_clone.so",
            ]
        } else {
            &["--plugin-load-add=semisync_master.so", "--plugin-load-add=semisync_slave.so"]
        }
    }

    /// The variable that says where in a commit a primary waits, see [`SEMI_SYNC_WAIT_POINT`].
    #[must_use]
    pub fn semi_sync_source_wait_point_variable(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "rpl_semi_sync_source_wait_point",
            "rpl_semi_sync_master_wait_point",
        )
    }

    /// The variable that says how many acks a commit waits for; `None` on MariaDB, which always waits for one.
    #[must_use]
    pub fn semi_sync_source_wait_count_variable(self) -> Option<&'static str> {
        match self.flavor.vendor {
            Vendor::MariaDb => None,
            Vendor::MySql => Some(self.pick(
                Capability::SemiSyncSourceReplicaNames,
                "rpl_semi_sync_source_wait_for_replica_count",
                "rpl_semi_sync_master_wait_for_slave_count",
            )),
        }
    }

    /// The variable that makes a primary wait also while fewer ackers are connected than it needs.
    #[must_use]
    pub fn semi_sync_source_wait_no_replica_variable(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "rpl_semi_sync_source_wait_no_replica",
            "rpl_semi_sync_master_wait_no_slave",
        )
    }

    /// The status variable that says whether a primary waits for acks now: `ON`, or `OFF` also once it gave up.
    #[must_use]
    pub fn semi_sync_source_status(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "Rpl_semi_sync_source_status",
            "Rpl_semi_sync_master_status",
        )
    }

    /// The status variable that says whether a replica sends acks on its connection of now: `ON` or `OFF`.
    #[must_use]
    pub fn semi_sync_replica_status(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "Rpl_semi_sync_replica_status",
            "Rpl_semi_sync_slave_status",
        )
    }

    /// The status variable that counts the sessions which wait for an ack now.
    #[must_use]
    pub fn semi_sync_wait_sessions_status(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "Rpl_semi_sync_source_wait_sessions",
            "Rpl_semi_sync_master_wait_sessions",
        )
    }

    /// The status variable that counts the commits which got their acks.
    #[must_use]
    pub fn semi_sync_acked_status(self) -> &'static str {
        self.pick(
            Capability::SemiSyncSourceReplicaNames,
            "Rpl_semi_sync_source_yes_tx",
            "Rpl_semi_sync_master_yes_tx",
        )
    }
}
