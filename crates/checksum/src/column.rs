//! Columns of a table, and how each is written so that equal values give equal text on both servers.
//!
//! It reads no server: the words come from `information_schema`. Text is compared as utf8mb4, times as UTC (the
//! session's duty), floats with every digit they have.

use serde::Serialize;
use sqltext::{QuoteError, hex_literal, quote_ident, quote_string};

/// Character sets whose bytes are utf8mb4 as they are.
const AS_UTF8MB4: [&str; 4] = ["utf8mb4", "utf8mb3", "utf8", "ascii"];

/// What kind of value a column holds, as far as writing it as text differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An integer of at most four bytes.
    Int,
    /// An integer of eight bytes.
    BigInt,
    /// An exact decimal number.
    Decimal,
    /// A float or double.
    Float,
    /// Text of bounded length.
    Text,
    /// ENUM or SET: ordered by number, shown as text.
    Choice,
    /// TEXT in its sizes.
    LongText,
    /// BINARY or VARBINARY.
    Bytes,
    /// BLOB in its sizes, vectors.
    LongBytes,
    /// A date, time, or both.
    Temporal,
    /// BIT.
    Bit,
    /// MySQL's JSON; MariaDB's is long text.
    Json,
    /// Geometries.
    Spatial,
    /// UUID, INET4, INET6 and types unknown here.
    Other,
}

impl Kind {
    /// The kind that `DATA_TYPE` of `information_schema.COLUMNS` names.
    #[must_use]
    pub fn of(data_type: &str) -> Self {
        match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" => Self::Int,
            "bigint" => Self::BigInt,
            "decimal" | "numeric" => Self::Decimal,
            "float" | "double" | "real" => Self::Float,
            "char" | "varchar" => Self::Text,
            "enum" | "set" => Self::Choice,
            "tinytext" | "text" | "mediumtext" | "longtext" => Self::LongText,
            "binary" | "varbinary" => Self::Bytes,
            "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => Self::LongBytes,
            "date" | "time" | "datetime" | "timestamp" | "year" => Self::Temporal,
            "bit" => Self::Bit,
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Spatial,
            _ => Self::Other,
        }
    }

    /// Whether servers order such values alike and find them by an index, so that tables can be cut by them.
    const fn is_ordered(self) -> bool {
        match self {
            Self::Int | Self::BigInt | Self::Decimal | Self::Text | Self::Bytes | Self::Temporal => true,
            Self::Float
            | Self::Choice
            | Self::LongText
            | Self::LongBytes
            | Self::Bit
            | Self::Json
            | Self::Spatial
            | Self::Other => false,
        }
    }

    /// Whether its text may hold the separator, so that neighbours could be taken for each other.
    pub(crate) const fn is_free_text(self) -> bool {
        match self {
            Self::Text | Self::Choice | Self::Other => true,
            Self::Int
            | Self::BigInt
            | Self::Decimal
            | Self::Float
            | Self::LongText
            | Self::Bytes
            | Self::LongBytes
            | Self::Temporal
            | Self::Bit
            | Self::Json
            | Self::Spatial => false,
        }
    }
}

/// A column as one server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// The type as the server writes it, for people.
    pub type_text: String,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// Its character set, lower case; none for what is no text.
    pub charset: Option<String>,
    /// Its collation, lower case.
    pub collation: Option<String>,
    /// Whether its value follows from other columns.
    pub generated: bool,
    /// Whether the other side holds it as another kind, so that both are taken as text.
    pub mixed: bool,
}

impl Column {
    /// The quoted name.
    ///
    /// # Errors
    /// When no server takes such a name.
    pub fn ident(&self) -> Result<String, QuoteError> {
        quote_ident(&self.name)
    }

    /// Whether rows are in the same order by this column on both servers.
    #[must_use]
    pub fn is_ordered_like(&self, other: &Self) -> bool {
        let same = |column: &Self| column.collation.as_deref().map(|name| name.replace("utf8_", "utf8mb3_"));
        self.kind.is_ordered() && self.kind == other.kind && same(self) == same(other)
    }

    /// The column's text as utf8mb4. Conversion costs four times the sum on MariaDB, so it is left out where the
    /// bytes are the same.
    fn utf8(&self) -> Result<String, QuoteError> {
        let ident = self.ident()?;
        let as_is = self.charset.as_deref().is_none_or(|name| AS_UTF8MB4.contains(&name));
        Ok(if as_is { ident } else { format!("CONVERT({ident} USING utf8mb4)") })
    }

    /// The value as it is fetched: exact, and the same text on both vendors.
    ///
    /// # Errors
    /// When no server takes such a name.
    pub fn fetched(&self) -> Result<String, QuoteError> {
        let ident = self.ident()?;
        Ok(match self.kind {
            Kind::Float => format!("({ident} + 0e0)"),
            Kind::Bit => format!("({ident} + 0)"),
            Kind::Int
            | Kind::BigInt
            | Kind::Decimal
            | Kind::Text
            | Kind::Choice
            | Kind::LongText
            | Kind::Bytes
            | Kind::LongBytes
            | Kind::Temporal
            | Kind::Json
            | Kind::Spatial
            | Kind::Other => ident,
        })
    }

