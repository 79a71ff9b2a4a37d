//! Conditions on the values of rows, such as `id = 5 and name like 'a%'`. Only AND joins them.

use std::cmp::Ordering;

use sqltext::{Token, TokenKind, lex, unquote};

use crate::rows::Image;
use crate::table::Table;
use crate::value::Value;

/// A condition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a condition: {problem}; give column = value, also != < <= > >= like, is null, joined by and"
)]
pub struct PredicateError {
    text: String,
    problem: &'static str,
}

/// Conditions that all have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    column: Place,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Name(String),
    /// From 0.
    Number(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    IsNull(bool),
    Like(String, bool),
    Compare(Vec<Ordering>, String),
}

impl std::str::FromStr for Predicate {
    type Err = PredicateError;

    fn from_str(text: &str) -> Result<Self, PredicateError> {
        let refused = |problem| PredicateError { text: text.to_owned(), problem };
        let tokens: Vec<Token<'_>> = lex(text).filter(Token::is_significant).collect();
        let mut rest = &tokens[..];
        let mut terms = Vec::new();
        loop {
            let (term, after) = term(rest).map_err(refused)?;
            terms.push(term);
            match after.split_first() {
                None => return Ok(Self { terms }),
                Some((token, after)) if token.is_word("AND") => rest = after,
                Some(_) => return Err(refused("something follows that is not AND")),
            }
        }
    }
}

type Parsed<'t, T> = Result<(T, &'t [Token<'t>]), &'static str>;

fn term<'t>(tokens: &'t [Token<'t>]) -> Parsed<'t, Term> {
    let (column, tokens) = place(tokens)?;
    let (test, tokens) = test(tokens)?;
    Ok((Term { column, test }, tokens))
}

fn place<'t>(tokens: &'t [Token<'t>]) -> Parsed<'t, Place> {
    let (first, rest) = tokens.split_first().ok_or("a column is missing")?;
    if let Some(number) = first.text.strip_prefix('@').filter(|number| !number.is_empty()) {
        return Ok((Place::Number(position(number)?), rest));
    }
    if first.is_punct("@") {
        let (number, rest) = rest.split_first().ok_or("the column's number is missing")?;
        return Ok((Place::Number(position(number.text)?), rest));
    }
    first.identifier().map(|name| (Place::Name(name), rest)).ok_or("a column is missing")
}

fn position(number: &str) -> Result<usize, &'static str> {
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_sub(1))
        .ok_or("a column's number counts from @1")
}

fn test<'t>(tokens: &'t [Token<'t>]) -> Parsed<'t, Test> {
    let mut operator = String::new();
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        if !(token.kind == TokenKind::Punct && matches!(token.text, "=" | "<" | ">" | "!")) {
            break;
        }
        operator.push_str(token.text);
        rest = after;
    }
    if operator.is_empty() {
        let (word, after) = rest.split_first().ok_or("an operator is missing")?;
        if word.is_word("IS") {
            let (is_null, after) = match after.split_first() {
                Some((not, after)) if not.is_word("NOT") => (false, after),
                _ => (true, after),
            };
            return match after.split_first() {
                Some((null, after)) if null.is_word("NULL") => Ok((Test::IsNull(is_null), after)),
                _ => Err("NULL is missing"),
            };
        }
        let (is_wanted, word, after) = match (word.is_word("NOT"), after.split_first()) {
            (true, Some((next, after))) => (false, next, after),
            _ => (true, word, after),
        };
        if !word.is_word("LIKE") {
            return Err("an operator is missing");
        }
        let (pattern, after) = operand(after)?;
        return Ok((Test::Like(pattern, is_wanted), after));
    }
    let holds = match operator.as_str() {
        "=" => vec![Ordering::Equal],
        "!=" | "<>" => vec![Ordering::Less, Ordering::Greater],
        "<" => vec![Ordering::Less],
        "<=" => vec![Ordering::Less, Ordering::Equal],
        ">" => vec![Ordering::Greater],
        ">=" => vec![Ordering::Greater, Ordering::Equal],
        _ => return Err("the operator is not known"),
    };
    let (value, rest) = operand(rest)?;
    Ok((Test::Compare(holds, value), rest))
}

fn operand<'t>(tokens: &'t [Token<'t>]) -> Parsed<'t, String> {
    let (first, rest) = tokens.split_first().ok_or("a value is missing")?;
    if first.is_punct("-") {
        let (number, rest) = rest.split_first().ok_or("a value is missing")?;
        return Ok((format!("-{}", number.text), rest));
    }
    match first.kind {
        TokenKind::String => Ok((unquote(first.text), rest)),
        TokenKind::Number | TokenKind::Word => Ok((first.text.to_owned(), rest)),
        TokenKind::QuotedIdent
        | TokenKind::Punct
        | TokenKind::Comment
        | TokenKind::Hint
        | TokenKind::Executable
        | TokenKind::Space => Err("a value is missing"),
    }
}

impl Predicate {
    /// Whether all conditions hold for a row as it was, or as it is after. A column that the table does not have, or
    /// that was not logged, holds for nothing.
    #[must_use]
    pub fn holds(&self, table: &Table, image: &Image<'_>) -> bool {
        self.terms.iter().all(|term| {
            let at = match &term.column {
                Place::Number(at) => Some(*at),
                Place::Name(name) => table.columns.iter().position(|column| {
                    column.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name))
                }),
            };
            at.and_then(|at| image.get(at))
                .and_then(Option::as_ref)
                .is_some_and(|value| term.test.holds(value))
        })
    }

    /// Names of columns that it needs and the table does not name.
    #[must_use]
    pub fn unknown_columns(&self, table: &Table) -> Vec<String> {
        let has = |name: &str| {
            table
                .columns
                .iter()
                .any(|column| column.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name)))
        };
        let unknown = |term: &Term| match &term.column {
            Place::Name(name) if !has(name) => Some(name.clone()),
            Place::Name(_) | Place::Number(_) => None,
        };
        self.terms.iter().filter_map(unknown).collect()
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        let is_null = *value == Value::Null;
        match self {
            Self::IsNull(wanted) => is_null == *wanted,
            Self::Like(pattern, wanted) => !is_null && like(pattern, &value.shown()) == *wanted,
            Self::Compare(holds, wanted) => !is_null && holds.contains(&compare(&value.shown(), wanted)),
        }
    }
}

