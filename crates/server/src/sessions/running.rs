//! [`running`]: how many clients have the server at work; [`waits_for_others`]: whether a replica lags because of them. It
//! reads neither statements nor locks.

use super::LIMIT;
use super::rows::{Source, THREAD_USER, source};
use crate::connection::Connection;
use crate::error::ServerError;
use crate::sql::Sql;

/// Sessions of clients that run a statement now, but for this one and those of these numbers. A replica that is sent the
/// binary log, the server's own threads and its appliers are none: they do not end. [`see_everybody`] first.
///
/// # Errors
/// If the connection breaks, or the login may not ask.
pub async fn running(connection: &mut Connection, without: &[u64]) -> Result<u64, ServerError> {
    let source = source(connection).await?;
    let rows = connection.with_limit(LIMIT).query(&Sql::plain(statement(source, without))).await?;
    let count = rows.first().and_then(|row| row.parsed("n"));
    count.ok_or_else(|| ServerError::Other("the server does not tell how many sessions run".to_owned()))
}

/// Whether an applier waits for a lock on a definition, or for one that a backup holds: the replica lags until whoever has
/// it ends. False where other accounts' sessions are not seen, which MySQL may refuse a login outright.
///
/// # Errors
/// If the connection breaks.
pub async fn waits_for_others(connection: &mut Connection) -> Result<bool, ServerError> {
    let List { table, prefix, user } = list(source(connection).await?);
    let asked = Sql::plain(format!(
        "SELECT 1 AS it FROM {table} WHERE {user} = 'system user' AND ({prefix}STATE = 'Waiting for backup lock' \
         OR {prefix}STATE LIKE 'Waiting for % metadata lock') LIMIT 1"
    ));
    match connection.with_limit(LIMIT).query(&asked).await {
        Ok(rows) => Ok(!rows.is_empty()),
        Err(error) if error.is_missing_privilege() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes sure that other accounts' sessions are seen: without PROCESS a list has one's own alone, and nothing in it
/// tells.
///
/// # Errors
/// The login lacks PROCESS, or the connection breaks.
pub async fn see_everybody(connection: &mut Connection) -> Result<(), ServerError> {
    let asked =
        Sql::plain("SELECT COUNT(*) AS n FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = 0");
    connection.with_limit(LIMIT).query(&asked).await?;
    Ok(())
}

/// Where sessions are listed.
struct List {
    table: &'static str,
    /// What its columns' names begin with.
    prefix: &'static str,
    user: &'static str,
}

const fn list(source: Source) -> List {
    match source {
        Source::MySqlThreads => {
            List { table: "performance_schema.threads t", prefix: "t.PROCESSLIST_", user: THREAD_USER }
        }
        Source::MariaDbList | Source::MySqlList => {
            List { table: "information_schema.PROCESSLIST", prefix: "", user: "USER" }
        }
    }
}

fn statement(source: Source, without: &[u64]) -> String {
    let List { table, prefix, user } = list(source);
    let others: String = without.iter().map(|id| format!(", {id}")).collect();
    format!(
        "SELECT COUNT(*) AS n FROM {table} WHERE {prefix}COMMAND IN ('Query', 'Execute', 'Bulk_execute', 'Fetch') AND \
         {user} NOT IN ('system user', 'event_scheduler') AND {prefix}ID NOT IN (CONNECTION_ID(){others})"
    )
}
