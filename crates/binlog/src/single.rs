//! One event by itself, as a server sends it: its header, and what it says where that is asked for.
//!
//! It follows no log: where the event is, and what it is part of, is for the caller to know.

use crate::error::DecodeError;
use crate::event::{self, Event};
use crate::header::{CHECKSUM_BYTES, Format, FormatError, HEADER_BYTES, Header, checksum_holds};

/// An event by itself.
#[derive(Clone, Copy, Debug)]
pub struct Single<'a> {
    /// Its header.
    pub header: Header,
    format: &'a Format,
    body: &'a [u8],
}

impl<'a> Single<'a> {
    /// Takes a whole event, with header and checksum, and compares the checksum.
    ///
    /// # Errors
    /// If the bytes are not one event, or its checksum does not hold.
    pub fn parse(bytes: &'a [u8], format: &'a Format) -> Result<Self, DecodeError> {
        let header = Header::parse(bytes)?;
        if usize::try_from(header.event_bytes) != Ok(bytes.len()) {
            return Err(DecodeError::Bad("another length than its header says"));
        }
        if format.has_checksums && !checksum_holds(bytes, header.kind) {
            return Err(DecodeError::Bad("a checksum that does not hold"));
        }
        let tail = if format.has_checksums { CHECKSUM_BYTES } else { 0 };
        let end = bytes.len().checked_sub(tail).ok_or(DecodeError::Short)?;
        let body = bytes.get(HEADER_BYTES..end).ok_or(DecodeError::Short)?;
        Ok(Self { header, format, body })
    }

    /// Decodes it.
    ///
    /// # Errors
    /// When the content is not what the type says.
    pub fn event(&self) -> Result<Event<'a>, DecodeError> {
        event::decode(&self.header, self.format, self.body)
    }
}

impl Format {
    /// Reads the description of a log's format from its event, with header and checksum.
    ///
    /// # Errors
    /// If it is none, or of a version that no supported server writes.
    pub fn of_event(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::parse(bytes).map_err(|error| match error {
            FormatError::Version(version) => {
                DecodeError::Unknown { what: "binary log version", code: u64::from(version) }
            }
            FormatError::Decode(error) => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::EventKind;

    fn rotate(name: &str) -> Vec<u8> {
        let length = u32::try_from(19 + 8 + name.len() + 4).unwrap();
        let mut event = vec![1, 0, 0, 0, 4, 7, 0, 0, 0];
        event.extend(length.to_le_bytes());
        event.extend([0; 6]);
        event.extend(4_u64.to_le_bytes());
        event.extend(name.as_bytes());
        let sum = crc32fast::hash(&event);
        event.extend(sum.to_le_bytes());
        event
    }

    #[test]
    fn an_event_is_read_by_itself_and_damage_is_seen() {
        let format = Format::default();
        let mut event = rotate("bin.000002");
        let single = Single::parse(&event, &format).unwrap();
        assert_eq!(single.header.kind, EventKind::ROTATE);
        assert!(
            matches!(single.event().unwrap(), Event::Rotate { position: 4, name } if name == "bin.000002")
        );
        assert!(Single::parse(&event[..event.len() - 1], &format).is_err());
        event[30] ^= 1;
        assert!(Single::parse(&event, &format).is_err());
        assert!(Single::parse(&[], &format).is_err());
    }
}
