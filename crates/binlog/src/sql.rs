//! Changed rows as SQL: as they happened, or undone. One row is one statement, which changes that row or none.

use thiserror::Error;

use crate::json_diff::{DiffAction, JsonDiff};
use crate::literal::{condition, json, literal};
use crate::rows::{Image, Row, Verb};
use crate::shape::{Named, Shape};
use crate::value::Value;

/// What a session needs so that the statements mean what they say.
pub const SESSION: &[&str] = &[
    "SET NAMES utf8mb4",
    "SET SESSION time_zone='+00:00'",
    // Zero dates are stored as they were; anything that does not fit its column is refused.
    "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
];

/// A row that SQL cannot be written for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqlError {
    /// Names are neither in the log nor given.
    #[error("columns of {table} have no names in the log")]
    NoNames {
        /// Which table.
        table: String,
    },
    /// The log and the schema contradict each other.
    #[error("a column of {table} is `{logged}` in the log and `{given}` in the schema")]
    OtherNames {
        /// Which table.
        table: String,
        /// Its name in the log.
        logged: String,
        /// Its name in the schema.
        given: String,
    },
    /// The log does not hold enough of the row.
    #[error("the row cannot be written: {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// A name that no server takes.
    #[error("a name cannot be written")]
    Name(#[from] sqltext::QuoteError),
}

/// Which way statements go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As it happened.
    Forward,
    /// Undone.
    Inverse,
}

/// The statement for a row. None if it would change nothing.
///
/// # Errors
/// When the log does not hold enough of the row.
pub fn statement(
    shape: &Shape,
    verb: Verb,
    row: &Row<'_>,
    direction: Direction,
) -> Result<Option<String>, SqlError> {
    const MISSING: SqlError = SqlError::Incomplete { what: "an image of it is missing" };
    let (before, after) = (row.before.as_ref(), row.after.as_ref());
    match (verb, direction) {
        (Verb::Insert, Direction::Forward) => insert(shape, after.ok_or(MISSING)?, direction).map(Some),
        (Verb::Delete, Direction::Inverse) => insert(shape, before.ok_or(MISSING)?, direction).map(Some),
        (Verb::Delete, Direction::Forward) => delete(shape, before.ok_or(MISSING)?).map(Some),
        (Verb::Insert, Direction::Inverse) => delete(shape, after.ok_or(MISSING)?).map(Some),
        (Verb::Update, _) => {
            let (before, after) = (before.ok_or(MISSING)?, row.whole_after().ok_or(MISSING)?);
            match direction {
                Direction::Forward => update(shape, before, &after),
                Direction::Inverse => {
                    let is_known = |(value, old): (&Option<Value<'_>>, &Option<Value<'_>>)| {
                        value.is_none() || old.is_some()
                    };
                    if !after.iter().zip(before).all(is_known) {
                        return Err(SqlError::Incomplete {
                            what: "what it was before is not logged (binlog_row_image is not FULL)",
                        });
                    }
                    update(shape, &after, before)
                }
            }
        }
    }
}

/// Columns that may be written, with their values.
fn stored<'v, 'a>(
    shape: &'v Shape,
    image: &'v Image<'a>,
) -> impl Iterator<Item = (&'v Named, &'v Value<'a>)> {
    let columns = shape.columns.iter().zip(image).filter(|(column, _)| !column.is_generated);
    columns.filter_map(|(column, value)| value.as_ref().map(|value| (column, value)))
}

fn insert(shape: &Shape, image: &Image<'_>, direction: Direction) -> Result<String, SqlError> {
    let is_whole =
        shape.columns.iter().zip(image).all(|(column, value)| column.is_generated || value.is_some());
    if direction == Direction::Inverse && !is_whole {
        return Err(SqlError::Incomplete {
            what: "only some of its columns are logged (binlog_row_image is not FULL)",
        });
    }
    let (mut names, mut values) = (String::new(), String::new());
    for (at, (column, value)) in stored(shape, image).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        names.push_str(comma);
        names.push_str(&column.name);
        values.push_str(comma);
        values.push_str(&literal(value, column)?);
    }
    Ok(format!("INSERT INTO {} ({names}) VALUES ({values})", shape.name))
}

fn delete(shape: &Shape, image: &Image<'_>) -> Result<String, SqlError> {
    Ok(format!("DELETE FROM {} WHERE {} LIMIT 1", shape.name, conditions(shape, image)?))
}

fn update(shape: &Shape, from: &Image<'_>, to: &Image<'_>) -> Result<Option<String>, SqlError> {
    let mut changes = String::new();
    let mut is_changed = false;
    for (at, (column, value)) in shape.columns.iter().zip(to).enumerate() {
        let old = from.get(at).and_then(Option::as_ref);
        let Some(new) = value else { continue };
        // A time may be one that the server sets by itself on an update, unless it is given.
        let is_time = matches!(new, Value::Timestamp(_) | Value::DateTime(_));
        is_changed |= !column.is_generated && old != Some(new);
        if column.is_generated || (old == Some(new) && !is_time) {
            continue;
        }
        if !changes.is_empty() {
            changes.push(',');
        }
        changes.push_str(&column.name);
        changes.push('=');
        match new {
            Value::JsonDiff(diffs) => changes.push_str(&diff_expression(&column.name, diffs)?),
            Value::Null
            | Value::Int(_)
            | Value::UInt(_)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Decimal(_)
            | Value::Bytes(_)
            | Value::Bits(_)
            | Value::Enum(_)
            | Value::Set(_)
            | Value::Year(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::DateTime(_)
            | Value::Timestamp(_)
            | Value::Json(_)
            | Value::Geometry(_)
            | Value::Vector(_) => changes.push_str(&literal(new, column)?),
        }
    }
    if !is_changed {
        return Ok(None);
    }
    Ok(Some(format!("UPDATE {} SET {changes} WHERE {} LIMIT 1", shape.name, conditions(shape, from)?)))
}

/// Differences as functions, where the value they change is not logged.
fn diff_expression(name: &str, diffs: &[JsonDiff]) -> Result<String, SqlError> {
    let mut expression = name.to_owned();
    for diff in diffs {
        let path = sqltext::quote_string(&diff.path)?;
        let value = match &diff.value {
            Some(value) => format!(",CAST({} AS JSON)", json(value)?),
            None => String::new(),
        };
        let function = match diff.action {
            DiffAction::Replace => "JSON_REPLACE",
            DiffAction::Insert if diff.path.ends_with(']') => "JSON_ARRAY_INSERT",
            DiffAction::Insert => "JSON_INSERT",
            DiffAction::Remove => "JSON_REMOVE",
        };
        expression = format!("{function}({expression},{path}{value})");
    }
    Ok(expression)
}

/// Conditions on every column that is logged, the key's first.
fn conditions(shape: &Shape, image: &Image<'_>) -> Result<String, SqlError> {
    let mut conditions = String::new();
    for is_key in [true, false] {
        for (column, value) in stored(shape, image).filter(|(column, _)| column.is_key == is_key) {
            if !conditions.is_empty() {
                conditions.push_str(" AND ");
            }
            conditions.push_str(&condition(value, column, shape.has_key)?);
        }
    }
    if conditions.is_empty() {
        return Err(SqlError::Incomplete { what: "none of its columns is logged" });
    }
    Ok(conditions)
}
