//! Pieces that differed, looked at again and narrowed down to rows, and each row made sure of.
//!
//! A sum taken while rows change may belong to no moment of the target, so a difference counts only when it stays:
//! for the rows that are left, the source's are locked for as long as the target takes to get there, a moment each.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::ChecksumError;
use crate::node::{Listing, Values};
use crate::pair::{Both, Pair};
use crate::piece::{Key, Piece};
use crate::repair::Repairs;
use crate::report::{Method, RowDifference, RowState, TableReport, row_difference, shown};
use crate::sum::Sum;
use crate::table::Shape;

/// Pieces of so many rows are listed row by row.
const LISTED_ROWS: u64 = 1_000;
/// Slices of a table that cannot be cut by a key.
const SLICE_ROWS: u64 = 100_000;
/// Rows made sure of at once.
const BATCH_ROWS: usize = 50;
/// Pauses between looks at what differs.
const BACKOFF_MS: [u64; 3] = [50, 200, 800];
/// Before the one look at halves of such a piece: rows are made sure of anyhow.
const HALVES_MS: [u64; 1] = [20];
/// Pauses between looks at locked rows. MySQL lets a commit be seen a moment before its GTID is.
const LOCKED_MS: [u64; 3] = [2, 20, 200];
/// Looks at a row that cannot be locked.
const LOOKS: usize = 5;
/// How long rows may be locked for the target to get there.
const LOCKED_LIMIT: Duration = Duration::from_secs(2);
/// Tries to lock rows.
const LOCK_TRIES: usize = 3;
/// Statements held before they are written down.
const REPAIR_BYTES: usize = 16 << 20;

/// A table's differences as they are found.
pub(crate) struct Settling<'t> {
    pub(crate) both: &'t Both,
    pub(crate) shape: &'t Shape,
    pub(crate) transactional: bool,
    pub(crate) report: &'t mut TableReport,
    pub(crate) repairs: Repairs,
    seen: BTreeSet<Key>,
}

impl<'t> Settling<'t> {
    pub(crate) const fn new(
        both: &'t Both,
        shape: &'t Shape,
        transactional: bool,
        report: &'t mut TableReport,
        repairs: Repairs,
    ) -> Self {
        Self { both, shape, transactional, report, repairs, seen: BTreeSet::new() }
    }
}

