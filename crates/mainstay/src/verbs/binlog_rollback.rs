//! `mainstay binlog rollback`: the inverse of what logs hold, as a script or on a server.

use std::fmt;

use binlog::{
    Damages, Direction, Kept, Obstacle, OnDamage, Piece, Replay, ReplayOptions, Tables, Taker, Undo,
    UndoScript,
};
use host::binlog_files::{Backwards, Spool};
use host::files::FileError;
use serde::Serialize;
use tokio::task::block_in_place;

use crate::cli::BinlogRollbackArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::binlog_source::Logs;
use crate::verbs::binlog_sql::{OBSTACLES_MAX, line, refused};
use crate::verbs::{binlog as logs, binlog_apply};

/// Spools what is to be undone, in the order in which it happened.
struct Collector {
    spool: Spool,
    file: String,
    stops: bool,
    rows: u64,
    transactions: u64,
    tables: Vec<String>,
    obstacles: Vec<Obstacle>,
    count: u64,
    failure: Option<FileError>,
}

impl Taker for Collector {
    fn piece(&mut self, piece: &Piece<'_>) -> bool {
        match piece {
            Piece::Row { table, .. } => {
                self.rows += 1;
                if self.tables.last().is_none_or(|last| last != table)
                    && !self.tables.iter().any(|it| it == table)
                {
                    self.tables.push((*table).to_owned());
                }
            }
            Piece::End(_) => self.transactions += 1,
            Piece::Begin(_) | Piece::Statement { .. } | Piece::Comment(_) | Piece::Abandoned => {}
        }
        let Some(entry) = Undo::of(piece, &self.file) else { return true };
        match self.spool.push(&entry.to_bytes()) {
            Ok(()) => true,
            Err(error) => {
                self.failure = Some(error);
                false
            }
        }
    }

    fn obstacle(&mut self, obstacle: Obstacle) -> bool {
        self.count += 1;
        if self.obstacles.len() < OBSTACLES_MAX {
            self.obstacles.push(obstacle);
        }
        !self.stops
    }
}

/// Entries of a spool, last one first, without transactions that have no end.
pub(crate) struct Entries<'s> {
    backwards: Backwards<'s>,
    kept: Kept,
}

