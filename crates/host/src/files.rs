//! Files: replaced as a whole or not at all, read within a limit, looked at without following links.
//!
//! A write goes to a temporary file in the same folder, is synced, and is renamed over the old file; a reader
//! sees the old content or the new one, also after a power cut. Secrets have stricter rules of their own in
//! [`crate::secrets`]. What belongs in a file is not decided here.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use facts::{FileFacts, Seen};
use rustix::fs::{Gid, OFlags, Uid};
use sha2::{Digest as _, Sha256};

use crate::users;

/// A file longer than this is not hashed: nothing Mainstay manages comes near it.
const HASHED_BYTES_MAX: usize = 64 << 20;

/// Ends the name of every temporary file, so that leftovers of a killed process are known as ours.
const TEMPORARY_SUFFIX: &str = ".mainstay-new";

/// Why a file could not be read, written or looked at.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was attempted, such as `read`.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Something that is not a regular file is in the way: a link, a folder, a device.
    #[error("`{}` is {kind}, not a regular file", path.display())]
    NotRegular {
        /// What is in the way.
        path: PathBuf,
        /// Its kind, with the article.
        kind: &'static str,
    },
    /// Longer than the limit.
    #[error("`{}` is longer than {max_bytes} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: usize,
    },
    /// Not text.
    #[error("`{}` is not UTF-8 (first wrong byte at offset {offset})", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that is wrong.
        offset: usize,
    },
    /// The host has no such user or group.
    #[error("the host has no {what} `{name}`, who is to own `{}`", path.display())]
    NoSuchOwner {
        /// The file.
        path: PathBuf,
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
}

impl FileError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Io { path, source, .. } => io_hint(path, source.kind()),
            Self::NotRegular { path, .. } => {
                format!("look with `ls -ld {0}`, move it away, and run again", path.display())
            }
            Self::TooLong { path, .. } => {
                format!("look with `ls -l {}`; is it the right file?", path.display())
            }
            Self::NotText { path, .. } => {
                format!("look with `file {}`; save it as UTF-8", path.display())
            }
            Self::NoSuchOwner { what, name, .. } => {
                format!("install the server package first, or create it: `{what}add --system {name}`")
            }
        }
    }

    /// `true` if the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn io_hint(path: &Path, kind: io::ErrorKind) -> String {
    let shown = path.display();
    if kind == io::ErrorKind::PermissionDenied {
        format!("run as root, or look with `ls -ld {shown}`")
    } else if kind == io::ErrorKind::NotFound {
        let folder = folder_of(path);
        format!("look with `ls -la {}`", folder.display())
    } else if kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded {
        format!("free some space: `df -h {0}; df -i {0}`", folder_of(path).display())
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        format!("the file system is read-only: `findmnt -T {shown}`")
    } else {
        format!("look with `ls -ld {shown}`")
    }
}

/// Who owns a file and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Permission bits.
    pub mode: u32,
    /// Owner by name or number; `None`: who runs this process.
    pub owner: Option<String>,
    /// Group by name or number; `None`: the owner's here, of who runs this process.
    pub group: Option<String>,
}

impl Ownership {
    /// This mode, owned by who runs this process.
    #[must_use]
    pub const fn mode(mode: u32) -> Self {
        Self { mode, owner: None, group: None }
    }
}

/// Replaces the file's content as a whole, or leaves everything as it was.
///
/// # Errors
/// A link or other special file is in the way, the owner does not exist, or the system refuses; the old
/// content is then untouched and no temporary file is left.
pub fn write_atomic(path: &Path, bytes: &[u8], ownership: &Ownership) -> Result<(), FileError> {
    write_through(path, bytes, ownership, |from, to| fs::rename(from, to))
}

/// [`write_atomic`], with the last act as a parameter: a rename, or a link that refuses to replace.
pub(crate) fn write_through(
    path: &Path,
    bytes: &[u8],
    ownership: &Ownership,
    publish: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), FileError> {
    refuse_special(path)?;
    let (uid, gid) = owner_ids(path, ownership)?;
    remove_leftovers(path);
    let mut temporary = Temporary::create(path, ownership.mode)?;
    temporary.file.write_all(bytes).map_err(|source| failed("write", path, source))?;
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(&temporary.file, uid, gid)
            .map_err(|errno| failed("change the owner of", path, errno.into()))?;
    }
    // The mode at creation was cut by the umask, and a change of owner may have cut it further.
    temporary
        .file
        .set_permissions(Permissions::from_mode(ownership.mode))
        .map_err(|source| failed("change the mode of", path, source))?;
    temporary.file.sync_all().map_err(|source| failed("sync", path, source))?;
    publish(&temporary.path, path).map_err(|source| failed("replace", path, source))?;
    sync_folder(path)
}

