//! `mainstay restore`: a dump or backup into a server.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::repository::BackupId;
use backup::restore::{
    Existing, Method, Profile, Progress, RestoreError, RestoreOptions, Restored, Selection, Source, restore,
};
use backup::seal::{Identities, SealError};
use blob::Place;
use dump::fix::Fix;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::block_in_place;

use crate::cli::{KeptArgs, MethodArg, ProfileArg, RestoreArgs, SpecArgs, StoreArgs};
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{identities, identities_of, open, open_address};
use crate::verbs::facts::target;
use crate::verbs::restore_physical;

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
        for account in &it.accounts {
            writeln!(f, "account: {account}")?;
        }
        if !it.accounts_kept.is_empty() {
            writeln!(f, "accounts that are there, let be: {}", it.accounts_kept.join(", "))?;
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
    if let Some(datadir) = &args.datadir {
        return restore_physical::run(format, args, datadir).await;
    }
    let begun = Instant::now();
    let mut options = options(args)?;
    let selection = Selection {
        databases: args.databases.clone(),
        tables: args.tables.iter().map(|name| Selection::name(name)).collect(),
    };
    let target = target(&args.connect)?;
    let source = source(&args.source, &args.store).await?;
    if args.accounts {
        options.accounts = Some(block_in_place(|| source.accounts()).map_err(failure)?);
    }
    let (threads, with_index) = (options.threads, !args.store.no_index);
    let survey = block_in_place(|| source.survey(&selection, threads, with_index)).map_err(failure)?;
    let progress = Arc::new(Progress::default());
    let work = restore(survey, &target, &options, Arc::clone(&progress));
    let restored = if args.progress {
        output::during(work, output::PROGRESS, |elapsed| Some(line(&progress, elapsed))).await
    } else {
        work.await
    };
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
        accounts: None,
        dry_run: args.dry_run,
        aside_suffix: format!("_before_{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")),
    })
}

/// Sessions that load: while one waits for its rows the server works for the others. Twice the processors were 6 to 8 %
/// faster than one more, on both servers (docs/benchmarks.md).
pub(crate) fn threads(asked: Option<u16>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.map_or((processors * 2).min(16), usize::from)
}

/// What is named: a file or folder, an `s3://` address, or a backup of the spec's place. Its identity: the one named, else
/// the spec's, which is looked for only when the backup turns out to be encrypted.
pub(crate) async fn source(name: &str, args: &StoreArgs) -> Result<Source, Failure> {
    let named = named(name, args)?;
    let asked = args.identity_file.as_deref().map(identities).transpose()?.unwrap_or_default();
    match read(&named, &asked).await {
        Err(RestoreError::Sealed { source: SealError::NoIdentity { .. }, .. })
            if context::is_there(&spec_args(args)) =>
        {
            let of_spec = identities_of(context::load(&spec_args(args))?.spec.backup.as_ref())?;
            read(&named, &of_spec).await.map_err(failure)
        }
        done => done.map_err(failure),
    }
}

/// Where a source is.
enum Named {
    Path(PathBuf),
    Backup(Place, String),
}

pub(crate) fn spec_args(args: &StoreArgs) -> SpecArgs {
    SpecArgs { config: args.config.clone(), node: None }
}

fn named(name: &str, args: &StoreArgs) -> Result<Named, Failure> {
    if name.starts_with(STORE_SCHEME) {
        let place = open_address(name, &kept_args(args))?;
        return Ok(Named::Backup(place, String::new()));
    }
    let path = Path::new(name);
    if path.exists() || name.parse::<BackupId>().is_err() || !context::is_there(&spec_args(args)) {
        return Ok(Named::Path(path.to_owned()));
    }
    let kept = open(&KeptArgs { config: args.config.clone(), ..KeptArgs::default() })?;
    Ok(Named::Backup(kept.place, name.to_owned()))
}

fn kept_args(args: &StoreArgs) -> KeptArgs {
    KeptArgs {
        place: None,
        s3_endpoint: args.s3_endpoint.clone(),
        s3_region: args.s3_region.clone(),
        s3_ca_file: args.s3_ca_file.clone(),
        credentials_file: args.credentials_file.clone(),
        config: args.config.clone(),
    }
}

async fn read(named: &Named, identities: &Identities) -> Result<Source, RestoreError> {
    match named {
        Named::Path(path) => Source::at_path(path, identities),
        Named::Backup(place, id) => Source::in_place(place.clone(), id, identities).await,
    }
}

/// The error with what to do next.
pub(crate) fn failure(error: RestoreError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
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
