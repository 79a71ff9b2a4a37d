//! Problems of a spec, shown with the line they are in.

use std::fmt;
use std::ops::Range;

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

/// Everything wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors {
    rendered: Vec<String>,
}

impl SpecErrors {
    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self { rendered: problems.iter().map(|problem| render("error", file, text, problem)).collect() }
    }

    /// How many problems there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rendered.len()
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered.join("\n"))
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

fn render(kind: &str, file: &str, text: &str, problem: &Problem) -> String {
    let (line, column) = line_and_column(text, problem.span.start);
    // A tab would move the marks under the line; control characters would move the cursor.
    let source: String = text
        .lines()
        .nth(line - 1)
        .unwrap_or("")
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let from = floor(text, problem.span.start);
    let to = floor(text, problem.span.end).max(from);
    let covered = text.get(from..to).unwrap_or("").lines().next().unwrap_or("").chars().count();
    let room = SHOWN_CHARS.saturating_sub(column - 1).max(1);
    let marks = "^".repeat(covered.clamp(1, room));
    let gutter = " ".repeat(line.to_string().len());
    let pad = " ".repeat(column - 1);
    let label = if problem.label.is_empty() { String::new() } else { format!(" {}", problem.label) };
    format!(
        "{kind}: {}\n{gutter}--> {file}:{line}:{column}\n{gutter} |\n{line} | {source}\n{gutter} | {pad}{marks}{label}\n",
        problem.message
    )
}
