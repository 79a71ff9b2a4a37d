//! `mainstay digest`: which of its verbs, and what they share: settings from options, and reports.

use std::collections::HashSet;
use std::path::PathBuf;

use digest::baseline::Comparison;
use digest::filter::Filter;
use digest::general::GeneralLog;
use digest::order::{Limit, OrderBy, Statistic};
use digest::period::{Now, When};
use digest::report::{FileRead, Options, Report};
use digest::sniff::Kind;
use digest::{Digest, GroupBy, Settings, render};
use sqltext::Rules;
use tokio::task::block_in_place;

use crate::cli::{
    BaselineArgs, CompatArg, DigestArgs, DigestGeneralArgs, DigestGroupArg, DigestOutputArg,
    DigestReportArgs, DigestSlowArgs,
};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::digest_history::Kept;
use crate::verbs::digest_read::Gathered;
use crate::verbs::digest_sqlite::Book;
use crate::verbs::{digest_binlog, digest_follow, digest_live, digest_read};

pub(crate) async fn run(format: Format, args: &DigestArgs) -> Verb {
    match args {
        DigestArgs::Slow(args) if args.follow.follow => digest_follow::run(format, args).await,
        DigestArgs::Slow(args) => slow(format, args).await,
        DigestArgs::General(args) => block_in_place(|| general(format, args)),
        DigestArgs::Binlog(args) => digest_binlog::run(format, args).await,
        DigestArgs::Live(args) => digest_live::run(format, args).await,
    }
}

async fn slow(format: Format, args: &DigestSlowArgs) -> Verb {
    check_periods(&args.report, Some(&args.baseline))?;
    let mut plan = Plan::new(format, &args.report, "Query_time:sum");
    let (gathered, before) = block_in_place(|| slow_logs(&plan, args))?;
    if let Some(database) = &args.history.history {
        let mut kept = Kept::open(database, &args.history).await?;
        if args.history.unreviewed {
            plan.hidden = kept.reviewed().await?;
        }
        kept.keep(&plan.whole_report(&gathered.digest)).await?;
    }
    if let Some(path) = &args.history.history_file {
        block_in_place(|| {
            let mut book = Book::open(path)?;
            if args.history.unreviewed {
                plan.hidden = book.reviewed()?;
            }
            book.keep(&plan.whole_report(&gathered.digest))
        })?;
    }
    plan.show(gathered, before)
}

/// Reads the logs, and those to compare with.
fn slow_logs(plan: &Plan, args: &DigestSlowArgs) -> Result<(Gathered, Option<Gathered>), Failure> {
    let threads = args
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from);
    let now = now();
    let settings = plan.settings(now);
    let gathered = digest_read::slow(&args.files, &settings, threads)?;
    let before = match baseline_settings(&args.baseline, &settings, now) {
        Some(settings) => {
            let files = if args.baseline.baseline.is_empty() { &args.files } else { &args.baseline.baseline };
            Some(digest_read::slow(files, &settings, threads)?)
        }
        None => None,
    };
    Ok((gathered, before))
}

fn general(format: Format, args: &DigestGeneralArgs) -> Verb {
    check_periods(&args.report, Some(&args.baseline))?;
    let plan = Plan::new(format, &args.report, "Query_time:cnt");
    let now = now();
    let settings = plan.settings(now);
    let read = |files: &[PathBuf], settings: &Settings| {
        digest_read::one_by_one::<GeneralLog>(files, settings, Kind::GeneralLog)
    };
    let gathered = read(&args.files, &settings)?;
    let before = match baseline_settings(&args.baseline, &settings, now) {
        Some(settings) if args.baseline.baseline.is_empty() => Some(read(&args.files, &settings)?),
        Some(settings) => Some(read(&args.baseline.baseline, &settings)?),
        None => None,
    };
    plan.show(gathered, before)
}

/// What the walls of logs show now.
pub(crate) fn now() -> Now {
    let now = jiff::Zoned::now();
    let utc_seconds = now.timestamp().as_second();
    Now { local_seconds: utc_seconds + i64::from(now.offset().seconds()), utc_seconds }
}

