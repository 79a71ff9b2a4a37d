//! [`Sql`]: a statement, and whether its text may be shown. Quotes and builds nothing.

use std::fmt;

use mysql_async::Value;

/// One statement. Prints as its text, or as its label if the text holds a secret.
#[derive(Clone)]
pub struct Sql {
    text: String,
    label: Option<String>,
}

impl Sql {
    /// A statement that may be shown in logs and errors.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), label: None }
    }

    /// A statement whose text holds a secret; `label` is shown in its place, such as
    /// `ALTER USER 'cloud'@'localhost' ...`.
    #[must_use]
    pub fn secret(text: impl Into<String>, label: impl Into<String>) -> Self {
        Self { text: text.into(), label: Some(label.into()) }
    }

    /// `true` if the text must not be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.label.is_some()
    }

    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Enough to recognise a statement by; a dump's INSERT may have megabytes.
        const SHOWN_CHARS: usize = 200;
        let shown = self.label.as_deref().unwrap_or(&self.text);
        match shown.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{} ...", shown.get(..end).unwrap_or_default()),
            None => f.write_str(shown),
        }
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sql({self})")
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

/// A value bound to a `?` of a prepared statement.
#[derive(Clone, PartialEq, Eq)]
pub enum Param {
    /// `NULL`.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// Text or bytes.
    Bytes(Vec<u8>),
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Param {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<Vec<u8>> for Param {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Param> for Value {
    fn from(param: Param) -> Self {
        match param {
            Param::Null => Self::NULL,
            Param::Int(number) => Self::Int(number),
            Param::Uint(number) => Self::UInt(number),
            Param::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_its_label() {
        let sql = Sql::secret("ALTER USER a IDENTIFIED BY 'hunter2'", "ALTER USER a ...");
        assert_eq!(format!("{sql} {sql:?}"), "ALTER USER a ... Sql(ALTER USER a ...)");
    }

    #[test]
    fn a_long_statement_is_cut_between_characters() {
        let shown = Sql::plain("é".repeat(500)).to_string();
        assert_eq!(shown, format!("{} ...", "é".repeat(200)));
    }
}
