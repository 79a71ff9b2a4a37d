//! A lab cluster with agents: its nodes set up by `apply` one after the other, then left to an agent and a fencer each.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use host::command::Command;
use host::files::{self, Ownership};
use lab::{ClusterState, Lab, NodeState};
use plan::{Options, Severity};
use setup::{Observe, Progress};
use spec::Spec;

use crate::cli::CloudArg;
use crate::failure::Failure;
use crate::output;
use crate::verbs::health;
use crate::verbs::lab_spec::{own_folder, spec_file, spec_for};

/// A stopped server needs two plans; more means that something does not converge.
const ROUNDS_MAX: usize = 3;
/// The others take a copy of the first node, one after the other.
const LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);
/// Of an agent's log, when it does not come up.
const LOG_BYTES_MAX: usize = 16 << 20;

/// Sets up every node of a cluster whose nodes are apart, and starts what keeps it available. Returns when one node is
/// primary and the others are its replicas.
pub(crate) async fn set_up(lab: &Lab, cluster: &ClusterState, cloud: CloudArg) -> Result<(), Failure> {
    for node in &cluster.nodes {
        let spec = write_spec(cluster, node, cloud).await?;
        apply(&spec, node).await?;
    }
    start_agents(lab, cluster).await
}

/// Writes a node's spec and what its host gets from the first one: the certificates' authority. Secrets are in one
/// folder for all.
pub(crate) async fn write_spec(
    cluster: &ClusterState,
    node: &NodeState,
    cloud: CloudArg,
) -> Result<Spec, Failure> {
    let text = spec_for(cluster, node, cloud).await?;
    let file = spec_file(cluster, node);
    files::ensure_dir(&own_folder(cluster, node), &Ownership::mode(0o700))?;
    files::write_atomic(&file, text.as_bytes(), &Ownership::mode(0o644))?;
    let first = cluster.nodes.first().unwrap_or(node);
    if first.name != node.name {
        let (from, to) = (own_folder(cluster, first).join("tls"), own_folder(cluster, node).join("tls"));
        files::ensure_dir(&to, &Ownership::mode(0o755))?;
        for (name, mode) in [("ca.pem", 0o644), ("ca-key.pem", 0o600)] {
            let pem = secrecy::SecretString::from(files::read_text(&from.join(name), LOG_BYTES_MAX)?);
            let bytes = secrecy::ExposeSecret::expose_secret(&pem).as_bytes();
            files::write_atomic(&to.join(name), bytes, &Ownership::mode(mode))?;
        }
    }
    let (spec, _) = Spec::parse(&text, &file.to_string_lossy())
        .map_err(|errors| Failure::said(errors.to_string(), "please report this"))?;
    Ok(spec)
}

/// Makes a node as its spec says. Answers with the number of steps.
pub(crate) async fn apply(spec: &Spec, node: &NodeState) -> Result<usize, Failure> {
    let Some(wanted) = spec.node(&node.name) else {
        return Err(Failure::said(format!("the spec has no node {}", node.name), "please report this"));
    };
    let options = Options::default();
    let mut steps = 0;
    for _ in 0..ROUNDS_MAX {
        let observation = setup::observe(spec, wanted, &Observe { measure: false }).await?;
        let plan = plan::make(spec, wanted, &observation, &options);
        let block = plan.findings.iter().find(|finding| finding.severity == Severity::Blocks);
        if let Some(block) = block {
            return Err(Failure::said(&block.sentence, block.fix.clone()));
        }
        let applied = setup::apply(spec, wanted, &plan, &options, &mut Quiet).await?;
        steps += applied.steps;
        if plan.continues.is_none() {
            return Ok(steps);
        }
    }
    Err(Failure::said("plans keep following each other", "please report this"))
}

/// Stops the servers, which are the agents' from here on, and starts an agent and a fencer for each.
pub(crate) async fn start_agents(lab: &Lab, cluster: &ClusterState) -> Result<(), Failure> {
    lab.stop(&cluster.name, None).await?;
    let program = std::env::current_exe()?;
    for node in &cluster.nodes {
        for verb in ["agent", "fencer"] {
            Command::new(&program)
                .args([verb, "--node", &node.name])
                .arg(format!("--config={}", spec_file(cluster, node).display()))
                .start_detached(&log(cluster, node, verb))?;
        }
    }
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !is_whole(cluster).await {
        if tokio::time::Instant::now() >= deadline {
            return Err(Failure::said(
                format!("no primary with {} replicas came to be", cluster.nodes.len() - 1),
                cluster.nodes.first().map_or_else(String::new, |node| {
                    format!(
                        "mainstay explain --config {}; the agents' logs are {}",
                        spec_file(cluster, node).display(),
                        own_folder(cluster, node).join("agent.log").display()
                    )
                }),
            ));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn log(cluster: &ClusterState, node: &NodeState, verb: &str) -> PathBuf {
    own_folder(cluster, node).join(format!("{verb}.log"))
}

/// One primary, and every other node is its replica.
pub(crate) async fn is_whole(cluster: &ClusterState) -> bool {
    let (mut primaries, mut replicas) = (0, 0);
    for node in &cluster.nodes {
        if is(cluster, node, "/primary").await {
            primaries += 1;
        } else if is(cluster, node, "/replica").await {
            replicas += 1;
        }
    }
    primaries == 1 && primaries + replicas == cluster.nodes.len()
}

/// The node that takes writes.
pub(crate) async fn primary(cluster: &ClusterState) -> Option<&NodeState> {
    for node in &cluster.nodes {
        if is(cluster, node, "/primary").await {
            return Some(node);
        }
    }
    None
}

/// Whether a node's agent says yes, as a proxy would ask it.
pub(crate) async fn is(cluster: &ClusterState, node: &NodeState, path: &str) -> bool {
    let (Some([port, ..]), Ok(address)) = (cluster.agent_ports, node.host.parse::<IpAddr>()) else {
        return false;
    };
    let answer =
        tokio::time::timeout(health::LIMIT, health::status(SocketAddr::new(address, port), path)).await;
    matches!(answer, Ok(Ok(200)))
}

/// What is done is told by whoever asks for it.
struct Quiet;

impl Progress for Quiet {
    fn begins(&mut self, number: usize, of: usize, step: &plan::Step) {
        output::message(&format!("[{number}/{of}] {}", step.title));
    }

    fn done(&mut self, _step: &plan::Step, _took: Duration) {}
}
