//! Vendor and version of a server, parsed from what the server or its package says of itself.
//!
//! Version numbers are compared as numbers, never as text: MySQL's calendar versions already reach 26.x.
//! What a version can do does not stand here but in [`crate::Capability`].

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

/// A release number of three parts, ordered as numbers. Serialized as text, such as `10.11.19`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

    /// Reads three numbers at the start of `text`; what follows must not continue the third one.
    fn leading(text: &str) -> Option<(Self, &str)> {
        let (major, rest) = number(text)?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let (patch, rest) = number(rest.strip_prefix('.')?)?;
        Some((Self { major, minor, patch }, rest))
    }
}

fn number(text: &str) -> Option<(u16, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::leading(text) {
            Some((version, "")) => Ok(version),
            Some(_) | None => Err(ParseVersionError::new(text)),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

/// A text that should have begun with a version number and did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a server version from {text:?}, expected one like 10.11.19-MariaDB or 9.7.4")]
pub struct ParseVersionError {
    /// What was read, at most its first 80 characters.
    pub text: String,
}

impl ParseVersionError {
    fn new(text: &str) -> Self {
        Self { text: text.chars().take(80).collect() }
    }
}

/// Vendor and version of a server: what every difference between servers is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flavor {
    /// Who made it.
    pub vendor: Vendor,
    /// Which release it is.
    pub version: Version,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.vendor, self.version)
    }
}

impl Flavor {
    /// From a running server's `@@version` (or its handshake) and `@@version_comment`.
    ///
    /// # Errors
    /// When `version` does not begin with three numbers.
    pub fn parse(version: &str, comment: &str) -> Result<Self, ParseVersionError> {
        let text = version.trim();
        let is_mariadb = [text, comment].iter().any(|said| said.to_ascii_lowercase().contains("mariadb"));
        // MariaDB before 11.0 puts 5.5.5- before its version in the handshake, for old MySQL replicas that
        // refuse a major version of two digits.
        let own = if is_mariadb { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
        let (number, rest) = Version::leading(own).ok_or_else(|| ParseVersionError::new(version))?;
        if rest.starts_with('.') {
            return Err(ParseVersionError::new(version));
        }
        let vendor = if is_mariadb { Vendor::MariaDb } else { Vendor::MySql };
        Ok(Self { vendor, version: number })
    }

    /// From the version of a Debian or RPM package, such as `1:10.11.19-0+deb12u1` or `10.5.29-3.el9_6`.
    /// The package's name tells the vendor; its version does not.
    ///
    /// # Errors
    /// When the version behind the epoch does not begin with three numbers.
    pub fn from_package(vendor: Vendor, package_version: &str) -> Result<Self, ParseVersionError> {
        let text = package_version.trim();
        let upstream = match text.split_once(':') {
            Some((epoch, rest)) if number(epoch).is_some_and(|(_, rest)| rest.is_empty()) => rest,
            Some(_) | None => text,
        };
        let (version, _) =
            Version::leading(upstream).ok_or_else(|| ParseVersionError::new(package_version))?;
        Ok(Self { vendor, version })
    }

    /// Whether a server of this flavor can replicate from one of `source`: from its own series or an older one.
    /// Both vendors support replication to a newer server only.
    #[must_use]
    pub fn can_replicate_from(self, source: Self) -> bool {
        let series = |version: Version| (version.major, version.minor);
        self.vendor == source.vendor && series(self.version) >= series(source.version)
    }

    /// Whether both are of one vendor and series, such as 10.11: they keep and sum rows in the same form.
    #[must_use]
    pub fn is_same_series(self, other: Self) -> bool {
        self.can_replicate_from(other) && other.can_replicate_from(self)
    }

    /// Whether a server of this flavor can be started on copied data files of `taken`: of the same series and no older.
    /// A newer series has to upgrade files of a server that was shut down cleanly, which copies are not.
    #[must_use]
    pub fn can_start_on_files_of(self, taken: Self) -> bool {
        let series = |version: Version| (version.major, version.minor);
        self.vendor == taken.vendor
            && series(self.version) == series(taken.version)
            && self.version >= taken.version
    }

    /// Whether Mainstay supports this server.
    #[must_use]
    pub fn support(self) -> Support {
        for row in SUPPORTED {
            if row.vendor == self.vendor {
                if self.version < row.minimum {
                    return Support::TooOld { minimum: row.minimum };
                }
                if self.version >= row.untested_from {
                    return Support::Newer { tested: row.newest_tested };
                }
            }
        }
        Support::Supported
    }
}

/// What [`Flavor::support`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Within what the tables and tests cover.
    Supported,
    /// Older than the oldest supported release: stop.
    TooOld {
        /// The oldest supported release.
        minimum: Version,
    },
    /// Of a major release that nothing was tested on: proceed with a warning, newest known behaviour assumed.
    Newer {
        /// The newest release that was tested.
        tested: Version,
    },
}

