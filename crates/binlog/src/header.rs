//! What stands before every event, and the description of the log's own format. It decodes no other event.

use crate::bytes::{Bytes, text};
use crate::error::{DecodeError, ReadError};
use crate::kind::EventKind;

/// Bytes of every event's header.
pub(crate) const HEADER_BYTES: usize = 19;
/// Bytes of a checksum at an event's end.
pub(crate) const CHECKSUM_BYTES: usize = 4;

/// The log is being written, or its server crashed.
const FLAG_IN_USE: u16 = 0x0001;
/// An event that nothing wrote to a log, such as the first ones of a stream.
const FLAG_ARTIFICIAL: u16 = 0x0020;
/// The events are those of another server's log.
const FLAG_RELAY_LOG: u16 = 0x0040;

/// An event's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When, in seconds since 1970.
    pub timestamp_seconds: u32,
    /// What.
    pub kind: EventKind,
    /// On which server it first happened.
    pub server_id: u32,
    /// Bytes of the whole event, with header and checksum.
    pub event_bytes: u32,
    /// Where the next event begins in the log it was first written to. It wraps at 4 GiB, and is not so inside
    /// compressed transactions and relay logs: count bytes instead.
    pub next_position: u32,
    /// Flags.
    pub flags: u16,
}

impl Header {
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        // One look at the length for all of it: this runs for every event.
        let raw = bytes.first_chunk::<HEADER_BYTES>().ok_or(DecodeError::Short)?;
        let [t0, t1, t2, t3, kind, s0, s1, s2, s3, b0, b1, b2, b3, n0, n1, n2, n3, f0, f1] = *raw;
        Ok(Self {
            timestamp_seconds: u32::from_le_bytes([t0, t1, t2, t3]),
            kind: EventKind(kind),
            server_id: u32::from_le_bytes([s0, s1, s2, s3]),
            event_bytes: u32::from_le_bytes([b0, b1, b2, b3]),
            next_position: u32::from_le_bytes([n0, n1, n2, n3]),
            flags: u16::from_le_bytes([f0, f1]),
        })
    }

    /// Whether nothing wrote it to a log: the first events of a stream.
    #[must_use]
    pub const fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }

    /// Whether the event is in a relay log. Its position is then that of the source's log.
    #[must_use]
    pub const fn is_in_relay_log(&self) -> bool {
        self.flags & FLAG_RELAY_LOG != 0
    }
}

/// How a log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The server's version as it writes it, such as `10.11.19-MariaDB-log`.
    pub server_version: String,
    /// When the server started, in seconds since 1970; 0 if the log began later than its server.
    pub created_seconds: u32,
    /// Whether the log was not closed.
    pub is_in_use: bool,
    /// Whether events end with a checksum.
    pub has_checksums: bool,
    /// Bytes before the variable part of each event type, from type 1 on.
    post_header_bytes: Vec<u8>,
}

impl Default for Format {
    /// What today's servers write, for events whose description was damaged.
    fn default() -> Self {
        Self {
            server_version: String::new(),
            created_seconds: 0,
            is_in_use: false,
            has_checksums: true,
            post_header_bytes: Vec::new(),
        }
    }
}

impl Format {
    /// Reads a description from a whole event, checksum included.
    pub(crate) fn parse(event: &[u8]) -> Result<Self, FormatError> {
        let header = Header::parse(event)?;
        let mut body = Bytes::new(event.get(HEADER_BYTES..).ok_or(DecodeError::Short)?);
        let version = body.u16()?;
        if version != 4 {
            return Err(FormatError::Version(version));
        }
        let server_version = body.take(50)?;
        let server_version = text(server_version.split(|byte| *byte == 0).next().unwrap_or_default());
        let created_seconds = body.u32()?;
        if usize::from(body.u8()?) != HEADER_BYTES {
            return Err(FormatError::Decode(DecodeError::Bad("headers of another length than 19")));
        }
        let mut post_header_bytes = body.rest_taken();
        let mut has_checksums = false;
        if writes_checksum_algorithm(&server_version) {
            // The algorithm and a checksum are there even when other events have none.
            let (lengths, tail) = post_header_bytes
                .split_last_chunk::<5>()
                .ok_or(DecodeError::Bad("a format description without a checksum algorithm"))?;
            let [algorithm, ..] = *tail;
            has_checksums = match algorithm {
                0 => false,
                1 => true,
                code => {
                    let what = "checksum algorithm";
                    return Err(FormatError::Decode(DecodeError::Unknown { what, code: u64::from(code) }));
                }
            };
            post_header_bytes = lengths;
        }
        Ok(Self {
            server_version,
            created_seconds,
            is_in_use: header.flags & FLAG_IN_USE != 0,
            has_checksums,
            post_header_bytes: post_header_bytes.to_vec(),
        })
    }

    pub(crate) fn without_checksums(&self) -> Self {
        Self { has_checksums: false, ..self.clone() }
    }

    /// Whether MariaDB wrote it.
    #[must_use]
    pub fn is_mariadb(&self) -> bool {
        self.server_version.contains("MariaDB")
    }

    /// Bytes before the variable part of an event of this type; `usual` where the log does not say.
    #[inline]
    pub(crate) fn post_header(&self, kind: EventKind, usual: usize) -> usize {
        let at = usize::from(kind.0).wrapping_sub(1);
        match self.post_header_bytes.get(at) {
            Some(0) | None => usual,
            Some(bytes) => usize::from(*bytes),
        }
    }
}

/// Why a format description cannot be used.
pub(crate) enum FormatError {
    Decode(DecodeError),
    Version(u16),
}

impl From<DecodeError> for FormatError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl FormatError {
    pub(crate) fn into_read_error(self, offset: u64) -> ReadError {
        match self {
            Self::Version(version) => ReadError::Version { version },
            Self::Decode(error) => {
                let reason = crate::error::DamageReason::Content;
                let message = format!("format description: {error}");
                ReadError::Damaged(crate::error::Damage::new(offset, 0, reason, message))
            }
        }
    }
}

/// Servers write the algorithm since MySQL 5.6.1 and MariaDB 5.3.
fn writes_checksum_algorithm(server_version: &str) -> bool {
    let mut numbers = server_version.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    let version = (next(), next(), next());
    let since = if server_version.contains("MariaDB") { (5, 3, 0) } else { (5, 6, 1) };
    version.cmp(&since).is_ge()
}

/// The checksum of a whole event. A log that is in use has a flag set after its description's was made.
#[inline]
pub(crate) fn checksum_holds(event: &[u8], kind: EventKind) -> bool {
    let Some((content, written)) = event.split_last_chunk::<CHECKSUM_BYTES>() else { return false };
    let written = u32::from_le_bytes(*written);
    if kind != EventKind::FORMAT_DESCRIPTION {
        return crc32fast::hash(content) == written;
    }
    let mut hasher = crc32fast::Hasher::new();
    let (before, after) = content.split_at_checked(17).unwrap_or((content, &[]));
    hasher.update(before);
    if let Some((flags, after)) = after.split_first() {
        hasher.update(&[flags & !1]);
        hasher.update(after);
    }
    hasher.finalize() == written
}
