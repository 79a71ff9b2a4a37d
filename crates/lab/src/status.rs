//! What the nodes of a cluster do now, each asked over its socket. Heals nothing.

use std::time::Duration;

use facts::{Galera, ReplicationSource, Seen};
use flavor::Flavor;
use serde::Serialize;
use server::{Connection, Limits, ProcessState, RoleFacts};

use crate::control::state_of;
use crate::error::LabError;
use crate::lab::Lab;
use crate::options::Topology;
use crate::state::NodeState;

/// A node that cannot answer at once is told from its process.
const LIMITS: Limits = Limits { connect: Duration::from_secs(2), statement: Duration::from_secs(2) };

/// A node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessStatus {
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It does not run, and removed its pid file: it was stopped, or never started.
    Stopped,
    /// It does not run, and left its pid file: it was killed or crashed.
    Dead,
}

/// What a node is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// A server on its own.
    Single,
    /// It follows no other.
    Primary,
    /// It follows another.
    Replica,
    /// A member of a Galera cluster.
    Galera,
}

/// What a node does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its process.
    pub process: ProcessStatus,
    /// Process id while it runs.
    pub pid: Option<u32>,
    /// Vendor and version, as it says.
    pub flavor: Seen<Flavor>,
    /// What it is to the others.
    pub role: Seen<NodeRole>,
    /// `read_only` is on.
    pub read_only: Seen<bool>,
    /// What it replicates from.
    pub sources: Vec<ReplicationSource>,
    /// Galera's state.
    pub galera: Seen<Galera>,
}

impl Lab {
    /// What every node of a cluster does, in their order.
    ///
    /// # Errors
    /// If there is no such cluster. A node that does not answer is no error.
    pub async fn status(&self, name: &str) -> Result<Vec<NodeStatus>, LabError> {
        let cluster = self.cluster(name)?;
        let tasks: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| tokio::spawn(node_status(node.clone(), cluster.topology)))
            .collect();
        let mut statuses = Vec::with_capacity(tasks.len());
        for task in tasks {
            statuses.push(task.await.map_err(|error| LabError::Other(error.to_string()))?);
        }
        Ok(statuses)
    }
}

async fn node_status(node: NodeState, topology: Topology) -> NodeStatus {
    let process = process_status(&node);
    let pid = node.pid.filter(|_| matches!(process, ProcessStatus::Running | ProcessStatus::Paused));
    let asked = match process {
        ProcessStatus::Running => ask(&node).await,
        ProcessStatus::Paused => Err("paused".to_owned()),
        ProcessStatus::Stopped | ProcessStatus::Dead => Err("not running".to_owned()),
    };
    match asked {
        Ok((flavor, role)) => NodeStatus {
            name: node.name,
            process,
            pid,
            flavor: Seen::Known(flavor),
            role: Seen::Known(match topology {
                Topology::Single => NodeRole::Single,
                Topology::Galera => NodeRole::Galera,
                Topology::Replication if role.replication.known_sources().is_empty() => NodeRole::Primary,
                Topology::Replication => NodeRole::Replica,
            }),
            read_only: Seen::Known(role.read_only),
            sources: role.replication.known_sources().to_vec(),
            galera: role.galera,
        },
        Err(why) => NodeStatus {
            name: node.name,
            process,
            pid,
            flavor: Seen::Unknown(why.clone()),
            role: Seen::Unknown(why.clone()),
            read_only: Seen::Unknown(why.clone()),
            sources: Vec::new(),
            galera: Seen::Unknown(why),
        },
    }
}

fn process_status(node: &NodeState) -> ProcessStatus {
    match state_of(node) {
        ProcessState::Running => ProcessStatus::Running,
        ProcessState::Paused => ProcessStatus::Paused,
        ProcessState::Gone if node.folder().join("mysqld.pid").exists() => ProcessStatus::Dead,
        ProcessState::Gone => ProcessStatus::Stopped,
    }
}

async fn ask(node: &NodeState) -> Result<(Flavor, RoleFacts), String> {
    let asking = async {
        let mut connection = Connection::open(&node.root_target(), &LIMITS).await?;
        let role = server::collect_role(&mut connection).await?;
        let flavor = connection.flavor();
        connection.close().await;
        Ok::<_, server::ServerError>((flavor, role))
    };
    asking.await.map_err(|error| error.to_string())
}
