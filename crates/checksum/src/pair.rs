//! A source and a target, brought to one moment for each question: the target is asked once it has everything that
//! the source had when it answered.

use std::time::{Duration, Instant};

use futures_util::future::try_join;

use crate::error::ChecksumError;
use crate::node::{Listing, Node};
use crate::piece::{Pace, Piece};
use crate::report::Method;
use crate::sum::{Sum, Sums};
use crate::{Observer, Options, Progress, Stage};

/// How often the load is looked at.
const LOAD_EVERY: Duration = Duration::from_secs(1);

/// Both servers, and how they are compared.
pub(crate) struct Pair<'o> {
    pub(crate) source: Node,
    pub(crate) target: Node,
    pub(crate) options: &'o Options,
    pub(crate) observer: &'o dyn Observer,
    /// How large a table may be for a first look at it as a whole, in bytes.
    pub(crate) looks: Pace,
}

/// A table's expressions on both sides.
pub(crate) struct Both {
    pub(crate) source: Sums,
    pub(crate) target: Sums,
}

impl Pair<'_> {
    pub(crate) const fn method(&self) -> Method {
        self.options.method
    }

    /// Whether rows change while they are read.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.options.method, Method::Optimistic | Method::Galera)
    }

    /// Sums a piece on both sides, the target's not before it has what the source had.
    pub(crate) async fn sums(&mut self, both: &Both, piece: &Piece) -> Result<(Sum, Sum), ChecksumError> {
        if !self.is_live() {
            return try_join(self.source.sum(&both.source, piece), self.target.sum(&both.target, piece))
                .await;
        }
        let ours = self.source.sum(&both.source, piece).await?;
        self.catch_up().await?;
        Ok((ours, self.target.sum(&both.target, piece).await?))
    }

    /// Lists a piece's rows on both sides, as [`Self::sums`].
    pub(crate) async fn lists(
        &mut self,
        both: &Both,
        piece: &Piece,
    ) -> Result<(Listing, Listing), ChecksumError> {
        if !self.is_live() {
            let (source, target) = (&mut self.source, &mut self.target);
            return try_join(
                source.list(&both.source, piece, false),
                target.list(&both.target, piece, false),
            )
            .await;
        }
        let ours = self.source.list(&both.source, piece, false).await?;
        self.catch_up().await?;
        Ok((ours, self.target.list(&both.target, piece, false).await?))
    }

    /// Waits until the target has what the source has now.
    pub(crate) async fn catch_up(&mut self) -> Result<(), ChecksumError> {
        self.catch_up_within(self.options.lag_limit).await
    }

    /// As [`Self::catch_up`], with a limit of its own.
    pub(crate) async fn catch_up_within(&mut self, limit: Duration) -> Result<(), ChecksumError> {
        if self.method() != Method::Optimistic {
            return Ok(());
        }
        let position = self.source.position().await?;
        reach(&mut self.target, &position, limit, self.observer).await
    }
}

/// Waits until the target has applied what the source had at a position. The source is asked nothing meanwhile: this
/// is what keeps a comparison from running ahead of a replica that lags.
pub(crate) async fn reach(
    target: &mut Node,
    position: &str,
    limit: Duration,
    observer: &dyn Observer,
) -> Result<(), ChecksumError> {
    let began = Instant::now();
    while !target.has_reached(position).await? {
        let waited = began.elapsed();
        if waited >= limit {
            return Err(ChecksumError::Behind {
                node: target.name.clone(),
                position: position.to_owned(),
                seconds: limit.as_secs(),
            });
        }
        observer.progress(&Progress {
            target: target.name.clone(),
            stage: Stage::Lag { seconds: waited.as_secs() },
            ..Progress::default()
        });
    }
    Ok(())
}

/// Looks at a server's load now and then, and waits while it is high.
pub(crate) struct Load {
    looked: Option<Instant>,
}

impl Load {
    pub(crate) const fn new() -> Self {
        Self { looked: None }
    }

    pub(crate) async fn wait(
        &mut self,
        node: &mut Node,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<(), ChecksumError> {
        let Some(limit) = options.load_max else { return Ok(()) };
        if self.looked.is_some_and(|at| at.elapsed() < LOAD_EVERY) {
            return Ok(());
        }
        loop {
            let threads = node.threads_running().await?;
            self.looked = Some(Instant::now());
            if threads <= limit {
                return Ok(());
            }
            observer.progress(&Progress {
                target: node.name.clone(),
                stage: Stage::Load { threads },
                ..Progress::default()
            });
            tokio::time::sleep(LOAD_EVERY).await;
        }
    }
}
