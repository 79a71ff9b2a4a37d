//! A script cut into statements, as the servers' own command line clients cut it.
//!
//! It knows comments, quotes and the `DELIMITER` command. Other client commands are refused by name, since what
//! they do is not SQL. It runs nothing, and takes time in proportion to the script.

use memchr::memchr_iter;

use crate::scan::{self, Lead};

/// Largest statement taken unless [`Splitter::with_limit`] says otherwise, in bytes.
const DEFAULT_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// One statement of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its text, without the delimiter, without comments and space before it and space behind it.
    pub text: &'a str,
    /// The line it begins on, from 1.
    pub line: u32,
    /// The line its last character is on.
    pub end_line: u32,
    /// Where it begins in the script, in bytes.
    pub offset: usize,
    /// Whether a delimiter ended it; if not, the script did.
    pub terminated: bool,
}

/// What was not closed before the script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclosed {
    /// A string in single or double quotes.
    String,
    /// A name in backticks.
    Identifier,
    /// A comment.
    Comment,
}

impl Unclosed {
    const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Identifier => "quoted name",
            Self::Comment => "comment",
        }
    }
}

/// Why a script cannot be cut further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitErrorKind {
    /// The script ends within this.
    #[error("the {} that begins here is not closed", .0.name())]
    Unclosed(Unclosed),
    /// A command that only a client understands.
    #[error("{0:?} is a command of the command line client, not SQL")]
    ClientCommand(String),
    /// `DELIMITER` without a usable delimiter.
    #[error("DELIMITER needs a delimiter of 1 to 16 bytes without quotes and backslashes")]
    BadDelimiter,
    /// A statement above the limit.
    #[error("the statement that begins here is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

/// Why, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct SplitError {
    /// The line on which the trouble begins, from 1.
    pub line: u32,
    /// What it is.
    pub kind: SplitErrorKind,
}

/// The statements of a script, in their order. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Splitter<'a> {
    script: &'a str,
    at: usize,
    /// The line of `at`.
    line: u32,
    delimiter: &'a str,
    limit_bytes: usize,
}

