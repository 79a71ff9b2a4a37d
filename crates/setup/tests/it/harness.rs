//! A lab server and a spec for it, everything in one temporary folder.

use std::path::{Path, PathBuf};

use flavor::Vendor;
use lab::{ClusterState, Lab, NodeState, Topology, UpOptions};
use plan::{Options, Plan};
use server::{Connection, Limits, ServerProgram, Sql};
use setup::{Applied, Observe, Progress, SetupError};
use spec::{Node, Spec};

/// The MySQL tree that `scripts/mysql-root.sh` makes.
pub(crate) fn mysql_root() -> Option<PathBuf> {
    let named = std::env::var_os("MAINSTAY_TEST_MYSQL_ROOT").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/mysql");
    named.or(Some(made)).filter(|root| root.join("usr/sbin/mysqld").exists())
}

/// A running server with a spec of ours for it. Dropping it stops the server and removes everything.
pub(crate) struct Bench {
    lab: Lab,
    pub(crate) cluster: ClusterState,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) spec: Spec,
}

/// The vendors whose servers are here, each said when it is not.
pub(crate) async fn vendors() -> Vec<Vendor> {
    let mut here = Vec::new();
    for vendor in [Vendor::MariaDb, Vendor::MySql] {
        let root = if vendor == Vendor::MySql { mysql_root() } else { None };
        match ServerProgram::find(root.as_deref(), vendor).await {
            Ok(_) => here.push(vendor),
            Err(error) => println!("skipped for {vendor}: {error}"),
        }
    }
    here
}

impl Bench {
    /// A fresh durable server, and the spec that `text` ends with.
    pub(crate) async fn new(vendor: Vendor, sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::open(folder.path().join("lab")).unwrap();
        let mut options = UpOptions::new("t", Topology::Single, vendor);
        options.server_root = if vendor == Vendor::MySql { mysql_root() } else { None };
        let cluster = lab.up(&options).await.unwrap();
        let program = ServerProgram::find(options.server_root.as_deref(), vendor).await.unwrap();
        let text = spec_text(&cluster, &program, folder.path(), sections);
        let (spec, _) =
            Spec::parse(&text, "mainstay.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        Self { lab, cluster, folder, spec }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.spec.nodes[0]
    }

    pub(crate) fn lab_node(&self) -> &NodeState {
        &self.cluster.nodes[0]
    }

    /// The plan as it is now.
    pub(crate) async fn plan(&self) -> Plan {
        let seen = setup::observe(&self.spec, self.node(), &Observe { measure: false }).await.unwrap();
        let plan = plan::make(&self.spec, self.node(), &seen, &Options::default());
        assert_eq!(plan::lint(&plan), []);
        plan
    }

    pub(crate) async fn apply(&self, plan: &Plan) -> Result<Applied, SetupError> {
        setup::apply(&self.spec, self.node(), plan, &Options::default(), &mut Silent).await
    }

    /// Plans and applies until nothing is left, which one round must do.
    pub(crate) async fn converge(&self) {
        let plan = self.plan().await;
        let applied = self.apply(&plan).await.unwrap();
        assert!(!applied.remaining.differs(), "{}", applied.remaining);
    }

    pub(crate) async fn connection(&self) -> Connection {
        Connection::open(&self.lab_node().root_target(), &Limits::default()).await.unwrap()
    }

    /// Runs statements as root over the socket.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut connection = self.connection().await;
        for statement in statements {
            connection.execute(&Sql::plain(*statement)).await.unwrap();
        }
        connection.close().await;
    }

    /// Stops the server and removes it. The temporary folder goes with the bench.
    pub(crate) async fn down(self) {
        self.lab.down("t").await.unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test that failed still leaves nothing running; `down` has been called when it passed.
        for process in server::ServerProcess::find_all(self.folder.path()).unwrap_or_default() {
            let _ = process.signal(server::Signal::KILL);
        }
    }
}

struct Silent;

impl Progress for Silent {
    fn begins(&mut self, _number: usize, _of: usize, _step: &plan::Step) {}
    fn done(&mut self, _step: &plan::Step, _took: std::time::Duration) {}
}

fn spec_text(cluster: &ClusterState, program: &ServerProgram, folder: &Path, sections: &str) -> String {
    let node = &cluster.nodes[0];
    let command: Vec<String> =
        program.command(&node.defaults_file).iter().map(|word| format!("{word:?}")).collect();
    let own = folder.display();
    format!(
        "[cluster]\nname = \"t\"\nserver = \"{}\"\n{}\n\
         [[node]]\nname = \"n1\"\naddress = \"127.0.0.1\"\nport = {}\nsocket = \"{}\"\ndata_dir = \"{}\"\n\
         [paths]\nstate = \"{own}/state\"\nsecrets = \"{own}/secrets\"\n\
         [service]\nmanager = \"process\"\nsupervise = false\nuser = \"{}\"\ncommand = [{}]\nrestart = \"when-needed\"\n\
         [machine]\nmemory = \"2G\"\n[config]\nfile = \"{}/zz-mainstay.cnf\"\n\
         [preflight]\ndisk_free_min = \"64M\"\n[tls]\ndir = \"{own}/tls\"\n{}",
        cluster.vendor.name().to_lowercase(),
        sections.lines().next().unwrap_or_default(),
        node.port,
        node.socket.display(),
        node.datadir.display(),
        host::users::user_name(host::users::current_uid()),
        command.join(", "),
        node.conf_dir.display(),
        sections.split_once('\n').map_or("", |(_, rest)| rest),
    )
}

/// The sections of a CloudStack spec for the bench: the first line goes into `[cluster]`.
pub(crate) const CLOUDSTACK: &str =
    "cloud = \"cloudstack\"\n[cloudstack]\nnetworks = [\"127.0.0.0/8\", \"10.0.0.0/18\"]\n";
