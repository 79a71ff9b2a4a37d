//! [`LabError`]: what can go wrong with a throwaway cluster, and what to do then.

use std::io;
use std::path::PathBuf;

use server::{ProgramError, ServerError};
use thiserror::Error;

/// A failed act on a throwaway cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LabError {
    /// The options contradict themselves or each other.
    #[error("{problem}")]
    BadOption {
        /// What is wrong.
        problem: String,
    },
    /// There is a cluster of that name.
    #[error("cluster {name} exists already")]
    NameTaken {
        /// Its name.
        name: String,
    },
    /// There is no such cluster.
    #[error("no cluster {name}")]
    NoCluster {
        /// The name asked for.
        name: String,
    },
    /// There is no such node.
    #[error("cluster {cluster} has no node {node}, only {}", known.join(", "))]
    NoNode {
        /// The cluster.
        cluster: String,
        /// The name asked for.
        node: String,
        /// The nodes it has.
        known: Vec<String>,
    },
    /// The home directory is unknown, so is where clusters live.
    #[error("neither MAINSTAY_LAB_DIR, XDG_STATE_HOME nor HOME is set")]
    NoRoot,
    /// The server's program is missing or fails.
    #[error("the server's program cannot be used")]
    Program(#[from] ProgramError),
    /// A node ended while starting.
    #[error("{node} ended while starting; the end of {log}:\n{last_lines}", log = log.display())]
    NodeDied {
        /// The node.
        node: String,
        /// Its error log.
        log: PathBuf,
        /// The log's last lines.
        last_lines: String,
    },
    /// A node did not get ready in time.
    #[error("{node} was not ready after {limit_seconds} s ({why}); the end of {log}:\n{last_lines}", log = log.display())]
    NotReady {
        /// The node.
        node: String,
        /// The limit.
        limit_seconds: u64,
        /// What was still missing.
        why: String,
        /// Its error log.
        log: PathBuf,
        /// The log's last lines.
        last_lines: String,
    },
    /// A process outlives its signal.
    #[error("{node} (pid {pid}) is still running after {limit_seconds} s")]
    StillRunning {
        /// The node.
        node: String,
        /// Its process.
        pid: u32,
        /// The limit.
        limit_seconds: u64,
    },
    /// A node does not answer as it should.
    #[error("{node} does not answer")]
    Server {
        /// The node.
        node: String,
        /// Why.
        source: ServerError,
    },
    /// A file or folder of the lab.
    #[error("{what} {path}", path = path.display())]
    Io {
        /// What was tried, such as `cannot create`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the lab could not be written.
    #[error("cannot write the lab's files")]
    File(#[from] host::files::FileError),
    /// A secret of the lab could not be made.
    #[error("cannot make a secret")]
    Secret(#[from] host::secrets::SecretError),
    /// The state file is damaged.
    #[error("{path} is damaged", path = path.display())]
    BadState {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Something without a place of its own here.
    #[error("{0}")]
    Other(String),
}

impl LabError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NameTaken { name } => Some(format!("remove it with: mainstay lab down {name}")),
            Self::NoCluster { .. } => Some("see what there is with: mainstay lab list".to_owned()),
            Self::NoRoot => Some("set MAINSTAY_LAB_DIR".to_owned()),
            Self::Program(ProgramError::NotFound { .. }) => {
                Some("install the server, or name a directory tree that has it with --server-root".to_owned())
            }
            Self::NodeDied { log, .. } | Self::NotReady { log, .. } => {
                Some(format!("with --keep the log stays, in {}", log.display()))
            }
            Self::StillRunning { node, .. } => Some(format!("end it with: mainstay lab kill NAME {node}")),
            Self::BadState { .. } => Some("remove the cluster with: mainstay lab down NAME".to_owned()),
            Self::Server { source, .. } => source.hint(),
            Self::File(error) => Some(error.hint()),
            Self::Secret(error) => Some(error.hint()),
            Self::BadOption { .. }
            | Self::NoNode { .. }
            | Self::Program(_)
            | Self::Io { .. }
            | Self::Other(_) => None,
        }
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn server(node: &str) -> impl Fn(ServerError) -> Self + use<> {
        let node = node.to_owned();
        move |source| Self::Server { node: node.clone(), source }
    }
}
