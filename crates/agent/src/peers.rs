//! What one agent asks of another: agreement while the store cannot be reached, and data.

use std::time::Duration;

use ha::NodeName;
use reqwest::{Certificate, Client, Response};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::config::Config;
use crate::error::AgentError;
use crate::http::FailsafeQuestion;
use crate::node::Node;
use crate::time::now;

/// A peer that does not answer within this does not agree.
const QUESTION: Duration = Duration::from_millis(800);

/// A client that trusts the cluster's CA and nobody else.
///
/// # Errors
/// The CA cannot be read.
pub(crate) fn client(config: &Config) -> Result<Client, AgentError> {
    let mut builder = Client::builder().connect_timeout(Duration::from_secs(3)).no_proxy();
    if let Some(tls) = &config.spec.tls {
        let pem = host::files::read_bounded(&tls.dir.join("ca.pem"), 1 << 20)?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| AgentError::Tls(error.to_string()))?;
        builder = builder.tls_certs_only([certificate]).https_only(true);
    }
    builder.build().map_err(|error| AgentError::Tls(error.to_string()))
}

fn peer_error(node: &NodeName) -> impl Fn(reqwest::Error) -> AgentError {
    let node = node.0.clone();
    move |error| AgentError::Peer {
        node: node.clone(),
        reason: host::reason(&error.without_url()),
        answered: false,
    }
}

/// Asks another agent's API.
///
/// # Errors
/// It does not answer, or answers with an error.
pub(crate) async fn call<T: Serialize + std::marker::Sync>(
    config: &Config,
    node: &NodeName,
    path: &str,
    body: Option<&T>,
    limit: Option<Duration>,
) -> Result<Response, AgentError> {
    let url = config
        .api_url(node, path)
        .ok_or_else(|| AgentError::Refused(format!("{node} is no host of the spec")))?;
    let client = client(config)?;
    let request = match body {
        Some(body) => client.post(url).json(body),
        None => client.get(url),
    };
    let request = request.bearer_auth(config.token()?.expose_secret());
    let request = match limit {
        Some(limit) => request.timeout(limit),
        None => request,
    };
    let response = request.send().await.map_err(peer_error(node))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let reason = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| value.get("error").and_then(|error| error.as_str()).map(str::to_owned))
        .unwrap_or_else(|| status.to_string());
    Err(AgentError::Peer { node: node.0.clone(), reason, answered: true })
}

impl Node {
    /// Asks every other host to agree that the lease goes on. One that does not is enough against it.
    pub(crate) async fn ask_failsafe(&mut self) -> Result<(), AgentError> {
        let Some(holding) = self.holding.clone() else { return Ok(()) };
        let sent = now();
        let mut answers = tokio::task::JoinSet::new();
        for node in self.config.hosts.keys().filter(|node| **node != self.config.me) {
            let (config, node) = (self.config.clone(), node.clone());
            let question = FailsafeQuestion { node: config.me.clone(), epoch: holding.epoch };
            answers.spawn(async move {
                call(&config, &node, "/failsafe", Some(&question), Some(QUESTION)).await.map(|_| ())
            });
        }
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(error) => return Err(AgentError::Refused(error.to_string())),
            }
        }
        let until = sent + self.config.policy.ttl - self.config.policy.margin;
        if let Some(holding) = &mut self.holding {
            holding.until = holding.until.max(until);
            holding.failsafe = true;
        }
        self.extend(until);
        Ok(())
    }
}
