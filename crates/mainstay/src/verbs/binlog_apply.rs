//! The server's side of `mainstay binlog rollback`: its tables, their triggers, and the undoing in one transaction.

use binlog::{SESSION, Schema, SchemaColumn, Undo};
use server::{Connection, Limits, Sql};

use crate::cli::ConnectArgs;
use crate::failure::Failure;
use crate::verbs::binlog_rollback::Entries;
use crate::verbs::facts::target;

/// Conflicts told in full.
const CONFLICTS_TOLD: usize = 10;
/// Letters of a statement that are told.
const STATEMENT_LETTERS: usize = 400;

/// Rows that are no longer as the log left them.
pub(crate) struct Conflicts {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

pub(crate) async fn connect(args: &ConnectArgs) -> Result<Connection, Failure> {
    Ok(Connection::open(&target(args)?, &Limits::default()).await?)
}

/// Columns of all the server's tables: their names, and what the log does not tell of their types.
pub(crate) async fn schema(connection: &mut Connection) -> Result<Schema, Failure> {
    let query = "SELECT table_schema AS d, table_name AS t, column_name AS c, data_type AS y, column_type AS z, \
        extra AS e, column_key AS k FROM information_schema.columns \
        WHERE table_schema NOT IN ('information_schema','performance_schema','sys') \
        ORDER BY table_schema, table_name, ordinal_position";
    let mut schema = Schema::default();
    let mut current: Option<(String, String)> = None;
    let mut columns: Vec<SchemaColumn> = Vec::new();
    for row in connection.query(&Sql::plain(query)).await? {
        let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let table = (text("d"), text("t"));
        if current.as_ref() != Some(&table)
            && let Some((database, name)) = current.replace(table)
        {
            schema.insert(&database, &name, std::mem::take(&mut columns));
        }
        let extra = text("e").to_ascii_uppercase();
        columns.push(SchemaColumn {
            name: text("c"),
            type_name: text("y").to_ascii_lowercase(),
            is_unsigned: text("z").to_ascii_lowercase().contains("unsigned"),
            // MySQL also says DEFAULT_GENERATED, of defaults that are expressions.
            is_generated: extra
                .split_whitespace()
                .any(|word| matches!(word, "GENERATED" | "VIRTUAL" | "STORED" | "PERSISTENT")),
            is_key: text("k") == "PRI",
        });
    }
    if let Some((database, name)) = current {
        schema.insert(&database, &name, columns);
    }
    Ok(schema)
}

/// Refuses tables with triggers: what triggers did is in the log too, and would be undone twice.
pub(crate) async fn triggers(mut connection: Connection, tables: &[String]) -> Result<Connection, Failure> {
    let query = "SELECT CONCAT(event_object_schema, '.', event_object_table) AS t, trigger_name AS n \
        FROM information_schema.triggers";
    for row in connection.query(&Sql::plain(query)).await? {
        let table = row.text("t").unwrap_or_default();
        if tables.iter().any(|it| it == table) {
            let name = row.text("n").unwrap_or_default();
            return Err(Failure::said(
                format!("{table} has the trigger `{name}`, which would act on the undoing too"),
                "drop the trigger for the time being, or accept what it does with --with-triggers",
            ));
        }
    }
    Ok(connection)
}

/// Undoes everything in one transaction, and commits if asked and if every row was as the log left it.
pub(crate) async fn apply(
    mut connection: Connection,
    entries: &mut Entries<'_>,
    commits: bool,
) -> Result<Conflicts, Failure> {
    for line in SESSION {
        connection.execute(&Sql::plain(*line)).await?;
    }
    connection.execute(&Sql::plain("START TRANSACTION")).await?;
    let mut conflicts = Conflicts { count: 0, first: Vec::new() };
    let mut origin = String::new();
    let mut skips_foreign_keys = false;
    while let Some(entry) = entries.next()? {
        let (sql, skips) = match entry {
            Undo::End(from) => {
                origin = from;
                continue;
            }
            Undo::Row(sql, skips) => (sql, skips),
            Undo::Begin | Undo::Abandoned => continue,
        };
        if skips != skips_foreign_keys {
            skips_foreign_keys = skips;
            let line = format!("SET SESSION foreign_key_checks={}", u8::from(!skips));
            connection.execute(&Sql::plain(line)).await?;
        }
        let told = match connection.execute(&Sql::plain(sql.clone())).await {
            Ok(done) if done.affected_rows == 1 => continue,
            Ok(_) => "the row is no longer so".to_owned(),
            // A row that is there again, or one that others refer to, is a conflict like any other.
            Err(error) if is_conflict(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        conflicts.count += 1;
        if conflicts.first.len() < CONFLICTS_TOLD {
            let short: String = sql.chars().take(STATEMENT_LETTERS).collect();
            conflicts.first.push(format!("{told}: {short} (from {origin})"));
        }
    }
    let end = if commits && conflicts.count == 0 { "COMMIT" } else { "ROLLBACK" };
    connection.execute(&Sql::plain(end)).await?;
    connection.close().await;
    Ok(conflicts)
}

/// Duplicate keys (1062, 1586) and foreign keys (1451, 1452).
fn is_conflict(error: &server::ServerError) -> bool {
    matches!(error, server::ServerError::Sql { code: 1062 | 1586 | 1451 | 1452, .. })
}
