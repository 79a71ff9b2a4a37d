//! etcd's memory: what it has compacted, what it was restored to, and keys that are not ours.

use std::path::Path;
use std::time::Duration;

use store::{Store, StoreError};

use crate::support::{Cluster, command, done, put, until_it_reads, with_etcd};

/// Longest wait for a watch to end.
const END_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn real_etcd_tells_a_watch_that_its_past_is_gone() {
    with_etcd!(async {
        let cluster = Cluster::one().await;
        let store = cluster.store();
        let first = done(store.commit(&[], &[put("a", "1")]).await);
        done(store.commit(&[], &[put("a", "2")]).await);
        let last = done(store.commit(&[], &[put("a", "3")]).await);
        let future = store.compact(last + 10).await.unwrap_err();
        assert!(matches!(future, StoreError::Refused { .. }), "{future:?}");
        store.compact(last).await.unwrap();
        let mut watch = store.watch(first).await.unwrap();
        let ended = tokio::time::timeout(END_LIMIT, watch.changed()).await.expect("the watch sleeps");
        assert_eq!(ended, Err(StoreError::Compacted { oldest: last }));
        assert_eq!(watch.changed().await, ended);
        // The last one before the compaction still works.
        let mut watch = store.watch(last - 1).await.unwrap();
        assert_eq!(tokio::time::timeout(END_LIMIT, watch.changed()).await.unwrap(), Ok(last));
    });
}

fn etcdctl(arguments: &[&str]) {
    let output = command("etcdctl").env("ETCDCTL_API", "3").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn real_etcd_restored_from_a_copy_is_seen_to_go_back() {
    with_etcd!(async {
        let mut cluster = Cluster::one().await;
        let store = cluster.store();
        let first = done(store.commit(&[], &[put("a", "old")]).await);
        let copy = cluster.folder.path().join("copy");
        etcdctl(&["--endpoints", &cluster.members[0].url, "snapshot", "save", text(&copy)]);
        let mut last = first;
        for _ in 0..20 {
            last = done(store.commit(&[], &[put("a", "new")]).await);
        }
        cluster.members[0].kill();
        let data = cluster.members[0].data();
        std::fs::remove_dir_all(&data).unwrap();
        let mut restore = vec!["snapshot", "restore", text(&copy), "--data-dir", text(&data)];
        let names = cluster.restore_arguments();
        restore.extend(names.iter().map(String::as_str));
        etcdctl(&restore);
        cluster.spawn(0);
        until_it_reads(&store, Duration::from_secs(20)).await;

        let snapshot = store.snapshot().await.unwrap();
        assert!(snapshot.revision < last, "{} is not before {last}", snapshot.revision);
        assert_eq!(snapshot.entries["a"].value, b"old");
        // A watch from what is now the future would sleep until the store gets there.
        let mut watch = store.watch(last).await.unwrap();
        let ended = tokio::time::timeout(END_LIMIT, watch.changed()).await.expect("the watch sleeps");
        assert!(matches!(ended, Err(StoreError::Unreachable { .. })), "{ended:?}");
    });
}

#[tokio::test]
async fn real_etcd_with_keys_of_others() {
    with_etcd!(async {
        let cluster = Cluster::one().await;
        let store = cluster.store();
        let mut client = cluster.client().await;
        let first = done(store.commit(&[], &[put("a", "1")]).await);
        let mut watch = store.watch(first).await.unwrap();
        for (key, value) in [("/mainstay/tes", "x"), ("/mainstay/test0", "x"), ("zzz", "x")] {
            client.put(key, value, None).await.unwrap();
        }
        let quiet = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await;
        assert!(quiet.is_err(), "woken by what is outside of the prefix: {quiet:?}");
        for key in [&b"/mainstay/test/a b"[..], b"/mainstay/test/\xff", b"/mainstay/test/"] {
            client.put(key, "x", None).await.unwrap();
        }
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.entries.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(snapshot.revision, first + 6);
        let other =
            Store::etcd(store::EtcdOptions { prefix: "/mainstay/".to_owned(), ..cluster.options() }).unwrap();
        assert!(other.snapshot().await.unwrap().entries.contains_key("test/a"));
    });
}
