//! One suite for both kinds of places: what a caller may rely on.

use blob::{Address, BlobError, Place, S3Store};
use bytes::Bytes;

use crate::store::Store;

fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[2]
    };
    (0..count).map(|_| next()).collect()
}

async fn write(place: &Place, name: &str, content: &[u8], step: usize) -> blob::Written {
    let mut writer = place.put(name).await.unwrap();
    for chunk in content.chunks(step.max(1)) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn read(place: &Place, name: &str, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let mut reader = place.get(name, range).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(u64::try_from(all.len()).unwrap(), reader.bytes());
    all
}

async fn names(place: &Place, prefix: &str) -> Vec<(String, u64)> {
    place.list(prefix).await.unwrap().into_iter().map(|entry| (entry.name, entry.bytes)).collect()
}

async fn at_the_same_time(place: &Place) {
    let writing = (0..8).map(|number| {
        let place = place.clone();
        tokio::spawn(async move {
            write(&place, &format!("many/{number}"), &bytes(3 << 20, number), 100_000).await
        })
    });
    for task in writing.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for number in 0..8 {
        assert!(read(place, &format!("many/{number}"), None).await == bytes(3 << 20, number));
    }
}

async fn suite(place: &Place) {
    assert!(names(place, "").await.is_empty());
    // Empty, small, one byte around a part of 8 MiB, several parts.
    for (count, step) in
        [(0, 1), (1, 1), (1000, 7), (8 << 20, 1 << 20), ((8 << 20) + 1, 1 << 18), (20 << 20, 3_000_000)]
    {
        let content = bytes(count, 7);
        let name = format!("sizes/of-{count}");
        let written = write(place, &name, &content, step).await;
        assert_eq!(written.bytes, count as u64, "{name}");
        assert_eq!(place.stat(&name).await.unwrap().unwrap().bytes, count as u64);
        assert!(read(place, &name, None).await == content, "{name}");
        place.verify(&name, &written).await.unwrap();
        let other = blob::Written { sha256: "0".repeat(64), ..written };
        assert!(matches!(place.verify(&name, &other).await, Err(BlobError::Different { .. })));
    }
    let content = bytes(20 << 20, 7);
    for (from, to) in [(0, 1), (5, 5), (1 << 20, 9 << 20), ((20 << 20) - 3, 20 << 20)] {
        let name = format!("sizes/of-{}", 20 << 20);
        assert!(read(place, &name, Some(from as u64..to as u64)).await == content[from..to], "{from}..{to}");
    }
    // Names.
    for name in ["a/b/c.sql.zst", "a/b c", "a/db@0024.t#1.00000.sql", "a/straße", "ab", "a/b+d&e=f%20"] {
        let content = name.as_bytes();
        write(place, name, content, 3).await;
        assert_eq!(read(place, name, None).await, content, "{name}");
    }
    let below: Vec<String> = names(place, "a").await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(below, ["a/b c", "a/b+d&e=f%20", "a/b/c.sql.zst", "a/db@0024.t#1.00000.sql", "a/straße"]);
    assert_eq!(place.folders("").await.unwrap(), ["a", "sizes"]);
    assert_eq!(place.folders("a").await.unwrap(), ["b"]);
    assert!(place.folders("nothing").await.unwrap().is_empty() && names(place, "nothing").await.is_empty());
    for name in ["../x", "/x", "a/../../x", ".x", ""] {
        assert!(matches!(place.put(name).await, Err(BlobError::BadName { .. })), "{name}");
        assert!(matches!(place.get(name, None).await, Err(BlobError::BadName { .. })), "{name}");
    }
    // What is not there.
    assert!(place.get("a/nothing", None).await.unwrap_err().is_not_found());
    assert!(place.get("a", None).await.unwrap_err().is_not_found(), "a folder of names is no object");
    assert_eq!(place.stat("a/nothing").await.unwrap(), None);
    place.delete("a/nothing").await.unwrap();
    // Replaced, and removed.
    write(place, "ab", b"other", 9).await;
    assert_eq!(read(place, "ab", None).await, b"other");
    place.delete("ab").await.unwrap();
    assert_eq!(place.stat("ab").await.unwrap(), None);
    // Dropped unfinished, small and large: nothing is there, and what was there before still is.
    write(place, "kept", b"before", 9).await;
    for count in [10, 9 << 20] {
        for name in ["kept", "never"] {
            let mut writer = place.put(name).await.unwrap();
            writer.write(Bytes::from(bytes(count, 1))).await.unwrap();
            drop(writer);
        }
    }
    assert_eq!(read(place, "kept", None).await, b"before");
    assert_eq!(place.stat("never").await.unwrap(), None);
    at_the_same_time(place).await;
    // Made once, and not replaced by who comes later.
    assert!(place.create("once/only", Bytes::from_static(b"first")).await.unwrap());
    assert!(!place.create("once/only", Bytes::from_static(b"later")).await.unwrap());
    assert_eq!(read(place, "once/only", None).await, b"first");
    let all = names(place, "").await;
    for (name, _) in &all {
        place.delete(name).await.unwrap();
    }
    assert!(names(place, "").await.is_empty() && place.folders("").await.unwrap().is_empty());
}

/// Not in the suite: the server under test looks whether an object is there, and then makes it, in two steps.
async fn one_of_many_makes_it(place: &Place) {
    let creating = (0..8).map(|number| {
        let place = place.clone();
        tokio::spawn(async move { place.create("one", Bytes::from(format!("by {number}"))).await.unwrap() })
    });
    let mut made = Vec::new();
    for task in creating.collect::<Vec<_>>() {
        made.push(task.await.unwrap());
    }
    let by = made.iter().position(|made| *made).unwrap();
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    assert_eq!(read(place, "one", None).await, format!("by {by}").into_bytes());
    place.delete("one").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let address = Address::parse(&folder.path().to_string_lossy(), &S3Store::default()).unwrap();
    let place = Place::open(&address, None).unwrap();
    suite(&place).await;
    one_of_many_makes_it(&place).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "temporary files stay behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_compatible_store_is_a_place() {
    let Some(store) = Store::start() else { return };
    suite(&store.place("")).await;
    // Below a prefix, and blind to what is beside it.
    suite(&store.place("deep/er")).await;
    let (beside, within) = (store.place("deep/error"), store.place("deep/er"));
    write(&beside, "x", b"1", 1).await;
    assert!(names(&within, "").await.is_empty());
    assert_eq!(names(&store.place("deep"), "").await, [("error/x".to_owned(), 1)]);
}
