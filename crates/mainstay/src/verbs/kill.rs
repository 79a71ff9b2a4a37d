//! `mainstay kill`: sessions and queries ended by rules, from the command line or the spec.
//!
//! Whom to end is the crate `kill`'s to say; how it is done and recorded is shared with the agents.

use std::path::PathBuf;
use std::time::Duration;

use agent::{Ended, KillLog, KillRound};
use facts::Seen;
use kill::{Mode, Pattern, Policy, Rule, Traits};
use server::{Connection, Limits, Target};
use tokio::time::Instant;

use crate::cli::{
    AllowedArg, ClassArgs, ConnectArgs, GroupByArg, KillArgs, KillWhatArg, LocksArg, MatchArgs, VictimsArg,
};
use crate::context::{self, Loaded};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::facts::target;
use crate::verbs::kill_report::Report;

/// Where kills are recorded without a spec.
const STATE: &str = "/var/lib/mainstay";
/// The name of the rule that flags make.
const FLAGS: &str = "command-line";
/// A repeated look gives up when the server has not answered for so long.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// Everything that is decided before the server is asked.
struct Settings {
    target: Target,
    node: String,
    rules: Vec<Rule>,
    policy: Policy,
    mode: Mode,
    log: KillLog,
}

pub(crate) async fn run(format: Format, args: &KillArgs) -> Verb {
    let mut settings = settings(args).await?;
    let limits = Limits { statement: Duration::from_secs(10), ..Limits::default() };
    let mut connection = Connection::open(&settings.target, &limits).await?;
    check_users(&mut connection, &settings).await?;
    let Some(interval) = args.interval else {
        let round = look(&mut connection, &mut settings).await?;
        connection.close().await;
        let outcome = outcome(&round, settings.mode);
        output::result(format, &Report::new(settings.node, settings.mode, round));
        return Ok(outcome);
    };
    let deadline = args.run_time.map(|span| Instant::now() + Duration::from_secs(span.seconds()));
    let mut stop = Box::pin(host::supervise::stop_signal()?);
    let mut worst = Outcome::Good;
    let mut answered = Instant::now();
    loop {
        let mut is_lost = false;
        match look(&mut connection, &mut settings).await {
            Ok(round) => {
                answered = Instant::now();
                if outcome(&round, settings.mode) != Outcome::Good {
                    worst = Outcome::Differs;
                }
                // A look that found nobody is no news.
                if !round.verdict.kills.is_empty() || format == Format::Json {
                    output::result(format, &Report::new(settings.node.clone(), settings.mode, round));
                }
            }
            Err(error) if is_broken(&error) && answered.elapsed() < SILENCE_MAX => {
                is_lost = true;
                output::message(&format!("warning: {error}; trying again"));
            }
            Err(error) => return Err(error.into()),
        }
        let pause = tokio::time::sleep(Duration::from_secs(interval.seconds()));
        let end = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pause => {}
            () = end => return Ok(worst),
            () = &mut stop => return Ok(worst),
        }
        if is_lost && let Ok(fresh) = Connection::open(&settings.target, &limits).await {
            connection = fresh;
        }
    }
}

async fn look(connection: &mut Connection, settings: &mut Settings) -> Result<KillRound, agent::AgentError> {
    agent::kill_round(connection, &settings.rules, &settings.policy, settings.mode, &mut settings.log).await
}

fn is_broken(error: &agent::AgentError) -> bool {
    matches!(error, agent::AgentError::Server(error) if error.is_connection_gone())
}

/// Somebody is to be ended and was not: that is a finding.
fn outcome(round: &KillRound, mode: Mode) -> Outcome {
    let all_done = match mode {
        Mode::DryRun => round.verdict.kills.is_empty(),
        Mode::Kill => {
            round.verdict.beyond_limit == 0
                && round.ended.iter().all(|ended| matches!(ended, Ended::Killed | Ended::LetGo(_)))
        }
    };
    if all_done { Outcome::Good } else { Outcome::Differs }
}

