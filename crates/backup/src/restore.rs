//! Restoring: a dump or backup read whole, planned, and loaded as fast as the server takes it.
//!
//! Nothing is changed before everything was read, planned and allowed. A restore that was killed goes on where it
//! stopped when the same command runs again.

mod accounts;
pub(crate) mod engine;
mod error;
mod feed;
mod fits;
pub mod input;
mod lz4;
pub(crate) mod notes;
mod objects;
mod plan;
mod profile;
mod progress;
mod rows;
pub mod select;
pub(crate) mod session;
mod source;
mod state;
pub mod survey;
mod target;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dump::ObjectKind;
use dump::fix::Fix;
use serde::Serialize;
use server::{Loader, Target};

pub use accounts::Accounts;
use engine::{Step, Work};
pub use error::RestoreError;
use plan::{Naming, Plan};
pub use profile::Profile;
pub use progress::{Progress, Standing};
pub use rows::Method;
pub use select::Selection;
use session::Sessions;
pub use source::Source;
use state::State;
pub use survey::Survey;
use target::Here;

/// What to do where the target has something already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse unless the databases are empty.
    #[default]
    Refuse,
    /// Let other tables be; refuse where one of the same name is there.
    LetBe,
    /// Give tables of the same name another one, and let all others be.
    Rename,
}

/// What is wanted of a restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// New names of databases.
    pub renamed: BTreeMap<String, String>,
    /// The database of what has none in the dump.
    pub into: Option<String>,
    /// Sessions that load.
    pub threads: usize,
    /// What to do with what is there.
    pub existing: Existing,
    /// Changes that may be made to definitions.
    pub fixes: BTreeSet<Fix>,
    /// Whether what is restored goes to the target's binary log.
    pub with_binlog: bool,
    /// How rows are sent; none: as the server allows.
    pub method: Option<Method>,
    /// Whether rows are read back and summed as the manifest has them; else they are counted.
    pub with_sums: bool,
    /// Whose data it is.
    pub profile: Profile,
    /// Accounts to make where they are not there.
    pub accounts: Option<Accounts>,
    /// Plan, and change nothing.
    pub dry_run: bool,
    /// What ends the names of tables that make room, such as `_before_20261121T173000Z`.
    pub aside_suffix: String,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// It is a plan only.
    pub dry_run: bool,
    /// It went on where an earlier run had stopped.
    pub resumed: bool,
    /// Databases.
    pub databases: Vec<String>,
    /// Tables.
    pub tables: usize,
    /// Rows loaded by this run.
    pub rows: u64,
    /// Text of rows in all, in bytes.
    pub bytes: u64,
    /// Other objects.
    pub objects: usize,
    /// `load-data` or `insert`.
    pub method: &'static str,
    /// Tables whose keys are built after their rows.
    pub tables_with_keys_after: usize,
    /// Pieces that went as statements because the server warned of `LOAD DATA`.
    pub pieces_sent_again: usize,
    /// Tables whose rows were compared with the manifest.
    pub tables_verified: usize,
    /// Changes made to definitions, by name.
    pub changes: BTreeMap<String, Vec<String>>,
    /// What was left out.
    pub left_out: Vec<String>,
    /// Accounts that were made, quoted.
    pub accounts: Vec<String>,
    /// Accounts of the backup that are there already, and were let be.
    pub accounts_kept: Vec<String>,
    /// Tables that made room, and their names now.
    pub renamed: BTreeMap<String, String>,
    /// Statements of the dump that are not for this server, by kind.
    pub passed: BTreeMap<String, u64>,
    /// Positions in binary logs that the dump names.
    pub positions: Vec<String>,
    /// What was done for the control plane.
    pub profile: Vec<String>,
}

