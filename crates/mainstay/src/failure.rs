//! What went wrong, what to run next, and the exit code: decided in one place.

use std::fmt;
use std::process::ExitCode;

/// How a command ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Good: exit 0.
    Good,
    /// There are differences or findings: exit 2.
    Differs,
    /// What was asked is answered with no: exit 1, with nothing more to say.
    Negative,
}

impl Outcome {
    /// The process's exit code.
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Good => ExitCode::SUCCESS,
            Self::Differs => ExitCode::from(2),
            Self::Negative => ExitCode::FAILURE,
        }
    }
}

/// How a command failed: exit 1, a message, and the next command.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure with what to do next.
    pub(crate) fn new(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: Some(hint.into()) }
    }

    /// A failure said in a sentence, with what to do next.
    pub(crate) fn said(sentence: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self { error: anyhow::anyhow!("{sentence}"), hint: Some(hint.into()) }
    }

    /// The message and hint as lines for the terminal. The chain of causes is printed once, inline.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {:#}", self.error)];
        lines.extend(self.hint.iter().map(|hint| format!("  -> {hint}")));
        lines
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let hint = hint_of(&error);
        Self { error, hint }
    }
}

/// The hint that an adapter's error carries, wherever in the chain it is.
fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<server::ServerError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<setup::SetupError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<agent::AgentError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<checksum::ChecksumError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<lab::LabError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<binlog::ReadError>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<host::logs::LogError>() {
            return Some(error.hint());
        }
        if let Some(error) = cause.downcast_ref::<host::files::FileError>() {
            return Some(error.hint());
        }
        if let Some(error) = cause.downcast_ref::<host::secrets::SecretError>() {
            return Some(error.hint());
        }
        cause.downcast_ref::<host::command::CommandError>().map(host::command::CommandError::hint)
    })
}

/// The result of a verb.
pub(crate) type Verb = Result<Outcome, Failure>;
