//! Filters from text. Errors say at which character, and what was expected there.

use super::{Comparison, Filter, Match, Node, Number, Text};
use crate::amount::Amount;
use crate::attribute::{Kind, Names};

/// Nested parentheses and `not`s; more are a mistake or an attack.
const DEPTH_MAX: usize = 50;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {column} of the filter: {problem}")]
pub struct FilterError {
    /// From 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    String(String),
    /// A number, and how it is written: as a text it may be something else, such as a query id.
    Number(Amount, String),
    Symbol(&'static str),
}

impl Token {
    /// What is written, for fields that are texts.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::String(text) | Self::Number(_, text) => Some(text),
            Self::Symbol(_) => None,
        }
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// It is none; the error says where and why.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, end: text.chars().count() + 1 };
        let root = parser.any(0)?;
        match parser.peek() {
            None => Ok(Self { root }),
            Some(_) => Err(parser.error("expected `and`, `or` or the end")),
        }
    }
}

const SYMBOLS: [&str; 11] = ["!=", "==", "<=", ">=", "!~", "=", "<", ">", "~", "(", ")"];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let column = text.chars().count() - rest.chars().count() + 1;
        let error = |problem: &str| FilterError { column, problem: problem.to_owned() };
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
        let (token, length) = if let Some(symbol) = symbol {
            (Token::Symbol(symbol), symbol.len())
        } else if matches!(first, '\'' | '"') {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find(first).ok_or_else(|| error("the text in quotes does not end"))?;
            (Token::String(inner.get(..end).unwrap_or_default().to_owned()), end + 2)
        } else {
            let length = rest.find(|letter: char| !is_word(letter)).unwrap_or(rest.len());
            let word = rest.get(..length).unwrap_or_default();
            if word.is_empty() {
                return Err(error(&format!("`{first}` means nothing here; texts need quotes")));
            }
            let number = if first.is_ascii_digit() { number(word) } else { None };
            let token = match number {
                Some(number) => Token::Number(number, word.to_owned()),
                None => Token::Word(word.to_owned()),
            };
            (token, length)
        };
        tokens.push((column, token));
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-' | '%' | '@')
}

