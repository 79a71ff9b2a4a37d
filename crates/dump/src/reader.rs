//! Statements of a plain dump, one after the other, at the speed of memory: mysqldump's and mariadb-dump's of any version,
//! mydumper's files, anything the `mysql` client takes.
//!
//! It reads bytes, never lines or characters: a value may hold `;`, newlines, bytes of any character set and whole
//! dumps. What a statement means is for [`StatementKind`](crate::StatementKind) and
//! [`Inventory`](crate::Inventory) to say.

use std::io::{self, Read};

use crate::reader_scan::{Delimiter, Lead, Quoting, Scanner, lead};
use crate::reader_set;

/// Read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Room for more blocks than one, so that what is left of one is seldom moved.
const BUFFER_BYTES: usize = 4 << 20;
/// Of a statement that does not end, so much is shown.
const SHOWN_BYTES: usize = 60;

/// Why a dump cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The bytes cannot be read or decompressed.
    #[error("cannot be read beyond byte {offset}")]
    Read {
        /// Bytes read before, decompressed.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It ends inside a statement.
    #[error("ends inside the statement that begins at byte {offset}: {shown}")]
    Unclosed {
        /// Where the statement begins, in bytes of the text.
        offset: u64,
        /// Its beginning.
        shown: String,
    },
    /// It ends before the line its program writes last.
    #[error("ends at byte {bytes} without the line `-- Dump completed` that {program} writes last")]
    Incomplete {
        /// Length of the text.
        bytes: u64,
        /// Who wrote it.
        program: String,
    },
    /// A statement is longer than allowed.
    #[error("the statement at byte {offset} has more than {limit_bytes} bytes")]
    TooLong {
        /// Where it begins.
        offset: u64,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// `DELIMITER` without one, or a statement that is not text.
    #[error("{what} at byte {offset}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: u64,
    },
}

/// A statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'b> {
    /// Its text, without leading comments and without the delimiter.
    pub text: &'b [u8],
    /// Where its text begins, in bytes of the (decompressed) dump.
    pub offset: u64,
    /// How far it reaches with its delimiter.
    pub end: u64,
    /// `true` where its delimiter is `;`: its bytes from `offset` to `end` can then be run as they are.
    pub is_plain: bool,
    /// How quotes are read in it.
    pub quoting: Quoting,
}

/// What a dump says of itself in comments.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Header {
    /// Who wrote it: `MySQL dump`, `MariaDB dump`; none: it does not say.
    pub program: Option<String>,
    /// The server it was taken from, as `-- Server version` has it.
    pub server_version: Option<String>,
    /// The database, where it is of one.
    pub database: Option<String>,
    /// The rest of `-- Dump completed`, such as ` on 2026-11-21  2:25:58`.
    pub completed: Option<String>,
    /// Statements with the position it was taken at, commented out or not.
    pub positions: Vec<String>,
    /// Whether its first line switches a sandbox on.
    pub has_sandbox_line: bool,
}

/// Reads a dump.
#[derive(Debug)]
pub struct DumpReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Unread bytes of the buffer are these.
    start: usize,
    end: usize,
    /// Offset of the buffer's first byte.
    base: u64,
    is_last: bool,
    limit_bytes: usize,
    delimiter: Delimiter,
    quoting: reader_set::Modes,
    header: Header,
}

impl<R: Read> DumpReader<R> {
    /// Longest statement taken unless told otherwise, in bytes.
    pub const STATEMENT_BYTES_MAX: usize = 1 << 30;

