//! `mainstay restore`: a dump or backup into a server.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::restore::{
    Existing, Method, Profile, Progress, RestoreError, RestoreOptions, Restored, Selection, Source, restore,
};
use backup::seal::Key;
use blob::{Address, Credentials, Place, S3Store};
use dump::fix::Fix;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::block_in_place;

use crate::cli::{MethodArg, ProfileArg, RestoreArgs, StoreArgs};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::facts::target;

/// A key's file is short.
const KEY_BYTES_MAX: usize = 4096;
const STORE_SCHEME: &str = "s3://";

#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    restored: Restored,
    seconds: f64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.restored;
        let verb = match (it.dry_run, it.resumed) {
            (true, true) => "would go on restoring",
            (true, false) => "would restore",
            (false, true) => "went on and restored",
            (false, false) => "restored",
        };
        writeln!(
            f,
            "{verb} {} tables and {} other objects into {}",
            it.tables,
            it.objects,
            it.databases.join(", ")
        )?;
        for (fix, changes) in &it.changes {
            writeln!(f, "changed ({fix}): {}", changes.join("; "))?;
        }
        for (from, to) in &it.renamed {
            writeln!(f, "renamed: {from} is now {to}")?;
        }
        for what in &it.left_out {
            writeln!(f, "left out: {what}")?;
        }
        for position in &it.positions {
            writeln!(f, "position in the dump: {position}")?;
        }
        for line in &it.profile {
            writeln!(f, "{line}")?;
        }
        if it.dry_run {
            let bytes = size(it.bytes);
            return write!(
                f,
                "{bytes} of rows by {}; {} tables get their keys after",
                it.method, it.tables_with_keys_after
            );
        }
        let (rows, seconds) = (it.rows, self.seconds);
        write!(f, "{rows} rows ({}) in {seconds:.1} s by {}", size(it.bytes), it.method)?;
        if it.tables_verified > 0 {
            write!(f, "; the rows of {} tables are what the manifest says", it.tables_verified)?;
        }
        Ok(())
    }
}

pub(crate) async fn run(format: Format, args: &RestoreArgs) -> Verb {
    let begun = Instant::now();
    let options = options(args)?;
    let selection = Selection {
        databases: args.databases.clone(),
        tables: args.tables.iter().map(|name| Selection::name(name)).collect(),
    };
    let target = target(&args.connect)?;
    let source = source(args).await?;
    let (threads, with_index) = (options.threads, !args.store.no_index);
    let survey = block_in_place(|| source.survey(&selection, threads, with_index)).map_err(failure)?;
    let progress = Arc::new(Progress::default());
    let work = restore(survey, &target, &options, Arc::clone(&progress));
    let restored = if args.progress { watched(work, &progress).await } else { work.await };
    let restored = restored.map_err(failure)?;
    let outcome = if restored.dry_run { Outcome::Differs } else { Outcome::Good };
    output::result(format, &Done { restored, seconds: begun.elapsed().as_secs_f64() });
    Ok(outcome)
}

fn options(args: &RestoreArgs) -> Result<RestoreOptions, Failure> {
    let mut fixes = BTreeSet::new();
    for name in &args.fix {
        if name == "all" {
            fixes.extend(Fix::ALL);
            continue;
        }
        let names: Vec<&str> = Fix::ALL.iter().map(|fix| fix.name()).collect();
        let fix = Fix::from_name(name).ok_or_else(|| {
            Failure::said(
                format!("there is no fix `{name}`"),
                format!("fixes are: all, {}", names.join(", ")),
            )
        })?;
        fixes.insert(fix);
    }
    let existing = match (args.into_nonempty, args.rename_existing) {
        (_, true) => Existing::Rename,
        (true, false) => Existing::LetBe,
        (false, false) => Existing::Refuse,
    };
    Ok(RestoreOptions {
        renamed: args.rename_database.iter().cloned().collect(),
        into: args.into.clone(),
        threads: threads(args.threads),
        existing,
        fixes,
        with_binlog: !args.no_binlog,
        method: args.method.map(|method| match method {
            MethodArg::Load => Method::Load,
            MethodArg::Insert => Method::Insert,
        }),
        with_sums: !args.no_sums,
        profile: match args.profile {
            ProfileArg::None => Profile::None,
            ProfileArg::Cloudstack => Profile::CloudStack,
        },
        dry_run: args.dry_run,
        aside_suffix: format!("_before_{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")),
    })
}

/// Sessions that load: while one waits for its rows the server works for the others.
pub(crate) fn threads(asked: Option<u16>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.map_or((processors + 1).min(16), usize::from)
}

/// The encryption key that is named.
pub(crate) fn key(args: &StoreArgs) -> Result<Option<Key>, Failure> {
    let Some(path) = &args.encryption_key_file else { return Ok(None) };
    let text = host::files::read_text(path, KEY_BYTES_MAX)?;
    let key = Key::parse(&text);
    key.map(Some).map_err(|error| Failure::said(error, format!("check {}", path.display())))
}

async fn source(args: &RestoreArgs) -> Result<Source, Failure> {
    let key = key(&args.store)?;
    if !args.source.starts_with(STORE_SCHEME) {
        return Source::at_path(Path::new(&args.source), key.as_ref()).map_err(failure);
    }
    let store = S3Store { endpoint: args.store.s3_endpoint.clone(), ..S3Store::default() };
    let address = Address::parse(&args.source, &store).map_err(|error| failure(error.into()))?;
    let credentials = Credentials::from_environment();
    let place = Place::open(&address, credentials.as_ref()).map_err(|error| failure(error.into()))?;
    Source::in_place(place, "", key.as_ref()).await.map_err(failure)
}

/// The error with what to do next.
pub(crate) fn failure(error: RestoreError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

/// Shows how far the work is, until it ends.
async fn watched<T>(work: impl Future<Output = T>, progress: &Progress) -> T {
    /// Often enough to see it move, seldom enough for a log.
    const EVERY: Duration = Duration::from_secs(2);
    tokio::pin!(work);
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => output::message(&line(progress, begun.elapsed())),
        }
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let it = progress.standing();
    let seconds = elapsed.as_secs().max(1);
    let rate = it.bytes_done / seconds;
    let left = it.bytes_total.saturating_sub(it.bytes_done);
    let left = match left.checked_div(rate) {
        Some(seconds) if it.bytes_done > 0 => format!(", about {seconds} s left"),
        Some(_) | None => String::new(),
    };
    let percent = (it.bytes_done * 100).checked_div(it.bytes_total).unwrap_or(100);
    format!(
        "{}: {percent}% of {}, {} rows, {}/s, {} of {} tables{left}",
        it.phase,
        size(it.bytes_total),
        it.rows_done,
        size(rate),
        it.tables_done,
        it.tables_total
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        10_000_000_000.. => format!("{} GB", bytes / 1_000_000_000),
    }
}
