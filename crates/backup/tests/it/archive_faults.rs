//! Places that fail or lie while a server is archived or backed up: said clearly, and nothing is lost or double after it.
//!
//! Tests fail when an error is swallowed, when something half done looks whole, or when the next run does not mend it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backup::archive::{
    Archive, ArchiveError, ArchiveNews, ArchiveOptions, CoverFrom, Purge, archive_follow, archive_once,
};
use backup::create::{CreateOptions, Progress, create};
use backup::repository::Repository;
use blob::{BlobError, Patience, Place};
use flavor::GtidSet;
use server::{Connection, Limits};

use crate::archive::{Logged, archived_ids, until, work};
use crate::harness::{run, value, vendors};
use crate::proxy::{self, Fault, Faults};
use crate::store::{SECRET, Store, place_at};

/// A store behind a bad network; what passes is tried again twice.
async fn bad_network() -> Option<(Store, Place, Faults)> {
    let store = Store::start()?;
    let (port, faults) = proxy::start(store.port).await;
    let patience = Patience {
        silence: Duration::from_secs(2),
        retries: 2,
        retrying: Duration::from_secs(20),
        ..Patience::default()
    };
    Some((store, place_at(port, "x", patience), faults))
}

fn options(logged: &Logged) -> ArchiveOptions {
    // Nobody is killed here, but the network may hold a renewal up.
    ArchiveOptions { purge: Purge::Watch, lease: Duration::from_secs(2), ..logged.options(0) }
}

async fn table(connection: &mut Connection) {
    run(
        connection,
        &["CREATE DATABASE s", "CREATE TABLE s.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))"],
    )
    .await;
}

