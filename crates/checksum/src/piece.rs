//! Pieces of a table: which rows a statement is about, and how a piece is cut into smaller ones. Pure.

use crate::column::LiteralError;
use crate::table::Side;

/// A row's key: the fetched value of each of its columns.
pub type Key = Vec<Option<Vec<u8>>>;

/// Some of a table's rows. The pieces a table is cut into cover every key there can be, so that rows that only one
/// side has are in one of them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// All of them.
    All,
    /// Those behind a key, up to another one and with it; none: from the beginning, to the end.
    Keys {
        /// The last key that is not in it.
        after: Option<Key>,
        /// The last key that is in it.
        upto: Option<Key>,
    },
    /// Those whose content's sum leaves a remainder: for tables that cannot be cut by a key.
    Slice {
        /// Into how many the table is cut.
        of: u32,
        /// Which one this is, from 0.
        at: u32,
    },
    /// The rows with these keys.
    Rows(Vec<Key>),
}

/// Why no condition can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// A name.
    #[error(transparent)]
    Name(#[from] sqltext::QuoteError),
    /// A value.
    #[error(transparent)]
    Value(#[from] LiteralError),
}

impl Piece {
    /// The rows behind `after`.
    #[must_use]
    pub const fn behind(after: Option<Key>) -> Self {
        Self::Keys { after, upto: None }
    }

    /// The condition that holds for the piece's rows, as `WHERE` takes it; none if it is all.
    ///
    /// # Errors
    /// When a name or value cannot be written into SQL.
    pub fn condition(&self, side: &Side, slice_of: &str) -> Result<Option<String>, PieceError> {
        Ok(match self {
            Self::All => None,
            Self::Keys { after, upto } => {
                let mut parts = Vec::new();
                if let Some(after) = after {
                    parts.push(beyond(side, after, '>', false)?);
                }
                if let Some(upto) = upto {
                    parts.push(beyond(side, upto, '<', true)?);
                }
                (!parts.is_empty()).then(|| parts.join(" AND "))
            }
            Self::Slice { of, at } => Some(format!("{slice_of} % {of} = {at}")),
            Self::Rows(keys) => {
                let rows: Result<Vec<String>, PieceError> = keys.iter().map(|key| equal(side, key)).collect();
                let rows = rows?;
                Some(if rows.is_empty() { "FALSE".to_owned() } else { rows.join(" OR ") })
            }
        })
    }
}

/// Rows whose key is beyond another one. Written out column by column, since servers find no range of an index for
/// `(a, b) > (1, 2)`.
fn beyond(side: &Side, key: &Key, sign: char, with_equal: bool) -> Result<String, PieceError> {
    let last = key.len().saturating_sub(1);
    let mut alternatives = Vec::new();
    for at in 0..key.len() {
        let mut parts = Vec::new();
        for (place, (column, value)) in side.key.iter().zip(key).enumerate().take(at + 1) {
            let (ident, literal) = (column.ident()?, column.literal(value.as_deref())?);
            let compare = match (place == at, at == last && with_equal) {
                (false, _) => "=".to_owned(),
                (true, false) => sign.to_string(),
                (true, true) => format!("{sign}="),
            };
            parts.push(format!("{ident} {compare} {literal}"));
        }
        alternatives.push(if parts.len() > 1 {
            format!("({})", parts.join(" AND "))
        } else {
            parts.concat()
        });
    }
    if alternatives.len() == 1 {
        return Ok(alternatives.concat());
    }
    Ok(format!("({})", alternatives.join(" OR ")))
}

fn equal(side: &Side, key: &Key) -> Result<String, PieceError> {
    let mut parts = Vec::new();
    for (column, value) in side.key.iter().zip(key) {
        parts.push(format!("{} = {}", column.ident()?, column.literal(value.as_deref())?));
    }
    Ok(format!("({})", parts.join(" AND ")))
}

/// Cuts a table whose key is one integer by arithmetic, where its numbers are close together: to look for the key so
/// many rows on costs half as much as to sum them.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// Rows in the last piece for each number it spanned.
    density: f64,
}

/// Below it, a piece of so many numbers could meet a crowd of many times as many rows.
const DENSITY_MIN: f64 = 0.25;

impl Default for Stride {
    fn default() -> Self {
        Self::new()
    }
}

