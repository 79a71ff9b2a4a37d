//! Rows of an `INSERT` as values, and as the text that `LOAD DATA` reads.
//!
//! Only literals are taken: a statement with any other expression is left to the server, as it is.

use std::borrow::Cow;

use crate::reader_kind::inserted;
use crate::reader_scan::Quoting;
use crate::reader_words::{Word, Words, is_word};

/// More columns than a table can have.
const COLUMNS_MAX: usize = 5000;

/// The head of an `INSERT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsertHead {
    /// Columns it names; empty: all visible ones.
    pub columns: Vec<String>,
    /// Whether existing rows may be met: `REPLACE` or `IGNORE`.
    pub is_tolerant: bool,
    /// Where its rows begin.
    pub rows_at: usize,
}

impl InsertHead {
    /// Reads a statement's head; none when it is not `INSERT ... VALUES`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = Words::new(text);
        let first = words.next()?;
        if !first.is("INSERT") && !first.is("REPLACE") {
            return None;
        }
        let modifier = words.clone().next();
        let is_tolerant = first.is("REPLACE") || modifier.is_some_and(|word| word.is("IGNORE"));
        inserted(&mut words)?;
        let mut columns = Vec::new();
        let mut word = words.next()?;
        let is_empty = words.clone().next() == Some(Word::Symbol(b')'));
        if word == Word::Symbol(b'(') && is_empty {
            words.next()?;
            word = words.next()?;
        } else if word == Word::Symbol(b'(') {
            loop {
                columns.push(words.next()?.name()?);
                match words.next()? {
                    Word::Symbol(b',') if columns.len() < COLUMNS_MAX => {}
                    Word::Symbol(b')') => break,
                    Word::Symbol(_) | Word::Bare(_) | Word::Quoted { .. } => return None,
                }
            }
            word = words.next()?;
        }
        (word.is("VALUES") || word.is("VALUE")).then(|| Self {
            columns,
            is_tolerant,
            rows_at: words.offset(),
        })
    }
}

/// A literal, as it stands in the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal<'t> {
    /// `NULL`.
    Null,
    /// A number, as written.
    Number(&'t [u8]),
    /// Text between quotes, escapes as they stand.
    Text {
        /// What is between the quotes.
        raw: &'t [u8],
        /// The quote.
        quote: u8,
        /// It has an introducer `_binary`: bytes of no character set.
        is_binary: bool,
    },
    /// `0x...` or `x'...'`: the digits.
    Hex(&'t [u8]),
    /// `b'...'`: the digits.
    Bits(&'t [u8]),
}

/// Why values cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesError {
    /// Something that is no literal, at this offset of the statement.
    NotLiteral(usize),
    /// The statement does not go on as one does, at this offset.
    Malformed(usize),
}

/// Reads the rows of an `INSERT`, one value after the other.
#[derive(Debug)]
pub struct Values<'t> {
    text: &'t [u8],
    at: usize,
    quoting: Quoting,
}

impl<'t> Values<'t> {
    /// The rows of a statement that begin at an offset.
    #[must_use]
    pub const fn new(text: &'t [u8], at: usize, quoting: Quoting) -> Self {
        Self { text, at, quoting }
    }

