//! The statements that sum, list and fetch rows, and what they answer. Pure.
//!
//! A row's sum is the CRC32 of its content times its key. CRC32 alone, XORed over rows as is usual, is blind to the
//! same change made to two rows: CRC32 is linear, so the two cancel out. The product is not. MD5() and SHA1() are
//! gone from MySQL 9.6, SHA2() takes three times as long.

use std::fmt::Write as _;

use sqltext::QuoteError;

use crate::column::{Column, Kind};
use crate::piece::{Piece, PieceError};
use crate::table::Side;

/// The lower half of a number.
const HALF: u32 = u32::MAX;
/// Nullable columns in one number.
const BITS_MAX: usize = 60;

/// What rows sum to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many they are.
    pub rows: u64,
    /// Their sums XORed.
    pub xor: u64,
    /// Their sums added, for tables without a key, where two equal rows would vanish from the XOR.
    pub added: Option<String>,
}

/// A side's expressions, written once a table.
#[derive(Clone, Debug)]
pub struct Sums {
    from: String,
    row: String,
    content: String,
    key: Vec<String>,
    fetched: Vec<String>,
    side: Side,
}

impl Sums {
    /// The expressions for one side of a table. `goes_on`: `CRC32()` of both servers takes a checksum to go on from,
    /// which spares putting the row together: a third of the time.
    ///
    /// # Errors
    /// When a name cannot be written into SQL.
    pub fn new(side: &Side, goes_on: bool) -> Result<Self, QuoteError> {
        let index = match &side.index {
            Some(index) => format!(" FORCE INDEX ({})", sqltext::quote_ident(index)?),
            None => String::new(),
        };
        let number = match side.key.as_slice() {
            [only] if only.kind == Kind::Int && !only.mixed => Some(only),
            _ => None,
        };
        let chained = if goes_on { chained(side)? } else { None };
        let content = match chained {
            Some(chained) => chained,
            None => format!("CRC32(CONCAT_WS('#', {}))", content(side)?),
        };
        let key: Result<Vec<String>, QuoteError> = side.key.iter().map(Column::fetched).collect();
        let factor = match number {
            Some(column) => format!("(({} & {HALF}) + 1)", column.ident()?),
            None if side.key.is_empty() => "2654435761".to_owned(),
            None => {
                let mut parts = Vec::new();
                for column in &side.key {
                    parts.extend(column.summed()?);
                }
                format!("(CRC32(CONCAT_WS('#', {})) + 1)", parts.join(", "))
            }
        };
        let fetched: Result<Vec<String>, QuoteError> = side.columns.iter().map(Column::fetched).collect();
        Ok(Self {
            from: format!("FROM {}{index}", side.name.quoted()?),
            row: format!("{content} * {factor}"),
            content,
            key: key?,
            fetched: fetched?,
            side: side.clone(),
        })
    }

    fn tail(&self, piece: &Piece) -> Result<String, PieceError> {
        // Slices are cut by the key, so that a row is in the same one on both sides whatever else differs.
        let slice_of = match self.side.key.is_empty() {
            true => self.content.clone(),
            false => {
                let mut parts = Vec::new();
                for column in &self.side.key {
                    parts.extend(column.summed()?);
                }
                format!("CRC32(CONCAT_WS('#', {}))", parts.join(", "))
            }
        };
        let condition = piece.condition(&self.side, &slice_of)?;
        Ok(match condition {
            Some(condition) => format!("{} WHERE {condition}", self.from),
            None => self.from.clone(),
        })
    }

    /// One row of `n`, `x` and `a`: what a piece sums to.
    ///
    /// # Errors
    /// When a value cannot be written into SQL.
    pub fn sum(&self, piece: &Piece) -> Result<String, PieceError> {
        let added =
            if self.side.key.is_empty() { format!("SUM({})", self.content) } else { "NULL".to_owned() };
        Ok(format!("SELECT COUNT(*) AS n, BIT_XOR({}) AS x, {added} AS a {}", self.row, self.tail(piece)?))
    }

