//! What the server deletes of its own logs: looked at, and, where asked for, taken over so that nothing goes that is
//! not archived.
//!
//! While a log is being sent, neither vendor deletes it or a later one. What a server deletes while no archiver is
//! connected is decided by its expiry time alone.

use std::time::Duration;

use server::{Row, Sql};
use sqltext::quote_string;

use super::catalog::Archive;
use super::error::ArchiveError;
use super::follow::{ArchiveNews, ArchiveOptions};
use super::segment::Run;
use super::source::SourceServer;

/// An archiver that is away for less than this should lose nothing.
const EXPIRY_SAFE: Duration = Duration::from_secs(24 * 3600);

/// What becomes of the server's own purging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// It is left as it is, and looked at.
    Watch,
    /// The server's own purging by age is switched off; logs that are archived and older than this are purged here.
    Hold(Duration),
}

/// What was found about the server's purging.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PurgeReport {
    /// After how many seconds the server deletes logs by itself; none where it does not.
    pub expires_seconds: Option<u64>,
    /// Whether that is too short for an archiver that is away for a day.
    pub is_short: bool,
    /// Beyond how many bytes of logs it deletes the oldest, whatever their age; none where it does not.
    pub total_bytes_max: Option<u64>,
    /// Logs that were purged, as the first one that is left.
    pub purged_to: Option<String>,
}

/// Looks at the server's purging, and does what is asked for.
pub(crate) async fn look(
    server: &mut SourceServer,
    options: &ArchiveOptions,
    archive: &Archive,
    run: &Run,
    log: &str,
    tell: &mut (dyn FnMut(ArchiveNews) + Send),
) -> Result<(), ArchiveError> {
    let found = variables(server).await?;
    let mut report = of_server(&found);
    if let Purge::Hold(age) = options.purge {
        switch_off(server, &found).await?;
        report = of_server(&variables(server).await?);
        report.purged_to = purge(server, archive, run, log, age).await?;
    }
    tell(ArchiveNews::Purging(report));
    Ok(())
}

const NAMES: [&str; 4] = [
    "binlog_expire_logs_seconds",
    "expire_logs_days",
    "binlog_expire_logs_auto_purge",
    "max_binlog_total_size",
];

async fn variables(server: &mut SourceServer) -> Result<Vec<(String, String)>, ArchiveError> {
    let names = NAMES.map(|name| format!("'{name}'")).join(", ");
    let question = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})");
    let rows = server.query(&Sql::plain(question)).await?;
    let pair = |row: &Row| Some((row.text_at(0)?.to_lowercase(), row.text_at(1)?.to_owned()));
    Ok(rows.iter().filter_map(pair).collect())
}

fn of_server(variables: &[(String, String)]) -> PurgeReport {
    let value =
        |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let number =
        |name: &str| value(name).and_then(|text| text.parse::<f64>().ok()).filter(|number| *number > 0.0);
    let is_off = value("binlog_expire_logs_auto_purge") == Some("OFF");
    let seconds = number("binlog_expire_logs_seconds")
        .or_else(|| number("expire_logs_days").map(|days| days * 86_400.0))
        .filter(|_| !is_off)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    PurgeReport {
        expires_seconds: seconds.map(|expiry| expiry.as_secs()),
        is_short: seconds.is_some_and(|expiry| expiry < EXPIRY_SAFE),
        total_bytes_max: value("max_binlog_total_size")
            .and_then(|text| text.parse().ok())
            .filter(|max| *max > 0),
        purged_to: None,
    }
}

/// Has the server delete nothing by age. A limit by size keeps its disk from filling up, and is told of instead. MySQL keeps
/// its expiry time beside the switch; MariaDB has only the time.
async fn switch_off(server: &mut SourceServer, variables: &[(String, String)]) -> Result<(), ArchiveError> {
    let has = |name: &str| variables.iter().any(|(known, _)| known == name);
    let statement = if has("binlog_expire_logs_auto_purge") {
        "SET GLOBAL binlog_expire_logs_auto_purge = OFF"
    } else {
        "SET GLOBAL binlog_expire_logs_seconds = 0"
    };
    server.query(&Sql::plain(statement)).await?;
    Ok(())
}

/// Purges the logs before the one that is being archived of which every event is older than the age.
async fn purge(
    server: &mut SourceServer,
    archive: &Archive,
    run: &Run,
    log: &str,
    age: Duration,
) -> Result<Option<String>, ArchiveError> {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let young = now.saturating_sub(age.as_secs());
    let Some(archived) = archive.last_run().await?.filter(|last| last.run.id == run.id) else {
        return Ok(None);
    };
    let mut keep_from = None;
    for name in server.names() {
        if name == log {
            keep_from = Some(name);
            break;
        }
        let Some(last) = archived.segments.iter().rfind(|segment| segment.log == name) else {
            // Logs from before the run are no business of it, but none after them may go before they do.
            keep_from = Some(name);
            break;
        };
        let segment = archive.segment(last).await?;
        if !segment.is_log_end || segment.last_seconds.is_none_or(|seconds| u64::from(seconds) > young) {
            keep_from = Some(name);
            break;
        }
    }
    let Some(keep_from) = keep_from.filter(|name| server.names().first() != Some(name)) else {
        return Ok(None);
    };
    let name = quote_string(&keep_from).map_err(|error| server::ServerError::Other(error.to_string()))?;
    server.query(&Sql::plain(format!("PURGE BINARY LOGS TO {name}"))).await?;
    server.look_at_logs().await?;
    Ok(Some(keep_from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found of a server with these variables: seconds, whether they are short, bytes.
    fn found(variables: &[(&str, &str)]) -> (Option<u64>, bool, Option<u64>) {
        let variables: Vec<(String, String)> =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let report = of_server(&variables);
        (report.expires_seconds, report.is_short, report.total_bytes_max)
    }

    #[test]
    fn what_the_server_deletes_by_itself_is_seen() {
        let seconds = "binlog_expire_logs_seconds";
        assert_eq!(found(&[(seconds, "3600"), ("max_binlog_total_size", "0")]), (Some(3600), true, None));
        assert_eq!(
            found(&[(seconds, "864000"), ("expire_logs_days", "10.000000")]),
            (Some(864_000), false, None)
        );
        assert_eq!(found(&[("expire_logs_days", "0.5")]), (Some(43_200), true, None));
        assert_eq!(found(&[(seconds, "60"), ("binlog_expire_logs_auto_purge", "OFF")]), (None, false, None));
        // MariaDB 11.4: by age nothing, by size all the same.
        let by_size =
            [(seconds, "0"), ("expire_logs_days", "0.000000"), ("max_binlog_total_size", "1073741824")];
        assert_eq!(found(&by_size), (None, false, Some(1 << 30)));
        assert_eq!(found(&[]), (None, false, None));
    }
}
