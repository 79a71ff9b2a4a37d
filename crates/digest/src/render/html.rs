//! A report as one page of HTML with its plots in it: nothing is fetched from elsewhere, nothing is run.

mod plot;

use std::fmt::Write as _;

use super::text::{example_title, ordered, round, rows_of, rows_title};
use super::units::{bytes, count, of, seconds};
use crate::amount::Amount;
use crate::report::{ClassReport, Figures, Report};

/// Characters of a statement that are shown.
const STATEMENT_CHARS: usize = 4000;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --one: #3b7dd8; --two: #d8743b; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } .l { text-align: left; } .w { white-space: normal; overflow-wrap: anywhere; min-width: 18rem; }
code, pre { font: 13px/1.4 ui-monospace, monospace; } a { color: inherit; }
pre { background: var(--soft); padding: .7rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .7rem 0; padding: .4rem .9rem; }
summary { cursor: pointer; } summary code { overflow-wrap: anywhere; }
.bar { background: var(--soft); height: .55rem; width: 8rem; display: inline-block; vertical-align: middle; }
.bar i { background: var(--one); height: 100%; display: block; } .dim { opacity: .7; } .scroll { overflow-x: auto; }
.bad { color: #c33; } svg { width: 100%; height: auto; display: block; } svg text { font: 11px system-ui; fill: currentColor; }
.plots { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } @media (max-width: 50rem) { .plots { grid-template-columns: 1fr; } }
";

/// The report as a page.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = page(report, &mut out);
    out
}

#[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

fn page(report: &Report, out: &mut String) -> std::fmt::Result {
    let title = report.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ");
    let title = escape(&title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Digest of {title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Digest of {title}</h1>\n"
    )?;
    summary(report, out)?;
    out.push_str("<div class=\"plots\">\n");
    if let Some(timeline) = &report.timeline {
        plot::timeline(timeline, out)?;
    }
    plot::times(&report.total, "All events by time", out)?;
    out.push_str("</div>\n");
    profile(report, out)?;
    comparison(report, out)?;
    out.push_str("<h2>All events</h2>\n");
    numbers(&report.total, false, out)?;
    out.push_str("<h2>One by one</h2>\n");
    for class in &report.classes {
        detail(report, class, out)?;
    }
    out.push_str("</body></html>\n");
    Ok(())
}

fn summary(report: &Report, out: &mut String) -> std::fmt::Result {
    let total = &report.total;
    let size: u64 = report.files.iter().map(|file| file.bytes).sum();
    write!(out, "<p>{} events of {} kinds", count(as_f64(total.events)), report.classes_total)?;
    if let (Some(first), Some(last)) = (&total.first_seen, &total.last_seen) {
        write!(out, ", {} to {}", escape(first), escape(last))?;
    }
    write!(out, "; {} read", bytes(as_f64(size)))?;
    if total.span_seconds > 0 {
        write!(out, "; {} a second, {:.2} at a time", count(round(total.per_second)), total.concurrency)?;
    }
    out.push_str(".</p>\n");
    let skipped = &report.skipped;
    let parts = [
        (skipped.records, "torn records"),
        (skipped.bytes, "bytes that are no events"),
        (skipped.long_statements, "statements too long to be kept whole"),
        (skipped.values, "values not understood"),
        (report.left_out, "events left out as asked"),
        (report.events_beyond_classes_max, "events of kinds beyond the most kept apart"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{what} {}", count(as_f64(*number))))
        .collect();
    if !parts.is_empty() {
        writeln!(out, "<p class=\"bad\">Not counted or not in full: {}.</p>", parts.join(", "))?;
    }
    Ok(())
}

fn profile(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>By {}</h2>\n<div class=\"scroll\"><table><tr><th></th><th class=\"l\">share</th><th></th><th>events</th>\
        <th>time</th><th>mean</th><th>p95</th><th>longest</th><th>{}</th><th class=\"l\">statement</th></tr>",
        escape(&report.order_by),
        rows_title(report)
    )?;
    for class in &report.classes {
        let figures = &class.figures;
        let time = figures.metrics.get("Query_time");
        let cell = |value: Option<f64>| value.map_or_else(String::new, seconds);
        let rows = rows_of(report, class).map_or_else(String::new, |rows| count(rows.sum.as_f64()));
        writeln!(
            out,
            "<tr><td>{rank}{}</td><td class=\"l\"><span class=\"bar\"><i style=\"width:{share:.1}%\"></i></span></td>\
             <td>{share:.1} %</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{rows}</td>\
             <td class=\"l w\"><a href=\"#q{rank}\">{}</a></td></tr>",
            if class.is_outlier { "*" } else { "" },
            count(as_f64(figures.events)),
            cell(time.map(|time| time.sum.as_f64())),
            cell(time.map(|time| time.mean)),
            cell(time.map(|time| time.pct_95)),
            cell(time.map(|time| time.max.as_f64())),
            escape(&cut(statement(report, class), 160)),
            rank = class.rank,
            share = class.share * 100.0,
        )?;
    }
    if let Some(others) = &report.others {
        writeln!(
            out,
            "<tr class=\"dim\"><td></td><td></td><td>{:.1} %</td><td>{}</td><td>{}</td><td></td><td></td><td></td><td></td>\
             <td class=\"l\">{} more</td></tr>",
            others.share * 100.0,
            count(as_f64(others.events)),
            seconds(others.query_time),
            others.classes
        )?;
    }
    out.push_str("</table></div>\n");
    if report.classes.iter().any(|class| class.is_outlier) {
        out.push_str("<p class=\"dim\">* beyond the limit, shown as an outlier</p>\n");
    }
    Ok(())
}

/// What tells a class apart from the others: many have the same verb and table.
fn statement<'c>(report: &Report, class: &'c ClassReport) -> &'c str {
    if report.group_by == "fingerprint" || class.item.is_empty() { &class.key } else { &class.item }
}

