//! What a control plane needs after a restore, beside its data.

use server::{Loader, Sql};
use sqltext::{quote_ident, quote_string};

use super::error::RestoreError;

/// Whose data it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nobody's that is known.
    #[default]
    None,
    /// Apache CloudStack's.
    CloudStack,
}

/// Makes the data fit to be started on. Says what was done.
///
/// CloudStack: a management server that was up when the backup was taken stays `Up` in `mshost`; the next start then
/// takes it for a running peer and refuses to upgrade (apache/cloudstack#12140).
///
/// # Errors
/// If the server refuses.
pub(crate) async fn apply(
    profile: Profile,
    loader: &mut Loader,
    databases: &[String],
) -> Result<Vec<String>, RestoreError> {
    let mut done = Vec::new();
    if profile == Profile::None {
        return Ok(done);
    }
    let failed = || RestoreError::server("marking management servers as down");
    for database in databases {
        let refused = |error: sqltext::QuoteError| RestoreError::Refused(error.to_string());
        let (name, quoted) =
            (quote_string(database).map_err(refused)?, quote_ident(database).map_err(refused)?);
        let is_there = format!(
            "SELECT 1 AS it FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {name} AND TABLE_NAME = 'mshost' \
             AND COLUMN_NAME = 'state'"
        );
        if loader.query(&Sql::plain(is_there)).await.map_err(failed())?.is_empty() {
            continue;
        }
        let update = format!("UPDATE {quoted}.mshost SET state = 'Down' WHERE state <> 'Down'");
        let changed = loader.run(update.as_bytes()).await.map_err(failed())?.affected_rows;
        done.push(format!("{changed} management servers in {database}.mshost marked as Down"));
    }
    Ok(done)
}
