//! A restore's notes as others may touch them: by what they are kept under, to forget them when what they are about was
//! removed.

use server::{Loader, Sql};

use super::error::RestoreError;
use super::state::SCHEMA;
pub(crate) use super::state::id_of;
use super::survey::SurveyedTable;

/// What the notes are kept under of restoring one table into this one, quoted.
pub(crate) fn id_of_table(table: &SurveyedTable, quoted: &str) -> String {
    id_of(std::iter::once(super::identity_of(quoted, &table.runs)))
}

/// Forgets them, and removes their table when no other restore has any.
pub(crate) async fn forget(loader: &mut Loader, id: &str) -> Result<(), RestoreError> {
    let failed = || RestoreError::server("removing the notes of a restore");
    let is_there = format!(
        "SELECT 1 AS it FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}' AND TABLE_NAME = 'done'"
    );
    let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || loader.query(&Sql::plain(is_there)).await.map_err(failed())?.is_empty() {
        return Ok(());
    }
    let forget = format!("DELETE FROM {SCHEMA}.done WHERE restore = '{id}'");
    loader.run(forget.as_bytes()).await.map_err(failed())?;
    let others = Sql::plain(format!("SELECT 1 AS it FROM {SCHEMA}.done LIMIT 1"));
    if loader.query(&others).await.map_err(failed())?.is_empty() {
        loader.run(format!("DROP DATABASE {SCHEMA}").as_bytes()).await.map_err(failed())?;
    }
    Ok(())
}
