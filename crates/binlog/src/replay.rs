//! A log's changes as SQL, transaction by transaction: forwards as they come, or row by row for being undone.
//!
//! It writes no file and knows no script's layout: pieces are given out as they are met.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::error::DecodeError;
use crate::event::Event;
use crate::kind::EventKind;
use crate::predicate::Predicate;
use crate::query::Query;
use crate::rows::{Rows, Verb};
use crate::schema::{Names, Schema};
use crate::select::Select;
use crate::settings::Settings;
use crate::shape::Shape;
use crate::sql::{Direction, SqlError, statement};
use crate::statement::{Action, Effect, effect};
use crate::table::Table;
use crate::transaction::{Step, Tracker, Transaction, shortened};
use crate::walk::{Item, Used};

/// Tables kept ready for writing.
const SHAPES_MAX: usize = 1024;
const STATEMENT_LETTERS: usize = 200;

/// What to write.
#[derive(Debug, Default)]
pub struct ReplayOptions {
    /// Which transactions and tables.
    pub select: Select,
    /// Only these changes; all if empty.
    pub verbs: Vec<Verb>,
    /// Only rows that are so, before or after.
    pub predicate: Option<Predicate>,
    /// What the log does not tell of tables.
    pub schema: Option<Schema>,
}

/// A part of what was asked for.
#[derive(Debug)]
pub enum Piece<'p> {
    /// A transaction with something in it begins.
    Begin(&'p Transaction),
    /// One row's statement.
    Row {
        /// Without a semicolon.
        sql: &'p str,
        /// What happened to the row.
        verb: Verb,
        /// Its table, for people.
        table: &'p str,
        /// Where its event begins, in bytes.
        offset: u64,
        /// Where its event ends, in bytes.
        end: u64,
        /// When, in seconds since 1970.
        seconds: u32,
        /// Whether the session had `foreign_key_checks` off.
        skips_foreign_keys: bool,
    },
    /// A statement that was logged as text.
    Statement {
        /// It.
        query: &'p Query<'p>,
        /// What it does.
        action: Action,
        /// What it needs of its session.
        settings: &'p Settings,
        /// Whether it runs in its default database: one that makes or removes a whole database does not.
        uses_database: bool,
        /// Where its event begins, in bytes.
        offset: u64,
        /// Where its event ends, in bytes.
        end: u64,
        /// When, in seconds since 1970.
        seconds: u32,
    },
    /// The statement that the next rows come from, if logged.
    Comment(&'p str),
    /// The transaction ends.
    End(&'p Transaction),
    /// The transaction has no end in the logs: it did not happen.
    Abandoned,
}

/// What cannot be written, or not be undone.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Obstacle {
    /// Its log.
    pub file: String,
    /// Where its transaction begins, in bytes.
    pub position: u64,
    /// Its GTID.
    pub gtid: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gtid = self.gtid.as_deref().map(|gtid| format!(" ({gtid})")).unwrap_or_default();
        write!(f, "{}:{}{gtid}: {}", self.file, self.position, self.problem)
    }
}

/// Follows a log and gives out pieces.
#[derive(Debug)]
pub struct Replay {
    options: ReplayOptions,
    direction: Direction,
    tracker: Tracker,
    file: String,
    is_first_log: bool,
    is_last_log: bool,
    shapes: HashMap<u64, Result<Shape, SqlError>>,
    /// Whether the running transaction has given something out.
    is_begun: bool,
    comment: Option<String>,
    /// For the next statement.
    settings: Settings,
    names: Names,
}

/// What pieces and obstacles are given to. `false` from either ends the reading.
pub trait Taker {
    /// Takes a piece.
    fn piece(&mut self, piece: &Piece<'_>) -> bool;
    /// Takes an obstacle.
    fn obstacle(&mut self, obstacle: Obstacle) -> bool;
}

impl Replay {
    /// Nothing read yet.
    #[must_use]
    pub fn new(options: ReplayOptions, direction: Direction) -> Self {
        Self {
            options,
            direction,
            tracker: Tracker::default(),
            file: String::new(),
            is_first_log: false,
            is_last_log: false,
            shapes: HashMap::new(),
            is_begun: false,
            comment: None,
            settings: Settings::default(),
            names: Names::default(),
        }
    }

