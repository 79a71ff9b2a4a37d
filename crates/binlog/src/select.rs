//! Which transactions and tables of a log are meant: by name, time, place, GTID, server and connection.

use crate::gtid::{Gtid, uuid_text};
use crate::transaction::Transaction;

/// A selection that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Not a GTID or a set of them.
    #[error(
        "`{0}` is not a GTID: give uuid:number, uuid:first-last, uuid:tag:number or domain-server-number"
    )]
    Gtid(String),
    /// Not a table.
    #[error("`{0}` is not a table: give database.table, database.* or *.table")]
    Table(String),
}

/// Tables by name; `*` stands for any letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    database: String,
    table: String,
}

impl std::str::FromStr for TablePattern {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Self, SelectError> {
        let refused = || SelectError::Table(text.to_owned());
        let (database, table) = text.split_once('.').ok_or_else(refused)?;
        if database.is_empty() || table.is_empty() {
            return Err(refused());
        }
        Ok(Self { database: database.to_owned(), table: table.to_owned() })
    }
}

impl TablePattern {
    /// Whether it means this table.
    #[must_use]
    pub fn matches(&self, database: &str, table: &str) -> bool {
        wildcard(&self.database, database) && wildcard(&self.table, table)
    }

    /// Whether it means some table of this database.
    #[must_use]
    pub fn matches_database(&self, database: &str) -> bool {
        wildcard(&self.database, database)
    }
}

/// `*` for any letters, also none.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// GTIDs that are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidChoice {
    mysql: Vec<(String, String, u64, u64)>,
    mariadb: Vec<(u32, u32, u64)>,
}

impl std::str::FromStr for GtidChoice {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Self, SelectError> {
        let mut choice = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let read = if part.contains(':') { choice.add_mysql(part) } else { choice.add_mariadb(part) };
            read.ok_or_else(|| SelectError::Gtid(part.to_owned()))?;
        }
        if choice == Self::default() {
            return Err(SelectError::Gtid(text.to_owned()));
        }
        Ok(choice)
    }
}

impl GtidChoice {
    fn add_mysql(&mut self, text: &str) -> Option<()> {
        let mut parts = text.split(':');
        let source = parts.next()?.to_ascii_lowercase();
        if source.len() != 36 || !source.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut tag = String::new();
        for part in parts {
            if part.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') {
                tag = part.to_ascii_lowercase();
                continue;
            }
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            self.mysql.push((source.clone(), tag.clone(), first.parse().ok()?, last.parse().ok()?));
        }
        Some(())
    }

    fn add_mariadb(&mut self, text: &str) -> Option<()> {
        let mut parts = text.split('-');
        let gtid = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        self.mariadb.push(gtid);
        parts.next().is_none().then_some(())
    }

    /// Whether a GTID is among them.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        match gtid {
            Gtid::MySql { source, tag, number } => {
                let source = uuid_text(source);
                self.mysql.iter().any(|(uuid, wanted, first, last)| {
                    *uuid == source && wanted == tag && (first..=last).contains(&number)
                })
            }
            Gtid::MariaDb { domain, server, sequence } => {
                self.mariadb.contains(&(*domain, *server, *sequence))
            }
        }
    }
}

/// What is meant; nothing given means all.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// Only these tables.
    pub tables: Vec<TablePattern>,
    /// Not before this time, in seconds since 1970.
    pub since_seconds: Option<i64>,
    /// Before this time, in seconds since 1970.
    pub until_seconds: Option<i64>,
    /// Only transactions that begin here or later in the first log, in bytes.
    pub start_position: Option<u64>,
    /// Only transactions that begin before here in the last log, in bytes.
    pub stop_position: Option<u64>,
    /// Only these GTIDs.
    pub gtids: Option<GtidChoice>,
    /// Not these GTIDs.
    pub not_gtids: Option<GtidChoice>,
    /// Only from this server.
    pub server_id: Option<u32>,
    /// Only from this connection.
    pub thread_id: Option<u32>,
}

impl Select {
    /// Whether a table is meant.
    #[must_use]
    pub fn has_table(&self, database: &str, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.matches(database, table))
    }

    /// Whether some table of a database is meant.
    #[must_use]
    pub fn has_database(&self, database: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.matches_database(database))
    }

    /// Whether a transaction is meant, in a log that is the first or the last one read.
    #[must_use]
    pub fn has_transaction(&self, transaction: &Transaction, is_first_log: bool, is_last_log: bool) -> bool {
        let seconds = i64::from(transaction.first_seconds);
        let has_gtid =
            |choice: &GtidChoice| transaction.gtid.as_ref().is_some_and(|gtid| choice.contains(gtid));
        self.since_seconds.is_none_or(|since| seconds >= since)
            && self.until_seconds.is_none_or(|until| seconds < until)
            && (!is_first_log || self.start_position.is_none_or(|start| transaction.offset >= start))
            && (!is_last_log || self.stop_position.is_none_or(|stop| transaction.offset < stop))
            && self.gtids.as_ref().is_none_or(has_gtid)
            && !self.not_gtids.as_ref().is_some_and(has_gtid)
            && self.server_id.is_none_or(|id| transaction.server_id == id)
            && self.thread_id.is_none_or(|id| transaction.thread_id == Some(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_matched_by_pattern() {
        let matches = |pattern: &str, database: &str, table: &str| {
            pattern.parse::<TablePattern>().unwrap().matches(database, table)
        };
        assert!(matches("cloud.vm_instance", "cloud", "vm_instance"));
        assert!(!matches("cloud.vm", "cloud", "vm_instance"));
        assert!(matches("cloud.*", "cloud", "anything"));
        assert!(matches("*.vm*e", "x", "vm_instance"));
        assert!(!matches("*.vm*e", "x", "vm_instances"));
        assert!(matches("a*b*c.t", "aXbYc", "t"));
        for refused in ["t", ".t", "d."] {
            assert!(refused.parse::<TablePattern>().is_err());
        }
    }

    #[test]
    fn gtids_of_both_vendors_are_chosen() {
        let uuid = "7536b2a3-e54f-11f1-b83d-02fc00000001";
        let choice: GtidChoice = format!("{uuid}:1-5:9:tag:2,0-1-7").parse().unwrap();
        let source = [0x75, 0x36, 0xb2, 0xa3, 0xe5, 0x4f, 0x11, 0xf1, 0xb8, 0x3d, 2, 0xfc, 0, 0, 0, 1];
        let mysql = |tag: &str, number| Gtid::MySql { source, tag: tag.to_owned(), number };
        assert!(
            choice.contains(&mysql("", 5))
                && choice.contains(&mysql("", 9))
                && choice.contains(&mysql("tag", 2))
        );
        assert!(!choice.contains(&mysql("", 6)) && !choice.contains(&mysql("tag", 1)));
        assert!(choice.contains(&Gtid::MariaDb { domain: 0, server: 1, sequence: 7 }));
        for refused in ["", "x", "1-2", "1-2-3-4", "7536:1"] {
            assert!(refused.parse::<GtidChoice>().is_err(), "{refused}");
        }
    }
}