/// How the baseline is read, if there is one.
pub(crate) fn baseline_settings(args: &BaselineArgs, settings: &Settings, now: Now) -> Option<Settings> {
    let BaselineArgs { baseline, baseline_since, baseline_until } = args;
    if baseline.is_empty() && baseline_since.is_none() && baseline_until.is_none() {
        return None;
    }
    Some(Settings {
        since: baseline_since.map(|when| when.bound(now)),
        until: baseline_until.map(|when| when.bound(now)),
        timeline_seconds: None,
        ..settings.clone()
    })
}

/// Refuses a period that ends before it begins, where both ends are told alike.
pub(crate) fn check_periods(
    report: &DigestReportArgs,
    baseline: Option<&BaselineArgs>,
) -> Result<(), Failure> {
    let before = baseline.map(|baseline| (baseline.baseline_since, baseline.baseline_until, "baseline-"));
    for (since, until, name) in [Some((report.since, report.until, "")), before].into_iter().flatten() {
        let is_backwards = match (since, until) {
            (Some(When::At(since)), Some(When::At(until))) => since >= until,
            (Some(When::Ago(since)), Some(When::Ago(until))) => since <= until,
            (Some(When::At(_) | When::Ago(_)) | None, Some(When::At(_) | When::Ago(_)) | None) => false,
        };
        if is_backwards {
            return Err(Failure::said(
                format!("--{name}since is not before --{name}until: no event can be between"),
                format!("the earlier time is --{name}since; of times ago, that is the longer one"),
            ));
        }
    }
    Ok(())
}

/// What is to be digested, and how it is shown.
#[derive(Debug)]
pub(crate) struct Plan {
    args: DigestReportArgs,
    output: DigestOutputArg,
    order_by: OrderBy,
    /// Query ids that are not shown.
    hidden: HashSet<String>,
}

impl Plan {
    /// By options, and what classes are ordered by unless told.
    pub(crate) fn new(format: Format, args: &DigestReportArgs, order_by: &str) -> Self {
        let output = match (format, args.output) {
            (Format::Json, DigestOutputArg::Text) => DigestOutputArg::Json,
            (Format::Json | Format::Text, output) => output,
        };
        let order_by = args.order_by.clone().or_else(|| order_by.parse().ok()).unwrap_or_default();
        Self { args: args.clone(), output, order_by, hidden: HashSet::new() }
    }

    /// How events are put into classes.
    pub(crate) fn settings(&self, now: Now) -> Settings {
        let args = &self.args;
        let group_by = match args.group_by {
            DigestGroupArg::Fingerprint => GroupBy::Fingerprint,
            DigestGroupArg::User => GroupBy::User,
            DigestGroupArg::Host => GroupBy::Host,
            DigestGroupArg::Db => GroupBy::Db,
            DigestGroupArg::Tables => GroupBy::Tables,
            DigestGroupArg::Distill => GroupBy::Distill,
        };
        let rules = match args.compat {
            None => Rules::Own,
            Some(CompatArg::Pt37) => Rules::Pt37,
            Some(CompatArg::Pt32) => Rules::Pt32,
        };
        // A page without a plot over time would say little.
        let timeline =
            if self.output == DigestOutputArg::Html { args.timeline.or(Some(1)) } else { args.timeline };
        // Where only counts are known, the longest statement is the one to show.
        let is_counted = self.order_by.statistic == Statistic::Count && self.args.order_by.is_none();
        let worst_by = if is_counted { "Query_length".to_owned() } else { self.order_by.attribute.clone() };
        Settings {
            group_by,
            rules,
            worst_by,
            filter: args.filter.clone(),
            since: args.since.map(|when| when.bound(now)),
            until: args.until.map(|when| when.bound(now)),
            sample: args.sample,
            timeline_seconds: timeline,
            ..Settings::default()
        }
    }

    /// The report of a digest.
    pub(crate) fn report(&self, digest: &Digest, files: Vec<FileRead>) -> Report {
        let options = Options {
            order_by: self.order_by.clone(),
            limit: self.args.limit,
            outliers: self.args.outliers.0.clone(),
            files,
        };
        let mut report = Report::new(digest, options);
        report.classes.retain(|class| !self.hidden.contains(&class.query_id));
        report
    }

