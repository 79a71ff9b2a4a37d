//! Members of etcd that are stopped, killed or silent: nothing hangs, nothing is claimed that is not known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use store::{Committed, Store, StoreError};
use tokio::task::JoinSet;

use crate::support::{
    Cluster, absent, done, modified, options, put, until_it_reads, until_it_writes, with_etcd,
};

/// What a request may take beyond its timeout: a busy machine, not a wait.
const SLACK: Duration = Duration::from_millis(500);
/// etcd elects a new leader within 1 to 2 s of silence, and again if the vote was split.
const ELECTION_LIMIT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn real_etcd_survives_a_silent_follower() {
    with_etcd!(async {
        let cluster = Cluster::start(3, &[]).await;
        let follower = (cluster.leader().await + 1) % 3;
        // The stopped one is asked first; a stopped process still has its connections accepted by the kernel.
        let store = Store::etcd(options(cluster.urls_from(follower))).unwrap();
        let first = done(store.commit(&[], &[put("a", "1")]).await);
        cluster.members[follower].signal(Signal::STOP);
        let began = Instant::now();
        store.snapshot().await.unwrap();
        let read = began.elapsed();
        let second = done(store.commit(&[modified("a", first)], &[put("a", "2")]).await);
        let both = began.elapsed();
        let mut next = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            store.snapshot().await.unwrap();
            next = next.min(began.elapsed());
        }
        println!("silent follower: read {read:?}, then a write after {both:?}, next reads {next:?} at best");
        assert!(both < Duration::from_secs(1) + SLACK);
        assert!(next < Duration::from_millis(200), "the silent one is still asked first: {next:?}");

        // A new store that knows nothing writes at once: the probe finds who answers.
        let fresh = Store::etcd(options(cluster.urls_from(follower))).unwrap();
        let began = Instant::now();
        done(fresh.commit(&[modified("a", second)], &[put("a", "3")]).await);
        println!("silent follower: first write of a new store {:?}", began.elapsed());

        let mut watch = fresh.watch(second).await.unwrap();
        assert!(watch.changed().await.is_ok());
        cluster.members[follower].signal(Signal::CONT);
    });
}

#[tokio::test]
async fn real_etcd_survives_a_silent_leader() {
    with_etcd!(async {
        let cluster = Cluster::start(3, &[]).await;
        let leader = cluster.leader().await;
        let store = Store::etcd(options(cluster.urls_from(leader))).unwrap();
        let first = done(store.commit(&[], &[put("a", "1")]).await);
        let mut watch = store.watch(first).await.unwrap();
        cluster.members[leader].signal(Signal::STOP);
        let began = Instant::now();
        let read = until_it_reads(&store, ELECTION_LIMIT).await;
        let write = until_it_writes(&store, ELECTION_LIMIT).await;
        println!("silent leader: reads again after {read:?}, writes again {write:?} later");
        // The watch is on the silent member: it must end, not sleep.
        let ended = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
        assert!(matches!(ended, Ok(Err(StoreError::Unreachable { .. }))), "{ended:?}");
        println!("silent leader: its watch ended after {:?}", began.elapsed());
        assert_eq!(watch.changed().await, ended.unwrap());
        let mut watch = store.watch(first).await.unwrap();
        watch.changed().await.unwrap();
        cluster.members[leader].signal(Signal::CONT);
    });
}

#[tokio::test]
async fn real_etcd_survives_a_killed_leader() {
    with_etcd!(async {
        // etcd's defaults, and what suits members in one building: the outage is mostly the election.
        for (heartbeat, election) in [("100", "1000"), ("50", "300")] {
            let arguments = ["--heartbeat-interval", heartbeat, "--election-timeout", election];
            let mut cluster = Cluster::start(3, &arguments.map(ToOwned::to_owned)).await;
            let leader = cluster.leader().await;
            let store = Store::etcd(options(cluster.urls_from(leader))).unwrap();
            done(store.commit(&[], &[put("a", "1")]).await);
            cluster.members[leader].kill();
            let write = until_it_writes(&store, ELECTION_LIMIT).await;
            let read = until_it_reads(&store, ELECTION_LIMIT).await;
            println!("killed leader, election {election} ms: writes after {write:?}, reads {read:?} later");
            assert_eq!(store.snapshot().await.unwrap().entries["a"].value, b"1");
        }
    });
}

