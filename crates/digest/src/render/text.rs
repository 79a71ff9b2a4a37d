//! A report for people, on a terminal: what was read, the classes in a table, then each with its numbers.

use std::fmt::Write as _;

use super::units::{bytes, count, every, of, seconds};
use crate::baseline::{Change, Side};
use crate::report::{ClassReport, ExampleReport, Figures, Metric, Report, Word};

/// Characters of a statement in the table.
const ITEM_CHARS: usize = 60;
/// Characters of a statement that is shown whole.
const STATEMENT_CHARS: usize = 1000;
/// Words of a kind that are named.
const WORDS_SHOWN: usize = 5;
/// The widest bar.
const BAR_CHARS: u64 = 40;

/// The report as text.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = head(report, &mut out);
    out.push_str(&profile(report));
    let _ = timeline(report, &mut out);
    let _ = comparison(report, &mut out);
    for class in &report.classes {
        let _ = detail(report, class, &mut out);
    }
    out
}

fn timeline(report: &Report, out: &mut String) -> std::fmt::Result {
    let Some(timeline) = &report.timeline else { return Ok(()) };
    writeln!(out, "\nevery {}:", every(timeline.slot_seconds.unsigned_abs()))?;
    let mut rows = vec![["", "events", "time", "longest"].map(str::to_owned).to_vec()];
    rows.extend(timeline.slots.iter().map(|slot| {
        vec![
            slot.at.clone(),
            count(as_f64(slot.events)),
            seconds(slot.query_time.as_f64()),
            seconds(slot.longest.as_f64()),
        ]
    }));
    out.push_str(&table(&rows));
    Ok(())
}

fn comparison(report: &Report, out: &mut String) -> std::fmt::Result {
    let Some(comparison) = &report.comparison else { return Ok(()) };
    writeln!(
        out,
        "\nsince the baseline: {} events before, {} now; {} before, {} now",
        count(as_f64(comparison.events_before)),
        count(as_f64(comparison.events_after)),
        seconds(comparison.query_time_before),
        seconds(comparison.query_time_after)
    )?;
    for (changes, what) in [
        (&comparison.new, "new"),
        (&comparison.slower, "slower"),
        (&comparison.faster, "faster"),
        (&comparison.gone, "gone"),
    ] {
        if changes.is_empty() {
            continue;
        }
        writeln!(out, "\n{what}:")?;
        out.push_str(&table(&changed(changes)));
    }
    writeln!(out, "{} unchanged", comparison.unchanged)
}

fn changed(changes: &[Change]) -> Vec<Vec<String>> {
    let title = ["query id", "events before", "now", "mean before", "now", "times", "added", "statement"];
    let mut rows = vec![title.map(str::to_owned).to_vec()];
    let events = |side: &Option<Side>| side.map_or_else(String::new, |side| count(as_f64(side.events)));
    let mean = |side: &Option<Side>| side.map_or_else(String::new, |side| seconds(side.mean));
    rows.extend(changes.iter().map(|change| {
        let sign = if change.seconds_added < 0.0 { "-" } else { "" };
        vec![
            change.query_id.clone(),
            events(&change.before),
            events(&change.after),
            mean(&change.before),
            mean(&change.after),
            change.mean_ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            format!("{sign}{}", seconds(change.seconds_added.abs())),
            cut(if change.item.is_empty() { &change.key } else { &change.item }, ITEM_CHARS),
        ]
    }));
    rows
}