    /// How far it was read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Goes to the next row; `false` at the end.
    ///
    /// # Errors
    /// When anything else follows, such as `ON DUPLICATE KEY UPDATE`.
    pub fn next_row(&mut self) -> Result<bool, ValuesError> {
        self.blanks();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.blanks();
        }
        match self.peek() {
            None => Ok(false),
            Some(b'(') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(ValuesError::NotLiteral(self.at)),
        }
    }

    /// The next value of the row, and whether another follows.
    ///
    /// # Errors
    /// When it is no literal.
    #[inline]
    pub fn next_value(&mut self) -> Result<(Literal<'t>, bool), ValuesError> {
        self.blanks();
        let literal = self.literal()?;
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok((literal, true))
            }
            Some(b')') => {
                self.at += 1;
                Ok((literal, false))
            }
            Some(_) | None => Err(ValuesError::NotLiteral(self.at)),
        }
    }

    fn literal(&mut self) -> Result<Literal<'t>, ValuesError> {
        let start = self.at;
        match self.peek().ok_or(ValuesError::Malformed(start))? {
            quote @ (b'\'' | b'"') => self.quoted(quote, false),
            b'0'..=b'9' | b'-' | b'+' | b'.' => self.number(),
            _ => self.word(),
        }
    }

    fn quoted(&mut self, quote: u8, is_binary: bool) -> Result<Literal<'t>, ValuesError> {
        if quote == b'"' && self.quoting.ansi_quotes {
            return Err(ValuesError::NotLiteral(self.at));
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let found = if self.quoting.escapes(quote) {
                memchr::memchr2(quote, b'\\', rest)
            } else {
                memchr::memchr(quote, rest)
            };
            let end = at + found.ok_or(ValuesError::Malformed(start))?;
            if self.text.get(end) != Some(&quote) || self.text.get(end + 1) == Some(&quote) {
                at = end + 2;
                continue;
            }
            self.at = end + 1;
            let raw = self.text.get(start..end).unwrap_or_default();
            return Ok(Literal::Text { raw, quote, is_binary });
        }
    }

    fn number(&mut self) -> Result<Literal<'t>, ValuesError> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        if let [b'0', b'x', digits @ ..] = rest {
            let length = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            self.at += 2 + length;
            return Ok(Literal::Hex(digits.get(..length).unwrap_or_default()));
        }
        let is_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(is_number).count();
        let number = rest.get(..length).unwrap_or_default();
        self.at += length;
        // A sign within is arithmetic, unless it is an exponent's.
        let mut before = b'e';
        for byte in number {
            if matches!(byte, b'-' | b'+') && !matches!(before, b'e' | b'E') {
                return Err(ValuesError::NotLiteral(start));
            }
            before = *byte;
        }
        if self.peek().is_some_and(is_word) || !number.iter().any(u8::is_ascii_digit) {
            return Err(ValuesError::NotLiteral(start));
        }
        Ok(Literal::Number(number))
    }

    fn word(&mut self) -> Result<Literal<'t>, ValuesError> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        let word = rest.get(..length).unwrap_or_default();
        self.at += length;
        let digits = |this: &mut Self, is_digit: fn(&u8) -> bool| match this.quoted(b'\'', false)? {
            Literal::Text { raw, .. } if raw.iter().all(is_digit) => Ok(raw),
            Literal::Null
            | Literal::Number(_)
            | Literal::Text { .. }
            | Literal::Hex(_)
            | Literal::Bits(_) => Err(ValuesError::NotLiteral(start)),
        };
        match (word, self.peek()) {
            (b"NULL" | b"null", _) => Ok(Literal::Null),
            (b"x" | b"X", Some(b'\'')) => digits(self, u8::is_ascii_hexdigit).map(Literal::Hex),
            (b"b" | b"B", Some(b'\'')) => digits(self, |byte| matches!(byte, b'0' | b'1')).map(Literal::Bits),
            (b"_binary", _) => {
                self.blanks();
                match self.peek() {
                    Some(quote @ (b'\'' | b'"')) => self.quoted(quote, true),
                    Some(_) | None => Err(ValuesError::NotLiteral(start)),
                }
            }
            _ => Err(ValuesError::NotLiteral(start)),
        }
    }
}

/// The bytes that text between quotes means.
#[must_use]
pub fn unescaped(raw: &[u8], quote: u8, quoting: Quoting) -> Cow<'_, [u8]> {
    let escapes = quoting.escapes(quote);
    let is_special = |byte: &u8| *byte == quote || (escapes && *byte == b'\\');
    if !raw.iter().any(is_special) {
        return Cow::Borrowed(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        if byte == quote {
            // Doubled: the second one is passed.
            rest.next();
            bytes.push(quote);
        } else if escapes && byte == b'\\' {
            match rest.next() {
                Some(b'0') => bytes.push(0),
                Some(b'b') => bytes.push(8),
                Some(b'n') => bytes.push(b'\n'),
                Some(b'r') => bytes.push(b'\r'),
                Some(b't') => bytes.push(b'\t'),
                Some(b'Z') => bytes.push(26),
                // Patterns keep their backslash.
                Some(kept @ (b'%' | b'_')) => bytes.extend([b'\\', kept]),
                Some(other) => bytes.push(other),
                None => {}
            }
        } else {
            bytes.push(byte);
        }
    }
    Cow::Owned(bytes)
}

/// Writes bytes as a field of `LOAD DATA`: tabs between fields, newlines between rows, backslash escapes.
pub fn write_field(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\0"),
            other => out.push(*other),
        }
    }
}

/// Writes text between quotes as a field: what needs no change is copied in pieces.
pub fn write_text(raw: &[u8], quote: u8, quoting: Quoting, out: &mut Vec<u8>) {
    if !quoting.escapes(quote) {
        write_field(&unescaped(raw, quote, quoting), out);
        return;
    }
    let mut rest = raw;
    loop {
        // Escapes mean the same to LOAD DATA, but for those that keep their backslash and `\N`.
        let special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r' | 0) || *byte == quote;
        let Some(at) = rest.iter().position(special) else {
            out.extend_from_slice(rest);
            return;
        };
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        let mut passed = at + 1;
        match rest.get(at..).unwrap_or_default() {
            [b'\\', next, ..] => {
                passed += 1;
                match next {
                    b'0' | b'b' | b'n' | b'r' | b't' | b'Z' | b'\\' => out.extend([b'\\', *next]),
                    b'%' | b'_' => out.extend([b'\\', b'\\', *next]),
                    b'\t' | b'\n' | b'\r' | 0 => write_field(&[*next], out),
                    other => out.push(*other),
                }
            }
            [first, ..] if *first == quote => {
                passed += 1;
                out.push(quote);
            }
            [first, ..] => write_field(&[*first], out),
            [] => {}
        }
        rest = rest.get(passed..).unwrap_or_default();
    }
}