impl Stride {
    /// Before the first piece. No key comes twice, so that so many numbers are at most as many rows.
    #[must_use]
    pub const fn new() -> Self {
        Self { density: 1.0 }
    }

    /// Learns how many rows a piece had.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn learn(&mut self, after: i128, upto: i128, rows: u64) {
        let span = upto.saturating_sub(after).max(1);
        self.density = rows as f64 / span as f64;
    }

    /// The upper end of a piece of about so many rows; none if it has to be looked for.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate")]
    pub fn next(&self, after: i128, rows: u64) -> Option<i128> {
        if self.density < DENSITY_MIN {
            return None;
        }
        let span = (rows as f64 / self.density.min(1.0)).ceil().max(1.0);
        Some(after.saturating_add(span as i128))
    }
}

/// The number that a key of one integer is.
#[must_use]
pub fn number(key: &Key) -> Option<i128> {
    let [Some(value)] = key.as_slice() else { return None };
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The key of one integer.
#[must_use]
pub fn key_of(number: i128) -> Key {
    vec![Some(number.to_string().into_bytes())]
}

/// How much the next statement is to read, from how long the last one took: it should take the time given.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    target_ms: u64,
    amount: u64,
    least: u64,
    most: u64,
}

/// Pieces of a table at least, if it is large enough for it: both servers are to work at once, and while the last one
/// is summed on the target, the source has nothing to do.
const PIECES_MIN: u64 = 32;
/// No fewer rows: a piece costs two round trips.
const ROWS_MIN: u64 = 2_000;
const ROWS_FIRST: u64 = 10_000;
/// `CHECKSUM TABLE` reads twice as much of what is in memory. A table that takes longer for it is left in time.
const BYTES_A_MS_FIRST: u64 = 512 << 10;
/// No lower, so that it can rise again.
const BYTES_MIN: u64 = 1 << 20;

impl Pace {
    /// The rows of each piece of a table of about so many rows, with pieces of so many milliseconds.
    #[must_use]
    pub fn of_rows(target_ms: u64, rows_estimate: u64) -> Self {
        let most = (rows_estimate / PIECES_MIN).max(ROWS_FIRST);
        Self { target_ms: target_ms.max(1), amount: ROWS_FIRST, least: ROWS_MIN, most }
    }

    /// The bytes of the largest table that is summed as a whole in so many milliseconds.
    #[must_use]
    pub const fn of_bytes(target_ms: u64) -> Self {
        let amount = target_ms.saturating_mul(BYTES_A_MS_FIRST);
        Self { target_ms, amount, least: BYTES_MIN, most: u64::MAX }
    }

