//! Whether the target takes every row, asked before anything is changed.
//!
//! Statements with many rows are cut; one row is sent whole, unless `LOAD DATA` sends it in pieces. Only the pieces with
//! statements longer than the target takes are read for it, of most dumps none.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use super::error::RestoreError;
use super::feed::{Feed, Piece};
use super::input::SourceFile;
use super::plan::{Plan, TablePlan};
use super::rows::{Method, Ready, Wanted, ready};
use super::target::Here;

/// Makes the pieces in doubt ready as the restore will, and looks at what would be sent.
///
/// # Errors
/// If a row is longer than the target takes, or the dump cannot be read.
pub(crate) async fn check(
    plan: &Plan,
    files: &[SourceFile],
    method: Method,
    here: &Here,
) -> Result<(), RestoreError> {
    let statement_bytes_max = here.statement_bytes_max();
    let mut tables: BTreeMap<usize, TablePlan> = BTreeMap::new();
    let mut pieces = Vec::new();
    for (number, table) in plan.tables.iter().enumerate() {
        let is_long = |run: &&super::survey::PlacedRun| run.longest > statement_bytes_max as u64;
        for run in table.runs.iter().filter(is_long) {
            tables.entry(number).or_insert_with(|| table.clone());
            pieces.push(Piece { table: number, number: 0, run: run.clone() });
        }
    }
    if pieces.is_empty() {
        return Ok(());
    }
    let (packet_bytes, vendor) = (here.packet_bytes, here.vendor());
    let mut feed = Feed::new(pieces, files.to_vec(), 1);
    let looking = spawn_blocking(move || {
        // All are looked at, so that one new limit is enough for all.
        let mut longest: Option<(usize, String)> = None;
        while let Some((piece, text)) = feed.next()? {
            let Some(table) = tables.get(&piece.table) else { continue };
            let wanted = Wanted {
                table: &table.quoted,
                def: table.def.as_ref(),
                method: table.method(method),
                vendor,
                statement_bytes_max,
            };
            let made = ready(&text, &piece.run.session, &wanted)
                .map_err(|problem| RestoreError::Rows { table: table.shown(), problem })?;
            let Ready::Insert { statements, .. } = made else { continue };
            let row_bytes = statements.iter().map(Vec::len).max().unwrap_or(0);
            // The packet has a byte before the statement.
            if row_bytes >= packet_bytes && longest.as_ref().is_none_or(|(known, _)| row_bytes > *known) {
                longest = Some((row_bytes, table.shown()));
            }
        }
        match longest {
            Some((row_bytes, table)) => Err(RestoreError::RowTooLong { table, row_bytes, packet_bytes }),
            None => Ok(()),
        }
    });
    looking.await.unwrap_or_else(|error| Err(RestoreError::Worker(error.to_string())))
}
