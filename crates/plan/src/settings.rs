//! Which server variables Mainstay sets, to what, and why: one row a variable.
//!
//! What a variable is called, where it exists and whether it is dynamic stands in `flavor`; sizes come from
//! `sizing`. A row whose value function returns `None` does not apply to this spec.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use flavor::{Capability, Flavor, ValueKind, Variable};
use spec::{Cloud, Node, Spec, Topology};

use crate::sizing::{Demand, Sizing};
use crate::value::bytes_text;

/// What a row may look at.
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) node: &'a Node,
    pub(crate) flavor: Flavor,
    pub(crate) sizing: &'a Sizing,
    pub(crate) demand: &'a Demand,
    /// `log_bin_basename` of the running server, when it writes a binlog: its place is kept.
    pub(crate) binlog_base: Option<&'a str>,
}

/// Who wants a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A row of Mainstay's table.
    Mainstay,
    /// `[config.variables]` of the spec.
    Operator,
}

/// One variable as it should be.
#[derive(Clone, Debug)]
pub struct WantedSetting {
    /// The variable.
    pub name: String,
    /// How its value is compared.
    pub kind: ValueKind,
    /// The value that the running server should show.
    pub value: String,
    /// The value that the option file has; `None`: not named there.
    pub file_value: Option<String>,
    /// Whether this server changes it without a restart.
    pub dynamic: bool,
    /// Why.
    pub reason: String,
    /// Where the reason comes from.
    pub source: &'static str,
    /// Who wants it.
    pub origin: Origin,
}

