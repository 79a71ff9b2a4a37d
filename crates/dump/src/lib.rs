//! Dumps as text and as a set of files: their layout, their manifest, their statements, and what of a table is loaded first and what after.
//!
//! It is pure: bytes come in as values or as a reader; it opens no file and asks no server.

pub mod fix;
mod keep;
pub mod layout;
pub mod literal;
pub mod manifest;
pub mod ranges;
mod reader;
mod reader_inventory;
mod reader_kind;
mod reader_scan;
mod reader_set;
mod reader_words;
pub mod tabledef;
pub mod values;

pub use keep::{Candidate, Fate, GoesFor, KeepRules, KeptFor, Proof, decide};
pub use reader::{DumpError, DumpReader, Header, Statement};
pub use reader_inventory::{
    CHUNK_BYTES, DatabaseEntry, Inventory, InventoryError, InventoryMaker, ObjectEntry, Run, SessionContext,
    SqlText, TableEntry, Taken,
};
pub use reader_kind::{ObjectKind, ObjectName, StatementKind};
pub use reader_scan::Quoting;
pub use reader_set::Context;
