//! [`observe`]: everybody on a server, their transactions and locks, as [`facts::Sessions`]; [`running`], a count alone;
//! [`waits_for_others`], about appliers; and [`kill`], which ends a query or a session by its number.
//!
//! It decides nothing: whom to end, and whether it is still the same, is for the caller. What the login may not read is
//! `Unknown`; sessions themselves must be readable.

mod locks;
mod rows;
mod running;

use std::collections::BTreeMap;
use std::time::Duration;

use facts::{Seen, Session, Sessions, Transaction};
use flavor::Vendor;

use crate::connection::Connection;
use crate::error::ServerError;
use crate::row::Row;
use crate::sql::Sql;

pub use running::{running, see_everybody, waits_for_others};

/// Sessions read of one server. `max_connections` is at most 100000, and nobody has half of it.
pub(crate) const SESSIONS_MAX: usize = 50_000;
/// Letters of a statement that are read. Longer ones are known by their beginning.
pub(crate) const STATEMENT_LETTERS_MAX: usize = 65_536;
/// How long one question may take. What asks about locks holds up the server's lock system meanwhile.
const LIMIT: Duration = Duration::from_secs(10);

/// Looks at everybody.
///
/// # Errors
/// If the connection breaks, or the login may not see other accounts' sessions (it needs PROCESS).
pub async fn observe(connection: &mut Connection) -> Result<Sessions, ServerError> {
    let mut skipped = 0;
    let own_id = u64::from(connection.connection_id());
    let own_user = rows::own_user(connection).await?;
    let transactions = transactions(connection, None).await?;
    let row_waits = locks::row_waits(connection, &transactions, &mut skipped).await?;
    let sessions = sessions(connection, None, &transactions, &mut skipped).await?;
    let (metadata_locks, user_locks) = locks::metadata(connection, &mut skipped).await?;
    Ok(Sessions { own_id, own_user, sessions, row_waits, metadata_locks, user_locks, skipped })
}

/// Looks at one session; none if there is none of that number.
///
/// # Errors
/// As [`observe`].
pub async fn observe_one(connection: &mut Connection, id: u64) -> Result<Option<Session>, ServerError> {
    let transactions = transactions(connection, Some(id)).await?;
    let mut skipped = 0;
    let sessions = sessions(connection, Some(id), &transactions, &mut skipped).await?;
    Ok(sessions.into_iter().find(|session| session.id == id))
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// What the session runs, by the session's number and the statement's where it is known. MariaDB is told the
    /// statement's, so that the session's next one cannot be hit.
    Query {
        /// The session's number.
        session: u64,
        /// The statement's number, as in [`Session::statement_id`].
        statement: Option<u64>,
    },
    /// The session.
    Connection {
        /// Its number.
        session: u64,
    },
}