    /// Rows of `h`, the row's sum, and `k0`, `k1`, ...: the key of each row of a piece. Without a key: rows of `h`
    /// and `n`, how many rows have that sum.
    ///
    /// # Errors
    /// When a value cannot be written into SQL.
    pub fn list(&self, piece: &Piece) -> Result<String, PieceError> {
        let tail = self.tail(piece)?;
        if self.key.is_empty() {
            return Ok(format!("SELECT {} AS h, COUNT(*) AS n {tail} GROUP BY h", self.row));
        }
        let mut text = format!("SELECT {} AS h", self.row);
        for (at, key) in self.key.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(text, ", {key} AS k{at}");
        }
        Ok(format!("{text} {tail}"))
    }

    /// Rows of `c0`, `c1`, ...: every compared column of each row of a piece.
    ///
    /// # Errors
    /// When a value cannot be written into SQL.
    pub fn rows(&self, piece: &Piece) -> Result<String, PieceError> {
        Ok(format!("SELECT {} {}", self.columns(), self.tail(piece)?))
    }

    /// As [`Self::rows`]: one row with a sum, in a table without a key.
    #[must_use]
    pub fn row_of_sum(&self, sum: u64) -> String {
        format!("SELECT {} {} WHERE {} = {sum} LIMIT 1", self.columns(), self.from, self.row)
    }

    fn columns(&self) -> String {
        let columns = self.fetched.iter().enumerate().map(|(at, column)| format!("{column} AS c{at}"));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// One row of `k0`, `k1`, ...: the key `rows` rows behind the beginning of a piece; none if it has fewer.
    ///
    /// # Errors
    /// When a value cannot be written into SQL.
    pub fn key_at(&self, piece: &Piece, rows: u64) -> Result<String, PieceError> {
        let names: Result<Vec<String>, QuoteError> = self.side.key.iter().map(Column::ident).collect();
        let keys = self.key.iter().enumerate().map(|(at, key)| format!("{key} AS k{at}"));
        Ok(format!(
            "SELECT {} {} ORDER BY {} LIMIT {}, 1",
            keys.collect::<Vec<_>>().join(", "),
            self.tail(piece)?,
            names?.join(", "),
            rows.saturating_sub(1)
        ))
    }

    /// One row of `k0` and `k1`: the least and the greatest key of a table whose key is one column.
    ///
    /// # Errors
    /// When a name cannot be written into SQL.
    pub fn ends(&self) -> Result<Option<String>, QuoteError> {
        let [column] = self.side.key.as_slice() else { return Ok(None) };
        let ident = column.ident()?;
        Ok(Some(format!("SELECT MIN({ident}) AS k0, MAX({ident}) AS k1 FROM {}", self.side.name.quoted()?)))
    }

    /// The side these are for.
    #[must_use]
    pub const fn side(&self) -> &Side {
        &self.side
    }
}

/// The arguments of `CONCAT_WS` that say everything about a row. It leaves NULL out, so which columns are NULL comes
/// first; lengths tell `a#b, c` from `a, b#c`.
fn content(side: &Side) -> Result<String, QuoteError> {
    let mut parts = nulls(side)?;
    let mut lengths = Vec::new();
    for column in &side.columns {
        lengths.extend(column.length_summed()?);
    }
    // With the lengths of all but one known, there is one way to read the rest.
    lengths.pop();
    parts.extend(lengths);
    for column in values(side) {
        parts.extend(column.summed()?);
    }
    if parts.is_empty() {
        parts.push("'0'".to_owned());
    }
    Ok(parts.join(", "))
}

/// The same as a chain of checksums: everything that cannot hold the separator in one link, then a link for each text,
/// with the length of the one before. The first number is what the chain begins with. None where there is no text,
/// and so nothing to be gained.
fn chained(side: &Side) -> Result<Option<String>, QuoteError> {
    let (texts, others): (Vec<&Column>, Vec<&Column>) =
        values(side).partition(|column| !column.mixed && column.kind.is_free_text());
    if texts.is_empty() {
        return Ok(None);
    }
    let is_seed = |column: &&Column| column.kind == Kind::Int && !column.mixed && !column.nullable;
    let seed = others.iter().position(is_seed);
    let mut fixed = nulls(side)?;
    for (at, column) in others.iter().enumerate() {
        if Some(at) != seed {
            fixed.extend(column.summed()?);
        }
    }
    let mut chain = match seed.and_then(|at| others.get(at)) {
        Some(column) => column.ident()?,
        None => "0".to_owned(),
    };
    if !fixed.is_empty() {
        // The separator at the end keeps it apart from the text.
        chain = format!("CRC32({chain}, CONCAT_WS('#', {}, ''))", fixed.join(", "));
    }
    for (at, column) in texts.iter().enumerate() {
        let text = column.summed()?.concat();
        // NULL would make NULL of the whole; that it was one is said among the rest.
        let text = if column.nullable { format!("COALESCE({text}, '')") } else { text };
        chain = format!("CRC32({chain}, {text})");
        if at + 1 < texts.len() {
            chain = format!("{chain} ^ LENGTH({text})");
        }
    }
    Ok(Some(chain))
}

/// Which columns are NULL, as numbers.
fn nulls(side: &Side) -> Result<Vec<String>, QuoteError> {
    let mut parts = Vec::new();
    let nullable: Vec<_> = side.columns.iter().filter(|column| column.nullable).collect();
    for group in nullable.chunks(BITS_MAX) {
        let mut bits = Vec::new();
        for (at, column) in group.iter().enumerate() {
            let ident = column.ident()?;
            bits.push(if at == 0 { format!("ISNULL({ident})") } else { format!("ISNULL({ident}) << {at}") });
        }
        parts.push(bits.join(" | "));
    }
    Ok(parts)
}

