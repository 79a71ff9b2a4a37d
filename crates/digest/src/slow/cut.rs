//! Cutting a slow log so that its parts can be read apart: where a part may end, and what the next one takes over.

use memchr::memmem;

use super::{Inherited, LOOKAHEAD_BYTES, SlowLog, begins_record};
use crate::attribute::Names;
use crate::event::{Event, LogReader as _, Moment, Position, Sink};

/// Bytes at the end of a part in which its last database is looked for, first in the few.
const TAILS_BYTES: [usize; 2] = [4 << 10, 64 << 10];

/// The last place at which bytes of a slow log may be cut: where a record begins behind a semicolon. `None` where
/// there is none behind the first byte.
#[must_use]
pub fn last_cut(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    loop {
        let newline = memchr::memrchr(b'\n', bytes.get(..end)?)?;
        let is_behind = newline.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b';');
        let line = bytes.get(newline + 1..)?;
        if is_behind && line.len() >= LOOKAHEAD_BYTES && begins_record(line, true, false) == Some(true) {
            return Some(newline + 1);
        }
        end = newline;
    }
}

/// The first such place at or behind an offset.
fn first_cut(bytes: &[u8], from: usize) -> Option<usize> {
    let ends = memmem::find_iter(bytes.get(from..)?, b";\n# ").map(|at| from + at + 2);
    ends.into_iter().find(|at| begins_record(bytes.get(*at..).unwrap_or_default(), true, false) == Some(true))
}

impl Inherited {
    /// What the record behind some bytes takes over. They begin and end where a log may be cut.
    #[must_use]
    pub fn behind(self, bytes: &[u8]) -> Self {
        let moment = last_moment(bytes).or(self.moment);
        Self { moment, db: last_db(bytes).unwrap_or(self.db) }
    }
}

fn last_moment(bytes: &[u8]) -> Option<Moment> {
    let at = |at: usize| bytes.get(at + b"# Time: ".len()..).and_then(Moment::parse);
    let first = if bytes.starts_with(b"# Time: ") { at(0) } else { None };
    memmem::rfind_iter(bytes, b"\n# Time: ").find_map(|newline| at(newline + 1)).or(first)
}

fn last_db(bytes: &[u8]) -> Option<Vec<u8>> {
    for tail_bytes in TAILS_BYTES {
        let tail = first_cut(bytes, bytes.len().saturating_sub(tail_bytes)).and_then(|at| bytes.get(at..));
        if let Some(db) = tail.and_then(db_of) {
            return Some(db);
        }
    }
    let may_name = memmem::find(bytes, b"\nuse ").is_some() || memmem::find(bytes, b"Schema: ").is_some();
    if may_name { db_of(bytes) } else { None }
}

/// The last database that records name.
fn db_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut log = SlowLog::new(Position::default(), Inherited::default());
    let mut sink = Nobody(Names::default());
    log.feed(bytes, &mut sink);
    log.finish(&mut sink);
    let db = log.inherited().db.clone();
    (!db.is_empty()).then_some(db)
}

/// Takes events and does nothing with them.
struct Nobody(Names);

impl Sink for Nobody {
    fn names(&mut self) -> &mut Names {
        &mut self.0
    }

    fn take(&mut self, _event: &Event<'_>) {}
}
