//! What a server does when its data is copied: cloning a donor, and the history that goes with a copy. Moves no files.

use std::time::Duration;

use flavor::GtidSet;
use ha::NodeName;
use server::Sql;

use super::{Database, GONE};
use crate::accounts::{SourceParts, quoted};
use crate::config::Config;
use crate::error::AgentError;

/// ER_CLONE_RESTART (3707): the clone is complete and the server could not restart itself.
const CLONE_RESTART_FAILED: u16 = 3707;

impl Database {
    /// Clones a donor over this server's data (MySQL). The server ends afterwards, and with it the session.
    pub(crate) async fn clone_from(
        &mut self,
        config: &Config,
        donor: &NodeName,
        limit: Duration,
    ) -> Result<(), AgentError> {
        let flavor = self.flavor().await?;
        let statements = flavor.statements();
        let parts = SourceParts::new(config, donor)?;
        let donors = quoted(sqltext::quote_string(&format!("{}:{}", parts.address, parts.port)))?;
        let no_clone = || AgentError::Refused("this server cannot clone".to_owned());
        let donors = statements.clone_donors(&donors).ok_or_else(no_clone)?;
        let clone = statements.clone_instance(&parts.source()).ok_or_else(no_clone)?;
        self.change(&Sql::plain("SET GLOBAL super_read_only = OFF")).await?;
        self.change(&Sql::plain(statements.stop_replica())).await?;
        self.change(&Sql::plain(donors)).await?;
        for statement in clone {
            let sql = Sql::secret(statement, format!("CLONE INSTANCE FROM {donor} ..."));
            let session = self.session().await?;
            match session.with_limit(limit).execute(&sql).await {
                Ok(_) => {}
                // It cannot restart itself, which is for the agent to do, or it is restarting: done either way.
                Err(error) if error.code() == Some(CLONE_RESTART_FAILED) || error.code().is_none() => {
                    self.connection = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.connection = None;
        Ok(())
    }

    /// A commit waits for an acknowledgement: a backup would wait for it, and keep others from being acknowledged.
    pub(crate) async fn history_for_copy(&mut self) -> Result<GtidSet, AgentError> {
        let look = self.look().await?;
        if look.waiting == 0 {
            return Ok(look.executed);
        }
        tokio::time::sleep(GONE / 10).await;
        let later = self.look().await?;
        if later.waiting > 0 && later.acked == look.acked {
            return Err(AgentError::Refused(
                "commits wait for acknowledgements: no copy is made meanwhile".to_owned(),
            ));
        }
        Ok(later.executed)
    }

    /// Gives a copied MariaDB server the history of its donor.
    pub(crate) async fn adopt_history(&mut self, state: &GtidSet) -> Result<(), AgentError> {
        let statements = self.flavor().await?.statements();
        let position = quoted(sqltext::quote_string(&state.replication_position()))?;
        let full = quoted(sqltext::quote_string(&state.to_string()))?;
        self.change(&Sql::plain(statements.reset_binlogs())).await?;
        let wanted = [statements.set_binlog_state(&full), statements.set_slave_pos(&position)];
        for statement in wanted.into_iter().flatten() {
            self.change(&Sql::plain(statement)).await?;
        }
        Ok(())
    }
}
