//! Where dumps and backups are read from: files of this machine, objects of a place, plain, compressed or encrypted.
//!
//! It knows nothing of what is in them.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use base16ct::lower::encode_string;
use blob::Place;
use sha2::{Digest as _, Sha256};

use super::lz4::Lz4Frames;
use crate::seal::Identities;

/// Read at once from a file.
const BLOCK_BYTES: usize = 256 << 10;
/// Enough to know every compression by.
const MAGIC_BYTES: usize = 6;
/// Memory that a frame of Zstandard may ask for, as a power of two: what `zstd --ultra` writes, and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file of this machine.
    File(PathBuf),
    /// An object of a place.
    Object {
        /// The place.
        place: Arc<Place>,
        /// The object's name in it.
        name: String,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Object { name, .. } => f.write_str(name),
        }
    }
}

/// A file of a dump or backup.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it is.
    pub origin: Origin,
    /// What opens it, where it is encrypted.
    pub sealing: Option<Identities>,
    /// Any place of it can be read without what is before.
    pub is_seekable: bool,
}

/// Bytes being read.
pub type Bytes = Box<dyn Read + Send>;

impl SourceFile {
    /// A file, looked at for its compression.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    pub fn new(origin: Origin, sealing: Option<Identities>) -> io::Result<Self> {
        let is_seekable = match &origin {
            Origin::File(path) if sealing.is_none() => {
                let mut head = Vec::new();
                File::open(path)?.take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
                Compression::of(&head) == Compression::None
            }
            Origin::File(_) | Origin::Object { .. } => false,
        };
        Ok(Self { origin, sealing, is_seekable })
    }

    /// Its bytes as they lie there.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn raw(&self) -> io::Result<Bytes> {
        match &self.origin {
            Origin::File(path) => Ok(Box::new(File::open(path)?)),
            Origin::Object { place, name } => Ok(Box::new(ObjectRead::open(place, name)?)),
        }
    }

    /// Its text: decrypted and decompressed.
    ///
    /// # Errors
    /// If it cannot be opened, or is of an encryption or compression that is not.
    pub fn text(&self) -> io::Result<Bytes> {
        self.text_of(self.raw()?)
    }

    /// The text that its bytes give, wherever they come from.
    ///
    /// # Errors
    /// As for [`SourceFile::text`].
    pub fn text_of(&self, raw: Bytes) -> io::Result<Bytes> {
        match &self.sealing {
            Some(identities) => decompressed(Box::new(identities.open(raw)?)),
            None => decompressed(raw),
        }
    }

    /// Its text from an offset on.
    ///
    /// # Errors
    /// If it cannot be read up to there.
    pub fn text_from(&self, offset: u64) -> io::Result<Bytes> {
        if let (true, Origin::File(path)) = (self.is_seekable, &self.origin) {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Box::new(file));
        }
        let mut text = self.text()?;
        skip(&mut text, offset)?;
        Ok(text)
    }
}

/// Passes so many bytes.
pub(crate) fn skip(text: &mut Bytes, bytes: u64) -> io::Result<()> {
    if io::copy(&mut text.by_ref().take(bytes), &mut io::sink())? < bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Lz4,
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            _ => Self::None,
        }
    }
}

/// The text of bytes, by what they begin with. Several members one after the other are one text.
pub(crate) fn decompressed(mut raw: Bytes) -> io::Result<Bytes> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    raw.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let whole = io::Cursor::new(head).chain(raw);
    if compression == Compression::None {
        return Ok(Box::new(whole));
    }
    let blocks = io::BufReader::with_capacity(BLOCK_BYTES, whole);
    Ok(match compression {
        Compression::None => Box::new(blocks),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(blocks)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(blocks)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(blocks)),
        Compression::Lz4 => Box::new(Lz4Frames::new(blocks)),
    })
}

