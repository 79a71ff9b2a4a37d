//! Where a statement ends: the state that quotes and comments make, kept over refills of the buffer.
//!
//! As the `mysql` client reads: executable comments are code, delimiters in them count.

/// How quotes are read, which `sql_mode` decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Quoting {
    /// `NO_BACKSLASH_ESCAPES`: a backslash is a character like others.
    pub no_backslash_escapes: bool,
    /// `ANSI_QUOTES`: double quotes hold names.
    pub ansi_quotes: bool,
}

impl Quoting {
    /// Whether a backslash escapes between these quotes.
    pub(crate) const fn escapes(self, quote: u8) -> bool {
        !self.no_backslash_escapes && (quote == b'\'' || (quote == b'"' && !self.ansi_quotes))
    }
}

/// What ends statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delimiter {
    text: Vec<u8>,
    first: u8,
    /// Bytes of code that may mean something else than themselves.
    special: [bool; 256],
}

/// Longest delimiter the client takes.
const DELIMITER_BYTES_MAX: usize = 15;

impl Default for Delimiter {
    fn default() -> Self {
        Self { text: vec![b';'], first: b';', special: special(b';') }
    }
}

fn special(first: u8) -> [bool; 256] {
    let mut table = [false; 256];
    for byte in [b'\'', b'"', b'`', b'-', b'#', b'/', first] {
        if let Some(entry) = table.get_mut(usize::from(byte)) {
            *entry = true;
        }
    }
    table
}

impl Delimiter {
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        let text = text.get(..text.len().min(DELIMITER_BYTES_MAX))?;
        let first = *text.first()?;
        Some(Self { text: text.to_vec(), first, special: special(first) })
    }

    pub(crate) const fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_semicolon(&self) -> bool {
        self.text == b";"
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Code,
    Quote(u8),
    Line,
    Block,
}

/// Looked at together by [`sprint`]: fits the fastest memory.
const SPRINT_BYTES: usize = 32 << 10;
/// Where [`sprint`] came no further than this, what is next is read step by step for so many bytes.
const SPRINT_BYTES_MIN: usize = 4096;
const STROLL_BYTES: usize = 16 << 10;

/// How far a statement was searched for its end, and inside what that is.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    at: usize,
    inside: Inside,
    /// Sprinting is not worth a try before this.
    stroll_until: usize,
}

