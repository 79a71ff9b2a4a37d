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
    let nodes: Vec<&NodeState> = cluster.nodes.iter().collect();
    if semi_sync {
        for (index, (node, connection)) in nodes.iter().zip(connections.iter_mut()).enumerate() {
            enable_semi_sync(connection, index == 0).await.map_err(LabError::server(&node.name))?;
        }
    }
    let (Some((primary, replicas)), Some((first, others))) =
        (nodes.split_first(), connections.split_first_mut())
    else {
        return Ok(());
    };
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
    });
    replica.execute(&Sql::secret(change, format!("CHANGE SOURCE TO {} ...", primary.name))).await?;
    replica.execute(&Sql::plain(statements.start_replica())).await?;
    Ok(())
}

/// The configuration file keeps the variable on; it was read before there was a plugin to take it.
async fn enable_semi_sync(connection: &mut Connection, is_primary: bool) -> Result<(), ServerError> {
    let statements = connection.flavor().statements();
    // Installing a plugin is not for the other nodes: each installs its own.
    for statement in statements.semi_sync_install() {
        connection.execute(&Sql::plain("SET SESSION sql_log_bin = 0")).await?;
        match connection.execute(&Sql::plain(*statement)).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(PLUGIN_EXISTS) => {}
            Err(error) => return Err(error),
        }
        connection.execute(&Sql::plain("SET SESSION sql_log_bin = 1")).await?;
    }
    let variable = if is_primary {
        statements.semi_sync_source_enabled_variable()
    } else {
        statements.semi_sync_replica_enabled_variable()
    };
    connection.execute(&Sql::plain(format!("SET GLOBAL {variable} = ON"))).await?;
    Ok(())
}

fn quoted(literal: Result<String, sqltext::QuoteError>) -> Result<String, ServerError> {
    literal.map_err(|error| ServerError::Other(error.to_string()))
}
