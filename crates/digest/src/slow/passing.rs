//! The rest of a record that is too long to be kept: its length, and where it ends. Its text is forgotten.

use memchr::memchr;

use super::{LOOKAHEAD_BYTES, begins_record};

#[derive(Debug)]
pub(super) struct Passing {
    /// Bytes up to the line whose beginning is looked at.
    bytes: u64,
    /// The beginning of a line that may be the next record's first; `None` behind it.
    line: Option<Vec<u8>>,
    is_behind_semicolon: bool,
    /// The last two bytes passed.
    last: [u8; 2],
}

pub(super) struct Ended {
    /// The record's length.
    pub(super) bytes: u64,
    /// How many of these bytes are the semicolon and newline at its end.
    pub(super) terminator_bytes: u64,
    /// What was read of the next record.
    pub(super) next: Vec<u8>,
}

impl Passing {
    /// Goes on behind the beginning of a record.
    pub(super) fn behind(held: &[u8]) -> Self {
        let line = memchr::memrchr(b'\n', held).map(|newline| held.get(newline + 1..).unwrap_or_default());
        // A line that is the record's first, or that was looked at, cannot be the next record's.
        let line = line.filter(|line| line.len() < LOOKAHEAD_BYTES);
        let mut passing = Self { bytes: 0, line: None, is_behind_semicolon: false, last: [0; 2] };
        let length = held.len() - line.map_or(0, <[u8]>::len);
        passing.count(held.get(..length).unwrap_or_default());
        if let Some(line) = line {
            passing.begin_line();
            passing.line = Some(line.to_vec());
        }
        passing
    }

    /// Passes bytes up to the record's end. Gives what is behind the beginning of the next record's first line;
    /// `None` if that is not among them.
    pub(super) fn pass<'a>(&mut self, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        while !bytes.is_empty() {
            let Some(mut line) = self.line.take() else {
                let length = memchr(b'\n', bytes).map(|newline| newline + 1);
                let (passed, rest) = bytes.split_at(length.unwrap_or(bytes.len()));
                self.count(passed);
                if length.is_some() {
                    self.begin_line();
                }
                bytes = rest;
                continue;
            };
            let wanted = (LOOKAHEAD_BYTES - line.len()).min(bytes.len());
            let newline = memchr(b'\n', bytes.get(..wanted).unwrap_or_default());
            let (begun, rest) = bytes.split_at(newline.map_or(wanted, |newline| newline + 1));
            line.extend_from_slice(begun);
            bytes = rest;
            match begins_record(&line, self.is_behind_semicolon, newline.is_some()) {
                None => self.line = Some(line),
                Some(true) => {
                    self.line = Some(line);
                    return Some(rest);
                }
                Some(false) => {
                    self.count(&line);
                    if newline.is_some() {
                        self.begin_line();
                    }
                }
            }
        }
        None
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match bytes {
            [.., one, two] => self.last = [*one, *two],
            [two] => {
                let [_, one] = self.last;
                self.last = [one, *two];
            }
            [] => {}
        }
    }

    fn begin_line(&mut self) {
        self.line = Some(Vec::with_capacity(LOOKAHEAD_BYTES));
        self.is_behind_semicolon = self.last == *b";\n";
    }

    /// The record ends before the line that is looked at, if that begins one.
    pub(super) fn finish(mut self) -> Ended {
        let mut next = self.line.take().unwrap_or_default();
        if begins_record(&next, self.is_behind_semicolon, true) != Some(true) {
            self.count(&next);
            next.clear();
        }
        let terminator_bytes = match self.last {
            [b';', b'\n'] => 2,
            [_, b'\n' | b';'] => 1,
            _ => 0,
        };
        Ended { bytes: self.bytes, terminator_bytes, next }
    }
}
