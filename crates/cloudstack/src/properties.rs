//! `db.properties`, edited without loss: order, comments, line endings and odd lines stay as they are.
//!
//! Values are read by the rules of Java's `Properties.load`, which is what reads them in the end, and written so
//! that it reads back exactly what was meant: Java reads the file as ISO 8859-1, so a letter that stands there in
//! UTF-8 is read as several. The script this replaces writes values raw, so that Java reads a backslash in one as
//! an escape. It does not know what the keys mean.

use std::fmt;

/// A line that holds no key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its number, from 1.
    pub line: usize,
    /// How it begins.
    pub text_start: String,
}

/// The text of a properties file, as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Logical lines: a continued line is one, with its line ends.
    lines: Vec<Line>,
    /// The line end of the file.
    newline: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// As it is in the file, with its line end.
    raw: String,
    /// Number of its first natural line.
    number: usize,
    /// Key and value, unless it is blank or a comment.
    entry: Option<(String, String)>,
    /// It has no separator.
    odd: bool,
    /// It has a `\u` that Java refuses.
    malformed: bool,
}

impl Properties {
    /// Reads a text; every text is a properties file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut lines = Vec::new();
        let mut pending = String::new();
        let mut first = 1;
        for (at, raw) in natural_lines(text).enumerate() {
            if pending.is_empty() {
                first = at + 1;
            }
            pending.push_str(raw);
            let continues = !is_comment_or_blank(&pending) && ends_in_continuation(raw);
            if !continues {
                lines.push(line(std::mem::take(&mut pending), first));
            }
        }
        if !pending.is_empty() {
            lines.push(line(pending, first));
        }
        Self { lines, newline }
    }

    /// The value of a key, as Java reads it: of several lines, the last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// Keys and values in the file's order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .filter_map(|line| line.entry.as_ref())
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Sets a key where it is, every time it is there, or at the end.
    pub fn set(&mut self, key: &str, value: &str) {
        let text = format!("{}={}", escape_key(key), escape_value(value));
        let mut found = false;
        for line in &mut self.lines {
            if line.entry.as_ref().is_some_and(|(name, _)| name == key) {
                let end = line_end(&line.raw).to_owned();
                line.raw = text.clone() + &end;
                line.entry = Some((key.to_owned(), value.to_owned()));
                line.odd = false;
                line.malformed = false;
                found = true;
            }
        }
        if found {
            return;
        }
        if let Some(last) = self.lines.last_mut() {
            if line_end(&last.raw).is_empty() {
                last.raw.push_str(self.newline);
            }
            // A last line that asks to be continued would swallow the new one; an empty line ends it.
            if !is_comment_or_blank(&last.raw) && ends_in_continuation(&last.raw) {
                // A newline after a lone carriage return would only make one line end of the two.
                let ends = if last.raw.ends_with('\r') { 2 } else { 1 };
                last.raw.push_str(&self.newline.repeat(ends));
            }
        }
        let number = self.lines.last().map_or(1, |line| line.number + natural_lines(&line.raw).count());
        let entry = Some((key.to_owned(), value.to_owned()));
        self.lines.push(Line { raw: text + self.newline, number, entry, odd: false, malformed: false });
    }

    /// Lines that have no separator: Java takes them for a key with an empty value, which nobody means.
    #[must_use]
    pub fn odd_lines(&self) -> Vec<Odd> {
        const SHOWN_CHARS: usize = 20;
        self.lines
            .iter()
            .filter(|line| line.odd)
            .map(|line| Odd {
                line: line.number,
                text_start: line.raw.trim().chars().take(SHOWN_CHARS).collect(),
            })
            .collect()
    }
}

impl Properties {
    /// Numbers of the lines with a `\u` that is not followed by four hexadecimal digits. Java refuses the whole file
    /// for one of them.
    #[must_use]
    pub fn malformed_lines(&self) -> Vec<usize> {
        self.lines.iter().filter(|line| line.malformed).map(|line| line.number).collect()
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| f.write_str(&line.raw))
    }
}

fn line_end(raw: &str) -> &str {
    raw.get(raw.trim_end_matches(['\n', '\r']).len()..).unwrap_or("")
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

/// A line of nothing but the mark of a continuation continues nothing: in Java, too, the next line begins anew.
fn is_comment_or_blank(logical: &str) -> bool {
    let text = logical.trim_start_matches(BLANKS);
    let is_end = |text: &str| text.starts_with(['\n', '\r']);
    text.is_empty()
        || text.starts_with(['#', '!'])
        || is_end(text)
        || text.strip_prefix('\\').is_some_and(is_end)
}

/// The text cut after each line end; as in Java, `\r` alone is one too.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.find(['\n', '\r']).map_or(rest.len(), |at| {
            let crlf = rest.get(at..).is_some_and(|from| from.starts_with("\r\n"));
            at + if crlf { 2 } else { 1 }
        });
        let (line, after) = rest.split_at_checked(end)?;
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// An odd number of backslashes before the line end continues the line.
fn ends_in_continuation(raw: &str) -> bool {
    let text = raw.trim_end_matches(['\n', '\r']);
    text.len() < raw.len() && (text.len() - text.trim_end_matches('\\').len()) % 2 == 1
}

fn line(raw: String, number: usize) -> Line {
    if is_comment_or_blank(&raw) {
        return Line { raw, number, entry: None, odd: false, malformed: false };
    }
    let logical = joined(&raw);
    let (key, value, separated) = split(&logical);
    let malformed = has_malformed_escape(&logical);
    Line { raw, number, entry: Some((key, value)), odd: !separated, malformed }
}

