//! [`Place`]: one type over both kinds of places, their writers and their readers. It checks names and counts bytes.

use std::ops::Range;

use base16ct::lower::encode_string;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::address::{Address, Credentials};
use crate::error::BlobError;
use crate::folder::{self, Folder};
use crate::name;
use crate::s3::{self, Bucket};

/// Objects that one listing gives, at most.
const ENTRIES_MAX: usize = 1_000_000;

/// Where objects live.
#[derive(Clone, Debug)]
pub struct Place {
    kind: Kind,
    shown: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Folder(Folder),
    S3(Bucket),
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the place.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// When it was written, in seconds since 1970, by the clock of the place.
    pub modified_seconds: i64,
}

/// What a finished writer has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of them, as 64 lower case digits.
    pub sha256: String,
}

impl Place {
    /// A place by its address. Nothing is asked of it yet. Without credentials, a store is asked as the machine's
    /// role allows.
    ///
    /// # Errors
    /// If a store's address or credentials cannot be used.
    pub fn open(address: &Address, credentials: Option<&Credentials>) -> Result<Self, BlobError> {
        let shown = address.to_string();
        let kind = match address {
            Address::Folder(path) => Kind::Folder(Folder::new(path.clone())),
            Address::S3(at) => Kind::S3(Bucket::open(at, credentials, &shown)?),
        };
        Ok(Self { kind, shown })
    }

    pub(crate) const fn of_bucket(bucket: Bucket, shown: String) -> Self {
        Self { kind: Kind::S3(bucket), shown }
    }

    /// Begins an object. It is not there before [`Writer::finish`], and then replaces what had its name.
    ///
    /// # Errors
    /// For a name that no object may have, and when the place takes nothing.
    pub async fn put(&self, name: &str) -> Result<Writer, BlobError> {
        name::check(name)?;
        let into = match &self.kind {
            Kind::Folder(folder) => Into::Folder(folder.put(name).await?),
            Kind::S3(bucket) => Into::S3(Box::new(bucket.put(name))),
        };
        Ok(Writer { into, bytes: 0, digest: Sha256::new() })
    }

    /// Writes a small object at once.
    ///
    /// # Errors
    /// As [`Place::put`] and [`Writer::finish`].
    pub async fn put_all(&self, name: &str, content: Bytes) -> Result<Written, BlobError> {
        let mut writer = self.put(name).await?;
        writer.write(content).await?;
        writer.finish().await
    }

    /// Makes a small object unless one has the name already; of several who try, one makes it. Whether it was this one:
    /// the content has to be nobody else's.
    ///
    /// # Errors
    /// As [`Place::put`] and [`Writer::finish`].
    pub async fn create(&self, name: &str, content: Bytes) -> Result<bool, BlobError> {
        name::check(name)?;
        match &self.kind {
            Kind::Folder(folder) => {
                let mut sink = folder.put(name).await?;
                sink.write(content).await?;
                sink.finish_new().await
            }
            Kind::S3(bucket) => {
                let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
                let written = Written { bytes, sha256: encode_string(&Sha256::digest(&content)) };
                bucket.create(name, content, &written).await
            }
        }
    }

    /// Opens an object, whole or from one byte to before another.
    ///
    /// # Errors
    /// If there is no such object, it is shorter than the range, or the place does not answer.
    pub async fn get(&self, name: &str, range: Option<Range<u64>>) -> Result<Reader, BlobError> {
        name::check(name)?;
        let (from, bytes) = match &self.kind {
            Kind::Folder(folder) => {
                let (file, bytes) = folder.get(name, range).await?;
                (From::Folder(file), bytes)
            }
            Kind::S3(bucket) => {
                let (stream, bytes) = bucket.get(name, range).await?;
                (From::S3(stream), bytes)
            }
        };
        Ok(Reader { from, name: name.to_owned(), place: self.shown.clone(), bytes, got_bytes: 0 })
    }

