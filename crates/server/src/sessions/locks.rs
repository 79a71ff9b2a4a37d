//! Locks that sessions hold and wait for: rows, metadata, and those of GET_LOCK.
//!
//! Where a server does not tell, the answer is `Unknown` with the way to have it told.

use facts::{MetadataLock, MetadataObject, RowWait, Seen, UserLock};
use flavor::Vendor;

use super::rows::{PERFORMANCE_SCHEMA_OFF, has_performance_schema};
use super::{LIMIT, Transactions};
use crate::connection::Connection;
use crate::error::ServerError;
use crate::row::Row;
use crate::sql::Sql;

/// Waits and locks read of one server.
const LOCKS_MAX: usize = 200_000;
/// What MySQL calls a lock of GET_LOCK; MariaDB's performance schema too.
const USER_LOCK: &str = "USER LEVEL LOCK";
/// Without it MariaDB lists no metadata locks.
const NO_PLUGIN: &str =
    "MariaDB tells of metadata locks only with its plugin: INSTALL SONAME 'metadata_lock_info'";

/// MySQL may be told not to list them, or have no room for them.
const NOT_ALL: &str =
    "the instrument wait/lock/metadata/sql/mdl is off, or performance_schema_max_metadata_locks too low";

type Found = (Seen<Vec<MetadataLock>>, Seen<Vec<UserLock>>);

/// Who waits for whose rows.
pub(crate) async fn row_waits(
    connection: &mut Connection,
    transactions: &Transactions,
    skipped: &mut u64,
) -> Result<Seen<Vec<RowWait>>, ServerError> {
    // Asking MySQL about locks is dear where there are many, and there is nothing to ask while nobody waits.
    if !transactions.values().flatten().any(|(_, transaction)| transaction.waiting_ms.is_some()) {
        return Ok(Seen::Known(Vec::new()));
    }
    let statement = match connection.flavor().vendor {
        Vendor::MariaDb => {
            "SELECT DISTINCT requesting_trx_id AS waiter, blocking_trx_id AS holder \
             FROM information_schema.INNODB_LOCK_WAITS"
        }
        Vendor::MySql => {
            "SELECT DISTINCT REQUESTING_ENGINE_TRANSACTION_ID AS waiter, BLOCKING_ENGINE_TRANSACTION_ID AS holder \
             FROM performance_schema.data_lock_waits"
        }
    };
    let Some(rows) = ask(connection, &format!("{statement} LIMIT {LOCKS_MAX}")).await? else {
        return Ok(Seen::Unknown("the login may not read lock waits".to_owned()));
    };
    let sessions =
        transactions.iter().flat_map(|(session, own)| own.iter().map(|(number, _)| (*number, *session)));
    let sessions: std::collections::BTreeMap<u64, u64> = sessions.collect();
    let mut waits = Vec::with_capacity(rows.len());
    for row in &rows {
        let session = |name: &str| row.parsed::<u64>(name).and_then(|number| sessions.get(&number).copied());
        match (session("waiter"), session("holder")) {
            (Some(waiter), Some(holder)) => waits.push(RowWait { waiter, holder }),
            // One of the two has ended between the two questions.
            _ => *skipped += 1,
        }
    }
    *skipped += u64::from(rows.len() >= LOCKS_MAX);
    Ok(Seen::Known(waits))
}

/// Metadata locks that matter to somebody who waits, and locks of GET_LOCK.
pub(crate) async fn metadata(connection: &mut Connection, skipped: &mut u64) -> Result<Found, ServerError> {
    match connection.flavor().vendor {
        Vendor::MariaDb => mariadb(connection, skipped).await,
        Vendor::MySql if !has_performance_schema(connection).await? => Ok(unknown(PERFORMANCE_SCHEMA_OFF)),
        Vendor::MySql => {
            performance_schema(connection, "the login may not read performance_schema", skipped).await
        }
    }
}

/// Whether the performance schema has all metadata locks: an empty list would else be taken for none.
async fn lists_locks(connection: &mut Connection) -> Result<Option<bool>, ServerError> {
    let instrument = "SELECT 1 FROM performance_schema.setup_instruments \
                      WHERE NAME = 'wait/lock/metadata/sql/mdl' AND ENABLED = 'YES'";
    let Some(rows) = ask(connection, instrument).await? else { return Ok(None) };
    let lost = ask(connection, "SHOW GLOBAL STATUS LIKE 'Performance_schema_metadata_lock_lost'").await?;
    let has_lost = lost.iter().flatten().any(|row| row.text_at(1).is_some_and(|count| count != "0"));
    Ok(Some(!rows.is_empty() && !has_lost))
}

fn unknown(why: &str) -> Found {
    (Seen::Unknown(why.to_owned()), Seen::Unknown(why.to_owned()))
}

