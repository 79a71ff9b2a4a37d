//! `chaos`: faults against clusters in network namespaces, from the command line.
//!
//! Argument parsing and printing only; everything else is the library's.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chaos::cluster::Kind;
use chaos::fault::{Fault, draw};
use chaos::group::Trees;
use chaos::hosts::remove_leftovers;
use chaos::mainstay::Endpoint;
use chaos::report::{Report, table};
use chaos::run::{Options, Run};
use clap::{Args, Parser, Subcommand, ValueEnum};
use flavor::Vendor;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::signal::unix::{SignalKind, signal};

/// Faults against database clusters whose hosts are network namespaces. Needs root.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Random faults against one cluster; the last line is JSON.
    Run(RunArgs),
    /// The same faults against several clusters; prints a table.
    Compare(CompareArgs),
    /// Removes namespaces and folders of runs that did not end well.
    Cleanup(Shared),
}

#[derive(Clone, Debug, Args)]
struct Shared {
    /// Where folders are made; not on a tmpfs if disks are to matter.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Tree with MySQL, as scripts/mysql-root.sh makes it.
    #[arg(long, default_value_os_t = servers().join("mysql"))]
    mysql_tree: PathBuf,
    /// Tree with MySQL Router, as scripts/mysql-router.sh makes it.
    #[arg(long, default_value_os_t = servers().join("mysql-router"))]
    router_tree: PathBuf,
    /// Mainstay's binary, for the kind `mainstay`.
    #[arg(long)]
    mainstay: Option<PathBuf>,
    /// Whose servers Mainstay keeps.
    #[arg(long, value_enum, default_value = "mariadb")]
    server: ServerName,
    /// How the client reaches Mainstay's primary.
    #[arg(long, value_enum, default_value = "haproxy")]
    endpoint: Endpoint,
    /// Give every node a small disk in memory, which can be full.
    #[arg(long)]
    small_disks: bool,
    /// Leave folders for a look.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ServerName {
    Mariadb,
    Mysql,
}

impl From<ServerName> for Vendor {
    fn from(name: ServerName) -> Self {
        match name {
            ServerName::Mariadb => Self::MariaDb,
            ServerName::Mysql => Self::MySql,
        }
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    shared: Shared,
    /// Kind of cluster.
    #[arg(long, value_enum, default_value = "mainstay")]
    cluster: Kind,
    /// How many faults.
    #[arg(long, default_value_t = 20)]
    faults: u32,
    /// Faults are drawn by it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw only from these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    #[command(flatten)]
    shared: Shared,
    /// How often each fault.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Kinds of cluster; the peers, and Mainstay if its binary is given, unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    clusters: Vec<Kind>,
    /// Faults; those that every kind can have unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("CHAOS_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,mysql_async=off")),
        )
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    // Ended by a signal, the run's future is dropped, and with it everything it made.
    let ended = tokio::select! {
        ended = act(cli.verb) => ended,
        ended = interrupted() => ended,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn interrupted() -> Result<bool> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

/// `true` if all is well.
async fn act(verb: Verb) -> Result<bool> {
    match verb {
        Verb::Run(args) => run(&args).await,
        Verb::Compare(args) => compare(&args).await,
        Verb::Cleanup(shared) => {
            for name in remove_leftovers(&shared.folder).await? {
                say(&format!("removed {name}"))?;
            }
            Ok(true)
        }
    }
}

async fn run(args: &RunArgs) -> Result<bool> {
    let mut run = start(args.cluster, &args.shared).await?;
    let mut rng = StdRng::seed_from_u64(args.seed);
    let has_agents = run.cluster().has_agents();
    let possible = Fault::ALL.into_iter().filter(|fault| {
        (has_agents || !fault.needs_agents()) && (args.shared.small_disks || !fault.needs_small_disks())
    });
    let faults = if args.only.is_empty() { possible.collect() } else { args.only.clone() };
    let drawn = (0..args.faults).map(|_| draw(&mut rng, &faults)).collect::<Result<Vec<_>>>()?;
    inflict(&mut run, &drawn).await?;
    let report = summed_up(args.cluster, run).await?;
    say(&serde_json::to_string(&report)?)?;
    Ok(report.is_good())
}

async fn compare(args: &CompareArgs) -> Result<bool> {
    let mut kinds = args.clusters.clone();
    if kinds.is_empty() {
        kinds.extend(Kind::PEERS);
        kinds.extend(args.shared.mainstay.is_some().then_some(Kind::Mainstay));
    }
    let faults = if args.only.is_empty() { Fault::COMMON.to_vec() } else { args.only.clone() };
    let mut reports = Vec::new();
    for kind in kinds {
        let mut run = start(kind, &args.shared).await?;
        for _ in 0..args.runs {
            inflict(&mut run, &faults).await?;
        }
        let report = summed_up(kind, run).await?;
        say(&serde_json::to_string(&report)?)?;
        reports.push(report);
    }
    say(&table(&reports, &faults))?;
    Ok(true)
}

async fn start(kind: Kind, shared: &Shared) -> Result<Run> {
    let trees = Trees { server: shared.mysql_tree.clone(), router: shared.router_tree.clone() };
    let options = Options {
        kind,
        base: shared.folder.clone(),
        trees,
        mainstay: shared.mainstay.clone(),
        vendor: shared.server.into(),
        endpoint: shared.endpoint,
        small_disks: shared.small_disks,
        keep: shared.keep,
    };
    Run::start(&options).await.with_context(|| format!("cannot set {} up", kind.name()))
}

async fn inflict(run: &mut Run, faults: &[Fault]) -> Result<()> {
    for fault in faults {
        let outcome = run.fault(*fault).await?;
        let mut line = format!(
            "{} of {}: {} ms without a write, {} ms while made whole",
            fault.name(),
            outcome.node,
            outcome.outage_ms,
            outcome.return_ms
        );
        if !outcome.restored {
            line.push_str(", NOT RESTORED");
        }
        if outcome.moved_falsely {
            line.push_str(", MOVED FALSELY");
        }
        if outcome.lost > 0 {
            line.push_str(&format!(", {} LOST", outcome.lost));
        }
        say(&line)?;
    }
    Ok(())
}

async fn summed_up(kind: Kind, run: Run) -> Result<Report> {
    let server = run.cluster().nodes().first().map(|node| node.program.flavor().vendor.to_string());
    let outcomes = run.finish().await?;
    Ok(Report::of(kind.name(), &server.unwrap_or_default(), &outcomes))
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Where the scripts put servers: in the workspace that this was built from.
fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers")
}
