//! [`Lab`]: the folder that clusters live in, and what is in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::folder;
use crate::options::check_name;
use crate::state::{ClusterState, state_path};

/// A folder of throwaway clusters.
#[derive(Clone, Debug)]
pub struct Lab {
    root: PathBuf,
}

/// Where clusters live unless told otherwise: `$MAINSTAY_LAB_DIR`, else `$XDG_STATE_HOME/mainstay/lab`, else
/// `~/.local/state/mainstay/lab`, for root as for anybody else.
///
/// # Errors
/// If none of the three variables is set.
pub fn default_root() -> Result<PathBuf, LabError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("MAINSTAY_LAB_DIR")
        .or_else(|| Some(variable("XDG_STATE_HOME")?.join("mainstay/lab")))
        .or_else(|| Some(variable("HOME")?.join(".local/state/mainstay/lab")))
        .ok_or(LabError::NoRoot)
}

impl Lab {
    /// Opens a lab, making its folder where there is none.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, LabError> {
        let root = root.as_ref();
        folder::create_private(root)?;
        // Processes are found by this path: it must be the one they see.
        let root = root.canonicalize().map_err(LabError::io("cannot find", root))?;
        let lab = Self { root };
        folder::create_private(&lab.clusters())?;
        folder::create_private(&lab.templates())?;
        Ok(lab)
    }

    /// The folder everything is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every cluster whose state can be read, by name. One that is being set up or is damaged is left out;
    /// [`Lab::down`] removes those too.
    ///
    /// # Errors
    /// If the lab's folder cannot be read.
    pub fn list(&self) -> Result<Vec<ClusterState>, LabError> {
        let folder = self.clusters();
        let entries = std::fs::read_dir(&folder).map_err(LabError::io("cannot read", &folder))?;
        let mut clusters = Vec::new();
        for entry in entries {
            let path = entry.map_err(LabError::io("cannot read", &folder))?.path();
            match ClusterState::load(&path) {
                Ok(cluster) => clusters.push(cluster),
                Err(error) => tracing::debug!(%error, path = %path.display(), "not a cluster, or not yet"),
            }
        }
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(clusters)
    }

    /// The state of one cluster.
    ///
    /// # Errors
    /// If there is none of that name, or its state cannot be read.
    pub fn cluster(&self, name: &str) -> Result<ClusterState, LabError> {
        let folder = self.cluster_folder(name)?;
        if !state_path(&folder).is_file() {
            return Err(LabError::NoCluster { name: name.to_owned() });
        }
        ClusterState::load(&folder)
    }

    /// The error log of a node.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn logs(&self, name: &str, node: &str) -> Result<PathBuf, LabError> {
        Ok(self.cluster(name)?.node(node)?.log.clone())
    }

    pub(crate) fn clusters(&self) -> PathBuf {
        self.root.join("clusters")
    }

    pub(crate) fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    pub(crate) fn cluster_folder(&self, name: &str) -> Result<PathBuf, LabError> {
        check_name(name)?;
        Ok(self.clusters().join(name))
    }

    /// Ports of all clusters, also of nodes that are down: they must find theirs free again.
    pub(crate) fn reserved_ports(&self) -> Result<BTreeSet<u16>, LabError> {
        let clusters = self.list()?;
        let nodes = clusters.iter().flat_map(|cluster| &cluster.nodes);
        let of_nodes = nodes.flat_map(|node| node.galera_ports.into_iter().flatten().chain([node.port]));
        Ok(of_nodes.chain(clusters.iter().filter_map(|cluster| cluster.agent_ports).flatten()).collect())
    }
}
