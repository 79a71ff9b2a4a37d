//! Several archivers of one server into one place: one writes, the others are refused, none stands in for long.
//!
//! Tests fail when two write, when nobody takes over, or when a byte is missing or double.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use backup::archive::ArchiveError;
use rustix::process::{Pid, Signal, kill_process};

use crate::archive::{Logged, archived_ids, process, until, writer};
use crate::harness::{run, vendors};

#[tokio::test(flavor = "multi_thread")]
async fn real_of_two_archivers_one_writes_and_the_other_takes_over_once_it_is_gone() {
    for vendor in vendors().await {
        let mut logged = Logged::up(vendor, 1, &["max-binlog-size = 256K", "sync-binlog = 0"]).await;
        // Long enough for a busy machine to renew it.
        logged.lease = Duration::from_millis(500);
        let mut connection = logged.connect(0).await;
        run(
            &mut connection,
            &["CREATE DATABASE s", "CREATE TABLE s.t (id BIGINT PRIMARY KEY, v VARCHAR(200))"],
        )
        .await;
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writing = tokio::spawn(writer(logged.target(0), 1, Arc::clone(&is_over), Arc::clone(&count)));
        let archive = logged.archive();
        let segments =
            async || archive.status(jiff::Timestamp::now()).await.unwrap().last.map(|it| (it.log, it.end));
        let mut refused = 0;
        for _ in 0..5 {
            // Both begin at once: one of them is refused, and says whom it met.
            let (mut one, mut two) = (process(&logged), process(&logged));
            let before = segments().await;
            until("one of two ends", async || {
                one.try_wait().unwrap().is_some() || two.try_wait().unwrap().is_some()
            })
            .await;
            refused += 1;
            let (left, ended) =
                if one.try_wait().unwrap().is_some() { (&mut two, &mut one) } else { (&mut one, &mut two) };
            assert!(!ended.wait().unwrap().success());
            until("the other one archiving", async || segments().await != before).await;
            assert_eq!(left.try_wait().unwrap(), None, "both ended");
            let later = logged.once(0).await.unwrap_err();
            assert!(matches!(later, ArchiveError::Held { .. }), "{vendor}: {later}");
            // One that stands still is taken over from, and adds nothing when it wakes.
            signal(left, Signal::STOP);
            let mut next = process(&logged);
            let before = segments().await;
            until("the next one archiving", async || segments().await != before).await;
            signal(left, Signal::CONT);
            until("the one that woke ending", async || left.try_wait().unwrap().is_some()).await;
            assert_eq!(next.try_wait().unwrap(), None, "the one that took over ended");
            next.kill().unwrap();
            next.wait().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let acknowledged = writing.await.unwrap();
        logged.once(0).await.unwrap();
        let logs = logged.compare(0).await;
        let ids = archived_ids(&archive).await;
        assert_eq!(archive.runs().await.unwrap().len(), 1);
        assert_eq!(archive.check().await.unwrap().problems, Vec::<String>::new());
        assert!(acknowledged.iter().all(|id| ids.contains(id)) && acknowledged.len() > 50);
        println!("{vendor}: {} rows in {logs} logs, {refused} archivers refused", acknowledged.len());
        connection.close().await;
        logged.down().await;
    }
}

fn signal(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}
