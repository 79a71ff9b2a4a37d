//! MySQL's binary JSON, as rows hold it: to a tree, and to text exactly as the server shows it.
//!
//! Differences of partial updates are in `json_diff`. MariaDB's JSON is text and never comes here.

use std::fmt;

use base64::Engine as _;

use crate::bytes::{Bytes, text};
use crate::decimal;
use crate::error::DecodeError;
use crate::temporal::{Date, DateTime, Time, datetime_in_json, time_in_json};

/// The server's limit is 100 levels.
const DEPTH_MAX: usize = 110;

/// A JSON value with the types that MySQL keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// An unsigned whole number.
    UInt(u64),
    /// A number of double precision.
    Double(f64),
    /// A decimal number: its text, precision and scale.
    Decimal(String, u8, u8),
    /// Text.
    String(String),
    /// A date.
    Date(Date),
    /// A time.
    Time(Time),
    /// A date with time.
    DateTime(DateTime),
    /// A point in time, which MySQL keeps as a date with time.
    Timestamp(DateTime),
    /// Any other SQL value: its column type's number and its bytes.
    Opaque(u8, Vec<u8>),
    /// A list.
    Array(Vec<Json>),
    /// Keys and values, in the server's order: shorter keys first, then by bytes.
    Object(Vec<(String, Json)>),
}

type Read<T> = Result<T, DecodeError>;

/// A value out of its binary form. No bytes at all are `null`, as the server has it.
pub(crate) fn parse(bytes: &[u8]) -> Read<Json> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(Json::Null) };
    // A value takes at least a byte: more of them than bytes are the same ones, over and over.
    let mut parser = Parser { values_left: bytes.len() + 1 };
    parser.value(*kind, rest, 0)
}

struct Parser {
    values_left: usize,
}

impl Parser {
    fn value(&mut self, kind: u8, bytes: &[u8], depth: usize) -> Read<Json> {
        self.values_left =
            self.values_left.checked_sub(1).ok_or(DecodeError::Bad("JSON that overlaps itself"))?;
        let mut content = Bytes::new(bytes);
        match kind {
            0 => self.container(bytes, true, 2, depth),
            1 => self.container(bytes, true, 4, depth),
            2 => self.container(bytes, false, 2, depth),
            3 => self.container(bytes, false, 4, depth),
            4 => literal(content.u8()?),
            5 => content.int(2).map(Json::Int),
            6 => content.uint(2).map(Json::UInt),
            7 => content.int(4).map(Json::Int),
            8 => content.uint(4).map(Json::UInt),
            9 => content.int(8).map(Json::Int),
            10 => content.uint(8).map(Json::UInt),
            11 => content.u64().map(|bits| Json::Double(f64::from_bits(bits))),
            12 => {
                let length = variable_length(&mut content)?;
                Ok(Json::String(text(content.take_u64(length)?)))
            }
            15 => {
                let column_type = content.u8()?;
                let length = variable_length(&mut content)?;
                opaque(column_type, content.take_u64(length)?)
            }
            code => Err(DecodeError::Unknown { what: "JSON type", code: u64::from(code) }),
        }
    }

    /// An array or object. All offsets count from its beginning.
    fn container(&mut self, bytes: &[u8], is_object: bool, width: usize, depth: usize) -> Read<Json> {
        if depth >= DEPTH_MAX {
            return Err(DecodeError::Bad("JSON nested deeper than the server allows"));
        }
        let mut head = Bytes::new(bytes);
        let count = head.uint(width)?;
        let size = usize::try_from(head.uint(width)?).map_err(|_| DecodeError::Short)?;
        let bytes = bytes.get(..size).ok_or(DecodeError::Short)?;
        let count = usize::try_from(count).map_err(|_| DecodeError::Short)?;
        let entry_bytes = if is_object { width + 2 } else { 0 } + 1 + width;
        if count.saturating_mul(entry_bytes) > size {
            return Err(DecodeError::Short);
        }
        let mut keys = Vec::new();
        if is_object {
            for _ in 0..count {
                let at = head.uint(width)?;
                let length = head.uint(2)?;
                keys.push(text(
                    slice(bytes, at)?.get(..usize::from(narrow(length)?)).ok_or(DecodeError::Short)?,
                ));
            }
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = head.u8()?;
            let inline = head.take(width)?;
            let is_inline = matches!(kind, 4..=6) || width == 4 && matches!(kind, 7 | 8);
            let content = if is_inline { inline } else { slice(bytes, Bytes::new(inline).uint(width)?)? };
            values.push(self.value(kind, content, depth + 1)?);
        }
        Ok(if is_object { Json::Object(keys.into_iter().zip(values).collect()) } else { Json::Array(values) })
    }
}

