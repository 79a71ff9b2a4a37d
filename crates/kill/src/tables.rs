//! The tables that a statement needs metadata locks on, as far as it names them.
//!
//! Tables behind views, triggers and foreign keys are not known here.

use facts::MetadataObject;
use sqltext::{Token, lex};

/// Words looked at of one statement: what locks tables names them early, except for huge reads.
const WORDS_MAX: usize = 2_000;

/// Words of definitions behind which names of tables stand.
const BEFORE: &[&str] = &["TABLE", "TABLES", "ON", "TO", "VIEW", "TRUNCATE", "LIKE", "REFERENCES"];
/// Words between these and a name.
const BETWEEN: &[&str] = &["IF", "NOT", "EXISTS", "TABLE", "TABLES", "ONLY", "LOCAL", "NO_WRITE_TO_BINLOG"];
/// Statements that name a list of tables, separated by commas.
const LISTS: &[&str] = &["DROP", "RENAME", "LOCK", "FLUSH", "OPTIMIZE", "REPAIR", "ANALYZE", "CHECK"];

/// The tables of a statement that runs in a database.
pub(crate) fn tables(statement: &str, db: Option<&str>) -> Vec<MetadataObject> {
    let words: Vec<Token<'_>> = lex(statement).filter(Token::is_significant).take(WORDS_MAX).collect();
    let mut found: Vec<MetadataObject> = Vec::new();
    if words.first().is_some_and(|verb| is_definition(verb)) {
        let lists = words.first().is_some_and(|verb| is_any(verb, LISTS));
        for (at, word) in words.iter().enumerate() {
            if is_any(word, BEFORE) || (lists && at > 0 && word.is_punct(",")) {
                let rest = words.get(at + 1..).unwrap_or_default();
                let between = rest.iter().take_while(|word| is_any(word, BETWEEN)).count();
                found.extend(table(rest.get(between..).unwrap_or_default(), db));
            }
        }
    } else {
        let named = sqltext::table_names(statement);
        found.extend(named.iter().filter_map(|name| {
            let (schema, name) =
                name.split_once('.').map_or((db, name.as_str()), |(db, name)| (Some(db), name));
            Some(object(schema?, name))
        }));
    }
    found
}

/// The database that a statement drops, with all its tables.
pub(crate) fn dropped_database(statement: &str) -> Option<String> {
    let words: Vec<Token<'_>> = lex(statement).filter(Token::is_significant).take(6).collect();
    let (verb, kind) = (words.first()?, words.get(1)?);
    if !verb.is_word("DROP") || !is_any(kind, &["DATABASE", "SCHEMA"]) {
        return None;
    }
    words.iter().skip(2).find(|word| !is_any(word, BETWEEN))?.identifier()
}

fn is_definition(verb: &Token<'_>) -> bool {
    is_any(verb, LISTS) || is_any(verb, &["ALTER", "TRUNCATE", "CREATE"])
}

fn is_any(word: &Token<'_>, words: &[&str]) -> bool {
    words.iter().any(|known| word.is_word(known))
}

/// The table that words begin with.
fn table(words: &[Token<'_>], db: Option<&str>) -> Option<MetadataObject> {
    let first = words.first()?.identifier()?;
    match words {
        [_, point, second, ..] if point.is_punct(".") => Some(object(&first, &second.identifier()?)),
        _ => Some(object(db?, &first)),
    }
}

fn object(schema: &str, name: &str) -> MetadataObject {
    MetadataObject { kind: "TABLE".to_owned(), schema: schema.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_their_tables() {
        for (statement, wanted) in [
            ("ALTER TABLE a ADD b INT", &["d.a"][..]),
            ("alter online table if exists `x.y`.`a b` rename to c", &["x.y.a b", "d.c"]),
            ("DROP TABLE IF EXISTS a, x.b", &["d.a", "x.b"]),
            ("TRUNCATE a", &["d.a"]),
            ("TRUNCATE TABLE a", &["d.a"]),
            ("RENAME TABLE a TO b, c TO x.e", &["d.a", "d.b", "d.c", "x.e"]),
            ("CREATE INDEX i ON a (b)", &["d.a"]),
            ("DROP INDEX i ON a", &["d.a"]),
            ("LOCK TABLES a WRITE, b READ", &["d.a", "d.b"]),
            ("OPTIMIZE NO_WRITE_TO_BINLOG TABLE a", &["d.a"]),
            ("FLUSH TABLES a WITH READ LOCK", &["d.a"]),
            ("SELECT * FROM a JOIN `x`.`b`", &["d.a", "x.b"]),
            ("INSERT INTO a VALUES (1)", &["d.a"]),
            ("UPDATE a SET b = 1", &["d.a"]),
            ("DELETE FROM x.a", &["x.a"]),
            ("SELECT 1", &[]),
            ("", &[]),
            ("ALTER TABLE", &[]),
        ] {
            let mut found: Vec<String> =
                tables(statement, Some("d")).iter().map(|it| format!("{}.{}", it.schema, it.name)).collect();
            found.dedup();
            assert_eq!(found, wanted, "{statement}");
        }
        assert_eq!(tables("ALTER TABLE a ADD b INT", None), []);
    }

    #[test]
    fn a_dropped_database_is_named() {
        for (statement, wanted) in [
            ("DROP DATABASE shop", Some("shop")),
            ("drop schema if exists `a b`;", Some("a b")),
            ("DROP TABLE shop", None),
            ("DROP DATABASE", None),
            ("", None),
        ] {
            assert_eq!(dropped_database(statement).as_deref(), wanted, "{statement}");
        }
    }
}
