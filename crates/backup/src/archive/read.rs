//! Segments read back: verified as they are read, and given out as the plain bytes of a binary log.

use std::collections::VecDeque;
use std::io::{self, Read, Write as _};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use zstd::stream::write::Decoder;

use super::catalog::Archive;
use super::cutter::{MAGIC, hex};
use super::error::ArchiveError;
use super::segment::Segment;

/// Compressed bytes unpacked at once. What they unpack to is bounded by what the record says.
const PACKED_BYTES: usize = 32 << 10;
/// Pieces that are read ahead.
const PIECES_AHEAD: usize = 8;
/// Longest first event of a log.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The bytes of one segment, packed and plain.
pub(crate) struct SegmentBytes {
    name: String,
    reader: blob::Reader,
    decoder: Decoder<'static, Vec<u8>>,
    left: Bytes,
    expected_bytes: u64,
    expected_sha256: String,
    bytes: u64,
    digest: Sha256,
}

impl SegmentBytes {
    pub(crate) async fn open(archive: &Archive, segment: &Segment) -> Result<Self, ArchiveError> {
        let name = segment.content_name();
        let reader = archive.place().get(&name, None).await?;
        let decoder = Decoder::new(Vec::new()).map_err(ArchiveError::Compress)?;
        if reader.bytes() != segment.stored_bytes {
            let problem = format!("it has {} bytes, not {}", reader.bytes(), segment.stored_bytes);
            return Err(ArchiveError::Damaged { name, problem });
        }
        Ok(Self {
            name,
            reader,
            decoder,
            left: Bytes::new(),
            expected_bytes: segment.bytes,
            expected_sha256: segment.sha256.clone(),
            bytes: 0,
            digest: Sha256::new(),
        })
    }

    /// The next bytes, packed and plain; none at the end, once everything was what it should be.
    pub(crate) async fn next(&mut self) -> Result<Option<(Bytes, Vec<u8>)>, ArchiveError> {
        if self.left.is_empty() {
            match self.reader.next().await? {
                Some(chunk) => self.left = chunk,
                None => return self.end().map(|()| None),
            }
        }
        let packed = self.left.split_to(self.left.len().min(PACKED_BYTES));
        let unpacked = self.decoder.write_all(&packed).and_then(|()| self.decoder.flush());
        unpacked.map_err(|error| self.damaged(format!("it does not unpack: {error}")))?;
        let plain = std::mem::take(self.decoder.get_mut());
        self.bytes += u64::try_from(plain.len()).unwrap_or(u64::MAX);
        if self.bytes > self.expected_bytes {
            return Err(self.damaged(format!("it unpacks to more than {} bytes", self.expected_bytes)));
        }
        self.digest.update(&plain);
        Ok(Some((packed, plain)))
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        if self.bytes != self.expected_bytes {
            return Err(
                self.damaged(format!("it unpacks to {} bytes, not {}", self.bytes, self.expected_bytes))
            );
        }
        let found = hex(&self.digest.finalize_reset());
        if found == self.expected_sha256 {
            return Ok(());
        }
        Err(self.damaged(format!("its SHA-256 is {found}, not {}", self.expected_sha256)))
    }

    fn damaged(&self, problem: String) -> ArchiveError {
        ArchiveError::Damaged { name: self.name.clone(), problem }
    }
}

/// A log, or the rest of one, as it was on the server, from the archive.
///
/// It begins as every log does, so that it can be read from wherever the segments begin; what is between is left out.
/// Events say their own offsets: read it as a stream. It waits for the place, so it belongs into a thread that may.
#[derive(Debug)]
pub struct LogReader {
    pieces: mpsc::Receiver<Result<Vec<u8>, ArchiveError>>,
    piece: Vec<u8>,
    at: usize,
    failed: Option<String>,
}

impl LogReader {
    /// Reads segments of one log that follow one another. To be called where `tokio` runs.
    ///
    /// # Errors
    /// If there are none, or the first one's record does not say how the log begins.
    pub fn open(archive: &Archive, segments: &[Segment]) -> Result<Self, ArchiveError> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let Some(first) = segments.first() else {
            return Err(ArchiveError::Record {
                name: archive.place().to_string(),
                problem: "no segments were asked for".to_owned(),
            });
        };
        let mut piece = Vec::new();
        if first.start > 0 {
            piece.extend_from_slice(&MAGIC);
            piece.extend_from_slice(&head(first)?);
        }
        let (archive, segments) = (archive.clone(), VecDeque::from(segments.to_vec()));
        tokio::spawn(async move {
            if let Err(error) = send(&archive, segments, &sender).await {
                // A reader that is gone has no use for it.
                let _gone = sender.send(Err(error)).await;
            }
        });
        Ok(Self { pieces, piece, at: 0, failed: None })
    }
}

async fn send(
    archive: &Archive,
    segments: VecDeque<Segment>,
    sender: &mpsc::Sender<Result<Vec<u8>, ArchiveError>>,
) -> Result<(), ArchiveError> {
    for segment in segments {
        let mut bytes = SegmentBytes::open(archive, &segment).await?;
        while let Some((_, plain)) = bytes.next().await? {
            if sender.send(Ok(plain)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The log's first event, as the record has it.
fn head(segment: &Segment) -> Result<Vec<u8>, ArchiveError> {
    let bad =
        |problem: &str| ArchiveError::Record { name: segment.name().record(), problem: problem.to_owned() };
    let text = segment.head.as_bytes();
    if !text.len().is_multiple_of(2) || text.len() / 2 > HEAD_BYTES_MAX || text.is_empty() {
        return Err(bad("it does not say how the log begins"));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = text
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    bytes.ok_or_else(|| bad("how the log begins is not hexadecimal"))
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.get(self.at..).unwrap_or_default();
            if !rest.is_empty() {
                let count = Read::read(&mut &*rest, buffer)?;
                self.at += count;
                return Ok(count);
            }
            if let Some(failed) = &self.failed {
                return Err(io::Error::other(failed.clone()));
            }
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => (self.piece, self.at) = (piece, 0),
                Some(Err(error)) => {
                    self.failed = Some(error.to_string());
                    return Err(io::Error::other(error));
                }
            }
        }
    }
}
