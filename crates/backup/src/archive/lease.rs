//! [`Lease`]: one archiver at a time writes into a place, from whichever host, without comparing their clocks.
//!
//! Objects below `archiver/` are numbered; whoever makes the next number has the lease, and of several who try, one
//! makes it. The holder writes its object anew several times within the lease's time. Another one takes over only after
//! it has seen, by its own clock, that nothing was written for that long, or that the lease was given back. The holder
//! looks again before each record, so that one which was away without noticing adds nothing. The highest number is
//! never removed, and no number comes twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blob::{BlobError, Place};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::ArchiveError;
use super::segment::RECORD_BYTES_MAX;

const FOLDER: &str = "archiver";
/// Written anew so many times within the lease's time.
const BEATS: u32 = 4;
/// What somebody else's lease may ask of who waits for it.
const TIME_MAX: Duration = Duration::from_secs(600);
/// A lease that cannot be read is waited for as long.
const TIME_UNKNOWN: Duration = Duration::from_secs(60);
/// Others that may be faster, again and again, before this gives up.
const TRIES: usize = 8;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a lease's object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Who has it, for people.
    holder: String,
    /// What tells this holder from all others.
    token: String,
    /// For how long it is good from each time it is written on, in milliseconds.
    lease_ms: u64,
    /// How often it was written.
    beat: u64,
    /// Whether it was given back.
    is_over: bool,
}

/// A lease that is held. Dropped, it runs out; [`Lease::give_back`] ends it at once.
#[derive(Debug)]
pub(crate) struct Lease {
    place: Place,
    number: u64,
    token: String,
    renewing: JoinHandle<()>,
    /// Dropped, it ends the renewing between two writes.
    going_on: Option<oneshot::Sender<()>>,
}

/// What is there of leases.
struct Found {
    number: u64,
    text: Vec<u8>,
    record: Option<Record>,
}

impl Lease {
    /// Takes the lease. Where one was not given back, waits for its time to pass, having told who has it and for how
    /// long that may take.
    pub(crate) async fn take(
        place: &Place,
        time: Duration,
        mut waits: impl FnMut(String, Duration),
    ) -> Result<Self, ArchiveError> {
        let own = own_record(time);
        for _ in 0..TRIES {
            let found = newest(place).await?;
            if let Some(found) = found.as_ref().filter(|found| !found.is_over()) {
                wait_for(place, found, &mut waits).await?;
            }
            let number = found.map_or(0, |found| found.number) + 1;
            if place.create(&name(number), text_of(&own)?).await? {
                remove_before(place, number).await?;
                let (going_on, stopped) = oneshot::channel();
                let (token, place) = (own.token.clone(), place.clone());
                let renewing = tokio::spawn(renew(place.clone(), number, own, time / BEATS, stopped));
                return Ok(Self { place, number, token, renewing, going_on: Some(going_on) });
            }
        }
        Err(ArchiveError::Held {
            place: place.to_string(),
            by: "several archivers that begin at once".to_owned(),
        })
    }

    /// Sees that nobody has taken over.
    pub(crate) async fn see(&self) -> Result<(), ArchiveError> {
        match newest(&self.place).await? {
            Some(found) if found.record.as_ref().is_some_and(|record| record.token == self.token) => Ok(()),
            Some(found) => Err(found.held(&self.place)),
            None => Err(ArchiveError::Held {
                place: self.place.to_string(),
                by: "nobody: its lease is gone".to_owned(),
            }),
        }
    }

    /// As [`Lease::see`], where there is reason to look: what renews it ends once another one has it.
    pub(crate) async fn watch(&self) -> Result<(), ArchiveError> {
        if self.renewing.is_finished() { self.see().await } else { Ok(()) }
    }

    /// Lets another one begin at once. A place that fails lets it begin later.
    pub(crate) async fn give_back(mut self) {
        drop(self.going_on.take());
        let ended = (&mut self.renewing).await;
        if let Ok(Some(found)) = newest(&self.place).await
            && let Some(record) = found.record.filter(|record| record.token == self.token)
            && let Ok(text) = text_of(&Record { is_over: true, ..record })
            && let Err(error) = self.place.put_all(&name(self.number), text).await
        {
            tracing::warn!(%error, ?ended, "the archiver's lease is not given back, and runs out by itself");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Found {
    fn is_over(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_over)
    }

    fn holder(&self) -> String {
        self.record.as_ref().map_or_else(|| "an unknown archiver".to_owned(), |record| record.holder.clone())
    }

    fn held(&self, place: &Place) -> ArchiveError {
        ArchiveError::Held { place: place.to_string(), by: self.holder() }
    }
}

/// Waits until a lease is over or has run out; one that is written anew is held. One write more proves nothing: it may
/// be the last that the one that is gone had begun.
async fn wait_for(
    place: &Place,
    found: &Found,
    waits: &mut impl FnMut(String, Duration),
) -> Result<(), ArchiveError> {
    let time = found.record.as_ref().map_or(TIME_UNKNOWN, |record| Duration::from_millis(record.lease_ms));
    let time = time.min(TIME_MAX);
    waits(found.holder(), time);
    let (mut begun, mut text, mut writes) = (Instant::now(), found.text.clone(), 0);
    while begun.elapsed() < time {
        tokio::time::sleep(time / (BEATS * 2)).await;
        let Some(now) = newest(place).await? else { return Ok(()) };
        if now.number == found.number && now.is_over() {
            return Ok(());
        }
        if now.text != text {
            writes += 1;
            if now.number != found.number || writes > 1 {
                return Err(now.held(place));
            }
            (begun, text) = (Instant::now(), now.text);
        }
    }
    Ok(())
}

/// Writes the lease anew until another one has it, or this is ended.
async fn renew(
    place: Place,
    number: u64,
    mut record: Record,
    every: Duration,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(every) => {}
        }
        match newest(&place).await {
            Ok(Some(found)) if found.number > number => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot look at the archiver's lease"),
        }
        record.beat += 1;
        let Ok(text) = text_of(&record) else { return };
        if let Err(error) = place.put_all(&name(number), text).await {
            tracing::warn!(%error, "cannot renew the archiver's lease");
        }
    }
}

