//! Rows as SQL literals: exactly what a server needs to store the same bytes again. It knows columns only by how their
//! values are written, and no table by name.
//!
//! Values come as the text protocol has them, in the character set they are stored in. A literal is `NULL`, a number,
//! a string in single quotes of valid UTF-8, or `x'..'`, whose bytes go into the column as they are: that is how
//! binary columns are written, and text that is not plain ASCII in a column of another character set than Unicode's,
//! so that no conversion can lose anything. No literal holds a raw newline, which is what lets `myloader` read lines.

use std::fmt;
use std::str::FromStr;

/// How values of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they come: whole numbers, decimals, floats, years.
    Bare,
    /// In quotes: dates, times, addresses, UUIDs and text whose bytes are UTF-8.
    Quoted,
    /// In quotes while ASCII, else as bytes: text in a character set that has ASCII in it.
    QuotedAscii,
    /// As bytes: binary strings, bits, geometries, vectors, and text in any other character set.
    Bytes,
}

impl Form {
    /// How a column is written, by `DATA_TYPE` and `CHARACTER_SET_NAME` of `information_schema.COLUMNS`.
    ///
    /// A type that is not known here, such as one of a plugin, is written as bytes of what the server shows of it.
    #[must_use]
    pub fn of(data_type: &str, character_set: Option<&str>) -> Self {
        let data_type = data_type.to_ascii_lowercase();
        match data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal" | "numeric"
            | "float" | "double" | "real" | "year" => Self::Bare,
            "date" | "time" | "datetime" | "timestamp" | "inet4" | "inet6" | "uuid" => Self::Quoted,
            // MySQL names no character set for JSON: it is utf8mb4.
            "json" => Self::Quoted,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
                character_set.map_or(Self::Bytes, Self::of_text)
            }
            _ => Self::Bytes,
        }
    }

    fn of_text(character_set: &str) -> Self {
        match character_set.to_ascii_lowercase().as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Self::Quoted,
            // swe7 has letters where ASCII has brackets; these four have more than one byte a letter.
            "ucs2" | "utf16" | "utf16le" | "utf32" | "swe7" | "binary" => Self::Bytes,
            _ => Self::QuotedAscii,
        }
    }
}

/// A row that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not as many values as columns.
    #[error("the server sent a row of {values} values for {columns} columns")]
    Width {
        /// How many came.
        values: usize,
        /// How many were expected.
        columns: usize,
    },
    /// Something else where a number is expected.
    #[error("the server sent something else than a number in column {column}, counted from 1")]
    NotANumber {
        /// Which column.
        column: usize,
    },
}

/// Appends a row as `(1,'a',NULL)`.
///
/// # Errors
/// If it has another number of values than columns, or a number is none. What was appended is to be thrown away then.
pub fn push_row<'v>(
    out: &mut Vec<u8>,
    forms: &[Form],
    values: impl Iterator<Item = Option<&'v [u8]>>,
) -> Result<(), RowError> {
    out.push(b'(');
    let mut count = 0;
    let mut forms_left = forms.iter();
    for value in values {
        count += 1;
        let Some(form) = forms_left.next() else { break };
        if count > 1 {
            out.push(b',');
        }
        let Some(value) = value else {
            out.extend_from_slice(b"NULL");
            continue;
        };
        match form {
            // As a whole number, a negative zero would lose its sign.
            Form::Bare if value == b"-0" => out.extend_from_slice(b"-0e0"),
            Form::Bare if is_number(value) => out.extend_from_slice(value),
            Form::Bare => return Err(RowError::NotANumber { column: count }),
            Form::Quoted => push_text(out, value),
            Form::QuotedAscii => push_ascii(out, value),
            Form::Bytes => push_bytes(out, value),
        }
    }
    if count != forms.len() {
        return Err(RowError::Width { values: count, columns: forms.len() });
    }
    out.push(b')');
    Ok(())
}

/// Digits, sign, point and exponent: nothing else may stand in a statement without quotes.
fn is_number(value: &[u8]) -> bool {
    !value.is_empty()
        && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
}

