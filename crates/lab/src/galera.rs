//! Starts Galera clusters: a new one, and one whose nodes are all down.
//!
//! It deliberately makes no careful choice after a disaster; it prefers the node that was last.

use std::path::Path;
use std::time::Duration;

use server::{Connection, ServerProcess, ServerProgram, Signal, Sql};

use crate::control::STOP_LIMIT;
use crate::error::LabError;
use crate::folder;
use crate::start::{spawn, wait_ready, wait_until};
use crate::state::{ClusterState, NodeState};

/// Founds a cluster, whatever the node's files say of others.
const NEW_CLUSTER: &str = "--wsrep-new-cluster";

/// Recovery reads the redo log, which a crash may have left long.
const RECOVER_LIMIT: Duration = Duration::from_secs(60);

/// What a node's `grastate.dat` says of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SavedState {
    uuid: String,
    seqno: i64,
    safe_to_bootstrap: bool,
}

/// Sets a new cluster up. The first node founds it alone and stops; its data directory, copied, makes the other
/// nodes members that only lack the last events, so no full transfer is needed. Joining one after the other is
/// faster than at once, when joiners wait for each other.
pub(crate) async fn found(program: &ServerProgram, cluster: &mut ClusterState) -> Result<(), LabError> {
    let nodes = cluster.nodes.clone();
    let Some((first, others)) = nodes.split_first() else { return Ok(()) };
    let process = start_recorded(program, cluster, first, &[NEW_CLUSTER.to_owned()]).await?;
    process.signal(Signal::TERM).map_err(LabError::io("cannot stop", first.folder()))?;
    if !process.wait_gone(STOP_LIMIT).await {
        return Err(LabError::StillRunning {
            node: first.name.clone(),
            pid: process.pid,
            limit_seconds: STOP_LIMIT.as_secs(),
        });
    }
    for node in others {
        folder::copy_datadir(&first.datadir, &node.datadir)?;
        set_safe_to_bootstrap(&node.datadir, false)?;
    }
    start_recorded(program, cluster, first, &[NEW_CLUSTER.to_owned()]).await?;
    for node in others {
        start_recorded(program, cluster, node, &[]).await?;
    }
    Ok(())
}

/// Starts nodes while no node of the cluster runs.
pub(crate) async fn restart(
    program: &ServerProgram,
    cluster: &mut ClusterState,
    nodes: &[NodeState],
) -> Result<(), LabError> {
    let mut candidates = Vec::new();
    for node in nodes {
        candidates.push((recovered_state(program, node).await?, node));
    }
    candidates.sort_by_key(|(state, _)| (state.safe_to_bootstrap, state.seqno));
    let Some((state, first)) = candidates.pop() else { return Ok(()) };
    if state.seqno < 0 {
        return Err(LabError::Other(format!(
            "no node of {} has a complete state to start from",
            cluster.name
        )));
    }
    set_safe_to_bootstrap(&first.datadir, true)?;
    let position = |state: &SavedState| format!("--wsrep-start-position={}:{}", state.uuid, state.seqno);
    start_recorded(program, cluster, first, &[NEW_CLUSTER.to_owned(), position(&state)]).await?;
    for (state, node) in candidates.into_iter().rev() {
        let options = if state.seqno < 0 { Vec::new() } else { vec![position(&state)] };
        start_recorded(program, cluster, node, &options).await?;
    }
    Ok(())
}

/// Waits until a node takes part and has caught up.
pub(crate) async fn wait_synced(node: &NodeState, connection: &mut Connection) -> Result<(), LabError> {
    let question = Sql::plain("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'");
    wait_until(node, connection, "not synced", &question, |rows| {
        rows.first().and_then(|row| row.text_at(1)) == Some("Synced")
    })
    .await
}

async fn start_recorded(
    program: &ServerProgram,
    cluster: &mut ClusterState,
    node: &NodeState,
    options: &[String],
) -> Result<ServerProcess, LabError> {
    let process = spawn(program, node, options).await?;
    cluster.record_pid(&node.name, process.pid)?;
    let mut connection = wait_ready(node, &process).await?;
    wait_synced(node, &mut connection).await?;
    connection.close().await;
    Ok(process)
}

/// The saved state; where a crash left it open, what InnoDB itself remembers.
async fn recovered_state(program: &ServerProgram, node: &NodeState) -> Result<SavedState, LabError> {
    let mut state = read_state(&node.datadir)?;
    if state.seqno >= 0 {
        return Ok(state);
    }
    let log = node.folder().join("recover.log");
    folder::remove_file(&log)?;
    let option = format!("--log-error={}", log.display());
    let process = spawn(program, node, &["--wsrep-recover".to_owned(), option]).await?;
    if !process.wait_gone(RECOVER_LIMIT).await {
        process.signal(Signal::KILL).map_err(LabError::io("cannot stop", node.folder()))?;
    }
    let text = host::files::read_text(&log, 16 * 1024 * 1024)?;
    if let Some((uuid, seqno)) = recovered_position(&text) {
        state.uuid = uuid;
        state.seqno = seqno;
    }
    Ok(state)
}

fn recovered_position(log: &str) -> Option<(String, i64)> {
    let (_, position) = log.lines().rev().find_map(|line| line.split_once("Recovered position: "))?;
    let (uuid, seqno) = position.trim().rsplit_once(':')?;
    Some((uuid.to_owned(), seqno.split(',').next()?.parse().ok()?))
}

fn read_state(datadir: &Path) -> Result<SavedState, LabError> {
    Ok(parse_state(&host::files::read_text(&datadir.join("grastate.dat"), 64 * 1024)?))
}

fn parse_state(text: &str) -> SavedState {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))
            .unwrap_or_default()
            .trim()
    };
    SavedState {
        uuid: value("uuid").to_owned(),
        seqno: value("seqno").parse().unwrap_or(-1),
        safe_to_bootstrap: value("safe_to_bootstrap") == "1",
    }
}

fn set_safe_to_bootstrap(datadir: &Path, safe: bool) -> Result<(), LabError> {
    let path = datadir.join("grastate.dat");
    let text = host::files::read_text(&path, 64 * 1024)?;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with("safe_to_bootstrap:") {
                format!("safe_to_bootstrap: {}", u8::from(safe))
            } else {
                line.to_owned()
            }
        })
        .collect();
    let ownership = host::files::Ownership::mode(0o600);
    host::files::write_atomic(&path, format!("{}\n", lines.join("\n")).as_bytes(), &ownership)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_state_is_read() {
        let text = "# GALERA saved state\nversion: 2.1\nuuid:    44187360-e56a-11f1-955f-c61f607cc1a7\n\
                    seqno:   12\nsafe_to_bootstrap: 1\n ";
        let state = parse_state(text);
        assert_eq!((state.seqno, state.safe_to_bootstrap), (12, true));
        assert_eq!(state.uuid, "44187360-e56a-11f1-955f-c61f607cc1a7");
        assert_eq!(parse_state("").seqno, -1);
    }

    #[test]
    fn a_recovered_position_is_the_last_one_said() {
        let log = "x WSREP: Recovered position: aaaa-1:5\nx WSREP: Recovered position: aaaa-1:7,0-1-2\n";
        assert_eq!(recovered_position(log), Some(("aaaa-1".to_owned(), 7)));
        assert_eq!(recovered_position("nothing"), None);
    }
}