fn head(report: &Report, out: &mut String) -> std::fmt::Result {
    for file in &report.files {
        // What is no file has no size.
        let size = if file.bytes > 0 { format!("  {}", bytes(as_f64(file.bytes))) } else { String::new() };
        let problem = if file.problem.is_some() { ", not read to its end" } else { "" };
        writeln!(out, "{}{size}{problem}", cut(&file.name, STATEMENT_CHARS))?;
    }
    let Figures { events, per_second, concurrency, .. } = report.total;
    let what = match (report.group_by, report.classes_total) {
        ("fingerprint", 1) => "kind of statements",
        ("fingerprint", _) => "kinds of statements",
        (_, 1) => "group",
        (_, _) => "groups",
    };
    writeln!(out, "{}, {} {what}{}", events_text(events), report.classes_total, span(&report.total))?;
    if report.total.span_seconds > 0 {
        write!(out, "{} a second", count(round(per_second)))?;
        if has_times(&report.total) {
            write!(out, ", {concurrency:.2} at a time on average")?;
        }
        out.push('\n');
    }
    let skipped = &report.skipped;
    for (number, what) in [
        (skipped.records, "records skipped, torn or without a statement"),
        (skipped.bytes, "bytes skipped, of those or of no record"),
        (skipped.long_statements, "statements longer than 1 MiB, of which only the beginning was read"),
        (skipped.values, "values not understood"),
        (report.left_out, "events left out, as asked"),
        (report.events_beyond_classes_max, "events of kinds beyond the most that are kept apart"),
    ] {
        if number > 0 {
            writeln!(out, "{what}: {}", count(as_f64(number)))?;
        }
    }
    out.push('\n');
    if events == 0 {
        return Ok(());
    }
    let mut rows = vec![numbers_title()];
    rows.extend(numbers(&report.total, None));
    out.push_str(&table(&rows));
    flags_and_words(&report.total, out)?;
    out.push('\n');
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

fn has_times(figures: &Figures) -> bool {
    figures.metrics.contains_key("Query_time")
}

fn events_text(events: u64) -> String {
    if events == 1 { "1 event".to_owned() } else { format!("{} events", count(as_f64(events))) }
}

pub(super) fn round(number: f64) -> f64 {
    if number >= 10.0 { number.round() } else { number }
}

fn span(figures: &Figures) -> String {
    match (&figures.first_seen, &figures.last_seen) {
        (Some(first), Some(last)) if first == last => format!(", all at {first}"),
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        (None, _) | (_, None) => String::new(),
    }
}

/// The classes, one a line.
fn profile(report: &Report) -> String {
    if report.total.events == 0 {
        return String::new();
    }
    let title = [
        "rank",
        "query id",
        "share",
        "events",
        "time",
        "mean",
        "p95",
        "longest",
        rows_title(report),
        "statement",
    ];
    let mut rows = vec![title.map(str::to_owned).to_vec()];
    for class in &report.classes {
        let time = class.figures.metrics.get("Query_time");
        let time = |value: fn(&Metric) -> f64| time.map_or_else(String::new, |time| seconds(value(time)));
        rows.push(vec![
            format!("{}{}", class.rank, if class.is_outlier { "*" } else { "" }),
            class.query_id.clone(),
            percent(class.share),
            count(as_f64(class.figures.events)),
            time(|time| time.sum.as_f64()),
            time(|time| time.mean),
            time(|time| time.pct_95),
            time(|time| time.max.as_f64()),
            rows_of(report, class).map_or_else(String::new, |rows| count(rows.sum.as_f64())),
            cut(if class.item.is_empty() { &class.key } else { &class.item }, ITEM_CHARS),
        ]);
    }
    if let Some(others) = &report.others {
        let what = format!("{} more", others.classes);
        let mut row = vec![String::new(), what, percent(others.share), count(as_f64(others.events))];
        if report.total.metrics.contains_key("Query_time") {
            row.push(seconds(others.query_time));
        }
        rows.push(row);
    }
    let mut text = table(&without_empty_columns(rows));
    if report.classes.iter().any(|class| class.is_outlier) {
        text.push_str("* beyond the limit, shown as an outlier\n");
    }
    text
}

/// Rows that are told of each class: of statements that only change, those changed.
pub(super) fn rows_title(report: &Report) -> &'static str {
    if report.total.metrics.contains_key("Rows_examined") { "rows examined" } else { "rows affected" }
}

/// So many rows.
pub(super) fn rows_of<'r>(report: &Report, class: &'r ClassReport) -> Option<&'r Metric> {
    let metrics = &class.figures.metrics;
    if report.total.metrics.contains_key("Rows_examined") {
        metrics.get("Rows_examined")
    } else {
        metrics.get("Rows_affected")
    }
}

/// A table without the columns of which only the title is there, such as times of a log that has none.
fn without_empty_columns(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let columns = rows.first().map_or(0, Vec::len);
    for at in (1..columns).rev() {
        let is_empty = |row: &Vec<String>| row.get(at).is_none_or(String::is_empty);
        if rows.iter().skip(1).all(is_empty) {
            for row in rows.iter_mut().filter(|row| row.len() > at) {
                row.remove(at);
            }
        }
    }
    rows
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn cut(text: &str, chars: usize) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match plain.char_indices().nth(chars) {
        Some((at, _)) => format!("{}...", plain.get(..at).unwrap_or_default()),
        None => plain,
    }
}

fn detail(report: &Report, class: &ClassReport, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{}. {}  {}", class.rank, class.query_id, cut(&class.item, ITEM_CHARS))?;
    let figures = &class.figures;
    write!(out, "{}{}", events_text(figures.events), span(figures))?;
    if figures.span_seconds > 0 {
        write!(out, "; {} a second", count(round(figures.per_second)))?;
        if has_times(figures) {
            write!(out, ", {:.2} at a time", figures.concurrency)?;
        }
    }
    if has_times(figures) {
        write!(out, "; variance over mean {:.2}", class.variance_to_mean)?;
    }
    out.push('\n');
    let mut rows = vec![numbers_title()];
    rows.extend(numbers(figures, Some(&report.total)));
    out.push_str(&table(&rows));
    flags_and_words(figures, out)?;
    times(figures, out)?;
    if !class.tables.is_empty() {
        writeln!(out, "tables: {}", class.tables.join(", "))?;
    }
    if report.group_by == "fingerprint" {
        writeln!(out, "{}", cut(&class.key, STATEMENT_CHARS))?;
    }
    if let Some(example) = &class.example {
        writeln!(out, "{}:", example_title(report, class, example))?;
        writeln!(out, "  {}", cut(&example.statement, STATEMENT_CHARS))?;
    }
    Ok(())
}

