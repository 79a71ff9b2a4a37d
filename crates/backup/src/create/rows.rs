//! Rows as files of INSERT statements: tables cut into ranges, and workers that read them, each with a session of its
//! own. It opens no session and makes no definition.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dump::layout::Part;
use dump::literal::{Form, RowsDigest, push_row};
use dump::manifest::{ChunkRecord, FileRole};
use dump::ranges::{self, KeyRange};
use server::{Connection, Sql};
use tokio::task::JoinSet;

use super::catalog::{KeyKind, Table, ident};
use super::error::{CreateError, During};
use super::files::{Files, OutFile};
use super::progress::Progress;
use super::schema::HEADER;

/// Longest that one SELECT may take, and be silent.
const SELECT_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
const SILENCE: Duration = Duration::from_secs(1800);
/// Longest that a bound is searched.
const BOUND_LIMIT: Duration = Duration::from_secs(3600);
/// How often a held back worker looks again.
const HELD_BACK: Duration = Duration::from_millis(200);
/// Files of one worker that are being made durable and read back while it reads on.
const FINISHING: usize = 2;

/// A table to read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) database: String,
    pub(crate) table: Table,
    /// Names in names of files.
    pub(crate) file_names: (String, String),
}

/// What is written how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) chunk_bytes: u64,
    pub(crate) statement_bytes: usize,
}

/// What came of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableRows {
    pub(crate) digest: RowsDigest,
    pub(crate) sql_bytes: u64,
    pub(crate) chunks: Vec<ChunkRecord>,
}

/// A range of a table, by the table's place in the list.
struct Job {
    source: usize,
    number: u64,
    range: KeyRange,
}

struct Done {
    source: usize,
    number: u64,
    digest: RowsDigest,
    sql_bytes: u64,
    /// None for a range without rows.
    file: Option<String>,
}

/// Reads all tables with all sessions; what came is in the order of `sources`.
pub(crate) async fn read(
    readers: Vec<Connection>,
    sources: Vec<Source>,
    shape: Shape,
    files: &Files,
    progress: &Arc<Progress>,
) -> Result<Vec<TableRows>, CreateError> {
    let sources = Arc::new(sources);
    // Largest first: a large one begun last would leave all workers but one idle at the end.
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(sources.get(at).map_or(0, |source| source.table.data_bytes)));
    let shared = Arc::new(Shared {
        sources: Arc::clone(&sources),
        planning: Mutex::new(order.into()),
        jobs: Mutex::new(VecDeque::new()),
        left: sources.iter().map(|_| AtomicUsize::new(0)).collect(),
        shape,
        files: files.clone(),
        progress: Arc::clone(progress),
    });
    let readers = in_parallel(readers, &shared, plan).await?.into_iter().map(|(reader, ())| reader).collect();
    shared.sort_jobs();
    let mut done = Vec::new();
    for (reader, part) in in_parallel(readers, &shared, work).await? {
        done.extend(part);
        reader.close().await;
    }
    done.sort_by_key(|one| (one.source, one.number));
    let mut tables = vec![TableRows::default(); sources.len()];
    for one in done {
        let Some(table) = tables.get_mut(one.source) else { continue };
        table.digest.merge(one.digest);
        table.sql_bytes += one.sql_bytes;
        let (rows, sql_bytes) = (one.digest.rows(), one.sql_bytes);
        table.chunks.extend(one.file.map(|file| ChunkRecord { file, rows, sql_bytes }));
    }
    Ok(tables)
}

struct Shared {
    sources: Arc<Vec<Source>>,
    planning: Mutex<VecDeque<usize>>,
    jobs: Mutex<VecDeque<Job>>,
    /// Ranges of each table that are not done.
    left: Vec<AtomicUsize>,
    shape: Shape,
    files: Files,
    progress: Arc<Progress>,
}

impl Shared {
    fn next_planned(&self) -> Option<usize> {
        self.planning.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn next_job(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn sort_jobs(&self) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |job: &Job| self.sources.get(job.source).map_or(0, |source| source.table.data_bytes);
        jobs.make_contiguous().sort_by_key(|job| (std::cmp::Reverse(size(job)), job.source, job.number));
    }
}

/// Runs the same work with every session; the first failure ends all.
async fn in_parallel<T, F, R>(
    readers: Vec<Connection>,
    shared: &Arc<Shared>,
    run: R,
) -> Result<Vec<(Connection, T)>, CreateError>
where
    T: Send + 'static,
    F: Future<Output = Result<(Connection, T), CreateError>> + Send + 'static,
    R: Fn(Connection, Arc<Shared>) -> F,
{
    let mut tasks = JoinSet::new();
    for reader in readers {
        tasks.spawn(run(reader, Arc::clone(shared)));
    }
    let mut results = Vec::new();
    // Dropping the set on the way out aborts the rest.
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(|error| CreateError::Broken { what: error.to_string() })?;
        results.push(ended?);
    }
    Ok(results)
}