impl<'a> Splitter<'a> {
    /// Cuts `script`. A byte order mark at its start is skipped.
    #[must_use]
    pub fn new(script: &'a str) -> Self {
        let at = if script.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 };
        Self { script, at, line: 1, delimiter: ";", limit_bytes: DEFAULT_LIMIT_BYTES }
    }

    /// Refuses statements larger than `limit_bytes`.
    #[must_use]
    pub const fn with_limit(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    fn rest(&self) -> &'a str {
        self.script.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, to: usize) {
        self.line = self.line.saturating_add(newlines(self.script, self.at, to));
        self.at = to;
    }

    fn fail(&mut self, line: u32, kind: SplitErrorKind) -> SplitError {
        self.at = self.script.len();
        SplitError { line, kind }
    }

    /// Goes to where a statement begins; false when there is none any more.
    fn skip_to_statement(&mut self) -> Result<bool, SplitError> {
        loop {
            let rest = self.rest();
            let Some(first) = rest.bytes().next() else { return Ok(false) };
            if rest.starts_with(self.delimiter) {
                self.advance(self.at + self.delimiter.len());
            } else if is_space(first) {
                let length = rest.bytes().position(|byte| !is_space(byte)).unwrap_or(rest.len());
                self.advance(self.at + length);
            } else if let Some(argument) = command(rest, "delimiter") {
                self.set_delimiter(argument)?;
            } else if let Some(name) = client_command(rest) {
                let line = self.line;
                return Err(self.fail(line, SplitErrorKind::ClientCommand(name.to_owned())));
            } else {
                match scan::lead(self.script.as_bytes(), self.at) {
                    Lead::LineComment => {
                        self.advance(scan::line_end(self.script.as_bytes(), self.at));
                    }
                    Lead::BlockComment => match scan::block_end(self.script.as_bytes(), self.at) {
                        Some(end) => self.advance(end),
                        None => return Err(self.unclosed(self.at, Unclosed::Comment)),
                    },
                    Lead::Executable { .. } | Lead::Quoted(_) | Lead::Plain => return Ok(true),
                }
            }
        }
    }

    fn set_delimiter(&mut self, argument: &'a str) -> Result<(), SplitError> {
        let delimiter = argument.split_ascii_whitespace().next().unwrap_or_default();
        if delimiter.is_empty() || delimiter.len() > 16 || delimiter.contains(['\\', '\'', '"', '`']) {
            let line = self.line;
            return Err(self.fail(line, SplitErrorKind::BadDelimiter));
        }
        self.delimiter = delimiter;
        // The client ignores what else stands on the line.
        self.advance(scan::line_end(self.script.as_bytes(), self.at));
        Ok(())
    }

    fn unclosed(&mut self, at: usize, what: Unclosed) -> SplitError {
        let line = self.line.saturating_add(newlines(self.script, self.at, at));
        self.fail(line, SplitErrorKind::Unclosed(what))
    }

    /// The offset where the statement at `self.at` ends, and whether at a delimiter.
    fn statement_end(&mut self) -> Result<(usize, bool), SplitError> {
        let bytes = self.script.as_bytes();
        let (mut at, mut executable) = (self.at, None);
        while at < bytes.len() {
            let here = bytes.get(at..).unwrap_or_default();
            if let (Some(begun), true) = (executable, here.starts_with(b"*/")) {
                debug_assert!(begun < at, "a comment closes behind its opening");
                (executable, at) = (None, at + 2);
                continue;
            }
            if executable.is_none() && here.starts_with(self.delimiter.as_bytes()) {
                return Ok((at, true));
            }
            at = match scan::lead(bytes, at) {
                Lead::LineComment => scan::line_end(bytes, at),
                Lead::BlockComment => match scan::block_end(bytes, at) {
                    Some(end) => end,
                    None => return Err(self.unclosed(at, Unclosed::Comment)),
                },
                Lead::Executable { length } => {
                    executable = executable.or(Some(at));
                    at + length
                }
                Lead::Quoted(quote) => match scan::quoted_end(bytes, at, quote) {
                    Some(end) => end,
                    None if quote == b'`' => return Err(self.unclosed(at, Unclosed::Identifier)),
                    None => return Err(self.unclosed(at, Unclosed::String)),
                },
                Lead::Plain => at + 1,
            };
        }
        match executable {
            Some(begun) => Err(self.unclosed(begun, Unclosed::Comment)),
            None => Ok((bytes.len(), false)),
        }
    }

    fn next_statement(&mut self) -> Result<Option<Statement<'a>>, SplitError> {
        if !self.skip_to_statement()? {
            return Ok(None);
        }
        let (offset, line) = (self.at, self.line);
        let (end, terminated) = self.statement_end()?;
        let text = self.script.get(offset..end).unwrap_or_default().trim_ascii_end();
        if text.len() > self.limit_bytes {
            let kind = SplitErrorKind::TooLarge { limit_bytes: self.limit_bytes };
            return Err(self.fail(line, kind));
        }
        let end_line = line.saturating_add(newlines(text, 0, text.len()));
        self.advance(if terminated { end + self.delimiter.len() } else { end });
        Ok(Some(Statement { text, line, end_line, offset, terminated }))
    }
}

impl<'a> Iterator for Splitter<'a> {
    type Item = Result<Statement<'a>, SplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_statement().transpose()
    }
}

const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn newlines(text: &str, from: usize, to: usize) -> u32 {
    let span = text.as_bytes().get(from..to).unwrap_or_default();
    u32::try_from(memchr_iter(b'\n', span).count()).unwrap_or(u32::MAX)
}

/// What stands behind a command's name on its line, if `text` begins with that command as a word of its own.
fn command<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (word, rest) = text.split_at_checked(name.len())?;
    let ends = rest.bytes().next().is_none_or(is_space);
    (ends && word.eq_ignore_ascii_case(name)).then(|| rest.lines().next().unwrap_or_default())
}

