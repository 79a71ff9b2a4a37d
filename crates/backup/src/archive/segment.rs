//! [`Segment`]: a stretch of one binary log in the archive, and how its objects are named. It reads no place.
//!
//! ```text
//! binlog/<run>/run.json                                          which server, and what came before
//! binlog/<run>/<log>/<start>.<when>.zst                          the log's bytes from there on, compressed; with `.age`, encrypted
//! binlog/<run>/<log>/<start>-<end>.json                          this record; without it the other is nothing
//! ```

use flavor::{GtidSet, Vendor};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format written, and the newest one that is read.
pub const ARCHIVE_FORMAT: u32 = 1;
/// Longest record read, in bytes: two sets of GTIDs and more.
pub(crate) const RECORD_BYTES_MAX: u64 = 4 << 20;
/// All of the archive is below it.
pub(crate) const ROOT: &str = "binlog";

/// Which server a run is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerIdentity {
    /// Whose server.
    pub vendor: Vendor,
    /// Its version, as it says it.
    pub version: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@server_uuid` (MySQL).
    pub uuid: Option<String>,
    /// `@@hostname`.
    pub host: String,
}

impl ServerIdentity {
    /// Whether the other is the same server, as far as servers tell. Whether its logs are the same ones is for their
    /// first events to say.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.vendor == other.vendor && self.server_id == other.server_id && self.uuid == other.uuid
    }
}

/// Why a run was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunReason {
    /// There was no archive.
    First,
    /// Another server went on, with everything that is archived.
    Failover,
    /// The server's logs are others than before, and hold everything that is archived.
    NewLogs,
    /// Something is missing before it, and that was accepted.
    AcceptedGap,
}

/// Logs of one server that follow one another without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Format of the record.
    pub format: u32,
    /// Its id, which sorts by time: `20261121T173000Z-7`.
    pub id: String,
    /// Which server.
    pub server: ServerIdentity,
    /// When it was begun, by the archiving host's clock.
    pub began: Timestamp,
    /// Why.
    pub reason: RunReason,
    /// The run before.
    pub after: Option<String>,
    /// Transactions that are archived and were not on this server when the run was begun: a failover lost them.
    #[serde(default)]
    pub lost: GtidSet,
}

impl Run {
    /// The name of its record.
    pub(crate) fn record_name(id: &str) -> String {
        format!("{ROOT}/{id}/run.json")
    }
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The log, as the server names it.
    pub log: String,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// A stretch of a log in the archive. It begins and ends between transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Format of the record.
    pub format: u32,
    /// The run it is of.
    pub run: String,
    /// The log, as the server names it.
    pub log: String,
    /// Where it begins, in bytes from the log's beginning; 0 with the log's first bytes, which are no event.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Where the run stood before the log began; only at the beginning of a log that is not the run's first.
    #[serde(default)]
    pub follows: Option<LogPosition>,
    /// Whether the log ends with it.
    pub is_log_end: bool,
    /// The log that the server went on with, where the log says it.
    #[serde(default)]
    pub next_log: Option<String>,
    /// Bytes of the log in it.
    pub bytes: u64,
    /// SHA-256 of these, as hexadecimal.
    pub sha256: String,
    /// Bytes between start and end that the server keeps to itself: `end - start - bytes`.
    #[serde(default)]
    pub left_out_bytes: u64,
    /// Name of the object with its content, beside the record.
    pub content: String,
    /// Public keys that it is encrypted to; empty when it is not.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// The public key of the archiver that can open it too, for as long as it runs: a piece that it has yet to make one of
    /// others with.
    #[serde(default)]
    pub merger: Option<String>,
    /// Length of that object.
    pub stored_bytes: u64,
    /// SHA-256 of that, as hexadecimal.
    pub stored_sha256: String,
    /// The log's first event, which describes its format, as hexadecimal: no segment is readable without.
    pub head: String,
    /// What had been done on the server before its first transaction.
    pub gtids_before: GtidSet,
    /// Its own transactions.
    pub gtids: GtidSet,
    /// How many transactions begin in it.
    pub transactions: u64,
    /// Time of its first event with one, in seconds since 1970.
    pub first_seconds: Option<u32>,
    /// Time of its latest event.
    pub last_seconds: Option<u32>,
}

impl Segment {
    /// What had been done on the server after its last transaction.
    #[must_use]
    pub fn gtids_after(&self) -> GtidSet {
        self.gtids_before.union(&self.gtids)
    }

    /// Name of the object with its content.
    #[must_use]
    pub fn content_name(&self) -> String {
        format!("{}/{}", log_folder(&self.run, &self.log), self.content)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> SegmentName {
        SegmentName { run: self.run.clone(), log: self.log.clone(), start: self.start, end: self.end }
    }
}

/// A segment by its name alone, which is enough to find gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentName {
    /// The run.
    pub run: String,
    /// The log.
    pub log: String,
    /// Where it begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

impl SegmentName {
    /// Name of the object with its record.
    #[must_use]
    pub fn record(&self) -> String {
        let Self { run, log, start, end } = self;
        format!("{}/{start:012}-{end:012}.json", log_folder(run, log))
    }

    /// Reads the name of a record; none for any other name.
    pub(crate) fn of_record(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(ROOT)?.strip_prefix('/')?.split('/');
        let (run, log, file) = (parts.next()?, parts.next()?, parts.next()?);
        let (start, end) = file.strip_suffix(".json")?.split_once('-')?;
        let (start, end) = (start.parse().ok()?, end.parse().ok()?);
        let name = Self { run: run.to_owned(), log: log.to_owned(), start, end };
        (parts.next().is_none() && start < end).then_some(name)
    }

    /// What logs and segments of a run are sorted by: servers count on from 999999 with one digit more.
    pub(crate) fn order(&self) -> (usize, &str, u64, std::cmp::Reverse<u64>) {
        (self.log.len(), &self.log, self.start, std::cmp::Reverse(self.end))
    }
}

/// What all names of a log begin with.
pub(crate) fn log_folder(run: &str, log: &str) -> String {
    format!("{ROOT}/{run}/{log}")
}

/// Whether the second log is the one that a server writes after the first.
pub(crate) fn is_next_log(log: &str, next: &str) -> bool {
    let split = |name: &str| -> Option<(String, u64)> {
        let (base, number) = name.rsplit_once('.')?;
        Some((base.to_owned(), number.parse().ok()?))
    };
    match (split(log), split(next)) {
        (Some((base, number)), Some((other, next))) => base == other && number.checked_add(1) == Some(next),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_sorted_as_servers_count() {
        let name =
            |log: &str, start, end| SegmentName { run: "r-1".to_owned(), log: log.to_owned(), start, end };
        let first = name("bin.000001", 0, 1234);
        assert_eq!(first.record(), "binlog/r-1/bin.000001/000000000000-000000001234.json");
        assert_eq!(SegmentName::of_record(&first.record()), Some(first.clone()));
        for other in [
            "binlog/r-1/bin.000001/000000000000.17.zst",
            "binlog/r-1/run.json",
            "x/r/l/0-1.json",
            "binlog/r/l/5-5.json",
            "binlog/r/l/a-b.json",
        ] {
            assert_eq!(SegmentName::of_record(other), None, "{other}");
        }
        let mut names = [
            name("bin.1000000", 0, 4),
            name("bin.999999", 4, 9),
            name("bin.999999", 0, 4),
            name("bin.999999", 0, 9),
        ];
        names.sort_by(|left, right| left.order().cmp(&right.order()));
        let ends: Vec<_> = names.iter().map(|name| (name.log.as_str(), name.start, name.end)).collect();
        assert_eq!(
            ends,
            [("bin.999999", 0, 9), ("bin.999999", 0, 4), ("bin.999999", 4, 9), ("bin.1000000", 0, 4)]
        );
        assert!(is_next_log("bin.999999", "bin.1000000") && is_next_log("a.b.000009", "a.b.000010"));
        assert!(!is_next_log("bin.000001", "bin.000003") && !is_next_log("a.000001", "b.000002"));
    }
}
