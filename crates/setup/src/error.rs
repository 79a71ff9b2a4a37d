//! What can go wrong while observing or applying, with what to run next.

use std::path::PathBuf;

use host::command::CommandError;
use host::facts::FactsError;
use host::files::FileError;
use host::firewall::FirewallError;
use host::lock::LockError;
use host::packages::PackagesError;
use host::pki::PkiError;
use host::secrets::SecretError;
use host::service::ServiceError;
use server::{OptionFileError, ProgramError, ServerError};

/// A failed observation or step.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The server refused or could not be reached.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A secret file cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Packages could not be installed.
    #[error(transparent)]
    Package(#[from] PackagesError),
    /// The service could not be started or stopped.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The firewall could not be changed.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Another apply runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The host cannot be looked at.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The server's program was not found.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The login's option file cannot be used.
    #[error("{path}: {source}", path = path.display())]
    OptionFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: OptionFileError,
    },
    /// The plan must not be carried out.
    #[error("{0}")]
    Refused(String, String),
    /// A name cannot be quoted.
    #[error("{0} cannot be written in SQL")]
    Unquotable(String),
    /// A schema file failed at a statement.
    #[error("{file}:{line}: {problem}")]
    Schema {
        /// File name.
        file: String,
        /// Line the statement begins at.
        line: u32,
        /// What the server or the splitter said, with the statement's beginning.
        problem: String,
    },
    /// Encryption or decryption of CloudStack values failed.
    #[error("{what}: {problem}")]
    Crypt {
        /// Which value.
        what: String,
        /// What is wrong, without the value.
        problem: String,
    },
}

impl SetupError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Server(error) => error.hint(),
            Self::File(error) => Some(error.hint()),
            Self::Secret(error) => Some(error.hint()),
            Self::Command(error) => Some(error.hint()),
            Self::Lock(error) => Some(error.hint()),
            Self::Package(error) => Some(error.hint()),
            Self::Service(error) => Some(error.hint()),
            Self::Firewall(error) => Some(error.hint()),
            Self::Pki(error) => Some(error.hint()),
            Self::Refused(_, hint) => Some(hint.clone()),
            Self::Schema { .. } => Some(
                "mend the cause and run `mainstay apply` again: it drops the half-loaded databases and loads anew".to_owned(),
            ),
            Self::Facts(error) => Some(error.hint()),
            Self::Program(_) => Some("install the server, or set `install = true` in [package]".to_owned()),
            Self::OptionFile { .. } => Some("correct it, or leave `admin_defaults_file` out to use the socket".to_owned()),
            Self::Unquotable(_) => Some("correct the name in mainstay.toml".to_owned()),
            Self::Crypt { .. } => Some("check the key files named in [cloudstack.properties]".to_owned()),
        }
    }

    /// A refusal with its hint.
    pub(crate) fn refused(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused(sentence.into(), hint.into())
    }
}