impl Scanner {
    /// The statement's length without its delimiter; none: more bytes are needed. Called again, `bytes` are the
    /// same ones and more.
    pub(crate) fn find(
        &mut self,
        bytes: &[u8],
        delimiter: &Delimiter,
        quoting: Quoting,
        is_last: bool,
    ) -> Option<usize> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return None;
            }
            if self.at >= self.stroll_until && delimiter.is_semicolon() {
                match self.sprint(rest) {
                    Sprint::End => return Some(self.at),
                    Sprint::On => continue,
                    Sprint::Stroll => self.stroll_until = self.at + STROLL_BYTES,
                }
            }
            match self.inside {
                Inside::Code => {
                    let special = |byte: &u8| delimiter.special.get(usize::from(*byte)) == Some(&true);
                    let Some(found) = rest.iter().position(special) else {
                        self.at = bytes.len();
                        return None;
                    };
                    self.at += found;
                    let rest = rest.get(found..).unwrap_or_default();
                    match code(rest, delimiter, is_last) {
                        Code::End => return Some(self.at),
                        Code::More => return None,
                        Code::Enter { inside, length } => {
                            self.inside = inside;
                            self.at += length;
                        }
                    }
                }
                Inside::Quote(quote) => {
                    if !self.leave_quote(rest, quote, quoting) {
                        return None;
                    }
                }
                Inside::Line => match memchr::memchr(b'\n', rest) {
                    Some(end) => self.leave(end + 1),
                    None => {
                        self.at = bytes.len();
                        return None;
                    }
                },
                Inside::Block => match memchr::memmem::find(rest, b"*/") {
                    Some(end) => self.leave(end + 2),
                    // The last byte may be half of the end.
                    None => {
                        self.at = bytes.len().saturating_sub(1).max(self.at);
                        return None;
                    }
                },
            }
        }
    }

    /// Passes bytes among which nothing but a single quote and a semicolon can mean anything, without a step for each
    /// value: whether a semicolon is code is told by the number of quotes before it.
    fn sprint(&mut self, rest: &[u8]) -> Sprint {
        let mut is_quoted = match self.inside {
            Inside::Code => false,
            Inside::Quote(b'\'') => true,
            Inside::Quote(_) | Inside::Line | Inside::Block => return Sprint::Stroll,
        };
        let plain = plain(rest.get(..SPRINT_BYTES).unwrap_or(rest));
        if plain.len() < SPRINT_BYTES_MIN {
            return Sprint::Stroll;
        }
        let mut from = 0;
        let is_odd =
            |part: Option<&[u8]>| memchr::memchr_iter(b'\'', part.unwrap_or_default()).count() % 2 == 1;
        for semicolon in memchr::memchr_iter(b';', plain) {
            is_quoted ^= is_odd(plain.get(from..semicolon));
            from = semicolon;
            if !is_quoted {
                self.leave(semicolon);
                return Sprint::End;
            }
        }
        is_quoted ^= is_odd(plain.get(from..));
        self.inside = if is_quoted { Inside::Quote(b'\'') } else { Inside::Code };
        self.at += plain.len();
        Sprint::On
    }

    fn leave(&mut self, length: usize) {
        self.inside = Inside::Code;
        self.at += length;
    }

    /// Goes to the end of quoted text; `false` when that is not there yet.
    fn leave_quote(&mut self, rest: &[u8], quote: u8, quoting: Quoting) -> bool {
        if !quoting.escapes(quote) {
            let end = memchr::memchr(quote, rest);
            match end {
                Some(end) => self.leave(end + 1),
                None => self.at += rest.len(),
            }
            return end.is_some();
        }
        let mut from = 0;
        while let Some(found) = rest.get(from..).and_then(|rest| memchr::memchr2(quote, b'\\', rest)) {
            if rest.get(from + found) == Some(&quote) {
                self.leave(from + found + 1);
                return true;
            }
            // What is escaped may not be there yet.
            if from + found + 1 >= rest.len() {
                self.at += from + found;
                return false;
            }
            from += found + 2;
        }
        self.at += rest.len().max(from);
        false
    }
}

enum Sprint {
    End,
    On,
    Stroll,
}

/// The bytes before the first that may begin a comment or another kind of quotes, or escape something.
fn plain(bytes: &[u8]) -> &[u8] {
    let until = |bytes: &'_ [u8], end: Option<usize>| end.map_or(bytes.len(), |end| end.min(bytes.len()));
    let bytes = bytes.get(..until(bytes, memchr::memchr3(b'\\', b'"', b'`', bytes))).unwrap_or_default();
    let bytes = bytes.get(..until(bytes, memchr::memchr2(b'#', b'/', bytes))).unwrap_or_default();
    let bytes = bytes.get(..until(bytes, memchr::memmem::find(bytes, b"--"))).unwrap_or_default();
    // The next byte may make a comment of it.
    bytes.strip_suffix(b"-").unwrap_or(bytes)
}

enum Code {
    End,
    More,
    Enter { inside: Inside, length: usize },
}

