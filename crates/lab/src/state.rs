//! What is recorded of a cluster, so that any later process can act on it, also after a crash.

use std::path::{Path, PathBuf};

use flavor::{Flavor, Vendor};
use serde::{Deserialize, Serialize};
use server::{ProcessState, ServerProcess, Target};

use crate::error::LabError;
use crate::options::Topology;

/// No state has a reason to be larger.
const MAX_STATE_BYTES: usize = 1024 * 1024;

/// A cluster, as recorded in its `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// How the nodes relate.
    pub topology: Topology,
    /// Whose server.
    pub vendor: Vendor,
    /// Vendor and version.
    pub flavor: Flavor,
    /// The directory tree that the server is in, if not this machine's own.
    pub server_root: Option<PathBuf>,
    /// Everything of the cluster is in here.
    pub folder: PathBuf,
    /// The sockets' own folder, where `folder` is too long for them.
    pub socket_folder: Option<PathBuf>,
    /// File with the password of the account `repl`, in a replication cluster.
    pub replication_password_file: Option<PathBuf>,
    /// Ports for agents beside the nodes (health, API) and for a proxy before them, where nodes are apart.
    #[serde(default)]
    pub agent_ports: Option<[u16; 3]>,
    /// The nodes; the first one is set up as the primary.
    pub nodes: Vec<NodeState>,
}

/// A node, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its name: `node1`, ...
    pub name: String,
    /// Address it listens on.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unix socket.
    pub socket: PathBuf,
    /// Data directory.
    pub datadir: PathBuf,
    /// Process id of the last start; none before the first one.
    pub pid: Option<u32>,
    /// Folder whose `*.cnf` files the server reads after our own configuration.
    pub conf_dir: PathBuf,
    /// Error log.
    pub log: PathBuf,
    /// The file the server is started with.
    pub defaults_file: PathBuf,
    /// Account that may do everything, over the socket, without a password.
    pub root_user: String,
    /// Ports for Galera: group, incremental transfer, full transfer.
    pub galera_ports: Option<[u16; 3]>,
}

impl ClusterState {
    /// The node of a name.
    ///
    /// # Errors
    /// If there is none.
    pub fn node(&self, name: &str) -> Result<&NodeState, LabError> {
        self.nodes.iter().find(|node| node.name == name).ok_or_else(|| LabError::NoNode {
            cluster: self.name.clone(),
            node: name.to_owned(),
            known: self.nodes.iter().map(|node| node.name.clone()).collect(),
        })
    }

    pub(crate) fn load(folder: &Path) -> Result<Self, LabError> {
        let path = state_path(folder);
        let text = host::files::read_text(&path, MAX_STATE_BYTES)?;
        serde_json::from_str(&text).map_err(|source| LabError::BadState { path, source })
    }

    pub(crate) fn save(&self) -> Result<(), LabError> {
        let path = state_path(&self.folder);
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| LabError::BadState { path: path.clone(), source })?;
        host::files::write_atomic(&path, text.as_bytes(), &host::files::Ownership::mode(0o600))?;
        Ok(())
    }

    /// Records a start, so that any later process finds it.
    pub(crate) fn record_pid(&mut self, node: &str, pid: u32) -> Result<(), LabError> {
        if let Some(node) = self.nodes.iter_mut().find(|other| other.name == node) {
            node.pid = Some(pid);
        }
        self.save()
    }
}

impl NodeState {
    /// How to log in as root.
    #[must_use]
    pub fn root_target(&self) -> Target {
        Target::socket(&self.socket, &self.root_user)
    }

    /// The folder of everything of this node.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.defaults_file.parent().unwrap_or(&self.defaults_file)
    }

    /// Its process, if it was ever started: the one on record, or else one that an agent started since. It may be
    /// gone.
    #[must_use]
    pub fn process(&self) -> Option<ServerProcess> {
        let recorded = ServerProcess { pid: self.pid?, folder: self.folder().to_owned() };
        if recorded.state() != ProcessState::Gone {
            return Some(recorded);
        }
        let others = ServerProcess::find_all(self.folder()).unwrap_or_default();
        Some(others.into_iter().next().unwrap_or(recorded))
    }
}

pub(crate) fn state_path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}
