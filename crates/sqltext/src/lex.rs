//! A tolerant lexer: it cuts any text into tokens and never fails.
//!
//! The tokens' texts joined are the input, byte for byte. It knows no grammar and no keywords.

use crate::scan::{self, Lead};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in backticks.
    QuotedIdent,
    /// A string in single or double quotes.
    String,
    /// A number, also hexadecimal such as `0x1F`.
    Number,
    /// One character of punctuation.
    Punct,
    /// A comment that nobody executes, without its newline.
    Comment,
    /// An optimizer hint, `/*+ ... */`.
    Hint,
    /// The opening (`/*!50003`, `/*M!100100`) or the closing (`*/`) of an executable comment; what is in between
    /// comes as tokens of its own.
    Executable,
    /// White space and control characters.
    Space,
}

/// One token of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text, as written.
    pub text: &'a str,
    /// Where it begins, in bytes.
    pub offset: usize,
}

impl Token<'_> {
    /// Whether it is this keyword, in any case.
    #[must_use]
    pub fn is_word(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this punctuation.
    #[must_use]
    pub fn is_punct(&self, punct: &str) -> bool {
        self.kind == TokenKind::Punct && self.text == punct
    }

    /// The name it is, quotes taken off; none when it can be no name.
    #[must_use]
    pub fn identifier(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word | TokenKind::QuotedIdent => Some(unquote(self.text)),
            TokenKind::String
            | TokenKind::Number
            | TokenKind::Punct
            | TokenKind::Comment
            | TokenKind::Hint
            | TokenKind::Executable
            | TokenKind::Space => None,
        }
    }

    /// Whether it means something to a server: neither space nor comment nor a marker of an executable comment.
    #[must_use]
    pub const fn is_significant(&self) -> bool {
        match self.kind {
            TokenKind::Word
            | TokenKind::QuotedIdent
            | TokenKind::String
            | TokenKind::Number
            | TokenKind::Punct => true,
            TokenKind::Comment | TokenKind::Hint | TokenKind::Executable | TokenKind::Space => false,
        }
    }
}

/// Cuts a text into tokens.
#[must_use]
pub const fn lex(text: &str) -> Lexer<'_> {
    Lexer { text, at: 0, executable_depth: 0 }
}

/// The iterator of [`lex`].
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    executable_depth: u32,
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        let first = *bytes.get(self.at)?;
        let (kind, end) = match scan::lead(bytes, self.at) {
            Lead::LineComment => (TokenKind::Comment, scan::line_end(bytes, self.at)),
            Lead::BlockComment => {
                let is_hint = bytes.get(self.at + 2) == Some(&b'+');
                let kind = if is_hint { TokenKind::Hint } else { TokenKind::Comment };
                (kind, scan::block_end(bytes, self.at).unwrap_or(bytes.len()))
            }
            Lead::Executable { length } => {
                self.executable_depth = self.executable_depth.saturating_add(1);
                (TokenKind::Executable, self.at + length)
            }
            Lead::Quoted(quote) => {
                let kind = if quote == b'`' { TokenKind::QuotedIdent } else { TokenKind::String };
                (kind, scan::quoted_end(bytes, self.at, quote).unwrap_or(bytes.len()))
            }
            Lead::Plain => self.plain(bytes, first),
        };
        let text = self.text.get(self.at..end)?;
        let token = Token { kind, text, offset: self.at };
        self.at = end;
        Some(token)
    }
}

impl Lexer<'_> {
    fn plain(&mut self, bytes: &[u8], first: u8) -> (TokenKind, usize) {
        let at = self.at;
        if is_space(first) {
            return (TokenKind::Space, run_end(bytes, at, is_space));
        }
        if first.is_ascii_digit() {
            return number(bytes, at);
        }
        if scan::is_word(first) {
            return (TokenKind::Word, run_end(bytes, at, scan::is_word));
        }
        if self.executable_depth > 0 && first == b'*' && bytes.get(at + 1) == Some(&b'/') {
            self.executable_depth -= 1;
            return (TokenKind::Executable, at + 2);
        }
        (TokenKind::Punct, at + 1)
    }
}

const fn is_space(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

fn run_end(bytes: &[u8], at: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len())
}

/// A number, or a name that begins with digits.
fn number(bytes: &[u8], at: usize) -> (TokenKind, usize) {
    let word_end = run_end(bytes, at, scan::is_word);
    let word = bytes.get(at..word_end).unwrap_or_default();
    let is_hex = matches!(word, [b'0', b'x', digits @ ..]
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit));
    if is_hex {
        return (TokenKind::Number, word_end);
    }
    let mut end = run_end(bytes, at, |byte| byte.is_ascii_digit());
    if bytes.get(end) == Some(&b'.') {
        end = run_end(bytes, end + 1, |byte| byte.is_ascii_digit());
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = run_end(bytes, end + 1 + sign, |byte| byte.is_ascii_digit());
        }
    }
    if end < word_end { (TokenKind::Word, word_end) } else { (TokenKind::Number, end) }
}