impl Entries<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<Undo>, Failure> {
        while let Some(record) = self.backwards.next_record()? {
            let entry = Undo::from_bytes(&record).ok_or_else(|| {
                Failure::said(
                    "what was put on disk did not come back the same",
                    "check the disk, or name another folder with --spool",
                )
            })?;
            if let Some(entry) = self.kept.keep(entry) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

#[derive(Serialize)]
struct Done {
    transactions: u64,
    rows: u64,
    tables: Vec<String>,
    /// `checked`, `applied` or `conflicts`.
    result: &'static str,
    conflicts: u64,
    /// The first ones.
    first_conflicts: Vec<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for conflict in &self.first_conflicts {
            writeln!(f, "conflict: {conflict}")?;
        }
        let (rows, transactions) = (self.rows, self.transactions);
        match self.result {
            "applied" => writeln!(f, "undone: {rows} rows of {transactions} transactions"),
            "checked" => writeln!(f, "no conflict: {rows} rows of {transactions} transactions can be undone"),
            _ => writeln!(
                f,
                "{} conflicts in {rows} rows of {transactions} transactions; nothing was changed",
                self.conflicts
            ),
        }
    }
}

pub(crate) async fn run(format: Format, args: &BinlogRollbackArgs, source: Logs) -> Verb {
    let mut connection =
        if args.check || args.apply { Some(binlog_apply::connect(&args.logs.connect).await?) } else { None };
    let mut schema = logs::schema(&args.schema)?;
    if let Some(connection) = &mut connection
        && schema.is_none()
    {
        schema = Some(binlog_apply::schema(connection).await?);
    }
    let mut collector = block_in_place(|| collect(args, schema, source))?;
    let Some(connection) = connection else {
        write_script(format, &mut collector)?;
        return Ok(told(&collector));
    };
    if collector.rows == 0 {
        return Err(Failure::said(
            "nothing is to be undone: no changed row is selected",
            "widen --table, --gtid or the positions",
        ));
    }
    if !args.with_triggers {
        let triggers = binlog_apply::triggers(connection, &collector.tables).await?;
        return finish(format, args, triggers, &mut collector).await;
    }
    finish(format, args, connection, &mut collector).await
}

async fn finish(
    format: Format,
    args: &BinlogRollbackArgs,
    connection: server::Connection,
    collector: &mut Collector,
) -> Verb {
    if args.apply && !args.yes {
        let question = format!(
            "Undo {} rows of {} transactions in {}? [y/N]",
            collector.rows,
            collector.transactions,
            collector.tables.join(", ")
        );
        match output::ask(&question).as_deref() {
            Some("y" | "Y" | "yes") => {}
            Some(_) => return Ok(Outcome::Negative),
            None => {
                return Err(Failure::said(
                    "no terminal to ask on",
                    "--yes says yes; --check changes nothing",
                ));
            }
        }
    }
    let mut entries = Entries { backwards: collector.spool.backwards()?, kept: Kept::default() };
    let conflicts = binlog_apply::apply(connection, &mut entries, args.apply).await?;
    let result = match (conflicts.count, args.apply) {
        (0, true) => "applied",
        (0, false) => "checked",
        _ => "conflicts",
    };
    let done = Done {
        transactions: collector.transactions,
        rows: collector.rows,
        tables: collector.tables.clone(),
        result,
        conflicts: conflicts.count,
        first_conflicts: conflicts.first,
    };
    output::result(format, &done);
    Ok(if done.conflicts > 0 { Outcome::Differs } else { told(collector) })
}

/// Reads the logs and spools the inverse of what is selected.
fn collect(
    args: &BinlogRollbackArgs,
    schema: Option<binlog::Schema>,
    mut source: Logs,
) -> Result<Collector, Failure> {
    let options = logs::options(&args.logs, OnDamage::Stop);
    let stops = options.on_damage == OnDamage::Stop;
    let replay = ReplayOptions {
        select: logs::select(&args.select)?,
        verbs: Vec::new(),
        predicate: args.select.condition.clone(),
        schema,
    };
    let mut replay = Replay::new(replay, Direction::Inverse);
    let mut collector = Collector {
        spool: Spool::new(&args.spool)?,
        file: String::new(),
        stops,
        rows: 0,
        transactions: 0,
        tables: Vec::new(),
        obstacles: Vec::new(),
        count: 0,
        failure: None,
    };
    let mut tables = Tables::default();
    let mut damages = Damages::default();
    while let Some(log) = source.next() {
        replay.begin_log(&log.name, log.is_first, log.is_last);
        collector.file = log.name;
        let walked = source.walk(options, &mut tables, |item| replay.see(item, &mut collector))?;
        damages.absorb(walked.damages);
        if let Some(error) = collector.failure.take() {
            return Err(error.into());
        }
        if stops && let Some(obstacle) = collector.obstacles.first() {
            return Err(refused(obstacle));
        }
    }
    replay.finish(&mut collector);
    logs::told_unknown(replay.unknown_columns());
    if let Some(error) = collector.failure.take() {
        return Err(error.into());
    }
    if logs::told(&damages) != Outcome::Good {
        collector.count += damages.count;
    }
    Ok(collector)
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'l> {
    undoes: &'l str,
    skips_foreign_keys: bool,
    sql: &'l str,
}

fn write_script(format: Format, collector: &mut Collector) -> Result<(), Failure> {
    let mut script = UndoScript::default();
    let mut entries = Entries { backwards: collector.spool.backwards()?, kept: Kept::default() };
    if format == Format::Json {
        let mut undoes = String::new();
        while let Some(entry) = entries.next()? {
            match entry {
                Undo::End(origin) => undoes = origin,
                Undo::Row(sql, skips_foreign_keys) => {
                    line(&Line { undoes: &undoes, skips_foreign_keys, sql: &sql });
                }
                Undo::Begin | Undo::Abandoned => {}
            }
        }
        return Ok(());
    }
    output::bytes(UndoScript::head().as_bytes());
    while let Some(entry) = entries.next()? {
        output::bytes(script.text(&entry).as_bytes());
    }
    output::bytes(UndoScript::tail().as_bytes());
    Ok(())
}

/// What was left out makes the undoing incomplete.
fn told(collector: &Collector) -> Outcome {
    logs::told_obstacles(&collector.obstacles, u64::try_from(collector.obstacles.len()).unwrap_or(u64::MAX));
    if collector.count > 0 { Outcome::Differs } else { Outcome::Good }
}