fn narrow(length: u64) -> Read<u16> {
    u16::try_from(length).map_err(|_| DecodeError::Short)
}

fn slice(bytes: &[u8], at: u64) -> Read<&[u8]> {
    usize::try_from(at).ok().and_then(|at| bytes.get(at..)).ok_or(DecodeError::Short)
}

fn literal(code: u8) -> Read<Json> {
    match code {
        0 => Ok(Json::Null),
        1 => Ok(Json::Bool(true)),
        2 => Ok(Json::Bool(false)),
        _ => Err(DecodeError::Unknown { what: "JSON literal", code: u64::from(code) }),
    }
}

/// Seven bits a byte, lowest first; the highest bit says that more follow.
fn variable_length(bytes: &mut Bytes<'_>) -> Read<u64> {
    let mut length = 0;
    for shift in (0..35).step_by(7) {
        let byte = bytes.u8()?;
        length |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(DecodeError::Bad("a JSON length of more than five bytes"))
}

fn opaque(column_type: u8, bytes: &[u8]) -> Read<Json> {
    let packed = || Bytes::new(bytes).int(8);
    match column_type {
        246 => {
            let mut content = Bytes::new(bytes);
            let [precision, scale] = content.array()?;
            if precision > 65 || scale > precision {
                return Err(DecodeError::Bad("a JSON decimal of impossible size"));
            }
            let number =
                decimal::to_text(content.take(decimal::packed_bytes(precision, scale))?, precision, scale)?;
            Ok(Json::Decimal(number, precision, scale))
        }
        10 => Ok(Json::Date(datetime_in_json(packed()?)?.date)),
        11 => Ok(Json::Time(time_in_json(packed()?)?)),
        12 => Ok(Json::DateTime(datetime_in_json(packed()?)?)),
        7 => Ok(Json::Timestamp(datetime_in_json(packed()?)?)),
        other => Ok(Json::Opaque(other, bytes.to_vec())),
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::UInt(value) => write!(f, "{value}"),
            Self::Double(value) => f.write_str(&double(*value)),
            Self::Decimal(number, ..) => f.write_str(number),
            Self::String(value) => write_string(f, value),
            Self::Date(value) => write!(f, "\"{value}\""),
            Self::Time(value) => write!(f, "\"{value}\""),
            Self::DateTime(value) | Self::Timestamp(value) => write!(f, "\"{value}\""),
            Self::Opaque(column_type, bytes) => {
                let coded = base64::engine::general_purpose::STANDARD.encode(bytes);
                write!(f, "\"base64:type{column_type}:{coded}\"")
            }
            Self::Array(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (at, (key, value)) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    write_string(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

pub(crate) fn write_string(f: &mut impl fmt::Write, value: &str) -> fmt::Result {
    f.write_char('"')?;
    for letter in value.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\u{8}' => f.write_str("\\b")?,
            '\t' => f.write_str("\\t")?,
            '\n' => f.write_str("\\n")?,
            '\u{C}' => f.write_str("\\f")?,
            '\r' => f.write_str("\\r")?,
            control if control < ' ' => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

/// A number as the server writes it in JSON: the shortest digits that read back the same, plain between 1e-15 and
/// 1e15, and never mistakable for a whole number.
pub(crate) fn double(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // The position of the decimal point among the digits.
    let point = exponent + 1;
    if !(-14..=15).contains(&point) && value != 0.0 {
        return format!("{digits}e{exponent}");
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_shown_as_the_server_shows_them() {
        for (value, shown) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e14, "100000000000000.0"),
            (1e15, "1e15"),
            (1.5e300, "1.5e300"),
            (1e-14, "0.00000000000001"),
            (1e-16, "1e-16"),
            (std::f64::consts::PI, "3.141592653589793"),
        ] {
            assert_eq!(double(value), shown);
        }
        let value = Json::Object(vec![
            ("a".to_owned(), Json::Array(vec![Json::Int(-1), Json::Null, Json::Bool(true)])),
            ("b\"".to_owned(), Json::String("ä/\u{1}\n".to_owned())),
        ]);
        assert_eq!(value.to_string(), "{\"a\": [-1, null, true], \"b\\\"\": \"ä/\\u0001\\n\"}");
    }

    #[test]
    fn a_small_object_is_read() {
        let bytes = [0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 3, 0, b'a'];
        assert_eq!(parse(&bytes).unwrap().to_string(), "{\"a\": 3}");
        assert_eq!(parse(&[]).unwrap(), Json::Null);
        assert!(parse(&bytes[..9]).is_err());
    }

    #[test]
    fn values_that_overlap_themselves_are_refused() {
        // An array of two arrays, both of which begin where it does itself.
        let bytes = [2, 2, 0, 10, 0, 2, 0, 0, 2, 0, 0];
        assert!(parse(&bytes).is_err());
    }
}
