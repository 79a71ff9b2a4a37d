//! How many rows transactions changed: exact mean and maximum, quantiles to within an eighth. No row is kept.

use serde::Serialize;

/// Values up to here have a bin each; above, each doubling has this many.
const LINEAR: u64 = 16;
const BINS: usize = 16 + 60 * 8;

/// Rows changed by each transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RowsPerTransaction {
    /// The mean.
    pub mean: f64,
    /// Half of the transactions changed at most so many.
    pub p50: u64,
    /// 95 of a hundred.
    pub p95: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// The most.
    pub max: u64,
    /// Transactions that changed none, such as DDL.
    pub zero: u64,
}

#[derive(Debug)]
pub(crate) struct Histogram {
    bins: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], count: 0, sum: 0, max: 0 }
    }
}

/// The bin of a value: three bits below the highest one.
#[inline]
fn bin(value: u64) -> usize {
    let index = if value < LINEAR {
        value
    } else {
        let high = u64::from(value.ilog2());
        LINEAR + (high - 4) * 8 + (value >> (high - 3) & 7)
    };
    usize::try_from(index).unwrap_or(BINS - 1)
}

/// The largest value in a bin.
fn top(bin: usize) -> u64 {
    let index = u64::try_from(bin).unwrap_or(0);
    if index < LINEAR {
        return index;
    }
    let (high, step) = ((index - LINEAR) / 8 + 4, (index - LINEAR) % 8);
    (8 + step + 1).checked_mul(1 << (high - 3)).map_or(u64::MAX, |above| above - 1)
}

impl Histogram {
    #[inline]
    pub(crate) fn add(&mut self, value: u64) {
        if let Some(bin) = self.bins.get_mut(bin(value)) {
            *bin += 1;
        }
        self.count += 1;
        self.sum += value;
        self.max = self.max.max(value);
    }

    /// Takes over the counts of other transactions.
    pub(crate) fn absorb(&mut self, other: &Self) {
        for (bin, count) in self.bins.iter_mut().zip(&other.bins) {
            *bin += count;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (at, count) in self.bins.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return top(at).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn report(&self) -> RowsPerTransaction {
        #[expect(clippy::cast_precision_loss, reason = "a mean of more than 2^53 rows is exact enough")]
        let mean = if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 };
        RowsPerTransaction {
            mean,
            p50: self.quantile(50),
            p95: self.quantile(95),
            p99: self.quantile(99),
            max: self.max,
            zero: self.bins.first().copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut histogram = Histogram::default();
        for value in 1..=10_000 {
            histogram.add(value);
        }
        let report = histogram.report();
        assert!((5000..=5625).contains(&report.p50), "{report:?}");
        assert!((9500..=10_000).contains(&report.p95), "{report:?}");
        assert_eq!((report.max, report.zero), (10_000, 0));
        assert!((report.mean - 5000.5).abs() < 1e-9);
        for value in [0, 15, 16, 17, 1 << 40, u64::MAX] {
            assert!(top(bin(value)) >= value && bin(value) < BINS, "{value}");
        }
    }
}
