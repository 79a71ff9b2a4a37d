//! The `[backup]` section: where backups live and how many stay.
//!
//! What the rules mean is the crate `dump`'s to say; what a place is, `blob`'s.

use std::path::PathBuf;

use kill::Span;
use serde::Serialize;

use crate::check::Document;
use crate::read::{At, Section};

const COUNT_MAX: u64 = 10_000;
/// No server has more sessions.
const RUNNING_MAX: u64 = 100_000;
const SEGMENT_SECONDS: u32 = 10;
const SEGMENT_SECONDS_MAX: u64 = 3600;
const PLACE_BYTES_MAX: usize = 1024;
const RECIPIENTS_MAX: usize = 100;
/// Length of a public key of age, as it is written.
const RECIPIENT_BYTES: usize = 62;

/// `[backup]`: where backups live and how many stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// A folder by its absolute path, or `s3://BUCKET/PREFIX`.
    pub place: String,
    /// Base URL of the store; `None`: Amazon's own.
    pub s3_endpoint: Option<String>,
    /// The store's region; `None`: the usual one.
    pub s3_region: Option<String>,
    /// Whether the bucket is in the path. Default: where there is an endpoint.
    pub s3_path_style: bool,
    /// PEM file of authorities to trust beside the system's.
    pub s3_ca_file: Option<PathBuf>,
    /// File with the store's credentials; `None`: the environment's.
    pub credentials_file: Option<PathBuf>,
    /// Public keys that backups and the archive are encrypted to, as `age1...`.
    pub recipients: Vec<String>,
    /// File with the identities that open them, which need not be on every host; without recipients, theirs are used.
    pub identity_file: Option<PathBuf>,
    /// A backup reads nothing while its server, a replica, is more seconds behind than this; `None`: it always reads.
    pub lag_max_seconds: Option<u64>,
    /// A backup reads nothing while more of others' sessions than this run a statement; `None`: it always reads.
    pub running_max: Option<u64>,
    /// Newest backups that stay.
    pub keep_last: u32,
    /// Hours of which the newest backup stays.
    pub keep_hourly: u32,
    /// Days of which the newest backup stays.
    pub keep_daily: u32,
    /// Weeks of which the newest backup stays.
    pub keep_weekly: u32,
    /// Months of which the newest backup stays.
    pub keep_monthly: u32,
    /// Days to any moment of which rewinding stays possible.
    pub rewind_days: u32,
    /// Age at which a piece of the archive is finished, 1 to 3600. Default 10.
    pub archive_segment_seconds: u32,
    /// Logs that are archived and so old are purged from the server; `None`: it purges by itself.
    pub archive_purge_seconds: Option<u64>,
}

impl Document<'_> {
    pub(crate) fn backup(&self) -> Option<Backup> {
        let section = self.section("backup");
        if !section.is_there() {
            return None;
        }
        let place = section.required_text("place").and_then(|text| self.checked(text, place));
        let text = |name: &'static str| section.text(name).map(|text| text.value);
        let count = |name: &'static str| number(&section, name, 0, COUNT_MAX).unwrap_or(0);
        let s3_endpoint = section.text("s3_endpoint").and_then(|text| self.checked(text, endpoint));
        let seconds = |name: &'static str| {
            let text = section.text(name)?;
            let span = self.checked(text, |text| text.parse::<Span>().map_err(|error| error.to_string()));
            span.map(Span::seconds)
        };
        Some(Backup {
            place: place?,
            s3_path_style: section.boolean("s3_path_style").unwrap_or(s3_endpoint.is_some()),
            s3_endpoint,
            s3_region: text("s3_region"),
            s3_ca_file: self.path(&section, "s3_ca_file"),
            credentials_file: self.path(&section, "credentials_file"),
            recipients: section
                .texts("recipients", RECIPIENTS_MAX)
                .into_iter()
                .filter_map(|text| self.recipient(text))
                .collect(),
            identity_file: self.path(&section, "identity_file"),
            lag_max_seconds: seconds("max_lag"),
            running_max: section.number("max_running", 0, RUNNING_MAX).map(|number| number.value),
            keep_last: count("keep_last"),
            keep_hourly: count("keep_hourly"),
            keep_daily: count("keep_daily"),
            keep_weekly: count("keep_weekly"),
            keep_monthly: count("keep_monthly"),
            rewind_days: count("rewind_days"),
            archive_segment_seconds: number(&section, "archive_segment_seconds", 1, SEGMENT_SECONDS_MAX)
                .unwrap_or(SEGMENT_SECONDS),
            archive_purge_seconds: seconds("archive_purge_after"),
        })
    }

    /// Whether it is a key at all is seen when it is used. What is none is not shown: it may be a secret one.
    fn recipient(&self, text: At<String>) -> Option<String> {
        let is_fine = text.value.len() == RECIPIENT_BYTES
            && text.value.starts_with("age1")
            && text.value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_fine {
            self.problems.add(
                text.span,
                "not a recipient",
                "expected a public key: age1 and 58 letters and digits",
            );
            return None;
        }
        Some(text.value)
    }
}

fn number(section: &Section<'_>, name: &'static str, min: u64, max: u64) -> Option<u32> {
    section.number(name, min, max).and_then(|number| u32::try_from(number.value).ok())
}

fn place(text: &str) -> Result<String, String> {
    let is_fine = text.starts_with('/') || text.starts_with("s3://");
    if !is_fine || text.len() > PLACE_BYTES_MAX || text.chars().any(char::is_control) {
        return Err("expected a folder by its absolute path, or s3://BUCKET/PREFIX".to_owned());
    }
    // Whoever reads the spec would read it too.
    if text.contains('@') {
        return Err("credentials belong into `credentials_file`".to_owned());
    }
    Ok(text.to_owned())
}

fn endpoint(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err("credentials belong into `credentials_file`".to_owned());
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Ok(text.to_owned());
    }
    Err("expected https://HOST[:PORT], or http:// where nobody else listens".to_owned())
}
