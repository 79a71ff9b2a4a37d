//! [`Sequence`]: every change of a table without primary key, in order, as a statement that changes one row.

use binlog::{Direction, Item, Schema, Shape, Step, Tracker, statement};

/// Changes in order. What is of a transaction without an end did not happen.
#[derive(Debug)]
pub(crate) struct Sequence {
    table: (String, String),
    into: String,
    schema: Schema,
    tracker: Tracker,
    pending: Vec<String>,
    /// Statements of whole transactions.
    pub(crate) statements: Vec<String>,
}

impl Sequence {
    /// Nothing read yet. `into` is the table to write to, quoted.
    pub(crate) fn new(table: (String, String), into: String, schema: Schema) -> Self {
        let (tracker, pending, statements) = (Tracker::default(), Vec::new(), Vec::new());
        Self { table, into, schema, tracker, pending, statements }
    }

    /// Takes an event in, and says what cannot be replayed.
    pub(crate) fn see(&mut self, item: &Item<'_>) -> Result<Option<String>, binlog::DecodeError> {
        let (step, ends) = self.tracker.see(item)?;
        match step {
            Step::Begins => self.pending.clear(),
            Step::Rows(rows, table) if (&table.database, &table.name) == (&self.table.0, &self.table.1) => {
                let shape = match Shape::new(table, Some(&self.schema)) {
                    Ok(shape) => shape,
                    Err(error) => return Ok(Some(error.to_string())),
                };
                for row in rows.decode(table)? {
                    match statement(&shape, rows.verb, &row?, Direction::Forward) {
                        Ok(Some(text)) => self.pending.push(self.aimed(&text)),
                        Ok(None) => {}
                        Err(error) => return Ok(Some(error.to_string())),
                    }
                }
            }
            Step::Rows(..) | Step::Outside | Step::Inside | Step::Statement(_) | Step::RowsStatement(_) => {}
        }
        if ends && self.tracker.take().is_some() {
            self.statements.append(&mut self.pending);
        }
        Ok(None)
    }

    /// The statement for the table that is made: the first name in it is the table's.
    fn aimed(&self, text: &str) -> String {
        let (database, table) = &self.table;
        match (sqltext::quote_ident(database), sqltext::quote_ident(table)) {
            (Ok(database), Ok(table)) => text.replacen(&format!("{database}.{table}"), &self.into, 1),
            (_, _) => text.to_owned(),
        }
    }
}
