//! The rewound table put in the live one's place: a rename, and what belongs to the name rather than to the rows.
//!
//! Everything is written down as statements before the first is run. The rename itself is one statement; triggers and
//! foreign keys follow it, as servers have no way to do them at the same time.

use dump::tabledef::TableDef;
use serde::Serialize;
use server::Loader;
use sqltext::unquote;

use super::copy::triggers;
use super::error::RewindError;
use super::scratch::{ask, quoted, run, string};
use super::table::{Definitions, comment, original_comment};

/// What will be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SwapPlan {
    /// The name that the live table gets; none where there is no live table.
    pub before: Option<String>,
    /// Triggers that go over, by name.
    pub triggers: Vec<String>,
    /// Foreign keys of the table that go over, as they are written.
    pub foreign_keys: Vec<String>,
    /// Foreign keys of other tables that lead to it, which are made anew.
    pub leading_here: Vec<String>,
    /// All of it.
    pub statements: Vec<String>,
}

/// Looks at triggers and foreign keys, and writes the statements down.
///
/// # Errors
/// If the name for the live table is taken, a definition cannot be read, or the server fails.
pub async fn plan_swap(
    loader: &mut Loader,
    database: &str,
    (rewound, live): (&str, &str),
    definitions: &Definitions,
) -> Result<SwapPlan, RewindError> {
    let full = |name: &str| -> Result<String, RewindError> {
        Ok(format!("{}.{}", quoted(database)?, quoted(name)?))
    };
    let (rewound_name, live_name) = (full(rewound)?, full(live)?);
    let marked = comment(loader, database, rewound).await?.unwrap_or_default();
    let mut plan = SwapPlan::default();
    plan.statements.push("SET SESSION foreign_key_checks = 0".to_owned());
    plan.statements.push(format!("USE {}", quoted(database)?));
    plan.statements
        .push(format!("ALTER TABLE {rewound_name} COMMENT = {}", string(original_comment(&marked))?));
    if comment(loader, database, live).await?.is_none() {
        plan.statements.push(format!("RENAME TABLE {rewound_name} TO {live_name}"));
        for key in &definitions.foreign_keys {
            plan.statements.push(format!("ALTER TABLE {live_name} ADD {key}"));
        }
        plan.foreign_keys.clone_from(&definitions.foreign_keys);
        for trigger in &definitions.triggers {
            plan.triggers.push(trigger.name.clone());
            plan.statements.extend(trigger.statements.iter().cloned());
        }
        return Ok(plan);
    }
    let before: String = live.chars().take(50).chain("_before_rewind".chars()).collect();
    if comment(loader, database, &before).await?.is_some() {
        return Err(RewindError::refused(
            format!("{database}.{before} is there already, from an earlier rewind"),
            format!("drop it if it is of no more use: DROP TABLE {database}.{before}"),
        ));
    }
    let before_name = full(&before)?;
    plan.before = Some(before);
    plan.statements.push(format!("RENAME TABLE {live_name} TO {before_name}, {rewound_name} TO {live_name}"));
    for (name, clause) in foreign_keys(loader, &live_name).await? {
        plan.statements.push(format!("ALTER TABLE {before_name} DROP FOREIGN KEY {}", quoted(&name)?));
        plan.statements.push(format!("ALTER TABLE {live_name} ADD {clause}"));
        plan.foreign_keys.push(clause);
    }
    for name in triggers(loader, database, live).await? {
        let made = trigger(loader, database, &name).await?;
        plan.statements.push(format!("DROP TRIGGER {}.{}", quoted(database)?, quoted(&name)?));
        plan.statements.extend(made);
        plan.triggers.push(name);
    }
    leading_here(loader, database, live, &mut plan).await?;
    Ok(plan)
}

/// Runs what was written down.
///
/// # Errors
/// If a statement is refused; the error names it, and those behind it are still to be run.
pub async fn swap(loader: &mut Loader, plan: &SwapPlan) -> Result<(), RewindError> {
    for (at, statement) in plan.statements.iter().enumerate() {
        let left = plan.statements.len() - at - 1;
        run(loader, statement, &format!("`{statement:.300}` (with {left} statements behind it)")).await?;
    }
    Ok(())
}

/// A table's foreign keys, by name, as they are written.
async fn foreign_keys(loader: &mut Loader, table: &str) -> Result<Vec<(String, String)>, RewindError> {
    let rows = ask(loader, format!("SHOW CREATE TABLE {table}"), "reading foreign keys").await?;
    let text = rows.first().and_then(|row| row.text_at(1)).unwrap_or_default();
    let keys = TableDef::parse(text).map(|def| def.foreign_keys()).unwrap_or_default();
    Ok(keys.into_iter().filter_map(|key| Some((unquote(key.name.as_deref()?), key.text))).collect())
}

/// Foreign keys of other tables, which would follow the old table to its new name.
async fn leading_here(
    loader: &mut Loader,
    database: &str,
    live: &str,
    plan: &mut SwapPlan,
) -> Result<(), RewindError> {
    let question = format!(
        "SELECT CONSTRAINT_SCHEMA AS d, TABLE_NAME AS t, CONSTRAINT_NAME AS n FROM information_schema.REFERENTIAL_CONSTRAINTS \
         WHERE UNIQUE_CONSTRAINT_SCHEMA = {} AND REFERENCED_TABLE_NAME = {}",
        string(database)?,
        string(live)?
    );
    for row in ask(loader, question, "looking for foreign keys that lead to the table").await? {
        let (Some(of), Some(table), Some(name)) = (row.text("d"), row.text("t"), row.text("n")) else {
            continue;
        };
        if (of, table) == (database, live) {
            continue;
        }
        let child = format!("{}.{}", quoted(of)?, quoted(table)?);
        let all = foreign_keys(loader, &child).await?;
        let Some((_, clause)) = all.into_iter().find(|(known, _)| known == name) else {
            return Err(RewindError::refused(
                format!("the foreign key {name} of {of}.{table} leads to the table and cannot be read"),
                "copy rows back with --copy-back instead",
            ));
        };
        plan.leading_here.push(format!("{name} of {of}.{table}"));
        plan.statements.push(format!("ALTER TABLE {child} DROP FOREIGN KEY {}", quoted(name)?));
        // Its own database is the one its names mean.
        plan.statements.push(format!("USE {}", quoted(of)?));
        plan.statements.push(format!("ALTER TABLE {child} ADD {clause}"));
    }
    Ok(())
}

/// What makes a trigger again.
async fn trigger(loader: &mut Loader, database: &str, name: &str) -> Result<Vec<String>, RewindError> {
    let question = format!("SHOW CREATE TRIGGER {}.{}", quoted(database)?, quoted(name)?);
    let rows = ask(loader, question, "reading a trigger").await?;
    let text = |column: &str| rows.first().and_then(|row| row.text(column)).unwrap_or_default().to_owned();
    Ok(vec![
        format!("SET SESSION sql_mode = {}", string(&text("sql_mode"))?),
        text("SQL Original Statement"),
        "SET SESSION sql_mode = DEFAULT".to_owned(),
    ])
}
