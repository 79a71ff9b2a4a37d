//! The command line of the digests.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use digest::filter::Filter;
use digest::order::{Limit, OrderBy, Outliers};
use digest::period::When;

use super::{ConnectArgs, LogArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum DigestArgs {
    Slow(DigestSlowArgs),
    General(DigestGeneralArgs),
    Binlog(DigestBinlogArgs),
    Live(DigestLiveArgs),
}

/// Which events count, what they have in common, and what is shown of them.
#[derive(Clone, Debug, Args)]
pub(crate) struct DigestReportArgs {
    /// Layout. --json is the same as --output json.
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = DigestOutputArg::Text)]
    pub(crate) output: DigestOutputArg,
    /// What the classes are ordered by: an attribute, and sum, min, max, cnt, avg, p95 or stddev of it.
    /// Default: Query_time:sum, or Query_time:cnt for logs without times.
    #[arg(long, value_name = "ATTRIBUTE:STATISTIC")]
    pub(crate) order_by: Option<OrderBy>,
    /// How many classes are shown: 20, or 95%, or 95%:20.
    #[arg(long, value_name = "LIMIT", default_value = "95%:20")]
    pub(crate) limit: Limit,
    /// Show classes beyond the limit too whose 95th percentile is at least so much, with at least so many events; or none.
    #[arg(long, value_name = "ATTRIBUTE:P95:EVENTS", default_value = "Query_time:1:10", value_parser = outliers)]
    pub(crate) outliers: OutliersArg,
    /// What events of a class have in common.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = DigestGroupArg::Fingerprint)]
    pub(crate) group_by: DigestGroupArg,
    /// Make fingerprints and query ids as this pt-query-digest does, its defects included.
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) compat: Option<CompatArg>,
    /// Only events that are so, such as "Query_time > 0.5 and user = 'nova' and not query ~ 'sleep'".
    #[arg(long, value_name = "CONDITION", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,
    /// Only events at or after this time: "2026-11-21 02:43:08" as the log has it, or 90s, 15m, 12h, 7d ago.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,
    /// Only events before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    /// Only the first so many events of each class.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// Show what happened when, in steps of at least so many seconds.
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", require_equals = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) timeline: Option<u32>,
}

/// What a digest is compared with.
#[derive(Clone, Debug, Args)]
pub(crate) struct BaselineArgs {
    /// Compare with this log: what is new, gone, slower, faster. Exit code 2: something is new or slower.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Vec<PathBuf>,
    /// Of the baseline, only events at or after this time. Without --baseline it is another period of the same logs.
    #[arg(long, value_name = "TIME")]
    pub(crate) baseline_since: Option<When>,
    /// Of the baseline, only events before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) baseline_until: Option<When>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestOutputArg {
    /// For people, on a terminal.
    Text,
    /// For programs; numbers are numbers.
    Json,
    /// One page with plots that needs nothing else.
    Html,
    /// The text report of pt-query-digest.
    PtText,
    /// The JSON of pt-query-digest.
    PtJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestGroupArg {
    /// The fingerprint: the statement without its literals.
    Fingerprint,
    /// The account.
    User,
    /// The host it came from.
    Host,
    /// The database it ran in.
    Db,
    /// The tables it names.
    Tables,
    /// Its verbs and tables.
    Distill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompatArg {
    /// pt-query-digest 3.4 to 3.7.
    #[value(name = "pt-3.7")]
    Pt37,
    /// pt-query-digest up to 3.3.
    #[value(name = "pt-3.2")]
    Pt32,
}

/// Outliers, or none.
#[derive(Clone, Debug)]
pub(crate) struct OutliersArg(pub(crate) Option<Outliers>);

fn outliers(text: &str) -> Result<OutliersArg, digest::order::OrderError> {
    if text == "none" { Ok(OutliersArg(None)) } else { text.parse().map(Some).map(OutliersArg) }
}

/// Digest slow logs: which kinds of statements took the time.
///
/// Logs of MySQL, MariaDB and Percona Server with whatever they were told to log. Memory does not grow with the logs.
/// What is skipped is counted and shown. Exit codes: 0 good, 1 failed or a log could not be read to its end, 2 something
/// is new or slower than in the baseline.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay digest slow /var/log/mysql/slow.log\n  mainstay digest slow --since 12h --filter \"user = 'nova'\" slow.log slow.log.1.gz\n  mainstay digest slow --output html slow.log > slow.html\n  mainstay digest slow --baseline yesterday.log.zst today.log        what is new, what got slower\n  mainstay digest slow --follow --interval 10 /var/log/mysql/slow.log\n  ssh db1 cat /var/log/mysql/slow.log | mainstay digest slow --json - | jq '.classes[0].query_id'"
)]
pub(crate) struct DigestSlowArgs {
    /// Slow logs, oldest first; plain, gzip or zstd; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) report: DigestReportArgs,
    #[command(flatten)]
    pub(crate) baseline: BaselineArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
    #[command(flatten)]
    pub(crate) history: HistoryKeepArgs,
    /// Threads that read; default as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
}