/// Restores what was surveyed.
///
/// # Errors
/// As [`RestoreError`] lists. What is there after an error is known to the notes on the target: the same call goes on.
pub async fn restore(
    mut survey: Survey,
    target: &Target,
    options: &RestoreOptions,
    progress: Arc<Progress>,
) -> Result<Restored, RestoreError> {
    progress.begin("planning");
    check_into(&survey, options.into.as_deref())?;
    let default = options.into.as_deref().or(survey.header.database.as_deref()).map(str::to_owned);
    let naming = Naming { renamed: &options.renamed, default: default.as_deref() };
    let own = survey.without_own(|name| naming.renamed(name).to_owned());
    let names = database_names(&survey, &naming);
    let mut here = Here::look(target, &names).await?;
    if let Some(accounts) = &options.accounts {
        accounts.check(&here)?;
        // They are made before what they are the definers of.
        here.accounts.get_or_insert_default().extend(accounts.names().cloned());
    }
    let mut plan = plan::make(&survey, &naming, &here)?;
    check_content(&plan, options)?;
    plan.left_out.extend(own);
    check_fixes(&plan, &options.fixes)?;
    let method = method(options, &here)?;
    fits::check(&plan, &survey.files, method, &here).await?;
    let mut restored = described(&survey, &plan, method);
    let sessions =
        Sessions { target: target.clone(), vendor: here.vendor(), with_binlog: options.with_binlog };
    let mut loader = sessions.open().await.map_err(RestoreError::server("opening a session"))?;
    let id = state::id_of(identity(&plan));
    if !options.dry_run {
        state::lock(&mut loader, &id).await?;
    }
    // Another run may have been at it until now.
    let here = Here::look(target, &names).await?;
    let there = here.accounts.clone().unwrap_or_default();
    let mut state = State::read(&mut loader, &id).await?;
    let is_there =
        |number: usize| plan.tables.get(number).is_some_and(|table| here.has(&table.database, &table.name));
    let forgetting = state.forget_dropped(is_there);
    restored.resumed = state.is_resumed();
    let aside = if restored.resumed { BTreeMap::new() } else { room(&plan, &here, options)? };
    restored.renamed =
        aside.iter().map(|((database, from), to)| (format!("{database}.{from}"), to.clone())).collect();
    let mut accounts = accounts::choose(options.accounts.as_ref(), &there, &state);
    restored.accounts = accounts.made();
    restored.accounts_kept.clone_from(&accounts.kept);
    if options.dry_run {
        restored.dry_run = true;
        loader.close().await;
        return Ok(restored);
    }
    for forget in forgetting {
        loader
            .run(forget.as_bytes())
            .await
            .map_err(RestoreError::server("forgetting tables that were dropped"))?;
    }
    make_room(&mut loader, &plan, &aside).await?;
    let is_first = !state.is_resumed();
    state.begin(&mut loader).await?;
    if is_first {
        // Of this run nothing is there that an earlier one made.
        state.done.remove("begin");
    }
    restored.left_out.extend(accounts.make(&mut loader, &sessions, &state).await?);
    restored.accounts = accounts.made();
    let work = Arc::new(work(plan, sessions, state, method, &here, progress));
    carry_out(&work, survey.files, options.threads).await?;
    restored.left_out.extend(accounts.grant(&mut loader).await?);
    restored.tables_verified = verify::verify(&work, &mut loader, options.threads, options.with_sums).await?;
    work.progress.begin("finishing");
    restored.profile = profile::apply(options.profile, &mut loader, &restored.databases).await?;
    work.state.end(&mut loader).await?;
    loader.close().await;
    restored.rows = work.rows.iter().map(|rows| rows.load(Ordering::Relaxed)).sum();
    restored.pieces_sent_again = work.warned.load(Ordering::Relaxed);
    Ok(restored)
}

fn method(options: &RestoreOptions, here: &Here) -> Result<Method, RestoreError> {
    match options.method {
        Some(Method::Load) if !here.has_local_infile => Err(RestoreError::Refused(
            "the target does not allow LOAD DATA LOCAL: SET GLOBAL local_infile = ON there, or use --method insert"
                .to_owned(),
        )),
        Some(method) => Ok(method),
        None if here.has_local_infile => Ok(Method::Load),
        None => Ok(Method::Insert),
    }
}

/// Whether `into` means anything: what the dump itself says goes before it, and would go where nobody wanted it.
fn check_into(survey: &Survey, into: Option<&str>) -> Result<(), RestoreError> {
    let tables = survey.tables.iter().map(|table| table.name.database.as_deref());
    let objects = survey.objects.iter().map(|(object, _)| object.name.database.as_deref());
    let named: BTreeSet<Option<&str>> = tables.chain(objects).collect();
    match (into, named.iter().find_map(|name| *name)) {
        (Some(into), Some(first)) if !named.contains(&None) && !named.contains(&Some(into)) => {
            Err(RestoreError::Refused(format!(
                "the dump names its databases itself, as {first}: use --rename-database {first}={into} in the place of --into {into}"
            )))
        }
        (Some(_) | None, _) => Ok(()),
    }
}

