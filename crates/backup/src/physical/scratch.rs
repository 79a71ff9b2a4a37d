//! [`Scratch`]: folders on the server's host that a physical backup needs while it is taken, and [`sweep`], which removes
//! those of backups that were killed.
//!
//! A backup has `mainstay-ID`, which is nobody else's, and beside it `mainstay-ID-data`, which MySQL's server makes. A lock
//! in the first one is what they are known by: it is held for as long as the backup's process lives, and goes with the
//! folder, after all else. What has no such lock is never touched: a backup that was killed before it had one leaves an
//! empty folder.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::lock::ApplyLock;

use crate::create::CreateError;
use crate::repository::BackupId;

const PREFIX: &str = "mainstay-";
const LOCK: &str = "mainstay.lock";
const MODE: u32 = 0o700;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Tries to remove a folder into which a program that lost its master may still be writing.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Folders of ours that go with us.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
    _lock: ApplyLock,
}

impl Scratch {
    /// Makes the folder of the backup with this id.
    ///
    /// # Errors
    /// It is there already, or the system refuses.
    pub(super) fn new(base: &Path, id: &str) -> Result<Self, CreateError> {
        let folder = base.join(format!("{PREFIX}{id}"));
        let made = fs::DirBuilder::new().mode(MODE).create(&folder);
        made.map_err(|source| CreateError::File { what: format!("make {}", folder.display()), source })?;
        let lock = ApplyLock::acquire(&folder.join(LOCK), Duration::ZERO).map_err(|error| {
            CreateError::File { what: format!("lock {}", folder.display()), source: io::Error::other(error) }
        })?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder itself, for files of programs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where MySQL's server is to put its copy. It may run as another user; nobody but it and root sees into it.
    pub(super) fn copy(&self) -> PathBuf {
        copy_of(&self.folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            tracing::warn!(%error, path = %self.folder.display(), "a scratch folder is left behind");
        }
    }
}

fn copy_of(folder: &Path) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push("-data");
    path.into()
}

/// The server's copy, and then the folder with the lock: by it, what could not be removed is found again.
fn remove(folder: &Path) -> io::Result<()> {
    remove_folder(&copy_of(folder))?;
    remove_folder(folder)
}

/// Removes a folder with all that is in it; one that is not there is none already.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

/// Removes what backups that were killed have left in a folder, and says so. What cannot be removed is named.
pub(super) fn sweep(base: &Path) {
    // A folder that cannot be listed cannot be written into either, which is told then.
    for entry in fs::read_dir(base).into_iter().flatten().take(ENTRIES_MAX).flatten() {
        let folder = entry.path();
        if !is_ours(&entry) {
            continue;
        }
        // Held: its backup is being taken.
        let Ok(_lock) = ApplyLock::acquire(&folder.join(LOCK), Duration::ZERO) else { continue };
        match remove(&folder) {
            Ok(()) => {
                tracing::warn!(path = %folder.display(), "removed what a backup that was killed had left");
            }
            Err(error) => {
                tracing::warn!(%error, path = %folder.display(), "what a backup that was killed has left stays");
            }
        }
    }
}

/// A folder of this user's, seen by nobody else, with the name of a backup and a lock in it.
fn is_ours(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    let is_folder = |seen: &fs::Metadata| {
        seen.is_dir() && seen.uid() == host::users::current_uid() && seen.mode() & 0o7777 == MODE
    };
    id.is_some_and(|id| id.parse::<BackupId>().is_ok())
        // Of the entry itself, not of what a link leads to.
        && entry.metadata().is_ok_and(|seen| is_folder(&seen))
        && fs::symlink_metadata(entry.path().join(LOCK)).is_ok_and(|lock| lock.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const ID: &str = "20261121T173000Z-cloud";

    fn write(path: &Path) {
        host::files::write_atomic(path, b"it", &host::files::Ownership::mode(0o600)).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// As a backup that was killed leaves it.
    fn killed(base: &Path, id: &str) {
        let folder = base.join(format!("{PREFIX}{id}"));
        fs::DirBuilder::new().mode(MODE).create(&folder).unwrap();
        write(&folder.join(LOCK));
        write(&folder.join("login.cnf"));
        fs::create_dir_all(copy_of(&folder).join("shop")).unwrap();
        write(&copy_of(&folder).join("shop/t.ibd"));
    }

    #[test]
    fn what_was_killed_is_removed_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        killed(base, ID);
        killed(base, "20261121T173001Z-cloud");
        let living = Scratch::new(base, "20261121T173002Z-cloud").unwrap();
        fs::create_dir(living.copy()).unwrap();
        // Like ours, but without a lock, a backup's name, its own mode, or a folder.
        fs::DirBuilder::new().mode(MODE).create(base.join("mainstay-20261121T173003Z-cloud")).unwrap();
        killed(base, "mine");
        killed(base, "20261121T173004Z-cloud");
        let open = base.join("mainstay-20261121T173004Z-cloud");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&open, base.join("mainstay-20261121T173005Z-cloud")).unwrap();
        write(&base.join("mainstay-20261121T173006Z-cloud"));
        let all = names(base);
        sweep(base);
        let gone: Vec<String> = all.into_iter().filter(|name| !base.join(name).exists()).collect();
        let ours =
            [ID, "20261121T173001Z-cloud"].map(|id| [format!("{PREFIX}{id}"), format!("{PREFIX}{id}-data")]);
        assert_eq!(gone, ours.concat());
        drop(living);
        assert!(!names(base).iter().any(|name| name.contains("173002Z")), "{:?}", names(base));
        sweep(&base.join("absent"));
    }

    #[test]
    fn a_copy_that_is_a_link_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        killed(base, ID);
        let copy = base.join(format!("{PREFIX}{ID}-data"));
        fs::remove_dir_all(&copy).unwrap();
        fs::create_dir(base.join("precious")).unwrap();
        write(&base.join("precious/data"));
        symlink(base.join("precious"), &copy).unwrap();
        sweep(base);
        assert!(base.join("precious/data").exists());
    }

    #[test]
    fn nothing_is_taken_over() {
        let base = tempfile::tempdir().unwrap();
        killed(base.path(), ID);
        assert!(matches!(Scratch::new(base.path(), ID), Err(CreateError::File { .. })));
        assert!(base.path().join(format!("{PREFIX}{ID}/login.cnf")).exists());
    }
}
