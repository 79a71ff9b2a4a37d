//! Whether what is there is what the manifest says: the number of rows of every table, and their sum, read back.
//!
//! Plain dumps and mydumper's have neither; that the server took every row is known of them too.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dump::literal::{Form, RowsDigest, push_row};
use server::{Connection, Limits, Loader, ServerError, Sql};
use sqltext::{quote_ident, quote_string};
use tokio::task::JoinSet;

use super::engine::{Work, all};
use super::error::RestoreError;
use super::plan::TablePlan;
use super::state::VERIFIED;
use super::survey::Recorded;

/// Longest time for reading a table back.
const SELECT_LIMIT: Duration = Duration::from_hours(24);
const SILENCE: Duration = Duration::from_mins(10);

/// Compares all tables that the manifest knows, several at once, unless an earlier run did. Says how many there were.
///
/// # Errors
/// If one differs, or cannot be read.
pub(crate) async fn verify(
    work: &Arc<Work>,
    loader: &mut Loader,
    threads: usize,
    with_sums: bool,
) -> Result<usize, RestoreError> {
    if work.state.done.contains(VERIFIED) {
        // What was changed since for the control plane is not in the manifest.
        return Ok(work.plan.tables.iter().filter(|plan| plan.recorded.is_some()).count());
    }
    let verified = compare(work, threads, with_sums).await?;
    let noted = loader.run(work.state.note(VERIFIED).as_bytes()).await;
    noted.map_err(RestoreError::server("keeping notes"))?;
    Ok(verified)
}

async fn compare(work: &Arc<Work>, threads: usize, with_sums: bool) -> Result<usize, RestoreError> {
    work.progress.begin("verifying");
    let next = Arc::new(AtomicUsize::new(0));
    let verified = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for _ in 0..threads.max(1) {
        let (work, next, verified) = (Arc::clone(work), Arc::clone(&next), Arc::clone(&verified));
        set.spawn(async move {
            let failed = |what: String| RestoreError::server(format!("reading back {what}"));
            let opened = Connection::open_for_rows(&work.sessions.target, &Limits::default()).await;
            let mut connection = opened.map_err(failed("the target".to_owned()))?;
            let raw = Sql::plain("SET character_set_results = NULL");
            connection.execute(&raw).await.map_err(failed("the target".to_owned()))?;
            while let Some(plan) = work.plan.tables.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(recorded) = &plan.recorded else { continue };
                let expected = if with_sums { recorded.digest.clone() } else { recorded.rows.to_string() };
                let found = if with_sums {
                    sum(&mut connection, plan, recorded).await
                } else {
                    count(&mut connection, plan).await
                };
                let found = found.map_err(failed(plan.shown()))?;
                if found != expected {
                    let problem =
                        format!("{found} is there, the manifest says {expected} (rows and their sum)");
                    return Err(RestoreError::Rows { table: plan.shown(), problem });
                }
                verified.fetch_add(1, Ordering::Relaxed);
            }
            connection.close().await;
            Ok(())
        });
    }
    all(set).await?;
    Ok(verified.load(Ordering::Relaxed))
}

async fn count(connection: &mut Connection, plan: &TablePlan) -> Result<String, ServerError> {
    let sql = Sql::plain(format!("SELECT COUNT(*) AS it FROM {}", plan.quoted));
    let rows = connection.with_limit(SELECT_LIMIT).query(&sql).await?;
    Ok(rows.first().and_then(|row| row.text("it")).unwrap_or_default().to_owned())
}

/// The sum over all rows, as the backup took it.
async fn sum(
    connection: &mut Connection,
    plan: &TablePlan,
    recorded: &Recorded,
) -> Result<String, ServerError> {
    let other = |error: String| ServerError::Other(error);
    let quoted = |text: &str| quote_string(text).map_err(|error| ServerError::Other(error.to_string()));
    let kinds = Sql::plain(format!(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS kind, CHARACTER_SET_NAME AS charset FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        quoted(&plan.database)?,
        quoted(&plan.name)?
    ));
    let kinds = connection.query(&kinds).await?;
    let (mut columns, mut forms) = (Vec::new(), Vec::new());
    for name in &recorded.columns {
        let row = kinds.iter().find(|row| row.text("name") == Some(name));
        let kind = row.and_then(|row| row.text("kind"));
        let kind = kind.ok_or_else(|| other(format!("there is no column {name}")))?;
        let column = quote_ident(name).map_err(|error| other(error.to_string()))?;
        // As a double, with all digits that tell a FLOAT from its neighbours, and the sign of a zero.
        columns.push(if kind.eq_ignore_ascii_case("float") { format!("{column} * 1e0") } else { column });
        forms.push(Form::of(kind, row.and_then(|row| row.text("charset"))));
    }
    let is_bare = columns.is_empty();
    if is_bare {
        columns.push("NULL".to_owned());
    }
    let sql = Sql::plain(format!("SELECT {} FROM {}", columns.join(", "), plan.quoted));
    let (mut digest, mut text) = (RowsDigest::default(), Vec::new());
    let mut stream = connection.stream(sql, SELECT_LIMIT, SILENCE).await?;
    loop {
        let mut written = Ok(());
        let add = |values: server::RowValues<'_>| {
            text.clear();
            if is_bare {
                text.extend_from_slice(b"()");
            } else {
                written = push_row(&mut text, &forms, values);
            }
            digest.add(&text);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let is_more = stream.next(add).await?;
        written.map_err(|error| other(error.to_string()))?;
        if !is_more {
            return Ok(digest.to_string());
        }
    }
}