/// What a special byte of code begins.
fn code(rest: &[u8], delimiter: &Delimiter, is_last: bool) -> Code {
    if rest.first() == Some(&delimiter.first) {
        if rest.starts_with(&delimiter.text) {
            return Code::End;
        }
        if !is_last && delimiter.text.starts_with(rest) {
            return Code::More;
        }
    }
    let enter = |inside, length| Code::Enter { inside, length };
    match rest {
        [quote @ (b'\'' | b'"' | b'`'), ..] => enter(Inside::Quote(*quote), 1),
        [b'#', ..] => enter(Inside::Line, 1),
        _ if !is_last && rest.len() < 4 && matches!(rest.first(), Some(b'-' | b'/')) => Code::More,
        [b'-', b'-', third, ..] if third.is_ascii_whitespace() || third.is_ascii_control() => {
            enter(Inside::Line, 2)
        }
        [b'-', b'-'] => enter(Inside::Line, 2),
        [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => enter(Inside::Code, 3),
        [b'/', b'*', ..] => enter(Inside::Block, 2),
        _ => enter(Inside::Code, 1),
    }
}

/// What comes before a statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lead<'b> {
    /// A statement begins after so many bytes.
    Statement(usize),
    /// So many bytes of nothing.
    Blank(usize),
    /// So many bytes of comment.
    Comment(usize),
    /// A `DELIMITER` line.
    Delimiter { text: &'b [u8], length: usize },
    /// More bytes are needed to tell.
    More,
    /// Nothing comes any more.
    End,
}

/// Enough to tell what begins.
const LOOK_BYTES: usize = 16;
/// What the `mysql` client calls its command, in any case of letters.
const DELIMITER_WORD: &[u8] = b"DELIMITER";

pub(crate) fn lead(bytes: &[u8], is_last: bool) -> Lead<'_> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xEF | 0xBB | 0xBF | 0);
    let blanks = bytes.iter().take_while(|byte| is_blank(byte)).count();
    if blanks > 0 {
        return Lead::Blank(blanks);
    }
    if !is_last && bytes.len() < LOOK_BYTES {
        return Lead::More;
    }
    if bytes.is_empty() {
        return Lead::End;
    }
    let to_line_end = || match memchr::memchr(b'\n', bytes) {
        Some(end) => Some(end + 1),
        None => is_last.then_some(bytes.len()),
    };
    match bytes {
        [b'#', ..] | [b'-', b'-'] => to_line_end().map_or(Lead::More, Lead::Comment),
        [b'-', b'-', third, ..] if third.is_ascii_whitespace() || third.is_ascii_control() => {
            to_line_end().map_or(Lead::More, Lead::Comment)
        }
        [b'/', b'*', rest @ ..] => {
            let is_sandbox = rest.starts_with(b"!999999\\-") || rest.starts_with(b"M!999999\\-");
            if (rest.starts_with(b"!") || rest.starts_with(b"M!")) && !is_sandbox {
                return Lead::Statement(0);
            }
            match memchr::memmem::find(rest, b"*/") {
                Some(end) => Lead::Comment(end + 4),
                // A statement that does not end says so.
                None if is_last => Lead::Statement(0),
                None => Lead::More,
            }
        }
        _ => {
            let word = bytes.get(..DELIMITER_WORD.len()).unwrap_or_default();
            let is_delimiter = word.eq_ignore_ascii_case(DELIMITER_WORD)
                && bytes.get(DELIMITER_WORD.len()).is_some_and(|byte| matches!(byte, b' ' | b'\t'));
            if !is_delimiter {
                return Lead::Statement(0);
            }
            let Some(length) = to_line_end() else { return Lead::More };
            let text = bytes.get(DELIMITER_WORD.len()..length).unwrap_or_default().trim_ascii();
            Lead::Delimiter { text, length }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text as in rows, mostly long enough to be sprinted through, and what may stop a sprint.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9(),; \n]{0,40}".prop_map(|text| format!("'{text}'").repeat(SPRINT_BYTES_MIN / 20)),
            "[a-z0-9(),;'-]{0,40}".prop_map(|text| format!("{text}x").repeat(SPRINT_BYTES_MIN / 20)),
            "[a-z;'\"`\\\\#/*!\n -]{0,6}",
            Just("--".to_owned()),
        ]
    }

    /// Where statements end, by a scanner that is given the bytes in pieces.
    fn ends(text: &[u8], piece: usize, quoting: Quoting, stroll_until: usize) -> Vec<usize> {
        let (mut from, mut known, mut found) = (0, piece, Vec::new());
        let mut scanner = Scanner { stroll_until, ..Scanner::default() };
        loop {
            let is_last = known >= text.len();
            let bytes = &text[from..known.min(text.len())];
            match scanner.find(bytes, &Delimiter::default(), quoting, is_last) {
                Some(length) => {
                    from += length + 1;
                    found.push(from);
                    scanner = Scanner { stroll_until, ..Scanner::default() };
                }
                None if is_last => return found,
                None => known += piece,
            }
        }
    }

    proptest! {
        #[test]
        fn sprinting_ends_statements_where_walking_does(
            parts in proptest::collection::vec(part(), 0..12), piece in 1_usize..50_000,
            no_backslash_escapes in any::<bool>(), ansi_quotes in any::<bool>(),
        ) {
            let text = parts.concat();
            let quoting = Quoting { no_backslash_escapes, ansi_quotes };
            let walked = ends(text.as_bytes(), text.len().max(1), quoting, usize::MAX);
            prop_assert_eq!(ends(text.as_bytes(), piece, quoting, 0), walked);
        }
    }
}
