//! `mainstay binlog sql`: logs as SQL, forwards.

use binlog::{
    Damages, Direction, ForwardScript, Layout, Obstacle, OnDamage, Piece, Replay, ReplayOptions, Tables,
    Taker,
};
use serde::Serialize;

use crate::cli::{BinlogSqlArgs, SqlOutputArg};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::binlog as logs;
use crate::verbs::binlog_source::Logs;

/// Obstacles kept; more are counted.
pub(crate) const OBSTACLES_MAX: usize = 100;

/// Writes pieces as they come.
struct Writer {
    script: ForwardScript,
    format: Format,
    log: String,
    gtid: Option<String>,
    thread_id: Option<u32>,
    stops: bool,
    obstacles: Vec<Obstacle>,
    count: u64,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'p> {
    file: &'p str,
    position: u64,
    gtid: Option<&'p str>,
    seconds: u32,
    thread_id: Option<u32>,
    table: Option<&'p str>,
    sql: &'p str,
}

impl Writer {
    fn line(&self, position: u64, seconds: u32, table: Option<&str>, sql: &str) {
        let (file, gtid, thread_id) = (self.log.as_str(), self.gtid.as_deref(), self.thread_id);
        line(&Line { file, position, gtid, seconds, thread_id, table, sql });
    }
}

impl Taker for Writer {
    fn piece(&mut self, piece: &Piece<'_>) -> bool {
        match self.format {
            Format::Text => output::bytes(self.script.text(piece).as_bytes()),
            Format::Json => match piece {
                Piece::Row { sql, table, offset, seconds, .. } => {
                    self.line(*offset, *seconds, Some(table), sql);
                }
                Piece::Statement { query, offset, seconds, .. } => {
                    self.line(*offset, *seconds, None, &query.text());
                }
                Piece::Begin(transaction) => {
                    self.gtid = transaction.gtid.as_ref().map(ToString::to_string);
                    self.thread_id = transaction.thread_id;
                }
                Piece::Comment(_) | Piece::End(_) | Piece::Abandoned => {}
            },
        }
        true
    }

    fn obstacle(&mut self, obstacle: Obstacle) -> bool {
        self.count += 1;
        if self.obstacles.len() < OBSTACLES_MAX {
            self.obstacles.push(obstacle);
        }
        !self.stops
    }
}

/// Prints a value as a line of JSON.
pub(crate) fn line(line: &impl Serialize) {
    match serde_json::to_string(line) {
        Ok(json) => output::bytes(format!("{json}\n").as_bytes()),
        Err(error) => output::message(&format!("error: the result cannot be written as JSON: {error}")),
    }
}

pub(crate) fn run(format: Format, args: &BinlogSqlArgs, mut source: Logs) -> Verb {
    let layout = match args.output {
        SqlOutputArg::Sql => Layout::Script,
        SqlOutputArg::Pseudo => Layout::Pseudo,
    };
    let options = logs::options(&args.logs, OnDamage::Stop);
    let replay = ReplayOptions {
        select: logs::select(&args.select)?,
        verbs: Vec::new(),
        predicate: args.select.condition.clone(),
        schema: logs::schema(&args.schema)?,
    };
    let mut replay = Replay::new(replay, Direction::Forward);
    let stops = options.on_damage == OnDamage::Stop;
    let mut writer = Writer {
        script: ForwardScript::new(layout),
        format,
        log: String::new(),
        gtid: None,
        thread_id: None,
        stops,
        obstacles: Vec::new(),
        count: 0,
    };
    if format == Format::Text {
        output::bytes(writer.script.head().as_bytes());
    }
    let mut tables = Tables::default();
    let mut damages = Damages::default();
    while let Some(log) = source.next() {
        replay.begin_log(&log.name, log.is_first, log.is_last);
        writer.script.begin_log(&log.name);
        writer.log = log.name;
        let walked = source.walk(options, &mut tables, |item| replay.see(item, &mut writer))?;
        damages.absorb(walked.damages);
        if stops && let Some(obstacle) = writer.obstacles.first() {
            return Err(refused(obstacle));
        }
    }
    replay.finish(&mut writer);
    logs::told_unknown(replay.unknown_columns());
    logs::told_obstacles(&writer.obstacles, writer.count);
    let outcome = logs::told(&damages);
    Ok(if writer.count > 0 { Outcome::Differs } else { outcome })
}

/// What to do about something that cannot be written.
pub(crate) fn refused(obstacle: &Obstacle) -> Failure {
    let hint = if obstacle.problem.contains("no names in the log") {
        "give them with --schema FILE (mysqldump --no-data --databases NAME), or have binlog_row_metadata=FULL from now on"
    } else {
        "choose less with --table, --gtid, --start-position and --stop-position; --on-damage skip leaves it out"
    };
    Failure::said(obstacle, hint)
}
