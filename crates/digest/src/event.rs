//! An event: one statement that a server ran, as its log tells of it. Logs of all kinds become events; what is made of
//! them is not decided here.

use std::fmt;
use std::ops::Range;

use crate::amount::Amount;
use crate::attribute::{Attribute, Names};
use crate::slow::Skipped;

/// A second on the wall, as a log has it: logs do not say in which zone, unless they end with Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Seconds since 1970-01-01 00:00:00 on the same wall.
    pub seconds: i64,
    /// Whether it was written with a T, as MySQL does.
    pub has_t: bool,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which of the files read, from 0.
    pub file: u32,
    /// Byte within it.
    pub offset: u64,
}

/// One statement that a server ran.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its text without the final semicolon, or its beginning if it is very long.
    pub statement: &'a [u8],
    /// How long the text is.
    pub statement_bytes: u64,
    /// Whether it is a command of the protocol and no statement.
    pub is_admin: bool,
    /// When it was logged.
    pub moment: Option<Moment>,
    /// Who sent it.
    pub user: Option<&'a [u8]>,
    /// From which host, or address where the host has no name.
    pub host: Option<&'a [u8]>,
    /// In which database.
    pub db: Option<&'a [u8]>,
    /// Over which connection.
    pub thread: Option<u64>,
    /// Where it stands in the log.
    pub position: Position,
    /// Its numbers.
    pub amounts: &'a [(Attribute, Amount)],
    /// What is yes or no of it.
    pub flags: &'a [(Attribute, bool)],
    pub(crate) texts: &'a [(Attribute, Range<u32>)],
    pub(crate) source: &'a [u8],
}

impl<'a> Event<'a> {
    /// An event of which nothing but its text is known yet.
    #[must_use]
    pub const fn new(statement: &'a [u8]) -> Self {
        Self {
            statement,
            statement_bytes: statement.len() as u64,
            is_admin: false,
            moment: None,
            user: None,
            host: None,
            db: None,
            thread: None,
            position: Position { file: 0, offset: 0 },
            amounts: &[],
            flags: &[],
            texts: &[],
            source: &[],
        }
    }

    /// Its words, such as the stored routine it ran in.
    pub fn texts(&self) -> impl Iterator<Item = (Attribute, &'a [u8])> {
        let source = self.source;
        self.texts.iter().map(move |(attribute, range)| {
            (*attribute, source.get(range.start as usize..range.end as usize).unwrap_or_default())
        })
    }

    /// One of its numbers.
    #[must_use]
    pub fn amount(&self, attribute: Attribute) -> Option<Amount> {
        self.amounts.iter().find(|(it, _)| *it == attribute).map(|(_, amount)| *amount)
    }
}

/// Who takes events as a log is read.
pub trait Sink {
    /// The names of the attributes it takes.
    fn names(&mut self) -> &mut Names;
    /// Takes an event.
    fn take(&mut self, event: &Event<'_>);
}

/// Who reads a log, in parts of any size, and hands its events to a sink.
pub trait LogReader {
    /// Reads more bytes; every record that they complete goes to the sink.
    fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink);
    /// Takes what is held as complete: at the end of a file, or when a file that grows has long stood still.
    fn finish(&mut self, sink: &mut impl Sink);
    /// Goes on with the next file.
    fn next_file(&mut self, sink: &mut impl Sink);
    /// Whether a record is held that may be complete already, as far as its end shows.
    fn may_be_complete(&self) -> bool;
    /// How many events were read so far.
    fn events(&self) -> u64;
    /// What was skipped so far.
    fn skipped(&self) -> &Skipped;
}

impl Moment {
    /// Reads `2026-01-31T12:00:00` or, as MariaDB writes it, `260131 12:00:00`; what follows does not matter.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (date, time, has_t) = match text {
            [a, b, c, d, b'-', e, f, b'-', g, h, t @ (b'T' | b' '), time @ ..] => {
                let year = 100 * two(*a, *b)? + two(*c, *d)?;
                ((year, two(*e, *f)?, two(*g, *h)?), time, *t == b'T')
            }
            [a, b, c, d, e, f, b' ', time @ ..] => {
                // Two digits of a year: the logs are younger than 1970.
                let year = two(*a, *b)?;
                let century = if year < 70 { 2000 } else { 1900 };
                ((century + year, two(*c, *d)?, two(*e, *f)?), time, false)
            }
            _ => return None,
        };
        let (hour, minute, second) = match time {
            [b' ', h, b':', m1, m2, b':', s1, s2, ..] => (two(b'0', *h)?, two(*m1, *m2)?, two(*s1, *s2)?),
            [h1, h2, b':', m1, m2, b':', s1, s2, ..] => (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?),
            _ => return None,
        };
        let (year, month, day) = date;
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Self { seconds, has_t })
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Days of the Gregorian calendar, counted in years that begin in March, so that the leap day is a year's last.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days_of_months = (153 * month + 2) / 5;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + days_of_months + day
        - 719_469
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.seconds.div_euclid(86_400);
        let second = self.seconds.rem_euclid(86_400);
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let separator = if self.has_t { 'T' } else { ' ' };
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        for (text, shown) in [
            ("261121  2:02:42", "2026-11-21 02:02:42"),
            ("261121 12:02:42\n", "2026-11-21 12:02:42"),
            ("991231 23:59:59", "1999-12-31 23:59:59"),
            ("2024-02-29T03:04:05.123456Z", "2024-02-29T03:04:05"),
            ("2024-03-01T00:00:00.1+02:00", "2024-03-01T00:00:00"),
            ("1970-01-01 00:00:00", "1970-01-01 00:00:00"),
        ] {
            assert_eq!(Moment::parse(text.as_bytes()).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(Moment::parse(b"1970-01-01T00:00:00").unwrap().seconds, 0);
        assert_eq!(Moment::parse(b"2026-11-21 02:02:42").unwrap().seconds, 1_795_226_562);
        for text in ["", "x", "2024-13-01T00:00:00", "240101", "2024-01-01T25:00:00", "2024-01-01"] {
            assert_eq!(Moment::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in (-200_000..200_000).step_by(7) {
            let moment = Moment { seconds: day * 86_400 + 3661, has_t: true };
            assert_eq!(Moment::parse(moment.to_string().as_bytes()), Some(moment));
        }
    }
}
