//! What a log does not tell of tables: names of columns, which are generated, which are UUIDs. Given by the caller,
//! or read from `CREATE TABLE` statements. It reads only as much of them as values need.

use std::collections::HashMap;
use std::sync::Arc;

use sqltext::{Splitter, Token, TokenKind, lex, unquote};

use crate::predicate::Predicate;
use crate::table::Table;

/// A column as it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaColumn {
    /// Its name.
    pub name: String,
    /// Its type in small letters, without length and options: `bigint`, `uuid`.
    pub type_name: String,
    /// Whether a number is unsigned.
    pub is_unsigned: bool,
    /// Whether the server computes it.
    pub is_generated: bool,
    /// Whether it is part of the primary key.
    pub is_key: bool,
}

/// Tables by database and name.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    tables: HashMap<(String, String), Vec<SchemaColumn>>,
}

impl Schema {
    /// Adds a table.
    pub fn insert(&mut self, database: &str, table: &str, columns: Vec<SchemaColumn>) {
        self.tables.insert((database.to_owned(), table.to_owned()), columns);
    }

    /// A table's columns.
    #[must_use]
    pub fn find(&self, database: &str, table: &str) -> Option<&[SchemaColumn]> {
        self.tables.get(&(database.to_owned(), table.to_owned())).map(Vec::as_slice)
    }

    /// A copy of a table with the names of its columns, where the schema has a table of as many.
    #[must_use]
    pub fn named(&self, table: &Table) -> Option<Table> {
        let columns = self.find(&table.database, &table.name)?;
        if columns.len() != table.columns.len() {
            return None;
        }
        let mut named = table.clone();
        for (column, known) in named.columns.iter_mut().zip(columns) {
            column.name.get_or_insert_with(|| known.name.clone());
        }
        Some(named)
    }

    /// How many tables there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether there is no table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Adds the tables of a script, such as `mysqldump --no-data` writes it; `USE` sets the database. Statements that
    /// are not `CREATE TABLE` are passed over, also those that cannot be read.
    pub fn read_script(&mut self, script: &str, default_database: &str) {
        let mut database = default_database.to_owned();
        for statement in Splitter::new(script).map_while(Result::ok) {
            let tokens: Vec<Token<'_>> = lex(statement.text).filter(Token::is_significant).collect();
            if let [first, name, ..] = &tokens[..]
                && first.is_word("USE")
            {
                database = unquote(name.text);
            }
            self.read_create(&tokens, &database);
        }
    }

