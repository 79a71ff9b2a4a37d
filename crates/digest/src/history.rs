//! What is kept of a report for later, as rows of the tables query_review and query_history of pt-query-digest, which
//! dashboards read. Where the tables are, and how rows get there, is not known here.

use crate::report::{ClassReport, Report};

/// Characters of a fingerprint or sample that are kept: what a TEXT column holds in any character set.
const TEXT_CHARS_MAX: usize = 10_000;

/// A kind of statement, once for all time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRow {
    /// The query id.
    pub checksum: String,
    /// The fingerprint.
    pub fingerprint: String,
    /// The worst statement.
    pub sample: String,
    /// When the first was logged.
    pub first_seen: Option<String>,
    /// When the last was logged.
    pub last_seen: Option<String>,
}

/// A kind of statement in one period.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRow {
    /// The query id.
    pub checksum: String,
    /// The worst statement.
    pub sample: String,
    /// When the first was logged.
    pub ts_min: String,
    /// When the last was logged.
    pub ts_max: String,
    /// Numbers by the names of their columns: `ts_cnt`, `Query_time_sum` and the like.
    pub numbers: Vec<(String, f64)>,
}

/// Statistics that a number has columns for.
const STATISTICS: [&str; 6] = ["sum", "min", "max", "pct_95", "stddev", "median"];
/// Numbers that a new table has columns for.
const NUMBERS: [&str; 10] = [
    "Query_time",
    "Lock_time",
    "Rows_sent",
    "Rows_examined",
    "Rows_affected",
    "Rows_read",
    "Bytes_sent",
    "Merge_passes",
    "Tmp_tables",
    "Query_length",
];
/// What is yes or no that a new table has columns for.
const FLAGS: [&str; 7] =
    ["QC_hit", "Full_scan", "Full_join", "Tmp_table", "Tmp_table_on_disk", "Filesort", "Filesort_on_disk"];

/// The columns of numbers that a new query_history has.
#[must_use]
pub fn number_columns() -> Vec<String> {
    let numbers = NUMBERS.iter().flat_map(|name| STATISTICS.map(|statistic| format!("{name}_{statistic}")));
    let flags = FLAGS.iter().flat_map(|name| [format!("{name}_cnt"), format!("{name}_sum")]);
    std::iter::once("ts_cnt".to_owned()).chain(numbers).chain(flags).collect()
}

/// The rows of query_review.
#[must_use]
pub fn review_rows(report: &Report) -> Vec<ReviewRow> {
    let row = |class: &ClassReport| ReviewRow {
        checksum: class.query_id.clone(),
        fingerprint: cut(&class.key),
        sample: sample(class),
        first_seen: class.figures.first_seen.as_deref().map(datetime),
        last_seen: class.figures.last_seen.as_deref().map(datetime),
    };
    report.classes.iter().map(row).collect()
}

/// The rows of query_history. Classes whose time is not known have none: it is in the table's key.
#[must_use]
pub fn history_rows(report: &Report) -> Vec<HistoryRow> {
    let row = |class: &ClassReport| {
        Some(HistoryRow {
            checksum: class.query_id.clone(),
            sample: sample(class),
            ts_min: datetime(class.figures.first_seen.as_deref()?),
            ts_max: datetime(class.figures.last_seen.as_deref()?),
            numbers: numbers(class),
        })
    };
    report.classes.iter().filter_map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "the columns hold floating-point numbers")]
fn numbers(class: &ClassReport) -> Vec<(String, f64)> {
    let mut numbers = vec![("ts_cnt".to_owned(), class.figures.events as f64)];
    for (name, metric) in &class.figures.metrics {
        let values = [
            metric.sum.as_f64(),
            metric.min.as_f64(),
            metric.max.as_f64(),
            metric.pct_95,
            metric.stddev,
            metric.median,
        ];
        numbers.extend(
            STATISTICS.iter().zip(values).map(|(statistic, value)| (format!("{name}_{statistic}"), value)),
        );
    }
    for (name, flag) in &class.figures.flags {
        numbers.push((format!("{name}_cnt"), flag.total as f64));
        numbers.push((format!("{name}_sum"), flag.yes as f64));
    }
    numbers
}

fn sample(class: &ClassReport) -> String {
    class.example.as_ref().map_or_else(String::new, |example| cut(&example.statement))
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// A moment as a DATETIME.
fn datetime(moment: &str) -> String {
    moment.replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LogReader as _;
    use crate::report::Options;
    use crate::slow::SlowLog;
    use crate::{Digest, Settings};

    #[test]
    fn rows_say_what_the_report_says() {
        let mut digest = Digest::new(Settings::default());
        let mut slow = SlowLog::default();
        let log = b"# Time: 2024-01-02T03:04:05.1Z\n# User@Host: a[a] @ h []\n# Query_time: 1.5  Lock_time: 0.25\n# Full_scan: Yes\nselect 1;\n\
            # Time: 2024-01-02T03:04:06.1Z\n# User@Host: a[a] @ h []\n# Query_time: 2.5  Lock_time: 0.25\n# Full_scan: No\nselect 2;\n";
        slow.feed(log, &mut digest);
        slow.finish(&mut digest);
        let report = Report::new(&digest, Options::default());
        let (reviews, histories) = (review_rows(&report), history_rows(&report));
        let ([review], [history]) = (&reviews[..], &histories[..]) else { panic!("one row each") };
        assert_eq!((review.fingerprint.as_str(), review.sample.as_str()), ("select ?", "select 2"));
        assert_eq!(review.first_seen.as_deref(), Some("2024-01-02 03:04:05"));
        assert_eq!((history.ts_max.as_str(), history.checksum.len()), ("2024-01-02 03:04:06", 32));
        let columns = number_columns();
        for (name, value) in [
            ("ts_cnt", 2.0),
            ("Query_time_sum", 4.0),
            ("Lock_time_max", 0.25),
            ("Full_scan_cnt", 2.0),
            ("Full_scan_sum", 1.0),
        ] {
            assert!(history.numbers.contains(&(name.to_owned(), value)), "{name}: {history:?}");
            assert!(columns.iter().any(|column| column == name), "{name}");
        }
    }
}
