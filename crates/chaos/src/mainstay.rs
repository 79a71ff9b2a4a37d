//! Mainstay itself: three servers with agents and fencers, an etcd member beside each, and the client's endpoint.
//!
//! Everything is done by the agents; here they are given a spec, started, and started again when they died, as a
//! service manager would.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use flavor::Vendor;
use host::command::Command;
use host::files::{Ownership, ensure_dir, write_atomic};
use host::pki::{CaPair, Request, Usage, create_ca, issue};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use server::{ServerProgram, Signal};

use crate::client::SCHEMA;
use crate::daemon::Daemon;
use crate::etcd::Etcd;
use crate::haproxy;
use crate::hosts::Host;
use crate::inside::http_status;
use crate::node::{Node, POLL};

/// Agents answer health checks here.
const HEALTH_PORT: u16 = 8008;

/// A cluster of empty servers is founded within this.
const FOUND_LIMIT: Duration = Duration::from_secs(90);
/// A node may have to be filled anew.
const JOIN_LIMIT: Duration = Duration::from_secs(180);
const SWITCHOVER_LIMIT: Duration = Duration::from_secs(30);

const CERTIFICATE_DAYS: u32 = 30;

/// How the client reaches the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Endpoint {
    /// HAProxy on its own host, as `mainstay render haproxy` configures it.
    Haproxy,
    /// The address that the agents move.
    Address,
}

/// What is to be set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary under test.
    pub binary: PathBuf,
    /// Whose servers.
    pub vendor: Vendor,
    /// A tree that the server is in; `None`: this machine's.
    pub tree: Option<PathBuf>,
    /// How the client reaches the primary.
    pub endpoint: Endpoint,
    /// The floating address.
    pub floating: Ipv4Addr,
}

/// A running cluster.
#[derive(Debug)]
pub struct Mainstay {
    setup: Setup,
    nodes: Vec<Node>,
    etcd: Etcd,
    agents: Vec<Daemon>,
    fencers: Vec<Daemon>,
    proxy: Option<Daemon>,
}

impl Mainstay {
    /// Sets up and waits until one node is primary and the others replicate.
    ///
    /// # Errors
    /// If a part does not start or the agents do not found a cluster.
    pub async fn create(databases: &[Host], client: &Host, folder: &Path, setup: Setup) -> Result<Self> {
        let program = ServerProgram::find(setup.tree.as_deref(), setup.vendor).await?;
        let etcd = Etcd::start(databases, folder)?;
        let ca = create_ca("chaos", CERTIFICATE_DAYS, Timestamp::now())?;
        let secrets = Secrets { replication: host::secrets::generate()?, token: host::secrets::generate()? };
        let mut nodes = Vec::new();
        for (host, id) in databases.iter().zip(1..) {
            let node = Node::create(host, id, folder, &program)?;
            write_certificate(&node, &ca)?;
            secrets.write(&node.folder.join("secrets"))?;
            node.configure(&options(&node))?;
            nodes.push(node);
        }
        fill(&nodes).await?;
        let (mut agents, mut fencers) = (Vec::new(), Vec::new());
        for node in &nodes {
            let spec = spec(&setup, node, &nodes, &etcd.endpoints());
            write_atomic(&spec_file(node), spec.as_bytes(), &Ownership::mode(0o600))?;
            agents.push(daemon(&setup.binary, "agent", node));
            fencers.push(daemon(&setup.binary, "fencer", node));
        }
        let proxy = match setup.endpoint {
            Endpoint::Haproxy => Some(render_proxy(&setup.binary, &nodes, client, folder).await?),
            Endpoint::Address => None,
        };
        let cluster = Self { setup, nodes, etcd, agents, fencers, proxy };
        cluster.start_all()?;
        let primary = cluster.wait_primary().await?;
        // A fencer that found no agent yet has ended.
        cluster.start_all()?;
        // A lone write made before the others acknowledge would wait for the next one.
        cluster.wait_whole().await?;
        primary.execute(&SCHEMA.map(str::to_owned)).await?;
        if let Some(proxy) = &cluster.proxy {
            proxy.start()?;
        }
        Ok(cluster)
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where the client writes to.
    #[must_use]
    pub const fn endpoint(&self) -> (Ipv4Addr, u16) {
        match self.setup.endpoint {
            Endpoint::Haproxy => (Ipv4Addr::LOCALHOST, haproxy::PORT),
            Endpoint::Address => (self.setup.floating, 3306),
        }
    }

    /// Asks the agents for a planned change of the primary.
    ///
    /// # Errors
    /// If they refuse.
    pub async fn switchover(&self, writer: &Node) -> Result<()> {
        let file = spec_file(writer).display().to_string();
        let words = [&self.setup.binary.display().to_string(), "switchover", "--config", &file, "--yes"];
        let command = writer.host.command(&words.map(str::to_owned))?;
        command.timeout(SWITCHOVER_LIMIT).run().await?;
        Ok(())
    }

    /// Sends the agent of a node a signal.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn signal_agent(&self, node: &Node, signal: Signal) -> Result<()> {
        let agent = self.agents.iter().find(|agent| agent.host() == &node.host).context("no such agent")?;
        agent.signal(signal)
    }

