//! The command line of `mainstay backup`: the group, and `create`.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kill::Span;

use super::ConnectArgs;
use super::backup_keep::{
    BackupArchiveArgs, BackupKeygenArgs, BackupListArgs, BackupPruneArgs, BackupVerifyArgs, KeptArgs,
    RecipientArgs,
};
use super::rehearse::RehearseArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum BackupArgs {
    Create(Box<BackupCreateArgs>),
    List(BackupListArgs),
    Verify(BackupVerifyArgs),
    Rehearse(Box<RehearseArgs>),
    Prune(BackupPruneArgs),
    Archive(Box<BackupArchiveArgs>),
    Keygen(BackupKeygenArgs),
}

/// Take a backup: a consistent dump of one moment, without blocking writers, in mydumper's layout.
///
/// All sessions see the same moment, whose binary log position and GTIDs stand in the backup. Every file is read back
/// before the manifest is written; without a manifest, there is no backup. A dump that was ended cannot be continued, as
/// rows of two moments make no backup: it is taken anew.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay backup create                            as [backup] in the spec says\n  mainstay backup create --place /backups\n  mainstay backup create --place /backups --databases cloud,cloud_usage --label cloud --threads 4\n  mainstay backup create --place s3://backups/cloud --s3-endpoint https://s3.example --credentials-file /etc/mainstay/s3\n  mainstay backup create --place /backups --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p \\\n      --control-plane-file /etc/cloudstack/management/key --control-plane-file /etc/cloudstack/management/db.properties\n  mainstay backup create --place /backups --compress gzip      for a myloader before 0.11.3\n\nBy hand, file by file: zstdcat DB.TABLE.00000.sql.zst | mysql DB\nEncrypted: age -d -i IDENTITY-FILE DB.TABLE.00000.sql.zst.age | zstdcat | mysql DB"
)]
pub(crate) struct BackupCreateArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) seal: RecipientArgs,
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
    /// Last part of the backup's name. Default: the server's host name.
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// Only these databases, separated by commas.
    #[arg(long, value_name = "DATABASES", value_delimiter = ',', help_heading = "What")]
    pub(crate) databases: Vec<String>,
    /// Only these tables, as database.table, separated by commas.
    #[arg(long, value_name = "TABLES", value_delimiter = ',', value_parser = table, help_heading = "What")]
    pub(crate) tables: Vec<(String, String)>,
    /// Not these tables.
    #[arg(long, value_name = "TABLES", value_delimiter = ',', value_parser = table, help_heading = "What")]
    pub(crate) without_tables: Vec<(String, String)>,
    /// Keep no accounts and grants.
    #[arg(long, help_heading = "What")]
    pub(crate) no_accounts: bool,
    /// Keep this file of the control plane too; needs a recipient. May be given several times. Default: those of the spec's
    /// [cloudstack.properties], where they are on this host.
    #[arg(long, value_name = "FILE", help_heading = "What")]
    pub(crate) control_plane_file: Vec<PathBuf>,
    /// Take the backup although the server writes no binary logs: nothing can be replayed onto it.
    #[arg(long, help_heading = "What")]
    pub(crate) without_coordinates: bool,
    /// How files are compressed.
    #[arg(long, value_enum, default_value_t = CompressArg::Zstd, help_heading = "How")]
    pub(crate) compress: CompressArg,
    /// Level of compression: 1 to 19, for gzip to 9.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=19), help_heading = "How")]
    pub(crate) level: i32,
    /// Sessions that read. Default: one a processor, at most 4.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "How")]
    pub(crate) threads: Option<u16>,
    /// About how much of a table goes into one file, in MiB of the table.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "How")]
    pub(crate) chunk_mib: u64,
    /// Read nothing while the server, a replica, is further behind than this, unless it waits for a lock on a definition or of a
    /// backup. Default: max_lag in the spec's [backup].
    #[arg(long, value_name = "TIME", help_heading = "How")]
    pub(crate) max_lag: Option<Span>,
    /// Read nothing while more of others' sessions than this run a statement. Default: max_running in the spec's
    /// [backup]. Either holds back ten minutes at a stretch at most; then a minute is read.
    #[arg(long, value_name = "N", help_heading = "How")]
    pub(crate) max_running: Option<u64>,
    /// Copy the server's own files instead, by mariadb-backup or MySQL's clone plugin, on the server's host. Always the
    /// whole server, and not held back.
    #[arg(long, conflicts_with_all = ["databases", "tables", "without_tables", "max_lag", "max_running"], help_heading = "How")]
    pub(crate) physical: bool,
    /// With --physical: a folder on the server's host; MySQL's server has to be allowed to write there, and needs as much
    /// room as its data.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp", help_heading = "How")]
    pub(crate) scratch: PathBuf,
    /// Show nothing of how far it is.
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressArg {
    /// Zstandard: fast; read by myloader from 0.11.3 on.
    Zstd,
    /// gzip: read by every myloader.
    Gzip,
    /// Not at all.
    None,
}

fn table(text: &str) -> Result<(String, String), String> {
    match text.split_once('.') {
        Some((database, table)) if !database.is_empty() && !table.is_empty() => {
            Ok((database.to_owned(), table.to_owned()))
        }
        Some(_) | None => Err("expected DATABASE.TABLE".to_owned()),
    }
}
