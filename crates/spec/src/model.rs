//! The checked spec: every value is in range, every reference resolves, every default is filled in.
//!
//! Planning reads these types only; what a person may write in `mainstay.toml` is in `keys`. There are no
//! secrets here: passwords live in files, and the spec holds their paths.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use flavor::Vendor;
use ipnet::IpNet;
use serde::Serialize;

use crate::backup_rules::Backup;
use crate::ha_model::Ha;
use crate::kill_rules::Kill;

/// What is wanted of one cluster: the content of one `mainstay.toml`, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// `[cluster]`.
    pub cluster: Cluster,
    /// `[[node]]`, at least one, names and addresses unique.
    pub nodes: Vec<Node>,
    /// `[paths]`.
    pub paths: Paths,
    /// `[package]`.
    pub package: Package,
    /// `[service]`.
    pub service: Service,
    /// `[machine]`.
    pub machine: Machine,
    /// `[config]`.
    pub config: Config,
    /// `[preflight]`.
    pub preflight: Preflight,
    /// `[firewall]`, `None` when Mainstay must leave the host's firewall alone.
    pub firewall: Option<Firewall>,
    /// `[tls]`, `None` when `enabled = false`.
    pub tls: Option<Tls>,
    /// `[accounts]`.
    pub accounts: Accounts,
    /// `[cloudstack]`, `Some` exactly when `cluster.cloud` is CloudStack.
    pub cloudstack: Option<CloudStack>,
    /// `[openstack]`, `Some` exactly when `cluster.cloud` is OpenStack.
    pub openstack: Option<OpenStack>,
    /// `[ha]`, `None` when no agents are wanted.
    pub ha: Option<Ha>,
    /// `[kill]`, `None` when no sessions are to be ended by rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// `[backup]`, `None` when no place for backups is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
}

/// `[cluster]`: what the servers are together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Letters, digits, `-` and `_`, up to 32.
    pub name: String,
    /// Which vendor's server (`server = "mariadb" | "mysql"`).
    pub server: Vendor,
    /// How the nodes relate.
    pub topology: Topology,
    /// Whose database this is.
    pub cloud: Cloud,
}

/// How the nodes of a cluster relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One server.
    Single,
    /// A primary and its replicas: GTID, semi-sync.
    Replication,
    /// Galera, one writer. MariaDB only.
    Galera,
}

/// Whose database the cluster holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// No cloud profile.
    None,
    /// Apache CloudStack.
    Cloudstack,
    /// OpenStack.
    Openstack,
}

/// `[[node]]`: one server and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Unique name; the default node is the one whose name is the host's.
    pub name: String,
    /// Address clients and other nodes use.
    pub address: IpAddr,
    /// TCP port, default 3306.
    pub port: u16,
    /// Unix socket, default by vendor (`/run/mysqld/mysqld.sock`).
    pub socket: PathBuf,
    /// Data directory, default `/var/lib/mysql`.
    pub data_dir: PathBuf,
    /// Numeric and unique in the cluster; when absent it is derived from the address (`server_id` of
    /// an IPv4 address is the address as a number, so it is unique where addresses are).
    pub server_id: u32,
    /// `user@host[:port]` for `apply --all`; `None`: `root@ADDRESS`.
    pub ssh: Option<String>,
    /// Of nodes that are equally far, the highest becomes primary, up to 1000; 0 never does. Default 100, and 0
    /// for a delayed node.
    pub promotion: u32,
    /// Whether an acknowledged transaction may rest on this node. Default true, and false for a delayed node.
    pub acks: bool,
    /// How far this replica stays behind on purpose. Default 0.
    pub delay_seconds: u32,
}

/// `[paths]`: where Mainstay keeps its own things on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// State and audit log, default `/var/lib/mainstay`.
    pub state: PathBuf,
    /// Secrets, one file each, mode 0600, default `/etc/mainstay/secrets`.
    pub secrets: PathBuf,
}

/// `[package]`: the server package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Whether Mainstay may install it. Default false.
    pub install: bool,
    /// Package names to have; default by vendor and package manager when empty.
    pub names: Vec<String>,
}

/// `[service]`: who starts the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// `auto` is resolved when observing: systemd where it runs, else a supervised process.
    pub manager: ServiceManager,
    /// systemd unit, default `mariadb` or `mysql` by vendor.
    pub unit: String,
    /// For `manager = "process"`: the server's program and arguments; empty means found on the host.
    pub command: Vec<String>,
    /// For `manager = "process"`: start it again when it dies. Default true.
    pub supervise: bool,
    /// OS user the server runs as, default `mysql`.
    pub user: String,
    /// Whether apply may restart a running server: `never` (default), or `when-needed`.
    pub restart: RestartPolicy,
}

/// Who starts and stops the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceManager {
    /// systemd where it runs, else a process supervised by Mainstay.
    Auto,
    /// A systemd unit.
    Systemd,
    /// A process that Mainstay starts and supervises.
    Process,
    /// Somebody else: Mainstay neither starts nor restarts it.
    None,
}

/// Whether apply may restart a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never: what needs a restart is reported and stays pending.
    Never,
    /// Whenever a managed value can take effect no other way.
    WhenNeeded,
}

/// `[machine]`: how much of the host the server may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Dedicated to the database, or shared with a management server.
    pub share: Share,
    /// Memory to size for, in bytes, instead of the host's RAM.
    pub memory_bytes: Option<u64>,
    /// CPUs to size for, instead of the host's.
    pub cpus: Option<u32>,
}