/// What a quoted name or string stands for, quotes taken off and escapes undone; other text as it is.
#[must_use]
pub fn unquote(text: &str) -> String {
    let mut letters = text.chars();
    let Some(quote @ ('`' | '\'' | '"')) = letters.next() else { return text.to_owned() };
    let mut value = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        if letter == quote {
            // Either the first of two, which stand for one, or the closing one.
            if letters.next() != Some(quote) {
                break;
            }
            value.push(quote);
        } else if letter == '\\' && quote != '`' {
            match letters.next() {
                Some('0') => value.push('\0'),
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some('b') => value.push('\u{8}'),
                Some('Z') => value.push('\u{1A}'),
                // Both keep their backslash outside of patterns, so that LIKE still sees it.
                Some(wildcard @ ('%' | '_')) => value.extend(['\\', wildcard]),
                Some(other) => value.push(other),
                None => {}
            }
        } else {
            value.push(letter);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenKind::{Comment, Executable, Hint, Number, Punct, QuotedIdent, Space, String, Word};
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
        lex(text).filter(|token| token.kind != Space).map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn texts_become_tokens() {
        let cases: &[(&str, &[(TokenKind, &str)])] = &[
            ("select `a``b`", &[(Word, "select"), (QuotedIdent, "`a``b`")]),
            (r#"'it''s' "a\"b" '\\'"#, &[(String, "'it''s'"), (String, r#""a\"b""#), (String, r"'\\'")]),
            ("a--1", &[(Word, "a"), (Punct, "-"), (Punct, "-"), (Number, "1")]),
            ("a-- 1\nb", &[(Word, "a"), (Comment, "-- 1"), (Word, "b")]),
            ("a # x", &[(Word, "a"), (Comment, "# x")]),
            ("/* x */ /*+ y */ --", &[(Comment, "/* x */"), (Hint, "/*+ y */"), (Comment, "--")]),
            ("/*!50003 a */", &[(Executable, "/*!50003"), (Word, "a"), (Executable, "*/")]),
            ("/*M!100100a*/", &[(Executable, "/*M!100100"), (Word, "a"), (Executable, "*/")]),
            ("/*! '*/' */", &[(Executable, "/*!"), (String, "'*/'"), (Executable, "*/")]),
            ("/*!999999\\- x */a", &[(Comment, "/*!999999\\- x */"), (Word, "a")]),
            ("2*/a", &[(Number, "2"), (Punct, "*"), (Punct, "/"), (Word, "a")]),
            (
                "1.5e-3 0x1F 1e5 2021_a 1.",
                &[(Number, "1.5e-3"), (Number, "0x1F"), (Number, "1e5"), (Word, "2021_a"), (Number, "1.")],
            ),
            ("größe$1", &[(Word, "größe$1")]),
            ("'open", &[(String, "'open")]),
            ("/* open", &[(Comment, "/* open")]),
            ("@@x", &[(Punct, "@"), (Punct, "@"), (Word, "x")]),
        ];
        for (text, expected) in cases {
            assert_eq!(tokens(text), *expected, "{text}");
        }
    }

    #[test]
    fn quotes_are_taken_off() {
        for (text, expected) in [
            ("`a``b`", "a`b"),
            (r"`a\b`", r"a\b"),
            (r"'a\'b''c\\'", r"a'b'c\"),
            (r"'nova\_cell'", r"nova\_cell"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(unquote(text), expected);
        }
    }

    fn sqlish() -> impl Strategy<Value = std::string::String> {
        let piece = prop_oneof![
            Just("'"),
            Just("\""),
            Just("`"),
            Just("\\"),
            Just("/*"),
            Just("/*!"),
            Just("/*M!"),
            Just("*/"),
            Just("--"),
            Just(" "),
            Just("\n"),
            Just("#"),
            Just(";"),
            Just("50003"),
            Just("1.5e"),
            Just("0x"),
            Just("ä"),
            Just("\0"),
            Just("DELIMITER //\n"),
            Just("//"),
            Just("select"),
            Just(".")
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn tokens_cover_the_text(text in prop_oneof![any::<std::string::String>(), sqlish()]) {
            let mut at = 0;
            for token in lex(&text) {
                prop_assert_eq!(token.offset, at);
                prop_assert!(!token.text.is_empty());
                at += token.text.len();
            }
            let joined: std::string::String = lex(&text).map(|token| token.text).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
