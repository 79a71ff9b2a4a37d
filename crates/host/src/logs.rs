//! Log files of any length: plain, gzip or zstd, standard input, and files that are followed while a server writes them.
//!
//! Bytes come out in blocks, decompressed. What they mean is not known here. Opening says nothing about the content but
//! how it is compressed, which its first bytes tell.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes read at once of what is compressed.
const COMPRESSED_BLOCK_BYTES: usize = 256 << 10;

/// Device and number of a file: which it is, whatever its name.
type FileId = (u64, u64);

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused, or what is compressed is damaged.
    #[error("cannot {operation} `{name}`")]
    Io {
        /// What was attempted: `open` or `read`.
        operation: &'static str,
        /// The file, or `standard input`.
        name: String,
        /// The refusal.
        source: io::Error,
    },
    /// A folder, or a device.
    #[error("`{}` is not a file", path.display())]
    NotFile {
        /// What was to be read.
        path: PathBuf,
    },
}

impl LogError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Io { name, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                format!("look where it is: `mainstay facts --variables`, or `ls -l {name}`")
            }
            Self::Io { name, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("run as root or as the server's user; see `ls -l {name}`")
            }
            Self::Io { operation: "read", .. } => {
                "the rest of it is not read; is it a complete file?".to_owned()
            }
            Self::Io { name, .. } => format!("look with `ls -l {name}`"),
            Self::NotFile { path } => format!("name the files in it: `ls {}`", path.display()),
        }
    }
}

/// A log that is open.
pub struct Log {
    name: String,
    bytes: Box<dyn Read + Send>,
    /// Why nothing more can be read, to be told once what was read before has been taken.
    failure: Option<io::Error>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, or is no file.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let name = path.display().to_string();
        let io = |source| LogError::Io { operation: "open", name: name.clone(), source };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(LogError::NotFile { path: path.to_owned() });
        }
        Self::of(name.clone(), file)
    }

    /// Standard input.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn standard_input() -> Result<Self, LogError> {
        Self::of("standard input".to_owned(), io::stdin())
    }

    fn of(name: String, mut bytes: impl Read + Send + 'static) -> Result<Self, LogError> {
        let io = |source| LogError::Io { operation: "read", name: name.clone(), source };
        let mut first = Vec::new();
        bytes.by_ref().take(4).read_to_end(&mut first).map_err(io)?;
        let magic = first.clone();
        let bytes = io::Cursor::new(first).chain(bytes);
        let bytes: Box<dyn Read + Send> = match magic.as_slice() {
            [0x1f, 0x8b, ..] => {
                let bytes = BufReader::with_capacity(COMPRESSED_BLOCK_BYTES, bytes);
                Box::new(flate2::bufread::MultiGzDecoder::new(bytes))
            }
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(bytes).map_err(io)?),
            _ => Box::new(bytes),
        };
        Ok(Self { name, bytes, failure: None })
    }

    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fills a block as far as there are bytes, and nothing of it at the end. Less than all of it says that the end, or an
    /// error, comes next.
    ///
    /// # Errors
    /// It cannot be read further.
    pub fn fill(&mut self, block: &mut [u8]) -> Result<usize, LogError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..)
            && !rest.is_empty()
            && self.failure.is_none()
        {
            match self.bytes.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    self.failure = Some(source);
                    break;
                }
            }
        }
        match self.failure.take_if(|_| filled == 0) {
            Some(source) => Err(LogError::Io { operation: "read", name: self.name.clone(), source }),
            None => Ok(filled),
        }
    }
}

/// What following a log found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// So many bytes more.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The file is another: the old one is read to its end, the new one is read from its beginning.
    Rotated,
    /// The file is shorter than it was: it is read from its beginning again.
    Truncated,
}

/// A plain log that is followed while it grows, through rotation and truncation.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Device and number of the file that is read.
    identity: FileId,
    offset: u64,
}

