//! Server variables Mainstay manages: their name, where they exist, and whether they change without a restart.
//!
//! One row a variable. What value a variable should have, and why, is planning's; this table only knows the
//! servers. Sources are the vendors' reference manuals, pages "Server System Variables" and
//! "InnoDB Startup Options and System Variables", and the release notes named in a row.

use crate::{Flavor, Vendor, Version};

/// How a variable's value is written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `ON`/`OFF`, also `1`/`0`.
    Bool,
    /// A whole number; sizes are in bytes.
    Number,
    /// Text, compared without case.
    Text,
    /// A comma-separated set, compared without order and case.
    Set,
    /// A file path, compared exactly.
    Path,
}

/// From which release a thing holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// In every supported release.
    Always,
    /// In none.
    Never,
    /// From this release on.
    From(Version),
    /// Until (not including) this release.
    Until(Version),
}

impl Since {
    fn holds(self, version: Version) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::From(first) => version >= first,
            Self::Until(end) => version < end,
        }
    }
}

/// One managed variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Name as in `SHOW GLOBAL VARIABLES` and in the option file.
    pub name: &'static str,
    /// How its value is written.
    pub kind: ValueKind,
    /// Where MariaDB has it.
    pub mariadb: Since,
    /// Where MySQL has it.
    pub mysql: Since,
    /// Where MariaDB changes it by `SET GLOBAL`.
    pub mariadb_dynamic: Since,
    /// Where MySQL changes it by `SET GLOBAL`.
    pub mysql_dynamic: Since,
    /// Where MySQL warns that naming it in an option file is deprecated; its default is then relied on and read back.
    pub mysql_file_deprecated: Since,
}

impl Variable {
    /// Whether this server has the variable.
    #[must_use]
    pub fn exists(&self, flavor: Flavor) -> bool {
        pick(flavor, self.mariadb, self.mysql)
    }

    /// Whether this server changes it by `SET GLOBAL`.
    #[must_use]
    pub fn dynamic(&self, flavor: Flavor) -> bool {
        pick(flavor, self.mariadb_dynamic, self.mysql_dynamic)
    }

    /// Whether it belongs in the option file of this server.
    #[must_use]
    pub fn in_file(&self, flavor: Flavor) -> bool {
        self.exists(flavor) && !pick(flavor, Since::Never, self.mysql_file_deprecated)
    }
}

fn pick(flavor: Flavor, mariadb: Since, mysql: Since) -> bool {
    match flavor.vendor {
        Vendor::MariaDb => mariadb.holds(flavor.version),
        Vendor::MySql => mysql.holds(flavor.version),
    }
}

use Since::{Always, From, Never, Until};
use ValueKind::{Bool, Number, Path, Set, Text};

const fn row(
    name: &'static str,
    kind: ValueKind,
    exists: (Since, Since),
    dynamic: (Since, Since),
) -> Variable {
    Variable {
        name,
        kind,
        mariadb: exists.0,
        mysql: exists.1,
        mariadb_dynamic: dynamic.0,
        mysql_dynamic: dynamic.1,
        mysql_file_deprecated: Never,
    }
}

const BOTH: (Since, Since) = (Always, Always);
const NEITHER: (Since, Since) = (Never, Never);
const MARIADB: (Since, Since) = (Always, Never);
const MYSQL: (Since, Since) = (Never, Always);

