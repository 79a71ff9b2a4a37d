//! What `SET` statements of a dump leave behind: the session that a statement was meant for.
//!
//! It follows assignments of literals, names and other variables; what it does not understand it leaves alone.

use std::collections::BTreeMap;

use crate::reader_scan::Quoting;
use crate::reader_words::{Word, Words};

/// More variables than any dump sets; further ones are not followed.
const VARIABLES_MAX: usize = 200;
/// Values longer than this are none that matters here.
const VALUE_BYTES_MAX: usize = 4096;

/// The parts of a session that change what statements mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Context {
    /// `character_set_client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// `collation_connection`, where set by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// `sql_mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_mode: Option<String>,
    /// `time_zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Variables as the statements so far leave them. One that was never set is not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Carries out a `SET`, as far as it is understood.
    pub(crate) fn see(&mut self, text: &[u8]) {
        let mut words = Words::new(text);
        if !words.next().is_some_and(|word| word.is("SET")) {
            return;
        }
        let mut assignment = Vec::new();
        loop {
            let word = words.next();
            let ends = matches!(&word, None | Some(Word::Symbol(b',')));
            if !ends {
                assignment.extend(word);
                continue;
            }
            self.assign(&assignment);
            assignment.clear();
            if word.is_none() {
                return;
            }
        }
    }

    fn assign(&mut self, words: &[Word<'_>]) {
        let (name, value) = match words {
            [first, value, rest @ ..] if first.is("NAMES") => {
                self.put("character_set_client".to_owned(), text_of(value));
                let collation = match rest {
                    [collate, value] if collate.is("COLLATE") => text_of(value),
                    _ => None,
                };
                self.put("collation_connection".to_owned(), collation);
                return;
            }
            [..] => {
                let equals = words.iter().position(|word| matches!(word, Word::Symbol(b'=')));
                let Some(equals) = equals else { return };
                (words.get(..equals).unwrap_or_default(), words.get(equals + 1..).unwrap_or_default())
            }
        };
        if name.iter().any(|word| word.is("GLOBAL") || word.is("PERSIST")) {
            return;
        }
        let Some(name) = variable(name) else { return };
        let value = match value {
            [Word::Symbol(b'@'), ..] => variable(value).and_then(|other| self.0.get(&other).cloned()),
            [one] => text_of(one),
            [] | [..] => None,
        };
        self.put(name, value);
    }

    fn put(&mut self, name: String, value: Option<String>) {
        match value.filter(|value| value.len() <= VALUE_BYTES_MAX) {
            Some(value) if self.0.len() < VARIABLES_MAX || self.0.contains_key(&name) => {
                self.0.insert(name, value);
            }
            Some(_) | None => {
                self.0.remove(&name);
            }
        }
    }

    pub(crate) fn context(&self) -> Context {
        let value = |name: &str| self.0.get(name).cloned();
        Context {
            charset: value("character_set_client"),
            collation: value("collation_connection"),
            sql_mode: value("sql_mode"),
            time_zone: value("time_zone"),
        }
    }
}

/// `@name`, `@@name`, `@@session.name`, `SESSION name` and `name` as one key; user variables keep their `@`.
fn variable(words: &[Word<'_>]) -> Option<String> {
    let signs = words.iter().filter(|word| matches!(word, Word::Symbol(b'@'))).count();
    let name = words.iter().rev().find_map(|word| match word {
        Word::Bare(name) => std::str::from_utf8(name).ok(),
        Word::Quoted { text: name, .. } => std::str::from_utf8(name).ok(),
        Word::Symbol(_) => None,
    })?;
    let name = name.to_ascii_lowercase();
    Some(if signs == 1 { format!("@{name}") } else { name })
}

fn text_of(word: &Word<'_>) -> Option<String> {
    match word {
        Word::Bare(text) => std::str::from_utf8(text).ok().map(str::to_owned),
        quoted @ Word::Quoted { .. } => quoted.name(),
        Word::Symbol(_) => None,
    }
}

/// The modes that change how quotes are read, as the statements so far leave them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modes {
    quoting: Quoting,
    variables: Variables,
}

impl Modes {
    pub(crate) const fn quoting(&self) -> Quoting {
        self.quoting
    }

    pub(crate) const fn set(&mut self, quoting: Quoting) {
        self.quoting = quoting;
    }

    /// Most statements set nothing and cost nothing here.
    pub(crate) fn see(&mut self, text: &[u8]) {
        let head = text.get(..text.len().min(16)).unwrap_or_default();
        let is_set = head.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"SET"))
            || (head.starts_with(b"/*") && contains_mode(text));
        if !is_set || !contains_mode(text) {
            return;
        }
        self.variables.see(text);
        let mode = self.variables.context().sql_mode.unwrap_or_default().to_ascii_uppercase();
        let has = |name: &str| mode.split(',').any(|mode| mode.trim() == name);
        self.quoting = Quoting {
            no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
            ansi_quotes: ["ANSI_QUOTES", "ANSI", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"]
                .iter()
                .any(|name| has(name)),
        };
    }
}

/// A `SET` of a dump is short; anything longer is not looked at.
fn contains_mode(text: &[u8]) -> bool {
    let head = text.get(..text.len().min(VALUE_BYTES_MAX)).unwrap_or_default();
    text.len() <= VALUE_BYTES_MAX
        && (memchr::memmem::find(head, b"sql_mode").is_some()
            || memchr::memmem::find(head, b"SQL_MODE").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_followed_through_saved_variables() {
        let mut variables = Variables::default();
        for text in [
            "/*!40101 SET NAMES utf8mb4 */",
            "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
            "/*!40103 SET TIME_ZONE='+00:00' */",
            "/*!50003 SET @saved_sql_mode       = @@sql_mode */ ",
            "/*!50003 SET sql_mode              = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES' */ ",
            "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a:1-5,\nb:1'",
            "SET GLOBAL sql_mode='x'",
        ] {
            variables.see(text.as_bytes());
        }
        let context = variables.context();
        assert_eq!(context.charset.as_deref(), Some("utf8mb4"));
        assert_eq!(context.sql_mode.as_deref(), Some("ANSI_QUOTES,NO_BACKSLASH_ESCAPES"));
        assert_eq!(context.time_zone.as_deref(), Some("+00:00"));
        variables.see(b"/*!50003 SET sql_mode              = @saved_sql_mode */ ");
        assert_eq!(variables.context().sql_mode.as_deref(), Some("NO_AUTO_VALUE_ON_ZERO"));
        variables.see(b"SET SESSION sql_mode = @OLD_SQL_MODE");
        assert_eq!(variables.context().sql_mode, None);
    }

    #[test]
    fn modes_change_how_quotes_are_read() {
        let mut modes = Modes::default();
        modes.see(b"SET sql_mode='NO_BACKSLASH_ESCAPES'");
        assert!(modes.quoting().no_backslash_escapes && !modes.quoting().escapes(b'\''));
        modes.see(b"SET sql_mode='ANSI'");
        assert!(modes.quoting().escapes(b'\'') && !modes.quoting().escapes(b'"'));
    }
}