    /// Columns in the condition that tables with changed rows do not have by name, with the tables: none of their
    /// rows were chosen.
    #[must_use]
    pub fn unknown_columns(&self) -> &[String] {
        &self.names.unknown
    }

    /// The next events are of this log, which may be the first or last one.
    pub fn begin_log(&mut self, name: &str, is_first: bool, is_last: bool) {
        name.clone_into(&mut self.file);
        self.is_first_log = is_first;
        self.is_last_log = is_last;
    }

    /// The last log has been read.
    pub fn finish(&mut self, taker: &mut impl Taker) {
        if self.is_begun {
            taker.piece(&Piece::Abandoned);
        }
        self.is_begun = false;
    }

    /// Looks at an event.
    ///
    /// # Errors
    /// When its content is not what its type says.
    pub fn see(&mut self, item: &Item<'_>, taker: &mut impl Taker) -> Used {
        let (step, ends) = self.tracker.see(item)?;
        self.settings.see(item)?;
        let goes_on = match step {
            Step::Begins => {
                self.settings = Settings::default();
                let goes_on = !self.is_begun || taker.piece(&Piece::Abandoned);
                self.is_begun = false;
                self.comment = None;
                goes_on
            }
            Step::Rows(rows, table) => self.rows(item, &rows, table, taker)?,
            Step::RowsStatement(text) => {
                self.comment = Some(shortened(text, STATEMENT_LETTERS));
                true
            }
            Step::Statement(query) => self.statement(item, &query, taker),
            Step::Outside | Step::Inside => true,
        };
        if !goes_on {
            return Ok(ControlFlow::Break(()));
        }
        if ends && let Some(transaction) = self.tracker.take() {
            return Ok(self.end(item, &transaction, taker));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, item: &Item<'_>, transaction: &Transaction, taker: &mut impl Taker) -> ControlFlow<()> {
        let was_begun = std::mem::take(&mut self.is_begun);
        self.comment = None;
        if !was_begun {
            return ControlFlow::Continue(());
        }
        let is_prepared = item.header.kind == EventKind::XA_PREPARE
            && !matches!(item.event(), Ok(Event::XaPrepare { is_one_phase: true, .. }));
        let problem = if is_prepared {
            Some("an XA transaction is prepared here; whether it was committed is decided elsewhere")
        } else if transaction.is_rolled_back {
            Some("it was rolled back, and only what it did to tables without transactions stayed")
        } else {
            None
        };
        let goes_on = match problem {
            None => taker.piece(&Piece::End(transaction)),
            Some(problem) => {
                taker.obstacle(self.obstacle(Some(transaction), item, problem.to_owned()))
                    && taker.piece(&Piece::Abandoned)
            }
        };
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn obstacle(&self, transaction: Option<&Transaction>, item: &Item<'_>, problem: String) -> Obstacle {
        let transaction = transaction.or(self.tracker.current());
        Obstacle {
            file: self.file.clone(),
            position: transaction.map_or(item.offset, |transaction| transaction.offset),
            gtid: transaction.and_then(|transaction| transaction.gtid.as_ref()).map(ToString::to_string),
            problem,
        }
    }

    fn is_meant(&self) -> bool {
        self.tracker.current().is_some_and(|transaction| {
            self.options.select.has_transaction(transaction, self.is_first_log, self.is_last_log)
        })
    }

    fn begin(&mut self, taker: &mut impl Taker) -> bool {
        if self.is_begun {
            return true;
        }
        self.is_begun = true;
        self.tracker.current().is_none_or(|transaction| taker.piece(&Piece::Begin(transaction)))
    }

    fn rows(
        &mut self,
        item: &Item<'_>,
        rows: &Rows<'_>,
        table: &Table,
        taker: &mut impl Taker,
    ) -> Result<bool, DecodeError> {
        let options = &self.options;
        let is_wanted = options.verbs.is_empty() || options.verbs.contains(&rows.verb);
        if !is_wanted || !options.select.has_table(&table.database, &table.name) || !self.is_meant() {
            return Ok(true);
        }
        let shown = format!("{}.{}", table.database, table.name);
        let named = options
            .predicate
            .as_ref()
            .and_then(|predicate| self.names.of(table, options.schema.as_ref(), predicate));
        let named = named.as_deref().unwrap_or(table);
        for row in rows.decode(table)? {
            let row = row?;
            if let Some(predicate) = &self.options.predicate {
                let holds = |image: &Option<_>| image.as_ref().is_some_and(|it| predicate.holds(named, it));
                if !holds(&row.before) && !holds(&row.after) {
                    continue;
                }
            }
            if !self.begin(taker) {
                return Ok(false);
            }
            if let Some(comment) = self.comment.take()
                && !taker.piece(&Piece::Comment(&comment))
            {
                return Ok(false);
            }
            let direction = self.direction;
            let written = match self.shape(table) {
                Ok(shape) => statement(shape, rows.verb, &row, direction),
                Err(error) => Err(error.clone()),
            };
            let goes_on = match written {
                Ok(None) => true,
                Ok(Some(sql)) => taker.piece(&Piece::Row {
                    sql: &sql,
                    verb: rows.verb,
                    table: &shown,
                    offset: item.offset,
                    end: item.end,
                    seconds: item.header.timestamp_seconds,
                    skips_foreign_keys: rows.skips_foreign_keys(),
                }),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                    let problem = format!("{shown}: {error}{}", source.unwrap_or_default());
                    taker.obstacle(self.obstacle(None, item, problem))
                }
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn shape(&mut self, table: &Table) -> Result<&Shape, &SqlError> {
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.clear();
        }
        let schema = self.options.schema.as_ref();
        self.shapes.entry(table.version).or_insert_with(|| Shape::new(table, schema)).as_ref()
    }

    fn statement(&mut self, item: &Item<'_>, query: &Query<'_>, taker: &mut impl Taker) -> bool {
        let settings = std::mem::take(&mut self.settings);
        let text = query.text();
        let database = String::from_utf8_lossy(&query.database);
        let effect = effect(&text, &database);
        let select = &self.options.select;
        let is_named = effect.tables.iter().any(|(database, table)| select.has_table(database, table))
            || effect.database.as_ref().is_some_and(|whole| select.has_database(whole))
            || select.tables.is_empty();
        if !is_named || !self.is_meant() {
            return true;
        }
        match self.direction {
            Direction::Forward => self.forward(item, query, &effect, settings, taker),
            Direction::Inverse => {
                let changes_rows = match effect.action {
                    Action::Alter
                    | Action::Rename
                    | Action::Drop
                    | Action::Truncate
                    | Action::Insert
                    | Action::Update
                    | Action::Delete
                    | Action::Load => true,
                    // What was not there before has no rows to go back to; accounts are no rows.
                    Action::Create | Action::Grant | Action::Other => false,
                };
                let shown = shortened(&query.statement, STATEMENT_LETTERS);
                !changes_rows
                    || taker.obstacle(self.obstacle(
                        None,
                        item,
                        format!("this statement cannot be undone: {shown}"),
                    ))
            }
        }
    }

    fn forward(
        &mut self,
        item: &Item<'_>,
        query: &Query<'_>,
        effect: &Effect,
        mut settings: Settings,
        taker: &mut impl Taker,
    ) -> bool {
        match query.session() {
            Ok(session) => settings.add(&session, &query.statement),
            Err(_) => settings.problem = Some("its session state cannot be read"),
        }
        if item.header.kind == EventKind::EXECUTE_LOAD_QUERY {
            settings.problem = Some("its rows come from a file that SQL cannot hold");
        }
        if let Some(problem) = settings.problem {
            let shown = shortened(&query.statement, STATEMENT_LETTERS);
            let problem = format!("this statement would not do the same again, as {problem}: {shown}");
            return taker.obstacle(self.obstacle(None, item, problem));
        }
        self.begin(taker)
            && taker.piece(&Piece::Statement {
                query,
                action: effect.action,
                settings: &settings,
                uses_database: effect.database.is_none(),
                offset: item.offset,
                end: item.end,
                seconds: item.header.timestamp_seconds,
            })
    }
}