async fn plan(mut reader: Connection, shared: Arc<Shared>) -> Result<(Connection, ()), CreateError> {
    while let Some(at) = shared.next_planned() {
        let Some(source) = shared.sources.get(at) else { continue };
        let ranges = cut(&mut reader, source, shared.shape.chunk_bytes).await?;
        match shared.left.get(at) {
            Some(left) if !ranges.is_empty() => left.store(ranges.len(), Ordering::Relaxed),
            Some(_) | None => shared.progress.table_done(),
        }
        let mut jobs = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.extend((0..).zip(ranges).map(|(number, range)| Job { source: at, number, range }));
    }
    Ok((reader, ()))
}

/// The ranges of a table.
async fn cut(
    reader: &mut Connection,
    source: &Source,
    chunk_bytes: u64,
) -> Result<Vec<KeyRange>, CreateError> {
    let table = &source.table;
    let pieces = table.data_bytes.div_ceil(chunk_bytes.max(1));
    let chunk_rows = table.rows_estimate.div_ceil(pieces.max(1)).max(1);
    if table.without_rows {
        return Ok(Vec::new());
    }
    if pieces <= 1 || table.key.is_empty() || table.key.iter().any(|column| column.kind == KeyKind::Other) {
        return Ok(vec![KeyRange::all()]);
    }
    match table.key.as_slice() {
        [only] if only.kind == KeyKind::Whole => even(reader, source, &only.name, chunk_rows).await,
        _ => by_search(reader, source, chunk_rows).await,
    }
}

async fn even(
    reader: &mut Connection,
    source: &Source,
    key: &str,
    chunk_rows: u64,
) -> Result<Vec<KeyRange>, CreateError> {
    let (name, key) = (qualified(source)?, ident(key)?);
    let sql = format!("SELECT MIN({key}) AS lowest, MAX({key}) AS highest FROM {name}");
    let rows = reader.query(&Sql::plain(sql)).await.during(|| format!("find the ends of {name}"))?;
    let bound = |column: &str| rows.first().and_then(|row| row.parsed::<i128>(column));
    Ok(match bound("lowest").zip(bound("highest")) {
        Some((lowest, highest)) => ranges::even(lowest, highest, source.table.rows_estimate, chunk_rows),
        None => vec![KeyRange::all()],
    })
}

/// Bounds that stand so many rows apart, found by walking the key from one to the next.
async fn by_search(
    reader: &mut Connection,
    source: &Source,
    chunk_rows: u64,
) -> Result<Vec<KeyRange>, CreateError> {
    let name = qualified(source)?;
    let columns = key_columns(source)?;
    let list = columns.join(", ");
    let mut bounds: Vec<Vec<String>> = Vec::new();
    // Statistics may be far off: the table's end is what ends the search.
    while (bounds.len() as u64) < ranges::RANGES_MAX {
        let from = KeyRange { from: bounds.last().cloned(), to: None };
        let condition = from.condition(&columns).map(|text| format!(" WHERE {text}")).unwrap_or_default();
        let sql = format!(
            "SELECT {list} FROM {name} FORCE INDEX (PRIMARY){condition} ORDER BY {list} LIMIT 1 OFFSET {chunk_rows}"
        );
        let rows = reader
            .with_limit(BOUND_LIMIT)
            .query(&Sql::plain(sql))
            .await
            .during(|| format!("cut {name} into ranges"))?;
        let Some(row) = rows.first() else { break };
        let mut bound = Vec::new();
        for column in &source.table.key {
            let Some(value) = row.bytes(&column.name) else { break };
            bound.push(key_literal(&column.kind, value)?);
        }
        if bound.len() != columns.len() || bounds.last() == Some(&bound) {
            break;
        }
        bounds.push(bound);
    }
    Ok(ranges::between(bounds))
}

