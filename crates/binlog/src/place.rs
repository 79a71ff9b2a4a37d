//! Where a log can be cut, so that its parts are read at the same time: before a transaction.
//!
//! A place is a guess: bytes in the middle of a log can look like an event and be a value. Who joins the parts finds
//! out, as the part before does then not stop there.

use std::io::Read;

use crate::event::{self, Event};
use crate::frames::{Frames, OnDamage, ReadOptions};
use crate::header::Format;

/// Bytes in which a transaction has to begin.
const SEARCHED_BYTES: u64 = 32 << 20;

/// Where an event begins, and what has to be known to read on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// In bytes from the start of the log; 0 is its beginning.
    pub(crate) offset: u64,
    /// How the events are written.
    pub(crate) format: Format,
    /// Pieces of a rows event that go on behind it (MariaDB 12.3).
    pub(crate) pieces: Vec<u8>,
}

impl Place {
    /// In bytes from the start of the log.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the first transaction begins in a log, of which `source` gives the beginning; none if that is not near, or
    /// if it is no plain log.
    pub fn first<R: Read>(source: R, options: ReadOptions) -> Option<Self> {
        let frames = Frames::file(source.take(SEARCHED_BYTES), skipping(options)).ok()?;
        next_transaction(frames)
    }

    /// Where a transaction begins behind `offset`, at which `source` begins, in a log that this is a place of; none if
    /// that is not near.
    pub fn next<R: Read>(&self, source: R, offset: u64, options: ReadOptions) -> Option<Self> {
        let mut frames = Frames::part(source.take(SEARCHED_BYTES), skipping(options), &self.format, offset);
        frames.seek().ok()?;
        next_transaction(frames)
    }
}

fn skipping(options: ReadOptions) -> ReadOptions {
    ReadOptions { on_damage: OnDamage::Skip, is_stream: false, ..options }
}

fn next_transaction<R: Read>(mut frames: Frames<R>) -> Option<Place> {
    while let Some((frame, format)) = frames.next().ok()? {
        let begins = frame.header.kind.begins_transaction()
            && matches!(event::decode(&frame.header, format, frame.body), Ok(Event::Start(_)));
        if begins {
            return Some(Place { offset: frame.offset, format: format.clone(), pieces: Vec::new() });
        }
    }
    None
}
