//! The slow log as a stream of bytes: cut into records, of which at most [`RECORD_BYTES_MAX`] are kept, and counted
//! where they are none. What a record says is read by `slow::record`.
//!
//! Bytes may come in parts of any size; the events do not depend on the parts. Nothing is ever refused: what is not
//! understood is counted in [`Skipped`].

mod cut;
mod passing;
mod record;

#[cfg(test)]
mod tests;

use crate::event::{LogReader, Moment, Position, Sink};
pub use cut::last_cut;
use passing::Passing;
use record::{End, Reader};

/// Longer records are read to their end, but only so many bytes of them are kept.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Bytes that tell where the next record begins: behind a newline, the longest of [`STARTS`] and a digit.
const LOOKAHEAD_BYTES: usize = 16;

/// What was read but is not in the digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Records without a statement or without a time, and those written into another's statement: torn, or cut off.
    pub records: u64,
    /// Their bytes, and those that belong to no record.
    pub bytes: u64,
    /// Statements of which only the beginning was read, because they are so long; they are counted in full.
    pub long_statements: u64,
    /// Values that are not what their name promises, and names beyond those kept.
    pub values: u64,
}

impl Skipped {
    /// Adds what another skipped.
    pub const fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.long_statements += other.long_statements;
        self.values += other.values;
    }

    /// What was skipped since an earlier state of the same reader.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            records: self.records - earlier.records,
            bytes: self.bytes - earlier.bytes,
            long_statements: self.long_statements - earlier.long_statements,
            values: self.values - earlier.values,
        }
    }
}

/// What a record takes over from those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// MariaDB writes the time only when the second changes.
    pub moment: Option<Moment>,
    /// Servers without `Schema` name the database only when it changes.
    pub db: Vec<u8>,
}

/// Reads a slow log.
#[derive(Debug)]
pub struct SlowLog {
    reader: Reader,
    /// The record that the bytes so far do not complete, or the beginning of a long one.
    held: Vec<u8>,
    /// How far lines of it were looked at.
    scanned: usize,
    /// What is read of a record that is too long to be held.
    passing: Option<Passing>,
    /// Where the held record begins.
    position: Position,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self::new(Position::default(), Inherited::default())
    }
}

impl LogReader for SlowLog {
    fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while !bytes.is_empty() {
            if self.passing.is_some() {
                bytes = self.pass(bytes, sink);
            } else if self.held.is_empty() {
                let read = self.whole_records(bytes, false, sink);
                bytes = self.hold(bytes.get(read..).unwrap_or_default());
            } else {
                bytes = self.complete(bytes, sink);
            }
        }
    }

    fn finish(&mut self, sink: &mut impl Sink) {
        if let Some(passing) = self.passing.take() {
            self.end_long(passing, sink);
        }
        let held = std::mem::take(&mut self.held);
        self.whole_records(&held, true, sink);
        self.held = held;
        self.held.clear();
        self.scanned = 0;
    }

    fn next_file(&mut self, sink: &mut impl Sink) {
        self.finish(sink);
        self.position = Position { file: self.position.file + 1, offset: 0 };
    }

    fn may_be_complete(&self) -> bool {
        self.passing.is_none() && self.held.ends_with(b";\n")
    }

    fn events(&self) -> u64 {
        self.reader.events
    }

    fn skipped(&self) -> &Skipped {
        &self.reader.skipped
    }
}

impl SlowLog {
    /// Begins at a position, with what is known from before it.
    #[must_use]
    pub fn new(position: Position, inherited: Inherited) -> Self {
        Self { reader: Reader::new(inherited), held: Vec::new(), scanned: 0, passing: None, position }
    }

    /// Begins anew, at another position.
    pub fn restart(&mut self, position: Position, inherited: Inherited) {
        self.reader.inherited = inherited;
        self.held.clear();
        self.scanned = 0;
        self.passing = None;
        self.position = position;
    }

    /// Where the record begins that is not complete.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// What is held of a record that is not complete, where it begins and what it takes over, for another reader to go
    /// on with; `None` within a record that is too long to be held.
    #[must_use]
    pub fn held(&self) -> Option<(&[u8], Position, &Inherited)> {
        self.passing.is_none().then_some((&self.held, self.position, &self.reader.inherited))
    }

    /// What the next record would take over.
    #[must_use]
    pub const fn inherited(&self) -> &Inherited {
        &self.reader.inherited
    }

