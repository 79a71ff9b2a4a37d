//! What the command line asks of agents: the one of this host first, then any other that answers.

use std::time::Duration;

use ha::NodeName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Config;
use crate::error::AgentError;
use crate::keys::{Answer, HistoryEntry};
use crate::operate::Asked;
use crate::peers::call;
use crate::shown::Explained;

/// An agent that does not answer within this is passed over.
const LIMIT: Duration = Duration::from_secs(5);
/// How long an operator waits for the answer to a request.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The agents of a cluster.
#[derive(Clone, Debug)]
pub struct Client {
    config: Config,
}

/// The cluster as its store has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// The lease.
    pub leader: Option<ha::Leader>,
    /// The state.
    pub state: Option<ha::State>,
    /// What each node reports.
    pub members: std::collections::BTreeMap<NodeName, ha::Member>,
    /// Paused.
    pub paused: bool,
    /// Nodes left alone.
    pub maintenance: Vec<NodeName>,
    /// What an operator asks for.
    pub request: Option<ha::Request>,
    /// The epochs, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The answer to the last request.
    pub answer: Option<Answer>,
}

impl Client {
    /// For a spec; `me` is asked first.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config }
    }

    async fn any(&self, path: &str, body: Option<&Value>) -> Result<Value, AgentError> {
        let mut hosts: Vec<&NodeName> = self.config.hosts.keys().collect();
        hosts.sort_by_key(|host| **host != self.config.me);
        let mut last = AgentError::Refused("the spec has no hosts".to_owned());
        for host in hosts {
            match call(&self.config, host, path, body, Some(LIMIT)).await {
                Ok(response) => {
                    let peer = |error: reqwest::Error| AgentError::Peer {
                        node: host.0.clone(),
                        reason: host::reason(&error),
                        answered: false,
                    };
                    return response.json().await.map_err(peer);
                }
                // One that answered with a refusal was heard; another would say the same.
                Err(error @ AgentError::Peer { answered: true, .. }) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, AgentError> {
        let value = self.any(path, body).await?;
        serde_json::from_value(value)
            .map_err(|error| AgentError::Refused(format!("the agent answered with something else: {error}")))
    }

    /// The cluster, by any agent.
    ///
    /// # Errors
    /// No agent answers.
    pub async fn cluster(&self) -> Result<Cluster, AgentError> {
        self.read("/cluster", None).await
    }

    /// What each host's agent last decided, or why it does not say.
    pub async fn explain(&self) -> Vec<(NodeName, Result<Explained, AgentError>)> {
        let mut asked = tokio::task::JoinSet::new();
        for host in self.config.hosts.keys().cloned() {
            let config = self.config.clone();
            asked.spawn(async move {
                let answer = async {
                    let response = call::<Value>(&config, &host, "/explain", None, Some(LIMIT)).await?;
                    let peer = |error: reqwest::Error| AgentError::Peer {
                        node: host.0.clone(),
                        reason: host::reason(&error),
                        answered: false,
                    };
                    response.json::<Explained>().await.map_err(peer)
                };
                let answer = answer.await;
                (host, answer)
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
        answers.sort_by(|one, other| one.0.cmp(&other.0));
        answers
    }

    /// Asks for something and waits for what comes of it.
    ///
    /// # Errors
    /// No agent answers, or the request is refused.
    pub async fn ask(
        &self,
        path: &str,
        node: Option<&str>,
        epoch: Option<u64>,
        by: &str,
    ) -> Result<Answer, AgentError> {
        let body = json!({ "node": node, "epoch": epoch, "by": by });
        let asked: Asked = self.read(path, Some(&body)).await?;
        let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
        while tokio::time::Instant::now() < deadline {
            if let Some(answer) = self.cluster().await?.answer
                && answer.id == asked.id
            {
                return Ok(answer);
            }
            tokio::time::sleep(POLL).await;
        }
        self.any("/cancel", Some(&json!({}))).await?;
        Err(AgentError::Refused(
            "nobody answered within a minute; the request was taken back. `mainstay explain` says why"
                .to_owned(),
        ))
    }

    /// Pauses, or resumes.
    ///
    /// # Errors
    /// No agent answers, or the store does not.
    pub async fn pause(&self, on: bool) -> Result<(), AgentError> {
        let path = if on { "/pause" } else { "/resume" };
        self.any(path, Some(&json!({}))).await.map(|_| ())
    }

    /// Leaves a node alone, or no longer.
    ///
    /// # Errors
    /// As [`Self::pause`]; the node is none of the spec.
    pub async fn maintenance(&self, node: &str, on: bool) -> Result<(), AgentError> {
        self.any("/maintenance", Some(&json!({ "node": node, "on": on }))).await.map(|_| ())
    }
}
