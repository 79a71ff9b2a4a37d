//! The command line: what may be typed, and the help that explains it.
//!
//! Doc comments here are the help text. Secrets are never options: they come from files, prompts or the
//! environment.

mod backup;
mod backup_keep;
mod binlog;
mod checksum;
mod digest;
mod extract;
mod ha;
mod kill;
mod rehearse;
mod restore;
mod rewind;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use backup::{BackupArgs, BackupCreateArgs, CompressArg};
pub(crate) use backup_keep::{
    BackupArchiveArgs, BackupKeygenArgs, BackupListArgs, BackupPruneArgs, BackupVerifyArgs, KeptArgs,
    RecipientArgs,
};
pub(crate) use binlog::{
    ActionArg, BinlogArgs, BinlogFindArgs, BinlogRollbackArgs, BinlogSqlArgs, BinlogStatsArgs, DamageArg,
    LogArgs, SchemaArgs, SelectArgs, SqlOutputArg, TimelineArg,
};
pub(crate) use checksum::ChecksumArgs;
pub(crate) use digest::{
    BaselineArgs, CompatArg, DigestArgs, DigestBinlogArgs, DigestGeneralArgs, DigestGroupArg, DigestLiveArgs,
    DigestOutputArg, DigestReportArgs, DigestSlowArgs, HistoryKeepArgs, LiveSourceArg,
};
pub(crate) use extract::ExtractArgs;
pub(crate) use ha::{
    AgentArgs, ExplainArgs, FailoverArgs, FencerArgs, HealthArgs, HistoryArgs, MaintenanceArgs, PauseArgs,
    ProgramArg, ReinitArgs, RenderArgs, ResumeArgs, SwitchArg, SwitchoverArgs,
};
pub(crate) use kill::{
    AllowedArg, ClassArgs, GroupByArg, KillArgs, KillWhatArg, LocksArg, MatchArgs, VictimsArg,
};
pub(crate) use rehearse::RehearseArgs;
pub(crate) use restore::{MethodArg, ProfileArg, RestoreArgs, StoreArgs};
pub(crate) use rewind::{RewindArgs, ToArgs};

/// Sets up, tunes and keeps the MySQL or MariaDB database under a cloud's control plane.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Examples:\n  mainstay init --cloud cloudstack     write a commented mainstay.toml\n  \
    mainstay plan                        show what differs from it, and why\n  \
    mainstay apply                       make it so\n  \
    mainstay lab up --name try           a throwaway server to try things on\n\n\
    Exit codes: 0 good, 1 failed, 2 there are differences or findings."
)]
pub(crate) struct Cli {
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to standard error; -vv logs everything. MAINSTAY_LOG takes a tracing filter.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) verb: VerbArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerbArgs {
    Init(InitArgs),
    Plan(PlanArgs),
    Apply(ApplyArgs),
    Status(StatusArgs),
    Explain(ExplainArgs),
    History(HistoryArgs),
    Switchover(SwitchoverArgs),
    Failover(FailoverArgs),
    Reinit(ReinitArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Maintenance(MaintenanceArgs),
    Agent(AgentArgs),
    Fencer(FencerArgs),
    Health(HealthArgs),
    Render(RenderArgs),
    Facts(FactsArgs),
    Kill(Box<KillArgs>),
    Checksum(Box<ChecksumArgs>),
    /// Read binary logs: what changed, who did it, as SQL, and undone.
    #[command(subcommand)]
    Binlog(Box<BinlogArgs>),
    /// Digest what servers ran: kinds of statements, with their times, rows and share of the whole.
    #[command(subcommand)]
    Digest(Box<DigestArgs>),
    /// Take backups, keep and prove them, and archive binary logs.
    #[command(subcommand)]
    Backup(Box<BackupArgs>),
    Restore(Box<RestoreArgs>),
    Extract(Box<ExtractArgs>),
    Rewind(Box<RewindArgs>),
    /// Encrypt and decrypt CloudStack's configuration values, and read its db.properties.
    #[command(subcommand)]
    Cloudstack(CloudstackArgs),
    Openstack(OpenstackArgs),
    /// Throwaway local clusters, from the servers installed on this machine.
    #[command(subcommand)]
    Lab(LabArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Take over files of the cluster from another node.
    #[command(hide = true)]
    Receive(ReceiveArgs),
}

/// Write a commented mainstay.toml from what is found on this host.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay init --cloud cloudstack\n  mainstay init --cloud openstack --config /etc/mainstay/mainstay.toml\n  mainstay init --stdout"
)]
pub(crate) struct InitArgs {
    /// Whose database it is.
    #[arg(long, value_enum, default_value_t = CloudArg::None)]
    pub(crate) cloud: CloudArg,
    /// Where to write it. An existing file is never overwritten.
    #[arg(long, default_value = "mainstay.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print it instead.
    #[arg(long)]
    pub(crate) stdout: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CloudArg {
    /// Apache CloudStack.
    Cloudstack,
    /// OpenStack.
    Openstack,
    /// No cloud profile.
    None,
}

/// The spec, and which of its nodes this is.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpecArgs {
    /// The spec. Default: mainstay.toml here, else /etc/mainstay/mainstay.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The node of the spec (or the witness) this host is. Default: the one whose name or address is this host's.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
}

