//! What a server can do, as a table: one row a capability, with the releases that have it and where that is said.
//!
//! Statements that follow from a capability are written in [`crate::Statements`], variables are listed in
//! [`crate::VARIABLES`].

use crate::{Flavor, Vendor, Version};

/// A thing some supported servers can do and others cannot. Its sentence stands in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Account hosts may be written in CIDR notation.
    AccountHostCidr,
    /// Accounts may use mysql_native_password.
    NativePassword,
    /// Mysql_native_password is loaded without asking for it.
    NativePasswordByDefault,
    /// Caching_sha2_password is the default authentication plugin.
    CachingSha2Password,
    /// The ed25519 authentication plugin ships with the server.
    Ed25519Plugin,
    /// Super_read_only stops writes of administrators too.
    SuperReadOnly,
    /// The READ_ONLY ADMIN privilege decides who writes under read_only.
    ReadOnlyAdmin,
    /// SET PERSIST keeps a variable over a restart.
    PersistedVariables,
    /// Performance_schema.variables_info tells where a value comes from.
    VariablesInfo,
    /// Information_schema.SYSTEM_VARIABLES has GLOBAL_VALUE_ORIGIN and GLOBAL_VALUE_PATH.
    SystemVariablesOrigin,
    /// Bind_address takes several addresses.
    BindAddressList,
    /// Binlog_row_metadata puts column names into row events.
    RowMetadata,
    /// Binlog_format is deprecated, ROW being the only format to stay.
    BinlogFormatDeprecated,
    /// Binlog_expire_logs_seconds bounds the age of binlogs.
    BinlogExpireSeconds,
    /// Innodb_redo_log_capacity sizes the redo log.
    RedoLogCapacity,
    /// Innodb_log_file_size changes without a restart.
    DynamicRedoLogFileSize,
    /// Innodb_buffer_pool_size_max bounds how far the buffer pool grows online.
    BufferPoolSizeMax,
    /// Statements may say REPLICA for SLAVE.
    ReplicaTerms,
    /// Statements that say MASTER or SLAVE are gone.
    OnlyReplicaTerms,
    /// CHANGE REPLICATION SOURCE TO configures a replica.
    ChangeReplicationSource,
    /// SHOW BINARY LOG STATUS and RESET BINARY LOGS AND GTIDS exist.
    ShowBinaryLogStatus,
    /// SHOW BINLOG STATUS is the name of SHOW MASTER STATUS.
    ShowBinlogStatus,
    /// BINLOG MONITOR, BINLOG ADMIN, REPLICATION MASTER ADMIN and the like replace SUPER and REPLICATION CLIENT.
    BinlogMonitorPrivilege,
    /// SLAVE MONITOR, with the alias REPLICA MONITOR, is needed to see the replica status.
    ReplicaMonitorPrivilege,
    /// Dynamic privileges such as BACKUP_ADMIN replace SUPER.
    DynamicPrivileges,
    /// The clone plugin copies a running server.
    ClonePlugin,
    /// Semi-synchronous replication is part of the server.
    SemiSyncBuiltIn,
    /// The semi-sync plugins are named source and replica.
    SemiSyncSourceReplicaNames,
    /// Require_secure_transport refuses connections without TLS.
    RequireSecureTransport,
    /// Certificates are read again without a restart.
    TlsReload,
    /// Max_statement_time limits every statement, in seconds.
    MaxStatementTime,
    /// Max_execution_time limits SELECT statements, in milliseconds.
    MaxExecutionTime,
    /// CRC32() takes a checksum to go on from.
    ChecksumGoesOn,
    /// What foreign keys change by ON DELETE and ON UPDATE is in the binlog.
    CascadesLogged,
    /// Columns may have the type VECTOR.
    Vectors,
}

/// A run of releases: from one on, until (not including) another. A change that was backported to older series
/// has a span for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First release of the run.
    pub from: Version,
    /// First release behind the run; `None` when it has not ended.
    pub until: Option<Version>,
}

impl Span {
    const fn from(major: u16, minor: u16, patch: u16) -> Self {
        Self { from: Version::new(major, minor, patch), until: None }
    }

