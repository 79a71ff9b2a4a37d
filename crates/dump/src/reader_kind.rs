//! What a statement of a dump is, and of which object: decided by its first words alone.
//!
//! It checks no grammar: what it does not know is [`StatementKind::Other`].

use crate::reader_words::{Word, Words};

/// A name, with its database where the statement has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ObjectName {
    /// The database, where it is written.
    pub database: Option<String>,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(database) = &self.database {
            write!(f, "{database}.")?;
        }
        f.write_str(&self.name)
    }
}

/// What has a definition of its own beside tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// A sequence of MariaDB.
    Sequence,
    /// A stored function.
    Function,
    /// A stored procedure.
    Procedure,
    /// A package or its body (MariaDB).
    Package,
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// An event.
    Event,
}

impl ObjectKind {
    /// Its name in words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Package => "package",
            Self::View => "view",
            Self::Trigger => "trigger",
            Self::Event => "event",
        }
    }
}

/// What a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatementKind {
    /// `USE`.
    Use(String),
    /// `CREATE DATABASE`.
    CreateDatabase(String),
    /// `CREATE TABLE`.
    CreateTable(ObjectName),
    /// `CREATE` of anything else that has a definition; a trigger's table comes with it.
    CreateObject {
        /// What.
        kind: ObjectKind,
        /// Its name.
        name: ObjectName,
        /// A trigger's table.
        table: Option<ObjectName>,
    },
    /// `INSERT` or `REPLACE`.
    Insert(ObjectName),
    /// A sequence's value.
    SequenceValue(ObjectName),
    /// `DROP` of a table, a view or another object: dumps make room with it.
    Drop(ObjectName),
    /// `LOCK TABLES`, `UNLOCK TABLES`, `ALTER TABLE ... DISABLE KEYS` and the like: of use to a single session only.
    Bracket,
    /// `SET` of variables of the session.
    Set,
    /// A position or GTIDs to replicate from.
    Position,
    /// Accounts, roles, grants, servers, plugins.
    Account,
    /// `START TRANSACTION`, `COMMIT`.
    Transaction,
    /// Anything else.
    Other,
}

impl StatementKind {
    /// What the statement is.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut words = Words::new(text);
        let Some(Word::Bare(first)) = words.next() else { return Self::Other };
        let first = first.to_ascii_uppercase();
        let known = match first.as_slice() {
            b"INSERT" | b"REPLACE" => inserted(&mut words).map(Self::Insert),
            b"CREATE" => created(words),
            b"USE" => words.next().and_then(|word| word.name()).map(Self::Use),
            b"SET" => Some(set(words)),
            b"DROP" => Some(dropped(words)),
            b"LOCK" | b"UNLOCK" => Some(Self::Bracket),
            b"ALTER" => Some(altered(words)),
            b"CHANGE" => Some(Self::Position),
            b"START" | b"BEGIN" | b"COMMIT" => Some(Self::Transaction),
            b"GRANT" | b"INSTALL" | b"REVOKE" => Some(Self::Account),
            b"SELECT" | b"DO" => sequence_value(words),
            _ => None,
        };
        known.unwrap_or(Self::Other)
    }

    /// What a statement of this kind is called when it is passed over.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Use(_) => "USE",
            Self::CreateDatabase(_) => "CREATE DATABASE",
            Self::CreateTable(_) => "CREATE TABLE",
            Self::CreateObject { kind, .. } => kind.word(),
            Self::Insert(_) => "INSERT",
            Self::SequenceValue(_) => "sequence value",
            Self::Drop(_) => "DROP",
            Self::Bracket => "LOCK and KEYS",
            Self::Set => "SET",
            Self::Position => "position",
            Self::Account => "accounts and grants",
            Self::Transaction => "transaction",
            Self::Other => "other statements",
        }
    }
}

/// `a`, or `a`.`b`.
pub(crate) fn name(words: &mut Words<'_>) -> Option<ObjectName> {
    let first = words.next()?.name()?;
    let mut ahead = words.clone();
    if ahead.next() == Some(Word::Symbol(b'.')) {
        let name = ahead.next()?.name()?;
        *words = ahead;
        return Some(ObjectName { database: Some(first), name });
    }
    Some(ObjectName { database: None, name: first })
}

/// Passes keywords, as many as are there.
fn pass(words: &mut Words<'_>, keywords: &[&str]) {
    loop {
        let mut ahead = words.clone();
        match ahead.next() {
            Some(word) if keywords.iter().any(|keyword| word.is(keyword)) => *words = ahead,
            Some(_) | None => return,
        }
    }
}

