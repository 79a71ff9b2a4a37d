//! Dates and times as rows hold them, shown as the servers show them. It knows no time zone but UTC.

use std::fmt;

use crate::bytes::Bytes;
use crate::error::DecodeError;
use crate::table::fraction_bytes;

/// A date; parts may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 0 to 9999.
    pub year: u16,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
}

/// A time of a day or a span of up to 838 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Whether it is before 0.
    pub is_negative: bool,
    /// Hours.
    pub hours: u32,
    /// Minutes.
    pub minutes: u8,
    /// Seconds.
    pub seconds: u8,
    /// Millionths of a second.
    pub micros: u32,
    /// How many digits of the fraction are kept.
    pub digits: u8,
}

/// A date with the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// The time.
    pub time: Time,
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970; 0 is the zero date.
    pub seconds: u32,
    /// Millionths of a second.
    pub micros: u32,
    /// How many digits of the fraction are kept.
    pub digits: u8,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, micros: u32, digits: u8) -> fmt::Result {
    if digits == 0 {
        return Ok(());
    }
    let digits = u32::from(digits.min(6));
    let width = usize::try_from(digits).unwrap_or(6);
    write!(f, ".{:0width$}", micros / 10_u32.pow(6 - digits))
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        write!(f, "{sign}{:02}:{:02}:{:02}", self.hours, self.minutes, self.seconds)?;
        write_fraction(f, self.micros, self.digits)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date, self.time)
    }
}

impl fmt::Display for Timestamp {
    /// In UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 0 && self.micros == 0 {
            f.write_str("0000-00-00 00:00:00")?;
        } else {
            f.write_str(&utc(i64::from(self.seconds)))?;
        }
        write_fraction(f, self.micros, self.digits)
    }
}

/// A second since 1970 as date and time in UTC, such as `2026-11-21 02:43:08`.
#[must_use]
pub fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_else(|_| seconds.to_string())
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, DecodeError> {
    T::try_from(value).map_err(|_| DecodeError::Bad("a date or time out of range"))
}

/// Millionths from a fraction's bytes, highest first: hundredths in one, ten-thousandths in two, all in three.
fn micros(raw: u64, bytes: u8) -> Result<u32, DecodeError> {
    let micros = match bytes {
        0 => 0,
        1 => raw.saturating_mul(10_000),
        2 => raw.saturating_mul(100),
        _ => raw,
    };
    narrow::<u32>(micros)
}

pub(crate) fn date(bytes: &mut Bytes<'_>) -> Result<Date, DecodeError> {
    let packed = bytes.uint(3)?;
    Ok(Date { year: narrow(packed >> 9)?, month: narrow(packed >> 5 & 15)?, day: narrow(packed & 31)? })
}

pub(crate) fn time(bytes: &mut Bytes<'_>, digits: u8) -> Result<Time, DecodeError> {
    let fraction = fraction_bytes(digits);
    let total = 3 + usize::from(fraction);
    let raw = bytes.uint_be(total)?;
    let zero = 1_u64 << (total * 8 - 1);
    let (is_negative, distance) = if raw >= zero { (false, raw - zero) } else { (true, zero - raw) };
    let bits = u32::from(fraction) * 8;
    let (whole, part) = (distance >> bits, distance & ((1 << bits) - 1));
    Ok(Time {
        is_negative,
        hours: narrow(whole >> 12 & 0x3FF)?,
        minutes: narrow(whole >> 6 & 0x3F)?,
        seconds: narrow(whole & 0x3F)?,
        micros: micros(part, fraction)?,
        digits,
    })
}

pub(crate) fn datetime(bytes: &mut Bytes<'_>, digits: u8) -> Result<DateTime, DecodeError> {
    let packed = bytes.uint_be(5)?;
    let fraction = fraction_bytes(digits);
    let part = bytes.uint_be(usize::from(fraction))?;
    let packed = packed.checked_sub(1 << 39).ok_or(DecodeError::Bad("a date before the year 0"))?;
    unpack_datetime(packed, micros(part, fraction)?, digits)
}