/// Every variable Mainstay manages, sorted by name.
pub const VARIABLES: &[Variable] = &[
    row("bind_address", Text, BOTH, NEITHER),
    row("binlog_expire_logs_seconds", Number, BOTH, BOTH),
    // The option is deprecated from MySQL 8.0.34 (release notes); ROW is its default there.
    Variable {
        mysql_file_deprecated: From(Version::new(8, 0, 34)),
        ..row("binlog_format", Text, BOTH, BOTH)
    },
    row("binlog_row_image", Text, BOTH, BOTH),
    row("binlog_row_metadata", Text, BOTH, BOTH),
    row("character_set_server", Text, BOTH, BOTH),
    row("collation_server", Text, BOTH, BOTH),
    row("enforce_gtid_consistency", Bool, MYSQL, NEITHER),
    // gtid_mode is dynamic in single steps only (OFF, OFF_PERMISSIVE, ON_PERMISSIVE, ON), each with conditions
    // on every server of the topology; one restart is the safe way on a server being set up.
    row("gtid_mode", Text, MYSQL, NEITHER),
    row("gtid_strict_mode", Bool, MARIADB, MARIADB),
    row("innodb_autoinc_lock_mode", Number, BOTH, NEITHER),
    row("innodb_buffer_pool_instances", Number, MYSQL, NEITHER),
    row("innodb_buffer_pool_size", Number, BOTH, BOTH),
    row("innodb_flush_log_at_trx_commit", Number, BOTH, BOTH),
    row("innodb_force_primary_key", Bool, MARIADB, MARIADB),
    row("innodb_lock_wait_timeout", Number, BOTH, BOTH),
    // MDEV-27812 made it dynamic in MariaDB 10.9; MySQL 8.0.30 replaced it with innodb_redo_log_capacity.
    row(
        "innodb_log_file_size",
        Number,
        (Always, Until(Version::new(8, 0, 30))),
        (From(Version::new(10, 9, 0)), Never),
    ),
    row("innodb_redo_log_capacity", Number, (Never, From(Version::new(8, 0, 30))), MYSQL),
    row("innodb_rollback_on_timeout", Bool, BOTH, NEITHER),
    row("interactive_timeout", Number, BOTH, BOTH),
    row("join_buffer_size", Number, BOTH, BOTH),
    row("local_infile", Bool, BOTH, BOTH),
    row("log_bin", Bool, BOTH, NEITHER),
    // MySQL has it on by default, and renamed it to log_replica_updates in 8.0.26.
    row("log_slave_updates", Bool, MARIADB, NEITHER),
    row("max_allowed_packet", Number, BOTH, BOTH),
    row("max_connections", Number, BOTH, BOTH),
    row("max_heap_table_size", Number, BOTH, BOTH),
    row("max_prepared_stmt_count", Number, BOTH, BOTH),
    row("port", Number, BOTH, NEITHER),
    row("read_buffer_size", Number, BOTH, BOTH),
    row("read_rnd_buffer_size", Number, BOTH, BOTH),
    row("require_secure_transport", Bool, BOTH, BOTH),
    row("server_id", Number, BOTH, BOTH),
    row("sort_buffer_size", Number, BOTH, BOTH),
    row("sql_mode", Set, BOTH, BOTH),
    row("sql_require_primary_key", Bool, (Never, From(Version::new(8, 0, 13))), MYSQL),
    row("ssl_ca", Path, BOTH, (Never, From(Version::new(8, 0, 16)))),
    row("ssl_cert", Path, BOTH, (Never, From(Version::new(8, 0, 16)))),
    row("ssl_key", Path, BOTH, (Never, From(Version::new(8, 0, 16)))),
    row("sync_binlog", Number, BOTH, BOTH),
    row("table_definition_cache", Number, BOTH, BOTH),
    row("tls_version", Set, BOTH, (Never, From(Version::new(8, 0, 16)))),
    row("tmp_table_size", Number, BOTH, BOTH),
    row("wait_timeout", Number, BOTH, BOTH),
];

/// The row of a managed variable.
#[must_use]
pub fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(VARIABLES.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn redo_capacity_has_one_name_on_every_server() {
        for (vendor, version, name, dynamic) in [
            (Vendor::MariaDb, Version::new(10, 6, 16), "innodb_log_file_size", false),
            (Vendor::MariaDb, Version::new(10, 11, 19), "innodb_log_file_size", true),
            (Vendor::MySql, Version::new(8, 0, 20), "innodb_log_file_size", false),
            (Vendor::MySql, Version::new(8, 0, 36), "innodb_redo_log_capacity", true),
            (Vendor::MySql, Version::new(9, 7, 4), "innodb_redo_log_capacity", true),
        ] {
            let flavor = Flavor { vendor, version };
            let present: Vec<&str> = VARIABLES
                .iter()
                .filter(|row| row.name.starts_with("innodb_log_file") || row.name.starts_with("innodb_redo"))
                .filter(|row| row.exists(flavor))
                .map(|row| row.name)
                .collect();
            assert_eq!(present, [name], "{flavor}");
            assert_eq!(variable(name).unwrap().dynamic(flavor), dynamic, "{flavor}");
        }
    }

    #[test]
    fn binlog_format_leaves_the_file_where_it_is_deprecated() {
        let row = variable("binlog_format").unwrap();
        let old = Flavor { vendor: Vendor::MySql, version: Version::new(8, 0, 20) };
        let new = Flavor { vendor: Vendor::MySql, version: Version::new(9, 7, 4) };
        assert!(row.in_file(old) && !row.in_file(new) && row.exists(new));
    }
}
