//! The command line of `mainstay backup rehearse`.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use backup::repository::BackupId;
use clap::Args;

use super::KeptArgs;

/// Prove a backup: restore it into a throwaway server, replay the archive to its end, check everything, take the time.
///
/// Dumps are loaded into the server; on the files of a physical backup it is started. It is of the backup's vendor, from
/// the programs installed here; it answers on a private socket only, and is stopped and removed in the end, however that
/// comes. Shown are the measured recovery time, by phase, and the recovery point: how far behind now the last archived
/// change is. A backup that passes is marked as verified; one that turns out to be damaged loses its marks. Exit code 2:
/// something is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay backup rehearse                          the newest\n  mainstay backup rehearse --place /backups --backup 20261121T173000Z-cloud\n  mainstay backup rehearse --json | jq '.phases.recovery_seconds, .recovery_point.behind_seconds'\n\nEvery night: `mainstay render systemd` writes the unit and its timer."
)]
pub(crate) struct RehearseArgs {
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
    /// Which backup. Default: the newest complete one.
    #[arg(long, value_name = "ID", help_heading = "What")]
    pub(crate) backup: Option<BackupId>,
    /// File with the identities that open encrypted backups. Default: the spec's.
    #[arg(long, value_name = "FILE", help_heading = "What")]
    pub(crate) identity_file: Option<PathBuf>,
    /// Folder for the throwaway server. Default: where `mainstay lab` has its own.
    #[arg(long, value_name = "DIR", help_heading = "Throwaway server")]
    pub(crate) work_dir: Option<PathBuf>,
    /// Run the server inside this directory tree instead of this machine's.
    #[arg(long, value_name = "DIR", help_heading = "Throwaway server")]
    pub(crate) server_root: Option<PathBuf>,
    /// Buffer pool of the server, in MiB; it takes about 300 more. A recovery with more memory is faster.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(64..=1_048_576), help_heading = "Throwaway server")]
    pub(crate) memory_mib: u64,
    /// Sessions that load. Default: twice as many as there are processors, at most 16.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128), help_heading = "Throwaway server")]
    pub(crate) threads: Option<u16>,
    /// Show how far it is.
    #[arg(long)]
    pub(crate) progress: bool,
}
