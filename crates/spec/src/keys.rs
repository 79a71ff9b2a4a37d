//! The table of everything that may be written in `mainstay.toml`: one row a key.
//!
//! Unknown keys are found, the template is filled and the reference is generated from it. What a value may be is
//! checked in `check`.

use crate::keys_backup::{BACKUP_KEYS, BACKUP_SECTIONS};
use crate::keys_ha::{HA_KEYS, HA_SECTIONS};
use crate::keys_kill::{KILL_KEYS, KILL_SECTIONS};

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section it is in, such as `cluster` or `cloudstack.properties`.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What its value is, in words.
    pub kind: &'static str,
    /// Its default in words; `required` where there is none.
    pub default: &'static str,
    /// What it is for, a sentence.
    pub sentence: &'static str,
    /// An example, as written in TOML.
    pub example: &'static str,
}

pub(crate) const fn key(
    section: &'static str,
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    example: &'static str,
    sentence: &'static str,
) -> Key {
    Key { section, name, kind, default, sentence, example }
}

const BASE_SECTIONS: &[(&str, &str)] = &[
    ("cluster", "What the servers are together."),
    ("node", "One server, as `[[node]]`; repeat it for each."),
    ("paths", "Where Mainstay keeps its own things on every node."),
    ("package", "The server package."),
    ("service", "Who starts the server."),
    ("machine", "How much of the host the server may have."),
    ("config", "The one drop-in option file."),
    ("config.variables", "Server variables of your own, by name; they win over Mainstay's values."),
    ("preflight", "What the host must be able to do before anything is touched."),
    ("firewall", "An nftables table that lets only the listed networks and the nodes reach the database."),
    ("tls", "A private CA and the certificates it signs."),
    ("accounts", "How Mainstay logs in, and what becomes of accounts that are not in the spec."),
    ("cloudstack", "Apache CloudStack: needs `cloud = \"cloudstack\"`."),
    ("cloudstack.properties", "A management server on this host: its `db.properties` and keys."),
    ("openstack", "OpenStack: needs `cloud = \"openstack\"`."),
    ("openstack.service", "One service with databases of your choosing, as `[[openstack.service]]`."),
];

/// Sections with what they are for, in the order of the reference.
pub(crate) const SECTIONS: &[(&str, &str)] = &{
    const COUNT: usize =
        BASE_SECTIONS.len() + HA_SECTIONS.len() + KILL_SECTIONS.len() + BACKUP_SECTIONS.len();
    let mut all = [("", ""); COUNT];
    let (base, rest) = all.split_at_mut(BASE_SECTIONS.len());
    let (ha, rest) = rest.split_at_mut(HA_SECTIONS.len());
    let (kill, backup) = rest.split_at_mut(KILL_SECTIONS.len());
    base.copy_from_slice(BASE_SECTIONS);
    ha.copy_from_slice(HA_SECTIONS);
    kill.copy_from_slice(KILL_SECTIONS);
    backup.copy_from_slice(BACKUP_SECTIONS);
    all
};

/// Every key; those of a section are in the order of the reference.
pub const KEYS: &[Key] = &{
    const COUNT: usize = BASE_KEYS.len() + HA_KEYS.len() + KILL_KEYS.len() + BACKUP_KEYS.len();
    let mut all = [key("", "", "", "", "", ""); COUNT];
    let (base, rest) = all.split_at_mut(BASE_KEYS.len());
    let (ha, rest) = rest.split_at_mut(HA_KEYS.len());
    let (kill, backup) = rest.split_at_mut(KILL_KEYS.len());
    base.copy_from_slice(BASE_KEYS);
    ha.copy_from_slice(HA_KEYS);
    kill.copy_from_slice(KILL_KEYS);
    backup.copy_from_slice(BACKUP_KEYS);
    all
};

