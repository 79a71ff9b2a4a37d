//! The command line of `mainstay extract`.
//!
//! Doc comments here are the help text.

use std::path::PathBuf;

use clap::Args;

use super::restore::StoreArgs;

/// Take single tables or databases out of a dump, in one pass over it.
///
/// The first pass leaves an index beside a plain dump (DUMP.mainstay-index). With it, the next extraction from an
/// uncompressed dump reads what is extracted and nothing else; a compressed one is read from its beginning each time.
/// What is written is a script for the server's client, with the tables' triggers. It drops nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mainstay extract dump.sql --table shop.orders -o orders.sql\n  mainstay extract dump.sql.gz --table orders --table order_lines | mariadb scratch\n  mainstay extract /backups/20261121T173000Z-shop --database shop -o shop.sql"
)]
pub(crate) struct ExtractArgs {
    /// A plain dump (.sql, also .gz, .zst, .xz, .lz4), a folder of mydumper's or of Mainstay's, s3://BUCKET/PREFIX/ID, or
    /// the name of a backup in the spec's place.
    #[arg(value_name = "DUMP")]
    pub(crate) dump: String,
    /// This table, as database.table or table. Several at once.
    #[arg(long, value_name = "TABLE", required_unless_present = "database")]
    pub(crate) table: Vec<String>,
    /// This database, with its views and routines.
    #[arg(long, value_name = "DATABASE")]
    pub(crate) database: Vec<String>,
    /// Where to write it, instead of standard output. It is there only when it is whole.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}