    const fn until(major: u16, minor: u16, patch: u16) -> Self {
        Self { from: Version::new(0, 0, 0), until: Some(Version::new(major, minor, patch)) }
    }

    const fn between(from: (u16, u16, u16), until: (u16, u16, u16)) -> Self {
        Self {
            from: Version::new(from.0, from.1, from.2),
            until: Some(Version::new(until.0, until.1, until.2)),
        }
    }

    /// Whether a release is in the run.
    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        version >= self.from && self.until.is_none_or(|until| version < until)
    }
}

const ALWAYS: &[Span] = &[Span::from(0, 0, 0)];
const NEVER: &[Span] = &[];

/// One capability, and who has it.
#[derive(Clone, Copy, Debug)]
pub struct CapabilityRow {
    /// Which one.
    pub capability: Capability,
    /// What a server that has it does.
    pub sentence: &'static str,
    /// The MariaDB releases that have it.
    pub mariadb: &'static [Span],
    /// The MySQL releases that have it.
    pub mysql: &'static [Span],
    /// The manual page or release note that says so.
    pub source: &'static str,
}

impl Flavor {
    /// Whether this server has a capability.
    #[must_use]
    pub fn can(self, capability: Capability) -> bool {
        CAPABILITIES.iter().filter(|row| row.capability == capability).any(|row| {
            let spans = match self.vendor {
                Vendor::MariaDb => row.mariadb,
                Vendor::MySql => row.mysql,
            };
            spans.iter().any(|span| span.contains(self.version))
        })
    }
}