/// Keeping digests for later.
#[derive(Clone, Debug, Args)]
pub(crate) struct HistoryKeepArgs {
    /// Keep all classes in the tables query_review and query_history of this database, as pt-query-digest does, on the
    /// server that the options below name.
    #[arg(long, value_name = "DATABASE", group = "kept")]
    pub(crate) history: Option<String>,
    /// Keep them in this file of SQLite instead; it is made where it is missing.
    #[arg(long, value_name = "FILE", group = "kept")]
    pub(crate) history_file: Option<PathBuf>,
    /// Show only classes that nobody has reviewed: whose reviewed_by in query_review is empty.
    #[arg(long, requires = "kept")]
    pub(crate) unreviewed: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Following a log that grows.
#[derive(Clone, Debug, Args)]
pub(crate) struct FollowArgs {
    /// Follow the log as the server writes it, through rotation and truncation; a report each interval, of its events.
    #[arg(long, conflicts_with_all = ["baseline", "baseline_since", "baseline_until", "since", "until", "threads", "history", "history_file"])]
    pub(crate) follow: bool,
    /// Seconds of an interval.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400), requires = "follow")]
    pub(crate) interval: u32,
    /// Follow so many intervals; default until interrupted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "follow")]
    pub(crate) count: Option<u64>,
    /// Begin with what is in the log already.
    #[arg(long, requires = "follow")]
    pub(crate) from_start: bool,
}

/// Digest general logs: how often each kind of statement came, and from whom. They have no times.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay digest general /var/log/mysql/mysql.log\n  mainstay digest general --group-by user --since 15m mysql.log\n  zstd -dc old.zst | mainstay digest general --filter 'db = nova' -"
)]
pub(crate) struct DigestGeneralArgs {
    /// General logs, oldest first; plain, gzip or zstd; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) report: DigestReportArgs,
    #[command(flatten)]
    pub(crate) baseline: BaselineArgs,
}

/// Digest binary logs: which statements changed how many rows, logged as statements or as rows.
///
/// Rows count for the statement they came from where it is logged (binlog_rows_query_log_events, binlog_annotate_row_events),
/// else for the verb and the table. Times are UTC. Exit code 2: the log is damaged, which is counted and shown.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay digest binlog binlog.000042\n  mainstay digest binlog --order-by Bytes:sum --group-by tables binlog.0000*\n  mainstay digest binlog --from-server --socket /run/mysqld/mysqld.sock binlog.000042"
)]
pub(crate) struct DigestBinlogArgs {
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    #[command(flatten)]
    pub(crate) report: DigestReportArgs,
}

/// Digest what a running server does now: a report each interval of what came in it.
///
/// From the statement digests of performance_schema where it is on, else from the process list, looked at many times a
/// second: of that, statements that begin and end between two looks are not seen.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay digest live --socket /run/mysqld/mysqld.sock\n  mainstay digest live --interval 60 --count 10 --json --defaults-file ~/.my.cnf\n  mainstay digest live --source processlist --group-by user"
)]
pub(crate) struct DigestLiveArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Seconds of an interval.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) interval: u32,
    /// How many intervals; 0 until interrupted.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u64,
    /// Where statements are taken from. Default: statements if performance_schema keeps them, else processlist.
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub(crate) source: Option<LiveSourceArg>,
    /// Milliseconds between two looks at the process list.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub(crate) every: u32,
    #[command(flatten)]
    pub(crate) report: DigestReportArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LiveSourceArg {
    /// performance_schema.events_statements_summary_by_digest.
    Statements,
    /// The process list.
    Processlist,
}
