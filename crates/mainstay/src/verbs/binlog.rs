//! `mainstay binlog`: which of its verbs, and what they share: options, and what is told of damage.

use binlog::{Damages, Obstacle, OnDamage, ReadOptions, Schema, Select};
use jiff::tz::TimeZone;
use tokio::task::block_in_place;

use crate::cli::{BinlogArgs, DamageArg, LogArgs, SchemaArgs, SelectArgs};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::binlog_source::Logs;
use crate::verbs::{binlog_find, binlog_rollback, binlog_sql, binlog_stats};

/// A schema is text; one of ten thousand tables has some tens of megabytes.
const SCHEMA_BYTES_MAX: usize = 256 << 20;

pub(crate) async fn run(format: Format, args: &BinlogArgs) -> Verb {
    let (logs, start_position) = match args {
        BinlogArgs::Stats(args) => (&args.logs, None),
        BinlogArgs::Find(args) => (&args.logs, args.select.start_position),
        BinlogArgs::Sql(args) => (&args.logs, args.select.start_position),
        BinlogArgs::Rollback(args) => (&args.logs, args.select.start_position),
    };
    let logs = Logs::open(logs, start_position).await?;
    // Decoding keeps a processor busy; what a server sends is received by another thread.
    match args {
        BinlogArgs::Stats(args) => block_in_place(|| binlog_stats::run(format, args, logs)),
        BinlogArgs::Find(args) => block_in_place(|| binlog_find::run(format, args, logs)),
        BinlogArgs::Sql(args) => block_in_place(|| binlog_sql::run(format, args, logs)),
        BinlogArgs::Rollback(args) => binlog_rollback::run(format, args, logs).await,
    }
}

/// How the logs are to be read.
pub(crate) fn options(args: &LogArgs, default: OnDamage) -> ReadOptions {
    let on_damage = match args.on_damage {
        Some(DamageArg::Stop) => OnDamage::Stop,
        Some(DamageArg::Skip) => OnDamage::Skip,
        None => default,
    };
    ReadOptions { on_damage, verifies_checksums: !args.no_verify, is_stream: false }
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
        "damaged stretches: {}, of them rows without a table map: {}; {} bytes skipped",
        damages.count, damages.missing_table_maps, damages.skipped_bytes
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

/// Tells which columns of a condition were not found by name: rows of those tables were not chosen.
pub(crate) fn told_unknown(columns: &[String]) {
    for told in columns {
        output::message(&format!(
            "not looked at: {told}; see @1, @2, ..., --schema and binlog_row_metadata=FULL"
        ));
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
pub(crate) fn seconds(text: &str) -> Result<i64, Failure> {
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
