//! The arguments of the verbs of high availability. Doc comments here are the help text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::SpecArgs;

/// Run the agent of this node: it supervises the server and keeps the cluster available.
///
/// It runs until told to stop and leaves the server as it is then. Needs [ha] in the spec.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay agent --node db1\n  mainstay render systemd --node db1 --out /    units for it")]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Run the fencer of this node: should the agent hang, it ends the server when the lease has run out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay fencer --node db1")]
pub(crate) struct FencerArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Ask this node's agent a health check: exit 0 if it answers 200.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay health /primary\n  mainstay health '/replica?lag=10s'")]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// What is asked.
    #[arg(default_value = "/primary")]
    pub(crate) path: String,
}

/// Make another node the primary, in order and without losing a write.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay switchover\n  mainstay switchover --to db2 --yes")]
pub(crate) struct SwitchoverArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Which node; the best one when not said.
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Promote a node although it cannot be proven that nothing is lost. Shows first what would be.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay failover db2\n  mainstay failover db2 --yes --accept-loss    for scripts")]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The node to promote.
    pub(crate) to: String,
    /// Do not ask, as long as nothing is known to be lost.
    #[arg(long)]
    pub(crate) yes: bool,
    /// With --yes: also when something is lost.
    #[arg(long, requires = "yes")]
    pub(crate) accept_loss: bool,
}

/// Give a node a new copy of the primary's data.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay reinit db3")]
pub(crate) struct ReinitArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The node.
    pub(crate) target: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The cluster of a spec, for verbs that need nothing else.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Leave a node alone, or no longer: not started, not promoted, not given a new copy.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay maintenance db3 on\n  mainstay maintenance db3 off")]
pub(crate) struct MaintenanceArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The node.
    pub(crate) target: String,
    /// On or off.
    #[arg(value_enum)]
    pub(crate) to: Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Left alone.
    On,
    /// Taken part.
    Off,
}

/// Write configuration for what stands around the cluster.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay render haproxy > /etc/haproxy/haproxy.cfg\n  mainstay render systemd --node db1 --out /\n  mainstay render keepalived --node db1"
)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// For what.
    #[arg(value_enum)]
    pub(crate) what: RenderWhat,
    /// For systemd: write the files below this folder instead of printing them.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RenderWhat {
    /// HAProxy, routing by the agents' health checks.
    Haproxy,
    /// keepalived, holding the address where the primary is.
    Keepalived,
    /// systemd units of agent and fencer.
    Systemd,
    /// Commands for Pacemaker.
    Pacemaker,
}
