//! What a dump holds: databases, tables with the places of their rows, objects, each with the session it was written for.
//!
//! It keeps definitions, never rows. Written as JSON beside a dump it is the index that spares the next reading.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::reader::{Header, Statement};
use crate::reader_kind::{ObjectKind, ObjectName, StatementKind};
use crate::reader_scan::Quoting;
use crate::reader_set::{Context, Variables};

/// Rows are cut into pieces of about so many bytes of text, at the end of a statement.
pub const CHUNK_BYTES: u64 = 8 << 20;
/// Definitions kept, together: more than any dump of a control plane has by far.
const DEFINITIONS_BYTES_MAX: usize = 1 << 30;

/// The text of a definition, whatever its character set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SqlText {
    /// As it almost always is.
    Text(String),
    /// In some other character set than UTF-8.
    Bytes(Vec<u8>),
}

impl SqlText {
    /// The text as it is.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A run of statements with rows of one table, without anything else between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Where it begins, in bytes of the (decompressed) dump.
    pub offset: u64,
    /// Its length in bytes, with the last delimiter.
    pub length: u64,
    /// How many statements it has.
    pub statements: u64,
    /// Length of the longest of them, in bytes.
    pub longest: u64,
    /// Which of the inventory's contexts it was written for.
    pub context: usize,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Its name, with its database where the dump tells.
    #[serde(flatten)]
    pub name: ObjectName,
    /// Its `CREATE TABLE`; none: the dump has rows alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<SqlText>,
    /// Which of the inventory's contexts that was written for.
    pub context: usize,
    /// Where its rows are.
    #[serde(default)]
    pub runs: Vec<Run>,
}

impl TableEntry {
    /// Length of the text of its rows, in bytes.
    #[must_use]
    pub fn rows_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.length).sum()
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name, with its database where the dump tells.
    #[serde(flatten)]
    pub name: ObjectName,
    /// A trigger's table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Its `CREATE`.
    pub create: SqlText,
    /// Statements that set its value (sequences).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<SqlText>,
    /// Which of the inventory's contexts it was written for.
    pub context: usize,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseEntry {
    /// Its name.
    pub name: String,
    /// Its `CREATE DATABASE`.
    pub create: SqlText,
}

/// What a dump holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// What it says of itself.
    pub header: Header,
    /// Length of its text, in bytes.
    pub bytes: u64,
    /// Databases it makes.
    pub databases: Vec<DatabaseEntry>,
    /// Its tables, in its order.
    pub tables: Vec<TableEntry>,
    /// Its objects, in its order.
    pub objects: Vec<ObjectEntry>,
    /// Sessions that its statements were written for.
    pub contexts: Vec<SessionContext>,
    /// Statements that are not carried over, by what they are.
    pub passed: BTreeMap<String, u64>,
}

/// A session as statements need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionContext {
    /// Its variables.
    #[serde(flatten)]
    pub context: Context,
    /// How quotes are read.
    #[serde(flatten)]
    pub quoting: Quoting,
}

/// What a statement was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A table's `CREATE TABLE`: the table's number in the inventory.
    Create(usize),
    /// Rows of a table: its number.
    Rows(usize),
    /// An object: its number.
    Object(usize),
    /// A database: its number.
    Database(usize),
    /// Neither.
    Other,
}

/// Why statements make no inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub enum InventoryError {
    /// Definitions fill the memory.
    TooMany,
    /// Rows under another delimiter than the semicolon, which no dump has.
    Delimiter,
}

impl InventoryError {
    /// It in words.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::TooMany => "more than 1 GiB of definitions",
            Self::Delimiter => "rows under a DELIMITER",
        }
    }
}

/// Makes an inventory of statements, as they come.
#[derive(Debug, Default)]
pub struct InventoryMaker {
    inventory: Inventory,
    tables: HashMap<ObjectName, usize>,
    database: Option<String>,
    variables: Variables,
    context: usize,
    is_context_stale: bool,
    /// The run that may go on.
    open: Option<usize>,
    definitions_bytes: usize,
    /// The last table with rows, by its name as written: statements of one follow each other.
    last: Option<(Vec<u8>, usize)>,
}

