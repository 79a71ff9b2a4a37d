//! Histograms with buckets that grow by a twentieth, and the statistics pt-query-digest makes of them: percentile,
//! median and deviation come out of the buckets to its last digit.
//!
//! A histogram does not depend on the order in which it was filled, so parts may be filled apart and merged.

use std::sync::LazyLock;

use crate::amount::Amount;

/// Buckets in all. The first holds what is below a millionth.
pub const BUCKETS: usize = 1000;
const BASE: f64 = 1.05;
const LEAST: f64 = 1e-6;

/// The value a bucket stands for.
#[must_use]
pub fn bucket_value(bucket: usize) -> f64 {
    VALUES.get(bucket).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "there are 1000 buckets")]
static VALUES: LazyLock<Vec<f64>> = LazyLock::new(|| {
    (0..BUCKETS)
        .map(|bucket| if bucket == 0 { 0.0 } else { BASE.powf(bucket as f64 - 1.0) * LEAST })
        .collect()
});

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 999")]
fn bucket_by_logarithm(value: f64) -> u16 {
    if value < LEAST {
        return 0;
    }
    let offset = (1.0 - LEAST.ln() / BASE.ln()).abs();
    (offset + value.ln() / BASE.ln()).min(BUCKETS as f64 - 1.0) as u16
}

/// Finds buckets without logarithms. Millionths are told apart by their highest bit and the [`CELL_BITS`] below it:
/// such a cell is narrower than a bucket, so it has one boundary at most.
struct Table {
    /// The bucket of each cell's least number.
    cells: Vec<u16>,
    /// The least number of each bucket.
    bounds: Vec<u64>,
}

const CELL_BITS: u32 = 5;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let of = |millionths: u64| bucket_by_logarithm(Amount::from_millionths(millionths.into()).as_f64());
    let bounds = (0..BUCKETS).map(|bucket| least_of(bucket, &of)).collect();
    let cells = (0..64 << CELL_BITS)
        .map(|cell: u64| {
            let (bit, low) = (cell >> CELL_BITS, cell & ((1 << CELL_BITS) - 1));
            let least = (1_u128 << bit) + ((u128::from(low) << bit) >> CELL_BITS);
            of(u64::try_from(least).unwrap_or(u64::MAX))
        })
        .collect();
    Table { cells, bounds }
});

/// The least number of millionths that is in a bucket or above it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an estimate, from which the search goes on"
)]
fn least_of(bucket: usize, of: &impl Fn(u64) -> u16) -> u64 {
    let wanted = bucket as u16;
    let offset = (1.0 - LEAST.ln() / BASE.ln()).abs();
    let estimate = ((bucket as f64 - offset) * BASE.ln()).exp() * 1e6;
    let (mut below, mut above) = ((estimate * 0.999) as u64, (estimate * 1.001) as u64);
    below = if below <= 2 || of(below) >= wanted { 0 } else { below };
    above = if above < 2 || of(above) < wanted { u64::MAX } else { above };
    if of(above) < wanted {
        return u64::MAX;
    }
    while below < above {
        let middle = below + (above - below) / 2;
        if of(middle) < wanted { below = middle + 1 } else { above = middle }
    }
    below
}

/// The bucket of an amount.
#[inline]
#[must_use]
pub fn bucket_of(amount: Amount) -> u16 {
    let table = &*TABLE;
    let Ok(millionths) = u64::try_from(amount.millionths()) else {
        return bucket_by_logarithm(amount.as_f64());
    };
    if millionths == 0 {
        return 0;
    }
    let bit = millionths.ilog2();
    let below = (u128::from(millionths) << CELL_BITS >> bit) as usize & ((1 << CELL_BITS) - 1);
    let bucket = table.cells.get(((bit as usize) << CELL_BITS) + below).copied().unwrap_or_default();
    let next = table.bounds.get(usize::from(bucket) + 1).copied().unwrap_or(u64::MAX);
    bucket + u16::from(millionths >= next && next != u64::MAX)
}