/// Kills a query or a session. Whether there was one: it may have ended by itself.
///
/// # Errors
/// The login may not, or the connection breaks.
pub async fn kill(connection: &mut Connection, what: Kill) -> Result<bool, ServerError> {
    let flavor = connection.flavor();
    let statement = match what {
        Kill::Connection { session } => flavor.statements().kill_connection(session),
        Kill::Query { session, statement } => match (flavor.vendor, statement) {
            (Vendor::MariaDb, Some(statement)) => format!("KILL QUERY ID {statement}"),
            (Vendor::MariaDb, None) | (Vendor::MySql, _) => format!("KILL QUERY {session}"),
        },
    };
    match connection.with_limit(LIMIT).execute(&Sql::plain(statement)).await {
        Ok(_) => Ok(true),
        // 1094: no such session; 1957: MariaDB, no such query.
        Err(error) if matches!(error.code(), Some(1094 | 1957)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Users that accounts of the server have, each once; unknown without the right to read them.
///
/// # Errors
/// If the connection breaks.
pub async fn account_users(connection: &mut Connection) -> Result<Seen<Vec<String>>, ServerError> {
    let statement = Sql::plain("SELECT DISTINCT User AS user FROM mysql.user ORDER BY 1 LIMIT 100000");
    match connection.with_limit(LIMIT).query(&statement).await {
        Ok(rows) => {
            Ok(Seen::Known(rows.iter().filter_map(|row| row.text("user")).map(str::to_owned).collect()))
        }
        Err(error) if error.is_missing_privilege() => Ok(Seen::Unknown(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Open transactions, by the session they belong to; those without one have 0.
pub(crate) type Transactions = BTreeMap<u64, Vec<(u64, Transaction)>>;

/// A time of INNODB_TRX, which both servers write in the zone of the host, as an age in milliseconds. Where that zone's
/// clock has been put back or forward meanwhile, one way to count is an hour off; the shorter one is never too long.
fn age(column: &str) -> String {
    format!(
        "GREATEST(0, LEAST(TIMESTAMPDIFF(SECOND, CONVERT_TZ({column}, 'SYSTEM', '+00:00'), UTC_TIMESTAMP()), \
         TIMESTAMPDIFF(SECOND, {column}, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')))) * 1000"
    )
}

async fn transactions(connection: &mut Connection, id: Option<u64>) -> Result<Transactions, ServerError> {
    let only = id.map_or_else(String::new, |id| format!(" WHERE trx_mysql_thread_id = {id}"));
    let statement = format!(
        "SELECT trx_id AS id, trx_mysql_thread_id AS session, trx_state AS state, trx_started AS started, \
         {} AS age_ms, {} AS waiting_ms, trx_rows_locked AS locked, trx_rows_modified AS modified, \
         trx_autocommit_non_locking AS is_read FROM information_schema.INNODB_TRX{only} LIMIT {SESSIONS_MAX}",
        age("trx_started"),
        age("trx_wait_started"),
    );
    let rows = connection.with_limit(LIMIT).query(&Sql::plain(statement)).await?;
    let mut transactions = Transactions::new();
    for row in &rows {
        let (Some(number), Some(session)) = (row.parsed::<u64>("id"), row.parsed::<u64>("session")) else {
            continue;
        };
        let state = row.text("state").unwrap_or_default();
        // A single SELECT outside transactions is none of its own.
        if row.text("is_read") == Some("1") && state != "LOCK WAIT" {
            continue;
        }
        let transaction = Transaction {
            id: format!("{number} {}", row.text("started").unwrap_or_default()),
            age_ms: row.parsed("age_ms").unwrap_or(0),
            waiting_ms: row.parsed("waiting_ms").filter(|_| state == "LOCK WAIT"),
            rows_locked: row.parsed("locked").unwrap_or(0),
            rows_modified: row.parsed("modified").unwrap_or(0),
            is_rolling_back: state == "ROLLING BACK",
        };
        transactions.entry(session).or_default().push((number, transaction));
    }
    Ok(transactions)
}

async fn sessions(
    connection: &mut Connection,
    id: Option<u64>,
    transactions: &Transactions,
    skipped: &mut u64,
) -> Result<Vec<Session>, ServerError> {
    let source = rows::source(connection).await?;
    let answer = match connection.with_limit(LIMIT).query(&Sql::plain(source.statement(id))).await {
        Err(error) if error.is_missing_privilege() => {
            let list = Sql::plain(rows::Source::MySqlList.statement(id));
            connection.with_limit(LIMIT).query(&list).await?
        }
        other => other?,
    };
    let programs = rows::programs(connection, id).await?;
    let mut sessions = Vec::with_capacity(answer.len());
    for row in &answer {
        match session(row, transactions, &programs) {
            Some(session) => sessions.push(session),
            None => *skipped += 1,
        }
    }
    if answer.len() >= SESSIONS_MAX {
        *skipped += 1;
    }
    Ok(sessions)
}

fn session(
    row: &Row,
    transactions: &Transactions,
    programs: &Seen<BTreeMap<u64, String>>,
) -> Option<Session> {
    let id: u64 = row.parsed("id")?;
    let text = |name: &str| row.bytes(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let statement = text("statement").filter(|statement| !statement.is_empty());
    let letters: Option<usize> = row.parsed("letters");
    let program = match programs {
        Seen::Known(programs) => programs.get(&id).cloned().map_or(Seen::Absent, Seen::Known),
        Seen::Unknown(why) => Seen::Unknown(why.clone()),
        Seen::Absent => Seen::Absent,
    };
    Some(Session {
        id,
        user: text("user").unwrap_or_default(),
        host: rows::without_port(&text("host").unwrap_or_default()).to_owned(),
        db: text("db").filter(|db| !db.is_empty()),
        command: text("command").unwrap_or_default(),
        state: text("state").unwrap_or_default(),
        time_ms: rows::milliseconds(row.text("time_ms").unwrap_or_default()),
        is_cut: letters.is_some_and(|letters| letters > STATEMENT_LETTERS_MAX),
        statement,
        statement_id: row.parsed("statement_id"),
        transaction: transactions
            .get(&id)
            .and_then(|own| own.first())
            .map(|(_, transaction)| transaction.clone()),
        program,
    })
}
