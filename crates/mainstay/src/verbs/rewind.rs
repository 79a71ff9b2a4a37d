//! `mainstay rewind`: a table as it was, beside the live one; then compared, swapped or copied back.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use backup::repository::Repository;
use backup::rewind::{
    Cascade, CopyOptions, Copying, Point, Prepared, RewindError, Rewound, SwapPlan, TableDiff, TableOptions,
    TablePlan, TableProgress, build, copy_back, diff, open, plan_copy, plan_swap, prepare, swap,
};
use jiff::Timestamp;
use serde::Serialize;
use server::{Loader, Target};

use crate::cli::{RewindArgs, ToArgs};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{age, size};
use crate::verbs::binlog::seconds;
use crate::verbs::facts::target;
use crate::verbs::restore::threads;
use crate::verbs::switchover::confirm;

/// Often enough to see it move, seldom enough for a log.
const TOLD_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Done {
    dry_run: bool,
    plan: TablePlan,
    #[serde(skip_serializing_if = "Option::is_none")]
    rewound: Option<Rewound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<TableDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copied: Option<Copying>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swapped: Option<SwapPlan>,
    seconds: f64,
}

pub(crate) async fn run(format: Format, args: &RewindArgs) -> Verb {
    let begun = Instant::now();
    let point = point(&args.to)?;
    let options = options(args)?;
    let target = target(&args.connect)?;
    let kept = crate::verbs::backup_place::open(&args.kept)?;
    let identities = kept.identities(args.base.identity_file.as_deref())?;
    let repository = Repository::new(kept.place).with_identities(identities);
    let base = (&point, args.base.backup.as_ref());
    let mut prepared = prepare(&repository, &target, base, &options).await.map_err(failed)?;
    let mut done = Done {
        dry_run: args.dry_run,
        plan: prepared.plan.clone(),
        rewound: None,
        diff: None,
        copied: None,
        swapped: None,
        seconds: 0.0,
    };
    if args.dry_run {
        output::result(format, &done);
        return Ok(Outcome::Differs);
    }
    done.rewound = Some(built(&mut prepared, &target, &options).await?);
    let mut loader = open(&target, &options).await.map_err(failed)?;
    if args.swap {
        done.swapped = Some(swapped(&mut loader, args, &options, &prepared).await?);
    } else if args.copy_back {
        done.copied = Some(copied(&mut loader, args, &options).await?);
    }
    if !args.no_diff && !args.swap {
        let tables = (options.as_name.as_str(), options.table.as_str());
        done.diff = Some(diff(&mut loader, &options.database, tables).await.map_err(failed)?);
    }
    loader.close().await;
    done.seconds = begun.elapsed().as_secs_f64();
    let differs = done.diff.as_ref().is_some_and(|diff| !diff.is_same());
    output::result(format, &done);
    Ok(if differs { Outcome::Differs } else { Outcome::Good })
}

/// The moment that is asked for.
pub(crate) fn point(args: &ToArgs) -> Result<Point, Failure> {
    if let Some(text) = &args.to {
        return Ok(Point::Time(Timestamp::from_second(seconds(text)?)?));
    }
    let read = match (&args.to_gtid, &args.to_position, &args.before) {
        (Some(text), _, _) => Point::after(text),
        (None, Some(text), _) => Point::position(text),
        (None, None, Some(text)) => Point::before(text),
        (None, None, None) => Ok(Point::End),
    };
    read.map_err(|error| Failure::new(error, "`mainstay binlog find` names it under \"stop before\""))
}