/// A key's value as a literal that is compared as the column is.
fn key_literal(kind: &KeyKind, value: &[u8]) -> Result<String, CreateError> {
    let bytes = || sqltext::hex_literal(value);
    match kind {
        KeyKind::Whole | KeyKind::Plain => {
            let text = std::str::from_utf8(value).unwrap_or_default();
            // A number in quotes could be compared as a float.
            let digits = text.strip_prefix('-').unwrap_or(text);
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return Ok(text.to_owned());
            }
            sqltext::quote_string(text)
                .map_err(|error| CreateError::NotShown { what: format!("a key ({error})") })
        }
        KeyKind::Text { character_set, collation } => {
            Ok(format!("_{character_set} {} COLLATE {collation}", bytes()))
        }
        KeyKind::Bytes | KeyKind::Other => Ok(bytes()),
    }
}

fn qualified(source: &Source) -> Result<String, CreateError> {
    Ok(format!("{}.{}", ident(&source.database)?, ident(&source.table.name)?))
}

fn key_columns(source: &Source) -> Result<Vec<String>, CreateError> {
    source.table.key.iter().map(|column| ident(&column.name)).collect()
}

async fn work(mut reader: Connection, shared: Arc<Shared>) -> Result<(Connection, Vec<Done>), CreateError> {
    let mut done = Vec::new();
    // Dropped on the way out, it aborts what is left.
    let mut finishing = JoinSet::new();
    // Rolled back to after each range: a table that was read is then no longer in the way of a schema change, while the
    // snapshot stays.
    reader.execute(&Sql::plain("SAVEPOINT mainstay")).await.during(|| "set a savepoint".to_owned())?;
    while let Some(job) = shared.next_job() {
        let Some(source) = shared.sources.get(job.source) else { continue };
        let (one, file) = chunk(&mut reader, &shared, source, &job).await?;
        while finishing.len() >= FINISHING {
            finished(&mut finishing, &shared, &mut done).await?;
        }
        finishing.spawn(finish(one, file));
        let back = Sql::plain("ROLLBACK TO SAVEPOINT mainstay");
        reader.execute(&back).await.during(|| "let a table go".to_owned())?;
    }
    while !finishing.is_empty() {
        finished(&mut finishing, &shared, &mut done).await?;
    }
    Ok((reader, done))
}

async fn finish(mut one: Done, file: Option<OutFile>) -> Result<Done, CreateError> {
    if let Some(file) = file {
        one.file = Some(file.finish().await?);
    }
    Ok(one)
}

/// Waits for one of the files that are being finished.
async fn finished(
    finishing: &mut JoinSet<Result<Done, CreateError>>,
    shared: &Shared,
    done: &mut Vec<Done>,
) -> Result<(), CreateError> {
    let Some(ended) = finishing.join_next().await else { return Ok(()) };
    let one = ended.map_err(|error| CreateError::Broken { what: error.to_string() })??;
    if shared.left.get(one.source).is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
        shared.progress.table_done();
    }
    done.push(one);
    Ok(())
}

