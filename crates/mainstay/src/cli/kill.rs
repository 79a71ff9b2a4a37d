//! The command line of `mainstay kill`.
//!
//! Doc comments here are the help text. The keys of `[[kill.rule]]` in the spec have the same names, with `_` for `-`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kill::{AccountPattern, Pattern, Span};

use super::{ConnectArgs, SpecArgs};

/// End queries or sessions that rules describe, and say why. A dry run unless --yes is given.
///
/// With conditions here, they are the one rule; without, the rules of [kill] in the spec apply. Every condition must
/// hold. Right before a kill the session is looked at again: one that has moved on is left alone. Every kill is written
/// to the audit log first. Exit code 2: there is somebody to end, or not all could be ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Names are matched whole, with * for anything, or as /regular expressions/.\n\nExamples:\n  mainstay kill --busy-time 5m --match-user 'report*'           what would be ended, and why\n  mainstay kill --busy-time 5m --match-user 'report*' --yes     end it\n  mainstay kill --blocks 3 --blocking-time 30s --victims blocker --kill connection --yes\n  mainstay kill --idle-transaction-time 10m --victims all --yes --interval 30s --run-time 8h\n  mainstay kill --query-id F9A57DD5A41825CA --victims all --json\n  mainstay kill --config mainstay.toml --rule stuck             one rule of the spec"
)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    #[command(flatten)]
    pub(crate) matching: MatchArgs,
    #[command(flatten)]
    pub(crate) times: TimeArgs,
    #[command(flatten)]
    pub(crate) class: ClassArgs,
    /// Who of those that match is ended; `blocker` is whoever they wait for in the end. Default: oldest.
    #[arg(long, value_enum, value_name = "WHO", help_heading = "Victims")]
    pub(crate) victims: Option<VictimsArg>,
    /// What is ended. Default: the connection of what is idle, else the query.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Victims")]
    pub(crate) kill: Option<KillWhatArg>,
    /// Victims of one look, at most. Default: the spec's, else 10.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Victims")]
    pub(crate) limit: Option<u32>,
    /// Never end this account, user or user@host; beside what is protected anyway and in the spec.
    #[arg(long, value_name = "ACCOUNT", help_heading = "Victims")]
    pub(crate) protect: Vec<AccountPattern>,
    /// Do not protect these, as is done by default.
    #[arg(long, value_enum, value_name = "WHOM", value_delimiter = ',', help_heading = "Victims")]
    pub(crate) allow: Vec<AllowedArg>,
    /// Only this rule of the spec.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Vec<String>,
    /// End them. Without it, only say whom.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Look again and again, so long apart.
    #[arg(long, value_name = "TIME")]
    pub(crate) interval: Option<Span>,
    /// With --interval: stop after so long.
    #[arg(long, value_name = "TIME", requires = "interval")]
    pub(crate) run_time: Option<Span>,
    /// The audit log. Default: audit.jsonl in the spec's state folder, else in /var/lib/mainstay.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

/// Whose sessions, and running what.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sessions that match")]
pub(crate) struct MatchArgs {
    /// Only these users.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) match_user: Vec<Pattern>,
    /// Only from these hosts.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) match_host: Vec<Pattern>,
    /// Only in these databases.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) match_db: Vec<Pattern>,
    /// Only with these commands: Query, Sleep, Execute.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) match_command: Vec<Pattern>,
    /// Only in these states.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) match_state: Vec<Pattern>,
    /// Only running statements that match a regular expression.
    #[arg(long, value_name = "REGEX", value_parser = Pattern::statement)]
    pub(crate) match_statement: Vec<Pattern>,
    /// Not these users. What is ignored wins.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) ignore_user: Vec<Pattern>,
    /// Not from these hosts.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) ignore_host: Vec<Pattern>,
    /// Not in these databases.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) ignore_db: Vec<Pattern>,
    /// Not with these commands.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) ignore_command: Vec<Pattern>,
    /// Not in these states.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) ignore_state: Vec<Pattern>,
    /// Not running statements that match a regular expression.
    #[arg(long, value_name = "REGEX", value_parser = Pattern::statement)]
    pub(crate) ignore_statement: Vec<Pattern>,
    /// Only statements with this fingerprint; a statement stands for its own.
    #[arg(long, value_name = "TEXT", value_parser = fingerprint)]
    pub(crate) fingerprint: Vec<String>,
    /// Only statements with this query id, of 32 or 16 digits.
    #[arg(long, value_name = "ID", value_parser = query_id)]
    pub(crate) query_id: Vec<kill::QueryId>,
}

/// For how long, and in whose way. Times are seconds, or as 90s, 5m, 2h, 1h30m.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Times and locks")]
pub(crate) struct TimeArgs {
    /// Runs a statement for so long: seconds, or as 90s, 5m, 1h30m.
    #[arg(long, value_name = "TIME")]
    pub(crate) busy_time: Option<Span>,
    /// Runs nothing for so long.
    #[arg(long, value_name = "TIME")]
    pub(crate) idle_time: Option<Span>,
    /// Has a transaction that old.
    #[arg(long, value_name = "TIME")]
    pub(crate) transaction_time: Option<Span>,
    /// Has a transaction, and runs nothing for so long.
    #[arg(long, value_name = "TIME")]
    pub(crate) idle_transaction_time: Option<Span>,
    /// Waits for a lock for so long.
    #[arg(long, value_name = "TIME")]
    pub(crate) waiting_time: Option<Span>,
    /// So many sessions wait for it, also through others.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) blocks: Option<u32>,
    /// Somebody waits for it for so long.
    #[arg(long, value_name = "TIME")]
    pub(crate) blocking_time: Option<Span>,
    /// Which locks these three look at. Default: any.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) locks: Option<LocksArg>,
}

/// Classes of sessions.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Classes")]
pub(crate) struct ClassArgs {
    /// What makes a class; without it all that match are one. Victims are chosen of each class.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) group_by: Option<GroupByArg>,
    /// Only classes of so many sessions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) class_count: Option<u32>,
    /// Only classes of which one runs a statement for so long.
    #[arg(long, value_name = "TIME")]
    pub(crate) any_busy_time: Option<Span>,
    /// Only classes of which each does.
    #[arg(long, value_name = "TIME")]
    pub(crate) each_busy_time: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VictimsArg {
    /// The one that has been at it longest.
    Oldest,
    /// Everyone.
    All,
    /// Everyone but that one.
    AllButOldest,
    /// Whoever they wait for in the end.
    Blocker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KillWhatArg {
    /// The statement; session and transaction go on.
    Query,
    /// The session; its transaction is rolled back.
    Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LocksArg {
    /// Rows and metadata.
    Any,
    /// InnoDB's.
    Rows,
    /// Metadata locks.
    Metadata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupByArg {
    /// The statement's fingerprint.
    Fingerprint,
    /// The user.
    User,
    /// The host.
    Host,
    /// The database.
    Db,
    /// The command.
    Command,
    /// The state.
    State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllowedArg {
    /// Sessions that hold a lock by GET_LOCK, or wait for one.
    LockHolders,
    /// Sessions of which it is not known whether they do.
    UnknownLocks,
    /// Local sessions of the login's own account, where programs are not told.
    LoginAccount,
    /// Replicas' connections.
    Replication,
}

fn fingerprint(text: &str) -> Result<String, String> {
    kill::Rule::fingerprint_of(text).map_err(|error| error.to_string())
}

fn query_id(text: &str) -> Result<kill::QueryId, String> {
    text.parse().map_err(|error: kill::QueryIdError| format!("{error}: `{text}` is something else"))
}
