//! The report: what a digest says, as plain values that are printed or serialised. Numbers stay numbers.
//!
//! It is made once, of a finished digest; the layouts in `render` add nothing of their own.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use sqltext::QueryId;

use crate::amount::Amount;
use crate::attribute::{Attribute, Names};
use crate::baseline::Comparison;
use crate::class::{Class, Example};
use crate::digest::{Digest, GroupBy};
use crate::event::Moment;
use crate::measure::{Measure, Summary};
use crate::order::{Limit, OrderBy, Outliers};
use crate::slow::Skipped;
use crate::tally::Tally;
use crate::timeline::Timeline;

/// What a report is to show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// In which order.
    pub order_by: OrderBy,
    /// How much of it.
    pub limit: Limit,
    /// What else.
    pub outliers: Option<Outliers>,
    /// The files that were read.
    pub files: Vec<FileRead>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileRead {
    /// Its name.
    pub name: String,
    /// Bytes read of it, decompressed.
    pub bytes: u64,
    /// Why the rest was not read, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a digest says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was read.
    pub files: Vec<FileRead>,
    /// What was not understood.
    pub skipped: Skipped,
    /// Events that were not to be counted: by the filter, the period or the sample.
    pub left_out: u64,
    /// What classes have in common: `fingerprint`, `user`, `host`, `db`, `tables` or `distill`.
    pub group_by: &'static str,
    /// What they are ordered by.
    pub order_by: String,
    /// All events.
    pub total: Figures,
    /// How many classes there are.
    pub classes_total: usize,
    /// Classes beyond the most that are kept apart, whose events are in `total` alone.
    pub events_beyond_classes_max: u64,
    /// The classes shown, in order.
    pub classes: Vec<ClassReport>,
    /// The classes not shown, as one.
    pub others: Option<Others>,
    /// What happened when, if a timeline was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<TimelineReport>,
    /// What changed since an earlier digest, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// What happened when.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineReport {
    /// How long a slot is.
    pub slot_seconds: i64,
    /// The slots from the first to the last, without gaps.
    pub slots: Vec<SlotReport>,
}

/// What happened in a slot of time.
#[derive(Clone, Debug, Serialize)]
pub struct SlotReport {
    /// When it begins.
    pub at: String,
    /// How many events were logged.
    pub events: u64,
    /// Their time.
    pub query_time: Amount,
    /// The longest of these times.
    pub longest: Amount,
}

/// What is said of many events.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// How many they are.
    pub events: u64,
    /// When the first was logged, as the log has it.
    pub first_seen: Option<String>,
    /// When the last was logged.
    pub last_seen: Option<String>,
    /// Seconds between them.
    pub span_seconds: i64,
    /// How many a second.
    pub per_second: f64,
    /// How many at a time, on average.
    pub concurrency: f64,
    /// Their numbers.
    pub metrics: BTreeMap<String, Metric>,
    /// What is yes or no of them.
    pub flags: BTreeMap<String, Flag>,
    /// Their words.
    pub words: BTreeMap<String, Vec<Word>>,
    /// Times from 1 us, 10 us, ... to 10 s and more; those below 1 us are in none.
    pub query_time_histogram: [u64; 8],
    /// The same in more detail: the least seconds of each part, and how many are in it.
    pub query_time_distribution: Vec<(f64, u64)>,
}

/// A class of events.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// Its place in the order, from 1.
    pub rank: usize,
    /// Its id; of groups other than fingerprints, the id of what they have in common.
    pub query_id: String,
    /// What its events have in common.
    pub key: String,
    /// The same in a few words.
    pub item: String,
    /// Of what the classes are ordered by, so much, between 0 and 1.
    pub share: f64,
    /// Whether it is shown though it is beyond the limit.
    pub is_outlier: bool,
    /// What is said of its events.
    #[serde(flatten)]
    pub figures: Figures,
    /// Variance over mean of its times.
    pub variance_to_mean: f64,
    /// The tables that its example names.
    pub tables: Vec<String>,
    /// The worst of its events.
    pub example: Option<ExampleReport>,
}

/// Classes that are not shown.
#[derive(Clone, Debug, Serialize)]
pub struct Others {
    /// How many.
    pub classes: usize,
    /// Their events.
    pub events: u64,
    /// Their share of what the classes are ordered by.
    pub share: f64,
    /// Their time in seconds.
    pub query_time: f64,
    /// Variance over mean of their times.
    pub variance_to_mean: f64,
}

