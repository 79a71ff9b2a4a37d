//! Rows events: which rows changed and how. Rows are counted by their lengths alone, or decoded to values.

use std::borrow::Cow;

use crate::bytes::{Bits, Bytes};
use crate::compress;
use crate::error::DecodeError;
use crate::header::Format;
use crate::json_diff;
use crate::kind::EventKind;
use crate::table::{ColumnType, Table, Width, table_id};
use crate::value::{self, Value};

/// Ends a statement that changed no row.
pub(crate) const NO_TABLE: u64 = 0x00FF_FFFF;
const FLAG_STATEMENT_END: u16 = 1;
const FLAG_NO_FOREIGN_KEY_CHECKS: u16 = 2;
const FLAG_NO_UNIQUE_CHECKS: u16 = 4;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It was added.
    Insert,
    /// It was changed.
    Update,
    /// It was taken away.
    Delete,
}

impl Verb {
    /// As SQL has it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// The values of a row, one for each column of its table; none for a column that was not logged.
pub type Image<'a> = Vec<Option<Value<'a>>>;

/// One changed row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// As it was; none for an insert.
    pub before: Option<Image<'a>>,
    /// As it is after; none for a delete.
    pub after: Option<Image<'a>>,
}

impl<'a> Row<'a> {
    /// The image after, with differences of JSON columns applied to what was before. They stay differences where that
    /// was not logged, or is not what they differ from. None for a delete.
    #[must_use]
    pub fn whole_after(&self) -> Option<Image<'a>> {
        let mut whole = self.after.clone()?;
        for (at, value) in whole.iter_mut().enumerate() {
            let Some(Value::JsonDiff(diffs)) = value else { continue };
            if let Some(Some(Value::Json(old))) = self.before.as_ref().and_then(|before| before.get(at))
                && let Some(new) = json_diff::apply(old, diffs)
            {
                *value = Some(Value::Json(new));
            }
        }
        Some(whole)
    }
}

/// A rows event.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// The table's number in the log.
    pub table_id: u64,
    /// What happened to the rows.
    pub verb: Verb,
    flags: u16,
    is_partial: bool,
    columns: usize,
    first: Bits<'a>,
    second: Bits<'a>,
    data: Cow<'a, [u8]>,
}

/// What the number of a rows event's type says: verb, and whether it is of version 2, compressed, partial.
#[derive(Clone, Copy)]
struct Shape {
    verb: Verb,
    has_extra: bool,
    is_compressed: bool,
    is_partial: bool,
}

const fn shape(kind: EventKind) -> Option<Shape> {
    let (verb, has_extra, is_compressed, is_partial) = match kind {
        EventKind::WRITE_ROWS_V1 => (Verb::Insert, false, false, false),
        EventKind::UPDATE_ROWS_V1 => (Verb::Update, false, false, false),
        EventKind::DELETE_ROWS_V1 => (Verb::Delete, false, false, false),
        EventKind::WRITE_ROWS => (Verb::Insert, true, false, false),
        EventKind::UPDATE_ROWS => (Verb::Update, true, false, false),
        EventKind::DELETE_ROWS => (Verb::Delete, true, false, false),
        EventKind::PARTIAL_UPDATE_ROWS => (Verb::Update, true, false, true),
        EventKind::WRITE_ROWS_COMPRESSED_V1 => (Verb::Insert, false, true, false),
        EventKind::UPDATE_ROWS_COMPRESSED_V1 => (Verb::Update, false, true, false),
        EventKind::DELETE_ROWS_COMPRESSED_V1 => (Verb::Delete, false, true, false),
        EventKind::WRITE_ROWS_COMPRESSED => (Verb::Insert, true, true, false),
        EventKind::UPDATE_ROWS_COMPRESSED => (Verb::Update, true, true, false),
        EventKind::DELETE_ROWS_COMPRESSED => (Verb::Delete, true, true, false),
        _ => return None,
    };
    Some(Shape { verb, has_extra, is_compressed, is_partial })
}

/// Whether events of this type hold rows.
#[inline]
pub(crate) const fn is_rows(kind: EventKind) -> bool {
    matches!(kind.0, 23..=25 | 30..=32 | 39 | 166..=171)
}

impl<'a> Rows<'a> {
    #[inline]
    pub(crate) fn parse(format: &Format, kind: EventKind, body: &'a [u8]) -> Result<Self, DecodeError> {
        let shape = shape(kind).ok_or(DecodeError::Bad("a type that holds no rows"))?;
        let mut bytes = Bytes::new(body);
        let table_id = table_id(&mut bytes, format, kind)?;
        let flags = bytes.u16()?;
        if shape.has_extra {
            // Its length counts itself.
            let extra = usize::from(bytes.u16()?);
            bytes.skip(extra.checked_sub(2).ok_or(DecodeError::Short)?)?;
        }
        let columns = bytes.lenenc_usize()?;
        let first = Bits::take(&mut bytes, columns)?;
        let second = if shape.verb == Verb::Update { Bits::take(&mut bytes, columns)? } else { first };
        let data = if shape.is_compressed {
            Cow::Owned(compress::event(bytes.rest())?)
        } else {
            Cow::Borrowed(bytes.rest())
        };
        Ok(Self {
            table_id,
            verb: shape.verb,
            flags,
            is_partial: shape.is_partial,
            columns,
            first,
            second,
            data,
        })
    }

    /// Whether it is the last event of its statement.
    #[must_use]
    pub const fn ends_statement(&self) -> bool {
        self.flags & FLAG_STATEMENT_END != 0
    }