/// The columns that the row's content is made of.
fn values(side: &Side) -> impl Iterator<Item = &Column> {
    let only_key = match side.key.as_slice() {
        // It is the factor.
        [only] if only.kind == Kind::Int && !only.mixed => Some(&only.name),
        _ => None,
    };
    side.columns.iter().filter(move |column| Some(&column.name) != only_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::key_of;
    use crate::table::Shape;
    use crate::table::tests::table;

    fn sums(columns: &[(&str, &str)], key: &[&str], nullable: &[&str]) -> Sums {
        let mut table = table(columns, key);
        for column in &mut table.columns {
            column.nullable = nullable.contains(&column.name.as_str());
        }
        Sums::new(&Shape::new(&table, &table, true).source, false).unwrap()
    }

    #[test]
    fn statements_are_as_measured() {
        let sums = sums(&[("id", "int"), ("k", "int"), ("c", "char"), ("pad", "char")], &["id"], &[]);
        let row = "CRC32(CONCAT_WS('#', LENGTH(`c`), `k`, `c`, `pad`)) * ((`id` & 4294967295) + 1)";
        let piece = Piece::Keys { after: Some(key_of(0)), upto: Some(key_of(9)) };
        let tail = "FROM `d`.`t` FORCE INDEX (`PRIMARY`) WHERE `id` > 0 AND `id` <= 9";
        assert_eq!(
            sums.sum(&piece).unwrap(),
            format!("SELECT COUNT(*) AS n, BIT_XOR({row}) AS x, NULL AS a {tail}")
        );
        assert_eq!(sums.list(&piece).unwrap(), format!("SELECT {row} AS h, `id` AS k0 {tail}"));
        assert_eq!(
            sums.key_at(&piece, 10).unwrap(),
            format!("SELECT `id` AS k0 {tail} ORDER BY `id` LIMIT 9, 1")
        );
        assert_eq!(
            sums.rows(&piece).unwrap(),
            format!("SELECT `id` AS c0, `k` AS c1, `c` AS c2, `pad` AS c3 {tail}")
        );
    }

    #[test]
    fn nulls_lengths_and_long_values_are_in_the_content() {
        let sums =
            sums(&[("id", "bigint"), ("a", "varchar"), ("b", "text"), ("f", "float")], &["id"], &["a", "f"]);
        assert_eq!(
            sums.row,
            "CRC32(CONCAT_WS('#', ISNULL(`a`) | ISNULL(`f`) << 1, `id`, `a`, CRC32(`b`), LENGTH(`b`), (`f` + 0e0))) \
             * (CRC32(CONCAT_WS('#', `id`)) + 1)"
        );
    }

    #[test]
    fn a_server_that_goes_on_from_a_checksum_puts_no_row_together() {
        let chain = |columns: &[(&str, &str)], nullable: &[&str]| {
            let mut table = table(columns, &["id"]);
            for column in &mut table.columns {
                column.nullable = nullable.contains(&column.name.as_str());
            }
            chained(&Shape::new(&table, &table, true).source).unwrap()
        };
        let sbtest = [("id", "int"), ("k", "int"), ("c", "char"), ("pad", "char")];
        assert_eq!(chain(&sbtest, &[]).unwrap(), "CRC32(CRC32(`k`, `c`) ^ LENGTH(`c`), `pad`)");
        assert_eq!(
            chain(&[("id", "bigint"), ("a", "varchar"), ("n", "int"), ("t", "text")], &["a", "n"]).unwrap(),
            "CRC32(CRC32(0, CONCAT_WS('#', ISNULL(`a`) | ISNULL(`n`) << 1, `id`, `n`, CRC32(`t`), LENGTH(`t`), '')), \
             COALESCE(`a`, ''))"
        );
        assert_eq!(chain(&[("id", "int"), ("n", "int")], &[]), None);
    }

    #[test]
    fn a_table_without_a_key_adds_its_sums_too() {
        let sums = sums(&[("a", "int")], &[], &[]);
        assert_eq!(
            sums.sum(&Piece::All).unwrap(),
            "SELECT COUNT(*) AS n, BIT_XOR(CRC32(CONCAT_WS('#', `a`)) * 2654435761) AS x, \
             SUM(CRC32(CONCAT_WS('#', `a`))) AS a FROM `d`.`t`"
        );
        assert!(sums.list(&Piece::Slice { of: 2, at: 1 }).unwrap().contains("GROUP BY h"));
        assert_eq!(sums.ends().unwrap(), None);
    }
}
