//! A statement in a few words: its verbs and its tables, for columns too narrow for a fingerprint.
//!
//! `SELECT UNION orders users` and the like, as pt-query-digest has it for common statements.

use crate::lex::{Token, TokenKind, lex};

/// Tables named; a statement that names more is as well told by these.
const TABLES_MAX: usize = 20;

/// The verbs and tables of a statement.
#[must_use]
pub fn distill(statement: &str) -> String {
    if let Some(command) = statement.strip_prefix("administrator command: ") {
        return format!("ADMIN {}", command.to_ascii_uppercase());
    }
    let words: Vec<Token<'_>> = lex(statement).filter(Token::is_significant).collect();
    let first = |at: usize| words.get(at).map_or_else(String::new, |token| token.text.to_ascii_uppercase());
    match first(0).as_str() {
        "CALL" => format!("CALL {}", name(words.get(1..).unwrap_or_default()).0),
        "USE" => "USE".to_owned(),
        "UNLOCK" => "UNLOCK".to_owned(),
        "XA" => format!("XA_{}", first(1)),
        "LOAD" if first(1) == "DATA" => joined("LOAD DATA", load_table(&words)),
        "SHOW" => show(&words),
        verb @ ("CREATE" | "ALTER" | "TRUNCATE" | "DROP" | "RENAME") => definition(verb, &words),
        _ => joined(&verbs(&words), tables(&words)),
    }
}