    /// A reader of the dump that `source` gives, decompressed.
    pub fn new(source: R) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            base: 0,
            is_last: false,
            limit_bytes: Self::STATEMENT_BYTES_MAX,
            delimiter: Delimiter::default(),
            quoting: reader_set::Modes::default(),
            header: Header::default(),
        }
    }

    /// The same with another limit for one statement, in bytes.
    #[must_use]
    pub fn with_limit(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// The same for text that goes on from a place where quotes were read so.
    #[must_use]
    pub fn with_quoting(mut self, quoting: Quoting) -> Self {
        self.quoting.set(quoting);
        self
    }

    /// What was read of the comments so far.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of text passed so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The next statement; none at the end.
    ///
    /// # Errors
    /// As [`DumpError`] lists. What came before the error is sound as far as it goes; whoever must not act on half
    /// a dump reads it to its end first.
    // Not an iterator: what it gives is borrowed from its buffer.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Result<Option<Statement<'_>>, DumpError> {
        loop {
            if !self.skip_lead()? {
                return self.finished().map(|()| None);
            }
            let (from, to, after) = self.statement()?;
            self.start = after;
            let text = trimmed(self.buffer.get(from..to).unwrap_or_default());
            if text.is_empty() {
                continue;
            }
            let (offset, end) = (self.base + from as u64, self.base + after as u64);
            let (quoting, is_plain) = (self.quoting.quoting(), self.delimiter.is_semicolon());
            // Modes hold from the next statement on.
            self.quoting.see(text);
            let length = text.len();
            let text = self.buffer.get(from..from + length).unwrap_or_default();
            return Ok(Some(Statement { text, offset, end, is_plain, quoting }));
        }
    }

    fn finished(&self) -> Result<(), DumpError> {
        match (&self.header.program, &self.header.completed) {
            (Some(program), None) => {
                Err(DumpError::Incomplete { bytes: self.offset(), program: program.clone() })
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Passes blanks, comments and delimiter lines; says whether a statement follows.
    fn skip_lead(&mut self) -> Result<bool, DumpError> {
        loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            match lead(bytes, self.is_last) {
                Lead::Statement(at) => {
                    self.start += at;
                    return Ok(true);
                }
                Lead::End => return Ok(false),
                Lead::Blank(length) => self.start += length,
                Lead::Comment(length) => {
                    let comment = bytes.get(..length).unwrap_or_default();
                    self.header.see(comment);
                    self.start += length;
                }
                Lead::Delimiter { text, length } => {
                    let offset = self.offset();
                    self.delimiter = Delimiter::new(text)
                        .ok_or(DumpError::Malformed { what: "a DELIMITER without one", offset })?;
                    self.start += length;
                }
                Lead::More => self.more()?,
            }
        }
    }

    /// The statement at the start: from, to, and where its delimiter ends.
    fn statement(&mut self) -> Result<(usize, usize, usize), DumpError> {
        let mut scanner = Scanner::default();
        loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            let quoting = self.quoting.quoting();
            if let Some(length) = scanner.find(bytes, &self.delimiter, quoting, self.is_last) {
                let to = self.start + length;
                return Ok((self.start, to, to + self.delimiter.len()));
            }
            if self.is_last {
                let shown = bytes.get(..bytes.len().min(SHOWN_BYTES)).unwrap_or_default();
                let shown = String::from_utf8_lossy(shown).into_owned();
                return Err(DumpError::Unclosed { offset: self.offset(), shown });
            }
            if bytes.len() >= self.limit_bytes {
                return Err(DumpError::TooLong { offset: self.offset(), limit_bytes: self.limit_bytes });
            }
            self.more()?;
        }
    }

    /// Reads at least a byte more, or finds the end.
    fn more(&mut self) -> Result<(), DumpError> {
        if self.start == self.end || self.buffer.len() < self.end + BLOCK_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            self.base += self.start as u64;
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + BLOCK_BYTES {
            let wanted = BUFFER_BYTES.max(self.end.saturating_mul(2));
            self.buffer.resize(wanted, 0);
        }
        let room = self.buffer.get_mut(self.end..self.end + BLOCK_BYTES).unwrap_or_default();
        loop {
            match self.source.read(room) {
                Ok(0) => {
                    self.is_last = true;
                    return Ok(());
                }
                Ok(read) => {
                    self.end += read;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(DumpError::Read { offset: self.base + self.end as u64, source });
                }
            }
        }
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

impl Header {
    /// Positions kept: a dump has one or two.
    const POSITIONS_MAX: usize = 8;

    fn see(&mut self, comment: &[u8]) {
        if comment.starts_with(b"/*") {
            if comment.starts_with(b"/*M!999999\\-") || comment.starts_with(b"/*!999999\\-") {
                self.has_sandbox_line = true;
            } else if find(comment, b"GTID_PURGED").is_some() {
                self.position(comment);
            }
            return;
        }
        let Some(text) = comment.strip_prefix(b"-- ") else { return };
        let line = || String::from_utf8_lossy(text.trim_ascii()).into_owned();
        if let Some(rest) = text.strip_prefix(b"Dump completed") {
            self.completed = Some(String::from_utf8_lossy(rest.trim_ascii()).into_owned());
        } else if text.starts_with(b"MySQL dump") || text.starts_with(b"MariaDB dump") {
            self.program = Some(line());
        } else if let Some(version) = text.strip_prefix(b"Server version") {
            self.server_version = Some(String::from_utf8_lossy(version.trim_ascii()).into_owned());
        } else if text.starts_with(b"Host: ") {
            let line = line();
            let name = line.split_once("Database: ").map(|(_, name)| name.trim());
            self.database = name.filter(|name| !name.is_empty()).map(str::to_owned);
        } else if text.starts_with(b"CHANGE MASTER TO MASTER_LOG")
            || text.starts_with(b"CHANGE REPLICATION SOURCE TO")
            || text.starts_with(b"SET GLOBAL gtid_slave_pos")
        {
            self.position(text);
        }
    }

    pub(crate) fn position(&mut self, text: &[u8]) {
        if self.positions.len() < Self::POSITIONS_MAX {
            self.positions.push(String::from_utf8_lossy(text.trim_ascii()).into_owned());
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}

#[cfg(test)]
mod tests;
