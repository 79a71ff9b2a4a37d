//! Sets a cluster up, from its options to the moment every node answers.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use host::files::Ownership;
use secrecy::SecretString;
use server::{Connection, ServerProgram};

use crate::config;
use crate::error::LabError;
use crate::folder;
use crate::galera;
use crate::lab::Lab;
use crate::options::{Topology, UpOptions};
use crate::ports::free_ports;
use crate::replication;
use crate::start::{spawn, wait_ready};
use crate::state::{ClusterState, NodeState};
use crate::template;

/// `sun_path` holds 108 bytes, the last of which is zero; servers add nothing to it.
const MAX_SOCKET_BYTES: usize = 107;
/// Another program may take a port between its choice and the server's start.
const TRIES: u32 = 3;

impl Lab {
    /// Sets a cluster up. When it fails, what was made is removed, unless the options keep it.
    ///
    /// # Errors
    /// If the options are impossible, the name is taken, the server's program is missing, or a node fails; the
    /// error then has the end of its log.
    pub async fn up(&self, options: &UpOptions) -> Result<ClusterState, LabError> {
        options.check()?;
        let program = ServerProgram::find(options.server_root.as_deref(), options.vendor).await?;
        let template = match &options.datadir {
            Some(_) => None,
            None => Some(template::datadir(&self.templates(), &program).await?),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let path = self.cluster_folder(&options.name)?;
            if !folder::create_new(&path)? {
                return Err(LabError::NameTaken { name: options.name.clone() });
            }
            let error = match self.build(options, &program, template.as_deref(), &path).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => error,
            };
            if options.keep_on_failure {
                return Err(error);
            }
            self.remove_cluster(&options.name).await?;
            if tries == TRIES || !is_port_taken(&error) {
                return Err(error);
            }
            tracing::info!(name = options.name, "a port was taken meanwhile, trying others");
        }
    }

    async fn build(
        &self,
        options: &UpOptions,
        program: &ServerProgram,
        template: Option<&Path>,
        path: &Path,
    ) -> Result<ClusterState, LabError> {
        let mut cluster = layout(options, program, path, &self.reserved_ports()?)?;
        cluster.save()?;
        for (index, node) in cluster.nodes.iter().enumerate() {
            folder::create_private(&node.conf_dir)?;
            folder::create_private(&node.folder().join("tmp"))?;
            let text = config::render(options, &cluster, index, node);
            host::files::write_atomic(&node.defaults_file, text.as_bytes(), &Ownership::mode(0o600))?;
        }
        if let Some(folder) = &cluster.socket_folder {
            folder::create_private(folder)?;
        }
        let copies = if options.topology == Topology::Galera { 1 } else { cluster.nodes.len() };
        if let Some(template) = template {
            copy_datadirs(template, cluster.nodes.iter().take(copies)).await?;
        }
        if let (Some(datadir), Some(node)) = (&options.datadir, cluster.nodes.first()) {
            std::fs::rename(datadir, &node.datadir).map_err(LabError::io("cannot move", datadir))?;
        }
        match options.topology {
            Topology::Galera => galera::found(program, &mut cluster).await?,
            Topology::Single => close(start_together(program, &mut cluster).await?).await,
            Topology::Replication if options.apart => {
                close(start_together(program, &mut cluster).await?).await;
            }
            Topology::Replication => {
                let password = host::secrets::generate()?;
                record_password(&mut cluster, &password)?;
                let mut connections = start_together(program, &mut cluster).await?;
                replication::connect(&cluster, &mut connections, &password, options.semi_sync).await?;
                close(connections).await;
            }
        }
        Ok(cluster)
    }
}

/// Starts every node and waits for all of them at once.
async fn start_together(
    program: &ServerProgram,
    cluster: &mut ClusterState,
) -> Result<Vec<Connection>, LabError> {
    let mut waiting = Vec::new();
    for node in cluster.nodes.clone() {
        let process = spawn(program, &node, &[]).await?;
        cluster.record_pid(&node.name, process.pid)?;
        waiting.push(tokio::spawn(async move { wait_ready(&node, &process).await }));
    }
    let mut connections = Vec::new();
    for task in waiting {
        let connection = task.await.map_err(|error| LabError::Other(error.to_string()))?;
        connections.push(connection?);
    }
    Ok(connections)
}

