//! The text of LZ4 frames one after the other, to the end of the file.
//!
//! The library reads one frame, and takes a file that is cut off between two of its blocks for a whole one.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder;

const CUT_OFF: &str = "it ends inside an LZ4 frame";

/// The text of frames.
pub(super) struct Lz4Frames<R: BufRead> {
    frames: FrameDecoder<Ended<R>>,
}

/// Bytes, and whether somebody wanted more of them than there are.
struct Ended<R> {
    bytes: R,
    is_ended: bool,
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.is_ended |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

impl<R: BufRead> Lz4Frames<R> {
    pub(super) fn new(bytes: R) -> Self {
        Self { frames: FrameDecoder::new(Ended { bytes, is_ended: false }) }
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.frames.read(buffer).map_err(in_words)?;
            if read > 0 {
                return Ok(read);
            }
            // A whole frame is known by its end mark, behind which nothing was looked for.
            if self.frames.get_ref().is_ended {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, CUT_OFF));
            }
            if self.frames.get_mut().bytes.fill_buf()?.is_empty() {
                return Ok(0);
            }
        }
    }
}

/// The library's words are names of its own.
fn in_words(error: io::Error) -> io::Error {
    let kind = error.kind();
    if kind == io::ErrorKind::UnexpectedEof {
        return io::Error::new(kind, CUT_OFF);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<lz4_flex::frame::Error>()) {
        Some(inner) => io::Error::new(kind, format!("no LZ4 frame, or a damaged one, follows: {inner:?}")),
        None => error,
    }
}
