//! A first look at a whole table by the server's own `CHECKSUM TABLE`, which is several times as fast as sums by SQL.
//!
//! Equal sums of both sides, read once the target had what the source had, end the matter. Others mean nothing yet:
//! rows changed meanwhile, or the servers keep equal values in different forms. The sum is that of each row's CRC32 of
//! its values without their lengths, so it does not see all: `docs/checksum.md` says what.

use std::time::{Duration, Instant};

use futures_util::future::join;

use crate::error::ChecksumError;
use crate::pair::{Load, Pair};
use crate::pass::millis;
use crate::report::Way;
use crate::table::Table;
use crate::{Progress, Stage};

/// How many times the time it should take a look may take before it is given up: how large a table is, servers only
/// estimate.
const OVERRUN: u64 = 10;
/// Looks while rows change: one of them may meet a moment in which both sides are the same.
const LOOKS: usize = 2;

/// What a table's size is, where its two versions can be summed as a whole and compared: both are defined alike, and
/// servers of one series, `same_series`, keep rows in the same form.
fn bytes(ours: &Table, theirs: &Table, same_series: bool) -> Option<u64> {
    let is_alike = same_series && ours.columns == theirs.columns;
    ours.bytes.zip(theirs.bytes).filter(|_| is_alike).map(|(ours, theirs)| ours.max(theirs))
}

/// By which way to compare a table of so many bytes first, where such of `bytes_max` take the time a statement should.
fn way(bytes: Option<u64>, bytes_max: u64, thorough: bool) -> Way {
    match bytes {
        Some(bytes) if !thorough && bytes <= bytes_max => Way::ChecksumTable,
        Some(_) | None => Way::Pieces,
    }
}

impl Pair<'_> {
    /// Whether a first look finds both sides of a table equal. If not, nothing is known.
    pub(crate) async fn looks_equal(
        &mut self,
        ours: &Table,
        theirs: &Table,
        progress: &Progress,
    ) -> Result<bool, ChecksumError> {
        let same_series = self.source.flavor().is_same_series(self.target.flavor());
        let bytes = bytes(ours, theirs, same_series);
        match way(bytes, self.looks.amount(), self.options.thorough) {
            Way::Pieces => return Ok(false),
            Way::ChecksumTable => {}
        }
        let limit = Duration::from_millis(self.options.chunk_ms.saturating_mul(OVERRUN));
        self.observer.progress(&Progress { stage: Stage::Summing, ..progress.clone() });
        for _ in 0..if self.is_live() { LOOKS } else { 1 } {
            Load::new().wait(&mut self.source, self.options, self.observer).await?;
            self.catch_up().await?;
            let began = Instant::now();
            // Both to their ends: a question that is dropped takes its session with it, and a snapshot with that.
            let (source, target) =
                join(self.source.whole_sum(&ours.name, limit), self.target.whole_sum(&theirs.name, limit))
                    .await;
            self.looks.learn(bytes.unwrap_or(0), millis(began));
            match (source, target) {
                (Ok(Some(source)), Ok(Some(target))) if source == target => return Ok(true),
                (Ok(Some(_)), Ok(Some(_))) => {}
                (Ok(_), Ok(_)) => return Ok(false),
                (Err(error), _) | (_, Err(error)) if error.is_of_table() => {
                    self.mend(error).await?;
                    return Ok(false);
                }
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    #[test]
    fn only_tables_defined_alike_on_servers_of_one_series_are_looked_at_as_a_whole() {
        let one = table(&[("id", "int"), ("a", "varchar")], &["id"]);
        let changed = |change: fn(&mut Table)| {
            let mut table = one.clone();
            change(&mut table);
            table
        };
        for (what, other, same_series, expected) in [
            ("alike", one.clone(), true, Some(16_384)),
            ("another series", one.clone(), false, None),
            ("larger there", changed(|table| table.bytes = Some(99_999)), true, Some(99_999)),
            ("size unknown", changed(|table| table.bytes = None), true, None),
            ("another name", changed(|table| table.name.table = "u".to_owned()), true, Some(16_384)),
            ("another order", changed(|table| table.columns.reverse()), true, None),
            ("one less", changed(|table| drop(table.columns.pop())), true, None),
            ("type", changed(|table| table.columns[1].type_text = "varchar(9)".to_owned()), true, None),
            ("charset", changed(|table| table.columns[1].charset = Some("latin1".to_owned())), true, None),
            ("nullable", changed(|table| table.columns[1].nullable = true), true, None),
            ("generated", changed(|table| table.columns[1].generated = true), true, None),
        ] {
            assert_eq!(bytes(&one, &other, same_series), expected, "{what}");
        }
    }

    #[test]
    fn the_way_follows_size_and_wish() {
        for (bytes, thorough, expected) in [
            (Some(0), false, Way::ChecksumTable),
            (Some(100), false, Way::ChecksumTable),
            (Some(101), false, Way::Pieces),
            (Some(100), true, Way::Pieces),
            (None, false, Way::Pieces),
        ] {
            assert_eq!(way(bytes, 100, thorough), expected, "{bytes:?} {thorough}");
        }
    }
}
