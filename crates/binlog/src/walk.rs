//! A whole log, event by event, compressed transactions unpacked, table maps kept.
//!
//! What to do with the events is the caller's matter; what is damaged is counted or stops the walk, as asked.

use std::io::Read;
use std::ops::ControlFlow;

use crate::bytes::Bytes;
use crate::error::{Damage, DamageReason, DecodeError, ReadError};
use crate::event::{self, Event};
use crate::frames::{Damages, EVENT_BYTES_MAX, Frame, Frames, ReadOptions};
use crate::header::{Format, HEADER_BYTES, Header};
use crate::kind::EventKind;
use crate::place::Place;
use crate::rows::{self, NO_TABLE, Rows};
use crate::table::Table;
use crate::tables::Tables;

/// Largest window a compressed transaction may ask for, as a power of two: 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// One event of a walk.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// Where its outer event begins, in bytes from the start of the log.
    pub offset: u64,
    /// Where its outer event ends.
    pub end: u64,
    /// Whether it was inside a compressed transaction.
    pub is_inner: bool,
    /// Its header.
    pub header: Header,
    /// Its content, without header and checksum.
    pub body: &'a [u8],
    /// How the log is written.
    pub format: &'a Format,
    /// The table maps in force.
    pub tables: &'a Tables,
    /// Where its table stands among them, for a table map.
    mapped: Option<usize>,
}

impl<'a> Item<'a> {
    /// Decodes it.
    ///
    /// # Errors
    /// When the content is not what the type says.
    #[inline]
    pub fn event(&self) -> Result<Event<'a>, DecodeError> {
        event::decode(&self.header, self.format, self.body)
    }

    /// Its rows and their table; none when it holds none.
    ///
    /// # Errors
    /// When the content is not what the type says, or no table map explains it.
    #[inline]
    pub fn rows(&self) -> Result<Option<(Rows<'a>, &'a Table)>, DecodeError> {
        if !rows::is_rows(self.header.kind) {
            return Ok(None);
        }
        let rows = Rows::parse(self.format, self.header.kind, self.body)?;
        if rows.table_id == NO_TABLE && rows.is_empty() {
            return Ok(None);
        }
        let table = self.tables.find(rows.table_id).ok_or(DecodeError::NoTableMap(rows.table_id))?;
        Ok(Some((rows, table)))
    }

    /// The table it maps; none for other events.
    #[inline]
    #[must_use]
    pub fn table_map(&self) -> Option<&'a Table> {
        self.mapped.and_then(|at| self.tables.nth(at))
    }
}

/// How a walk ended.
#[derive(Clone, Debug)]
pub struct Walked {
    /// Bytes read.
    pub bytes: u64,
    /// What was passed over.
    pub damages: Damages,
    /// How the log is written.
    pub format: Format,
}

impl Walked {
    /// Takes over how the walk of the part behind this one ended.
    pub(crate) fn go_on(&mut self, next: Self) {
        self.bytes = next.bytes;
        self.damages.absorb(next.damages);
        self.format = next.format;
    }
}

/// How a walk through a part ended.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// What was read, from the log's beginning on; damage is that of the part.
    pub walked: Walked,
    /// Where the next part begins; none at the log's end.
    pub at: Option<Place>,
}

/// What an event was used for; an error counts as damage there.
pub type Used = Result<ControlFlow<()>, DecodeError>;

