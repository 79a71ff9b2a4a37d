//! The logs' changes applied to the table that is made, stretch by stretch.
//!
//! Memory is bounded: a stretch keeps rows of at most a quarter of it in the log's own form, which as text are seldom
//! four times as long; where they are, the stretch is read again in smaller ones, and a transaction that alone is too
//! large in several passes, each for a share of the keys.

use std::sync::atomic::Ordering;

use binlog::{Fold, FoldOptions, SESSION, Schema, Select, Stop};
use serde::Serialize;
use server::Loader;

use super::cascade::{self, Watch};
use super::error::RewindError;
use super::scratch::{Scratch, ask, run};
use super::sequence::Sequence;
use super::stretch::{Cursor, End, Feed, Stretch, Taker};
use super::table::{TableOptions, TableProgress};

/// About how long a statement becomes. Every server takes as much by default.
const STATEMENT_BYTES: usize = 512 << 10;
/// Statements in a transaction: what is written at once, and what a killed run leaves to undo.
const STATEMENTS_AT_ONCE: usize = 16;
/// Of single rows.
const ROWS_AT_ONCE: usize = 1000;
const PASSES_MAX: u32 = 256;

/// What the logs came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// Bytes of logs read.
    pub log_bytes: u64,
    /// Changes of the table's rows in them.
    pub changes: u64,
    /// Rows written or removed for these.
    pub rows: u64,
    /// Stretches.
    pub stretches: u64,
    /// Statements that changed the table as a whole, done again.
    pub ddl: Vec<String>,
    /// Whether changes were applied one by one, for want of a primary key.
    pub is_sequential: bool,
}

struct Replay<'r> {
    feed: &'r Feed,
    loader: &'r mut Loader,
    scratch: &'r Scratch,
    table: (&'r str, &'r str),
    memory_bytes: usize,
    progress: &'r TableProgress,
    replayed: Replayed,
}

/// Applies everything from a cursor to the point.
pub(crate) async fn replay(
    feed: &Feed,
    start: Cursor,
    loader: &mut Loader,
    scratch: &Scratch,
    options: &TableOptions,
    progress: &TableProgress,
) -> Result<Replayed, RewindError> {
    let table = (options.database.as_str(), options.table.as_str());
    let (memory_bytes, replayed) = (options.memory_bytes, Replayed::default());
    let mut replay = Replay { feed, loader, scratch, table, memory_bytes, progress, replayed };
    let mut cursor = start;
    let mut row_bytes_max = memory_bytes as u64 / 4;
    loop {
        let (end, is_smaller) = replay.stretch(cursor, row_bytes_max).await?;
        let Some(end) = end else {
            row_bytes_max = is_smaller;
            continue;
        };
        replay.replayed.stretches += 1;
        match end {
            End::Point => return Ok(replay.replayed),
            End::Full(next) => cursor = next,
            End::Ddl(ddl, next) => {
                if !options.accepts_cascades {
                    let cascades = cascade::scan(feed, next, Watch::of_statement(&ddl.text, table)).await?;
                    if !cascades.is_empty() {
                        return Err(RewindError::Cascades {
                            table: format!("{}.{}", table.0, table.1),
                            cascades,
                        });
                    }
                }
                super::ddl::apply(replay.loader, &ddl, scratch, table).await?;
                let shown = binlog::shortened(ddl.text.as_bytes(), 200);
                replay.replayed.ddl.push(format!("{} {shown}", ddl.place));
                cursor = next;
            }
        }
    }
}