fn unpack_datetime(packed: u64, micros: u32, digits: u8) -> Result<DateTime, DecodeError> {
    let (ymd, hms) = (packed >> 17, packed & 0x1_FFFF);
    let months = ymd >> 5;
    let date = Date { year: narrow(months / 13)?, month: narrow(months % 13)?, day: narrow(ymd & 31)? };
    let time = Time {
        is_negative: false,
        hours: narrow(hms >> 12)?,
        minutes: narrow(hms >> 6 & 63)?,
        seconds: narrow(hms & 63)?,
        micros,
        digits,
    };
    Ok(DateTime { date, time })
}

pub(crate) fn timestamp(bytes: &mut Bytes<'_>, digits: u8) -> Result<Timestamp, DecodeError> {
    let seconds = narrow(bytes.uint_be(4)?)?;
    let fraction = fraction_bytes(digits);
    let part = bytes.uint_be(usize::from(fraction))?;
    Ok(Timestamp { seconds, micros: micros(part, fraction)?, digits })
}

/// A time as MySQL before 5.6.4 stored it: decimal digits as hhmmss.
pub(crate) fn time_old(bytes: &mut Bytes<'_>) -> Result<Time, DecodeError> {
    let packed = bytes.int(3)?;
    let digits = packed.unsigned_abs();
    Ok(Time {
        is_negative: packed < 0,
        hours: narrow(digits / 10_000)?,
        minutes: narrow(digits / 100 % 100)?,
        seconds: narrow(digits % 100)?,
        micros: 0,
        digits: 0,
    })
}

/// A date with time as MySQL before 5.6.4 stored it: decimal digits as YYYYMMDDhhmmss.
pub(crate) fn datetime_old(bytes: &mut Bytes<'_>) -> Result<DateTime, DecodeError> {
    let packed = bytes.u64()?;
    let (ymd, hms) = (packed / 1_000_000, packed % 1_000_000);
    let date = Date { year: narrow(ymd / 10_000)?, month: narrow(ymd / 100 % 100)?, day: narrow(ymd % 100)? };
    let time = Time {
        is_negative: false,
        hours: narrow(hms / 10_000)?,
        minutes: narrow(hms / 100 % 100)?,
        seconds: narrow(hms % 100)?,
        micros: 0,
        digits: 0,
    };
    Ok(DateTime { date, time })
}

pub(crate) fn timestamp_old(bytes: &mut Bytes<'_>) -> Result<Timestamp, DecodeError> {
    Ok(Timestamp { seconds: bytes.u32()?, micros: 0, digits: 0 })
}

/// A date with time inside JSON: packed in eight bytes.
pub(crate) fn datetime_in_json(packed: i64) -> Result<DateTime, DecodeError> {
    let packed = packed.unsigned_abs();
    unpack_datetime(packed >> 24, narrow(packed & 0xFF_FFFF)?, 6)
}

/// A time inside JSON: packed in eight bytes.
pub(crate) fn time_in_json(packed: i64) -> Result<Time, DecodeError> {
    let distance = packed.unsigned_abs();
    let whole = distance >> 24;
    Ok(Time {
        is_negative: packed < 0,
        hours: narrow(whole >> 12 & 0x3FF)?,
        minutes: narrow(whole >> 6 & 63)?,
        seconds: narrow(whole & 63)?,
        micros: narrow(distance & 0xFF_FFFF)?,
        digits: 6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_zero_keep_their_fraction() {
        for (raw, digits, shown) in [
            (&[0x80, 0, 0][..], 0, "00:00:00"),
            (&[0x7f, 0xff, 0xff, 0xff], 2, "-00:00:00.01"),
            (&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], 6, "-00:00:00.000001"),
            (&[0x80, 0x10, 0x83, 0x00, 0x0a], 3, "01:02:03.001"),
        ] {
            assert_eq!(time(&mut Bytes::new(raw), digits).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn timestamps_are_shown_in_utc() {
        let raw = [0x6b, 0x01, 0x05, 0x3c, 0x04, 0xd8];
        assert_eq!(timestamp(&mut Bytes::new(&raw), 3).unwrap().to_string(), "2026-11-21 02:43:08.124");
        assert_eq!(timestamp(&mut Bytes::new(&[0; 4]), 0).unwrap().to_string(), "0000-00-00 00:00:00");
        assert!(datetime(&mut Bytes::new(&[0; 5]), 0).is_err());
    }
}
