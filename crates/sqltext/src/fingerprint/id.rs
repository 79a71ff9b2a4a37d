//! Query ids: the MD5 of a fingerprint, as the tools of Percona print it.
//!
//! Ids had 16 digits once, the right half of today's 32, and PMM still prints those; both are understood.

use std::fmt;
use std::str::FromStr;

use md5::{Digest as _, Md5};

/// A query id, or the right half of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId {
    high: Option<u64>,
    low: u64,
}

/// Why a text is not a query id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a query id has 32 hexadecimal digits, or 16 from older tools")]
pub struct QueryIdError;

impl QueryId {
    /// The id of a fingerprint.
    #[must_use]
    pub fn of(fingerprint: &[u8]) -> Self {
        let digest: [u8; 16] = Md5::digest(fingerprint).into();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = digest;
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Self { high: Some(high), low: u64::from_be_bytes([i, j, k, l, m, n, o, p]) }
    }

    /// The right half, which is all that older tools print.
    #[must_use]
    pub fn right_half(self) -> Self {
        Self { high: None, low: self.low }
    }

    /// Whether both name the same fingerprint. Halves are compared where one has no more.
    #[must_use]
    pub fn matches(self, other: Self) -> bool {
        self.low == other.low
            && match (self.high, other.high) {
                (Some(one), Some(two)) => one == two,
                (None, _) | (_, None) => true,
            }
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(high) = self.high {
            write!(f, "{high:016X}")?;
        }
        write!(f, "{:016X}", self.low)
    }
}

impl FromStr for QueryId {
    type Err = QueryIdError;

    /// Understands 16 or 32 digits in either case, also with `0x` before them.
    ///
    /// # Errors
    /// The text is something else.
    fn from_str(text: &str) -> Result<Self, QueryIdError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(QueryIdError);
        }
        let half = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| QueryIdError);
        match (digits.len(), digits.split_at_checked(16)) {
            (16, _) => Ok(Self { high: None, low: half(digits)? }),
            (32, Some((high, low))) => Ok(Self { high: Some(half(high)?), low: half(low)? }),
            _ => Err(QueryIdError),
        }
    }
}
