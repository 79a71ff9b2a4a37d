//! Reading ahead: a thread reads, decrypts and decompresses while another looks at what was read before.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::restore::input::Bytes;

/// Read at once.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that are read and not looked at yet.
const BLOCKS: usize = 4;

/// A block and how much of it is filled; none at the end.
type Sent = io::Result<Option<(Vec<u8>, usize)>>;

/// Bytes that a thread reads. Dropped before the end, the thread ends with the block it is at.
#[derive(Debug)]
pub(super) struct Ahead {
    blocks: Receiver<Sent>,
    /// Blocks to fill again.
    used: Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    end: usize,
    is_over: bool,
}

impl Ahead {
    /// # Errors
    /// If no thread can be begun.
    pub(super) fn new(source: Bytes) -> io::Result<Self> {
        let (blocks_out, blocks) = sync_channel(BLOCKS);
        let (used, used_out) = channel();
        let work = move || read(source, &blocks_out, &used_out);
        thread::Builder::new().name("read-ahead".to_owned()).spawn(work)?;
        Ok(Self { blocks, used, block: Vec::new(), at: 0, end: 0, is_over: false })
    }

    fn next_block(&mut self) -> io::Result<()> {
        let sent = self.blocks.recv().map_err(|_| io::Error::other("the thread that reads is gone"));
        self.is_over = !matches!(sent, Ok(Ok(Some(_))));
        if let Some((block, length)) = sent?? {
            let old = std::mem::replace(&mut self.block, block);
            (self.at, self.end) = (0, length);
            // The thread may be at its end and want no more.
            let _ = self.used.send(old);
        }
        Ok(())
    }
}

fn read(mut source: Bytes, blocks: &SyncSender<Sent>, used: &Receiver<Vec<u8>>) {
    loop {
        let mut block = used.try_recv().unwrap_or_default();
        block.resize(BLOCK_BYTES, 0);
        let (length, end) = fill(&mut source, &mut block);
        let is_wanted = length == 0 || blocks.send(Ok(Some((block, length)))).is_ok();
        if let Some(end) = end.filter(|_| is_wanted) {
            // Nobody is there when the reader was dropped.
            let _ = blocks.send(end.map(|()| None));
            return;
        }
        if !is_wanted {
            return;
        }
    }
}

/// How many bytes were read, and how it ended where that is fewer than the block has.
fn fill(source: &mut Bytes, block: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut length = 0;
    while let Some(room) = block.get_mut(length..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => return (length, Some(Ok(()))),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Some(Err(error))),
        }
    }
    (length, None)
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.end && !self.is_over {
            self.next_block()?;
        }
        Ok(self.block.get(self.at..self.end).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.at = (self.at + length).min(self.end);
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes, then fails or ends.
    struct Given(usize, bool);

    impl Read for Given {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 && self.1 {
                return Err(io::Error::other("damaged"));
            }
            let length = buffer.len().min(self.0).min(70_000);
            for (number, byte) in buffer[..length].iter_mut().enumerate() {
                *byte = u8::try_from((self.0 - number) % 251).unwrap();
            }
            self.0 -= length;
            Ok(length)
        }
    }

    #[test]
    fn what_is_read_ahead_is_what_is_there() {
        const BYTES: usize = 10 << 20;
        let mut plain = Vec::new();
        Given(BYTES, false).read_to_end(&mut plain).unwrap();
        let mut ahead = Ahead::new(Box::new(Given(BYTES, false))).unwrap();
        let mut read = Vec::new();
        ahead.read_to_end(&mut read).unwrap();
        assert!(read == plain);
        assert_eq!(ahead.read(&mut [0; 8]).unwrap(), 0, "the end stays the end");
    }

    #[test]
    fn an_error_comes_after_what_was_read_before_it() {
        let mut read = Vec::new();
        let error = Ahead::new(Box::new(Given(300_000, true))).unwrap().read_to_end(&mut read).unwrap_err();
        assert_eq!((read.len(), error.to_string().as_str()), (300_000, "damaged"));
    }
}
