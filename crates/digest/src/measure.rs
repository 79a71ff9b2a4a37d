//! What is kept of one number over many events: count, sum, least, greatest and a histogram; and the statistics made
//! of them as pt-query-digest makes them.

use crate::amount::Amount;
use crate::histogram::{Histogram, bucket_of, bucket_value};

/// One number over many events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    count: u64,
    sum: Amount,
    min: Amount,
    max: Amount,
    histogram: Histogram,
}

/// Statistics of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many events had it.
    pub count: u64,
    /// Their sum.
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
    /// Standard deviation, of the histogram.
    pub stddev: f64,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            count: 0,
            sum: Amount::ZERO,
            min: Amount::from_millionths(u128::MAX),
            max: Amount::ZERO,
            histogram: Histogram::default(),
        }
    }
}

impl Measure {
    /// Counts an amount.
    #[inline]
    pub fn add(&mut self, amount: Amount) {
        self.count += 1;
        self.sum += amount;
        self.min = self.min.min(amount);
        self.max = self.max.max(amount);
        self.histogram.add(amount);
    }

    /// Counts many of which only the sum is known: each as their mean.
    pub fn add_sum(&mut self, many: u64, sum: Amount) {
        if many > 0 {
            let mean = Amount::from_millionths(sum.millionths() / u128::from(many));
            self.add_spread(sum, &[(mean, many)]);
        }
    }

    /// Counts many of which the sum is known, and how many were about how great.
    pub fn add_spread(&mut self, sum: Amount, spread: &[(Amount, u64)]) {
        self.sum += sum;
        for (amount, many) in spread.iter().filter(|(_, many)| *many > 0) {
            self.count += many;
            self.min = self.min.min(*amount);
            self.max = self.max.max(*amount);
            self.histogram.add_many(bucket_of(*amount), *many);
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.histogram.merge(&other.histogram);
    }

    /// How many amounts were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub const fn sum(&self) -> Amount {
        self.sum
    }

    /// The greatest, or nothing.
    #[must_use]
    pub const fn max(&self) -> Amount {
        self.max
    }

    /// The histogram.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The statistics. All are zero without amounts.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "statistics are approximate")]
    pub fn summary(&self) -> Summary {
        if self.count == 0 {
            let (zero, none) = (Amount::ZERO, 0.0);
            let [min, max] = [zero; 2];
            return Summary {
                count: 0,
                sum: zero,
                min,
                max,
                mean: none,
                median: none,
                pct_95: none,
                stddev: none,
            };
        }
        let mean = self.sum.as_f64() / self.count as f64;
        let max = self.max.as_f64();
        let (median, pct_95, stddev) = if self.count == 1 || self.min == self.max {
            (max, max, 0.0)
        } else if self.count == 2 {
            (mean, max, (2.0 * (max - mean) * (max - mean)).sqrt())
        } else {
            self.of_buckets()
        };
        Summary {
            count: self.count,
            sum: self.sum,
            min: self.min,
            max: self.max,
            mean,
            median,
            pct_95,
            stddev,
        }
    }

    /// Median, percentile and deviation of three amounts and more.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "statistics are approximate, and counts are not negative"
    )]
    fn of_buckets(&self) -> (f64, f64, f64) {
        let total = self.count;
        let cutoff = if total >= 10 { (total as f64 * 0.95) as u64 } else { total };
        let top = total - cutoff;
        let middle = total / 2;
        let (mut left, mut above) = (total, 0);
        let (mut median, mut pct_95, mut previous) = (None, None, 0.0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for (bucket, count) in self.histogram.counts().rev() {
            let value = bucket_value(usize::from(bucket));
            left -= count;
            above += count;
            if above > top {
                pct_95 = pct_95.or(Some(value));
            }
            if left <= middle && median.is_none() {
                let is_one = cutoff % 2 == 1 || count > 1;
                median = Some(if is_one { value } else { f64::midpoint(value, previous) });
            }
            sum += value * count as f64;
            squares += value * value * count as f64;
            previous = value;
        }
        let mean = sum / total as f64;
        let variance = (squares / total as f64 - mean * mean).max(0.0);
        let half = (self.max.as_f64() - self.min.as_f64()) / 2.0;
        (median.unwrap_or_default(), pct_95.unwrap_or_default(), variance.sqrt().min(half))
    }
}