/// The tables a statement names, without backticks, in their order and once each.
#[must_use]
pub fn table_names(statement: &str) -> Vec<String> {
    let words: Vec<Token<'_>> = lex(statement).filter(Token::is_significant).collect();
    let mut names: Vec<String> = Vec::new();
    for name in defined(&words).into_iter().chain(tables(&words)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Verbs, then tables with their digits taken out, each once where it follows itself.
fn joined(verbs: &str, tables: Vec<String>) -> String {
    let mut text = verbs.to_owned();
    let mut last = String::new();
    for table in tables.iter().map(|table| without_digits(table)) {
        if table != last {
            text.push(' ');
            text.push_str(&table);
        }
        last = table;
    }
    text.trim_start().to_owned()
}

fn without_digits(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        if !letter.is_ascii_digit() {
            text.push(letter);
        } else if !text.ends_with('?') {
            text.push('?');
        }
    }
    text
}

const VERBS: [&str; 10] =
    ["SHOW", "FLUSH", "COMMIT", "ROLLBACK", "BEGIN", "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE"];
/// Verbs only where a statement begins with them.
const FIRST_VERBS: [&str; 3] = ["SET", "START", "LOCK"];

fn verbs(words: &[Token<'_>]) -> String {
    let begins = words.iter().find(|token| token.kind == TokenKind::Word);
    let has_union = words.iter().any(|token| token.is_word("UNION"));
    if begins.is_some_and(|token| token.is_word("SELECT")) {
        return if has_union { "SELECT UNION" } else { "SELECT" }.to_owned();
    }
    let mut verbs: Vec<&str> = Vec::new();
    let mut is_first = true;
    for (at, token) in words.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Word) {
        let firsts = if is_first { &FIRST_VERBS[..] } else { &[] };
        is_first = false;
        // `replace(` and `insert(` within a statement are functions.
        let is_call = at > 0 && words.get(at + 1).is_some_and(|next| next.text == "(");
        let found = VERBS.iter().chain(firsts).chain(&["UNION"]).find(|verb| token.is_word(verb));
        if let Some(verb) = found.filter(|verb| !is_call || !matches!(**verb, "REPLACE" | "INSERT"))
            && verbs.last() != Some(verb)
        {
            verbs.push(verb);
        }
    }
    verbs.dedup();
    verbs.join(" ")
}

/// Words between a verb and its table.
const NOISE: [&str; 10] =
    ["IGNORE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IF", "NOT", "EXISTS", "ONLY", "LATERAL"];

/// Names behind `FROM`, `JOIN`, `UPDATE` and `INTO`.
fn tables(words: &[Token<'_>]) -> Vec<String> {
    let mut tables = Vec::new();
    let mut before = "";
    for (at, token) in words.iter().enumerate() {
        let is_insert = at == 0 && (token.is_word("INSERT") || token.is_word("REPLACE"));
        let is_from = token.is_word("FROM");
        let is_update =
            token.is_word("UPDATE") && !["key", "for"].contains(&before.to_ascii_lowercase().as_str());
        let takes_list = is_from || is_update;
        if is_insert
            || takes_list
            || token.is_word("JOIN")
            || token.is_word("INTO")
            || token.is_word("STRAIGHT_JOIN")
        {
            name_list(words.get(at + 1..).unwrap_or_default(), takes_list, &mut tables);
        }
        before = token.text;
        if tables.len() >= TABLES_MAX {
            break;
        }
    }
    tables
}

fn name_list(mut words: &[Token<'_>], takes_list: bool, tables: &mut Vec<String>) {
    loop {
        let noise = words.iter().take_while(|token| NOISE.iter().any(|noise| token.is_word(noise))).count();
        words = words.get(noise..).unwrap_or_default();
        let opened = words.iter().take_while(|token| token.text == "(").count();
        words = words.get(opened..).unwrap_or_default();
        let is_keyword = words.first().is_some_and(|token| {
            ["SELECT", "INTO", "OUTFILE", "DUMPFILE", "FROM", "SET", "VALUES"]
                .iter()
                .any(|word| token.is_word(word))
        });
        let (name, length) = name(words);
        if is_keyword
            || name.is_empty()
            || words.get(length).is_some_and(|token| token.text == "(" && takes_list)
        {
            return;
        }
        tables.push(name);
        words = words.get(length..).unwrap_or_default();
        // An alias, with AS or without.
        if words.first().is_some_and(|token| token.is_word("AS")) {
            words = words.get(1..).unwrap_or_default();
        }
        let alias = usize::from(matches!(words, [alias, comma, ..]
            if comma.text == "," && matches!(alias.kind, TokenKind::Word | TokenKind::QuotedIdent)));
        words = words.get(alias..).unwrap_or_default();
        if !takes_list || words.first().is_none_or(|token| token.text != ",") {
            return;
        }
        words = words.get(1..).unwrap_or_default();
    }
}

/// The name `a`, `a.b` that words begin with, without backticks, and how many words it is.
fn name(words: &[Token<'_>]) -> (String, usize) {
    let Some(first) = words.first().and_then(Token::identifier) else { return (String::new(), 0) };
    match words {
        [_, point, second, ..] if point.text == "." => match second.identifier() {
            Some(second) => (format!("{first}.{second}"), 3),
            None => (first, 1),
        },
        _ => (first, 1),
    }
}

fn load_table(words: &[Token<'_>]) -> Vec<String> {
    let table = words.iter().position(|token| token.is_word("TABLE"));
    table.map(|at| name(words.get(at + 1..).unwrap_or_default()).0).into_iter().collect()
}

/// Tables that a statement creates, changes or drops.
fn defined(words: &[Token<'_>]) -> Vec<String> {
    let verbs = ["CREATE", "ALTER", "TRUNCATE", "DROP", "RENAME"];
    let mut tables = Vec::new();
    let Some(verb) = words.first().filter(|token| verbs.iter().any(|verb| token.is_word(verb))) else {
        return tables;
    };
    if let Some(at) = words.iter().take(4).position(|token| token.is_word("TABLE")) {
        name_list(words.get(at + 1..).unwrap_or_default(), verb.is_word("DROP"), &mut tables);
    } else if verb.is_word("TRUNCATE") {
        name_list(words.get(1..).unwrap_or_default(), false, &mut tables);
    }
    tables
}

fn definition(verb: &str, words: &[Token<'_>]) -> String {
    let object = words.iter().position(|token| token.is_word("TABLE") || token.is_word("DATABASE"));
    // Further on, the word belongs to something else.
    let Some(at) = object.filter(|at| *at <= 3) else { return joined(verb, tables(words)) };
    let kind = words.get(at).map_or_else(String::new, |token| token.text.to_ascii_uppercase());
    let mut rest = words.get(at + 1..).unwrap_or_default();
    let noise = rest.iter().take_while(|token| NOISE.iter().any(|noise| token.is_word(noise))).count();
    rest = rest.get(noise..).unwrap_or_default();
    joined(&format!("{verb} {kind}"), vec![name(rest).0])
}

fn show(words: &[Token<'_>]) -> String {
    let ends = ["FOR", "FROM", "LIKE", "WHERE", "LIMIT", "IN"];
    let drops = ["SESSION", "FULL", "STORAGE", "ENGINE"];
    let mut kept = vec!["SHOW".to_owned()];
    for token in words.get(1..).unwrap_or_default() {
        if ends.iter().any(|word| token.is_word(word)) || kept.len() == 3 {
            break;
        }
        let is_kept = token.kind == TokenKind::Word && !drops.iter().any(|word| token.is_word(word));
        if is_kept && !token.is_word("COUNT") {
            let word = token.text.to_ascii_uppercase();
            kept.push(match word.as_str() {
                "SCHEMA" => "DATABASE".to_owned(),
                "SCHEMAS" => "DATABASES".to_owned(),
                "KEYS" | "INDEXES" => "INDEX".to_owned(),
                _ => word,
            });
        }
    }
    kept.join(" ")
}
