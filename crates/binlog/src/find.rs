//! The event that did it: DDL on a table, a mass DELETE or UPDATE, a row with certain values.

use std::ops::ControlFlow;

use serde::Serialize;

use crate::error::DecodeError;
use crate::predicate::Predicate;
use crate::query::Query;
use crate::rows::{Rows, Verb};
use crate::schema::{Names, Schema};
use crate::select::Select;
use crate::statement::{Action, Effect, effect};
use crate::table::Table;
use crate::transaction::{Step, Tracker, Transaction, shortened};
use crate::walk::{Item, Used};

/// Letters of a statement that are shown.
const STATEMENT_LETTERS: usize = 500;

/// What to look for.
#[derive(Clone, Debug)]
pub struct FindOptions {
    /// Where.
    pub select: Select,
    /// What was done.
    pub actions: Vec<Action>,
    /// Rows of one table that a transaction has to change in one way.
    pub rows_min: u64,
    /// What the rows have to be, before or after.
    pub predicate: Option<Predicate>,
    /// Names of columns, where the log has none.
    pub schema: Option<Schema>,
}

/// What was found. To undo it by going back in time, stop before `position`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Its log.
    pub file: String,
    /// Where its transaction begins, in bytes.
    pub position: u64,
    /// Where its transaction ends, in bytes.
    pub end_position: u64,
    /// Where the first matching event begins; that of the whole where the transaction is compressed.
    pub event_position: u64,
    /// Its GTID.
    pub gtid: Option<String>,
    /// When, in seconds since 1970.
    pub seconds: u32,
    /// The server it first ran on.
    pub server_id: u32,
    /// The connection, if logged.
    pub thread_id: Option<u32>,
    /// What was done.
    pub action: Action,
    /// To which tables, or to which whole database.
    pub tables: Vec<String>,
    /// How many rows; none for statements.
    pub rows: Option<u64>,
    /// The statement, or the first one of them, if logged.
    pub statement: Option<String>,
}

/// Rows of one table that the running transaction changed in one way.
#[derive(Debug)]
struct Heap {
    slot: usize,
    action: Action,
    table: String,
    rows: u64,
    offset: u64,
    seconds: u32,
    statement: Option<String>,
}

/// Looks at events as they come.
#[derive(Debug)]
pub struct Finder {
    options: FindOptions,
    tracker: Tracker,
    file: String,
    is_first_log: bool,
    is_last_log: bool,
    heaps: Vec<Heap>,
    statements: Vec<Match>,
    last_statement: Option<String>,
    names: Names,
}

const fn action(verb: Verb) -> Action {
    match verb {
        Verb::Insert => Action::Insert,
        Verb::Update => Action::Update,
        Verb::Delete => Action::Delete,
    }
}

impl Finder {
    /// Nothing found yet.
    #[must_use]
    pub fn new(options: FindOptions) -> Self {
        Self {
            options,
            tracker: Tracker::default(),
            file: String::new(),
            is_first_log: false,
            is_last_log: false,
            heaps: Vec::new(),
            statements: Vec::new(),
            last_statement: None,
            names: Names::default(),
        }
    }

    /// The next events are of this log, which may be the first or last one.
    pub fn begin_log(&mut self, name: &str, is_first: bool, is_last: bool) {
        name.clone_into(&mut self.file);
        self.is_first_log = is_first;
        self.is_last_log = is_last;
    }

    /// Columns in the condition that tables with changed rows do not have by name, with the tables.
    #[must_use]
    pub fn unknown_columns(&self) -> &[String] {
        &self.names.unknown
    }

