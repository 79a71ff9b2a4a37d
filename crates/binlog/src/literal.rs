//! Values as SQL: written so that the server stores the same bytes again, and compared so that only the same value
//! is equal. It is for sessions in UTC, with utf8mb4 and backslash escapes.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqltext::{hex_literal, quote_string};

use crate::json::Json;
use crate::shape::{Named, Style};
use crate::sql::SqlError;
use crate::value::Value;

/// A value to be stored.
pub(crate) fn literal(value: &Value<'_>, column: &Named) -> Result<String, SqlError> {
    Ok(match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => match column.style {
            Style::Unsigned(bytes) => unsigned(*number, bytes).to_string(),
            Style::Plain
            | Style::Text
            | Style::AsciiText
            | Style::Binary(_)
            | Style::Uuid
            | Style::Address(_) => number.to_string(),
        },
        Value::UInt(number) | Value::Bits(number) | Value::Set(number) => number.to_string(),
        // All digits of the double that the server compares with: a float has no exact shorter form.
        Value::Float(number) => format!("{:e}", f64::from(*number)),
        Value::Double(number) => format!("{number:e}"),
        Value::Decimal(text) => text.clone(),
        Value::Bytes(bytes) => text(bytes, column.style),
        Value::Enum(number) | Value::Year(number) => number.to_string(),
        Value::Date(value) => format!("'{value}'"),
        Value::Time(value) => format!("'{value}'"),
        Value::DateTime(value) => format!("'{value}'"),
        Value::Timestamp(value) => format!("'{value}'"),
        Value::Json(value) => json(value)?,
        Value::JsonDiff(_) => {
            return Err(SqlError::Incomplete { what: "a JSON column is logged as differences alone" });
        }
        Value::Geometry(bytes) | Value::Vector(bytes) => hex_literal(bytes),
    })
}

/// A condition that holds only for the same value.
pub(crate) fn condition(value: &Value<'_>, column: &Named, has_key: bool) -> Result<String, SqlError> {
    let name = &column.name;
    // A key is compared as its index has it; whether its letters changed case since is not asked.
    let is_plain = column.is_key || matches!(column.style, Style::Uuid | Style::Address(_));
    Ok(match value {
        Value::Null => format!("{name} IS NULL"),
        Value::Json(json) => format!("{name}=CAST({} AS JSON)", json_text(&json.to_string())),
        Value::Bytes(_) if !is_plain => {
            let exact = format!("CAST({name} AS BINARY)={}", literal(value, column)?);
            // Without a key some index may still help, if the column stands alone.
            if has_key { exact } else { format!("{name}={} AND {exact}", literal(value, column)?) }
        }
        Value::Geometry(bytes) | Value::Vector(bytes) => {
            format!("HEX({name})='{}'", hex_literal(bytes).trim_start_matches("x'").trim_end_matches('\''))
        }
        Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(_)
        | Value::Bytes(_)
        | Value::Bits(_)
        | Value::Enum(_)
        | Value::Set(_)
        | Value::Year(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Timestamp(_)
        | Value::JsonDiff(_) => format!("{name}={}", literal(value, column)?),
    })
}

/// A number that was read as signed for want of knowing better.
fn unsigned(number: i64, bytes: u8) -> u64 {
    let unused = 64_u32.saturating_sub(u32::from(bytes) * 8);
    number.cast_unsigned() & (u64::MAX >> unused.min(63))
}

fn text(bytes: &[u8], style: Style) -> String {
    let as_text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| quote_string(text).ok());
    match style {
        Style::Text => as_text(bytes).unwrap_or_else(|| hex_literal(bytes)),
        Style::Plain | Style::AsciiText | Style::Unsigned(_) => {
            let is_plain = bytes.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
            as_text(bytes).filter(|_| is_plain).unwrap_or_else(|| hex_literal(bytes))
        }
        Style::Binary(length) => hex_literal(&filled(bytes, usize::from(length))),
        Style::Address(length) => hex_literal(&filled(bytes, usize::from(length))),
        Style::Uuid => uuid(&filled(bytes, 16)),
    }
}

/// The log leaves the zeros at the end of fixed-length bytes out.
fn filled(bytes: &[u8], length: usize) -> Cow<'_, [u8]> {
    if bytes.len() >= length {
        return Cow::Borrowed(bytes);
    }
    let mut filled = bytes.to_vec();
    filled.resize(length, 0);
    Cow::Owned(filled)
}

/// MariaDB logs a UUID in the order of its text (seen with 10.11.19), and may store it with its last part first. Which it
/// is, is told as the server does itself, by a clock sequence with its variant before a version: it takes no UUID that
/// looks so in the other order.
fn uuid(stored: &[u8]) -> String {
    let part = |from: usize, to: usize| stored.get(from..to).unwrap_or_default();
    let is_turned = stored.get(6).is_some_and(|byte| byte & 0x80 != 0)
        && stored.get(8).is_some_and(|byte| (1..0x80).contains(byte));
    let parts = if is_turned {
        [part(12, 16), part(10, 12), part(8, 10), part(6, 8), part(0, 6)]
    } else {
        [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16)]
    };
    let mut text = String::from("'");
    for (at, part) in parts.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "-" });
        for byte in *part {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text.push('\'');
    text
}

/// Text for a JSON column: never bytes, which it does not take.
fn json_text(text: &str) -> String {
    quote_string(text).unwrap_or_else(|_| format!("CONVERT({} USING utf8mb4)", hex_literal(text.as_bytes())))
}

