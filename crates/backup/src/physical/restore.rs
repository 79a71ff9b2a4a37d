//! [`put_back`]: a physical backup as a data directory of a server that is not running yet. It starts no server.
//!
//! The backup streams from its place through the program that takes it apart, without a copy of its own, into a folder
//! beside the data directory, which then takes its name. See [`super::partial`] for what a kill leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dump::layout::FileName;
use dump::manifest::{Coordinates, FileRecord, FileRole, Manifest};
use flavor::Vendor;
use host::command::CommandError;
use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tokio::task::block_in_place;

use super::partial::{Site, check_tree};
use super::{programs, unpack};
use crate::restore::input::SourceFile;
use crate::restore::survey::{Folder, failed};
use crate::restore::{Progress, RestoreError};

/// Beside the files, in hundredths of them: the log that mariadb-backup applies, and what a start makes.
const ROOM_PERCENT: u64 = 110;
const ROOM_LEAST_BYTES: u64 = 128 << 20;
/// The account that packages make for their server.
const USUAL_OWNER: &str = "mysql";
/// What servers have unless told otherwise. How many undo tablespaces there are, a server finds out.
const USUAL_SETTINGS: [(&str, &str); 3] = [
    ("innodb_page_size", "16384"),
    ("innodb_data_file_path", "ibdata1:12M:autoextend"),
    ("lower_case_table_names", "0"),
];

/// A physical backup that can be read.
#[derive(Clone, Debug)]
pub struct Physical {
    /// Its manifest.
    pub manifest: Manifest,
    pub(super) record: FileRecord,
    pub(super) file: SourceFile,
}

/// Who gets the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) name: String,
}

/// Where a backup goes.
#[derive(Clone, Debug)]
pub struct PutBackOptions {
    /// The data directory: empty, or not there.
    pub datadir: PathBuf,
    /// The account that the server runs as. None: who has the folder or the one above, else `mysql`.
    pub owner: Option<String>,
    /// A directory tree that the server is in, if not this machine's own.
    pub server_root: Option<PathBuf>,
    /// Look at everything, and change nothing.
    pub dry_run: bool,
}

/// What was put back, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct PutBack {
    /// The backup.
    pub backup: String,
    /// It is a plan only.
    pub dry_run: bool,
    /// An earlier run had made the data directory; this one put it in its place.
    pub resumed: bool,
    /// The data directory.
    pub datadir: PathBuf,
    /// Whose server.
    pub vendor: Vendor,
    /// The server that the backup is of.
    pub taken_from: String,
    /// The server that is here.
    pub server: String,
    /// Who has the files.
    pub owner: String,
    /// Files.
    pub files: u64,
    /// Bytes of the files; where earlier versions did not write them down, those that are stored.
    pub bytes: u64,
    /// Reading and unpacking, in seconds.
    pub unpack_seconds: f64,
    /// Making them ready, in seconds.
    pub prepare_seconds: f64,
    /// The moment they are of.
    pub snapshot_taken: Timestamp,
    /// Where that is in the binary logs of the backup's server.
    pub coordinates: Option<Coordinates>,
    /// Variables that the server's configuration has to have, as they are not the usual ones.
    pub settings: BTreeMap<String, String>,
}

/// Why a physical backup is not put back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PhysicalError {
    /// The backup cannot be read.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The host or the folder does not fit.
    #[error("{problem}")]
    Unfit {
        /// Why.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A program fails.
    #[error("{what} failed")]
    Program {
        /// At what.
        what: &'static str,
        /// Why.
        source: CommandError,
    },
    /// A program complains.
    #[error("{what} failed: {said}")]
    Said {
        /// At what.
        what: &'static str,
        /// Its words.
        said: String,
    },
    /// The system refuses.
    #[error("cannot {what}")]
    Io {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] host::files::FileError),
    /// The file system cannot be asked.
    #[error(transparent)]
    Disk(#[from] host::disk::DiskError),
}

impl PhysicalError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Restore(error) => error.hint(),
            Self::Unfit { hint, .. } => Some(hint.clone()),
            Self::Program { source, .. } => Some(source.hint()),
            Self::Said { .. } => Some(
                "nothing was put back; see that the disk has room, and take another backup otherwise"
                    .to_owned(),
            ),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run as root, or as the account that the server runs as".to_owned())
            }
            Self::Io { .. } => Some(
                "run the same command again: what is left of this run is gone on with or removed".to_owned(),
            ),
            Self::File(error) => Some(error.hint()),
            Self::Disk(error) => Some(error.hint()),
        }
    }
}

pub(super) fn unfit(problem: impl Into<String>, hint: impl Into<String>) -> PhysicalError {
    PhysicalError::Unfit { problem: problem.into(), hint: hint.into() }
}

impl Physical {
    /// A physical backup in a folder of files.
    ///
    /// # Errors
    /// It has no manifest, or not the one file with the server's.
    pub(crate) fn of(folder: &Folder) -> Result<Self, RestoreError> {
        let lacks =
            |problem: &str| RestoreError::Differs { file: folder.name.clone(), problem: problem.to_owned() };
        let manifest = folder.manifest.clone().ok_or_else(|| lacks("has no manifest"))?;
        let record = manifest.files.iter().find(|file| file.role == FileRole::Physical).cloned();
        let record = record.ok_or_else(|| lacks("names no file with the server's files"))?;
        let stored = folder.files.iter().find(|(name, _)| *name == record.name);
        let Some((name, origin)) = stored else {
            let problem = "is in the manifest and not in the folder".to_owned();
            return Err(RestoreError::Differs { file: record.name, problem });
        };
        let parsed = FileName::parse(name)
            .ok_or_else(|| lacks("names the server's files by another name than is known"))?;
        let file =
            SourceFile::new(origin.clone(), folder.sealing_of(&parsed, name)?).map_err(failed(name))?;
        Ok(Self { manifest, record, file })
    }

