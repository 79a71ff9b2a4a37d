//! `mainstay lab`: throwaway clusters on this machine.

use std::fmt;
use std::path::PathBuf;

use flavor::Vendor;
use host::command::Command;
use lab::{ClusterState, Lab, NodeStatus, Topology, UpOptions};
use serde::Serialize;

use crate::cli::{
    CloudArg, LabArgs, LabNodeArgs, LabShellArgs, LabSpecArgs, LabUpArgs, ServerArg, TopologyArg,
};
use crate::context::absolute;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

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
    let started = std::time::Instant::now();
    let cluster = lab.up(&options).await?;
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
    output::text(&spec_for(&cluster, args.cloud, None).await?);
    Ok(Outcome::Good)
}

/// A spec for a lab cluster: everything of Mainstay's inside the cluster's own folder, so that `lab down` removes
/// that too.
pub(crate) async fn spec_for(
    cluster: &ClusterState,
    cloud: CloudArg,
    schema_dir: Option<&PathBuf>,
) -> Result<String, Failure> {
    let own = cluster.folder.join("mainstay");
    let program = server::ServerProgram::find(cluster.server_root.as_deref(), cluster.vendor).await?;
    let first =
        cluster.nodes.first().ok_or_else(|| Failure::said("the cluster has no nodes", "mainstay lab up"))?;
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let path = |path: PathBuf| quote(&path.to_string_lossy());
    let (vendor, cloud_name) = (
        cluster.vendor.name().to_lowercase(),
        match cloud {
            CloudArg::Cloudstack => "cloudstack",
            CloudArg::Openstack => "openstack",
            CloudArg::None => "none",
        },
    );
    let topology = match cluster.topology {
        Topology::Single => "single",
        Topology::Replication => "replication",
        Topology::Galera => "galera",
    };
    let mut text = format!(
        "# For the lab cluster {0}; its own files are in {1}.\n[cluster]\nname = {2}\nserver = \"{vendor}\"\n\
         topology = \"{topology}\"\ncloud = \"{cloud_name}\"\n",
        cluster.name,
        own.display(),
        quote(&cluster.name)
    );
    for node in &cluster.nodes {
        text.push_str(&format!(
            "\n[[node]]\nname = {}\naddress = {}\nport = {}\nsocket = {}\ndata_dir = {}\n",
            quote(&node.name),
            quote(&node.host),
            node.port,
            path(node.socket.clone()),
            path(node.datadir.clone())
        ));
    }
    let command: Vec<String> = program.command(&first.defaults_file).iter().map(|word| quote(word)).collect();
    let user = host::users::user_name(host::users::current_uid());
    text.push_str(&format!(
        "\n[paths]\nstate = {}\nsecrets = {}\n\n[service]\nmanager = \"process\"\nsupervise = false\nuser = {}\ncommand = [{}]\n\
         restart = \"when-needed\"\n\n[machine]\nmemory = \"2G\"\n\n[config]\nfile = {}\n\n[preflight]\ndisk_free_min = \"1G\"\n\n\
         [tls]\ndir = {}\n",
        path(own.join("state")), path(own.join("secrets")), quote(&user), command.join(", "),
        path(first.conf_dir.join("zz-mainstay.cnf")), path(own.join("tls"))
    ));
    match cloud {
        CloudArg::Cloudstack => {
            text.push_str("\n[cloudstack]\nmanagement_servers = 1\nnetworks = [\"127.0.0.0/8\"]\n");
            if let Some(dir) = schema_dir {
                text.push_str(&format!("schema_dir = {}\n", path(dir.clone())));
            }
        }
        CloudArg::Openstack => {
            text.push_str("\n[openstack]\nservices = [\"keystone\", \"nova\"]\nnetworks = [\"127.0.0.0/8\"]\nworkers = 4\n");
        }
        CloudArg::None => {}
    }
    Ok(text)
}