    /// What the next statement is to read: rows or bytes.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// Learns how much was read in which time. It grows and falls fourfold at most: once may have been a hiccup.
    pub fn learn(&mut self, read: u64, took_ms: u64) {
        let wanted = read.saturating_mul(self.target_ms) / took_ms.max(1);
        // What is quickly read because it is little is no sign of slowness.
        if read == 0 || (wanted < self.amount && took_ms < self.target_ms / 10) {
            return;
        }
        let (least, most) = (self.amount / 4, self.amount.saturating_mul(4));
        self.amount = wanted.clamp(least, most).clamp(self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table::Shape;
    use crate::table::tests::table;

    fn side(columns: &[(&str, &str)], key: &[&str]) -> Side {
        let table = table(columns, key);
        Shape::new(&table, &table, true).source
    }

    fn key(values: &[&str]) -> Key {
        values.iter().map(|value| Some(value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn conditions_say_which_rows() {
        let one = side(&[("id", "int")], &["id"]);
        let two = side(&[("a", "int"), ("b", "varchar")], &["a", "b"]);
        let keys = |after: Option<&[&str]>, upto: Option<&[&str]>| Piece::Keys {
            after: after.map(key),
            upto: upto.map(key),
        };
        for (piece, side, expected) in [
            (Piece::All, &one, None),
            (Piece::behind(None), &one, None),
            (keys(Some(&["5"]), Some(&["9"])), &one, Some("`id` > 5 AND `id` <= 9")),
            (keys(Some(&["5", "x'y"]), None), &two, Some(r"(`a` > 5 OR (`a` = 5 AND `b` > 'x\'y'))")),
            (keys(None, Some(&["5", "z"])), &two, Some("(`a` < 5 OR (`a` = 5 AND `b` <= 'z'))")),
            (Piece::Slice { of: 7, at: 3 }, &one, Some("CRC32(x) % 7 = 3")),
            (
                Piece::Rows(vec![key(&["1", "q"]), key(&["2", "r"])]),
                &two,
                Some("(`a` = 1 AND `b` = 'q') OR (`a` = 2 AND `b` = 'r')"),
            ),
            (Piece::Rows(Vec::new()), &two, Some("FALSE")),
        ] {
            assert_eq!(piece.condition(side, "CRC32(x)").unwrap().as_deref(), expected, "{piece:?}");
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_refused() {
        let one = side(&[("id", "int")], &["id"]);
        let piece = Piece::behind(Some(key(&["1 OR TRUE"])));
        assert!(matches!(piece.condition(&one, ""), Err(PieceError::Value(_))));
    }

    #[test]
    fn a_sparse_key_is_looked_up_instead() {
        let mut stride = Stride::new();
        assert_eq!(stride.next(0, 100), Some(100));
        stride.learn(0, 100, 100);
        assert_eq!(stride.next(100, 50), Some(150));
        stride.learn(0, 200, 100);
        assert_eq!(stride.next(100, 50), Some(200));
        stride.learn(0, 1_000, 100);
        assert_eq!(stride.next(100, 50), None);
    }

    #[test]
    fn the_pace_follows_what_pieces_take_within_bounds() {
        let mut pace = Pace::of_rows(500, 100_000_000);
        assert_eq!(pace.amount(), ROWS_FIRST);
        pace.learn(10_000, 1);
        assert_eq!(pace.amount(), 40_000);
        pace.learn(20_000, 500);
        assert_eq!(pace.amount(), 20_000);
        pace.learn(20_000, 60_000);
        assert_eq!(pace.amount(), 5_000);
        let mut small = Pace::of_rows(500, 1_000_000);
        for _ in 0..20 {
            small.learn(small.amount(), 1);
        }
        assert_eq!(small.amount(), 1_000_000 / PIECES_MIN);
        let mut bytes = Pace::of_bytes(500);
        assert_eq!(bytes.amount(), 500 * BYTES_A_MS_FIRST);
        bytes.learn(16_384, 1);
        assert_eq!(bytes.amount(), 500 * BYTES_A_MS_FIRST, "a small table says nothing");
        bytes.learn(200 << 20, 2_000);
        assert_eq!(bytes.amount(), 125 * BYTES_A_MS_FIRST, "not below a fourth at once");
        bytes.learn(100 << 20, 1_000);
        assert_eq!(bytes.amount(), 50 << 20);
        bytes.learn(40 << 20, 40);
        assert_eq!(bytes.amount(), 200 << 20, "not above four times at once");
    }

    proptest! {
        /// Every number is in exactly one of the pieces that end where `Stride` or a look-up says, and no piece has
        /// more than four times the rows asked for.
        #[test]
        fn pieces_cover_every_number_once(
            numbers in prop::collection::btree_set(-200_i128..5_000, 1..400), rows in 1_u64..50,
        ) {
            let (mut stride, mut after, mut seen) = (Stride::new(), None, 0_usize);
            loop {
                let looked_up = || {
                    let behind = numbers.iter().filter(|it| after.is_none_or(|after| **it > after));
                    behind.copied().nth(usize::try_from(rows).unwrap() - 1)
                };
                let (least, greatest) = (*numbers.first().unwrap(), *numbers.last().unwrap());
                let behind = after.unwrap_or(least - 1);
                let upto = match stride.next(behind, rows) {
                    Some(upto) => (upto < greatest).then_some(upto),
                    None => looked_up(),
                };
                let inside = numbers.iter().filter(|it| {
                    after.is_none_or(|after| **it > after) && upto.is_none_or(|upto| **it <= upto)
                }).count();
                seen += inside;
                let Some(end) = upto else { break };
                prop_assert!(inside as u64 <= rows * 4 + 1);
                stride.learn(behind, end, inside as u64);
                after = Some(end);
            }
            prop_assert_eq!(seen, numbers.len());
        }
    }
}
