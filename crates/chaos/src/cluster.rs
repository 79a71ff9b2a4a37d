//! The kinds of cluster that faults are tried on, under one set of verbs.
//!
//! No decision is made here, and nothing is measured.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use flavor::Vendor;
use server::Signal;

use crate::galera::Galera;
use crate::group::{Group, Trees};
use crate::haproxy::{self, Checks};
use crate::hosts::{Host, Network};
use crate::mainstay::{Endpoint, Mainstay, Setup};
use crate::node::Node;
use crate::router;

/// Names of the database hosts.
const DATABASES: [&str; 3] = ["db1", "db2", "db3"];
/// Name of the client's host.
const CLIENT: &str = "client";

/// A kind of cluster and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Kind {
    /// MariaDB Galera behind HAProxy, checked every 2 s, given up after 5 failures.
    Galera,
    /// The same with checks every 500 ms, 2 failures, and sessions ended.
    GaleraTuned,
    /// MySQL Group Replication behind MySQL Router, as they come.
    Group,
    /// The same with a member removed as soon as it is suspected.
    GroupTuned,
    /// Mainstay, on MariaDB or MySQL.
    Mainstay,
}

impl Kind {
    /// The peers of Mainstay.
    pub const PEERS: [Self; 4] = [Self::Galera, Self::GaleraTuned, Self::Group, Self::GroupTuned];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Galera => "galera",
            Self::GaleraTuned => "galera-tuned",
            Self::Group => "group",
            Self::GroupTuned => "group-tuned",
            Self::Mainstay => "mainstay",
        }
    }
}

/// What a cluster is made of, beside its kind.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Everything is kept below.
    pub folder: PathBuf,
    /// Where MySQL is.
    pub trees: Trees,
    /// Mainstay's binary.
    pub mainstay: Option<PathBuf>,
    /// Whose servers, where there is a choice.
    pub vendor: Vendor,
    /// How the client reaches Mainstay's primary.
    pub endpoint: Endpoint,
}

/// A running cluster.
#[derive(Debug)]
pub enum Cluster {
    /// Galera behind HAProxy.
    Galera(Galera),
    /// Group Replication behind Router.
    Group(Group),
    /// Mainstay.
    Mainstay(Mainstay),
}

impl Cluster {
    /// The hosts that every kind needs.
    ///
    /// # Errors
    /// As [`Network::create`].
    pub async fn hosts() -> Result<Network> {
        Network::create(&[&DATABASES[..], &[CLIENT]].concat()).await
    }

    /// Sets a cluster up and waits until it is whole.
    ///
    /// # Errors
    /// If a part does not start.
    pub async fn create(kind: Kind, network: &Network, parts: &Parts) -> Result<Self> {
        let client = network.host(CLIENT)?;
        let databases: Vec<Host> = network.hosts().iter().filter(|host| *host != client).cloned().collect();
        let folder: &Path = &parts.folder;
        Ok(match kind {
            Kind::Galera => Self::Galera(Galera::create(&databases, client, folder, Checks::USUAL).await?),
            Kind::GaleraTuned => {
                Self::Galera(Galera::create(&databases, client, folder, Checks::TUNED).await?)
            }
            Kind::Group => Self::Group(Group::create(&databases, client, folder, &parts.trees, 5).await?),
            Kind::GroupTuned => {
                Self::Group(Group::create(&databases, client, folder, &parts.trees, 0).await?)
            }
            Kind::Mainstay => {
                let setup = Setup {
                    binary: parts.mainstay.clone().context("where is mainstay? (--mainstay)")?,
                    vendor: parts.vendor,
                    tree: (parts.vendor == Vendor::MySql).then(|| parts.trees.server.clone()),
                    endpoint: parts.endpoint,
                    floating: network.floating_address(),
                };
                Self::Mainstay(Mainstay::create(&databases, client, folder, setup).await?)
            }
        })
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        match self {
            Self::Galera(galera) => galera.nodes(),
            Self::Group(group) => group.nodes(),
            Self::Mainstay(mainstay) => mainstay.nodes(),
        }
    }

    /// Where the client writes to, as seen from its host.
    #[must_use]
    pub const fn endpoint(&self) -> (Ipv4Addr, u16) {
        match self {
            Self::Galera(_) => (Ipv4Addr::LOCALHOST, haproxy::PORT),
            Self::Group(_) => (Ipv4Addr::LOCALHOST, router::PORT),
            Self::Mainstay(mainstay) => mainstay.endpoint(),
        }
    }

    /// Whether it has agents and a store.
    #[must_use]
    pub const fn has_agents(&self) -> bool {
        match self {
            Self::Galera(_) | Self::Group(_) => false,
            Self::Mainstay(_) => true,
        }
    }

    /// A planned change of the writer.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub async fn switchover(&self, writer: &Node) -> Result<()> {
        match self {
            Self::Galera(galera) => galera.switchover(writer).await,
            Self::Group(group) => group.switchover(writer).await,
            Self::Mainstay(mainstay) => mainstay.switchover(writer).await,
        }
    }

    /// Starts what is down and waits until every node takes part again.
    ///
    /// # Errors
    /// If one does not.
    pub async fn make_whole(&self) -> Result<()> {
        match self {
            Self::Galera(galera) => galera.make_whole().await,
            Self::Group(group) => group.make_whole().await,
            Self::Mainstay(mainstay) => mainstay.make_whole().await,
        }
    }

    /// Sends the agent of a node a signal; nothing where there are no agents.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn signal_agent(&self, node: &Node, signal: Signal) -> Result<()> {
        match self {
            Self::Galera(_) | Self::Group(_) => Ok(()),
            Self::Mainstay(mainstay) => mainstay.signal_agent(node, signal),
        }
    }

    /// Kills the members of the store on these hosts.
    ///
    /// # Errors
    /// If there is no store.
    pub async fn kill_store(&self, hosts: &[Host]) -> Result<()> {
        match self {
            Self::Galera(_) | Self::Group(_) => bail!("this cluster has no store"),
            Self::Mainstay(mainstay) => mainstay.etcd().kill(hosts).await,
        }
    }

    /// Starts the members of the store that are down.
    ///
    /// # Errors
    /// If there is no store.
    pub fn start_store(&self) -> Result<()> {
        match self {
            Self::Galera(_) | Self::Group(_) => bail!("this cluster has no store"),
            Self::Mainstay(mainstay) => mainstay.etcd().start_all(),
        }
    }
}
