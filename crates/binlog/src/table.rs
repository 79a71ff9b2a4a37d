//! A table as a table map describes it: columns, their types, and names where the server logged them.
//!
//! It reads no rows.

use crate::bytes::{Bits, Bytes, text};
use crate::error::DecodeError;
use crate::header::Format;
use crate::kind::EventKind;

/// Both servers' limit is 4096 (MariaDB) and 4096 (MySQL) columns.
const COLUMNS_MAX: usize = 4096;

/// A column's type, with what is needed to find its values in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Always NULL.
    Null,
    /// A whole number of 1, 2, 3, 4 or 8 bytes.
    Int {
        /// Its width in bytes.
        bytes: u8,
    },
    /// A number of single precision.
    Float,
    /// A number of double precision.
    Double,
    /// A year.
    Year,
    /// A date.
    Date,
    /// A time as MySQL before 5.6.4 stored it.
    TimeOld,
    /// A date with time as MySQL before 5.6.4 stored it.
    DateTimeOld,
    /// A point in time as MySQL before 5.6.4 stored it.
    TimestampOld,
    /// A time with this many digits of a second's fraction.
    Time(u8),
    /// A date with time and this many digits of a second's fraction.
    DateTime(u8),
    /// A point in time with this many digits of a second's fraction.
    Timestamp(u8),
    /// Characters or bytes of varying length, at most this many bytes.
    VarChar(u16),
    /// `VARCHAR ... COMPRESSED` of MariaDB.
    VarCharCompressed(u16),
    /// Characters or bytes of fixed length, at most this many bytes.
    Char(u16),
    /// One of a list, its number in this many bytes.
    Enum {
        /// 1 or 2.
        bytes: u8,
    },
    /// Some of a list, one bit each, in this many bytes.
    Set {
        /// 1 to 8.
        bytes: u8,
    },
    /// A decimal number.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// This many bits.
    Bit(u16),
    /// Characters or bytes behind a length of so many bytes.
    Blob {
        /// 1 to 4.
        length_bytes: u8,
    },
    /// `BLOB COMPRESSED` of MariaDB.
    BlobCompressed {
        /// 1 to 4.
        length_bytes: u8,
    },
    /// MySQL's binary JSON.
    Json {
        /// 1 to 4.
        length_bytes: u8,
    },
    /// A geometry: its reference system and well-known binary.
    Geometry {
        /// 1 to 4.
        length_bytes: u8,
    },
    /// MySQL's vector of single-precision numbers.
    Vector {
        /// 1 to 4.
        length_bytes: u8,
    },
    /// The hidden column of a MySQL multi-valued index.
    TypedArray {
        /// 1 to 4.
        length_bytes: u8,
    },
}

impl ColumnType {
    /// Whether values are whole numbers or others that may be unsigned.
    #[must_use]
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Int { .. } | Self::Float | Self::Double | Self::Decimal { .. } | Self::Year)
    }

    /// Whether values have a character set, the binary one included.
    const fn has_charset(self) -> bool {
        matches!(
            self,
            Self::VarChar(_)
                | Self::VarCharCompressed(_)
                | Self::Char(_)
                | Self::Blob { .. }
                | Self::BlobCompressed { .. }
        )
    }
}

/// How a value's length is found without decoding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Fixed(u16),
    /// Behind a length of so many bytes.
    Prefixed(u8),
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its type.
    pub kind: ColumnType,
    /// Whether it may be NULL.
    pub is_nullable: bool,
    /// Its name, if logged (`binlog_row_metadata=FULL`).
    pub name: Option<String>,
    /// Whether a number is unsigned, if logged.
    pub is_unsigned: Option<bool>,
    /// Number of the collation, if logged; 63 is binary.
    pub collation: Option<u32>,
    /// The list of an ENUM or SET, if logged.
    pub choices: Vec<String>,
    /// Whether `SELECT *` shows it, if logged.
    pub is_visible: Option<bool>,
}

/// A table that row events refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The number that rows name it by.
    pub id: u64,
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Columns of the primary key, if logged.
    pub primary_key: Option<Vec<usize>>,
    pub(crate) widths: Vec<Width>,
    /// Which of the tables in this log it is, by name.
    pub(crate) slot: usize,
    /// Counts up with every table map that is read: tells whether two are the same.
    pub(crate) version: u64,
}

