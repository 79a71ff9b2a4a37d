//! `mainstay binlog stats`: what logs changed, counted, by several threads where a log can be cut.

use std::fmt;
use std::thread::{self, ScopedJoinHandle};

use binlog::{
    OnDamage, Part, Place, ReadOptions, Stats, StatsOptions, StatsReport, Tables, TopTransaction, Walked,
    utc, walk_part,
};
use host::binlog_files::LogFile;
use serde::Serialize;

use crate::cli::{BinlogStatsArgs, TimelineArg};
use crate::failure::{Failure, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::size;
use crate::verbs::binlog as logs;
use crate::verbs::binlog_source::{Logs, failed};

/// A thread is not worth fewer bytes.
const PART_BYTES_MIN: u64 = 8 << 20;

#[derive(Serialize)]
#[serde(transparent)]
struct Shown {
    report: StatsReport,
    #[serde(skip)]
    top: usize,
}

pub(crate) fn run(format: Format, args: &BinlogStatsArgs, mut source: Logs) -> Verb {
    let options = logs::options(&args.logs, OnDamage::Skip);
    let step_seconds = match args.timeline {
        TimelineArg::Second => 1,
        TimelineArg::Minute => 60,
        TimelineArg::Hour => 3600,
    };
    let threads = args
        .threads
        .map_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from);
    let mut tables = Tables::default();
    let mut stats = Stats::new(StatsOptions { top: args.top, step_seconds });
    while let Some(log) = source.next() {
        stats.begin_log(&log.name);
        let walked = match in_parts(&source, options, threads, &mut tables, &mut stats)? {
            Some(walked) => walked,
            None => source.walk(options, &mut tables, |item| stats.see(item))?,
        };
        stats.end_log(walked);
    }
    let shown = Shown { report: stats.report(&tables), top: args.top };
    output::result(format, &shown);
    Ok(logs::told(&shown.report.damages))
}

/// Reads a log by several threads, a part each; none where it is to be read in one go.
fn in_parts(
    source: &Logs,
    options: ReadOptions,
    threads: usize,
    tables: &mut Tables,
    stats: &mut Stats,
) -> Result<Option<Walked>, Failure> {
    if threads < 2 {
        return Ok(None);
    }
    let Some((file, path)) = source.file()? else { return Ok(None) };
    let places = places(&file, options, threads);
    if places.is_empty() {
        return Ok(None);
    }
    let (first, parts) = thread::scope(|scope| {
        let mut readers = Vec::new();
        for (at, from) in places.iter().enumerate() {
            let until = places.get(at + 1..).unwrap_or_default();
            let (rest, stats) = (file.from(from.offset()), stats.for_part());
            readers.push(scope.spawn(move || Part::read(rest, from, until, options, stats)));
        }
        let first =
            walk_part(file.from(0), &Place::default(), &places, options, tables, |item| stats.see(item));
        let parts: Result<Vec<Part>, _> = readers.into_iter().map(ScopedJoinHandle::join).collect();
        (first, parts)
    });
    let Ok(parts) = parts else {
        return Err(Failure::said("a thread that read the log has failed", "try with --threads 1"));
    };
    let walked =
        first.and_then(|first| stats.join(tables, first, parts, options, |offset| file.from(offset)));
    walked.map(Some).map_err(|error| failed(error, &path.display()))
}

/// Where to cut a log into about equal parts; nowhere if it is small, packed, or has no GTID events.
fn places(file: &LogFile, options: ReadOptions, threads: usize) -> Vec<Place> {
    let threads = u64::try_from(threads).unwrap_or(1);
    let parts = threads.min(file.bytes() / PART_BYTES_MIN).max(1);
    if parts < 2 {
        return Vec::new();
    }
    let Some(first) = Place::first(file.from(0), options) else { return Vec::new() };
    let near = (1..parts).map(|part| file.bytes() / parts * part);
    let mut places: Vec<Place> = near.filter_map(|near| first.next(file.from(near), near, options)).collect();
    places.dedup();
    places
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        total(f, report)?;
        tables(f, report, self.top)?;
        transactions(f, "largest transactions", &report.tops.largest)?;
        transactions(f, "longest transactions", &report.tops.longest)?;
        timeline(f, report, self.top)?;
        ddl(f, report, self.top)?;
        sources(f, report, self.top)
    }
}

fn time(seconds: u32) -> String {
    utc(i64::from(seconds))
}

