//! The command line of `mainstay rewind`.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use backup::repository::BackupId;
use clap::Args;

use super::{ConnectArgs, KeptArgs};

/// Bring back a table as it was just before a mistake, beside the live one; or a whole server, into a new one.
///
/// The newest backup before the moment is restored, and what the archive of binary logs has of the table since is put
/// together by primary key, so that each row is written once. The result is TABLE_rewound in the same database; the
/// live table is not touched. Then the two are compared. --swap and --copy-back bring rows back, and ask first. Killed
/// at any moment, the same command starts over; run again after it is done, it goes on with what is there. Exit code 2:
/// a dry run's plan, or the two tables differ.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay rewind --table shop.orders --before 0-1-50130        as `mainstay binlog find` prints it\n  mainstay rewind --table shop.orders --to '2026-11-21 18:00:00' --dry-run\n  mainstay rewind --table shop.orders --before 0-1-50130 --copy-back --only-missing --where 'customer = 17'\n  mainstay rewind --table shop.orders --before 0-1-50130 --swap\n  mainstay rewind --into /run/new/mysqld.sock --to end\n  mainstay rewind --into /run/mysqld/mysqld.sock --to end --restored --backup 20261121T173000Z-files"
)]
pub(crate) struct RewindArgs {
    /// The table, as database.table.
    #[arg(long, value_name = "TABLE", value_parser = table,
          required_unless_present = "into", conflicts_with = "into", help_heading = "What")]
    pub(crate) table: Option<(String, String)>,
    /// The whole server, into this new and empty one: the path of a socket, HOST or HOST:PORT. `--to end` is all there is.
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["as_name", "swap", "copy_back", "no_diff", "socket", "host", "port"],
          help_heading = "What")]
    pub(crate) into: Option<String>,
    /// The server runs on the physical backup that --backup names, put back with `mainstay restore --datadir`: only the
    /// archive is replayed onto it. Nobody may have written to it.
    #[arg(long, requires = "into", requires = "backup", help_heading = "What")]
    pub(crate) restored: bool,
    /// Name of the table that is made. Default: the table's, with _rewound.
    #[arg(long = "as", value_name = "NAME", help_heading = "What")]
    pub(crate) as_name: Option<String>,
    #[command(flatten)]
    pub(crate) to: ToArgs,
    #[command(flatten)]
    pub(crate) base: BaseArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
    /// Put the rewound table in the live one's place, which becomes TABLE_before_rewind.
    #[arg(long, conflicts_with = "copy_back", help_heading = "Then")]
    pub(crate) swap: bool,
    /// Copy rows that are missing or different back into the live table, by their primary key, in one transaction.
    #[arg(long, help_heading = "Then")]
    pub(crate) copy_back: bool,
    /// With --copy-back: only rows of the rewound table that fulfil this.
    #[arg(long = "where", value_name = "CONDITION", requires = "copy_back", help_heading = "Then")]
    pub(crate) condition: Option<String>,
    /// With --copy-back: only rows that are missing, none that are different.
    #[arg(long, requires = "copy_back", help_heading = "Then")]
    pub(crate) only_missing: bool,
    /// With --copy-back: go on although the live table has triggers, which then act on the rows too.
    #[arg(long, requires = "copy_back", help_heading = "Then")]
    pub(crate) with_triggers: bool,
    /// Do not compare the rewound table with the live one.
    #[arg(long, conflicts_with_all = ["swap", "copy_back"], help_heading = "Then")]
    pub(crate) no_diff: bool,
    /// Go on although foreign keys (ON DELETE CASCADE and the like) may have changed rows, which is in no log.
    #[arg(long, conflicts_with = "into")]
    pub(crate) accept_cascades: bool,
    /// Show what would be done and how long it may take, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do not write to the binary log: replicas then do not get the rewound table. Needs a privilege.
    #[arg(long)]
    pub(crate) no_binlog: bool,
    /// Sessions that load. Default: twice as many as there are processors, at most 16.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) threads: Option<u16>,
    /// Memory for the rows that are put together, in MiB. What does not fit is applied in stretches.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) memory_mib: u32,
}

/// The moment to go back to.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ToArgs {
    /// What was committed before this time: "2026-11-21 18:00:00" here, or with Z or an offset.
    #[arg(long, value_name = "TIME", help_heading = "When")]
    pub(crate) to: Option<String>,
    /// Everything up to this transaction, which is in it.
    #[arg(long, value_name = "GTID", help_heading = "When")]
    pub(crate) to_gtid: Option<String>,
    /// Everything that ends at this place of a log or before it.
    #[arg(long, value_name = "FILE:POS", help_heading = "When")]
    pub(crate) to_position: Option<String>,
    /// Everything before this transaction, which `mainstay binlog find` names under "stop before".
    #[arg(long, value_name = "GTID|FILE:POS", help_heading = "When")]
    pub(crate) before: Option<String>,
}

/// What a rewind begins with.
#[derive(Clone, Debug, Args)]
pub(crate) struct BaseArgs {
    /// The backup to begin with. Default: the newest from which the archive leads to the moment.
    #[arg(long, value_name = "ID", help_heading = "Where")]
    pub(crate) backup: Option<BackupId>,
    /// File with the identities that open encrypted backups. Default: the spec's.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub(crate) identity_file: Option<PathBuf>,
}

fn table(text: &str) -> Result<(String, String), String> {
    match text.split_once('.') {
        Some((database, table)) if !database.is_empty() && !table.is_empty() => {
            Ok((database.to_owned(), table.to_owned()))
        }
        Some(_) | None => Err("expected database.table".to_owned()),
    }
}
