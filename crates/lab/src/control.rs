//! Stops, starts, kills, pauses and removes nodes of a cluster.

use std::time::Duration;

use server::{ProcessState, ServerProcess, ServerProgram, Signal};

use crate::error::LabError;
use crate::folder;
use crate::galera;
use crate::lab::Lab;
use crate::options::Topology;
use crate::start::{POLL, spawn, wait_ready};
use crate::state::{ClusterState, NodeState};

/// How long a graceful stop may take.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long a killed process may take to vanish; one that waits for a disk does so unseen.
const KILL_LIMIT: Duration = Duration::from_secs(20);

impl Lab {
    /// Starts a node, or all; those that run are left alone. Galera nodes that are all down found their cluster
    /// anew from the one that was last.
    ///
    /// # Errors
    /// If one does not get ready.
    pub async fn start(&self, name: &str, node: Option<&str>) -> Result<(), LabError> {
        let mut cluster = self.cluster(name)?;
        let program = ServerProgram::find(cluster.server_root.as_deref(), cluster.vendor).await?;
        let is_up = |node: &NodeState| state_of(node) != ProcessState::Gone;
        let wanted: Vec<NodeState> =
            selected(&cluster, node)?.into_iter().filter(|node| !is_up(node)).cloned().collect();
        if cluster.topology == Topology::Galera && !cluster.nodes.iter().any(is_up) {
            return galera::restart(&program, &mut cluster, &wanted).await;
        }
        for node in wanted {
            let process = spawn(&program, &node, &[]).await?;
            cluster.record_pid(&node.name, process.pid)?;
            let mut connection = wait_ready(&node, &process).await?;
            if cluster.topology == Topology::Galera {
                galera::wait_synced(&node, &mut connection).await?;
            }
            connection.close().await;
        }
        Ok(())
    }

    /// Stops a node, or all, as a server is stopped. Replicas go first, a paused one is resumed for it.
    ///
    /// # Errors
    /// If one is still running after a minute.
    pub async fn stop(&self, name: &str, node: Option<&str>) -> Result<(), LabError> {
        let cluster = self.cluster(name)?;
        for node in selected(&cluster, node)?.into_iter().rev() {
            if signal(node, Signal::TERM)? {
                signal(node, Signal::CONT)?;
            }
            wait_gone(node, STOP_LIMIT).await?;
        }
        Ok(())
    }

    /// Kills a node, or all, as a crash would.
    ///
    /// # Errors
    /// If one is still running after 20 seconds.
    pub async fn kill(&self, name: &str, node: Option<&str>) -> Result<(), LabError> {
        let cluster = self.cluster(name)?;
        let nodes = selected(&cluster, node)?;
        for node in &nodes {
            signal(node, Signal::KILL)?;
        }
        for node in nodes {
            wait_gone(node, KILL_LIMIT).await?;
        }
        Ok(())
    }

    /// Freezes a node, or all, as a stalled host would.
    ///
    /// # Errors
    /// If the kernel refuses, or a thread cannot be frozen within 20 seconds.
    pub async fn pause(&self, name: &str, node: Option<&str>) -> Result<(), LabError> {
        self.freeze(name, node, Signal::STOP, ProcessState::Paused).await
    }

    /// Lets a frozen node, or all, go on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn resume(&self, name: &str, node: Option<&str>) -> Result<(), LabError> {
        self.freeze(name, node, Signal::CONT, ProcessState::Running).await
    }

    async fn freeze(
        &self,
        name: &str,
        node: Option<&str>,
        which: Signal,
        wanted: ProcessState,
    ) -> Result<(), LabError> {
        let cluster = self.cluster(name)?;
        for node in selected(&cluster, node)? {
            if !signal(node, which)? {
                continue;
            }
            // The kernel stops one thread after the other.
            let waiting = async {
                while ![wanted, ProcessState::Gone].contains(&state_of(node)) {
                    tokio::time::sleep(POLL).await;
                }
            };
            if tokio::time::timeout(KILL_LIMIT, waiting).await.is_err() {
                return Err(LabError::Other(format!("{} does not take the signal", node.name)));
            }
        }
        Ok(())
    }

    /// The command line of a client on a node, as root.
    ///
    /// # Errors
    /// If there is no such node or no client.
    pub async fn shell(&self, name: &str, node: &str) -> Result<Vec<String>, LabError> {
        let cluster = self.cluster(name)?;
        let node = cluster.node(node)?;
        let program = ServerProgram::find(cluster.server_root.as_deref(), cluster.vendor).await?;
        let mut argv = program
            .client_command()
            .ok_or_else(|| LabError::Other("no client program (mariadb or mysql) found".to_owned()))?;
        // First: the user's own option files are for other servers.
        argv.push("--no-defaults".to_owned());
        argv.push(format!("--socket={}", node.socket.display()));
        argv.push(format!("--user={}", node.root_user));
        Ok(argv)
    }

    /// Kills every process of a cluster and removes all its files, also after a crash that left no state.
    ///
    /// # Errors
    /// If there is no such cluster, a process survives, or a file cannot be removed.
    pub async fn down(&self, name: &str) -> Result<(), LabError> {
        let path = self.cluster_folder(name)?;
        let strays = find_processes(&path)?;
        if strays.is_empty() && !path.exists() {
            return Err(LabError::NoCluster { name: name.to_owned() });
        }
        self.remove_cluster(name).await
    }

    pub(crate) async fn remove_cluster(&self, name: &str) -> Result<(), LabError> {
        let path = self.cluster_folder(name)?;
        // A Galera node may be starting a helper just now: look until there is nothing.
        loop {
            let processes = find_processes(&path)?;
            if processes.is_empty() {
                break;
            }
            for process in &processes {
                process.signal(Signal::KILL).map_err(LabError::io("cannot kill a process of", &path))?;
            }
            for process in processes {
                if !process.wait_gone(KILL_LIMIT).await {
                    return Err(LabError::StillRunning {
                        node: name.to_owned(),
                        pid: process.pid,
                        limit_seconds: KILL_LIMIT.as_secs(),
                    });
                }
            }
        }
        // Its path follows from the cluster's, so that it is found without a state.
        folder::remove(&crate::up::short_socket_folder(&path))?;
        folder::remove(&path)
    }
}

fn find_processes(folder: &std::path::Path) -> Result<Vec<ServerProcess>, LabError> {
    ServerProcess::find_all(folder).map_err(LabError::io("cannot look for processes of", folder))
}

/// What a node's process does; `Gone` before its first start.
pub(crate) fn state_of(node: &NodeState) -> ProcessState {
    node.process().map_or(ProcessState::Gone, |process| process.state())
}

fn selected<'c>(cluster: &'c ClusterState, node: Option<&str>) -> Result<Vec<&'c NodeState>, LabError> {
    match node {
        Some(name) => Ok(vec![cluster.node(name)?]),
        None => Ok(cluster.nodes.iter().collect()),
    }
}

fn signal(node: &NodeState, which: Signal) -> Result<bool, LabError> {
    let Some(process) = node.process() else { return Ok(false) };
    process.signal(which).map_err(LabError::io("cannot signal the server of", node.folder()))
}

async fn wait_gone(node: &NodeState, limit: Duration) -> Result<(), LabError> {
    let Some(process) = node.process() else { return Ok(()) };
    if process.wait_gone(limit).await {
        return Ok(());
    }
    Err(LabError::StillRunning { node: node.name.clone(), pid: process.pid, limit_seconds: limit.as_secs() })
}