/// Rows of one range, as a file that is still to be finished; none for a range without rows.
async fn chunk(
    reader: &mut Connection,
    shared: &Shared,
    source: &Source,
    job: &Job,
) -> Result<(Done, Option<OutFile>), CreateError> {
    let name = qualified(source)?;
    let forms: Vec<Form> = source.table.columns.iter().map(|column| column.form).collect();
    let mut writer = StatementWriter::new(shared, source, job)?;
    let sql = Sql::plain(select(source, &job.range)?);
    held_back(&shared.progress).await;
    let mut stream = reader.stream(sql, SELECT_LIMIT, SILENCE).await.during(|| format!("read {name}"))?;
    loop {
        held_back(&shared.progress).await;
        let (mut rows, mut written) = (0, Ok(()));
        let is_more = stream
            .next(|values| {
                rows += 1;
                written = writer.push(&forms, values);
                if written.is_err() || writer.is_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .await
            .during(|| format!("read {name}"))?;
        written.map_err(|source| CreateError::Row { table: name.clone(), source })?;
        if writer.is_full() && !writer.send().await {
            return Err(writer.failure().await);
        }
        shared.progress.read_rows(rows, writer.take_counted());
        if !is_more {
            break;
        }
    }
    writer.finish(job).await
}

/// Waits while the server is to be spared.
async fn held_back(progress: &Progress) {
    while progress.is_held_back() {
        tokio::time::sleep(HELD_BACK).await;
    }
}

fn select(source: &Source, range: &KeyRange) -> Result<String, CreateError> {
    let mut columns = Vec::new();
    for column in &source.table.columns {
        let quoted = ident(&column.name)?;
        // A FLOAT is shown with six digits; as a double, with all that tell it from its neighbours. Adding zero
        // would do the same, but for a negative zero.
        columns.push(if column.is_float { format!("{quoted} * 1e0") } else { quoted });
    }
    if columns.is_empty() {
        // Only generated columns: a row has no value of its own, but is one.
        columns.push("NULL".to_owned());
    }
    let mut sql = format!("SELECT {} FROM {}", columns.join(", "), qualified(source)?);
    if !source.table.key.is_empty() {
        // Else an index that covers all columns could be read instead, in its own order.
        sql.push_str(" FORCE INDEX (PRIMARY)");
    }
    let key = key_columns(source)?;
    if let Some(condition) = range.condition(&key) {
        sql = format!("{sql} WHERE {condition}");
    }
    let is_ordered = !key.is_empty()
        && !source.table.is_partitioned
        && source.table.key.iter().all(|column| column.kind != KeyKind::Other);
    if is_ordered {
        sql = format!("{sql} ORDER BY {}", key.join(", "));
    }
    Ok(sql)
}

/// INSERT statements of about one size, one block of text after the other.
struct StatementWriter<'s> {
    shared: &'s Shared,
    source: &'s Source,
    job_number: u64,
    head: Vec<u8>,
    block: Vec<u8>,
    /// Where the open statement begins in the block; none without one.
    statement: Option<usize>,
    digest: RowsDigest,
    sql_bytes: u64,
    counted: u64,
    /// Made with the first block: a range without rows has no file.
    file: Option<OutFile>,
}

impl<'s> StatementWriter<'s> {
    fn new(shared: &'s Shared, source: &'s Source, job: &Job) -> Result<Self, CreateError> {
        let columns: Result<Vec<String>, CreateError> =
            source.table.columns.iter().map(|column| ident(&column.name)).collect();
        let head = format!("INSERT INTO {} ({}) VALUES\n", ident(&source.table.name)?, columns?.join(","));
        let mut block = Vec::with_capacity(shared.shape.statement_bytes + (64 << 10));
        block.extend_from_slice(HEADER.as_bytes());
        Ok(Self {
            shared,
            source,
            job_number: job.number,
            head: head.into_bytes(),
            block,
            statement: None,
            digest: RowsDigest::default(),
            sql_bytes: 0,
            counted: 0,
            file: None,
        })
    }

    fn push<'v>(
        &mut self,
        forms: &[Form],
        values: impl Iterator<Item = Option<&'v [u8]>>,
    ) -> Result<(), dump::literal::RowError> {
        if self.statement.is_some() {
            self.block.extend_from_slice(b",\n");
        } else {
            self.statement = Some(self.block.len());
            self.block.extend_from_slice(&self.head);
        }
        let start = self.block.len();
        if forms.is_empty() {
            self.block.extend_from_slice(b"()");
        } else {
            push_row(&mut self.block, forms, values)?;
        }
        self.digest.add(self.block.get(start..).unwrap_or_default());
        Ok(())
    }

    /// Whether the statement is long enough to be ended. A longer row than that has one of its own.
    fn is_full(&self) -> bool {
        self.statement.is_some_and(|start| self.block.len() - start >= self.shared.shape.statement_bytes)
    }

    fn end_statement(&mut self) {
        if self.statement.take().is_some() {
            self.block.extend_from_slice(b";\n");
        }
    }

    /// Ends the statement and passes it on; `false` when the file failed.
    async fn send(&mut self) -> bool {
        self.end_statement();
        let fresh = Vec::with_capacity(self.shared.shape.statement_bytes + (64 << 10));
        let block = std::mem::replace(&mut self.block, fresh);
        self.sql_bytes += block.len() as u64;
        let (shared, (database, table)) = (self.shared, &self.source.file_names);
        let number = self.job_number;
        let file = self.file.get_or_insert_with(|| {
            let part = Part::Rows { database: database.clone(), table: table.clone(), number, below: None };
            shared.files.begin(part, FileRole::Rows)
        });
        file.write(block).await
    }

    fn take_counted(&mut self) -> u64 {
        let all = self.sql_bytes + self.block.len() as u64;
        let more = all.saturating_sub(self.counted);
        self.counted = all;
        more
    }

    async fn failure(self) -> CreateError {
        match self.file {
            Some(file) => file.failure().await,
            None => CreateError::Broken { what: format!("writing rows of {}", self.source.table.name) },
        }
    }

    async fn finish(mut self, job: &Job) -> Result<(Done, Option<OutFile>), CreateError> {
        let (source, number) = (job.source, job.number);
        if self.digest.rows() > 0 && self.statement.is_some() && !self.send().await {
            return Err(self.failure().await);
        }
        let done = Done { source, number, digest: self.digest, sql_bytes: self.sql_bytes, file: None };
        Ok((done, self.file))
    }
}
