//! `mainstay rewind --into`: a whole server as it was at a moment, made in an empty one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::replay::{
    Progress, ServerRewind, ServerRewindError, ServerRewindOptions, bytes_between, estimate, replay_onto,
    rewind_server,
};
use backup::repository::Repository;
use backup::restore;
use backup::rewind::{Base, Point, choose};
use dump::fix::Fix;
use dump::manifest::BackupKind;
use jiff::Timestamp;
use serde::Serialize;
use server::Target;

use crate::cli::RewindArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{age, open, size};
use crate::verbs::facts::target;
use crate::verbs::restore::threads;
use crate::verbs::rewind::{failed as rewind_failure, point};

const PORT: u16 = 3306;

#[derive(Serialize)]
struct Plan {
    backup: String,
    snapshot_taken: Timestamp,
    point: String,
    target: String,
    is_restored: bool,
    tables: usize,
    rows: u64,
    backup_bytes: u64,
    log_bytes: u64,
    logs: usize,
    restore_seconds: u64,
    replay_seconds: u64,
}

#[derive(Serialize)]
struct Done {
    backup: String,
    point: String,
    target: String,
    #[serde(flatten)]
    rewound: ServerRewind,
    seconds: f64,
}

pub(crate) async fn run(format: Format, args: &RewindArgs, into: &str) -> Verb {
    let begun = Instant::now();
    let kept = open(&args.kept)?;
    let repository = Repository::new(kept.place.clone())
        .with_identities(kept.identities(args.base.identity_file.as_deref())?);
    let point = match args.to.to.as_deref() {
        Some("end") => Point::End,
        Some(_) | None => point(&args.to)?,
    };
    let fits = |whole: &backup::repository::Whole| match (whole.manifest.kind, args.restored) {
        (BackupKind::Logical, false) | (BackupKind::Physical, true) => Ok(()),
        (BackupKind::Physical, false) => Err("it is a physical one: put it back with `mainstay restore \
             --datadir`, start the server on it, and rewind with --restored"
            .to_owned()),
        (BackupKind::Logical, true) => Err("it is a dump: rewind without --restored".to_owned()),
    };
    let base = choose(&repository, &point, args.base.backup.as_ref(), fits).await.map_err(rewind_failure)?;
    let target = target_of(args, into)?;
    if args.dry_run {
        output::result(format, &plan(&base, &point, &target, args.restored));
        return Ok(Outcome::Differs);
    }
    let options = ServerRewindOptions {
        threads: threads(args.threads),
        with_binlog: false,
        with_sums: true,
        fixes: Fix::ALL.into_iter().collect(),
    };
    let (restoring, replaying) = (Arc::new(restore::Progress::default()), Arc::new(Progress::default()));
    let work = async {
        if args.restored {
            return replay_onto(&repository, base.clone(), &target, &replaying).await;
        }
        rewind_server(&repository, &base, &target, &options, &restoring, &replaying).await
    };
    let rewound =
        watched(work, output::is_read_by_person(), &restoring, &replaying).await.map_err(failure)?;
    let done = Done {
        backup: base.id.to_string(),
        point: point.to_string(),
        target: target.endpoint.to_string(),
        rewound,
        seconds: begun.elapsed().as_secs_f64(),
    };
    output::result(format, &done);
    Ok(Outcome::Good)
}

fn plan(base: &Base, point: &Point, target: &Target, is_restored: bool) -> Plan {
    let manifest = &base.whole.manifest;
    let (restore_seconds, replay_seconds) = estimate(base);
    Plan {
        backup: base.id.to_string(),
        snapshot_taken: manifest.snapshot_taken,
        point: format!("{point}, at {}", base.located),
        target: target.endpoint.to_string(),
        is_restored,
        tables: manifest.tables.len(),
        rows: manifest.rows(),
        backup_bytes: manifest.stored_bytes(),
        log_bytes: bytes_between(base),
        logs: base.located.log_index + 1,
        restore_seconds,
        replay_seconds,
    }
}

