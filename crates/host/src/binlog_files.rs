//! Binary logs as files, and a spool that is written forwards and read backwards. It knows nothing of what is in
//! them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::files::FileError;

/// Read at once from the end of a spool.
const CHUNK_BYTES: usize = 1 << 20;
/// A record's length stands before and behind it.
const LENGTH_BYTES: usize = 8;

/// Opens a log, or standard input for `-`.
///
/// # Errors
/// When it is not there, or not a file that can be read.
pub fn open_log(path: &Path) -> Result<Box<dyn Read + Send>, FileError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let failed = |source| FileError::Io { operation: "open", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(FileError::NotRegular { path: path.to_owned(), kind: "a folder" });
    }
    Ok(Box::new(file))
}

/// A log on disk, which is read at several places at once.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens a regular file; none for anything else, such as standard input, which is read once only.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>, FileError> {
        let failed = |source| FileError::Io { operation: "open", path: path.to_owned(), source };
        // A pipe that was opened and closed again would be broken for who writes it.
        if path == Path::new("-") || !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Ok(None);
        }
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Some(Self { file, bytes }))
    }

    /// Its bytes as it was opened.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is in it from an offset on.
    #[must_use]
    pub const fn from(&self, offset: u64) -> LogRest<'_> {
        LogRest { file: &self.file, offset }
    }
}

/// A log from an offset on.
#[derive(Debug)]
pub struct LogRest<'f> {
    file: &'f File,
    offset: u64,
}

impl Read for LogRest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// Records that are written one after the other and read from the last to the first.
///
/// The file has no name and is gone when this is dropped, or the process killed.
#[derive(Debug)]
pub struct Spool {
    writer: BufWriter<File>,
    folder: PathBuf,
    bytes: u64,
}

impl Spool {
    /// An empty spool in a folder.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(folder: &Path) -> Result<Self, FileError> {
        let failed =
            |source| FileError::Io { operation: "make a temporary file in", path: folder.to_owned(), source };
        let path =
            folder.join(format!(".mainstay-spool-{}-{:016x}", std::process::id(), rand::random::<u64>()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(Self { writer: BufWriter::with_capacity(CHUNK_BYTES, file), folder: folder.to_owned(), bytes: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn push(&mut self, record: &[u8]) -> Result<(), FileError> {
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX).to_le_bytes();
        let Self { writer, folder, .. } = self;
        let written = writer
            .write_all(&length)
            .and_then(|()| writer.write_all(record))
            .and_then(|()| writer.write_all(&length));
        written.map_err(|source| FileError::Io { operation: "write to", path: folder.clone(), source })?;
        self.bytes += u64::try_from(record.len() + 2 * LENGTH_BYTES).unwrap_or(0);
        Ok(())
    }

    /// Bytes on disk.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the writing; the records come last one first. It may be asked for again.
    ///
    /// # Errors
    /// When the disk does not take the rest.
    pub fn backwards(&mut self) -> Result<Backwards<'_>, FileError> {
        let Self { writer, folder, .. } = self;
        let ended = writer.flush().and_then(|()| writer.get_mut().seek(SeekFrom::End(0)));
        let end =
            ended.map_err(|source| FileError::Io { operation: "write to", path: folder.clone(), source })?;
        Ok(Backwards { file: writer.get_ref(), folder, begin: end, chunk: Vec::new() })
    }
}

/// Records of a spool, last one first.
#[derive(Debug)]
pub struct Backwards<'s> {
    file: &'s File,
    folder: &'s Path,
    /// Offset of the chunk's beginning in the file; what is before it is not read yet.
    begin: u64,
    /// What is left of the bytes read last.
    chunk: Vec<u8>,
}

impl Backwards<'_> {
    /// The next record towards the beginning.
    ///
    /// # Errors
    /// When the disk does not give it back.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        self.record().map_err(|source| FileError::Io {
            operation: "read back from",
            path: self.folder.to_owned(),
            source,
        })
    }

    fn record(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.have(LENGTH_BYTES)?;
        let Some((_, length)) = self.chunk.split_last_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut_off())?;
        let whole = length + 2 * LENGTH_BYTES;
        self.have(whole)?;
        let at = self.chunk.len().checked_sub(whole).ok_or_else(cut_off)?;
        let mut record = self.chunk.split_off(at);
        record.truncate(whole - LENGTH_BYTES);
        record.drain(..LENGTH_BYTES);
        Ok(Some(record))
    }

    /// Has so many bytes in the chunk, unless the file begins before.
    fn have(&mut self, wanted: usize) -> io::Result<()> {
        if self.chunk.len() >= wanted {
            return Ok(());
        }
        let missing = u64::try_from((wanted - self.chunk.len()).max(CHUNK_BYTES)).unwrap_or(u64::MAX);
        let more = missing.min(self.begin);
        let mut chunk = vec![0; usize::try_from(more).unwrap_or(0)];
        self.begin -= more;
        self.file.read_exact_at(&mut chunk, self.begin)?;
        chunk.append(&mut self.chunk);
        self.chunk = chunk;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_everything_in_reverse_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let records: Vec<Vec<u8>> =
            (0..2000_usize).map(|at| vec![u8::try_from(at % 251).unwrap(); at * 7 % 5000]).collect();
        for record in &records {
            spool.push(record).unwrap();
        }
        spool.push(&vec![7; 3 * CHUNK_BYTES]).unwrap();
        for _ in 0..2 {
            let mut backwards = spool.backwards().unwrap();
            assert_eq!(backwards.next_record().unwrap().unwrap().len(), 3 * CHUNK_BYTES);
            for record in records.iter().rev() {
                assert_eq!(backwards.next_record().unwrap().as_ref(), Some(record));
            }
            assert_eq!(backwards.next_record().unwrap(), None);
        }
    }

    #[test]
    fn a_log_is_read_at_several_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        File::create(&path).unwrap().write_all(b"0123456789").unwrap();
        let log = LogFile::open(&path).unwrap().unwrap();
        assert_eq!(log.bytes(), 10);
        let (mut begin, mut end, mut behind) = (log.from(0), log.from(7), log.from(20));
        let mut two = [0; 2];
        for expected in [b"01", b"23"] {
            begin.read_exact(&mut two).unwrap();
            assert_eq!(&two, expected);
        }
        let mut rest = String::new();
        end.read_to_string(&mut rest).unwrap();
        behind.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "789");
        assert!(LogFile::open(folder.path()).unwrap().is_none());
        assert!(LogFile::open(Path::new("-")).unwrap().is_none());
        assert!(LogFile::open(&folder.path().join("none")).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open_log(folder.path()), Err(FileError::NotRegular { .. })));
        assert!(matches!(open_log(&folder.path().join("none")), Err(FileError::Io { .. })));
    }
}
