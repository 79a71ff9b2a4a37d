//! Fingerprints of statements: the text that statements of one kind have in common, and the query id made of it.
//!
//! The rules are those that pt-query-digest 3.7 applies, so that ids agree with what dashboards and histories hold.
//! [`Rules::Own`] reads strings, comments and quoted names as the servers do and agrees with it wherever that makes
//! no difference; the `Pt` rules repeat its defects. No grammar is checked: any bytes have a fingerprint.

mod distill;
mod finish;
mod id;
mod own;
mod pt;

#[cfg(test)]
mod tests;

pub use distill::{distill, table_names};
pub use id::{QueryId, QueryIdError};

/// Whose fingerprints to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// Those of pt-query-digest 3.7, but strings, comments and quoted names end where the servers say they do.
    #[default]
    Own,
    /// pt-query-digest 3.4 to 3.7, defects included.
    Pt37,
    /// pt-query-digest up to 3.3, defects included.
    Pt32,
}

/// Makes fingerprints, reusing its buffers: one for each thread.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    rules: Rules,
    out: Vec<u8>,
    spare: Vec<u8>,
}

impl Fingerprinter {
    /// A maker of fingerprints by some rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, out: Vec::new(), spare: Vec::new() }
    }

    /// The fingerprint of a statement. It lasts until the next is made.
    ///
    /// Bytes beyond ASCII are copied as they are, so the result is UTF-8 where the statement is.
    pub fn fingerprint(&mut self, statement: &[u8]) -> &[u8] {
        match self.rules {
            Rules::Own => own::fingerprint(statement, &mut self.out, &mut self.spare),
            Rules::Pt37 | Rules::Pt32 => {
                pt::fingerprint(statement, self.rules, &mut self.out, &mut self.spare);
            }
        }
        &self.out
    }
}

/// What `--` of mysqldump begins with; its statements differ by table alone.
const MYSQLDUMP: &[u8] = b"SELECT /*!40001 SQL_NO_CACHE */ * FROM `";

/// What servers log for commands that are no statements.
const ADMIN: &[u8] = b"administrator command: ";

/// Whether a byte belongs to a word as regular expressions see it.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What runs of space are made of before they become one space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b'\x0c')
}

/// Whether a byte may begin a number: signs count, and digits within a word.
const fn begins_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-')
}

/// Whether a byte may go on a number.
const fn continues_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b'x' | b'+' | b'-')
}

/// Whether a comment's text is the mark `word.word:1/2` with which the tools of Percona Toolkit sign statements.
/// `rest` begins behind the `/*`.
fn is_toolkit_mark(rest: &[u8]) -> bool {
    let word = |text: &[u8]| text.iter().take_while(|byte| is_word(**byte)).count();
    let first = word(rest);
    let Some((b'.', rest)) = rest.get(first..).and_then(<[u8]>::split_first) else { return false };
    let second = word(rest);
    let tail = rest.get(second..).unwrap_or_default();
    first > 0
        && second > 0
        && matches!(tail, [b':', a, b'/', b, b'*', b'/', ..] if a.is_ascii_digit() && b.is_ascii_digit())
}
