//! What the tests share: labs that clean up after themselves, and the servers there are.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use flavor::Vendor;
use lab::{ClusterState, Lab, LabError, NodeState, Topology, UpOptions};
use server::{Connection, Limits, ServerProgram, Sql};
use tempfile::TempDir;

/// A lab in a folder of its own. Its clusters are taken down when it is dropped, also by a failing test.
pub(crate) struct TestLab {
    pub(crate) lab: Lab,
    folder: TempDir,
}

impl TestLab {
    pub(crate) fn new() -> Self {
        server::install_tls_provider();
        let folder = tempfile::tempdir().unwrap();
        Self { lab: Lab::open(folder.path()).unwrap(), folder }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let Ok(found) = server::ServerProcess::find_all(self.lab.root()) else { return };
        for process in found {
            let _ = process.signal(server::Signal::KILL);
        }
    }
}

/// Where a vendor's server is: `Some(None)` on this machine, `Some(Some(root))` in a tree.
pub(crate) async fn server_root(vendor: Vendor) -> Option<Option<PathBuf>> {
    let root = match vendor {
        Vendor::MariaDb => None,
        Vendor::MySql => {
            let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/mysql");
            let root =
                std::env::var_os("MAINSTAY_TEST_MYSQL_ROOT").map_or_else(|| default.into(), PathBuf::from);
            root.is_dir().then(|| root.canonicalize().unwrap())
        }
    };
    match ServerProgram::find(root.as_deref(), vendor).await {
        Ok(_) => Some(root),
        Err(error) => {
            println!("SKIPPED: no {vendor} server: {error}");
            None
        }
    }
}

/// A cluster, or none with a printed reason where the server is missing.
pub(crate) async fn up(
    test: &TestLab,
    name: &str,
    topology: Topology,
    vendor: Vendor,
    change: impl FnOnce(&mut UpOptions),
) -> Option<ClusterState> {
    let mut options = UpOptions::new(name, topology, vendor);
    options.server_root = server_root(vendor).await?;
    change(&mut options);
    match test.lab.up(&options).await {
        Ok(cluster) => Some(cluster),
        Err(LabError::NameTaken { .. }) => panic!("{name} is taken"),
        Err(error) => panic!("{name}: {}", chain(&error)),
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

pub(crate) async fn root(node: &NodeState) -> Connection {
    Connection::open(&node.root_target(), &Limits::default()).await.unwrap()
}

pub(crate) async fn run(connection: &mut Connection, statement: &str) {
    connection.execute(&Sql::plain(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// The first column of the first row.
pub(crate) async fn value(connection: &mut Connection, statement: &str) -> Option<String> {
    let rows = connection.query(&Sql::plain(statement)).await.ok()?;
    rows.first().and_then(|row| row.text_at(0)).map(str::to_owned)
}

/// Waits until a statement's first value is the wanted one.
pub(crate) async fn wait_for(connection: &mut Connection, statement: &str, wanted: &str) {
    let started = Instant::now();
    loop {
        let found = value(connection, statement).await;
        if found.as_deref() == Some(wanted) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{statement} is {found:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
