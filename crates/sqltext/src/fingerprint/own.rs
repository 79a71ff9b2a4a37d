//! Fingerprints in one pass over the statement, which knows where strings, comments and quoted names end. What the
//! last rules need is rare, so they run only on statements with their words.

use memchr::memchr;

use super::{ADMIN, MYSQLDUMP, continues_number, finish, is_toolkit_mark, is_word};
use crate::scan::{block_end, line_end, quoted_end};

pub(super) fn fingerprint(statement: &[u8], out: &mut Vec<u8>, spare: &mut Vec<u8>) {
    out.clear();
    if statement.starts_with(MYSQLDUMP) {
        out.extend_from_slice(b"mysqldump");
        return;
    }
    if statement.starts_with(ADMIN) {
        out.extend_from_slice(statement);
        return;
    }
    if let Some(b'c' | b'C' | b' ' | b'\n' | b'\t') = statement.first()
        && call(statement, out)
    {
        return;
    }
    let statement = statement.strip_suffix(b"\n").unwrap_or(statement);
    let mut pass = Pass::new(statement, out);
    if pass.run() == End::Signed {
        out.clear();
        out.extend_from_slice(b"percona-toolkit");
        return;
    }
    let seen = pass.seen;
    if is_use(out) {
        out.clear();
        out.extend_from_slice(b"use ?");
        return;
    }
    if seen.list {
        finish::lists(out, spare);
    }
    if seen.union {
        finish::unions(out, spare, true);
    }
    if seen.limit {
        finish::limit(out);
    }
    if seen.ascending {
        finish::ascending(out, true);
    }
}

/// Writes `call name` for `call name(...)`. With a space before the parenthesis it is a statement like others.
fn call(statement: &[u8], out: &mut Vec<u8>) -> bool {
    let trimmed = statement.trim_ascii_start();
    let Some((verb, rest)) = trimmed.split_at_checked(4) else { return false };
    let name = rest.trim_ascii_start();
    if !verb.eq_ignore_ascii_case(b"call") || name.len() == rest.len() {
        return false;
    }
    let length = name.iter().take_while(|byte| **byte != b'(' && !byte.is_ascii_whitespace()).count();
    if length == 0 || name.get(length) != Some(&b'(') {
        return false;
    }
    out.extend_from_slice(b"call ");
    out.extend_from_slice(name.get(..length).unwrap_or_default());
    out.make_ascii_lowercase();
    true
}

/// Whether a fingerprint is `use name` and nothing else.
fn is_use(out: &[u8]) -> bool {
    let Some(name) = out.strip_prefix(b"use ") else { return false };
    let name = name.strip_suffix(b" ").unwrap_or(name);
    match name {
        [] => false,
        [b'`', inner @ ..] => memchr(b'`', inner) == inner.len().checked_sub(1),
        _ => memchr(b' ', name).is_none(),
    }
}

/// How a pass ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Read,
    /// The statement is signed by Percona Toolkit.
    Signed,
}

/// Words of the last rules that a statement has.
#[derive(Clone, Copy, Default)]
struct Seen {
    list: bool,
    union: bool,
    limit: bool,
    ascending: bool,
}

/// How far into an insert of rows the pass is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Insert {
    /// Before the first word.
    Start,
    /// Behind `insert` or `replace`.
    Verb,
    /// Behind `insert ignore`.
    Ignore,
    /// Behind `into`: `values` is awaited.
    Into,
    /// Within the parentheses of the first row, so deep.
    Row(u32),
    /// It is none, or has one row.
    No,
}

struct Pass<'a> {
    text: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    /// The byte last copied, before it became lower case; 0 behind a space or a question mark.
    copied: u8,
    insert: Insert,
    in_name: bool,
    seen: Seen,
}

impl<'a> Pass<'a> {
    fn new(text: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        out.reserve(text.len());
        Self { text, at: 0, out, copied: 0, insert: Insert::Start, in_name: false, seen: Seen::default() }
    }

