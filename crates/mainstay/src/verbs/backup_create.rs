//! `mainstay backup create`: a backup of a server.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::create::{CreateError, CreateOptions, Progress, ProgressCounts, Throttle, create};
use backup::physical;
use dump::layout::Compression;
use dump::manifest::{BackupKind, Manifest};
use kill::Span;
use serde::Serialize;
use server::Limits;
use spec::Backup;

use crate::cli::{BackupCreateArgs, CompressArg, SpecArgs};
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{Kept, open, size};
use crate::verbs::facts::target;

/// What was made.
#[derive(Serialize)]
struct Created {
    id: String,
    place: String,
    tables: usize,
    objects: usize,
    rows: u64,
    sql_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
    manifest: Manifest,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "backup {} in {}", self.id, self.place)?;
        if self.manifest.kind == BackupKind::Physical {
            writeln!(f, "the server's files: {} stored, in {:.1} s", size(self.stored_bytes), self.seconds)?;
            return self.ends(f);
        }
        let (sql, stored) = (size(self.sql_bytes), size(self.stored_bytes));
        writeln!(
            f,
            "{} tables, {} rows, {} other objects: {sql} of SQL, {stored} stored, in {:.1} s",
            self.tables, self.rows, self.objects, self.seconds
        )?;
        self.ends(f)
    }
}

impl Created {
    fn ends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for left_out in &self.manifest.left_out {
            writeln!(f, "note: {}: {}", left_out.what, left_out.why)?;
        }
        match &self.manifest.coordinates {
            Some(at) if at.gtid.is_empty() => write!(f, "at {}:{}", at.file, at.position),
            Some(at) => write!(f, "at {}:{}, GTID {}", at.file, at.position, at.gtid),
            None => {
                write!(f, "WITHOUT COORDINATES: nothing that happens from now on can be replayed onto it")
            }
        }
    }
}

pub(crate) async fn run(format: Format, args: &BackupCreateArgs) -> Verb {
    let begun = Instant::now();
    let kept = open(&args.kept)?;
    let options = options(args, &kept)?;
    let target = target(&args.connect)?;
    let place = kept.place;
    let progress = Arc::new(Progress::default());
    let limits = Limits { statement: Duration::from_secs(300), ..Limits::default() };
    let work = async {
        if args.physical {
            physical::create(&target, &limits, &place, &options, &args.scratch, &progress).await
        } else {
            create(&target, &limits, &place, &options, &progress).await
        }
    };
    let made = if args.quiet { work.await } else { watched(work, &progress).await };
    let manifest = made.map_err(failure)?;
    let created = Created {
        id: manifest.id.clone(),
        place: place.to_string(),
        tables: manifest.tables.len(),
        objects: manifest.objects.len(),
        rows: manifest.rows(),
        sql_bytes: manifest.tables.iter().map(|table| table.sql_bytes).sum(),
        stored_bytes: manifest.stored_bytes(),
        seconds: begun.elapsed().as_secs_f64(),
        manifest,
    };
    output::result(format, &created);
    Ok(Outcome::Good)
}

fn options(args: &BackupCreateArgs, kept: &Kept) -> Result<CreateOptions, Failure> {
    let recipients = kept.recipients(&args.seal)?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut options = CreateOptions::new(args.label.clone().unwrap_or_else(host::users::hostname));
    options.databases.clone_from(&args.databases);
    options.tables.clone_from(&args.tables);
    options.without_tables.clone_from(&args.without_tables);
    options.threads = args.threads.map_or(processors.min(4), usize::from);
    options.compression = match args.compress {
        CompressArg::Zstd => Compression::Zstd,
        CompressArg::Gzip => Compression::Gzip,
        CompressArg::None => Compression::None,
    };
    options.level = args.level;
    options.control_plane_files = control_plane_files(args, !recipients.is_empty())?;
    options.recipients = recipients;
    options.chunk_bytes = args.chunk_mib << 20;
    options.without_coordinates = args.without_coordinates;
    options.accounts = !args.no_accounts;
    options.throttle = throttle(args, kept.backup.as_ref());
    Ok(options)
}

/// The limits that are named, else the spec's. Programs that copy files know neither.
fn throttle(args: &BackupCreateArgs, spec: Option<&Backup>) -> Throttle {
    let lag_max_seconds = args.max_lag.map(Span::seconds).or(spec.and_then(|spec| spec.lag_max_seconds));
    let running_max = args.max_running.or(spec.and_then(|spec| spec.running_max));
    let throttle = Throttle { lag_max: lag_max_seconds.map(Duration::from_secs), running_max };
    if args.physical && throttle != Throttle::default() {
        output::message("note: max_lag and max_running of [backup] do not hold back a physical backup");
        return Throttle::default();
    }
    throttle
}

/// What the spec says belongs to the control plane on this host, unless files are named. Without a recipient they are
/// not kept, which is said: their absence is noticed on the worst day.
fn control_plane_files(args: &BackupCreateArgs, is_encrypted: bool) -> Result<Vec<PathBuf>, Failure> {
    let from = SpecArgs { config: args.kept.config.clone(), node: None };
    if !args.control_plane_file.is_empty() || !context::is_there(&from) {
        return Ok(args.control_plane_file.clone());
    }
    let properties = context::load(&from)?.spec.cloudstack.and_then(|cloudstack| cloudstack.properties);
    let named = properties.map(|properties| vec![properties.file, properties.key_file]).unwrap_or_default();
    let here: Vec<PathBuf> = named.into_iter().filter(|path| path.exists()).collect();
    if !here.is_empty() && !is_encrypted {
        output::message(
            "warning: the control plane's key and db.properties are not kept, as nothing is encrypted: \
             set recipients in [backup]",
        );
        return Ok(Vec::new());
    }
    Ok(here)
}

fn failure(error: CreateError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

/// Shows how far the work is, until it ends.
async fn watched<T>(work: impl Future<Output = T>, progress: &Progress) -> T {
    // A log needs fewer lines than a person.
    let every = if std::io::stderr().is_terminal() { 2 } else { 15 };
    output::during(work, Duration::from_secs(every), |elapsed| Some(line(&progress.counts(), elapsed))).await
}

/// Statistics of the server say how many rows there are, so what is left is an estimate.
fn line(counts: &ProgressCounts, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs().max(1);
    let rate = counts.rows / seconds;
    let left = counts.rows_expected.saturating_sub(counts.rows);
    let left = match left.checked_div(rate) {
        Some(seconds) if left > 0 => format!(", about {seconds} s left"),
        Some(_) | None => String::new(),
    };
    let held_back = if counts.held_back { ", holding back" } else { "" };
    format!(
        "{} of {} tables, {} rows of about {} ({rate}/s), {} of SQL ({}/s), {} stored{left}{held_back}",
        counts.tables,
        counts.tables_expected,
        counts.rows,
        counts.rows_expected,
        size(counts.sql_bytes),
        size(counts.sql_bytes / seconds),
        size(counts.stored_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_rate_and_time_left() {
        let counts = ProgressCounts {
            rows: 1000,
            rows_expected: 4000,
            sql_bytes: 3 << 20,
            stored_bytes: 1536,
            tables: 1,
            tables_expected: 2,
            held_back: false,
        };
        assert_eq!(
            line(&counts, Duration::from_secs(10)),
            "1 of 2 tables, 1000 rows of about 4000 (100/s), 3.0 MiB of SQL (307.1 KiB/s), 1.5 KiB stored, \
             about 30 s left"
        );
    }
}