struct Row {
    name: &'static str,
    group: &'static str,
    value: fn(&Inputs<'_>) -> Option<String>,
    reason: fn(&Inputs<'_>) -> String,
    source: &'static str,
}

macro_rules! row {
    ($group:literal, $name:literal, $value:expr, $reason:expr, $source:expr) => {
        Row { name: $name, group: $group, value: $value, reason: $reason, source: $source }
    };
}

const CLOUDSTACK_TUNING: &str = "CloudStack administration guide, Tuning";
const CLOUDSTACK_INSTALL: &str = "CloudStack installation guide, Install the database server";
const CLOUDSTACK_CODE: &str = "CloudStack client/conf/db.properties";
const MANUAL: &str = "server reference manual";
const HARDENING: &str = "Mainstay: secure by default";

/// CloudStack's session value, without ONLY_FULL_GROUP_BY, which its queue query breaks under (error 1055).
const SQL_MODE: &str =
    "STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

fn cloud(inputs: &Inputs<'_>, cloud: Cloud, value: impl Into<String>) -> Option<String> {
    (inputs.spec.cluster.cloud == cloud).then(|| value.into())
}

fn fixed(text: &'static str) -> String {
    text.to_owned()
}

fn tls_path(inputs: &Inputs<'_>, file: &str) -> Option<String> {
    let tls = inputs.spec.tls.as_ref()?;
    Some(tls.dir.join(file).to_string_lossy().into_owned())
}

/// Groups in the order the option file has them.
const GROUPS: &[(&str, &str)] = &[
    ("identity", "Who this server is and where it listens"),
    ("memory", "Sized for this machine"),
    ("durability", "A commit that was acknowledged survives a crash"),
    ("binlog", "Binary log and GTID"),
    ("cloud", "What the control plane needs"),
    ("tls", "Encryption"),
    ("hardening", "Closed doors"),
    ("operator", "Set by the operator in [config.variables]"),
];

const ROWS: &[Row] = &[
    row!(
        "identity",
        "server_id",
        |i| Some(i.node.server_id.to_string()),
        |_| fixed("a number of its own in the cluster; replication stops on a duplicate"),
        MANUAL
    ),
    row!("identity", "port", |i| Some(i.node.port.to_string()), |_| fixed("the port the spec names"), "spec"),
    row!(
        "identity",
        "bind_address",
        |i| Some(bind_address(i)),
        |_| fixed("listens on loopback and the node's own address only"),
        HARDENING
    ),
    row!(
        "memory",
        "max_connections",
        |i| Some(i.sizing.max_connections.to_string()),
        |i| format!("{}, plus 20 % and 20 in reserve", i.demand.sentence),
        CLOUDSTACK_INSTALL
    ),
    row!(
        "memory",
        "innodb_buffer_pool_size",
        |i| Some(i.sizing.pool_bytes.to_string()),
        |i| format!(
            "{} of {}: with every connection's {} it stays within the budget",
            bytes_text(i.sizing.pool_bytes),
            bytes_text(i.sizing.memory_bytes),
            bytes_text(i.sizing.per_connection_bytes)
        ),
        CLOUDSTACK_TUNING
    ),
    row!(
        "memory",
        "innodb_buffer_pool_instances",
        |i| Some(i.sizing.pool_instances.to_string()),
        |_| fixed(
            "one a GiB, at most one a CPU and 8 in all; the pool's size is a multiple of 128 MiB times this"
        ),
        MANUAL
    ),
    row!(
        "memory",
        "innodb_redo_log_capacity",
        |i| Some(i.sizing.redo_bytes.to_string()),
        |i| format!(
            "{}: a quarter of the buffer pool, so that checkpoints do not stall writes",
            bytes_text(i.sizing.redo_bytes)
        ),
        MANUAL
    ),
    row!(
        "memory",
        "innodb_log_file_size",
        |i| Some(redo_file(i).to_string()),
        |i| format!(
            "{} of redo log: a quarter of the buffer pool, so that checkpoints do not stall writes",
            bytes_text(i.sizing.redo_bytes)
        ),
        MANUAL
    ),
    row!("memory", "sort_buffer_size", |i| Some(i.sizing.sort_bytes.to_string()), per_connection, MANUAL),
    row!("memory", "join_buffer_size", |i| Some(i.sizing.sort_bytes.to_string()), per_connection, MANUAL),
    row!("memory", "read_rnd_buffer_size", |i| Some(i.sizing.sort_bytes.to_string()), per_connection, MANUAL),
    row!("memory", "read_buffer_size", |_| Some(fixed("131072")), per_connection, MANUAL),
    row!("memory", "tmp_table_size", |i| Some(i.sizing.tmp_table_bytes.to_string()), per_connection, MANUAL),
    row!(
        "memory",
        "max_heap_table_size",
        |i| Some(i.sizing.tmp_table_bytes.to_string()),
        |_| fixed("the smaller of this and tmp_table_size holds"),
        MANUAL
    ),
    row!(
        "memory",
        "table_definition_cache",
        |_| Some(fixed("2000")),
        |_| fixed("holds the 400 to 1,500 tables of a control plane; 400 is MariaDB's default"),
        MANUAL
    ),
    row!(
        "durability",
        "innodb_flush_log_at_trx_commit",
        |_| Some(fixed("1")),
        |_| fixed("redo log is on disk before a commit is acknowledged"),
        MANUAL
    ),
    row!(
        "durability",
        "sync_binlog",
        |_| Some(fixed("1")),
        |_| fixed(
            "binlog is on disk before a commit is acknowledged; a replica never has more than a crashed primary"
        ),
        MANUAL
    ),
    row!(
        "binlog",
        "log_bin",
        |_| Some(fixed("ON")),
        |_| fixed("replication and rewinding to a moment stand on it"),
        CLOUDSTACK_INSTALL
    ),
    row!(
        "binlog",
        "binlog_format",
        |_| Some(fixed("ROW")),
        |_| fixed("READ COMMITTED and INSERT ... SELECT are not safe in any other format"),
        CLOUDSTACK_INSTALL
    ),
    row!(
        "binlog",
        "binlog_row_image",
        |_| Some(fixed("FULL")),
        |_| fixed("a mistake can be undone only with the whole row before it"),
        MANUAL
    ),
    row!(
        "binlog",
        "binlog_row_metadata",
        |_| Some(fixed("FULL")),
        |_| fixed("column names and keys are in the log, so it can be read without the schema of its time"),
        MANUAL
    ),
    row!(
        "binlog",
        "binlog_expire_logs_seconds",
        |_| Some(fixed("604800")),
        |_| fixed("seven days, so that a replica or a rewind can reach back over a weekend"),
        "Mainstay"
    ),
    row!(
        "binlog",
        "gtid_mode",
        |_| Some(fixed("ON")),
        |_| fixed("failover and rewinding name transactions, not file positions"),
        MANUAL
    ),
    row!(
        "binlog",
        "enforce_gtid_consistency",
        |_| Some(fixed("ON")),
        |_| fixed("needed by gtid_mode"),
        MANUAL
    ),
    row!(
        "binlog",
        "gtid_strict_mode",
        |_| Some(fixed("ON")),
        |_| fixed("refuses a diverging transaction on a replica where it happens"),
        MANUAL
    ),
    row!(
        "binlog",
        "log_slave_updates",
        |_| Some(fixed("ON")),
        |_| fixed("a replica can become the primary of the others"),
        MANUAL
    ),
    row!(
        "cloud",
        "sql_mode",
        |i| (i.spec.cluster.cloud != Cloud::None).then(|| fixed(SQL_MODE)),
        |_| fixed(
            "strict, without ONLY_FULL_GROUP_BY: CloudStack's queue query and disk offering view fail with it (error 1055)"
        ),
        CLOUDSTACK_CODE
    ),
    row!(
        "cloud",
        "innodb_rollback_on_timeout",
        |i| (i.spec.cluster.cloud != Cloud::None).then(|| fixed("ON")),
        |_| fixed("a lock timeout rolls back the whole transaction, not half of it"),
        CLOUDSTACK_INSTALL
    ),
    row!(
        "cloud",
        "innodb_lock_wait_timeout",
        |i| cloud(i, Cloud::Cloudstack, "600"),
        |_| fixed("deployments hold row locks for minutes"),
        CLOUDSTACK_INSTALL
    ),
    row!(
        "cloud",
        "max_allowed_packet",
        |_| Some((64_u64 << 20).to_string()),
        |_| fixed("user data and templates are rows of up to 16 MB; MariaDB's default is 16 MiB"),
        MANUAL
    ),
    row!(
        "cloud",
        "max_prepared_stmt_count",
        |i| Some(i.sizing.prepared_statements.to_string()),
        |_| fixed(
            "Connector/J caches up to 517 prepared statements a connection; at the limit every statement fails (error 1461)"
        ),
        CLOUDSTACK_CODE
    ),
    row!(
        "cloud",
        "wait_timeout",
        |_| Some(fixed("28800")),
        idle,
        "CloudStack DbUtil.getGlobalLock; oslo.db connection_recycle_time = 3600"
    ),
    row!("cloud", "interactive_timeout", |_| Some(fixed("28800")), idle, "CloudStack DbUtil.getGlobalLock"),
    row!(
        "cloud",
        "sql_require_primary_key",
        |i| cloud(i, Cloud::Cloudstack, "OFF"),
        primary_key,
        "apache/cloudstack#6763"
    ),
    row!(
        "cloud",
        "innodb_force_primary_key",
        |i| cloud(i, Cloud::Cloudstack, "OFF"),
        primary_key,
        "apache/cloudstack#6763"
    ),
    row!(
        "cloud",
        "character_set_server",
        |_| Some(fixed("utf8mb4")),
        |_| fixed("what new databases get; all of Unicode"),
        MANUAL
    ),
    row!(
        "cloud",
        "collation_server",
        |_| Some(fixed("utf8mb4_general_ci")),
        |_| fixed("known to MariaDB and MySQL alike, so that a dump of one loads into the other"),
        MANUAL
    ),
    row!(
        "cloud",
        "innodb_autoinc_lock_mode",
        |i| (i.spec.cluster.topology == Topology::Galera).then(|| fixed("2")),
        |_| fixed("Galera applies in parallel and requires it"),
        "Galera: system variables"
    ),
    row!("tls", "ssl_ca", |i| tls_path(i, "ca.pem"), |_| fixed("the cluster's own CA"), "spec"),
    row!("tls", "ssl_cert", |i| tls_path(i, "server-cert.pem"), |_| fixed("this node's certificate"), "spec"),
    row!("tls", "ssl_key", |i| tls_path(i, "server-key.pem"), |_| fixed("its key"), "spec"),
    row!(
        "tls",
        "tls_version",
        |i| i.spec.tls.as_ref().map(|_| fixed("TLSv1.2,TLSv1.3")),
        |_| fixed("older protocols are broken"),
        "RFC 8996"
    ),
    row!(
        "tls",
        "require_secure_transport",
        |i| i.spec.tls.as_ref().map(|tls| fixed(if tls.require { "ON" } else { "OFF" })),
        |i| if i.spec.tls.as_ref().is_some_and(|tls| tls.require) {
            fixed("no client talks in the clear")
        } else {
            fixed(
                "clients may still talk in the clear: set `require = true` in [tls] once all of them use TLS",
            )
        },
        "spec"
    ),
    row!(
        "hardening",
        "local_infile",
        |_| Some(fixed("OFF")),
        |_| fixed("a server that can ask a client for its files needs no such door"),
        HARDENING
    ),
];

fn per_connection(inputs: &Inputs<'_>) -> String {
    format!(
        "part of the {} that each of {} connections may take",
        bytes_text(inputs.sizing.per_connection_bytes),
        inputs.sizing.max_connections
    )
}

fn idle(_: &Inputs<'_>) -> String {
    fixed("sessions that hold a global lock sit idle for as long as it is held; shorter values drop the lock")
}

fn primary_key(_: &Inputs<'_>) -> String {
    fixed("CloudStack creates a table without a primary key on its first start (error 3750)")
}

fn bind_address(inputs: &Inputs<'_>) -> String {
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), inputs.node.address];
    let named = inputs.spec.config.bind.as_slice();
    let floats =
        inputs.spec.ha.as_ref().is_some_and(|ha| ha.address.is_some() || ha.outside_address.is_some());
    if named.is_empty() && floats {
        // Nobody can listen on an address that is elsewhere at the moment.
        return "*".to_owned();
    }
    let mut addresses: Vec<String> = Vec::new();
    for address in if named.is_empty() { &own } else { named } {
        let text = address.to_string();
        if !addresses.contains(&text) {
            addresses.push(text);
        }
    }
    if addresses.len() > 1 && !inputs.flavor.can(Capability::BindAddressList) {
        // One address or all: all, with the accounts' hosts and the firewall as the doors.
        return "*".to_owned();
    }
    addresses.join(",")
}

