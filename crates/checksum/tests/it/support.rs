//! What the tests share: clusters that go away with their test, writers, and reports as lines.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checksum::{Login, Observer, Options, Progress, Report, RowState, Shown};
use flavor::Vendor;
use lab::{ClusterState, Lab, NodeState, Topology, UpOptions};
use server::{Connection, Limits, ServerProgram, Sql};
use tempfile::TempDir;

/// A cluster in a folder of its own, taken down when it is dropped.
pub(crate) struct Bench {
    lab: Lab,
    pub(crate) cluster: ClusterState,
    _folder: TempDir,
}

impl Bench {
    /// None with a printed reason where the server is missing.
    pub(crate) async fn up(vendor: Vendor, topology: Topology, nodes: usize) -> Option<Self> {
        server::install_tls_provider();
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::open(folder.path()).unwrap();
        let mut options = UpOptions::new("c", topology, vendor);
        options.nodes = nodes;
        options.server_root = server_root(vendor).await?;
        let cluster = lab.up(&options).await.unwrap();
        Some(Self { lab, cluster, _folder: folder })
    }

    pub(crate) fn node(&self, at: usize) -> &NodeState {
        &self.cluster.nodes[at]
    }

    pub(crate) fn login(&self, at: usize) -> Login {
        let node = self.node(at);
        Login { name: node.name.clone(), target: node.root_target() }
    }

    pub(crate) async fn root(&self, at: usize) -> Connection {
        Connection::open(&self.node(at).root_target(), &Limits::default()).await.unwrap()
    }

    /// Compares the second node with the first.
    pub(crate) async fn compare(&self, options: &Options) -> Report {
        checksum::compare(&self.login(0), &[self.login(1)], options, &checksum::Silent).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let Ok(found) = server::ServerProcess::find_all(self.lab.root()) else { return };
        for process in found {
            // It may have ended.
            let _ = process.signal(server::Signal::KILL);
        }
    }
}

async fn server_root(vendor: Vendor) -> Option<Option<PathBuf>> {
    let root = match vendor {
        Vendor::MariaDb => None,
        Vendor::MySql => {
            let made = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/mysql");
            let root =
                std::env::var_os("MAINSTAY_TEST_MYSQL_ROOT").map_or_else(|| made.into(), PathBuf::from);
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

pub(crate) async fn run(connection: &mut Connection, statement: &str) {
    connection.execute(&Sql::plain(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Runs lines of statements.
pub(crate) async fn script(connection: &mut Connection, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--")) {
        run(connection, line.trim_end_matches(';')).await;
    }
}

pub(crate) async fn value(connection: &mut Connection, statement: &str) -> String {
    let rows = connection.query(&Sql::plain(statement)).await.unwrap();
    rows.first().and_then(|row| row.text_at(0)).unwrap_or_default().to_owned()
}

pub(crate) async fn wait_for(connection: &mut Connection, statement: &str, wanted: &str) {
    let started = Instant::now();
    loop {
        let found = match connection.query(&Sql::plain(statement)).await {
            Ok(rows) => rows.first().and_then(|row| row.text_at(0)).unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        if found == wanted {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{statement} is {found:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The differing rows as lines of `table state key: changed columns`, in order.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for table in &report.tables {
        for row in &table.differences {
            let key: Vec<_> = row.key.iter().map(|(_, value)| shown(value)).collect();
            let is_changed = row.state == RowState::Changed;
            let columns = row.columns.iter().filter(|_| is_changed).map(|column| column.column.clone());
            let columns: Vec<_> = columns.collect();
            let state = format!("{:?}", row.state).to_lowercase();
            let times = if row.times > 1 { format!(" x{}", row.times) } else { String::new() };
            let (key, columns) = (key.join(","), columns.join(","));
            let line = format!("{} {state} {key}: {columns}", table.table.table);
            lines.push(format!("{}{times}", line.trim_end()));
        }
    }
    lines.sort();
    lines
}

fn shown(value: &Shown) -> String {
    match value {
        Shown::Null => "NULL".to_owned(),
        Shown::Text(text) | Shown::Hex(text) => text.clone(),
    }
}

/// Keeps what is to be repaired.
#[derive(Default)]
pub(crate) struct Repairs(pub(crate) Mutex<String>);

impl Observer for Repairs {
    fn progress(&self, _: &Progress) {}

    fn repair(&self, _: &str, statements: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push_str(statements);
        Ok(())
    }
}

/// Sessions that write until they are stopped.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    pub(crate) written: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// So many sessions on the first node, each running what `statement` makes of a number that never repeats.
    pub(crate) async fn start(bench: &Bench, sessions: u64, statement: fn(u64) -> String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for session in 0..sessions {
            let mut connection = bench.root(0).await;
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            tasks.push(tokio::spawn(async move {
                let mut number = session;
                while !stop.load(Ordering::Relaxed) {
                    // A deadlock between writers is theirs to bear.
                    if connection.execute(&Sql::plain(statement(number))).await.is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    number += sessions;
                    // As fast as they can, they would leave any replica behind for good.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        Self { stop, written, tasks }
    }

    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.written.load(Ordering::Relaxed)
    }
}
