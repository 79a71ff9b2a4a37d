//! [`Seen`]: a fact, the reason it is unknown, or its absence.

use serde::{Deserialize, Serialize};

/// One fact about the outside. `Unknown` is a value of its own: a rule that needs the fact says so
/// instead of taking a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen<T> {
    /// It was looked for and is there.
    Known(T),
    /// It could not be looked at; why.
    Unknown(String),
    /// It was looked for and is not there.
    Absent,
}

impl<T> Seen<T> {
    /// The fact, if known.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) | Self::Absent => None,
        }
    }

    /// `true` if it was looked for and is not there.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// A result whose error becomes the reason of an unknown.
    pub fn from_result<E: std::fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}