/// What a value has in it that must be looked at one by one.
const CONTROL: u8 = 1;
const BEYOND_ASCII: u8 = 2;

/// One pass without a branch, which compiles to vector instructions: most values need nothing.
fn traits_of(value: &[u8]) -> u8 {
    let mut special = false;
    let mut high = 0_u8;
    for &byte in value {
        special |= (byte < 0x20) | (byte == b'\'') | (byte == b'\\');
        high |= byte;
    }
    u8::from(special) * CONTROL + u8::from(high >= 0x80) * BEYOND_ASCII
}

fn push_text(out: &mut Vec<u8>, value: &[u8]) {
    let traits = traits_of(value);
    if traits & BEYOND_ASCII != 0 && std::str::from_utf8(value).is_err() {
        // Stored by a client that lied about its character set. The bytes are what is there.
        return push_bytes(out, value);
    }
    push_string(out, value, traits);
}

fn push_ascii(out: &mut Vec<u8>, value: &[u8]) {
    match traits_of(value) {
        traits if traits & BEYOND_ASCII != 0 => push_bytes(out, value),
        traits => push_string(out, value, traits),
    }
}

fn push_string(out: &mut Vec<u8>, value: &[u8], traits: u8) {
    if traits & CONTROL != 0 {
        return push_quoted(out, value);
    }
    out.reserve(value.len() + 2);
    out.push(b'\'');
    out.extend_from_slice(value);
    out.push(b'\'');
}

fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + 2);
    out.push(b'\'');
    let mut start = 0;
    for (at, byte) in value.iter().enumerate() {
        let escaped = match byte {
            0 => b'0',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1A => b'Z',
            b'\'' => b'\'',
            b'\\' => b'\\',
            _ => continue,
        };
        out.extend_from_slice(value.get(start..at).unwrap_or_default());
        out.extend_from_slice(&[b'\\', escaped]);
        start = at + 1;
    }
    out.extend_from_slice(value.get(start..).unwrap_or_default());
    out.push(b'\'');
}

fn push_bytes(out: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 0x0F)).copied().unwrap_or(b'0');
    out.reserve(value.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    out.extend(value.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
    out.push(b'\'');
}

/// A sum over rows that any order of the same rows gives alike, and other rows hardly ever: how many, and the sum of
/// the CRC-32 of each as [`push_row`] writes it. It tells accidents, not forgery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsDigest {
    rows: u64,
    sum: u64,
}

impl RowsDigest {
    /// Adds a row, as [`push_row`] wrote it.
    pub fn add(&mut self, row: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(u64::from(crc32fast::hash(row)));
    }

    /// Adds the rows of another sum.
    pub fn merge(&mut self, other: Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many rows.
    #[must_use]
    pub const fn rows(self) -> u64 {
        self.rows
    }
}

impl fmt::Display for RowsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.rows, self.sum)
    }
}

/// Text that is no [`RowsDigest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum over rows is written as their number, a colon and 16 hexadecimal digits")]
pub struct RowsDigestError;