    /// The store.
    #[must_use]
    pub const fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Starts agents and fencers that are down and waits until every node takes part.
    ///
    /// # Errors
    /// If one does not.
    pub async fn make_whole(&self) -> Result<()> {
        self.start_all()?;
        self.wait_whole().await
    }

    fn start_all(&self) -> Result<()> {
        self.etcd.start_all()?;
        self.agents.iter().chain(&self.fencers).try_for_each(Daemon::start)
    }

    async fn wait_primary(&self) -> Result<&Node> {
        let deadline = Instant::now() + FOUND_LIMIT;
        loop {
            for node in &self.nodes {
                if http_status(&node.host, HEALTH_PORT, "/primary").await == Some(200) {
                    return Ok(node);
                }
            }
            ensure!(Instant::now() < deadline, "no node became primary ({})", self.logs());
            tokio::time::sleep(POLL).await;
        }
    }

    /// One primary, and a replica of every other node.
    async fn wait_whole(&self) -> Result<()> {
        let deadline = Instant::now() + JOIN_LIMIT;
        loop {
            let (mut primaries, mut replicas) = (0, 0);
            for node in &self.nodes {
                if http_status(&node.host, HEALTH_PORT, "/primary").await == Some(200) {
                    primaries += 1;
                } else if http_status(&node.host, HEALTH_PORT, "/replica").await == Some(200) {
                    replicas += 1;
                }
            }
            if primaries == 1 && replicas + 1 == self.nodes.len() {
                return Ok(());
            }
            let logs = self.logs();
            ensure!(Instant::now() < deadline, "{primaries} primaries and {replicas} replicas ({logs})");
            tokio::time::sleep(POLL).await;
        }
    }

    fn logs(&self) -> String {
        let logs: Vec<String> = self.agents.iter().map(|agent| agent.log().display().to_string()).collect();
        format!("logs: {}", logs.join(" "))
    }
}

struct Secrets {
    replication: SecretString,
    token: SecretString,
}

impl Secrets {
    fn write(&self, folder: &Path) -> Result<()> {
        ensure_dir(folder, &Ownership::mode(0o700))?;
        host::secrets::write_new(&folder.join("mainstay_repl"), &self.replication)?;
        host::secrets::write_new(&folder.join("api_token"), &self.token)?;
        Ok(())
    }
}

fn write_certificate(node: &Node, ca: &CaPair) -> Result<()> {
    let folder = node.folder.join("tls");
    ensure_dir(&folder, &Ownership::mode(0o700))?;
    let write =
        |name: &str, pem: &str| write_atomic(&folder.join(name), pem.as_bytes(), &Ownership::mode(0o600));
    write("ca.pem", &ca.cert_pem)?;
    for (role, usage) in [("server", Usage::Server), ("client", Usage::Client)] {
        let names = vec![node.host.address.to_string(), "127.0.0.1".to_owned()];
        let request = Request { common_name: node.host.name.clone(), names, usage, days: CERTIFICATE_DAYS };
        let pair = issue(&ca.cert_pem, &ca.key_pem, &request, Timestamp::now())?;
        write(&format!("{role}-cert.pem"), &pair.cert_pem)?;
        write(&format!("{role}-key.pem"), pair.key_pem.expose_secret())?;
    }
    Ok(())
}

