//! Names and values written into SQL so that the server reads back exactly what was meant.
//!
//! Literals are for a session whose `sql_mode` has neither `NO_BACKSLASH_ESCAPES` nor `ANSI_QUOTES`, and whose
//! character set is utf8mb4; setting the session so is the connection's duty, not this file's.

/// Longest name of a database, table, column or routine, in characters, on both servers.
const MAX_IDENT_CHARS: usize = 64;
/// Longest user name, in characters: MariaDB's limit, the larger one.
const MAX_USER_CHARS: usize = 128;
/// Longest host part of an account, in characters, on both servers.
const MAX_HOST_CHARS: usize = 255;
/// Longest string literal written, in bytes: the smallest default `max_allowed_packet` of a supported server.
const MAX_STRING_BYTES: usize = 16 * 1024 * 1024;

/// Why a name or value cannot be written into SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// A name without a character.
    #[error("a name must not be empty")]
    Empty,
    /// A name with a NUL character.
    #[error("a name must not hold a NUL character")]
    Nul,
    /// A name with a character above U+FFFF, which servers do not store in names.
    #[error("a name must not hold characters beyond U+FFFF")]
    Supplementary,
    /// A database or table name that ends in a space, which servers refuse or cut off.
    #[error("a name must not end in a space")]
    TrailingSpace,
    /// Longer than servers take.
    #[error("{what} has {length}, at most {limit} are possible")]
    TooLong {
        /// What is too long, with its unit: `a name in characters`.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
}

fn check_length(what: &'static str, length: usize, limit: usize) -> Result<(), QuoteError> {
    if length > limit { Err(QuoteError::TooLong { what, length, limit }) } else { Ok(()) }
}

/// A name of a database, table, column or routine, in backticks.
///
/// # Errors
/// When no server takes such a name.
pub fn quote_ident(name: &str) -> Result<String, QuoteError> {
    if name.is_empty() {
        return Err(QuoteError::Empty);
    }
    if name.contains('\0') {
        return Err(QuoteError::Nul);
    }
    if name.chars().any(|letter| u32::from(letter) > 0xFFFF) {
        return Err(QuoteError::Supplementary);
    }
    if name.ends_with(' ') {
        return Err(QuoteError::TrailingSpace);
    }
    check_length("a name in characters", name.chars().count(), MAX_IDENT_CHARS)?;
    Ok(format!("`{}`", name.replace('`', "``")))
}

/// A text value as a string literal in single quotes.
///
/// # Errors
/// When it is longer than a server takes in one packet by default.
pub fn quote_string(value: &str) -> Result<String, QuoteError> {
    check_length("a value in bytes", value.len(), MAX_STRING_BYTES)?;
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for letter in value.chars() {
        match letter {
            '\'' => literal.push_str("\\'"),
            '\\' => literal.push_str("\\\\"),
            '\0' => literal.push_str("\\0"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\u{1A}' => literal.push_str("\\Z"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    Ok(literal)
}

/// Bytes as a hexadecimal literal, such as `x'00FF'`. It is a binary string, whatever the session's settings.
#[must_use]
pub fn hex_literal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut literal = String::with_capacity(bytes.len() * 2 + 3);
    literal.push_str("x'");
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(literal, "{byte:02X}");
    }
    literal.push('\'');
    literal
}

/// An account as `'user'@'host'`. An empty user is the anonymous one.
///
/// # Errors
/// When user or host hold a NUL or are longer than any server takes.
pub fn quote_account(user: &str, host: &str) -> Result<String, QuoteError> {
    if user.contains('\0') || host.contains('\0') {
        return Err(QuoteError::Nul);
    }
    check_length("a user name in characters", user.chars().count(), MAX_USER_CHARS)?;
    check_length("an account's host in characters", host.chars().count(), MAX_HOST_CHARS)?;
    Ok(format!("{}@{}", quote_string(user)?, quote_string(host)?))
}

/// A database name as the pattern that `GRANT ... ON pattern.*` takes and that matches only that name: `_` and
/// `%` are wildcards there. It is not yet quoted.
#[must_use]
pub fn schema_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for letter in name.chars() {
        if matches!(letter, '_' | '%' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenKind, lex, unquote};
    use proptest::prelude::*;

    #[test]
    fn names_are_quoted_or_refused() {
        for (name, expected) in [
            ("cloud", Ok("`cloud`")),
            ("cloud usage", Ok("`cloud usage`")),
            ("a`b", Ok("`a``b`")),
            ("a\\'\"b", Ok("`a\\'\"b`")),
            ("größe", Ok("`größe`")),
            ("", Err(QuoteError::Empty)),
            ("a\0b", Err(QuoteError::Nul)),
            ("a ", Err(QuoteError::TrailingSpace)),
            ("😀", Err(QuoteError::Supplementary)),
        ] {
            assert_eq!(quote_ident(name), expected.map(str::to_owned), "{name:?}");
        }
        assert!(quote_ident(&"ü".repeat(64)).is_ok());
        let refused = quote_ident(&"ü".repeat(65)).unwrap_err();
        assert_eq!(refused.to_string(), "a name in characters has 65, at most 64 are possible");
    }

    #[test]
    fn strings_keep_every_character() {
        for (value, expected) in [
            ("", "''"),
            ("it's", r"'it\'s'"),
            (r"C:\tmp", r"'C:\\tmp'"),
            ("a\0\n\r\u{1A}b", r"'a\0\n\r\Zb'"),
            ("$ \" ` % _ ä 😀", "'$ \" ` % _ ä 😀'"),
        ] {
            assert_eq!(quote_string(value).unwrap(), expected);
        }
        assert!(quote_string(&"x".repeat(MAX_STRING_BYTES + 1)).is_err());
    }

    #[test]
    fn accounts_bytes_and_patterns() {
        assert_eq!(quote_account("o'neil", "10.0.0.0/8").unwrap(), r"'o\'neil'@'10.0.0.0/8'");
        assert_eq!(quote_account("", "%").unwrap(), "''@'%'");
        assert_eq!(quote_account("a\0", "%"), Err(QuoteError::Nul));
        assert!(quote_account("u", &"h".repeat(256)).is_err());
        assert_eq!(hex_literal(&[]), "x''");
        assert_eq!(hex_literal(&[0, 0x1f, 0xff]), "x'001FFF'");
        assert_eq!(schema_pattern("nova_cell0%"), r"nova\_cell0\%");
    }

    proptest! {
        #[test]
        fn a_quoted_string_is_one_token_that_reads_back(value in any::<String>()) {
            let literal = quote_string(&value).unwrap();
            let tokens: Vec<_> = lex(&literal).collect();
            prop_assert_eq!(tokens.len(), 1);
            prop_assert_eq!(tokens[0].kind, TokenKind::String);
            prop_assert_eq!(unquote(tokens[0].text), value);
        }

        #[test]
        fn a_quoted_name_is_one_token_that_reads_back(name in any::<String>()) {
            if let Ok(quoted) = quote_ident(&name) {
                let tokens: Vec<_> = lex(&quoted).collect();
                prop_assert_eq!(tokens.len(), 1);
                prop_assert_eq!(tokens[0].kind, TokenKind::QuotedIdent);
                prop_assert_eq!(unquote(tokens[0].text), name);
            }
        }
    }
}
