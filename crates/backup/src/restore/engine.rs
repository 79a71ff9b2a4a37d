//! The work itself: tables, rows by several sessions, keys as soon as a table's rows are there, foreign keys at the end.
//!
//! One thread reads, sessions load; between them is a channel of few places, so that memory is that of a few pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dump::tabledef::alter_add;
use server::{Loader, ServerError, Sql};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, spawn_blocking};

use super::error::RestoreError;
use super::feed::{Feed, Piece};
use super::plan::{Plan, TablePlan};
use super::progress::Progress;
use super::rows::{Method, Ready, Wanted, ready};
use super::session::Sessions;
use super::state::State;

/// How often a piece is tried that met a deadlock, a lock or a lost connection.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);
/// ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK.
const PASSING: [u16; 2] = [1205, 1213];
/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;

/// What all sessions of a restore share.
pub(crate) struct Work {
    pub(crate) plan: Plan,
    pub(crate) sessions: Sessions,
    pub(crate) state: State,
    pub(crate) method: Method,
    pub(crate) statement_bytes_max: usize,
    pub(crate) progress: Arc<Progress>,
    /// Pieces that are not loaded yet, by table.
    pub(crate) open_pieces: Vec<AtomicUsize>,
    /// Rows loaded, by table.
    pub(crate) rows: Vec<std::sync::atomic::AtomicU64>,
    /// Pieces that went as statements because the server warned of `LOAD DATA`.
    pub(crate) warned: AtomicUsize,
}

/// A session of the restore, made anew when it is lost.
struct Session {
    work: Arc<Work>,
    loader: Option<Loader>,
    set: Option<Arc<dump::SessionContext>>,
}

impl Session {
    fn new(work: &Arc<Work>) -> Self {
        Self { work: Arc::clone(work), loader: None, set: None }
    }

    async fn loader(&mut self) -> Result<&mut Loader, ServerError> {
        if self.loader.is_none() {
            self.set = None;
            self.loader = Some(self.work.sessions.open().await?);
        }
        self.loader.as_mut().ok_or_else(|| ServerError::Other("no session".to_owned()))
    }

    async fn run(&mut self, statement: &[u8]) -> Result<server::Loaded, ServerError> {
        self.loader().await?.run(statement).await
    }

    /// Sets the session as statements need it, unless it is.
    async fn set(&mut self, session: &Arc<dump::SessionContext>) -> Result<(), ServerError> {
        self.loader().await?;
        if self.set.as_ref().is_some_and(|set| set == session) {
            return Ok(());
        }
        let sql = self.work.sessions.statement(session)?;
        self.loader().await?.query(&sql).await?;
        self.set = Some(Arc::clone(session));
        Ok(())
    }

    /// Does a step until it passes, fails, or was tried often enough.
    async fn insist(&mut self, step: &Doing<'_>) -> Result<Sent, ServerError> {
        let mut tries = 0;
        loop {
            let error = match self.take(step, tries > 0).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tries += 1;
            let is_passing = error.code().is_some_and(|code| PASSING.contains(&code));
            let is_lost = error.is_connection_gone();
            // Rows that no rollback takes away would be there twice: the next run empties the table first.
            let is_final = matches!(step.what, What::Send(_)) && !step.plan.is_transactional();
            if tries >= TRIES || is_final || !(is_passing || is_lost) {
                return Err(error);
            }
            tracing::debug!(%error, tries, "a step of the restore is tried again");
            tokio::time::sleep(PAUSE * tries).await;
            if !is_lost {
                self.run(b"ROLLBACK").await?;
                continue;
            }
            self.loader = None;
            let state = self.work.state.clone();
            if let Ok(loader) = self.loader().await
                && state.is_noted(loader, step.item).await?
            {
                return Ok(Sent::ByAnother);
            }
        }
    }

