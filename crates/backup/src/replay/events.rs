//! Row events packed for `BINLOG` statements: the server applies them as its own replication would.
//!
//! Rows so keep what SQL of them would lose: triggers do not fire a second time, `foreign_key_checks` is as it was, so
//! that what a foreign key did along comes to be again, and every value is the very bytes it was.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use binlog::{Header, Item};

const HEADER_BYTES: usize = 19;
/// Where the flags of a rows event are: behind the table's number.
const FLAGS_AT: usize = 6;
const STATEMENT_END: u8 = 1;
/// Bytes of the checksum that stands behind a format description even when there are no checksums.
const NO_CHECKSUM: [u8; 4] = [0; 4];
/// Bytes of events that one statement takes, unless a single one is longer.
pub(super) const GROUP_BYTES: usize = 512 << 10;

/// Events for a `BINLOG` statement.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// How the log is written: a statement, which has to come first.
    pub(super) format: Arc<String>,
    /// The events, the last of which ends a statement.
    pub(super) events: Vec<u8>,
    /// Where the first one begins in the log.
    pub(super) offset: u64,
}

/// The events of a statement, until it ends.
#[derive(Debug, Default)]
pub(super) struct Group {
    maps: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    /// Where the last rows event begins in `bytes`; none when there is no rows event yet.
    last: Option<usize>,
    offset: u64,
}

impl Group {
    /// Takes a table map.
    pub(super) fn map(&mut self, item: &Item<'_>) {
        if self.bytes.is_empty() {
            self.offset = item.offset;
        }
        let event = event(&item.header, item.body);
        self.bytes.extend_from_slice(&event);
        self.maps.push(event);
    }

    /// Takes a rows event. A group that has become long enough is given out, and goes on.
    pub(super) fn rows(&mut self, item: &Item<'_>, format: &Arc<String>) -> Option<Packed> {
        self.last = Some(self.bytes.len());
        self.bytes.extend_from_slice(&event(&item.header, item.body));
        if self.bytes.len() < GROUP_BYTES {
            return None;
        }
        let packed = self.pack(format);
        self.bytes = self.maps.concat();
        self.offset = item.end;
        packed
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// The statement has ended.
    pub(super) fn end(&mut self, format: &Arc<String>) -> Option<Packed> {
        let packed = self.pack(format);
        *self = Self::default();
        packed
    }

    /// What is there as one statement, which has to end with its last event: tables are not kept open between two.
    fn pack(&mut self, format: &Arc<String>) -> Option<Packed> {
        let last = self.last.take()?;
        if let Some(flags) = self.bytes.get_mut(last + HEADER_BYTES + FLAGS_AT) {
            *flags |= STATEMENT_END;
        }
        let events = std::mem::take(&mut self.bytes);
        Some(Packed { format: Arc::clone(format), events, offset: self.offset })
    }
}

/// The format description as a statement: as if the log had no checksums, since none are given.
pub(super) fn format_statement(item: &Item<'_>) -> String {
    let mut body = item.body.to_vec();
    if let Some(algorithm) = body.last_mut() {
        *algorithm = 0;
    }
    body.extend_from_slice(&NO_CHECKSUM);
    binlog_statement(&event(&item.header, &body))
}

/// The statement that has a server apply events.
pub(super) fn binlog_statement(events: &[u8]) -> String {
    let mut statement = String::with_capacity(events.len() / 3 * 4 + 16);
    statement.push_str("BINLOG '");
    STANDARD.encode_string(events, &mut statement);
    statement.push('\'');
    statement
}

/// An event as it stands in a log without checksums.
fn event(header: &Header, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut event = Vec::with_capacity(HEADER_BYTES + body.len());
    event.extend_from_slice(&header.timestamp_seconds.to_le_bytes());
    event.push(header.kind.0);
    event.extend_from_slice(&header.server_id.to_le_bytes());
    event.extend_from_slice(&length.to_le_bytes());
    event.extend_from_slice(&header.next_position.to_le_bytes());
    event.extend_from_slice(&header.flags.to_le_bytes());
    event.extend_from_slice(body);
    event
}
