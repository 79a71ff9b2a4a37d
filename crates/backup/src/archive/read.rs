//! Segments read back: verified as they are read, and given out as the plain bytes of a binary log.

use std::collections::VecDeque;
use std::io::{self, Read};

use base16ct::lower::encode_string;
use base16ct::mixed::decode_vec;
use blob::Place;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use zstd::stream::read::Decoder;

use super::catalog::Archive;
use super::cutter::MAGIC;
use super::error::ArchiveError;
use super::segment::Segment;
use crate::restore::input::ObjectRead;
use crate::seal::Identities;

/// Bytes of a log given out at once.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces that are read ahead.
const PIECES_AHEAD: usize = 8;
/// Longest first event of a log.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Some bytes of a segment. What is packed is not what is plain, but goes with it in its order.
pub(crate) struct Piece {
    pub(crate) packed: Vec<u8>,
    pub(crate) plain: Vec<u8>,
}

/// The bytes of one segment, opened and unpacked by a thread of its own.
pub(crate) struct SegmentBytes {
    name: String,
    pieces: mpsc::Receiver<io::Result<Piece>>,
    expected_bytes: u64,
    expected_sha256: String,
    bytes: u64,
    digest: Sha256,
}

impl SegmentBytes {
    /// To be called where `tokio` runs.
    pub(crate) fn open(archive: &Archive, segment: &Segment) -> Result<Self, ArchiveError> {
        let opener = archive.opener(segment)?;
        let (name, stored_bytes) = (segment.content_name(), segment.stored_bytes);
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (place, object) = (archive.place().clone(), name.clone());
        tokio::task::spawn_blocking(move || {
            let unpacked = unpack(&place, (&object, stored_bytes), opener.as_ref(), &sender);
            if let Err(error) = unpacked {
                // A reader that is gone has no use for it.
                let _gone = sender.blocking_send(Err(error));
            }
        });
        Ok(Self {
            name,
            pieces,
            expected_bytes: segment.bytes,
            expected_sha256: segment.sha256.clone(),
            bytes: 0,
            digest: Sha256::new(),
        })
    }

    /// The next bytes; none at the end, once everything was what it should be.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, ArchiveError> {
        let Some(piece) = self.pieces.recv().await else { return self.end().map(|()| None) };
        let piece = piece.map_err(|error| match error.downcast::<blob::BlobError>() {
            Ok(error) => error.into(),
            Err(error) => self.damaged(format!("it cannot be opened or unpacked: {error}")),
        })?;
        self.bytes += u64::try_from(piece.plain.len()).unwrap_or(u64::MAX);
        if self.bytes > self.expected_bytes {
            return Err(self.damaged(format!("it unpacks to more than {} bytes", self.expected_bytes)));
        }
        self.digest.update(&piece.plain);
        Ok(Some(piece))
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        if self.bytes != self.expected_bytes {
            return Err(
                self.damaged(format!("it unpacks to {} bytes, not {}", self.bytes, self.expected_bytes))
            );
        }
        let found = encode_string(&self.digest.finalize_reset());
        if found == self.expected_sha256 {
            return Ok(());
        }
        Err(self.damaged(format!("its SHA-256 is {found}, not {}", self.expected_sha256)))
    }

    fn damaged(&self, problem: String) -> ArchiveError {
        ArchiveError::Damaged { name: self.name.clone(), problem }
    }
}

/// What a segment's object holds, piece by piece, until nobody wants more of it.
fn unpack(
    place: &Place,
    (object, stored_bytes): (&str, u64),
    opener: Option<&Identities>,
    sender: &mpsc::Sender<io::Result<Piece>>,
) -> io::Result<()> {
    let raw = ObjectRead::open(place, object)?;
    if raw.length() != stored_bytes {
        return Err(io::Error::other(format!("it has {} bytes, not {stored_bytes}", raw.length())));
    }
    let packed: Box<dyn Read> = match opener {
        Some(identities) => Box::new(identities.open(raw)?),
        None => Box::new(raw),
    };
    let mut decoder = Decoder::new(Kept { inner: packed, bytes: Vec::new() })?;
    loop {
        let mut plain = Vec::new();
        decoder.by_ref().take(PIECE_BYTES).read_to_end(&mut plain)?;
        let packed = std::mem::take(&mut decoder.get_mut().get_mut().bytes);
        let is_end = plain.is_empty() && packed.is_empty();
        if is_end || sender.blocking_send(Ok(Piece { packed, plain })).is_err() {
            return Ok(());
        }
    }
}

/// Keeps what is read through it.
struct Kept<R> {
    inner: R,
    bytes: Vec<u8>,
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(read)
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
    /// If there are none, one is encrypted to others than the identities given, or the first one's record does not say how
    /// the log begins.
    pub fn open(archive: &Archive, segments: &[Segment]) -> Result<Self, ArchiveError> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let Some(first) = segments.first() else {
            return Err(ArchiveError::Record {
                name: archive.place().to_string(),
                problem: "no segments were asked for".to_owned(),
            });
        };
        for segment in segments {
            archive.opener(segment)?;
        }
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
        let mut bytes = SegmentBytes::open(archive, &segment)?;
        while let Some(piece) = bytes.next().await? {
            if sender.send(Ok(piece.plain)).await.is_err() {
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
    if segment.head.is_empty() || segment.head.len() / 2 > HEAD_BYTES_MAX {
        return Err(bad("it does not say how the log begins"));
    }
    decode_vec(&segment.head).map_err(|_| bad("how the log begins is not hexadecimal"))
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
