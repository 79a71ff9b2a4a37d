//! Where sessions are listed on each server, and the columns in common names.
//!
//! MariaDB: the process list, which numbers statements. MySQL: the threads of the performance schema, which unlike the
//! process list hold up nobody; the process list where the schema is off.

use std::collections::BTreeMap;

use facts::Seen;
use flavor::Vendor;

use super::{LIMIT, SESSIONS_MAX, STATEMENT_LETTERS_MAX};
use crate::connection::Connection;
use crate::error::ServerError;
use crate::sql::Sql;

/// A longer time is a clock that went back, not a session's age: ten years, in milliseconds.
const TIME_MS_MAX: u64 = 10 * 366 * 86_400 * 1000;

/// Why a part of the answer is missing.
pub(crate) const PERFORMANCE_SCHEMA_OFF: &str = "performance_schema is off";

/// The user of one of MySQL's threads, named `t`: those that replicate go by the account that started them there, and as
/// the server's own in its process list.
pub(crate) const THREAD_USER: &str = "IF(t.NAME LIKE 'thread/sql/replica_%' OR t.NAME LIKE 'thread/sql/slave_%' OR \
    t.NAME LIKE 'thread/group_rpl/%', 'system user', t.PROCESSLIST_USER)";

/// Where sessions are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    MariaDbList,
    MySqlThreads,
    MySqlList,
}

pub(crate) async fn has_performance_schema(connection: &mut Connection) -> Result<bool, ServerError> {
    let rows = connection.query(&Sql::plain("SELECT @@performance_schema AS it")).await?;
    Ok(rows.first().and_then(|row| row.text("it")) == Some("1"))
}

pub(crate) async fn source(connection: &mut Connection) -> Result<Source, ServerError> {
    Ok(match connection.flavor().vendor {
        Vendor::MariaDb => Source::MariaDbList,
        Vendor::MySql if has_performance_schema(connection).await? => Source::MySqlThreads,
        Vendor::MySql => Source::MySqlList,
    })
}

impl Source {
    pub(crate) fn statement(self, id: Option<u64>) -> String {
        let (columns, table, key) = match self {
            Self::MariaDbList => (
                format!(
                    "ID AS id, USER AS user, HOST AS host, DB AS db, COMMAND AS command, STATE AS state, \
                     TIME_MS AS time_ms, LEFT(INFO, {STATEMENT_LETTERS_MAX}) AS statement, \
                     CHAR_LENGTH(INFO) AS letters, QUERY_ID AS statement_id"
                ),
                "information_schema.PROCESSLIST",
                "ID",
            ),
            // Threads tell whole seconds; a running statement's own clock is finer, in picoseconds.
            Self::MySqlThreads => (
                format!(
                    "t.PROCESSLIST_ID AS id, {THREAD_USER} AS user, t.PROCESSLIST_HOST AS host, \
                     t.PROCESSLIST_DB AS db, t.PROCESSLIST_COMMAND AS command, t.PROCESSLIST_STATE AS state, \
                     IF(e.EVENT_ID IS NOT NULL AND e.END_EVENT_ID IS NULL AND t.PROCESSLIST_INFO IS NOT NULL, \
                     e.TIMER_WAIT DIV 1000000000, t.PROCESSLIST_TIME * 1000) AS time_ms, \
                     LEFT(t.PROCESSLIST_INFO, {STATEMENT_LETTERS_MAX}) AS statement, \
                     CHAR_LENGTH(t.PROCESSLIST_INFO) AS letters, e.EVENT_ID AS statement_id"
                ),
                "performance_schema.threads t LEFT JOIN performance_schema.events_statements_current e \
                 ON e.THREAD_ID = t.THREAD_ID AND e.NESTING_EVENT_LEVEL = 0",
                "t.PROCESSLIST_ID",
            ),
            Self::MySqlList => (
                format!(
                    "ID AS id, USER AS user, HOST AS host, DB AS db, COMMAND AS command, STATE AS state, \
                     TIME * 1000 AS time_ms, LEFT(INFO, {STATEMENT_LETTERS_MAX}) AS statement, \
                     CHAR_LENGTH(INFO) AS letters, NULL AS statement_id"
                ),
                "information_schema.PROCESSLIST",
                "ID",
            ),
        };
        let only = id.map_or_else(|| format!("{key} IS NOT NULL"), |id| format!("{key} = {id}"));
        format!("SELECT {columns} FROM {table} WHERE {only} LIMIT {SESSIONS_MAX}")
    }
}

/// The user of this login, as other sessions of it are listed.
pub(crate) async fn own_user(connection: &mut Connection) -> Result<String, ServerError> {
    let rows = connection.query(&Sql::plain("SELECT USER() AS it")).await?;
    let text = rows.first().and_then(|row| row.text("it")).unwrap_or_default();
    Ok(text.rsplit_once('@').map_or(text, |(user, _)| user).to_owned())
}

/// The programs that sessions belong to, as their clients say.
pub(crate) async fn programs(
    connection: &mut Connection,
    id: Option<u64>,
) -> Result<Seen<BTreeMap<u64, String>>, ServerError> {
    if !has_performance_schema(connection).await? {
        return Ok(Seen::Unknown(PERFORMANCE_SCHEMA_OFF.to_owned()));
    }
    let only = id.map_or_else(String::new, |id| format!(" AND PROCESSLIST_ID = {id}"));
    let statement = format!(
        "SELECT PROCESSLIST_ID AS id, ATTR_VALUE AS program FROM performance_schema.session_connect_attrs \
         WHERE ATTR_NAME = 'program_name'{only} LIMIT {SESSIONS_MAX}"
    );
    let rows = match connection.with_limit(LIMIT).query(&Sql::plain(statement)).await {
        Ok(rows) => rows,
        Err(error) if error.is_missing_privilege() => return Ok(Seen::Unknown(error.to_string())),
        Err(error) => return Err(error),
    };
    let pair = |row: &crate::Row| Some((row.parsed("id")?, row.text("program")?.to_owned()));
    Ok(Seen::Known(rows.iter().filter_map(pair).collect()))
}

/// A host as MariaDB lists it, without the port behind it.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// Milliseconds, written with or without a fraction. Below zero and beyond belief they are 0: nobody is ended for it.
pub(crate) fn milliseconds(text: &str) -> u64 {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok().filter(|ms| *ms <= TIME_MS_MAX).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_ports() {
        for (listed, host) in [
            ("localhost", "localhost"),
            ("10.0.0.5:51234", "10.0.0.5"),
            ("::1:51234", "::1"),
            ("db1.example:1", "db1.example"),
            ("", ""),
            (":1", ":1"),
        ] {
            assert_eq!(without_port(listed), host, "{listed}");
        }
    }

    #[test]
    fn times_beyond_belief_are_none() {
        for (text, ms) in [
            ("939.605", 939),
            ("0", 0),
            ("-5000", 0),
            ("", 0),
            ("NULL", 0),
            ("4294967295000000", 0),
            ("18446744073709551615", 0),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }
}