fn database_names(survey: &Survey, naming: &Naming<'_>) -> BTreeSet<String> {
    let tables = survey.tables.iter().map(|table| &table.name.database);
    let objects = survey.objects.iter().map(|(object, _)| &object.name.database);
    let named = tables.chain(objects).filter_map(|database| database.as_deref().or(naming.default));
    named.map(|name| naming.renamed(name).to_owned()).collect()
}

/// What makes two runs the same restore: the same pieces into the same tables.
fn identity(plan: &Plan) -> impl Iterator<Item = String> {
    plan.tables.iter().map(|table| identity_of(&table.quoted, &table.runs))
}

fn identity_of(quoted: &str, runs: &[survey::PlacedRun]) -> String {
    let runs: Vec<String> =
        runs.iter().map(|run| format!("{},{},{}", run.file, run.offset, run.length)).collect();
    format!("{quoted}:{}", runs.join(";"))
}

/// An empty file is what is left of many a backup that was never looked at.
fn check_content(plan: &Plan, options: &RestoreOptions) -> Result<(), RestoreError> {
    let is_empty = plan.databases.is_empty() && plan.tables.is_empty() && plan.objects.is_empty();
    if is_empty && options.accounts.is_none() {
        let why = "there is no database, table or other object in it: nothing was restored";
        return Err(RestoreError::Refused(why.to_owned()));
    }
    Ok(())
}

fn check_fixes(plan: &Plan, allowed: &BTreeSet<Fix>) -> Result<(), RestoreError> {
    /// Of the changes of one name, so many are shown.
    const SHOWN: usize = 3;
    let needed: Vec<Fix> = plan.changes.keys().copied().filter(|fix| !allowed.contains(fix)).collect();
    if needed.is_empty() {
        return Ok(());
    }
    let shown = |fix: &Fix| {
        let changes = plan.changes.get(fix);
        let count = changes.map_or(0, BTreeSet::len);
        let first: Vec<&str> = changes.into_iter().flatten().take(SHOWN).map(String::as_str).collect();
        let more = if count > SHOWN { format!(", and {} more", count - SHOWN) } else { String::new() };
        format!("{fix}: {}{more}", first.join(", "))
    };
    Err(RestoreError::NeedsFixes {
        changes: needed.iter().map(shown).collect(),
        names: needed.iter().map(ToString::to_string).collect(),
    })
}

fn described(survey: &Survey, plan: &Plan, method: Method) -> Restored {
    let changes = plan.changes.iter();
    Restored {
        databases: plan.databases.iter().map(|database| database.name.clone()).collect(),
        tables: plan.tables.len(),
        bytes: plan.tables.iter().map(plan::TablePlan::bytes).sum(),
        objects: plan.objects.len(),
        method: match method {
            Method::Load => "load-data",
            Method::Insert => "insert",
        },
        tables_with_keys_after: plan.tables.iter().filter(|table| !table.keys.is_empty()).count(),
        changes: changes.map(|(fix, what)| (fix.to_string(), what.iter().cloned().collect())).collect(),
        left_out: plan.left_out.clone(),
        passed: survey.passed.clone(),
        positions: survey.header.positions.clone(),
        ..Restored::default()
    }
}

/// Tables that have to make room: their new names.
type Aside = BTreeMap<(String, String), String>;

