//! Several archivers of one server into one place: one writes, the others are refused, none stands in for long.
//!
//! Tests fail when two write, when nobody takes over, or when a byte is missing or double.

use std::time::Duration;

use backup::archive::{Archive, ArchiveError};
use flavor::Vendor;
use rustix::process::{Pid, Signal, kill_process};
use server::Connection;

use crate::archive::{Logged, archived_ids, process, until};
use crate::harness::{run, vendors};

/// How many rows a stage inserts.
const ROWS: u32 = 10;
const ROUNDS: u32 = 3;

async fn rows(connection: &mut Connection) {
    for _ in 0..ROWS {
        run(connection, &["INSERT INTO s.t (v) VALUES (REPEAT('w', 100))"]).await;
    }
}

/// Waits until so many rows are archived: one segment more could be of those before.
async fn archived(archive: &Archive, rows: u32) {
    until("archiving", async || archived_ids(archive).await.len() >= usize::try_from(rows).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_of_two_archivers_one_writes_and_the_other_takes_over_once_it_is_gone() {
    for vendor in vendors().await {
        // MariaDB keeps statements' texts to itself unless a replica asks for them.
        let whole = if vendor == Vendor::MariaDb {
            "binlog-annotate-row-events = OFF"
        } else {
            "max-binlog-size = 1G"
        };
        let mut logged = Logged::up(vendor, 1, &[whole]).await;
        // Long enough for a busy machine to renew it.
        logged.lease = Duration::from_millis(1500);
        let mut connection = logged.connect(0).await;
        run(
            &mut connection,
            &["CREATE DATABASE s", "CREATE TABLE s.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))"],
        )
        .await;
        let archive = logged.archive();
        for round in 0..ROUNDS {
            let before = round * ROWS * 3;
            rows(&mut connection).await;
            // Both begin at once: one of them is refused.
            let [mut one, mut two] = [1, 2].map(|number| process(&logged, round * 10 + number));
            until("one of two ending", async || {
                one.try_wait().unwrap().is_some() || two.try_wait().unwrap().is_some()
            })
            .await;
            let (left, ended) =
                if one.try_wait().unwrap().is_some() { (&mut two, &mut one) } else { (&mut one, &mut two) };
            assert!(!ended.wait().unwrap().success());
            archived(&archive, before + ROWS).await;
            assert_eq!(left.try_wait().unwrap(), None, "both ended");
            let later = logged.once(0).await.unwrap_err();
            assert!(matches!(later, ArchiveError::Held { .. }), "{vendor}: {later}");
            // One that stands still is taken over from, and adds nothing when it wakes.
            signal(left, Signal::STOP);
            rows(&mut connection).await;
            let mut next = process(&logged, round * 10 + 3);
            archived(&archive, before + ROWS * 2).await;
            signal(left, Signal::CONT);
            rows(&mut connection).await;
            until("the one that woke ending", async || left.try_wait().unwrap().is_some()).await;
            assert_eq!(next.try_wait().unwrap(), None, "the one that took over ended");
            next.kill().unwrap();
            next.wait().unwrap();
        }
        logged.once(0).await.unwrap();
        logged.compare(0).await;
        assert_eq!(archived_ids(&archive).await.len(), usize::try_from(ROWS * 3 * ROUNDS).unwrap());
        assert_eq!(archive.runs().await.unwrap().len(), 1);
        assert_eq!(archive.check().await.unwrap().problems, Vec::<String>::new());
        connection.close().await;
        logged.down().await;
    }
}

fn signal(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}
