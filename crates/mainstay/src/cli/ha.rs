//! The command line of high availability: agents, what they are asked for, and configuration of what follows them.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::SpecArgs;

/// Run the agent of this node or witness: keeps the lease, promotes and follows, and fences.
///
/// Logs to standard error; ends on SIGTERM or SIGINT. `mainstay render systemd` writes its unit.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay agent\n  mainstay agent --config /etc/mainstay/mainstay.toml --node db1"
)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Run the fencer of this node: kills the server should its agent hang beyond the lease.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay fencer\n  mainstay fencer --config /etc/mainstay/mainstay.toml --node db1"
)]
pub(crate) struct FencerArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Ask this node's agent whether the node is primary: exit 0 if it is, 1 if not.
///
/// Prints nothing unless on a terminal or with --json, since other programs ask every second.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay health\n  mainstay health --node db2 /replica\n  mainstay health /liveness || systemctl restart mainstay-agent"
)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// What to ask: /primary, /replica, /read-only, /health, /liveness or /readiness.
    #[arg(value_name = "PATH", default_value = "/primary")]
    pub(crate) path: String,
}

/// Hand the primary's role over in order: no write is lost, and writes stop for a moment.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay switchover\n  mainstay switchover --to db2 --yes")]
pub(crate) struct SwitchoverArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The next primary; default the best one.
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Promote a node although it cannot be proven that nothing is lost; shows first what would be.
///
/// For when the agents refuse to promote anybody: `mainstay explain` says why they do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay failover db2\n  mainstay failover db2 --yes              refused if something would be lost\n  mainstay failover db2 --yes --accept-loss"
)]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The node to promote.
    #[arg(value_name = "NODE")]
    pub(crate) to: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    /// With --yes: go on although transactions would be lost.
    #[arg(long, requires = "yes")]
    pub(crate) accept_loss: bool,
}

/// Have the agents change no roles until resumed. The primary stays fenced by its lease.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mainstay pause")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Let the agents change roles again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mainstay resume      after `mainstay pause`")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Have the agents leave one node alone, or no longer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay maintenance db3 on\n  mainstay maintenance db3 off")]
pub(crate) struct MaintenanceArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The node.
    #[arg(value_name = "NODE")]
    pub(crate) name: String,
    /// On or off.
    #[arg(value_enum)]
    pub(crate) switch: SwitchArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SwitchArg {
    /// Leave it alone.
    On,
    /// No longer.
    Off,
}

/// Destroy a replica's data and fill it anew from another node.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay reinit db3\n  mainstay reinit db3 --yes")]
pub(crate) struct ReinitArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The node; never the primary.
    #[arg(value_name = "NODE")]
    pub(crate) name: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Show what every agent last decided, and what stands against more. Exit code 2: something is amiss.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay explain\n  mainstay explain --json | jq '.hosts[].vetoes'")]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Show every epoch of the cluster: its primary, why it came to be, and what was lost.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mainstay history\n  mainstay history --json | jq '.epochs[-1]'")]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// Write configuration of programs that follow the primary, and systemd units of the agents and of backups.
///
/// Units and scripts name this program and the spec where they are now: render them on the host they are for.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay render haproxy > /etc/haproxy/haproxy.cfg\n  mainstay render keepalived --node db1\n  mainstay render systemd --out /        this node's units, in place\n  mainstay render pacemaker --out ."
)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// For which program.
    #[arg(value_enum)]
    pub(crate) program: ProgramArg,
    /// Write into this folder instead: units at their paths below it, other files directly.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgramArg {
    /// HAProxy on any host.
    Haproxy,
    /// Keepalived on this node.
    Keepalived,
    /// Units of this node's agent and fencer.
    Systemd,
    /// A script that sets Pacemaker up.
    Pacemaker,
}
