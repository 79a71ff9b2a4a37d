//! The command line of what keeps backups: `mainstay backup list`, `verify`, `prune` and `archive`.
//!
//! Doc comments here are the help text. Keys of `[backup]` in the spec have the same names, with `_` for `-`.

use std::path::PathBuf;

use backup::repository::BackupId;
use clap::Args;
use kill::Span;

use super::ConnectArgs;

/// Where backups live; without --place, as [backup] in the spec says.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Where")]
pub(crate) struct KeptArgs {
    /// A folder that exists, by its absolute path, or s3://BUCKET/PREFIX. Default: the spec's.
    #[arg(long, value_name = "PLACE")]
    pub(crate) place: Option<String>,
    /// URL of the S3-compatible store.
    #[arg(long, value_name = "URL", requires = "place")]
    pub(crate) s3_endpoint: Option<String>,
    /// The store's region.
    #[arg(long, value_name = "REGION", requires = "place")]
    pub(crate) s3_region: Option<String>,
    /// Certificates of the authorities that the store's is of, in PEM, beside the system's.
    #[arg(long, value_name = "FILE", requires = "place")]
    pub(crate) s3_ca_file: Option<PathBuf>,
    /// File with aws_access_key_id and aws_secret_access_key. Without it, AWS_ACCESS_KEY_ID and the like.
    #[arg(long, value_name = "FILE", requires = "place")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// The spec. Default: mainstay.toml here, else /etc/mainstay/mainstay.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// To whom files are encrypted, as age does it (age-encryption.org).
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct RecipientArgs {
    /// Encrypt to this public key; its identity opens it. May be given several times. Default: the spec's; without any,
    /// nothing is encrypted.
    #[arg(long, value_name = "AGE1...")]
    pub(crate) recipient: Vec<String>,
    /// File with identities (AGE-SECRET-KEY-1...). Where there are no recipients, theirs are used. Default: the spec's.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity_file: Option<PathBuf>,
}

/// Make an identity to open encrypted backups with, and show its public key: the recipient to encrypt them to.
///
/// The file is written as age-keygen writes it, mode 0600, and never over another one. Keep it away from the backups, and a
/// copy of it: what is encrypted to it alone is lost with it. Hosts that only take backups need the public key alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mainstay backup keygen --out /etc/mainstay/secrets/backup-identity")]
pub(crate) struct BackupKeygenArgs {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Show the backups in a place, newest first: size, age, whether they are proven, where they stand.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay backup list\n  mainstay backup list --place /backups\n  mainstay backup list --json | jq '.backups[0].id'"
)]
pub(crate) struct BackupListArgs {
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
}

/// Read backups back: every file, its length and its SHA-256; with an identity, encrypted files are opened to their end.
///
/// A backup that reads back is marked so, and one that no longer does loses its mark. Exit code 2: something is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay backup verify                              the newest\n  mainstay backup verify 20261121T173000Z-shop\n  mainstay backup verify --all"
)]
pub(crate) struct BackupVerifyArgs {
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
    /// Which backup. Default: the newest.
    #[arg(value_name = "ID", conflicts_with = "all")]
    pub(crate) id: Option<BackupId>,
    /// Every backup.
    #[arg(long)]
    pub(crate) all: bool,
    /// File with the identities that open encrypted backups. Default: the spec's.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity_file: Option<PathBuf>,
}

/// Remove backups that no rule keeps, and what of the archive none that stays can use. A dry run unless --yes is given.
///
/// Always stay: the newest backup, the newest that read back, the newest that was restored on trial, and the newest that
/// the archive goes on from. Rules: those of the spec's [backup], and those given here instead. Exit code 2: a dry run
/// found something to remove.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay backup prune                               what would go, and why the others stay\n  mainstay backup prune --yes\n  mainstay backup prune --place /backups --keep-daily 7 --keep-weekly 4 --rewind-days 3"
)]
pub(crate) struct BackupPruneArgs {
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
    /// Newest backups that stay.
    #[arg(long, value_name = "N")]
    pub(crate) keep_last: Option<u32>,
    /// The newest backup of each of so many hours stays.
    #[arg(long, value_name = "N")]
    pub(crate) keep_hourly: Option<u32>,
    /// The newest backup of each of so many days stays.
    #[arg(long, value_name = "N")]
    pub(crate) keep_daily: Option<u32>,
    /// The newest backup of each of so many weeks stays.
    #[arg(long, value_name = "N")]
    pub(crate) keep_weekly: Option<u32>,
    /// The newest backup of each of so many months stays.
    #[arg(long, value_name = "N")]
    pub(crate) keep_monthly: Option<u32>,
    /// Rewinding stays possible to any moment of so many days: the backup it begins at stays.
    #[arg(long, value_name = "DAYS")]
    pub(crate) rewind_days: Option<u32>,
    /// Remove them. Without it, only say which.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Copy a server's binary logs into the place, byte for byte, once or for ever.
///
/// What is copied is cut between transactions into compressed pieces, each with its positions, GTIDs and checksum. It
/// goes on where the archive ends, also on another server that has everything that is archived: after a failover, point
/// it at the new primary, or have it always use the cluster's entrance. Exit code 2: --status found gaps or damage.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay backup archive --follow --socket /run/mysqld/mysqld.sock\n  mainstay backup archive --once --place /backups\n  mainstay backup archive --status\n  mainstay backup archive --status --verify         reads everything back\n  mainstay backup archive --follow --host db.example --user archiver --password-file /etc/mainstay/secrets/archiver \\\n      --tls-ca ca.pem --purge-after 3d"
)]
pub(crate) struct BackupArchiveArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) seal: RecipientArgs,
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
    /// Go on until stopped.
    #[arg(long, group = "what")]
    pub(crate) follow: bool,
    /// Copy what there is, and end. This is the default.
    #[arg(long, group = "what")]
    pub(crate) once: bool,
    /// Show what the archive has, and copy nothing.
    #[arg(long, group = "what")]
    pub(crate) status: bool,
    /// With --status: read everything back.
    #[arg(long, requires = "status")]
    pub(crate) verify: bool,
    /// Begin anew where something is missing between the archive and the server's logs. Rewinding does not reach across.
    #[arg(long)]
    pub(crate) accept_gap: bool,
    /// Age at which a piece is finished. Default: the spec's, else 10s.
    #[arg(long, value_name = "TIME")]
    pub(crate) segment_age: Option<Span>,
    /// Length of log at which a piece is finished, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) segment_mib: u64,
    /// Take over the server's purging: its own, by age, is switched off, and logs go once they are archived and so old.
    #[arg(long, value_name = "TIME")]
    pub(crate) purge_after: Option<Span>,
    /// One archiver a place: how long after this one's last sign of life another one may take over. Default: 15s.
    #[arg(long, value_name = "TIME")]
    pub(crate) lease: Option<Span>,
    /// What the server tells its replicas apart by; no replica may have it. Default: derived from this host's name.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) server_id: Option<u32>,
}