/// Hexadecimal digits as bytes; an odd number of them has a zero in front.
#[must_use]
pub fn from_hex(digits: &[u8]) -> Vec<u8> {
    let value = |digit: &u8| u8::try_from(char::from(*digit).to_digit(16).unwrap_or(0)).unwrap_or(0);
    let (first, rest) = if digits.len() % 2 == 1 { digits.split_at(1) } else { digits.split_at(0) };
    let first = first.iter().map(value);
    first
        .chain(rest.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | value(digit))))
        .collect()
}

/// Binary digits as bytes, filled with zeros in front.
#[must_use]
pub fn from_bits(digits: &[u8]) -> Vec<u8> {
    digits
        .rchunks(8)
        .rev()
        .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit == b'1')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Result<Vec<Vec<Literal<'_>>>, ValuesError> {
        let mut values = Values::new(text.as_bytes(), 0, Quoting::default());
        let mut rows = Vec::new();
        while values.next_row()? {
            let mut row = Vec::new();
            loop {
                let (literal, more) = values.next_value()?;
                row.push(literal);
                if !more {
                    break;
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn heads_are_read() {
        let head = InsertHead::parse(b"INSERT INTO `d`.`t` (`a`, b) VALUES\n(1,2)").unwrap();
        assert_eq!(head.columns, ["a", "b"]);
        assert_eq!(head.rows_at, 35);
        assert!(InsertHead::parse(b"INSERT IGNORE INTO t VALUES (1)").unwrap().is_tolerant);
        assert!(InsertHead::parse(b"REPLACE INTO t VALUES (1)").unwrap().is_tolerant);
        assert!(InsertHead::parse(b"INSERT INTO t () VALUES ()").unwrap().columns.is_empty());
        assert_eq!(InsertHead::parse(b"INSERT INTO t SELECT 1"), None);
        assert_eq!(InsertHead::parse(b"INSERT INTO t SET a=1"), None);
        assert_eq!(InsertHead::parse(b"INSERT INTO t (a"), None);
    }

    #[test]
    fn literals_are_read_and_others_refused() {
        let text =
            |raw: &'static str, is_binary| Literal::Text { raw: raw.as_bytes(), quote: b'\'', is_binary };
        let rows = all("(1,'a;b\\'',NULL, -1.5e-7),\n(0xFF, _binary 'x''', b'101', x'0a')").unwrap();
        assert_eq!(
            rows,
            [
                vec![
                    Literal::Number(b"1"),
                    text("a;b\\'", false),
                    Literal::Null,
                    Literal::Number(b"-1.5e-7")
                ],
                vec![Literal::Hex(b"FF"), text("x''", true), Literal::Bits(b"101"), Literal::Hex(b"0a")],
            ]
        );
        for other in [
            "(now())",
            "(1+1)",
            "('a' 'b')",
            "(DEFAULT)",
            "(1) ON DUPLICATE KEY UPDATE a=1",
            "(1",
            "('a",
            "(@a)",
            "(-)",
            "()",
        ] {
            assert!(all(other).is_err(), "{other}");
        }
    }

    #[test]
    fn digits_are_bytes() {
        assert_eq!(from_hex(b"0aFf"), [10, 255]);
        assert_eq!(from_hex(b"abc"), [0x0a, 0xbc]);
        assert_eq!(from_bits(b"1"), [1]);
        assert_eq!(from_bits(b"100000001"), [1, 1]);
    }

    /// As LOAD DATA reads a field.
    fn loaded(field: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = field.iter().copied();
        while let Some(byte) = rest.next() {
            assert!(!matches!(byte, b'\t' | b'\n'), "{field:?}");
            bytes.push(match byte {
                b'\\' => match rest.next().unwrap() {
                    b'0' => 0,
                    b'b' => 8,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'Z' => 26,
                    other => other,
                },
                other => other,
            });
        }
        bytes
    }

    proptest! {
        #[test]
        fn fields_are_what_the_text_means(raw in proptest::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'\''), Just(b'%'), Just(b'N'), Just(b'\n'), Just(b'\t'), Just(0), any::<u8>()], 0..40,
        ), no_escapes: bool) {
            // Made so that it is text between quotes: quotes doubled, no backslash at the end.
            let mut text = Vec::new();
            for byte in raw {
                text.push(byte);
                if byte == b'\'' || (byte == b'\\' && !no_escapes) {
                    text.push(if byte == b'\'' { b'\'' } else { b'x' });
                }
            }
            let quoting = Quoting { no_backslash_escapes: no_escapes, ansi_quotes: false };
            let mut field = Vec::new();
            write_text(&text, b'\'', quoting, &mut field);
            prop_assert_eq!(loaded(&field), unescaped(&text, b'\'', quoting).into_owned());
            let mut again = Vec::new();
            write_field(&unescaped(&text, b'\'', quoting), &mut again);
            prop_assert_eq!(loaded(&again), loaded(&field));
        }
    }
}
