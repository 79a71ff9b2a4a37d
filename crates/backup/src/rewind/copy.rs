//! Chosen rows of the rewound table copied back into the live one, by their primary key. Rows that came since stay.

use serde::Serialize;
use server::Loader;
use sqltext::{Token, TokenKind, lex};

use super::error::RewindError;
use super::pair::Pair;
use super::scratch::{ask, run, string};

const ROWS_TOLD: usize = 10;

/// Which rows are copied back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Only those of the rewound table that fulfil this.
    pub condition: Option<String>,
    /// Only those that are missing.
    pub only_missing: bool,
    /// Go on although the live table has triggers.
    pub with_triggers: bool,
}

/// What will be copied, or was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copying {
    /// Rows that are put in.
    pub missing: u64,
    /// Rows that are set back.
    pub different: u64,
    /// The first of both, by key.
    pub first: Vec<String>,
    /// Triggers of the live table, which act on them.
    pub triggers: Vec<String>,
    /// Whether it was done.
    pub done: bool,
}

/// Statements of a copy.
struct Statements {
    missing: String,
    different: String,
    insert: String,
    update: String,
    first: String,
}

/// Counts what would be copied.
///
/// # Errors
/// If there is no key to copy by, the condition is none, triggers are in the way, or the server fails.
pub async fn plan_copy(
    loader: &mut Loader,
    database: &str,
    tables: (&str, &str),
    options: &CopyOptions,
) -> Result<Copying, RewindError> {
    let statements = statements(loader, database, tables, options).await?;
    let mut copying = Copying { triggers: triggers(loader, database, tables.1).await?, ..Copying::default() };
    if !copying.triggers.is_empty() && !options.with_triggers {
        return Err(RewindError::refused(
            format!(
                "{database}.{} has triggers, which would act on the rows too: {}",
                tables.1,
                copying.triggers.join(", ")
            ),
            "drop them for the time being, or accept what they do with --with-triggers",
        ));
    }
    copying.missing = count(loader, &statements.missing).await?;
    if !options.only_missing {
        copying.different = count(loader, &statements.different).await?;
    }
    let rows = ask(loader, statements.first, "looking for rows to copy back").await?;
    copying.first = rows.iter().map(|row| row.text("it").unwrap_or("?").to_owned()).collect();
    Ok(copying)
}

/// Copies in one transaction, exactly as many rows as were planned.
///
/// # Errors
/// If the tables have changed since, a row is refused, or the server fails: then nothing is changed.
pub async fn copy_back(
    loader: &mut Loader,
    database: &str,
    tables: (&str, &str),
    options: &CopyOptions,
    plan: &Copying,
) -> Result<Copying, RewindError> {
    let statements = statements(loader, database, tables, options).await?;
    // Parents that are gone are refused, as for anyone who writes.
    run(loader, "SET SESSION foreign_key_checks = 1", "copying back").await?;
    run(loader, "START TRANSACTION", "copying back").await?;
    let mut wanted = vec![(&statements.insert, plan.missing)];
    if !options.only_missing {
        wanted.push((&statements.update, plan.different));
    }
    for (statement, rows) in wanted {
        let done = loader.run(statement.as_bytes()).await;
        let problem = match done {
            Ok(done) if done.affected_rows == rows => continue,
            Ok(done) => RewindError::refused(
                format!(
                    "{} rows were met, not {rows}: the live table has changed meanwhile; nothing was copied",
                    done.affected_rows
                ),
                "run it again",
            ),
            Err(error) => RewindError::server("copying back")(error),
        };
        run(loader, "ROLLBACK", "taking it back").await?;
        return Err(problem);
    }
    run(loader, "COMMIT", "copying back").await?;
    Ok(Copying { done: true, ..plan.clone() })
}