async fn settings(args: &KillArgs) -> Result<Settings, Failure> {
    let own = rule(args);
    let is_own = own != Rule::new(FLAGS);
    let loaded = spec(args)?;
    let of_spec = loaded.as_ref().and_then(|loaded| loaded.spec.kill.as_ref());
    let rules = if is_own {
        if !args.rule.is_empty() {
            return Err(Failure::said(
                "--rule chooses rules of the spec, and other flags make a rule",
                "give one or the other",
            ));
        }
        vec![own]
    } else {
        let kill = of_spec.ok_or_else(|| {
            Failure::said(
                "nothing says which sessions: there are no conditions here, and no [kill] in the spec",
                "give a condition, such as --busy-time 5m; see mainstay kill --help",
            )
        })?;
        chosen(&kill.rules, &args.rule)?
    };
    for rule in &rules {
        rule.check().map_err(|error| Failure::new(error, "see mainstay kill --help"))?;
    }
    let mut policy = of_spec.map(|kill| kill.policy.clone()).unwrap_or_default();
    policy.protect.extend(args.protect.iter().cloned());
    policy.allow.extend(args.allow.iter().map(|allowed| kill::Allowed::from(*allowed)));
    policy.limit = args.limit.unwrap_or(policy.limit);
    let (target, node) = place(args, loaded.as_ref()).await?;
    let state =
        loaded.as_ref().map_or_else(|| PathBuf::from(STATE), |loaded| loaded.spec.paths.state.clone());
    let log = match &args.log {
        Some(path) => KillLog::at(path.clone(), &node),
        None => KillLog::in_state(&state, &node),
    };
    let mode = if args.yes { Mode::Kill } else { Mode::DryRun };
    Ok(Settings { target, node, rules, policy, mode, log })
}

/// The spec, where there is one. What it protects holds for rules of the command line too, so one that is wrong is not
/// passed over.
fn spec(args: &KillArgs) -> Result<Option<Loaded>, Failure> {
    if context::is_there(&args.spec) { context::load(&args.spec).map(Some) } else { Ok(None) }
}

fn names_server(connect: &ConnectArgs) -> bool {
    connect.socket.is_some()
        || connect.host.is_some()
        || connect.port.is_some()
        || connect.defaults_file.is_some()
        || connect.user.is_some()
}

/// The server, and what it is called in the audit log.
async fn place(args: &KillArgs, loaded: Option<&Loaded>) -> Result<(Target, String), Failure> {
    match loaded {
        Some(loaded) if !names_server(&args.connect) => {
            let node = context::this_node(loaded, &args.spec).await?;
            let mut target = setup::admin_target(&loaded.spec, &node)?;
            if args.connect.ask_password || args.connect.password_file.is_some() {
                target.password = self::target(&args.connect)?.password;
            }
            Ok((target, node.name))
        }
        Some(_) | None => {
            let target = target(&args.connect)?;
            let node = args.spec.node.clone().unwrap_or_else(|| target.endpoint.to_string());
            Ok((target, node))
        }
    }
}

fn chosen(rules: &[Rule], names: &[String]) -> Result<Vec<Rule>, Failure> {
    if names.is_empty() {
        return Ok(rules.to_vec());
    }
    let find = |name: &String| {
        rules.iter().find(|rule| rule.name == *name).cloned().ok_or_else(|| {
            let known: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
            Failure::said(
                format!("the spec has no [[kill.rule]] named {name}"),
                format!("its rules are {}", known.join(", ")),
            )
        })
    };
    names.iter().map(find).collect()
}

