//! A folder as a place: an object is a file that is written beside its name, made durable, and then renamed.
//!
//! It makes folders below the place, never the place itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::task::spawn_blocking;

use crate::error::BlobError;
use crate::place::Entry;

/// Written and read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// So much is written without being put together with what follows: copying it would cost more.
const WHOLE_BYTES: usize = 512 << 10;
/// Folders in one another.
const DEPTH_MAX: usize = 16;

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |error| BlobError::Io { operation, path, error }
}

/// Runs what may wait for a disk where that holds up nothing else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BlobError::Io {
            operation: "work on",
            path: PathBuf::new(),
            error: io::Error::other(error.to_string()),
        }),
    }
}

impl Folder {
    pub(crate) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) async fn put(&self, name: &str) -> Result<Sink, BlobError> {
        let (root, target) = (self.root.clone(), self.root.join(name));
        blocking(move || {
            if !root.is_dir() {
                return Err(BlobError::NoFolder { path: root });
            }
            let folder = target.parent().unwrap_or(&root).to_owned();
            make_folders(&root, &folder)?;
            let file_name = target.file_name().unwrap_or_default().to_string_lossy();
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(format!(".{file_name}.{}-{number}", std::process::id()));
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)
                .map_err(failed("create", &temporary))?;
            let part = Part { path: temporary, is_named: false };
            Ok(Sink { open: Some(Open { file, part }), target, held: BytesMut::new() })
        })
        .await
    }

    pub(crate) async fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
    ) -> Result<(Source, u64), BlobError> {
        let (path, root, name) = (self.root.join(name), self.root.clone(), name.to_owned());
        blocking(move || {
            let not_found = || BlobError::NotFound { name: name.clone(), place: root.display().to_string() };
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found()),
                Err(error) => return Err(failed("open", &path)(error)),
            };
            let metadata = file.metadata().map_err(failed("look at", &path))?;
            if !metadata.is_file() {
                return Err(not_found());
            }
            let range = range.unwrap_or(0..metadata.len());
            let bytes = range.end.saturating_sub(range.start);
            if range.end > metadata.len() {
                return Err(BlobError::Short {
                    name: name.clone(),
                    place: root.display().to_string(),
                    got_bytes: metadata.len().saturating_sub(range.start),
                    expected_bytes: bytes,
                });
            }
            file.seek(SeekFrom::Start(range.start)).map_err(failed("read", &path))?;
            Ok((Source { open: Some((file, path)), left: bytes }, bytes))
        })
        .await
    }

    pub(crate) async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<Entry>, BlobError> {
        let (root, prefix) = (self.root.clone(), prefix.to_owned());
        blocking(move || {
            if !root.is_dir() {
                return Err(BlobError::NoFolder { path: root });
            }
            let mut entries = Vec::new();
            let mut below = vec![(root.join(&prefix), prefix.clone(), 0)];
            while let Some((folder, name, depth)) = below.pop() {
                for (child, metadata) in children(&folder)? {
                    let name = if name.is_empty() { child.clone() } else { format!("{name}/{child}") };
                    if metadata.is_dir() && depth < DEPTH_MAX {
                        below.push((folder.join(&child), name, depth + 1));
                    } else if metadata.is_file() {
                        entries.push(entry(name, &metadata));
                    }
                    if entries.len() > limit {
                        let place = root.display().to_string();
                        return Err(BlobError::TooMany { prefix, place, limit });
                    }
                }
            }
            Ok(entries)
        })
        .await
    }

    pub(crate) async fn folders(&self, prefix: &str, limit: usize) -> Result<Vec<String>, BlobError> {
        let (root, prefix) = (self.root.clone(), prefix.to_owned());
        blocking(move || {
            if !root.is_dir() {
                return Err(BlobError::NoFolder { path: root });
            }
            let all = children(&root.join(&prefix))?;
            let names = all.into_iter().filter(|(_, metadata)| metadata.is_dir()).map(|(name, _)| name);
            Ok(names.take(limit).collect())
        })
        .await
    }

    pub(crate) async fn stat(&self, name: &str) -> Result<Option<Entry>, BlobError> {
        let (path, root, name) = (self.root.join(name), self.root.clone(), name.to_owned());
        blocking(move || match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(entry(name, &metadata))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::NoFolder { path: root }),
            Err(error) => Err(failed("look at", &path)(error)),
        })
        .await
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), BlobError> {
        let (path, root) = (self.root.join(name), self.root.clone());
        blocking(move || {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed("remove", &path)(error)),
            }
            path.parent().map_or(Ok(()), |folder| remove_empty(&root, folder))
        })
        .await
    }

    /// Removes unfinished files.
    pub(crate) async fn clear(&self, prefix: &str) -> Result<(), BlobError> {
        let (root, folder) = (self.root.clone(), self.root.join(prefix));
        blocking(move || {
            if !folder.is_dir() {
                return Ok(());
            }
            for child in fs::read_dir(&folder).map_err(failed("list", &folder))? {
                let child = child.map_err(failed("list", &folder))?;
                let is_file = child.file_type().is_ok_and(|kind| kind.is_file());
                if is_file && child.file_name().to_str().is_some_and(is_unfinished) {
                    fs::remove_file(child.path()).map_err(failed("remove", &child.path()))?;
                }
            }
            remove_empty(&root, &folder)
        })
        .await
    }
}

