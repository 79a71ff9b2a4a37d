//! Transactions' identities of both vendors, and the events that carry them. Sets of them are `flavor`'s matter.

use std::fmt;

use crate::bytes::{Bytes, text};
use crate::error::DecodeError;
use crate::kind::EventKind;

/// A GTID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gtid {
    /// MySQL's: where it came from, an optional tag, and a number.
    MySql {
        /// UUID of the server or group.
        source: [u8; 16],
        /// The tag; empty for none.
        tag: String,
        /// The number.
        number: u64,
    },
    /// MariaDB's.
    MariaDb {
        /// The domain.
        domain: u32,
        /// The server.
        server: u32,
        /// The number in the domain.
        sequence: u64,
    },
}

/// A UUID as text.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql { source, tag, number } if tag.is_empty() => {
                write!(f, "{}:{number}", uuid_text(source))
            }
            Self::MySql { source, tag, number } => write!(f, "{}:{tag}:{number}", uuid_text(source)),
            Self::MariaDb { domain, server, sequence } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

/// What a transaction begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Its GTID; none with `gtid_mode=OFF`.
    pub gtid: Option<Gtid>,
    /// When it committed, in millionths of a second since 1970, if logged (MySQL).
    pub commit_micros: Option<u64>,
    /// Bytes of the whole transaction with this event, if logged (MySQL).
    pub transaction_bytes: Option<u64>,
    /// The last transaction that has to be done before this one, if logged (MySQL).
    pub last_committed: Option<i64>,
    /// Its number in this log, if logged (MySQL).
    pub sequence_number: Option<i64>,
    /// Whether nothing but one event follows, without commit (MariaDB).
    pub is_standalone: bool,
    /// Whether it is DDL, if logged (MariaDB).
    pub is_ddl: bool,
    /// The connection, if logged (MariaDB 11.5 and later).
    pub thread_id: Option<u32>,
    /// The XA transaction that is prepared or completed by it, if any (MariaDB).
    pub xid: Option<Xid>,
}

/// An XA transaction's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xid {
    /// Number of its format.
    pub format: u32,
    /// Global part.
    pub global: Vec<u8>,
    /// Branch.
    pub branch: Vec<u8>,
}

/// Gtid and Anonymous_Gtid.
pub(crate) fn mysql(kind: EventKind, body: &[u8]) -> Result<Start, DecodeError> {
    let mut bytes = Bytes::new(body);
    let _flags = bytes.u8()?;
    let source = bytes.array()?;
    let number = bytes.u64()?;
    let is_anonymous = kind == EventKind::ANONYMOUS_GTID || number == 0;
    let gtid = (!is_anonymous).then(|| Gtid::MySql { source, tag: String::new(), number });
    let mut start = Start { gtid, ..Start::default() };
    // Each of the following came with a later server; what is missing is not known.
    if bytes.is_empty() || bytes.u8()? != 2 {
        return Ok(start);
    }
    start.last_committed = Some(bytes.u64()?.cast_signed());
    start.sequence_number = Some(bytes.u64()?.cast_signed());
    if bytes.len() < 7 {
        return Ok(start);
    }
    let immediate = bytes.uint(7)?;
    // The highest bit says that the commit on the first server was another.
    if immediate >> 55 & 1 == 1 {
        bytes.skip(7)?;
    }
    start.commit_micros = Some(immediate & ((1 << 55) - 1));
    if !bytes.is_empty() {
        start.transaction_bytes = Some(bytes.lenenc()?);
    }
    Ok(start)
}

/// A whole number of the serialization library: as many low bits set as bytes follow the first.
fn varint(bytes: &mut Bytes<'_>) -> Result<u64, DecodeError> {
    let first = bytes.u8()?;
    let more = first.trailing_ones();
    if more == 8 {
        return bytes.u64();
    }
    let count = usize::try_from(more).unwrap_or(8);
    let high = bytes.uint(count)?;
    let low = u64::from(first >> (more + 1).min(7)) & ((1 << (7 - more)) - 1);
    Ok(low | high.checked_shl(7 - more).unwrap_or(0))
}

/// The same for signed numbers, whose sign is the lowest bit.
fn varint_signed(bytes: &mut Bytes<'_>) -> Result<i64, DecodeError> {
    let raw = varint(bytes)?;
    let magnitude = (raw >> 1).cast_signed();
    Ok(if raw & 1 == 1 { !magnitude } else { magnitude })
}

/// Gtid_tagged_log: fields behind their numbers, as MySQL's serialization library writes them.
pub(crate) fn mysql_tagged(body: &[u8]) -> Result<Start, DecodeError> {
    let mut bytes = Bytes::new(body);
    if varint(&mut bytes)? != 1 {
        return Err(DecodeError::Bad("a serialization of another version than 1"));
    }
    let _size = varint(&mut bytes)?;
    let last_needed = varint(&mut bytes)?;
    let mut start = Start::default();
    let mut source = [0; 16];
    let mut tag = String::new();
    let mut number = 0;
    while !bytes.is_empty() {
        match varint(&mut bytes)? {
            0 | 9 | 10 | 11 => {
                varint(&mut bytes)?;
            }
            1 => {
                for byte in &mut source {
                    let value = varint(&mut bytes)?;
                    *byte = u8::try_from(value).map_err(|_| DecodeError::Bad("a UUID of more than bytes"))?;
                }
            }
            2 => number = varint_signed(&mut bytes)?,
            3 => {
                let length = varint(&mut bytes)?;
                tag = text(bytes.take_u64(length)?);
            }
            4 => start.last_committed = Some(varint_signed(&mut bytes)?),
            5 => start.sequence_number = Some(varint_signed(&mut bytes)?),
            6 => start.commit_micros = Some(varint(&mut bytes)?),
            7 => {
                varint(&mut bytes)?;
            }
            8 => start.transaction_bytes = Some(varint(&mut bytes)?),
            // The server numbers fields from 1 here; 0 says that all may be ignored.
            unknown if unknown < last_needed => {
                return Err(DecodeError::Unknown { what: "field of a tagged GTID", code: unknown });
            }
            // The length of an unknown field is not known either.
            _ => break,
        }
    }
    if let Ok(number @ 1..) = u64::try_from(number) {
        start.gtid = Some(Gtid::MySql { source, tag, number });
    }
    Ok(start)
}

