//! What every backend must do alike: one table of cases, run against each.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use store::{Committed, Compare, Entry, Memory, Store, Watch, Write};
use tokio::task::JoinSet;

use crate::support::{Cluster, absent, done, modified, options, put, with_etcd};

/// Longest wait for a watch: generous, as it only matters when the test fails.
const WAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long a watch that must not wake is looked at.
const QUIET: Duration = Duration::from_millis(200);

/// An empty store, seen by two clients.
pub(crate) struct Subject {
    pub(crate) here: Store,
    pub(crate) there: Store,
}

type Case = (&'static str, fn(Subject) -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |subject| Box::pin($module::$name(subject)))),*]
    };
}

use crate::{conformance as here, limits};

const CASES: &[Case] = cases![
    here::an_empty_store_reads_as_empty,
    here::absent_and_modified_compare,
    here::several_compares_are_one,
    here::one_commit_has_one_revision,
    here::deletes_and_what_changes_nothing,
    here::a_commit_without_writes_only_compares,
    here::of_16_writers_one_wins,
    here::no_increment_is_lost,
    here::snapshots_are_consistent,
    here::a_watch_wakes,
    here::a_watch_from_the_past_wakes_at_once,
    here::a_watch_that_was_dropped_while_waiting_misses_nothing,
    here::compaction_harms_nothing,
    limits::values_of_all_bytes_come_back,
    limits::keys_are_checked,
    limits::sizes_are_checked,
    limits::a_full_store_reads,
];

