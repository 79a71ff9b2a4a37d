//! The text report of pt-query-digest, for what was written to read it. The lines about its own run are left out, but
//! for the files; statements are not rewritten for EXPLAIN.

use std::fmt::Write as _;

use super::units::{is_seconds, pt_seconds, shortened};
use crate::report::{ClassReport, Figures, Metric, Report, Word};

/// The width of a line that is drawn.
const LINE_CHARS: usize = 74;
const BAR_CHARS: u64 = 64;
/// With more classes or fewer, it says why each is shown.
const EXPECTED_CLASSES: std::ops::RangeInclusive<usize> = 5..=10;

/// The report as pt-query-digest prints it.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = head(report, &mut out);
    let _ = profile(report, &mut out);
    for class in &report.classes {
        let _ = query(report, class, &mut out);
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

fn head(report: &Report, out: &mut String) -> std::fmt::Result {
    let files: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    writeln!(out, "\n# Files: {}", files.join(", "))?;
    let total = &report.total;
    let line = format!(
        "# Overall: {} total, {} unique, {} QPS, {}x concurrency ",
        shortened(as_f64(total.events), 1000.0),
        report.classes_total,
        rate(total.per_second),
        rate(total.concurrency)
    );
    writeln!(out, "{line:_<LINE_CHARS$}")?;
    time_range(total, out)?;
    out.push_str("# Attribute          total     min     max     avg     95%  stddev  median\n");
    out.push_str("# ============     ======= ======= ======= ======= ======= ======= =======\n");
    for (name, metric) in total.metrics_from(&FIRST) {
        let values = statistics(name, metric).map(|value| format!("{value:>7}")).join(" ");
        writeln!(out, "# {:<12}     {values}", label(name))?;
    }
    booleans(total, out)?;
    out.push('\n');
    Ok(())
}

/// A whole rate as it is, others with two decimals, thousands with a letter.
fn rate(number: f64) -> String {
    shortened(number, 1000.0)
}

fn time_range(figures: &Figures, out: &mut String) -> std::fmt::Result {
    match (&figures.first_seen, &figures.last_seen) {
        (Some(first), Some(last)) if first == last => {
            writeln!(out, "# Time range: all events occurred at {first}")
        }
        (Some(first), Some(last)) => {
            let day = first.split_once(' ').map(|(day, _)| day);
            let last = match last.split_once(' ') {
                Some((other, time)) if Some(other) == day => time,
                Some(_) | None => last,
            };
            writeln!(out, "# Time range: {first} to {last}")
        }
        (None, _) | (_, None) => Ok(()),
    }
}

/// Attributes that come first, in this order; the others follow by name.
const FIRST: [&str; 12] = [
    "Query_time",
    "Lock_time",
    "Rows_sent",
    "Rows_examined",
    "Rows_affected",
    "Rows_read",
    "Bytes_sent",
    "Merge_passes",
    "Tmp_tables",
    "Tmp_disk_tables",
    "Tmp_table_sizes",
    "Query_length",
];

/// Names that it has of its own; of others underscores become spaces. All are cut.
fn label(name: &str) -> String {
    let label = match name {
        "Query_time" => "Exec time",
        "Query_length" => "Query size",
        "Tmp_disk_tables" => "Tmp disk tbl",
        "Tmp_table_sizes" => "Tmp tbl size",
        "db" => "Databases",
        "host" => "Hosts",
        "user" => "Users",
        _ => name,
    };
    label.replace('_', " ").chars().take(12).collect()
}

/// Sum, least, greatest, mean, percentile, deviation and median.
fn statistics(name: &str, metric: &Metric) -> [String; 7] {
    let values = [
        metric.sum.as_f64(),
        metric.min.as_f64(),
        metric.max.as_f64(),
        metric.mean,
        metric.pct_95,
        metric.stddev,
        metric.median,
    ];
    values.map(|value| {
        if is_seconds(name) {
            pt_seconds(value)
        } else if value == 0.0 {
            "0".to_owned()
        } else {
            shortened(value, 1024.0)
        }
    })
}

fn booleans(figures: &Figures, out: &mut String) -> std::fmt::Result {
    let seen: Vec<_> = figures.flags.iter().filter(|(_, flag)| flag.yes > 0).collect();
    if seen.is_empty() {
        return Ok(());
    }
    out.push_str("# Boolean:\n");
    for (name, flag) in seen {
        let yes = whole_percent(as_f64(flag.yes), as_f64(flag.total));
        writeln!(out, "# {:<12} {yes:>3}% yes, {:>3}% no", label(name), 100 - yes)?;
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 100")]
fn whole_percent(part: f64, whole: f64) -> u64 {
    if whole > 0.0 { ((part / whole * 100.0) as u64).min(100) } else { 0 }
}

fn profile(report: &Report, out: &mut String) -> std::fmt::Result {
    let calls = |events: u64| events.to_string();
    let others = report.others.as_ref();
    let events =
        report.classes.iter().map(|class| class.figures.events).chain(others.map(|others| others.events));
    let calls_width = events.map(|events| calls(events).len()).max().unwrap_or(0).max("Calls".len());
    let per_call = |time: f64, events: u64| format!("{:.4}", time / as_f64(events.max(1)));
    let rows: Vec<[String; 6]> = report
        .classes
        .iter()
        .map(|class| {
            let time = class.figures.metrics.get("Query_time").map_or(0.0, |time| time.sum.as_f64());
            let events = class.figures.events;
            let share = format!("{time:.4} {:>4.1}%", class.share * 100.0);
            let id = format!("0x{}", class.query_id);
            let ratio = format!("{:.2}", class.variance_to_mean);
            [class.rank.to_string(), id, share, calls(events), per_call(time, events), ratio]
        })
        .collect();
    let call_width = rows.iter().map(|[.., call, _]| call.len()).max().unwrap_or(0).max("R/Call".len());
    out.push_str("# Profile\n");
    writeln!(
        out,
        "# Rank {:<35} {:<13} {:<calls_width$} {:<call_width$} V/M",
        "Query ID", "Response time", "Calls", "R/Call"
    )?;
    writeln!(
        out,
        "# ==== {} ============= {} {} ===",
        "=".repeat(35),
        "=".repeat(calls_width),
        "=".repeat(call_width)
    )?;
    for (row, class) in rows.iter().zip(&report.classes) {
        let [rank, id, share, calls, call, ratio] = row;
        let line = format!(
            "# {rank:>4} {id:<34} {share:>14} {calls:>calls_width$} {call:>call_width$} {ratio:>5} {}",
            class.item
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    if let Some(others) = others {
        let share = format!("{:.4} {:>4.1}%", others.query_time, others.share * 100.0);
        let (calls, call) = (calls(others.events), per_call(others.query_time, others.events));
        writeln!(
            out,
            "# MISC {:<34} {share:>14} {calls:>calls_width$} {call:>call_width$} {:>5} <{} ITEMS>",
            "0xMISC", "0.0", others.classes
        )?;
    }
    Ok(())
}

fn query(report: &Report, class: &ClassReport, out: &mut String) -> std::fmt::Result {
    let figures = &class.figures;
    // It counts from behind the first character of a record.
    let offset = class.example.as_ref().map_or(0, |example| example.offset);
    let offset = offset + u64::from(offset > 0);
    writeln!(
        out,
        "\n# Query {}: {} QPS, {}x concurrency, ID 0x{} at byte {offset}",
        class.rank,
        rate(figures.per_second),
        rate(figures.concurrency),
        class.query_id
    )?;
    if !EXPECTED_CLASSES.contains(&report.classes.len()) {
        let why = if class.is_outlier { "--outliers" } else { "--limit" };
        writeln!(out, "# This item is included in the report because it matches {why}.")?;
    }
    writeln!(out, "# Scores: V/M = {:.2}", class.variance_to_mean)?;
    time_range(figures, out)?;
    out.push_str("# Attribute    pct   total     min     max     avg     95%  stddev  median\n");
    out.push_str("# ============ === ======= ======= ======= ======= ======= ======= =======\n");
    let events = as_f64(figures.events);
    let of_all = whole_percent(events, as_f64(report.total.events));
    writeln!(out, "# {:<12} {of_all:>3} {:>7}", "Count", figures.events)?;
    for (name, metric) in figures.metrics_from(&FIRST) {
        let share = whole_percent(metric.share, 1.0);
        let values = statistics(name, metric).map(|value| format!("{value:>7}")).join(" ");
        writeln!(out, "# {:<12} {share:>3} {values}", label(name))?;
    }
    booleans(figures, out)?;
    out.push_str("# String:\n");
    let mut words: Vec<_> = figures.words.iter().map(|(name, words)| (label(name), words)).collect();
    words.sort_by(|(one, _), (two, _)| one.cmp(two));
    for (label, words) in words {
        writeln!(out, "# {label:<12} {}", named(words))?;
    }
    times(figures, out)?;
    example(class, out)
}

/// The words seen most often, with how often.
fn named(words: &[Word]) -> String {
    if let [only] = words {
        return only.value.clone().unwrap_or_default();
    }
    let total = as_f64(words.iter().map(|word| word.count).sum());
    let shown: Vec<String> = words
        .iter()
        .take(3)
        .map(|word| {
            let value: String = word.value.as_deref().unwrap_or_default().chars().take(17).collect();
            format!("{value} ({}/{}%)", word.count, whole_percent(as_f64(word.count), total))
        })
        .collect();
    let more = if words.len() > 3 { format!("... {} more", words.len() - 3) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

const DECADES: [&str; 8] = ["  1us", " 10us", "100us", "  1ms", " 10ms", "100ms", "   1s", " 10s+"];

fn times(figures: &Figures, out: &mut String) -> std::fmt::Result {
    out.push_str("# Query_time distribution\n");
    let most = figures.query_time_histogram.iter().copied().max().unwrap_or_default();
    for (label, count) in DECADES.iter().zip(figures.query_time_histogram) {
        let bar = u128::from(count) * u128::from(BAR_CHARS) / u128::from(most.max(1));
        let bar = usize::try_from(bar).unwrap_or_default().max(usize::from(count > 0));
        writeln!(out, "{}", format!("# {label}  {}", "#".repeat(bar)).trim_end())?;
    }
    Ok(())
}

fn example(class: &ClassReport, out: &mut String) -> std::fmt::Result {
    let Some(example) = &class.example else { return Ok(()) };
    if !class.tables.is_empty() {
        out.push_str("# Tables\n");
        for table in &class.tables {
            let (db, name) = match table.split_once('.') {
                Some((db, name)) => (Some(db), name),
                None => (example.db.as_deref(), table.as_str()),
            };
            let from = db.map_or_else(String::new, |db| format!(" FROM `{db}`"));
            let full = db.map_or_else(|| format!("`{name}`"), |db| format!("`{db}`.`{name}`"));
            writeln!(out, "#    SHOW TABLE STATUS{from} LIKE '{name}'\\G")?;
            writeln!(out, "#    SHOW CREATE TABLE {full}\\G")?;
        }
    }
    let is_select =
        example.statement.trim_start().get(..6).is_some_and(|verb| verb.eq_ignore_ascii_case("select"));
    if is_select {
        out.push_str("# EXPLAIN /*!50100 PARTITIONS*/\n");
    }
    writeln!(out, "{}\\G", example.statement)
}