    /// Looks at an event. What is found is given out when its transaction ends.
    ///
    /// # Errors
    /// When the event's content is not what its type says.
    pub fn see(&mut self, item: &Item<'_>, found: &mut impl FnMut(Match)) -> Used {
        let (step, ends) = self.tracker.see(item)?;
        match step {
            Step::Begins => self.clear(),
            Step::Rows(rows, table) => self.rows(item, &rows, table)?,
            Step::RowsStatement(text) => self.last_statement = Some(shortened(text, STATEMENT_LETTERS)),
            Step::Statement(query) => self.statement(item, &query),
            Step::Outside | Step::Inside => {}
        }
        if ends && let Some(transaction) = self.tracker.take() {
            self.give(&transaction, found);
            self.clear();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The last log has been read: gives out what a transaction without an end did.
    pub fn finish(mut self, found: &mut impl FnMut(Match)) {
        if let Some(transaction) = self.tracker.take() {
            self.give(&transaction, found);
        }
    }

    fn clear(&mut self) {
        self.heaps.clear();
        self.statements.clear();
        self.last_statement = None;
    }

    fn rows(&mut self, item: &Item<'_>, rows: &Rows<'_>, table: &Table) -> Result<(), DecodeError> {
        let action = action(rows.verb);
        let options = &self.options;
        if !options.actions.contains(&action) || !options.select.has_table(&table.database, &table.name) {
            return Ok(());
        }
        let count = match &options.predicate {
            None => rows.count(table)?,
            Some(predicate) => {
                let named = self.names.of(table, options.schema.as_ref(), predicate);
                let named = named.as_deref().unwrap_or(table);
                let mut count = 0;
                for row in rows.decode(table)? {
                    let row = row?;
                    let holds =
                        |image: &Option<_>| image.as_ref().is_some_and(|it| predicate.holds(named, it));
                    count += u64::from(holds(&row.before) || holds(&row.after));
                }
                count
            }
        };
        if count == 0 {
            return Ok(());
        }
        match self.heaps.iter_mut().find(|heap| heap.slot == table.slot && heap.action == action) {
            Some(heap) => heap.rows += count,
            None => self.heaps.push(Heap {
                slot: table.slot,
                action,
                table: format!("{}.{}", table.database, table.name),
                rows: count,
                offset: item.offset,
                seconds: item.header.timestamp_seconds,
                statement: self.last_statement.clone(),
            }),
        }
        Ok(())
    }

    fn statement(&mut self, item: &Item<'_>, query: &Query<'_>) {
        let text = query.text();
        let database = String::from_utf8_lossy(&query.database);
        let Effect { action, tables, database: whole } = effect(&text, &database);
        let select = &self.options.select;
        let is_meant = tables.iter().any(|(database, table)| select.has_table(database, table))
            || whole.as_ref().is_some_and(|whole| select.has_database(whole))
            || select.tables.is_empty();
        // A condition on values cannot be judged for a statement: it is shown only where there is none.
        if !is_meant || !self.options.actions.contains(&action) || self.options.predicate.is_some() {
            return;
        }
        let mut named: Vec<String> =
            tables.iter().map(|(database, table)| format!("{database}.{table}")).collect();
        named.extend(whole.map(|whole| format!("{whole}.*")));
        self.statements.push(Match {
            file: self.file.clone(),
            position: 0,
            end_position: 0,
            event_position: item.offset,
            gtid: None,
            seconds: item.header.timestamp_seconds,
            server_id: item.header.server_id,
            thread_id: Some(query.thread_id).filter(|id| *id != 0),
            action,
            tables: named,
            rows: None,
            statement: Some(shortened(&query.statement, STATEMENT_LETTERS)),
        });
    }

    fn give(&mut self, transaction: &Transaction, found: &mut impl FnMut(Match)) {
        if !self.options.select.has_transaction(transaction, self.is_first_log, self.is_last_log) {
            return;
        }
        let gtid = transaction.gtid.as_ref().map(ToString::to_string);
        let (position, end_position) = (transaction.offset, transaction.end);
        for statement in self.statements.drain(..) {
            let thread_id = statement.thread_id.or(transaction.thread_id);
            found(Match { position, end_position, gtid: gtid.clone(), thread_id, ..statement });
        }
        for heap in self.heaps.drain(..).filter(|heap| heap.rows >= self.options.rows_min) {
            found(Match {
                file: self.file.clone(),
                position,
                end_position,
                event_position: heap.offset,
                gtid: gtid.clone(),
                seconds: heap.seconds,
                server_id: transaction.server_id,
                thread_id: transaction.thread_id,
                action: heap.action,
                tables: vec![heap.table],
                rows: Some(heap.rows),
                statement: heap.statement,
            });
        }
    }
}
