//! Accounts by pattern: `user`, or `user@host`.
//!
//! Accounts are matched as sessions show them; which account a server's own rules choose is not asked.

use std::fmt;
use std::str::FromStr;

use facts::Session;
use serde::{Serialize, Serializer};

use crate::pattern::{Pattern, PatternError};

/// A user, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPattern {
    /// The user.
    pub user: Pattern,
    /// The host; any where none is written.
    pub host: Option<Pattern>,
}

/// Why a text names no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountPatternError {
    /// A part of it is no pattern.
    #[error("`{text}` names no account as `user` or `user@host`: {reason}")]
    Part {
        /// The text.
        text: String,
        /// What is wrong.
        reason: PatternError,
    },
    /// `%` where `*` is meant.
    #[error("`{text}` has a %, which is no wildcard here: write `{instead}`")]
    Percent {
        /// The text.
        text: String,
        /// With `*` instead.
        instead: String,
    },
}

impl AccountPattern {
    /// Whether a session is of this account.
    #[must_use]
    pub fn matches(&self, session: &Session) -> bool {
        self.user.matches(&session.user) && self.host.as_ref().is_none_or(|host| host.matches(&session.host))
    }
}

impl FromStr for AccountPattern {
    type Err = AccountPatternError;

    /// # Errors
    /// As [`AccountPatternError`] lists.
    fn from_str(text: &str) -> Result<Self, AccountPatternError> {
        let part = |reason: PatternError| AccountPatternError::Part { text: text.to_owned(), reason };
        // In a regular expression both may mean themselves.
        if text.starts_with('/') {
            return Ok(Self { user: text.parse().map_err(part)?, host: None });
        }
        if text.contains('%') {
            let instead = text.replace('%', "*");
            return Err(AccountPatternError::Percent { text: text.to_owned(), instead });
        }
        // A user's name may hold an @, a host's cannot.
        match text.rsplit_once('@') {
            Some((user, host)) => {
                Ok(Self { user: user.parse().map_err(part)?, host: Some(host.parse().map_err(part)?) })
            }
            None => Ok(Self { user: text.parse().map_err(part)?, host: None }),
        }
    }
}

impl fmt::Display for AccountPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{}@{host}", self.user),
            None => write!(f, "{}", self.user),
        }
    }
}

impl Serialize for AccountPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_users_with_or_without_hosts() {
        let shown = |text: &str| text.parse::<AccountPattern>().map(|account| account.to_string());
        assert_eq!(shown("cloud"), Ok("cloud".to_owned()));
        assert_eq!(shown("a@b@10.0.*"), Ok("a@b@10.0.*".to_owned()));
        let told = |text: &str| shown(text).unwrap_err().to_string();
        assert!(told("@host").contains("the pattern is empty"), "{}", told("@host"));
        assert!(told("user@").contains("the pattern is empty"));
        assert!(told("").contains("the pattern is empty"));
        assert_eq!(told("cloud@%"), "`cloud@%` has a %, which is no wildcard here: write `cloud@*`");
    }
}