    fn read_create(&mut self, tokens: &[Token<'_>], default_database: &str) -> Option<()> {
        let (first, mut rest) = tokens.split_first()?;
        if !first.is_word("CREATE") {
            return None;
        }
        while rest.first()?.is_word("TEMPORARY")
            || rest.first()?.is_word("OR")
            || rest.first()?.is_word("REPLACE")
        {
            rest = rest.get(1..)?;
        }
        if !rest.first()?.is_word("TABLE") {
            return None;
        }
        rest = rest.get(1..)?;
        while ["IF", "NOT", "EXISTS"].iter().any(|word| rest.first().is_some_and(|token| token.is_word(word)))
        {
            rest = rest.get(1..)?;
        }
        let mut name = unquote(rest.first()?.text);
        let mut database = default_database.to_owned();
        rest = rest.get(1..)?;
        if rest.first()?.is_punct(".") {
            database = std::mem::replace(&mut name, unquote(rest.get(1)?.text));
            rest = rest.get(2..)?;
        }
        if !rest.first()?.is_punct("(") {
            return None;
        }
        let columns = columns(rest.get(1..)?);
        if !columns.is_empty() {
            self.insert(&database, &name, columns);
        }
        Some(())
    }
}

/// Tables kept ready with names.
const NAMED_MAX: usize = 1024;
/// Missing columns told; there is no use in more.
const UNKNOWN_MAX: usize = 100;

/// Tables as a condition on values needs them: with the names of the schema where the log has none.
#[derive(Debug, Default)]
pub(crate) struct Names {
    named: HashMap<u64, Option<Arc<Table>>>,
    /// Columns that tables do not have by name, with the tables.
    pub(crate) unknown: Vec<String>,
}

impl Names {
    /// The table with names; none if it has them already, or nobody has. Columns that the condition misses are noted.
    pub(crate) fn of(
        &mut self,
        table: &Table,
        schema: Option<&Schema>,
        predicate: &Predicate,
    ) -> Option<Arc<Table>> {
        let named = match schema {
            Some(schema) if !table.has_names() => {
                if self.named.len() >= NAMED_MAX {
                    self.named.clear();
                }
                self.named.entry(table.version).or_insert_with(|| schema.named(table).map(Arc::new)).clone()
            }
            _ => None,
        };
        for column in predicate.unknown_columns(named.as_deref().unwrap_or(table)) {
            let told = format!("{}.{} has no column `{column}` by name", table.database, table.name);
            if self.unknown.len() < UNKNOWN_MAX && !self.unknown.contains(&told) {
                self.unknown.push(told);
            }
        }
        named
    }
}

/// What is between the outer parentheses, cut at the commas that are in no others.
fn columns(tokens: &[Token<'_>]) -> Vec<SchemaColumn> {
    let mut columns: Vec<SchemaColumn> = Vec::new();
    let mut key = Vec::new();
    let (mut depth, mut begin) = (0_u32, 0);
    for (at, token) in tokens.iter().enumerate() {
        let is_end = depth == 0 && (token.is_punct(",") || token.is_punct(")"));
        if token.is_punct("(") {
            depth += 1;
        } else if token.is_punct(")") {
            depth = depth.saturating_sub(1);
        }
        if is_end {
            read_part(tokens.get(begin..at).unwrap_or_default(), &mut columns, &mut key);
            begin = at + 1;
            if token.is_punct(")") {
                break;
            }
        }
    }
    for column in &mut columns {
        column.is_key |= key.iter().any(|name: &String| name.eq_ignore_ascii_case(&column.name));
    }
    columns
}

fn read_part(part: &[Token<'_>], columns: &mut Vec<SchemaColumn>, key: &mut Vec<String>) {
    let Some((first, rest)) = part.split_first() else { return };
    let others = [
        "PRIMARY",
        "KEY",
        "INDEX",
        "UNIQUE",
        "FULLTEXT",
        "SPATIAL",
        "CONSTRAINT",
        "FOREIGN",
        "CHECK",
        "PERIOD",
    ];
    if first.kind == TokenKind::Word && others.iter().any(|word| first.is_word(word)) {
        let is_primary =
            part.windows(2).any(|pair| matches!(pair, [a, b] if a.is_word("PRIMARY") && b.is_word("KEY")));
        if is_primary {
            let names = part.iter().skip_while(|token| !token.is_punct("("));
            let names = names.filter(|token| matches!(token.kind, TokenKind::QuotedIdent | TokenKind::Word));
            key.extend(names.map(|token| unquote(token.text)));
        }
        return;
    }
    let has = |word: &str| rest.iter().any(|token| token.is_word(word));
    columns.push(SchemaColumn {
        name: unquote(first.text),
        type_name: rest.first().map(|token| token.text.to_ascii_lowercase()).unwrap_or_default(),
        is_unsigned: has("UNSIGNED"),
        is_generated: is_generated(rest),
        is_key: has("PRIMARY"),
    });
}

/// `GENERATED ALWAYS AS (...)` or only `AS (...)`; a system-versioning column is `AS ROW START`.
fn is_generated(rest: &[Token<'_>]) -> bool {
    rest.windows(2)
        .any(|pair| matches!(pair, [a, b] if a.is_word("AS") && (b.is_punct("(") || b.is_word("ROW"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_out_of_a_dump() {
        let script = "USE `cloud`;\nDROP TABLE IF EXISTS `t`;\n\
            CREATE TABLE `t` (\n  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,\n  `key` varchar(10) DEFAULT 'a,)b',\n\
            `u` uuid DEFAULT NULL,\n  `g` int(11) GENERATED ALWAYS AS (`id` + 1) VIRTUAL,\n\
            PRIMARY KEY (`id`,`key`(3)),\n  KEY `i` (`u`),\n  CONSTRAINT `c` CHECK (`id` > 0)\n) ENGINE=InnoDB;\n\
            create table other.x (a int primary key, b decimal(10,2) unsigned);";
        let mut schema = Schema::default();
        schema.read_script(script, "");
        assert_eq!(schema.len(), 2);
        let columns = schema.find("cloud", "t").unwrap();
        let told: Vec<String> = columns
            .iter()
            .map(|it| {
                format!("{} {} {} {} {}", it.name, it.type_name, it.is_unsigned, it.is_generated, it.is_key)
            })
            .collect();
        assert_eq!(
            told,
            [
                "id bigint true false true",
                "key varchar false false true",
                "u uuid false false false",
                "g int false true false"
            ]
        );
        let other = schema.find("other", "x").unwrap();
        assert!(other[0].is_key && !other[1].is_key && other[1].is_unsigned);
    }
}