/// The server to be made: a socket's path, or a host and port; the login is the options'.
fn target_of(args: &RewindArgs, into: &str) -> Result<Target, Failure> {
    let mut connect = args.connect.clone();
    if into.starts_with('/') {
        connect.socket = Some(into.into());
        connect.host = None;
    } else {
        let (host, port) = match into.rsplit_once(':') {
            Some((host, port)) => (
                host,
                port.parse().map_err(|_| {
                    Failure::said(format!("`{into}` is no server"), "give a socket's path, HOST or HOST:PORT")
                })?,
            ),
            None => (into, PORT),
        };
        (connect.host, connect.port, connect.socket) = (Some(host.to_owned()), Some(port), None);
    }
    target(&connect)
}

fn failure(error: ServerRewindError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

/// Shows how far restore and replay are, until the work ends.
pub(crate) async fn watched<T>(
    work: impl Future<Output = T>,
    is_shown: bool,
    restoring: &restore::Progress,
    replaying: &Progress,
) -> T {
    let mut replay_begun: Option<(Duration, u64)> = None;
    let line = |elapsed: Duration| {
        if !is_shown {
            return None;
        }
        let replay = replaying.standing();
        if replay.bytes_total == 0 {
            let it = restoring.standing();
            let percent = (it.bytes_done * 100).checked_div(it.bytes_total).unwrap_or(0);
            return Some(format!(
                "restore, {}: {percent}% of {}, {} rows",
                it.phase,
                size(it.bytes_total),
                it.rows_done
            ));
        }
        let (begun, from) = *replay_begun.get_or_insert((elapsed, replay.bytes_read));
        let seconds = elapsed.saturating_sub(begun).as_secs();
        let rate = replay.bytes_read.saturating_sub(from).checked_div(seconds).unwrap_or(0);
        let left = replay.bytes_total.saturating_sub(replay.bytes_read).checked_div(rate);
        let left = left.map(|seconds| format!(", about {} left", age(seconds))).unwrap_or_default();
        let percent = (replay.bytes_read * 100).checked_div(replay.bytes_total).unwrap_or(100).min(100);
        Some(format!(
            "replay: {percent}% of {} of logs, {} transactions, {}/s{left}",
            size(replay.bytes_total),
            replay.transactions,
            size(rate)
        ))
    };
    output::during(work, output::PROGRESS, line).await
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "would make {} what the server was {}", self.target, self.point)?;
        if self.is_restored {
            writeln!(
                f,
                "1. it runs on {}, as of {:.0}: nothing is restored",
                self.backup, self.snapshot_taken
            )?;
        } else {
            writeln!(
                f,
                "1. restore {} ({}), as of {:.0}: {} tables, {} rows; about {}",
                self.backup,
                size(self.backup_bytes),
                self.snapshot_taken,
                self.tables,
                self.rows,
                age(self.restore_seconds)
            )?;
        }
        writeln!(
            f,
            "2. replay {} of logs ({} files) in order; about {}",
            size(self.log_bytes),
            self.logs,
            age(self.replay_seconds)
        )?;
        let state = if self.is_restored { "as it was put back, with nothing written since" } else { "empty" };
        write!(
            f,
            "The target has to be {state}; nothing is written to its binary log. Times are guesses: `mainstay backup rehearse` measures them."
        )
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.rewound;
        writeln!(f, "{} is what the server was {}", self.target, self.point)?;
        match &it.restored {
            Some(restored) => writeln!(
                f,
                "restored {}: {} tables, {} rows in {:.1} s",
                self.backup, restored.tables, restored.rows, it.restore_seconds
            )?,
            None => writeln!(f, "went on from {}, which had been restored before", self.backup)?,
        }
        let replayed = &it.replayed;
        writeln!(
            f,
            "replayed {} transactions, {} statements that commit by themselves, {} of logs in {:.1} s, to {}",
            replayed.transactions,
            replayed.ddl,
            size(replayed.bytes),
            replayed.seconds,
            replayed.reached
        )?;
        let counts = &replayed.counts;
        for (count, what) in [
            (counts.account_statements, "statements about accounts were passed over"),
            (
                counts.changes_elsewhere,
                "changes of the server's own tables, or of databases that are not in the backup, were passed over",
            ),
            (
                counts.statements_as_text,
                "changes were logged as statements: they do the same only if they are deterministic",
            ),
            (
                counts.undecided_xa,
                "XA transactions are prepared and not decided at that point: they did not happen",
            ),
        ] {
            if count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        for remark in &it.remarks {
            writeln!(f, "note: {remark}")?;
        }
        write!(f, "it has {}; took {:.1} s", replayed.gtids, self.seconds)
    }
}
