//! What of a `CREATE TABLE` is made before its rows, and what after: secondary indexes and foreign keys wait.
//!
//! The statement is cut, never rewritten: what stays is as it was, to the byte, and what waits is added in the same
//! words. It knows the clauses of both vendors; an element it does not know stays.

use crate::reader_kind::{self, ObjectName};
use crate::reader_words::{Word, Words};

/// More elements than a table can have.
const ELEMENTS_MAX: usize = 20_000;

/// How values of a column are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text in a character set.
    Text,
    /// Numbers.
    Number,
    /// Dates and times, and what else is written as plain text: `INET6`, `UUID`.
    Plain,
    /// `ENUM` and `SET`: a number means something else than its text.
    Choice,
    /// Bytes: `BINARY`, `BLOB`, geometry, vectors.
    Bytes,
    /// `BIT`.
    Bit,
    /// `JSON` of its own type (MySQL), which takes no bytes without a character set.
    Json,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// How its values are loaded.
    pub kind: ColumnKind,
    /// Whether it is computed, so that no value can be given.
    pub is_generated: bool,
    /// Whether an `INSERT` without column names leaves it out.
    pub is_invisible: bool,
}

/// A key or constraint that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its text, as it stood in the statement.
    pub text: String,
}

/// A table's definition, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDef {
    /// The table's name, as the statement has it.
    pub name: ObjectName,
    /// Its columns.
    pub columns: Vec<ColumnDef>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Its storage engine, as written.
    pub engine: Option<String>,
    /// Everything up to the table's name, such as `CREATE TABLE `.
    head: String,
    /// From the opening parenthesis on, in elements.
    elements: Vec<Element>,
    /// From the closing parenthesis on.
    tail: String,
    /// Keys from here on wait; `elements.len()` when none does.
    keys_stay: usize,
    is_versioned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    text: String,
    kind: ElementKind,
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementKind {
    Column,
    PrimaryKey,
    /// A key that waits if it can.
    Key {
        is_unique: bool,
        is_fulltext: bool,
        /// It has to be there from the beginning: expressions, `WITHOUT OVERLAPS`, vectors.
        stays: bool,
    },
    ForeignKey,
    Other,
}

