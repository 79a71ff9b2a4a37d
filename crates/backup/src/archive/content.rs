//! [`Content`]: the object of a segment on its way to the place, encrypted where the archive is. It knows no events.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use blob::{Writer, Written};
use bytes::Bytes;
use jiff::Timestamp;

use super::catalog::Archive;
use super::error::ArchiveError;
use super::segment::log_folder;
use crate::seal::Sealed;

/// Bytes handed on at once.
const CHUNK_BYTES: usize = 256 << 10;

/// The object of a segment that is being written.
pub(crate) struct Content {
    /// Its name, beside the record.
    pub(crate) name: String,
    /// To whom it is encrypted.
    pub(crate) recipients: Vec<String>,
    /// The archiver that can open it too.
    pub(crate) merger: Option<String>,
    outbox: Outbox,
    writer: Writer,
}

impl Content {
    /// Begins an object, and gives what its bytes are to be written to. A piece can be opened by this archiver too, to be
    /// made one with others.
    pub(crate) async fn begin(
        archive: &Archive,
        (run, log, start): (&str, &str, u64),
        is_piece: bool,
    ) -> Result<(Self, Sealed<Outbox>), ArchiveError> {
        let recipients = archive.recipients();
        let suffix = if recipients.is_empty() { "" } else { ".age" };
        // Where it ends is not known yet. What was left behind by a kill is not overwritten: it may be in use.
        let name = format!("{start:012}.{}.zst{suffix}", Timestamp::now().as_microsecond());
        let writer = archive.place().put(&format!("{}/{name}", log_folder(run, log))).await?;
        let own = archive.own().recipients();
        let outbox = Outbox::default();
        let all = if is_piece { recipients.and(&own) } else { recipients.clone() };
        let sealed = all.seal(outbox.clone()).map_err(ArchiveError::Compress)?;
        let merger = own.names().pop().filter(|_| is_piece);
        Ok((Self { name, recipients: recipients.names(), merger, outbox, writer }, sealed))
    }

    /// Hands on what has come, once it is worth it.
    pub(crate) async fn pass_on(&mut self) -> Result<(), ArchiveError> {
        if let Some(chunk) = self.outbox.take(CHUNK_BYTES) {
            self.writer.write(Bytes::from(chunk)).await?;
        }
        Ok(())
    }

    /// Makes the object durable; what was written to it has been finished.
    pub(crate) async fn finish(mut self) -> Result<Written, ArchiveError> {
        if let Some(chunk) = self.outbox.take(1) {
            self.writer.write(Bytes::from(chunk)).await?;
        }
        Ok(self.writer.finish().await?)
    }
}

/// Bytes that can be taken out behind whoever writes them.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Outbox {
    /// Takes all there is, if it is at least so much.
    fn take(&self, least: usize) -> Option<Vec<u8>> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (bytes.len() >= least).then(|| std::mem::take(&mut *bytes))
    }
}

impl Write for Outbox {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