#[tokio::test]
async fn real_etcd_that_is_gone_is_unreachable() {
    with_etcd!(async {
        let mut cluster = Cluster::start(3, &[]).await;
        let store = cluster.store();
        let first = done(store.commit(&[], &[put("a", "1")]).await);
        let mut watch = store.watch(first).await.unwrap();
        for member in &mut cluster.members {
            member.kill();
        }
        let began = Instant::now();
        let read = store.snapshot().await.unwrap_err();
        println!("all killed: after {:?}: {read}", began.elapsed());
        assert!(matches!(read, StoreError::Unreachable { .. }), "{read:?}");
        assert!(began.elapsed() < store.request_timeout() + SLACK);
        let began = Instant::now();
        let write = store.commit(&[], &[put("a", "2")]).await.unwrap_err();
        assert!(matches!(write, StoreError::Unreachable { .. }) && write.wrote_nothing(), "{write:?}");
        assert!(began.elapsed() < store.request_timeout() + SLACK);
        let ended = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
        assert!(matches!(ended, Ok(Err(StoreError::Unreachable { .. }))), "{ended:?}");
        for index in 0..3 {
            cluster.spawn(index);
        }
        let back = until_it_reads(&store, Duration::from_secs(30)).await;
        println!("all started again: reads after {back:?}");
        assert_eq!(store.snapshot().await.unwrap().entries["a"].modified, first);
    });
}

#[tokio::test]
async fn real_etcd_without_a_majority_times_out() {
    with_etcd!(async {
        let mut cluster = Cluster::start(3, &[]).await;
        let leader = cluster.leader().await;
        let store = cluster.store();
        done(store.commit(&[], &[put("a", "1")]).await);
        cluster.members[(leader + 1) % 3].kill();
        cluster.members[(leader + 2) % 3].kill();
        // While the leader still believes to be one, it takes requests and cannot finish them.
        for round in 0..4 {
            let began = Instant::now();
            let read = store.snapshot().await.unwrap_err();
            let write = store.commit(&[], &[put("a", "2")]).await.unwrap_err();
            println!("no majority, round {round}: {read}; {write}");
            assert!(matches!(read, StoreError::Unreachable { .. } | StoreError::Timeout { .. }), "{read:?}");
            assert!(write.wrote_nothing(), "nothing was sent: {write:?}");
            assert!(began.elapsed() < (store.request_timeout() + SLACK) * 2);
        }
        cluster.spawn((leader + 1) % 3);
        let back = until_it_writes(&store, Duration::from_secs(30)).await;
        println!("majority again: writes after {back:?}");
    });
}

#[tokio::test]
async fn real_etcd_that_is_silent_leaves_writes_unknown() {
    with_etcd!(async {
        let cluster = Cluster::one().await;
        let member = &cluster.members[0];
        let store = cluster.store();
        let mut tries = 0;
        let first = loop {
            let first = done(store.commit(&[], &[put("a", "1")]).await);
            member.signal(Signal::STOP);
            // It has just answered, so the write is sent, and nobody knows what came of it.
            let began = Instant::now();
            let error = store.commit(&[modified("a", first)], &[put("a", "2")]).await.unwrap_err();
            assert!(began.elapsed() < store.request_timeout() + SLACK);
            if matches!(error, StoreError::Unknown { .. }) {
                break first;
            }
            // A very busy machine: its answer was too long ago, so that the write was not sent.
            assert_eq!(error, StoreError::Timeout { after: store.request_timeout() });
            tries += 1;
            assert!(tries < 5, "a write was never sent");
            member.signal(Signal::CONT);
            until_it_reads(&store, Duration::from_secs(10)).await;
        };
        // Now it is not trusted any more: nothing is sent, and that is known.
        for _ in 0..2 {
            let began = Instant::now();
            let write = store.commit(&[], &[put("a", "x")]).await.unwrap_err();
            assert_eq!(write, StoreError::Timeout { after: store.request_timeout() });
            assert_eq!(store.snapshot().await, Err(StoreError::Timeout { after: store.request_timeout() }));
            assert!(matches!(store.watch(first).await, Err(StoreError::Timeout { .. })));
            assert!(began.elapsed() < (store.request_timeout() + SLACK) * 3);
        }
        member.signal(Signal::CONT);
        let back = until_it_reads(&store, Duration::from_secs(10)).await;
        println!("silent member: reads {back:?} after it continued");
        let value = store.snapshot().await.unwrap().entries["a"].value.clone();
        assert!(value == b"1" || value == b"2", "what timed out before it was sent was written");
    });
}

