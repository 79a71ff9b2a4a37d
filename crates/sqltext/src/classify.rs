//! What kind of statement a text is, by its first keywords.
//!
//! It reads no further than it must, so a statement it names may still be one that no server accepts.

use crate::{Token, TokenKind, lex};

/// Tokens looked at before giving up: enough for every option before the word that decides.
const MAX_TOKENS: usize = 40;

/// The kind of a statement. Names are without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `CREATE USER`.
    CreateUser,
    /// `ALTER USER`.
    AlterUser,
    /// `DROP USER`.
    DropUser,
    /// `GRANT`.
    Grant,
    /// `REVOKE`.
    Revoke,
    /// `SET PASSWORD`.
    SetPassword,
    /// `CREATE DATABASE` or `CREATE SCHEMA`.
    CreateDatabase {
        /// The database.
        name: String,
    },
    /// `DROP DATABASE` or `DROP SCHEMA`.
    DropDatabase {
        /// The database.
        name: String,
        /// With `IF EXISTS`.
        if_exists: bool,
    },
    /// `USE`.
    Use {
        /// The database.
        name: String,
    },
    /// `CALL`.
    Call {
        /// The procedure, with its database before a dot if that is given.
        name: String,
    },
    /// `CREATE TABLE`, also temporary.
    CreateTable,
    /// `ALTER TABLE`.
    AlterTable,
    /// `DROP TABLE`.
    DropTable,
    /// `CREATE VIEW`.
    CreateView,
    /// `CREATE PROCEDURE` or `CREATE FUNCTION`.
    CreateRoutine,
    /// `CREATE TRIGGER`.
    CreateTrigger,
    /// `CREATE EVENT`.
    CreateEvent,
    /// `INSERT` or `REPLACE`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `SELECT`.
    Select,
    /// `SET`, other than a password.
    Set,
    /// `BEGIN` or `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// Anything else, or nothing.
    Other,
}

/// Tells what kind of statement `text` is. Comments and the openings of executable comments are passed over.
#[must_use]
pub fn classify(text: &str) -> Kind {
    let tokens: Vec<Token<'_>> = lex(text).filter(Token::is_significant).take(MAX_TOKENS).collect();
    let mut words = Words { tokens: &tokens };
    let Some(first) = words.keyword() else { return Kind::Other };
    match first.as_str() {
        "CREATE" => create(words),
        "ALTER" if words.take("USER") => Kind::AlterUser,
        "ALTER" if words.take_any(&["TABLE", "ONLINE", "IGNORE"]) => Kind::AlterTable,
        "DROP" => drop_kind(words),
        "GRANT" => Kind::Grant,
        "REVOKE" => Kind::Revoke,
        "SET" if words.take("PASSWORD") => Kind::SetPassword,
        "SET" => Kind::Set,
        "USE" => words.name().map_or(Kind::Other, |name| Kind::Use { name }),
        "CALL" => words.qualified_name().map_or(Kind::Other, |name| Kind::Call { name }),
        "INSERT" | "REPLACE" => Kind::Insert,
        "UPDATE" => Kind::Update,
        "DELETE" => Kind::Delete,
        "SELECT" => Kind::Select,
        "BEGIN" => Kind::Begin,
        "START" if words.take("TRANSACTION") => Kind::Begin,
        "COMMIT" => Kind::Commit,
        "ROLLBACK" => Kind::Rollback,
        _ => Kind::Other,
    }
}

fn create(mut words: Words<'_>) -> Kind {
    if words.take("OR") {
        words.take("REPLACE");
    }
    if words.take("USER") {
        return Kind::CreateUser;
    }
    if words.take_any(&["DATABASE", "SCHEMA"]) {
        words.take_if_exists();
        return words.name().map_or(Kind::Other, |name| Kind::CreateDatabase { name });
    }
    // What stands between CREATE and the object's kind is a definer, an algorithm and the like.
    for token in words.tokens {
        let decided = match token.text.to_ascii_uppercase().as_str() {
            _ if token.kind != TokenKind::Word => None,
            "TABLE" => Some(Kind::CreateTable),
            "VIEW" => Some(Kind::CreateView),
            "PROCEDURE" | "FUNCTION" => Some(Kind::CreateRoutine),
            "TRIGGER" => Some(Kind::CreateTrigger),
            "EVENT" => Some(Kind::CreateEvent),
            "ROLE" | "SERVER" | "INDEX" | "SEQUENCE" | "PACKAGE" | "TABLESPACE" => Some(Kind::Other),
            _ => None,
        };
        if let Some(kind) = decided {
            return kind;
        }
    }
    Kind::Other
}

fn drop_kind(mut words: Words<'_>) -> Kind {
    if words.take("USER") {
        return Kind::DropUser;
    }
    if words.take_any(&["DATABASE", "SCHEMA"]) {
        let if_exists = words.take_if_exists();
        return words.name().map_or(Kind::Other, |name| Kind::DropDatabase { name, if_exists });
    }
    words.take("TEMPORARY");
    if words.take_any(&["TABLE", "TABLES"]) { Kind::DropTable } else { Kind::Other }
}