/// The supported releases of one vendor.
#[derive(Clone, Copy, Debug)]
pub struct SupportedRow {
    /// Whose releases.
    pub vendor: Vendor,
    /// The oldest supported release.
    pub minimum: Version,
    /// The newest release in the tests and tables.
    pub newest_tested: Version,
    /// The first release that is only tolerated.
    pub untested_from: Version,
}

/// The supported releases, one row a vendor.
pub const SUPPORTED: &[SupportedRow] = &[
    SupportedRow {
        vendor: Vendor::MariaDb,
        minimum: Version::new(10, 6, 0),
        newest_tested: Version::new(12, 1, 2),
        untested_from: Version::new(13, 0, 0),
    },
    SupportedRow {
        vendor: Vendor::MySql,
        minimum: Version::new(8, 0, 11),
        newest_tested: Version::new(9, 7, 4),
        untested_from: Version::new(10, 0, 0),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flavors_are_read_from_what_servers_say() {
        for (version, comment, expected) in [
            ("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", "MariaDB 10.11.19"),
            ("5.5.5-10.6.16-MariaDB", "", "MariaDB 10.6.16"),
            ("5.5.5-10.6.16-MariaDB-log", "mariadb.org binary distribution", "MariaDB 10.6.16"),
            ("10.6.16-11-MariaDB-enterprise-log", "MariaDB Enterprise Server", "MariaDB 10.6.16"),
            ("11.8.3-MariaDB-ubu2404", "mariadb.org binary distribution", "MariaDB 11.8.3"),
            ("12.1.2", "MariaDB Server", "MariaDB 12.1.2"),
            ("8.0.36-28", "Percona Server (GPL), Release 28, Revision 47601f19", "MySQL 8.0.36"),
            ("8.0.36-0ubuntu0.22.04.1", "(Ubuntu)", "MySQL 8.0.36"),
            ("9.7.4-2", "(Debian)", "MySQL 9.7.4"),
            ("9.7.4", "MySQL Community Server - GPL", "MySQL 9.7.4"),
            ("5.5.5", "MySQL Community Server (GPL)", "MySQL 5.5.5"),
            ("26.1.0", "MySQL Community Server - GPL", "MySQL 26.1.0"),
            (" 8.4.6-cluster\n", "", "MySQL 8.4.6"),
        ] {
            assert_eq!(Flavor::parse(version, comment).unwrap().to_string(), expected, "{version}");
        }
    }

    #[test]
    fn a_series_is_of_one_vendor_and_two_numbers() {
        let flavor = |version: &str| Flavor::parse(version, "").unwrap();
        for (one, other, expected) in [
            ("10.11.19-MariaDB", "10.11.4-MariaDB", true),
            ("10.11.19-MariaDB", "10.6.19-MariaDB", false),
            ("11.11.19-MariaDB", "10.11.19-MariaDB", false),
            ("9.7.4", "9.7.0", true),
            ("9.7.4", "8.4.6", false),
            ("10.11.19-MariaDB", "10.11.19", false),
        ] {
            assert_eq!(flavor(one).is_same_series(flavor(other)), expected, "{one} {other}");
            assert_eq!(flavor(other).is_same_series(flavor(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused_with_its_text() {
        for text in [
            "",
            "MariaDB",
            "10",
            "10.11",
            "10.11.",
            "10.11.x",
            "v10.11.1",
            "70000.1.1",
            "1.2.3.4",
            "5.5.5-MariaDB-",
        ] {
            let refused = Flavor::parse(text, "");
            assert_eq!(refused, Err(ParseVersionError { text: text.to_owned() }), "{text}");
        }
        let long = "x".repeat(10_000);
        assert_eq!(Flavor::parse(&long, "").unwrap_err().text.len(), 80);
    }

    #[test]
    fn flavors_are_read_from_package_versions() {
        for (vendor, version, expected) in [
            (Vendor::MariaDb, "1:10.11.19-0+deb12u1", "MariaDB 10.11.19"),
            (Vendor::MariaDb, "1:11.8.3+maria~deb12", "MariaDB 11.8.3"),
            (Vendor::MariaDb, "3:10.5.29-3.el9_6", "MariaDB 10.5.29"),
            (Vendor::MariaDb, "10.5.29-3.el9_6", "MariaDB 10.5.29"),
            (Vendor::MySql, "9.7.4-2", "MySQL 9.7.4"),
            (Vendor::MySql, "8.4.6-0ubuntu0.25.04.3", "MySQL 8.4.6"),
            (Vendor::MySql, "8.0.36-28-1.jammy", "MySQL 8.0.36"),
        ] {
            assert_eq!(Flavor::from_package(vendor, version).unwrap().to_string(), expected, "{version}");
        }
        for text in ["", "1:", "x:10.11.19", "(none)", "5.8+1.1.0"] {
            assert!(Flavor::from_package(Vendor::MariaDb, text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_go_to_the_same_series_and_no_older_version() {
        let flavor = |version: &str, comment: &str| Flavor::parse(version, comment).unwrap();
        for (taken, here, can) in [
            ("10.11.19-MariaDB", "10.11.19-MariaDB", true),
            ("10.11.6-MariaDB", "10.11.19-MariaDB", true),
            ("10.11.19-MariaDB", "10.11.6-MariaDB", false),
            ("10.11.19-MariaDB", "11.4.22-MariaDB", false),
            ("10.11.19-MariaDB", "10.6.20-MariaDB", false),
            ("9.7.4", "9.7.10", true),
            ("9.7.4", "9.7.4-MariaDB", false),
        ] {
            assert_eq!(flavor(here, "").can_start_on_files_of(flavor(taken, "")), can, "{taken} {here}");
        }
    }

    #[test]
    fn support_ends_below_and_warns_above() {
        use Support::{Newer, Supported, TooOld};
        let (mariadb, mysql) = (Version::new(12, 1, 2), Version::new(9, 7, 4));
        for (vendor, version, expected) in [
            (Vendor::MariaDb, "10.5.29", TooOld { minimum: Version::new(10, 6, 0) }),
            (Vendor::MariaDb, "10.6.16", Supported),
            (Vendor::MariaDb, "10.11.19", Supported),
            (Vendor::MariaDb, "11.8.3", Supported),
            (Vendor::MariaDb, "12.3.1", Supported),
            (Vendor::MariaDb, "13.0.1", Newer { tested: mariadb }),
            (Vendor::MySql, "5.7.44", TooOld { minimum: Version::new(8, 0, 11) }),
            (Vendor::MySql, "8.0.20", Supported),
            (Vendor::MySql, "9.7.4", Supported),
            (Vendor::MySql, "9.10.0", Supported),
            (Vendor::MySql, "10.0.0", Newer { tested: mysql }),
            (Vendor::MySql, "26.1.0", Newer { tested: mysql }),
        ] {
            let flavor = Flavor { vendor, version: version.parse().unwrap() };
            assert_eq!(flavor.support(), expected, "{flavor}");
        }
    }

    #[test]
    fn versions_order_as_numbers() {
        let mut versions: Vec<Version> =
            ["10.11.9", "9.7.4", "10.11.19", "26.1.0", "10.6.16"].map(|text| text.parse().unwrap()).to_vec();
        versions.sort();
        let sorted: Vec<String> = versions.into_iter().map(String::from).collect();
        assert_eq!(sorted, ["9.7.4", "10.6.16", "10.11.9", "10.11.19", "26.1.0"]);
    }

    proptest! {
        #[test]
        fn a_version_reads_back_as_written(major: u16, minor: u16, patch: u16) {
            let version = Version::new(major, minor, patch);
            prop_assert_eq!(version.to_string().parse::<Version>(), Ok(version));
        }

        #[test]
        fn no_text_breaks_the_parser(version in ".{0,40}", comment in ".{0,40}") {
            if let Ok(flavor) = Flavor::parse(&version, &comment) {
                prop_assert!(version.contains(&flavor.version.major.to_string()));
            }
        }
    }
}