/// Whether the host is the database's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// The host runs the database and nothing large beside it.
    Dedicated,
    /// The host also runs management or API services.
    Shared,
}

/// `[config]`: the one drop-in file, and values the operator sets against Mainstay's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The drop-in; `None`: the distribution's drop-in folder, found when observing.
    pub file: Option<PathBuf>,
    /// Addresses to listen on: `bind_address`; empty: loopback and the node's own address.
    pub bind: Vec<IpAddr>,
    /// `[config.variables]`: server variables set by the operator, by canonical name; they win over
    /// Mainstay's values. Values as text (a TOML integer or boolean is taken as its text).
    pub variables: BTreeMap<String, String>,
}

/// `[preflight]`: what the host must be able to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// Measure the data directory's disk. Default true.
    pub measure_disk: bool,
    /// Synchronous write operations a second a control plane needs. Default 5000 (CloudStack manual).
    pub iops_min: u32,
    /// Round trip to the management servers, in microseconds. Default 1000.
    pub round_trip_max_us: u32,
    /// Free disk, in bytes. Default 20 GiB.
    pub disk_free_min_bytes: u64,
    /// Host addresses (`ADDRESS[:PORT]`) whose round trip is measured: the management servers.
    pub peers: Vec<String>,
}

/// `[firewall]`: an nftables table of Mainstay's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Firewall {
    /// Networks that may reach the database's port, beside the cloud's networks and the nodes.
    pub allow: Vec<IpNet>,
}

/// `[tls]`: a private CA and the certificates it signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Folder of `ca.pem`, `server-cert.pem`, `server-key.pem`, `client-cert.pem`, `client-key.pem`,
    /// default `/etc/mainstay/tls`.
    pub dir: PathBuf,
    /// `require_secure_transport`. Default false: a cloud's existing clients must be moved first.
    pub require: bool,
    /// Life of a certificate in days, default 825; the CA's is ten times that.
    pub days: u32,
    /// A certificate with fewer days than this left is renewed. Default 30.
    pub renew_before_days: u32,
}

/// `[accounts]`: how Mainstay logs in, and what becomes of accounts that are not in the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// Account apply logs in as over the socket, default `root`.
    pub admin_user: String,
    /// A `[client]` option file for that login; `None`: the socket's own authentication.
    pub admin_defaults_file: Option<PathBuf>,
    /// What to do with accounts that the spec does not name: `report` (default) or `drop`.
    pub unmanaged: Unmanaged,
    /// Networks Mainstay's own accounts (replication, monitor) may come from, beside the nodes.
    pub networks: Vec<IpNet>,
}

/// What becomes of accounts that the spec does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unmanaged {
    /// Shown as a finding, left alone.
    Report,
    /// Dropped.
    Drop,
}

/// `[cloudstack]`: everything `cloudstack-setup-databases` would be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloudStack {
    /// Management servers, each with pools of 250 + 100 connections. At least 1.
    pub management_servers: u32,
    /// Whether the usage server runs on a host of its own (adds up to 350 connections).
    pub separate_usage_server: bool,
    /// Networks where management servers live.
    pub networks: Vec<IpNet>,
    /// Database account, default `cloud`.
    pub user: String,
    /// File with its password; created with a generated one when absent.
    pub password_file: PathBuf,
    /// The unpacked setup scripts (`setup/db`); `None`: accounts and empty databases only.
    pub schema_dir: Option<PathBuf>,
    /// `db.properties` to rewrite, when a management server is on this host.
    pub properties: Option<Properties>,
}

/// `[cloudstack.properties]`: `db.properties` and its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Properties {
    /// The file, default `/etc/cloudstack/management/db.properties`.
    pub file: PathBuf,
    /// The management server key file, default `key` beside it.
    pub key_file: PathBuf,
    /// Where the reader takes that key from.
    pub encryption_type: EncryptionType,
    /// V1 or V2.
    pub encryptor: Encryptor,
    /// File with the management key; generated when absent.
    pub management_key_file: PathBuf,
    /// File with the database key; generated when absent.
    pub database_key_file: PathBuf,
    /// `cluster.node.IP`.
    pub management_ip: IpAddr,
    /// `region.id`, default 1.
    pub region_id: u32,
    /// Host (name or address) the management server connects to: `db.cloud.host`. Default the node's address.
    pub db_host: Option<String>,
    /// Group that may read the key file, default `cloud`; kept if the group is missing.
    pub group: String,
}

/// `db.cloud.encryption.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EncryptionType {
    /// First line of the key file.
    File,
    /// `CLOUD_SECRET_KEY` in the environment.
    Env,
    /// Sent over the network at each start.
    Web,
}

/// `db.cloud.encryptor.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Encryptor {
    /// PBEWithMD5AndDES, before 4.18.
    V1,
    /// AES-256-GCM.
    V2,
}

/// `[openstack]`: services and how many workers connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenStack {
    /// Services by name, in the order written.
    pub services: Vec<OpenStackService>,
    /// Networks where the services run.
    pub networks: Vec<IpNet>,
    /// API worker processes in all, over all services and hosts; each may open 55 connections.
    pub workers: u32,
    /// Host the URLs name; `None`: the first node's address.
    pub db_host: Option<String>,
}

/// One OpenStack service: its account and its databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenStackService {
    /// Service and account name, such as `nova`.
    pub name: String,
    /// Its databases, such as `nova_api`, `nova_cell0`, `nova`.
    pub databases: Vec<String>,
    /// File with its password; created with a generated one when absent.
    pub password_file: PathBuf,
}
