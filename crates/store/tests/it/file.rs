//! What only a folder can do wrong: damage, wiping, a lock that is held, a process that dies while writing.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use store::{Committed, Store, StoreError};

use crate::support::{command, done, modified, put, write_file};

/// Where the child of the crash test finds the store. Without it, that test does nothing.
const FOLDER_VARIABLE: &str = "STORE_TEST_FOLDER";

#[tokio::test]
async fn it_is_for_its_owner_only_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("var/lib/store");
    // To read does not create anything.
    assert_eq!(Store::file(&path).snapshot().await.unwrap().revision, 0);
    assert!(!path.exists());
    let first = done(Store::file(&path).commit(&[], &[put("a", "1")]).await);
    for (name, mode) in [("", 0o700), ("data", 0o600), ("lock", 0o600)] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
    let second = done(Store::file(&path).commit(&[modified("a", first)], &[put("a", "2")]).await);
    assert_eq!(Store::file(&path).snapshot().await.unwrap().entries["a"].modified, second);
}

async fn assert_corrupt(path: &Path, why: &str) {
    let store = Store::file(path);
    for error in [
        store.snapshot().await.unwrap_err(),
        store.commit(&[], &[put("a", "x")]).await.unwrap_err(),
        store.watch(0).await.unwrap().changed().await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{why}: {error}");
        assert!(error.wrote_nothing());
    }
}

#[tokio::test]
async fn damage_is_never_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    done(Store::file(&path).commit(&[], &[put("a", "1"), put("b", "2")]).await);
    let data = path.join("data");
    let good = fs::read(&data).unwrap();
    for offset in 0..good.len() {
        let mut bad = good.clone();
        bad[offset] ^= 1;
        write_file(&data, &bad);
        let error = Store::file(&path).snapshot().await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "byte {offset}: {error}");
    }
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        write_file(&data, &good[..length]);
        assert_corrupt(&path, &format!("cut at {length}")).await;
    }
    fs::remove_file(&data).unwrap();
    assert_corrupt(&path, "removed").await;
    write_file(&data, &good);
    assert_eq!(Store::file(&path).snapshot().await.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn a_folder_wiped_while_in_use_is_not_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::file(&path);
    let first = done(store.commit(&[], &[put("a", "1")]).await);
    let mut watch = store.watch(first).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    let errors = [
        watch.changed().await.unwrap_err(),
        store.snapshot().await.unwrap_err(),
        store.commit(&[], &[put("a", "2")]).await.unwrap_err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, StoreError::Corrupt { .. })), "{errors:?}");
}

#[tokio::test]
async fn leftovers_of_a_dead_writer_are_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    done(Store::file(&path).commit(&[], &[put("a", "1")]).await);
    write_file(&path.join("data.new"), b"half a fi");
    done(Store::file(&path).commit(&[], &[put("a", "2")]).await);
    assert_eq!(Store::file(&path).snapshot().await.unwrap().entries["a"].value, b"2");
    // Died after the first data file, before the mark.
    write_file(&path.join("lock"), b"");
    done(Store::file(&path).commit(&[], &[put("a", "3")]).await);
    assert!(fs::metadata(path.join("lock")).unwrap().len() > 0);
}

#[tokio::test]
async fn a_lock_that_is_held_times_out_without_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let limit = Duration::from_millis(200);
    let store = Store::file(&path).with_request_timeout(limit);
    done(store.commit(&[], &[put("a", "1")]).await);
    let lock = File::open(path.join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let began = Instant::now();
    assert_eq!(store.commit(&[], &[put("a", "2")]).await, Err(StoreError::Timeout { after: limit }));
    assert!(began.elapsed() < limit * 3, "{:?}", began.elapsed());
    // Readers do not wait for writers.
    assert_eq!(store.snapshot().await.unwrap().entries["a"].value, b"1");
    drop(lock);
    done(store.commit(&[], &[put("a", "2")]).await);
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    write_file(&path, b"");
    let error = Store::file(&path).commit(&[], &[put("a", "1")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

/// Not a test of its own: what [`a_writer_that_is_killed_leaves_a_whole_store`] starts and kills.
#[tokio::test]
#[ignore = "it runs as another test's child process"]
async fn writer_to_be_killed() {
    let Some(path) = std::env::var_os(FOLDER_VARIABLE) else { return };
    let store = Store::file(Path::new(&path)).with_request_timeout(Duration::from_secs(10));
    loop {
        let snapshot = store.snapshot().await.unwrap();
        let last = snapshot.entries.get("a").map_or(0, |entry| entry.modified);
        let text = snapshot.revision.to_string();
        let committed = store.commit(&[modified("a", last)], &[put("a", &text), put("b", &text)]).await;
        assert_ne!(committed, Ok(Committed::Conflict), "there is only one writer");
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_leaves_a_whole_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::file(&path);
    let mut last = 0;
    for round in 0..12 {
        let mut child = command(std::env::current_exe().unwrap().to_str().unwrap())
            .args(["--exact", "file::writer_to_be_killed", "--ignored"])
            .env(FOLDER_VARIABLE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It is killed at another point of its work each time: after one change, and a bit.
        let mut watch = store.watch(last).await.unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
        tokio::time::sleep(Duration::from_micros(700 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        woken.expect("the child wrote nothing").unwrap();
        let snapshot = store.snapshot().await.unwrap();
        assert!(snapshot.revision > last);
        last = snapshot.revision;
        assert_eq!(snapshot.entries["a"].value, snapshot.entries["b"].value);
    }
    println!("{last} commits by 12 writers that were killed");
    done(store.commit(&[], &[put("a", "by someone else")]).await);
}
