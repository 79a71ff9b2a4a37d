//! A cursor over bytes that are not trusted: every read may find them too short, and says so. It knows no event.

use crate::error::DecodeError;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Bytes<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes as many bytes as a length read from the same place says.
    pub(crate) fn take_u64(&mut self, count: u64) -> Read<&'a [u8]> {
        self.take(usize::try_from(count).map_err(|_| DecodeError::Short)?)
    }

    #[inline]
    pub(crate) fn skip(&mut self, count: usize) -> Read<()> {
        self.rest = self.rest.get(count..).ok_or(DecodeError::Short)?;
        Ok(())
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of `count` bytes, lowest first; at most 8.
    #[inline]
    pub(crate) fn uint(&mut self, count: usize) -> Read<u64> {
        let mut whole = [0; 8];
        let bytes = self.take(count)?;
        whole.get_mut(..count).ok_or(DecodeError::Bad("a number wider than 8 bytes"))?.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(whole))
    }

    /// A number of `count` bytes, highest first; at most 8.
    pub(crate) fn uint_be(&mut self, count: usize) -> Read<u64> {
        let bytes = self.take(count)?;
        if count > 8 {
            return Err(DecodeError::Bad("a number wider than 8 bytes"));
        }
        Ok(bytes.iter().fold(0, |whole, byte| whole << 8 | u64::from(*byte)))
    }

    /// A signed number of `count` bytes, lowest first; at most 8.
    pub(crate) fn int(&mut self, count: usize) -> Read<i64> {
        let bits = u32::try_from(count).unwrap_or(8) * 8;
        let unused = 64_u32.saturating_sub(bits);
        let whole = self.uint(count)?.checked_shl(unused).unwrap_or(0);
        Ok(whole.cast_signed().checked_shr(unused).unwrap_or(0))
    }

    /// The length-encoded integer of the client protocol.
    pub(crate) fn lenenc(&mut self) -> Read<u64> {
        match self.u8()? {
            byte @ 0..=250 => Ok(u64::from(byte)),
            252 => self.uint(2),
            253 => self.uint(3),
            254 => self.uint(8),
            251 | 255 => Err(DecodeError::Bad("a length that begins with 251 or 255")),
        }
    }

    pub(crate) fn lenenc_usize(&mut self) -> Read<usize> {
        usize::try_from(self.lenenc()?).map_err(|_| DecodeError::Short)
    }

    pub(crate) fn lenenc_bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.lenenc()?;
        self.take_u64(length)
    }

    /// Bytes after a length of one byte.
    pub(crate) fn short_bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// Bytes up to a NUL, which is taken too.
    pub(crate) fn until_nul(&mut self) -> Read<&'a [u8]> {
        let at = self.rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Short)?;
        let taken = self.take(at)?;
        self.skip(1)?;
        Ok(taken)
    }

    pub(crate) fn rest_taken(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// Bytes that should be UTF-8 and are shown either way.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One bit a column, lowest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn take(from: &mut Bytes<'a>, len: usize) -> Read<Self> {
        Ok(Self { bytes: from.take(len.div_ceil(8))?, len })
    }

    #[inline]
    pub(crate) fn is_set(&self, at: usize) -> bool {
        self.bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    pub(crate) fn count(&self) -> usize {
        (0..self.len).filter(|at| self.is_set(*at)).count()
    }

    /// Whether every column's bit is set.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let Some((last, whole)) = self.bytes.split_last() else { return true };
        let used = if self.len.is_multiple_of(8) { 0xFF } else { (1_u8 << (self.len % 8)) - 1 };
        whole.iter().all(|byte| *byte == 0xFF) && last & used == used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_never_beyond_the_end() {
        let mut bytes = Bytes::new(&[1, 2, 0, 0xff, 0xff, 0xff, 252, 1, 1, 251]);
        assert_eq!(bytes.u8().unwrap(), 1);
        assert_eq!(bytes.u16().unwrap(), 2);
        assert_eq!(bytes.int(3).unwrap(), -1);
        assert_eq!(bytes.lenenc().unwrap(), 257);
        assert!(bytes.lenenc().is_err());
        assert!(matches!(bytes.u32(), Err(DecodeError::Short)));
        assert!(Bytes::new(&[254, 255, 255, 255, 255, 255, 255, 255, 255]).lenenc_bytes().is_err());
        assert!(Bytes::new(&[0; 16]).uint(9).is_err());
    }

    #[test]
    fn bits_count_only_columns() {
        let mut bytes = Bytes::new(&[0xff, 0xfe]);
        let bits = Bits::take(&mut bytes, 9).unwrap();
        assert!(!bits.is_full() && bits.count() == 8 && bits.is_set(7) && !bits.is_set(8));
        assert!(Bits::take(&mut Bytes::new(&[0x07]), 3).unwrap().is_full());
    }
}
