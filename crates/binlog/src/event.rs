//! Every event type of both vendors, decoded. Rows stay packed until they are asked for.

use crate::bytes::{Bytes, text};
use crate::error::DecodeError;
use crate::gtid::{self, Gtid, Start, Xid};
use crate::header::{Format, Header};
use crate::kind::EventKind;
use crate::query::Query;
use crate::rows::{self, Rows};
use crate::table::Table;

/// A decoded event.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// How the log is written.
    FormatDescription,
    /// A transaction begins.
    Start(Start),
    /// GTIDs of earlier logs (MySQL), as a set's text.
    PreviousGtids(String),
    /// The last GTID of each domain and server in earlier logs (MariaDB).
    GtidList(Vec<Gtid>),
    /// A statement.
    Query(Query<'a>),
    /// The statement that the following rows come from.
    RowsStatement(&'a [u8]),
    /// A table that rows refer to.
    TableMap(Box<Table>),
    /// Changed rows.
    Rows(Rows<'a>),
    /// Commit, with its number in the storage engine.
    Commit(u64),
    /// An XA transaction is prepared, or committed in one phase.
    XaPrepare {
        /// Whether it is committed.
        is_one_phase: bool,
        /// Its identity.
        xid: Xid,
    },
    /// A value that the next statement uses: `LAST_INSERT_ID` (1) or the next auto-increment (2).
    Intvar {
        /// Which.
        kind: u8,
        /// The value.
        value: u64,
    },
    /// The seeds that the next statement uses.
    Rand(u64, u64),
    /// A user variable that the next statement uses.
    UserVariable {
        /// Its name.
        name: String,
        /// Its type, collation and bytes, and whether a whole number is unsigned; none for NULL.
        value: Option<(u8, u32, &'a [u8], bool)>,
    },
    /// A block of a file for LOAD DATA.
    LoadBlock {
        /// The file's number in the log.
        file_id: u32,
        /// Its bytes.
        data: &'a [u8],
    },
    /// LOAD DATA as a statement, with the file's number in the log.
    LoadStatement {
        /// The file's number.
        file_id: u32,
        /// The statement.
        query: Query<'a>,
    },
    /// A file of LOAD DATA that is not used after all.
    LoadAbandoned(u32),
    /// A whole transaction, compressed; its events follow.
    TransactionPayload,
    /// The next log's name and where to begin in it.
    Rotate {
        /// The offset.
        position: u64,
        /// The name.
        name: String,
    },
    /// The server shut down.
    Stop,
    /// The oldest log that a crash recovery needs (MariaDB).
    Checkpoint(String),
    /// Something is missing from the log: the number and the message.
    Incident(u16, String),
    /// The source is alive, and where it is.
    Heartbeat,
    /// A change of a replication group's members, with its identity.
    ViewChange(String),
    /// Certification data of group replication, with the server's UUID.
    TransactionContext(String),
    /// All that follows is encrypted; met only in streams, where it is not.
    StartEncryption,
    /// A type that may be ignored, or that no server writes any more.
    Other(EventKind),
}

/// Decodes an event's content.
pub(crate) fn decode<'a>(header: &Header, format: &Format, body: &'a [u8]) -> Result<Event<'a>, DecodeError> {
    let kind = header.kind;
    if rows::is_rows(kind) {
        return Rows::parse(format, kind, body).map(Event::Rows);
    }
    let mut bytes = Bytes::new(body);
    Ok(match kind {
        EventKind::FORMAT_DESCRIPTION => Event::FormatDescription,
        EventKind::GTID | EventKind::ANONYMOUS_GTID => Event::Start(gtid::mysql(kind, body)?),
        EventKind::GTID_TAGGED => Event::Start(gtid::mysql_tagged(body)?),
        EventKind::MARIADB_GTID => Event::Start(gtid::mariadb(header.server_id, body)?),
        EventKind::PREVIOUS_GTIDS => Event::PreviousGtids(gtid::mysql_set(body)?),
        EventKind::GTID_LIST => Event::GtidList(gtid::mariadb_list(body)?),
        EventKind::QUERY => Event::Query(Query::parse(body, format.post_header(kind, 13), false)?),
        EventKind::QUERY_COMPRESSED => Event::Query(Query::parse(body, format.post_header(kind, 13), true)?),
        // The first byte is the length modulo 256: of no use.
        EventKind::ROWS_QUERY => Event::RowsStatement(body.get(1..).ok_or(DecodeError::Short)?),
        EventKind::ANNOTATE_ROWS => Event::RowsStatement(body),
        EventKind::TABLE_MAP => Event::TableMap(Box::new(Table::parse(format, body)?)),
        EventKind::XID => Event::Commit(bytes.u64()?),
        EventKind::XA_PREPARE => xa_prepare(bytes)?,
        EventKind::INTVAR => Event::Intvar { kind: bytes.u8()?, value: bytes.u64()? },
        EventKind::RAND => Event::Rand(bytes.u64()?, bytes.u64()?),
        EventKind::USER_VAR => user_variable(bytes)?,
        EventKind::APPEND_BLOCK | EventKind::BEGIN_LOAD_QUERY => {
            Event::LoadBlock { file_id: bytes.u32()?, data: bytes.rest() }
        }
        EventKind::EXECUTE_LOAD_QUERY => load_statement(body, format)?,
        EventKind::DELETE_FILE => Event::LoadAbandoned(bytes.u32()?),
        EventKind::TRANSACTION_PAYLOAD => Event::TransactionPayload,
        EventKind::ROTATE => Event::Rotate { position: bytes.u64()?, name: text(bytes.rest()) },
        EventKind::STOP => Event::Stop,
        EventKind::BINLOG_CHECKPOINT => {
            let length = bytes.u32()?;
            Event::Checkpoint(text(bytes.take_u64(u64::from(length))?))
        }
        EventKind::INCIDENT => {
            let number = bytes.u16()?;
            let message = if bytes.is_empty() { String::new() } else { text(bytes.short_bytes()?) };
            Event::Incident(number, message)
        }
        EventKind::HEARTBEAT | EventKind::HEARTBEAT_V2 => Event::Heartbeat,
        EventKind::VIEW_CHANGE => {
            let name = bytes.take(40)?;
            Event::ViewChange(text(name.split(|byte| *byte == 0).next().unwrap_or_default()))
        }
        EventKind::TRANSACTION_CONTEXT => transaction_context(bytes)?,
        EventKind::START_ENCRYPTION => Event::StartEncryption,
        other => Event::Other(other),
    })
}

fn xa_prepare(mut bytes: Bytes<'_>) -> Result<Event<'_>, DecodeError> {
    let is_one_phase = bytes.u8()? != 0;
    let (format, global, branch) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
    let global = bytes.take_u64(u64::from(global))?.to_vec();
    let branch = bytes.take_u64(u64::from(branch))?.to_vec();
    Ok(Event::XaPrepare { is_one_phase, xid: Xid { format, global, branch } })
}

fn user_variable(mut bytes: Bytes<'_>) -> Result<Event<'_>, DecodeError> {
    let length = bytes.u32()?;
    let name = text(bytes.take_u64(u64::from(length))?);
    if bytes.u8()? != 0 {
        return Ok(Event::UserVariable { name, value: None });
    }
    let kind = bytes.u8()?;
    let collation = bytes.u32()?;
    let length = bytes.u32()?;
    let content = bytes.take_u64(u64::from(length))?;
    // Flags came with MySQL 5.6 and MariaDB 10.
    let is_unsigned = bytes.u8().is_ok_and(|flags| flags & 1 != 0);
    Ok(Event::UserVariable { name, value: Some((kind, collation, content, is_unsigned)) })
}

/// A statement with the number of its file, where the file's name stands in it, and how duplicates are treated.
fn load_statement<'a>(body: &'a [u8], format: &Format) -> Result<Event<'a>, DecodeError> {
    let post_header = format.post_header(EventKind::EXECUTE_LOAD_QUERY, 26);
    let mut bytes = Bytes::new(body.get(13..).ok_or(DecodeError::Short)?);
    let file_id = bytes.u32()?;
    let query = Query::parse(body, post_header, false)?;
    Ok(Event::LoadStatement { file_id, query })
}

fn transaction_context(mut bytes: Bytes<'_>) -> Result<Event<'_>, DecodeError> {
    let uuid_bytes = bytes.u8()?;
    // Thread, whether it is GTID-specified, and lengths of what follows.
    bytes.skip(17)?;
    Ok(Event::TransactionContext(text(bytes.take(usize::from(uuid_bytes))?)))
}
