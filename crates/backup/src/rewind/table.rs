//! One table rewound: [`prepare`] looks and plans, [`build`] makes it beside the live one. It touches nothing else.
//!
//! The table is made in a database of its own and gets its name when it is whole: what is there under that name was
//! never half of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use dump::fix::Fix;
use dump::tabledef::TableDef;
use dump::{ObjectName, SqlText};
use flavor::Vendor;
use serde::Serialize;
use server::{Loader, Target};
use sqltext::{Token, lex};

use super::base::{Base, choose};
use super::cascade::{self, Cascade, Watch};
use super::error::RewindError;
use super::point::Point;
use super::replay::{Replayed, replay};
use super::scratch::{Scratch, ask, quoted, run, string};
use super::stretch::{Cursor, Feed};
use crate::repository::{BackupId, Repository, Whole};
use crate::restore::{self, Existing, Profile, RestoreOptions, Selection, Survey, notes, session::Sessions};

/// Text of rows loaded in a second and bytes of logs read in a second, for estimates: two processors of a laptop.
const LOADED_BYTES_A_SECOND: u64 = 15 << 20;
const READ_BYTES_A_SECOND: u64 = 100 << 20;
/// What the comment of a rewound table begins with.
const MARK: &str = "rewound by mainstay to ";
const ORIGINAL: &str = "; comment was: ";

/// What is to be rewound, and how.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// Name of the table that is made, in the same database.
    pub as_name: String,
    /// Sessions that load.
    pub threads: usize,
    /// Memory for rows that are put together, in bytes.
    pub memory_bytes: usize,
    /// Whether the server's binary log, and so its replicas, get the table.
    pub with_binlog: bool,
    /// Go on although foreign keys may have changed rows without a trace in the logs.
    pub accepts_cascades: bool,
}

/// What will be done.
#[derive(Clone, Debug, Serialize)]
pub struct TablePlan {
    /// The table.
    pub table: String,
    /// The table that is made.
    pub makes: String,
    /// The point, as it was asked for.
    pub point: String,
    /// Where it is in the archive: everything before is in it.
    pub stops_at: String,
    /// Time of the transaction that comes next, in seconds since 1970.
    pub next_seconds: Option<u32>,
    /// The backup.
    pub backup: String,
    /// When that was taken.
    pub snapshot_taken: jiff::Timestamp,
    /// Rows of the table in it.
    pub backup_rows: u64,
    /// Text of these, in bytes.
    pub backup_bytes: u64,
    /// Logs that are read.
    pub logs: usize,
    /// Bytes of these.
    pub log_bytes: u64,
    /// About how long it takes.
    pub estimated_seconds: u64,
    /// It is there already, made by an earlier run for the same point from the same backup.
    pub is_there: bool,
    /// Changes of other tables that may have changed this one without a trace in the logs; they were accepted.
    pub cascades: Vec<Cascade>,
}

/// What belongs to a table's name rather than to its rows, as the backup has it.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Foreign keys, as they are written.
    pub foreign_keys: Vec<String>,
    /// Triggers.
    pub triggers: Vec<TriggerDefinition>,
}

/// A trigger.
#[derive(Clone, Debug)]
pub struct TriggerDefinition {
    /// Its name.
    pub name: String,
    /// What makes it, in its database.
    pub statements: Vec<String>,
}

/// A plan with all it needs.
#[derive(Debug)]
pub struct Prepared {
    /// What will be done.
    pub plan: TablePlan,
    base: Base,
    /// None where the table is younger than the backup.
    survey: Option<Survey>,
    definitions: Definitions,
    feed: Feed,
    start: Cursor,
    mark: String,
}

