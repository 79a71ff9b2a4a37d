//! `mainstay backup rehearse`: a recovery on trial, in a throwaway server that is removed whatever happens.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backup::physical;
use backup::physical::restore::{PhysicalError, PutBack, PutBackOptions, put_back};
use backup::rehearse::{RehearseError, Rehearsed, Watched, blame, choose, rehearse, rehearse_physical};
use backup::replay::ServerRewindOptions;
use backup::repository::{BackupId, Repository, Whole};
use backup::restore::Source;
use dump::fix::Fix;
use dump::manifest::BackupKind;
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
    remove_leftovers(&lab).await?;
    let trial = Trial { repository: &repository, id: &id, whole: whole.as_ref(), lab: &lab, args };
    let stop = host::supervise::stop_signal()?;
    let watching = Watched::default();
    let rehearsed = {
        let work = async {
            match whole.manifest.kind {
                BackupKind::Logical => trial.logical(&options, &watching).await,
                BackupKind::Physical => trial.physical(&watching).await,
            }
        };
        let work = watched(work, args.progress, &watching.restoring, &watching.replaying);
        tokio::select! {
            rehearsed = work => rehearsed,
            () = stop => Err(Failure::said("the rehearsal was stopped", "nothing is left of it; run it again")),
        }
    };
    remove_leftovers(&lab).await?;
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
    let manifest = &whole.manifest;
    let (of, needed) = match manifest.kind {
        BackupKind::Logical => {
            let rows_bytes: u64 = manifest.tables.iter().map(|table| table.sql_bytes).sum();
            (format!("{} of rows", size(rows_bytes)), rows_bytes.saturating_mul(DISK_FACTOR))
        }
        BackupKind::Physical => {
            let bytes = physical::restore::bytes(manifest);
            (format!("{} of files", size(bytes)), bytes.saturating_add(bytes / 4))
        }
    };
    let needed = needed.saturating_add(DISK_LEAST_BYTES);
    let free = host::disk::look(lab.root())?.free_bytes;
    if free >= needed {
        return Ok(());
    }
    let sentence = format!(
        "a rehearsal of {of} needs about {} in {}, which has {} free",
        size(needed),
        lab.root().display(),
        size(free)
    );
    Err(Failure::said(sentence, "name another folder with --work-dir"))
}

/// Removes the throwaway server and its files: this rehearsal's, or those of one that was killed. Whoever runs this
/// holds the lock.
async fn remove_leftovers(lab: &Lab) -> Result<(), Failure> {
    match lab.down(NAME).await {
        Ok(()) | Err(LabError::NoCluster { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let data = data_folder(lab);
    match std::fs::remove_dir_all(&data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::said(
            format!("{} cannot be removed: {error}", data.display()),
            "remove it, and run again",
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where a physical backup is put back before a server starts on it.
fn data_folder(lab: &Lab) -> PathBuf {
    lab.root().join("rehearsal-data")
}

/// A backup on trial.
struct Trial<'a> {
    repository: &'a Repository,
    id: &'a BackupId,
    whole: &'a Whole,
    lab: &'a Lab,
    args: &'a RehearseArgs,
}

impl Trial<'_> {
    async fn logical(&self, options: &ServerRewindOptions, watching: &Watched) -> Result<Rehearsed, Failure> {
        let throwaway = Throwaway::up(self, None).await?;
        let backup = (self.id, self.whole);
        rehearse(self.repository, backup, &throwaway.target, options, watching).await.map_err(failure)
    }

    async fn physical(&self, watching: &Watched) -> Result<Rehearsed, Failure> {
        let begun = Instant::now();
        let datadir = data_folder(self.lab);
        let put_back = self.put_back(&datadir, watching).await;
        let put_back = match put_back {
            Ok(put_back) => put_back,
            Err(error) => {
                if let RehearseError::Physical(PhysicalError::Restore(error)) = &error {
                    blame(self.repository, self.id, error).await.map_err(failure)?;
                }
                return Err(failure(error));
            }
        };
        let throwaway = Throwaway::up(self, Some(datadir)).await?;
        let started = (&put_back, begun.elapsed().as_secs_f64());
        rehearse_physical(self.repository, (self.id, self.whole), &throwaway.target, started, watching)
            .await
            .map_err(failure)
    }

    async fn put_back(&self, datadir: &Path, watching: &Watched) -> Result<PutBack, RehearseError> {
        let place = self.repository.place().clone();
        let physical =
            Source::in_place(place, self.id.as_str(), self.repository.identities()).await?.physical()?;
        let options = PutBackOptions {
            datadir: datadir.to_owned(),
            // The throwaway server runs as who rehearses.
            owner: Some(host::users::user_name(host::users::current_uid())),
            server_root: self.args.server_root.clone(),
            dry_run: false,
        };
        Ok(put_back(&physical, &options, &watching.restoring).await?)
    }
}

/// A server that is removed when this is dropped, too.
struct Throwaway {
    folder: PathBuf,
    target: server::Target,
}

impl Throwaway {
    /// Starts one, empty or on a physical backup's files.
    async fn up(trial: &Trial<'_>, datadir: Option<PathBuf>) -> Result<Self, Failure> {
        let record = &trial.whole.manifest.server;
        let mut options = UpOptions::new(NAME, Topology::Single, record.vendor);
        options.server_root.clone_from(&trial.args.server_root);
        options.memory_bytes = trial.args.memory_mib << 20;
        options.extra_config = [
            "skip-networking = ON",
            "event-scheduler = OFF",
            "local-infile = ON",
            "max-allowed-packet = 1G",
            "skip-log-bin",
        ]
        .map(str::to_owned)
        .into();
        if datadir.is_some() {
            // The accounts are the original's, and nothing is known of their passwords. Nobody but this user reaches the
            // socket, there is no network, and plugins that the original loads (audits, password checks) stay out.
            options.extra_config.push("skip-grant-tables = ON".to_owned());
            let settings = trial.whole.manifest.physical.iter().flat_map(|physical| &physical.settings);
            options.extra_config.extend(settings.map(|(name, value)| format!("{name} = {value}")));
        } else if record.lower_case_table_names == 1 && record.vendor == flavor::Vendor::MariaDb {
            options.extra_config.push("lower-case-table-names = 1".to_owned());
        }
        options.datadir = datadir;
        let cluster = trial.lab.up(&options).await?;
        let target = match cluster.nodes.first() {
            Some(node) => node.root_target(),
            None => return Err(Failure::said("the throwaway server has no node", "run it again")),
        };
        Ok(Self { folder: cluster.folder, target })
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // Files that a panic leaves are removed by the next rehearsal.
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
        match it.kind {
            BackupKind::Logical => writeln!(
                f,
                "restored {} tables with {} rows in {:.1} s; the rows of {} are what the manifest says",
                it.tables, it.rows, it.phases.restore_seconds, it.tables_verified
            )?,
            BackupKind::Physical => writeln!(
                f,
                "put back the server's files ({}, {} tables) and started a server on them in {:.1} s; the checksum is the manifest's",
                size(it.files_bytes),
                it.tables,
                it.phases.restore_seconds
            )?,
        }
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