    /// Whether the session had `foreign_key_checks` off.
    #[must_use]
    pub const fn skips_foreign_keys(&self) -> bool {
        self.flags & FLAG_NO_FOREIGN_KEY_CHECKS != 0
    }

    /// Whether the session had `unique_checks` off.
    #[must_use]
    pub const fn skips_unique_checks(&self) -> bool {
        self.flags & FLAG_NO_UNIQUE_CHECKS != 0
    }

    /// Whether it only ends a statement.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    fn check(&self, table: &Table) -> Result<(), DecodeError> {
        if self.columns != table.columns.len() {
            return Err(DecodeError::ColumnCount { rows: self.columns, map: table.columns.len() });
        }
        Ok(())
    }

    /// How many rows it holds, found by their lengths without decoding a value.
    ///
    /// # Errors
    /// When the rows are not as the table map says.
    #[inline]
    pub fn count(&self, table: &Table) -> Result<u64, DecodeError> {
        self.check(table)?;
        let mut bytes = Bytes::new(&self.data);
        let mut count = 0;
        let first_is_full = self.first.is_full();
        let second_is_full = self.second.is_full();
        while !bytes.is_empty() {
            let before = bytes.len();
            skip_image(&mut bytes, table, &self.first, first_is_full)?;
            if self.verb == Verb::Update {
                self.partial_columns(&mut bytes, table)?;
                skip_image(&mut bytes, table, &self.second, second_is_full)?;
            }
            if bytes.len() == before {
                return Err(DecodeError::Bad("rows of no bytes"));
            }
            count += 1;
        }
        Ok(count)
    }

    /// Reads what stands before the after image of a partial update: which JSON columns are differences.
    fn partial_columns<'d>(
        &self,
        bytes: &mut Bytes<'d>,
        table: &Table,
    ) -> Result<Option<Bits<'d>>, DecodeError> {
        if !self.is_partial || bytes.lenenc()? & 1 == 0 {
            return Ok(None);
        }
        let is_json = |kind| matches!(kind, ColumnType::Json { .. });
        let columns = table.columns.iter().filter(|column| is_json(column.kind)).count();
        Bits::take(bytes, columns).map(Some)
    }

    /// Decodes the rows, one after the other.
    ///
    /// # Errors
    /// When they have another number of columns than the table map.
    pub fn decode<'r>(&'r self, table: &'r Table) -> Result<Decoded<'r>, DecodeError> {
        self.check(table)?;
        Ok(Decoded { rows: self, table, bytes: Bytes::new(&self.data) })
    }
}

#[inline]
fn skip_image(
    bytes: &mut Bytes<'_>,
    table: &Table,
    present: &Bits<'_>,
    is_full: bool,
) -> Result<(), DecodeError> {
    let count = if is_full { table.columns.len() } else { present.count() };
    let nulls = Bits::take(bytes, count)?;
    let mut nth = 0;
    for (at, width) in table.widths.iter().enumerate() {
        if !is_full && !present.is_set(at) {
            continue;
        }
        let is_null = nulls.is_set(nth);
        nth += 1;
        if is_null {
            continue;
        }
        match *width {
            Width::Fixed(width) => bytes.skip(usize::from(width))?,
            Width::Prefixed(1) => {
                let length = bytes.u8()?;
                bytes.skip(usize::from(length))?;
            }
            Width::Prefixed(2) => {
                let length = bytes.u16()?;
                bytes.skip(usize::from(length))?;
            }
            Width::Prefixed(width) => {
                let length = bytes.uint(usize::from(width))?;
                bytes.take_u64(length)?;
            }
        }
    }
    Ok(())
}

/// The rows of an event, decoded as they are asked for. After an error there are no more.
pub struct Decoded<'r> {
    rows: &'r Rows<'r>,
    table: &'r Table,
    bytes: Bytes<'r>,
}

impl<'r> Decoded<'r> {
    fn image(&mut self, present: &Bits<'_>, diffs: Option<Bits<'_>>) -> Result<Image<'r>, DecodeError> {
        let nulls = Bits::take(&mut self.bytes, present.count())?;
        let mut image = Vec::with_capacity(self.table.columns.len());
        let (mut nth, mut nth_json) = (0, 0);
        for (at, column) in self.table.columns.iter().enumerate() {
            let mut is_diff = false;
            if matches!(column.kind, ColumnType::Json { .. }) {
                is_diff = diffs.is_some_and(|diffs| diffs.is_set(nth_json));
                nth_json += 1;
            }
            if !present.is_set(at) {
                image.push(None);
                continue;
            }
            let is_null = nulls.is_set(nth);
            nth += 1;
            image.push(Some(if is_null {
                Value::Null
            } else {
                value::decode(&mut self.bytes, column, is_diff)?
            }));
        }
        Ok(image)
    }

    fn row(&mut self) -> Result<Row<'r>, DecodeError> {
        let left = self.bytes.len();
        let rows = self.rows;
        let first = self.image(&rows.first, None)?;
        let row = match rows.verb {
            Verb::Insert => Row { before: None, after: Some(first) },
            Verb::Delete => Row { before: Some(first), after: None },
            Verb::Update => {
                let diffs = rows.partial_columns(&mut self.bytes, self.table)?;
                Row { before: Some(first), after: Some(self.image(&rows.second, diffs)?) }
            }
        };
        if self.bytes.len() == left {
            return Err(DecodeError::Bad("rows of no bytes"));
        }
        Ok(row)
    }
}

impl<'r> Iterator for Decoded<'r> {
    type Item = Result<Row<'r>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let row = self.row();
        if row.is_err() {
            self.bytes = Bytes::new(&[]);
        }
        Some(row)
    }
}