impl FromStr for RowsDigest {
    type Err = RowsDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rows, sum) = text.split_once(':').ok_or(RowsDigestError)?;
        if sum.len() != 16 {
            return Err(RowsDigestError);
        }
        Ok(Self {
            rows: rows.parse().map_err(|_| RowsDigestError)?,
            sum: u64::from_str_radix(sum, 16).map_err(|_| RowsDigestError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sqltext::{TokenKind, lex, unquote};

    use super::*;

    fn row(forms: &[Form], values: &[Option<&[u8]>]) -> Result<String, RowError> {
        let mut out = Vec::new();
        push_row(&mut out, forms, values.iter().copied()).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_form_is_written_so_that_nothing_is_lost() {
        for (form, value, written) in [
            (Form::Bare, &b"-12.5e-7"[..], "(-12.5e-7)"),
            (Form::Bare, b"-0", "(-0e0)"),
            (Form::Quoted, b"2026-00-00", "('2026-00-00')"),
            (Form::Quoted, b"it's\n\\ \0\r\x1a\t\"", "('it\\'s\\n\\\\ \\0\\r\\Z\t\"')"),
            (Form::Quoted, "größe 😀".as_bytes(), "('größe 😀')"),
            (Form::Quoted, "ü'".as_bytes(), "('ü\\'')"),
            (Form::Quoted, b"\xff", "(x'FF')"),
            (Form::Quoted, b"", "('')"),
            (Form::QuotedAscii, b"a'b", "('a\\'b')"),
            (Form::QuotedAscii, b"gr\xf6\xdfe", "(x'6772F6DF65')"),
            (Form::Bytes, b"\0a", "(x'0061')"),
            (Form::Bytes, b"", "(x'')"),
        ] {
            assert_eq!(row(&[form], &[Some(value)]).unwrap(), written);
        }
        assert_eq!(row(&[Form::Bare, Form::Bytes], &[Some(b"1"), None]).unwrap(), "(1,NULL)");
    }

    #[test]
    fn rows_of_another_shape_are_refused() {
        assert_eq!(row(&[Form::Bare], &[]), Err(RowError::Width { values: 0, columns: 1 }));
        let two: [Option<&[u8]>; 2] = [Some(b"1"), Some(b"2")];
        assert_eq!(row(&[Form::Bare], &two), Err(RowError::Width { values: 2, columns: 1 }));
        for injected in [&b"1);DROP"[..], b"", b"nan", b"inf", b"0x1"] {
            assert_eq!(row(&[Form::Bare], &[Some(injected)]), Err(RowError::NotANumber { column: 1 }));
        }
    }

    #[test]
    fn forms_follow_types_and_character_sets() {
        for (data_type, character_set, form) in [
            ("bigint", None, Form::Bare),
            ("year", None, Form::Bare),
            ("timestamp", None, Form::Quoted),
            ("json", None, Form::Quoted),
            ("longtext", Some("utf8mb4"), Form::Quoted),
            ("enum", Some("latin1"), Form::QuotedAscii),
            ("varchar", Some("utf16"), Form::Bytes),
            ("varchar", Some("swe7"), Form::Bytes),
            ("varbinary", None, Form::Bytes),
            ("bit", None, Form::Bytes),
            ("multipolygon", None, Form::Bytes),
            ("vector", None, Form::Bytes),
            ("INET6", None, Form::Quoted),
            ("of a plugin", None, Form::Bytes),
        ] {
            assert_eq!(Form::of(data_type, character_set), form, "{data_type} {character_set:?}");
        }
    }

    #[test]
    fn a_digest_is_of_rows_not_of_their_order() {
        let digest = |rows: &[&str]| {
            let mut digest = RowsDigest::default();
            rows.iter().for_each(|row| digest.add(row.as_bytes()));
            digest
        };
        let all = digest(&["(1)", "(2)", "(3)"]);
        assert_eq!(all, digest(&["(3)", "(1)", "(2)"]));
        assert_ne!(all, digest(&["(1)", "(2)", "(4)"]));
        let mut halves = digest(&["(1)"]);
        halves.merge(digest(&["(3)", "(2)"]));
        assert_eq!(halves, all);
        assert_eq!(all.to_string().parse(), Ok(all));
        assert_eq!("3:7".parse::<RowsDigest>(), Err(RowsDigestError));
        assert_eq!(all.rows(), 3);
    }

    proptest! {
        #[test]
        fn text_is_one_token_without_a_newline_that_reads_back(value in any::<String>()) {
            let written = row(&[Form::Quoted], &[Some(value.as_bytes())]).unwrap();
            let literal = &written[1..written.len() - 1];
            let tokens: Vec<_> = lex(literal).collect();
            prop_assert_eq!(tokens.len(), 1);
            prop_assert_eq!(tokens[0].kind, TokenKind::String);
            prop_assert_eq!(unquote(tokens[0].text), value);
            prop_assert!(!literal.contains(['\n', '\r', '\0']));
        }

        #[test]
        fn any_bytes_make_valid_text(value in any::<Vec<u8>>()) {
            for form in [Form::Quoted, Form::QuotedAscii, Form::Bytes] {
                prop_assert!(row(&[form], &[Some(&value)]).is_ok());
            }
        }
    }
}