impl Pair<'_> {
    /// Finds the rows that differ in pieces that did.
    pub(crate) async fn settle(
        &mut self,
        table: &mut Settling<'_>,
        suspects: Vec<Piece>,
    ) -> Result<(), ChecksumError> {
        let mut pieces = self.look_again(table, suspects, &BACKOFF_MS).await?;
        while let Some((piece, ours, theirs)) = pieces.pop() {
            if table.report.differing() >= self.options.differences_max {
                table.report.cut_short = true;
                break;
            }
            let rows = ours.rows.max(theirs.rows);
            if table.shape.source.key.is_empty() {
                self.by_content(table, rows).await?;
            } else if !table.shape.is_ordered {
                let of = u32::try_from(rows.div_ceil(SLICE_ROWS)).unwrap_or(u32::MAX).max(1);
                for at in 0..of {
                    let piece = if of == 1 { Piece::All } else { Piece::Slice { of, at } };
                    self.by_list(table, &piece).await?;
                }
            } else if rows <= LISTED_ROWS {
                self.by_list(table, &piece).await?;
            } else {
                let halves = self.halves(table, &piece, &ours, &theirs).await?;
                match halves {
                    Some(halves) => pieces.extend(self.look_again(table, halves.into(), &HALVES_MS).await?),
                    None => self.by_list(table, &piece).await?,
                }
            }
            if table.repairs.bytes() > REPAIR_BYTES {
                self.observer
                    .repair(&self.target.name, &table.repairs.take())
                    .map_err(ChecksumError::Repair)?;
            }
        }
        self.observer.repair(&self.target.name, &table.repairs.take()).map_err(ChecksumError::Repair)
    }

    /// The pieces that still differ. Equal at any one moment is equal; while rows change, several are tried.
    async fn look_again(
        &mut self,
        table: &Settling<'_>,
        mut pieces: Vec<Piece>,
        pauses_ms: &[u64],
    ) -> Result<Vec<(Piece, Sum, Sum)>, ChecksumError> {
        let looks: &[u64] = if self.is_live() { pauses_ms } else { &[0] };
        let mut different = Vec::new();
        for pause_ms in looks {
            different.clear();
            if *pause_ms > 0 && !pieces.is_empty() {
                tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            }
            for piece in std::mem::take(&mut pieces) {
                let (ours, theirs) = self.sums(table.both, &piece).await?;
                if ours != theirs {
                    different.push((piece.clone(), ours, theirs));
                    pieces.push(piece);
                }
            }
        }
        Ok(different)
    }

    /// A piece cut in two at the middle of the side with more rows.
    async fn halves(
        &mut self,
        table: &Settling<'_>,
        piece: &Piece,
        ours: &Sum,
        theirs: &Sum,
    ) -> Result<Option<[Piece; 2]>, ChecksumError> {
        let Piece::Keys { after, upto } = piece else { return Ok(None) };
        let middle = if ours.rows >= theirs.rows {
            self.source.key_at(&table.both.source, piece, ours.rows / 2).await?
        } else {
            self.target.key_at(&table.both.target, piece, theirs.rows / 2).await?
        };
        Ok(middle.map(|middle| {
            let first = Piece::Keys { after: after.clone(), upto: Some(middle.clone()) };
            [first, Piece::Keys { after: Some(middle), upto: upto.clone() }]
        }))
    }

    /// Compares a piece row by row.
    async fn by_list(&mut self, table: &mut Settling<'_>, piece: &Piece) -> Result<(), ChecksumError> {
        let (ours, theirs) = self.lists(table.both, piece).await?;
        let keys = differing(&ours, &theirs);
        for batch in keys.chunks(BATCH_ROWS) {
            if table.report.differing() >= self.options.differences_max {
                table.report.cut_short = true;
                return Ok(());
            }
            self.make_sure(table, batch).await?;
        }
        Ok(())
    }

    /// Tells of each of a few rows whether it really differs.
    async fn make_sure(&mut self, table: &mut Settling<'_>, keys: &[Key]) -> Result<(), ChecksumError> {
        match self.method() {
            Method::Static | Method::Exact => self.show(table, keys).await,
            Method::Optimistic if self.options.locks && table.transactional => {
                for _ in 0..LOCK_TRIES {
                    // What it lags is waited for before anything is locked.
                    self.catch_up().await?;
                    let done = self.under_lock(table, keys).await;
                    self.source.end_transaction().await?;
                    match done {
                        // Somebody holds a lock on one of them, or wants one.
                        Err(ChecksumError::Server { source, .. })
                            if matches!(source.code(), Some(1205 | 1213)) => {}
                        Err(ChecksumError::Behind { .. }) => {}
                        other => return other,
                    }
                }
                self.watch(table, keys).await
            }
            Method::Optimistic | Method::Galera => self.watch(table, keys).await,
        }
    }

    /// Compares rows while nobody can change them on the source.
    async fn under_lock(&mut self, table: &mut Settling<'_>, keys: &[Key]) -> Result<(), ChecksumError> {
        // So that gaps are locked too: a row that is not there must not come.
        self.source.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        self.source.run("START TRANSACTION").await?;
        let piece = Piece::Rows(keys.to_vec());
        let ours = self.source.list(&table.both.source, &piece, true).await?;
        let mut left = keys.to_vec();
        for pause_ms in LOCKED_MS {
            self.catch_up_within(LOCKED_LIMIT).await?;
            let theirs = self.target.list(&table.both.target, &piece, false).await?;
            left = differing(&ours, &theirs);
            if left.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        self.show(table, &left).await
    }

    /// Compares rows that cannot be locked: one that differs in the same way all the time does.
    async fn watch(&mut self, table: &mut Settling<'_>, keys: &[Key]) -> Result<(), ChecksumError> {
        let mut left = keys.to_vec();
        let mut first: Option<(Listing, Listing)> = None;
        let mut restless = BTreeSet::new();
        for _ in 0..LOOKS {
            let piece = Piece::Rows(left.clone());
            let (ours, theirs) = self.lists(table.both, &piece).await?;
            left = differing(&ours, &theirs);
            if left.is_empty() {
                return Ok(());
            }
            let (ours_first, theirs_first) = first.get_or_insert_with(|| (ours.clone(), theirs.clone()));
            for key in &left {
                if ours.get(key) != ours_first.get(key) || theirs.get(key) != theirs_first.get(key) {
                    restless.insert(key.clone());
                }
            }
            tokio::time::sleep(Duration::from_millis(BACKOFF_MS[1])).await;
        }
        let (restless, still): (Vec<Key>, Vec<Key>) =
            left.into_iter().partition(|key| restless.contains(key));
        table.report.undecided += u64::try_from(restless.len()).unwrap_or(u64::MAX);
        self.show(table, &still).await
    }

    /// Fetches rows that differ, one by one, and writes down in what.
    async fn show(&mut self, table: &mut Settling<'_>, keys: &[Key]) -> Result<(), ChecksumError> {
        for key in keys {
            let piece = Piece::Rows(vec![key.clone()]);
            let (ours, theirs) = (table.both.source.rows(&piece)?, table.both.target.rows(&piece)?);
            let columns = table.shape.source.columns.len();
            let source = self.source.row(&ours, columns).await?;
            let target = self.target.row(&theirs, columns).await?;
            self.note(table, source.as_ref(), target.as_ref())?;
        }
        Ok(())
    }

    fn note(
        &self,
        table: &mut Settling<'_>,
        source: Option<&Values>,
        target: Option<&Values>,
    ) -> Result<(), ChecksumError> {
        let side = &table.shape.source;
        let names: Vec<String> = side.key.iter().map(|column| column.name.clone()).collect();
        let Some(difference) = row_difference(&side.columns, &names, source, target) else { return Ok(()) };
        // A key that differs in case alone is one row to the server, and was listed as two.
        let values = source.or(target).into_iter().flatten();
        let key: Key = side
            .columns
            .iter()
            .zip(values)
            .filter(|(column, _)| names.contains(&column.name))
            .map(|(_, value)| value.clone())
            .collect();
        if !table.seen.insert(key) {
            return Ok(());
        }
        table.report.count(difference.state, 1);
        table.repairs.add(&table.shape.target, table.shape.is_whole, source, target)?;
        if table.report.differences.len() < self.options.shown_max {
            table.report.differences.push(difference);
        }
        Ok(())
    }

    /// Compares a table without a key: how often is each content there.
    async fn by_content(&mut self, table: &mut Settling<'_>, rows: u64) -> Result<(), ChecksumError> {
        let of = u32::try_from(rows.div_ceil(SLICE_ROWS)).unwrap_or(u32::MAX).max(1);
        for at in 0..of {
            let piece = if of == 1 { Piece::All } else { Piece::Slice { of, at } };
            let ours = self.source.list_sums(&table.both.source, &piece).await?;
            self.catch_up().await?;
            let theirs = self.target.list_sums(&table.both.target, &piece).await?;
            let sums: BTreeSet<u64> = ours.keys().chain(theirs.keys()).copied().collect();
            for sum in sums {
                let (here, there) =
                    (ours.get(&sum).copied().unwrap_or(0), theirs.get(&sum).copied().unwrap_or(0));
                if here == there {
                    continue;
                }
                if table.report.differing() >= self.options.differences_max {
                    table.report.cut_short = true;
                    return Ok(());
                }
                let state = if here > there { RowState::Missing } else { RowState::Extra };
                self.note_content(table, sum, state, here.abs_diff(there)).await?;
            }
        }
        Ok(())
    }

    async fn note_content(
        &mut self,
        table: &mut Settling<'_>,
        sum: u64,
        state: RowState,
        times: u64,
    ) -> Result<(), ChecksumError> {
        table.report.count(state, times);
        if table.report.differences.len() >= self.options.shown_max {
            return Ok(());
        }
        let columns = &table.shape.source.columns;
        let values = match state {
            RowState::Extra => self.target.row(&table.both.target.row_of_sum(sum), columns.len()).await?,
            RowState::Missing | RowState::Changed => {
                self.source.row(&table.both.source.row_of_sum(sum), columns.len()).await?
            }
        };
        let Some(values) = values else { return Ok(()) };
        let shown = columns.iter().zip(&values).map(|(column, value)| {
            let value = Some(shown(column, value.as_deref()));
            let (source, target) = if state == RowState::Extra { (None, value) } else { (value, None) };
            crate::report::ColumnDifference { column: column.name.clone(), source, target }
        });
        let columns = shown.collect();
        table.report.differences.push(RowDifference { state, key: Vec::new(), columns, times });
        Ok(())
    }
}

/// The keys that only one side has, or with another sum.
fn differing(ours: &Listing, theirs: &Listing) -> Vec<Key> {
    let here = ours.iter().filter(|(key, sum)| theirs.get(*key) != Some(*sum)).map(|(key, _)| key.clone());
    let there = theirs.keys().filter(|key| !ours.contains_key(*key)).cloned();
    here.chain(there).collect()
}
