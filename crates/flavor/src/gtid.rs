//! Sets of transactions by their GTIDs, for both vendors, with exact algebra. It reads and writes text, and asks
//! no server anything.

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::read::Reader;

/// Longest text that is read, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Most intervals in one text.
const MAX_INTERVALS: usize = 10_000;

/// A set of transactions by GTID.
///
/// MySQL's text is the server's own (`uuid:1-5:7:tag:1-3,...`). MariaDB's text is a list of `domain-server-number`,
/// as in `gtid_binlog_state`, which holds the last number of each (domain, server). One such entry is read as every
/// transaction of that (domain, server) up to the number: with `gtid_strict_mode` on, a server writes a
/// transaction only under a number higher than all before it in the domain, so a log that holds a GTID holds all
/// that came before it from the same place (MariaDB's manual, "Global Transaction ID" and "gtid_strict_mode").
/// Without strict mode this does not hold, and neither do the answers given here. Differences of such sets have
/// entries that do not begin at 1; their text has a form of our own, `0-1-9..10`.
///
/// Servers of one MariaDB domain share its numbers, so a (domain, server) has gaps which count here as
/// transactions. The algebra is not harmed, since all sets agree on them, but [`Self::count`] is then an upper bound.
///
/// The derived order is for sorting and says nothing of what contains what. Sets of two vendors may be joined, but
/// the text of such a set is not read back.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GtidSet {
    /// No list is empty; each is sorted, with a gap between any two intervals.
    sources: BTreeMap<Source, Vec<Interval>>,
}

/// Why a text is not a set of GTIDs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GtidError {
    /// The text is longer than 1 MiB.
    #[error("a set of GTIDs in {bytes} bytes is longer than the {MAX_TEXT_BYTES} that are read")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// The text lists more than 10,000 intervals.
    #[error("a set of GTIDs has more than {MAX_INTERVALS} intervals")]
    TooManyIntervals,
    /// Some entries are MySQL's and some MariaDB's.
    #[error("a set of GTIDs mixes MySQL's form with MariaDB's")]
    MixedVendors,
    /// An entry is in neither vendor's form.
    #[error("no GTIDs: {part:?}")]
    Malformed {
        /// The beginning of the entry.
        part: String,
    },
}

/// Where transactions were first written. The order is that of the text: MySQL's untagged intervals come first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Source {
    MariaDb { domain: u32, server: u32 },
    MySql { uuid: [u8; 16], tag: Option<String> },
}

/// The transactions `first..=last`; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Interval {
    first: u64,
    last: u64,
}

impl GtidSet {
    /// Reads either vendor's text. White space and letter case do not matter, intervals may overlap, and an empty
    /// text is the empty set.
    ///
    /// # Errors
    /// [`GtidError`], for text that is in neither form, or longer or of more intervals than is read.
    pub fn parse(text: &str) -> Result<Self, GtidError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(GtidError::TooLong { bytes: text.len() });
        }
        let mut reader = Reader::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            reader.read(entry)?;
        }
        let mut sources = reader.sources;
        sources.values_mut().for_each(merge);
        Ok(Self { sources })
    }

    /// What either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.extend(other);
        both
    }

    /// Adds what the other holds.
    pub fn extend(&mut self, other: &Self) {
        for (source, theirs) in &other.sources {
            let ours = self.sources.entry(source.clone()).or_default();
            ours.extend_from_slice(theirs);
            merge(ours);
        }
    }

    /// Whether everything in the other is in this one too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.sources.iter().all(|(source, theirs)| {
            let ours = self.intervals(source);
            // Merged intervals have gaps between them, so one of ours has to cover each of theirs.
            theirs.iter().all(|their| {
                let reaching = ours.partition_point(|our| our.last < their.last);
                ours.get(reaching).is_some_and(|our| our.first <= their.first)
            })
        })
    }

    /// What this one holds and the other does not.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut sources = BTreeMap::new();
        for (source, ours) in &self.sources {
            let rest = subtract(ours, other.intervals(source));
            if !rest.is_empty() {
                sources.insert(source.clone(), rest);
            }
        }
        Self { sources }
    }

    /// Whether there is no transaction in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Number of transactions, at most `u64::MAX`. On MariaDB this is an upper bound, once a domain had more than
    /// one writing server.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sources
            .values()
            .flatten()
            .map(|interval| (interval.last - interval.first).saturating_add(1))
            .fold(0, u64::saturating_add)
    }

    /// The set as servers take it for a position, to wait for or to begin after: on MariaDB the highest GTID of each
    /// domain, where a position is one GTID a domain, and on MySQL the set itself.
    #[must_use]
    pub fn replication_position(&self) -> String {
        let mut domains = BTreeMap::new();
        for (source, intervals) in &self.sources {
            match (source, intervals.last()) {
                (Source::MariaDb { domain, server }, Some(interval)) => {
                    let highest = domains.entry(*domain).or_insert((interval.last, *server));
                    *highest = (*highest).max((interval.last, *server));
                }
                (Source::MySql { .. }, _) => return self.to_string(),
                (Source::MariaDb { .. }, None) => {}
            }
        }
        let gtids: Vec<String> =
            domains.iter().map(|(domain, (number, server))| format!("{domain}-{server}-{number}")).collect();
        gtids.join(",")
    }

    fn intervals(&self, source: &Source) -> &[Interval] {
        self.sources.get(source).map_or(&[], Vec::as_slice)
    }
}

