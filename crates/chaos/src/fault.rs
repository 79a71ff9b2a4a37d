//! The faults, and how each is brought on and taken back. Always against the node that takes the writes.
//!
//! How long a fault lasts and what it did to the client is `run`'s.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use rand::Rng;
use rand::seq::IndexedRandom as _;
use serde::Serialize;
use server::Signal;

use crate::cluster::Cluster;
use crate::disk;
use crate::hosts::{Direction, Host, Network};
use crate::node::Node;

/// Something that happens to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL of the writer's server.
    Kill,
    /// SIGSTOP of the writer's server until another takes writes, for a minute at most.
    Stop,
    /// The writer's host loses its network.
    Cut,
    /// The writer's host loses the other database hosts, but not the client.
    Partition,
    /// The other database hosts do not hear the writer's host any more, but it hears them.
    OneWay,
    /// A planned change of the writer.
    Switchover,
    /// SIGKILL of the writer's agent.
    AgentKill,
    /// SIGSTOP of the writer's agent and server for twenty seconds.
    AgentStop,
    /// One member of the store is killed, and started again later.
    EtcdKill,
    /// All members of the store are killed, and started again later.
    EtcdLoss,
    /// The writer's disk is full; only on small disks.
    DiskFull,
    /// SIGSTOP of the writer's server, and its agent, for one second: nothing should change.
    Pause,
}

/// What a fault should do to the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Another node may take over.
    MayMove,
    /// Writes go on where they are.
    Stays,
}

impl Fault {
    /// Those that every kind of cluster can have.
    pub const COMMON: [Self; 5] = [Self::Kill, Self::Stop, Self::Cut, Self::Partition, Self::Switchover];

    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Kill,
        Self::Stop,
        Self::Cut,
        Self::Partition,
        Self::OneWay,
        Self::Switchover,
        Self::AgentKill,
        Self::AgentStop,
        Self::EtcdKill,
        Self::EtcdLoss,
        Self::DiskFull,
        Self::Pause,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Switchover => "switchover",
            Self::AgentKill => "agent-kill",
            Self::AgentStop => "agent-stop",
            Self::EtcdKill => "etcd-kill",
            Self::EtcdLoss => "etcd-loss",
            Self::DiskFull => "disk-full",
            Self::Pause => "pause",
        }
    }

    /// Whether only a cluster with agents and a store can have it.
    #[must_use]
    pub const fn needs_agents(self) -> bool {
        match self {
            Self::AgentKill | Self::AgentStop | Self::EtcdKill | Self::EtcdLoss => true,
            Self::Kill
            | Self::Stop
            | Self::Cut
            | Self::Partition
            | Self::OneWay
            | Self::Switchover
            | Self::DiskFull
            | Self::Pause => false,
        }
    }

    /// Whether only a run on small disks can have it.
    #[must_use]
    pub fn needs_small_disks(self) -> bool {
        self == Self::DiskFull
    }

    /// What it should do to the writer.
    #[must_use]
    pub const fn effect(self) -> Effect {
        match self {
            Self::Pause | Self::EtcdKill => Effect::Stays,
            Self::Kill
            | Self::Stop
            | Self::Cut
            | Self::Partition
            | Self::OneWay
            | Self::Switchover
            | Self::AgentKill
            | Self::AgentStop
            | Self::EtcdLoss
            | Self::DiskFull => Effect::MayMove,
        }
    }

    /// How long it is watched at least before writes that go on count as "all is well": longer than any lease, so
    /// that a late consequence is not missed.
    #[must_use]
    pub const fn watched_at_least(self) -> Duration {
        match self {
            Self::Switchover => Duration::from_secs(3),
            Self::AgentStop => Duration::from_secs(20),
            Self::Kill
            | Self::Stop
            | Self::Cut
            | Self::Partition
            | Self::OneWay
            | Self::AgentKill
            | Self::EtcdKill
            | Self::EtcdLoss
            | Self::DiskFull
            | Self::Pause => Duration::from_secs(7),
        }
    }

    /// Brings it on.
    ///
    /// # Errors
    /// If it cannot be done; that the cluster suffers is no error.
    pub async fn inject(self, cluster: &Cluster, network: &Network, writer: &Node) -> Result<()> {
        let others = other_hosts(cluster, writer);
        let own = std::slice::from_ref(&writer.host);
        match self {
            Self::Kill => writer.signal(Signal::KILL),
            Self::Stop => writer.signal(Signal::STOP),
            Self::Cut => network.cut(&writer.host).await,
            Self::Partition => network.partition(own, &others, Direction::Both).await,
            Self::OneWay => network.partition(own, &others, Direction::OneWay).await,
            Self::Switchover => cluster.switchover(writer).await,
            Self::AgentKill => cluster.signal_agent(writer, Signal::KILL),
            Self::AgentStop => {
                cluster.signal_agent(writer, Signal::STOP)?;
                writer.signal(Signal::STOP)
            }
            Self::EtcdKill => cluster.kill_store(own).await,
            Self::EtcdLoss => cluster.kill_store(&[own, &others[..]].concat()).await,
            Self::DiskFull => {
                let folder = writer.folder.clone();
                tokio::task::spawn_blocking(move || disk::fill(&folder)).await?
            }
            Self::Pause => {
                cluster.signal_agent(writer, Signal::STOP)?;
                writer.signal(Signal::STOP)?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                writer.signal(Signal::CONT)?;
                cluster.signal_agent(writer, Signal::CONT)
            }
        }
    }

    /// Takes it back. Nodes that died of it are started again by [`Cluster::make_whole`].
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn heal(self, cluster: &Cluster, network: &Network, writer: &Node) -> Result<()> {
        match self {
            Self::Kill | Self::Switchover | Self::AgentKill | Self::Pause => Ok(()),
            Self::Stop => writer.signal(Signal::CONT),
            Self::Cut => network.restore(&writer.host).await,
            Self::Partition | Self::OneWay => network.heal().await,
            Self::AgentStop => {
                cluster.signal_agent(writer, Signal::CONT)?;
                writer.signal(Signal::CONT)
            }
            Self::EtcdKill | Self::EtcdLoss => cluster.start_store(),
            Self::DiskFull => disk::free(&writer.folder),
        }
    }
}

/// Draws faults.
///
/// # Errors
/// If there is nothing to draw from.
pub fn draw(rng: &mut impl Rng, from: &[Fault]) -> Result<Fault> {
    from.choose(rng).copied().ok_or_else(|| anyhow::anyhow!("no fault to choose from"))
}

fn other_hosts(cluster: &Cluster, writer: &Node) -> Vec<Host> {
    let others = cluster.nodes().iter().filter(|node| node.server_id != writer.server_id);
    others.map(|node| node.host.clone()).collect()
}