    fn run(&mut self) -> End {
        while let Some(byte) = self.text.get(self.at).copied() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
                b' ' | b'\n' | b'\t' | b'\r' | b'\x0c' => self.space(),
                b'`' => {
                    self.in_name = !self.in_name;
                    self.copy(byte);
                }
                b'\'' | b'"' if !self.in_name => self.string(byte),
                b'#' if !self.in_name => self.at = line_end(self.text, self.at),
                b'-' if !self.in_name && self.is_line_comment() => self.at = line_end(self.text, self.at),
                b'/' if !self.in_name && self.is_block_comment() => {
                    if self.block_comment() == End::Signed {
                        return End::Signed;
                    }
                }
                b'0'..=b'9' | b'+' | b'-' => self.number(),
                b'?' => {
                    self.at += 1;
                    self.placeholder();
                }
                b'(' | b')' => {
                    if self.parenthesis(byte) {
                        return End::Read;
                    }
                }
                _ => self.copy(byte),
            }
        }
        End::Read
    }

    fn copy(&mut self, byte: u8) {
        self.at += 1;
        self.out.push(byte);
        self.copied = byte;
    }

    fn space(&mut self) {
        self.at += 1;
        if !matches!(self.out.last(), None | Some(b' ')) {
            self.out.push(b' ');
        }
        self.copied = 0;
    }

    /// A question mark, which takes the place of a prefix such as the `x` of `x'4D'` too.
    fn placeholder(&mut self) {
        if matches!(self.copied, b'x' | b'b' | b'.') {
            self.out.pop();
        }
        self.out.push(b'?');
        self.copied = 0;
    }

    fn string(&mut self, quote: u8) {
        // What is cut off within a string is a string.
        self.at = quoted_end(self.text, self.at, quote).unwrap_or(self.text.len());
        self.placeholder();
    }

    fn number(&mut self) {
        self.at += 1;
        while let Some(byte) = self.text.get(self.at).copied() {
            if !continues_number(byte) || (byte == b'-' && self.is_line_comment()) || self.is_false(byte) {
                break;
            }
            self.at += 1;
        }
        self.placeholder();
    }

    /// Whether the word `false` begins here: its first letters would go on a number.
    fn is_false(&self, byte: u8) -> bool {
        byte == b'f'
            && self.at.checked_sub(1).and_then(|at| self.text.get(at)).is_some_and(|before| !is_word(*before))
            && self.text.get(self.at..self.at + 5).is_some_and(|word| word.eq_ignore_ascii_case(b"false"))
            && !self.text.get(self.at + 5).is_some_and(|byte| is_word(*byte))
    }

    fn is_line_comment(&self) -> bool {
        match self.text.get(self.at + 1..) {
            Some([b'-']) => true,
            Some([b'-', next, ..]) => *next <= b' ' || *next == 0x7f,
            _ => false,
        }
    }

    fn is_block_comment(&self) -> bool {
        self.text.get(self.at + 1) == Some(&b'*') && self.text.get(self.at + 2) != Some(&b'!')
    }

    fn block_comment(&mut self) -> End {
        if is_toolkit_mark(self.text.get(self.at + 2..).unwrap_or_default()) {
            return End::Signed;
        }
        self.at = block_end(self.text, self.at).unwrap_or(self.text.len());
        // A comment parts words as a space does, though elsewhere it leaves nothing behind.
        let parts = self.out.last().is_some_and(|byte| is_word(*byte) || *byte == b'?')
            && self.text.get(self.at).is_some_and(|byte| is_word(*byte));
        if parts {
            self.out.push(b' ');
            self.copied = 0;
        }
        End::Read
    }

    /// Copies letters, or a question mark for `true`, `false` and `null`, and notes the words of other rules.
    fn word(&mut self) {
        let from = self.out.len();
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_').count();
        let word = rest.get(..length).unwrap_or_default();
        self.at += length;
        self.out.extend(word.iter().map(u8::to_ascii_lowercase));
        let last = word.last().copied().unwrap_or_default();
        let joins_before = !matches!(self.copied, 0) && is_word(self.copied)
            || start.checked_sub(1).and_then(|at| self.text.get(at)).is_some_and(u8::is_ascii_digit);
        self.copied = last;
        if self.out.len() - from <= 7 {
            self.note(from, joins_before);
        } else if matches!(self.insert, Insert::Start | Insert::Verb | Insert::Ignore) {
            self.insert = Insert::No;
        }
    }

    fn note(&mut self, from: usize, joins_before: bool) {
        let next = self.text.get(self.at).copied().unwrap_or_default();
        let word = self.out.get(from..).unwrap_or_default();
        let state = self.insert;
        match word {
            b"true" | b"false" if !joins_before && !next.is_ascii_digit() => {
                self.out.truncate(from);
                // The prefix that may stand before it was copied before.
                self.copied = self.out.last().copied().filter(|byte| *byte == b'.').unwrap_or_default();
                self.placeholder();
            }
            // A digit behind it, or before, has become a question mark by the time of this rule.
            b"null" if !self.out.get(from.wrapping_sub(1)).is_some_and(|byte| is_word(*byte)) => {
                self.out.truncate(from);
                self.out.push(b'?');
                self.copied = 0;
            }
            b"in" | b"value" => self.seen.list = true,
            b"values" => {
                self.seen.list = true;
                if state == Insert::Into && self.opens_row() {
                    self.insert = Insert::Row(0);
                }
            }
            // Only as the very first word, as the peer has it: ids agree below a leading comment too.
            b"insert" | b"replace" if state == Insert::Start && self.at == word.len() => {
                self.insert = Insert::Verb;
            }
            b"ignore" if state == Insert::Verb => self.insert = Insert::Ignore,
            b"into" if matches!(state, Insert::Verb | Insert::Ignore) => self.insert = Insert::Into,
            b"union" => self.seen.union = true,
            b"limit" => self.seen.limit = true,
            b"asc" => self.seen.ascending = true,
            _ => {}
        }
        let is_other = self.insert == state && matches!(state, Insert::Start | Insert::Verb | Insert::Ignore);
        if is_other {
            self.insert = Insert::No;
        }
    }

    /// Whether a parenthesis follows.
    fn opens_row(&self) -> bool {
        self.text.get(self.at..).unwrap_or_default().trim_ascii_start().first() == Some(&b'(')
    }

    /// Follows the parentheses of an insert's first row. Whether that has ended, with others behind it.
    fn parenthesis(&mut self, byte: u8) -> bool {
        let Insert::Row(depth) = self.insert else {
            self.copy(byte);
            return false;
        };
        self.copy(byte);
        if byte == b'(' {
            self.insert = Insert::Row(depth.saturating_add(1));
        } else if depth > 1 {
            self.insert = Insert::Row(depth - 1);
        } else {
            self.insert = Insert::No;
            let rest = self.text.get(self.at..).unwrap_or_default().trim_ascii_start();
            return rest
                .strip_prefix(b",")
                .is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b'('));
        }
        false
    }
}
