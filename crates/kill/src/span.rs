//! Spans of time as people write them: `90`, `90s`, `5m`, `2h`, `1h30m`.
//!
//! Whole seconds only: servers tell hardly more.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Longest span, in seconds: a year.
const SECONDS_MAX: u64 = 366 * 86_400;

/// A span of time of at least a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    seconds: u64,
}

/// Why a text is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time: write seconds, or as 90s, 5m, 2h, 1h30m; from 1s to 366d")]
pub struct SpanError {
    text: String,
}

impl Span {
    /// A span of so many seconds; none where it is out of range.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Option<Self> {
        if seconds == 0 || seconds > SECONDS_MAX { None } else { Some(Self { seconds }) }
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.seconds
    }

    /// In milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.seconds * 1000
    }
}

impl FromStr for Span {
    type Err = SpanError;

    /// # Errors
    /// The text is something else, or out of range.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError { text: text.chars().take(40).collect() };
        let mut total: u64 = 0;
        let mut number: Option<u64> = None;
        for letter in text.trim().chars() {
            if let Some(digit) = letter.to_digit(10) {
                let grown =
                    number.unwrap_or(0).checked_mul(10).and_then(|sum| sum.checked_add(u64::from(digit)));
                number = Some(grown.ok_or_else(wrong)?);
                continue;
            }
            let unit = match letter {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                _ => return Err(wrong()),
            };
            let part = number.take().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
        }
        total = total.checked_add(number.unwrap_or(0)).ok_or_else(wrong)?;
        Self::from_seconds(total).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.seconds)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("1h30m", Some(5400)),
            ("1d", Some(86_400)),
            (" 7 ", Some(7)),
            ("0", None),
            ("", None),
            ("-1", None),
            ("1.5s", None),
            ("m", None),
            ("9999999999999999999999", None),
            ("400d", None),
            ("5x", None),
        ] {
            assert_eq!(text.parse::<Span>().ok().map(Span::seconds), seconds, "{text}");
        }
    }
}
