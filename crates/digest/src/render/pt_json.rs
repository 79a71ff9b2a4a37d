//! The JSON of pt-query-digest, for what was written to read it: all numbers are strings, and counts are cut to whole
//! numbers. What it leaves out is left out.

use serde_json::{Map, Value, json};

use super::units::is_seconds;
use crate::report::{ClassReport, Figures, Metric, Report};

/// Characters of a statement that it keeps.
const STATEMENT_CHARS_MAX: usize = 10_000;
/// Characters of a fingerprint that it keeps.
const FINGERPRINT_CHARS_MAX: usize = 5000;

/// The report as pt-query-digest prints it with `--output json`.
#[must_use]
pub fn render(report: &Report) -> Value {
    let classes: Vec<Value> = report.classes.iter().map(|class| class_value(report, class)).collect();
    let mut global = Map::new();
    let files = report.files.iter().map(|file| json!({ "name": file.name, "size": file.bytes })).collect();
    global.insert("files".to_owned(), Value::Array(files));
    global.insert("metrics".to_owned(), Value::Object(metrics(&report.total, None)));
    global.insert("query_count".to_owned(), json!(report.total.events));
    global.insert("unique_query_count".to_owned(), json!(report.classes_total));
    json!({ "classes": classes, "global": global })
}

fn class_value(report: &Report, class: &ClassReport) -> Value {
    let mut value = Map::new();
    value.insert("attribute".to_owned(), json!(report.group_by));
    value.insert("checksum".to_owned(), json!(class.query_id));
    value.insert("distillate".to_owned(), json!(class.item));
    if let Some(example) = &class.example {
        value.insert(
            "example".to_owned(),
            json!({
                "Query_time": example.query_time.to_string(),
                "query": cut(&example.statement, STATEMENT_CHARS_MAX),
                "ts": example.at,
            }),
        );
    }
    value.insert("fingerprint".to_owned(), json!(cut(&class.key, FINGERPRINT_CHARS_MAX)));
    value.insert("histograms".to_owned(), json!({ "Query_time": class.figures.query_time_histogram }));
    value.insert("metrics".to_owned(), Value::Object(class_metrics(report, class)));
    value.insert("query_count".to_owned(), json!(class.figures.events));
    if !class.tables.is_empty() {
        value.insert("tables".to_owned(), Value::Array(tables(class)));
    }
    value.insert("ts_max".to_owned(), json!(class.figures.last_seen));
    value.insert("ts_min".to_owned(), json!(class.figures.first_seen));
    Value::Object(value)
}

fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

fn class_metrics(report: &Report, class: &ClassReport) -> Map<String, Value> {
    let mut metrics = metrics(&class.figures, Some(&report.total));
    // Statements that change nothing are said to have affected none.
    if ["SELECT", "SHOW", "SET"].iter().any(|verb| class.item.starts_with(verb)) {
        metrics.remove("Rows_affected");
    }
    for (name, words) in &class.figures.words {
        if let Some(greatest) = words.iter().filter_map(|word| word.value.as_ref()).max() {
            metrics.insert(name.clone(), json!({ "value": greatest }));
        }
    }
    metrics.sort_keys();
    metrics
}

/// Numbers and flags. Shares are of the events that have an attribute, so they are given for classes only.
fn metrics(figures: &Figures, total: Option<&Figures>) -> Map<String, Value> {
    let mut metrics = Map::new();
    for (name, metric) in &figures.metrics {
        let whole = total.and_then(|total| total.metrics.get(name));
        metrics.insert(name.clone(), metric_value(name, metric, whole));
    }
    for (name, flag) in &figures.flags {
        let key = if total.is_some() { "yes" } else { "cnt" };
        metrics.insert(name.clone(), json!({ key: flag.yes.to_string() }));
    }
    metrics.sort_keys();
    metrics
}

#[expect(clippy::cast_precision_loss, reason = "a share is approximate")]
fn metric_value(name: &str, metric: &Metric, whole: Option<&Metric>) -> Value {
    let shown = |number: f64| {
        if is_seconds(name) { format!("{number:.6}") } else { format!("{:.0}", number.trunc()) }
    };
    let mut value = Map::new();
    value.insert("avg".to_owned(), json!(shown(metric.mean)));
    value.insert("max".to_owned(), json!(shown(metric.max.as_f64())));
    value.insert("median".to_owned(), json!(shown(metric.median)));
    value.insert("min".to_owned(), json!(shown(metric.min.as_f64())));
    if let Some(whole) = whole {
        value.insert("pct".to_owned(), json!(shown(metric.count as f64 / whole.count.max(1) as f64)));
    }
    value.insert("pct_95".to_owned(), json!(shown(metric.pct_95)));
    value.insert("stddev".to_owned(), json!(shown(metric.stddev)));
    value.insert("sum".to_owned(), json!(shown(metric.sum.as_f64())));
    Value::Object(value)
}

fn tables(class: &ClassReport) -> Vec<Value> {
    let db = class.example.as_ref().and_then(|example| example.db.as_deref());
    let entries = class.tables.iter().map(|table| {
        let (db, name) = match table.split_once('.') {
            Some((db, name)) => (Some(db), name),
            None => (db, table.as_str()),
        };
        let from = db.map_or_else(String::new, |db| format!(" FROM `{db}`"));
        let full = db.map_or_else(|| format!("`{name}`"), |db| format!("`{db}`.`{name}`"));
        json!({
            "create": format!("SHOW CREATE TABLE {full}\\G"),
            "status": format!("SHOW TABLE STATUS{from} LIKE '{name}'\\G"),
        })
    });
    entries.collect()
}
