//! The table of accounts and grants.
//!
//! Least privilege: each account has what its row says and nothing else. Passwords are never here, only the
//! file each one is in. How a server gets there is `account_steps`'.

use std::path::PathBuf;

use base16ct::lower::encode_string;
use flavor::{Flavor, Privilege};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use spec::{Spec, Topology};

/// Longest name of a MySQL account.
const USER_CHARS_MAX: usize = 32;

/// On what a grant is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantObjectWanted {
    /// `*.*`.
    Global,
    /// Every object of one database.
    Database(String),
}

/// One account as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAccount {
    /// User.
    pub user: String,
    /// Host part, in the form this server understands.
    pub host: String,
    /// Authentication plugin.
    pub plugin: &'static str,
    /// Where its password is.
    pub password_file: PathBuf,
    /// `REQUIRE SSL`.
    pub require_tls: bool,
    /// Grants: object and privilege names.
    pub grants: Vec<(GrantObjectWanted, Vec<&'static str>)>,
    /// Who needs it.
    pub purpose: &'static str,
    /// Only Mainstay itself logs in with it.
    pub ours: bool,
}

/// An account's role in the cluster: one row of the table of grants.
pub(crate) struct Role {
    pub(crate) user: String,
    password_file: PathBuf,
    purpose: &'static str,
    /// Only Mainstay itself logs in with it, so TLS can be required of it.
    ours: bool,
    from: From,
    global: &'static [Privilege],
    databases: Vec<String>,
    /// Read-only view of one database.
    reads: &'static [&'static str],
}

/// Where an account logs in from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Localhost,
    Nodes,
    LocalhostAndNodes,
    LocalhostAndClients,
}

/// Every account the spec calls for, on this server.
///
/// # Errors
/// Sentences about networks for which this server has no account form.
pub fn wanted_accounts(spec: &Spec, flavor: Flavor) -> Result<Vec<WantedAccount>, Vec<String>> {
    let mut accounts = Vec::new();
    let mut problems = Vec::new();
    for role in roles(spec) {
        for host in hosts(spec, flavor, role.from, &mut problems) {
            accounts.push(account(spec, flavor, &role, host));
        }
    }
    if problems.is_empty() { Ok(accounts) } else { Err(problems) }
}

/// The account that an agent's node replicates with. Each has its own, so that one can be shut out alone. Names are
/// within the 32 characters that MySQL allows.
#[must_use]
pub fn agent_account(node: &str) -> String {
    let name = format!("mainstay_repl_{node}");
    if name.chars().count() <= USER_CHARS_MAX {
        return name;
    }
    let digest = encode_string(&Sha256::digest(node.as_bytes()));
    format!("mainstay_repl_{}", digest.get(..16).unwrap_or(&digest))
}

/// The secrets that all agents share; none without `[ha]`.
#[must_use]
pub fn agent_secrets(spec: &Spec) -> Vec<PathBuf> {
    let token = spec.ha.as_ref().map(|ha| ha.api.token_file.clone());
    let replication = spec.ha.as_ref().map(|_| spec.paths.secrets.join("mainstay_repl"));
    token.into_iter().chain(replication).collect()
}