async fn close(connections: Vec<Connection>) {
    for connection in connections {
        connection.close().await;
    }
}

async fn copy_datadirs(template: &Path, nodes: impl Iterator<Item = &NodeState>) -> Result<(), LabError> {
    let copies: Vec<_> = nodes
        .map(|node| {
            let (from, to) = (template.to_owned(), node.datadir.clone());
            tokio::task::spawn_blocking(move || folder::copy_datadir(&from, &to))
        })
        .collect();
    for copy in copies {
        copy.await.map_err(|error| LabError::Other(error.to_string()))??;
    }
    Ok(())
}

fn record_password(cluster: &mut ClusterState, password: &SecretString) -> Result<(), LabError> {
    let file = cluster.folder.join("repl.password");
    host::secrets::write_new(&file, password)?;
    cluster.replication_password_file = Some(file);
    cluster.save()
}

fn layout(
    options: &UpOptions,
    program: &ServerProgram,
    path: &Path,
    reserved: &BTreeSet<u16>,
) -> Result<ClusterState, LabError> {
    let ports_each = if options.topology == Topology::Galera { 4 } else { 1 };
    let agent_ports = if options.apart { 3 } else { 0 };
    let ports = free_ports(options.nodes * ports_each + agent_ports, reserved)?;
    let (ports, agent_ports) = ports.split_at(options.nodes * ports_each);
    let names: Vec<String> = (1..=options.nodes).map(|number| format!("node{number}")).collect();
    let is_long = names.iter().any(|name| socket_in(&path.join(name)).as_os_str().len() > MAX_SOCKET_BYTES);
    let socket_folder = is_long.then(|| short_socket_folder(path));
    let nodes = (1_u8..).zip(names).zip(ports.chunks(ports_each)).map(|((number, name), ports)| {
        let folder = path.join(&name);
        let socket = match &socket_folder {
            Some(short) => short.join(format!("{name}.sock")),
            None => socket_in(&folder),
        };
        NodeState {
            host: Ipv4Addr::new(127, 0, 0, if options.apart { number } else { 1 }).to_string(),
            port: ports.first().copied().unwrap_or_default(),
            socket,
            datadir: folder.join("data"),
            pid: None,
            conf_dir: folder.join("conf.d"),
            log: folder.join("error.log"),
            defaults_file: folder.join("my.cnf"),
            root_user: "root".to_owned(),
            galera_ports: ports.get(1..4).and_then(|ports| ports.try_into().ok()),
            name,
        }
    });
    Ok(ClusterState {
        name: options.name.clone(),
        topology: options.topology,
        vendor: options.vendor,
        flavor: program.flavor(),
        server_root: options.server_root.clone(),
        folder: path.to_owned(),
        nodes: nodes.collect(),
        socket_folder,
        replication_password_file: None,
        agent_ports: agent_ports.try_into().ok(),
    })
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("mysql.sock")
}

/// A short folder for sockets that follows from the cluster's own, so that no state is needed to find it.
pub(crate) fn short_socket_folder(cluster: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    cluster.hash(&mut hasher);
    let uid = rustix::process::geteuid().as_raw();
    PathBuf::from(format!("/tmp/mainstay-lab-{uid}-{:016x}", hasher.finish()))
}

/// Servers say so in their logs only.
fn is_port_taken(error: &LabError) -> bool {
    match error {
        LabError::NodeDied { last_lines, .. } | LabError::NotReady { last_lines, .. } => {
            last_lines.contains("Address already in use")
                || last_lines.contains("Do you already have another")
        }
        LabError::BadOption { .. }
        | LabError::NameTaken { .. }
        | LabError::NoCluster { .. }
        | LabError::NoNode { .. }
        | LabError::NoRoot
        | LabError::Program(_)
        | LabError::StillRunning { .. }
        | LabError::Server { .. }
        | LabError::Io { .. }
        | LabError::File(_)
        | LabError::Secret(_)
        | LabError::BadState { .. }
        | LabError::Other(_) => false,
    }
}
