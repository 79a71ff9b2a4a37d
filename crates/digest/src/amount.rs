//! Amounts: the numbers of a log, exact to a millionth, so that sums do not depend on the order of addition.
//!
//! Text to number and back; nothing is known here of what is counted.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Millionths in a whole.
const MILLION: u128 = 1_000_000;

/// A number of a log: a count, bytes or seconds, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    #[must_use]
    pub const fn whole(number: u64) -> Self {
        Self(number as u128 * MILLION)
    }

    /// So many millionths.
    #[must_use]
    pub const fn from_millionths(millionths: u128) -> Self {
        Self(millionths)
    }

    /// In millionths.
    #[must_use]
    pub const fn millionths(self) -> u128 {
        self.0
    }

    /// As a floating-point number: the one nearest to the decimal text for everything below 9,007,199,254.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "that is what it is for")]
    pub const fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Reads digits, with a fraction or without, at the beginning of a text. Gives the number and the rest; `None`
    /// where there is no digit. What is below a millionth is rounded, what is above 2^64 is 2^64 - 1.
    #[must_use]
    #[inline]
    pub fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        Self::read_short(text).or_else(|| Self::read_long(text))
    }

    /// Reads up to seven digits before the point and behind it, eight bytes at once; `None` for everything else.
    #[inline]
    fn read_short(text: &[u8]) -> Option<(Self, &[u8])> {
        let (whole, digits) = short_digits(text)?;
        let rest = text.get(digits..)?;
        if digits == 0 {
            return None;
        }
        let Some((b'.', fraction)) = rest.split_first() else {
            return Some((Self(u128::from(whole * 1_000_000)), rest));
        };
        let (part, digits) = short_digits(fraction)?;
        let scale = SCALES.get(digits)?;
        Some((Self(u128::from(whole * 1_000_000 + part * scale)), fraction.get(digits..)?))
    }

    #[cold]
    fn read_long(text: &[u8]) -> Option<(Self, &[u8])> {
        let (whole, digits, rest) = digits(text);
        let Some((b'.', fraction)) = rest.split_first() else {
            return (digits > 0).then_some((Self::whole(whole), rest));
        };
        let mut millionths = 0;
        let mut scale: u32 = 100_000;
        let mut read = 0;
        let mut round = false;
        for byte in fraction {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if read == 6 {
                round = digit >= 5;
            }
            millionths += u32::from(digit) * scale;
            scale /= 10;
            read += 1;
        }
        if digits + read == 0 {
            return None;
        }
        let amount = u128::from(whole) * MILLION + u128::from(millionths) + u128::from(round);
        Some((Self(amount), fraction.get(read..).unwrap_or_default()))
    }

    /// The number a whole text is, such as `12` or `0.000213`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::read(text).and_then(|(amount, rest)| rest.is_empty().then_some(amount))
    }

    /// The difference, or nothing where it would be below.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// What so many digits of a fraction are to be multiplied with.
const SCALES: [u64; 7] = [1_000_000, 100_000, 10_000, 1000, 100, 10, 1];

/// The number that fewer than eight leading digits are, and how many they are; `None` when there are eight, or the
/// text is too short to tell.
#[inline]
fn short_digits(text: &[u8]) -> Option<(u64, usize)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let values = u64::from_le_bytes(*text.first_chunk()?) ^ (0x30 * ONES);
    // The highest bit of each byte that is no digit.
    let others = (values | (values & (0x7f * ONES)).wrapping_add(0x76 * ONES)) & (0x80 * ONES);
    let bits = others.trailing_zeros() & !7;
    if bits == 64 {
        return None;
    }
    // Digits behind zeros, then sums of two, four and eight.
    let digits = if bits == 0 { 0 } else { values << (64 - bits) };
    let twos = (digits.wrapping_mul(2561) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(6_553_601) >> 16) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(42_949_672_960_001) >> 32, bits as usize / 8))
}

/// Leading digits as a number, how many they are, and the rest.
#[inline]
fn digits(text: &[u8]) -> (u64, usize, &[u8]) {
    let mut number: u64 = 0;
    let mut read = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.saturating_mul(10).saturating_add(u64::from(digit));
        read += 1;
    }
    (number, read, text.get(read..).unwrap_or_default())
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    /// With six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / MILLION, self.0 % MILLION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_bytes_at_once_read_the_same(text in "[0-9]{0,9}[.:0-9]?[0-9]{0,9}[ x/:\u{ff}]{0,12}") {
            let text = text.as_bytes();
            if let Some(short) = Amount::read_short(text) {
                prop_assert_eq!(Some(short), Amount::read_long(text));
            }
        }
    }

    #[test]
    fn numbers_are_read() {
        for (text, millionths, rest) in [
            ("0", 0, ""),
            ("12 x", 12_000_000, " x"),
            ("0.000213", 213, ""),
            ("1.5e3", 1_500_000, "e3"),
            (".5", 500_000, ""),
            ("7.", 7_000_000, ""),
            ("0.0000004", 0, ""),
            ("0.0000005", 1, ""),
            ("0.00000051", 1, ""),
            ("0.9999999", 1_000_000, ""),
            ("18446744073709.550781", 18_446_744_073_709_550_781, ""),
            ("18446744073709551615", 18_446_744_073_709_551_615_000_000, ""),
            ("99999999999999999999999", 18_446_744_073_709_551_615_000_000, ""),
        ] {
            let (amount, left) = Amount::read(text.as_bytes()).unwrap();
            assert_eq!((amount.millionths(), left), (millionths, rest.as_bytes()), "{text}");
        }
        for text in ["", "x", ".", "-1", "+1"] {
            assert_eq!(Amount::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Amount::parse(b"12x"), None);
        assert_eq!(Amount::parse(b"0.062626").unwrap().to_string(), "0.062626");
    }
}