impl Follower {
    /// Follows a file from its end, or from its beginning. It need not be there yet.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn new(path: &Path, from_end: bool) -> Result<Self, LogError> {
        let mut follower = Self { path: path.to_owned(), file: None, identity: (0, 0), offset: 0 };
        follower.open()?;
        if let (true, Some(file)) = (from_end, &mut follower.file) {
            let end = file.seek(SeekFrom::End(0));
            follower.offset = end.map_err(|source| follower.error("read", source))?;
        }
        Ok(follower)
    }

    fn error(&self, operation: &'static str, source: io::Error) -> LogError {
        LogError::Io { operation, name: self.path.display().to_string(), source }
    }

    /// Opens the file at the path, if there is one.
    fn open(&mut self) -> Result<(), LogError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.file = None;
                return Ok(());
            }
            Err(error) => return Err(self.error("open", error)),
        };
        let metadata = file.metadata().map_err(|error| self.error("open", error))?;
        self.identity = (metadata.dev(), metadata.ino());
        self.file = Some(file);
        self.offset = 0;
        Ok(())
    }

    /// Where the next byte is read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads what has come since, without waiting.
    ///
    /// # Errors
    /// The file cannot be read, or the one in its place cannot be opened.
    pub fn read(&mut self, block: &mut [u8]) -> Result<Followed, LogError> {
        // Before the bytes: what is written between the two looks is found by the next.
        let there = self.there()?;
        let Some(file) = &mut self.file else {
            if there.is_none() {
                return Ok(Followed::Nothing);
            }
            self.open()?;
            return Ok(Followed::Rotated);
        };
        let read = match file.read(block) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Followed::Nothing),
            Err(error) => return Err(self.error("read", error)),
        };
        if read > 0 {
            self.offset += read as u64;
            return Ok(Followed::Bytes(read));
        }
        match there {
            Some((identity, _)) if identity != self.identity => {
                self.open()?;
                Ok(Followed::Rotated)
            }
            Some((_, length)) if length < self.offset => {
                let sought = file.seek(SeekFrom::Start(0));
                self.offset = sought.map_err(|source| self.error("read", source))?;
                Ok(Followed::Truncated)
            }
            Some(_) | None => Ok(Followed::Nothing),
        }
    }

    /// Which file is at the path now, and its length.
    fn there(&self) -> Result<Option<(FileId, u64)>, LogError> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(Some(((metadata.dev(), metadata.ino()), metadata.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("open", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write as _;

    fn all(path: &Path) -> Result<Vec<u8>, LogError> {
        let mut log = Log::open(path)?;
        let mut bytes = Vec::new();
        loop {
            let mut block = [0; 7];
            let read = log.fill(&mut block)?;
            bytes.extend_from_slice(&block[..read]);
            if read == 0 {
                return Ok(bytes);
            }
        }
    }

    fn put(path: &Path, bytes: &[u8]) {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn plain_and_compressed_logs_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"# Time: 240102  3:04:05\nselect 1;\n".repeat(1000);
        let zipped = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        // Logs that were appended to after compression have several members.
        let gzip = [zipped(&text[..100]), zipped(&text[100..])].concat();
        let zstd =
            [zstd::encode_all(&text[..100], 1).unwrap(), zstd::encode_all(&text[100..], 1).unwrap()].concat();
        for (name, bytes) in [("plain", &text), ("gzip", &gzip), ("zstd", &zstd)] {
            let path = folder.path().join(name);
            put(&path, bytes);
            assert_eq!(all(&path).unwrap(), text, "{name}");
        }
        for (name, bytes) in [("short-gzip", &gzip), ("short-zstd", &zstd)] {
            let path = folder.path().join(name);
            put(&path, &bytes[..bytes.len() - 5]);
            let error = all(&path).unwrap_err();
            assert!(error.to_string().contains(name) && error.hint().contains("complete"), "{error}");
            // What could be read comes before the error.
            let mut log = Log::open(&path).unwrap();
            let mut block = vec![0; text.len()];
            let read = log.fill(&mut block).unwrap();
            assert!(read > 0 && block[..read] == text[..read], "{name}: {read}");
            assert!(log.fill(&mut block).is_err(), "{name}");
        }
        for (name, bytes) in [("empty", &b""[..]), ("byte", b"\x1f")] {
            let path = folder.path().join(name);
            put(&path, bytes);
            assert_eq!(all(&path).unwrap(), bytes);
        }
        assert!(matches!(all(folder.path()), Err(LogError::NotFile { .. })));
        assert!(all(&folder.path().join("none")).unwrap_err().hint().contains("look where"));
    }

    /// Reads until nothing comes, and what it read on the way.
    fn followed(follower: &mut Follower) -> (String, Vec<Followed>) {
        let (mut text, mut found) = (String::new(), Vec::new());
        loop {
            let mut block = [0; 5];
            match follower.read(&mut block).unwrap() {
                Followed::Bytes(read) => text.push_str(std::str::from_utf8(&block[..read]).unwrap()),
                Followed::Nothing => return (text, found),
                other @ (Followed::Rotated | Followed::Truncated) => found.push(other),
            }
        }
    }

    #[test]
    fn a_log_is_followed_through_rotation_and_truncation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slow.log");
        put(&path, b"before\n");
        let mut follower = Follower::new(&path, true).unwrap();
        assert_eq!(followed(&mut follower), (String::new(), vec![]));
        put(&path, b"one\n");
        assert_eq!(followed(&mut follower), ("one\n".to_owned(), vec![]));
        // The server writes to the old file for a while after it was renamed.
        std::fs::rename(&path, folder.path().join("slow.log.1")).unwrap();
        put(&folder.path().join("slow.log.1"), b"two\n");
        assert_eq!(followed(&mut follower), ("two\n".to_owned(), vec![]));
        put(&folder.path().join("slow.log.1"), b"three\n");
        put(&path, b"four\n");
        assert_eq!(followed(&mut follower), ("three\nfour\n".to_owned(), vec![Followed::Rotated]));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        put(&path, b"5\n");
        assert_eq!(followed(&mut follower), ("5\n".to_owned(), vec![Followed::Truncated]));
        assert_eq!(follower.offset(), 2);
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slow.log");
        let mut follower = Follower::new(&path, true).unwrap();
        assert_eq!(followed(&mut follower), (String::new(), vec![]));
        put(&path, b"first\n");
        assert_eq!(followed(&mut follower), ("first\n".to_owned(), vec![Followed::Rotated]));
    }
}