/// How far a rewind is.
#[derive(Debug, Default)]
pub struct TableProgress {
    /// The restore's own.
    pub restore: Arc<restore::Progress>,
    /// Bytes of logs read.
    pub log_bytes: AtomicU64,
    /// Rows written from what the logs came to.
    pub rows_written: AtomicU64,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Rewound {
    /// What was planned.
    pub plan: TablePlan,
    /// Rows restored from the backup.
    pub restored_rows: u64,
    /// Changes made to its definition, so that this server takes it.
    pub definition_changes: Vec<String>,
    /// What the logs came to.
    pub replayed: Replayed,
    /// Foreign keys and triggers that the rewound table is without.
    pub left_out: Vec<String>,
    /// Seconds of the restore.
    pub restore_seconds: f64,
    /// Seconds of reading and applying the logs.
    pub replay_seconds: f64,
}

/// Looks at backups, archive and server, and plans.
///
/// # Errors
/// If the point cannot be reached, or something is in the way.
pub async fn prepare(
    repository: &Repository,
    target: &Target,
    (point, wanted): (&Point, Option<&BackupId>),
    options: &TableOptions,
) -> Result<Prepared, RewindError> {
    let TableOptions { database, table, as_name, .. } = options;
    if as_name == table || as_name.chars().count() > 64 {
        return Err(RewindError::refused(
            format!("{as_name} cannot be the rewound table's name"),
            "name another one, of at most 64 letters, with --as",
        ));
    }
    let base = choose(repository, point, wanted, |whole| has_table(whole, database, table)).await?;
    let record = base.whole.manifest.tables.iter().find(|it| it.database == *database && it.name == *table);
    let survey = match record {
        Some(_) => Some(survey(repository, &base, options).await?),
        None => None,
    };
    let definitions = survey.as_ref().map(definitions).transpose()?.unwrap_or_default();
    let archive = repository.archive();
    let (feed, start) = Feed::new(&archive, &base, (database.clone(), table.clone())).await?;
    let watch = Watch::new(repository, &base, (database, survey.as_ref())).await?;
    let cascades = cascade::scan(&feed, start, watch).await?;
    if !options.accepts_cascades && !cascades.is_empty() {
        return Err(RewindError::Cascades { table: format!("{database}.{table}"), cascades });
    }
    let mark = format!("{MARK}{} from {}", base.located, base.id);
    let mut loader = open(target, options).await?;
    let is_there = look(&mut loader, options, &mark).await;
    loader.close().await;
    let backup_bytes = survey
        .as_ref()
        .map_or(0, |it| it.tables.iter().map(restore::survey::SurveyedTable::rows_bytes).sum());
    let log_bytes = feed.log_bytes(start);
    let plan = TablePlan {
        table: format!("{database}.{table}"),
        makes: format!("{database}.{as_name}"),
        point: point.to_string(),
        stops_at: base.located.to_string(),
        next_seconds: base.located.next_seconds,
        backup: base.id.to_string(),
        snapshot_taken: base.whole.manifest.snapshot_taken,
        backup_rows: record.map_or(0, |it| it.rows),
        backup_bytes,
        logs: base.located.log_index + 1 - start.log_index.min(base.located.log_index),
        log_bytes,
        estimated_seconds: 1 + backup_bytes / LOADED_BYTES_A_SECOND + log_bytes / READ_BYTES_A_SECOND,
        is_there: is_there?,
        cascades,
    };
    Ok(Prepared { plan, base, survey, definitions, feed, start, mark })
}

/// Whether a backup can be begun with: it has the table, or would if that had been there.
fn has_table(whole: &Whole, database: &str, table: &str) -> Result<(), String> {
    let manifest = &whole.manifest;
    if manifest.kind == dump::manifest::BackupKind::Physical {
        return Err("it is a physical one, of which no single table can be taken".to_owned());
    }
    if manifest.tables.iter().any(|it| it.database == database && it.name == table) {
        return Ok(());
    }
    let (options, full) = (&manifest.options, format!("{database}.{table}"));
    let is_meant = (options.databases.is_empty() || options.databases.iter().any(|it| it == database))
        && (options.tables.is_empty() || options.tables.contains(&full))
        && !options.without_tables.contains(&full);
    if is_meant { Ok(()) } else { Err(format!("{full} was not to be in it")) }
}

async fn survey(repository: &Repository, base: &Base, options: &TableOptions) -> Result<Survey, RewindError> {
    let source = repository.source(base.id.as_str()).await?;
    let name = ObjectName { database: Some(options.database.clone()), name: options.table.clone() };
    let selection = Selection { databases: Vec::new(), tables: vec![name] };
    let threads = options.threads;
    let surveyed = tokio::task::spawn_blocking(move || source.survey(&selection, threads, false)).await;
    Ok(surveyed.map_err(|error| RewindError::Worker(error.to_string()))??)
}

fn definitions(survey: &Survey) -> Result<Definitions, RewindError> {
    let mut found = Definitions::default();
    for (object, session) in &survey.objects {
        let mode = session.context.sql_mode.as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(object.create.as_bytes()).into_owned();
        found.triggers.push(TriggerDefinition {
            name: object.name.name.clone(),
            statements: vec![
                format!("SET SESSION sql_mode = {}", string(mode)?),
                text,
                "SET SESSION sql_mode = DEFAULT".to_owned(),
            ],
        });
    }
    for table in &survey.tables {
        let text = table.create.as_ref().map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let keys =
            text.as_deref().and_then(TableDef::parse).map(|def| def.foreign_keys()).unwrap_or_default();
        found.foreign_keys.extend(keys.into_iter().map(|key| key.text));
    }
    Ok(found)
}

/// Whether the table that is to be made is there already, as this would make it.
async fn look(loader: &mut Loader, options: &TableOptions, mark: &str) -> Result<bool, RewindError> {
    let TableOptions { database, as_name, .. } = options;
    let schema = string(database)?;
    let is_there = format!("SELECT 1 AS it FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {schema}");
    if ask(loader, is_there, "looking for the database").await?.is_empty() {
        return Err(RewindError::refused(
            format!("the database {database} is not there"),
            "create it: the rewound table is made in it",
        ));
    }
    let comment = comment(loader, database, as_name).await?;
    match comment {
        None => Ok(false),
        Some(comment) if comment == *mark || comment.starts_with(&format!("{mark}{ORIGINAL}")) => Ok(true),
        Some(comment) => {
            let whose = if comment.starts_with(MARK) { format!(" ({comment})") } else { String::new() };
            Err(RewindError::refused(
                format!("{database}.{as_name} is there already{whose}"),
                format!(
                    "drop it if it is of no more use, or name another one with --as: DROP TABLE {database}.{as_name}"
                ),
            ))
        }
    }
}

/// A table's comment; none where it is not there.
pub(crate) async fn comment(
    loader: &mut Loader,
    database: &str,
    table: &str,
) -> Result<Option<String>, RewindError> {
    let (schema, name) = (string(database)?, string(table)?);
    let question = format!(
        "SELECT TABLE_COMMENT AS it FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}"
    );
    let rows = ask(loader, question, "looking for the table").await?;
    Ok(rows.first().map(|row| row.text("it").unwrap_or_default().to_owned()))
}

/// What a rewound table's comment was before it got its mark.
pub(crate) fn original_comment(comment: &str) -> &str {
    if !comment.starts_with(MARK) {
        return comment;
    }
    comment.split_once(ORIGINAL).map_or("", |(_, original)| original)
}

/// A session that writes, as what comes after [`build`] needs it.
///
/// # Errors
/// If the server cannot be reached.
pub async fn open(target: &Target, options: &TableOptions) -> Result<Loader, RewindError> {
    let opened = server::Connection::open(target, &server::Limits::default()).await;
    let connection = opened.map_err(RewindError::server("connecting"))?;
    let vendor = connection.flavor().vendor;
    connection.close().await;
    let sessions = Sessions { target: target.clone(), vendor, with_binlog: options.with_binlog };
    sessions.open().await.map_err(RewindError::server("connecting"))
}

/// Makes the table, unless it is there already.
///
/// # Errors
/// If the backup cannot be restored, the logs cannot be replayed, or the server fails. What was half made is removed
/// by the next run.
pub async fn build(
    prepared: &mut Prepared,
    target: &Target,
    options: &TableOptions,
    progress: &TableProgress,
) -> Result<Rewound, RewindError> {
    let mut rewound = Rewound {
        plan: prepared.plan.clone(),
        restored_rows: 0,
        definition_changes: Vec::new(),
        replayed: Replayed::default(),
        left_out: Vec::new(),
        restore_seconds: 0.0,
        replay_seconds: 0.0,
    };
    if prepared.plan.is_there {
        return Ok(rewound);
    }
    let scratch = Scratch::new(&options.database, &options.as_name)?;
    let mut loader = open(target, options).await?;
    lock(&mut loader, &scratch).await?;
    let begun = Instant::now();
    let made = scratch.table(&options.table)?;
    let vendor = prepared.base.whole.manifest.server.vendor;
    let survey = prepared.survey.take().map(|survey| bare(survey, vendor, &mut rewound.left_out));
    let id = survey.as_ref().and_then(|survey| survey.tables.first());
    let id = id.map(|table| notes::id_of_table(table, &made)).unwrap_or_default();
    scratch.begin(&mut loader, &id).await?;
    if let Some(survey) = survey {
        let restored = restore_into(survey, &scratch, target, options, progress).await?;
        rewound.restored_rows = restored.rows;
        rewound.definition_changes = restored.changes.into_values().flatten().collect();
    }
    rewound.restore_seconds = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    rewound.replayed =
        replay(&prepared.feed, prepared.start, &mut loader, &scratch, options, progress).await?;
    rewound.replay_seconds = begun.elapsed().as_secs_f64();
    finish(&mut loader, &scratch, prepared, options, &mut rewound).await?;
    loader.close().await;
    Ok(rewound)
}

/// One run at a time. A session of a run that was killed may still hold it for a moment.
async fn lock(loader: &mut Loader, scratch: &Scratch) -> Result<(), RewindError> {
    let name = string(&scratch.name)?;
    let rows = ask(loader, format!("SELECT GET_LOCK({name}, 30) AS it"), "waiting for another run").await?;
    if rows.first().and_then(|row| row.text("it")) == Some("1") {
        return Ok(());
    }
    Err(RewindError::refused(
        "another run makes the same table",
        "wait for it, or name another table with --as",
    ))
}

/// What was surveyed without foreign keys, which would lead astray in another database, and triggers, which would act
/// on what is replayed. Names of checks, of which MySQL lets a database have one each, are the server's to give.
fn bare(mut survey: Survey, vendor: Vendor, left_out: &mut Vec<String>) -> Survey {
    for (object, _) in std::mem::take(&mut survey.objects) {
        left_out.push(format!("{} {}", object.kind.word(), object.name.name));
    }
    for table in &mut survey.tables {
        let Some(create) = &table.create else { continue };
        let Ok(mut text) = String::from_utf8(create.as_bytes().to_vec()) else { continue };
        if vendor == Vendor::MySql {
            text = without_names_of_checks(&text);
            table.create = Some(SqlText::new(text.as_bytes()));
        }
        let (Some(def), Ok(name)) = (TableDef::parse(&text), quoted(&table.name.name)) else { continue };
        let keys = def.foreign_keys();
        if !keys.is_empty() {
            left_out.extend(keys.iter().map(|key| key.text.clone()));
            table.create = Some(SqlText::new(def.create_keyed(&name).as_bytes()));
        }
    }
    survey
}

/// The definition with `CONSTRAINT name` left out before each `CHECK`.
fn without_names_of_checks(text: &str) -> String {
    let tokens: Vec<Token<'_>> = lex(text).collect();
    let significant: Vec<usize> =
        tokens.iter().enumerate().filter(|(_, token)| token.is_significant()).map(|(at, _)| at).collect();
    let is_word = |at: &usize, word: &str| tokens.get(*at).is_some_and(|token| token.is_word(word));
    let named = significant.windows(3).filter_map(|window| match window {
        [first, name, last] if is_word(first, "CONSTRAINT") && is_word(last, "CHECK") => {
            Some([*first, *name])
        }
        _ => None,
    });
    let left_out: Vec<usize> = named.flatten().collect();
    let kept = tokens.iter().enumerate().filter(|(at, _)| !left_out.contains(at));
    kept.map(|(_, token)| token.text).collect()
}

async fn restore_into(
    survey: Survey,
    scratch: &Scratch,
    target: &Target,
    options: &TableOptions,
    progress: &TableProgress,
) -> Result<restore::Restored, RewindError> {
    let restoring = RestoreOptions {
        renamed: [(options.database.clone(), scratch.name.clone())].into(),
        into: None,
        threads: options.threads,
        existing: Existing::LetBe,
        fixes: Fix::ALL.into_iter().collect(),
        with_binlog: options.with_binlog,
        method: None,
        with_sums: true,
        profile: Profile::None,
        accounts: None,
        dry_run: false,
        aside_suffix: String::new(),
    };
    Ok(restore::restore(survey, target, &restoring, Arc::clone(&progress.restore)).await?)
}

/// Gives the whole table its name, with a mark of what it is.
async fn finish(
    loader: &mut Loader,
    scratch: &Scratch,
    prepared: &Prepared,
    options: &TableOptions,
    rewound: &mut Rewound,
) -> Result<(), RewindError> {
    let TableOptions { database, table, as_name, .. } = options;
    let made = scratch.table(table)?;
    let Some(original) = comment(loader, &scratch.name, table).await? else {
        scratch.remove(loader).await?;
        let dropped = rewound.replayed.ddl.last().cloned();
        return Err(RewindError::refused(
            format!(
                "{database}.{table} is not there at that point{}",
                dropped.map(|it| format!(": {it}")).unwrap_or_default()
            ),
            "rewind to just before it was dropped: `mainstay binlog find --action drop` names the place",
        ));
    };
    let keys = format!(
        "SELECT CONSTRAINT_NAME AS it FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = {} \
         AND TABLE_NAME = {} AND CONSTRAINT_TYPE = 'FOREIGN KEY'",
        string(&scratch.name)?,
        string(table)?
    );
    for row in ask(loader, keys, "looking for foreign keys").await? {
        let name = row.text("it").unwrap_or_default();
        rewound.left_out.push(format!("FOREIGN KEY {name}"));
        run(
            loader,
            &format!("ALTER TABLE {made} DROP FOREIGN KEY {}", quoted(name)?),
            "leaving out a foreign key",
        )
        .await?;
    }
    let mut comment = prepared.mark.clone();
    if !original.is_empty() {
        comment = format!("{comment}{ORIGINAL}{original}").chars().take(2048).collect();
    }
    run(loader, "SET NAMES utf8mb4", "setting the session back").await?;
    run(loader, &format!("ALTER TABLE {made} COMMENT = {}", string(&comment)?), "marking the table").await?;
    let named = format!("{}.{}", quoted(database)?, quoted(as_name)?);
    run(loader, &format!("RENAME TABLE {made} TO {named}"), "naming the table").await?;
    scratch.remove(loader).await
}

impl Prepared {
    /// The backup it begins with.
    #[must_use]
    pub const fn backup(&self) -> &BackupId {
        &self.base.id
    }