fn comparison(report: &Report, out: &mut String) -> std::fmt::Result {
    let Some(comparison) = &report.comparison else { return Ok(()) };
    out.push_str("<h2>Since the baseline</h2>\n");
    for (changes, what) in [
        (&comparison.new, "New"),
        (&comparison.slower, "Slower"),
        (&comparison.faster, "Faster"),
        (&comparison.gone, "Gone"),
    ] {
        if changes.is_empty() {
            continue;
        }
        writeln!(
            out,
            "<h3>{what}</h3><div class=\"scroll\"><table><tr><th class=\"l\">statement</th><th>events before</th>\
            <th>now</th><th>mean before</th><th>now</th><th>times</th></tr>"
        )?;
        for change in changes {
            let [before, after] = [change.before, change.after].map(|side| {
                side.map_or_else(Default::default, |side| (count(as_f64(side.events)), seconds(side.mean)))
            });
            let ratio = change.mean_ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            writeln!(
                out,
                "<tr><td class=\"l w\"><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{ratio}</td></tr>",
                escape(&cut(&change.key, 200)),
                before.0,
                after.0,
                before.1,
                after.1
            )?;
        }
        out.push_str("</table></div>\n");
    }
    writeln!(out, "<p>{} unchanged.</p>", comparison.unchanged)
}

fn detail(report: &Report, class: &ClassReport, out: &mut String) -> std::fmt::Result {
    let open = if class.rank <= 3 { " open" } else { "" };
    writeln!(
        out,
        "<details id=\"q{}\"{open}><summary><b>{}.</b> <code>{}</code></summary>",
        class.rank,
        class.rank,
        escape(&cut(&class.key, 200))
    )?;
    let figures = &class.figures;
    write!(out, "<p><code>{}</code>, {} events", escape(&class.query_id), count(as_f64(figures.events)))?;
    if let (Some(first), Some(last)) = (&figures.first_seen, &figures.last_seen) {
        write!(out, ", {} to {}", escape(first), escape(last))?;
    }
    writeln!(out, ", variance over mean {:.2}</p>", class.variance_to_mean)?;
    out.push_str("<div class=\"plots\"><div>\n");
    numbers(figures, true, out)?;
    out.push_str("</div>\n");
    plot::times(figures, "By time", out)?;
    out.push_str("</div>\n");
    for (name, words) in &figures.words {
        let total: u64 = words.iter().map(|word| word.count).sum();
        let shown: Vec<String> = words
            .iter()
            .take(8)
            .map(|word| {
                let share = as_f64(word.count) / as_f64(total.max(1)) * 100.0;
                format!("{} ({share:.0} %)", escape(word.value.as_deref().unwrap_or("others")))
            })
            .collect();
        writeln!(out, "<div class=\"dim\">{}: {}</div>", escape(name), shown.join(", "))?;
    }
    if report.group_by == "fingerprint" {
        writeln!(out, "<pre>{}</pre>", escape(&cut(&class.key, STATEMENT_CHARS)))?;
    }
    if let Some(example) = &class.example {
        writeln!(
            out,
            "<div>{}:</div><pre>{}</pre>",
            escape(&example_title(report, class, example)),
            escape(&cut(&example.statement, STATEMENT_CHARS))
        )?;
    }
    out.push_str("</details>\n");
    Ok(())
}

fn numbers(figures: &Figures, with_share: bool, out: &mut String) -> std::fmt::Result {
    let share = if with_share { "<th>share</th>" } else { "" };
    writeln!(
        out,
        "<div class=\"scroll\"><table><tr><th class=\"l\"></th>{share}<th>sum</th><th>mean</th><th>median</th><th>p95</th><th>greatest</th></tr>"
    )?;
    for (name, metric) in ordered(figures).into_iter().filter(|(_, metric)| metric.max > Amount::ZERO) {
        let share =
            if with_share { format!("<td>{:.1} %</td>", metric.share * 100.0) } else { String::new() };
        let values = [metric.sum.as_f64(), metric.mean, metric.median, metric.pct_95, metric.max.as_f64()];
        let cells = values.map(|value| format!("<td>{}</td>", of(name, value))).concat();
        writeln!(out, "<tr><td class=\"l\">{}</td>{share}{cells}</tr>", escape(name))?;
    }
    for (name, flag) in figures.flags.iter().filter(|(_, flag)| flag.yes > 0) {
        let share = as_f64(flag.yes) / as_f64(figures.events.max(1)) * 100.0;
        let columns = if with_share { 6 } else { 5 };
        writeln!(
            out,
            "<tr><td class=\"l\">{}</td><td colspan=\"{columns}\">{share:.1} % yes</td></tr>",
            escape(name)
        )?;
    }
    out.push_str("</table></div>\n");
    Ok(())
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A text as HTML. Control characters, which HTML forbids, become spaces.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
