//! A table as SQL needs it: every column with its name, whether it is part of the key, and how its values are
//! written. Put together from the table map and the schema that was given.

use sqltext::quote_ident;

use crate::schema::Schema;
use crate::sql::SqlError;
use crate::table::{ColumnType, Table};

/// Number of the binary collation.
const BINARY: u32 = 63;

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As their own type says.
    Plain,
    /// Unsigned, which the log did not say.
    Unsigned(u8),
    /// Text that UTF-8 can show.
    Text,
    /// Text of which only plain ASCII can be shown.
    AsciiText,
    /// Bytes, filled up with zeros to this length.
    Binary(u16),
    /// MariaDB's UUID, whose parts may stand in another order.
    Uuid,
    /// MariaDB's INET6 or INET4: bytes of this length.
    Address(u8),
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// In backticks.
    pub(crate) name: String,
    pub(crate) is_key: bool,
    pub(crate) is_generated: bool,
    pub(crate) style: Style,
}

/// A table that SQL can be written for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Database and table, in backticks.
    pub(crate) name: String,
    pub(crate) columns: Vec<Named>,
    pub(crate) has_key: bool,
}

impl Shape {
    /// Puts a table together.
    ///
    /// # Errors
    /// When names of columns are neither in the log nor in the schema, or the two contradict each other.
    pub fn new(table: &Table, schema: Option<&Schema>) -> Result<Self, SqlError> {
        let shown = || format!("{}.{}", table.database, table.name);
        let given = schema.and_then(|schema| schema.find(&table.database, &table.name));
        let given = given.filter(|columns| columns.len() == table.columns.len());
        if given.is_none() && !table.has_names() {
            return Err(SqlError::NoNames { table: shown() });
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        for (at, column) in table.columns.iter().enumerate() {
            let known = given.and_then(|given| given.get(at));
            let name = match (&column.name, known) {
                (Some(logged), Some(known)) if !logged.eq_ignore_ascii_case(&known.name) => {
                    let (logged, given) = (logged.clone(), known.name.clone());
                    return Err(SqlError::OtherNames { table: shown(), logged, given });
                }
                (Some(logged), _) => logged,
                (None, Some(known)) => &known.name,
                (None, None) => return Err(SqlError::NoNames { table: shown() }),
            };
            let logged_key = table.primary_key.as_ref().is_some_and(|key| key.contains(&at));
            columns.push(Named {
                name: quote_ident(name)?,
                is_key: logged_key || known.is_some_and(|known| known.is_key),
                is_generated: known.is_some_and(|known| known.is_generated),
                style: style(
                    column.kind,
                    column.collation,
                    column.is_unsigned,
                    known.map(|it| (it.type_name.as_str(), it.is_unsigned)),
                ),
            });
        }
        let has_key = columns.iter().any(|column| column.is_key);
        Ok(Self {
            name: format!("{}.{}", quote_ident(&table.database)?, quote_ident(&table.name)?),
            columns,
            has_key,
        })
    }
}

fn style(
    kind: ColumnType,
    collation: Option<u32>,
    is_unsigned: Option<bool>,
    given: Option<(&str, bool)>,
) -> Style {
    let type_name = given.map_or("", |(type_name, _)| type_name);
    match kind {
        ColumnType::Int { bytes } if is_unsigned.is_none() && given.is_some_and(|(_, unsigned)| unsigned) => {
            Style::Unsigned(bytes)
        }
        ColumnType::Char(max) => match (type_name, collation) {
            ("uuid", _) => Style::Uuid,
            ("inet6", _) => Style::Address(16),
            ("inet4", _) => Style::Address(4),
            ("binary", _) | (_, Some(BINARY)) => Style::Binary(max),
            (_, collation) => text_style(collation),
        },
        ColumnType::VarChar(_)
        | ColumnType::VarCharCompressed(_)
        | ColumnType::Blob { .. }
        | ColumnType::BlobCompressed { .. } => match collation {
            Some(BINARY) => Style::Binary(0),
            collation => text_style(collation),
        },
        ColumnType::Null
        | ColumnType::Int { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Year
        | ColumnType::Date
        | ColumnType::TimeOld
        | ColumnType::DateTimeOld
        | ColumnType::TimestampOld
        | ColumnType::Time(_)
        | ColumnType::DateTime(_)
        | ColumnType::Timestamp(_)
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Bit(_)
        | ColumnType::Json { .. }
        | ColumnType::Geometry { .. }
        | ColumnType::Vector { .. }
        | ColumnType::TypedArray { .. } => Style::Plain,
    }
}

/// Whether a collation's character set is UTF-8, at least agrees with ASCII, or neither.
pub(crate) fn text_style(collation: Option<u32>) -> Style {
    let Some(id) = collation else { return Style::AsciiText };
    // MariaDB numbers its NO PAD collations 1024 above the others, and its newer ones from 2048 on, 256 for each of
    // utf8mb3, utf8mb4, ucs2, utf16 and utf32.
    if id >= 2048 {
        return if id < 2560 { Style::Text } else { Style::Binary(0) };
    }
    match id & 0x3FF {
        33 | 45 | 46 | 76 | 83 | 192..=247 | 255..=323 | 576..=607 | 608..=639 => Style::Text,
        // ucs2, utf16, utf16le and utf32.
        35 | 54..=56 | 60..=62 | 90 | 101..=124 | 128..=151 | 159..=183 | 640..=735 => Style::Binary(0),
        _ => Style::AsciiText,
    }
}