/// The table of an `INSERT`, whose first word is passed already.
pub(crate) fn inserted(words: &mut Words<'_>) -> Option<ObjectName> {
    pass(words, &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
    name(words)
}

/// More words before the kind of object than any `CREATE` has.
const CREATE_WORDS_MAX: usize = 40;

fn created(mut words: Words<'_>) -> Option<StatementKind> {
    for _ in 0..CREATE_WORDS_MAX {
        let word = words.next()?;
        let Word::Bare(word) = word else { continue };
        let kind = match word.to_ascii_uppercase().as_slice() {
            b"TABLE" => {
                pass(&mut words, &["IF", "NOT", "EXISTS"]);
                return name(&mut words).map(StatementKind::CreateTable);
            }
            b"DATABASE" | b"SCHEMA" => {
                pass(&mut words, &["IF", "NOT", "EXISTS"]);
                return name(&mut words).map(|name| StatementKind::CreateDatabase(name.name));
            }
            b"USER" | b"ROLE" | b"SERVER" => return Some(StatementKind::Account),
            b"INDEX" | b"UNIQUE" => return None,
            b"SEQUENCE" => ObjectKind::Sequence,
            b"FUNCTION" => ObjectKind::Function,
            b"PROCEDURE" => ObjectKind::Procedure,
            b"PACKAGE" => ObjectKind::Package,
            b"VIEW" => ObjectKind::View,
            b"TRIGGER" => ObjectKind::Trigger,
            b"EVENT" => ObjectKind::Event,
            // OR REPLACE, ALGORITHM, DEFINER, SQL SECURITY, TEMPORARY, AGGREGATE and their values.
            _ => continue,
        };
        pass(&mut words, &["IF", "NOT", "EXISTS", "BODY"]);
        let object = name(&mut words)?;
        let table = if kind == ObjectKind::Trigger { trigger_table(&mut words) } else { None };
        return Some(StatementKind::CreateObject { kind, name: object, table });
    }
    None
}

/// `BEFORE INSERT ON t`, or with several events.
fn trigger_table(words: &mut Words<'_>) -> Option<ObjectName> {
    for _ in 0..CREATE_WORDS_MAX {
        if words.next()?.is("ON") {
            return name(words);
        }
    }
    None
}

fn dropped(mut words: Words<'_>) -> StatementKind {
    let Some(Word::Bare(_)) = words.next() else { return StatementKind::Other };
    pass(&mut words, &["IF", "EXISTS", "TEMPORARY", "BODY"]);
    name(&mut words).map_or(StatementKind::Other, StatementKind::Drop)
}

fn altered(mut words: Words<'_>) -> StatementKind {
    let is_table = words.next().is_some_and(|word| word.is("TABLE"));
    if is_table && name(&mut words).is_some() {
        let verb = words.next();
        let is = |keyword| verb.as_ref().is_some_and(|verb| verb.is(keyword));
        if (is("DISABLE") || is("ENABLE")) && words.next().is_some_and(|word| word.is("KEYS")) {
            return StatementKind::Bracket;
        }
    }
    StatementKind::Other
}

/// GTIDs are the server's, everything else the session's.
fn set(words: Words<'_>) -> StatementKind {
    let is_position = words
        .take(12)
        .any(|word| word.is("GTID_PURGED") || word.is("gtid_slave_pos") || word.is("gtid_binlog_state"));
    if is_position { StatementKind::Position } else { StatementKind::Set }
}

/// `SELECT SETVAL(name, ...)`, as MariaDB's dumps set a sequence.
fn sequence_value(mut words: Words<'_>) -> Option<StatementKind> {
    if !words.next()?.is("SETVAL") || words.next()? != Word::Symbol(b'(') {
        return None;
    }
    name(&mut words).map(StatementKind::SequenceValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> ObjectName {
        match text.split_once('.') {
            Some((database, name)) => {
                ObjectName { database: Some(database.to_owned()), name: name.to_owned() }
            }
            None => ObjectName { database: None, name: text.to_owned() },
        }
    }

    #[test]
    fn statements_are_told_apart() {
        let object = |kind, name: &str, table: Option<&str>| StatementKind::CreateObject {
            kind,
            name: named(name),
            table: table.map(named),
        };
        for (text, expected) in [
            ("INSERT INTO `a` VALUES (1)", StatementKind::Insert(named("a"))),
            ("insert ignore into d.`a`(x) values (1)", StatementKind::Insert(named("d.a"))),
            ("REPLACE `a` VALUES (1)", StatementKind::Insert(named("a"))),
            ("CREATE TABLE IF NOT EXISTS `a` (", StatementKind::CreateTable(named("a"))),
            ("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `ed`", StatementKind::CreateDatabase("ed".to_owned())),
            ("/*!50001 CREATE VIEW `v` AS SELECT 1 */", object(ObjectKind::View, "v", None)),
            (
                "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`table`@`%` SQL SECURITY DEFINER */\n/*!50001 VIEW `v` AS select 1 */",
                object(ObjectKind::View, "v", None),
            ),
            (
                "/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`l`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW set new.v=1 */",
                object(ObjectKind::Trigger, "tr", Some("t")),
            ),
            ("CREATE DEFINER=r@l FUNCTION `f1`(a int) RETURNS int", object(ObjectKind::Function, "f1", None)),
            ("CREATE OR REPLACE PACKAGE BODY p AS", object(ObjectKind::Package, "p", None)),
            (
                "/*!50106 CREATE*/ /*!50117 DEFINER=`r`@`l`*/ /*!50106 EVENT `e1` ON",
                object(ObjectKind::Event, "e1", None),
            ),
            ("CREATE SEQUENCE `s` start with 1", object(ObjectKind::Sequence, "s", None)),
            ("DO SETVAL(`s`, 5, 0)", StatementKind::SequenceValue(named("s"))),
            ("/*!40000 ALTER TABLE `t` DISABLE KEYS */", StatementKind::Bracket),
            ("ALTER DATABASE `d` CHARACTER SET latin1", StatementKind::Other),
            ("SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'x'", StatementKind::Position),
            ("SET GLOBAL gtid_slave_pos='0-1-15'", StatementKind::Position),
            ("/*!40101 SET NAMES utf8mb4 */", StatementKind::Set),
            ("/*!50001 DROP VIEW IF EXISTS `v1`*/", StatementKind::Drop(named("v1"))),
            ("CREATE USER a", StatementKind::Account),
            ("USE `we``ird`", StatementKind::Use("we`ird".to_owned())),
            ("CHANGE MASTER TO MASTER_USE_GTID=slave_pos", StatementKind::Position),
            ("\u{0}", StatementKind::Other),
            ("", StatementKind::Other),
        ] {
            assert_eq!(StatementKind::of(text.as_bytes()), expected, "{text}");
        }
    }
}
