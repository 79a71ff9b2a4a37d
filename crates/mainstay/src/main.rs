//! `mainstay`: the command line over everything else.
//!
//! One file a verb in `verbs`; printing in `output`; errors, hints and exit codes in `failure`. It decides
//! nothing about databases.

mod cli;
mod context;
mod failure;
mod output;
mod verbs;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{BackupArgs, Cli, VerbArgs};
use crate::failure::Verb;
use crate::output::Format;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose, &cli.verb);
    server::install_tls_provider();
    if let Err(error) = host::process::forbid_core_dump() {
        tracing::warn!(%error, "a crash of this process could write secrets to a core file");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::message(&format!("error: no threads can be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(outcome) => outcome.code(),
        Err(failure) => {
            for line in failure.lines() {
                output::message(&line);
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Verb {
    let format = Format::from_flag(cli.json);
    match cli.verb {
        VerbArgs::Init(args) => verbs::init::run(&args).await,
        VerbArgs::Plan(args) => verbs::plan::run(format, &args).await,
        VerbArgs::Apply(args) => verbs::apply::run(format, &args).await,
        VerbArgs::Status(args) => verbs::status::run(format, &args).await,
        VerbArgs::Explain(args) => verbs::explain::run(format, &args).await,
        VerbArgs::History(args) => verbs::history::run(format, &args).await,
        VerbArgs::Switchover(args) => verbs::switchover::run(format, &args).await,
        VerbArgs::Failover(args) => verbs::failover::run(format, &args).await,
        VerbArgs::Reinit(args) => verbs::reinit::run(format, &args).await,
        VerbArgs::Pause(args) => verbs::pause::pause(format, &args).await,
        VerbArgs::Resume(args) => verbs::pause::resume(format, &args).await,
        VerbArgs::Maintenance(args) => verbs::maintenance::run(format, &args).await,
        VerbArgs::Agent(args) => Box::pin(verbs::agent::run(&args)).await,
        VerbArgs::Fencer(args) => verbs::agent::fencer(&args).await,
        VerbArgs::Health(args) => verbs::health::run(format, &args).await,
        VerbArgs::Render(args) => verbs::render::run(format, &args).await,
        VerbArgs::Facts(args) => verbs::facts::run(format, &args).await,
        VerbArgs::Kill(args) => Box::pin(verbs::kill::run(format, &args)).await,
        VerbArgs::Checksum(args) => Box::pin(verbs::checksum::run(format, &args)).await,
        VerbArgs::Binlog(args) => verbs::binlog::run(format, &args).await,
        VerbArgs::Digest(args) => Box::pin(verbs::digest::run(format, &args)).await,
        VerbArgs::Backup(args) => match *args {
            BackupArgs::Create(args) => Box::pin(verbs::backup_create::run(format, &args)).await,
            BackupArgs::List(args) => verbs::backup_list::run(format, &args).await,
            BackupArgs::Verify(args) => verbs::backup_verify::run(format, &args).await,
            BackupArgs::Rehearse(args) => Box::pin(verbs::backup_rehearse::run(format, &args)).await,
            BackupArgs::Prune(args) => Box::pin(verbs::backup_prune::run(format, &args)).await,
            BackupArgs::Keygen(args) => verbs::backup_keygen::run(format, &args),
            BackupArgs::Archive(args) => Box::pin(verbs::backup_archive::run(format, &args)).await,
        },
        VerbArgs::Restore(args) => Box::pin(verbs::restore::run(format, &args)).await,
        VerbArgs::Extract(args) => verbs::extract::run(format, &args).await,
        VerbArgs::Rewind(args) => match args.into.as_deref() {
            Some(into) => Box::pin(verbs::rewind_server::run(format, &args, into)).await,
            None => Box::pin(verbs::rewind::run(format, &args)).await,
        },
        VerbArgs::Cloudstack(args) => verbs::cloudstack::run(format, &args),
        VerbArgs::Openstack(args) => verbs::openstack::run(format, &args),
        VerbArgs::Lab(args) => verbs::lab::run(format, &args).await,
        VerbArgs::Demo(args) => Box::pin(verbs::demo::run(&args)).await,
        VerbArgs::Completions(args) => verbs::generated::completions(&args),
        VerbArgs::Man(args) => verbs::generated::man(&args),
        VerbArgs::Supervise(args) => verbs::supervise::run(&args).await,
        VerbArgs::Receive(args) => verbs::receive::run(&args).await,
    }
}

fn log_to_stderr(verbose: u8, verb: &VerbArgs) {
    // Of a daemon the log is all there is to see.
    let is_daemon = matches!(verb, VerbArgs::Agent(_) | VerbArgs::Fencer(_));
    let default = match verbose {
        0 if !is_daemon => "warn",
        0 | 1 => "mainstay=info,agent=info,store=info,setup=info,host=info,server=info,lab=info,warn",
        _ => "mainstay=trace,agent=trace,store=trace,setup=trace,host=trace,server=debug,lab=trace,warn",
    };
    // It logs each refusal of a certificate, on each try; the error that comes of it is said once.
    let default = format!("{default},rustls_platform_verifier=off");
    let filter = EnvFilter::try_from_env("MAINSTAY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A journal or file shows escapes as they are.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
