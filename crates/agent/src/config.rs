//! What the agent needs of the spec: the policy, addresses, credentials, files.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ha::{Durability, Millis, NodeName, Policy, Tags};
use host::secrets;
use secrecy::SecretString;
use spec::{Ha, HaStore, Node, Spec};
use store::{EtcdIdentity, EtcdOptions, EtcdTls, EtcdUser, Store};

use crate::error::AgentError;

/// A replica that hears nothing from its source for this long connects anew, in seconds (`replica_net_timeout`).
pub(crate) const NET_TIMEOUT_SECONDS: u32 = 4;
/// How often a source shows a sign of life, in milliseconds.
pub(crate) const HEARTBEAT_MS: u32 = 1_000;

/// The agent's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The whole spec.
    pub(crate) spec: Spec,
    /// Its `[ha]`.
    pub(crate) ha: Ha,
    /// This node.
    pub(crate) me: NodeName,
    /// Its part of the spec; none on a witness.
    pub(crate) node: Option<Node>,
    /// The numbers that decisions need.
    pub(crate) policy: Policy,
    /// Every host with an agent, and its address.
    pub(crate) hosts: BTreeMap<NodeName, IpAddr>,
}

impl Config {
    /// From a spec and the name of a node or witness in it.
    ///
    /// # Errors
    /// The spec has no `[ha]`, or neither a node nor a witness of that name.
    pub fn new(spec: &Spec, name: &str) -> Result<Self, AgentError> {
        let ha = spec.ha.clone().ok_or_else(|| {
            AgentError::config("the spec has no [ha] section", "add one; docs/spec.md has an example")
        })?;
        let node = spec.nodes.iter().find(|node| node.name == name).cloned();
        let mut hosts: BTreeMap<NodeName, IpAddr> =
            spec.nodes.iter().map(|node| (NodeName::new(&node.name), node.address)).collect();
        hosts.extend(ha.witnesses.iter().map(|witness| (NodeName::new(&witness.name), witness.address)));
        let me = NodeName::new(name);
        if !hosts.contains_key(&me) {
            let names: Vec<String> = hosts.keys().map(ToString::to_string).collect();
            return Err(AgentError::config(
                format!("the spec has neither a node nor a witness {name}"),
                format!("say which this host is with --node: {}", names.join(", ")),
            ));
        }
        let policy = policy(spec, &ha);
        Ok(Self { spec: spec.clone(), ha, me, node, policy, hosts })
    }

    /// What the operator allows a node.
    pub(crate) fn tags(&self) -> Tags {
        self.node.as_ref().map_or(Tags { promotion: 0, acks: false, delay_seconds: 0 }, |node| Tags {
            promotion: node.promotion,
            acks: node.acks,
            delay_seconds: node.delay_seconds,
        })
    }

    pub(crate) const fn renew(&self) -> Millis {
        self.ha.renew_ms as Millis
    }

    /// Between two looks when nothing happens.
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_millis((self.renew() / 2).clamp(50, 250))
    }

    /// A file of this node in the state folder.
    pub(crate) fn state_file(&self, suffix: &str) -> PathBuf {
        self.spec.paths.state.join(format!("{}.{suffix}", self.me))
    }

    /// The password of these accounts.
    pub(crate) fn replication_password(&self) -> Result<SecretString, AgentError> {
        Ok(secrets::read(&self.spec.paths.secrets.join("mainstay_repl"))?)
    }

    /// The token of the API.
    pub(crate) fn token(&self) -> Result<SecretString, AgentError> {
        Ok(secrets::read(&self.ha.api.token_file)?)
    }

    /// Where another node's API is.
    pub(crate) fn api_url(&self, node: &NodeName, path: &str) -> Option<String> {
        let address = SocketAddr::new(*self.hosts.get(node)?, self.ha.api.api_port);
        let scheme = if self.spec.tls.is_some() { "https" } else { "http" };
        Some(format!("{scheme}://{address}{path}"))
    }

    /// Addresses to listen on.
    pub(crate) fn listen(&self, port: u16) -> Vec<SocketAddr> {
        let mut addresses = self.ha.api.bind.clone();
        if addresses.is_empty() {
            let own = self.hosts.get(&self.me).copied();
            addresses.extend(own);
            if own.is_none_or(|own| !own.is_loopback()) {
                addresses.push(IpAddr::from([127, 0, 0, 1]));
            }
        }
        addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
    }

    /// The store.
    ///
    /// # Errors
    /// A secret or certificate cannot be read, or an endpoint is no URL.
    pub fn store(&self) -> Result<Store, AgentError> {
        match &self.ha.store {
            HaStore::File { path } => Ok(Store::file(path)),
            HaStore::Etcd { endpoints, user, password_file, ca, cert, key, prefix } => {
                let user = match (user, password_file) {
                    (Some(name), Some(file)) => {
                        Some(EtcdUser { name: name.clone(), password: secrets::read(file)? })
                    }
                    _ => None,
                };
                let identity = match (cert, key) {
                    (Some(cert), Some(key)) => Some(EtcdIdentity {
                        certificate_pem: host::files::read_text(cert, PEM_BYTES_MAX)?,
                        key_pem: secrets::read(key)?,
                    }),
                    _ => None,
                };
                let tls = match ca {
                    Some(ca) => {
                        Some(EtcdTls { ca_pem: host::files::read_text(ca, PEM_BYTES_MAX)?, identity })
                    }
                    None => None,
                };
                let options = EtcdOptions { endpoints: endpoints.clone(), prefix: prefix.clone(), user, tls };
                Ok(Store::etcd(options)?)
            }
        }
    }
}

const PEM_BYTES_MAX: usize = 1 << 20;

fn policy(spec: &Spec, ha: &Ha) -> Policy {
    let ttl = Millis::from(ha.ttl_ms);
    Policy {
        nodes: spec.nodes.iter().map(|node| NodeName::new(&node.name)).collect(),
        durability: match ha.durability {
            spec::Durability::Lossless => Durability::Lossless,
            spec::Durability::Available => {
                Durability::Available { max_loss_transactions: ha.max_loss_transactions }
            }
        },
        ttl,
        // Two clocks that run at speeds a tenth apart are broken; quartz is within 0.01 %.
        margin: ttl / 10,
        hang: Millis::from(ha.hang_ms),
        stall: Millis::from(ha.hang_ms),
        head_start: ttl,
        patience: (ttl / 2).max(500),
        broken: 30_000,
        need: ha.wait_for_acks,
        failovers_per_hour: ha.failovers_per_hour,
        reseed: ha.reseed,
    }
}
