//! The state of a whole cluster at one moment: every node asked at once, each within a few seconds.

use std::fmt;
use std::time::Duration;

use facts::{Seen, ServerFacts};
use host::{disk, pki};
use serde::Serialize;
use server::{Connection, Limits};
use spec::{Node, Spec, Topology};

use crate::error::SetupError;
use crate::login::node_target;
use crate::observe::{Observe, observe};

/// A node that does not answer within this is shown as not answering.
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), statement: Duration::from_secs(5) };
const DAY_SECONDS: i64 = 86_400;

/// A cluster at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster: String,
    /// How its nodes relate.
    pub topology: Topology,
    /// When this was.
    pub at: jiff::Timestamp,
    /// Its nodes, in the spec's order.
    pub nodes: Vec<NodeStatus>,
    /// What is wrong with the cluster as a whole.
    pub problems: Vec<String>,
}

/// A node at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// Vendor and version.
    pub server: Seen<String>,
    /// `primary`, `replica`, `writer`-capable Galera states, or `single`.
    pub role: Seen<String>,
    /// Whether it refuses writes.
    pub read_only: Seen<bool>,
    /// Replication or Galera in a few words.
    pub replication: Seen<String>,
    /// Lag in seconds; absent on a primary.
    pub lag_seconds: Seen<u64>,
    /// Free space of the data directory in percent; only known on this host.
    pub disk_free_percent: Seen<u8>,
    /// Days until the server's certificate expires.
    pub certificate_days: Seen<i64>,
    /// How many things differ from the spec; only known on this host.
    pub differences: Seen<usize>,
}

impl ClusterStatus {
    /// Every node answers, nothing differs and nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
            && self.nodes.iter().all(|node| {
                node.server.known().is_some() && matches!(node.differences, Seen::Known(0) | Seen::Absent)
            })
    }
}

/// Looks at every node at once; at the one named `here`, which is this host's, at its files too.
pub async fn cluster_status(spec: &Spec, here: Option<&str>, at: jiff::Timestamp) -> ClusterStatus {
    let mut looks = tokio::task::JoinSet::new();
    for (order, node) in spec.nodes.iter().cloned().enumerate() {
        let spec = spec.clone();
        let local = here == Some(node.name.as_str());
        looks.spawn(async move { (order, node_status(&spec, &node, local, at).await) });
    }
    let mut nodes = Vec::new();
    while let Some(look) = looks.join_next().await {
        nodes.extend(look);
    }
    nodes.sort_by_key(|(order, _)| *order);
    let nodes: Vec<NodeStatus> = nodes.into_iter().map(|(_, node)| node).collect();
    let problems = problems(spec.cluster.topology, &nodes);
    ClusterStatus { cluster: spec.cluster.name.clone(), topology: spec.cluster.topology, at, nodes, problems }
}

fn problems(topology: Topology, nodes: &[NodeStatus]) -> Vec<String> {
    let mut problems = Vec::new();
    for node in nodes {
        match &node.server {
            Seen::Known(_) => {}
            Seen::Unknown(why) => problems.push(format!("{} does not answer: {why}", node.name)),
            Seen::Absent => problems.push(format!("{} does not run", node.name)),
        }
        if let Seen::Known(days) = node.certificate_days
            && days < 14
        {
            problems.push(format!(
                "{}'s certificate expires in {days} days: run `mainstay apply` there",
                node.name
            ));
        }
    }
    let writers = nodes.iter().filter(|node| node.read_only.known() == Some(&false)).count();
    if topology == Topology::Replication && writers > 1 {
        problems.push(format!("{writers} nodes accept writes; a replication cluster has one writer"));
    }
    if writers == 0 && nodes.iter().any(|node| node.read_only.known().is_some()) {
        problems.push("no node accepts writes".to_owned());
    }
    problems
}

async fn node_status(spec: &Spec, node: &Node, local: bool, at: jiff::Timestamp) -> NodeStatus {
    let facts = ask(spec, node, local).await;
    let mut status = NodeStatus {
        name: node.name.clone(),
        address: format!("{}:{}", node.address, node.port),
        server: Seen::Absent,
        role: Seen::Absent,
        read_only: Seen::Absent,
        replication: Seen::Absent,
        lag_seconds: Seen::Absent,
        disk_free_percent: if local { disk_free(node) } else { Seen::Absent },
        certificate_days: Seen::Absent,
        differences: if local { differences(spec, node).await } else { Seen::Absent },
    };
    match facts {
        Err(error) => status.server = Seen::Unknown(error.to_string()),
        Ok(facts) => fill(&mut status, spec, &facts, at),
    }
    if local && matches!(status.certificate_days, Seen::Unknown(_)) {
        status.certificate_days = days_on_disk(spec, at);
    }
    status
}

/// MariaDB tells its certificate's dates to TLS connections only; on this host the file tells them.
fn days_on_disk(spec: &Spec, at: jiff::Timestamp) -> Seen<i64> {
    let Some(tls) = &spec.tls else { return Seen::Absent };
    let [cert, key, ca] = ["server-cert.pem", "server-key.pem", "ca.pem"].map(|name| tls.dir.join(name));
    match pki::facts(&cert, &key, &ca) {
        Seen::Known(facts) => Seen::Known((facts.not_after_epoch_seconds - at.as_second()) / DAY_SECONDS),
        Seen::Unknown(why) => Seen::Unknown(why),
        Seen::Absent => Seen::Absent,
    }
}

