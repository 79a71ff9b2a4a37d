//! The demo's client: writes one row after the other to whichever node is primary, and keeps what was acknowledged.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host::secrets;
use jiff::Timestamp;
use lab::{ClusterState, NodeState};
use secrecy::SecretString;
use server::{Connection, Limits, Param, ServerError, Sql, Target, Tls};
use spec::Spec;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::verbs::lab_agents;

/// A management server's pool gives up on a connection that slowly, at the least.
const LIMITS: Limits = Limits { connect: Duration::from_millis(500), statement: Duration::from_secs(2) };
/// Between two writes, and between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// A write that returned to the client.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) id: u64,
    pub(crate) at: Timestamp,
    /// The node that acknowledged it.
    pub(crate) by: String,
}

/// What the client knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) acked: Vec<Write>,
    stopped: bool,
}

/// A client that writes until it is stopped.
#[derive(Debug)]
pub(crate) struct Writer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Begins to write, as CloudStack's account.
    pub(crate) fn start(cluster: &ClusterState, spec: &Spec) -> Result<Self, Failure> {
        let missing = || Failure::said("the spec has no [cloudstack] or no TLS", "please report this");
        let cloud = spec.cloudstack.as_ref().ok_or_else(missing)?;
        let account = Account {
            user: cloud.user.clone(),
            password: secrets::read(&cloud.password_file)?,
            ca: spec.tls.as_ref().ok_or_else(missing)?.dir.join("ca.pem"),
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(write_all(cluster.clone(), account, seen.clone()));
        Ok(Self { seen, task })
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    pub(crate) async fn stop(self) -> Seen {
        lock(&self.seen).stopped = true;
        // It ends by itself; one that panicked has said so.
        drop(self.task.await);
        lock(&self.seen).clone()
    }
}

struct Account {
    user: String,
    password: SecretString,
    ca: std::path::PathBuf,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write_all(cluster: ClusterState, account: Account, seen: Arc<Mutex<Seen>>) {
    let mut id = 0;
    while !lock(&seen).stopped {
        let Some(node) = lab_agents::primary(&cluster).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // A connection that fails is given up and the primary looked for anew, as a pool does behind a proxy.
        drop(write_to(node, &account, &mut id, &seen).await);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn write_to(
    node: &NodeState,
    account: &Account,
    id: &mut u64,
    seen: &Mutex<Seen>,
) -> Result<(), ServerError> {
    let tls = Tls::Verify { ca: Some(account.ca.clone()), server_name: None, client_cert: None };
    let target = Target::tcp(&node.host, node.port, &account.user)
        .with_password(account.password.clone())
        .with_tls(tls);
    let mut connection = Connection::open(&target, &LIMITS).await?;
    while !lock(seen).stopped {
        *id += 1;
        let sql = Sql::plain("INSERT INTO cloud.mainstay_demo (id) VALUES (?)");
        connection.exec(&sql, vec![Param::from(*id)]).await?;
        lock(seen).acked.push(Write { id: *id, at: Timestamp::now(), by: node.name.clone() });
        tokio::time::sleep(PAUSE).await;
    }
    connection.close().await;
    Ok(())
}

/// The table that is written to.
pub(crate) async fn make_table(primary: &NodeState) -> Result<(), Failure> {
    let mut root = Connection::open(&primary.root_target(), &LIMITS).await?;
    let sql = "CREATE TABLE IF NOT EXISTS cloud.mainstay_demo (id BIGINT UNSIGNED PRIMARY KEY)";
    root.execute(&Sql::plain(sql)).await?;
    root.close().await;
    Ok(())
}

/// How many acknowledged writes a node does not have.
pub(crate) async fn lost(node: &NodeState, seen: &Seen) -> Result<usize, Failure> {
    let mut root = Connection::open(&node.root_target(), &LIMITS).await?;
    let rows = root.query(&Sql::plain("SELECT id FROM cloud.mainstay_demo")).await?;
    root.close().await;
    let there: BTreeSet<u64> = rows.iter().filter_map(|row| row.text("id")?.parse().ok()).collect();
    Ok(seen.acked.iter().filter(|write| !there.contains(&write.id)).count())
}
