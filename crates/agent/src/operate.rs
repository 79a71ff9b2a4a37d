//! What operators ask for, through the store: from the API and from the command line alike.

use ha::{Ask, NodeName, Request};
use serde::{Deserialize, Serialize};
use store::{Committed, Compare, Store, Write};

use crate::config::Config;
use crate::error::AgentError;
use crate::keys::{self, HistoryEntry};
use crate::shown::ClusterView;

/// What was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Identity of the request.
    pub id: String,
    /// The epoch it was asked in.
    pub epoch: u64,
}

/// The cluster as the store has it.
///
/// # Errors
/// The store does not answer or holds something else.
pub(crate) async fn view(store: &Store) -> Result<ClusterView, AgentError> {
    let snapshot = store.snapshot().await?;
    let shared = keys::read(&snapshot)?;
    Ok(ClusterView {
        leader: shared.leader.map(|leader| leader.value),
        state: shared.state.map(|state| state.value),
        members: shared.members.into_iter().map(|(name, member)| (name, member.value)).collect(),
        paused: shared.paused,
        maintenance: shared.maintenance.into_iter().collect(),
        request: shared.request.map(|request| request.value),
        history: keys::read_history(&snapshot)?,
        answer: keys::read_answer(&snapshot)?,
    })
}

/// The history, oldest first.
///
/// # Errors
/// As [`view`].
pub(crate) async fn history(store: &Store) -> Result<Vec<HistoryEntry>, AgentError> {
    Ok(keys::read_history(&store.snapshot().await?)?)
}

/// Writes a request, if none is under way.
///
/// # Errors
/// One is under way, the cluster was not founded yet, its epoch is another than the asker looked at, or the node is
/// none of the spec.
pub(crate) async fn ask(
    store: &Store,
    config: &Config,
    ask: Ask,
    epoch: Option<u64>,
    by: &str,
) -> Result<Asked, AgentError> {
    let named = match &ask {
        Ask::Switchover { to } => to.as_ref(),
        Ask::Failover { to } => Some(to),
        Ask::Reinit { node } => Some(node),
    };
    if let Some(node) = named.filter(|node| !config.policy.nodes.contains(*node)) {
        return Err(AgentError::config(
            format!("the spec has no node {node}"),
            "look with `mainstay status`",
        ));
    }
    let shared = keys::read(&store.snapshot().await?)?;
    let state =
        shared.state.ok_or_else(|| AgentError::Refused("the cluster is not founded yet".to_owned()))?;
    if epoch.is_some_and(|epoch| epoch != state.value.epoch) {
        return Err(AgentError::Refused(format!("the epoch is {} by now: look again", state.value.epoch)));
    }
    let id = format!("{}-{}", state.value.epoch, jiff::Timestamp::now().as_nanosecond());
    let request = Request { id: id.clone(), by: by.to_owned(), epoch: state.value.epoch, ask };
    let compare = Compare::Absent(keys::REQUEST.to_owned());
    match store.commit(&[compare], &[keys::put(keys::REQUEST, &request)?]).await? {
        Committed::Done { .. } => Ok(Asked { id, epoch: state.value.epoch }),
        Committed::Conflict => {
            Err(AgentError::Refused("another request is under way; `mainstay explain` shows it".to_owned()))
        }
    }
}

/// Takes a request back that nobody answered.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn cancel(store: &Store) -> Result<(), AgentError> {
    store.commit(&[], &[Write::Delete(keys::REQUEST.to_owned())]).await?;
    Ok(())
}

/// Pauses, or resumes.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn pause(store: &Store, on: bool) -> Result<(), AgentError> {
    let key = keys::PAUSE.to_owned();
    let write = if on { Write::Put(key, b"true".to_vec()) } else { Write::Delete(key) };
    store.commit(&[], &[write]).await?;
    Ok(())
}

/// Leaves a node alone, or no longer.
///
/// # Errors
/// The node is none of the spec, or the store does not answer.
pub(crate) async fn maintenance(
    store: &Store,
    config: &Config,
    node: &NodeName,
    on: bool,
) -> Result<(), AgentError> {
    if !config.policy.nodes.contains(node) {
        return Err(AgentError::config(
            format!("the spec has no node {node}"),
            "look with `mainstay status`",
        ));
    }
    let key = keys::maintenance(node);
    let write = if on { Write::Put(key, b"true".to_vec()) } else { Write::Delete(key) };
    store.commit(&[], &[write]).await?;
    Ok(())
}