impl Table {
    /// Reads a table map's content.
    pub(crate) fn parse(format: &Format, body: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Bytes::new(body);
        let id = table_id(&mut bytes, format, EventKind::TABLE_MAP)?;
        let _flags = bytes.u16()?;
        let database = text(bytes.short_bytes()?);
        bytes.skip(1)?;
        let name = text(bytes.short_bytes()?);
        bytes.skip(1)?;
        let count = bytes.lenenc_usize()?;
        if count > COLUMNS_MAX {
            return Err(DecodeError::Bad("more columns than a table can have"));
        }
        let codes = bytes.take(count)?;
        let mut metadata = Bytes::new(bytes.lenenc_bytes()?);
        let nullable = Bits::take(&mut bytes, count)?;
        let mut columns = Vec::with_capacity(count);
        for (at, code) in codes.iter().enumerate() {
            let kind = column_type(*code, &mut metadata)?;
            let is_nullable = nullable.is_set(at);
            columns.push(Column {
                kind,
                is_nullable,
                name: None,
                is_unsigned: None,
                collation: None,
                choices: Vec::new(),
                is_visible: None,
            });
        }
        let widths = columns.iter().map(|column| width(column.kind)).collect();
        let mut table = Self { id, database, name, columns, primary_key: None, widths, slot: 0, version: 0 };
        table.read_optional(bytes)?;
        Ok(table)
    }

    /// What servers log beyond the types: `binlog_row_metadata`.
    fn read_optional(&mut self, mut bytes: Bytes<'_>) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let field = bytes.u8()?;
            let content = Bytes::new(bytes.lenenc_bytes()?);
            match field {
                1 => self.read_signs(content),
                2 => self.read_default_charset(content, ColumnType::has_charset)?,
                3 => self.read_charsets(content, ColumnType::has_charset)?,
                4 => self.read_names(content)?,
                5 => self.read_choices(content, |kind| matches!(kind, ColumnType::Set { .. }))?,
                6 => self.read_choices(content, |kind| matches!(kind, ColumnType::Enum { .. }))?,
                8 => self.read_key(content, false)?,
                9 => self.read_key(content, true)?,
                10 => self.read_default_charset(content, is_list)?,
                11 => self.read_charsets(content, is_list)?,
                12 => self.read_visibility(content),
                // 7 and 13: kinds of geometries, dimensions of vectors; neither changes how values are read. Later
                // servers add more, which are ignorable by design.
                _ => {}
            }
        }
        Ok(())
    }

    /// One bit for each number, the highest bit first.
    fn read_signs(&mut self, content: Bytes<'_>) {
        let bits = content.rest();
        for (at, column) in self.columns.iter_mut().filter(|column| column.kind.is_numeric()).enumerate() {
            column.is_unsigned = bits.get(at / 8).map(|byte| byte << (at % 8) & 0x80 != 0);
        }
    }

    /// One bit for each column, the highest bit first.
    fn read_visibility(&mut self, content: Bytes<'_>) {
        let bits = content.rest();
        for (at, column) in self.columns.iter_mut().enumerate() {
            column.is_visible = bits.get(at / 8).map(|byte| byte << (at % 8) & 0x80 != 0);
        }
    }

    fn read_default_charset(
        &mut self,
        mut content: Bytes<'_>,
        which: impl Fn(ColumnType) -> bool,
    ) -> Result<(), DecodeError> {
        let default = collation(&mut content)?;
        let mut others = Vec::new();
        while !content.is_empty() {
            others.push((content.lenenc_usize()?, collation(&mut content)?));
        }
        for (at, column) in self.columns.iter_mut().filter(|column| which(column.kind)).enumerate() {
            let own = others.iter().find(|(other, _)| *other == at).map(|(_, collation)| *collation);
            column.collation = Some(own.unwrap_or(default));
        }
        Ok(())
    }

    fn read_charsets(
        &mut self,
        mut content: Bytes<'_>,
        which: impl Fn(ColumnType) -> bool,
    ) -> Result<(), DecodeError> {
        for column in self.columns.iter_mut().filter(|column| which(column.kind)) {
            column.collation = Some(collation(&mut content)?);
        }
        Ok(())
    }

    fn read_names(&mut self, mut content: Bytes<'_>) -> Result<(), DecodeError> {
        for column in &mut self.columns {
            column.name = Some(text(content.lenenc_bytes()?));
        }
        Ok(())
    }

    fn read_choices(
        &mut self,
        mut content: Bytes<'_>,
        which: impl Fn(ColumnType) -> bool,
    ) -> Result<(), DecodeError> {
        for column in self.columns.iter_mut().filter(|column| which(column.kind)) {
            let count = content.lenenc_usize()?;
            // Each takes at least the byte of its length.
            if count > content.len() {
                return Err(DecodeError::Short);
            }
            column.choices.clear();
            for _ in 0..count {
                column.choices.push(text(content.lenenc_bytes()?));
            }
        }
        Ok(())
    }

    fn read_key(&mut self, mut content: Bytes<'_>, has_prefixes: bool) -> Result<(), DecodeError> {
        let mut key = Vec::new();
        while !content.is_empty() {
            let at = content.lenenc_usize()?;
            if at >= self.columns.len() {
                return Err(DecodeError::Bad("a primary key of columns that are not there"));
            }
            key.push(at);
            if has_prefixes {
                content.lenenc()?;
            }
        }
        self.primary_key = Some(key);
        Ok(())
    }

    /// Whether every column's name was logged.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.columns.iter().all(|column| column.name.is_some())
    }
}

