//! Facts of a running server.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use base16ct::lower::encode_string;
use flavor::Flavor;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::Seen;

/// Everything planning and `mainstay facts` need to know of a running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Vendor and version.
    pub flavor: Flavor,
    /// `@@version`, as the server writes it.
    pub version_text: String,
    /// `@@version_comment`.
    pub version_comment: String,
    /// `@@hostname`.
    pub hostname: String,
    /// `@@port`.
    pub port: u16,
    /// `@@socket`.
    pub socket: PathBuf,
    /// `@@datadir`.
    pub data_dir: PathBuf,
    /// `@@server_id`.
    pub server_id: u64,
    /// `@@server_uuid`; absent on MariaDB.
    pub server_uuid: Seen<String>,
    /// `@@read_only` is anything but off.
    pub read_only: bool,
    /// `@@super_read_only`; absent where the flavor has none.
    pub super_read_only: Seen<bool>,
    /// TLS as the server has it.
    pub tls: ServerTls,
    /// Replication, as seen from here.
    pub replication: Replication,
    /// Galera; absent when `wsrep_on` is off or unknown to the server.
    pub galera: Seen<Galera>,
    /// Every global variable.
    pub variables: BTreeMap<String, String>,
    /// Where a variable's value comes from: a file's path, `compiled`, `command line`, `dynamic`, `persisted`.
    pub variable_origins: BTreeMap<String, String>,
    /// MySQL's `SET PERSIST` values; empty on MariaDB.
    pub persisted: BTreeMap<String, String>,
    /// Active plugins, by name.
    pub plugins: Vec<String>,
    /// Accounts, sorted by user and host; unknown when the login may not read them.
    pub accounts: Seen<Vec<AccountFacts>>,
    /// Databases except the server's own (`mysql`, `information_schema`, `performance_schema`, `sys`).
    pub databases: Vec<DatabaseFacts>,
}

/// TLS as a server has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTls {
    /// Whether the server accepts TLS connections.
    pub enabled: bool,
    /// `@@require_secure_transport`.
    pub required: bool,
    /// `Ssl_server_not_after` as the server prints it, of the certificate it has loaded.
    pub not_after: Seen<String>,
}

/// Replication, as seen from one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Connections to sources that this server is configured for; unknown when the login may not see them.
    pub sources: Seen<Vec<ReplicationSource>>,
    /// Replicas connected to this server now (binlog dump threads).
    pub replicas: u32,
    /// GTIDs executed (`gtid_executed`, or MariaDB's `gtid_current_pos`).
    pub gtid_position: String,
    /// Semi-sync is enabled here as primary, and how many ackers are connected; absent when off.
    pub semi_sync_ackers: Seen<u32>,
}

impl Replication {
    /// The connections that are known of.
    #[must_use]
    pub fn known_sources(&self) -> &[ReplicationSource] {
        self.sources.known().map_or(&[], Vec::as_slice)
    }
}

/// One replication connection of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationSource {
    /// Channel or connection name; empty for the default one.
    pub channel: String,
    /// Address of the source.
    pub host: String,
    /// Port of the source.
    pub port: u16,
    /// The IO thread runs and is connected.
    pub io_running: bool,
    /// The SQL (applier) thread runs.
    pub sql_running: bool,
    /// Lag as the server tells it, in seconds; unknown while it is not replicating.
    pub lag_seconds: Seen<u64>,
    /// Last error of either thread; empty when none.
    pub last_error: String,
}

/// Galera, as seen from one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Galera {
    /// `wsrep_cluster_name`.
    pub cluster_name: String,
    /// `wsrep_cluster_status`: `Primary`, `non-Primary`, `Disconnected`.
    pub cluster_status: String,
    /// `wsrep_cluster_size`.
    pub cluster_size: u32,
    /// `wsrep_local_state_comment`: `Synced`, `Donor/Desynced`, `Joining`, ...
    pub local_state: String,
    /// `wsrep_ready`.
    pub ready: bool,
    /// `wsrep_last_committed`.
    pub last_committed: i64,
    /// `wsrep_flow_control_paused`, in thousandths of the time.
    pub flow_control_paused_permille: u32,
}

/// One account as the server has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountFacts {
    /// User; empty for an anonymous account.
    pub user: String,
    /// Host part, as stored.
    pub host: String,
    /// Authentication plugin; the first one where MariaDB has several.
    pub plugin: String,
    /// What the server stores to check the password.
    pub auth: AuthHash,
    /// Other plugins this account may log in with (MariaDB's `OR` list).
    pub other_plugins: Vec<String>,
    /// `REQUIRE`: empty, `ANY`, `X509` or `SPECIFIED`.
    pub tls: String,
    /// The account is locked.
    pub locked: bool,
    /// It is a role, not an account.
    pub is_role: bool,
    /// Lines of `SHOW GRANTS`, without the password clause.
    pub grants: Vec<String>,
}

/// A database on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Its name.
    pub name: String,
    /// Default character set.
    pub charset: String,
    /// Default collation.
    pub collation: String,
    /// Base tables and views in it.
    pub tables: u64,
}

/// The stored form of a password. It is a secret: it prints as `***` and serialises as a digest, so that a
/// change can be seen and the value cannot.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthHash(Vec<u8>);

impl AuthHash {
    /// From the bytes of the server's `authentication_string`.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The stored bytes, for checking a password against them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AuthHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for AuthHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digest = encode_string(&Sha256::digest(&self.0));
        serializer.serialize_str(&format!("sha256:{}", digest.get(..12).unwrap_or_default()))
    }
}