/// A temporary file beside its target, removed when dropped. After a successful rename its name is free and
/// the removal finds nothing.
struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn create(target: &Path, mode: u32) -> Result<Self, FileError> {
        let name = format!(
            "{}{}.{:016x}{TEMPORARY_SUFFIX}",
            temporary_prefix(target),
            std::process::id(),
            rand::random::<u64>()
        );
        let path = folder_of(target).join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(|source| failed("create a temporary file for", target, source))?;
        Ok(Self { file, path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove; before it, an error here has no one to go to.
        drop(fs::remove_file(&self.path));
    }
}

fn temporary_prefix(target: &Path) -> String {
    format!(".{}.", target.file_name().unwrap_or(OsStr::new("file")).to_string_lossy())
}

/// Removes temporary files for this target whose process is gone: a killed write leaves one.
fn remove_leftovers(target: &Path) {
    let prefix = temporary_prefix(target);
    let Ok(entries) = fs::read_dir(folder_of(target)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix))
            .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if let Some(pid) = pid
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Reads a regular file of at most `max_bytes`. Links are followed; pipes and devices are refused, not waited
/// for.
///
/// # Errors
/// It cannot be opened, is not a regular file, or is longer.
pub fn read_bounded(path: &Path, max_bytes: usize) -> Result<Vec<u8>, FileError> {
    let file = open_regular(path, OFlags::NONBLOCK)?;
    read_open(path, file, max_bytes)
}

/// Reads a UTF-8 file of at most `max_bytes`.
///
/// # Errors
/// As [`read_bounded`], or it is not UTF-8.
pub fn read_text(path: &Path, max_bytes: usize) -> Result<String, FileError> {
    String::from_utf8(read_bounded(path, max_bytes)?).map_err(|error| FileError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

pub(crate) fn open_regular(path: &Path, flags: OFlags) -> Result<File, FileError> {
    let bits = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(bits).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(FileError::NotRegular { path: path.to_owned(), kind: "a symbolic link" });
        }
        other => other.map_err(|source| failed("open", path, source))?,
    };
    let metadata = file.metadata().map_err(|source| failed("look at", path, source))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(FileError::NotRegular { path: path.to_owned(), kind: kind_of(metadata.file_type()) })
    }
}

pub(crate) fn read_open(path: &Path, file: File, max_bytes: usize) -> Result<Vec<u8>, FileError> {
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|source| failed("read", path, source))?;
    if bytes.len() > max_bytes {
        return Err(FileError::TooLong { path: path.to_owned(), max_bytes });
    }
    Ok(bytes)
}

/// What the file at this path is: absent when missing, unknown when it may not be looked at or is not a regular
/// file.
#[must_use]
pub fn facts(path: &Path) -> Seen<FileFacts> {
    match look(path) {
        Ok(facts) => Seen::Known(facts),
        Err(error) if error.is_missing() => Seen::Absent,
        Err(error) => Seen::Unknown(crate::reason(&error)),
    }
}

fn look(path: &Path) -> Result<FileFacts, FileError> {
    let file = open_regular(path, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    let metadata = file.metadata().map_err(|source| failed("look at", path, source))?;
    let bytes = read_open(path, file, HASHED_BYTES_MAX)?;
    Ok(FileFacts {
        sha256: sha256_hex(&bytes),
        mode: metadata.mode() & 0o7777,
        owner: users::user_name(metadata.uid()),
        group: users::group_name(metadata.gid()),
        length_bytes: metadata.len(),
    })
}

/// SHA-256 in hex, as [`FileFacts`] has it.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    encode_string(&Sha256::digest(bytes))
}

/// Makes sure that a folder exists with this ownership; folders above it are created with mode 0755.
///
/// # Errors
/// Something else is in the way, the owner does not exist, or the system refuses.
pub fn ensure_dir(path: &Path, ownership: &Ownership) -> Result<(), FileError> {
    let (uid, gid) = owner_ids(path, ownership)?;
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
    }
    match DirBuilder::new().mode(ownership.mode).create(path) {
        Ok(()) => sync_folder(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("create", path, error)),
    }
    // O_NOFOLLOW: a link put in the folder's place must not have its target's owner changed.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map_err(|errno| failed("open the folder", path, errno.into()))?;
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(&folder, uid, gid)
            .map_err(|errno| failed("change the owner of", path, errno.into()))?;
    }
    rustix::fs::fchmod(&folder, rustix::fs::Mode::from_raw_mode(ownership.mode))
        .map_err(|errno| failed("change the mode of", path, errno.into()))
}

/// Adds a line to the end of a file, made with this mode where there is none, and waits until it is on the disk.
///
/// # Errors
/// The system refuses.
pub fn append_line(path: &Path, line: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).mode(mode).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_data()
}

/// Removes a regular file (or a link, not what it points to) for good; one that is not there is no error.
///
/// # Errors
/// The system refuses, or it is a folder.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, error)),
    }
}

fn refuse_special(path: &Path) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) => {
            Err(FileError::NotRegular { path: path.to_owned(), kind: kind_of(metadata.file_type()) })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at", path, error)),
    }
}