/// Sorts intervals and joins those that overlap or touch.
fn merge(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable();
    intervals.dedup_by(|next, kept| {
        let touches = next.first <= kept.last.saturating_add(1);
        if touches {
            kept.last = kept.last.max(next.last);
        }
        touches
    });
}

/// What is left of `ours` without `theirs`; both merged.
fn subtract(ours: &[Interval], theirs: &[Interval]) -> Vec<Interval> {
    let mut rest = Vec::new();
    let mut theirs = theirs.iter().peekable();
    for our in ours {
        // The first number not decided yet, None once `our` is used up.
        let mut first = Some(our.first);
        while let (Some(from), Some(their)) = (first, theirs.peek()) {
            if their.last < from {
                theirs.next();
                continue;
            }
            if their.first > our.last {
                break;
            }
            if their.first > from {
                rest.push(Interval { first: from, last: their.first - 1 });
            }
            // The same one of theirs may reach into the next one of ours, so it is kept.
            first = their.last.checked_add(1).filter(|next| *next <= our.last);
        }
        if let Some(first) = first {
            rest.push(Interval { first, last: our.last });
        }
    }
    rest
}

impl fmt::Display for GtidSet {
    /// The canonical text, on one line, which [`GtidSet::parse`] and the server (but for the form `0-1-9..10`) read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut open_uuid = None;
        for (source, intervals) in &self.sources {
            match source {
                Source::MariaDb { domain, server } => {
                    for Interval { first, last } in intervals {
                        write!(f, "{comma}{domain}-{server}-")?;
                        if *first == 1 {
                            write!(f, "{last}")?;
                        } else {
                            write!(f, "{first}..{last}")?;
                        }
                        comma = ",";
                    }
                }
                Source::MySql { uuid, tag } => {
                    if open_uuid != Some(uuid) {
                        f.write_str(comma)?;
                        write_uuid(f, *uuid)?;
                        open_uuid = Some(uuid);
                    }
                    if let Some(tag) = tag {
                        write!(f, ":{tag}")?;
                    }
                    for Interval { first, last } in intervals {
                        if first == last {
                            write!(f, ":{first}")?;
                        } else {
                            write!(f, ":{first}-{last}")?;
                        }
                    }
                    comma = ",";
                }
            }
        }
        Ok(())
    }
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: [u8; 16]) -> fmt::Result {
    for (position, byte) in uuid.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

impl fmt::Debug for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        Self::parse(text)
    }
}