async fn rows(connection: &mut Connection, count: u32) {
    for _ in 0..count {
        run(connection, &["INSERT INTO s.t (v) VALUES (REPEAT('w', 50))"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_store_that_fails_or_lies_costs_the_archive_nothing() {
    let Some(vendor) = vendors().await.into_iter().next() else { return };
    let Some((store, place, faults)) = bad_network().await else { return };
    let logged = Logged::up(vendor, 1, &["max-binlog-size = 256K"]).await;
    let mut connection = logged.connect(0).await;
    table(&mut connection).await;
    let (archive, truth) = (Archive::new(place), Archive::new(store.place("x")));
    let options = options(&logged);
    let always = |method, text, fault: Fault| vec![(method, text, fault); 3];
    for (planned, is_mended_at_once) in [
        // Passing: tried again, and nobody hears of it.
        (vec![("PUT", ".zst", Fault::Status(503))], true),
        (vec![("PUT", ".zst", Fault::CutAnswer)], true),
        (vec![("PUT", "-0", Fault::CutAnswer)], true),
        (vec![("PUT", "archiver/", Fault::CutAnswer)], true),
        (vec![("GET", "archiver/", Fault::CutContent(3))], true),
        // Not passing: said.
        (always("PUT", ".zst", Fault::Status(500)), false),
        (always("PUT", "-0", Fault::CutBefore), false),
        (always("PUT", "archiver/", Fault::Status(500)), false),
        // Lies: the store says that it has what it has not.
        (vec![("PUT", ".zst", Fault::SayDone)], false),
        (vec![("PUT", "-0", Fault::SayDone)], false),
        (vec![("PUT", "archiver/", Fault::SayDone)], false),
    ] {
        rows(&mut connection, 5).await;
        run(&mut connection, &["FLUSH BINARY LOGS"]).await;
        rows(&mut connection, 5).await;
        planned.iter().for_each(|(method, text, fault)| faults.add(method, text, fault.clone()));
        let ran = archive_once(&archive, &options, &mut |_| {}).await;
        assert!(faults.are_done(), "{planned:?} did not happen: {ran:?}");
        assert_eq!(ran.is_ok(), is_mended_at_once, "{planned:?}: {ran:?}");
        if let Err(error) = ran {
            let said = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(said.contains("s3://backups/x") && !said.contains(SECRET), "{planned:?}: {said}");
        }
        // What is there is whole, whatever failed.
        assert_eq!(truth.check().await.unwrap().problems, Vec::<String>::new(), "{planned:?}");
        archive_once(&archive, &options, &mut |_| {})
            .await
            .unwrap_or_else(|error| panic!("{planned:?}: {error}"));
        let ids = archived_ids(&truth).await;
        let count = value(&mut connection, "SELECT COUNT(*) FROM s.t").await;
        assert_eq!(ids.len().to_string(), count, "{planned:?}");
        let status = truth.status(jiff::Timestamp::now()).await.unwrap();
        assert!(status.gaps.is_empty() && status.runs.len() == 1, "{planned:?}: {status:?}");
    }
    connection.close().await;
    logged.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_place_that_is_gone_for_a_while_is_said_and_waited_for() {
    let Some(vendor) = vendors().await.into_iter().next() else { return };
    let logged = Logged::up(vendor, 1, &[]).await;
    let mut connection = logged.connect(0).await;
    table(&mut connection).await;
    let place = logged.folder.path().join("place");
    let away = logged.folder.path().join("away");
    std::fs::rename(&place, &away).unwrap();
    let error = logged.once(0).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Place(BlobError::NoFolder { .. })), "{error}");
    assert!(error.hint().unwrap().contains("mount it"), "{error}");
    std::fs::rename(&away, &place).unwrap();
    let (failures, archived) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (failing, archiving) = (Arc::clone(&failures), Arc::clone(&archived));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (archive, options) = (logged.archive(), options(&logged));
    let following = tokio::spawn(async move {
        let stopped = Box::pin(async { stopped.await.unwrap_or(()) });
        archive_follow(&archive, &options, stopped, &mut |news| match news {
            ArchiveNews::Failed { why, .. } => {
                assert!(why.contains("there is no folder") || why.contains("cannot"), "{why}");
                failing.fetch_add(1, Ordering::Relaxed);
            }
            ArchiveNews::Archived { .. } => {
                archiving.fetch_add(1, Ordering::Relaxed);
            }
            ArchiveNews::Waits { .. }
            | ArchiveNews::Begun { .. }
            | ArchiveNews::Merged { .. }
            | ArchiveNews::Purging(_) => {}
        })
        .await
    });
    rows(&mut connection, 5).await;
    until("archiving", async || archived.load(Ordering::Relaxed) > 0).await;
    std::fs::rename(&place, &away).unwrap();
    rows(&mut connection, 5).await;
    until("failing twice", async || failures.load(Ordering::Relaxed) > 1).await;
    assert!(!place.exists(), "a folder was made where a mount is missing");
    std::fs::rename(&away, &place).unwrap();
    let before = archived.load(Ordering::Relaxed);
    until("going on", async || archived.load(Ordering::Relaxed) > before).await;
    stop.send(()).unwrap();
    following.await.unwrap().unwrap();
    logged.once(0).await.unwrap();
    assert_eq!(archived_ids(&logged.archive()).await.len(), 10);
    assert_eq!(logged.archive().check().await.unwrap().problems, Vec::<String>::new());
    connection.close().await;
    logged.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_backup_into_a_store_that_fails_or_lies_never_looks_whole() {
    let Some(vendor) = vendors().await.into_iter().next() else { return };
    let Some((store, place, faults)) = bad_network().await else { return };
    let logged = Logged::up(vendor, 1, &[]).await;
    let mut connection = logged.connect(0).await;
    table(&mut connection).await;
    rows(&mut connection, 20).await;
    let (repository, truth) = (Repository::new(place.clone()), Repository::new(store.place("x")));
    let always = |method, text, fault: Fault| vec![(method, text, fault); 8];
    for (number, (planned, is_mended_at_once)) in [
        (vec![("PUT", "s.t.", Fault::CutAnswer)], true),
        (vec![("PUT", "mainstay.json", Fault::CutAnswer)], true),
        (always("PUT", "s.t.", Fault::Status(500)), false),
        (always("PUT", "mainstay.json", Fault::CutBefore), false),
        (vec![("PUT", "s.t.", Fault::SayDone)], false),
        (vec![("PUT", "metadata", Fault::SayDone)], false),
        (vec![("PUT", "mainstay.json", Fault::SayDone)], false),
    ]
    .into_iter()
    .enumerate()
    {
        planned.iter().for_each(|(method, text, fault)| faults.add(method, text, fault.clone()));
        let options = CreateOptions::new(format!("n{number}"));
        let (target, limits) = (logged.target(0), Limits::default());
        let ran = create(&target, &limits, &place, &options, &Arc::new(Progress::default())).await;
        faults.clear();
        assert_eq!(ran.is_ok(), is_mended_at_once, "{planned:?}: {ran:?}");
        let listed = truth.list().await.unwrap();
        let own = listed.iter().find(|it| it.id.as_str().ends_with(&format!("-n{number}")));
        let is_whole = own.is_some_and(|it| it.whole.is_ok());
        assert_eq!(is_whole, is_mended_at_once, "{planned:?}: {listed:?}");
        if let Err(error) = ran {
            let said = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(said.contains("s3://backups/x") && !said.contains(SECRET), "{planned:?}: {said}");
        }
    }
    assert_eq!(repository.list().await.unwrap().len(), truth.list().await.unwrap().len());
    connection.close().await;
    logged.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_is_damaged_in_the_place_is_found() {
    let Some(vendor) = vendors().await.into_iter().next() else { return };
    let logged = Logged::up(vendor, 1, &[]).await;
    let mut connection = logged.connect(0).await;
    work(&mut connection, 0).await;
    logged.once(0).await.unwrap();
    run(&mut connection, &["FLUSH BINARY LOGS", "INSERT INTO s.t (v) VALUES ('more')"]).await;
    logged.once(0).await.unwrap();
    let archive = logged.archive();
    assert_eq!(archive.check().await.unwrap().problems, Vec::<String>::new());
    let run_segments = archive.last_run().await.unwrap().unwrap().segments;
    let first = archive.segment(&run_segments[0]).await.unwrap();
    let path = logged.folder.path().join("place").join(first.content_name());
    let whole = std::fs::read(&path).unwrap();
    for (damage, said) in [(0, "does not unpack"), (1, "bytes, not"), (2, "there is no")] {
        let mut bytes = whole.clone();
        match damage {
            0 => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x55;
                write(&path, &bytes);
            }
            1 => write(&path, &bytes[..bytes.len() - 7]),
            _ => std::fs::remove_file(&path).unwrap(),
        }
        let check = archive.check().await.unwrap();
        assert_eq!(check.problems.len(), 1, "{damage}: {check:?}");
        let found = &check.problems[0];
        assert!(found.contains(said) || found.contains("SHA-256"), "{damage}: {found}");
        write(&path, &whole);
    }
    // A record that is gone is a gap.
    std::fs::remove_file(logged.folder.path().join("place").join(run_segments[0].record())).unwrap();
    let from = CoverFrom { gtids: GtidSet::default(), position: None };
    assert!(archive.cover(&from).await.is_err());
    connection.close().await;
    logged.down().await;
}

#[expect(clippy::disallowed_methods, reason = "a test damages a file")]
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
