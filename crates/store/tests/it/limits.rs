//! The cases of the conformance table about what may be stored: bytes, keys, sizes.

use store::{COMMIT_KEYS_MAX, Compare, KEY_BYTES_MAX, SNAPSHOT_KEYS_MAX, StoreError, VALUE_BYTES_MAX, Write};

use crate::conformance::Subject;
use crate::support::{absent, done, put};

pub(crate) async fn values_of_all_bytes_come_back(subject: Subject) {
    let all: Vec<u8> = (0..=255).cycle().take(VALUE_BYTES_MAX).collect();
    let long = "x".repeat(KEY_BYTES_MAX);
    let pairs = [("a", all), ("members/node-1.example_A", Vec::new()), (long.as_str(), b"\n\"\\".to_vec())];
    let writes: Vec<_> =
        pairs.iter().map(|(key, value)| Write::Put((*key).to_owned(), value.clone())).collect();
    done(subject.here.commit(&[], &writes).await);
    let entries = subject.there.snapshot().await.unwrap().entries;
    assert_eq!(entries.len(), pairs.len());
    for (key, value) in pairs {
        assert_eq!(entries[key].value, value, "{key}");
    }
}

pub(crate) async fn keys_are_checked(subject: Subject) {
    let long = "x".repeat(KEY_BYTES_MAX + 1);
    for key in ["", "a b", "ä", "a\n", "a\0", "a%", "*", long.as_str()] {
        let compares: [&[Compare]; 2] = [&[], &[absent(key)]];
        let writes: [&[Write]; 2] = [&[put(key, "")], &[put("good", "")]];
        for (compares, writes) in compares.into_iter().zip(writes) {
            let refused = subject.here.commit(compares, writes).await;
            assert!(matches!(refused, Err(StoreError::InvalidKey { .. })), "{key:?}: {refused:?}");
        }
        let refused = subject.here.commit(&[], &[Write::Delete(key.to_owned())]).await;
        assert!(matches!(refused, Err(StoreError::InvalidKey { .. })), "{key:?}: {refused:?}");
    }
    let twice = subject.here.commit(&[], &[put("a", "1"), Write::Delete("a".to_owned())]).await;
    assert!(matches!(twice, Err(StoreError::InvalidKey { .. })), "{twice:?}");
    assert!(subject.here.snapshot().await.unwrap().entries.is_empty());
}

pub(crate) async fn sizes_are_checked(subject: Subject) {
    let value = |size: usize| vec![b'x'; size];
    let many = |count: usize, size: usize| -> Vec<_> {
        (0..count).map(|index| Write::Put(format!("k{index}"), value(size))).collect()
    };
    let compares: Vec<_> = (0..=COMMIT_KEYS_MAX).map(|index| absent(&format!("k{index}"))).collect();
    let rows: [(&[Compare], Vec<Write>); 4] = [
        (&[], many(1, VALUE_BYTES_MAX + 1)),
        (&[], many(4, VALUE_BYTES_MAX)),
        (&[], many(COMMIT_KEYS_MAX + 1, 1)),
        (&compares, many(1, 1)),
    ];
    for (compares, writes) in rows {
        let refused = subject.here.commit(compares, &writes).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    }
    assert!(subject.here.snapshot().await.unwrap().entries.is_empty());
    // What is just allowed works everywhere.
    done(subject.here.commit(&[], &many(3, VALUE_BYTES_MAX)).await);
    done(subject.here.commit(&compares[3..=COMMIT_KEYS_MAX], &many(COMMIT_KEYS_MAX, 1)).await);
}

pub(crate) async fn a_full_store_reads(subject: Subject) {
    let keys: Vec<_> = (0..SNAPSHOT_KEYS_MAX).map(|index| format!("members/{index:06}")).collect();
    for chunk in keys.chunks(COMMIT_KEYS_MAX) {
        let writes: Vec<_> = chunk.iter().map(|key| put(key, "some report of some node")).collect();
        done(subject.here.commit(&[], &writes).await);
    }
    assert_eq!(subject.there.snapshot().await.unwrap().entries.len(), SNAPSHOT_KEYS_MAX);
    // One more is refused by the backend that counts when writing, or seen when reading.
    let written = subject.here.commit(&[], &[put("one-more", "")]).await;
    let read = subject.there.snapshot().await;
    match (written, read) {
        (Err(StoreError::TooLarge { .. }), Ok(snapshot)) => {
            assert_eq!(snapshot.entries.len(), SNAPSHOT_KEYS_MAX);
        }
        (Ok(_), Err(StoreError::TooLarge { .. })) => {}
        other => panic!("{other:?}"),
    }
}
