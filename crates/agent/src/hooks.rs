//! The operator's programs, run when this node's role changes. They are told, never asked: what they answer changes
//! nothing, and one that hangs is ended.

use std::time::Duration;

use host::command::Command;

use crate::config::Config;

/// Starts the hook for an event, if there is one, without waiting for it.
pub(crate) fn run(config: &Config, event: &'static str, why: &str, epoch: u64) {
    let hooks = &config.ha.hooks;
    let words = match event {
        "promoted" => &hooks.promoted,
        "demoted" => &hooks.demoted,
        _ => &hooks.fenced,
    };
    let Some(command) = Command::from_words(words) else { return };
    let command = command
        .env("MAINSTAY_EVENT", event)
        .env("MAINSTAY_NODE", &config.me.0)
        .env("MAINSTAY_CLUSTER", &config.spec.cluster.name)
        .env("MAINSTAY_EPOCH", epoch.to_string())
        .env("MAINSTAY_REASON", why)
        .timeout(Duration::from_millis(u64::from(hooks.timeout_ms)));
    tokio::spawn(async move {
        match command.run().await {
            Ok(_) => tracing::info!(event, "the hook ran"),
            Err(error) => tracing::warn!(event, %error, "the hook failed"),
        }
    });
}