/// Show the ordered steps that would bring this node to its spec, each with its reason and risk.
///
/// Nothing is changed, except that the data directory's disk is measured with a temporary file. Exit code 0 says
/// that nothing differs, 2 that something does.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay plan\n  mainstay plan --out plan.json && mainstay apply --plan plan.json\n  mainstay plan --json | jq '.steps[].title'"
)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Also write the plan to a file that `apply --plan` takes.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Plan to destroy and make anew the databases named, separated by commas.
    #[arg(long, value_name = "DATABASES", value_delimiter = ',')]
    pub(crate) recreate: Vec<String>,
    /// Do not measure disk and network.
    #[arg(long)]
    pub(crate) no_measure: bool,
}

/// Carry out the plan: ask first, record every step, and read the result back.
///
/// It may be killed at any moment and run again; a second run changes nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay apply\n  mainstay apply --yes               for scripts\n  mainstay apply --plan plan.json    exactly that plan, refused if the node has changed since\n  mainstay apply --all               every node of the spec, the others over OpenSSH\n  mainstay apply --recreate cloud,cloud_usage\n                                     destroy these databases and load the schema anew"
)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Carry out this plan, as written by `plan --out`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recreate", "all"])]
    pub(crate) plan: Option<PathBuf>,
    /// Destroy and make anew the databases named, separated by commas; asks for their names again.
    #[arg(long, value_name = "DATABASES", value_delimiter = ',')]
    pub(crate) recreate: Vec<String>,
    /// Every node of the spec: this one first, the others over OpenSSH with this same binary.
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Show every node of the cluster: server, role, replication, lag, disk, certificate, and what differs.
///
/// With [ha] in the spec, also what its agents report. Exit code 2: something is wrong or differs.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay status\n  mainstay status --watch\n  mainstay status --json | jq '.nodes[].read_only'"
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Show it again every two seconds until interrupted.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// How to reach a server.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Unix socket.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    pub(crate) socket: Option<PathBuf>,
    /// Host name or address, over TCP with TLS.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// TCP port.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Account; default root.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Option file with a [client] section: user, password, host, port, socket, ssl-ca.
    #[arg(long, value_name = "FILE")]
    pub(crate) defaults_file: Option<PathBuf>,
    /// File with the password; without it and without an option file, MAINSTAY_PASSWORD.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Ask for the password.
    #[arg(long)]
    pub(crate) ask_password: bool,
    /// CA to verify the server with; default the public ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Encrypt without verifying who answers.
    #[arg(long, conflicts_with_all = ["tls_ca", "no_tls"])]
    pub(crate) tls_insecure: bool,
    /// Do not encrypt.
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) no_tls: bool,
}

/// Show what a server is: flavor, version, role, TLS, accounts, databases, and what it can do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay facts\n  mainstay facts --host db1.example --user admin --ask-password --tls-ca ca.pem\n  mainstay facts --variables --json | jq '.server.variables.sql_mode'"
)]
pub(crate) struct FactsArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Also list every global variable.
    #[arg(long)]
    pub(crate) variables: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CloudstackArgs {
    Encrypt(CryptArgs),
    Decrypt(CryptArgs),
    ShowProperties(ShowPropertiesArgs),
}

/// Encrypt or decrypt one value, read from standard input or a prompt.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay cloudstack encrypt --key-file /etc/cloudstack/management/key < value.txt\n  echo 'ENC(...)' | mainstay cloudstack decrypt --key-file key\n  mainstay cloudstack decrypt --key-file dbkey --encryptor V1 < value.txt"
)]
pub(crate) struct CryptArgs {
    /// File with the key; without it, CLOUD_SECRET_KEY or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// V1 or V2. Encrypting uses V2 unless told; decrypting tries V2, then V1.
    #[arg(long, value_name = "VERSION")]
    pub(crate) encryptor: Option<cloudstack::Encryptor>,
    /// Wrap the result as ENC(...), as db.properties has it.
    #[arg(long)]
    pub(crate) wrap: bool,
}

/// Show db.properties as the management server reads it, with secrets masked.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay cloudstack show-properties\n  mainstay cloudstack show-properties --secrets --file db.properties --key-file key"
)]
pub(crate) struct ShowPropertiesArgs {
    /// The file.
    #[arg(long, value_name = "FILE", default_value = "/etc/cloudstack/management/db.properties")]
    pub(crate) file: PathBuf,
    /// The management key; default `key` beside the file, else CLOUD_SECRET_KEY.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Print secrets in the clear.
    #[arg(long)]
    pub(crate) secrets: bool,
}

