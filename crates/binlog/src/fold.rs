//! One table's changes folded by primary key: each row is written once, as the last change left it.
//!
//! What a row was in between does not matter to whoever wants the end: a row put in and taken out again is nothing, one
//! changed a hundred times is one statement. It needs a key and whole rows (`binlog_row_image=FULL`), and knows no
//! structure but the first: DDL on the table is an obstacle, named with its event. It sends nothing to a server.
//!
//! Memory is bounded by passes: the same logs are read several times, each pass keeping the keys of one share. A pass
//! that would not fit says so, and how many would do.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::error::DecodeError;
use crate::literal::{condition, literal};
use crate::replay::Obstacle;
use crate::rows::{Image, Row, Rows};
use crate::schema::Schema;
use crate::select::Select;
use crate::shape::Shape;
use crate::sql::SqlError;
use crate::statement::{Action, effect};
use crate::table::Table;
use crate::transaction::{Step, Tracker, shortened};
use crate::walk::{Item, Used};

const STATEMENT_LETTERS: usize = 200;
/// What a row costs beside its text: the map's slot and the strings' own.
const ROW_BYTES: usize = 96;

/// What to fold.
#[derive(Debug)]
pub struct FoldOptions {
    /// The table's database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The table to write to, quoted, where it is another one.
    pub into: Option<String>,
    /// Which transactions.
    pub select: Select,
    /// What the log does not tell of the table.
    pub schema: Option<Schema>,
    /// In how many passes the logs are read.
    pub passes: u32,
    /// Which one this is, from 0.
    pub pass: u32,
    /// How much may be kept, in bytes.
    pub memory_bytes: usize,
}

/// Why folding ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something in the log cannot be folded.
    Obstacle(Obstacle),
    /// The rows of this pass do not fit.
    TooLarge {
        /// As many passes would, if keys are spread evenly over the logs.
        passes: u32,
    },
}

/// What became of a row.
#[derive(Debug)]
struct Folded {
    /// Whether it was there before the first change.
    was_there: bool,
    /// Its values as a list of literals; none once it is gone.
    values: Option<String>,
}

/// A change of a transaction that has not ended yet.
#[derive(Debug)]
enum Change {
    /// It has these values; `is_new`: and was not there before.
    Put { key: String, values: String, is_new: bool },
    /// It is gone.
    Remove { key: String },
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, values, .. } => key.len() + values.len() + ROW_BYTES,
            Self::Remove { key } => key.len() + ROW_BYTES,
        }
    }
}

/// Follows logs and keeps what one table's rows came to.
#[derive(Debug)]
pub struct Fold {
    options: FoldOptions,
    tracker: Tracker,
    file: String,
    is_first_log: bool,
    is_last_log: bool,
    /// With the number of the table map it was made of, in this log.
    shape: Option<(Option<u64>, Shape)>,
    rows: HashMap<String, Folded>,
    pending: Vec<Change>,
    bytes: usize,
    changes: u64,
    stop: Option<Stop>,
}

impl Fold {
    /// Nothing read yet.
    #[must_use]
    pub fn new(options: FoldOptions) -> Self {
        Self {
            options,
            tracker: Tracker::default(),
            file: String::new(),
            is_first_log: false,
            is_last_log: false,
            shape: None,
            rows: HashMap::new(),
            pending: Vec::new(),
            bytes: 0,
            changes: 0,
            stop: None,
        }
    }

    /// The next events are of this log, which may be the first or last one.
    pub fn begin_log(&mut self, name: &str, is_first: bool, is_last: bool) {
        name.clone_into(&mut self.file);
        self.is_first_log = is_first;
        self.is_last_log = is_last;
        // Table maps are numbered anew in each log.
        if let Some((version, _)) = &mut self.shape {
            *version = None;
        }
    }

