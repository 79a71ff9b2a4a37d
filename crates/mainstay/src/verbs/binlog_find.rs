//! `mainstay binlog find`: the event that did it.

use std::fmt;

use binlog::{Action, Damages, FindOptions, Finder, Match, OnDamage, Tables, utc};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::{ActionArg, BinlogFindArgs};
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::binlog as logs;
use crate::verbs::binlog_source::Logs;

/// Changes of so many rows by one transaction are worth a look when nothing else is asked for.
const MASS_ROWS: u64 = 1000;

#[derive(Serialize)]
struct Found {
    matches: Vec<Shown>,
    /// Matches that are not listed.
    more: u64,
    damages: Damages,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    found: Match,
    time_utc: String,
    time_local: String,
    /// What to stop before when going back in time.
    stop_before: String,
}

impl Shown {
    fn new(found: Match) -> Self {
        let seconds = i64::from(found.seconds);
        let local = jiff::Timestamp::from_second(seconds)
            .map(|time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
            .unwrap_or_default();
        let stop_before = found.gtid.clone().unwrap_or_else(|| format!("{}:{}", found.file, found.position));
        Self { time_utc: format!("{} UTC", utc(seconds)), time_local: local, stop_before, found }
    }
}

pub(crate) fn run(format: Format, args: &BinlogFindArgs, mut source: Logs) -> Verb {
    let select = logs::select(&args.select)?;
    let names_something = !args.select.tables.is_empty()
        || args.select.condition.is_some()
        || args.select.gtid.is_some()
        || args.select.thread.is_some();
    let mut finder = Finder::new(FindOptions {
        select,
        actions: actions(&args.actions),
        rows_min: args.rows.unwrap_or(if names_something { 1 } else { MASS_ROWS }),
        predicate: args.select.condition.clone(),
        schema: logs::schema(&args.schema)?,
    });
    let options = logs::options(&args.logs, OnDamage::Skip);
    let mut tables = Tables::default();
    let mut found = Found { matches: Vec::new(), more: 0, damages: Damages::default() };
    let (mut matches, mut more) = (Vec::new(), 0);
    let mut take = |found: Match| {
        if matches.len() < args.limit {
            matches.push(Shown::new(found));
        } else {
            more += 1;
        }
    };
    while let Some(log) = source.next() {
        finder.begin_log(&log.name, log.is_first, log.is_last);
        let walked = source.walk(options, &mut tables, |item| finder.see(item, &mut take))?;
        found.damages.absorb(walked.damages);
    }
    logs::told_unknown(finder.unknown_columns());
    finder.finish(&mut take);
    (found.matches, found.more) = (matches, more);
    output::result(format, &found);
    let outcome = logs::told(&found.damages);
    Ok(if found.matches.is_empty() && outcome == Outcome::Good { Outcome::Negative } else { outcome })
}

fn actions(chosen: &[ActionArg]) -> Vec<Action> {
    if chosen.is_empty() {
        return vec![
            Action::Drop,
            Action::Truncate,
            Action::Alter,
            Action::Rename,
            Action::Delete,
            Action::Update,
        ];
    }
    let action = |arg: &ActionArg| match arg {
        ActionArg::Create => Action::Create,
        ActionArg::Alter => Action::Alter,
        ActionArg::Rename => Action::Rename,
        ActionArg::Drop => Action::Drop,
        ActionArg::Truncate => Action::Truncate,
        ActionArg::Insert => Action::Insert,
        ActionArg::Update => Action::Update,
        ActionArg::Delete => Action::Delete,
        ActionArg::Grant => Action::Grant,
    };
    chosen.iter().map(action).collect()
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shown in &self.matches {
            let found = &shown.found;
            let rows = found.rows.map(|rows| format!(" {rows} rows of")).unwrap_or_default();
            writeln!(f, "{}{rows} {}", found.action.keyword(), found.tables.join(", "))?;
            writeln!(f, "  when         {}, {}", shown.time_utc, shown.time_local)?;
            writeln!(f, "  where        {}:{} to {}", found.file, found.position, found.end_position)?;
            if let Some(gtid) = &found.gtid {
                writeln!(f, "  GTID         {gtid}")?;
            }
            let thread = found.thread_id.map_or_else(|| "not logged".to_owned(), |thread| thread.to_string());
            writeln!(f, "  by           server {}, thread {thread}", found.server_id)?;
            if let Some(statement) = &found.statement {
                writeln!(f, "  statement    {statement}")?;
            }
            writeln!(f, "  stop before  {}", shown.stop_before)?;
        }
        match (self.matches.is_empty(), self.more) {
            (true, _) => writeln!(f, "nothing found"),
            (false, 0) => Ok(()),
            (false, more) => writeln!(f, "and {more} more"),
        }
    }
}