/// What an example is the worst of, and where it stands.
pub(super) fn example_title(report: &Report, class: &ClassReport, example: &ExampleReport) -> String {
    let mut title = if class.figures.metrics.contains_key("Query_time") {
        format!("the worst, {}", seconds(example.query_time.as_f64()))
    } else {
        "an example".to_owned()
    };
    if let Some(at) = &example.at {
        title.push_str(&format!(" at {at}"));
    }
    let file = report.files.get(example.file as usize).filter(|file| file.bytes > 0);
    if let Some(file) = file {
        let name = if report.files.len() > 1 { format!(" of {}", file.name) } else { String::new() };
        title.push_str(&format!(", byte {}{name}", example.offset));
    }
    title
}

fn numbers_title() -> Vec<String> {
    ["", "share", "sum", "least", "mean", "median", "p95", "greatest", "deviation"]
        .map(str::to_owned)
        .to_vec()
}

/// One line for each number that is not always zero.
fn numbers(figures: &Figures, total: Option<&Figures>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (name, metric) in ordered(figures) {
        if metric.max == crate::amount::Amount::ZERO {
            continue;
        }
        let share = total.map_or_else(String::new, |_| percent(metric.share));
        let values = [
            metric.sum.as_f64(),
            metric.min.as_f64(),
            metric.mean,
            metric.median,
            metric.pct_95,
            metric.max.as_f64(),
            metric.stddev,
        ];
        let mut row = vec![name.clone(), share];
        row.extend(values.map(|value| of(name, value)));
        rows.push(row);
    }
    rows
}

/// The numbers that every log has first, the others by name.
pub(super) fn ordered(figures: &Figures) -> Vec<(&String, &Metric)> {
    let first = ["Query_time", "Lock_time", "Rows_sent", "Rows_examined", "Rows_affected", "Bytes_sent"];
    figures.metrics_from(&first)
}

fn flags_and_words(figures: &Figures, out: &mut String) -> std::fmt::Result {
    let flags: Vec<String> = figures
        .flags
        .iter()
        .filter(|(_, flag)| flag.yes > 0)
        .map(|(name, flag)| format!("{name} {}", percent(as_f64(flag.yes) / as_f64(figures.events.max(1)))))
        .collect();
    if !flags.is_empty() {
        writeln!(out, "yes: {}", flags.join(", "))?;
    }
    for (name, words) in &figures.words {
        writeln!(out, "{name}: {}", named(words))?;
    }
    Ok(())
}

fn named(words: &[Word]) -> String {
    let total: u64 = words.iter().map(|word| word.count).sum();
    let shown = words.iter().take(WORDS_SHOWN).map(|word| {
        let value = word.value.as_deref().map_or_else(|| "others".to_owned(), |value| cut(value, ITEM_CHARS));
        if words.len() == 1 {
            return value;
        }
        format!("{value} ({})", percent(as_f64(word.count) / as_f64(total.max(1))))
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if words.len() > WORDS_SHOWN {
        text.push_str(&format!(" and {} more", words.len() - WORDS_SHOWN));
    }
    text
}

const DECADES: [&str; 8] = ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s+"];

fn times(figures: &Figures, out: &mut String) -> std::fmt::Result {
    let histogram = &figures.query_time_histogram;
    let most = histogram.iter().copied().max().unwrap_or_default();
    let (Some(first), Some(last)) =
        (histogram.iter().position(|count| *count > 0), histogram.iter().rposition(|count| *count > 0))
    else {
        return Ok(());
    };
    for (label, events) in DECADES.iter().zip(histogram).take(last + 1).skip(first) {
        let bar = (u128::from(*events) * u128::from(BAR_CHARS)).div_ceil(u128::from(most.max(1)));
        let bar = "#".repeat(usize::try_from(bar).unwrap_or_default());
        writeln!(out, "{label:>7} {bar} {}", count(as_f64(*events)))?;
    }
    Ok(())
}

/// Rows as lines, numbers to the right, the first and the last column to the left.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let is_text = |at: usize| {
        at == 0
            || rows
                .first()
                .and_then(|row| row.get(at))
                .is_some_and(|title| title == "statement" || title == "query id")
    };
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(at, (cell, width))| {
                    if is_text(at) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
