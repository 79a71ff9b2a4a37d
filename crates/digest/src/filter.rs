//! Filters: a small language that says which events count, such as `Query_time > 0.5 and user = 'nova'`.
//!
//! `or`, `and`, `not` and parentheses join comparisons of a field with a value. What an event does not have is equal to
//! nothing and greater than nothing. There are no functions and no arithmetic.

mod parse;

#[cfg(test)]
mod tests;

use sqltext::{Fingerprinter, QueryId, Rules};

use crate::amount::Amount;
use crate::attribute::{Attribute, Names};
use crate::event::Event;

pub use parse::FilterError;

/// A filter, made from text by [`Filter::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    /// A number of the event.
    Number(Number, Comparison, Amount),
    /// A text of the event.
    Text(Text, Match, String),
    /// What is yes or no of it.
    Flag(String, bool),
    Admin(bool),
    Id(QueryId, bool),
}

#[derive(Clone, Debug, PartialEq)]
enum Number {
    Attribute(String),
    Thread,
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Text {
    User,
    Host,
    Db,
    Query,
    Fingerprint,
    Attribute(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Is,
    IsNot,
    Contains,
    ContainsNot,
}

impl Filter {
    /// The attributes of the log that it asks for, beyond those that every event has.
    #[must_use]
    pub fn attributes(&self) -> Vec<&str> {
        let (mut nodes, mut attributes) = (vec![&self.root], Vec::new());
        while let Some(node) = nodes.pop() {
            match node {
                Node::Any(inner) | Node::All(inner) => nodes.extend(inner),
                Node::Not(inner) => nodes.push(inner),
                Node::Number(Number::Attribute(name), _, _)
                | Node::Text(Text::Attribute(name), _, _)
                | Node::Flag(name, _) => attributes.push(name.as_str()),
                Node::Number(Number::Thread | Number::Length, _, _)
                | Node::Text(Text::User | Text::Host | Text::Db | Text::Query | Text::Fingerprint, _, _)
                | Node::Admin(_)
                | Node::Id(_, _) => {}
            }
        }
        attributes.sort_unstable();
        attributes.dedup();
        attributes
    }
}

/// A filter with what it needs to be asked often.
#[derive(Debug)]
pub(crate) struct Asked {
    filter: Filter,
    fingerprinter: Fingerprinter,
}

impl Asked {
    pub(crate) fn new(filter: Filter, rules: Rules) -> Self {
        Self { filter, fingerprinter: Fingerprinter::new(rules) }
    }

    pub(crate) fn admits(&mut self, event: &Event<'_>, names: &Names) -> bool {
        self.filter.root.admits(event, names, &mut self.fingerprinter)
    }
}

impl Node {
    fn admits(&self, event: &Event<'_>, names: &Names, fingerprinter: &mut Fingerprinter) -> bool {
        match self {
            Self::Any(nodes) => nodes.iter().any(|node| node.admits(event, names, fingerprinter)),
            Self::All(nodes) => nodes.iter().all(|node| node.admits(event, names, fingerprinter)),
            Self::Not(node) => !node.admits(event, names, fingerprinter),
            Self::Number(number, comparison, wanted) => {
                number.of(event, names).is_some_and(|amount| comparison.holds(amount, *wanted))
            }
            Self::Text(text, how, wanted) => {
                let found = match text {
                    Text::Fingerprint => Some(fingerprinter.fingerprint(event.statement)),
                    Text::User | Text::Host | Text::Db | Text::Query | Text::Attribute(_) => {
                        text.of(event, names)
                    }
                };
                found.map_or(matches!(how, Match::IsNot | Match::ContainsNot), |found| {
                    how.holds(found, wanted)
                })
            }
            Self::Flag(name, wanted) => {
                let attribute = names.find(name.as_bytes());
                event.flags.iter().any(|(it, is_yes)| Some(*it) == attribute && is_yes == wanted)
            }
            Self::Admin(wanted) => event.is_admin == *wanted,
            Self::Id(id, wanted) => {
                id.matches(QueryId::of(fingerprinter.fingerprint(event.statement))) == *wanted
            }
        }
    }
}

impl Number {
    fn of(&self, event: &Event<'_>, names: &Names) -> Option<Amount> {
        match self {
            Self::Attribute(name) => event.amount(find(names, name)?),
            Self::Thread => event.thread.map(Amount::whole),
            Self::Length => Some(Amount::whole(event.statement_bytes)),
        }
    }
}

impl Text {
    fn of<'a>(&self, event: &Event<'a>, names: &Names) -> Option<&'a [u8]> {
        match self {
            Self::User => event.user,
            Self::Host => event.host,
            Self::Db => event.db,
            Self::Query => Some(event.statement),
            Self::Fingerprint => None,
            Self::Attribute(name) => {
                let attribute = find(names, name)?;
                event.texts().find(|(it, _)| *it == attribute).map(|(_, text)| text)
            }
        }
    }
}

fn find(names: &Names, name: &str) -> Option<Attribute> {
    names.find(name.as_bytes())
}

impl Comparison {
    fn holds(self, found: Amount, wanted: Amount) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::Unequal => found != wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

impl Match {
    fn holds(self, found: &[u8], wanted: &str) -> bool {
        match self {
            Self::Is => found == wanted.as_bytes(),
            Self::IsNot => found != wanted.as_bytes(),
            Self::Contains => contains(found, wanted.as_bytes()),
            Self::ContainsNot => !contains(found, wanted.as_bytes()),
        }
    }
}

/// Whether a text has another in it, in any case.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let (low, high) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr::memchr2_iter(low, high, text)
        .any(|at| text.get(at..at + wanted.len()).is_some_and(|part| part.eq_ignore_ascii_case(wanted)))
}
