//! The store in a folder of one host, shared by its processes: a lock, one data file, and a look at it 20 times a
//! second for changes. It does not work across hosts, and not on network file systems, whose locks differ.
//!
//! Writers take a `flock`, readers take none: the data file is replaced as a whole. The lock file is also the proof
//! that a data file once was: an empty lock file, or none, is a store that is new; a lock file with the mark but
//! without a data file is a store that was wiped, and is refused.

mod format;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::StoreError;
use crate::model::{Committed, Compare, Snapshot, Write};

/// Pause between two tries to take the lock. Writers hold it for a few syncs of the disk.
const LOCK_PAUSE: Duration = Duration::from_millis(3);
/// Pause between two looks for a change.
const WATCH_PAUSE: Duration = Duration::from_millis(50);
/// What the lock file holds once there is a data file.
const MARK: &[u8] = b"mainstay-store\n";

#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    folder: PathBuf,
    data: PathBuf,
    lock: PathBuf,
    /// The highest revision this process has seen: a store that is empty after it was wiped.
    seen: AtomicU64,
}

impl FileStore {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let (data, lock) = (folder.join("data"), folder.join("lock"));
        Self { place: Arc::new(Place { folder, data, lock, seen: AtomicU64::new(0) }) }
    }

    pub(crate) async fn snapshot(&self, timeout: Duration) -> Result<Snapshot, StoreError> {
        let place = Arc::clone(&self.place);
        let reading = tokio::task::spawn_blocking(move || place.read());
        match tokio::time::timeout(timeout, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(stopped)) => Err(StoreError::Unreachable { reason: stopped.to_string() }),
            Err(_) => Err(StoreError::Timeout { after: timeout }),
        }
    }

    pub(crate) async fn commit(
        &self,
        compares: &[Compare],
        writes: &[Write],
        timeout: Duration,
    ) -> Result<Committed, StoreError> {
        let (place, compares, writes) = (Arc::clone(&self.place), compares.to_vec(), writes.to_vec());
        let until = Until { deadline: Instant::now() + timeout, timeout };
        let writing = tokio::task::spawn_blocking(move || place.commit(&compares, &writes, &until));
        match tokio::time::timeout(timeout, writing).await {
            Ok(Ok(committed)) => committed,
            // The disk stalls: the thread may be before the rename or after it.
            Ok(Err(stopped)) => Err(StoreError::Unknown { reason: stopped.to_string() }),
            Err(_) => Err(StoreError::Unknown { reason: "the disk did not answer in time".to_owned() }),
        }
    }

    pub(crate) fn watch(&self, from_revision: u64) -> FileWatch {
        FileWatch { store: self.clone(), from_revision, looked_at: None }
    }
}

/// When a commit must give up, as long as it still can.
struct Until {
    deadline: Instant,
    timeout: Duration,
}

impl Until {
    /// Refuses to begin what would end too late; `share` of the time must be left.
    fn check(&self, share: u32) -> Result<(), StoreError> {
        if Instant::now() + self.timeout / share >= self.deadline {
            return Err(StoreError::Timeout { after: self.timeout });
        }
        Ok(())
    }
}

impl Place {
    fn commit(&self, compares: &[Compare], writes: &[Write], until: &Until) -> Result<Committed, StoreError> {
        let mut lock = self.locked(until)?;
        let mut current = self.read()?;
        let before = current.revision;
        let committed = current.apply(compares, writes)?;
        if current.revision != before {
            self.replace(&current, until)?;
            self.seen.fetch_max(current.revision, Ordering::Relaxed);
            self.mark(&mut lock);
        }
        Ok(committed)
    }

