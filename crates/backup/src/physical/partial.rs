//! [`Site`] and [`Partial`]: where a data directory is to be, and the folder beside it in which it is made.
//!
//! A data directory appears by one rename, so that a kill leaves it whole or absent. Where it is a mount point, which
//! cannot be renamed, the folder is inside, and entries move up one by one: from then on a further run goes on with that,
//! and a server finds no system tables before the last of them. Nothing is ever removed but such folders of ours.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::files::Ownership;
use host::lock::{ApplyLock, LockError};

use super::restore::{Owner, PhysicalError, unfit};
use super::scratch::remove_folder;

/// Of the names of our folders, before 16 hexadecimal digits.
const MARK: &str = ".mainstay-partial-";
/// Belongs to the file system and not to the data.
const OF_THE_FILE_SYSTEM: &str = "lost+found";
/// Without these a server does not start: they come last.
const LAST: [&str; 2] = ["mysql", "mysql.ibd"];
/// Of what is in the way, so many are named.
const SHOWN: usize = 5;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 1_000_000;
const DATA_MODE: u32 = 0o750;
/// The sum in the note of a folder that is whole.
const NOTE_BYTES_MAX: usize = 256;

/// Where a data directory is to be.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Its path, without links.
    pub(super) target: PathBuf,
    is_there: bool,
    /// It is a mount point: it is made within.
    is_inside: bool,
    /// Folders of earlier runs.
    leftovers: Vec<PathBuf>,
    /// What is in the target, the first of it by name.
    strangers: Vec<String>,
}

impl Site {
    /// Looks at the place of a data directory.
    ///
    /// # Errors
    /// It is no folder, or what is above it is not there.
    pub(super) fn look(datadir: &Path) -> Result<Self, PhysicalError> {
        let looking = || io_error(format!("look at {}", datadir.display()));
        let path = std::path::absolute(datadir).map_err(looking())?;
        let is_there = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => true,
            Ok(_) => return Err(unfit(format!("{} is not a folder", path.display()), "name another one")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(looking()(error)),
        };
        let target = if is_there {
            path.canonicalize().map_err(looking())?
        } else {
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(unfit(format!("{} cannot be made", path.display()), "name another folder"));
            };
            above.canonicalize().map_err(looking())?.join(name)
        };
        let is_inside = is_there && host::disk::is_mount_point(&target);
        Self::at(target, is_there, is_inside)
    }

    fn at(target: PathBuf, is_there: bool, is_inside: bool) -> Result<Self, PhysicalError> {
        let mut site = Self { target, is_there, is_inside, leftovers: Vec::new(), strangers: Vec::new() };
        let prefix = site.prefix();
        let is_ours = |name: &str| {
            let digits = name.strip_prefix(&prefix).unwrap_or_default();
            digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        for name in names(site.base())? {
            let path = site.base().join(&name);
            if is_ours(&name) && fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
                site.leftovers.push(path);
            } else if site.is_inside && name != OF_THE_FILE_SYSTEM {
                site.strangers.push(name);
            }
        }
        if site.is_there && !site.is_inside {
            site.strangers = names(&site.target)?;
        }
        Ok(site)
    }

    /// The folder that ours is in.
    pub(super) fn base(&self) -> &Path {
        if self.is_inside { &self.target } else { self.target.parent().unwrap_or(Path::new("/")) }
    }

    fn prefix(&self) -> String {
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        if self.is_inside { MARK.to_owned() } else { format!("{name}{MARK}") }
    }

    /// Who has the folder, or the one above it.
    pub(super) fn owner(&self) -> io::Result<(u32, u32)> {
        let seen = fs::metadata(if self.is_there { &self.target } else { self.base() })?;
        Ok((seen.uid(), seen.gid()))
    }

    /// Refuses a folder with something in it.
    pub(super) fn refuse_strangers(&self) -> Result<(), PhysicalError> {
        if self.strangers.is_empty() {
            return Ok(());
        }
        let mut names: Vec<&str> = self.strangers.iter().take(SHOWN).map(String::as_str).collect();
        if self.strangers.len() > SHOWN {
            names.push("...");
        }
        Err(unfit(
            format!("{} is not empty: it has {}", self.target.display(), names.join(", ")),
            "name an empty folder or none yet; move away what is there, as nothing is ever overwritten",
        ))
    }

    /// The folder of an earlier run that only has to be put in place, or a new one. Other leftovers are removed.
    ///
    /// # Errors
    /// Another run is at it, something is in the target, or the system refuses.
    pub(super) fn begin(&self, sum: &str) -> Result<Partial, PhysicalError> {
        let mut whole = None;
        let mut spent = Vec::new();
        for folder in &self.leftovers {
            let mut partial = Partial::lock(folder.clone(), self)?;
            let noted = partial.noted();
            // One that is whole may be half in its place: it does not go by itself.
            partial.is_ready = noted.is_some() && partial.data().is_dir();
            if whole.is_none() && partial.is_ready && noted.as_deref() == Some(sum) {
                whole = Some(partial);
            } else {
                spent.push(partial);
            }
        }
        if whole.is_none() || !self.is_inside {
            self.refuse_strangers()?;
        }
        for partial in spent {
            remove(&partial.folder)?;
        }
        if let Some(whole) = whole {
            return Ok(whole);
        }
        let random = RandomState::new().build_hasher().finish();
        let folder = self.base().join(format!("{}{random:016x}", self.prefix()));
        make(&folder, 0o700)?;
        let partial = Partial::lock(folder, self)?;
        make(&partial.data(), 0o700)?;
        Ok(partial)
    }
}