/// One number over many events.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// How many events have it.
    pub count: u64,
    /// The sum.
    pub sum: Amount,
    /// The least.
    pub min: Amount,
    /// The greatest.
    pub max: Amount,
    /// Sum over count.
    pub mean: f64,
    /// The middle one, to within a twentieth.
    pub median: f64,
    /// 95 of 100 are not above it, to within a twentieth.
    pub pct_95: f64,
    /// Standard deviation.
    pub stddev: f64,
    /// Of the sum of all events, so much, between 0 and 1.
    pub share: f64,
}

/// How often something was yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Flag {
    /// How often yes.
    pub yes: u64,
    /// How often either.
    pub total: u64,
}

/// How often a word was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Word {
    /// The word; `None` for all that were too many to be kept apart.
    pub value: Option<String>,
    /// How often.
    pub count: u64,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExampleReport {
    /// Its text, or the beginning of it.
    pub statement: String,
    /// How long its text is.
    pub statement_bytes: u64,
    /// When it was logged.
    pub at: Option<String>,
    /// Its time in seconds.
    pub query_time: Amount,
    /// Who sent it.
    pub user: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// In which database.
    pub db: Option<String>,
    /// Which of the files it is in, from 0.
    pub file: u32,
    /// Where in it.
    pub offset: u64,
}

impl Serialize for Amount {
    /// A whole number where it is one.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.millionths() / 1_000_000;
        match u64::try_from(whole) {
            Ok(whole) if self.millionths().is_multiple_of(1_000_000) => serializer.serialize_u64(whole),
            _ => serializer.serialize_f64(self.as_f64()),
        }
    }
}

impl Report {
    /// Makes the report of a digest.
    #[must_use]
    pub fn new(digest: &Digest, options: Options) -> Self {
        let names = digest.attributes();
        let total = digest.total();
        let sorted = options.order_by.sorted(digest.classes(), names);
        let sum: f64 = sorted.iter().map(|(_, value)| value).sum();
        let shown = options.limit.shown(&sorted);
        let group_by = digest.settings().group_by;
        let is_outlier = |class: &Class| options.outliers.as_ref().is_some_and(|it| it.has(class, names));
        let mut classes = Vec::new();
        let mut others = Class::new(b"");
        let (mut others_count, mut others_value) = (0, 0.0);
        for (at, (class, value)) in sorted.iter().enumerate() {
            let is_outlier = at >= shown && is_outlier(class);
            if at < shown || is_outlier {
                let share = share(*value, sum);
                classes.push(ClassReport::new(class, names, &total, group_by, share, is_outlier));
            } else {
                others.merge(class, Some);
                others_count += 1;
                others_value += value;
            }
        }
        for (at, class) in classes.iter_mut().enumerate() {
            class.rank = at + 1;
        }
        let others = (others_count > 0).then(|| {
            let time = others.amount(Attribute::QUERY_TIME).map(Measure::summary);
            Others {
                classes: others_count,
                events: others.count(),
                share: share(others_value, sum),
                query_time: time.map_or(0.0, |time| time.sum.as_f64()),
                variance_to_mean: time.map_or(0.0, |time| variance_to_mean(&time)),
            }
        });
        Self {
            files: options.files,
            skipped: *digest.skipped(),
            left_out: digest.left_out(),
            group_by: group_by.name(),
            order_by: options.order_by.to_string(),
            total: Figures::new(&total, names, &total),
            classes_total: digest.classes().len(),
            events_beyond_classes_max: digest.others().map_or(0, Class::count),
            classes,
            others,
            timeline: digest.timeline().map(|timeline| TimelineReport::new(timeline, total.first())),
            comparison: None,
        }
    }
}

impl TimelineReport {
    fn new(timeline: &Timeline, first: Option<Moment>) -> Self {
        let has_t = first.is_some_and(|first| first.has_t);
        let slots = timeline.slots().map(|(seconds, slot)| SlotReport {
            at: Moment { seconds, has_t }.to_string(),
            events: slot.events,
            query_time: slot.query_time,
            longest: slot.longest,
        });
        Self { slot_seconds: timeline.slot_seconds(), slots: slots.collect() }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn variance_to_mean(time: &Summary) -> f64 {
    let mean = if time.mean == 0.0 { 1.0 } else { time.mean };
    time.stddev * time.stddev / mean
}

impl GroupBy {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::User => "user",
            Self::Host => "host",
            Self::Db => "db",
            Self::Tables => "tables",
            Self::Distill => "distill",
        }
    }
}