async fn newest(place: &Place) -> Result<Option<Found>, ArchiveError> {
    // The object that was listed may have been removed by whoever made the next one.
    for _ in 0..TRIES {
        let entries = place.list(FOLDER).await?;
        let Some(number) = entries.iter().filter_map(|entry| number_of(&entry.name)).max() else {
            return Ok(None);
        };
        match place.get_all(&name(number), RECORD_BYTES_MAX).await {
            Ok(text) => {
                let record = serde_json::from_slice(&text).ok();
                return Ok(Some(Found { number, text, record }));
            }
            Err(error) if error.is_not_found() => {}
            // It was replaced while it was read.
            Err(BlobError::Short { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ArchiveError::Held {
        place: place.to_string(),
        by: "several archivers that begin at once".to_owned(),
    })
}

async fn remove_before(place: &Place, number: u64) -> Result<(), ArchiveError> {
    for entry in place.list(FOLDER).await? {
        if number_of(&entry.name).is_some_and(|older| older < number) {
            place.delete(&entry.name).await?;
        }
    }
    Ok(())
}

fn own_record(time: Duration) -> Record {
    let (host, process) = (host::users::hostname(), std::process::id());
    let micros = Timestamp::now().as_microsecond();
    let token = format!("{host}-{process}-{micros}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let holder = format!("process {process} on {host}");
    let lease_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Record { holder, token, lease_ms, beat: 0, is_over: false }
}

fn text_of(record: &Record) -> Result<Bytes, ArchiveError> {
    let failed = |error: serde_json::Error| ArchiveError::Record {
        name: FOLDER.to_owned(),
        problem: error.to_string(),
    };
    Ok(Bytes::from(serde_json::to_vec(record).map_err(failed)?))
}

fn name(number: u64) -> String {
    format!("{FOLDER}/{number:012}.json")
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use blob::Address;

    use super::*;

    const TIME: Duration = Duration::from_millis(400);

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(&Address::Folder(folder.path().to_owned()), None).unwrap();
        (folder, place)
    }

    fn silent(_: String, _: Duration) {}

    #[tokio::test]
    async fn a_lease_that_is_held_is_refused_and_one_given_back_is_not() {
        let (_folder, place) = place();
        let first = Lease::take(&place, TIME, silent).await.unwrap();
        let refused = Lease::take(&place, TIME, silent).await.unwrap_err();
        assert!(matches!(&refused, ArchiveError::Held { by, .. } if by.contains("process")), "{refused}");
        first.see().await.unwrap();
        first.give_back().await;
        let waited = |who: String, _: Duration| panic!("waits for {who}");
        let second = Lease::take(&place, TIME, waited).await.unwrap();
        second.see().await.unwrap();
        assert_eq!(place.list(FOLDER).await.unwrap().len(), 1, "older leases are removed");
    }

    #[tokio::test]
    async fn a_lease_that_is_not_renewed_runs_out_and_its_holder_sees_it() {
        let (_folder, place) = place();
        let first = Lease::take(&place, TIME, silent).await.unwrap();
        first.renewing.abort();
        let mut told = 0;
        let begun = Instant::now();
        let second = Lease::take(&place, TIME, |_, _| told += 1).await.unwrap();
        assert!(begun.elapsed() >= TIME && told == 1);
        assert!(matches!(first.see().await, Err(ArchiveError::Held { .. })));
        second.see().await.unwrap();
        // What the one that is gone gives back is no longer its own.
        first.give_back().await;
        second.see().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_that_begin_at_once_one_goes_on() {
        let (_folder, place) = place();
        let taking = (0..6).map(|_| {
            let place = place.clone();
            tokio::spawn(async move { Lease::take(&place, TIME, silent).await })
        });
        let mut held = Vec::new();
        for task in taking.collect::<Vec<_>>() {
            held.extend(task.await.unwrap().ok());
        }
        assert_eq!(held.len(), 1);
        held[0].see().await.unwrap();
    }

    #[tokio::test]
    async fn a_lease_that_cannot_be_read_is_nobodys_to_overwrite() {
        let (_folder, place) = place();
        place.put_all(&name(7), Bytes::from_static(b"{}")).await.unwrap();
        let found = newest(&place).await.unwrap().unwrap();
        assert!(found.record.is_none() && !found.is_over() && found.number == 7);
    }
}
