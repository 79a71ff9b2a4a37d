//! A server that purges no log before it is archived.
//!
//! Tests fail when a log goes that is not archived, or stays that may go.

use std::time::Duration;

use backup::archive::{Archive, ArchiveNews, ArchiveOptions, Purge, PurgeReport, archive_once};
use server::{Connection, Sql};

use crate::archive::{Logged, until, work};
use crate::harness::{run, vendors};

/// Archives once, and gives back what was found about the server's purging.
async fn purging(archive: &Archive, options: &ArchiveOptions) -> Vec<PurgeReport> {
    let mut reports = Vec::new();
    let mut keep = |news| {
        if let ArchiveNews::Purging(report) = news {
            reports.push(report);
        }
    };
    archive_once(archive, options, &mut keep).await.unwrap();
    reports
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_held_server_purges_only_what_is_archived() {
    for vendor in vendors().await {
        let logged = Logged::up(vendor, 1, &["binlog-expire-logs-seconds = 3600"]).await;
        let mut connection = logged.connect(0).await;
        work(&mut connection, 0).await;
        let (archive, mut options) = (logged.archive(), logged.options(0));
        for _ in 0..2 {
            let reports = purging(&archive, &options).await;
            assert!(
                reports.iter().all(|report| report.is_short && report.expires_seconds == Some(3600)),
                "{reports:?}"
            );
            run(&mut connection, &["FLUSH BINARY LOGS"]).await;
        }
        let count = async |connection: &mut Connection| {
            connection.query(&Sql::plain("SHOW BINARY LOGS")).await.unwrap().len()
        };
        let before = count(&mut connection).await;
        options.purge = Purge::Hold(Duration::from_secs(86_400));
        purging(&archive, &options).await;
        assert_eq!(count(&mut connection).await, before, "nothing is a day old");
        options.purge = Purge::Hold(Duration::ZERO);
        // Its last event has to be a second old.
        let oldest =
            archive.status(jiff::Timestamp::now()).await.unwrap().last.unwrap().last_seconds.unwrap();
        until("a second passing", async || jiff::Timestamp::now().as_second() > i64::from(oldest) + 1).await;
        let reports = purging(&archive, &options).await;
        assert!(count(&mut connection).await < before, "what is archived goes");
        assert!(reports.iter().all(|report| report.expires_seconds.is_none()), "{reports:?}");
        assert!(reports.last().unwrap().purged_to.is_some(), "{reports:?}");
        // What is not archived stays, and the archive goes on.
        run(&mut connection, &["INSERT INTO s.t (v) VALUES ('more')", "FLUSH BINARY LOGS"]).await;
        purging(&archive, &options).await;
        assert_eq!(archive.last_run().await.unwrap().unwrap().gap(), None);
        assert_eq!(archive.runs().await.unwrap().len(), 1);
        connection.close().await;
        logged.down().await;
    }
}