/// An object of a place, read by a thread that may wait.
pub(crate) struct ObjectRead {
    runtime: tokio::runtime::Handle,
    reader: blob::Reader,
    chunk: io::Cursor<Vec<u8>>,
}

impl ObjectRead {
    pub(crate) fn open(place: &Place, name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let reader = runtime.block_on(place.get(name, None)).map_err(io::Error::other)?;
        Ok(Self { runtime, reader, chunk: io::Cursor::default() })
    }

    /// Length of the object, in bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.reader.bytes()
    }
}

impl Read for ObjectRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.runtime.block_on(self.reader.next()).map_err(io::Error::other)? {
                Some(chunk) => self.chunk = io::Cursor::new(chunk.to_vec()),
                None => return Ok(0),
            }
        }
    }
}

/// Bytes whose sum and number are taken on the way.
pub(crate) struct Summed<R> {
    inner: R,
    sum: Arc<std::sync::Mutex<(Sha256, u64)>>,
}

/// The sum of bytes that were read, to be asked for after the end.
#[derive(Clone)]
pub(crate) struct Sum(Arc<std::sync::Mutex<(Sha256, u64)>>);

impl<R: Read> Summed<R> {
    pub(crate) fn new(inner: R) -> (Self, Sum) {
        let sum = Arc::new(std::sync::Mutex::new((Sha256::new(), 0)));
        (Self { inner, sum: Arc::clone(&sum) }, Sum(sum))
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut sum = self.sum.lock().map_err(|_| io::Error::other("a reader gave up"))?;
        sum.0.update(buffer.get(..read).unwrap_or_default());
        sum.1 += read as u64;
        Ok(read)
    }
}

impl Sum {
    /// SHA-256 as hexadecimal, and the number of bytes.
    pub(crate) fn finish(&self) -> (String, u64) {
        self.0
            .lock()
            .map_or_else(|_| (String::new(), 0), |sum| (encode_string(&sum.0.clone().finalize()), sum.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text as one member of a compressed file.
    type Packed = fn(&[u8]) -> Vec<u8>;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(text, flate2::Compression::fast());
        encoder.read_to_end(&mut packed).unwrap();
        packed
    }

    fn xz(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        liblzma::read::XzEncoder::new(text, 1).read_to_end(&mut packed).unwrap();
        packed
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).unwrap()
    }

    fn lz4(text: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        // Several blocks, as of a long text.
        for part in text.chunks(text.len().div_ceil(3).max(1)) {
            io::Write::write_all(&mut encoder, part).unwrap();
            io::Write::flush(&mut encoder).unwrap();
        }
        encoder.finish().unwrap()
    }

    const KINDS: [(&str, Packed); 4] = [("gzip", gzip), ("zstd", zstd), ("xz", xz), ("lz4", lz4)];

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decompressed(Box::new(io::Cursor::new(bytes.to_vec())))?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn several_members_are_one_text() {
        for (kind, pack) in KINDS {
            let members = [pack(b"first;\n-- Dump completed\n"), pack(b""), pack(b"second;\n")].concat();
            let text = String::from_utf8(read(&members).unwrap()).unwrap();
            assert_eq!(text, "first;\n-- Dump completed\nsecond;\n", "{kind}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_no_whole_one() {
        for (kind, pack) in KINDS {
            let first = pack(b"first;\n-- Dump completed\n");
            let members = [first.clone(), pack(b"a second text that is not the first")].concat();
            for end in MAGIC_BYTES..members.len() {
                let is_whole = end == first.len();
                assert_eq!(read(&members[..end]).is_ok(), is_whole, "{kind} cut after {end} bytes");
            }
        }
    }

    #[test]
    fn what_follows_the_last_member_is_refused() {
        for (kind, pack) in KINDS {
            for garbage in [&b"\n"[..], b"-- more", b"INSERT INTO `t` VALUES (1);\n"] {
                let error = read(&[&pack(b"first;\n")[..], garbage].concat()).unwrap_err();
                println!("{kind}: {error}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