/// The significant tokens not read yet.
struct Words<'a> {
    tokens: &'a [Token<'a>],
}

impl Words<'_> {
    fn keyword(&mut self) -> Option<String> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        (first.kind == TokenKind::Word).then(|| first.text.to_ascii_uppercase())
    }

    fn take(&mut self, keyword: &str) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if first.is_word(keyword) => {
                self.tokens = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    fn take_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.take(keyword))
    }

    /// `IF EXISTS` or `IF NOT EXISTS`.
    fn take_if_exists(&mut self) -> bool {
        if !self.take("IF") {
            return false;
        }
        self.take("NOT");
        self.take("EXISTS")
    }

    fn name(&mut self) -> Option<String> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        first.identifier()
    }

    fn qualified_name(&mut self) -> Option<String> {
        let first = self.name()?;
        match self.tokens.split_first() {
            Some((dot, rest)) if dot.is_punct(".") => {
                self.tokens = rest;
                Some(format!("{first}.{}", self.name()?))
            }
            Some(_) | None => Some(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statements_are_told_apart() {
        let name = |name: &str| name.to_owned();
        for (text, expected) in [
            ("create user 'u'@'%' identified by 'x'", Kind::CreateUser),
            ("CREATE OR REPLACE USER u", Kind::CreateUser),
            ("CREATE USER IF NOT EXISTS u", Kind::CreateUser),
            ("ALTER USER u", Kind::AlterUser),
            ("DROP USER IF EXISTS u", Kind::DropUser),
            ("GRANT ALL ON cloud.* to u", Kind::Grant),
            ("revoke all on *.* from u", Kind::Revoke),
            ("SET PASSWORD FOR u = PASSWORD('x')", Kind::SetPassword),
            ("SET foreign_key_checks = 0", Kind::Set),
            ("/*!40101 SET NAMES utf8mb4 */", Kind::Set),
            ("CREATE DATABASE `cloud`", Kind::CreateDatabase { name: name("cloud") }),
            ("create schema if not exists a", Kind::CreateDatabase { name: name("a") }),
            (
                "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a``b` /*!40100 x */",
                Kind::CreateDatabase { name: name("a`b") },
            ),
            (
                "-- x\nDROP DATABASE IF EXISTS `billing`",
                Kind::DropDatabase { name: name("billing"), if_exists: true },
            ),
            ("DROP SCHEMA cloud_usage", Kind::DropDatabase { name: name("cloud_usage"), if_exists: false }),
            ("DROP DATABASE", Kind::Other),
            ("USE cloud", Kind::Use { name: name("cloud") }),
            ("/* x */ # y\nuse `a b`", Kind::Use { name: name("a b") }),
            ("CALL p()", Kind::Call { name: name("p") }),
            (
                "call `mysql`.cloud_drop_user_if_exists()",
                Kind::Call { name: name("mysql.cloud_drop_user_if_exists") },
            ),
            ("CREATE TABLE t (a int)", Kind::CreateTable),
            ("CREATE TEMPORARY TABLE t (a int)", Kind::CreateTable),
            (
                "/*!50001 CREATE ALGORITHM=UNDEFINED */ /*!50013 DEFINER=`table`@`%` SQL SECURITY DEFINER */ \
              /*!50001 VIEW `v` AS SELECT 1 */",
                Kind::CreateView,
            ),
            ("CREATE DEFINER=`cloud`@`localhost` PROCEDURE p() BEGIN END", Kind::CreateRoutine),
            ("CREATE FUNCTION f() RETURNS INT RETURN 1", Kind::CreateRoutine),
            ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1", Kind::CreateTrigger),
            ("CREATE UNIQUE INDEX i ON t (a)", Kind::Other),
            ("CREATE ROLE r", Kind::Other),
            ("ALTER TABLE t ADD b int", Kind::AlterTable),
            ("ALTER IGNORE TABLE t ADD b int", Kind::AlterTable),
            ("ALTER DATABASE d", Kind::Other),
            ("DROP TABLE IF EXISTS t", Kind::DropTable),
            ("DROP VIEW v", Kind::Other),
            ("INSERT IGNORE INTO t VALUES (1)", Kind::Insert),
            ("replace into t values (1)", Kind::Insert),
            ("UPDATE t SET a = 1", Kind::Update),
            ("DELETE FROM t", Kind::Delete),
            ("SELECT 1", Kind::Select),
            ("BEGIN", Kind::Begin),
            ("START TRANSACTION", Kind::Begin),
            ("START REPLICA", Kind::Other),
            ("COMMIT", Kind::Commit),
            ("ROLLBACK", Kind::Rollback),
            ("`use` x", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(classify(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn comments_before_a_statement_change_nothing(comment in "[^*/!+M]{0,20}") {
            prop_assert_eq!(classify(&format!("/*{comment}*/ USE x")), Kind::Use { name: "x".to_owned() });
        }
    }
}
