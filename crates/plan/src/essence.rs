//! The part of a state that steps can come from, without what moves by itself.

use base16ct::lower::encode_string;
use facts::Seen;
use sha2::{Digest, Sha256};

use crate::observation::{Observation, State};

impl Observation {
    /// SHA-256 over what steps are derived from, in hex. A plan carries it, and apply refuses the plan when a
    /// fresh observation's digest differs. Values that move by themselves (positions, lag, counters, variables
    /// nobody manages) are left out, so an idle and a busy server of the same state agree.
    #[must_use]
    pub fn digest(&self) -> String {
        let essence = essence(&self.state);
        let text = serde_json::to_vec(&essence).unwrap_or_default();
        encode_string(&Sha256::digest(&text))
    }
}

/// A copy of `state` without positions, lag, counters and the variables that nobody manages.
fn essence(state: &State) -> State {
    let mut essence = state.clone();
    if let Some(cloudstack) = &mut essence.cloudstack {
        cloudstack.management_servers.clear();
    }
    if let Seen::Known(server) = &mut essence.server {
        server.replication.gtid_position.clear();
        server.replication.replicas = 0;
        server.replication.semi_sync_ackers = Seen::Absent;
        if let Seen::Known(sources) = &mut server.replication.sources {
            for source in sources {
                source.lag_seconds = Seen::Absent;
                source.last_error.clear();
            }
        }
        if let Seen::Known(galera) = &mut server.galera {
            galera.last_committed = 0;
            galera.flow_control_paused_permille = 0;
        }
        for database in &mut server.databases {
            // Planning asks only whether a database is empty.
            database.tables = database.tables.min(1);
        }
        server.variables.retain(|name, _| {
            flavor::variable(name).is_some()
                || matches!(name.as_str(), "log_bin_basename" | "innodb_buffer_pool_size_max")
        });
        server.variable_origins.clear();
        server.plugins.clear();
    }
    essence
}
