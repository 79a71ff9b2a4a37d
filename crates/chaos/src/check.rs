//! Asks servers whether acknowledged rows are there. What a missing one means is the caller's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::acks::end_of_writer;
use crate::node::{Node, POLL};

/// Rows asked for at once.
const CHUNK: usize = 50_000;

/// How long replicas may take to apply what they have received.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// Those of `ids` that the server does not have.
async fn missing(node: &Node, ids: &[u64]) -> Result<Vec<u64>> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let mut lacking = Vec::new();
    let mut rest = &sorted[..];
    while let Some(first) = rest.first() {
        // One writer's ids are dense; those of two are far apart.
        let end = end_of_writer(*first);
        let count = rest.partition_point(|id| *id < end).min(CHUNK);
        let (chunk, remaining) = rest.split_at(count);
        let last = chunk.last().unwrap_or(first);
        let rows =
            node.ask(&format!("SELECT id FROM chaos.acked WHERE id BETWEEN {first} AND {last}")).await?;
        let there: BTreeSet<u64> = rows.iter().filter_map(|row| row.parsed("id")).collect();
        lacking.extend(chunk.iter().filter(|id| !there.contains(id)));
        rest = remaining;
    }
    Ok(lacking)
}

/// Those of `ids` that the server does not have after it has had a minute to catch up.
///
/// # Errors
/// If it does not answer.
pub async fn missing_after_catch_up(node: &Node, ids: &[u64]) -> Result<Vec<u64>> {
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    let mut lacking = missing(node, ids).await?;
    while !lacking.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        lacking = missing(node, &lacking).await?;
    }
    Ok(lacking)
}