impl TableDef {
    /// Takes a `CREATE TABLE` apart; none for one without a list of columns, such as `LIKE` or `SELECT`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut words = Words::new(bytes);
        if !words.next()?.is("CREATE") {
            return None;
        }
        let name_at = loop {
            let before = words.offset();
            let word = words.next()?;
            if !["OR", "REPLACE", "TEMPORARY", "TABLE", "IF", "NOT", "EXISTS"].iter().any(|it| word.is(it)) {
                break before;
            }
        };
        let mut words = at(bytes, name_at);
        let name = reader_kind::name(&mut words)?;
        if words.next()? != Word::Symbol(b'(') {
            return None;
        }
        let open = name_at + words.offset();
        let (spans, close) = elements(bytes, open)?;
        let elements: Vec<Element> = spans
            .into_iter()
            .map(|(from, to)| text.get(from..to).map(Element::new))
            .collect::<Option<_>>()?;
        let tail = text.get(close..)?.to_owned();
        let columns: Vec<ColumnDef> = elements
            .iter()
            .filter(|element| element.kind == ElementKind::Column)
            .filter_map(|element| column(&element.text))
            .collect();
        let primary_key = elements
            .iter()
            .find(|element| element.kind == ElementKind::PrimaryKey)
            .map(|element| key_columns(&element.text))
            .unwrap_or_default();
        let engine = option(&tail, "ENGINE");
        let is_versioned = has_words(&tail, &["SYSTEM", "VERSIONING"])
            || elements.iter().any(|element| has_words(&element.text, &["SYSTEM", "VERSIONING"]));
        let head = text.get(..name_at)?.trim_end().to_owned();
        let mut table = Self {
            name,
            columns,
            primary_key,
            engine,
            head,
            keys_stay: elements.len(),
            elements,
            tail,
            is_versioned,
        };
        table.keys_stay = table.first_waiting();
        Some(table)
    }

    /// Whether its rows are written in transactions, as far as its engine's name tells.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        let engine = self.engine.as_deref().unwrap_or("InnoDB");
        ["InnoDB", "RocksDB", "NDB", "NDBCLUSTER"].iter().any(|it| engine.eq_ignore_ascii_case(it))
    }

    /// The columns that rows without column names have, in order.
    pub fn visible_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.columns.iter().filter(|column| !column.is_invisible)
    }

    /// A column by its name, in any case of letters, as servers compare them.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnDef> {
        let name = name.to_lowercase();
        self.columns.iter().find(|column| column.name.to_lowercase() == name)
    }

    /// The index of the first element whose key may wait. Servers show keys of one kind in the order in which they
    /// were made, so that all before one that stays stay with it.
    fn first_waiting(&self) -> usize {
        // Other engines build keys otherwise, and each ALTER of a versioned table is history.
        if !self.is_transactional() || self.is_versioned {
            return self.elements.len();
        }
        let is_key = |element: &Element| matches!(element.kind, ElementKind::Key { .. });
        let must_stay = |element: &Element| matches!(element.kind, ElementKind::Key { stays: true, .. });
        let mut last = self.elements.iter().rposition(must_stay);
        if let Some(column) = self.auto_increment_column()
            && !self.primary_key.first().is_some_and(|first| same(first, &column))
        {
            let leads = |element: &Element| {
                is_key(element)
                    && key_columns(&element.text).first().is_some_and(|first| same(first, &column))
            };
            last = last.max(self.elements.iter().position(leads));
        }
        if self.primary_key.is_empty() && !self.has_inline_primary_key() {
            // The first unique key without NULL orders the table's rows.
            let orders = |element: &Element| match element.kind {
                ElementKind::Key { is_unique, .. } => is_unique && self.is_not_null(&element.text),
                ElementKind::Column
                | ElementKind::PrimaryKey
                | ElementKind::ForeignKey
                | ElementKind::Other => false,
            };
            last = last.max(self.elements.iter().position(orders));
        }
        last.map_or(0, |last| last + 1)
    }

    fn column_elements(&self) -> impl Iterator<Item = &Element> {
        self.elements.iter().filter(|element| element.kind == ElementKind::Column)
    }

    fn auto_increment_column(&self) -> Option<String> {
        let element = self.column_elements().find(|element| has_words(&element.text, &["AUTO_INCREMENT"]))?;
        element.name.clone()
    }

    fn has_inline_primary_key(&self) -> bool {
        self.column_elements().any(|element| has_words(&element.text, &["PRIMARY", "KEY"]))
    }

    fn is_not_null(&self, key: &str) -> bool {
        let columns = key_columns(key);
        !columns.is_empty()
            && columns.iter().all(|name| {
                self.column_elements()
                    .find(|element| element.name.as_ref().is_some_and(|it| same(it, name)))
                    .is_some_and(|element| has_words(&element.text, &["NOT", "NULL"]))
            })
    }

    fn waits(&self, index: usize, element: &Element) -> bool {
        matches!(element.kind, ElementKind::Key { .. }) && index >= self.keys_stay
    }

    fn statement(&self, name: &str, stays: impl Fn(usize, &Element) -> bool) -> String {
        let elements: Vec<&str> = self
            .elements
            .iter()
            .enumerate()
            .filter(|(index, element)| stays(*index, element))
            .map(|(_, element)| element.text.trim())
            .collect();
        format!("{} {name} (\n  {}\n{}", self.head, elements.join(",\n  "), self.tail)
    }

    /// The statement for the time of loading, without the keys that wait and without foreign keys. `name` is quoted.
    #[must_use]
    pub fn create_bare(&self, name: &str) -> String {
        self.statement(name, |index, element| {
            element.kind != ElementKind::ForeignKey && !self.waits(index, element)
        })
    }

    /// The statement with all keys, without foreign keys. `name` is quoted.
    #[must_use]
    pub fn create_keyed(&self, name: &str) -> String {
        self.statement(name, |_, element| element.kind != ElementKind::ForeignKey)
    }

    /// Keys that wait, in the groups that one `ALTER TABLE` builds at best: InnoDB makes one full-text key at a time.
    #[must_use]
    pub fn waiting_keys(&self) -> Vec<Vec<Clause>> {
        let (mut plain, mut groups) = (Vec::new(), Vec::new());
        for (index, element) in self.elements.iter().enumerate() {
            if !self.waits(index, element) {
                continue;
            }
            match element.kind {
                ElementKind::Key { is_fulltext: true, .. } => groups.push(vec![element.clause()]),
                ElementKind::Key { .. }
                | ElementKind::Column
                | ElementKind::PrimaryKey
                | ElementKind::ForeignKey
                | ElementKind::Other => plain.push(element.clause()),
            }
        }
        if !plain.is_empty() {
            groups.insert(0, plain);
        }
        groups
    }

    /// Makes ordinary columns of those computed from the `AUTO_INCREMENT` column, and says which. Their values are in the
    /// rows of dumps that can have such columns.
    pub fn store_generated_from_auto_increment(&mut self) -> Vec<String> {
        let Some(source) = self.auto_increment_column() else { return Vec::new() };
        let quoted = format!("`{}`", source.replace('`', "``"));
        let mut stored = Vec::new();
        for element in self.elements.iter_mut().filter(|element| element.kind == ElementKind::Column) {
            let Some((from, to)) = generated_clause(&element.text) else { continue };
            if !element.text.get(from..to).is_some_and(|clause| clause.contains(&quoted)) {
                continue;
            }
            element.text.replace_range(from..to, "");
            stored.extend(element.name.clone());
        }
        for column in self.columns.iter_mut().filter(|column| stored.contains(&column.name)) {
            column.is_generated = false;
        }
        stored
    }

    /// Leaves out keys on expressions, and says which.
    pub fn drop_expression_keys(&mut self) -> Vec<String> {
        let is_one = |element: &Element| {
            matches!(element.kind, ElementKind::Key { .. }) && has_expression(&element.text)
        };
        let dropped = self
            .elements
            .iter()
            .filter(|element| is_one(element))
            .map(|element| element.text.trim().to_owned());
        let dropped: Vec<String> = dropped.collect();
        if !dropped.is_empty() {
            self.elements.retain(|element| !is_one(element));
            self.keys_stay = self.first_waiting();
        }
        dropped
    }

    /// Its foreign keys.
    #[must_use]
    pub fn foreign_keys(&self) -> Vec<Clause> {
        let keys = self.elements.iter().filter(|element| element.kind == ElementKind::ForeignKey);
        keys.map(Element::clause).collect()
    }
}

