//! What a statement in the log does to which tables, by its first words. It checks no grammar.

use sqltext::{Token, TokenKind, lex};

/// Tokens looked at: enough for a DROP of hundreds of tables.
const TOKENS_MAX: usize = 2000;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Makes something.
    Create,
    /// Changes a table's shape.
    Alter,
    /// Gives a table another name.
    Rename,
    /// Removes something.
    Drop,
    /// Empties a table.
    Truncate,
    /// Adds rows.
    Insert,
    /// Changes rows.
    Update,
    /// Takes rows away.
    Delete,
    /// Loads a file's rows.
    Load,
    /// Accounts and privileges.
    Grant,
    /// Anything else.
    Other,
}

impl Action {
    /// Whether it changes what there is rather than what is in it.
    #[must_use]
    pub const fn is_ddl(self) -> bool {
        match self {
            Self::Create | Self::Alter | Self::Rename | Self::Drop | Self::Truncate | Self::Grant => true,
            Self::Insert | Self::Update | Self::Delete | Self::Load | Self::Other => false,
        }
    }

    /// As SQL has it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Alter => "ALTER",
            Self::Rename => "RENAME",
            Self::Drop => "DROP",
            Self::Truncate => "TRUNCATE",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Load => "LOAD DATA",
            Self::Grant => "GRANT",
            Self::Other => "statement",
        }
    }
}

/// A statement's effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What it does.
    pub action: Action,
    /// The tables it names, with their databases: the default one where none is given.
    pub tables: Vec<(String, String)>,
    /// The whole database it makes or removes.
    pub database: Option<String>,
}

/// Tells what a statement does.
#[must_use]
pub fn effect(text: &str, default_database: &str) -> Effect {
    let tokens: Vec<Token<'_>> = lex(text).filter(Token::is_significant).take(TOKENS_MAX).collect();
    let mut words = Words { tokens: &tokens, default_database };
    let mut effect = Effect { action: Action::Other, tables: Vec::new(), database: None };
    let first = words.next_word().unwrap_or_default();
    match first.as_str() {
        "DROP" | "CREATE" => {
            effect.action = if first == "DROP" { Action::Drop } else { Action::Create };
            words.object(&mut effect);
        }
        "TRUNCATE" => {
            effect.action = Action::Truncate;
            words.skip(&["TABLE"]);
            effect.tables = words.names();
        }
        "ALTER" => {
            effect.action = Action::Alter;
            words.object(&mut effect);
        }
        "RENAME" => {
            effect.action = Action::Rename;
            words.skip(&["TABLE", "TABLES", "IF", "EXISTS"]);
            effect.tables = words.names();
        }
        "INSERT" | "REPLACE" => {
            effect.action = Action::Insert;
            words.skip(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
            effect.tables = words.names();
        }
        "UPDATE" => {
            effect.action = Action::Update;
            words.skip(&["LOW_PRIORITY", "IGNORE"]);
            effect.tables = words.names();
        }
        "DELETE" => {
            effect.action = Action::Delete;
            words.skip(&["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]);
            effect.tables = words.names();
        }
        "LOAD" => {
            effect.action = Action::Load;
            words.after("INTO");
            words.skip(&["TABLE"]);
            effect.tables = words.name().into_iter().collect();
        }
        "GRANT" | "REVOKE" => effect.action = Action::Grant,
        _ => {}
    }
    effect
}

struct Words<'t> {
    tokens: &'t [Token<'t>],
    default_database: &'t str,
}

impl Words<'_> {
    fn peek(&self) -> Option<&Token<'_>> {
        self.tokens.first()
    }

    fn advance(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn next_word(&mut self) -> Option<String> {
        let word = self.peek().filter(|token| token.kind == TokenKind::Word)?.text.to_ascii_uppercase();
        self.advance();
        Some(word)
    }

    fn skip(&mut self, words: &[&str]) {
        while self.peek().is_some_and(|token| words.iter().any(|word| token.is_word(word))) {
            self.advance();
        }
    }

    fn after(&mut self, word: &str) {
        while self.peek().is_some_and(|token| !token.is_word(word)) {
            self.advance();
        }
        self.advance();
    }

    fn part(&mut self) -> Option<String> {
        let name = self.peek()?.identifier()?;
        self.advance();
        Some(name)
    }

    /// A table's name, with its database.
    fn name(&mut self) -> Option<(String, String)> {
        let first = self.part()?;
        if self.peek().is_some_and(|token| token.is_punct(".")) {
            self.advance();
            return Some((first, self.part()?));
        }
        Some((self.default_database.to_owned(), first))
    }

    /// Names with commas, or RENAME's TO, between them.
    fn names(&mut self) -> Vec<(String, String)> {
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            match self.peek() {
                Some(token) if token.is_punct(",") || token.is_word("TO") => self.advance(),
                _ => break,
            }
        }
        names
    }

    /// What DROP, CREATE or ALTER is about.
    fn object(&mut self, effect: &mut Effect) {
        let options = [
            "OR",
            "REPLACE",
            "TEMPORARY",
            "ONLINE",
            "OFFLINE",
            "IGNORE",
            "UNIQUE",
            "FULLTEXT",
            "SPATIAL",
            "AGGREGATE",
        ];
        self.skip(&options);
        let object = self.next_word().unwrap_or_default();
        self.skip(&["IF", "NOT", "EXISTS"]);
        match object.as_str() {
            "TABLE" | "TABLES" | "VIEW" | "SEQUENCE" if effect.action == Action::Drop => {
                effect.tables = self.names();
            }
            "TABLE" | "VIEW" | "SEQUENCE" => effect.tables = self.name().into_iter().collect(),
            "DATABASE" | "SCHEMA" => effect.database = self.part(),
            "INDEX" => {
                self.after("ON");
                effect.tables = self.name().into_iter().collect();
                effect.action = Action::Alter;
            }
            "USER" | "ROLE" => effect.action = Action::Grant,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let effect = effect(text, "d");
        let tables: Vec<String> = effect.tables.iter().map(|(db, table)| format!("{db}.{table}")).collect();
        format!("{:?} {} {}", effect.action, tables.join(" "), effect.database.unwrap_or_default())
    }

    #[test]
    fn effects_name_their_tables() {
        for (text, expected) in [
            ("DROP TABLE IF EXISTS `a`.`x y`,b /* generated by server */", "Drop a.x y d.b "),
            ("drop /*!40005 temporary */ table t", "Drop d.t "),
            ("truncate t", "Truncate d.t "),
            ("TRUNCATE TABLE other.t", "Truncate other.t "),
            ("ALTER TABLE t ADD COLUMN c int", "Alter d.t "),
            ("CREATE UNIQUE INDEX i ON e.t (a)", "Alter e.t "),
            ("RENAME TABLE a TO b, c.d TO e", "Rename d.a d.b c.d d.e "),
            ("DROP DATABASE `x`", "Drop  x"),
            ("DELETE FROM t WHERE a=1", "Delete d.t "),
            ("UPDATE a, b SET a.x=1", "Update d.a d.b "),
            ("INSERT INTO t VALUES (1)", "Insert d.t "),
            ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "Load d.t "),
            ("CREATE TABLE t(id int)", "Create d.t "),
            ("CREATE USER u", "Grant  "),
            ("", "Other  "),
            ("drop", "Drop  "),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