/// Every capability, in the order of [`Capability`].
pub const CAPABILITIES: &[CapabilityRow] = &[
    CapabilityRow {
        capability: Capability::AccountHostCidr,
        sentence: "account hosts may be written in CIDR notation",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 23)],
        source: "MySQL 8.0.23 release notes; manual, Specifying Account Names",
    },
    CapabilityRow {
        capability: Capability::NativePassword,
        sentence: "accounts may use mysql_native_password",
        mariadb: ALWAYS,
        mysql: &[Span::until(9, 0, 0)],
        source: "MySQL 9.0.0 release notes; MariaDB, Authentication Plugin - mysql_native_password",
    },
    CapabilityRow {
        capability: Capability::NativePasswordByDefault,
        sentence: "mysql_native_password is loaded without asking for it",
        mariadb: ALWAYS,
        mysql: &[Span::until(8, 4, 0)],
        source: "MySQL 8.4.0 release notes, Native Pluggable Authentication",
    },
    CapabilityRow {
        capability: Capability::CachingSha2Password,
        sentence: "caching_sha2_password is the default authentication plugin",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 4)],
        source: "MySQL 8.0.4 release notes; MariaDB has a plugin from 12.1, not as default",
    },
    CapabilityRow {
        capability: Capability::Ed25519Plugin,
        sentence: "the ed25519 authentication plugin ships with the server",
        mariadb: ALWAYS,
        mysql: NEVER,
        source: "MariaDB, Authentication Plugin - ed25519 (10.1.22)",
    },
    CapabilityRow {
        capability: Capability::SuperReadOnly,
        sentence: "super_read_only stops writes of administrators too",
        mariadb: NEVER,
        mysql: &[Span::from(5, 7, 8)],
        source: "MySQL manual, Server System Variables, super_read_only",
    },
    CapabilityRow {
        capability: Capability::ReadOnlyAdmin,
        sentence: "the READ_ONLY ADMIN privilege decides who writes under read_only",
        mariadb: &[Span::from(10, 5, 2)],
        mysql: NEVER,
        source: "MariaDB 10.5.2 release notes (MDEV-21743)",
    },
    CapabilityRow {
        capability: Capability::PersistedVariables,
        sentence: "SET PERSIST keeps a variable over a restart",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 0)],
        source: "MySQL manual, Persisted System Variables",
    },
    CapabilityRow {
        capability: Capability::VariablesInfo,
        sentence: "performance_schema.variables_info tells where a value comes from",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 0)],
        source: "MySQL manual, Performance Schema variables_info Table",
    },
    CapabilityRow {
        capability: Capability::SystemVariablesOrigin,
        sentence: "information_schema.SYSTEM_VARIABLES has GLOBAL_VALUE_ORIGIN and GLOBAL_VALUE_PATH",
        mariadb: &[Span::from(10, 5, 0)],
        mysql: NEVER,
        source: "MariaDB, Information Schema SYSTEM_VARIABLES Table",
    },
    CapabilityRow {
        capability: Capability::BindAddressList,
        sentence: "bind_address takes several addresses",
        mariadb: &[Span::from(10, 11, 0)],
        mysql: &[Span::from(8, 0, 13)],
        source: "MySQL 8.0.13 release notes; MariaDB, Server System Variables, bind_address",
    },
    CapabilityRow {
        capability: Capability::RowMetadata,
        sentence: "binlog_row_metadata puts column names into row events",
        mariadb: &[Span::from(10, 5, 0)],
        mysql: &[Span::from(8, 0, 1)],
        source: "MariaDB, Replication and Binary Log System Variables; MySQL 8.0.1 release notes",
    },
    CapabilityRow {
        capability: Capability::BinlogFormatDeprecated,
        sentence: "binlog_format is deprecated, ROW being the only format to stay",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 34)],
        source: "MySQL 8.0.34 release notes",
    },
    CapabilityRow {
        capability: Capability::BinlogExpireSeconds,
        sentence: "binlog_expire_logs_seconds bounds the age of binlogs",
        mariadb: &[Span::from(10, 6, 1)],
        mysql: &[Span::from(8, 0, 1)],
        source: "MariaDB 10.6.1 release notes (MDEV-19371); MySQL 8.0.1 release notes",
    },
    CapabilityRow {
        capability: Capability::RedoLogCapacity,
        sentence: "innodb_redo_log_capacity sizes the redo log",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 30)],
        source: "MySQL 8.0.30 release notes",
    },
    CapabilityRow {
        capability: Capability::DynamicRedoLogFileSize,
        sentence: "innodb_log_file_size changes without a restart",
        mariadb: &[Span::from(10, 9, 0)],
        mysql: NEVER,
        source: "MariaDB 10.9 release notes (MDEV-27812)",
    },
    CapabilityRow {
        capability: Capability::BufferPoolSizeMax,
        sentence: "innodb_buffer_pool_size_max bounds how far the buffer pool grows online",
        mariadb: &[
            Span::between((10, 11, 12), (11, 0, 0)),
            Span::between((11, 4, 6), (11, 5, 0)),
            Span::from(11, 8, 2),
        ],
        mysql: NEVER,
        source: "MariaDB, InnoDB System Variables (MDEV-29445)",
    },
    CapabilityRow {
        capability: Capability::ReplicaTerms,
        sentence: "statements may say REPLICA for SLAVE",
        mariadb: &[Span::from(10, 5, 1)],
        mysql: &[Span::from(8, 0, 22)],
        source: "MariaDB 10.5.1 release notes (MDEV-20601); MySQL 8.0.22 release notes",
    },
    CapabilityRow {
        capability: Capability::OnlyReplicaTerms,
        sentence: "statements that say MASTER or SLAVE are gone",
        mariadb: NEVER,
        mysql: &[Span::from(8, 4, 0)],
        source: "MySQL 8.4.0 release notes",
    },
    CapabilityRow {
        capability: Capability::ChangeReplicationSource,
        sentence: "CHANGE REPLICATION SOURCE TO configures a replica",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 23)],
        source: "MySQL 8.0.23 release notes",
    },
    CapabilityRow {
        capability: Capability::ShowBinaryLogStatus,
        sentence: "SHOW BINARY LOG STATUS and RESET BINARY LOGS AND GTIDS exist",
        mariadb: NEVER,
        mysql: &[Span::from(8, 2, 0)],
        source: "MySQL 8.2.0 release notes",
    },
    CapabilityRow {
        capability: Capability::ShowBinlogStatus,
        sentence: "SHOW BINLOG STATUS is the name of SHOW MASTER STATUS",
        mariadb: &[Span::from(10, 5, 2)],
        mysql: NEVER,
        source: "MariaDB, SHOW BINLOG STATUS",
    },
    CapabilityRow {
        capability: Capability::BinlogMonitorPrivilege,
        sentence: "BINLOG MONITOR, BINLOG ADMIN, REPLICATION MASTER ADMIN and the like replace SUPER and REPLICATION CLIENT",
        mariadb: &[Span::from(10, 5, 2)],
        mysql: NEVER,
        source: "MariaDB 10.5.2 release notes (MDEV-21743); GRANT",
    },
    CapabilityRow {
        capability: Capability::ReplicaMonitorPrivilege,
        sentence: "SLAVE MONITOR, with the alias REPLICA MONITOR, is needed to see the replica status",
        mariadb: &[Span::from(10, 5, 9)],
        mysql: NEVER,
        source: "MariaDB 10.5.9 release notes (MDEV-23610)",
    },
    CapabilityRow {
        capability: Capability::DynamicPrivileges,
        sentence: "dynamic privileges such as BACKUP_ADMIN replace SUPER",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 0)],
        source: "MySQL manual, Privileges Provided by MySQL",
    },
    CapabilityRow {
        capability: Capability::ClonePlugin,
        sentence: "the clone plugin copies a running server",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 17)],
        source: "MySQL 8.0.17 release notes",
    },
    CapabilityRow {
        capability: Capability::SemiSyncBuiltIn,
        sentence: "semi-synchronous replication is part of the server",
        mariadb: &[Span::from(10, 3, 3)],
        mysql: NEVER,
        source: "MariaDB, Semisynchronous Replication (MDEV-13073)",
    },
    CapabilityRow {
        capability: Capability::SemiSyncSourceReplicaNames,
        sentence: "the semi-sync plugins are named source and replica",
        mariadb: NEVER,
        mysql: &[Span::from(8, 0, 26)],
        source: "MySQL 8.0.26 release notes",
    },
    CapabilityRow {
        capability: Capability::RequireSecureTransport,
        sentence: "require_secure_transport refuses connections without TLS",
        mariadb: &[Span::from(10, 5, 2)],
        mysql: &[Span::from(5, 7, 8)],
        source: "MariaDB, SSL/TLS System Variables; MySQL manual, Server System Variables",
    },
    CapabilityRow {
        capability: Capability::TlsReload,
        sentence: "certificates are read again without a restart",
        mariadb: &[Span::from(10, 4, 1)],
        mysql: &[Span::from(8, 0, 16)],
        source: "MariaDB 10.4.1 release notes (MDEV-16266); MySQL 8.0.16 release notes",
    },
    CapabilityRow {
        capability: Capability::MaxStatementTime,
        sentence: "max_statement_time limits every statement, in seconds",
        mariadb: &[Span::from(10, 1, 1)],
        mysql: NEVER,
        source: "MariaDB, Aborting Statements that Exceed a Certain Time to Execute",
    },
    CapabilityRow {
        capability: Capability::MaxExecutionTime,
        sentence: "max_execution_time limits SELECT statements, in milliseconds",
        mariadb: NEVER,
        mysql: &[Span::from(5, 7, 8)],
        source: "MySQL manual, Server System Variables, max_execution_time",
    },
    CapabilityRow {
        capability: Capability::ChecksumGoesOn,
        sentence: "CRC32() takes a checksum to go on from",
        mariadb: &[Span::from(10, 8, 0)],
        mysql: NEVER,
        source: "MariaDB, CRC32 (MDEV-27208)",
    },
    CapabilityRow {
        capability: Capability::CascadesLogged,
        sentence: "what foreign keys change by ON DELETE and ON UPDATE is in the binlog",
        mariadb: NEVER,
        mysql: &[Span::from(9, 6, 0)],
        source: "MySQL 9.6 release notes: foreign keys are enforced by the SQL layer, unless innodb_native_foreign_keys is on",
    },
    CapabilityRow {
        capability: Capability::Vectors,
        sentence: "columns may have the type VECTOR",
        mariadb: &[Span::from(11, 7, 0)],
        mysql: &[Span::from(9, 0, 0)],
        source: "MariaDB Vector, and the MySQL manual, The VECTOR Type",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    const SERVERS: &[(Vendor, &str)] = &[
        (Vendor::MariaDb, "10.6.16"),
        (Vendor::MariaDb, "10.11.19"),
        (Vendor::MariaDb, "11.4.8"),
        (Vendor::MariaDb, "11.8.3"),
        (Vendor::MariaDb, "12.1.2"),
        (Vendor::MySql, "8.0.20"),
        (Vendor::MySql, "8.0.36"),
        (Vendor::MySql, "8.4.6"),
        (Vendor::MySql, "9.7.4"),
        (Vendor::MySql, "26.1.0"),
    ];

    #[test]
    fn every_capability_has_one_row_with_a_sentence_and_a_source() {
        let mut seen = BTreeSet::new();
        for row in CAPABILITIES {
            assert!(seen.insert(row.capability), "{:?} twice", row.capability);
            assert!(!row.sentence.is_empty() && !row.source.is_empty(), "{:?}", row.capability);
            assert!(!(row.mariadb.is_empty() && row.mysql.is_empty()), "{:?}", row.capability);
            let spans = row.mariadb.windows(2).chain(row.mysql.windows(2));
            for pair in spans {
                assert!(pair[0].until.is_some_and(|until| until <= pair[1].from), "{:?}", row.capability);
            }
        }
        assert!(CAPABILITIES.windows(2).all(|pair| pair[0].capability < pair[1].capability));
        let last = CAPABILITIES.last().unwrap().capability;
        assert_eq!(last as usize + 1, CAPABILITIES.len(), "a capability has no row");
    }

    #[test]
    fn servers_can_what_the_manuals_say() {
        let mut table = String::new();
        for row in CAPABILITIES {
            write!(table, "{:<28}", format!("{:?}", row.capability)).unwrap();
            for (vendor, version) in SERVERS {
                let flavor = Flavor { vendor: *vendor, version: version.parse().unwrap() };
                let mark = if flavor.can(row.capability) { version } else { "-" };
                write!(table, " {mark:<8}").unwrap();
            }
            table.truncate(table.trim_end().len());
            table.push('\n');
        }
        insta::assert_snapshot!("capabilities", table);
    }

    #[test]
    fn a_capability_begins_and_ends_at_its_release() {
        use Capability::{
            BufferPoolSizeMax, NativePassword, NativePasswordByDefault, OnlyReplicaTerms, ReplicaTerms,
        };
        for (vendor, version, capability, expected) in [
            (Vendor::MariaDb, "10.11.11", BufferPoolSizeMax, false),
            (Vendor::MariaDb, "10.11.12", BufferPoolSizeMax, true),
            (Vendor::MariaDb, "11.0.6", BufferPoolSizeMax, false),
            (Vendor::MariaDb, "11.4.5", BufferPoolSizeMax, false),
            (Vendor::MariaDb, "11.4.6", BufferPoolSizeMax, true),
            (Vendor::MariaDb, "11.7.2", BufferPoolSizeMax, false),
            (Vendor::MariaDb, "11.8.1", BufferPoolSizeMax, false),
            (Vendor::MariaDb, "11.8.2", BufferPoolSizeMax, true),
            (Vendor::MariaDb, "12.0.1", BufferPoolSizeMax, true),
            (Vendor::MySql, "8.3.0", NativePasswordByDefault, true),
            (Vendor::MySql, "8.4.0", NativePasswordByDefault, false),
            (Vendor::MySql, "8.4.6", NativePassword, true),
            (Vendor::MySql, "9.0.0", NativePassword, false),
            (Vendor::MySql, "8.0.21", ReplicaTerms, false),
            (Vendor::MySql, "8.0.22", ReplicaTerms, true),
            (Vendor::MySql, "8.3.0", OnlyReplicaTerms, false),
            (Vendor::MySql, "8.4.0", OnlyReplicaTerms, true),
        ] {
            let flavor = Flavor { vendor, version: version.parse().unwrap() };
            assert_eq!(flavor.can(capability), expected, "{flavor} {capability:?}");
        }
    }
}
