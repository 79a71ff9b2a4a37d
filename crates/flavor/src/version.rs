//! Vendor and version of a server, parsed from what the server says of itself.
//!
//! Version numbers are compared as numbers, never as text: MySQL's calendar versions already reach 26.x.
//! It deliberately holds no list of releases: what a version can do stands in [`crate::Capability`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who made the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// MariaDB Server.
    MariaDb,
    /// MySQL Server, or a build of it that keeps its versions (Percona Server).
    MySql,
}

impl Vendor {
    /// The name a person writes: `MariaDB` or `MySQL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A release number of three parts, ordered as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First part, such as 10 in 10.11.19.
    pub major: u16,
    /// Second part, such as 11 in 10.11.19.
    pub minor: u16,
    /// Third part, such as 19 in 10.11.19.
    pub patch: u16,
}

impl Version {
    /// A version from its three parts.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