/// A number with the unit behind it.
fn number(word: &str) -> Option<Amount> {
    let length = word.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(word.len());
    let (digits, unit) = word.split_at(length);
    let amount = Amount::parse(digits.as_bytes())?.millionths();
    let (times, over) = match unit {
        "" | "s" => (1, 1),
        "ms" => (1, 1000),
        "us" => (1, 1_000_000),
        "m" | "min" => (60, 1),
        "h" => (3600, 1),
        "k" | "K" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        _ => return None,
    };
    Some(Amount::from_millionths(amount.checked_mul(times)? / over))
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn error(&self, problem: &str) -> FilterError {
        let column = self.tokens.get(self.at).map_or(self.end, |(column, _)| *column);
        FilterError { column, problem: problem.to_owned() }
    }

    fn word(&mut self, wanted: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(is_it);
        is_it
    }

    fn symbol(&mut self, wanted: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Token::Symbol(symbol)) if *symbol == wanted);
        self.at += usize::from(is_it);
        is_it
    }

    fn any(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all(depth)?];
        while self.word("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one(depth)?];
        while self.word("and") {
            nodes.push(self.one(depth)?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn one(&mut self, depth: usize) -> Result<Node, FilterError> {
        if depth > DEPTH_MAX {
            return Err(self.error("too deeply nested"));
        }
        if self.word("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.symbol("(") {
            let node = self.any(depth + 1)?;
            return if self.symbol(")") { Ok(node) } else { Err(self.error("expected `)`")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, FilterError> {
        let Some(Token::Word(field)) = self.peek().cloned() else {
            return Err(self.error("expected a field, such as Query_time, user, host, db, query or id"));
        };
        let field_at = self.at;
        self.at += 1;
        let Some(Token::Symbol(symbol @ ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"))) =
            self.peek().cloned()
        else {
            return Err(self.error("expected =, !=, <, <=, >, >=, ~ (contains) or !~"));
        };
        self.at += 1;
        let value = self.peek().cloned();
        let Some(value @ (Token::Word(_) | Token::String(_) | Token::Number(..))) = value else {
            return Err(self.error("expected a value"));
        };
        let node = compared(&field, symbol, &value);
        match node {
            Ok(node) => {
                self.at += 1;
                Ok(node)
            }
            Err(Wrong::Value(problem)) => Err(self.error(&problem)),
            Err(Wrong::Operator(problem)) => {
                self.at = field_at + 1;
                Err(self.error(&problem))
            }
        }
    }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            many(nodes)
        }
        None => many(nodes),
    }
}

enum Wrong {
    Value(String),
    Operator(String),
}

fn compared(field: &str, symbol: &str, value: &Token) -> Result<Node, Wrong> {
    let lower = field.to_ascii_lowercase();
    let is_equal = match symbol {
        "=" | "==" => Some(true),
        "!=" => Some(false),
        _ => None,
    };
    let text = match lower.as_str() {
        "user" => Some(Text::User),
        "host" => Some(Text::Host),
        "db" | "schema" | "database" => Some(Text::Db),
        "query" | "statement" => Some(Text::Query),
        "fingerprint" => Some(Text::Fingerprint),
        _ => None,
    };
    if let Some(text) = text {
        return text_node(text, symbol, value);
    }
    let number = match lower.as_str() {
        "thread" | "thread_id" => Number::Thread,
        "length" | "query_length" => Number::Length,
        "id" | "query_id" => {
            let Some(id) = value.text() else { return Err(Wrong::Value("expected a query id".to_owned())) };
            let id = id.parse().map_err(|error: sqltext::QueryIdError| Wrong::Value(error.to_string()))?;
            let is_equal =
                is_equal.ok_or_else(|| Wrong::Operator("ids are compared with = and !=".to_owned()))?;
            return Ok(Node::Id(id, is_equal));
        }
        _ => Number::Attribute(field.to_owned()),
    };
    match (value, is_equal) {
        (Token::Number(amount, _), _) => {
            let comparison = comparison(symbol).ok_or_else(|| {
                Wrong::Operator("numbers are compared with =, !=, <, <=, > and >=".to_owned())
            })?;
            Ok(Node::Number(number, comparison, *amount))
        }
        (Token::Word(word), Some(is_equal)) if yes_or_no(word).is_some() => {
            let wanted = yes_or_no(word) == Some(is_equal);
            Ok(if lower == "admin" { Node::Admin(wanted) } else { Node::Flag(field.to_owned(), wanted) })
        }
        (Token::Word(word), _)
            if is_number(field)
                || word.starts_with(|first: char| first.is_ascii_digit()) && is_equal.is_none() =>
        {
            Err(Wrong::Value(format!("`{word}` is no number: write 0.5, 20ms or 10k")))
        }
        _ if lower == "admin" => Err(Wrong::Value("expected yes or no".to_owned())),
        _ => match number {
            Number::Attribute(name) => text_node(Text::Attribute(name), symbol, value),
            Number::Thread | Number::Length => Err(Wrong::Value("expected a number".to_owned())),
        },
    }
}

/// Whether the servers write numbers under this name.
fn is_number(field: &str) -> bool {
    let names = Names::default();
    names.find(field.as_bytes()).is_some_and(|attribute| names.kind(attribute) == Kind::Number)
}

fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn text_node(text: Text, symbol: &str, value: &Token) -> Result<Node, Wrong> {
    let how = match symbol {
        "=" | "==" => Match::Is,
        "!=" => Match::IsNot,
        "~" => Match::Contains,
        "!~" => Match::ContainsNot,
        _ => return Err(Wrong::Operator("texts are compared with =, !=, ~ (contains) and !~".to_owned())),
    };
    let value = value.text().ok_or_else(|| Wrong::Value("expected a text".to_owned()))?;
    Ok(Node::Text(text, how, value.to_owned()))
}

fn comparison(symbol: &str) -> Option<Comparison> {
    Some(match symbol {
        "=" | "==" => Comparison::Equal,
        "!=" => Comparison::Unequal,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}