const BASE_KEYS: &[Key] = &[
    key(
        "cluster",
        "name",
        "letters, digits, `-`, `_`, up to 32",
        "required",
        "\"zone1\"",
        "Name of the cluster.",
    ),
    key(
        "cluster",
        "server",
        "`mariadb` or `mysql`",
        "required",
        "\"mariadb\"",
        "Which server runs on the nodes.",
    ),
    key(
        "cluster",
        "topology",
        "`single`, `replication` or `galera`",
        "`single`",
        "\"single\"",
        "How the nodes relate.",
    ),
    key(
        "cluster",
        "cloud",
        "`none`, `cloudstack` or `openstack`",
        "`none`",
        "\"cloudstack\"",
        "Whose database it is; decides the profile.",
    ),
    key(
        "node",
        "name",
        "letters, digits, `-`, `_`, up to 32",
        "required",
        "\"db1\"",
        "Name of the node; the host with this name takes itself for it.",
    ),
    key(
        "node",
        "address",
        "IP address",
        "required",
        "\"10.0.0.11\"",
        "Address that clients and other nodes use.",
    ),
    key("node", "port", "1 to 65535", "3306", "3306", "TCP port."),
    key(
        "node",
        "socket",
        "absolute path",
        "/run/mysqld/mysqld.sock",
        "\"/run/mysqld/mysqld.sock\"",
        "Unix socket.",
    ),
    key("node", "data_dir", "absolute path", "/var/lib/mysql", "\"/var/lib/mysql\"", "Data directory."),
    key(
        "node",
        "server_id",
        "1 to 4294967295",
        "from the address",
        "11",
        "Number of the server in replication, unique in the cluster.",
    ),
    key(
        "node",
        "ssh",
        "`user@host` or `user@host:port`",
        "root at the address",
        "\"root@10.0.0.11\"",
        "How `apply --all` reaches the node.",
    ),
    key(
        "paths",
        "state",
        "absolute path",
        "/var/lib/mainstay",
        "\"/var/lib/mainstay\"",
        "State and audit log.",
    ),
    key(
        "paths",
        "secrets",
        "absolute path",
        "/etc/mainstay/secrets",
        "\"/etc/mainstay/secrets\"",
        "Secrets, one file each, mode 0600.",
    ),
    key("package", "install", "boolean", "false", "true", "Whether Mainstay may install packages."),
    key(
        "package",
        "names",
        "list of package names",
        "by server and distribution",
        "[\"mariadb-server\"]",
        "Packages to have.",
    ),
    key(
        "service",
        "manager",
        "`auto`, `systemd`, `process` or `none`",
        "`auto`",
        "\"auto\"",
        "Who starts the server; `auto` is systemd where it runs, else a supervised process.",
    ),
    key("service", "unit", "text", "`mariadb` or `mysql`", "\"mariadb\"", "systemd unit."),
    key(
        "service",
        "command",
        "list of words",
        "found on the host",
        "[\"/usr/sbin/mariadbd\"]",
        "Program and arguments, for `process`.",
    ),
    key(
        "service",
        "supervise",
        "boolean",
        "true",
        "true",
        "Start the process again when it dies, for `process`.",
    ),
    key("service", "user", "text", "mysql", "\"mysql\"", "OS user the server runs as."),
    key(
        "service",
        "restart",
        "`never` or `when-needed`",
        "`never`",
        "\"when-needed\"",
        "Whether apply may restart a running server.",
    ),
    key(
        "machine",
        "share",
        "`dedicated` or `shared`",
        "`dedicated`",
        "\"dedicated\"",
        "Whether the host is the database's alone.",
    ),
    key("machine", "memory", "size", "the host's RAM", "\"64G\"", "Memory to size for."),
    key("machine", "cpus", "1 to 4096", "the host's", "16", "CPUs to size for."),
    key(
        "config",
        "file",
        "absolute path",
        "the distribution's drop-in folder",
        "\"/etc/mysql/mariadb.conf.d/zz-mainstay.cnf\"",
        "The drop-in.",
    ),
    key(
        "config",
        "bind",
        "list of IP addresses",
        "127.0.0.1 and the node's address",
        "[\"127.0.0.1\"]",
        "Addresses to listen on.",
    ),
    key(
        "preflight",
        "measure_disk",
        "boolean",
        "true",
        "true",
        "Measure the data directory's disk with a temporary file.",
    ),
    key("preflight", "iops_min", "number", "5000", "5000", "Synchronous writes a second that are wanted."),
    key(
        "preflight",
        "round_trip_max_us",
        "microseconds",
        "1000",
        "1000",
        "Longest round trip to a peer that is wanted.",
    ),
    key(
        "preflight",
        "disk_free_min",
        "size",
        "20G",
        "\"20G\"",
        "Free disk that is wanted; a tenth of it is needed.",
    ),
    key(
        "preflight",
        "peers",
        "list of `host` or `host:port`",
        "none",
        "[\"10.0.1.5:22\"]",
        "Management servers, to measure the round trip to.",
    ),
    key("firewall", "enabled", "boolean", "false", "true", "Whether Mainstay keeps the table."),
    key(
        "firewall",
        "allow",
        "list of networks",
        "none",
        "[\"10.0.9.0/24\"]",
        "Networks let in beside the cloud's and the nodes.",
    ),
    key("tls", "enabled", "boolean", "true", "true", "Whether the server has certificates of Mainstay's."),
    key(
        "tls",
        "dir",
        "absolute path",
        "/etc/mainstay/tls",
        "\"/etc/mainstay/tls\"",
        "Folder of certificates and keys.",
    ),
    key("tls", "require", "boolean", "false", "true", "Refuse clients without TLS."),
    key(
        "tls",
        "days",
        "30 to 3650",
        "825",
        "825",
        "Life of a certificate in days; the CA's is ten times that.",
    ),
    key("tls", "renew_before_days", "1 to 1000", "30", "30", "Renew a certificate with fewer days left."),
    key(
        "accounts",
        "admin_user",
        "text",
        "root",
        "\"root\"",
        "Account that apply logs in with over the socket.",
    ),
    key(
        "accounts",
        "admin_defaults_file",
        "absolute path",
        "none",
        "\"/root/.my.cnf\"",
        "Option file with a [client] section for that login.",
    ),
    key(
        "accounts",
        "unmanaged",
        "`report` or `drop`",
        "`report`",
        "\"report\"",
        "What becomes of accounts that the spec does not name.",
    ),
    key(
        "accounts",
        "networks",
        "list of networks",
        "none",
        "[\"10.0.0.0/24\"]",
        "Where Mainstay's own accounts may come from beside the nodes.",
    ),
    key(
        "cloudstack",
        "management_servers",
        "1 to 64",
        "1",
        "2",
        "How many there are; sizes max_connections.",
    ),
    key(
        "cloudstack",
        "separate_usage_server",
        "boolean",
        "false",
        "true",
        "The usage server has a host of its own.",
    ),
    key(
        "cloudstack",
        "networks",
        "list of networks",
        "required",
        "[\"10.0.1.0/24\"]",
        "Where management servers are.",
    ),
    key("cloudstack", "user", "up to 32 characters", "cloud", "\"cloud\"", "Database account."),
    key(
        "cloudstack",
        "password_file",
        "absolute path",
        "the user's name in the secrets folder",
        "\"/etc/mainstay/secrets/cloud\"",
        "Its password; generated when the file is not there.",
    ),
    key(
        "cloudstack",
        "schema_dir",
        "absolute path",
        "none: empty databases only",
        "\"/usr/share/cloudstack-management/setup\"",
        "Setup scripts of an installed or unpacked management server.",
    ),
    key(
        "cloudstack.properties",
        "file",
        "absolute path",
        "/etc/cloudstack/management/db.properties",
        "\"/etc/cloudstack/management/db.properties\"",
        "The file to rewrite.",
    ),
    key(
        "cloudstack.properties",
        "key_file",
        "absolute path",
        "`key` beside the file",
        "\"/etc/cloudstack/management/key\"",
        "Where the management server reads its key.",
    ),
    key(
        "cloudstack.properties",
        "encryption_type",
        "`file`, `env` or `web`",
        "`file`",
        "\"file\"",
        "Where the management server takes its key from.",
    ),
    key(
        "cloudstack.properties",
        "encryptor",
        "`V1` or `V2`",
        "`V2`",
        "\"V2\"",
        "How values are encrypted; V1 only for versions before 4.18.",
    ),
    key(
        "cloudstack.properties",
        "management_key_file",
        "absolute path",
        "`cloudstack-management-key` in the secrets folder",
        "\"/etc/mainstay/secrets/cloudstack-management-key\"",
        "Key for values in db.properties; generated when absent.",
    ),
    key(
        "cloudstack.properties",
        "database_key_file",
        "absolute path",
        "`cloudstack-database-key` in the secrets folder",
        "\"/etc/mainstay/secrets/cloudstack-database-key\"",
        "Key for values in the database; generated when absent.",
    ),
    key(
        "cloudstack.properties",
        "management_ip",
        "IP address",
        "the first node's address",
        "\"10.0.1.5\"",
        "cluster.node.IP of this management server.",
    ),
    key("cloudstack.properties", "region_id", "1 to 255", "1", "1", "region.id."),
    key(
        "cloudstack.properties",
        "db_host",
        "name or address",
        "the node's address",
        "\"10.0.0.100\"",
        "Host the management server connects to.",
    ),
    key("cloudstack.properties", "group", "text", "cloud", "\"cloud\"", "Group that may read the key file."),
    key(
        "openstack",
        "services",
        "list of service names",
        "keystone, glance, placement, nova, neutron, cinder",
        "[\"keystone\", \"nova\"]",
        "Services; each gets an account and its databases.",
    ),
    key(
        "openstack",
        "networks",
        "list of networks",
        "required",
        "[\"10.0.2.0/24\"]",
        "Where the services run.",
    ),
    key(
        "openstack",
        "workers",
        "1 to 2000",
        "20",
        "48",
        "API worker processes over all services and hosts; each may open 55 connections.",
    ),
    key(
        "openstack",
        "db_host",
        "name or address",
        "the first node's address",
        "\"10.0.0.100\"",
        "Host in the connection URLs.",
    ),
    key(
        "openstack.service",
        "name",
        "letters, digits, `-`, `_`, up to 32",
        "required",
        "\"heat\"",
        "Service and account name.",
    ),
    key(
        "openstack.service",
        "databases",
        "list of names",
        "as the service has them",
        "[\"heat\"]",
        "Its databases.",
    ),
    key(
        "openstack.service",
        "password_file",
        "absolute path",
        "the name in the secrets folder",
        "\"/etc/mainstay/secrets/heat\"",
        "Its password; generated when the file is not there.",
    ),
];

/// Examples for `[config.variables]`, whose names are the server's.
pub(crate) const VARIABLE_EXAMPLES: &[(&str, &str)] =
    &[("innodb_io_capacity", "2000"), ("slow_query_log", "true")];

/// A section as it is written: `[name]`, or `[[name]]` where there may be several.
pub(crate) fn title(section: &str) -> String {
    if matches!(section, "node" | "openstack.service" | "ha.witness" | "kill.rule") {
        format!("[[{section}]]")
    } else {
        format!("[{section}]")
    }
}

/// Names of the keys of a section.
pub(crate) fn names(section: &str) -> impl Iterator<Item = &'static str> + '_ {
    KEYS.iter().filter(move |key| key.section == section).map(|key| key.name)
}

/// Databases of the OpenStack services that have other ones than their own name.
pub(crate) fn databases_of(service: &str) -> Vec<String> {
    match service {
        "nova" => ["nova_api", "nova_cell0", "nova"].map(str::to_owned).to_vec(),
        other => vec![other.replace('-', "_")],
    }
}