    /// The report of all classes.
    fn whole_report(&self, digest: &Digest) -> Report {
        let limit = Limit { percent: None, classes: None };
        Report::new(digest, Options { order_by: self.order_by.clone(), limit, ..Options::default() })
    }

    /// The report as it is asked for; `is_line` makes JSON one line.
    pub(crate) fn rendered(&self, report: &Report, is_line: bool) -> Result<String, Failure> {
        Ok(match self.output {
            DigestOutputArg::Text => render::text::render(report),
            DigestOutputArg::Html => render::html::render(report),
            DigestOutputArg::PtText => render::pt_text::render(report),
            DigestOutputArg::Json if is_line => serde_json::to_string(report)?,
            DigestOutputArg::Json => serde_json::to_string_pretty(report)?,
            DigestOutputArg::PtJson => render::pt_json::render(report).to_string(),
        })
    }

    /// Shows the report of one interval of several.
    pub(crate) fn show_interval(&self, digest: &Digest, files: Vec<FileRead>) -> Result<(), Failure> {
        let text = self.rendered(&self.report(digest, files), true)?;
        if matches!(self.output, DigestOutputArg::Text | DigestOutputArg::PtText) {
            let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
            output::text(&format!("== up to {now}\n{text}"));
        } else {
            output::text(&text);
        }
        Ok(())
    }

    /// Refuses a layout that is not for several reports.
    pub(crate) fn check_intervals(&self) -> Result<(), Failure> {
        if self.output == DigestOutputArg::Html {
            return Err(Failure::said(
                "a page of HTML is for one report, not for one each interval",
                "choose another --output, or one interval",
            ));
        }
        Ok(())
    }

    /// Tells what was asked for that no event can have: mostly a name that is spelled wrong.
    fn tell_unknown(&self, digest: &Digest, report: &Report) {
        let known = |name: &str| report.total.metrics.contains_key(name);
        let OrderBy { attribute, statistic } = &self.order_by;
        if self.args.order_by.is_some()
            && *statistic != Statistic::Count
            && report.total.events > 0
            && !known(attribute)
        {
            let names: Vec<&str> = report.total.metrics.keys().map(String::as_str).collect();
            output::message(&format!(
                "warning: no event has a number `{attribute}`, so the order says nothing; there are {}",
                names.join(", ")
            ));
        }
        let is_unseen = |name: &&str| digest.attributes().find(name.as_bytes()).is_none();
        let unseen: Vec<&str> =
            self.args.filter.iter().flat_map(Filter::attributes).filter(is_unseen).collect();
        if !unseen.is_empty() {
            output::message(&format!(
                "warning: the filter asks for what no event has: {}; names are those of the log, as Query_time",
                unseen.join(", ")
            ));
        }
    }

    /// Shows what was gathered, beside what was before.
    pub(crate) fn show(&self, gathered: Gathered, before: Option<Gathered>) -> Verb {
        let mut report = self.report(&gathered.digest, gathered.files);
        self.tell_unknown(&gathered.digest, &report);
        let is_read = told_problems(&report.files);
        let is_before_read = before.as_ref().is_none_or(|before| told_problems(&before.files));
        report.comparison = before.map(|before| Comparison::new(&before.digest, &gathered.digest));
        output::text(&self.rendered(&report, false)?);
        let is_worse = report.comparison.as_ref().is_some_and(Comparison::is_worse);
        Ok(if !is_read || !is_before_read {
            Outcome::Negative
        } else if is_worse {
            Outcome::Differs
        } else {
            Outcome::Good
        })
    }
}

/// Tells which files could not be read to their end; whether all could.
fn told_problems(files: &[FileRead]) -> bool {
    for file in files {
        if let Some(problem) = &file.problem {
            output::message(&format!(
                "error: {problem}; {} bytes of it are in the report, the rest is not",
                file.bytes
            ));
        }
    }
    files.iter().all(|file| file.problem.is_none())
}
