//! A peer: MySQL Group Replication of three, one primary, behind MySQL Router.
//!
//! It decides nothing: the group and Router do. Here they are set up, and a member that left is brought back.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flavor::Vendor;
use host::process::ProcessId;
use server::ServerProgram;

use crate::client::SCHEMA;
use crate::hosts::Host;
use crate::node::{Node, POLL};
use crate::router::{Member, RouterProgram, metadata};

const GROUP_NAME: &str = "5d1f6b0a-8c3e-4c52-9a52-6f0d3c1b7e10";

/// A member that was expelled tries to come back by itself first.
const OWN_RETURN_LIMIT: Duration = Duration::from_secs(20);
const JOIN_LIMIT: Duration = Duration::from_secs(180);

/// Where the trees with MySQL and MySQL Router are.
#[derive(Clone, Debug)]
pub struct Trees {
    /// As `scripts/mysql-root.sh` makes it.
    pub server: PathBuf,
    /// As `scripts/mysql-router.sh` makes it.
    pub router: PathBuf,
}

/// A group with its Router.
#[derive(Debug)]
pub struct Group {
    nodes: Vec<Node>,
    router: ProcessId,
}

impl Group {
    /// Founds the group, with removal after `expel_seconds` of suspicion, and waits until all members are online.
    ///
    /// # Errors
    /// If a server or Router does not start.
    pub async fn create(
        databases: &[Host],
        client: &Host,
        folder: &Path,
        trees: &Trees,
        expel_seconds: u32,
    ) -> Result<Self> {
        let router = RouterProgram::find(&trees.router, &trees.server)?;
        let program = ServerProgram::find(Some(&trees.server), Vendor::MySql).await?;
        let mut nodes = Vec::new();
        for (host, id) in databases.iter().zip(1..) {
            let node = Node::create(host, id, folder, &program)?;
            node.configure(&options(databases, host, expel_seconds))?;
            nodes.push(node);
        }
        let (first, others) = nodes.split_first().context("no database host")?;
        first.initialise().await?;
        for node in others {
            node.copy_data(first).await?;
            // A server that finds none makes itself an identity of its own.
            host::files::remove(&node.datadir().join("auto.cnf"))?;
        }
        let mut members = Vec::new();
        for node in &nodes {
            node.start_and_wait(&[]).await?.close().await;
            let rows = node.ask("SELECT @@server_uuid AS uuid").await?;
            let uuid = rows.first().and_then(|row| row.text("uuid")).context("no server_uuid")?.to_owned();
            members.push(Member { uuid, address: node.host.address });
        }
        let found = [
            "SET GLOBAL group_replication_bootstrap_group = ON",
            "START GROUP_REPLICATION",
            "SET GLOBAL group_replication_bootstrap_group = OFF",
            "CREATE USER 'recovery'@'%' IDENTIFIED BY ''",
            "GRANT REPLICATION SLAVE, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO 'recovery'@'%'",
        ];
        first.execute(&found.map(str::to_owned)).await?;
        wait_primary(first).await?;
        first.execute(&SCHEMA.map(str::to_owned)).await?;
        first.execute(&metadata(GROUP_NAME, &members)).await?;
        for (node, members) in others.iter().zip(2..) {
            join(node).await?;
            wait_online(node, members, JOIN_LIMIT).await?;
        }
        let router = router.start(client, folder, first.host.address).await?;
        Ok(Self { nodes, router })
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Router's process.
    #[must_use]
    pub const fn router(&self) -> ProcessId {
        self.router
    }

    /// Makes another member the primary, by the group's own command.
    ///
    /// # Errors
    /// If the group refuses.
    pub async fn switchover(&self, writer: &Node) -> Result<()> {
        let successor = self.nodes.iter().find(|node| node.server_id != writer.server_id);
        let successor = successor.context("no other member")?;
        let rows = successor.ask("SELECT group_replication_set_as_primary(@@server_uuid)").await?;
        tracing::debug!(answer = rows.first().and_then(|row| row.text_at(0)), "switchover");
        Ok(())
    }

    /// Starts what is down, has every member join again that left, and waits until all are online.
    ///
    /// # Errors
    /// If a member does not come back.
    pub async fn make_whole(&self) -> Result<()> {
        for node in &self.nodes {
            if node.processes()?.is_empty() {
                node.start_and_wait(&[]).await?.close().await;
                join(node).await?;
            }
        }
        for node in &self.nodes {
            if wait_online(node, 2, OWN_RETURN_LIMIT).await.is_err() {
                node.execute(&["STOP GROUP_REPLICATION".to_owned()]).await?;
                join(node).await?;
            }
        }
        for node in &self.nodes {
            wait_online(node, self.nodes.len(), JOIN_LIMIT).await?;
        }
        Ok(())
    }
}

fn options(all: &[Host], host: &Host, expel_seconds: u32) -> Vec<String> {
    let address = |address: Ipv4Addr| format!("{address}:33061");
    let seeds: Vec<String> = all.iter().map(|host| address(host.address)).collect();
    vec![
        "gtid-mode = ON".to_owned(),
        "enforce-gtid-consistency = ON".to_owned(),
        "log-bin = binlog".to_owned(),
        "plugin-load-add = group_replication.so".to_owned(),
        format!("report-host = {}", host.address),
        format!("group-replication-group-name = {GROUP_NAME}"),
        "group-replication-start-on-boot = OFF".to_owned(),
        format!("group-replication-local-address = {}", address(host.address)),
        format!("group-replication-group-seeds = {}", seeds.join(",")),
        "group-replication-recovery-get-public-key = ON".to_owned(),
        format!("group-replication-member-expel-timeout = {expel_seconds}"),
    ]
}

async fn join(node: &Node) -> Result<()> {
    let statements = [
        "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'recovery' FOR CHANNEL 'group_replication_recovery'",
        "START GROUP_REPLICATION",
    ];
    node.execute(&statements.map(str::to_owned)).await
}

/// Waits until the node and at least `members` of the group, by its own view, are online.
async fn wait_online(node: &Node, members: usize, limit: Duration) -> Result<()> {
    let question = "SELECT COUNT(*) AS members, SUM(member_id = @@server_uuid) AS own \
                    FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'";
    let deadline = Instant::now() + limit;
    loop {
        let rows = node.ask(question).await.unwrap_or_default();
        let number = |name| rows.first().and_then(|row| row.parsed::<usize>(name)).unwrap_or_default();
        if number("own") == 1 && number("members") >= members {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} is not online ({})", node.host.name, node.log().display());
        tokio::time::sleep(POLL).await;
    }
}

/// The founder opens writes a moment after it is online.
async fn wait_primary(node: &Node) -> Result<()> {
    let deadline = Instant::now() + JOIN_LIMIT;
    loop {
        let rows = node.ask("SELECT @@super_read_only AS closed").await?;
        if rows.first().and_then(|row| row.text("closed")) == Some("0") {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} does not open writes", node.host.name);
        tokio::time::sleep(POLL).await;
    }
}