/// As numbers where both are numbers, else as text.
fn compare(value: &str, wanted: &str) -> Ordering {
    if let (Ok(a), Ok(b)) = (value.parse::<i128>(), wanted.parse::<i128>()) {
        return a.cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (value.parse::<f64>(), wanted.parse::<f64>()) {
        return a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    }
    value.cmp(wanted)
}

/// `%` for any letters, `_` for one; letters of either case are alike.
fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    // Where the last `%` was, and how far it reached: one way back is enough.
    let (mut at, mut from, mut back) = (0, 0, None);
    while let Some(letter) = text.get(from) {
        match pattern.get(at) {
            Some('%') => {
                back = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == '_' || wanted == letter => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((percent, reached)) = back else { return false };
                back = Some((percent, reached + 1));
                at = percent + 1;
                from = reached + 1;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|letter| *letter == '%')
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::header::Format;

    fn table() -> Table {
        // Two columns of INT and VARCHAR(10), named by optional metadata.
        let mut body = vec![1, 0, 0, 0, 0, 0, 0, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 15, 2, 10, 0, 0];
        body.extend([4, 8, 2, b'i', b'd', 4, b'n', b'a', b'm', b'e']);
        Table::parse(&Format::default(), &body).unwrap()
    }

    #[test]
    fn conditions_hold_for_values() {
        let table = table();
        let image = vec![Some(Value::Int(42)), Some(Value::Bytes(Cow::Borrowed(b"Alice")))];
        for (text, holds) in [
            ("id = 42", true),
            ("id=42.0 and name='Alice'", true),
            ("ID > 41 AND id <= 42", true),
            ("id != 42", false),
            ("id = -42", false),
            ("@2 like 'al%c_'", true),
            ("`name` not like '%x%'", true),
            ("name is null", false),
            ("name IS NOT NULL", true),
            ("nothing = 1", false),
        ] {
            assert_eq!(text.parse::<Predicate>().unwrap().holds(&table, &image), holds, "{text}");
        }
        assert_eq!("nothing = 1".parse::<Predicate>().unwrap().unknown_columns(&table), ["nothing"]);
        for refused in ["", "id", "id =", "id = 1 or x = 2", "= 1", "id ! 1", "@0 = 1", "name is 5"] {
            assert!(refused.parse::<Predicate>().is_err(), "{refused}");
        }
    }
}
