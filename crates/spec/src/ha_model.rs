//! The checked `[ha]` section: what the agents are to keep, and by which means.
//!
//! Only types are here; what is possible is checked in `ha`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

/// `[ha]`: how the primary is kept available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ha {
    /// What a failover may lose.
    pub durability: Durability,
    /// Life of a lease that is not renewed, 1000 to 60000. Default 3000.
    pub ttl_ms: u32,
    /// Time between renewals, at most a third of `ttl_ms`. Default 500, or a sixth of a shorter `ttl_ms`.
    pub renew_ms: u32,
    /// A server that does not answer for this long is killed, 500 to 60000. Default 2000.
    pub hang_ms: u32,
    /// Automatic failovers in an hour before a person is asked, at least 1. Default 6.
    pub failovers_per_hour: u32,
    /// Transactions that an automatic failover may lose; 0 unless durability is `Available`.
    pub max_loss_transactions: u64,
    /// Whether a node that cannot rejoin otherwise is filled anew without being asked. Default true.
    pub reseed: bool,
    /// Replicas that must hold a transaction before it is acknowledged; on MariaDB always 1.
    ///
    /// With `Lossless` and several nodes, there are that many acking replicas whichever node is primary.
    pub wait_for_acks: u32,
    /// `[ha.store]`: where the lease is.
    pub store: HaStore,
    /// `[ha.api]`: where agents listen.
    pub api: HaApi,
    /// `[ha.address]` with `keeper = "agents"`: an address that the agents move with the primary.
    pub address: Option<FloatingAddress>,
    /// `[ha.address]` with another keeper: agents leave it alone.
    pub outside_address: Option<OutsideAddress>,
    /// `[ha.watchdog]`: its device; `None` when there is no such section.
    pub watchdog: Option<PathBuf>,
    /// `[ha.hooks]`: programs run on changes.
    pub hooks: Hooks,
    /// `[[ha.witness]]`: hosts without a database; names and addresses are no node's.
    pub witnesses: Vec<Witness>,
    /// `[ha.proxy]`: for rendered proxy configuration.
    pub proxy: Proxy,
}

/// What a failover may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing that was acknowledged: writes wait where that could not be kept.
    Lossless,
    /// At most `max_loss_transactions`: writes go on without replicas.
    Available,
}

/// `[ha.store]`: where the lease and the members' reports are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum HaStore {
    /// An etcd cluster.
    Etcd {
        /// `http://HOST:PORT` or `https://HOST:PORT` without a path, at least one, each once.
        endpoints: Vec<String>,
        /// User; `Some` exactly when there is a password file.
        user: Option<String>,
        /// File with the user's password.
        password_file: Option<PathBuf>,
        /// CA of the servers' certificates; `None`: the system's roots.
        ca: Option<PathBuf>,
        /// Certificate shown to the servers; `Some` exactly when there is a key.
        cert: Option<PathBuf>,
        /// The certificate's key.
        key: Option<PathBuf>,
        /// What every key begins with; begins and ends with `/`. Default `/mainstay/CLUSTER/`.
        prefix: String,
    },
    /// A file that all agents share: one host only.
    File {
        /// The file. Default `store` in the state folder.
        path: PathBuf,
    },
}

/// `[ha.api]`: where agents listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HaApi {
    /// Plain HTTP, status only, for proxies. Default 8008.
    pub health_port: u16,
    /// HAProxy's `agent-check` over TCP; `None`: nobody listens.
    pub agent_check_port: Option<u16>,
    /// HTTPS with a token. Default 8009.
    pub api_port: u16,
    /// File with the token; one in all agents. Default `api_token` in the secrets folder.
    pub token_file: PathBuf,
    /// Addresses to listen on; empty: loopback and the node's own address.
    pub bind: Vec<IpAddr>,
}

/// `[ha.address]`: an address that follows the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FloatingAddress {
    /// The address with its network's length: host bits are set.
    pub network: IpNet,
    /// Interface it is put on, the same on every node.
    pub interface: String,
}

/// `[ha.address]` with another keeper than the agents: it follows the primary by asking them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutsideAddress {
    /// Which program moves it.
    pub keeper: OutsideKeeper,
    /// The address.
    pub address: FloatingAddress,
}

/// A program of others that can move an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutsideKeeper {
    /// keepalived: VRRP.
    Keepalived,
    /// Pacemaker: its `IPaddr2` resource.
    Pacemaker,
}

/// `[ha.hooks]`: programs with their arguments; empty where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hooks {
    /// Run when this node has become primary. The program's path is absolute.
    pub promoted: Vec<String>,
    /// Run when this node is primary no more.
    pub demoted: Vec<String>,
    /// Run when this node's server was killed.
    pub fenced: Vec<String>,
    /// A hook that runs longer is killed, 100 to 60000. Default 5000.
    pub timeout_ms: u32,
}

/// `[[ha.witness]]`: a host without a database that holds a member record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// Unique among witnesses and nodes.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// `[ha.proxy]`: where a proxy listens for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// Clients that write. Default port 3306 on all addresses.
    pub listen: Listen,
    /// Clients that only read; `None`: there is no such door.
    pub read_listen: Option<Listen>,
}

/// An address and a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; `None`: all of the host's.
    pub address: Option<IpAddr>,
    /// TCP port, not 0.
    pub port: u16,
}

/// As it is written in a spec: `:3306`, `10.0.0.100:3306`, `[2001:db8::1]:3306`.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => SocketAddr::new(address, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
