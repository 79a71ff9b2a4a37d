//! A node's configuration file. Values fit for data that matters are not its business.

use std::fmt::Write as _;
use std::path::Path;

use flavor::{Capability, Flavor, Vendor};

use crate::options::{Topology, UpOptions};
use crate::state::{ClusterState, NodeState};

/// Where distributions put the Galera library.
const GALERA_LIBRARIES: [&str; 4] = [
    "usr/lib/galera/libgalera_smm.so",
    "usr/lib64/galera-4/libgalera_smm.so",
    "usr/lib64/galera/libgalera_smm.so",
    "usr/lib/libgalera_smm.so",
];

/// The `my.cnf` of one node.
pub(crate) fn render(options: &UpOptions, cluster: &ClusterState, index: usize, node: &NodeState) -> String {
    let flavor = cluster.flavor;
    let folder = node.folder();
    let mut lines = vec![
        "[mysqld]".to_owned(),
        format!("datadir = {}", node.datadir.display()),
        format!("socket = {}", node.socket.display()),
        format!("pid-file = {}", folder.join("mysqld.pid").display()),
        format!("log-error = {}", node.log.display()),
        format!("tmpdir = {}", folder.join("tmp").display()),
        format!("bind-address = {}", node.host),
        format!("port = {}", node.port),
        // Root has no password and is root@localhost: without names, TCP never comes from `localhost`.
        "skip-name-resolve = ON".to_owned(),
        format!("innodb-buffer-pool-size = {}", options.memory_bytes),
    ];
    if rustix::process::geteuid().is_root() {
        lines.push("user = root".to_owned());
    }
    match flavor.vendor {
        Vendor::MariaDb => lines.push("innodb-log-file-size = 32M".to_owned()),
        Vendor::MySql => {
            // The X protocol would take a fixed port of its own.
            lines.push("mysqlx = OFF".to_owned());
            if flavor.can(Capability::RedoLogCapacity) {
                lines.push("innodb-redo-log-capacity = 32M".to_owned());
            }
        }
    }
    if !options.durable {
        lines.extend(["innodb-flush-log-at-trx-commit = 0", "sync-binlog = 0"].map(str::to_owned));
    }
    match cluster.topology {
        Topology::Single => {}
        Topology::Replication => lines.extend(replication_lines(options, flavor, index, node)),
        Topology::Galera => lines.extend(galera_lines(options, cluster, node)),
    }
    lines.extend(options.extra_config.iter().cloned());
    lines.push(format!("\n!includedir {}/", node.conf_dir.display()));
    let mut text = String::from("# Made by mainstay lab. Put changes into conf.d, beside this file.\n");
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn replication_lines(options: &UpOptions, flavor: Flavor, index: usize, node: &NodeState) -> Vec<String> {
    let mut lines = vec![
        // The port is unique among all clusters of this machine.
        format!("server-id = {}", node.port),
        "log-bin = binlog".to_owned(),
        "relay-log = relay".to_owned(),
        "binlog-format = ROW".to_owned(),
    ];
    match flavor.vendor {
        Vendor::MariaDb => {
            lines.extend(["log-slave-updates = ON", "gtid-strict-mode = ON"].map(str::to_owned));
        }
        Vendor::MySql => {
            lines.extend(["gtid-mode = ON", "enforce-gtid-consistency = ON"].map(str::to_owned));
        }
    }
    if index > 0 {
        lines.push("read-only = ON".to_owned());
    }
    if options.semi_sync {
        let statements = flavor.statements();
        let variable = if index == 0 {
            statements.semi_sync_source_enabled_variable()
        } else {
            statements.semi_sync_replica_enabled_variable()
        };
        // Loose: where it is a plugin, it is installed after the first start.
        lines.push(format!("loose-{variable} = ON"));
    }
    lines
}

fn galera_lines(options: &UpOptions, cluster: &ClusterState, node: &NodeState) -> Vec<String> {
    let [group, incremental, full] = node.galera_ports.unwrap_or_default();
    let host = &node.host;
    let members: Vec<String> = cluster
        .nodes
        .iter()
        .filter_map(|node| Some(format!("{}:{}", node.host, node.galera_ports?.first()?)))
        .collect();
    let prefix = options.server_root.as_deref().unwrap_or_else(|| Path::new("/"));
    let library = GALERA_LIBRARIES.iter().map(|path| prefix.join(path)).find(|path| path.is_file());
    let library = library.unwrap_or_else(|| prefix.join("usr/lib/galera/libgalera_smm.so"));
    vec![
        format!("server-id = {}", node.port),
        "binlog-format = ROW".to_owned(),
        "innodb-autoinc-lock-mode = 2".to_owned(),
        "wsrep-on = ON".to_owned(),
        format!("wsrep-provider = {}", library.display()),
        format!("wsrep-cluster-name = {}", cluster.name),
        format!("wsrep-cluster-address = gcomm://{}", members.join(",")),
        format!("wsrep-node-name = {}", node.name),
        format!("wsrep-node-address = {host}"),
        format!("wsrep-node-incoming-address = {host}:{}", node.port),
        format!("wsrep-sst-method = {}", transfer_method()),
        "wsrep-sst-auth = root:".to_owned(),
        format!("wsrep-sst-receive-address = {host}:{full}"),
        format!(
            "wsrep-provider-options = \"gmcast.listen_addr=tcp://{host}:{group}; \
             ist.recv_addr={host}:{incremental}; gcache.size=32M; pc.announce_timeout=PT0.5S\""
        ),
    ]
}

/// How a node gets a full copy. The rsync script's daemon writes as `nobody` when root runs it, which fails.
fn transfer_method() -> &'static str {
    let has = |program: &str| Path::new("/usr/bin").join(program).is_file();
    let has_backup = has("mariabackup") && has("socat");
    if has("rsync") && !(rustix::process::geteuid().is_root() && has_backup) {
        "rsync"
    } else {
        "mariabackup"
    }
}