impl Serialize for GtidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(&text.replace('A', A).replace('B', B)).unwrap()
    }

    fn short(set: &GtidSet) -> String {
        set.to_string().replace(A, "A").replace(B, "B")
    }

    #[test]
    fn text_is_made_canonical() {
        for (text, expected) in [
            ("", ""),
            (" \n", ""),
            ("A:1", "A:1"),
            ("A:1-1", "A:1"),
            ("A:7:1-5", "A:1-5:7"),
            ("A:6-7:1-5", "A:1-7"),
            ("A:1-5:3-9", "A:1-9"),
            ("B:1,\nA:1-5:7", "A:1-5:7,B:1"),
            (" B : 1 , A : 1 - 5 ,", "A:1-5,B:1"),
            ("A:1,A:2", "A:1-2"),
            ("A:1-3:Daily_2:1-3:5:_x:9", "A:1-3:_x:9:daily_2:1-3:5"),
            ("A:daily:1-3", "A:daily:1-3"),
            ("A:daily:1-3,A:7,B:1", "A:7:daily:1-3,B:1"),
            ("A:9223372036854775807", "A:9223372036854775807"),
            ("0-1-10,0-2-12", "0-1-10,0-2-12"),
            ("0-2-12, 0-1-10", "0-1-10,0-2-12"),
            ("0-1-0", ""),
            ("0-1-0,1-1-1", "1-1-1"),
            ("0-1-10,0-1-12", "0-1-12"),
            ("0-1-9..10", "0-1-9..10"),
            ("0-1-1..10", "0-1-10"),
            ("0-1-5,0-1-9..10,0-1-6", "0-1-6,0-1-9..10"),
            ("4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615"),
        ] {
            assert_eq!(short(&set(text)), expected, "{text}");
        }
        assert_eq!(GtidSet::parse(&format!("{}:1", A.to_uppercase())), Ok(set("A:1")));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in [
            "x",
            "A",
            "A:",
            ":1",
            "A:0",
            "A:0-5",
            "A:5-1",
            "A:1-",
            "A:-1",
            "A:+1",
            "A:1-2-3",
            "A:1::2",
            "A:tag",
            "A:tag:",
            "A:tag:tag2:1",
            "A:1:tag",
            "A:9tag:1",
            "A:ta g:1",
            "A:tág:1",
            "A:9223372036854775808",
            "A:abcdefghijklmnopqrstuvwxyz0123456:1",
            "3e11fa4771ca11e19e33c80aa9429562:1",
            "A-1:1",
            "0-1",
            "0-1-",
            "0--1",
            "0-1-2-3",
            "0-1--2",
            "0-1-+2",
            "4294967296-1-1",
            "0-4294967296-1",
            "0-1-18446744073709551616",
            "0-1-0..5",
            "0-1-5..4",
            "0-1-5..",
            "0-1-..5",
            "0-1-1..2..3",
        ] {
            let result = GtidSet::parse(&text.replace('A', A));
            assert!(matches!(result, Err(GtidError::Malformed { .. })), "{text}: {result:?}");
        }
        for text in ["A:1,0-1-1", "0-1-1,A:1"] {
            assert_eq!(GtidSet::parse(&text.replace('A', A)), Err(GtidError::MixedVendors), "{text}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        let intervals = |count: usize| {
            (0..count).fold(A.to_owned(), |text, number| text + ":" + &(2 * number + 1).to_string())
        };
        assert_eq!(GtidSet::parse(&intervals(MAX_INTERVALS)).unwrap().count(), 10_000);
        assert_eq!(GtidSet::parse(&intervals(MAX_INTERVALS + 1)), Err(GtidError::TooManyIntervals));
        assert_eq!(GtidSet::parse(&"0-1-0,".repeat(MAX_INTERVALS + 1)), Err(GtidError::TooManyIntervals));
        assert_eq!(GtidSet::parse(&" ".repeat(MAX_TEXT_BYTES)), Ok(GtidSet::default()));
        let bytes = MAX_TEXT_BYTES + 1;
        assert_eq!(GtidSet::parse(&" ".repeat(bytes)), Err(GtidError::TooLong { bytes }));
        let error = GtidSet::parse(&"ä".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }

    #[test]
    fn differences_are_exact() {
        for (left, right, expected) in [
            ("A:1-10", "A:1-10", ""),
            ("A:1-10", "", "A:1-10"),
            ("", "A:1-10", ""),
            ("A:1-10", "A:4-5", "A:1-3:6-10"),
            ("A:1-10", "A:1:10", "A:2-9"),
            ("A:1-3:5-7:9-11", "A:3-9", "A:1-2:10-11"),
            ("A:1-10", "B:1-10", "A:1-10"),
            ("A:1-10", "A:tag:1-10", "A:1-10"),
            ("A:1-10:tag:1-4", "A:1-9:tag:2", "A:10:tag:1:3-4"),
            ("0-1-10", "0-1-8", "0-1-9..10"),
            ("0-1-10,0-2-12", "0-1-10", "0-2-12"),
            ("0-1-10", "0-2-10,1-1-10", "0-1-10"),
            ("0-1-18446744073709551615", "0-1-3..18446744073709551615", "0-1-2"),
            ("0-1-18446744073709551615", "0-1-5", "0-1-6..18446744073709551615"),
        ] {
            let (left, right) = (set(left), set(right));
            assert_eq!(short(&left.subtract(&right)), expected, "{left} - {right}");
            assert_eq!(right.contains(&left), expected.is_empty(), "{left} - {right}");
        }
    }

    #[test]
    fn counts_stop_at_the_largest_number() {
        for (text, expected) in [
            ("", 0),
            ("A:1-5:7:tag:3,B:9", 8),
            ("0-1-18446744073709551615", u64::MAX),
            ("0-1-18446744073709551615,0-2-1", u64::MAX),
        ] {
            assert_eq!(set(text).count(), expected, "{text}");
        }
    }

    #[test]
    fn a_position_has_one_gtid_a_domain() {
        for (text, expected) in [
            ("", ""),
            ("0-1-10", "0-1-10"),
            ("0-1-10,0-2-12,0-3-11,1-2-5", "0-2-12,1-2-5"),
            ("0-2-12,0-3-4,0-3-13..14", "0-3-14"),
        ] {
            assert_eq!(set(text).replication_position(), expected, "{text}");
        }
        let mysql = set("B:1,A:1-5:tag:2");
        assert_eq!(mysql.replication_position(), mysql.to_string());
    }

    #[test]
    fn in_other_formats_a_set_is_its_text() {
        use serde::de::IntoDeserializer as _;
        use serde::de::value::{Error, StrDeserializer};

        let read = |text: &'static str| {
            let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
            GtidSet::deserialize(deserializer)
        };
        assert_eq!(read("0-1-3, 0-1-2"), Ok(set("0-1-3")));
        assert!(read("nonsense").unwrap_err().to_string().contains("nonsense"));
        assert_eq!(format!("{:?}", set("0-1-3")), "0-1-3");
    }

    /// One transaction: which source of a few, and its number.
    type Model = BTreeSet<(usize, u64)>;

    fn model() -> impl Strategy<Value = Model> {
        prop::collection::btree_set((0..3_usize, 1..20_u64), 0..40)
    }

    fn of_model(model: &Model, prefixes: [&str; 3]) -> GtidSet {
        let mut all = GtidSet::default();
        for (source, number) in model {
            let number = if prefixes[*source].ends_with('-') {
                format!("{number}..{number}")
            } else {
                number.to_string()
            };
            all.extend(&set(&format!("{}{number}", prefixes[*source])));
        }
        all
    }

    proptest! {
        #[test]
        fn algebra_is_that_of_sets(left in model(), right in model(), mysql: bool) {
            let prefixes = if mysql { ["A:", "A:tag:", "B:"] } else { ["0-1-", "0-2-", "1-1-"] };
            let of = |model: &Model| of_model(model, prefixes);
            let (a, b) = (of(&left), of(&right));
            prop_assert_eq!(a.union(&b), of(&(&left | &right)));
            prop_assert_eq!(a.subtract(&b), of(&(&left - &right)));
            prop_assert_eq!(a.contains(&b), left.is_superset(&right));
            prop_assert_eq!(a.count(), u64::try_from(left.len()).unwrap());
            prop_assert_eq!(a.is_empty(), left.is_empty());
            let common = a.subtract(&a.subtract(&b));
            prop_assert_eq!(&common, &of(&(&left & &right)));
            prop_assert_eq!(a.subtract(&b).union(&common), a.clone());
            prop_assert!(a.union(&b).contains(&a));
            prop_assert_eq!(a.contains(&b), b.subtract(&a).is_empty());
            prop_assert_eq!(GtidSet::parse(&a.to_string()), Ok(a));
        }

        #[test]
        fn text_near_the_form_never_panics_and_reads_back(text in "[-0-9:, .a-c\n]{0,60}") {
            if let Ok(set) = GtidSet::parse(&text) {
                prop_assert_eq!(GtidSet::parse(&set.to_string()), Ok(set));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _unread = GtidSet::parse(&text);
        }

        #[test]
        fn large_numbers_keep_the_laws(
            left in prop::collection::vec((u64::MAX - 20..=u64::MAX, 0..5_u64), 0..6),
            right in prop::collection::vec((u64::MAX - 20..=u64::MAX, 0..5_u64), 0..6),
        ) {
            let of = |pairs: &[(u64, u64)]| {
                let text: Vec<String> =
                    pairs.iter().map(|(first, len)| format!("0-1-{first}..{}", first.saturating_add(*len))).collect();
                set(&text.join(","))
            };
            let (a, b) = (of(&left), of(&right));
            let common = a.subtract(&a.subtract(&b));
            prop_assert_eq!(a.subtract(&b).count() + common.count(), a.count());
            prop_assert_eq!(a.union(&b).count(), a.count() + b.count() - common.count());
            prop_assert_eq!(a.contains(&b), b.subtract(&a).is_empty());
        }
    }
}