/// A folder in which a data directory is made. It is gone when this is dropped before all is in it.
#[derive(Debug)]
pub(super) struct Partial {
    folder: PathBuf,
    site: Site,
    /// The data directory is made, and is only to be put in place.
    pub(super) is_ready: bool,
    _lock: ApplyLock,
}

impl Partial {
    fn lock(folder: PathBuf, site: &Site) -> Result<Self, PhysicalError> {
        match ApplyLock::acquire(&folder.join("lock"), Duration::ZERO) {
            Ok(lock) => Ok(Self { folder, site: site.clone(), is_ready: false, _lock: lock }),
            Err(error @ LockError::Held { .. }) => {
                let problem = format!("another restore into {} is under way: {error}", site.target.display());
                Err(unfit(problem, error.hint()))
            }
            Err(LockError::Io { path, source }) => Err(io_error(format!("lock {}", path.display()))(source)),
        }
    }

    /// The data directory to be.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where programs say what they have to say.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn noted(&self) -> Option<String> {
        host::files::read_text(&self.folder.join("ready"), NOTE_BYTES_MAX).ok()
    }

    /// Makes all of it durable, and notes that it is whole: from now on a run that is killed is gone on with.
    pub(super) fn ready(&mut self, sum: &str) -> Result<(), PhysicalError> {
        let syncing = || io_error(format!("write {} to the disk", self.data().display()));
        let folder = File::open(self.data()).map_err(syncing())?;
        rustix::fs::syncfs(&folder).map_err(|errno| syncing()(errno.into()))?;
        host::files::write_atomic(&self.folder.join("ready"), sum.as_bytes(), &Ownership::mode(0o600))?;
        self.is_ready = true;
        Ok(())
    }

    /// Gives the data directory to its owner, and puts it in its place.
    pub(super) fn publish(self, owner: &Owner) -> Result<(), PhysicalError> {
        let (data, target) = (self.data(), self.site.target.clone());
        each(&data, &mut |path, _| own(path, owner))?;
        let mode = fs::metadata(&target).map_or(DATA_MODE, |seen| seen.mode() & 0o777);
        if self.site.is_inside {
            self.move_entries(&data, &target)?;
            own(&target, owner)?;
        } else {
            set_mode(&data, mode)?;
            own(&data, owner)?;
            let putting = io_error(format!("put the data directory in its place, {}", target.display()));
            fs::rename(&data, &target).map_err(putting)?;
        }
        sync(self.site.base())?;
        remove(&self.folder)
    }

    fn move_entries(&self, data: &Path, target: &Path) -> Result<(), PhysicalError> {
        let mut entries = names(data)?;
        entries.sort_by_key(|name| LAST.contains(&name.as_str()));
        for name in entries {
            let to = target.join(&name);
            if fs::symlink_metadata(&to).is_ok() {
                let problem = format!("{} is in the way", to.display());
                return Err(unfit(problem, "move it away and run the same again: it goes on"));
            }
            if LAST.contains(&name.as_str()) {
                sync(target)?;
            }
            fs::rename(data.join(&name), &to)
                .map_err(io_error(format!("put {} in its place", to.display())))?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_ready
            && self.folder.exists()
            && let Err(error) = remove(&self.folder)
        {
            tracing::warn!(%error, "an unfinished copy is left; the next restore removes it");
        }
    }
}