const FLAG_STANDALONE: u8 = 1;
const FLAG_GROUP_COMMIT: u8 = 2;
const FLAG_DDL: u8 = 32;
const FLAG_PREPARED_XA: u8 = 64;
const FLAG_COMPLETED_XA: u8 = 128;
const EXTRA_MULTI_ENGINE: u8 = 1;
const EXTRA_END_ALTER: u8 = 4 | 8;
const EXTRA_THREAD_ID: u8 = 16;

/// MariaDB's Gtid.
pub(crate) fn mariadb(server: u32, body: &[u8]) -> Result<Start, DecodeError> {
    let mut bytes = Bytes::new(body);
    let sequence = bytes.u64()?;
    let domain = bytes.u32()?;
    let flags = bytes.u8()?;
    let mut start = Start {
        gtid: Some(Gtid::MariaDb { domain, server, sequence }),
        is_standalone: flags & FLAG_STANDALONE != 0,
        is_ddl: flags & FLAG_DDL != 0,
        ..Start::default()
    };
    if flags & FLAG_GROUP_COMMIT != 0 {
        bytes.skip(8)?;
    }
    if flags & (FLAG_PREPARED_XA | FLAG_COMPLETED_XA) != 0 {
        let format = bytes.u32()?;
        let [global, branch] = bytes.array()?;
        let global = bytes.take(usize::from(global))?.to_vec();
        let branch = bytes.take(usize::from(branch))?.to_vec();
        start.xid = Some(Xid { format, global, branch });
    }
    // Padding reads as no further flags.
    let Ok(extra) = bytes.u8() else { return Ok(start) };
    if extra & EXTRA_MULTI_ENGINE != 0 {
        bytes.skip(1)?;
    }
    if extra & EXTRA_END_ALTER != 0 {
        bytes.skip(8)?;
    }
    if extra & EXTRA_THREAD_ID != 0 {
        start.thread_id = Some(bytes.u32()?);
    }
    Ok(start)
}

/// MariaDB's list of the last GTID of each domain and server.
pub(crate) fn mariadb_list(body: &[u8]) -> Result<Vec<Gtid>, DecodeError> {
    let mut bytes = Bytes::new(body);
    let count = usize::try_from(bytes.u32()? & 0x0FFF_FFFF).map_err(|_| DecodeError::Short)?;
    if count.saturating_mul(16) > bytes.len() {
        return Err(DecodeError::Short);
    }
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(Gtid::MariaDb { domain: bytes.u32()?, server: bytes.u32()?, sequence: bytes.u64()? });
    }
    Ok(list)
}

/// MySQL's GTIDs of earlier logs, as text. The number of sources says in its high bytes whether there are tags.
pub(crate) fn mysql_set(body: &[u8]) -> Result<String, DecodeError> {
    let mut bytes = Bytes::new(body);
    let head = bytes.u64()?;
    let is_tagged = head >> 56 == 1;
    let count = if is_tagged { head >> 8 & 0xFFFF_FFFF_FFFF } else { head };
    let mut parts: Vec<String> = Vec::new();
    let mut previous = None;
    for _ in 0..count {
        let source = bytes.array()?;
        let mut part = String::new();
        if previous != Some(source) {
            part.push_str(&uuid_text(&source));
        }
        if is_tagged {
            let length = bytes.u8()? / 2;
            let tag = bytes.take(usize::from(length))?;
            if !tag.is_empty() {
                part.push(':');
                part.push_str(&text(tag));
            }
        }
        for _ in 0..bytes.u64()? {
            let (first, end) = (bytes.u64()?, bytes.u64()?);
            let last = end.saturating_sub(1);
            part.push_str(&if first == last { format!(":{first}") } else { format!(":{first}-{last}") });
        }
        match parts.last_mut() {
            Some(before) if previous == Some(source) => before.push_str(&part),
            _ => parts.push(part),
        }
        previous = Some(source);
    }
    Ok(parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_serialization_library() {
        for (raw, value) in [
            (&[0x72][..], 57),
            (&[0xc9, 0x02], 0xb2),
            (&[0x83, 0x12, 0x0b], 90_704),
            (&[0xff, 1, 0, 0, 0, 0, 0, 0, 0], 1),
            (&[0x7f, 0xf0, 0x7c, 0x1e, 0x52, 0xc0, 0x60, 0x06], 0x06_60c0_521e_7cf0),
        ] {
            assert_eq!(varint(&mut Bytes::new(raw)).unwrap(), value, "{raw:x?}");
        }
        assert_eq!(varint_signed(&mut Bytes::new(&[0x04])).unwrap(), 1);
        assert_eq!(varint_signed(&mut Bytes::new(&[0x02])).unwrap(), -1);
        assert!(varint(&mut Bytes::new(&[0x7f, 1])).is_err());
    }

    #[test]
    fn an_empty_mariadb_gtid_is_refused_and_padding_is_not_read() {
        assert!(mariadb(1, &[0; 12]).is_err());
        let start = mariadb(7, &[5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(start.gtid.unwrap().to_string(), "2-7-5");
        assert!(start.is_standalone && start.is_ddl && start.thread_id.is_none());
    }
}
