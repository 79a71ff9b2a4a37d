//! The order in which pieces of rows are read and handed out: largest tables first, as many tables at once as there are
//! sessions, each table in its own order. The same dump gives the same order every time.

use std::collections::VecDeque;
use std::io::{self, Read as _};

use super::error::RestoreError;
use super::input::{Bytes, SourceFile, skip};
use super::survey::{PlacedRun, failed};

/// A piece to be read.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The table's number in the plan.
    pub(crate) table: usize,
    /// The piece's number in its table.
    pub(crate) number: usize,
    pub(crate) run: PlacedRun,
}

/// Pieces that are read one after the other.
#[derive(Debug, Default)]
struct Lane {
    pieces: VecDeque<Piece>,
    bytes: u64,
}

/// Reads pieces in their order.
pub(crate) struct Feed {
    lanes: VecDeque<Lane>,
    active: VecDeque<(Lane, Option<Open>)>,
    width: usize,
    files: Vec<SourceFile>,
}

/// A file's text, read up to somewhere.
struct Open {
    file: usize,
    text: Bytes,
    at: u64,
}

impl Feed {
    /// A feed of these pieces for so many sessions.
    pub(crate) fn new(pieces: Vec<Piece>, files: Vec<SourceFile>, width: usize) -> Self {
        let mut lanes: Vec<(LaneKey, Lane)> = Vec::new();
        for piece in pieces {
            // A file that can only be read from its beginning and holds several tables is one lane.
            let is_shared = files.len() == 1 && files.first().is_some_and(|file| !file.is_seekable);
            let key = if is_shared { LaneKey::File(piece.run.file) } else { LaneKey::Table(piece.table) };
            let lane = match lanes.iter_mut().rev().find(|(known, _)| *known == key) {
                Some((_, lane)) => lane,
                None => {
                    lanes.push((key, Lane::default()));
                    let Some((_, lane)) = lanes.last_mut() else { continue };
                    lane
                }
            };
            lane.bytes += piece.run.length;
            lane.pieces.push_back(piece);
        }
        let mut lanes: Vec<Lane> = lanes.into_iter().map(|(_, lane)| lane).collect();
        for lane in &mut lanes {
            lane.pieces.make_contiguous().sort_by_key(|piece| (piece.run.file, piece.run.offset));
        }
        // Stable, so that tables of one size keep the dump's order.
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.bytes));
        Self { lanes: lanes.into(), active: VecDeque::new(), width: width.max(1), files }
    }

    /// The next piece with its text; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(Piece, Vec<u8>)>, RestoreError> {
        loop {
            while self.active.len() < self.width
                && let Some(lane) = self.lanes.pop_front()
            {
                self.active.push_back((lane, None));
            }
            let Some((mut lane, mut open)) = self.active.pop_front() else { return Ok(None) };
            let Some(piece) = lane.pieces.pop_front() else { continue };
            let Some(file) = self.files.get(piece.run.file) else {
                return Err(RestoreError::Worker(format!("no file {}", piece.run.file)));
            };
            let text = read(file, &piece.run, &mut open).map_err(failed(&file.origin.to_string()))?;
            self.active.push_back((lane, open));
            return Ok(Some((piece, text)));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneKey {
    File(usize),
    Table(usize),
}

fn read(file: &SourceFile, run: &PlacedRun, open: &mut Option<Open>) -> io::Result<Vec<u8>> {
    let mut current = match open.take() {
        Some(mut current) if current.file == run.file && current.at <= run.offset => {
            skip(&mut current.text, run.offset - current.at)?;
            current
        }
        Some(_) | None => Open { file: run.file, text: file.text_from(run.offset)?, at: run.offset },
    };
    let mut text = Vec::with_capacity(usize::try_from(run.length).unwrap_or(0).min(1 << 30));
    current.text.by_ref().take(run.length).read_to_end(&mut text)?;
    if (text.len() as u64) < run.length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
    }
    current.at = run.offset + run.length;
    *open = Some(current);
    Ok(text)
}