impl Figures {
    /// Their numbers: those named first, in that order, the others by name.
    pub(crate) fn metrics_from(&self, first: &[&str]) -> Vec<(&String, &Metric)> {
        let mut ordered: Vec<_> = self.metrics.iter().collect();
        ordered.sort_by_key(|(name, _)| first.iter().position(|it| it == name).unwrap_or(first.len()));
        ordered
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are approximate")]
    fn new(class: &Class, names: &Names, total: &Class) -> Self {
        let name = |attribute: Attribute| names.name(attribute).to_owned();
        let metrics = class.amounts().map(|(attribute, measure)| {
            let whole = total.amount(attribute).map_or(Amount::ZERO, Measure::sum);
            (name(attribute), Metric::new(&measure.summary(), whole))
        });
        let flags = class
            .flags()
            .map(|(attribute, flags)| (name(attribute), Flag { yes: flags.yes, total: flags.total }));
        let words = class.texts().map(|(attribute, tally)| (name(attribute), words(tally)));
        let own = [("user", class.users()), ("host", class.hosts()), ("db", class.dbs())];
        let own = own.into_iter().filter(|(_, tally)| !tally.is_empty());
        let time = class.amount(Attribute::QUERY_TIME);
        let span_seconds = match (class.first(), class.last()) {
            (Some(first), Some(last)) => last.seconds - first.seconds,
            (None, _) | (_, None) => 0,
        };
        let per = |sum: f64| if span_seconds > 0 { sum / span_seconds as f64 } else { 0.0 };
        Self {
            events: class.count(),
            first_seen: class.first().map(|moment| moment.to_string()),
            last_seen: class.last().map(|moment| moment.to_string()),
            span_seconds,
            per_second: per(class.count() as f64),
            concurrency: per(time.map_or(0.0, |time| time.sum().as_f64())),
            metrics: metrics.collect(),
            flags: flags.collect(),
            words: own.map(|(name, tally)| (name.to_owned(), self::words(tally))).chain(words).collect(),
            query_time_histogram: time.map_or([0; 8], |time| time.histogram().decades()),
            query_time_distribution: time.map_or_else(Vec::new, |time| time.histogram().parts()),
        }
    }
}

fn words(tally: &Tally) -> Vec<Word> {
    let kept = tally.ranked().into_iter().map(|(word, count)| Word { value: Some(text(word)), count });
    let others = (tally.others() > 0).then(|| Word { value: None, count: tally.others() });
    kept.chain(others).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Metric {
    fn new(summary: &Summary, whole: Amount) -> Self {
        Self {
            count: summary.count,
            sum: summary.sum,
            min: summary.min,
            max: summary.max,
            mean: summary.mean,
            median: summary.median,
            pct_95: summary.pct_95,
            stddev: summary.stddev,
            share: share(summary.sum.as_f64(), whole.as_f64()),
        }
    }
}

impl ClassReport {
    fn new(
        class: &Class,
        names: &Names,
        total: &Class,
        group_by: GroupBy,
        share: f64,
        is_outlier: bool,
    ) -> Self {
        let example = class.worst().map(ExampleReport::new);
        let statement = example.as_ref().map_or("", |example| example.statement.as_str());
        let key = text(class.key());
        let is_statement = group_by == GroupBy::Fingerprint;
        let item = if is_statement { sqltext::distill(statement) } else { key.clone() };
        let tables = if is_statement { sqltext::table_names(statement) } else { Vec::new() };
        let time = class.amount(Attribute::QUERY_TIME).map(Measure::summary);
        Self {
            rank: 0,
            query_id: QueryId::of(class.key()).to_string(),
            key,
            item,
            share,
            is_outlier,
            figures: Figures::new(class, names, total),
            variance_to_mean: time.map_or(0.0, |time| variance_to_mean(&time)),
            tables,
            example,
        }
    }
}

impl ExampleReport {
    fn new(example: &Example) -> Self {
        let some = |bytes: &Option<Box<[u8]>>| bytes.as_deref().map(text);
        Self {
            statement: text(&example.statement),
            statement_bytes: example.statement_bytes,
            at: example.moment.map(|moment| moment.to_string()),
            query_time: example.query_time,
            user: some(&example.user),
            host: some(&example.host),
            db: some(&example.db),
            file: example.position.file,
            offset: example.position.offset,
        }
    }
}