/// The error with what to do next.
pub(crate) fn failed(error: RewindError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

fn options(args: &RewindArgs) -> Result<TableOptions, Failure> {
    let unnamed = || Failure::said("no table is named", "name one with --table, or a new server with --into");
    let (database, table) = args.table.clone().ok_or_else(unnamed)?;
    Ok(TableOptions {
        as_name: args.as_name.clone().unwrap_or_else(|| format!("{table}_rewound")),
        database,
        table,
        threads: threads(args.threads),
        memory_bytes: usize::try_from(args.memory_mib).unwrap_or(1024) << 20,
        with_binlog: !args.no_binlog,
        accepts_cascades: args.accept_cascades,
    })
}

/// Makes the table, and shows how far it is.
async fn built(prepared: &mut Prepared, target: &Target, options: &TableOptions) -> Result<Rewound, Failure> {
    let progress = TableProgress::default();
    let (log_bytes, is_there) = (prepared.plan.log_bytes, prepared.plan.is_there);
    if !is_there {
        output::message(&prepared.plan_line());
    }
    let line = |_| {
        let read = progress.log_bytes.load(Ordering::Relaxed);
        let written = progress.rows_written.load(Ordering::Relaxed);
        let restored = progress.restore.standing();
        Some(format!(
            "{}: {} of {} restored; {} of {} of logs read, {written} rows written",
            if read + written == 0 { restored.phase } else { "replaying" },
            size(restored.bytes_done),
            size(restored.bytes_total),
            size(read),
            size(log_bytes)
        ))
    };
    let work = build(prepared, target, options, &progress);
    output::during(work, TOLD_EVERY, line).await.map_err(failed)
}

async fn copied(loader: &mut Loader, args: &RewindArgs, options: &TableOptions) -> Result<Copying, Failure> {
    let choice = CopyOptions {
        condition: args.condition.clone(),
        only_missing: args.only_missing,
        with_triggers: args.with_triggers,
    };
    let (database, tables) = (&options.database, (options.as_name.as_str(), options.table.as_str()));
    let plan = plan_copy(loader, database, tables, &choice).await.map_err(failed)?;
    for line in lines(&plan) {
        output::message(&line);
    }
    if plan.missing + plan.different == 0 {
        return Ok(plan);
    }
    confirm(args.yes, &format!("Copy them into {database}.{} now? (y/n)", options.table))?;
    copy_back(loader, database, tables, &choice, &plan).await.map_err(failed)
}

fn lines(plan: &Copying) -> Vec<String> {
    let mut lines = vec![format!("{} rows to put in, {} to set back:", plan.missing, plan.different)];
    lines.extend(plan.first.iter().map(|row| format!("  {row}")));
    if !plan.triggers.is_empty() {
        lines.push(format!("triggers will act on them: {}", plan.triggers.join(", ")));
    }
    lines
}

async fn swapped(
    loader: &mut Loader,
    args: &RewindArgs,
    options: &TableOptions,
    prepared: &Prepared,
) -> Result<SwapPlan, Failure> {
    let tables = (options.as_name.as_str(), options.table.as_str());
    let definitions = prepared.definitions();
    let plan = plan_swap(loader, &options.database, tables, definitions).await.map_err(failed)?;
    let named = [
        ("triggers that go over", &plan.triggers),
        ("foreign keys that go over", &plan.foreign_keys),
        ("foreign keys of other tables that are made anew, unchecked", &plan.leading_here),
    ];
    for (what, names) in named.iter().filter(|(_, names)| !names.is_empty()) {
        output::message(&format!("{what}: {}", names.join("; ")));
    }
    for statement in &plan.statements {
        output::message(&format!("  {statement};"));
    }
    confirm(args.yes, "Run these statements now? (y/n)")?;
    swap(loader, &plan).await.map_err(failed)?;
    Ok(plan)
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            return plan_text(f, &self.plan);
        }
        if let Some(rewound) = &self.rewound {
            rewound_text(f, rewound)?;
        }
        if let Some(copied) = &self.copied {
            let (missing, different) = (copied.missing, copied.different);
            writeln!(f, "copied back: {missing} rows put in, {different} set back")?;
        }
        if let Some(plan) = &self.swapped {
            let before = plan.before.as_ref();
            let before = before.map(|name| format!("; what was there is now {name}")).unwrap_or_default();
            writeln!(f, "{} has the place of {}{before}", self.plan.makes, self.plan.table)?;
        }
        if let Some(diff) = &self.diff {
            diff_text(f, diff, &self.plan)?;
        }
        write!(f, "{:.1} s", self.seconds)
    }
}

