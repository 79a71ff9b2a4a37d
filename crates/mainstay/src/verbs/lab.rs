//! `mainstay lab`: throwaway clusters on this machine.

use std::fmt;

use flavor::Vendor;
use host::command::Command;
use lab::{ClusterState, Lab, NodeStatus, Topology, UpOptions};
use serde::Serialize;

use crate::cli::{LabArgs, LabNodeArgs, LabShellArgs, LabSpecArgs, LabUpArgs, ServerArg, TopologyArg};
use crate::context::absolute;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::lab_agents;
use crate::verbs::lab_spec::{spec_file, spec_for};

/// How much of a log `lab logs` prints.
const LOG_LINES: usize = 40;
const LOG_BYTES_MAX: usize = 64 << 20;

pub(crate) async fn run(format: Format, args: &LabArgs) -> Verb {
    let lab = Lab::open(lab::default_root()?)?;
    match args {
        LabArgs::Up(args) => up(format, &lab, args).await,
        LabArgs::List => {
            output::result(format, &Clusters { clusters: lab.list()? });
            Ok(Outcome::Good)
        }
        LabArgs::Status(args) => {
            output::result(format, &Nodes { name: args.name.clone(), nodes: lab.status(&args.name).await? });
            Ok(Outcome::Good)
        }
        LabArgs::Stop(args) => done("stopped", args, lab.stop(&args.name, args.node.as_deref()).await),
        LabArgs::Start(args) => done("started", args, lab.start(&args.name, args.node.as_deref()).await),
        LabArgs::Kill(args) => done("killed", args, lab.kill(&args.name, args.node.as_deref()).await),
        LabArgs::Pause(args) => done("paused", args, lab.pause(&args.name, args.node.as_deref()).await),
        LabArgs::Resume(args) => done("resumed", args, lab.resume(&args.name, args.node.as_deref()).await),
        LabArgs::Logs(args) => logs(&lab, args),
        LabArgs::Shell(args) => shell(&lab, args).await,
        LabArgs::Spec(args) => print_spec(&lab, args).await,
        LabArgs::Down(args) => {
            lab.down(&args.name).await?;
            output::message(&format!("{} is gone", args.name));
            Ok(Outcome::Good)
        }
    }
}

pub(crate) const fn vendor(arg: ServerArg) -> Vendor {
    match arg {
        ServerArg::Mariadb => Vendor::MariaDb,
        ServerArg::Mysql => Vendor::MySql,
    }
}

fn done(verb: &str, args: &LabNodeArgs, result: Result<(), lab::LabError>) -> Verb {
    result?;
    output::message(&format!(
        "{} {verb}",
        args.node.as_deref().map_or_else(|| args.name.clone(), |node| format!("{}/{node}", args.name))
    ));
    Ok(Outcome::Good)
}

async fn up(format: Format, lab: &Lab, args: &LabUpArgs) -> Verb {
    let topology = match args.topology {
        TopologyArg::Single => Topology::Single,
        TopologyArg::Replication => Topology::Replication,
        TopologyArg::Galera => Topology::Galera,
    };
    let mut options = UpOptions::new(&args.name, topology, vendor(args.server));
    if let Some(nodes) = args.nodes {
        options.nodes = usize::try_from(nodes)?;
    }
    options.server_root = args.server_root.as_deref().map(absolute);
    options.apart = args.agents;
    options.durable = args.agents;
    let started = std::time::Instant::now();
    let cluster = lab.up(&options).await?;
    if args.agents {
        lab_agents::set_up(lab, &cluster, args.cloud).await?;
    }
    output::result(format, &Up { seconds: started.elapsed().as_secs_f64(), cluster });
    Ok(Outcome::Good)
}