async fn statements(
    loader: &mut Loader,
    database: &str,
    (rewound, live): (&str, &str),
    options: &CopyOptions,
) -> Result<Statements, RewindError> {
    let Some(pair) = Pair::look(loader, database, (rewound, live)).await? else {
        return Err(RewindError::refused(
            format!("{database}.{live} is not there, so that nothing can be copied back into it"),
            "put the rewound table in its place with --swap",
        ));
    };
    if pair.key.is_empty() {
        return Err(RewindError::refused(
            format!(
                "{database}.{live} has no primary key that is also {rewound}'s, by which rows could be copied"
            ),
            "copy them by hand with INSERT ... SELECT",
        ));
    }
    let condition = match &options.condition {
        Some(text) => checked(text)?,
        None => "TRUE".to_owned(),
    };
    let stored: Vec<&str> =
        pair.columns.iter().filter(|it| !it.is_generated).map(|it| it.quoted.as_str()).collect();
    let (r, l, on) = (&pair.rewound, &pair.live, pair.same_key());
    // The condition means the rewound table's columns, whatever the live one has.
    let all: Vec<&str> = pair.columns.iter().map(|it| it.quoted.as_str()).collect();
    let chosen = format!("(SELECT {} FROM {r} WHERE {condition}) r", all.join(", "));
    let named: Vec<String> = stored.iter().map(|name| format!("r.{name}")).collect();
    let set: Vec<String> = stored.iter().map(|name| format!("l.{name} = r.{name}")).collect();
    let missing = format!("{chosen} LEFT JOIN {l} l ON {on} WHERE {}", pair.is_missing("l"));
    let different = format!("{chosen} JOIN {l} l ON {on} WHERE NOT ({})", pair.same_row());
    let which = if options.only_missing {
        pair.is_missing("l")
    } else {
        format!("({} OR NOT ({}))", pair.is_missing("l"), pair.same_row())
    };
    Ok(Statements {
        insert: format!("INSERT INTO {l} ({}) SELECT {} FROM {missing}", stored.join(", "), named.join(", ")),
        update: format!(
            "UPDATE {l} l JOIN {chosen} ON {on} SET {} WHERE NOT ({})",
            set.join(", "),
            pair.same_row()
        ),
        first: format!(
            "SELECT CONCAT(IF({}, 'put in ', 'set back '), {}) AS it FROM {chosen} LEFT JOIN {l} l ON {on} \
             WHERE {which} LIMIT {ROWS_TOLD}",
            pair.is_missing("l"),
            pair.key_shown("r")?
        ),
        missing,
        different,
    })
}

async fn count(loader: &mut Loader, from: &str) -> Result<u64, RewindError> {
    let rows =
        ask(loader, format!("SELECT COUNT(*) AS it FROM {from}"), "counting rows to copy back").await?;
    Ok(rows.first().and_then(|row| row.parsed("it")).unwrap_or(0))
}

/// Names of a table's triggers.
pub(crate) async fn triggers(
    loader: &mut Loader,
    database: &str,
    table: &str,
) -> Result<Vec<String>, RewindError> {
    let question = format!(
        "SELECT TRIGGER_NAME AS it FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {} \
         AND EVENT_OBJECT_TABLE = {} ORDER BY ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        string(database)?,
        string(table)?
    );
    let rows = ask(loader, question, "looking for triggers").await?;
    Ok(rows.iter().filter_map(|row| row.text("it").map(str::to_owned)).collect())
}

/// One condition, closed in itself: nothing follows it, and its parentheses are its own.
fn checked(text: &str) -> Result<String, RewindError> {
    let refused = || {
        RewindError::refused(
            format!("`{}` is not one condition", text.escape_debug()),
            "give one as after WHERE, such as \"customer = 17 AND state <> 'new'\"",
        )
    };
    let mut depth = 0_i32;
    let mut is_empty = true;
    for token in lex(text).filter(Token::is_significant) {
        is_empty = false;
        if token.is_punct("(") {
            depth += 1;
        } else if token.is_punct(")") {
            depth -= 1;
        }
        if depth < 0 || token.is_punct(";") {
            return Err(refused());
        }
    }
    let has_comment = lex(text).any(|token| matches!(token.kind, TokenKind::Comment | TokenKind::Executable));
    if is_empty || depth != 0 || has_comment {
        return Err(refused());
    }
    Ok(format!("({text})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_closed_in_themselves() {
        for text in ["id = 5", "(a or b) and c in (1, 2)", "name = ';' or name = ')'"] {
            assert!(checked(text).is_ok(), "{text}");
        }
        for text in ["", "id = 5; drop table t", "id = 5) or (1", "(id = 5", "id = 5 -- x", "id = 5 /* x"] {
            assert!(checked(text).is_err(), "{text}");
        }
    }
}