    /// Reads an object of at most so many bytes at once.
    ///
    /// # Errors
    /// As [`Place::get`], and for a larger object.
    pub async fn get_all(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, BlobError> {
        let mut reader = self.get(name, None).await?;
        if reader.bytes > limit_bytes {
            let (name, place) = (name.to_owned(), self.shown.clone());
            return Err(BlobError::TooLarge { name, place, limit_bytes });
        }
        let mut all = Vec::with_capacity(usize::try_from(reader.bytes).unwrap_or(0));
        while let Some(chunk) = reader.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// All objects below a folder of names, sorted; below an empty one all there are.
    ///
    /// # Errors
    /// For more than a million objects, and when the place does not answer.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, BlobError> {
        name::check_prefix(prefix)?;
        let mut entries = match &self.kind {
            Kind::Folder(folder) => folder.list(prefix, ENTRIES_MAX).await?,
            Kind::S3(bucket) => bucket.list(prefix, ENTRIES_MAX).await?,
        };
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    /// The names of the folders right below a folder of names, sorted, without what is before them.
    ///
    /// # Errors
    /// As [`Place::list`].
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        name::check_prefix(prefix)?;
        let mut names = match &self.kind {
            Kind::Folder(folder) => folder.folders(prefix, ENTRIES_MAX).await?,
            Kind::S3(bucket) => bucket.folders(prefix).await?,
        };
        names.sort();
        Ok(names)
    }

    /// An object without its content; none when it is not there.
    ///
    /// # Errors
    /// If the place does not answer.
    pub async fn stat(&self, name: &str) -> Result<Option<Entry>, BlobError> {
        name::check(name)?;
        match &self.kind {
            Kind::Folder(folder) => folder.stat(name).await,
            Kind::S3(bucket) => bucket.stat(name).await,
        }
    }

    /// Removes an object. One that is not there is none already.
    ///
    /// # Errors
    /// If the place does not answer, or refuses.
    pub async fn delete(&self, name: &str) -> Result<(), BlobError> {
        name::check(name)?;
        match &self.kind {
            Kind::Folder(folder) => folder.delete(name).await,
            Kind::S3(bucket) => bucket.delete(name).await,
        }
    }

    /// Removes what writers that were killed have left of objects right below a folder of names. Nobody may be writing
    /// there. In a store such parts are for its own rules to remove.
    ///
    /// # Errors
    /// If the place does not answer, or refuses.
    pub async fn clear(&self, prefix: &str) -> Result<(), BlobError> {
        name::check_prefix(prefix)?;
        match &self.kind {
            Kind::Folder(folder) => folder.clear(prefix).await,
            Kind::S3(_) => Ok(()),
        }
    }

    /// Reads an object back and compares it with what was written.
    ///
    /// # Errors
    /// If it differs, is not there, or cannot be read.
    pub async fn verify(&self, name: &str, written: &Written) -> Result<(), BlobError> {
        let found = self.digest(name).await?;
        if found == *written {
            return Ok(());
        }
        let problem = if found.bytes == written.bytes {
            format!("its SHA-256 is {}, not {}", found.sha256, written.sha256)
        } else {
            format!("it has {} bytes, not {}", found.bytes, written.bytes)
        };
        Err(BlobError::Different { name: name.to_owned(), place: self.shown.clone(), problem })
    }

    /// Reads an object and says what is there.
    ///
    /// # Errors
    /// As [`Place::get`].
    pub async fn digest(&self, name: &str) -> Result<Written, BlobError> {
        let mut reader = self.get(name, None).await?;
        let mut digest = Sha256::new();
        while let Some(chunk) = reader.next().await? {
            digest.update(&chunk);
        }
        Ok(Written { bytes: reader.got_bytes, sha256: encode_string(&digest.finalize()) })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// An object that is being written. Dropped unfinished, nothing of it is there.
#[derive(Debug)]
pub struct Writer {
    into: Into,
    bytes: u64,
    digest: Sha256,
}

#[derive(Debug)]
enum Into {
    Folder(folder::Sink),
    S3(Box<s3::Upload>),
}

impl Writer {
    /// Adds to the object. A slow place makes this wait.
    ///
    /// # Errors
    /// If the place takes no more. The writer is of no more use then.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        self.digest.update(&chunk);
        self.bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        match &mut self.into {
            Into::Folder(sink) => sink.write(chunk).await,
            Into::S3(upload) => upload.write(chunk).await,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the object appear, and sees that it did: a file with its folder is on the disk, an object in a store
    /// has its size, after the store has compared each part's checksum.
    ///
    /// # Errors
    /// If the place does not take it; nothing is there then.
    pub async fn finish(self) -> Result<Written, BlobError> {
        let written = Written { bytes: self.bytes, sha256: encode_string(&self.digest.finalize()) };
        match self.into {
            Into::Folder(sink) => sink.finish().await?,
            Into::S3(upload) => upload.finish(&written).await?,
        }
        Ok(written)
    }
}

/// An object that is being read.
pub struct Reader {
    from: From,
    name: String,
    place: String,
    bytes: u64,
    got_bytes: u64,
}

enum From {
    Folder(folder::Source),
    S3(s3::Source),
}

impl Reader {
    /// Bytes that are asked for: of the object, or of its range.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes; none at the end, which comes after exactly [`Reader::bytes`].
    ///
    /// # Errors
    /// If the place gives fewer or more bytes, or none for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let chunk = match &mut self.from {
            From::Folder(source) => source.next().await?,
            From::S3(source) => source.next(&self.name, &self.place).await?,
        };
        let Some(chunk) = chunk else {
            return if self.got_bytes == self.bytes { Ok(None) } else { Err(self.short()) };
        };
        self.got_bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if self.got_bytes > self.bytes { Err(self.short()) } else { Ok(Some(chunk)) }
    }

    fn short(&self) -> BlobError {
        BlobError::Short {
            name: self.name.clone(),
            place: self.place.clone(),
            got_bytes: self.got_bytes,
            expected_bytes: self.bytes,
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
