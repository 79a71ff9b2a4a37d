//! Two digests side by side: what is new, what is gone, what got slower or faster since.

use std::collections::HashMap;

use serde::Serialize;
use sqltext::QueryId;

use crate::attribute::Attribute;
use crate::class::Class;
use crate::digest::{Digest, GroupBy};
use crate::measure::Measure;

/// Means that differ by less are as before.
pub const RATIO_MIN: f64 = 1.5;
/// Fewer events say nothing about speed.
pub const EVENTS_MIN: u64 = 10;
/// Classes that are listed of each kind.
const LISTED_MAX: usize = 50;

/// What changed between two digests. Lists are in order of the time at stake, greatest first, and are cut.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Events before.
    pub events_before: u64,
    /// Events now.
    pub events_after: u64,
    /// Their time before.
    pub query_time_before: f64,
    /// Their time now.
    pub query_time_after: f64,
    /// Classes that were not there before.
    pub new: Vec<Change>,
    /// Classes that are there no longer.
    pub gone: Vec<Change>,
    /// Classes whose events take longer.
    pub slower: Vec<Change>,
    /// Classes whose events take less time.
    pub faster: Vec<Change>,
    /// How many classes are as fast as before, or have too few events to tell.
    pub unchanged: usize,
}

/// One class in both digests.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Its id.
    pub query_id: String,
    /// What its events have in common.
    pub key: String,
    /// The same in a few words.
    pub item: String,
    /// Before.
    pub before: Option<Side>,
    /// Now.
    pub after: Option<Side>,
    /// The mean time now over that before.
    pub mean_ratio: Option<f64>,
    /// Seconds more than the events of now would have taken before; of new classes all of their time.
    pub seconds_added: f64,
}

/// A class in one of the digests.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Side {
    /// Its events.
    pub events: u64,
    /// Their time.
    pub query_time: f64,
    /// The mean of their times.
    pub mean: f64,
    /// What 95 of 100 times are not above.
    pub pct_95: f64,
}

impl Comparison {
    /// Compares a digest with an earlier one.
    #[must_use]
    pub fn new(before: &Digest, after: &Digest) -> Self {
        let earlier: HashMap<&[u8], &Class> =
            before.classes().iter().map(|class| (class.key(), class)).collect();
        let later: HashMap<&[u8], ()> = after.classes().iter().map(|class| (class.key(), ())).collect();
        let group_by = after.settings().group_by;
        let mut comparison = Self {
            events_before: events(before),
            events_after: events(after),
            query_time_before: query_time(before),
            query_time_after: query_time(after),
            new: Vec::new(),
            gone: Vec::new(),
            slower: Vec::new(),
            faster: Vec::new(),
            unchanged: 0,
        };
        for class in after.classes() {
            let known = earlier.get(class.key()).copied();
            comparison.place(Change::new(known, Some(class), group_by));
        }
        for class in before.classes().iter().filter(|class| !later.contains_key(class.key())) {
            comparison.place(Change::new(Some(class), None, group_by));
        }
        for list in
            [&mut comparison.new, &mut comparison.gone, &mut comparison.slower, &mut comparison.faster]
        {
            list.sort_by(|one, two| {
                two.seconds_added
                    .abs()
                    .total_cmp(&one.seconds_added.abs())
                    .then_with(|| one.key.cmp(&two.key))
            });
            list.truncate(LISTED_MAX);
        }
        comparison
    }

    fn place(&mut self, change: Change) {
        match (&change.before, &change.after) {
            (None, _) => self.new.push(change),
            (Some(_), None) => self.gone.push(change),
            (Some(before), Some(after)) => {
                let is_enough = before.events >= EVENTS_MIN && after.events >= EVENTS_MIN;
                match change.mean_ratio {
                    Some(ratio) if is_enough && ratio >= RATIO_MIN => self.slower.push(change),
                    Some(ratio) if is_enough && ratio <= 1.0 / RATIO_MIN => self.faster.push(change),
                    Some(_) | None => self.unchanged += 1,
                }
            }
        }
    }

    /// Whether something is new or slower.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        !self.new.is_empty() || !self.slower.is_empty()
    }
}

fn events(digest: &Digest) -> u64 {
    digest.classes().iter().map(Class::count).sum()
}

fn query_time(digest: &Digest) -> f64 {
    let times = digest.classes().iter().filter_map(|class| class.amount(Attribute::QUERY_TIME));
    times.map(Measure::sum).sum::<crate::amount::Amount>().as_f64()
}

impl Change {
    #[expect(clippy::cast_precision_loss, reason = "times are approximate")]
    fn new(before: Option<&Class>, after: Option<&Class>, group_by: GroupBy) -> Self {
        let class = after.or(before);
        let key = class.map_or_else(String::new, |class| String::from_utf8_lossy(class.key()).into_owned());
        let statement = class
            .and_then(Class::worst)
            .map_or_else(String::new, |worst| String::from_utf8_lossy(&worst.statement).into_owned());
        let item = if group_by == GroupBy::Fingerprint { sqltext::distill(&statement) } else { key.clone() };
        let (before, after) = (before.map(Side::new), after.map(Side::new));
        let mean_ratio = match (&before, &after) {
            (Some(before), Some(after)) if before.mean > 0.0 => Some(after.mean / before.mean),
            (None | Some(_), _) => None,
        };
        let seconds_added = match (&before, &after) {
            (Some(before), Some(after)) => (after.mean - before.mean) * after.events as f64,
            (None, Some(after)) => after.query_time,
            (Some(before), None) => -before.query_time,
            (None, None) => 0.0,
        };
        let query_id = class.map_or_else(String::new, |class| QueryId::of(class.key()).to_string());
        Self { query_id, key, item, before, after, mean_ratio, seconds_added }
    }
}

impl Side {
    fn new(class: &Class) -> Self {
        let summary = class.amount(Attribute::QUERY_TIME).map(Measure::summary);
        Self {
            events: class.count(),
            query_time: summary.map_or(0.0, |summary| summary.sum.as_f64()),
            mean: summary.map_or(0.0, |summary| summary.mean),
            pct_95: summary.map_or(0.0, |summary| summary.pct_95),
        }
    }
}
