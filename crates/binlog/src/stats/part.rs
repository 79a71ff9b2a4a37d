//! Parts of a log that were counted at the same time, put together: the counts are those of reading it in one go.
//!
//! It has no threads: who calls it has. A part is taken only if reading in one go would have come to where it begins
//! and would have counted the same from there on; otherwise its stretch is read once more.

use std::io::Read;

use super::{DDL_MAX, FileStats, PerTable, Stats, THREADS_MAX};
use crate::error::ReadError;
use crate::frames::ReadOptions;
use crate::place::Place;
use crate::tables::Tables;
use crate::walk::{Stopped, Walked, walk_part};

/// A part of a log, counted for itself.
#[derive(Debug)]
pub struct Part {
    from: Place,
    stats: Stats,
    tables: Tables,
    /// None where it could not be read to its end: reading it once more tells why.
    stopped: Option<Stopped>,
}

impl Part {
    /// Reads a part from a place, where `source` begins, to one of the places behind it, into counts that
    /// [`Stats::for_part`] gave.
    pub fn read<R: Read>(
        source: R,
        from: &Place,
        until: &[Place],
        options: ReadOptions,
        mut stats: Stats,
    ) -> Self {
        let mut tables = Tables::default();
        let stopped = walk_part(source, from, until, options, &mut tables, |item| stats.see(item)).ok();
        Self { from: from.clone(), stats, tables, stopped }
    }
}

impl Stats {
    /// Counts for a part of the log that was begun.
    #[must_use]
    pub fn for_part(&self) -> Self {
        let mut stats = Self::new(self.options);
        let file = self.files.last().map(|file| file.file.clone()).unwrap_or_default();
        stats.files.push(FileStats { file, ..FileStats::default() });
        stats
    }

    /// Puts the parts of a log together behind its `first` one, which was counted here. `source` gives the log from an
    /// offset on, for what has to be read once more.
    ///
    /// # Errors
    /// As [`walk`](crate::walk) has them.
    pub fn join<R: Read>(
        &mut self,
        tables: &mut Tables,
        first: Stopped,
        parts: Vec<Part>,
        options: ReadOptions,
        mut source: impl FnMut(u64) -> R,
    ) -> Result<Walked, ReadError> {
        let places: Vec<Place> = parts.iter().map(|part| part.from.clone()).collect();
        let mut parts = parts.into_iter();
        let Stopped { mut walked, mut at } = first;
        while let Some(place) = at {
            // Those that nothing stopped at begin in the middle of an event.
            let part = parts.by_ref().find(|part| part.from.offset >= place.offset);
            let stopped = match part.and_then(|part| self.take(tables, &place, part)) {
                Some(stopped) => stopped,
                None => {
                    let behind = places.partition_point(|other| other.offset <= place.offset);
                    let until = places.get(behind..).unwrap_or_default();
                    walk_part(source(place.offset), &place, until, options, tables, |item| self.see(item))?
                }
            };
            walked.go_on(stopped.walked);
            at = stopped.at;
        }
        Ok(walked)
    }

    /// Takes a part over, if reading on from `place` would have counted the same.
    fn take(&mut self, tables: &mut Tables, place: &Place, part: Part) -> Option<Stopped> {
        let Part { from, stats, tables: behind, stopped } = part;
        let stopped = stopped?;
        // A part does not know the table maps before it.
        let is_alone = stopped.walked.damages.missing_table_maps == 0;
        let is_same = from == *place && is_alone && tables.can_take(&behind) && self.can_tell_apart(&stats);
        if !is_same {
            return None;
        }
        let slots = tables.go_on(behind);
        self.go_on(stats, |slot| slots.get(slot).copied().unwrap_or_default());
        Some(stopped)
    }

    /// Whether the same connections would have been told apart.
    fn can_tell_apart(&self, next: &Self) -> bool {
        let (here, there) = (self.threads.len(), next.threads.len());
        next.other_threads.transactions == 0 && (here >= THREADS_MAX || here + there <= THREADS_MAX)
    }

    /// Takes over the counts of the part behind. `place` tells where a table is now.
    fn go_on(&mut self, next: Self, place: impl Fn(usize) -> usize) {
        let Self {
            options: _,
            files: _,
            tracker,
            tables,
            mut running,
            transactions,
            statements,
            statement_changes,
            changes,
            bytes,
            ddl_count,
            ddl,
            events,
            servers,
            threads,
            other_threads,
            histogram,
            clock,
            tops,
            first_seconds,
            last_seconds,
            damages,
        } = next;
        self.tracker.go_on(tracker);
        let number = self.running.number + running.number;
        for (slot, table) in tables.iter().enumerate() {
            self.table(place(slot)).absorb(table, running.number, number);
        }
        running.number = number;
        for slot in &mut running.tables {
            *slot = place(*slot);
        }
        self.running = running;
        self.transactions += transactions;
        self.statements += statements;
        self.statement_changes += statement_changes;
        self.changes.absorb(&changes);
        self.bytes += bytes;
        self.ddl_count += ddl_count;
        let room = DDL_MAX.saturating_sub(self.ddl.len());
        self.ddl.extend(ddl.into_iter().take(room));
        for ((count, bytes), (more, more_bytes)) in self.events.iter_mut().zip(events) {
            *count += more;
            *bytes += more_bytes;
        }
        for (server, share) in servers {
            self.servers.entry(server).or_default().absorb(&share);
        }
        for (thread, share) in threads {
            let is_full = self.threads.len() >= THREADS_MAX && !self.threads.contains_key(&thread);
            let to = if is_full { &mut self.other_threads } else { self.threads.entry(thread).or_default() };
            to.absorb(&share);
        }
        self.other_threads.absorb(&other_threads);
        self.histogram.absorb(&histogram);
        self.clock.absorb(clock);
        self.tops.absorb(tops, self.files.len().saturating_sub(1), place);
        self.first_seconds = self.first_seconds.into_iter().chain(first_seconds).min();
        self.last_seconds = self.last_seconds.max(last_seconds);
        self.damages.absorb(damages);
    }
}

impl PerTable {
    /// Takes over the counts of the part behind. The transaction it stopped in, `running`, has a new number.
    const fn absorb(&mut self, next: &Self, running: u64, number: u64) {
        self.changes.absorb(&next.changes);
        self.bytes += next.bytes;
        self.events += next.events;
        self.transactions += next.transactions;
        if next.seen_in == running {
            self.seen_in = number;
        }
    }
}