    /// About the room that the files take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes(&self.manifest)
    }
}

/// About the room that a physical backup's files take, in bytes.
#[must_use]
pub fn bytes(manifest: &Manifest) -> u64 {
    manifest.physical.as_ref().map_or_else(|| manifest.stored_bytes(), |physical| physical.unpacked_bytes)
}

/// Puts a physical backup back. Needs a runtime of several threads.
///
/// # Errors
/// As [`PhysicalError`] lists. The data directory is then as it was; what could be gone on with, the next run does.
pub async fn put_back(
    physical: &Physical,
    options: &PutBackOptions,
    progress: &Arc<Progress>,
) -> Result<PutBack, PhysicalError> {
    let manifest = &physical.manifest;
    let server = programs::check(physical, options.server_root.as_deref()).await?;
    let site = block_in_place(|| Site::look(&options.datadir))?;
    if let Some(pid) = programs::server_in(&site.target) {
        let problem = format!("a server is running in {} (process {pid})", site.target.display());
        return Err(unfit(problem, "stop it first, or name another folder"));
    }
    let owner = owner(options.owner.as_deref(), &site)?;
    let mut done = PutBack {
        backup: manifest.id.clone(),
        dry_run: options.dry_run,
        resumed: false,
        datadir: site.target.clone(),
        vendor: manifest.server.vendor,
        taken_from: manifest.server.version.clone(),
        server: server.to_string(),
        owner: owner.name.clone(),
        files: 0,
        bytes: physical.bytes(),
        unpack_seconds: 0.0,
        prepare_seconds: 0.0,
        snapshot_taken: manifest.snapshot_taken,
        coordinates: manifest.coordinates.clone(),
        settings: unusual_settings(manifest),
    };
    if options.dry_run {
        site.refuse_strangers()?;
        check_room(&site, physical)?;
        return Ok(done);
    }
    let mut partial = block_in_place(|| site.begin(&physical.record.sha256))?;
    done.resumed = partial.is_ready;
    if !partial.is_ready {
        check_room(&site, physical)?;
        progress.begin("unpacking");
        progress.expect(physical.bytes(), 0);
        let begun = Instant::now();
        done.bytes = unpack::unpack(physical, &partial, progress).await?;
        done.unpack_seconds = begun.elapsed().as_secs_f64();
        progress.begin("making ready");
        // Before a program reads what is there, and what it leaves is looked at as well.
        block_in_place(|| check_tree(&partial.data()))?;
        unpack::prepare(done.vendor, &partial.data()).await?;
        done.files = block_in_place(|| check_tree(&partial.data()))?;
        block_in_place(|| partial.ready(&physical.record.sha256))?;
        done.prepare_seconds = begun.elapsed().as_secs_f64() - done.unpack_seconds;
    }
    block_in_place(|| partial.publish(&owner))?;
    Ok(done)
}

fn check_room(site: &Site, physical: &Physical) -> Result<(), PhysicalError> {
    let needed = (physical.bytes() / 100).saturating_mul(ROOM_PERCENT).saturating_add(ROOM_LEAST_BYTES);
    let free = host::disk::look(site.base())?.free_bytes;
    if free >= needed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    Err(unfit(
        format!(
            "{} has {} MiB free, and the backup needs {} MiB there",
            site.base().display(),
            mib(free),
            mib(needed)
        ),
        "make room, or name a folder of another file system",
    ))
}

fn owner(asked: Option<&str>, site: &Site) -> Result<Owner, PhysicalError> {
    let looking = |source| PhysicalError::Io { what: format!("look at {}", site.base().display()), source };
    let (uid, gid) = site.owner().map_err(looking)?;
    let named = match asked {
        Some(name) => Some(name),
        // A folder of root's says nothing: servers run as another.
        None if uid == 0 => host::users::user(USUAL_OWNER)?.map(|_| USUAL_OWNER),
        None => return checked(Owner { uid, gid, name: host::users::user_name(uid) }),
    };
    let Some(name) = named else {
        let problem = format!("this host has no user `{USUAL_OWNER}` for the server");
        return Err(unfit(problem, "name the account that the server runs as with --owner"));
    };
    match host::users::user(name)? {
        Some(user) => checked(Owner { uid: user.uid, gid: user.gid, name: user.name }),
        None => Err(unfit(format!("this host has no user `{name}`"), "name another one with --owner")),
    }
}

fn checked(owner: Owner) -> Result<Owner, PhysicalError> {
    if host::users::is_root() || owner.uid == host::users::current_uid() {
        return Ok(owner);
    }
    Err(unfit(format!("only root can give files to {}", owner.name), "run as root, or as that user"))
}

/// What the configuration has to say.
fn unusual_settings(manifest: &Manifest) -> BTreeMap<String, String> {
    let settings = manifest.physical.iter().flat_map(|physical| &physical.settings);
    let is_usual = |name: &str, value: &str| USUAL_SETTINGS.contains(&(name, value));
    let unusual = settings.filter(|(name, value)| !is_usual(name, value));
    unusual.map(|(name, value)| (name.clone(), value.clone())).collect()
}
