//! `mainstay backup archive`: a server's binary logs copied into the place, once or for ever.

use std::fmt;
use std::time::Duration;

use backup::archive::{
    Archive, ArchiveCheck, ArchiveNews, ArchiveOptions, ArchiveStatus, Archived, Purge, archive_follow,
    archive_once,
};
use jiff::Timestamp;
use serde::Serialize;
use server::Limits;

use crate::cli::BackupArchiveArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{Kept, age, archive_failed, open, size};
use crate::verbs::facts::target;

const SEGMENT_AGE: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(15);

pub(crate) async fn run(format: Format, args: &BackupArchiveArgs) -> Verb {
    let kept = open(&args.kept)?;
    let archive = Archive::new(kept.place.clone())
        .with_identities(kept.identities(args.seal.identity_file.as_deref())?);
    if args.status {
        return status(format, args, &archive).await;
    }
    let archive = archive.with_recipients(kept.recipients(&args.seal)?);
    let options = options(args, &kept)?;
    let archived = if args.follow {
        let stop = Box::pin(host::supervise::stop_signal()?);
        let stop = Box::pin(async {
            stop.await;
        });
        archive_follow(&archive, &options, stop, &mut log).await
    } else {
        archive_once(&archive, &options, &mut log).await
    };
    output::result(format, &Report(archived.map_err(archive_failed)?));
    Ok(Outcome::Good)
}

fn options(args: &BackupArchiveArgs, kept: &Kept) -> Result<ArchiveOptions, Failure> {
    let spec = kept.backup.as_ref();
    let seconds = args.segment_age.map(kill::Span::seconds);
    let seconds = seconds.or(spec.map(|spec| u64::from(spec.archive_segment_seconds)));
    let purge =
        args.purge_after.map(kill::Span::seconds).or(spec.and_then(|spec| spec.archive_purge_seconds));
    Ok(ArchiveOptions {
        target: target(&args.connect)?,
        limits: Limits::default(),
        server_id: args.server_id.unwrap_or_else(|| own_id(&host::users::hostname())),
        segment_age: seconds.map_or(SEGMENT_AGE, Duration::from_secs),
        segment_bytes: args.segment_mib << 20,
        accepts_gap: args.accept_gap,
        purge: purge.map_or(Purge::Watch, |seconds| Purge::Hold(Duration::from_secs(seconds))),
        lease: args.lease.map_or(LEASE, |time| Duration::from_secs(time.seconds())),
    })
}

/// An id that is the same with every start, so that a server ends the connection of an archiver that has died when the
/// next one comes. The upper half is nobody's habit for replicas.
fn own_id(host: &str) -> u32 {
    let start: u32 = 0x811c_9dc5;
    let hash = host.bytes().fold(start, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash | 0x8000_0000
}

fn log(news: ArchiveNews) {
    match news {
        ArchiveNews::Waits { by, most } => {
            let most = most.as_secs_f64();
            output::message(&format!("{by} may still be archiving into this place: waits up to {most:.1} s"));
        }
        ArchiveNews::Begun { run, is_new, log, offset } => {
            let what = if is_new { "begins" } else { "goes on" };
            output::message(&format!("{what} at {log} {offset} of {} (run {})", run.server.host, run.id));
            if !run.lost.is_empty() && is_new {
                output::message(&format!(
                    "warning: archived, but not on this server: {}; a failover lost these transactions",
                    run.lost
                ));
            }
        }
        ArchiveNews::Archived { segment, behind_seconds } => {
            let (log, end, count) = (&segment.log, segment.end, segment.transactions);
            tracing::info!(log, end, transactions = count, behind_seconds, "archived");
        }
        ArchiveNews::Merged { count, segment } => {
            tracing::info!(
                log = segment.log,
                pieces = count,
                bytes = segment.stored_bytes,
                "made one of pieces"
            );
        }
        ArchiveNews::Purging(report) => {
            if let Some(expiry) = report.expires_seconds.filter(|_| report.is_short) {
                output::message(&format!(
                    "warning: the server deletes logs after {}: an archiver that is away for longer loses them; \
                     --purge-after takes this over",
                    age(expiry)
                ));
            }
            if let Some(most) = report.total_bytes_max {
                output::message(&format!(
                    "warning: the server deletes its oldest logs beyond {}, archived or not: set \
                     max_binlog_total_size = 0, now and in its configuration, and watch the disk",
                    size(most)
                ));
            }
            if let Some(log) = report.purged_to {
                tracing::info!(log, "purged archived logs before this one");
            }
        }
        ArchiveNews::Failed { why, wait } => {
            output::message(&format!("{why}; tries again in {:.1} s", wait.as_secs_f64()));
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report(Archived);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Archived { segments, bytes, transactions, log, offset } = &self.0;
        let bytes = size(*bytes);
        write!(f, "archived {bytes}, {transactions} transactions in {segments} pieces, to {log} {offset}")
    }
}

#[derive(Serialize)]
struct StatusReport {
    place: String,
    status: ArchiveStatus,
    check: Option<ArchiveCheck>,
}

async fn status(format: Format, args: &BackupArchiveArgs, archive: &Archive) -> Verb {
    let status = archive.status(Timestamp::now()).await.map_err(archive_failed)?;
    let check = match args.verify {
        true => Some(archive.check().await.map_err(archive_failed)?),
        false => None,
    };
    let is_well = status.gaps.is_empty() && check.as_ref().is_none_or(|check| check.problems.is_empty());
    output::result(format, &StatusReport { place: archive.place().to_string(), status, check });
    Ok(if is_well { Outcome::Good } else { Outcome::Differs })
}

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = &self.status.last else { return write!(f, "no archive in {}", self.place) };
        let header = ["RUN", "SERVER", "BEGUN FOR", "LOGS", "SIZE", "PIECES"].map(str::to_owned).to_vec();
        let rows = self.status.runs.iter().map(|run| {
            let logs = match (&run.first_log, &run.last_log) {
                (Some(first), Some(last)) => format!("{first} to {last}"),
                (_, _) => "-".to_owned(),
            };
            let reason = serde_json::to_value(run.run.reason).ok();
            vec![
                run.run.id.clone(),
                run.run.server.host.clone(),
                reason.and_then(|reason| reason.as_str().map(str::to_owned)).unwrap_or_default(),
                logs,
                size(run.log_bytes),
                run.segments.to_string(),
            ]
        });
        f.write_str(&output::table(std::iter::once(header).chain(rows).collect()))?;
        write!(f, "ends at {} {}", last.log, last.end)?;
        if let Some(seconds) = self.status.last_event_age_seconds {
            write!(f, ", whose last event is {} old", age(seconds))?;
        }
        write!(f, "\nhas everything to {}", last.gtids_after())?;
        for gap in &self.status.gaps {
            write!(f, "\nGAP: {gap}")?;
        }
        if let Some(check) = &self.check {
            write!(f, "\nread back: {} pieces, {} of logs", check.segments, size(check.bytes))?;
            if check.unopened > 0 {
                write!(
                    f,
                    "\n{} of them are encrypted and were not opened: no identity is named",
                    check.unopened
                )?;
            }
            for problem in &check.problems {
                write!(f, "\nDAMAGED: {problem}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archivers_id_is_its_hosts() {
        assert_eq!(own_id("db1"), own_id("db1"));
        assert_ne!(own_id("db1"), own_id("db2"));
        assert!(own_id("") >= 0x8000_0000);
    }
}
