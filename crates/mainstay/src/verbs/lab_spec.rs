//! The spec of a lab cluster, as one of its nodes has it.
//!
//! Everything of Mainstay's goes into the cluster's own folder, so that `lab down` removes that too. Each node has a
//! spec of its own only because on one machine the servers cannot have the same paths.

use std::path::{Path, PathBuf};

use lab::{ClusterState, NodeState, Topology};

use crate::cli::CloudArg;
use crate::failure::Failure;

/// The folder of Mainstay's own files for a node.
pub(crate) fn own_folder(cluster: &ClusterState, node: &NodeState) -> PathBuf {
    let own = cluster.folder.join("mainstay");
    if cluster.agent_ports.is_some() { own.join(&node.name) } else { own }
}

/// Where a node's spec is, in a cluster with agents.
pub(crate) fn spec_file(cluster: &ClusterState, node: &NodeState) -> PathBuf {
    own_folder(cluster, node).join("mainstay.toml")
}

/// Secrets are the same on every node.
fn secrets_folder(cluster: &ClusterState) -> PathBuf {
    cluster.folder.join("mainstay/secrets")
}

/// The spec, as text.
pub(crate) async fn spec_for(
    cluster: &ClusterState,
    node: &NodeState,
    cloud: CloudArg,
) -> Result<String, Failure> {
    let program = server::ServerProgram::find(cluster.server_root.as_deref(), cluster.vendor).await?;
    let command = program.command(&node.defaults_file);
    let own = own_folder(cluster, node);
    let mut text = head(cluster, &own, cloud);
    for member in &cluster.nodes {
        text.push_str(&format!(
            "\n[[node]]\nname = {}\naddress = {}\nport = {}\nsocket = {}\ndata_dir = {}\n",
            quote(&member.name),
            quote(&member.host),
            member.port,
            path(&member.socket),
            path(&member.datadir)
        ));
    }
    let command: Vec<String> = command.iter().map(|word| quote(word)).collect();
    let user = host::users::user_name(host::users::current_uid());
    text.push_str(&format!(
        "\n[paths]\nstate = {}\nsecrets = {}\n\n[service]\nmanager = \"process\"\nsupervise = false\nuser = {}\n\
         command = [{}]\nrestart = \"when-needed\"\n\n[machine]\nmemory = \"2G\"\n\n[config]\nfile = {}\n\n\
         [preflight]\ndisk_free_min = \"1G\"\n\n[tls]\ndir = {}\n",
        path(&own.join("state")),
        path(&secrets_folder(cluster)),
        quote(&user),
        command.join(", "),
        path(&node.conf_dir.join("zz-mainstay.cnf")),
        path(&own.join("tls"))
    ));
    text.push_str(match cloud {
        CloudArg::Cloudstack => "\n[cloudstack]\nmanagement_servers = 1\nnetworks = [\"127.0.0.0/8\"]\n",
        CloudArg::Openstack => {
            "\n[openstack]\nservices = [\"keystone\", \"nova\"]\nnetworks = [\"127.0.0.0/8\"]\nworkers = 4\n"
        }
        CloudArg::None => "",
    });
    if let Some([health, api, proxy]) = cluster.agent_ports {
        text.push_str(&format!(
            "\n[ha]\n[ha.store]\nkind = \"file\"\npath = {}\n\n[ha.api]\nhealth_port = {health}\napi_port = {api}\n\n\
             [ha.proxy]\nlisten = \"127.0.0.1:{proxy}\"\n",
            path(&cluster.folder.join("mainstay/store"))
        ));
    }
    Ok(text)
}

fn head(cluster: &ClusterState, own: &Path, cloud: CloudArg) -> String {
    let cloud = match cloud {
        CloudArg::Cloudstack => "cloudstack",
        CloudArg::Openstack => "openstack",
        CloudArg::None => "none",
    };
    let topology = match cluster.topology {
        Topology::Single => "single",
        Topology::Replication => "replication",
        Topology::Galera => "galera",
    };
    format!(
        "# For the lab cluster {0}; its own files are in {1}.\n[cluster]\nname = {2}\nserver = \"{3}\"\n\
         topology = \"{topology}\"\ncloud = \"{cloud}\"\n",
        cluster.name,
        own.display(),
        quote(&cluster.name),
        cluster.vendor.name().to_lowercase(),
    )
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}