/// Refuses what no data directory has, which could lead out of it.
pub(super) fn check_tree(data: &Path) -> Result<u64, PhysicalError> {
    let mut files = 0;
    each(data, &mut |path, seen| {
        let shown = path.strip_prefix(data).unwrap_or(path).display();
        let is_plain = seen.is_file() && seen.nlink() == 1;
        if !seen.is_dir() && !is_plain {
            let problem = format!("the backup has {shown}, which is no plain file");
            return Err(unfit(
                problem,
                "take another backup: this one was not made by `mainstay backup create`",
            ));
        }
        if path.extension().is_some_and(|it| it == "isl") {
            let problem =
                format!("the backup has a table outside the data directory (DATA DIRECTORY): {shown}");
            return Err(unfit(problem, "put it back by hand, with `mariadb-backup --copy-back`"));
        }
        files += u64::from(is_plain);
        Ok(())
    })?;
    Ok(files)
}

/// Visits everything in a folder, not the folder itself.
fn each(
    folder: &Path,
    see: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<(), PhysicalError>,
) -> Result<(), PhysicalError> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let looking = || io_error(format!("look into {}", folder.display()));
        for entry in fs::read_dir(&folder).map_err(looking())? {
            let path = entry.map_err(looking())?.path();
            let seen = fs::symlink_metadata(&path).map_err(looking())?;
            see(&path, &seen)?;
            if seen.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

fn own(path: &Path, owner: &Owner) -> Result<(), PhysicalError> {
    if !host::users::is_root() {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid)).map_err(io_error(format!(
        "give {} to {}",
        path.display(),
        owner.name
    )))
}

