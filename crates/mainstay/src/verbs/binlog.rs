//! `mainstay binlog`: which of its verbs, and the reading of logs that they share.

use std::path::Path;

use anyhow::Context as _;
use binlog::{Damages, Item, Obstacle, OnDamage, ReadOptions, Schema, Select, Tables, Used, Walked};
use jiff::tz::TimeZone;

use crate::cli::{BinlogArgs, DamageArg, LogArgs, SchemaArgs, SelectArgs};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::{binlog_find, binlog_rollback, binlog_sql, binlog_stats};

/// A schema is text; one of ten thousand tables has some tens of megabytes.
const SCHEMA_BYTES_MAX: usize = 256 << 20;

pub(crate) async fn run(format: Format, args: &BinlogArgs) -> Verb {
    match args {
        BinlogArgs::Stats(args) => binlog_stats::run(format, args),
        BinlogArgs::Find(args) => binlog_find::run(format, args),
        BinlogArgs::Sql(args) => binlog_sql::run(format, args),
        BinlogArgs::Rollback(args) => binlog_rollback::run(format, args).await,
    }
}

/// How the logs are to be read.
pub(crate) fn options(args: &LogArgs, default: OnDamage) -> ReadOptions {
    let on_damage = match args.on_damage {
        Some(DamageArg::Stop) => OnDamage::Stop,
        Some(DamageArg::Skip) => OnDamage::Skip,
        None => default,
    };
    ReadOptions { on_damage, verifies_checksums: !args.no_verify }
}

/// Reads one log.
pub(crate) fn walk(
    path: &Path,
    options: ReadOptions,
    tables: &mut Tables,
    on: impl FnMut(&Item<'_>) -> Used,
) -> Result<Walked, Failure> {
    let log = host::binlog_files::open_log(path)?;
    let log = binlog::plain(log).with_context(|| format!("cannot read {}", path.display()))?;
    binlog::walk(log, options, tables, on).map_err(|error| {
        let hint = error.hint();
        Failure::new(anyhow::Error::new(error).context(path.display().to_string()), hint)
    })
}

/// A log's name as it is shown: without its folder, as servers name it.
pub(crate) fn shown_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Tells on standard error what was passed over, and what that means for the exit code.
pub(crate) fn told(damages: &Damages) -> Outcome {
    if damages.count == 0 {
        return Outcome::Good;
    }
    for damage in damages.first.iter().take(10) {
        output::message(&format!("damaged {damage}"));
    }
    output::message(&format!(
        "damaged stretches: {}, {} bytes skipped, {} of them rows without a table map",
        damages.count, damages.skipped_bytes, damages.missing_table_maps
    ));
    Outcome::Differs
}

/// Tells what could not be written or undone.
pub(crate) fn told_obstacles(obstacles: &[Obstacle], count: u64) {
    for obstacle in obstacles.iter().take(10) {
        output::message(&format!("left out: {obstacle}"));
    }
    if count > 10 {
        output::message(&format!("left out: {} more", count - 10));
    }
}

/// What the options select.
pub(crate) fn select(args: &SelectArgs) -> Result<Select, Failure> {
    Ok(Select {
        tables: args.tables.clone(),
        since_seconds: args.since.as_deref().map(seconds).transpose()?,
        until_seconds: args.until.as_deref().map(seconds).transpose()?,
        start_position: args.start_position,
        stop_position: args.stop_position,
        gtids: args.gtid.clone(),
        not_gtids: args.not_gtid.clone(),
        server_id: args.server_id,
        thread_id: args.thread,
    })
}

/// A time in this host's zone, or in the one it names.
fn seconds(text: &str) -> Result<i64, Failure> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_second());
    }
    let time = text.parse::<jiff::civil::DateTime>().map_err(|error| {
        Failure::new(error, "give a time as \"2026-11-21 02:43:08\", or with Z for UTC: 2026-11-21T02:43:08Z")
    })?;
    Ok(time.to_zoned(TimeZone::system())?.timestamp().as_second())
}

/// The schema that was given, if any.
pub(crate) fn schema(args: &SchemaArgs) -> Result<Option<Schema>, Failure> {
    let Some(path) = &args.schema else { return Ok(None) };
    let mut schema = Schema::default();
    schema.read_script(&host::files::read_text(path, SCHEMA_BYTES_MAX)?, "");
    if schema.is_empty() {
        return Err(Failure::said(
            format!("{} has no CREATE TABLE statement", path.display()),
            "write it with: mysqldump --no-data --databases NAME",
        ));
    }
    Ok(Some(schema))
}
