//! Reads one entry after another of a text of GTIDs. It merges no intervals.

use std::collections::BTreeMap;

use super::{GtidError, Interval, MAX_INTERVALS, Source};

/// Longest tag of MySQL, in characters.
const MAX_TAG_LEN: usize = 32;

/// Largest transaction number of MySQL, whose numbers are signed.
const MAX_MYSQL_NUMBER: u64 = i64::MAX.cast_unsigned();

/// Takes entries one by one. Its intervals are not merged.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) sources: BTreeMap<Source, Vec<Interval>>,
    /// How many were read so far.
    intervals: usize,
    /// What the first entry was.
    mysql: Option<bool>,
}

impl Reader {
    /// Reads what stands between two commas.
    pub(super) fn read(&mut self, entry: &str) -> Result<(), GtidError> {
        let malformed = || GtidError::Malformed { part: entry.chars().take(80).collect() };
        let parts = entry.split_once(':');
        if *self.mysql.get_or_insert(parts.is_some()) != parts.is_some() {
            return Err(GtidError::MixedVendors);
        }
        let Some((uuid, parts)) = parts else {
            let (source, interval) = mariadb_entry(entry).ok_or_else(malformed)?;
            return self.add(&source, interval);
        };
        let uuid = parse_uuid(uuid.trim()).ok_or_else(malformed)?;
        let mut source = Source::MySql { uuid, tag: None };
        let mut has_interval = false;
        for part in parts.split(':').map(str::trim) {
            if part.starts_with(|first: char| first.is_ascii_digit()) {
                self.add(&source, Some(mysql_interval(part).ok_or_else(malformed)?))?;
                has_interval = true;
            } else {
                let tag = Some(parse_tag(part).ok_or_else(malformed)?);
                // A tag before this one needs an interval of its own; a tag right after the UUID does not.
                if !has_interval && matches!(source, Source::MySql { tag: Some(_), .. }) {
                    return Err(malformed());
                }
                source = Source::MySql { uuid, tag };
                has_interval = false;
            }
        }
        if has_interval { Ok(()) } else { Err(malformed()) }
    }

    fn add(&mut self, source: &Source, interval: Option<Interval>) -> Result<(), GtidError> {
        self.intervals += 1;
        if self.intervals > MAX_INTERVALS {
            return Err(GtidError::TooManyIntervals);
        }
        if let Some(interval) = interval {
            match self.sources.get_mut(source) {
                Some(intervals) => intervals.push(interval),
                None => {
                    self.sources.insert(source.clone(), vec![interval]);
                }
            }
        }
        Ok(())
    }
}

/// `domain-server-number` or `domain-server-first..last`. The number 0 is a domain before its first transaction.
fn mariadb_entry(entry: &str) -> Option<(Source, Option<Interval>)> {
    let mut parts = entry.splitn(3, '-').map(str::trim);
    let domain = u32::try_from(number(parts.next()?)?).ok()?;
    let server = u32::try_from(number(parts.next()?)?).ok()?;
    let source = Source::MariaDb { domain, server };
    let numbers = parts.next()?;
    let interval = match numbers.split_once("..") {
        Some((first, last)) => Some(interval(number(first.trim())?, number(last.trim())?)?),
        None => interval(1, number(numbers)?),
    };
    Some((source, interval))
}

/// `first-last` or one number.
fn mysql_interval(part: &str) -> Option<Interval> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    interval(number(first.trim())?, number(last.trim())?).filter(|interval| interval.last <= MAX_MYSQL_NUMBER)
}

fn interval(first: u64, last: u64) -> Option<Interval> {
    (first > 0 && first <= last).then_some(Interval { first, last })
}

/// Unlike `u64::from_str`, this takes no sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The one form servers print: 8-4-4-4-12 hexadecimal digits.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut groups = text.split('-');
    let mut digits = String::with_capacity(32);
    for len in [8, 4, 4, 4, 12] {
        let group = groups.next().filter(|group| group.len() == len)?;
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        digits.push_str(group);
    }
    if groups.next().is_some() {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

fn parse_tag(text: &str) -> Option<String> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let valid = text.len() <= MAX_TAG_LEN
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    valid.then(|| text.to_ascii_lowercase())
}