/// A user that no account has is most likely misspelt, and whoever was meant would go on unseen, or unprotected.
async fn check_users(connection: &mut Connection, settings: &Settings) -> Result<(), Failure> {
    let rules = settings.rules.iter();
    let users = rules.flat_map(|rule| rule.matches.user.iter().chain(&rule.ignores.user));
    let wanted: Vec<&str> = users.filter_map(Pattern::literal).collect();
    let protect: Vec<&str> =
        settings.policy.protect.iter().filter_map(|account| account.user.literal()).collect();
    if wanted.is_empty() && protect.is_empty() {
        return Ok(());
    }
    let Seen::Known(known) = server::sessions::account_users(connection).await? else { return Ok(()) };
    let is_unknown = |user: &&str| !known.iter().any(|known| known == user);
    for user in protect.into_iter().filter(is_unknown) {
        output::message(&format!("warning: the server has no account of the user `{user}` to protect"));
    }
    match wanted.into_iter().find(is_unknown) {
        None => Ok(()),
        Some(user) => Err(Failure::said(
            format!("the server has no account of the user `{user}`"),
            format!("its users are {}; a pattern has * for anything", known.join(", ")),
        )),
    }
}

/// The rule that the flags make.
fn rule(args: &KillArgs) -> Rule {
    let (times, class) = (&args.times, &args.class);
    Rule {
        matches: matches(&args.matching),
        ignores: ignores(&args.matching),
        fingerprints: args.matching.fingerprint.clone(),
        query_ids: args.matching.query_id.clone(),
        busy: times.busy_time,
        idle: times.idle_time,
        transaction: times.transaction_time,
        idle_transaction: times.idle_transaction_time,
        waiting: times.waiting_time,
        blocks: times.blocks,
        blocking: times.blocking_time,
        locks: match times.locks {
            None | Some(LocksArg::Any) => kill::Locks::Any,
            Some(LocksArg::Rows) => kill::Locks::Rows,
            Some(LocksArg::Metadata) => kill::Locks::Metadata,
        },
        victims: match args.victims {
            None | Some(VictimsArg::Oldest) => kill::Victims::Oldest,
            Some(VictimsArg::All) => kill::Victims::All,
            Some(VictimsArg::AllButOldest) => kill::Victims::AllButOldest,
            Some(VictimsArg::Blocker) => kill::Victims::Blocker,
        },
        action: args.kill.map(|action| match action {
            KillWhatArg::Query => kill::Action::Query,
            KillWhatArg::Connection => kill::Action::Connection,
        }),
        ..classes(class)
    }
}

fn classes(class: &ClassArgs) -> Rule {
    Rule {
        group_by: class.group_by.map(|group| match group {
            GroupByArg::Fingerprint => kill::GroupBy::Fingerprint,
            GroupByArg::User => kill::GroupBy::User,
            GroupByArg::Host => kill::GroupBy::Host,
            GroupByArg::Db => kill::GroupBy::Db,
            GroupByArg::Command => kill::GroupBy::Command,
            GroupByArg::State => kill::GroupBy::State,
        }),
        class_count: class.class_count,
        any_busy: class.any_busy_time,
        each_busy: class.each_busy_time,
        ..Rule::new(FLAGS)
    }
}

fn matches(args: &MatchArgs) -> Traits {
    Traits {
        user: args.match_user.clone(),
        host: args.match_host.clone(),
        db: args.match_db.clone(),
        command: args.match_command.clone(),
        state: args.match_state.clone(),
        statement: args.match_statement.clone(),
    }
}

fn ignores(args: &MatchArgs) -> Traits {
    Traits {
        user: args.ignore_user.clone(),
        host: args.ignore_host.clone(),
        db: args.ignore_db.clone(),
        command: args.ignore_command.clone(),
        state: args.ignore_state.clone(),
        statement: args.ignore_statement.clone(),
    }
}

impl From<AllowedArg> for kill::Allowed {
    fn from(arg: AllowedArg) -> Self {
        match arg {
            AllowedArg::LockHolders => Self::LockHolders,
            AllowedArg::UnknownLocks => Self::UnknownLocks,
            AllowedArg::LoginAccount => Self::LoginAccount,
            AllowedArg::Replication => Self::Replication,
        }
    }
}