    async fn take(&mut self, step: &Doing<'_>, is_again: bool) -> Result<Sent, ServerError> {
        let is_doubtful = is_again || self.work.state.is_resumed();
        let note = self.work.state.note(step.item);
        self.set(step.context).await?;
        match &step.what {
            What::Send(ready) => return send(self, step.plan, ready, &note).await,
            What::Create => match self.run(&step.plan.create).await {
                // Made by the run that was killed before it could note it.
                Err(error) if is_doubtful && error.code() == Some(1050) => {}
                result => {
                    result?;
                }
            },
            What::Alter { added, statement } => {
                let is_there = is_doubtful && has_key(self, step.plan, *added).await?;
                if !is_there && let Err(error) = self.run(statement.as_bytes()).await {
                    // The server was still at it for a session that was lost, and this one waited for that.
                    let is_refused = is_doubtful && !error.is_connection_gone();
                    if !is_refused || !has_key(self, step.plan, *added).await? {
                        return Err(error);
                    }
                }
            }
        }
        self.run(note.as_bytes()).await?;
        Ok(Sent::Rows(0))
    }

    async fn close(self) {
        if let Some(loader) = self.loader {
            loader.close().await;
        }
    }
}

/// A step that is tried until it passes.
struct Doing<'a> {
    plan: &'a TablePlan,
    context: &'a Arc<dump::SessionContext>,
    /// It in the notes.
    item: &'a str,
    what: What<'a>,
}

enum What<'a> {
    Create,
    Send(&'a Ready),
    Alter { added: Added<'a>, statement: &'a str },
}

impl Work {
    fn table(&self, number: usize) -> Result<&TablePlan, RestoreError> {
        self.plan.tables.get(number).ok_or_else(|| RestoreError::Worker(format!("no table {number}")))
    }

    /// Pieces of all tables that are not done yet.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let pieces = self.plan.tables.iter().enumerate().flat_map(|(table, plan)| {
            plan.runs.iter().enumerate().map(move |(number, run)| Piece { table, number, run: run.clone() })
        });
        pieces.filter(|piece| !self.state.done.contains(&item(piece.table, piece.number))).collect()
    }
}

/// A piece in the notes.
pub(crate) fn item(table: usize, number: usize) -> String {
    format!("rows:{table}:{number}")
}

/// Runs something for each table, several at once.
pub(crate) async fn each_table(work: &Arc<Work>, threads: usize, step: Step) -> Result<(), RestoreError> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for _ in 0..threads.max(1) {
        let (work, next) = (Arc::clone(work), Arc::clone(&next));
        set.spawn(async move {
            let mut session = Session::new(&work);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= work.plan.tables.len() {
                    break;
                }
                match step {
                    Step::Create => create(&mut session, number).await?,
                    Step::ForeignKeys => foreign_keys(&mut session, number).await?,
                }
            }
            session.close().await;
            Ok(())
        });
    }
    all(set).await
}

/// What is done for each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    ForeignKeys,
}