/// How many amounts fell into each bucket. Takes memory only for the span between the least and the greatest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    zeros: u64,
    first: u16,
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts an amount.
    #[inline]
    pub fn add(&mut self, amount: Amount) {
        self.add_many(bucket_of(amount), 1);
    }

    /// Counts so many amounts of a bucket.
    #[inline]
    pub fn add_many(&mut self, bucket: u16, many: u64) {
        if bucket == 0 {
            self.zeros += many;
        } else if let Some(count) =
            bucket.checked_sub(self.first).and_then(|at| self.counts.get_mut(usize::from(at)))
        {
            *count += many;
        } else {
            self.widen(bucket, many);
        }
    }

    #[cold]
    fn widen(&mut self, bucket: u16, many: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = usize::from(self.first - bucket);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let at = usize::from(bucket - self.first);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += many;
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.counts() {
            self.add_many(bucket, count);
        }
    }

    /// The buckets that are not empty, from the least.
    pub fn counts(&self) -> impl DoubleEndedIterator<Item = (u16, u64)> {
        let zeros = (self.zeros > 0).then_some((0, self.zeros));
        let others = (self.first..).zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0);
        // An endless range cannot be walked from behind, so the pairs are collected: there are 1000 at most.
        zeros.into_iter().chain(others).collect::<Vec<_>>().into_iter()
    }

    /// How many fell into each power of ten: from 1 us up to 10 s and more, for seconds. Zeros are in none.
    #[must_use]
    pub fn decades(&self) -> [u64; 8] {
        let mut decades = [0; 8];
        for (bucket, count) in self.counts().filter(|(bucket, _)| *bucket > 0) {
            let above = DECADES.iter().filter(|bound| bucket >= bucket_of(**bound)).count();
            if let Some(decade) = decades.get_mut(above) {
                *decade += count;
            }
        }
        decades
    }

    /// How many fell into each eighth of a power of ten: its least number, and how many. Zeros come first, as 0.
    #[must_use]
    pub fn parts(&self) -> Vec<(f64, u64)> {
        let mut parts: Vec<(f64, u64)> = Vec::new();
        for (bucket, count) in self.counts() {
            let value = bucket_value(usize::from(bucket));
            let part = (value.log10() * PARTS_PER_DECADE + 1e-9).floor();
            let least = if bucket == 0 { 0.0 } else { 10_f64.powf(part / PARTS_PER_DECADE) };
            match parts.last_mut() {
                Some((known, sum)) if (*known - least).abs() < least * 1e-9 => *sum += count,
                _ => parts.push((least, count)),
            }
        }
        parts
    }
}

/// Parts of a decade in [`Histogram::parts`].
const PARTS_PER_DECADE: f64 = 8.0;

/// Where each power of ten but the first begins. The bucket that one falls into goes with it as a whole.
const DECADES: [Amount; 7] = [
    Amount::from_millionths(10),
    Amount::from_millionths(100),
    Amount::from_millionths(1000),
    Amount::from_millionths(10_000),
    Amount::from_millionths(100_000),
    Amount::whole(1),
    Amount::whole(10),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_are_those_of_the_logarithm() {
        let mut millionths: u64 = 0;
        while millionths < u64::MAX / 4 {
            for near in millionths.saturating_sub(2)..millionths + 3 {
                let amount = Amount::from_millionths(near.into());
                assert_eq!(bucket_of(amount), bucket_by_logarithm(amount.as_f64()), "{near}");
            }
            millionths += 1 + millionths / 997;
        }
        for bound in &TABLE.bounds {
            for near in bound.saturating_sub(2)..bound.saturating_add(2) {
                let amount = Amount::from_millionths(near.into());
                assert_eq!(bucket_of(amount), bucket_by_logarithm(amount.as_f64()), "{near}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_amount_has_the_bucket_of_its_logarithm(millionths: u64, shift in 0_u32..64) {
            let amount = Amount::from_millionths((millionths >> shift).into());
            prop_assert_eq!(bucket_of(amount), bucket_by_logarithm(amount.as_f64()));
        }

        #[test]
        fn order_and_parts_do_not_matter(amounts: Vec<u32>, cut: prop::sample::Index) {
            let mut whole = Histogram::default();
            amounts.iter().for_each(|amount| whole.add(Amount::from_millionths((*amount).into())));
            let at = if amounts.is_empty() { 0 } else { cut.index(amounts.len()) };
            let mut parts = [Histogram::default(), Histogram::default()];
            for amount in &amounts[at..] {
                parts[0].add(Amount::from_millionths((*amount).into()));
            }
            for amount in &amounts[..at] {
                parts[1].add(Amount::from_millionths((*amount).into()));
            }
            let [mut one, two] = parts;
            one.merge(&two);
            prop_assert_eq!(one, whole);
        }
    }
}