    /// What will be done, in a line.
    #[must_use]
    pub fn plan_line(&self) -> String {
        let TablePlan { makes, backup, stops_at, estimated_seconds, .. } = &self.plan;
        format!("making {makes} from {backup} and the archive to {stops_at}, about {estimated_seconds} s")
    }

    /// Triggers and foreign keys, which the rewound table is without.
    #[must_use]
    pub const fn definitions(&self) -> &Definitions {
        &self.definitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_lose_their_names_and_nothing_else_does() {
        let text = "CREATE TABLE `t` (\n  `a` int COMMENT 'CONSTRAINT x CHECK',\n  CONSTRAINT `p` CHECK ((`a` > 0)),\n  \
            CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `u` (`a`)\n)";
        let without = without_names_of_checks(text);
        assert!(without.contains("CHECK ((`a` > 0))") && !without.contains("`p`"), "{without}");
        assert!(
            without.contains("CONSTRAINT `f` FOREIGN KEY") && without.contains("'CONSTRAINT x CHECK'"),
            "{without}"
        );
    }

    #[test]
    fn a_mark_keeps_the_comment() {
        assert_eq!(
            original_comment("rewound by mainstay to b.1:4 from x; comment was: mine; his"),
            "mine; his"
        );
        assert_eq!(original_comment("rewound by mainstay to b.1:4 from x"), "");
        assert_eq!(original_comment("mine"), "mine");
    }
}