impl Replay<'_> {
    /// One stretch. Without an end it did not fit, and the second value is how much to try next.
    async fn stretch(
        &mut self,
        cursor: Cursor,
        row_bytes_max: u64,
    ) -> Result<(Option<End>, u64), RewindError> {
        for line in
            SESSION.iter().chain(&["SET SESSION foreign_key_checks = 0", "SET SESSION timestamp = DEFAULT"])
        {
            run(self.loader, line, "setting the session up").await?;
        }
        let schema = self.schema().await?;
        let (database, table) = self.table;
        let has_key = schema.find(database, table).is_none_or(|columns| columns.iter().any(|it| it.is_key));
        if !has_key {
            return self
                .sequential(cursor, row_bytes_max, schema)
                .await
                .map(|end| (Some(end), row_bytes_max));
        }
        let mut stretch = self.folded(cursor, row_bytes_max, &schema, (1, 0)).await?;
        if let Some(passes) = too_large(&stretch)? {
            if row_bytes_max > 0 {
                return Ok((None, if row_bytes_max < 1 << 20 { 0 } else { row_bytes_max / 2 }));
            }
            stretch = self.in_passes(cursor, &schema, passes).await?;
        }
        self.counted(&stretch);
        let end = stretch.end.clone();
        self.write(stretch).await?;
        Ok((Some(end), row_bytes_max))
    }

    /// All passes but the last are applied; the last is given back.
    async fn in_passes(
        &mut self,
        cursor: Cursor,
        schema: &Schema,
        wanted: u32,
    ) -> Result<Stretch, RewindError> {
        let mut passes = wanted;
        let mut pass = 0;
        loop {
            let stretch = self.folded(cursor, 0, schema, (passes, pass)).await?;
            if let Some(more) = too_large(&stretch)? {
                if more > PASSES_MAX || pass > 0 {
                    return Err(RewindError::refused(
                        format!("one transaction has more rows than fit {} bytes", self.memory_bytes),
                        "give it more with --memory-mib",
                    ));
                }
                passes = more;
                continue;
            }
            pass += 1;
            if pass == passes {
                return Ok(stretch);
            }
            self.write(stretch).await?;
        }
    }

    async fn folded(
        &self,
        cursor: Cursor,
        row_bytes_max: u64,
        schema: &Schema,
        (passes, pass): (u32, u32),
    ) -> Result<Stretch, RewindError> {
        let fold = Fold::new(FoldOptions {
            database: self.table.0.to_owned(),
            table: self.table.1.to_owned(),
            into: Some(self.scratch.table(self.table.1)?),
            select: Select::default(),
            schema: Some(schema.clone()),
            passes,
            pass,
            memory_bytes: self.memory_bytes,
        });
        // With nothing to keep, a stretch is one transaction that has rows of the table.
        self.feed.read(cursor, Taker::Fold(Box::new(fold)), row_bytes_max.max(1)).await
    }

    async fn sequential(
        &mut self,
        cursor: Cursor,
        row_bytes_max: u64,
        schema: Schema,
    ) -> Result<End, RewindError> {
        self.replayed.is_sequential = true;
        let (database, table) = (self.table.0.to_owned(), self.table.1.to_owned());
        let into = self.scratch.table(&table)?;
        let taker = Taker::Sequence(Box::new(Sequence::new((database, table), into, schema)));
        let stretch = self.feed.read(cursor, taker, row_bytes_max).await?;
        self.counted(&stretch);
        let end = stretch.end.clone();
        self.write(stretch).await?;
        Ok(end)
    }

    fn counted(&mut self, stretch: &Stretch) {
        self.replayed.log_bytes += stretch.log_bytes;
        self.progress.log_bytes.fetch_add(stretch.log_bytes, Ordering::Relaxed);
        self.replayed.changes += match &stretch.taker {
            Taker::Fold(fold) => fold.changes(),
            Taker::Sequence(sequence) => sequence.statements.len() as u64,
            Taker::Watch(_) => 0,
        };
    }

    async fn write(&mut self, stretch: Stretch) -> Result<(), RewindError> {
        match stretch.taker {
            Taker::Fold(fold) => {
                let mut statements = fold.statements(STATEMENT_BYTES);
                loop {
                    let before = statements.rows();
                    let some: Vec<String> = statements.by_ref().take(STATEMENTS_AT_ONCE).collect();
                    if some.is_empty() {
                        return Ok(());
                    }
                    self.together(&some, false).await?;
                    self.wrote((before - statements.rows()) as u64);
                }
            }
            Taker::Sequence(sequence) => {
                for some in sequence.statements.chunks(ROWS_AT_ONCE) {
                    self.together(some, true).await?;
                    self.wrote(some.len() as u64);
                }
                Ok(())
            }
            Taker::Watch(_) => Ok(()),
        }
    }

    fn wrote(&mut self, rows: u64) {
        self.replayed.rows += rows;
        self.progress.rows_written.fetch_add(rows, Ordering::Relaxed);
    }

    /// In one transaction. A change of one row that meets none shows that the table is not what it was.
    async fn together(&mut self, statements: &[String], each_is_a_row: bool) -> Result<(), RewindError> {
        run(self.loader, "START TRANSACTION", "applying changes").await?;
        for statement in statements {
            let done = self.loader.run(statement.as_bytes()).await;
            let done = done.map_err(RewindError::server("applying changes"))?;
            if each_is_a_row && done.affected_rows != 1 {
                let shown = binlog::shortened(statement.as_bytes(), 200);
                return Err(RewindError::refused(
                    format!(
                        "a change of one row meets {} rows, so what is restored is not what it was: {shown}",
                        done.affected_rows
                    ),
                    "tables without primary key are replayed by all columns, which floating point may spoil; begin with a later --backup",
                ));
            }
        }
        run(self.loader, "COMMIT", "applying changes").await
    }

    /// The table's columns as they are now; nothing while it is not there.
    async fn schema(&mut self) -> Result<Schema, RewindError> {
        let mut schema = Schema::default();
        let (database, table) = self.table;
        if super::table::comment(self.loader, &self.scratch.name, table).await?.is_none() {
            return Ok(schema);
        }
        let question = format!("SHOW CREATE TABLE {}", self.scratch.table(table)?);
        let rows = ask(self.loader, question, "reading the table's columns").await?;
        let text = rows.first().and_then(|row| row.text_at(1)).unwrap_or_default();
        schema.read_script(text, database);
        Ok(schema)
    }
}

/// How many passes a stretch needs that did not fit.
fn too_large(stretch: &Stretch) -> Result<Option<u32>, RewindError> {
    match &stretch.taker {
        Taker::Sequence(_) | Taker::Watch(_) => Ok(None),
        Taker::Fold(fold) => match fold.stopped() {
            None => Ok(None),
            Some(Stop::TooLarge { passes }) => Ok(Some(*passes)),
            Some(Stop::Obstacle(it)) => Err(RewindError::Obstacle {
                place: format!("{}:{}", it.file, it.position),
                problem: it.problem.clone(),
            }),
        },
    }
}