const fn is_list(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Enum { .. } | ColumnType::Set { .. })
}

fn collation(content: &mut Bytes<'_>) -> Result<u32, DecodeError> {
    u32::try_from(content.lenenc()?).map_err(|_| DecodeError::Bad("a collation beyond any number in use"))
}

/// The number of a table: six bytes, four in logs older than any supported server's.
#[inline]
pub(crate) fn table_id(bytes: &mut Bytes<'_>, format: &Format, kind: EventKind) -> Result<u64, DecodeError> {
    if format.post_header(kind, 8) == 6 { bytes.uint(4) } else { bytes.uint(6) }
}

fn length_bytes(metadata: &mut Bytes<'_>) -> Result<u8, DecodeError> {
    match metadata.u8()? {
        bytes @ 1..=4 => Ok(bytes),
        _ => Err(DecodeError::Bad("a length of other than 1 to 4 bytes")),
    }
}

fn fraction(metadata: &mut Bytes<'_>) -> Result<u8, DecodeError> {
    match metadata.u8()? {
        digits @ 0..=6 => Ok(digits),
        _ => Err(DecodeError::Bad("more than six digits of a second's fraction")),
    }
}

fn column_type(code: u8, metadata: &mut Bytes<'_>) -> Result<ColumnType, DecodeError> {
    Ok(match code {
        1 => ColumnType::Int { bytes: 1 },
        2 => ColumnType::Int { bytes: 2 },
        3 => ColumnType::Int { bytes: 4 },
        8 => ColumnType::Int { bytes: 8 },
        9 => ColumnType::Int { bytes: 3 },
        // Both have their width as metadata.
        4 | 5 => match metadata.u8()? {
            4 => ColumnType::Float,
            8 => ColumnType::Double,
            _ => return Err(DecodeError::Bad("a floating-point number of other than 4 or 8 bytes")),
        },
        6 => ColumnType::Null,
        7 => ColumnType::TimestampOld,
        10 | 14 => ColumnType::Date,
        11 => ColumnType::TimeOld,
        12 => ColumnType::DateTimeOld,
        13 => ColumnType::Year,
        15 | 253 => ColumnType::VarChar(metadata.u16()?),
        16 => bit(metadata)?,
        17 => ColumnType::Timestamp(fraction(metadata)?),
        18 => ColumnType::DateTime(fraction(metadata)?),
        19 => ColumnType::Time(fraction(metadata)?),
        20 => typed_array(metadata)?,
        140 => ColumnType::BlobCompressed { length_bytes: length_bytes(metadata)? },
        141 => ColumnType::VarCharCompressed(metadata.u16()?),
        242 => ColumnType::Vector { length_bytes: length_bytes(metadata)? },
        245 => ColumnType::Json { length_bytes: length_bytes(metadata)? },
        246 => decimal(metadata)?,
        247 | 248 | 254 => string(code, metadata)?,
        249..=252 => ColumnType::Blob { length_bytes: length_bytes(metadata)? },
        255 => ColumnType::Geometry { length_bytes: length_bytes(metadata)? },
        code => return Err(DecodeError::Unknown { what: "column type", code: u64::from(code) }),
    })
}

