//! The command line of the binary logs' verbs.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use binlog::{GtidChoice, Predicate, TablePattern};
use clap::{Args, Subcommand, ValueEnum};

use super::ConnectArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum BinlogArgs {
    Stats(BinlogStatsArgs),
    Find(BinlogFindArgs),
    Sql(BinlogSqlArgs),
    Rollback(BinlogRollbackArgs),
}

/// The logs, and how they are read.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// Binary logs of MySQL or MariaDB, oldest first; plain, gzip or zstd; - is standard input. With --from-server,
    /// names as SHOW BINARY LOGS has them, in a row; none for all.
    #[arg(value_name = "FILE", required_unless_present = "from_server")]
    pub(crate) files: Vec<PathBuf>,
    /// Read the logs of a server, to the end of what is written, as a replica would.
    #[arg(long)]
    pub(crate) from_server: bool,
    /// With --from-server: only what came after these GTIDs, a set (MySQL) or the last of each domain (MariaDB).
    #[arg(long, value_name = "GTIDS", requires = "from_server", conflicts_with = "files")]
    pub(crate) after_gtid: Option<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// What to do where a log is damaged. Skipped stretches are counted and shown, and the exit code is then 2.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) on_damage: Option<DamageArg>,
    /// Do not compare checksums with the content.
    #[arg(long)]
    pub(crate) no_verify: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DamageArg {
    /// Stop with an error that names the offset.
    Stop,
    /// Go on behind it.
    Skip,
}

/// Count what logs changed: tables, transactions, time, servers, connections, DDL.
///
/// Rows are counted exactly. Damage is passed over and shown unless told otherwise.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay binlog stats binlog.000042\n  mainstay binlog stats --timeline second --top 20 binlog.0000*\n  mainstay binlog stats --json binlog.000042 | jq '.tables[:3]'\n  zstd -dc old.zst | mainstay binlog stats -"
)]
pub(crate) struct BinlogStatsArgs {
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    /// How many of the largest and longest transactions, tables and steps of time to show.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
    /// Width of the timeline's steps.
    #[arg(long, value_enum, default_value_t = TimelineArg::Minute)]
    pub(crate) timeline: TimelineArg,
    /// Threads that read a plain file at once; default as many as there are processors. The numbers are the same.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimelineArg {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// Which transactions and tables; nothing given means all.
#[derive(Clone, Debug, Args)]
pub(crate) struct SelectArgs {
    /// Only these tables: database.table, database.* or *.table.
    #[arg(long = "table", value_name = "TABLE", value_delimiter = ',')]
    pub(crate) tables: Vec<TablePattern>,
    /// Only rows that are so before or after, such as "id = 5 and name like 'a%'"; @2 is the second column.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) condition: Option<Predicate>,
    /// Not before this time: "2026-11-21 02:43:08" here, or with Z or an offset.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only transactions that begin at this offset of the first log, or later.
    #[arg(long, value_name = "OFFSET")]
    pub(crate) start_position: Option<u64>,
    /// Only transactions that begin before this offset of the last log.
    #[arg(long, value_name = "OFFSET")]
    pub(crate) stop_position: Option<u64>,
    /// Only these GTIDs: uuid:5, uuid:5-9, uuid:tag:1 or 0-1-5, separated by commas.
    #[arg(long, value_name = "GTIDS")]
    pub(crate) gtid: Option<GtidChoice>,
    /// Not these GTIDs.
    #[arg(long, value_name = "GTIDS")]
    pub(crate) not_gtid: Option<GtidChoice>,
    /// Only from the server with this number.
    #[arg(long, value_name = "N")]
    pub(crate) server_id: Option<u32>,
    /// Only from this connection, where it is logged.
    #[arg(long, value_name = "N")]
    pub(crate) thread: Option<u32>,
}

/// Find what did it: a DROP, TRUNCATE or ALTER, a mass DELETE or UPDATE, a change of certain rows.
///
/// Each match names the position and GTID to stop before when going back in time. Exit code 1: nothing was found.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay binlog find binlog.0000*                           drops, alters, changes of 1000 rows or more\n  mainstay binlog find --table cloud.vm_instance binlog.000042\n  mainstay binlog find --action delete --where 'id = 17' --table cloud.vm_instance binlog.0000*\n  mainstay binlog find --action drop,truncate --since '2026-11-21 02:00' --json binlog.0000*"
)]
pub(crate) struct BinlogFindArgs {
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
    /// What was done, separated by commas. Default: drop, truncate, alter, rename, delete, update.
    #[arg(long = "action", value_enum, value_name = "ACTION", value_delimiter = ',')]
    pub(crate) actions: Vec<ActionArg>,
    /// Rows of a table that one transaction has to change. Default: 1 with --table, --where, --gtid or --thread, else 1000.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<u64>,
    /// Matches shown; more are counted.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActionArg {
    /// CREATE.
    Create,
    /// ALTER, CREATE INDEX, DROP INDEX.
    Alter,
    /// RENAME.
    Rename,
    /// DROP.
    Drop,
    /// TRUNCATE.
    Truncate,
    /// Rows inserted.
    Insert,
    /// Rows updated.
    Update,
    /// Rows deleted.
    Delete,
    /// Accounts and privileges.
    Grant,
}

/// Names of columns, where the log has none.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchemaArgs {
    /// CREATE TABLE statements, as `mysqldump --no-data --databases` writes them.
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
}

/// Print logs as SQL with column names: a script that does the same again.
///
/// Sets the session to UTC and utf8mb4. --output pseudo prints what mysqlbinlog would had the rows been statements, for
/// tools that count statements.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay binlog sql binlog.000042 | less\n  mainstay binlog sql --table cloud.vm_instance --since '2026-11-21 02:00' binlog.000042\n  mainstay binlog sql --schema schema.sql binlog.000042        names for logs without binlog_row_metadata=FULL\n  mainstay binlog sql --output pseudo binlog.000042 | pt-query-digest --type binlog"
)]
pub(crate) struct BinlogSqlArgs {
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
    /// Layout.
    #[arg(long, value_enum, default_value_t = SqlOutputArg::Sql)]
    pub(crate) output: SqlOutputArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SqlOutputArg {
    /// A script for a server.
    Sql,
    /// As mysqlbinlog prints statements.
    Pseudo,
}

/// Undo changes: print, check or apply the inverse SQL, the last change first.
///
/// A row that is no longer as the log left it is a conflict: then nothing is changed. What cannot be undone, such as
/// DDL on the chosen tables, is refused. Memory does not grow with the logs; disk is used for the inverse SQL.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay binlog rollback --table cloud.vm_instance --start-position 1234 binlog.000042 > undo.sql\n  mainstay binlog rollback --gtid 0-1-50130 --check --socket /run/mysqld/mysqld.sock binlog.000042\n  mainstay binlog rollback --gtid 0-1-50130 --apply --yes binlog.000042"
)]
pub(crate) struct BinlogRollbackArgs {
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
    /// Undo on the server in one transaction, tell conflicts, and roll it back again.
    #[arg(long, conflicts_with = "apply")]
    pub(crate) check: bool,
    /// Undo on the server in one transaction, and commit if there is no conflict.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Do not ask.
    #[arg(long, requires = "apply")]
    pub(crate) yes: bool,
    /// Go on although the tables have triggers, which then act on the undoing too.
    #[arg(long)]
    pub(crate) with_triggers: bool,
    /// Folder for the inverse SQL while it is turned around.
    #[arg(long, value_name = "FOLDER", default_value = "/var/tmp")]
    pub(crate) spool: PathBuf,
}
