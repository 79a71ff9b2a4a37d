//! The command line of `mainstay checksum`.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use checksum::TableName;
use clap::Args;

use super::SpecArgs;

/// Compare the data of nodes, and name the rows that differ.
///
/// A first look at each table that is not too large is taken by CHECKSUM TABLE, on both sides at once. Where that does
/// not show it equal, it is summed piece by piece on the source and, once it has everything that the source had then,
/// on the target; replication and writes go on. What differs is looked at again, halved until single rows are left, and
/// of each of these the source's is locked for the moment the target takes to get there. Nothing is changed and nothing
/// logged: no STATEMENT format, no SUPER. The account needs SELECT on the tables and nothing else.
///
/// Exit code 0: everything is equal; 2: something differs or could not be decided; 1: it failed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay checksum                              the nodes of mainstay.toml, with its primary\n  mainstay checksum --source db1.example --target db2.example:3307 --user checker --password-file pw --tls-ca ca.pem\n  mainstay checksum --source /run/a.sock --target /run/b.sock --static --databases cloud,cloud_usage\n  mainstay checksum --table cloud.vm_instance --repair-sql repair.sql\n  mainstay checksum --exact --json | jq '.tables[] | select(.verdict != \"equal\")'"
)]
pub(crate) struct ChecksumArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// The server to compare with: HOST, HOST:PORT, or a socket's path. Default: the primary of the spec.
    #[arg(long, value_name = "ADDRESS", requires = "target")]
    pub(crate) source: Option<String>,
    /// A server to compare; may be given several times. Default: the other nodes of the spec.
    #[arg(long, value_name = "ADDRESS", requires = "source")]
    pub(crate) target: Vec<String>,
    #[command(flatten)]
    pub(crate) login: ChecksumLoginArgs,
    #[command(flatten)]
    pub(crate) what: ChecksumWhatArgs,
    /// Compare snapshots of one GTID: the target's replication stops for a moment and runs on. Needs the right to do
    /// that there, and RELOAD on a MySQL source.
    #[arg(long, conflicts_with_all = ["static_data", "galera"])]
    pub(crate) exact: bool,
    /// Nobody writes: compare the servers as they are, whatever they are to each other.
    #[arg(long = "static", conflicts_with = "galera")]
    pub(crate) static_data: bool,
    /// The servers are nodes of one Galera cluster; of a spec this is known.
    #[arg(long)]
    pub(crate) galera: bool,
    /// Sum every table row by row, without a first look by CHECKSUM TABLE, which is much faster and does not see every
    /// difference (docs/checksum.md says which).
    #[arg(long)]
    pub(crate) thorough: bool,
    /// How long one statement is to take, in milliseconds. CHECKSUM TABLE looks at tables it can read in this time.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(crate) chunk_time: u64,
    /// How long a target may take to get where the source was; the source is asked nothing meanwhile.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) lag_limit: u64,
    /// Pause while more threads than this work on the source.
    #[arg(long, value_name = "THREADS")]
    pub(crate) load_max: Option<u64>,
    /// Lock no rows: rows that are written to all the time then stay undecided.
    #[arg(long)]
    pub(crate) no_locks: bool,
    /// Differing rows of a table to look for.
    #[arg(long, value_name = "ROWS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) max_differences: u64,
    /// Differing rows of a table to show.
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    pub(crate) show: usize,
    /// Write the statements that would make the target's rows the source's. They are never run. For one target.
    #[arg(long, value_name = "FILE")]
    pub(crate) repair_sql: Option<PathBuf>,
}

/// The login for all of the servers. Without it, a spec's nodes are reached as `status` reaches them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Login")]
pub(crate) struct ChecksumLoginArgs {
    /// Account; default root.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Option file with a [client] section: user, password, ssl-ca.
    #[arg(long, value_name = "FILE")]
    pub(crate) defaults_file: Option<PathBuf>,
    /// File with the password; without it and without an option file, MAINSTAY_PASSWORD.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Ask for the password.
    #[arg(long)]
    pub(crate) ask_password: bool,
    /// CA to verify the servers with; default the public ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Encrypt without verifying who answers.
    #[arg(long, conflicts_with_all = ["tls_ca", "no_tls"])]
    pub(crate) tls_insecure: bool,
    /// Do not encrypt.
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) no_tls: bool,
}

/// Which tables.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tables")]
pub(crate) struct ChecksumWhatArgs {
    /// Only these databases, separated by commas.
    #[arg(long, value_name = "DATABASES", value_delimiter = ',')]
    pub(crate) databases: Vec<String>,
    /// Only this table; may be given several times.
    #[arg(long = "table", value_name = "DB.TABLE")]
    pub(crate) tables: Vec<TableName>,
    /// Not this table; may be given several times.
    #[arg(long, value_name = "DB.TABLE")]
    pub(crate) ignore_table: Vec<TableName>,
    /// A table that has another name on the target.
    #[arg(long, value_name = "DB.TABLE=DB.TABLE", value_parser = renamed)]
    pub(crate) renamed: Vec<(TableName, TableName)>,
}

fn renamed(text: &str) -> Result<(TableName, TableName), String> {
    let (ours, theirs) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not as db.table=db.table"))?;
    Ok((ours.parse()?, theirs.parse()?))
}
