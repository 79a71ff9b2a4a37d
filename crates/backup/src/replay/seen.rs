//! [`Seen`]: which transactions are on the target already: those of the backup, and those that were replayed.
//!
//! An archive has a transaction twice where a failover was: each is to be applied once.

use std::collections::BTreeMap;

use binlog::Gtid;
use flavor::GtidSet;

use crate::archive::CoverFrom;

/// What is on the target.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    gtids: GtidSet,
    /// MariaDB: the last transaction of each domain, whoever wrote it: server and number.
    domains: BTreeMap<u32, (u32, u64)>,
    /// Where the backup stands in the logs of its server.
    position: Option<(String, u64)>,
}

impl Seen {
    /// What a backup has.
    pub(super) fn new(from: &CoverFrom) -> Self {
        let mut seen = Self { gtids: GtidSet::default(), domains: BTreeMap::new(), position: None };
        let text = from.gtids.replication_position();
        for entry in text.split(',') {
            let mut parts = entry.split('-').map(str::parse::<u64>);
            if let (Some(Ok(domain)), Some(Ok(server)), Some(Ok(number)), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
                && let (Ok(domain), Ok(server)) = (u32::try_from(domain), u32::try_from(server))
            {
                seen.domains.insert(domain, (server, number));
            }
        }
        if seen.domains.is_empty() {
            seen.gtids.clone_from(&from.gtids);
        }
        seen.position = from.position.as_ref().map(|(_, at)| (at.log.clone(), at.offset));
        seen
    }

    /// Whether a transaction is there; from now on it is. `is_first_run`: it is in the logs that the backup's place is
    /// told in.
    pub(super) fn has(&mut self, gtid: Option<&Gtid>, is_first_run: bool, log: &str, offset: u64) -> bool {
        match gtid {
            Some(Gtid::MariaDb { domain, server, sequence }) => {
                if self.domains.get(domain).is_some_and(|(_, last)| sequence <= last) {
                    return true;
                }
                self.domains.insert(*domain, (*server, *sequence));
                false
            }
            Some(gtid @ Gtid::MySql { .. }) => {
                let Ok(one) = GtidSet::parse(&gtid.to_string()) else { return false };
                if self.gtids.contains(&one) {
                    return true;
                }
                self.gtids.extend(&one);
                false
            }
            None => match &self.position {
                // Logs before it are not in the cover.
                Some((first, at)) => is_first_run && first == log && offset < *at,
                None => false,
            },
        }
    }

    /// What is there as the servers take it: `gtid_purged`, or `gtid_slave_pos`.
    pub(super) fn position(&self) -> String {
        if self.domains.is_empty() {
            return self.gtids.to_string();
        }
        let all = self.domains.iter().map(|(domain, (server, number))| format!("{domain}-{server}-{number}"));
        all.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::LogPosition;

    fn from(gtids: &str) -> CoverFrom {
        let position = Some((1, LogPosition { log: "b.000002".to_owned(), offset: 100 }));
        CoverFrom { gtids: GtidSet::parse(gtids).unwrap(), position }
    }

    #[test]
    fn a_transaction_is_new_once_whoever_logged_it() {
        let mariadb = |server, sequence| Gtid::MariaDb { domain: 0, server, sequence };
        // After a failover a position names the new primary alone: what the old one wrote is before it all the same.
        let mut seen = Seen::new(&from("0-2-50"));
        assert!(seen.has(Some(&mariadb(1, 49)), true, "b.000002", 500));
        assert!(!seen.has(Some(&mariadb(2, 51)), true, "b.000002", 500));
        assert!(seen.has(Some(&mariadb(2, 51)), false, "c.000001", 4));
        assert_eq!(seen.position(), "0-2-51");
        let mysql = |number| Gtid::MySql { source: [7; 16], tag: String::new(), number };
        let uuid = "07070707-0707-0707-0707-070707070707";
        let mut seen = Seen::new(&from(&format!("{uuid}:1-5")));
        assert!(seen.has(Some(&mysql(5)), true, "b.000002", 500));
        assert!(!seen.has(Some(&mysql(7)), true, "b.000002", 500));
        assert!(!seen.has(Some(&mysql(6)), true, "b.000002", 600));
        assert!(seen.has(Some(&mysql(7)), true, "b.000002", 700));
        assert_eq!(seen.position(), format!("{uuid}:1-7"));
    }

    #[test]
    fn without_gtids_the_place_decides() {
        let mut seen = Seen::new(&from(""));
        assert!(seen.has(None, true, "b.000002", 99) && !seen.has(None, true, "b.000002", 100));
        assert!(!seen.has(None, true, "b.000003", 4));
    }
}
