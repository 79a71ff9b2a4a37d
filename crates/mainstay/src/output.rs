//! Printing: the only place that writes to standard output and error.
//!
//! A command has one result type that renders as text for people and as JSON for programs, so the two cannot
//! drift apart. A closed pipe ends the program quietly.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Between two lines about work that takes long: often enough to see it move, seldom enough for a log.
pub(crate) const PROGRESS: Duration = Duration::from_secs(2);

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Format {
    /// The format `--json` asks for.
    pub(crate) const fn from_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Writes a result.
pub(crate) fn result<T: Display + Serialize>(format: Format, value: &T) {
    match format {
        Format::Text => text(&value.to_string()),
        Format::Json => match serde_json::to_string_pretty(value) {
            Ok(json) => text(&json),
            Err(error) => message(&format!("error: the result cannot be written as JSON: {error}")),
        },
    }
}

/// Whether a person reads standard output, as far as can be told.
pub(crate) fn is_read_by_person() -> bool {
    std::io::stdout().is_terminal()
}

/// Writes text to standard output, ending the program quietly when nobody reads it.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(newline.as_bytes()))
        .and_then(|()| out.flush());
    if written.is_err() {
        std::process::exit(0);
    }
}

/// Writes a line for the person to standard error.
pub(crate) fn message(line: &str) {
    // Nothing is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Waits for work, with a line for the person every so often: what `line` makes of the time since it began.
pub(crate) fn during<T>(
    work: impl Future<Output = T>,
    every: Duration,
    mut line: impl FnMut(Duration) -> Option<String>,
) -> impl Future<Output = T> {
    // Work that takes long is large: it is not kept in each future around it.
    let mut work = Box::pin(work);
    async move {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(every);
        ticks.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {}
            }
            if let Some(line) = line(begun.elapsed()) {
                message(&line);
            }
        }
    }
}

/// Asks a question on the terminal; `None` without one.
pub(crate) fn ask(question: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{question} ").and_then(|()| err.flush()).ok()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// Clears the screen and writes a page, for `--watch`.
pub(crate) fn page(text_of_page: &str) {
    text(&format!("\x1b[H\x1b[2J{text_of_page}"));
}

/// Writes raw bytes, such as completions.
pub(crate) fn bytes(bytes: &[u8]) {
    if std::io::stdout().lock().write_all(bytes).is_err() {
        std::process::exit(0);
    }
}

/// Standard output for whoever writes by himself. A closed pipe ends the program quietly.
pub(crate) struct Raw;

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self::bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().lock().flush()
    }
}

/// Rows as lines with their columns below each other; the first row is the header.
pub(crate) fn table(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let widths: Vec<usize> =
        (0..columns).map(|at| cells(at).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}
