//! Patterns for names and texts: a name with `*` for anything, or a regular expression between slashes.
//!
//! A name is matched whole and with its case: `cloud` does not match `cloud_admin`. Regular expressions match
//! anywhere, take linear time and have a bounded size.

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;
/// Memory of one compiled expression, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern. Two are the same when they are written the same.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("the pattern is empty: write a name, `*` for any, or /a regular expression/")]
    Empty,
    /// It is too long.
    #[error("the pattern has {bytes} bytes, at most {PATTERN_BYTES_MAX} are possible")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A regular expression without its end.
    #[error("the regular expression `{text}` has no slash at its end: write /{rest}/")]
    Unclosed {
        /// The pattern.
        text: String,
        /// Without its first slash.
        rest: String,
    },
    /// The regular expression cannot be used.
    #[error("the regular expression `{text}` cannot be used: {reason}")]
    Regex {
        /// The expression.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Pattern {
    /// A regular expression, without slashes around it.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn regex(expression: &str) -> Result<Self, PatternError> {
        check_length(expression)?;
        let regex = compile(expression)?;
        Ok(Self { text: format!("/{expression}/"), regex })
    }

    /// A pattern for statements: a regular expression, with or without slashes around it.
    ///
    /// # Errors
    /// As for [`Pattern::regex`].
    pub fn statement(text: &str) -> Result<Self, PatternError> {
        if text.starts_with('/') && text.ends_with('/') && text.len() > 2 {
            text.parse()
        } else {
            Self::regex(text)
        }
    }

    /// Whether a text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The name it stands for, where it can be only one.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        (!self.text.starts_with('/') && !self.text.contains('*')).then_some(self.text.as_str())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    /// # Errors
    /// As [`PatternError`] lists.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if let Some(rest) = text.strip_prefix('/') {
            let Some(expression) = rest.strip_suffix('/').filter(|inner| !inner.is_empty()) else {
                return Err(PatternError::Unclosed { text: text.to_owned(), rest: rest.to_owned() });
            };
            return Self::regex(expression);
        }
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        let regex = compile(&format!("(?s)^{}$", parts.join(".*")))?;
        Ok(Self { text: text.to_owned(), regex })
    }
}

fn check_length(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong { bytes: text.len() });
    }
    Ok(())
}

fn compile(expression: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(expression).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| {
        let reason = if let regex::Error::CompiledTooBig(limit) = &error {
            format!("compiled, it is larger than {limit} bytes")
        } else {
            // The library draws the place over several lines; the last one says what is wrong.
            let drawn = error.to_string();
            let last = drawn.lines().last().unwrap_or_default().trim();
            last.trim_start_matches("error: ").to_owned()
        };
        PatternError::Regex { text: expression.to_owned(), reason }
    })
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        for (pattern, text, matches) in [
            ("cloud", "cloud", true),
            ("cloud", "cloud_admin", false),
            ("cloud", "Cloud", false),
            ("cloud*", "cloud_admin", true),
            ("*cloud", "mycloud", true),
            ("10.0.*.7", "10.0.1.7", true),
            ("10.0.*.7", "10a0.1.7", false),
            ("*", "", true),
            ("a|b", "a", false),
            ("/^(a|b)$/", "b", true),
            ("/loud/", "cloud", true),
            ("/(?i)CLOUD/", "cloud", true),
            ("a*c", "a\nc", true),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let told = |text: &str| text.parse::<Pattern>().unwrap_err().to_string();
        assert!(told("").contains("empty"));
        assert_eq!(told("/ab"), "the regular expression `/ab` has no slash at its end: write /ab/");
        assert!(told("//").contains("no slash at its end"));
        let bad = told("/a(/");
        assert!(bad.starts_with("the regular expression `a(` cannot be used: unclosed group"), "{bad}");
        assert!(told("/a{1000}{1000}{1000}/").contains("cannot be used"));
        assert!(told(&"x".repeat(5000)).contains("5000 bytes"));
    }

    #[test]
    fn only_plain_names_are_literal() {
        let literal = |text: &str| text.parse::<Pattern>().unwrap().literal().map(str::to_owned);
        assert_eq!(literal("cloud").as_deref(), Some("cloud"));
        assert_eq!((literal("c*"), literal("/c/")), (None, None));
    }
}
