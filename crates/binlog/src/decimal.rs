//! Packed decimal numbers to text, exactly. It calculates nothing.

use crate::bytes::Bytes;
use crate::error::DecodeError;

/// Digits in a full group of four bytes.
const GROUP_DIGITS: usize = 9;
/// Bytes that hold so many leftover digits.
const LEFTOVER_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

fn part_bytes(digits: usize) -> usize {
    digits / GROUP_DIGITS * 4 + LEFTOVER_BYTES.get(digits % GROUP_DIGITS).copied().unwrap_or(4)
}

/// Bytes of a packed number with these digits.
pub(crate) fn packed_bytes(precision: u8, scale: u8) -> usize {
    part_bytes(usize::from(precision.saturating_sub(scale))) + part_bytes(usize::from(scale))
}

/// The number as text, such as `-12.340`.
pub(crate) fn to_text(packed: &[u8], precision: u8, scale: u8) -> Result<String, DecodeError> {
    let mut bytes = packed.to_vec();
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 == 0);
    if let Some(first) = bytes.first_mut() {
        *first ^= 0x80;
    }
    if is_negative {
        for byte in &mut bytes {
            *byte = !*byte;
        }
    }
    let mut bytes = Bytes::new(&bytes);
    let whole_digits = usize::from(precision.saturating_sub(scale));
    let scale = usize::from(scale);
    let mut whole = String::new();
    let mut groups = vec![whole_digits % GROUP_DIGITS; usize::from(whole_digits % GROUP_DIGITS > 0)];
    groups.extend(vec![GROUP_DIGITS; whole_digits / GROUP_DIGITS]);
    for digits in groups {
        push_group(&mut whole, &mut bytes, digits)?;
    }
    let mut fraction = String::new();
    let mut groups = vec![GROUP_DIGITS; scale / GROUP_DIGITS];
    groups.extend(vec![scale % GROUP_DIGITS; usize::from(scale % GROUP_DIGITS > 0)]);
    for digits in groups {
        push_group(&mut fraction, &mut bytes, digits)?;
    }
    let trimmed = whole.trim_start_matches('0');
    let whole = if trimmed.is_empty() { "0" } else { trimmed };
    let sign = if is_negative { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

fn push_group(to: &mut String, bytes: &mut Bytes<'_>, digits: usize) -> Result<(), DecodeError> {
    let value = bytes.uint_be(part_bytes(digits))?;
    let text = format!("{value:0digits$}");
    if text.len() != digits {
        return Err(DecodeError::Bad("a decimal number with impossible digits"));
    }
    to.push_str(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_numbers_read_as_the_manual_has_them() {
        // 1234567890.1234 as DECIMAL(14,4), from MySQL's manual on decimal2bin.
        let packed = [0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
        assert_eq!(to_text(&packed, 14, 4).unwrap(), "1234567890.1234");
        let negative = [0x7E, 0xF2, 0x04, 0xC7, 0x2D, 0xFB, 0x2D];
        assert_eq!(to_text(&negative, 14, 4).unwrap(), "-1234567890.1234");
        assert_eq!(packed_bytes(14, 4), 7);
        assert_eq!(to_text(&[0x80, 0x00], 2, 1).unwrap(), "0.0");
        assert!(to_text(&[0xFF, 0xFF], 2, 1).is_err());
        assert!(to_text(&[0x80], 14, 4).is_err());
    }
}