#[derive(Serialize)]
struct Up {
    #[serde(flatten)]
    cluster: ClusterState,
    seconds: f64,
}

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = &self.cluster;
        writeln!(
            f,
            "{} is up in {:.1} s: {} x {}\n",
            cluster.name,
            self.seconds,
            cluster.nodes.len(),
            cluster.flavor
        )?;
        for node in &cluster.nodes {
            writeln!(
                f,
                "  {:<8} {}:{:<6} socket {}",
                node.name,
                node.host,
                node.port,
                node.socket.display()
            )?;
        }
        if cluster.agent_ports.is_some() {
            if let Some(first) = cluster.nodes.first() {
                let spec = spec_file(cluster, first).display().to_string();
                let words = "mainstay status --config";
                writeln!(f, "\nTry: {words} {spec}\n     mainstay switchover --config {spec}")?;
            }
            return writeln!(f, "     mainstay lab kill {0} node1\n     mainstay lab down {0}", cluster.name);
        }
        writeln!(
            f,
            "\nTry: mainstay lab shell {0}\n     mainstay lab status {0}\n     mainstay lab down {0}",
            cluster.name
        )
    }
}

#[derive(Serialize)]
struct Clusters {
    clusters: Vec<ClusterState>,
}

impl fmt::Display for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.clusters.is_empty() {
            return writeln!(f, "No clusters. Bring one up: mainstay lab up --name try");
        }
        for cluster in &self.clusters {
            writeln!(
                f,
                "{:<16} {} x {}  {}",
                cluster.name,
                cluster.nodes.len(),
                cluster.flavor,
                cluster.folder.display()
            )?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Nodes {
    name: String,
    nodes: Vec<NodeStatus>,
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let pid = node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let server = node.flavor.known().map_or_else(|| "-".to_owned(), ToString::to_string);
            let role =
                node.role.known().map_or_else(|| "-".to_owned(), |role| format!("{role:?}").to_lowercase());
            let writes = node
                .read_only
                .known()
                .map_or("-", |read_only| if *read_only { "read-only" } else { "writable" });
            let process = format!("{:?}", node.process).to_lowercase();
            writeln!(f, "{:<8} {process:<8} pid {pid:<8} {server:<18} {role:<8} {writes}", node.name)?;
        }
        Ok(())
    }
}

fn first_node(lab: &Lab, name: &str, node: Option<&String>) -> Result<String, Failure> {
    let cluster = lab.cluster(name)?;
    match node.or_else(|| cluster.nodes.first().map(|node| &node.name)) {
        Some(node) => Ok(node.clone()),
        None => Err(Failure::said(format!("{name} has no nodes"), format!("mainstay lab down {name}"))),
    }
}

fn logs(lab: &Lab, args: &LabNodeArgs) -> Verb {
    let node = first_node(lab, &args.name, args.node.as_ref())?;
    let path = lab.logs(&args.name, &node)?;
    let text = host::files::read_text(&path, LOG_BYTES_MAX)?;
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    output::text(&format!("{}\n{}", path.display(), lines.get(from..).unwrap_or_default().join("\n")));
    Ok(Outcome::Good)
}

async fn shell(lab: &Lab, args: &LabShellArgs) -> Verb {
    let node = first_node(lab, &args.name, args.node.as_ref())?;
    let mut words = lab.shell(&args.name, &node).await?;
    if let Some(sql) = &args.execute {
        words.push(format!("--execute={sql}"));
    }
    let command = Command::from_words(&words)
        .ok_or_else(|| Failure::said("no client was found", "install mariadb-client"))?;
    let status = command.run_on_terminal().await?;
    if status.success() {
        Ok(Outcome::Good)
    } else {
        Err(Failure::said("the client ended with an error", "its message is above"))
    }
}

async fn print_spec(lab: &Lab, args: &LabSpecArgs) -> Verb {
    let cluster = lab.cluster(&args.name)?;
    let node = cluster.node(&first_node(lab, &args.name, None)?)?;
    output::text(&spec_for(&cluster, node, args.cloud).await?);
    Ok(Outcome::Good)
}