impl InventoryMaker {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let mut maker = Self::default();
        maker.inventory.contexts.push(SessionContext::default());
        maker
    }

    /// The inventory so far.
    #[must_use]
    pub const fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The database statements without one are in now.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The inventory, after the last statement.
    #[must_use]
    pub fn finish(mut self, header: &Header, bytes: u64) -> Inventory {
        let positions = std::mem::take(&mut self.inventory.header.positions);
        self.inventory.header = header.clone();
        self.inventory.header.positions.extend(positions);
        self.inventory.bytes = bytes;
        self.inventory.tables.retain(|table| table.create.is_some() || !table.runs.is_empty());
        self.inventory
    }

    /// Takes the next statement.
    ///
    /// # Errors
    /// When definitions fill the memory.
    pub fn see(&mut self, statement: &Statement<'_>) -> Result<Taken, InventoryError> {
        // Most statements are rows of the same table as the one before.
        if let Some(table) = self.same_table(statement.text) {
            return self.rows(table, statement);
        }
        let kind = StatementKind::of(statement.text);
        if !matches!(kind, StatementKind::Insert(_)) {
            self.open = None;
        }
        match &kind {
            StatementKind::Use(name) => {
                self.database = Some(name.clone());
                self.last = None;
            }
            StatementKind::Set => {
                self.variables.see(statement.text);
                self.is_context_stale = true;
                self.last = None;
            }
            StatementKind::CreateDatabase(name) => return self.make_database(name, statement.text),
            StatementKind::CreateTable(name) => return self.make_table(name, statement),
            StatementKind::CreateObject { kind, name, table } => {
                return self.make_object(*kind, name, table.as_ref(), statement);
            }
            StatementKind::Insert(name) => {
                let table = self.table(name);
                self.remember(statement.text, table);
                return self.rows(table, statement);
            }
            StatementKind::SequenceValue(name) => self.sequence_value(name, statement.text)?,
            StatementKind::Position => {
                self.inventory.header.position(statement.text);
                self.pass(&kind);
            }
            StatementKind::Drop(_)
            | StatementKind::Bracket
            | StatementKind::Account
            | StatementKind::Transaction
            | StatementKind::Other => self.pass(&kind),
        }
        Ok(Taken::Other)
    }

    fn pass(&mut self, kind: &StatementKind) {
        *self.inventory.passed.entry(kind.word().to_owned()).or_default() += 1;
    }

    /// The table of the statement before, when this one begins just like it.
    fn same_table(&self, text: &[u8]) -> Option<usize> {
        let (head, table) = self.last.as_ref()?;
        text.starts_with(head).then_some(*table)
    }

    /// Remembers how an `INSERT` begins, up to its table's closing backtick.
    fn remember(&mut self, text: &[u8], table: usize) {
        let head = text.get(..text.len().min(600)).unwrap_or_default();
        let open = memchr::memchr(b'`', head);
        let close = open.and_then(|open| {
            let rest = head.get(open + 1..)?;
            let close = memchr::memchr(b'`', rest)?;
            // A doubled one is part of the name, a dot says that the name follows.
            let next = rest.get(close + 1)?;
            matches!(next, b' ' | b'\n' | b'(').then_some(open + 1 + close + 2)
        });
        self.last = close.and_then(|close| Some((head.get(..close)?.to_vec(), table)));
    }

    fn full(&self, name: &ObjectName) -> ObjectName {
        let database = name.database.clone().or_else(|| self.database.clone());
        ObjectName { database, name: name.name.clone() }
    }

    fn table(&mut self, name: &ObjectName) -> usize {
        let name = self.full(name);
        if let Some(known) = self.tables.get(&name) {
            return *known;
        }
        let context = self.context_number(Quoting::default());
        let number = self.inventory.tables.len();
        let entry = TableEntry { name: name.clone(), create: None, context, runs: Vec::new() };
        self.inventory.tables.push(entry);
        self.tables.insert(name, number);
        number
    }

    fn rows(&mut self, table: usize, statement: &Statement<'_>) -> Result<Taken, InventoryError> {
        if !statement.is_plain {
            return Err(InventoryError::Delimiter);
        }
        let context = self.context_number(statement.quoting);
        let open = self.open.replace(table);
        let Some(entry) = self.inventory.tables.get_mut(table) else { return Ok(Taken::Other) };
        let length = statement.end - statement.offset;
        if let Some(run) = entry.runs.last_mut()
            && open == Some(table)
            && run.context == context
            && run.length < CHUNK_BYTES
        {
            run.length = statement.end - run.offset;
            run.statements += 1;
            run.longest = run.longest.max(length);
            return Ok(Taken::Rows(table));
        }
        entry.runs.push(Run { offset: statement.offset, length, statements: 1, longest: length, context });
        Ok(Taken::Rows(table))
    }

    /// The number of the session as it is now.
    fn context_number(&mut self, quoting: Quoting) -> usize {
        let current = self.inventory.contexts.get(self.context);
        if !self.is_context_stale && current.is_some_and(|current| current.quoting == quoting) {
            return self.context;
        }
        let now = SessionContext { context: self.variables.context(), quoting };
        let known = self.inventory.contexts.iter().position(|known| *known == now);
        self.context = known.unwrap_or_else(|| {
            self.inventory.contexts.push(now);
            self.inventory.contexts.len() - 1
        });
        self.is_context_stale = false;
        self.context
    }

    fn text(&mut self, text: &[u8]) -> Result<SqlText, InventoryError> {
        self.definitions_bytes = self.definitions_bytes.saturating_add(text.len());
        if self.definitions_bytes > DEFINITIONS_BYTES_MAX {
            return Err(InventoryError::TooMany);
        }
        Ok(SqlText::new(text))
    }

    fn make_database(&mut self, name: &str, text: &[u8]) -> Result<Taken, InventoryError> {
        let create = self.text(text)?;
        let known = self.inventory.databases.iter().position(|known| known.name == name);
        Ok(Taken::Database(known.unwrap_or_else(|| {
            self.inventory.databases.push(DatabaseEntry { name: name.to_owned(), create });
            self.inventory.databases.len() - 1
        })))
    }

    fn make_table(&mut self, name: &ObjectName, statement: &Statement<'_>) -> Result<Taken, InventoryError> {
        let create = self.text(statement.text)?;
        let context = self.context_number(statement.quoting);
        let table = self.table(name);
        if let Some(entry) = self.inventory.tables.get_mut(table) {
            entry.create = Some(create);
            entry.context = context;
        }
        Ok(Taken::Create(table))
    }

    fn make_object(
        &mut self,
        kind: ObjectKind,
        name: &ObjectName,
        table: Option<&ObjectName>,
        statement: &Statement<'_>,
    ) -> Result<Taken, InventoryError> {
        let create = self.text(statement.text)?;
        let context = self.context_number(statement.quoting);
        let name = self.full(name);
        if kind == ObjectKind::View {
            self.take_over(&name);
        }
        let table = table.map(|table| table.name.clone());
        let entry = ObjectEntry { kind, name, table, create, values: Vec::new(), context };
        // A view is first made as a stand-in, a package's body after its head.
        let known =
            self.inventory.objects.iter_mut().position(|known| {
                known.kind == kind && known.name == entry.name && kind != ObjectKind::Package
            });
        let number = known.unwrap_or(self.inventory.objects.len());
        match self.inventory.objects.get_mut(number) {
            Some(known) => *known = entry,
            None => self.inventory.objects.push(entry),
        }
        Ok(Taken::Object(number))
    }

    /// A table without rows that has a view's name only stood in for it.
    fn take_over(&mut self, name: &ObjectName) {
        let number = self.tables.get(name).copied();
        let table = number.and_then(|number| self.inventory.tables.get_mut(number));
        if let Some(table) = table.filter(|table| table.runs.is_empty()) {
            // Its number stays taken until the end.
            table.create = None;
        }
    }

    fn sequence_value(&mut self, name: &ObjectName, text: &[u8]) -> Result<(), InventoryError> {
        let value = self.text(text)?;
        let name = self.full(name);
        let is_it = |known: &&mut ObjectEntry| known.kind == ObjectKind::Sequence && known.name == name;
        match self.inventory.objects.iter_mut().find(is_it) {
            Some(sequence) => sequence.values.push(value),
            None => self.pass(&StatementKind::SequenceValue(name)),
        }
        Ok(())
    }
}