fn redo_file(inputs: &Inputs<'_>) -> u64 {
    // MySQL before 8.0.30 has two files of this size; MariaDB has one.
    if inputs.flavor.can(Capability::SuperReadOnly) {
        inputs.sizing.redo_bytes / 2
    } else {
        inputs.sizing.redo_bytes
    }
}

/// Every managed variable as it should be on this server, in the option file's order, with its group's title.
pub(crate) fn grouped(inputs: &Inputs<'_>) -> Vec<(&'static str, Vec<WantedSetting>)> {
    let overrides = &inputs.spec.config.variables;
    let mut groups: Vec<(&'static str, Vec<WantedSetting>)> = Vec::new();
    for (group, title) in GROUPS {
        let rows: Vec<WantedSetting> = ROWS
            .iter()
            .filter(|row| row.group == *group)
            .filter_map(|row| wanted(row, inputs, overrides))
            .collect();
        if !rows.is_empty() {
            groups.push((title, rows));
        }
    }
    let extra: Vec<WantedSetting> = overrides
        .iter()
        .filter(|(name, _)| ROWS.iter().all(|row| row.name != name.as_str()))
        .map(|(name, value)| operators(name, value, inputs.flavor))
        .collect();
    if !extra.is_empty() {
        groups.push(("Set by the operator in [config.variables]", extra));
    }
    groups
}

/// Every managed variable as it should be on this server.
#[must_use]
pub fn wanted_settings(
    spec: &Spec,
    node: &Node,
    flavor: Flavor,
    sizing: &Sizing,
    demand: &Demand,
    binlog_base: Option<&str>,
) -> Vec<WantedSetting> {
    grouped(&Inputs { spec, node, flavor, sizing, demand, binlog_base })
        .into_iter()
        .flat_map(|(_, settings)| settings)
        .collect()
}

fn wanted(row: &Row, inputs: &Inputs<'_>, overrides: &BTreeMap<String, String>) -> Option<WantedSetting> {
    let variable = flavor::variable(row.name)?;
    if !variable.exists(inputs.flavor) {
        return None;
    }
    if let Some(value) = overrides.get(row.name) {
        let mut setting = operators(row.name, value, inputs.flavor);
        setting.reason = match (row.value)(inputs) {
            Some(ours) => format!("set by the operator; Mainstay would set {ours}"),
            None => setting.reason,
        };
        return Some(setting);
    }
    let value = (row.value)(inputs)?;
    Some(WantedSetting {
        name: row.name.to_owned(),
        kind: variable.kind,
        file_value: file_value(variable, inputs, &value),
        value,
        dynamic: variable.dynamic(inputs.flavor),
        reason: (row.reason)(inputs),
        source: row.source,
        origin: Origin::Mainstay,
    })
}

fn operators(name: &str, value: &str, flavor: Flavor) -> WantedSetting {
    let known = flavor::variable(name);
    WantedSetting {
        name: name.to_owned(),
        // A variable that Mainstay does not know is compared as text or number and never set live: whether it
        // is dynamic is not known, and a restart takes every option.
        kind: known.map_or(ValueKind::Number, |variable| variable.kind),
        value: value.to_owned(),
        file_value: Some(value.to_owned()),
        dynamic: known.is_some_and(|variable| variable.dynamic(flavor)),
        reason: "set by the operator".to_owned(),
        source: "spec [config.variables]",
        origin: Origin::Operator,
    }
}

/// `log_bin` reads back as a switch and is written as a path: the one the server already has, or `binlog` in the
/// data directory. A server that already writes a binlog must not start a second one beside it.
fn file_value(variable: &Variable, inputs: &Inputs<'_>, value: &str) -> Option<String> {
    if !variable.in_file(inputs.flavor) {
        return None;
    }
    if variable.name == "log_bin" {
        let default = inputs.node.data_dir.join("binlog").to_string_lossy().into_owned();
        return Some(inputs.binlog_base.map_or(default, str::to_owned));
    }
    Some(crate::value::file_text(variable.kind, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_variable_and_its_group() {
        for row in ROWS {
            assert!(flavor::variable(row.name).is_some(), "{} is not in flavor::VARIABLES", row.name);
            assert!(GROUPS.iter().any(|(group, _)| *group == row.group), "{}", row.name);
        }
    }

    #[test]
    fn every_variable_flavor_knows_has_a_row() {
        for variable in flavor::VARIABLES {
            assert!(ROWS.iter().any(|row| row.name == variable.name), "{} has no row", variable.name);
        }
    }
}
