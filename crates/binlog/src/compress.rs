//! What MariaDB compresses: statements, rows and columns. MySQL's compressed transactions are streams, in `walk`.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::{DeflateDecoder, ZlibDecoder};

use crate::bytes::Bytes;
use crate::error::DecodeError;

/// No packet, and so no statement or set of rows, is larger.
const UNPACKED_MAX: u64 = 1 << 30;

fn bounded(size: u64) -> Result<(), DecodeError> {
    if size > UNPACKED_MAX {
        let what = "compressed content";
        return Err(DecodeError::TooLarge { what, bytes: size, limit_bytes: UNPACKED_MAX });
    }
    Ok(())
}

/// Reads exactly `size` bytes and not more: a stream may unpack to far more than it says.
fn unpack(mut stream: impl std::io::Read, size: u64) -> Result<Vec<u8>, DecodeError> {
    bounded(size)?;
    let mut unpacked = Vec::new();
    let failed = |error: std::io::Error| DecodeError::Unpack(error.to_string());
    stream.by_ref().take(size + 1).read_to_end(&mut unpacked).map_err(failed)?;
    if u64::try_from(unpacked.len()) != Ok(size) {
        return Err(DecodeError::Unpack("it has another length than announced".to_owned()));
    }
    Ok(unpacked)
}

/// The compressed part of an event: an algorithm and the length of the length, the length, and a zlib stream.
pub(crate) fn event(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Bytes::new(bytes);
    let head = bytes.u8()?;
    let algorithm = head >> 4 & 7;
    if head & 0x80 == 0 || algorithm != 0 {
        return Err(DecodeError::Unknown { what: "compression", code: u64::from(head) });
    }
    let size = bytes.uint_be(usize::from(head & 7))?;
    unpack(ZlibDecoder::new(bytes.rest()), size)
}

/// A value of a compressed column: a byte that says how, then the content.
pub(crate) fn column(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let Some((head, rest)) = bytes.split_first() else { return Ok(Cow::Borrowed(&[])) };
    match head >> 4 {
        0 if *head == 0 => Ok(Cow::Borrowed(rest)),
        8 => {
            let mut content = Bytes::new(rest);
            let size = content.uint_be(usize::from(head & 7))?;
            let unpacked = if head & 8 == 0 {
                unpack(ZlibDecoder::new(content.rest()), size)?
            } else {
                unpack(DeflateDecoder::new(content.rest()), size)?
            };
            Ok(Cow::Owned(unpacked))
        }
        _ => Err(DecodeError::Unknown { what: "column compression", code: u64::from(*head) }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn zlib(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn content_has_to_be_as_long_as_announced() {
        let packed = zlib(b"select 1");
        let with = |head: &[u8]| [head, &packed[..]].concat();
        assert_eq!(event(&with(&[0x81, 8])).unwrap(), b"select 1");
        assert_eq!(event(&with(&[0x82, 0, 8])).unwrap(), b"select 1");
        for wrong in [&[0x81, 7][..], &[0x81, 9], &[0x91, 8], &[0x01, 8], &[0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert!(event(&with(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(&*column(&with(&[0x81, 8])).unwrap(), b"select 1");
        assert_eq!(&*column(b"\0plain").unwrap(), b"plain");
        assert_eq!(&*column(b"").unwrap(), b"");
    }
}