    /// Reads records as long as they are complete. Gives the bytes read.
    fn whole_records(&mut self, bytes: &[u8], is_end: bool, sink: &mut impl Sink) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && !rest.is_empty()
        {
            let End::At(length) = self.reader.record(rest, is_end, self.position, sink) else { break };
            at += length;
            self.position.offset += length as u64;
        }
        at
    }

    /// Keeps the beginning of a record. Gives what is beyond the limit.
    fn hold<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = RECORD_BYTES_MAX.saturating_sub(self.held.len());
        let (kept, beyond) = bytes.split_at(room.min(bytes.len()));
        self.held.extend_from_slice(kept);
        if !beyond.is_empty() {
            self.passing = Some(Passing::behind(&self.held));
        }
        beyond
    }

    /// Adds bytes to the held record until it is complete. Gives what is left of them.
    fn complete<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let before = self.held.len();
        // Doubling keeps what is read again below what is read.
        let (added, rest) = bytes.split_at(bytes.len().min(before.max(4096)));
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(added);
        let mut read = 0;
        while read == 0 && self.has_start(&held) {
            read = self.held_records(&held, before, sink);
        }
        if read >= before {
            held.clear();
            self.held = held;
            self.scanned = 0;
            return bytes.get(read - before..).unwrap_or_default();
        }
        if read > 0 {
            self.scanned = 0;
            held.drain(..read);
        }
        if held.len() > RECORD_BYTES_MAX {
            let over = (held.len() - RECORD_BYTES_MAX).min(added.len());
            held.truncate(held.len() - over);
            self.passing = Some(Passing::behind(&held));
            self.held = held;
            self.scanned = 0;
            return bytes.get(added.len() - over..).unwrap_or_default();
        }
        self.held = held;
        rest
    }

    /// Whether a line that begins a record is in what is held, among those not looked at yet: only then can the held
    /// record be complete.
    fn has_start(&mut self, held: &[u8]) -> bool {
        while let Some(newline) = held.get(self.scanned..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let at = self.scanned + newline + 1;
            let is_behind = at.checked_sub(2).and_then(|at| held.get(at)) == Some(&b';');
            match begins_record(held.get(at..).unwrap_or_default(), is_behind, false) {
                Some(true) => {
                    self.scanned = at;
                    return true;
                }
                Some(false) => self.scanned = at,
                None => {
                    self.scanned = at - 1;
                    return false;
                }
            }
        }
        self.scanned = held.len();
        false
    }

    /// Reads records that begin within the first `before` bytes.
    fn held_records(&mut self, held: &[u8], before: usize, sink: &mut impl Sink) -> usize {
        let mut at = 0;
        while at < before
            && let End::At(length) =
                self.reader.record(held.get(at..).unwrap_or_default(), false, self.position, sink)
        {
            at += length;
            self.position.offset += length as u64;
        }
        at
    }

    /// Looks for the end of a record that is too long to be held. Gives what is behind it.
    fn pass<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let Some(passing) = &mut self.passing else { return bytes };
        let rest = passing.pass(bytes);
        if let Some(rest) = rest
            && let Some(passing) = self.passing.take()
        {
            self.end_long(passing, sink);
            return rest;
        }
        &[]
    }

    /// Reads a long record, and holds what has been read of the next.
    fn end_long(&mut self, passing: Passing, sink: &mut impl Sink) {
        let held = std::mem::take(&mut self.held);
        let ended = passing.finish();
        self.reader.long_record(&held, ended.bytes, ended.terminator_bytes, self.position, sink);
        self.position.offset += ended.bytes;
        self.held = held;
        self.held.clear();
        self.held.extend_from_slice(&ended.next);
        self.scanned = 0;
    }
}

/// How a line begins that begins a record wherever it stands.
const STARTS: [&[u8]; 2] = [b"# User@Host: ", b"# Time: "];
/// How a line begins that begins a record behind a semicolon: where the server is told to write no accounts.
const SHORT_STARTS: [&[u8]; 3] = [b"# Thread_id: ", b"# Query_time: ", b"# Schema: "];

/// Whether a line is the first of a record, given what ends the line before it; `None` when more bytes have to tell.
fn begins_record(line: &[u8], is_behind_semicolon: bool, is_end: bool) -> Option<bool> {
    if line.len() < LOOKAHEAD_BYTES && !is_end {
        // Few lines begin like this, so waiting costs nothing.
        let may = b"# ".starts_with(line.get(..2.min(line.len())).unwrap_or_default());
        return if may { None } else { Some(false) };
    }
    let [start, time] = STARTS;
    let is_time = line.strip_prefix(time).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
    let is_short = || SHORT_STARTS.iter().any(|start| line.starts_with(start));
    Some(line.starts_with(start) || is_time || (is_behind_semicolon && is_short()))
}