fn bit(metadata: &mut Bytes<'_>) -> Result<ColumnType, DecodeError> {
    let [bits, bytes] = metadata.array()?;
    match u16::from(bytes) * 8 + u16::from(bits) {
        count @ 1..=64 if bits < 8 => Ok(ColumnType::Bit(count)),
        _ => Err(DecodeError::Bad("a BIT column of other than 1 to 64 bits")),
    }
}

fn decimal(metadata: &mut Bytes<'_>) -> Result<ColumnType, DecodeError> {
    let [precision, scale] = metadata.array()?;
    if precision == 0 || precision > 65 || scale > 38 || scale > precision {
        return Err(DecodeError::Bad("a DECIMAL column of impossible size"));
    }
    Ok(ColumnType::Decimal { precision, scale })
}

/// CHAR, ENUM and SET share a type; the first byte of the metadata tells, with two bits of a long CHAR's length
/// hidden in it, inverted.
fn string(code: u8, metadata: &mut Bytes<'_>) -> Result<ColumnType, DecodeError> {
    let [first, second] = metadata.array()?;
    let real = if code == 254 && first != 0 { first | 0x30 } else { code };
    match real {
        247 if matches!(second, 1 | 2) => Ok(ColumnType::Enum { bytes: second }),
        248 if matches!(second, 1..=8) => Ok(ColumnType::Set { bytes: second }),
        254 => Ok(ColumnType::Char(u16::from((first & 0x30) ^ 0x30) << 4 | u16::from(second))),
        247 | 248 => Err(DecodeError::Bad("an ENUM or SET column of impossible size")),
        other => Err(DecodeError::Unknown { what: "string column type", code: u64::from(other) }),
    }
}

/// Its own type is followed by the metadata of its elements, which stay unread.
fn typed_array(metadata: &mut Bytes<'_>) -> Result<ColumnType, DecodeError> {
    let element = metadata.u8()?;
    column_type(element, metadata)?;
    Ok(ColumnType::TypedArray { length_bytes: 4 })
}

/// Bytes of a second's fraction with so many digits.
pub(crate) const fn fraction_bytes(digits: u8) -> u8 {
    digits.div_ceil(2)
}

fn width(kind: ColumnType) -> Width {
    let fixed = |bytes: u8| Width::Fixed(u16::from(bytes));
    match kind {
        ColumnType::Null => fixed(0),
        ColumnType::Int { bytes } | ColumnType::Enum { bytes } | ColumnType::Set { bytes } => fixed(bytes),
        ColumnType::Float | ColumnType::TimestampOld => fixed(4),
        ColumnType::Double | ColumnType::DateTimeOld => fixed(8),
        ColumnType::Year => fixed(1),
        ColumnType::Date | ColumnType::TimeOld => fixed(3),
        ColumnType::Time(digits) => fixed(3 + fraction_bytes(digits)),
        ColumnType::DateTime(digits) => fixed(5 + fraction_bytes(digits)),
        ColumnType::Timestamp(digits) => fixed(4 + fraction_bytes(digits)),
        ColumnType::VarChar(max) | ColumnType::VarCharCompressed(max) | ColumnType::Char(max) => {
            Width::Prefixed(if max > 255 { 2 } else { 1 })
        }
        ColumnType::Decimal { precision, scale } => {
            Width::Fixed(u16::try_from(crate::decimal::packed_bytes(precision, scale)).unwrap_or(0))
        }
        ColumnType::Bit(bits) => Width::Fixed(bits.div_ceil(8)),
        ColumnType::Blob { length_bytes }
        | ColumnType::BlobCompressed { length_bytes }
        | ColumnType::Json { length_bytes }
        | ColumnType::Geometry { length_bytes }
        | ColumnType::Vector { length_bytes }
        | ColumnType::TypedArray { length_bytes } => Width::Prefixed(length_bytes),
    }
}
