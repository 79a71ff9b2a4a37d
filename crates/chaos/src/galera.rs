//! A peer: MariaDB Galera of three behind HAProxy, one writer, checks as `clustercheck` makes them.
//!
//! It decides nothing: Galera and HAProxy do. Here they are set up, and a node that died is started again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flavor::Vendor;
use server::{Row, ServerProgram, Signal};

use crate::client::SCHEMA;
use crate::haproxy::{Checks, Haproxy, single_writer};
use crate::hosts::Host;
use crate::node::{Node, POLL};
use crate::responder::{PORT, Question, Responder};

const LIBRARIES: [&str; 4] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
];

/// A node may need a full copy of the others' data.
const JOIN_LIMIT: Duration = Duration::from_secs(180);
const RECOVER_LIMIT: Duration = Duration::from_secs(60);

const QUESTION: Question = Question {
    sql: "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_state', 'wsrep_cluster_status', 'wsrep_ready')",
    is_good: is_synced,
};

/// A Galera cluster with its proxy.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<Node>,
    proxy: Haproxy,
    #[expect(dead_code, reason = "held for its end")]
    responders: Vec<Responder>,
}

impl Galera {
    /// Founds the cluster and waits until all nodes are synced.
    ///
    /// # Errors
    /// If a server, a check or the proxy does not start.
    pub async fn create(databases: &[Host], client: &Host, folder: &Path, checks: Checks) -> Result<Self> {
        let program = ServerProgram::find(None, Vendor::MariaDb).await?;
        let library = LIBRARIES.iter().find(|path| Path::new(path).is_file());
        let library = library.context("the Galera library is not installed")?;
        let mut nodes = Vec::new();
        for (host, id) in databases.iter().zip(1..) {
            let node = Node::create(host, id, folder, &program)?;
            node.configure(&options(databases, host, library))?;
            nodes.push(node);
        }
        let (first, others) = nodes.split_first().context("no database host")?;
        first.initialise().await?;
        first.start_and_wait(&["--wsrep-new-cluster".to_owned()]).await?.close().await;
        wait_synced(first).await?;
        first.execute(&SCHEMA.map(str::to_owned)).await?;
        first.stop().await?;
        for node in others {
            node.copy_data(first).await?;
            set_safe_to_bootstrap(node, false)?;
        }
        first.start_and_wait(&["--wsrep-new-cluster".to_owned()]).await?.close().await;
        wait_synced(first).await?;
        for node in others {
            node.start_and_wait(&[]).await?.close().await;
            wait_synced(node).await?;
        }
        let responders = nodes.iter().map(|node| Responder::start(node, QUESTION));
        let responders = responders.collect::<Result<Vec<_>>>()?;
        let configuration = single_writer(folder, databases, PORT, checks);
        let proxy = Haproxy::start(client, folder, &configuration).await?;
        Ok(Self { nodes, proxy, responders })
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The proxy takes the writer out and ends its sessions: they reconnect to the next node.
    ///
    /// # Errors
    /// If HAProxy refuses.
    pub async fn switchover(&self, writer: &Node) -> Result<()> {
        let name = &writer.host.name;
        self.proxy.order(&format!("set server writer/{name} state maint")).await?;
        self.proxy.order(&format!("shutdown sessions server writer/{name}")).await
    }

    /// Starts what is down, waits until every node is synced and every server is back in the proxy, and sends
    /// clients to the proxy's first server again.
    ///
    /// # Errors
    /// If a node does not come back.
    pub async fn make_whole(&self) -> Result<()> {
        for node in &self.nodes {
            if node.processes()?.is_empty() {
                restart(node).await?;
            }
        }
        for node in &self.nodes {
            wait_synced(node).await?;
        }
        for node in &self.nodes {
            self.proxy.order(&format!("set server writer/{} state ready", node.host.name)).await?;
        }
        let deadline = Instant::now() + JOIN_LIMIT;
        loop {
            // `-1 4 -1`: every proxy, servers only.
            let stat = self.proxy.tell("show stat -1 4 -1").await?;
            let up = stat.lines().filter(|line| line.split(',').nth(17) == Some("UP")).count();
            if up == self.nodes.len() {
                break;
            }
            ensure!(Instant::now() < deadline, "HAProxy does not take every server back: {stat}");
            tokio::time::sleep(POLL).await;
        }
        // New sessions go to the first server already; the next fault must not befall a node that only old ones use.
        for node in self.nodes.iter().skip(1) {
            self.proxy.order(&format!("shutdown sessions server writer/{}", node.host.name)).await?;
        }
        Ok(())
    }
}

fn options(all: &[Host], host: &Host, library: &str) -> Vec<String> {
    let members: Vec<String> = all.iter().map(|host| host.address.to_string()).collect();
    let address = host.address;
    vec![
        "innodb-autoinc-lock-mode = 2".to_owned(),
        "wsrep-on = ON".to_owned(),
        format!("wsrep-provider = {library}"),
        "wsrep-cluster-name = chaos".to_owned(),
        format!("wsrep-cluster-address = gcomm://{}", members.join(",")),
        format!("wsrep-node-name = {}", host.name),
        format!("wsrep-node-address = {address}"),
        "wsrep-sst-method = mariabackup".to_owned(),
        "wsrep-sst-auth = root:".to_owned(),
    ]
}

/// As Galera's unit file does: the position that InnoDB remembers lets a node that crashed fetch only what it lacks.
async fn restart(node: &Node) -> Result<()> {
    let log = node.folder.join("recover.log");
    host::files::remove(&log)?;
    let option = format!("--log-error={}", log.display());
    let process = node.start(&["--wsrep-recover".to_owned(), option]).await?;
    if !process.wait_gone(RECOVER_LIMIT).await {
        process.signal(Signal::KILL)?;
        bail!("{} does not tell its position", node.host.name);
    }
    let text = host::files::read_text(&log, 16 * 1024 * 1024)?;
    let position = text.lines().rev().find_map(|line| line.split_once("Recovered position: "));
    let position = position.and_then(|(_, position)| position.trim().split(',').next());
    let options: Vec<String> =
        position.map(|at| format!("--wsrep-start-position={at}")).into_iter().collect();
    node.start_and_wait(&options).await?.close().await;
    Ok(())
}

async fn wait_synced(node: &Node) -> Result<()> {
    let deadline = Instant::now() + JOIN_LIMIT;
    while !node.ask(QUESTION.sql).await.is_ok_and(|rows| is_synced(&rows)) {
        let name = &node.host.name;
        ensure!(!node.processes()?.is_empty(), "{name} ended instead of joining ({})", node.log().display());
        ensure!(Instant::now() < deadline, "{name} is not synced ({})", node.log().display());
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn is_synced(rows: &[Row]) -> bool {
    let is = |name: &str, value: &str| {
        rows.iter().any(|row| {
            row.text_at(0).is_some_and(|text| text.eq_ignore_ascii_case(name))
                && row.text_at(1) == Some(value)
        })
    };
    is("wsrep_local_state", "4") && is("wsrep_cluster_status", "Primary") && is("wsrep_ready", "ON")
}

fn set_safe_to_bootstrap(node: &Node, safe: bool) -> Result<()> {
    let path = node.datadir().join("grastate.dat");
    let text = host::files::read_text(&path, 64 * 1024)?;
    let text = text.replace(
        &format!("safe_to_bootstrap: {}", u8::from(!safe)),
        &format!("safe_to_bootstrap: {}", u8::from(safe)),
    );
    host::files::write_atomic(&path, text.as_bytes(), &host::files::Ownership::mode(0o600))?;
    Ok(())
}
