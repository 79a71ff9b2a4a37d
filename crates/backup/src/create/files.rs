//! Files on their way out: compressed and sealed on a thread of their own, stored, and read back. It knows no SQL.
//!
//! Between the three stages stand channels of a few blocks: a slow place makes the reader of rows wait, and memory
//! stays bounded by a few megabytes a file.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use blob::{Place, Written};
use bytes::Bytes;
use dump::layout::{Compression, FileName, Part};
use dump::manifest::{FileOrigin, FileRecord, FileRole};
use flate2::write::GzEncoder;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use super::error::CreateError;
use super::progress::Progress;
use crate::seal::{Recipients, Sealed};

/// Blocks waiting before a stage.
const BLOCKS: usize = 2;
/// Compressed bytes that go to the place at once.
const STORE_BYTES: usize = 256 << 10;

/// Where files go, how they are written, and which have been.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    folder: String,
    compression: Compression,
    level: i32,
    recipients: Recipients,
    progress: Arc<Progress>,
    written: Mutex<Vec<FileRecord>>,
}

impl Files {
    pub(crate) fn new(
        place: Place,
        folder: String,
        (compression, level): (Compression, i32),
        recipients: Recipients,
        progress: Arc<Progress>,
    ) -> Self {
        let written = Mutex::new(Vec::new());
        Self { inner: Arc::new(Inner { place, folder, compression, level, recipients, progress, written }) }
    }

    /// Records of the files that are stored, by name.
    pub(crate) fn written(&self) -> Vec<FileRecord> {
        let mut written = self.inner.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        written.sort_by(|a, b| a.name.cmp(&b.name));
        written
    }

    /// The name a part gets.
    pub(crate) fn name(&self, part: Part) -> String {
        FileName::new(part, self.inner.compression, !self.inner.recipients.is_empty()).to_string()
    }

    /// Begins a file. Dropped unfinished, nothing of it is stored.
    pub(crate) fn begin(&self, part: Part, role: FileRole) -> OutFile {
        let name = self.name(part);
        let (blocks, blocks_in) = mpsc::channel(BLOCKS);
        let (packed, packed_in) = mpsc::channel(BLOCKS);
        let packing = {
            let inner = Arc::clone(&self.inner);
            tokio::task::spawn_blocking(move || pack(&inner, blocks_in, packed))
        };
        let storing = tokio::spawn(store(Arc::clone(&self.inner), name.clone(), packed_in));
        OutFile { files: self.clone(), name, role, origin: None, blocks, packing, storing }
    }

    /// Writes a small file at once and gives its name.
    pub(crate) async fn write(
        &self,
        part: Part,
        role: FileRole,
        text: String,
    ) -> Result<String, CreateError> {
        let file = self.begin(part, role);
        if file.write(text.into_bytes()).await { file.finish().await } else { Err(file.failure().await) }
    }

    /// Writes a file as it is, neither compressed nor sealed.
    pub(crate) async fn write_plain(
        &self,
        name: &str,
        role: FileRole,
        text: Vec<u8>,
    ) -> Result<(), CreateError> {
        let object = self.object(name);
        let written = self.inner.place.put_all(&object, Bytes::from(text)).await?;
        self.inner.place.verify(&object, &written).await?;
        self.record(name, role, None, written);
        Ok(())
    }