fn room(plan: &Plan, here: &Here, options: &RestoreOptions) -> Result<Aside, RestoreError> {
    let views =
        plan.objects.iter().filter(|object| matches!(object.kind, ObjectKind::View | ObjectKind::Sequence));
    let tables = plan.tables.iter().map(|table| (&table.database, &table.name));
    let wanted = tables.chain(views.map(|view| (&view.database, &view.name)));
    let met: Vec<(&String, &String)> = wanted.filter(|(database, name)| here.has(database, name)).collect();
    let shown = |names: &[(&String, &String)]| -> Vec<String> {
        /// So many are shown.
        const SHOWN: usize = 10;
        let mut shown: Vec<String> =
            names.iter().take(SHOWN).map(|(database, name)| format!("{database}.{name}")).collect();
        if names.len() > SHOWN {
            shown.push(format!("and {} more", names.len() - SHOWN));
        }
        shown
    };
    match options.existing {
        Existing::Refuse if !here.tables.is_empty() => {
            let all: Vec<(&String, &String)> = here.tables.keys().map(|(of, name)| (of, name)).collect();
            Err(RestoreError::NotEmpty { names: shown(&all) })
        }
        Existing::LetBe if !met.is_empty() => Err(RestoreError::NotEmpty { names: shown(&met) }),
        Existing::Refuse | Existing::LetBe => Ok(Aside::new()),
        Existing::Rename => {
            let aside = |(database, name): (&String, &String)| {
                let letters = 64_usize.saturating_sub(options.aside_suffix.chars().count());
                let kept: String = name.chars().take(letters).collect();
                ((database.clone(), name.clone()), format!("{kept}{}", options.aside_suffix))
            };
            Ok(met.into_iter().map(aside).collect())
        }
    }
}

async fn make_room(loader: &mut Loader, plan: &Plan, aside: &Aside) -> Result<(), RestoreError> {
    for database in &plan.databases {
        let made = loader.run(database.create.as_bytes()).await;
        made.map_err(RestoreError::server(format!("creating the database {}", database.name)))?;
    }
    for ((database, from), to) in aside {
        let quoted =
            |name: &str| sqltext::quote_ident(name).map_err(|error| RestoreError::Refused(error.to_string()));
        let (of, from_quoted, to_quoted) = (quoted(database)?, quoted(from)?, quoted(to)?);
        let rename = format!("RENAME TABLE {of}.{from_quoted} TO {of}.{to_quoted}");
        let renamed = loader.run(rename.as_bytes()).await;
        renamed.map_err(RestoreError::server(format!("renaming {database}.{from}")))?;
    }
    Ok(())
}

fn work(
    plan: Plan,
    sessions: Sessions,
    state: State,
    method: Method,
    here: &Here,
    progress: Arc<Progress>,
) -> Work {
    let tables = plan.tables.len();
    Work {
        plan,
        sessions,
        state,
        method,
        statement_bytes_max: here.statement_bytes_max(),
        progress,
        open_pieces: (0..tables).map(|_| AtomicUsize::new(0)).collect(),
        rows: (0..tables).map(|_| AtomicU64::new(0)).collect(),
        warned: AtomicUsize::new(0),
    }
}

async fn carry_out(
    work: &Arc<Work>,
    files: Vec<input::SourceFile>,
    threads: usize,
) -> Result<(), RestoreError> {
    work.progress.begin("creating tables");
    settle(work).await?;
    objects::make(work, |kind| kind == ObjectKind::Sequence).await?;
    engine::each_table(work, threads, Step::Create).await?;
    settle(work).await?;
    work.progress.begin("loading rows");
    engine::load(work, files, threads).await?;
    work.progress.begin("foreign keys");
    // One after the other: each locks the tables it leads to.
    engine::each_table(work, 1, Step::ForeignKeys).await?;
    work.progress.begin("views, routines, triggers, events");
    objects::make(work, |kind| kind != ObjectKind::Sequence).await
}

/// Has the notes on the disk before rows come that no rollback takes away: killed, a server may lose what it committed last
/// (`innodb_flush_log_at_trx_commit`), and keeps such rows.
async fn settle(work: &Work) -> Result<(), RestoreError> {
    if work.plan.tables.iter().all(plan::TablePlan::is_transactional) {
        return Ok(());
    }
    let failed = || RestoreError::server("keeping notes");
    let mut loader = work.sessions.open().await.map_err(failed())?;
    // Definitions of InnoDB are written to the disk whatever that setting is, with all that was committed before.
    for statement in ["DROP TABLE IF EXISTS", "CREATE TABLE", "DROP TABLE"] {
        let columns = if statement == "CREATE TABLE" { " (it INT PRIMARY KEY) ENGINE=InnoDB" } else { "" };
        let sql = format!("{statement} {}.settled{columns}", state::SCHEMA);
        loader.run(sql.as_bytes()).await.map_err(failed())?;
    }
    loader.close().await;
    Ok(())
}
