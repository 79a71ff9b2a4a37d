//! One log of the archive walked event by event in a thread of its own. What is done with the events is the caller's
//! matter.

use binlog::{EventKind, Item, ReadOptions, Tables, Used, walk};

use super::error::RewindError;
use crate::archive::{Archive, LogReader, Segment};

/// Reads pieces of one log that follow one another, and gives back what was made of them. Damage ends it.
///
/// # Errors
/// If the archive cannot be read, or the log is damaged.
pub(crate) async fn walk_log<S, F>(
    archive: &Archive,
    segments: Vec<Segment>,
    state: S,
    on: F,
) -> Result<S, RewindError>
where
    S: Send + 'static,
    F: FnMut(&mut S, &Item<'_>) -> Used + Send + 'static,
{
    let Some(first) = segments.first() else { return Ok(state) };
    let name = first.name().record();
    let reader = LogReader::open(archive, &segments)?;
    let walked = tokio::task::spawn_blocking(move || {
        let (mut state, mut on) = (state, on);
        let options = ReadOptions { is_stream: true, ..ReadOptions::default() };
        let walked = walk(reader, options, &mut Tables::default(), |item| on(&mut state, item));
        walked.map(|_| state)
    });
    match walked.await {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(source)) => Err(RewindError::Log { name, source }),
        Err(error) => Err(RewindError::Worker(error.to_string())),
    }
}

/// Whether a transaction begins with an event of this kind.
pub(crate) const fn begins(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::GTID | EventKind::ANONYMOUS_GTID | EventKind::GTID_TAGGED | EventKind::MARIADB_GTID
    )
}
