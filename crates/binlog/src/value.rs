//! One value of a row: decoded by its column's type. How it is written into SQL is in `literal`.

use std::borrow::Cow;

use crate::bytes::Bytes;
use crate::compress;
use crate::decimal;
use crate::error::DecodeError;
use crate::json::{self, Json};
use crate::json_diff::{self, JsonDiff};
use crate::table::{Column, ColumnType};
use crate::temporal::{self, Date, DateTime, Time, Timestamp};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A whole number that is signed, or not known to be unsigned.
    Int(i64),
    /// An unsigned whole number.
    UInt(u64),
    /// A number of single precision.
    Float(f32),
    /// A number of double precision.
    Double(f64),
    /// A decimal number, as text.
    Decimal(String),
    /// Characters or bytes, which the log does not always tell apart.
    Bytes(Cow<'a, [u8]>),
    /// Bits of a BIT column.
    Bits(u64),
    /// The number of an ENUM's choice, from 1; 0 is the invalid one.
    Enum(u16),
    /// The choices of a SET, one bit each.
    Set(u64),
    /// A year; 0 is the zero year.
    Year(u16),
    /// A date.
    Date(Date),
    /// A time.
    Time(Time),
    /// A date with time.
    DateTime(DateTime),
    /// A point in time.
    Timestamp(Timestamp),
    /// MySQL's JSON.
    Json(Json),
    /// Differences to the JSON before.
    JsonDiff(Vec<JsonDiff>),
    /// A geometry: its reference system and well-known binary.
    Geometry(&'a [u8]),
    /// A vector: single-precision numbers, lowest byte first.
    Vector(&'a [u8]),
}

pub(crate) fn decode<'a>(
    bytes: &mut Bytes<'a>,
    column: &Column,
    is_diff: bool,
) -> Result<Value<'a>, DecodeError> {
    Ok(match column.kind {
        ColumnType::Null => Value::Null,
        ColumnType::Int { bytes: width } => {
            let width = usize::from(width);
            if column.is_unsigned == Some(true) {
                Value::UInt(bytes.uint(width)?)
            } else {
                Value::Int(bytes.int(width)?)
            }
        }
        ColumnType::Float => Value::Float(f32::from_bits(bytes.u32()?)),
        ColumnType::Double => Value::Double(f64::from_bits(bytes.u64()?)),
        ColumnType::Year => match bytes.u8()? {
            0 => Value::Year(0),
            year => Value::Year(1900 + u16::from(year)),
        },
        ColumnType::Date => Value::Date(temporal::date(bytes)?),
        ColumnType::TimeOld => Value::Time(temporal::time_old(bytes)?),
        ColumnType::DateTimeOld => Value::DateTime(temporal::datetime_old(bytes)?),
        ColumnType::TimestampOld => Value::Timestamp(temporal::timestamp_old(bytes)?),
        ColumnType::Time(digits) => Value::Time(temporal::time(bytes, digits)?),
        ColumnType::DateTime(digits) => Value::DateTime(temporal::datetime(bytes, digits)?),
        ColumnType::Timestamp(digits) => Value::Timestamp(temporal::timestamp(bytes, digits)?),
        ColumnType::VarChar(max) | ColumnType::Char(max) => Value::Bytes(Cow::Borrowed(counted(bytes, max)?)),
        ColumnType::VarCharCompressed(max) => Value::Bytes(compress::column(counted(bytes, max)?)?),
        ColumnType::Enum { bytes: width } => {
            let number = bytes.uint(usize::from(width))?;
            Value::Enum(u16::try_from(number).map_err(|_| DecodeError::Bad("an ENUM wider than two bytes"))?)
        }
        ColumnType::Set { bytes: width } => Value::Set(bytes.uint(usize::from(width))?),
        ColumnType::Decimal { precision, scale } => {
            let packed = bytes.take(decimal::packed_bytes(precision, scale))?;
            Value::Decimal(decimal::to_text(packed, precision, scale)?)
        }
        ColumnType::Bit(bits) => Value::Bits(bytes.uint_be(usize::from(bits.div_ceil(8)))?),
        ColumnType::Blob { length_bytes } | ColumnType::TypedArray { length_bytes } => {
            Value::Bytes(Cow::Borrowed(prefixed(bytes, length_bytes)?))
        }
        ColumnType::BlobCompressed { length_bytes } => {
            Value::Bytes(compress::column(prefixed(bytes, length_bytes)?)?)
        }
        ColumnType::Json { length_bytes } => {
            let content = prefixed(bytes, length_bytes)?;
            if is_diff {
                Value::JsonDiff(json_diff::parse(content)?)
            } else {
                Value::Json(json::parse(content)?)
            }
        }
        ColumnType::Geometry { length_bytes } => Value::Geometry(prefixed(bytes, length_bytes)?),
        ColumnType::Vector { length_bytes } => Value::Vector(prefixed(bytes, length_bytes)?),
    })
}

fn counted<'a>(bytes: &mut Bytes<'a>, max: u16) -> Result<&'a [u8], DecodeError> {
    prefixed(bytes, if max > 255 { 2 } else { 1 })
}

fn prefixed<'a>(bytes: &mut Bytes<'a>, length_bytes: u8) -> Result<&'a [u8], DecodeError> {
    let length = bytes.uint(usize::from(length_bytes))?;
    bytes.take_u64(length)
}

impl Value<'_> {
    /// As text for people: nothing quoted, bytes that are no text in hexadecimal.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::UInt(value) | Self::Bits(value) | Self::Set(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Decimal(text) => text.clone(),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => sqltext::hex_literal(bytes),
            },
            Self::Enum(number) | Self::Year(number) => number.to_string(),
            Self::Date(value) => value.to_string(),
            Self::Time(value) => value.to_string(),
            Self::DateTime(value) => value.to_string(),
            Self::Timestamp(value) => value.to_string(),
            Self::Json(value) => value.to_string(),
            Self::JsonDiff(diffs) => format!("{} JSON differences", diffs.len()),
            Self::Geometry(bytes) | Self::Vector(bytes) => sqltext::hex_literal(bytes),
        }
    }
}
