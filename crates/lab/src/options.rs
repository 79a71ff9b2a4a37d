//! What a throwaway cluster is to be. Sets nothing up.

use std::path::PathBuf;

use flavor::Vendor;
use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// How the nodes of a cluster relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One server.
    Single,
    /// A primary and replicas, by GTID.
    Replication,
    /// Galera (MariaDB).
    Galera,
}

/// What to set up.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The cluster's name: 1 to 32 of `a-z`, `0-9`, `-`.
    pub name: String,
    /// How the nodes relate.
    pub topology: Topology,
    /// How many nodes, 1 to 9; exactly 1 for [`Topology::Single`].
    pub nodes: usize,
    /// Whose server.
    pub vendor: Vendor,
    /// A directory tree that the server is in; `None`: the one installed on this machine.
    pub server_root: Option<PathBuf>,
    /// Buffer pool of each node, in bytes.
    pub memory_bytes: u64,
    /// Flush at every commit, as a cluster that keeps data does.
    pub durable: bool,
    /// Semi-synchronous replication.
    pub semi_sync: bool,
    /// Nodes as separate hosts would be: each on a loopback address of its own, empty, joined to no other, and with
    /// ports for an agent beside it.
    pub apart: bool,
    /// Start the one node on this data directory of a server that is shut down, which is moved into the lab; it has to
    /// be on the lab's file system.
    pub datadir: Option<PathBuf>,
    /// Lines for the `[mysqld]` section of every node, after our own.
    pub extra_config: Vec<String>,
    /// Leave everything in place when it fails, for a look at the logs.
    pub keep_on_failure: bool,
}

impl UpOptions {
    /// A cluster with small, non-durable nodes: 64 MiB of buffer pool; three nodes unless single.
    #[must_use]
    pub fn new(name: impl Into<String>, topology: Topology, vendor: Vendor) -> Self {
        Self {
            name: name.into(),
            topology,
            nodes: if topology == Topology::Single { 1 } else { 3 },
            vendor,
            server_root: None,
            memory_bytes: 64 * 1024 * 1024,
            durable: false,
            semi_sync: false,
            apart: false,
            datadir: None,
            extra_config: Vec::new(),
            keep_on_failure: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), LabError> {
        check_name(&self.name)?;
        let problem = match self.topology {
            Topology::Single if self.nodes != 1 => Some("topology single has one node"),
            Topology::Replication | Topology::Galera if self.datadir.is_some() => {
                Some("only a single node can start on data that is there")
            }
            Topology::Galera if self.vendor == Vendor::MySql => Some("galera needs MariaDB"),
            Topology::Single | Topology::Galera if self.apart => {
                Some("only nodes that replicate can be apart")
            }
            Topology::Single | Topology::Replication | Topology::Galera => None,
        };
        let problem =
            problem.or(if (1..=9).contains(&self.nodes) { None } else { Some("1 to 9 nodes are possible") });
        problem.map_or(Ok(()), |problem| Err(LabError::BadOption { problem: problem.to_owned() }))
    }
}

/// A name becomes a folder's name: nothing in it may lead elsewhere.
pub(crate) fn check_name(name: &str) -> Result<(), LabError> {
    let is_fine = (1..=32).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_fine {
        return Ok(());
    }
    Err(LabError::BadOption { problem: format!("name {name:?} is not 1 to 32 of a-z, 0-9 and -") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_of_the_folder() {
        for name in ["", "..", "a/b", "A", "-a", "a b", "ü", &"x".repeat(33)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("demo-1").is_ok());
    }

    #[test]
    fn impossible_clusters_are_refused() {
        let mut single = UpOptions::new("a", Topology::Single, Vendor::MariaDb);
        assert!(single.check().is_ok());
        single.nodes = 2;
        assert!(single.check().is_err());
        assert!(UpOptions::new("a", Topology::Galera, Vendor::MySql).check().is_err());
        let mut on_data = UpOptions::new("a", Topology::Replication, Vendor::MySql);
        on_data.datadir = Some(PathBuf::from("/data"));
        assert!(on_data.check().is_err());
        let mut many = UpOptions::new("a", Topology::Replication, Vendor::MySql);
        many.nodes = 10;
        assert!(many.check().is_err());
    }
}
