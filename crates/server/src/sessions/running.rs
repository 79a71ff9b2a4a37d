//! [`running`]: how many clients have the server at work. It reads neither statements nor locks.

use super::LIMIT;
use super::rows::{Source, source};
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

fn statement(source: Source, without: &[u64]) -> String {
    let (table, prefix) = match source {
        Source::MySqlThreads => ("performance_schema.threads", "PROCESSLIST_"),
        Source::MariaDbList | Source::MySqlList => ("information_schema.PROCESSLIST", ""),
    };
    let others: String = without.iter().map(|id| format!(", {id}")).collect();
    format!(
        "SELECT COUNT(*) AS n FROM {table} WHERE {prefix}COMMAND IN ('Query', 'Execute', 'Bulk_execute', 'Fetch') AND \
         {prefix}USER NOT IN ('system user', 'event_scheduler') AND {prefix}ID NOT IN (CONNECTION_ID(){others})"
    )
}