/// Print the connection URL of each OpenStack service, and where it goes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay openstack                    passwords masked\n  mainstay openstack --secrets keystone"
)]
pub(crate) struct OpenstackArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Only these services.
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Print passwords in the clear.
    #[arg(long)]
    pub(crate) secrets: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabArgs {
    Up(LabUpArgs),
    /// List clusters.
    List,
    /// Show a cluster's nodes.
    Status(LabNameArgs),
    /// Stop nodes cleanly.
    Stop(LabNodeArgs),
    /// Start nodes again.
    Start(LabNodeArgs),
    /// Kill nodes with SIGKILL.
    Kill(LabNodeArgs),
    /// Freeze nodes with SIGSTOP.
    Pause(LabNodeArgs),
    /// Thaw nodes with SIGCONT.
    Resume(LabNodeArgs),
    /// Print the path and the end of a node's error log.
    Logs(LabNodeArgs),
    Shell(LabShellArgs),
    Spec(LabSpecArgs),
    /// Stop everything of a cluster and remove it wholly.
    Down(LabNameArgs),
}

/// Bring up a throwaway cluster on this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay lab up --name try\n  mainstay lab up --name ha --topology replication --agents\n  mainstay lab up --name my --server mysql --server-root /srv/mysql-tree\n  mainstay lab up --name g --topology galera --nodes 3 --json"
)]
pub(crate) struct LabUpArgs {
    /// Name of the cluster.
    #[arg(long, default_value = "lab")]
    pub(crate) name: String,
    /// How the nodes relate.
    #[arg(long, value_enum, default_value_t = TopologyArg::Single)]
    pub(crate) topology: TopologyArg,
    /// How many nodes; default 1 for single, 3 else.
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<u32>,
    /// Which server.
    #[arg(long, value_enum, default_value_t = ServerArg::Mariadb)]
    pub(crate) server: ServerArg,
    /// Run the server inside this directory tree (made by debootstrap, say) instead of this machine's.
    #[arg(long, value_name = "DIR")]
    pub(crate) server_root: Option<PathBuf>,
    /// With --topology replication: nodes on addresses of their own (127.0.0.1, .2, ...), set up by `apply`, kept
    /// available by an agent and a fencer each.
    #[arg(long)]
    pub(crate) agents: bool,
    /// With --agents: whose database it is.
    #[arg(long, value_enum, default_value_t = CloudArg::None, requires = "agents")]
    pub(crate) cloud: CloudArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopologyArg {
    /// One server, or several that know nothing of each other.
    Single,
    /// A primary and its replicas.
    Replication,
    /// A Galera cluster (MariaDB).
    Galera,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServerArg {
    /// MariaDB Server.
    Mariadb,
    /// MySQL Server.
    Mysql,
}

#[derive(Debug, Args)]
pub(crate) struct LabNameArgs {
    /// Name of the cluster.
    #[arg(default_value = "lab")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct LabNodeArgs {
    /// Name of the cluster.
    #[arg(default_value = "lab")]
    pub(crate) name: String,
    /// One node; default all.
    pub(crate) node: Option<String>,
}

/// Open the server's own client on a node, or run one statement.
#[derive(Debug, Args)]
pub(crate) struct LabShellArgs {
    /// Name of the cluster.
    #[arg(default_value = "lab")]
    pub(crate) name: String,
    /// Which node; default the first.
    pub(crate) node: Option<String>,
    /// Run this statement and print its result.
    #[arg(short, long, value_name = "SQL")]
    pub(crate) execute: Option<String>,
}

/// Print a mainstay.toml for a lab cluster, so that plan and apply can be tried on it.
#[derive(Debug, Args)]
pub(crate) struct LabSpecArgs {
    /// Name of the cluster.
    #[arg(default_value = "lab")]
    pub(crate) name: String,
    /// Whose database it shall be.
    #[arg(long, value_enum, default_value_t = CloudArg::Cloudstack)]
    pub(crate) cloud: CloudArg,
}

/// Bring up three servers with agents, set them up for CloudStack, kill the primary, and show what came of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay demo\n  mainstay demo --server mysql --server-root /srv/mysql-tree"
)]
pub(crate) struct DemoArgs {
    /// Which server.
    #[arg(long, value_enum, default_value_t = ServerArg::Mariadb)]
    pub(crate) server: ServerArg,
    /// Run the server inside this directory tree.
    #[arg(long, value_name = "DIR")]
    pub(crate) server_root: Option<PathBuf>,
}

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mainstay completions bash > /etc/bash_completion.d/mainstay")]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Write the man pages into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mainstay man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder; it must exist.
    pub(crate) folder: PathBuf,
}

/// Keep a server running; started by apply where there is no systemd.
#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    /// State folder of Mainstay.
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// Node name.
    #[arg(long)]
    pub(crate) node: String,
    /// The server's program and arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReceiveArgs {
    /// The node this host is.
    #[arg(long)]
    pub(crate) node: String,
}