    /// The lock, held until the file is closed.
    fn locked(&self, until: &Until) -> Result<File, StoreError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        created.map_err(|source| refused("create", &self.folder, &source))?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600).custom_flags(no_follow());
        let lock = options.open(&self.lock).map_err(|source| refused("open", &self.lock, &source))?;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    // The thread must come back before its caller stops waiting and calls it unknown.
                    until.check(10)?;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(errno) => return Err(refused("lock", &self.lock, &errno.into())),
            }
        }
    }

    fn read(&self) -> Result<Snapshot, StoreError> {
        let mut read = self.read_data()?;
        if read.is_none() && self.is_marked()? {
            // Another process may have made the first data file after the first look.
            read = self.read_data()?;
            if read.is_none() {
                return Err(self.corrupt("it is gone, but the lock file says that there was one"));
            }
        }
        let snapshot = read.unwrap_or_default();
        if snapshot.revision == 0 && self.seen.load(Ordering::Relaxed) > 0 {
            return Err(self.corrupt("the store was emptied while in use"));
        }
        self.seen.fetch_max(snapshot.revision, Ordering::Relaxed);
        Ok(snapshot)
    }

    fn read_data(&self) -> Result<Option<Snapshot>, StoreError> {
        let Some(text) = read_whole(&self.data, format::FILE_BYTES_MAX)? else { return Ok(None) };
        format::decode(&text).map(Some).map_err(|why| self.corrupt(&why))
    }

    fn is_marked(&self) -> Result<bool, StoreError> {
        Ok(read_whole(&self.lock, MARK.len())?.is_some_and(|content| !content.is_empty()))
    }

    /// Marks the store as begun. Without the mark the store still works, and the next commit tries again.
    fn mark(&self, lock: &mut File) {
        let marked = lock.metadata().map(|metadata| metadata.len() > 0);
        let done = match marked {
            Ok(true) => return,
            Ok(false) => lock.write_all(MARK).and_then(|()| lock.sync_all()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::warn!(lock = %self.lock.display(), %error, "cannot mark the store as begun");
        }
    }

    fn replace(&self, snapshot: &Snapshot, until: &Until) -> Result<(), StoreError> {
        let text = format::encode(snapshot).map_err(|why| StoreError::Refused { reason: why })?;
        let new = self.folder.join("data.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(no_follow());
        let written = options.open(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| refused("write", &new, &source))?;
        until.check(20)?;
        fs::rename(&new, &self.data).map_err(|source| refused("replace", &self.data, &source))?;
        // Others see it from here on, so it can no longer be called not done.
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::Unknown {
            reason: format!("cannot sync `{}`: {source}", self.folder.display()),
        })
    }

    fn corrupt(&self, why: &str) -> StoreError {
        StoreError::Corrupt { reason: format!("`{}`: {why}", self.data.display()) }
    }
}

/// Someone else's link in the folder must not make us write elsewhere.
fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// The content, if there is such a file. Longer than `max_bytes` is refused.
fn read_whole(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("open", path, &error)),
    };
    let mut content = Vec::new();
    let limited = file.take(max_bytes as u64 + 1).read_to_end(&mut content);
    limited.map_err(|error| refused("read", path, &error))?;
    if content.len() > max_bytes {
        let reason = format!("`{}` is longer than {max_bytes} bytes", path.display());
        return Err(StoreError::Corrupt { reason });
    }
    Ok(Some(content))
}

fn refused(operation: &str, path: &Path, source: &io::Error) -> StoreError {
    let reason = format!("cannot {operation} `{}`: {source}", path.display());
    if source.kind() == io::ErrorKind::PermissionDenied {
        return StoreError::Unauthorised { reason };
    }
    StoreError::Unreachable { reason }
}

/// Looks at the data file now and then, and reads it when it is another one.
#[derive(Debug)]
pub(crate) struct FileWatch {
    store: FileStore,
    from_revision: u64,
    looked_at: Option<Look>,
}

/// What tells one data file from the one that replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    size_bytes: u64,
    changed: (i64, i64),
}

impl FileWatch {
    pub(crate) async fn changed(&mut self) -> Result<u64, StoreError> {
        loop {
            let look = self.look().await?;
            if look.is_none() || look != self.looked_at {
                // The look comes before the read, so that a change in between is looked at again.
                let revision = self.store.snapshot(crate::REQUEST_TIMEOUT).await?.revision;
                self.looked_at = look;
                if revision != self.from_revision {
                    self.from_revision = revision;
                    return Ok(revision);
                }
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }

    async fn look(&self) -> Result<Option<Look>, StoreError> {
        let path = &self.store.place.data;
        match tokio::fs::metadata(path).await {
            Ok(found) => Ok(Some(Look {
                inode: found.ino(),
                size_bytes: found.len(),
                changed: (found.ctime(), found.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused("look at", path, &error)),
        }
    }
}