/// `ALTER TABLE` that adds clauses. `name` is quoted.
#[must_use]
pub fn alter_add(name: &str, clauses: &[Clause]) -> String {
    let added: Vec<String> = clauses.iter().map(|clause| format!("ADD {}", clause.text)).collect();
    format!("ALTER TABLE {name}\n  {}", added.join(",\n  "))
}

impl Element {
    fn new(text: &str) -> Self {
        let (kind, name) = element_kind(text);
        Self { text: text.to_owned(), kind, name }
    }

    fn clause(&self) -> Clause {
        Clause { name: self.name.clone(), text: self.text.trim().to_owned() }
    }
}

fn at(bytes: &[u8], offset: usize) -> Words<'_> {
    Words::new(bytes.get(offset..).unwrap_or_default())
}

fn same(left: &str, right: &str) -> bool {
    left.to_lowercase() == right.to_lowercase()
}

/// From where to where each element reaches, from behind the opening parenthesis on, and where the closing one is.
fn elements(bytes: &[u8], open: usize) -> Option<(Vec<(usize, usize)>, usize)> {
    let (mut spans, mut depth, mut from, mut at) = (Vec::new(), 0_u32, open, open);
    loop {
        let rest = bytes.get(at..)?;
        match rest {
            [] => return None,
            [quote @ (b'\'' | b'"' | b'`'), ..] => at += quoted_length(rest, *quote)?,
            [b'/', b'*', b'!' | b'M', ..] => at += 3,
            [b'/', b'*', ..] => at += memchr::memmem::find(rest, b"*/")? + 2,
            [b'#', ..] => at += memchr::memchr(b'\n', rest)?,
            [b'-', b'-', blank, ..] if blank.is_ascii_whitespace() => at += memchr::memchr(b'\n', rest)?,
            [b'(', ..] => {
                depth += 1;
                at += 1;
            }
            [b')', ..] if depth == 0 => {
                spans.push((from, at));
                return Some((spans, at));
            }
            [b')', ..] => {
                depth -= 1;
                at += 1;
            }
            [b',', ..] if depth == 0 => {
                spans.push((from, at));
                at += 1;
                from = at;
                if spans.len() > ELEMENTS_MAX {
                    return None;
                }
            }
            [_, ..] => at += 1,
        }
    }
}