fn options(node: &Node) -> Vec<String> {
    let tls = node.folder.join("tls");
    let mut lines = vec![
        "log-bin = binlog".to_owned(),
        "relay-log = relay".to_owned(),
        format!("ssl-ca = {}", tls.join("ca.pem").display()),
        format!("ssl-cert = {}", tls.join("server-cert.pem").display()),
        format!("ssl-key = {}", tls.join("server-key.pem").display()),
        "read-only = ON".to_owned(),
    ];
    let of_vendor = match node.program.flavor().vendor {
        Vendor::MariaDb => ["log-slave-updates = ON", "gtid-strict-mode = ON"],
        Vendor::MySql => ["gtid-mode = ON", "enforce-gtid-consistency = ON"],
    };
    lines.extend(of_vendor.map(str::to_owned));
    lines
}

/// Every node begins with the same, empty history.
async fn fill(nodes: &[Node]) -> Result<()> {
    let (first, others) = nodes.split_first().context("no database host")?;
    first.initialise().await?;
    for node in others {
        node.copy_data(first).await?;
        // A MySQL server that finds none makes itself an identity of its own.
        host::files::remove(&node.datadir().join("auto.cnf"))?;
    }
    Ok(())
}

fn spec_file(node: &Node) -> PathBuf {
    node.folder.join("mainstay.toml")
}

fn spec(setup: &Setup, node: &Node, nodes: &[Node], endpoints: &[String]) -> String {
    let server = match setup.vendor {
        Vendor::MariaDb => "mariadb",
        Vendor::MySql => "mysql",
    };
    let folder = node.folder.display();
    let command = list(&node.program.command(&node.defaults_file()));
    let endpoints = list(endpoints);
    let mut text = format!(
        "[cluster]\nname = \"chaos\"\nserver = \"{server}\"\ntopology = \"replication\"\n\
         [paths]\nstate = \"{folder}/state\"\nsecrets = \"{folder}/secrets\"\n\
         [service]\nmanager = \"process\"\ncommand = {command}\nuser = \"root\"\n\
         [tls]\ndir = \"{folder}/tls\"\n\
         [ha]\nfailovers_per_hour = 1000\n\
         [ha.store]\nkind = \"etcd\"\nendpoints = {endpoints}\n\
         [ha.api]\nhealth_port = {HEALTH_PORT}\ntoken_file = \"{folder}/secrets/api_token\"\n\
         [ha.proxy]\nlisten = \"127.0.0.1:{}\"\n",
        haproxy::PORT,
    );
    if setup.endpoint == Endpoint::Address {
        text.push_str(&format!("[ha.address]\naddress = \"{}/24\"\ninterface = \"eth0\"\n", setup.floating));
    }
    for node in nodes {
        text.push_str(&format!(
            "[[node]]\nname = \"{}\"\naddress = \"{}\"\nserver_id = {}\nsocket = \"{}\"\ndata_dir = \"{}\"\n",
            node.host.name,
            node.host.address,
            node.server_id,
            node.socket().display(),
            node.datadir().display(),
        ));
    }
    text
}

fn list(words: &[String]) -> String {
    // Paths and URLs: a JSON string of those is a TOML string too.
    let quoted: Vec<String> =
        words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", quoted.join(", "))
}

fn daemon(binary: &Path, verb: &str, node: &Node) -> Daemon {
    let file = spec_file(node).display().to_string();
    let binary = binary.display().to_string();
    let words = [binary.as_str(), verb, "--config", &file, "--node", &node.host.name].map(str::to_owned);
    Daemon::new(&node.host, words.to_vec(), &node.folder.join(format!("{verb}.log")))
}

async fn render_proxy(binary: &Path, nodes: &[Node], client: &Host, folder: &Path) -> Result<Daemon> {
    let first = nodes.first().context("no database host")?;
    let rendered =
        Command::new(binary).args(["render", "haproxy", "--config"]).arg(spec_file(first)).run().await?;
    let file = folder.join("haproxy.cfg");
    write_atomic(&file, &rendered.stdout, &Ownership::mode(0o600))?;
    let words = ["haproxy", "-db", "-f", &file.display().to_string()].map(str::to_owned);
    Ok(Daemon::new(client, words.to_vec(), &folder.join("haproxy.log")))
}