fn kind_of(kind: fs::FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a folder"
    } else {
        "a pipe, socket or device"
    }
}

fn owner_ids(path: &Path, ownership: &Ownership) -> Result<(Option<Uid>, Option<Gid>), FileError> {
    let missing =
        |what, name: &str| FileError::NoSuchOwner { path: path.to_owned(), what, name: name.to_owned() };
    let uid = match ownership.owner.as_deref() {
        None => None,
        Some(name) => match name.parse() {
            Ok(number) => Some(Uid::from_raw(number)),
            Err(_) => Some(Uid::from_raw(users::user(name)?.ok_or_else(|| missing("user", name))?.uid)),
        },
    };
    let gid = match ownership.group.as_deref() {
        None => None,
        Some(name) => match name.parse() {
            Ok(number) => Some(Gid::from_raw(number)),
            Err(_) => Some(Gid::from_raw(users::group(name)?.ok_or_else(|| missing("group", name))?.gid)),
        },
    };
    Ok((uid, gid))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Makes a change of names in the file's folder durable.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", folder, source))
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_content_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("60-mainstay.cnf");
        write_atomic(&path, b"old", &Ownership::mode(0o600)).unwrap();
        write_atomic(&path, b"new", &Ownership::mode(0o666)).unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "new");
        let Seen::Known(facts) = facts(&path) else { panic!("the file is there") };
        assert_eq!(facts.mode, 0o666, "the umask must not cut the mode that was asked for");
        assert_eq!(facts.length_bytes, 3);
        assert_eq!(facts.sha256, "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437");
        assert_eq!(facts.owner, users::user_name(users::current_uid()));
        assert_eq!(names(folder.path()), ["60-mainstay.cnf"]);
    }

    #[test]
    fn a_rename_that_fails_leaves_the_old_content_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.cnf");
        write_atomic(&path, b"old", &Ownership::mode(0o644)).unwrap();
        let mut seen = None;
        let error = write_through(&path, b"new", &Ownership::mode(0o640), |from, _| {
            seen = Some((fs::read(from)?, fs::metadata(from)?.mode() & 0o7777));
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert_eq!(
            seen.unwrap(),
            (b"new".to_vec(), 0o640),
            "content and mode are complete before the rename"
        );
        assert!(error.to_string().contains("my.cnf"));
        assert!(error.hint().contains("df -h"), "{}", error.hint());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["my.cnf"]);
    }

    #[test]
    fn an_owner_the_host_does_not_have_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let ownership = Ownership { mode: 0o600, owner: None, group: Some("no-such-group".into()) };
        let error = write_atomic(&path, b"x", &ownership).unwrap_err();
        assert!(error.to_string().contains("no group `no-such-group`"), "{error}");
        assert!(error.hint().contains("groupadd"));
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn links_folders_and_pipes_are_not_replaced_or_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        write_atomic(&target, b"precious", &Ownership::mode(0o600)).unwrap();
        let link = folder.path().join("link");
        symlink(&target, &link).unwrap();
        let error = write_atomic(&link, b"x", &Ownership::mode(0o600)).unwrap_err();
        assert!(error.to_string().contains("a symbolic link"), "{error}");
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert!(matches!(facts(&link), Seen::Unknown(why) if why.contains("symbolic link")));
        assert!(matches!(
            write_atomic(folder.path(), b"x", &Ownership::mode(0o600)),
            Err(FileError::NotRegular { kind: "a folder", .. })
        ));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(matches!(read_bounded(&pipe, 10), Err(FileError::NotRegular { .. })));
    }

    #[test]
    fn leftovers_of_dead_processes_are_removed_and_of_living_ones_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(".my.cnf.4294967295.0000000000000001.mainstay-new");
        let living = folder.path().join(".my.cnf.1.0000000000000001.mainstay-new");
        File::create(&dead).unwrap();
        File::create(&living).unwrap();
        write_atomic(&folder.path().join("my.cnf"), b"x", &Ownership::mode(0o644)).unwrap();
        assert!(!dead.exists());
        assert!(living.exists());
    }

    #[test]
    fn reads_are_bounded_and_what_is_missing_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert!(facts(&path).is_absent());
        assert!(read_bounded(&path, 1).unwrap_err().is_missing());
        write_atomic(&path, b"1234\xff", &Ownership::mode(0o600)).unwrap();
        assert!(matches!(read_bounded(&path, 4), Err(FileError::TooLong { max_bytes: 4, .. })));
        assert_eq!(read_bounded(&path, 5).unwrap().len(), 5);
        assert!(matches!(read_text(&path, 5), Err(FileError::NotText { offset: 4, .. })));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_gets_its_mode_also_when_it_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        ensure_dir(&path, &Ownership::mode(0o755)).unwrap();
        ensure_dir(&path, &Ownership::mode(0o700)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(ensure_dir(&link, &Ownership::mode(0o777)).is_err());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    }
}