    /// Writes the manifest, after which the backup is one.
    pub(crate) async fn write_manifest(&self, name: &str, text: Vec<u8>) -> Result<(), CreateError> {
        let object = self.object(name);
        let written = self.inner.place.put_all(&object, Bytes::from(text)).await?;
        Ok(self.inner.place.verify(&object, &written).await?)
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.inner.folder)
    }

    fn record(&self, name: &str, role: FileRole, origin: Option<FileOrigin>, written: Written) {
        self.inner.progress.stored(written.bytes);
        let Written { bytes, sha256 } = written;
        let record = FileRecord { name: name.to_owned(), role, bytes, sha256, origin };
        self.inner.written.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

/// A file being written.
pub(crate) struct OutFile {
    files: Files,
    name: String,
    role: FileRole,
    origin: Option<FileOrigin>,
    blocks: mpsc::Sender<Block>,
    packing: JoinHandle<std::io::Result<()>>,
    storing: JoinHandle<Result<Option<Written>, CreateError>>,
}

enum Block {
    Text(Vec<u8>),
    /// Said, so that a writer that went away is not taken for one that finished.
    End,
}

enum Packed {
    Bytes(Bytes),
    End,
}

impl OutFile {
    pub(crate) fn with_origin(mut self, origin: FileOrigin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Adds to the file; `false` when it failed before, as [`Self::failure`] then tells.
    #[must_use]
    pub(crate) async fn write(&self, block: Vec<u8>) -> bool {
        self.blocks.send(Block::Text(block)).await.is_ok()
    }

    /// Why the file failed.
    pub(crate) async fn failure(self) -> CreateError {
        let name = self.name.clone();
        match self.finish().await {
            Err(error) => error,
            Ok(_) => CreateError::Broken { what: format!("writing {name}") },
        }
    }

    /// Ends the file, sees that it reads back, and gives its name.
    pub(crate) async fn finish(self) -> Result<String, CreateError> {
        let Self { files, name, role, origin, blocks, packing, storing } = self;
        // A failed stage has closed the channel; its own error comes below.
        let _ = blocks.send(Block::End).await;
        drop(blocks);
        let broken = |_| CreateError::Broken { what: format!("writing {name}") };
        let packed = packing.await.map_err(broken)?;
        let stored = storing.await.map_err(broken)?;
        let written = match (packed, stored) {
            (_, Err(error)) => return Err(error),
            (Err(source), Ok(_)) => {
                return Err(CreateError::File { what: format!("compress {name}"), source });
            }
            (Ok(()), Ok(None)) => return Err(CreateError::Broken { what: format!("storing {name}") }),
            (Ok(()), Ok(Some(written))) => written,
        };
        let object = files.object(&name);
        files.inner.place.verify(&object, &written).await?;
        files.record(&name, role, origin, written);
        Ok(name)
    }
}

/// Bytes between the seal and the store.
struct Outlet {
    pending: Vec<u8>,
    packed: mpsc::Sender<Packed>,
}

impl Outlet {
    fn send(&self, bytes: Vec<u8>) -> std::io::Result<()> {
        self.packed.blocking_send(Packed::Bytes(Bytes::from(bytes))).map_err(std::io::Error::other)
    }

    fn send_pending(&mut self) -> std::io::Result<()> {
        let bytes = std::mem::replace(&mut self.pending, Vec::with_capacity(STORE_BYTES));
        self.send(bytes)
    }
}

impl Write for Outlet {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.pending.extend_from_slice(buffer);
        if self.pending.len() >= STORE_BYTES {
            self.send_pending()?;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Each block as a frame of its own, which programs read as one text. A stream of one frame would be copied into a ring,
/// and what comes after the ring's end is compressed a third slower.
///
/// Rows of numbers, hashes and keys repeat nothing, and the fastest level spends most of its time on finding that out. So
/// now and then a block is compressed with a hasty search as well; where that loses next to nothing, the blocks that
/// follow are searched hastily. A million of sysbench's rows are then packed 3 times as fast and 2.3 % larger.
struct Frames {
    into: Sealed<Outlet>,
    thorough: zstd::bulk::Compressor<'static>,
    /// Only beside the fastest level: whoever asks for a higher one wants it small.
    hasty: Option<zstd::bulk::Compressor<'static>>,
    /// Blocks to be compressed hastily before both are tried again.
    hasty_left: u32,
    packed: Vec<u8>,
    tried: Vec<u8>,
}

/// The level that is the fastest one that compresses well.
const FASTEST_LEVEL: i32 = 1;
/// Bytes stepped over at least between two searches, and the binary logarithm of the places remembered: they fit the
/// processor's fastest memory.
const HASTY_STEP: u32 = 64;
const HASTY_HASH_LOG: u32 = 12;
/// Hasty blocks between two trials.
const HASTY_BLOCKS: u32 = 15;
/// Longer blocks are not compressed both ways.
const TRIED_BYTES_MAX: usize = 4 << 20;
/// A hasty search may lose so many hundredths.
const HASTY_LOSS_PERCENT: usize = 5;

impl Frames {
    fn new(level: i32, into: Sealed<Outlet>) -> std::io::Result<Self> {
        let compressor = || {
            let mut compressor = zstd::bulk::Compressor::new(level)?;
            // What is read back by hand is checked as well.
            compressor.include_checksum(true)?;
            Ok::<_, std::io::Error>(compressor)
        };
        let mut hasty = None;
        if level == FASTEST_LEVEL {
            let mut compressor = compressor()?;
            compressor.set_parameter(CParameter::TargetLength(HASTY_STEP))?;
            compressor.set_parameter(CParameter::HashLog(HASTY_HASH_LOG))?;
            // Such a step alone would switch it off.
            compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
            hasty = Some(compressor);
        }
        let (packed, tried) = (Vec::new(), Vec::new());
        Ok(Self { into, thorough: compressor()?, hasty, hasty_left: 0, packed, tried })
    }

    fn write(&mut self, block: &[u8]) -> std::io::Result<()> {
        if let Some(hasty) = self.hasty.as_mut().filter(|_| self.hasty_left > 0) {
            self.hasty_left -= 1;
            compress(hasty, block, &mut self.packed)?;
            return self.into.write_all(&self.packed);
        }
        compress(&mut self.thorough, block, &mut self.packed)?;
        // One huge row tells nothing of those that follow, and twice as much memory would be needed.
        if let Some(hasty) = self.hasty.as_mut().filter(|_| block.len() <= TRIED_BYTES_MAX) {
            compress(hasty, block, &mut self.tried)?;
            if self.tried.len() <= self.packed.len() + self.packed.len() / 100 * HASTY_LOSS_PERCENT {
                self.hasty_left = HASTY_BLOCKS;
            }
        }
        self.into.write_all(&self.packed)
    }
}

fn compress(
    compressor: &mut zstd::bulk::Compressor<'static>,
    block: &[u8],
    packed: &mut Vec<u8>,
) -> std::io::Result<()> {
    packed.clear();
    packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
    compressor.compress_to_buffer(block, packed).map(drop)
}

enum Packer {
    None(Sealed<Outlet>),
    Gzip(GzEncoder<Sealed<Outlet>>),
    Zstd(Frames),
}

impl Packer {
    fn new(compression: Compression, level: i32, into: Sealed<Outlet>) -> std::io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(into),
            Compression::Gzip => {
                let level = u32::try_from(level.clamp(1, 9)).unwrap_or(1);
                Self::Gzip(GzEncoder::new(into, flate2::Compression::new(level)))
            }
            Compression::Zstd => Self::Zstd(Frames::new(level, into)?),
        })
    }

    fn write(&mut self, block: Vec<u8>) -> std::io::Result<()> {
        match self {
            // As it is: nothing is copied.
            Self::None(Sealed::No(outlet)) => outlet.send(block),
            Self::None(into @ Sealed::Yes(_)) => into.write_all(&block),
            Self::Gzip(encoder) => encoder.write_all(&block),
            Self::Zstd(frames) => frames.write(&block),
        }
    }

    fn finish(self) -> std::io::Result<Sealed<Outlet>> {
        match self {
            Self::None(into) => Ok(into),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(frames) => Ok(frames.into),
        }
    }
}

fn pack(
    inner: &Inner,
    mut blocks: mpsc::Receiver<Block>,
    packed: mpsc::Sender<Packed>,
) -> std::io::Result<()> {
    let outlet = Outlet { pending: Vec::with_capacity(STORE_BYTES), packed };
    let mut packer = Packer::new(inner.compression, inner.level, inner.recipients.seal(outlet)?)?;
    loop {
        match blocks.blocking_recv() {
            Some(Block::Text(block)) => packer.write(block)?,
            Some(Block::End) => break,
            None => return Err(std::io::Error::other("abandoned")),
        }
    }
    let mut outlet = packer.finish()?.finish()?;
    if !outlet.pending.is_empty() {
        outlet.send_pending()?;
    }
    outlet.packed.blocking_send(Packed::End).map_err(std::io::Error::other)
}

/// Stores what comes; none when it did not come to its end.
async fn store(
    inner: Arc<Inner>,
    name: String,
    mut packed: mpsc::Receiver<Packed>,
) -> Result<Option<Written>, CreateError> {
    let mut writer = inner.place.put(&format!("{}/{name}", inner.folder)).await?;
    loop {
        match packed.recv().await {
            Some(Packed::Bytes(bytes)) => writer.write(bytes).await?,
            Some(Packed::End) => return Ok(Some(writer.finish().await?)),
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Recipients;

    const BLOCKS_WRITTEN: usize = 8;

    /// A text's frames, and how many of its blocks would have gone on to be searched hastily.
    fn framed(block: &[u8], level: i32) -> (Vec<u8>, u32) {
        let (packed, mut packed_in) = mpsc::channel(1024);
        let outlet = Outlet { pending: Vec::new(), packed };
        let mut frames = Frames::new(level, Recipients::default().seal(outlet).unwrap()).unwrap();
        for _ in 0..BLOCKS_WRITTEN {
            frames.write(block).unwrap();
        }
        let left = frames.hasty_left;
        frames.into.finish().unwrap().send_pending().unwrap();
        let mut all = Vec::new();
        while let Ok(Packed::Bytes(bytes)) = packed_in.try_recv() {
            all.extend_from_slice(&bytes);
        }
        assert_eq!(zstd::decode_all(all.as_slice()).unwrap(), block.repeat(BLOCKS_WRITTEN));
        (all, left)
    }

    #[test]
    fn only_what_repeats_nothing_is_searched_hastily() {
        let mut state = 1_u64;
        let mut digits = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:09}-", (state >> 33) % 1_000_000_000)
        };
        let mut keys = || (0..16).map(&mut digits).collect::<String>();
        let numbers: String = (0..5000).map(|id| format!("({id},'{}'),\n", keys())).collect();
        let words: String = (0..20_000).map(|id| format!("({id},'Allocated','KVM',NULL,0),\n")).collect();
        let (hasty, left) = framed(numbers.as_bytes(), FASTEST_LEVEL);
        assert_eq!(left, HASTY_BLOCKS - u32::try_from(BLOCKS_WRITTEN).unwrap() + 1);
        // The first block is as small as it gets.
        let whole = zstd::bulk::compress(numbers.as_bytes(), FASTEST_LEVEL).unwrap().len() * BLOCKS_WRITTEN;
        assert!(hasty.len() <= whole + whole / 100 * (HASTY_LOSS_PERCENT + 1), "{} {whole}", hasty.len());
        assert_eq!(framed(words.as_bytes(), FASTEST_LEVEL).1, 0);
        assert_eq!(framed(numbers.as_bytes(), FASTEST_LEVEL + 1).1, 0);
    }
}
