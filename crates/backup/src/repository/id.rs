//! [`BackupId`]: when a backup was begun and what it is called, as the name of its folder.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::error::RepositoryError;

const FORMAT: &str = "%Y%m%dT%H%M%SZ";
/// Length of the time.
const TIME_BYTES: usize = 16;
const NAME_BYTES_MAX: usize = 64;

/// A backup's id: `20261121T173000Z-shop`. Ids sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    text: String,
    started: Timestamp,
}

impl BackupId {
    /// The id of a backup that is begun at this moment. What a name cannot have becomes `-`.
    #[must_use]
    pub fn new(started: Timestamp, name: &str) -> Self {
        let name: String = name
            .chars()
            .map(|letter| if is_fine(letter) { letter } else { '-' })
            .take(NAME_BYTES_MAX)
            .collect();
        let name = if name.is_empty() { "all" } else { &name };
        let started = Timestamp::from_second(started.as_second()).unwrap_or(started);
        Self { text: format!("{}-{name}", started.strftime(FORMAT)), started }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it was begun, to the second.
    #[must_use]
    pub const fn started(&self) -> Timestamp {
        self.started
    }
}

const fn is_fine(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for BackupId {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || RepositoryError::BadId { text: text.escape_debug().to_string() };
        let (time, name) = text.split_at_checked(TIME_BYTES).ok_or_else(bad)?;
        let name = name.strip_prefix('-').ok_or_else(bad)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_fine) {
            return Err(bad());
        }
        let civil = DateTime::strptime(FORMAT, time).map_err(|_| bad())?;
        let started = civil.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp();
        Ok(Self { text: text.to_owned(), started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_and_read() {
        let at: Timestamp = "2026-11-21T17:30:00.25Z".parse().unwrap();
        let id = BackupId::new(at, "shop");
        assert_eq!(id.as_str(), "20261121T173000Z-shop");
        assert_eq!(id.as_str().parse::<BackupId>().unwrap(), id);
        assert_eq!(BackupId::new(at, "a/b ../c").as_str(), "20261121T173000Z-a-b-..-c");
        assert_eq!(BackupId::new(at, "").as_str(), "20261121T173000Z-all");
        for text in [
            "",
            "marks",
            "binlog",
            "20261121T173000Z",
            "20261121T173000Z-",
            "20261321T173000Z-x",
            "20261121T173000Z-a/b",
            "20261121T173000Zx",
            "é20261121T17300Z-a",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }
}