/// A logical line without line ends; the blanks a continuation begins with are dropped.
fn joined(raw: &str) -> String {
    let mut text = String::new();
    for (at, natural) in natural_lines(raw).enumerate() {
        let body = natural.trim_end_matches(['\n', '\r']);
        let body = if at == 0 { body } else { body.trim_start_matches(BLANKS) };
        let continued = ends_in_continuation(natural);
        text.push_str(if continued { body.strip_suffix('\\').unwrap_or(body) } else { body });
    }
    text
}

/// Key, value, and whether there is a separator between them.
fn split(logical: &str) -> (String, String, bool) {
    let text = logical.trim_start_matches(BLANKS);
    let mut escaped = false;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        if !escaped && (c == '=' || c == ':' || BLANKS.contains(&c)) {
            end = at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let (key, rest) = text.split_at(end);
    let after_blanks = rest.trim_start_matches(BLANKS);
    let value = after_blanks
        .strip_prefix(['=', ':'])
        .map(|value| value.trim_start_matches(BLANKS))
        .unwrap_or(after_blanks);
    (unescape(key), unescape(value), !rest.is_empty())
}

fn unescape(text: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend(c.encode_utf8(&mut buffer).bytes().map(u16::from));
            continue;
        }
        match chars.next() {
            Some('t') => units.push(9),
            Some('n') => units.push(10),
            Some('r') => units.push(13),
            Some('f') => units.push(12),
            Some('u') => match unit(chars.as_str()) {
                Some(unit) => {
                    units.push(unit);
                    chars.nth(3);
                }
                // Java refuses the whole file here; the letter is kept so that the line can be shown.
                None => units.push(u16::from(b'u')),
            },
            Some(other) => units.extend(other.encode_utf8(&mut buffer).bytes().map(u16::from)),
            None => {}
        }
    }
    String::from_utf16_lossy(&units)
}

/// The UTF-16 unit that four hexadecimal digits at the start of a text name.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    // A number may begin with `+` in Rust.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

fn has_malformed_escape(logical: &str) -> bool {
    let mut chars = logical.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next() == Some('u') && unit(chars.as_str()).is_none() {
            return true;
        }
    }
    false
}

fn escape_key(key: &str) -> String {
    escape(key, |c, _| BLANKS.contains(&c) || "=:#!".contains(c))
}

fn escape_value(value: &str) -> String {
    escape(value, |c, at| at == 0 && BLANKS.contains(&c))
}

fn escape(text: &str, special: impl Fn(char, usize) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 2];
    for (at, c) in text.char_indices() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x0c' => out.push_str("\\f"),
            _ if special(c, at) => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut buffer) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_java_reads_them() {
        let text = "# comment\n! also\n\na=1\n b = two \nc:3\nd 4\ne\\=f=5\ng=a\\\n   b\nh=\\u00e9\\t\\\\\ni=x=y\na=last\nlonely\n";
        let properties = Properties::parse(text);
        for (key, value) in [
            ("a", "last"),
            ("b", "two "),
            ("c", "3"),
            ("d", "4"),
            ("e=f", "5"),
            ("g", "ab"),
            ("h", "é\t\\"),
            ("i", "x=y"),
            ("lonely", ""),
        ] {
            assert_eq!(properties.get(key), Some(value), "{key}");
        }
        assert_eq!(properties.get("# comment"), None);
        assert_eq!(properties.odd_lines(), [Odd { line: 14, text_start: "lonely".to_owned() }]);
        assert_eq!(properties.to_string(), text);
    }

    #[test]
    fn lines_end_and_letters_count_as_java_has_it() {
        let properties = Properties::parse("a=1\rb=2\\\r\n  3\rc=\u{e9}\r\nd=\\u00zz\n");
        assert_eq!((properties.get("a"), properties.get("b")), (Some("1"), Some("23")));
        assert_eq!(properties.get("c"), Some("\u{c3}\u{a9}"), "the file is read as ISO 8859-1");
        assert_eq!(properties.malformed_lines(), [5]);
        let properties = Properties::parse("\\\n#c\n \\\nd=4\n");
        assert_eq!(properties.entries().collect::<Vec<_>>(), [("d", "4")]);
        assert_eq!(Properties::parse("a=\\u00e9\\\\u0\n").malformed_lines(), [0; 0]);
    }

    #[test]
    fn setting_leaves_every_other_line_alone() {
        let text = "# head\r\nodd line\r\na=1\r\n\r\nb=2";
        let mut properties = Properties::parse(text);
        properties.set("a", "x\\y ");
        properties.set("c", " é");
        assert_eq!(properties.to_string(), "# head\r\nodd line\r\na=x\\\\y \r\n\r\nb=2\r\nc=\\ \\u00E9\r\n");
    }

    proptest::proptest! {
        #[test]
        fn what_is_set_is_read_back(before in "([a-z]{1,3}=[ -~]{0,8}(\r|\n|\r\n)|#[ -~]{0,5}\n|\n| ?\\\\\r){0,6}", key in "[a-z.: =#]{1,8}", value in ".{0,30}") {
            let mut properties = Properties::parse(&before);
            properties.set(&key, &value);
            let back = Properties::parse(&properties.to_string());
            proptest::prop_assert_eq!(back.get(&key), Some(value.as_str()));
        }

        #[test]
        fn any_text_stays_as_it_is(text in "(?s).{0,200}") {
            proptest::prop_assert_eq!(Properties::parse(&text).to_string(), text);
        }
    }
}
