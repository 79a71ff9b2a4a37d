//! Statements in the log, with the session state they ran in.

use std::borrow::Cow;

use crate::bytes::{Bytes, text};
use crate::compress;
use crate::error::DecodeError;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The connection it ran on.
    pub thread_id: u32,
    /// How long it ran, in whole seconds.
    pub exec_seconds: u32,
    /// The error it ended with; 0 for none.
    pub error_code: u16,
    /// The default database.
    pub database: Cow<'a, [u8]>,
    /// The statement.
    pub statement: Cow<'a, [u8]>,
    variables: &'a [u8],
}

/// The session state that is logged with a statement. What was not logged is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Option bits such as `foreign_key_checks`.
    pub flags: Option<u32>,
    /// Bits of `sql_mode`.
    pub sql_mode: Option<u64>,
    /// `auto_increment_increment` and `auto_increment_offset`.
    pub auto_increment: Option<(u16, u16)>,
    /// `character_set_client`, `collation_connection` and `collation_server`.
    pub charsets: Option<[u16; 3]>,
    /// `time_zone`.
    pub time_zone: Option<String>,
    /// Millionths of a second of its time.
    pub micros: Option<u32>,
    /// User and host on whose behalf it ran.
    pub invoker: Option<(String, String)>,
    /// The databases it changed.
    pub databases: Vec<String>,
    /// Its number in the storage engine.
    pub xid: Option<u64>,
    /// A status variable that is not known; those behind it are not read.
    pub unknown: Option<u8>,
}

impl<'a> Query<'a> {
    #[inline]
    pub(crate) fn parse(
        body: &'a [u8],
        post_header: usize,
        is_compressed: bool,
    ) -> Result<Self, DecodeError> {
        let mut bytes = Bytes::new(body);
        let thread_id = bytes.u32()?;
        let exec_seconds = bytes.u32()?;
        let database_bytes = usize::from(bytes.u8()?);
        let error_code = bytes.u16()?;
        let variables_bytes = usize::from(bytes.u16()?);
        bytes.skip(post_header.saturating_sub(13))?;
        let variables = bytes.take(variables_bytes)?;
        let database = Cow::Borrowed(bytes.take(database_bytes)?);
        bytes.skip(1)?;
        let statement = if is_compressed {
            Cow::Owned(compress::event(bytes.rest())?)
        } else {
            Cow::Borrowed(bytes.rest())
        };
        Ok(Self { thread_id, exec_seconds, error_code, database, statement, variables })
    }

    /// The statement as text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.statement)
    }

    /// The session state.
    ///
    /// # Errors
    /// When it ends in the middle of a variable.
    pub fn session(&self) -> Result<Session, DecodeError> {
        let mut bytes = Bytes::new(self.variables);
        let mut session = Session::default();
        while !bytes.is_empty() {
            match bytes.u8()? {
                0 => session.flags = Some(bytes.u32()?),
                1 => session.sql_mode = Some(bytes.u64()?),
                2 => {
                    bytes.short_bytes()?;
                    bytes.skip(1)?;
                }
                3 => session.auto_increment = Some((bytes.u16()?, bytes.u16()?)),
                4 => session.charsets = Some([bytes.u16()?, bytes.u16()?, bytes.u16()?]),
                5 => session.time_zone = Some(text(bytes.short_bytes()?)),
                6 => {
                    bytes.short_bytes()?;
                }
                // Locale, database's collation, collation for utf8mb4.
                7 | 8 | 18 => bytes.skip(2)?,
                9 => bytes.skip(8)?,
                10 => bytes.skip(4)?,
                11 => session.invoker = Some((text(bytes.short_bytes()?), text(bytes.short_bytes()?))),
                12 => {
                    let count = bytes.u8()?;
                    // 254: too many to list.
                    for _ in 0..if count == 254 { 0 } else { count } {
                        session.databases.push(text(bytes.until_nul()?));
                    }
                }
                13 | 128 => session.micros = Some(u32::try_from(bytes.uint(3)?).unwrap_or(0)),
                16 | 19 | 20 => bytes.skip(1)?,
                17 | 129 => session.xid = Some(bytes.u64()?),
                130 => {
                    // The two flags of a split ALTER bring its sequence number.
                    if bytes.u16()? & 12 != 0 {
                        bytes.skip(8)?;
                    }
                }
                131 => {
                    let count = bytes.u8()?;
                    bytes.skip(usize::from(count) * 4)?;
                }
                unknown => {
                    session.unknown = Some(unknown);
                    break;
                }
            }
        }
        Ok(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_state_is_read_up_to_what_is_not_known() {
        let variables = [0, 0, 0, 0, 4, 13, 1, 0, 0, 12, 2, b'a', 0, b'b', 0, 250, 1, 2];
        let mut body = vec![9, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 18, 0];
        body.extend(variables);
        body.extend(b"d\0SELECT 1");
        let query = Query::parse(&body, 13, false).unwrap();
        assert_eq!((query.thread_id, query.exec_seconds, query.text().as_ref()), (9, 2, "SELECT 1"));
        let session = query.session().unwrap();
        assert_eq!(session.flags, Some(0x0400_0000));
        assert_eq!(session.micros, Some(1));
        assert_eq!(session.databases, ["a", "b"]);
        assert_eq!(session.unknown, Some(250));
        assert!(Query::parse(&body[..20], 13, false).is_err());
    }
}
