//! Binary logs of both vendors over bytes: events, rows, values; what changed, who did it, and how to undo it.
//!
//! It is pure: it opens no file, asks no server and knows no clock. Bytes come in as a [`std::io::Read`], and
//! everything in them is distrusted.

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
mod plain;
mod predicate;
mod query;
mod replay;
mod rows;
mod schema;
mod script;
mod select;
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
pub use plain::{Plain, plain};
pub use predicate::{Predicate, PredicateError};
pub use query::{Query, Session};
pub use replay::{Obstacle, Piece, Replay, ReplayOptions, Taker};
pub use rows::{Decoded, Image, Row, Rows, Verb};
pub use schema::{Schema, SchemaColumn};
pub use script::{ForwardScript, Kept, Layout, Undo, UndoScript};
pub use select::{GtidChoice, Select, SelectError, TablePattern};
pub use shape::Shape;
pub use single::Single;
pub use sql::{Direction, SESSION, SqlError, statement};
pub use statement::{Action, Effect, effect};
pub use stats::{
    Bucket, Ddl, FileStats, KindStats, RowsPerTransaction, ServerStats, Stats, StatsOptions, StatsReport,
    TableStats, ThreadStats, Timeline, TopTransaction, Tops, Totals,
};
pub use table::{Column, ColumnType, Table};
pub use tables::Tables;
pub use temporal::{Date, DateTime, Time, Timestamp, utc};
pub use transaction::{Step, Tracker, Transaction, shortened};
pub use value::Value;
pub use walk::{Item, Used, Walked, walk};