fn plan_text(f: &mut fmt::Formatter<'_>, plan: &TablePlan) -> fmt::Result {
    writeln!(f, "would make {} as {} was {}", plan.makes, plan.table, plan.point)?;
    if plan.is_there {
        return write!(f, "it is there already, made by an earlier run for the same point");
    }
    writeln!(
        f,
        "  restore  {} rows ({}) of the backup {}, taken {:.0}",
        plan.backup_rows,
        size(plan.backup_bytes),
        plan.backup,
        plan.snapshot_taken
    )?;
    writeln!(f, "  replay   {} of {} logs, to {}", size(plan.log_bytes), plan.logs, stop(plan))?;
    cascades_text(f, plan)?;
    write!(f, "  takes    about {}; nothing was changed", age(plan.estimated_seconds))
}

/// Changes of other tables that were accepted.
fn cascades_text(f: &mut fmt::Formatter<'_>, plan: &TablePlan) -> fmt::Result {
    for Cascade { parent, keys, deleted, updated, first } in &plan.cascades {
        let keys = keys.join(", ");
        writeln!(
            f,
            "  accepted: {deleted} rows of {parent} deleted, {updated} changed, from {first} on; what foreign keys of \
             {keys} did then is in no log"
        )?;
    }
    Ok(())
}

/// Where it stops, and what comes next there.
fn stop(plan: &TablePlan) -> String {
    let next = plan.next_seconds.and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok());
    let next = next.map_or_else(String::new, |time| format!(", before a transaction of {time}"));
    format!("{}{next}", plan.stops_at)
}

fn rewound_text(f: &mut fmt::Formatter<'_>, rewound: &Rewound) -> fmt::Result {
    let Rewound { plan, replayed, .. } = rewound;
    if plan.is_there {
        return writeln!(f, "{} is there already, as of {}", plan.makes, plan.stops_at);
    }
    writeln!(f, "made {} as {} was at {}", plan.makes, plan.table, stop(plan))?;
    writeln!(
        f,
        "  {} rows from the backup {} in {:.1} s",
        rewound.restored_rows, plan.backup, rewound.restore_seconds
    )?;
    writeln!(
        f,
        "  {} changes in {} of logs came to {} rows written in {:.1} s{}",
        replayed.changes,
        size(replayed.log_bytes),
        replayed.rows,
        rewound.replay_seconds,
        if replayed.is_sequential { ", one by one for want of a primary key" } else { "" }
    )?;
    cascades_text(f, plan)?;
    for statement in &replayed.ddl {
        writeln!(f, "  done again: {statement}")?;
    }
    for change in &rewound.definition_changes {
        writeln!(f, "  changed: {change}")?;
    }
    if !rewound.left_out.is_empty() {
        writeln!(f, "  without: {}", rewound.left_out.join("; "))?;
    }
    Ok(())
}

fn diff_text(f: &mut fmt::Formatter<'_>, diff: &TableDiff, plan: &TablePlan) -> fmt::Result {
    let (rewound, live) = (&plan.makes, &plan.table);
    if !diff.is_live_there {
        let rows = diff.rewound_rows;
        return writeln!(f, "{rewound} has {rows} rows; {live} is not there: --swap gives it that name");
    }
    writeln!(f, "{rewound} has {} rows, {live} has {}", diff.rewound_rows, diff.live_rows)?;
    for column in &diff.other_columns {
        writeln!(f, "  not compared: {column}")?;
    }
    if !diff.is_compared {
        return writeln!(f, "  rows were not compared: the two have no primary key in common");
    }
    let kinds = [
        ("only in the rewound table", diff.only_rewound, &diff.first_only_rewound),
        ("only in the live table", diff.only_live, &diff.first_only_live),
        ("different", diff.different, &diff.first_different),
    ];
    for (what, count, first) in kinds {
        writeln!(f, "  {count} {what}")?;
        for row in first {
            writeln!(f, "    {row}")?;
        }
    }
    Ok(())
}
