//! The words at the head of a statement: executable comments opened up, others passed, quoted names unquoted.
//!
//! It is for heads, not for megabytes: a word is a value of its own.

use std::borrow::Cow;

/// A token of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word<'t> {
    /// A keyword, a name without quotes, or a number.
    Bare(&'t [u8]),
    /// Text between quotes, as it is meant.
    Quoted {
        /// The quote.
        quote: u8,
        /// What is between, without doubled quotes; escapes are left as they are.
        text: Cow<'t, [u8]>,
    },
    /// Any other byte.
    Symbol(u8),
}

impl Word<'_> {
    /// Whether it is this keyword.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Bare(text) if text.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// It as a name, if it can be one.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Bare(text) => std::str::from_utf8(text).ok().map(str::to_owned),
            Self::Quoted { text, .. } => std::str::from_utf8(text).ok().map(str::to_owned),
            Self::Symbol(_) => None,
        }
    }
}

/// Words of a text, in order.
#[derive(Clone, Debug)]
pub(crate) struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Words<'t> {
    pub(crate) const fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Where the next word is looked for.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes blanks and comments; the marks of executable ones are comments too.
    fn pass(&mut self) {
        loop {
            let rest = self.rest();
            let length = match rest {
                [byte, ..] if byte.is_ascii_whitespace() => 1,
                [b'*', b'/', ..] => 2,
                [b'/', b'*', b'M', b'!', digits @ ..] => 4 + version_digits(digits),
                [b'/', b'*', b'!', digits @ ..] => 3 + version_digits(digits),
                [b'/', b'*', ..] => memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2),
                [b'#', ..] => line_length(rest),
                [b'-', b'-', third, ..] if third.is_ascii_whitespace() => line_length(rest),
                _ => return,
            };
            self.at += length;
        }
    }
}

fn line_length(rest: &[u8]) -> usize {
    memchr::memchr(b'\n', rest).unwrap_or(rest.len())
}

fn version_digits(text: &[u8]) -> usize {
    text.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count()
}

pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        self.pass();
        let rest = self.rest();
        let first = *rest.first()?;
        if matches!(first, b'`' | b'\'' | b'"') {
            let (text, length) = quoted(rest, first);
            self.at += length;
            return Some(Word::Quoted { quote: first, text });
        }
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        if length == 0 {
            self.at += 1;
            return Some(Word::Symbol(first));
        }
        self.at += length;
        Some(Word::Bare(rest.get(..length).unwrap_or_default()))
    }
}

/// What is between quotes, and the length with them. Unclosed text reaches to the end.
fn quoted(rest: &[u8], quote: u8) -> (Cow<'_, [u8]>, usize) {
    let mut at = 1;
    let mut has_doubled = false;
    loop {
        let Some(found) = rest.get(at..).and_then(|rest| {
            if quote == b'`' { memchr::memchr(quote, rest) } else { memchr::memchr2(quote, b'\\', rest) }
        }) else {
            return (Cow::Borrowed(rest.get(1..).unwrap_or_default()), rest.len());
        };
        let end = at + found;
        if rest.get(end) == Some(&b'\\') {
            at = end + 2;
        } else if rest.get(end + 1) == Some(&quote) {
            has_doubled = true;
            at = end + 2;
        } else {
            let inner = rest.get(1..end).unwrap_or_default();
            if !has_doubled {
                return (Cow::Borrowed(inner), end + 1);
            }
            let mut text = Vec::with_capacity(inner.len());
            let mut was_quote = false;
            for byte in inner {
                let is_second = was_quote && *byte == quote;
                was_quote = *byte == quote && !is_second;
                if !is_second {
                    text.push(*byte);
                }
            }
            return (Cow::Owned(text), end + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_through_comments() {
        let words: Vec<String> = Words::new(
            b"/*!50003 CREATE*/ /*!50017 DEFINER=`ro``ot`@`%`*/ /*M!100000 trigger */ -- x\n /* y */ `a`.b, 'it''s'",
        )
        .map(|word| match word {
            Word::Bare(text) => String::from_utf8_lossy(text).into_owned(),
            Word::Quoted { quote, text } => format!("{}{}", char::from(quote), String::from_utf8_lossy(&text)),
            Word::Symbol(byte) => char::from(byte).to_string(),
        })
        .collect();
        assert_eq!(
            words,
            ["CREATE", "DEFINER", "=", "`ro`ot", "@", "`%", "trigger", "`a", ".", "b", ",", "'it's"]
        );
    }

    #[test]
    fn unclosed_text_ends_the_words() {
        for text in ["`a", "'a\\", "'a\\'", "/* a", "-- a", "#", "/*!5", "\"", "a'"] {
            assert!(Words::new(text.as_bytes()).count() <= 2, "{text}");
        }
    }
}