async fn mariadb(connection: &mut Connection, skipped: &mut u64) -> Result<Found, ServerError> {
    let plugin = "SELECT 1 FROM information_schema.PLUGINS \
                  WHERE PLUGIN_NAME = 'METADATA_LOCK_INFO' AND PLUGIN_STATUS = 'ACTIVE'";
    let has_plugin = ask(connection, plugin).await?.is_some_and(|rows| !rows.is_empty());
    if !has_plugin {
        return performance_schema(connection, NO_PLUGIN, skipped).await;
    }
    let statement = format!(
        "SELECT THREAD_ID AS session, LOCK_TYPE AS kind, TABLE_SCHEMA AS db, TABLE_NAME AS name, LOCK_MODE AS mode, \
         'GRANTED' AS status FROM information_schema.METADATA_LOCK_INFO LIMIT {LOCKS_MAX}"
    );
    let Some(rows) = ask(connection, &statement).await? else {
        return Ok(unknown("the login may not read METADATA_LOCK_INFO"));
    };
    Ok(split(&rows, skipped))
}

/// `why` says what it means that the schema cannot be read.
async fn performance_schema(
    connection: &mut Connection,
    why: &str,
    skipped: &mut u64,
) -> Result<Found, ServerError> {
    match lists_locks(connection).await? {
        Some(true) => {}
        // MariaDB has the schema's tables when it is off, without rows.
        Some(false) if connection.flavor().vendor == Vendor::MySql => return Ok(unknown(NOT_ALL)),
        Some(false) | None => return Ok(unknown(why)),
    }
    let columns = "SELECT t.PROCESSLIST_ID AS session, m.OBJECT_TYPE AS kind, m.OBJECT_SCHEMA AS db, \
                   m.OBJECT_NAME AS name, m.LOCK_TYPE AS mode, m.LOCK_STATUS AS status \
                   FROM performance_schema.metadata_locks m \
                   JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID \
                   WHERE t.PROCESSLIST_ID IS NOT NULL";
    let wanted = format!(
        "{columns} AND (m.LOCK_STATUS = 'PENDING' OR m.OBJECT_TYPE = '{USER_LOCK}') LIMIT {LOCKS_MAX}"
    );
    let Some(mut rows) = ask(connection, &wanted).await? else {
        return Ok(unknown("the login may not read performance_schema.metadata_locks"));
    };
    // Everybody holds some; they are of interest only where somebody waits.
    if rows.iter().any(|row| row.text("status") == Some("PENDING")) {
        let held = format!(
            "{columns} AND m.LOCK_STATUS = 'GRANTED' AND m.OBJECT_TYPE <> '{USER_LOCK}' LIMIT {LOCKS_MAX}"
        );
        rows.extend(ask(connection, &held).await?.unwrap_or_default());
    }
    Ok(split(&rows, skipped))
}

fn split(rows: &[Row], skipped: &mut u64) -> Found {
    let (mut metadata, mut user) = (Vec::new(), Vec::new());
    for row in rows {
        let text = |name: &str| {
            row.bytes(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
        };
        let Some(session) = row.parsed::<u64>("session") else {
            *skipped += 1;
            continue;
        };
        let kind = kind(&text("kind"));
        let is_granted = match text("status").as_str() {
            "GRANTED" => true,
            "PENDING" => false,
            // On its way to one of the two, or out.
            _ => continue,
        };
        if kind == USER_LOCK {
            // MariaDB's plugin has the name where a table has its database.
            let name =
                [text("name"), text("db")].into_iter().find(|name| !name.is_empty()).unwrap_or_default();
            if is_granted {
                user.push(UserLock { session, name });
            }
            continue;
        }
        let mode = text("mode");
        let mode = mode.strip_prefix("MDL_").unwrap_or(&mode).to_owned();
        let object = MetadataObject { kind, schema: text("db"), name: text("name") };
        metadata.push(MetadataLock { session, object, mode, is_granted });
    }
    *skipped += u64::from(rows.len() >= LOCKS_MAX);
    (Seen::Known(metadata), Seen::Known(user))
}

/// MySQL's word for what a lock is on. MariaDB's plugin says `Table metadata lock`, `User lock` and the like.
fn kind(word: &str) -> String {
    match word {
        "User lock" => USER_LOCK.to_owned(),
        "Backup lock" => "BACKUP".to_owned(),
        "Global read lock" => "GLOBAL".to_owned(),
        "Commit lock" => "COMMIT".to_owned(),
        _ => word.strip_suffix(" metadata lock").unwrap_or(word).to_ascii_uppercase(),
    }
}

/// None where the login may not ask, or where there is no such table.
async fn ask(connection: &mut Connection, statement: &str) -> Result<Option<Vec<Row>>, ServerError> {
    match connection.with_limit(LIMIT).query(&Sql::plain(statement)).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.is_missing_privilege() || matches!(error.code(), Some(1109 | 1146)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_have_one_name_on_both_servers() {
        for (word, name) in [
            ("Table metadata lock", "TABLE"),
            ("Schema metadata lock", "SCHEMA"),
            ("Stored function metadata lock", "STORED FUNCTION"),
            ("User lock", "USER LEVEL LOCK"),
            ("Backup lock", "BACKUP"),
            ("TABLE", "TABLE"),
            ("USER LEVEL LOCK", "USER LEVEL LOCK"),
        ] {
            assert_eq!(kind(word), name);
        }
    }
}
