//! `mainstay backup rehearse`: a recovery on trial, in a throwaway server that is removed whatever happens.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use backup::rehearse::{RehearseError, Rehearsed, Watched, choose, rehearse};
use backup::replay::ServerRewindOptions;
use backup::repository::{BackupId, Repository, Whole};
use dump::fix::Fix;
use host::lock::ApplyLock;
use lab::{Lab, LabError, Topology, UpOptions};
use serde::Serialize;
use server::{ServerProcess, Signal};

use crate::cli::RehearseArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{age, open, size};
use crate::verbs::restore::threads;
use crate::verbs::rewind_server::watched;

/// Name of the throwaway cluster: one rehearsal at a time in a folder.
const NAME: &str = "rehearsal";
/// A restored database takes this many times the text of its rows, keys and logs included.
const DISK_FACTOR: u64 = 3;
/// A server without data.
const DISK_LEAST_BYTES: u64 = 512 << 20;

#[derive(Serialize)]
#[serde(transparent)]
struct Report(Rehearsed);

pub(crate) async fn run(format: Format, args: &RehearseArgs) -> Verb {
    let kept = open(&args.kept)?;
    let repository =
        Repository::new(kept.place.clone()).with_identities(kept.identities(args.identity_file.as_deref())?);
    let (id, whole) = choose(&repository, args.backup.as_ref()).await.map_err(failure)?;
    let options = ServerRewindOptions {
        threads: threads(args.threads),
        with_binlog: false,
        with_sums: true,
        // Accounts are not restored, so their objects need others; everything else is of the same vendor.
        fixes: BTreeSet::from(Fix::ALL),
    };
    let root = match &args.work_dir {
        Some(folder) => folder.clone(),
        None => lab::default_root()?,
    };
    let lab = Lab::open(root)?;
    let _lock = ApplyLock::acquire(&lab.root().join("rehearsal.lock"), Duration::ZERO).map_err(|error| {
        let hint = error.hint();
        Failure::new(error, hint)
    })?;
    check_disk(&lab, &whole)?;
    let throwaway = Throwaway::up(lab, args, &whole).await?;
    let stop = host::supervise::stop_signal()?;
    let watching = Watched::default();
    let rehearsed = {
        let target = throwaway.target.clone();
        let work = rehearse(&repository, (&id, whole.as_ref()), &target, &options, &watching);
        let work = watched(work, args.progress, &watching.restoring, &watching.replaying);
        tokio::select! {
            rehearsed = work => rehearsed.map_err(failure),
            () = stop => Err(Failure::said("the rehearsal was stopped", "nothing is left of it; run it again")),
        }
    };
    throwaway.down().await?;
    let rehearsed = rehearsed.map_err(|failed| unproven(failed, &id))?;
    let outcome = if rehearsed.problems.is_empty() { Outcome::Good } else { Outcome::Differs };
    output::result(format, &Report(rehearsed));
    Ok(outcome)
}

fn unproven(failed: Failure, id: &BackupId) -> Failure {
    output::message(&format!("{id} is not verified"));
    failed
}

fn failure(error: RehearseError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

fn check_disk(lab: &Lab, whole: &Whole) -> Result<(), Failure> {
    let rows_bytes: u64 = whole.manifest.tables.iter().map(|table| table.sql_bytes).sum();
    let needed = rows_bytes.saturating_mul(DISK_FACTOR).saturating_add(DISK_LEAST_BYTES);
    let free = host::disk::look(lab.root())?.free_bytes;
    if free >= needed {
        return Ok(());
    }
    let sentence = format!(
        "a rehearsal of {} of rows needs about {} in {}, which has {} free",
        size(rows_bytes),
        size(needed),
        lab.root().display(),
        size(free)
    );
    Err(Failure::said(sentence, "name another folder with --work-dir"))
}

/// A server that is removed when this is dropped, too.
struct Throwaway {
    lab: Lab,
    folder: PathBuf,
    target: server::Target,
}

impl Throwaway {
    async fn up(lab: Lab, args: &RehearseArgs, whole: &Whole) -> Result<Self, Failure> {
        // Whoever held the lock before and was killed has left its server behind.
        match lab.down(NAME).await {
            Ok(()) => tracing::warn!("removed what an earlier rehearsal had left behind"),
            Err(LabError::NoCluster { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut options = UpOptions::new(NAME, Topology::Single, whole.manifest.server.vendor);
        options.server_root.clone_from(&args.server_root);
        options.memory_bytes = args.memory_mib << 20;
        let folds = whole.manifest.server.lower_case_table_names;
        options.extra_config = [
            "skip-networking = ON",
            "event-scheduler = OFF",
            "local-infile = ON",
            "max-allowed-packet = 1G",
            "skip-log-bin",
        ]
        .map(str::to_owned)
        .into();
        if folds == 1 && whole.manifest.server.vendor == flavor::Vendor::MariaDb {
            options.extra_config.push("lower-case-table-names = 1".to_owned());
        }
        let cluster = lab.up(&options).await?;
        let target = match cluster.nodes.first() {
            Some(node) => node.root_target(),
            None => return Err(Failure::said("the throwaway server has no node", "run it again")),
        };
        Ok(Self { lab, folder: cluster.folder, target })
    }

    async fn down(self) -> Result<(), Failure> {
        self.lab.down(NAME).await?;
        Ok(())
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // After `down` there is none; files that a panic leaves are removed by the next rehearsal.
        for process in ServerProcess::find_all(&self.folder).unwrap_or_default() {
            if let Err(error) = process.signal(Signal::KILL) {
                tracing::warn!(pid = process.pid, %error, "the throwaway server stays");
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.0;
        writeln!(f, "backup {}, as of {:.0}", it.backup, it.snapshot_taken)?;
        writeln!(
            f,
            "restored {} tables with {} rows in {:.1} s; the rows of {} are what the manifest says",
            it.tables, it.rows, it.phases.restore_seconds, it.tables_verified
        )?;
        match &it.replayed {
            Some(replayed) => writeln!(
                f,
                "replayed {} transactions ({} of logs) in {:.1} s, to {}",
                replayed.transactions,
                size(replayed.bytes),
                it.phases.replay_seconds,
                replayed.reached
            )?,
            None => writeln!(f, "replayed nothing: no archive leads on from it")?,
        }
        writeln!(f, "checked {} tables in {:.1} s", it.tables_checked, it.phases.check_seconds)?;
        writeln!(f, "recovery time: {:.1} s", it.phases.recovery_seconds)?;
        let (behind, at) = (age(it.recovery_point.behind_seconds), it.recovery_point.at);
        writeln!(
            f,
            "recovery point: {behind} ago, {at:.0} (the last change in the {})",
            it.recovery_point.of
        )?;
        for problem in &it.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        write!(f, "{}", if it.verified { "verified" } else { "NOT verified" })
    }
}