/// Reads a log from its first byte to its end, or until `on` breaks it off.
///
/// # Errors
/// When it is not a readable log, or is damaged and damage is not to be passed over.
pub fn walk<R: Read>(
    source: R,
    options: ReadOptions,
    tables: &mut Tables,
    on: impl FnMut(&Item<'_>) -> Used,
) -> Result<Walked, ReadError> {
    walk_part(source, &Place::default(), &[], options, tables, on).map(|stopped| stopped.walked)
}

/// Reads a part of a log: from a place, where `source` begins, to the first one of `until` that an event begins at,
/// or to the log's end. That event is not given.
///
/// # Errors
/// When it is not a readable log, or is damaged and damage is not to be passed over.
pub fn walk_part<R: Read>(
    source: R,
    from: &Place,
    until: &[Place],
    options: ReadOptions,
    tables: &mut Tables,
    mut on: impl FnMut(&Item<'_>) -> Used,
) -> Result<Stopped, ReadError> {
    let mut frames = if from.offset == 0 {
        tables.forget();
        Frames::file(source, options)?
    } else {
        Frames::part(source, options, &from.format, from.offset)
    };
    let mut fragments = from.pieces.clone();
    let mut stops = until.iter().map(Place::offset);
    let mut stop = stops.next().unwrap_or(u64::MAX);
    while let Some((frame, format)) = frames.next()? {
        let offset = frame.offset;
        // One that an event spans, or damage, is left out.
        while stop < offset {
            stop = stops.next().unwrap_or(u64::MAX);
        }
        if offset == stop {
            let format = frames.format().clone();
            let at = Some(Place { offset, format: format.clone(), pieces: fragments });
            let walked = Walked { bytes: offset, damages: frames.into_damages(), format };
            return Ok(Stopped { walked, at });
        }
        let bytes = u64::from(frame.header.event_bytes);
        let end = offset + bytes;
        let used = match frame.header.kind {
            EventKind::TRANSACTION_PAYLOAD => {
                let mut context = Context { format, tables: &mut *tables, options, offset, end };
                match payload(&frame, &mut context, &mut on) {
                    Ok(Unpacked { flow, damages }) => {
                        frames.absorb(damages);
                        Ok(flow)
                    }
                    Err(Refused::Read(error)) => return Err(error),
                    Err(Refused::Content(error)) => Err(error),
                }
            }
            EventKind::PARTIAL_ROW_DATA => {
                let mut context = Context { format, tables: &mut *tables, options, offset, end };
                fragment(&frame, &mut fragments, &mut context, &mut on)
            }
            _ => give(&frame, format, tables, (offset, end), false, &mut on),
        };
        match used {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => frames.damaged(damage(offset, bytes, &error))?,
        }
    }
    let (bytes, format) = (frames.offset(), frames.format().clone());
    Ok(Stopped { walked: Walked { bytes, damages: frames.into_damages(), format }, at: None })
}

fn damage(offset: u64, bytes: u64, error: &DecodeError) -> Damage {
    let reason = match error {
        DecodeError::NoTableMap(_) => DamageReason::NoTableMap,
        DecodeError::Short
        | DecodeError::Bad(_)
        | DecodeError::Unknown { .. }
        | DecodeError::Unpack(_)
        | DecodeError::TooLarge { .. }
        | DecodeError::ColumnCount { .. } => DamageReason::Content,
    };
    Damage::new(offset, bytes, reason, error.to_string())
}

#[expect(clippy::inline_always, reason = "as for the frames it gets")]
#[inline(always)]
fn give(
    frame: &Frame<'_>,
    format: &Format,
    tables: &mut Tables,
    (offset, end): (u64, u64),
    is_inner: bool,
    on: &mut impl FnMut(&Item<'_>) -> Used,
) -> Used {
    let Frame { header, body, .. } = *frame;
    let mut mapped = None;
    if header.kind == EventKind::TABLE_MAP {
        mapped = Some(tables.adopt(format, body)?);
    } else if header.kind == EventKind::FORMAT_DESCRIPTION && format.created_seconds != 0 {
        // The server restarted: it gives numbers anew.
        tables.forget();
    }
    on(&Item { offset, end, is_inner, header, body, format, tables, mapped })
}

struct Context<'c> {
    format: &'c Format,
    tables: &'c mut Tables,
    options: ReadOptions,
    offset: u64,
    end: u64,
}

struct Unpacked {
    flow: ControlFlow<()>,
    damages: Damages,
}

enum Refused {
    Read(ReadError),
    Content(DecodeError),
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        Self::Content(error)
    }
}

/// The events of a compressed transaction, unpacked as a stream: it may be far larger than it looks.
fn payload(
    frame: &Frame<'_>,
    context: &mut Context<'_>,
    on: &mut impl FnMut(&Item<'_>) -> Used,
) -> Result<Unpacked, Refused> {
    let mut bytes = Bytes::new(frame.body);
    let (mut algorithm, mut size) = (255, None);
    loop {
        let field = bytes.lenenc()?;
        if field == 0 {
            break;
        }
        let mut content = Bytes::new(bytes.lenenc_bytes()?);
        match field {
            1 => size = Some(content.lenenc_usize()?),
            2 => algorithm = content.lenenc()?,
            // 3: the size unpacked, which is not relied on.
            _ => {}
        }
    }
    let packed = match size {
        Some(size) => bytes.take(size)?,
        None => bytes.rest(),
    };
    match algorithm {
        0 => {
            let failed = |error: std::io::Error| DecodeError::Unpack(error.to_string());
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            inner(decoder, context, on)
        }
        255 => inner(packed, context, on),
        code => Err(DecodeError::Unknown { what: "compression of transactions", code }.into()),
    }
}

fn inner<R: Read>(
    source: R,
    context: &mut Context<'_>,
    on: &mut impl FnMut(&Item<'_>) -> Used,
) -> Result<Unpacked, Refused> {
    let Context { format, options, offset, end, .. } = *context;
    let mut frames = Frames::inner(source, options, format, offset);
    while let Some((frame, format)) = frames.next().map_err(Refused::Read)? {
        let bytes = u64::from(frame.header.event_bytes);
        match give(&frame, format, context.tables, (offset, end), true, on) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(flow @ ControlFlow::Break(())) => {
                return Ok(Unpacked { flow, damages: frames.into_damages() });
            }
            Err(error) => frames.damaged(damage(offset, bytes, &error)).map_err(Refused::Read)?,
        }
    }
    Ok(Unpacked { flow: ControlFlow::Continue(()), damages: frames.into_damages() })
}

/// Collects the pieces of a large rows event (MariaDB 12.3) and gives the whole once the last one is there.
fn fragment(
    frame: &Frame<'_>,
    whole: &mut Vec<u8>,
    context: &mut Context<'_>,
    on: &mut impl FnMut(&Item<'_>) -> Used,
) -> Used {
    let mut bytes = Bytes::new(frame.body);
    let (count, number) = (bytes.u32()?, bytes.u32()?);
    if bytes.u8()? & 1 != 0 {
        bytes.skip(8)?;
    }
    if number <= 1 {
        whole.clear();
    }
    let limit = usize::try_from(EVENT_BYTES_MAX).unwrap_or(usize::MAX);
    if whole.len().saturating_add(bytes.len()) > limit {
        return Err(DecodeError::Bad("pieces of rows that are too large together"));
    }
    whole.extend_from_slice(bytes.rest());
    if number < count {
        return Ok(ControlFlow::Continue(()));
    }
    let event = std::mem::take(whole);
    let header = Header::parse(&event)?;
    if !rows::is_rows(header.kind) {
        return Err(DecodeError::Bad("pieces of rows that are not rows together"));
    }
    let size = usize::try_from(header.event_bytes).unwrap_or(usize::MAX).min(event.len());
    let body = event.get(HEADER_BYTES..size).ok_or(DecodeError::Short)?;
    let frame = Frame { offset: frame.offset, header, body };
    give(&frame, context.format, context.tables, (context.offset, context.end), false, on)
}
