//! A table cut into ranges of its primary key, so that several sessions read it and each file stands for itself. It
//! asks no server: bounds come in as values.
//!
//! Every row is in exactly one range, whatever its key: the first range has no lower bound and the last no upper one.

use std::fmt::Write as _;

/// More ranges than this are not made of one table: each is a file.
pub const RANGES_MAX: u64 = 100_000;

/// Rows whose key is at least `from` and less than `to`, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Lowest key, as literals of the key's columns in order; none for no bound.
    pub from: Option<Vec<String>>,
    /// The key after the highest; none for no bound.
    pub to: Option<Vec<String>>,
}

impl KeyRange {
    /// All rows.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The condition that a row of the range meets; none if every row does. Columns come quoted.
    ///
    /// It is written out column by column: servers do not use an index for `(a, b) >= (1, 2)`.
    #[must_use]
    pub fn condition(&self, columns: &[String]) -> Option<String> {
        let from = self.from.as_ref().map(|bound| compared(columns, bound, ">", ">="));
        let to = self.to.as_ref().map(|bound| compared(columns, bound, "<", "<"));
        match (from, to) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some(one),
            (Some(from), Some(to)) => Some(format!("({from}) AND ({to})")),
        }
    }
}

/// `a > 1 OR (a = 1 AND b >= 2)`: all columns but the last are compared by `strict`.
fn compared(columns: &[String], bound: &[String], strict: &str, last: &str) -> String {
    let mut text = String::new();
    let mut equal = String::new();
    let width = columns.len().min(bound.len());
    for (at, (column, value)) in columns.iter().zip(bound).enumerate() {
        let operator = if at + 1 == width { last } else { strict };
        // Writing to a String does not fail.
        let _ = if at == 0 {
            write!(text, "{column} {operator} {value}")
        } else {
            write!(text, " OR ({equal}{column} {operator} {value})")
        };
        let _ = write!(equal, "{column} = {value} AND ");
    }
    text
}

/// Ranges between bounds that were found in the table, in key order.
#[must_use]
pub fn between(bounds: Vec<Vec<String>>) -> Vec<KeyRange> {
    let mut ranges = Vec::with_capacity(bounds.len() + 1);
    let mut from = None;
    for bound in bounds {
        ranges.push(KeyRange { from: from.replace(bound.clone()), to: Some(bound) });
    }
    ranges.push(KeyRange { from, to: None });
    ranges
}

/// Ranges of equal width over whole numbers from `lowest` to `highest`, of about `chunk_rows` rows each when numbers
/// are given out evenly.
#[must_use]
pub fn even(lowest: i128, highest: i128, rows: u64, chunk_rows: u64) -> Vec<KeyRange> {
    let span = (highest - lowest).unsigned_abs() + 1;
    let wanted = rows.div_ceil(chunk_rows.max(1)).clamp(1, RANGES_MAX);
    let count = u128::from(wanted).min(if highest < lowest { 1 } else { span });
    let bounds = (1..count).filter_map(|n| {
        let offset = i128::try_from(span * n / count).ok()?;
        Some(vec![(lowest + offset).to_string()])
    });
    between(bounds.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds(ranges: &[KeyRange]) -> Vec<Option<i128>> {
        ranges.iter().map(|range| range.to.as_ref().map(|bound| bound[0].parse().unwrap())).collect()
    }

    #[test]
    fn conditions_use_the_index_and_miss_no_row() {
        let columns = ["`a`".to_owned(), "`b`".to_owned(), "`c`".to_owned()];
        let bound = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
        let range = KeyRange { from: bound(&["1", "'x'", "3"]), to: bound(&["2", "'y'", "4"]) };
        assert_eq!(
            range.condition(&columns).unwrap(),
            "(`a` > 1 OR (`a` = 1 AND `b` > 'x') OR (`a` = 1 AND `b` = 'x' AND `c` >= 3)) AND \
             (`a` < 2 OR (`a` = 2 AND `b` < 'y') OR (`a` = 2 AND `b` = 'y' AND `c` < 4))"
        );
        let range = KeyRange { from: bound(&["1"]), to: None };
        assert_eq!(range.condition(&columns[..1]).unwrap(), "`a` >= 1");
        assert_eq!(KeyRange::all().condition(&columns), None);
    }

    #[test]
    fn even_ranges_cover_the_whole_key() {
        assert_eq!(
            bounds(&even(1, 1_000_000, 1_000_000, 250_000)),
            [Some(250_001), Some(500_001), Some(750_001), None]
        );
        // Fewer keys than ranges wanted, and a table that became empty.
        assert_eq!(bounds(&even(5, 6, 100, 10)), [Some(6), None]);
        assert_eq!(bounds(&even(0, -1, 0, 10)), [None]);
        let widest = even(i64::MIN.into(), u64::MAX.into(), 1 << 40, 1);
        assert_eq!(widest.len() as u64, RANGES_MAX);
    }

    proptest! {
        #[test]
        fn each_key_is_in_one_range(
            lowest in any::<i64>(),
            width in 0..1_000_000_i128,
            rows in 0..1_000_000_u64,
            chunk in 0..100_000_u64,
            key in any::<i64>(),
        ) {
            let lowest = i128::from(lowest);
            let ranges = even(lowest, lowest + width, rows, chunk);
            let number = |bound: &Option<Vec<String>>| bound.as_ref().map(|b| b[0].parse::<i128>().unwrap());
            let holds = |range: &&KeyRange| {
                number(&range.from).is_none_or(|from| from <= i128::from(key))
                    && number(&range.to).is_none_or(|to| i128::from(key) < to)
            };
            prop_assert_eq!(ranges.iter().filter(holds).count(), 1);
        }
    }
}