fn total(f: &mut fmt::Formatter<'_>, report: &StatsReport) -> fmt::Result {
    let total = &report.total;
    for file in &report.files {
        let open = if file.is_in_use { ", not closed" } else { "" };
        let checksums = if file.has_checksums { "" } else { ", without checksums" };
        writeln!(f, "{}  {}, by {}{checksums}{open}", file.file, size(file.bytes), file.server_version)?;
    }
    if let (Some(first), Some(last)) = (total.first_seconds, total.last_seconds) {
        writeln!(f, "from {} to {} UTC, {} s", time(first), time(last), last.saturating_sub(first))?;
    }
    let rows = &report.rows_per_transaction;
    writeln!(
        f,
        "{} transactions, {} rows inserted, {} updated, {} deleted; {} events",
        total.transactions, total.rows_inserted, total.rows_updated, total.rows_deleted, total.events
    )?;
    writeln!(
        f,
        "rows per transaction: mean {:.1}, p50 {}, p95 {}, p99 {}, most {}; {} changed none",
        rows.mean, rows.p50, rows.p95, rows.p99, rows.max, rows.zero
    )?;
    if total.statement_changes > 0 {
        writeln!(
            f,
            "{} changes are logged as statements: their rows are not known",
            total.statement_changes
        )?;
    }
    if total.unfinished > 0 {
        writeln!(f, "{} transactions do not end in these logs", total.unfinished)?;
    }
    Ok(())
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, rows: Vec<Vec<String>>) -> fmt::Result {
    if rows.len() < 2 {
        return Ok(());
    }
    write!(f, "\n{title}\n{}", output::table(rows))
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn tables(f: &mut fmt::Formatter<'_>, report: &StatsReport, top: usize) -> fmt::Result {
    let mut rows = vec![header(&["table", "transactions", "inserted", "updated", "deleted", "size"])];
    for table in report.tables.iter().take(top.max(1)) {
        rows.push(vec![
            format!("{}.{}", table.database, table.table),
            table.transactions.to_string(),
            table.rows_inserted.to_string(),
            table.rows_updated.to_string(),
            table.rows_deleted.to_string(),
            size(table.bytes),
        ]);
    }
    let title = if report.tables.len() > top {
        format!("the {top} hottest of {} tables", report.tables.len())
    } else {
        "tables".to_owned()
    };
    list(f, &title, rows)
}

fn transactions(f: &mut fmt::Formatter<'_>, title: &str, top: &[TopTransaction]) -> fmt::Result {
    let mut rows =
        vec![header(&["rows", "seconds", "size", "committed (UTC)", "position", "GTID", "thread", "tables"])];
    for transaction in top {
        let more = transaction.table_count.saturating_sub(transaction.tables.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        rows.push(vec![
            transaction.rows.to_string(),
            transaction.duration_seconds.to_string(),
            size(transaction.bytes),
            time(transaction.committed_seconds),
            format!("{}:{}", transaction.file, transaction.position),
            transaction.gtid.clone().unwrap_or_else(|| "-".to_owned()),
            transaction.thread_id.map_or_else(|| "-".to_owned(), |thread| thread.to_string()),
            format!("{}{more}", transaction.tables.join(" ")),
        ]);
    }
    list(f, title, rows)
}

fn timeline(f: &mut fmt::Formatter<'_>, report: &StatsReport, top: usize) -> fmt::Result {
    let timeline = &report.timeline;
    let mut steps: Vec<_> = timeline.steps.iter().collect();
    steps.sort_by_key(|step| (std::cmp::Reverse(step.rows), step.seconds));
    let mut rows = vec![header(&["from (UTC)", "transactions", "rows", "size"])];
    for step in steps.iter().take(top) {
        rows.push(vec![
            time(step.seconds),
            step.transactions.to_string(),
            step.rows.to_string(),
            size(step.bytes),
        ]);
    }
    let title = format!("busiest of {} steps of {} s", timeline.steps.len(), timeline.step_seconds);
    list(f, &title, rows)
}

fn ddl(f: &mut fmt::Formatter<'_>, report: &StatsReport, top: usize) -> fmt::Result {
    let mut rows = vec![header(&["time (UTC)", "position", "GTID", "thread", "statement"])];
    for ddl in report.ddl.iter().take(top) {
        rows.push(vec![
            time(ddl.seconds),
            format!("{}:{}", ddl.file, ddl.position),
            ddl.gtid.clone().unwrap_or_else(|| "-".to_owned()),
            ddl.thread_id.map_or_else(|| "-".to_owned(), |thread| thread.to_string()),
            ddl.statement.clone(),
        ]);
    }
    list(f, &format!("DDL, {} statements", report.total.ddl), rows)
}

fn sources(f: &mut fmt::Formatter<'_>, report: &StatsReport, top: usize) -> fmt::Result {
    let mut rows = vec![header(&["server", "thread", "transactions", "rows"])];
    for server in &report.servers {
        let (transactions, changed) = (server.transactions.to_string(), server.rows.to_string());
        rows.push(vec![server.server_id.to_string(), "all".to_owned(), transactions, changed]);
    }
    for thread in report.threads.iter().take(top) {
        let named = |id: Option<u32>| id.map_or_else(|| "others".to_owned(), |id| id.to_string());
        let (transactions, changed) = (thread.transactions.to_string(), thread.rows.to_string());
        rows.push(vec![named(thread.server_id), named(thread.thread_id), transactions, changed]);
    }
    list(f, "servers and connections", rows)
}