/// The length of quoted text with its quotes.
fn quoted_length(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        match (*rest.get(at)?, rest.get(at + 1)) {
            (b'\\', _) if quote != b'`' => at += 2,
            (byte, Some(next)) if byte == quote && *next == quote => at += 2,
            (byte, _) if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn element_kind(text: &str) -> (ElementKind, Option<String>) {
    let mut words = Words::new(text.as_bytes());
    let Some(Word::Bare(first)) = words.next() else {
        // Names are quoted in dumps; text between other quotes is no element.
        let name = Words::new(text.as_bytes()).next().and_then(|word| word.name());
        return (ElementKind::Column, name);
    };
    let (mut first, mut name) = (first.to_ascii_uppercase(), None);
    if first == b"CONSTRAINT" {
        let next = words.next();
        if let Some(quoted @ Word::Quoted { .. }) = &next {
            name = quoted.name();
        }
        let kind = if name.is_some() { words.next() } else { next };
        let Some(Word::Bare(kind)) = kind else { return (ElementKind::Other, name) };
        first = kind.to_ascii_uppercase();
    }
    let kind = match first.as_slice() {
        b"PRIMARY" => return (ElementKind::PrimaryKey, None),
        b"FOREIGN" => return (ElementKind::ForeignKey, name),
        b"CHECK" | b"PERIOD" | b"LIKE" => return (ElementKind::Other, name),
        b"UNIQUE" | b"FULLTEXT" | b"SPATIAL" | b"KEY" | b"INDEX" | b"VECTOR" => ElementKind::Key {
            is_unique: first == b"UNIQUE",
            is_fulltext: first == b"FULLTEXT",
            stays: first == b"VECTOR" || has_expression(text) || has_words(text, &["WITHOUT", "OVERLAPS"]),
        },
        _ => {
            let name = String::from_utf8_lossy(&first).into_owned();
            return (ElementKind::Column, Some(name));
        }
    };
    for word in words {
        match word {
            Word::Bare(_) => {}
            quoted @ Word::Quoted { .. } => {
                name = quoted.name().or(name);
                break;
            }
            Word::Symbol(_) => break,
        }
    }
    (kind, name)
}

/// A part of a key is an expression: `KEY k ((lower(a)))`.
fn has_expression(key: &str) -> bool {
    let mut words = Words::new(key.as_bytes());
    if !words.by_ref().any(|word| word == Word::Symbol(b'(')) {
        return false;
    }
    let (mut depth, mut begins) = (0_u32, true);
    for word in words {
        match word {
            Word::Symbol(b'(') if begins => return true,
            Word::Symbol(b'(') => depth += 1,
            Word::Symbol(b')') if depth == 0 => return false,
            Word::Symbol(b')') => depth -= 1,
            Word::Symbol(_) | Word::Bare(_) | Word::Quoted { .. } => {}
        }
        begins = depth == 0 && word == Word::Symbol(b',');
    }
    false
}

/// Columns of a key, in order; expressions have none.
fn key_columns(key: &str) -> Vec<String> {
    let mut words = Words::new(key.as_bytes());
    if !words.by_ref().any(|word| word == Word::Symbol(b'(')) {
        return Vec::new();
    }
    let (mut columns, mut depth, mut expects) = (Vec::new(), 0_u32, true);
    for word in words {
        match word {
            Word::Symbol(b'(') => depth += 1,
            Word::Symbol(b')') if depth == 0 => break,
            Word::Symbol(b')') => depth -= 1,
            Word::Symbol(b',') if depth == 0 => expects = true,
            Word::Symbol(_) => {}
            Word::Bare(_) | Word::Quoted { .. } if depth == 0 && expects => {
                columns.extend(word.name());
                expects = false;
            }
            Word::Bare(_) | Word::Quoted { .. } => {}
        }
    }
    columns
}

/// Whether these keywords stand one after the other, outside quotes.
pub(crate) fn has_words(text: &str, wanted: &[&str]) -> bool {
    let words: Vec<Word<'_>> = Words::new(text.as_bytes()).collect();
    words.windows(wanted.len()).any(|window| window.iter().zip(wanted).all(|(word, wanted)| word.is(wanted)))
}

/// An option of the table, such as its engine.
fn option(tail: &str, name: &str) -> Option<String> {
    let mut words = Words::new(tail.as_bytes());
    while let Some(word) = words.next() {
        if word.is(name) {
            let value = words.next()?;
            return if value == Word::Symbol(b'=') { words.next()?.name() } else { value.name() };
        }
    }
    None
}

/// From where to where a column says how it is computed.
fn generated_clause(text: &str) -> Option<(usize, usize)> {
    const BEGIN: &str = "GENERATED ALWAYS AS (";
    let from = text.find(BEGIN)?;
    // The parenthesis is closed as a list of elements is.
    let (_, close) = elements(text.as_bytes(), from + BEGIN.len())?;
    let mut end = close + 1;
    let rest = text.get(end..)?;
    let trimmed = rest.trim_start();
    for word in ["VIRTUAL", "STORED", "PERSISTENT"] {
        if trimmed.starts_with(word) {
            end += rest.len() - trimmed.len() + word.len();
        }
    }
    Some((from, end))
}

fn column(text: &str) -> Option<ColumnDef> {
    let mut words = Words::new(text.as_bytes());
    let name = words.next()?.name()?;
    let kind = match words.next()? {
        Word::Bare(kind) => column_kind(&String::from_utf8_lossy(kind).to_ascii_lowercase(), text),
        Word::Quoted { .. } | Word::Symbol(_) => ColumnKind::Text,
    };
    // Not `GENERATED BY DEFAULT AS IDENTITY`, which neither vendor has; `AS (` alone is enough for both.
    let list: Vec<Word<'_>> = words.collect();
    let is_generated =
        list.windows(2).any(|pair| matches!(pair, [first, Word::Symbol(b'(')] if first.is("AS")))
            || has_words(text, &["AS", "ROW", "START"])
            || has_words(text, &["AS", "ROW", "END"]);
    let is_invisible = list.iter().any(|word| word.is("INVISIBLE"));
    Some(ColumnDef { name, kind, is_generated, is_invisible })
}

fn column_kind(kind: &str, text: &str) -> ColumnKind {
    match kind {
        "bit" => ColumnKind::Bit,
        "enum" | "set" => ColumnKind::Choice,
        "json" => ColumnKind::Json,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal" | "numeric"
        | "dec" | "fixed" | "float" | "double" | "real" | "bool" | "boolean" | "serial" => ColumnKind::Number,
        "date" | "datetime" | "timestamp" | "time" | "year" | "inet4" | "inet6" | "uuid" => ColumnKind::Plain,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point"
        | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" | "vector" => ColumnKind::Bytes,
        _ if has_words(text, &["CHARACTER", "SET", "binary"]) => ColumnKind::Bytes,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "nchar" | "nvarchar"
        | "national" | "character" => ColumnKind::Text,
        // Types to come: as bytes, whatever they hold.
        _ => ColumnKind::Bytes,
    }
}

#[cfg(test)]
mod tests;