/// Folders are only parts of names: one without files is none. One that is not empty stays.
fn remove_empty(root: &Path, folder: &Path) -> Result<(), BlobError> {
    let mut folder = Some(folder);
    while let Some(empty) = folder.filter(|folder| *folder != root && folder.starts_with(root)) {
        if fs::remove_dir(empty).is_err() {
            break;
        }
        folder = empty.parent();
    }
    folder.map_or(Ok(()), sync_folder)
}

/// `.NAME.PID-NUMBER`, as [`Folder::put`] names what it writes.
fn is_unfinished(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let end = name.strip_prefix('.').and_then(|rest| rest.rsplit_once('.'));
    let numbers = end.filter(|(name, _)| !name.is_empty()).and_then(|(_, end)| end.split_once('-'));
    numbers.is_some_and(|(pid, number)| is_number(pid) && is_number(number))
}

fn entry(name: String, metadata: &fs::Metadata) -> Entry {
    Entry { name, bytes: metadata.len(), modified_seconds: metadata.mtime() }
}

/// What is in a folder, but for hidden files, which are being written, and names that are no text.
fn children(folder: &Path) -> Result<Vec<(String, fs::Metadata)>, BlobError> {
    let reading = match fs::read_dir(folder) {
        Ok(reading) => reading,
        // No object begins so.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed("list", folder)(error)),
    };
    let mut all = Vec::new();
    for child in reading {
        let child = child.map_err(failed("list", folder))?;
        let Ok(name) = child.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        match child.metadata() {
            Ok(metadata) => all.push((name, metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", &child.path())(error)),
        }
    }
    Ok(all)
}

/// Makes the folders from the place down, each durable in the one above.
fn make_folders(root: &Path, folder: &Path) -> Result<(), BlobError> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut missing: Vec<&Path> =
        folder.ancestors().take_while(|path| *path != root && !path.is_dir()).collect();
    while let Some(path) = missing.pop() {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(failed("create", path)(error)),
        }
        sync_folder(path.parent().unwrap_or(root))?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("make durable", folder))
}

/// A file without its name yet. It is removed unless it got it.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    is_named: bool,
}

impl Part {
    const fn keep(&mut self) {
        self.is_named = true;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.is_named {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished file stays behind");
        }
    }
}

#[derive(Debug)]
struct Open {
    file: File,
    part: Part,
}

#[derive(Debug)]
pub(crate) struct Sink {
    /// Absent once a write has failed.
    open: Option<Open>,
    target: PathBuf,
    held: BytesMut,
}

impl Sink {
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        // Large chunks go as they are, small ones together.
        if self.held.is_empty() && chunk.len() >= WHOLE_BYTES {
            return self.flush(chunk).await;
        }
        self.held.extend_from_slice(&chunk);
        if self.held.len() >= CHUNK_BYTES {
            let held = self.held.split().freeze();
            self.flush(held).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        let mut open = self.taken()?;
        let open = blocking(move || {
            open.file.write_all(&chunk).map_err(failed("write", &open.part.path))?;
            Ok(open)
        })
        .await?;
        self.open = Some(open);
        Ok(())
    }

    fn taken(&mut self) -> Result<Open, BlobError> {
        let broken = || io::Error::other("an earlier write failed or was abandoned");
        self.open.take().ok_or_else(|| failed("write", &self.target)(broken()))
    }

    pub(crate) async fn finish(self) -> Result<(), BlobError> {
        let named = self.end(|part, target| {
            fs::rename(&part.path, target).map_err(failed("rename", &part.path))?;
            part.keep();
            Ok(true)
        });
        named.await.map(|_| ())
    }

    /// As [`Self::finish`], unless something has the name already. Whether it was made.
    pub(crate) async fn finish_new(self) -> Result<bool, BlobError> {
        self.end(|part, target| match fs::hard_link(&part.path, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed("link", &part.path)(error)),
        })
        .await
    }

    async fn end(
        mut self,
        name: impl FnOnce(&mut Part, &Path) -> Result<bool, BlobError> + Send + 'static,
    ) -> Result<bool, BlobError> {
        let held = self.held.split().freeze();
        let mut open = self.taken()?;
        let target = self.target;
        blocking(move || {
            let path = open.part.path.clone();
            open.file.write_all(&held).map_err(failed("write", &path))?;
            open.file.sync_all().map_err(failed("make durable", &path))?;
            let is_named = name(&mut open.part, &target)?;
            target.parent().map_or(Ok(()), sync_folder)?;
            Ok(is_named)
        })
        .await
    }
}

#[derive(Debug)]
pub(crate) struct Source {
    open: Option<(File, PathBuf)>,
    left: u64,
}

impl Source {
    /// The next bytes; none at the end of what was asked for, or of the file.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if wanted == 0 {
            return Ok(None);
        }
        let Some((mut file, path)) = self.open.take() else { return Ok(None) };
        let (file, path, chunk) = blocking(move || {
            let mut chunk = vec![0; wanted];
            let got = file.read(&mut chunk).map_err(failed("read", &path))?;
            chunk.truncate(got);
            Ok((file, path, Bytes::from(chunk)))
        })
        .await?;
        if chunk.is_empty() {
            return Ok(None);
        }
        self.left -= u64::try_from(chunk.len()).unwrap_or(self.left).min(self.left);
        self.open = Some((file, path));
        Ok(Some(chunk))
    }
}
