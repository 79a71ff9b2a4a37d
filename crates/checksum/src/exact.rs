//! Snapshots of the same GTID: the target stops there for a moment, both are compared at leisure, and replication runs
//! on meanwhile. Only a kill that cannot be caught, in that moment, leaves it stopped.
//!
//! The source needs the right to lock tables for a moment on MySQL, the target the right to stop and start
//! replication.

use std::time::Instant;

use flavor::Vendor;

use crate::error::ChecksumError;
use crate::node::{Login, Node};
use crate::pair::Pair;
use crate::report::TableReport;

const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";

/// Compares both sides as of one GTID. Replication on the target runs again when it returns, however it ends.
pub(crate) async fn compare(pair: &mut Pair<'_>) -> Result<Vec<TableReport>, ChecksumError> {
    pair.check()?;
    // To start replication ends the transaction of the session that does it.
    let login = Login { name: pair.target.name.clone(), target: pair.target.connection.target().clone() };
    let mut control = Node::open(&login).await?;
    let statements = control.flavor().statements();
    control.run(statements.stop_replica()).await?;
    // However long the target takes, it is not left standing still.
    let name = control.name.clone();
    let met = tokio::select! {
        met = meet(pair, &mut control) => met,
        _ = tokio::signal::ctrl_c() => Err(ChecksumError::Interrupted { node: name }),
    };
    control.mend().await?;
    let started = control.run(statements.start_replica()).await;
    control.connection.close().await;
    met?;
    started?;
    let compared = pair.tables().await;
    pair.source.end_transaction().await?;
    pair.target.end_transaction().await?;
    compared
}

/// Brings both sessions to snapshots of one position.
async fn meet(pair: &mut Pair<'_>, control: &mut Node) -> Result<(), ChecksumError> {
    for node in [&mut pair.source, &mut pair.target] {
        node.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    }
    let position = snapshot(&mut pair.source).await?;
    let statements = pair.target.flavor().statements();
    control.run(&statements.start_replica_until(&position)).await?;
    let began = Instant::now();
    loop {
        if control.has_reached(&position).await? && !applies(control).await? {
            break;
        }
        if began.elapsed() >= pair.options.lag_limit {
            return Err(ChecksumError::Behind {
                node: pair.target.name.clone(),
                position,
                seconds: pair.options.lag_limit.as_secs(),
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    pair.target.run(SNAPSHOT).await
}

/// Whether replication still applies.
async fn applies(node: &mut Node) -> Result<bool, ChecksumError> {
    let statements = node.flavor().statements();
    let column = statements.replica_columns().sql_running;
    let rows = node.ask(statements.replica_status()).await?;
    Ok(rows.iter().any(|row| row.text(column) == Some("Yes")))
}

/// Opens a snapshot on the source and tells its position.
async fn snapshot(node: &mut Node) -> Result<String, ChecksumError> {
    match node.flavor().vendor {
        // The snapshot knows its own position.
        Vendor::MariaDb => {
            node.run(SNAPSHOT).await?;
            let rows = node
                .ask(
                    "SELECT BINLOG_GTID_POS(\
                     (SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS \
                     WHERE VARIABLE_NAME = 'BINLOG_SNAPSHOT_FILE'), \
                     (SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS \
                     WHERE VARIABLE_NAME = 'BINLOG_SNAPSHOT_POSITION')) AS position",
                )
                .await?;
            let position = rows.first().and_then(|row| row.text("position")).unwrap_or_default();
            if position.is_empty() {
                return Err(ChecksumError::NoPosition { node: node.name.clone() });
            }
            sqltext::quote_string(position).map_err(|error| crate::piece::PieceError::from(error).into())
        }
        // Nobody commits between the snapshot and its position.
        Vendor::MySql => {
            node.run("FLUSH TABLES WITH READ LOCK").await?;
            let position = match node.run(SNAPSHOT).await {
                Ok(()) => node.position().await,
                Err(error) => Err(error),
            };
            node.run("UNLOCK TABLES").await?;
            position
        }
    }
}
