//! Binary logs of both vendors over bytes: events, rows, values; what changed, who did it, and how to undo it.
//!
//! It is pure: it opens no file, asks no server and knows no clock. Bytes come in as a [`std::io::Read`], and
//! everything in them is distrusted.
//!
//! # Reading events and rows
//!
//! [`walk`] gives every event of a log to a closure, transactions unpacked and table maps kept, in memory that does
//! not grow with the log. An [`Item`] says where the event is; [`Item::rows`] gives a rows event with its [`Table`],
//! and [`Rows::decode`] is an iterator over its rows, each with its image before and after. [`Tracker`] says which
//! transaction an event belongs to and when that ends. Logs that follow each other share one [`Tables`] and one
//! [`Tracker`]. To fold what happened to each row into its last state, by primary key:
//!
//! ```
//! use std::collections::HashMap;
//! use std::ops::ControlFlow;
//! use binlog::{Image, ReadError, ReadOptions, Step, Table, Tables, Tracker, walk};
//!
//! fn key(table: &Table, image: &Image<'_>) -> Vec<String> {
//!     let columns = table.primary_key.iter().flatten();
//!     columns.filter_map(|at| image.get(*at)?.as_ref()).map(|value| value.shown()).collect()
//! }
//!
//! fn last_state(log: impl std::io::Read) -> Result<HashMap<Vec<String>, Option<Vec<String>>>, ReadError> {
//!     let (mut tables, mut tracker) = (Tables::default(), Tracker::default());
//!     let (mut open, mut state) = (Vec::new(), HashMap::new());
//!     walk(log, ReadOptions::default(), &mut tables, |item| {
//!         let (step, ends) = tracker.see(item)?;
//!         match step {
//!             Step::Begins => open.clear(),
//!             Step::Rows(rows, table) => {
//!                 for row in rows.decode(table)? {
//!                     let row = row?;
//!                     let shown = |image: &Image<'_>| image.iter().flatten().map(|it| it.shown()).collect();
//!                     open.extend(row.before.as_ref().map(|image| (key(table, image), None)));
//!                     open.extend(row.whole_after().as_ref().map(|image| (key(table, image), Some(shown(image)))));
//!                 }
//!             }
//!             _ => {}
//!         }
//!         if ends && tracker.take().is_some_and(|transaction| !transaction.is_rolled_back) {
//!             state.extend(open.drain(..));
//!         }
//!         Ok(ControlFlow::Continue(()))
//!     })?;
//!     Ok(state)
//! }
//! ```

mod bytes;
mod compress;
mod decimal;
mod error;
mod event;
mod find;
mod fold;
mod frames;
mod gtid;
mod header;
mod json;
mod json_diff;
mod kind;
mod literal;
mod place;
mod plain;
mod predicate;
mod query;
mod replay;
mod rows;
mod schema;
mod script;
mod select;
mod settings;
mod shape;
mod single;
mod sql;
mod statement;
mod stats;
mod table;
mod tables;
mod temporal;
mod transaction;
mod value;
mod walk;

pub use error::{Damage, DamageReason, DecodeError, ReadError};
pub use event::Event;
pub use find::{FindOptions, Finder, Match};
pub use fold::{Fold, FoldOptions, Statements, Stop};
pub use frames::{Damages, OnDamage, ReadOptions};
pub use gtid::{Gtid, Start, Xid};
pub use header::{Format, Header};
pub use json::Json;
pub use json_diff::{DiffAction, JsonDiff, apply};
pub use kind::EventKind;
pub use place::Place;
pub use plain::{Plain, plain};
pub use predicate::{Predicate, PredicateError};
pub use query::{Query, Session};
pub use replay::{Obstacle, Piece, Replay, ReplayOptions, Taker};
pub use rows::{Decoded, Image, Row, Rows, Verb};
pub use schema::{Schema, SchemaColumn};
pub use script::{ForwardScript, Kept, Layout, Undo, UndoScript};
pub use select::{GtidChoice, Select, SelectError, TablePattern};
pub use settings::Settings;
pub use shape::Shape;
pub use single::Single;
pub use sql::{Direction, SESSION, SqlError, statement};
pub use statement::{Action, Effect, effect};
pub use stats::{
    Bucket, Ddl, FileStats, KindStats, Part, RowsPerTransaction, ServerStats, Stats, StatsOptions,
    StatsReport, TableStats, ThreadStats, Timeline, TopTransaction, Tops, Totals,
};
pub use table::{Column, ColumnType, Table};
pub use tables::Tables;
pub use temporal::{Date, DateTime, Time, Timestamp, utc};
pub use transaction::{Extent, Step, Tracker, Transaction, shortened};
pub use value::Value;
pub use walk::{Item, Stopped, Used, Walked, walk, walk_part};
