//! Holding back while the server suffers: one session that looks once a second. It ends nothing.

use std::sync::Arc;
use std::time::Duration;

use server::{Connection, Limits, Sql, Target};

use super::error::{CreateError, During};
use super::options::Throttle;
use super::progress::Progress;

const LOOK: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Begins to look, where there is something to look for.
pub(crate) async fn watch(
    target: &Target,
    limits: &Limits,
    throttle: Throttle,
    progress: &Arc<Progress>,
) -> Result<Watch, CreateError> {
    if throttle == Throttle::default() {
        return Ok(Watch { task: None });
    }
    let mut connection = Connection::open(target, limits).await.during(|| "watch the server".to_owned())?;
    let progress = Arc::clone(progress);
    let task = tokio::spawn(async move {
        loop {
            match suffers(&mut connection, throttle).await {
                Ok(suffers) => progress.hold_back(suffers),
                // A server that does not answer is not to be given more to do; if it is gone, the dump finds out.
                Err(error) => {
                    tracing::warn!(%error, "cannot see how the server does");
                    progress.hold_back(false);
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    Ok(Watch { task: Some(task) })
}

async fn suffers(connection: &mut Connection, throttle: Throttle) -> Result<bool, server::ServerError> {
    if let Some(most) = throttle.running_max {
        let rows = connection.query(&Sql::plain("SHOW GLOBAL STATUS LIKE 'Threads_running'")).await?;
        let running: u64 = rows.first().and_then(|row| row.parsed("Value")).unwrap_or(0);
        if running > most {
            return Ok(true);
        }
    }
    if let Some(most) = throttle.lag_max {
        let statements = connection.flavor().statements();
        let rows = connection.query(&Sql::plain(statements.replica_status())).await?;
        let column = statements.replica_columns().seconds_behind;
        // NULL is a replica that does not run: it has no lag that waiting would help.
        let lag = rows.iter().filter_map(|row| row.parsed::<u64>(column)).max().unwrap_or(0);
        return Ok(Duration::from_secs(lag) > most);
    }
    Ok(false)
}