    /// Arguments of the row's sum: the value, or for long ones its checksum and length, so that no row gets longer
    /// than `max_allowed_packet`, beyond which servers take NULL for it.
    pub(crate) fn summed(&self) -> Result<Vec<String>, QuoteError> {
        let ident = self.ident()?;
        if self.mixed {
            let text = format!("CONVERT({} USING utf8mb4)", self.fetched()?);
            return Ok(vec![format!("CRC32({text})"), format!("LENGTH({text})")]);
        }
        Ok(match self.kind {
            Kind::Int | Kind::BigInt | Kind::Decimal | Kind::Temporal | Kind::Float | Kind::Bit => {
                vec![self.fetched()?]
            }
            Kind::Text | Kind::Choice | Kind::Other => vec![self.utf8()?],
            Kind::LongText | Kind::Json => {
                let text = self.utf8()?;
                vec![format!("CRC32({text})"), format!("LENGTH({text})")]
            }
            // As it is, it would make binary of the whole text, which MySQL refuses in places.
            Kind::Bytes => vec![format!("HEX({ident})")],
            Kind::LongBytes | Kind::Spatial => {
                vec![format!("CRC32({ident})"), format!("LENGTH({ident})")]
            }
        })
    }

    pub(crate) fn length_summed(&self) -> Result<Option<String>, QuoteError> {
        if self.mixed || !self.kind.is_free_text() {
            return Ok(None);
        }
        Ok(Some(format!("LENGTH({})", self.utf8()?)))
    }

    /// A fetched value as a literal that gives this value back.
    ///
    /// # Errors
    /// When the value is no number where one is expected.
    pub fn literal(&self, value: Option<&[u8]>) -> Result<String, LiteralError> {
        let Some(value) = value else { return Ok("NULL".to_owned()) };
        match self.kind {
            Kind::Int | Kind::BigInt | Kind::Decimal | Kind::Float | Kind::Bit => {
                let text = std::str::from_utf8(value).ok().filter(|text| is_number(text));
                text.map(str::to_owned).ok_or_else(|| LiteralError { column: self.name.clone() })
            }
            Kind::Bytes | Kind::LongBytes | Kind::Spatial => Ok(hex_literal(value)),
            Kind::Text | Kind::Choice | Kind::LongText | Kind::Temporal | Kind::Json | Kind::Other => {
                let text = std::str::from_utf8(value).ok();
                let quoted = text.and_then(|text| quote_string(text).ok());
                Ok(quoted.unwrap_or_else(|| hex_literal(value)))
            }
        }
    }

    /// Whether the value is shown as text rather than in hexadecimal.
    #[must_use]
    pub const fn is_shown_as_text(&self) -> bool {
        !matches!(self.kind, Kind::Bytes | Kind::LongBytes | Kind::Spatial)
    }
}

/// A value that is none of its column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server gave a value for column {column} that is no number")]
pub struct LiteralError {
    column: String,
}

/// What servers write for numbers: `-12.5e-3`.
fn is_number(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    !text.is_empty()
        && text.bytes().all(is_part)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        // Two of them would begin a comment.
        && !text.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: &str) -> Column {
        let kind = Kind::of(data_type);
        Column {
            name: name.to_owned(),
            kind,
            type_text: data_type.to_owned(),
            nullable: false,
            charset: kind.is_free_text().then(|| "utf8mb4".to_owned()),
            collation: kind.is_free_text().then(|| "utf8mb4_bin".to_owned()),
            generated: false,
            mixed: false,
        }
    }

    #[test]
    fn values_are_written_so_that_equal_ones_are_equal_text() {
        let latin = Column { charset: Some("latin1".to_owned()), ..column("c", "varchar") };
        for (column, expected) in [
            (column("a", "int"), "`a`"),
            (column("a", "float"), "(`a` + 0e0)"),
            (column("a", "bit"), "(`a` + 0)"),
            (column("a", "varchar"), "`a`"),
            (latin, "CONVERT(`c` USING utf8mb4)"),
            (column("a", "varbinary"), "HEX(`a`)"),
            (column("a", "longblob"), "CRC32(`a`), LENGTH(`a`)"),
            (column("a", "json"), "CRC32(`a`), LENGTH(`a`)"),
            (column("a", "inet6"), "`a`"),
        ] {
            assert_eq!(column.summed().unwrap().join(", "), expected, "{column:?}");
        }
    }

    #[test]
    fn literals_give_the_value_back_or_are_refused() {
        for (data_type, value, expected) in [
            ("int", &b"-12"[..], Some("-12")),
            ("double", b"1.5e-300", Some("1.5e-300")),
            ("int", b"1; DROP TABLE t", None),
            ("int", b"1--1", None),
            ("decimal", b"-", None),
            ("int", b"", None),
            ("varchar", b"it's", Some(r"'it\'s'")),
            ("varchar", b"", Some("''")),
            ("text", b"\xff", Some("x'FF'")),
            ("blob", b"ab", Some("x'6162'")),
            ("datetime", b"0000-00-00 00:00:00", Some("'0000-00-00 00:00:00'")),
        ] {
            let literal = column("a", data_type).literal(Some(value));
            assert_eq!(literal.ok().as_deref(), expected, "{data_type} {value:?}");
        }
        assert_eq!(column("a", "int").literal(None).unwrap(), "NULL");
    }

    #[test]
    fn order_is_shared_only_under_the_same_collation() {
        let text = column("a", "varchar");
        let other = Column { collation: Some("utf8mb4_general_ci".to_owned()), ..text.clone() };
        assert!(text.is_ordered_like(&text) && !text.is_ordered_like(&other));
        let (old, new) = (
            Column { collation: Some("utf8_general_ci".to_owned()), ..text.clone() },
            Column { collation: Some("utf8mb3_general_ci".to_owned()), ..text },
        );
        assert!(old.is_ordered_like(&new));
        assert!(column("a", "bigint").is_ordered_like(&column("a", "bigint")));
        assert!(!column("a", "enum").is_ordered_like(&column("a", "enum")));
    }
}
