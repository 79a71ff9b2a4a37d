//! The lock that keeps two runs of Mainstay from changing one host at once.
//!
//! It is a `flock` on a file that also says who holds it. The kernel gives the lock back when the holder ends,
//! however it ends, so there is no stale lock; the file itself stays.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::process::ProcessId;

/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Longest text a holder leaves.
const HOLDER_BYTES_MAX: u64 = 4096;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub process: ProcessId,
    /// What it does, in its own words.
    pub command: String,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else holds it.
    #[error("{} holds the lock `{}`", describe(holder.as_ref()), path.display())]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who, if it has said so.
        holder: Option<Holder>,
    },
    /// The file cannot be used.
    #[error("cannot use the lock `{}`", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "another process".to_owned(),
        |holder| format!("process {} (`{}`)", holder.process.pid, holder.command),
    )
}

impl LockError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Held { holder: Some(holder), .. } => {
                format!("wait for it to end, or look with `ps -fp {}`", holder.process.pid)
            }
            Self::Held { path, holder: None } => format!("look with `fuser -v {}`", path.display()),
            Self::Io { path, .. } => format!("run as root, or look with `ls -ld {}`", path.display()),
        }
    }
}

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct ApplyLock {
    // Closing the file gives the lock back.
    _file: File,
}

impl ApplyLock {
    /// Takes the lock, trying for at most `wait`. Blocks the calling thread for so long.
    ///
    /// # Errors
    /// Someone else holds it, or the file cannot be used.
    pub fn acquire(path: &Path, wait: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + wait;
        let used = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = open(path, true).map_err(used)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Held { path: path.to_owned(), holder: read_holder(&mut file) });
                }
                Err(errno) => return Err(used(errno.into())),
            }
        }
        write_holder(&mut file).map_err(used)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock now; `None` when nobody does.
///
/// # Errors
/// The file is there and cannot be used, or its holder has not said yet who it is.
pub fn holder(path: &Path) -> Result<Option<Holder>, LockError> {
    let used = |source| LockError::Io { path: path.to_owned(), source };
    let mut file = match open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(used(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => match read_holder(&mut file) {
            Some(holder) => Ok(Some(holder)),
            None => Err(LockError::Held { path: path.to_owned(), holder: None }),
        },
        Err(errno) => Err(used(errno.into())),
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new().read(true).write(create).create(create).mode(0o644).custom_flags(no_follow).open(path)
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let words: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let command: String = words.join(" ").replace('\n', " ").chars().take(1000).collect();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n{command}\n", ProcessId::own()?).as_bytes())
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let process = lines.next()?.parse().ok()?;
    Some(Holder { process, command: lines.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_by_name_and_taken_after_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apply.lock");
        assert_eq!(holder(&path).unwrap(), None);
        let first = ApplyLock::acquire(&path, Duration::ZERO).unwrap();
        let started = Instant::now();
        let error = ApplyLock::acquire(&path, Duration::from_millis(120)).unwrap_err();
        assert!(started.elapsed() >= Duration::from_millis(120), "it waits as long as asked");
        let LockError::Held { holder: Some(named), .. } = &error else { panic!("{error:?}") };
        assert_eq!(named.process, ProcessId::own().unwrap());
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.hint().contains("ps -fp"));
        assert_eq!(holder(&path).unwrap().unwrap().process.pid, std::process::id());
        drop(first);
        assert_eq!(holder(&path).unwrap(), None);
        ApplyLock::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_given_back_meanwhile_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apply.lock");
        let first = ApplyLock::acquire(&path, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| ApplyLock::acquire(&path, Duration::from_secs(20)));
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apply.lock");
        std::os::unix::fs::symlink(folder.path().join("other"), &path).unwrap();
        assert!(matches!(ApplyLock::acquire(&path, Duration::ZERO), Err(LockError::Io { .. })));
        assert!(!folder.path().join("other").exists());
    }
}