    /// Why it ended early; none while it goes well.
    #[must_use]
    pub const fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Changes of rows seen in this pass.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Looks at an event. Breaks off once [`Fold::stopped`] says why.
    ///
    /// # Errors
    /// When its content is not what its type says.
    pub fn see(&mut self, item: &Item<'_>) -> Used {
        let (step, ends) = self.tracker.see(item)?;
        match step {
            // What is pending has no end in the logs: it did not happen.
            Step::Begins => self.forget_pending(),
            Step::Rows(rows, table) => self.rows(item, &rows, table)?,
            Step::Statement(query) => {
                let text = query.text();
                self.statement(item, &text, &String::from_utf8_lossy(&query.database));
            }
            Step::RowsStatement(_) | Step::Outside | Step::Inside => {}
        }
        if ends && self.tracker.take().is_some() {
            for change in std::mem::take(&mut self.pending) {
                self.bytes = self.bytes.saturating_sub(change.bytes());
                self.fold(change);
            }
        }
        if self.stop.is_none() && self.bytes > self.options.memory_bytes {
            self.stop = Some(Stop::TooLarge { passes: self.options.passes.saturating_mul(2) });
        }
        Ok(if self.stop.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn forget_pending(&mut self) {
        let bytes: usize = self.pending.drain(..).map(|change| change.bytes()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_meant(&self) -> bool {
        self.tracker.current().is_some_and(|transaction| {
            self.options.select.has_transaction(transaction, self.is_first_log, self.is_last_log)
        })
    }

    fn is_table(&self, database: &str, table: &str) -> bool {
        self.options.database == database && self.options.table == table
    }

    fn obstacle(&mut self, item: &Item<'_>, problem: String) {
        let transaction = self.tracker.current();
        let obstacle = Obstacle {
            file: self.file.clone(),
            position: transaction.map_or(item.offset, |transaction| transaction.offset),
            gtid: transaction.and_then(|transaction| transaction.gtid.as_ref()).map(ToString::to_string),
            problem,
        };
        self.stop.get_or_insert(Stop::Obstacle(obstacle));
    }

    fn statement(&mut self, item: &Item<'_>, text: &str, database: &str) {
        let effect = effect(text, database);
        let is_about_rows = match effect.action {
            Action::Grant | Action::Other => false,
            Action::Create
            | Action::Alter
            | Action::Rename
            | Action::Drop
            | Action::Truncate
            | Action::Insert
            | Action::Update
            | Action::Delete
            | Action::Load => true,
        };
        let names_it = effect.tables.iter().any(|(database, table)| self.is_table(database, table))
            || effect.database.as_deref() == Some(&self.options.database);
        if is_about_rows && names_it && self.is_meant() {
            let shown = shortened(text.as_bytes(), STATEMENT_LETTERS);
            self.obstacle(item, format!("this statement cannot be folded: {shown}"));
        }
    }

    fn rows(&mut self, item: &Item<'_>, rows: &Rows<'_>, table: &Table) -> Result<(), DecodeError> {
        if !self.is_table(&table.database, &table.name) || !self.is_meant() || self.stop.is_some() {
            return Ok(());
        }
        if let Err(problem) = self.know(table) {
            self.obstacle(item, problem);
            return Ok(());
        }
        for row in rows.decode(table)? {
            let row = row?;
            let Some((_, shape)) = &self.shape else { return Ok(()) };
            let share = Share { passes: self.options.passes, pass: self.options.pass };
            match changes(shape, &row, share) {
                Ok(changes) => {
                    for change in changes {
                        self.bytes += change.bytes();
                        self.changes += 1;
                        self.pending.push(change);
                    }
                }
                Err(error) => {
                    let problem = with_source(&error);
                    self.obstacle(item, problem);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Learns the table's structure, or makes sure that it still is the same.
    fn know(&mut self, table: &Table) -> Result<(), String> {
        if self.shape.as_ref().is_some_and(|(version, _)| *version == Some(table.version)) {
            return Ok(());
        }
        let shown = format!("{}.{}", table.database, table.name);
        let mut shape =
            Shape::new(table, self.options.schema.as_ref()).map_err(|error| with_source(&error))?;
        if !shape.has_key {
            return Err(format!("{shown} has no primary key, by which its rows could be folded"));
        }
        if let Some(into) = &self.options.into {
            shape.name.clone_from(into);
        }
        if self.shape.as_ref().is_some_and(|(_, known)| *known != shape) {
            return Err(format!("the columns of {shown} are others from here on"));
        }
        self.shape = Some((Some(table.version), shape));
        Ok(())
    }

    fn fold(&mut self, change: Change) {
        let (key, values, is_new) = match change {
            Change::Put { key, values, is_new } => (key, Some(values), is_new),
            Change::Remove { key } => (key, None, false),
        };
        let new_bytes = values.as_ref().map_or(0, String::len);
        let Some(folded) = self.rows.get_mut(&key) else {
            self.bytes += key.len() + ROW_BYTES + new_bytes;
            self.rows.insert(key, Folded { was_there: !is_new, values });
            return;
        };
        let old_bytes = folded.values.as_ref().map_or(0, String::len);
        self.bytes = self.bytes.saturating_sub(old_bytes) + new_bytes;
        folded.values = values;
        if !folded.was_there && folded.values.is_none() {
            // Put in and taken out again.
            self.bytes = self.bytes.saturating_sub(key.len() + ROW_BYTES);
            self.rows.remove(&key);
        }
    }

    /// The statements of this pass, none much longer than `statement_bytes`: first those that take rows out, so that
    /// what is put in meets no unique value that is to go. For sessions as [`crate::SESSION`] makes them, with
    /// `foreign_key_checks` off.
    #[must_use]
    pub fn statements(self, statement_bytes: usize) -> Statements {
        let (mut removed, mut put) = (Vec::new(), Vec::new());
        for (key, folded) in self.rows {
            match folded.values {
                Some(values) => put.push(values),
                None => removed.push(key),
            }
        }
        // The same logs give the same script.
        removed.sort_unstable();
        put.sort_unstable();
        let (name, columns) = self.shape.map_or_else(Default::default, |(_, shape)| {
            let stored = shape.columns.iter().filter(|column| !column.is_generated);
            let names: Vec<&str> = stored.map(|column| column.name.as_str()).collect();
            let columns = names.join(",");
            (shape.name, columns)
        });
        Statements { name, columns, removed: removed.into_iter(), put: put.into_iter(), statement_bytes }
    }
}

/// The statements that a fold comes to, one after the other.
#[derive(Debug)]
pub struct Statements {
    name: String,
    columns: String,
    removed: std::vec::IntoIter<String>,
    put: std::vec::IntoIter<String>,
    statement_bytes: usize,
}

impl Statements {
    /// Rows that are left to be written.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.removed.len() + self.put.len()
    }
}

impl Iterator for Statements {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let (head, mut text, separator, rows) = if self.removed.len() > 0 {
            let head = format!("DELETE FROM {} WHERE ", self.name);
            (head.len(), head, " OR ", &mut self.removed)
        } else {
            let head = format!("REPLACE INTO {} ({}) VALUES ", self.name, self.columns);
            (head.len(), head, ",", &mut self.put)
        };
        while text.len() < self.statement_bytes.max(head + 1) {
            let Some(row) = rows.next() else { break };
            if text.len() > head {
                text.push_str(separator);
            }
            text.push('(');
            text.push_str(&row);
            text.push(')');
        }
        (text.len() > head).then_some(text)
    }
}

/// The keys that a pass is for.
#[derive(Clone, Copy)]
struct Share {
    passes: u32,
    pass: u32,
}

impl Share {
    fn has(self, key: &str) -> bool {
        self.passes <= 1 || crc32fast::hash(key.as_bytes()) % self.passes == self.pass
    }
}

/// What a changed row is to the keys of a pass.
fn changes(shape: &Shape, row: &Row<'_>, share: Share) -> Result<Vec<Change>, SqlError> {
    let key = |image: &Option<Image<'_>>| image.as_ref().map(|image| key(shape, image)).transpose();
    let before = key(&row.before)?;
    let after_image = row.whole_after();
    let after = key(&after_image)?;
    let mut changes = Vec::new();
    let is_same_row = before == after;
    if let Some(key) = before.filter(|key| !is_same_row && share.has(key)) {
        changes.push(Change::Remove { key });
    }
    if let (Some(key), Some(image)) = (after.filter(|key| share.has(key)), &after_image) {
        changes.push(Change::Put { key, values: values(shape, image)?, is_new: !is_same_row });
    }
    Ok(changes)
}

/// The condition that holds for a row's key alone, which is what rows are told apart by.
fn key(shape: &Shape, image: &Image<'_>) -> Result<String, SqlError> {
    let mut text = String::new();
    for (column, value) in shape.columns.iter().zip(image).filter(|(column, _)| column.is_key) {
        let value = value.as_ref().ok_or(SqlError::Incomplete { what: "its key is not logged" })?;
        if !text.is_empty() {
            text.push_str(" AND ");
        }
        text.push_str(&condition(value, column, true)?);
    }
    Ok(text)
}

fn values(shape: &Shape, image: &Image<'_>) -> Result<String, SqlError> {
    let mut text = String::new();
    for (column, value) in shape.columns.iter().zip(image).filter(|(column, _)| !column.is_generated) {
        let value = value.as_ref().ok_or(SqlError::Incomplete {
            what: "only some of its columns are logged (binlog_row_image is not FULL)",
        })?;
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&literal(value, column)?);
    }
    Ok(text)
}

fn with_source(error: &SqlError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}