async fn ask(spec: &Spec, node: &Node, here: bool) -> Result<ServerFacts, SetupError> {
    let target = node_target(spec, node, here)?;
    let mut connection = Connection::open(&target, &LIMITS).await?;
    let facts = server::collect(&mut connection).await;
    connection.close().await;
    Ok(facts?)
}

fn fill(status: &mut NodeStatus, spec: &Spec, facts: &ServerFacts, at: jiff::Timestamp) {
    status.server = Seen::Known(facts.flavor.to_string());
    status.read_only = Seen::Known(facts.read_only);
    status.certificate_days = match &facts.tls.not_after {
        Seen::Known(text) => plan::openssl_time(text)
            .map_or(Seen::Unknown(format!("unreadable date {text}")), |end| {
                Seen::Known((end - at.as_second()) / DAY_SECONDS)
            }),
        Seen::Unknown(why) => Seen::Unknown(why.clone()),
        Seen::Absent => Seen::Absent,
    };
    if let Seen::Known(galera) = &facts.galera {
        status.role = Seen::Known("galera".to_owned());
        status.replication = Seen::Known(format!(
            "{} {}, {} nodes",
            galera.cluster_status, galera.local_state, galera.cluster_size
        ));
        return;
    }
    match facts.replication.known_sources().first() {
        Some(source) => {
            status.role = Seen::Known("replica".to_owned());
            let word = |running: bool| if running { "runs" } else { "stopped" };
            let error =
                if source.last_error.is_empty() { String::new() } else { format!(", {}", source.last_error) };
            status.replication = Seen::Known(format!(
                "of {}:{}, IO {}, SQL {}{error}",
                source.host,
                source.port,
                word(source.io_running),
                word(source.sql_running)
            ));
            status.lag_seconds = source.lag_seconds.clone();
        }
        None => {
            let alone = spec.cluster.topology == Topology::Single;
            status.role = Seen::Known(if alone { "single" } else { "primary" }.to_owned());
            status.replication = Seen::Known(format!("{} replicas connected", facts.replication.replicas));
        }
    }
}

fn disk_free(node: &Node) -> Seen<u8> {
    match disk::look(&node.data_dir) {
        Ok(measure) => {
            let percent = u128::from(measure.free_bytes) * 100 / u128::from(measure.size_bytes.max(1));
            Seen::Known(u8::try_from(percent).unwrap_or(100))
        }
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

async fn differences(spec: &Spec, node: &Node) -> Seen<usize> {
    match observe(spec, node, &Observe { measure: false }).await {
        Ok(observation) => {
            let plan = plan::make(spec, node, &observation, &plan::Options::default());
            let findings =
                plan.findings.iter().filter(|finding| finding.severity != plan::Severity::Note).count();
            Seen::Known(plan.steps.len() + findings + plan.stops().count())
        }
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

impl fmt::Display for ClusterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Cluster {}, {} nodes, at {}",
            self.cluster,
            self.nodes.len(),
            self.at.strftime("%Y-%m-%d %H:%M:%S UTC")
        )?;
        writeln!(f)?;
        let header = [
            "NODE",
            "ADDRESS",
            "SERVER",
            "ROLE",
            "WRITES",
            "LAG",
            "DISK FREE",
            "CERTIFICATE",
            "DIFFERS",
            "REPLICATION",
        ];
        let rows: Vec<[String; 10]> = self.nodes.iter().map(row).collect();
        let mut widths = header.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| -> String {
            let padded: Vec<String> =
                cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        writeln!(f, "{}", line(&header.map(str::to_owned)))?;
        for row in &rows {
            writeln!(f, "{}", line(row))?;
        }
        for problem in &self.problems {
            writeln!(f, "\nproblem: {problem}")?;
        }
        Ok(())
    }
}

fn row(node: &NodeStatus) -> [String; 10] {
    [
        node.name.clone(),
        node.address.clone(),
        shown(&node.server, std::clone::Clone::clone),
        shown(&node.role, std::clone::Clone::clone),
        shown(&node.read_only, |read_only| if *read_only { "no" } else { "yes" }.to_owned()),
        shown(&node.lag_seconds, |seconds| format!("{seconds} s")),
        shown(&node.disk_free_percent, |percent| format!("{percent} %")),
        shown(&node.certificate_days, |days| format!("{days} days")),
        shown(
            &node.differences,
            |count| if *count == 0 { "no".to_owned() } else { format!("{count} things") },
        ),
        shown(&node.replication, std::clone::Clone::clone),
    ]
}

fn shown<T>(seen: &Seen<T>, text: impl Fn(&T) -> String) -> String {
    match seen {
        Seen::Known(value) => text(value),
        Seen::Unknown(_) => "?".to_owned(),
        Seen::Absent => "-".to_owned(),
    }
}