/// Waits for all, and ends all when one fails.
pub(crate) async fn all(mut set: JoinSet<Result<(), RestoreError>>) -> Result<(), RestoreError> {
    let mut failure = None;
    while let Some(joined) = set.join_next().await {
        let result = joined.unwrap_or_else(|error| {
            if error.is_cancelled() { Ok(()) } else { Err(RestoreError::Worker(error.to_string())) }
        });
        if let Err(error) = result
            && failure.is_none()
        {
            failure = Some(error);
            set.abort_all();
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn create(session: &mut Session, number: usize) -> Result<(), RestoreError> {
    let work = Arc::clone(&session.work);
    let plan = work.table(number)?;
    let failed = || RestoreError::server(format!("creating {}", plan.shown()));
    let item = format!("create:{number}");
    if work.state.done.contains(&item) {
        return forget_half(session, number).await;
    }
    // No row is loaded before its table is noted: what is in it is not this restore's, or cannot be told.
    if work.state.is_resumed() {
        let any = Sql::plain(format!("SELECT 1 AS it FROM {} LIMIT 1", plan.quoted));
        let has_rows = match session.loader().await.map_err(failed())?.query(&any).await {
            Ok(rows) => !rows.is_empty(),
            Err(error) if error.code() == Some(NO_SUCH_TABLE) => false,
            Err(error) => return Err(failed()(error)),
        };
        if has_rows {
            let problem = "is there with rows of which no note tells, so that it has to be dropped first";
            return Err(RestoreError::Rows { table: plan.shown(), problem: problem.to_owned() });
        }
    }
    let step = Doing { plan, context: &plan.session, item: &item, what: What::Create };
    session.insist(&step).await.map_err(failed())?;
    Ok(())
}

/// Rows of other engines are not undone when a session ends: such a table is loaded anew.
async fn forget_half(session: &mut Session, number: usize) -> Result<(), RestoreError> {
    let work = Arc::clone(&session.work);
    let plan = work.table(number)?;
    let is_half = plan.runs.iter().enumerate().any(|(run, _)| !work.state.done.contains(&item(number, run)));
    if plan.is_transactional() || !is_half {
        return Ok(());
    }
    let failed = || RestoreError::server(format!("emptying {}, which was loaded in part", plan.shown()));
    session.run(format!("TRUNCATE TABLE {}", plan.quoted).as_bytes()).await.map_err(failed())?;
    session.run(work.state.forget(&format!("rows:{number}:%")).as_bytes()).await.map_err(failed())?;
    Ok(())
}

/// Loads all rows and builds the keys that waited.
pub(crate) async fn load(
    work: &Arc<Work>,
    files: Vec<super::input::SourceFile>,
    threads: usize,
) -> Result<(), RestoreError> {
    let mut pieces = work.pieces();
    for (number, plan) in work.plan.tables.iter().enumerate() {
        // As `forget_half` left it.
        let is_half = pieces.iter().any(|piece| piece.table == number);
        if !plan.is_transactional() && is_half {
            pieces.retain(|piece| piece.table != number);
            let all = plan.runs.iter().enumerate();
            pieces.extend(all.map(|(run, placed)| Piece { table: number, number: run, run: placed.clone() }));
        }
        let open = pieces.iter().filter(|piece| piece.table == number).count();
        if let Some(counter) = work.open_pieces.get(number) {
            counter.store(open, Ordering::Relaxed);
        }
    }
    // Of an earlier run's pieces nothing is left to do.
    work.progress.expect(pieces.iter().map(|piece| piece.run.length).sum(), work.plan.tables.len() as u64);
    let (sender, receiver) = mpsc::channel::<(Piece, Vec<u8>)>(threads.max(1));
    let mut feed = Feed::new(pieces, files, threads);
    let reading = spawn_blocking(move || -> Result<(), RestoreError> {
        while let Some(piece) = feed.next()? {
            if sender.blocking_send(piece).is_err() {
                break;
            }
        }
        Ok(())
    });
    let receiver = Arc::new(Mutex::new(receiver));
    let ready_tables = Arc::new(Mutex::new(tables_without_pieces(work)));
    let mut set = JoinSet::new();
    for _ in 0..threads.max(1) {
        let (work, receiver, tables) = (Arc::clone(work), Arc::clone(&receiver), Arc::clone(&ready_tables));
        set.spawn(async move {
            let mut session = Session::new(&work);
            loop {
                // Tables whose rows an earlier run loaded.
                let table = tables.lock().await.pop();
                if let Some(table) = table {
                    keys(&mut session, table).await?;
                    continue;
                }
                let piece = receiver.lock().await.recv().await;
                let Some((piece, text)) = piece else { break };
                let table = piece.table;
                if rows(&mut session, &piece, text).await? {
                    keys(&mut session, table).await?;
                }
            }
            session.close().await;
            Ok(())
        });
    }
    let loaded = all(set).await;
    // Its end is of the channel's.
    drop(receiver);
    let read = reading.await.unwrap_or_else(|error| Err(RestoreError::Worker(error.to_string())));
    loaded.and(read)
}

fn tables_without_pieces(work: &Work) -> Vec<usize> {
    let open = work.open_pieces.iter().enumerate();
    open.filter(|(_, open)| open.load(Ordering::Relaxed) == 0).map(|(number, _)| number).rev().collect()
}

/// Loads a piece; says whether it was its table's last one.
async fn rows(session: &mut Session, piece: &Piece, text: Vec<u8>) -> Result<bool, RestoreError> {
    let work = Arc::clone(&session.work);
    let plan = work.table(piece.table)?;
    let length = text.len() as u64;
    let text = Arc::new(text);
    let first = prepared(&work, piece, &text, plan.method(work.method)).await?;
    let item = item(piece.table, piece.number);
    let failed = || RestoreError::server(format!("loading rows of {}", plan.shown()));
    let step = |ready| Doing { plan, context: &piece.run.session, item: &item, what: What::Send(ready) };
    let mut sent = session.insist(&step(&first)).await.map_err(failed())?;
    if sent == Sent::Doubtful {
        work.warned.fetch_add(1, Ordering::Relaxed);
        let again = prepared(&work, piece, &text, Method::Insert).await?;
        sent = session.insist(&step(&again)).await.map_err(failed())?;
    }
    let count = match sent {
        Sent::Rows(count) => count,
        Sent::ByAnother => 0,
        Sent::Doubtful => {
            let problem = "the server took another number of rows than the dump has".to_owned();
            return Err(RestoreError::Rows { table: plan.shown(), problem });
        }
    };
    work.progress.loaded(length, count);
    if let Some(rows) = work.rows.get(piece.table) {
        rows.fetch_add(count, Ordering::Relaxed);
    }
    let open = work.open_pieces.get(piece.table);
    Ok(open.is_some_and(|open| open.fetch_sub(1, Ordering::AcqRel) == 1))
}

async fn prepared(
    work: &Arc<Work>,
    piece: &Piece,
    text: &Arc<Vec<u8>>,
    method: Method,
) -> Result<Ready, RestoreError> {
    let (work, text, table) = (Arc::clone(work), Arc::clone(text), piece.table);
    let session = Arc::clone(&piece.run.session);
    let made = spawn_blocking(move || {
        let plan = work.table(table)?;
        let wanted = Wanted {
            table: &plan.quoted,
            def: plan.def.as_ref(),
            method,
            vendor: work.sessions.vendor,
            statement_bytes_max: work.statement_bytes_max,
        };
        ready(&text, &session, &wanted).map_err(|problem| RestoreError::Rows { table: plan.shown(), problem })
    });
    made.await.unwrap_or_else(|error| Err(RestoreError::Worker(error.to_string())))
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// So many rows are there, and noted.
    Rows(u64),
    /// A session that was lost, or of a run that was killed, had done it.
    ByAnother,
    /// Nothing is there: the server warned, or took another number of rows.
    Doubtful,
}

async fn send(
    session: &mut Session,
    plan: &TablePlan,
    ready: &Ready,
    note: &str,
) -> Result<Sent, ServerError> {
    session.run(b"START TRANSACTION").await?;
    // Noted first: the server may still be at what a killed run's session sent, and here that is waited for. Rows that
    // no rollback takes away are noted when they are there.
    if plan.is_transactional() && session.run(note.as_bytes()).await?.affected_rows == 0 {
        session.run(b"ROLLBACK").await?;
        return Ok(Sent::ByAnother);
    }
    let (affected, expected, warnings) = match ready {
        Ready::Load { clauses, rows, count } => {
            let sql = Sql::plain(format!("{}{clauses}", Loader::load_statement(&plan.quoted)));
            let loaded = session.loader().await?.load(&sql, Arc::clone(rows)).await?;
            (loaded.affected_rows, Some(*count), loaded.warnings)
        }
        Ready::Insert { statements, count } => {
            let mut affected = 0;
            for statement in statements {
                affected += session.run(statement).await?.affected_rows;
            }
            // As the server's own client takes them.
            (affected, *count, 0)
        }
    };
    if warnings > 0 || expected.is_some_and(|expected| expected != affected) {
        session.run(b"ROLLBACK").await?;
        return Ok(Sent::Doubtful);
    }
    if !plan.is_transactional() {
        session.run(note.as_bytes()).await?;
    }
    session.run(b"COMMIT").await?;
    Ok(Sent::Rows(affected))
}

/// Builds the keys that waited.
async fn keys(session: &mut Session, number: usize) -> Result<(), RestoreError> {
    let work = Arc::clone(&session.work);
    let plan = work.table(number)?;
    for (group, clauses) in plan.keys.iter().enumerate() {
        let names: Vec<Option<&str>> = clauses.iter().map(|clause| clause.name.as_deref()).collect();
        let alter = alter_add(&plan.quoted, clauses);
        once(
            session,
            plan,
            &format!("keys:{number}:{group}"),
            "building keys of",
            Added::Keys(&names),
            &alter,
        )
        .await?;
    }
    work.progress.table_done();
    Ok(())
}

async fn foreign_keys(session: &mut Session, number: usize) -> Result<(), RestoreError> {
    let work = Arc::clone(&session.work);
    let plan = work.table(number)?;
    if plan.foreign_keys.is_empty() {
        return Ok(());
    }
    let names: Vec<Option<&str>> = plan.foreign_keys.iter().map(|clause| clause.name.as_deref()).collect();
    let alter = alter_add(&plan.quoted, &plan.foreign_keys);
    once(
        session,
        plan,
        &format!("foreign:{number}"),
        "adding foreign keys to",
        Added::ForeignKeys(&names),
        &alter,
    )
    .await
}

/// What an `ALTER TABLE` adds, by name.
#[derive(Clone, Copy)]
enum Added<'a> {
    Keys(&'a [Option<&'a str>]),
    ForeignKeys(&'a [Option<&'a str>]),
}

