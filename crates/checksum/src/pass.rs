//! One pass over a table: pieces summed on the source while the one before is summed on the target.
//!
//! What differs is only collected here; `settle` looks at it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::future::try_join;
use tokio::sync::mpsc;

use crate::column::Kind;
use crate::error::ChecksumError;
use crate::node::Node;
use crate::pair::{Both, Load, Pair, reach};
use crate::piece::{Key, Pace, Piece, Stride, key_of, number};
use crate::report::Method;
use crate::sum::{Sum, Sums};
use crate::{Observer, Options, Progress, Stage};

/// Pieces that the source may be ahead of the target.
const AHEAD: usize = 2;

/// A piece as the source has it.
struct Summed {
    piece: Piece,
    sum: Sum,
    /// Everything that is in the sum is in what was committed by then; none where the target need not be waited for.
    position: Option<String>,
}

/// What a pass found.
#[derive(Default)]
pub(crate) struct Passed {
    pub(crate) rows: u64,
    pub(crate) pieces: u64,
    pub(crate) suspects: Vec<Piece>,
}

/// Cuts a table into pieces as it goes along.
struct Cutter<'s> {
    sums: &'s Sums,
    ordered: bool,
    after: Option<Key>,
    stride: Stride,
    pace: Pace,
    /// The least and the greatest number, where the key is one integer.
    ends: Option<(i128, i128)>,
    is_last: bool,
}

impl<'s> Cutter<'s> {
    async fn new(node: &mut Node, sums: &'s Sums, ordered: bool, pace: Pace) -> Result<Self, ChecksumError> {
        let is_integer =
            matches!(sums.side().key.as_slice(), [only] if only.kind == Kind::Int && !only.mixed);
        let ends = if ordered && is_integer { node.ends(sums).await? } else { None };
        Ok(Self { sums, ordered, after: None, stride: Stride::new(), pace, ends, is_last: false })
    }

    /// The next piece; none after the last one, which is open to the end.
    async fn next(&mut self, node: &mut Node) -> Result<Option<Piece>, ChecksumError> {
        if self.is_last {
            return Ok(None);
        }
        if !self.ordered {
            self.is_last = true;
            return Ok(Some(Piece::All));
        }
        let upto = self.upper_end(node).await?;
        self.is_last = upto.is_none();
        let piece = Piece::Keys { after: self.after.take(), upto: upto.clone() };
        self.after = upto;
        Ok(Some(piece))
    }

    async fn upper_end(&mut self, node: &mut Node) -> Result<Option<Key>, ChecksumError> {
        if let Some((least, greatest)) = self.ends {
            let after = self.after.as_ref().and_then(number).unwrap_or(least.saturating_sub(1));
            if let Some(upto) = self.stride.next(after, self.pace.amount()) {
                return Ok((upto < greatest).then(|| key_of(upto)));
            }
        }
        let rest = Piece::behind(self.after.clone());
        node.key_at(self.sums, &rest, self.pace.amount()).await
    }

    fn learn(&mut self, piece: &Piece, rows: u64, took_ms: u64) {
        self.pace.learn(rows, took_ms);
        let (Some((least, _)), Piece::Keys { after, upto: Some(upto) }) = (self.ends, piece) else { return };
        let after = after.as_ref().map_or(Some(least.saturating_sub(1)), number);
        if let (Some(after), Some(upto)) = (after, number(upto)) {
            self.stride.learn(after, upto, rows);
        }
    }
}

pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Pair<'_> {
    /// Sums a table on both sides and names the pieces that differ.
    pub(crate) async fn pass(
        &mut self,
        both: &Both,
        ordered: bool,
        rows_estimate: u64,
        progress: &Progress,
    ) -> Result<Passed, ChecksumError> {
        let (send, receive) = mpsc::channel(AHEAD);
        // The slower side sets the pace.
        let target_ms = AtomicU64::new(0);
        let pace = Pace::of_rows(self.options.chunk_ms, rows_estimate);
        let sending = Source {
            node: &mut self.source,
            sums: &both.source,
            options: self.options,
            observer: self.observer,
            target_ms: &target_ms,
        };
        let receiving = Target {
            node: &mut self.target,
            sums: &both.target,
            options: self.options,
            observer: self.observer,
            target_ms: &target_ms,
        };
        let (_, passed) =
            try_join(sending.run(send, ordered, pace), receiving.run(receive, progress)).await?;
        Ok(passed)
    }
}

struct Source<'p> {
    node: &'p mut Node,
    sums: &'p Sums,
    options: &'p Options,
    observer: &'p dyn Observer,
    target_ms: &'p AtomicU64,
}

impl Source<'_> {
    async fn run(self, send: mpsc::Sender<Summed>, ordered: bool, pace: Pace) -> Result<(), ChecksumError> {
        let mut cutter = Cutter::new(self.node, self.sums, ordered, pace).await?;
        let mut load = Load::new();
        while let Some(piece) = cutter.next(self.node).await? {
            load.wait(self.node, self.options, self.observer).await?;
            let began = Instant::now();
            let sum = self.node.sum(self.sums, &piece).await?;
            let took_ms = millis(began).max(self.target_ms.load(Ordering::Relaxed));
            cutter.learn(&piece, sum.rows, took_ms);
            let position = match self.options.method {
                Method::Optimistic => Some(self.node.position().await?),
                Method::Exact | Method::Galera | Method::Static => None,
            };
            if send.send(Summed { piece, sum, position }).await.is_err() {
                // The other half has failed and says why.
                return Ok(());
            }
        }
        Ok(())
    }
}

struct Target<'p> {
    node: &'p mut Node,
    sums: &'p Sums,
    options: &'p Options,
    observer: &'p dyn Observer,
    target_ms: &'p AtomicU64,
}

impl Target<'_> {
    async fn run(
        self,
        mut receive: mpsc::Receiver<Summed>,
        progress: &Progress,
    ) -> Result<Passed, ChecksumError> {
        let mut passed = Passed::default();
        while let Some(summed) = receive.recv().await {
            if let Some(position) = &summed.position {
                reach(self.node, position, self.options.lag_limit, self.observer).await?;
            }
            let began = Instant::now();
            let sum = self.node.sum(self.sums, &summed.piece).await?;
            self.target_ms.store(millis(began), Ordering::Relaxed);
            passed.rows += summed.sum.rows;
            passed.pieces += 1;
            if sum != summed.sum {
                passed.suspects.push(summed.piece);
            }
            self.observer.progress(&Progress {
                rows_done: progress.rows_done + passed.rows,
                stage: Stage::Summing,
                ..progress.clone()
            });
        }
        Ok(passed)
    }
}
