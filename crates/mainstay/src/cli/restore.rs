//! The command line of `mainstay restore`.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ConnectArgs;

/// Load a dump or backup into a server: fast, checked first, and resumable.
///
/// The source is read whole before anything is changed; a file that is cut off or damaged is named, and nothing is
/// loaded. Tables are made with their primary key, rows loaded by several sessions, other keys built after, foreign keys
/// last. Killed at any moment, the same command goes on where it stopped. Exit code 2: there is a dry run's plan.
///
/// A physical backup (`backup create --physical`) becomes the data directory of a server that is not running: with
/// --datadir. It streams there without a copy of its own, is made ready, and takes its place at the end, whole or not at
/// all.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay restore /backups/20261121T173000Z-shop --dry-run\n  mainstay restore dump.sql.gz --into shop --progress\n  mainstay restore /backups/mydumper --rename-database shop=shop_check --no-binlog\n  mainstay restore s3://backups/cloud/20261121T173000Z-cloud --profile cloudstack\n  mainstay restore 20261121T173000Z-cloud --accounts            of the spec's place, with its identity\n  mainstay restore old-mysql.sql.zst --fix collation,definer\n  mainstay restore /backups/20261121T173000Z-files --datadir /var/lib/mysql    a physical one"
)]
pub(crate) struct RestoreArgs {
    /// A plain dump (.sql, also .gz, .zst, .xz, .lz4), a folder of mydumper's or of Mainstay's, s3://BUCKET/PREFIX/ID, or
    /// the name of a backup in the spec's place.
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Only these tables, as database.table or table, separated by commas.
    #[arg(long, value_name = "TABLES", value_delimiter = ',', help_heading = "What")]
    pub(crate) tables: Vec<String>,
    /// Only these databases, separated by commas.
    #[arg(long, value_name = "DATABASES", value_delimiter = ',', help_heading = "What")]
    pub(crate) databases: Vec<String>,
    /// Restore a database under another name.
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed, help_heading = "What")]
    pub(crate) rename_database: Vec<(String, String)>,
    /// The database of what has none in the dump. Default: the one the dump names in its head.
    /// Refused where the dump says itself where all of it belongs: see `--rename-database`.
    #[arg(long, value_name = "DATABASE", help_heading = "What")]
    pub(crate) into: Option<String>,
    /// Let other tables of the databases be. A table of the same name is still refused.
    #[arg(long, conflicts_with = "rename_existing", help_heading = "Safety")]
    pub(crate) into_nonempty: bool,
    /// Give tables of the same name another one (NAME_before_TIME), and let all others be.
    #[arg(long, help_heading = "Safety")]
    pub(crate) rename_existing: bool,
    /// Changes that may be made for this server: all, or names as the refusal lists them.
    #[arg(long, value_name = "all|NAMES", value_delimiter = ',', help_heading = "Safety")]
    pub(crate) fix: Vec<String>,
    /// Make the backup's accounts that are not there yet, and grant them what they may. Accounts that are there stay as they
    /// are.
    #[arg(long, conflicts_with = "rename_database", help_heading = "What")]
    pub(crate) accounts: bool,
    /// Show what would be done, and change nothing.
    #[arg(long, help_heading = "Safety")]
    pub(crate) dry_run: bool,
    /// Whose data it is: what its control plane needs after a restore is done too.
    #[arg(long, value_enum, default_value_t = ProfileArg::None)]
    pub(crate) profile: ProfileArg,
    /// Put a physical backup back as this data directory: an empty folder, or none yet, of a server that is not running.
    #[arg(long, value_name = "DIR", help_heading = "Physical backups", conflicts_with_all = [
        "tables", "databases", "rename_database", "into", "into_nonempty", "rename_existing", "fix", "accounts",
        "profile", "threads", "method", "no_binlog", "no_sums", "no_index", "socket", "host", "port",
    ])]
    pub(crate) datadir: Option<PathBuf>,
    /// The account that the server runs as. Default: the spec's [service] user, else who has DIR or the folder above it,
    /// else (where that is root) mysql.
    #[arg(long, value_name = "USER", requires = "datadir", help_heading = "Physical backups")]
    pub(crate) owner: Option<String>,
    /// The server's programs are inside this directory tree instead of this machine's.
    #[arg(long, value_name = "TREE", requires = "datadir", help_heading = "Physical backups")]
    pub(crate) server_root: Option<PathBuf>,
    /// Sessions that load. Default: twice as many as there are processors, at most 16.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128), help_heading = "Speed")]
    pub(crate) threads: Option<u16>,
    /// How rows are sent. Default: LOAD DATA where the server allows it.
    #[arg(long, value_enum, help_heading = "Speed")]
    pub(crate) method: Option<MethodArg>,
    /// Do not write to the binary log: replicas then do not get it. Needs a privilege.
    #[arg(long, help_heading = "Speed")]
    pub(crate) no_binlog: bool,
    /// Do not read rows back to compare them with the backup's sums; count them instead.
    #[arg(long, help_heading = "Speed")]
    pub(crate) no_sums: bool,
    /// Show how far it is, with rate and time left.
    #[arg(long)]
    pub(crate) progress: bool,
}

/// What is needed to read a backup.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// File with the identities that open encrypted backups. Default: the spec's.
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub(crate) identity_file: Option<PathBuf>,
    /// URL of the S3-compatible store, for s3:// sources. Without this and the next three, a source below the spec's place
    /// is read with the spec's endpoint, region, authorities and credentials.
    #[arg(long, value_name = "URL", help_heading = "Source")]
    pub(crate) s3_endpoint: Option<String>,
    /// The store's region.
    #[arg(long, value_name = "REGION", help_heading = "Source")]
    pub(crate) s3_region: Option<String>,
    /// Certificates of the authorities that the store's is of, in PEM, beside the system's.
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub(crate) s3_ca_file: Option<PathBuf>,
    /// File with aws_access_key_id and aws_secret_access_key. Without it, AWS_ACCESS_KEY_ID and the like.
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// The spec. Default: mainstay.toml here, else /etc/mainstay/mainstay.toml.
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub(crate) config: Option<PathBuf>,
    /// Do not read or write an index beside a plain dump.
    #[arg(long, help_heading = "Source")]
    pub(crate) no_index: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Nobody's that is known.
    None,
    /// Apache CloudStack: management servers are marked as down.
    Cloudstack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// LOAD DATA LOCAL; needs local_infile.
    Load,
    /// INSERT of many rows.
    Insert,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        Some(_) | None => Err("expected OLD=NEW".to_owned()),
    }
}
