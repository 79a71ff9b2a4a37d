//! Starting a node and waiting until it answers.

use std::time::{Duration, Instant};

use server::{Connection, Limits, ProcessState, ServerError, ServerProcess, ServerProgram, Sql};

use crate::error::LabError;
use crate::folder::last_lines;
use crate::state::NodeState;

/// How often a starting node is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// How long a node may take to answer; on a busy machine a start takes many times what it takes alone.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(90);

/// For the lab's own statements.
pub(crate) const LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), statement: Duration::from_secs(60) };

/// Starts a node's process with further options; it is not ready yet.
pub(crate) async fn spawn(
    program: &ServerProgram,
    node: &NodeState,
    options: &[String],
) -> Result<ServerProcess, LabError> {
    let mut argv = program.command(&node.defaults_file);
    argv.extend_from_slice(options);
    if let Err(error) = server::clear_dead_socket_lock(&node.socket) {
        tracing::warn!(socket = %node.socket.display(), %error, "a dead server's socket lock stays");
    }
    ServerProcess::spawn(&argv, node.folder(), &node.log)
        .await
        .map_err(LabError::io("cannot start", program.path()))
}

/// Waits until a node answers a query.
pub(crate) async fn wait_ready(node: &NodeState, process: &ServerProcess) -> Result<Connection, LabError> {
    let started = Instant::now();
    loop {
        let why = match try_answer(node).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if process.state() == ProcessState::Gone {
            return Err(LabError::NodeDied {
                node: node.name.clone(),
                log: node.log.clone(),
                last_lines: last_lines(&node.log),
            });
        }
        if started.elapsed() > START_LIMIT {
            return Err(not_ready(node, &why.to_string()));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn try_answer(node: &NodeState) -> Result<Connection, ServerError> {
    let mut connection = Connection::open(&node.root_target(), &LIMITS).await?;
    connection.query(&Sql::plain("SELECT 1")).await?;
    Ok(connection)
}

/// Asks a question until its answer is yes.
pub(crate) async fn wait_until(
    node: &NodeState,
    connection: &mut Connection,
    what: &str,
    question: &Sql,
    is_yes: impl Fn(&[server::Row]) -> bool,
) -> Result<(), LabError> {
    let started = Instant::now();
    loop {
        let rows = connection.query(question).await.map_err(LabError::server(&node.name))?;
        if is_yes(&rows) {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            return Err(not_ready(node, what));
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(crate) fn not_ready(node: &NodeState, why: &str) -> LabError {
    LabError::NotReady {
        node: node.name.clone(),
        limit_seconds: START_LIMIT.as_secs(),
        why: why.to_owned(),
        log: node.log.clone(),
        last_lines: last_lines(&node.log),
    }
}