/// Runs an `ALTER TABLE` that no earlier run has run.
async fn once(
    session: &mut Session,
    plan: &TablePlan,
    item: &str,
    verb: &str,
    added: Added<'_>,
    alter: &str,
) -> Result<(), RestoreError> {
    let work = Arc::clone(&session.work);
    if work.state.done.contains(item) {
        return Ok(());
    }
    let what = What::Alter { added, statement: alter };
    let step = Doing { plan, context: &plan.session, item, what };
    session.insist(&step).await.map_err(RestoreError::server(format!("{verb} {}", plan.shown())))?;
    Ok(())
}

/// Whether the first of what is to be added is there: an `ALTER` adds all or nothing.
async fn has_key(session: &mut Session, plan: &TablePlan, added: Added<'_>) -> Result<bool, ServerError> {
    let (Added::Keys(names) | Added::ForeignKeys(names)) = added;
    let Some(name) = names.iter().copied().flatten().next() else { return Ok(false) };
    let quoted =
        |text: &str| sqltext::quote_string(text).map_err(|error| ServerError::Other(error.to_string()));
    let (database, table, name) = (quoted(&plan.database)?, quoted(&plan.name)?, quoted(name)?);
    let sql = match added {
        Added::Keys(_) => format!(
            "SELECT 1 AS it FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {database} AND \
             TABLE_NAME = {table} AND INDEX_NAME = {name} LIMIT 1"
        ),
        Added::ForeignKeys(_) => format!(
            "SELECT 1 AS it FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = {database} AND \
             TABLE_NAME = {table} AND CONSTRAINT_NAME = {name} AND CONSTRAINT_TYPE = 'FOREIGN KEY' LIMIT 1"
        ),
    };
    Ok(!session.loader().await?.query(&Sql::plain(sql)).await?.is_empty())
}
