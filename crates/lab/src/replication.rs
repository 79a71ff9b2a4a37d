//! Points the replicas of a new cluster at its primary. Fails nothing over.

use flavor::{Source, SourceTls};
use secrecy::{ExposeSecret as _, SecretString};
use server::{Connection, ServerError, Sql};

use crate::error::LabError;
use crate::start::wait_until;
use crate::state::{ClusterState, NodeState};

/// The account replicas log in with.
const USER: &str = "repl";

/// ER_UDF_EXISTS: the plugin is installed already.
const PLUGIN_EXISTS: u16 = 1125;

/// Connects the replicas. The first connection is the primary's; all nodes are equal copies so far, so nothing
/// needs to be loaded.
pub(crate) async fn connect(
    cluster: &ClusterState,
    connections: &mut [Connection],
    password: &SecretString,
    semi_sync: bool,
) -> Result<(), LabError> {
    let (Some((primary, replicas)), Some((first, others))) =
        (cluster.nodes.split_first(), connections.split_first_mut())
    else {
        return Ok(());
    };
    if semi_sync {
        // Off on the primary until there is a replica to wait for.
        semi_sync_primary(first, false).await.map_err(LabError::server(&primary.name))?;
        for (node, connection) in replicas.iter().zip(others.iter_mut()) {
            semi_sync_replica(connection).await.map_err(LabError::server(&node.name))?;
        }
    }
    create_account(first, &primary.host, password).await.map_err(LabError::server(&primary.name))?;
    for (node, connection) in replicas.iter().zip(others.iter_mut()) {
        follow(connection, primary, password).await.map_err(LabError::server(&node.name))?;
    }
    for (node, connection) in replicas.iter().zip(others) {
        let statements = cluster.flavor.statements();
        let columns = statements.replica_columns();
        wait_until(node, connection, "replication", &Sql::plain(statements.replica_status()), |rows| {
            rows.first().is_some_and(|row| {
                row.text(columns.io_running) == Some("Yes") && row.text(columns.sql_running) == Some("Yes")
            })
        })
        .await?;
    }
    if semi_sync {
        semi_sync_primary(first, true).await.map_err(LabError::server(&primary.name))?;
    }
    Ok(())
}

async fn create_account(
    primary: &mut Connection,
    host: &str,
    password: &SecretString,
) -> Result<(), ServerError> {
    let account = quoted(sqltext::quote_account(USER, host))?;
    let create = format!(
        "CREATE USER {account} IDENTIFIED BY {}",
        quoted(sqltext::quote_string(password.expose_secret()))?
    );
    primary.execute(&Sql::secret(create, format!("CREATE USER {account} ..."))).await?;
    primary.execute(&Sql::plain(format!("GRANT REPLICATION SLAVE ON *.* TO {account}"))).await?;
    Ok(())
}

async fn follow(
    replica: &mut Connection,
    primary: &NodeState,
    password: &SecretString,
) -> Result<(), ServerError> {
    let statements = replica.flavor().statements();
    let change = statements.change_source(&Source {
        host: &quoted(sqltext::quote_string(&primary.host))?,
        port: primary.port,
        user: &quoted(sqltext::quote_string(USER))?,
        password: &quoted(sqltext::quote_string(password.expose_secret()))?,
        tls: SourceTls::Off,
        heartbeat_ms: 30_000,
        connect_retry_seconds: 60,
        delay_seconds: 0,
    });
    replica.execute(&Sql::secret(change, format!("CHANGE SOURCE TO {} ...", primary.name))).await?;
    replica.execute(&Sql::plain(statements.start_replica())).await?;
    Ok(())
}

/// The configuration file keeps the variable on; it was read before there was a plugin to take it.
async fn semi_sync_primary(connection: &mut Connection, on: bool) -> Result<(), ServerError> {
    install_semi_sync(connection).await?;
    let variable = connection.flavor().statements().semi_sync_source_enabled_variable();
    set_global(connection, variable, on).await
}

async fn semi_sync_replica(connection: &mut Connection) -> Result<(), ServerError> {
    install_semi_sync(connection).await?;
    let variable = connection.flavor().statements().semi_sync_replica_enabled_variable();
    set_global(connection, variable, true).await
}

async fn set_global(connection: &mut Connection, variable: &str, on: bool) -> Result<(), ServerError> {
    let value = if on { "ON" } else { "OFF" };
    connection.execute(&Sql::plain(format!("SET GLOBAL {variable} = {value}"))).await?;
    Ok(())
}

async fn install_semi_sync(connection: &mut Connection) -> Result<(), ServerError> {
    for statement in connection.flavor().statements().semi_sync_install() {
        match connection.execute(&Sql::plain(*statement)).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(PLUGIN_EXISTS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn quoted(literal: Result<String, sqltext::QuoteError>) -> Result<String, ServerError> {
    literal.map_err(|error| ServerError::Other(error.to_string()))
}