fn client_command(text: &str) -> Option<&str> {
    if text.starts_with('\\') {
        let length = text.chars().take(2).map(char::len_utf8).sum();
        return text.get(..length);
    }
    ["source", "system"].into_iter().find(|name| command(text, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(script: &str) -> Vec<&str> {
        Splitter::new(script).map(|statement| statement.unwrap().text).collect()
    }

    fn error(script: &str) -> SplitError {
        Splitter::new(script).find_map(Result::err).unwrap()
    }

    #[test]
    fn scripts_are_cut_as_clients_cut_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" ;; ; \n", &[]),
            ("-- only\n# comments\n/* here */;", &[]),
            ("select 1; select 2 ;select 3", &["select 1", "select 2", "select 3"]),
            ("\u{FEFF}select 1;\r\nselect 2;\r\n", &["select 1", "select 2"]),
            ("select ';', \";\", `;`; x", &["select ';', \";\", `;`", "x"]),
            (r"select 'a\';', 'b'';', '\\'; x", &[r"select 'a\';', 'b'';', '\\'", "x"]),
            ("select 1 -- a;b\n+ 1; x", &["select 1 -- a;b\n+ 1", "x"]),
            ("select 1 # a'b;\n; x", &["select 1 # a'b;", "x"]),
            ("select 5--1; x", &["select 5--1", "x"]),
            ("select 1 --\n;x", &["select 1 --", "x"]),
            ("select /* ; ' */ 1; x", &["select /* ; ' */ 1", "x"]),
            (
                "/*!40101 SET NAMES utf8 */;\n/*!50003 a; b */;",
                &["/*!40101 SET NAMES utf8 */", "/*!50003 a; b */"],
            ),
            ("/*! a '*/;' ; */;x", &["/*! a '*/;' ; */", "x"]),
            ("/*M!100100 a */; x", &["/*M!100100 a */", "x"]),
            ("/*!999999\\- enable the sandbox mode */ \n-- dump\nx;", &["x"]),
            ("-- why\n/* too */ select 1;", &["select 1"]),
            ("DELIMITER //\na; b//\ndelimiter ;\nc;", &["a; b", "c"]),
            ("  Delimiter\t$$ -- rest\nBEGIN x; END$$\nDELIMITER ;", &["BEGIN x; END"]),
            ("delimiter ;;\na;b;;\nc", &["a;b", "c"]),
            ("delimiters are words;", &["delimiters are words"]),
            ("sourceful; system_user()", &["sourceful", "system_user()"]),
            ("select\n'delimiter x\n'; y", &["select\n'delimiter x\n'", "y"]),
        ];
        for (script, expected) in cases {
            assert_eq!(texts(script), *expected, "{script:?}");
        }
    }

    #[test]
    fn statements_know_where_they_stand() {
        let script = "-- one\n\nselect 1\n  from t;\r\n/* four\nfive */ x; y\n\n";
        let found: Vec<_> = Splitter::new(script)
            .map(|statement| {
                let Statement { text, line, end_line, offset, terminated } = statement.unwrap();
                assert!(script[offset..].starts_with(text));
                (text, line, end_line, terminated)
            })
            .collect();
        assert_eq!(found, [("select 1\n  from t", 3, 4, true), ("x", 6, 6, true), ("y", 6, 6, false)]);
    }

    #[test]
    fn what_is_cut_short_is_named_with_its_line() {
        use SplitErrorKind::{BadDelimiter, ClientCommand, TooLarge};
        let unclosed = SplitErrorKind::Unclosed;
        for (script, line, kind) in [
            ("a;\nb 'open\n;", 2, unclosed(Unclosed::String)),
            ("a;\n\nb \"open", 3, unclosed(Unclosed::String)),
            ("a\n`open;", 2, unclosed(Unclosed::Identifier)),
            ("a;\n/* open ;", 2, unclosed(Unclosed::Comment)),
            ("a\n /* open ;", 2, unclosed(Unclosed::Comment)),
            ("a;\n/*!50003 b\n 'c' ;", 2, unclosed(Unclosed::Comment)),
            (r"'a\'", 1, unclosed(Unclosed::String)),
            ("a;\nsource b.sql", 2, ClientCommand("source".to_owned())),
            ("a;\n\\. b.sql", 2, ClientCommand("\\.".to_owned())),
            ("SYSTEM ls;", 1, ClientCommand("system".to_owned())),
            ("\\! ls", 1, ClientCommand("\\!".to_owned())),
            ("a;\nDELIMITER\nb", 2, BadDelimiter),
            ("DELIMITER \\", 1, BadDelimiter),
            ("a;\n12345678901", 2, TooLarge { limit_bytes: 10 }),
        ] {
            let mut splitter = Splitter::new(script).with_limit(10);
            assert_eq!(splitter.find_map(Result::err), Some(SplitError { line, kind }), "{script:?}");
            assert_eq!(splitter.next(), None, "nothing follows an error");
        }
        assert_eq!(error("a;\n'b").to_string(), "line 2: the string that begins here is not closed");
    }

    #[test]
    fn a_procedure_stays_whole() {
        let script = "DROP PROCEDURE IF EXISTS `cloud`.`ADD_COL`;\n\nDELIMITER $$\nCREATE PROCEDURE `cloud`.`ADD_COL` (IN \
                      a CHAR(64))\nBEGIN\n  -- it's; here\n  IF a THEN SET @x = 'y;$'; END IF;\nEND $$\nDELIMITER ;\n\
                      CALL `cloud`.`ADD_COL`('b');\n";
        let lines: Vec<_> = Splitter::new(script)
            .map(|found| found.map(|found| (found.line, found.end_line)).unwrap())
            .collect();
        assert_eq!(lines, [(1, 1), (4, 8), (10, 10)]);
    }

    fn script() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("'"),
            Just("\""),
            Just("`"),
            Just("\\"),
            Just("/*"),
            Just("/*!"),
            Just("*/"),
            Just("-- "),
            Just(" "),
            Just("\n"),
            Just("#"),
            Just(";"),
            Just("ä"),
            Just("DELIMITER //\n"),
            Just("//"),
            Just("delimiter ;\n"),
            Just("select 1"),
            Just("'a;b'"),
            Just("/* c; */")
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn statements_are_in_order_and_only_their_gaps_are_lost(
            script in prop_oneof![any::<String>(), script()]
        ) {
            let mut gaps = String::new();
            let (mut at, mut failed) = (0, false);
            for found in Splitter::new(&script) {
                let Ok(found) = found else { failed = true; break };
                prop_assert!(found.offset >= at && !found.text.is_empty());
                prop_assert_eq!(script.get(found.offset..found.offset + found.text.len()), Some(found.text));
                let before = script.as_bytes()[..found.offset].iter().filter(|byte| **byte == b'\n').count();
                prop_assert_eq!(found.line as usize, before + 1);
                gaps.push_str(&script[at..found.offset]);
                gaps.push('\n');
                at = found.offset + found.text.len();
            }
            // What lies between statements splits into nothing, whatever delimiter was in force.
            if !failed && !script.to_lowercase().contains("delimiter") {
                gaps.push_str(&script[at..]);
                prop_assert_eq!(Splitter::new(&gaps).count(), 0, "{:?}", gaps);
            }
        }

        #[test]
        fn plain_statements_come_back(parts in proptest::collection::vec("[a-z0-9 ()=,]{0,20}", 0..10)) {
            let wanted: Vec<String> = parts
                .iter()
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty() && !["source", "system", "delimiter"].contains(
                    &part.split(' ').next().unwrap_or_default()))
                .collect();
            let script = wanted.join(";\n");
            prop_assert_eq!(texts(&script), wanted);
        }
    }
}