async fn run(kind: &str, mut fresh: impl FnMut(&'static str) -> Subject) {
    for (name, case) in CASES {
        println!("{kind}: {name}");
        case(fresh(name)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract() {
    run("memory", |_| {
        let memory = Memory::new();
        Subject { here: memory.store(), there: memory.peer().store() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    run("file", |name| {
        let path = folder.path().join(name).join("store");
        let limit = Duration::from_secs(10);
        let store = || Store::file(&path).with_request_timeout(limit);
        Subject { here: store(), there: store() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_etcd_keeps_the_contract() {
    with_etcd!(async {
        let cluster = Cluster::one().await;
        run("etcd", |name| {
            let mut options = options(cluster.urls());
            // Without a slash at its end, and one is the beginning of another: they must not see each other.
            options.prefix = format!("/mainstay/{name}");
            let store =
                || Store::etcd(options.clone()).unwrap().with_request_timeout(Duration::from_secs(10));
            Subject { here: store(), there: store() }
        })
        .await;
    });
}

async fn an_empty_store_reads_as_empty(subject: Subject) {
    let snapshot = subject.here.snapshot().await.unwrap();
    assert!(snapshot.entries.is_empty(), "{snapshot:?}");
}

async fn absent_and_modified_compare(subject: Subject) {
    let store = &subject.here;
    let first = done(store.commit(&[absent("a")], &[put("a", "1")]).await);
    assert_eq!(store.commit(&[absent("a")], &[put("a", "x")]).await, Ok(Committed::Conflict));
    assert_eq!(store.commit(&[modified("a", 0)], &[put("a", "x")]).await, Ok(Committed::Conflict));
    let second = done(subject.there.commit(&[modified("a", first)], &[put("a", "2")]).await);
    assert!(second > first);
    for wrong in [first, first - 1, second + 1, u64::MAX] {
        let refused = store.commit(&[modified("a", wrong)], &[put("a", "x")]).await;
        assert_eq!(refused, Ok(Committed::Conflict), "{wrong}");
    }
    assert_eq!(store.commit(&[modified("b", first)], &[put("a", "x")]).await, Ok(Committed::Conflict));

    let snapshot = store.snapshot().await.unwrap();
    let expected = Entry { value: b"2".to_vec(), created: first, modified: second };
    assert_eq!(snapshot.entries.into_iter().collect::<Vec<_>>(), [("a".to_owned(), expected)]);
    assert!(snapshot.revision >= second);

    let removed = done(store.commit(&[modified("a", second)], &[Write::Delete("a".to_owned())]).await);
    let again = done(store.commit(&[modified("a", 0)], &[put("a", "3")]).await);
    assert!(second < removed && removed < again);
    assert_eq!(store.snapshot().await.unwrap().entries["a"].created, again);
}

async fn several_compares_are_one(subject: Subject) {
    let store = &subject.here;
    let first = done(store.commit(&[], &[put("a", "1"), put("b", "1")]).await);
    let writes = [put("a", "2"), Write::Delete("b".to_owned()), put("c", "2")];
    let rows: [&[Compare]; 4] = [
        &[modified("a", first), modified("b", first), absent("c"), modified("d", first)],
        &[modified("a", first), modified("b", first), modified("c", first)],
        &[modified("a", first), absent("b"), absent("c")],
        &[modified("a", first + 1), modified("b", first), absent("c")],
    ];
    let before = store.snapshot().await.unwrap();
    for compares in rows {
        assert_eq!(store.commit(compares, &writes).await, Ok(Committed::Conflict), "{compares:?}");
        assert_eq!(store.snapshot().await.unwrap().entries, before.entries, "{compares:?}");
    }
    let all = [modified("a", first), modified("b", first), absent("c")];
    done(store.commit(&all, &writes).await);
    let after = subject.there.snapshot().await.unwrap();
    assert_eq!(after.entries.keys().collect::<Vec<_>>(), ["a", "c"]);
}

async fn one_commit_has_one_revision(subject: Subject) {
    let revision = done(subject.here.commit(&[], &[put("a", "1"), put("b", "1")]).await);
    let next = done(subject.here.commit(&[], &[put("a", "2"), put("c", "2")]).await);
    assert_eq!(next, revision + 1);
    let entries = subject.here.snapshot().await.unwrap().entries;
    let seen: Vec<_> = entries.values().map(|entry| (entry.created, entry.modified)).collect();
    assert_eq!(seen, [(revision, next), (revision, revision), (next, next)]);
}

async fn deletes_and_what_changes_nothing(subject: Subject) {
    let store = &subject.here;
    let first = done(store.commit(&[], &[put("a", "1")]).await);
    assert_eq!(done(store.commit(&[], &[Write::Delete("b".to_owned())]).await), first);
    assert_eq!(store.snapshot().await.unwrap().revision, first);
    // To put the same again is a change: a lease is renewed by it.
    let same = done(store.commit(&[modified("a", first)], &[put("a", "1")]).await);
    assert_eq!(same, first + 1);
    assert_eq!(done(store.commit(&[], &[Write::Delete("a".to_owned())]).await), first + 2);
    assert!(store.snapshot().await.unwrap().entries.is_empty());
}

async fn a_commit_without_writes_only_compares(subject: Subject) {
    let store = &subject.here;
    let first = done(store.commit(&[], &[put("a", "1")]).await);
    assert_eq!(done(store.commit(&[modified("a", first)], &[]).await), first);
    assert_eq!(store.commit(&[absent("a")], &[]).await, Ok(Committed::Conflict));
    assert_eq!(store.snapshot().await.unwrap().revision, first);
}

async fn of_16_writers_one_wins(subject: Subject) {
    let mut last = done(subject.here.commit(&[], &[put("leader", "nobody")]).await);
    for round in 0..5 {
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let store = if writer % 2 == 0 { subject.here.clone() } else { subject.there.clone() };
            let value = format!("{round}/{writer}");
            writers.spawn(async move {
                let committed = store.commit(&[modified("leader", last)], &[put("leader", &value)]).await;
                (value, committed.unwrap())
            });
        }
        let all = writers.join_all().await;
        let winners: Vec<_> = all.iter().filter(|(_, won)| *won != Committed::Conflict).collect();
        assert_eq!(winners.len(), 1, "{all:?}");
        let entry = subject.here.snapshot().await.unwrap().entries["leader"].clone();
        assert_eq!(Committed::Done { revision: entry.modified }, winners[0].1);
        assert_eq!(entry.value, winners[0].0.as_bytes());
        last = entry.modified;
    }
}

async fn no_increment_is_lost(subject: Subject) {
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let store = if writer % 2 == 0 { subject.here.clone() } else { subject.there.clone() };
        writers.spawn(async move { [increment(&store).await, increment(&store).await] });
    }
    let revisions: BTreeSet<_> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(revisions.len(), 32, "two writers had the same revision");
    assert_eq!(subject.here.snapshot().await.unwrap().entries["count"].value, b"32");
}

/// Adds one to the number, as often as it takes, and gives the revision.
async fn increment(store: &Store) -> u64 {
    loop {
        let snapshot = store.snapshot().await.unwrap();
        let (compare, count) = match snapshot.entries.get("count") {
            None => (absent("count"), 0),
            Some(entry) => {
                let text = String::from_utf8(entry.value.clone()).unwrap();
                (modified("count", entry.modified), text.parse().unwrap())
            }
        };
        let count: u32 = count + 1;
        if let Committed::Done { revision } =
            store.commit(&[compare], &[put("count", &count.to_string())]).await.unwrap()
        {
            return revision;
        }
    }
}

async fn snapshots_are_consistent(subject: Subject) {
    let Subject { here, there } = subject;
    let writer = tokio::spawn(async move {
        for count in 0_u64.. {
            let text = count.to_string();
            done(here.commit(&[], &[put("a", &text), put("z/z", &text)]).await);
            tokio::task::yield_now().await;
        }
    });
    let began = Instant::now();
    let (mut revision, mut seen) = (0, BTreeSet::new());
    while seen.len() < 10 {
        assert!(began.elapsed() < Duration::from_secs(30), "the reader does not see the writer at work");
        let snapshot = there.snapshot().await.unwrap();
        assert!(snapshot.revision >= revision, "{} after {revision}", snapshot.revision);
        revision = snapshot.revision;
        let (one, other) = (snapshot.entries.get("a"), snapshot.entries.get("z/z"));
        assert_eq!(one, other);
        seen.extend(one.map(|entry| entry.value.clone()));
    }
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
}

async fn wakes(watch: &mut Watch) -> u64 {
    tokio::time::timeout(WAKE_LIMIT, watch.changed()).await.expect("the watch sleeps").unwrap()
}

async fn sleeps(watch: &mut Watch) {
    let woken = tokio::time::timeout(QUIET, watch.changed()).await;
    assert!(woken.is_err(), "woken for nothing: {woken:?}");
}

async fn a_watch_wakes(subject: Subject) {
    let Subject { here, there } = subject;
    let first = done(here.commit(&[], &[put("a", "1")]).await);
    let mut watch = there.watch(first).await.unwrap();
    let mut other = here.watch(first).await.unwrap();
    sleeps(&mut watch).await;
    assert_eq!(here.commit(&[absent("a")], &[put("a", "x")]).await, Ok(Committed::Conflict));
    done(here.commit(&[], &[Write::Delete("b".to_owned())]).await);
    sleeps(&mut watch).await;
    let second = done(here.commit(&[], &[put("a", "2")]).await);
    assert_eq!(wakes(&mut watch).await, second);
    sleeps(&mut watch).await;
    let third = done(here.commit(&[], &[Write::Delete("a".to_owned())]).await);
    assert_eq!(wakes(&mut watch).await, third);
    // Both changes may come as one.
    let seen = wakes(&mut other).await;
    assert!((second..=third).contains(&seen));

    let waiting = tokio::spawn(async move { wakes(&mut watch).await });
    let fourth = done(here.commit(&[], &[put("new", "")]).await);
    assert_eq!(waiting.await.unwrap(), fourth);
}

async fn a_watch_from_the_past_wakes_at_once(subject: Subject) {
    let first = done(subject.here.commit(&[], &[put("a", "1")]).await);
    let second = done(subject.here.commit(&[], &[Write::Delete("a".to_owned())]).await);
    let mut watch = subject.there.watch(first).await.unwrap();
    assert_eq!(wakes(&mut watch).await, second);
    sleeps(&mut watch).await;
}

async fn a_watch_that_was_dropped_while_waiting_misses_nothing(subject: Subject) {
    let first = done(subject.here.commit(&[], &[put("a", "1")]).await);
    let mut watch = subject.here.watch(first).await.unwrap();
    for round in 0..3 {
        sleeps(&mut watch).await;
        // Nobody waits at this moment.
        let next = done(subject.there.commit(&[], &[put("a", &round.to_string())]).await);
        assert_eq!(wakes(&mut watch).await, next);
    }
}

async fn compaction_harms_nothing(subject: Subject) {
    let store = &subject.here;
    let mut last = 0;
    for count in 0..3 {
        last = done(store.commit(&[], &[put("a", &count.to_string())]).await);
    }
    let before = store.snapshot().await.unwrap();
    store.compact(0).await.unwrap();
    store.compact(last).await.unwrap();
    store.compact(last).await.unwrap();
    store.compact(last - 1).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap(), before);
    let mut watch = store.watch(last).await.unwrap();
    let next = done(subject.there.commit(&[modified("a", last)], &[put("a", "x")]).await);
    assert_eq!(wakes(&mut watch).await, next);
}