fn names(folder: &Path) -> Result<Vec<String>, PhysicalError> {
    let looking = || io_error(format!("look into {}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(looking())?.take(ENTRIES_MAX) {
        names.push(entry.map_err(looking())?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn make(folder: &Path, mode: u32) -> Result<(), PhysicalError> {
    DirBuilder::new().mode(mode).create(folder).map_err(io_error(format!("make {}", folder.display())))
}

fn set_mode(folder: &Path, mode: u32) -> Result<(), PhysicalError> {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(folder, mode).map_err(io_error(format!("set the mode of {}", folder.display())))
}

fn sync(folder: &Path) -> Result<(), PhysicalError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(format!("write {} to the disk", folder.display())))
}

fn remove(folder: &Path) -> Result<(), PhysicalError> {
    remove_folder(folder).map_err(io_error(format!("remove {}", folder.display())))
}

fn io_error(what: String) -> impl FnOnce(io::Error) -> PhysicalError {
    move |source| PhysicalError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        let seen = fs::metadata(".").unwrap();
        Owner { uid: seen.uid(), gid: seen.gid(), name: "me".to_owned() }
    }

    fn write(path: &Path, text: &str) {
        host::files::write_atomic(path, text.as_bytes(), &Ownership::mode(0o600)).unwrap();
    }

    fn fill(partial: &Partial) {
        fs::create_dir(partial.data().join("mysql")).unwrap();
        write(&partial.data().join("ibdata1"), "data");
        write(&partial.data().join("mysql/user"), "data");
    }

    /// A folder that a data directory is to be in, as a mount point or not.
    fn site(folder: &Path, is_inside: bool) -> Site {
        Site::at(folder.join("data"), is_inside, is_inside).unwrap()
    }

    fn folder(is_inside: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        if is_inside {
            fs::create_dir_all(folder.path().join("data").join(OF_THE_FILE_SYSTEM)).unwrap();
        }
        folder
    }

    #[test]
    fn a_data_directory_is_there_whole_or_not_at_all() {
        for is_inside in [false, true] {
            let folder = folder(is_inside);
            let data = folder.path().join("data");
            let mut partial = site(folder.path(), is_inside).begin("sum").unwrap();
            fill(&partial);
            assert!(!data.join("ibdata1").exists());
            partial.ready("sum").unwrap();
            partial.publish(&owner()).unwrap();
            assert_eq!(fs::read_to_string(data.join("ibdata1")).unwrap(), "data");
            assert!(data.join("mysql/user").exists());
            let left = site(folder.path(), is_inside).leftovers;
            assert!(left.is_empty(), "{left:?}");
            assert!(site(folder.path(), true).refuse_strangers().is_err());
        }
    }

    #[test]
    fn what_was_not_made_whole_is_removed_and_what_was_is_gone_on_with() {
        for is_inside in [false, true] {
            let folder = folder(is_inside);
            let begun = || site(folder.path(), is_inside).begin("sum");
            let partial = begun().unwrap();
            fill(&partial);
            let busy = begun().unwrap_err();
            assert!(busy.to_string().contains("is under way"), "{busy}");
            drop(partial);
            assert!(site(folder.path(), is_inside).leftovers.is_empty());
            // As a kill leaves it: unfinished, then whole.
            let partial = begun().unwrap();
            let (kept, aside) = (partial.folder.clone(), folder.path().join("aside"));
            fill(&partial);
            fs::rename(&kept, &aside).unwrap();
            drop(partial);
            fs::rename(&aside, &kept).unwrap();
            let mut partial = begun().unwrap();
            assert!(!kept.exists() && !partial.is_ready);
            fill(&partial);
            partial.ready("sum").unwrap();
            drop(partial);
            let partial = begun().unwrap();
            assert!(partial.is_ready);
            drop(partial);
            // Of another backup it is no use.
            let partial = site(folder.path(), is_inside).begin("another sum").unwrap();
            assert!(!partial.is_ready && names(&partial.data()).unwrap().is_empty());
        }
    }

    #[test]
    fn on_a_mount_point_a_move_that_stops_half_way_goes_on() {
        let folder = folder(true);
        let data = folder.path().join("data");
        let mut partial = site(folder.path(), true).begin("sum").unwrap();
        fill(&partial);
        partial.ready("sum").unwrap();
        write(&data.join("mysql"), "in the way");
        let error = partial.publish(&owner()).unwrap_err();
        assert!(error.to_string().contains("mysql is in the way"), "{error}");
        // All but what a server needs to start.
        assert!(data.join("ibdata1").exists() && data.join("mysql").is_file());
        let other = site(folder.path(), true).begin("another sum").unwrap_err();
        assert!(other.to_string().contains("is not empty"), "{other}");
        fs::remove_file(data.join("mysql")).unwrap();
        let partial = site(folder.path(), true).begin("sum").unwrap();
        assert!(partial.is_ready);
        partial.publish(&owner()).unwrap();
        assert!(data.join("mysql/user").exists() && site(folder.path(), true).leftovers.is_empty());
    }

    #[test]
    fn what_leads_out_of_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || check_tree(folder.path()).unwrap_err().to_string();
        write(&folder.path().join("plain"), "x");
        assert_eq!(check_tree(folder.path()).unwrap(), 1);
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        assert!(refused().contains("has link, which is no plain file"), "{}", refused());
        fs::remove_file(folder.path().join("link")).unwrap();
        fs::hard_link(folder.path().join("plain"), folder.path().join("again")).unwrap();
        assert!(refused().contains("which is no plain file"));
        fs::remove_file(folder.path().join("again")).unwrap();
        write(&folder.path().join("t.isl"), "/elsewhere");
        assert!(refused().contains("DATA DIRECTORY"));
    }
}