#[tokio::test]
async fn real_etcd_without_space_refuses_writes_and_reads_on() {
    with_etcd!(async {
        let cluster = Cluster::start(1, &["--quota-backend-bytes".to_owned(), "2000000".to_owned()]).await;
        let store = cluster.store();
        let mut last = 0;
        let refused = loop {
            match store.commit(&[], &[put("a", &"x".repeat(200_000))]).await {
                Ok(_) => last = store.snapshot().await.unwrap().entries["a"].modified,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
        assert!(last > 0);
        assert_eq!(store.snapshot().await.unwrap().entries["a"].modified, last);
    });
}

/// What one writer was told of each of its keys.
#[derive(Default)]
struct Told {
    done: BTreeSet<String>,
    nothing: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

/// Writes one key after the other, each once, until told to stop.
async fn write_until(stop: Arc<AtomicBool>, store: Store, writer: usize) -> Told {
    let mut told = Told::default();
    for number in 0..2000 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{writer}/{number}");
        match store.commit(&[absent(&key)], &[put(&key, "")]).await {
            Ok(Committed::Done { .. }) => told.done.insert(key),
            // Nobody else writes this key: a conflict would be with the same write, sent twice.
            Ok(Committed::Conflict) => panic!("{key} was written twice"),
            Err(StoreError::Unknown { .. }) => told.unknown.insert(key),
            Err(error) => {
                assert!(error.wrote_nothing());
                told.nothing.insert(key)
            }
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    told
}

#[tokio::test]
async fn real_etcd_is_never_misreported_while_members_die() {
    with_etcd!(async {
        let mut cluster = Cluster::start(3, &[]).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            let store = Store::etcd(options(cluster.urls_from(writer % 3))).unwrap();
            writers.spawn(write_until(Arc::clone(&stop), store, writer));
        }
        let store = cluster.store();
        for step in 0..6 {
            let leader = cluster.leader().await;
            // Leaders and followers, killed and silent; longer than an election takes.
            let (member, is_killed) = ((leader + step % 2) % 3, step % 3 == 0);
            if is_killed {
                cluster.members[member].kill();
            } else {
                cluster.members[member].signal(Signal::STOP);
            }
            tokio::time::sleep(Duration::from_millis(1500)).await;
            if is_killed {
                cluster.spawn(member);
            } else {
                cluster.members[member].signal(Signal::CONT);
            }
            until_it_writes(&store, Duration::from_secs(30)).await;
        }
        stop.store(true, Ordering::Relaxed);
        let told = writers.join_all().await;
        let found = store.snapshot().await.unwrap().entries;
        for told in &told {
            assert!(told.done.iter().all(|key| found.contains_key(key)), "a write that was done is lost");
            let wrong: Vec<_> = told.nothing.iter().filter(|key| found.contains_key(*key)).collect();
            assert!(wrong.is_empty(), "done, though said to be not: {wrong:?}");
        }
        let count =
            |part: fn(&Told) -> &BTreeSet<String>| told.iter().map(|told| part(told).len()).sum::<usize>();
        let (done, nothing, unknown) =
            (count(|told| &told.done), count(|told| &told.nothing), count(|told| &told.unknown));
        let unknown_done =
            told.iter().flat_map(|told| &told.unknown).filter(|key| found.contains_key(*key)).count();
        println!(
            "{done} writes done, {nothing} not done, {unknown} unknown of which {unknown_done} were done"
        );
        assert!(done > 100 && unknown + nothing > 0, "the faults had no effect");
    });
}
