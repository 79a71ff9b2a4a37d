//! Logs that were compressed as files, by gzip or zstd: unpacked while they are read.

use std::io::{BufReader, Chain, Cursor, Read, Result};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder;

/// What was read to look at it, and the rest.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// A log's bytes, whatever they were packed with.
pub enum Plain<R: Read> {
    /// Not packed.
    AsIs(Whole<R>),
    /// By gzip.
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
    /// By zstd.
    Zstd(Box<Decoder<'static, BufReader<Whole<R>>>>),
}

/// Looks at the first bytes and unpacks what is packed.
///
/// # Errors
/// When the source cannot be read.
pub fn plain<R: Read>(mut source: R) -> Result<Plain<R>> {
    let mut begins = Vec::new();
    source.by_ref().take(4).read_to_end(&mut begins)?;
    let is_zstd = begins == [0x28, 0xb5, 0x2f, 0xfd];
    let is_gzip = begins.starts_with(&[0x1f, 0x8b]);
    let whole = Cursor::new(begins).chain(source);
    if is_zstd {
        return Ok(Plain::Zstd(Box::new(Decoder::with_buffer(BufReader::new(whole))?)));
    }
    if is_gzip {
        return Ok(Plain::Gzip(Box::new(MultiGzDecoder::new(BufReader::new(whole)))));
    }
    Ok(Plain::AsIs(whole))
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::AsIs(source) => source.read(buffer),
            Self::Gzip(source) => source.read(buffer),
            Self::Zstd(source) => source.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn packed_and_plain_logs_read_the_same() {
        let content = b"\xfebin and what follows".to_vec();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        let packed = [gzip.finish().unwrap(), zstd::encode_all(&content[..], 1).unwrap(), content.clone()];
        for bytes in packed {
            let mut read = Vec::new();
            plain(&bytes[..]).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, content);
        }
        let mut read = Vec::new();
        plain(&b"a"[..]).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"a");
    }
}