/// JSON as text where text keeps its types, else put together by functions that do.
pub(crate) fn json(value: &Json) -> Result<String, SqlError> {
    if keeps_types(value) { Ok(json_text(&value.to_string())) } else { expression(value) }
}

fn keeps_types(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Double(_) | Json::String(_) => true,
        // Text has no sign for unsigned: smaller ones come back signed.
        Json::UInt(number) => i64::try_from(*number).is_err(),
        Json::Decimal(..)
        | Json::Date(_)
        | Json::Time(_)
        | Json::DateTime(_)
        | Json::Timestamp(_)
        | Json::Opaque(..) => false,
        Json::Array(values) => values.iter().all(keeps_types),
        Json::Object(members) => members.iter().all(|(_, value)| keeps_types(value)),
    }
}

fn expression(value: &Json) -> Result<String, SqlError> {
    Ok(match value {
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Double(_) | Json::String(_) => {
            format!("CAST({} AS JSON)", json_text(&value.to_string()))
        }
        Json::UInt(number) => format!("CAST({number} AS UNSIGNED)"),
        Json::Decimal(text, precision, scale) => format!("CAST({text} AS DECIMAL({precision},{scale}))"),
        Json::Date(date) => format!("CAST('{date}' AS DATE)"),
        Json::Time(time) => format!("CAST('{time}' AS TIME(6))"),
        Json::DateTime(time) | Json::Timestamp(time) => format!("CAST('{time}' AS DATETIME(6))"),
        Json::Opaque(..) => {
            return Err(SqlError::Incomplete { what: "JSON holds a value that SQL cannot write" });
        }
        Json::Array(values) => {
            let values: Vec<String> = values.iter().map(expression).collect::<Result<_, _>>()?;
            format!("JSON_ARRAY({})", values.join(","))
        }
        Json::Object(members) => {
            let mut parts = Vec::with_capacity(members.len());
            for (key, value) in members {
                parts.push(format!("{},{}", json_text(key), expression(value)?));
            }
            format!("JSON_OBJECT({})", parts.join(","))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(style: Style) -> Named {
        Named { name: "`c`".to_owned(), is_key: false, is_generated: false, style }
    }

    fn bytes(bytes: &[u8]) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(bytes))
    }

    const UUIDS: [[u8; 16]; 3] = [
        [0xC9, 0x75, 0x7A, 0xCF, 0xE6, 0x35, 0x11, 0xF1, 0xBF, 0x7D, 0x02, 0xFC, 0, 0, 0, 1],
        [0xC9, 0x75, 0x7A, 0xCF, 0xE6, 0x35, 0x71, 0xF1, 0xBF, 0x7D, 0x02, 0xFC, 0, 0, 0, 1],
        [0x02, 0xFC, 0, 0, 0, 1, 0xBF, 0x7D, 0x11, 0xF1, 0xE6, 0x35, 0xC9, 0x75, 0x7A, 0xCF],
    ];

    #[test]
    fn bytes_are_written_so_that_they_stay_the_same() {
        for (value, style, written) in [
            (bytes(b"it's"), Style::Text, r"'it\'s'"),
            (bytes("ä".as_bytes()), Style::Text, "'ä'"),
            (bytes("ä".as_bytes()), Style::AsciiText, "x'C3A4'"),
            (bytes(b"\xe4"), Style::Text, "x'E4'"),
            (bytes(b"a\0"), Style::AsciiText, "x'6100'"),
            (bytes(b"a"), Style::Binary(3), "x'610000'"),
            // As 10.11.19 logs them: versions 1 and 7, one with a zero at its end, and the greatest.
            (bytes(&UUIDS[0]), Style::Uuid, "'c9757acf-e635-11f1-bf7d-02fc00000001'"),
            (bytes(&UUIDS[1]), Style::Uuid, "'c9757acf-e635-71f1-bf7d-02fc00000001'"),
            (bytes(&UUIDS[0][..15]), Style::Uuid, "'c9757acf-e635-11f1-bf7d-02fc00000000'"),
            (bytes(&[0xFF; 16]), Style::Uuid, "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
            (bytes(b""), Style::Uuid, "'00000000-0000-0000-0000-000000000000'"),
            // As it stores the first.
            (bytes(&UUIDS[2]), Style::Uuid, "'c9757acf-e635-11f1-bf7d-02fc00000001'"),
            (Value::Int(-1), Style::Unsigned(3), "16777215"),
            (Value::Int(-1), Style::Unsigned(8), "18446744073709551615"),
            (Value::Float(0.1), Style::Plain, "1.0000000149011612e-1"),
            (Value::Double(-0.0), Style::Plain, "-0e0"),
        ] {
            assert_eq!(literal(&value, &column(style)).unwrap(), written);
        }
    }

    #[test]
    fn json_keeps_its_types() {
        let decimal = Json::Decimal("1.50".to_owned(), 3, 2);
        let value =
            Json::Object(vec![("a".to_owned(), Json::Array(vec![decimal, Json::String("x".to_owned())]))]);
        assert_eq!(
            json(&value).unwrap(),
            "JSON_OBJECT('a',JSON_ARRAY(CAST(1.50 AS DECIMAL(3,2)),CAST('\\\"x\\\"' AS JSON)))"
                .replace("\\\"", "\"")
        );
        assert_eq!(json(&Json::Int(5)).unwrap(), "'5'");
        assert!(json(&Json::Opaque(252, vec![1])).is_err());
    }
}
