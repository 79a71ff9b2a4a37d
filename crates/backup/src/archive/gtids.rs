//! [`Seen`]: the GTIDs of transactions as they pass, gathered cheaply. Algebra on them is `flavor`'s matter.

use std::collections::BTreeMap;

use binlog::Gtid;
use flavor::{GtidError, GtidSet};

/// GTIDs that have passed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By what stands before the number in the text.
    sources: BTreeMap<String, Ranges>,
    pub(crate) count: u64,
}

#[derive(Debug)]
struct Ranges {
    is_mariadb: bool,
    /// The last one grows.
    all: Vec<(u64, u64)>,
}

impl Seen {
    pub(crate) fn add(&mut self, gtid: &Gtid) {
        self.count += 1;
        let (number, is_mariadb) = match gtid {
            Gtid::MySql { number, .. } => (*number, false),
            Gtid::MariaDb { sequence, .. } => (*sequence, true),
        };
        let text = gtid.to_string();
        let source = text.rsplit_once(if is_mariadb { '-' } else { ':' }).map_or("", |(source, _)| source);
        let ranges = match self.sources.get_mut(source) {
            Some(ranges) => ranges,
            None => self
                .sources
                .entry(source.to_owned())
                .or_insert_with(|| Ranges { is_mariadb, all: Vec::new() }),
        };
        match ranges.all.last_mut() {
            // The servers of a MariaDB domain share its numbers: what is between is another's.
            Some((first, last)) if is_mariadb => {
                (*first, *last) = ((*first).min(number), (*last).max(number));
            }
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            Some(_) | None => ranges.all.push((number, number)),
        }
    }

    /// All of them as a set; on MariaDB, whose numbers have gaps in each source, with all that came before.
    pub(crate) fn set(&self) -> Result<GtidSet, GtidError> {
        let mut set = GtidSet::default();
        for (source, ranges) in &self.sources {
            for (first, last) in &ranges.all {
                let text = if ranges.is_mariadb {
                    format!("{source}-{last}")
                } else {
                    format!("{source}:{first}-{last}")
                };
                set.extend(&GtidSet::parse(&text)?);
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_gathered_for_both_vendors() {
        let mut seen = Seen::default();
        for number in [5, 6, 7, 3, 9] {
            seen.add(&Gtid::MySql { source: [0xab; 16], tag: String::new(), number });
        }
        seen.add(&Gtid::MySql { source: [0xab; 16], tag: "x".to_owned(), number: 1 });
        let uuid = "abababab-abab-abab-abab-abababababab";
        assert_eq!(seen.set().unwrap().to_string(), format!("{uuid}:3:5-7:9:x:1"));
        assert_eq!(seen.count, 6);
        let mut seen = Seen::default();
        for (server, sequence) in [(1, 6), (2, 7), (1, 8)] {
            seen.add(&Gtid::MariaDb { domain: 0, server, sequence });
        }
        let before = GtidSet::parse("0-1-4,0-2-3").unwrap();
        let after = before.union(&seen.set().unwrap());
        assert!(after.contains(&GtidSet::parse("0-1-8").unwrap()), "{after}");
        assert!(!after.contains(&GtidSet::parse("0-1-9").unwrap()), "{after}");
    }
}
