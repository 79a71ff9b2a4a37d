//! Problems of a spec, shown with the line they are in.

use std::fmt;
use std::ops::Range;

use crate::read::is_secret;

/// One problem at one place of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Bytes of the text it is about.
    pub(crate) span: Range<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead; empty when the message says it.
    pub(crate) label: String,
}

/// Problems that are kept of one text.
pub(crate) const PROBLEMS_MAX: usize = 1000;
/// Problems that are shown of one text.
const PROBLEMS_SHOWN: usize = 50;

/// Everything wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors {
    rendered: Vec<String>,
    count: usize,
}

impl SpecErrors {
    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        let shown = problems.iter().take(PROBLEMS_SHOWN);
        Self {
            rendered: shown.map(|problem| render("error", file, text, problem)).collect(),
            count: problems.len(),
        }
    }

    /// How many problems there are; counting ends at 1000.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered.join("\n"))?;
        let more = self.count.saturating_sub(self.rendered.len());
        if more > 0 { write!(f, "\nerror: and {more} more problems\n") } else { Ok(()) }
    }
}

impl std::error::Error for SpecErrors {}

/// Something in a spec that works and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(String);

impl Warning {
    pub(crate) fn new(file: &str, text: &str, problem: &Problem) -> Self {
        Self(render("warning", file, text, problem))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Line and column, both from 1, of a byte offset; the column counts characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..floor(text, offset)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Longest line shown of the text.
const SHOWN_CHARS: usize = 110;
/// What is shown before the marks of a longer line.
const SHOWN_BEFORE_CHARS: usize = 40;

/// What stands for a secret, and for the rest of its line.
const HIDDEN: &str = "(hidden)";

/// The place in a line behind the `=` or `:` of a key that would hold a secret.
fn secret_value(line: &str) -> Option<usize> {
    line.match_indices(['=', ':']).map(|(at, _)| at).find_map(|at| {
        let key = line.get(..at)?.trim_end().trim_end_matches(['"', '\'']);
        let start = key.rfind(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).map_or(0, |before| {
            before + key.get(before..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        is_secret(key.get(start..)?).then_some(at + 1)
    })
}

/// The place in a line behind the `://` of a URL that names a user, and so perhaps a password.
fn secret_url(line: &str) -> Option<usize> {
    line.match_indices("://").map(|(at, mark)| at + mark.len()).find(|start| {
        let rest = line.get(*start..).unwrap_or_default();
        let host = rest.find(['"', '\'', '/', ' ']).unwrap_or(rest.len());
        rest.get(..host).is_some_and(|host| host.contains('@'))
    })
}

/// Whether a line is inside a secret that began on an earlier one, as text in three quotes or a list does.
fn inside_secret(text: &str, line: usize) -> bool {
    let mut until: Option<&str> = None;
    for earlier in text.lines().take(line - 1) {
        if let Some(end) = until {
            until = (!earlier.contains(end)).then_some(end);
        } else if let Some(value) = secret_value(earlier).and_then(|at| earlier.get(at..)) {
            let value = value.trim_start();
            let ends = [("\"\"\"", "\"\"\""), ("'''", "'''"), ("[", "]"), ("{", "}")];
            until = ends.into_iter().find_map(|(begin, end)| {
                let rest = value.strip_prefix(begin)?;
                (!rest.contains(end)).then_some(end)
            });
        }
    }
    until.is_some()
}

/// A line as it may be shown: no secret, and nothing that moves the cursor or the marks under it. With it, how
/// many characters of the line are there before what is hidden.
fn shown_line(text: &str, line: usize) -> (String, Option<usize>) {
    let source = text.lines().nth(line - 1).unwrap_or("");
    let (shown, visible) = if inside_secret(text, line) {
        (HIDDEN.to_owned(), Some(0))
    } else {
        let secret = secret_value(source).into_iter().chain(secret_url(source)).min();
        match secret.and_then(|at| source.get(..at)) {
            Some(key) => (format!("{key} {HIDDEN}"), Some(key.chars().count())),
            None => (source.to_owned(), None),
        }
    };
    (shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(), visible)
}

fn render(kind: &str, file: &str, text: &str, problem: &Problem) -> String {
    let (line, column) = line_and_column(text, problem.span.start);
    let (source, visible) = shown_line(text, line);
    let length = source.chars().count();
    // A place behind the start of a secret would tell how long that is.
    let hidden = visible.filter(|visible| column > *visible);
    let column = hidden.map_or(column, |visible| visible + 1);
    let mut pad = (column - 1).min(length);
    let skipped = if length <= SHOWN_CHARS { 0 } else { pad.saturating_sub(SHOWN_BEFORE_CHARS) };
    let mut excerpt: String = source.chars().skip(skipped).take(SHOWN_CHARS).collect();
    if skipped > 0 {
        excerpt.insert_str(0, "...");
        pad = pad - skipped + 3;
    }
    let from = floor(text, problem.span.start);
    let to = floor(text, problem.span.end).max(from);
    let covered = text.get(from..to).unwrap_or("").lines().next().unwrap_or("").chars().count();
    let room = if hidden.is_some() { 1 } else { excerpt.chars().count().saturating_sub(pad).max(1) };
    let marks = "^".repeat(covered.clamp(1, room));
    let gutter = " ".repeat(line.to_string().len());
    let pad = " ".repeat(pad);
    let label = if problem.label.is_empty() { String::new() } else { format!(" {}", problem.label) };
    let source_line = format!("{line} | {excerpt}");
    format!(
        "{kind}: {}\n{gutter}--> {file}:{line}:{column}\n{gutter} |\n{}\n{gutter} | {pad}{marks}{label}\n",
        problem.message,
        source_line.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_without_their_secrets() {
        for (text, line, shown) in [
            ("password = \"x\"", 1, "password = (hidden)"),
            ("db.cloud.password=x", 1, "db.cloud.password= (hidden)"),
            ("a = { b = 1, \"api_token\" = \"x\", c = 2 }", 1, "a = { b = 1, \"api_token\" = (hidden)"),
            ("\"password\": \"x\"", 1, "\"password\": (hidden)"),
            ("password_file = \"/x\"", 1, "password_file = \"/x\""),
            ("secrets = \"/x\"", 1, "secrets = \"/x\""),
            ("a = [\"https://u:x@h:1\", \"x\"]", 1, "a = [\"https:// (hidden)"),
            ("a = [\"https://h:1/@\", \"u@h\"]", 1, "a = [\"https://h:1/@\", \"u@h\"]"),
            ("пароль = 1", 1, "пароль = 1"),
            ("password = \"\"\"\nx\n\"\"\"\nport = 1", 2, "(hidden)"),
            ("password = \"\"\"\nx\n\"\"\"\nport = 1", 4, "port = 1"),
            ("passwords = [\n\"x\",\n]\nport = 1", 2, "(hidden)"),
            ("port = 1\tx\u{1b}", 1, "port = 1 x "),
        ] {
            assert_eq!(shown_line(text, line).0, shown, "{text}");
        }
    }
}
