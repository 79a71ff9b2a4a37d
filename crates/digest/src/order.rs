//! Which classes a report shows, and in which order.

use std::fmt;
use std::str::FromStr;

use crate::attribute::{Attribute, Names};
use crate::class::Class;
use crate::measure::Measure;

/// What classes are ordered by, as `Query_time:sum`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The number.
    pub attribute: String,
    /// What of it.
    pub statistic: Statistic,
}

/// What of a number over many events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// How many events.
    Count,
    /// The mean.
    Average,
    /// What 95 of 100 are not above.
    Pct95,
    /// The standard deviation.
    Deviation,
}

const STATISTICS: [(&str, Statistic); 9] = [
    ("sum", Statistic::Sum),
    ("min", Statistic::Min),
    ("max", Statistic::Max),
    ("cnt", Statistic::Count),
    ("count", Statistic::Count),
    ("avg", Statistic::Average),
    ("p95", Statistic::Pct95),
    ("pct_95", Statistic::Pct95),
    ("stddev", Statistic::Deviation),
];

/// How many classes a report shows: as in `95%:20`, or `20`, or `95%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Of what the classes are ordered by, at least so many of 100.
    pub percent: Option<f64>,
    /// But not more than so many classes.
    pub classes: Option<usize>,
}

/// Classes beyond the limit that a report shows all the same, as `Query_time:1:10`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outliers {
    /// The number.
    pub attribute: String,
    /// Its 95th percentile is at least so much.
    pub pct_95: f64,
    /// And at least so many events have it.
    pub events: u64,
}

/// Why an option's text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No order.
    #[error("`{0}` is no order: write attribute:statistic, with sum, min, max, cnt, avg, p95 or stddev")]
    Order(String),
    /// No limit.
    #[error("`{0}` is no limit: write a number of classes, a percentage, or both as 95%:20")]
    Limit(String),
    /// No outliers.
    #[error("`{0}` names no outliers: write attribute:seconds:events, as Query_time:1:10")]
    Outliers(String),
}

impl Default for OrderBy {
    fn default() -> Self {
        Self { attribute: "Query_time".to_owned(), statistic: Statistic::Sum }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self { percent: Some(95.0), classes: Some(20) }
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self { attribute: "Query_time".to_owned(), pct_95: 1.0, events: 10 }
    }
}

impl FromStr for OrderBy {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let (attribute, statistic) = text.split_once(':').unwrap_or((text, "sum"));
        let known = STATISTICS.iter().find(|(name, _)| *name == statistic);
        match known {
            Some((_, statistic)) if is_name(attribute) => {
                Ok(Self { attribute: attribute.to_owned(), statistic: *statistic })
            }
            _ => Err(OrderError::Order(text.to_owned())),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = STATISTICS.iter().find(|(_, statistic)| *statistic == self.statistic);
        write!(f, "{}:{}", self.attribute, name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Limit {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let error = || OrderError::Limit(text.to_owned());
        let classes = |text: &str| text.parse::<usize>().map(Some).map_err(|_| error());
        let Some((percent, rest)) = text.split_once('%') else {
            return Ok(Self { percent: None, classes: classes(text)? });
        };
        let percent: f64 = percent.parse().map_err(|_| error())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(error());
        }
        let classes = match rest.strip_prefix(':') {
            Some(count) => classes(count)?,
            None if rest.is_empty() => None,
            None => return Err(error()),
        };
        Ok(Self { percent: Some(percent), classes })
    }
}

impl FromStr for Outliers {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let error = || OrderError::Outliers(text.to_owned());
        let mut parts = text.split(':');
        let attribute = parts.next().filter(|name| is_name(name)).ok_or_else(error)?;
        let pct_95: f64 = parts.next().unwrap_or("1").parse().map_err(|_| error())?;
        let events = parts.next().unwrap_or("1").parse().map_err(|_| error())?;
        if parts.next().is_some() || !pct_95.is_finite() {
            return Err(error());
        }
        Ok(Self { attribute: attribute.to_owned(), pct_95, events })
    }
}

impl OrderBy {
    /// What a class is ordered by.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an order of more than 2^53 events may be off by one")]
    pub fn value(&self, class: &Class, names: &Names) -> f64 {
        if self.statistic == Statistic::Count {
            return class.count() as f64;
        }
        let measure = names.find(self.attribute.as_bytes()).and_then(|attribute| class.amount(attribute));
        let Some(summary) = measure.map(Measure::summary) else { return 0.0 };
        match self.statistic {
            Statistic::Sum => summary.sum.as_f64(),
            Statistic::Min => summary.min.as_f64(),
            Statistic::Max => summary.max.as_f64(),
            Statistic::Count => class.count() as f64,
            Statistic::Average => summary.mean,
            Statistic::Pct95 => summary.pct_95,
            Statistic::Deviation => summary.stddev,
        }
    }

    /// The classes in order, equals by what they have in common.
    #[must_use]
    pub fn sorted<'a>(&self, classes: &'a [Class], names: &Names) -> Vec<(&'a Class, f64)> {
        let mut sorted: Vec<(&Class, f64)> =
            classes.iter().map(|class| (class, self.value(class, names))).collect();
        sorted
            .sort_by(|(one, more), (two, less)| less.total_cmp(more).then_with(|| one.key().cmp(two.key())));
        sorted
    }
}

impl Limit {
    /// How many of the classes, which are in order, are shown.
    #[must_use]
    pub fn shown(&self, sorted: &[(&Class, f64)]) -> usize {
        let total: f64 = sorted.iter().map(|(_, value)| value).sum();
        let most = self.percent.map_or(f64::INFINITY, |percent| total * percent / 100.0);
        let mut before = 0.0;
        let within = sorted.iter().take_while(|(_, value)| {
            let is_within = before <= most;
            before += value;
            is_within
        });
        within.take(self.classes.unwrap_or(usize::MAX)).count()
    }
}

impl Outliers {
    /// Whether a class is one.
    #[must_use]
    pub fn has(&self, class: &Class, names: &Names) -> bool {
        let attribute: Option<Attribute> = names.find(self.attribute.as_bytes());
        attribute
            .and_then(|attribute| class.amount(attribute))
            .is_some_and(|measure| measure.count() >= self.events && measure.summary().pct_95 >= self.pct_95)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!("Query_time:sum".parse(), Ok(OrderBy::default()));
        let order: OrderBy = "Rows_examined:p95".parse().unwrap();
        assert_eq!((order.to_string().as_str(), order.statistic), ("Rows_examined:p95", Statistic::Pct95));
        assert_eq!("95%:20".parse(), Ok(Limit::default()));
        assert_eq!("5".parse(), Ok(Limit { percent: None, classes: Some(5) }));
        assert_eq!("99.5%".parse(), Ok(Limit { percent: Some(99.5), classes: None }));
        assert_eq!("Query_time:1:10".parse(), Ok(Outliers::default()));
        for text in ["", ":sum", "a:b", "a b"] {
            assert!(text.parse::<OrderBy>().is_err(), "{text}");
        }
        for text in ["", "x", "101%", "5%x", "-1", "%"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
        for text in ["", "a:b", "a:1:b", "a:1:2:3", "a:inf"] {
            assert!(text.parse::<Outliers>().is_err(), "{text}");
        }
    }
}
