//! The daemon of a node: looks, asks `ha` what to do, and does it.
//!
//! One loop a node ([`run`]); HTTP for proxies, people and other agents; a fence that does not need the loop.

mod accounts;
mod act;
mod audit;
mod client;
mod config;
mod database;
mod error;
mod hooks;
mod http;
mod keys;
mod kill;
mod lease;
mod look;
mod node;
mod operate;
mod peers;
mod process;
mod record;
mod reseed;
mod shown;
mod swap;
mod time;

use std::sync::Arc;

use tokio::sync::Notify;

pub use crate::kill::{Ended, KillLog, KillRound, kill_round};
pub use client::{Client, Cluster};
pub use config::Config;
pub use error::AgentError;
pub use keys::{Answer, HistoryEntry};
pub use operate::Asked;
pub use shown::Explained;

use crate::http::Api;
use crate::node::Node;
use crate::shown::Shown;

/// Runs the agent of a node or witness until `stop`.
///
/// # Errors
/// It cannot begin: settings, credentials, certificates, ports, or another agent for the same node.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    let config = Arc::new(config);
    let store = config.store()?;
    let identity = host::secrets::generate()?;
    let fresh = host::files::sha256_hex(secrecy::ExposeSecret::expose_secret(&identity).as_bytes());
    let fresh: String = fresh.chars().take(32).collect();
    let shown = Arc::new(Shown::new(&config.me, &config.policy, fresh));
    let wake = Arc::new(Notify::new());
    let node = Node::new(config.clone(), store.clone(), shown.clone(), wake.clone()).await?;
    http::serve_health(&config.listen(config.ha.api.health_port), shown.clone()).await?;
    if let Some(port) = config.ha.api.agent_check_port {
        http::serve_agent_checks(&config.listen(port), &shown).await?;
    }
    let api = Api { config: config.clone(), store, shown: shown.clone(), wake, token: config.token()? };
    http::serve_api(&config.listen(config.ha.api.api_port), api).await?;
    tracing::info!(node = %config.me, "the agent runs");
    // Beside the loop: a look at many sessions takes longer than a tick may.
    let killing = tokio::spawn(kill::watch(config, shown));
    let ended = node.run(stop).await;
    killing.abort();
    ended
}

/// Runs the fencer of a node: ends the server and its address should the agent fail to in time.
///
/// # Errors
/// Its record cannot be used.
pub async fn run_fencer(config: &Config, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    let watchdog = config.ha.watchdog.clone().map(|device| host::fence::WatchdogOptions {
        device,
        timeout_seconds: config.ha.ttl_ms.div_ceil(1_000).max(2),
    });
    host::fence::run_fencer(&lease::fence_file(config), &config.state_file("fencer.log"), watchdog, stop)
        .await
        .map_err(AgentError::system("fencing"))
}