pub(crate) fn roles(spec: &Spec) -> Vec<Role> {
    let secret = |name: &str| spec.paths.secrets.join(name);
    let mut roles = Vec::new();
    if let Some(cloudstack) = &spec.cloudstack {
        roles.push(Role {
            user: cloudstack.user.clone(),
            password_file: cloudstack.password_file.clone(),
            purpose: "CloudStack's management and usage servers",
            ours: false,
            from: From::LocalhostAndClients,
            global: &[Privilege::Process],
            databases: vec!["cloud".to_owned(), "cloud_usage".to_owned()],
            reads: &[],
        });
    }
    for service in spec.openstack.iter().flat_map(|openstack| &openstack.services) {
        roles.push(Role {
            user: service.name.clone(),
            password_file: service.password_file.clone(),
            purpose: "an OpenStack service",
            ours: false,
            from: From::LocalhostAndClients,
            global: &[],
            databases: service.databases.clone(),
            reads: &[],
        });
    }
    // Agents have an account for each node: see `agent_account`.
    if spec.cluster.topology != Topology::Single && spec.ha.is_none() {
        roles.push(Role {
            user: "mainstay_repl".to_owned(),
            password_file: secret("mainstay_repl"),
            purpose: "replication between nodes",
            ours: true,
            from: From::Nodes,
            global: &[Privilege::Replicate],
            databases: Vec::new(),
            reads: &[],
        });
    }
    roles.push(Role {
        user: "mainstay_monitor".to_owned(),
        password_file: secret("mainstay_monitor"),
        purpose: "status and monitoring",
        ours: true,
        from: From::LocalhostAndNodes,
        global: &[Privilege::Process, Privilege::ReplicationMonitor, Privilege::ShowDatabases],
        databases: Vec::new(),
        reads: &["performance_schema"],
    });
    roles.push(Role {
        user: "mainstay_backup".to_owned(),
        password_file: secret("mainstay_backup"),
        purpose: "backups and the archive of binary logs",
        ours: true,
        from: From::Localhost,
        global: &[
            Privilege::Select,
            Privilege::Reload,
            Privilege::LockTables,
            Privilege::ShowView,
            Privilege::Event,
            Privilege::Trigger,
            Privilege::Process,
            Privilege::ReplicationMonitor,
            Privilege::Backup,
            Privilege::Replicate,
        ],
        databases: Vec::new(),
        reads: &[],
    });
    roles
}

fn account(spec: &Spec, flavor: Flavor, role: &Role, host: String) -> WantedAccount {
    let mut grants = Vec::new();
    let global: Vec<&'static str> =
        role.global.iter().flat_map(|privilege| flavor.privilege(*privilege)).copied().collect();
    if !global.is_empty() {
        grants.push((GrantObjectWanted::Global, global));
    }
    for database in &role.databases {
        grants.push((GrantObjectWanted::Database(database.clone()), vec!["ALL PRIVILEGES"]));
    }
    for database in role.reads {
        grants.push((GrantObjectWanted::Database((*database).to_owned()), vec!["SELECT"]));
    }
    WantedAccount {
        user: role.user.clone(),
        // Replication's own TLS is set up together with replication; requiring it here would cut a running replica.
        require_tls: role.ours && spec.tls.is_some() && host != "localhost" && role.from != From::Nodes,
        host,
        plugin: flavor.password_plugin(),
        password_file: role.password_file.clone(),
        grants,
        purpose: role.purpose,
        ours: role.ours,
    }
}

fn hosts(spec: &Spec, flavor: Flavor, from: From, problems: &mut Vec<String>) -> Vec<String> {
    let nodes = || spec.nodes.iter().map(|node| IpNet::from(node.address));
    let clients = || {
        let cloudstack = spec.cloudstack.iter().flat_map(|cloudstack| cloudstack.networks.iter().copied());
        let openstack = spec.openstack.iter().flat_map(|openstack| openstack.networks.iter().copied());
        cloudstack.chain(openstack)
    };
    let networks: Vec<IpNet> = match from {
        From::Localhost => Vec::new(),
        From::Nodes | From::LocalhostAndNodes => {
            nodes().chain(spec.accounts.networks.iter().copied()).collect()
        }
        From::LocalhostAndClients => clients().collect(),
    };
    let mut hosts = Vec::new();
    if from != From::Nodes {
        hosts.push("localhost".to_owned());
    }
    for network in networks {
        match flavor.account_host(network.network(), network.prefix_len()) {
            Some(host) if !hosts.contains(&host) => hosts.push(host),
            Some(_) => {}
            None => problems.push(format!(
                "{flavor} has no account form for the network {network}; name its addresses one by one (/128)"
            )),
        }
    }
    hosts
}
