//! [`Archive`]: what of the archive is in a place: runs and segments by name, their records when asked for.
//!
//! It streams nothing from servers. Where a segment lies within another, which a merge that was cut off leaves behind,
//! the smaller one is as good as not there.

use std::sync::Arc;

use blob::Place;
use bytes::Bytes;

use super::error::ArchiveError;
use super::lease::Lease;
use super::segment::{ARCHIVE_FORMAT, RECORD_BYTES_MAX, ROOT, Run, Segment, SegmentName, is_next_log};
use crate::seal::{Identities, Recipients};

/// The archive in a place.
#[derive(Clone, Debug)]
pub struct Archive {
    place: Place,
    /// Of whoever writes into it.
    lease: Option<Arc<Lease>>,
    /// To whom segments are encrypted.
    recipients: Recipients,
    /// What opens encrypted segments.
    identities: Identities,
    /// Opens, for as long as this archiver runs, the pieces that it has yet to make one of.
    own: Identities,
}

/// The segments of a run, by name.
#[derive(Clone, Debug)]
pub struct RunSegments {
    /// The run.
    pub run: Run,
    /// Its segments, in order, none within another.
    pub segments: Vec<SegmentName>,
    /// Those within another.
    pub superseded: Vec<SegmentName>,
}

impl Archive {
    /// The archive in this place, which may be empty.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let (recipients, identities) = (Recipients::default(), Identities::default());
        Self { place, lease: None, recipients, own: identities.clone(), identities }
    }

    /// The same for one who can open encrypted segments.
    #[must_use]
    pub fn with_identities(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    /// The same for one who encrypts what it writes.
    #[must_use]
    pub fn with_recipients(self, recipients: Recipients) -> Self {
        let own = if recipients.is_empty() { Identities::default() } else { Identities::generate() };
        Self { recipients, own, ..self }
    }

    /// The same for whoever writes into it: no record is made once another one has the lease.
    pub(crate) fn leased(&self, lease: Arc<Lease>) -> Self {
        Self { lease: Some(lease), ..self.clone() }
    }

    /// Fails once another one has the lease, for whoever has nothing to write and would not meet it.
    pub(crate) async fn watch_lease(&self) -> Result<(), ArchiveError> {
        match &self.lease {
            Some(lease) => lease.watch().await,
            None => Ok(()),
        }
    }

    /// To whom segments are encrypted.
    pub(crate) const fn recipients(&self) -> &Recipients {
        &self.recipients
    }

    /// What opens encrypted segments.
    pub(crate) const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// What opens this archiver's pieces.
    pub(crate) const fn own(&self) -> &Identities {
        &self.own
    }

    /// What opens a segment; none for one that is not encrypted.
    ///
    /// # Errors
    /// If nothing that was given does.
    pub(crate) fn opener(&self, segment: &Segment) -> Result<Option<Identities>, ArchiveError> {
        if segment.recipients.is_empty() {
            return Ok(None);
        }
        let is_own =
            segment.merger.as_ref().is_some_and(|merger| self.own.recipients().names().contains(merger));
        if is_own {
            return Ok(Some(self.own.clone()));
        }
        let failed = |source| ArchiveError::Sealed { name: segment.content_name(), source };
        self.identities.check(&segment.recipients).map_err(failed)?;
        Ok(Some(self.identities.clone()))
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// All runs with the names of their segments, oldest first.
    ///
    /// # Errors
    /// If the place fails, or a run's record is none.
    pub async fn runs(&self) -> Result<Vec<RunSegments>, ArchiveError> {
        let mut all = Vec::new();
        for id in self.place.folders(ROOT).await? {
            all.extend(self.run(&id).await?);
        }
        Ok(all)
    }

    /// The last run with a segment; none where there is no archive.
    ///
    /// # Errors
    /// As [`Archive::runs`].
    pub async fn last_run(&self) -> Result<Option<RunSegments>, ArchiveError> {
        for id in self.place.folders(ROOT).await?.iter().rev() {
            if let Some(run) = self.run(id).await?.filter(|run| !run.segments.is_empty()) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Removes runs that were begun last and of which nothing became durable.
    pub(crate) async fn remove_empty_runs(&self) -> Result<(), ArchiveError> {
        for id in self.place.folders(ROOT).await?.iter().rev() {
            if self.run(id).await?.is_some_and(|run| !run.segments.is_empty()) {
                break;
            }
            for entry in self.place.list(&format!("{ROOT}/{id}")).await? {
                self.place.delete(&entry.name).await?;
            }
        }
        Ok(())
    }

    async fn run(&self, id: &str) -> Result<Option<RunSegments>, ArchiveError> {
        let name = Run::record_name(id);
        let text = match self.place.get_all(&name, RECORD_BYTES_MAX).await {
            Ok(text) => text,
            // Its first object is not there yet.
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let run: Run = parse(&name, &text)?;
        check_format(&name, run.format)?;
        if run.id != id {
            return Err(ArchiveError::Record { name, problem: format!("it is of the run {}", run.id) });
        }
        let entries = self.place.list(&format!("{ROOT}/{id}")).await?;
        let names = entries.iter().filter_map(|entry| SegmentName::of_record(&entry.name)).collect();
        let (segments, superseded) = outermost(names);
        Ok(Some(RunSegments { run, segments, superseded }))
    }

    /// The record of a segment.
    ///
    /// # Errors
    /// If the place fails, or it is not the record of that segment.
    pub async fn segment(&self, name: &SegmentName) -> Result<Segment, ArchiveError> {
        let record = name.record();
        let text = self.place.get_all(&record, RECORD_BYTES_MAX).await?;
        let segment: Segment = parse(&record, &text)?;
        check_format(&record, segment.format)?;
        if segment.name() != *name {
            let problem = "it is of another segment than its name says".to_owned();
            return Err(ArchiveError::Record { name: record, problem });
        }
        Ok(segment)
    }

    pub(crate) async fn put_run(&self, run: &Run) -> Result<(), ArchiveError> {
        let name = Run::record_name(&run.id);
        self.put_record(&name, run).await
    }

    pub(crate) async fn put_segment(&self, segment: &Segment) -> Result<(), ArchiveError> {
        self.put_record(&segment.name().record(), segment).await
    }

    async fn put_record<T: serde::Serialize>(&self, name: &str, record: &T) -> Result<(), ArchiveError> {
        let failed = |error: serde_json::Error| ArchiveError::Record {
            name: name.to_owned(),
            problem: error.to_string(),
        };
        let mut text = serde_json::to_vec_pretty(record).map_err(failed)?;
        text.push(b'\n');
        if let Some(lease) = &self.lease {
            lease.see().await?;
        }
        self.place.put_all(name, Bytes::from(text)).await?;
        Ok(())
    }

    /// Removes a segment by its name. One that is not there is none already.
    pub(crate) async fn remove_named(&self, name: &SegmentName) -> Result<(), ArchiveError> {
        match self.segment(name).await {
            Ok(segment) => self.remove(&segment).await,
            Err(ArchiveError::Place(error)) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a segment: its record first, so that there is never a record without content.
    pub(crate) async fn remove(&self, segment: &Segment) -> Result<(), ArchiveError> {
        self.place.delete(&segment.name().record()).await?;
        self.place.delete(&segment.content_name()).await?;
        Ok(())
    }
}

impl RunSegments {
    /// The first gap within the run, in words; none when every segment goes on where the one before ends.
    #[must_use]
    pub fn gap(&self) -> Option<(SegmentName, String)> {
        self.segments.windows(2).find_map(|pair| match pair {
            [before, after] => gap_between(before, after).map(|what| (before.clone(), what)),
            _ => None,
        })
    }
}

/// What is missing between two segments that should follow one another.
pub(crate) fn gap_between(before: &SegmentName, after: &SegmentName) -> Option<String> {
    if before.log == after.log {
        let (end, start) = (before.end, after.start);
        return (start != end).then(|| format!("{} from {end} to {start} is missing", before.log));
    }
    if !is_next_log(&before.log, &after.log) {
        return Some(format!("what is between {} and {} is missing", before.log, after.log));
    }
    (after.start != 0).then(|| format!("the first {} bytes of {} are missing", after.start, after.log))
}

/// Those that are in no other, in order, and the others.
fn outermost(mut names: Vec<SegmentName>) -> (Vec<SegmentName>, Vec<SegmentName>) {
    names.sort_by(|left, right| left.order().cmp(&right.order()));
    let (mut kept, mut inner): (Vec<SegmentName>, Vec<SegmentName>) = (Vec::new(), Vec::new());
    for name in names {
        let is_inner = kept.last().is_some_and(|last| last.log == name.log && name.end <= last.end);
        if is_inner { inner.push(name) } else { kept.push(name) }
    }
    (kept, inner)
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, text: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(text)
        .map_err(|error| ArchiveError::Record { name: name.to_owned(), problem: error.to_string() })
}

fn check_format(name: &str, format: u32) -> Result<(), ArchiveError> {
    if format <= ARCHIVE_FORMAT {
        return Ok(());
    }
    let problem = format!("it has format {format}, this Mainstay knows up to {ARCHIVE_FORMAT}");
    Err(ArchiveError::Record { name: name.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(log: &str, start: u64, end: u64) -> SegmentName {
        SegmentName { run: "r".to_owned(), log: log.to_owned(), start, end }
    }

    #[test]
    fn what_a_merge_left_behind_is_not_there() {
        let names = vec![name("b.1", 10, 20), name("b.1", 0, 30), name("b.1", 0, 10), name("b.1", 30, 40)];
        let (kept, inner) = outermost(names);
        assert_eq!(kept, [name("b.1", 0, 30), name("b.1", 30, 40)]);
        assert_eq!(inner, [name("b.1", 0, 10), name("b.1", 10, 20)]);
    }

    #[test]
    fn gaps_are_named() {
        for (before, after, gap) in [
            (name("b.1", 0, 10), name("b.1", 10, 20), None),
            (name("b.1", 0, 10), name("b.2", 0, 20), None),
            (name("b.9", 0, 10), name("b.10", 0, 20), None),
            (name("b.1", 0, 10), name("b.1", 11, 20), Some("b.1 from 10 to 11 is missing")),
            (name("b.1", 0, 10), name("b.3", 0, 20), Some("what is between b.1 and b.3 is missing")),
            (name("b.1", 0, 10), name("b.2", 4, 20), Some("the first 4 bytes of b.2 are missing")),
        ] {
            assert_eq!(gap_between(&before, &after).as_deref(), gap);
        }
    }
}
