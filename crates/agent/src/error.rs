//! Why the agent cannot do something, with what to do next.

use std::io;

use crate::keys::KeyError;
use crate::record::RecordError;

/// Why the agent cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The spec, or what it names, cannot be used.
    #[error("{reason}")]
    Config {
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] host::secrets::SecretError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] host::files::FileError),
    /// The store did not do what was asked.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The store holds something else than it should.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The node's own record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Another agent runs for this node.
    #[error(transparent)]
    Lock(#[from] host::lock::LockError),
    /// The server did not do what was asked.
    #[error(transparent)]
    Server(#[from] server::ServerError),
    /// The server's process cannot be started or signalled.
    #[error(transparent)]
    Service(#[from] host::service::ServiceError),
    /// The server's program cannot be found or run.
    #[error(transparent)]
    Program(#[from] server::ProgramError),
    /// Certificates cannot be used.
    #[error("the certificates of the API cannot be used: {0}")]
    Tls(String),
    /// A program that copies data failed.
    #[error(transparent)]
    Command(#[from] host::command::CommandError),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// An action was not done because what it rests on has changed, or a rule forbids it.
    #[error("{0}")]
    Refused(String),
    /// Another node's agent did not answer as it should.
    #[error("{node}'s agent: {reason}")]
    Peer {
        /// The node.
        node: String,
        /// What happened.
        reason: String,
        /// It answered, with a refusal.
        answered: bool,
    },
}

impl AgentError {
    pub(crate) fn config(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Config { reason: reason.into(), hint: hint.into() }
    }

    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// The next thing to do, where it is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config { hint, .. } => Some(hint.clone()),
            Self::Secret(error) => Some(error.hint()),
            Self::File(error) => Some(error.hint()),
            Self::Store(error) => Some(error.hint()),
            Self::Lock(error) => Some(error.hint()),
            Self::Server(error) => error.hint(),
            Self::Service(error) => Some(error.hint()),
            Self::Command(error) => Some(error.hint()),
            Self::Key(_) => Some("was it written by another version of mainstay?".to_owned()),
            Self::Record(_) => Some(
                "move it away only if the server's data is of no use: it says which epochs this data led"
                    .to_owned(),
            ),
            Self::Program(_) | Self::Tls(_) | Self::System { .. } | Self::Refused(_) | Self::Peer { .. } => {
                None
            }
        }
    }
}
